//! Upkeep among puts that are under way, and upkeep that is killed: what a storm of processes met.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use larder_engine::limits::BODY_WRITE_BYTES_MAX;
use larder_engine::{Budget, DropReason, Key, Options, Put, Store};
use larder_tests::fault::{Call, Fault, FaultEnv, Plan};
use larder_tests::sample::{Random, Value, copy_tree, disk_usage};
use tempfile::TempDir;

use super::{put, roomy, value_of};

/// Large bodies are written in pieces of this length.
const PIECE_BYTES: usize = BODY_WRITE_BYTES_MAX;

/// Bytes that do not compress.
fn noise(seed: u64, bytes: usize) -> Value {
    let mut random = Random::new(seed);
    let words = (0..bytes / 8).flat_map(|_| random.number().to_le_bytes());
    Value::of(words.collect::<Vec<u8>>())
}

fn open(env: &FaultEnv, path: &Path, options: Options) -> Store {
    Store::open_with(env.shared(), path, options).expect("the store opens")
}

/// Puts until there is no room; nobody maintains the store.
fn fill(store: &Store, seed: u64, bytes: usize) {
    for number in 0..100_000u64 {
        let value = noise(seed ^ number << 20, bytes);
        let key = Key::of(&[seed.to_le_bytes(), number.to_le_bytes()].concat());
        match store.put(&value.entry(key)).expect("the disk works") {
            Put::Stored => {}
            Put::Dropped(reason) => return assert_eq!(reason, DropReason::Full),
        }
    }
    panic!("the store has no bound");
}

/// Upkeep counted the blocks of segments afresh. A record that had its place and was not written
/// yet has no blocks, so its room was given away a second time, and the store passed `max_size`
/// when the writer came to write.
#[test]
fn what_is_reserved_and_not_written_yet_counts_as_used() {
    let folder = larder_tests::temp_dir();
    let max_size = 64 << 20;
    let options = Options::new().max_size_bytes(max_size);
    let env = FaultEnv::new();
    let writer = open(&env, folder.path(), options.clone());
    let other = open(&FaultEnv::new(), folder.path(), options);
    let runs = Arc::new(AtomicU64::new(0));
    let count = runs.clone();
    env.before_writes_of(PIECE_BYTES, move || {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            other.maintain(Budget::inline()).unwrap();
            fill(&other, 1, 300_000);
        }
    });
    let (key, value) = (Key::of(b"large"), noise(2, 24 << 20));
    put(&writer, key, &value);
    assert_eq!(
        runs.load(Ordering::Relaxed),
        (24 << 20) / PIECE_BYTES as u64,
        "the pieces of the large write"
    );
    let used = disk_usage(folder.path());
    assert!(used <= max_size, "{used} bytes");
    assert_eq!(value_of(&writer, &key), Some(value));
}

/// An evictor took the bytes of segments off the sum when it had published them as gone, and
/// unlinked them afterwards. Killed in between it left files that nobody counted, and puts went on
/// until the store had a tenth more than `max_size`.
#[test]
fn upkeep_that_is_killed_anywhere_leaves_the_bound_in_force() {
    let folder = larder_tests::temp_dir();
    let max_size = 4 << 20;
    let options = || Options::new().max_size_bytes(max_size).segment_bytes(64 << 10);
    let full = folder.path().join("full");
    fill(&open(&FaultEnv::new(), &full, options()), 1, 9_000);
    let mut stops = 0;
    for number in 1.. {
        let path = folder.path().join(number.to_string());
        copy_tree(&full, &path);
        let env = FaultEnv::new();
        let store = open(&env, &path, options());
        env.arm(Some(Plan { call: Call::Change, number, fault: Fault::Stop }));
        let is_over = store.maintain(Budget::inline()).is_ok();
        drop(store);
        fill(&open(&FaultEnv::new(), &path, options()), 2, 9_000);
        let used = disk_usage(&path);
        assert!(used <= max_size, "{used} bytes after a kill at change {number}");
        fs::remove_dir_all(&path).unwrap();
        if is_over {
            break;
        }
        stops += 1;
    }
    assert!(stops > 10, "only {stops} places to be killed at");
}

/// Puts until the tail stands in a new segment.
fn roll(store: &Store, seed: u64) {
    let before = store.stats().unwrap().segments;
    for number in 0.. {
        let key = Key::of(&[seed.to_le_bytes(), u64::to_le_bytes(number)].concat());
        put(store, key, &noise(seed ^ number << 20, 200_000));
        if store.stats().unwrap().segments > before {
            return;
        }
    }
}

/// A store whose writer is interrupted.
struct Interrupted {
    writer: Store,
    runs: Arc<AtomicU64>,
    _folder: TempDir,
}

impl Interrupted {
    /// Before each write of so many bytes `meanwhile` works with another handle and its clock; it
    /// hears how often it ran before.
    fn new(
        bytes_min: usize,
        mut meanwhile: impl FnMut(u64, &Store, &FaultEnv) + Send + 'static,
    ) -> Self {
        let folder = larder_tests::temp_dir();
        let options = || Options::new().max_size_bytes(1 << 30).segment_bytes(2 << 20);
        let (env, clock) = (FaultEnv::new(), FaultEnv::new());
        let writer = open(&env, folder.path(), options());
        let other = open(&clock, folder.path(), options());
        let runs = Arc::new(AtomicU64::new(0));
        let count = runs.clone();
        env.before_writes_of(bytes_min, move || {
            meanwhile(count.fetch_add(1, Ordering::Relaxed), &other, &clock);
        });
        Interrupted { writer, runs, _folder: folder }
    }

    fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }
}

/// Another large record, time, the next segment, and upkeep.
fn overtake(run: u64, other: &Store, clock: &FaultEnv) {
    put(other, Key::of(&run.to_le_bytes()), &noise(run, 1_500_000));
    clock.pass_ms(3_000);
    roll(other, 100 + run);
    other.maintain(Budget::inline()).unwrap();
}

/// `close` took the making of the next segment for the moment at which the tail had left the one
/// before. A record with a segment of its own makes the next one without moving the tail, so a
/// segment could be closed in the moment that the tail left it, and the puts under way in it were
/// dropped.
#[test]
fn a_segment_for_one_record_does_not_close_the_one_before_early() {
    let store = Interrupted::new(100_000, overtake);
    put(&store.writer, Key::of(b"slow"), &noise(7, 150_000));
    assert_eq!(store.runs(), 1, "the first attempt is committed");
}

/// The same for a record with a segment of its own, when another one got one after it.
#[test]
fn a_segment_for_one_record_does_not_close_another_one_early() {
    const PIECES: u64 = (12 << 20) / PIECE_BYTES as u64;
    let store = Interrupted::new(PIECE_BYTES, |run, other, clock| {
        // At the first piece of each attempt.
        if run.is_multiple_of(PIECES) {
            overtake(run, other, clock);
        }
    });
    let (key, value) = (Key::of(b"slow"), noise(7, 12 << 20));
    put(&store.writer, key, &value);
    assert_eq!(store.runs(), PIECES, "the first attempt is committed");
    assert_eq!(value_of(&store.writer, &key), Some(value));
}

/// Segments are closed some time after the tail has left them, without being forced to.
#[test]
fn a_segment_that_the_tail_left_long_ago_is_closed() {
    let store = Interrupted::new(100_000, |run, other, clock| {
        roll(other, 100 + run);
        clock.pass_ms(3_000);
        other.maintain(Budget::inline()).unwrap();
    });
    let slow = noise(7, 150_000);
    let outcome = store.writer.put(&slow.entry(Key::of(b"slow"))).unwrap();
    assert_eq!(outcome, Put::Dropped(DropReason::Closed));
    assert_eq!(store.runs(), 2, "it is tried twice");
}

/// Every compile that sees that upkeep is due would start a process for it, until it is done.
#[test]
fn others_see_that_somebody_is_at_work() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let store = open(&env, folder.path(), roomy());
    put(&store, Key::of(b"key"), &Value::of(b"value".as_slice()));
    let other = Store::open(folder.path(), roomy()).unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let (other_seen, witness) = (other, seen.clone());
    env.before_writes_of(1, move || {
        witness.fetch_add(u64::from(other_seen.is_being_maintained()), Ordering::Relaxed);
    });
    store.checkpoint().unwrap();
    assert!(seen.load(Ordering::Relaxed) > 0);
    env.before_writes_of(usize::MAX, || ());
    assert!(!Store::open(folder.path(), roomy()).unwrap().is_being_maintained());
}

/// Who asked took the lock for a moment, and a janitor that came then left its work undone.
#[test]
fn who_asks_whether_somebody_is_at_work_is_in_nobodys_way() {
    let folder = larder_tests::temp_dir();
    let store = Store::open(folder.path(), roomy()).unwrap();
    let asking = Store::open(folder.path(), roomy()).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                asking.is_being_maintained();
            }
        });
        let busy = (0..5_000).filter(|_| store.maintain(Budget::inline()).unwrap().busy).count();
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(busy, 0);
    });
}

/// A power cut costs what was written since the last checkpoint: 64 MiB, or a minute's work.
#[test]
fn a_checkpoint_is_due_after_a_minute_of_writing() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let store = open(&env, folder.path(), Options::new());
    let value = Value::of(b"value".as_slice());
    put(&store, Key::of(b"1"), &value);
    env.pass_ms(59_000);
    put(&store, Key::of(b"2"), &value);
    assert!(!store.maintenance_due());
    assert!(!store.maintain(Budget::full()).unwrap().checkpointed);
    env.pass_ms(2_000);
    put(&store, Key::of(b"3"), &value);
    assert!(store.maintenance_due());
    assert!(store.maintain(Budget::full()).unwrap().checkpointed);
    env.pass_ms(61_000);
    // Nothing was written for a minute: there is nothing to make durable.
    let store = open(&env, folder.path(), Options::new());
    put(&store, Key::of(b"4"), &value);
    assert!(!store.maintenance_due());
}

#[test]
fn a_checkpoint_is_due_after_64_mebibytes() {
    let folder = larder_tests::temp_dir();
    // A segment that is full makes upkeep due as well; these are larger.
    let options = Options::new().max_size_bytes(64 << 30);
    let store = open(&FaultEnv::new(), folder.path(), options);
    let mut written_bytes = 0;
    for number in 0..40u64 {
        let value = noise(number, 2 << 20);
        put(&store, Key::of(&number.to_le_bytes()), &value);
        written_bytes += 2 << 20;
        assert_eq!(store.maintenance_due(), written_bytes >= 64 << 20, "{written_bytes}");
    }
    assert!(store.maintain(Budget::full()).unwrap().checkpointed);
    assert_eq!(store.stats().unwrap().bytes_since_checkpoint, 0);
}
