//! The table of ccache's settings: one row each, which every reader shares.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::value;

/// A setting.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Its variable, without `CCACHE_`.
    pub(super) variable: &'static str,
    pub(super) kind: Kind,
    pub(super) default: &'static str,
    pub(super) trust: Trust,
}

/// A second name.
pub(super) struct Alias {
    pub(super) name: &'static str,
    pub(super) variable: &'static str,
    pub(super) of: &'static str,
}

/// What the values of a setting are.
pub(super) enum Kind {
    Text,
    Switch,
    Size,
    /// A number within bounds.
    Number(i64, i64),
    /// A number from 0 to 1, perhaps with a fraction.
    Share,
    /// Bits of modes, or nothing.
    Octal,
    /// A path, or nothing. One that is relative stands in the directory of its file.
    Path,
    /// Absolute paths with colons between them.
    Paths,
    /// One of these words, else the first.
    Word(&'static [&'static str]),
    Sloppiness,
}

impl Kind {
    /// The value as it is kept.
    pub(super) fn check(
        &self,
        text: OsString,
        directory: Option<&Path>,
    ) -> Result<OsString, String> {
        value::check(self, text, directory)
    }

    /// The value as it is shown.
    pub(super) fn show(&self, value: &OsStr) -> String {
        value::show(self, value)
    }
}

/// What the file of a directory may say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// It is taken.
    Any,
    /// It is taken in `safe_dirs`.
    SafeDirectory,
    /// As before where the value starts a program.
    SafeCommand,
    /// It is an error.
    Never,
}

use Kind::{Number, Octal, Path as File, Paths, Share, Size, Sloppiness, Switch, Text, Word};
use Trust::{Any, Never, SafeCommand, SafeDirectory};

const fn key(
    name: &'static str,
    variable: &'static str,
    kind: Kind,
    default: &'static str,
    trust: Trust,
) -> Key {
    Key { name, variable, kind, default, trust }
}

/// Kinds of compilers that there are.
const COMPILER_TYPES: &[&str] =
    &["auto", "clang", "clang-cl", "gcc", "icl", "icx", "icx-cl", "msvc", "nvcc", "other", "qcc"];

/// Every setting, sorted by name.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("absolute_paths_in_stderr", "ABSSTDERR", Switch, "false", Any),
    key("base_dir", "BASEDIR", Paths, "", Any),
    key("cache_dir", "DIR", File, "", Never),
    key("ceiling_dirs", "CEILING_DIRS", Paths, "", Never),
    key("ceiling_markers", "CEILING_MARKERS", Text, ".git", Never),
    key("compiler", "COMPILER", Text, "", SafeDirectory),
    key("compiler_check", "COMPILERCHECK", Text, "mtime", SafeCommand),
    key("compiler_type", "COMPILERTYPE", Word(COMPILER_TYPES), "auto", Any),
    key("compression", "COMPRESS", Switch, "true", Any),
    key("compression_level", "COMPRESSLEVEL", Number(-128, 127), "0", Any),
    key("cpp_extension", "EXTENSION", Text, "", Any),
    key("debug", "DEBUG", Switch, "false", Any),
    key("debug_dir", "DEBUGDIR", File, "", SafeDirectory),
    key("debug_level", "DEBUGLEVEL", Number(0, 255), "2", Any),
    key("depend_mode", "DEPEND", Switch, "false", Any),
    key("direct_mode", "DIRECT", Switch, "true", Any),
    key("disable", "DISABLE", Switch, "false", Any),
    key("extra_files_to_hash", "EXTRAFILES", Text, "", Any),
    key("file_clone", "FILECLONE", Switch, "false", Any),
    key("hard_link", "HARDLINK", Switch, "false", Any),
    key("hash_dir", "HASHDIR", Switch, "true", Any),
    key("ignore_headers_in_manifest", "IGNOREHEADERS", Text, "", Any),
    key("ignore_options", "IGNOREOPTIONS", Text, "", Any),
    key("inode_cache", "INODECACHE", Switch, "true", Any),
    key("keep_comments_cpp", "COMMENTS", Switch, "false", Any),
    key("libexec_dirs", "LIBEXEC_DIRS", Text, "", SafeDirectory),
    key("limit_multiple", "LIMIT_MULTIPLE", Share, "0.8", Any),
    key("log_file", "LOGFILE", Text, "", SafeDirectory),
    key("max_files", "MAXFILES", Number(0, i64::MAX), "0", Never),
    key("max_size", "MAXSIZE", Size, "5GiB", Never),
    key("msvc_dep_prefix", "MSVC_DEP_PREFIX", Text, "Note: including file:", Any),
    key("msvc_utf8", "MSVC_UTF8", Switch, "true", Any),
    key("namespace", "NAMESPACE", Text, "", Any),
    key("path", "PATH", Text, "", SafeDirectory),
    key("pch_external_checksum", "PCH_EXTSUM", Switch, "false", Any),
    key("prefix_command", "PREFIX", Text, "", SafeDirectory),
    key("prefix_command_cpp", "PREFIX_CPP", Text, "", SafeDirectory),
    key("read_only", "READONLY", Switch, "false", Any),
    key("read_only_direct", "READONLY_DIRECT", Switch, "false", Any),
    key("recache", "RECACHE", Switch, "false", Any),
    key("remote_only", "REMOTE_ONLY", Switch, "false", Any),
    key("remote_storage", "REMOTE_STORAGE", Text, "", SafeDirectory),
    key("reshare", "RESHARE", Switch, "false", Any),
    key("response_file_format", "RESPONSE_FILE_FORMAT",
        Word(&["auto", "posix", "windows"]), "auto", Any),
    key("run_second_cpp", "CPP2", Switch, "true", Any),
    key("safe_dirs", "SAFE_DIRS", Paths, "", Never),
    key("sloppiness", "SLOPPINESS", Sloppiness, "", Any),
    key("stats", "STATS", Switch, "true", Any),
    key("stats_log", "STATSLOG", File, "", SafeDirectory),
    key("temporary_dir", "TEMPDIR", File, "", SafeDirectory),
    key("umask", "UMASK", Octal, "", SafeDirectory),
];

/// Older names of settings, and second names of variables.
pub(super) const ALIASES: &[Alias] = &[
    Alias { name: "", variable: "CC", of: "compiler" },
    Alias { name: "secondary_storage", variable: "SECONDARY_STORAGE", of: "remote_storage" },
];

/// The place of the setting that a variable (without `CCACHE_`) stands for; for a switch also which
/// way it turns.
pub(super) fn of_variable(short: &str) -> Option<(usize, Option<bool>)> {
    let of = |short: &str| {
        let alias = ALIASES.iter().find(|alias| alias.variable == short);
        KEYS.iter().position(|key| match alias {
            Some(alias) => key.name == alias.of,
            None => key.variable == short,
        })
    };
    let is_switch = |at: &usize| matches!(KEYS[*at].kind, Switch);
    match of(short) {
        Some(at) => Some((at, is_switch(&at).then_some(true))),
        None => of(short.strip_prefix("NO")?).filter(is_switch).map(|at| (at, Some(false))),
    }
}
