//! An environment whose process dies: the operating system, and SIGKILL at one chosen point.
//!
//! 1. Points are numbered from 1, from the moment that the environment is armed: one before each
//!    call that opens, makes, changes, removes, maps, locks or syncs something, and one in the
//!    midst of each write that crosses a page boundary. Reads are none: a death between two of them
//!    leaves what a death before them leaves.
//! 2. Within a page a write is there or not: the kernel looks for a fatal signal between pages.
//! 3. The process kills itself. What it did before the point is done, nothing behind it is, and the
//!    kernel closes its files and drops its locks, as with any other SIGKILL.
//! 4. Boot id and clock can be set, so that a process can be another boot that recovers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use larder_engine::Result;
use larder_engine::env::map::{Map, SharedWords};
use larder_engine::env::{Env, File, FileSizes, OpenMode, RealEnv, Sharing, Stamp};
use rustix::process::{Signal, getpid, kill_process};

const PAGE_BYTES: u64 = 4096;

/// The environment of a process that dies.
#[derive(Clone, Debug)]
pub struct KillEnv(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dies_at: u64,
    armed: AtomicBool,
    points: AtomicU64,
    boot_id: [u8; 16],
    later_secs: u64,
}

impl KillEnv {
    /// An environment that kills its process at this point, in some boot, so many seconds later.
    pub fn new(dies_at: u64, boot_id: [u8; 16], later_secs: u64) -> KillEnv {
        KillEnv(Arc::new(Shared {
            dies_at,
            armed: AtomicBool::new(false),
            points: AtomicU64::new(0),
            boot_id,
            later_secs,
        }))
    }

    /// Counts points from now on.
    pub fn arm(&self) {
        self.0.armed.store(true, Ordering::Relaxed);
    }

    /// The points passed since the environment was armed.
    pub fn points(&self) -> u64 {
        self.0.points.load(Ordering::Relaxed)
    }

    /// The environment as the engine takes it.
    pub fn shared(&self) -> Arc<dyn Env> {
        Arc::new(self.clone())
    }

    /// Counts a point; whether it is the last one.
    fn is_last(&self) -> bool {
        self.0.armed.load(Ordering::Relaxed)
            && self.0.points.fetch_add(1, Ordering::Relaxed) + 1 == self.0.dies_at
    }

    /// A point before a call.
    fn before(&self, what: &str, path: &Path) {
        if self.is_last() {
            die(what, path);
        }
    }
}

/// Says where, for whoever has to find out why, and ends this process.
fn die(what: &str, path: &Path) -> ! {
    println!("killed at: {what} {}", path.display());
    let _ = kill_process(getpid(), Signal::KILL);
    unreachable!("nobody outlives SIGKILL")
}

/// Where a write of so many bytes may be cut: at the page boundary next to its middle.
fn cut(bytes: usize, offset: u64) -> Option<usize> {
    let end = offset + bytes as u64;
    let middle = (offset + bytes as u64 / 2) / PAGE_BYTES * PAGE_BYTES;
    let boundary = if middle > offset { middle } else { middle + PAGE_BYTES };
    (boundary < end).then(|| (boundary - offset) as usize)
}

#[derive(Debug)]
struct KillFile {
    inner: Arc<dyn File>,
    env: KillEnv,
    path: PathBuf,
}

impl File for KillFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let what = |when: &str| format!("{when} a write of {} bytes at {offset} to", bytes.len());
        if self.env.is_last() {
            die(&what("before"), &self.path);
        }
        if let Some(cut) = cut(bytes.len(), offset)
            && self.env.is_last()
        {
            let _ = self.inner.write_at(&bytes[..cut], offset);
            die(&what("amid"), &self.path);
        }
        self.inner.write_at(bytes, offset)
    }

    fn sizes(&self) -> Result<FileSizes> {
        self.inner.sizes()
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        self.env.before("set_len", &self.path);
        self.inner.set_len(len_bytes)
    }

    fn sync(&self) -> Result<()> {
        self.env.before("sync", &self.path);
        self.inner.sync()
    }

    fn preallocate(&self, offset: u64, bytes: u64) -> Result<()> {
        self.env.before("preallocate", &self.path);
        self.inner.preallocate(offset, bytes)
    }

    fn stamp(&self) -> Option<Stamp> {
        self.inner.stamp()
    }

    fn map(&self, bytes: usize) -> Result<Map> {
        self.env.before("map", &self.path);
        self.inner.map(bytes)
    }

    fn map_words(&self, words: usize) -> Result<SharedWords> {
        self.env.before("map_words", &self.path);
        self.inner.map_words(words)
    }

    fn try_lock(&self, byte: u64, sharing: Sharing) -> Result<bool> {
        self.env.before("lock", &self.path);
        self.inner.try_lock(byte, sharing)
    }

    fn unlock(&self, byte: u64) {
        self.env.before("unlock", &self.path);
        self.inner.unlock(byte);
    }

    fn clone_from(&self, source: &dyn File, from: u64, bytes: u64, to: u64) -> Result<()> {
        self.env.before("clone_from", &self.path);
        (*self.inner).clone_from(source, from, bytes, to)
    }

    fn descriptor(&self) -> Option<i32> {
        self.inner.descriptor()
    }
}

impl Env for KillEnv {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        self.before("open", path);
        let inner = RealEnv.open(path, mode)?;
        Ok(Arc::new(KillFile { inner, env: self.clone(), path: path.to_path_buf() }))
    }

    fn copies_on_write(&self, path: &Path) -> bool {
        RealEnv.copies_on_write(path)
    }

    fn create_dir(&self, path: &Path, mode: u32) -> Result<()> {
        self.before("create_dir", path);
        RealEnv.create_dir(path, mode)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        RealEnv.list(path)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.before("remove", path);
        RealEnv.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.before("rename", from);
        RealEnv.rename(from, to)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<()> {
        self.before("set_mode", path);
        RealEnv.set_mode(path, mode)
    }

    fn sizes(&self, path: &Path) -> Result<FileSizes> {
        RealEnv.sizes(path)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.before("sync_dir", path);
        RealEnv.sync_dir(path)
    }

    fn boot_id(&self) -> [u8; 16] {
        self.0.boot_id
    }

    fn now_secs(&self) -> u64 {
        RealEnv.now_secs() + self.0.later_secs
    }

    fn monotonic_ms(&self) -> u64 {
        RealEnv.monotonic_ms() + self.0.later_secs * 1000
    }

    fn sleep_us(&self, microseconds: u64) {
        RealEnv.sleep_us(microseconds);
    }

    fn random(&self) -> u64 {
        RealEnv.random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_cut_at_a_page_boundary_or_not_at_all() {
        assert_eq!(cut(16, 4096), None);
        assert_eq!(cut(4096, 8192), None);
        assert_eq!(cut(8192, 0), Some(4096));
        assert_eq!(cut(5000, 100), Some(3996));
        assert_eq!(cut(100, 4090), Some(6));
        assert_eq!(cut(40_960, 64), Some(20_416));
    }
}
