//! Jobs are begun, listed and forgotten here; [`crate::job`] says what one is.
//!
//! A job's file counts as used as soon as it is made: under the tail lock, with all its blocks; and
//! as free when it is gone.

use crate::append::check_room;
use crate::env::{LockByte, LockTable, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::tail::Tail;
use crate::handle::Handle;
use crate::job::{self, Job};
use crate::limits::{JOBS_MAX, LOCK_WAIT_MS_MAX};
use crate::rolling::{count, current_tail};

/// What is known of a job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobInfo {
    /// Its id.
    pub id: String,
    /// When it began, in seconds since 1970.
    pub started_secs: u64,
    /// Keys that it got or put.
    pub keys: u64,
    /// Whether it got and put more than it could note.
    pub is_full: bool,
}

fn read_only() -> Error {
    Error::new(ErrorKind::ReadOnly, "the store cannot be written")
}

/// Begins a job.
///
/// # Errors
/// `ReadOnly`, `Limit` if there is one of that id or that is none, `Full`, `Busy`, `Io`.
pub fn start(handle: &Handle, id: &str) -> Result<()> {
    let path = job::path_of(&handle.path, id)?;
    let Some(locks) = handle.locks()? else { return Err(read_only()) };
    handle.check_current()?;
    let refused = || {
        let what = format!("there is a job {id} already");
        Err(Error::new(ErrorKind::Limit, what))
    };
    if handle.env.sizes(&path).is_ok() {
        return refused();
    }
    let known = list(handle)?;
    for oldest in known.iter().take((known.len() + 1).saturating_sub(JOBS_MAX)) {
        end(handle, &oldest.id)?;
    }
    remove_half_made(handle, locks)?;
    let bytes = job::file_bytes(handle.options.max_size_bytes);
    let lock = locks.lock(LockByte::Tail, 20 * LOCK_WAIT_MS_MAX)?;
    let tail = current_tail(handle, &lock)?;
    check_room(handle, &tail, bytes)?;
    let file = match handle.env.open(&path, OpenMode::CreateNew(handle.options.file_mode)) {
        Err(error) if error.is_already_there() => return refused(),
        other => other?,
    };
    let store = handle.short_uuid();
    let made = Job::create(&*file, store, handle.env.now_secs(), handle.options.max_size_bytes);
    if let Err(error) = made {
        // Half of one is none, and takes room.
        let _ = handle.env.remove(&path);
        return Err(error);
    }
    let other_bytes = tail.other_bytes + bytes;
    handle.tail()?.write(&lock, &Tail { other_bytes, ..tail })
}

/// Whoever makes a job holds the tail lock, so what is none under it was left by one that was
/// killed, and nobody was told its id.
fn remove_half_made(handle: &Handle, locks: &LockTable) -> Result<()> {
    let lock = locks.lock(LockByte::Tail, 20 * LOCK_WAIT_MS_MAX)?;
    let mut removed = false;
    for name in handle.env.list(&handle.path)? {
        let Some(id) = name.strip_prefix(job::FILE_PREFIX) else { continue };
        if handle.job(id).is_err_and(|error| error.is_corrupt()) {
            handle.env.remove(&handle.path.join(&name))?;
            removed = true;
        }
    }
    drop(lock);
    if removed { count(handle, locks) } else { Ok(()) }
}

/// Every job, the oldest first; those that are damaged or just being made are left out.
///
/// # Errors
/// If the directory cannot be read.
pub fn list(handle: &Handle) -> Result<Vec<JobInfo>> {
    let mut found = Vec::new();
    for name in handle.env.list(&handle.path)? {
        let Some(id) = name.strip_prefix(job::FILE_PREFIX) else { continue };
        if let Ok(Some(job)) = handle.job(id) {
            found.push(JobInfo {
                id: id.to_owned(),
                started_secs: job.started_secs(),
                keys: job.count(),
                is_full: job.is_full(),
            });
        }
    }
    found.sort_by(|a, b| (a.started_secs, &a.id).cmp(&(b.started_secs, &b.id)));
    Ok(found)
}

/// Forgets a job; whether there was one. Processes that are part of it note on where nobody looks.
///
/// # Errors
/// `ReadOnly`, `Limit` if that is no id, `Io`.
pub fn end(handle: &Handle, id: &str) -> Result<bool> {
    let path = job::path_of(&handle.path, id)?;
    let Some(locks) = handle.locks()? else { return Err(read_only()) };
    match handle.env.remove(&path) {
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
        Ok(()) => {
            // Where that fails, the next janitor counts.
            let _ = count(handle, locks);
            Ok(true)
        }
    }
}
