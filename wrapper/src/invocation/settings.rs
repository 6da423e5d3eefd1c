//! What the configuration changes about a call: which words and files count, and what runs.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Session;
use crate::compiler::Compile;
use crate::config::{Config, Sloppiness};
use crate::digest::Mentions;
use crate::exec::{self, Capture, Ran};
use crate::fingerprint::Leniency;

/// Where the headers of a system are.
const SYSTEM_DIRS: &[&str] = &["/usr/include", "/usr/lib", "/usr/local/include"];

/// Takes words out that do not count, and adds files that do.
pub(super) fn apply(config: &Config, compile: &mut Compile) {
    let seed_counts = !config.sloppiness.value.has(Sloppiness::RANDOM_SEED);
    let counts = |word: &OsString| {
        !config.ignore_options.value.iter().any(|pattern| matches(pattern, word))
            && (seed_counts || !word.as_bytes().starts_with(b"-frandom-seed="))
    };
    if !seed_counts || !config.ignore_options.value.is_empty() {
        compile.key_arguments.retain(counts);
        compile.key_arguments_after_preprocessing.retain(counts);
    }
    compile.named_inputs.extend_from_slice(&config.extra_files_to_hash.value);
}

/// What of it is in every key.
pub(super) fn leniency(config: &Config) -> Leniency<'_> {
    Leniency {
        hash_dir: config.hash_dir.value,
        sloppiness: config.sloppiness.value,
        ignore_options: &config.ignore_options.value,
        ignore_headers: &config.ignore_headers.value,
    }
}

/// Whether an option is one that the pattern means.
fn matches(pattern: &OsStr, word: &OsStr) -> bool {
    let (pattern, word) = (pattern.as_bytes(), word.as_bytes());
    word.starts_with(b"-")
        && match pattern.strip_suffix(b"*") {
            Some(start) => word.starts_with(start),
            None => word == pattern,
        }
}

impl Session<'_> {
    /// Whether the contents of an input count.
    pub(super) fn counts(&self, path: &Path) -> bool {
        let config = self.call.config;
        let ignored = &config.ignore_headers.value;
        let is_below = |directory: &str| path.starts_with(directory);
        if config.sloppiness.value.has(Sloppiness::SYSTEM_HEADERS)
            && SYSTEM_DIRS.iter().any(|directory| is_below(directory))
        {
            return false;
        }
        // Both may be spelled in many ways.
        let real = |path: &Path| fs::canonicalize(path).ok();
        ignored.is_empty()
            || real(path).is_none_or(|path| {
                !ignored.iter().filter_map(|path| real(path)).any(|known| path.starts_with(known))
            })
    }

    /// The mentions that count.
    pub(super) fn counted(&self, mentions: Mentions) -> Mentions {
        match self.call.config.sloppiness.value.has(Sloppiness::TIME_MACROS) {
            true => mentions.without_time_macros(),
            false => mentions,
        }
    }

    /// Whether an input that changed after the start may be taken as it is.
    pub(super) fn takes_changed(&self, path: &Path) -> bool {
        let sloppiness = self.call.config.sloppiness.value;
        let mtime = sloppiness.has(Sloppiness::INCLUDE_FILE_MTIME);
        let ctime = sloppiness.has(Sloppiness::INCLUDE_FILE_CTIME);
        if !mtime && !ctime {
            return false;
        }
        use std::os::unix::fs::MetadataExt;
        let started_ns = i128::from(self.call.started_ns);
        let is_old = |secs: i64, nanos: i64| {
            i128::from(secs) * 1_000_000_000 + i128::from(nanos) < started_ns
        };
        fs::metadata(path).is_ok_and(|facts| {
            (mtime || is_old(facts.mtime(), facts.mtime_nsec()))
                && (ctime || is_old(facts.ctime(), facts.ctime_nsec()))
        })
    }

    /// Runs the compiler on a miss.
    pub(super) fn run_compiler(&self, arguments: &[OsString], capture: Capture) -> io::Result<Ran> {
        let prefix = &self.call.config.prefix_command.value;
        exec::run_wrapped(self.call.around(prefix), self.call.compiler, arguments, capture)
    }

    /// Runs the compiler only to preprocess.
    pub(super) fn run_preprocessor(
        &self,
        arguments: &[OsString],
        capture: Capture,
    ) -> io::Result<Ran> {
        let prefix = &self.call.config.prefix_command_cpp.value;
        exec::run_wrapped(self.call.around(prefix), self.call.compiler, arguments, capture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_options_and_no_values() {
        let fits = |pattern: &str, word: &str| matches(OsStr::new(pattern), OsStr::new(word));
        assert!(
            fits("-DX", "-DX")
                && fits("-D*", "-DX")
                && fits("-fmessage-length=*", "-fmessage-length=0")
        );
        assert!(!fits("-DX", "-DXY") && !fits("*", "a.c") && !fits("a.c", "a.c"));
    }
}
