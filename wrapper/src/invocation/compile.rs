//! Running the compiler on a miss, and storing what it made.
//!
//! **Inputs that change around the compile.** T0 is the fine clock at the start of this process.
//! The compiler starts only when the coarse clock, from which the kernel takes file times, has
//! passed T0. So whatever is written after the compiler began to read has mtime or ctime at or
//! after T0, while sources that were just generated lie before it. Afterwards every input is
//! looked at: if one is not older than T0, is no regular file, or the source is not what its
//! digest said, nothing is stored. Nor is it if a link or a directory on the way to one was
//! replaced since T0 ([`ways`](super::ways)), or a part of the compiler.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use larder_engine::env::{clock_ns, coarse_clock_ns, remove_at_end};
use larder_engine::{DropReason, Entry, Key, Put, RecordKind, Section, SectionKind};

use super::probed::Probed;
use super::records::{manifest_sections, read_whole_manifest, trace_lookup};
use super::shared::{self, Made};
use super::ways::Ways;
use super::{
    ABSENT, Job, Session, failures, guarded, modules, once, pass_on, precompiled, probed, streams,
    unlisted,
};
use crate::absent::Group;
use crate::compiler::{Family, response_files};
use crate::digest::{Digest, Mentions, Seen};
use crate::exec::{self, Capture, Ran, Stream};
use crate::files::{above, is_same};
use crate::fingerprint::{records_additions, records_trace, result_key};
use crate::manifest::{Input, State};
use crate::maps::Set;
use crate::moment::moment;
use crate::outcome::{Counter, Reason};
use crate::place::Place;
use crate::search::SearchPath;
use crate::{capture, depfile};

/// The coarse clock ticks every 1 to 10 ms; if it stays behind for longer, the clock was set back,
/// and waiting does not help. File times tell nothing then, and nothing is stored.
const WAIT_MAX: Duration = Duration::from_millis(50);
const WAIT_STEP: Duration = Duration::from_micros(500);

/// Where the headers of the system are.
const SYSTEM: &str = "/usr";

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
    if session.call.config.depend_mode.value && matches!(listing, Listing::Afterwards) {
        let text = "only the preprocessor could list the inputs, and depend_mode is on";
        session.give_up(&Reason::new(Counter::UnsupportedCompilerOption, text));
        return None;
    }
    let watched = guarded(session.call.log, || failures::watch(session, job)).flatten();
    let has_started_after = session.wait_for_start();
    let capture = Capture { stdout: Stream::Collect, stderr: Stream::Collect };
    let ran = session.run_compiler(&arguments, capture);
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
    if !pass_on(&ran.stdout, &ran.stderr) {
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
        Some(Ok(())) => session.count(Counter::CacheMiss),
        Some(Err(reason)) => session.give_up(&reason),
        None => session.count(Counter::InternalError),
    }
    Some(ran.status)
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
            let list = Scratch::new()?;
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

/// The source, then every other file of a list.
pub(super) fn each_once(job: &Job, listed: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut known = Set::default();
    let source = std::iter::once(job.compile.input.clone());
    let is_new = |path: &PathBuf| known.insert(path.as_os_str().as_bytes().to_vec());
    source.chain(listed).filter(is_new).collect()
}

/// Whether `listed` has `source`; gcc leaves out a leading `./`.
pub(super) fn names(listed: &[PathBuf], source: &Path) -> bool {
    fn plain(path: &Path) -> &Path {
        path.strip_prefix(".").unwrap_or(path)
    }
    listed.iter().any(|path| plain(path) == plain(source))
}

fn list_afterwards(session: &Session<'_>, job: &Job) -> io::Result<Vec<PathBuf>> {
    let list = Scratch::new()?;
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
    let mut seen = moment;
    if inputs.mentions.any(Mentions::HAS_INCLUDE_OF_MACRO) {
        // Nothing else tells results of the same inputs apart; only an alias leads to one.
        let mut hasher = blake3::Hasher::new();
        hasher.update(&moment);
        for section in &sections {
            hasher.update(&section.data);
        }
        seen = *hasher.finalize().as_bytes();
    }
    let result = result_key(&job.direct, &inputs.list, &seen, state);
    // Read again, because another process may have added to it during the compile.
    let manifest = session.call.config.direct_mode.value.then(|| {
        let mut manifest = read_whole_manifest(session, &job.direct);
        manifest.add(result, &inputs.state(state, moment), &inputs.list);
        manifest
    });
    let manifest = manifest
        .iter()
        .map(|manifest| Entry::new(job.direct, RecordKind::Manifest, manifest_sections(manifest)));
    let mut entries: Vec<Entry<'_>> = manifest.collect();
    let entry = Entry::new(result, RecordKind::Result, sections);
    let precompiled =
        job.compile.precompiles().then(|| precompiled::remember(&entry, inputs.all_mentions));
    entries.extend(precompiled.flatten());
    entries.push(entry);
    // Source lines in messages show what the preprocessed text does not.
    if let Some(alias) = alias.filter(|_| !has_messages) {
        let section = Section::new(SectionKind::AliasKey, &result.as_bytes()[..]);
        entries.push(Entry::new(alias, RecordKind::Alias, vec![section]));
    }
    session.count(Counter::LocalStorageMiss);
    session.put(entries);
    // What the store made of it, or would have made of it at worst.
    trace_lookup(session, &job.compile.input, &result, || {
        let record = session.store.get(&result).ok().flatten();
        record.map_or(real_bytes, |record| record.head().body_bytes)
    });
    Ok(())
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

/// The inputs of one run, as they were before it.
pub(super) struct Inputs {
    pub(super) list: Vec<Input>,
    /// What they mention that counts.
    pub(super) mentions: Mentions,
    /// What they mention, whether it counts here or not, and those that do not count themselves.
    all_mentions: Mentions,
    /// What was seen of each one.
    seen: Vec<Seen>,
    /// Whether a link stands where each one is named.
    are_links: Vec<bool>,
    absent: Vec<Group>,
    /// Whether one had an absolute name below the root, which `list` has relative.
    has_names: bool,
    /// A precompiled header of gcc stands where it may have been read.
    pub(super) has_precompiled: bool,
}

impl Inputs {
    /// Looks at `files` after a run; see the module documentation.
    pub(super) fn look(
        session: &Session<'_>,
        job: &Job,
        files: &[PathBuf],
    ) -> Result<Inputs, Reason> {
        let times =
            if job.compile.times_matter { Mentions::TIMESTAMP } else { Mentions::default() };
        let mut inputs = Inputs {
            list: Vec::new(),
            mentions: session.counted(job.mentions).union(times),
            all_mentions: job.mentions,
            seen: Vec::new(),
            are_links: Vec::new(),
            absent: Vec::new(),
            has_names: false,
            has_precompiled: false,
        };
        // What was found before the compile may have led to another directory.
        session.digests.directories().forget();
        // The trace names precompiled headers that were tried; modules come later.
        let is_module =
            |path: &PathBuf| job.compile.module_files.iter().any(|file| is_same(&file.path, path));
        let is_text = |path: &&PathBuf| !precompiled::is_one(path) && !is_module(path);
        for path in files.iter().filter(is_text) {
            if is_same(path, &job.compile.input) || session.counts(path) {
                inputs.look_at(session, path)?;
            } else {
                let is_named = |place: &Place| place.shared(path).is_some();
                inputs.has_names |= job.place.as_ref().is_some_and(is_named);
                if job.compile.precompiles() {
                    inputs.add_mentions(session, look_before(session, path)?.0.mentions, false);
                }
            }
        }
        let call = session.call;
        let contents = &job.toolchain.contents;
        let search = SearchPath::of(&job.compile, call.compiler, contents, &session.store)
            .map_err(|text| Reason::new(Counter::CompilerCheckFailed, text))?;
        let probed = inputs.look_at_probed(session, job, &search)?;
        inputs.look_at_precompiled(session, job, &search, &probed)?;
        inputs.look_at_left_out(session, job, probed)?;
        for path in modules::reached(session, job)? {
            inputs.look_at(session, &path)?;
        }
        let source = inputs.list.iter().find(|input| is_same(&input.path, &job.compile.input));
        if source.is_none_or(|input| input.digest != job.source) {
            return Err(modified(&job.compile.input, "is not what it was"));
        }
        job.named.iter().try_for_each(|named| check_named(session, named))?;
        // Their words are in the keys, but the compiler has read them again.
        for path in response_files(session.call.arguments, &job.directory)? {
            look_before(session, &path)?;
        }
        inputs.check_ways(session, job)?;
        inputs.share_names(job.place.as_ref());
        Ok(inputs)
    }

    /// That the same paths led to the same files all the time, the compiler's too.
    fn check_ways(&self, session: &Session<'_>, job: &Job) -> Result<(), Reason> {
        let mut ways = Ways::since(session.call.started_ns);
        let mut check = |path: &Path| match ways.changed(path) {
            Ok(None) => Ok(()),
            Ok(Some(part)) => Err(modified(&part, "was replaced during the compile")),
            Err(error) => Err(modified(path, &error.to_string())),
        };
        // Of a file that no link stands for, its own times have told.
        for (Input { path, .. }, is_link) in self.list.iter().zip(&self.are_links) {
            check(if *is_link { path } else { above(path) })?;
        }
        for Input { path, digest } in &job.named {
            match path.parent() {
                // To one that is not there the way leads as far as to its directory.
                Some(directory) if *digest == ABSENT && directory.is_dir() => check(directory)?,
                _ if *digest == ABSENT => {}
                _ => check(path)?,
            }
        }
        for path in job.toolchain.files() {
            let (_, is_link) = look_before(session, path)?;
            check(if is_link { path } else { above(path) })?;
        }
        Ok(())
    }

    fn share_names(&mut self, place: Option<&Place>) {
        for input in &mut self.list {
            if let Some(shared) = place.and_then(|place| place.shared(&input.path)) {
                input.path = shared;
                self.has_names = true;
            }
        }
        for group in &mut self.absent {
            if let Some(shared) = place.and_then(|place| place.shared(&group.directory)) {
                group.directory = shared;
            }
        }
    }

    /// What the compiler looked for, and the files that it only asked for.
    fn look_at_probed(
        &mut self,
        session: &Session<'_>,
        job: &Job,
        search: &SearchPath,
    ) -> Result<Probed, Reason> {
        let read = (&self.list[..], &self.seen[..]);
        let mut probed = probed::look(session, &job.compile, search, read)?;
        for found in &probed.found {
            if self.list.iter().all(|input| input.path != *found) {
                self.look_at(session, found)?;
            }
        }
        // A macro of an argument may ask, too.
        if probed.has_unknown || job.mentions.any(Mentions::HAS_INCLUDE) {
            self.add_mentions(session, Mentions::HAS_INCLUDE_OF_MACRO, true);
        }
        self.absent = std::mem::take(&mut probed.absent);
        Ok(probed)
    }

    /// clang lists what it has left out. What a precompiled header makes gcc leave out is not told
    /// by any text.
    fn look_at_left_out(
        &mut self,
        session: &Session<'_>,
        job: &Job,
        probed: Probed,
    ) -> Result<(), Reason> {
        if job.compile.family == Family::Gcc {
            let once: Vec<&Seen> = probed.read_once.iter().map(|at| &self.seen[*at]).collect();
            for path in once::left_out(session, &once, probed.unread, self.has_precompiled) {
                self.look_at(session, &path)?;
            }
        }
        Ok(())
    }

    fn look_at(&mut self, session: &Session<'_>, path: &Path) -> Result<(), Reason> {
        let (seen, is_link) = look_before(session, path)?;
        // What macros of the system paste is not the time.
        let is_own = !path.starts_with(SYSTEM);
        let mentions = if is_own { seen.mentions } else { seen.mentions.without_pastes() };
        self.add(path, seen, is_link);
        self.add_mentions(session, mentions, true);
        Ok(())
    }

    fn add(&mut self, path: &Path, seen: Seen, is_link: bool) {
        self.list.push(Input { path: path.to_path_buf(), digest: seen.digest });
        self.seen.push(seen);
        self.are_links.push(is_link);
    }

    fn add_mentions(&mut self, session: &Session<'_>, mentions: Mentions, counts: bool) {
        self.all_mentions = self.all_mentions.union(mentions);
        if counts {
            self.mentions = self.mentions.union(session.counted(mentions));
        }
        if self.mentions.any(Mentions::PASTES) && self.mentions.any(Mentions::PASTED) {
            let times = Mentions::TIME.union(Mentions::TIMESTAMP);
            self.mentions = self.mentions.union(session.counted(times));
        }
    }

    /// What a manifest says of them, beside their digests.
    pub(super) fn state(&self, messages: u64, moment: Digest) -> State {
        State { messages, mentions: self.mentions, moment, absent: self.absent.clone() }
    }

    /// What gcc may have read in place of headers, of which it names nothing (see `precompiled`).
    fn look_at_precompiled(
        &mut self,
        session: &Session<'_>,
        job: &Job,
        search: &SearchPath,
        probed: &Probed,
    ) -> Result<(), Reason> {
        if job.compile.family != Family::Gcc {
            return Ok(());
        }
        let read = self.list.iter().map(|input| input.path.as_path());
        let told = (&probed.source, session.digests.directories());
        for path in precompiled::found(&job.compile, search, read, told)? {
            let (seen, is_link) = look_before(session, &path)?;
            let mentions = precompiled::mentions(session, &path, &seen.digest)?;
            self.has_precompiled = true;
            self.add_mentions(session, mentions, true);
            self.add(&path, seen, is_link);
        }
        Ok(())
    }

    /// What the time macros showed; `None` if that is not known, midnight during the run included.
    pub(super) fn moment(&self, session: &Session<'_>, job: &Job) -> Option<Digest> {
        let honoured = job.toolchain.epoch_is_honoured;
        let mtimes_secs = || self.seen.iter().map(|seen| seen.mtime_secs);
        let at = |now_ns| moment(self.mentions, honoured, now_ns, mtimes_secs());
        let before = at(session.call.started_ns)?;
        (self.mentions == Mentions::default() || at(clock_ns()) == Some(before)).then_some(before)
    }
}

/// What a file is, if it was the same when the run began, and whether a link stands there.
fn look_before(session: &Session<'_>, path: &Path) -> Result<(Seen, bool), Reason> {
    let looked = session.digests.look_and_link(path);
    let (seen, is_link) = looked.map_err(|error| modified(path, &error.to_string()))?;
    if seen.changed_ns >= session.call.started_ns && !session.takes_changed(path) {
        return Err(modified(path, "changed during the compile"));
    }
    Ok((seen, is_link))
}

/// Checks that a named file is what it was before the run, or is still not there.
fn check_named(session: &Session<'_>, named: &Input) -> Result<(), Reason> {
    let seen = session.look_if_there(&named.path);
    match seen.map_err(|error| modified(&named.path, &error.to_string()))? {
        Some(seen) if seen.changed_ns >= session.call.started_ns => {
            Err(modified(&named.path, "changed during the compile"))
        }
        seen if seen.map_or(ABSENT, |seen| seen.digest) == named.digest => Ok(()),
        _ => Err(modified(&named.path, "is not what it was")),
    }
}

fn modified(path: &Path, what: &str) -> Reason {
    Reason::new(Counter::ModifiedInputFile, format!("{}: {what}", path.display()))
}

impl Session<'_> {
    /// Waits until file times of new writes must lie at or after T0; whether they do.
    pub(super) fn wait_for_start(&self) -> bool {
        let mut waited = Duration::ZERO;
        while coarse_clock_ns() < self.call.started_ns {
            if waited >= WAIT_MAX {
                return false;
            }
            std::thread::sleep(WAIT_STEP);
            waited += WAIT_STEP;
        }
        true
    }

    /// That the clock has not been set back behind T0 during a run.
    fn check_clock(&self, has_started_after: bool) -> Result<(), Reason> {
        if has_started_after && coarse_clock_ns() >= self.call.started_ns {
            return Ok(());
        }
        Err(Reason::new(Counter::ModifiedInputFile, "the clock was set back"))
    }

    /// Stores entries under the configured namespace; a refusal is counted and logged.
    pub(super) fn put(&self, mut entries: Vec<Entry<'_>>) {
        for entry in &mut entries {
            entry.namespace = self.call.config.namespace.value.clone().into();
        }
        match self.store.put_all(&entries) {
            Ok(Put::Stored) => self.count_many(Counter::LocalStorageWrite, entries.len() as u64),
            Ok(Put::Dropped(why)) => {
                self.count(Counter::StoreDropped);
                self.log(format_args!("not stored: {why}"));
            }
            Err(error) => {
                self.count(Counter::StoreUnavailable);
                self.log(format_args!("not stored: {error}"));
            }
        }
    }
}

/// An empty file of larder's own for the compiler to write to; it goes when this is dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> io::Result<Scratch> {
        let directory = std::env::temp_dir();
        let mut number = clock_ns();
        loop {
            let path = directory.join(format!("larder-{}-{number:x}.d", std::process::id()));
            match File::options().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(_) => {
                    remove_at_end(Some(&path));
                    return Ok(Scratch(path));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        fs::read(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whoever empties the directory of temporary files may have been faster.
        let _ = fs::remove_file(&self.0);
        remove_at_end(None);
    }
}
