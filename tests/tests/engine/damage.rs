//! Damage: flipped bits, lost pages, cut and missing files, and directories that are no store.
//!
//! 1. Opening never panics; whatever it answers, it answers in time.
//! 2. An answer is exact or a miss; for a single flipped bit never an older value, also after the
//!    damaged segment has been merged.
//! 3. The store goes on: puts are stored or dropped, upkeep does its work.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use larder_engine::{Budget, ErrorKind, Key, Put, ReadMode, Store};
use larder_tests::TempDir;
use larder_tests::sample::{Random, Value, keys, with_seeds};

use super::{Reference, assert_holds, put, roomy};

/// Seeds that once failed.
const FAILED: &[u64] = &[];

/// A store with merged, sealed, open and own-size segments, and what it held over time.
struct Sample {
    folder: TempDir,
    reference: Reference,
    history: BTreeMap<Key, Vec<Value>>,
}

impl Sample {
    fn new() -> Sample {
        let folder = larder_tests::temp_dir();
        let mut sample = Sample { folder, reference: Reference::new(), history: BTreeMap::new() };
        let store = Store::open(&sample.path(), roomy()).expect("the store opens");
        let mut random = Random::new(99);
        for step in 0..70 {
            let key = *random.choose(&keys(24));
            let largest = if step % 20 == 7 { 150_000 } else { 9_000 };
            let value = Value::random(&mut random, largest);
            if step % 9 == 8 {
                assert_eq!(store.remove(&key).unwrap(), Put::Stored);
                sample.reference.remove(&key);
            } else {
                put(&store, key, &value);
                sample.reference.insert(key, value.clone());
                sample.history.entry(key).or_default().push(value);
            }
            if step == 25 || step == 40 {
                store.maintain(Budget::full()).unwrap();
            }
        }
        sample
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A copy to damage.
    fn copy(&self) -> TempDir {
        let copy = larder_tests::temp_dir();
        for directory in ["", "log"] {
            fs::create_dir_all(copy.path().join(directory)).unwrap();
            for entry in fs::read_dir(self.path().join(directory)).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    let to = copy.path().join(directory).join(entry.file_name());
                    fs::copy(entry.path(), to).unwrap();
                }
            }
        }
        copy
    }

    /// The files of the store, relative to it.
    fn files(&self) -> Vec<PathBuf> {
        let list = |directory: &str| {
            let entries = fs::read_dir(self.path().join(directory)).unwrap().map(|e| e.unwrap());
            let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
            files.map(|e| Path::new(directory).join(e.file_name())).collect::<Vec<_>>()
        };
        let mut files = [list(""), list("log")].concat();
        files.sort();
        files
    }

    /// Checks every answer; an older value is one only where `older` allows it.
    fn check(&self, store: &Store, older: bool) {
        let right = |key: &Key, value: &Value| {
            self.reference.get(key) == Some(value)
                || older && self.history.get(key).is_some_and(|values| values.contains(value))
        };
        for key in keys(24) {
            let Ok(Some(record)) = store.get(&key) else { continue };
            let Ok(value) = Value::read(&record) else { continue };
            assert!(right(&key, &value), "a wrong value of {key}");
            let _ = store.contains(&key);
        }
        let Ok(snapshot) = store.snapshot() else { return };
        for record in snapshot.iter().filter(|record| record.key() != afterwards()) {
            let Ok(value) = Value::read(&record) else { continue };
            assert!(
                right(&record.key(), &value),
                "a snapshot has a wrong value of {}",
                record.key()
            );
        }
    }

    /// Opens a damaged copy and does everything with it.
    fn use_damaged(&self, path: &Path, older: bool, mode: ReadMode) {
        let Ok(store) = Store::open(path, roomy().read_mode(mode)) else { return };
        self.check(&store, older);
        let _ = store.verify(|_, _| {});
        let _ = store.stats();
        let (key, value) = (afterwards(), Value::of(b"x".as_slice()));
        let stored = store.put(&value.entry(key)).is_ok_and(|put| put == Put::Stored);
        for _ in 0..2 {
            let _ = store.maintain(Budget::full());
            self.check(&store, older);
        }
        if stored {
            let found = store.get(&key).ok().flatten().map(|record| Value::read(&record).unwrap());
            assert!(found.is_none_or(|found| found == value));
        }
    }
}

/// A key that is put after the damage.
fn afterwards() -> Key {
    Key::of(b"afterwards")
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// A bit to flip: mostly where structures are dense.
fn flip(random: &mut Random, bytes: &mut [u8]) {
    let dense = match random.below(3) {
        0 => 128,
        1 => 12_000,
        _ => bytes.len() as u64,
    };
    let bit = random.below(dense.min(bytes.len() as u64) * 8);
    if let Some(byte) = bytes.get_mut(bit as usize / 8) {
        *byte ^= 1 << (bit % 8);
    }
}

#[test]
fn no_flipped_bit_makes_an_answer_wrong_or_older() {
    let sample = Sample::new();
    let files = sample.files();
    with_seeds(FAILED, 300, |seed| {
        let mut random = Random::new(seed);
        let copy = sample.copy();
        let file = random.choose(&files);
        change(&copy.path().join(file), |bytes| flip(&mut random, bytes));
        let mode = *random.choose(&[ReadMode::Pread, ReadMode::Map]);
        let run = || sample.use_damaged(copy.path(), false, mode);
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
            panic!("a flipped bit in {}", file.display());
        }
    });
}

#[test]
fn no_larger_damage_makes_an_answer_wrong() {
    let sample = Sample::new();
    let files = sample.files();
    with_seeds(FAILED, 100, |seed| {
        let mut random = Random::new(seed);
        let copy = sample.copy();
        let path = copy.path().join(random.choose(&files));
        match random.below(5) {
            0 => fs::remove_file(&path).unwrap(),
            1 => change(&path, |bytes| bytes.truncate(random.below(bytes.len() as u64) as usize)),
            2 => change(&path, |bytes| {
                let garbage = random.bytes(5_000);
                bytes.extend(garbage);
            }),
            3 => change(&path, |bytes| {
                let page = random.below(bytes.len() as u64) as usize / 4096 * 4096;
                let end = bytes.len().min(page + 4096);
                bytes[page..end].fill(0);
            }),
            _ => change(&path, |bytes| {
                let (from, to) =
                    (random.below(bytes.len() as u64), random.below(bytes.len() as u64));
                let count = (bytes.len() as u64 - from.max(to)).min(4096);
                bytes.copy_within(from as usize..(from + count) as usize, to as usize);
            }),
        }
        sample.use_damaged(copy.path(), true, *random.choose(&[ReadMode::Pread, ReadMode::Map]));
    });
}

#[test]
fn a_flip_in_the_bytes_of_a_record_is_reported() {
    let folder = larder_tests::temp_dir();
    let store = Store::open(folder.path(), roomy()).unwrap();
    let value = Value::of(Random::new(4).bytes(20_000));
    put(&store, Key::of(b"a"), &value);
    assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
    let path = folder.path().join("log/00000001.seg");
    let whole = fs::read(&path).unwrap();
    let body = store.get(&Key::of(b"a")).unwrap().unwrap().body().unwrap();
    let start = whole.windows(body.len()).position(|part| part == body).expect("the body is there");
    let mut random = Random::new(5);
    for _ in 0..80 {
        let mut bytes = whole.clone();
        // The frame stands in front of the body; 28 of its bytes are not used.
        let place = start - 64 + random.below(body.len() as u64 + 64) as usize;
        bytes[place] ^= 1 << random.below(8);
        fs::write(&path, bytes).unwrap();
        let report = Store::open(folder.path(), roomy()).unwrap().verify(|_, _| {}).unwrap();
        assert!(!report.damaged.is_empty(), "byte {place}");
    }
}

/// Upkeep used to look at the tree only when there was something to merge: a damaged leaf stayed,
/// and its keys were misses, until eight more segments were full.
#[test]
fn a_damaged_index_is_rebuilt_by_full_upkeep_with_nothing_lost() {
    let folder = larder_tests::temp_dir();
    let mut reference = Reference::new();
    let mut random = Random::new(8);
    let store = Store::open(folder.path(), roomy()).unwrap();
    for number in 0..600u64 {
        let (key, value) = (Key::of(&number.to_le_bytes()), Value::random(&mut random, 600));
        put(&store, key, &value);
        reference.insert(key, value);
    }
    store.checkpoint().unwrap();
    assert_holds(&store, &reference);
    let index = folder.path().join("index");
    let whole = fs::read(&index).unwrap();
    let pages = whole.len() / 4096;
    type Change<'a> = &'a dyn Fn(&mut Vec<u8>);
    let damages: [Change<'_>; 4] = [
        &|bytes| bytes.clear(),
        &|bytes| bytes[..8192].fill(0),
        &|bytes| bytes[8192..].fill(0),
        &|bytes| (2..pages).for_each(|page| bytes[page * 4096 + 100] ^= 1),
    ];
    for damage in damages {
        change(&index, damage);
        let store = Store::open(folder.path(), roomy()).unwrap();
        store.maintain(Budget::full()).unwrap();
        assert_holds(&store, &reference);
        assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
        drop(store);
    }
}

fn refusal(path: &Path) -> ErrorKind {
    Store::open(path, roomy()).expect_err("this is no store").kind()
}

/// The contents of a directory, by name.
fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.insert(entry.clone(), Vec::new());
            found.extend(contents(&entry));
        } else {
            found.insert(entry.clone(), fs::read(&entry).unwrap());
        }
    }
    found
}

/// A directory that held nothing but `log` or `index`, as other programs' directories may, was
/// taken for a store whose maker had been killed: everything in `log` was deleted.
#[test]
fn a_directory_that_is_no_store_is_refused_and_left_as_it_is() {
    let folder = larder_tests::temp_dir();
    let make = |name: &str, files: &[&str]| {
        let directory = folder.path().join(name);
        for file in files {
            let file = directory.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, b"precious").unwrap();
        }
        directory
    };
    let directories = [
        make("like-etc", &["passwd", "log/messages", "ssl/index"]),
        make("logs", &["log/messages"]),
        make("segments", &["log/00000001.seg"]),
        make("indexed", &["index"]),
        make("tagged", &["CACHEDIR.TAG", "index"]),
        make("tag-only", &["CACHEDIR.TAG"]),
        make("other", &["superblock"]),
    ];
    for directory in directories {
        let before = contents(&directory);
        assert_eq!(refusal(&directory), ErrorKind::NotAStore, "{}", directory.display());
        assert_eq!(contents(&directory), before, "{}", directory.display());
    }
    let file = folder.path().join("file");
    fs::write(&file, b"precious").unwrap();
    assert_eq!(refusal(&file), ErrorKind::NotAStore);
    assert_eq!(refusal(&file.join("below")), ErrorKind::NotAStore);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    assert!(Store::open(&folder.path().join("missing"), roomy().read_only(true)).is_err());
    assert!(Store::open(&folder.path().join("missing"), roomy().create(false)).is_err());
    assert!(!folder.path().join("missing").exists());
}

/// A store whose superblock was lost could not be opened, or lost all that it held.
#[test]
fn a_lost_superblock_is_made_anew_from_the_rest() {
    let sample = Sample::new();
    let lose: [fn(&Path); 5] = [
        |superblock| fs::write(superblock, [0x5a; 8192]).unwrap(),
        |superblock| fs::write(superblock, [0; 8192]).unwrap(),
        |superblock| fs::write(superblock, b"").unwrap(),
        |superblock| fs::File::options().write(true).open(superblock).unwrap().set_len(50).unwrap(),
        |superblock| fs::remove_file(superblock).unwrap(),
    ];
    for lose in lose {
        for index_is_lost in [false, true] {
            let copy = sample.copy();
            lose(&copy.path().join("superblock"));
            if index_is_lost {
                fs::write(copy.path().join("index"), b"").unwrap();
            }
            let store = Store::open(copy.path(), roomy()).unwrap();
            assert_holds(&store, &sample.reference);
            let (key, value) = (afterwards(), Value::of(b"goes on".as_slice()));
            put(&store, key, &value);
            let mut reference = sample.reference.clone();
            reference.insert(key, value);
            assert!(store.maintenance_due());
            store.maintain(Budget::full()).unwrap();
            assert_holds(&store, &reference);
            assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
            assert_holds(&Store::open(copy.path(), roomy()).unwrap(), &reference);
        }
    }
}

/// Whoever has the lost superblock open would go on with it, and count segments on his own.
#[test]
fn a_lost_superblock_is_not_made_anew_as_long_as_somebody_writes_by_it() {
    let sample = Sample::new();
    let path = sample.path();
    let writer = Store::open(&path, roomy()).unwrap();
    let late = Store::open(&path, roomy()).unwrap();
    put(&writer, afterwards(), &Value::of(b"1".as_slice()));
    fs::remove_file(path.join("superblock")).unwrap();
    assert_eq!(refusal(&path), ErrorKind::Busy);
    drop(writer);
    let store = Store::open(&path, roomy()).unwrap();
    // One that had it open without having written gets no further than to the end of a segment.
    let big = Value::of(Random::new(3).bytes(60_000));
    let outcomes = (0..4u8).map(|number| late.put(&big.entry(Key::of(&[number]))));
    assert!(outcomes.collect::<Result<Vec<_>, _>>().is_err());
    assert_eq!(late.maintain(Budget::full()).unwrap(), Default::default());
    let mut reference = sample.reference.clone();
    reference.insert(afterwards(), Value::of(b"1".as_slice()));
    assert_holds(&store, &reference);
}

/// A lost sector in a slot table reads as free slots, which ended the page: a newer commit behind
/// them was not found, and the value before it was.
#[test]
fn zeros_in_a_slot_table_are_damage() {
    let folder = larder_tests::temp_dir();
    let key = Key::of(b"key");
    let store = Store::open(folder.path(), roomy()).unwrap();
    put(&store, key, &Value::of(b"old".as_slice()));
    store.checkpoint().unwrap();
    put(&store, Key::of(b"another"), &Value::of(b"1".as_slice()));
    put(&store, key, &Value::of(b"new".as_slice()));
    let newest = fs::read_dir(folder.path().join("log")).unwrap().map(|e| e.unwrap().path()).max();
    change(&newest.unwrap(), |bytes| bytes[4096..4096 + 16].fill(0));
    for store in [&store, &Store::open(folder.path(), roomy()).unwrap()] {
        let found = store.get(&key).unwrap().map(|record| Value::read(&record).unwrap());
        assert!(found.is_none_or(|value| value == Value::of(b"new".as_slice())));
    }
    let store = Store::open(folder.path(), roomy()).unwrap();
    assert!(store.get(&key).unwrap().is_none(), "nobody knows which is the newest");
    // A merge finds both by their frames.
    put(&store, Key::of(b"more"), &Value::of(b"2".as_slice()));
    store.checkpoint().unwrap();
    for (name, value) in [(b"key".as_slice(), "new"), (b"another", "1"), (b"more", "2")] {
        let found = store.get(&Key::of(name)).unwrap().expect("it is found");
        assert_eq!(Value::read(&found).unwrap(), Value::of(value.as_bytes()));
    }
}

#[test]
fn a_store_without_its_index_can_be_read() {
    let sample = Sample::new();
    let copy = sample.copy();
    fs::remove_file(copy.path().join("index")).unwrap();
    let store = Store::open(copy.path(), roomy().read_only(true)).unwrap();
    for (key, value) in &sample.reference {
        let found = store.get(key).unwrap().expect("it is found");
        assert_eq!(Value::read(&found).unwrap(), *value);
    }
}

/// After a power cut before the first checkpoint even the directory of the segments may be gone.
#[test]
fn a_store_without_its_log_goes_on() {
    let sample = Sample::new();
    for other_boot in [false, true] {
        let copy = sample.copy();
        fs::remove_dir_all(copy.path().join("log")).unwrap();
        let env = larder_tests::fault::FaultEnv::new();
        if other_boot {
            env.set_boot_id([9; 16]);
            env.pass_ms(61_000);
        }
        let store = Store::open_with(env.shared(), copy.path(), roomy()).unwrap();
        let (key, value) = (afterwards(), Value::of(b"goes on".as_slice()));
        assert_eq!(store.get(&key).unwrap().map(|record| record.key()), None);
        put(&store, key, &value);
        store.maintain(Budget::full()).unwrap();
        store.checkpoint().unwrap();
        assert_holds(&store, &Reference::from([(key, value)]));
    }
}

#[test]
fn without_the_tag_a_directory_with_a_lost_superblock_is_left_alone() {
    let sample = Sample::new();
    let copy = sample.copy();
    fs::write(copy.path().join("superblock"), [0x5a; 8192]).unwrap();
    fs::remove_file(copy.path().join("CACHEDIR.TAG")).unwrap();
    let before = contents(copy.path());
    assert_eq!(refusal(copy.path()), ErrorKind::NotAStore);
    assert_eq!(contents(copy.path()), before);
}

#[test]
fn a_newer_format_is_refused() {
    let sample = Sample::new();
    let copy = sample.copy();
    change(&copy.path().join("superblock"), |bytes| {
        for page in bytes.chunks_mut(4096) {
            page[8] += 1;
            let check = larder_engine::checksum::check32(&page[..108]);
            page[108..112].copy_from_slice(&check.to_le_bytes());
        }
    });
    assert_eq!(refusal(copy.path()), ErrorKind::NewerFormat);
}

#[test]
fn a_file_of_the_store_that_is_a_link_is_not_followed() {
    let sample = Sample::new();
    for file in sample.files() {
        let copy = sample.copy();
        let (path, elsewhere) = (copy.path().join(&file), larder_tests::temp_dir());
        let target = elsewhere.path().join("target");
        fs::rename(&path, &target).unwrap();
        symlink(&target, &path).unwrap();
        let before = fs::read(&target).unwrap();
        sample.use_damaged(copy.path(), true, ReadMode::Pread);
        assert_eq!(fs::read(&target).unwrap(), before, "{}", file.display());
    }
}

/// A frame named no body. Where a power cut kept the frame, and the block held an older body of the
/// same length, that one counted as the newest.
#[test]
fn another_body_behind_a_frame_is_damage() {
    let folder = larder_tests::temp_dir();
    let store = Store::open(folder.path(), roomy()).unwrap();
    let key = Key::of(b"key");
    let of = |byte: u8| Value::of(vec![byte; 1]);
    put(&store, key, &of(b'a'));
    put(&store, key, &of(b'b'));
    let segment = fs::read_dir(folder.path().join("log")).unwrap().next().unwrap().unwrap().path();
    change(&segment, |bytes| {
        let frames: Vec<usize> = (8192..bytes.len() - 64)
            .step_by(64)
            .filter(|place| bytes[*place..].starts_with(b"LRDF"))
            .collect();
        let [older, newer] = frames[..] else { panic!("there are {} frames", frames.len()) };
        let body_bytes = newer - older - 64;
        bytes.resize(bytes.len().max(newer + 64 + body_bytes), 0);
        bytes.copy_within(older + 64..older + 64 + body_bytes, newer + 64);
    });
    let store = Store::open(folder.path(), roomy()).unwrap();
    assert!(store.get(&key).unwrap().is_none());
    assert_eq!(store.verify(|_, _| {}).unwrap().damaged.len(), 1);
}
