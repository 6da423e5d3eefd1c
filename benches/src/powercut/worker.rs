//! The processes of a recording: writers, one that maintains, and one that stirs the page cache.
//!
//! They write what they did to a file of their own at the end (see [`ledger`](super::ledger)), and
//! not to the disk that is recorded.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use larder_engine::env::{Env, OpenMode, RealEnv};
use larder_engine::format::tail::{TAIL_BYTES, Tail};
use larder_engine::{Budget, Options, Put, Store};
use rustix::fs::{Advice, fadvise, syncfs};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::content::{self, Change, KEYS, Operation};
use super::disk::now_ns;
use super::env::CutEnv;
use super::ledger::{Done, Line};
use super::load::Load;
use crate::oldest_live;
use crate::storm::content::Random;

/// Operations of a writer before it opens the store anew, as a wrapper does for every compile.
const OPERATIONS_PER_OPENING: u64 = 60;

/// A file of that name beside the ledgers tells those who do not end by themselves to end.
pub const STOP_NAME: &str = "stop";

/// Runs a process: `role` is `writer`, `janitor` or `stirrer`.
///
/// # Errors
/// If the store cannot be opened, or the ledger not be written.
pub fn run(
    role: &str,
    id: u64,
    path: &Path,
    ledger: &Path,
    load: Load,
) -> Result<(), Box<dyn std::error::Error>> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let stop = ledger.with_file_name(STOP_NAME);
    let random = Random::new(&[load.seed, id, 0x99]);
    let options = load.options(id);
    let path = path.to_path_buf();
    let mut worker = Worker { id, load, path, options, stop, random, lines: Vec::new() };
    let result = match role {
        "writer" => worker.write(),
        "janitor" => worker.maintain(),
        "stirrer" => worker.stir(),
        _ => Err("there is no such role".into()),
    };
    if let Err(error) = &result {
        worker.fail(format!("a {role} ended: {error}"));
    }
    let text: String = worker.lines.iter().map(Line::text).collect();
    File::create(ledger)?.write_all(text.as_bytes())?;
    result
}

struct Worker {
    id: u64,
    load: Load,
    path: PathBuf,
    options: Options,
    stop: PathBuf,
    random: Random,
    lines: Vec<Line>,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

impl Worker {
    fn open(&self) -> larder_engine::Result<Store> {
        let env = CutEnv { boot: 0, forgets_syncs: self.load.forgets_syncs };
        Store::open_with(env.shared(), &self.path, self.options.clone())
    }

    fn fail(&mut self, text: String) {
        self.lines.push(Line::Failure(format!("before the cut: {text}")));
    }

    fn count(&mut self, name: &str) {
        self.lines.push(Line::Count(name.to_string(), 1));
    }

    fn pause(&mut self, us_max: u64) {
        std::thread::sleep(Duration::from_micros(self.random.below(us_max)));
    }

    fn write(&mut self) -> Outcome {
        let mut store = self.open()?;
        // What each key has: the number of an operation, or nothing.
        let mut has = [None; KEYS as usize];
        for number in 0..self.load.operations {
            if number % OPERATIONS_PER_OPENING == OPERATIONS_PER_OPENING - 1 {
                drop(store);
                store = self.open()?;
            }
            self.operate(&store, number, &mut has);
            if self.random.below(3) == 0 {
                let key = self.random.below(KEYS);
                self.read(&store, key, has[key as usize]);
            }
            if store.maintenance_due() || number % 50 == 49 {
                let budget = if number % 3 == 0 { Budget::inline() } else { Budget::due() };
                self.upkeep(&store, budget)?;
            }
            self.pause(7_000);
        }
        Ok(())
    }

    fn operate(&mut self, store: &Store, number: u64, has: &mut [Option<u64>]) {
        let operation = Operation::new(self.load.seed, self.load.segment_bytes, self.id, number);
        let entries = operation.entries();
        let segment = active_segment(&self.path);
        let from_ns = now_ns();
        let result = store.put_all(&entries);
        let to_ns = now_ns();
        let stored = matches!(result, Ok(Put::Stored));
        let writer = self.id;
        self.lines.push(Line::Operation(Done { writer, number, from_ns, to_ns, segment, stored }));
        match result {
            Ok(Put::Stored) => {
                for (key, change) in operation.changes {
                    has[key as usize] = (change != Change::Remove).then_some(number);
                }
            }
            Ok(Put::Dropped(reason)) => self.count(&format!("dropped, {reason:?}")),
            Err(error) => self.fail(format!("operation {number} failed: {error}")),
        }
    }

    /// Without a power cut everything is found.
    fn read(&mut self, store: &Store, key: u64, expected: Option<u64>) {
        let name = content::key_of(self.load.seed, self.id, key);
        let found = match store.get(&name) {
            Ok(None) => None,
            Ok(Some(record)) => {
                match content::check(self.load.seed, self.load.segment_bytes, &record) {
                    Ok((_, number, _)) => Some(number),
                    Err(what) => return self.fail(format!("a record is wrong: {what}")),
                }
            }
            Err(error) => return self.fail(format!("a get failed: {error}")),
        };
        if found != expected && !(found.is_none() && self.load.evicts()) {
            self.fail(format!("key {key} had {expected:?}, and {found:?} was found"));
        }
    }

    fn upkeep(&mut self, store: &Store, budget: Budget) -> Outcome {
        let from_ns = now_ns();
        let done = match store.maintain(budget) {
            Ok(done) => done,
            Err(error) => {
                match error.is_busy() {
                    true => self.count("upkeeps, busy"),
                    false => self.fail(format!("upkeep failed: {error}")),
                }
                return Ok(());
            }
        };
        self.lines.push(Line::Upkeep(from_ns, now_ns(), oldest_live(&self.path)?));
        if done.checkpointed {
            self.lines.push(Line::Checkpoint(from_ns, now_ns()));
        }
        if done.merged {
            self.count("merges");
        }
        self.lines.push(Line::Count("segments evicted".into(), done.segments_evicted));
        Ok(())
    }

    fn checkpoint(&mut self, store: &Store) {
        let from_ns = now_ns();
        match store.checkpoint() {
            Ok(()) => self.lines.push(Line::Checkpoint(from_ns, now_ns())),
            Err(error) if error.is_busy() => self.count("checkpoints, busy"),
            Err(error) => self.fail(format!("a checkpoint failed: {error}")),
        }
    }

    fn maintain(&mut self) -> Outcome {
        while !self.stop.exists() {
            let store = self.open()?;
            for round in 0..10 {
                match self.random.below(8) {
                    0 => self.checkpoint(&store),
                    _ if round == 3 => self.checkpoint(&store),
                    1 => self.upkeep(&store, Budget::due())?,
                    _ => self.upkeep(&store, Budget::full())?,
                }
                self.pause(120_000);
            }
            // A time without syncs, in which much is only in the page cache or partly on the disk.
            self.pause(1_500_000);
        }
        Ok(())
    }

    /// Has the kernel write back dirty pages at any time and in any order, as it does by itself
    /// when memory is short or half a minute has passed. Most of that needs no flush, and gets
    /// none.
    fn stir(&mut self) -> Outcome {
        while !self.stop.exists() {
            self.pause(25_000);
            let folders = [self.path.clone(), self.path.join("log")];
            let names = folders.iter().flat_map(fs::read_dir).flatten().flatten();
            let mut files: Vec<PathBuf> = names.map(|entry| entry.path()).collect();
            files.sort();
            // The newest segments are written to; so are all files beside the log.
            let recent = files.len().saturating_sub(24);
            let mut files = files.split_off(recent);
            if files.is_empty() {
                continue;
            }
            let file = files.swap_remove(self.random.below(files.len() as u64) as usize);
            // A file may have been removed.
            let _ = self.write_back(&file);
        }
        Ok(())
    }

    fn write_back(&mut self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        match self.random.below(60) {
            0 => file.sync_data()?,
            1 => syncfs(&file)?,
            _ => {
                // Asks to drop pages; dirty ones are written back for that, without a wait.
                let bytes = file.metadata()?.len();
                let from = self.random.below(bytes.max(1)) * self.random.below(2);
                fadvise(&file, from, None, Advice::DontNeed)?;
            }
        }
        Ok(())
    }
}

/// What is put now stands in this segment or in a newer one; zero if nothing is known.
fn active_segment(store: &Path) -> u32 {
    let mut bytes = [0; TAIL_BYTES];
    let file = RealEnv.open(&store.join("tail"), OpenMode::Read);
    let count = file.and_then(|file| file.read_at(&mut bytes, 0)).unwrap_or(0);
    Tail::decode(&bytes[..count]).map_or(0, |tail| tail.active)
}
