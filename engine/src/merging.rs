//! Closing, sealing and merging: from slot tables to the tree.
//!
//! 1. *Close* (under the tail lock): raise `open_from`; commits to segments below are refused from
//!    then on.
//! 2. *Seal*: write the footer of each closed segment, in order of keys with sequence numbers. A
//!    suspect segment's has the records of which everything is whole.
//! 3. *Merge* (under the index lock): sync the segments, then the footers' entries go into the tree
//!    in one sorted batch, durable before it counts; the meta then says that these segments are
//!    merged. So all that the tree names is on the disk before the tree is.
//! 4. *Settle*: a suspect segment that is in the tree gets a slot table of what is whole, and the
//!    superblock learns that all merged segments are durable.
//!
//! Of two entries with the same full key the one with the higher sequence number stays. Keys are
//! compared only where prefixes are equal, which for digests means the same key. A tombstone stays
//! in the tree as long as its segment lives, so that an older record which is merged later does not
//! come back.

use std::collections::BTreeMap;

use crate::counters::EngineCounter;
use crate::env::{LockByte, LockGuard, LockTable};
use crate::error::Result;
use crate::format::index::{IndexEntry, Meta};
use crate::format::segment::{FooterEntry, table_pages};
use crate::format::superblock::Superblock;
use crate::format::tail::Tail;
use crate::handle::Handle;
use crate::index::{Index, Merge, MergeReport, MetaPage};
use crate::key::Key;
use crate::limits::{
    INDEX_BYTES_MIN, INDEX_BYTES_PER_ENTRY, LOCK_WAIT_MS_MAX, PAGE_BYTES, SEAL_GRACE_MS,
};
use crate::location::Location;
use crate::log::{self, Segment};
use crate::rolling::{EPOCH_OF_REPLACED, check_kernel, create_segment, keep_alive, live_segment};

/// Closes every segment that the tail has left; without `force` only those that it left some time
/// ago. Returns the id below which all are closed.
///
/// # Errors
/// `Busy` if the tail lock cannot be had; `Io`.
pub fn close(handle: &Handle, tail_lock: &LockGuard<'_>, tail: &Tail, force: bool) -> Result<u32> {
    let now = handle.env.monotonic_ms();
    let mut open_from = tail.open_from;
    while open_from < tail.active {
        let left_at = left_ms(handle, open_from, tail.active);
        if !force && now < left_at.saturating_add(SEAL_GRACE_MS) {
            break;
        }
        open_from += 1;
    }
    if open_from != tail.open_from {
        handle.tail()?.write(tail_lock, &Tail { open_from, ..*tail })?;
    }
    Ok(open_from)
}

/// When the tail left a segment, or one for a single record that was made meanwhile: it went to the
/// next segment with a whole table. (Segments of 512 KiB or less have small tables, too.)
fn left_ms(handle: &Handle, id: u32, active: u32) -> u64 {
    let whole = table_pages(handle.segment_bytes);
    let headers = (id + 1..=active).filter_map(|id| Some(handle.log.segment(id).ok()??.header));
    let mut entered = headers.filter(|header| header.table_pages == whole || header.id == active);
    entered.next().map_or(0, |header| header.created_ms)
}

/// What sealing and merging these segments can add to what the store occupies: footers, and another
/// generation of the tree. What cannot be read adds nothing.
///
/// # Errors
/// `Io` if the disk fails.
pub fn growth_bytes(handle: &Handle, segments: std::ops::Range<u32>) -> Result<u64> {
    let mut records = handle.index()?.meta()?.map_or(0, |meta| meta.entries);
    let mut footers = 0;
    for id in segments {
        match handle.log.segment(id).and_then(|s| s.map_or(Ok((0, 0)), |s| s.listed())) {
            Ok((count, footer_bytes)) => {
                records += count;
                footers += footer_bytes;
            }
            Err(error) if error.is_unreadable() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(footers + records * INDEX_BYTES_PER_ENTRY + INDEX_BYTES_MIN)
}

/// Seals the closed segments that are not merged yet; a damaged one is left alone.
///
/// # Errors
/// `Io` if the disk refuses.
pub fn seal(handle: &Handle, from: u32, closed_below: u32) -> Result<()> {
    let suspects = handle.superblock.read()?.suspects();
    for id in from..closed_below {
        let sealed = match suspects.contains(&id) {
            true => seal_suspect(handle, id),
            false => handle.log.segment(id).and_then(|s| s.map_or(Ok(()), |s| s.seal())),
        };
        match sealed {
            // Its merge finds out how much of it there is.
            Err(error) if error.is_unreadable() => handle.count(EngineCounter::Damaged),
            sealed => sealed?,
        }
        keep_alive(handle)?;
    }
    Ok(())
}

/// Seals a segment that a power cut may have left in any state. One whose name or header did not
/// reach the disk becomes an empty one, so that a missing segment remains a sign of damage.
fn seal_suspect(handle: &Handle, id: u32) -> Result<()> {
    let segment = match handle.log.segment(id) {
        Ok(Some(segment)) => segment,
        Err(error) if !error.is_unreadable() => return Err(error),
        _ => {
            handle.check_current()?;
            create_segment(handle, id, PAGE_BYTES as u64, EPOCH_OF_REPLACED)?;
            live_segment(handle, id)?
        }
    };
    segment.seal_as(&segment.committed()?)
}

/// Ends the suspicion against segments below `merged_below`, which are in the tree, and notes that
/// these are durable.
fn settle(handle: &Handle, locks: &LockTable, merged_below: u32) -> Result<()> {
    let block = handle.superblock.read()?;
    let suspects = block.suspects();
    for id in suspects.start.max(block.oldest_live)..suspects.end.min(merged_below) {
        let segment = match handle.log.segment(id) {
            Ok(Some(segment)) => segment,
            Ok(None) => continue,
            Err(error) if error.is_unreadable() => continue,
            Err(error) => return Err(error),
        };
        match segment.entries().and_then(|entries| segment.mend(&entries)) {
            Err(error) if error.is_unreadable() => handle.count(EngineCounter::Damaged),
            mended => mended?,
        }
        // Before it is no suspect any more: half of the new table must not be left of it, also
        // where it was written by a janitor that was killed.
        segment.sync()?;
        keep_alive(handle)?;
    }
    if merged_below > block.durable_below {
        let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
        handle.superblock.change(&lock, |block| {
            block.durable_below = block.durable_below.max(merged_below);
        })?;
    }
    Ok(())
}

/// The first segment that is not in the tree.
pub fn first_unmerged(meta: Option<&Meta>, block: &Superblock) -> u32 {
    meta.map_or(block.oldest_live, |meta| meta.merged_below.max(block.oldest_live))
}

/// Whether the tree cannot be read in full; only to be asked under the janitor lock, where no merge
/// overtakes the walk.
///
/// # Errors
/// `Io`.
pub fn is_damaged(handle: &Handle) -> Result<bool> {
    let index = handle.index()?;
    let Some(meta) = index.meta()? else { return Ok(true) };
    Ok(index.range(&meta, 0, u64::MAX, &mut Vec::new())?.is_err())
}

/// Builds the tree anew from the segments below `closed_below`.
///
/// # Errors
/// `Busy` if another merge is under way; `Io`.
pub fn repair(handle: &Handle, closed_below: u32) -> Result<()> {
    let Some(locks) = handle.locks()? else { return Ok(()) };
    let lock = locks.lock(LockByte::Index, LOCK_WAIT_MS_MAX)?;
    let block = handle.superblock.read()?;
    rebuild(handle, handle.index()?, &lock, &block, closed_below)?;
    handle.count(EngineCounter::Merges);
    settle(handle, locks, closed_below)
}

/// Merges all segments below `closed_below` into the tree; rebuilds it if it is lost or damaged.
///
/// # Errors
/// `Busy` if another merge is under way; `Io`.
pub fn merge(handle: &Handle, closed_below: u32) -> Result<Option<MergeReport>> {
    let Some(locks) = handle.locks()? else { return Ok(None) };
    let lock = locks.lock(LockByte::Index, LOCK_WAIT_MS_MAX)?;
    let index = handle.index()?;
    let block = handle.superblock.read()?;
    let report = match index.meta()? {
        // A power cut may have torn the other meta page; the next transaction writes it anew.
        Some(meta)
            if meta.merged_below >= closed_below
                && !index.meta_pages()?.contains(&MetaPage::Damaged) =>
        {
            settle(handle, locks, meta.merged_below)?;
            return Ok(None);
        }
        Some(meta) => {
            let from = first_unmerged(Some(&meta), &block);
            let end = closed_below.max(from);
            match merge_range(handle, index, &lock, &block, from..end, false) {
                Err(error) if error.is_corrupt() => {
                    rebuild(handle, index, &lock, &block, closed_below)?
                }
                other => other?,
            }
        }
        None => rebuild(handle, index, &lock, &block, closed_below)?,
    };
    handle.count(EngineCounter::Merges);
    settle(handle, locks, report.meta.merged_below)?;
    Ok(Some(report))
}

fn rebuild(
    handle: &Handle,
    index: &Index,
    lock: &LockGuard<'_>,
    block: &Superblock,
    closed_below: u32,
) -> Result<MergeReport> {
    handle.count(EngineCounter::Rebuilds);
    let first = block.oldest_live;
    merge_range(handle, index, lock, block, first..closed_below.max(first), true)
}

fn merge_range(
    handle: &Handle,
    index: &Index,
    lock: &LockGuard<'_>,
    block: &Superblock,
    segments: std::ops::Range<u32>,
    replace: bool,
) -> Result<MergeReport> {
    let merged_below = segments.end;
    sync(handle, segments.start.max(block.durable_below)..segments.end)?;
    let newest = batch(handle, segments)?;
    let entries: Vec<IndexEntry> = newest.iter().map(|entry| index_entry(*entry)).collect();
    let keep = |entry: IndexEntry| {
        entry.location().segment >= block.oldest_live && !is_superseded(handle, entry, &newest)
    };
    let merge = Merge {
        batch: &entries,
        merged_below,
        keep: &keep,
        replace,
        first_transaction: handle.env.now_secs() << 20,
    };
    check_kernel(handle, &handle.superblock.read()?)?;
    // The tree leaves out what stands in segments that were given up, perhaps by somebody who was
    // killed before he had made that durable.
    handle.superblock.sync()?;
    index.merge(lock, &merge)
}

/// Waits until segments are on the disk, names included.
///
/// # Errors
/// If the disk reports a failure, or a segment cannot be opened just now.
pub fn sync(handle: &Handle, segments: std::ops::Range<u32>) -> Result<()> {
    for id in segments {
        sync_segment(handle, id)?;
    }
    handle.env.sync_dir(&handle.path.join(log::DIRECTORY_NAME))?;
    handle.env.sync_dir(&handle.path)
}

/// Waits until a segment is on the disk.
///
/// # Errors
/// See [`sync`].
pub fn sync_segment(handle: &Handle, id: u32) -> Result<()> {
    match handle.log.segment(id) {
        Ok(Some(segment)) => segment.sync()?,
        // Nothing of it goes into the tree.
        Ok(None) => {}
        Err(error) if error.is_unreadable() => {}
        Err(error) => return Err(error),
    }
    keep_alive(handle)
}

fn index_entry(entry: FooterEntry) -> IndexEntry {
    IndexEntry { key_prefix: entry.key_prefix, place: entry.location.pack() }
}

/// The entries of the segments in the order of the tree, without those that a newer one of the same
/// batch supersedes.
fn batch(handle: &Handle, segments: std::ops::Range<u32>) -> Result<Vec<FooterEntry>> {
    let suspects = handle.superblock.read()?.suspects();
    let mut entries = Vec::new();
    for id in segments {
        // Whatever cannot be read is out of reach from now on: that is worth a second try.
        match handle.log.segment(id).or_else(|_| handle.log.segment(id)) {
            // By what it holds, not by its footer: that may be one of before the crash.
            Ok(Some(segment)) if suspects.contains(&id) => {
                entries.extend(segment.committed()?);
            }
            Ok(Some(segment)) => entries.extend(readable_entries(handle, &segment)?),
            Ok(None) => handle.count(EngineCounter::Damaged),
            Err(error) if error.is_unreadable() => handle.count(EngineCounter::Damaged),
            Err(error) => return Err(error),
        }
        keep_alive(handle)?;
    }
    entries.sort_unstable();
    let mut kept = Vec::with_capacity(entries.len());
    for group in entries.chunk_by(|a, b| a.key_prefix == b.key_prefix) {
        match group {
            [only] => kept.push(*only),
            _ => kept.extend(newest_of_group(handle, group)),
        }
    }
    kept.sort_unstable_by_key(|entry| index_entry(*entry));
    Ok(kept)
}

/// The entries of a segment; where the disk cannot read them, those of the records that it can.
fn readable_entries(handle: &Handle, segment: &Segment) -> Result<Vec<FooterEntry>> {
    match segment.entries() {
        Err(error) if error.is_unreadable() => {
            handle.count(EngineCounter::Damaged);
            segment.salvage()
        }
        other => other,
    }
}

/// Of entries with one prefix: the newest of each full key, and those whose key cannot be read.
fn newest_of_group(handle: &Handle, group: &[FooterEntry]) -> Vec<FooterEntry> {
    let mut newest: BTreeMap<Key, FooterEntry> = BTreeMap::new();
    let mut kept = Vec::new();
    for entry in group {
        match key_at(handle, entry.location) {
            // A group is in order of sequence numbers: later ones replace earlier ones.
            Some((key, _)) => drop(newest.insert(key, *entry)),
            None => kept.push(*entry),
        }
    }
    kept.extend(newest.into_values());
    kept
}

/// The full key and the sequence number of a record, `None` if it is damaged or gone.
fn key_at(handle: &Handle, location: Location) -> Option<(Key, u64)> {
    let segment = handle.log.segment(location.segment).ok()??;
    let record = segment.record_head(location).ok()?;
    Some((record.head.key, record.frame.sequence))
}

/// Whether the batch has a newer record of the same key as an entry of the tree.
fn is_superseded(handle: &Handle, old: IndexEntry, batch: &[FooterEntry]) -> bool {
    let start = batch.partition_point(|entry| entry.key_prefix < old.key_prefix);
    let mut same = batch[start..].iter().take_while(|e| e.key_prefix == old.key_prefix).peekable();
    if same.peek().is_none() {
        return false;
    }
    let Some((old_key, old_sequence)) = key_at(handle, old.location()) else { return false };
    same.any(|entry| {
        entry.sequence > old_sequence
            && key_at(handle, entry.location).is_some_and(|(key, _)| key == old_key)
    })
}
