//! `--trim-dir`: the oldest entries of a directory of ccache's remote storage go, and the rest is
//! compressed anew.
//!
//! 1. An entry is a plain file that has the name of one and begins like one. Nothing else is
//!    counted, changed or removed: not the tag of the directory, nor what somebody else keeps there
//!    (git's objects have the same names). Links are not followed.
//! 2. A local cache counts its files, and would count wrong afterwards: it is refused, as by
//!    ccache. So is a directory that cannot be read: nobody would know what it holds.
//! 3. Looking at the first bytes of a file leaves its time of access where the system lets it be
//!    left; the times that count are read before.
//! 4. An entry is compressed beside itself and renamed, with its times and its mode; one that is
//!    damaged, or changes meanwhile, stays as it is. Files of somebody else stay where they are.
//! 5. The cache may be in use: what is gone when its turn comes is gone.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags};

use super::super::command::{Failure, print};
use super::super::progress::Bar;
use super::commands::invalid;
use super::files::CONTENTS_BYTES_MAX;
use crate::ccache_entry::name::{is_remote_entry, local_statistics};
use crate::ccache_entry::{Level, MAGIC_BYTES, has_magic, recompress};
use crate::config::ccache::show_size;

/// Directories below each other; more than any storage has.
const DEPTH_MAX: u32 = 16;
/// `st_blocks` counts these.
const BLOCK_BYTES: u64 = 512;

/// Which time says when an entry was used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Method {
    /// That of the last access.
    #[default]
    Atime,
    /// That of the last change.
    Mtime,
}

impl Method {
    /// From the command line.
    ///
    /// # Errors
    /// If it is neither.
    pub fn parse(text: &str) -> Result<Method, Failure> {
        match text {
            "atime" => Ok(Method::Atime),
            "mtime" => Ok(Method::Mtime),
            _ => Err(invalid("trim method", text)),
        }
    }
}

/// What the options say about the trim.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Entries may occupy so many bytes of disk; 0 is no limit.
    pub max_bytes: Option<u64>,
    /// What counts as old.
    pub method: Method,
    /// What the rest is compressed to.
    pub level: Option<Level>,
    /// Only what is newer than this file is compressed.
    pub marker: Option<PathBuf>,
}

/// An entry that was found.
struct Found {
    path: PathBuf,
    data: Metadata,
    used: (i64, i64),
}

fn disk_bytes(data: &Metadata) -> u64 {
    data.blocks() * BLOCK_BYTES
}

/// Trims.
pub fn run(directory: &Path, wanted: &Wanted, dry_run: bool) -> Result<(), Failure> {
    if wanted.max_bytes.is_none() && wanted.level.is_none() {
        let what = "please specify --trim-max-size or --trim-recompress when using --trim-dir";
        return Err(Failure::Failed(what.to_owned()));
    }
    if let Some(statistics) = local_statistics(directory) {
        let statistics = statistics.display();
        let what = format!("this looks like a local cache directory (found {statistics})");
        return Err(Failure::Failed(what));
    }
    let mut entries = Vec::new();
    find(directory, wanted.method, 0, &mut entries)
        .map_err(|(path, why)| failed("open directory", &path, &why))?;
    entries.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
    if let Some(level) = wanted.level {
        compress_all(&mut entries, level, wanted.marker.as_deref(), dry_run)?;
    }
    match wanted.max_bytes {
        Some(limit) if limit > 0 => remove_oldest(&entries, limit, dry_run),
        _ => Ok(()),
    }
}

fn failed(what: &str, path: &Path, why: &io::Error) -> Failure {
    Failure::Failed(format!("failed to {what} {}: {}", path.display(), super::plain(why)))
}

/// Collects the entries below a directory.
fn find(
    directory: &Path,
    method: Method,
    depth: u32,
    found: &mut Vec<Found>,
) -> Result<(), (PathBuf, io::Error)> {
    let entries = fs::read_dir(directory).map_err(|why| (directory.to_owned(), why))?;
    for entry in entries {
        let path = entry.map_err(|why| (directory.to_owned(), why))?.path();
        // What is gone meanwhile needs no trimming.
        let Ok(data) = fs::symlink_metadata(&path) else { continue };
        if data.is_dir() {
            match find(&path, method, depth + 1, found) {
                Err((_, why)) if why.kind() == io::ErrorKind::NotFound => {}
                _ if depth >= DEPTH_MAX => {}
                outcome => outcome?,
            }
        } else if data.is_file() && is_remote_entry(&path) && begins_like_one(&path) {
            let used = match method {
                Method::Atime => (data.atime(), data.atime_nsec()),
                Method::Mtime => (data.mtime(), data.mtime_nsec()),
            };
            found.push(Found { path, data, used });
        }
    }
    Ok(())
}

/// Opens an entry in a way that leaves its time of access; only the owner may.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::open(path, flags, Mode::empty());
    Ok(open(flags | OFlags::NOATIME).or_else(|_| open(flags))?.into())
}

fn begins_like_one(path: &Path) -> bool {
    let Ok(file) = open(path) else { return false };
    let mut first = Vec::new();
    let read = file.take(MAGIC_BYTES as u64).read_to_end(&mut first);
    read.is_ok() && has_magic(&first)
}

fn remove_oldest(entries: &[Found], limit: u64, dry_run: bool) -> Result<(), Failure> {
    let before: u64 = entries.iter().map(|entry| disk_bytes(&entry.data)).sum();
    let (mut left, mut bar) = (before, Bar::new("removing"));
    let excess = before.saturating_sub(limit);
    for Found { path, data, .. } in entries {
        if left <= limit {
            break;
        }
        bar.show(before - left, excess);
        match if dry_run { Ok(()) } else { fs::remove_file(path) } {
            Ok(()) => {}
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => {
                bar.end();
                return Err(failed("remove", path, &why));
            }
        }
        left -= disk_bytes(data);
    }
    bar.end();
    let what = if dry_run { "Would remove" } else { "Removed" };
    let [removed, before, left] = [before - left, before, left].map(shown);
    print(&format!("{what} {removed} ({before} -> {left})\n"))
}

fn shown(bytes: u64) -> String {
    if bytes == 0 { "0.0 KiB".to_owned() } else { show_size(bytes, false) }
}

fn compress_all(
    entries: &mut [Found],
    level: Level,
    marker: Option<&Path>,
    dry_run: bool,
) -> Result<(), Failure> {
    let marked = match marker.map(fs::metadata) {
        Some(Ok(data)) => Some((data.mtime(), data.mtime_nsec())),
        _ => None,
    };
    let is_newer = |entry: &Found| {
        marked.is_none_or(|time| (entry.data.mtime(), entry.data.mtime_nsec()) >= time)
    };
    let total = entries.iter().map(|entry| disk_bytes(&entry.data)).sum();
    let (mut bar, mut done, mut count, mut damaged) = (Bar::new("recompressing"), 0, 0u64, 0u64);
    let (mut before, mut after) = (0, 0);
    for entry in entries.iter_mut() {
        bar.show(done, total);
        done += disk_bytes(&entry.data);
        let old = entry.data.len();
        let outcome = if is_newer(entry) { compress(entry, level, dry_run) } else { Ok(None) };
        let new = match outcome {
            Ok(Some(new)) => {
                count += 1;
                new
            }
            Ok(None) => old,
            Err(Unchanged::Damaged) => {
                damaged += 1;
                old
            }
            Err(Unchanged::Failed(why)) => {
                bar.end();
                return Err(failed("recompress", &entry.path, &why));
            }
        };
        (before, after) = (before + old, after + new);
    }
    bar.end();
    if let Some(path) = marker.filter(|_| !dry_run) {
        touch(path).map_err(|why| failed("write", path, &why))?;
    }
    let what = if dry_run { "Would recompress" } else { "Recompressed" };
    let left = if damaged > 0 { format!(", {damaged} damaged left") } else { String::new() };
    let (before, after) = (shown(before), shown(after));
    print(&format!("{what} {count} files ({before} -> {after}){left}\n"))
}

/// Marks that everything until now has been looked at.
fn touch(path: &Path) -> io::Result<()> {
    let file = File::options().create(true).append(true).open(path)?;
    file.set_modified(SystemTime::now())
}

/// Why an entry stays as it is.
enum Unchanged {
    Damaged,
    Failed(io::Error),
}

impl From<io::Error> for Unchanged {
    fn from(why: io::Error) -> Unchanged {
        Unchanged::Failed(why)
    }
}

/// Compresses an entry; its new length, `None` if it stays as it is.
fn compress(entry: &mut Found, level: Level, dry_run: bool) -> Result<Option<u64>, Unchanged> {
    // A new file would be ours, and its owner might not be let near it.
    if entry.data.uid() != rustix::process::geteuid().as_raw() {
        return Ok(None);
    }
    let bytes = match read_whole(&entry.path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let new = recompress(&bytes, level, CONTENTS_BYTES_MAX).map_err(|_| Unchanged::Damaged)?;
    let Some(new) = new else { return Ok(None) };
    if dry_run {
        return Ok(Some(new.len() as u64));
    }
    match replace(entry, &new) {
        Ok(true) => Ok(Some(new.len() as u64)),
        Ok(false) => Ok(None),
        Err(why) => Err(why.into()),
    }
}

fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(CONTENTS_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts other bytes in the place of an entry, unless somebody else did so meanwhile.
fn replace(entry: &mut Found, bytes: &[u8]) -> io::Result<bool> {
    // ccache takes a name like this for one of its temporary files.
    let mut beside = entry.path.clone().into_os_string();
    beside.push(format!(".tmp.larder{}", process::id()));
    let beside = PathBuf::from(beside);
    let write = || -> io::Result<bool> {
        let mut file = File::options().write(true).create_new(true).open(&beside)?;
        file.write_all(bytes)?;
        file.set_permissions(entry.data.permissions())?;
        let (accessed, modified) = (entry.data.accessed()?, entry.data.modified()?);
        file.set_times(fs::FileTimes::new().set_accessed(accessed).set_modified(modified))?;
        let is_same = fs::symlink_metadata(&entry.path).is_ok_and(|now| {
            let facts = |data: &Metadata| (data.ino(), data.len(), data.modified().ok());
            facts(&now) == facts(&entry.data)
        });
        if is_same {
            fs::rename(&beside, &entry.path)?;
            entry.data = file.metadata()?;
        }
        Ok(is_same)
    };
    let mut write = write;
    let written = write();
    if !matches!(written, Ok(true)) {
        let _ = fs::remove_file(&beside);
    }
    written
}
