//! Where a call stands among the configured base directories, and paths that are the same in every
//! checkout.
//!
//! 1. A place is the working directory and the longest base directory that it is in, the *root*.
//!    Without a base directory around the working directory there is no place.
//! 2. An absolute path below the root is the same as a path relative to the working directory. Both
//!    name the same file, because a working directory has no link in it, and one can be told from
//!    the other as long as the working directory is known. Other paths stay.
//! 3. In a key a path that was made relative begins with a zero byte, so that a call that says
//!    `/base/a.c` and one that says `a.c` have different keys: their outputs show different names.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What stands before a path that was made relative.
pub const MARK: u8 = 0;

/// Options with a path as their value, joined to it.
const PATH_OPTIONS: &[&[u8]] = &[
    b"-I",
    b"-L",
    b"-MQ",
    b"-MT",
    b"-idirafter",
    b"-imacros",
    b"-include",
    b"-iquote",
    b"-isystem",
];

/// Options that replace the start of names in outputs.
pub const PREFIX_MAPS: &[&str] =
    &["-fdebug-prefix-map=", "-ffile-prefix-map=", "-fmacro-prefix-map="];

/// The name of the working directory that compilers take from `PWD`, where it is another one: an
/// absolute path that leads there. What a tool that changed the directory has left is none.
pub fn other_name(directory: &Path, pwd: Option<OsString>) -> Option<OsString> {
    // Compared as paths, `/a/.` and `/a` would be the same.
    let is_other = |pwd: &OsString| pwd != directory.as_os_str();
    let pwd = pwd.filter(|pwd| Path::new(pwd).is_absolute() && is_other(pwd))?;
    let identity = |path: &Path| fs::metadata(path).map(|facts| (facts.dev(), facts.ino())).ok();
    let leads_there = identity(Path::new(&pwd)).is_some_and(|at| Some(at) == identity(directory));
    leads_there.then_some(pwd)
}

/// A working directory below a base directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    root: PathBuf,
    directory: PathBuf,
}

impl Place {
    /// The place of a working directory, if it is in one of `base_dirs`.
    pub fn of(base_dirs: &[PathBuf], directory: &Path) -> Option<Place> {
        let roots = base_dirs.iter().filter(|base| directory.starts_with(base));
        let root = roots.max_by_key(|base| base.as_os_str().len())?.clone();
        Some(Place { root, directory: directory.to_path_buf() })
    }

    /// The base directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The working directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A path below the root as one that is relative to the working directory.
    pub fn relative(&self, path: &[u8]) -> Option<Vec<u8>> {
        let rest = below(path, self.root.as_os_str().as_bytes())?;
        let own = below(self.directory.as_os_str().as_bytes(), self.root.as_os_str().as_bytes())?;
        let own: Vec<&[u8]> = parts(own);
        let parts: Vec<&[u8]> = parts(rest);
        let mut common = own.iter().zip(&parts).take_while(|(a, b)| a == b).count();
        // What follows the steps up must not look like a step.
        while matches!(parts.get(common), Some(&(b"" | b"." | b".."))) {
            common = common.checked_sub(1)?;
        }
        let up = std::iter::repeat_n(&b".."[..], own.len() - common);
        let words: Vec<&[u8]> = up.chain(parts[common..].iter().copied()).collect();
        Some(if words.is_empty() { b".".to_vec() } else { words.join(&b'/') })
    }

    /// The inverse of [`Place::relative`], here.
    pub fn absolute(&self, relative: &[u8]) -> Vec<u8> {
        let mut directory = self.directory.as_path();
        let mut rest = if relative == b"." { b"" } else { relative };
        loop {
            rest = match rest {
                b".." => b"",
                _ => match rest.strip_prefix(b"../") {
                    Some(after) => after,
                    None => break,
                },
            };
            directory = directory.parent().unwrap_or(directory);
        }
        let mut path = directory.as_os_str().as_bytes().to_vec();
        if !rest.is_empty() {
            path.push(b'/');
            path.extend_from_slice(rest);
        }
        path
    }

    /// The path as it stands in a manifest: relative if it is below the root.
    pub fn shared(&self, path: &Path) -> Option<PathBuf> {
        let relative = self.relative(path.as_os_str().as_bytes())?;
        Some(OsString::from_vec(relative).into())
    }

    /// A word of a command line as it stands in a key.
    pub fn shared_word(&self, word: &OsStr) -> OsString {
        let bytes = word.as_bytes();
        if let Some((option, old, new)) = prefix_map(bytes) {
            let (name, slashes) = split_slashes(old);
            return match self.relative(name) {
                Some(relative) => {
                    let parts = [option, &[MARK], &relative[..], slashes, b"=", new];
                    OsString::from_vec(parts.concat())
                }
                None => word.to_owned(),
            };
        }
        let start = if bytes.starts_with(b"/") {
            0
        } else {
            let options = PATH_OPTIONS.iter().filter(|option| bytes.starts_with(option));
            options.map(|option| option.len()).max().unwrap_or(bytes.len())
        };
        let (option, path) = bytes.split_at(start);
        match self.relative(path) {
            Some(relative) => OsString::from_vec([option, &[MARK], &relative[..]].concat()),
            None => word.to_owned(),
        }
    }

    /// Whether a text shows a path below the root.
    pub fn shows_in(&self, text: &[u8]) -> bool {
        let root = self.root.as_os_str().as_bytes();
        let Some((first, rest)) = root.split_first() else { return true };
        let mut text = text;
        while let Some(at) = text.iter().position(|byte| byte == first) {
            text = &text[at + 1..];
            if text.starts_with(rest) {
                return true;
            }
        }
        false
    }
}

/// The option, the old prefix and the new one, if the word maps prefixes.
pub fn prefix_map(word: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let option = PREFIX_MAPS.iter().find(|option| word.starts_with(option.as_bytes()))?;
    let (option, map) = word.split_at(option.len());
    let at = map.iter().position(|byte| *byte == b'=')?;
    Some((option, &map[..at], &map[at + 1..]))
}

fn split_slashes(path: &[u8]) -> (&[u8], &[u8]) {
    let slashes = path.iter().rev().take_while(|byte| **byte == b'/').count();
    path.split_at(path.len() - slashes)
}

/// What follows `root` in a path below it, or nothing if it is the root.
fn below<'a>(path: &'a [u8], root: &[u8]) -> Option<&'a [u8]> {
    match path.strip_prefix(root)? {
        b"" => Some(b""),
        rest => rest.strip_prefix(b"/"),
    }
}

fn parts(path: &[u8]) -> Vec<&[u8]> {
    if path.is_empty() { Vec::new() } else { path.split(|byte| *byte == b'/').collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_to_the_directory_is_a_name_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let (here, link) = (dir.path().join("here"), dir.path().join("link"));
        fs::create_dir(&here).unwrap();
        std::os::unix::fs::symlink(&here, &link).unwrap();
        let name = |pwd: &Path| other_name(&here, Some(pwd.into()));
        assert_eq!(name(&link), Some(link.clone().into()));
        assert_eq!(name(&here.join(".")), Some(here.join(".").into()));
        for none in [&here, dir.path(), Path::new("/is/not/there"), Path::new("here")] {
            assert_eq!(name(none), None, "{}", none.display());
        }
        assert_eq!(other_name(&here, None), None);
    }

    fn place(directory: &str) -> Place {
        Place::of(&["/w".into(), "/w/one".into()], Path::new(directory)).unwrap()
    }

    #[test]
    fn the_longest_base_directory_is_the_root() {
        assert_eq!(place("/w/one/build").root(), Path::new("/w/one"));
        assert_eq!(place("/w/oneself").root(), Path::new("/w"));
        assert_eq!(place("/w").root(), Path::new("/w"));
        assert_eq!(Place::of(&["/w".into()], Path::new("/wide")), None);
        assert_eq!(Place::of(&[], Path::new("/w")), None);
    }

    #[test]
    fn a_path_below_the_root_is_relative_and_back() {
        for (directory, path, relative) in [
            ("/w/one/build/x", "/w/one/src/a.c", "../../src/a.c"),
            ("/w/one/build", "/w/one/build/a.c", "a.c"),
            ("/w/one/build", "/w/one/build", "."),
            ("/w/one/build", "/w/one", ".."),
            ("/w/one/a/b", "/w/one", "../.."),
            ("/w/one/build", "/w/one/build/../inc", "../build/../inc"),
            ("/w/one/build", "/w/one/inc/", "../inc/"),
            ("/w/one/build", "/w/one/src//x/./y.h", "../src//x/./y.h"),
            ("/w/one", "/w/one/..x", "..x"),
            ("/w/one/b", "/w/one/..x", "../..x"),
            ("/w/one/b", "/w/one/b/x..", "x.."),
        ] {
            let place = place(directory);
            let made = place.relative(path.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&made), relative, "{path}");
            let back = place.absolute(&made);
            assert_eq!(String::from_utf8_lossy(&back), path);
        }
        for other in ["/w/two/a.c", "a.c", "/w/one/../x", "/w/one/./x", "/w/one//x", "/w/oneself"] {
            assert_eq!(place("/w/one/build").relative(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn words_are_the_same_in_both_checkouts_and_no_other_word_is_like_them() {
        let word = |directory: &str, word: &str| {
            let bases = ["/w/one".into(), "/w/two".into()];
            Place::of(&bases, Path::new(directory)).unwrap().shared_word(OsStr::new(word))
        };
        for (one, two) in [
            ("-I/w/one/inc", "-I/w/two/inc"),
            ("-isystem/w/one/inc", "-isystem/w/two/inc"),
            ("/w/one/a.c", "/w/two/a.c"),
            ("-ffile-prefix-map=/w/one=.", "-ffile-prefix-map=/w/two=."),
            ("-ffile-prefix-map=/w/one/=", "-ffile-prefix-map=/w/two/="),
        ] {
            assert_eq!(word("/w/one/b", one), word("/w/two/b", two));
            assert_ne!(word("/w/one/b", one), OsStr::new(one));
        }
        assert_ne!(word("/w/one", "/w/one/a.c"), word("/w/one", "a.c"));
        for literal in ["-DX=/w/one", "-I/usr/include", "-Iinc", "-ffile-prefix-map=/w/o=x", "-c"] {
            assert_eq!(word("/w/one", literal), literal);
        }
    }

    #[test]
    fn a_shown_root_is_found() {
        assert!(place("/w/one/b").shows_in(b"x//w/one/y"));
        assert!(!place("/w/one/b").shows_in(b"x/w/on/w/two"));
    }
}
