//! Rules of eviction, as simulators that hold a bounded number of bytes of objects.

mod belady;
mod queues;
mod s3fifo;
mod segments;
mod sieve;

pub use segments::Segments;

use super::trace::Trace;

/// A rule and its settings.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Rule {
    /// Knows the future: what is asked for last goes first.
    Belady,
    /// What was not asked for longest goes first.
    Lru,
    /// What was stored first goes first.
    Fifo,
    /// First in, first out, but for what was asked for since the hand last passed (Zhang 2024).
    Sieve,
    /// A small queue for what is new, a main queue for what was asked for (Yang 2023).
    S3Fifo,
    /// A log of segments whose oldest goes, but for what was hit while it was old.
    Segments(Segments),
}

/// Holds objects. Sizes are those of the trace.
pub trait Simulator {
    /// Whether an object is held; notes that it was asked for at this look-up.
    fn hit(&mut self, at: usize, object: u32) -> bool;

    /// Stores an object that is not held and not larger than all the room.
    fn store(&mut self, at: usize, object: u32, bytes: u64);

    /// Bytes written to keep objects that were held already.
    fn copied_bytes(&self) -> u64 {
        0
    }
}

impl Rule {
    /// A simulator of the rule with room for `bytes`.
    pub fn simulator(&self, trace: &Trace, bytes: u64) -> Box<dyn Simulator> {
        let objects = trace.objects();
        match self {
            Rule::Belady => Box::new(belady::Belady::new(trace, bytes)),
            Rule::Lru => Box::new(queues::Lru::new(objects, bytes)),
            Rule::Fifo => Box::new(queues::Fifo::new(objects, bytes)),
            Rule::Sieve => Box::new(sieve::Sieve::new(objects, bytes)),
            Rule::S3Fifo => Box::new(s3fifo::S3Fifo::new(objects, bytes)),
            Rule::Segments(settings) => settings.simulator(objects, bytes),
        }
    }

    /// What it is called in a table.
    pub fn name(&self) -> String {
        match self {
            Rule::Belady => "Belady (knows the future)".into(),
            Rule::Lru => "LRU".into(),
            Rule::Fifo => "FIFO".into(),
            Rule::Sieve => "SIEVE".into(),
            Rule::S3Fifo => "S3-FIFO".into(),
            Rule::Segments(settings) => settings.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::simulate;

    /// Objects of ten bytes each.
    fn trace(letters: &str) -> Trace {
        let rows: String = letters.chars().map(|letter| format!("0,u,{letter},10\n")).collect();
        Trace::parse("t".into(), rows.as_bytes()).unwrap()
    }

    fn hits(rule: Rule, letters: &str, objects: u64) -> u64 {
        simulate(&trace(letters), &rule, objects * 10).hits
    }

    const ALL: [Rule; 6] = [
        Rule::Belady,
        Rule::Lru,
        Rule::Fifo,
        Rule::Sieve,
        Rule::S3Fifo,
        Rule::Segments(Segments::DESIGN),
    ];

    #[test]
    fn each_rule_has_a_trace_that_tells_it_apart() {
        // A cycle of four in room for three: who forgets the oldest always forgets the next.
        assert_eq!(hits(Rule::Lru, "abcdabcdabcd", 3), 0);
        assert_eq!(hits(Rule::Belady, "abcdabcdabcd", 3), 6);
        // A hit keeps `a` in an LRU, not in a FIFO.
        assert_eq!(hits(Rule::Lru, "abcadaba", 3), 3);
        assert_eq!(hits(Rule::Fifo, "abcadaba", 3), 2);
        // The hand of SIEVE passes `a`, drops `b`, and goes on from there.
        assert_eq!(hits(Rule::Sieve, "abcadaeac", 3), 3);
    }

    #[test]
    fn with_room_for_everything_every_rule_misses_each_object_once() {
        let letters = "abcdefgabcdefgabcdefg";
        for rule in ALL {
            // S3-FIFO and segments part their room.
            assert_eq!(hits(rule, letters, 1000), 14, "{rule:?}");
        }
    }

    #[test]
    fn nothing_is_held_above_the_room() {
        for rule in ALL {
            let trace = trace("abcdefghabcdefghhgfedcba");
            let room = 45;
            let mut simulator = rule.simulator(&trace, room);
            for (at, object) in trace.lookups.iter().enumerate() {
                if !simulator.hit(at, *object) {
                    simulator.store(at, *object, 10);
                }
                // Asking about what comes next would tell the simulator of a look-up, so only the
                // last answers count.
            }
            let held = (0..8).filter(|object| simulator.hit(trace.lookups.len() - 1, *object));
            assert!(held.count() <= 4, "{rule:?}");
        }
    }
}
