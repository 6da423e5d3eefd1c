//! What the conductor knows: who said what, and what follows from it.

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::board::{Acknowledged, Writing};
use super::content::{Put, SHARED_KEYS, What};
use super::message::Message;
use super::{LOCK_WAIT_US_MAX, content};

/// Something that took long, unless its worker stood still.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wait {
    /// Who waited.
    pub worker: u32,
    /// For a lock, or during a whole put or get.
    pub what: String,
    /// Monotonic clock, in milliseconds.
    pub from_ms: u64,
    /// Monotonic clock, in milliseconds.
    pub to_ms: u64,
    /// Without what the processor explains, in microseconds.
    pub wait_us: u64,
}

/// What a writer did last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Number of the next put that it has said nothing about.
    pub next: u32,
}

/// The newest acknowledged put of a shared key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Newest {
    /// Its sequence.
    pub sequence: u64,
    /// Its segment.
    pub segment: u32,
    /// Whether it was a removal.
    pub is_removal: bool,
}

/// Failures beyond these are only counted.
const FAILURES_SHOWN: usize = 40;

/// Everything that was said.
#[derive(Debug)]
pub struct Ledger {
    seed: u64,
    board: Writing,
    /// Puts of own keys that were acknowledged.
    pub acknowledged: Vec<Acknowledged>,
    /// The sequence numbers of puts of shared keys that were acknowledged, by writer and number.
    pub shared: HashMap<(u32, u32), u64>,
    /// The newest acknowledged put of each shared key.
    pub newest: [Newest; SHARED_KEYS as usize],
    /// How far each writer has come.
    pub progress: HashMap<u32, Progress>,
    /// Drops by reason.
    pub drops: BTreeMap<String, u64>,
    /// Bytes of bodies that puts left in the log without a record: of earlier attempts, and of
    /// drops.
    pub left_bytes: u64,
    /// How often.
    pub left_count: u64,
    /// Puts that returned `Stored`.
    pub stored: u64,
    /// Sums by name.
    pub sums: BTreeMap<String, u64>,
    /// Longest of each kind in microseconds, without what the processor explains.
    pub maxima: BTreeMap<String, u64>,
    /// What took longer than 10 ms.
    pub waits: Vec<Wait>,
    /// What is wrong.
    pub failures: Vec<String>,
    /// How much is wrong.
    pub failure_count: u64,
}

impl Ledger {
    /// An empty one.
    pub fn new(seed: u64, board: Writing) -> Ledger {
        Ledger {
            seed,
            board,
            acknowledged: Vec::new(),
            shared: HashMap::new(),
            newest: Default::default(),
            progress: HashMap::new(),
            drops: BTreeMap::new(),
            left_bytes: 0,
            left_count: 0,
            stored: 0,
            sums: BTreeMap::new(),
            maxima: BTreeMap::new(),
            waits: Vec::new(),
            failures: Vec::new(),
            failure_count: 0,
        }
    }

    /// Notes that something is wrong.
    pub fn fail(&mut self, text: String) {
        self.failure_count += 1;
        if self.failures.len() < FAILURES_SHOWN {
            eprintln!("\rstorm: {text}");
            self.failures.push(text);
        }
    }

    /// Takes what a worker said, but for greetings and requests.
    ///
    /// # Errors
    /// If the board cannot be written.
    pub fn hear(&mut self, message: Message) -> io::Result<()> {
        match message {
            Message::Stored(writer, number, segment, sequence, left_bytes) => {
                self.left(left_bytes);
                self.stored += 1;
                self.progress.entry(writer).or_default().next = number + 1;
                self.stored(Acknowledged { writer, number, segment, sequence })?;
            }
            Message::Dropped(writer, number, reason, left_bytes) => {
                self.left(left_bytes);
                self.progress.entry(writer).or_default().next = number + 1;
                if reason == "Poisoned" || reason == "ReadOnly" {
                    self.fail(format!("writer {writer} dropped a put because of {reason}"));
                }
                *self.drops.entry(reason).or_default() += 1;
            }
            Message::Waited(worker, what, from_ms, to_ms, wait_us) => {
                self.waits.push(Wait { worker, what, from_ms, to_ms, wait_us });
            }
            Message::Sum(_, numbers) => {
                for (name, number) in numbers {
                    *self.sums.entry(name).or_default() += number;
                }
            }
            Message::Failure(worker, text) => self.fail(format!("worker {worker}: {text}")),
            Message::Hello(..) | Message::Aim(..) => {}
        }
        Ok(())
    }

    fn left(&mut self, bytes: u64) {
        self.left_bytes += bytes;
        self.left_count += u64::from(bytes > 0);
    }

    fn stored(&mut self, put: Acknowledged) -> io::Result<()> {
        if put.sequence == 0 || put.segment == 0 {
            self.fail(format!("put {} of writer {} has no frame", put.number, put.writer));
        }
        match Put::new(self.seed, put.writer, put.number).what {
            What::Blob | What::Pair => {
                self.board.add(&put)?;
                self.acknowledged.push(put);
            }
            What::Shared(key) => self.raise(key, put, false)?,
            What::Removal(key) => self.raise(key, put, true)?,
        }
        Ok(())
    }

    fn raise(&mut self, key: u64, put: Acknowledged, is_removal: bool) -> io::Result<()> {
        self.shared.insert((put.writer, put.number), put.sequence);
        let newest = &mut self.newest[key as usize];
        if put.sequence > newest.sequence {
            *newest = Newest { sequence: put.sequence, segment: put.segment, is_removal };
            self.board.raise(key, put.sequence, put.segment)?;
        }
        Ok(())
    }

    /// Judges the waits: `stood` says whether a worker stood still within a span of time. Returns
    /// how many are left out because of that.
    pub fn judge_waits(&mut self, stood: impl Fn(u32, u64, u64) -> bool) -> u64 {
        let mut left_out = 0;
        for wait in std::mem::take(&mut self.waits) {
            if stood(wait.worker, wait.from_ms, wait.to_ms) {
                left_out += 1;
                continue;
            }
            let longest = self.maxima.entry(wait.what.clone()).or_default();
            *longest = wait.wait_us.max(*longest);
            if wait.what == "lock" && wait.wait_us > LOCK_WAIT_US_MAX {
                let (us, ms) = (wait.wait_us, wait.to_ms - wait.from_ms);
                self.fail(format!("worker {} waited {us} us for a lock, of {ms} ms", wait.worker));
            }
        }
        left_out
    }

    /// Bytes that the puts which writers had under way when they were killed can have left, in two
    /// attempts each; and how many puts that is.
    pub fn under_way(&self, writers: &[u32]) -> (u64, u64) {
        let bytes = writers.iter().map(|writer| {
            let next = self.progress.get(writer).copied().unwrap_or_default().next;
            2 * content::Put::new(self.seed, *writer, next).bytes_bound()
        });
        (bytes.sum(), writers.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(folder: &tempfile::TempDir) -> Ledger {
        Ledger::new(1, Writing::new(folder.path()).unwrap())
    }

    #[test]
    fn a_long_wait_is_a_failure_unless_its_worker_stood_still() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(&folder);
        let wait = |worker, us| Message::Waited(worker, "lock".into(), 1_000, 1_100, us);
        ledger.hear(wait(1, LOCK_WAIT_US_MAX + 1)).unwrap();
        ledger.hear(wait(2, LOCK_WAIT_US_MAX)).unwrap();
        assert_eq!(ledger.judge_waits(|worker, _, _| worker == 1), 1);
        assert_eq!(ledger.failure_count, 0);
        ledger.hear(wait(1, LOCK_WAIT_US_MAX + 1)).unwrap();
        ledger.hear(Message::Waited(1, "put".into(), 1_000, 2_000, 990_000)).unwrap();
        assert_eq!(ledger.judge_waits(|_, _, _| false), 0);
        assert_eq!(ledger.failure_count, 1);
    }

    #[test]
    fn what_is_said_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(&folder);
        let blob = (0..).find(|n| Put::new(1, 7, *n).what == What::Blob).unwrap();
        ledger.hear(Message::Stored(7, blob, 3, 9, 100)).unwrap();
        ledger.hear(Message::Dropped(7, blob + 1, "Busy".into(), 50)).unwrap();
        assert_eq!((ledger.left_bytes, ledger.left_count), (150, 2));
        assert_eq!(ledger.acknowledged.len(), 1);
        assert_eq!(ledger.progress[&7].next, blob + 2);
        assert_eq!(ledger.failure_count, 0);
        ledger.hear(Message::Dropped(7, blob + 2, "Poisoned".into(), 0)).unwrap();
        ledger.hear(Message::Stored(7, blob, 0, 0, 0)).unwrap();
        ledger.hear(Message::Failure(7, "lost".into())).unwrap();
        assert_eq!(ledger.failure_count, 3);
    }
}
