//! The store as its users see it. Decides when the processes below run; each method is a few lines.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use crate::append::{self, Outgoing, Put};
use crate::counters::{Counters, EngineCounter};
use crate::env::{Claim, Env, OpenMode, RealEnv, RealFile};
use crate::error::{Error, ErrorKind, Result};
use crate::eviction;
use crate::export::{self, Export, Exported};
use crate::follow::{self, LogPart, LogPosition};
use crate::format::body::{Entry, RecordKind};
use crate::handle::Handle;
use crate::janitor::{self, Budget, Maintained, Repaired, Trim, Trimmed};
use crate::jobs::{self, JobInfo};
use crate::key::Key;
use crate::limits::PUT_ALL_RECORDS_MAX;
use crate::lookup::{self, Reading};
use crate::merging;
use crate::options::{Options, ReadMode};
use crate::record::Record;
use crate::recovery;
use crate::restore::{self, Restored, Uncloned};
use crate::snapshot::{self, Snapshot};
use crate::state::{self, State};
use crate::superblock::SuperblockFile;
use crate::transfer;
use crate::verify::{self, VerifyReport};

/// An open store. Any number of processes and threads may have one open at once.
///
/// ```
/// use larder_engine::{Entry, Key, Options, Put, RecordKind, Section, SectionKind, Store};
///
/// let directory = tempfile::tempdir()?;
/// let store = Store::open(&directory.path().join("store"), Options::new())?;
/// let key = Key::of(b"gcc -c x.c");
/// let object = Section::new(SectionKind::Object, b"\x7fELF...".as_slice()).mode(0o644);
/// assert_eq!(store.put(&Entry::new(key, RecordKind::Result, vec![object]))?, Put::Stored);
///
/// let record = store.get(&key)?.expect("just stored");
/// assert_eq!(record.read(0)?, b"\x7fELF...");
/// assert!(store.get(&Key::of(b"something else"))?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Store {
    handle: Arc<Handle>,
    followed: Mutex<follow::Known>,
}

/// Sizes and counts of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Entries: those of the tree and those waiting to be merged, superseded ones of the latter
    /// too.
    pub entries: u64,
    /// Disk bytes of the whole directory.
    pub disk_bytes: u64,
    /// Disk bytes of the index.
    pub index_bytes: u64,
    /// Bound of `disk_bytes`.
    pub max_size_bytes: u64,
    /// Size of a segment in bytes.
    pub segment_bytes: u64,
    /// Live segments.
    pub segments: u64,
    /// Live segments that are not in the tree.
    pub unmerged_segments: u64,
    /// Bytes reserved since the last checkpoint.
    pub bytes_since_checkpoint: u64,
    /// When the store was made, in seconds since 1970.
    pub created_secs: u64,
}

impl Store {
    /// Opens the store at `path`, making it if the directory is missing or empty. A directory that
    /// cannot be written is opened for reading.
    ///
    /// # Errors
    /// `NotAStore` (the directory holds something else), `NewerFormat`, `OtherKernel`, `Busy`
    /// (another process is recovering it), `Corrupt` (no copy of the superblock is valid), `Limit`
    /// (an option is out of bounds), `Io`, `Full`.
    pub fn open(path: &Path, options: Options) -> Result<Store> {
        Self::open_with(Arc::new(RealEnv), path, options)
    }

    /// The same in another environment, for tests that inject faults.
    ///
    /// # Errors
    /// See [`Store::open`].
    pub fn open_with(env: Arc<dyn Env>, path: &Path, options: Options) -> Result<Store> {
        let handle = Arc::new(recovery::open(env, path, options)?);
        Ok(Store { handle, followed: Mutex::default() })
    }

    /// The number of the store that stands at `path` now, which need not be opened for that; `None`
    /// if there is none.
    pub fn uuid_at(path: &Path) -> Option<[u8; 16]> {
        let file = SuperblockFile::open(&RealEnv, path, OpenMode::Read, ReadMode::Pread).ok()?;
        Some(file.glance().ok()?.uuid)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.handle.path
    }

    /// Whether puts are dropped because the store cannot be written.
    pub fn is_read_only(&self) -> bool {
        !self.handle.writable
    }

    /// Whether it was exported: its directory stays as it is, also for what others keep beside.
    pub fn is_sealed(&self) -> bool {
        self.handle.sealed
    }

    /// The newest record of a key; its sections are checked when they are read. What is damaged is
    /// a counted miss.
    ///
    /// # Errors
    /// `Io` if the disk fails, `Corrupt` if the superblock is lost.
    pub fn get(&self, key: &Key) -> Result<Option<Record>> {
        let Some(found) = lookup::find(&self.handle, key, Reading::Ahead)? else { return Ok(None) };
        if found.is_old {
            self.handle.touch(found.record.location());
        }
        self.handle.note_in_job(key);
        Ok(Some(found.record))
    }

    /// Whether there is a record of a key; its sections are not read.
    ///
    /// # Errors
    /// See [`Store::get`].
    pub fn contains(&self, key: &Key) -> Result<bool> {
        Ok(lookup::find(&self.handle, key, Reading::Head)?.is_some())
    }

    /// Notes a hit, so that eviction may keep the record. `get` does it; callers need it only for
    /// records that they got from a snapshot.
    pub fn touch(&self, record: &Record) {
        let Ok(block) = self.handle.superblock.read() else { return };
        if lookup::is_old(record, &block) {
            self.handle.touch(record.location());
        }
    }

    /// Stores an entry. It is there for every process as soon as this returns [`Put::Stored`].
    ///
    /// # Errors
    /// `Limit` if the entry is too large. `Io` once, if the disk refuses: later puts of this handle
    /// are dropped until it is reopened.
    pub fn put(&self, entry: &Entry<'_>) -> Result<Put> {
        self.put_all(std::slice::from_ref(entry))
    }

    /// Stores entries next to each other in one commit: one cold read brings them all.
    ///
    /// # Errors
    /// See [`Store::put`]; `Limit` too for none or more than 64 entries.
    pub fn put_all(&self, entries: &[Entry<'_>]) -> Result<Put> {
        if entries.is_empty() || entries.len() > PUT_ALL_RECORDS_MAX {
            return Err(Error::new(ErrorKind::Limit, "put_all takes 1 to 64 entries"));
        }
        let outgoing: Vec<Outgoing<'_>> = entries
            .iter()
            .map(|entry| transfer::outgoing(&self.handle, entry))
            .collect::<Result<_>>()?;
        let put = self.append(&outgoing)?;
        if put == Put::Stored {
            let sections = entries.iter().flat_map(|entry| &entry.sections);
            let real_bytes: usize = sections.map(|section| section.data.len()).sum();
            let bytes: usize = outgoing.iter().map(|record| record.body.len()).sum();
            self.counters().add(EngineCounter::PutBytes.id(), bytes as u64);
            self.counters().add(EngineCounter::PutRealBytes.id(), real_bytes as u64);
        }
        Ok(put)
    }

    fn append(&self, records: &[Outgoing<'_>]) -> Result<Put> {
        let put = append::append(&self.handle, records)?;
        if put == Put::Stored {
            records.iter().for_each(|record| self.handle.note_in_job(&record.key));
        }
        Ok(put)
    }

    /// Stores a body that comes from another store, byte for byte, after checking all of it.
    ///
    /// # Errors
    /// `Corrupt` if anything about it is wrong; see [`Store::put`].
    pub fn put_body(&self, body: &[u8]) -> Result<Put> {
        self.append(&[transfer::incoming(body)?])
    }

    /// Stores a body that another machine has sent as the value of `key`, byte for byte: if it is
    /// of one of these kinds, and nothing about it is odd. Besides what [`Store::put_body`] checks,
    /// names of sections are plain ones and different, modes are permissions, nothing stands
    /// between the sections, and decompression is bounded; docs/format.md has the conditions. A
    /// removal is never taken.
    ///
    /// # Errors
    /// `Corrupt` if anything is wrong, `NewerFormat`; see [`Store::put`].
    pub fn put_body_of(&self, key: &Key, kinds: &[RecordKind], body: &[u8]) -> Result<Put> {
        self.append(&[transfer::incoming_of(&self.handle, key, kinds, body)?])
    }

    /// Takes room from that of records for a file that the caller is about to make in the store's
    /// directory; `false` if there is none, or the store cannot be written. What the file takes in
    /// the end is counted by the next upkeep.
    ///
    /// # Errors
    /// `Busy` if a stopped process holds a lock, `Io`.
    pub fn take_room(&self, bytes: u64) -> Result<bool> {
        append::take_room(&self.handle, bytes)
    }

    /// Removes a key. The space comes back when its segment is evicted.
    ///
    /// # Errors
    /// See [`Store::put`].
    pub fn remove(&self, key: &Key) -> Result<Put> {
        self.put(&Entry::new(*key, RecordKind::Tombstone, Vec::new()))
    }

    /// Restores a section to a file: written beside, given its mode, renamed.
    ///
    /// # Errors
    /// `Corrupt` if the section is damaged, `Io` if the file cannot be made.
    ///
    /// # Panics
    /// If the record has no section of that number.
    pub fn restore(&self, record: &Record, section: usize, path: &Path) -> Result<Restored> {
        restore::restore(&self.handle, record, section, path)
    }

    /// Whether a section can be restored by [`Store::clone_into`], or why not. If it can, it has
    /// been checked under this kernel, now or before its last clone.
    ///
    /// # Errors
    /// `Corrupt` if the section is damaged, `Io`.
    ///
    /// # Panics
    /// If the record has no section of that number.
    pub fn can_clone(
        &self,
        record: &Record,
        section: usize,
    ) -> Result<std::result::Result<(), Uncloned>> {
        restore::can_clone(&self.handle, record, section)
    }

    /// Fills an empty file with a section that [`Store::can_clone`]: its blocks are shared with the
    /// store until one of them is changed in the file. If the kernel refuses, the file is empty.
    ///
    /// # Errors
    /// `Io` or `Full` if the file cannot be written.
    ///
    /// # Panics
    /// If the record has no section of that number.
    pub fn clone_into(
        &self,
        record: &Record,
        section: usize,
        file: &RealFile,
    ) -> Result<std::result::Result<(), Uncloned>> {
        restore::clone_into(record, section, file)
    }

    /// Says that this process is about to make the value of `key`, so that others that ask the same
    /// may wait for it; waits at most `wait_ms_max` for one that has said so. `None` after that
    /// time, and for a store that is read only. A claim that is dropped, or whose process dies, is
    /// over. It is advice: nothing keeps anybody from putting the key.
    ///
    /// # Errors
    /// `Busy` while somebody recovers the store, `Io` if the file system knows no locks.
    pub fn claim(&self, key: &Key, wait_ms_max: u64) -> Result<Option<Claim<'_>>> {
        let mut hash = [0; 8];
        hash.copy_from_slice(&key.as_bytes()[..8]);
        match self.handle.locks()? {
            Some(locks) => locks.claim(u64::from_le_bytes(hash), wait_ms_max),
            None => Ok(None),
        }
    }

    /// Every key at this moment.
    ///
    /// # Errors
    /// `Corrupt` if the index is damaged, `Io`.
    pub fn snapshot(&self) -> Result<Snapshot> {
        snapshot::take(&self.handle)
    }

    /// The number that the store was given when it was made: a store that takes its place in the
    /// directory has another one.
    pub fn uuid(&self) -> [u8; 16] {
        self.handle.uuid
    }

    /// The position behind the last committed record: what is committed from now on comes after
    /// it. It costs a sync of the superblock whenever segments were closed since the last call.
    ///
    /// # Errors
    /// `ReadOnly` for a store that is only read, `Busy` if a stopped process holds a lock, `Io`.
    pub fn log_end(&self) -> Result<LogPosition> {
        let mut known = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        follow::log_end(&self.handle, &mut known)
    }

    /// The records that were committed after a position, in the order of their commits, at most
    /// `count_max` of them. Every record comes once, if each part begins at the end of the one
    /// before, in this process or another; a power cut, and a repair of damage, may have some of
    /// them come again, and lose only what the store loses. No hit is noted.
    ///
    /// # Errors
    /// See [`Store::log_end`]. No position is an error: one from before the oldest record begins
    /// there, and so does one that this store cannot have given.
    pub fn records_after(&self, from: LogPosition, count_max: usize) -> Result<LogPart> {
        let mut known = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        follow::records_after(&self.handle, &mut known, from, count_max)
    }

    /// Counters of the store: ids below 512 are the caller's, see [`EngineCounter`] for the others.
    pub fn counters(&self) -> &Counters {
        self.handle.counters()
    }

    /// The engine's counters by name.
    pub fn engine_counters(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counters = self.counters();
        EngineCounter::ALL.iter().map(|counter| (counter.name(), counters.get(counter.id())))
    }

    /// Sizes and counts.
    ///
    /// # Errors
    /// `Io`.
    pub fn stats(&self) -> Result<Stats> {
        let handle = &self.handle;
        let block = handle.superblock.read()?;
        let meta = handle.index()?.meta()?;
        let first = merging::first_unmerged(meta.as_ref(), &block);
        let mut unmerged_entries = 0;
        for id in first..block.next_segment {
            if let Ok(Some(segment)) = handle.log.segment(id) {
                unmerged_entries += segment.table()?.slots.len() as u64;
            }
        }
        let tail = handle.tail().and_then(|tail| tail.read()).unwrap_or_default();
        Ok(Stats {
            entries: meta.map_or(0, |meta| meta.entries) + unmerged_entries,
            disk_bytes: handle.disk_bytes()?,
            index_bytes: handle.index()?.disk_bytes()?,
            max_size_bytes: handle.options.max_size_bytes,
            segment_bytes: handle.segment_bytes,
            segments: u64::from(block.next_segment - block.oldest_live),
            unmerged_segments: u64::from(block.next_segment.saturating_sub(first)),
            bytes_since_checkpoint: tail.map_or(0, |tail| tail.written_bytes),
            created_secs: block.created_secs,
        })
    }

    /// Whether a put of this handle saw work for [`Store::maintain`].
    pub fn maintenance_due(&self) -> bool {
        self.handle.maintenance_due.load(Ordering::Relaxed)
    }

    /// Whether somebody is at that work just now, so that [`Store::maintain`] would do nothing.
    pub fn is_being_maintained(&self) -> bool {
        janitor::is_at_work(&self.handle)
    }

    /// Seals, merges, evicts and makes checkpoints, as far as that is due. One process at a time
    /// does it, others return at once.
    ///
    /// # Errors
    /// `Io` if the disk refuses, `Busy` if a stopped process holds a lock; the store is whole
    /// nevertheless.
    pub fn maintain(&self, budget: Budget) -> Result<Maintained> {
        janitor::maintain(&self.handle, budget)
    }

    /// Makes everything durable that is committed now: for machines that are switched off.
    ///
    /// # Errors
    /// `Busy` if another process maintains the store, `Io`.
    pub fn checkpoint(&self) -> Result<()> {
        janitor::checkpoint(&self.handle)
    }

    /// Reads everything and says what is damaged; `progress` hears how many bytes of segments are
    /// done, of how many. Others may go on writing meanwhile.
    ///
    /// # Errors
    /// `Io` if the disk fails in a way that says nothing about a place. Damage is no error.
    pub fn verify(&self, mut progress: impl FnMut(u64, u64)) -> Result<VerifyReport> {
        Ok(verify::verify(&self.handle, &mut progress)?.report)
    }

    /// What the parts of the store say, and who holds which lock.
    ///
    /// # Errors
    /// `Io`, `Corrupt` if the superblock is lost.
    pub fn state(&self) -> Result<State> {
        state::read(&self.handle)
    }

    /// Verifies, drops what is damaged, rebuilds what says the same elsewhere, and verifies again.
    /// What is whole stays; a value that was older than a dropped one does not come back, where
    /// that can be known. docs/verify.md says what is done about which damage.
    ///
    /// # Errors
    /// `ReadOnly`, `Busy` if another process maintains the store, `Full` if there is no room to
    /// note what was dropped, `Io`.
    pub fn repair(&self, mut progress: impl FnMut(u64, u64)) -> Result<Repaired> {
        janitor::repair(&self.handle, &mut progress)
    }

    /// Drops every record. Counters stay.
    ///
    /// # Errors
    /// `ReadOnly`, `Busy` if another process maintains the store, `Io`.
    pub fn clear(&self) -> Result<()> {
        janitor::clear(&self.handle)
    }

    /// Begins a job: from now on what processes get and put that were opened with
    /// [`Options::job`] and this id is noted. Of more than 16 jobs the oldest is forgotten. The id
    /// consists of 1 to 64 letters, digits, dots, hyphens and underscores.
    ///
    /// # Errors
    /// `ReadOnly`, `Limit` if there is a job of that id or that is none, `Full`, `Busy`, `Io`.
    pub fn start_job(&self, id: &str) -> Result<()> {
        jobs::start(&self.handle, id)
    }

    /// Every job, the oldest first; damaged ones are left out.
    ///
    /// # Errors
    /// `Io`.
    pub fn jobs(&self) -> Result<Vec<JobInfo>> {
        jobs::list(&self.handle)
    }

    /// Forgets a job; whether there was one.
    ///
    /// # Errors
    /// `ReadOnly`, `Limit` if that is no id, `Io`.
    pub fn end_job(&self, id: &str) -> Result<bool> {
        jobs::end(&self.handle, id)
    }

    /// Drops entries; `progress` hears how many bytes are done, of how many. What others put
    /// meanwhile stays, and `max_size` holds. What is kept of the segments that go is appended
    /// again and on the disk before they go, so neither a kill nor a power cut costs more than the
    /// entries that were to go.
    ///
    /// # Errors
    /// `ReadOnly`, `Busy` if another process maintains the store, `Limit` if a job is not known or
    /// its set is full or if no store can be as small as that, `Full` if what is kept has no room,
    /// `Io`.
    pub fn trim(&self, trim: &Trim, mut progress: impl FnMut(u64, u64)) -> Result<Trimmed> {
        janitor::trim(&self.handle, trim, &mut progress)
    }

    /// Exports the newest record of each key to a directory, as a [sealed store](crate::sealed)
    /// that [`Store::open`] opens for reading; of an earlier export there only what is new is
    /// written. `progress` hears how many steps are done, of how many. The store stays as it is.
    ///
    /// # Errors
    /// `NotAStore` if the directory holds something else, `NewerFormat`, `Limit` if the job is not
    /// known or its set is full, `Busy` if somebody exports there, `Io`, `Full`.
    pub fn export(
        &self,
        to: &Path,
        how: &Export<'_>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Exported> {
        export::export(&self.handle, to, how, &mut progress)
    }

    /// As [`Store::export`], to somebody who takes the files of the export one after the other:
    /// `take` gets the name of each and its bytes, the manifest last. Nothing is written to a disk.
    ///
    /// # Errors
    /// `Limit` if the job is not known or its set is full, `Io`, also where `take` fails.
    pub fn export_stream(
        &self,
        mut take: impl FnMut(&str, &[u8]) -> std::io::Result<()>,
        how: &Export<'_>,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Exported> {
        export::stream(&self.handle, &mut take, how, &mut progress)
    }

    /// Disk bytes as the tail knows them: cheaper and less exact than [`Store::stats`].
    ///
    /// # Errors
    /// `Io`.
    pub fn used_bytes(&self) -> Result<u64> {
        let tail = self.handle.tail()?.read()?;
        Ok(tail.map_or(0, |tail| eviction::used_bytes(&self.handle, &tail)))
    }
}
