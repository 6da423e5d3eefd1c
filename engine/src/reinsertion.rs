//! Reinsertion: records of a segment that is about to go are appended again.
//!
//! 1. Only under the janitor lock, and only from a closed segment: nobody commits to it any more.
//! 2. A copy is a record like any other. It takes the next sequence number, and so stands behind
//!    every record of its key, in the order of numbers as in that of segments.
//! 3. So it must have the newest value of its key at the moment of its commit. A look-up without
//!    lock finds the source as the newest record; from then on a put or a removal of the key leaves
//!    a slot in an open segment, and under the tail lock no such segment has one, or the copy is
//!    given up. Whatever is committed later has a higher number.
//! 4. A removal is not copied. Every older record of its key stands in its segment or in an earlier
//!    one, and those go with it or went before; nor is an older record copied once it is removed.
//! 5. The body is copied byte for byte, after all of it was checked: it keeps its creation time,
//!    and what is damaged goes with its segment, counted.
//! 6. Before the sources go, the copies are made as durable as they were: see [`Copies::sync`].

use std::ops::Range;

use crate::append::{self, Copied, Outgoing};
use crate::counters::EngineCounter;
use crate::env::{LockByte, LockTable};
use crate::error::{Error, Result};
use crate::format::body::{self, Head, RecordKind};
use crate::format::frame::FRAME_BYTES;
use crate::handle::Handle;
use crate::limits::{LOCK_WAIT_MS_MAX, REINSERT_BATCH_BYTES, REINSERT_BATCH_RECORDS};
use crate::location::Location;
use crate::log::{self, RecordHead, Segment};
use crate::lookup;
use crate::rolling::{current_tail, roll};

/// What became of the records of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reinserted {
    /// Records that were appended again.
    pub records: u64,
    /// Their bytes, with frames.
    pub bytes: u64,
    /// Records that nobody wanted.
    pub unwanted: u64,
    /// Records that were wanted, and are removed or replaced.
    pub superseded: u64,
    /// Records that were wanted, and are not whole.
    pub damaged: u64,
    /// Records that were wanted beyond the budget of bytes.
    pub beyond: u64,
    /// Whether the rest was left because there was no room, or the tail lock could not be had.
    pub stopped: bool,
}

/// Copies of a round of reinsertions, which are not durable yet.
#[derive(Clone, Debug, Default)]
pub struct Copies {
    segments: Option<Range<u32>>,
}

impl Copies {
    fn note(&mut self, segment: u32) {
        let range = self.segments.get_or_insert(segment..segment + 1);
        *range = range.start.min(segment)..range.end.max(segment + 1);
    }

    /// Waits until the copies are on the disk, and can be found there after a power cut: before the
    /// segments that they come from are published as gone.
    ///
    /// # Errors
    /// If the disk reports a failure.
    pub fn sync(self, handle: &Handle, locks: &LockTable) -> Result<()> {
        let Some(segments) = self.segments else { return Ok(()) };
        leave(handle, locks, segments.end)?;
        for id in segments {
            if let Some(segment) = handle.log.segment(id)? {
                segment.sync()?;
            }
        }
        handle.env.sync_dir(&handle.path.join(log::DIRECTORY_NAME))
    }
}

/// Lets the tail leave the segments below `end`: some file systems hold up whoever writes to a file
/// that is being synced.
fn leave(handle: &Handle, locks: &LockTable, end: u32) -> Result<()> {
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    let tail = current_tail(handle, &lock)?;
    if tail.active < end {
        roll(handle, &lock, &tail)?;
    }
    Ok(())
}

/// Appends the newest records of segment `id` again, in their order, for which `wants` says so, as
/// long as they take no more than `bytes_max`. Of a record that is not wanted nothing is read here.
/// Only under the janitor lock, and for a segment below `open_from` of the tail.
///
/// # Errors
/// If the disk refuses a write or a sync, or the superblock cannot be read.
pub fn reinsert(
    handle: &Handle,
    locks: &LockTable,
    id: u32,
    bytes_max: u64,
    wants: &mut dyn FnMut(&Segment, Location) -> bool,
    copies: &mut Copies,
) -> Result<Reinserted> {
    let mut done = Reinserted::default();
    let segment = match handle.log.segment(id) {
        Ok(Some(segment)) => segment,
        Ok(None) => return Ok(done),
        Err(error) if error.is_unreadable() => {
            handle.count(EngineCounter::Damaged);
            return Ok(done);
        }
        Err(error) => return Err(error),
    };
    // Whatever is committed from now on leaves a slot in this segment or in a later one.
    let Some(tail) = handle.tail()?.read()?.filter(|tail| id < tail.open_from) else {
        return Ok(done);
    };
    let mut round =
        Round { handle, locks, open_from: tail.open_from, copies, batch: Vec::new(), bytes: 0 };
    for location in places(handle, &segment)? {
        if location.kind == RecordKind::Tombstone as u8 || !wants(&segment, location) {
            done.unwanted += 1;
            continue;
        }
        let taken = done.bytes + round.bytes;
        match source(handle, &segment, location)? {
            Source::Damaged => {
                handle.count(EngineCounter::Damaged);
                done.damaged += 1;
            }
            Source::Superseded => done.superseded += 1,
            Source::Newest(record) if taken + record_bytes(&record) > bytes_max => {
                done.beyond += 1;
            }
            Source::Newest(record) => round.add(record, &mut done)?,
        }
        if done.stopped {
            return Ok(done);
        }
    }
    round.flush(&mut done)?;
    Ok(done)
}

/// The records of a closed segment in the order in which they stand.
fn places(handle: &Handle, segment: &Segment) -> Result<Vec<Location>> {
    let is_suspect = handle.superblock.read()?.suspects().contains(&segment.id());
    // The footer of a suspect segment proves nothing.
    let entries = match is_suspect {
        true => segment.table_entries(),
        false => segment.entries(),
    };
    let entries = match entries {
        Err(error) if error.is_unreadable() => {
            handle.count(EngineCounter::Damaged);
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut places: Vec<Location> = entries.into_iter().map(|entry| entry.location).collect();
    places.sort_unstable();
    Ok(places)
}

/// What a wanted record turned out to be.
enum Source {
    Newest(Outgoing<'static>),
    Superseded,
    Damaged,
}

fn source(handle: &Handle, segment: &Segment, location: Location) -> Result<Source> {
    let (record, body) = match whole(segment, location) {
        Ok(whole) => whole,
        Err(error) if error.is_unreadable() => return Ok(Source::Damaged),
        Err(error) => return Err(error),
    };
    let place = lookup::place(handle, &record.head.key)?;
    if place.map(|place| (place.segment, place.unit)) != Some((location.segment, location.unit)) {
        return Ok(Source::Superseded);
    }
    let Head { key, kind, cloneable, .. } = record.head;
    let copied_from = record.frame.first_sequence();
    Ok(Source::Newest(Outgoing { key, kind, cloneable, body: body.into(), copied_from }))
}

/// The body of a record, of which everything is whole. It is read by calls: through a map the
/// kernel would read much that nobody wants.
fn whole(segment: &Segment, location: Location) -> Result<(RecordHead, Vec<u8>)> {
    let record = segment.record_head(location)?;
    let body_at = location.offset() + FRAME_BYTES as u64;
    let body = segment.read(record.frame.body_bytes as usize, body_at)?;
    let head = Head::decode_whole(&body).map_err(|error| error.at_offset(body_at))?;
    match body::stored_check(&body) == Some(record.frame.head_check) && head.kind < 64 {
        true => Ok((record, body)),
        false => Err(Error::corrupt("a record changes while it is read").at_offset(body_at)),
    }
}

fn record_bytes(record: &Outgoing<'_>) -> u64 {
    FRAME_BYTES as u64 + record.body.len() as u64
}

/// Copies that are committed together.
struct Round<'a> {
    handle: &'a Handle,
    locks: &'a LockTable,
    open_from: u32,
    copies: &'a mut Copies,
    batch: Vec<Outgoing<'static>>,
    bytes: u64,
}

impl Round<'_> {
    fn add(&mut self, record: Outgoing<'static>, done: &mut Reinserted) -> Result<()> {
        // More together than half a segment would get one of their own.
        let bytes_max = REINSERT_BATCH_BYTES.min(self.handle.segment_bytes / 4);
        if self.batch.len() == REINSERT_BATCH_RECORDS
            || self.bytes + record_bytes(&record) > bytes_max
        {
            self.flush(done)?;
        }
        self.bytes += record_bytes(&record);
        self.batch.push(record);
        Ok(())
    }

    fn flush(&mut self, done: &mut Reinserted) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        if batch.is_empty() || done.stopped {
            return Ok(());
        }
        match append::append_copies(self.handle, self.locks, &batch, self.open_from)? {
            Some(Copied { segment, committed }) => {
                self.copies.note(segment);
                let kept = batch.iter().zip(&committed).filter(|(_, kept)| **kept);
                let (records, bytes) = kept.fold((0, 0), |(records, bytes), (record, _)| {
                    (records + 1, bytes + record_bytes(record))
                });
                done.records += records;
                done.bytes += bytes;
                done.superseded += committed.len() as u64 - records;
                self.handle.counters().add(EngineCounter::ReinsertedRecords.id(), records);
                self.handle.counters().add(EngineCounter::ReinsertedBytes.id(), bytes);
            }
            None => done.stopped = true,
        }
        Ok(())
    }
}
