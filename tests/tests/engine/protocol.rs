//! Model checking: processes on one store, in every order of steps that a scheduler can think of.
//!
//! 1. Each process is a thread with its own handle on the model of [`larder_tests::model_env`];
//!    every call of the engine into it is a place where another process may go on, or this one die.
//! 2. What they did is a [`History`], which is then judged; at last a fresh process must find
//!    everything, can store, seal, merge and make a checkpoint, and finds no damage.
//! 3. The same checks must refuse a model that is broken on purpose.
//!
//! With `LARDER_LONG=1` the tests run longer, and under the PCT scheduler as well. A failure prints
//! its seed or its schedule, and how shuttle runs that again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use larder_engine::{
    Budget, DropReason, EngineCounter, Entry, Error, Key, Options, Put, Record, RecordKind,
    Section, SectionKind, Store,
};
use larder_tests::history::{Ended, History, Read, Write};
use larder_tests::model_env::{Flaw, ModelEnv, Pace, Process, World};
use larder_tests::sample::Random;
use shuttle::rand::RngCore;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::atomic::{AtomicU64, Ordering};

use super::SEGMENT_BYTES;

/// Calls of a process that does not die.
const FOR_EVER: u64 = u64::MAX / 2;

/// Who is there, and what they do.
#[derive(Clone, Copy, Debug)]
struct Scene {
    writers: usize,
    readers: usize,
    janitors: usize,
    /// Operations of each.
    operations: u64,
    keys: usize,
    /// Merges before it begins: a small index uses pages again in the 13th merge, the 25th, ...
    merges_before: u64,
    /// Of five rounds of upkeep, how many are checkpoints.
    checkpoints: u64,
    /// Whether one reader is so slow that merges overtake it.
    slow_reader: bool,
    /// Whether processes may die.
    deaths: bool,
    /// Filled before it begins, so that eviction is due soon, if it is not roomy.
    max_size_bytes: u64,
    flaw: Flaw,
}

impl Scene {
    fn evicts(&self) -> bool {
        self.max_size_bytes < ROOMY
    }
}

const ROOMY: u64 = 1 << 30;

const SCENE: Scene = Scene {
    writers: 2,
    readers: 2,
    janitors: 1,
    operations: 5,
    keys: 2,
    merges_before: 0,
    checkpoints: 1,
    slow_reader: false,
    deaths: false,
    max_size_bytes: ROOMY,
    flaw: Flaw::None,
};

/// In so many steps of one process others merge often enough to overtake it.
const PAUSE: u64 = 2_000;

/// Much upkeep beside few puts.
const MERGES: Scene = Scene {
    janitors: 2,
    operations: 8,
    merges_before: 12,
    checkpoints: 5,
    slow_reader: true,
    ..SCENE
};

/// What the runs of a scene met: a scene that never comes to what it is about shows nothing.
#[derive(Debug, Default)]
struct Met {
    deaths: Count,
    found: Count,
    counted_misses: Count,
    dropped: Count,
    /// By the engine's own counters.
    overtaken: Count,
    merges: Count,
    evicted: Count,
}

// Not shuttle's: it counts across runs, and is no place to switch.
type Count = std::sync::atomic::AtomicU64;

impl Met {
    fn note(&self, actor: &Actor) {
        let add = |count: &Count, number: usize| {
            count.fetch_add(number as u64, Ordering::Relaxed);
        };
        add(&self.deaths, usize::from(actor.process.is_dead()));
        add(&self.found, actor.reads.iter().filter(|read| read.found.is_some()).count());
        add(&self.counted_misses, actor.reads.iter().filter(|read| read.counted).count());
        let dropped = |write: &&Write| write.ended == Ended::Dropped;
        add(&self.dropped, actor.writes.iter().filter(dropped).count());
        let Some(store) = &actor.store else { return };
        let by_engine = |counter: EngineCounter| store.counters().get(counter.id()) as usize;
        add(&self.overtaken, by_engine(EngineCounter::Overtaken));
        add(&self.merges, by_engine(EngineCounter::Merges));
        add(&self.evicted, by_engine(EngineCounter::SegmentsEvicted));
    }
}

/// Fails unless each of these was met.
#[track_caller]
fn assert_met(met: &Met, counts: &[&Count]) {
    eprintln!("{met:?}");
    assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) > 0), "{met:?}");
}

/// A step of a shuttle thread.
#[derive(Debug)]
struct Interleaved(AtomicU64);

impl Pace for Interleaved {
    fn step(&self) {
        // Any operation on a shared variable lets the scheduler choose who goes on.
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn rest(&self) {
        shuttle::thread::yield_now();
    }
}

/// What one process does, and what it saw.
struct Actor {
    scene: Scene,
    world: World,
    random: Random,
    process: Arc<Process>,
    store: Option<Store>,
    writes: Vec<Write>,
    reads: Vec<Read>,
}

fn key(number: usize) -> Key {
    Key::of(&number.to_le_bytes())
}

/// The bytes of a value: its number, and noise that is its own.
fn contents(value: u64) -> Vec<u8> {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    let noise = NOISE.get_or_init(|| {
        let mut random = Random::new(1);
        (0..8192).flat_map(|_| random.number().to_le_bytes()).collect()
    });
    let lengths = [40, 300, 15_000, 15_000, 20_000, 40_000];
    let length = lengths[(value % 6) as usize];
    [&value.to_le_bytes(), &noise[(value % 1000) as usize..][..length]].concat()
}

fn entry<'a>(key: Key, value: u64) -> Entry<'a> {
    Entry::new(key, RecordKind::Result, vec![Section::new(SectionKind::Object, contents(value))])
}

/// The number of a record's value, `None` if it is damaged; other bytes than were put are a panic.
fn value_of(record: &Record) -> Option<u64> {
    let bytes = match record.read(0) {
        Ok(bytes) => bytes,
        Err(error) if error.is_corrupt() => return None,
        Err(error) => panic!("a section cannot be read: {error}"),
    };
    let number = bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let value = number.expect("every value begins with its number");
    assert!(bytes == contents(value), "value {value} has other bytes than were put");
    Some(value)
}

impl Actor {
    fn new(scene: Scene, world: &World, calls: u64, seed: u64) -> Actor {
        Actor {
            scene,
            world: world.clone(),
            random: Random::new(seed),
            process: world.process(calls),
            store: None,
            writes: Vec::new(),
            reads: Vec::new(),
        }
    }

    /// What a call gave, `None` if the process has died in it.
    fn survived<T>(&self, outcome: Result<T, Error>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(_) if self.process.is_dead() => None,
            Err(error) => panic!("a call failed: {error}"),
        }
    }

    fn open(&mut self) {
        let options =
            Options::new().max_size_bytes(self.scene.max_size_bytes).segment_bytes(SEGMENT_BYTES);
        let env = Arc::new(ModelEnv(self.process.clone()));
        self.store = self.survived(Store::open_with(env, Path::new("/store"), options));
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("a living process has opened the store")
    }

    fn key(&mut self) -> usize {
        self.random.below(self.scene.keys as u64) as usize
    }

    /// Notes writes that end alike, as those of one `put_all` do.
    fn note(&mut self, writes: &[(usize, Option<u64>)], begun: u64, put: Result<Put, Error>) {
        let ended = match self.survived(put) {
            None => Ended::Died,
            Some(Put::Stored) => Ended::Stored(self.world.moment()),
            Some(Put::Dropped(DropReason::Poisoned)) if self.process.is_dead() => Ended::Dropped,
            Some(Put::Dropped(DropReason::Poisoned)) => panic!("a write failed"),
            Some(Put::Dropped(_)) => Ended::Dropped,
        };
        let note =
            |(key, value): &(usize, Option<u64>)| Write { key: *key, value: *value, begun, ended };
        self.writes.extend(writes.iter().map(note));
    }

    /// Puts values under so many keys in one call.
    fn put(&mut self, count: usize) {
        let (begun, first) = (self.world.moment(), self.key());
        let values: Vec<(usize, Option<u64>)> = (0..count)
            // Numbers of values are those of moments: no two puts share one.
            .map(|index| ((first + index) % self.scene.keys, Some(self.world.moment())))
            .collect();
        let entries: Vec<Entry<'_>> =
            values.iter().map(|(number, value)| entry(key(*number), value.unwrap_or(0))).collect();
        let put = self.store().put_all(&entries);
        self.note(&values, begun, put);
    }

    fn remove(&mut self) {
        let (begun, number) = (self.world.moment(), self.key());
        let put = self.store().remove(&key(number));
        self.note(&[(number, None)], begun, put);
    }

    fn damaged(&self) -> u64 {
        self.store().counters().get(EngineCounter::Damaged.id())
    }

    fn get(&mut self, number: usize) {
        let (begun, damaged) = (self.world.moment(), self.damaged());
        let Some(found) = self.survived(self.store().get(&key(number))) else { return };
        let found = found.and_then(|record| Some((value_of(&record)?, record.sequence())));
        self.note_read(number, found, begun, damaged);
    }

    fn note_read(&mut self, key: usize, found: Option<(u64, u64)>, begun: u64, damaged: u64) {
        if self.process.is_dead() {
            return;
        }
        let counted = self.damaged() > damaged;
        self.reads.push(Read { key, found, counted, begun, ended: self.world.moment() });
    }

    fn list(&mut self) {
        let (begun, damaged) = (self.world.moment(), self.damaged());
        let snapshot = match self.store().snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) if error.is_busy() || self.process.is_dead() => return,
            Err(error) => panic!("a snapshot cannot be taken: {error}"),
        };
        let listed: Vec<Record> = snapshot.iter().collect();
        for number in 0..self.scene.keys {
            let record = listed.iter().find(|record| record.key() == key(number));
            let found = record.and_then(|record| Some((value_of(record)?, record.sequence())));
            self.note_read(number, found, begun, damaged);
        }
    }

    fn upkeep(&mut self) {
        let choice = self.random.below(5);
        let store = self.store();
        let done = match choice {
            choice if choice < self.scene.checkpoints => store.checkpoint(),
            4 => {
                self.process.pass_ms(3_000);
                store.maintain(Budget::due()).map(drop)
            }
            _ => store.maintain(Budget::full()).map(drop),
        };
        match done {
            Err(error) if error.is_busy() => {}
            done => drop(self.survived(done)),
        }
    }

    /// Merges as often as the scene says, and fills the store until eviction is nearly due.
    fn prepare(&mut self) {
        let full = self.scene.max_size_bytes / 100 * 88 * self.random.below(2);
        let store = self.store();
        let put = |number: u64, bytes: &[u8]| {
            let section = Section::new(SectionKind::Object, bytes);
            let key = Key::of(&[number as u8; 9]);
            let put = store.put(&Entry::new(key, RecordKind::Blob, vec![section]));
            assert_eq!(put.expect("a put succeeds"), Put::Stored);
        };
        for number in 0..self.scene.merges_before {
            put(number, b"");
            store.checkpoint().expect("a checkpoint succeeds");
        }
        // Half of the stores that evict are full at once, the others when everything else is over.
        let mut number = 0;
        while self.scene.evicts() && store.used_bytes().expect("the tail can be read") < full {
            put(number, &contents(number));
            number += 1;
        }
    }

    /// Puts other keys until every key of the scene has been evicted, and looks on.
    fn push_out(&mut self) {
        for number in 0..400 {
            let bytes = contents(number);
            let section = Section::new(SectionKind::Object, &bytes[..]);
            let filler = Key::of(&[number as u8; 9]);
            let put = self.store().put(&Entry::new(filler, RecordKind::Blob, vec![section]));
            let _ = put.expect("a put succeeds");
            self.store().maintain(Budget::inline()).expect("upkeep succeeds");
            let before = self.reads.len();
            (0..self.scene.keys).for_each(|number| self.get(number));
            if self.reads[before..].iter().all(|read| read.found.is_none()) {
                return;
            }
        }
        panic!("nothing is evicted");
    }

    fn write_some(mut self) -> Self {
        self.open();
        for _ in 0..self.scene.operations {
            if self.process.is_dead() {
                break;
            }
            match self.random.below(8) {
                0 => self.remove(),
                1 => self.put(2),
                _ => self.put(1),
            }
        }
        self
    }

    fn read_slowly(mut self) -> Self {
        self.open();
        for number in 0..2.min(self.scene.keys) {
            self.process.stumble(PAUSE);
            self.get(number);
            self.process.stumble(0);
        }
        self
    }

    fn read_some(mut self) -> Self {
        self.open();
        for _ in 0..2 * self.scene.operations {
            if self.process.is_dead() {
                break;
            }
            let number = self.key();
            match self.random.below(8) {
                0 => self.list(),
                _ => self.get(number),
            }
        }
        self
    }

    fn maintain_some(mut self) -> Self {
        self.open();
        for _ in 0..self.scene.operations {
            if self.process.is_dead() {
                break;
            }
            self.upkeep();
        }
        self
    }

    /// What a fresh process finds when everybody else has gone.
    fn conclude(mut self) -> Self {
        self.open();
        let damaged = self.damaged();
        if self.scene.evicts() {
            // Before the merge below, which would forget what was replaced.
            self.push_out();
        }
        for round in 0..2 {
            (0..self.scene.keys).for_each(|number| self.get(number));
            self.list();
            if round == 0 {
                self.store().maintain(Budget::full()).expect("upkeep succeeds");
                self.store().checkpoint().expect("a checkpoint succeeds");
            }
        }
        assert_eq!(self.damaged(), damaged, "something is damaged at last");
        let report = self.store().verify(|_, _| {}).expect("the store can be verified");
        assert_eq!(report.damaged, []);
        self.put(1);
        let stored = self.writes.last().is_some_and(|write| write.ended != Ended::Dropped);
        assert!(stored || self.scene.evicts(), "nothing can be stored any more");
        self
    }
}

/// Runs a scene once, under the scheduler of the thread that this is.
fn run(scene: Scene, met: &Met) {
    let seed = shuttle::rand::thread_rng().next_u64();
    let mut random = Random::new(seed);
    let actors = scene.writers + scene.readers + scene.janitors;
    let pace = Interleaved(AtomicU64::new(0));
    let world = World::new(pace, random.number(), actors as u64, scene.flaw);
    let calls = |random: &mut Random| match scene.deaths && random.below(2) == 0 {
        true => 1 + random.below(300),
        false => FOR_EVER,
    };
    if scene.evicts() || scene.merges_before > 0 || random.below(4) > 0 {
        let mut maker = Actor::new(scene, &world, FOR_EVER, random.number());
        maker.open();
        maker.prepare();
    }
    let mut threads = Vec::new();
    for number in 0..actors {
        let calls = calls(&mut random);
        let actor = Actor::new(scene, &world, calls, random.number());
        threads.push(shuttle::thread::spawn(move || {
            if number < scene.writers {
                actor.write_some()
            } else if number == scene.writers && scene.slow_reader {
                actor.read_slowly()
            } else if number < scene.writers + scene.readers {
                actor.read_some()
            } else {
                actor.maintain_some()
            }
        }));
    }
    let mut history = History { evicts: scene.evicts(), ..History::default() };
    let mut take = |actor: Actor| {
        met.note(&actor);
        history.writes.extend(actor.writes);
        history.reads.extend(actor.reads);
    };
    for thread in threads {
        take(thread.join().expect("a panic ends the whole run"));
    }
    take(Actor::new(scene, &world, FOR_EVER, random.number()).conclude());
    let complaints = history.complaints();
    assert!(complaints.is_empty(), "{}\n{history:#?}", complaints.join("\n"));
}

fn config(quiet: bool) -> shuttle::Config {
    let mut config = shuttle::Config::new();
    config.stack_size = 512 << 10;
    config.silence_warnings = true;
    config.ungraceful_shutdown_config.immediately_return_on_panic = true;
    if quiet {
        config.failure_persistence = shuttle::FailurePersistence::None;
    }
    config
}

fn explore(scene: Scene, scheduler: impl Scheduler + 'static, met: &Arc<Met>) {
    let met = met.clone();
    shuttle::Runner::new(scheduler, config(false)).run(move || run(scene, &met));
}

fn is_long() -> bool {
    std::env::var_os("LARDER_LONG").is_some_and(|value| value == "1")
}

/// Explores a scene: `count` random orders, the same ones each time; in a long run many more, and
/// some with few switches at chosen places. Returns what was met.
fn check(scene: Scene, count: usize) -> Arc<Met> {
    let met = Arc::new(Met::default());
    if !is_long() {
        explore(scene, RandomScheduler::new_from_seed(7, count), &met);
        return met;
    }
    explore(scene, RandomScheduler::new(100 * count), &met);
    for depth in [2, 3, 5] {
        explore(scene, PctScheduler::new(depth, 30 * count), &met);
    }
    met
}

/// What the checks say against a scene, within `count` orders.
fn refusal(scene: Scene, count: usize) -> String {
    let scheduler = RandomScheduler::new_from_seed(7, count);
    let runner = shuttle::Runner::new(scheduler, config(true));
    let panic = catch_unwind(AssertUnwindSafe(|| runner.run(move || run(scene, &Met::default()))))
        .expect_err("a broken model must be refused");
    let text = panic.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap_or(&"")).to_string())
}

#[test]
fn processes_that_live_keep_every_promise() {
    let met = check(SCENE, 300);
    assert_met(&met, &[&met.found, &met.merges, &met.counted_misses]);
}

#[test]
fn processes_that_die_anywhere_break_no_promise() {
    let met = check(Scene { deaths: true, ..SCENE }, 300);
    assert_met(&met, &[&met.found, &met.deaths]);
}

#[test]
fn with_eviction_no_older_value_comes_back() {
    let met = check(Scene { max_size_bytes: 3 << 20, operations: 6, readers: 1, ..SCENE }, 50);
    assert_met(&met, &[&met.found, &met.evicted]);
}

#[test]
fn many_merges_lose_no_entry_and_hold_up_no_reader() {
    let met = check(MERGES, 100);
    assert_met(&met, &[&met.found, &met.merges, &met.overtaken]);
}

#[test]
fn a_tail_lock_that_excludes_nobody_is_found() {
    let said = refusal(Scene { flaw: Flaw::TailLockExcludesNobody, ..SCENE }, 300);
    let found = [
        "missed",
        "is missing",
        "replaced by",
        "damaged",
        "Damage",
        "no copy of the superblock is valid",
    ];
    assert!(found.iter().any(|found| said.contains(found)), "{said}");
}

#[test]
fn an_index_that_shows_its_meta_before_its_pages_is_found() {
    let said = refusal(Scene { flaw: Flaw::MetaBeforePages, ..MERGES }, 300);
    assert!(said.contains("missed") || said.contains("replaced by"), "{said}");
}

#[test]
fn locks_that_outlive_their_process_are_found() {
    let scene = Scene { flaw: Flaw::LocksOutliveTheirProcess, deaths: true, ..SCENE };
    let said = refusal(scene, 300);
    assert!(said.contains("has the lock of") || said.contains("nothing can be stored"), "{said}");
}
