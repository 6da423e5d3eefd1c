//! Which rustc it is.
//!
//! 1. A toolchain is what stands below its root: `bin/rustc`, the driver and its libraries in
//!    `lib`, code generators, and in `lib/rustlib/TARGET/lib` the standard libraries of the target
//!    that is compiled for. Of a library that has metadata beside it these are what is read, unless
//!    libraries are bundled: then all count, with those that stand there for C. Programs beside
//!    them count where something is linked, which is not cached so far.
//! 2. What it consists of is found by listing, and by asking rustc for its own target. It is
//!    remembered with the state of the listed directories, for one start of the machine. A hit
//!    looks at each directory and, through the digest cache, at each file; it lists nothing.
//! 3. A directory that changed a moment ago may change again without showing it; then nothing is
//!    remembered. Nor on file systems that the digest cache does not trust.
//! 4. A rustc whose driver does not stand below such a root is not cached: what it consists of is
//!    not known. Nor is one that is a script, or has unusually many libraries beside it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use larder_engine::env::{boot_id, clock_ns};
use larder_engine::{Entry, RecordKind, Section, SectionKind};

use super::super::Session;
use super::super::records::read_section;
use super::coding::{put_number, put_text, take, take_digest, take_number, take_path};
use super::{Called, rustup};
use crate::digest::Digest;
use crate::files::{Facts, behind_links};
use crate::outcome::{Counter, Reason};
use crate::rust::arguments::Crate;
use crate::rust::key::toolchain_key;

const MAGIC: &[u8; 4] = b"LRT1";
/// A file of the standard library's sources, by which rustc finds them.
const LIBRARY_SOURCE: &str = "lib/rustlib/src/rust/library/std/src/lib.rs";
/// What the library of the compiler is called.
const DRIVER: &[u8] = b"librustc_driver-";
/// Shared objects of a target that are no proc macros.
const NO_MACROS: [&[u8]; 4] = [b"libstd-", b"libtest-", b"librustc_driver-", b"libLLVM"];
/// A toolchain has some fifty files for each target.
const FILES_MAX: usize = 1024;
/// A directory that has changed within this time may change unseen: two seconds of a file system
/// that counts whole ones.
const SETTLED_NS: u64 = 2_000_000_000;

/// A toolchain, and what runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Toolchain {
    pub(super) identity: Digest,
    /// Every file of it that counts.
    pub(super) files: Vec<PathBuf>,
    /// Whether proc macros stand in it (`rustc-dev`).
    pub(super) has_macros: bool,
}

/// What a toolchain was found to consist of.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Parts {
    root: PathBuf,
    /// Directories that were listed, each with a digest of its state.
    directories: Vec<(PathBuf, Digest)>,
    files: Vec<(PathBuf, Digest)>,
}

impl Toolchain {
    /// The toolchain of the program that was called, as far as it matters for a crate.
    pub(super) fn of(
        session: &Session<'_>,
        called: &Called<'_>,
        made: &Crate,
    ) -> Result<Toolchain, Reason> {
        let program = match called.is_proxy {
            true => rustup::program(session, called.plus)?,
            false => session.call.compiler_file.to_path_buf(),
        };
        let program = behind_links(&program);
        if called.is_proxy {
            session.log(format_args!("toolchain {}", program.display()));
        }
        let (target, is_whole) = (made.target.as_deref(), made.bundles());
        let key = toolchain_key(&program, target, is_whole, &boot_id());
        let known = read_section(session, &key, RecordKind::Blob, SectionKind::Data);
        let known = known.and_then(|bytes| Parts::decode(&bytes));
        if let Some(parts) = known.filter(|parts| parts.are_current(session)) {
            return Ok(parts.toolchain());
        }
        let parts = Parts::find(session, &program, target, is_whole)?;
        if parts.are_settled(session) {
            let section = Section::new(SectionKind::Data, parts.encode());
            // What cannot be remembered is looked for again.
            let _ = session.store.put(&Entry::new(key, RecordKind::Blob, vec![section]));
        }
        Ok(parts.toolchain())
    }
}

impl Parts {
    fn find(
        session: &Session<'_>,
        program: &Path,
        target: Option<&str>,
        is_whole: bool,
    ) -> Result<Parts, Reason> {
        let root = program.parent().and_then(Path::parent);
        let root = root.filter(|root| root.join("lib/rustlib").is_dir());
        let root = root.ok_or_else(|| {
            failed(format!("{} does not stand in a toolchain", program.display()))
        })?;
        let rustc = root.join("bin/rustc");
        let own_target = own_target(&rustc)?;
        let mut list = List { files: vec![rustc], directories: Vec::new() };
        if program != list.files[0] {
            list.files.push(program.to_path_buf());
        }
        list.add(&root.join("lib"), is_library)?;
        let is_driver = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.as_bytes().starts_with(DRIVER))
        };
        if !list.files.iter().any(is_driver) {
            return Err(failed(format!("{} has no driver in lib", root.display())));
        }
        let rustlib = root.join("lib/rustlib");
        list.add_state(&rustlib);
        let own = rustlib.join(&own_target);
        list.add_state(&own);
        list.add(&own.join("codegen-backends"), is_library)?;
        // A file that describes a target is called as the target.
        let name = target.map_or(Some(OsStr::new(&own_target)), |target| {
            Path::new(target.strip_suffix(".json").unwrap_or(target)).file_name()
        });
        let place = rustlib.join(name.unwrap_or_default());
        if place != own {
            list.add_state(&place);
        }
        let description = place.join("target.json");
        list.files.extend(description.is_file().then_some(description));
        let libraries = place.join("lib");
        let first = list.files.len();
        list.add(&libraries, is_library)?;
        if is_whole {
            list.add(&libraries.join("self-contained"), |_| true)?;
        } else {
            list.keep_what_is_read(first);
        }
        if list.files.len() > FILES_MAX {
            return Err(failed(format!("{} has too many libraries", root.display())));
        }
        let digest = |path: PathBuf| match session.digests.digest(&path) {
            Ok(digest) => Ok((path, digest)),
            Err(error) => Err(failed(format!("cannot read {}: {error}", path.display()))),
        };
        let List { files, directories } = list;
        let files = files.into_iter().map(digest).collect::<Result<_, _>>()?;
        Ok(Parts { root: root.to_path_buf(), directories, files })
    }

    fn are_current(&self, session: &Session<'_>) -> bool {
        let is_same_state = |(path, known): &(PathBuf, Digest)| state(path) == *known;
        let is_same = |(path, known): &(PathBuf, Digest)| {
            session.digests.digest(path).is_ok_and(|digest| digest == *known)
        };
        self.directories.iter().all(is_same_state) && self.files.iter().all(is_same)
    }

    /// Whether a later change would show.
    fn are_settled(&self, session: &Session<'_>) -> bool {
        let end = clock_ns().saturating_sub(SETTLED_NS);
        self.directories.iter().all(|(path, known)| match Facts::at(path) {
            Ok(facts) => {
                facts.changed_ns() < end
                    && state(path) == *known
                    && session.digests.is_trusted(path, facts.device)
            }
            Err(_) => true,
        })
    }

    fn toolchain(self) -> Toolchain {
        let mut hasher = blake3::Hasher::new();
        // With the sources of the standard library rustc shows where they stand.
        if self.root.join(LIBRARY_SOURCE).is_file() {
            let root = self.root.as_os_str().as_bytes();
            hasher.update(&(root.len() as u64).to_le_bytes()).update(root);
        }
        for (path, digest) in &self.files {
            let name = path.strip_prefix(&self.root).unwrap_or(path).as_os_str().as_bytes();
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name).update(digest);
        }
        let rustlib = self.root.join("lib/rustlib");
        let files: Vec<PathBuf> = self.files.into_iter().map(|(path, _)| path).collect();
        let has_macros = files.iter().any(|path| path.starts_with(&rustlib) && is_macro(path));
        Toolchain { identity: *hasher.finalize().as_bytes(), files, has_macros }
    }

    /// `magic root [directory] [file]`, lists with a count, each path with its digest behind it.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        put_text(&mut bytes, self.root.as_os_str().as_bytes());
        for list in [&self.directories, &self.files] {
            put_number(&mut bytes, list.len());
            for (path, digest) in list {
                put_text(&mut bytes, path.as_os_str().as_bytes());
                bytes.extend(digest);
            }
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Parts> {
        let mut rest = bytes;
        take(&mut rest, MAGIC.len()).filter(|magic| magic == MAGIC)?;
        let root = take_path(&mut rest)?;
        let mut lists = [Vec::new(), Vec::new()];
        for list in &mut lists {
            for _ in 0..take_number(&mut rest)? {
                list.push((take_path(&mut rest)?, take_digest(&mut rest)?));
            }
        }
        let [directories, files] = lists;
        rest.is_empty().then_some(Parts { root, directories, files })
    }
}

/// What is being listed.
struct List {
    files: Vec<PathBuf>,
    directories: Vec<(PathBuf, Digest)>,
}

impl List {
    /// Adds the state of a directory: what appears in it is seen.
    fn add_state(&mut self, directory: &Path) {
        self.directories.push((directory.to_path_buf(), state(directory)));
    }

    /// Adds files of a directory, sorted; none if it is missing.
    fn add(&mut self, directory: &Path, counts: impl Fn(&[u8]) -> bool) -> Result<(), Reason> {
        self.add_state(directory);
        if !directory.is_dir() {
            return Ok(());
        }
        let cannot = |error| failed(format!("cannot list {}: {error}", directory.display()));
        let entries = fs::read_dir(directory).map_err(cannot)?;
        let names = entries.map(|entry| Ok(entry.map_err(cannot)?.file_name()));
        let mut names = names.collect::<Result<Vec<OsString>, Reason>>()?;
        names.retain(|name| counts(name.as_bytes()));
        names.sort();
        let paths = names.iter().map(|name| directory.join(name));
        self.files.extend(paths.filter(|path| path.is_file()));
        Ok(())
    }

    /// Of the files from `first` on, keeps for each crate what rustc reads of it.
    fn keep_what_is_read(&mut self, first: usize) {
        let all = self.files.split_off(first);
        let has = |path: &Path, ending| all.contains(&path.with_extension(ending));
        let is_read = |path: &&PathBuf| match path.extension().map(OsStr::as_bytes) {
            Some(b"rmeta") => true,
            Some(b"rlib") => !has(path, "rmeta"),
            Some(b"so") => !has(path, "rmeta") && !has(path, "rlib"),
            _ => false,
        };
        self.files.extend(all.iter().filter(is_read).cloned());
    }
}

/// Archives, metadata and shared objects.
fn is_library(name: &[u8]) -> bool {
    [&b".rlib"[..], b".rmeta", b".so", b".a"].iter().any(|ending| name.ends_with(ending))
        || name.windows(4).any(|part| part == b".so.")
}

/// Whether a library of a target may be a proc macro.
fn is_macro(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let is_known = |start: &&[u8]| name.starts_with(start);
    path.extension() == Some(OsStr::new("so")) && !NO_MACROS.iter().any(is_known)
}

/// What the kernel tells of a directory.
fn state(path: &Path) -> Digest {
    let mut hasher = blake3::Hasher::new();
    if let Ok(facts) = Facts::at(path) {
        for number in [facts.device, facts.inode, facts.mtime_ns(), facts.ctime_ns()] {
            hasher.update(&number.to_le_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}

/// What rustc compiles for without `--target`.
fn own_target(rustc: &Path) -> Result<String, Reason> {
    let mut command = Command::new(rustc);
    command.arg("-vV").env("LARDER_DISABLE", "1");
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output();
    let output =
        output.map_err(|error| failed(format!("cannot ask {}: {error}", rustc.display())))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let own = text.lines().find_map(|line| line.strip_prefix("host: "));
    own.map(str::to_owned).ok_or_else(|| failed("rustc does not tell its target".to_owned()))
}

fn failed(text: String) -> Reason {
    Reason::new(Counter::CompilerCheckFailed, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_of_a_crate_is_its_metadata_or_what_has_them() {
        let files = ["a.rmeta", "a.rlib", "a.so", "b.rlib", "b.so", "c.so", "d.a"];
        let files = files.iter().map(PathBuf::from).collect();
        let mut list = List { files, directories: Vec::new() };
        list.keep_what_is_read(0);
        assert_eq!(list.files, ["a.rmeta", "b.rlib", "c.so"].map(PathBuf::from));
    }

    #[test]
    fn macros_of_a_toolchain_are_told_from_its_libraries() {
        for (path, is) in [
            ("lib/libstd-0.so", false),
            ("lib/librustc_driver-0.so", false),
            ("lib/librustc_macros-0.so", true),
            ("lib/libcore-0.rlib", false),
        ] {
            assert_eq!(is_macro(Path::new(path)), is, "{path}");
        }
    }

    #[test]
    fn decode_is_the_inverse_of_encode_and_damage_is_nothing() {
        let list = |name: &str| vec![(PathBuf::from(name), [7; 32])];
        let parts = Parts { root: "r".into(), directories: list("d"), files: list("f") };
        let bytes = parts.encode();
        assert_eq!(Parts::decode(&bytes), Some(parts));
        (0..bytes.len()).for_each(|length| assert_eq!(Parts::decode(&bytes[..length]), None));
    }
}
