//! The settings of a directory: `.larder.toml`, looked for from the working directory upwards.
//!
//! 1. The first file found counts, and no other. The search ends behind a directory that has one of
//!    `ceiling_markers`, and before one of `ceiling_dirs`. Where there is none, a hit pays for some
//!    files that are not there.
//! 2. Whoever can write such a file decides how others compile below it. So it must be a regular
//!    file, no link, that belongs to the user and that nobody else may write. Another one is not
//!    read, and that is told.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Config;

/// What it is called.
pub(super) const FILE_NAME: &str = ".larder.toml";

/// Nobody but the owner may write.
const FOREIGN_WRITE_BITS: u32 = 0o022;

/// The file for `working_directory`, open, or why the one that is there cannot be used.
pub(super) fn find(
    config: &Config,
    working_directory: &Path,
) -> Option<(PathBuf, Result<File, String>)> {
    for directory in working_directory.ancestors() {
        if config.ceiling_dirs.value.iter().any(|ceiling| ceiling == directory) {
            return None;
        }
        let path = directory.join(FILE_NAME);
        let options = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        match File::options().read(true).custom_flags(options).open(&path) {
            Ok(file) => return Some((path, check(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Some((path, Err(error.to_string()))),
        }
        let has = |marker: &_| rustix::fs::stat(directory.join(marker)).is_ok();
        if config.ceiling_markers.value.iter().any(has) {
            return None;
        }
    }
    None
}

fn check(file: File) -> Result<File, String> {
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err("it belongs to somebody else".to_owned());
    }
    if metadata.mode() & FOREIGN_WRITE_BITS != 0 {
        return Err("others may write it".to_owned());
    }
    Ok(file)
}

/// Whether settings that start programs are taken from this file.
pub(super) fn is_safe(config: &Config, path: &Path) -> bool {
    config.safe_dirs.value.iter().any(|safe| path.starts_with(safe))
}
