//! What the kernel tells of a file, asked for as cheaply as hundreds of headers per hit demand.
//!
//! A path of six components costs more to walk than the file costs to stat, and the headers of a
//! unit stand in a dozen directories. So the second file that is asked for in a directory opens
//! that directory, and all further ones are found from there. The kernel resolves the same path in
//! both ways; a directory that is replaced meanwhile is seen as it was a moment ago.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, lstat, openat, readlink, stat, statat,
};

/// Directories that are kept open at most.
const DIRECTORIES_MAX: usize = 64;

/// What identifies the contents of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Whether it is a regular file.
    pub is_regular: bool,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// The device that holds it.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Seconds of the last change of its contents.
    pub mtime_secs: i64,
    /// And nanoseconds.
    pub mtime_nanos: u64,
    /// Seconds of the last change of its inode.
    pub ctime_secs: i64,
    /// And nanoseconds.
    pub ctime_nanos: u64,
}

impl Facts {
    /// Those of an open file.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn of(file: &File) -> io::Result<Facts> {
        Ok(Facts::new(&fstat(file)?))
    }

    /// Those of the file that a path leads to, links followed.
    ///
    /// # Errors
    /// If there is none.
    pub fn at(path: &Path) -> io::Result<Facts> {
        Ok(Facts::new(&stat(path)?))
    }

    /// Those of what stands at a path itself, and whether that is a link.
    ///
    /// # Errors
    /// If there is nothing.
    pub fn of_link(path: &Path) -> io::Result<(Facts, bool)> {
        let stat = lstat(path)?;
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        Ok((Facts::new(&stat), is_link))
    }

    /// The later of mtime and ctime, in nanoseconds since 1970; times before count as 1970, times
    /// beyond 2554 as the end.
    pub fn changed_ns(&self) -> u64 {
        self.mtime_ns().max(self.ctime_ns())
    }

    /// mtime in nanoseconds since 1970.
    pub fn mtime_ns(&self) -> u64 {
        time_ns(self.mtime_secs, self.mtime_nanos)
    }

    /// ctime in nanoseconds since 1970.
    pub fn ctime_ns(&self) -> u64 {
        time_ns(self.ctime_secs, self.ctime_nanos)
    }

    #[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
    fn new(stat: &Stat) -> Facts {
        let kind = FileType::from_raw_mode(stat.st_mode);
        Facts {
            is_regular: kind == FileType::RegularFile,
            is_directory: kind == FileType::Directory,
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            bytes: stat.st_size as u64,
            mtime_secs: stat.st_mtime as i64,
            mtime_nanos: stat.st_mtime_nsec as u64,
            ctime_secs: stat.st_ctime as i64,
            ctime_nanos: stat.st_ctime_nsec as u64,
        }
    }
}

fn time_ns(secs: i64, nanos: u64) -> u64 {
    let secs = u64::try_from(secs).unwrap_or(0);
    secs.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Links that are followed at most, as in the kernel.
const LINKS_MAX: usize = 40;

/// The file that the links in the last component of a path lead to, as far as they do; directories
/// stay as they are written, so that each link costs one call and everything else none.
pub fn behind_links(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS_MAX {
        let Ok(target) = readlink(&path, Vec::new()) else { break };
        // An absolute target replaces the whole path.
        path.pop();
        path.push(OsStr::from_bytes(target.as_bytes()));
    }
    path
}

/// The directories of the files asked for so far.
#[derive(Debug, Default)]
pub struct Directories {
    known: RefCell<Vec<Directory>>,
}

#[derive(Debug)]
struct Directory {
    path: Vec<u8>,
    /// Open from the second file on; `None` too where it cannot be opened.
    handle: Option<OwnedFd>,
    is_tried: bool,
}

impl Directories {
    /// The facts of the directory at `path`, of the open one if it is among those.
    ///
    /// # Errors
    /// If there is nothing.
    pub fn directory(&self, path: &Path) -> io::Result<Facts> {
        let bytes = path.as_os_str().as_bytes();
        let known = self.known.borrow();
        let is_it = |known: &&Directory| known.path.strip_suffix(b"/") == Some(bytes);
        match known.iter().find(is_it).and_then(|known| known.handle.as_ref()) {
            Some(handle) => Ok(Facts::new(&fstat(handle)?)),
            None if bytes.is_empty() => Facts::at(Path::new(".")),
            None => Facts::at(path),
        }
    }

    /// The facts of the file at `path`, links followed.
    ///
    /// # Errors
    /// If there is none.
    pub fn facts(&self, path: &Path) -> io::Result<Facts> {
        let bytes = path.as_os_str().as_bytes();
        let Some(slash) = bytes.iter().rposition(|byte| *byte == b'/') else {
            return Facts::at(path);
        };
        let (directory, name) = (&bytes[..slash + 1], &bytes[slash + 1..]);
        if name.is_empty() {
            return Facts::at(path);
        }
        let mut known = self.known.borrow_mut();
        // The includes of a header mostly stand beside the one before.
        let Some(at) = known.iter().rposition(|known| known.path == directory) else {
            if known.len() < DIRECTORIES_MAX {
                let path = directory.to_vec();
                known.push(Directory { path, handle: None, is_tried: false });
            }
            return Facts::at(path);
        };
        let entry = &mut known[at];
        if !entry.is_tried {
            entry.is_tried = true;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            entry.handle = openat(CWD, directory, flags, Mode::empty()).ok();
        }
        match &entry.handle {
            Some(handle) => Ok(Facts::new(&statat(handle, name, AtFlags::empty())?)),
            None => Facts::at(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn links_are_followed_to_the_file_and_in_circles_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("sub/file"), "").unwrap();
        for (target, link) in [("sub/b", "a"), ("../c", "sub/b"), ("d", "d")] {
            std::os::unix::fs::symlink(target, at(link)).unwrap();
        }
        std::os::unix::fs::symlink(at("sub/file"), at("c")).unwrap();
        assert_eq!(behind_links(&at("a")), at("sub/file"));
        assert_eq!(behind_links(&at("sub")), at("sub"));
        assert_eq!(behind_links(&at("missing")), at("missing"));
        assert_eq!(behind_links(&at("d")), at("d"));
    }

    #[test]
    fn files_found_from_their_directory_are_those_of_their_paths() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        std::os::unix::fs::symlink("sub", dir.path().join("link")).unwrap();
        let paths: Vec<_> = ["a.h", "sub/b.h", "sub/c.h", "link/b.h", "link/../a.h", "sub/b.h"]
            .iter()
            .map(|name| dir.path().join(name))
            .collect();
        for name in ["a.h", "sub/b.h", "sub/c.h"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let directories = Directories::default();
        for path in paths.iter().chain(&paths).chain(&paths) {
            assert_eq!(directories.facts(path).unwrap(), Facts::at(path).unwrap());
        }
        assert!(directories.facts(&dir.path().join("sub/none")).is_err());
        assert!(directories.facts(&dir.path().join("none/none")).is_err());
        assert!(directories.facts(&dir.path().join("none/none")).is_err());
        assert!(!directories.facts(&dir.path().join("sub/")).unwrap().is_regular);
    }

    #[test]
    fn any_number_of_directories_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let directories = Directories::default();
        for round in 0..3 {
            for number in 0..DIRECTORIES_MAX + 5 {
                let sub = dir.path().join(number.to_string());
                let _ = fs::create_dir(&sub);
                fs::write(sub.join("x"), vec![0; number]).unwrap();
                let facts = directories.facts(&sub.join("x")).unwrap();
                assert_eq!(facts.bytes, number as u64, "round {round}");
            }
        }
    }
}
