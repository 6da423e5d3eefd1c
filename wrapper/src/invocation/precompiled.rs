//! Precompiled headers of gcc that a compile may have read.
//!
//! When gcc reads `x.h.gch` in place of `x.h`, its dependency file names neither of them, nor
//! what they include (measured with 12); only `-H` tells. It does not look at the headers then, so
//! that the contents of the precompiled one are all that counts.
//!
//! 1. Every precompiled header that stands where it may have been read is an input: one too many
//!    costs a miss when it changes. gcc looks for one only for what the source itself includes and
//!    for `-include`, not inside other headers.
//! 2. A macro in it may mention the time, and its bytes do not tell. So when one is made through
//!    larder, what its headers mention is remembered under its digest; a call that may have read
//!    another one is not cached.
//! 3. clang names the headers in a precompiled one, and refuses it once one of them has another
//!    time or size. There it is a file that an option names, and the times of all inputs count.
//!
//! Not seen: one beside a header in the compiler's own directories that no list names.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use larder_engine::{Entry, RecordKind, Section, SectionKind};

use super::Session;
use super::records::read_section;
use crate::compiler::Compile;
use crate::digest::{Digest, Mentions};
use crate::fingerprint::precompiled_key;
use crate::outcome::{Counter, Reason};

const SUFFIX: &str = ".gch";

/// Options that name a directory in which headers are searched.
const SEARCH_OPTIONS: &[&str] = &["-I", "-iquote", "-isystem", "-idirafter"];

/// The precompiled headers that may have been read by a compile that read these files.
///
/// # Errors
/// `CouldNotUsePrecompiledHeader` if one cannot be told from others.
pub(super) fn found<'a>(
    compile: &Compile,
    read: impl Iterator<Item = &'a Path>,
) -> Result<Vec<PathBuf>, Reason> {
    let text = fs::read(&compile.input).map_err(|error| {
        let text = format!("cannot read {}: {error}", compile.input.display());
        Reason::new(Counter::BadInputFile, text)
    })?;
    let directories: Vec<&Path> = searched_directories(compile).collect();
    if has_computed(&text) {
        directories.iter().try_for_each(|directory| refuse_any_in(directory))?;
    }
    let names: Vec<&OsStr> =
        included(&text).map(OsStr::from_bytes).chain(values(compile, "-include")).collect();
    let named = names.iter().flat_map(|name| directories.iter().map(move |at| at.join(name)));
    let mut found: Vec<PathBuf> =
        read.map(Path::to_path_buf).chain(named).map(precompiled_form).collect();
    found.sort();
    found.dedup();
    // What the call has just made was not read.
    let made: Vec<PathBuf> =
        compile.outputs.iter().filter_map(|output| output.path.canonicalize().ok()).collect();
    found.retain(|path| path.canonicalize().is_ok_and(|path| !made.contains(&path)));
    match found.iter().find(|path| !path.is_file()) {
        Some(path) => Err(unusable(path, "is no file")),
        None => Ok(found),
    }
}

/// Whether this is the name of a precompiled header.
pub(super) fn is_one(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(SUFFIX.as_bytes())
}

/// What the headers in a precompiled one mention.
///
/// # Errors
/// `CouldNotUsePrecompiledHeader` if it was not made through larder.
pub(super) fn mentions(
    session: &Session<'_>,
    path: &Path,
    digest: &Digest,
) -> Result<Mentions, Reason> {
    let key = precompiled_key(digest);
    match read_section(session, &key, RecordKind::Blob, SectionKind::Data).as_deref() {
        Some([bits]) => Ok(Mentions::from_bits(*bits)),
        _ => Err(unusable(path, "was not made through larder")),
    }
}

/// The record that lets calls use the precompiled header of this result.
pub(super) fn remember(result: &Entry<'_>, mentions: Mentions) -> Option<Entry<'static>> {
    let made = result.sections.iter().find(|s| s.kind == SectionKind::PrecompiledHeader)?;
    let key = precompiled_key(blake3::hash(&made.data).as_bytes());
    let section = Section::new(SectionKind::Data, vec![mentions.bits()]);
    Some(Entry::new(key, RecordKind::Blob, vec![section]))
}

fn unusable(path: &Path, why: &str) -> Reason {
    let text = format!("the precompiled header {} {why}", path.display());
    Reason::new(Counter::CouldNotUsePrecompiledHeader, text)
}

fn precompiled_form(path: PathBuf) -> PathBuf {
    let mut name = path.into_os_string();
    name.push(SUFFIX);
    name.into()
}

/// Where a macro names what is included, any precompiled header may be meant.
fn refuse_any_in(directory: &Path) -> Result<(), Reason> {
    let directory = if directory == Path::new("") { Path::new(".") } else { directory };
    let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    match paths.find(|path| is_one(path)) {
        Some(path) => Err(unusable(&path, "may be included by a macro's value")),
        None => Ok(()),
    }
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

/// What stands behind the words of the `#include` lines of a text.
fn include_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let directive = line.trim_ascii_start().strip_prefix(b"#")?.trim_ascii_start();
        let words: [&[u8]; 3] = [b"include_next", b"include", b"import"];
        let rest = words.iter().find_map(|word| directive.strip_prefix(*word))?;
        Some(rest.trim_ascii_start())
    })
}

/// The names in the `#include` lines of a text.
fn included(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    include_lines(text).filter_map(|rest| {
        let (open, name) = rest.split_first()?;
        let close = match open {
            b'"' => b'"',
            b'<' => b'>',
            _ => return None,
        };
        name.iter().position(|byte| *byte == close).map(|end| &name[..end])
    })
}

/// Whether an `#include` line has no literal name.
fn has_computed(text: &[u8]) -> bool {
    include_lines(text).any(|rest| !rest.starts_with(b"\"") && !rest.starts_with(b"<"))
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
        assert!(has_computed(text));
        assert!(!has_computed(b"#include <a>\n # include \"b\"\nint x;"));
    }
}
