//! Looking a key up.
//!
//! 1. Read the superblock (which segments live) and the newest meta (which of them are in the tree).
//! 2. Ask the slot tables of the others, then the tree: every place that may hold the key's prefix.
//! 3. Read the records there; of those with the full key the highest sequence number wins.
//! 4. Where a newer commit of the key may hide in damaged bytes (a slot, a page, a record), the answer
//!    is a miss, counted: an older value is not the value of the key.

use std::sync::Arc;

use crate::counters::EngineCounter;
use crate::error::Result;
use crate::format::body::RecordKind;
use crate::format::index::{IndexEntry, Meta};
use crate::handle::Handle;
use crate::key::Key;
use crate::limits::{CANDIDATES_MAX, INDEX_RETRIES_MAX};
use crate::location::Location;
use crate::record::Record;

/// The places that may hold a key, and whether a newer one may be hidden by damage.
#[derive(Debug, Default)]
struct Candidates {
    locations: Vec<Location>,
    hidden: bool,
}

/// Finds the newest record of `key`.
///
/// # Errors
/// `Io` if the superblock cannot be read. What is damaged is a counted miss.
pub fn find(handle: &Arc<Handle>, key: &Key) -> Result<Option<Record>> {
    let mut found = Candidates::default();
    let oldest_live = candidates(handle, key, &mut found)?;
    let newest = newest_of(handle, key, &found, oldest_live);
    match newest {
        Ok(record) => Ok(record.filter(|record| record.kind() != Some(RecordKind::Tombstone))),
        Err(Damaged) => {
            handle.count(EngineCounter::Damaged);
            Ok(None)
        }
    }
}

/// Something on the way to the newest record is damaged.
#[derive(Debug)]
struct Damaged;

fn newest_of(
    handle: &Arc<Handle>,
    key: &Key,
    found: &Candidates,
    oldest_live: u32,
) -> std::result::Result<Option<Record>, Damaged> {
    let mut newest: Option<Record> = None;
    for location in found.locations.iter().take(CANDIDATES_MAX) {
        if location.segment < oldest_live {
            continue;
        }
        let segment = match handle.log.segment(location.segment) {
            Ok(Some(segment)) => segment,
            // Evicted since the superblock was read.
            Ok(None) => continue,
            Err(_) => return Err(Damaged),
        };
        let record = segment.record(*location).map_err(|_| Damaged)?;
        let newer = newest.as_ref().is_none_or(|other| other.sequence() < record.frame.sequence);
        if record.head.key == *key && newer {
            newest = Some(Record::new(handle, segment, *location, record));
        }
    }
    if found.hidden { Err(Damaged) } else { Ok(newest) }
}

/// Collects the places of a key; returns the oldest live segment.
fn candidates(handle: &Handle, key: &Key, found: &mut Candidates) -> Result<u32> {
    let index = handle.index()?;
    let mut last_transaction = None;
    for _ in 0..INDEX_RETRIES_MAX {
        let block = handle.superblock.read()?;
        // The meta is read before the tables: tables outlive their merge, so whatever it does not
        // have is in a table.
        let meta = index.meta()?;
        *found = Candidates::default();
        search_tables(handle, key, meta.as_ref(), block.oldest_live, block.next_segment, found)?;
        let Some(meta) = meta else { return Ok(block.oldest_live) };
        let mut entries = Vec::new();
        let prefix = key.prefix();
        if index.range(&meta, prefix, prefix, &mut entries)?.is_ok() {
            found.locations.extend(entries.into_iter().map(IndexEntry::location));
            return Ok(block.oldest_live);
        }
        if last_transaction.replace(meta.transaction) == Some(meta.transaction) {
            // Nobody has moved on: the page itself is damaged.
            found.hidden = true;
            return Ok(block.oldest_live);
        }
        handle.count(EngineCounter::Overtaken);
    }
    found.hidden = true;
    Ok(0)
}

/// Asks the slot tables of the segments that are not in the tree.
fn search_tables(
    handle: &Handle,
    key: &Key,
    meta: Option<&Meta>,
    oldest_live: u32,
    next_segment: u32,
    found: &mut Candidates,
) -> Result<()> {
    let first = meta.map_or(oldest_live, |meta| meta.merged_below.max(oldest_live));
    for id in first..next_segment {
        match handle.log.segment(id) {
            Ok(Some(segment)) => {
                found.hidden |= !segment.find_slots(key, &mut found.locations)?;
            }
            Ok(None) => {}
            Err(error) if error.is_corrupt() => found.hidden = true,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
