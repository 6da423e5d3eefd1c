//! What the benchmarks share: stores filled with reproducible values, what a store says of itself,
//! and timing of processes.

pub mod conversions;
pub mod crates;
pub mod entries;
pub mod loop_disk;
pub mod powercut;
pub mod process;
pub mod projects;
pub mod seeks;
pub mod soak;
pub mod storm;
pub mod tiers;
pub mod traces;

use std::path::Path;

use larder_engine::env::{Env, OpenMode, RealEnv};
use larder_engine::format::superblock::{READ_BYTES, Superblock};
use larder_engine::{Budget, Entry, Key, Options, Put, RecordKind, Section, SectionKind, Store};

/// The key of entry `number`.
pub fn key(number: u64) -> Key {
    Key::of(&number.to_le_bytes())
}

/// A value of `bytes` bytes of which about half is noise, as in an object file under zstd.
pub fn value(number: u64, bytes: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(bytes + 64);
    let mut block = 0u64;
    while value.len() < bytes {
        let noise = Key::of(&[number.to_le_bytes(), block.to_le_bytes()].concat());
        value.extend_from_slice(noise.as_bytes());
        value.extend_from_slice(&[0; 32]);
        block += 1;
    }
    value.truncate(bytes);
    value
}

/// Opens a store that has room for `entries` values of `bytes` bytes twice over.
///
/// # Panics
/// If it cannot be opened: a benchmark has nothing to measure then.
pub fn open(directory: &Path, entries: u64, bytes: usize) -> Store {
    let room = (entries * (bytes as u64 + 1024) * 2).max(256 << 20);
    Store::open(directory, Options::new().max_size_bytes(room)).expect("a store opens")
}

/// Puts one value.
///
/// # Panics
/// If it is not stored.
pub fn put(store: &Store, number: u64, value: &[u8]) {
    let section = Section::new(SectionKind::Object, value);
    let entry = Entry::new(key(number), RecordKind::Result, vec![section]);
    assert_eq!(store.put(&entry).expect("the disk works"), Put::Stored);
    if store.maintenance_due() {
        store.maintain(Budget::due()).expect("the disk works");
    }
}

/// Gets one value and checks that it is the one that was put.
///
/// # Panics
/// If it is not there.
pub fn get(store: &Store, number: u64) -> Vec<u8> {
    let record = store.get(&key(number)).expect("the disk works").expect("it was put");
    record.read(0).expect("it is whole")
}

/// Fills a store and merges it into the tree.
///
/// # Panics
/// If the disk does not work.
pub fn fill(store: &Store, entries: u64, bytes: usize) {
    for number in 0..entries {
        put(store, number, &value(number, bytes));
    }
    store.maintain(Budget::full()).expect("the disk works");
}

/// The oldest live segment, as the superblock has it now.
///
/// # Errors
/// If it cannot be read.
pub fn oldest_live(store: &Path) -> Result<u32, Box<dyn std::error::Error>> {
    let file = RealEnv.open(&store.join("superblock"), OpenMode::Read)?;
    for _ in 0..100 {
        let mut bytes = [0; READ_BYTES];
        let count = file.read_at(&mut bytes, 0)?;
        if let Ok(block) = Superblock::decode(&bytes[..count]) {
            return Ok(block.oldest_live);
        }
    }
    Err("the superblock cannot be read".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_is_right() {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), 50, 5000);
        fill(&store, 50, 5000);
        for number in 0..50 {
            assert_eq!(get(&store, number), value(number, 5000));
        }
        assert!(store.get(&key(50)).unwrap().is_none());
    }
}
