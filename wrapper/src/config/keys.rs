//! The table of settings: one row each, which `larder config`, the help and every reader share.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::value::{CompilerCheck, Sloppiness, Text, parse_size};
use super::{Config, Janitor, MAX_SIZE_BYTES_MIN, NAMESPACE_BYTES_MAX, Origin, Setting};
use super::{WritePolicy, is_job_id};
use crate::tier::TierSettings;

/// One setting: its key in the file, its environment variable, what it does, whom it is taken from,
/// and what kind of value it has.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) variable: &'static str,
    pub(super) what: &'static str,
    pub(super) trust: Trust,
    kind: Kind,
}

/// What a file in a directory of a build may say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// It is taken.
    Any,
    /// It is taken in `safe_dirs`: it starts programs, or names files to be written.
    SafeDirectory,
    /// It is not taken: it is about the store, or about these rules.
    User,
}

/// How a text becomes the value, and how the value is shown.
enum Kind {
    Switch(fn(&mut Config) -> &mut Setting<bool>),
    File(fn(&mut Config) -> &mut Setting<Option<PathBuf>>),
    /// Absolute paths, with colons between them.
    Paths(fn(&mut Config) -> &mut Setting<Vec<PathBuf>>),
    /// Words, with blanks between them.
    Words(fn(&mut Config) -> &mut Setting<Vec<OsString>>),
    Other(Set, fn(&Config) -> (String, &Origin)),
}

type Set = fn(&mut Config, Text, Origin) -> Result<(), Wrong>;

/// What is wrong with a value, and what happens instead.
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) instead: &'static str,
}

impl From<String> for Wrong {
    fn from(what: String) -> Wrong {
        Wrong { what, instead: "it is ignored" }
    }
}

impl Key {
    pub(super) fn set(&self, config: &mut Config, text: Text, origin: Origin) -> Result<(), Wrong> {
        match self.kind {
            Kind::Switch(of) => {
                let value = text.switch()?;
                *of(config) = Setting { value, origin };
            }
            Kind::File(of) => *of(config) = Setting { value: Some(text.path()?), origin },
            Kind::Paths(of) => {
                let value = text.paths(&origin)?;
                *of(config) = Setting { value, origin };
            }
            Kind::Words(of) => {
                *of(config) = Setting { value: text.items(b" \t\n"), origin };
            }
            Kind::Other(set, _) => return set(config, text, origin),
        }
        Ok(())
    }

    /// The value as `larder config` shows it, and where it came from.
    pub(super) fn show(&self, config: &mut Config) -> (String, Origin) {
        fn shown<T>(setting: &Setting<T>, value: String) -> (String, Origin) {
            (value, setting.origin.clone())
        }
        match self.kind {
            Kind::Switch(of) => {
                let setting = of(config);
                shown(setting, setting.value.to_string())
            }
            Kind::File(of) => {
                let setting = of(config);
                shown(setting, show_path(setting.value.as_deref()))
            }
            Kind::Paths(of) => {
                let setting = of(config);
                let paths = setting.value.iter().map(|path| path.as_os_str().to_string_lossy());
                shown(setting, show_list(paths))
            }
            Kind::Words(of) => {
                let setting = of(config);
                let words = setting.value.iter().map(|word| word.to_string_lossy());
                shown(setting, show_list(words))
            }
            Kind::Other(_, show) => {
                let (value, origin) = show(config);
                (value, origin.clone())
            }
        }
    }
}

fn show_path(path: Option<&Path>) -> String {
    path.map_or("none".to_owned(), |path| format!("{:?}", path.display().to_string()))
}

fn show_list(items: impl Iterator<Item = impl std::fmt::Debug>) -> String {
    format!("[{}]", items.map(|item| format!("{item:?}")).collect::<Vec<_>>().join(", "))
}

const fn key(
    name: &'static str,
    variable: &'static str,
    trust: Trust,
    kind: Kind,
    what: &'static str,
) -> Key {
    Key { name, variable, what, trust, kind }
}

use Kind::{File, Other, Paths, Switch, Words};
use Trust::{Any, SafeDirectory, User};

/// Every setting. `larder config` lists them in this order.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("dir", "LARDER_DIR", User, Other(set_dir, show_dir),
        "the store's directory"),
    key("max_size", "LARDER_MAX_SIZE", User,
        Other(set_max_size, |c| (c.max_size_bytes.value.to_string(), &c.max_size_bytes.origin)),
        "most disk space of the store: bytes, or with k M G T, Ki Mi Gi Ti"),
    key("umask", "LARDER_UMASK", User, Other(set_umask, show_umask),
        "octal; files of a new store get these bits taken away, 077 by default"),
    key("compression_level", "LARDER_COMPRESSION_LEVEL", Any,
        Other(set_level, |c| (c.compression_level.value.to_string(), &c.compression_level.origin)),
        "zstd level of new results, -50 to 22; 0 does not compress"),
    key("file_clone", "LARDER_FILE_CLONE", Any, Switch(|config| &mut config.file_clone),
        "share the blocks of large files with the store, where files can be cloned"),
    key("namespace", "LARDER_NAMESPACE", Any,
        Other(set_namespace, |c| (format!("{:?}", c.namespace.value), &c.namespace.origin)),
        "results are shared only within one"),
    key("disable", "LARDER_DISABLE", Any, Switch(|config| &mut config.disable),
        "only run the compiler"),
    key("recache", "LARDER_RECACHE", Any, Switch(|config| &mut config.recache),
        "ask for nothing, store everything anew"),
    key("readonly", "LARDER_READONLY", Any, Switch(|config| &mut config.readonly),
        "ask, but store nothing"),
    key("readonly_direct", "LARDER_READONLY_DIRECT", Any,
        Switch(|config| &mut config.readonly_direct),
        "ask by manifests only, store nothing, and run the compiler for everything else"),
    key("direct_mode", "LARDER_DIRECT_MODE", Any, Switch(|config| &mut config.direct_mode),
        "answer by manifests; without, every call is preprocessed first"),
    key("depend_mode", "LARDER_DEPEND_MODE", Any, Switch(|config| &mut config.depend_mode),
        "never run the preprocessor by itself"),
    key("store_failures", "LARDER_STORE_FAILURES", Any,
        Switch(|config| &mut config.store_failures),
        "keep compiles that failed for reasons in the source, too"),
    key("cache_links", "LARDER_CACHE_LINKS", Any, Switch(|config| &mut config.cache_links),
        "links of C and C++ and archives are kept, too"),
    key("base_dirs", "LARDER_BASE_DIRS", Any, Paths(|config| &mut config.base_dirs),
        "checkouts, or what they stand in: results that show no path below are shared"),
    key("remap_path_prefix", "LARDER_REMAP_PATH_PREFIX", Any,
        Switch(|config| &mut config.remap_path_prefix),
        "crates in base_dirs are compiled with --remap-path-prefix, and shared by checkouts"),
    key("hash_dir", "LARDER_HASH_DIR", Any, Switch(|config| &mut config.hash_dir),
        "off: the working directory never counts, although debug information shows it"),
    key("compiler_check", "LARDER_COMPILER_CHECK", SafeDirectory,
        Other(set_compiler_check, |config| {
            (format!("{:?}", config.compiler_check.value.show()), &config.compiler_check.origin)
        }),
        "what tells compilers apart: content, mtime, none, string:TEXT or a command"),
    key("extra_files_to_hash", "LARDER_EXTRA_FILES_TO_HASH", Any,
        Paths(|config| &mut config.extra_files_to_hash),
        "files whose contents count for every result"),
    key("extra_inputs", "LARDER_EXTRA_INPUTS", Any, Other(set_extra_inputs, show_extra_inputs),
        "files that a Rust crate reads unseen: a table of crate and paths, or CRATE=PATH:PATH"),
    key("ignore_options", "LARDER_IGNORE_OPTIONS", Any,
        Words(|config| &mut config.ignore_options),
        "options that do not count, although the compiler gets them; a * at the end"),
    key("ignore_headers", "LARDER_IGNORE_HEADERS", Any,
        Paths(|config| &mut config.ignore_headers),
        "headers, or directories of headers, that do not count"),
    key("sloppiness", "LARDER_SLOPPINESS", Any, Other(set_sloppiness, show_sloppiness),
        "what need not be right, as time_macros,locale"),
    key("prefix_command", "LARDER_PREFIX_COMMAND", SafeDirectory,
        Words(|config| &mut config.prefix_command),
        "a command that is put before the compiler, as distcc"),
    key("prefix_command_cpp", "LARDER_PREFIX_COMMAND_CPP", SafeDirectory,
        Words(|config| &mut config.prefix_command_cpp),
        "a command that is put before the compiler when it only preprocesses"),
    key("janitor", "LARDER_JANITOR", Any, Other(set_janitor, show_janitor),
        "who does the upkeep: detached, inline or off"),
    key("log", "LARDER_LOG", SafeDirectory, File(|config| &mut config.log),
        "a file that is told what happened and why"),
    key("trace", "LARDER_TRACE", SafeDirectory, File(|config| &mut config.trace),
        "a file that gets build,unit,key,bytes for each look-up"),
    key("stats_log", "LARDER_STATS_LOG", SafeDirectory, File(|config| &mut config.stats_log),
        "a file that gets a line for each call, see larder stats --log"),
    key("explain_sources", "LARDER_EXPLAIN_SOURCES", Any,
        Switch(|config| &mut config.explain_sources),
        "keep the texts of misses, so that larder explain can show which lines differ"),
    key("lower", "LARDER_LOWER", User, Paths(|config| &mut config.lower),
        "stores behind the own one that are only read, the first one first"),
    key("lower_promote", "LARDER_LOWER_PROMOTE", User, Switch(|config| &mut config.lower_promote),
        "what a lower store answers is put into the own store, too"),
    key("tiers", "LARDER_TIERS", User, Other(set_tiers, show_tiers),
        "remote tiers behind the store, as redis://HOST or http://HOST/PATH, the first one first"),
    key("signing_key", "LARDER_SIGNING_KEY", User, File(|config| &mut config.signing_key),
        "a file with the key that signs what is written to tiers: see larder key"),
    key("trusted_keys", "LARDER_TRUSTED_KEYS", User, File(|config| &mut config.trusted_keys),
        "a file with the keys whose results are taken from tiers; none if it is missing"),
    key("write_policy", "LARDER_WRITE_POLICY", User, Other(set_write_policy, show_write_policy),
        "whose failed writes fail the compile: ignore (nobody's), local (the store's) or all"),
    key("job", "LARDER_JOB", User, Other(set_job, show_job),
        "what `larder job start` printed: this call is part of that job"),
    key("ceiling_dirs", "LARDER_CEILING_DIRS", User, Paths(|config| &mut config.ceiling_dirs),
        "where the search for .larder.toml ends; the home directory by default"),
    key("ceiling_markers", "LARDER_CEILING_MARKERS", User,
        Words(|config| &mut config.ceiling_markers),
        "names that mark the last directory that is searched for .larder.toml"),
    key("safe_dirs", "LARDER_SAFE_DIRS", User, Paths(|config| &mut config.safe_dirs),
        "where .larder.toml may set what starts programs or writes files"),
];

fn set_dir(config: &mut Config, text: Text, origin: Origin) -> Result<(), Wrong> {
    let path = text.path()?;
    if !path.is_absolute() {
        return Err(format!("\"{}\" is not an absolute path", path.display()).into());
    }
    config.dir = Setting { value: Some(path), origin };
    config.dir_problem = None;
    Ok(())
}

fn show_dir(config: &Config) -> (String, &Origin) {
    let dir = match config.dir_problem {
        None => show_path(config.dir.value.as_deref()),
        Some(_) => "unknown, so there is no store".to_owned(),
    };
    (dir, &config.dir.origin)
}

fn set_max_size(config: &mut Config, text: Text, origin: Origin) -> Result<(), Wrong> {
    let text = text.as_str()?;
    let size = parse_size(text).filter(|size| *size > 0);
    let size = size.ok_or_else(|| format!("\"{text}\" is no size"))?;
    // Whoever wants little is not given the default, which is much.
    let value = size.max(MAX_SIZE_BYTES_MIN);
    config.max_size_bytes = Setting { value, origin };
    match value == size {
        true => Ok(()),
        false => {
            Err(Wrong { what: format!("\"{text}\" is less than 64Mi"), instead: "64Mi is used" })
        }
    }
}

fn set_umask(config: &mut Config, text: Text, origin: Origin) -> Result<(), Wrong> {
    let text = text.as_str()?;
    let is_octal = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let umask = u32::from_str_radix(text, 8).ok().filter(|umask| is_octal && *umask <= 0o777);
    let umask = umask.ok_or_else(|| format!("\"{text}\" is no octal number up to 777"))?;
    if umask & 0o700 != 0 {
        return Err(format!("\"{text}\" takes the store from its owner").into());
    }
    config.umask = Setting { value: umask, origin };
    Ok(())
}

fn show_umask(config: &Config) -> (String, &Origin) {
    (format!("{:03o}", config.umask.value), &config.umask.origin)
}

fn set_level(config: &mut Config, text: Text, origin: Origin) -> Result<(), Wrong> {
    let text = text.as_str()?;
    let level = text.trim().parse().ok().filter(|level| (-50..=22).contains(level));
    let value = level.ok_or_else(|| format!("\"{text}\" is no number from -50 to 22"))?;
    config.compression_level = Setting { value, origin };
    Ok(())
}

fn set_namespace(config: &mut Config, text: Text, origin: Origin) -> Result<(), Wrong> {
    let value = text.as_str()?.to_owned();
    if value.len() > NAMESPACE_BYTES_MAX {
        return Err("is longer than 255 bytes".to_owned().into());
    }
    config.namespace = Setting { value, origin };
    Ok(())
}

fn set_compiler_check(config: &mut Config, text: Text, origin: Origin) -> Result<(), Wrong> {
    let value = CompilerCheck::parse(text.as_str()?)?;
    config.compiler_check = Setting { value, origin };
    Ok(())
}

fn set_extra_inputs(config: &mut Config, text: Text, origin: Origin) -> Result<(), Wrong> {
    let row = |(name, paths): (String, Vec<String>)| {
        // Packages have dashes where their crates have underscores.
        Text::List(paths).paths(&origin).map(|paths| (name.replace('-', "_"), paths))
    };
    let value = text.rows()?.into_iter().map(row).collect::<Result<_, _>>()?;
    config.extra_inputs = Setting { value, origin };
    Ok(())
}

fn show_extra_inputs(config: &Config) -> (String, &Origin) {
    let Setting { value, origin } = &config.extra_inputs;
    let row = |(name, paths): &(String, Vec<PathBuf>)| {
        let paths = paths.iter().map(|path| path.as_os_str().to_string_lossy());
        format!("{name} = {}", show_list(paths))
    };
    let rows: Vec<String> = value.iter().map(row).collect();
    let text =
        if rows.is_empty() { "none".to_owned() } else { format!("{{ {} }}", rows.join(", ")) };
    (text, origin)
}

/// What is known of a list counts, whatever else is in it.
fn set_sloppiness(config: &mut Config, text: Text, origin: Origin) -> Result<(), Wrong> {
    let (value, unknown) = Sloppiness::parse(&text.items(b", \t"));
    config.sloppiness = Setting { value, origin };
    match &unknown[..] {
        [] => Ok(()),
        names => {
            let what = format!("has {}, which larder does not know", names.join(" and "));
            Err(Wrong { what, instead: "the rest counts" })
        }
    }
}

fn show_sloppiness(config: &Config) -> (String, &Origin) {
    (format!("{:?}", config.sloppiness.value.show()), &config.sloppiness.origin)
}

fn set_janitor(config: &mut Config, text: Text, origin: Origin) -> Result<(), Wrong> {
    let value = match text.as_str()? {
        "detached" => Janitor::Detached,
        "inline" => Janitor::Inline,
        "off" => Janitor::Off,
        other => return Err(format!("\"{other}\" is none of detached, inline, off").into()),
    };
    config.janitor = Setting { value, origin };
    Ok(())
}

fn show_janitor(config: &Config) -> (String, &Origin) {
    (format!("{:?}", config.janitor.value).to_lowercase(), &config.janitor.origin)
}

/// A tier that cannot be understood is left out; the others count.
fn set_tiers(config: &mut Config, text: Text, origin: Origin) -> Result<(), Wrong> {
    let mut wrong = Vec::new();
    let mut value = Vec::new();
    for (item, number) in text.items(b" \t\n").into_iter().zip(1..) {
        match item.to_str().map(TierSettings::parse) {
            Some(Ok(tier)) => value.push(tier),
            Some(Err(why)) => wrong.push(format!("tier {number} {why}")),
            None => wrong.push(format!("tier {number} is no UTF-8")),
        }
    }
    config.tiers = Setting { value, origin };
    match &wrong[..] {
        [] => Ok(()),
        _ => {
            let what = format!("has what cannot be used: {}", wrong.join("; "));
            Err(Wrong { what, instead: "the others count" })
        }
    }
}

/// Without credentials.
fn show_tiers(config: &Config) -> (String, &Origin) {
    let Setting { value, origin } = &config.tiers;
    (show_list(value.iter().map(TierSettings::display)), origin)
}

fn set_write_policy(config: &mut Config, text: Text, origin: Origin) -> Result<(), Wrong> {
    let value = match text.as_str()? {
        "ignore" => WritePolicy::Ignore,
        "local" => WritePolicy::Local,
        "all" => WritePolicy::All,
        other => return Err(format!("\"{other}\" is none of ignore, local, all").into()),
    };
    config.write_policy = Setting { value, origin };
    Ok(())
}

fn show_write_policy(config: &Config) -> (String, &Origin) {
    let Setting { value, origin } = &config.write_policy;
    (format!("{value:?}").to_lowercase(), origin)
}

fn set_job(config: &mut Config, text: Text, origin: Origin) -> Result<(), Wrong> {
    let id = text.as_str()?;
    if !is_job_id(id) {
        return Err(format!("\"{id}\" is no id of a job").into());
    }
    config.job = Setting { value: Some(id.to_owned()), origin };
    Ok(())
}

fn show_job(config: &Config) -> (String, &Origin) {
    let job = config.job.value.as_ref();
    (job.map_or("none".to_owned(), |job| format!("{job:?}")), &config.job.origin)
}
