//! The store of the demo: the environment that leads larder to it, its counters, its size.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::{self, Outcome};

/// A larder binary and the store that it uses here.
pub struct Store {
    wrapper: PathBuf,
    folder: PathBuf,
    config: PathBuf,
    tiers: Option<String>,
}

impl Store {
    /// The store in `folder`, which larder creates when it first needs it.
    pub fn new(wrapper: PathBuf, folder: PathBuf, config: PathBuf) -> Store {
        Store { wrapper, folder, config, tiers: None }
    }

    /// The same with remote tiers behind it.
    pub fn with_tiers(self, tiers: &str) -> Store {
        Store { tiers: Some(tiers.to_owned()), ..self }
    }

    /// Where the store is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The larder binary.
    pub fn program(&self) -> &Path {
        &self.wrapper
    }

    /// A call of larder.
    pub fn larder(&self) -> Command {
        let mut command = Command::new(&self.wrapper);
        self.set_environment(&mut command);
        command
    }

    /// Gives the command an environment in which only the demo's own settings speak to larder.
    pub fn set_environment(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LARDER_") {
                command.env_remove(name);
            }
        }
        command.env("LARDER_DIR", &self.folder).env("XDG_CONFIG_HOME", &self.config);
        command.envs(self.tiers.as_ref().map(|tiers| ("LARDER_TIERS", tiers)));
    }

    /// The statistics as they are now.
    pub fn counters(&self) -> Outcome<Counters> {
        Counters::parse(&process::read(self.larder().args(["stats", "--json"]))?)
    }

    /// The disk blocks of everything in the store.
    pub fn bytes_on_disk(&self) -> Outcome<u64> {
        // Where larder never came to create a store, the table says why; here is nothing to count.
        if self.folder.exists() { bytes_on_disk(&self.folder) } else { Ok(0) }
    }
}

fn bytes_on_disk(folder: &Path) -> Outcome<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A file may go while we look: larder's upkeep runs beside us.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += metadata.blocks() * 512;
        if metadata.is_dir() {
            bytes += bytes_on_disk(&entry.path())?;
        }
    }
    Ok(bytes)
}

/// Counters by their ids.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Counters(BTreeMap<String, u64>);

/// Hits and misses: the outcomes that the table shows.
const SHOWN: &[&str] = &["direct_cache_hit", "preprocessed_cache_hit", "cache_miss"];

/// Ids, or their beginnings, that count no calls of a compiler or break down one that does.
const NOT_CALLS: &[&str] = &[
    "direct_cache_miss",
    "preprocessed_cache_miss",
    "cleanups_performed",
    "stats_",
    "local_storage_",
    "remote_storage_",
    "engine_",
    "store_",
    "calls",
    // By language.
    "hits_",
    "misses_",
    "errors_",
    // How the objects of hits came to their files, and how long calls took.
    "objects_",
    "hit_time_",
    "miss_time_",
    "compile_time_",
    "avoided_time_",
    "time_saved_",
    // Derived from the store, under the names of ccache.
    "cache_size_",
    "files_in_cache",
    "max_",
];

/// Ids that begin like others above, but tell of calls that went uncached.
const STORE_TROUBLE: &[&str] = &["store_unavailable", "store_dropped", "store_corrupt"];

impl Counters {
    /// Reads the object that `larder stats --json` prints; what is no number is passed over.
    pub fn parse(text: &str) -> Outcome<Counters> {
        let value: Value = serde_json::from_str(text)?;
        let object = value.as_object().ok_or("`larder stats --json` printed no object")?;
        for id in SHOWN {
            if !object.get(*id).is_some_and(Value::is_u64) {
                return Err(format!("`larder stats --json` has no `{id}`").into());
            }
        }
        let numbers = object.iter().filter_map(|(id, n)| Some((id.clone(), n.as_u64()?)));
        Ok(Counters(numbers.collect()))
    }

    /// What was counted since an earlier reading.
    pub fn since(&self, earlier: &Counters) -> Counters {
        let delta = |(id, n): (&String, &u64)| (id.clone(), n.saturating_sub(earlier.get(id)));
        Counters(self.0.iter().map(delta).filter(|(_, n)| *n > 0).collect())
    }

    /// One counter.
    pub fn get(&self, id: &str) -> u64 {
        self.0.get(id).copied().unwrap_or(0)
    }

    /// Direct and preprocessed hits.
    pub fn hits(&self) -> u64 {
        self.get("direct_cache_hit") + self.get("preprocessed_cache_hit")
    }

    /// Compiles whose results were not there.
    pub fn misses(&self) -> u64 {
        self.get("cache_miss")
    }

    /// Every other outcome of a call with its count: why calls were neither hits nor misses.
    pub fn others(&self) -> Vec<(&str, u64)> {
        let is_other = |id: &str| {
            let is_no_call = NOT_CALLS.iter().any(|beginning| id.starts_with(beginning));
            !SHOWN.contains(&id) && (!is_no_call || STORE_TROUBLE.contains(&id))
        };
        let all = self.0.iter().map(|(id, n)| (id.as_str(), *n));
        all.filter(|(id, _)| is_other(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_and_subtracted() {
        let read = |direct: u64, misses: u64, disabled: u64| {
            Counters::parse(&format!(
                r#"{{"direct_cache_hit": {direct}, "preprocessed_cache_hit": 1,
                     "cache_miss": {misses}, "disabled": {disabled}, "engine_puts": {disabled},
                     "files_in_cache": {disabled}, "calls_kept": {disabled},
                     "compile_time_us": {disabled}, "miss_time_us": {disabled},
                     "hit_time_us": {disabled}, "avoided_time_us": {disabled},
                     "avoided_time_unknown": {disabled}, "time_saved_us": {disabled},
                     "calls": {disabled},
                     "hits_rust": {disabled}, "misses_c_gcc": {disabled},
                     "objects_copied": {disabled}, "objects_cloned": {disabled},
                     "store_corrupt": {disabled}, "store_path": "x"}}"#
            ))
            .unwrap()
        };
        let delta = read(7, 5, 2).since(&read(3, 5, 1));
        assert_eq!((delta.hits(), delta.misses()), (4, 0));
        assert_eq!(delta.others(), [("disabled", 1), ("store_corrupt", 1)]);
    }

    #[test]
    fn statistics_without_the_main_counters_are_refused() {
        assert!(Counters::parse("[]").is_err());
        assert!(Counters::parse(r#"{"direct_cache_hit": 1, "cache_miss": 2}"#).is_err());
    }
}
