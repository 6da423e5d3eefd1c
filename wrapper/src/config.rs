//! Configuration: environment over `larder.toml` over defaults, each value with its origin.
//!
//! 1. A wrong value never breaks a build: the default stands (of a size that is too small, the
//!    smallest), and a sentence in [`Config::problems`] says so (shown by `larder config`, written
//!    to the log).
//!    Where it may be about the store's directory there is no store at all: nobody knows which one
//!    is meant, and the default one is another. Compiles run uncached, commands refuse.
//! 2. The file is looked for at `LARDER_CONFIG`, else `$XDG_CONFIG_HOME/larder/larder.toml`, else
//!    `$HOME/.config/larder/larder.toml`. Where there is none, no TOML is parsed.
//! 3. Sizes are bytes: `k M G T` are powers of 1000, `Ki Mi Gi Ti` powers of 1024, a plain number
//!    is a number of bytes. A trailing `B` is allowed.
//! 4. Switches are 1, true, yes, on or 0, false, no, off, in any case.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// 10 GiB, the engine's default too.
const MAX_SIZE_BYTES_DEFAULT: u64 = 10 << 30;
/// Below this a store has no sensible segment size; the engine refuses it.
const MAX_SIZE_BYTES_MIN: u64 = 64 << 20;
/// The fast end of zstd: on a miss the compression time is the build's.
const COMPRESSION_LEVEL_DEFAULT: i32 = 1;
/// The engine's limit of a namespace.
const NAMESPACE_BYTES_MAX: usize = 255;
/// The engine's limit of a job's id.
const JOB_ID_BYTES_MAX: usize = larder_engine::limits::JOB_ID_BYTES_MAX;
/// A larger configuration file is no configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// This environment variable.
    Environment(&'static str),
    /// The configuration file.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Environment(name) => write!(f, "environment, {name}"),
            Origin::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting<T> {
    /// The value that counts.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    fn default(value: T) -> Self {
        Setting { value, origin: Origin::Default }
    }
}

/// What the user has set.
#[derive(Clone, Debug)]
pub struct Config {
    /// `dir`: the store's directory; `None` if neither it nor a home directory is known, and where
    /// there is a `dir_problem`.
    pub dir: Setting<Option<PathBuf>>,
    /// Why nobody can tell which store is meant: one of `problems`.
    pub dir_problem: Option<String>,
    /// `max_size`: most bytes that the store may occupy on disk.
    pub max_size_bytes: Setting<u64>,
    /// `compression_level`: the zstd level of new records, -50 to 22.
    pub compression_level: Setting<i32>,
    /// `file_clone`: large files of new results are stored so that hits can share their blocks.
    pub file_clone: Setting<bool>,
    /// `namespace`: results are shared only within one; empty by default.
    pub namespace: Setting<String>,
    /// `disable`: run the real compiler and nothing else.
    pub disable: Setting<bool>,
    /// `recache`: ask for nothing, store everything.
    pub recache: Setting<bool>,
    /// `readonly`: ask, but store nothing.
    pub readonly: Setting<bool>,
    /// `janitor`: who does the upkeep.
    pub janitor: Setting<Janitor>,
    /// `log`: a file that gets a line per event; none by default.
    pub log: Setting<Option<PathBuf>>,
    /// `trace`: a file that gets a row for each look-up, for replays; none by default.
    pub trace: Setting<Option<PathBuf>>,
    /// `job`: the id of the job that this call is a part of; none by default.
    pub job: Setting<Option<String>>,
    /// Values that could not be used, as sentences.
    pub problems: Vec<String>,
}

/// Who does the upkeep that a put found due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Janitor {
    /// A process of its own with low priority.
    Detached,
    /// The process that found it, after the compile.
    Inline,
    /// Whoever runs `larder janitor`.
    Off,
}

/// One setting: its key in the file, its environment variable, what it does, and how a text becomes
/// its value.
struct Key {
    name: &'static str,
    variable: &'static str,
    what: &'static str,
    set: fn(&mut Config, Text, Origin) -> Result<(), Wrong>,
}

/// What is wrong with a value, and what happens instead.
struct Wrong {
    what: String,
    instead: &'static str,
}

impl From<String> for Wrong {
    fn from(what: String) -> Wrong {
        Wrong { what, instead: "it is ignored" }
    }
}

/// A value as it was written; paths need not be UTF-8.
struct Text(OsString);

impl Text {
    fn as_str(&self) -> Result<&str, String> {
        self.0.to_str().ok_or_else(|| "is not UTF-8".to_owned())
    }

    fn switch(&self) -> Result<bool, String> {
        let text = self.as_str()?;
        parse_switch(text)
            .ok_or_else(|| format!("\"{text}\" is neither 1/true/yes/on nor 0/false/no/off"))
    }

    fn path(self) -> Result<PathBuf, String> {
        let path = PathBuf::from(self.0);
        if path.as_os_str().is_empty() { Err("is empty".to_owned()) } else { Ok(path) }
    }
}

/// Every setting. `larder config` lists them in this order.
const KEYS: &[Key] = &[
    Key {
        name: "dir",
        variable: "LARDER_DIR",
        what: "the store's directory",
        set: |config, text, origin| {
            let path = text.path()?;
            if !path.is_absolute() {
                return Err(format!("\"{}\" is not an absolute path", path.display()).into());
            }
            config.dir = Setting { value: Some(path), origin };
            config.dir_problem = None;
            Ok(())
        },
    },
    Key {
        name: "max_size",
        variable: "LARDER_MAX_SIZE",
        what: "most disk space of the store: bytes, or with k M G T, Ki Mi Gi Ti",
        set: |config, text, origin| {
            let text = text.as_str()?;
            let size = parse_size(text).filter(|size| *size > 0);
            let size = size.ok_or_else(|| format!("\"{text}\" is no size"))?;
            // Whoever wants little is not given the default, which is much.
            let value = size.max(MAX_SIZE_BYTES_MIN);
            config.max_size_bytes = Setting { value, origin };
            match value == size {
                true => Ok(()),
                false => {
                    let what = format!("\"{text}\" is less than 64Mi");
                    Err(Wrong { what, instead: "64Mi is used" })
                }
            }
        },
    },
    Key {
        name: "compression_level",
        variable: "LARDER_COMPRESSION_LEVEL",
        what: "zstd level of new results, -50 to 22",
        set: |config, text, origin| {
            let text = text.as_str()?;
            let level = text.trim().parse().ok().filter(|level| (-50..=22).contains(level));
            let value = level.ok_or_else(|| format!("\"{text}\" is no number from -50 to 22"))?;
            config.compression_level = Setting { value, origin };
            Ok(())
        },
    },
    Key {
        name: "file_clone",
        variable: "LARDER_FILE_CLONE",
        what: "share the blocks of large files with the store, where files can be cloned",
        set: |config, text, origin| {
            config.file_clone = Setting { value: text.switch()?, origin };
            Ok(())
        },
    },
    Key {
        name: "namespace",
        variable: "LARDER_NAMESPACE",
        what: "results are shared only within one",
        set: |config, text, origin| {
            let value = text.as_str()?.to_owned();
            if value.len() > NAMESPACE_BYTES_MAX {
                return Err("is longer than 255 bytes".to_owned().into());
            }
            config.namespace = Setting { value, origin };
            Ok(())
        },
    },
    Key {
        name: "disable",
        variable: "LARDER_DISABLE",
        what: "only run the compiler",
        set: |config, text, origin| {
            config.disable = Setting { value: text.switch()?, origin };
            Ok(())
        },
    },
    Key {
        name: "recache",
        variable: "LARDER_RECACHE",
        what: "ask for nothing, store everything anew",
        set: |config, text, origin| {
            config.recache = Setting { value: text.switch()?, origin };
            Ok(())
        },
    },
    Key {
        name: "readonly",
        variable: "LARDER_READONLY",
        what: "ask, but store nothing",
        set: |config, text, origin| {
            config.readonly = Setting { value: text.switch()?, origin };
            Ok(())
        },
    },
    Key {
        name: "janitor",
        variable: "LARDER_JANITOR",
        what: "who does the upkeep: detached, inline or off",
        set: |config, text, origin| {
            let value = match text.as_str()? {
                "detached" => Janitor::Detached,
                "inline" => Janitor::Inline,
                "off" => Janitor::Off,
                other => {
                    return Err(format!("\"{other}\" is none of detached, inline, off").into());
                }
            };
            config.janitor = Setting { value, origin };
            Ok(())
        },
    },
    Key {
        name: "log",
        variable: "LARDER_LOG",
        what: "a file that is told what happened and why",
        set: |config, text, origin| {
            config.log = Setting { value: Some(text.path()?), origin };
            Ok(())
        },
    },
    Key {
        name: "trace",
        variable: "LARDER_TRACE",
        what: "a file that gets build,unit,key,bytes for each look-up",
        set: |config, text, origin| {
            config.trace = Setting { value: Some(text.path()?), origin };
            Ok(())
        },
    },
    Key {
        name: "job",
        variable: "LARDER_JOB",
        what: "what `larder job start` printed: this call is part of that job",
        set: |config, text, origin| {
            let id = text.as_str()?;
            if !is_job_id(id) {
                return Err(format!("\"{id}\" is no id of a job").into());
            }
            config.job = Setting { value: Some(id.to_owned()), origin };
            Ok(())
        },
    },
];

impl Config {
    /// Reads the environment of this process and the configuration file.
    pub fn load() -> Config {
        Self::from_sources(|name| env::var_os(name))
    }

    fn from_sources(variable: impl Fn(&str) -> Option<OsString>) -> Config {
        let mut config = Config::defaults(default_dir(&variable));
        if let Some((path, named)) = file_path(&variable) {
            config.read_file(&path, named);
        }
        for key in KEYS {
            if let Some(value) = variable(key.variable) {
                config.set(key, Text(value), Origin::Environment(key.variable));
            }
        }
        config
    }

    fn defaults(dir: Option<PathBuf>) -> Config {
        Config {
            dir: Setting::default(dir),
            dir_problem: None,
            max_size_bytes: Setting::default(MAX_SIZE_BYTES_DEFAULT),
            compression_level: Setting::default(COMPRESSION_LEVEL_DEFAULT),
            file_clone: Setting::default(false),
            namespace: Setting::default(String::new()),
            disable: Setting::default(false),
            recache: Setting::default(false),
            readonly: Setting::default(false),
            janitor: Setting::default(Janitor::Detached),
            log: Setting::default(None),
            trace: Setting::default(None),
            job: Setting::default(None),
            problems: Vec::new(),
        }
    }

    fn set(&mut self, key: &Key, value: Text, origin: Origin) {
        let place = match &origin {
            Origin::Environment(variable) => (*variable).to_owned(),
            _ => format!("{} in {origin}", key.name),
        };
        if let Err(Wrong { what, instead }) = (key.set)(self, value, origin.clone()) {
            match key.name {
                "dir" => self.lose_dir(format!("{place} {what}"), origin),
                _ => self.problems.push(format!("{place} {what}; {instead}")),
            }
        }
    }

    /// Notes a problem that leaves open which store is meant.
    fn lose_dir(&mut self, problem: String, origin: Origin) {
        self.problems.push(format!("{problem}; no store is used"));
        self.dir = Setting { value: None, origin };
        self.dir_problem = Some(problem);
    }

    /// A missing file is a problem only if it was named.
    fn read_file(&mut self, path: &Path, named: bool) {
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !named => return,
            Err(error) => {
                let problem = format!("cannot read {}: {error}", path.display());
                match named {
                    true => self.lose_dir(problem, Origin::File(path.to_path_buf())),
                    false => self.problems.push(problem),
                }
                return;
            }
        };
        match text.parse::<toml::Table>() {
            Ok(table) => self.read_table(path, table),
            Err(error) => {
                let error = error.to_string().trim().replace('\n', " ");
                let problem = format!("{} is no TOML: {error}", path.display());
                self.lose_dir(problem, Origin::File(path.to_path_buf()));
            }
        }
    }

    fn read_table(&mut self, path: &Path, table: toml::Table) {
        for (name, value) in table {
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                self.problems.push(format!("{} has an unknown key \"{name}\"", path.display()));
                continue;
            };
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(switch) => switch.to_string(),
                other => {
                    let problem = format!("{name} in {} is a {}", path.display(), other.type_str());
                    match key.name {
                        "dir" => self.lose_dir(problem, Origin::File(path.to_path_buf())),
                        _ => self.problems.push(problem),
                    }
                    continue;
                }
            };
            self.set(key, Text(text.into()), Origin::File(path.to_path_buf()));
        }
    }

    /// Notes variables that look like settings and are none.
    pub fn check_variable_names(&mut self, names: impl Iterator<Item = OsString>) {
        let known =
            |name: &str| name == "LARDER_CONFIG" || KEYS.iter().any(|key| key.variable == name);
        let names = names.filter_map(|name| name.into_string().ok());
        for name in names.filter(|name| name.starts_with("LARDER_") && !known(name)) {
            self.problems.push(format!("{name} is no setting; it is ignored"));
        }
    }

    /// The settings as `name = value` lines with their origins, then the problems.
    pub fn describe(&self) -> String {
        let mut lines = String::new();
        let mut line = |name: &str, value: String, origin: &Origin| {
            lines.push_str(&format!("{name} = {value}  ({origin})\n"));
        };
        let path = |path: &Option<PathBuf>| match path {
            Some(path) => format!("{:?}", path.display().to_string()),
            None => "none".to_owned(),
        };
        let dir = match self.dir_problem {
            None => path(&self.dir.value),
            Some(_) => "unknown, so there is no store".to_owned(),
        };
        line("dir", dir, &self.dir.origin);
        let max_size = self.max_size_bytes.value;
        line("max_size", format!("{max_size}"), &self.max_size_bytes.origin);
        let level = self.compression_level.value.to_string();
        line("compression_level", level, &self.compression_level.origin);
        line("file_clone", self.file_clone.value.to_string(), &self.file_clone.origin);
        line("namespace", format!("{:?}", self.namespace.value), &self.namespace.origin);
        line("disable", self.disable.value.to_string(), &self.disable.origin);
        line("recache", self.recache.value.to_string(), &self.recache.origin);
        line("readonly", self.readonly.value.to_string(), &self.readonly.origin);
        let janitor = format!("{:?}", self.janitor.value).to_lowercase();
        line("janitor", janitor, &self.janitor.origin);
        line("log", path(&self.log.value), &self.log.origin);
        line("trace", path(&self.trace.value), &self.trace.origin);
        let job = self.job.value.as_ref().map_or("none".to_owned(), |job| format!("{job:?}"));
        line("job", job, &self.job.origin);
        for problem in &self.problems {
            lines.push_str(&format!("# {problem}\n"));
        }
        lines
    }
}

/// Every environment variable and what it does.
pub fn describe_variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    let file = ("LARDER_CONFIG", "the configuration file, instead of ~/.config/larder/larder.toml");
    KEYS.iter().map(|key| (key.variable, key.what)).chain([file])
}

fn read_bounded(path: &Path) -> io::Result<String> {
    // Opening first: the usual case is that there is no file, and then this is the only call.
    // Nobody may ever write to a pipe.
    let file = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no regular file of at most 1 MiB"));
    }
    io::read_to_string(file)
}

fn absolute(value: Option<OsString>) -> Option<PathBuf> {
    value.map(PathBuf::from).filter(|path| path.is_absolute())
}

fn default_dir(variable: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let cache = absolute(variable("XDG_CACHE_HOME"));
    let cache = cache.or_else(|| Some(absolute(variable("HOME"))?.join(".cache")))?;
    Some(cache.join("larder"))
}

/// The configuration file, and whether the user named it.
fn file_path(variable: &impl Fn(&str) -> Option<OsString>) -> Option<(PathBuf, bool)> {
    if let Some(path) = variable("LARDER_CONFIG").filter(|path| !path.is_empty()) {
        return Some((path.into(), true));
    }
    let config = absolute(variable("XDG_CONFIG_HOME"));
    let config = config.or_else(|| Some(absolute(variable("HOME"))?.join(".config")))?;
    Some((config.join("larder").join("larder.toml"), false))
}

/// Whether a text may be the id of a job; the engine refuses others.
pub fn is_job_id(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=JOB_ID_BYTES_MAX).contains(&text.len()) && text.chars().all(is_plain)
}

/// A switch's value; `None` for any other text.
pub fn parse_switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A size in bytes: a decimal number, perhaps with a fraction, and a suffix; see the module's
/// rule 3.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let suffix = suffix.trim();
    let suffix = suffix.strip_suffix('B').unwrap_or(suffix);
    let unit: u64 = match suffix {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" | "ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit);
    }
    let bytes = number.parse::<f64>().ok()? * unit as f64;
    (bytes.is_finite() && bytes < u64::MAX as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Config {
        Config::from_sources(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn sizes_are_decimal_or_binary_as_written() {
        assert_eq!(parse_size("5G"), Some(5_000_000_000));
        assert_eq!(parse_size("5 GiB"), Some(5 << 30));
        assert_eq!(parse_size("1.5Mi"), Some(3 << 19));
        assert_eq!(parse_size("123"), Some(123));
        for wrong in ["", "G", "-1", "1X", "1.2.3", "99999999999T"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_directory_follows_the_xdg_rules() {
        let dir = |variables: &[(&str, &str)]| config(variables).dir.value;
        assert_eq!(dir(&[("HOME", "/h")]), Some("/h/.cache/larder".into()));
        assert_eq!(dir(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]), Some("/c/larder".into()));
        assert_eq!(dir(&[("HOME", "/h"), ("LARDER_DIR", "/l")]), Some("/l".into()));
        assert_eq!(dir(&[("XDG_CACHE_HOME", "relative")]), None);
        assert_eq!(dir(&[]), None);
    }

    /// `LARDER_MAX_SIZE=64M`, a little less than 64Mi, gave 10 GiB.
    #[test]
    fn a_size_that_is_too_small_is_the_smallest() {
        let size = |text| {
            let config = config(&[("LARDER_MAX_SIZE", text)]);
            (config.max_size_bytes.value, config.problems.join("; "))
        };
        assert_eq!(size("64Mi"), (64 << 20, String::new()));
        let told = "LARDER_MAX_SIZE \"64M\" is less than 64Mi; 64Mi is used";
        assert_eq!(size("64M"), (64 << 20, told.to_owned()));
        let told = "LARDER_MAX_SIZE \"0\" is no size; it is ignored";
        assert_eq!(size("0"), (MAX_SIZE_BYTES_DEFAULT, told.to_owned()));
    }

    #[test]
    fn a_directory_that_is_wrong_is_no_other_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("larder.toml");
        let file = path.to_str().unwrap();
        for text in ["dir = \"store\"", "dir = 5", "dir = [1]", "= = =", "dir = \"/f\""] {
            fs::write(&path, text).unwrap();
            let is_right = text.contains('/');
            let of_file = config(&[("HOME", "/h"), ("LARDER_CONFIG", file)]);
            assert_eq!(of_file.dir.value, is_right.then(|| "/f".into()), "{text}");
            assert_eq!(of_file.dir_problem.is_none(), is_right, "{text}");
            assert_eq!(of_file.describe().contains("dir = unknown,"), !is_right, "{text}");
            let beaten = [("HOME", "/h"), ("LARDER_CONFIG", file), ("LARDER_DIR", "/v")];
            assert_eq!(config(&beaten).dir.value, Some("/v".into()), "{text}");
            assert_eq!(config(&beaten).dir_problem, None, "{text}");
            for wrong in ["./v", "v", ""] {
                let beaten = [("HOME", "/h"), ("LARDER_CONFIG", file), ("LARDER_DIR", wrong)];
                assert_eq!(config(&beaten).dir.value, None, "{text}");
                assert!(config(&beaten).dir_problem.unwrap().starts_with("LARDER_DIR "), "{text}");
            }
        }
    }

    #[test]
    fn the_environment_beats_the_file_and_each_value_knows_its_origin() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("larder.toml");
        let text =
            "max_size = \"1Gi\"\nreadonly = true\nfile_clone = true\ncompression_level = 3\n";
        fs::write(&path, text).unwrap();
        let file = path.to_str().unwrap();
        let config = config(&[("LARDER_CONFIG", file), ("LARDER_MAX_SIZE", "2Gi")]);
        assert_eq!(config.max_size_bytes.value, 2 << 30);
        assert_eq!(config.max_size_bytes.origin, Origin::Environment("LARDER_MAX_SIZE"));
        assert!(config.readonly.value && config.file_clone.value);
        assert_eq!(config.readonly.origin, Origin::File(path));
        assert_eq!(config.compression_level.value, 3);
        assert_eq!(config.namespace.origin, Origin::Default);
        assert!(config.problems.is_empty(), "{:?}", config.problems);
    }

    #[test]
    fn wrong_values_and_unknown_keys_are_told_and_the_default_stands() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("larder.toml");
        fs::write(&path, "max_size = \"a lot\"\ncolour = 1\nlog = [1]\n").unwrap();
        let file = path.to_str().unwrap();
        let mut config = config(&[("LARDER_CONFIG", file), ("LARDER_DISABLE", "maybe")]);
        assert_eq!(config.max_size_bytes.value, MAX_SIZE_BYTES_DEFAULT);
        assert!(!config.disable.value);
        assert_eq!(config.problems.len(), 4, "{:?}", config.problems);
        config.check_variable_names(["LARDER_DIRR".into(), "LARDER_LOG".into()].into_iter());
        assert_eq!(config.problems.len(), 5, "{:?}", config.problems);
        assert!(config.describe().contains("# LARDER_DISABLE \"maybe\" is neither"));
    }

    #[test]
    fn a_file_that_is_no_toml_or_missing_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("larder.toml");
        let file = path.to_str().unwrap();
        assert_eq!(config(&[("LARDER_CONFIG", file)]).problems.len(), 1);
        fs::write(&path, "= = =").unwrap();
        assert_eq!(config(&[("LARDER_CONFIG", file)]).problems.len(), 1);
        assert!(config(&[("HOME", dir.path().to_str().unwrap())]).problems.is_empty());
    }
}
