//! Trimming: what is to go goes, everything else stays, whoever interferes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_engine::env::{Env, LockByte, LockTable, RealEnv};
use larder_engine::{
    Entry, ErrorKind, Key, Options, Put, RecordKind, RecordLayout, Section, SectionKind, Store,
    Trim, Trimmed,
};
use larder_tests::fault::{Call, Fault, FaultEnv, Plan};
use larder_tests::sample::{Random, copy_tree, disk_usage};

const MAX_SIZE: u64 = 6 << 20;
const ENTRIES: u64 = 300;
const BYTES: usize = 9_000;

fn options() -> Options {
    Options::new().max_size_bytes(MAX_SIZE).segment_bytes(64 << 10).layout(RecordLayout::Raw)
}

fn open(env: &FaultEnv, path: &Path, options: Options) -> Store {
    Store::open_with(env.shared(), path, options).expect("the store opens")
}

fn key(number: u64) -> Key {
    Key::of(&number.to_le_bytes())
}

fn content(number: u64, version: u64) -> Vec<u8> {
    let mut random = Random::new(number << 8 | version);
    (0..BYTES / 8).flat_map(|_| random.number().to_le_bytes()).collect()
}

/// Entry `number` was stored at second 1,000 + `number`, every third one in the namespace `ci`, of
/// which later versions are no part any more.
fn put(store: &Store, number: u64, version: u64) -> Put {
    let section = Section::new(SectionKind::Object, content(number, version));
    let mut entry = Entry::new(key(number), RecordKind::Result, vec![section]);
    entry.created_secs = Some(1_000 + number);
    entry.namespace = if is_of_ci(number) && version == 0 { "ci".into() } else { "".into() };
    store.put(&entry).expect("the disk works")
}

fn is_of_ci(number: u64) -> bool {
    number.is_multiple_of(3)
}

fn fill(store: &Store) {
    (0..ENTRIES).for_each(|number| assert_eq!(put(store, number, 0), Put::Stored));
}

/// Which entries are there; each has one of these versions, whole.
fn present(store: &Store, versions: &[u64]) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    for number in 0..ENTRIES {
        let Some(record) = store.get(&key(number)).expect("the disk works") else { continue };
        let bytes = record.read(0).expect("it is whole");
        assert!(versions.iter().any(|version| bytes == content(number, *version)), "{number}");
        assert_eq!(record.created_secs(), 1_000 + number, "the time of its storing is kept");
        found.insert(number);
    }
    found
}

fn all_but(is_gone: impl Fn(u64) -> bool) -> BTreeSet<u64> {
    (0..ENTRIES).filter(|number| !is_gone(*number)).collect()
}

fn assert_is_whole(store: &Store) {
    let report = store.verify(|_, _| ()).expect("the store can be read");
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);
}

fn trim(store: &Store, trim: &Trim) -> Trimmed {
    store.trim(trim, |done, total| assert!(done <= total)).expect("a trim succeeds")
}

fn of_ci() -> Trim {
    Trim { namespace: Some("ci".into()), ..Trim::default() }
}

/// A filled store, and what a trim made of it.
fn check(wanted: &Trim, is_gone: impl Fn(u64) -> bool) -> Trimmed {
    let folder = larder_tests::temp_dir();
    let store = open(&FaultEnv::new(), folder.path(), options());
    fill(&store);
    let told = trim(&store, &Trim { dry_run: true, ..wanted.clone() });
    assert_eq!(present(&store, &[0]), all_but(|_| false), "a dry run changes nothing");
    let done = trim(&store, wanted);
    assert_eq!(done.disk_bytes_after, disk_usage(folder.path()));
    let kept = all_but(is_gone);
    assert_eq!(present(&store, &[0]), kept);
    assert_is_whole(&store);
    drop(store);
    let store = open(&FaultEnv::new(), folder.path(), options());
    assert_eq!(present(&store, &[0]), kept, "after opening it again");
    let counts = |t: Trimmed| (t.entries_dropped, t.bytes_dropped, t.entries_kept, t.bytes_kept);
    assert_eq!(counts(done), counts(told), "a dry run tells what a trim does");
    assert_eq!(done.entries_kept, kept.len() as u64);
    assert_eq!(done.entries_dropped, ENTRIES - kept.len() as u64);
    assert!(done.bytes_dropped >= done.entries_dropped * BYTES as u64);
    assert!(done.bytes_kept >= done.entries_kept * BYTES as u64);
    done
}

#[test]
fn entries_of_a_namespace_go_and_the_others_stay() {
    let done = check(&of_ci(), is_of_ci);
    assert!(done.entries_moved > 0 && done.segments_dropped > 0);
    assert!(done.disk_bytes_after < done.disk_bytes_before);
}

#[test]
fn entries_stored_before_a_moment_go_and_nothing_behind_them_is_moved() {
    let trim = Trim { stored_before_secs: Some(1_100), ..Trim::default() };
    let done = check(&trim, |number| number < 100);
    assert!(done.entries_moved < 7, "{done:?}");
}

#[test]
fn filters_must_all_hold() {
    let trim = Trim { stored_before_secs: Some(1_100), ..of_ci() };
    check(&trim, |number| is_of_ci(number) && number < 100);
    let none = Trim { stored_before_secs: Some(1_000), ..Trim::default() };
    let done = check(&none, |_| false);
    assert_eq!((done.segments_dropped, done.entries_moved), (0, 0));
}

#[test]
fn everything_goes_if_everything_is_to_go() {
    let trim = Trim { stored_before_secs: Some(u64::MAX), ..Trim::default() };
    check(&trim, |_| true);
}

#[test]
fn the_oldest_go_until_the_store_is_small_enough() {
    let folder = larder_tests::temp_dir();
    let store = open(&FaultEnv::new(), folder.path(), options());
    fill(&store);
    // What is hit while it is old stays longer.
    let hit = [3, 40, 77];
    hit.iter().for_each(|number| assert!(store.get(&key(*number)).unwrap().is_some()));
    let limit = 1 << 20;
    let done = trim(&store, &Trim { max_size_bytes: Some(limit), ..Trim::default() });
    assert!(disk_usage(folder.path()) <= limit, "{done:?}");
    let left = present(&store, &[0]);
    assert!(hit.iter().all(|number| left.contains(number)), "{left:?}");
    let oldest = left.iter().find(|number| **number > 100).copied().unwrap();
    let newer = left.iter().filter(|number| **number >= oldest).count() as u64;
    assert_eq!(newer, ENTRIES - oldest, "the newest stay");
    assert!(newer > 50, "and not fewer than have room: {left:?}");
    assert_is_whole(&store);
}

#[test]
fn what_the_filters_leave_goes_down_to_the_size() {
    let folder = larder_tests::temp_dir();
    let store = open(&FaultEnv::new(), folder.path(), options());
    fill(&store);
    let limit = 1 << 20;
    let done = trim(&store, &Trim { max_size_bytes: Some(limit), ..of_ci() });
    assert!(done.disk_bytes_after <= limit && disk_usage(folder.path()) <= limit, "{done:?}");
    let left = present(&store, &[0]);
    assert!(!left.is_empty() && left.iter().all(|number| !is_of_ci(*number)), "{left:?}");
    let oldest = *left.first().unwrap();
    assert_eq!(left, all_but(|number| is_of_ci(number) || number < oldest), "the newest stay");
    assert_eq!(done.entries_kept, left.len() as u64);
    assert_eq!(done.entries_dropped + done.entries_kept, ENTRIES);
    assert_is_whole(&store);
}

/// `larder trim --max-size 5`, of somebody who meant GiB, emptied the store.
#[test]
fn a_size_that_nothing_can_reach_is_refused_and_nothing_goes() {
    let folder = larder_tests::temp_dir();
    let store = open(&FaultEnv::new(), folder.path(), options());
    fill(&store);
    for dry_run in [true, false] {
        let wanted = Trim { max_size_bytes: Some(5), dry_run, ..Trim::default() };
        let error = store.trim(&wanted, |_, _| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
        assert_eq!(present(&store, &[0]), all_but(|_| false));
    }
}

/// Smaller than one segment and the index, and larger than an empty store.
#[test]
fn a_size_that_only_an_empty_store_has_empties_it() {
    let folder = larder_tests::temp_dir();
    let store = open(&FaultEnv::new(), folder.path(), options());
    fill(&store);
    present(&store, &[0]);
    let done = trim(&store, &Trim { max_size_bytes: Some(48 << 10), ..Trim::default() });
    assert_eq!((done.entries_kept, present(&store, &[0]).len()), (0, 0), "{done:?}");
    assert_eq!(put(&store, 1, 1), Put::Stored);
    assert_eq!(present(&store, &[1]), BTreeSet::from([1]));
}

/// Nobody evicts, so the store is full to the brim, and nothing can be moved before something goes.
#[test]
fn a_full_store_is_trimmed_without_passing_its_bound() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let max_size = 3 << 20;
    let store = open(&env, folder.path(), options().max_size_bytes(max_size));
    let stored = (0..ENTRIES).take_while(|number| put(&store, *number, 0) == Put::Stored).count();
    assert!((100..ENTRIES as usize).contains(&stored));
    let (path, most) = (folder.path().to_path_buf(), Arc::new(AtomicU64::new(0)));
    let seen = most.clone();
    env.before_writes_of(1, move || {
        seen.fetch_max(disk_usage(&path), Ordering::Relaxed);
    });
    let told = trim(&store, &Trim { dry_run: true, ..of_ci() });
    assert!(told.evicts_first && told.entries_dropped < stored as u64 / 2);
    let done = trim(&store, &of_ci());
    assert!((1..=max_size).contains(&most.load(Ordering::Relaxed)), "{most:?}");
    let left = present(&store, &[0]);
    // What the eviction dropped was not counted.
    assert!(done.evicts_first);
    assert_eq!(done.entries_kept, left.len() as u64);
    assert_eq!(done.entries_dropped + done.entries_kept, stored as u64, "{done:?}");
    assert!(left.iter().all(|number| !is_of_ci(*number)), "{left:?}");
    // A tenth goes first, as eviction has it.
    assert!(left.len() > stored / 2, "{} of {stored}", left.len());
    assert_is_whole(&store);
}

/// Right after a build a janitor often is at work, and a trim that came then failed after a second.
#[test]
fn a_trim_waits_for_the_janitor() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let store = open(&env, folder.path(), options());
    fill(&store);
    let real: Arc<dyn Env> = Arc::new(RealEnv);
    let locks = LockTable::open(&real, folder.path(), 0o600).unwrap();
    let janitor = locks.lock(LockByte::Janitor, 0).unwrap();
    env.arm(None);
    std::thread::scope(|scope| {
        let trimming = scope.spawn(|| store.trim(&of_ci(), |_, _| ()));
        let tries_until = |count| {
            while env.count(Call::Lock) < count && !trimming.is_finished() {
                std::thread::yield_now();
            }
        };
        tries_until(10);
        env.pass_ms(30_000);
        tries_until(20);
        drop(janitor);
        assert_eq!(trimming.join().unwrap().unwrap().entries_dropped, ENTRIES / 3);
    });
}

/// Before each body that a trim copies, others replace an entry or remove one.
#[test]
fn what_others_put_and_remove_meanwhile_is_not_lost() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let store = open(&env, folder.path(), options());
    fill(&store);
    let other = open(&FaultEnv::new(), folder.path(), options());
    let next = Arc::new(AtomicU64::new(0));
    let turn = next.clone();
    env.before_writes_of(BYTES, move || {
        let number = turn.load(Ordering::Relaxed);
        if number >= ENTRIES {
            return;
        }
        let done = match number % 4 {
            0 => put(&other, number, 1),
            1 => other.remove(&key(number)).expect("the disk works"),
            _ => Put::Stored,
        };
        assert_eq!(done, Put::Stored);
        turn.fetch_add(1, Ordering::Relaxed);
    });
    trim(&store, &of_ci());
    env.before_writes_of(usize::MAX, || ());
    let reached = next.load(Ordering::Relaxed);
    assert!(reached > 100, "only {reached} writes");
    for store in [store, open(&FaultEnv::new(), folder.path(), options())] {
        for number in 0..ENTRIES {
            let record = store.get(&key(number)).unwrap();
            let found = record.map(|record| record.read(0).unwrap());
            let wanted = match number % 4 {
                0 if number < reached => Some(content(number, 1)),
                1 if number < reached => None,
                _ if is_of_ci(number) => None,
                _ => Some(content(number, 0)),
            };
            assert!(found == wanted, "entry {number} of {reached} that others came to");
        }
        assert_is_whole(&store);
    }
}

/// Killed before any of its changes, a trim has lost nothing that it was to keep, and the next one
/// finishes the work.
#[test]
fn a_trim_that_is_killed_anywhere_keeps_what_it_was_to_keep() {
    let folder = larder_tests::temp_dir();
    let full = folder.path().join("full");
    let small = || options().max_size_bytes(1 << 20);
    let store = open(&FaultEnv::new(), &full, small());
    let count = 24;
    (0..count).for_each(|number| assert_eq!(put(&store, number, 0), Put::Stored));
    drop(store);
    let kept: BTreeSet<u64> = (0..count).filter(|number| !is_of_ci(*number)).collect();
    let mut stops = 0;
    for number in 1.. {
        let path = folder.path().join(number.to_string());
        copy_tree(&full, &path);
        let env = FaultEnv::new();
        let store = open(&env, &path, small());
        env.arm(Some(Plan { call: Call::Change, number, fault: Fault::Stop }));
        let is_over = store.trim(&of_ci(), |_, _| ()).is_ok();
        drop(store);
        let store = open(&FaultEnv::new(), &path, small());
        let left = present(&store, &[0]);
        assert!(left.is_superset(&kept), "a kill at change {number} cost an entry");
        assert_is_whole(&store);
        trim(&store, &of_ci());
        assert_eq!(present(&store, &[0]), kept, "after a kill at change {number}");
        let used = disk_usage(&path);
        assert!(used <= 1 << 20, "{used} bytes");
        drop(store);
        fs::remove_dir_all(&path).unwrap();
        if is_over {
            break;
        }
        stops += 1;
    }
    assert!(stops > 60, "only {stops} places to be killed at");
}

fn unused_since(moment: u64) -> Trim {
    Trim { unused_since_secs: Some(moment), ..Trim::default() }
}

/// An eviction by age once went by when an entry was stored. A CI that evicts what its job did not
/// use lost in every second run what it had hit in all of it.
#[test]
fn what_nobody_used_goes_as_soon_as_uses_are_noted() {
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(1000);
    let later = later.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    fill(&store);
    let use_some = |is_used: fn(u64) -> bool| {
        // Another process, as each compile is one.
        let store = Store::open(dir.path(), options()).unwrap();
        for number in (0..ENTRIES).filter(|number| is_used(*number)) {
            store.get(&key(number)).unwrap();
        }
    };
    use_some(|number| number.is_multiple_of(2));
    let dry = Trim { dry_run: true, ..unused_since(later) };
    for _ in 0..2 {
        let done = trim(&store, &dry);
        assert_eq!((done.entries_dropped, done.knows_no_use), (0, true), "nothing was noted");
    }
    let first = trim(&store, &unused_since(later));
    assert_eq!((first.entries_dropped, first.knows_no_use), (0, true));
    use_some(|number| number.is_multiple_of(5));
    // Nobody knows what was used so long ago; and the notes do not begin anew for that.
    let too_long_ago = trim(&store, &unused_since(2_000));
    assert_eq!((too_long_ago.entries_dropped, too_long_ago.knows_no_use), (0, true));
    let told = trim(&store, &dry);
    assert_eq!((told.entries_dropped, told.entries_kept), (240, 60));
    let ci = Trim { namespace: Some("ci".to_owned()), ..dry.clone() };
    assert_eq!(trim(&store, &ci).entries_dropped, 80, "a namespace narrows it");
    let done = trim(&store, &unused_since(later));
    assert_eq!((done.entries_dropped, done.knows_no_use), (240, false));
    // The notes begin anew: what is not used again goes, though it was moved.
    use_some(|number| number == 10 || number == 15);
    assert_eq!(put(&store, 1, 0), Put::Stored);
    assert_eq!(trim(&store, &unused_since(later)).entries_dropped, 59);
    assert_eq!(present(&store, &[0]), BTreeSet::from([10, 15]));
    assert_is_whole(&store);
    // A store that is only read tells the same, and notes nothing.
    use_some(|number| number == 10);
    let read = Store::open(dir.path(), options().read_only(true)).unwrap();
    read.get(&key(15)).unwrap();
    assert_eq!(trim(&store, &dry).entries_dropped, 0, "`present` used both");
}

fn untouched_by(ids: &[&str]) -> Trim {
    Trim { untouched_by: ids.iter().map(|id| (*id).to_owned()).collect(), ..Trim::default() }
}

#[test]
fn what_a_job_got_or_put_stays_and_so_does_what_is_newer_than_the_job() {
    let folder = larder_tests::temp_dir();
    let store = open(&FaultEnv::new(), folder.path(), options());
    fill(&store);
    for id in ["one", "two"] {
        store.start_job(id).unwrap();
    }
    let part = |id: &str| open(&FaultEnv::new(), folder.path(), options().job(Some(id.to_owned())));
    for number in (0..ENTRIES).step_by(10) {
        assert!(part("one").get(&key(number)).unwrap().is_some());
        assert!(part("two").get(&key(number + 1)).unwrap().is_some());
    }
    assert_eq!(put(&part("one"), 2, 1), Put::Stored);
    assert!(part("none").get(&key(5)).unwrap().is_some());
    // Stored by somebody else, now: the clock of the jobs is the real one.
    let section = Section::new(SectionKind::Object, b"new".as_slice());
    let entry = Entry::new(Key::of(b"new"), RecordKind::Result, vec![section]);
    assert_eq!(store.put(&entry).unwrap(), Put::Stored);

    trim(&store, &untouched_by(&["one", "two"]));
    let of_one = |number: u64| number.is_multiple_of(10) || number == 2;
    let wanted = all_but(|number| !of_one(number) && number % 10 != 1);
    assert_eq!(present(&store, &[0, 1]), wanted);
    // What a job touched was moved, and is known nevertheless.
    trim(&store, &untouched_by(&["one"]));
    assert_eq!(present(&store, &[0, 1]), all_but(|number| !of_one(number)));
    assert!(store.get(&Key::of(b"new")).unwrap().is_some());
    assert_is_whole(&store);
}

#[test]
fn jobs_are_listed_forgotten_and_refused_where_they_tell_nothing() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let store = open(&env, folder.path(), options());
    let refusal = |trim: &Trim| store.trim(trim, |_, _| ()).unwrap_err().kind();
    assert_eq!(refusal(&untouched_by(&["none"])), ErrorKind::Limit);
    for number in 0..20 {
        store.start_job(&format!("job-{number}")).unwrap();
        env.pass_ms(1_000);
    }
    assert_eq!(store.start_job("job-19").unwrap_err().kind(), ErrorKind::Limit);
    assert_eq!(store.start_job("a/b").unwrap_err().kind(), ErrorKind::Limit);
    let ids: Vec<String> = store.jobs().unwrap().into_iter().map(|job| job.id).collect();
    assert_eq!(ids.len(), 16);
    assert!(ids.contains(&"job-19".to_owned()) && !ids.contains(&"job-0".to_owned()), "{ids:?}");
    assert!(store.end_job("job-19").unwrap() && !store.end_job("job-19").unwrap());
    assert_is_whole(&store);
    assert!(store.verify(|_, _| ()).unwrap().leftovers.is_empty());
    // A job that could not note everything proves nothing.
    let part = open(&env, folder.path(), options().job(Some("job-18".to_owned())));
    for number in 0..40_000u64 {
        let key = Key::of(&number.to_le_bytes());
        let entry = Entry::new(key, RecordKind::Blob, Vec::new());
        if part.put(&entry).unwrap() != Put::Stored || part.jobs().unwrap().is_empty() {
            part.maintain(larder_engine::Budget::full()).unwrap();
        }
        if number % 1_000 == 0 && store.jobs().unwrap().iter().any(|job| job.is_full) {
            break;
        }
    }
    assert!(store.jobs().unwrap().iter().any(|job| job.id == "job-18" && job.is_full));
    assert_eq!(refusal(&untouched_by(&["job-18"])), ErrorKind::Limit);
}

/// The room of jobs that were forgotten counted as used until a janitor came, so that after some
/// of them none could begin, and puts were dropped.
#[test]
fn jobs_that_are_forgotten_leave_their_room() {
    let folder = larder_tests::temp_dir();
    let store = open(&FaultEnv::new(), folder.path(), options());
    assert_eq!(put(&store, 1, 0), Put::Stored);
    let before = store.used_bytes().unwrap();
    for number in 0..100 {
        let id = format!("job-{number}");
        store.start_job(&id).unwrap();
        assert!(store.used_bytes().unwrap() > before + (32 << 10));
        assert!(store.end_job(&id).unwrap());
    }
    assert!(store.used_bytes().unwrap() < before + (32 << 10));
    assert!(disk_usage(folder.path()) <= store.used_bytes().unwrap());
}

/// Nobody is told the id of a job whose maker was killed, so its file stayed for ever.
#[test]
fn half_of_a_job_goes_when_the_next_one_begins() {
    let folder = larder_tests::temp_dir();
    let store = open(&FaultEnv::new(), folder.path(), options());
    store.start_job("whole").unwrap();
    let half = folder.path().join("job-half");
    for length in [64 << 10, 0, 77] {
        fs::write(&half, vec![0; length]).unwrap();
        store.start_job(&format!("next-{length}")).unwrap();
        assert!(!half.exists(), "{length}");
    }
    assert_eq!(store.jobs().unwrap().len(), 4);
}

/// A hit of a process that is part of no job costs nothing more, and one of a process that is reads
/// and writes nothing but the job's own file, through a map.
#[test]
fn a_job_costs_a_hit_one_map_and_others_nothing() {
    let folder = larder_tests::temp_dir();
    let env = FaultEnv::new();
    let store = open(&env, folder.path(), options());
    assert_eq!(put(&store, 1, 0), Put::Stored);
    store.start_job("one").unwrap();
    let calls = |job: Option<&str>| {
        let store = open(&env, folder.path(), options().job(job.map(str::to_owned)));
        env.arm(None);
        assert!(store.get(&key(1)).unwrap().is_some());
        [Call::Open, Call::Map, Call::Write, Call::Sync].map(|call| env.count(call))
    };
    let without = calls(None);
    let with = calls(Some("one"));
    assert_eq!(with[0], without[0] + 1);
    assert_eq!(with[1], without[1] + 1);
    assert_eq!(with[2..], without[2..]);
}

/// A copy was given up when any key with its prefix had been committed to an open segment, the copy
/// of its neighbour for one; its source went all the same.
#[test]
fn keys_with_one_prefix_are_all_kept() {
    let folder = larder_tests::temp_dir();
    let store = open(&FaultEnv::new(), folder.path(), options());
    let alike = |number: u8| {
        let mut bytes = [7; 32];
        bytes[31] = number;
        Key::from_bytes(bytes)
    };
    for number in 0..8 {
        let section = Section::new(SectionKind::Object, content(number.into(), 2));
        let entry = Entry::new(alike(number), RecordKind::Result, vec![section]);
        assert_eq!(store.put(&entry).unwrap(), Put::Stored);
    }
    fill(&store);
    trim(&store, &of_ci());
    for number in 0..8 {
        let record = store.get(&alike(number)).unwrap().expect("it is kept");
        assert!(record.read(0).unwrap() == content(number.into(), 2));
    }
}
