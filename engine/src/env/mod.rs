//! The only door to files, locks, clocks and randomness: the seam for fault injection.
//!
//! 1. Everything above this module reaches the operating system through [`Env`] and [`File`].
//! 2. Reads and writes name their offset; there is no file position to share.
//! 3. A read returns what there is: a file that ends early is a short read, never an error.
//! 4. Nothing here retries, caches or interprets; errors carry the path and what was attempted.

mod device;
mod lock;
pub mod map;
mod real;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use device::Device;
pub use lock::{Claim, Held, LOCK_FILE_NAME, LockByte, LockGuard, LockTable, Sharing};
pub use real::{
    RealEnv, RealFile, boot_id, clock_ns, coarse_clock_ns, end_child_too, file_system_magic,
    idle_io_priority, remove_at_end, without_inherited_files,
};

use crate::error::Result;
use map::{Map, SharedWords};

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// Must exist; only reads.
    Read,
    /// Must exist; reads and writes.
    Write,
    /// Made if missing, with these permission bits (subject to the umask).
    Create(u32),
    /// Made; an error if it exists.
    CreateNew(u32),
}

/// Sizes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileSizes {
    /// Length in bytes.
    pub len_bytes: u64,
    /// Bytes of the disk blocks that it occupies.
    pub disk_bytes: u64,
}

/// Which file this is, and when it was last written or changed; a file that is written to or
/// replaced has another stamp, if some time has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp {
    /// Number of the device.
    pub device: u64,
    /// Number of the inode.
    pub inode: u64,
    /// Length in bytes.
    pub len_bytes: u64,
    /// When its contents were changed, in nanoseconds since 1970.
    pub modified_ns: i128,
    /// When anything about it was changed, in nanoseconds since 1970.
    pub changed_ns: i128,
}

/// What a file had in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resident {
    /// Bytes that were read.
    pub bytes: usize,
    /// Whether that is all there was to read; else the next byte has to come from the disk.
    pub is_all: bool,
}

/// An open file.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads at `offset` until `buffer` is full or the file ends; returns the bytes read.
    ///
    /// # Errors
    /// Any but an early end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;

    /// The same without waiting for the disk: reads up to the first byte that is not in memory,
    /// which the kernel may begin to read. `None` where that cannot be asked.
    ///
    /// # Errors
    /// Any but an early end of the file.
    fn read_resident(&self, buffer: &mut [u8], offset: u64) -> Result<Option<Resident>> {
        let _ = (buffer, offset);
        Ok(None)
    }

    /// Whether a byte is in memory; nothing is read for that. `false` where it cannot be told.
    fn is_resident(&self, offset: u64) -> bool {
        let _ = offset;
        false
    }

    /// Has the disk begin to read a range into memory, and does not wait. Only advice: failures
    /// are ignored.
    fn prefetch(&self, offset: u64, bytes: u64) {
        let _ = (offset, bytes);
    }

    /// Whether the file stands on a disk with heads that have to move; `None` where that cannot be
    /// told.
    fn is_rotational(&self) -> Option<bool> {
        None
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// If not all could be written; how much was is unknown.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()>;

    /// Length and disk usage.
    ///
    /// # Errors
    /// If the file cannot be asked.
    fn sizes(&self) -> Result<FileSizes>;

    /// Gives a file that root has just made to the owner of its directory, whose store it is in.
    fn give_to_owner(&self) {}

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// If that is refused.
    fn set_len(&self, len_bytes: u64) -> Result<()>;

    /// Waits until what was written is on the disk (`fdatasync`).
    ///
    /// # Errors
    /// If the disk reports a failure; what is durable is then unknown.
    fn sync(&self) -> Result<()>;

    /// Reserves disk blocks beyond the end of the file without making it longer. Where the file
    /// system cannot, this does nothing.
    ///
    /// # Errors
    /// If there is no room.
    fn preallocate(&self, offset: u64, bytes: u64) -> Result<()>;

    /// The file's stamp; `None` where it cannot be had.
    fn stamp(&self) -> Option<Stamp> {
        None
    }

    /// Maps the first `bytes` of the file for reading.
    ///
    /// # Errors
    /// If the file cannot be mapped.
    fn map(&self, bytes: usize) -> Result<Map>;

    /// Maps the file as shared words, extending it with zeros to that length first.
    ///
    /// # Errors
    /// If there is no room or the file cannot be mapped.
    fn map_words(&self, words: usize) -> Result<SharedWords>;

    /// Tries to take an open-file-description lock on one byte; `false` if somebody has it.
    ///
    /// # Errors
    /// If the file system knows no locks.
    fn try_lock(&self, byte: u64, sharing: Sharing) -> Result<bool>;

    /// How others hold a byte, without taking it; `None` where that cannot be asked.
    fn held(&self, byte: u64) -> Option<Held> {
        let _ = byte;
        None
    }

    /// Gives a lock back. Failures are ignored: closing the file drops it anyway.
    fn unlock(&self, byte: u64);

    /// Makes `bytes` of the file at `to_offset` share blocks with `source` (`FICLONERANGE`).
    ///
    /// # Errors
    /// If the file system cannot; the caller copies.
    fn clone_from(
        &self,
        source: &dyn File,
        from_offset: u64,
        bytes: u64,
        to_offset: u64,
    ) -> Result<()>;

    /// The descriptor, for `clone_from` of the same implementation.
    fn descriptor(&self) -> Option<i32> {
        None
    }
}

/// Files, clock and randomness.
pub trait Env: Send + Sync + fmt::Debug {
    /// Opens a file. Links are followed for the store's directory, never for a file in it.
    ///
    /// # Errors
    /// If it is refused.
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>>;

    /// Makes a directory and those above it with these permission bits; fine if it is there.
    ///
    /// # Errors
    /// If it is refused.
    fn create_dir(&self, path: &Path, mode: u32) -> Result<()>;

    /// Names in a directory, in no particular order. What is not UTF-8 in one is replaced: it is
    /// none of a store's, and shown at most.
    ///
    /// # Errors
    /// If it cannot be read.
    fn list(&self, path: &Path) -> Result<Vec<String>>;

    /// Unlinks a file.
    ///
    /// # Errors
    /// If it is refused or the file is missing.
    fn remove(&self, path: &Path) -> Result<()>;

    /// Renames a file over another.
    ///
    /// # Errors
    /// If it is refused.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;

    /// Sets permission bits.
    ///
    /// # Errors
    /// If it is refused.
    fn set_mode(&self, path: &Path, mode: u32) -> Result<()>;

    /// Sizes of a file that is not open.
    ///
    /// # Errors
    /// If it is missing.
    fn sizes(&self, path: &Path) -> Result<FileSizes>;

    /// Waits until names made or removed in a directory are on the disk.
    ///
    /// # Errors
    /// If the disk reports a failure.
    fn sync_dir(&self, path: &Path) -> Result<()>;

    /// The path without links and without `..`, so that its parents are those on the disk.
    ///
    /// # Errors
    /// If it leads nowhere.
    fn canonical(&self, path: &Path) -> Result<PathBuf> {
        Ok(path.to_path_buf())
    }

    /// The kind of the disk under a directory.
    fn device(&self, path: &Path) -> Device {
        let _ = path;
        Device::Unknown
    }

    /// Whether the file system under a directory writes what changes to new extents, and frees an
    /// extent, which may be many records long, only as a whole (btrfs).
    fn copies_on_write(&self, path: &Path) -> bool {
        let _ = path;
        false
    }

    /// Identifies the running kernel since its start.
    fn boot_id(&self) -> [u8; 16];

    /// Seconds since 1970.
    fn now_secs(&self) -> u64;

    /// Milliseconds of a clock that never goes back.
    fn monotonic_ms(&self) -> u64;

    /// Waits.
    fn sleep_us(&self, microseconds: u64);

    /// A random number.
    fn random(&self) -> u64;
}
