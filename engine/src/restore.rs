//! Restoring a section to a file: by reflink where that can be and pays, else by copying.
//!
//! 1. The file is written beside its final name, gets its mode, and is renamed over it: a killed
//!    restore leaves no half file, and a file that others have linked is never changed in place.
//! 2. The section is checked before its first byte is shared or written; of one that is cloned this
//!    is remembered until the kernel or the segment's file changes (`clones`).
//! 3. A clone shares what is on the disk, so it is taken only from segments that are known to be
//!    there whole: what was just written would first have to be, while somebody waits, and of a
//!    write that the disk refused the page cache would know nothing.
//! 4. A clone takes whole blocks only; the tail of a section stands in the head and is written
//!    after.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use crate::clones::Place;
use crate::counters::EngineCounter;
use crate::env::{File, OpenMode};
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::limits::{CLONEABLE_SECTION_BYTES_MIN, CLONES_QUIET_SECS};
use crate::record::Record;
use crate::rolling::is_checkpoint_due;
use crate::unpack::Contents;

/// How a section came to its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restored {
    /// Its blocks are shared with the log.
    Cloned,
    /// Its bytes were written.
    Copied,
}

/// Why a section is copied and not cloned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Uncloned {
    /// The file system cannot clone.
    FileSystem,
    /// The file goes to another file system than the store's.
    OtherFileSystem,
    /// Copying it is faster on this disk.
    Small,
    /// Its record has it compressed.
    Compressed,
    /// It is not known to be on the disk yet.
    Fresh,
    /// The kernel refused the clone for another reason.
    Refused,
}

impl fmt::Display for Uncloned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Uncloned::FileSystem => "the file system cannot clone",
            Uncloned::OtherFileSystem => "the store is on another file system",
            Uncloned::Small => "copying a file of this size is faster here",
            Uncloned::Compressed => "it is stored compressed",
            Uncloned::Fresh => "it was written since the last checkpoint",
            Uncloned::Refused => "the kernel refused the clone",
        })
    }
}

/// Whether a section can be cloned; if so, it is known to be whole.
///
/// # Errors
/// `Corrupt` if the section is damaged, `Io` if it cannot be read.
pub fn can_clone(
    handle: &Handle,
    record: &Record,
    section: usize,
) -> Result<std::result::Result<(), Uncloned>> {
    let info = &record.sections()[section];
    let Some(bytes_min) = handle.clone_bytes_min() else { return Ok(Err(Uncloned::FileSystem)) };
    if info.real_bytes < bytes_min.max(CLONEABLE_SECTION_BYTES_MIN as u64) {
        return Ok(Err(Uncloned::Small));
    }
    let offset = record.body_offset() + info.offset;
    if !record.head().cloneable || !info.is_in_blocks() || !record.is_on_blocks() {
        return Ok(Err(Uncloned::Compressed));
    }
    if record.location().segment >= handle.superblock.glance()?.durable_below {
        ask_for_checkpoint(handle);
        return Ok(Err(Uncloned::Fresh));
    }
    let place = record.segment().file().stamp().map(|stamp| Place {
        stamp,
        salt: record.segment().header.salt,
        offset,
        stored_bytes: info.stored_bytes,
        check: info.check,
    });
    let (Some(place), Some(clones)) = (place, handle.clones()) else {
        return record.check(section).map(Ok);
    };
    if !clones.is_whole(&place) {
        // Asked before the check: a change during it has another time then, however long it takes.
        let now_secs = i128::from(handle.env.now_secs());
        record.check(section)?;
        let quiet_from_ns = place.stamp.modified_ns.max(place.stamp.changed_ns);
        if handle.writable && now_secs - quiet_from_ns / 1_000_000_000 > CLONES_QUIET_SECS {
            clones.note_whole(&place);
        }
    }
    Ok(Ok(()))
}

/// A build that only hits puts nothing, so nobody else would ask for the checkpoint after which its
/// files can be cloned.
fn ask_for_checkpoint(handle: &Handle) {
    if handle.writable
        && let Ok(Some(tail)) = handle.tail().and_then(|tail| tail.read())
        && is_checkpoint_due(handle, &tail)
    {
        handle.maintenance_due.store(true, Ordering::Relaxed);
    }
}

/// Clones a section, for which [`can_clone`] has answered yes, into an empty file. If it cannot be
/// cloned after all, the file is empty again.
///
/// # Errors
/// `Io` or `Full` if the file cannot be written.
pub fn clone_into(
    record: &Record,
    section: usize,
    file: &dyn File,
) -> Result<std::result::Result<(), Uncloned>> {
    let info = &record.sections()[section];
    let from = record.body_offset() + info.offset;
    match file.clone_from(record.segment().file(), from, info.stored_bytes, 0) {
        Ok(()) if info.tail.is_empty() => Ok(Ok(())),
        Ok(()) => file.write_at(&info.tail, info.stored_bytes).map(Ok),
        Err(error) => {
            file.set_len(0)?;
            Ok(Err(match error.system_number() {
                Some(libc::EXDEV) => Uncloned::OtherFileSystem,
                Some(libc::EOPNOTSUPP | libc::ENOTTY | libc::ENOSYS) => Uncloned::FileSystem,
                _ => Uncloned::Refused,
            }))
        }
    }
}

/// Restores a section; its permission bits are those of the section, or 0666 under the umask.
///
/// # Errors
/// `Corrupt` if the section is damaged, `Io` if the file cannot be made. The old file is then still
/// there.
pub fn restore(handle: &Handle, record: &Record, section: usize, path: &Path) -> Result<Restored> {
    let is_cloneable = can_clone(handle, record, section)?.is_ok();
    let contents = if is_cloneable { None } else { Some(record.contents(section)?) };
    let mode = record.sections()[section].mode;
    let beside = beside(path, handle.env.random());
    let file = handle.env.open(&beside, OpenMode::CreateNew(0o666))?;
    let outcome = fill(record, section, contents, &*file)
        .and_then(|restored| {
            if mode != 0 {
                // A record may come from anywhere: nothing that it holds runs as somebody else.
                handle.env.set_mode(&beside, u32::from(mode) & 0o777)?;
            }
            Ok(restored)
        })
        .and_then(|restored| handle.env.rename(&beside, path).map(|()| restored));
    match outcome {
        Ok(restored) => {
            handle.count(match restored {
                Restored::Cloned => EngineCounter::Cloned,
                Restored::Copied => EngineCounter::Copied,
            });
            Ok(restored)
        }
        Err(error) => {
            let _ = handle.env.remove(&beside);
            Err(error)
        }
    }
}

/// Writes the contents, or clones the section if there are none.
fn fill(
    record: &Record,
    section: usize,
    contents: Option<Contents>,
    file: &dyn File,
) -> Result<Restored> {
    let contents = match contents {
        Some(contents) => contents,
        None if clone_into(record, section, file)?.is_ok() => return Ok(Restored::Cloned),
        None => record.contents(section)?,
    };
    let mut refused = None;
    let write_at = |_: &(), bytes: &[u8], at: u64| {
        file.write_at(bytes, at).map_err(|error| {
            refused = Some(error);
            io::ErrorKind::Other.into()
        })
    };
    let written = Contents::write_all(&[(&contents, ())], write_at);
    written.map_err(|error| refused.unwrap_or_else(|| Error::corrupt(error.to_string())))?;
    Ok(Restored::Copied)
}

/// A name in the same directory that nobody else uses; short, because the final name may be as long
/// as the file system allows.
fn beside(path: &Path, random: u64) -> PathBuf {
    path.with_file_name(format!(".larder-{random:016x}"))
}
