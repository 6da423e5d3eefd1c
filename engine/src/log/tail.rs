//! The tail on disk: one slot, read and moved under the tail lock.

use std::path::Path;

use crate::env::{Env, LockGuard, OpenMode};
use crate::error::Result;
use crate::format::tail::{TAIL_BYTES, Tail};
use crate::options::ReadMode;
use crate::window::Window;

/// Name of the file in the store's directory.
pub const FILE_NAME: &str = "tail";

/// The file.
#[derive(Debug)]
pub struct TailFile {
    window: Window,
    store: u64,
}

impl TailFile {
    /// Opens the file, making it if it is missing: a missing tail is a void one.
    ///
    /// # Errors
    /// If it is refused.
    pub fn open(
        env: &dyn Env,
        path: &Path,
        uuid: [u8; 16],
        mode: OpenMode,
        read_mode: ReadMode,
    ) -> Result<Self> {
        let mut store = [0; 8];
        store.copy_from_slice(&uuid[..8]);
        let file = env.open(&path.join(FILE_NAME), mode)?;
        Ok(TailFile { window: Window::new(file, read_mode), store: u64::from_le_bytes(store) })
    }

    /// What the tails of this store have in [`Tail::store`].
    pub fn store(&self) -> u64 {
        self.store
    }

    /// The tail, `None` if it is void or that of another store.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self) -> Result<Option<Tail>> {
        let mut slot = [0; TAIL_BYTES];
        let count = self.window.read_at(&mut slot, 0)?;
        Ok(Tail::decode(&slot[..count]).filter(|tail| tail.store == self.store))
    }

    /// Voids the tail; the guard shows that the tail lock is held.
    ///
    /// # Errors
    /// If the write fails.
    pub fn clear(&self, _tail_lock: &LockGuard<'_>) -> Result<()> {
        self.window.file().write_at(&[0; TAIL_BYTES], 0)
    }

    /// Moves the tail; the guard shows that the tail lock is held.
    ///
    /// # Errors
    /// If the write fails.
    pub fn write(&self, _tail_lock: &LockGuard<'_>, tail: &Tail) -> Result<()> {
        self.window.file().write_at(&tail.encode(), 0)
    }
}
