//! The options that ask for a dependency file, and what they come to.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Depfile;
use super::flag::DependencyFlag;
use super::outputs::derived_name;
use crate::outcome::{Counter, Reason};

/// What the dependency options ask for.
#[derive(Default)]
pub(super) struct Dependencies {
    all: bool,
    without_system_headers: bool,
    pub(super) file: Option<PathBuf>,
    targets: Vec<OsString>,
    phony_targets: bool,
    /// All of the above as they stand.
    pub(super) words: Vec<OsString>,
    /// `-Wp,-MD,FILE` and `-Wp,-MMD,FILE`: the file, and whether system headers are left out.
    pub(super) by_preprocessor_words: Vec<(PathBuf, bool)>,
}

impl Dependencies {
    /// Takes an option with its words and its value.
    pub(super) fn take(&mut self, kind: DependencyFlag, words: &[OsString], value: &OsStr) {
        self.words.extend_from_slice(words);
        match kind {
            DependencyFlag::All => self.all = true,
            DependencyFlag::WithoutSystemHeaders => self.without_system_headers = true,
            DependencyFlag::File => self.file = Some(value.into()),
            DependencyFlag::Target => self.targets.extend_from_slice(words),
            DependencyFlag::Phony => self.phony_targets = true,
        }
    }

    /// Whether one is asked for by an option of the driver.
    pub(super) fn asks(&self) -> bool {
        self.all || self.without_system_headers
    }

    /// The dependency file of a call that makes `object`.
    ///
    /// # Errors
    /// If the options contradict each other.
    pub(super) fn finish(mut self, object: &Path) -> Result<Option<Depfile>, Reason> {
        let refuse = |counter, text| Err(Reason::new(counter, text));
        let by_words = self.by_preprocessor_words.pop();
        let refines = self.file.is_some() || !self.targets.is_empty() || self.phony_targets;
        let asks = self.asks();
        let mut target_arguments =
            if self.targets.is_empty() { vec![object.into()] } else { self.targets };
        let (path, omits_system_headers) = match by_words {
            // gcc and clang disagree about which of two requests wins, and about the target.
            Some(_) if asks || refines || !self.by_preprocessor_words.is_empty() => {
                let text = "dependencies are asked for with -Wp, and once more";
                return refuse(Counter::UnsupportedCompilerOption, text);
            }
            _ if target_arguments.iter().any(|word| word.as_bytes().contains(&b'\n')) => {
                // The rule could end before it has named everything.
                return refuse(Counter::BadCompilerArguments, "a target has a line break");
            }
            Some(found) => {
                // gcc then derives the target from the input, clang from the object.
                target_arguments.insert(0, "-Wp".into());
                found
            }
            // In whatever order they stand, -MMD wins over -MD in both compilers.
            None if asks => {
                if self.all && self.without_system_headers {
                    // clang warns that the one is not used.
                    target_arguments.insert(0, "-MD".into());
                }
                let derived = || object.with_file_name(derived_name(object, "d"));
                (self.file.unwrap_or_else(derived), self.without_system_headers)
            }
            None if refines => {
                let text = "-MF, -MT, -MQ or -MP stands without -MD";
                return refuse(Counter::BadCompilerArguments, text);
            }
            None => return Ok(None),
        };
        let phony_targets = self.phony_targets;
        Ok(Some(Depfile { path, omits_system_headers, target_arguments, phony_targets }))
    }
}
