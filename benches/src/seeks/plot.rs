//! Plots of a run as SVG: bars of block reads per operation, from the figures that it left.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use super::run::IN_ORDER;

const WIDTH: f64 = 640.0;
const BAR: f64 = 18.0;
const LEFT: f64 = 180.0;
/// Room for a number behind the longest bar.
const RIGHT: f64 = 60.0;

/// The figures of a run, as JSON.
pub const FIGURES: &str = "figures.json";

/// Makes the plots of the figures that stand in a directory.
///
/// # Errors
/// If they cannot be read or written.
pub fn all(folder: &Path) -> io::Result<()> {
    let figures = fs::read_to_string(folder.join(FIGURES))?;
    let is_window = |who: &str| who.starts_with("larder@") && who != "larder@0";
    let in_order = rows(&figures, IN_ORDER);
    let (windows, contestants): (Vec<_>, Vec<_>) =
        in_order.iter().cloned().partition(|(who, _)| is_window(who));
    let plot = |file: &str, rows: &[(String, f64)], title: &str| {
        fs::write(folder.join(file), bars(rows, title))
    };
    plot("order.svg", &contestants, "Block reads per cold hit, in build order")?;
    if !windows.is_empty() {
        let is_larder = |who: &str| who == "larder" || who.starts_with("larder@");
        let of_larder: Vec<_> = in_order.into_iter().filter(|(who, _)| is_larder(who)).collect();
        let title = "Block reads per cold hit of larder, in build order, by KiB prefetched at most";
        plot("windows.svg", &of_larder, title)?;
    }
    let mut random = rows(&figures, "hits at random");
    random.retain(|(who, _)| !is_window(who));
    plot("random.svg", &random, "Block reads per cold hit, at random")
}

/// Contestants and their reads per operation in a phase.
fn rows(figures: &str, phase: &str) -> Vec<(String, f64)> {
    let phase = format!(",\"phase\":\"{phase}\",");
    let row = |object: &str| {
        let (who, rest) = object.split_once('"')?;
        let rest = rest.strip_prefix(&phase)?;
        let operations = number_behind(rest, "\"operations\":")?;
        Some((who.to_string(), number_behind(rest, "\"reads_issued\":")? / operations))
    };
    figures.split("{\"contestant\":\"").filter_map(row).collect()
}

fn number_behind(text: &str, name: &str) -> Option<f64> {
    let (_, rest) = text.split_once(name)?;
    rest[..rest.find([',', '}'])?].parse().ok()
}

/// Horizontal bars. Their lengths are to scale, so that they can be compared.
fn bars(rows: &[(String, f64)], title: &str) -> String {
    let height = 50.0 + rows.len() as f64 * (BAR + 8.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" \
         fill=\"white\"/>\n<text x=\"10\" y=\"22\" font-size=\"15\">{title}</text>\n"
    );
    let largest = rows.iter().map(|row| row.1).fold(f64::MIN_POSITIVE, f64::max);
    for (index, (name, value)) in rows.iter().enumerate() {
        let y = 40.0 + index as f64 * (BAR + 8.0);
        let width = value / largest * (WIDTH - LEFT - RIGHT);
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

#[cfg(test)]
mod tests {
    use super::super::model::Figures;
    use super::super::run::{Phase, Report};
    use super::super::summary::json;
    use super::*;

    #[test]
    fn each_contestant_has_a_bar_as_long_as_its_reads_are_many() {
        let phase = |who: &str, name, reads| Phase {
            contestant: who.into(),
            name,
            operations: 10,
            figures: Figures { reads_issued: reads, ..Figures::default() },
        };
        let phases = vec![
            phase("larder", IN_ORDER, 5),
            phase("larder@64", IN_ORDER, 50),
            phase("ccache", IN_ORDER, 100),
            phase("ccache", "eviction", 7),
        ];
        let folder = tempfile::tempdir().unwrap();
        let report = Report { phases, notes: Vec::new() };
        fs::write(folder.path().join(FIGURES), json(&report)).unwrap();
        all(folder.path()).unwrap();
        let plot = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap();
        let order = plot("order.svg");
        assert!(order.contains(">0.50<") && order.contains(">10.00<"), "{order}");
        assert!(order.contains("width=\"20.0\"") && order.contains("width=\"400.0\""), "{order}");
        assert!(!order.contains("larder@64") && plot("windows.svg").contains("larder@64"));
        assert!(!plot("random.svg").contains("ccache"));
    }
}
