//! Headers that gcc did not read because it had read the same one before.
//!
//! After `#pragma once` gcc leaves out every file with the same contents and time, under whatever
//! name, and its list has the first name only (measured with 12; clang lists all). When the file
//! behind another name changes, it is read. So such names are inputs, too.
//!
//! Not seen: a name that a macro gives, what a header of the system includes, and that times or
//! links change while all contents stay the same.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::precompiled::searched_directories;
use crate::compiler::Compile;
use crate::fingerprint::SEARCHED_VARIABLES;

/// Headers of the system are guarded by macros, and are many.
const SYSTEM: &str = "/usr";

/// The files that may have been left out for one of `inputs`, which are not among them. A
/// precompiled header may have had any text.
pub(super) fn left_out(compile: &Compile, inputs: &[&Path], has_precompiled: bool) -> Vec<PathBuf> {
    let own = inputs.iter().filter(|path| !path.starts_with(SYSTEM));
    let texts: Vec<Vec<u8>> = own.map(|path| fs::read(path).unwrap_or_default()).collect();
    let once: Vec<&Vec<u8>> = texts.iter().filter(|text| is_read_once(text)).collect();
    if once.is_empty() && !has_precompiled {
        return Vec::new();
    }
    let mut by_length: HashMap<u64, Vec<&Vec<u8>>> = HashMap::new();
    once.iter().for_each(|text| by_length.entry(text.len() as u64).or_default().push(text));
    let known: HashSet<&Path> = inputs.iter().copied().collect();
    let names: BTreeSet<&[u8]> = texts.iter().flat_map(|text| included(text)).collect();
    let mut found = Vec::new();
    for directory in directories(compile, inputs) {
        for name in &names {
            let path = directory.join(OsStr::from_bytes(name));
            let metadata = fs::metadata(&path).ok().filter(|metadata| metadata.is_file());
            let Some(metadata) = metadata.filter(|_| !known.contains(path.as_path())) else {
                continue;
            };
            let is_same = || {
                let same = by_length.get(&metadata.len());
                same.is_some_and(|same| {
                    fs::read(&path).is_ok_and(|text| same.iter().any(|once| **once == text))
                })
            };
            if has_precompiled || is_same() {
                found.push(path);
            }
        }
    }
    found
}

/// Where the names may have been looked for, each directory once.
fn directories(compile: &Compile, inputs: &[&Path]) -> BTreeSet<PathBuf> {
    let above = inputs.iter().filter(|path| !path.starts_with(SYSTEM)).filter_map(|p| p.parent());
    let mut directories: BTreeSet<PathBuf> = above.map(Path::to_path_buf).collect();
    directories.extend(searched_directories(compile).map(Path::to_path_buf));
    for value in SEARCHED_VARIABLES.iter().filter_map(env::var_os) {
        directories.extend(env::split_paths(&value));
    }
    directories
}

fn is_read_once(text: &[u8]) -> bool {
    directives(text).any(|rest| {
        let pragma = rest.strip_prefix(b"pragma").map(<[u8]>::trim_ascii_start);
        rest.starts_with(b"import") || pragma.is_some_and(|what| what.starts_with(b"once"))
    })
}

/// What stands behind each `#`, which includes some that are none of a directive.
fn directives(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'#').skip(1).map(<[u8]>::trim_ascii_start)
}

/// The literal names that a text includes.
fn included(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    directives(text).filter_map(|rest| {
        let words: [&[u8]; 3] = [b"include_next", b"include", b"import"];
        let rest = words.iter().find_map(|word| rest.strip_prefix(*word))?;
        let (open, name) = rest.trim_ascii_start().split_first()?;
        let close = match open {
            b'"' => b'"',
            b'<' => b'>',
            _ => return None,
        };
        Some(&name[..name.iter().position(|byte| *byte == close)?])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_is_read_once_is_known_by_its_text() {
        for text in ["#pragma once\n", "//\n # pragma\tonce // x\n", "#import <a.h>\n"] {
            assert!(is_read_once(text.as_bytes()), "{text}");
        }
        for text in ["#pragma GCC system_header\n", "int once;\n", "pragma once\n", ""] {
            assert!(!is_read_once(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn literal_names_are_found() {
        let names: Vec<_> =
            included(b"#include <a/b.h>\n # include_next\"c.h\"\n#include N\n").collect();
        assert_eq!(names, [&b"a/b.h"[..], b"c.h"]);
    }
}
