//! Stores of larder: entries of other tools, which are records of kind foreign, and its own.
//!
//! 1. Read in the order of the keys. The names of entries of other tools stand in their records, so
//!    listing reads the head of each.
//! 2. Written without another compression where an entry is compressed already, 64 records in one
//!    commit at most.
//! 3. Read by calls: what is mapped counts as memory of this process, in the end all of a store.
//! 4. Nothing is evicted for a conversion before its time: what the store drops because it is full
//!    is counted as such, and the upkeep is that of any store.

use std::path::Path;
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use larder::config::Config;
use larder_engine::{
    Budget, DropReason, EngineCounter, Key, Options, Put, ReadMode, Record, RecordKind,
    RecordLayout, Snapshot, Store,
};

use super::directory::same;
use super::{
    Fault, Finished, Item, Listed, Outgoing, Presence, Source, Stamp, Target, Trouble, fault,
};
use crate::entry::{Entry, Family, Name, Part};
use crate::layout::wrong::wrong;
use crate::layout::{foreign, is_raw};

/// Records of one commit; the engine takes no more.
const COMMIT_RECORDS_MAX: usize = 64;
/// Attempts to put what has no room, and the pause while another thread makes some: a second.
const ROOM_TRIES_MAX: u32 = 50;
const ROOM_PAUSE: Duration = Duration::from_millis(20);
/// How long another process may be busy with the store; a compile gives up far sooner.
const BUSY_WAIT: Duration = Duration::from_secs(30);
/// Level of zstd for what its tool has not compressed.
const ZSTD_LEVEL: i32 = 1;

/// A store that is read.
pub struct StoreSource {
    store: Store,
    snapshot: Snapshot,
}

impl StoreSource {
    /// The store at a path; nothing in it is changed.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn open(path: &Path) -> Result<StoreSource, Fault> {
        let options = Options::new().read_only(true).create(false).read_mode(ReadMode::Pread);
        let store = Store::open(path, options)?;
        let snapshot = store.snapshot()?;
        Ok(StoreSource { store, snapshot })
    }
}

/// The item of a record; `None` for a kind that is of no use elsewhere.
fn item_of(record: &Record) -> Result<Option<Item>, Trouble> {
    let item = |name, level, labels| Item { name, level, labels, at: 0, place: String::new() };
    match record.kind() {
        Some(RecordKind::Foreign) => {
            let (name_at, attributes_at, parts) = foreign::places(record.sections())?;
            let name = foreign::parse_name(&record.read(name_at)?)?;
            // Read by its name it would be another record, or none.
            if foreign::key(&name) != record.key() {
                wrong(format!("{name} stands under the key of another entry"))?;
            }
            let attributes = record.read(attributes_at)?;
            let (level, _) = foreign::parse_attributes(&attributes, parts.len())?;
            let label =
                |at: &usize| String::from_utf8_lossy(&record.sections()[*at].name).into_owned();
            Ok(Some(item(name, level, parts.iter().map(label).collect())))
        }
        Some(RecordKind::Tombstone) => Ok(None),
        _ => {
            let name = Name::new(Family::Larder, record.key().to_string());
            Ok(Some(item(name, None, vec![String::new()])))
        }
    }
}

/// The key of a name in a store.
pub fn key_of(name: &Name) -> Option<Key> {
    match name.family {
        Family::Larder => Key::from_hex(&name.text),
        _ => Some(foreign::key(name)),
    }
}

impl Source for StoreSource {
    fn kind(&self) -> &'static str {
        "a store of larder"
    }

    fn list(&self, _: usize) -> Result<Listed, Fault> {
        let mut listed = Listed::default();
        for record in self.snapshot.iter() {
            match item_of(&record) {
                Ok(Some(item)) => listed.items.push(item),
                Ok(None) => {}
                Err(trouble) => listed.troubles.push((record.key().to_string(), trouble)),
            }
        }
        Ok(listed)
    }

    fn stamp(&self, item: &Item) -> Option<Stamp> {
        let record = self.store.get(&key_of(&item.name)?).ok()??;
        stamp_of(&record, item.name.family)
    }

    fn read(&self, item: &Item) -> Result<Entry, Trouble> {
        let key = key_of(&item.name).ok_or(Trouble::Gone)?;
        let record = self.store.get(&key)?.ok_or(Trouble::Gone)?;
        if item.name.family != Family::Larder {
            let read = |at| record.read(at).map_err(Trouble::from);
            return foreign::entry(&key, record.sections(), read);
        }
        let part = Part {
            label: String::new(),
            bytes: record.portable_body(ZSTD_LEVEL)?,
            modified: None,
            mode: None,
        };
        Ok(Entry { name: item.name.clone(), level: None, parts: vec![part] })
    }
}

/// What the head of an entry of another tool tells; as everywhere, raw files have no say in when
/// it was used.
fn stamp_of(record: &Record, family: Family) -> Option<Stamp> {
    let (_, attributes_at, parts) = foreign::places(record.sections()).ok()?;
    let attributes = record.read(attributes_at).ok()?;
    let (_, facts) = foreign::parse_attributes(&attributes, parts.len()).ok()?;
    let bytes = parts.iter().map(|at| record.sections()[*at].real_bytes).sum();
    let is_main =
        |at: usize| !is_raw(family, &String::from_utf8_lossy(&record.sections()[at].name));
    let main = parts.iter().zip(&facts).filter(|(at, _)| is_main(**at));
    Some(Stamp { bytes, modified: main.filter_map(|(_, (time, _))| *time).max() })
}

/// A store that is written.
pub struct StoreTarget {
    /// Compresses what is not.
    packing: Store,
    /// Leaves everything as it is.
    raw: Store,
    /// What had been evicted when it was opened.
    evicted: u64,
    /// One writes at a time: a file system lets no two into a file, and they wait busily.
    writing: Mutex<()>,
}

fn evicted(store: &Store) -> u64 {
    store.counters().get(EngineCounter::SegmentsEvicted.id())
}

impl StoreTarget {
    /// The store at a path, made if it is missing, with the settings of larder.
    ///
    /// # Errors
    /// If it cannot be opened, or not be written.
    pub fn open(path: &Path, max_size_bytes: Option<u64>) -> Result<StoreTarget, Fault> {
        let config = Config::load();
        let options = Options::new()
            .max_size_bytes(max_size_bytes.unwrap_or(config.max_size_bytes.value))
            .zstd_level(config.compression_level.value)
            .file_mode(0o666 & !config.umask.value)
            .read_mode(ReadMode::Pread);
        let packing = Store::open(path, options.clone())?;
        if packing.is_read_only() {
            return fault(format!("{} cannot be written by this user", path.display()));
        }
        let raw = Store::open(path, options.layout(RecordLayout::Raw))?;
        let evicted = evicted(&packing);
        Ok(StoreTarget { packing, raw, evicted, writing: Mutex::new(()) })
    }

    fn upkeep(&self) -> Result<(), Fault> {
        if self.packing.maintenance_due() || self.raw.maintenance_due() {
            match self.packing.maintain(Budget::due()) {
                Err(error) if error.is_busy() => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Puts records; where they have no room, upkeep makes some, unless that does not help, and
    /// who is busy with the store is waited for.
    fn put_with_room(
        &self,
        store: &Store,
        records: &[larder_engine::Entry<'_>],
    ) -> Result<larder_engine::Result<Put>, Fault> {
        let put = || {
            // Compression takes longer than what it leaves to write.
            let _alone = ptr::eq(store, &self.raw)
                .then(|| self.writing.lock().unwrap_or_else(PoisonError::into_inner));
            store.put_all(records)
        };
        with_room(&self.packing, put, |put| match put {
            Ok(Put::Dropped(reason)) => Some(*reason),
            _ => None,
        })
    }

    fn write_foreign(
        &self,
        store: &Store,
        batch: &[(usize, &Outgoing)],
        done: &mut [Result<(), Trouble>],
    ) -> Result<(), Fault> {
        for chunk in batch.chunks(COMMIT_RECORDS_MAX) {
            let records: Vec<_> = chunk
                .iter()
                .map(|(_, outgoing)| foreign::record(&outgoing.entry, &outgoing.said))
                .collect();
            let put = self.put_with_room(store, &records)?;
            let is_too_much = match &put {
                Ok(Put::Dropped(DropReason::Full)) => true,
                Err(error) => error.kind() == larder_engine::ErrorKind::Limit,
                _ => false,
            };
            if is_too_much && chunk.len() > 1 {
                // One of them is too large for a store, or all of them for what is left before the
                // store evicts: the others are not.
                for one in chunk {
                    self.write_foreign(store, &[*one], done)?;
                }
                continue;
            }
            for (at, _) in chunk {
                done[*at] = match &put {
                    Ok(put) => outcome(*put),
                    Err(error) if error.kind() == larder_engine::ErrorKind::Limit => {
                        Err(Trouble::TooLarge(error.to_string()))
                    }
                    Err(error) => Err(Trouble::Failed(error.to_string())),
                };
            }
        }
        Ok(())
    }
}

/// Does what may be dropped, again where there is no room, or somebody is busy with the store.
///
/// # Errors
/// If upkeep fails.
pub fn with_room<T>(
    store: &Store,
    mut put: impl FnMut() -> T,
    dropped: impl Fn(&T) -> Option<DropReason>,
) -> Result<T, Fault> {
    let started = Instant::now();
    let mut tries_left = ROOM_TRIES_MAX;
    loop {
        let done = put();
        match dropped(&done) {
            Some(DropReason::Busy) if started.elapsed() < BUSY_WAIT => thread::sleep(ROOM_PAUSE),
            Some(DropReason::Full | DropReason::Closed) if tries_left > 0 => {
                tries_left = if make_room(store)? { tries_left - 1 } else { 0 };
            }
            _ => return Ok(done),
        }
    }
}

/// Upkeep that makes room; false if it has nothing to give.
fn make_room(store: &Store) -> Result<bool, Fault> {
    match store.maintain(Budget::due()) {
        Err(error) if !error.is_busy() => Err(error.into()),
        Ok(done) if !done.busy => Ok(done.segments_evicted > 0 || done.merged),
        // Another thread is at it.
        _ => {
            thread::sleep(ROOM_PAUSE);
            Ok(true)
        }
    }
}

fn outcome(put: Put) -> Result<(), Trouble> {
    match put {
        Put::Stored => Ok(()),
        Put::Dropped(DropReason::ReadOnly) => {
            Err(Trouble::Failed("the store is read-only".to_owned()))
        }
        Put::Dropped(reason) => Err(Trouble::Failed(format!("the store drops it: {reason}"))),
    }
}

impl Target for StoreTarget {
    fn has(&self, item: &Item, stamp: &dyn Fn() -> Option<Stamp>) -> Result<Presence, Fault> {
        let Some(key) = key_of(&item.name) else { return Ok(Presence::Absent) };
        let Some(record) = self.raw.get(&key)? else { return Ok(Presence::Absent) };
        Ok(match (item.name.family, stamp_of(&record, item.name.family)) {
            (Family::Larder, _) => Presence::Same,
            (_, Some(found)) => same(stamp(), found),
            (_, None) => Presence::Other,
        })
    }

    fn write(&self, batch: &[Outgoing]) -> Result<Vec<Result<(), Trouble>>, Fault> {
        let mut done: Vec<Result<(), Trouble>> = vec![Ok(()); batch.len()];
        let numbered = || batch.iter().enumerate();
        let of = |is_compressed: bool| {
            let is_wanted = move |outgoing: &Outgoing| {
                outgoing.entry.name.family != Family::Larder
                    && outgoing.said.is_compressed == is_compressed
            };
            numbered().filter(move |(_, outgoing)| is_wanted(outgoing)).collect::<Vec<_>>()
        };
        self.write_foreign(&self.raw, &of(true), &mut done)?;
        self.write_foreign(&self.packing, &of(false), &mut done)?;
        for (at, outgoing) in numbered() {
            if outgoing.entry.name.family == Family::Larder {
                let put = self.raw.put_body(&outgoing.entry.parts[0].bytes);
                done[at] = put.map_err(Trouble::from).and_then(outcome);
            }
        }
        self.upkeep()?;
        Ok(done)
    }

    fn evicted_segments(&self) -> u64 {
        evicted(&self.packing).saturating_sub(self.evicted)
    }

    fn finish(&self) -> Result<Finished, Fault> {
        match self.packing.checkpoint() {
            Err(error) if error.is_busy() => {}
            other => other?,
        }
        Ok(Finished::default())
    }
}
