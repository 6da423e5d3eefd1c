//! Faults: each call of a short workload fails once, the process dies between any two writes,
//! another kernel takes over.
//!
//! Always: no panic, no wrong answer; what was acknowledged as stored is there and exact after a
//! reopening.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_engine::env::{Env, RealEnv};
use larder_engine::format::superblock::Superblock;
use larder_engine::{Budget, DropReason, ErrorKind, Key, Put, Store};
use larder_tests::fault::{
    Call, EACCES, EDQUOT, EINTR, EIO, EMFILE, ENOLCK, ENOMEM, ENOSPC, EROFS, Fault, FaultEnv, Plan,
};
use larder_tests::sample::{Random, Value, keys};

use super::{assert_holds, open, put, roomy, value_of};

/// What a key may hold: the acknowledged value, or one whose put failed on its way.
#[derive(Default)]
struct Allowed {
    acknowledged: BTreeMap<Key, Option<Value>>,
    attempted: BTreeMap<Key, Vec<Option<Value>>>,
}

impl Allowed {
    fn note(&mut self, key: Key, value: Option<Value>, outcome: larder_engine::Result<Put>) {
        match outcome {
            Ok(Put::Stored) => {
                self.acknowledged.insert(key, value);
                self.attempted.remove(&key);
            }
            _ => self.attempted.entry(key).or_default().push(value),
        }
    }

    /// Whether this is a right answer for a key.
    fn allows(&self, key: &Key, found: &Option<Value>) -> bool {
        let acknowledged = self.acknowledged.get(key).unwrap_or(&None);
        let attempted = self.attempted.get(key).into_iter().flatten();
        acknowledged == found || attempted.into_iter().any(|value| value == found)
    }

    fn check(&self, store: &Store, keys: &[Key]) -> Result<(), String> {
        for key in keys {
            let found = value_of(store, key);
            if !self.allows(key, &found) {
                return Err(format!("{key} has a value that it may not have"));
            }
        }
        let snapshot = store.snapshot().map_err(|error| error.to_string())?;
        for record in snapshot.iter() {
            let found = Some(Value::read(&record).map_err(|error| error.to_string())?);
            if !self.allows(&record.key(), &found) {
                return Err(format!("a snapshot has a wrong value of {}", record.key()));
            }
        }
        Ok(())
    }
}

/// Puts, replaces, removes, reads and maintains; errors are noted and gone past. Reads are checked.
fn workload(env: &FaultEnv, path: &Path) -> Allowed {
    let mut allowed = Allowed::default();
    let keys = keys(9);
    let mut random = Random::new(7);
    for round in 0..3 {
        let Ok(store) = Store::open_with(env.shared(), path, roomy()) else { continue };
        for step in 0..14 {
            let key = *random.choose(&keys);
            let value = Value::random(&mut random, if step == 5 { 150_000 } else { 30_000 });
            if random.below(6) == 0 {
                allowed.note(key, None, store.remove(&key));
            } else {
                allowed.note(key, Some(value.clone()), store.put(&value.entry(key)));
            }
            let key = *random.choose(&keys);
            if let Ok(Some(record)) = store.get(&key)
                && let Ok(value) = Value::read(&record)
            {
                assert!(allowed.allows(&key, &Some(value)), "a wrong value was read");
            }
            if step == 9 {
                let _ = store.maintain(Budget::full());
            }
        }
        let _ = if round == 1 { store.checkpoint() } else { Ok(()) };
    }
    allowed
}

/// Runs the workload with a fault, then checks what a fresh process finds, and that it can go on.
fn survives(plan: Plan) -> Result<(), String> {
    let folder = larder_tests::temp_dir();
    let path = folder.path().join("store");
    let env = FaultEnv::with(plan);
    let mut allowed = catch_unwind(AssertUnwindSafe(|| workload(&env, &path)))
        .map_err(|_| "the workload panicked".to_string())?;
    let store = match Store::open(&path, roomy()) {
        Ok(store) => store,
        // A store whose making failed half-way holds nothing; it may be refused.
        Err(_) if allowed.acknowledged.is_empty() => return Ok(()),
        Err(error) => return Err(format!("the store does not open again: {error}")),
    };
    allowed.check(&store, &keys(9))?;
    let (key, value) = (Key::of(b"afterwards"), Value::of(b"goes on".as_slice()));
    put(&store, key, &value);
    allowed.note(key, Some(value), Ok(Put::Stored));
    store.maintain(Budget::full()).map_err(|error| error.to_string())?;
    allowed.check(&store, &[keys(9), vec![key]].concat())
}

/// Calls of a class in a run without a fault.
fn calls(call: Call) -> u64 {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    workload(&env, &folder.path().join("store"));
    env.count(call)
}

/// At every `stride`-th call, or at every call where `LARDER_TEST_SEEDS` asks for more.
fn survives_at_each(call: Call, fault: Fault, stride: usize) {
    let stride = if std::env::var_os("LARDER_TEST_SEEDS").is_some() { 1 } else { stride };
    let calls = calls(call);
    assert!(calls > 0, "the workload makes no call of the class {call:?}");
    for number in (1..=calls).step_by(stride) {
        let plan = Plan { call, number, fault };
        survives(plan).unwrap_or_else(|what| panic!("{plan:?}: {what}"));
    }
}

#[test]
fn the_workload_is_right_without_a_fault() {
    let plan = Plan { call: Call::Write, number: u64::MAX, fault: Fault::Stop };
    survives(plan).unwrap();
    assert!(calls(Call::Write) > 150);
}

#[test]
fn each_write_may_fail() {
    survives_at_each(Call::Write, Fault::Errno(EIO), 3);
}

#[test]
fn each_write_may_find_the_disk_full_or_be_interrupted() {
    survives_at_each(Call::Write, Fault::Errno(ENOSPC), 4);
    survives_at_each(Call::Write, Fault::Short(EDQUOT), 5);
    survives_at_each(Call::Write, Fault::Errno(EINTR), 9);
}

#[test]
fn each_write_may_end_half_way() {
    survives_at_each(Call::Write, Fault::Short(ENOSPC), 3);
    survives_at_each(Call::Write, Fault::Short(EIO), 7);
}

#[test]
fn each_read_may_fail_or_end_half_way() {
    survives_at_each(Call::Read, Fault::Errno(EIO), 17);
    survives_at_each(Call::Read, Fault::Errno(EINTR), 53);
    survives_at_each(Call::Read, Fault::Short(EIO), 19);
}

#[test]
fn each_lock_may_be_refused() {
    survives_at_each(Call::Lock, Fault::Errno(ENOLCK), 7);
    survives_at_each(Call::Lock, Fault::Errno(EINTR), 11);
}

#[test]
fn each_map_and_each_question_may_fail() {
    survives_at_each(Call::Map, Fault::Errno(ENOMEM), 1);
    survives_at_each(Call::Ask, Fault::Errno(EIO), 3);
    survives_at_each(Call::Ask, Fault::Errno(EACCES), 7);
}

#[test]
fn each_name_and_each_change_may_be_refused() {
    survives_at_each(Call::Change, Fault::Errno(EACCES), 5);
    survives_at_each(Call::Change, Fault::Errno(EDQUOT), 5);
    survives_at_each(Call::Change, Fault::Errno(EINTR), 11);
}

/// A put that meets a full disk or a quota is dropped for that reason, whichever of its writes it
/// is; the handle goes on.
#[test]
fn a_put_without_room_is_dropped_for_that_reason() {
    for (errno, call) in
        [ENOSPC, EDQUOT].into_iter().flat_map(|e| [(e, Call::Write), (e, Call::Change)])
    {
        let mut dropped = 0;
        for number in 1..12 {
            let folder = larder_tests::temp_dir();
            let env = FaultEnv::new();
            let store = open(&env.shared(), folder.path());
            let (key, value) = (Key::of(b"a"), Value::of(Random::new(1).bytes(30_000)));
            put(&store, key, &value);
            // The second one needs the next segment.
            for _ in 0..2 {
                env.arm(Some(Plan { call, number, fault: Fault::Short(errno) }));
                match store.put(&value.entry(Key::of(b"b"))).unwrap() {
                    Put::Stored => {}
                    other => {
                        assert_eq!(other, Put::Dropped(DropReason::Full));
                        dropped += 1;
                    }
                }
                env.arm(None);
            }
            put(&store, Key::of(b"c"), &value);
            assert_eq!(value_of(&store, &key), Some(value.clone()));
            assert_eq!(value_of(&store, &Key::of(b"c")), Some(value));
        }
        assert!(dropped > 8, "{dropped} puts were dropped");
    }
}

#[test]
fn each_open_and_sync_may_fail() {
    survives_at_each(Call::Open, Fault::Errno(EIO), 3);
    survives_at_each(Call::Open, Fault::Errno(EROFS), 5);
    survives_at_each(Call::Open, Fault::Errno(EMFILE), 7);
    survives_at_each(Call::Open, Fault::Errno(EACCES), 9);
    survives_at_each(Call::Sync, Fault::Errno(EIO), 1);
}

#[test]
fn the_process_may_be_killed_before_each_change() {
    survives_at_each(Call::Change, Fault::Stop, 3);
}

/// The canary: a disk that says yes and writes something else. If no run complained, the checks
/// above would prove nothing; damage may be found as such, but not one flip in hundreds may pass
/// for the whole set.
#[test]
fn a_disk_that_lies_is_noticed() {
    let complaints = (1..=calls(Call::Write)).step_by(5).filter(|number| {
        let plan = Plan { call: Call::Write, number: *number, fault: Fault::Flip };
        catch_unwind(AssertUnwindSafe(|| survives(plan))).map_or(true, |outcome| outcome.is_err())
    });
    assert!(complaints.count() > 8);
}

const OTHER_KERNEL: [u8; 16] = [9; 16];

#[test]
fn another_kernel_is_refused_for_a_minute_and_then_takes_over_with_nothing_lost() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let allowed = workload(&env, folder.path());
    env.set_boot_id(OTHER_KERNEL);
    let error = Store::open_with(env.shared(), folder.path(), roomy()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OtherKernel);
    env.pass_ms(61_000);
    let store = open(&env.shared(), folder.path());
    let reference =
        allowed.acknowledged.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    assert_holds(&store, &reference);
    // This kernel's turn is over while the other one has the store open.
    let error = Store::open(folder.path(), roomy()).unwrap_err();
    assert!(error.is_busy(), "{error}");
}

#[test]
fn a_store_that_another_process_still_uses_is_not_recovered() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let store = open(&env.shared(), folder.path());
    let reader = open(&env.shared(), folder.path());
    put(&store, Key::of(b"a"), &Value::of(b"1".as_slice()));
    env.set_boot_id(OTHER_KERNEL);
    env.pass_ms(61_000);
    let error = Store::open_with(env.shared(), folder.path(), roomy()).unwrap_err();
    assert!(error.is_busy(), "{error}");
    // One that has only read holds no lock, and may not write once the store is another kernel's.
    let error = reader.put(&Value::of(b"2".as_slice()).entry(Key::of(b"a"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OtherKernel);
    drop(store);
    drop(open(&env.shared(), folder.path()));
}

/// A merge syncs the index, nobody syncs the superblock before the next checkpoint. After a power
/// cut the superblock could be older than the index, and the segment ids that it gave out again
/// were merged already as far as the index was concerned: no look-up ever asked them, and a key
/// that was replaced after the restart answered with its old value.
#[test]
fn a_superblock_older_than_the_index_hides_no_new_record() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let path = folder.path();
    let store = open(&env.shared(), path);
    let mut random = Random::new(11);
    let key = Key::of(b"replaced");
    put(&store, key, &Value::of(b"old".as_slice()));
    store.maintain(Budget::full()).unwrap();
    store.checkpoint().unwrap();
    let superblock = fs::read(path.join("superblock")).unwrap();
    for number in 0..80u64 {
        put(&store, Key::of(&number.to_le_bytes()), &Value::of(random.bytes(20_000)));
    }
    store.maintain(Budget::full()).unwrap();
    drop(store);
    fs::write(path.join("superblock"), superblock).unwrap();
    env.set_boot_id(OTHER_KERNEL);
    env.pass_ms(61_000);
    let store = open(&env.shared(), path);
    assert_eq!(value_of(&store, &key), Some(Value::of(b"old".as_slice())));
    put(&store, key, &Value::of(b"new".as_slice()));
    assert_eq!(value_of(&store, &key), Some(Value::of(b"new".as_slice())));
    store.maintain(Budget::full()).unwrap();
    assert_eq!(value_of(&store, &key), Some(Value::of(b"new".as_slice())));
    assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
}

/// The maker of a segment whose superblock write failed used to keep the unpublished file open. The
/// next maker, another process, used the id again; the first handle went on with the unlinked file.
#[test]
fn a_segment_that_could_not_be_published_is_forgotten() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let first = open(&env.shared(), folder.path());
    put(&first, Key::of(b"a"), &Value::of(b"1".as_slice()));
    // Fills segments until making one meets a full disk in the superblock.
    let mut random = Random::new(2);
    let failed = (1..60u64).any(|number| {
        env.arm(Some(Plan { call: Call::Write, number: 2, fault: Fault::Errno(ENOSPC) }));
        let value = Value::of(random.bytes(30_000));
        let _ = first.put(&value.entry(Key::of(&number.to_le_bytes())));
        env.arm(None);
        let segments = fs::read_dir(folder.path().join("log")).unwrap().count() as u64;
        segments > first.stats().unwrap().segments
    });
    assert!(failed, "no segment was left unpublished");
    let second = Store::open(folder.path(), roomy()).unwrap();
    for number in 100..110u64 {
        let (key, value) = (Key::of(&number.to_le_bytes()), Value::of(random.bytes(30_000)));
        put(&second, key, &value);
        assert_eq!(value_of(&first, &key), Some(value.clone()));
        put(&first, Key::of(b"b"), &value);
        assert_eq!(value_of(&second, &Key::of(b"b")), Some(value));
    }
}

/// After a failed write a handle writes no more, since nobody knows what the disk has; it still
/// reads. Upkeep used to go on: the second of two checkpoints succeeded although the first had
/// reported that the disk lost something.
#[test]
fn after_a_failed_sync_the_handle_makes_no_checkpoint() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let store = open(&env.shared(), folder.path());
    let (key, value) = (Key::of(b"a"), Value::of(b"1".as_slice()));
    put(&store, key, &value);
    env.arm(Some(Plan { call: Call::Sync, number: 1, fault: Fault::Errno(EIO) }));
    assert!(store.checkpoint().is_err());
    assert!(store.checkpoint().is_err());
    assert!(matches!(store.put(&value.entry(key)).unwrap(), Put::Dropped(_)));
    assert_eq!(value_of(&store, &key), Some(value));
    drop(store);
    open(&(Arc::new(RealEnv) as Arc<dyn Env>), folder.path()).checkpoint().unwrap();
}

#[test]
fn a_store_on_a_read_only_file_system_is_opened_for_reading() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let allowed = workload(&env, folder.path());
    env.make_read_only();
    let store = open(&env.shared(), folder.path());
    assert!(store.is_read_only());
    allowed.check(&store, &keys(9)).unwrap();
    let value = Value::of(b"x".as_slice());
    assert!(matches!(store.put(&value.entry(Key::of(b"a"))).unwrap(), Put::Dropped(_)));
    store.maintain(Budget::full()).unwrap();
    let missing = Store::open_with(env.shared(), &folder.path().join("missing"), roomy());
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::ReadOnly);
}

/// The two records of one put_all are there together or not at all when the disk fails in between.
#[test]
fn a_put_all_that_fails_leaves_none_of_its_records() {
    let keys = keys(12);
    for number in 1..40 {
        let folder = larder_tests::temp_dir();
        let env = FaultEnv::new();
        let store = open(&env.shared(), folder.path());
        put(&store, Key::of(b"first"), &Value::of(b"x".as_slice()));
        env.arm(Some(Plan { call: Call::Write, number, fault: Fault::Errno(ENOSPC) }));
        let value = Value::of(b"y".as_slice());
        let entries: Vec<_> = keys.iter().map(|key| value.entry(*key)).collect();
        let stored = store.put_all(&entries).unwrap() == Put::Stored;
        for key in &keys {
            assert_eq!(value_of(&store, key).is_some(), stored, "write {number}");
        }
    }
}

/// `rm -rf` of a store while a build runs is an everyday thing. A process that still had the old
/// store open opened the tail of its successor by name, found that it fitted, began an epoch and
/// replaced the successor's segments by its own.
#[test]
fn a_process_that_outlives_its_store_leaves_the_next_store_alone() {
    let folder = larder_tests::temp_dir();
    let path = folder.path().join("store");
    let old = Store::open(&path, roomy()).unwrap();
    let opened_late = Store::open(&path, roomy()).unwrap();
    put(&old, Key::of(b"old"), &Value::of(b"1".as_slice()));
    fs::remove_dir_all(&path).unwrap();
    let next = Store::open(&path, roomy()).unwrap();
    let (key, value) = (Key::of(b"next"), Value::of(b"2".as_slice()));
    put(&next, key, &value);
    for store in [&old, &opened_late] {
        for number in 0..8u64 {
            let late = Value::of(Random::new(number).bytes(30_000));
            let _ = store.put(&late.entry(Key::of(&number.to_le_bytes())));
        }
        let _ = store.maintain(Budget::full());
        let _ = store.checkpoint();
        let fresh = Store::open(&path, roomy()).unwrap();
        assert_eq!(value_of(&fresh, &key), Some(value.clone()));
        assert_eq!(value_of(&next, &key), Some(value.clone()));
        assert_eq!(fresh.verify(|_, _| {}).unwrap().damaged, []);
    }
    let _ = opened_late.clear();
    let fresh = Store::open(&path, roomy()).unwrap();
    assert_eq!(value_of(&fresh, &key), Some(value));
}

/// A handle that had seen the first slot of a commit counted it as taken after the commit had
/// failed and taken it back. Its next slot left a hole, behind which nobody else looked.
#[test]
fn a_slot_that_is_taken_back_after_others_saw_it_leaves_no_hole() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let key = |number: u8| Key::of(&[number]);
    let value = Value::of(b"1".as_slice());
    let other = Arc::new(Store::open(folder.path(), roomy()).unwrap());
    put(&other, key(0), &value);
    let store = open(&env.shared(), folder.path());
    put(&store, key(1), &value);
    let seen = Arc::new(AtomicU64::new(0));
    let (looks, witness) = (other.clone(), seen.clone());
    env.before_writes_of(1, move || {
        let found = looks.get(&Key::of(&[2])).unwrap().is_some();
        witness.fetch_add(u64::from(found), Ordering::Relaxed);
    });
    // Two bodies, two tails, two frames, a slot; the next slot fails.
    env.arm(Some(Plan { call: Call::Write, number: 8, fault: Fault::Errno(EIO) }));
    store.put_all(&[value.entry(key(2)), value.entry(key(3))]).unwrap_err();
    assert!(seen.load(Ordering::Relaxed) > 0, "the first slot was seen");
    put(&other, key(4), &value);
    let fresh = Store::open(folder.path(), roomy()).unwrap();
    assert_eq!(value_of(&fresh, &key(4)), Some(value.clone()));
    assert_eq!([2, 3].map(|number| value_of(&other, &key(number))), [None, None]);
}

/// A process without descriptors took the active segment for lost, began an epoch and closed every
/// segment; and it took records that it could not open for damaged ones.
#[test]
fn a_process_that_may_open_no_more_files_changes_and_counts_nothing() {
    let folder = larder_tests::temp_dir();
    let store = Store::open(folder.path(), roomy()).unwrap();
    let keys = keys(9);
    for key in &keys {
        put(&store, *key, &Value::of(key.as_bytes().as_slice()));
    }
    let state = || {
        let superblock = std::fs::read(folder.path().join("superblock")).unwrap();
        let block = Superblock::decode(&superblock).unwrap();
        let damaged = store.engine_counters().find(|(name, _)| *name == "engine_damaged");
        (block.epoch, block.next_segment, damaged)
    };
    let before = state();
    let mut failed = 0;
    for number in 1..8 {
        let fault = Fault::Errno(EMFILE);
        let env = FaultEnv::new();
        let other = Store::open_with(env.shared(), folder.path(), roomy()).unwrap();
        env.arm(Some(Plan { call: Call::Open, number: env.count(Call::Open) + number, fault }));
        failed += u64::from(other.get(&keys[0]).is_err());
        let value = Value::of(b"perhaps".as_slice());
        failed += u64::from(other.put(&value.entry(Key::of(b"other"))).is_err());
        assert_eq!(state(), before, "file {number} cannot be opened");
    }
    assert!(failed >= 3, "{failed} failures");
}
