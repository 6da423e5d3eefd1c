//! Writing behind: what is stored goes to every tier that may be written to.
//!
//! 1. One thread for each tier follows the log from where the tier's cursor stands; the log is the
//!    queue, and nothing is kept in memory. A cursor that moves has been written to a shared file
//!    that survives this process. A tier that is new begins at the end of the log.
//! 2. Results, manifests and aliases are written, results first: who sees a manifest in a tier
//!    finds what it leads to. Copies that upkeep made, and records that were replaced meanwhile,
//!    are passed.
//! 3. A manifest is merged with the one that the tier has. Where it stands in the store as it came
//!    from a tier, that one has it.
//! 4. What came from a tier is written to the faster ones only (a backfill).
//! 5. What was in the log when the agent began may have been written by the one before it: the tier
//!    is asked first.
//! 6. While a tier is in trouble its cursor stands still. What leaves the store meanwhile is lost
//!    to the tier, and counted.

use std::sync::Arc;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use larder_engine::format::body::{self, Head};
use larder_engine::{Entry, Key, LogPosition, Record, RecordKind, SectionKind, Store};

use super::chain::{Tiered, Unanswered};
use super::protocol::Reply;
use super::serve::{Agent, Origin, fingerprint};
use super::state::{Count, Side, now_ms};
use crate::lock::lock;
use crate::manifest::Manifest;
use crate::tier::{TierError, TierErrorKind};

/// Records that are taken from the log at once.
const PART: usize = 256;
/// Records that are written to one tier at a time.
const WRITERS: usize = 4;
/// How often a tier that stands still is looked at, and the log if nobody tells of it.
const LOOK: Duration = Duration::from_millis(500);
/// How often who waits for everything to be written looks.
const FLUSH_LOOK: Duration = Duration::from_millis(10);
/// How long is waited for more, when something was stored: one look at the log is for all of it,
/// and a manifest that grows is written once.
const GATHER: Duration = Duration::from_millis(20);
/// Records that are counted as waiting; more are not counted.
const WAITING_MAX: u64 = 100_000;

/// No section of a manifest is larger.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// What became of a record.
enum Written {
    /// It is in the tier, or need not be.
    Done,
    /// The tier is in trouble, and the record is to be tried again.
    Later,
    /// The tier does not take this one.
    Refused(TierError),
}

/// Who writes behind to one tier.
pub struct Follower {
    agent: Arc<Agent>,
    at: usize,
    /// Where the log ended when the agent began.
    begun: LogPosition,
}

impl Follower {
    /// Notes where the log ends. That is to be done before anybody is served: what is stored from
    /// then on stands behind it.
    pub fn new(agent: &Arc<Agent>, at: usize) -> Option<Follower> {
        let begun = match agent.store.log_end() {
            Ok(end) => end,
            Err(error) => {
                agent.log(format_args!("agent: the log cannot be followed: {error}"));
                return None;
            }
        };
        let state = &agent.tiers[at].state;
        if state.cursor(agent.store_number).is_none() {
            state.set_cursor(agent.store_number, begun.to_u64(), 0);
        }
        Some(Follower { agent: agent.clone(), at, begun })
    }

    /// Follows the log until the agent leaves.
    pub fn run(self) {
        let Follower { agent, at, begun } = self;
        let tier = &agent.tiers[at];
        let is_left_alone = |side: &Side| {
            tier.state.open_for_ms(*side, now_ms()).is_some_and(|ms| ms < tier.pause_ms)
        };
        let mut seen = u64::MAX;
        while !agent.is_leaving() {
            let told = wait(&agent, &mut seen);
            let has_more =
                || told || agent.store.log_end().is_ok_and(|end| position(&agent, tier) < end);
            if !agent.writes(at)
                || [Side::Reads, Side::Writes].iter().any(is_left_alone)
                || !has_more()
            {
                continue;
            }
            while !agent.is_leaving() && write_part(&agent, at, begun) {}
        }
    }
}

/// Waits until something was stored, or a moment. Returns whether something was.
fn wait(agent: &Agent, seen: &mut u64) -> bool {
    let (count, changed) = &agent.stored;
    let count = lock(count);
    let waited = changed.wait_timeout_while(count, LOOK, |count| *count == *seen);
    let (count, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
    *seen = *count;
    drop(count);
    if timeout.timed_out() {
        return false;
    }
    thread::sleep(GATHER);
    true
}

fn position(agent: &Agent, tier: &Tiered) -> LogPosition {
    let cursor = tier.state.cursor(agent.store_number);
    LogPosition::from_u64(cursor.unwrap_or_default().0)
}

/// Writes what comes next in the log. Returns whether it is worth to go on.
fn write_part(agent: &Arc<Agent>, at: usize, begun: LogPosition) -> bool {
    let tier = &agent.tiers[at];
    let (from, missed) = tier.state.cursor(agent.store_number).unwrap_or_default();
    let from = LogPosition::from_u64(from);
    let part = match agent.store.records_after(from, PART) {
        Ok(part) => part,
        Err(error) => {
            agent.log(format_args!("agent: the log cannot be followed: {error}"));
            return false;
        }
    };
    let is_old = from < begun;
    let missed = missed.max(part.missed_below);
    let (first, then): (Vec<&Record>, Vec<&Record>) = part
        .records
        .iter()
        .filter(|record| is_wanted(agent, missed, record) && !is_passed(agent, at, record))
        .partition(|record| record.kind() == Some(RecordKind::Result));
    for records in [first, then] {
        if !write_all(agent, at, &records, is_old) {
            return false;
        }
    }
    tier.state.add(Count::Lost, part.damaged_records);
    tier.state.set_cursor(agent.store_number, part.end.to_u64(), missed);
    !part.is_at_end
}

/// Writes records, some at a time; `false` if the tier is in trouble.
fn write_all(agent: &Arc<Agent>, at: usize, records: &[&Record], is_old: bool) -> bool {
    for some in records.chunks(WRITERS) {
        let is_well = thread::scope(|scope| {
            let write = |record| scope.spawn(move || write(agent, at, record, is_old));
            let writes: Vec<_> = some.iter().map(|record| write(*record)).collect();
            let ends: Vec<_> = writes.into_iter().map(|write| write.join()).collect();
            !ends.iter().any(|end| matches!(end, Ok(Written::Later)))
        });
        if !is_well || agent.is_leaving() {
            return false;
        }
    }
    true
}

/// Whether a record is one that tiers have, and the newest of its key.
fn is_wanted(agent: &Agent, missed_below: u64, record: &Record) -> bool {
    let kinds = [RecordKind::Result, RecordKind::Manifest, RecordKind::Alias];
    record.kind().is_some_and(|kind| kinds.contains(&kind))
        && (!record.is_copy() || record.first_sequence() < missed_below)
        && matches!(agent.store.get(&record.key()), Ok(Some(newest))
            if newest.first_sequence() == record.first_sequence())
}

/// Writes one record to a tier.
fn write(agent: &Arc<Agent>, at: usize, record: &Record, is_old: bool) -> Written {
    let tier = &agent.tiers[at];
    let key = record.key();
    let origin = agent.origin(&key);
    let made = match record.kind() {
        Some(RecordKind::Manifest) => merged(agent, at, record),
        _ => portable(agent, tier, record, is_old),
    };
    let is_made_here = !origin.is_some_and(|origin| is_as_it_came(record, origin));
    let made = made.map(|body| match is_made_here {
        true => body.and_then(|body| signed(agent, &key, body)),
        false => body,
    });
    let body = match made {
        Ok(Some(body)) => body,
        Ok(None) => return Written::Done,
        Err(Unanswered::Skipped) => return Written::Later,
        Err(Unanswered::Failed(error)) => return failed(agent, error),
    };
    let bytes = body.len() as u64;
    match tier.call(Side::Writes, move |client| client.put(&key, &body)) {
        Ok(()) => {
            tier.state.add(Count::Writes, 1);
            tier.state.add(Count::BytesWritten, bytes);
            if let Some(origin) = origin.filter(|origin| origin.tier > at) {
                tier.state.add(Count::BackfillsIn, 1);
                agent.tiers[origin.tier].state.add(Count::BackfillsOut, 1);
            }
            Written::Done
        }
        Err(Unanswered::Skipped) => Written::Later,
        Err(Unanswered::Failed(error)) => failed(agent, error),
    }
}

/// Whether a record came from this tier or a faster one, as it is.
fn is_passed(agent: &Agent, at: usize, record: &Record) -> bool {
    let origin = agent.origin(&record.key());
    origin.is_some_and(|origin| origin.tier <= at && is_as_it_came(record, origin))
}

/// Whether a record is what a tier had; a manifest may have grown since.
fn is_as_it_came(record: &Record, origin: Origin) -> bool {
    record.kind() != Some(RecordKind::Manifest)
        || record.body().is_ok_and(|body| fingerprint(&body) == origin.contents)
}

fn failed(agent: &Agent, error: TierError) -> Written {
    agent.log(format_args!("agent: {error}"));
    // One that is full may have room again; one that we may not write to is left alone.
    match error.is_of_the_tier() || error.kind() == TierErrorKind::Full {
        true => Written::Later,
        false => Written::Refused(error),
    }
}

/// A body with this machine's signature, if it signs; `None` if that cannot be.
fn signed(agent: &Agent, key: &Key, body: Vec<u8>) -> Option<Vec<u8>> {
    let signed = agent.signing.sign(body);
    signed.map_err(|error| agent.log(format_args!("agent: {key} is not signed: {error}"))).ok()
}

/// The body of a record for a tier; `None` if the tier has it, or the store has lost it.
fn portable(
    agent: &Agent,
    tier: &Arc<Tiered>,
    record: &Record,
    is_old: bool,
) -> Result<Option<Vec<u8>>, Unanswered> {
    let key = record.key();
    if is_old && tier.call(Side::Reads, move |client| client.exists(&key))? {
        return Ok(None);
    }
    Ok(stored(agent, tier, record))
}

/// The body of a record as it may leave; `None` if the store has lost it.
fn stored(agent: &Agent, tier: &Tiered, record: &Record) -> Option<Vec<u8>> {
    let body = record.portable_body(agent.zstd_level);
    let lost = |error: &larder_engine::Error| {
        agent.log(format_args!("agent: {} is not written: {error}", record.key()));
        tier.state.add(Count::Lost, 1);
    };
    body.inspect_err(lost).ok()
}

/// The manifest of a record and that of the tier; `None` if the tier has it all.
fn merged(agent: &Agent, at: usize, record: &Record) -> Result<Option<Vec<u8>>, Unanswered> {
    let (tier, key) = (&agent.tiers[at], record.key());
    let Ok(Some(mut manifest)) = manifest_of(&agent.store, &key) else { return Ok(None) };
    let there = tier.call(Side::Reads, move |client| client.get(&key))?;
    // What is no manifest, or of nobody who is trusted, is replaced.
    let there = there.filter(|body| agent.is_trusted(at, &key, body));
    let Some(Ok(mut there)) = there.map(|body| manifest_in(&key, &body)) else {
        return Ok(stored(agent, tier, record));
    };
    if !there.merge(&manifest) {
        return Ok(None);
    }
    manifest.merge(&there);
    let mut entry = Entry::new(key, RecordKind::Manifest, manifest.sections());
    entry.namespace = record.namespace().to_owned().into();
    let encoded = body::encode_from(&entry, record.created_secs(), None, Some(agent.zstd_level));
    Ok(encoded.ok())
}

/// The manifest of the local store, with its names.
///
/// # Errors
/// If the store cannot be read, or the record is damaged.
pub fn manifest_of(store: &Store, key: &Key) -> larder_engine::Result<Option<Manifest>> {
    let Some(record) = store.get(key)? else { return Ok(None) };
    if record.kind() != Some(RecordKind::Manifest) {
        return Ok(None);
    }
    let mut damage = None;
    let manifest = Manifest::of_sections(|kind| {
        let at = record.sections().iter().position(|section| section.kind == Some(kind))?;
        record.read(at).map_err(|error| damage = Some(error)).ok()
    });
    damage.map_or(Ok(manifest), Err)
}

/// The manifest that a body from a tier is, with its names.
///
/// # Errors
/// What is wrong with it.
pub fn manifest_in(key: &Key, body: &[u8]) -> Result<Manifest, String> {
    let head = Head::decode(body).map_err(|error| error.to_string())?;
    if head.sections.iter().any(|section| section.real_bytes > MANIFEST_BYTES_MAX) {
        return Err("it is larger than a manifest can be".to_owned());
    }
    let head = Head::decode_whole(body).map_err(|error| error.to_string())?;
    if head.key != *key || head.kind != RecordKind::Manifest as u8 {
        return Err("it is another record than was asked for".to_owned());
    }
    let read = |kind: SectionKind| {
        let section = head.sections.iter().find(|section| section.kind == Some(kind))?;
        let (start, bytes) = head.stored_range(section);
        let stored = body.get(start as usize..(start + bytes) as usize)?;
        Some(head.section_bytes(section, stored.into()).ok()?.into_owned())
    };
    let manifest = Manifest::of_sections(read).filter(|manifest| !manifest.is_empty());
    manifest.ok_or_else(|| "it is no manifest of this version".to_owned())
}

/// Writes records to every tier that may be written to, now.
pub fn sync(agent: &Arc<Agent>, keys: &[Key]) -> Reply {
    for tier in 0..agent.tiers.len() {
        if !agent.writes(tier) {
            continue;
        }
        for key in keys {
            let Ok(Some(record)) = agent.store.get(key) else { continue };
            let name = agent.tiers[tier].settings.name();
            if is_passed(agent, tier, &record) {
                continue;
            }
            match write(agent, tier, &record, false) {
                Written::Done => {}
                Written::Later => return Reply::Failed(format!("{name} cannot be written to")),
                Written::Refused(error)
                    if [TierErrorKind::Denied, TierErrorKind::TooLarge].contains(&error.kind()) => {
                }
                Written::Refused(error) => return Reply::Failed(error.to_string()),
            }
        }
    }
    Reply::Done
}

/// Waits until everything that is in the log now is in every tier that can be written to.
pub fn flush(agent: &Arc<Agent>, limit: Duration) -> Reply {
    let end = match agent.store.log_end() {
        Ok(end) => end,
        Err(error) => return Reply::Failed(error.to_string()),
    };
    let begun = Instant::now();
    *lock(&agent.stored.0) += 1;
    agent.stored.1.notify_all();
    loop {
        let behind = |at: &usize| agent.writes(*at) && position(agent, &agent.tiers[*at]) < end;
        let Some(at) = (0..agent.tiers.len()).find(behind) else { return Reply::Done };
        let tier = &agent.tiers[at];
        let name = tier.settings.name();
        if tier.state.open_for_ms(Side::Writes, now_ms()).is_some()
            || tier.state.open_for_ms(Side::Reads, now_ms()).is_some()
        {
            return Reply::Failed(format!("{name} cannot be written to"));
        }
        if begun.elapsed() >= limit {
            return Reply::Failed(format!("{name} has not got everything yet"));
        }
        thread::sleep(FLUSH_LOOK);
    }
}

/// Whether nothing waits for a tier that could be written now.
pub fn is_at_rest(agent: &Agent, at: usize) -> bool {
    let tier = &agent.tiers[at];
    !agent.writes(at)
        || tier.state.open_for_ms(Side::Writes, now_ms()).is_some()
        || tier.state.open_for_ms(Side::Reads, now_ms()).is_some()
        || agent.store.log_end().is_ok_and(|end| position(agent, tier) >= end)
}

/// How many records wait to be written to a tier, about.
pub fn waiting(agent: &Agent, at: usize) -> u64 {
    let tier = &agent.tiers[at];
    let (from, mut missed) = tier.state.cursor(agent.store_number).unwrap_or_default();
    let mut from = LogPosition::from_u64(from);
    let mut count = 0;
    while agent.writes(at) && count < WAITING_MAX {
        let Ok(part) = agent.store.records_after(from, PART) else { break };
        missed = missed.max(part.missed_below);
        let waits = |one: &&Record| is_wanted(agent, missed, one) && !is_passed(agent, at, one);
        count += part.records.iter().filter(waits).count() as u64;
        if part.is_at_end {
            break;
        }
        from = part.end;
    }
    count
}
