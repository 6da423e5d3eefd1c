//! The environment of a worker's store: the operating system, watched.
//!
//! 1. It measures every wait for a lock: from the first refusal to the end, without the time for
//!    which the kernel says that the process ran or was ready to run and had no processor, or that
//!    the whole machine, where it is a virtual one, did not run.
//! 2. It sees what a put leaves in the log: bytes of bodies (written without the tail lock), the
//!    segment, the sequence number in its last frame (docs/format.md, sections 7 and 14).
//! 3. When the time has come it aims: before the next write, unlinking or resizing it says what
//!    it is about to do, and waits for the signal that it asked for.

use std::fmt;
use std::fs::File as StdFile;
use std::io::{self, Read, stdin, stdout};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use larder_engine::Result;
use larder_engine::env::map::{Map, SharedWords};
use larder_engine::env::{Env, File, FileSizes, OpenMode, RealEnv, Sharing, Stamp};
use larder_engine::format::frame::FRAME_BYTES;

use super::content::Random;
use super::message::Message;

/// Lock bytes by name, for reports; see docs/format.md, section 12.
pub const LOCKS: [&str; 4] = ["life", "tail", "index", "janitor"];
const TAIL: usize = 1;

/// Reading the clock and the kernel's figures takes some microseconds, and losing the processor in
/// between milliseconds.
const READING_MAX: Duration = Duration::from_micros(500);

/// Processor time and time without a processor of this process.
#[derive(Debug)]
pub struct Scheduling {
    process: Option<StdFile>,
    machine: Option<StdFile>,
}

/// The kernel's unit of the time that a virtual machine was not running.
const STOLEN_TICK: Duration = Duration::from_millis(10);

impl Scheduling {
    /// Opens the kernel's figures, where it has them.
    pub fn new() -> Scheduling {
        let open = |path| StdFile::open(path).ok();
        Scheduling { process: open("/proc/self/schedstat"), machine: open("/proc/stat") }
    }

    /// The time, and what of it is explained so far: read again where the process lost its
    /// processor between the two.
    fn now(&self) -> (Instant, Duration) {
        let mut before = self.explained();
        loop {
            let now = Instant::now();
            let after = self.explained();
            if after.saturating_sub(before) < READING_MAX {
                return (now, after);
            }
            before = after;
        }
    }

    /// Time on and time waiting for a processor so far.
    fn explained(&self) -> Duration {
        let mut text = [0; 80];
        let text = read(self.process.as_ref(), &mut text);
        let sum = text.split_whitespace().take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
        Duration::from_nanos(sum)
    }
}

impl Scheduling {
    /// Ticks that the machine under this one has taken from it.
    fn stolen_ticks(&self) -> u32 {
        let mut text = [0; 160];
        let text = read(self.machine.as_ref(), &mut text);
        text.split_whitespace().nth(8).and_then(|word| word.parse().ok()).unwrap_or(0)
    }
}

fn read<'a>(file: Option<&StdFile>, text: &'a mut [u8]) -> &'a str {
    let count = file.and_then(|file| file.read_at(text, 0).ok()).unwrap_or(0);
    str::from_utf8(&text[..count]).unwrap_or("")
}

impl Default for Scheduling {
    fn default() -> Self {
        Scheduling::new()
    }
}

/// A span of time, and how much of it the processor explains.
#[derive(Debug)]
pub struct Span {
    from_ms: u64,
    start: Instant,
    explained: Duration,
    /// Only of waits that are judged: reading it takes longer than many a get.
    stolen_ticks: Option<u32>,
}

/// From here on a span is told to the conductor, who knows whether the worker stood still.
const TELL_US_MIN: u64 = 10_000;

impl Span {
    /// Begins.
    pub fn new(scheduling: &Scheduling) -> Span {
        let from_ms = RealEnv.monotonic_ms();
        let (start, explained) = scheduling.now();
        Span { from_ms, start, explained, stolen_ticks: None }
    }

    /// Begins a wait for a lock.
    fn of_lock(scheduling: &Scheduling) -> Span {
        Span { stolen_ticks: Some(scheduling.stolen_ticks()), ..Span::new(scheduling) }
    }

    /// Ends what a worker did; returns the microseconds that the processor does not explain.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn end(&self, scheduling: &Scheduling, worker: u32, what: &str) -> io::Result<u64> {
        let (end, explained) = scheduling.now();
        let mut explained = explained.saturating_sub(self.explained);
        if let Some(before) = self.stolen_ticks {
            // A count that has moved by one tick may stand for nearly two.
            match scheduling.stolen_ticks().saturating_sub(before) {
                0 => {}
                ticks => explained += STOLEN_TICK * (ticks + 1),
            }
        }
        let rest = (end - self.start).saturating_sub(explained).as_micros() as u64;
        if rest >= TELL_US_MIN {
            let to_ms = RealEnv.monotonic_ms() + 1;
            Message::Waited(worker, what.to_string(), self.from_ms, to_ms, rest)
                .say(&mut stdout())?;
        }
        Ok(rest)
    }
}

/// What one put did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace {
    /// The segment of its last frame.
    pub segment: u32,
    /// The sequence number in its last frame.
    pub sequence: u64,
    /// Bytes of bodies that its attempts wrote, the last one left out.
    pub left_bytes: u64,
    /// Bytes of bodies that the last attempt wrote.
    pub last_bytes: u64,
    /// All waits for locks in microseconds, without what the processor explains.
    pub wait_us_sum: u64,
    /// Whether it stood still for a signal that it had asked for.
    pub was_aimed: bool,
    /// Counts the takings of the tail lock: which reservation the last body went to.
    reservation: u64,
}

#[derive(Debug)]
struct State {
    id: u32,
    held: [bool; LOCKS.len()],
    lock_calls: u64,
    tail_takes: u64,
    in_put: bool,
    trace: Trace,
    waiting: Option<Span>,
    aim: Option<Aim>,
}

/// When a worker asks for its next signal.
#[derive(Debug)]
struct Aim {
    random: Random,
    mean_secs: f64,
    at: Instant,
    /// Writes to let pass when the time has come, so that every place has its turn.
    writes: u64,
}

impl Aim {
    fn renew(&mut self) {
        let seconds = self.random.wait(self.mean_secs);
        self.at = Instant::now() + Duration::from_secs_f64(seconds);
        self.writes = self.random.below(24);
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    scheduling: Scheduling,
}

/// The environment.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Shared>);

impl Watch {
    /// Watches for a worker that aims after about `mean_secs`, never if that is `None`.
    pub fn new(id: u32, seed: u64, mean_secs: Option<f64>) -> Watch {
        let aim = mean_secs.map(|mean_secs| {
            let random = Random::new(&[seed, u64::from(id), 0xa1]);
            let mut aim = Aim { random, mean_secs, at: Instant::now(), writes: 0 };
            aim.renew();
            aim
        });
        let state = State {
            id,
            held: [false; LOCKS.len()],
            lock_calls: 0,
            tail_takes: 0,
            in_put: false,
            trace: Trace::default(),
            waiting: None,
            aim,
        };
        Watch(Arc::new(Shared { state: Mutex::new(state), scheduling: Scheduling::new() }))
    }

    /// The environment as the engine takes it.
    pub fn shared(&self) -> Arc<dyn Env> {
        Arc::new(self.clone())
    }

    /// The kernel's figures about this process.
    pub fn scheduling(&self) -> &Scheduling {
        &self.0.scheduling
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a put and says what it did.
    pub fn put<T>(&self, put: impl FnOnce() -> T) -> (T, Trace) {
        {
            let mut state = self.state();
            state.in_put = true;
            state.trace = Trace::default();
        }
        let result = put();
        let mut state = self.state();
        state.in_put = false;
        (result, state.trace)
    }

    /// How often a lock other than `life` was asked for.
    pub fn lock_calls(&self) -> u64 {
        self.state().lock_calls
    }

    /// Before a change to the store: the place to be killed or stopped at, if it is time.
    fn change(&self, what: &str, name: &Name) {
        let message = {
            let mut state = self.state();
            let is_due = state.aim.as_mut().is_some_and(|aim| {
                let is_due = Instant::now() >= aim.at;
                if is_due && aim.writes > 0 {
                    aim.writes -= 1;
                    return false;
                }
                is_due
            });
            if !is_due {
                return;
            }
            let held: Vec<&str> =
                (1..LOCKS.len()).rev().filter(|lock| state.held[*lock]).map(|l| LOCKS[l]).collect();
            let held = if held.is_empty() { "no".to_string() } else { held.join("+") };
            let place = format!("{what} {name} under {held} lock");
            state.trace.was_aimed = true;
            let id = state.id;
            let aim = state.aim.as_mut().expect("it is due");
            let kill = aim.random.below(2) == 0;
            aim.renew();
            Message::Aim(id, kill, place)
        };
        // The signal comes while this waits, and a byte when it is over; the end of the input when
        // the storm is.
        if message.say(&mut stdout()).is_err() || stdin().read(&mut [0]).is_ok_and(|n| n == 0) {
            std::process::exit(0);
        }
    }

    /// After a lock was asked for: waits are measured between the first refusal and the end.
    fn asked(&self, lock: usize, sharing: Sharing, has_it: bool) {
        let mut state = self.state();
        state.lock_calls += u64::from(lock != 0);
        state.held[lock] |= has_it && sharing == Sharing::Exclusive;
        if !has_it {
            if state.waiting.is_none() && lock != 0 {
                state.waiting = Some(Span::of_lock(&self.0.scheduling));
            }
            return;
        }
        self.end_wait(&mut state);
        // A put takes the tail lock to reserve and to commit, and again if that was in vain.
        state.tail_takes += u64::from(lock == TAIL);
    }

    fn end_wait(&self, state: &mut State) {
        let Some(span) = state.waiting.take().filter(|_| state.in_put) else { return };
        // Where nobody listens, the next put ends the worker.
        let wait = span.end(&self.0.scheduling, state.id, "lock").unwrap_or(0);
        state.trace.wait_us_sum += wait;
    }
}

/// What a file of the store is.
#[derive(Clone, Debug)]
enum Name {
    Segment(u32),
    Other(String),
}

impl Name {
    fn of(path: &Path) -> Name {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match name.strip_suffix(".seg").and_then(|id| id.parse().ok()) {
            Some(id) => Name::Segment(id),
            None => Name::Other(name.into_owned()),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Segment(_) => f.write_str("segment"),
            Name::Other(name) => f.write_str(name),
        }
    }
}

#[derive(Debug)]
struct WatchedFile {
    inner: Arc<dyn File>,
    watch: Watch,
    name: Name,
}

impl WatchedFile {
    /// What a write to a segment says about the put that does it.
    fn note(&self, bytes: &[u8]) {
        let Name::Segment(id) = self.name else { return };
        let mut state = self.watch.state();
        if !state.in_put {
            return;
        }
        let (holds_tail, tail_takes) = (state.held[TAIL], state.tail_takes);
        let trace = &mut state.trace;
        if !holds_tail {
            // A body: of another attempt than the one before if the tail was taken in between.
            if trace.reservation != tail_takes {
                trace.left_bytes += std::mem::take(&mut trace.last_bytes);
                trace.reservation = tail_takes;
            }
            trace.last_bytes += bytes.len() as u64;
        } else if bytes.len() == FRAME_BYTES && bytes.starts_with(b"LRDF") {
            let sequence = bytes[16..24].try_into().expect("eight bytes");
            trace.sequence = u64::from_le_bytes(sequence);
            trace.segment = id;
        }
    }

    fn what(&self, bytes: &[u8]) -> &'static str {
        match (&self.name, bytes.len()) {
            (Name::Segment(_), FRAME_BYTES) => "frame of",
            (Name::Segment(_), 16) => "slot of",
            (Name::Segment(_), _) => "bytes of",
            _ => "write to",
        }
    }
}

impl File for WatchedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.watch.change(self.what(bytes), &self.name);
        self.note(bytes);
        self.inner.write_at(bytes, offset)
    }

    fn sizes(&self) -> Result<FileSizes> {
        self.inner.sizes()
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        self.watch.change("length of", &self.name);
        self.inner.set_len(len_bytes)
    }

    fn sync(&self) -> Result<()> {
        self.watch.change("sync of", &self.name);
        self.inner.sync()
    }

    fn preallocate(&self, offset: u64, bytes: u64) -> Result<()> {
        self.inner.preallocate(offset, bytes)
    }

    fn stamp(&self) -> Option<Stamp> {
        self.inner.stamp()
    }

    fn map(&self, bytes: usize) -> Result<Map> {
        self.inner.map(bytes)
    }

    fn map_words(&self, words: usize) -> Result<SharedWords> {
        self.inner.map_words(words)
    }

    fn try_lock(&self, byte: u64, sharing: Sharing) -> Result<bool> {
        let has_it = self.inner.try_lock(byte, sharing)?;
        self.watch.asked(byte as usize, sharing, has_it);
        Ok(has_it)
    }

    fn unlock(&self, byte: u64) {
        // A wait that was given up ends here, too: the turn is given back by unlocking.
        let mut state = self.watch.state();
        self.watch.end_wait(&mut state);
        state.held[byte as usize] = false;
        drop(state);
        self.inner.unlock(byte);
    }

    fn clone_from(
        &self,
        source: &dyn File,
        from_offset: u64,
        bytes: u64,
        to_offset: u64,
    ) -> Result<()> {
        (*self.inner).clone_from(source, from_offset, bytes, to_offset)
    }

    fn descriptor(&self) -> Option<i32> {
        self.inner.descriptor()
    }
}

impl Env for Watch {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let name = Name::of(path);
        if matches!(mode, OpenMode::CreateNew(_)) {
            self.change("making of", &name);
        }
        let inner = RealEnv.open(path, mode)?;
        Ok(Arc::new(WatchedFile { inner, watch: self.clone(), name }))
    }

    fn copies_on_write(&self, path: &Path) -> bool {
        RealEnv.copies_on_write(path)
    }

    fn create_dir(&self, path: &Path, mode: u32) -> Result<()> {
        RealEnv.create_dir(path, mode)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        RealEnv.list(path)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.change("unlinking of", &Name::of(path));
        RealEnv.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        RealEnv.rename(from, to)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<()> {
        RealEnv.set_mode(path, mode)
    }

    fn sizes(&self, path: &Path) -> Result<FileSizes> {
        RealEnv.sizes(path)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        RealEnv.sync_dir(path)
    }

    fn boot_id(&self) -> [u8; 16] {
        RealEnv.boot_id()
    }

    fn now_secs(&self) -> u64 {
        RealEnv.now_secs()
    }

    fn monotonic_ms(&self) -> u64 {
        RealEnv.monotonic_ms()
    }

    fn sleep_us(&self, microseconds: u64) {
        RealEnv.sleep_us(microseconds);
    }

    fn random(&self) -> u64 {
        RealEnv.random()
    }
}
