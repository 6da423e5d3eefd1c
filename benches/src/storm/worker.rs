//! The processes of a storm: writers, readers, janitors.
//!
//! Each works until it is killed. What it finds wrong it says and goes on, so that one failure does
//! not hide the next.

use std::io::{self, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use larder_engine::{Budget, Options, ReadMode, Record, RecordLayout, Store};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::board::{Acknowledged, Reading, is_of_put};
use super::content::{self, Part, Put, Random, SHARED_KEYS, What, is_kept};
use super::message::Message;
use super::settings::Settings;
use super::watch::{Span, Watch};
use crate::oldest_live;

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It puts.
    Writer,
    /// It gets and checks.
    Reader,
    /// It maintains.
    Janitor,
}

impl Role {
    /// Its name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Role::Writer => "writer",
            Role::Reader => "reader",
            Role::Janitor => "janitor",
        }
    }

    /// The role of a name.
    pub fn of(name: &str) -> Option<Role> {
        [Role::Writer, Role::Reader, Role::Janitor].into_iter().find(|role| role.name() == name)
    }
}

/// All writers together ask for a signal so often, and all janitors.
const AIMS_PER_SEC: f64 = 2.0;
const JANITOR_AIMS_PER_SEC: f64 = 1.0;

/// Operations of a handle before the store is opened anew: a wrapper opens it for every compile.
const OPERATIONS_PER_OPENING: u64 = 150;

/// A get that finds nothing although something was acknowledged is asked again so often before it
/// counts as a loss: a slot that is read while it is written makes a miss, which a later get mends.
const TRIES: u32 = 4;

/// How often the sums are said.
const SUMS_MS: u64 = 300;

struct Worker {
    id: u32,
    seed: u64,
    evicts: bool,
    path: PathBuf,
    options: Options,
    watch: Watch,
    board: Reading,
    random: Random,
    sums: Figures,
    said: Instant,
}

/// Numbers by name, in the order of their first use.
#[derive(Debug, Default)]
struct Figures(Vec<(String, u64)>);

impl Figures {
    fn entry(&mut self, name: &str) -> &mut u64 {
        let index = self.0.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
            self.0.push((name.to_string(), 0));
            self.0.len() - 1
        });
        &mut self.0[index].1
    }
}

/// Runs a worker; `settings` are those of the storm, `path` is the store as this process sees it.
///
/// # Errors
/// If the store or the board cannot be opened.
pub fn run(
    role: Role,
    id: u32,
    path: &Path,
    board: &Path,
    settings: &Settings,
) -> Result<(), Box<dyn std::error::Error>> {
    // A worker whose parent died would otherwise go on, or stand still, for ever.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let process = std::fs::read_link("/proc/self")?.to_string_lossy().parse()?;
    Message::Hello(id, process).say(&mut stdout())?;
    let mean_secs = match role {
        Role::Writer => Some(f64::from(settings.writers) / AIMS_PER_SEC),
        Role::Reader => None,
        Role::Janitor => Some(f64::from(settings.janitors) / JANITOR_AIMS_PER_SEC),
    };
    let mean_secs = mean_secs.filter(|_| !settings.calm);
    let options = settings.options();
    let options = match role {
        Role::Writer if id.is_multiple_of(4) => options.layout(RecordLayout::Cloneable),
        Role::Reader if id.is_multiple_of(2) => options.read_mode(ReadMode::Map),
        _ => options,
    };
    let mut worker = Worker {
        id,
        seed: settings.seed,
        evicts: settings.evicts(),
        path: path.to_path_buf(),
        options,
        watch: Watch::new(id, settings.seed, mean_secs),
        board: Reading::new(board)?,
        random: Random::new(&[settings.seed, u64::from(id), 0x77]),
        sums: Figures::default(),
        said: Instant::now(),
    };
    match role {
        Role::Writer => worker.write(),
        Role::Reader => worker.read(),
        Role::Janitor => worker.maintain(),
    }
}

impl Worker {
    fn open(&self) -> larder_engine::Result<Store> {
        Store::open_with(self.watch.shared(), &self.path, self.options.clone())
    }

    fn add(&mut self, name: &str, number: u64) {
        *self.sums.entry(name) += number;
    }

    fn fail(&self, text: String) -> io::Result<()> {
        Message::Failure(self.id, text).say(&mut stdout())
    }

    /// Says the sums now and then.
    fn report(&mut self) -> io::Result<()> {
        if self.said.elapsed() < Duration::from_millis(SUMS_MS) {
            return Ok(());
        }
        self.said = Instant::now();
        if !self.sums.0.is_empty() {
            Message::Sum(self.id, std::mem::take(&mut self.sums.0)).say(&mut stdout())?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let mut store = self.open()?;
        for number in 0.. {
            if u64::from(number) % OPERATIONS_PER_OPENING == OPERATIONS_PER_OPENING - 1 {
                drop(store);
                store = self.open()?;
            }
            let put = Put::new(self.seed, self.id, number);
            self.put(&store, &put)?;
            if store.maintenance_due() || number % 50 == 49 {
                let budget = if number % 3 == 0 { Budget::inline() } else { Budget::due() };
                self.upkeep(&store, budget)?;
            }
            self.report()?;
        }
        Ok(())
    }

    fn put(&mut self, store: &Store, put: &Put) -> Result<(), Box<dyn std::error::Error>> {
        let entries = put.entries();
        let watch = self.watch.clone();
        let span = Span::new(watch.scheduling());
        let (result, trace) = watch.put(|| store.put_all(&entries));
        if !trace.was_aimed {
            span.end(watch.scheduling(), self.id, "put")?;
        }
        self.add("lock_wait_us", trace.wait_us_sum);
        match result {
            Ok(larder_engine::Put::Stored) => {
                self.add("retried", u64::from(trace.left_bytes > 0));
                let number = put.number;
                Message::Stored(self.id, number, trace.segment, trace.sequence, trace.left_bytes)
                    .say(&mut stdout())?;
                if self.random.below(8) == 0 {
                    let acknowledged = Acknowledged {
                        writer: self.id,
                        number,
                        segment: trace.segment,
                        sequence: trace.sequence,
                    };
                    self.own(store, &acknowledged)?;
                }
            }
            Ok(larder_engine::Put::Dropped(reason)) => {
                let left = trace.left_bytes + trace.last_bytes;
                Message::Dropped(self.id, put.number, format!("{reason:?}"), left)
                    .say(&mut stdout())?;
            }
            Err(error) => self.fail(format!("put {} failed: {error}", put.number))?,
        }
        Ok(())
    }

    fn upkeep(&mut self, store: &Store, budget: Budget) -> io::Result<()> {
        match store.maintain(budget) {
            Ok(done) if done.busy => self.add("upkeep_elsewhere", 1),
            Ok(done) => {
                self.add("upkeeps", 1);
                self.add("evicted", done.segments_evicted);
                self.add("merges", u64::from(done.merged));
                self.add("checkpoints", u64::from(done.checkpointed));
            }
            // Somebody who is stopped may hold a lock.
            Err(error) if error.is_busy() => self.add("upkeep_busy", 1),
            Err(error) => self.fail(format!("upkeep failed: {error}"))?,
        }
        Ok(())
    }

    fn maintain(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        loop {
            let store = self.open()?;
            for _ in 0..4 {
                self.upkeep(&store, Budget::full())?;
                self.report()?;
                std::thread::sleep(Duration::from_millis(20 + self.random.below(200)));
            }
        }
    }

    fn read(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        loop {
            let store = self.open()?;
            for _ in 0..OPERATIONS_PER_OPENING {
                self.read_something(&store)?;
                self.report()?;
            }
            if self.random.below(6) == 0 {
                self.scan(&store)?;
            }
        }
    }

    fn read_something(&mut self, store: &Store) -> Result<(), Box<dyn std::error::Error>> {
        match self.random.below(20) {
            0..=3 => {
                let shared = self.random.below(SHARED_KEYS);
                self.shared(store, shared)
            }
            4 => {
                let key = content::absent_key(self.seed, self.random.below(1 << 40));
                match self.get(store, key)? {
                    Some(_) => Ok(self.fail("a key that nobody wrote was found".into())?),
                    None => Ok(()),
                }
            }
            _ => {
                let count = self.board.count()?;
                if count == 0 {
                    std::thread::sleep(Duration::from_millis(5));
                    return Ok(());
                }
                // Every other one of those that came last.
                let recent = self.random.below(2) == 0;
                let back = self.random.below(if recent { count.min(500) } else { count });
                let put = self.board.get(count - 1 - back)?;
                self.own(store, &put)
            }
        }
    }

    /// Gets and checks; a get takes no lock, whatever happens.
    fn get(&mut self, store: &Store, key: larder_engine::Key) -> io::Result<Option<Record>> {
        let calls = self.watch.lock_calls();
        let span = Span::new(self.watch.scheduling());
        let found = store.get(&key);
        let found = match found {
            Ok(Some(record)) => match content::check(self.seed, key, &record) {
                Ok(_) => Some(record),
                Err(what) => {
                    self.fail(format!("a record of {key} is wrong: {what}"))?;
                    None
                }
            },
            Ok(None) => None,
            Err(error) => {
                self.fail(format!("a get failed: {error}"))?;
                None
            }
        };
        span.end(self.watch.scheduling(), self.id, "get")?;
        if self.watch.lock_calls() != calls {
            self.fail("a get asked for a lock".into())?;
        }
        self.add("gets", 1);
        self.add("hits", u64::from(found.is_some()));
        Ok(found)
    }

    /// Gets until it is found or is known to be gone; `None` if it is gone.
    fn find(
        &mut self,
        store: &Store,
        key: larder_engine::Key,
        segment: u32,
    ) -> Result<Option<Record>, Box<dyn std::error::Error>> {
        for attempt in 0..TRIES {
            if let Some(record) = self.get(store, key)? {
                self.add("missed_once", u64::from(attempt > 0));
                return Ok(Some(record));
            }
            if self.evicts && segment < oldest_live(&self.path)? {
                self.add("evicted_misses", 1);
                return Ok(None);
            }
        }
        self.fail(format!("lost: {key}, acknowledged in segment {segment}"))?;
        Ok(None)
    }

    /// Reads what a writer acknowledged under keys of its own.
    fn own(
        &mut self,
        store: &Store,
        acknowledged: &Acknowledged,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let put = Put::new(self.seed, acknowledged.writer, acknowledged.number);
        let last = match put.what {
            What::Blob => Part::Main,
            What::Pair => Part::Manifest,
            What::Shared(shared) | What::Removal(shared) => return self.shared(store, shared),
        };
        let Some(record) = self.find(store, put.key(last), acknowledged.segment)? else {
            return Ok(());
        };
        let sequence = acknowledged.sequence;
        if !is_of_put(record.sequence(), sequence, self.evicts) {
            let text = format!("put {} has sequence {}", acknowledged.number, record.sequence());
            self.fail(format!("{text}, it was acknowledged with {sequence}"))?;
        }
        if put.what == What::Pair {
            // A manifest leads to its result.
            self.find(store, put.key(Part::Main), acknowledged.segment)?;
        }
        Ok(())
    }

    /// Reads a shared key: nothing older than what was acknowledged before.
    fn shared(&mut self, store: &Store, shared: u64) -> Result<(), Box<dyn std::error::Error>> {
        let (sequence, segment) = self.board.shared(shared)?;
        let key = content::shared_key(self.seed, shared);
        let record = if is_kept(shared) && sequence > 0 {
            self.find(store, key, segment)?
        } else {
            self.get(store, key)?
        };
        if let Some(record) = record
            && record.sequence() < sequence
        {
            let old = record.sequence();
            self.fail(format!("shared key {shared}: {old} came back after {sequence}"))?;
        }
        Ok(())
    }

    /// Reads everything there is.
    fn scan(&mut self, store: &Store) -> Result<(), Box<dyn std::error::Error>> {
        let snapshot = match store.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.add("scans_refused", 1);
                if !error.is_corrupt() {
                    self.fail(format!("a snapshot failed: {error}"))?;
                }
                return Ok(());
            }
        };
        let mut records = 0;
        // A tenth of it: with a hundred thousand records all of it would be the whole storm.
        let first = [self.random.below(256) as u8];
        for record in snapshot.prefix(&first).take(2_000) {
            records += 1;
            if let Err(what) = content::check(self.seed, record.key(), &record) {
                self.fail(format!("a record of a snapshot is wrong: {what}"))?;
            }
        }
        self.add("scans", 1);
        self.add("scanned", records);
        Ok(())
    }
}
