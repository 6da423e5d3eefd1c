//! The inputs of a crate's compile, as rustc tells them.
//!
//! 1. Files and their contents; each must be older than the start of this process, see
//!    [`inputs`](super::super::inputs).
//! 2. Variables that `env!` and `option_env!` have read. In a manifest one stands as a path that no
//!    file can have ([`VARIABLE`]), with the digest of its value.
//! 3. For `mod a` rustc looks for `a.rs` and `a/mod.rs`, and does not take two. So beside each file
//!    the other name of its module is absent.
//! 4. Settings of clippy that are not there, see [`clippy`].
//! 5. What a link has read, see [`links`].

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::super::Session;
use super::super::records::read_names;
use super::{Job, clippy, links};
use crate::absent::{self, Group};
use crate::digest::Digest;
use crate::files::above;
use crate::manifest::{Input, Manifest, Variant};
use crate::outcome::{Counter, Reason};
use crate::rust::dep_info::DepInfo;

/// What a variable's path begins with.
const VARIABLE: &[u8] = b"\0env\0";

/// What stands at a path of a manifest now; `None` if it cannot be told.
pub(super) fn digest(session: &Session<'_>, job: &Job, path: &Path) -> Option<Digest> {
    if path.as_os_str().as_bytes().starts_with(b"\0")
        && let Some(found) = links::digest(session, job, path)
    {
        return found;
    }
    match path.as_os_str().as_bytes().strip_prefix(VARIABLE) {
        Some(name) => Some(value_digest(env::var_os(OsStr::from_bytes(name)).as_deref())),
        None => session.digests.digest(path).ok(),
    }
}

fn value_digest(value: Option<&OsStr>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[u8::from(value.is_some())]);
    hasher.update(value.unwrap_or_default().as_bytes());
    *hasher.finalize().as_bytes()
}

/// Whether nothing stands where a module would be found twice.
pub(super) fn is_absent(
    session: &Session<'_>,
    job: &Job,
    manifest: &Manifest,
    variant: &Variant,
) -> bool {
    manifest.absent_of(variant).all(|group| {
        let names = read_names(session, &job.direct);
        let names = || manifest.names_in(&names, &group);
        let Some(directory) = job.place_directory(group.directory) else { return false };
        absent::hold(&session.digests, job.unit(), &directory, group.set, names)
    })
}

/// What one compile has read.
pub(super) struct Inputs {
    pub(super) list: Vec<Input>,
    pub(super) absent: Vec<Group>,
}

impl Inputs {
    /// Looks at everything after a run.
    pub(super) fn look(session: &Session<'_>, job: &Job, info: &DepInfo) -> Result<Inputs, Reason> {
        session.digests.directories().forget();
        let mut list = Vec::with_capacity(info.files.len() + info.variables.len());
        if !info.files.contains(&job.made.source) {
            return Err(modified(&job.made.source, "is not in the dependency file"));
        }
        for path in &info.files {
            list.push(Input { path: path.clone(), digest: look_before(session, path)? });
        }
        for (path, expected) in &job.named {
            if look_before(session, path)? != *expected {
                return Err(modified(path, "is not what it was"));
            }
        }
        for path in &job.toolchain.files {
            let facts = session.digests.directories().facts(path);
            let facts = facts.map_err(|error| modified(path, &error.to_string()))?;
            if facts.changed_ns() >= session.call.started_ns {
                return Err(modified(path, "changed during the compile"));
            }
        }
        for (name, value) in &info.variables {
            let own = env::var_os(name);
            if own.as_deref() != value.as_deref().map(OsStr::new) {
                let text = format!("rustc has read another value of {name}");
                return Err(Reason::new(Counter::UnsupportedEnvironmentVariable, text));
            }
            let path = [VARIABLE, name.as_bytes()].concat();
            let path = PathBuf::from(OsStr::from_bytes(&path));
            list.push(Input { path, digest: value_digest(own.as_deref()) });
        }
        let mut absent = other_modules(&job.made.source, &info.files);
        if job.is_clippy {
            absent.extend(clippy::absent_settings());
        }
        Ok(Inputs { list, absent })
    }
}

pub(super) fn look_before(session: &Session<'_>, path: &Path) -> Result<Digest, Reason> {
    let seen = session.digests.look(path).map_err(|error| modified(path, &error.to_string()))?;
    if seen.changed_ns >= session.call.started_ns {
        return Err(modified(path, "changed during the compile"));
    }
    Ok(seen.digest)
}

fn modified(path: &Path, what: &str) -> Reason {
    Reason::new(Counter::ModifiedInputFile, format!("{}: {what}", path.display()))
}

/// The other names of the modules in these files, where nothing stands.
fn other_modules(source: &Path, files: &[PathBuf]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for file in files.iter().filter(|file| *file != source) {
        let Some((directory, name)) = other_module(file) else { continue };
        // One that is there is a module of its own, or is not looked for.
        if directory.join(OsStr::from_bytes(&name)).exists() {
            continue;
        }
        match groups.iter_mut().find(|group| group.directory == directory) {
            Some(group) if group.names.contains(&name) => {}
            Some(group) => group.names.push(name),
            None => groups.push(Group { directory, prefix: Vec::new(), names: vec![name] }),
        }
    }
    groups
}

/// For `d/a.rs` the name `a/mod.rs` in `d`, and for `d/a/mod.rs` the name `a.rs`.
fn other_module(file: &Path) -> Option<(PathBuf, Vec<u8>)> {
    let stem = file.file_name()?.as_bytes().strip_suffix(b".rs")?;
    let directory = above(file);
    if stem == b"mod" {
        let module = directory.file_name()?.as_bytes();
        return Some((above(directory).to_path_buf(), [module, b".rs"].concat()));
    }
    Some((directory.to_path_buf(), [stem, b"/mod.rs"].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_has_two_names() {
        let of = |path: &str| other_module(Path::new(path));
        assert_eq!(of("src/a.rs"), Some(("src".into(), b"a/mod.rs".to_vec())));
        assert_eq!(of("src/a/mod.rs"), Some(("src".into(), b"a.rs".to_vec())));
        assert_eq!(of("a/mod.rs"), Some(("".into(), b"a.rs".to_vec())));
        assert_eq!(of("src/x.txt"), None);
    }

    #[test]
    fn a_variable_that_is_empty_is_not_one_that_is_missing() {
        assert_ne!(value_digest(Some(OsStr::new(""))), value_digest(None));
        assert_ne!(value_digest(Some(OsStr::new("a"))), value_digest(Some(OsStr::new("b"))));
    }
}
