//! What an open store consists of. The processes above work on it; it has no decisions of its own.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::counters::{Counters, EngineCounter};
use crate::env::{Env, LockTable, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::superblock::Superblock;
use crate::index::Index;
use crate::limits::CURRENT_TRIES_MAX;
use crate::location::Location;
use crate::log::{Log, TailFile};
use crate::options::{Options, ReadMode};
use crate::recency::Recency;
use crate::superblock::SuperblockFile;
use crate::window::Ahead;

/// An open store.
#[derive(Debug)]
pub struct Handle {
    /// The environment.
    pub env: Arc<dyn Env>,
    /// The directory.
    pub path: PathBuf,
    /// How it was opened.
    pub options: Options,
    /// Whether this handle may write.
    pub writable: bool,
    /// The store's uuid.
    pub uuid: [u8; 16],
    /// Size of a segment in bytes.
    pub segment_bytes: u64,
    /// The superblock.
    pub superblock: SuperblockFile,
    /// The segments.
    pub log: Log,
    /// When a writer was last seen, as far as this handle knows.
    pub heartbeat_secs: AtomicU64,
    /// The epoch, as far as this handle knows.
    pub epoch: AtomicU32,
    /// See [`Superblock::used_below`], as far as this handle knows.
    pub used_below: AtomicU32,
    /// Set after a write failed: this handle writes no more.
    pub poisoned: AtomicBool,
    /// Set when a put saw work for the janitor, or a recovery left some.
    pub maintenance_due: AtomicBool,
    locks: OnceLock<LockTable>,
    tail: OnceLock<TailFile>,
    index: OnceLock<Index>,
    ahead: Arc<Ahead>,
    counters: OnceLock<Counters>,
    recency: OnceLock<Option<Recency>>,
}

impl Handle {
    /// Puts the parts together. The lazily opened ones cost nothing until they are used.
    pub fn new(
        env: Arc<dyn Env>,
        path: PathBuf,
        options: Options,
        writable: bool,
        superblock: SuperblockFile,
        block: &Superblock,
    ) -> Self {
        let ahead = Arc::new(Ahead::new(options.prefetch_bytes));
        let log_ahead = ahead.clone();
        let log = Log::new(env.clone(), &path, block.uuid, writable, options.read_mode, log_ahead);
        Handle {
            writable,
            uuid: block.uuid,
            segment_bytes: u64::from(block.segment_bytes),
            superblock,
            log,
            heartbeat_secs: AtomicU64::new(block.heartbeat_secs),
            epoch: AtomicU32::new(block.epoch),
            used_below: AtomicU32::new(block.used_below),
            poisoned: AtomicBool::new(false),
            maintenance_due: AtomicBool::new(writable && !block.suspects().is_empty()),
            locks: OnceLock::new(),
            tail: OnceLock::new(),
            index: OnceLock::new(),
            ahead,
            counters: OnceLock::new(),
            recency: OnceLock::new(),
            env,
            path,
            options,
        }
    }

    /// The same with locks that hold `life` already.
    pub fn with_locks(self, locks: LockTable) -> Self {
        let _ = self.locks.set(locks);
        self
    }

    /// The locks, with `life` held shared from the first call on; `None` for a store that is only
    /// read.
    ///
    /// # Errors
    /// `Busy` if another process recovers the store, `OtherKernel` if another boot has taken it
    /// over since it was opened, `Io` if the file system knows no locks.
    pub fn locks(&self) -> Result<Option<&LockTable>> {
        if !self.writable {
            return Ok(None);
        }
        get_or_try_init(&self.locks, || {
            let locks = LockTable::open(&self.env, &self.path, self.options.file_mode)?;
            let failed = |kind, what: &str| Err(Error::new(kind, what).at_path(&self.path));
            if !locks.share_life()? {
                return failed(ErrorKind::Busy, "another process recovers the store");
            }
            if self.superblock.read()?.boot_id != self.env.boot_id() {
                return failed(ErrorKind::OtherKernel, "another kernel has taken the store over");
            }
            Ok(locks)
        })
        .map(Some)
    }

    /// The mode for opening files of this store.
    pub fn open_mode(&self) -> OpenMode {
        if self.writable { OpenMode::Create(self.options.file_mode) } else { OpenMode::Read }
    }

    /// The tail.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn tail(&self) -> Result<&TailFile> {
        get_or_try_init(&self.tail, || {
            TailFile::open(
                &*self.env,
                &self.path,
                self.uuid,
                self.open_mode(),
                self.options.read_mode,
            )
        })
    }

    /// The index.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn index(&self) -> Result<&Index> {
        get_or_try_init(&self.index, || {
            self.open_or_make(|mode| {
                let read_mode = self.options.read_mode;
                Index::open_ahead(&*self.env, &self.path, self.uuid, mode, read_mode, &self.ahead)
            })
        })
    }

    /// Opens a file that mostly is there: asking for it to be made costs more, and locks the
    /// directory.
    fn open_or_make<T>(&self, open: impl Fn(OpenMode) -> Result<T>) -> Result<T> {
        match open(if self.writable { OpenMode::Write } else { OpenMode::Read }) {
            Err(error) if error.is_not_found() && self.writable => open(self.open_mode()),
            // Since the store was opened, its disk has become one that is only read.
            Err(error) if error.kind() == ErrorKind::ReadOnly => open(OpenMode::Read),
            other => other,
        }
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        self.counters.get_or_init(|| {
            Counters::open(&*self.env, &self.path, self.options.file_mode, self.writable)
        })
    }

    /// Counts something that the engine did or met.
    pub fn count(&self, counter: EngineCounter) {
        self.counters().count(counter);
    }

    /// The recency bits; `None` where they cannot be kept.
    fn recency(&self) -> Option<&Recency> {
        let open = || {
            let open = |mode| Recency::open(&*self.env, &self.path, mode, self.segment_bytes);
            self.open_or_make(open).ok()
        };
        self.recency.get_or_init(|| if self.writable { open() } else { None }).as_ref()
    }

    /// Notes a hit in the recency bits, where they can be kept.
    pub fn touch(&self, location: Location) {
        if let Some(recency) = self.recency() {
            // A hit that cannot be noted is still a hit.
            let _ = recency.touch(location);
        }
    }

    /// Bytes of the disk blocks of the whole store.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn disk_bytes(&self) -> Result<u64> {
        let segments: u64 =
            self.log.ids()?.into_iter().map(|id| self.log.sizes(id).disk_bytes).sum();
        Ok(self.other_files_bytes()? + segments)
    }

    /// The same with the segments as large as they will be when what is reserved in them has been
    /// written, and without one of them.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn occupied_bytes(&self, except: Option<u32>) -> Result<u64> {
        let ids = self.log.ids()?.into_iter().filter(|id| Some(*id) != except);
        let segments: u64 = ids.map(|id| self.log.occupied_bytes(id)).sum();
        Ok(self.other_files_bytes()? + segments)
    }

    /// Bytes of the disk blocks of everything but the segments.
    fn other_files_bytes(&self) -> Result<u64> {
        let files: u64 = self
            .env
            .list(&self.path)?
            .iter()
            .filter(|name| *name != crate::log::DIRECTORY_NAME)
            .filter_map(|name| self.env.sizes(&self.path.join(name)).ok())
            .map(|sizes| sizes.disk_bytes)
            .sum();
        // The two directories themselves.
        Ok(files + 2 * crate::limits::PAGE_BYTES as u64)
    }

    /// Whether the path still leads to this store. A store that was deleted while it was open lives
    /// on without names; whatever is made or unlinked by name belongs to its successor. So it does
    /// if only the superblock was replaced.
    ///
    /// # Errors
    /// `NotAStore` if it does not.
    pub fn check_current(&self) -> Result<()> {
        let at_path = SuperblockFile::open(&*self.env, &self.path, OpenMode::Read, ReadMode::Pread);
        for _ in 0..CURRENT_TRIES_MAX {
            // Read in this order, the second can only be newer: if somebody else changes it just
            // now. A file of its own has generations of its own.
            let Ok(block) = self.superblock.read() else { break };
            let Ok(found) = at_path.as_ref().map_err(|_| ()).and_then(|s| s.read().map_err(drop))
            else {
                break;
            };
            if found.uuid != self.uuid {
                break;
            }
            if found.generation == block.generation {
                return Ok(());
            }
        }
        let what = "the store was deleted or replaced while it was open";
        Err(Error::new(ErrorKind::NotAStore, what).at_path(&self.path))
    }

    /// The suspect segments: those of a recovered store, or, where the handle only reads and nobody
    /// has recovered the store since the last boot, all that are not known to be durable.
    pub fn suspects(&self, block: &Superblock) -> Range<u32> {
        let known = block.suspects();
        match self.writable || block.boot_id == self.env.boot_id() {
            true => known,
            false => known.start..u32::MAX,
        }
    }

    /// Whether puts are dropped because a write failed.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Relaxed)
    }
}

fn get_or_try_init<T>(cell: &OnceLock<T>, init: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = init()?;
    Ok(cell.get_or_init(|| value))
}
