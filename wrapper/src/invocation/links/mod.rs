//! One link of C or C++, or one call of `ar`, under `cache_links`: asked for in the store, else run
//! and stored.
//!
//! | input | where | why |
//! |---|---|---|
//! | words, response files expanded | direct key | in their order, names of outputs included: a map and messages show them |
//! | driver and linker, or archiver | direct key | all that they consist of, see [`linker`](crate::identity::linker); the path of the driver, which looks beside itself |
//! | variables | direct key | those of linkers and the loader, and the language of messages |
//! | working directory | no | linkers write the names that they are given |
//! | members, and the old archive | direct key of an archive | the command line names them all |
//! | name of the program | direct key of an archive | `ar` says it in messages |
//! | `extra_files_to_hash`, namespace | direct key | |
//! | every file that the linker has read | manifest | its dependency file and command line name them |
//! | what was searched for in vain | manifest | see [`search`](crate::link::search) |
//! | colours | manifest, where there are messages | |
//! | umask | no | applied when an output is restored |
//!
//! 1. A call comes here only after the parser of compiles has found that it links, and only with
//!    the setting; so without it nothing changes.
//! 2. A hit puts the outputs in place and repeats what was said; no process is started.
//! 3. Only what succeeded is stored. A link that speaks of what larder has added runs once more
//!    without ([`told`]).

mod archive;
mod told;

use std::cell::OnceCell;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::IsTerminal;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use larder_engine::env::{Claim, clock_ns};
use larder_engine::{DropReason, Entry, Key, RecordKind, Section, SectionKind};

use super::account::microseconds;
use super::foresee::Foreseen;
use super::records::{read_names, read_whole_manifest, trace_lookup};
use super::{Session, guarded};
use crate::absent::{self, Group};
use crate::account::{Account, Differs, Obstacle, Part, plain_path};
use crate::capture;
use crate::compiler::{self, Family};
use crate::digest::Digest;
use crate::exec::{self, Capture, Ran, Stream};
use crate::fingerprint::{Row, locale_variables, messages_state, result_key, rows_key};
use crate::identity::linker::{Choice, Linker};
use crate::link::call::Call;
use crate::link::variables;
use crate::manifest::{Input, Manifest, State, Variant};
use crate::outcome::{Counter, Reason};
use crate::restore::{Restorable, Source, Writing};

/// Who waits for another process that makes the same waits so long at most.
const CLAIM_WAIT_MS_MAX: u64 = 60_000;

/// What no time macro has seen.
const NO_MOMENT: Digest = [0; 32];

/// A call that can be cached, and everything that its key is made of.
struct Job {
    what: What,
    linker: Linker,
    directory: PathBuf,
    rows: Vec<Row>,
    direct: Key,
    outputs: Vec<Output>,
    /// Whether colours have to be asked for, because stderr is a terminal.
    is_colored: bool,
}

enum What {
    Link { call: Call, choice: Choice },
    Archive(archive::Making),
}

/// A file that is made.
struct Output {
    role: &'static str,
    path: PathBuf,
    /// Whether a file that stands there is written into.
    is_kept: bool,
    /// Whether it may be run, whatever the umask has left of that.
    is_program: bool,
}

impl Output {
    fn new(role: &'static str, path: PathBuf) -> Output {
        Output { role, path, is_kept: false, is_program: false }
    }
}

enum Answer<'a> {
    Hit(Restorable),
    /// The linker has to run. Others that ask the same wait meanwhile.
    Miss {
        job: Box<Job>,
        claim: Option<Claim<'a>>,
    },
}

/// Whether a call that is no compile is one of these, and they are wanted.
pub(super) fn are_meant(session: &Session<'_>, reason: &Reason) -> bool {
    session.call.config.cache_links.value && reason.counter == Counter::CalledForLink
}

/// The status that this process is to end with; `None` if the linker has yet to run.
pub(super) fn handle(session: &Session<'_>) -> Option<ExitStatus> {
    match guarded(session.call.log, || answer(session)) {
        Some(Ok(Answer::Hit(found))) => {
            session.pass_on(&found.stdout, &found.stderr).then(ExitStatus::default)
        }
        Some(Ok(Answer::Miss { job, claim: _claim })) => {
            let status = run_and_store(session, &job);
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

/// What would become of the call of a dry session.
pub(super) fn foresee(session: &Session<'_>) -> Foreseen {
    let job = match Job::of(session) {
        Ok(job) => job,
        Err(reason) => return Foreseen::Uncached(reason),
    };
    let fits = |manifest: &Manifest| {
        fitting(session, &job, manifest).map(|variant| (variant.result, variant.cost_us))
    };
    if let Some(hit) =
        session.foresee_hit(&job.direct, fits, |found| obstacle(session, &job, found))
    {
        return hit;
    }
    Foreseen::Miss(Box::new(job.account(session)))
}

fn answer<'a>(session: &'a Session<'_>) -> Result<Answer<'a>, Reason> {
    let job = Box::new(Job::of(session)?);
    session.account.borrow_mut().source = plain_path(&job.directory, job.main());
    if session.call.config.recache.value {
        session.count(Counter::Recache);
        session.hinder(Obstacle::Recache);
        return Ok(Answer::Miss { job, claim: None });
    }
    if let Some(found) = look_up(session, &job) {
        return Ok(Answer::Hit(found));
    }
    let claim = session.store.claim(&job.direct, CLAIM_WAIT_MS_MAX).ok().flatten();
    if claim.as_ref().is_some_and(|claim| claim.has_waited) {
        session.log(format_args!("waited for another link of {}", job.main().display()));
        session.counts.borrow_mut().clear();
        if let Some(found) = look_up(session, &job) {
            return Ok(Answer::Hit(found));
        }
    }
    if session.call.config.readonly_direct.value {
        let text = format!("readonly_direct, and no direct hit for {}", job.main().display());
        return Err(Reason::new(Counter::CacheMiss, text));
    }
    Ok(Answer::Miss { job, claim })
}

/// The result, in place.
fn look_up(session: &Session<'_>, job: &Job) -> Option<Restorable> {
    let name = job.main().display();
    let fits = |manifest: &Manifest| {
        fitting(session, job, manifest).map(|variant| (variant.result, variant.cost_us))
    };
    let Some((manifest, variant)) = session.manifest(&job.direct, fits) else {
        session.count(Counter::LocalStorageReadMiss);
        session.count(Counter::DirectCacheMiss);
        session.log(format_args!("no manifest for {name}"));
        session.hinder(Obstacle::NoManifest);
        return None;
    };
    session.count(Counter::LocalStorageReadHit);
    match variant {
        Some((result, cost_us)) => {
            if let Some(found) = restored(session, job, &result) {
                session.count(Counter::DirectCacheHit);
                session.avoided_us.set(cost_us);
                session.log(format_args!("direct hit for {name}"));
                return Some(found);
            }
        }
        None => session.hinder(obstacle(session, job, &manifest)),
    }
    session.count(Counter::DirectCacheMiss);
    session.log(format_args!("no result fits for {name}"));
    None
}

/// The newest variant that fits; each file of the manifest is looked at once at most.
fn fitting<'a>(session: &Session<'_>, job: &Job, manifest: &'a Manifest) -> Option<&'a Variant> {
    let seen: Vec<OnceCell<Option<Digest>>> = vec![OnceCell::new(); manifest.paths().len()];
    let look = |path: usize| -> Option<Digest> {
        let look = || session.digests.digest(manifest.paths().get(path)?).ok();
        *seen.get(path)?.get_or_init(look)
    };
    manifest.newest_first().find(|variant| {
        [0, job.messages()].contains(&variant.messages)
            && manifest.inputs_of(variant).all(|(path, digest)| look(path) == Some(*digest))
            && absent_directory(session, job, manifest, variant).is_none()
    })
}

/// A directory where something may stand that the linker looked for in vain.
fn absent_directory<'a>(
    session: &Session<'_>,
    job: &Job,
    manifest: &'a Manifest,
    variant: &'a Variant,
) -> Option<&'a Path> {
    let names = OnceCell::new();
    let found = manifest.absent_of(variant).find(|group| {
        let read = || read_names(session, &job.direct, manifest);
        let names = || manifest.names_in(names.get_or_init(read), group);
        !absent::hold(&session.digests, job.unit(), group.directory, group.set, names)
    });
    found.map(|group| group.directory)
}

/// What is in the way of the newest variant, where none fits.
fn obstacle(session: &Session<'_>, job: &Job, manifest: &Manifest) -> Obstacle {
    let Some(variant) = manifest.newest_first().next() else { return Obstacle::NoManifest };
    if ![0, job.messages()].contains(&variant.messages) {
        return Obstacle::NoVariant(Differs::Messages);
    }
    for (path, digest) in manifest.inputs_of(variant) {
        let Some(path) = manifest.paths().get(path) else { continue };
        if session.digests.digest(path).ok() != Some(*digest) {
            return Obstacle::NoVariant(Differs::Input(path.to_path_buf()));
        }
    }
    match absent_directory(session, job, manifest, variant) {
        Some(directory) => Obstacle::NoVariant(Differs::Absent(directory.to_path_buf())),
        None => Obstacle::Unknown,
    }
}

/// Puts the files of a result in place; `None` if it is missing, damaged or cannot be written.
fn restored(session: &Session<'_>, job: &Job, key: &Key) -> Option<Restorable> {
    let found = session.result(key)?;
    let Some(files) = restorable(session.source_of(&found), job) else {
        session.note_damaged_result(&found);
        return None;
    };
    session.put_in_place(&found, &files)?;
    trace_lookup(session, job.main(), key, || found.record.head().body_bytes);
    Some(files)
}

/// The files of a result and what is said; `None` if it is damaged or lacks a part.
fn restorable(source: Source<'_>, job: &Job) -> Option<Restorable> {
    let sections = source.record.sections();
    let mut found = Restorable::default();
    // What the call is for comes last.
    for output in job.outputs.iter().rev() {
        let mut places = sections.iter();
        let is_it = |at: &larder_engine::SectionInfo| {
            at.kind == Some(SectionKind::NamedFile) && at.name == output.role.as_bytes()
        };
        let writing = if output.is_kept { Writing::Into } else { Writing::Linked };
        found.add(source, places.position(is_it)?, &output.path, writing)?;
    }
    let text = |kind| match sections.iter().position(|at| at.kind == Some(kind)) {
        Some(section) => source.record.read(section).ok(),
        None => Some(Vec::new()),
    };
    found.stdout = text(SectionKind::Stdout)?;
    found.stderr = text(SectionKind::Stderr)?;
    Some(found)
}

/// Runs the linker, passes on what it says, and stores what it made. `None` if it did not start,
/// or what it said cannot be passed on.
fn run_and_store(session: &Session<'_>, job: &Job) -> Option<ExitStatus> {
    let has_started_after = session.wait_for_start();
    let begun_ns = clock_ns();
    let (ran, telling) = match &job.what {
        What::Link { .. } => told::run(session, job)?,
        What::Archive(_) => (run(session, job, session.call.arguments)?, Ok(None)),
    };
    let cost_us = microseconds(clock_ns().saturating_sub(begun_ns));
    session.account.replace(Account { cost_us, ..job.account(session) });
    if !session.pass_on(&ran.stdout, &ran.stderr) {
        session.log(format_args!("the messages cannot be written: linking anew"));
        return None;
    }
    if !ran.status.success() {
        session.count(Counter::CompileFailed);
        return Some(ran.status);
    }
    let stored = guarded(session.call.log, || {
        session.check_clock(has_started_after)?;
        session.digests.directories().forget();
        let (inputs, absent) = match (&job.what, telling?) {
            (What::Link { .. }, Some(telling)) => telling.look(session, job, &ran)?,
            (What::Archive(_), _) if !ran.stdout.is_empty() && !ran.stderr.is_empty() => {
                return Err(uncached("it speaks on both outputs, whose order is not known"));
            }
            (What::Archive(making), _) => making.look(session, job)?,
            (What::Link { .. }, None) => return Err(uncached("the linker does not tell")),
        };
        store(session, job, (inputs, absent), &ran)
    });
    match stored {
        Some(Ok(())) => session.count_miss(),
        Some(Err(reason)) => session.give_up(&reason),
        None => session.count(Counter::InternalError),
    }
    Some(ran.status)
}

/// Runs the program of the call with these arguments.
fn run(session: &Session<'_>, job: &Job, arguments: &[OsString]) -> Option<Ran> {
    let capture = Capture { stdout: Stream::Collect, stderr: Stream::Collect };
    let ran = match &job.what {
        What::Link { .. } => session.run_compiler(arguments, capture),
        What::Archive(_) => {
            let changes = [(OsStr::new("LARDER_DISABLE"), Some(OsStr::new("1")))];
            exec::run_as(session.call.compiler, session.call.name, arguments, &changes, capture)
        }
    };
    ran.map_err(|error| session.log(format_args!("cannot run the linker: {error}"))).ok()
}

fn store(
    session: &Session<'_>,
    job: &Job,
    (mut inputs, absent): (Vec<Input>, Vec<Group>),
    ran: &Ran,
) -> Result<(), Reason> {
    inputs.sort_by(|one, other| one.path.cmp(&other.path));
    inputs.dedup();
    let mut sections = Vec::with_capacity(job.outputs.len() + 2);
    for output in &job.outputs {
        let read = capture::read(&output.path, SectionKind::NamedFile, session.call.started_ns)?;
        let section = read.ok_or_else(|| {
            let text = format!("{} was not made", output.path.display());
            Reason::new(Counter::CompilerProducedNoOutput, text)
        })?;
        let section = if output.is_program { section.mode(0o777) } else { section };
        sections.push(section.name(output.role.as_bytes()));
    }
    for (kind, text) in [(SectionKind::Stdout, &ran.stdout), (SectionKind::Stderr, &ran.stderr)] {
        if !text.is_empty() {
            sections.push(Section::new(kind, &text[..]));
        }
    }
    if session.call.config.is_read_only() || session.store.is_read_only() {
        session.log(format_args!("not stored: {}", DropReason::ReadOnly));
        return Ok(());
    }
    let is_silent = ran.stdout.is_empty() && ran.stderr.is_empty();
    let messages = if is_silent { 0 } else { job.messages() };
    let result = result_key(&job.direct, &inputs, &NO_MOMENT, messages);
    // Read again, because another process may have added to it meanwhile.
    let mut manifest = read_whole_manifest(session, &job.direct);
    let cost_us = session.account.borrow().cost_us;
    manifest.add(result, &State { messages, cost_us, absent, ..State::default() }, &inputs);
    let entries = vec![
        Entry::new(job.direct, RecordKind::Manifest, manifest.sections()),
        Entry::new(result, RecordKind::Result, sections),
    ];
    session.count(Counter::LocalStorageMiss);
    // Objects are no texts that anybody could compare.
    let account = session.entries_of_account(&job.directory, &[], &result);
    session.put_with(entries, account);
    trace_lookup(session, job.main(), &result, || {
        let record = session.store.get(&result).ok().flatten();
        record.map_or(0, |record| record.head().body_bytes)
    });
    Ok(())
}

fn uncached(text: &str) -> Reason {
    Reason::new(Counter::CalledForLink, text)
}

/// The contents of an input, which has not changed since this process began.
fn look_before(session: &Session<'_>, path: &Path) -> Result<Digest, Reason> {
    session.digest_before(path, "link")
}

impl Job {
    fn of(session: &Session<'_>) -> Result<Job, Reason> {
        if let Some(name) = variables::unsupported() {
            let text = format!("{name} is set");
            return Err(Reason::new(Counter::UnsupportedEnvironmentVariable, text));
        }
        let directory = env::current_dir().map_err(|error| {
            Reason::new(Counter::InternalError, format!("no working directory: {error}"))
        })?;
        let name = session.call.compiler.file_name().unwrap_or_default();
        let words = compiler::expand(session.call.arguments, &directory)?;
        match compiler::family_of(name, session.call.compiler_file) {
            Some((family, _)) => Job::link(session, family, words, directory),
            None => archive::job(session, words, directory),
        }
    }

    fn link(
        session: &Session<'_>,
        family: Family,
        words: Vec<OsString>,
        directory: PathBuf,
    ) -> Result<Job, Reason> {
        let call = Call::of(family, words).map_err(|text| uncached(&text))?;
        if family == Family::Clang && env::var_os("COMPILER_PATH").is_some() {
            return Err(uncached("what clang chooses by COMPILER_PATH is not known"));
        }
        let is_program = !call.is_relocatable;
        let main = Output { is_program, ..Output::new("linked", call.output.clone()) };
        // Linkers write a map into a file that is there.
        let map = call.map.iter();
        let map = map.map(|path| Output { is_kept: true, ..Output::new("map", path.clone()) });
        let outputs: Vec<Output> = std::iter::once(main).chain(map).collect();
        for output in &outputs {
            check_place(&output.path)?;
        }
        let choice = Choice {
            name: session.call.compiler.as_os_str().to_owned(),
            before: Vec::new(),
            words: Choice::words_of(&call.words),
        };
        let linker = Linker::of(&choice, &session.store, &session.digests);
        let linker = linker.map_err(|text| uncached(&text))?;
        let rows = rows(session, &linker, &call.words)?;
        let is_colored =
            exec::wants_colors(family, std::io::stderr().is_terminal(), |name| env::var_os(name));
        let direct = rows_key("link", &rows);
        let what = What::Link { call, choice };
        Ok(Job { what, linker, directory, rows, direct, outputs, is_colored })
    }

    /// What the call is for.
    fn main(&self) -> &Path {
        self.outputs.first().map_or(Path::new(""), |output| &output.path)
    }

    fn messages(&self) -> u64 {
        messages_state(self.is_colored, |name| env::var_os(name))
    }

    /// Where marks of absent names stand.
    fn unit(&self) -> u64 {
        let mut unit = [0; 8];
        unit.copy_from_slice(&self.direct.as_bytes()[..8]);
        u64::from_le_bytes(unit)
    }

    fn account(&self, session: &Session<'_>) -> Account {
        let part = |(path, digest): (&Path, &Digest)| {
            let mut start = [0; 8];
            start.copy_from_slice(&digest[..8]);
            Part { path: path.to_path_buf(), digest: start }
        };
        Account {
            at_ns: session.call.started_ns,
            source: plain_path(&self.directory, self.main()),
            directory: self.directory.clone(),
            compiler: session.call.compiler.to_path_buf(),
            direct: Some(self.direct),
            rows: self.rows.clone(),
            parts: self.linker.parts().map(part).collect(),
            hits_before: session.hits(),
            obstacle: session.obstacle.borrow().clone(),
            ..Account::default()
        }
    }
}

/// What stands where an output goes has to be a file, if anything does.
fn check_place(path: &Path) -> Result<(), Reason> {
    match fs::symlink_metadata(path) {
        Ok(facts) if !facts.is_file() => {
            let text = format!("{} is no regular file", path.display());
            Err(Reason::new(Counter::BadOutputFile, text))
        }
        _ => Ok(()),
    }
}

/// The rows of the direct key that links and archives have.
fn rows(session: &Session<'_>, linker: &Linker, words: &[OsString]) -> Result<Vec<Row>, Reason> {
    let row = |name: &str, fields: Vec<Vec<u8>>| Row { name: name.to_owned(), fields };
    let number = |number: usize| (number as u64).to_le_bytes().to_vec();
    let config = session.call.config;
    let list: Vec<Vec<u8>> = words.iter().map(|word| word.clone().into_vec()).collect();
    let compiler = session.call.compiler.as_os_str().as_bytes().to_vec();
    let mut rows = vec![
        row("namespace", vec![config.namespace.value.clone().into_bytes()]),
        row("toolchain", vec![linker.identity.to_vec()]),
        row("compiler path", vec![compiler]),
        row("arguments", [vec![number(list.len())], list].concat()),
    ];
    let mut named = Vec::new();
    for path in &config.extra_files_to_hash.value {
        let digest = session.digests.digest(path).map_err(|error| {
            let text = format!("cannot read {}: {error}", path.display());
            Reason::new(Counter::ErrorHashingExtraFile, text)
        })?;
        named.extend([path.as_os_str().as_bytes().to_vec(), digest.to_vec()]);
    }
    rows.push(row("named files", [vec![number(named.len() / 2)], named].concat()));
    let of_loader = variables::OF_LOADER
        .into_iter()
        .filter_map(|name| Some((name.as_bytes().to_vec(), Some(env::var_os(name)?.into_vec()))));
    let mut set: Vec<_> = variables::set().chain(of_loader).chain(locale_variables()).collect();
    set.sort();
    for (name, value) in set {
        let name = String::from_utf8_lossy(&name).into_owned();
        rows.push(row(&name, vec![number(1), value.unwrap_or_default()]));
    }
    Ok(rows)
}
