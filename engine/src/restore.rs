//! Restoring a section to a file: by reflink where the record allows it, else by copying.
//!
//! 1. The file is written beside its final name, gets its mode, and is renamed over it: a killed
//!    restore leaves no half file, and a file that others have linked is never changed in place.
//! 2. The section is checked before its first byte is shared or written.
//! 3. A clone takes whole blocks only; the tail of a section stands in the head and is written
//!    after.

use std::path::{Path, PathBuf};

use crate::codec::Codec;
use crate::counters::EngineCounter;
use crate::env::{File, OpenMode};
use crate::error::Result;
use crate::handle::Handle;
use crate::limits::BLOCK_BYTES;
use crate::record::Record;

/// How a section came to its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restored {
    /// Its blocks are shared with the log.
    Cloned,
    /// Its bytes were written.
    Copied,
}

/// Restores a section; its permission bits are those of the section, or 0666 under the umask.
///
/// # Errors
/// `Corrupt` if the section is damaged, `Io` if the file cannot be made. The old file is then still
/// there.
pub fn restore(handle: &Handle, record: &Record, section: usize, path: &Path) -> Result<Restored> {
    let bytes = record.read(section)?;
    let mode = record.sections()[section].mode;
    let beside = beside(path, handle.env.random());
    let file = handle.env.open(&beside, OpenMode::CreateNew(0o666))?;
    let outcome = fill(record, section, &bytes, &*file)
        .and_then(|restored| {
            if mode != 0 {
                handle.env.set_mode(&beside, u32::from(mode))?;
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

fn fill(record: &Record, section: usize, bytes: &[u8], file: &dyn File) -> Result<Restored> {
    let info = &record.sections()[section];
    let source_offset = record.body_offset() + info.offset;
    let whole = info.stored_bytes;
    // The offset of a grouped section counts in its group, not in the body.
    if record.head().cloneable
        && info.codec == Codec::Raw
        && whole > 0
        && whole.is_multiple_of(BLOCK_BYTES)
        && source_offset.is_multiple_of(BLOCK_BYTES)
        && whole + info.tail.len() as u64 == info.real_bytes
        && file.clone_from(record.segment().file(), source_offset, whole, 0).is_ok()
    {
        if !info.tail.is_empty() {
            file.write_at(&info.tail, whole)?;
        }
        return Ok(Restored::Cloned);
    }
    file.write_at(bytes, 0)?;
    Ok(Restored::Copied)
}

/// A name in the same directory that nobody else uses; short, because the final name may be as long
/// as the file system allows.
fn beside(path: &Path, random: u64) -> PathBuf {
    path.with_file_name(format!(".larder-{random:016x}"))
}
