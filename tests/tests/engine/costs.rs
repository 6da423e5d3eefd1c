//! What operations cost where that does not depend on the machine: calls and bytes.
//!
//! Every figure is printed (`--nocapture` shows them); `LARDER_COSTS_ENTRIES` makes the store of
//! the index larger.

use std::fs;
use std::path::Path;

use larder_engine::format::frame::FRAME_BYTES;
use larder_engine::format::index::{BranchPage, Meta};
use larder_engine::format::superblock::Superblock;
use larder_engine::{Budget, Entry, Key, Options, Put, ReadMode, RecordKind, Section, SectionKind};
use larder_engine::{RecordLayout, Store};
use larder_tests::fault::{Call, FaultEnv};

const ENTRIES: u64 = 20_000;

/// Live bytes of the index per entry; LMDB needs 86 for such keys.
const INDEX_BYTES_PER_ENTRY_MAX: f64 = 28.0;

/// The file of the index may be this many times what is live in it.
const INDEX_FILE_PER_LIVE_MAX: f64 = 3.0;

const PAGE_BYTES: usize = 4096;

fn options() -> Options {
    Options::new().layout(RecordLayout::Raw).read_mode(ReadMode::Pread)
}

fn key(number: u64) -> Key {
    Key::of(&number.to_le_bytes())
}

fn put(store: &Store, number: u64, bytes: usize) {
    let section = Section::new(SectionKind::Object, vec![7; bytes]);
    let entry = Entry::new(key(number), RecordKind::Result, vec![section]);
    assert_eq!(store.put(&entry).unwrap(), Put::Stored);
}

/// Pages of the newest tree, its meta included, and its entries.
fn live_pages(store: &Path) -> (u64, u64) {
    let superblock = Superblock::decode(&fs::read(store.join("superblock")).unwrap()).unwrap();
    let index = fs::read(store.join("index")).unwrap();
    let meta = Meta::decode(&index, &superblock.uuid).expect("there is a tree");
    let mut level = vec![meta.root];
    let mut pages = 1 + level.len() as u64;
    for _ in 1..meta.depth {
        let mut below = Vec::new();
        for number in level {
            let at = number as usize * PAGE_BYTES;
            let page = &index[at..at + PAGE_BYTES];
            let branch = BranchPage::check(page, number, meta.transaction).expect("it is valid");
            below.extend((0..branch.count()).map(|child| branch.child(child).unwrap().page));
        }
        pages += below.len() as u64;
        level = below;
    }
    (pages, meta.entries)
}

#[test]
fn the_index_takes_few_bytes_per_entry() {
    let entries = std::env::var("LARDER_COSTS_ENTRIES").ok().and_then(|text| text.parse().ok());
    let entries = entries.unwrap_or(ENTRIES);
    let folder = larder_tests::temp_dir();
    let store = Store::open(folder.path(), options()).unwrap();
    let mut worst_file: f64 = 0.0;
    for number in 0..entries {
        put(&store, number, 100);
        // Many merges, as in a store that is in use.
        if number % (entries / 20) == 0 {
            store.checkpoint().unwrap();
        }
    }
    store.checkpoint().unwrap();
    store.maintain(Budget::full()).unwrap();
    let (pages, counted) = live_pages(folder.path());
    assert_eq!(counted, entries);
    let live = (pages * PAGE_BYTES as u64) as f64;
    let file = fs::metadata(folder.path().join("index")).unwrap().len() as f64;
    worst_file = worst_file.max(file / live);
    let per_entry = live / entries as f64;
    println!("{entries} entries: {per_entry:.1} live bytes each, file {worst_file:.2} x that");
    assert!((16.0..=INDEX_BYTES_PER_ENTRY_MAX).contains(&per_entry), "{per_entry}");
    assert!((1.0..=INDEX_FILE_PER_LIVE_MAX).contains(&worst_file), "{worst_file}");
}

/// Calls that `work` makes: opened files, reads, writes, locks.
fn calls(env: &FaultEnv, work: impl FnOnce()) -> [u64; 4] {
    let count = || [Call::Open, Call::Read, Call::Change, Call::Lock].map(|call| env.count(call));
    let before = count();
    work();
    let after = count();
    std::array::from_fn(|index| after[index] - before[index])
}

#[test]
fn a_put_writes_little_beside_its_body() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let store = Store::open_with(env.shared(), folder.path(), options()).unwrap();
    put(&store, 0, 4000);
    let before = env.written_bytes();
    let [opened, read, changed, locked] = calls(&env, || put(&store, 1, 4000));
    let record = store.get(&key(1)).unwrap().expect("it was put");
    let beside = env.written_bytes() - before - record.head().body_bytes;
    println!("put: {beside} bytes beside the body; {read} reads, {changed} writes, {locked} locks");
    // Two tails of 88 bytes, a frame and a slot.
    assert_eq!(beside, 2 * 88 + FRAME_BYTES as u64 + 16);
    assert_eq!([opened, read, changed, locked], [0, 3, 5, 4]);
}

#[test]
fn small_bodies_that_are_put_together_are_written_together() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let store = Store::open_with(env.shared(), folder.path(), options()).unwrap();
    put(&store, 0, 4000);
    let section = || Section::new(SectionKind::Object, vec![7; 4000]);
    let entry = |number| Entry::new(key(number), RecordKind::Result, vec![section()]);
    let entries: Vec<_> = (1..=40).map(entry).collect();
    let [.., changed, _] =
        calls(&env, || assert_eq!(store.put_all(&entries).unwrap(), Put::Stored));
    println!("40 puts in one: {changed} writes");
    // Two tails, 40 frames, 40 slots, and the bodies in one piece.
    assert_eq!(changed, 2 + 40 + 40 + 1);
}

#[test]
fn look_ups_make_few_calls() {
    let folder = larder_tests::temp_dir();
    let maker = Store::open(folder.path(), options()).unwrap();
    (0..1000).for_each(|number| put(&maker, number, 200));
    maker.checkpoint().unwrap();
    // The bit that a hit in the older half of the log sets is set from then on.
    assert!(maker.get(&key(5)).unwrap().is_some());
    for (read_only, expected) in [(false, [1, 1, 3, 8, 6, 5]), (true, [1, 1, 2, 7, 6, 5])] {
        let env = FaultEnv::new();
        let options = options().read_only(read_only);
        let mut store = None;
        let opening = calls(&env, || {
            store = Some(Store::open_with(env.shared(), folder.path(), options).unwrap());
        });
        let store = store.unwrap();
        let look = |number| {
            let found = store.get(&key(number)).unwrap();
            assert_eq!(found.is_some(), number < 1000);
        };
        let first = calls(&env, || look(5));
        let hit = calls(&env, || look(6));
        let miss = calls(&env, || look(5000));
        println!(
            "read-only {read_only}: open {opening:?}, first {first:?}, hit {hit:?}, miss {miss:?}"
        );
        let [opened, read, _, _] = opening;
        let figures = [opened, read, first[0], first[1], hit[1], miss[1]];
        assert_eq!(figures, expected);
        for [_, _, changed, locked] in [opening, first, hit, miss] {
            assert_eq!([changed, locked], [0, 0], "who only reads changes and locks nothing");
        }
    }
}
