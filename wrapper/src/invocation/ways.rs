//! Whether the way to an input stayed the same during a run.
//!
//! The times of a file tell whether its contents changed, but not that a link now leads to another
//! file, or that a directory has taken another one's place: both files may be as old as they like.
//!
//! 1. A link was made anew if its own change time is not before T0; links cannot be written.
//! 2. A directory was renamed (or its mode changed) if its change time is not before T0 and is not
//!    the time at which an entry came or went, which is what compilers do all the time.
//!
//! Not seen: a directory in which an entry came or went after it was renamed.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::maps::Set;

/// Links on one way at most, as in the kernel.
const LINKS_MAX: usize = 40;

/// The ways that have been looked at.
pub(super) struct Ways {
    started_ns: u64,
    known: Set<Vec<u8>>,
}

impl Ways {
    /// Ways since T0.
    pub(super) fn since(started_ns: u64) -> Ways {
        Ways { started_ns, known: Set::default() }
    }

    /// The first part of the way to `path` that may have changed.
    ///
    /// # Errors
    /// If a part cannot be looked at, or there are too many links.
    pub(super) fn changed(&mut self, path: &Path) -> io::Result<Option<PathBuf>> {
        self.walk(path, LINKS_MAX)
    }

    fn walk(&mut self, path: &Path, links_max: usize) -> io::Result<Option<PathBuf>> {
        // The way to a directory that is known is known, too.
        if self.known.contains(path.as_os_str().as_bytes()) {
            return Ok(None);
        }
        if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty())
            && let Some(changed) = self.walk(above, links_max)?
        {
            return Ok(Some(changed));
        }
        if matches!(path.components().next_back(), Some(Component::Normal(_))) {
            let metadata = fs::symlink_metadata(path)?;
            if self.is_changed(&metadata) {
                return Ok(Some(path.to_path_buf()));
            }
            if metadata.is_symlink() {
                let circle = || io::Error::other("the links on the way do not end");
                let rest = links_max.checked_sub(1).ok_or_else(circle)?;
                // An absolute target replaces the whole path.
                let target = path.parent().unwrap_or(Path::new("")).join(fs::read_link(path)?);
                if let Some(changed) = self.walk(&target, rest)? {
                    return Ok(Some(changed));
                }
            }
        }
        self.known.insert(path.as_os_str().as_bytes().to_vec());
        Ok(None)
    }

    fn is_changed(&self, metadata: &Metadata) -> bool {
        let nanos = |secs: i64, nanos: i64| {
            u64::try_from(secs).unwrap_or(0).saturating_mul(1_000_000_000) + nanos as u64
        };
        let changed_ns = nanos(metadata.ctime(), metadata.ctime_nsec());
        let entries_ns = nanos(metadata.mtime(), metadata.mtime_nsec());
        changed_ns >= self.started_ns
            && (metadata.is_symlink() || metadata.is_dir() && changed_ns != entries_ns)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use larder_engine::env::{clock_ns, coarse_clock_ns};

    use super::*;

    fn now() -> u64 {
        let now = clock_ns();
        while coarse_clock_ns() < now {
            std::thread::yield_now();
        }
        now
    }

    #[test]
    fn links_and_directories_that_take_a_place_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["one", "two"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("h.h"), name).unwrap();
        }
        symlink("one", at("link")).unwrap();
        symlink("link", at("chain")).unwrap();
        let header = at("chain/h.h");
        let changed = |since: u64, path: &Path| Ways::since(since).changed(path).unwrap();
        let since = now();
        assert_eq!(changed(since, &header), None);
        // An object beside a header is no change of the way.
        fs::write(at("one/a.o"), "").unwrap();
        assert_eq!(changed(since, &header), None);
        fs::remove_file(at("link")).unwrap();
        symlink("two", at("link")).unwrap();
        assert_eq!(changed(since, &header), Some(at("link")));
        let since = now();
        assert_eq!(changed(since, &header), None);
        fs::rename(at("two"), at("old")).unwrap();
        fs::rename(at("one"), at("two")).unwrap();
        assert_eq!(changed(since, &header), Some(at("two")));
    }

    #[test]
    fn links_in_a_circle_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        assert!(Ways::since(now()).changed(&folder.path().join("a")).is_err());
    }
}
