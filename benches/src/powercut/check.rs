//! What a store must do after a cut of the power; a process of its own for each image.
//!
//! 1. It opens, under another boot id and two minutes later.
//! 2. Every key has a state that it may have (see [`ledger`](super::ledger)), and no record that is
//!    found, by its key or in a snapshot, has a wrong byte.
//! 3. After full upkeep every key has what it had, or something newer that only upkeep can find,
//!    unless it was evicted; and `verify` finds no damage.
//!    A snapshot has the same.
//! 4. It stores and finds something new, makes a checkpoint, and all of that is there when it is
//!    opened again.
//! 5. It occupies no more than `max_size`.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use larder_engine::{Budget, DropReason, Put, Record, Store};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::content::{self, Change, KEYS, Operation};
use super::disk::now_ns;
use super::env::CutEnv;
use super::ledger::{Ledger, Line, Moment};
use super::load::Load;
use crate::oldest_live;

/// The writer of what is put after the cut: nobody in the recording has this number; the boot is
/// added to it.
const WRITER: u64 = 1_000;

/// Operations after the cut, before and after a checkpoint.
const FIRST_OPERATIONS: Range<u64> = 0..8;
const LAST_OPERATIONS: Range<u64> = 8..30;

/// The name under which a check says the oldest segment that it left.
pub const OLDEST_LIVE: &str = "oldest live segment";

/// The name under which it says when its checkpoint had returned.
pub const SAFE_AT_NS: &str = "safe at nanosecond";

/// What is found under each key of each writer: the number of an operation, or nothing.
type Found = BTreeMap<(u64, u64), Option<u64>>;

/// The check of one image.
pub struct Check<'a> {
    /// The store.
    pub path: &'a Path,
    /// What was done to it.
    pub load: Load,
    /// What happened in the recording.
    pub ledger: &'a Ledger,
    /// When the power was cut.
    pub moment: Moment,
    /// How often it was cut.
    pub boot: u64,
    /// Segments below were evicted after that moment, in the check before the second cut.
    pub oldest_live: u32,
    /// A file: what the first check found, once a checkpoint had made it safe. The check after the
    /// second cut reads it, if it is there.
    pub found: &'a Path,
    /// What is there, and what is wrong.
    pub lines: Vec<Line>,
}

impl Check<'_> {
    /// Checks an image, and says what is there and what is wrong, a line each.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn say(mut self) -> Result<(), Box<dyn std::error::Error>> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if let Err(text) = self.run() {
            self.fail(text);
        }
        let text: String = self.lines.iter().map(Line::text).collect();
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(())
    }

    fn fail(&mut self, text: String) {
        self.lines.push(Line::Failure(text));
    }

    fn count(&mut self, name: &str, count: u64) {
        self.lines.push(Line::Count(name.to_string(), count));
    }

    fn run(&mut self) -> Result<(), String> {
        let start = Instant::now();
        let store = self.open()?;
        self.count("microseconds of opening", start.elapsed().as_micros() as u64);
        let oldest = self.oldest_live.max(self.ledger.oldest_live(self.moment));
        let found = self.found(&store, "after the cut", oldest);
        self.snapshot(&store, "after the cut", None);
        if self.boot > 1 {
            let before = self.found_before();
            self.compare(&before, &found, "the second cut");
        }
        for _ in 0..2 {
            store.maintain(Budget::full()).map_err(|error| format!("upkeep failed: {error}"))?;
        }
        let text = |error: Box<dyn std::error::Error>| error.to_string();
        let oldest = oldest.max(oldest_live(self.path).map_err(text)?);
        let later = self.found(&store, "after upkeep", oldest);
        self.compare(&found, &later, "upkeep");
        self.snapshot(&store, "after upkeep", Some(&later));
        self.verify(&store);
        self.go_on(&store, FIRST_OPERATIONS)?;
        store.checkpoint().map_err(|error| format!("a checkpoint after the cut: {error}"))?;
        self.note(&later)?;
        self.go_on(&store, LAST_OPERATIONS)?;
        store.maintain(Budget::full()).map_err(|error| format!("the last upkeep: {error}"))?;
        self.bound(&store);
        drop(store);
        let store = self.open().map_err(|text| format!("for the second time: {text}"))?;
        let oldest = oldest.max(oldest_live(self.path).map_err(text)?);
        let last = self.found(&store, "at the end", oldest);
        self.compare(&later, &last, "a checkpoint and opening");
        self.count(OLDEST_LIVE, u64::from(oldest));
        self.verify(&store);
        Ok(())
    }

    /// Writes down what was found when a checkpoint had returned, and when that was.
    fn note(&mut self, found: &Found) -> Result<(), String> {
        self.count(SAFE_AT_NS, now_ns());
        let values = found.iter().filter_map(|(name, number)| Some((name, (*number)?)));
        let line =
            |((writer, key), number): (&(u64, u64), u64)| format!("{writer} {key} {number}\n");
        let text: String = values.map(line).collect();
        std::fs::write(self.found, text).map_err(|error| format!("cannot note: {error}"))
    }

    fn found_before(&self) -> Found {
        let text = std::fs::read_to_string(self.found).unwrap_or_default();
        let line = |line: &str| {
            let mut numbers = line.split(' ').map(|word| word.parse().ok());
            let mut number = || numbers.next().flatten();
            Some(((number()?, number()?), Some(number()?)))
        };
        text.lines().filter_map(line).collect()
    }

    fn open(&self) -> Result<Store, String> {
        let env = CutEnv { boot: self.boot, forgets_syncs: false };
        Store::open_with(env.shared(), self.path, self.load.options(0))
            .map_err(|error| format!("the store does not open: {error}"))
    }

    /// Reads every key, and judges it.
    fn found(&mut self, store: &Store, when: &str, oldest: u32) -> Found {
        let mut found = Found::new();
        let mut verdicts = BTreeMap::new();
        for (writer, key) in (0..self.load.writers).flat_map(|w| (0..KEYS).map(move |k| (w, k))) {
            let number = match self.get(store, writer, key, when) {
                Ok(number) => number,
                Err(what) => {
                    self.fail(what);
                    continue;
                }
            };
            found.insert((writer, key), number);
            match self.ledger.judge(writer, key, number, self.moment, oldest) {
                Ok(verdict) => *verdicts.entry(verdict.name()).or_insert(0) += 1,
                Err(what) => self.fail(format!("{when}: key {key} of writer {writer}: {what}")),
            }
        }
        if when == "after the cut" {
            verdicts.into_iter().for_each(|(name, count)| self.count(name, count));
        }
        found
    }

    /// The number of the operation that put what is found under a key.
    fn get(&self, store: &Store, writer: u64, key: u64, when: &str) -> Result<Option<u64>, String> {
        let name = content::key_of(self.load.seed, writer, key);
        let place = format!("{when}: key {key} of writer {writer}");
        match store.get(&name) {
            Ok(None) => Ok(None),
            Ok(Some(record)) => match self.whose(&record) {
                Ok((_, number, _)) => Ok(Some(number)),
                Err(what) => Err(format!("{place} is wrong: {what}")),
            },
            Err(error) => Err(format!("{place} cannot be read: {error}")),
        }
    }

    fn whose(&self, record: &Record) -> Result<(u64, u64, u64), String> {
        content::check(self.load.seed, self.load.segment_bytes, record)
    }

    /// Reads all records of a snapshot; `expected` is what look-ups found, if that is to be the
    /// same.
    fn snapshot(&mut self, store: &Store, when: &str, expected: Option<&Found>) {
        let snapshot = match store.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return self.fail(format!("{when}: a snapshot failed: {error}")),
        };
        let mut found = Found::new();
        for record in snapshot.iter() {
            match self.whose(&record) {
                Ok((writer, number, key)) if writer < WRITER => {
                    found.insert((writer, key), Some(number));
                }
                Ok(_) => {}
                Err(what) => {
                    self.fail(format!("{when}: a record of a snapshot is wrong: {what}"));
                }
            }
        }
        for ((writer, key), number) in expected.into_iter().flatten() {
            let other = found.remove(&(*writer, *key)).flatten();
            if other != *number {
                let text = format!("{when}: key {key} of writer {writer} has {number:?}");
                self.fail(format!("{text}, in a snapshot {other:?}"));
            }
        }
    }

    /// The store occupies no more than it may.
    fn bound(&mut self, store: &Store) {
        match store.stats() {
            Ok(stats) if stats.disk_bytes <= stats.max_size_bytes => {}
            Ok(stats) => {
                let [bytes, max] = [stats.disk_bytes, stats.max_size_bytes];
                self.fail(format!("the store occupies {bytes} bytes, {max} are allowed"));
            }
            Err(error) => self.fail(format!("there are no sizes: {error}")),
        }
    }

    fn compare(&mut self, before: &Found, after: &Found, what: &str) {
        for ((writer, key), number) in before {
            let later = after.get(&(*writer, *key)).copied().flatten();
            let is_evicted = self.load.evicts() && later.is_none();
            if number.is_none() && later.is_some() {
                self.count(&format!("keys that were found only after {what}"), 1);
            }
            let Some(number) = number.filter(|_| !is_evicted) else { continue };
            if !self.ledger.is_no_older(*writer, *key, number, later) {
                let text = format!("{what} changed key {key} of writer {writer}");
                self.fail(format!("{text} from {number} to {later:?}"));
            }
        }
    }

    fn verify(&mut self, store: &Store) {
        match store.verify(|_, _| {}) {
            Ok(report) => {
                for damage in report.damaged {
                    self.fail(format!("damage is left after upkeep: {damage:?}"));
                }
            }
            Err(error) => self.fail(format!("verify failed: {error}")),
        }
    }

    /// Puts, removes and gets as if nothing had happened.
    fn go_on(&mut self, store: &Store, numbers: Range<u64>) -> Result<(), String> {
        let writer = WRITER + self.boot;
        let mut has = BTreeMap::new();
        for number in numbers {
            let operation = Operation::new(self.load.seed, self.load.segment_bytes, writer, number);
            let mut put = store.put_all(&operation.entries());
            if matches!(put, Ok(Put::Dropped(DropReason::Full))) {
                let upkeep = store.maintain(Budget::full());
                upkeep.map_err(|error| format!("upkeep of a full store: {error}"))?;
                put = store.put_all(&operation.entries());
            }
            if !matches!(put, Ok(Put::Stored)) {
                return Err(format!("a put after the cut: {put:?}"));
            }
            for (key, change) in operation.changes {
                has.insert(key, (change != Change::Remove).then_some(number));
            }
        }
        for (key, expected) in has {
            let found = self.get(store, writer, key, "put after the cut")?;
            if found != expected {
                self.fail(format!("put after the cut: {found:?} instead of {expected:?}"));
            }
        }
        Ok(())
    }
}
