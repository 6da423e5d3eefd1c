//! Where records go next: the tail, and the segments that are begun for it.
//!
//! 1. A tail counts only if it is valid, of this epoch and boot, and its segment can be opened;
//!    else a new epoch begins in a new segment, and all earlier segments are closed.
//! 2. A segment is made in this order: its file, the superblock, the tail. Killed in between, the
//!    maker leaves a file that nobody refers to, and the next one replaces it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::counters::EngineCounter;
use crate::env::{LockByte, LockGuard, LockTable};
use crate::error::{Error, ErrorKind, Result};
use crate::format::segment::{SegmentHeader, table_pages};
use crate::format::superblock::{EPOCH_MAX, Superblock};
use crate::format::tail::Tail;
use crate::handle::Handle;
use crate::limits::{
    BLOCK_BYTES, CHECKPOINT_BYTES, CHECKPOINT_MS, COUNT_TRIES_MAX, HEARTBEAT_RENEW_SECS,
    LOCK_WAIT_MS_MAX, SEGMENT_ID_MAX,
};
use crate::log::Segment;

/// Sequence numbers hold the epoch above this many bits.
pub const SEQUENCE_EPOCH_SHIFT: u32 = 40;

/// The epoch of an empty segment that stands in place of a lost one: it says nothing about the
/// sequence numbers of what was committed there.
pub const EPOCH_OF_REPLACED: u32 = 0;

/// A segment that must exist.
///
/// # Errors
/// `Corrupt` if it does not.
pub fn live_segment(handle: &Handle, id: u32) -> Result<Arc<Segment>> {
    handle
        .log
        .segment(id)?
        .ok_or_else(|| Error::corrupt("the active segment is missing").at_path(&handle.path))
}

/// The tail as it stands, or a fresh one in a new segment if it is void or its segment is damaged.
///
/// # Errors
/// If the disk refuses.
pub fn current_tail(handle: &Handle, lock: &LockGuard<'_>) -> Result<Tail> {
    let tail = handle.tail()?.read()?;
    let mut epoch = handle.epoch.load(Ordering::Relaxed);
    if tail.is_some_and(|tail| tail.epoch != epoch) {
        // Another handle has begun a new epoch since this one was opened.
        epoch = handle.superblock.read()?.epoch;
        handle.epoch.store(epoch, Ordering::Relaxed);
    }
    let is_this = |tail: &Tail| tail.epoch == epoch && tail.boot_id == handle.env.boot_id();
    let Some(tail) = tail.filter(is_this) else { return begin_epoch(handle, lock) };
    match handle.log.segment(tail.active) {
        Ok(Some(_)) => Ok(tail),
        // It may be whole, and this process one that may not open it, or has too many files open.
        Err(error) if !error.is_unreadable() => Err(error),
        _ => begin_epoch(handle, lock),
    }
}

/// Counts what the store occupies afresh: the tail's own sum drifts when processes are killed.
///
/// # Errors
/// `Busy` if the tail lock cannot be had; `Io`.
pub fn count(handle: &Handle, locks: &LockTable) -> Result<()> {
    for _ in 0..COUNT_TRIES_MAX {
        let before = {
            let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
            current_tail(handle, &lock)?
        };
        // Counted without the lock; if the tail rolls meanwhile, that was in vain.
        let other_bytes = handle.occupied_bytes(Some(before.active))?;
        let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
        let tail = current_tail(handle, &lock)?;
        if tail.active == before.active && tail.other_bytes == before.other_bytes {
            return handle.tail()?.write(&lock, &Tail { other_bytes, ..tail });
        }
    }
    Ok(())
}

/// Whether the store is still this kernel's: another one may have taken over a store in which
/// nobody wrote for a minute.
///
/// # Errors
/// `OtherKernel` if it is not.
pub fn check_kernel(handle: &Handle, block: &Superblock) -> Result<()> {
    if block.boot_id == handle.env.boot_id() {
        return Ok(());
    }
    let what = "another kernel has taken the store over";
    Err(Error::new(ErrorKind::OtherKernel, what).at_path(&handle.path))
}

/// Lets other kernels know that this one works on the store.
///
/// # Errors
/// `OtherKernel` if another one does; if the disk refuses.
pub fn renew_heartbeat(handle: &Handle, lock: &LockGuard<'_>) -> Result<()> {
    if !is_heartbeat_due(handle) {
        return Ok(());
    }
    let now = handle.env.now_secs();
    let mut block = handle.superblock.read()?;
    check_kernel(handle, &block)?;
    if now.abs_diff(block.heartbeat_secs) >= HEARTBEAT_RENEW_SECS {
        block = handle.superblock.change(lock, |block| block.heartbeat_secs = now)?;
    }
    handle.heartbeat_secs.store(block.heartbeat_secs, Ordering::Relaxed);
    Ok(())
}

fn is_heartbeat_due(handle: &Handle) -> bool {
    let seen = handle.heartbeat_secs.load(Ordering::Relaxed);
    handle.env.now_secs().abs_diff(seen) >= HEARTBEAT_RENEW_SECS
}

/// The same in the midst of long upkeep, which nobody else's puts may keep alive.
///
/// # Errors
/// `OtherKernel` if another kernel has taken the store over; if the disk refuses.
pub fn keep_alive(handle: &Handle) -> Result<()> {
    let Some(locks) = handle.locks()?.filter(|_| is_heartbeat_due(handle)) else { return Ok(()) };
    match locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX) {
        Ok(lock) => renew_heartbeat(handle, &lock),
        // Somebody of this kernel holds it, and renews.
        Err(error) if error.is_busy() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Starts a new epoch in a new segment; all earlier segments are closed.
fn begin_epoch(handle: &Handle, lock: &LockGuard<'_>) -> Result<Tail> {
    let block = handle.superblock.read()?;
    check_kernel(handle, &block)?;
    let epoch = block.epoch + 1;
    if epoch >= EPOCH_MAX {
        return Err(Error::new(ErrorKind::Limit, "the store has used up its epochs"));
    }
    let other_bytes = handle.occupied_bytes(None)?;
    let id = add_segment_in(handle, lock, handle.segment_bytes, epoch)?.id();
    handle.epoch.store(epoch, Ordering::Relaxed);
    let tail = Tail {
        active: id,
        open_from: id,
        epoch,
        offset: live_segment(handle, id)?.header.data_start(),
        next_sequence: u64::from(epoch) << SEQUENCE_EPOCH_SHIFT,
        other_bytes,
        written_bytes: 0,
        boot_id: handle.env.boot_id(),
        store: handle.tail()?.store(),
        last: id,
        written_since_ms: 0,
    };
    handle.tail()?.write(lock, &tail)?;
    Ok(tail)
}

/// Moves the tail to a new segment; the one before stays open for late commits until it is sealed.
///
/// # Errors
/// If the disk refuses.
pub fn roll(handle: &Handle, lock: &LockGuard<'_>, tail: &Tail) -> Result<Tail> {
    let before = live_segment(handle, tail.active)?;
    // The footer will stand behind everything reserved, whenever its writers get to write it.
    let len_bytes = match handle.env.copies_on_write(&handle.path) {
        // Whole blocks: it would first wait until the one that is cut has reached the disk.
        true => tail.offset.next_multiple_of(BLOCK_BYTES),
        false => tail.offset,
    };
    if before.sizes()?.len_bytes != len_bytes {
        before.set_len(len_bytes)?;
    }
    let segment = add_segment(handle, lock, handle.segment_bytes)?;
    let rolled = Tail {
        active: segment.id(),
        last: segment.id(),
        offset: segment.header.data_start(),
        other_bytes: tail.other_bytes + before.sizes()?.disk_bytes.max(tail.offset),
        ..*tail
    };
    handle.tail()?.write(lock, &rolled)?;
    handle.maintenance_due.store(true, Ordering::Relaxed);
    Ok(rolled)
}

/// Whether enough was written since the last checkpoint, in bytes or in time, for the next one.
pub fn is_checkpoint_due(handle: &Handle, tail: &Tail) -> bool {
    let since_ms = handle.env.monotonic_ms().saturating_sub(tail.written_since_ms);
    tail.written_bytes >= CHECKPOINT_BYTES || (tail.written_bytes > 0 && since_ms >= CHECKPOINT_MS)
}

/// How many segments of their own size records have got since the tail entered its segment. Only a
/// roll lets them be closed, merged, made durable and evicted.
///
/// # Errors
/// If the superblock cannot be read.
pub fn own_segments_ahead(handle: &Handle, tail: &Tail) -> Result<u32> {
    Ok(handle.superblock.read()?.next_segment.saturating_sub(tail.active + 1))
}

/// Makes the next segment, with a slot table for `table_for_bytes`, and publishes it in the
/// superblock.
///
/// # Errors
/// If the disk refuses, or the ids are used up.
pub fn add_segment(
    handle: &Handle,
    lock: &LockGuard<'_>,
    table_for_bytes: u64,
) -> Result<Arc<Segment>> {
    let epoch = handle.superblock.read()?.epoch;
    add_segment_in(handle, lock, table_for_bytes, epoch)
}

fn add_segment_in(
    handle: &Handle,
    lock: &LockGuard<'_>,
    table_for_bytes: u64,
    epoch: u32,
) -> Result<Arc<Segment>> {
    handle.check_current()?;
    let block = handle.superblock.read()?;
    if block.next_segment >= SEGMENT_ID_MAX {
        return Err(Error::new(ErrorKind::Limit, "the store has used up its segment ids"));
    }
    create_segment(handle, block.next_segment, table_for_bytes, epoch)?;
    handle.superblock.change(lock, |block| {
        block.next_segment += 1;
        block.epoch = epoch;
    })?;
    handle.count(EngineCounter::SegmentsMade);
    live_segment(handle, block.next_segment)
}

/// Makes the file of a segment that is or will be published in the superblock.
///
/// # Errors
/// If the disk refuses.
pub fn create_segment(handle: &Handle, id: u32, table_for_bytes: u64, epoch: u32) -> Result<()> {
    let header = SegmentHeader {
        id,
        table_pages: table_pages(table_for_bytes),
        salt: handle.env.random(),
        uuid: handle.uuid,
        created_secs: handle.env.now_secs(),
        created_ms: handle.env.monotonic_ms(),
        epoch,
    };
    handle.log.create(header, &handle.options)
}
