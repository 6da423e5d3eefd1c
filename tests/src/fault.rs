//! A fault injector: the operating system, except that one chosen call goes wrong.
//!
//! 1. Calls are counted by class; a plan names a class, a number from 1, and what happens there.
//! 2. `Errno` fails once and changes nothing; `Short` writes half and fails; `Stop` is the death of
//!    the process: that call and every later change fail without effect, reads go on.
//! 3. `Flip` is the canary: it writes one bit wrongly and reports success, so a checker that does
//!    not notice is no checker.
//! 4. A hook runs before chosen writes: what others do in the midst of them.
//! 5. Boot id and clocks can be set, and reflinks emulated by copying what a clone would share.
//! 6. A range of a file can be made one that the disk cannot read, and locks such that others do
//!    not see, as those of another kernel.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use larder_engine::env::map::{Map, SharedWords};
use larder_engine::env::{Device, Env, File, FileSizes, OpenMode, RealEnv, Sharing, Stamp};
use larder_engine::{Error, Result};

/// What kind of call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Opening a file.
    Open,
    /// Reading a file by `pread`.
    Read,
    /// Writing or resizing a file.
    Write,
    /// Waiting for the disk.
    Sync,
    /// Anything that changes a file or a name, a write included.
    Change,
    /// Taking or giving back a lock; only taking one can fail.
    Lock,
    /// Mapping a file.
    Map,
    /// Asking for the sizes of a file, or for the names in a directory.
    Ask,
}

const CALLS: usize = 8;

/// What happens to the chosen call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It fails with this error number.
    Errno(i32),
    /// Half of the bytes are written, then it fails with this error number.
    Short(i32),
    /// It and all later changes fail without effect, as if the process had been killed before it.
    Stop,
    /// One bit is written wrongly, and the call succeeds.
    Flip,
}

/// Which call goes wrong, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Its class.
    pub call: Call,
    /// Its number among the calls of that class, from 1.
    pub number: u64,
    /// What happens.
    pub fault: Fault,
}

#[derive(Debug, Default)]
struct Shared {
    plan: Mutex<Option<Plan>>,
    counts: [AtomicU64; CALLS],
    written_bytes: AtomicU64,
    stopped: AtomicBool,
    boot_id: Mutex<Option<[u8; 16]>>,
    later_ms: AtomicU64,
    clones: AtomicBool,
    read_only: AtomicBool,
    lonely: AtomicBool,
    bad: Mutex<Vec<(String, Range<u64>)>>,
    hook: Mutex<Option<Hook>>,
}

/// What others do while a write is under way.
struct Hook {
    bytes_min: usize,
    run: Box<dyn FnMut() + Send>,
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook").field("bytes_min", &self.bytes_min).finish_non_exhaustive()
    }
}

/// The environment of the store under test.
#[derive(Clone, Debug, Default)]
pub struct FaultEnv(Arc<Shared>);

impl FaultEnv {
    /// The operating system without a fault.
    pub fn new() -> FaultEnv {
        FaultEnv::default()
    }

    /// The operating system with one.
    pub fn with(plan: Plan) -> FaultEnv {
        let env = FaultEnv::new();
        env.arm(Some(plan));
        env
    }

    /// Sets the plan, and counts from the beginning.
    pub fn arm(&self, plan: Option<Plan>) {
        self.0.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        *self.0.plan.lock().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    /// Calls of a class since the plan was set.
    pub fn count(&self, call: Call) -> u64 {
        self.0.counts[call as usize].load(Ordering::Relaxed)
    }

    /// Bytes that were to be written since the plan was set.
    pub fn written_bytes(&self) -> u64 {
        self.0.written_bytes.load(Ordering::Relaxed)
    }

    /// Pretends that another kernel runs.
    pub fn set_boot_id(&self, id: [u8; 16]) {
        *self.0.boot_id.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
    }

    /// Lets time pass.
    pub fn pass_ms(&self, milliseconds: u64) {
        self.0.later_ms.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// Lets `clone_from` succeed, by copying what a clone would share.
    pub fn emulate_clones(&self) {
        self.0.clones.store(true, Ordering::Relaxed);
    }

    /// Refuses every opening for writing and every change, as a read-only mount does.
    pub fn make_read_only(&self) {
        self.0.read_only.store(true, Ordering::Relaxed);
    }

    /// Grants every lock, as a file system does that keeps the locks of each kernel apart.
    pub fn lock_alone(&self) {
        self.0.lonely.store(true, Ordering::Relaxed);
    }

    /// Makes a range of the file of this name one that cannot be read. Maps do not notice.
    pub fn spoil(&self, name: &str, bytes: Range<u64>) {
        let mut bad = self.0.bad.lock().unwrap_or_else(PoisonError::into_inner);
        bad.push((name.to_owned(), bytes));
    }

    /// Whether the disk can read that.
    fn check_medium(&self, name: &str, bytes: Range<u64>) -> Result<()> {
        let bad = self.0.bad.lock().unwrap_or_else(PoisonError::into_inner);
        let meets = |range: &Range<u64>| range.start < bytes.end && bytes.start < range.end;
        match bad.iter().any(|(of, range)| of == name && meets(range)) {
            true => Err(injected(EIO)),
            false => Ok(()),
        }
    }

    /// Runs `run` before each write of at least `bytes_min` bytes: what others do meanwhile, by
    /// another handle. Writes that it makes itself run it no further.
    pub fn before_writes_of(&self, bytes_min: usize, run: impl FnMut() + Send + 'static) {
        let hook = Hook { bytes_min, run: Box::new(run) };
        *self.0.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    /// Runs the hook, if this write is one for it.
    fn before_write(&self, bytes: usize) {
        let take = || self.0.hook.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut hook) = take() else { return };
        if bytes >= hook.bytes_min {
            (hook.run)();
        }
        *self.0.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    /// The environment as the engine takes it.
    pub fn shared(&self) -> Arc<dyn Env> {
        Arc::new(self.clone())
    }

    /// Counts a call; what is to happen to it, if anything.
    fn meet(&self, call: Call) -> Option<Fault> {
        let number = self.0.counts[call as usize].fetch_add(1, Ordering::Relaxed) + 1;
        let plan = (*self.0.plan.lock().unwrap_or_else(PoisonError::into_inner))?;
        if plan.call != call || plan.number != number {
            return None;
        }
        if plan.fault == Fault::Stop {
            self.0.stopped.store(true, Ordering::Relaxed);
        }
        Some(plan.fault)
    }

    /// Counts a call that fails whole or not at all.
    fn pass(&self, call: Call) -> Result<()> {
        match self.meet(call) {
            Some(Fault::Errno(number) | Fault::Short(number)) => Err(injected(number)),
            _ => Ok(()),
        }
    }

    /// Counts a change.
    fn change(&self) -> Result<()> {
        let met = self.pass(Call::Change);
        if self.0.read_only.load(Ordering::Relaxed) {
            return Err(injected(EROFS));
        }
        if self.0.stopped.load(Ordering::Relaxed) { Err(injected(EIO)) } else { met }
    }
}

/// Interrupted system call.
pub const EINTR: i32 = 4;
/// Input/output error.
pub const EIO: i32 = 5;
/// Out of memory.
pub const ENOMEM: i32 = 12;
/// Permission denied.
pub const EACCES: i32 = 13;
/// Too many open files.
pub const EMFILE: i32 = 24;
/// No space left on device.
pub const ENOSPC: i32 = 28;
/// Read-only file system.
pub const EROFS: i32 = 30;
/// No locks available.
pub const ENOLCK: i32 = 37;
/// Disk quota exceeded.
pub const EDQUOT: i32 = 122;

fn injected(number: i32) -> Error {
    Error::io("injected fault", io::Error::from_raw_os_error(number))
}

#[derive(Debug)]
struct FaultFile {
    inner: Arc<dyn File>,
    env: FaultEnv,
    name: String,
}

impl File for FaultFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.env.check_medium(&self.name, offset..offset + buffer.len() as u64)?;
        match self.env.meet(Call::Read) {
            Some(Fault::Errno(number)) => Err(injected(number)),
            Some(Fault::Short(_)) => {
                let half = buffer.len() / 2;
                self.inner.read_at(&mut buffer[..half], offset)
            }
            Some(Fault::Flip) => {
                let count = self.inner.read_at(buffer, offset)?;
                if let Some(byte) = buffer[..count].first_mut() {
                    *byte ^= 1;
                }
                Ok(count)
            }
            _ => self.inner.read_at(buffer, offset),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.env.before_write(bytes.len());
        self.env.0.written_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.env.change()?;
        match self.env.meet(Call::Write) {
            Some(Fault::Errno(number)) => Err(injected(number)),
            Some(Fault::Short(number)) => {
                self.inner.write_at(&bytes[..bytes.len() / 2], offset)?;
                Err(injected(number))
            }
            Some(Fault::Flip) => {
                let mut wrong = bytes.to_vec();
                let middle = wrong.len() / 2;
                if let Some(byte) = wrong.get_mut(middle) {
                    *byte ^= 1;
                }
                self.inner.write_at(&wrong, offset)
            }
            _ => self.inner.write_at(bytes, offset),
        }
    }

    fn sizes(&self) -> Result<FileSizes> {
        self.env.pass(Call::Ask)?;
        self.inner.sizes()
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        self.env.change()?;
        self.env.pass(Call::Write)?;
        self.inner.set_len(len_bytes)
    }

    fn sync(&self) -> Result<()> {
        self.env.change()?;
        self.env.pass(Call::Sync)?;
        self.inner.sync()
    }

    fn preallocate(&self, offset: u64, bytes: u64) -> Result<()> {
        self.env.change()?;
        self.env.pass(Call::Write)?;
        self.inner.preallocate(offset, bytes)
    }

    fn stamp(&self) -> Option<Stamp> {
        self.inner.stamp()
    }

    fn map(&self, bytes: usize) -> Result<Map> {
        self.env.pass(Call::Map)?;
        self.inner.map(bytes)
    }

    fn map_words(&self, words: usize) -> Result<SharedWords> {
        self.env.change()?;
        self.env.pass(Call::Map)?;
        self.inner.map_words(words)
    }

    fn try_lock(&self, byte: u64, sharing: Sharing) -> Result<bool> {
        self.env.pass(Call::Lock)?;
        if self.env.0.lonely.load(Ordering::Relaxed) {
            return Ok(true);
        }
        self.inner.try_lock(byte, sharing)
    }

    fn unlock(&self, byte: u64) {
        self.env.meet(Call::Lock);
        self.inner.unlock(byte);
    }

    fn clone_from(&self, source: &dyn File, from: u64, bytes: u64, to: u64) -> Result<()> {
        self.env.change()?;
        if !self.env.0.clones.load(Ordering::Relaxed) {
            return (*self.inner).clone_from(source, from, bytes, to);
        }
        let mut shared = vec![0; bytes as usize];
        let count = source.read_at(&mut shared, from)?;
        self.inner.write_at(&shared[..count], to)
    }

    fn descriptor(&self) -> Option<i32> {
        self.inner.descriptor()
    }
}

impl Env for FaultEnv {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        if matches!(mode, OpenMode::Create(_) | OpenMode::CreateNew(_)) {
            self.change()?;
        }
        self.pass(Call::Open)?;
        if mode == OpenMode::Write && self.0.read_only.load(Ordering::Relaxed) {
            RealEnv.open(path, OpenMode::Read)?;
            return Err(injected(EROFS));
        }
        let inner = RealEnv.open(path, mode)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Arc::new(FaultFile { inner, env: self.clone(), name }))
    }

    fn create_dir(&self, path: &Path, mode: u32) -> Result<()> {
        self.change()?;
        RealEnv.create_dir(path, mode)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        self.pass(Call::Ask)?;
        RealEnv.list(path)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.change()?;
        RealEnv.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.change()?;
        RealEnv.rename(from, to)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<()> {
        self.change()?;
        RealEnv.set_mode(path, mode)
    }

    fn sizes(&self, path: &Path) -> Result<FileSizes> {
        self.pass(Call::Ask)?;
        RealEnv.sizes(path)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.change()?;
        self.pass(Call::Sync)?;
        RealEnv.sync_dir(path)
    }

    fn copies_on_write(&self, path: &Path) -> bool {
        RealEnv.copies_on_write(path)
    }

    fn device(&self, path: &Path) -> Device {
        RealEnv.device(path)
    }

    fn boot_id(&self) -> [u8; 16] {
        let set = *self.0.boot_id.lock().unwrap_or_else(PoisonError::into_inner);
        set.unwrap_or_else(|| RealEnv.boot_id())
    }

    fn now_secs(&self) -> u64 {
        RealEnv.now_secs() + self.0.later_ms.load(Ordering::Relaxed) / 1000
    }

    fn monotonic_ms(&self) -> u64 {
        RealEnv.monotonic_ms() + self.0.later_ms.load(Ordering::Relaxed)
    }

    fn sleep_us(&self, microseconds: u64) {
        RealEnv.sleep_us(microseconds);
    }

    fn random(&self) -> u64 {
        RealEnv.random()
    }
}
