//! What happened in a recording, and what may be found after a cut of the power.
//!
//! 1. Every process writes one line for each thing that it did, with the times before and after it;
//!    the disk has the same clock. So a cut between two events of the disk is a [`Moment`].
//! 2. A checkpoint counts if it had returned by then. Of the operations that were acknowledged
//!    before it began the newest of a key is the *floor*: that state is found, or one of a later
//!    operation that had begun by then. Nothing older, nothing else.
//! 3. Nothing at all is found if the floor is no value, if a later operation removes the key, or if
//!    the floor was evicted: its segment is older than the oldest that upkeep left.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use super::content::{Change, Operation};
use super::load::Load;

/// Something that a process did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// An operation of a writer.
    Operation(Done),
    /// A checkpoint that returned without an error: before, after.
    Checkpoint(u64, u64),
    /// Upkeep: before, after, and the oldest segment that it left.
    Upkeep(u64, u64, u32),
    /// How often something happened.
    Count(String, u64),
    /// Something is wrong.
    Failure(String),
}

/// An operation, and what became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Done {
    /// Whose.
    pub writer: u64,
    /// Which.
    pub number: u64,
    /// Before.
    pub from_ns: u64,
    /// After.
    pub to_ns: u64,
    /// It is in this segment or a newer one.
    pub segment: u32,
    /// Whether it was acknowledged; else it was dropped or failed.
    pub stored: bool,
}

/// Between two events of the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// When the last event before it arrived.
    pub last_ns: u64,
    /// When the first event after it arrived.
    pub next_ns: u64,
}

impl Line {
    /// As a line, with its end.
    pub fn text(&self) -> String {
        match self {
            Line::Operation(done) => {
                let Done { writer, number, from_ns, to_ns, segment, stored } = done;
                let stored = u8::from(*stored);
                format!("operation {writer} {number} {from_ns} {to_ns} {segment} {stored}\n")
            }
            Line::Checkpoint(from, to) => format!("checkpoint {from} {to}\n"),
            Line::Upkeep(from, to, oldest) => format!("upkeep {from} {to} {oldest}\n"),
            Line::Count(name, count) => format!("count {count} {name}\n"),
            Line::Failure(text) => format!("failure {}\n", text.replace('\n', " ")),
        }
    }

    /// What a line says, `None` if it is none of these.
    pub fn parse(line: &str) -> Option<Line> {
        let (word, rest) = line.split_once(' ')?;
        let mut numbers = rest.split(' ').map(|word| word.parse::<u64>().ok());
        let mut number = || numbers.next().flatten();
        Some(match word {
            "operation" => Line::Operation(Done {
                writer: number()?,
                number: number()?,
                from_ns: number()?,
                to_ns: number()?,
                segment: number()? as u32,
                stored: number()? == 1,
            }),
            "checkpoint" => Line::Checkpoint(number()?, number()?),
            "upkeep" => Line::Upkeep(number()?, number()?, number()? as u32),
            "count" => Line::Count(rest.split_once(' ')?.1.to_string(), number()?),
            "failure" => Line::Failure(rest.to_string()),
            _ => return None,
        })
    }
}

/// A state that a key had, or was to have.
#[derive(Clone, Copy, Debug)]
struct State {
    done: Done,
    removes: bool,
}

/// All that happened.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By writer and key, in the order of the operations.
    states: HashMap<(u64, u64), Vec<State>>,
    checkpoints: Vec<(u64, u64)>,
    upkeeps: Vec<(u64, u32)>,
    /// Whether records are evicted at all.
    evicts: bool,
}

/// How what was found stands to what was acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is the newest that was acknowledged, or newer.
    Newest,
    /// It is older than that, and not older than the last checkpoint.
    Older,
    /// It was evicted.
    Evicted,
}

impl Verdict {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Newest => "keys with their newest state",
            Verdict::Older => "keys with an older state",
            Verdict::Evicted => "keys that were evicted",
        }
    }
}

impl Ledger {
    /// From the lines of all processes.
    pub fn new(lines: &[Line], seed: u64, segment_bytes: u64, evicts: bool) -> Ledger {
        let mut ledger = Ledger { evicts, ..Ledger::default() };
        for line in lines {
            match line {
                Line::Operation(done) => {
                    let operation = Operation::new(seed, segment_bytes, done.writer, done.number);
                    for (key, change) in operation.changes {
                        let state = State { done: *done, removes: change == Change::Remove };
                        ledger.states.entry((done.writer, key)).or_default().push(state);
                    }
                }
                Line::Checkpoint(from, to) => ledger.checkpoints.push((*from, *to)),
                Line::Upkeep(from, _, oldest) => ledger.upkeeps.push((*from, *oldest)),
                Line::Count(..) | Line::Failure(_) => {}
            }
        }
        for states in ledger.states.values_mut() {
            states.sort_by_key(|state| state.done.number);
        }
        ledger
    }

    /// From the file of a recording.
    ///
    /// # Errors
    /// If it cannot be read or understood.
    pub fn load(file: &Path, load: &Load) -> Result<Ledger, Box<dyn std::error::Error>> {
        let text = std::fs::read_to_string(file)?;
        let lines: Option<Vec<Line>> = text.lines().map(Line::parse).collect();
        let lines = lines.ok_or("a line of the ledger is not understood")?;
        Ok(Ledger::new(&lines, load.seed, load.segment_bytes, load.evicts()))
    }

    /// Segments below may be gone at that moment.
    pub fn oldest_live(&self, moment: Moment) -> u32 {
        let begun = self.upkeeps.iter().filter(|(from, _)| *from <= moment.last_ns);
        begun.map(|(_, oldest)| *oldest).max().unwrap_or(0)
    }

    /// When the last checkpoint began that had returned by that moment.
    pub fn checkpoint(&self, moment: Moment) -> Option<u64> {
        let done = self.checkpoints.iter().filter(|(_, to)| *to < moment.next_ns);
        done.map(|(from, _)| *from).max()
    }

    /// Judges what was found under a key (the number of an operation that put it, or nothing) after
    /// a cut at that moment; segments below `oldest_live` may be gone.
    ///
    /// # Errors
    /// Why that is wrong.
    pub fn judge(
        &self,
        writer: u64,
        key: u64,
        found: Option<u64>,
        moment: Moment,
        oldest_live: u32,
    ) -> Result<Verdict, String> {
        let states = self.states.get(&(writer, key)).map_or(&[][..], Vec::as_slice);
        let last_before = |end_ns: u64| {
            states.iter().rposition(|state| state.done.stored && state.done.to_ns < end_ns)
        };
        let floor = self.checkpoint(moment).and_then(last_before);
        let newest = last_before(moment.last_ns);
        let begun = |state: &&State| state.done.from_ns <= moment.last_ns;
        let possible: Vec<&State> = states[floor.unwrap_or(0)..].iter().filter(begun).collect();
        let is_found = |state: &&&State| match found {
            Some(number) => !state.removes && state.done.number == number,
            None => state.removes,
        };
        let fits = match possible.iter().rfind(is_found) {
            Some(state) => Some(Some(state.done.number)),
            // Before its first operation there is nothing under a key.
            None => (found.is_none() && floor.is_none()).then_some(None),
        };
        let newest_number = newest.map(|at| states[at].done.number);
        match (fits, floor) {
            (Some(number), _) if number >= newest_number => Ok(Verdict::Newest),
            (Some(_), _) => Ok(Verdict::Older),
            (None, Some(floor))
                if found.is_none() && self.evicts && states[floor].done.segment < oldest_live =>
            {
                Ok(Verdict::Evicted)
            }
            (None, _) => Err(self.complaint(states, floor, newest, found, moment)),
        }
    }

    /// Whether a key that had the value of operation `before` has nothing older now.
    pub fn is_no_older(&self, writer: u64, key: u64, before: u64, now: Option<u64>) -> bool {
        let states = self.states.get(&(writer, key)).map_or(&[][..], Vec::as_slice);
        match now {
            Some(number) => number >= before,
            None => states.iter().any(|state| state.removes && state.done.number > before),
        }
    }

    fn complaint(
        &self,
        states: &[State],
        floor: Option<usize>,
        newest: Option<usize>,
        found: Option<u64>,
        moment: Moment,
    ) -> String {
        let name = |at: Option<usize>| match at {
            None => "nothing".to_string(),
            Some(at) if states[at].removes => format!("{} (a removal)", states[at].done.number),
            Some(at) => {
                format!("{} in segment {}+", states[at].done.number, states[at].done.segment)
            }
        };
        let mut text = match found {
            None => "nothing is found".to_string(),
            Some(number) => match states.iter().find(|state| state.done.number == number) {
                None => format!("operation {number} is found, which never was"),
                Some(state) if state.done.from_ns > moment.last_ns => {
                    format!("operation {number} is found, which had not begun")
                }
                Some(_) => format!("operation {number} is found, which is too old"),
            },
        };
        let checkpoint = match self.checkpoint(moment) {
            Some(from) => format!("a checkpoint {} us before", (moment.last_ns - from) / 1000),
            None => "no checkpoint".to_string(),
        };
        let _ = write!(text, "; before {checkpoint}: {}; newest: {}", name(floor), name(newest));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENT_BYTES: u64 = 1 << 18;

    /// A writer whose n-th operation lasts from 10 n to 10 n + 5; a checkpoint from 26 to 29.
    fn lines() -> Vec<Line> {
        let done = |number| Done {
            writer: 1,
            number,
            from_ns: 10 * number,
            to_ns: 10 * number + 5,
            segment: number as u32,
            stored: number != 4,
        };
        let mut lines: Vec<Line> = (0..40).map(|number| Line::Operation(done(number))).collect();
        lines.extend([Line::Checkpoint(26, 29), Line::Upkeep(200, 210, 30)]);
        lines
    }

    /// The numbers of the operations that change a key, and whether they put.
    fn history(key: u64) -> Vec<(u64, bool)> {
        let change = |number| {
            let operation = Operation::new(7, SEGMENT_BYTES, 1, number);
            let change = operation.changes.into_iter().find(|(other, _)| *other == key);
            change.map(|(_, change)| (number, change != Change::Remove))
        };
        (0..40).filter_map(change).collect()
    }

    /// A key that is put before the checkpoint and after it.
    fn key() -> (u64, u64, u64) {
        let twice = |key| match history(key)[..] {
            [(one, true), (two, true), ..] if one < 2 && two > 4 => Some((key, one, two)),
            _ => None,
        };
        (0..super::super::content::KEYS).find_map(twice).expect("seed 7 has one")
    }

    fn at(last_ns: u64) -> Moment {
        Moment { last_ns, next_ns: last_ns + 1 }
    }

    #[test]
    fn lines_are_understood() {
        let more = [Line::Count("a b".into(), 3), Line::Failure("c d".into())];
        for line in lines().into_iter().chain(more) {
            assert_eq!(Line::parse(line.text().trim_end()), Some(line));
        }
        assert_eq!(Line::parse("operation 1 2"), None);
    }

    #[test]
    fn what_was_there_at_the_checkpoint_is_found_or_something_later() {
        let ledger = Ledger::new(&lines(), 7, SEGMENT_BYTES, false);
        let (key, one, two) = key();
        let judge = |found, last_ns| ledger.judge(1, key, found, at(last_ns), 0);
        // Before the checkpoint has returned nothing has to be there.
        assert_eq!(judge(None, 28 - 1), Ok(Verdict::Older));
        assert_eq!(judge(Some(one), 28 - 1), Ok(Verdict::Newest));
        assert!(judge(None, 29).is_err());
        assert!(judge(Some(two), 29).unwrap_err().contains("had not begun"));
        assert!(judge(Some(one + 1000), 29).unwrap_err().contains("never was"));
        assert_eq!(judge(Some(one), 10 * two + 1), Ok(Verdict::Newest));
        assert_eq!(judge(Some(two), 10 * two + 1), Ok(Verdict::Newest));
        assert_eq!(judge(Some(one), 10 * two + 6), Ok(Verdict::Older));
        let mut lines = lines();
        lines.push(Line::Checkpoint(10 * two + 6, 10 * two + 7));
        let ledger = Ledger::new(&lines, 7, SEGMENT_BYTES, false);
        let old = ledger.judge(1, key, Some(one), at(10 * two + 8), 0);
        assert!(old.unwrap_err().contains("too old"));
    }

    #[test]
    fn what_was_evicted_is_a_miss_and_nothing_else_is() {
        let ledger = Ledger::new(&lines(), 7, SEGMENT_BYTES, true);
        let (key, one, _) = key();
        assert_eq!((ledger.oldest_live(at(199)), ledger.oldest_live(at(200))), (0, 30));
        let judge = |oldest| ledger.judge(1, key, None, at(30), oldest);
        assert!(judge(one as u32).is_err());
        assert_eq!(judge(one as u32 + 1), Ok(Verdict::Evicted));
    }
}
