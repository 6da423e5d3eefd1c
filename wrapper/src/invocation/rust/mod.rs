//! One compile of a Rust crate: asked for in the store, else run and stored.
//!
//! 1. The direct key has the call and the contents of its externs ([`crate::rust::key`]). The
//!    manifest below it has, for each remembered state, what rustc said in its dep-info: files with
//!    their contents, variables with their values; and the other places where a module might be.
//! 2. A hit puts all files in place, and only then tells cargo of them and repeats what rustc said.
//!    No process is started.
//! 3. A miss passes on what rustc says while it runs, so that cargo's pipelining works.
//! 4. Of processes that want the same crate at once one compiles, and the others wait for it.
//! 5. What is linked comes back in the same way: its manifest also has what the linker has read, and
//!    what it is itself ([`links`]).

mod clippy;
mod inputs;
mod links;
mod native;
mod run;
mod store;
mod toolchain;

use std::cell::OnceCell;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use larder_engine::Key;
use larder_engine::env::Claim;

use self::toolchain::Toolchain;
use super::records::{read_manifest, trace_lookup};
use super::{Session, guarded, pass_on};
use crate::digest::Digest;
use crate::manifest::{Manifest, Variant};
use crate::outcome::{Counter, Reason};
use crate::rust::arguments::{self, Crate, CrateType, Emit};
use crate::rust::key::{self, CLIPPY_VARIABLES, Facts, VARIABLES};
use crate::rust::outputs::{self, NOTIFICATION_START, Output};

/// Programs that take rustc's command line.
const RUSTC: &str = "rustc";
const CLIPPY: &str = "clippy-driver";

/// Who waits for another compile of the same crate waits so long at most: it may have been stopped.
const CLAIM_WAIT_MS_MAX: u64 = 60_000;

/// Files of one `OUT_DIR` that are looked at for one crate.
const OUT_DIR_FILES_MAX: usize = 4096;

/// A crate that can be cached, and everything that its key is made of.
struct Job {
    made: Crate,
    outputs: Vec<Output>,
    toolchain: Toolchain,
    /// Files that the key has: externs, libraries, named files.
    named: Vec<(PathBuf, Digest)>,
    is_clippy: bool,
    /// Whether a linker runs.
    is_linked: bool,
    direct: Key,
    /// What the form of messages depends on; never 0.
    messages: u64,
}

/// Whether this is a compiler of Rust.
pub(super) fn is_rust(compiler: &Path) -> bool {
    let name = compiler.file_name();
    name == Some(OsStr::new(RUSTC)) || name == Some(OsStr::new(CLIPPY))
}

/// The status that this process is to end with; `None` if the compiler has yet to run.
pub(super) fn handle(session: &Session<'_>) -> Option<ExitStatus> {
    let log = session.call.log;
    match guarded(log, || answer(session)) {
        Some(Ok(Answer::Hit(said))) => {
            pass_on(&said.stdout, &said.stderr).then(ExitStatus::default)
        }
        Some(Ok(Answer::Miss { job, claim: _claim })) => store::run_and_store(session, &job),
        Some(Err(reason)) => {
            session.give_up(&reason);
            None
        }
        None => {
            session.count(Counter::InternalError);
            None
        }
    }
}

enum Answer<'a> {
    Hit(Said),
    /// The compiler has to run. Others that ask the same wait meanwhile.
    Miss {
        job: Box<Job>,
        claim: Option<Claim<'a>>,
    },
}

/// What is said when the files stand.
struct Said {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

fn answer<'a>(session: &'a Session<'_>) -> Result<Answer<'a>, Reason> {
    let job = Box::new(Job::of(session)?);
    if session.call.config.recache.value {
        session.count(Counter::Recache);
        return Ok(Answer::Miss { job, claim: None });
    }
    if let Some(said) = look_up(session, &job) {
        return Ok(Answer::Hit(said));
    }
    let claim = session.store.claim(&job.direct, CLAIM_WAIT_MS_MAX).ok().flatten();
    if claim.as_ref().is_some_and(|claim| claim.has_waited) {
        session.log(format_args!("waited for another compile of crate {}", job.made.name));
        session.counts.borrow_mut().clear();
        if let Some(said) = look_up(session, &job) {
            return Ok(Answer::Hit(said));
        }
    }
    Ok(Answer::Miss { job, claim })
}

/// The result, restored.
fn look_up(session: &Session<'_>, job: &Job) -> Option<Said> {
    let Some(manifest) = read_manifest(session, &job.direct) else {
        session.count(Counter::LocalStorageReadMiss);
        session.count(Counter::DirectCacheMiss);
        session.log(format_args!("no manifest for crate {}", job.made.name));
        return None;
    };
    session.count(Counter::LocalStorageReadHit);
    if let Some(variant) = fitting(session, job, &manifest)
        && let Some(said) = restored(session, job, &variant.result)
    {
        session.count(Counter::DirectCacheHit);
        session.avoided_us.set(variant.cost_us);
        session.log(format_args!("direct hit for crate {}", job.made.name));
        return Some(said);
    }
    session.count(Counter::DirectCacheMiss);
    session.log(format_args!("no result fits for crate {}", job.made.name));
    None
}

/// The newest variant that fits.
fn fitting<'a>(session: &Session<'_>, job: &Job, manifest: &'a Manifest) -> Option<&'a Variant> {
    let seen: Vec<OnceCell<Option<Digest>>> = vec![OnceCell::new(); manifest.paths().len()];
    let look = |path: usize| -> Option<Digest> {
        let look = || inputs::digest(session, job, manifest.paths().get(path)?);
        *seen.get(path)?.get_or_init(look)
    };
    manifest.newest_first().find(|variant| {
        [0, job.messages].contains(&variant.messages)
            && manifest.inputs_of(variant).all(|(path, digest)| look(path) == Some(*digest))
            && inputs::is_absent(session, job, manifest, variant)
    })
}

/// Puts the files of a result in place; `None` if it is missing, damaged or cannot be written.
fn restored(session: &Session<'_>, job: &Job, key: &Key) -> Option<Said> {
    let record = session.result(key)?;
    let source = session.source_of(&record);
    let Some((files, said)) = store::restorable(source, job) else {
        session.note_damaged_result();
        return None;
    };
    session.put_in_place(source, &files)?;
    trace_lookup(session, &job.made.source, key, || record.head().body_bytes);
    Some(said)
}

impl Job {
    fn of(session: &Session<'_>) -> Result<Job, Reason> {
        let (file, words) = called(session);
        let made = arguments::parse(words)?;
        check_kind(&made)?;
        let is_clippy = session.call.compiler.file_name() == Some(OsStr::new(CLIPPY));
        clippy::check(&made, is_clippy)?;
        if env::var_os("RUST_TARGET_PATH").is_some_and(|value| !value.is_empty()) {
            let text = "RUST_TARGET_PATH is set";
            return Err(Reason::new(Counter::UnsupportedEnvironmentVariable, text));
        }
        let directory = env::current_dir().map_err(|error| {
            Reason::new(Counter::InternalError, format!("no working directory: {error}"))
        })?;
        let toolchain = Toolchain::of(session, &file)?;
        let mut named = Vec::new();
        let digest = |path: &Path| {
            session.digests.digest(path).map_err(|error| {
                let text = format!("{}: {error}", path.display());
                Reason::new(Counter::ErrorHashingExtraFile, text)
            })
        };
        let mut externs = Vec::with_capacity(made.externs.len());
        for external in &made.externs {
            let contents = external.path.as_deref().map(digest).transpose()?;
            if let (Some(path), Some(contents)) = (&external.path, contents) {
                named.push((path.clone(), contents));
            }
            externs.push((external, contents));
        }
        let mut contents = Vec::with_capacity(made.named_files.len());
        for path in &made.named_files {
            let digest = digest(path)?;
            named.push((path.clone(), digest));
            contents.push(digest);
        }
        let mut searched = Vec::new();
        for place in made.search_paths.iter().filter(|place| place.kind != "dependency") {
            for path in libraries(&place.path) {
                let contents = digest(&path)?;
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                searched.push((format!("{} {name}", place.kind), contents));
                named.push((path, contents));
            }
        }
        let before = &session.call.arguments[..session.call.arguments.len() - words.len()];
        let meaning = || native::meaning(session, &toolchain.identity, before);
        let native = made.is_native.then(meaning).transpose()?;
        let may_read = may_reach_macros(&made);
        let is_linked = links::is_linked(&made);
        let variables = variables(may_read, is_clippy, is_linked);
        let out_dir = env::var_os("OUT_DIR").filter(|_| may_read);
        let out_dir = out_dir.map(|path| tree_digest(session, Path::new(&path))).transpose()?;
        let direct = key::direct_key(&Facts {
            toolchain: &toolchain.identity,
            made: &made,
            directory: &directory,
            externs: &externs,
            searched: &searched,
            named: &contents,
            native: native.as_ref(),
            variables: &variables,
            link_words: if is_linked { &made.link_words } else { &[] },
            out_dir: out_dir.as_ref(),
        });
        let messages = messages_of(&made);
        let outputs = outputs::of(&made);
        Ok(Job { made, outputs, toolchain, named, is_clippy, is_linked, direct, messages })
    }

    /// Where marks of absent names stand.
    fn unit(&self) -> u64 {
        let mut unit = [0; 8];
        unit.copy_from_slice(&self.direct.as_bytes()[..8]);
        u64::from_le_bytes(unit)
    }

    fn output(&self, emit: Emit) -> Option<&Output> {
        self.outputs.iter().find(|output| output.emit == emit)
    }
}

/// The compiler's file, and its command line. cargo gives clippy the path of rustc first.
fn called<'a>(session: &'a Session<'_>) -> (PathBuf, &'a [OsString]) {
    let file = session.call.compiler_file.to_path_buf();
    match session.call.arguments {
        [first, rest @ ..] if Path::new(first).file_name() == Some(OsStr::new(RUSTC)) => {
            (file, rest)
        }
        all => (file, all),
    }
}

/// What bundles other libraries is not cached, and what is linked only where all of it is known.
fn check_kind(made: &Crate) -> Result<(), Reason> {
    let links = made.emit.iter().any(|(emit, _)| *emit == Emit::Link);
    if links && made.types.contains(&CrateType::Staticlib) {
        let text = "a staticlib bundles other libraries";
        return Err(Reason::new(Counter::CalledForLink, text));
    }
    links::check(made)
}

/// Libraries that the compiler may find in a directory.
fn libraries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let is_library = |path: &PathBuf| {
        let ending = path.extension().map(OsStr::as_bytes);
        matches!(ending, Some(b"a" | b"rlib" | b"rmeta" | b"so" | b"o" | b"lib"))
    };
    let paths = entries.flatten().map(|entry| entry.path()).filter(is_library);
    let mut paths: Vec<PathBuf> = paths.collect();
    paths.sort();
    paths
}

/// Whether a proc macro may run: one is named, or stands where dependencies of dependencies are.
fn may_reach_macros(made: &Crate) -> bool {
    let is_macro = |path: &Path| path.extension() == Some(OsStr::new("so"));
    let named = made.externs.iter().filter_map(|external| external.path.as_deref());
    named.into_iter().any(is_macro)
        || made.search_paths.iter().any(|place| {
            let entries = fs::read_dir(&place.path).into_iter().flatten().flatten();
            !made.externs.is_empty() && entries.into_iter().any(|entry| is_macro(&entry.path()))
        })
}

type Variables = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn variables(may_be_read: bool, is_clippy: bool, is_linked: bool) -> Variables {
    let for_clippy = if is_clippy { CLIPPY_VARIABLES } else { &[] };
    let mut variables: Variables = VARIABLES
        .iter()
        .chain(for_clippy)
        .map(|name| (name.as_bytes().to_vec(), env::var_os(name).map(OsStringExt::into_vec)))
        .collect();
    if may_be_read {
        let read = env::vars_os().filter(|(name, _)| key::may_be_read(name));
        variables.extend(read.map(|(name, value)| (name.into_vec(), Some(value.into_vec()))));
    }
    if is_linked {
        variables.extend(links::variables());
    }
    variables.sort();
    variables.dedup();
    variables
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
                waiting.push(path);
            } else {
                let digest = session.digests.digest(&path);
                hasher.update(&digest.map_err(|error| cannot(&path, &error.to_string()))?);
            }
        }
    }
    Ok(*hasher.finalize().as_bytes())
}

fn messages_of(made: &Crate) -> u64 {
    let mut bytes = Vec::new();
    for word in &made.message_words {
        bytes.extend_from_slice(&(word.len() as u64).to_le_bytes());
        bytes.extend_from_slice(word.as_bytes());
    }
    larder_engine::checksum::xxh3_64(&bytes, 0).max(1)
}

/// Whether something is said beside notifications.
fn has_messages(said: &[u8]) -> bool {
    said.split_inclusive(|byte| *byte == b'\n').any(|line| !line.starts_with(NOTIFICATION_START))
}
