//! Precompiled headers that a compile may have read.
//!
//! When gcc reads `x.h.gch` in place of `x.h`, its dependency file names neither of them, nor
//! what they include (measured with 12); only `-H` tells. So nothing is stored if one stands
//! where it may have been read. gcc looks for one only for what the source itself includes and
//! for `-include`, not inside other headers; clang only for `-include`.
//!
//! Not seen: a precompiled form of a header whose name a macro gives, or beside a header in the
//! compiler's own directories that no list names.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::compiler::Compile;
use crate::outcome::{Counter, Reason};

const SUFFIXES: &[&str] = &[".gch", ".pch"];

/// Options that name a directory in which headers are searched.
const SEARCH_OPTIONS: &[&str] = &["-I", "-iquote", "-isystem", "-idirafter"];

/// Checks one file that was read.
///
/// # Errors
/// `CouldNotUsePrecompiledHeader` if it is a precompiled header or has a precompiled form.
pub(super) fn check(path: &Path) -> Result<(), Reason> {
    let is_one =
        SUFFIXES.iter().any(|suffix| path.as_os_str().as_bytes().ends_with(suffix.as_bytes()));
    if is_one || SUFFIXES.iter().any(|suffix| with_suffix(path, suffix).exists()) {
        let text = format!("{} is precompiled", path.display());
        return Err(Reason::new(Counter::CouldNotUsePrecompiledHeader, text));
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    name.into()
}

/// Checks every place where a header that the source or an option names may stand.
///
/// # Errors
/// `CouldNotUsePrecompiledHeader` if one of them has a precompiled form.
pub(super) fn check_source(compile: &Compile) -> Result<(), Reason> {
    let text = fs::read(&compile.input).map_err(|error| {
        let text = format!("cannot read {}: {error}", compile.input.display());
        Reason::new(Counter::BadInputFile, text)
    })?;
    let forced = values(compile, "-include");
    let names = included(&text).map(OsStr::from_bytes).chain(forced);
    let directories: Vec<&Path> = searched_directories(compile).collect();
    for name in names {
        directories.iter().try_for_each(|directory| check(&directory.join(name)))?;
    }
    Ok(())
}

/// The source's directory, the working directory and those that options name.
pub(super) fn searched_directories(compile: &Compile) -> impl Iterator<Item = &Path> {
    let source_directory = compile.input.parent().unwrap_or(Path::new(""));
    let searched = SEARCH_OPTIONS.iter().flat_map(|option| values(compile, option));
    [source_directory, Path::new("")].into_iter().chain(searched.map(Path::new))
}

/// The values of an option, joined to it or separate.
fn values<'a>(compile: &'a Compile, option: &'a str) -> impl Iterator<Item = &'a OsStr> {
    let arguments: &[OsString] = &compile.arguments;
    arguments.iter().enumerate().filter_map(move |(at, argument)| {
        match argument.as_bytes().strip_prefix(option.as_bytes())? {
            b"" => arguments.get(at + 1).map(OsString::as_os_str),
            value => Some(OsStr::from_bytes(value)),
        }
    })
}

/// The names in the `#include` lines of a text.
fn included(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let directive = line.trim_ascii_start().strip_prefix(b"#")?.trim_ascii_start();
        let words: [&[u8]; 3] = [b"include_next", b"include", b"import"];
        let rest = words.iter().find_map(|word| directive.strip_prefix(*word))?;
        let (open, name) = rest.trim_ascii_start().split_first()?;
        let close = match open {
            b'"' => b'"',
            b'<' => b'>',
            _ => return None,
        };
        name.iter().position(|byte| *byte == close).map(|end| &name[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_include_lines_are_found() {
        let text =
            b"#include <a/b.h>\n  #  include\"c.h\" // x\nint x;\n#include NAME\n#include \"d";
        let names: Vec<_> = included(text).collect();
        assert_eq!(names, [&b"a/b.h"[..], b"c.h"]);
    }
}
