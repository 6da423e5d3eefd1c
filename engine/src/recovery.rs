//! Opening: making a store, joining one, and taking over one that another boot has left.
//!
//! 1. A directory becomes a store under the tail lock; its superblock is written last, so that a
//!    killed maker leaves nothing that looks like a store.
//! 2. Same boot id: the page cache is coherent, and everything with a valid frame is valid. The
//!    opener is done; it takes `life` shared before it writes for the first time.
//! 3. Another boot id: the opener that gets `life` exclusively writes its boot id and a new epoch,
//!    which voids the tail and closes every segment, and downgrades. The tree stands as it is;
//!    every record is checked in full whenever it is read. Others are told to come back (`Busy`).
//! 4. A heartbeat of another boot id that is younger than a minute means another kernel on the same
//!    directory, and is refused: locks and page cache do not reach across kernels.

use std::path::Path;
use std::sync::Arc;

use crate::counters::EngineCounter;
use crate::env::{Env, LOCK_FILE_NAME, LockByte, LockTable, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::superblock::Superblock;
use crate::handle::Handle;
use crate::index::{self, Index};
use crate::limits::{HEARTBEAT_SECS_MAX, SEGMENT_ID_MAX};
use crate::log::{self, Log, TailFile};
use crate::options::{Options, ReadMode};
use crate::superblock::{self, SuperblockFile};

const TAG_FILE_NAME: &str = "CACHEDIR.TAG";

/// See <https://bford.info/cachedir/>.
const TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55\n\
# This directory is a store of larder, a cache for build artifacts.\n\
# It may be deleted at any time.\n";

/// The first segment id. Zero stands for none in listings.
const FIRST_SEGMENT: u32 = 1;

/// How long the makers of one store wait for each other.
const CREATE_WAIT_MS_MAX: u64 = 2_000;

/// Opens or makes the store at `path`.
///
/// # Errors
/// `NotAStore`, `NewerFormat`, `OtherKernel`, `Busy` (somebody is recovering it), `Corrupt` (no
/// copy of the superblock is valid), `Limit` (an option), `Io`.
pub fn open(env: Arc<dyn Env>, path: &Path, options: Options) -> Result<Handle> {
    options.check()?;
    if options.read_only {
        return open_read_only(env, path, options);
    }
    match open_writable(env.clone(), path, &options) {
        Err(error) if error.kind() == ErrorKind::ReadOnly => {
            // Where reading does not work either, the first error says more.
            open_read_only(env, path, options).map_err(|second| match second.is_not_found() {
                true => error,
                false => second,
            })
        }
        other => other,
    }
}

fn open_read_only(env: Arc<dyn Env>, path: &Path, options: Options) -> Result<Handle> {
    let superblock = SuperblockFile::open(&*env, path, OpenMode::Read, options.read_mode)?;
    let block = superblock.glance().map_err(|error| error.at_path(path))?;
    Ok(Handle::new(env, path.to_path_buf(), options, false, superblock, &block))
}

fn open_writable(env: Arc<dyn Env>, path: &Path, options: &Options) -> Result<Handle> {
    let (superblock, block) = superblock(&env, path, options)?;
    if block.boot_id == env.boot_id() {
        // Whoever only reads needs no lock, because everything that is read is checked; so the
        // handle takes one when it first writes.
        return Ok(Handle::new(env, path.to_path_buf(), options.clone(), true, superblock, &block));
    }
    let locks = LockTable::open(&env, path, options.file_mode)?;
    let joined = join(&env, path, &superblock, block, &locks)?;
    let block = joined.superblock;
    let handle = Handle::new(env, path.to_path_buf(), options.clone(), true, superblock, &block);
    let handle = handle.with_locks(locks);
    if joined.recovered {
        handle.count(EngineCounter::Recoveries);
    }
    Ok(handle)
}

/// The superblock, of a new store if there is none. Nothing is made beside one that is not valid.
fn superblock(
    env: &Arc<dyn Env>,
    path: &Path,
    options: &Options,
) -> Result<(SuperblockFile, Superblock)> {
    let superblock = match SuperblockFile::open(&**env, path, OpenMode::Write, options.read_mode) {
        Ok(superblock) => match superblock.glance() {
            Ok(block) => return Ok((superblock, block)),
            Err(_) if superblock.is_empty()? => create(env, path, options)?,
            // Read again below: its maker may have written it in between.
            Err(_) => superblock,
        },
        Err(error) if !error.is_not_found() && !is_no_directory(&error) => return Err(error),
        Err(_) => create(env, path, options)?,
    };
    let block = superblock.read().map_err(|error| error.at_path(path))?;
    Ok((superblock, block))
}

/// Whether a part of a path is a file.
fn is_no_directory(error: &Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .is_some_and(|source| source.kind() == std::io::ErrorKind::NotADirectory)
}

struct Joined {
    superblock: Superblock,
    recovered: bool,
}

/// Takes `life`, recovering the store if another boot has left it.
// A frame of its own, see decision 0008.
#[inline(never)]
fn join(
    env: &Arc<dyn Env>,
    path: &Path,
    superblock: &SuperblockFile,
    mut block: Superblock,
    locks: &LockTable,
) -> Result<Joined> {
    let busy = || Error::new(ErrorKind::Busy, "another process recovers the store").at_path(path);
    let mut recovered = false;
    for _ in 0..3 {
        if block.boot_id == env.boot_id() {
            if !locks.share_life()? {
                return Err(busy());
            }
            return Ok(Joined { superblock: block, recovered });
        }
        if env.now_secs().abs_diff(block.heartbeat_secs) < HEARTBEAT_SECS_MAX {
            return Err(Error::new(
                ErrorKind::OtherKernel,
                "another kernel used the store within the last minute",
            )
            .at_path(path));
        }
        if locks.seize_life()? {
            let lock = locks.lock(LockByte::Tail, CREATE_WAIT_MS_MAX)?;
            let beyond = beyond(env, path, &superblock.read()?)?;
            superblock.change(&lock, |block| {
                block.boot_id = env.boot_id();
                block.next_segment = beyond.next_segment;
                // What became of the last commits before, nobody knows.
                block.used_below = beyond.next_segment;
                block.epoch = beyond.epoch.saturating_add(1);
                block.heartbeat_secs = env.now_secs();
            })?;
            recovered = true;
        }
        block = superblock.read().map_err(|error| error.at_path(path))?;
    }
    Err(busy())
}

/// The first segment id and the highest epoch that nothing on the disk has.
struct Beyond {
    next_segment: u32,
    epoch: u32,
}

/// What the other kernel wrote last reached the disk in no particular order: there may be segments,
/// merges and epochs that the superblock does not know. Their numbers must not be used again: a
/// segment with the id of a merged one is never looked into, and an old sequence number loses.
fn beyond(env: &Arc<dyn Env>, path: &Path, block: &Superblock) -> Result<Beyond> {
    let index = Index::open(&**env, path, block.uuid, OpenMode::Read, ReadMode::Pread)
        .and_then(|i| i.meta());
    let merged_below = index.ok().flatten().map_or(0, |meta| meta.merged_below);
    let tail = TailFile::open(&**env, path, block.uuid, OpenMode::Read, ReadMode::Pread)
        .and_then(|file| file.read());
    let tail_epoch = tail.ok().flatten().map_or(0, |tail| tail.epoch);
    let mut found = Beyond {
        next_segment: block.next_segment.max(merged_below).min(SEGMENT_ID_MAX),
        epoch: block.epoch.max(tail_epoch),
    };
    let log = Log::new(env.clone(), path, block.uuid, false, ReadMode::Pread);
    for id in log.ids()?.into_iter().filter(|id| (block.next_segment..SEGMENT_ID_MAX).contains(id))
    {
        // One that is not of this store is replaced when its id is due.
        let Ok(Some(segment)) = log.segment(id) else { continue };
        found.next_segment = found.next_segment.max(id + 1);
        found.epoch = found.epoch.max(segment.header.epoch);
    }
    Ok(found)
}

/// Makes a store in a directory that is missing, empty, or was left by a killed maker.
// A frame of its own, see decision 0008.
#[inline(never)]
fn create(env: &Arc<dyn Env>, path: &Path, options: &Options) -> Result<SuperblockFile> {
    let not_a_store = |what: &str| Error::new(ErrorKind::NotAStore, what.to_string()).at_path(path);
    if !options.create {
        return Err(not_a_store("there is no store"));
    }
    let directory_mode = directory_mode(options.file_mode);
    if let Err(error) = env.create_dir(path, directory_mode) {
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
    if !superblock.is_empty()? {
        // Another maker was faster.
        return Ok(superblock);
    }
    env.open(&path.join(TAG_FILE_NAME), file_mode)?.write_at(TAG, 0)?;
    let log = path.join(log::DIRECTORY_NAME);
    env.create_dir(&log, directory_mode)?;
    for name in env.list(&log)? {
        env.remove(&log.join(name))?;
    }
    let [uuid_low, uuid_high] = [env.random(), env.random()];
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&uuid_low.to_le_bytes());
    uuid[8..].copy_from_slice(&uuid_high.to_le_bytes());
    Index::create(&**env, path, uuid, file_mode, FIRST_SEGMENT)?;
    let now = env.now_secs();
    superblock.create(
        &lock,
        Superblock {
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
        },
    )?;
    Ok(superblock)
}

/// Directories can be searched by those who may read their files.
fn directory_mode(file_mode: u32) -> u32 {
    file_mode | (file_mode & 0o444) >> 2
}

/// A name in the directory that no maker of a store can have left. What is ours is made anew, so a
/// name alone proves nothing: all but the lock and the superblock are made after the tag.
fn foreign_name(env: &dyn Env, path: &Path) -> Result<Option<String>> {
    const TAGGED: &[&str] = &[log::DIRECTORY_NAME, index::FILE_NAME, "tail", "recency", "counters"];
    const BEFORE: &[&str] = &[LOCK_FILE_NAME, superblock::FILE_NAME];
    // Listed before the tag is read: another maker may be at work, and the tag is there by then.
    let names = env.list(path)?;
    let mut tag = [0; TAG.len() + 1];
    let count = match env.open(&path.join(TAG_FILE_NAME), OpenMode::Read) {
        Ok(file) => file.read_at(&mut tag, 0)?,
        Err(error) if error.is_not_found() => 0,
        Err(error) => return Err(error),
    };
    let tag = &tag[..count];
    let is_ours = |name: &str| match name {
        TAG_FILE_NAME => TAG.starts_with(tag),
        _ if BEFORE.contains(&name) => true,
        _ => tag == TAG && (TAGGED.contains(&name) || name.starts_with("digests-")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_follow_the_mode_of_files() {
        assert_eq!(directory_mode(0o600), 0o700);
        assert_eq!(directory_mode(0o660), 0o770);
        assert_eq!(directory_mode(0o664), 0o775);
    }
}
