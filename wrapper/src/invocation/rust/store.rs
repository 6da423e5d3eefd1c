//! Results of crates: made by a run, and read for a hit.
//!
//! A result has a section for each file, named by its role; the dependency file and what was said
//! stand in it with roles in the places of paths, so that they are right for any output directory:
//!
//! - in the dependency file a target that is an output is `\0ROLE\0`;
//! - a notification is a line `\0ROLE\n`;
//! - where other checkouts may have the crate, the dependency file names paths below the base
//!   directory from the working directory.

use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitStatus;

use larder_engine::{Entry, RecordKind, Section, SectionKind};
use memchr::memmem;

use super::super::account::microseconds;
use super::super::records::{read_whole_manifest, trace_lookup};
use super::super::scratch::Scratch;
use super::super::{Session, guarded};
use super::closure::Reach;
use super::inputs::{Before, Inputs, kept};
use super::links::{self, Held, Telling};
use super::{Job, Said, account, closure, has_messages, run};
use crate::capture;
use crate::exec::{self, Capture, Ran, Stream, is_binary};
use crate::manifest::State;
use crate::outcome::{Counter, Reason};
use crate::restore::{Restorable, Source, Writing};
use crate::rust::arguments::{Emit, without_emit};
use crate::rust::dep_info;
use crate::rust::key::result_key;
use crate::rust::outputs::{self, NOTIFICATION_START, Output};

/// What the role of a file of split debug information begins with; the rest of its name follows.
const SPLIT: &str = "dwo:";

/// What rustc says where it cannot reach the jobserver that a variable names.
const JOBSERVER: &[u8] = b"failed to connect to jobserver";

/// Runs the compiler and stores what it made. `None` if it did not start.
pub(super) fn run_and_store(session: &Session<'_>, job: &Job) -> Option<ExitStatus> {
    let before = guarded(session.call.log, || Before::of(session, job))?;
    let has_started_after = session.wait_for_start();
    let begun_ns = larder_engine::env::clock_ns();
    let telling = links::is_linked(&job.made).then(|| {
        guarded(session.call.log, || Telling::new(session, job)).unwrap_or_else(|| Err(panicked()))
    });
    let metadata = job.output(Emit::Metadata).map(|it| (it, outputs::notification(it)));
    let is_remembered = Cell::new(false);
    let on_line = |line: &[u8]| {
        if let Some((output, _)) = metadata.as_ref().filter(|(_, told)| told.as_bytes() == line) {
            let remember = || before.reach.remember(session, job, &output.path);
            is_remembered.set(guarded(session.call.log, remember) == Some(true));
        }
    };
    let (ran, told) = run_telling(session, job, telling, on_line)?;
    let cost_us = microseconds(larder_engine::env::clock_ns().saturating_sub(begun_ns));
    account::describe(session, job, cost_us);
    if !ran.status.success() {
        session.count(Counter::CompileFailed);
        return Some(ran.status);
    }
    let stored = guarded(session.call.log, || {
        session.check_clock(has_started_after)?;
        store(session, job, (before, told?), (&ran, cost_us), is_remembered.get())
    });
    match stored {
        Some(Ok(())) => session.count(Counter::CacheMiss),
        Some(Err(reason)) => session.give_up(&reason),
        None => session.count(Counter::InternalError),
    }
    Some(ran.status)
}

fn panicked() -> Reason {
    Reason::new(Counter::InternalError, "a panic")
}

/// What a run has left behind that tells of a link, if something is linked.
type Told = Result<Option<Telling>, Reason>;

/// Runs the compiler so that it tells of a link; once more without that where its messages show it.
fn run_telling(
    session: &Session<'_>,
    job: &Job,
    telling: Option<Result<Telling, Reason>>,
    on_line: impl Fn(&[u8]),
) -> Option<(Ran, Told)> {
    let given = &job.arguments(session)[..];
    let run = |arguments: &[OsString], to: &mut Held<io::Stderr>| {
        let ran = run::run(session, arguments, to, &on_line);
        to.end();
        ran.map_err(|e| session.log(format_args!("cannot run the compiler: {e}"))).ok()
    };
    let telling = match telling {
        Some(Ok(telling)) => telling,
        Some(Err(reason)) => {
            return Some((run(given, &mut Held::new(io::stderr(), Vec::new()))?, Err(reason)));
        }
        None => return Some((run(given, &mut Held::new(io::stderr(), Vec::new()))?, Ok(None))),
    };
    let mut stderr = Held::new(io::stderr(), telling.marks());
    let ran = run(&telling.arguments(given), &mut stderr)?;
    if !stderr.is_held {
        return Some((ran, Ok(Some(telling))));
    }
    session.log(format_args!("rustc speaks of what larder has added; it runs again without"));
    let again = run(given, &mut stderr.again())?;
    if again.status.success() && !ran.status.success() {
        telling.remember_untold(session);
    }
    let text = "the linker does not tell what it reads";
    Some((again, Err(Reason::new(Counter::CalledForLink, text))))
}

fn store(
    session: &Session<'_>,
    job: &Job,
    (before, telling): (Before, Option<Telling>),
    (ran, cost_us): (&Ran, u32),
    is_remembered: bool,
) -> Result<(), Reason> {
    let listed = match job.output(Emit::DepInfo) {
        Some(output) => fs::read(&output.path).map_err(|error| unlisted(&output.path, &error)),
        None => list_afterwards(session, job),
    }?;
    let info = dep_info::parse(&listed).ok_or_else(|| {
        Reason::new(Counter::InternalError, "the dependency file is not understood")
    })?;
    if !is_binary(session.call.compiler) {
        let text = format!("{} is no ELF program", session.call.compiler.display());
        return Err(Reason::new(Counter::CompilerCheckFailed, text));
    }
    let reach = before.reach.clone();
    let mut inputs = Inputs::look(session, job, before, &info)?;
    inputs.add_shown(session, job, &ran.stderr, &info)?;
    if let Some(telling) = telling {
        let (list, absent) = telling.look(session, job)?;
        inputs.list.extend(list);
        inputs.absent.extend(absent);
    }
    let (mut sections, mut crates) = outputs_of(session, job, &reach, &listed, is_remembered)?;
    sections.extend(split_debuginfo(session, job)?);
    let stderr = generic_messages(&ran.stderr, &job.outputs)?;
    if shows_checkout(job, &sections, [&stderr, &ran.stdout]) {
        inputs.list.push(kept(session, job, "what is made or said shows it"));
    }
    for (kind, said) in [(SectionKind::Stdout, ran.stdout.clone()), (SectionKind::Stderr, stderr)] {
        if !said.is_empty() {
            sections.push(Section::new(kind, said));
        }
    }
    let messages = if has_messages(&ran.stderr) { job.messages } else { 0 };
    let read = inputs.list.iter().map(|input| (input.path.as_os_str().as_bytes(), &input.digest));
    let result = result_key(&job.direct, read, messages);
    let mut manifest = read_whole_manifest(session, &job.direct);
    let absent = inputs.absent;
    manifest.add(result, &State { messages, cost_us, absent, ..State::default() }, &inputs.list);
    crates.extend([
        Entry::new(job.direct, RecordKind::Manifest, manifest.sections()),
        Entry::new(result, RecordKind::Result, sections),
    ]);
    session.count(Counter::LocalStorageMiss);
    session.put_with(crates, account::entries(session, job, &inputs.list, &result));
    trace_lookup(session, &job.made.source, &result, || {
        let record = session.store.get(&result).ok().flatten();
        record.map_or(0, |record| record.head().body_bytes)
    });
    Ok(())
}

/// A section for each output, and what is to be remembered of crates among them; of metadata only
/// if that is not done yet.
fn outputs_of(
    session: &Session<'_>,
    job: &Job,
    reach: &Reach,
    listed: &[u8],
    is_remembered: bool,
) -> Result<(Vec<Section<'static>>, Vec<Entry<'static>>), Reason> {
    let mut sections = Vec::with_capacity(job.outputs.len() + 2);
    let mut crates = Vec::new();
    for output in &job.outputs {
        let section = if output.emit == Emit::DepInfo {
            let listed = generic(listed, job)?;
            Section::new(SectionKind::Dependencies, listed).mode(0o666)
        } else {
            let kind = SectionKind::NamedFile;
            let section = capture::read(&output.path, kind, session.call.started_ns)?;
            let section = section.ok_or_else(|| missing(&output.path))?;
            let is_done = is_remembered && output.emit == Emit::Metadata;
            if !is_done && closure::is_crate(&output.path) {
                crates.push(reach.entry(blake3::hash(&section.data).as_bytes()));
            }
            section.name(output.role.as_bytes())
        };
        sections.push(section);
    }
    Ok((sections, crates))
}

/// Whether something that was made or said shows a checkout that the key does not have.
fn shows_checkout(job: &Job, sections: &[Section<'_>], said: [&[u8]; 2]) -> bool {
    let made = sections.iter().filter(|section| section.kind == SectionKind::NamedFile);
    let mut texts = made.map(|section| &section.data[..]).chain(said);
    job.checkout.as_ref().is_some_and(|checkout| texts.any(|text| checkout.shows_in(text)))
}

/// The dependency file of a call that asks for none, by a run that makes nothing else. It cannot be
/// asked for in the same run: what is emitted is part of a crate's identity.
fn list_afterwards(session: &Session<'_>, job: &Job) -> Result<Vec<u8>, Reason> {
    let failed = |error: io::Error| unlisted(Path::new("the dependency file"), &error);
    let scratch = Scratch::new().map_err(failed)?;
    let mut arguments = without_emit(&job.arguments(session));
    let mut word = OsString::from("--emit=dep-info=");
    word.push(scratch.path());
    arguments.push(word);
    let capture = Capture { stdout: Stream::Discard, stderr: Stream::Discard };
    let changes = [(OsStr::new("LARDER_DISABLE"), Some(OsStr::new("1")))];
    let ran = exec::run(session.call.compiler, &arguments, &changes, capture).map_err(failed)?;
    if !ran.status.success() {
        return Err(failed(io::Error::other("rustc does not list what it reads")));
    }
    fs::read(scratch.path()).map_err(failed)
}

fn unlisted(path: &Path, error: &io::Error) -> Reason {
    Reason::new(Counter::CompilerProducedNoOutput, format!("{}: {error}", path.display()))
}

fn missing(path: &Path) -> Reason {
    Reason::new(Counter::CompilerProducedNoOutput, format!("{} was not made", path.display()))
}

/// Files of split debug information that this run has made.
fn split_debuginfo(session: &Session<'_>, job: &Job) -> Result<Vec<Section<'static>>, Reason> {
    let mut sections = Vec::new();
    if job.made.split_debuginfo.is_none() {
        return Ok(sections);
    }
    let stem = format!("{}.", outputs::stem(&job.made));
    let directory = job.made.out_dir.as_deref().unwrap_or(Path::new("."));
    let cannot = |error| {
        let text = format!("{}: {error}", directory.display());
        Reason::new(Counter::BadOutputFile, text)
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name();
        if name.as_bytes().strip_prefix(stem.as_bytes()).is_some_and(is_split_name) {
            names.push(name);
        }
    }
    names.sort();
    for name in names {
        let path = directory.join(&name);
        let read = capture::read(&path, SectionKind::NamedFile, session.call.started_ns)?;
        if let Some(section) = read {
            let role = [SPLIT.as_bytes(), &name.as_bytes()[stem.len()..]].concat();
            sections.push(section.name(role));
        }
    }
    Ok(sections)
}

/// Whether what follows the stem in a name is that of a file of split debug information, and no way
/// to another directory.
fn is_split_name(rest: &[u8]) -> bool {
    (rest.ends_with(b".dwo") || rest.ends_with(b".dwp"))
        && !rest.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// The dependency file with roles for targets that are outputs.
fn generic(listed: &[u8], job: &Job) -> Result<Vec<u8>, Reason> {
    let listed = replaced_targets(listed, |target| {
        let is_it = |output: &&Output| output.listed.as_os_str().as_bytes() == target;
        let output = job.outputs.iter().find(is_it)?;
        Some([b"\0", output.role.as_bytes(), b"\0"].concat())
    });
    let mut lines = listed.split(|byte| *byte == b'\n');
    let is_of_this_call = |line: &[u8]| {
        let has_files = dep_info::target(line).is_some_and(|end| end + 1 < line.len());
        !has_files || line.starts_with(b"\0") || line.starts_with(b"#")
    };
    if !lines.all(is_of_this_call) {
        let text = "the dependency file names another output";
        return Err(Reason::new(Counter::UnsupportedCompilerOption, text));
    }
    Ok(match &job.checkout {
        Some(checkout) => checkout.generic(&listed),
        None => listed,
    })
}

/// The inverse, for the outputs of another call.
fn specific(listed: &[u8], job: &Job) -> Option<Vec<u8>> {
    let mut is_whole = true;
    let listed = match &job.checkout {
        Some(checkout) => Cow::Owned(checkout.specific(listed)),
        None => Cow::Borrowed(listed),
    };
    let rendered = replaced_targets(&listed, |target| {
        let role = target.strip_prefix(b"\0")?.strip_suffix(b"\0")?;
        let output = job.outputs.iter().find(|output| output.role.as_bytes() == role);
        is_whole &= output.is_some();
        output.map(|output| output.listed.as_os_str().as_bytes().to_vec())
    });
    is_whole.then_some(rendered)
}

/// Each line that begins with a target, with what `other` makes of the target.
fn replaced_targets(listed: &[u8], mut other: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut text = Vec::with_capacity(listed.len());
    for line in listed.split_inclusive(|byte| *byte == b'\n') {
        let new = dep_info::target(line).and_then(|end| Some((end, other(&line[..end])?)));
        match new {
            Some((end, new)) => {
                text.extend(new);
                text.extend_from_slice(&line[end..]);
            }
            None => text.extend_from_slice(line),
        }
    }
    text
}

/// What was said, with roles for notifications.
fn generic_messages(said: &[u8], outputs: &[Output]) -> Result<Vec<u8>, Reason> {
    if memmem::find(said, JOBSERVER).is_some() {
        let text = "a message speaks of the jobserver that is named";
        return Err(Reason::new(Counter::UnsupportedEnvironmentVariable, text));
    }
    let mut text = Vec::with_capacity(said.len());
    for line in said.split_inclusive(|byte| *byte == b'\n') {
        if !line.starts_with(NOTIFICATION_START) {
            text.extend_from_slice(line);
            continue;
        }
        let told = outputs.iter().find(|output| outputs::notification(output).as_bytes() == line);
        let output = told.ok_or_else(|| {
            let text = format!("rustc made something else: {}", String::from_utf8_lossy(line));
            Reason::new(Counter::UnsupportedCompilerOption, text)
        })?;
        text.extend([b"\0", output.role.as_bytes(), b"\n"].concat());
    }
    Ok(text)
}

/// The inverse, for the outputs of another call.
fn specific_messages(said: &[u8], outputs: &[Output]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(said.len());
    for line in said.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b"\0").and_then(|rest| rest.strip_suffix(b"\n")) {
            Some(role) => {
                let output = outputs.iter().find(|output| output.role.as_bytes() == role)?;
                text.extend(outputs::notification(output).into_bytes());
            }
            None => text.extend_from_slice(line),
        }
    }
    Some(text)
}

/// The files of a result and what is said; `None` if it is damaged or lacks a part.
pub(super) fn restorable(source: Source<'_>, job: &Job) -> Option<(Restorable, Said)> {
    let sections = source.record.sections();
    let mut files = Restorable::default();
    for (at, section) in sections.iter().enumerate() {
        let Some(rest) = section.name.strip_prefix(SPLIT.as_bytes()) else { continue };
        let directory = job.made.out_dir.as_deref().unwrap_or(Path::new(""));
        let name = [outputs::stem(&job.made).as_bytes(), b".", rest].concat();
        // Of other names no record of larder's own speaks.
        if job.made.split_debuginfo.is_none() || !is_split_name(rest) {
            return None;
        }
        files.add(source, at, &directory.join(OsStr::from_bytes(&name)), Writing::Anew)?;
    }
    for output in &job.outputs {
        if output.emit == Emit::DepInfo {
            let is_it =
                |at: &larder_engine::SectionInfo| at.kind == Some(SectionKind::Dependencies);
            let listed = source.record.read(sections.iter().position(is_it)?).ok()?;
            files.add_bytes(&output.path, 0o666, specific(&listed, job)?);
        } else {
            let is_it = |at: &larder_engine::SectionInfo| {
                at.kind == Some(SectionKind::NamedFile) && at.name == output.role.as_bytes()
            };
            let section = sections.iter().position(is_it)?;
            let writing = match output.emit {
                Emit::Link | Emit::Metadata => Writing::Anew,
                Emit::Mir => Writing::Into,
                _ => Writing::Copied,
            };
            files.add(source, section, &output.path, writing)?;
        }
    }
    let text = |kind| match sections.iter().position(|at| at.kind == Some(kind)) {
        Some(section) => source.record.read(section).ok(),
        None => Some(Vec::new()),
    };
    let stderr = specific_messages(&text(SectionKind::Stderr)?, &job.outputs)?;
    Some((files, Said { stdout: text(SectionKind::Stdout)?, stderr }))
}
