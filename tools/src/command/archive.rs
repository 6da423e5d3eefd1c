//! An export as one stream: an archive of its manifest and its pieces.
//!
//! ```text
//! archive = tar of "pieces/HEX", in the order in which they were made, then of "manifest"
//! ```
//!
//! 1. Files belong to nobody and have no time: the same export is the same archive.
//! 2. What is read is written below a new directory, and only under names of that kind.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use larder_engine::Key;
use larder_engine::sealed::{MANIFEST_NAME, PIECES_NAME};
use tar::{Archive, Builder, EntryType, Header};

use crate::place::{Fault, fault};

/// A directory that goes with this value.
pub struct Folder(PathBuf);

impl Folder {
    /// One below `TMPDIR`, for this user alone.
    pub fn new() -> Result<Folder, Fault> {
        use std::os::unix::fs::DirBuilderExt;
        let place = std::env::temp_dir();
        for number in 0..100 {
            let path = place.join(format!("larder-carry-{}-{number}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return fault(format!("{}: {error}", path.display())),
                Ok(()) => return Ok(Folder(path)),
            }
        }
        fault(format!("{} has no room for another directory", place.display()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The archive of an export that is being written.
pub struct Writer<W: Write>(Builder<W>);

impl<W: Write> Writer<W> {
    /// An archive without a file yet.
    pub fn new(to: W) -> Writer<W> {
        Writer(Builder::new(to))
    }

    /// Adds a file.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        self.0.append_data(&mut header, name, bytes)
    }

    /// Ends it.
    pub fn end(self) -> io::Result<()> {
        self.0.into_inner()?.flush()
    }
}

/// Unpacks an archive below a directory. One that is cut short has no manifest, which stands last.
pub fn read(from: impl Read, top: &Path) -> Result<(), Fault> {
    let failed = |error: std::io::Error| Fault(format!("{}: {error}", top.display()));
    fs::create_dir(top.join(PIECES_NAME)).map_err(failed)?;
    let mut archive = Archive::new(from);
    let entries = archive.entries().map_err(failed)?;
    let (mut is_any, mut has_manifest) = (false, false);
    for entry in entries {
        let Ok(mut entry) = entry else { break };
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let is_piece = name
            .strip_prefix(PIECES_NAME)
            .and_then(|name| name.strip_prefix('/'))
            .is_some_and(|hash| Key::from_hex(hash).is_some());
        if !(is_piece || name == MANIFEST_NAME) || entry.header().entry_type() != EntryType::Regular
        {
            return fault(format!("the archive holds {name:?}, which is no part of an export"));
        }
        is_any = true;
        has_manifest |= name == MANIFEST_NAME;
        let path = top.join(name);
        let mut file = File::options().write(true).create_new(true).open(&path).map_err(failed)?;
        let mut buffer = vec![0; 1 << 20];
        // An error of the archive ends it; one of the disk ends the call.
        while let Ok(count @ 1..) = entry.read(&mut buffer) {
            file.write_all(&buffer[..count]).map_err(failed)?;
        }
    }
    match () {
        () if !is_any => fault("what comes from stdin is no archive of an export"),
        () if !has_manifest => fault("what comes from stdin is cut short: transfer it again"),
        () => Ok(()),
    }
}
