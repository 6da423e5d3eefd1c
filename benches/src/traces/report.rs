//! The results of replays as a table for people and as JSON.

use std::fmt::Write;

use super::Outcome;
use super::engine::Replayed;
use super::reference::{TOLERANCE_POINTS, figure};
use super::rules::Rule;
use super::trace::Trace;

/// One rule on one trace at all sizes.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is called.
    pub name: String,
    /// The simulator, `None` for the engine.
    pub rule: Option<Rule>,
    /// One for each size.
    pub outcomes: Vec<Outcome>,
    /// What else is known of the engine's runs.
    pub replayed: Vec<Replayed>,
    /// Whether it belongs into the plot.
    pub is_plotted: bool,
}

/// All rules on one trace.
#[derive(Clone, Debug)]
pub struct Results {
    /// Name of the trace.
    pub trace: String,
    /// What it consists of, as a sentence.
    pub about: String,
    /// Shares of the footprint in percent.
    pub shares: Vec<u64>,
    /// One for each rule.
    pub rows: Vec<Row>,
}

impl Results {
    /// Results without rows.
    pub fn new(trace: &Trace, shares: &[u64]) -> Results {
        let about = format!(
            "{} look-ups of {} builds, {} objects, {:.1} MB",
            trace.lookups.len(),
            trace.builds,
            trace.objects(),
            trace.footprint_bytes() as f64 / 1e6
        );
        let (trace, shares) = (trace.name.clone(), shares.to_vec());
        Results { trace, about, shares, rows: Vec::new() }
    }

    /// A table of hit ratio / write amplification.
    pub fn table(&self) -> String {
        let mut text = format!("### {}\n\n{}.\n\n| rule |", self.trace, self.about);
        let shares: String = self.shares.iter().map(|share| format!(" {share} % |")).collect();
        let _ = writeln!(text, "{shares}\n|---|{}", "---|".repeat(self.shares.len()));
        for row in &self.rows {
            let _ = write!(text, "| {} |", row.name);
            for outcome in &row.outcomes {
                let _ = write!(text, " {} |", cell(outcome));
            }
            text.push('\n');
        }
        text
    }

    /// Where simulators differ from what others found, as sentences; and how many were compared.
    pub fn compare(&self) -> (Vec<String>, usize) {
        let (mut differences, mut compared) = (Vec::new(), 0);
        for row in &self.rows {
            for (share, outcome) in self.shares.iter().zip(&row.outcomes) {
                let known = row.rule.as_ref().and_then(|rule| figure(rule, &self.trace, *share));
                let Some(known) = known else { continue };
                compared += 1;
                let found = outcome.hit_percent();
                if (found - known).abs() > TOLERANCE_POINTS {
                    let (name, trace) = (&row.name, &self.trace);
                    differences.push(format!(
                        "{name} on {trace} at {share} %: {found:.1}, elsewhere {known:.1}"
                    ));
                }
            }
        }
        (differences, compared)
    }

    /// One JSON object.
    pub fn json(&self) -> String {
        let mut items = Vec::new();
        for row in &self.rows {
            for (at, (share, outcome)) in self.shares.iter().zip(&row.outcomes).enumerate() {
                let engine = row.replayed.get(at).map_or(String::new(), |replayed| {
                    format!(
                        ", \"max_size_bytes\": {}, \"live_bytes\": {}, \"scale\": {:.3}, \
                         \"disk_bytes_max\": {}, \"segments_evicted\": {}, \"dropped\": {}",
                        replayed.max_size_bytes,
                        replayed.live_bytes,
                        replayed.scale,
                        replayed.disk_bytes_max,
                        replayed.segments_evicted,
                        replayed.dropped
                    )
                });
                items.push(format!(
                    "    {{\"rule\": \"{}\", \"share_percent\": {share}, \"lookups\": {}, \
                     \"hits\": {}, \"hit_percent\": {:.2}, \
                     \"write_amplification\": {:.3}{engine}}}",
                    row.name,
                    outcome.lookups,
                    outcome.hits,
                    outcome.hit_percent(),
                    outcome.write_amplification()
                ));
            }
        }
        let name = self.trace.replace(['"', '\\'], "_");
        format!("  {{\"trace\": \"{name}\", \"rows\": [\n{}\n  ]}}", items.join(",\n"))
    }
}

fn cell(outcome: &Outcome) -> String {
    let hits = outcome.hit_percent();
    match outcome.copied_bytes {
        0 => format!("{hits:.1}"),
        _ => format!("{hits:.1} / {:.2}", outcome.write_amplification()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(hits: u64) -> Results {
        let outcome = Outcome { hits, lookups: 1000, stored_bytes: 100, copied_bytes: 7 };
        let row = Row {
            name: "LRU".into(),
            rule: Some(Rule::Lru),
            outcomes: vec![outcome],
            replayed: Vec::new(),
            is_plotted: true,
        };
        let trace = Trace::parse("c-server-500".into(), &b"0,a,k,7\n"[..]).unwrap();
        Results { rows: vec![row], ..Results::new(&trace, &[5]) }
    }

    #[test]
    fn a_table_has_hits_and_what_is_written_for_them() {
        let text = results(859).table();
        assert!(text.contains("| rule | 5 % |\n|---|---|\n| LRU | 85.9 / 1.07 |\n"), "{text}");
        assert!(results(859).json().contains("\"hit_percent\": 85.90"));
    }

    #[test]
    fn a_simulator_that_does_something_else_is_told() {
        assert_eq!(results(861).compare(), (Vec::new(), 1));
        let (differences, _) = results(863).compare();
        assert_eq!(differences, ["LRU on c-server-500 at 5 %: 86.3, elsewhere 85.9"]);
    }
}
