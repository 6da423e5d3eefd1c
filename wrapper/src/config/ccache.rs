//! ccache's configuration, for a larder that is called `ccache`.
//!
//! 1. Sources, the highest first: `KEY=VALUE` before the compiler, the environment, the
//!    `ccache.conf` of a directory, the cache's `ccache.conf`, the system's, the defaults. The keys
//!    are the rows of `keys`, what their values may be is the matter of `value`.
//! 2. With `CCACHE_CONFIGPATH` that file is the only one. Else the system's is
//!    `CCACHE_CONFIGPATH2` or `/etc/ccache.conf`, and the cache's stands in `CCACHE_DIR`, in the
//!    `cache_dir` of the system's file, in `~/.ccache` if there is one, in
//!    `$XDG_CONFIG_HOME/ccache`, or in `~/.config/ccache`: the first of these.
//! 3. A wrong value is an error that names its place, as there: nothing is compiled. Keys that are
//!    not known are passed over.
//! 4. `meaning` says what the values mean for [`Config`](super::Config).

mod directory;
mod file;
mod keys;
mod meaning;
mod remote;
#[cfg(test)]
mod tests;
mod value;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use keys::{ALIASES, KEYS, Key, Kind};

pub use meaning::Ccache;
pub use value::{parse_size, show_size};

/// The file of settings that is not there unless somebody made it.
const SYSTEM_FILE: &str = "/etc/ccache.conf";
/// What every file of settings is called.
const FILE_NAME: &str = "ccache.conf";
/// What every variable begins with.
const PREFIX: &str = "CCACHE_";

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A variable.
    Environment,
    /// A `KEY=VALUE` before the compiler.
    CommandLine,
    /// A file of settings.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Environment => f.write_str("environment"),
            Origin::CommandLine => f.write_str("command line"),
            Origin::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What is wrong with a configuration, in a sentence that names the place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// Every setting with its origin.
#[derive(Clone, Debug)]
pub struct Settings {
    /// In the order of the keys; texts have been looked at and expanded.
    values: Vec<(OsString, Origin)>,
    file: PathBuf,
    system_file: PathBuf,
    runtime_dir: Option<PathBuf>,
}

/// The settings of this process: its environment, its working directory and some `KEY=VALUE`.
///
/// # Errors
/// If a value or a file is wrong.
pub fn load(command_line: &[OsString]) -> Result<Settings, Error> {
    load_with(command_line, &[])
}

/// The same as if some variables were set, each of them once.
///
/// # Errors
/// If a value or a file is wrong.
pub fn load_with(
    command_line: &[OsString],
    set: &[(&'static str, OsString)],
) -> Result<Settings, Error> {
    let is_set = |name: &OsString| set.iter().any(|(other, _)| name == other);
    let set = set.iter().map(|(name, value)| (OsString::from(name), value.clone()));
    let kept = env::vars_os().filter(|(name, _)| !is_set(name));
    let variables = set.chain(kept).collect::<Vec<_>>();
    let directory = env::current_dir().ok();
    Settings::from_sources(&variables, directory.as_deref(), command_line)
}

/// Whether a word is `KEY=VALUE` with a key that there is.
pub fn is_assignment(word: &OsStr) -> bool {
    let key = word.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
    key.len() < word.len() && std::str::from_utf8(key).is_ok_and(|key| find(key).is_some())
}

/// The place of a key in the table.
fn find(name: &str) -> Option<usize> {
    let known = |name: &str| KEYS.iter().position(|key| key.name == name);
    known(name).or_else(|| {
        let alias = ALIASES.iter().find(|alias| !name.is_empty() && alias.name == name)?;
        known(alias.of)
    })
}

impl Settings {
    fn from_sources(
        variables: &[(OsString, OsString)],
        directory: Option<&Path>,
        command_line: &[OsString],
    ) -> Result<Settings, Error> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        let places = Places::of(&variable);
        let mut settings = Settings {
            values: KEYS.iter().map(|key| (key.default.into(), Origin::Default)).collect(),
            file: PathBuf::new(),
            system_file: PathBuf::new(),
            runtime_dir: None,
        };
        if let Some(home) = &places.home {
            settings.put("ceiling_dirs", home.into());
        }
        match variable("CCACHE_CONFIGPATH") {
            Some(path) => settings.file = path.into(),
            None => {
                let system = variable("CCACHE_CONFIGPATH2").unwrap_or_else(|| SYSTEM_FILE.into());
                settings.system_file = system.into();
                settings.read_file(&settings.system_file.clone(), &variable)?;
                let named = settings.path("cache_dir");
                let named = variable("CCACHE_DIR").map(PathBuf::from).or(named);
                settings.file = named.unwrap_or(places.config).join(FILE_NAME);
            }
        }
        settings.read_file(&settings.file.clone(), &variable)?;
        if let Some(directory) = directory.filter(|_| variable("CCACHE_CONFIGPATH").is_none()) {
            settings.read_limits_of_search(variables, &variable)?;
            settings.read_directory(directory, &variable)?;
        }
        settings.read_variables(variables, &variable)?;
        for word in command_line {
            settings.read_assignment(word, &variable)?;
        }
        if settings.text("cache_dir").is_empty() {
            settings.put("cache_dir", places.cache.into());
        }
        settings.runtime_dir = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
        Ok(settings)
    }

    /// Sets a default that depends on others; the origin stays.
    fn put(&mut self, name: &str, value: OsString) {
        if let Some(at) = find(name) {
            self.values[at].0 = value;
        }
    }

    /// ccache's default, which larder shows and does not use.
    fn default_temporary(&self) -> PathBuf {
        match self.runtime_dir.as_ref().filter(|path| path.is_dir()) {
            Some(path) => path.join("ccache-tmp"),
            None => self.cache_dir().join("tmp"),
        }
    }

    /// A value as it is shown.
    fn shown(&self, at: usize) -> String {
        let (key, value) = (&KEYS[at], &self.values[at].0);
        match key.name == "temporary_dir" && value.is_empty() {
            true => self.default_temporary().display().to_string(),
            false => key.kind.show(value),
        }
    }

    /// Takes a value, as it was written.
    fn set(
        &mut self,
        at: usize,
        value: &OsStr,
        origin: Origin,
        variable: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<(), String> {
        let value = value::expand(value, variable)?;
        let directory = match &origin {
            Origin::File(path) => path.parent(),
            _ => None,
        };
        let value = KEYS[at].kind.check(value, directory)?;
        self.values[at] = (value, origin);
        Ok(())
    }

    fn read_assignment(
        &mut self,
        word: &OsStr,
        variable: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<(), Error> {
        let (key, value) = split(word).ok_or_else(|| missing_sign(word))?;
        let at = find(&key.to_string_lossy()).ok_or_else(|| unknown(key))?;
        let place = KEYS[at].name;
        let set = self.set(at, value, Origin::CommandLine, variable);
        set.map_err(|what| Error(format!("{place}: {what}")))
    }

    /// Where the search for a directory's file ends is said by the environment, too.
    fn read_limits_of_search(
        &mut self,
        variables: &[(OsString, OsString)],
        variable: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<(), Error> {
        let is_limit = |name: &OsStr| {
            let name = name.as_bytes();
            name.starts_with(b"CCACHE_CEILING_") || name == b"CCACHE_SAFE_DIRS"
        };
        let limits: Vec<_> = variables.iter().filter(|(name, _)| is_limit(name)).cloned().collect();
        self.read_variables(&limits, variable)
    }

    fn read_variables(
        &mut self,
        variables: &[(OsString, OsString)],
        variable: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<(), Error> {
        for (name, text) in variables {
            let Some(name) = name.to_str() else { continue };
            let Some(short) = name.strip_prefix(PREFIX) else { continue };
            let Some((at, value)) = keys::of_variable(short) else { continue };
            let value = match value {
                Some(value) => {
                    value::check_switch_variable(name, short, text)?;
                    OsStr::new(if value { "true" } else { "false" })
                }
                None => text,
            };
            let set = self.set(at, value, Origin::Environment, variable);
            set.map_err(|what| Error(format!("{name}: {what}")))?;
        }
        Ok(())
    }

    fn text(&self, name: &str) -> &OsStr {
        find(name).map_or(OsStr::new(""), |at| &self.values[at].0)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let text = self.text(name);
        (!text.is_empty()).then(|| text.into())
    }

    /// The text of a setting, `None` if it is empty.
    pub fn string(&self, name: &str) -> Option<&OsStr> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// A switch; off for a key that is none.
    pub fn switch(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// A number, a size in bytes; 0 for a key that is none. Sizes without limit are 0.
    pub fn number(&self, name: &str) -> u64 {
        let text = self.text(name).to_string_lossy();
        match find(name).map(|at| &KEYS[at].kind) {
            Some(Kind::Size) => parse_size(&text).unwrap_or(0),
            Some(Kind::Octal) => u64::from_str_radix(&text, 8).unwrap_or(0),
            _ => text.parse().unwrap_or(0),
        }
    }

    /// The directory of the cache, `$CCACHE_DIR`.
    pub fn cache_dir(&self) -> PathBuf {
        self.text("cache_dir").into()
    }

    /// The directory of larder's store: the only thing of larder's in the cache's directory.
    pub fn store_dir(&self) -> PathBuf {
        self.cache_dir().join("larder")
    }

    /// The file that settings are written to.
    pub fn config_file(&self) -> &Path {
        &self.file
    }

    /// The system's file; empty where none is read.
    pub fn system_config_file(&self) -> &Path {
        &self.system_file
    }

    /// Every setting as `--show-config` tells it: origin, key, value; sorted by key.
    pub fn rows(&self) -> Vec<(String, &'static str, String)> {
        let row =
            |(at, key): (usize, &Key)| (self.values[at].1.to_string(), key.name, self.shown(at));
        KEYS.iter().enumerate().map(row).collect()
    }

    /// A value as `--get-config` tells it; `None` for a key that is not known.
    pub fn get(&self, name: &str) -> Option<String> {
        find(name).map(|at| self.shown(at))
    }

    /// Writes a setting to the cache's file, which keeps everything else.
    ///
    /// # Errors
    /// If the key is not known, the value or the file is wrong, or it cannot be written.
    pub fn set_in_file(&self, name: &str, value: &str) -> Result<(), Error> {
        set_in_file(&self.file, name, value)
    }
}

/// Writes a setting to a file, which keeps everything else; it is made if it is not there.
///
/// # Errors
/// If the key is not known, the value or the file is wrong, or it cannot be written.
pub fn set_in_file(path: &Path, name: &str, value: &str) -> Result<(), Error> {
    let at = find(name).ok_or_else(|| unknown(OsStr::new(name)))?;
    let variable = |name: &str| env::var_os(name);
    let expanded = value::expand(OsStr::new(value), &variable);
    let checked = expanded.and_then(|value| KEYS[at].kind.check(value, None));
    checked.map_err(Error)?;
    file::set(path, KEYS[at].name, value).map_err(Error)
}

/// A key and a value with a sign between them.
pub fn split(word: &OsStr) -> Option<(&OsStr, &OsStr)> {
    let bytes = word.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    Some((OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..])))
}

fn unknown(key: &OsStr) -> Error {
    Error(format!("unknown configuration option \"{}\"", key.display()))
}

fn missing_sign(word: &OsStr) -> Error {
    Error(format!("missing equal sign in \"{}\"", word.display()))
}

/// Where files are by default.
struct Places {
    home: Option<PathBuf>,
    config: PathBuf,
    cache: PathBuf,
}

impl Places {
    fn of(variable: &impl Fn(&str) -> Option<OsString>) -> Places {
        let home = variable("HOME").map(PathBuf::from).or_else(env::home_dir);
        let below_home = |name: &str| home.clone().unwrap_or_default().join(name);
        let legacy = below_home(".ccache");
        if home.is_some() && legacy.is_dir() {
            return Places { home, config: legacy.clone(), cache: legacy };
        }
        let base = |name: &str, default: &str| {
            let base = variable(name).map(PathBuf::from);
            base.unwrap_or_else(|| below_home(default)).join("ccache")
        };
        let (config, cache) =
            (base("XDG_CONFIG_HOME", ".config"), base("XDG_CACHE_HOME", ".cache"));
        Places { home, config, cache }
    }
}
