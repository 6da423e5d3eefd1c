//! What the kernel tells of a file, asked for as cheaply as hundreds of headers per hit demand.
//!
//! A path of six components costs more to walk than the file costs to stat, and the headers of a
//! unit stand in a dozen directories. So the second file that is asked for in a directory opens
//! that directory, and all further ones are found from there. The kernel resolves the same path in
//! both ways; a directory that is replaced meanwhile is seen as it was a moment ago.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use larder_engine::checksum::xxh3_64;
use memchr::memrchr;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, lstat, openat, readlink, stat, statat,
};
use rustix::io::Errno;

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

/// Where paths lead to behind all links. Each directory is asked for once: a link reads many files
/// in few of them, and the kernel is asked about each component of a path.
#[derive(Debug, Default)]
pub struct RealPaths {
    directories: RefCell<HashMap<PathBuf, PathBuf>>,
}

impl RealPaths {
    /// As [`Path::canonicalize`].
    ///
    /// # Errors
    /// If there is nothing.
    pub fn of(&self, path: &Path) -> io::Result<PathBuf> {
        let is_link = Facts::of_link(path)?.1;
        let is_plain = !matches!(path.as_os_str().as_bytes(), [.., b'/'] | [.., b'/', b'.']);
        let (Some(directory), Some(name), false, true) =
            (path.parent(), path.file_name(), is_link, is_plain)
        else {
            return path.canonicalize();
        };
        if let Some(real) = self.directories.borrow().get(directory) {
            return Ok(real.join(name));
        }
        let here = if directory == Path::new("") { Path::new(".") } else { directory };
        let real = here.canonicalize()?;
        let path = real.join(name);
        self.directories.borrow_mut().insert(directory.to_path_buf(), real);
        Ok(path)
    }
}

/// The directory of a file: what stands before its last slash, empty for the working directory.
pub fn above(path: &Path) -> &Path {
    let bytes = path.as_os_str().as_bytes();
    let Some(slash) = memrchr(b'/', bytes) else { return Path::new("") };
    let end = bytes[..slash].iter().rposition(|byte| *byte != b'/').map_or(1, |at| at + 1);
    Path::new(OsStr::from_bytes(&bytes[..end]))
}

/// Whether two paths are written alike. `==` looks at their components, which costs far more.
pub fn is_same(one: &Path, other: &Path) -> bool {
    one.as_os_str() == other.as_os_str()
}

/// The directories of the files asked for so far.
#[derive(Debug, Default)]
pub struct Directories {
    known: RefCell<Vec<Directory>>,
}

#[derive(Debug)]
struct Directory {
    /// XXH3-64 of the path: most of them begin alike, so that comparing them is dear.
    hash: u64,
    /// With a slash at its end.
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
        self.within(path, |directory, name| {
            Ok(Facts::new(&statat(directory, name, AtFlags::empty())?))
        })
    }

    /// The facts of the file at `path`, links followed, and whether a link stands there itself.
    ///
    /// # Errors
    /// If there is none.
    pub fn facts_and_link(&self, path: &Path) -> io::Result<(Facts, bool)> {
        let (facts, is_link) = self.target_and_link(path)?;
        Ok((facts.ok_or(io::ErrorKind::NotFound)?, is_link))
    }

    /// The same, with `None` for the facts where a link leads to nothing.
    ///
    /// # Errors
    /// If there is no file and no link.
    pub fn target_and_link(&self, path: &Path) -> io::Result<(Option<Facts>, bool)> {
        self.within(path, |directory, name| {
            let own = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(own.st_mode) != FileType::Symlink {
                return Ok((Some(Facts::new(&own)), false));
            }
            match statat(directory, name, AtFlags::empty()) {
                Ok(target) => Ok((Some(Facts::new(&target)), true)),
                Err(Errno::NOENT | Errno::NOTDIR) => Ok((None, true)),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Reads the file at `path`, which has this length, into `buffer`.
    ///
    /// # Errors
    /// If it cannot be read, or has another length.
    pub fn read(&self, path: &Path, bytes: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = self.within(path, |directory, name| {
            Ok(File::from(openat(directory, name, flags, Mode::empty())?))
        })?;
        let wanted = usize::try_from(bytes).map_err(io::Error::other)?;
        // One byte more than there should be, so that the end is seen without another call.
        if buffer.len() <= wanted {
            buffer.resize(wanted + 1, 0);
        }
        buffer.truncate(wanted + 1);
        let mut filled = 0;
        while filled < buffer.len() {
            match (&file).read(&mut buffer[filled..]) {
                Ok(0) => break,
                // A call that gives less than was asked for stands at the end.
                Ok(count) if filled + count == wanted => {
                    filled = wanted;
                    break;
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(filled);
        if filled == wanted { Ok(()) } else { Err(io::Error::other("has another length now")) }
    }

    /// Closes all directories, so that the next file is looked for from the root.
    pub fn forget(&self) {
        self.known.borrow_mut().clear();
    }

    /// Calls `work` with a directory and the rest of the path below it.
    fn within<T>(
        &self,
        path: &Path,
        work: impl FnOnce(BorrowedFd<'_>, &[u8]) -> io::Result<T>,
    ) -> io::Result<T> {
        let bytes = path.as_os_str().as_bytes();
        let slash = memrchr(b'/', bytes).filter(|slash| *slash + 1 < bytes.len());
        let Some(slash) = slash else { return work(CWD, bytes) };
        let (directory, name) = (&bytes[..slash + 1], &bytes[slash + 1..]);
        let mut known = self.known.borrow_mut();
        let hash = xxh3_64(directory, 0);
        let is_it = |known: &Directory| known.hash == hash && known.path == directory;
        // The includes of a header mostly stand beside the one before.
        let Some(at) = known.iter().rposition(is_it) else {
            if known.len() < DIRECTORIES_MAX {
                let path = directory.to_vec();
                known.push(Directory { hash, path, handle: None, is_tried: false });
            }
            return work(CWD, bytes);
        };
        let entry = &mut known[at];
        if !entry.is_tried {
            entry.is_tried = true;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            entry.handle = openat(CWD, directory, flags, Mode::empty()).ok();
        }
        match &entry.handle {
            Some(handle) => work(handle.as_fd(), name),
            None => work(CWD, bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The directory is asked for once, so what stands in it must not be taken for a file there.
    #[test]
    fn a_real_path_is_that_of_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("real/sub")).unwrap();
        for file in ["real/file", "real/sub/file"] {
            fs::write(at(file), "").unwrap();
        }
        for (target, link) in [("real", "link"), ("sub/file", "real/far"), ("nothing", "real/bad")]
        {
            std::os::unix::fs::symlink(target, at(link)).unwrap();
        }
        let real_paths = RealPaths::default();
        for name in [
            "real/file",
            "link/file",
            "link/far",
            "link/sub/file",
            "link/sub/../file",
            "link",
            "link/",
            "link/.",
            "link/..",
            "real",
            "real/bad",
            "link/bad",
            "link/none",
            "none/file",
            "real/file/",
            "real/file/x",
        ] {
            for _ in 0..2 {
                let expected = at(name).canonicalize().ok();
                assert_eq!(real_paths.of(&at(name)).ok(), expected, "{name}");
            }
        }
        for name in ["", ".", "src", "src/lib.rs", "/", "/usr/bin/.."] {
            let (path, expected) = (Path::new(name), Path::new(name).canonicalize().ok());
            assert_eq!(real_paths.of(path).ok(), expected, "{name}");
        }
    }

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
    fn the_directory_of_a_file_stands_before_its_name() {
        for (path, directory) in
            [("a", ""), ("a/b", "a"), ("/a", "/"), ("//a", "/"), ("/a//b", "/a"), ("./a", ".")]
        {
            assert_eq!(above(Path::new(path)), Path::new(directory), "{path}");
        }
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
            let own = (Facts::at(path).unwrap(), false);
            assert_eq!(directories.facts_and_link(path).unwrap(), own);
        }
        assert!(directories.facts(&dir.path().join("sub/none")).is_err());
        assert!(directories.facts(&dir.path().join("none/none")).is_err());
        assert!(directories.facts(&dir.path().join("none/none")).is_err());
        assert!(!directories.facts(&dir.path().join("sub/")).unwrap().is_regular);
    }

    #[test]
    fn a_link_to_a_file_is_told_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        std::os::unix::fs::symlink("none", at("dangling")).unwrap();
        let directories = Directories::default();
        let file = Facts::at(&at("file")).unwrap();
        for _ in 0..3 {
            assert_eq!(directories.facts_and_link(&at("file")).unwrap(), (file, false));
            assert_eq!(directories.facts_and_link(&at("link")).unwrap(), (file, true));
            assert!(directories.facts_and_link(&at("dangling")).is_err());
        }
    }

    #[test]
    fn a_file_is_read_only_with_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("one"), "first").unwrap();
        fs::write(at("two"), "").unwrap();
        let directories = Directories::default();
        let mut buffer = Vec::new();
        for _ in 0..3 {
            directories.read(&at("one"), 5, &mut buffer).unwrap();
            assert_eq!(buffer, b"first");
            directories.read(&at("two"), 0, &mut buffer).unwrap();
            assert_eq!(buffer, b"");
            for wrong in [0, 4, 6, 1 << 20] {
                assert!(directories.read(&at("one"), wrong, &mut buffer).is_err(), "{wrong}");
            }
        }
        assert!(directories.read(&at("none"), 0, &mut buffer).is_err());
        assert!(directories.read(dir.path(), 0, &mut buffer).is_err());
    }

    #[test]
    fn a_directory_that_took_the_place_of_another_is_seen_once_that_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, text) in [("old", "1"), ("new", "22")] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("x"), text).unwrap();
        }
        let directories = Directories::default();
        let bytes = || directories.facts(&at("old/x")).unwrap().bytes;
        assert_eq!([bytes(), bytes()], [1, 1]);
        fs::rename(at("old"), at("away")).unwrap();
        fs::rename(at("new"), at("old")).unwrap();
        directories.forget();
        assert_eq!([bytes(), bytes()], [2, 2]);
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
