//! The calls of one build, by its log: what took longest, and why calls were not cached.

use std::collections::BTreeMap;

use super::super::json::Object;
use crate::outcome::Counter;
use crate::stats::calls::Line;
use crate::stats::{Figures, words_of};

/// Misses that are shown.
const SLOWEST_MAX: usize = 10;

/// The lines of a log.
pub struct Calls {
    /// Those that could be read.
    pub lines: Vec<Line>,
    /// How many could not.
    pub strange: usize,
}

impl Calls {
    /// Reads the lines of calls that began at `from_secs` or later.
    pub fn parse(text: &str, from_secs: u64) -> Calls {
        let mut calls = Calls { lines: Vec::new(), strange: 0 };
        for line in text.lines() {
            match Line::parse(line) {
                Some(line) if line.at_secs >= from_secs => calls.lines.push(line),
                Some(_) => {}
                None => calls.strange += 1,
            }
        }
        calls
    }

    /// The misses that took longest, the longest first.
    pub fn slowest(&self) -> Vec<&Line> {
        let mut misses: Vec<_> =
            self.lines.iter().filter(|line| line.has(Counter::CacheMiss)).collect();
        misses.sort_by_key(|line| std::cmp::Reverse(line.spent_us));
        misses.truncate(SLOWEST_MAX);
        misses
    }

    /// Each reason with its number of calls, the most frequent first.
    pub fn reasons(&self) -> Vec<(&str, u64)> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for line in self.lines.iter().filter(|line| !line.reason.is_empty()) {
            *counts.entry(&line.reason).or_default() += 1;
        }
        let mut reasons: Vec<_> = counts.into_iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons
    }

    /// The sums, then every call.
    pub fn json(&self, figures: &Figures) -> String {
        let call = |line: &Line| {
            let names = line.ids.iter().filter_map(|id| Some(words_of(*id)?.name));
            let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
            Object::new()
                .number("at_secs", line.at_secs)
                .number("spent_us", line.spent_us)
                .number("compile_us", line.compile_us)
                .raw("counted", &format!("[{}]", names.join(", ")))
                .text("source", &line.source)
                .text("reason", &line.reason)
        };
        let sums = figures.json();
        let sums = sums.trim_end().trim_end_matches('}').trim_end();
        let calls: Vec<String> = self.lines.iter().map(|line| call(line).line()).collect();
        let calls = calls.join(",\n    ");
        format!(
            "{sums},\n  \"strange_lines\": {},\n  \"calls\": [\n    {calls}\n  ]\n}}\n",
            self.strange
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_tells_what_took_longest_and_why_calls_were_not_cached() {
        let text = "10\t500\t400\t4\t/a.c\t\nnonsense\n11\t900\t800\t4\t/b.c\t\n\
                    12\t5\t0\t10\t\tlink\n13\t5\t0\t10\t\tlink\n14\t5\t0\t28\t/c.c\t-E\n";
        let calls = Calls::parse(text, 0);
        assert_eq!((calls.lines.len(), calls.strange), (5, 1));
        let slowest: Vec<_> = calls.slowest().iter().map(|line| line.source.clone()).collect();
        assert_eq!(slowest, ["/b.c", "/a.c"]);
        assert_eq!(calls.reasons(), [("link", 2), ("-E", 1)]);
        assert_eq!(Calls::parse(text, 12).lines.len(), 3);
        let figures = Figures::of_calls(calls.lines.iter());
        let json = calls.json(&figures);
        assert!(json.contains("\"cache_miss\": 2,") && json.contains("[\"called_for_link\"]"));
        assert_eq!(Figures::parse(&json).map(|figures| figures.cacheable()), Some(2));
    }
}
