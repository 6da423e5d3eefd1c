//! Taking over from another kernel, and reading a disk that has bad sectors.

use std::path::Path;
use std::sync::Barrier;
use std::thread;

use larder_engine::{Budget, DropReason, ErrorKind, Key, Options, Put, ReadMode, Store};
use larder_tests::fault::FaultEnv;
use larder_tests::sample::{Random, Value};

use super::{Reference, assert_holds, put, roomy, value_of};

/// A kernel of its own: its boot id, its clock, and locks that reach no other.
fn kernel(id: u8) -> FaultEnv {
    let env = FaultEnv::new();
    env.set_boot_id([id; 16]);
    env.lock_alone();
    env
}

fn key(number: u64) -> Key {
    Key::of(&number.to_le_bytes())
}

fn fill(store: &Store, numbers: std::ops::Range<u64>, reference: &mut Reference) {
    for number in numbers {
        let value = Value::of(Random::new(number).bytes(3_000));
        put(store, key(number), &value);
        reference.insert(key(number), value);
    }
}

/// A process that had slept while another kernel took the store over went on writing by its old
/// tail, into segments that the other one took for closed.
#[test]
fn a_kernel_that_was_replaced_writes_no_more() {
    let folder = larder_tests::temp_dir();
    let (first, second) = (kernel(1), kernel(2));
    let mut reference = Reference::new();
    let sleeper = Store::open_with(first.shared(), folder.path(), roomy()).unwrap();
    fill(&sleeper, 0..30, &mut reference);
    let refused = Store::open_with(second.shared(), folder.path(), roomy()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::OtherKernel);
    second.pass_ms(61_000);
    let taker = Store::open_with(second.shared(), folder.path(), roomy()).unwrap();
    fill(&taker, 30..60, &mut reference);
    taker.maintain(Budget::full()).unwrap();
    first.pass_ms(62_000);
    let value = Value::of(b"too late".as_slice());
    let late = sleeper.put(&value.entry(key(1))).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::OtherKernel);
    assert_eq!(sleeper.put(&value.entry(key(1))).unwrap(), Put::Dropped(DropReason::Poisoned));
    fill(&taker, 60..90, &mut reference);
    assert_holds(&taker, &reference);
    assert_eq!(taker.verify(|_, _| {}).unwrap().damaged, []);
}

/// Only puts told other kernels that somebody was there; a janitor with much to do was taken for
/// nobody after a minute.
#[test]
fn a_janitor_at_work_keeps_other_kernels_off() {
    let folder = larder_tests::temp_dir();
    let (first, second) = (kernel(1), kernel(2));
    let store = Store::open_with(first.shared(), folder.path(), roomy()).unwrap();
    fill(&store, 0..60, &mut Reference::new());
    first.pass_ms(50_000);
    second.pass_ms(70_000);
    assert!(store.maintain(Budget::full()).unwrap().merged);
    let refused = Store::open_with(second.shared(), folder.path(), roomy()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::OtherKernel);
}

/// As does everything else that changes the store.
#[test]
fn a_janitor_of_a_kernel_that_was_replaced_changes_nothing() {
    let folder = larder_tests::temp_dir();
    let (first, second) = (kernel(1), kernel(2));
    let mut reference = Reference::new();
    let sleeper = Store::open_with(first.shared(), folder.path(), roomy()).unwrap();
    fill(&sleeper, 0..60, &mut reference);
    second.pass_ms(61_000);
    let taker = Store::open_with(second.shared(), folder.path(), roomy()).unwrap();
    fill(&taker, 60..90, &mut reference);
    let late = [
        sleeper.maintain(Budget::full()).map(drop),
        sleeper.checkpoint(),
        sleeper.clear(),
        sleeper.repair(|_, _| {}).map(drop),
    ];
    for outcome in late {
        let kind = outcome.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::OtherKernel | ErrorKind::Io), "{kind:?}");
    }
    assert_holds(&taker, &reference);
    assert_eq!(taker.verify(|_, _| {}).unwrap().damaged, []);
}

/// Without a boot id a power cut could not be told from a pause.
#[test]
fn a_store_is_only_read_where_the_kernel_has_no_boot_id() {
    let folder = larder_tests::temp_dir();
    let mut reference = Reference::new();
    let store = Store::open(folder.path(), roomy()).unwrap();
    fill(&store, 0..30, &mut reference);
    let nobody = kernel(0);
    let reader = Store::open_with(nobody.shared(), folder.path(), roomy()).unwrap();
    assert_holds(&reader, &reference);
    let value = Value::of(b"not kept".as_slice());
    let put = reader.put(&value.entry(key(1))).unwrap();
    assert_eq!(put, Put::Dropped(DropReason::ReadOnly));
    assert_holds(&store, &reference);
}

/// Of the two copies of the superblock look-ups go by the first. A recovery that was killed when it
/// had written the second only must not count as made.
#[test]
fn a_recovery_that_was_cut_short_is_made_again() {
    for writes in 1..6 {
        let folder = larder_tests::temp_dir();
        let mut reference = Reference::new();
        let before = kernel(1);
        let store = Store::open_with(before.shared(), folder.path(), roomy()).unwrap();
        fill(&store, 0..(20 + writes), &mut reference);
        drop(store);
        let dying = kernel(2);
        dying.pass_ms(61_000);
        let plan = larder_tests::fault::Plan {
            call: larder_tests::fault::Call::Change,
            number: writes,
            fault: larder_tests::fault::Fault::Stop,
        };
        dying.arm(Some(plan));
        let outcome = Store::open_with(dying.shared(), folder.path(), roomy());
        let after = kernel(2);
        after.pass_ms(61_000);
        let store = Store::open_with(after.shared(), folder.path(), roomy()).unwrap();
        assert!(outcome.is_ok() || store.maintenance_due(), "the recovery was not made");
        assert_holds(&store, &reference);
        fill(&store, 100..120, &mut reference);
        store.maintain(Budget::full()).unwrap();
        assert_holds(&store, &reference);
        assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
    }
}

/// A torn slot hid an eighth of the store after a power cut, although nearly all of that had been
/// durable for days.
#[test]
fn what_a_power_cut_tears_hides_nothing_that_was_durable() {
    let folder = larder_tests::temp_dir();
    let mut reference = Reference::new();
    let before = kernel(1);
    let store = Store::open_with(before.shared(), folder.path(), roomy()).unwrap();
    fill(&store, 0..40, &mut reference);
    store.checkpoint().unwrap();
    // Replaced after the checkpoint, and lost by the power cut.
    for number in 0..10 {
        put(&store, key(number), &Value::of(Random::new(1_000 + number).bytes(3_000)));
    }
    drop(store);
    let newest = newest_segment(folder.path());
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[4096..4096 + 100].fill(0x5a);
    std::fs::write(&newest, &bytes[..20_000]).unwrap();
    let after = kernel(2);
    after.pass_ms(61_000);
    let readers = [roomy().read_only(true), roomy()];
    for options in readers {
        let store = Store::open_with(after.shared(), folder.path(), options).unwrap();
        for number in 10..40 {
            assert_eq!(value_of(&store, &key(number)), reference.get(&key(number)).cloned());
        }
        for number in 0..10 {
            assert!(value_of(&store, &key(number)).is_some(), "{number} is hidden");
        }
    }
    let store = Store::open_with(after.shared(), folder.path(), roomy()).unwrap();
    let seen: Vec<_> = (0..40).map(|number| value_of(&store, &key(number))).collect();
    store.maintain(Budget::full()).unwrap();
    // A record whose slot is lost was never committed: its frame may be older than what is found.
    let now: Vec<_> = (0..40).map(|number| value_of(&store, &key(number))).collect();
    assert_eq!(now, seen);
    assert!(now.iter().all(Option::is_some));
    assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
}

fn newest_segment(store: &Path) -> std::path::PathBuf {
    let entries = std::fs::read_dir(store.join("log")).unwrap();
    entries.map(|entry| entry.unwrap().path()).max().expect("there is a segment")
}

fn by_calls() -> Options {
    roomy().read_mode(ReadMode::Pread)
}

/// One sector that could not be read made every look-up fail, and no merge went on behind it.
#[test]
fn a_bad_sector_costs_what_is_on_it() {
    let folder = larder_tests::temp_dir();
    let mut reference = Reference::new();
    let store = Store::open(folder.path(), by_calls()).unwrap();
    fill(&store, 0..100, &mut reference);
    store.checkpoint().unwrap();
    fill(&store, 100..160, &mut reference);
    drop(store);
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let newest = name(&newest_segment(folder.path()));
    for (file, range) in [
        (newest.as_str(), 0..4096u64),
        (newest.as_str(), 4096..8192),
        (newest.as_str(), 12_288..16_384),
        ("index", 0..4096),
        ("index", 4096..8192),
        ("index", 8192..12_288),
    ] {
        let env = FaultEnv::new();
        env.spoil(file, range.clone());
        let store = Store::open_with(env.shared(), folder.path(), by_calls()).unwrap();
        let wrong = (0..160u64).filter(|number| {
            let found = store.get(&key(*number)).expect("a look-up succeeds");
            let found = found.and_then(|record| Value::read(&record).ok());
            found.is_some() && found.as_ref() != reference.get(&key(*number))
        });
        assert_eq!(wrong.count(), 0);
    }
    let env = FaultEnv::new();
    env.spoil(&newest, 4096..8192);
    let store = Store::open_with(env.shared(), folder.path(), by_calls()).unwrap();
    // The table of the newest segment cannot be read. Its merge takes its records by their frames.
    fill(&store, 200..260, &mut reference);
    store.maintain(Budget::full()).unwrap();
    assert_holds(&store, &reference);
}

/// One of those who open a store after a reboot recovers it; the others come in, or come back
/// later.
#[test]
fn of_many_openers_one_recovers() {
    for _ in 0..20 {
        let folder = larder_tests::temp_dir();
        let mut reference = Reference::new();
        fill(&Store::open(folder.path(), roomy()).unwrap(), 0..20, &mut reference);
        let env = FaultEnv::new();
        env.set_boot_id([7; 16]);
        env.pass_ms(61_000);
        let start = Barrier::new(8);
        let opener = || {
            start.wait();
            Store::open_with(env.shared(), folder.path(), roomy())
        };
        let outcomes: Vec<_> = thread::scope(|scope| {
            let openers: Vec<_> = (0..8).map(|_| scope.spawn(opener)).collect();
            openers.into_iter().map(|opener| opener.join().expect("no panic")).collect()
        });
        let mut opened = 0;
        for outcome in outcomes {
            match outcome {
                Ok(store) => {
                    assert_holds(&store, &reference);
                    opened += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Busy, "{error}"),
            }
        }
        assert!(opened > 0);
        let store = Store::open_with(env.shared(), folder.path(), roomy()).unwrap();
        let recoveries = store.engine_counters().find(|(name, _)| *name == "engine_recoveries");
        assert_eq!(recoveries, Some(("engine_recoveries", 1)));
    }
}
