//! What the documentation of `Options`, `Store` and `Snapshot` promises.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use larder_engine::{
    Budget, Data, EngineCounter, Entry, ErrorKind, Key, Lent, Options, Put, ReadMode, RecordKind,
    RecordLayout, Restored, Section, SectionKind, Store,
};
use larder_tests::fault::FaultEnv;
use larder_tests::sample::{Random, Value, disk_usage};

use super::{put, roomy, value_of};

fn open(options: Options) -> (larder_tests::TempDir, Store) {
    let folder = larder_tests::temp_dir();
    let store = Store::open(&folder.path().join("store"), options).expect("the store opens");
    (folder, store)
}

fn entry<'a>(name: &str, sections: Vec<Section<'a>>) -> Entry<'a> {
    Entry::new(Key::of(name.as_bytes()), RecordKind::Result, sections)
}

fn data(bytes: usize) -> Section<'static> {
    Section::new(SectionKind::Data, Random::new(bytes as u64).bytes(bytes))
}

fn names(path: &Path) -> BTreeSet<String> {
    let list = fs::read_dir(path).expect("the directory can be read");
    list.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn options_outside_their_bounds_are_refused() {
    let folder = larder_tests::temp_dir();
    let refused = |options: Options| {
        let error = Store::open(&folder.path().join("store"), options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    };
    refused(Options::new().max_size_bytes((64 << 20) - 1));
    refused(Options::new().max_size_bytes(0));
    refused(roomy().segment_bytes(0));
    refused(roomy().segment_bytes((64 << 10) + 1));
    refused(roomy().segment_bytes(u64::MAX));
    refused(roomy().segment_bytes(512 << 20));
    refused(Options::new().zstd_level(23));
    assert!(names(folder.path()).is_empty(), "a refused opening makes nothing");
}

#[test]
fn entries_outside_their_bounds_are_refused_and_do_no_harm() {
    let (_folder, store) = open(roomy());
    let refused = |entries: &[Entry<'_>]| {
        let error = store.put_all(entries).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    };
    refused(&[]);
    refused(&vec![entry("a", Vec::new()); 65]);
    refused(&[entry("a", vec![data(1); 4096])]);
    refused(&[entry("a", vec![data(1).name(vec![b'x'; 4097])])]);
    refused(&[entry("a", vec![Section::new(SectionKind::Group, b"x".as_slice())])]);
    let mut long = entry("a", Vec::new());
    long.namespace = "n".repeat(256).into();
    refused(&[long]);
    assert!(store.get(&Key::of(b"a")).unwrap().is_none());
    assert_eq!(store.put_all(&vec![entry("a", vec![data(9)]); 64]).unwrap(), Put::Stored);
    assert!(store.contains(&Key::of(b"a")).unwrap());
    assert_eq!(store.put(&entry("b", vec![data(3); 4095])).unwrap(), Put::Stored);
    assert_eq!(store.get(&Key::of(b"b")).unwrap().unwrap().sections().len(), 4095);
}

#[test]
fn what_is_put_together_stands_together() {
    let (_folder, store) = open(roomy());
    let mut random = Random::new(3);
    for round in 0..60 {
        let pair: Vec<(Key, Value)> = (0..2)
            .map(|half| (Key::of(&[round, half]), Value::random(&mut random, 9_000)))
            .collect();
        let entries: Vec<_> = pair.iter().map(|(key, value)| value.entry(*key)).collect();
        assert_eq!(store.put_all(&entries).unwrap(), Put::Stored);
        let records: Vec<_> =
            pair.iter().map(|(key, _)| store.get(key).unwrap().expect("just stored")).collect();
        assert_eq!(records[0].sequence() + 1, records[1].sequence());
    }
}

#[test]
fn what_is_put_together_comes_back_whatever_its_size() {
    let folder = larder_tests::temp_dir();
    let options = Options::new().layout(RecordLayout::Raw);
    let store = Store::open(&folder.path().join("store"), options).unwrap();
    let mut random = Random::new(5);
    for round in 0..40u8 {
        let count = 1 + random.below(20) as u8;
        let bytes = |random: &mut Random| match random.below(4) {
            0 => 100_000 + random.below(400_000) as usize,
            1 => 131_072 - 96 - 48 + random.below(3) as usize,
            _ => random.below(20_000) as usize,
        };
        let values: Vec<Vec<u8>> = (0..count)
            .map(|_| {
                let bytes = bytes(&mut random);
                random.bytes(bytes)
            })
            .collect();
        let key = |number: usize| Key::of(&[round, number as u8]);
        let entry = |(number, value): (usize, &Vec<u8>)| {
            let section = Section::new(SectionKind::Object, value.clone());
            Entry::new(key(number), RecordKind::Result, vec![section])
        };
        let entries: Vec<_> = values.iter().enumerate().map(entry).collect();
        assert_eq!(store.put_all(&entries).unwrap(), Put::Stored);
        for (number, value) in values.iter().enumerate() {
            assert_eq!(&store.get(&key(number)).unwrap().unwrap().read(0).unwrap(), value);
        }
    }
    assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
}

/// A file that is cut short while it is stored, of which zeros were seen.
#[derive(Debug)]
struct Cut(Vec<u8>);

impl Lent for Cut {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn is_whole(&self) -> bool {
        false
    }
}

#[test]
fn an_entry_of_bytes_that_were_not_there_is_refused() {
    let (_folder, store) = open(roomy());
    let section = Section::new(SectionKind::Object, Data::lent(Cut(vec![0; 200_000])));
    let error = store.put(&entry("a", vec![data(10), section])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(store.get(&Key::of(b"a")).unwrap().is_none());
    // That was no failure of the disk.
    assert_eq!(store.put(&entry("a", vec![data(10)])).unwrap(), Put::Stored);
}

/// Sections of many frames, of one, and of none.
#[test]
fn a_large_restored_file_has_its_bytes() {
    let (folder, store) = open(roomy());
    let numbers = |count: u32| (0..count).flat_map(|at| (at / 3).to_le_bytes()).collect();
    let values: [Vec<u8>; 4] =
        [numbers(700_000), numbers(262_145), vec![7; 3 << 20], Random::new(1).bytes(2 << 20)];
    let section = |value: &Vec<u8>| Section::new(SectionKind::Object, value.clone());
    for (name, options) in [("packed", roomy()), ("raw", roomy().layout(RecordLayout::Raw))] {
        let path = folder.path().join("store");
        let writer = Store::open(&path, options).unwrap();
        let sections = values.iter().map(section).collect();
        assert_eq!(writer.put(&entry(name, sections)).unwrap(), Put::Stored);
        for mode in [ReadMode::Pread, ReadMode::Map] {
            let reader = Store::open(&path, roomy().read_mode(mode)).unwrap();
            let record = reader.get(&Key::of(name.as_bytes())).unwrap().unwrap();
            for (number, value) in values.iter().enumerate() {
                let out = folder.path().join("out");
                assert_eq!(reader.restore(&record, number, &out).unwrap(), Restored::Copied);
                assert!(fs::read(&out).unwrap() == *value, "{name} {mode:?} {number}");
                assert!(record.read(number).unwrap() == *value, "{name} {mode:?} {number}");
            }
        }
    }
    assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
}

#[test]
fn a_restored_file_has_its_bytes_and_its_mode() {
    let (folder, store) = open(roomy());
    let sections = vec![data(5_000).mode(0o640), data(70_000).mode(0o755), data(0), data(10)];
    assert_eq!(store.put(&entry("a", sections.clone())).unwrap(), Put::Stored);
    let record = store.get(&Key::of(b"a")).unwrap().unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    for (number, section) in sections.iter().enumerate() {
        let path = out.join(format!("{number}.o"));
        assert_eq!(store.restore(&record, number, &path).unwrap(), Restored::Copied);
        assert_eq!(fs::read(&path).unwrap(), section.data.as_ref());
        if section.mode != 0 {
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, u32::from(section.mode));
        }
    }
    assert_eq!(names(&out).len(), 4, "nothing stands beside the restored files");
}

#[test]
fn a_hard_linked_output_is_replaced_and_not_changed_in_place() {
    let (folder, store) = open(roomy());
    put(&store, Key::of(b"a"), &Value::of(b"new".as_slice()));
    let record = store.get(&Key::of(b"a")).unwrap().unwrap();
    let (path, link) = (folder.path().join("x.o"), folder.path().join("link.o"));
    fs::write(&path, b"old").unwrap();
    fs::hard_link(&path, &link).unwrap();
    store.restore(&record, 0, &path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::read(&link).unwrap(), b"old");
    assert_ne!(fs::metadata(&path).unwrap().ino(), fs::metadata(&link).unwrap().ino());
}

/// The file beside the output used to be called after it, with 24 bytes more: names of more than
/// 231 bytes could not be restored.
#[test]
fn an_output_with_the_longest_name_can_be_restored() {
    let (folder, store) = open(roomy());
    put(&store, Key::of(b"a"), &Value::of(b"x".as_slice()));
    let record = store.get(&Key::of(b"a")).unwrap().unwrap();
    let path = folder.path().join("n".repeat(255));
    store.restore(&record, 0, &path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"x");
}

#[test]
fn a_restore_that_fails_leaves_the_old_file_and_nothing_beside_it() {
    let (folder, store) = open(roomy());
    put(&store, Key::of(b"a"), &Value::of(b"new".as_slice()));
    let record = store.get(&Key::of(b"a")).unwrap().unwrap();
    let out = folder.path().join("out");
    fs::create_dir_all(out.join("x.o/inside")).unwrap();
    assert!(store.restore(&record, 0, &out.join("x.o")).is_err());
    assert!(store.restore(&record, 0, &out.join("missing/x.o")).is_err());
    assert_eq!(names(&out), BTreeSet::from(["x.o".to_string()]));
}

/// In the cloneable layout a small section's offset counts in its group. A small section whose
/// length is a whole number of blocks used to be cloned from that offset of the body: on a file
/// system with reflinks the restored file had the bytes of the record's head.
#[test]
fn small_sections_of_cloneable_records_are_restored_from_their_group() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    env.emulate_clones();
    let options = roomy().layout(RecordLayout::Cloneable).segment_bytes(1 << 20);
    let store = Store::open_with(env.shared(), &folder.path().join("store"), options).unwrap();
    let lengths = [4096, 8192, 16384, 16385, 20480, 100_000, 4096, 7, 0];
    let sections: Vec<_> = lengths.iter().map(|bytes| data(*bytes)).collect();
    assert_eq!(store.put(&entry("a", sections.clone())).unwrap(), Put::Stored);
    store.checkpoint().unwrap();
    let record = store.get(&Key::of(b"a")).unwrap().unwrap();
    for (number, section) in sections.iter().enumerate() {
        let path = folder.path().join("out");
        let restored = store.restore(&record, number, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), section.data.as_ref(), "section {number}");
        let large = section.data.len() > 16384;
        assert_eq!(restored, if large { Restored::Cloned } else { Restored::Copied });
    }
}

#[test]
fn counters_are_shared_by_all_handles() {
    let (_folder, store) = open(roomy());
    let other = Store::open(store.path(), roomy()).unwrap();
    store.counters().add(3, 2);
    other.counters().add(3, 5);
    put(&other, Key::of(b"a"), &Value::of(b"x".as_slice()));
    assert_eq!(store.counters().get(3), 7);
    assert_eq!(store.counters().get(EngineCounter::Puts.id()), 1);
    assert!(store.engine_counters().any(|(name, count)| (name, count) == ("engine_puts", 1)));
}

#[test]
fn stats_agree_with_the_directory() {
    let (_folder, store) = open(roomy());
    let mut random = Random::new(5);
    for number in 0..300u64 {
        put(&store, Key::of(&number.to_le_bytes()), &Value::random(&mut random, 3_000));
    }
    store.maintain(Budget::full()).unwrap();
    let stats = store.stats().unwrap();
    assert_eq!(
        (stats.entries, stats.max_size_bytes, stats.segment_bytes),
        (300, 1 << 30, 64 << 10)
    );
    assert_eq!(stats.unmerged_segments, 1);
    assert_eq!(stats.segments, names(&store.path().join("log")).len() as u64);
    let used = disk_usage(store.path());
    assert!(stats.disk_bytes.abs_diff(used) <= 16 << 10, "{} against {used}", stats.disk_bytes);
    let by_tail = store.used_bytes().unwrap();
    assert!(by_tail.abs_diff(used) <= 256 << 10, "{by_tail} against {used}");
}

#[test]
fn a_store_that_is_only_read_is_not_changed_by_any_call() {
    let (_folder, store) = open(roomy());
    let (key, value) = (Key::of(b"a"), Value::of(b"x".as_slice()));
    put(&store, key, &value);
    store.maintain(Budget::full()).unwrap();
    let path = store.path().to_path_buf();
    drop(store);
    let state = || {
        let list = names(&path).into_iter().chain(names(&path.join("log")));
        let describe = |name: String| {
            let metadata =
                fs::metadata(path.join(&name)).or(fs::metadata(path.join("log").join(&name)));
            let metadata = metadata.unwrap();
            (name, metadata.mtime_nsec(), metadata.ctime_nsec(), metadata.len())
        };
        list.map(describe).collect::<Vec<_>>()
    };
    let before = state();
    let store = Store::open(&path, roomy().read_only(true)).unwrap();
    assert!(store.is_read_only());
    assert_eq!(value_of(&store, &key), Some(value.clone()));
    assert!(matches!(store.put(&value.entry(key)).unwrap(), Put::Dropped(_)));
    assert!(matches!(store.remove(&key).unwrap(), Put::Dropped(_)));
    store.maintain(Budget::full()).unwrap();
    store.checkpoint().unwrap();
    assert_eq!(store.clear().unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
    assert_eq!(store.snapshot().unwrap().iter().count(), 1);
    store.stats().unwrap();
    assert_eq!(state(), before);
}

#[test]
fn the_files_of_a_store_are_private_unless_the_options_say_otherwise() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (_folder, store) = open(roomy());
    put(&store, Key::of(b"a"), &Value::of(b"x".as_slice()));
    assert_eq!(mode(store.path()), 0o700);
    for name in names(store.path()) {
        let path = store.path().join(name);
        assert_eq!(mode(&path), if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    }
    assert_eq!(mode(&store.path().join("log/00000001.seg")), 0o600);
}

/// `max_size` bounds what `du` says, whatever the sizes of the records: the index, the tables, the
/// heads of segments and what is reserved ahead count as well.
#[test]
fn the_smallest_store_keeps_its_bound_with_tiny_and_with_large_records() {
    let max_size = 64 << 20;
    let (_folder, store) = open(Options::new().max_size_bytes(max_size));
    let mut random = Random::new(12);
    for number in 0..60u64 {
        let large =
            Value::of((0..400_000).flat_map(|_| random.number().to_le_bytes()).collect::<Vec<_>>());
        let _ = store.put(&large.entry(Key::of(&number.to_le_bytes()))).unwrap();
        let tiny = Value::of(number.to_le_bytes());
        for copy in 0..40u64 {
            let key = Key::of(&[number.to_le_bytes(), copy.to_le_bytes()].concat());
            let _ = store.put(&tiny.entry(key)).unwrap();
        }
        if store.maintenance_due() {
            store.maintain(Budget::due()).unwrap();
        }
        let used = disk_usage(store.path());
        assert!(used <= max_size, "{used} bytes after {number}");
    }
    assert!(store.contains(&Key::of(&59u64.to_le_bytes())).unwrap(), "the newest is there");
}
