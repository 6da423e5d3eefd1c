//! Random entries to store, and whether a record is the entry that was stored.
//!
//! 1. Everything comes from a seed, so a failure can be had again.
//! 2. A value is compared whole: kind, namespace, time, and each section's kind, mode, name, bytes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use larder_engine::checksum::xxh3_64;
use larder_engine::{Entry, Key, Record, RecordKind, Section, SectionKind};

/// Random numbers from a seed.
#[derive(Clone, Debug)]
pub struct Random(u64, u64);

impl Random {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed, 0)
    }

    /// The next one.
    pub fn number(&mut self) -> u64 {
        self.1 += 1;
        xxh3_64(&self.1.to_le_bytes(), self.0)
    }

    /// The next one below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound.max(1)
    }

    /// One of several.
    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Bytes that compress well, or not at all.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let noise = self.below(2) == 0;
        let word = self.number().to_le_bytes();
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&if noise { self.number().to_le_bytes() } else { word });
        }
        bytes.truncate(count);
        bytes
    }

    /// A length: often one at which a layout changes, sometimes `largest`.
    pub fn length(&mut self, largest: usize) -> usize {
        let edges = [0, 1, 63, 64, 4095, 4096, 4097, 8192, 16383, 16384, 16385, 20480, largest];
        match self.below(10) {
            0..=5 => self.below(1500) as usize,
            6..=7 => (*self.choose(&edges)).min(largest),
            8 => self.below(30_000) as usize % (largest + 1),
            _ => self.below(largest as u64 + 1) as usize,
        }
    }
}

/// One section of a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    kind: SectionKind,
    mode: u16,
    name: Vec<u8>,
    data: Vec<u8>,
}

/// What is stored under a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value {
    kind: RecordKind,
    namespace: String,
    created_secs: u64,
    parts: Vec<Part>,
}

const KINDS: &[RecordKind] = &[
    RecordKind::Result,
    RecordKind::Manifest,
    RecordKind::Alias,
    RecordKind::Foreign,
    RecordKind::Blob,
];

impl Value {
    /// A random value whose sections have up to `largest` bytes.
    pub fn random(random: &mut Random, largest: usize) -> Value {
        let kinds: Vec<SectionKind> =
            SectionKind::ALL.iter().copied().filter(|kind| *kind != SectionKind::Group).collect();
        let parts = (0..random.below(6))
            .map(|_| {
                let length = random.length(largest);
                let name_length = *random.choose(&[0, 0, 5, 300]);
                Part {
                    kind: *random.choose(&kinds),
                    mode: *random.choose(&[0, 0o644, 0o755, 0o7777]),
                    name: random.bytes(name_length),
                    data: random.bytes(length),
                }
            })
            .collect();
        Value {
            kind: *random.choose(KINDS),
            namespace: "n".repeat(*random.choose(&[0, 0, 3, 255])),
            created_secs: random.below(1 << 33),
            parts,
        }
    }

    /// A value with one section of these bytes.
    pub fn of(data: impl Into<Vec<u8>>) -> Value {
        let data = data.into();
        let part = Part { kind: SectionKind::Object, mode: 0o644, name: Vec::new(), data };
        Value {
            kind: RecordKind::Result,
            namespace: String::new(),
            created_secs: 7,
            parts: vec![part],
        }
    }

    /// The entry that stores it under a key.
    pub fn entry(&self, key: Key) -> Entry<'_> {
        let section = |part: &'_ Part| {
            Section::new(part.kind, part.data.clone()).mode(part.mode).name(part.name.clone())
        };
        let mut entry = Entry::new(key, self.kind, self.parts.iter().map(section).collect());
        entry.namespace = self.namespace.as_str().into();
        entry.created_secs = Some(self.created_secs);
        entry
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A few words that tell it from others.
    pub fn label(&self) -> String {
        let bytes: usize = self.parts.iter().map(|part| part.data.len()).sum();
        let hash = |seed, part: &Part| xxh3_64(&part.data, seed);
        let hash = self.parts.iter().fold(self.created_secs, hash);
        format!("{bytes} bytes #{:08x}", hash as u32)
    }

    /// The value of a record.
    ///
    /// # Errors
    /// If a section cannot be read.
    pub fn read(record: &Record) -> larder_engine::Result<Value> {
        let mut parts = Vec::new();
        for (number, info) in record.sections().iter().enumerate() {
            let data = record.read(number)?;
            assert_eq!(data.len() as u64, info.real_bytes, "a section has another length");
            parts.push(Part {
                kind: info.kind.expect("every kind that was stored is known"),
                mode: info.mode,
                name: info.name.clone(),
                data,
            });
        }
        Ok(Value {
            kind: record.kind().expect("every kind that was stored is known"),
            namespace: record.namespace().to_string(),
            created_secs: record.created_secs(),
            parts,
        })
    }
}

/// Keys: digests, and some that share their first eight bytes.
pub fn keys(count: usize) -> Vec<Key> {
    let key = |number: usize| match number % 3 {
        0 => {
            let mut bytes = [7; 32];
            bytes[8 + number % 24] = number as u8;
            bytes[31] = (number >> 1) as u8;
            Key::from_bytes(bytes)
        }
        _ => Key::of(&number.to_le_bytes()),
    };
    (0..count).map(key).collect()
}

/// Every file below a directory, with its bytes.
///
/// # Panics
/// If one cannot be read.
pub fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => found.extend(contents(&entry)),
            false => drop(found.insert(entry.clone(), fs::read(&entry).unwrap())),
        }
    }
    found
}

/// Copies a directory with everything in it.
///
/// # Panics
/// If something cannot be read or written, or `to` is there.
pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a new directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry of a directory");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a kind of file").is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// Bytes of the disk blocks of a file, or of a directory and all in it, as `du` says; 0 if there
/// is none.
pub fn disk_usage(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    let own = metadata.blocks() * 512;
    if !metadata.is_dir() {
        return own;
    }
    let inside = fs::read_dir(path).into_iter().flatten().flatten();
    inside.fold(own, |sum, entry| sum + disk_usage(&entry.path()))
}

/// Runs `test` with each committed seed and with fresh ones: `LARDER_TEST_SEEDS` says how many,
/// otherwise `count`. Says the seed of a failure.
///
/// # Panics
/// If `test` does.
pub fn with_seeds(committed: &[u64], count: u64, test: impl Fn(u64)) {
    let asked = std::env::var("LARDER_TEST_SEEDS").ok().and_then(|text| text.parse().ok());
    let fresh = 1_000_000..1_000_000 + asked.unwrap_or(count);
    for seed in committed.iter().copied().chain(fresh) {
        let run = std::panic::AssertUnwindSafe(|| test(seed));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("the failing seed is {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
