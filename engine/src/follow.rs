//! Following the log: every committed record once, in the order of commits.
//!
//! Commits have sequence numbers, which are given out under the tail lock, so a follower goes by
//! those and not by offsets: a writer that is still at work has no number yet, and one that was
//! killed left a hole that has none. Nobody is waited for, and nobody is passed.
//!
//! 1. *The bound*: under the tail lock the next number is read. Every commit with a lower one is
//!    complete, or its writer is dead. (Without the lock: a writer publishes the number before the
//!    slots.)
//! 2. *The position*: a segment below which all are closed, and the number up to which everything
//!    was handed out, without its epoch. The epoch is that of the segment: all that is committed to
//!    a segment has the epoch in which it was made.
//! 3. *The records*: from that segment on, those with a number from the position's to the bound.
//!    Of a closed segment the footer says them, and which numbers it has at all is remembered. Of
//!    an open one the slot table and the frames do, each of which is read once.
//! 4. *After a power cut*: before a position leaves, the superblock that has its segment's id is
//!    on the disk. So no later segment gets that id, whatever else is lost. If the segment is gone
//!    or an empty one stands in its place, everything from there on is handed out again. A new
//!    epoch's segments are behind it, so nothing that is committed later is passed over.
//! 5. What was evicted is passed and counted. Upkeep copies records that are in use; a copy says
//!    under which number the record was first committed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::counters::EngineCounter;
use crate::env::LockByte;
use crate::error::{Error, ErrorKind, Result};
use crate::format::segment::FooterEntry;
use crate::format::superblock::Superblock;
use crate::format::tail::Tail;
use crate::handle::Handle;
use crate::limits::{FOLLOWED_EPOCHS, FOLLOWED_TABLES, LOCK_WAIT_MS_MAX};
use crate::location::Location;
use crate::log::Segment;
use crate::record::Record;
use crate::rolling::{EPOCH_OF_REPLACED, SEQUENCE_EPOCH_SHIFT};

/// Bits of a position that hold the number within its epoch. 2^36 commits without a restart of the
/// machine are ten thousand in a second for eighty days; beyond them records come twice.
const COUNTER_BITS: u32 = 36;
const COUNTER_MAX: u64 = (1 << COUNTER_BITS) - 1;

/// How far somebody has followed the log. Positions of one store can be compared; that of another
/// store, see [`Store::uuid`](crate::Store::uuid), means nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LogPosition(u64);

impl LogPosition {
    /// Before the oldest record.
    pub const BEGIN: LogPosition = LogPosition(0);

    /// The position of a number that [`LogPosition::to_u64`] gave; any other number is some
    /// position, too.
    pub fn from_u64(number: u64) -> Self {
        LogPosition(number)
    }

    /// The position as a number, to be kept.
    pub fn to_u64(self) -> u64 {
        self.0
    }

    /// Before the record with this sequence number; segments below are closed or have none left.
    fn new(segment: u32, sequence: u64) -> Self {
        let counter = (sequence & ((1 << SEQUENCE_EPOCH_SHIFT) - 1)).min(COUNTER_MAX);
        LogPosition(u64::from(segment) << COUNTER_BITS | counter)
    }

    fn segment(self) -> u32 {
        (self.0 >> COUNTER_BITS) as u32
    }

    fn counter(self) -> u64 {
        self.0 & COUNTER_MAX
    }
}

/// Records of the log from a position on.
#[derive(Debug)]
pub struct LogPart {
    /// The records in the order of their commits, removals and superseded ones included. Of each
    /// the head is checked.
    pub records: Vec<Record>,
    /// Where to go on.
    pub end: LogPosition,
    /// Whether there was nothing more.
    pub is_at_end: bool,
    /// How many segments from the position on were evicted, if that may have taken records which
    /// were not handed out.
    pub skipped_segments: u64,
    /// If segments were skipped, a sequence number: what was first committed with a lower one may
    /// have been evicted unseen. Who leaves out copies should take those whose
    /// [`Record::first_sequence`] is lower. 0 if nothing was skipped.
    pub missed_below: u64,
    /// Damaged records that were passed, as far as they can be counted: a table or a footer that
    /// cannot be read is one.
    pub damaged_records: u64,
}

/// A committed record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Place {
    sequence: u64,
    location: Location,
}

/// The lowest and the highest sequence number of a segment.
#[derive(Clone, Copy, Debug)]
struct Span {
    first: u64,
    last: u64,
}

/// What a follower remembers of segments, so that it reads nothing twice.
#[derive(Debug, Default)]
pub struct Known {
    /// Of closed segments.
    spans: BTreeMap<u32, Span>,
    /// Of open segments: the number of the record at each offset.
    open: BTreeMap<u32, BTreeMap<u64, u64>>,
    /// The records of the closed segments that were read last.
    loaded: VecDeque<(u32, Arc<[Place]>)>,
    /// The epochs of the segments that positions name, which may be evicted meanwhile.
    epochs: BTreeMap<u32, u64>,
    /// The id below which no segment's can be used again, even after a power cut.
    ids_durable_below: u32,
    /// Tables and footers that could not be read.
    unreadable: u64,
}

/// The log at one moment.
struct Moment {
    block: Superblock,
    /// Segments below get no more commits.
    closed_below: u32,
    /// Commits below are complete.
    bound: u64,
    end: LogPosition,
}

impl Moment {
    /// # Errors
    /// `ReadOnly` for a store that is only read, `Busy` if the tail lock cannot be had; `Io`.
    fn now(handle: &Handle) -> Result<Moment> {
        let read_only = || {
            let what = "the log of a store that is only read cannot be followed";
            Error::new(ErrorKind::ReadOnly, what).at_path(&handle.path)
        };
        let locks = handle.locks()?.ok_or_else(read_only)?;
        let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
        let block = handle.superblock.read()?;
        let tail = counting_tail(handle, &block)?;
        drop(lock);
        let next = block.next_segment;
        let beyond = LogPosition::new(next, 0);
        let (closed_below, bound, end) = match tail {
            Some(tail) => {
                let end = end_of(handle, &tail)?.unwrap_or(beyond);
                (tail.open_from, tail.next_sequence, end)
            }
            // The next commit begins an epoch, and the segments of that.
            None => (next, (u64::from(block.epoch) + 1) << SEQUENCE_EPOCH_SHIFT, beyond),
        };
        Ok(Moment { block, closed_below, bound, end })
    }
}

/// The tail, if it counts.
fn counting_tail(handle: &Handle, block: &Superblock) -> Result<Option<Tail>> {
    let counts = |tail: &Tail| tail.epoch == block.epoch && tail.boot_id == handle.env.boot_id();
    Ok(handle.tail()?.read()?.filter(counts))
}

/// The position behind everything, `None` if no open segment can be opened. What stands in one that
/// cannot is not found by anybody.
fn end_of(handle: &Handle, tail: &Tail) -> Result<Option<LogPosition>> {
    let epoch = tail.next_sequence >> SEQUENCE_EPOCH_SHIFT;
    for id in tail.open_from..=tail.last {
        if epoch_of(handle, id)? == Some(epoch) {
            return Ok(Some(LogPosition::new(id, tail.next_sequence)));
        }
    }
    Ok(None)
}

/// The epoch in which a segment was made, `None` if that cannot be known.
fn epoch_of(handle: &Handle, segment: u32) -> Result<Option<u64>> {
    let epoch = match handle.log.segment(segment) {
        Err(error) if !error.is_unreadable() => return Err(error),
        segment => segment.ok().flatten().map(|segment| segment.header.epoch),
    };
    Ok(epoch.filter(|epoch| *epoch != EPOCH_OF_REPLACED).map(u64::from))
}

/// The position behind the last committed record.
///
/// # Errors
/// `ReadOnly` for a store that is only read, `Busy` if the tail lock cannot be had; `Io`.
pub fn log_end(handle: &Handle, known: &mut Known) -> Result<LogPosition> {
    let end = Moment::now(handle)?.end;
    known.keep(handle, end)?;
    Ok(end)
}

/// The records from a position on, at most `count_max` of them.
///
/// # Errors
/// See [`log_end`]. No position is an error.
pub fn records_after(
    handle: &Arc<Handle>,
    known: &mut Known,
    from: LogPosition,
    count_max: usize,
) -> Result<LogPart> {
    if let Some(end) = quiet_end(handle, from)? {
        known.keep(handle, end)?;
        return Ok(LogPart::empty(end));
    }
    let now = Moment::now(handle)?;
    known.keep(handle, now.end)?;
    known.forget(&now);
    let start = Start::of(handle, known, &now, from)?;
    let mut part = LogPart::empty(now.end);
    let mut segments = Vec::new();
    for id in start.segment..now.block.next_segment {
        let span = known.span(handle, &now, id, &mut part)?;
        segments.extend(span.map(|span| (span, id)));
    }
    // Numbers are given out in a row, so what is missing has lower ones than what is left.
    let oldest = segments.iter().fold(now.bound, |low, (span, _)| low.min(span.first));
    if start.skipped_segments > 0 && oldest > start.sequence {
        (part.skipped_segments, part.missed_below) = (start.skipped_segments, oldest);
    }
    segments.retain(|(span, _)| span.last >= start.sequence);
    segments.sort_unstable_by_key(|(span, id)| (span.first, *id));
    let mut places: Vec<Place> = Vec::new();
    for (span, id) in &segments {
        if places.get(count_max).is_some_and(|place| place.sequence < span.first) {
            break;
        }
        let found = known.places(handle, &now, *id)?;
        let wanted = start.sequence.max(1)..now.bound;
        places.extend(found.iter().filter(|place| wanted.contains(&place.sequence)));
        places.sort_unstable();
        places.truncate(count_max.saturating_add(1));
    }
    if let Some(next) = places.get(count_max) {
        part.is_at_end = false;
        part.end = position_before(handle, &now, &segments, next.sequence)?;
        places.truncate(count_max);
    }
    for place in places {
        part.read(handle, place)?;
    }
    part.pass_damaged(handle, std::mem::take(&mut known.unreadable));
    let oldest_live = handle.superblock.glance()?.oldest_live;
    if oldest_live > start.segment {
        // Meanwhile; what of it was read, and what not, nobody knows.
        part.skipped_segments = part.skipped_segments.max(u64::from(oldest_live - start.segment));
        part.missed_below = now.bound;
    }
    Ok(part)
}

/// The end, if that is what `from` is: then nobody's lock is taken.
fn quiet_end(handle: &Handle, from: LogPosition) -> Result<Option<LogPosition>> {
    let block = handle.superblock.glance()?;
    if from.segment() < block.oldest_live || from.segment() >= block.next_segment {
        return Ok(None);
    }
    let Some(tail) = counting_tail(handle, &block)? else { return Ok(None) };
    if epoch_of(handle, from.segment())? != Some(tail.next_sequence >> SEQUENCE_EPOCH_SHIFT) {
        return Ok(None);
    }
    let is_there = |end: &LogPosition| {
        end.counter() == from.counter() && from.counter() < COUNTER_MAX && *end >= from
    };
    Ok(end_of(handle, &tail)?.filter(is_there))
}

/// The position before the first record that is not handed out, which has this number.
fn position_before(
    handle: &Handle,
    now: &Moment,
    segments: &[(Span, u32)],
    sequence: u64,
) -> Result<LogPosition> {
    let has_more = segments.iter().filter(|(span, _)| span.last >= sequence);
    let mut segment = has_more.map(|(_, id)| *id).min().unwrap_or(now.block.oldest_live);
    // An open segment may yet get commits. It is no anchor for numbers of an older epoch, whose
    // segments are all closed and stand before it.
    let open = now.end.segment();
    if epoch_of(handle, open)? == Some(sequence >> SEQUENCE_EPOCH_SHIFT) {
        segment = segment.min(open);
    }
    Ok(LogPosition::new(segment, sequence))
}

/// Where to begin.
struct Start {
    segment: u32,
    /// What has a lower number was handed out.
    sequence: u64,
    skipped_segments: u64,
}

impl Start {
    fn of(handle: &Handle, known: &Known, now: &Moment, from: LogPosition) -> Result<Start> {
        let block = &now.block;
        let id = from.segment();
        if id > block.next_segment {
            // Of a store that was set back: nothing is known.
            return Ok(Start { segment: block.oldest_live, sequence: 0, skipped_segments: 0 });
        }
        let segment = id.max(block.oldest_live);
        let skipped = if from == LogPosition::BEGIN { 0 } else { segment - id };
        let epoch = match skipped {
            0 => epoch_of(handle, id)?,
            _ => known.epochs.get(&id).copied(),
        };
        let sequence = epoch.map_or(0, |epoch| epoch << SEQUENCE_EPOCH_SHIFT | from.counter());
        Ok(Start { segment, sequence, skipped_segments: u64::from(skipped) })
    }
}

impl LogPart {
    fn empty(end: LogPosition) -> LogPart {
        LogPart {
            records: Vec::new(),
            end,
            is_at_end: true,
            skipped_segments: 0,
            missed_below: 0,
            damaged_records: 0,
        }
    }

    /// Adds the record at a place; one that is not there any more is passed.
    fn read(&mut self, handle: &Arc<Handle>, place: Place) -> Result<()> {
        let id = place.location.segment;
        let record = match handle.log.segment(id) {
            Ok(Some(segment)) => {
                segment.record_head(place.location).map(|record| Some((segment, record)))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match record {
            Ok(Some((segment, record))) if record.frame.sequence == place.sequence => {
                self.records.push(Record::new(handle, segment, place.location, record));
            }
            Ok(None) if handle.is_evicted(id)? => {}
            Err(error) if !error.is_unreadable() => return Err(error),
            _ => self.pass_damaged(handle, 1),
        }
        Ok(())
    }

    fn pass_damaged(&mut self, handle: &Handle, records: u64) {
        if records > 0 {
            handle.count(EngineCounter::Damaged);
        }
        self.damaged_records += records;
    }
}

impl Known {
    /// Remembers the position's epoch, and sees to it that after a power cut no segment gets the
    /// id of the position's.
    fn keep(&mut self, handle: &Handle, position: LogPosition) -> Result<()> {
        let (segment, below) = (position.segment(), self.ids_durable_below);
        if let Some(epoch) = epoch_of(handle, segment)? {
            self.epochs.insert(segment, epoch);
        }
        while self.epochs.len() > FOLLOWED_EPOCHS {
            self.epochs.pop_first();
        }
        if segment < below || segment == below && position.counter() == 0 {
            return Ok(());
        }
        if handle.is_poisoned() {
            let what = "an earlier write failed, so nobody knows what the disk has";
            return Err(Error::new(ErrorKind::Io, what).at_path(&handle.path));
        }
        let block = handle.superblock.read()?;
        // A superblock without a name would be made anew, from what is left of the segments.
        let name = |()| if below == 0 { handle.env.sync_dir(&handle.path) } else { Ok(()) };
        let synced = handle.superblock.sync().and_then(name);
        if synced.is_err() {
            handle.poisoned.store(true, Ordering::Relaxed);
        }
        synced?;
        self.ids_durable_below = block.next_segment;
        Ok(())
    }

    /// Forgets what is gone, and of open segments what is closed.
    fn forget(&mut self, now: &Moment) {
        let oldest = now.block.oldest_live;
        self.spans.retain(|id, _| *id >= oldest);
        self.open.retain(|id, _| *id >= now.closed_below);
        self.loaded.retain(|(id, _)| *id >= oldest);
    }

    /// The numbers of a segment, `None` if it has no record. Damage is counted when it is met
    /// first.
    fn span(
        &mut self,
        handle: &Handle,
        now: &Moment,
        id: u32,
        part: &mut LogPart,
    ) -> Result<Option<Span>> {
        let span = match self.spans.get(&id) {
            Some(span) => *span,
            None => {
                let places = self.places(handle, now, id)?;
                // Those of damaged frames have none.
                let mut numbers = places.iter().map(|place| place.sequence).filter(|n| *n > 0);
                let first = numbers.next().unwrap_or(u64::MAX);
                let span = Span { first, last: numbers.next_back().unwrap_or(first) };
                if id < now.closed_below {
                    let damaged = places.iter().filter(|place| place.sequence == 0).count();
                    part.pass_damaged(handle, damaged as u64);
                    self.spans.insert(id, span);
                }
                span
            }
        };
        Ok((span.first != u64::MAX).then_some(span))
    }

    /// The records of a segment in the order of their commits.
    fn places(&mut self, handle: &Handle, now: &Moment, id: u32) -> Result<Arc<[Place]>> {
        if let Some((_, places)) = self.loaded.iter().find(|(loaded, _)| *loaded == id) {
            return Ok(places.clone());
        }
        let is_suspect = handle.suspects(&now.block).contains(&id);
        let segment = match handle.log.segment(id) {
            Ok(Some(segment)) => segment,
            Err(error) if !error.is_unreadable() => return Err(error),
            Err(_) if !is_suspect => return Ok(self.pass_unreadable()),
            _ => return Ok(Arc::new([])),
        };
        if id >= now.closed_below {
            return self.open_places(&segment);
        }
        let entries = if is_suspect { segment.committed() } else { segment.entries() };
        let entries = match entries {
            Err(error) if error.is_unreadable() => return Ok(self.pass_unreadable()),
            entries => entries?,
        };
        let place =
            |entry: &FooterEntry| Place { sequence: entry.sequence, location: entry.location };
        let mut places: Vec<Place> = entries.iter().map(place).collect();
        places.sort_unstable();
        let places: Arc<[Place]> = places.into();
        self.loaded.truncate(FOLLOWED_TABLES - 1);
        self.loaded.push_front((id, places.clone()));
        Ok(places)
    }

    fn pass_unreadable(&mut self) -> Arc<[Place]> {
        self.unreadable += 1;
        Arc::new([])
    }

    /// Those of an open segment. A damaged slot is one that is just being written, or is met again
    /// when the segment is closed.
    fn open_places(&mut self, segment: &Segment) -> Result<Arc<[Place]>> {
        let table = match segment.table() {
            Err(error) if error.is_unreadable() => return Ok(self.pass_unreadable()),
            table => table?,
        };
        let numbers = self.open.entry(segment.id()).or_default();
        let mut places = Vec::with_capacity(table.slots.len());
        for slot in table.slots {
            let location = slot.location;
            let sequence = match numbers.get(&location.offset()) {
                Some(sequence) => *sequence,
                None => match segment.sequence(location) {
                    Err(error) if !error.is_unreadable() => return Err(error),
                    Ok(Some(sequence)) => sequence,
                    // Counted with what is damaged when the segment is closed.
                    _ => continue,
                },
            };
            numbers.insert(location.offset(), sequence);
            places.push(Place { sequence, location });
        }
        places.sort_unstable();
        Ok(places.into())
    }
}
