//! Module files of clang that a compile may have read.
//!
//! 1. A module file names what it imports by the path that it was read from, and clang takes that,
//!    unless `-fmodule-file=NAME=FILE` has another. It compares no more than the size (measured
//!    with 14 and 16), and no list of dependencies has these files. So every module file that can
//!    be reached from those of the options is an input, whether it was read or not.
//! 2. What a file imports the compiler tells (`-cc1 -module-file-info`). That is remembered under
//!    the digest of the file, so that a later miss asks only for what is new.
//! 3. Only the files of named modules are understood. Those of header units and of maps change what
//!    `#include` and `import "x.h"` mean, for which a header has to be searched that no list has.
//! 4. The sources of a module are read for messages only, and a result with messages is not stored
//!    (see [`unlisted`](super::unlisted)). Their times and sizes count for nothing.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use larder_engine::{Entry, RecordKind, Section, SectionKind};

use super::records::read_known;
use super::{Job, Session};
use crate::compiler::is_header_suffix;
use crate::exec::{self, Capture, Stream};
use crate::fingerprint::module_key;
use crate::outcome::{Counter, Reason};

/// A compile with more module files than this is not understood.
const FILES_MAX: usize = 4096;

/// One import of a module file.
#[derive(PartialEq, Eq, Debug)]
struct Import {
    name: OsString,
    /// Where it was; empty where the file does not say it.
    path: PathBuf,
}

/// Every module file that can be reached.
///
/// # Errors
/// `CouldNotUseModules` where one cannot be told, or is not there.
pub(super) fn reached(session: &Session<'_>, job: &Job) -> Result<Vec<PathBuf>, Reason> {
    let files = &job.compile.module_files;
    // One that is not there is in the key as that.
    let there = files.iter().map(|file| file.path.clone()).filter(|path| path.exists());
    let mut waiting: Vec<PathBuf> = there.collect();
    let mut known: BTreeSet<PathBuf> = waiting.iter().cloned().collect();
    while let Some(path) = waiting.pop() {
        for import in imports(session, job, &path)? {
            let named = files.iter().filter(|file| file.name.as_ref() == Some(&import.name));
            // Of several for one name it is not known which one counts.
            let mut paths: Vec<PathBuf> = named.map(|file| file.path.clone()).collect();
            if paths.is_empty() {
                paths.push(import.path);
            }
            for path in paths {
                if path.as_os_str().is_empty() || !path.is_file() {
                    return Err(refused(&path, "is imported and not there"));
                }
                if known.insert(path.clone()) {
                    waiting.push(path);
                }
            }
        }
        if known.len() > FILES_MAX {
            return Err(refused(&path, "is one of too many modules"));
        }
    }
    Ok(known.into_iter().collect())
}

fn refused(path: &Path, why: &str) -> Reason {
    let text = format!("the module file {} {why}", path.display());
    Reason::new(Counter::CouldNotUseModules, text)
}

/// What a module file imports.
fn imports(session: &Session<'_>, job: &Job, path: &Path) -> Result<Vec<Import>, Reason> {
    let look = || session.digests.look(path).map_err(|error| refused(path, &error.to_string()));
    let digest = look()?.digest;
    let key = module_key(&job.toolchain.contents, &digest);
    let not_told = || refused(path, "does not tell what it imports");
    if let Some(lines) = read_known(session, &key, RecordKind::Blob, SectionKind::Data) {
        return parse(&lines).ok_or_else(not_told);
    }
    let arguments = ["-cc1".into(), "-module-file-info".into(), path.into()];
    let capture = Capture { stdout: Stream::Collect, stderr: Stream::Discard };
    let told = exec::run(session.call.compiler, &arguments, &[], capture);
    let told = told.ok().filter(|ran| ran.status.success()).ok_or_else(not_told)?;
    let lines = lines_of_imports(&told.stdout).ok_or_else(not_told)?;
    let imports = parse(&lines).ok_or_else(not_told)?;
    // What was told is about the file as it was before, or nothing is remembered.
    if look()?.digest == digest && !session.call.config.is_read_only() {
        let section = Section::new(SectionKind::Data, lines);
        session.put(vec![Entry::new(key, RecordKind::Blob, vec![section])]);
    }
    Ok(imports)
}

const HEADLINE: &[u8] = b"Information for module file";
const IMPORT: &[u8] = b"  Imports module '";

/// The lines about imports; `None` if this is not what a compiler tells of a named module.
fn lines_of_imports(told: &[u8]) -> Option<Vec<u8>> {
    let lines = || told.split(|byte| *byte == b'\n');
    let has = |start: &[u8]| lines().any(|line| line.starts_with(start));
    let after = |start| lines().find_map(|line: &[u8]| line.strip_prefix(start));
    let name: &[u8] = after(&b"  Module name: "[..])?;
    let source = Path::new(OsStr::from_bytes(after(&b"  Input file: "[..])?));
    // Clang 14 does not tell header units apart, but their first file is a header.
    let is_source = source.extension().is_some_and(|suffix| !is_header_suffix(suffix));
    let is_named = has(HEADLINE) && is_module_name(name) && is_source;
    let is_other = has(b"  Module map file: ") || has(b"  Header Unit ");
    let imports = lines().filter(|line| line.starts_with(IMPORT));
    (is_named && !is_other).then(|| imports.collect::<Vec<_>>().join(&b'\n'))
}

/// Whether it is identifiers with dots and a colon between them, and no path.
fn is_module_name(name: &[u8]) -> bool {
    let is_identifier = |part: &[u8]| {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
        !part.is_empty() && part.iter().all(is_part)
    };
    name.split(|byte| [b'.', b':'].contains(byte)).all(is_identifier)
}

fn parse(lines: &[u8]) -> Option<Vec<Import>> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let import = |line: &[u8]| {
        let rest = line.strip_prefix(IMPORT)?;
        let end = rest.windows(3).position(|part| part == b"': ")?;
        let (name, path) = (OsStr::from_bytes(&rest[..end]), OsStr::from_bytes(&rest[end + 3..]));
        Some(Import { name: name.to_owned(), path: path.into() })
    };
    lines.map(import).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_found_in_what_clang_tells() {
        let told = b"Information for module file 'n.pcm':\n  Module format: raw\n   Imports:\n  \
            Module name: n\n  Imports module 'm': /d/m.pcm\n  Imports module 'm:part': /d/p.pcm\n  \
            Input file: /d/n.cppm\n";
        let imports = parse(&lines_of_imports(told).unwrap()).unwrap();
        let import = |name: &str, path: &str| Import { name: name.into(), path: path.into() };
        assert_eq!(imports, [import("m", "/d/m.pcm"), import("m:part", "/d/p.pcm")]);
        assert_eq!(parse(b""), Some(Vec::new()));
        let alone = b"Information for module file 'a':\n  Interface Unit 'a.b' is the Primary\n  \
            Module name: a.b\n  Input file: /d/a.cc [System]\n  Input file: /d/h.h\n";
        assert_eq!(lines_of_imports(alone).unwrap(), b"");
    }

    #[test]
    fn what_is_not_understood_is_no_module() {
        assert!(lines_of_imports(b"").is_none());
        assert!(lines_of_imports(b"Information for module file 'x':\n").is_none());
        assert!(lines_of_imports(b"  Module name: n\n").is_none());
        let headline = "Information for module file 'x':\n";
        for lines in [
            "  Module name: n\n",
            "  Module name: ./h.h\n  Input file: /d/a.cppm\n",
            "  Header Unit 'n' is the\n  Module name: n\n  Input file: /d/a.cppm\n",
            "  Module name: n\n  Module map file: /d/n.map\n  Input file: /d/a.cppm\n",
            "  Module name: n\n  Input file: /d/h.h\n  Input file: /d/n.cppm\n",
            "  Module name: n\n  Input file: /d/vector\n",
        ] {
            assert!(lines_of_imports(format!("{headline}{lines}").as_bytes()).is_none(), "{lines}");
        }
        assert!(parse(b"  Imports module 'm").is_none());
        assert!(parse(b"nothing").is_none());
    }
}
