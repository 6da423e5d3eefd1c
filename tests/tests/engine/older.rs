//! Ways in which an older value of a key once came back, each without any of the others.
//!
//! The store is on a simulated disk, so that its power can be cut and its files can be harmed. The
//! key has two values; the second is the one that was acknowledged last. What may be seen is the
//! second or none.

use std::path::{Path, PathBuf};

use larder_engine::env::OpenMode;
use larder_engine::{Budget, Key, Options, Put, ReadMode, RecordLayout, Store};
use larder_tests::crash::disk::{Disk, Lie};
use larder_tests::crash::image::{Harm, Keep};
use larder_tests::crash::session::STORE;
use larder_tests::sample::{Random, Value};

use super::{put, value_of};

const OLD: &[u8] = b"the value that was put first";
const NEW: &[u8] = b"the value that was put after it";

fn disk() -> Disk {
    Disk::new(Path::new(STORE).parent().unwrap(), 1, Lie::None)
}

fn open(disk: &Disk, segment_bytes: u64) -> Store {
    let options = Options::new().max_size_bytes(1 << 30).segment_bytes(segment_bytes);
    let options = options.layout(RecordLayout::Raw).read_mode(ReadMode::Pread);
    Store::open_with(disk.env(), Path::new(STORE), options).unwrap()
}

fn key() -> Key {
    Key::of(b"the key")
}

fn put_all(store: &Store, values: &[&[u8]]) {
    values.iter().for_each(|value| put(store, key(), &Value::of(*value)));
}

/// The older value is in the tree, and the newer one in a segment that is not.
fn both_values() -> Disk {
    let disk = disk();
    let store = open(&disk, super::SEGMENT_BYTES);
    put_all(&store, &[OLD]);
    store.checkpoint().unwrap();
    put_all(&store, &[NEW]);
    disk
}

/// Whether the newer value is found; the older one must not be.
fn is_found(store: &Store) -> bool {
    match value_of(store, &key()) {
        Some(value) => {
            assert_eq!(value, Value::of(NEW), "an older value came back");
            true
        }
        None => false,
    }
}

/// The segment in which some bytes stand, and where.
fn place(disk: &Disk, wanted: &[u8]) -> (PathBuf, u64) {
    let names = disk.env().list(&Path::new(STORE).join("log")).unwrap();
    let mut paths = names.iter().map(|name| Path::new(STORE).join("log").join(name));
    paths
        .find_map(|path| {
            let bytes = disk.contents(&path)?;
            let at = bytes.windows(wanted.len()).position(|window| window == wanted)?;
            Some((path, at as u64))
        })
        .unwrap()
}

fn overwrite(disk: &Disk, path: &Path, bytes: &[u8], at: u64) {
    disk.env().open(path, OpenMode::Write).unwrap().write_at(bytes, at).unwrap();
}

/// A repair removes keys whose newest value it drops. The tree that forgets the newest value was on
/// the disk before the removal was.
#[test]
fn the_power_goes_at_any_moment_of_a_repair() {
    let disk = disk();
    let store = open(&disk, super::SEGMENT_BYTES);
    for value in [OLD, NEW] {
        put_all(&store, &[value]);
        store.checkpoint().unwrap();
    }
    drop(store);
    // In its frame, so that nobody knows whose record it was.
    let path = place(&disk, NEW).0;
    let bytes = disk.contents(&path).unwrap();
    let frame = bytes.windows(4).position(|window| window == b"LRDF").unwrap() as u64;
    overwrite(&disk, &path, &[0xff; 4], frame + 20);
    disk.env().open(&path, OpenMode::Write).unwrap().sync().unwrap();
    let begun = disk.position();
    let store = open(&disk, super::SEGMENT_BYTES);
    assert!(!is_found(&store));
    let repaired = store.repair(|_, _| {}).unwrap();
    assert_eq!((repaired.records_dropped, repaired.keys_removed), (1, 1));
    drop(store);
    assert!(disk.position() > begun + 10);
    for cut in begun..=disk.position() {
        let left = disk.power_cut(cut, &Harm::worst(), &mut Random::new(1)).0;
        let store = open(&left, super::SEGMENT_BYTES);
        assert!(!is_found(&store), "at {cut}");
        store.maintain(Budget::full()).unwrap();
        assert!(!is_found(&store), "after upkeep at {cut}");
        drop(store);
        left.env().remove(&Path::new(STORE).join("index")).unwrap();
        assert!(!is_found(&open(&left, super::SEGMENT_BYTES)), "without the index at {cut}");
    }
}

/// Whoever commits writes a frame before he finds that the page of the table is full, and tries
/// again elsewhere. A mended table kept such frames instead of the records that had a slot.
#[test]
fn a_table_page_is_mended_that_was_full() {
    const SEGMENT: u64 = 512 << 10;
    let disk = disk();
    let store = open(&disk, SEGMENT);
    put_all(&store, &[OLD]);
    store.checkpoint().unwrap();
    put_all(&store, &[NEW]);
    for number in 0..300u32 {
        put(&store, Key::of(&number.to_le_bytes()), &Value::of(b"x".as_slice()));
    }
    drop(store);
    let nothing = Harm { data: Keep::All, lengths: Keep::All, names: Keep::All, ..Harm::worst() };
    let left = disk.power_cut(disk.position(), &nothing, &mut Random::new(1)).0;
    let store = open(&left, SEGMENT);
    assert!(is_found(&store));
    store.maintain(Budget::full()).unwrap();
    store.checkpoint().unwrap();
    assert!(is_found(&store));
    drop(store);
    left.env().remove(&Path::new(STORE).join("index")).unwrap();
    let store = open(&left, SEGMENT);
    assert!(is_found(&store));
    store.maintain(Budget::full()).unwrap();
    assert!(is_found(&store));
}

/// What a segment had that is not there any more, nobody knows, until upkeep has gone past it.
#[test]
fn a_segment_that_is_not_in_the_tree_is_missing() {
    let disk = both_values();
    disk.env().remove(&place(&disk, NEW).0).unwrap();
    let store = open(&disk, super::SEGMENT_BYTES);
    let damaged = || store.engine_counters().find(|(name, _)| *name == "engine_damaged").unwrap().1;
    let before = damaged();
    assert!(!is_found(&store));
    assert_eq!(damaged(), before + 1);
    assert!(store.maintenance_due(), "nobody would end that");
    assert!(store.snapshot().is_err());
}

/// A table that ends early was taken for one with fewer slots, by look-ups and by those who seal.
#[test]
fn a_table_is_cut_short() {
    let disk = both_values();
    let (path, _) = place(&disk, NEW);
    let file = disk.env().open(&path, OpenMode::Write).unwrap();
    for len_bytes in [4096, 4096 + 8, 6000, 8191] {
        file.set_len(len_bytes).unwrap();
        assert!(!is_found(&open(&disk, super::SEGMENT_BYTES)), "{len_bytes}");
    }
}

/// While a store is examined its users go on: what they miss they put again.
#[test]
fn a_repair_keeps_what_was_put_while_it_looked() {
    let disk = disk();
    let store = open(&disk, super::SEGMENT_BYTES);
    put_all(&store, &[OLD]);
    store.checkpoint().unwrap();
    put_all(&store, &[b"another value"]);
    store.checkpoint().unwrap();
    let (path, at) = place(&disk, b"another value");
    overwrite(&disk, &path, b"x", at);
    let other = open(&disk, super::SEGMENT_BYTES);
    let mut is_put = false;
    let repaired = store
        .repair(|done, all| {
            if done == all && !std::mem::replace(&mut is_put, true) {
                assert_eq!(other.put(&Value::of(NEW).entry(key())).unwrap(), Put::Stored);
            }
        })
        .unwrap();
    assert!(is_put);
    assert_eq!((repaired.records_dropped, repaired.keys_removed), (1, 0));
    assert!(is_found(&other));
    assert!(is_found(&open(&disk, super::SEGMENT_BYTES)));
}
