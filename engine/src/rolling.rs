//! Where records go next: the tail, and the segments that are begun for it.
//!
//! 1. A tail counts only if it is valid, of this epoch and boot, and its segment can be opened;
//!    else a new epoch begins in a new segment, and all earlier segments are closed.
//! 2. A segment is made in this order: its file, the superblock, the tail. Killed in between, the
//!    maker leaves a file that nobody refers to, and the next one replaces it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::counters::EngineCounter;
use crate::env::LockGuard;
use crate::error::{Error, ErrorKind, Result};
use crate::format::segment::{SegmentHeader, table_pages};
use crate::format::superblock::Superblock;
use crate::format::tail::Tail;
use crate::handle::Handle;
use crate::limits::{CHECKPOINT_BYTES, CHECKPOINT_MS, SEGMENT_ID_MAX};
use crate::log::Segment;

/// Sequence numbers hold the epoch above this many bits.
pub const SEQUENCE_EPOCH_SHIFT: u32 = 40;

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
    if let Some(tail) = tail
        && tail.epoch == epoch
        && tail.boot_id == handle.env.boot_id()
        && matches!(handle.log.segment(tail.active), Ok(Some(_)))
    {
        return Ok(tail);
    }
    begin_epoch(handle, lock)
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

/// Starts a new epoch in a new segment; all earlier segments are closed.
fn begin_epoch(handle: &Handle, lock: &LockGuard<'_>) -> Result<Tail> {
    check_kernel(handle, &handle.superblock.read()?)?;
    let epoch = handle.superblock.change(lock, |block| block.epoch += 1)?.epoch;
    handle.epoch.store(epoch, Ordering::Relaxed);
    let other_bytes = handle.occupied_bytes(None)?;
    let id = add_segment(handle, lock, handle.segment_bytes)?.id();
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
    if before.sizes()?.len_bytes != tail.offset {
        before.set_len(tail.offset)?;
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
    handle.check_current()?;
    let block = handle.superblock.read()?;
    if block.next_segment >= SEGMENT_ID_MAX {
        return Err(Error::new(ErrorKind::Limit, "the store has used up its segment ids"));
    }
    create_segment(handle, block.next_segment, table_for_bytes, block.epoch)?;
    handle.superblock.change(lock, |block| block.next_segment += 1)?;
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
