//! Eviction: the oldest segments go, whole.
//!
//! 1. Begins at 90 % of `max_size`, ends at 80 %. The cost does not depend on the number of
//!    entries.
//! 2. `oldest live` is published under the tail lock before the first file is unlinked: a reader
//!    that holds the segment finishes, one that comes late misses.
//! 3. Files below `oldest live` that a killed evictor left are unlinked by the next one.

use std::ops::Range;

use crate::counters::EngineCounter;
use crate::env::{LockByte, LockTable};
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
    let block = handle.superblock.read()?;
    let mut evicted = Evicted::default();
    let mut oldest = block.oldest_live;
    while used > max / 100 * EVICT_STOP_PERCENT {
        if oldest == tail.active {
            if own_segments_ahead(handle, &tail)? == 0 {
                break;
            }
            tail = roll(handle, &lock, &tail)?;
        }
        let bytes = handle.log.sizes(oldest).disk_bytes;
        used = used.saturating_sub(bytes);
        evicted.bytes += bytes;
        oldest += 1;
    }
    evicted.segments = u64::from(oldest - block.oldest_live);
    publish(handle, &lock, &tail, block.oldest_live, oldest)?;
    drop(lock);
    unlink(handle, block.oldest_live..oldest)?;
    Ok(evicted)
}

/// Publishes `oldest` as the oldest live segment; `first` was it before.
///
/// # Errors
/// `Io`.
pub fn publish(
    handle: &Handle,
    lock: &crate::env::LockGuard<'_>,
    tail: &Tail,
    first: u32,
    oldest: u32,
) -> Result<()> {
    let bytes: u64 = (first..oldest).map(|id| handle.log.sizes(id).disk_bytes).sum();
    handle.superblock.change(lock, |block| {
        block.oldest_live = oldest;
        block.durable_below = block.durable_below.max(oldest);
    })?;
    let tail = Tail {
        open_from: tail.open_from.max(oldest),
        other_bytes: tail.other_bytes.saturating_sub(bytes),
        ..*tail
    };
    handle.tail()?.write(lock, &tail)?;
    handle.log.forget_below(oldest);
    Ok(())
}

/// Unlinks segments that are published as gone: without the tail lock, because unlinking some large
/// files takes longer than a put waits.
///
/// # Errors
/// `Io`.
pub fn unlink(handle: &Handle, segments: Range<u32>) -> Result<()> {
    for id in segments {
        handle.log.remove(id)?;
        handle.count(EngineCounter::SegmentsEvicted);
    }
    Ok(())
}

/// Unlinks what a killed evictor left.
///
/// # Errors
/// `Io`.
pub fn sweep(handle: &Handle) -> Result<()> {
    let oldest_live = handle.superblock.read()?.oldest_live;
    for id in handle.log.ids()?.into_iter().filter(|id| *id < oldest_live) {
        handle.log.remove(id)?;
    }
    Ok(())
}
