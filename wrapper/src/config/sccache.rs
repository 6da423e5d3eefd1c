//! sccache's configuration, for a larder that is called `sccache`.
//!
//! 1. Sources, the highest first: the environment, the TOML file that `SCCACHE_CONF` names (else
//!    `$XDG_CONFIG_HOME/sccache/config` or `~/.config/sccache/config`), the defaults. Each setting
//!    is taken by itself.
//! 2. The store is the directory `larder` in the cache's directory: `SCCACHE_DIR`, else
//!    `$XDG_CACHE_HOME/sccache` or `~/.cache/sccache`. Nothing else is made there.
//! 3. A wrong value never stops a compile: the default stands, and a problem says so. A file that
//!    is there and cannot be understood leaves open which store is meant, unless `SCCACHE_DIR`
//!    says it: then there is none.
//! 4. What is about a server, [`NOTHING`], is accepted and changes nothing. What is about places
//!    for results that larder has not, [`ELSEWHERE`], is noted: it is told once that it is not
//!    applied. Redis, memcached, S3 and WebDAV are the matter of `remote`.
//! 5. docs/sccache.md has the whole table, which a test compares.

mod remote;
#[cfg(test)]
mod tests;

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{self, PathBuf};

use remote::Remote;

use super::keys::KEYS as OWN_KEYS;
use super::value::{Sloppiness, Text};
use super::{Config, MAX_SIZE_BYTES_MIN, NAMESPACE_BYTES_MAX, OWN_VARIABLES, Origin, Setting};
use super::{absolute, open_file, parse_table, read_bounded, text_of};

/// What every variable begins with.
const PREFIX: &str = "SCCACHE_";
/// The levels of zstd that sccache has.
const LEVELS: std::ops::RangeInclusive<i32> = 1..=22;

/// What a larder called `sccache` knows beside the settings that it has anyway.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sccache {
    /// Settings of other places for results, as they were named: not applied.
    pub unapplied: Vec<String>,
    /// The levels of the chain, the local store and one for each tier; none without a chain.
    pub levels: Vec<&'static str>,
}

/// What a setting is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Means {
    Dir,
    Size,
    Direct,
    Mode,
    Level,
    BaseDirs,
    Recache,
    NoCache,
    ExtraFiles,
    Buster,
    ErrorLog,
    IgnoreTimeMacros,
    SkipSystemHeaders,
}

/// Variables that are applied.
const VARIABLES: &[(&str, Means)] = &[
    ("SCCACHE_DIR", Means::Dir),
    ("SCCACHE_CACHE_SIZE", Means::Size),
    ("SCCACHE_DIRECT", Means::Direct),
    ("SCCACHE_LOCAL_RW_MODE", Means::Mode),
    ("SCCACHE_CACHE_ZSTD_LEVEL", Means::Level),
    ("SCCACHE_BASEDIRS", Means::BaseDirs),
    ("SCCACHE_RECACHE", Means::Recache),
    ("SCCACHE_NO_CACHE", Means::NoCache),
    ("SCCACHE_EXTRAFILES", Means::ExtraFiles),
    ("SCCACHE_C_CUSTOM_CACHE_BUSTER", Means::Buster),
    ("SCCACHE_ERROR_LOG", Means::ErrorLog),
];

/// Keys of the file that are applied.
const KEYS: &[(&str, Means)] = &[
    ("cache.disk.dir", Means::Dir),
    ("cache.disk.size", Means::Size),
    ("cache.disk.rw_mode", Means::Mode),
    ("cache.disk.preprocessor_cache_mode.use_preprocessor_cache_mode", Means::Direct),
    ("cache.disk.preprocessor_cache_mode.ignore_time_macros", Means::IgnoreTimeMacros),
    ("cache.disk.preprocessor_cache_mode.skip_system_headers", Means::SkipSystemHeaders),
    ("basedirs", Means::BaseDirs),
];

/// Variables and keys that change nothing: there is no server, and what they would allow or forbid
/// is so anyway.
const NOTHING: &[&str] = &[
    "SCCACHE_ALLOW_CORE_DUMPS",
    "SCCACHE_CACHED_CONF",
    "SCCACHE_CACHE_MULTIARCH",
    "SCCACHE_CLIENT_SIDE",
    "SCCACHE_CONF",
    "SCCACHE_IDLE_TIMEOUT",
    "SCCACHE_IGNORE_SERVER_IO_ERROR",
    "SCCACHE_LOG",
    "SCCACHE_LOG_MILLIS",
    "SCCACHE_MAX_FRAME_LENGTH",
    "SCCACHE_NO_DAEMON",
    "SCCACHE_PATH",
    "SCCACHE_SERVER_PORT",
    "SCCACHE_SERVER_UDS",
    "SCCACHE_SKIP_CACHE_CHECK",
    "SCCACHE_STARTUP_NOTIFY",
    "SCCACHE_START_SERVER",
    "SCCACHE_WEBDAV_DISABLE_CREATE_DIR",
    "cache.disk.preprocessor_cache_mode.file_stat_matches",
    "cache.disk.preprocessor_cache_mode.hash_working_directory",
    "cache.disk.preprocessor_cache_mode.use_ctime_for_stat",
    "cache.webdav.disable_create_dir",
    "client_side_mode",
    "server_startup_timeout_ms",
];

/// How variables and keys begin that name other places for results, or for compiles.
const ELSEWHERE: &[&str] = &[
    "SCCACHE_AZURE_",
    "SCCACHE_COS_",
    "SCCACHE_DIST_",
    "SCCACHE_GCS_",
    "SCCACHE_GHA_",
    "SCCACHE_OSS_",
    "cache.azure",
    "cache.cos",
    "cache.gcs",
    "cache.gha",
    "cache.oss",
    "dist",
];

/// The configuration of larder that the settings of this process mean.
pub fn load() -> Config {
    from_variables(&env::vars_os().collect::<Vec<_>>())
}

fn from_variables(variables: &[(OsString, OsString)]) -> Config {
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    };
    let default = base(&variable, "XDG_CACHE_HOME", ".cache");
    let mut reading = Reading {
        config: Config::defaults(default.map(|dir| dir.join("larder"))),
        has_dir: variable("SCCACHE_DIR").is_some_and(|dir| !dir.is_empty()),
        unapplied: Vec::new(),
        remote: Remote::default(),
    };
    reading.read_file(&variable);
    reading.read_variables(variables);
    if variable("SCCACHE_LOG").is_some_and(|level| level == "off") {
        reading.config.log = Setting::default(None);
    }
    let Reading { mut config, mut unapplied, remote, .. } = reading;
    let levels = remote.settle(&mut config, &mut unapplied);
    for key in OWN_KEYS.iter().filter(|key| OWN_VARIABLES.contains(&key.variable)) {
        if let Some(value) = variable(key.variable) {
            config.set(key, Text::One(value), Origin::Environment(key.variable));
        }
    }
    unapplied.sort_unstable();
    config.sccache = Some(Box::new(Sccache { unapplied, levels }));
    config.settle();
    config
}

/// sccache's directory of a sort.
fn base(
    variable: &impl Fn(&str) -> Option<OsString>,
    name: &str,
    default: &str,
) -> Option<PathBuf> {
    let home = || Some(absolute(variable("HOME")).or_else(env::home_dir)?.join(default));
    Some(absolute(variable(name)).or_else(home)?.join("sccache"))
}

/// A configuration that is being read.
struct Reading {
    config: Config,
    /// Whether the environment says where the cache is.
    has_dir: bool,
    unapplied: Vec<String>,
    remote: Remote,
}

impl Reading {
    fn read_file(&mut self, variable: &impl Fn(&str) -> Option<OsString>) {
        let named = variable("SCCACHE_CONF").filter(|path| !path.is_empty()).map(PathBuf::from);
        let is_named = named.is_some();
        let default = || Some(base(variable, "XDG_CONFIG_HOME", ".config")?.join("config"));
        let Some(path) = named.or_else(default) else { return };
        let origin = Origin::File(path.clone());
        let text = match open_file(&path).and_then(read_bounded) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => return,
            Err(error) => {
                let what = format!("cannot read {}: {error}", path.display());
                match error.kind() {
                    // sccache goes on without it.
                    io::ErrorKind::NotFound => {
                        self.config.add_problem(format!("{what}; the defaults are used"));
                    }
                    _ => self.lose_dir(what, origin),
                }
                return;
            }
        };
        match parse_table(&path, &text) {
            Ok(table) => self.read_table("", table, &origin),
            Err(problem) => self.lose_dir(problem, origin),
        }
    }

    /// A file that is not understood may be the one that names the store.
    fn lose_dir(&mut self, problem: String, origin: Origin) {
        match self.has_dir {
            true => self.config.add_problem(format!("{problem}; it is ignored")),
            false => self.config.lose_dir(problem, origin),
        }
    }

    fn read_table(&mut self, above: &str, table: toml::Table, origin: &Origin) {
        for (name, value) in table {
            let name = if above.is_empty() { name } else { format!("{above}.{name}") };
            if ELSEWHERE.contains(&name.as_str()) {
                self.unapplied.push(format!("{name} in {origin}"));
                continue;
            }
            if let Some(row) = remote::ROWS.iter().find(|row| row.key == name) {
                self.read_remote(row, value, origin);
                continue;
            }
            let means = KEYS.iter().find(|(known, _)| *known == name).map(|(_, means)| *means);
            match (means, value) {
                (None, toml::Value::Table(table)) => self.read_table(&name, table, origin),
                (None, _) if NOTHING.contains(&name.as_str()) => {}
                (None, _) => {
                    let problem = format!("{origin} has an unknown key \"{name}\"; it is ignored");
                    self.config.add_problem(problem);
                }
                (Some(means), value) => {
                    let place = format!("{name} in {origin}");
                    match text_of(value) {
                        Ok(text) => self.set(means, text, origin, &place),
                        Err(what) => self.refuse(means, &place, &format!("is a {what}"), origin),
                    }
                }
            }
        }
    }

    fn read_remote(&mut self, row: &'static remote::Row, value: toml::Value, origin: &Origin) {
        let place = format!("{} in {origin}", row.key);
        let text = text_of(value).map_err(|what| format!("is a {what}"));
        if let Err(what) = text.and_then(|text| self.remote.note(row, text, origin, &place)) {
            self.config.add_problem(format!("{place} {what}; it is ignored"));
        }
    }

    fn read_variables(&mut self, variables: &[(OsString, OsString)]) {
        for (name, value) in variables {
            if !name.as_bytes().starts_with(PREFIX.as_bytes()) {
                continue;
            }
            if let Some((name, means)) = VARIABLES.iter().find(|(known, _)| name == known) {
                // An empty value is none, but for switches that count by being there.
                if !value.is_empty() || matches!(means, Means::Recache | Means::NoCache) {
                    let text = Text::One(value.clone());
                    self.set(*means, text, &Origin::Environment(name), name);
                }
            } else if let Some(row) = remote::ROWS.iter().find(|row| name == row.variable) {
                let name = row.variable;
                let (text, origin) = (Text::One(value.clone()), Origin::Environment(name));
                if let Err(what) = self.remote.note(row, text, &origin, name) {
                    self.config.add_problem(format!("{name} {what}; it is ignored"));
                }
            } else if let Some(name) = name.to_str()
                && !NOTHING.contains(&name)
                && ELSEWHERE.iter().any(|start| name.starts_with(start))
            {
                self.unapplied.push(name.to_owned());
            }
        }
    }

    /// Takes a value, which stands at `place`.
    fn set(&mut self, means: Means, text: Text, origin: &Origin, place: &str) {
        if let Err(what) = self.take(means, text, origin) {
            self.refuse(means, place, &what, origin);
        }
    }

    fn refuse(&mut self, means: Means, place: &str, what: &str, origin: &Origin) {
        match means {
            Means::Dir => self.lose_dir(format!("{place} {what}"), origin.clone()),
            Means::Size => {
                let instead = "the default, 10 GiB, is used";
                self.config.add_problem(format!("{place} {what}; {instead}"));
            }
            _ => self.config.add_problem(format!("{place} {what}; it is ignored")),
        }
    }

    fn take(&mut self, means: Means, text: Text, origin: &Origin) -> Result<(), String> {
        let config = &mut self.config;
        match means {
            Means::Dir => {
                let path = path::absolute(text.path()?).map_err(|error| error.to_string())?;
                config.dir = setting(Some(path.join("larder")), origin);
            }
            Means::Size => {
                let bytes = parse_size(text.as_str()?).ok_or_else(|| not_a_size(&text))?;
                config.max_size_bytes = setting(bytes.max(MAX_SIZE_BYTES_MIN), origin);
            }
            Means::Direct => config.direct_mode = setting(text.switch()?, origin),
            Means::Mode => config.readonly = setting(is_read_only(text.as_str()?)?, origin),
            Means::Level => {
                let level = text.as_str()?.parse().ok().filter(|level| LEVELS.contains(level));
                let level = level.ok_or("is no number from 1 to 22")?;
                config.compression_level = setting(level, origin);
            }
            Means::BaseDirs => {
                let base_dirs = text.paths(origin)?;
                config.base_dirs = setting(base_dirs, origin);
            }
            // That they are there counts, as with sccache, whatever they say.
            Means::Recache => config.recache = setting(true, origin),
            Means::NoCache => config.disable = setting(true, origin),
            Means::ExtraFiles => {
                let files =
                    text.items(b":").into_iter().filter_map(|path| path::absolute(path).ok());
                config.extra_files_to_hash = setting(files.collect(), origin);
            }
            Means::Buster => config.namespace = setting(namespace(text.as_str()?), origin),
            Means::ErrorLog => config.log = setting(Some(text.path()?), origin),
            Means::IgnoreTimeMacros => self.loosen(text.switch()?, "time_macros", origin),
            Means::SkipSystemHeaders => self.loosen(text.switch()?, "system_headers", origin),
        }
        Ok(())
    }

    /// Adds a sloppiness.
    fn loosen(&mut self, is_on: bool, name: &str, origin: &Origin) {
        if !is_on {
            return;
        }
        let known = self.config.sloppiness.value.show();
        let names: Vec<OsString> = known.split(',').chain([name]).map(OsString::from).collect();
        self.config.sloppiness = setting(Sloppiness::parse(&names).0, origin);
    }
}

fn setting<T>(value: T, origin: &Origin) -> Setting<T> {
    Setting { value, origin: origin.clone() }
}

/// A size as sccache writes it: a whole number, with K, M, G or T for powers of 1024.
fn parse_size(text: &str) -> Option<u64> {
    let unit = match text.chars().last().map(|last| last.to_ascii_uppercase()) {
        Some('K') => 1 << 10,
        Some('M') => 1 << 20,
        Some('G') => 1 << 30,
        Some('T') => 1 << 40,
        _ => 1,
    };
    let number = if unit > 1 { &text[..text.len() - 1] } else { text };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

fn not_a_size(text: &Text) -> String {
    let text = text.as_str().unwrap_or_default();
    format!("is \"{text}\", which is no number with K, M, G or T behind it")
}

fn is_read_only(text: &str) -> Result<bool, String> {
    match text.to_ascii_uppercase().as_str() {
        "READ_ONLY" => Ok(true),
        "READ_WRITE" => Ok(false),
        _ => Err(format!("is \"{text}\", which is neither READ_ONLY nor READ_WRITE")),
    }
}

/// A longer one still keeps results apart.
fn namespace(text: &str) -> String {
    match text.len() > NAMESPACE_BYTES_MAX {
        true => blake3::hash(text.as_bytes()).to_string(),
        false => text.to_owned(),
    }
}
