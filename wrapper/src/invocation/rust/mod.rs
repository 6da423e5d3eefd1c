//! One compile of a Rust crate: asked for in the store, else run and stored.
//!
//! 1. The direct key has the call and the contents of its externs ([`crate::rust::key`]). The
//!    manifest below it has, for each remembered state, what rustc said in its dep-info: files with
//!    their contents, variables with their values; and the other places where a module might be.
//! 2. A hit puts all files in place, and only then tells cargo of them and repeats what rustc said.
//!    No process is started.
//! 3. A miss passes on what rustc says while it runs, so that cargo's pipelining works.
//! 4. Of processes that want the same crate at once one compiles, and the others wait for it.
//! 5. What is linked comes back in the same way: its manifest also has what the linker has read,
//!    and what it is itself ([`links`]).

mod account;
mod clippy;
mod closure;
mod coding;
mod extra;
mod inputs;
mod links;
mod native;
mod run;
mod rustup;
mod store;
mod terminal;
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

use self::account::Told;
use self::toolchain::Toolchain;
use super::records::trace_lookup;
use super::{Session, guarded};
use crate::account::Obstacle;
use crate::digest::Digest;
use crate::link;
use crate::manifest::{Manifest, Variant};
use crate::outcome::{Counter, Kind, Reason};
use crate::place::Place;
use crate::rust::arguments::{self, Crate, Emit, Extern};
use crate::rust::checkout::{self, Checkout};
use crate::rust::key::{self, CLIPPY_VARIABLES, Facts, VARIABLES};
use crate::rust::outputs::{self, NOTIFICATION_START, Output};

/// Programs that take rustc's command line.
const RUSTC: &str = "rustc";
const CLIPPY: &str = "clippy-driver";

/// Who waits for another compile of the same crate waits so long at most: it may have been stopped.
const CLAIM_WAIT_MS_MAX: u64 = 60_000;

/// A crate that can be cached, and everything that its key is made of.
struct Job {
    made: Crate,
    /// What rustc is told beside its own words, and where among them.
    added: Vec<String>,
    added_at: usize,
    /// Where paths of the checkout do not count.
    checkout: Option<Checkout>,
    outputs: Vec<Output>,
    toolchain: Toolchain,
    /// Files that the key has: externs, libraries, named files.
    named: Vec<(PathBuf, Digest)>,
    /// What stands at the inputs that the settings name.
    extra: Option<Digest>,
    /// How many of them at the beginning are externs or crates that are found without one.
    crate_count: usize,
    is_clippy: bool,
    told: Told,
    direct: Key,
    /// What the form of messages depends on; never 0.
    messages: u64,
}

pub(super) use self::account::foresee;

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
            session.pass_on(&said.stdout, &said.stderr).then(ExitStatus::default)
        }
        Some(Ok(Answer::Miss { job, claim: _claim })) => {
            let status = store::run_and_store(session, &job);
            let outputs = job.outputs.iter().map(|output| output.path.as_path());
            session.end_if_not_written(status, outputs)
        }
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
        session.hinder(Obstacle::Recache);
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
    let fits = |manifest: &Manifest| {
        fitting(session, job, manifest).map(|variant| (variant.result, variant.cost_us))
    };
    let Some((manifest, variant)) = session.manifest(&job.direct, fits) else {
        session.count(Counter::LocalStorageReadMiss);
        session.count(Counter::DirectCacheMiss);
        session.log(format_args!("no manifest for crate {}", job.made.name));
        session.hinder(Obstacle::NoManifest);
        return None;
    };
    session.count(Counter::LocalStorageReadHit);
    match variant {
        Some((result, cost_us)) => {
            if let Some(said) = restored(session, job, &result) {
                session.count(Counter::DirectCacheHit);
                session.avoided_us.set(cost_us);
                session.log(format_args!("direct hit for crate {}", job.made.name));
                return Some(said);
            }
        }
        None => session.hinder(account::obstacle(session, job, &manifest)),
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
    let found = session.result(key)?;
    let Some((files, said)) = store::restorable(session.source_of(&found), job) else {
        session.note_damaged_result(&found);
        return None;
    };
    session.put_in_place(&found, &files)?;
    trace_lookup(session, &job.made.source, key, || found.record.head().body_bytes);
    Some(said)
}

/// The contents of the files that a call names, or in whose directories it searches.
struct Contents<'a> {
    /// All of them; crates come first.
    named: Vec<(PathBuf, Digest)>,
    crate_count: usize,
    externs: Vec<(&'a Extern, Option<Digest>)>,
    searched: Vec<(String, Digest)>,
    /// Files that options and settings name.
    further: Vec<(PathBuf, Digest)>,
}

impl<'a> Contents<'a> {
    fn of(session: &Session<'_>, made: &'a Crate) -> Result<Contents<'a>, Reason> {
        let digest = |path: &Path| {
            session.digests.digest(path).map_err(|error| {
                let text = format!("{}: {error}", path.display());
                Reason::new(Counter::ErrorHashingExtraFile, text)
            })
        };
        let mut named = Vec::new();
        let mut externs = Vec::with_capacity(made.externs.len());
        for external in &made.externs {
            let contents = external.path.as_deref().map(digest).transpose()?;
            if let (Some(path), Some(contents)) = (&external.path, contents) {
                named.push((path.clone(), contents));
            }
            externs.push((external, contents));
        }
        let mut searched = Vec::new();
        let mut look_in = |is_of_crates: bool, named: &mut Vec<(PathBuf, Digest)>| {
            for (kind, path) in libraries(made, is_of_crates) {
                let contents = digest(&path)?;
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                searched.push((format!("{kind} {name}"), contents));
                named.push((path, contents));
            }
            Ok(())
        };
        look_in(true, &mut named)?;
        let crate_count = named.len();
        look_in(false, &mut named)?;
        let mut further = Vec::with_capacity(made.named_files.len());
        for path in made.named_files.iter().chain(&session.call.config.extra_files_to_hash.value) {
            let digest = digest(path)?;
            named.push((path.clone(), digest));
            further.push((path.clone(), digest));
        }
        Ok(Contents { named, crate_count, externs, searched, further })
    }
}

impl Job {
    fn of(session: &Session<'_>) -> Result<Job, Reason> {
        let called = called(session);
        let words = called.words;
        let mut made = arguments::parse(words)?;
        session.kind.set(Some(Kind::Rust));
        links::check(&made)?;
        let is_clippy = session.call.compiler.file_name() == Some(OsStr::new(CLIPPY));
        clippy::check(&made, is_clippy)?;
        check_variables()?;
        let directory = env::current_dir().map_err(|error| {
            Reason::new(Counter::InternalError, format!("no working directory: {error}"))
        })?;
        let added_at = session.call.arguments.len() - words.len();
        let (mut added, checkout) = checkout(session, &mut made, &directory, is_clippy);
        added.extend(terminal::words(&mut made)?);
        let toolchain = Toolchain::of(session, &called, &made)?;
        let Contents { named, crate_count, externs, searched, further } =
            Contents::of(session, &made)?;
        let before = &session.call.arguments[..added_at];
        let meaning = || native::meaning(session, &toolchain.identity, before);
        let native = made.is_native.then(meaning).transpose()?;
        let mut variables = variables(&made, is_clippy);
        // Of several base directories the others may show.
        if checkout.is_some() && session.call.config.base_dirs.value.len() > 1 {
            let place = directory.as_os_str().as_bytes().to_vec();
            variables.push((b"working directory".to_vec(), Some(place)));
        }
        let extra = extra::digest(session, &made)?;
        let direct = key::direct_key(&Facts {
            namespace: &session.call.config.namespace.value,
            toolchain: &toolchain.identity,
            made: &made,
            directory: &directory,
            checkout: checkout.as_ref(),
            externs: &externs,
            searched: &searched,
            named: &further,
            extra: extra.as_ref(),
            native: native.as_ref(),
            variables: &variables,
            link_words: links::words_of(&made),
        });
        let messages = messages_of(&made);
        let outputs = outputs::of(&made);
        outputs.iter().try_for_each(check_place)?;
        let externs = externs.into_iter().map(|(_, contents)| contents).collect();
        let namespace = session.call.config.namespace.value.clone();
        let told =
            Told { namespace, externs, searched, named: further, native, variables, directory };
        Ok(Job {
            made,
            added,
            added_at,
            checkout,
            outputs,
            toolchain,
            named,
            extra,
            crate_count,
            is_clippy,
            told,
            direct,
            messages,
        })
    }

    /// The words that the compiler gets.
    fn arguments(&self, session: &Session<'_>) -> Vec<OsString> {
        let (before, words) = session.call.arguments.split_at(self.added_at);
        let added = self.added.iter().map(OsString::from);
        before.iter().cloned().chain(added).chain(words.iter().cloned()).collect()
    }

    /// Where marks of absent names stand.
    fn unit(&self) -> u64 {
        let mut unit = [0; 8];
        unit.copy_from_slice(&self.direct.as_bytes()[..8]);
        u64::from_le_bytes(unit)
    }

    /// Crates that the command line names, or that are found beside them.
    fn crates(&self) -> impl Iterator<Item = (&Path, &Digest)> {
        self.named[..self.crate_count].iter().map(|(path, digest)| (path.as_path(), digest))
    }

    fn output(&self, emit: Emit) -> Option<&Output> {
        self.outputs.iter().find(|output| output.emit == emit)
    }
}

/// What rustc is told of a checkout, and the checkout if others may have the crate.
fn checkout(
    session: &Session<'_>,
    made: &mut Crate,
    directory: &Path,
    is_clippy: bool,
) -> (Vec<String>, Option<Checkout>) {
    let config = session.call.config;
    let Some(place) = Place::of(&config.base_dirs.value, directory) else {
        return (Vec::new(), None);
    };
    let added = match config.remap_path_prefix.value {
        true => checkout::words(&place),
        false => Vec::new(),
    };
    let found = if is_clippy {
        Err("clippy looks for its settings".to_owned())
    } else if links::is_linked(made) {
        Err("it is linked".to_owned())
    } else {
        Checkout::of(place, made, &added)
    };
    match found {
        Ok(checkout) => (added, Some(checkout)),
        Err(why) => {
            session.log(format_args!("crate {} is kept for its directory: {why}", made.name));
            // They stand before the others, where the last one that fits is taken.
            let words = added.iter().flat_map(|word| word.split_once('='));
            let words = words.flat_map(|(option, map)| [option.to_owned(), map.to_owned()]);
            made.key_words.splice(..0, words.collect::<Vec<_>>());
            (added, None)
        }
    }
}

/// How the compiler was called.
struct Called<'a> {
    /// Whether rustup stands behind it.
    is_proxy: bool,
    /// What `+TOOLCHAIN` says to rustup.
    plus: Option<&'a OsStr>,
    words: &'a [OsString],
}

/// cargo gives clippy the path of rustc first.
fn called<'a>(session: &Session<'a>) -> Called<'a> {
    let is_proxy = rustup::is_proxy(session.call.compiler_file);
    let (plus, words) = match session.call.arguments {
        [first, rest @ ..] if is_proxy && first.as_bytes().starts_with(b"+") => {
            (Some(OsStr::from_bytes(&first.as_bytes()[1..])), rest)
        }
        all => (None, all),
    };
    let words = match words {
        [first, rest @ ..] if Path::new(first).file_name() == Some(OsStr::new(RUSTC)) => rest,
        all => all,
    };
    Called { is_proxy, plus, words }
}

/// Variables that change what rustc reads or says in ways that nobody follows.
fn check_variables() -> Result<(), Reason> {
    for name in ["RUST_TARGET_PATH", "RUSTC_LOG"] {
        if env::var_os(name).is_some_and(|value| !value.is_empty()) {
            let text = format!("{name} is set");
            return Err(Reason::new(Counter::UnsupportedEnvironmentVariable, text));
        }
    }
    Ok(())
}

/// That what stands where an output goes is a file, and may be written: rustc writes into others,
/// or refuses them.
fn check_place(output: &Output) -> Result<(), Reason> {
    let Ok(facts) = fs::symlink_metadata(&output.path) else { return Ok(()) };
    if facts.is_file() && !facts.permissions().readonly() {
        return Ok(());
    }
    let text = format!("{} is no file that rustc replaces", output.path.display());
    Err(Reason::new(Counter::BadOutputFile, text))
}

/// What the compiler may find in directories without being told its name: crates, or archives of
/// native code. Archives alone are bundled; shared objects of native code are not looked at.
fn libraries(made: &Crate, is_of_crates: bool) -> Vec<(&str, PathBuf)> {
    let (kind, of) = match is_of_crates {
        true => ("crate", closure::is_crate as fn(&Path) -> bool),
        false => ("native", is_archive as fn(&Path) -> bool),
    };
    let places = made.search_paths.iter();
    let places = places.filter(|place| [kind, "all"].contains(&place.kind.as_str()));
    let mut found = Vec::new();
    for place in places {
        let entries = fs::read_dir(&place.path).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| of(path)).collect();
        paths.sort();
        found.extend(paths.into_iter().map(|path| (place.kind.as_str(), path)));
    }
    found
}

fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "a" || ending == "lib" || ending == "o")
}

type Variables = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn variables(made: &Crate, is_clippy: bool) -> Variables {
    let for_clippy = if is_clippy { CLIPPY_VARIABLES } else { &[] };
    let mut variables: Variables = VARIABLES
        .iter()
        .chain(for_clippy)
        .map(|name| (name.as_bytes().to_vec(), env::var_os(name).map(OsStringExt::into_vec)))
        .collect();
    if links::is_linked(made) {
        variables.extend(link::variables::set());
    }
    variables.sort();
    variables.dedup();
    variables
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
