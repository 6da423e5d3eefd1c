//! What the tiers have of what the local store has not.
//!
//! 1. Only a miss in the local store and in the lower ones comes here: a local hit opens no socket
//!    and starts no process.
//! 2. The agent puts what it finds into the local store, and this process reads it there, through
//!    the checks of every look-up. Where no agent can live, a program that ends does the same.
//! 3. Whatever fails here is a miss, and nobody is asked again in this call. Only a write policy
//!    that was asked for makes a failed write one of the compile.

use std::fs;
use std::path::Path;
use std::process::{ExitStatus, exit};

use larder_engine::{Entry, Key, RecordKind};

use super::Session;
use super::records::{Lead, read_manifest};
use crate::agent::{Client, Launch, Reply, Request};
use crate::config::WritePolicy;
use crate::manifest::Manifest;
use crate::outcome::Counter;

/// The exit status of a compile whose result could not be written everywhere.
const STATUS_NOT_WRITTEN: i32 = 1;

/// Who speaks with the tiers.
#[derive(Debug, Default)]
pub(super) enum Remote {
    /// Nobody was asked for yet.
    #[default]
    Unknown,
    /// The agent.
    Agent(Client),
    /// A program for each request.
    Alone,
    /// Nobody.
    Nobody,
}

impl Session<'_> {
    fn has_tiers(&self) -> bool {
        !self.call.config.tiers.value.is_empty() && !self.is_dry && !self.store.is_read_only()
    }

    /// Asks, and waits for the answer; `None` if nobody can be asked.
    fn ask(&self, request: &Request) -> Option<Reply> {
        let mut remote = self.remote.borrow_mut();
        let launch = Launch::new(self.call.config, self.store.path());
        if matches!(*remote, Remote::Unknown) {
            *remote = match launch.connect() {
                Ok(client) => Remote::Agent(client),
                Err(error) => {
                    self.log(format_args!("no agent: {error}"));
                    Remote::Alone
                }
            };
        }
        let asked = match &mut *remote {
            Remote::Agent(client) if request.is_answered() => client.ask(request),
            Remote::Agent(client) => client.tell(request).map(|()| Reply::Done),
            Remote::Alone => launch.alone(request),
            _ => return None,
        };
        asked
            .map_err(|error| {
                self.log(format_args!("the tiers cannot be asked: {error}"));
                self.count(Counter::RemoteStorageError);
                *remote = Remote::Nobody;
            })
            .ok()
    }

    /// Lets the tiers from one on be asked for a record. Returns the tier that had it; it stands in
    /// the store then.
    pub(super) fn fetch(&self, kind: RecordKind, key: &Key, from: u8) -> Option<u8> {
        if !self.has_tiers() || from as usize >= self.call.config.tiers.value.len() {
            return None;
        }
        let reply = self.ask(&Request::Get { kind, from, key: *key })?;
        if let Reply::Failed(why) = &reply {
            self.log(format_args!("the tiers: {why}"));
            self.count(Counter::RemoteStorageError);
            return None;
        }
        let Reply::Found(tier) = reply else {
            self.count(Counter::RemoteStorageReadMiss);
            if kind == RecordKind::Result {
                self.count(Counter::RemoteStorageMiss);
            }
            return None;
        };
        self.count(Counter::RemoteStorageReadHit);
        if kind == RecordKind::Result {
            self.count(Counter::RemoteStorageHit);
        }
        self.log(format_args!("tier {tier} has {key}"));
        Some(tier)
    }

    /// Counts a result that stands in the store, where a tier's manifest led to it: the agent has
    /// fetched it beside that.
    pub(super) fn note_prefetched(&self) {
        if self.has_counted(Counter::RemoteStorageReadHit) {
            self.count(Counter::RemoteStorageReadHit);
            self.count(Counter::RemoteStorageHit);
        }
    }

    /// Counts a miss of the tiers, if they were asked and had no result.
    pub(super) fn count_remote_miss(&self) {
        let results = [Counter::RemoteStorageHit, Counter::RemoteStorageMiss];
        if self.has_counted(Counter::RemoteStorageReadMiss)
            && !results.into_iter().any(|counter| self.has_counted(counter))
        {
            self.count(Counter::RemoteStorageMiss);
        }
    }

    /// The manifest under a key, and what `fits` finds in it: that of the store, else that of a
    /// lower store, else that of the store with what tiers add to it. Where nothing fits, the first
    /// that there is.
    pub(super) fn manifest(
        &self,
        key: &Key,
        fits: impl Fn(&Manifest) -> Option<Lead>,
    ) -> Option<(Manifest, Option<Lead>)> {
        let read = || {
            let manifest = read_manifest(self, key)?;
            let found = fits(&manifest);
            Some((manifest, found))
        };
        let misses = |manifest: &Option<(Manifest, Option<Lead>)>| {
            manifest.as_ref().is_none_or(|(_, found)| found.is_none())
        };
        let mut manifest = read();
        if misses(&manifest) {
            let below = self.manifest_below(key, &fits);
            if manifest.is_none() || !misses(&below) {
                manifest = below;
            }
        }
        let mut from = 0;
        while misses(&manifest) {
            let Some(tier) = self.fetch(RecordKind::Manifest, key, from) else { break };
            manifest = read().or(manifest);
            let Some(next) = tier.checked_add(1) else { break };
            from = next;
        }
        manifest
    }

    /// Sees to it that what is stored from now on will be written behind. An agent that is started
    /// later would begin behind it.
    pub(super) fn expect_tiers(&self) {
        if self.has_tiers() && matches!(*self.remote.borrow(), Remote::Unknown) {
            self.ask(&Request::Stored);
        }
    }

    /// Tells of what was stored, or waits until the tiers have it.
    pub(super) fn tell_tiers(&self, entries: &[Entry<'_>]) {
        if !self.has_tiers() {
            return;
        }
        let is_strict = self.call.config.write_policy.value == WritePolicy::All;
        let is_alone = matches!(*self.remote.borrow(), Remote::Alone);
        if !is_strict && !is_alone {
            self.ask(&Request::Stored);
            return;
        }
        let kinds = [RecordKind::Result, RecordKind::Manifest, RecordKind::Alias];
        let wanted = entries.iter().filter(|entry| kinds.contains(&entry.kind));
        let keys = wanted.map(|entry| entry.key).collect();
        match self.ask(&Request::Sync(keys)) {
            Some(Reply::Done) => {}
            Some(Reply::Failed(why)) => self.fail_write(WritePolicy::All, &why),
            _ => self.fail_write(WritePolicy::All, "the tiers cannot be asked"),
        }
    }

    /// Notes that a write has failed, which some policies make a failure of the compile.
    pub(super) fn fail_write(&self, who: WritePolicy, why: &str) {
        let policy = self.call.config.write_policy.value;
        if policy == WritePolicy::All || policy == who {
            self.failed_write.borrow_mut().get_or_insert_with(|| why.to_owned());
        }
    }

    /// Ends a compile whose result had to be written, and was not: without its outputs.
    pub(super) fn end_if_not_written<'a>(
        &self,
        status: Option<ExitStatus>,
        outputs: impl Iterator<Item = &'a Path>,
    ) -> Option<ExitStatus> {
        let Some(why) = self.failed_write.take().filter(|_| status.is_some()) else {
            return status;
        };
        for output in outputs {
            let _ = fs::remove_file(output);
        }
        super::finish(self, true);
        eprintln!("larder: the result is not written, and write_policy wants it to be: {why}");
        exit(STATUS_NOT_WRITTEN)
    }
}
