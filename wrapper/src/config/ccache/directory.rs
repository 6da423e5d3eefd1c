//! The `ccache.conf` of a directory, looked for from the working directory upwards.
//!
//! 1. The first file found counts. The search ends before one of `ceiling_dirs`, and behind a
//!    directory that has one of `ceiling_markers`. Files of the cache and of the system are none of
//!    a directory.
//! 2. It must be a regular file of this user that the world may not write; anything else is an
//!    error.
//! 3. Settings that start programs or say what is written where count in `safe_dirs` only; those
//!    about the cache and about this search are an error.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::file::{Line, at_line, lines, read};
use super::keys::{KEYS, Trust};
use super::{Error, FILE_NAME, Settings, find};

/// The world may write.
const WORLD_WRITE_BIT: u32 = 0o002;

impl Settings {
    /// Reads the file for a directory, if there is one.
    pub(super) fn read_directory(
        &mut self,
        directory: &Path,
        variable: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<(), Error> {
        let Some((path, file)) = self.find_file(directory) else { return Ok(()) };
        let wrong = |what: String| Error(format!("{}: {what}", path.display()));
        let text = check(&file).and_then(|()| read(file).map_err(|error| error.to_string()));
        let text = text.map_err(wrong)?;
        let is_safe = self.is_safe(&path);
        for line in lines(&path, &text)? {
            let Some(at) = find(&line.key.to_string_lossy()) else { continue };
            check_trust(&line, KEYS[at].trust, is_safe)
                .map_err(|what| at_line(&path, line.number, &what))?;
            self.take_line(&path, &line, at, variable)?;
        }
        Ok(())
    }

    fn find_file(&self, directory: &Path) -> Option<(PathBuf, File)> {
        let ceilings: Vec<PathBuf> = std::env::split_paths(self.text("ceiling_dirs")).collect();
        let markers: Vec<PathBuf> = std::env::split_paths(self.text("ceiling_markers")).collect();
        for directory in directory.ancestors() {
            if ceilings.iter().any(|ceiling| ceiling == directory) {
                return None;
            }
            let path = directory.join(FILE_NAME);
            let is_other = path == self.file || path == self.system_file;
            let options = libc::O_NOFOLLOW | libc::O_NONBLOCK;
            if !is_other
                && let Ok(file) = File::options().read(true).custom_flags(options).open(&path)
            {
                return Some((path, file));
            }
            let has = |marker: &PathBuf| rustix::fs::stat(directory.join(marker)).is_ok();
            if markers.iter().filter(|marker| !marker.as_os_str().is_empty()).any(has) {
                return None;
            }
        }
        None
    }

    fn is_safe(&self, path: &Path) -> bool {
        std::env::split_paths(self.text("safe_dirs"))
            .any(|safe| !safe.as_os_str().is_empty() && path.starts_with(safe))
    }
}

fn check(file: &File) -> Result<(), String> {
    let facts = file.metadata().map_err(|error| error.to_string())?;
    if !facts.is_file() {
        return Err("is no regular file".to_owned());
    }
    if facts.uid() != rustix::process::geteuid().as_raw() {
        return Err("is not owned by the current user".to_owned());
    }
    match facts.mode() & WORLD_WRITE_BIT {
        0 => Ok(()),
        _ => Err("is world-writable".to_owned()),
    }
}

fn check_trust(line: &Line<'_>, trust: Trust, is_safe: bool) -> Result<(), String> {
    let key = line.key.display();
    let starts_nothing = || {
        let value = line.value.to_string_lossy();
        ["mtime", "content", "none"].contains(&&*value) || value.starts_with("string:")
    };
    match trust {
        Trust::Any => Ok(()),
        Trust::SafeDirectory if is_safe => Ok(()),
        Trust::SafeCommand if is_safe || starts_nothing() => Ok(()),
        Trust::Never => Err(format!("\"{key}\" cannot be set for a directory")),
        _ => Err(format!("\"{key}\" can be set for a directory of safe_dirs only")),
    }
}
