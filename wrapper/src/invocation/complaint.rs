//! Whether the messages of a failed compile are about its source and nothing else.
//!
//! What went wrong on the machine, as a full disk or a killed compiler, is never kept, and drivers
//! end with the same status then. So messages are in doubt unless
//!
//! 1. they are in a language that larder reads ([`locale_is_known`]);
//! 2. some line is an error at a line of an input, and every other error is, too;
//! 3. no program of the compiler speaks for itself, but to say that warnings were errors;
//! 4. none of [`WORDS`] and [`PHRASES`] is in them, in whatever case. The source lines that they
//!    show are not told from messages: a source with such a word is in doubt, too.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use memchr::memmem;

/// Words that stand for themselves.
const WORDS: &[&str] = &[
    "aborted",
    "backtrace",
    "crash",
    "crashed",
    "crashes",
    "exhausted",
    "internal",
    "interrupted",
    "killed",
    "memory",
    "quota",
    "segmentation",
    "segfault",
    "signal",
    "space",
    "stackdump",
];

/// And several together.
const PHRASES: &[&str] = &[
    "assembler messages",
    "broken pipe",
    "bug report",
    "bus error",
    "cannot allocate",
    "cannot create",
    "cannot execute",
    "cannot find",
    "cannot open",
    "cannot read",
    "cannot write",
    "can't create",
    "can't open",
    "can't write",
    "closing dependency file",
    "could not create",
    "could not open",
    "could not read",
    "could not write",
    "device or resource busy",
    "error closing",
    "error opening",
    "error reading",
    "error writing",
    "file too large",
    "illegal instruction",
    "input/output error",
    "llvm error",
    "no such file",
    "opening dependency file",
    "operation not permitted",
    "permission denied",
    "read-only file",
    "resource temporarily",
    "stack dump",
    "stale file",
    "terminated program",
    "text file busy",
    "timed out",
    "too many open",
    "unable to create",
    "unable to execute",
    "unable to open",
    "unable to rename",
    "unable to write",
];

/// Programs that may speak beside the parts of the compiler that are known.
const SPEAKERS: &[&str] = &["as", "cc1", "cc1plus", "clang", "collect2", "g++", "gcc", "ld"];

/// What such a program may say.
const SAYINGS: &[&str] =
    &["all warnings being treated as errors", "some warnings being treated as errors"];

/// What clang says at the end of its patience.
const PATIENCE: &[u8] = b"fatal error: too many errors emitted, stopping now";

/// Whether messages are in English.
pub(super) fn locale_is_known(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set);
    let locale = locale.as_ref().map_or(&b"C"[..], |locale| locale.as_bytes());
    let is_named = |name: &[u8]| {
        locale.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest[0] == b'.')
    };
    let is_english = is_named(b"en_US") && set("LANGUAGE").is_none();
    // In the plain one the C library translates nothing, whatever `LANGUAGE` says.
    let is_plain = locale == b"C" || locale == b"POSIX";
    is_plain || is_english || is_named(b"C") && set("LANGUAGE").is_none()
}

/// Checks the messages of a failed compile that has read `inputs`; `programs` are the names of the
/// compiler's parts.
///
/// # Errors
/// Why they are in doubt.
pub(super) fn check(
    stdout: &[u8],
    stderr: &[u8],
    inputs: &[PathBuf],
    programs: &[&OsStr],
) -> Result<(), &'static str> {
    let text = without_escapes(stderr);
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let told = [without_escapes(stdout), without_chains(&lines)].concat().to_ascii_lowercase();
    let has_word = |word: &str| {
        let mut words = told.split(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'));
        words.any(|known| known == word.as_bytes())
    };
    if WORDS.iter().any(|word| has_word(word))
        || PHRASES.iter().any(|text| memmem::find(&told, text.as_bytes()).is_some())
    {
        return Err("its messages may speak of something else than the source");
    }
    if lines.iter().any(|line| is_of_a_program(line, programs)) {
        return Err("a part of the compiler speaks for itself");
    }
    let mut errors = lines.iter().filter(|line| !line.starts_with(PATIENCE));
    let mut count = 0;
    let all_point = errors.all(|line| match error_place(line) {
        Some(place) => {
            count += 1;
            points_into(place, inputs)
        }
        None => true,
    });
    match all_point && count > 0 {
        true => Ok(()),
        false => Err("not every error points into an input"),
    }
}

/// The lines without those that only say by which way a header was included.
fn without_chains(lines: &[&[u8]]) -> Vec<u8> {
    let is_chain = |line: &[u8]| {
        let line = line.strip_prefix(b"In file included ").unwrap_or(line).trim_ascii_start();
        line.starts_with(b"from ") && [b':', b','].iter().any(|end| line.ends_with(&[*end]))
    };
    lines.iter().copied().filter(|line| !is_chain(line)).collect::<Vec<_>>().join(&b'\n')
}

/// Whether a program says something that it may not say.
fn is_of_a_program(line: &[u8], programs: &[&OsStr]) -> bool {
    let Some(at) = line.windows(2).position(|pair| pair == b": ") else { return false };
    let speaker = Path::new(OsStr::from_bytes(&line[..at])).file_name().unwrap_or_default();
    let is_program =
        programs.contains(&speaker) || SPEAKERS.iter().any(|program| speaker == *program);
    is_program && !SAYINGS.iter().any(|saying| &line[at + 2..] == saying.as_bytes())
}

/// What stands before the `error:` of a message. Source lines that gcc shows begin with a blank.
fn error_place(line: &[u8]) -> Option<&[u8]> {
    if line.first().is_none_or(u8::is_ascii_whitespace) {
        return None;
    }
    let markers: [&[u8]; 2] = [b"fatal error: ", b"error: "];
    markers.iter().find_map(|marker| {
        let at = line.windows(marker.len()).position(|part| part == *marker)?;
        (at == 0 || line[at - 1] == b' ').then_some(&line[..at])
    })
}

/// Whether this is `PATH:LINE: ` or `PATH:LINE:COLUMN: ` with the path of an input.
fn points_into(place: &[u8], inputs: &[PathBuf]) -> bool {
    let Some(mut rest) = place.strip_suffix(b": ") else { return false };
    for _ in 0..2 {
        let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let Some(path) = rest[..rest.len() - digits].strip_suffix(b":") else { return false };
        if digits == 0 {
            return false;
        }
        let plain = |path: &Path| path.strip_prefix(".").unwrap_or(path).to_path_buf();
        let named = plain(Path::new(OsStr::from_bytes(path)));
        if inputs.iter().any(|input| plain(input) == named) {
            return true;
        }
        rest = path;
    }
    false
}

/// The text without colours and links.
fn without_escapes(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = match (byte, after) {
            (0x1b, [b'[', sequence @ ..]) => {
                let end = sequence.iter().position(|byte| (0x40..=0x7e).contains(byte));
                &sequence[end.map_or(sequence.len(), |end| end + 1)..]
            }
            (0x1b, [b']', sequence @ ..]) => {
                let end = sequence.iter().position(|byte| [0x07, 0x1b].contains(byte));
                let after = &sequence[end.map_or(sequence.len(), |end| end + 1)..];
                after.strip_prefix(b"\\").unwrap_or(after)
            }
            _ => {
                plain.push(*byte);
                after
            }
        };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(stderr: &str) -> Result<(), &'static str> {
        let inputs = ["a.c", "dir/h.h"].map(PathBuf::from);
        check(b"", stderr.as_bytes(), &inputs, &["x86_64-gcc-12".as_ref()])
    }

    #[test]
    fn errors_in_inputs_are_about_the_source() {
        for text in [
            "a.c:2:22: error: 'missing' undeclared\n    2 | int x;\n      | ^\n",
            "./a.c:2: error: x\n",
            "In file included from a.c:1:\ndir/h.h:1:2: error: x\n",
            "In file included from /usr/include/c++/12/memory:76,\n                 from a.c:1:\n\
             dir/h.h:1:2: error: x\n",
            "a.c:1:1: error: x [-Werror]\ncc1: all warnings being treated as errors\n",
            "\x1b[1ma.c:1:1: \x1b[0m\x1b[0;1;31merror: \x1b[0mx\n1 error generated.\n",
            "\x1b[01m\x1b[Ka.c:2:1:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kx [\x1b]8;;url\
             \x07-Werror\x1b]8;;\x07]\n",
            "a.c:1:1: error: x\nfatal error: too many errors emitted, stopping now [-f]\n",
            "a.c:1:1: error: x\ncompilation terminated due to -fmax-errors=1.\n",
            "a.c:1:1: error: namespace 'x'; could not match 'a' against 'b'\n",
        ] {
            assert_eq!(judged(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn everything_else_is_in_doubt() {
        for text in [
            "",
            "a.c:1:1: warning: x\n",
            "b.c:1:1: error: x\n",
            "a.c: error: x\n",
            "a.c:x: error: x\n",
            "error: x\n",
            "<inline asm>:1:2: error: x\na.c:1:1: error: x\n",
            "a.c:1:1: error: x\ngcc: error: y\n",
            "a.c:1:1: error: x\n/usr/bin/x86_64-gcc-12: fatal error: y\n",
            "a.c:1:1: error: x\ngcc: fatal error: Killed signal terminated program cc1\n",
            "a.c:1:1: internal compiler error: Segmentation fault\n",
            "a.c:1:1: error: x\ncc1: out of memory allocating 64 bytes\n",
            "a.c:1:1: error: x\nvirtual memory exhausted: Cannot allocate memory\n",
            "a.c:1:1: fatal error: error writing to x.s: No space left on device\n",
            "a.c:1:1: fatal error: x.h: No such file or directory\n",
            "a.c:1:1: error: x\ncc1: all warnings being treated as errors, or so\n",
            "a.c:1:1: error: x\nKilled\n",
            "a.c:1:1: error: cannot execute y\n",
        ] {
            assert!(judged(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_locale_is_known_by_its_name() {
        let known = |set: &[(&str, &str)]| {
            locale_is_known(|name| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
            })
        };
        assert!(known(&[]) && known(&[("LC_ALL", "C.UTF-8")]) && known(&[("LANG", "en_US.UTF-8")]));
        assert!(known(&[("LC_ALL", ""), ("LANG", "POSIX"), ("LANGUAGE", "de")]));
        assert!(!known(&[("LANG", "de_DE.UTF-8")]) && !known(&[("LC_MESSAGES", "en_GB")]));
        assert!(!known(&[("LANG", "en_US.UTF-8"), ("LANGUAGE", "de")]));
        assert!(!known(&[("LC_ALL", "de_DE"), ("LANG", "C")]) && !known(&[("LANG", "Cx")]));
    }
}
