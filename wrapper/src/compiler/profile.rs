//! Profiles: which files the compiler reads, by the names that gcc 12 and clang 14 try.
//!
//! 1. gcc derives the name of a profile from the object's, without its suffix and with `.gcda`. A
//!    relative one is looked for in the working directory. Where an option names a directory, it is
//!    that directory, a slash, and the name from the root on, with `#` for each slash and `^` for
//!    `..`; an absolute name follows as it is.
//! 2. gcc's working directory is `PWD` if that leads there. Both names count here.
//! 3. clang reads the file that the option names, or `default.profdata` in the directory that it
//!    names; without a name `default.profdata` in the working directory.
//! 4. A profile that is not there is an input, too: gcc compiles without it.
//! 5. What is instrumented by gcc holds the path of its profile: directory and object.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What an option says of profiles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProfileFlag {
    /// gcc reads a profile called like the object.
    Use,
    /// And its value is the directory of profiles.
    UseIn,
    /// gcc's objects write profiles.
    Generate,
    /// And its value is their directory.
    GenerateIn,
    /// The value is the directory of profiles, if any are read or written.
    Directory,
    /// A profile of this name is read.
    Default(&'static str),
    /// clang reads this file, or the default one in this directory.
    FileOrDirectory,
}

/// clang's own name for a profile.
pub const CLANG_DEFAULT: &str = "default.profdata";

/// What a command line says of profiles.
#[derive(Debug, Default)]
pub struct Profiles {
    by_object: bool,
    generates: bool,
    directories: Vec<OsString>,
    files: Vec<PathBuf>,
}

impl Profiles {
    /// Takes one option.
    pub fn take(&mut self, kind: ProfileFlag, value: &OsStr) {
        match kind {
            ProfileFlag::Use | ProfileFlag::UseIn => self.by_object = true,
            ProfileFlag::Generate | ProfileFlag::GenerateIn => self.generates = true,
            ProfileFlag::Default(name) => self.files.push(name.into()),
            ProfileFlag::FileOrDirectory if Path::new(value).is_dir() => {
                self.files.push(Path::new(value).join(CLANG_DEFAULT));
            }
            ProfileFlag::FileOrDirectory => self.files.push(value.into()),
            ProfileFlag::Directory => {}
        }
        if let ProfileFlag::UseIn | ProfileFlag::GenerateIn | ProfileFlag::Directory = kind {
            self.directories.push(value.to_owned());
        }
    }

    /// Whether the object's name leads to a profile or stands in the object.
    pub fn follow_object(&self) -> bool {
        self.by_object || self.generates
    }

    /// Every file that may be read as a profile for this object. Which of several directories
    /// counts is left open: one too many costs a miss when a profile comes to stand there.
    pub fn files(self, object: &Path, cwd: &Path) -> Vec<PathBuf> {
        let mut files = self.files;
        if !self.by_object {
            return files;
        }
        let profile = with_suffix(object);
        let by_variable = env::var_os("PWD").map(PathBuf::from).filter(|path| path.is_absolute());
        let working = [Some(cwd.to_path_buf()), by_variable];
        for place in working.into_iter().flatten() {
            let whole = place.join(&profile);
            files.push(whole.clone());
            files.extend(self.directories.iter().map(|directory| {
                let name = match profile.is_absolute() {
                    true => profile.clone().into_os_string(),
                    false => mangled(&whole),
                };
                let mut file = directory.clone();
                file.push("/");
                file.push(name);
                file.into()
            }));
        }
        files.sort();
        files.dedup();
        files
    }
}

/// The path with another suffix, and otherwise byte for byte as it is.
fn with_suffix(object: &Path) -> PathBuf {
    let bytes = object.as_os_str().as_bytes();
    let name = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let dot = bytes[name..].iter().rposition(|byte| *byte == b'.');
    let stem = dot.map_or(bytes, |dot| &bytes[..name + dot]);
    OsStr::from_bytes(&[stem, b".gcda"].concat()).into()
}

/// A path as one name.
fn mangled(path: &Path) -> OsString {
    let components = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
    let names: Vec<&[u8]> =
        components.map(|name| if name == b".." { &b"^"[..] } else { name }).collect();
    OsStr::from_bytes(&names.join(&b'#')).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_the_compiler_was_seen_to_try() {
        let files = |directory: Option<&str>, object: &str| {
            let mut profiles = Profiles::default();
            profiles.take(ProfileFlag::Use, OsStr::new(""));
            if let Some(directory) = directory {
                profiles.take(ProfileFlag::Directory, OsStr::new(directory));
            }
            profiles.files(Path::new(object), Path::new("/w"))
        };
        for (directory, object, name) in [
            (None, "a.o", "/w/a.gcda"),
            (None, "o/b.x.o", "/w/o/b.x.gcda"),
            (None, "./o/b", "/w/./o/b.gcda"),
            (None, "/x/b.o", "/x/b.gcda"),
            (Some("p"), "a.o", "p/#w#a.gcda"),
            (Some("p/"), "o/../b.o", "p//#w#o#^#b.gcda"),
            (Some("p"), "o//b.o", "p/#w#o##b.gcda"),
            (Some("p"), "./b.o", "p/#w#.#b.gcda"),
            (Some("p"), "/x/b.o", "p//x/b.gcda"),
        ] {
            let found = files(directory, object);
            // Paths that differ in slashes only compare equal, and are the same file.
            let found: Vec<_> = found.iter().map(|path| path.as_os_str()).collect();
            assert!(found.contains(&OsStr::new(name)), "{object}: {name} not in {found:?}");
        }
    }
}
