//! Opening: making a store, joining one, and taking over one that another boot has left.
//!
//! 1. A directory becomes a store under the tail lock; its superblock is written last, so that a
//!    killed maker leaves nothing that looks like a store.
//! 2. Same boot id: the page cache is coherent, and everything with a valid frame is valid. The
//!    opener is done; it takes `life` shared before it writes for the first time.
//! 3. Another boot id: the opener that gets `life` exclusively writes its boot id and a new epoch,
//!    which voids the tail and closes every segment, and downgrades. The tree stands as it is;
//!    every record is checked in full whenever it is read. Others are told to come back (`Busy`).
//!    Segments that are not known to be durable become suspects, see [`Superblock::suspects`].
//! 4. What was exported is a [sealed store](crate::sealed), which is only read.
//! 5. A heartbeat of another boot id that is younger than a minute means another kernel on the same
//!    directory, and is refused: locks and page cache do not reach across kernels.

mod make;

use std::path::Path;
use std::sync::Arc;

use make::{CREATE_WAIT_MS_MAX, make};

use crate::counters::EngineCounter;
use crate::env::{Env, LockByte, LockTable, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::superblock::{EPOCH_MAX, Superblock};
use crate::format::tail::Tail;
use crate::handle::Handle;
use crate::index::Index;
use crate::limits::{HEARTBEAT_SECS_MAX, SEGMENT_ID_MAX};
use crate::log::{Log, TailFile};
use crate::options::{Options, ReadMode};
use crate::sealed::{Manifest, SealedEnv};
use crate::superblock::SuperblockFile;

/// What [`Env::boot_id`] says where there is none, as without /proc. A power cut could not be told
/// from a pause then, so such a process only reads.
const NO_BOOT_ID: [u8; 16] = [0; 16];

/// Opens or makes the store at `path`.
///
/// # Errors
/// `NotAStore`, `NewerFormat`, `OtherKernel`, `Busy` (somebody is recovering it), `Corrupt` (no
/// copy of the superblock is valid), `Limit` (an option), `Io`.
pub fn open(env: Arc<dyn Env>, path: &Path, options: Options) -> Result<Handle> {
    options.check()?;
    match open_own(env.clone(), path, options.clone()) {
        Err(error) if error.is_not_found() || error.kind() == ErrorKind::NotAStore => {
            match Manifest::read(&*env, path) {
                Ok(Some(manifest)) => {
                    let env = SealedEnv::new(env, path, &manifest);
                    open_read_only(Arc::new(env), path, options)
                }
                Err(damaged)
                    if matches!(damaged.kind(), ErrorKind::NewerFormat | ErrorKind::Corrupt) =>
                {
                    Err(damaged)
                }
                _ => Err(error),
            }
        }
        other => other,
    }
}

/// Opens or makes a store that is not sealed.
fn open_own(env: Arc<dyn Env>, path: &Path, options: Options) -> Result<Handle> {
    if options.read_only || env.boot_id() == NO_BOOT_ID {
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
    let joined = join(&env, path, &superblock, &locks)?;
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
            // Read again below: its maker may have written it in between.
            Err(error) if !is_lost(&error) => superblock,
            // A directory with something else in it is what the first error says.
            Err(error) => make(env, path, options).map_err(|second| match second.kind() {
                ErrorKind::NotAStore if !superblock.is_empty().unwrap_or(false) => {
                    error.at_path(path)
                }
                _ => second,
            })?,
        },
        Err(error) if !error.is_not_found() && !is_no_directory(&error) => return Err(error),
        Err(_) => make(env, path, options)?,
    };
    let block = superblock.read().map_err(|error| error.at_path(path))?;
    Ok((superblock, block))
}

/// Whether no copy of the superblock is valid.
fn is_lost(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotAStore)
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
    locks: &LockTable,
) -> Result<Joined> {
    let busy = || Error::new(ErrorKind::Busy, "another process recovers the store").at_path(path);
    let mut recovered = false;
    for _ in 0..3 {
        // By the copy that look-ups go by: a recovery that was killed between the two is made
        // again.
        let block = superblock.glance().map_err(|error| error.at_path(path))?;
        if block.boot_id == env.boot_id() {
            if !locks.share_life()? {
                return Err(busy());
            }
            return Ok(Joined { superblock: block, recovered });
        }
        let newest = superblock.read()?;
        let age_secs = env.now_secs().abs_diff(newest.heartbeat_secs);
        if newest.boot_id != env.boot_id() && age_secs < HEARTBEAT_SECS_MAX {
            let what = "another kernel used the store within the last minute";
            return Err(Error::new(ErrorKind::OtherKernel, what).at_path(path));
        }
        if locks.seize_life()? {
            take_over(env, path, superblock, locks)?;
            recovered = true;
        }
    }
    Err(busy())
}

/// Makes the store this kernel's, with `life` held exclusively.
fn take_over(
    env: &Arc<dyn Env>,
    path: &Path,
    superblock: &SuperblockFile,
    locks: &LockTable,
) -> Result<()> {
    let lock = locks.lock(LockByte::Tail, CREATE_WAIT_MS_MAX)?;
    let beyond = beyond(env, path, &superblock.read()?)?;
    let epoch = beyond.epoch.saturating_add(1);
    if epoch >= EPOCH_MAX {
        return Err(Error::new(ErrorKind::Limit, "the store has used up its epochs").at_path(path));
    }
    superblock.take_over(&lock, |block| {
        block.next_segment = beyond.next_segment;
        // What became of the last commits before, nobody knows.
        block.used_below = beyond.next_segment;
        block.suspect_below = beyond.next_segment;
        block.epoch = epoch;
        block.heartbeat_secs = env.now_secs();
    })?;
    Ok(())
}

/// The tail as it was left, whether it counts or not.
fn newest_tail(env: &dyn Env, path: &Path, uuid: [u8; 16]) -> Option<Tail> {
    let file = TailFile::open(env, path, uuid, OpenMode::Read, ReadMode::Pread).ok()?;
    file.read().ok()?
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
    let tail_epoch = newest_tail(&**env, path, block.uuid).map_or(0, |tail| tail.epoch);
    let mut found = Beyond {
        next_segment: block.next_segment.max(merged_below).min(SEGMENT_ID_MAX),
        epoch: block.epoch.max(tail_epoch),
    };
    let log = Log::new(env.clone(), path, block.uuid, false, ReadMode::Pread, Arc::default());
    for id in log.ids()?.into_iter().filter(|id| (block.next_segment..SEGMENT_ID_MAX).contains(id))
    {
        // One that is not of this store is replaced when its id is due.
        let Ok(Some(segment)) = log.segment(id) else { continue };
        found.next_segment = found.next_segment.max(id + 1);
        found.epoch = found.epoch.max(segment.header.epoch);
    }
    Ok(found)
}
