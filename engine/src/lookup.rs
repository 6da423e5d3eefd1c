//! Looking a key up.
//!
//! 1. Read the superblock (which segments live) and the newest meta (which of them are in the
//!    tree).
//! 2. Ask the slot tables of the others, then the tree: every place that may hold the key's prefix.
//! 3. Read the records there; of those with the full key the highest sequence number wins.
//! 4. Where a newer commit of the key may hide in damaged bytes (a slot, a page, a record), the
//!    answer is a miss, counted: an older value is not the value of the key.
//! 5. In a suspect segment it is the other way round: a record counts only if all of it is whole,
//!    and damage hides nothing, because what a power cut took was never promised.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::counters::EngineCounter;
use crate::error::{Error, Result};
use crate::format::body::RecordKind;
use crate::format::index::{IndexEntry, Meta};
use crate::format::segment::table_pages;
use crate::format::superblock::Superblock;
use crate::handle::Handle;
use crate::index::Index;
use crate::key::Key;
use crate::limits::{CANDIDATES_MAX, INDEX_RETRIES_MAX};
use crate::location::Location;
use crate::log::{RecordHead, Segment};
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
    /// What one read of its estimated length brings, or of what may be cloned the beginning.
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
    let block = candidates(handle, key, &mut found)?;
    match newest_of(handle, key, &found, &block, reading) {
        Ok(newest) => Ok(newest
            .map(|newest| Record::new(handle, newest.segment, newest.location, newest.record))
            .filter(|record| record.kind() != Some(RecordKind::Tombstone))
            .map(|record| Found { is_old: is_old(&record, &block), record })),
        Err(error) if error.is_unreadable() => {
            handle.count(EngineCounter::Damaged);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Where the newest record of `key` stands; `None` if there is none, or damage may hide it.
///
/// # Errors
/// `Io` if the superblock cannot be read.
pub fn place(handle: &Handle, key: &Key) -> Result<Option<Location>> {
    let mut found = Candidates::default();
    let block = candidates(handle, key, &mut found)?;
    let newest = newest_of(handle, key, &found, &block, Reading::Head);
    Ok(newest.ok().flatten().map(|newest| newest.location))
}

/// Whether hits of a record are noted: it stands in the older half of the live segments, or was
/// there when somebody began to ask what is used.
pub fn is_old(record: &Record, block: &Superblock) -> bool {
    let live = block.next_segment - block.oldest_live;
    record.location().segment < block.noted_below.max(block.oldest_live + live / 2)
}

/// The newest record of a key.
struct Newest {
    segment: Arc<Segment>,
    location: Location,
    record: RecordHead,
}

/// The newest of the candidates.
///
/// # Errors
/// `Corrupt` where it may be hidden by damage.
fn newest_of(
    handle: &Handle,
    key: &Key,
    found: &Candidates,
    block: &Superblock,
    reading: Reading,
) -> Result<Option<Newest>> {
    let hidden = || Error::corrupt("a newer record may be hidden by damage").at_path(&handle.path);
    let mut newest: Option<Newest> = None;
    let mut settled = None;
    // The slots of a page stand in the order of their commits, so from the end on the first record
    // of the key is the newest of its segment; a key that is written often costs no more reads.
    let newest_first = found.in_tables.iter().rev().map(|location| (location, true));
    let places = newest_first.chain(found.in_tree.iter().map(|location| (location, false)));
    let mut reads = 0;
    for (location, in_table) in places {
        if location.segment < block.oldest_live || settled == Some(location.segment) {
            continue;
        }
        reads += 1;
        if reads > CANDIDATES_MAX {
            return Err(hidden());
        }
        let is_suspect = is_suspect(handle, block, location.segment);
        let segment = match handle.log.segment(location.segment) {
            Ok(Some(segment)) => segment,
            Ok(None) if is_suspect || handle.is_evicted(location.segment)? => continue,
            Ok(None) => return Err(hidden()),
            Err(error) if error.is_unreadable() && is_suspect => continue,
            Err(error) => return Err(error),
        };
        let record = match reading {
            Reading::Ahead if handle.may_clone(*location) => segment.record_in_blocks(*location),
            Reading::Ahead => segment.record(*location),
            Reading::Head => segment.record_head(*location),
        };
        let record = match record {
            Ok(record) => record,
            Err(error) if error.is_unreadable() && is_suspect => continue,
            Err(error) => return Err(error),
        };
        if record.head.key != *key {
            continue;
        }
        if is_suspect {
            match segment.check_record(location.offset()) {
                Err(error) if error.is_unreadable() => continue,
                checked => checked.map(drop)?,
            }
        }
        settled = in_table.then_some(location.segment);
        let sequence = record.frame.sequence;
        if newest.as_ref().is_none_or(|other| other.record.frame.sequence < sequence) {
            newest = Some(Newest { segment, location: *location, record });
        }
    }
    if found.hidden { Err(hidden()) } else { Ok(newest) }
}

/// Whether damage in a segment may be the work of a power cut. What is known to be durable spares
/// the question which kernel runs.
fn is_suspect(handle: &Handle, block: &Superblock, segment: u32) -> bool {
    segment >= block.durable_below && handle.suspects(block).contains(&segment)
}

/// Collects the places of a key; returns the superblock that it went by.
fn candidates(handle: &Handle, key: &Key, found: &mut Candidates) -> Result<Superblock> {
    let index = match handle.index() {
        // Only whoever may write makes one.
        Err(error) if error.is_not_found() => None,
        index => Some(index?),
    };
    let mut last_transaction = None;
    for _ in 0..INDEX_RETRIES_MAX {
        let block = handle.superblock.glance()?;
        // Others may have evicted; an open file of theirs would keep its disk blocks.
        handle.log.forget_below(block.oldest_live);
        // The meta is read before the tables: tables outlive their merge, so whatever it does not
        // have is in a table.
        let meta = index.map_or(Ok(None), Index::meta)?;
        *found = Candidates::default();
        search_tables(handle, key, meta.as_ref(), &block, found)?;
        let (Some(meta), Some(index)) = (meta, index) else { return Ok(block) };
        let mut entries = Vec::new();
        let prefix = key.prefix();
        if index.range(&meta, prefix, prefix, &mut entries)?.is_ok() {
            found.in_tree.extend(entries.into_iter().map(IndexEntry::location));
            return Ok(block);
        }
        if last_transaction.replace(meta.transaction) == Some(meta.transaction) {
            // Nobody has moved on: the page itself is damaged.
            found.hidden = true;
            return Ok(block);
        }
        handle.count(EngineCounter::Overtaken);
    }
    found.hidden = true;
    handle.superblock.glance()
}

/// Asks the slot tables of the segments that are not in the tree.
fn search_tables(
    handle: &Handle,
    key: &Key,
    meta: Option<&Meta>,
    block: &Superblock,
    found: &mut Candidates,
) -> Result<()> {
    let oldest = block.oldest_live;
    let pages = table_pages(handle.segment_bytes);
    for id in meta.map_or(oldest, |meta| meta.merged_below.max(oldest))..block.used_below {
        let slots = handle.log.segment_and_table(id, pages).and_then(|segment| match segment {
            Some(segment) => segment.find_slots(key, &mut found.in_tables),
            None => handle.is_evicted(id),
        });
        let is_whole = match slots {
            Err(error) if !error.is_unreadable() => return Err(error),
            slots => slots.unwrap_or(false),
        };
        if !is_whole && !is_suspect(handle, block, id) {
            found.hidden = true;
            // No key can be told to be absent from that segment until it is merged.
            handle.maintenance_due.store(true, Ordering::Relaxed);
        }
    }
    Ok(())
}
