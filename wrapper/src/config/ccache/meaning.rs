//! What ccache's settings mean for larder.
//!
//! 1. The store is the directory `larder` in the cache's directory; nothing else is made there.
//! 2. `compiler_check = mtime`, ccache's default, is `content` here: that costs no more, and a
//!    compiler that changed without a new time is seen.
//! 3. Of larder's own variables count those that have nothing to do with what is cached:
//!    `LARDER_DISABLE` (a larder in front sets it), `LARDER_JANITOR`, `LARDER_JOB` and
//!    `LARDER_TRACE`. `larder.toml` and `.larder.toml` are not read.
//! 4. docs/ccache.md has the whole table, with what changes nothing and why.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{self, PathBuf};

use super::super::keys::KEYS as OWN_KEYS;
use super::super::value::{CompilerCheck, Sloppiness, Text};
use super::super::{Config, LEVEL_NONE, MAX_SIZE_BYTES_MIN, NAMESPACE_BYTES_MAX, Setting};
use super::super::{OWN_VARIABLES, Origin as OwnOrigin, UMASK_DEFAULT};
use super::{Origin, Settings, find};

/// More than any disk has: no limit.
const UNLIMITED_BYTES: u64 = 1 << 50;
/// zstd at its fastest, for who wants no compression: the log has no other form for small files.
const LEVEL_FASTEST: i32 = -50;
/// The value of `log_file` that is no file.
const SYSTEM_LOG: &str = "syslog";

/// What only a larder called `ccache` does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ccache {
    /// `compiler`: what runs in place of the compiler that is named.
    pub compiler: Option<OsString>,
    /// `path`: where compilers are looked for in place of `PATH`.
    pub path: Option<OsString>,
    /// `stats`: whether anything is counted.
    pub counts: bool,
    /// `stats_log`: a file for what each call counts.
    pub stats_log: Option<PathBuf>,
    /// `debug`: at 1 a log for each object, at 2 what was hashed, too.
    pub debug_level: u64,
    /// `debug_dir`: where these files are put, below the directories of the objects.
    pub debug_dir: Option<PathBuf>,
    /// `log_file` names the system's log.
    pub logs_to_system: bool,
    /// `temporary_dir`, if somebody set it.
    pub temporary_dir: Option<PathBuf>,
    /// `absolute_paths_in_stderr`.
    pub absolute_paths_in_stderr: bool,
    /// `keep_comments_cpp`.
    pub keeps_comments: bool,
    /// Words behind `--ccache-skip`, which mean nothing but what they do to the compiler.
    pub skipped: Vec<OsString>,
    sloppiness: Vec<String>,
}

impl Ccache {
    /// Whether this sloppiness is asked for.
    pub fn is_sloppy(&self, name: &str) -> bool {
        self.sloppiness.iter().any(|known| known == name)
    }
}

impl Settings {
    /// The configuration of larder that these settings mean.
    pub fn larder(&self) -> Config {
        let mut config = Config::defaults(path::absolute(self.store_dir()).ok());
        self.set_store(&mut config);
        self.set_modes(&mut config);
        self.set_inputs(&mut config);
        self.set_programs(&mut config);
        self.set_tiers(&mut config);
        config.ccache = Some(Box::new(self.ccache()));
        for key in OWN_KEYS.iter().filter(|key| OWN_VARIABLES.contains(&key.variable)) {
            if let Some(value) = env::var_os(key.variable) {
                config.set(key, Text::One(value), OwnOrigin::Environment(key.variable));
            }
        }
        config.settle();
        config
    }

    fn ccache(&self) -> Ccache {
        let is_set = |name: &str| find(name).is_some_and(|at| self.values[at].1 != Origin::Default);
        let owned = |name: &str| self.string(name).map(OsStr::to_owned);
        let level = self.number("debug_level");
        Ccache {
            compiler: owned("compiler"),
            path: owned("path"),
            counts: self.switch("stats"),
            stats_log: self.path("stats_log"),
            debug_level: if self.switch("debug") { level } else { 0 },
            debug_dir: self.path("debug_dir"),
            logs_to_system: self.string("log_file").is_some_and(|name| name == SYSTEM_LOG),
            temporary_dir: self.path("temporary_dir").filter(|_| is_set("temporary_dir")),
            absolute_paths_in_stderr: self.switch("absolute_paths_in_stderr"),
            keeps_comments: self.switch("keep_comments_cpp"),
            skipped: Vec::new(),
            sloppiness: self.names("sloppiness"),
        }
    }

    /// Words of a list with commas and blanks.
    fn names(&self, name: &str) -> Vec<String> {
        let text = self.text(name).to_string_lossy();
        let names = text.split([',', ' ']).filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    }

    fn words(&self, name: &str) -> Vec<OsString> {
        let words = self.text(name).as_bytes().split(u8::is_ascii_whitespace);
        let words = words.filter(|word| !word.is_empty());
        words.map(|word| OsStr::from_bytes(word).to_owned()).collect()
    }

    /// Paths with colons between them; one that is relative stands in the working directory.
    fn paths(&self, name: &str) -> Vec<PathBuf> {
        let paths = env::split_paths(self.text(name));
        let paths = paths.filter(|path| !path.as_os_str().is_empty());
        paths.filter_map(|path| path::absolute(path).ok()).collect()
    }

    fn set_store(&self, config: &mut Config) {
        let bytes = match self.number("max_size") {
            0 => UNLIMITED_BYTES,
            bytes => bytes.max(MAX_SIZE_BYTES_MIN),
        };
        config.max_size_bytes = Setting::default(bytes);
        let umask = self.string("umask").map(|_| self.number("umask") as u32);
        // Nobody is kept from his own store.
        let umask = umask.map_or(UMASK_DEFAULT, |umask| umask & 0o077);
        config.umask = Setting::default(umask);
        let level = self.text("compression_level").to_string_lossy().parse().unwrap_or(0);
        let level = match self.switch("compression") {
            false => LEVEL_NONE,
            true if level == 0 => config.compression_level.value,
            true => i32::clamp(level, LEVEL_FASTEST, 22),
        };
        config.compression_level = Setting::default(level);
        config.file_clone = Setting::default(self.switch("file_clone"));
        let namespace = self.text("namespace").to_string_lossy().into_owned();
        // A longer one still keeps results apart.
        let namespace = match namespace.len() > NAMESPACE_BYTES_MAX {
            true => blake3::hash(namespace.as_bytes()).to_string(),
            false => namespace,
        };
        config.namespace = Setting::default(namespace);
    }

    fn set_modes(&self, config: &mut Config) {
        config.disable = Setting::default(self.switch("disable"));
        config.recache = Setting::default(self.switch("recache"));
        config.readonly = Setting::default(self.switch("read_only"));
        config.readonly_direct = Setting::default(self.switch("read_only_direct"));
        let direct = self.switch("direct_mode");
        config.direct_mode = Setting::default(direct);
        // Without direct mode it does nothing there, and nothing is said of it.
        config.depend_mode = Setting::default(self.switch("depend_mode") && direct);
    }

    fn set_inputs(&self, config: &mut Config) {
        config.base_dirs = Setting::default(self.paths("base_dir"));
        config.hash_dir = Setting::default(self.switch("hash_dir"));
        config.compiler_check = Setting::default(self.compiler_check());
        config.extra_files_to_hash = Setting::default(self.paths("extra_files_to_hash"));
        config.ignore_options = Setting::default(self.words("ignore_options"));
        config.ignore_headers = Setting::default(self.paths("ignore_headers_in_manifest"));
        let names: Vec<_> = self.names("sloppiness").into_iter().map(OsString::from).collect();
        config.sloppiness = Setting::default(Sloppiness::parse(&names).0);
    }

    fn compiler_check(&self) -> CompilerCheck {
        let text = self.text("compiler_check").to_string_lossy();
        match &*text {
            "mtime" => CompilerCheck::Content,
            // Several commands are each run without a shell there; their outputs count together.
            text if text.contains(';') && !text.starts_with("string:") => {
                CompilerCheck::Commands(commands(text))
            }
            text => CompilerCheck::parse(text).unwrap_or(CompilerCheck::Content),
        }
    }

    fn set_programs(&self, config: &mut Config) {
        config.prefix_command = Setting::default(self.words("prefix_command"));
        config.prefix_command_cpp = Setting::default(self.words("prefix_command_cpp"));
        config.log = Setting::default(self.path("log_file").filter(|path| path != SYSTEM_LOG));
    }
}

fn commands(text: &str) -> Vec<Vec<String>> {
    let words = |command: &str| command.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    text.split(';').map(words).filter(|words| !words.is_empty()).collect()
}
