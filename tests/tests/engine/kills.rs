//! SIGKILL at every point of every operation, in processes of their own.
//!
//! A scenario is a store that living processes made, and operations at which a process dies: once
//! for each point of `KillEnv`, on a copy of that store. It says which operations returned before
//! it died. Then, in this process, which is the next one on that store:
//!
//! 1. No lock is held.
//! 2. What was acknowledged is there, byte for byte, before and after upkeep, look-up by look-up
//!    and in a snapshot. Of the operation under way each key has its value from before or that from
//!    after; of a `put_all` the first ones in the order of their entries may be there and the
//!    others not, because a commit is one slot after the other.
//! 3. A key whose segment was evicted is a miss, and no other key is.
//! 4. Puts, upkeep and a checkpoint work, and `verify` finds no damage.
//! 5. The store is not larger than after operations that ended, but for what the killed one had
//!    reserved; at most one file of the log is unknown to the superblock.
//!
//! Every point is met with `LARDER_LONG` or `LARDER_TEST_SEEDS`, else some [`POINTS_BOUNDED`] of
//! each scenario. Each names the least number of points that it must have.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use larder_engine::env::{Env, LockByte, OpenMode, RealEnv, Sharing};
use larder_engine::format::segment::{HEADER_BYTES, SegmentHeader, slots};
use larder_engine::format::superblock::Superblock;
use larder_engine::{Budget, DropReason, Key, Options, Put, Store};
use larder_tests::TempDir;
use larder_tests::kill_env::KillEnv;
use larder_tests::sample::{Random, Value, copy_tree, disk_usage};

use super::{SEGMENT_BYTES, put, roomy, value_of};

const ROLE: &str = "LARDER_TEST_KILLED";
const STORE: &str = "LARDER_TEST_STORE";
const POINT: &str = "LARDER_TEST_POINT";
const BOOT: &str = "LARDER_TEST_BOOT";

/// Points of a scenario that are met where nobody asks for all.
const POINTS_BOUNDED: u64 = 24;

/// A point that no scenario has.
const NEVER: u64 = u64::MAX;

const PAGE_BYTES: u64 = 4096;

/// The boots that come after the one that made the store, each two minutes after the one before.
const NEXT_BOOT: u8 = 1;

/// A key and what it gets; nothing where it is removed.
type Change = (Key, Option<Noise>);

/// A value of bytes that do not compress, so that lengths are what they seem.
#[derive(Clone, Copy, Debug)]
struct Noise {
    seed: u64,
    bytes: usize,
}

impl Noise {
    fn value(self) -> Value {
        let mut random = Random::new(self.seed);
        let words = (0..self.bytes.div_ceil(8)).flat_map(|_| random.number().to_le_bytes());
        Value::of(words.collect::<Vec<_>>())
    }
}

/// What a process does, and says when it is done.
#[derive(Clone, Debug)]
enum Op {
    /// Puts or removes one key, or puts several at once.
    Commit(Vec<Change>),
    Get(Key),
    Upkeep(Budget),
    Checkpoint,
    Clear,
}

/// Where and when a process dies.
struct Scenario {
    name: &'static str,
    /// What the process opens the store with.
    options: Options,
    before: Vec<Op>,
    /// Harm that the store has come to before the process begins.
    harm: Option<fn(&Path)>,
    ops: Vec<Op>,
    /// Whether its opening counts, too.
    opens: bool,
    /// The boot that the process runs in; the store was made in boot 0.
    boot: u8,
    /// How much later it runs in the same boot.
    later_secs: u64,
    points_min: u64,
}

impl Scenario {
    fn new(name: &'static str, points_min: u64) -> Scenario {
        Scenario {
            name,
            options: roomy(),
            before: Vec::new(),
            harm: None,
            ops: Vec::new(),
            opens: false,
            boot: 0,
            later_secs: 0,
            points_min,
        }
    }

    fn after(mut self, before: Vec<Op>) -> Scenario {
        self.before = before;
        self
    }

    fn dies_at(mut self, ops: Vec<Op>) -> Scenario {
        self.ops = ops;
        self
    }
}

fn key(number: u64) -> Key {
    Key::of(&number.to_le_bytes())
}

/// A put of a value that no other put has.
fn store_one(number: u64, seed: u64, bytes: usize) -> Op {
    Op::Commit(vec![(key(number), Some(Noise { seed, bytes }))])
}

fn remove_one(number: u64) -> Op {
    Op::Commit(vec![(key(number), None)])
}

fn store_some(numbers: std::ops::Range<u64>, seed: u64, bytes: usize) -> Op {
    Op::Commit(numbers.map(|n| (key(n), Some(Noise { seed: seed + n, bytes }))).collect())
}

/// So many puts of one key each.
fn fill(numbers: std::ops::Range<u64>, bytes: usize) -> Vec<Op> {
    numbers.map(|number| store_one(number, number, bytes)).collect()
}

fn full() -> Op {
    Op::Upkeep(Budget::full())
}

fn scenarios() -> Vec<Scenario> {
    let some = || [fill(0..6, 3_000), vec![remove_one(5)]].concat();
    let old = || [fill(0..14, 20_000), vec![full()]].concat();
    let mut list = vec![
        Scenario { opens: true, ..Scenario::new("create", 40) }
            .dies_at(vec![store_one(0, 1, 3_000), store_one(1, 2, 30_000)]),
        Scenario::new("put", 40).after(some()).dies_at(vec![
            store_one(20, 1, 30_000),
            store_one(0, 2, 500),
            remove_one(1),
            store_one(5, 3, 5_000),
        ]),
        Scenario::new("put_all", 40)
            .after(some())
            .dies_at(vec![store_some(3..9, 100, 700), store_some(0..4, 200, 9_000)]),
        Scenario::new("own segment", 40).after(some()).dies_at(vec![
            store_one(0, 1, 150_000),
            store_one(0, 2, 700),
            remove_one(0),
        ]),
        Scenario::new("roll", 90).after(some()).dies_at(fill(2..9, 28_000)),
        Scenario::new("merge", 70).after(fill(0..30, 9_000)).dies_at(vec![
            full(),
            store_one(3, 99, 2_000),
            remove_one(4),
            full(),
        ]),
        // Segments that the tail has left are closed after some seconds.
        Scenario { later_secs: 10, ..Scenario::new("inline", 40) }
            .after(fill(0..30, 25_000))
            .dies_at(vec![Op::Upkeep(Budget::inline())]),
        Scenario::new("checkpoint", 80).after(fill(0..8, 9_000)).dies_at(vec![
            Op::Checkpoint,
            store_one(1, 50, 900),
            Op::Checkpoint,
        ]),
        Scenario::new("clear", 40).after(old()).dies_at(vec![Op::Clear, store_one(1, 50, 900)]),
        Scenario::new("hit", 6).after(old()).dies_at((0..6).map(|n| Op::Get(key(n))).collect()),
        grow(),
        evict(),
    ];
    let recovering = || {
        vec![
            Op::Get(key(2)),
            store_one(2, 77, 4_000),
            full(),
            store_some(20..23, 300, 2_000),
            Op::Checkpoint,
        ]
    };
    let left = || [old(), vec![Op::Checkpoint], fill(9..18, 9_000), vec![remove_one(1)]].concat();
    list.push(
        Scenario { opens: true, boot: NEXT_BOOT, ..Scenario::new("recover", 90) }
            .after(left())
            .dies_at(recovering()),
    );
    list.push(
        Scenario { harm: Some(lose_index), opens: true, ..Scenario::new("rebuild", 25) }
            .after(left())
            .dies_at(vec![full(), store_one(1, 50, 900)]),
    );
    let options = roomy().preallocate(true);
    list.push(
        Scenario { options, ..Scenario::new("preallocate", 40) }
            .after(some())
            .dies_at(fill(30..34, 28_000)),
    );
    list
}

/// An index that is merged from few to many entries.
fn grow() -> Scenario {
    let groups = if is_long() { 40 } else { 12 };
    let many = |from, to| (from..to).map(|n: u64| store_some(n * 60..n * 60 + 60, 0, 40));
    let before: Vec<Op> = many(0, 3).chain([full()]).chain(many(3, groups)).collect();
    Scenario::new("grow", 25).after(before).dies_at(vec![full(), store_one(1, 9_999, 100)])
}

/// A store that is made by one who may have more than the one who then evicts.
/// Bound of the store that evicts.
const EVICT_MAX_SIZE: u64 = 20 * SEGMENT_BYTES;

fn evict() -> Scenario {
    let options = roomy().max_size_bytes(EVICT_MAX_SIZE);
    let before = [fill(0..10, 27_000), vec![full()], fill(10..44, 27_000)].concat();
    let ops = vec![full(), store_one(100, 1, 9_000), store_one(43, 2, 9_000), full()];
    Scenario { options, ..Scenario::new("evict", 60) }.after(before).dies_at(ops)
}

fn lose_index(store: &Path) {
    fs::write(store.join("index"), b"").unwrap();
}

fn scenario(name: &str) -> Scenario {
    scenarios().into_iter().find(|scenario| scenario.name == name).expect("there is such a one")
}

/// Removes a key, or puts one or several.
fn commit(store: &Store, changes: &[Change]) -> Put {
    let outcome = match changes {
        [(key, None)] => store.remove(key),
        changes => {
            let value = |noise: &Option<Noise>| noise.expect("only one is removed").value();
            let values: Vec<_> = changes.iter().map(|(key, noise)| (*key, value(noise))).collect();
            let entries: Vec<_> = values.iter().map(|(key, value)| value.entry(*key)).collect();
            store.put_all(&entries)
        }
    };
    outcome.expect("a commit succeeds, or is dropped")
}

/// Does one thing; everything must be acknowledged.
fn perform(store: &Store, op: &Op) {
    match op {
        Op::Commit(changes) => assert_eq!(commit(store, changes), Put::Stored),
        Op::Get(key) => assert!(value_of(store, key).is_some()),
        Op::Upkeep(budget) => assert!(!store.maintain(*budget).expect("upkeep succeeds").busy),
        Op::Checkpoint => store.checkpoint().expect("a checkpoint succeeds"),
        Op::Clear => store.clear().expect("a store can be cleared"),
    }
}

/// The environment of a boot.
fn env_of(boot: u8, later_secs: u64, dies_at: u64) -> KillEnv {
    let id = if boot == 0 { RealEnv.boot_id() } else { [boot; 16] };
    KillEnv::new(dies_at, id, 120 * u64::from(boot) + later_secs)
}

/// What a process that dies does; nothing when it is run as a test.
#[test]
fn role() {
    let Ok(name) = std::env::var(ROLE) else { return };
    let path = std::env::var_os(STORE).expect("a role has a store");
    let number = |name| std::env::var(name).expect("a role has numbers").parse::<u64>().unwrap();
    let scenario = scenario(&name);
    let env = env_of(number(BOOT) as u8, scenario.later_secs, number(POINT));
    if scenario.opens {
        env.arm();
    }
    let store =
        Store::open_with(env.shared(), path.as_ref(), scenario.options).expect("the store opens");
    env.arm();
    let mut out = std::io::stdout();
    for number in 0..scenario.ops.len() {
        perform(&store, &scenario.ops[number]);
        writeln!(out, "done: {number}").and_then(|()| out.flush()).expect("the parent listens");
    }
    println!("points: {}", env.points());
}

/// How a process ended.
struct Ended {
    /// Operations that returned.
    done: usize,
    /// Where it was killed, if it was.
    killed: Option<String>,
    points: Option<u64>,
}

/// Starts a process on a store, in some boot, that is killed at some point.
fn run(scenario: &Scenario, store: &Path, boot: u8, point: u64) -> Ended {
    let output = Command::new(std::env::current_exe().expect("the kernel knows this program"))
        .args(["--exact", "engine::kills::role", "--nocapture", "--test-threads=1"])
        .env(ROLE, scenario.name)
        .env(STORE, store)
        .env(BOOT, boot.to_string())
        .env(POINT, point.to_string())
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let lines = |what: &str| -> Vec<String> {
        said.lines().filter_map(|line| Some(line.split_once(what)?.1.to_owned())).collect()
    };
    let killed = output.status.signal();
    assert!(
        killed == Some(9) || output.status.success(),
        "{}: {said}{}",
        scenario.name,
        String::from_utf8_lossy(&output.stderr)
    );
    let ended = Ended {
        done: lines("done: ").len(),
        killed: lines("killed at: ").pop(),
        points: lines("points: ").pop().and_then(|text| text.parse().ok()),
    };
    assert_eq!(killed.is_some(), ended.killed.is_some(), "who is killed says where");
    ended
}

/// What a store may say about its keys.
struct Expected<'a> {
    /// Every key that was ever put.
    keys: BTreeSet<Key>,
    /// What was there before the operation under way.
    sure: BTreeMap<Key, Value>,
    under_way: Option<&'a Op>,
    /// Which segment the records had that may be evicted.
    segments: BTreeMap<u64, u32>,
}

impl<'a> Expected<'a> {
    fn new(scenario: &'a Scenario, done: usize, segments: BTreeMap<u64, u32>) -> Expected<'a> {
        let under_way = scenario.ops.get(done);
        let (keys, sure, segments_now) = Default::default();
        let mut expected = Expected { keys, sure, under_way, segments: segments_now };
        scenario.before.iter().for_each(|op| expected.apply(op));
        expected.segments = segments;
        scenario.ops[..done].iter().for_each(|op| expected.apply(op));
        if let Some(Op::Commit(changes)) = expected.under_way {
            expected.keys.extend(changes.iter().map(|(key, _)| key));
        }
        expected
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Commit(changes) => {
                for (key, noise) in changes {
                    // Where it stands now it is not evicted.
                    self.segments.remove(&prefix(key));
                    self.keys.insert(*key);
                    match noise {
                        Some(noise) => self.sure.insert(*key, noise.value()),
                        None => self.sure.remove(key),
                    };
                }
            }
            Op::Clear => self.sure.clear(),
            Op::Get(_) | Op::Upkeep(_) | Op::Checkpoint => {}
        }
    }

    /// Whether the record that a key had is in a segment below this one.
    fn is_below(&self, key: &Key, oldest_live: u32) -> bool {
        self.segments.get(&prefix(key)).is_some_and(|segment| *segment < oldest_live)
    }

    /// Checks each key, by a look-up and in a snapshot; makes what was found the sure state.
    fn check(&mut self, store: &Store, path: &Path) {
        let evicted = Evicted::of(path);
        let look = |key: &Key| Some((*key, value_of(store, key)?));
        let found: BTreeMap<Key, Value> = self.keys.iter().filter_map(look).collect();
        let changes: Vec<(Key, Option<Value>)> = match self.under_way {
            Some(Op::Commit(changes)) => {
                changes.iter().map(|(key, noise)| (*key, noise.map(Noise::value))).collect()
            }
            _ => Vec::new(),
        };
        let (mut new, mut old, mut fading) = (Vec::new(), Vec::new(), BTreeSet::new());
        for key in &self.keys {
            let sure = self.sure.get(key).filter(|_| !self.is_below(key, evicted.surely_below));
            let after = changes.iter().position(|(changed, _)| changed == key);
            let may_be_gone = matches!(self.under_way, Some(Op::Clear))
                || self.is_below(key, evicted.perhaps_below);
            match (found.get(key), after) {
                (value, Some(number)) if value == changes[number].1.as_ref() => new.push(number),
                (value, number) if value == sure => {
                    old.extend(number);
                    fading.extend(value.and(may_be_gone.then_some(*key)));
                }
                (None, None) if may_be_gone => {}
                (Some(_), _) => panic!("{key} has a wrong value"),
                (None, _) => panic!("{key} is lost"),
            }
        }
        let first_old = old.iter().min().copied().unwrap_or(usize::MAX);
        assert!(new.iter().all(|number| *number < first_old), "new {new:?}, old {old:?}");
        let snapshot = store.snapshot().expect("a snapshot can be taken");
        let seen: BTreeMap<Key, Value> = snapshot
            .iter()
            .map(|record| (record.key(), Value::read(&record).expect("it can be read")))
            .collect();
        let all = seen.keys().chain(&fading).collect::<BTreeSet<_>>();
        assert!(all.into_iter().eq(found.keys()), "a snapshot shows other keys");
        assert!(seen.iter().all(|(key, value)| found[key] == *value), "it shows other values");
        for number in new {
            self.segments.remove(&prefix(&changes[number].0));
        }
        self.sure = found;
        self.under_way = None;
    }
}

/// The first eight bytes of a key, as slots have them.
fn prefix(key: &Key) -> u64 {
    u64::from_be_bytes(*key.as_bytes().first_chunk().expect("a key is longer"))
}

fn superblock(store: &Path) -> Superblock {
    Superblock::decode(&fs::read(store.join("superblock")).unwrap()).unwrap()
}

/// Which segments are evicted: where their evictor was killed between the two copies of the
/// superblock, look-ups may go by the first one and upkeep by the second.
struct Evicted {
    surely_below: u32,
    perhaps_below: u32,
}

impl Evicted {
    fn of(store: &Path) -> Evicted {
        let bytes = fs::read(store.join("superblock")).unwrap();
        let newest = Superblock::decode(&bytes).unwrap().oldest_live;
        // A killed maker has left one copy.
        let first = Superblock::decode(&bytes[..PAGE_BYTES as usize]);
        let first = first.map_or(newest, |block| block.oldest_live);
        Evicted { surely_below: newest.min(first), perhaps_below: newest.max(first) }
    }
}

/// The segment files and their ids.
fn segment_files(store: &Path) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(store.join("log")).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().parse().unwrap(), path))
        .collect()
}

/// The segment of the newest record of each key, by the tables of the segments.
fn segments_of(store: &Path) -> BTreeMap<u64, u32> {
    let mut files = segment_files(store);
    files.sort();
    let mut segments = BTreeMap::new();
    for (id, path) in files {
        let bytes = fs::read(path).unwrap();
        let header = SegmentHeader::decode(&bytes[..HEADER_BYTES], id).unwrap();
        let table = &bytes[PAGE_BYTES as usize..header.data_start() as usize];
        for page in table.chunks(PAGE_BYTES as usize) {
            segments
                .extend(slots(page, header.salt, id).map(|slot| (slot.unwrap().key_prefix, id)));
        }
    }
    segments
}

/// Every lock byte can be had exclusively.
fn assert_unlocked(store: &Path) {
    let Ok(file) = RealEnv.open(&store.join("lock"), OpenMode::Write) else { return };
    for byte in [LockByte::Life, LockByte::Tail, LockByte::Index, LockByte::Janitor] {
        assert!(file.try_lock(byte as u64, Sharing::Exclusive).unwrap(), "{byte:?} is locked");
        file.unlock(byte as u64);
    }
}

/// At most one file is there that the superblock does not know: what a killed maker left.
fn assert_known(store: &Path, swept: bool) {
    let block = superblock(store);
    let files = segment_files(store);
    let ids = || files.iter().map(|(id, _)| *id);
    assert!(ids().filter(|id| *id >= block.next_segment).count() <= 1, "{files:?}");
    assert!(!swept || ids().all(|id| id >= block.oldest_live), "{files:?}");
}

/// Checks everything that the module promises, and that the store goes on; returns its disk usage.
fn next_process(scenario: &Scenario, store: &Path, mut expected: Expected<'_>, boot: u8) -> u64 {
    assert_unlocked(store);
    let env: Arc<dyn Env> = env_of(boot, 0, NEVER).shared();
    let open = || Store::open_with(env.clone(), store, scenario.options.clone()).expect("it opens");
    let first = open();
    assert_known(store, false);
    expected.check(&first, store);
    let max = first.stats().unwrap().max_size_bytes;
    let probe = vec![(key(999), Some(Noise { seed: 4, bytes: 900 }))];
    if commit(&first, &probe) == Put::Dropped(DropReason::Full) {
        // There is no room before the upkeep that the dead one did not finish.
        assert_eq!(scenario.name, "evict");
        assert!(first.maintenance_due());
        perform(&first, &full());
        expected.check(&first, store);
        assert_eq!(commit(&first, &probe), Put::Stored);
    }
    expected.apply(&Op::Commit(probe));
    let after = store_one(1_000, 5, 2_000);
    perform(&first, &after);
    expected.apply(&after);
    expected.check(&first, store);
    perform(&first, &full());
    expected.check(&first, store);
    assert_eq!(first.verify(|_, _| {}).unwrap().damaged, []);
    perform(&first, &Op::Checkpoint);
    perform(&first, &full());
    assert_known(store, true);
    let second = open();
    expected.check(&second, store);
    put(&second, key(1_001), &Value::of(b"second".as_slice()));
    assert_eq!(second.verify(|_, _| {}).unwrap().damaged, []);
    let used = disk_usage(store);
    assert!(used <= max, "{used} bytes of {max}");
    used
}

/// What a killed process may leave beside what it committed: the records that it was about to put,
/// rounded, a segment for them, and the difference between an index that was merged once or twice.
fn left_bytes_max(scenario: &Scenario) -> u64 {
    let of_value = |(_, noise): &Change| PAGE_BYTES + noise.map_or(0, |noise| noise.bytes as u64);
    let bytes = |op: &Op| match op {
        Op::Commit(changes) => changes.iter().map(of_value).sum(),
        _ => 0,
    };
    scenario.ops.iter().map(bytes).max().unwrap_or(0) + SEGMENT_BYTES + 16 * PAGE_BYTES
}

fn is_long() -> bool {
    ["LARDER_LONG", "LARDER_TEST_SEEDS"].iter().any(|name| std::env::var_os(name).is_some())
}

/// The store of a scenario, before anybody dies.
struct Stage {
    scenario: Scenario,
    folder: TempDir,
    segments: BTreeMap<u64, u32>,
}

impl Stage {
    fn new(name: &str) -> Stage {
        // In memory where that can be: a killed process leaves the same there, and syncs cost less.
        let mut builder = tempfile::Builder::new();
        let folder = builder.prefix("larder-test-").tempdir_in("/dev/shm");
        let folder = folder.unwrap_or_else(|_| larder_tests::temp_dir());
        let scenario = scenario(name);
        let mut stage = Stage { scenario, folder, segments: BTreeMap::new() };
        if !stage.scenario.before.is_empty() {
            let path = stage.folder.path().join("before");
            let store = Store::open(&path, roomy()).unwrap();
            stage.scenario.before.iter().for_each(|op| perform(&store, op));
            stage.segments = segments_of(&path);
        }
        stage
    }

    /// A copy of the store, by this name.
    fn copy(&self, name: &str) -> PathBuf {
        let store = self.folder.path().join(name);
        if !self.scenario.before.is_empty() {
            copy_tree(&self.folder.path().join("before"), &store);
            self.scenario.harm.into_iter().for_each(|harm| harm(&store));
        }
        store
    }

    /// What the next process on a store finds, after so many operations; see [`next_process`].
    fn look(&self, store: &Path, done: usize, boot: u8) -> u64 {
        let expected = Expected::new(&self.scenario, done, self.segments.clone());
        next_process(&self.scenario, store, expected, boot)
    }
}

/// Kills a process at the points of a scenario, and looks at what each leaves.
fn dies_everywhere(name: &str) {
    let stage = Stage::new(name);
    let scenario = &stage.scenario;
    let store = stage.copy("whole");
    let whole = run(scenario, &store, scenario.boot, NEVER);
    let points = whole.points.expect("who is not killed says how often it could have been");
    assert!(points >= scenario.points_min, "{name} has {points} points only");
    assert_eq!(whole.done, scenario.ops.len());
    let used = stage.look(&store, whole.done, scenario.boot);
    let used = used.max(stage.look(&stage.copy("untouched"), 0, scenario.boot));
    // Where an eviction ends depends on where the one before was killed; below its beginning.
    let used = if name == "evict" { used.max(EVICT_MAX_SIZE / 100 * 90) } else { used };
    let stride = if is_long() { 1 } else { points.div_ceil(POINTS_BOUNDED) };
    for (number, point) in (1..=points).step_by(stride as usize).enumerate() {
        let store = stage.copy("killed");
        let ended = run(scenario, &store, scenario.boot, point);
        let killed = ended.killed.expect("a point that was counted is met again");
        // Who finds a recovery half done may be of the same boot or of yet another one.
        let boot = if scenario.boot == 0 { 0 } else { scenario.boot + (number % 2) as u8 };
        let look = || {
            let left = stage.look(&store, ended.done, boot);
            let bound = used + left_bytes_max(scenario);
            assert!(left <= bound, "{left} bytes are used, {used} without a death");
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(look)) {
            eprintln!("{name}: point {point} of {points}: {killed}; {} ops done", ended.done);
            resume_unwind(panic);
        }
        fs::remove_dir_all(&store).unwrap();
    }
}

/// A recovery is killed, the recovery of the next boot too, and a third boot takes over. Both do
/// the same, so what the longer-lived one acknowledged counts.
#[test]
fn a_recovery_after_a_killed_recovery_may_be_killed_anywhere() {
    let stage = Stage::new("recover");
    let scenario = &stage.scenario;
    let points = run(scenario, &stage.copy("whole"), NEXT_BOOT, NEVER).points.unwrap();
    let strides = if is_long() { [7, 5] } else { [points / 5, points / 4] };
    for first in (1..=points).step_by(strides[0] as usize) {
        for second in (1..=points).step_by(strides[1] as usize) {
            let store = stage.copy("killed");
            let ended = [(NEXT_BOOT, first), (NEXT_BOOT + 1, second)]
                .map(|(boot, point)| run(scenario, &store, boot, point));
            let look = || {
                let done = ended.iter().map(|ended| ended.done).max().unwrap_or(0);
                stage.look(&store, done, NEXT_BOOT + 2)
            };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(look)) {
                let [killed, again] = ended.map(|ended| (ended.done, ended.killed));
                eprintln!("points {first} and {second} of {points}: {killed:?}, {again:?}");
                resume_unwind(panic);
            }
            fs::remove_dir_all(&store).unwrap();
        }
    }
}

/// The canary: a check that lets these pass would prove nothing.
#[test]
fn stores_that_are_not_as_they_should_be_are_refused() {
    let stage = Stage::new("put");
    let refused = |name: &str, done: usize, harm: &dyn Fn(&Path)| {
        let store = stage.copy(name);
        assert_eq!(run(&stage.scenario, &store, 0, NEVER).done, 4);
        harm(&store);
        let look = || stage.look(&store, done, 0);
        assert_eq!(catch_unwind(AssertUnwindSafe(look)).is_err(), name != "right", "{name}");
    };
    refused("right", 4, &|_| ());
    refused("later", 0, &|_| ());
    refused("lost", 4, &|store| fs::remove_file(store.join("log/00000001.seg")).unwrap());
    refused("rotten", 4, &|store| {
        let segment = store.join("log/00000001.seg");
        let mut bytes = fs::read(&segment).unwrap();
        // In the midst of a record.
        let middle = bytes.len() - 4_000;
        bytes[middle] ^= 1;
        fs::write(segment, bytes).unwrap();
    });
    let held = RefCell::new(None);
    refused("locked", 4, &|store| {
        let file = RealEnv.open(&store.join("lock"), OpenMode::Write).unwrap();
        assert!(file.try_lock(LockByte::Index as u64, Sharing::Shared).unwrap());
        *held.borrow_mut() = Some(file);
    });
}

macro_rules! killed {
    ($($test:ident: $scenario:literal;)*) => {
        $(#[test]
        fn $test() {
            dies_everywhere($scenario);
        })*

        /// Every scenario has its test.
        #[test]
        fn every_scenario_is_run() {
            let names: Vec<_> = scenarios().iter().map(|scenario| scenario.name).collect();
            assert_eq!(names, [$($scenario),*]);
        }
    };
}

killed! {
    a_maker_of_a_store_may_be_killed_anywhere: "create";
    a_put_may_be_killed_anywhere: "put";
    a_put_all_may_be_killed_anywhere: "put_all";
    a_put_into_a_segment_of_its_own_may_be_killed_anywhere: "own segment";
    a_roll_may_be_killed_anywhere: "roll";
    a_seal_and_a_merge_may_be_killed_anywhere: "merge";
    upkeep_that_cannot_wait_may_be_killed_anywhere: "inline";
    a_checkpoint_may_be_killed_anywhere: "checkpoint";
    a_clear_may_be_killed_anywhere: "clear";
    a_hit_that_makes_the_recency_bits_may_be_killed_anywhere: "hit";
    a_merge_into_a_growing_index_may_be_killed_anywhere: "grow";
    an_eviction_may_be_killed_anywhere: "evict";
    a_recovery_may_be_killed_anywhere: "recover";
    a_rebuild_of_the_index_may_be_killed_anywhere: "rebuild";
    a_put_with_preallocation_may_be_killed_anywhere: "preallocate";
}
