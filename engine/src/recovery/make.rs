//! Making a store: a new one, or a superblock for one that has lost its own.
//!
//! 1. Everything but the lock and the superblock is made after the tag, and the tag reaches the
//!    disk first: so a directory with the tag holds nothing that is not ours.
//! 2. Where the superblock is missing or no copy of it is valid, it is made from the headers of the
//!    segments: which store they belong to, and from where to where they go. All of them are
//!    suspects then.
//! 3. A directory without such segments becomes an empty store.
//! 4. Nobody else may have the store open meanwhile: whoever holds the old superblock would go on
//!    with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{is_no_directory, newest_tail};
use crate::env::{Env, LOCK_FILE_NAME, LockByte, LockTable, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::segment::{SegmentHeader, table_pages};
use crate::format::superblock::{EPOCH_MAX, Superblock};
use crate::index::{self, Index};
use crate::job;
use crate::limits::{
    FIRST_SEGMENT, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN_TEST, SEGMENT_BYTES_PER_TABLE_PAGE,
    SEGMENT_ID_MAX,
};
use crate::log;
use crate::options::{Options, ReadMode};
use crate::superblock::{self, SuperblockFile};

const TAG_FILE_NAME: &str = "CACHEDIR.TAG";

/// See <https://bford.info/cachedir/>.
const TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55\n\
# This directory is a store of larder, a cache for build artifacts.\n\
# It may be deleted at any time.\n";

/// How long the makers of one store wait for each other.
pub const CREATE_WAIT_MS_MAX: u64 = 2_000;

/// Makes a store in a directory that is missing, empty, or was left by a killed maker, or a
/// superblock for one that has no valid one.
///
/// # Errors
/// `NotAStore` if the directory holds anything else, `Busy` if the store is open elsewhere.
// A frame of its own, see decision 0008.
#[inline(never)]
pub fn make(env: &Arc<dyn Env>, path: &Path, options: &Options) -> Result<SuperblockFile> {
    let not_a_store = |what: &str| Error::new(ErrorKind::NotAStore, what.to_string()).at_path(path);
    if !options.create {
        return Err(not_a_store("there is no store"));
    }
    if let Err(error) = env.create_dir(path, options.directory_mode()) {
        return Err(match error.is_already_there() || is_no_directory(&error) {
            true => not_a_store("the path of the store is not a directory"),
            false => error,
        });
    }
    if let Some(name) = foreign_name(&**env, path)? {
        let what = format!("the directory holds `{name}`, which is not a part of a store");
        return Err(not_a_store(&what));
    }
    let locks = LockTable::open(env, path, options.file_mode)?;
    let lock = locks.lock(LockByte::Tail, CREATE_WAIT_MS_MAX)?;
    let file_mode = OpenMode::Create(options.file_mode);
    let superblock = SuperblockFile::open(&**env, path, file_mode, options.read_mode)?;
    match superblock.read() {
        Err(error) if error.kind() != ErrorKind::NewerFormat => {}
        // Another maker was faster, or the store is not for this program.
        _ => return Ok(superblock),
    }
    // Of a new store the lock has a name before the tag has: a tag alone may be anybody's.
    env.sync_dir(path)?;
    let block = match survey(env, path, options)? {
        Some(_) if !locks.seize_life()? => {
            let what = "the superblock is lost, and the store is open elsewhere";
            return Err(Error::new(ErrorKind::Busy, what).at_path(path));
        }
        Some(block) => block,
        None => begin(env, path, options)?,
    };
    superblock.create(&lock, block)?;
    Ok(superblock)
}

/// Makes everything but the superblock, which is returned, of an empty store.
fn begin(env: &Arc<dyn Env>, path: &Path, options: &Options) -> Result<Superblock> {
    let file_mode = OpenMode::Create(options.file_mode);
    let tag = env.open(&path.join(TAG_FILE_NAME), file_mode)?;
    // One that is there is never shortened on the way: it is what shows that the rest is ours.
    tag.write_at(TAG, 0)?;
    tag.set_len(TAG.len() as u64)?;
    tag.sync()?;
    env.sync_dir(path)?;
    let log = path.join(log::DIRECTORY_NAME);
    env.create_dir(&log, options.directory_mode())?;
    for name in env.list(&log)? {
        env.remove(&log.join(name))?;
    }
    let [uuid_low, uuid_high] = [env.random(), env.random()];
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&uuid_low.to_le_bytes());
    uuid[8..].copy_from_slice(&uuid_high.to_le_bytes());
    Index::create(&**env, path, uuid, file_mode, FIRST_SEGMENT)?;
    let now = env.now_secs();
    Ok(Superblock {
        segment_bytes: options.new_segment_bytes() as u32,
        generation: 0,
        uuid,
        boot_id: env.boot_id(),
        epoch: 1,
        oldest_live: FIRST_SEGMENT,
        next_segment: FIRST_SEGMENT,
        durable_below: FIRST_SEGMENT,
        heartbeat_secs: now,
        created_secs: now,
        used_below: FIRST_SEGMENT,
        suspect_below: FIRST_SEGMENT,
        noted_below: 0,
        noted_secs: 0,
    })
}

/// The superblock as far as the rest of the store tells, `None` if there is no segment.
fn survey(env: &Arc<dyn Env>, path: &Path, options: &Options) -> Result<Option<Superblock>> {
    let headers = headers(&**env, path)?;
    let Some((oldest, newest)) = headers.first().zip(headers.last()) else { return Ok(None) };
    let uuid = oldest.uuid;
    let index = Index::open(&**env, path, uuid, OpenMode::Read, ReadMode::Pread);
    let meta = index.and_then(|index| index.meta()).ok().flatten();
    let merged_below = meta.map_or(FIRST_SEGMENT, |meta| meta.merged_below).min(SEGMENT_ID_MAX);
    let tail_epoch = newest_tail(&**env, path, uuid).map_or(0, |tail| tail.epoch);
    let epochs = headers.iter().map(|header| header.epoch);
    let next_segment = (newest.id + 1).max(merged_below);
    Ok(Some(Superblock {
        segment_bytes: segment_bytes(&headers, options),
        // None that the lost one had: a process that still has its file is told by that.
        generation: env.now_secs() << 20,
        uuid,
        boot_id: env.boot_id(),
        epoch: epochs.fold(tail_epoch, u32::max).saturating_add(1).min(EPOCH_MAX - 1),
        oldest_live: oldest.id,
        next_segment,
        // Even those in the tree: their tables may not have been mended.
        durable_below: oldest.id,
        heartbeat_secs: env.now_secs(),
        created_secs: oldest.created_secs,
        used_below: next_segment,
        suspect_below: next_segment,
        noted_below: 0,
        noted_secs: 0,
    }))
}

/// The valid headers of the store that most of them belong to, in the order of their ids.
fn headers(env: &dyn Env, path: &Path) -> Result<Vec<SegmentHeader>> {
    let directory = path.join(log::DIRECTORY_NAME);
    let names = match env.list(&directory) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    let mut stores: BTreeMap<[u8; 16], Vec<SegmentHeader>> = BTreeMap::new();
    for name in names {
        let Some(id) = log::id_of(&name).filter(|id| *id < SEGMENT_ID_MAX) else { continue };
        // One that cannot be opened just now must not be taken for none: the log would be emptied.
        let file = env.open(&directory.join(&name), OpenMode::Read)?;
        if let Some(header) = log::read_header(&*file, |bytes| SegmentHeader::decode(bytes, id))? {
            stores.entry(header.uuid).or_default().push(header);
        }
    }
    let mut headers = stores.into_values().max_by_key(Vec::len).unwrap_or_default();
    headers.sort_unstable_by_key(|header| header.id);
    Ok(headers)
}

/// The size of a segment: that of the options if their slot tables are what the segments have.
fn segment_bytes(headers: &[SegmentHeader], options: &Options) -> u32 {
    let pages = headers.iter().map(|header| header.table_pages).max().unwrap_or(1);
    let wanted = options.new_segment_bytes();
    let bytes = match table_pages(wanted) == pages {
        true => wanted,
        false => u64::from(pages) * SEGMENT_BYTES_PER_TABLE_PAGE,
    };
    bytes.clamp(SEGMENT_BYTES_MIN_TEST, SEGMENT_BYTES_MAX) as u32
}

/// Whether this may be what a power cut left of the tag, which has the length before it has the
/// bytes. Every program's tag begins alike.
fn may_be_torn(tag: &[u8]) -> bool {
    tag.len() <= TAG.len() && !tag.starts_with(&TAG[..10])
}

/// A name in the directory that no maker of a store can have left. What is ours is made anew, so a
/// name alone proves nothing: all but the lock and an empty superblock are made after the tag.
fn foreign_name(env: &dyn Env, path: &Path) -> Result<Option<String>> {
    const TAGGED: &[&str] =
        &[log::DIRECTORY_NAME, index::FILE_NAME, "tail", "recency", "counters", "clones"];
    // Listed before the tag is read: another maker may be at work, and the tag is there by then.
    let names = env.list(path)?;
    let mut tag = [0; TAG.len() + 1];
    let count = match env.open(&path.join(TAG_FILE_NAME), OpenMode::Read) {
        Ok(file) => file.read_at(&mut tag, 0)?,
        Err(error) if error.is_not_found() => 0,
        Err(error) => return Err(error),
    };
    let tag = &tag[..count];
    let lock_name = LOCK_FILE_NAME.to_owned();
    let is_empty = |name: &str| env.sizes(&path.join(name)).is_ok_and(|sizes| sizes.len_bytes == 0);
    let is_ours = |name: &str| match name {
        TAG_FILE_NAME => TAG.starts_with(tag) || may_be_torn(tag) && names.contains(&lock_name),
        LOCK_FILE_NAME => true,
        superblock::FILE_NAME => tag == TAG || is_empty(name),
        _ => {
            let prefixes = ["digests-", "calls-", job::FILE_PREFIX];
            let is_prefixed = prefixes.iter().any(|p| name.starts_with(p));
            tag == TAG && (TAGGED.contains(&name) || is_prefixed)
        }
    };
    if let Some(name) = names.iter().find(|name| !is_ours(name)) {
        return Ok(Some(name.clone()));
    }
    if !names.iter().any(|name| name == log::DIRECTORY_NAME) {
        return Ok(None);
    }
    let segments = env.list(&path.join(log::DIRECTORY_NAME))?;
    Ok(segments.into_iter().find(|name| !name.ends_with(".seg")))
}
