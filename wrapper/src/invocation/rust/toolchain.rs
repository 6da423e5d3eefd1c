//! Which rustc it is.
//!
//! 1. A toolchain is what stands below its root: `bin/rustc`, the driver and its libraries in
//!    `lib`, and the standard libraries of all installed targets in `lib/rustlib/TARGET/lib`. All
//!    count by name and contents, through the digest cache. Programs beside them count where
//!    something is linked, which is not cached so far.
//! 2. A call of rustup's proxy is one of the toolchain that `RUSTUP_TOOLCHAIN` names, as cargo sets
//!    it; else rustup is asked.
//! 3. A rustc whose driver does not stand below such a root is not cached: what it consists of is
//!    not known. Nor is one that is a script, or has unusually many libraries beside it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::Session;
use crate::digest::Digest;
use crate::files::behind_links;
use crate::outcome::{Counter, Reason};

/// What rustup's proxies lead to.
const RUSTUP: &str = "rustup";
/// What the library of the compiler is called.
const DRIVER: &[u8] = b"librustc_driver-";
/// A toolchain has some fifty files for each target.
const FILES_MAX: usize = 1024;

/// A toolchain, and what runs.
pub(super) struct Toolchain {
    pub(super) identity: Digest,
    /// Every file of it that counts.
    pub(super) files: Vec<PathBuf>,
}

impl Toolchain {
    /// The toolchain of the program that was called, which stands at `file` behind all links.
    pub(super) fn of(session: &Session<'_>, file: &Path) -> Result<Toolchain, Reason> {
        let is_proxy = file.file_name() == Some(OsStr::new(RUSTUP));
        let program = if is_proxy { behind_proxy(session)? } else { file.to_path_buf() };
        let program = behind_links(&program);
        let root = program.parent().and_then(Path::parent);
        let root = root.filter(|root| root.join("lib/rustlib").is_dir());
        let root = root.ok_or_else(|| {
            failed(format!("{} does not stand in a toolchain", program.display()))
        })?;
        let mut files = vec![root.join("bin/rustc")];
        if program != files[0] {
            files.push(program.clone());
        }
        libraries_in(&root.join("lib"), &mut files)?;
        let is_driver = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.as_bytes().starts_with(DRIVER))
        };
        if !files.iter().any(is_driver) {
            return Err(failed(format!("{} has no driver in lib", root.display())));
        }
        let rustlib = root.join("lib/rustlib");
        for target in sorted_names(&rustlib)? {
            let place = rustlib.join(&target);
            for part in ["lib", "codegen-backends"] {
                let place = place.join(part);
                if place.is_dir() {
                    libraries_in(&place, &mut files)?;
                }
            }
            files.push(place.join("target.json"));
            if !files.last().is_some_and(|path| path.is_file()) {
                files.pop();
            }
        }
        if files.len() > FILES_MAX {
            return Err(failed(format!("{} has too many libraries", root.display())));
        }
        let mut hasher = blake3::Hasher::new();
        for path in &files {
            let digest = session
                .digests
                .digest(path)
                .map_err(|error| failed(format!("cannot read {}: {error}", path.display())))?;
            let name = path.strip_prefix(root).unwrap_or(path).as_os_str().as_bytes();
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name).update(&digest);
        }
        Ok(Toolchain { identity: *hasher.finalize().as_bytes(), files })
    }
}

/// Adds the libraries of a directory: archives, metadata and shared objects.
fn libraries_in(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), Reason> {
    for name in sorted_names(directory)? {
        let bytes = name.as_bytes();
        let is_library =
            [&b".rlib"[..], b".rmeta", b".so", b".a"].iter().any(|ending| bytes.ends_with(ending))
                || bytes.windows(4).any(|part| part == b".so.");
        if is_library {
            files.push(directory.join(name));
        }
    }
    Ok(())
}

fn sorted_names(directory: &Path) -> Result<Vec<OsString>, Reason> {
    let cannot = |error| failed(format!("cannot list {}: {error}", directory.display()));
    let entries = fs::read_dir(directory).map_err(cannot)?;
    let names = entries.map(|entry| Ok(entry.map_err(cannot)?.file_name()));
    let mut names = names.collect::<Result<Vec<_>, Reason>>()?;
    names.sort();
    Ok(names)
}

/// The program that the proxy would run.
fn behind_proxy(session: &Session<'_>) -> Result<PathBuf, Reason> {
    let name = session.call.compiler.file_name().unwrap_or(OsStr::new("rustc"));
    if let Some(toolchain) = env::var_os("RUSTUP_TOOLCHAIN") {
        let home = env::var_os("RUSTUP_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".rustup")));
        let root = match Path::new(&toolchain).is_absolute() {
            true => Some(PathBuf::from(&toolchain)),
            false => home.map(|home| home.join("toolchains").join(&toolchain)),
        };
        if let Some(program) = root.map(|root| root.join("bin").join(name))
            && program.is_file()
        {
            return Ok(program);
        }
    }
    let mut command = Command::new(RUSTUP);
    command.arg("which").arg(name).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().map_err(|error| failed(format!("cannot ask rustup: {error}")))?;
    let mut path = output.stdout;
    while path.last() == Some(&b'\n') {
        path.pop();
    }
    if !output.status.success() || path.is_empty() {
        return Err(failed("rustup does not tell the toolchain".to_owned()));
    }
    Ok(PathBuf::from(OsString::from_vec(path)))
}

fn failed(text: String) -> Reason {
    Reason::new(Counter::CompilerCheckFailed, text)
}
