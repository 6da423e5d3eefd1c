//! Putting records.
//!
//! *Reserve*: under the tail lock, move the tail past the records. *Write*: `pwrite` the bodies,
//! with no lock. *Commit*: under the tail lock, take sequence numbers, `pwrite` the frames, then
//! the slots. Only then are the records there. A writer killed in between leaves a hole that
//! nothing points to.
//!
//! A record is not committed behind one of the same key in a later segment; it gets a new place.
//!
//! Order inside a commit: superblock (once for each segment: its table counts), tail (the numbers
//! are used up), frames, slots. Killed after any step, the next commit takes other numbers, and a
//! frame without a slot is never looked for.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clones::FILE_BYTES_MAX as CLONES_BYTES;
use crate::counters::EngineCounter;
use crate::env::{LockByte, LockGuard, LockTable};
use crate::error::{Error, ErrorKind, Result};
use crate::format::body;
use crate::format::frame::{FRAME_BYTES, Frame};
use crate::format::segment::table_pages;
use crate::format::tail::Tail;
use crate::handle::Handle;
use crate::key::Key;
use crate::limits::{
    BLOCK_BYTES, BODY_WRITE_BYTES_MAX, EVICT_START_PERCENT, HEARTBEAT_RENEW_SECS, LOCK_WAIT_MS_MAX,
    PAGE_BYTES, PREALLOCATE_BYTES, RECORD_ALIGN, SEGMENT_BYTES_MAX, UNMERGED_SEGMENTS_MERGE,
    UPKEEP_BYTES, UPKEEP_SHARE,
};
use crate::location::Location;
use crate::log::Segment;
use crate::options::RecordLayout;
use crate::rolling::{
    add_segment, check_kernel, current_tail, is_checkpoint_due, live_segment, own_segments_ahead,
    roll,
};

/// What became of a put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Put {
    /// It is committed.
    Stored,
    /// It is not stored, and nothing else has changed.
    Dropped(DropReason),
}

/// Why a put was dropped. A cache goes on without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DropReason {
    /// The tail lock could not be had within 50 ms.
    Busy,
    /// `max_size`, the file system or a quota has no room.
    Full,
    /// The segment was closed before the commit, twice in a row.
    Closed,
    /// An earlier write of this handle failed; it writes no more until it is reopened.
    Poisoned,
    /// The store cannot be written.
    ReadOnly,
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DropReason::Busy => "the store is locked by a process that does not go on",
            DropReason::Full => "there is no room",
            DropReason::Closed => "its segment was closed before the commit",
            DropReason::Poisoned => "an earlier write failed",
            DropReason::ReadOnly => "the store is read-only",
        })
    }
}

/// A body on its way into the log.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// Its key.
    pub key: Key,
    /// Its kind, as a number.
    pub kind: u8,
    /// Whether its large sections must stand on block boundaries of the file.
    pub cloneable: bool,
    /// Its bytes.
    pub body: Cow<'a, [u8]>,
}

/// Room in a segment.
struct Reservation {
    segment: Arc<Segment>,
    epoch: u32,
    /// Offset of each record.
    offsets: Vec<u64>,
    /// Blocks to reserve ahead, if this reservation went into a new stretch of the segment.
    preallocate: Option<(u64, u64)>,
}

enum Attempt {
    Committed,
    /// The segment was closed, or its table has no room: a new reservation may do.
    Again,
}

/// Appends records next to each other, in one commit.
///
/// # Errors
/// `Limit` if they are too large together. A failing disk poisons the handle and is an error once,
/// later puts are dropped.
pub fn append(handle: &Handle, records: &[Outgoing<'_>]) -> Result<Put> {
    if handle.is_poisoned() {
        return Ok(dropped(handle, DropReason::Poisoned));
    }
    match try_twice(handle, records) {
        Err(error) => match error.kind() {
            ErrorKind::Busy => Ok(dropped(handle, DropReason::Busy)),
            ErrorKind::ReadOnly => Ok(dropped(handle, DropReason::ReadOnly)),
            ErrorKind::Full => {
                handle.maintenance_due.store(true, Ordering::Relaxed);
                Ok(dropped(handle, DropReason::Full))
            }
            ErrorKind::Limit => Err(error),
            _ => {
                handle.poisoned.store(true, Ordering::Relaxed);
                Err(error)
            }
        },
        put => put,
    }
}

/// Counts a put that is dropped.
fn dropped(handle: &Handle, reason: DropReason) -> Put {
    match reason {
        DropReason::Busy => handle.count(EngineCounter::DroppedBusy),
        DropReason::Full => handle.count(EngineCounter::DroppedFull),
        DropReason::Closed => handle.count(EngineCounter::DroppedClosed),
        DropReason::Poisoned => handle.count(EngineCounter::DroppedPoisoned),
        // Nothing can be counted where nothing can be written.
        DropReason::ReadOnly => {}
    }
    Put::Dropped(reason)
}

fn try_twice(handle: &Handle, records: &[Outgoing<'_>]) -> Result<Put> {
    let Some(locks) = handle.locks()? else { return Ok(dropped(handle, DropReason::ReadOnly)) };
    for _ in 0..2 {
        if let Attempt::Committed = attempt(handle, locks, records)? {
            handle.counters().add(EngineCounter::Puts.id(), records.len() as u64);
            return Ok(Put::Stored);
        }
    }
    Ok(dropped(handle, DropReason::Closed))
}

fn attempt(handle: &Handle, locks: &LockTable, records: &[Outgoing<'_>]) -> Result<Attempt> {
    let reservation = reserve(handle, locks, records)?;
    if let Some((offset, bytes)) = reservation.preallocate {
        // Without room for what lies ahead, the write itself may still succeed.
        let _ = reservation.segment.preallocate(offset, bytes);
    }
    for (record, offset) in records.iter().zip(&reservation.offsets) {
        if record.cloneable {
            let body_bytes = (record.body.len() as u64).next_multiple_of(BLOCK_BYTES);
            // Without it a clone of the record is as good, but keeps more on the disk.
            let file = reservation.segment.file();
            let _ = file.set_apart(offset + FRAME_BYTES as u64, body_bytes);
        }
        let places = (offset + FRAME_BYTES as u64..).step_by(BODY_WRITE_BYTES_MAX);
        for (place, piece) in places.zip(record.body.chunks(BODY_WRITE_BYTES_MAX)) {
            reservation.segment.write_at(piece, place)?;
        }
    }
    commit(handle, locks, records, &reservation)
}

/// Offsets of the records if the first may stand at `start` or later, and the end of the last.
fn lay_out(records: &[Outgoing<'_>], start: u64) -> (Vec<u64>, u64) {
    let mut end = start;
    let offsets = records
        .iter()
        .map(|record| {
            let offset = if record.cloneable {
                // The body, not its frame, begins on a block.
                (end + FRAME_BYTES as u64).next_multiple_of(BLOCK_BYTES) - FRAME_BYTES as u64
            } else {
                end.next_multiple_of(RECORD_ALIGN)
            };
            end = offset + FRAME_BYTES as u64 + record.body.len() as u64;
            offset
        })
        .collect();
    (offsets, end.next_multiple_of(RECORD_ALIGN))
}

fn reserve(handle: &Handle, locks: &LockTable, records: &[Outgoing<'_>]) -> Result<Reservation> {
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    let mut tail = current_tail(handle, &lock)?;
    renew_heartbeat(handle, &lock)?;
    let (mut offsets, mut end) = lay_out(records, tail.offset);
    let bytes = end - tail.offset;
    check_room(handle, &tail, bytes)?;
    if bytes > handle.segment_bytes / 2 {
        return reserve_own_segment(handle, &lock, tail, records);
    }
    if end > handle.segment_bytes {
        tail = roll(handle, &lock, &tail)?;
        (offsets, end) = lay_out(records, tail.offset);
    }
    let segment = live_segment(handle, tail.active)?;
    let preallocate = stretch(handle, &segment, tail.offset, end);
    tail.offset = end;
    note_written(handle, &mut tail, bytes);
    handle.tail()?.write(&lock, &tail)?;
    Ok(Reservation { segment, epoch: tail.epoch, offsets, preallocate })
}

/// Counts what a power cut would cost, and notes when a checkpoint is due.
fn note_written(handle: &Handle, tail: &mut Tail, bytes: u64) {
    if tail.written_bytes == 0 {
        tail.written_since_ms = handle.env.monotonic_ms();
    }
    tail.written_bytes += bytes;
    if is_checkpoint_due(handle, tail) {
        handle.maintenance_due.store(true, Ordering::Relaxed);
    }
}

/// The stretch of blocks that is to be reserved, if `start..end` is the first to enter it.
fn stretch(handle: &Handle, segment: &Segment, start: u64, end: u64) -> Option<(u64, u64)> {
    let step = PREALLOCATE_BYTES.min(handle.segment_bytes);
    let entered = if start <= segment.header.data_start() { 0 } else { start.div_ceil(step) };
    let until = end.div_ceil(step);
    let wanted = handle.options.preallocate && entered < until;
    wanted.then(|| (start, (until * step).min(handle.segment_bytes).saturating_sub(start)))
}

/// Drops a reservation that would pass `max_size`, and notes when eviction is due.
fn check_room(handle: &Handle, tail: &Tail, bytes: u64) -> Result<()> {
    let ahead =
        if handle.options.preallocate { PREALLOCATE_BYTES.min(handle.segment_bytes) } else { 0 };
    // The record may need a new segment: its head and table, and the rounding to blocks.
    let new_segment = (u64::from(table_pages(handle.segment_bytes)) + 3) * PAGE_BYTES as u64;
    let active = (tail.offset + ahead).min(handle.segment_bytes);
    let clones = match handle.options.layout {
        RecordLayout::Cloneable => CLONES_BYTES,
        _ => 0,
    };
    let kept_back = UPKEEP_BYTES + clones + (tail.other_bytes + active) / UPKEEP_SHARE;
    let used = tail.other_bytes + active + bytes + new_segment + kept_back;
    let max = handle.options.max_size_bytes;
    if used > max / 100 * EVICT_START_PERCENT {
        handle.maintenance_due.store(true, Ordering::Relaxed);
    }
    if used > max {
        return Err(Error::new(ErrorKind::Full, "the store has reached its max_size"));
    }
    Ok(())
}

/// Records too large to share a segment get one of their own; the tail stays where it is.
fn reserve_own_segment(
    handle: &Handle,
    lock: &LockGuard<'_>,
    mut tail: Tail,
    records: &[Outgoing<'_>],
) -> Result<Reservation> {
    let pages = u64::from(table_pages(PAGE_BYTES as u64));
    let (offsets, end) = lay_out(records, (pages + 1) * PAGE_BYTES as u64);
    let last = offsets.last().copied().unwrap_or(0);
    if last >= SEGMENT_BYTES_MAX {
        return Err(Error::new(ErrorKind::Limit, "records put together are too large"));
    }
    let segment = add_segment(handle, lock, PAGE_BYTES as u64)?;
    segment.set_len(end)?;
    tail.last = segment.id();
    tail.other_bytes += end;
    note_written(handle, &mut tail, end);
    handle.tail()?.write(lock, &tail)?;
    if own_segments_ahead(handle, &tail)? >= UNMERGED_SEGMENTS_MERGE {
        handle.maintenance_due.store(true, Ordering::Relaxed);
    }
    Ok(Reservation { segment, epoch: tail.epoch, offsets, preallocate: None })
}

fn renew_heartbeat(handle: &Handle, lock: &LockGuard<'_>) -> Result<()> {
    let now = handle.env.now_secs();
    if now.abs_diff(handle.heartbeat_secs.load(Ordering::Relaxed)) < HEARTBEAT_RENEW_SECS {
        return Ok(());
    }
    let mut block = handle.superblock.read()?;
    check_kernel(handle, &block)?;
    if now.abs_diff(block.heartbeat_secs) >= HEARTBEAT_RENEW_SECS {
        block = handle.superblock.change(lock, |block| block.heartbeat_secs = now)?;
    }
    handle.heartbeat_secs.store(block.heartbeat_secs, Ordering::Relaxed);
    Ok(())
}

/// Lets look-ups ask the table of a segment, before its first slot is written.
fn mark_used(handle: &Handle, lock: &LockGuard<'_>, segment: u32) -> Result<()> {
    if segment < handle.used_below.load(Ordering::Relaxed) {
        return Ok(());
    }
    // As look-ups see it: of a change that was cut short they may not have heard.
    let block = handle.superblock.glance()?;
    let block = match block.used_below > segment {
        true => block,
        false => handle.superblock.change(lock, |block| block.used_below = segment + 1)?,
    };
    handle.used_below.store(block.used_below, Ordering::Relaxed);
    Ok(())
}

fn commit(
    handle: &Handle,
    locks: &LockTable,
    records: &[Outgoing<'_>],
    reservation: &Reservation,
) -> Result<Attempt> {
    let segment = &reservation.segment;
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    let Some(mut tail) = handle.tail()?.read()? else { return Ok(Attempt::Again) };
    if tail.epoch != reservation.epoch || segment.id() < tail.open_from {
        return Ok(Attempt::Again);
    }
    if is_behind(handle, segment, &tail, records)? {
        if segment.id() == tail.active {
            roll(handle, &lock, &tail)?;
        }
        return Ok(Attempt::Again);
    }
    mark_used(handle, &lock, segment.id())?;
    let first_sequence = tail.next_sequence;
    tail.next_sequence += records.len() as u64;
    handle.tail()?.write(&lock, &tail)?;
    let mut slots = Vec::with_capacity(records.len());
    for (index, (record, offset)) in records.iter().zip(&reservation.offsets).enumerate() {
        let body_bytes = record.body.len() as u64;
        let frame = Frame {
            segment: segment.id(),
            offset: *offset,
            sequence: first_sequence + index as u64,
            body_bytes,
            head_check: body::stored_check(&record.body).unwrap_or(0),
        };
        segment.write_at(&frame.encode(segment.header.salt), *offset)?;
        let record_bytes = FRAME_BYTES as u64 + body_bytes;
        let location = Location::new(segment.id(), *offset, record_bytes, record.kind);
        slots.push((record.key, location));
    }
    if segment.add_slots(&lock, &slots)? {
        return Ok(Attempt::Committed);
    }
    if segment.id() == tail.active {
        roll(handle, &lock, &tail)?;
    }
    Ok(Attempt::Again)
}

/// Whether a later segment may have a record of one of these keys. The newest record of a key must
/// stand in the last segment that has one: eviction takes the earliest segments first, and a value
/// that was replaced or removed would come back.
fn is_behind(
    handle: &Handle,
    segment: &Segment,
    tail: &Tail,
    records: &[Outgoing<'_>],
) -> Result<bool> {
    let mut found = Vec::new();
    for id in segment.id() + 1..=tail.last {
        let later = match handle.log.segment(id) {
            Ok(Some(later)) => later,
            Ok(None) => continue,
            Err(error) if error.is_unreadable() => return Ok(true),
            Err(error) => return Err(error),
        };
        for record in records {
            let all_valid = later.find_slots(&record.key, &mut found)?;
            if !all_valid || !found.is_empty() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
