//! The superblock on disk: read at any time, written only under the tail lock.
//!
//! 1. Every change is written to both copies, one after the other, with ascending generations: a
//!    torn or damaged copy then loses nothing that the other does not have.
//! 2. Writers go by the newest valid copy. A look-up goes by the first one as long as that is
//!    valid: nothing is done on the strength of a change before both copies have it, so what it may
//!    miss is a change that is just being made, or whose maker was killed at it.

use std::path::Path;

use crate::env::{Env, LockGuard, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::superblock::{COPY_BYTES, READ_BYTES, Superblock};
use crate::options::ReadMode;
use crate::window::Window;

/// Name of the file in the store's directory.
pub const FILE_NAME: &str = "superblock";

/// The file.
#[derive(Debug)]
pub struct SuperblockFile {
    window: Window,
    boot_id: [u8; 16],
}

impl SuperblockFile {
    /// Opens the file.
    ///
    /// # Errors
    /// If it is missing or refused.
    pub fn open(env: &dyn Env, store: &Path, mode: OpenMode, read_mode: ReadMode) -> Result<Self> {
        let file = env.open(&store.join(FILE_NAME), mode)?;
        Ok(SuperblockFile { window: Window::new(file, read_mode), boot_id: env.boot_id() })
    }

    /// The newest valid copy.
    ///
    /// # Errors
    /// See [`Superblock::decode`].
    // Its buffer in a caller's frame would be touched there by every look-up, see decision 0008.
    #[inline(never)]
    pub fn read(&self) -> Result<Superblock> {
        let mut bytes = [0; READ_BYTES];
        let count = self.window.file().read_at(&mut bytes, 0)?;
        Superblock::decode(&bytes[..count])
    }

    /// The first copy, or the newest valid one if that is damaged: half the reading, for whoever
    /// changes nothing.
    ///
    /// # Errors
    /// See [`Superblock::decode`].
    pub fn glance(&self) -> Result<Superblock> {
        let mut bytes = [0; COPY_BYTES];
        let count = self.window.read_at(&mut bytes, 0)?;
        Superblock::decode(&bytes[..count]).or_else(|_| self.read())
    }

    /// Whether nothing was ever written.
    ///
    /// # Errors
    /// If the file cannot be asked.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.window.file().sizes()?.len_bytes == 0)
    }

    /// Changes both copies; the guard shows that the tail lock is held.
    ///
    /// # Errors
    /// `OtherKernel` if another kernel has taken the store over, where locks do not reach. If a
    /// write fails; at least one copy is then still valid.
    pub fn change(
        &self,
        _tail_lock: &LockGuard<'_>,
        change: impl FnOnce(&mut Superblock),
    ) -> Result<Superblock> {
        let mut block = self.read()?;
        if block.boot_id != self.boot_id {
            let what = "another kernel has taken the store over";
            return Err(Error::new(ErrorKind::OtherKernel, what));
        }
        change(&mut block);
        self.write(block)
    }

    /// Changes the superblock of another boot; the guard shows that the tail lock is held, and
    /// `life` is held exclusively.
    ///
    /// # Errors
    /// If a write fails; at least one copy is then still valid.
    pub fn take_over(
        &self,
        _tail_lock: &LockGuard<'_>,
        change: impl FnOnce(&mut Superblock),
    ) -> Result<Superblock> {
        let mut block = self.read()?;
        block.boot_id = self.boot_id;
        change(&mut block);
        self.write(block)
    }

    /// Writes the first superblock of a new store.
    ///
    /// # Errors
    /// If a write fails.
    pub fn create(&self, _tail_lock: &LockGuard<'_>, block: Superblock) -> Result<Superblock> {
        self.write(block)
    }

    fn write(&self, mut block: Superblock) -> Result<Superblock> {
        for _ in 0..2 {
            block.generation += 1;
            self.window.file().write_at(&block.encode(), block.copy_offset())?;
        }
        Ok(block)
    }

    /// Waits until it is on the disk.
    ///
    /// # Errors
    /// If the disk reports a failure.
    pub fn sync(&self) -> Result<()> {
        self.window.file().sync()
    }
}
