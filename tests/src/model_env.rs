//! A model of the system below the engine: files, locks and clocks in memory, with every call a
//! place where another process may go on.
//!
//! 1. A file is a vector of bytes. A write becomes visible in pieces, a read collects in pieces, as
//!    copies to and from the page cache do; no write waits for a read.
//! 2. Locks belong to open file descriptions, and go with them or with their process.
//! 3. A process dies before a call or between two pages of a write; nothing else is undone.
//! 4. Who goes on is decided by a [`Pace`], everything else by a seed: a failure can be had again.
//! 5. A [`Flaw`] breaks the model in one way, so that the checks above it can be seen to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_engine::env::map::{Map, SharedWords};
use larder_engine::env::{Env, File, FileSizes, LockByte, OpenMode, Sharing};
use larder_engine::{Error, Result};

use crate::sample::Random;

const PAGE_BYTES: u64 = 4096;

/// Where the clock of every world begins, in seconds since 1970.
const BEGIN_SECS: u64 = 1_700_000_000;

/// Who goes on.
pub trait Pace: Send + Sync + Debug {
    /// Somebody else may go on here.
    fn step(&self);

    /// The caller waits: somebody else should go on.
    fn rest(&self);
}

/// Only one process at a time: nobody else goes on.
#[derive(Debug)]
pub struct Alone;

impl Pace for Alone {
    fn step(&self) {}
    fn rest(&self) {}
}

/// In which way the model is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Flaw {
    /// In none.
    #[default]
    None,
    /// Everybody gets the tail lock.
    TailLockExcludesNobody,
    /// A meta page of the index is visible before the pages that it leads to.
    MetaBeforePages,
    /// The locks of a process that died stay.
    LocksOutliveTheirProcess,
}

/// One machine: its files, its clock.
#[derive(Clone, Debug)]
pub struct World(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pace: Box<dyn Pace>,
    flaw: Flaw,
    /// How many processes wait at the same time, about: their waits overlap.
    processes: u64,
    now_us: AtomicU64,
    next_id: AtomicU64,
    // No guard of the mutexes of this module lives across a step.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: Random,
    directories: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Arc<Inode>>,
}

#[derive(Debug, Default)]
struct Inode {
    bytes: Mutex<Vec<u8>>,
    locks: Mutex<Vec<Lock>>,
    /// Writes that [`Flaw::MetaBeforePages`] keeps back.
    late: Mutex<Vec<(u64, Vec<u8>)>>,
}

#[derive(Debug)]
struct Lock {
    byte: u64,
    sharing: Sharing,
    description: u64,
    process: u64,
}

/// One process of a world, as the engine sees it.
#[derive(Debug)]
pub struct Process {
    world: Arc<Shared>,
    id: u64,
    /// Calls until it dies.
    left: AtomicU64,
    /// How far its clock is ahead. A clock that jumps for all would end every wait for a lock.
    ahead_ms: AtomicU64,
    /// How often others may go on at some of its calls, which is once at all others.
    pause: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(kind: io::ErrorKind, path: &Path) -> Error {
    Error::io("the model refuses", io::Error::from(kind)).at_path(path)
}

fn dead() -> Error {
    Error::io("the process is dead", io::Error::other("dead"))
}

impl World {
    /// An empty machine on which about so many processes run at once.
    pub fn new(pace: impl Pace + 'static, seed: u64, processes: u64, flaw: Flaw) -> World {
        let directories = BTreeSet::from([PathBuf::from("/")]);
        let state = State { random: Random::new(seed), directories, files: BTreeMap::new() };
        World(Arc::new(Shared {
            pace: Box::new(pace),
            flaw,
            processes,
            now_us: AtomicU64::new(0),
            next_id: AtomicU64::new(0),
            state: Mutex::new(state),
        }))
    }

    /// A process that lives for this many calls.
    pub fn process(&self, calls: u64) -> Arc<Process> {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        Arc::new(Process {
            world: self.0.clone(),
            id,
            left: AtomicU64::new(calls),
            ahead_ms: AtomicU64::new(0),
            pause: AtomicU64::new(0),
        })
    }

    /// Every file.
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let state = locked(&self.0.state);
        let copy =
            |(path, inode): (&PathBuf, &Arc<Inode>)| (path.clone(), locked(&inode.bytes).clone());
        state.files.iter().map(copy).collect()
    }

    /// Makes or replaces a file, and the directories above it.
    pub fn set_file(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = locked(&self.0.state);
        state.directories.extend(path.ancestors().skip(1).map(Path::to_path_buf));
        let inode = Inode { bytes: Mutex::new(bytes), ..Inode::default() };
        state.files.insert(path.to_path_buf(), Arc::new(inode));
    }

    /// A moment that is later than all before it.
    pub fn moment(&self) -> u64 {
        self.0.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

impl Shared {
    fn below(&self, bound: u64) -> u64 {
        locked(&self.state).random.below(bound)
    }

    fn step(&self) {
        self.now_us.fetch_add(1, Ordering::Relaxed);
        self.pace.step();
    }

    /// Where to cut `bytes` in two; `None` most of the time, one time in `rarely` else.
    fn cut(&self, bytes: usize, rarely: u64) -> Option<usize> {
        let cuts = bytes > 1 && self.below(rarely) == 0;
        cuts.then(|| 1 + self.below(bytes as u64 - 1) as usize)
    }
}

impl Process {
    /// Lets its clock go ahead.
    pub fn pass_ms(&self, milliseconds: u64) {
        self.ahead_ms.fetch_add(milliseconds, Ordering::Relaxed);
    }

    /// Lets others go on so often at every fourth of its calls, about.
    pub fn stumble(&self, pause: u64) {
        self.pause.store(pause, Ordering::Relaxed);
    }

    /// Whether it has died.
    pub fn is_dead(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// A call begins: the process may die, another may go on.
    fn step(&self) -> Result<()> {
        if self.is_dead() {
            return Err(dead());
        }
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            if self.world.flaw != Flaw::LocksOutliveTheirProcess {
                for inode in locked(&self.world.state).files.values() {
                    locked(&inode.locks).retain(|lock| lock.process != self.id);
                }
            }
            return Err(dead());
        }
        let pause = self.pause.load(Ordering::Relaxed);
        if pause > 0 && self.world.below(4) == 0 {
            (0..pause).for_each(|_| self.world.step());
        }
        self.world.step();
        Ok(())
    }
}

#[derive(Debug)]
struct ModelFile {
    inode: Arc<Inode>,
    process: Arc<Process>,
    path: PathBuf,
    description: u64,
}

impl Drop for ModelFile {
    fn drop(&mut self) {
        if self.process.is_dead() && self.process.world.flaw == Flaw::LocksOutliveTheirProcess {
            return;
        }
        locked(&self.inode.locks).retain(|lock| lock.description != self.description);
    }
}

impl Inode {
    fn len(&self) -> u64 {
        locked(&self.bytes).len() as u64
    }

    fn put(&self, bytes: &[u8], offset: u64) {
        let mut file = locked(&self.bytes);
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if file.len() < end {
            file.resize(end, 0);
        }
        file[start..end].copy_from_slice(bytes);
    }

    fn get(&self, buffer: &mut [u8], offset: u64) -> usize {
        let file = locked(&self.bytes);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
        let count = buffer.len().min(file.len() - start);
        buffer[..count].copy_from_slice(&file[start..start + count]);
        count
    }
}

impl ModelFile {
    /// Makes bytes of one page visible, perhaps in two pieces. Those by which a file grows come at
    /// once: kernels set its length after the copy.
    fn put_piece(&self, bytes: &[u8], offset: u64, rarely: u64) {
        let world = &self.process.world;
        let grows = self.inode.len() < offset + bytes.len() as u64;
        let Some(cut) = world.cut(bytes.len(), rarely).filter(|_| !grows) else {
            return self.inode.put(bytes, offset);
        };
        let (first, second) = bytes.split_at(cut);
        let pieces = [(first, offset), (second, offset + cut as u64)];
        let (now, then) = if world.below(4) == 0 { (1, 0) } else { (0, 1) };
        self.inode.put(pieces[now].0, pieces[now].1);
        world.step();
        self.inode.put(pieces[then].0, pieces[then].1);
    }

    fn put_pages(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let rarely = if bytes.len() as u64 <= PAGE_BYTES { 2 } else { 8 };
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let room = (PAGE_BYTES - at % PAGE_BYTES) as usize;
            let end = (done + room).min(bytes.len());
            if done > 0 {
                self.process.step()?;
            }
            self.put_piece(&bytes[done..end], at, rarely);
            done = end;
        }
        Ok(())
    }

    /// [`Flaw::MetaBeforePages`]: the pages come after the meta that leads to them.
    fn put_late(&self, bytes: &[u8], offset: u64) {
        if offset >= 2 * PAGE_BYTES {
            locked(&self.inode.late).push((offset, bytes.to_vec()));
            return;
        }
        self.inode.put(bytes, offset);
        let late = std::mem::take(&mut *locked(&self.inode.late));
        for (offset, bytes) in late {
            (0..200).for_each(|_| self.process.world.step());
            self.inode.put(&bytes, offset);
        }
    }
}

impl File for ModelFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.process.step()?;
        let world = &self.process.world;
        let Some(cut) = world.cut(buffer.len(), 6) else {
            return Ok(self.inode.get(buffer, offset));
        };
        let (first, second) = buffer.split_at_mut(cut);
        let then = offset + cut as u64;
        if world.below(4) == 0 {
            // The later bytes first; then only a file that is long enough was read in full.
            let later = self.inode.get(second, then);
            world.step();
            let earlier = self.inode.get(first, offset);
            return Ok(if earlier < cut { earlier } else { cut + later });
        }
        let earlier = self.inode.get(first, offset);
        if earlier < cut {
            return Ok(earlier);
        }
        world.step();
        Ok(cut + self.inode.get(second, then))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.process.step()?;
        if self.process.world.flaw == Flaw::MetaBeforePages && self.path.ends_with("index") {
            self.put_late(bytes, offset);
            return Ok(());
        }
        self.put_pages(bytes, offset)
    }

    fn sizes(&self) -> Result<FileSizes> {
        self.process.step()?;
        Ok(sizes(&self.inode))
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        self.process.step()?;
        locked(&self.inode.bytes).resize(len_bytes as usize, 0);
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.process.step()
    }

    fn preallocate(&self, _offset: u64, _bytes: u64) -> Result<()> {
        self.process.step()
    }

    fn map(&self, _bytes: usize) -> Result<Map> {
        Err(refused(io::ErrorKind::Unsupported, &self.path))
    }

    fn map_words(&self, _words: usize) -> Result<SharedWords> {
        Err(refused(io::ErrorKind::Unsupported, &self.path))
    }

    fn try_lock(&self, byte: u64, sharing: Sharing) -> Result<bool> {
        self.process.step()?;
        let flaw = self.process.world.flaw;
        if flaw == Flaw::TailLockExcludesNobody && byte == LockByte::Tail as u64 {
            return Ok(true);
        }
        let mut locks = locked(&self.inode.locks);
        let excluded = locks.iter().any(|lock| {
            lock.byte == byte
                && lock.description != self.description
                && (lock.sharing == Sharing::Exclusive || sharing == Sharing::Exclusive)
        });
        if !excluded {
            let own = |lock: &Lock| lock.byte == byte && lock.description == self.description;
            locks.retain(|lock| !own(lock));
            let (description, process) = (self.description, self.process.id);
            locks.push(Lock { byte, sharing, description, process });
        }
        Ok(!excluded)
    }

    fn unlock(&self, byte: u64) {
        // A dead process has no locks any more, and gives none back.
        if self.process.step().is_ok() {
            let own = |lock: &Lock| lock.byte == byte && lock.description == self.description;
            locked(&self.inode.locks).retain(|lock| !own(lock));
        }
    }

    fn clone_from(&self, _source: &dyn File, _from: u64, _bytes: u64, _to: u64) -> Result<()> {
        Err(refused(io::ErrorKind::Unsupported, &self.path))
    }
}

fn sizes(inode: &Inode) -> FileSizes {
    let len_bytes = inode.len();
    FileSizes { len_bytes, disk_bytes: len_bytes.next_multiple_of(PAGE_BYTES) }
}

/// The environment of a process.
#[derive(Clone, Debug)]
pub struct ModelEnv(pub Arc<Process>);

impl ModelEnv {
    fn state(&self) -> Result<MutexGuard<'_, State>> {
        self.0.step()?;
        Ok(locked(&self.0.world.state))
    }
}

impl Env for ModelEnv {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let mut state = self.state()?;
        let makes = matches!(mode, OpenMode::Create(_) | OpenMode::CreateNew(_));
        let inode = match state.files.get(path) {
            Some(_) if matches!(mode, OpenMode::CreateNew(_)) => {
                return Err(refused(io::ErrorKind::AlreadyExists, path));
            }
            Some(inode) => inode.clone(),
            None if makes && path.parent().is_some_and(|dir| state.directories.contains(dir)) => {
                let inode = Arc::new(Inode::default());
                state.files.insert(path.to_path_buf(), inode.clone());
                inode
            }
            None => return Err(refused(io::ErrorKind::NotFound, path)),
        };
        let description = self.0.world.next_id.fetch_add(1, Ordering::Relaxed);
        let path = path.to_path_buf();
        Ok(Arc::new(ModelFile { inode, process: self.0.clone(), path, description }))
    }

    fn create_dir(&self, path: &Path, _mode: u32) -> Result<()> {
        let above = path.ancestors().map(Path::to_path_buf);
        self.state()?.directories.extend(above);
        Ok(())
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let state = self.state()?;
        if !state.directories.contains(path) {
            return Err(refused(io::ErrorKind::NotFound, path));
        }
        let names = state.files.keys().chain(&state.directories);
        let inside = names.filter(|name| name.parent() == Some(path));
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into());
        Ok(inside.filter_map(name).collect())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let removed = self.state()?.files.remove(path);
        removed.map(drop).ok_or_else(|| refused(io::ErrorKind::NotFound, path))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.state()?;
        let moved = state.files.remove(from);
        let moved = moved.ok_or_else(|| refused(io::ErrorKind::NotFound, from))?;
        state.files.insert(to.to_path_buf(), moved);
        Ok(())
    }

    fn set_mode(&self, _path: &Path, _mode: u32) -> Result<()> {
        self.0.step()
    }

    fn sizes(&self, path: &Path) -> Result<FileSizes> {
        let state = self.state()?;
        let inode = state.files.get(path);
        inode.map(|inode| sizes(inode)).ok_or_else(|| refused(io::ErrorKind::NotFound, path))
    }

    fn sync_dir(&self, _path: &Path) -> Result<()> {
        self.0.step()
    }

    fn boot_id(&self) -> [u8; 16] {
        [3; 16]
    }

    fn now_secs(&self) -> u64 {
        BEGIN_SECS + self.0.world.now_us.load(Ordering::Relaxed) / 1_000_000
    }

    fn monotonic_ms(&self) -> u64 {
        let ahead_ms = self.0.ahead_ms.load(Ordering::Relaxed);
        ahead_ms + self.0.world.now_us.load(Ordering::Relaxed) / 1000
    }

    fn sleep_us(&self, microseconds: u64) {
        if !self.0.is_dead() {
            let world = &self.0.world;
            world.now_us.fetch_add(microseconds / world.processes.max(1) + 1, Ordering::Relaxed);
            world.pace.rest();
        }
    }

    fn random(&self) -> u64 {
        locked(&self.0.world.state).random.number()
    }
}
