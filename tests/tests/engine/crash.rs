//! Simulated power cuts, see docs/testing.md: a bounded share of what `cargo xtask crash` runs,
//! every seed that once failed, and disks that lie, which must be caught.

use std::fs;
use std::path::Path;

use larder_engine::{Budget, Options, Put, ReadMode, Store};
use larder_tests::crash::disk::{Disk, Lie};
use larder_tests::crash::image::{Harm, Keep};
use larder_tests::crash::session::STORE;
use larder_tests::crash::{Diary, Machine, run};
use larder_tests::sample::{Random, Value};
use larder_tests::workspace_root;

use super::SEGMENT_BYTES;

/// Fresh runs in each test run; `LARDER_TEST_SEEDS` asks for another number.
const RUNS: u64 = 24;

/// Runs in which every process is killed, and the power stays.
const KILL_RUNS: u64 = 6;

/// Seeds within which a disk that lies must be caught.
const LIE_SEEDS: u64 = 12;

/// How many calls may open a store, whatever is in it.
const OPENING_READS_MAX: u64 = 40;

/// What so few runs need not come to.
const RARE: &str = "returned names";

/// The seeds that once failed.
fn committed() -> Vec<u64> {
    let text = fs::read_to_string(workspace_root().join("tests/crash-seeds.txt")).unwrap();
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let seed = |line: &str| line.split_whitespace().next().map(|word| word.parse().unwrap());
    lines.filter_map(seed).collect()
}

/// Runs the seeds; all are to succeed.
fn assert_survived(seeds: impl IntoIterator<Item = u64>, machine: Machine) -> Diary {
    let mut diary = Diary::default();
    for seed in seeds {
        if let Err(failure) = run(seed, machine, &mut diary) {
            let last = diary.journal.len().saturating_sub(12);
            diary.journal[last..].iter().for_each(|line| eprintln!("{line}"));
            eprintln!("once more: LARDER_CRASH_SEED={seed} cargo test engine::crash, or");
            eprintln!("cargo xtask crash --seed {seed} --runs 1 --trace");
            panic!("{failure}");
        }
    }
    diary
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[test]
fn power_cuts_take_only_what_no_checkpoint_has() {
    if let Some(seed) = number("LARDER_CRASH_SEED") {
        assert_survived([seed], Machine::default());
        return;
    }
    let runs = number("LARDER_TEST_SEEDS").unwrap_or(RUNS);
    let seeds = committed().into_iter().chain(1_000_000..1_000_000 + runs);
    let diary = assert_survived(seeds, Machine::default());
    println!("{:?}", diary.tally.numbers());
    for (name, number) in diary.tally.numbers() {
        assert!(number > 0 || name == RARE || runs < RUNS, "no run came to {name}");
    }
    assert!(diary.tally.power_cuts >= runs * 8, "{:?}", diary.tally);
}

#[test]
fn a_kill_takes_nothing_that_was_acknowledged() {
    let machine = Machine { only_kills: true, ..Machine::default() };
    let diary = assert_survived(2_000_000..2_000_000 + KILL_RUNS, machine);
    assert_eq!(diary.tally.power_cuts, 0);
    assert!(diary.tally.kills >= KILL_RUNS * 12 && diary.tally.merges > 0);
}

/// A disk that breaks a promise is refused within a few seeds, because a key has a state that it
/// may not have.
fn assert_caught(lie: Lie) {
    let machine = Machine { lie, only_kills: false };
    let outcomes = (0..LIE_SEEDS).map(|seed| run(seed, machine, &mut Diary::default()));
    let caught: Vec<String> =
        outcomes.filter_map(|o| o.err().map(|failure| failure.what)).collect();
    assert!(
        caught.iter().any(|what| what.contains("may be: ")),
        "{lie:?} went unnoticed: {caught:?}"
    );
}

#[test]
fn a_disk_that_syncs_nothing_is_caught() {
    assert_caught(Lie::Files);
}

#[test]
fn a_disk_that_does_not_sync_segments_is_caught() {
    assert_caught(Lie::Segments);
}

#[test]
fn a_disk_that_does_not_sync_the_index_is_caught() {
    assert_caught(Lie::Index);
}

#[test]
fn a_disk_that_does_not_sync_names_is_caught() {
    assert_caught(Lie::Directories);
}

fn open(disk: &Disk) -> Store {
    let options = Options::new().max_size_bytes(1 << 30).segment_bytes(SEGMENT_BYTES);
    Store::open_with(disk.env(), Path::new(STORE), options.read_mode(ReadMode::Pread)).unwrap()
}

/// A store of so many entries, half of them behind a checkpoint.
fn half_durable(entries: u64) -> Disk {
    let disk = Disk::new(Path::new(STORE).parent().unwrap(), entries, Lie::None);
    let store = open(&disk);
    for number in 0..entries {
        let value = Value::of(number.to_le_bytes());
        let key = larder_engine::Key::of(&number.to_le_bytes());
        assert_eq!(store.put(&value.entry(key)).unwrap(), Put::Stored);
        if number == entries / 2 {
            store.maintain(Budget::full()).unwrap();
            store.checkpoint().unwrap();
        }
    }
    disk
}

/// The same on a disk whose power went.
fn cut_store(entries: u64, harm: &Harm) -> Disk {
    let disk = half_durable(entries);
    disk.power_cut(disk.position(), harm, &mut Random::new(entries)).0
}

/// The tree forgets the records of segments that are given up: the superblock that says so must be
/// on the disk first, whoever gave them up.
#[test]
fn a_checkpoint_after_a_killed_clearing_is_cut_anywhere() {
    let disk = half_durable(200);
    let begun = disk.position();
    open(&disk).clear().unwrap();
    let mut cuts = 0;
    for killed_at in begun..=disk.position() {
        let next = disk.kill(killed_at);
        open(&next).checkpoint().unwrap();
        for cut in killed_at..=next.position() {
            let (left, _) = next.power_cut(cut, &Harm::worst(), &mut Random::new(1));
            let store = open(&left);
            store.maintain(Budget::full()).unwrap();
            let report = store.verify(&mut |_, _| {}).unwrap();
            assert_eq!(report.damaged.first(), None, "killed at {killed_at}, cut at {cut}");
            cuts += 1;
        }
    }
    assert!(cuts > 200, "{cuts} cuts");
}

/// Opening does not look at what is in the store: the janitor does that later.
#[test]
fn a_store_of_any_size_opens_after_a_power_cut_with_as_few_calls() {
    let all = Harm { data: Keep::All, lengths: Keep::All, names: Keep::All, ..Harm::worst() };
    for harm in [all, Harm::worst()] {
        let reads = [100, 1_000, 4_000].map(|entries| {
            let disk = cut_store(entries, &harm);
            let store = open(&disk);
            let reads = disk.reads();
            let segments = store.stats().unwrap().segments;
            assert!(segments >= entries / 600, "{entries} entries in {segments} segments");
            reads
        });
        println!("calls for opening: {reads:?}");
        assert!(reads.iter().all(|reads| *reads <= OPENING_READS_MAX), "{reads:?}");
        assert_eq!(reads[0], reads[2], "{reads:?}");
    }
}

/// A process was killed between the frame and the slot of a record with a segment of its own. The
/// next put of that key knew of no such record, and went to the segment before; when that had been
/// evicted and the power went, the janitor found the frame, and the older value was back.
#[test]
fn a_frame_without_slot_outlives_no_newer_record() {
    let key = larder_engine::Key::of(b"key");
    let mut random = Random::new(1);
    let noise = (0..SEGMENT_BYTES / 2).flat_map(|_| random.number().to_le_bytes());
    let large = Value::of(noise.collect::<Vec<u8>>());
    let small = Value::of(b"newer".as_slice());
    let all = Harm { data: Keep::All, lengths: Keep::All, names: Keep::All, ..Harm::worst() };
    let disk = half_durable(40);
    open(&disk).checkpoint().unwrap();
    let begun = disk.position();
    assert_eq!(open(&disk).put(&large.entry(key)).unwrap(), Put::Stored);
    let (mut checks, mut misses) = (0, 0);
    for killed_at in begun..=disk.position() {
        let next = disk.kill(killed_at);
        let store = open(&next);
        assert_eq!(store.put(&small.entry(key)).unwrap(), Put::Stored);
        let options = Options::new().max_size_bytes(4 * SEGMENT_BYTES);
        let options = options.segment_bytes(SEGMENT_BYTES).read_mode(ReadMode::Pread);
        let smaller = Store::open_with(next.env(), Path::new(STORE), options).unwrap();
        // One segment after the other is evicted.
        for _ in 0..6 {
            smaller.maintain(Budget::inline()).unwrap();
            let (left, _) = next.power_cut(next.position(), &all, &mut Random::new(1));
            let after = open(&left);
            after.maintain(Budget::full()).unwrap();
            let found = after.get(&key).unwrap().map(|record| Value::read(&record).unwrap());
            assert!(found.is_none() || found.as_ref() == Some(&small), "killed at {killed_at}");
            checks += 1;
            misses += u64::from(found.is_none());
        }
    }
    assert!(misses > 0 && checks > misses, "{misses} of {checks}");
}
