//! Two processes, one of which is stopped at each of its steps in turn while the other works.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use larder_engine::{Budget, Entry, Key, Options, Put, RecordKind, Section, SectionKind, Store};
use larder_tests::model_env::{Flaw, ModelEnv, Pace, World};
use larder_tests::sample::Random;

use super::SEGMENT_BYTES;
use super::follow::Follower;

type Work = Box<dyn FnOnce() + Send>;

/// What happens at a step to come.
#[derive(Clone, Default)]
struct Interrupt(Arc<(AtomicU64, Mutex<Option<Work>>)>);

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interrupt")
    }
}

impl Interrupt {
    /// Does `work` at the step of this number from now, counted from 1.
    fn arm(&self, step: u64, work: Work) {
        *self.0.1.lock().unwrap_or_else(PoisonError::into_inner) = Some(work);
        self.0.0.store(step, Ordering::Relaxed);
    }

    /// Whether the work has not been done.
    fn disarm(&self) -> bool {
        self.0.0.store(0, Ordering::Relaxed);
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

impl Pace for Interrupt {
    fn step(&self) {
        let left = self.0.0.load(Ordering::Relaxed);
        self.0.0.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 1 {
            let work = self.0.1.lock().unwrap_or_else(PoisonError::into_inner).take();
            work.into_iter().for_each(|work| work());
        }
    }

    fn rest(&self) {}
}

fn open(world: &World, max_size_bytes: u64) -> Store {
    let env = Arc::new(ModelEnv(world.process(u64::MAX / 2)));
    let options = Options::new().max_size_bytes(max_size_bytes).segment_bytes(SEGMENT_BYTES);
    Store::open_with(env, Path::new("/store"), options).expect("the store opens")
}

fn put(store: &Store, key: &Key, bytes: &[u8]) -> bool {
    let entry =
        Entry::new(*key, RecordKind::Result, vec![Section::new(SectionKind::Object, bytes)]);
    store.put(&entry).expect("a put succeeds") == Put::Stored
}

fn fill(store: &Store, from: u64, count: u64) {
    let mut random = Random::new(from);
    let noise: Vec<u8> = (0..2_500).flat_map(|_| random.number().to_le_bytes()).collect();
    for number in from..from + count {
        // Dropped if the process that was stopped holds the tail lock.
        put(store, &Key::of(&number.to_le_bytes()), &noise);
    }
}

fn get(store: &Store, key: &Key) -> Option<Vec<u8>> {
    let record = store.get(key).expect("a look-up succeeds")?;
    Some(record.read(0).expect("it can be read"))
}

/// A put that was stopped between its reservation and its commit could commit into a segment that
/// the tail had left, behind a put of the same key into the next one. Eviction took the earlier
/// segment first, and the value that had been replaced came back.
#[test]
fn a_put_that_was_stopped_anywhere_brings_no_older_value_back() {
    let key = Key::of(b"key");
    let roomy = 1 << 30;
    for step in 1.. {
        let interrupt = Interrupt::default();
        let world = World::new(interrupt.clone(), step, 1, Flaw::None);
        let (one, two) = (open(&world, roomy), open(&world, roomy));
        fill(&one, 0, 1);
        let work = move || {
            fill(&two, 100, 3);
            put(&two, &key, b"by the other");
        };
        interrupt.arm(step, Box::new(work));
        put(&one, &key, b"by the stopped one");
        if interrupt.disarm() {
            assert!(step > 10, "a put has more than {step} steps");
            break;
        }
        let newest = get(&one, &key);
        assert!(newest.is_some());
        fill(&one, 200, 10);
        // A smaller and smaller store evicts one segment after the other.
        let mut max_size_bytes = one.used_bytes().expect("the tail can be read") * 12 / 10;
        while max_size_bytes > 4 * SEGMENT_BYTES {
            let store = open(&world, max_size_bytes);
            store.maintain(Budget::inline()).expect("upkeep succeeds");
            let found = get(&store, &key);
            assert!(found.is_none() || found == newest, "step {step}: {found:?} after {newest:?}");
            max_size_bytes -= 8 << 10;
        }
    }
}

/// What the other process does to a key while it is reinserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meanwhile {
    Puts,
    Removes,
    /// Puts, and goes on until the tail has left the segment.
    PutsAndRolls,
    /// Puts a record so large that it gets a segment of its own.
    PutsMuch,
}

const OLD: &[u8] = b"old";

/// A store in which eviction is due, and a key of the oldest segment was hit.
struct Due {
    world: World,
    interrupt: Interrupt,
    max_size_bytes: u64,
    key: Key,
}

impl Due {
    fn new(seed: u64) -> Due {
        let interrupt = Interrupt::default();
        let world = World::new(interrupt.clone(), seed, 1, Flaw::None);
        let store = open(&world, 1 << 30);
        let key = Key::of(b"key");
        fill(&store, 0, 2);
        assert!(put(&store, &key, OLD));
        fill(&store, 2, 2);
        for number in 0..25u64 {
            assert!(put(&store, &Key::of(&[number as u8]), &Random::new(number).bytes(150_000)));
        }
        fill(&store, 4, 3);
        assert_eq!(get(&store, &key).as_deref(), Some(OLD));
        let max_size_bytes = store.used_bytes().expect("the tail can be read") * 110 / 100;
        Due { world, interrupt, max_size_bytes, key }
    }

    /// Evicts; after so many steps another process does something. Returns whether that came to it,
    /// and what is newest then: nothing if that may be evicted.
    fn evict(&self, step: u64, meanwhile: Meanwhile) -> Option<bool> {
        let store = open(&self.world, self.max_size_bytes);
        let (other, key) = (open(&self.world, 1 << 30), self.key);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let heard = acknowledged.clone();
        let work = move || {
            let done = match meanwhile {
                Meanwhile::Removes => {
                    other.remove(&key).expect("a removal succeeds") == Put::Stored
                }
                Meanwhile::PutsMuch => put(&other, &key, &Random::new(1).bytes(100_000)),
                _ => put(&other, &key, b"new"),
            };
            if meanwhile == Meanwhile::PutsAndRolls {
                fill(&other, 1000, 4);
            }
            heard.store(u64::from(done), Ordering::Relaxed);
        };
        self.interrupt.arm(step, Box::new(work));
        let done = store.maintain(Budget::due()).expect("upkeep succeeds");
        assert!(done.segments_evicted > 0);
        if self.interrupt.disarm() {
            // Nobody was in the way.
            assert!(done.records_reinserted > 0);
            assert_eq!(get(&store, &self.key).as_deref(), Some(OLD), "what was hit is kept");
            return None;
        }
        Some(acknowledged.load(Ordering::Relaxed) == 1)
    }

    /// Evicts one segment after the other, and looks at the key all the time.
    fn shrink(&self, is_allowed: impl Fn(Option<&[u8]>) -> bool) {
        let mut max_size_bytes = self.max_size_bytes;
        while max_size_bytes > 5 * SEGMENT_BYTES {
            let store = open(&self.world, max_size_bytes);
            store.maintain(Budget::inline()).expect("upkeep succeeds");
            let found = get(&store, &self.key);
            assert!(is_allowed(found.as_deref()), "{} bytes", found.map_or(0, |found| found.len()));
            max_size_bytes -= 160 << 10;
        }
    }
}

fn interrupt_a_reinsertion_anywhere(meanwhile: Meanwhile) {
    let mut acknowledged_count = 0;
    for step in 1.. {
        let due = Due::new(step);
        let Some(acknowledged) = due.evict(step, meanwhile) else {
            assert!(acknowledged_count > 100, "only {acknowledged_count} of {step} steps counted");
            return;
        };
        acknowledged_count += u64::from(acknowledged);
        due.shrink(|found| match found {
            None => true,
            Some(OLD) => !acknowledged,
            Some(_) => acknowledged && meanwhile != Meanwhile::Removes,
        });
    }
}

#[test]
fn a_put_during_a_reinsertion_is_the_newest() {
    interrupt_a_reinsertion_anywhere(Meanwhile::Puts);
}

#[test]
fn a_removal_during_a_reinsertion_stays_in_force() {
    interrupt_a_reinsertion_anywhere(Meanwhile::Removes);
}

#[test]
fn a_put_that_rolls_during_a_reinsertion_is_the_newest() {
    interrupt_a_reinsertion_anywhere(Meanwhile::PutsAndRolls);
}

#[test]
fn a_large_put_during_a_reinsertion_is_the_newest() {
    interrupt_a_reinsertion_anywhere(Meanwhile::PutsMuch);
}

/// A follower and the puts of another process come between any two steps of a put. A number is
/// given out before its slot is there: who went by the tail alone passed that record.
#[test]
fn a_put_that_was_stopped_anywhere_is_followed_once() {
    let (mut early, mut refused) = (0, 0);
    for step in 1.. {
        let interrupt = Interrupt::default();
        let world = World::new(interrupt.clone(), step, 1, Flaw::None);
        let (one, two) = (open(&world, 1 << 30), open(&world, 1 << 30));
        fill(&one, 0, 2);
        let follower = Arc::new(Mutex::new(Follower::default()));
        follower.lock().unwrap().catch_up(&one, 10);
        let shared = follower.clone();
        let stored = Arc::new(AtomicU64::new(0));
        let heard = stored.clone();
        let work = move || {
            let mut follower = shared.lock().unwrap();
            let before = follower.try_to_read(&two, 10);
            for number in 10..14u64 {
                let is_stored = put(&two, &Key::of(&number.to_le_bytes()), &[7; 15_000]);
                heard.fetch_or(u64::from(is_stored) << number, Ordering::Relaxed);
            }
            let after = follower.try_to_read(&two, 10);
            assert!([&before, &after].iter().all(|r| r.as_ref().err().is_none_or(|e| e.is_busy())));
        };
        interrupt.arm(step, Box::new(work));
        let is_stored = put(&one, &Key::of(b"key"), &[1; 30_000]);
        if interrupt.disarm() {
            assert!(step > 12 && early > 2 && refused > 5, "{early} and {refused} of {step}");
            return;
        }
        let mut follower = follower.lock().unwrap();
        let seen = follower.seen.len() as u64 - 2;
        early += u64::from(seen > 0);
        refused += u64::from(seen == 0);
        fill(&one, 20, 2);
        follower.catch_up(&one, 3);
        follower.assert_in_order();
        let stored = stored.load(Ordering::Relaxed);
        let others = (10..14).filter(|number| stored >> number & 1 == 1);
        let numbers = [0, 1, 20, 21].into_iter().chain(others);
        let mut expected: Vec<Key> = numbers.map(|n: u64| Key::of(&n.to_le_bytes())).collect();
        expected.extend(is_stored.then(|| Key::of(b"key")));
        let mut keys = follower.keys();
        expected.sort_unstable();
        keys.sort_unstable();
        assert_eq!(keys, expected, "step {step}");
    }
}

/// Closing, sealing and merging move no record, and a position in the midst of them holds.
#[test]
fn upkeep_that_was_stopped_anywhere_hides_nothing_from_a_follower() {
    for step in (1..).step_by(3) {
        let interrupt = Interrupt::default();
        let world = World::new(interrupt.clone(), step, 1, Flaw::None);
        let (one, two) = (open(&world, 1 << 30), open(&world, 1 << 30));
        fill(&one, 0, 9);
        let mut halfway = Follower::default();
        halfway.try_to_read(&one, 4).expect("nobody holds a lock");
        let seen = Arc::new(Mutex::new((Follower::default(), halfway)));
        let shared = seen.clone();
        let work = move || {
            let (whole, halfway) = &mut *shared.lock().unwrap();
            for follower in [whole, halfway] {
                let read = follower.try_to_read(&two, 3);
                assert!(read.err().is_none_or(|error| error.is_busy()));
            }
            fill(&two, 30, 1);
        };
        interrupt.arm(step, Box::new(work));
        one.maintain(Budget::full()).expect("upkeep succeeds");
        if interrupt.disarm() {
            assert!(step > 60, "{step}");
            return;
        }
        let (whole, halfway) = &mut *seen.lock().unwrap();
        whole.catch_up(&one, 5);
        halfway.catch_up(&open(&world, 1 << 30), 1);
        whole.assert_in_order();
        assert_eq!(whole.keys(), halfway.keys(), "step {step}");
        let first: Vec<Key> = (0..9u64).map(|number| Key::of(&number.to_le_bytes())).collect();
        assert!(whole.keys().starts_with(&first) && whole.seen.len() <= 10, "step {step}");
    }
}

/// What an eviction leaves was handed out before it, meanwhile, or as a copy after it.
#[test]
fn a_follower_during_an_eviction_misses_only_what_went() {
    for step in (1..).step_by(7) {
        let due = Due::new(step);
        let store = open(&due.world, due.max_size_bytes);
        let other = open(&due.world, 1 << 30);
        let follower = Arc::new(Mutex::new(Follower::default()));
        let shared = follower.clone();
        let work = move || {
            let read = shared.lock().unwrap().try_to_read(&other, 6);
            assert!(read.err().is_none_or(|error| error.is_busy()));
        };
        due.interrupt.arm(step, Box::new(work));
        let done = store.maintain(Budget::due()).expect("upkeep succeeds");
        assert!(done.segments_evicted > 0 && done.records_reinserted > 0);
        if due.interrupt.disarm() {
            assert!(step > 60, "{step}");
            return;
        }
        let mut follower = follower.lock().unwrap();
        follower.catch_up(&store, 6);
        follower.assert_in_order();
        let keys = follower.keys();
        let there = store.snapshot().expect("a snapshot can be taken");
        let missing: Vec<Key> =
            there.iter().map(|record| record.key()).filter(|key| !keys.contains(key)).collect();
        assert_eq!(missing, Vec::<Key>::new(), "step {step}");
    }
}
