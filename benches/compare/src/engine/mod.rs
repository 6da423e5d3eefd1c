//! The engines under one small trait.
//!
//! 1. Nobody syncs on a put.
//! 2. Every get is verified: larder checks the XXH3 of its sections itself, the others carry an
//!    XXH3-128 beside the value, which is compared here.
//! 3. Every get returns bytes of its own, so that none has a copy less than the others.

mod files;
mod fjall;
mod larder;
mod lmdb;
mod redb;
mod sqlite;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// Length of a key in bytes.
pub const KEY_BYTES: usize = 32;

/// Length of the checksum that engines without one carry with a value.
const CHECK_BYTES: usize = 16;

/// One open store of an engine.
///
/// Methods panic where the engine fails: there is nothing to measure then.
pub trait Engine {
    /// Stores a value, without waiting for the disk. Answers `false` if it was dropped.
    fn put(&mut self, key: &[u8; KEY_BYTES], value: &[u8]) -> bool;

    /// The value, verified.
    fn get(&self, key: &[u8; KEY_BYTES]) -> Option<Vec<u8>>;

    /// Stores many values in the fastest way there is, to fill a store.
    fn fill(&mut self, entries: &mut dyn Iterator<Item = ([u8; KEY_BYTES], Vec<u8>)>) {
        for (key, value) in entries {
            assert!(self.put(&key, &value), "a put was dropped");
        }
    }

    /// Upkeep after a fill: whatever the engine does before others open the store.
    fn settle(&mut self) {}
}

/// Which engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// larder with its defaults: zstd.
    Larder,
    /// larder with values stored as they are.
    LarderRaw,
    /// LMDB by heed.
    Lmdb,
    /// redb.
    Redb,
    /// fjall.
    Fjall,
    /// SQLite by rusqlite.
    Sqlite,
    /// One file per entry.
    Files,
}

impl Kind {
    /// Every engine; ratios are to the first one of a table.
    pub const ALL: &[Kind] = &[
        Kind::LarderRaw,
        Kind::Larder,
        Kind::Lmdb,
        Kind::Redb,
        Kind::Fjall,
        Kind::Sqlite,
        Kind::Files,
    ];

    /// Name in tables and arguments.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Larder => "larder-zstd",
            Kind::LarderRaw => "larder-raw",
            Kind::Lmdb => "lmdb",
            Kind::Redb => "redb",
            Kind::Fjall => "fjall",
            Kind::Sqlite => "sqlite",
            Kind::Files => "files",
        }
    }

    /// Opens the store in `directory`, which must exist; it is made if it is empty.
    pub fn open(self, directory: &Path, max_bytes: u64) -> Box<dyn Engine> {
        match self {
            Kind::Larder => Box::new(larder::open(directory, larder::compressed(max_bytes))),
            Kind::LarderRaw => Box::new(larder::open(directory, larder::raw(max_bytes))),
            Kind::Lmdb => Box::new(lmdb::open(directory, max_bytes, false)),
            Kind::Redb => Box::new(redb::open(directory)),
            Kind::Fjall => Box::new(fjall::open(directory)),
            Kind::Sqlite => Box::new(sqlite::open(directory)),
            Kind::Files => Box::new(files::open(directory)),
        }
    }
}

impl Kind {
    /// Opens a store that is there for reading only, where the engine knows a way; else as usual.
    pub fn open_read_only(self, directory: &Path, max_bytes: u64) -> Box<dyn Engine> {
        match self {
            Kind::LarderRaw => {
                Box::new(larder::open(directory, larder::raw(max_bytes).read_only(true)))
            }
            Kind::Lmdb => Box::new(lmdb::open(directory, max_bytes, true)),
            other => other.open(directory, max_bytes),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Kind, String> {
        let found = Kind::ALL.iter().copied().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("no engine is called {text}"))
    }
}

/// The checksum that goes with a value.
fn check(value: &[u8]) -> [u8; CHECK_BYTES] {
    xxhash_rust::xxh3::xxh3_128(value).to_le_bytes()
}

/// A value that stands before its checksum, verified and copied.
fn verified(stored: &[u8]) -> Vec<u8> {
    let (value, expected) = stored.split_at(stored.len() - CHECK_BYTES);
    assert_eq!(check(value), expected, "a value is damaged");
    value.to_vec()
}
