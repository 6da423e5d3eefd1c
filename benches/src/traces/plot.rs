//! A plot of hit ratios, as SVG: each rule against LRU, by size.
//!
//! Rules differ by a point or two and some by sixty, so the axis ends at ten points below LRU; what
//! is worse stands at the edge with its figure.

use std::fmt::Write;

use super::report::{Results, Row};

/// Pixels of a panel, without its margins.
const PANEL_WIDTH: f64 = 430.0;
const PANEL_HEIGHT: f64 = 340.0;
const MARGIN: f64 = 60.0;
/// Pixels below the panels for the names of the lines.
const LEGEND_LINE: f64 = 20.0;

/// Points above and below LRU.
const ABOVE: f64 = 8.0;
const BELOW: f64 = -10.0;

const COLORS: [&str; 9] = [
    "#1b1b1b", "#2f6fb5", "#c0392b", "#27ae60", "#e08e0b", "#8e44ad", "#16a2b8", "#7f6a4f",
    "#b0568f",
];

/// The plot of all traces, side by side.
pub fn svg(all: &[Results]) -> String {
    let names: Vec<&Row> = match all.first() {
        Some(results) => results.rows.iter().filter(|row| row.is_plotted).collect(),
        None => Vec::new(),
    };
    let width = all.len() as f64 * (PANEL_WIDTH + MARGIN) + MARGIN;
    let height = PANEL_HEIGHT + 2.0 * MARGIN + names.len() as f64 * LEGEND_LINE + 10.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (number, results) in all.iter().enumerate() {
        panel(&mut text, results, MARGIN + number as f64 * (PANEL_WIDTH + MARGIN));
    }
    for (number, row) in names.iter().enumerate() {
        let y = PANEL_HEIGHT + 2.0 * MARGIN + number as f64 * LEGEND_LINE;
        let color = COLORS[number % COLORS.len()];
        let (from, to) = (MARGIN, MARGIN + 34.0);
        let dash = dash(row);
        let _ = writeln!(
            text,
            "<line x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\" stroke=\"{color}\" \
             stroke-width=\"2.5\"{dash}/>\n<text x=\"{}\" y=\"{}\">{}</text>",
            to + 10.0,
            y + 4.5,
            row.name.replace(['*', '`'], "")
        );
    }
    text.push_str("</svg>\n");
    text
}

/// What is measured is drawn solid, what is simulated is not.
fn dash(row: &Row) -> &'static str {
    if row.rule.is_some() { " stroke-dasharray=\"6 3\"" } else { "" }
}

fn panel(text: &mut String, results: &Results, left: f64) {
    let lru = results.rows.iter().find(|row| row.name == "LRU");
    let Some(lru) = lru else { return };
    let middle = left + PANEL_WIDTH / 2.0;
    let _ = writeln!(
        text,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" font-weight=\"bold\">{}: hit ratio \
         against LRU, points</text>",
        MARGIN - 18.0,
        results.trace
    );
    let mut points = BELOW;
    while points <= ABOVE {
        let y = y_of(points);
        let (color, stroke) = if points == 0.0 { ("#555", 1.5) } else { ("#ddd", 1.0) };
        let _ = writeln!(
            text,
            "<line x1=\"{left}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{color}\" \
             stroke-width=\"{stroke}\"/>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{points:+}</text>",
            left + PANEL_WIDTH,
            left - 6.0,
            y + 4.5
        );
        points += 2.0;
    }
    for (at, share) in results.shares.iter().enumerate() {
        let (x, known) = (x_of(left, at, results), lru.outcomes[at].hit_percent());
        let y = MARGIN + PANEL_HEIGHT;
        let _ = writeln!(
            text,
            "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{share} %</text>\n\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" fill=\"#777\">LRU {known:.1}</text>",
            y + 18.0,
            y + 35.0
        );
    }
    for (number, row) in results.rows.iter().filter(|row| row.is_plotted).enumerate() {
        line(text, results, row, lru, left, COLORS[number % COLORS.len()]);
    }
}

fn line(text: &mut String, results: &Results, row: &Row, lru: &Row, left: f64, color: &str) {
    let mut places = String::new();
    for (at, outcome) in row.outcomes.iter().enumerate() {
        let against = outcome.hit_percent() - lru.outcomes[at].hit_percent();
        let (x, y) = (x_of(left, at, results), y_of(against.clamp(BELOW, ABOVE)));
        let _ = write!(places, "{x:.1},{y:.1} ");
        let _ = writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{color}\"/>");
        if against < BELOW {
            let _ = writeln!(
                text,
                "<text x=\"{}\" y=\"{}\" fill=\"{color}\" font-size=\"11\">{against:.0}</text>",
                x + 5.0,
                y - 5.0
            );
        }
    }
    let dash = dash(row);
    let _ = writeln!(
        text,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"{dash}/>",
        places.trim_end()
    );
}

fn x_of(left: f64, at: usize, results: &Results) -> f64 {
    let steps = results.shares.len().max(2) as f64 - 1.0;
    left + 30.0 + (PANEL_WIDTH - 60.0) * at as f64 / steps
}

fn y_of(points: f64) -> f64 {
    MARGIN + PANEL_HEIGHT * (ABOVE - points) / (ABOVE - BELOW)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::Outcome;
    use crate::traces::rules::Rule;
    use crate::traces::trace::Trace;

    #[test]
    fn what_is_far_below_stands_at_the_edge_with_its_figure() {
        let trace = Trace::parse("t".into(), &b"0,a,k,7\n"[..]).unwrap();
        let mut results = Results::new(&trace, &[5]);
        for (name, hits) in [("LRU", 80), ("SIEVE", 20)] {
            let outcome = Outcome { hits, lookups: 100, stored_bytes: 1, copied_bytes: 0 };
            let rule = Some(Rule::Lru);
            let (outcomes, replayed) = (vec![outcome], Vec::new());
            results.rows.push(Row {
                name: name.into(),
                rule,
                outcomes,
                replayed,
                is_plotted: true,
            });
        }
        let text = svg(&[results]);
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n"));
        assert!(text.contains(">-60</text>") && text.contains(">LRU 80.0</text>"), "{text}");
    }
}
