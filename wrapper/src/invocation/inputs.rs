//! The inputs of a run, and whether they changed around it.
//!
//! T0 is the fine clock at the start of this process. The compiler starts only when the coarse
//! clock, from which the kernel takes file times, has passed T0. So whatever is written after the
//! compiler began to read has mtime or ctime at or after T0, while sources that were just generated
//! lie before it. Afterwards every input is looked at: if one is not older than T0, is no regular
//! file, or the source is not what its digest said, nothing is stored. Nor is it if a link or a
//! directory on the way to one was replaced since T0 ([`ways`](super::ways)), or a part of the
//! compiler.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use larder_engine::env::{clock_ns, coarse_clock_ns};
use rustix::time::{ClockId, clock_getres};

use super::probed::{self, Mark, Probed};
use super::ways::Ways;
use super::{ABSENT, Job, Session, modules, once, precompiled};
use crate::absent::Group;
use crate::compiler::{Family, response_files};
use crate::digest::{Digest, Mentions, Seen};
use crate::files::{above, is_same};
use crate::manifest::{Input, State};
use crate::maps::Set;
use crate::moment::moment;
use crate::outcome::{Counter, Reason};
use crate::place::Place;
use crate::search::SearchPath;

/// The coarse clock ticks every 1 to 10 ms; if it stays behind for longer, the clock was set back,
/// and waiting does not help. File times tell nothing then, and nothing is stored.
const WAIT_MAX: Duration = Duration::from_millis(50);
/// What is waited at least: a tick does not come to the nanosecond.
const WAIT_MIN: Duration = Duration::from_micros(100);

/// Where the headers of the system are.
const SYSTEM: &str = "/usr";

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

/// The inputs of one run, as they were before it.
pub(super) struct Inputs {
    pub(super) list: Vec<Input>,
    /// What they mention that counts.
    pub(super) mentions: Mentions,
    /// What they mention, whether it counts here or not, and those that do not count themselves.
    pub(super) all_mentions: Mentions,
    /// What was seen of each one.
    seen: Vec<Seen>,
    /// Whether a link stands where each one is named.
    are_links: Vec<bool>,
    absent: Vec<Group>,
    /// Whether one had an absolute name below the root, which `list` has relative.
    pub(super) has_names: bool,
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
            is_link_before(session, &path)?;
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
            let is_link = is_link_before(session, path)?;
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
        let opened_ns = coarse_clock_ns();
        let mut probed = probed::look(session, job, search, read)?;
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
        for Mark { directory, facts, set } in &probed.marks {
            session.digests.mark_absent(job.unit(), directory, facts, *set, opened_ns);
        }
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
        let (mentions, absent) = (self.mentions, self.absent.clone());
        State { messages, mentions, moment, cost_us: 0, absent }
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
    check_time(session, path, seen.changed_ns)?;
    Ok((seen, is_link))
}

/// Checks the same of a file whose contents are known, and says whether a link stands there.
fn is_link_before(session: &Session<'_>, path: &Path) -> Result<bool, Reason> {
    let found = session.digests.directories().facts_and_link(path);
    let (facts, is_link) = found.map_err(|error| modified(path, &error.to_string()))?;
    check_time(session, path, facts.changed_ns())?;
    Ok(is_link)
}

fn check_time(session: &Session<'_>, path: &Path, changed_ns: u64) -> Result<(), Reason> {
    if changed_ns >= session.call.started_ns && !session.takes_changed(path) {
        return Err(modified(path, "changed during the compile"));
    }
    Ok(())
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
            let step = step_to_next_tick();
            std::thread::sleep(step);
            waited += step;
        }
        true
    }

    /// That the clock has not been set back behind T0 during a run.
    pub(super) fn check_clock(&self, has_started_after: bool) -> Result<(), Reason> {
        if has_started_after && coarse_clock_ns() >= self.call.started_ns {
            return Ok(());
        }
        Err(Reason::new(Counter::ModifiedInputFile, "the clock was set back"))
    }
}

/// How long it is until the coarse clock goes on.
fn step_to_next_tick() -> Duration {
    let tick = clock_getres(ClockId::RealtimeCoarse);
    let tick = Duration::new(tick.tv_sec.unsigned_abs(), tick.tv_nsec.unsigned_abs() as u32);
    let since = Duration::from_nanos(clock_ns().saturating_sub(coarse_clock_ns()));
    tick.saturating_sub(since).clamp(WAIT_MIN, WAIT_MAX)
}
