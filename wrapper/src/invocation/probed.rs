//! Files that `__has_include` found and that nothing included.
//!
//! gcc names such a file in no list (clang does), yet the result is another one when it goes. So
//! every file that a `__has_include` of an input may have found counts as an input, in whichever
//! searched directory it stands: one too many costs a miss when it changes. Searched are the
//! directories that options and variables name, those that are usual, and every directory above an
//! input, because a compiler's own directories show in what it found there.
//!
//! Not seen: a name that a macro gives, and a file that is found later (DESIGN 4.4).

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::precompiled::searched_directories;
use crate::compiler::Compile;
use crate::fingerprint::SEARCHED_VARIABLES;

const WORDS: [&[u8]; 2] = [b"__has_include_next", b"__has_include"];
const USUAL: [&str; 2] = ["/usr/include", "/usr/local/include"];

/// Where a compile with these inputs may have looked.
pub(super) fn directories<'a>(
    compile: &Compile,
    inputs: impl Iterator<Item = &'a Path>,
) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    for input in inputs {
        // Whatever is above a directory that is known is known, too, until the others join them.
        let above = input.ancestors().skip(1);
        above.take_while(|directory| directories.insert(directory.to_path_buf())).for_each(drop);
    }
    for value in SEARCHED_VARIABLES.iter().filter_map(env::var_os) {
        directories.extend(env::split_paths(&value));
    }
    directories.extend(searched_directories(compile).map(Path::to_path_buf));
    directories.extend(USUAL.map(PathBuf::from));
    directories
}

/// What the input at `path` may have found there; nothing if it cannot be read any more.
pub(super) fn found_by(path: &Path, directories: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let text = fs::read(path).unwrap_or_default();
    let mut found: Vec<PathBuf> = Vec::new();
    for name in names(&text) {
        let candidates =
            directories.iter().map(|directory| directory.join(OsStr::from_bytes(name)));
        found.extend(candidates.filter(|candidate| candidate.is_file()));
    }
    found
}

/// The literal names that a text asks for.
fn names(text: &[u8]) -> Vec<&[u8]> {
    let mut names = Vec::new();
    for start in text.windows(2).enumerate().filter(|(_, pair)| *pair == b"__").map(|(at, _)| at) {
        let rest = WORDS.iter().find_map(|word| text[start..].strip_prefix(*word));
        let name = rest.and_then(|rest| {
            let (open, name) =
                rest.trim_ascii_start().strip_prefix(b"(")?.trim_ascii_start().split_first()?;
            let close = match open {
                b'"' => b'"',
                b'<' => b'>',
                _ => return None,
            };
            Some(&name[..name.iter().position(|byte| *byte == close)?])
        });
        names.extend(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_names_are_found() {
        let text = b"#if __has_include(<a/b.h>) || __has_include_next ( \"c.h\")\n\
                     #if __has_include(X)\n#ifdef __has_include\n__has_include(<d";
        assert_eq!(names(text), [&b"a/b.h"[..], b"c.h"]);
    }
}
