//! Trimming: entries that somebody has no use for go, before their time has come.
//!
//! 1. As the janitor: unlink what a killed evictor left, evict if that is due, make a checkpoint.
//!    So everything that is there now stands in closed segments, durable and in the tree; whatever
//!    others put from now on stands in later segments, which a trim leaves alone.
//! 2. *Survey*: read the head of each newest record, in the order of the log, and decide. An entry
//!    goes if all filters that are asked for hold. With a size, the oldest of what is left goes,
//!    too: first what was not hit since it grew old, and only if that is not enough, the rest.
//! 3. *Move*: segments go from the oldest on up to the last with something to drop, because only a
//!    beginning of the log can go ([`crate::eviction`]). What is kept of them is reinserted, in
//!    rounds: the copies of each are on the disk before their sources are published as gone.
//! 4. Another checkpoint, so that the tree forgets what is gone, too.
//! 5. Where it was asked what is unused: all notes of hits are forgotten, and begin anew.
//!
//! Killed anywhere a trim has dropped less than it should, and of what it was to keep each record
//! stands in its source, in its copy, or in both. A copy takes room like every put; what finds none
//! ends the trim, and nothing goes that has no copy.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::{Maintained, close_all, make_checkpoint, noted, poisoned, writing};
use crate::env::{LockByte, LockTable};
use crate::error::{Error, ErrorKind, Result};
use crate::eviction::{self, Effort, Evicted, used_bytes};
use crate::format::body::Head;
use crate::format::frame::FRAME_BYTES;
use crate::handle::Handle;
use crate::job::Job;
use crate::limits::{LOCK_WAIT_MS_MAX, REINSERT_ROUND_SHARE, TRIM_TRIES_MAX, TRIM_WAIT_MS_MAX};
use crate::location::Location;
use crate::log::Segment;
use crate::recency::Hits;
use crate::reinsertion::{Copies, reinsert};
use crate::rolling::{count, current_tail};
use crate::snapshot;

/// What is to go. Filters that are set must all hold for an entry to go; a size is reached after
/// that.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trim {
    /// The store shall occupy no more than this: the oldest entries go.
    pub max_size_bytes: Option<u64>,
    /// Filter: entries stored before this moment, in seconds since 1970. Hits do not count.
    pub stored_before_secs: Option<u64>,
    /// Filter: entries that nobody got since this moment, in seconds since 1970, as far as the
    /// store can know: it notes hits from the first such trim on. A trim knows it of what was there
    /// at an earlier one that is older than the moment; whatever may have been used stays. Where it
    /// can know, or is the first, it lets the notes begin anew.
    pub unused_since_secs: Option<u64>,
    /// Filter: entries of this namespace.
    pub namespace: Option<String>,
    /// Filter: entries that none of these jobs got or put, and that were stored before the earliest
    /// of them began.
    pub untouched_by: Vec<String>,
    /// Only tell what would go.
    pub dry_run: bool,
}

impl Trim {
    fn has_filter(&self) -> bool {
        self.stored_before_secs.is_some()
            || self.unused_since_secs.is_some()
            || self.namespace.is_some()
            || !self.untouched_by.is_empty()
    }
}

/// What a trim did, or would do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trimmed {
    /// Entries that went.
    pub entries_dropped: u64,
    /// Bytes of their records.
    pub bytes_dropped: u64,
    /// Entries that stayed.
    pub entries_kept: u64,
    /// Bytes of their records.
    pub bytes_kept: u64,
    /// Records that were appended again to be kept.
    pub entries_moved: u64,
    /// Their bytes.
    pub bytes_moved: u64,
    /// Segments that went.
    pub segments_dropped: u64,
    /// Whether the store was so full that an eviction came first. What it dropped is counted above;
    /// a dry run does not know that.
    pub evicts_first: bool,
    /// Whether it was asked what is unused, and of no entry it could be known.
    pub knows_no_use: bool,
    /// What the store occupied before.
    pub disk_bytes_before: u64,
    /// What it occupies now; after a dry run, what it would.
    pub disk_bytes_after: u64,
}

/// Some records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Sum {
    records: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, other: Sum) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// The newest records of one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Part {
    disk_bytes: u64,
    /// The filters say that they go.
    filtered: Sum,
    /// The others that were hit since the segment grew old.
    hit: Sum,
    /// The rest.
    cold: Sum,
}

/// What is to become of the segments.
#[derive(Clone, Debug, Default)]
struct Plan {
    parts: BTreeMap<u32, Part>,
    /// Segments below go.
    end: u32,
    /// Of those below this, only what was hit stays.
    cold_below: u32,
    /// Of those below this, nothing does.
    all_below: u32,
    /// What the store will occupy, about.
    disk_bytes_after: u64,
}

/// Trims.
///
/// # Errors
/// `ReadOnly`, `Busy` if a janitor is at work, `Limit` if a job is not known or its set is full, or
/// if no store can be as small as that; `Full` if what is kept has no room, `Io`.
pub fn trim(
    handle: &Arc<Handle>,
    trim: &Trim,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Trimmed> {
    let filter = Filter::new(handle, trim)?;
    refuse_unreachable(handle, trim)?;
    if trim.dry_run {
        let plan = survey(handle, &filter, u32::MAX, progress)?;
        let told = plan.outcome(handle.disk_bytes()?);
        let (evicts_first, knows_no_use) = (eviction::is_due(handle)?, filter.knows_no_use());
        return Ok(Trimmed { evicts_first, knows_no_use, ..told });
    }
    if handle.is_poisoned() {
        return Err(poisoned(handle));
    }
    let Some(locks) = writing(handle)? else {
        return Err(Error::new(ErrorKind::ReadOnly, "the store cannot be written"));
    };
    handle.check_current()?;
    noted(handle, work(handle, locks, &filter, progress))
}

/// Makes a checkpoint; returns how many segments had to go for it.
fn checkpoint(handle: &Handle, locks: &LockTable) -> Result<u64> {
    let mut done = Maintained::default();
    make_checkpoint(handle, locks, &mut done)?;
    Ok(done.segments_evicted)
}

fn work(
    handle: &Arc<Handle>,
    locks: &LockTable,
    filter: &Filter<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Trimmed> {
    let _janitor = locks.lock(LockByte::Janitor, TRIM_WAIT_MS_MAX)?;
    let mut all = Trimmed { disk_bytes_before: handle.disk_bytes()?, ..Trimmed::default() };
    eviction::sweep(handle)?;
    count(handle, locks)?;
    if eviction::is_due(handle)? {
        evict_first(handle, locks, filter, &mut all, progress)?;
    }
    all.segments_dropped += checkpoint(handle, locks)?;
    // What the index takes is known afterwards only, so a size may need a second go.
    for _ in 0..TRIM_TRIES_MAX {
        let (closed_below, _) = close_all(handle, locks)?;
        let plan = survey(handle, filter, closed_below, progress)?;
        let planned = plan.outcome(all.disk_bytes_before);
        all.entries_dropped += planned.entries_dropped;
        all.bytes_dropped += planned.bytes_dropped;
        (all.entries_kept, all.bytes_kept) = (planned.entries_kept, planned.bytes_kept);
        let moved = move_and_drop(handle, locks, filter, &plan, progress)?;
        all.entries_moved += moved.reinserted_records;
        all.bytes_moved += moved.reinserted_bytes;
        all.segments_dropped += moved.segments;
        all.segments_dropped += checkpoint(handle, locks)?;
        all.disk_bytes_after = handle.disk_bytes()?;
        let is_enough = |limit| all.disk_bytes_after <= limit;
        if filter.trim.max_size_bytes.is_none_or(is_enough) || moved.segments == 0 {
            break;
        }
    }
    all.knows_no_use = filter.knows_no_use();
    if filter.begins_anew {
        note_hits_from_now(handle, locks)?;
    }
    count(handle, locks)?;
    Ok(all)
}

/// Lets the notes of hits begin anew, in all segments that there are. Hits in between are older
/// than the moment that is written down.
fn note_hits_from_now(handle: &Handle, locks: &LockTable) -> Result<()> {
    let Some(recency) = handle.recency() else { return Ok(()) };
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    let block = handle.superblock.read()?;
    recency.forget(block.oldest_live..block.next_segment)?;
    handle.superblock.change(&lock, |block| {
        block.noted_below = block.next_segment;
        block.noted_secs = handle.env.now_secs() + 1;
    })?;
    Ok(())
}

/// A size that a store without any entry passes is a mistake, such as a forgotten unit: nothing
/// goes for it.
fn refuse_unreachable(handle: &Handle, trim: &Trim) -> Result<()> {
    let Some(limit) = trim.max_size_bytes else { return Ok(()) };
    let least = handle.disk_bytes_without_entries()?;
    if limit >= least {
        return Ok(());
    }
    let what = format!(
        "the store takes {least} bytes without any entry, so it cannot get down to {limit}; \
         nothing was dropped"
    );
    Err(Error::new(ErrorKind::Limit, what))
}

/// Evicts, and counts the entries that went.
fn evict_first(
    handle: &Arc<Handle>,
    locks: &LockTable,
    filter: &Filter<'_>,
    all: &mut Trimmed,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let mut before = survey(handle, filter, u32::MAX, progress)?.parts;
    let evicted = eviction::evict(handle, locks, Effort::Thorough)?;
    let _ = before.split_off(&handle.superblock.read()?.oldest_live);
    let mut gone = Sum::default();
    for part in before.values() {
        [part.filtered, part.hit, part.cold].into_iter().for_each(|sum| gone.add(sum));
    }
    all.evicts_first = true;
    all.segments_dropped = evicted.segments;
    all.entries_dropped = gone.records.saturating_sub(evicted.reinserted_records);
    all.bytes_dropped = gone.bytes.saturating_sub(evicted.reinserted_bytes);
    Ok(())
}

/// Which entries somebody has no use for.
struct Filter<'a> {
    trim: &'a Trim,
    jobs: Vec<Job>,
    /// Entries stored from this moment on are nobody's leftovers, in seconds since 1970.
    jobs_began_secs: u64,
    /// Of records in segments below it is known whether they were used since that moment.
    known_below: u32,
    /// Whether the notes of hits begin anew.
    begins_anew: bool,
}

impl<'a> Filter<'a> {
    fn new(handle: &Handle, trim: &'a Trim) -> Result<Filter<'a>> {
        let mut jobs = Vec::new();
        for id in &trim.untouched_by {
            let failed = |what: &str| Err(Error::new(ErrorKind::Limit, format!("job {id} {what}")));
            match handle.job(id)? {
                None => return failed("is not known to the store"),
                Some(job) if job.is_full() => {
                    return failed("got and put more than it could note, so nobody knows the rest");
                }
                Some(job) => jobs.push(job),
            }
        }
        let jobs_began_secs = jobs.iter().map(Job::started_secs).min().unwrap_or(u64::MAX);
        let block = handle.superblock.read()?;
        let moment = trim.unused_since_secs;
        let is_known = block.noted_below > 0 && moment.is_some_and(|at| block.noted_secs <= at);
        let known_below = if is_known { block.noted_below } else { 0 };
        let begins_anew = moment.is_some() && (is_known || block.noted_below == 0);
        Ok(Filter { trim, jobs, jobs_began_secs, known_below, begins_anew })
    }

    fn knows_no_use(&self) -> bool {
        self.trim.unused_since_secs.is_some() && self.known_below == 0
    }

    /// Whether a record goes that stands there.
    fn drops(&self, head: &Head, hits: &Hits, at: Location) -> bool {
        let is_unused =
            |moment| head.created_secs < moment && at.segment < self.known_below && hits.lacks(at);
        let trim = self.trim;
        trim.has_filter()
            && trim.unused_since_secs.is_none_or(is_unused)
            && trim.stored_before_secs.is_none_or(|moment| head.created_secs < moment)
            && trim.namespace.as_ref().is_none_or(|namespace| head.namespace == *namespace)
            && (self.jobs.is_empty()
                || head.created_secs < self.jobs_began_secs
                    && !self.jobs.iter().any(|job| job.has(&head.key)))
    }
}

/// Reads the heads of the newest records of the segments below `end`, and makes a plan.
fn survey(
    handle: &Arc<Handle>,
    filter: &Filter<'_>,
    end: u32,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Plan> {
    let places = snapshot::take(handle)?.places();
    let block = handle.superblock.read()?;
    let mut parts: BTreeMap<u32, Part> = BTreeMap::new();
    for id in block.oldest_live..block.next_segment.min(end) {
        let disk_bytes = handle.log.sizes(id).disk_bytes;
        parts.insert(id, Part { disk_bytes, ..Part::default() });
    }
    let total: u64 = parts.values().map(|part| part.disk_bytes).sum();
    let mut read = 0;
    for group in places.chunk_by(|a, b| a.segment == b.segment) {
        let Some(part) = group.first().and_then(|first| parts.get_mut(&first.segment)) else {
            continue;
        };
        survey_segment(handle, filter, group, part)?;
        read += part.disk_bytes;
        progress(read, total);
    }
    Ok(Plan::new(parts, block.oldest_live, handle.disk_bytes()?, filter.trim))
}

fn survey_segment(
    handle: &Handle,
    filter: &Filter<'_>,
    places: &[Location],
    part: &mut Part,
) -> Result<()> {
    let Some(first) = places.first() else { return Ok(()) };
    let segment = match handle.log.segment(first.segment) {
        Ok(Some(segment)) => segment,
        Ok(None) => return Ok(()),
        // What cannot be read is nobody's entry; it goes or stays with its neighbours.
        Err(error) if error.is_unreadable() => return Ok(()),
        Err(error) => return Err(error),
    };
    let hits = handle.hits(first.segment);
    for place in places {
        let record = match segment.record_head(*place) {
            Ok(record) => record,
            Err(error) if error.is_unreadable() => continue,
            Err(error) => return Err(error),
        };
        let sum = Sum { records: 1, bytes: FRAME_BYTES as u64 + record.frame.body_bytes };
        if filter.drops(&record.head, &hits, *place) {
            part.filtered.add(sum);
        } else if hits.contains(*place) {
            part.hit.add(sum);
        } else {
            part.cold.add(sum);
        }
    }
    Ok(())
}

impl Plan {
    /// The filters decide how far the log goes; a size, how much more of it does.
    fn new(parts: BTreeMap<u32, Part>, oldest: u32, disk_bytes: u64, trim: &Trim) -> Plan {
        let filtered = parts.iter().rfind(|(_, part)| part.filtered.records > 0);
        let end = filtered.map_or(oldest, |(id, _)| id + 1);
        let disk_bytes_after = disk_bytes;
        let mut plan = Plan { parts, end, cold_below: oldest, all_below: oldest, disk_bytes_after };
        plan.disk_bytes_after = plan.estimate(disk_bytes);
        let Some(limit) = trim.max_size_bytes else { return plan };
        let ids: Vec<u32> = plan.parts.keys().copied().collect();
        for spares_hits in [true, false] {
            for id in &ids {
                if plan.disk_bytes_after <= limit {
                    return plan;
                }
                plan.cold_below = plan.cold_below.max(id + 1);
                plan.all_below = if spares_hits { plan.all_below } else { id + 1 };
                plan.end = plan.end.max(id + 1);
                plan.disk_bytes_after = plan.estimate(disk_bytes);
            }
        }
        plan
    }

    /// What a segment loses, and what of it stays.
    fn parted(&self, id: u32, part: &Part) -> (Sum, Sum) {
        let (mut dropped, mut kept) = (part.filtered, Sum::default());
        if id < self.cold_below { &mut dropped } else { &mut kept }.add(part.cold);
        if id < self.all_below { &mut dropped } else { &mut kept }.add(part.hit);
        (dropped, kept)
    }

    fn estimate(&self, disk_bytes: u64) -> u64 {
        let going = self.parts.range(..self.end);
        let (gone, kept) = going.fold((0, 0), |(gone, kept), (id, part)| {
            (gone + part.disk_bytes, kept + self.parted(*id, part).1.bytes)
        });
        (disk_bytes + kept).saturating_sub(gone)
    }

    /// What there is to say of the plan.
    fn outcome(&self, disk_bytes_before: u64) -> Trimmed {
        let (mut dropped, mut kept, mut moved) = (Sum::default(), Sum::default(), Sum::default());
        for (id, part) in &self.parts {
            let (going, staying) = self.parted(*id, part);
            dropped.add(going);
            kept.add(staying);
            if *id < self.end {
                moved.add(staying);
            }
        }
        Trimmed {
            entries_dropped: dropped.records,
            bytes_dropped: dropped.bytes,
            entries_kept: kept.records,
            bytes_kept: kept.bytes,
            entries_moved: moved.records,
            bytes_moved: moved.bytes,
            segments_dropped: self.parts.range(..self.end).count() as u64,
            evicts_first: false,
            knows_no_use: false,
            disk_bytes_before,
            disk_bytes_after: self.disk_bytes_after,
        }
    }

    /// Whether a record of segment `id` stays.
    fn keeps(&self, filter: &Filter<'_>, hits: &Hits, segment: &Segment, at: Location) -> bool {
        let id = segment.id();
        if id < self.all_below || id < self.cold_below && !hits.contains(at) {
            return false;
        }
        match segment.record_head(at) {
            Ok(record) => !filter.drops(&record.head, hits, at),
            // Whoever copies it finds out what is wrong, and counts it.
            Err(_) => true,
        }
    }
}

/// Reinserts what stays of the segments below `end`, and drops them.
fn move_and_drop(
    handle: &Handle,
    locks: &LockTable,
    filter: &Filter<'_>,
    plan: &Plan,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Evicted> {
    let bytes_of =
        |range: Range<u32>| plan.parts.range(range).map(|(_, part)| part.disk_bytes).sum();
    let (first, end) = (handle.superblock.read()?.oldest_live, plan.end);
    let total: u64 = bytes_of(first..end.max(first));
    let round_max = handle.options.max_size_bytes / REINSERT_ROUND_SHARE;
    let (mut sum, mut copies, mut tries) = (Evicted::default(), Copies::default(), 0);
    let (mut next, mut dropped, mut in_round) = (first, first, 0);
    while next < end {
        let hits = handle.hits(next);
        let mut keeps = |segment: &Segment, at: Location| plan.keeps(filter, &hits, segment, at);
        let done = reinsert(handle, locks, next, u64::MAX, &mut keeps, &mut copies)?;
        sum.reinserted_records += done.records;
        sum.reinserted_bytes += done.bytes;
        in_round += done.bytes;
        next += u32::from(!done.stopped);
        if in_round < round_max && next < end && !done.stopped {
            continue;
        }
        // What has its copies makes room for the rest.
        std::mem::take(&mut copies).sync(handle, locks)?;
        tries = if next > dropped || done.records > 0 { 0 } else { tries + 1 };
        let evicted = eviction::drop_planned(handle, locks, next)?;
        sum.segments += evicted.segments;
        sum.bytes += evicted.bytes;
        (dropped, in_round) = (next, 0);
        progress(bytes_of(first..next), total);
        if done.stopped && tries == TRIM_TRIES_MAX {
            return Err(no_room(handle, locks, next));
        }
    }
    Ok(sum)
}

/// What to say of a trim that could not go on at a segment.
fn no_room(handle: &Handle, locks: &LockTable, id: u32) -> Error {
    let used = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX).and_then(|lock| {
        let tail = current_tail(handle, &lock)?;
        Ok(used_bytes(handle, &tail))
    });
    let (used, max) = (used.unwrap_or_default(), handle.options.max_size_bytes);
    let what = format!(
        "what is kept of segment {id} finds no room: {used} bytes of {max} are in use; what went \
         before is gone, the rest is as it was"
    );
    Error::new(ErrorKind::Full, what)
}
