//! Directories: caches of ccache of every era and of sccache, and ccache's file storage.
//!
//! 1. A cache is read shard by shard, a shard being a directory at the top. Of a shard first all
//!    names are read, then its files in the order of their numbers, which is about the order in
//!    which they stand on a disk: what `tar` reads in the order of a directory takes a seek each.
//!    Where a few of them show that they are not in memory, a thousand or so are looked at first,
//!    so that the disk does not go back and forth between files and what is said of them, and then
//!    read ahead, both in the order of their numbers.
//! 2. A file is opened once; its length and time are those of what was opened. The tools replace
//!    files by renaming and never change one, so what is open is whole.
//! 3. A file is written beside its place, given its time and mode, and renamed. What is beside a
//!    result comes before the result, and an object of ccache 3 comes last: as the tools do it.
//! 4. No symbolic link below the top is followed, to read or to write.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::os::unix::fs::{DirEntryExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Advice, Mode, OFlags, Timespec, Timestamps};
use rustix::io::{Errno, ReadWriteFlags};

use super::{
    Fault, Finished, Item, Listed, Outgoing, Presence, Source, Stamp, Target, Trouble, fault,
};
use crate::entry::{Entry, Family, Part, Time};
use crate::layout::directory::{self as layout, Shape, is_passing};
use crate::layout::is_raw;
use crate::layout::statistics::Counters;

/// A file larger than this is no entry: no tool writes one.
pub const FILE_BYTES_MAX: u64 = 4 << 30;
/// Files of some that are looked at to see whether these are in memory.
const SAMPLES: usize = 8;
/// What the kernel counts the room of files in.
const BLOCK_BYTES: u64 = 512;
/// Directories above a file: no layout has more.
const DEPTH_MAX: usize = 9;

/// A cache directory or a file storage, to be read.
pub struct DirectorySource {
    top: PathBuf,
    kind: &'static str,
    /// What stands at the top: each directory is a shard, and all files are one.
    shards: Vec<Vec<Seen>>,
}

impl DirectorySource {
    /// The directory at `top`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(top: &Path, kind: &'static str) -> Result<DirectorySource, Fault> {
        let mut names = names_in(top).map_err(|error| failed(top, &error))?;
        names.sort_by(|a, b| a.name.cmp(&b.name));
        let (folders, files): (Vec<Seen>, Vec<Seen>) =
            names.into_iter().partition(|seen| seen.is_directory);
        let mut shards: Vec<Vec<Seen>> = folders.into_iter().map(|folder| vec![folder]).collect();
        shards.push(files);
        Ok(DirectorySource { top: top.to_owned(), kind, shards })
    }

    fn path(&self, item: &Item, label: &str) -> PathBuf {
        self.top.join(relative(item, label))
    }

    /// Whether most of a few items are not in memory.
    fn has_to_be_waited_for(&self, items: &[Item]) -> bool {
        let step = items.len().div_ceil(SAMPLES).max(1);
        let samples = || items.iter().step_by(step);
        let is_cold = |item: &&Item| {
            let label = item.labels.first().map_or("", String::as_str);
            let Ok(file) = open(&self.path(item, label)) else { return false };
            let mut byte = [0];
            let buffers = &mut [IoSliceMut::new(&mut byte)];
            let read = rustix::io::preadv2(&file, buffers, 0, ReadWriteFlags::NOWAIT);
            read == Err(Errno::AGAIN)
        };
        2 * samples().filter(is_cold).count() > samples().count()
    }
}

/// Opens a file to be read: no link, and nothing that makes one wait.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    File::options().read(true).custom_flags(flags).open(path)
}

/// Which shape an item was found in stands in its level: a file storage has none.
fn relative(item: &Item, label: &str) -> String {
    let shape = match (item.level, item.at) {
        (None, FLAT) => Shape::Flat,
        (None, _) => Shape::Subdirs,
        _ => Shape::Cache,
    };
    layout::path(shape, &item.name, item.level, label)
}

/// [`Item::at`] of what stands in the top of a file storage; else it is the number of the file.
const FLAT: u64 = u64::MAX;

/// What a directory says of a name in it.
struct Seen {
    name: String,
    number: u64,
    /// Whether it is one that can be entered by its name, which must be text.
    is_directory: bool,
    is_file: bool,
}

/// What stands in a directory.
fn names_in(path: &Path) -> std::io::Result<Vec<Seen>> {
    let entries = fs::read_dir(path)?.map(|entry| {
        let entry = entry?;
        let kind = entry.file_type()?;
        Ok(Seen {
            // A name that is no text is none of a cache.
            name: entry.file_name().to_string_lossy().into_owned(),
            number: entry.ino(),
            is_directory: kind.is_dir() && entry.file_name().to_str().is_some(),
            is_file: kind.is_file(),
        })
    });
    entries.collect()
}

fn failed(path: &Path, error: &std::io::Error) -> Fault {
    Fault(format!("{}: {error}", path.display()))
}

impl Source for DirectorySource {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn shards(&self) -> usize {
        self.shards.len()
    }

    fn list(&self, shard: usize) -> Result<Listed, Fault> {
        let mut listed = Listed::default();
        let mut found = BTreeMap::new();
        for seen in &self.shards[shard] {
            walk(&self.top, &seen.name, seen, 0, &mut found, &mut listed);
        }
        listed.items = found.into_values().collect();
        listed.items.sort_unstable_by_key(|item| item.at);
        Ok(listed)
    }

    fn prefetch(&self, items: &[Item]) {
        if !self.has_to_be_waited_for(items) {
            return;
        }
        let mut items: Vec<&Item> = items.iter().collect();
        items.sort_unstable_by_key(|item| item.at);
        for item in &items {
            let _ = self.stamp(item);
        }
        for item in items {
            for label in &item.labels {
                if let Ok(file) = open(&self.path(item, label)) {
                    let _ = rustix::fs::fadvise(&file, 0, None, Advice::WillNeed);
                }
            }
        }
    }

    fn stamp(&self, item: &Item) -> Option<Stamp> {
        let mut stamp = Stamp::default();
        for label in &item.labels {
            let facts = fs::symlink_metadata(self.path(item, label)).ok()?;
            stamp.bytes += facts.len();
            if !is_raw(item.name.family, label) {
                let time = Time { secs: facts.mtime(), nanos: facts.mtime_nsec() as u32 };
                stamp.modified = stamp.modified.max(Some(time));
            }
        }
        Some(stamp)
    }

    fn read(&self, item: &Item) -> Result<Entry, Trouble> {
        let mut parts = Vec::with_capacity(item.labels.len());
        for label in &item.labels {
            parts.push(read_part(&self.path(item, label), label)?);
        }
        let level = item.level.filter(|_| item.name.family != Family::File);
        Ok(Entry { name: item.name.clone(), level, parts })
    }
}

type Found = BTreeMap<(crate::entry::Name, u8), Item>;

/// Adds what stands at a path below the top, and below that.
fn walk(top: &Path, path: &str, seen: &Seen, depth: usize, found: &mut Found, listed: &mut Listed) {
    if seen.is_file
        && let Some(place) = layout::parse(path)
    {
        let item = found.entry((place.name.clone(), place.level)).or_insert(Item {
            name: place.name,
            level: (place.shape == Shape::Cache).then_some(place.level),
            labels: Vec::new(),
            at: if place.shape == Shape::Flat { FLAT } else { seen.number },
            place: String::new(),
        });
        item.labels.push(place.label);
        item.labels.sort();
        return;
    }
    if is_passing(path) {
        listed.passing += 1;
        return;
    }
    if !seen.is_directory || depth >= DEPTH_MAX {
        listed.strangers.push(path.to_owned());
        return;
    }
    match names_in(&top.join(path)) {
        Ok(mut names) => {
            names.sort_by(|a, b| a.name.cmp(&b.name));
            for seen in &names {
                walk(top, &format!("{path}/{}", seen.name), seen, depth + 1, found, listed);
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => listed.troubles.push((path.to_owned(), Trouble::Failed(error.to_string()))),
    }
}

fn read_part(path: &Path, label: &str) -> Result<Part, Trouble> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Trouble::Gone,
        _ => Trouble::Failed(error.to_string()),
    };
    let mut file = open(path).map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    if !facts.is_file() {
        return Err(Trouble::Damaged("it is no file".to_owned()));
    }
    if facts.len() > FILE_BYTES_MAX {
        return Err(Trouble::TooLarge(format!("it has {} bytes", facts.len())));
    }
    let mut bytes = Vec::with_capacity(facts.len() as usize);
    (&mut file).take(facts.len()).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 != facts.len() {
        return Err(Trouble::Damaged("it changed while it was read".to_owned()));
    }
    let modified = Time { secs: facts.mtime(), nanos: facts.mtime_nsec() as u32 };
    let mode = (facts.mode() & 0o7777) as u16;
    Ok(Part { label: label.to_owned(), bytes, modified: Some(modified), mode: Some(mode) })
}

/// Names of the directories at the top of a cache, and below these.
const HEXADECIMAL: &str = "0123456789abcdef";

/// A cache directory or a file storage, to be written.
pub struct DirectoryTarget {
    top: PathBuf,
    shape: Shape,
    is_of_sccache: bool,
    made: Mutex<HashSet<PathBuf>>,
    next: AtomicU64,
    /// Statistics, and directories at the top, that were written to.
    written: Mutex<BTreeSet<String>>,
    /// Settings and statistics of its own.
    kept: Mutex<BTreeSet<String>>,
}

impl DirectoryTarget {
    /// A directory of ccache of this shape, which is made if it is missing.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn of_ccache(top: &Path, shape: Shape) -> Result<DirectoryTarget, Fault> {
        DirectoryTarget::open(top, shape, false)
    }

    /// A directory of sccache, which is made if it is missing.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn of_sccache(top: &Path) -> Result<DirectoryTarget, Fault> {
        DirectoryTarget::open(top, Shape::Cache, true)
    }

    fn open(top: &Path, shape: Shape, is_of_sccache: bool) -> Result<DirectoryTarget, Fault> {
        fs::create_dir_all(top).map_err(|error| failed(top, &error))?;
        Ok(DirectoryTarget {
            top: top.to_owned(),
            shape,
            is_of_sccache,
            made: Mutex::default(),
            next: AtomicU64::new(0),
            written: Mutex::default(),
            kept: Mutex::default(),
        })
    }

    fn write_entry(&self, entry: &Entry) -> Result<(), Trouble> {
        let last = |part: &&Part| match entry.name.family {
            Family::Ccache3 => part.label == ".o",
            family => !is_raw(family, &part.label),
        };
        let parts = entry.parts.iter();
        let (last, first): (Vec<&Part>, Vec<&Part>) = parts.partition(last);
        for part in first.into_iter().chain(last) {
            let path = layout::path(self.shape, &entry.name, entry.level, &part.label);
            self.write_part(&path, part)?;
        }
        Ok(())
    }

    fn write_part(&self, relative: &str, part: &Part) -> Result<(), Trouble> {
        let path = self.top.join(relative);
        let folder = path.parent().unwrap_or(&self.top);
        self.make_folder(folder).map_err(|error| Trouble::Failed(error.to_string()))?;
        loop {
            let beside = self.beside(folder);
            let written = write_file(&beside, part).and_then(|()| fs::rename(&beside, &path));
            match written {
                Ok(()) => {
                    self.note_written(relative);
                    return Ok(());
                }
                // Left by a process that was killed: in a container each has the same number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let _ = fs::remove_file(&beside);
                    return Err(Trouble::Failed(format!("{}: {error}", path.display())));
                }
            }
        }
    }

    fn note_written(&self, relative: &str) {
        let is_statistics = relative.ends_with("/stats");
        let noted = if is_statistics { Some(relative) } else { relative.get(..1) };
        let mut written = lock(&self.written);
        if let Some(noted) = noted.filter(|noted| !written.contains(*noted)) {
            written.insert(noted.to_owned());
        }
    }

    /// A name for what is being written. Either tool removes such a file by itself, should it be
    /// left behind.
    fn beside(&self, folder: &Path) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        match self.is_of_sccache {
            true => self.top.join(format!(".sccachetmp-larder-{process}-{number}")),
            false => folder.join(format!("larder.tmp.{process}-{number}")),
        }
    }

    /// Statistics of one of the sixteen directories, where there are none: ccache learns from them
    /// how large its cache is, and would let it grow without a limit. Whether that was done.
    fn write_statistics(&self, digit: char) -> Result<bool, Trouble> {
        let folder = self.top.join(digit.to_string());
        let path = folder.join("stats");
        let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
        // ccache 4.14 has some a directory deeper.
        let has_some = || HEXADECIMAL.chars().any(|x| is_there(&folder.join(format!("{x}/stats"))));
        let is_directory = fs::symlink_metadata(&folder).is_ok_and(|facts| facts.is_dir());
        if !is_directory || is_there(&path) || has_some() {
            return Ok(false);
        }
        let mut counters = Counters::default();
        let counted = count_files(&self.top, &digit.to_string(), 0, &mut counters);
        counted.map_err(|error| Trouble::Failed(error.to_string()))?;
        let bytes = counters.text().into_bytes();
        let part = Part { label: String::new(), bytes, modified: None, mode: None };
        self.write_part(&format!("{digit}/stats"), &part)?;
        Ok(true)
    }

    fn make_folder(&self, folder: &Path) -> std::io::Result<()> {
        if lock(&self.made).contains(folder) {
            return Ok(());
        }
        // Whoever may write to the cache must not lead us out of it.
        let mut path = self.top.clone();
        for part in folder.strip_prefix(&self.top).into_iter().flat_map(Path::components) {
            path.push(part);
            match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if !fs::symlink_metadata(&path)?.is_dir() {
                        let what = format!("{} is no directory", path.display());
                        return Err(std::io::Error::other(what));
                    }
                }
                other => other?,
            }
        }
        lock(&self.made).insert(folder.to_owned());
        Ok(())
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_file(path: &Path, part: &Part) -> std::io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&part.bytes)?;
    if let Some(mode) = part.mode {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(u32::from(mode & 0o777)))?;
    } else {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o666 & !umask()))?;
    }
    if let Some(time) = part.modified {
        let stamp = Timespec { tv_sec: time.secs, tv_nsec: i64::from(time.nanos) };
        let stamps = Timestamps { last_access: stamp, last_modification: stamp };
        rustix::fs::futimens(&file, &stamps)?;
    }
    Ok(())
}

/// Adds the files of a cache's entries below a path.
fn count_files(top: &Path, path: &str, depth: usize, to: &mut Counters) -> std::io::Result<()> {
    for seen in names_in(&top.join(path))? {
        let below = format!("{path}/{}", seen.name);
        if seen.is_directory && depth < DEPTH_MAX {
            count_files(top, &below, depth + 1, to)?;
        } else if let Some(place) = layout::parse(&below)
            && place.name.family.is_of_ccache()
            && let Ok(facts) = fs::symlink_metadata(top.join(&below))
        {
            let second = place.name.text.get(1..2);
            let second = second.and_then(|digit| usize::from_str_radix(digit, 16).ok());
            to.add(second.unwrap_or_default(), facts.blocks() * BLOCK_BYTES);
        }
    }
    Ok(())
}

/// The umask of this process, which is only to be had by setting it: once, before any thread.
fn umask() -> u32 {
    static UMASK: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *UMASK.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0o077)
    })
}

impl Target for DirectoryTarget {
    fn has(&self, item: &Item, stamp: &dyn Fn() -> Option<Stamp>) -> Result<Presence, Fault> {
        let mut found = Stamp::default();
        if item.labels.is_empty() {
            return Ok(Presence::Absent);
        }
        for label in &item.labels {
            let path = layout::path(self.shape, &item.name, item.level, label);
            let facts = match fs::symlink_metadata(self.top.join(path)) {
                Ok(facts) => facts,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Presence::Absent),
                Err(error) => return fault(error.to_string()),
            };
            found.bytes += facts.len();
            if !is_raw(item.name.family, label) {
                let time = Time { secs: facts.mtime(), nanos: facts.mtime_nsec() as u32 };
                found.modified = found.modified.max(Some(time));
            }
        }
        let presence = same(stamp(), found);
        if presence == Presence::Other && item.name.family == Family::File {
            // Settings and statistics are those of a cache, not of what is added to it.
            lock(&self.kept).insert(item.name.text.clone());
            return Ok(Presence::Same);
        }
        Ok(presence)
    }

    fn write(&self, batch: &[Outgoing]) -> Result<Vec<Result<(), Trouble>>, Fault> {
        let mut done = Vec::with_capacity(batch.len());
        for outgoing in batch {
            done.push(self.write_entry(&outgoing.entry));
        }
        Ok(done)
    }

    fn finish(&self) -> Result<Finished, Fault> {
        let mut finished = Finished::default();
        if self.shape == Shape::Cache && !self.is_of_sccache {
            let (written, mut is_unknown) = (lock(&self.written).clone(), false);
            for digit in HEXADECIMAL.chars() {
                let mut below = written.iter().filter(|path| path.starts_with(digit)).peekable();
                match self.write_statistics(digit) {
                    Ok(is_new) => {
                        is_unknown |= !is_new
                            && below.peek().is_some()
                            && !below.any(|path| path.ends_with("/stats"));
                    }
                    Err(trouble) => finished.troubles.push((format!("{digit}/stats"), trouble)),
                }
            }
            let note = "ccache has not counted what was added: `ccache --cleanup` makes it count";
            finished.notes.extend(is_unknown.then(|| note.to_owned()));
            let kept: Vec<String> = lock(&self.kept).iter().cloned().collect();
            let note = || format!("kept as they are (--overwrite): {}", kept.join(", "));
            finished.notes.extend((!kept.is_empty()).then(note));
        }
        let top = File::open(&self.top).map_err(|error| failed(&self.top, &error))?;
        rustix::fs::syncfs(&top).map_err(|error| failed(&self.top, &error.into()))?;
        Ok(finished)
    }
}

/// Whether what is there is what comes, as far as lengths and times tell.
pub fn same(wanted: Option<Stamp>, found: Stamp) -> Presence {
    match wanted {
        Some(wanted)
            if wanted.bytes != found.bytes
                || wanted.modified.is_some_and(|time| Some(time) != found.modified) =>
        {
            Presence::Other
        }
        _ => Presence::Same,
    }
}
