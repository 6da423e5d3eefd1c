//! Asking the store: manifest, variants, result; then the preprocessed text.

use std::cell::OnceCell;
use std::io;
use std::path::Path;

use larder_engine::{Entry, Key, RecordKind, SectionKind};

use super::lower::Found;
use super::records::{read_alias, read_known, read_names, read_whole_manifest, trace_lookup};
use super::text::{Text, TextError};
use super::{Answer, Job, Session, called_ccache, failures, stream, streams};
use crate::absent;
use crate::account::{Differs, Obstacle};
use crate::compiler::Family;
use crate::digest::{Digest, Mentions, Seen};
use crate::fingerprint::{result_key, text_decides};
use crate::manifest::{Manifest, State, Variant};
use crate::moment::moment;
use crate::outcome::{Counter, Reason};
use crate::restore::{self, Restorable, Restored, Source};

pub(super) fn answer(session: &Session<'_>) -> Answer {
    let answer = asked(session);
    match answer {
        Answer::Miss { ref job, .. } if session.call.config.ccache.is_some() => {
            // ccache stores no failures.
            let disabled = session.disabled_by_source(job);
            disabled.map_or(answer, Answer::Uncached)
        }
        // A success is looked for first, so that hits pay nothing for failures.
        Answer::Miss { job, alias } => {
            failures::answer(session, &job).unwrap_or(Answer::Miss { job, alias })
        }
        answer => answer,
    }
}

fn asked(session: &Session<'_>) -> Answer {
    let job = match session.job() {
        Ok(job) => Box::new(job),
        Err(reason) => return Answer::Uncached(reason),
    };
    session.note_source(&job);
    if session.call.config.recache.value {
        session.count(Counter::Recache);
        session.hinder(Obstacle::Recache);
        return Answer::Miss { job, alias: None };
    }
    let config = session.call.config;
    if !config.direct_mode.value && !config.readonly_direct.value {
        return by_text(session, job);
    }
    let fits = |manifest: &Manifest| {
        fitting(session, &job, manifest).map(|variant| (variant.result, variant.cost_us))
    };
    let Some((manifest, variant)) = session.manifest(&job.direct, fits) else {
        session.count(Counter::LocalStorageReadMiss);
        session.count(Counter::DirectCacheMiss);
        session.log(format_args!("no manifest for {}", job.compile.input.display()));
        session.hinder(Obstacle::NoManifest);
        if config.ccache.is_some() {
            return by_text_as_ccache(session, job);
        }
        return session.direct_miss(job);
    };
    session.count(Counter::LocalStorageReadHit);
    if let Some((result, cost_us)) = variant {
        if let Some(answer) = restored(session, &job, &result) {
            session.avoided_us.set(cost_us);
            session.count(Counter::DirectCacheHit);
            session.log(format_args!("direct hit for {}", job.compile.input.display()));
            return answer;
        }
        session.count(Counter::DirectCacheMiss);
        return session.direct_miss(job);
    }
    session.count(Counter::DirectCacheMiss);
    session.log(format_args!("no variant fits for {}", job.compile.input.display()));
    session.hinder(obstacle(session, &job, &manifest));
    if config.ccache.is_some() {
        return by_text_as_ccache(session, job);
    }
    if session.depends(&job) || config.readonly_direct.value || !text_decides(&job.compile) {
        return session.direct_miss(job);
    }
    by_text(session, job)
}

impl Session<'_> {
    /// What follows where no manifest led to a result: the compile, whose result a store
    /// that is asked by manifests alone does not take.
    fn direct_miss(&self, job: Box<Job>) -> Answer {
        if self.call.config.readonly_direct.value {
            let text =
                format!("readonly_direct, and no direct hit for {}", job.compile.input.display());
            return Answer::Uncached(Reason::new(Counter::CacheMiss, text));
        }
        Answer::Miss { job, alias: None }
    }
}

/// The newest variant that fits; each file of the manifest is looked at once at most.
pub(super) fn fitting<'a>(
    session: &Session<'_>,
    job: &Job,
    manifest: &'a Manifest,
) -> Option<&'a Variant> {
    let seen: Vec<OnceCell<Option<Seen>>> = vec![OnceCell::new(); manifest.paths().len()];
    let look = |path: usize| -> Option<&Seen> {
        let look = || session.digests.look(manifest.paths().get(path)?).ok();
        seen.get(path)?.get_or_init(look).as_ref()
    };
    let states = job.states();
    manifest.newest_first().find(|variant| {
        states.contains(&variant.messages)
            && !variant.mentions.any(Mentions::HAS_INCLUDE_OF_MACRO)
            && manifest
                .inputs_of(variant)
                .all(|(path, digest)| look(path).is_some_and(|seen| seen.digest == *digest))
            && is_the_moment(session, job, variant, || {
                manifest.inputs_of(variant).filter_map(|(path, _)| Some(look(path)?.mtime_secs))
            })
            && absent_directory(session, job, manifest, variant).is_none()
    })
}

/// What is in the way of the newest variant, where none fits: the conditions of [`fitting`] in
/// their order.
pub(super) fn obstacle(session: &Session<'_>, job: &Job, manifest: &Manifest) -> Obstacle {
    let Some(variant) = manifest.newest_first().next() else { return Obstacle::NoManifest };
    let inputs = || manifest.inputs_of(variant);
    let look = |path: usize| session.digests.look(manifest.paths().get(path)?).ok();
    let is_other =
        |(path, digest): &(usize, &Digest)| look(*path).is_none_or(|seen| seen.digest != **digest);
    let mtimes = || inputs().filter_map(|(path, _)| Some(look(path)?.mtime_secs));
    if !job.states().contains(&variant.messages) {
        return Obstacle::NoVariant(Differs::Messages);
    }
    if variant.mentions.any(Mentions::HAS_INCLUDE_OF_MACRO) {
        return Obstacle::NoVariant(Differs::Unsure);
    }
    if let Some((path, _)) = inputs().find(is_other) {
        let path = manifest.paths().get(path).unwrap_or(&job.compile.input);
        return Obstacle::NoVariant(Differs::Input(path.to_path_buf()));
    }
    if !is_the_moment(session, job, variant, mtimes) {
        return Obstacle::NoVariant(Differs::Moment);
    }
    match absent_directory(session, job, manifest, variant) {
        Some(directory) => Obstacle::NoVariant(Differs::Absent(directory.to_path_buf())),
        None => Obstacle::Unknown,
    }
}

/// A directory where something may stand that the compiler looked for in vain.
fn absent_directory<'a>(
    session: &Session<'_>,
    job: &Job,
    manifest: &'a Manifest,
    variant: &'a Variant,
) -> Option<&'a Path> {
    let names = OnceCell::new();
    let read = || read_names(session, &job.direct, manifest);
    let mut groups = manifest.absent_of(variant);
    let found = groups.find(|group| {
        let names = || manifest.names_in(names.get_or_init(read), group);
        let holds = absent::hold(&session.digests, job.unit(), group.directory, group.set, names);
        if !holds {
            let directory = group.directory.display();
            session.log(format_args!("a name that was absent in \"{directory}\" may be there"));
        }
        !holds
    });
    found.map(|group| group.directory)
}

fn is_the_moment<I: Iterator<Item = i64>>(
    session: &Session<'_>,
    job: &Job,
    variant: &Variant,
    mtimes_secs: impl FnOnce() -> I,
) -> bool {
    let honoured = job.toolchain.epoch_is_honoured;
    let now = moment(variant.mentions, honoured, session.call.started_ns, mtimes_secs());
    now == Some(variant.moment)
}

/// Restores the result at `key`; `None` if it is missing, damaged or cannot be written.
fn restored(session: &Session<'_>, job: &Job, key: &Key) -> Option<Answer> {
    let compile = &job.compile;
    let found = session.result(key)?;
    let source = session.source_of(&found);
    let Some(restorable) = restore::read(source, compile, job.place.as_ref()) else {
        session.note_damaged_result(&found);
        return None;
    };
    if session.is_dry {
        session.account.borrow_mut().result = Some(*key);
        return Some(Answer::Hit { stdout: restorable.stdout, stderr: restorable.stderr });
    }
    session.put_in_place(&found, &restorable)?;
    trace_lookup(session, &compile.input, key, || found.record.head().body_bytes);
    Some(Answer::Hit { stdout: restorable.stdout, stderr: restorable.stderr })
}

impl Session<'_> {
    /// The result at `key`, of the own store, a lower one or a tier; `None` if it is missing or
    /// damaged.
    pub(super) fn result(&self, key: &Key) -> Option<Found<'_>> {
        let record = self.store.get(key).unwrap_or_else(|error| {
            self.log(format_args!("cannot read a result: {error}"));
            self.count(Counter::StoreCorrupt);
            None
        });
        let own = |record| Found { record, store: &self.store, layer: None };
        let record = record.filter(|record| record.kind() == Some(RecordKind::Result));
        if record.is_some() {
            self.note_prefetched();
        }
        let found = record.map(own).or_else(|| self.result_below(key)).or_else(|| {
            self.fetch(RecordKind::Result, key, 0)?;
            self.store.get(key).ok().flatten().map(own)
        });
        if found.is_none() {
            self.count(Counter::LocalStorageReadMiss);
            self.count(Counter::LocalStorageMiss);
            self.hinder(Obstacle::ResultGone(*key));
            return None;
        }
        self.count(Counter::LocalStorageReadHit);
        found
    }

    pub(super) fn source_of<'a>(&self, found: &'a Found<'_>) -> Source<'a> {
        let file_clone = self.call.config.file_clone.value;
        Source { store: found.store, record: &found.record, file_clone }
    }

    pub(super) fn note_damaged_result(&self, found: &Found<'_>) {
        match found.layer {
            Some(layer) => self.note_damage_below(layer),
            None => self.count(Counter::StoreCorrupt),
        }
        self.count(Counter::LocalStorageMiss);
        self.log(format_args!("a result is damaged or lacks an output"));
        self.hinder(Obstacle::Unusable("the result is damaged".to_owned()));
    }

    /// Writes the files of a hit; `None` if they cannot be written.
    pub(super) fn put_in_place(&self, found: &Found<'_>, files: &Restorable) -> Option<()> {
        match restore::write(self.source_of(found), files) {
            Ok(restored) => count_objects(self, &restored),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.note_damaged_result(found);
                return None;
            }
            Err(error) => {
                self.count(Counter::BadOutputFile);
                self.log(format_args!("cannot restore: {error}"));
                self.hinder(Obstacle::Unusable(format!("it cannot be written: {error}")));
                return None;
            }
        }
        let is_remote = self.has_counted(Counter::RemoteStorageHit);
        self.count(if is_remote { Counter::LocalStorageMiss } else { Counter::LocalStorageHit });
        if found.layer.is_some() {
            self.count(Counter::LowerHits);
            self.promote_result(found);
        }
        Some(())
    }
}

/// Counts how the objects of a hit came to their files.
fn count_objects(session: &Session<'_>, restored: &Restored) {
    for (counter, count) in
        [(Counter::ObjectsCloned, restored.cloned), (Counter::ObjectsCopied, restored.copied)]
    {
        if count > 0 {
            session.count_many(counter, count);
        }
    }
    for why in &restored.uncloned {
        session.count(Counter::of_copy(*why));
        session.log(format_args!("copied, not cloned: {why}"));
    }
}

/// ccache asks for the text on every miss, unless a setting keeps it from that, and counts that.
fn by_text_as_ccache(session: &Session<'_>, job: Box<Job>) -> Answer {
    if session.depends(&job) || session.call.config.readonly_direct.value {
        return session.direct_miss(job);
    }
    if text_decides(&job.compile) {
        return by_text(session, job);
    }
    if job.compile.precompiles() && job.compile.family == Family::Clang {
        // Nor does ccache ask for it.
        session.count(Counter::PreprocessedCacheMiss);
        return session.direct_miss(job);
    }
    // No text can lead to a result, so that nobody need make it.
    session.count(Counter::LocalStorageReadMiss);
    session.count_text_miss();
    session.direct_miss(job)
}

/// Runs the preprocessor, and asks for the text that it makes where that decides, and for the
/// inputs that it read.
fn by_text(session: &Session<'_>, job: Box<Job>) -> Answer {
    if let Some(reason) = session.disabled_by_source(&job) {
        return Answer::Uncached(reason);
    }
    if called_ccache::skips_unknown(&job.compile) {
        session.count(Counter::LocalStorageReadMiss);
        session.count_text_miss();
        return session.direct_miss(job);
    }
    if let Some(path) = streams::before(&job) {
        return Answer::Uncached(stream(&path));
    }
    let text = match Text::make(session, &job) {
        Ok(text) => text,
        Err(TextError::Failed(status)) if session.call.config.ccache.is_some() => {
            let text = format!("the preprocessor ended with {status}");
            return Answer::Uncached(Reason::new(Counter::PreprocessorError, text));
        }
        Err(why) => {
            session.log(format_args!("no preprocessed text: {why}"));
            if session.call.config.ccache.is_some() {
                session.count(Counter::LocalStorageReadMiss);
                session.count_text_miss();
            }
            return Answer::Miss { job, alias: None };
        }
    };
    if text.inputs.mentions.any(Mentions::HIDDEN_INPUT) {
        return Answer::Uncached(super::hidden_input(&job.compile.input));
    }
    let alias = text_decides(&job.compile).then_some(text.key);
    let by_alias = alias.and_then(|alias| {
        let read = || read_known(session, &alias, RecordKind::Alias, SectionKind::AliasKey);
        let fetch = || session.fetch(RecordKind::Alias, &alias, 0).and_then(|_| read());
        read_alias(&read().or_else(fetch)?)
    });
    if alias.is_some() && by_alias.is_none() {
        session.count(Counter::LocalStorageReadMiss);
    }
    let by_alias = by_alias.and_then(|(result, cost_us)| {
        let answer = restored(session, &job, &result)?;
        session.avoided_us.set(cost_us);
        Some((result, answer))
    });
    let found = by_alias.or_else(|| by_inputs(session, &job, &text));
    let Some((result, answer)) = found else {
        session.count_text_miss();
        if !session.call.config.direct_mode.value {
            session.hinder(Obstacle::NoText);
        }
        return Answer::Miss { job, alias };
    };
    session.count(Counter::PreprocessedCacheHit);
    session.log(format_args!("preprocessed hit for {}", job.compile.input.display()));
    remember(session, &job, &text, &result);
    answer
}

/// A result for these very inputs. With manifests they have been asked already; without, this is
/// how results are found that the text does not decide.
fn by_inputs(session: &Session<'_>, job: &Job, text: &Text) -> Option<(Key, Answer)> {
    if session.call.config.direct_mode.value {
        return None;
    }
    let moment = text.inputs.moment(session, job)?;
    job.states().into_iter().find_map(|state| {
        let result = result_key(&job.direct, &text.inputs.list, &moment, state);
        // What is not there is no miss yet: another state may be.
        session.has_result(&result).unwrap_or(true).then_some(())?;
        Some((result, restored(session, job, &result)?))
    })
}

/// Adds the state of the inputs that led to `result` to the manifest.
fn remember(session: &Session<'_>, job: &Job, text: &Text, result: &Key) {
    let Some(moment) = text.inputs.moment(session, job) else { return };
    let config = session.call.config;
    if session.is_dry || config.is_read_only() || !config.direct_mode.value {
        return;
    }
    let mut manifest = read_whole_manifest(session, &job.direct);
    // Only results without messages have a preprocessed key. It belongs to one directory.
    let state = job.state(false, job.place.is_some());
    let state = State { cost_us: session.avoided_us.get(), ..text.inputs.state(state, moment) };
    manifest.add(*result, &state, &text.inputs.list);
    let sections = manifest.sections();
    session.put(vec![Entry::new(job.direct, RecordKind::Manifest, sections)]);
}
