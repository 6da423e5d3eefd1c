//! What an open store consists of. The processes above work on it; it has no decisions of its own.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::clones::Clones;
use crate::counters::{Counters, EngineCounter};
use crate::env::{Device, Env, LockTable, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::superblock::Superblock;
use crate::index::Index;
use crate::job::Job;
use crate::key::Key;
use crate::limits::{CLONEABLE_SECTION_BYTES_MIN, CURRENT_TRIES_MAX};
use crate::location::{Location, class_bytes};
use crate::log::{Log, TailFile};
use crate::options::{Options, ReadMode, RecordLayout};
use crate::recency::{Hits, Recency};
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
    /// Whether nobody may: what was exported stays as it is.
    pub sealed: bool,
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
    job: OnceLock<Option<Job>>,
    clones: OnceLock<Option<Clones>>,
    device: OnceLock<Device>,
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
            sealed: block.is_sealed(),
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
            job: OnceLock::new(),
            clones: OnceLock::new(),
            device: OnceLock::new(),
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
    pub fn recency(&self) -> Option<&Recency> {
        let open = |mode| Recency::open(&*self.env, &self.path, mode, self.segment_bytes);
        let made = || match self.writable {
            true => self.open_or_make(open).ok(),
            false => open(OpenMode::Read).ok(),
        };
        self.recency.get_or_init(made).as_ref()
    }

    /// What is remembered for cloning, if a put has made the file for it.
    pub fn clones(&self) -> Option<&Clones> {
        let mode = if self.writable { OpenMode::Write } else { OpenMode::Read };
        self.clones.get_or_init(|| self.open_clones(mode)).as_ref()
    }

    /// Makes the file for what is remembered for cloning, where it is missing.
    pub fn make_clones(&self) {
        if self.clones.get().is_none_or(Option::is_none) && self.writable {
            let _ = self.open_clones(self.open_mode());
        }
    }

    fn open_clones(&self, mode: OpenMode) -> Option<Clones> {
        Clones::open(&*self.env, &self.path, &self.uuid, mode).ok()
    }

    /// From how many bytes on a section is cloned, or stored so that it can be; `None` where
    /// nothing is.
    pub fn clone_bytes_min(&self) -> Option<u64> {
        self.options.clone_bytes_min.or_else(|| self.device().clone_bytes_min())
    }

    /// Whether the record there may have a section that is cloned.
    pub fn may_clone(&self, location: Location) -> bool {
        let bytes = class_bytes(location.class);
        self.options.layout == RecordLayout::Cloneable
            && bytes >= CLONEABLE_SECTION_BYTES_MIN as u64
            && self.clone_bytes_min().is_some_and(|bytes_min| bytes >= bytes_min)
    }

    /// The kind of the store's disk; to find out takes longer than a clone.
    fn device(&self) -> Device {
        *self.device.get_or_init(|| self.find_device())
    }

    fn find_device(&self) -> Device {
        let clones = self.clones();
        if let Some(known) = clones.and_then(Clones::device) {
            return known;
        }
        let device = self.env.device(&self.path);
        if let Some(clones) = clones.filter(|_| self.writable) {
            clones.note_device(device);
        }
        device
    }

    /// Notes a hit in the recency bits, where they can be kept.
    pub fn touch(&self, location: Location) {
        if !self.writable {
            return;
        }
        if let Some(recency) = self.recency() {
            // A hit that cannot be noted is still a hit.
            let _ = recency.touch(location);
        }
    }

    /// A job of this store, `None` if there is none of that id.
    ///
    /// # Errors
    /// See [`Job::open`].
    pub fn job(&self, id: &str) -> Result<Option<Job>> {
        let mode = if self.writable { OpenMode::Write } else { OpenMode::Read };
        Job::open(&*self.env, &self.path, id, self.short_uuid(), mode)
    }

    /// The first bytes of the uuid, as other files than segments have them.
    pub fn short_uuid(&self) -> u64 {
        crate::coding::read_u64(&self.uuid, 0).unwrap_or(0)
    }

    /// Notes a key in the job of this process, if it is part of one.
    pub fn note_in_job(&self, key: &Key) {
        let Some(id) = self.options.job.as_deref().filter(|_| self.writable) else { return };
        // What cannot be noted costs a trim's precision, not the compile.
        if let Some(job) = self.job.get_or_init(|| self.job(id).ok().flatten()) {
            job.note(key);
        }
    }

    /// What was hit in a segment since it grew old, as far as that is known.
    pub fn hits(&self, segment: u32) -> Hits {
        let hits = self.recency().and_then(|recency| recency.hits(segment).ok());
        hits.unwrap_or_else(Hits::none)
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

    /// Bytes of the disk blocks that a store like this one takes at least, whatever goes.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn disk_bytes_without_entries(&self) -> Result<u64> {
        let index = self.path.join(crate::index::FILE_NAME);
        let index_bytes = self.env.sizes(&index).map_or(0, |sizes| sizes.disk_bytes);
        Ok(self.other_files_bytes()?.saturating_sub(index_bytes))
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

    /// Whether a segment that is not there was evicted, after the superblock was read by which it
    /// lives.
    ///
    /// # Errors
    /// If the superblock cannot be read.
    pub fn is_evicted(&self, segment: u32) -> Result<bool> {
        Ok(segment < self.superblock.read()?.oldest_live)
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
