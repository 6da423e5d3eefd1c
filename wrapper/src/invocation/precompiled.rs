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

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use larder_engine::{Entry, RecordKind, Section, SectionKind};

use super::Session;
use super::records::read_section;
use crate::compiler::Compile;
use crate::digest::{Digest, Mentions};
use crate::fingerprint::{SEARCHED_VARIABLES, precompiled_key};
use crate::outcome::{Counter, Reason};
use crate::search::SearchPath;

const SUFFIX: &str = ".gch";

/// Options that name a directory in which headers are searched.
const SEARCH_OPTIONS: &[&str] = &["-I", "-iquote", "-isystem", "-idirafter"];

/// The precompiled headers that may have been read by a compile that read these files.
///
/// # Errors
/// `CouldNotUsePrecompiledHeader` if one cannot be told from others.
pub(super) fn found<'a>(
    compile: &Compile,
    search: &SearchPath,
    read: impl Iterator<Item = &'a Path>,
) -> Result<Vec<PathBuf>, Reason> {
    // One that is being made is made of text alone.
    if compile.precompiles() {
        return Ok(Vec::new());
    }
    let text = fs::read(&compile.input).map_err(|error| {
        let text = format!("cannot read {}: {error}", compile.input.display());
        Reason::new(Counter::BadInputFile, text)
    })?;
    let text = joined(&text);
    let directories: Vec<PathBuf> = searched_directories(compile)
        .map(Path::to_path_buf)
        .chain(SEARCHED_VARIABLES.iter().filter_map(env::var_os).flat_map(split))
        .chain(prefixed_directories(compile))
        .chain([&search.quote, &search.aside].into_iter().flatten().cloned())
        .collect();
    if has_computed(&text) {
        let all = directories.iter().chain(&search.bracket);
        all.into_iter().try_for_each(|directory| refuse_any_in(directory))?;
    }
    let forced = ["-include", "-imacros"].into_iter().flat_map(|option| values(compile, option));
    let names: Vec<&OsStr> = included(&text).map(OsStr::from_bytes).chain(forced).collect();
    let named = names.iter().flat_map(|name| directories.iter().map(move |at| at.join(name)));
    // The compiler's own headers are guarded: one that was read was not precompiled.
    let read: Vec<&Path> = read.collect();
    let unread = names.iter().filter(|name| !read.iter().any(|path| path.ends_with(name)));
    let own = unread.flat_map(|name| search.bracket.iter().map(move |at| at.join(name)));
    let mut found: Vec<PathBuf> = read.iter().map(|path| path.to_path_buf()).collect();
    found.extend(named.chain(own));
    found = found.into_iter().map(precompiled_form).collect();
    found.sort();
    found.dedup();
    found.retain(|path| path.exists());
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

fn split(list: OsString) -> Vec<PathBuf> {
    env::split_paths(&list).collect()
}

/// Directories that are named in two parts; every first part may belong to every second.
fn prefixed_directories(compile: &Compile) -> Vec<PathBuf> {
    let options = ["-iwithprefix", "-iwithprefixbefore"];
    let ends = options.into_iter().flat_map(|option| values(compile, option));
    let with_start = |end: &OsStr| -> Vec<PathBuf> {
        let joined = values(compile, "-iprefix").map(|start| {
            let mut path = start.to_owned();
            path.push(end);
            path.into()
        });
        joined.collect()
    };
    ends.flat_map(with_start).collect()
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

/// Words that include a file. `include_next` is read as `include`, with nothing behind it.
const WORDS: [&[u8]; 3] = [b"include_next", b"include", b"import"];

/// For each word that may include a file: what stands before it, and what behind it. A directive
/// may begin within a line, and have comments between its words; in doubt it is one.
fn include_words(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let starts = text.windows(2).enumerate().filter(|(_, pair)| *pair == b"in" || *pair == b"im");
    starts.filter_map(|(at, _)| {
        let (before, rest) = text.split_at(at);
        let after = WORDS.iter().find_map(|word| rest.strip_prefix(*word))?;
        Some((before, skip_comments(after)))
    })
}

fn skip_comments(text: &[u8]) -> &[u8] {
    let skip_blanks = |text: &'_ [u8]| {
        text.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x0b).count()
    };
    let mut rest = &text[skip_blanks(text)..];
    while let Some(comment) = rest.strip_prefix(b"/*") {
        let end = comment.windows(2).position(|pair| pair == b"*/");
        rest = end.map_or(&b""[..], |end| &comment[end + 2..]);
        rest = &rest[skip_blanks(rest)..];
    }
    rest
}

/// The names that a text may include.
fn included(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    include_words(text).filter_map(|(_, rest)| {
        let (open, name) = rest.split_first()?;
        let close = match open {
            b'"' => b'"',
            b'<' => b'>',
            _ => return None,
        };
        let end = name.iter().position(|byte| *byte == close || *byte == b'\n')?;
        (name[end] == close).then_some(&name[..end])
    })
}

/// Whether a text may include what a macro names.
fn has_computed(text: &[u8]) -> bool {
    include_words(text).any(|(before, rest)| {
        let is_name = rest.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
        // `#`, its digraph, its trigraph, or a comment behind one of them.
        let marks: [&[u8]; 4] = [b"#", b"%:", b"??=", b"*/"];
        is_name && marks.iter().any(|mark| before.trim_ascii_end().ends_with(mark))
    })
}

/// The text without breaks of lines that a backslash takes back.
fn joined(text: &[u8]) -> Vec<u8> {
    let mut joined: Vec<u8> = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let content = line.trim_ascii_end();
        let stem = content.strip_suffix(b"\\").or_else(|| content.strip_suffix(b"??/"));
        joined.extend_from_slice(stem.unwrap_or(line));
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compiler::{Family, parse};

    #[test]
    fn names_in_include_lines_are_found() {
        let text =
            b"#include <a/b.h>\n  #  include\"c.h\" // x\nint x;\n#include NAME\n#include \"d\n\"";
        let names: Vec<_> = included(text).collect();
        assert_eq!(names, [&b"a/b.h"[..], b"c.h"]);
        assert!(has_computed(text));
        assert!(!has_computed(b"#include <a>\n # include \"b\"\nint x; // to include it"));
        assert!(has_computed(b"%:include NAME") && has_computed(b"# /**/ include/**/ NAME"));
    }

    #[test]
    fn one_beside_a_header_of_the_compiler_itself_is_found_unless_the_header_was_read() {
        let place = tempfile::tempdir().unwrap();
        let own = place.path().join("own");
        fs::create_dir_all(own.join("bits")).unwrap();
        fs::write(own.join("bits/all.h.gch"), "").unwrap();
        let source = place.path().join("a.c");
        fs::write(&source, "#include <bits/all.h>\n").unwrap();
        let arguments = ["-c".into(), source.clone().into_os_string()];
        let compile = parse(Family::Gcc, None, &arguments, place.path()).unwrap();
        let search = SearchPath { bracket: vec![own.clone()], ..SearchPath::default() };
        let of = |read: &[&Path]| found(&compile, &search, read.iter().copied()).unwrap();
        assert_eq!(of(&[&source]), [own.join("bits/all.h.gch")]);
        assert_eq!(of(&[&source, Path::new("/x/bits/all.h")]), [""; 0].map(PathBuf::from));
        fs::create_dir(place.path().join("a.c.gch")).unwrap();
        assert!(found(&compile, &search, [source.as_path()].into_iter()).is_err());
    }

    #[test]
    fn names_are_found_however_a_directive_is_written() {
        for text in [
            "#in\\\nclude \"h.h\"",
            "#in\\ \r\nclude \"h.h\"",
            "/* x */ #include \"h.h\"",
            "%:include \"h.h\"",
            "#include/* x */ /**/\"h.h\"",
            "??=include <h.h>",
            "#in??/\nclude <h.h>",
            "\x0c\x0b#import\x0b<h.h>",
            "#include_next <h.h>",
        ] {
            let joined = joined(text.as_bytes());
            assert_eq!(included(&joined).collect::<Vec<_>>(), [b"h.h"], "{text:?}");
        }
    }
}
