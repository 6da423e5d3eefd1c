//! Verifying and repairing where more goes on: others write, the disk fails, somebody is killed,
//! the power was cut, and damage of which nobody has thought.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use larder_engine::env::{Env, LockByte, LockTable, RealEnv};
use larder_engine::format::frame::FRAME_BYTES;
use larder_engine::{
    Budget, DamageKind, DropReason, ErrorKind, Key, Options, Put, ReadMode, Severity, Store,
    VerifyReport,
};
use larder_tests::fault::{Call, Fault, FaultEnv, Plan};
use larder_tests::sample::{Random, Value, with_seeds};

use super::verify::{Sample, Stored, change, flip, key, segment_file, superblock, verified};
use super::{SEGMENT_BYTES, open, roomy};

/// Seeds that once failed.
const FAILED: &[u64] = &[1_000_187];

/// Every answer is the newest value or a miss; returns the misses.
fn misses(sample: &Sample, store: &Store) -> BTreeSet<Key> {
    let mut missing = BTreeSet::new();
    for (key, value) in &sample.reference {
        match store.get(key).unwrap().and_then(|record| Value::read(&record).ok()) {
            Some(found) => assert!(found == *value, "{key} has a wrong or older value"),
            None => drop(missing.insert(*key)),
        }
    }
    assert!(store.get(&key(100)).unwrap().is_none(), "what was removed is back");
    missing
}

fn kinds(report: &VerifyReport) -> BTreeSet<DamageKind> {
    report.damaged.iter().map(|damage| damage.kind).collect()
}

#[test]
fn a_place_that_the_disk_cannot_read_is_named_and_the_rest_is_read() {
    let sample = Sample::new();
    let (merged, other) = (sample.newest(true), sample.newest(false));
    let name = |id| segment_file(id).trim_start_matches("log/").to_owned();
    let file = name(merged.segment);
    let len = fs::metadata(sample.path().join(segment_file(merged.segment))).unwrap().len();
    let places = [
        ("superblock".to_owned(), 4096..4097, DamageKind::Unreadable, 0),
        ("tail".to_owned(), 0..1, DamageKind::Unreadable, 0),
        ("index".to_owned(), 8192..8193, DamageKind::IndexPage, 0),
        ("index".to_owned(), 0..1, DamageKind::IndexMeta, 0),
        (file.clone(), 0..64, DamageKind::Unreadable, 0),
        (file.clone(), 4096..4097, DamageKind::Unreadable, 0),
        (file.clone(), merged.offset..merged.offset + 1, DamageKind::Unreadable, 1),
        (file, len - 64..len, DamageKind::Unreadable, 0),
        (name(other.segment), other.offset + 500..other.offset + 501, DamageKind::Unreadable, 1),
    ];
    for (file, bytes, kind, lost) in places {
        let env = FaultEnv::new();
        let copy = sample.copy();
        let options = roomy().read_only(true).read_mode(ReadMode::Pread);
        let store = Store::open_with(env.shared(), copy.path(), options).unwrap();
        env.spoil(&file, bytes.clone());
        let report = store.verify(|_, _| {}).unwrap();
        assert!(kinds(&report).contains(&kind), "{file} {bytes:?}: {report:?}");
        let of_file = |d: &&larder_engine::Damage| !d.file.ends_with(&file);
        assert_eq!(report.damaged.iter().find(of_file), None, "{file} {bytes:?}");
        // A superblock that cannot be read is one without which nothing else is looked at.
        if file != "superblock" {
            assert!(report.records + lost >= sample.records.len() as u64, "{file} {bytes:?}");
        }
    }
}

/// A repair writes to the bad place, which a disk then maps to a good one; here it stays bad, and
/// that is said.
#[test]
fn a_repair_under_bad_sectors_loses_nothing_else() {
    let sample = Sample::new();
    let record = sample.newest(true);
    let copy = sample.copy();
    let env = FaultEnv::new();
    let name = segment_file(record.segment).trim_start_matches("log/").to_owned();
    env.spoil(&name, 4096..4100);
    let page = record.offset / 4096 * 4096..(record.offset / 4096 + 1) * 4096;
    env.spoil(&name, page.clone());
    let options = roomy().read_mode(ReadMode::Pread);
    let store = Store::open_with(env.shared(), copy.path(), options).unwrap();
    let repaired = store.repair(|_, _| {}).unwrap();
    let left = repaired.after.damaged;
    assert!(left.iter().all(|d| (d.kind, d.offset) == (DamageKind::Unreadable, Some(4096))));
    let end = |r: &Stored| r.offset + FRAME_BYTES as u64 + r.frame.body_bytes;
    let on_page = sample
        .records
        .iter()
        .filter(|r| r.segment == record.segment && r.offset < page.end && page.start < end(r));
    let on_page: BTreeSet<Key> = on_page.map(|r| r.key).collect();
    assert_eq!(repaired.records_dropped, on_page.len() as u64);
    let lost = misses(&sample, &store);
    assert!(lost.contains(&record.key) && lost.is_subset(&on_page));
}

#[test]
fn what_a_power_cut_took_is_told_apart_and_cleaned_up_by_the_janitor() {
    let sample = Sample::new();
    let copy = sample.copy();
    let env = FaultEnv::new();
    env.set_boot_id([9; 16]);
    env.pass_ms(61_000);
    let record = sample.newest(false);
    let end = record.offset + FRAME_BYTES as u64 + record.frame.body_bytes;
    flip(copy.path(), &segment_file(record.segment), end - 1);
    // Nobody has recovered the store yet, and then somebody has.
    let read_only = roomy().read_only(true);
    for options in [read_only, roomy()] {
        let store = Store::open_with(env.shared(), copy.path(), options).unwrap();
        let report = store.verify(|_, _| {}).unwrap();
        assert_eq!(report.damaged, []);
        let kinds: Vec<_> = report.suspects.iter().map(|damage| damage.kind).collect();
        assert_eq!(kinds, [DamageKind::Section]);
        assert!(report.suspect_segments > 0);
    }
    let store = open(&env.shared(), copy.path());
    let repaired = store.repair(|_, _| {}).unwrap();
    assert_eq!((repaired.after.suspect_segments, repaired.after.damaged.len()), (0, 0));
    assert_eq!(repaired.after.suspects, []);
}

#[test]
fn while_others_write_merge_and_evict_nothing_is_taken_for_damage() {
    let folder = larder_tests::temp_dir();
    let small = || Options::new().max_size_bytes(3 << 20).segment_bytes(SEGMENT_BYTES);
    let writer = Store::open(folder.path(), small()).unwrap();
    let is_over = AtomicBool::new(false);
    let mut verified = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random::new(3);
            for number in 0..2_500u64 {
                let length = random.length(12_000);
                let value = Value::of(random.bytes(length));
                let _ = writer.put(&value.entry(key(number % 300))).unwrap();
                if writer.maintenance_due() || number % 100 == 0 {
                    writer.maintain(Budget::full()).unwrap();
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        while !is_over.load(Ordering::Relaxed) {
            let reader = Store::open(folder.path(), small().read_only(true)).unwrap();
            let report = reader.verify(|_, _| {}).unwrap();
            assert_eq!(report.damaged, []);
            verified += 1;
        }
    });
    assert!(verified > 3, "{verified} verifications");
    let evicted = writer.engine_counters().find(|(name, _)| *name == "engine_segments_evicted");
    assert!(evicted.is_some_and(|(_, count)| count > 0));
}

/// Takes a record of a merged segment, one of another, a segment, a page of the tree.
fn damage_much(sample: &Sample, path: &Path) {
    let (merged, other) = (sample.newest(true), sample.newest(false));
    flip(path, &segment_file(other.segment), other.offset + 9);
    // Not the slot of that record: then nobody would know which key it had.
    flip(path, &segment_file(other.segment), other.slot_at + 16 + 3);
    flip(path, "superblock", 50);
    flip(path, "index", 2 * 4096 + 30);
    fs::write(path.join(segment_file(0)), b"left").unwrap();
    let big = sample.records.iter().find(|record| record.key == key(101)).unwrap();
    assert_ne!(big.segment, merged.segment);
    flip(path, &segment_file(big.segment), 10);
    flip(path, &segment_file(big.segment), 2048 + 10);
    flip(path, &segment_file(merged.segment), merged.offset + 80);
}

#[test]
fn a_repair_that_is_killed_anywhere_gives_no_wrong_answer_and_can_be_made_again() {
    let sample = Sample::new();
    let mut deaths = 0;
    for number in 1.. {
        let copy = sample.copy();
        damage_much(&sample, copy.path());
        let env = FaultEnv::new();
        let store = open(&env.shared(), copy.path());
        env.arm(Some(Plan { call: Call::Change, number, fault: Fault::Stop }));
        let done = store.repair(|_, _| {});
        drop(store);
        let is_over = done.is_ok_and(|repaired| repaired.after.damaged.is_empty());
        deaths += u64::from(!is_over);
        let store = Store::open(copy.path(), roomy()).unwrap();
        misses(&sample, &store);
        let repaired = store.repair(|_, _| {}).unwrap();
        assert_eq!(repaired.after.damaged, [], "killed at change {number}");
        let lost = misses(&sample, &store);
        assert!(lost.len() <= 4, "{} keys are lost after a kill at {number}", lost.len());
        drop(store);
        assert_eq!(verified(copy.path()).damaged, []);
        if is_over {
            break;
        }
    }
    assert!(deaths > 20, "only {deaths} kills");
}

#[test]
fn no_random_damage_survives_a_repair_or_brings_an_older_value_back() {
    let sample = Sample::new();
    let mut files = vec!["superblock".to_owned(), "tail".to_owned(), "index".to_owned()];
    let block = superblock(&sample.path());
    files.extend((block.oldest_live..block.next_segment).map(segment_file));
    files.extend((block.oldest_live..block.next_segment).map(segment_file));
    with_seeds(FAILED, 150, |seed| {
        let mut random = Random::new(seed);
        let copy = sample.copy();
        let file = random.choose(&files).clone();
        let mut place = 0;
        change(copy.path(), &file, |bytes| {
            let dense = if random.below(2) == 0 { 9_000 } else { bytes.len() as u64 };
            place = random.below(dense.min(bytes.len() as u64)) as usize;
            match random.below(3) {
                0 => bytes[place] ^= 1 << random.below(8),
                1 => {
                    let end = bytes.len().min(place + 40);
                    bytes[place..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
                }
                // A table that is cut off looks like that of a new segment.
                _ => bytes.truncate(if file.starts_with("log") { place.max(8192) } else { place }),
            }
        });
        let Ok(store) = Store::open(copy.path(), roomy()) else {
            assert_eq!(file, "superblock");
            return;
        };
        let repaired = store.repair(|_, _| {}).unwrap();
        assert_eq!(repaired.after.damaged, [], "{file} at {place}");
        let lost = misses(&sample, &store);
        let is_damaged = !repaired.before.damaged.is_empty();
        assert!(lost.is_empty() || is_damaged, "{file} at {place}: {lost:?}");
        let worst = repaired.before.damaged.iter().map(|damage| damage.severity).max();
        let costs = worst.is_some_and(|severity| severity > Severity::Harmless);
        assert!(lost.is_empty() || costs, "{file} at {place}: {lost:?} for nothing");
    });
}

#[test]
fn a_repair_is_refused_where_it_cannot_be_made() {
    let sample = Sample::new();
    let path = sample.path();
    flip(&path, "superblock", 50);
    let reader = Store::open(&path, roomy().read_only(true)).unwrap();
    assert_eq!(reader.repair(|_, _| {}).unwrap_err().kind(), ErrorKind::ReadOnly);
    let env: std::sync::Arc<dyn Env> = std::sync::Arc::new(RealEnv);
    let locks = LockTable::open(&env, &path, 0o600).unwrap();
    let janitor = locks.lock(LockByte::Janitor, 0).unwrap();
    let store = Store::open(&path, roomy()).unwrap();
    assert_eq!(store.repair(|_, _| {}).unwrap_err().kind(), ErrorKind::Busy);
    drop(janitor);
    assert_eq!(store.repair(|_, _| {}).unwrap().after.damaged, []);
}

/// A tombstone needs room. Without it the damage stays, and goes on to hide the older value.
#[test]
fn a_repair_without_room_for_a_tombstone_changes_no_answer() {
    let sample = Sample::new();
    let path = sample.path();
    let record = sample.newest(false);
    flip(&path, &segment_file(record.segment), record.offset + 9);
    let full = roomy().max_size_bytes(4 * SEGMENT_BYTES);
    let store = Store::open(&path, full).unwrap();
    let value = Value::of(b"x".as_slice());
    assert!(matches!(store.put(&value.entry(key(7))).unwrap(), Put::Dropped(DropReason::Full)));
    assert_eq!(store.repair(|_, _| {}).unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(misses(&sample, &store), BTreeSet::from([record.key]));
    assert_eq!(kinds(&store.verify(|_, _| {}).unwrap()), BTreeSet::from([DamageKind::Frame]));
    let store = Store::open(&path, roomy()).unwrap();
    assert_eq!(store.repair(|_, _| {}).unwrap().after.damaged, []);
    assert_eq!(misses(&sample, &store), BTreeSet::from([record.key]));
}
