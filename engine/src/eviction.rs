//! Eviction: the oldest segments go, whole.
//!
//! 1. Begins at 90 % of `max_size`, ends at 80 %. The cost does not depend on the number of
//!    entries.
//! 2. `oldest live` is published under the tail lock, and on the disk, before the first file is
//!    unlinked: a reader that holds the segment finishes, one that comes late misses, and no power
//!    cut brings a segment back whose successors are gone.
//! 3. Their bytes count as free when the files are gone. A killed evictor leaves files below
//!    `oldest live` that still count; the next one unlinks them before it drops anything.

use std::ops::Range;

use crate::counters::EngineCounter;
use crate::env::{LockByte, LockGuard, LockTable};
use crate::error::Result;
use crate::format::tail::Tail;
use crate::handle::Handle;
use crate::limits::{EVICT_START_PERCENT, EVICT_STOP_PERCENT, LOCK_WAIT_MS_MAX};
use crate::rolling::{current_tail, own_segments_ahead, roll};

/// What an eviction did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Evicted {
    /// Segments unlinked.
    pub segments: u64,
    /// Disk bytes that they occupied.
    pub bytes: u64,
}

/// Disk bytes of the store as the tail knows them.
pub fn used_bytes(handle: &Handle, tail: &Tail) -> u64 {
    tail.other_bytes + handle.log.sizes(tail.active).disk_bytes.max(tail.offset)
}

/// Evicts if it is due.
///
/// # Errors
/// `Busy` if the tail lock cannot be had; `Io`.
pub fn evict(handle: &Handle, locks: &LockTable) -> Result<Evicted> {
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    let mut tail = current_tail(handle, &lock)?;
    let max = handle.options.max_size_bytes;
    let mut used = used_bytes(handle, &tail);
    if used <= max / 100 * EVICT_START_PERCENT {
        return Ok(Evicted::default());
    }
    let mut oldest = handle.superblock.read()?.oldest_live;
    while used > max / 100 * EVICT_STOP_PERCENT {
        if oldest == tail.active {
            if own_segments_ahead(handle, &tail)? == 0 {
                break;
            }
            tail = roll(handle, &lock, &tail)?;
        }
        used = used.saturating_sub(handle.log.occupied_bytes(oldest));
        oldest += 1;
    }
    drop_below(handle, locks, lock, &tail, oldest)
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
