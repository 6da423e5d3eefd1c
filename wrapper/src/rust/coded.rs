//! Paths that no file can have: under these a manifest keeps what is an input and no file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the path begins with under which a manifest keeps a variable: no file can have it.
const VARIABLE: &[u8] = b"\0env\0";

/// The path under which it keeps what proc macros may read.
pub const MACROS: &[u8] = b"\0macros\0";

/// What the path of crates behind the externs begins with; their names follow, with zeros between.
pub const CRATES: &[u8] = b"\0crates\0";

/// The same for a call that bundles these crates.
pub const BUNDLED: &[u8] = b"\0bundled\0";

/// Whether a manifest keeps something else than a file under this path.
pub fn is_coded(path: &Path) -> bool {
    path.as_os_str().as_bytes().starts_with(b"\0")
}

/// The path of a variable in a manifest.
pub fn variable_path(name: &str) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&[VARIABLE, name.as_bytes()].concat()))
}

/// The variable of such a path.
pub fn variable_of(path: &Path) -> Option<&OsStr> {
    path.as_os_str().as_bytes().strip_prefix(VARIABLE).map(OsStr::from_bytes)
}

/// What a manifest keeps of a variable's value. One that is empty is not one that is missing.
pub fn value_digest(value: Option<&OsStr>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[u8::from(value.is_some())]);
    hasher.update(value.unwrap_or_default().as_bytes());
    *hasher.finalize().as_bytes()
}

/// What the path of a linker begins with: the driver's name, directories, and words follow.
pub const LINKER: &[u8] = b"\0linker\0";
/// What the path of a crate in a directory of dependencies begins with; its file's name follows.
pub const CRATE: &[u8] = b"\0crate\0";
/// What a path behind `-L` begins with; the number of that option and the rest of the path follow.
pub const PLACE: &[u8] = b"\0place\0";
/// The path of the directories of the build, as text.
pub const PLACES: &[u8] = b"\0places\0";
/// The path of where the loader looks for libraries.
pub const LOADER: &[u8] = b"\0loader\0";
/// The path of the working directory, where a crate of a checkout shows it, or may.
pub const DIRECTORY: &[u8] = b"\0directory\0";

/// What stands under a path, in words; `None` for a file's path.
pub fn words_of(path: &Path) -> Option<String> {
    let bytes = path.as_os_str().as_bytes();
    let rest =
        |start: &[u8]| Some(String::from_utf8_lossy(bytes.strip_prefix(start)?).into_owned());
    if let Some(name) = variable_of(path) {
        return Some(format!("the variable {}", name.display()));
    }
    if let Some(name) = rest(CRATE) {
        return Some(format!("the crate {name}"));
    }
    let words = [
        (MACROS, "what proc macros may read (CARGO_*, OUT_DIR)"),
        (CRATES, "a crate behind the externs"),
        (BUNDLED, "a library that is bundled"),
        (LINKER, "the linker, or the driver that starts it"),
        (PLACES, "a directory of the build, which shows in what is linked"),
        (PLACE, "a file in a directory that -L names"),
        (LOADER, "where the loader looks for libraries"),
        (DIRECTORY, "the working directory, which the crate may show"),
    ];
    let found = words.into_iter().find(|(start, _)| bytes.starts_with(start));
    let other = is_coded(path).then_some("something that is no file");
    found.map(|(_, words)| words).or(other).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_empty_is_not_one_that_is_missing() {
        assert_ne!(value_digest(Some(OsStr::new(""))), value_digest(None));
        assert_ne!(value_digest(Some(OsStr::new("a"))), value_digest(Some(OsStr::new("b"))));
        assert_eq!(variable_of(&variable_path("A")), Some(OsStr::new("A")));
        assert_eq!(variable_of(Path::new("A")), None);
    }

    #[test]
    fn what_is_no_file_has_words() {
        assert_eq!(words_of(Path::new("a.rs")), None);
        assert_eq!(words_of(&variable_path("A")), Some("the variable A".to_owned()));
        let path = |bytes: &'static [u8]| Path::new(OsStr::from_bytes(bytes));
        assert_eq!(words_of(path(b"\0crate\0liba.rlib")), Some("the crate liba.rlib".to_owned()));
        for start in [MACROS, CRATES, BUNDLED, LINKER, PLACE, PLACES, LOADER, DIRECTORY] {
            assert!(is_coded(path(start)) && words_of(path(start)).is_some());
        }
        let [place, places] = [PLACE, PLACES].map(|start| words_of(path(start)));
        assert_ne!(place, places);
    }
}
