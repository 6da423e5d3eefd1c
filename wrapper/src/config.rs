//! Configuration: environment over `.larder.toml` over `larder.toml` over defaults, each value with
//! its origin. The settings are the rows of `keys`, the file of a directory is the matter of
//! `directory`.
//!
//! 1. A wrong value never breaks a build: the default stands (of a size that is too small, the
//!    smallest), and a sentence in [`Config::problems`] says so (shown by `larder config`, written
//!    to the log).
//!    Where it may be about the store's directory there is no store at all: nobody knows which one
//!    is meant, and the default one is another. Compiles run uncached, commands refuse.
//! 2. The file is looked for at `LARDER_CONFIG`, else `$XDG_CONFIG_HOME/larder/larder.toml`, else
//!    `$HOME/.config/larder/larder.toml`. Where there is none, no TOML is parsed.
//!    `.larder.toml` is not looked for where `LARDER_CONFIG` names a file.
//! 3. Sizes are bytes: `k M G T` are powers of 1000, `Ki Mi Gi Ti` powers of 1024, a plain number
//!    is a number of bytes. A trailing `B` is allowed.
//! 4. Switches are 1, true, yes, on or 0, false, no, off, in any case.
//! 5. Lists are TOML's, or one text: paths with colons between them, words with blanks.

pub mod ccache;
mod directory;
mod keys;
pub mod sccache;
#[cfg(test)]
mod tests;
mod value;

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use keys::{KEYS, Key, Trust, Wrong};
use value::Text;

use crate::tier::TierSettings;

pub use value::{CompilerCheck, Sloppiness, parse_size, parse_switch};

/// 10 GiB, the engine's default too.
const MAX_SIZE_BYTES_DEFAULT: u64 = 10 << 30;
/// Below this a store has no sensible segment size; the engine refuses it.
const MAX_SIZE_BYTES_MIN: u64 = 64 << 20;
/// The fast end of zstd: on a miss the compression time is the build's.
const LEVEL_DEFAULT: i32 = 1;
/// In place of a level: nothing is compressed.
pub const LEVEL_NONE: i32 = 0;
/// The engine's limit of a namespace.
const NAMESPACE_BYTES_MAX: usize = 255;
/// The engine's limit of a job's id.
const JOB_ID_BYTES_MAX: usize = larder_engine::limits::JOB_ID_BYTES_MAX;
/// Nobody but the owner reads or writes a store, by default.
const UMASK_DEFAULT: u32 = 0o077;
/// What marks the top of a project.
const CEILING_MARKER_DEFAULT: &str = ".git";
/// A larger configuration file is no configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Own variables that count under the name of another cache, too.
const OWN_VARIABLES: [&str; 7] = [
    "LARDER_CACHE_LINKS",
    "LARDER_DISABLE",
    "LARDER_JANITOR",
    "LARDER_JOB",
    "LARDER_LOWER",
    "LARDER_LOWER_PROMOTE",
    "LARDER_TRACE",
];

/// Seconds without a call after which an agent leaves, for whoever wants another time.
pub const AGENT_IDLE_VARIABLE: &str = "LARDER_AGENT_IDLE_SECS";
/// Milliseconds for which an agent leaves a tier alone that failed, for whoever wants another time.
pub const AGENT_PAUSE_VARIABLE: &str = "LARDER_AGENT_PAUSE_MS";

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// This environment variable.
    Environment(&'static str),
    /// The configuration file.
    File(PathBuf),
    /// The file of a directory.
    Directory(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Environment(name) => write!(f, "environment, {name}"),
            Origin::File(path) | Origin::Directory(path) => write!(f, "{}", path.display()),
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
    /// `umask`: what the modes of the store's files lack.
    pub umask: Setting<u32>,
    /// `compression_level`: the zstd level of new records, -50 to 22; at 0 they are not compressed.
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
    /// `readonly_direct`: ask by manifests only, and store nothing.
    pub readonly_direct: Setting<bool>,
    /// `direct_mode`: answer by manifests.
    pub direct_mode: Setting<bool>,
    /// `depend_mode`: never run the preprocessor by itself.
    pub depend_mode: Setting<bool>,
    /// `store_failures`: failed compiles are stored and answered, too.
    pub store_failures: Setting<bool>,
    /// `cache_links`: links of C and C++ and archives are stored and answered, too.
    pub cache_links: Setting<bool>,
    /// `base_dirs`: results that show no path below these are shared between directories there.
    pub base_dirs: Setting<Vec<PathBuf>>,
    /// `remap_path_prefix`: rustc is told to call paths in `base_dirs` by relative names.
    pub remap_path_prefix: Setting<bool>,
    /// `hash_dir`: the working directory counts where a result shows it.
    pub hash_dir: Setting<bool>,
    /// `compiler_check`: what tells compilers apart.
    pub compiler_check: Setting<CompilerCheck>,
    /// `extra_files_to_hash`: files that count for every result.
    pub extra_files_to_hash: Setting<Vec<PathBuf>>,
    /// `extra_inputs`: by the name of a crate, paths and patterns of what it reads unseen.
    pub extra_inputs: Setting<Vec<(String, Vec<PathBuf>)>>,
    /// `ignore_options`: options that do not count; a trailing `*` stands for any rest.
    pub ignore_options: Setting<Vec<OsString>>,
    /// `ignore_headers`: headers and directories of headers that do not count.
    pub ignore_headers: Setting<Vec<PathBuf>>,
    /// `sloppiness`: what need not be right.
    pub sloppiness: Setting<Sloppiness>,
    /// `prefix_command`: what is put before the compiler.
    pub prefix_command: Setting<Vec<OsString>>,
    /// `prefix_command_cpp`: what is put before the compiler when it only preprocesses.
    pub prefix_command_cpp: Setting<Vec<OsString>>,
    /// `janitor`: who does the upkeep.
    pub janitor: Setting<Janitor>,
    /// `log`: a file that gets a line per event; none by default.
    pub log: Setting<Option<PathBuf>>,
    /// `trace`: a file that gets a row for each look-up, for replays; none by default.
    pub trace: Setting<Option<PathBuf>>,
    /// `stats_log`: a file that gets a line for each call; none by default.
    pub stats_log: Setting<Option<PathBuf>>,
    /// `explain_sources`: texts of misses are kept, so that `larder explain` can show lines.
    pub explain_sources: Setting<bool>,
    /// `lower`: stores that are only read, behind the own one; the first one is asked first.
    pub lower: Setting<Vec<PathBuf>>,
    /// `lower_promote`: what a lower store answers is put into the own store, too.
    pub lower_promote: Setting<bool>,
    /// `tiers`: the remote tiers, the first one is asked first.
    pub tiers: Setting<Vec<TierSettings>>,
    /// `signing_key`: a file with the key that signs what is written to tiers; none by default.
    pub signing_key: Setting<Option<PathBuf>>,
    /// `trusted_keys`: a file with the keys whose results are taken from tiers.
    pub trusted_keys: Setting<Option<PathBuf>>,
    /// `write_policy`: whose failed writes fail the compile.
    pub write_policy: Setting<WritePolicy>,
    /// `job`: the id of the job that this call is a part of; none by default.
    pub job: Setting<Option<String>>,
    /// `ceiling_dirs`: where the search for `.larder.toml` ends.
    pub ceiling_dirs: Setting<Vec<PathBuf>>,
    /// `ceiling_markers`: names that mark the last directory that is searched.
    pub ceiling_markers: Setting<Vec<OsString>>,
    /// `safe_dirs`: where `.larder.toml` may start programs.
    pub safe_dirs: Setting<Vec<PathBuf>>,
    /// What a larder called `ccache` does beside that.
    pub ccache: Option<Box<ccache::Ccache>>,
    /// What a larder called `sccache` does beside that.
    pub sccache: Option<Box<sccache::Sccache>>,
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

/// Whose failed writes fail the compile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WritePolicy {
    /// Nobody's. Tiers are written behind.
    Ignore,
    /// Those into the local store. Tiers are written behind.
    Local,
    /// Those into the local store and into every tier, which are waited for.
    All,
}

impl Config {
    /// Reads the environment of this process and the configuration files.
    pub fn load() -> Config {
        Self::from_sources(|name| env::var_os(name), env::current_dir().ok().as_deref())
    }

    fn from_sources(
        variable: impl Fn(&str) -> Option<OsString>,
        working_directory: Option<&Path>,
    ) -> Config {
        let mut config = Config::from_user(&variable);
        let names_file = variable("LARDER_CONFIG").is_some_and(|path| !path.is_empty());
        let found = working_directory.filter(|_| !names_file);
        match found.and_then(|directory| directory::find(&config, directory)) {
            Some((path, Ok(file))) => {
                config.read_directory_file(&path, file);
                config.read_variables(&variable);
            }
            Some((path, Err(why))) => {
                config.problems.push(format!("{} is not used: {why}", path.display()));
            }
            None => {}
        }
        config.settle();
        config
    }

    /// What the user says, in the environment and in his file.
    fn from_user(variable: &impl Fn(&str) -> Option<OsString>) -> Config {
        let mut config = Config::defaults(default_dir(variable));
        config.ceiling_dirs.value.extend(absolute(variable("HOME")));
        config.trusted_keys.value = own_folder(variable).map(|own| own.join("trusted_keys"));
        if let Some((path, named)) = file_path(variable) {
            config.read_file(&path, named);
        }
        config.read_variables(variable);
        config
    }

    fn read_variables(&mut self, variable: &impl Fn(&str) -> Option<OsString>) {
        for key in KEYS {
            if let Some(value) = variable(key.variable) {
                self.set(key, Text::One(value), Origin::Environment(key.variable));
            }
        }
    }

    fn defaults(dir: Option<PathBuf>) -> Config {
        let marker = OsString::from(CEILING_MARKER_DEFAULT);
        Config {
            dir: Setting::default(dir),
            dir_problem: None,
            max_size_bytes: Setting::default(MAX_SIZE_BYTES_DEFAULT),
            umask: Setting::default(UMASK_DEFAULT),
            compression_level: Setting::default(LEVEL_DEFAULT),
            file_clone: Setting::default(false),
            namespace: Setting::default(String::new()),
            disable: Setting::default(false),
            recache: Setting::default(false),
            readonly: Setting::default(false),
            readonly_direct: Setting::default(false),
            direct_mode: Setting::default(true),
            depend_mode: Setting::default(false),
            store_failures: Setting::default(false),
            cache_links: Setting::default(false),
            base_dirs: Setting::default(Vec::new()),
            remap_path_prefix: Setting::default(false),
            hash_dir: Setting::default(true),
            compiler_check: Setting::default(CompilerCheck::Content),
            extra_files_to_hash: Setting::default(Vec::new()),
            extra_inputs: Setting::default(Vec::new()),
            ignore_options: Setting::default(Vec::new()),
            ignore_headers: Setting::default(Vec::new()),
            sloppiness: Setting::default(Sloppiness::default()),
            prefix_command: Setting::default(Vec::new()),
            prefix_command_cpp: Setting::default(Vec::new()),
            janitor: Setting::default(Janitor::Detached),
            log: Setting::default(None),
            trace: Setting::default(None),
            stats_log: Setting::default(None),
            explain_sources: Setting::default(false),
            lower: Setting::default(Vec::new()),
            lower_promote: Setting::default(false),
            tiers: Setting::default(Vec::new()),
            signing_key: Setting::default(None),
            trusted_keys: Setting::default(None),
            write_policy: Setting::default(WritePolicy::Ignore),
            job: Setting::default(None),
            ceiling_dirs: Setting::default(Vec::new()),
            ceiling_markers: Setting::default(vec![marker]),
            safe_dirs: Setting::default(Vec::new()),
            ccache: None,
            sccache: None,
            problems: Vec::new(),
        }
    }

    fn set(&mut self, key: &Key, value: Text, origin: Origin) {
        let place = match &origin {
            Origin::Environment(variable) => (*variable).to_owned(),
            _ => format!("{} in {origin}", key.name),
        };
        if let Err(Wrong { what, instead }) = key.set(self, value, origin.clone()) {
            match key.name {
                "dir" => self.lose_dir(format!("{place} {what}"), origin),
                _ => self.add_problem(format!("{place} {what}; {instead}")),
            }
        }
    }

    /// The environment is read twice where a directory has a file.
    fn add_problem(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Notes a problem that leaves open which store is meant.
    fn lose_dir(&mut self, problem: String, origin: Origin) {
        self.add_problem(format!("{problem}; no store is used"));
        self.dir = Setting { value: None, origin };
        self.dir_problem = Some(problem);
    }

    /// Settings that exclude each other, and values that no setting can have together.
    fn settle(&mut self) {
        if self.depend_mode.value && !self.direct_mode.value {
            self.depend_mode.value = false;
            self.add_problem("depend_mode needs direct_mode; it is ignored".to_owned());
        }
        // A slash at the end is no part of the name.
        let bases = self.base_dirs.value.drain(..);
        let bases = bases.map(|base| base.components().collect::<PathBuf>());
        let (base_dirs, wrong): (Vec<_>, Vec<_>) = bases.partition(|base| is_base(base));
        self.base_dirs.value = base_dirs;
        for base in wrong {
            let base = base.display();
            self.add_problem(format!(
                "base_dirs has \"{base}\", which is no plain path; it is ignored"
            ));
        }
    }

    /// A missing file is a problem only if it was named.
    fn read_file(&mut self, path: &Path, named: bool) {
        let text = match open_file(path).and_then(read_bounded) {
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
        match parse_table(path, &text) {
            Ok(table) => self.read_table(&Origin::File(path.to_path_buf()), table),
            Err(problem) => self.lose_dir(problem, Origin::File(path.to_path_buf())),
        }
    }

    fn read_directory_file(&mut self, path: &Path, file: File) {
        let text = read_bounded(file);
        let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()));
        match text.and_then(|text| parse_table(path, &text)) {
            Ok(table) => self.read_table(&Origin::Directory(path.to_path_buf()), table),
            Err(problem) => self.problems.push(problem),
        }
    }

    fn read_table(&mut self, origin: &Origin, table: toml::Table) {
        for (name, value) in table {
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                self.problems.push(format!("{origin} has an unknown key \"{name}\""));
                continue;
            };
            if let Some(why) = self.distrusts(key, origin) {
                self.problems.push(format!("{name} in {origin} is ignored: {why}"));
                continue;
            }
            match text_of(value) {
                Ok(text) => self.set(key, text, origin.clone()),
                Err(what) => {
                    let problem = format!("{name} in {origin} is a {what}");
                    match key.name {
                        "dir" => self.lose_dir(problem, origin.clone()),
                        _ => self.problems.push(problem),
                    }
                }
            }
        }
    }

    /// Why a setting is not taken from there.
    fn distrusts(&self, key: &Key, origin: &Origin) -> Option<&'static str> {
        let Origin::Directory(path) = origin else { return None };
        match key.trust {
            Trust::Any => None,
            Trust::SafeDirectory if directory::is_safe(self, path) => None,
            Trust::SafeDirectory => Some("it is in no directory of safe_dirs"),
            Trust::User => Some("it cannot be set for a directory"),
        }
    }

    /// Notes variables that look like settings and are none.
    pub fn check_variable_names(&mut self, names: impl Iterator<Item = OsString>) {
        let known = |name: &str| {
            let others = ["LARDER_CONFIG", AGENT_IDLE_VARIABLE, AGENT_PAUSE_VARIABLE];
            others.contains(&name) || KEYS.iter().any(|key| key.variable == name)
        };
        let names = names.filter_map(|name| name.into_string().ok());
        for name in names.filter(|name| name.starts_with("LARDER_") && !known(name)) {
            self.problems.push(format!("{name} is no setting; it is ignored"));
        }
    }

    /// The settings as `name = value` lines with their origins, then the problems.
    pub fn describe(&self) -> String {
        let mut lines = String::new();
        for (name, value, origin) in self.rows() {
            lines.push_str(&format!("{name} = {value}  ({origin})\n"));
        }
        for problem in &self.problems {
            lines.push_str(&format!("# {problem}\n"));
        }
        lines
    }

    /// The name, the value and the origin of each setting, as people read them.
    pub fn rows(&self) -> Vec<(&'static str, String, String)> {
        let mut config = self.clone();
        let row = |key: &Key| {
            let (value, origin) = key.show(&mut config);
            (key.name, value, origin.to_string())
        };
        KEYS.iter().map(row).collect()
    }

    /// The file of those who are trusted; `None` where the default one is missing.
    pub fn trusted_keys_in_use(&self) -> Option<&Path> {
        let Setting { value, origin } = &self.trusted_keys;
        value.as_deref().filter(|path| *origin != Origin::Default || path.exists())
    }

    /// Whether these are the settings of another cache, whose name larder is called by: then its
    /// own files and most of its own variables do not count.
    pub fn is_of_another_cache(&self) -> bool {
        self.ccache.is_some() || self.sccache.is_some()
    }

    /// The zstd level where something is compressed all the same: what leaves a store whose files
    /// are cloned.
    pub fn zstd_level(&self) -> i32 {
        match self.compression_level.value {
            LEVEL_NONE => LEVEL_DEFAULT,
            level => level,
        }
    }

    /// Whether nothing may be stored.
    pub fn is_read_only(&self) -> bool {
        self.readonly.value || self.readonly_direct.value
    }
}

/// Every environment variable and what it does.
pub fn describe_variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    let file = ("LARDER_CONFIG", "the configuration file, instead of ~/.config/larder/larder.toml");
    KEYS.iter().map(|key| (key.variable, key.what)).chain([file])
}

fn parse_table(path: &Path, text: &str) -> Result<toml::Table, String> {
    text.parse::<toml::Table>().map_err(|error| {
        let error = error.to_string().trim().replace('\n', " ");
        format!("{} is no TOML: {error}", path.display())
    })
}

/// A value of a file as text; else what it is.
fn text_of(value: toml::Value) -> Result<Text, &'static str> {
    match value {
        toml::Value::String(text) => Ok(Text::One(text.into())),
        toml::Value::Integer(number) => Ok(Text::One(number.to_string().into())),
        toml::Value::Boolean(switch) => Ok(Text::One(switch.to_string().into())),
        toml::Value::Array(items) => texts_of(items).map(Text::List),
        toml::Value::Table(rows) => {
            let row = |(name, value)| match value {
                toml::Value::Array(items) => Ok((name, texts_of(items)?)),
                toml::Value::String(text) => Ok((name, vec![text])),
                _ => Err("table of something else than texts and lists"),
            };
            rows.into_iter().map(row).collect::<Result<_, _>>().map(Text::Table)
        }
        other => Err(other.type_str()),
    }
}

fn texts_of(items: Vec<toml::Value>) -> Result<Vec<String>, &'static str> {
    let text = |item| match item {
        toml::Value::String(text) => Ok(text),
        _ => Err("list of something else than texts"),
    };
    items.into_iter().map(text).collect()
}

fn open_file(path: &Path) -> io::Result<File> {
    // Opening first: the usual case is that there is no file, and then this is the only call.
    // Nobody may ever write to a pipe.
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn read_bounded(file: File) -> io::Result<String> {
    let metadata = file.metadata()?;
    // Whoever names `/dev/null` wants no settings.
    let null = libc::makedev(1, 3);
    if metadata.file_type().is_char_device() && metadata.rdev() == null {
        return Ok(String::new());
    }
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no regular file of at most 1 MiB"));
    }
    io::read_to_string(file)
}

/// Whether this can be a base directory: below the root, and spelled as compilers write it into
/// texts, without escapes.
fn is_base(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    let is_plain = |byte: &u8| (b' '..=b'~').contains(byte) && !matches!(byte, b'"' | b'\\');
    let parts: Vec<_> = bytes.split(|byte| *byte == b'/').skip(1).collect();
    !parts.is_empty()
        && bytes.iter().all(is_plain)
        && parts.iter().all(|part| !matches!(*part, b"" | b"." | b".."))
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
    Some((own_folder(variable)?.join("larder.toml"), false))
}

/// Where this user's files of larder are.
pub fn own_folder(variable: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let config = absolute(variable("XDG_CONFIG_HOME"));
    let config = config.or_else(|| Some(absolute(variable("HOME"))?.join(".config")))?;
    Some(config.join("larder"))
}

/// Whether a text may be the id of a job; the engine refuses others.
pub fn is_job_id(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=JOB_ID_BYTES_MAX).contains(&text.len()) && text.chars().all(is_plain)
}
