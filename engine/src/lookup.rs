//! Looking a key up.
//!
//! 1. Read the superblock (which segments live) and the newest meta (which of them are in the
//!    tree).
//! 2. Ask the slot tables of the others, then the tree: every place that may hold the key's prefix.
//! 3. Read the records there; of those with the full key the highest sequence number wins.
//! 4. Where a newer commit of the key may hide in damaged bytes (a slot, a page, a record), the
//!    answer is a miss, counted: an older value is not the value of the key.

use std::ops::Range;
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
    /// From slot tables: by segment, and within one in the order of commits.
    in_tables: Vec<Location>,
    in_tree: Vec<Location>,
    hidden: bool,
}

/// A record and whether it stands in the older half of the log, where a hit is worth noting.
#[derive(Debug)]
pub struct Found {
    /// The record.
    pub record: Record,
    /// Whether its segment has grown old.
    pub is_old: bool,
}

/// How much of a record comes with its head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// What one read of its estimated length brings.
    Ahead,
    /// Nothing more.
    Head,
}

/// Finds the newest record of `key`.
///
/// # Errors
/// `Io` if the superblock cannot be read. What is damaged is a counted miss.
pub fn find(handle: &Arc<Handle>, key: &Key, reading: Reading) -> Result<Option<Found>> {
    let mut found = Candidates::default();
    let live = candidates(handle, key, &mut found)?;
    match newest_of(handle, key, &found, live.start, reading) {
        Ok(record) => Ok(record
            .filter(|record| record.kind() != Some(RecordKind::Tombstone))
            .map(|record| Found { is_old: is_old(&record, &live), record })),
        Err(Damaged) => {
            handle.count(EngineCounter::Damaged);
            Ok(None)
        }
    }
}

/// Whether a record stands in the older half of the live segments.
pub fn is_old(record: &Record, live: &Range<u32>) -> bool {
    record.location().segment < live.start + (live.end - live.start) / 2
}

/// Something on the way to the newest record is damaged.
#[derive(Debug)]
struct Damaged;

fn newest_of(
    handle: &Arc<Handle>,
    key: &Key,
    found: &Candidates,
    oldest_live: u32,
    reading: Reading,
) -> std::result::Result<Option<Record>, Damaged> {
    let mut newest: Option<Record> = None;
    let mut settled = None;
    // The slots of a page stand in the order of their commits, so from the end on the first record
    // of the key is the newest of its segment; a key that is written often costs no more reads.
    let newest_first = found.in_tables.iter().rev().map(|location| (location, true));
    let places = newest_first.chain(found.in_tree.iter().map(|location| (location, false)));
    let mut reads = 0;
    for (location, in_table) in places {
        if location.segment < oldest_live || settled == Some(location.segment) {
            continue;
        }
        reads += 1;
        if reads > CANDIDATES_MAX {
            return Err(Damaged);
        }
        let segment = match handle.log.segment(location.segment) {
            Ok(Some(segment)) => segment,
            // Evicted since the superblock was read.
            Ok(None) => continue,
            Err(_) => return Err(Damaged),
        };
        let record = match reading {
            Reading::Ahead => segment.record(*location),
            Reading::Head => segment.record_head(*location),
        };
        let record = record.map_err(|_| Damaged)?;
        if record.head.key != *key {
            continue;
        }
        settled = in_table.then_some(location.segment);
        if newest.as_ref().is_none_or(|other| other.sequence() < record.frame.sequence) {
            newest = Some(Record::new(handle, segment, *location, record));
        }
    }
    if found.hidden { Err(Damaged) } else { Ok(newest) }
}

/// Collects the places of a key; returns the live segments.
fn candidates(handle: &Handle, key: &Key, found: &mut Candidates) -> Result<Range<u32>> {
    let index = handle.index()?;
    let mut last_transaction = None;
    for _ in 0..INDEX_RETRIES_MAX {
        let block = handle.superblock.glance()?;
        let live = block.oldest_live..block.next_segment;
        // Others may have evicted; an open file of theirs would keep its disk blocks.
        handle.log.forget_below(live.start);
        // The meta is read before the tables: tables outlive their merge, so whatever it does not
        // have is in a table.
        let meta = index.meta()?;
        *found = Candidates::default();
        search_tables(handle, key, meta.as_ref(), live.start..block.used_below, found)?;
        let Some(meta) = meta else { return Ok(live) };
        let mut entries = Vec::new();
        let prefix = key.prefix();
        if index.range(&meta, prefix, prefix, &mut entries)?.is_ok() {
            found.in_tree.extend(entries.into_iter().map(IndexEntry::location));
            return Ok(live);
        }
        if last_transaction.replace(meta.transaction) == Some(meta.transaction) {
            // Nobody has moved on: the page itself is damaged.
            found.hidden = true;
            return Ok(live);
        }
        handle.count(EngineCounter::Overtaken);
    }
    found.hidden = true;
    Ok(0..0)
}

/// Asks the slot tables of the segments that are not in the tree.
fn search_tables(
    handle: &Handle,
    key: &Key,
    meta: Option<&Meta>,
    used: Range<u32>,
    found: &mut Candidates,
) -> Result<()> {
    let first = meta.map_or(used.start, |meta| meta.merged_below.max(used.start));
    for id in first..used.end {
        match handle.log.segment(id) {
            Ok(Some(segment)) => {
                found.hidden |= !segment.find_slots(key, &mut found.in_tables)?;
            }
            Ok(None) => {}
            Err(error) if error.is_corrupt() => found.hidden = true,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
