//! Files of larder's own, for a moment.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use larder_engine::env::{clock_ns, remove_at_end};

use super::Session;

/// An empty file of larder's own for the compiler to write to; it goes when this is dropped.
pub(super) struct Scratch(PathBuf);

impl Session<'_> {
    /// A scratch file where ccache's settings want it, if they do.
    pub(super) fn scratch(&self) -> io::Result<Scratch> {
        let ccache = self.call.config.ccache.as_deref();
        let Some(directory) = ccache.and_then(|ccache| ccache.temporary_dir.as_ref()) else {
            return Scratch::new();
        };
        fs::create_dir_all(directory)
            .and_then(|()| Scratch::new_in(directory))
            .or_else(|_| Scratch::new())
    }
}

impl Scratch {
    /// Where the directory for temporary files is none, in the usual one, as compilers do.
    pub(super) fn new() -> io::Result<Scratch> {
        Scratch::new_in(&std::env::temp_dir()).or_else(|_| Scratch::new_in(Path::new("/tmp")))
    }

    pub(super) fn new_in(directory: &Path) -> io::Result<Scratch> {
        let mut number = clock_ns();
        loop {
            let path = directory.join(format!("larder-{}-{number:x}.d", std::process::id()));
            match File::options().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(_) => {
                    remove_at_end(Some(&path));
                    return Ok(Scratch(path));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        fs::read(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whoever empties the directory of temporary files may have been faster.
        let _ = fs::remove_file(&self.0);
        remove_at_end(None);
    }
}
