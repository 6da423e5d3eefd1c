//! A disk in memory that can lose its power: every write, name and sync is recorded, and what a
//! power cut may have left of them can be had for any moment of the recording.
//!
//! 1. A file is an inode with bytes, a directory entry a name that leads to one. What the store
//!    does sees the newest state at once, as through a page cache.
//! 2. A sync of a file makes its bytes and its length durable, a sync of a directory the names in
//!    it. Nothing else does.
//! 3. After a cut each unit (512 or 4096 bytes) of a file has seen any number of the writes that
//!    were not synced, in their order, whatever its neighbours have seen. The length and each name
//!    have stopped at any of their changes, too. Where a file is longer than what was written to
//!    it, there are zeros, or what the disk had there before.
//! 4. A killed process, on the other hand, loses nothing that it wrote.
//! 5. Another process may go on in the midst of somebody's writes, see [`Disk::interrupt`].
//! 6. Everything comes from a seed; a [`Lie`] breaks a promise of the disk, so that the checks
//!    above it can be seen to fail.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use larder_engine::env::map::{Map, SharedWords};
use larder_engine::env::{Env, File, FileSizes, OpenMode, Sharing};
use larder_engine::{Error, Result};

use crate::crash::image::{Changes, Edit, Harm, Image, Loss, Node};
use crate::sample::Random;

const PAGE_BYTES: u64 = 4096;

/// Where the clock of every disk begins, in seconds since 1970.
const BEGIN_SECS: u64 = 1_700_000_000;

/// How long a machine without power stays off, in milliseconds: longer than a heartbeat counts.
const OFF_MS: u64 = 90_000;

/// Which promise of the disk is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lie {
    /// None.
    #[default]
    None,
    /// No sync of a file does anything.
    Files,
    /// Those of segments do nothing.
    Segments,
    /// Those of the index do nothing.
    Index,
    /// No sync of a directory does anything.
    Directories,
}

/// One machine from its start until its power goes, as the engine sees it.
#[derive(Clone, Debug)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    interrupt: Arc<Mutex<Option<Interrupt>>>,
}

/// What happens before a write or sync to come.
struct Interrupt {
    /// How many of them come first.
    left: u64,
    work: Box<dyn FnOnce() + Send>,
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupt").field("left", &self.left).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct State {
    lie: Lie,
    boot: u8,
    now_us: u64,
    monotonic_us: u64,
    random: Random,
    /// What was on the disk at the start.
    base: Image,
    log: Vec<Change>,
    names: BTreeMap<PathBuf, Node>,
    inodes: BTreeMap<u64, Inode>,
    next_id: u64,
    reads: u64,
}

/// One recorded change.
#[derive(Clone, Debug)]
enum Change {
    Edit(u64, Edit),
    Sync(u64),
    Bind(PathBuf, Option<Node>),
    SyncDir(PathBuf),
}

#[derive(Debug, Default)]
struct Inode {
    bytes: Arc<Vec<u8>>,
    locks: Vec<Lock>,
}

#[derive(Debug)]
struct Lock {
    byte: u64,
    sharing: Sharing,
    description: u64,
}

fn refused(kind: io::ErrorKind, path: &Path) -> Error {
    Error::io("the simulated disk refuses", io::Error::from(kind)).at_path(path)
}

impl State {
    fn started(base: Image, seed: u64, lie: Lie) -> State {
        let inodes: BTreeMap<u64, Inode> = base
            .files
            .iter()
            .map(|(id, bytes)| (*id, Inode { bytes: bytes.clone(), locks: Vec::new() }))
            .collect();
        State {
            lie,
            boot: 1,
            now_us: 0,
            // The clock of a boot begins somewhere above zero.
            monotonic_us: 5_000_000,
            random: Random::new(seed),
            names: base.names.clone(),
            next_id: inodes.keys().last().map_or(1, |last| last + 1),
            inodes,
            base,
            log: Vec::new(),
            reads: 0,
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Records a change and makes it.
    fn make(&mut self, change: Change) {
        match &change {
            Change::Edit(id, edit) => {
                let inode = self.inodes.entry(*id).or_default();
                edit.apply(Arc::make_mut(&mut inode.bytes));
            }
            Change::Bind(path, Some(node)) => drop(self.names.insert(path.clone(), *node)),
            Change::Bind(path, None) => drop(self.names.remove(path)),
            Change::Sync(_) | Change::SyncDir(_) => {}
        }
        self.log.push(change);
    }

    fn file(&self, path: &Path) -> Result<u64> {
        match self.names.get(path) {
            Some(Node::File(id)) => Ok(*id),
            Some(Node::Directory) => Err(refused(io::ErrorKind::IsADirectory, path)),
            None => Err(refused(io::ErrorKind::NotFound, path)),
        }
    }

    fn is_directory(&self, path: &Path) -> bool {
        path.parent().is_none() || self.names.get(path) == Some(&Node::Directory)
    }

    /// What is on the disk after the changes before `cut`, and what is on its way there.
    fn changes(&self, cut: usize, syncs_bind: bool) -> Changes {
        let mut changes = Changes::new(&self.base);
        for change in &self.log[..cut] {
            match change {
                Change::Edit(id, edit) => changes.edit(*id, edit),
                Change::Sync(id) => changes.sync(*id, syncs_bind),
                Change::Bind(path, node) => changes.bind(path, *node),
                Change::SyncDir(path) => changes.sync_dir(path),
            }
        }
        changes
    }
}

impl Disk {
    /// An empty disk with one durable directory, on which nobody has worked yet.
    pub fn new(directory: &Path, seed: u64, lie: Lie) -> Disk {
        let above = directory.ancestors().filter(|path| path.parent().is_some());
        let names = above.map(|path| (path.to_path_buf(), Node::Directory)).collect();
        let base = Image { names, files: BTreeMap::new() };
        Disk::started(State::started(base, seed, lie))
    }

    fn started(state: State) -> Disk {
        Disk { state: Arc::new(Mutex::new(state)), interrupt: Arc::default() }
    }

    /// Does `work` before the write or sync to come that has so many before it.
    pub fn interrupt(&self, left: u64, work: impl FnOnce() + Send + 'static) {
        let interrupt = Interrupt { left, work: Box::new(work) };
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = Some(interrupt);
    }

    /// Takes back what was not done.
    pub fn stop_interrupting(&self) {
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A write or sync begins.
    fn step(&self) {
        let mut waiting = self.interrupt.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(interrupt) = &mut *waiting else { return };
        if interrupt.left > 0 {
            interrupt.left -= 1;
            return;
        }
        let work = waiting.take().map(|interrupt| interrupt.work);
        drop(waiting);
        work.into_iter().for_each(|work| work());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The environment as the engine takes it.
    pub fn env(&self) -> Arc<dyn Env> {
        Arc::new(self.clone())
    }

    /// How many changes were recorded: a moment at which the power may go.
    pub fn position(&self) -> usize {
        self.state().log.len()
    }

    /// The moments right after something became durable.
    pub fn syncs(&self) -> Vec<usize> {
        self.after(|change| matches!(change, Change::Sync(_) | Change::SyncDir(_)))
    }

    /// The moments right after a name was unlinked.
    pub fn unlinks(&self) -> Vec<usize> {
        self.after(|change| matches!(change, Change::Bind(_, None)))
    }

    fn after(&self, is_wanted: impl Fn(&Change) -> bool) -> Vec<usize> {
        let state = self.state();
        let numbered = state.log.iter().enumerate();
        numbered.filter(|(_, change)| is_wanted(change)).map(|(at, _)| at + 1).collect()
    }

    /// Reads, openings and listings since the start.
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// Lets time pass.
    pub fn pass_ms(&self, milliseconds: u64) {
        let mut state = self.state();
        state.now_us += milliseconds * 1000;
        state.monotonic_us += milliseconds * 1000;
    }

    /// The power goes at `cut`: what is left, on a machine that was started again later.
    pub fn power_cut(&self, cut: usize, harm: &Harm, random: &mut Random) -> (Disk, Loss) {
        let state = self.state();
        let changes = state.changes(cut, harm.syncs_bind);
        let (image, loss) = changes.settle(harm, random);
        let mut next = State::started(image, random.number(), state.lie);
        next.boot = state.boot + 1;
        next.now_us = state.now_us + OFF_MS * 1000;
        (Disk::started(next), loss)
    }

    /// Every process is killed at `cut`: the same machine, on which nobody has done more.
    pub fn kill(&self, cut: usize) -> Disk {
        let state = self.state();
        let mut next = State::started(state.base.clone(), state.boot.into(), state.lie);
        for change in &state.log[..cut] {
            next.make(change.clone());
        }
        next.next_id = state.next_id;
        next.random = state.random.clone();
        (next.boot, next.now_us, next.monotonic_us) =
            (state.boot, state.now_us, state.monotonic_us);
        Disk::started(next)
    }

    /// The bytes of a file.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let id = state.file(path).ok()?;
        state.inodes.get(&id).map(|inode| inode.bytes.to_vec())
    }

    /// What was done between two moments, one line for each change.
    pub fn describe(&self, from: usize, to: usize) -> Vec<String> {
        let state = self.state();
        let mut paths = BTreeMap::new();
        let mut lines = Vec::new();
        for (path, node) in &state.base.names {
            paths.insert(*node, path.display().to_string());
        }
        for (at, change) in state.log.iter().enumerate() {
            if let Change::Bind(path, Some(node)) = change {
                paths.insert(*node, path.display().to_string());
            }
            let name = |id: &u64| paths.get(&Node::File(*id)).cloned().unwrap_or_default();
            let line = match change {
                Change::Edit(id, edit) => format!("{} {edit}", name(id)),
                Change::Sync(id) => format!("{} sync", name(id)),
                Change::Bind(path, Some(_)) => format!("{} made", path.display()),
                Change::Bind(path, None) => format!("{} unlinked", path.display()),
                Change::SyncDir(path) => format!("{} sync of names", path.display()),
            };
            if (from..to).contains(&at) {
                lines.push(format!("{at} {line}"));
            }
        }
        lines
    }
}

#[derive(Debug)]
struct CrashFile {
    disk: Disk,
    path: PathBuf,
    inode: u64,
    description: u64,
}

impl Drop for CrashFile {
    fn drop(&mut self) {
        if let Some(inode) = self.disk.state().inodes.get_mut(&self.inode) {
            inode.locks.retain(|lock| lock.description != self.description);
        }
    }
}

impl CrashFile {
    fn len(&self) -> u64 {
        self.disk.state().inodes.get(&self.inode).map_or(0, |inode| inode.bytes.len() as u64)
    }
}

impl File for CrashFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut state = self.disk.state();
        state.reads += 1;
        let Some(inode) = state.inodes.get(&self.inode) else { return Ok(0) };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(inode.bytes.len());
        let count = buffer.len().min(inode.bytes.len() - start);
        buffer[..count].copy_from_slice(&inode.bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.disk.step();
        let len_bytes = self.len().max(offset + bytes.len() as u64);
        let edit = Edit { offset, bytes: bytes.into(), len_bytes };
        self.disk.state().make(Change::Edit(self.inode, edit));
        Ok(())
    }

    fn sizes(&self) -> Result<FileSizes> {
        Ok(sizes(self.len()))
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        // What is cut off reads as zeros where the file grows again.
        let cut_off = self.len().saturating_sub(len_bytes) as usize;
        let edit = Edit { offset: len_bytes, bytes: vec![0; cut_off].into(), len_bytes };
        self.disk.state().make(Change::Edit(self.inode, edit));
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.disk.step();
        let mut state = self.disk.state();
        let is_kept = match state.lie {
            Lie::None | Lie::Directories => true,
            Lie::Files => false,
            Lie::Segments => self.path.extension().is_none_or(|extension| extension != "seg"),
            Lie::Index => !self.path.ends_with("index"),
        };
        if is_kept {
            state.make(Change::Sync(self.inode));
        }
        Ok(())
    }

    fn preallocate(&self, _offset: u64, _bytes: u64) -> Result<()> {
        Ok(())
    }

    fn map(&self, _bytes: usize) -> Result<Map> {
        Err(refused(io::ErrorKind::Unsupported, &self.path))
    }

    fn map_words(&self, _words: usize) -> Result<SharedWords> {
        Err(refused(io::ErrorKind::Unsupported, &self.path))
    }

    fn try_lock(&self, byte: u64, sharing: Sharing) -> Result<bool> {
        let mut state = self.disk.state();
        let locks = &mut state.inodes.entry(self.inode).or_default().locks;
        let excluded = locks.iter().any(|lock| {
            lock.byte == byte
                && lock.description != self.description
                && (lock.sharing == Sharing::Exclusive || sharing == Sharing::Exclusive)
        });
        if !excluded {
            locks.retain(|lock| lock.byte != byte || lock.description != self.description);
            locks.push(Lock { byte, sharing, description: self.description });
        }
        Ok(!excluded)
    }

    fn unlock(&self, byte: u64) {
        if let Some(inode) = self.disk.state().inodes.get_mut(&self.inode) {
            let own = |lock: &Lock| lock.byte == byte && lock.description == self.description;
            inode.locks.retain(|lock| !own(lock));
        }
    }

    fn clone_from(&self, _source: &dyn File, _from: u64, _bytes: u64, _to: u64) -> Result<()> {
        Err(refused(io::ErrorKind::Unsupported, &self.path))
    }
}

fn sizes(len_bytes: u64) -> FileSizes {
    FileSizes { len_bytes, disk_bytes: len_bytes.next_multiple_of(PAGE_BYTES) }
}

impl Env for Disk {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let mut state = self.state();
        state.reads += 1;
        let makes = matches!(mode, OpenMode::Create(_) | OpenMode::CreateNew(_));
        let inode = match state.file(path) {
            Ok(_) if matches!(mode, OpenMode::CreateNew(_)) => {
                return Err(refused(io::ErrorKind::AlreadyExists, path));
            }
            Ok(inode) => inode,
            Err(error) if !error.is_not_found() => return Err(error),
            Err(_) if makes && path.parent().is_some_and(|above| state.is_directory(above)) => {
                let inode = state.id();
                state.inodes.insert(inode, Inode::default());
                state.make(Change::Bind(path.to_path_buf(), Some(Node::File(inode))));
                inode
            }
            Err(error) => return Err(error),
        };
        let description = state.id();
        drop(state);
        Ok(Arc::new(CrashFile { disk: self.clone(), path: path.to_path_buf(), inode, description }))
    }

    fn create_dir(&self, path: &Path, _mode: u32) -> Result<()> {
        let mut state = self.state();
        let above: Vec<&Path> = path.ancestors().collect();
        for path in above.into_iter().rev() {
            match state.names.get(path) {
                Some(Node::File(_)) => return Err(refused(io::ErrorKind::NotADirectory, path)),
                None if path.parent().is_some() => {
                    state.make(Change::Bind(path.to_path_buf(), Some(Node::Directory)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let mut state = self.state();
        state.reads += 1;
        if !state.is_directory(path) {
            return Err(refused(io::ErrorKind::NotFound, path));
        }
        let inside = state.names.keys().filter(|name| name.parent() == Some(path));
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into());
        Ok(inside.filter_map(name).collect())
    }

    fn remove(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        state.file(path)?;
        state.make(Change::Bind(path.to_path_buf(), None));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.state();
        let inode = state.file(from)?;
        state.make(Change::Bind(to.to_path_buf(), Some(Node::File(inode))));
        state.make(Change::Bind(from.to_path_buf(), None));
        Ok(())
    }

    fn set_mode(&self, _path: &Path, _mode: u32) -> Result<()> {
        Ok(())
    }

    fn sizes(&self, path: &Path) -> Result<FileSizes> {
        let state = self.state();
        let inode = state.file(path)?;
        Ok(sizes(state.inodes.get(&inode).map_or(0, |inode| inode.bytes.len() as u64)))
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        if state.lie != Lie::Directories {
            state.make(Change::SyncDir(path.to_path_buf()));
        }
        Ok(())
    }

    fn boot_id(&self) -> [u8; 16] {
        [self.state().boot; 16]
    }

    fn now_secs(&self) -> u64 {
        BEGIN_SECS + self.state().now_us / 1_000_000
    }

    fn monotonic_ms(&self) -> u64 {
        self.state().monotonic_us / 1000
    }

    fn sleep_us(&self, microseconds: u64) {
        let mut state = self.state();
        state.now_us += microseconds + 1;
        state.monotonic_us += microseconds + 1;
    }

    fn random(&self) -> u64 {
        self.state().random.number()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(disk: &Disk, mode: OpenMode) -> Result<Arc<dyn File>> {
        disk.open(Path::new("/d/f"), mode)
    }

    /// A file with two bytes, the first of which is synced, and its name.
    fn written(lie: Lie) -> Disk {
        let disk = Disk::new(Path::new("/d"), 1, lie);
        let open = file(&disk, OpenMode::Create(0o600)).unwrap();
        open.write_at(b"1", 0).unwrap();
        open.sync().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        open.write_at(b"2", 1).unwrap();
        disk
    }

    fn after_cut(disk: &Disk) -> Option<Vec<u8>> {
        let (next, _) = disk.power_cut(disk.position(), &Harm::worst(), &mut Random::new(1));
        assert_ne!(next.boot_id(), disk.boot_id());
        assert!(next.now_secs() > disk.now_secs() + 60);
        next.contents(Path::new("/d/f"))
    }

    #[test]
    fn a_cut_leaves_what_is_synced_and_a_kill_all_that_was_written() {
        let disk = written(Lie::None);
        assert_eq!(after_cut(&disk), Some(b"1".to_vec()));
        assert_eq!(after_cut(&written(Lie::Files)), Some(Vec::new()));
        assert_eq!(after_cut(&written(Lie::Directories)), None);
        let killed = disk.kill(disk.position());
        assert_eq!(killed.boot_id(), disk.boot_id());
        assert_eq!(killed.contents(Path::new("/d/f")), Some(b"12".to_vec()));
        assert_eq!(after_cut(&killed), Some(b"1".to_vec()));
        assert_eq!(disk.kill(2).contents(Path::new("/d/f")), Some(b"1".to_vec()));
    }

    #[test]
    fn locks_belong_to_open_files_and_go_with_them() {
        let disk = written(Lie::None);
        let [one, two] = [(); 2].map(|()| file(&disk, OpenMode::Write).unwrap());
        assert!(one.try_lock(1, Sharing::Shared).unwrap());
        assert!(two.try_lock(1, Sharing::Shared).unwrap());
        assert!(!two.try_lock(1, Sharing::Exclusive).unwrap());
        assert!(two.try_lock(2, Sharing::Exclusive).unwrap());
        drop(one);
        assert!(two.try_lock(1, Sharing::Exclusive).unwrap());
        two.unlock(1);
        let other = file(&disk.kill(disk.position()), OpenMode::Write).unwrap();
        assert!(other.try_lock(2, Sharing::Exclusive).unwrap(), "its holder was killed");
    }

    #[test]
    fn another_process_goes_on_before_the_write_that_was_named() {
        let disk = written(Lie::None);
        let (open, other) = (file(&disk, OpenMode::Write).unwrap(), disk.clone());
        disk.interrupt(1, move || {
            let open = file(&other, OpenMode::Write).unwrap();
            open.write_at(b"other", 0).unwrap();
        });
        open.write_at(b"a", 0).unwrap();
        assert_eq!(disk.contents(Path::new("/d/f")), Some(b"a2".to_vec()));
        open.write_at(b"b", 0).unwrap();
        assert_eq!(disk.contents(Path::new("/d/f")), Some(b"bther".to_vec()));
    }

    #[test]
    fn names_are_made_moved_and_refused() {
        let disk = written(Lie::None);
        let (from, to) = (Path::new("/d/f"), Path::new("/d/g"));
        assert!(file(&disk, OpenMode::CreateNew(0o600)).is_err());
        disk.rename(from, to).unwrap();
        assert!(file(&disk, OpenMode::Read).unwrap_err().is_not_found());
        assert_eq!(disk.list(Path::new("/d")).unwrap(), ["g"]);
        assert!(disk.open(Path::new("/e/f"), OpenMode::Create(0o600)).is_err());
        disk.remove(to).unwrap();
        assert!(disk.remove(to).unwrap_err().is_not_found());
    }
}
