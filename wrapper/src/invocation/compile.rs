//! Running the compiler on a miss, and storing what it made.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use larder_engine::env::clock_ns;
use larder_engine::{DropReason, Entry, Key, Put, RecordKind, Section, SectionKind};

use super::account::microseconds;
use super::inputs::{Inputs, each_once, names};
use super::records::{alias_bytes, read_whole_manifest, trace_lookup};
use super::scratch::Scratch;
use super::shared::{self, Made};
use super::{Job, Session, failures, guarded, precompiled, streams, unlisted};
use crate::config::WritePolicy;
use crate::digest::{Digest, Mentions};
use crate::exec::{self, Capture, Ran, Stream};
use crate::fingerprint::{records_additions, records_trace, result_key};
use crate::manifest::State;
use crate::outcome::{Counter, Reason};
use crate::{capture, depfile};

/// How larder learns what the compiler reads.
enum Listing {
    /// The user's own dependency file names everything.
    Own(PathBuf),
    /// A dependency file for larder alone.
    Injected(Scratch),
    /// `-H`, because the user's dependency file leaves system headers out.
    Trace,
    /// A run of the preprocessor afterwards.
    Afterwards,
    /// None is needed: the source includes nothing.
    SourceAlone,
}

/// Runs the compiler, passes on what it says, and stores what it made. `None` if it did not start,
/// or has to run again.
pub(super) fn run_and_store(
    session: &Session<'_>,
    job: &Job,
    alias: Option<Key>,
) -> Option<ExitStatus> {
    let prepared = guarded(session.call.log, || prepare(session, job))?;
    let (listing, arguments) = prepared
        .map_err(|error| session.log(format_args!("cannot prepare the compile: {error}")))
        .ok()?;
    if session.depends(job) && matches!(listing, Listing::Afterwards) {
        let text = "only the preprocessor could list the inputs, and depend_mode is on";
        session.give_up(&Reason::new(Counter::UnsupportedCompilerOption, text));
        return None;
    }
    let watched = guarded(session.call.log, || failures::watch(session, job)).flatten();
    let has_started_after = session.wait_for_start();
    let capture = Capture { stdout: Stream::Collect, stderr: Stream::Collect };
    let begun_ns = clock_ns();
    let ran = session.run_compiler(&arguments, capture);
    let cost_us = microseconds(clock_ns().saturating_sub(begun_ns));
    session.describe(job, cost_us);
    let mut ran =
        ran.map_err(|e| session.log(format_args!("cannot run the compiler: {e}"))).ok()?;
    let traced = match listing {
        Listing::Trace => {
            let traced = guarded(session.call.log, || take_trace(job, &mut ran)).flatten();
            if traced.is_none() {
                session.log(format_args!("the trace cannot be told from messages: compiling anew"));
                return None;
            }
            traced
        }
        _ => None,
    };
    if !session.pass_on(&ran.stdout, &ran.stderr) {
        session.log(format_args!("the messages cannot be written: compiling anew"));
        return None;
    }
    if !ran.status.success() {
        session.count(Counter::CompileFailed);
        if let Some(watched) = watched {
            let store = || {
                session.check_clock(has_started_after)?;
                let listed = listed_by_failed(session, job, &listing, traced)?;
                watched.store(session, job, &listed, &ran)
            };
            if let Some(Err(reason)) = guarded(session.call.log, store) {
                session.log(format_args!("the failure is not stored: {}", reason.text));
            }
        }
        return Some(ran.status);
    }
    let stored = guarded(session.call.log, || {
        session.check_clock(has_started_after)?;
        let files = files_read(session, job, &listing, traced)?;
        store(session, job, alias, &files, &ran)
    });
    match stored {
        Some(Ok(())) => session.count_miss(),
        Some(Err(reason)) => session.give_up(&reason),
        None => session.count(Counter::InternalError),
    }
    let outputs = job.compile.outputs.iter().map(|output| &output.path);
    let outputs = outputs.chain(job.compile.depfile.iter().map(|depfile| &depfile.path));
    session.end_if_not_written(Some(ran.status), outputs.map(PathBuf::as_path))
}

/// How to list the inputs, and the arguments that make the compiler do so. Additions come first,
/// where nothing before them can take them for its value.
fn prepare(session: &Session<'_>, job: &Job) -> io::Result<(Listing, Vec<OsString>)> {
    let mut arguments = Vec::with_capacity(session.call.arguments.len() + 4);
    if job.colored && !records_additions(&job.compile) {
        arguments.push(exec::color_argument(job.compile.family).into());
    }
    let listing = match &job.compile.depfile {
        _ if job.compile.language.is_read_alone() => Listing::SourceAlone,
        Some(depfile) if !depfile.omits_system_headers => Listing::Own(depfile.path.clone()),
        _ if records_additions(&job.compile) => Listing::Afterwards,
        Some(_) if records_trace(&job.compile) || !job.compile.trace_is_complete() => {
            Listing::Afterwards
        }
        Some(_) => {
            arguments.push("-H".into());
            Listing::Trace
        }
        None => {
            let list = session.scratch()?;
            arguments.extend(["-MD".into(), "-MF".into(), list.path().into()]);
            Listing::Injected(list)
        }
    };
    arguments.extend_from_slice(session.call.arguments);
    Ok((listing, arguments))
}

/// Takes what `-H` added out of stderr, also if the compile failed. A message may have a line that
/// looks like one of the trace; then it hardly names a file.
fn take_trace(job: &Job, ran: &mut Ran) -> Option<Vec<PathBuf>> {
    let trace = depfile::parse_include_trace(job.compile.family, &ran.stderr)?;
    if !trace.rest.is_empty() && !trace.files.iter().all(|path| path.is_file()) {
        return None;
    }
    ran.stderr = trace.rest;
    Some(trace.files)
}

/// Every file that the compiler read, as it named them.
fn files_read(
    session: &Session<'_>,
    job: &Job,
    listing: &Listing,
    traced: Option<Vec<PathBuf>>,
) -> Result<Vec<PathBuf>, Reason> {
    let cannot = |error: io::Error| {
        Reason::new(Counter::InternalError, format!("cannot read the list of inputs: {error}"))
    };
    let (listed, is_depfile) = match (listing, traced) {
        (Listing::SourceAlone, _) => (Vec::new(), false),
        (Listing::Own(path), _) => (depfile::parse(&fs::read(path).map_err(cannot)?), true),
        (Listing::Injected(list), _) => (depfile::parse(&list.read().map_err(cannot)?), true),
        // A dependency file names the preincluded headers, the trace does not.
        (_, Some(files)) => {
            (job.toolchain.preincluded.iter().cloned().chain(files).collect(), false)
        }
        (_, None) => {
            if let Some(path) = streams::after(job) {
                return Err(super::stream(&path));
            }
            (list_afterwards(session, job).map_err(cannot)?, true)
        }
    };
    // A list that was not understood would look like a compile that read no header.
    if is_depfile && !names(&listed, &job.compile.input) {
        return Err(Reason::new(Counter::InternalError, "the list of inputs lacks the source"));
    }
    Ok(each_once(job, listed))
}

/// What a failed compile has listed itself. Where that leaves headers out, it tells at least of
/// those that it names.
fn listed_by_failed(
    session: &Session<'_>,
    job: &Job,
    listing: &Listing,
    traced: Option<Vec<PathBuf>>,
) -> Result<failures::Listed, Reason> {
    match (listing, &job.compile.depfile) {
        (Listing::Afterwards, Some(depfile)) => {
            let own = Listing::Own(depfile.path.clone());
            files_read(session, job, &own, None).map(failures::Listed::InPart)
        }
        (Listing::Afterwards, None) => {
            Err(Reason::new(Counter::InternalError, "it has not listed what it read"))
        }
        _ => files_read(session, job, listing, traced).map(failures::Listed::Whole),
    }
}

fn list_afterwards(session: &Session<'_>, job: &Job) -> io::Result<Vec<PathBuf>> {
    let list = session.scratch()?;
    let mut arguments: Vec<OsString> = vec!["-M".into(), "-MF".into(), list.path().into()];
    arguments.extend(job.compile.preprocess_arguments.iter().cloned());
    let capture = Capture { stdout: Stream::Discard, stderr: Stream::Discard };
    let ran = session.run_preprocessor(&arguments, capture)?;
    if !ran.status.success() {
        return Err(io::Error::other(format!("the preprocessor ended with {}", ran.status)));
    }
    Ok(depfile::parse(&list.read()?))
}

fn store(
    session: &Session<'_>,
    job: &Job,
    alias: Option<Key>,
    files: &[PathBuf],
    ran: &Ran,
) -> Result<(), Reason> {
    let inputs = Inputs::look(session, job, files)?;
    if inputs.mentions.any(Mentions::HIDDEN_INPUT) {
        return Err(super::hidden_input(&job.compile.input));
    }
    let moment = inputs.moment(session, job).ok_or_else(|| {
        let text = format!("{} shows the time", job.compile.input.display());
        Reason::new(Counter::UnsupportedCodeDirective, text)
    })?;
    unlisted::check(session, job, &inputs.list, !ran.stderr.is_empty())?;
    let mut sections = capture::collect(&job.compile, session.call.started_ns)?;
    for (kind, text) in [(SectionKind::Stdout, &ran.stdout), (SectionKind::Stderr, &ran.stderr)] {
        if !text.is_empty() {
            sections.push(Section::new(kind, &text[..]));
        }
    }
    if session.call.config.is_read_only() || session.store.is_read_only() {
        session.log(format_args!("not stored: {}", DropReason::ReadOnly));
        return Ok(());
    }
    let real_bytes = sections.iter().map(|section| section.data.len() as u64).sum();
    let has_messages = !ran.stderr.is_empty();
    let shows_place = shows_place(session, job, &inputs, ran, &mut sections);
    let state = job.state(has_messages, shows_place);
    let seen = what_was_seen(inputs.mentions, moment, &sections);
    let result = result_key(&job.direct, &inputs.list, &seen, state);
    let cost_us = session.account.borrow().cost_us;
    // Read again, because another process may have added to it during the compile.
    let manifest = session.call.config.direct_mode.value.then(|| {
        let mut manifest = read_whole_manifest(session, &job.direct);
        let state = State { cost_us, ..inputs.state(state, moment) };
        manifest.add(result, &state, &inputs.list);
        manifest
    });
    let manifest = manifest
        .iter()
        .map(|manifest| Entry::new(job.direct, RecordKind::Manifest, manifest.sections()));
    let mut entries: Vec<Entry<'_>> = manifest.collect();
    let entry = Entry::new(result, RecordKind::Result, sections);
    let precompiled =
        job.compile.precompiles().then(|| precompiled::remember(&entry, inputs.all_mentions));
    entries.extend(precompiled.flatten());
    entries.push(entry);
    // Source lines in messages show what the preprocessed text does not.
    if let Some(alias) = alias.filter(|_| !has_messages) {
        let section = Section::new(SectionKind::AliasKey, alias_bytes(&result, cost_us));
        entries.push(Entry::new(alias, RecordKind::Alias, vec![section]));
    }
    session.count_stored(job);
    let account = session.entries_of_account(&job.directory, &inputs.list, &result);
    session.put_with(entries, account);
    // What the store made of it, or would have made of it at worst.
    trace_lookup(session, &job.compile.input, &result, || {
        let record = session.store.get(&result).ok().flatten();
        record.map_or(real_bytes, |record| record.head().body_bytes)
    });
    Ok(())
}

/// What tells results of the same inputs apart, where these are not all: their contents. Only an
/// alias leads to such a result.
fn what_was_seen(mentions: Mentions, moment: Digest, sections: &[Section<'_>]) -> Digest {
    if !mentions.any(Mentions::HAS_INCLUDE_OF_MACRO) {
        return moment;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(&moment);
    for section in sections {
        hasher.update(&section.data);
    }
    *hasher.finalize().as_bytes()
}

/// Whether the result is good for this directory only; else its dependency file is good for others.
fn shows_place(
    session: &Session<'_>,
    job: &Job,
    inputs: &Inputs,
    ran: &Ran,
    sections: &mut [Section<'_>],
) -> bool {
    let Some(place) = &job.place else { return false };
    let has_messages = !ran.stdout.is_empty() || !ran.stderr.is_empty();
    let mut made =
        Made { reads_names: inputs.has_names, inputs: &inputs.list, has_messages, sections };
    let why = shared::shows_place(session, job, place, &mut made);
    if let Some(why) = why {
        session.log(format_args!("kept for this directory: {why}"));
    }
    why.is_some()
}

impl Session<'_> {
    /// Stores entries under the configured namespace; a refusal is counted and logged.
    pub(super) fn put(&self, entries: Vec<Entry<'_>>) {
        self.put_with(entries, Vec::new());
    }

    /// As [`Session::put`], with further entries before them that no counter has: manifest and
    /// result stay neighbours.
    pub(super) fn put_with<'a>(&self, entries: Vec<Entry<'a>>, further: Vec<Entry<'a>>) {
        let is_ccache = self.call.config.ccache.is_some();
        // ccache has results and manifests only.
        let is_counted = |entry: &&Entry<'_>| {
            !is_ccache || matches!(entry.kind, RecordKind::Result | RecordKind::Manifest)
        };
        let count = entries.iter().filter(is_counted).count() as u64;
        let mut entries: Vec<_> = further.into_iter().chain(entries).collect();
        for entry in &mut entries {
            entry.namespace = self.call.config.namespace.value.clone().into();
        }
        self.expect_tiers();
        match self.store.put_all(&entries) {
            Ok(Put::Stored) => {
                self.count_many(Counter::LocalStorageWrite, count);
                self.tell_tiers(&entries);
            }
            Ok(Put::Dropped(why)) => {
                self.count(Counter::StoreDropped);
                self.account.borrow_mut().reason = format!("not stored: {why}");
                self.log(format_args!("not stored: {why}"));
                if why == DropReason::Poisoned {
                    self.fail_write(WritePolicy::Local, &why.to_string());
                }
            }
            Err(error) => {
                self.count(Counter::StoreUnavailable);
                self.account.borrow_mut().reason = format!("not stored: {error}");
                self.log(format_args!("not stored: {error}"));
                self.fail_write(WritePolicy::Local, &error.to_string());
            }
        }
    }
}
