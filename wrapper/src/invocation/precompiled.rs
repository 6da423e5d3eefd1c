//! Precompiled headers of gcc that a compile may have read.
//!
//! When gcc reads `x.h.gch` in place of `x.h`, its dependency file names neither of them, nor
//! what they include (measured with 12); only `-H` tells. It does not look at the headers then, so
//! that the contents of the precompiled one are all that counts.
//!
//! 1. Every precompiled header that stands where it may have been read is an input: one too many
//!    costs a miss when it changes. gcc looks for one only for what the source itself includes and
//!    for `-include`, not inside other headers, and only for the first of these (see `first`).
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
use super::records::read_known;
use super::texts::Includes;
use crate::compiler::Compile;
use crate::digest::{Digest, Mentions};
use crate::files::Directories;
use crate::fingerprint::{SEARCHED_VARIABLES, precompiled_key};
use crate::maps::Set;
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
    (source, files): (&Includes, &Directories),
) -> Result<Vec<PathBuf>, Reason> {
    // One that is being made is made of text alone.
    if compile.precompiles() {
        return Ok(Vec::new());
    }
    let directories: Vec<PathBuf> = searched_directories(compile)
        .map(Path::to_path_buf)
        .chain(SEARCHED_VARIABLES.iter().filter_map(env::var_os).flat_map(split))
        .chain(prefixed_directories(compile))
        .chain([&search.quote, &search.aside].into_iter().flatten().cloned())
        .collect();
    if source.by_macro {
        let all = directories.iter().chain(&search.bracket);
        all.into_iter().try_for_each(|directory| refuse_any_in(directory))?;
    }
    let forced = compile.forced_headers();
    let included = source.names.iter().map(|name| OsStr::from_bytes(name));
    let names: Vec<&OsStr> = included.chain(forced).collect();
    let named = names.iter().flat_map(|name| directories.iter().map(move |at| at.join(name)));
    // The compiler's own headers are guarded: one that was read was not precompiled.
    let read: Vec<&Path> = read.collect();
    let unread = names.iter().filter(|name| !read.iter().any(|path| path.ends_with(name)));
    let own = unread.flat_map(|name| search.bracket.iter().map(move |at| at.join(name)));
    let mut known = Set::default();
    let mut found = Vec::new();
    let first = read.iter().take(source.read).map(|path| path.to_path_buf());
    for path in first.chain(named).chain(own) {
        let path = precompiled_form(path);
        if !known.insert(path.as_os_str().as_bytes().to_vec()) {
            continue;
        }
        match files.facts(&path) {
            Ok(facts) if !facts.is_regular => return Err(unusable(&path, "is no file")),
            Ok(_) => found.push(path),
            Err(_) => {}
        }
    }
    Ok(found)
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
    match read_known(session, &key, RecordKind::Blob, SectionKind::Data).as_deref() {
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
fn searched_directories(compile: &Compile) -> impl Iterator<Item = &Path> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compiler::{Family, parse};

    #[test]
    fn one_beside_a_header_of_the_compiler_itself_is_found_unless_the_header_was_read() {
        let place = tempfile::tempdir().unwrap();
        let own = place.path().join("own");
        fs::create_dir_all(own.join("bits")).unwrap();
        fs::write(own.join("bits/all.h.gch"), "").unwrap();
        let source = place.path().join("a.c");
        fs::write(&source, "").unwrap();
        let includes =
            Includes { names: vec![b"bits/all.h".to_vec()], by_macro: false, read: usize::MAX };
        let arguments = ["-c".into(), source.clone().into_os_string()];
        let compile = parse(Family::Gcc, None, &arguments, place.path()).unwrap();
        let search = SearchPath { bracket: vec![own.clone()], ..SearchPath::default() };
        let files = Directories::default();
        let find =
            |read: &[&Path]| found(&compile, &search, read.iter().copied(), (&includes, &files));
        let of = |read: &[&Path]| find(read).unwrap();
        assert_eq!(of(&[&source]), [own.join("bits/all.h.gch")]);
        assert_eq!(of(&[&source, Path::new("/x/bits/all.h")]), [""; 0].map(PathBuf::from));
        fs::create_dir(place.path().join("a.c.gch")).unwrap();
        assert!(find(&[&source]).is_err());
    }
}
