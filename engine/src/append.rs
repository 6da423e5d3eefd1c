//! Putting records.
//!
//! *Reserve*: under the tail lock, move the tail past the records. *Write*: `pwrite` the bodies,
//! with no lock. *Commit*: under the tail lock, take sequence numbers, `pwrite` the frames, then
//! the slots. Only then are the records there. A writer killed in between leaves a hole that
//! nothing points to.
//!
//! A record is not committed behind one of the same key in a later segment; it gets a new place. A
//! copy of a record that stands in the log already is committed only if nothing newer of its key
//! is, see [`append_copies`].
//!
//! Order inside a commit: superblock (once for each segment: its table counts), tail (the numbers
//! are used up), frames, slots. Killed after any step, the next commit takes other numbers, and a
//! frame without a slot is never looked for.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
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
    BLOCK_BYTES, BODY_WRITE_BYTES_MAX, EVICT_START_PERCENT, EXTEND_BYTES, LOCK_WAIT_MS_MAX,
    PAGE_BYTES, PREALLOCATE_BYTES, RECORD_ALIGN, SEGMENT_BYTES_MAX, UNMERGED_SEGMENTS_MERGE,
    UPKEEP_BYTES, UPKEEP_SHARE,
};
use crate::location::Location;
use crate::log::Segment;
use crate::options::RecordLayout;
use crate::rolling::{
    add_segment, current_tail, is_checkpoint_due, live_segment, own_segments_ahead,
    renew_heartbeat, roll,
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
    /// Of a copy, the sequence number under which the record was first committed, else 0.
    pub copied_from: u64,
}

/// From so many records on, bodies are copied together before they are written: of fewer, the calls
/// that this saves cost no more than the copy.
const JOINED_RECORDS_MIN: usize = 4;

/// Room in a segment.
struct Reservation {
    segment: Arc<Segment>,
    epoch: u32,
    /// Offset of each record.
    offsets: Vec<u64>,
    /// Blocks to reserve ahead, if this reservation went into a new stretch of the segment.
    preallocate: Option<(u64, u64)>,
}

/// What became of copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copied {
    /// The segment that they went to.
    pub segment: u32,
    /// Which of them are committed; the others were removed or replaced meanwhile.
    pub committed: Vec<bool>,
}

/// Which records of a reservation are to be committed.
#[derive(Clone, Copy, Debug)]
enum Terms {
    /// All of them, as new values of their keys.
    All,
    /// Those whose key has no record from this segment on: copies.
    NoneFrom(u32),
}

enum Attempt {
    Committed(Copied),
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
        if let Attempt::Committed(_) = attempt(handle, locks, records, Terms::All)? {
            handle.counters().add(EngineCounter::Puts.id(), records.len() as u64);
            return Ok(Put::Stored);
        }
    }
    Ok(dropped(handle, DropReason::Closed))
}

/// Appends copies of records that were each the newest of their key at a moment when no segment
/// below `open_from` was open. One whose key was put or removed since is left out: that has left a
/// slot in a segment from there on. `None` if the copies are given up.
///
/// # Errors
/// If the disk refuses. Want of room and a lock that cannot be had are none.
pub fn append_copies(
    handle: &Handle,
    locks: &LockTable,
    records: &[Outgoing<'_>],
    open_from: u32,
) -> Result<Option<Copied>> {
    for _ in 0..2 {
        match attempt(handle, locks, records, Terms::NoneFrom(open_from)) {
            Ok(Attempt::Committed(copied)) => return Ok(Some(copied)),
            Ok(Attempt::Again) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Full | ErrorKind::Busy) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn attempt(
    handle: &Handle,
    locks: &LockTable,
    records: &[Outgoing<'_>],
    terms: Terms,
) -> Result<Attempt> {
    let reservation = reserve(handle, locks, records)?;
    if let Some((offset, bytes)) = reservation.preallocate {
        // Without room for what lies ahead, the write itself may still succeed.
        let _ = reservation.segment.preallocate(offset, bytes);
    }
    write_bodies(&reservation, records)?;
    commit(handle, locks, records, terms, &reservation)
}

/// Writes the bodies to their places. Of many, those that are small go together, with zeros where
/// their frames are to stand: the file system is then called for each 256 KiB and not for each.
fn write_bodies(reservation: &Reservation, records: &[Outgoing<'_>]) -> Result<()> {
    let segment = &reservation.segment;
    let joins = records.len() >= JOINED_RECORDS_MIN && !records.iter().any(|one| one.cloneable);
    let (mut joined, mut joined_from) = (Vec::new(), 0);
    for (record, offset) in records.iter().zip(&reservation.offsets) {
        let place = offset + FRAME_BYTES as u64;
        let joined_bytes = place.saturating_sub(joined_from) as usize;
        let fits = joined_bytes.saturating_add(record.body.len()) <= BODY_WRITE_BYTES_MAX;
        if !joined.is_empty() && !fits {
            segment.write_at(&joined, joined_from)?;
            joined.clear();
        }
        if joined.is_empty() {
            if !joins || record.body.len() > BODY_WRITE_BYTES_MAX / 2 {
                let places = (place..).step_by(BODY_WRITE_BYTES_MAX);
                for (place, piece) in places.zip(record.body.chunks(BODY_WRITE_BYTES_MAX)) {
                    segment.write_at(piece, place)?;
                }
                continue;
            }
            joined_from = place;
        } else {
            joined.resize(joined_bytes, 0);
        }
        joined.extend_from_slice(&record.body);
    }
    if joined.is_empty() { Ok(()) } else { segment.write_at(&joined, joined_from) }
}

/// Bytes of the hole that is left on both sides of a cloneable record. Where blocks that are
/// written side by side become one extent, and are freed only together, a clone of one record would
/// keep its neighbours on the disk.
fn hole_bytes(handle: &Handle, records: &[Outgoing<'_>]) -> u64 {
    let any_cloneable = records.iter().any(|record| record.cloneable);
    let wanted = any_cloneable && handle.env.copies_on_write(&handle.path);
    if wanted { BLOCK_BYTES } else { 0 }
}

/// Offsets of the records if the first may stand at `start` or later, and the end of the last.
fn lay_out(records: &[Outgoing<'_>], start: u64, hole_bytes: u64) -> (Vec<u64>, u64) {
    // The first whole block behind a hole that begins with `end` or later.
    let behind_hole = |end: u64| match hole_bytes {
        0 => end,
        bytes => end.next_multiple_of(BLOCK_BYTES) + bytes,
    };
    let mut end = start;
    let offsets = records
        .iter()
        .map(|record| {
            let offset = if record.cloneable {
                // The body, not its frame, begins on a block.
                let body_at = behind_hole(end) + FRAME_BYTES as u64;
                body_at.next_multiple_of(BLOCK_BYTES) - FRAME_BYTES as u64
            } else {
                end.next_multiple_of(RECORD_ALIGN)
            };
            end = offset + FRAME_BYTES as u64 + record.body.len() as u64;
            if record.cloneable {
                end = behind_hole(end);
            }
            offset
        })
        .collect();
    (offsets, end.next_multiple_of(RECORD_ALIGN))
}

fn reserve(handle: &Handle, locks: &LockTable, records: &[Outgoing<'_>]) -> Result<Reservation> {
    let hole_bytes = hole_bytes(handle, records);
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    let mut tail = current_tail(handle, &lock)?;
    renew_heartbeat(handle, &lock)?;
    let (mut offsets, mut end) = lay_out(records, tail.offset, hole_bytes);
    let bytes = end - tail.offset;
    check_room(handle, &tail, bytes)?;
    if bytes > handle.segment_bytes / 2 {
        return reserve_own_segment(handle, &lock, tail, records, hole_bytes);
    }
    if end > handle.segment_bytes {
        tail = roll(handle, &lock, &tail)?;
        (offsets, end) = lay_out(records, tail.offset, hole_bytes);
    }
    let segment = live_segment(handle, tail.active)?;
    let preallocate = stretch(handle, &segment, tail.offset, end);
    extend(handle, &segment, tail.offset, end)?;
    tail.offset = end;
    note_written(handle, &mut tail, bytes);
    handle.tail()?.write(&lock, &tail)?;
    Ok(Reservation { segment, epoch: tail.epoch, offsets, preallocate })
}

/// Makes the file longer if `start..end` is the first to enter a new step of it. XFS would reserve
/// blocks behind the end of a file that every write makes longer, as many again as it has, and
/// nobody could say how many.
fn extend(handle: &Handle, segment: &Segment, start: u64, end: u64) -> Result<()> {
    let step = EXTEND_BYTES.min(handle.segment_bytes);
    let entered = if start <= segment.header.data_start() { 0 } else { start.div_ceil(step) };
    let until = end.div_ceil(step);
    match entered < until {
        true => segment.set_len((until * step).min(handle.segment_bytes)),
        false => Ok(()),
    }
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

/// Counts bytes of the store's directory that are no records as used; `false` without room.
///
/// # Errors
/// `Busy` if the tail lock cannot be had; `Io`.
pub fn take_room(handle: &Handle, bytes: u64) -> Result<bool> {
    let locks = if handle.is_poisoned() { None } else { handle.locks()? };
    let Some(locks) = locks else { return Ok(false) };
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    let tail = current_tail(handle, &lock)?;
    match check_room(handle, &tail, bytes) {
        Err(error) if error.kind() == ErrorKind::Full => return Ok(false),
        room => room?,
    }
    handle.tail()?.write(&lock, &Tail { other_bytes: tail.other_bytes + bytes, ..tail })?;
    Ok(true)
}

/// Refuses a reservation that would pass `max_size`, and notes when eviction is due.
///
/// # Errors
/// `Full`.
pub fn check_room(handle: &Handle, tail: &Tail, bytes: u64) -> Result<()> {
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
    // What eviction goes by, or janitors would come and find nothing to do.
    if tail.other_bytes + tail.offset + bytes > max / 100 * EVICT_START_PERCENT {
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
    hole_bytes: u64,
) -> Result<Reservation> {
    let pages = u64::from(table_pages(PAGE_BYTES as u64));
    let (offsets, end) = lay_out(records, (pages + 1) * PAGE_BYTES as u64, hole_bytes);
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
    terms: Terms,
    reservation: &Reservation,
) -> Result<Attempt> {
    let segment = &reservation.segment;
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    let Some(mut tail) = handle.tail()?.read()? else { return Ok(Attempt::Again) };
    if tail.epoch != reservation.epoch || segment.id() < tail.open_from {
        return Ok(Attempt::Again);
    }
    let committed: Vec<bool> = match terms {
        Terms::All if is_behind(handle, segment, &tail, records)? => {
            if segment.id() == tail.active {
                roll(handle, &lock, &tail)?;
            }
            return Ok(Attempt::Again);
        }
        Terms::All => vec![true; records.len()],
        Terms::NoneFrom(first) => {
            let is_newest = |record| Ok(!is_replaced(handle, first..=tail.last, record)?);
            records.iter().map(is_newest).collect::<Result<_>>()?
        }
    };
    let placed = records.iter().zip(&reservation.offsets).zip(&committed);
    let placed: Vec<_> = placed.filter(|(_, wanted)| **wanted).map(|(place, _)| place).collect();
    let copied = Copied { segment: segment.id(), committed };
    if placed.is_empty() {
        return Ok(Attempt::Committed(copied));
    }
    mark_used(handle, &lock, segment.id())?;
    let first_sequence = tail.next_sequence;
    tail.next_sequence += placed.len() as u64;
    handle.tail()?.write(&lock, &tail)?;
    if write_frames(segment, &lock, &placed, first_sequence)? {
        return Ok(Attempt::Committed(copied));
    }
    if segment.id() == tail.active {
        roll(handle, &lock, &tail)?;
    }
    Ok(Attempt::Again)
}

/// Writes the frames and the slots of records; `false` if the table has no room for them.
fn write_frames(
    segment: &Segment,
    lock: &LockGuard<'_>,
    placed: &[(&Outgoing<'_>, &u64)],
    first_sequence: u64,
) -> Result<bool> {
    let mut slots = Vec::with_capacity(placed.len());
    for (index, (record, offset)) in placed.iter().enumerate() {
        let body_bytes = record.body.len() as u64;
        let frame = Frame {
            segment: segment.id(),
            offset: **offset,
            sequence: first_sequence + index as u64,
            body_bytes,
            head_check: body::stored_check(&record.body).unwrap_or(0),
            copied_from: record.copied_from,
        };
        segment.write_at(&frame.encode(segment.header.salt), **offset)?;
        let record_bytes = FRAME_BYTES as u64 + body_bytes;
        let location = Location::new(segment.id(), **offset, record_bytes, record.kind);
        slots.push((record.key, location));
    }
    segment.add_slots(lock, &slots)
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
    for record in records {
        if has_record(handle, segment.id() + 1..=tail.last, record)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether one of these segments may have a record of exactly the key of `record`: another key with
/// its prefix must not cost a copy, whose source is about to go.
fn is_replaced(
    handle: &Handle,
    segments: RangeInclusive<u32>,
    record: &Outgoing<'_>,
) -> Result<bool> {
    for id in segments {
        if !has_record(handle, id..=id, record)? {
            continue;
        }
        let mut found = Vec::new();
        let segment = match handle.log.segment(id) {
            Ok(Some(segment)) => segment,
            _ => return Ok(true),
        };
        let is_other = |location: &Location| {
            segment.record_head(*location).is_ok_and(|other| other.head.key != record.key)
        };
        if !segment.find_slots(&record.key, &mut found)? || !found.iter().all(is_other) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether one of these segments may have a record of the key of `record`.
fn has_record(
    handle: &Handle,
    segments: RangeInclusive<u32>,
    record: &Outgoing<'_>,
) -> Result<bool> {
    let mut found = Vec::new();
    for id in segments {
        let segment = match handle.log.segment(id) {
            Ok(Some(segment)) => segment,
            Ok(None) => continue,
            Err(error) if error.is_unreadable() => return Ok(true),
            Err(error) => return Err(error),
        };
        let all_valid = segment.find_slots(&record.key, &mut found)?;
        if !all_valid || !found.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing(cloneable: bool, bytes: usize) -> Outgoing<'static> {
        let body = vec![0; bytes].into();
        Outgoing { key: Key::of(b"key"), kind: 1, cloneable, body, copied_from: 0 }
    }

    #[test]
    fn a_hole_stands_on_both_sides_of_a_cloneable_record() {
        let records =
            [outgoing(false, 100), outgoing(true, 70_000), outgoing(false, 10), outgoing(true, 5)];
        let frame = FRAME_BYTES as u64;
        for start in [8192, 8192 + 64, 12_288 - 64, 12_288] {
            let (offsets, end) = lay_out(&records, start, BLOCK_BYTES);
            assert_eq!(offsets[0], start);
            let blocks: Vec<(u64, u64)> = records
                .iter()
                .zip(&offsets)
                .map(|(record, offset)| {
                    let end = offset + frame + record.body.len() as u64;
                    (offset / BLOCK_BYTES, (end - 1) / BLOCK_BYTES)
                })
                .collect();
            for pair in blocks.windows(2) {
                assert!(pair[1].0 >= pair[0].1 + 2, "{start}: {blocks:?}");
            }
            assert!(end >= (blocks[3].1 + 2) * BLOCK_BYTES);
            for index in [1, 3] {
                assert_eq!((offsets[index] + frame) % BLOCK_BYTES, 0);
            }
        }
    }

    #[test]
    fn without_holes_records_stand_close_together() {
        let records = [outgoing(false, 100), outgoing(true, 4096), outgoing(false, 10)];
        let (offsets, end) = lay_out(&records, 8192, 0);
        assert_eq!(offsets, [8192, 12_288 - 64, 16_384]);
        assert_eq!(end, 16_384 + 128);
    }
}
