//! The last check, when all workers are dead: is everything there, right, and no larger than it
//! must be?
//!
//! The bound of the size, where nothing was evicted: what `verify` counts as committed, plus what
//! puts left that did not become records (said by their writers; for those that were killed, two
//! attempts at the put that they had under way), plus overhead per record, per hole, per segment
//! and for the files of fixed size. Where records were evicted it is `max_size`.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use larder_engine::env::{Env, LockByte, OpenMode, RealEnv, Sharing};
use larder_engine::limits::SEGMENT_BYTES_PER_TABLE_PAGE;
use larder_engine::{Budget, Put as Outcome, Store, VerifyReport};

use super::board::{Acknowledged, is_of_put};
use super::conductor::{Events, disk_usage};
use super::content::{self, Part, Put, SHARED_KEYS, What, is_kept};
use super::ledger::Ledger;
use super::settings::{Broken, Settings};
use crate::oldest_live;

/// A lock that a dead process left for good is locked after this, too.
const LOCKS_LET_GO_MAX: Duration = Duration::from_secs(5);

/// A frame, and what aligning a record to 64 bytes (a cloneable one to a block) can take.
const RECORD_OVERHEAD_BYTES: u64 = 64 + 64;
const CLONEABLE_OVERHEAD_BYTES: u64 = 4096;
/// A hole begins and ends within a block.
const HOLE_OVERHEAD_BYTES: u64 = 2 * 4096;
/// An entry of a footer and, in three generations, one of the index.
const ENTRY_BYTES: u64 = 24 + 3 * 24;
/// Superblock, tail, counters, recency, the first pages of the index, and the directories.
const FIXED_BYTES: u64 = 1 << 20;

/// What the last check found out.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Puts of own keys that were found again.
    pub found: u64,
    /// Those that were evicted.
    pub evicted: u64,
    /// Puts that were under way when their writer was killed, by what is there of them: nothing,
    /// all of it, the result without its manifest.
    pub under_way: [u64; 3],
    /// What is in the log.
    pub verified: VerifyReport,
    /// The store on disk after full upkeep.
    pub disk_bytes: u64,
    /// What it may have.
    pub disk_bytes_max: u64,
    /// Of that, what puts left that were dropped or had to begin again.
    pub left_bytes: u64,
    /// Of that, what those can have left that were under way at a kill, and the ends of all holes.
    pub hole_bytes_max: u64,
    /// Inodes below the directory of segments.
    pub segments: u64,
    /// The engine's counters.
    pub counters: Vec<(&'static str, u64)>,
}

/// Checks the store at `path`; what is wrong goes into the ledger.
///
/// # Errors
/// If the store cannot be opened or maintained at all.
pub fn check(
    settings: &Settings,
    path: &Path,
    ledger: &mut Ledger,
    events: &Events,
) -> Result<Findings, Box<dyn std::error::Error>> {
    // The kernel keeps the files of a process that is dead while anybody looks at its memory.
    let dead_since = Instant::now();
    let mut locks = held_locks(path)?;
    while !locks.is_empty() && dead_since.elapsed() < LOCKS_LET_GO_MAX {
        std::thread::sleep(Duration::from_millis(20));
        locks = held_locks(path)?;
    }
    for lock in locks {
        ledger.fail(format!("everybody is dead, and {lock:?} is locked"));
    }
    if let Some(broken @ (Broken::Lose | Broken::Flip)) = settings.broken {
        damage(path, broken)?;
    }
    let store = Store::open(path, settings.options())?;
    let mut findings = Findings::default();
    check_all(settings, &store, ledger, events, &mut findings)?;
    let outcome = store.put_all(&Put::new(settings.seed, u32::MAX, 0).entries())?;
    let is_full = settings.evicts() && outcome == Outcome::Dropped(larder_engine::DropReason::Full);
    if outcome != Outcome::Stored && !is_full {
        ledger.fail(format!("everybody is dead, and a put is {outcome:?}"));
    }
    store.maintain(Budget::full())?;
    store.checkpoint()?;
    store.maintain(Budget::full())?;
    // Once more, now that everything is found through the tree.
    let mut again = Findings::default();
    check_all(settings, &store, ledger, events, &mut again)?;
    if settings.broken == Some(Broken::Grow) {
        fs::write(path.join("grown"), vec![1; 64 << 20])?;
        if let Some(max) = settings.max_size_bytes {
            fs::write(path.join("grown"), vec![1; max as usize])?;
        }
    }
    findings.verified = store.verify(|_, _| {})?;
    for damage in &findings.verified.damaged {
        ledger.fail(format!("damaged: {damage}"));
    }
    measure(settings, path, &store, ledger, events, &mut findings)?;
    Ok(findings)
}

/// The lock bytes that somebody holds.
fn held_locks(path: &Path) -> larder_engine::Result<Vec<LockByte>> {
    let file = RealEnv.open(&path.join("lock"), OpenMode::Write)?;
    let mut held = Vec::new();
    for lock in [LockByte::Life, LockByte::Tail, LockByte::Index, LockByte::Janitor] {
        match file.try_lock(lock as u64, Sharing::Exclusive)? {
            true => file.unlock(lock as u64),
            false => held.push(lock),
        }
    }
    Ok(held)
}

fn damage(path: &Path, broken: Broken) -> std::io::Result<()> {
    let mut segments = segments(path)?;
    segments.sort();
    if broken == Broken::Lose {
        return segments.first().map_or(Ok(()), fs::remove_file);
    }
    for segment in segments {
        let file = fs::File::options().read(true).write(true).open(segment)?;
        let (mut byte, bytes) = ([0], file.metadata()?.len());
        // A writer was killed when it had just made it.
        if bytes == 0 {
            continue;
        }
        let middle = bytes / 2;
        file.read_exact_at(&mut byte, middle)?;
        file.write_all_at(&[byte[0] ^ 1], middle)?;
    }
    Ok(())
}

fn segments(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    fs::read_dir(path.join("log"))?.map(|entry| Ok(entry?.path())).collect()
}

fn check_all(
    settings: &Settings,
    store: &Store,
    ledger: &mut Ledger,
    events: &Events,
    findings: &mut Findings,
) -> Result<(), Box<dyn std::error::Error>> {
    let oldest_live = if settings.evicts() { oldest_live(store.path())? } else { 0 };
    let acknowledged = std::mem::take(&mut ledger.acknowledged);
    let half = acknowledged.len() / 2;
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let parts = [&acknowledged[..half], &acknowledged[half..]];
        let start = |part| scope.spawn(move || check_own(settings, store, part, oldest_live));
        let threads = parts.map(start);
        threads.into_iter().flat_map(|thread| thread.join()).collect()
    });
    ledger.acknowledged = acknowledged;
    if outcomes.len() != 2 {
        ledger.fail("the check of what was acknowledged panicked".into());
    }
    for (found, evicted, failures) in outcomes {
        findings.found += found;
        findings.evicted += evicted;
        failures.into_iter().for_each(|failure| ledger.fail(failure));
    }
    for key in 0..SHARED_KEYS {
        if let Err(what) = check_shared(settings.seed, store, ledger, key, oldest_live) {
            ledger.fail(format!("shared key {key}: {what}"));
        }
    }
    for writer in &events.writers {
        let next = ledger.progress.get(writer).copied().unwrap_or_default().next;
        match check_under_way(store, &Put::new(settings.seed, *writer, next)) {
            Ok(state) => findings.under_way[state] += 1,
            // Its newest segment cannot be the oldest, but its oldest can be gone.
            Err(what) => ledger.fail(format!("put {next} of writer {writer}, under way: {what}")),
        }
    }
    Ok(())
}

fn check_own(
    settings: &Settings,
    store: &Store,
    acknowledged: &[Acknowledged],
    oldest_live: u32,
) -> (u64, u64, Vec<String>) {
    let (mut found, mut evicted, mut failures) = (0, 0, Vec::new());
    for acknowledged in acknowledged {
        let put = Put::new(settings.seed, acknowledged.writer, acknowledged.number);
        match check_put(store, &put, acknowledged.sequence, settings.evicts()) {
            Ok(true) => found += 1,
            Ok(false) if acknowledged.segment < oldest_live => evicted += 1,
            Ok(false) => failures.push(format!("lost at the end: {acknowledged:?}")),
            Err(what) => failures.push(format!("at the end {acknowledged:?}: {what}")),
        }
    }
    (found, evicted, failures)
}

/// Whether all parts of a put are there and right.
fn check_put(store: &Store, put: &Put, sequence: u64, evicts: bool) -> Result<bool, String> {
    let parts: &[Part] =
        if put.what == What::Pair { &[Part::Main, Part::Manifest] } else { &[Part::Main] };
    let first = sequence + 1 - parts.len() as u64;
    for (expected, part) in (first..).zip(parts) {
        let key = put.key(*part);
        let Some(record) = store.get(&key).map_err(|error| error.to_string())? else {
            return Ok(false);
        };
        content::check(put.seed, key, &record)?;
        if !is_of_put(record.sequence(), expected, evicts) {
            return Err(format!("it has sequence {}", record.sequence()));
        }
    }
    Ok(true)
}

fn check_shared(
    seed: u64,
    store: &Store,
    ledger: &Ledger,
    key: u64,
    oldest_live: u32,
) -> Result<(), String> {
    let newest = ledger.newest[key as usize];
    let found = store.get(&content::shared_key(seed, key)).map_err(|error| error.to_string())?;
    match found {
        Some(record) => {
            let (put, _) = content::check(seed, record.key(), &record)?;
            let sequence = record.sequence();
            // A copy has a number of its own, so the value tells which put it is.
            let put_as = ledger.shared.get(&(put.writer, put.number)).copied().unwrap_or(sequence);
            if sequence.min(put_as) < newest.sequence {
                let newest = newest.sequence;
                return Err(format!("{put_as} came back after {newest}, as {sequence}"));
            }
            // The removal itself has this number, so a record with it would be another's.
            if sequence == newest.sequence && newest.is_removal {
                return Err("a removal and a record have one number".into());
            }
            Ok(())
        }
        None if newest.sequence > 0 && is_kept(key) && newest.segment >= oldest_live => {
            Err(format!("lost, it was acknowledged with {}", newest.sequence))
        }
        None => Ok(()),
    }
}

/// What is there of a put whose writer was killed: 0 nothing, 1 all, 2 only the result.
fn check_under_way(store: &Store, put: &Put) -> Result<usize, String> {
    let has = |part| -> Result<bool, String> {
        let key = put.key(part);
        match store.get(&key).map_err(|error| error.to_string())? {
            Some(record) => content::check(put.seed, key, &record).map(|_| true),
            None => Ok(false),
        }
    };
    match put.what {
        What::Blob => Ok(usize::from(has(Part::Main)?)),
        What::Pair => match (has(Part::Main)?, has(Part::Manifest)?) {
            (false, false) => Ok(0),
            (true, true) => Ok(1),
            (true, false) => Ok(2),
            (false, true) => Err("a manifest without its result".into()),
        },
        // Others put these keys too.
        What::Shared(_) | What::Removal(_) => Ok(0),
    }
}

fn measure(
    settings: &Settings,
    path: &Path,
    store: &Store,
    ledger: &mut Ledger,
    events: &Events,
    findings: &mut Findings,
) -> Result<(), Box<dyn std::error::Error>> {
    let stats = store.stats()?;
    findings.counters = store.engine_counters().collect();
    findings.disk_bytes = disk_usage(path);
    findings.segments = segments(path)?.len() as u64;
    let (under_way_bytes, under_way_count) = ledger.under_way(&events.writers);
    let holes = ledger.left_count + 2 * under_way_count;
    findings.left_bytes = ledger.left_bytes;
    findings.hole_bytes_max = under_way_bytes + holes * HOLE_OVERHEAD_BYTES;
    let table_pages = stats.segment_bytes.div_ceil(SEGMENT_BYTES_PER_TABLE_PAGE);
    // Header, table, and the block that the end is rounded to; a footer that a killed janitor has
    // begun is written anew behind itself.
    let footer_bytes = table_pages * 255 * 24 + 4096;
    let verified = &findings.verified;
    let bound = verified.bytes
        + verified.records * (RECORD_OVERHEAD_BYTES + CLONEABLE_OVERHEAD_BYTES / 4 + ENTRY_BYTES)
        + findings.segments * (table_pages + 3) * 4096
        + events.killed * footer_bytes
        + findings.left_bytes
        + findings.hole_bytes_max
        + FIXED_BYTES;
    findings.disk_bytes_max = settings.max_size_bytes.unwrap_or(bound);
    if findings.disk_bytes > findings.disk_bytes_max {
        ledger.fail(format!(
            "the store has {} bytes on disk, it may have {}",
            findings.disk_bytes, findings.disk_bytes_max
        ));
    }
    Ok(())
}
