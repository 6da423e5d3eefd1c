//! The inputs of a crate's compile, as rustc tells them.
//!
//! 1. Files and their contents; each must be older than the start of this process, see
//!    [`inputs`](super::super::inputs).
//! 2. Variables that `env!` and `option_env!` have read. In a manifest one stands as a path that no
//!    file can have ([`variable_path`]), with the digest of its value.
//! 3. In the same way stand, where a proc macro may run, what it may read ([`MACROS`]), and the
//!    crates behind the externs ([`CRATES`], with their names), which rustc finds by itself.
//! 4. For `mod a` rustc looks for `a.rs` and `a/mod.rs`, and does not take two. So beside each file
//!    the other name of its module is absent.
//! 5. Settings of clippy that are not there, see [`clippy`].
//! 6. What a link has read, see [`links`].
//! 7. Sources of other crates that messages show, see [`snippets`].
//! 8. Where other checkouts may have the crate ([`checkout`](crate::rust::checkout)), paths are
//!    named from the working directory, and this counts ([`DIRECTORY`]) if something else shows
//!    where the checkout stands, or a macro that may run could tell.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::super::Session;
use super::super::records::read_names;
use super::closure::{self, Reach};
use super::{Job, clippy, extra, libraries, links};
use crate::absent::{self, Group};
use crate::digest::Digest;
use crate::files::above;
use crate::link::archive::is_thin;
use crate::manifest::{Input, Manifest, Variant};
use crate::outcome::{Counter, Reason};
use crate::rust::checkout::Checkout;
use crate::rust::coded::{
    BUNDLED, CRATES, DIRECTORY, MACROS, value_digest, variable_of, variable_path,
};
use crate::rust::dep_info::DepInfo;
use crate::rust::key;
use crate::rust::snippets;

/// Files of one `OUT_DIR` that are looked at for one crate.
const OUT_DIR_FILES_MAX: usize = 4096;

/// What stands at a path of a manifest now; `None` if it cannot be told.
pub(super) fn digest(session: &Session<'_>, job: &Job, path: &Path) -> Option<Digest> {
    let bytes = path.as_os_str().as_bytes();
    if !bytes.starts_with(b"\0") {
        return session.digests.digest(path).ok();
    }
    if let Some(found) = links::digest(session, job, path) {
        return found;
    }
    if bytes == MACROS {
        return macros_digest(session).ok();
    }
    if bytes == DIRECTORY {
        return Some(value_digest(Some(job.told.directory.as_os_str())));
    }
    if let Some(names) = bytes.strip_prefix(CRATES) {
        let names = names.split(|byte| *byte == 0);
        return Some(closure::digest(session, &job.made, names, closure::ANY));
    }
    if let Some(names) = bytes.strip_prefix(BUNDLED) {
        let names = names.split(|byte| *byte == 0);
        return Some(closure::digest(session, &job.made, names, closure::LIBRARY));
    }
    Some(value_digest(env::var_os(variable_of(path)?).as_deref()))
}

/// Everything that a proc macro may read, as far as larder looks: variables of cargo, `OUT_DIR`.
pub(super) fn macros_digest(session: &Session<'_>) -> Result<Digest, Reason> {
    let mut variables: Vec<(Vec<u8>, Vec<u8>)> = env::vars_os()
        .filter(|(name, _)| key::may_be_read(name))
        .map(|(name, value)| (name.into_vec(), value.into_vec()))
        .collect();
    variables.sort();
    let mut hasher = blake3::Hasher::new();
    for text in variables.iter().flat_map(|(name, value)| [name, value]) {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text);
    }
    if let Some(root) = env::var_os("OUT_DIR") {
        hasher.update(&tree_digest(session, Path::new(&root))?);
    }
    Ok(*hasher.finalize().as_bytes())
}

/// The contents of a directory and all below it.
fn tree_digest(session: &Session<'_>, root: &Path) -> Result<Digest, Reason> {
    let cannot = |path: &Path, what: &str| {
        let text = format!("{} of OUT_DIR: {what}", path.display());
        Reason::new(Counter::ErrorHashingExtraFile, text)
    };
    let mut hasher = blake3::Hasher::new();
    let mut waiting = vec![root.to_path_buf()];
    let mut count = 0;
    while let Some(directory) = waiting.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(_) if directory == root => break,
            Err(error) => return Err(cannot(&directory, &error.to_string())),
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            count += 1;
            if count > OUT_DIR_FILES_MAX {
                return Err(cannot(root, "it has too many files"));
            }
            let kind = fs::metadata(&path).map_err(|error| cannot(&path, &error.to_string()))?;
            let name = path.strip_prefix(root).unwrap_or(&path).as_os_str().as_bytes();
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
            if kind.is_dir() {
                hasher.update(b"/");
                waiting.push(path);
            } else {
                let digest = session.digests.digest(&path);
                hasher.update(&digest.map_err(|error| cannot(&path, &error.to_string()))?);
            }
        }
    }
    Ok(*hasher.finalize().as_bytes())
}

/// Whether nothing stands where a module would be found twice.
pub(super) fn is_absent(
    session: &Session<'_>,
    job: &Job,
    manifest: &Manifest,
    variant: &Variant,
) -> bool {
    manifest.absent_of(variant).all(|group| {
        let names = read_names(session, &job.direct, manifest);
        let names = || manifest.names_in(&names, &group);
        let Some(directory) = job.place_directory(group.directory) else { return false };
        absent::hold(&session.digests, job.unit(), &directory, group.set, names)
    })
}

/// What is known before a run of what it will read.
pub(super) struct Before {
    pub(super) reach: Reach,
    /// Where a macro may run, what it may read.
    macros: Option<Result<Digest, Reason>>,
}

impl Before {
    pub(super) fn of(session: &Session<'_>, job: &Job) -> Before {
        let reach = Reach::of(session, job);
        let macros = reach.has_macros.then(|| macros_digest(session));
        Before { reach, macros }
    }
}

/// What one compile has read.
pub(super) struct Inputs {
    pub(super) list: Vec<Input>,
    pub(super) absent: Vec<Group>,
}

impl Inputs {
    /// Looks at everything after a run.
    pub(super) fn look(
        session: &Session<'_>,
        job: &Job,
        before: Before,
        info: &DepInfo,
    ) -> Result<Inputs, Reason> {
        session.digests.directories().forget();
        if let Some(text) = reads_more(job, &info.files) {
            return Err(Reason::new(Counter::UnsupportedCodeDirective, text));
        }
        check_archives(job)?;
        let mut list = Vec::with_capacity(info.files.len() + info.variables.len());
        if !info.files.contains(&job.made.source) {
            return Err(modified(&job.made.source, "is not in the dependency file"));
        }
        for path in &info.files {
            list.push(Input { path: shared(job, path), digest: look_before(session, path)? });
        }
        for (path, expected) in &job.named {
            if look_before(session, path)? != *expected {
                return Err(modified(path, "is not what it was"));
            }
        }
        if extra::digest(session, &job.made)? != job.extra {
            return Err(modified(Path::new("extra_inputs"), "are not what they were"));
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
            let path = variable_path(name);
            list.push(Input { path, digest: value_digest(own.as_deref()) });
        }
        let shown = job.checkout.as_ref().and_then(|checkout| shown(checkout, &before, info));
        if let Some(why) = shown {
            list.push(kept(session, job, &why));
        }
        if let Some(digest) = before.macros.transpose()? {
            let path = PathBuf::from(OsStr::from_bytes(MACROS));
            if macros_digest(session)? != digest {
                return Err(modified(Path::new("OUT_DIR"), "is not what it was"));
            }
            list.push(Input { path, digest });
        }
        list.extend(behind_externs(session, job, &before.reach));
        if job.made.bundles() || links::merges(&job.made) {
            list.extend(bundled(session, job, &before.reach)?);
        }
        let mut absent = other_modules(&job.made.source, &info.files);
        if job.is_clippy {
            absent.extend(clippy::absent_files());
        }
        for group in &mut absent {
            group.directory = shared(job, &group.directory);
        }
        Ok(Inputs { list, absent })
    }

    /// Adds the sources of other crates that messages show, or would show if they were there.
    pub(super) fn add_shown(
        &mut self,
        session: &Session<'_>,
        job: &Job,
        said: &[u8],
        info: &DepInfo,
    ) -> Result<(), Reason> {
        let others = snippets::files(said).into_iter().filter(|path| !info.files.contains(path));
        for path in others {
            if path.is_file() {
                let digest = look_before(session, &path)?;
                self.list.push(Input { path: shared(job, &path), digest });
            } else if let Some(name) = path.file_name() {
                let directory = shared(job, above(&path));
                let names = vec![name.as_bytes().to_vec()];
                self.absent.push(Group { directory, prefix: Vec::new(), names });
            }
        }
        Ok(())
    }
}

/// A path as a manifest names it.
fn shared(job: &Job, path: &Path) -> PathBuf {
    let shared = job.checkout.as_ref().and_then(|checkout| checkout.shared(path));
    shared.unwrap_or_else(|| path.to_path_buf())
}

/// What is read that shows where the checkout stands, or may tell.
fn shown(checkout: &Checkout, before: &Before, info: &DepInfo) -> Option<String> {
    if before.macros.is_some() {
        return Some("a macro may run".to_owned());
    }
    let is_shown = |value: &Option<String>| {
        value.as_ref().is_some_and(|value| checkout.shows_in(value.as_bytes()))
    };
    if let Some((name, _)) = info.variables.iter().find(|(_, value)| is_shown(value)) {
        return Some(format!("the variable {name} shows it"));
    }
    // One that cannot be read is looked at in another place.
    let tells = |path: &&PathBuf| {
        !checkout.is_shown_alike(path) || fs::read(path).is_ok_and(|text| checkout.shows_in(&text))
    };
    info.files.iter().find(tells).map(|path| format!("{} shows it", path.display()))
}

/// The working directory as an input, where a result is for that alone.
pub(super) fn kept(session: &Session<'_>, job: &Job, why: &str) -> Input {
    session.log(format_args!("crate {} is kept for its directory: {why}", job.made.name));
    let digest = value_digest(Some(job.told.directory.as_os_str()));
    Input { path: OsStr::from_bytes(DIRECTORY).into(), digest }
}

/// That no archive of native code has its members elsewhere.
fn check_archives(job: &Job) -> Result<(), Reason> {
    match libraries(&job.made, false).into_iter().find(|(_, path)| is_thin(path)) {
        Some((_, path)) => {
            let text = format!("{} is a thin archive: its members lie elsewhere", path.display());
            Err(Reason::new(Counter::CalledForLink, text))
        }
        None => Ok(()),
    }
}

/// What the source says that makes rustc read files of which it does not tell: `#[link]` with a
/// library that is no archive by its name, and assembly text that takes in a file.
fn reads_more(job: &Job, files: &[PathBuf]) -> Option<String> {
    let mut places = job.made.search_paths.iter();
    let has_libraries = places.any(|place| matches!(place.kind.as_str(), "native" | "all"));
    let (mut has_assembly, mut takes_in) = (false, None);
    for path in files {
        let Ok(text) = fs::read(path) else { continue };
        let has = |word: &str| memmem::find(&text, word.as_bytes()).is_some();
        if has_libraries && has("+verbatim") {
            return Some(format!("{} may name a library by any name", path.display()));
        }
        has_assembly |= has("asm!");
        if takes_in.is_none() && (has(".incbin") || has(".include")) {
            takes_in = Some(path);
        }
    }
    let path = takes_in.filter(|_| has_assembly)?;
    Some(format!("{} may take a file into assembly text", path.display()))
}

/// The crates behind the externs, where they stand now.
fn behind_externs(session: &Session<'_>, job: &Job, reach: &Reach) -> Option<Input> {
    let (names, digest) = closure::found(session, &job.made, reach.behind(), closure::ANY);
    let path = OsStr::from_bytes(&[CRATES, &names.join(&0)].concat()).into();
    (!names.is_empty()).then_some(Input { path, digest })
}

/// The libraries that are bundled beside those that the command line names.
fn bundled(session: &Session<'_>, job: &Job, reach: &Reach) -> Result<Option<Input>, Reason> {
    let names = closure::bundled(session, job, reach).ok_or_else(|| {
        let text = "a static library bundles crates that are not all known";
        Reason::new(Counter::CalledForLink, text)
    })?;
    let names_now = names.iter().copied();
    let digest = closure::digest(session, &job.made, names_now, closure::LIBRARY);
    let path = OsStr::from_bytes(&[BUNDLED, &names.join(&0)].concat()).into();
    Ok((!names.is_empty()).then_some(Input { path, digest }))
}

pub(super) fn look_before(session: &Session<'_>, path: &Path) -> Result<Digest, Reason> {
    session.digest_before(path, "compile")
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
}
