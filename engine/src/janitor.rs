//! Upkeep, in this order: count, close, evict, seal, merge, checkpoint.
//!
//! One janitor at a time, under a lock that is only tried: whoever finds it taken leaves the work
//! to its holder. Each step leaves the store whole, so a janitor may be killed anywhere.
//!
//! What takes long is the disk: a merge and a checkpoint wait for everything that was put since the
//! last one, and writers may fill the store meanwhile. So segments are synced one by one, with an
//! eviction in between wherever it is due.

mod repair;
mod trim;

use std::ops::Range;
use std::sync::atomic::Ordering;

pub use repair::{RepairStep, Repaired, repair};
pub use trim::{Trim, Trimmed, trim};

use crate::counters::EngineCounter;
use crate::env::{LockByte, LockTable};
use crate::error::{Error, ErrorKind, Result};
use crate::eviction::{self, Effort, Evicted};
use crate::format::tail::Tail;
use crate::handle::Handle;
use crate::limits::{LOCK_WAIT_MS_MAX, UNMERGED_SEGMENTS_MERGE, UNMERGED_SEGMENTS_MERGE_INLINE};
use crate::merging;
use crate::rolling::{
    count, current_tail, is_checkpoint_due, live_segment, own_segments_ahead, roll,
};

/// How much a call of `maintain` may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Closes every segment that the tail has left, merges whatever is closed and makes a
    /// checkpoint if one is due; else only what is due.
    full: bool,
    /// Evicts until it is enough and reinserts what was hit, merges early; else one segment goes,
    /// with all that is in it, and a merge comes when look-ups would notice that there is none.
    thorough: bool,
}

impl Budget {
    /// What is due and cannot wait: for a process that has something else to do. At most one
    /// segment is evicted, nothing is reinserted.
    pub fn inline() -> Self {
        Budget { full: false, thorough: false }
    }

    /// Everything that is due.
    pub fn due() -> Self {
        Budget { full: false, thorough: true }
    }

    /// Everything that can be done.
    pub fn full() -> Self {
        Budget { full: true, thorough: true }
    }
}

/// What a call of `maintain` did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Maintained {
    /// Whether another janitor was at work, and nothing was done.
    pub busy: bool,
    /// Segments evicted.
    pub segments_evicted: u64,
    /// Disk bytes freed by that.
    pub bytes_evicted: u64,
    /// Records that were appended again because their segment went.
    pub records_reinserted: u64,
    /// Bytes of these records.
    pub bytes_reinserted: u64,
    /// Whether segments were merged into the tree.
    pub merged: bool,
    /// Whether a checkpoint was made.
    pub checkpointed: bool,
}

/// The locks of a handle that may write; `None` for a store that is only read, or after a write of
/// this handle failed: nobody knows then what the disk has, and a second sync would succeed without
/// having brought back what the first one lost.
fn writing(handle: &Handle) -> Result<Option<&LockTable>> {
    if handle.is_poisoned() { Ok(None) } else { handle.locks() }
}

/// Notes an outcome: after a failure of the disk this handle writes no more.
fn noted<T>(handle: &Handle, outcome: Result<T>) -> Result<T> {
    if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Io) {
        handle.poisoned.store(true, Ordering::Relaxed);
    }
    outcome
}

/// Does what is due; nothing in a store that is only read or after a failed write of this handle.
///
/// # Errors
/// `Io` if the disk refuses; the store is whole nevertheless.
pub fn maintain(handle: &Handle, budget: Budget) -> Result<Maintained> {
    match writing(handle)? {
        Some(locks) => {
            handle.check_current()?;
            noted(handle, upkeep(handle, locks, budget))
        }
        None => Ok(Maintained::default()),
    }
}

/// Whether a janitor is at work, so that another one would do nothing.
pub fn is_at_work(handle: &Handle) -> bool {
    matches!(writing(handle), Ok(Some(locks)) if locks.is_held(LockByte::Janitor))
}

fn upkeep(handle: &Handle, locks: &LockTable, budget: Budget) -> Result<Maintained> {
    let mut done = Maintained::default();
    let _janitor = match locks.lock(LockByte::Janitor, 0) {
        Ok(lock) => lock,
        Err(error) if error.is_busy() => return Ok(Maintained { busy: true, ..done }),
        Err(error) => return Err(error),
    };
    handle.maintenance_due.store(false, Ordering::Relaxed);
    // What a killed evictor left counts as used: it must go before live segments do.
    eviction::sweep(handle)?;
    let effort = if budget.thorough { Effort::Thorough } else { Effort::Least };
    evict(handle, locks, effort, &mut done)?;
    let tail = close(handle, locks, budget.full)?;
    let block = handle.superblock.read()?;
    let meta = handle.index()?.meta()?;
    let first = merging::first_unmerged(meta.as_ref(), &block);
    let grows = grow(handle, locks, effort, first..tail.open_from, &mut done)?;
    merging::seal(handle, first, tail.open_from)?;
    let unmerged = tail.open_from.saturating_sub(first);
    let unmerged_max =
        if budget.thorough { UNMERGED_SEGMENTS_MERGE } else { UNMERGED_SEGMENTS_MERGE_INLINE };
    if budget.full && merging::is_damaged(handle)? {
        merging::repair(handle, tail.open_from)?;
        done.merged = true;
    } else if meta.is_none()
        || unmerged >= unmerged_max
        || (budget.full && (unmerged > 0 || !block.suspects().is_empty()))
    {
        if budget.thorough {
            add(&mut done, sync_ahead(handle, locks, first..tail.open_from)?);
        }
        done.merged = merging::merge(handle, tail.open_from)?.is_some();
    }
    if done.merged && budget.thorough {
        // The index has grown, and nobody else counts that.
        evict(handle, locks, effort, &mut done)?;
    } else if grows {
        count(handle, locks)?;
    }
    if budget.full && is_checkpoint_due(handle, &tail) {
        make_checkpoint(handle, locks, &mut done)?;
        done.checkpointed = true;
    }
    Ok(done)
}

/// Takes room for sealing and merging these segments; whether there are any.
fn grow(
    handle: &Handle,
    locks: &LockTable,
    effort: Effort,
    segments: Range<u32>,
    done: &mut Maintained,
) -> Result<bool> {
    if segments.is_empty() {
        return Ok(false);
    }
    let bytes = merging::growth_bytes(handle, segments)?;
    add(done, eviction::make_room(handle, locks, effort, bytes)?);
    Ok(true)
}

/// Counts what the store occupies, and evicts if that is too much.
fn evict(handle: &Handle, locks: &LockTable, effort: Effort, done: &mut Maintained) -> Result<()> {
    count(handle, locks)?;
    add(done, eviction::evict(handle, locks, effort)?);
    Ok(())
}

fn add(done: &mut Maintained, evicted: Evicted) {
    done.segments_evicted += evicted.segments;
    done.bytes_evicted += evicted.bytes;
    done.records_reinserted += evicted.reinserted_records;
    done.bytes_reinserted += evicted.reinserted_bytes;
}

/// Brings closed segments to the disk, one after the other, before a merge waits for all of them;
/// evicts in between, if that is due.
fn sync_ahead(handle: &Handle, locks: &LockTable, segments: Range<u32>) -> Result<Evicted> {
    let mut evicted = Evicted::default();
    for id in segments {
        merging::sync_segment(handle, id)?;
        evicted.add(&eviction::evict(handle, locks, Effort::Thorough)?);
    }
    Ok(evicted)
}

fn close(handle: &Handle, locks: &LockTable, force: bool) -> Result<Tail> {
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    let mut tail = current_tail(handle, &lock)?;
    if own_segments_ahead(handle, &tail)? >= UNMERGED_SEGMENTS_MERGE {
        tail = roll(handle, &lock, &tail)?;
    }
    let open_from = merging::close(handle, &lock, &tail, force)?;
    Ok(Tail { open_from, ..tail })
}

/// Makes everything durable that is committed now.
///
/// # Errors
/// `Busy` if a janitor is at work, `Io` also if an earlier write of this handle failed.
pub fn checkpoint(handle: &Handle) -> Result<()> {
    if handle.is_poisoned() {
        return Err(poisoned(handle));
    }
    let Some(locks) = writing(handle)? else { return Ok(()) };
    handle.check_current()?;
    let _janitor = locks.lock(LockByte::Janitor, 20 * LOCK_WAIT_MS_MAX)?;
    noted(handle, make_checkpoint(handle, locks, &mut Maintained::default()))
}

fn poisoned(handle: &Handle) -> Error {
    Error::new(ErrorKind::Io, "an earlier write of this handle failed").at_path(&handle.path)
}

/// Close, seal, sync the log, merge and sync the index, write and sync the watermark. Each sync is
/// a barrier: what the next step refers to is on the disk before that step is.
fn make_checkpoint(handle: &Handle, locks: &LockTable, done: &mut Maintained) -> Result<()> {
    let (closed_below, closed) = close_all(handle, locks)?;
    let closed_ms = handle.env.monotonic_ms();
    // A file system that loses what is newer without a reboot leaves an empty segment then. Now,
    // while it is empty: on btrfs a writer waits for each page that is just being synced.
    live_segment(handle, closed.active)?.sync()?;
    let block = handle.superblock.read()?;
    let first = merging::first_unmerged(handle.index()?.meta()?.as_ref(), &block);
    let grows = grow(handle, locks, Effort::Thorough, first..closed_below, done)?;
    merging::seal(handle, first, closed_below)?;
    add(done, sync_ahead(handle, locks, first..closed_below)?);
    merging::merge(handle, closed_below)?;
    if grows {
        count(handle, locks)?;
    }
    sync_names(handle)?;
    handle.superblock.sync()?;
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    let tail = current_tail(handle, &lock)?;
    if tail.epoch == closed.epoch {
        // What was written meanwhile waits for the next one.
        let written_bytes = tail.written_bytes.saturating_sub(closed.written_bytes);
        let tail = Tail { written_bytes, written_since_ms: closed_ms, ..tail };
        handle.tail()?.write(&lock, &tail)?;
    }
    handle.count(EngineCounter::Checkpoints);
    Ok(())
}

/// Closes every segment that holds something. Returns the id below which all are closed, and the
/// tail.
fn close_all(handle: &Handle, locks: &LockTable) -> Result<(u32, Tail)> {
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    let mut tail = current_tail(handle, &lock)?;
    let active = live_segment(handle, tail.active)?;
    let has_records = tail.offset > active.header.data_start();
    if has_records || own_segments_ahead(handle, &tail)? > 0 {
        tail = roll(handle, &lock, &tail)?;
    }
    Ok((merging::close(handle, &lock, &tail, true)?, tail))
}

/// Waits until the names of the store's files are on the disk, and those of the directories that
/// lead to it: some of them may be as new as the store.
fn sync_names(handle: &Handle) -> Result<()> {
    let path = handle.env.canonical(&handle.path)?;
    handle.env.sync_dir(&path)?;
    for directory in path.ancestors().skip(1) {
        match handle.env.sync_dir(directory) {
            Err(error) if error.is_unreadable() => return Err(error),
            // One that may not be opened is not this user's, and older.
            _ => {}
        }
    }
    Ok(())
}

/// Drops every record.
///
/// # Errors
/// `Busy` if a janitor is at work, `Io`.
pub fn clear(handle: &Handle) -> Result<()> {
    if handle.is_poisoned() {
        return Err(poisoned(handle));
    }
    let Some(locks) = writing(handle)? else {
        return Err(Error::new(ErrorKind::ReadOnly, "the store cannot be written"));
    };
    handle.check_current()?;
    noted(handle, drop_all(handle, locks))
}

fn drop_all(handle: &Handle, locks: &LockTable) -> Result<()> {
    let _janitor = locks.lock(LockByte::Janitor, 20 * LOCK_WAIT_MS_MAX)?;
    let lock = locks.lock(LockByte::Tail, 20 * LOCK_WAIT_MS_MAX)?;
    let dropped_below = eviction::drop_all(handle, lock)?;
    merging::merge(handle, dropped_below)?;
    match count(handle, locks) {
        // The next put makes a segment, or finds that others have filled the disk again.
        Err(error) if error.is_full() => Ok(()),
        counted => counted,
    }
}
