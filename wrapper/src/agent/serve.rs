//! The agent itself: `larder-agent`.
//!
//! 1. One process per socket: who does not get the lock beside it ends, because another listens.
//! 2. A connection is served by the thread that has accepted it, until the wrapper at the other
//!    end has ended: to hand it to another one would take as long as a question to a near tier.
//!    One thread at least always waits for the next connection.
//! 3. The agent leaves when it is told to, when its store has gone or another one stands in its
//!    place, and when nobody has been connected for a while and nothing is left to write that can
//!    be written. First its socket and its lock go, at once, so that the next one may listen; then
//!    it serves who came at the last moment.

use std::collections::HashMap;
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use larder_engine::checksum::xxh3_128;
use larder_engine::{ErrorKind, Key, Put, RecordKind, Store};

use super::carry::{self, Merge};
use super::chain::{Flights, Tiered, Unanswered, Unopened};
use super::client::check_peer;
use super::pool::Pool;
use super::protocol::{Reply, Request};
use super::signing::{self, Signing};
use super::state::{Count, Side, TierState};
use super::{PROGRAM, place, uploads};
use crate::config::{AGENT_IDLE_VARIABLE, Config};
use crate::lock::lock;
use crate::log::Log;
use crate::manifest::Manifest;
use crate::store::open_store;

/// After this many seconds without a call the agent leaves.
const IDLE_SECS: u64 = 600;
/// How often the agent looks whether it is idle.
const LOOK: Duration = Duration::from_millis(250);
/// So many threads wait for connections when few come.
const ACCEPTING_MAX: usize = 4;
/// Of records that came from a tier, so many are remembered.
const ORIGINS_MAX: usize = 1 << 16;

/// What all threads share.
pub struct Agent {
    /// The local store.
    pub store: Store,
    /// What tells it from other stores.
    pub store_number: u64,
    /// The tiers, in the order in which they are asked.
    pub tiers: Vec<Arc<Tiered>>,
    /// The zstd level of what is packed for tiers.
    pub zstd_level: i32,
    /// Who signs here, and who is trusted.
    pub signing: Signing,
    /// How often something was stored, and a signal of it.
    pub stored: (Mutex<u64>, Condvar),
    flights: Flights<Reply>,
    /// Of records that stand in the local store now: where they came from.
    origins: Mutex<HashMap<Key, Origin>>,
    pool: Pool,
    /// Where it listens, until it leaves.
    seat: Mutex<Option<Seat>>,
    log: Mutex<Log>,
    used: Mutex<Instant>,
    connected: AtomicUsize,
    /// Threads that wait for a connection.
    accepting: AtomicUsize,
    is_leaving: AtomicBool,
}

/// Where a record came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The number of the tier.
    pub tier: usize,
    /// The [`fingerprint`] of what it had.
    pub contents: u128,
}

/// Tells a body from others under the same key.
pub fn fingerprint(body: &[u8]) -> u128 {
    xxh3_128(body)
}

/// A socket and the lock beside it.
struct Seat {
    socket: PathBuf,
    _lock: File,
}

impl Drop for Seat {
    /// The lock goes last, and with its file: whoever waits for it looks whether it stands there.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
        let _ = fs::remove_file(lock_path(&self.socket));
    }
}

fn lock_path(socket: &Path) -> PathBuf {
    socket.with_extension("lock")
}

/// Runs the binary.
pub fn main() -> ! {
    let what = env::args().nth(1);
    let ended = match what.as_deref() {
        Some("serve") => serve(&Config::load()),
        Some("once") => once(&Config::load()),
        Some("new-key") => {
            signing::generate().map(|key| println!("{key}")).map_err(io::Error::other)
        }
        Some("--version") => {
            println!("{PROGRAM} {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        _ => {
            eprintln!(
                "{PROGRAM} is started by larder, to speak with remote tiers; see `larder agent`"
            );
            exit(2)
        }
    };
    if let Err(error) = &ended {
        eprintln!("{PROGRAM}: {error}");
    }
    exit(i32::from(ended.is_err()))
}

fn serve(config: &Config) -> io::Result<()> {
    let path = directory(config)?;
    let store = opened(config, path)?;
    let socket = place::socket(path, config)?;
    let Some(own) = locked(&lock_path(&socket))? else { return Ok(()) };
    let seat = Seat { socket: socket.clone(), _lock: own };
    let _ = rustix::process::setsid();
    let agent = Arc::new(Agent::new(config, path, store)?);
    let followers: Vec<_> =
        (0..agent.tiers.len()).filter_map(|at| uploads::Follower::new(&agent, at)).collect();
    let _ = fs::remove_file(&socket);
    let listener = Arc::new(UnixListener::bind(&socket)?);
    *lock(&agent.seat) = Some(seat);
    agent.attend(&listener);
    agent.log(format_args!("agent: listens at {}", socket.display()));
    for follower in followers {
        thread::spawn(move || follower.run());
    }
    let idle = env::var(AGENT_IDLE_VARIABLE).ok().and_then(|text| text.parse().ok());
    let idle = Duration::from_secs(idle.unwrap_or(IDLE_SECS));
    // Without its store it is of no use.
    let is_there = || Store::uuid_at(path) == Some(agent.store.uuid());
    while !agent.is_leaving() && !agent.is_idle(idle) && is_there() {
        agent.stay(&listener);
    }
    agent.leave();
    let begun = Instant::now();
    agent.stay(&listener);
    while agent.connected.load(Ordering::Relaxed) > 0 && begun.elapsed() < IDLE_LAST {
        agent.stay(&listener);
    }
    agent.log(format_args!("agent: leaves"));
    Ok(())
}

/// As long as an agent that leaves serves those who came at the last moment.
const IDLE_LAST: Duration = Duration::from_secs(30);

/// One request from stdin, answered on stdout.
fn once(config: &Config) -> io::Result<()> {
    let path = directory(config)?;
    let agent = Arc::new(Agent::new(config, path, opened(config, path)?)?);
    let Some(request) = Request::receive(&mut io::stdin().lock())? else { return Ok(()) };
    let reply = agent.answer(&request).unwrap_or(Reply::Done);
    let mut stdout = io::stdout().lock();
    reply.send(&mut stdout)?;
    stdout.flush()
}

fn directory(config: &Config) -> io::Result<&Path> {
    config.dir.value.as_deref().ok_or_else(|| io::Error::other("no store is named"))
}

fn opened(config: &Config, path: &Path) -> io::Result<Store> {
    open_store(config, path).map_err(|error| io::Error::other(error.to_string()))
}

/// The lock of a socket, `None` if another agent has it.
fn locked(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // One that leaves takes its file away: the lock of that is nobody's.
        let inode = file.metadata()?.ino();
        if fs::metadata(path).is_ok_and(|there| there.ino() == inode) {
            return Ok(Some(file));
        }
    }
}

impl Agent {
    fn new(config: &Config, path: &Path, store: Store) -> io::Result<Agent> {
        let mut tiers = Vec::new();
        let mut log = Log::new(config.log.value.clone());
        let signing = Signing::new(config, &mut log);
        for tier in &config.tiers.value {
            let take = |bytes| store.take_room(bytes).unwrap_or(false);
            let state = TierState::open(path, tier, take);
            let state = state.ok_or_else(|| io::Error::other("there is no room for counts"))?;
            let client = tier.open().unwrap_or_else(|error| {
                log.line(format_args!("agent: {error}"));
                Box::new(Unopened(error))
            });
            tiers.push(Arc::new(Tiered::new(tier.clone(), state, client)));
        }
        let mut number = [0; 8];
        number.copy_from_slice(&store.uuid()[..8]);
        Ok(Agent {
            store_number: u64::from_le_bytes(number),
            store,
            tiers,
            zstd_level: config.zstd_level(),
            signing,
            stored: Default::default(),
            flights: Flights::new(),
            origins: Mutex::default(),
            pool: Pool::default(),
            seat: Mutex::default(),
            log: Mutex::new(log),
            used: Mutex::new(Instant::now()),
            connected: AtomicUsize::new(0),
            accepting: AtomicUsize::new(0),
            is_leaving: AtomicBool::new(false),
        })
    }

    /// Writes to larder's log.
    pub fn log(&self, text: std::fmt::Arguments<'_>) {
        lock(&self.log).line(text);
    }

    /// Whether the agent is about to end.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// From now on another one may listen, and this one only ends what it has begun.
    fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        drop(lock(&self.seat).take());
    }

    /// Whether a tier is written to at all.
    pub fn writes(&self, at: usize) -> bool {
        self.signing.may_write() && self.tiers[at].is_written()
    }

    fn is_idle(&self, idle: Duration) -> bool {
        self.connected.load(Ordering::Relaxed) == 0
            && lock(&self.used).elapsed() >= idle
            && (0..self.tiers.len()).all(|at| uploads::is_at_rest(self, at))
    }

    /// Waits a moment, and sees that connections are accepted.
    fn stay(self: &Arc<Self>, listener: &Arc<UnixListener>) {
        // The system may have had no thread to give.
        if self.accepting.load(Ordering::Relaxed) == 0 {
            self.attend(listener);
        }
        thread::sleep(LOOK);
    }

    /// Lets one more thread accept connections.
    fn attend(self: &Arc<Self>, listener: &Arc<UnixListener>) {
        let (agent, listener) = (self.clone(), listener.clone());
        self.pool.run(move || while agent.accept(&listener) {});
    }

    /// Serves the next connection; `false` if enough other threads wait for more.
    fn accept(self: &Arc<Self>, listener: &Arc<UnixListener>) -> bool {
        if self.accepting.fetch_add(1, Ordering::Relaxed) >= ACCEPTING_MAX {
            self.accepting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let accepted = listener.accept();
        if accepted.is_err() {
            // Without files or memory: perhaps there is some later.
            thread::sleep(LOOK);
        }
        let was_last = self.accepting.fetch_sub(1, Ordering::Relaxed) == 1;
        let Ok((stream, _)) = accepted else { return true };
        self.connected.fetch_add(1, Ordering::Relaxed);
        let _left = Left(self);
        if was_last {
            self.attend(listener);
        }
        if check_peer(&stream).is_ok() {
            self.converse(stream);
        }
        true
    }

    /// Answers until the other side has gone.
    fn converse(self: &Arc<Self>, mut stream: UnixStream) {
        loop {
            match Request::receive(&mut stream) {
                Ok(Some(request)) => {
                    // Who only looks needs nobody.
                    if request != Request::Status {
                        *lock(&self.used) = Instant::now();
                    }
                    let Some(reply) = self.answer(&request) else { continue };
                    if reply.send(&mut stream).is_err() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => return self.log(format_args!("agent: a call ended: {error}")),
            }
        }
    }

    fn answer(self: &Arc<Self>, request: &Request) -> Option<Reply> {
        match request {
            Request::Get { kind, from, key } => Some(self.get(*kind, *from, key)),
            Request::Stored => {
                *lock(&self.stored.0) += 1;
                self.stored.1.notify_all();
                None
            }
            Request::Sync(keys) => Some(uploads::sync(self, keys)),
            Request::Flush { wait_ms } => {
                Some(uploads::flush(self, Duration::from_millis(*wait_ms)))
            }
            Request::Status => Some(Reply::Text(self.status())),
            Request::Stop => {
                self.leave();
                Some(Reply::Done)
            }
        }
    }

    fn status(&self) -> String {
        let mut text = format!("pid {}\n", std::process::id());
        let shown = |number: Option<u64>| number.map_or("-".to_owned(), |n| n.to_string());
        for at in 0..self.tiers.len() {
            let usage = self.tiers[at].usage();
            let (used, max) = (shown(usage.used_bytes), shown(usage.bytes_max));
            text.push_str(&format!("tier {} {used} {max}\n", uploads::waiting(self, at)));
        }
        text
    }

    /// Where a record came from that is in the store now, if that is remembered.
    pub fn origin(&self, key: &Key) -> Option<Origin> {
        lock(&self.origins).get(key).copied()
    }

    fn get(self: &Arc<Self>, kind: RecordKind, from: u8, key: &Key) -> Reply {
        let asked = self.flights.join((*key, from), || self.fetch(kind, from, key));
        asked.unwrap_or_else(|| Reply::Failed("the agent has failed".to_owned()))
    }

    /// Asks the tiers from one on, and puts what the first of them has into the store.
    fn fetch(self: &Arc<Self>, kind: RecordKind, from: u8, key: &Key) -> Reply {
        // Another wrapper, or a prefetch, may have been first.
        if kind != RecordKind::Manifest && self.store.contains(key).unwrap_or(false) {
            return Reply::Found(self.origin(key).map_or(0, |origin| origin.tier) as u8);
        }
        let mut has_answer = false;
        for (at, tier) in self.tiers.iter().enumerate().skip(from as usize) {
            let wanted = *key;
            let body = match tier.call(Side::Reads, move |client| client.get(&wanted)) {
                Ok(Some(body)) => body,
                Ok(None) => {
                    has_answer = true;
                    tier.state.add(Count::Misses, 1);
                    continue;
                }
                Err(Unanswered::Failed(error)) => {
                    self.log(format_args!("agent: {error}"));
                    continue;
                }
                Err(Unanswered::Skipped) => continue,
            };
            has_answer = true;
            match self.take(at, kind, key, &body) {
                Some(Taken::Dropped) => return Reply::Absent,
                // What is known may have come after the wrapper looked.
                Some(Taken::Stored | Taken::Known) => return Reply::Found(at as u8),
                None => {}
            }
        }
        match has_answer {
            true => Reply::Absent,
            false => Reply::Failed("no tier can be asked".to_owned()),
        }
    }

    /// Other tiers are filled by those who write behind. The only one has it: there it is enough
    /// that the log is looked at now and then.
    fn tell_stored(&self) {
        if self.tiers.len() > 1 {
            *lock(&self.stored.0) += 1;
            self.stored.1.notify_all();
        }
    }

    fn remember(&self, key: &Key, origin: Origin) {
        let mut origins = lock(&self.origins);
        if origins.len() >= ORIGINS_MAX {
            origins.clear();
        }
        origins.insert(*key, origin);
    }

    /// Puts what a tier has into the store, and counts it; `None` if that is no use.
    fn take(
        self: &Arc<Self>,
        at: usize,
        kind: RecordKind,
        key: &Key,
        body: &[u8],
    ) -> Option<Taken> {
        let tier = &self.tiers[at];
        tier.state.add(Count::BytesRead, body.len() as u64);
        if !self.is_trusted(at, key, body) {
            return None;
        }
        // Before it is stored: who writes behind must not take it for one that was made here.
        self.remember(key, Origin { tier: at, contents: fingerprint(body) });
        let taken = self.store_checked(kind, key, body);
        tier.note_value(taken.is_ok());
        match taken {
            Ok(taken) => {
                tier.state.add(Count::Hits, 1);
                if taken == Taken::Stored {
                    tier.state.add(Count::BackfillsOut, 1);
                    self.tell_stored();
                }
                Some(taken)
            }
            Err(error) => {
                lock(&self.origins).remove(key);
                let name = tier.settings.name();
                self.log(format_args!("agent: {name}: what it has for {key} is no use: {error}"));
                None
            }
        }
    }

    /// Whether what a tier has is signed as it has to be there. What is not is counted.
    pub fn is_trusted(&self, at: usize, key: &Key, body: &[u8]) -> bool {
        let tier = &self.tiers[at];
        let Err(why) = self.signing.check(tier.settings.signatures(), body) else { return true };
        tier.state.add(Count::Refused, 1);
        self.log(format_args!("agent: {}: {key} is refused: {why}", tier.settings.name()));
        false
    }

    /// Checks what a tier has, and puts it into the store.
    fn store_checked(
        self: &Arc<Self>,
        kind: RecordKind,
        key: &Key,
        body: &[u8],
    ) -> Result<Taken, String> {
        let put = match kind {
            RecordKind::Manifest => match carry::merge(&self.store, key, body)? {
                Merge::New(remote) => {
                    self.prefetch(&remote);
                    self.store.put_body_of(key, &[kind], body)
                }
                Merge::Known => return Ok(Taken::Known),
                Merge::Both { remote, both, namespace } => {
                    self.prefetch(&remote);
                    carry::put_both(&self.store, key, &both, &namespace)
                }
            },
            _ => self.store.put_body_of(key, &[kind], body),
        };
        self.taken(put)
    }

    /// What became of a value that was put into the store.
    fn taken(&self, put: larder_engine::Result<Put>) -> Result<Taken, String> {
        match put {
            Ok(Put::Stored) => Ok(Taken::Stored),
            Ok(Put::Dropped(why)) => {
                self.log(format_args!("agent: not stored: {why}"));
                Ok(Taken::Dropped)
            }
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NewerFormat) => {
                Err(error.to_string())
            }
            Err(error) => {
                self.log(format_args!("agent: not stored: {error}"));
                Ok(Taken::Dropped)
            }
        }
    }

    /// Fetches what the newest variant leads to while the wrapper looks at its inputs.
    fn prefetch(self: &Arc<Self>, manifest: &Manifest) {
        let Some(newest) = manifest.newest_first().next() else { return };
        let (agent, key) = (self.clone(), newest.result);
        if !self.store.contains(&key).unwrap_or(true) {
            self.pool.run(move || {
                agent.get(RecordKind::Result, 0, &key);
            });
        }
    }
}

/// What became of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Stored,
    /// The store has all of it.
    Known,
    /// The store has no room.
    Dropped,
}

/// A connection that ends, however it does.
struct Left<'a>(&'a Agent);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Ordering::Relaxed);
    }
}
