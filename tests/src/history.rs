//! Histories: what processes did to a store and when, and whether a store may behave so.
//!
//! 1. A look-up answers with a value that was put to its key and not dropped, and with none that
//!    was replaced before it began.
//! 2. What one look-up found, no later one answers with something older, whoever asks. Where
//!    entries may have been evicted, one that was kept has a higher number later.
//! 3. What was acknowledged or found is not missed later, unless the miss was counted as damage, or
//!    the history allows eviction.
//! 4. A put by a process that died may have happened or not.

use std::collections::BTreeMap;

/// How a write ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It was acknowledged at that moment.
    Stored(u64),
    /// The store said that it was dropped.
    Dropped,
    /// Its process died.
    Died,
}

/// A put or a removal.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    /// The key's number.
    pub key: usize,
    /// The value's number; `None` is a removal.
    pub value: Option<u64>,
    /// When it began.
    pub begun: u64,
    /// How it ended.
    pub ended: Ended,
}

/// A look-up.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// The key's number.
    pub key: usize,
    /// The value's number, and the sequence number of its record.
    pub found: Option<(u64, u64)>,
    /// Whether a miss was counted as damage, as one of bytes that are just being written is.
    pub counted: bool,
    /// When it began.
    pub begun: u64,
    /// When it ended.
    pub ended: u64,
}

/// What happened to one store.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Writes, in any order.
    pub writes: Vec<Write>,
    /// Look-ups, in any order.
    pub reads: Vec<Read>,
    /// Whether entries may have been evicted.
    pub evicts: bool,
}

impl Write {
    fn may_have_happened(&self) -> bool {
        self.ended != Ended::Dropped
    }

    fn is_before(&self, moment: u64) -> bool {
        matches!(self.ended, Ended::Stored(ended) if ended < moment)
    }
}

impl History {
    /// Everything that no store may do.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for read in &self.reads {
            match read.found {
                Some((value, _)) => complaints.extend(self.check_found(read, value)),
                None => complaints.extend(self.check_missed(read)),
            }
        }
        complaints.extend(self.check_order());
        complaints
    }

    fn check_found(&self, read: &Read, value: u64) -> Option<String> {
        let put = self.writes.iter().find(|w| w.value == Some(value) && w.key == read.key);
        let Some(put) = put.filter(|put| put.begun < read.ended) else {
            return Some(format!("{read:?}: nobody has put that"));
        };
        if !put.may_have_happened() {
            return Some(format!("{read:?}: that put was dropped"));
        }
        let newer = self.writes.iter().find(|other| {
            other.key == read.key && put.is_before(other.begun) && other.is_before(read.begun)
        });
        newer.map(|newer| format!("{read:?}: replaced by {newer:?}"))
    }

    fn check_missed(&self, read: &Read) -> Option<String> {
        if read.counted || self.evicts {
            return None;
        }
        let there = self.writes.iter().find(|put| {
            let seen = |other: &Read| {
                other.key == put.key
                    && other.ended < read.begun
                    && other.found.is_some_and(|(value, _)| Some(value) == put.value)
            };
            put.key == read.key
                && put.value.is_some()
                && (put.is_before(read.begun) || self.reads.iter().any(seen))
                && !self.writes.iter().any(|removal| {
                    removal.key == read.key
                        && removal.value.is_none()
                        && removal.may_have_happened()
                        && removal.begun < read.ended
                        && !removal.is_before(put.begun)
                })
        });
        there.map(|put| format!("{read:?}: missed {put:?}"))
    }

    fn check_order(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut sequences = BTreeMap::new();
        for read in &self.reads {
            let Some((value, sequence)) = read.found else { continue };
            if *sequences.entry(value).or_insert(sequence) != sequence && !self.evicts {
                complaints.push(format!("{read:?}: had another sequence number before"));
            }
            let older = self.reads.iter().find(|later| {
                later.key == read.key
                    && read.ended < later.begun
                    && later.found.is_some_and(|(_, other)| other < sequence)
            });
            complaints.extend(older.map(|later| format!("{later:?}: older than {read:?}")));
        }
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(value: Option<u64>, begun: u64, ended: Ended) -> Write {
        Write { key: 0, value, begun, ended }
    }

    fn read(found: Option<(u64, u64)>, begun: u64) -> Read {
        Read { key: 0, found, counted: false, begun, ended: begun + 1 }
    }

    fn complaints(writes: &[Write], reads: &[Read]) -> usize {
        let history = History { writes: writes.to_vec(), reads: reads.to_vec(), evicts: false };
        history.complaints().len()
    }

    #[test]
    fn a_true_history_is_accepted() {
        let writes = [
            write(Some(1), 1, Ended::Stored(3)),
            write(Some(2), 5, Ended::Stored(20)),
            write(Some(3), 25, Ended::Died),
            write(Some(4), 40, Ended::Dropped),
            write(None, 50, Ended::Stored(60)),
        ];
        let reads = [
            read(None, 1),
            read(Some((1, 7)), 4),
            read(Some((1, 7)), 6),
            read(Some((2, 8)), 9),
            read(Some((3, 9)), 30),
            Read { counted: true, ..read(None, 44) },
            read(None, 61),
        ];
        assert_eq!(complaints(&writes, &reads), 0);
    }

    #[test]
    fn each_kind_of_wrong_answer_is_seen() {
        let one = write(Some(1), 1, Ended::Stored(3));
        let two = write(Some(2), 5, Ended::Stored(8));
        let removed = write(None, 5, Ended::Stored(8));
        let died = write(Some(3), 5, Ended::Died);
        let dropped = write(Some(4), 5, Ended::Dropped);
        assert_eq!(complaints(&[one], &[read(None, 4)]), 1, "a lost value");
        assert_eq!(complaints(&[one], &[read(Some((2, 1)), 4)]), 1, "a made-up value");
        assert_eq!(complaints(&[one], &[read(Some((1, 1)), 1)]), 0, "a value being put");
        assert_eq!(complaints(&[two], &[read(Some((2, 1)), 2)]), 1, "a value of the future");
        assert_eq!(complaints(&[one, two], &[read(Some((1, 1)), 9)]), 1, "an old value");
        assert_eq!(complaints(&[one, removed], &[read(Some((1, 1)), 9)]), 1, "a removed value");
        assert_eq!(complaints(&[dropped], &[read(Some((4, 1)), 9)]), 1, "a dropped value");
        let seen = [read(Some((3, 2)), 9), read(None, 12)];
        assert_eq!(complaints(&[died], &seen), 1, "a value that was seen and is gone");
        let back = [read(Some((3, 2)), 9), read(Some((1, 1)), 12)];
        assert_eq!(complaints(&[one, died], &back), 1, "a step back");
        let twice = [read(Some((1, 1)), 9), read(Some((1, 2)), 12)];
        assert_eq!(complaints(&[one], &twice), 1, "a value with two numbers");
    }
}
