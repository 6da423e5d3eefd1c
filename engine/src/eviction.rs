//! Eviction: the oldest segments go, whole, and what was hit in them stays.
//!
//! 1. Begins at 90 % of `max_size`, ends at 80 %. The cost does not depend on the number of
//!    entries.
//! 2. Records that were hit while their segment stood in the older half of the log are appended
//!    again first, up to half of the bytes that go, in rounds, so that the copies of one round take
//!    little room. They are on the disk before their sources are published as gone.
//! 3. `oldest live` is published under the tail lock, and on the disk, before the first file is
//!    unlinked: a reader that holds the segment finishes, one that comes late misses, and no power
//!    cut brings a segment back whose successors are gone.
//! 4. Their bytes count as free when the files are gone. A killed evictor leaves files below
//!    `oldest live` that still count; the next one unlinks them before it drops anything.

use std::ops::Range;

use crate::counters::EngineCounter;
use crate::env::{LockByte, LockGuard, LockTable};
use crate::error::Result;
use crate::format::tail::Tail;
use crate::handle::Handle;
use crate::limits::{
    EVICT_ROUNDS_MAX, EVICT_START_PERCENT, EVICT_STOP_PERCENT, LOCK_WAIT_MS_MAX, REINSERT_PERCENT,
    REINSERT_ROUND_SHARE,
};
use crate::location::Location;
use crate::log::Segment;
use crate::reinsertion::{Copies, reinsert};
use crate::rolling::{current_tail, own_segments_ahead, roll};

/// What an eviction did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Evicted {
    /// Segments unlinked.
    pub segments: u64,
    /// Disk bytes that they occupied.
    pub bytes: u64,
    /// Records of theirs that were appended again.
    pub reinserted_records: u64,
    /// Bytes of these records.
    pub reinserted_bytes: u64,
}

impl Evicted {
    /// Adds what another one did.
    pub fn add(&mut self, other: &Evicted) {
        self.segments += other.segments;
        self.bytes += other.bytes;
        self.reinserted_records += other.reinserted_records;
        self.reinserted_bytes += other.reinserted_bytes;
    }
}

/// Disk bytes of the store as the tail knows them.
pub fn used_bytes(handle: &Handle, tail: &Tail) -> u64 {
    tail.other_bytes + handle.log.sizes(tail.active).disk_bytes.max(tail.offset)
}

/// How an eviction goes about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// Segments are dropped until it is enough, and what was hit in them is kept.
    Thorough,
    /// One segment is dropped, with all that is in it: for a process that has something else to do.
    Least,
}

/// What an eviction may still do, across its rounds.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    /// Bytes that may be reinserted.
    bytes: u64,
    /// Segments that go without being asked for hits when there was no room for copies.
    unasked: u32,
}

impl Allowance {
    /// A segment of so many bytes goes. What its predecessors left unused counts for it, so that a
    /// record larger than half of it may stay; but no more than the segment has, or records that
    /// were hit would be copied round and round.
    fn add(&mut self, bytes: u64) {
        self.bytes = (self.bytes + bytes / 100 * REINSERT_PERCENT).min(bytes);
    }
}

/// Whether it is due.
///
/// # Errors
/// `Io`.
pub fn is_due(handle: &Handle) -> Result<bool> {
    let start = handle.options.max_size_bytes / 100 * EVICT_START_PERCENT;
    Ok(handle.tail()?.read()?.is_some_and(|tail| used_bytes(handle, &tail) > start))
}

/// Evicts if it is due. Only under the janitor lock.
///
/// # Errors
/// `Busy` if the tail lock cannot be had; `Io`.
pub fn evict(handle: &Handle, locks: &LockTable, effort: Effort) -> Result<Evicted> {
    evict_for(handle, locks, effort, 0)
}

/// Takes room for what upkeep is about to write, so that writers do not take it meanwhile; evicts
/// first, if that has to be. Only under the janitor lock; whoever calls this counts afresh at last.
///
/// # Errors
/// `Busy` if the tail lock cannot be had; `Io`.
pub fn make_room(
    handle: &Handle,
    locks: &LockTable,
    effort: Effort,
    bytes: u64,
) -> Result<Evicted> {
    let mut evicted = Evicted::default();
    for _ in 0..EVICT_ROUNDS_MAX {
        let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
        let tail = current_tail(handle, &lock)?;
        if used_bytes(handle, &tail) + bytes <= handle.options.max_size_bytes {
            let other_bytes = tail.other_bytes + bytes;
            handle.tail()?.write(&lock, &Tail { other_bytes, ..tail })?;
            break;
        }
        drop(lock);
        let round = evict_for(handle, locks, effort, bytes)?;
        evicted.add(&round);
        // Without upkeep nothing would ever be found again, so it goes on.
        if round.segments == 0 {
            break;
        }
    }
    Ok(evicted)
}

/// Evicts if it is due, or if the store has no room for `bytes` more.
fn evict_for(handle: &Handle, locks: &LockTable, effort: Effort, bytes: u64) -> Result<Evicted> {
    let max = handle.options.max_size_bytes;
    let mut evicted = Evicted::default();
    let mut allowance = Allowance::default();
    let mut limit = (max / 100 * EVICT_START_PERCENT).min(max.saturating_sub(bytes));
    // Writers may be faster than this; whatever is left to do then, their puts find due again.
    for _ in 0..EVICT_ROUNDS_MAX {
        let Some(plan) = plan(handle, locks, effort, limit)? else { break };
        let round = match effort {
            Effort::Least => drop_planned(handle, locks, plan.end)?,
            Effort::Thorough => keep_and_drop(handle, locks, plan, &mut allowance)?,
        };
        evicted.add(&round);
        if effort == Effort::Least || round.segments == 0 {
            break;
        }
        limit = max / 100 * EVICT_STOP_PERCENT;
    }
    Ok(evicted)
}

/// The segments that are to go if the store holds more than `limit`, closed.
fn plan(
    handle: &Handle,
    locks: &LockTable,
    effort: Effort,
    limit: u64,
) -> Result<Option<Range<u32>>> {
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    let mut tail = current_tail(handle, &lock)?;
    let mut used = used_bytes(handle, &tail);
    if used <= limit {
        return Ok(None);
    }
    let enough = handle.options.max_size_bytes / 100 * EVICT_STOP_PERCENT;
    let first = handle.superblock.read()?.oldest_live;
    let mut end = first;
    while used > enough && (effort == Effort::Thorough || end == first) {
        if end == tail.active {
            if own_segments_ahead(handle, &tail)? == 0 {
                break;
            }
            tail = roll(handle, &lock, &tail)?;
        }
        used = used.saturating_sub(handle.log.occupied_bytes(end));
        end += 1;
    }
    if end > tail.open_from {
        handle.tail()?.write(&lock, &Tail { open_from: end, ..tail })?;
    }
    Ok((end > first).then_some(first..end))
}

/// Reinserts what was hit in the first of these segments, and drops them.
fn keep_and_drop(
    handle: &Handle,
    locks: &LockTable,
    segments: Range<u32>,
    allowance: &mut Allowance,
) -> Result<Evicted> {
    let copied_max = handle.options.max_size_bytes / REINSERT_ROUND_SHARE;
    let mut copies = Copies::default();
    let mut kept = Evicted::default();
    let mut end = segments.start;
    while end < segments.end && kept.reinserted_bytes < copied_max {
        allowance.add(handle.log.sizes(end).disk_bytes);
        let hits = handle.hits(end);
        let mut was_hit = |_: &Segment, location: Location| hits.contains(location);
        let mut is_stopped = false;
        if !hits.is_empty() {
            let bytes_max = allowance.bytes;
            let done = reinsert(handle, locks, end, bytes_max, &mut was_hit, &mut copies)?;
            allowance.bytes -= done.bytes;
            is_stopped = done.stopped;
            kept.reinserted_records += done.records;
            kept.reinserted_bytes += done.bytes;
        }
        end += 1;
        if is_stopped {
            // Writers fill the store just now, or `max_size` was lowered. What goes makes room for
            // the copies of the next round; the more often that is not enough, the more goes.
            end = segments.end.min(end + allowance.unasked);
            allowance.unasked = allowance.unasked * 2 + 1;
            break;
        }
    }
    copies.sync(handle, locks)?;
    kept.add(&drop_planned(handle, locks, end)?);
    Ok(kept)
}

/// Drops the live segments below `end`, but for the active one.
///
/// # Errors
/// `Busy` if the tail lock cannot be had; `Io`.
pub fn drop_planned(handle: &Handle, locks: &LockTable, end: u32) -> Result<Evicted> {
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    let tail = current_tail(handle, &lock)?;
    drop_below(handle, locks, lock, &tail, end.min(tail.active))
}

/// Drops the live segments below `oldest`; takes over the tail lock, and gives it back before it
/// unlinks.
///
/// # Errors
/// `Busy` if the tail lock cannot be had again; `Io`.
pub fn drop_below(
    handle: &Handle,
    locks: &LockTable,
    lock: LockGuard<'_>,
    tail: &Tail,
    oldest: u32,
) -> Result<Evicted> {
    let first = handle.superblock.read()?.oldest_live;
    if oldest <= first {
        return Ok(Evicted::default());
    }
    let sum = |bytes: &dyn Fn(u32) -> u64| (first..oldest).map(bytes).sum::<u64>();
    let occupied = sum(&|id| handle.log.occupied_bytes(id));
    let evicted = Evicted {
        segments: u64::from(oldest - first),
        bytes: sum(&|id| handle.log.sizes(id).disk_bytes),
        ..Evicted::default()
    };
    publish(handle, &lock, tail, oldest)?;
    drop(lock);
    unlink(handle, first..oldest)?;
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    let now = current_tail(handle, &lock)?;
    // A new epoch has counted for itself.
    if now.epoch == tail.epoch {
        let other_bytes = now.other_bytes.saturating_sub(occupied);
        handle.tail()?.write(&lock, &Tail { other_bytes, ..now })?;
    }
    Ok(evicted)
}

/// Drops every segment, the active one too: that needs no room on the disk. Returns the first id
/// that was never used. Takes over the tail lock.
///
/// # Errors
/// `Io`.
pub fn drop_all(handle: &Handle, lock: LockGuard<'_>) -> Result<u32> {
    let next = handle.superblock.read()?.next_segment;
    // Whoever is about to commit reserves anew.
    handle.tail()?.clear(&lock)?;
    handle.superblock.change(&lock, |block| {
        block.oldest_live = next;
        block.durable_below = next;
    })?;
    handle.log.forget_below(next);
    drop(lock);
    handle.superblock.sync()?;
    sweep(handle)?;
    Ok(next)
}

/// Publishes `oldest` as the oldest live segment.
fn publish(handle: &Handle, lock: &LockGuard<'_>, tail: &Tail, oldest: u32) -> Result<()> {
    handle.superblock.change(lock, |block| {
        block.oldest_live = oldest;
        block.durable_below = block.durable_below.max(oldest);
    })?;
    let tail = Tail { open_from: tail.open_from.max(oldest), ..*tail };
    handle.tail()?.write(lock, &tail)?;
    handle.log.forget_below(oldest);
    Ok(())
}

/// Unlinks segments that are published as gone, which must be known after a power cut, too: without
/// the tail lock, because unlinking some large files takes longer than a put waits.
fn unlink(handle: &Handle, segments: Range<u32>) -> Result<()> {
    handle.superblock.sync()?;
    for id in segments {
        handle.log.remove(id)?;
        handle.count(EngineCounter::SegmentsEvicted);
    }
    Ok(())
}

/// Unlinks what is published as gone and still there, as a killed evictor leaves it.
///
/// # Errors
/// `Io`.
pub fn sweep(handle: &Handle) -> Result<()> {
    let oldest_live = handle.superblock.read()?.oldest_live;
    let mut left = handle.log.ids()?;
    left.retain(|id| *id < oldest_live);
    if left.is_empty() {
        return Ok(());
    }
    handle.superblock.sync()?;
    left.into_iter().try_for_each(|id| handle.log.remove(id))
}
