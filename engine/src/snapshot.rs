//! Snapshots: every key of the store at one moment, in order.
//!
//! The leaves of the tree and the slots of the unmerged segments are copied (about 16 bytes per
//! entry); the records are read when they are asked for. A record that has been evicted in the
//! meantime is left out, and so is a key whose newest record may be hidden by damage: an older
//! value is not the value of the key.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::counters::EngineCounter;
use crate::env::LockByte;
use crate::error::{Error, Result};
use crate::format::body::RecordKind;
use crate::format::index::IndexEntry;
use crate::handle::Handle;
use crate::key::{KEY_BYTES, Key};
use crate::limits::{INDEX_RETRIES_MAX, LOCK_WAIT_MS_MAX};
use crate::location::Location;
use crate::log::Segment;
use crate::record::Record;

/// The entries of a store at one moment.
#[derive(Debug)]
pub struct Snapshot {
    handle: Arc<Handle>,
    entries: Vec<IndexEntry>,
    damage: Vec<DamagedTable>,
    /// Segments in which a record counts only if all of it is whole, and damage hides nothing.
    suspects: Range<u32>,
}

/// A slot table in which a newer record of some keys may be hidden.
#[derive(Debug)]
struct DamagedTable {
    segment: Arc<Segment>,
    pages: Vec<u64>,
}

/// Takes a snapshot.
///
/// # Errors
/// `Corrupt` if the index or the head of a segment that is not in it is damaged, `Io`.
pub fn take(handle: &Arc<Handle>) -> Result<Snapshot> {
    // Under the index lock no merge can overtake the walk. Where the lock cannot be had, several
    // tries do as well.
    let locks = handle.locks().ok().flatten();
    let lock = locks.map(|locks| locks.lock(LockByte::Index, 10 * LOCK_WAIT_MS_MAX));
    for _ in 0..INDEX_RETRIES_MAX {
        // As look-ups see it: of a change that was cut short neither knows.
        let block = handle.superblock.glance()?;
        let meta = handle.index()?.meta()?;
        let mut entries = Vec::new();
        if let Some(meta) = &meta
            && handle.index()?.range(meta, 0, u64::MAX, &mut entries)?.is_err()
        {
            continue;
        }
        let first = meta.map_or(block.oldest_live, |meta| meta.merged_below.max(block.oldest_live));
        let mut damage = Vec::new();
        let suspects = handle.suspects(&block);
        for id in first..block.next_segment {
            let segment = match handle.log.segment(id) {
                Ok(Some(segment)) => segment,
                Ok(None) if suspects.contains(&id) || handle.is_evicted(id)? => continue,
                Ok(None) => {
                    let what = format!("segment {id} is missing");
                    return Err(Error::corrupt(what).at_path(&handle.path));
                }
                Err(error) if error.is_unreadable() && suspects.contains(&id) => continue,
                Err(error) => return Err(error),
            };
            let table = segment.table()?;
            entries.extend(table.slots.iter().map(|slot| IndexEntry {
                key_prefix: slot.key_prefix,
                place: slot.location.pack(),
            }));
            if !table.damaged_pages.is_empty() && !suspects.contains(&id) {
                handle.count(EngineCounter::Damaged);
                damage.push(DamagedTable { segment, pages: table.damaged_pages });
            }
        }
        drop(lock);
        entries.retain(|entry| entry.location().segment >= block.oldest_live);
        entries.sort_unstable();
        entries.dedup();
        return Ok(Snapshot { handle: handle.clone(), entries, damage, suspects });
    }
    Err(Error::corrupt("the index is damaged; `larder janitor` rebuilds it").at_path(&handle.path))
}

impl Snapshot {
    /// Number of entries, superseded ones and tombstones that are not merged yet included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many keys have a newest record of one of these kinds; of most records nothing is read.
    pub fn count(&self, kinds: &[RecordKind]) -> u64 {
        let is_counted = |place: &&Location| kinds.iter().any(|kind| *kind as u8 == place.kind);
        self.places().iter().filter(is_counted).count() as u64
    }

    /// Where the newest record of each key stands, in the order of the log. Where a prefix is that
    /// of one entry only, that is not read.
    pub(crate) fn places(&self) -> Vec<Location> {
        let groups = self.entries.chunk_by(|a, b| a.key_prefix == b.key_prefix);
        let mut places: Vec<Location> = groups
            .flat_map(|group| match group {
                [only] => vec![only.location()],
                _ => self.newest_of_group(group).iter().map(Record::location).collect(),
            })
            .filter(|location| location.kind != RecordKind::Tombstone as u8)
            .collect();
        places.sort_unstable();
        places
    }

    /// The record at one of [`Snapshot::places`], of which only the head is read; `None` if it has
    /// been evicted.
    ///
    /// # Errors
    /// `Corrupt` if it is damaged, or damage may hide a newer one.
    pub(crate) fn record_at(&self, location: Location) -> Result<Option<Record>> {
        let Some(segment) = self.segment(location.segment)? else { return Ok(None) };
        if self.suspects.contains(&location.segment) {
            segment.check_record(location.offset())?;
        }
        let head = segment.record_head(location)?;
        let record = Record::new(&self.handle, segment, location, head);
        match self.may_be_hidden(&record) {
            true => Err(Error::corrupt("a newer record may be hidden by damage")),
            false => Ok(Some(record)),
        }
    }

    /// The newest record of each key, in the order of the log; what is damaged is left out.
    pub fn by_place(&self) -> impl Iterator<Item = Record> + '_ {
        self.places().into_iter().filter_map(|location| match self.record_at(location) {
            Ok(record) => record,
            Err(_) => {
                self.handle.count(EngineCounter::Damaged);
                None
            }
        })
    }

    /// The newest record of each key, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = Record> + '_ {
        self.records(&self.entries)
    }

    /// The newest record of each key that begins with `prefix`, in the order of keys.
    pub fn prefix<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = Record> + 'a {
        let bound = |fill: u8| {
            let mut bytes = [fill; KEY_BYTES];
            let count = prefix.len().min(KEY_BYTES);
            bytes[..count].copy_from_slice(&prefix[..count]);
            Key::from_bytes(bytes).prefix()
        };
        let (low, high) = (bound(0), bound(0xff));
        let start = self.entries.partition_point(|entry| entry.key_prefix < low);
        let end = self.entries.partition_point(|entry| entry.key_prefix <= high);
        self.records(&self.entries[start..end])
            .filter(move |record| record.key().as_bytes().starts_with(prefix))
    }

    fn records<'a>(&'a self, entries: &'a [IndexEntry]) -> impl Iterator<Item = Record> + 'a {
        entries
            .chunk_by(|a, b| a.key_prefix == b.key_prefix)
            .flat_map(|group| self.newest_of_group(group))
    }

    /// The newest record of each key among entries with one prefix; none if one is damaged, because
    /// it may be a newer one of any of these keys.
    fn newest_of_group(&self, group: &[IndexEntry]) -> Vec<Record> {
        let mut newest: BTreeMap<Key, Record> = BTreeMap::new();
        for entry in group {
            let record = match self.record(*entry) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error)
                    if error.is_unreadable()
                        && self.suspects.contains(&entry.location().segment) =>
                {
                    continue;
                }
                Err(_) => {
                    self.handle.count(EngineCounter::Damaged);
                    return Vec::new();
                }
            };
            let older = newest.get(&record.key());
            if older.is_none_or(|older| older.sequence() < record.sequence()) {
                newest.insert(record.key(), record);
            }
        }
        let is_value = |record: &Record| record.kind() != Some(RecordKind::Tombstone);
        newest
            .into_values()
            .filter(|record| is_value(record) && !self.may_be_hidden(record))
            .collect()
    }

    fn may_be_hidden(&self, record: &Record) -> bool {
        self.damage.iter().any(|table| {
            table.pages.contains(&table.segment.header.table_page_offset(&record.key()))
        })
    }

    /// The record of an entry, `None` if it has been evicted.
    fn record(&self, entry: IndexEntry) -> Result<Option<Record>> {
        let location = entry.location();
        let Some(segment) = self.segment(location.segment)? else { return Ok(None) };
        if self.suspects.contains(&location.segment) {
            segment.check_record(location.offset())?;
        }
        let record = segment.record(location)?;
        Ok(Some(Record::new(&self.handle, segment, location, record)))
    }

    /// A segment, `None` if it has been evicted.
    fn segment(&self, id: u32) -> Result<Option<Arc<Segment>>> {
        match self.handle.log.segment(id)? {
            Some(segment) => Ok(Some(segment)),
            None if self.handle.is_evicted(id)? => Ok(None),
            None => Err(Error::corrupt("a segment is missing")),
        }
    }
}
