//! A stored result back into the files that the compile would have written.
//!
//! 1. Every section is read and checked before the first file is touched.
//! 2. Each file is written beside its place under a name of its own and then renamed, so that a
//!    kill leaves the old file or the new one, never half of one, and a hard link to the old one
//!    keeps its contents. The dependency file goes first and the object last: a build that sees the
//!    object sees the rest.
//! 3. Modes are what the compiler asks for under the umask of now.
//! 4. Where the compiler writes into a file that stands already, its mode stays. If it also has
//!    another name or another owner, or must not be written, this is an error, and the compiler
//!    does what it does with such a file ([`Writing`]).
//! 5. Messages follow when all files stand.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use larder_engine::env::clock_ns;
use larder_engine::{Record, SectionKind};
use rustix::fs::{Access, CWD, RenameFlags, access, renameat_with};

use crate::compiler::{Compile, Family};

/// What a result holds for one call.
#[derive(Debug)]
pub struct Restorable {
    files: Vec<Pending>,
    /// What the compiler wrote to stdout.
    pub stdout: Vec<u8>,
    /// What the compiler wrote to stderr.
    pub stderr: Vec<u8>,
}

#[derive(Debug)]
struct Pending {
    path: PathBuf,
    mode: u32,
    writing: Writing,
    data: Vec<u8>,
}

/// What a compiler does with a regular file that stands where an output goes (measured with gcc 12,
/// its assembler of binutils 2.40, and clang 14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Writing {
    /// It truncates the file and writes into it: a dependency file.
    Into,
    /// It does so if the file is empty, as `mktemp` leaves it; else it removes the file first and
    /// does not ask whether it may be written: an object of gcc.
    IntoEmpty,
    /// It replaces the file if it may write it: an object of clang.
    Over,
}

/// Reads everything that `compile` asks for out of `record`; `None` if the record is damaged or
/// lacks a part.
pub fn read(record: &Record, compile: &Compile) -> Option<Restorable> {
    let find = |kind| record.sections().iter().position(|section| section.kind == Some(kind));
    let text = |kind| match find(kind) {
        Some(section) => record.read(section).ok(),
        None => Some(Vec::new()),
    };
    let mut files = Vec::with_capacity(compile.outputs.len() + 1);
    if let Some(depfile) = &compile.depfile {
        let section = find(SectionKind::Dependencies)?;
        files.push(pending(record, section, &depfile.path, Writing::Into)?);
    }
    let writing = match compile.family {
        Family::Gcc => Writing::IntoEmpty,
        Family::Clang => Writing::Over,
    };
    for output in compile.outputs.iter().rev() {
        match find(output.kind) {
            Some(section) => files.push(pending(record, section, &output.path, writing)?),
            None if output.required => return None,
            None => {}
        }
    }
    let (stdout, stderr) = (text(SectionKind::Stdout)?, text(SectionKind::Stderr)?);
    Some(Restorable { files, stdout, stderr })
}

fn pending(record: &Record, section: usize, path: &Path, writing: Writing) -> Option<Pending> {
    let mode = u32::from(record.sections().get(section)?.mode) & 0o777;
    let data = record.read(section).ok()?;
    Some(Pending { path: path.to_path_buf(), mode, writing, data })
}

/// Puts the files in place. After an error those that were renamed stand, which does no harm: the
/// real compiler runs then and writes them all.
///
/// # Errors
/// If a file cannot be written beside its place or renamed.
pub fn write(restorable: &Restorable) -> io::Result<()> {
    let mut beside: Vec<Beside> = Vec::with_capacity(restorable.files.len());
    for file in &restorable.files {
        beside.push(Beside::write(file)?);
    }
    beside
        .into_iter()
        .zip(&restorable.files)
        .try_for_each(|(beside, file)| beside.rename(&file.path))
}

/// A complete file under a name of its own, removed unless it is renamed.
struct Beside {
    path: PathBuf,
    /// Whether a regular file stood in its place when it was written.
    replaces: bool,
}

impl Beside {
    fn write(pending: &Pending) -> io::Result<Beside> {
        let (mut file, mut beside) = Beside::create(pending)?;
        file.write_all(&pending.data)?;
        if let Ok(old) = fs::symlink_metadata(&pending.path) {
            inherit(&file, &old, pending)?;
            beside.replaces = old.is_file();
        }
        Ok(beside)
    }

    fn create(pending: &Pending) -> io::Result<(File, Beside)> {
        let directory = pending.path.parent().unwrap_or(Path::new(""));
        let mut number = clock_ns();
        loop {
            // Short, so that it fits wherever the output's own name does.
            let path = directory.join(format!(".larder-{}-{number:x}", std::process::id()));
            // The kernel applies the umask, or the directory's default access list.
            match File::options().write(true).create_new(true).mode(pending.mode).open(&path) {
                Ok(file) => return Ok((file, Beside { path, replaces: false })),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn rename(mut self, path: &Path) -> io::Result<()> {
        // ext4 writes a file out at once when it is renamed over another. Exchanging the two avoids
        // that, and leaves the old file or the new one at every moment, too. The old one goes when
        // this is dropped.
        let exchange = || renameat_with(CWD, &self.path, CWD, path, RenameFlags::EXCHANGE);
        if self.replaces && exchange().is_ok() {
            return Ok(());
        }
        fs::rename(&self.path, path)?;
        self.path = PathBuf::new();
        Ok(())
    }
}

/// Gives a new file what the one that it replaces would have kept.
fn inherit(new: &File, old: &Metadata, pending: &Pending) -> io::Result<()> {
    let is_written_into = match pending.writing {
        Writing::Into => true,
        Writing::IntoEmpty => old.len() == 0,
        Writing::Over => false,
    };
    if is_written_into || pending.writing == Writing::Over {
        access(&pending.path, Access::WRITE_OK)?;
    }
    if is_written_into {
        let own = new.metadata()?;
        if old.nlink() != 1 || (old.uid(), old.gid()) != (own.uid(), own.gid()) {
            return Err(io::Error::other("the old file has another name or owner"));
        }
        new.set_permissions(old.permissions())?;
    }
    Ok(())
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // It may be gone with its directory.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restorable(path: &Path, data: &str) -> Restorable {
        let pending = |path: &Path| Pending {
            path: path.into(),
            mode: 0o666,
            writing: Writing::IntoEmpty,
            data: data.into(),
        };
        Restorable { files: vec![pending(path)], stdout: Vec::new(), stderr: Vec::new() }
    }

    #[test]
    fn a_hard_link_to_the_old_file_keeps_its_contents() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a.o"), dir.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::hard_link(&path, &link).unwrap();
        write(&restorable(&path, "new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_to_string(&link).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_failed_restore_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut both = restorable(&dir.path().join("a.o"), "x");
        both.files.extend(restorable(&dir.path().join("missing/a.d"), "x").files);
        assert!(write(&both).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
