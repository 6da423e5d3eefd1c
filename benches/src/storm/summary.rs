//! The summary of a storm: for people, and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::check::Findings;
use super::conductor::Events;
use super::ledger::Ledger;
use super::settings::Settings;

/// A line of the summary: its name and its figure, or figures by name.
enum Line {
    Number(&'static str, u64),
    Numbers(&'static str, Vec<(String, u64)>),
}

/// The whole storm in figures.
pub struct Summary {
    lines: Vec<Line>,
    failures: Vec<String>,
    failure_count: u64,
}

fn pairs<K: ToString>(numbers: &BTreeMap<K, u64>) -> Vec<(String, u64)> {
    numbers.iter().map(|(name, number)| (name.to_string(), *number)).collect()
}

impl Summary {
    /// Of what was heard, done and found.
    pub fn new(
        settings: &Settings,
        ledger: &Ledger,
        events: &Events,
        findings: &Findings,
        waits_left_out: u64,
    ) -> Summary {
        use Line::{Number, Numbers};
        let sum = |name: &str| ledger.sums.get(name).copied().unwrap_or(0);
        let under_way = ["nothing of it", "all of it", "the result without its manifest"];
        let under_way = under_way.iter().zip(findings.under_way);
        let lines = vec![
            Number("seed", settings.seed),
            Number("puts stored", ledger.stored),
            Numbers("puts dropped", pairs(&ledger.drops)),
            Number("puts stored at the second attempt", sum("retried")),
            Number("gets", sum("gets")),
            Number("hits", sum("hits")),
            Number("misses of what was evicted", sum("evicted_misses")),
            Number("misses that the next get mended", sum("missed_once")),
            Number("records scanned", sum("scanned")),
            Numbers("kills at random", pairs(&events.kills)),
            Numbers("kills where asked", pairs(&events.aimed_kills)),
            Numbers("stops at random", pairs(&events.stops)),
            Numbers("stops where asked", pairs(&events.aimed_stops)),
            Numbers("longest waits in microseconds", pairs(&ledger.maxima)),
            Number("lock waits of all puts in microseconds", sum("lock_wait_us")),
            Number("waits left out, their process was stopped", waits_left_out),
            Number("longest time without a put in milliseconds", events.silence_ms_max),
            Number("upkeeps", sum("upkeeps")),
            Number("found at the end", findings.found),
            Number("evicted at the end", findings.evicted),
            Numbers(
                "puts under way at a kill",
                under_way.map(|(name, number)| (name.to_string(), number)).collect(),
            ),
            Number("records in the log", findings.verified.records),
            Number("bytes of their bodies", findings.verified.bytes),
            Number("segments", findings.segments),
            Number("bytes on disk", findings.disk_bytes),
            Number("bytes on disk, bound", findings.disk_bytes_max),
            Number("of that left by drops and second attempts", findings.left_bytes),
            Number("of that for holes of the killed", findings.hole_bytes_max),
            Number("bytes on disk during the storm, most", events.disk_bytes_max),
            Numbers(
                "engine counters",
                findings.counters.iter().map(|(name, n)| ((*name).to_string(), *n)).collect(),
            ),
            Number("failures", ledger.failure_count),
        ];
        let failures = ledger.failures.clone();
        Summary { lines, failures, failure_count: ledger.failure_count }
    }

    /// Whether nothing was wrong.
    pub fn is_good(&self) -> bool {
        self.failure_count == 0
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            match line {
                Line::Number(name, number) => {
                    let _ = writeln!(text, "{name:<44} {number:>14}");
                }
                Line::Numbers(name, numbers) => {
                    let sum: u64 = numbers.iter().map(|(_, number)| number).sum();
                    let is_sum = !name.starts_with("longest") && !name.starts_with("engine");
                    let head = if is_sum { sum.to_string() } else { String::new() };
                    let _ = writeln!(text, "{name:<44} {head:>14}");
                    for (name, number) in numbers.iter().filter(|(_, number)| *number > 0) {
                        let _ = writeln!(text, "    {name:<40} {number:>14}");
                    }
                }
            }
        }
        for failure in &self.failures {
            let _ = writeln!(text, "FAILED: {failure}");
        }
        text
    }

    /// One JSON object; names are the lines' with underscores.
    pub fn json(&self) -> String {
        let name = |name: &str| quoted(&name.replace(", ", "_").replace([' ', '-'], "_"));
        let mut fields: Vec<String> = Vec::new();
        for line in &self.lines {
            fields.push(match line {
                Line::Number(key, number) => format!("{}:{number}", name(key)),
                Line::Numbers(key, numbers) => {
                    let inner: Vec<String> =
                        numbers.iter().map(|(key, n)| format!("{}:{n}", quoted(key))).collect();
                    format!("{}:{{{}}}", name(key), inner.join(","))
                }
            });
        }
        let failures: Vec<String> = self.failures.iter().map(|text| quoted(text)).collect();
        fields.push(format!("\"what_failed\":[{}]", failures.join(",")));
        format!("{{{}}}\n", fields.join(","))
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if character < ' ' => quoted.push(' '),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storm::board::Writing;

    #[test]
    fn a_summary_with_a_failure_is_not_good() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::new(1, Writing::new(folder.path()).unwrap());
        let of = |ledger: &Ledger| {
            let (events, findings) = (Events::default(), Findings::default());
            Summary::new(&Settings::default(), ledger, &events, &findings, 0)
        };
        assert!(of(&ledger).is_good());
        ledger.fail("a \"wrong\" byte".into());
        let summary = of(&ledger);
        assert!(!summary.is_good());
        assert!(summary.text().contains("FAILED: a \"wrong\" byte"));
        assert!(summary.json().ends_with("\"what_failed\":[\"a \\\"wrong\\\" byte\"]}\n"));
    }
}
