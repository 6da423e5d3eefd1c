//! Plots of a run as SVG: requests over the disk, and the effect of reading ahead.

use std::fmt::Write as _;

use super::run::Report;

const WIDTH: f64 = 640.0;
const BAR: f64 = 18.0;
const LEFT: f64 = 240.0;

/// Horizontal bars of block reads per operation for one phase, on a logarithmic scale.
pub fn bars(report: &Report, phase: &str, title: &str) -> String {
    let rows: Vec<(String, f64)> = report
        .phases
        .iter()
        .filter(|row| row.name == phase)
        .map(|row| {
            (row.contestant.clone(), row.figures.reads_issued as f64 / row.operations as f64)
        })
        .collect();
    let height = 50.0 + rows.len() as f64 * (BAR + 8.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n<text x=\"10\" y=\"22\" font-size=\"15\">{title}</text>\n"
    );
    let largest = rows.iter().map(|row| row.1).fold(1.0, f64::max);
    for (index, (name, value)) in rows.iter().enumerate() {
        let y = 40.0 + index as f64 * (BAR + 8.0);
        let width = length(*value, largest) * (WIDTH - LEFT - 70.0);
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{name}</text><rect x=\"{LEFT}\" \
             y=\"{y:.0}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"#4477aa\"/><text \
             x=\"{:.0}\" y=\"{:.0}\">{value:.2}</text>",
            LEFT - 8.0,
            y + 14.0,
            LEFT + width + 6.0,
            y + 14.0,
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// The part of the scale that a value takes: a hundredth of a read is nothing.
fn length(value: f64, largest: f64) -> f64 {
    let of = |value: f64| (value.max(0.01) / 0.01).log10();
    of(value) / of(largest)
}

#[cfg(test)]
mod tests {
    use super::super::model::Figures;
    use super::super::run::Phase;
    use super::*;

    #[test]
    fn each_contestant_has_a_bar_and_fewer_reads_a_shorter_one() {
        let phase = |who: &str, reads| Phase {
            contestant: who.into(),
            name: "x",
            operations: 10,
            figures: Figures { reads_issued: reads, ..Figures::default() },
        };
        let report = Report { phases: vec![phase("a", 5), phase("b", 122)], notes: Vec::new() };
        let svg = bars(&report, "x", "title");
        assert!(svg.contains(">0.50<") && svg.contains(">12.20<"), "{svg}");
        assert!(length(0.5, 12.2) < length(1.0, 12.2) && length(12.2, 12.2) == 1.0);
        assert!(!bars(&report, "y", "title").contains(">a<"));
    }
}
