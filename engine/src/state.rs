//! The state of a store, for people: what its parts say and who holds which lock. Nothing is
//! changed, made or taken for that.

use std::path::Path;
use std::sync::Arc;

use crate::coding::read_u64;
use crate::counters::{self, COUNT_MAX, EngineCounter};
use crate::env::{Env, Held, LOCK_FILE_NAME, LockByte, OpenMode};
use crate::error::Result;
use crate::format::superblock::{FILE_BYTES, Superblock};
use crate::format::tail::{TAIL_BYTES, Tail};
use crate::handle::Handle;
use crate::index::{self, Index};
use crate::limits::{COUNTERS, PAGE_BYTES};
use crate::log;
use crate::options::ReadMode;
use crate::recency;
use crate::superblock;

/// What a store says of itself at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct State {
    /// How many of the two copies of the superblock are valid.
    pub superblock_copies: u32,
    /// Whether the running kernel wrote last; else nobody has opened it for writing since the boot,
    /// or another kernel uses it.
    pub is_of_this_kernel: bool,
    /// When a writer was last seen, in seconds since 1970; renewed every 20 seconds by writers.
    pub heartbeat_secs: u64,
    /// When the store was made, in seconds since 1970.
    pub created_secs: u64,
    /// Recoveries and other new beginnings.
    pub epoch: u32,
    /// Size of a segment in bytes.
    pub segment_bytes: u64,
    /// Live segments.
    pub segments: u32,
    /// Those to which records may still be committed; `None` if the tail is void.
    pub open_segments: Option<u32>,
    /// Those that are not in the tree; all if there is no index.
    pub unmerged_segments: u32,
    /// Those of which a power cut may have taken something.
    pub suspect_segments: u32,
    /// Whether the index has a valid meta page.
    pub has_index: bool,
    /// Entries of the tree.
    pub index_entries: u64,
    /// Bytes of records reserved since the last checkpoint; `None` if the tail is void.
    pub bytes_since_checkpoint: Option<u64>,
    /// How long the first of these waits for one, in milliseconds.
    pub ms_since_checkpoint: Option<u64>,
    /// Disk bytes of the whole directory.
    pub disk_bytes: u64,
    /// Segment files that are not in use.
    pub left_segments: u32,
    /// Files that are there and cannot be read, relative to the store, with what the system says.
    pub closed_files: Vec<(String, String)>,
    /// Files of live segments that are not there, suspect segments left out.
    pub missing_segments: Vec<String>,
    /// Whether the counters hold a number that cannot be right.
    pub has_wild_counters: bool,
    /// Damaged records, slots and pages that were met since the last repair that left everything
    /// whole, or since the counters were made or set to zero.
    pub damage_met: u64,
    /// Those that were met before that repair.
    pub damage_mended: u64,
    /// Recoveries since the counters were made.
    pub recoveries: u64,
    /// Puts that were dropped for want of room.
    pub dropped_full: u64,
    /// Puts that were dropped because a lock could not be had in time.
    pub dropped_busy: u64,
    /// Who holds the lock of everyone who writes; `None` where that cannot be asked.
    pub life_lock: Option<Held>,
    /// Who holds the lock of commits.
    pub tail_lock: Option<Held>,
    /// Who holds the lock of merges.
    pub index_lock: Option<Held>,
    /// Who holds the lock of upkeep.
    pub janitor_lock: Option<Held>,
}

/// Reads it.
///
/// # Errors
/// `Io` if a file cannot be read, `Corrupt` if the superblock is lost.
pub fn read(handle: &Handle) -> Result<State> {
    let env = &handle.env;
    let block = handle.superblock.read()?;
    let mut state = State {
        superblock_copies: valid_copies(&beginning(
            env,
            &handle.path,
            superblock::FILE_NAME,
            FILE_BYTES,
        )),
        is_of_this_kernel: block.boot_id == env.boot_id(),
        heartbeat_secs: block.heartbeat_secs,
        created_secs: block.created_secs,
        epoch: block.epoch,
        segment_bytes: u64::from(block.segment_bytes),
        segments: block.next_segment - block.oldest_live,
        disk_bytes: handle.disk_bytes()?,
        ..State::default()
    };
    let suspects = handle.suspects(&block);
    let (first, end) =
        (suspects.start.max(block.oldest_live), suspects.end.min(block.next_segment));
    state.suspect_segments = end.saturating_sub(first);
    let in_use = block.oldest_live..block.next_segment;
    let names = match env.list(&handle.path.join(log::DIRECTORY_NAME)) {
        Err(error) if error.is_not_found() => Vec::new(),
        names => names?,
    };
    let is_left = |name: &&String| {
        let id = log::id_of(name).filter(|id| log::name_of(*id) == **name);
        id.is_some_and(|id| !in_use.contains(&id))
    };
    state.left_segments = names.iter().filter(is_left).count() as u32;
    read_files(handle, &block, &mut state)?;
    read_index(handle, &block, &mut state);
    read_tail(handle, &block, &mut state);
    read_counters(handle, &mut state);
    if let Ok(lock) = env.open(&handle.path.join(LOCK_FILE_NAME), OpenMode::Read) {
        let held = |byte: LockByte| lock.held(byte as u64);
        state.life_lock = held(LockByte::Life);
        state.tail_lock = held(LockByte::Tail);
        state.index_lock = held(LockByte::Index);
        state.janitor_lock = held(LockByte::Janitor);
    }
    Ok(state)
}

/// The beginning of a file, as much of it as can be had.
fn beginning(env: &Arc<dyn Env>, store: &Path, name: &str, bytes: usize) -> Vec<u8> {
    let mut buffer = vec![0; bytes];
    let file = env.open(&store.join(name), OpenMode::Read);
    let count = file.and_then(|file| file.read_at(&mut buffer, 0)).unwrap_or(0);
    buffer.truncate(count);
    buffer
}

/// Which files cannot be read, and which segments are missing.
fn read_files(handle: &Handle, block: &Superblock, state: &mut State) -> Result<()> {
    // A directory is opened, and not read.
    let read = |name: &str| {
        let file = handle.env.open(&handle.path.join(name), OpenMode::Read)?;
        file.read_at(&mut [0], 0)
    };
    let others = [log::TAIL_FILE_NAME, index::FILE_NAME, counters::FILE_NAME, recency::FILE_NAME];
    let suspects = handle.suspects(block);
    let segments = (block.oldest_live..block.next_segment)
        .map(|id| (Some(id), format!("{}/{}", log::DIRECTORY_NAME, log::name_of(id))));
    for (id, name) in others.map(|name| (None, name.to_owned())).into_iter().chain(segments) {
        match read(&name) {
            Ok(_) => {}
            Err(error) if !error.is_not_found() => {
                state.closed_files.push((name, error.to_string()));
            }
            // It may have been evicted since the superblock was read.
            Err(_) if id.is_some_and(|id| !suspects.contains(&id)) => {
                if id >= Some(handle.superblock.read()?.oldest_live) {
                    state.missing_segments.push(name);
                }
            }
            Err(_) => {}
        }
    }
    Ok(())
}

fn valid_copies(bytes: &[u8]) -> u32 {
    bytes.chunks(PAGE_BYTES).filter(|copy| Superblock::decode(copy).is_ok()).count() as u32
}

fn read_index(handle: &Handle, block: &Superblock, state: &mut State) {
    let (env, path) = (&*handle.env, &handle.path);
    let index = Index::open(env, path, block.uuid, OpenMode::Read, ReadMode::Pread);
    let meta = index.and_then(|index| index.meta()).ok().flatten();
    let first = meta.map_or(block.oldest_live, |meta| meta.merged_below.max(block.oldest_live));
    state.unmerged_segments = block.next_segment.saturating_sub(first);
    state.has_index = meta.is_some();
    state.index_entries = meta.map_or(0, |meta| meta.entries);
}

fn read_tail(handle: &Handle, block: &Superblock, state: &mut State) {
    let bytes = beginning(&handle.env, &handle.path, log::TAIL_FILE_NAME, TAIL_BYTES);
    let counts = |tail: &Tail| {
        tail.epoch == block.epoch
            && tail.boot_id == handle.env.boot_id()
            && tail.store.to_le_bytes() == block.uuid[..8]
    };
    let Some(tail) = Tail::decode(&bytes).filter(counts) else { return };
    state.open_segments = Some(block.next_segment.saturating_sub(tail.open_from));
    state.bytes_since_checkpoint = Some(tail.written_bytes);
    let waits = handle.env.monotonic_ms().saturating_sub(tail.written_since_ms);
    state.ms_since_checkpoint = Some(if tail.written_bytes == 0 { 0 } else { waits });
}

/// From the file: a handle that only reads has counters of its own.
fn read_counters(handle: &Handle, state: &mut State) {
    let bytes = COUNTERS * size_of::<u64>();
    let words = beginning(&handle.env, &handle.path, counters::FILE_NAME, bytes);
    let word = |id: usize| read_u64(&words, id * size_of::<u64>()).unwrap_or(0);
    state.has_wild_counters = (0..COUNTERS).any(|id| word(id) > COUNT_MAX);
    let count =
        |counter: EngineCounter| Some(word(counter.id())).filter(|c| *c <= COUNT_MAX).unwrap_or(0);
    let damage = count(EngineCounter::Damaged);
    state.damage_mended = count(EngineCounter::DamagedMended).min(damage);
    state.damage_met = damage - state.damage_mended;
    state.recoveries = count(EngineCounter::Recoveries);
    state.dropped_full = count(EngineCounter::DroppedFull);
    state.dropped_busy = count(EngineCounter::DroppedBusy);
}
