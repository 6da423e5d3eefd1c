//! Lock bytes: who may do what, across processes and threads.
//!
//! 1. Across processes: open-file-description locks on single bytes of the file `lock`. The kernel
//!    drops them when a process dies; no pid is involved, so they hold across PID namespaces.
//! 2. Across threads of one handle: one mutex per byte, because these locks exclude no threads.
//! 3. Nobody waits longer than asked: a holder that was stopped delays others by a bounded time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::env::{Env, File};
use crate::error::{Error, ErrorKind, Result};

/// A byte of the lock file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum LockByte {
    /// Held shared while a store is open; exclusively by the one that recovers it.
    Life = 0,
    /// Held while the tail moves, a record is committed or the superblock is written.
    Tail = 1,
    /// Held by the only writer of the index.
    Index = 2,
    /// Held by the janitor.
    Janitor = 3,
}

const LOCK_BYTES: usize = 4;

/// Whether others may hold the same byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// Any number of holders.
    Shared,
    /// One holder.
    Exclusive,
}

/// The lock file of an open store.
#[derive(Debug)]
pub struct LockTable {
    file: Arc<dyn File>,
    env: Arc<dyn Env>,
    threads: [Mutex<()>; LOCK_BYTES],
}

/// A held lock; dropping it gives it back.
#[derive(Debug)]
pub struct LockGuard<'a> {
    table: &'a LockTable,
    byte: LockByte,
    _thread: MutexGuard<'a, ()>,
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        self.table.file.unlock(self.byte as u64);
    }
}

impl LockTable {
    /// Locks on `file`.
    pub fn new(env: Arc<dyn Env>, file: Arc<dyn File>) -> Self {
        LockTable { file, env, threads: Default::default() }
    }

    /// Takes a byte exclusively, waiting at most `wait_ms_max`.
    ///
    /// # Errors
    /// `Busy` after that time; `Io` if the file system knows no locks.
    pub fn lock(&self, byte: LockByte, wait_ms_max: u64) -> Result<LockGuard<'_>> {
        // A panic elsewhere leaves nothing half done that the lock would have to protect: what it
        // guards lies in files and is checksummed.
        let thread = self.threads[byte as usize].lock().unwrap_or_else(PoisonError::into_inner);
        let mut waited_until = None;
        let mut pause_us = 5;
        while !self.file.try_lock(byte as u64, Sharing::Exclusive)? {
            let now = self.env.monotonic_ms();
            if now >= *waited_until.get_or_insert(now + wait_ms_max) {
                return Err(Error::new(ErrorKind::Busy, format!("{byte:?} is locked")));
            }
            self.env.sleep_us(pause_us);
            pause_us = (pause_us * 2).min(500);
        }
        Ok(LockGuard { table: self, byte, _thread: thread })
    }

    /// Takes the life byte shared, for as long as the table lives; `false` if somebody recovers.
    ///
    /// # Errors
    /// `Io` if the file system knows no locks.
    pub fn share_life(&self) -> Result<bool> {
        self.file.try_lock(LockByte::Life as u64, Sharing::Shared)
    }

    /// Takes the life byte exclusively; `false` if the store is open elsewhere.
    ///
    /// # Errors
    /// `Io` if the file system knows no locks.
    pub fn seize_life(&self) -> Result<bool> {
        self.file.try_lock(LockByte::Life as u64, Sharing::Exclusive)
    }
}
