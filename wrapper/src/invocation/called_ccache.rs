//! What a call does beside compiling where larder is called `ccache`: what is refused there, the
//! statistics log, and counting under `read_only`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use larder_engine::env::clock_ns;
use memchr::memmem;

use super::{Job, Session, open_store};
use crate::compiler::{self, Compile, Family, Language, Purpose};
use crate::config::Config;
use crate::config::ccache::Ccache;
use crate::log::{Log, SYSTEM_SOCKET};
use crate::moment::local_offset_secs;
use crate::outcome::{Counter, Reason};
use crate::trace;

/// Counters from this number on are larder's own.
const OWN_COUNTERS: u16 = 128;
/// As much of a source is looked at for the word that switches caching off.
const HEAD_BYTES: u64 = 4096;
/// What marks a key with options that are not known; no compiler gets it.
const SKIPPED: &str = "--ccache-skip";
const DISABLE_WORD: &[u8] = b"ccache:disable";

/// Options that ccache hands to the compiler whatever they would do, by their beginning or whole.
const TOO_HARD_STARTS: &[&str] = &[
    "-fdump-",
    "-save-temps",
    "--save-temps",
    "-ftime-trace",
    "--config-system-dir=",
    "--config-user-dir=",
    "-fplugin=libcc1plugin",
];
const TOO_HARD: &[&str] = &[
    "--analyzer-output",
    "--generate-dependencies",
    "--generate-nonsystem-dependencies",
    "-EP",
    "-M",
    "-MJ",
    "-MM",
    "-analyze",
    "-ast-merge",
    "-ast-view",
    "-fmodule-header",
    "-fmodules-ts",
    "-frepo",
    "-gen-cdb-fragment-path",
    "-gtoggle",
    "-index-store-path",
    "-index-unit-output-path",
    "-ivfsoverlay",
    "-link",
    "-set-default",
    "-wrapper",
];
/// What begins like one of them and is no hindrance.
const NOT_TOO_HARD: &str = "-fdump-ipa-clones";

/// Suffixes of what ccache takes for a source.
const SOURCE_SUFFIXES: &[&str] = &[
    "C", "CC", "CPP", "CXX", "H", "M", "S", "c", "c++", "cc", "cp", "cpp", "cu", "cxx", "h", "h++",
    "hh", "hip", "hp", "hpp", "hxx", "i", "ii", "m", "mi", "mii", "mm", "s", "sx", "tcc",
];
/// Options whose value is the next word, and no input.
const WITH_VALUE: &[&str] = &[
    "--param",
    "--sysroot",
    "-B",
    "-D",
    "-I",
    "-L",
    "-MF",
    "-MQ",
    "-MT",
    "-T",
    "-U",
    "-Xassembler",
    "-Xclang",
    "-Xlinker",
    "-Xpreprocessor",
    "-arch",
    "-e",
    "-idirafter",
    "-imacros",
    "-include",
    "-include-pch",
    "-include-pth",
    "-iquote",
    "-isysroot",
    "-isystem",
    "-l",
    "-o",
    "-target",
    "-u",
    "-x",
    "-z",
];
/// Options that use a profile.
const PROFILE_STARTS: &[&str] =
    &["-fauto-profile", "-fprofile-instr-use", "-fprofile-sample-use", "-fprofile-use"];

impl Session<'_> {
    /// What the arguments mean; called `ccache`, larder refuses what ccache does.
    pub(super) fn parsed(
        &self,
        family: Family,
        language: Option<Language>,
        directory: &Path,
    ) -> Result<Compile, Reason> {
        let arguments = self.call.arguments;
        let Some(ccache) = self.call.config.ccache.as_deref() else {
            return compiler::parse(family, language, arguments, directory);
        };
        if let Some(reason) = too_hard(arguments) {
            return Err(reason);
        }
        let parsed = parse_skipping(ccache, family, language, arguments, directory);
        let compile = parsed.map_err(|reason| {
            let counter = counted_instead(reason.counter, arguments).unwrap_or(reason.counter);
            Reason::new(counter, reason.text)
        })?;
        self.input.replace(Some(compile.input.clone()));
        match refusal(ccache, &compile) {
            Some(reason) => Err(reason),
            None => Ok(compile),
        }
    }

    /// The source of this call, as well as one can tell.
    pub(super) fn source_name(&self) -> Option<PathBuf> {
        let first = || inputs(self.call.arguments).first().map(PathBuf::from);
        self.input.borrow().clone().or_else(first)
    }

    /// Whether the preprocessor must not be run by itself. ccache does so where no dependency file
    /// is asked for.
    pub(super) fn depends(&self, job: &Job) -> bool {
        let config = self.call.config;
        config.depend_mode.value && (config.ccache.is_none() || job.compile.depfile.is_some())
    }

    /// Whether the source switches caching off for itself. No direct hit need ask: what is stored
    /// for these very contents was asked then. Nothing else is counted for such a call.
    pub(super) fn disabled_by_source(&self, job: &Job) -> Option<Reason> {
        if self.call.config.ccache.is_none() || !is_disabled(&job.compile.input) {
            return None;
        }
        self.counts.borrow_mut().clear();
        let text = format!("{} says ccache:disable", job.compile.input.display());
        Some(Reason::new(Counter::Disabled, text))
    }

    /// Counts that a preprocessed text led to no result.
    pub(super) fn count_text_miss(&self) {
        self.count(Counter::PreprocessedCacheMiss);
        if self.call.config.ccache.is_some() {
            self.count(Counter::LocalStorageMiss);
        }
    }

    /// Counts a result that is about to be stored. ccache has counted where it looked; under
    /// `recache` it counts how it found the manifest.
    pub(super) fn count_stored(&self, job: &Job) {
        let config = self.call.config;
        if config.ccache.is_none() {
            self.count(Counter::LocalStorageMiss);
        } else if config.recache.value {
            let found = self.store.contains(&job.direct).unwrap_or(false);
            self.count(match found && config.direct_mode.value {
                true => Counter::LocalStorageReadHit,
                false => Counter::LocalStorageReadMiss,
            });
        }
    }

    /// Counts a compile that was stored; for ccache it is no miss under `recache`.
    pub(super) fn count_miss(&self) {
        let config = self.call.config;
        if config.ccache.is_none() || !config.recache.value {
            self.count(Counter::CacheMiss);
        }
    }
}

/// Parses the arguments. Options behind `--ccache-skip` are taken for such that count, and do
/// nothing that larder would have to know of, unless it knows.
fn parse_skipping(
    ccache: &Ccache,
    family: Family,
    language: Option<Language>,
    arguments: &[OsString],
    directory: &Path,
) -> Result<Compile, Reason> {
    let parsed = compiler::parse(family, language, arguments, directory);
    if ccache.skipped.is_empty() || parsed.is_ok() {
        return parsed;
    }
    let is_skipped = |word: &OsString| ccache.skipped.contains(word);
    let rest: Vec<_> = arguments.iter().filter(|word| !is_skipped(word)).cloned().collect();
    let mut compile = compiler::parse(family, language, &rest, directory)?;
    compile.arguments = arguments.to_vec();
    // Where they stand among the others may count, too.
    for list in [&mut compile.key_arguments, &mut compile.key_arguments_after_preprocessing] {
        list.push(SKIPPED.into());
        list.extend_from_slice(arguments);
    }
    Ok(compile)
}

/// Whether options were skipped that larder does not know. Then no preprocessed text is made: where
/// they would have to stand for that is not known.
pub(super) fn skips_unknown(compile: &Compile) -> bool {
    compile.key_arguments.iter().any(|word| word == SKIPPED)
}

/// An option that ccache does not look behind.
fn too_hard(arguments: &[OsString]) -> Option<Reason> {
    let is_too_hard = |word: &&OsString| {
        let word = word.as_bytes();
        let mut starts = TOO_HARD_STARTS.iter();
        word != NOT_TOO_HARD.as_bytes()
            && (TOO_HARD.iter().any(|known| word == known.as_bytes())
                || starts.any(|start| word.starts_with(start.as_bytes())))
    };
    if let Some(word) = arguments.iter().find(is_too_hard) {
        let text = format!("{} is too hard for ccache", word.display());
        return Some(Reason::new(Counter::UnsupportedCompilerOption, text));
    }
    None
}

/// Why ccache would not cache a call that larder could.
fn refusal(ccache: &Ccache, compile: &Compile) -> Option<Reason> {
    if let Some(text) = lacks_profile(compile) {
        return Some(Reason::new(Counter::NoInputFile, text));
    }
    if compile.purpose == Purpose::Precompiled {
        let is_allowed = ccache.is_sloppy("pch_defines") && ccache.is_sloppy("time_macros");
        let text = "sloppiness lacks pch_defines and time_macros";
        return (!is_allowed).then(|| Reason::new(Counter::CouldNotUsePrecompiledHeader, text));
    }
    if !ccache.is_sloppy("time_macros") && uses_precompiled(compile) {
        let text = "sloppiness lacks time_macros";
        return Some(Reason::new(Counter::CouldNotUsePrecompiledHeader, text));
    }
    let has_modules = compile.arguments.iter().any(|word| word == "-fmodules");
    if (has_modules || !compile.module_files.is_empty()) && !ccache.is_sloppy("modules") {
        let text = "sloppiness lacks modules";
        return Some(Reason::new(Counter::CouldNotUseModules, text));
    }
    None
}

/// Whether a precompiled header is named, or stands beside a header that is.
fn uses_precompiled(compile: &Compile) -> bool {
    let names = |word: &OsString| word == "-include-pch" || word == "-include-pth";
    let suffixes: &[&str] = match compile.family {
        Family::Clang => &["gch", "pch", "pth"],
        _ => &["gch"],
    };
    let stands_beside = |header: &OsStr| {
        let beside = |suffix: &&str| {
            let mut name = header.to_owned();
            name.push(".");
            name.push(suffix);
            Path::new(&name).exists()
        };
        suffixes.iter().any(beside)
    };
    compile.arguments.iter().any(names) || compile.forced_headers().into_iter().any(stands_beside)
}

/// What ccache counts where larder has another reason for the same end. ccache reads files of
/// options first, and looks at no more than the second input.
fn counted_instead(counter: Counter, arguments: &[OsString]) -> Option<Counter> {
    let is_missing = |word: &OsString| {
        word.as_bytes()
            .strip_prefix(b"@")
            .is_some_and(|name| !Path::new(OsStr::from_bytes(name)).is_file())
    };
    match counter {
        Counter::CalledForLink | Counter::MultipleSourceFiles => {
            if arguments.iter().any(is_missing) {
                return Some(Counter::BadCompilerArguments);
            }
            match inputs(arguments)[..] {
                [] => Some(Counter::NoInputFile),
                [_, second, ..] if is_source(second) => Some(Counter::MultipleSourceFiles),
                [_, _, ..] if counter == Counter::MultipleSourceFiles => {
                    Some(Counter::UnsupportedSourceLanguage)
                }
                _ => None,
            }
        }
        // Whatever else is in the way, there is nothing to compile.
        Counter::UnsupportedCompilerOption if guessed_input(arguments).is_none() => {
            Some(Counter::NoInputFile)
        }
        _ => None,
    }
}

/// The files among the words that are no value of an option.
fn inputs(arguments: &[OsString]) -> Vec<&OsString> {
    let mut words = arguments.iter();
    let mut inputs = Vec::new();
    while let Some(word) = words.next() {
        if WITH_VALUE.iter().any(|known| word == known) {
            words.next();
        } else if !word.as_bytes().starts_with(b"-") && Path::new(word).is_file() {
            inputs.push(word);
        }
    }
    inputs
}

/// Whether a name is that of a source.
fn is_source(word: &OsString) -> bool {
    let suffix = Path::new(word).extension();
    suffix.is_some_and(|suffix| SOURCE_SUFFIXES.iter().any(|known| suffix == *known))
}

/// The option that uses a profile, where there is none.
fn lacks_profile(compile: &Compile) -> Option<String> {
    let uses = |word: &&OsString| {
        PROFILE_STARTS.iter().any(|start| word.as_bytes().starts_with(start.as_bytes()))
    };
    let option = compile.arguments.iter().find(uses)?;
    let has_profile = compile.named_inputs.iter().any(|path| path.is_file());
    (!has_profile).then(|| format!("{} finds no profile", option.display()))
}

/// Whether a source switches caching off for itself.
fn is_disabled(source: &Path) -> bool {
    let mut head = Vec::new();
    let read = fs::File::open(source).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    read.is_ok() && memmem::find(&head, DISABLE_WORD).is_some()
}

/// The source of a call that was not understood, as well as one can tell: the first file that looks
/// like one, else the first file.
fn guessed_input(arguments: &[OsString]) -> Option<PathBuf> {
    let is_file = |word: &&OsString| {
        !word.as_bytes().starts_with(b"-") && fs::metadata(word).is_ok_and(|facts| facts.is_file())
    };
    let suffix = |word: &OsString| Path::new(word).extension().map(OsStr::to_owned);
    let is_object = |word: &&OsString| {
        suffix(word).is_some_and(|suffix| ["a", "d", "json", "o"].iter().any(|it| suffix == *it))
    };
    let first = arguments.iter().filter(|word| is_source(word)).find(is_file);
    let any = || arguments.iter().filter(|word| !is_object(word)).find(is_file);
    first.or_else(any).map(PathBuf::from)
}

/// Whether anything is counted: ccache can be told not to.
pub(super) fn counts(config: &Config) -> bool {
    config.ccache.as_ref().is_none_or(|ccache| ccache.counts)
}

/// The same settings without those that keep from writing.
pub(super) fn writing(config: &Config) -> Config {
    let mut config = config.clone();
    (config.readonly.value, config.readonly_direct.value) = (false, false);
    config
}

/// Where the lines of this call go.
pub(super) fn log(config: &Config) -> Log {
    let Some(ccache) = config.ccache.as_deref() else { return Log::new(config.log.value.clone()) };
    let log = match ccache.logs_to_system {
        true => {
            let now_secs = (clock_ns() / 1_000_000_000).cast_signed();
            let offset_secs = local_offset_secs(now_secs).unwrap_or(0);
            Log::to_system(Path::new(SYSTEM_SOCKET), offset_secs)
        }
        false => Log::new(config.log.value.clone()),
    };
    if ccache.debug_level > 0 { log.keeping() } else { log }
}

/// Counts in a store that this call has opened for reading: ccache counts under `read_only`, too.
pub(super) fn count_read_only(session: &Session<'_>) {
    let config = session.call.config;
    if config.ccache.is_none() || !counts(config) {
        return;
    }
    let config = writing(config);
    let Some(path) = config.dir.value.as_deref() else { return };
    if let Ok(store) = open_store(&config, path)
        && !store.is_read_only()
    {
        for (counter, count) in session.counts.borrow().iter() {
            store.counters().add(*counter as usize, *count);
        }
    }
}

/// Writes what a call counted to the statistics log: the source behind a hash, then the names of
/// the counters, sorted, each as often as it was counted.
pub(super) fn log_counts(session: &Session<'_>) {
    let Some(ccache) = session.call.config.ccache.as_deref() else { return };
    if ccache.stats_log.is_none() && ccache.debug_level == 0 && !session.call.log.is_heard() {
        return;
    }
    let input = session.source_name().unwrap_or_default();
    let mut names = Vec::new();
    for (counter, count) in session.counts.borrow().iter() {
        let name = name_of(*counter);
        names.extend(name.into_iter().flat_map(|name| (0..*count).map(move |_| name.clone())));
    }
    names.sort_unstable();
    names.iter().for_each(|name| session.log(format_args!("Result: {name}")));
    let Some(path) = &ccache.stats_log else { return };
    let lines: String = names.iter().map(|name| format!("{name}\n")).collect();
    trace::append_text(path, &format!("# {}\n{lines}", input.display()));
}

/// ccache's name of a counter, `None` for one of larder's own.
fn name_of(counter: Counter) -> Option<String> {
    if counter as u16 >= OWN_COUNTERS {
        return None;
    }
    let mut name = String::new();
    for letter in format!("{counter:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_the_names_of_ccache() {
        let names: Vec<_> =
            [Counter::DirectCacheHit, Counter::LocalStorageReadMiss, Counter::StoreDropped]
                .map(name_of)
                .into_iter()
                .flatten()
                .collect();
        assert_eq!(names, ["direct_cache_hit", "local_storage_read_miss"]);
    }

    #[test]
    fn a_source_switches_caching_off_only_at_its_head() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.c");
        fs::write(&path, "// ccache:disable\n").unwrap();
        assert!(is_disabled(&path));
        fs::write(&path, format!("{:4096}// ccache:disable\n", "")).unwrap();
        assert!(!is_disabled(&path) && !is_disabled(&folder.path().join("none")));
    }
}
