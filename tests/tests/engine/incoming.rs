//! Bodies on their way from one store to another: sent as they may travel, and taken only if they
//! are what was asked for.

use larder_engine::format::body::Head;
use larder_engine::{
    Entry, Key, LogPosition, Options, Put, RecordKind, RecordLayout, Section, SectionKind, Store,
};
use larder_tests::TempDir;
use larder_tests::fault::FaultEnv;
use larder_tests::fuzz_incoming;
use larder_tests::sample::{Random, Value, contents};

use super::{SEGMENT_BYTES, put, value_of};

const KINDS: [RecordKind; 2] = [RecordKind::Result, RecordKind::Manifest];

fn key(number: u64) -> Key {
    Key::of(&number.to_le_bytes())
}

fn open(folder: &TempDir, layout: RecordLayout) -> Store {
    let env = FaultEnv::new();
    env.emulate_clones();
    let options = Options::new().max_size_bytes(1 << 30).segment_bytes(SEGMENT_BYTES);
    Store::open_with(env.shared(), folder.path(), options.layout(layout)).unwrap()
}

/// What follows the log of one store arrives in another one, whatever their layouts.
#[test]
fn what_is_stored_here_is_found_there() {
    let mut random = Random::new(5);
    for (from, to) in [
        (RecordLayout::Cloneable, RecordLayout::Compressed),
        (RecordLayout::Compressed, RecordLayout::Cloneable),
        (RecordLayout::Raw, RecordLayout::Compressed),
    ] {
        let (here, there) = (larder_tests::temp_dir(), larder_tests::temp_dir());
        let (here, there) = (open(&here, from), open(&there, to));
        let lengths = [0, 5, 3_000, 17_000, 200_000];
        let values: Vec<Value> =
            lengths.iter().map(|length| Value::of(random.bytes(*length))).collect();
        for (number, value) in (0..).zip(&values) {
            put(&here, key(number), value);
        }
        let part = here.records_after(LogPosition::BEGIN, 100).unwrap();
        assert_eq!(part.records.len(), values.len());
        let is_cloneable = part.records.iter().any(|record| record.head().cloneable);
        assert_eq!(is_cloneable, from == RecordLayout::Cloneable);
        for record in &part.records {
            let body = record.portable_body(1).unwrap();
            assert!(!Head::decode(&body).unwrap().cloneable);
            assert_eq!(there.put_body_of(&record.key(), &KINDS, &body).unwrap(), Put::Stored);
        }
        for (number, value) in (0..).zip(&values) {
            assert_eq!(value_of(&there, &key(number)).as_ref(), Some(value));
        }
    }
}

/// The fuzz target would find nothing in bodies of which none is taken, nor if all were.
#[test]
fn the_fuzz_target_begins_with_bodies_that_are_taken_and_such_as_are_not() {
    let folder = larder_tests::temp_dir();
    let store = open(&folder, RecordLayout::Compressed);
    let kinds = [RecordKind::Result, RecordKind::Manifest, RecordKind::Blob];
    let is_taken = |seed| {
        let body = fuzz_incoming::valid(&mut Random::new(seed));
        store.put_body_of(&Key::of(b"incoming"), &kinds, &body).is_ok()
    };
    let taken = (0..60).filter(|seed| is_taken(*seed)).count();
    assert!((20..55).contains(&taken), "{taken}");
}

#[test]
fn what_is_refused_leaves_no_trace() {
    let (here, there) = (larder_tests::temp_dir(), larder_tests::temp_dir());
    let (source, store) = (open(&here, RecordLayout::Compressed), Options::new());
    let store = Store::open(there.path(), store).unwrap();
    put(&store, key(1), &Value::of(b"mine".as_slice()));
    let end = store.log_end().unwrap();
    let before = contents(&there.path().join("log"));
    let section =
        |name: &'static [u8]| Section::new(SectionKind::NamedFile, b"x".repeat(500)).name(name);
    let bodies: Vec<Vec<u8>> = [
        Entry::new(key(2), RecordKind::Result, vec![section(b"")]),
        Entry::new(key(1), RecordKind::Tombstone, Vec::new()),
        Entry::new(key(1), RecordKind::Foreign, vec![section(b"")]),
        Entry::new(key(1), RecordKind::Result, vec![section(b"../a")]),
        Entry::new(key(1), RecordKind::Result, vec![section(b"a").mode(0o4755)]),
        Entry::new(key(1), RecordKind::Result, vec![section(b"a"), section(b"a")]),
    ]
    .iter()
    .map(|entry| {
        assert_eq!(source.put(entry).unwrap(), Put::Stored);
        let part = source.records_after(LogPosition::BEGIN, 100).unwrap();
        part.records.last().unwrap().portable_body(1).unwrap()
    })
    .collect();
    let good = source.get(&key(1)).unwrap().unwrap().portable_body(1).unwrap();
    let cut = &good[..good.len() - 1];
    for body in bodies.iter().map(Vec::as_slice).chain([cut, b""]) {
        let refused = store.put_body_of(&key(1), &KINDS, body).unwrap_err();
        assert!(refused.is_corrupt(), "{refused}");
    }
    assert_eq!(value_of(&store, &key(1)), Some(Value::of(b"mine".as_slice())));
    assert_eq!(store.log_end().unwrap(), end);
    assert!(contents(&there.path().join("log")) == before);
}

/// A record of a store that others share may say anything; a restored file is no program that runs
/// as its owner.
#[test]
fn no_restored_file_runs_as_somebody_else() {
    use std::os::unix::fs::PermissionsExt;
    let folder = larder_tests::temp_dir();
    for (number, layout) in [(1, RecordLayout::Compressed), (2, RecordLayout::Cloneable)] {
        let store_folder = larder_tests::temp_dir();
        let store = open(&store_folder, layout);
        let section = Section::new(SectionKind::Object, vec![7; 100_000]).mode(0o7755);
        let entry = Entry::new(key(number), RecordKind::Result, vec![section]);
        assert_eq!(store.put(&entry).unwrap(), Put::Stored);
        store.checkpoint().unwrap();
        let record = store.get(&key(number)).unwrap().unwrap();
        let path = folder.path().join("restored");
        store.restore(&record, 0, &path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755, "{layout:?}");
    }
}
