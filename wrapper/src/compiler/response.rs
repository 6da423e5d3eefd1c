//! Response files: `@file` stands for the words in the file.
//!
//! 1. A word is ended by white space; quotes and backslashes work as in gcc's libiberty and in
//!    clang. Where versions of the two disagree (a backslash within quotes or before a line's end,
//!    an empty word, an unclosed quote) the call runs uncached: nothing is guessed.
//! 2. A name that cannot be opened is an ordinary argument that begins with `@`.
//! 3. Depth and size are bounded.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::outcome::{Counter, Reason};

/// How deep response files may name each other; real ones do not, and a loop must end.
const DEPTH_MAX: usize = 8;
/// Response files of one call that are looked at again.
const FILES_MAX: usize = 1024;
/// Longest response file in bytes: as much as the kernel takes as arguments of one program, so that
/// the expanded call can still be run.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The arguments with every response file replaced by its words. Names are relative to `cwd`, also
/// within response files.
///
/// # Errors
/// The reason not to cache where a file cannot be expanded beyond doubt.
pub fn expand(arguments: &[OsString], cwd: &Path) -> Result<Vec<OsString>, Reason> {
    let mut expanded = Vec::with_capacity(arguments.len());
    expand_into(&mut expanded, arguments, cwd, 0)?;
    Ok(expanded)
}

/// Every response file that [`expand`] reads for these arguments.
///
/// # Errors
/// As [`expand`].
pub fn files(arguments: &[OsString], cwd: &Path) -> Result<Vec<PathBuf>, Reason> {
    let mut files = Vec::new();
    let mut rest = arguments.to_vec();
    while let Some(argument) = rest.pop() {
        let Some(name) = argument.as_bytes().strip_prefix(b"@") else { continue };
        let path = cwd.join(OsStr::from_bytes(name));
        let Some(text) = read(&path)? else { continue };
        rest.extend(words(&text).map_err(|why| doubtful(&argument, why))?);
        if files.len() == FILES_MAX {
            return Err(doubtful(&argument, "is one of too many"));
        }
        files.push(path);
    }
    Ok(files)
}

fn expand_into(
    expanded: &mut Vec<OsString>,
    arguments: &[OsString],
    cwd: &Path,
    depth: usize,
) -> Result<(), Reason> {
    for argument in arguments {
        match argument.as_bytes().strip_prefix(b"@") {
            Some(name) => match read(&cwd.join(OsStr::from_bytes(name)))? {
                Some(_) if depth == DEPTH_MAX => return Err(doubtful(argument, "is too deep")),
                Some(text) => {
                    let words = words(&text).map_err(|why| doubtful(argument, why))?;
                    expand_into(expanded, &words, cwd, depth + 1)?;
                }
                None => expanded.push(argument.clone()),
            },
            None => expanded.push(argument.clone()),
        }
    }
    Ok(())
}

/// The bytes of a response file, `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Reason> {
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Ok(None),
        _ => Err(doubtful(path.as_os_str(), &format!("cannot be read: {error}"))),
    };
    match fs::metadata(path) {
        // A pipe would be empty for the compiler after larder has read it.
        Ok(metadata) if !metadata.is_file() => Err(doubtful(path.as_os_str(), "is no file")),
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            Err(doubtful(path.as_os_str(), "is too long"))
        }
        Ok(_) => fs::read(path).map(Some).or_else(unreadable),
        Err(error) => unreadable(error),
    }
}

fn doubtful(name: &OsStr, why: &str) -> Reason {
    let text = format!("the response file {} {why}", name.display());
    Reason::new(Counter::UnsupportedCompilerOption, text)
}

/// The words of a response file, or why they are in doubt.
fn words(text: &[u8]) -> Result<Vec<OsString>, &'static str> {
    if text.contains(&0) || text.starts_with(b"\xef\xbb\xbf") || text.starts_with(b"\xff\xfe") {
        return Err("is no plain text");
    }
    let mut words = Vec::new();
    let mut rest = trim_blanks(text);
    while !rest.is_empty() {
        let (word, after) = first_word(rest)?;
        words.push(OsString::from_vec(word));
        rest = trim_blanks(after);
    }
    Ok(words)
}

/// The white space of C's `isspace`, which has the vertical tab that Rust's lacks.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn trim_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_blank(byte)).unwrap_or(text.len());
    &text[start..]
}

/// The first word, without its quotes, and what follows it.
fn first_word(text: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
    let mut word = Vec::new();
    let mut quote = None;
    let mut bytes = text.iter().copied().enumerate();
    while let Some((index, byte)) = bytes.next() {
        match (quote, byte) {
            (Some(_), b'\\') => return Err("has a backslash within quotes"),
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => word.push(byte),
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'\\') => match bytes.next() {
                Some((_, b'\n' | b'\r')) | None => return Err("has a backslash at a line's end"),
                Some((_, escaped)) => word.push(escaped),
            },
            (None, _) if is_blank(byte) => return finished(word, &text[index..]),
            (None, _) => word.push(byte),
        }
    }
    if quote.is_some() {
        return Err("has an unclosed quote");
    }
    finished(word, b"")
}

fn finished(word: Vec<u8>, rest: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
    if word.is_empty() { Err("has an empty word") } else { Ok((word, rest)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<Vec<String>, Reason> {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("args"), text).unwrap();
        let words = expand(&["-c".into(), "@args".into(), "last".into()], directory.path())?;
        Ok(words[1..words.len() - 1].iter().map(|w| w.to_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn words_quotes_and_backslashes_are_taken_as_gcc_takes_them() {
        let text = " -DA=1\n\t-DB='x y'  \"-DC=p q\"\x0b-DD=\\\"s\\\" a\\ b '\"'\\'\n";
        let words = ["-DA=1", "-DB=x y", "-DC=p q", "-DD=\"s\"", "a b", "\"'"];
        assert_eq!(expanded(text).unwrap(), words);
        assert_eq!(expanded(" \n ").unwrap(), [""; 0]);
    }

    #[test]
    fn doubtful_files_are_not_expanded() {
        for text in ["'a\\b'", "a\\\nb", "'open", "a\\", "x '' y", "a\0b", "\u{feff}-c"] {
            let reason = expanded(text).unwrap_err();
            assert_eq!(reason.counter, Counter::UnsupportedCompilerOption, "{text:?}");
        }
    }

    #[test]
    fn a_response_file_may_name_another_but_not_itself() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("outer"), "-O2 @inner -g").unwrap();
        fs::write(directory.path().join("inner"), "-Wall").unwrap();
        let words = expand(&["@outer".into()], directory.path()).unwrap();
        assert_eq!(words, ["-O2", "-Wall", "-g"]);
        fs::write(directory.path().join("inner"), "@outer").unwrap();
        assert!(expand(&["@outer".into()], directory.path()).is_err());
    }

    #[test]
    fn a_name_that_does_not_exist_is_an_argument() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(expand(&["@none".into()], directory.path()).unwrap(), ["@none"]);
        assert!(expand(&["@.".into()], directory.path()).is_err());
    }

    #[test]
    fn the_real_compilers_agree_with_the_expansion() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("t.c"), "int a = A; const char *b = B; int c = C;")
            .unwrap();
        fs::write(directory.path().join("args"), "-DA=1 '-DB=\"x  y\"'\n\"-DC=(2 + 3)\" -E -P t.c")
            .unwrap();
        for compiler in ["gcc", "clang"] {
            let run = |arguments: &[OsString]| {
                let mut command = std::process::Command::new(compiler);
                command.args(arguments).current_dir(directory.path()).output()
            };
            let Ok(by_compiler) = run(&["@args".into()]) else {
                println!("skipped: no {compiler}");
                continue;
            };
            let by_larder = run(&expand(&["@args".into()], directory.path()).unwrap()).unwrap();
            assert!(by_larder.status.success());
            assert_eq!(by_larder.stdout, by_compiler.stdout);
        }
    }
}
