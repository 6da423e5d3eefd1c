//! Lock bytes: who may do what, across processes and threads.
//!
//! 1. Across processes: open-file-description locks on single bytes of the file `lock`. The kernel
//!    drops them when a process dies; no pid is involved, so they hold across PID namespaces.
//! 2. Across threads of one handle: one turn per byte, because these locks exclude no threads.
//! 3. Nobody waits longer than asked: a holder that was stopped delays others by a bounded time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::env::{Env, File, OpenMode};
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

impl LockByte {
    /// Whose lock it is, for people.
    pub fn words(self) -> &'static str {
        match self {
            LockByte::Life => "the lock of recovery",
            LockByte::Tail => "the lock of commits",
            LockByte::Index => "the lock of merges",
            LockByte::Janitor => "the lock of upkeep",
        }
    }
}

/// Name of the file in the store's directory.
pub const LOCK_FILE_NAME: &str = "lock";

/// Whether others may hold the same byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// Any number of holders.
    Shared,
    /// One holder.
    Exclusive,
}

/// How others hold a byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// Nobody does.
    Free,
    /// By one or more at once.
    Shared,
    /// By one.
    Exclusive,
}

/// The lock file of an open store.
#[derive(Debug)]
pub struct LockTable {
    file: Arc<dyn File>,
    path: Option<PathBuf>,
    env: Arc<dyn Env>,
    turns: [Turn; LOCK_BYTES],
}

/// Whose turn it is among the threads of one handle: a mutex that can be waited for with a limit.
#[derive(Debug, Default)]
struct Turn {
    taken: Mutex<bool>,
    free: Condvar,
}

impl Turn {
    /// Takes the turn; `false` if it could not be had in time.
    fn take(&self, wait: Duration) -> bool {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut taken, _) = self
            .free
            .wait_timeout_while(taken, wait, |taken| *taken)
            .unwrap_or_else(PoisonError::into_inner);
        !std::mem::replace(&mut *taken, true)
    }

    fn is_taken(&self) -> bool {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.free.notify_one();
    }
}

/// The first of the bytes that stand for keys whose values are being made.
const CLAIMS_FROM: u64 = 1 << 32;
/// How many there are: two keys that share one wait for each other without need.
const CLAIMS: u64 = 1 << 30;
/// Whoever waits for a value looks this often whether it is there.
const CLAIM_PAUSE_MAX_US: u64 = 5_000;

/// Says that this process makes the value of a key. Dropping it, or dying, says that it no longer
/// does.
#[derive(Debug)]
pub struct Claim<'a> {
    file: &'a dyn File,
    byte: u64,
    /// Whether another process made it first, so that it may be there now.
    pub has_waited: bool,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.file.unlock(self.byte);
    }
}

/// A held lock; dropping it gives it back.
#[derive(Debug)]
pub struct LockGuard<'a> {
    table: &'a LockTable,
    byte: LockByte,
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        self.table.file.unlock(self.byte as u64);
        self.table.turns[self.byte as usize].give_back();
    }
}

impl LockTable {
    /// The lock file of the store at `store`, made with these permission bits if it is missing.
    ///
    /// # Errors
    /// If it is refused.
    pub fn open(env: &Arc<dyn Env>, store: &Path, file_mode: u32) -> Result<Self> {
        let path = store.join(LOCK_FILE_NAME);
        let file = env.open(&path, OpenMode::Create(file_mode))?;
        Ok(LockTable { path: Some(path), ..Self::new(env.clone(), file) })
    }

    /// Locks on `file`.
    pub fn new(env: Arc<dyn Env>, file: Arc<dyn File>) -> Self {
        LockTable { file, path: None, env, turns: Default::default() }
    }

    /// Takes a byte exclusively, waiting at most `wait_ms_max`.
    ///
    /// # Errors
    /// `Busy` after that time; `Io` if the file system knows no locks.
    pub fn lock(&self, byte: LockByte, wait_ms_max: u64) -> Result<LockGuard<'_>> {
        let until = self.env.monotonic_ms() + wait_ms_max;
        let busy = || {
            let error = Error::new(ErrorKind::Busy, format!("somebody else has {}", byte.words()));
            self.path.iter().fold(error, |error, path| error.at_path(path))
        };
        let turn = &self.turns[byte as usize];
        if !turn.take(Duration::from_millis(wait_ms_max)) {
            return Err(busy());
        }
        // From here on the guard gives the turn back, however this ends.
        let guard = LockGuard { table: self, byte };
        let mut pause_us = 5;
        while !self.file.try_lock(byte as u64, Sharing::Exclusive)? {
            if self.env.monotonic_ms() >= until {
                return Err(busy());
            }
            self.env.sleep_us(pause_us);
            pause_us = (pause_us * 2).min(500);
        }
        Ok(guard)
    }

    /// Whether somebody holds a byte now, in this process or another. It is not taken for that: who
    /// asks is never taken for a holder by others who ask.
    pub fn is_held(&self, byte: LockByte) -> bool {
        self.turns[byte as usize].is_taken()
            || self.file.held(byte as u64).is_some_and(|held| held != Held::Free)
    }

    /// Claims what `hash` stands for, waiting at most `wait_ms_max` for a process that has claimed
    /// it; `None` after that time. Threads of one handle do not exclude each other.
    ///
    /// # Errors
    /// `Io` if the file system knows no locks.
    pub fn claim(&self, hash: u64, wait_ms_max: u64) -> Result<Option<Claim<'_>>> {
        let until = self.env.monotonic_ms() + wait_ms_max;
        let byte = CLAIMS_FROM + hash % CLAIMS;
        let mut has_waited = false;
        let mut pause_us = 50;
        while !self.file.try_lock(byte, Sharing::Exclusive)? {
            if self.env.monotonic_ms() >= until {
                return Ok(None);
            }
            has_waited = true;
            self.env.sleep_us(pause_us);
            pause_us = (pause_us * 2).min(CLAIM_PAUSE_MAX_US);
        }
        Ok(Some(Claim { file: &*self.file, byte, has_waited }))
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
