//! What a driver would find elsewhere than where its parts are now.
//!
//! 1. gcc takes `cc1`, the assembler and the like from the first directory that has them: its own
//!    ones, those of `COMPILER_PATH`, then those of `PATH`. That there is none in an earlier one is
//!    a fact about the toolchain ([`Surroundings::absent`]).
//! 2. clang takes headers and libraries from the newest gcc that it finds in certain directories.
//!    The one that it says it has selected is part of the identity; when one of these directories
//!    has changed, it is asked anew.
//! 3. Words of the command line decide where clang looks, so that it is asked with them.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::compiler::{Compile, Family, split};
use crate::files::Facts;
use crate::manifest::Input;

/// Options of clang that decide which gcc it takes headers from.
const CHOOSING: [&str; 6] =
    ["--gcc-install-dir=", "--gcc-toolchain=", "--sysroot=", "--target=", "-m32", "-m64"];
/// Such options with a value of their own.
const CHOOSING_SEPARATE: [&str; 3] = ["--sysroot", "-isysroot", "-target"];
/// Below what these two kinds of options name, gccs are looked for in these.
const GCC_PLACES: [&str; 3] = ["lib/gcc", "lib64/gcc", "usr/lib/gcc"];

/// What stands around a toolchain.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Surroundings {
    /// Nothing stands here.
    pub absent: Vec<PathBuf>,
    /// Directories in which a gcc may appear, with a digest of what the kernel tells of them.
    pub directories: Vec<Input>,
    /// The gcc that clang has selected, if it has one.
    pub selected: Vec<PathBuf>,
}

impl Surroundings {
    /// Whether nothing has changed.
    pub fn are_current(&self) -> bool {
        self.absent.iter().all(|path| Facts::of_link(path).is_err())
            && self.directories.iter().all(is_as_known)
    }

    /// Adds the places before the one where a program was found: those of the driver, then `PATH`.
    pub fn add_before(&mut self, driver_places: &[PathBuf], name: &str, found: &Path) {
        let path = env::var_os("PATH").unwrap_or_default();
        let places = driver_places.iter().cloned().chain(env::split_paths(&path));
        for candidate in places.map(|place| place.join(name)).take_while(|place| place != found) {
            let missing = first_missing(&candidate);
            if !missing.as_os_str().is_empty() && !self.absent.contains(&missing) {
                self.absent.push(missing);
            }
        }
    }

    /// Takes what clang's `-v` says about gccs, when it was asked with these words.
    pub fn take_installations(&mut self, report: &[u8], words: &[OsString]) {
        let mut places = Vec::new();
        for line in report.split(|byte| *byte == b'\n') {
            if let Some(path) = line.strip_prefix(b"Selected GCC installation: ") {
                self.selected.push(OsStr::from_bytes(path).into());
            } else if let Some(path) = line.strip_prefix(b"Found candidate GCC installation: ") {
                // The versions of this target, and the targets.
                let above = Path::new(OsStr::from_bytes(path)).ancestors().skip(1).take(2);
                places.extend(above.map(Path::to_path_buf));
            }
        }
        for word in words {
            let value = word.as_bytes().splitn(2, |byte| *byte == b'=').last().unwrap_or_default();
            let named = Path::new(OsStr::from_bytes(value));
            for place in GCC_PLACES.iter().map(|place| named.join(place)) {
                match Facts::at(&place) {
                    Ok(_) => places.push(place),
                    Err(_) => self.absent.push(first_missing(&place)),
                }
            }
        }
        places.sort();
        places.dedup();
        self.absent.retain(|path| !path.as_os_str().is_empty());
        self.absent.sort();
        self.absent.dedup();
        self.directories.extend(places.iter().map(|path| directory(path)));
    }
}

/// The words of a call that decide where clang looks for a gcc.
pub fn choosing_words(compile: &Compile) -> Vec<OsString> {
    if compile.family != Family::Clang {
        return Vec::new();
    }
    let chooses = |words: &&[OsString]| {
        let first = words[0].as_bytes();
        CHOOSING.iter().any(|start| first.starts_with(start.as_bytes()))
            || CHOOSING_SEPARATE.iter().any(|option| first == option.as_bytes())
    };
    split(compile.family, &compile.arguments)
        .into_iter()
        .filter(chooses)
        .flatten()
        .cloned()
        .collect()
}

/// The first part of a path that is missing, or nothing if something stands there.
pub(super) fn first_missing(path: &Path) -> PathBuf {
    let missing = path
        .ancestors()
        .take_while(|part| !part.as_os_str().is_empty() && Facts::of_link(part).is_err());
    missing.last().unwrap_or(Path::new("")).to_path_buf()
}

/// Whether a directory is as it was.
pub(super) fn is_as_known(known: &Input) -> bool {
    directory(&known.path) == *known
}

/// A directory with what tells its states apart.
fn directory(path: &Path) -> Input {
    let mut hasher = blake3::Hasher::new();
    if let Ok(facts) = Facts::at(path) {
        for number in [facts.device, facts.inode, facts.mtime_ns(), facts.ctime_ns()] {
            hasher.update(&number.to_le_bytes());
        }
    }
    Input { path: path.to_path_buf(), digest: *hasher.finalize().as_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_program_in_an_earlier_place_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("one")).unwrap();
        fs::create_dir_all(at("last")).unwrap();
        fs::write(at("last/as"), "").unwrap();
        let places = [at("one"), at("none/deep"), at("last"), at("later")];
        let mut around = Surroundings::default();
        around.add_before(&places, "as", &at("last/as"));
        assert_eq!(around.absent, [at("one/as"), at("none")]);
        assert!(around.are_current());
        for name in ["one/as", "none"] {
            fs::write(at(name), "").unwrap();
            assert!(!around.are_current(), "{name}");
            fs::remove_file(at(name)).unwrap();
        }
    }

    #[test]
    fn another_gcc_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("lib/gcc/target/11")).unwrap();
        let found = at("lib/gcc/target/11").display().to_string();
        let report = format!(
            "Found candidate GCC installation: {found}\nSelected GCC installation: {found}\n"
        );
        let word = format!("--gcc-toolchain={}", folder.path().display());
        let mut around = Surroundings::default();
        around.take_installations(report.as_bytes(), &[word.into()]);
        assert_eq!(around.selected, [at("lib/gcc/target/11")]);
        assert!(around.are_current());
        fs::create_dir(at("lib64")).unwrap();
        assert!(!around.are_current());
        fs::remove_dir(at("lib64")).unwrap();
        fs::create_dir(at("lib/gcc/target/12")).unwrap();
        assert!(!around.are_current());
    }
}
