//! The storm itself: starts the workers, kills and stops them, listens, and ends it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, IsTerminal, PipeReader, PipeWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use larder_engine::env::{Env, RealEnv};
use rustix::process::{Pid, Signal};

use super::SILENCE_MS_MAX;
use super::content::Random;
use super::ledger::Ledger;
use super::message::Message;
use super::settings::Settings;
use super::spawn::{Place, Worker};
use super::worker::Role;

/// Mean time between two random signals of a kind, in seconds, for 128 processes.
const KILL_SECS_MEAN: f64 = 0.35;
const STOP_SECS_MEAN: f64 = 0.2;
/// Longest random stop, and longest stop that a worker asked for: then it may hold the tail lock,
/// and every put in that time is dropped.
const STOP_MS_MAX: u64 = 500;
const AIMED_STOP_MS_MAX: u64 = 250;

const TICK_MS: u64 = 4;
const SAMPLE_MS: u64 = 500;

/// What happened beside what the workers said.
#[derive(Debug, Default)]
pub struct Events {
    /// Workers killed at a random time, by role.
    pub kills: BTreeMap<&'static str, u64>,
    /// Workers stopped at a random time, by role.
    pub stops: BTreeMap<&'static str, u64>,
    /// Workers killed where they asked for it, by place.
    pub aimed_kills: BTreeMap<String, u64>,
    /// Workers stopped where they asked for it, by place.
    pub aimed_stops: BTreeMap<String, u64>,
    /// When who stood still: from, to, in milliseconds of the monotonic clock.
    pub stood: Vec<(u32, u64, u64)>,
    /// Every writer that was ever started; each was killed in the end.
    pub writers: Vec<u32>,
    /// Workers killed in the midst of something, all of them together.
    pub killed: u64,
    /// Longest time without a put in milliseconds.
    pub silence_ms_max: u64,
    /// Largest size that was seen, in bytes.
    pub disk_bytes_max: u64,
}

impl Events {
    /// Whether a worker stood still within a span.
    pub fn stood(&self, worker: u32, from_ms: u64, to_ms: u64) -> bool {
        self.stood.iter().any(|(who, from, to)| *who == worker && *from <= to_ms && from_ms <= *to)
    }
}

/// A worker that stands still, until when.
#[derive(Debug)]
struct Stopped {
    index: usize,
    id: u32,
    since_ms: u64,
    until: Instant,
    is_aimed: bool,
}

struct Conductor<'a> {
    settings: &'a Settings,
    place: &'a Place,
    ledger: Arc<Mutex<Ledger>>,
    requests: mpsc::Receiver<Message>,
    out: PipeWriter,
    workers: Vec<Worker>,
    stopped: Vec<Stopped>,
    reapers: Vec<JoinHandle<()>>,
    events: Events,
    random: Random,
    next_id: u32,
    /// The last put that was heard of: how many there were, and when.
    last_put: (u64, Instant),
}

fn locked(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the storm; at its end no worker is left.
///
/// # Errors
/// If processes cannot be started or the board cannot be written.
pub fn run(settings: &Settings, place: &Place, ledger: Ledger) -> io::Result<(Ledger, Events)> {
    let ledger = Arc::new(Mutex::new(ledger));
    let (reader, out) = io::pipe()?;
    let (send, requests) = mpsc::channel();
    let listener = {
        let ledger = ledger.clone();
        std::thread::spawn(move || listen(reader, &ledger, &send))
    };
    let mut conductor = Conductor {
        settings,
        place,
        ledger: ledger.clone(),
        requests,
        out,
        workers: Vec::new(),
        stopped: Vec::new(),
        reapers: Vec::new(),
        events: Events::default(),
        random: Random::new(&[settings.seed, 0xc0]),
        next_id: 0,
        last_put: (0, Instant::now()),
    };
    conductor.storm()?;
    let events = conductor.end();
    listener.join().map_err(|_| io::Error::other("the listener panicked"))??;
    let ledger = Arc::try_unwrap(ledger).map_err(|_| io::Error::other("somebody listens"))?;
    Ok((ledger.into_inner().unwrap_or_else(PoisonError::into_inner), events))
}

fn listen(
    reader: PipeReader,
    ledger: &Mutex<Ledger>,
    requests: &mpsc::Sender<Message>,
) -> io::Result<()> {
    for line in BufReader::with_capacity(1 << 16, reader).lines() {
        let line = line?;
        match Message::parse(&line) {
            Some(message @ (Message::Hello(..) | Message::Aim(..))) => {
                // At the end of the storm nobody asks any more.
                let _ = requests.send(message);
            }
            Some(message) => locked(ledger).hear(message)?,
            None => locked(ledger).fail(format!("a worker said `{line}`")),
        }
    }
    Ok(())
}

impl Conductor<'_> {
    fn start(&mut self, role: Role) -> io::Result<Worker> {
        let id = self.next_id;
        self.next_id += 1;
        if role == Role::Writer {
            self.events.writers.push(id);
        }
        self.place.start(self.settings, role, id, &self.out)
    }

    fn storm(&mut self) -> io::Result<()> {
        let counts = [
            (Role::Writer, self.settings.writers),
            (Role::Reader, self.settings.readers),
            (Role::Janitor, self.settings.janitors),
        ];
        for (role, count) in counts {
            for _ in 0..count {
                let worker = self.start(role)?;
                self.workers.push(worker);
            }
        }
        let processes = self.workers.len() as f64;
        let factor = 129.0 / processes;
        let begun = Instant::now();
        let whole = Duration::from_secs(self.settings.seconds);
        let (mut kill_at, mut stop_at, mut sample_at) = (begun, begun, begun);
        while begun.elapsed() < whole {
            std::thread::sleep(Duration::from_millis(TICK_MS));
            self.answer()?;
            self.wake(false);
            self.replace_ended()?;
            let now = Instant::now();
            if now >= kill_at && !self.settings.calm {
                let after = self.random.wait(KILL_SECS_MEAN * factor);
                kill_at = now + Duration::from_secs_f64(after);
                self.kill_somebody()?;
            }
            if now >= stop_at && !self.settings.calm {
                let after = self.random.wait(STOP_SECS_MEAN * factor);
                stop_at = now + Duration::from_secs_f64(after);
                self.stop_somebody();
            }
            if now >= sample_at {
                sample_at = now + Duration::from_millis(SAMPLE_MS);
                self.sample();
                self.show(begun.elapsed());
            }
        }
        Ok(())
    }

    fn find(&self, id: u32) -> Option<usize> {
        self.workers.iter().position(|worker| worker.id == id)
    }

    /// Answers greetings and requests for a signal.
    fn answer(&mut self) -> io::Result<()> {
        while let Ok(message) = self.requests.try_recv() {
            match message {
                Message::Hello(id, process) => {
                    if let Some(index) = self.find(id) {
                        self.workers[index].process = Pid::from_raw(process as i32);
                    }
                }
                Message::Aim(id, kill, place) => {
                    let Some(index) = self.find(id) else { continue };
                    if kill {
                        *self.events.aimed_kills.entry(place).or_default() += 1;
                        self.replace(index)?;
                    } else {
                        *self.events.aimed_stops.entry(place).or_default() += 1;
                        self.stop(index, AIMED_STOP_MS_MAX, true);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn kill_somebody(&mut self) -> io::Result<()> {
        let index = self.random.below(self.workers.len() as u64) as usize;
        if self.workers[index].process.is_none() {
            return Ok(());
        }
        *self.events.kills.entry(self.workers[index].role.name()).or_default() += 1;
        self.replace(index)
    }

    /// Kills a worker, whether it runs or stands still, and starts another.
    fn replace(&mut self, index: usize) -> io::Result<()> {
        self.events.killed += 1;
        let role = self.workers[index].role;
        let worker = self.start(role)?;
        let mut old = std::mem::replace(&mut self.workers[index], worker);
        old.signal(Signal::KILL);
        // Its end is waited for elsewhere: one that syncs ends only when the disk has answered, and
        // until then nobody would wake those that stand still.
        self.reapers.push(std::thread::spawn(move || drop(old)));
        self.reapers.retain(|reaper| !reaper.is_finished());
        self.stopped.retain(|stopped| stopped.index != index);
        Ok(())
    }

    fn stop_somebody(&mut self) {
        let index = self.random.below(self.workers.len() as u64) as usize;
        if self.stopped.iter().any(|stopped| stopped.index == index) {
            return;
        }
        let role = self.workers[index].role.name();
        if self.stop(index, STOP_MS_MAX, false) {
            *self.events.stops.entry(role).or_default() += 1;
        }
    }

    fn stop(&mut self, index: usize, ms_max: u64, is_aimed: bool) -> bool {
        let length = Duration::from_millis(20 + self.random.below(ms_max - 20));
        let since_ms = RealEnv.monotonic_ms();
        if !self.workers[index].signal(Signal::STOP) {
            return false;
        }
        let (id, until) = (self.workers[index].id, Instant::now() + length);
        self.stopped.push(Stopped { index, id, since_ms, until, is_aimed });
        true
    }

    /// Continues those whose time is over, or everybody.
    fn wake(&mut self, everybody: bool) {
        let now = Instant::now();
        let is_over = |stopped: &mut Stopped| everybody || stopped.until <= now;
        let over: Vec<Stopped> = self.stopped.extract_if(.., is_over).collect();
        for stopped in over {
            let worker = &mut self.workers[stopped.index];
            worker.signal(Signal::CONT);
            if stopped.is_aimed {
                worker.go_on();
            }
            self.events.stood.push((stopped.id, stopped.since_ms, RealEnv.monotonic_ms()));
        }
    }

    /// Whoever ended by itself has failed.
    fn replace_ended(&mut self) -> io::Result<()> {
        for index in 0..self.workers.len() {
            if !self.workers[index].is_running() {
                let (id, role) = (self.workers[index].id, self.workers[index].role.name());
                locked(&self.ledger).fail(format!("{role} {id} ended by itself"));
                self.replace(index)?;
            }
        }
        Ok(())
    }

    /// Looks at the size of the store, and whether anybody still puts.
    fn sample(&mut self) {
        // While files come and go a walk may count one of each; so the least of three counts.
        let walks = [(); 3].map(|()| disk_usage(&self.place.store));
        let bytes = walks.into_iter().min().unwrap_or(0);
        self.events.disk_bytes_max = self.events.disk_bytes_max.max(bytes);
        let mut ledger = locked(&self.ledger);
        if let Some(max) = self.settings.max_size_bytes.filter(|max| bytes > *max) {
            ledger.fail(format!("the store has {bytes} bytes, its max_size is {max}"));
        }
        let puts = ledger.stored + ledger.drops.get("Full").copied().unwrap_or(0);
        if puts != self.last_put.0 {
            self.last_put = (puts, Instant::now());
        }
        let silence = self.last_put.1.elapsed().as_millis() as u64;
        self.events.silence_ms_max = self.events.silence_ms_max.max(silence);
        if silence > SILENCE_MS_MAX {
            ledger.fail(format!("nobody has put anything for {silence} ms: a lock is stuck"));
            self.last_put.1 = Instant::now();
        }
    }

    fn show(&self, elapsed: Duration) {
        let ledger = locked(&self.ledger);
        let puts = ledger.stored;
        let gets = ledger.sums.get("gets").copied().unwrap_or(0);
        let (now, all) = (elapsed.as_secs(), self.settings.seconds);
        if io::stderr().is_terminal() {
            let filled = (20 * now / all.max(1)) as usize;
            let bar = format!("{}{}", "#".repeat(filled), ".".repeat(20 - filled.min(20)));
            let (killed, failures) = (self.events.killed, ledger.failure_count);
            let figures = format!("{puts} puts  {gets} gets  {killed} kills  {failures} failures");
            eprint!("\r[{bar}] {now:3} of {all} s  {figures} ");
            let _ = io::stderr().flush();
        }
    }

    /// Kills everybody, in the midst of what they do.
    fn end(mut self) -> Events {
        self.wake(true);
        if io::stderr().is_terminal() {
            eprintln!();
        }
        self.events.killed += self.workers.len() as u64;
        // All at once, before anybody can go on in peace.
        for worker in &mut self.workers {
            worker.signal(Signal::KILL);
        }
        self.workers.clear();
        for reaper in self.reapers {
            let _ = reaper.join();
        }
        self.events
    }
}

/// Bytes of the disk blocks of a directory and all in it, as `du` says.
pub fn disk_usage(path: &Path) -> u64 {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return 0 };
    let own = metadata.blocks() * 512;
    if !metadata.is_dir() {
        return own;
    }
    let inside = std::fs::read_dir(path).into_iter().flatten().flatten();
    inside.fold(own, |sum, entry| sum + disk_usage(&entry.path()))
}
