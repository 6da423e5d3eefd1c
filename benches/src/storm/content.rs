//! What a writer puts: a function of seed, writer and number, so that every reader can check it.
//!
//! 1. A record says of itself whose it is: the first 32 bytes of its object name writer, number and
//!    part, from which the rest follows. The second section repeats them.
//! 2. Sizes are log-normal around 4 KB, from 100 bytes to 8 MB; one in two thousand is of 8 MB.
//! 3. A pair is a result and the manifest that leads to it, put together, the result first.

use larder_engine::{Entry, Key, Record, RecordKind, Section, SectionKind};

/// Keys that all writers write. The first half is never removed.
pub const SHARED_KEYS: u64 = 16;

const BYTES_MIN: usize = 100;
const BYTES_MAX: usize = 8_000_000;
const BYTES_MEDIAN: f64 = 4_000.0;
/// Of the logarithm: one in a hundred is above 300 KB.
const SIGMA: f64 = 1.9;
const LARGEST_ONE_IN: u64 = 2_000;

/// Largest record of [`bytes_bound`] beside its object: frame, head, second section, alignment.
const OVERHEAD_BYTES: u64 = 8_192;

/// Random numbers (SplitMix64): quick enough to make gigabytes of noise.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of several seeds.
    pub fn new(seeds: &[u64]) -> Random {
        let mut random = Random(0);
        for seed in seeds {
            random.0 ^= *seed;
            random.0 = random.number();
        }
        random
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// The next one below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }

    /// Between 0 and 1, without the ends.
    pub fn share(&mut self) -> f64 {
        ((self.number() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Exponentially distributed around a mean: the time until something that happens at random.
    pub fn wait(&mut self, mean: f64) -> f64 {
        -self.share().ln() * mean
    }
}

/// What a put is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// One record under a key of its own.
    Blob,
    /// A result and its manifest.
    Pair,
    /// A record of a shared key.
    Shared(u64),
    /// The removal of a shared key.
    Removal(u64),
}

/// A writer's n-th put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Put {
    /// Of the storm.
    pub seed: u64,
    /// Whose.
    pub writer: u32,
    /// Which of its puts.
    pub number: u32,
    /// What.
    pub what: What,
    /// Bytes of the object of each part.
    bytes: [usize; 2],
}

/// Which part of a put a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The blob, the result of a pair, or the shared record.
    Main = 0,
    /// The manifest of a pair.
    Manifest = 1,
}

impl Put {
    /// The n-th put of a writer.
    pub fn new(seed: u64, writer: u32, number: u32) -> Put {
        let mut random = Random::new(&[seed, u64::from(writer), u64::from(number)]);
        let what = match random.below(20) {
            0..=5 => What::Pair,
            6..=8 => What::Shared(random.below(SHARED_KEYS)),
            9 => What::Removal(SHARED_KEYS / 2 + random.below(SHARED_KEYS / 2)),
            _ => What::Blob,
        };
        let bytes = [size(&mut random), size(&mut random).min(200_000)];
        Put { seed, writer, number, what, bytes }
    }

    /// The key of a part.
    pub fn key(&self, part: Part) -> Key {
        match self.what {
            What::Shared(key) | What::Removal(key) => shared_key(self.seed, key),
            What::Blob | What::Pair => {
                let owner = u64::from(self.writer) << 32 | u64::from(self.number);
                key_of(self.seed, owner, part as u64)
            }
        }
    }

    /// Bytes that an attempt at this put can take in the log.
    pub fn bytes_bound(&self) -> u64 {
        let parts = if self.what == What::Pair { 2 } else { 1 };
        self.bytes[..parts].iter().map(|bytes| *bytes as u64 + OVERHEAD_BYTES).sum()
    }

    /// What is to be put, the result before its manifest.
    pub fn entries(&self) -> Vec<Entry<'static>> {
        let entry = |part, kind| {
            let object = Section::new(SectionKind::Object, self.object(part)).mode(0o644);
            let note = Section::new(SectionKind::Stderr, self.note(part));
            Entry::new(self.key(part), kind, vec![object, note])
        };
        match self.what {
            What::Pair => vec![
                entry(Part::Main, RecordKind::Result),
                entry(Part::Manifest, RecordKind::Manifest),
            ],
            What::Removal(_) => {
                vec![Entry::new(self.key(Part::Main), RecordKind::Tombstone, Vec::new())]
            }
            What::Blob | What::Shared(_) => vec![entry(Part::Main, RecordKind::Blob)],
        }
    }

    fn note(&self, part: Part) -> Vec<u8> {
        let numbers = [u64::from(self.writer), u64::from(self.number), part as u64, self.seed];
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// Noise, or for one put in three something that compresses.
    fn object(&self, part: Part) -> Vec<u8> {
        let bytes = self.bytes[part as usize];
        let mut object = Vec::with_capacity(bytes + 8);
        object.extend(self.note(part));
        let mut random =
            Random::new(&[self.seed, u64::from(self.writer), u64::from(self.number), part as u64]);
        let is_dull = self.number.is_multiple_of(3);
        while object.len() < bytes {
            let word = random.number();
            let word = if is_dull { word & 0x0000_00ff_0000_00ff } else { word };
            object.extend_from_slice(&word.to_le_bytes());
        }
        object.truncate(bytes);
        object
    }
}

/// Whose a record is, after comparing every byte of it.
///
/// # Errors
/// What is wrong with it.
pub fn check(seed: u64, key: Key, record: &Record) -> Result<(Put, Part), String> {
    let read = |section: usize| {
        record.read(section).map_err(|error| format!("a section cannot be read: {error}"))
    };
    if record.sections().len() != 2 {
        return Err(format!("it has {} sections", record.sections().len()));
    }
    let (put, part) = check_object(seed, key, &read(0)?)?;
    if read(1)? != put.note(part) {
        return Err("the second section is not that of the first".into());
    }
    Ok((put, part))
}

/// The same for the bytes of its object.
///
/// # Errors
/// What is wrong with them.
pub fn check_object(seed: u64, key: Key, object: &[u8]) -> Result<(Put, Part), String> {
    let number = |index: usize| {
        let bytes = object.get(index * 8..index * 8 + 8).ok_or("it is too short")?;
        Ok::<_, String>(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
    };
    let (writer, count, part) = (number(0)?, number(1)?, number(2)?);
    let part = if part == 0 { Part::Main } else { Part::Manifest };
    let put = Put::new(seed, writer as u32, count as u32);
    if put.key(part) != key {
        return Err(format!("it is put {count} of writer {writer}, of another key"));
    }
    match object == put.object(part) {
        true => Ok((put, part)),
        false => Err(format!("put {count} of writer {writer} has wrong bytes")),
    }
}

/// The key that all writers share under a number.
pub fn shared_key(seed: u64, number: u64) -> Key {
    key_of(seed, u64::MAX, number)
}

/// A key that nobody writes.
pub fn absent_key(seed: u64, number: u64) -> Key {
    key_of(seed, number, u64::MAX)
}

fn key_of(seed: u64, owner: u64, part: u64) -> Key {
    Key::of(&[seed.to_le_bytes(), owner.to_le_bytes(), part.to_le_bytes()].concat())
}

/// Whether a shared key is never removed.
pub fn is_kept(shared: u64) -> bool {
    shared < SHARED_KEYS / 2
}

fn size(random: &mut Random) -> usize {
    let (one, two) = (random.share(), random.share());
    let normal = (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * two).cos();
    let bytes = (BYTES_MEDIAN.ln() + SIGMA * normal).exp() as usize;
    if random.below(LARGEST_ONE_IN) == 0 { BYTES_MAX } else { bytes.clamp(BYTES_MIN, BYTES_MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_and_another_key_are_noticed() {
        let put = (0..).map(|n| Put::new(1, 2, n)).find(|put| put.what == What::Blob).unwrap();
        let key = put.key(Part::Main);
        let mut object = put.object(Part::Main);
        assert_eq!(check_object(1, key, &object), Ok((put, Part::Main)));
        assert!(check_object(1, shared_key(1, 0), &object).is_err());
        assert!(check_object(2, key, &object).is_err());
        assert!(check_object(1, key, &object[..object.len() - 1]).is_err());
        *object.last_mut().unwrap() ^= 1;
        assert!(check_object(1, key, &object).is_err());
    }

    #[test]
    fn sizes_go_from_100_bytes_to_8_million_and_most_are_small() {
        let mut random = Random::new(&[1]);
        let mut sizes: Vec<usize> = (0..20_000).map(|_| size(&mut random)).collect();
        sizes.sort_unstable();
        assert_eq!((sizes[0], sizes[19_999]), (BYTES_MIN, BYTES_MAX));
        assert!((3_000..5_000).contains(&sizes[10_000]), "{}", sizes[10_000]);
    }
}
