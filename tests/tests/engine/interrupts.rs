//! Two processes, one of which is stopped at each of its steps in turn while the other works.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use larder_engine::{Budget, Entry, Key, Options, Put, RecordKind, Section, SectionKind, Store};
use larder_tests::model_env::{Flaw, ModelEnv, Pace, World};
use larder_tests::sample::Random;

use super::SEGMENT_BYTES;

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
