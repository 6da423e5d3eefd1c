//! A stored result back into the files that the compile would have written.
//!
//! 1. Every section is read and checked before the first file is touched; one that is cloned has
//!    been checked then or before its last clone. A large one is decompressed as it is written.
//! 2. Each file is written beside its place under a name of its own and then renamed, so that a
//!    kill leaves the old file or the new one, never half of one, and a hard link to the old one
//!    keeps its contents. The dependency file goes first and the object last: a build that sees the
//!    object sees the rest.
//! 3. Modes are what the compiler asks for under the umask of now.
//! 4. Where the compiler writes into a file that stands already, its mode stays, unless the
//!    compiler gives it the mode of a new one. If it also has another name or another owner, must
//!    not be written, or runs as its owner or group (which the kernel takes from a file that is
//!    written to), this is an error, and the compiler does what it does with such a file
//!    ([`Writing`]).
//! 5. Messages follow when all files stand.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use larder_engine::env::{RealFile, clock_ns};
use larder_engine::{Contents, Error, Record, SectionKind, Store, Uncloned};
use rustix::fs::{Access, CWD, RenameFlags, access, renameat_with};

use crate::compiler::{Compile, Family, Output};
use crate::depfile::template;
use crate::place::Place;

/// Set-user-id and set-group-id.
const SET_ID_BITS: u32 = 0o6000;

/// A result that is asked for one call.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Where it stands.
    pub store: &'a Store,
    /// The result.
    pub record: &'a Record,
    /// Whether files are cloned where that can be.
    pub file_clone: bool,
}

/// What a result holds for one call.
#[derive(Debug, Default)]
pub struct Restorable {
    files: Vec<Pending>,
    /// What the compiler wrote to stdout.
    pub stdout: Vec<u8>,
    /// What the compiler wrote to stderr.
    pub stderr: Vec<u8>,
}

impl Restorable {
    /// Adds the file in a section, which goes to `path`; `None` if the section is damaged.
    pub fn add(
        &mut self,
        source: Source<'_>,
        section: usize,
        path: &Path,
        writing: Writing,
    ) -> Option<()> {
        self.files.push(pending(source, section, path, writing)?);
        Some(())
    }

    /// Adds a file with these contents, which is no object and is written into the file that stands
    /// there: a dependency file.
    pub fn add_bytes(&mut self, path: &Path, mode: u32, data: Vec<u8>) {
        self.files.push(Pending::text(path, mode, data));
    }
}

#[derive(Debug)]
struct Pending {
    path: PathBuf,
    mode: u32,
    writing: Writing,
    content: Content,
    /// Whether the statistics count it: an output, and no dependency file.
    is_object: bool,
}

impl Pending {
    /// A file with these contents, which is no object and is written into the file that stands
    /// there.
    fn text(path: &Path, mode: u32, data: Vec<u8>) -> Pending {
        let (path, content) = (path.to_path_buf(), Content::Bytes(data));
        Pending { path, mode, writing: Writing::Into, content, is_object: false }
    }
}

/// Where the bytes of a file come from.
#[derive(Debug)]
enum Content {
    Bytes(Vec<u8>),
    Section {
        contents: Contents,
        /// Why they are not cloned, if that was asked for.
        uncloned: Option<Uncloned>,
    },
    /// The section of this number, whose blocks can be shared.
    Clone(usize),
}

/// How the objects of a result came to their files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    /// Files that share their blocks with the store.
    pub cloned: u64,
    /// Files whose bytes were written.
    pub copied: u64,
    /// Why these were not cloned, where that was asked for.
    pub uncloned: Vec<Uncloned>,
}

impl Restored {
    fn add(&mut self, pending: &Pending, is_cloned: Result<(), Option<Uncloned>>) {
        match is_cloned {
            _ if !pending.is_object => {}
            Ok(()) => self.cloned += 1,
            Err(uncloned) => {
                self.copied += 1;
                self.uncloned.extend(uncloned);
            }
        }
    }
}

/// What a compiler does with a regular file that stands where an output goes (measured with gcc 12,
/// its assembler and `objcopy` of binutils 2.40, and clang 14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writing {
    /// It truncates the file and writes into it: a dependency file, a precompiled header of gcc,
    /// and all that no other case names.
    Into,
    /// It does so and gives the file the mode of a new one: texts and objects of rustc, which are
    /// copied there.
    Copied,
    /// It truncates the file if that is empty, as `mktemp` leaves it; else it removes the file
    /// first and does not ask whether it may be written: an object of gcc, whole or split.
    IntoEmpty,
    /// It replaces the file if it may write it: an object of clang that it compiled, its assembler
    /// text, its precompiled headers, modules and serialized diagnostics.
    Over,
    /// It makes a new one: libraries, programs and metadata of rustc. cargo links these files
    /// elsewhere, and a link keeps its contents.
    Anew,
    /// It makes a new one if there is nothing special about the old one: linkers (measured with
    /// those of binutils 2.40, lld 14 and mold 1.10). They differ where that is empty, has another
    /// name, is a link, or must not be written.
    Linked,
}

impl Writing {
    fn of(output: &Output, compile: &Compile) -> Writing {
        match (compile.family, output.kind) {
            (Family::Gcc, SectionKind::Object | SectionKind::DwarfObject) => Writing::IntoEmpty,
            (Family::Clang, SectionKind::Object) if compile.language.is_assembler() => {
                Writing::Into
            }
            (
                Family::Clang,
                SectionKind::Object | SectionKind::PrecompiledHeader | SectionKind::Diagnostics,
            ) => Writing::Over,
            (Family::Clang, _) if ["assembly", "interface", "module"].contains(&output.name) => {
                Writing::Over
            }
            _ => Writing::Into,
        }
    }
}

/// Reads everything that `compile` asks for; `None` if the record is damaged or lacks a part.
/// A dependency file that was written elsewhere is rendered for `place`.
pub fn read(source: Source<'_>, compile: &Compile, place: Option<&Place>) -> Option<Restorable> {
    let record = source.record;
    let named = |kind, name: &str| {
        let mut sections = record.sections().iter();
        sections.position(|at| at.kind == Some(kind) && at.name == name.as_bytes())
    };
    let find = |kind| named(kind, "");
    let text = |kind| match find(kind) {
        Some(section) => record.read(section).ok(),
        None => Some(Vec::new()),
    };
    let mut files = Vec::with_capacity(compile.outputs.len() + 1);
    if let Some(depfile) = &compile.depfile {
        let section = find(SectionKind::Dependencies)?;
        let mut listed = record.read(section).ok()?;
        if template::is_template(&listed) {
            listed = template::render(&listed, compile.family, place?)?;
        }
        files.push(Pending::text(&depfile.path, mode_of(record, section)?, listed));
    }
    for output in compile.outputs.iter().rev() {
        let writing = Writing::of(output, compile);
        match named(output.kind, output.name) {
            Some(section) => files.push(pending(source, section, &output.path, writing)?),
            None if output.required => return None,
            None => {}
        }
    }
    let (stdout, stderr) = (text(SectionKind::Stdout)?, text(SectionKind::Stderr)?);
    Some(Restorable { files, stdout, stderr })
}

/// Reads what a failed compile left: messages, and the dependency file if `compile` asks for one;
/// `None` if the record is damaged or lacks a part.
pub fn read_failure(source: Source<'_>, compile: &Compile) -> Option<Restorable> {
    let record = source.record;
    let find = |kind| record.sections().iter().position(|at| at.kind == Some(kind));
    let text = |kind| find(kind).map_or(Some(Vec::new()), |section| record.read(section).ok());
    let mut files = Vec::new();
    if let Some(depfile) = &compile.depfile {
        let section = find(SectionKind::Dependencies)?;
        let listed = record.read(section).ok()?;
        files.push(Pending::text(&depfile.path, mode_of(record, section)?, listed));
    }
    let (stdout, stderr) = (text(SectionKind::Stdout)?, text(SectionKind::Stderr)?);
    Some(Restorable { files, stdout, stderr })
}

/// The mode of the file in a section.
fn mode_of(record: &Record, section: usize) -> Option<u32> {
    Some(u32::from(record.sections().get(section)?.mode) & 0o777)
}

fn pending(source: Source<'_>, section: usize, path: &Path, writing: Writing) -> Option<Pending> {
    let record = source.record;
    let mode = mode_of(record, section)?;
    let can_clone = match source.file_clone {
        true => Some(source.store.can_clone(record, section).ok()?),
        false => None,
    };
    let content = match can_clone {
        Some(Ok(())) => Content::Clone(section),
        other => Content::Section {
            contents: record.contents(section).ok()?,
            uncloned: other.and_then(Result::err),
        },
    };
    Some(Pending { path: path.to_path_buf(), mode, writing, content, is_object: true })
}

/// Puts the files in place. After an error those that were renamed stand, which does no harm: the
/// real compiler runs then and writes them all.
///
/// # Errors
/// If a file cannot be written beside its place or renamed; `InvalidData` if the result is damaged.
pub fn write(source: Source<'_>, restorable: &Restorable) -> io::Result<Restored> {
    let mut restored = Restored::default();
    let files = &restorable.files;
    let mut beside: Vec<Beside> = Vec::with_capacity(files.len());
    let mut unwritten: Vec<(&Contents, (usize, File))> = Vec::new();
    for (number, pending) in files.iter().enumerate() {
        let (mut file, new) = Beside::create(pending)?;
        beside.push(new);
        let is_cloned = match &pending.content {
            Content::Bytes(data) => {
                file.write_all(data)?;
                Err(None)
            }
            Content::Clone(section) => {
                let cloned;
                (file, cloned) = clone(source, *section, file, &beside[number].path)?;
                cloned.map_err(Some)
            }
            Content::Section { contents, uncloned } => {
                unwritten.push((contents, (number, file)));
                restored.add(pending, Err(*uncloned));
                continue;
            }
        };
        restored.add(pending, is_cloned);
        beside[number].look_at_old(&file, pending)?;
    }
    Contents::write_all(&unwritten, |(_, file), bytes, at| write_at(file, bytes, at))?;
    for (_, (number, file)) in &unwritten {
        beside[*number].look_at_old(file, &files[*number])?;
    }
    beside.into_iter().zip(files).try_for_each(|(beside, file)| beside.rename(&file.path))?;
    Ok(restored)
}

/// Writes a part of a new file.
fn write_at(mut file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    match at {
        // Where it stands: most files have one part.
        0 => file.write_all(bytes),
        _ => file.write_all_at(bytes, at),
    }
}

/// Fills a new file with the blocks of a section, or else with a copy; then why.
fn clone(
    source: Source<'_>,
    section: usize,
    file: File,
    path: &Path,
) -> io::Result<(File, Result<(), Uncloned>)> {
    let failed = |error: Error| match error.is_corrupt() {
        true => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
        false => io::Error::other(error.to_string()),
    };
    let target = RealFile::adopt(file, path);
    let cloned = source.store.clone_into(source.record, section, &target).map_err(failed)?;
    let file = target.into_file();
    if cloned.is_err() {
        let contents = source.record.contents(section).map_err(failed)?;
        Contents::write_all(&[(&contents, &file)], |file, bytes, at| write_at(file, bytes, at))?;
    }
    Ok((file, cloned))
}

/// A complete file under a name of its own, removed unless it is renamed.
struct Beside {
    path: PathBuf,
    /// Whether a regular file stood in its place when it was written.
    replaces: bool,
}

impl Beside {
    /// Gives the new file what the old one would have kept.
    fn look_at_old(&mut self, file: &File, pending: &Pending) -> io::Result<()> {
        if let Ok(old) = fs::symlink_metadata(&pending.path) {
            inherit(file, &old, pending)?;
            self.replaces = old.is_file();
        }
        Ok(())
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
        Writing::Into | Writing::Copied => true,
        Writing::IntoEmpty => old.len() == 0,
        Writing::Over | Writing::Anew | Writing::Linked => false,
    };
    let is_linked = pending.writing == Writing::Linked;
    if is_linked && (!old.is_file() || old.len() == 0 || old.nlink() != 1) {
        return Err(io::Error::other("the old file is empty, or has another name"));
    }
    if is_written_into || is_linked || pending.writing == Writing::Over {
        access(&pending.path, Access::WRITE_OK)?;
    }
    if is_linked {
        let own = new.metadata()?;
        if (old.uid(), old.gid()) != (own.uid(), own.gid()) {
            return Err(io::Error::other("the old file has another owner"));
        }
    }
    if is_written_into {
        let own = new.metadata()?;
        if old.nlink() != 1 || (old.uid(), old.gid()) != (own.uid(), own.gid()) {
            return Err(io::Error::other("the old file has another name or owner"));
        }
        if old.mode() & SET_ID_BITS != 0 {
            return Err(io::Error::other("the old file runs as its owner or group"));
        }
        if pending.writing != Writing::Copied {
            new.set_permissions(old.permissions())?;
        }
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
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use larder_engine::{Entry, Key, Options, Put, RecordKind};

    /// Writes it with a store that has nothing to do with it.
    fn write_bytes(restorable: &Restorable) -> io::Result<Restored> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), Options::new()).unwrap();
        let key = Key::of(b"");
        let put = store.put(&Entry::new(key, RecordKind::Blob, Vec::new())).unwrap();
        assert_eq!(put, Put::Stored);
        let record = store.get(&key).unwrap().unwrap();
        write(Source { store: &store, record: &record, file_clone: false }, restorable)
    }

    fn restorable(path: &Path, data: &str) -> Restorable {
        let pending = |path: &Path| Pending {
            path: path.into(),
            mode: 0o666,
            writing: Writing::IntoEmpty,
            content: Content::Bytes(data.into()),
            is_object: true,
        };
        Restorable { files: vec![pending(path)], stdout: Vec::new(), stderr: Vec::new() }
    }

    #[test]
    fn a_hard_link_to_the_old_file_keeps_its_contents() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a.o"), dir.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::hard_link(&path, &link).unwrap();
        let restored = write_bytes(&restorable(&path, "new")).unwrap();
        assert_eq!(restored, Restored { cloned: 0, copied: 1, uncloned: Vec::new() });
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_to_string(&link).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    /// An empty file that was set-user-id made the object so.
    #[test]
    fn an_old_file_that_is_set_user_id_is_left_to_the_compiler() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.o");
        for (text, mode, is_restored) in
            [("", 0o755, true), ("", 0o4755, false), ("", 0o2755, false), ("old", 0o6755, true)]
        {
            let _ = fs::remove_file(&path);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let restored = write_bytes(&restorable(&path, "new"));
            assert_eq!(restored.is_ok(), is_restored, "{mode:o}");
            let left = fs::metadata(&path).unwrap();
            assert_eq!(left.mode() & SET_ID_BITS != 0, !is_restored, "{mode:o}");
            assert_eq!(left.len() == 0, !is_restored, "{mode:o}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_failed_restore_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut both = restorable(&dir.path().join("a.o"), "x");
        both.files.extend(restorable(&dir.path().join("missing/a.d"), "x").files);
        assert!(write_bytes(&both).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
