//! What a command line of `ar` says.
//!
//! 1. Known is to put files into an archive: `r` and `q`, with modifiers that neither compare times
//!    nor name members (`c`, `s`, `S`, `v`, `D`, `U`; `u` where the archive is new).
//! 2. The result is a function of the members, their order and names, and the old archive, if and
//!    only if no times, owners and modes are written: with `D`, or where that is the default, which
//!    a program's own help says ([`is_deterministic_by_default`]).
//! 3. A thin archive has no contents of its own.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What an archive begins with whose members lie elsewhere.
pub const THIN: &[u8] = b"!<thin>";
/// Modifiers that change nothing but what is said or how the index is made.
const MODIFIERS: &str = "csSv";
/// Marks of code that an archiver lists by a plugin, or by means of a compiler.
const INTERMEDIATE: [&[u8]; 3] = [b".gnu.lto_", b".llvmbc", b"BC\xC0\xDE"];

/// What a linker would do with a file that it reads, and that nothing tells of; `speaks`: it has
/// said something.
pub fn does_more(contents: &[u8], speaks: bool) -> Option<&'static str> {
    const STARTS: [&[u8]; 3] = [b"\x7fELF", b"!<arch>", b"BC\xC0\xDE"];
    /// The type of an ELF file that is yet to be linked, in the byte for its low half.
    const RELOCATABLE: (usize, u8) = (16, 1);
    if !STARTS.iter().any(|start| contents.starts_with(start)) {
        return None;
    }
    let (at, value) = RELOCATABLE;
    let is_linked = contents.starts_with(STARTS[0]) && contents.get(at) != Some(&value);
    let has = |mark: &[u8]| memchr::memmem::find(contents, mark).is_some();
    if is_linked {
        None
    } else if may_be_intermediate(contents) {
        Some("has code that is yet to be compiled")
    } else if has(b".deplibs") {
        Some("names libraries")
    } else if speaks && has(b".gnu_debuglink") {
        Some("has its lines elsewhere")
    } else {
        None
    }
}

/// Whether a file is a thin archive; not, if it cannot be read.
pub fn is_thin(path: &Path) -> bool {
    let mut start = [0; THIN.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == THIN
}

/// A call that puts files into an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The archive.
    pub output: PathBuf,
    /// What is put into it.
    pub members: Vec<PathBuf>,
    /// What the words say of times and owners: that none are written (`D`), or that they are (`U`).
    pub is_deterministic: Option<bool>,
    /// Whether times are compared with those in the old archive.
    pub compares_times: bool,
    /// The words, response files expanded.
    pub words: Vec<OsString>,
}

impl Call {
    /// Reads the words behind the archiver's name, response files expanded.
    ///
    /// # Errors
    /// Why the call is not known, as a sentence.
    pub fn of(arguments: Vec<OsString>) -> Result<Call, String> {
        let mut words = arguments.iter();
        let operation =
            words.next().and_then(|word| word.to_str()).ok_or("nothing is asked for")?;
        let letters = operation.strip_prefix('-').unwrap_or(operation);
        let mut is_known = false;
        let mut is_deterministic = None;
        let mut compares_times = false;
        for letter in letters.chars() {
            match letter {
                'r' | 'q' if !is_known => is_known = true,
                'D' => is_deterministic = Some(true),
                'U' => is_deterministic = Some(false),
                'u' => compares_times = true,
                letter if MODIFIERS.contains(letter) => {}
                _ => return Err(format!("{operation} is not known")),
            }
        }
        if !is_known {
            return Err(format!("{operation} puts nothing into an archive"));
        }
        let mut names = words.map(|word| {
            let is_name = !word.as_encoded_bytes().starts_with(b"-") && !word.is_empty();
            is_name.then(|| PathBuf::from(word)).ok_or_else(|| format!("{word:?} is not known"))
        });
        let output = names.next().ok_or("no archive is named")??;
        let members = names.collect::<Result<Vec<_>, _>>()?;
        Ok(Call { output, members, is_deterministic, compares_times, words: arguments })
    }
}

/// Whether a help says that times and owners are left out unless they are asked for.
pub fn is_deterministic_by_default(help: &[u8]) -> bool {
    let mut lines = help.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.any(|line| line.starts_with(b"[D]") && line.ends_with(b"(default)"))
}

/// Whether a member may have code that has yet to be compiled: then others decide what is listed.
pub fn may_be_intermediate(member: &[u8]) -> bool {
    INTERMEDIATE.iter().any(|mark| memchr::memmem::find(member, mark).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn of(line: &str) -> Result<Call, String> {
        Call::of(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn members_are_put_into_archives() {
        let call = of("rcsD x.a a.o d/b.o").unwrap();
        assert_eq!(call.output, Path::new("x.a"));
        assert_eq!(call.members, ["a.o", "d/b.o"].map(PathBuf::from));
        assert_eq!(call.is_deterministic, Some(true));
        assert_eq!(of("-qc x.a a.o").unwrap().is_deterministic, None);
        assert_eq!(of("crU x.a a.o").unwrap().is_deterministic, Some(false));
        assert!(of("cru x.a a.o").unwrap().compares_times);
        assert!(of("r x.a").unwrap().members.is_empty());
    }

    #[test]
    fn everything_else_is_not_known() {
        for line in [
            "",
            "rcs",
            "t x.a",
            "s x.a",
            "x x.a",
            "rcsT x.a a.o",
            "rb a.o x.a b.o",
            "rN 1 x.a a.o",
            "rl dep x.a a.o",
            "rP x.a d/a.o",
            "rq x.a a.o",
            "rc --thin x.a a.o",
            "--plugin p.so rc x.a a.o",
            "rc x.a --target=elf64-little a.o",
            "-M",
            "--version",
        ] {
            assert!(of(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_help_tells_what_is_the_default() {
        let help =
            "  [a]  - put\n  [D]          - use zero for timestamps and uids/gids (default)\n";
        assert!(is_deterministic_by_default(help.as_bytes()));
        let other = help.replace(" (default)", "").replace("[a]  - put", "[U] - actual (default)");
        assert!(!is_deterministic_by_default(other.as_bytes()));
        assert!(!is_deterministic_by_default(b""));
    }
}
