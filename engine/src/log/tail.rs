//! The tail on disk: one slot, read and moved under the tail lock.

use std::path::Path;
use std::sync::Arc;

use crate::env::{Env, File, LockGuard, OpenMode};
use crate::error::Result;
use crate::format::tail::{TAIL_BYTES, Tail};

/// Name of the file in the store's directory.
const FILE_NAME: &str = "tail";

/// The file.
#[derive(Debug)]
pub struct TailFile {
    file: Arc<dyn File>,
}

impl TailFile {
    /// Opens the file, making it if it is missing: a missing tail is a void one.
    ///
    /// # Errors
    /// If it is refused.
    pub fn open(env: &dyn Env, store: &Path, mode: OpenMode) -> Result<Self> {
        Ok(TailFile { file: env.open(&store.join(FILE_NAME), mode)? })
    }

    /// The tail, `None` if it is void.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self) -> Result<Option<Tail>> {
        let mut slot = [0; TAIL_BYTES];
        let count = self.file.read_at(&mut slot, 0)?;
        Ok(Tail::decode(&slot[..count]))
    }

    /// Moves the tail; the guard shows that the tail lock is held.
    ///
    /// # Errors
    /// If the write fails.
    pub fn write(&self, _tail_lock: &LockGuard<'_>, tail: &Tail) -> Result<()> {
        self.file.write_at(&tail.encode(), 0)
    }
}
