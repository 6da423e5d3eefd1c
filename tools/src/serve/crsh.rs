//! ccache's protocol for storage helpers, version 1: ccache keeps its results in a store of larder.
//! Source: ccache, doc/remote_storage_helper_spec.md.
//!
//! ```text
//! greeting = 1, u8 count, capability*              0 get, put, remove; 1 info; 2 exists
//! request  = 0 key                                 get       -> 0 value | 1 | error
//!          | 1 key flags value                     put       -> 0 | 1 | error
//!          | 2 key                                 remove    -> 0 | 1 | error
//!          | 3                                     stop      -> 0
//!          | 4                                     info      -> message, u8 count, message*
//!          | 5 key                                 exists    -> 0 | 1 | error
//! key      = u8 length, bytes      value = u64 length, bytes      message = u8 length, UTF-8
//! flags    = 1: overwrite          error = 2 message
//! ```
//!
//! Numbers are in the order of the machine.
//!
//! 1. One helper serves an endpoint: it holds a lock beside the socket, and a second one ends with
//!    an error. A socket that was left behind is replaced.
//! 2. Each connection has a thread; its requests are answered in their order. What is said that is
//!    no request gets an error and ends the connection; no other one notices.
//! 3. A length says nothing of memory: a value grows with the bytes that have come, up to
//!    [`VALUE_BYTES_MAX`].
//! 4. A key of 20 bytes is that of an entry of ccache, the same that `larder convert` reads and
//!    writes. What is damaged in the store is a miss.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use larder_engine::{Budget, Key, Put, Store};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FlockOperation, Mode, flock};

use crate::entry::{Entry, Family, Name, Part, Time};
use crate::layout::check::check;
use crate::layout::{foreign, mixed, name_of};

/// The version of the protocol, and what is offered.
const GREETING: [u8; 5] = [1, 3, 0, 1, 2];
const GET: u8 = 0;
const PUT: u8 = 1;
const REMOVE: u8 = 2;
const STOP: u8 = 3;
const INFO: u8 = 4;
const EXISTS: u8 = 5;
const OK: u8 = 0;
const NOOP: u8 = 1;
const ERROR: u8 = 2;
/// A bit of the flags of a put.
const OVERWRITE: u8 = 1;
/// A value is no longer than this: ccache writes no longer entries.
pub const VALUE_BYTES_MAX: u64 = 4 << 30;
/// What is read of a value before there is room for more.
const PIECE_BYTES: u64 = 1 << 20;
/// Connections at a time; of more the last ones are closed at once.
const CLIENTS_MAX: usize = 512;
/// Text of a message.
const MESSAGE_BYTES_MAX: usize = 255;

/// A helper.
pub struct Helper {
    store: Store,
    /// What `info` tells.
    diagnostics: Vec<String>,
    started: Instant,
    /// Milliseconds after the start at which somebody last said something.
    heard_ms: AtomicU64,
    clients: AtomicUsize,
    upkeep: Mutex<()>,
}

/// A socket that is served by this process alone, and gone when it ends.
pub struct Endpoint {
    listener: UnixListener,
    path: PathBuf,
    lock: PathBuf,
    _held: File,
}

impl Endpoint {
    /// Takes an endpoint.
    ///
    /// # Errors
    /// If another helper has it, or no socket can be made there.
    pub fn take(path: &Path) -> io::Result<Endpoint> {
        let mut lock = path.as_os_str().to_owned();
        // ccache has files of its own beside the socket, NAME.lock and NAME.alive.
        lock.push(".larder");
        let lock = PathBuf::from(lock);
        let held = loop {
            let held = File::options().create(true).truncate(false).write(true).open(&lock)?;
            let taken = flock(&held, FlockOperation::NonBlockingLockExclusive);
            taken.map_err(|_| io::Error::other("another helper serves it"))?;
            // One that has just ended has taken the name away.
            let facts = held.metadata()?;
            let is_there = |now: fs::Metadata| (now.ino(), now.dev()) == (facts.ino(), facts.dev());
            if fs::metadata(&lock).is_ok_and(is_there) {
                break held;
            }
        };
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Nobody else may connect, not even for a moment.
        let before = rustix::process::umask(Mode::from_raw_mode(0o077));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = listener?;
        listener.set_nonblocking(true)?;
        Ok(Endpoint { listener, path: path.to_owned(), lock, _held: held })
    }

    fn leave(&self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(&self.lock);
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Helper {
    /// A helper for a store.
    pub fn new(store: Store, diagnostics: Vec<String>) -> Helper {
        Helper {
            store,
            diagnostics,
            started: Instant::now(),
            heard_ms: AtomicU64::new(0),
            clients: AtomicUsize::new(0),
            upkeep: Mutex::new(()),
        }
    }

    /// Serves until it is told to stop, or has heard nothing for so long; `None` is for ever.
    ///
    /// # Errors
    /// If the socket fails.
    pub fn serve(self, endpoint: Endpoint, idle: Option<Duration>) -> io::Result<()> {
        let (helper, endpoint) = (Arc::new(self), Arc::new(endpoint));
        loop {
            let left = idle.map(|idle| idle.saturating_sub(helper.silence()));
            if left.is_some_and(|left| left.is_zero()) {
                endpoint.leave();
                return Ok(());
            }
            // A thread may have heard something meanwhile: a second is not missed.
            let wait = left.unwrap_or(Duration::from_secs(60)) + Duration::from_millis(1);
            let wait = wait.try_into().map_err(io::Error::other)?;
            let ready = poll(&mut [PollFd::new(&endpoint.listener, PollFlags::IN)], Some(&wait));
            match ready {
                Err(rustix::io::Errno::INTR) => continue,
                other => drop(other?),
            }
            match endpoint.listener.accept() {
                Ok((stream, _)) => Helper::meet(&helper, &endpoint, stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // No descriptor is left: some client will go.
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// How long nobody has said anything.
    fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(heard)
    }

    fn note_heard(&self) {
        let now = self.started.elapsed().as_millis() as u64;
        self.heard_ms.fetch_max(now, Ordering::Relaxed);
    }

    fn meet(helper: &Arc<Helper>, endpoint: &Arc<Endpoint>, stream: UnixStream) {
        helper.note_heard();
        if helper.clients.fetch_add(1, Ordering::Relaxed) >= CLIENTS_MAX {
            helper.clients.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let (own, endpoint) = (Arc::clone(helper), Arc::clone(endpoint));
        let started = thread::Builder::new().spawn(move || {
            // How a client ends is its own matter.
            let _ = own.talk(&stream, &endpoint);
            own.clients.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            helper.clients.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// One connection, to its end.
    fn talk(&self, stream: &UnixStream, endpoint: &Endpoint) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        let (mut from, mut to) = (BufReader::new(stream), BufWriter::new(stream));
        to.write_all(&GREETING)?;
        to.flush()?;
        loop {
            let mut request = [0];
            if from.read(&mut request)? == 0 {
                return Ok(());
            }
            self.note_heard();
            match request[0] {
                GET => {
                    let key = read_key(&mut from)?;
                    match self.get(&key) {
                        Some(value) => {
                            to.write_all(&[OK])?;
                            to.write_all(&(value.len() as u64).to_ne_bytes())?;
                            to.write_all(&value)?;
                        }
                        None => to.write_all(&[NOOP])?,
                    }
                }
                PUT => {
                    let key = read_key(&mut from)?;
                    let flags = read_byte(&mut from)?;
                    match read_value(&mut from)? {
                        Some(value) => answer(&mut to, self.put(&key, value, flags))?,
                        // Where the next request would begin cannot be told.
                        None => {
                            error(&mut to, "the value is larger than 4 GiB")?;
                            return to.flush();
                        }
                    }
                }
                REMOVE => {
                    let key = read_key(&mut from)?;
                    answer(&mut to, self.remove(&key))?;
                }
                EXISTS => {
                    let key = read_key(&mut from)?;
                    answer(&mut to, self.found(&key).map(|found| found.is_some()))?;
                }
                INFO => self.info(&mut to)?,
                STOP => {
                    to.write_all(&[OK])?;
                    let _ = to.flush();
                    endpoint.leave();
                    std::process::exit(0);
                }
                other => {
                    error(&mut to, &format!("request {other} is not known"))?;
                    return to.flush();
                }
            }
            to.flush()?;
            self.note_heard();
            self.maintain();
        }
    }

    /// The key in the store under which a key's entry stands: as ccache names it since 4.13, or as
    /// it did before.
    fn found(&self, key: &[u8]) -> Result<Option<Key>, String> {
        for name in names_of(key) {
            let key = foreign::key(&name);
            if self.store.contains(&key).map_err(words)? {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let record = self.store.get(&self.found(key).ok()??).ok()??;
        // What is damaged is no answer.
        let (_, _, parts) = foreign::places(record.sections()).ok()?;
        match parts[..] {
            [only] => record.read(only).ok(),
            // A result with raw files beside it cannot be told in one value.
            _ => None,
        }
    }

    /// Whether it was stored.
    fn put(&self, key: &[u8], value: Vec<u8>, flags: u8) -> Result<bool, String> {
        let Some(name) = names_of(key).into_iter().next() else {
            return Err("the key is empty".to_owned());
        };
        if flags & OVERWRITE == 0 && self.found(key)?.is_some() {
            return Ok(false);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Time { secs: now.as_secs() as i64, nanos: now.subsec_nanos() };
        let part = Part { label: String::new(), bytes: value, modified: Some(now), mode: None };
        let mut entry = Entry { name, level: None, parts: vec![part] };
        // What a value says of itself is of use, and no condition.
        let said = check(&mut entry).unwrap_or_default();
        match self.store.put(&foreign::record(&entry, &said)).map_err(words)? {
            Put::Stored => Ok(true),
            Put::Dropped(reason) => Err(reason.to_string()),
        }
    }

    /// Whether there was anything to remove.
    fn remove(&self, key: &[u8]) -> Result<bool, String> {
        let mut was_there = false;
        while let Some(key) = self.found(key)? {
            match self.store.remove(&key).map_err(words)? {
                Put::Stored => was_there = true,
                Put::Dropped(reason) => return Err(reason.to_string()),
            }
        }
        Ok(was_there)
    }

    /// What is due; one thread does it, and no other one waits.
    fn maintain(&self) {
        if !self.store.maintenance_due() {
            return;
        }
        match self.upkeep.try_lock() {
            Err(TryLockError::WouldBlock) => {}
            // A store that another process maintains, or that cannot be, serves nevertheless.
            _ => drop(self.store.maintain(Budget::due())),
        }
    }

    fn info(&self, to: &mut impl Write) -> io::Result<()> {
        let identity = concat!("ccache-storage-larder ", env!("CARGO_PKG_VERSION"));
        message(to, identity)?;
        let count = self.diagnostics.len().min(usize::from(u8::MAX));
        to.write_all(&[count as u8])?;
        self.diagnostics.iter().take(count).try_for_each(|text| message(to, text))
    }
}

fn words(error: larder_engine::Error) -> String {
    error.to_string()
}

/// The names under which a key's entry may stand in a store, that of new ones first; none for a key
/// without a byte.
fn names_of(key: &[u8]) -> Vec<Name> {
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let names = match key.len() {
        20 => [name_of(Family::Ccache, &digits), name_of(Family::Ccache40, &mixed(key))],
        _ => [name_of(Family::CcacheKey, &digits), None],
    };
    names.into_iter().flatten().collect()
}

fn read_byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn read_key(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut key = vec![0; usize::from(read_byte(from)?)];
    from.read_exact(&mut key)?;
    Ok(key)
}

/// A value; `None` if it is longer than any is, and not read.
fn read_value(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let length = u64::from_ne_bytes(length);
    if length > VALUE_BYTES_MAX {
        return Ok(None);
    }
    let mut value = Vec::with_capacity(length.min(PIECE_BYTES) as usize);
    let count = from.take(length).read_to_end(&mut value)?;
    match count as u64 == length {
        true => Ok(Some(value)),
        false => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn answer(to: &mut impl Write, done: Result<bool, String>) -> io::Result<()> {
    match done {
        Ok(true) => to.write_all(&[OK]),
        Ok(false) => to.write_all(&[NOOP]),
        Err(what) => error(to, &what),
    }
}

fn error(to: &mut impl Write, what: &str) -> io::Result<()> {
    to.write_all(&[ERROR])?;
    message(to, what)
}

/// A text, as far as there is room for it.
fn message(to: &mut impl Write, text: &str) -> io::Result<()> {
    let text = &text[..text.floor_char_boundary(MESSAGE_BYTES_MAX)];
    to.write_all(&[text.len() as u8])?;
    to.write_all(text.as_bytes())
}

/// What a helper is started with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Start {
    /// Where it listens.
    pub endpoint: PathBuf,
    /// The store; `None` is that of larder's settings.
    pub store: Option<PathBuf>,
    /// After how long without a word it ends; `None` is never.
    pub idle: Option<Duration>,
    /// The largest size of the store.
    pub max_size_bytes: Option<u64>,
    /// What it does not understand.
    pub unknown: Vec<String>,
}

/// How long a helper waits for a word if nobody says it.
const IDLE: Duration = Duration::from_secs(600);
/// Attributes that are read.
const ATTRIBUTES_MAX: usize = 64;

impl Start {
    /// What the environment says.
    ///
    /// # Errors
    /// If something is missing or makes no sense.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Start, String> {
        let needed = |name: &str| {
            let what = "it is set by ccache, which starts this program";
            variable(name).filter(|text| !text.is_empty()).ok_or(format!("{name}: {what}"))
        };
        let mut start = Start { endpoint: needed("CRSH_IPC_ENDPOINT")?.into(), ..Start::default() };
        let url = needed("CRSH_URL")?;
        // Without a host ccache leaves its two slashes out.
        let path = url.strip_prefix("larder:").ok_or("CRSH_URL: it begins with larder:")?;
        let path = path.strip_prefix("//").unwrap_or(path);
        let path = path.strip_prefix("localhost").unwrap_or(path).trim_end_matches('/');
        start.store = match path {
            "" => None,
            path if path.starts_with('/') => Some(path.into()),
            _ => return Err("CRSH_URL: it is larder:///PATH, or larder:// alone".to_owned()),
        };
        start.idle = match variable("CRSH_IDLE_TIMEOUT") {
            None => Some(IDLE),
            Some(text) => match text.parse() {
                Ok(0) => None,
                Ok(secs) => Some(Duration::from_secs(secs)),
                Err(_) => return Err(format!("CRSH_IDLE_TIMEOUT: {text} is no number")),
            },
        };
        let count = variable("CRSH_NUM_ATTR").and_then(|text| text.parse().ok()).unwrap_or(0);
        for number in 0..ATTRIBUTES_MAX.min(count) {
            let key = variable(&format!("CRSH_ATTR_KEY_{number}")).unwrap_or_default();
            let value = variable(&format!("CRSH_ATTR_VALUE_{number}")).unwrap_or_default();
            match (&*key, larder::config::parse_size(&value)) {
                ("max-size", Some(bytes)) => start.max_size_bytes = Some(bytes),
                ("max-size", None) => {
                    return Err(format!("the attribute max-size: {value} is no size, as 20Gi"));
                }
                _ => start.unknown.push(key),
            }
        }
        Ok(start)
    }
}

/// Runs the helper that the environment describes.
///
/// # Errors
/// What is wrong, as a sentence.
pub fn run() -> Result<(), String> {
    let start = Start::read(|name| std::env::var(name).ok())?;
    // The socket first: ccache waits for it, and a second helper ends here.
    let shown = start.endpoint.display();
    let endpoint = Endpoint::take(&start.endpoint).map_err(|error| format!("{shown}: {error}"))?;
    let config = larder::config::Config::load();
    let path = match &start.store {
        Some(path) => path.clone(),
        None => larder::cli::command::store_directory(&config)
            .map_err(|failure| failure.text().to_owned())?
            .to_owned(),
    };
    let options = larder_engine::Options::new()
        .max_size_bytes(start.max_size_bytes.unwrap_or(config.max_size_bytes.value))
        .zstd_level(config.compression_level.value)
        .layout(larder_engine::RecordLayout::Raw)
        .file_mode(0o666 & !config.umask.value);
    let store = Store::open(&path, options).map_err(|error| larder::cli::command::words(&error))?;
    let mut diagnostics = vec![format!("results stand in {}", path.display())];
    if store.is_read_only() {
        diagnostics.push("the store is read-only: nothing is stored".to_owned());
    }
    let unknown = start.unknown.iter();
    diagnostics.extend(unknown.map(|name| format!("the attribute {name} is not known")));
    let helper = Helper::new(store, diagnostics);
    helper.serve(endpoint, start.idle).map_err(|error| format!("{shown}: {error}"))
}
