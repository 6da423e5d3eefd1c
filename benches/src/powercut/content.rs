//! What the writers of a recording do: a function of seed, writer and number, so that whoever finds
//! a record can tell every wrong byte of it.
//!
//! 1. Each writer has keys of its own, and changes them again and again, one after the other: so
//!    what may be found under a key is a span of that writer's operations.
//! 2. A value begins with the numbers of its operation, from which the rest follows.
//! 3. Sizes are log-uniform from 100 bytes to 200 KB; one in thirty is above half a segment.

use larder_engine::{Entry, Key, Record, RecordKind, Section, SectionKind};

use crate::storm::content::Random;

/// Keys of one writer.
pub const KEYS: u64 = 40;

const BYTES_MIN: u64 = 100;
const BYTES_MAX: u64 = 200_000;

/// What happens to one key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It gets a value of so many bytes.
    Put(usize),
    /// It is removed.
    Remove,
}

/// The n-th operation of a writer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    seed: u64,
    writer: u64,
    number: u64,
    /// The keys that it changes, and how; all in one commit.
    pub changes: Vec<(u64, Change)>,
}

impl Operation {
    /// It follows from these numbers.
    pub fn new(seed: u64, segment_bytes: u64, writer: u64, number: u64) -> Operation {
        let mut random = Random::new(&[seed, writer, number]);
        let put = |random: &mut Random| Change::Put(size(random, segment_bytes));
        let key = random.below(KEYS);
        let changes = match random.below(20) {
            0..=1 => vec![(key, Change::Remove)],
            2..=5 => {
                let count = 2 + random.below(3);
                (0..count).map(|n| ((key + n) % KEYS, put(&mut random))).collect()
            }
            _ => vec![(key, put(&mut random))],
        };
        Operation { seed, writer, number, changes }
    }

    /// What is to be stored.
    pub fn entries(&self) -> Vec<Entry<'static>> {
        let entry = |(key, change): &(u64, Change)| {
            let name = key_of(self.seed, self.writer, *key);
            match change {
                Change::Put(bytes) => {
                    let value = Section::new(SectionKind::Object, self.value(*key, *bytes));
                    let note = Section::new(SectionKind::Stderr, self.note(*key));
                    Entry::new(name, RecordKind::Result, vec![value, note])
                }
                Change::Remove => Entry::new(name, RecordKind::Tombstone, Vec::new()),
            }
        };
        self.changes.iter().map(entry).collect()
    }

    fn note(&self, key: u64) -> Vec<u8> {
        let numbers = [self.writer, self.number, key, self.seed];
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// Noise, or in one of three operations something that compresses.
    fn value(&self, key: u64, bytes: usize) -> Vec<u8> {
        let mut value = self.note(key);
        value.reserve(bytes);
        let mut random = Random::new(&[self.seed, self.writer, self.number, key]);
        let mask = if self.number.is_multiple_of(3) { 0x0000_00ff_0000_00ff } else { u64::MAX };
        while value.len() < bytes {
            value.extend_from_slice(&(random.number() & mask).to_le_bytes());
        }
        value.truncate(bytes);
        value
    }
}

/// The key of a writer's key number.
pub fn key_of(seed: u64, writer: u64, key: u64) -> Key {
    Key::of(&[seed.to_le_bytes(), writer.to_le_bytes(), key.to_le_bytes()].concat())
}

/// Of which writer, operation and key a record is, after comparing every byte of it.
///
/// # Errors
/// What is wrong with it.
pub fn check(seed: u64, segment_bytes: u64, record: &Record) -> Result<(u64, u64, u64), String> {
    let read = |section: usize| {
        record.read(section).map_err(|error| format!("a section cannot be read: {error}"))
    };
    if record.sections().len() != 2 {
        return Err(format!("it has {} sections", record.sections().len()));
    }
    check_bytes(seed, segment_bytes, record.key(), &read(0)?, &read(1)?)
}

fn check_bytes(
    seed: u64,
    segment_bytes: u64,
    name: Key,
    value: &[u8],
    note: &[u8],
) -> Result<(u64, u64, u64), String> {
    let number = |index: usize| {
        let bytes = value.get(index * 8..index * 8 + 8).ok_or("it is too short")?;
        Ok::<_, String>(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    };
    let (writer, count, key) = (number(0)?, number(1)?, number(2)?);
    let operation = Operation::new(seed, segment_bytes, writer, count);
    let what = format!("operation {count} of writer {writer}");
    let bytes = operation.changes.iter().find_map(|(other, change)| match change {
        Change::Put(bytes) if *other == key => Some(*bytes),
        _ => None,
    });
    let bytes = bytes.ok_or_else(|| format!("{what} does not put key {key}"))?;
    if key_of(seed, writer, key) != name {
        return Err(format!("it is of {what}, which is of another key"));
    }
    if value != operation.value(key, bytes) || note != operation.note(key) {
        return Err(format!("{what} has wrong bytes"));
    }
    Ok((writer, count, key))
}

fn size(random: &mut Random, segment_bytes: u64) -> usize {
    if random.below(30) == 0 {
        return (segment_bytes / 2 + random.below(segment_bytes)) as usize;
    }
    let span = (BYTES_MAX as f64 / BYTES_MIN as f64).ln();
    (BYTES_MIN as f64 * (span * random.share()).exp()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_another_key_and_another_seed_are_noticed() {
        let put = |operation: &Operation| matches!(operation.changes[0].1, Change::Put(_));
        let operation = (0..).map(|n| Operation::new(1, 65536, 2, n)).find(put).unwrap();
        let (key, Change::Put(bytes)) = operation.changes[0] else { unreachable!() };
        let (mut value, note) = (operation.value(key, bytes), operation.note(key));
        let name = key_of(1, 2, key);
        let check = |seed, name, value: &[u8]| check_bytes(seed, 65536, name, value, &note);
        assert_eq!(check(1, name, &value), Ok((2, operation.number, key)));
        assert!(check(1, key_of(1, 2, key + 1), &value).is_err());
        assert!(check(2, name, &value).is_err());
        assert!(check(1, name, &value[..bytes - 1]).is_err());
        *value.last_mut().unwrap() ^= 1;
        assert!(check(1, name, &value).is_err());
    }

    #[test]
    fn operations_put_replace_remove_and_put_several() {
        let operations: Vec<_> = (0..2000).map(|n| Operation::new(3, 1 << 20, 1, n)).collect();
        let several = operations.iter().filter(|operation| operation.changes.len() > 1).count();
        let removals = operations.iter().filter(|o| o.changes[0].1 == Change::Remove).count();
        assert!((200..800).contains(&several) && (100..400).contains(&removals));
        let large = operations.iter().flat_map(|operation| &operation.changes);
        assert!(large.filter(|(_, c)| matches!(c, Change::Put(n) if *n > 1 << 19)).count() > 20);
    }
}
