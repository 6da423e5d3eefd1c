//! Eviction: what was hit stays, with all that it has; the rest goes; the bound holds meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_engine::{
    Budget, EngineCounter, Key, Maintained, Options, Put, RecordLayout, Restored, Store,
};
use larder_tests::TempDir;
use larder_tests::fault::{Call, Fault, FaultEnv, Plan};
use larder_tests::sample::{Random, Value, copy_tree, disk_usage};

use super::{SEGMENT_BYTES, put, value_of};

/// A tenth of it is more than what no put may take.
const MAX_SIZE: u64 = 8 << 20;

/// So many segments go before the one with this value that half of them is more than it takes.
const SPECIAL: u64 = 45;

fn options() -> Options {
    Options::new().max_size_bytes(MAX_SIZE).segment_bytes(SEGMENT_BYTES)
}

fn key(number: u64) -> Key {
    Key::of(&number.to_le_bytes())
}

/// Bytes that do not compress.
fn noise(seed: u64, bytes: usize) -> Value {
    let mut random = Random::new(seed);
    Value::of((0..bytes / 8).flat_map(|_| random.number().to_le_bytes()).collect::<Vec<u8>>())
}

/// A store in which eviction is due, and what was put into it, oldest first.
struct Filled {
    folder: TempDir,
    values: BTreeMap<u64, Value>,
}

impl Filled {
    /// With values of 9 KB, and these from [`SPECIAL`] on.
    fn new(options: Options, special: &[Value]) -> Filled {
        let folder = larder_tests::temp_dir();
        let store = Store::open(&folder.path().join("store"), options).unwrap();
        let mut values = BTreeMap::new();
        for number in 0u64.. {
            if store.used_bytes().unwrap() > MAX_SIZE / 100 * 91 {
                break;
            }
            let index = number.checked_sub(SPECIAL).map(|index| index as usize);
            let value = index.and_then(|index| special.get(index)).cloned();
            let value = value.unwrap_or_else(|| noise(number, 9_000));
            put(&store, key(number), &value);
            values.insert(number, value);
        }
        Filled { folder, values }
    }

    fn store(&self, options: Options) -> Store {
        Store::open(&self.folder.path().join("store"), options).unwrap()
    }

    fn hit(&self, store: &Store, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            let found = value_of(store, &key(number));
            assert!(found.as_ref() == self.values.get(&number), "the value of {number}");
        }
    }

    /// The numbers of the values that are there, and right.
    fn left(&self, store: &Store) -> Vec<u64> {
        let found = self.values.iter().filter_map(|(number, value)| {
            let found = value_of(store, &key(*number))?;
            assert!(found == *value, "the value of {number}");
            Some(*number)
        });
        found.collect()
    }
}

fn evict(store: &Store) -> Maintained {
    let done = store.maintain(Budget::due()).unwrap();
    assert!(done.segments_evicted > 0, "{done:?}");
    done
}

fn count(store: &Store, counter: EngineCounter) -> u64 {
    store.counters().get(counter.id())
}

#[test]
fn what_was_hit_while_it_was_old_stays_and_the_rest_goes() {
    let filled = Filled::new(options(), &[]);
    let store = filled.store(options());
    filled.hit(&store, (0..150).step_by(5));
    let created = store.get(&key(5)).unwrap().unwrap().created_secs();
    // What is replaced or removed after its hit has no value to be kept.
    put(&store, key(10), &noise(1_000, 300));
    assert_eq!(store.remove(&key(15)).unwrap(), Put::Stored);
    let done = evict(&store);
    assert_eq!(value_of(&store, &key(10)), Some(noise(1_000, 300)));
    assert_eq!(value_of(&store, &key(15)), None);
    let store = filled.store(options());
    let first_left =
        (0..).find(|number| number % 5 != 0 && value_of(&store, &key(*number)).is_some());
    let first_left = first_left.unwrap();
    assert!(first_left > 30, "only {first_left} were evicted");
    for number in (0..first_left).filter(|number| ![10, 15].contains(number)) {
        let found = value_of(&store, &key(number));
        let wanted = (number % 5 == 0).then(|| &filled.values[&number]);
        assert!(found.as_ref() == wanted, "{number} of {first_left}");
    }
    assert_eq!(store.get(&key(5)).unwrap().unwrap().created_secs(), created);
    assert_eq!(count(&store, EngineCounter::ReinsertedRecords), done.records_reinserted);
    assert_eq!(count(&store, EngineCounter::ReinsertedBytes), done.bytes_reinserted);
    assert!(done.records_reinserted >= first_left / 5 - 2);
    assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
}

#[test]
fn what_was_hit_while_it_was_young_goes() {
    let folder = larder_tests::temp_dir();
    let store = Store::open(folder.path(), options()).unwrap();
    for number in 0.. {
        if store.used_bytes().unwrap() > MAX_SIZE / 100 * 91 {
            break;
        }
        put(&store, key(number), &noise(number, 9_000));
        assert!(value_of(&store, &key(number)).is_some());
    }
    assert_eq!(evict(&store).records_reinserted, 0);
    assert_eq!(value_of(&store, &key(0)), None);
}

#[test]
fn at_most_half_of_what_goes_is_kept() {
    let filled = Filled::new(options(), &[]);
    let store = filled.store(options());
    filled.hit(&store, 0..filled.values.len() as u64);
    let done = evict(&store);
    assert!(done.bytes_reinserted * 2 <= done.bytes_evicted, "{done:?}");
    assert!(done.bytes_reinserted * 3 > done.bytes_evicted, "{done:?}");
    assert!(store.used_bytes().unwrap() <= MAX_SIZE / 100 * 81);
}

/// A copy has the layout of its source, and a record with a segment of its own may be kept, too.
#[test]
fn cloneable_and_large_records_are_kept_as_they_are() {
    let options = || options().layout(RecordLayout::Cloneable);
    // More of them would be beyond the budget.
    let special = [noise(1, 36_000), noise(2, 16_384)];
    let filled = Filled::new(options(), &special);
    let env = FaultEnv::new();
    env.emulate_clones();
    let path = filled.folder.path().join("store");
    let store = Store::open_with(env.shared(), &path, options()).unwrap();
    filled.hit(&store, SPECIAL..SPECIAL + special.len() as u64);
    evict(&store);
    // Only what is on the disk is cloned.
    store.checkpoint().unwrap();
    assert_eq!(value_of(&store, &key(5)), None);
    // What is not durable is not cloned.
    store.checkpoint().unwrap();
    for (number, value) in (SPECIAL..).zip(&special) {
        let record = store.get(&key(number)).unwrap().expect("it was hit");
        assert!(Value::read(&record).unwrap() == *value);
        // Only a body that stands on a block can be cloned.
        let file = filled.folder.path().join("restored");
        let section = record.sections().iter().position(|section| section.real_bytes > 16_000);
        let section = section.expect("each has a large section");
        assert_eq!(store.restore(&record, section, &file).unwrap(), Restored::Cloned);
        assert_eq!(fs::read(&file).unwrap(), record.read(section).unwrap());
    }
}

#[test]
fn what_is_damaged_goes_and_is_counted() {
    let filled = Filled::new(options(), &[]);
    {
        let store = filled.store(options());
        filled.hit(&store, 0..3);
    }
    // In the midst of the second record: each stands whole in the first segment.
    let file = filled.folder.path().join("store/log/00000001.seg");
    let file = fs::OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 8_192 + 9_300 + 4_000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 8_192 + 9_300 + 4_000).unwrap();
    let store = filled.store(options());
    let before = count(&store, EngineCounter::Damaged);
    let done = evict(&store);
    assert_eq!(count(&store, EngineCounter::Damaged), before + 1);
    assert_eq!(done.records_reinserted, 2);
    assert_eq!(value_of(&store, &key(1)), None);
    filled.hit(&store, [0, 2]);
    assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
}

/// The copies of a round are there before the first source goes.
#[test]
fn the_bound_holds_before_each_write_of_an_eviction() {
    let filled = Filled::new(options(), &[]);
    let path = filled.folder.path().join("store");
    let env = FaultEnv::new();
    let store = Store::open_with(env.shared(), &path, options()).unwrap();
    filled.hit(&store, 0..filled.values.len() as u64 / 2);
    let (largest, looks) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (seen, counted) = (largest.clone(), looks.clone());
    env.before_writes_of(1, move || {
        seen.fetch_max(disk_usage(&path), Ordering::Relaxed);
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let done = evict(&store);
    assert!(done.records_reinserted > 20, "{done:?}");
    assert!(looks.load(Ordering::Relaxed) > 100);
    let largest = largest.load(Ordering::Relaxed);
    assert!(largest <= MAX_SIZE, "{largest} bytes");
}

/// Writers that are faster than the janitor fill the store to the last; then there was no room for
/// a single copy, and everything that was hit went.
#[test]
fn in_a_store_that_is_full_what_was_hit_is_kept_too() {
    let filled = Filled::new(options(), &[]);
    let store = filled.store(options());
    filled.hit(&store, (0..150).step_by(5));
    for (bytes, seed) in [(9_000, 5_000), (1_000, 6_000), (100, 7_000)] {
        for number in seed.. {
            let put = store.put(&noise(number, bytes).entry(key(number))).unwrap();
            if put != Put::Stored {
                break;
            }
        }
    }
    let done = evict(&store);
    assert!(done.records_reinserted > 10, "{done:?}");
    assert!(store.used_bytes().unwrap() <= MAX_SIZE / 100 * 81);
    assert!(disk_usage(store.path()) <= MAX_SIZE);
}

/// Records of 300 bytes need a third of their bytes again in footers and in the index. What upkeep
/// had added was counted by the next one, and writers had filled the store meanwhile.
#[test]
fn the_bound_holds_for_small_records_whenever_writers_have_filled_the_store() {
    const SMALL_MAX: u64 = 64 << 20;
    let folder = larder_tests::temp_dir();
    let path = folder.path().join("store");
    let options = Options::new().max_size_bytes(SMALL_MAX).layout(RecordLayout::Raw);
    let env = FaultEnv::new();
    let store = Store::open_with(env.shared(), &path, options).unwrap();
    let largest = Arc::new(AtomicU64::new(0));
    let (shared, seen) = (largest.clone(), path.clone());
    let mut number = 0;
    for _ in 0..4 {
        while store.put(&noise(number, 300).entry(key(number))).unwrap() == Put::Stored {
            number += 1;
        }
        largest.fetch_max(disk_usage(&path), Ordering::Relaxed);
        let (shared, seen) = (shared.clone(), seen.clone());
        env.before_writes_of(1, move || {
            shared.fetch_max(disk_usage(&seen), Ordering::Relaxed);
        });
        let done = store.maintain(Budget::full()).unwrap();
        assert!(done.segments_evicted > 0 && done.merged, "{done:?}");
        env.before_writes_of(usize::MAX, || {});
    }
    let largest = largest.load(Ordering::Relaxed);
    assert!(largest <= SMALL_MAX, "{largest} bytes after {number} puts");
}

/// A put that finds no room makes the janitor come; what it keeps must not take the room again.
#[test]
fn a_store_far_above_its_bound_is_brought_below_it() {
    let filled = Filled::new(options(), &[]);
    let smaller = MAX_SIZE / 2;
    let store = filled.store(options().max_size_bytes(smaller));
    filled.hit(&store, 0..filled.values.len() as u64 / 2);
    evict(&store);
    assert!(store.used_bytes().unwrap() <= smaller / 100 * 81);
    assert!(!filled.left(&store).is_empty());
}

#[test]
fn an_eviction_that_is_killed_anywhere_loses_nothing_that_was_hit() {
    let filled = Filled::new(options(), &[]);
    filled.hit(&filled.store(options()), (0..24).step_by(4));
    let full = filled.folder.path().join("store");
    let mut stops = 0;
    // One in nine of the places keeps the test short; the crash simulator meets the others.
    for number in (1..).step_by(9) {
        let path = filled.folder.path().join(number.to_string());
        copy_tree(&full, &path);
        let env = FaultEnv::new();
        let store = Store::open_with(env.shared(), &path, options()).unwrap();
        env.arm(Some(Plan { call: Call::Change, number, fault: Fault::Stop }));
        let is_over = store.maintain(Budget::due()).is_ok();
        drop(store);
        let store = Store::open(&path, options()).unwrap();
        filled.hit(&store, (0..24).step_by(4));
        store.maintain(Budget::due()).unwrap();
        filled.hit(&store, (0..24).step_by(4));
        assert!(disk_usage(&path) <= MAX_SIZE);
        fs::remove_dir_all(&path).unwrap();
        if is_over {
            break;
        }
        stops += 1;
    }
    assert!(stops > 7, "only {stops} places to be killed at");
}
