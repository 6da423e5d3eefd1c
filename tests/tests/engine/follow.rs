//! Following the log: every committed record once, in the order of commits, whoever writes, seals,
//! merges, evicts, is stopped or killed meanwhile, and after a power cut.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use larder_engine::{
    Budget, Entry, ErrorKind, Key, LogPosition, Options, Put, ReadMode, RecordKind, Section,
    SectionKind, Store,
};
use larder_tests::crash::disk::{Disk, Lie};
use larder_tests::crash::image::Harm;
use larder_tests::crash::session::STORE;
use larder_tests::fault::{Call, EACCES, EIO, EMFILE, Fault, FaultEnv, Plan};
use larder_tests::sample::{Random, Value};

use super::{SEGMENT_BYTES, put, roomy, value_of};

fn key(number: u64) -> Key {
    Key::of(&number.to_le_bytes())
}

/// Bytes that do not compress.
fn noise(seed: u64, bytes: usize) -> Value {
    let mut random = Random::new(seed);
    Value::of((0..bytes / 8).flat_map(|_| random.number().to_le_bytes()).collect::<Vec<u8>>())
}

/// Somebody who follows a log, and what he has seen.
#[derive(Default)]
pub(super) struct Follower {
    pub(super) position: LogPosition,
    /// Sequence number, key and kind of each record.
    pub(super) seen: Vec<(u64, Key, Option<RecordKind>)>,
    skipped_segments: u64,
    missed_below: u64,
    damaged: u64,
}

impl Follower {
    /// Reads one part; whether it was the last.
    fn read(&mut self, store: &Store, count_max: usize) -> bool {
        self.try_to_read(store, count_max).expect("the log can be followed")
    }

    /// The same where somebody may hold the tail lock for long.
    pub(super) fn try_to_read(
        &mut self,
        store: &Store,
        count_max: usize,
    ) -> larder_engine::Result<bool> {
        // What is kept between two runs is a number.
        let position = LogPosition::from_u64(self.position.to_u64());
        let part = store.records_after(position, count_max)?;
        assert!(part.records.len() <= count_max);
        assert!(part.end >= self.position, "{:?} after {:?}", part.end, self.position);
        for record in &part.records {
            self.seen.push((record.sequence(), record.key(), record.kind()));
        }
        self.position = part.end;
        self.skipped_segments += part.skipped_segments;
        self.missed_below = self.missed_below.max(part.missed_below);
        self.damaged += part.damaged_records;
        Ok(part.is_at_end)
    }

    pub(super) fn catch_up(&mut self, store: &Store, count_max: usize) {
        while !self.read(store, count_max) {}
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.seen.iter().map(|(_, key, _)| *key).collect()
    }

    /// Every record once, in the order of commits.
    pub(super) fn assert_in_order(&self) {
        let in_order = self.seen.windows(2).all(|pair| pair[0].0 < pair[1].0);
        assert!(in_order, "{:?}", self.seen.iter().map(|seen| seen.0).collect::<Vec<_>>());
    }
}

/// Puts of many sizes, some with a segment of their own, some together, with upkeep in between.
fn work(store: &Store, count: u64, expected: &mut Vec<Key>) {
    let mut random = Random::new(count);
    for number in 0..count {
        match number % 25 {
            3 => {
                put(store, key(number), &noise(number, 50_000));
                expected.push(key(number));
            }
            7 => {
                let keys = [key(number), key(number + 1_000), key(number)];
                let data = random.bytes(2_000);
                let section = || vec![Section::new(SectionKind::Object, data.as_slice())];
                let entries = keys.map(|key| Entry::new(key, RecordKind::Result, section()));
                assert_eq!(store.put_all(&entries).unwrap(), Put::Stored);
                expected.extend(keys);
            }
            11 => {
                assert_eq!(store.remove(&key(number - 1)).unwrap(), Put::Stored);
                expected.push(key(number - 1));
            }
            _ => {
                put(store, key(number), &noise(number, 100 + random.below(4_000) as usize));
                expected.push(key(number));
            }
        }
        if number % 60 == 59 {
            store.maintain(Budget::full()).unwrap();
        }
    }
}

#[test]
fn parts_of_any_length_bring_every_record_once_and_in_order() {
    let folder = larder_tests::temp_dir();
    let open = || Store::open(folder.path(), roomy()).unwrap();
    let mut expected = Vec::new();
    work(&open(), 200, &mut expected);
    for count_max in [1, 7, 100_000] {
        let mut follower = Follower::default();
        let store = open();
        // A process of its own for some parts.
        let mut fresh = open();
        loop {
            if follower.seen.len() % 50 == 0 {
                fresh = open();
            }
            if follower.read(&fresh, count_max) {
                break;
            }
        }
        follower.assert_in_order();
        assert_eq!(follower.keys(), expected);
        assert_eq!(follower.position, store.log_end().unwrap());
        assert_eq!((follower.skipped_segments, follower.damaged), (0, 0));
        let removed =
            |seen: &&(u64, Key, Option<RecordKind>)| seen.2 == Some(RecordKind::Tombstone);
        assert_eq!(follower.seen.iter().filter(removed).count(), 8);
    }
}

#[test]
fn who_is_at_the_end_gets_what_comes_later_and_nothing_else() {
    let folder = larder_tests::temp_dir();
    let store = Store::open(folder.path(), roomy()).unwrap();
    assert_eq!(store.records_after(LogPosition::BEGIN, 10).unwrap().records.len(), 0);
    // Before the first segment there is.
    let mut early = Follower { position: store.log_end().unwrap(), ..Follower::default() };
    let mut expected = Vec::new();
    work(&store, 90, &mut expected);
    let mut follower = Follower { position: store.log_end().unwrap(), ..Follower::default() };
    early.catch_up(&store, 10);
    assert_eq!(early.keys(), expected);
    expected.clear();
    for number in 5_000..5_200 {
        assert!(follower.read(&store, 10), "there was nothing more");
        put(&store, key(number), &noise(number, 3_000));
        expected.push(key(number));
        if number % 70 == 0 {
            // The segment that the position names is closed, sealed and merged.
            store.maintain(Budget::full()).unwrap();
            store.checkpoint().unwrap();
        }
    }
    follower.catch_up(&store, 10);
    early.catch_up(&store, 10);
    assert_eq!(follower.keys(), expected);
    assert_eq!(early.position, follower.position);
    early.assert_in_order();
}

#[test]
fn a_store_that_is_only_read_cannot_be_followed() {
    let folder = larder_tests::temp_dir();
    put(&Store::open(folder.path(), roomy()).unwrap(), key(1), &noise(1, 100));
    let store = Store::open(folder.path(), roomy().read_only(true)).unwrap();
    assert_eq!(store.log_end().unwrap_err().kind(), ErrorKind::ReadOnly);
    let refused = store.records_after(LogPosition::BEGIN, 1).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ReadOnly);
}

#[test]
fn any_number_is_some_position() {
    let folder = larder_tests::temp_dir();
    let store = Store::open(folder.path(), roomy()).unwrap();
    work(&store, 100, &mut Vec::new());
    let mut all = Follower::default();
    all.catch_up(&store, 1_000);
    let mut random = Random::new(1);
    let numbers = (0..64).map(|bit| 1 << bit).chain((0..200).map(|_| random.number()));
    for number in numbers.chain([u64::MAX]) {
        let from = LogPosition::from_u64(number);
        let part = store.records_after(from, 1_000).unwrap();
        let seen: Vec<u64> = part.records.iter().map(|record| record.sequence()).collect();
        let known: Vec<u64> = all.seen.iter().map(|(sequence, _, _)| *sequence).collect();
        assert!(seen.iter().all(|sequence| known.contains(sequence)), "{number}");
        assert!(seen.is_sorted_by(|one, other| one < other), "{number}");
        assert_eq!((part.end, part.is_at_end), (all.position, true));
        // Of a store that this one can have been set back from.
        assert!(number >> 36 <= 1_000 || seen.len() == known.len(), "{number}");
    }
}

#[test]
fn writers_and_a_janitor_at_work_hide_nothing_and_bring_nothing_twice() {
    const WRITERS: u64 = 3;
    const PUTS: u64 = 150;
    let folder = larder_tests::temp_dir();
    let open = || Store::open(folder.path(), roomy()).unwrap();
    let follower_store = open();
    let (mut follower, done) = (Follower::default(), AtomicBool::new(false));
    let stored: Vec<Key> = thread::scope(|scope| {
        let write = |writer: u64| {
            let store = open();
            let mut random = Random::new(writer);
            let mut stored = Vec::new();
            for number in 0..PUTS {
                let key = key(writer << 32 | number);
                let bytes = 64 + random.below(9_000) as usize;
                // A busy machine may cost some.
                if store.put(&noise(number, bytes).entry(key)).unwrap() == Put::Stored {
                    stored.push(key);
                }
            }
            stored
        };
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        let janitor = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // A lock that is not had in time is no concern of this test.
                let _ = open().maintain(Budget::full());
            }
        });
        while writers.iter().any(|writer| !writer.is_finished()) {
            if let Err(error) = follower.try_to_read(&follower_store, 40) {
                assert!(error.is_busy(), "{error}");
            }
        }
        let stored = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        janitor.join().unwrap();
        stored
    });
    follower.catch_up(&follower_store, 1_000);
    follower.assert_in_order();
    let seen: BTreeSet<Key> = follower.keys().into_iter().collect();
    assert!(stored.len() as u64 > WRITERS * PUTS / 2, "{} were stored", stored.len());
    assert_eq!(seen.len(), follower.seen.len());
    assert_eq!(seen, stored.into_iter().collect());
}

#[test]
fn what_was_evicted_is_passed_and_copies_are_known_as_such() {
    const MAX_SIZE: u64 = 8 << 20;
    let folder = larder_tests::temp_dir();
    let options = || Options::new().max_size_bytes(MAX_SIZE).segment_bytes(SEGMENT_BYTES);
    let open = || Store::open(folder.path(), options()).unwrap();
    let (mut behind, mut abreast) = (Follower::default(), Follower::default());
    let store = open();
    let mut count = 0;
    while store.used_bytes().unwrap() <= MAX_SIZE / 100 * 91 {
        put(&store, key(count), &noise(count, 9_000));
        count += 1;
        if count == 3 {
            behind.catch_up(&store, 10);
        }
    }
    abreast.catch_up(&store, 100);
    assert_eq!(abreast.seen.len() as u64, count);
    // What was hit by others.
    let other = open();
    for number in (0..60).step_by(6) {
        assert!(value_of(&other, &key(number)).is_some());
    }
    let done = other.maintain(Budget::due()).unwrap();
    assert!(done.records_reinserted >= 8 && done.segments_evicted > 8, "{done:?}");
    let numbers: BTreeMap<Key, u64> =
        abreast.seen.iter().map(|(sequence, key, _)| (*key, *sequence)).collect();
    // Who was abreast gets the copies, which say what they are copies of.
    let part = store.records_after(abreast.position, 1_000).unwrap();
    assert_eq!((part.skipped_segments, part.missed_below), (0, 0));
    assert_eq!(part.records.len() as u64, done.records_reinserted);
    for record in &part.records {
        assert!(record.is_copy() && record.sequence() > record.first_sequence());
        assert_eq!(record.first_sequence(), numbers[&record.key()]);
    }
    // Who was behind is told that something is missing, and which copies he has not seen.
    let part = store.records_after(behind.position, 10_000).unwrap();
    assert!(part.skipped_segments + 2 >= done.segments_evicted, "{part:?}");
    assert!(part.is_at_end);
    let live: BTreeSet<Key> =
        (0..count).map(key).filter(|key| store.contains(key).unwrap()).collect();
    let unseen = part
        .records
        .iter()
        .filter(|record| !record.is_copy() || record.first_sequence() < part.missed_below)
        .map(|record| record.key());
    assert_eq!(unseen.collect::<BTreeSet<Key>>(), live);
}

/// Every call of the follower fails once: it is told, and gets everything when it asks again, or
/// what was passed is counted.
#[test]
fn a_call_that_fails_hides_nothing_in_secret() {
    let folder = larder_tests::temp_dir();
    let mut expected = Vec::new();
    work(&Store::open(folder.path(), roomy()).unwrap(), 130, &mut expected);
    let (mut told, mut passed) = (0, 0);
    for call in [Call::Open, Call::Read, Call::Sync, Call::Lock, Call::Ask] {
        for errno in [EIO, EMFILE, EACCES] {
            for number in 1.. {
                let env = FaultEnv::new();
                // A call for each thing that is read.
                let options = roomy().read_mode(ReadMode::Pread);
                let store = Store::open_with(env.shared(), folder.path(), options).unwrap();
                env.arm(Some(Plan { call, number, fault: Fault::Errno(errno) }));
                let before = env.count(call);
                let mut follower = Follower::default();
                let first = follower.try_to_read(&store, 40);
                let is_over = env.count(call) - before < number;
                env.arm(None);
                told += u64::from(first.is_err());
                // After a sync that failed nobody knows what the disk has.
                let store = if first.is_err() && call == Call::Sync {
                    assert!(follower.try_to_read(&store, 40).is_err());
                    Store::open(folder.path(), roomy()).unwrap()
                } else {
                    store
                };
                follower.catch_up(&store, 40);
                follower.assert_in_order();
                let missing = expected.len() - follower.seen.len();
                assert!(missing == 0 || follower.damaged > 0, "{call:?} {number}: {missing}");
                passed += u64::from(missing > 0);
                if is_over {
                    assert_eq!((first.is_err(), missing), (false, 0), "{call:?} {number}");
                    break;
                }
            }
        }
    }
    assert!(told > 20 && passed > 5, "{told} were told, {passed} passed something");
}

fn open(disk: &Disk) -> Store {
    let options = Options::new().max_size_bytes(1 << 30).segment_bytes(SEGMENT_BYTES);
    Store::open_with(disk.env(), Path::new(STORE), options.read_mode(ReadMode::Pread)).unwrap()
}

fn new_disk(seed: u64) -> Disk {
    Disk::new(Path::new(STORE).parent().unwrap(), seed, Lie::None)
}

/// A put that is killed anywhere leaves a hole, or is there; the follower stops at neither.
#[test]
fn a_writer_that_was_killed_anywhere_holds_nobody_up() {
    let disk = new_disk(1);
    let store = open(&disk);
    let fill = |store: &Store, numbers: std::ops::Range<u64>| {
        numbers.for_each(|number| put(store, key(number), &noise(number, 20_000)));
    };
    fill(&store, 0..2);
    let mut before = Follower::default();
    before.catch_up(&store, 10);
    let (begun, position) = (disk.position(), before.position);
    // The second of them goes to another segment.
    fill(&store, 2..4);
    let mut holes = 0;
    for killed_at in begun..=disk.position() {
        let next = disk.kill(killed_at);
        let store = open(&next);
        let mut follower = Follower { position, ..Follower::default() };
        follower.catch_up(&store, 1);
        let there: Vec<Key> =
            (2..4).map(key).filter(|key| value_of(&store, key).is_some()).collect();
        assert_eq!(follower.keys(), there, "killed at {killed_at}");
        holes += usize::from(there.len() < 2);
        fill(&store, 10..13);
        store.maintain(Budget::full()).unwrap();
        follower.catch_up(&store, 1);
        follower.assert_in_order();
        let all: Vec<Key> = there.into_iter().chain((10..13).map(key)).collect();
        assert_eq!(follower.keys(), all, "killed at {killed_at}");
    }
    assert!(holes > 5, "{holes}");
}

/// Whatever a power cut leaves of the log, a position from before it passes over nothing that is
/// there now and was not handed out, and over nothing that is put later.
#[test]
fn a_position_from_before_a_power_cut_passes_over_nothing() {
    let (mut lost, mut handed_out) = (0, 0);
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let mut disk = new_disk(seed);
        let mut follower = Follower::default();
        let mut next = 0;
        for _ in 0..3 {
            let store = open(&disk);
            for _ in 0..random.below(30) {
                for _ in 0..random.below(4) {
                    put(&store, key(next), &noise(next, random.below(9_000) as usize));
                    next += 1;
                }
                match random.below(8) {
                    0 => store.checkpoint().unwrap(),
                    1 => drop(store.maintain(Budget::full()).unwrap()),
                    2..=5 => drop(follower.read(&store, 1 + random.below(6) as usize)),
                    _ => {}
                }
            }
            let harm = if seed == 0 { Harm::worst() } else { Harm::random(&mut random) };
            let seen: BTreeSet<Key> = follower.keys().into_iter().collect();
            handed_out += seen.len();
            disk = disk.power_cut(disk.position(), &harm, &mut random).0;
            let uuid = store.uuid();
            let store = open(&disk);
            // Before its first sync nothing of a store need be left.
            follower.position = match store.uuid() == uuid {
                true => follower.position,
                false => LogPosition::BEGIN,
            };
            // The agent may come back late.
            let first = next;
            for _ in 0..random.below(20) {
                put(&store, key(next), &noise(next, random.below(9_000) as usize));
                next += 1;
            }
            if random.below(2) == 0 {
                store.maintain(Budget::full()).unwrap();
            }
            follower.seen.clear();
            follower.catch_up(&store, 1 + random.below(20) as usize);
            let now: BTreeSet<Key> = follower.keys().into_iter().collect();
            let there = |key: &Key| value_of(&store, key).is_some();
            let missing: Vec<u64> = (0..next)
                .filter(|number| there(&key(*number)))
                .filter(|number| !now.contains(&key(*number)) && !seen.contains(&key(*number)))
                .collect();
            assert_eq!(missing, Vec::<u64>::new(), "seed {seed}, of {next} keys");
            assert!((first..next).all(|number| now.contains(&key(number))), "seed {seed}");
            lost += seen.iter().filter(|key| !there(key)).count();
            for number in (0..next).filter(|number| seen.contains(&key(*number))) {
                follower.seen.push((0, key(number), None));
            }
        }
    }
    assert!(lost > 50 && handed_out > 500, "{lost} of {handed_out} were lost after they were seen");
}
