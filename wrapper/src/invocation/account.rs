//! What is recorded of a call: its time, a line of the log of calls, and the account of one that
//! was no hit.
//!
//! A hit reads the clock once more and adds to counters; without `stats_log` it does nothing else
//! here. The account of a miss is stored together with its result, the call file gets every call
//! that was no hit ([`recent`]).

use std::env;
use std::fs;
use std::path::Path;

use larder_engine::env::clock_ns;
use larder_engine::{Entry, Key, RecordKind, Section, SectionKind};

use super::{Job, Session};
use crate::account::{Account, Obstacle, Part, history, plain_path, recent};
use crate::fingerprint::{direct_rows, is_variable, text_key};
use crate::manifest::Input;
use crate::outcome::{CALL_ERRORS, Counter, HIT_BUCKETS_FROM, MISS_BUCKETS_FROM, time_bucket};
use crate::stats::calls;

/// The texts of one miss that are kept with `explain_sources`; `put_all` takes 64 records.
const TEXTS_MAX: usize = 48;
/// A longer text is likelier made than written.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// Headers here are not kept: who changes them is the system.
const SYSTEM: &str = "/usr";

/// Nanoseconds as microseconds, as far as they fit.
pub(super) fn microseconds(ns: u64) -> u32 {
    u32::try_from(ns / 1000).unwrap_or(u32::MAX)
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Hit,
    Miss,
    /// A failure that was answered.
    Answered,
    Other,
}

fn end(session: &Session<'_>) -> End {
    let counts = session.counts.borrow();
    let has = |wanted: Counter| counts.iter().any(|(counter, _)| *counter == wanted);
    if has(Counter::DirectCacheHit) || has(Counter::PreprocessedCacheHit) {
        // What could not be written to stdout is compiled after all, and is a hit all the same.
        End::Hit
    } else if has(Counter::CacheMiss) {
        End::Miss
    } else if has(Counter::FailureCacheHit) {
        End::Answered
    } else {
        End::Other
    }
}

/// Counts the time of a call, and writes its line.
pub(super) fn close(session: &Session<'_>) {
    let spent_ns = clock_ns().saturating_sub(session.call.started_ns);
    let us = spent_ns / 1000;
    let counters = session.store.counters();
    let end = end(session);
    counters.add(Counter::CallsMade as usize, 1);
    if let Some(id) = counter_of_kind(session, end) {
        counters.add(id, 1);
    }
    match end {
        End::Hit => {
            session.count_many(Counter::HitTime, us);
            match session.avoided_us.get() {
                0 => session.count(Counter::AvoidedUnknown),
                avoided => session.count_many(Counter::AvoidedTime, u64::from(avoided)),
            }
            counters.add(HIT_BUCKETS_FROM + time_bucket(spent_ns), 1);
        }
        End::Miss => {
            let compile_us = session.account.borrow().cost_us;
            session.count_many(Counter::MissTime, us);
            session.count_many(Counter::CompileTime, u64::from(compile_us));
            counters.add(MISS_BUCKETS_FROM + time_bucket(spent_ns), 1);
        }
        End::Answered | End::Other => {}
    }
    if let Some(path) = &session.call.config.stats_log.value {
        write_line(session, path, us);
    }
}

/// Where the end of this call is counted for its language.
fn counter_of_kind(session: &Session<'_>, end: End) -> Option<usize> {
    let kind = session.kind.get()?;
    let is_error = || {
        let counts = session.counts.borrow();
        counts.iter().any(|(counter, _)| CALL_ERRORS.contains(counter))
    };
    match end {
        End::Hit => Some(kind.hits()),
        End::Miss => Some(kind.misses()),
        End::Other if is_error() => Some(kind.errors()),
        End::Answered | End::Other => None,
    }
}

fn write_line(session: &Session<'_>, path: &Path, us: u64) {
    let account = session.account.borrow();
    let cost_us = match end(session) {
        End::Hit => session.avoided_us.get(),
        _ => account.cost_us,
    };
    let counts = session.counts.borrow();
    let ids = counts.iter().filter(|(counter, _)| calls::is_logged(*counter));
    let line = calls::Line {
        at_secs: session.call.started_ns / 1_000_000_000,
        spent_us: us,
        compile_us: u64::from(cost_us),
        ids: ids.map(|(counter, _)| *counter as u16).collect(),
        source: account.source.to_string_lossy().into_owned(),
        reason: account.reason.clone(),
    };
    calls::append(path, &line.text());
}

/// Keeps the account of a call that was no hit.
pub(super) fn keep(session: &Session<'_>) {
    let counts = session.counts.borrow();
    let has = |wanted: Counter| counts.iter().any(|(counter, _)| *counter == wanted);
    let mut account = session.account.borrow_mut();
    match end(session) {
        End::Hit | End::Answered => return,
        End::Miss => account.outcome = Counter::CacheMiss as u16,
        End::Other if has(Counter::CompileFailed) => {
            account.outcome = Counter::CompileFailed as u16;
        }
        End::Other => {}
    }
    account.at_ns = session.call.started_ns;
    account.hits_before = session.hits();
    if account.rows.is_empty() {
        account.directory = env::current_dir().unwrap_or_default();
        account.compiler = session.call.compiler.to_path_buf();
        account.words = session.call.arguments.to_vec();
    }
    recent::write(&session.store, &account);
}

impl Session<'_> {
    /// Hits that the store has counted.
    pub(super) fn hits(&self) -> u64 {
        let count = |counter: Counter| self.store.counters().get(counter as usize);
        count(Counter::DirectCacheHit).saturating_add(count(Counter::PreprocessedCacheHit))
    }

    /// Remembers what is in the way of a hit.
    pub(super) fn hinder(&self, obstacle: Obstacle) {
        self.obstacle.replace(obstacle);
    }

    /// Remembers the source for the log of calls, if there is one.
    pub(super) fn note_source(&self, job: &Job) {
        if self.call.config.stats_log.value.is_some() {
            self.account.borrow_mut().source = plain_path(&job.directory, &job.compile.input);
        }
    }

    /// What there is to tell of a job before it is known how it ends.
    pub(super) fn account_of(&self, job: &Job) -> Account {
        let mut rows = self.facts(job, direct_rows);
        // Most variables are not set.
        let unset = [0u64.to_le_bytes().to_vec()];
        rows.retain(|row| !(row.fields == unset && is_variable(&row.name)));
        let part = |(path, digest): (&Path, &[u8; 32])| {
            let mut start = [0; 8];
            start.copy_from_slice(&digest[..8]);
            Part { path: path.to_path_buf(), digest: start }
        };
        Account {
            at_ns: self.call.started_ns,
            source: plain_path(&job.directory, &job.compile.input),
            directory: job.directory.clone(),
            compiler: self.call.compiler.to_path_buf(),
            direct: Some(job.direct),
            rows,
            parts: job.toolchain.parts().map(part).collect(),
            hits_before: self.hits(),
            obstacle: self.obstacle.borrow().clone(),
            ..Account::default()
        }
    }

    /// Makes the account of a job for which the compiler has run.
    pub(super) fn describe(&self, job: &Job, cost_us: u32) {
        let account = Account { cost_us, ..self.account_of(job) };
        self.account.replace(account);
    }

    /// The account of a miss as it is stored with the result, and the texts of its inputs if they
    /// are asked for.
    pub(super) fn entries_of_account(
        &self,
        directory: &Path,
        inputs: &[Input],
        result: &Key,
    ) -> Vec<Entry<'static>> {
        let mut account = self.account.borrow_mut();
        account.outcome = Counter::CacheMiss as u16;
        account.result = Some(*result);
        let mut entries: Vec<_> = history::with(&self.store, &account).into_iter().collect();
        if self.call.config.explain_sources.value {
            let files = inputs.iter();
            let texts = files.filter(|input| !input.path.starts_with(SYSTEM)).filter_map(|input| {
                let key = text_key(&input.digest);
                let path = directory.join(&input.path);
                let is_short = fs::metadata(&path).is_ok_and(|m| m.len() <= TEXT_BYTES_MAX);
                let is_new = is_short && !self.store.contains(&key).unwrap_or(true);
                let text = is_new.then(|| fs::read(&path).ok()).flatten()?;
                // The file may have been changed since it was looked at.
                (*blake3::hash(&text).as_bytes() == input.digest).then_some(())?;
                let section = Section::new(SectionKind::Data, text);
                Some(Entry::new(key, RecordKind::Blob, vec![section]))
            });
            entries.extend(texts.take(TEXTS_MAX));
        }
        entries
    }
}
