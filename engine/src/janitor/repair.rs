//! Repair: what is damaged goes, what is whole stays.
//!
//! 1. Verify, without a lock. Then, as the janitor: close every segment, as a checkpoint does.
//! 2. Of each damaged segment keep the records that are whole and were committed as far as anybody
//!    can tell: a slot, the footer or the tree names them, or their page of slots has damage. One
//!    whose header is lost has none: without the salt nobody knows what stands there.
//! 3. Look-ups miss where damage may hide a newer value, see docs/decisions/0004. With the damage
//!    that guard goes, too; so first each key of which an older value would be seen is removed, by
//!    a tombstone like any other. A killed repair has then changed no answer but to a miss.
//! 4. Give each damaged segment a footer of what is kept, sync it, build the tree anew from all
//!    footers, and write the slot tables last, when nobody asks them any more.
//! 5. Rewrite the superblock; cut files that are too long; remove what killed processes left.
//! 6. Verify again, without a lock.

use std::collections::{BTreeMap, BTreeSet};

use super::{close_all, noted, writing};
use crate::append::{self, Outgoing, Put};
use crate::counters::EngineCounter;
use crate::env::{LockByte, LockTable, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::eviction;
use crate::format::body::{self, Entry, RecordKind};
use crate::format::segment::FooterEntry;
use crate::format::superblock::EPOCH_MAX;
use crate::handle::Handle;
use crate::index::MetaPage;
use crate::key::Key;
use crate::limits::{COUNTERS, LOCK_WAIT_MS_MAX, PAGE_BYTES};
use crate::location::Location;
use crate::log::{self, Segment};
use crate::merging;
use crate::recency;
use crate::rolling::{
    EPOCH_OF_REPLACED, SEQUENCE_EPOCH_SHIFT, create_segment, current_tail, live_segment,
};
use crate::verify::{self, Damage, DamageKind, Findings, Known, Problem, VerifyReport};

/// Epochs that a repair leaves for those who recover the store later.
const EPOCHS_LEFT_MIN: u32 = 8;

/// One thing that a repair did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RepairStep {
    /// The file, relative to the store.
    pub file: String,
    /// What was done, as a sentence.
    pub what: String,
}

/// What a repair found, did, and left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Repaired {
    /// What was damaged.
    pub before: VerifyReport,
    /// What was done.
    pub steps: Vec<RepairStep>,
    /// Records that were dropped because they are not whole.
    pub records_dropped: u64,
    /// Keys that were removed so that no older value of them comes back.
    pub keys_removed: u64,
    /// What is damaged now.
    pub after: VerifyReport,
}

/// A damaged segment, and what becomes of it.
struct Plan {
    id: u32,
    /// The segment with the records that stay; `None` if nothing of it can be read.
    keep: Option<Vec<FooterEntry>>,
    dropped: Vec<Dropped>,
}

/// A record that goes.
struct Dropped {
    segment: u32,
    key_prefix: u64,
    /// The hash of the whole key, where that is known.
    key_hash: Option<u64>,
    /// Its sequence number, where that is known.
    sequence: Option<u64>,
}

impl Repaired {
    fn note(&mut self, file: impl Into<String>, what: impl Into<String>) {
        self.steps.push(RepairStep { file: file.into(), what: what.into() });
    }
}

/// Verifies, repairs what is damaged, and verifies again.
///
/// # Errors
/// `ReadOnly`, `Busy` if a janitor is at work, `Full` if there is no room for the tombstones, `Io`.
pub fn repair(handle: &Handle, progress: &mut dyn FnMut(u64, u64)) -> Result<Repaired> {
    if handle.is_poisoned() {
        return Err(super::poisoned(handle));
    }
    let Some(locks) = writing(handle)? else {
        return Err(Error::new(ErrorKind::ReadOnly, "the store cannot be written"));
    };
    handle.check_current()?;
    let found = verify::verify(handle, progress)?;
    let mut done = Repaired { before: found.report.clone(), ..Repaired::default() };
    noted(handle, mend(handle, locks, &found, &mut done))?;
    done.after = match done.steps.is_empty() {
        true => done.before.clone(),
        false => verify::verify(handle, progress)?.report,
    };
    if done.after.damaged.is_empty() {
        let met = handle.counters().get(EngineCounter::Damaged.id());
        handle.counters().set(EngineCounter::DamagedMended.id(), met);
    }
    Ok(done)
}

fn mend(handle: &Handle, locks: &LockTable, found: &Findings, done: &mut Repaired) -> Result<()> {
    let report = &found.report;
    let has = |kinds: &[DamageKind]| report.damaged.iter().any(|d| kinds.contains(&d.kind));
    let has_index_damage = has(&[
        DamageKind::IndexLost,
        DamageKind::IndexMeta,
        DamageKind::IndexPage,
        DamageKind::IndexOrder,
        DamageKind::IndexCount,
        DamageKind::IndexEntry,
        DamageKind::IndexGap,
    ]);
    let _janitor = locks.lock(LockByte::Janitor, 20 * LOCK_WAIT_MS_MAX)?;
    small_files(handle, locks, report, done)?;
    leftovers(handle, locks, report, done)?;
    let is_closed = |d: &Damage| d.file == crate::index::FILE_NAME && !d.kind.is_repairable();
    if found.damaged_segments.is_empty() && !has_index_damage && report.suspect_segments == 0
        // Nothing is dropped that the tree would go on naming.
        || report.damaged.iter().any(is_closed)
    {
        return Ok(());
    }
    if has(&[DamageKind::Sequence]) {
        pass_numbers(handle, locks, found, done)?;
    }
    let (closed_below, _) = close_all(handle, locks)?;
    let plans = plans(handle, found, closed_below)?;
    remove_older(handle, found, &plans, done)?;
    let block = handle.superblock.read()?;
    let first = merging::first_unmerged(handle.index()?.meta()?.as_ref(), &block);
    // The removals must be on the disk before anything forgets the records that they stand for.
    let (closed_below, _) = close_all(handle, locks)?;
    merging::seal(handle, first, closed_below)?;
    merging::sync(handle, first.max(block.oldest_live)..closed_below)?;
    for plan in &plans {
        settle(handle, plan, done)?;
    }
    merging::repair(handle, closed_below)?;
    if handle.index()?.meta_pages()?.contains(&MetaPage::Damaged) {
        // The next transaction has the other page.
        merging::repair(handle, closed_below)?;
    }
    done.note(crate::index::FILE_NAME, "built anew from the segments");
    for plan in &plans {
        if let (Some(keep), Ok(Some(segment))) = (&plan.keep, handle.log.segment(plan.id)) {
            segment.mend(keep)?;
            segment.sync()?;
        }
    }
    handle.superblock.sync()
}

/// Superblock, tail, recency bits, counters.
fn small_files(
    handle: &Handle,
    locks: &LockTable,
    report: &VerifyReport,
    done: &mut Repaired,
) -> Result<()> {
    for damage in &report.damaged {
        match damage.kind {
            DamageKind::SuperblockCopy
            | DamageKind::SuperblockOrder
            | DamageKind::SuperblockUsed => {
                let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
                let used = damage.segment.map_or(0, |segment| segment + 1);
                handle.superblock.change(&lock, |block| {
                    block.used_below = block.used_below.max(used).min(block.next_segment);
                })?;
                handle.superblock.sync()?;
                done.note(crate::superblock::FILE_NAME, "both copies written anew");
            }
            DamageKind::Tail => {
                let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
                // Whoever reads a void tail begins a new one.
                handle.tail()?.clear(&lock)?;
                current_tail(handle, &lock)?;
                done.note(damage.file.clone(), "begun anew, in a new segment");
            }
            DamageKind::Recency | DamageKind::Counters => {
                let file = handle.env.open(&handle.path.join(&damage.file), OpenMode::Write)?;
                let bytes = match damage.kind {
                    DamageKind::Recency => recency::FILE_BYTES_MAX,
                    _ => (COUNTERS * size_of::<u64>()) as u64,
                };
                file.set_len(bytes)?;
                done.note(damage.file.clone(), format!("given its length of {bytes} bytes"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Segment files that nobody refers to. A file that is no segment's is left alone.
fn leftovers(
    handle: &Handle,
    locks: &LockTable,
    report: &VerifyReport,
    done: &mut Repaired,
) -> Result<()> {
    for damage in &report.leftovers {
        if damage.kind == DamageKind::LeftSegment {
            eviction::sweep(handle)?;
            done.note(damage.file.clone(), "removed");
        }
        if let (DamageKind::EarlySegment, Some(id)) = (damage.kind, damage.segment) {
            // Whoever makes a segment holds this lock.
            let _lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
            if id >= handle.superblock.read()?.next_segment {
                handle.log.remove(id)?;
                done.note(damage.file.clone(), "removed");
            }
        }
    }
    Ok(())
}

/// What becomes of each damaged segment.
fn plans(handle: &Handle, found: &Findings, closed_below: u32) -> Result<Vec<Plan>> {
    let mut in_tree: BTreeMap<u32, Vec<FooterEntry>> = BTreeMap::new();
    if let Some(meta) = handle.index()?.meta()? {
        for entry in handle.index()?.survey(&meta)?.entries {
            let (key_prefix, location) = (entry.key_prefix, entry.location());
            let entry = FooterEntry { key_prefix, sequence: 0, location };
            in_tree.entry(location.segment).or_default().push(entry);
        }
    }
    let oldest_live = handle.superblock.read()?.oldest_live;
    let ids = found.damaged_segments.range(oldest_live..closed_below);
    let plans = ids.map(|id| plan(handle, *id, in_tree.remove(id).unwrap_or_default()));
    plans.filter_map(Result::transpose).collect()
}

/// What becomes of one; `None` if its file cannot even be opened: there may be nothing wrong with
/// what stands in it.
fn plan(handle: &Handle, id: u32, in_tree: Vec<FooterEntry>) -> Result<Option<Plan>> {
    // What this handle knows of the segment may be older than the damage.
    handle.log.forget(id);
    let examined = verify::examine(handle, id)?;
    let Some(segment) = examined.segment else {
        let is_lost = |problem: &Problem| problem.kind == DamageKind::SegmentHeader;
        if examined.is_there && !examined.problems.iter().any(is_lost) {
            return Ok(None);
        }
        let lost = |entry: FooterEntry| Dropped {
            segment: id,
            key_prefix: entry.key_prefix,
            key_hash: None,
            sequence: None,
        };
        let dropped = in_tree.into_iter().map(lost).collect();
        return Ok(Some(Plan { id, keep: None, dropped }));
    };
    let mut named: BTreeMap<u64, FooterEntry> = BTreeMap::new();
    if !examined.damaged_pages.is_empty() {
        // Records whose slot may be one of the damaged ones, but for those whose head is damaged.
        match segment.table_entries() {
            Err(error) if error.is_unreadable() => {}
            entries => named.extend(entries?.into_iter().map(|e| (e.location.offset(), e))),
        }
    }
    named.extend(in_tree.into_iter().map(|entry| (entry.location.offset(), entry)));
    named
        .extend(examined.places.iter().filter_map(|(offset, place)| Some((*offset, said(place)?))));
    let mut keep = segment.scan()?;
    let may_have_lost_its_slot = |entry: &FooterEntry| {
        let record = segment.record_head(entry.location);
        record.is_ok_and(|record| {
            let page = segment.header.table_page_offset(&record.head.key);
            examined.damaged_pages.contains(&page)
        })
    };
    keep.retain(|entry| {
        named.contains_key(&entry.location.offset()) || may_have_lost_its_slot(entry)
    });
    let kept: BTreeSet<u64> = keep.iter().map(|entry| entry.location.offset()).collect();
    let mut dropped = Vec::new();
    for entry in named.into_values().filter(|entry| !kept.contains(&entry.location.offset())) {
        dropped.push(dropped_record(&segment, entry)?);
    }
    Ok(Some(Plan { id, keep: Some(keep), dropped }))
}

/// What a footer says of a record, or as much of that as its slot says.
fn said(place: &verify::Place) -> Option<FooterEntry> {
    let from_slot = || {
        let (slot, _) = place.slot?;
        Some(FooterEntry { key_prefix: slot.key_prefix, sequence: 0, location: slot.location })
    };
    place.entry.or_else(from_slot)
}

/// As much as can be known of a record that is not whole.
fn dropped_record(segment: &Segment, entry: FooterEntry) -> Result<Dropped> {
    let location = entry.location;
    let read = verify::read_whole(segment, location.offset(), 0, &mut Vec::new())?;
    let (frame, head) = match read {
        Ok((frame, head)) => (Some(frame), Some(head)),
        Err(unwhole) => (unwhole.frame, unwhole.head),
    };
    let sequence = frame.map(|frame| frame.sequence);
    Ok(Dropped {
        segment: segment.id(),
        key_prefix: head.as_ref().map_or(entry.key_prefix, |head| head.key.prefix()),
        key_hash: head.map(|head| verify::key_hash(&head.key)),
        sequence: sequence.or((entry.sequence != 0).then_some(entry.sequence)),
    })
}

/// Lets the next sequence number be higher than any that a record has.
fn pass_numbers(
    handle: &Handle,
    locks: &LockTable,
    found: &Findings,
    done: &mut Repaired,
) -> Result<()> {
    let highest = found.known.iter().map(|record| record.sequence).max().unwrap_or(0);
    let epoch = u32::try_from(highest >> SEQUENCE_EPOCH_SHIFT).unwrap_or(u32::MAX);
    if epoch >= EPOCH_MAX - EPOCHS_LEFT_MIN {
        return Ok(());
    }
    let lock = locks.lock(LockByte::Tail, LOCK_WAIT_MS_MAX)?;
    handle.superblock.change(&lock, |block| block.epoch = block.epoch.max(epoch))?;
    handle.tail()?.clear(&lock)?;
    current_tail(handle, &lock)?;
    done.note(crate::superblock::FILE_NAME, "given a higher epoch");
    Ok(())
}

/// The places of records that have the number of another one of their key, and no newer one
/// supersedes both.
fn twins(known: &[Known]) -> impl Iterator<Item = Location> + '_ {
    let keys = known.chunk_by(|a, b| (a.key_prefix, a.key_hash) == (b.key_prefix, b.key_hash));
    keys.filter_map(|records| match records {
        [.., one, other] if one.sequence == other.sequence => Some(one.location()),
        _ => None,
    })
}

/// Removes the keys of which an older value would be seen when the dropped records are gone.
fn remove_older(
    handle: &Handle,
    found: &Findings,
    plans: &[Plan],
    done: &mut Repaired,
) -> Result<()> {
    let mut doubtful: Vec<Location> = twins(&found.known).collect();
    for dropped in plans.iter().flat_map(|plan| &plan.dropped) {
        done.records_dropped += 1;
        doubtful.extend(older_values(&found.known, dropped));
    }
    let mut keys: BTreeMap<Key, u64> = BTreeMap::new();
    for location in doubtful {
        let Ok(Some(segment)) = handle.log.segment(location.segment) else { continue };
        if let Ok(record) = segment.record_head(location) {
            let newest = keys.entry(record.head.key).or_default();
            *newest = record.frame.sequence.max(*newest);
        }
    }
    for (key, sequence) in keys {
        // Since the store was examined its users have gone on: what they miss they put again.
        if newest_sequence(handle, &key)? <= sequence {
            remove(handle, key)?;
            done.keys_removed += 1;
        }
    }
    Ok(())
}

/// The highest number of a whole record of `key` that a slot names; 0 without one.
fn newest_sequence(handle: &Handle, key: &Key) -> Result<u64> {
    let block = handle.superblock.read()?;
    let mut newest = 0;
    for id in block.oldest_live..block.next_segment {
        let Ok(Some(segment)) = handle.log.segment(id) else { continue };
        let mut places = Vec::new();
        match segment.find_slots(key, &mut places) {
            Err(error) if !error.is_unreadable() => return Err(error),
            _ => {}
        }
        let records =
            places.into_iter().filter_map(|place| segment.check_record(place.offset()).ok());
        let numbers = records.filter(|(_, head)| head.key == *key).map(|(frame, _)| frame.sequence);
        newest = numbers.fold(newest, u64::max);
    }
    Ok(newest)
}

/// The newest whole records of the keys that a dropped one may have had, if they are older.
fn older_values(known: &[Known], dropped: &Dropped) -> Vec<Location> {
    let start = known.partition_point(|record| record.key_prefix < dropped.key_prefix);
    let same = known[start..].iter().take_while(|r| r.key_prefix == dropped.key_prefix);
    let mut newest: BTreeMap<u64, &Known> = BTreeMap::new();
    for record in same.filter(|r| dropped.key_hash.is_none_or(|hash| hash == r.key_hash)) {
        // They stand in the order of their sequence numbers.
        newest.insert(record.key_hash, record);
    }
    let is_older = |record: &&Known| match dropped.sequence {
        Some(sequence) => record.sequence < sequence,
        // The newest record of a key stands in the last segment that has one.
        None => record.location().segment <= dropped.segment,
    };
    let is_value = |location: &Location| location.kind != RecordKind::Tombstone as u8;
    newest.into_values().filter(is_older).map(Known::location).filter(is_value).collect()
}

fn remove(handle: &Handle, key: Key) -> Result<()> {
    let options = &handle.options;
    let tombstone = Entry::new(key, RecordKind::Tombstone, Vec::new());
    let created_secs = handle.env.now_secs();
    let body = body::encode(&tombstone, created_secs, options.layout, options.zstd_level)?;
    let kind = RecordKind::Tombstone as u8;
    let outgoing = Outgoing { key, kind, cloneable: false, body: body.into(), copied_from: 0 };
    match append::append(handle, &[outgoing])? {
        Put::Stored => Ok(()),
        Put::Dropped(reason) => {
            let what = format!("a key whose newest value is damaged cannot be removed: {reason}");
            Err(Error::new(ErrorKind::Full, what).at_path(&handle.path))
        }
    }
}

/// Gives a damaged segment a footer of what is kept, or makes an empty one in its place.
fn settle(handle: &Handle, plan: &Plan, done: &mut Repaired) -> Result<()> {
    let file = format!("{}/{}", log::DIRECTORY_NAME, log::name_of(plan.id));
    match &plan.keep {
        Some(keep) => {
            let segment = live_segment(handle, plan.id)?;
            segment.seal_as(keep)?;
            segment.sync()?;
            let (kept, dropped) = (keep.len(), plan.dropped.len());
            let ending = if kept == 1 { "" } else { "s" };
            done.note(file, format!("{kept} record{ending} kept, {dropped} dropped"));
        }
        None => {
            handle.log.remove(plan.id)?;
            create_segment(handle, plan.id, PAGE_BYTES as u64, EPOCH_OF_REPLACED)?;
            let segment = live_segment(handle, plan.id)?;
            segment.seal()?;
            segment.sync()?;
            handle.env.sync_dir(&handle.path.join(log::DIRECTORY_NAME))?;
            done.note(file, "an empty segment stands in place of the lost one");
        }
    }
    Ok(())
}
