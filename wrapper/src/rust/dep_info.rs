//! The dependency file of rustc: which files a compile read, and which variables.
//!
//! ```text
//! OUTPUT: FILE FILE ...        for each output that was asked for, this file itself too
//! FILE:                        for each file, so that make does not mind when one goes
//! # env-dep:NAME=VALUE         `env!` and `option_env!`; without `=VALUE` where it is not set
//! # checksum:... FILE          with an option of nightly
//! ```
//!
//! Blanks in names of files stand behind a backslash, those in OUTPUT do not. In variables a
//! backslash stands before backslashes and line breaks.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// What a compile read.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DepInfo {
    /// Files, in the order in which they are first named.
    pub files: Vec<PathBuf>,
    /// Variables, and their values where they were set.
    pub variables: Vec<(String, Option<String>)>,
}

/// Reads a dependency file; `None` if it is none, or not UTF-8.
pub fn parse(bytes: &[u8]) -> Option<DepInfo> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut info = DepInfo::default();
    let mut known = BTreeSet::new();
    let mut has_rule = false;
    for line in text.lines() {
        if let Some(variable) = line.strip_prefix("# env-dep:") {
            let (name, value) = match variable.split_once('=') {
                Some((name, value)) => (name, Some(unescaped(value)?)),
                None => (variable, None),
            };
            info.variables.push((unescaped(name)?, value));
        } else if !line.is_empty() && !line.starts_with('#') {
            let (_, files) = line.split_at(target(line.as_bytes())?);
            has_rule = true;
            for file in words(files.strip_prefix(':')?) {
                if known.insert(file.clone()) {
                    info.files.push(file.into());
                }
            }
        }
    }
    has_rule.then_some(info)
}

/// Where the target of a rule ends, and its colon stands.
pub fn target(line: &[u8]) -> Option<usize> {
    let is_end =
        |at: &usize| line[*at] == b':' && matches!(line.get(at + 1), None | Some(b' ' | b'\n'));
    (1..line.len()).find(is_end)
}

/// The words behind a target.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.peek() == Some(&' ') => {
                letters.next();
                word.push(' ');
            }
            ' ' => words.push(std::mem::take(&mut word)),
            _ => word.push(letter),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// A variable's name or value as it was; `None` if it ends in a lone backslash.
fn unescaped(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next()? {
                'n' => '\n',
                'r' => '\r',
                other => other,
            },
            other => other,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_variables_are_read() {
        let text = "/t/libp.rlib: src/lib.rs src/with\\ blank.rs /o/x.txt\n\n\
                    /t/a b/p.d: src/lib.rs src/with\\ blank.rs /o/x.txt\n\nsrc/lib.rs:\n\
                    src/with\\ blank.rs:\n\n# env-dep:FOO=a=b\\nc\\\\d\n# env-dep:NONE\n\
                    # env-dep:EMPTY=\n# checksum:blake3=00 file_len:1 src/lib.rs\n";
        let info = parse(text.as_bytes()).unwrap();
        let files = ["src/lib.rs", "src/with blank.rs", "/o/x.txt"].map(PathBuf::from);
        assert_eq!(info.files, files);
        let variables = [
            ("FOO".to_owned(), Some("a=b\nc\\d".to_owned())),
            ("NONE".to_owned(), None),
            ("EMPTY".to_owned(), Some(String::new())),
        ];
        assert_eq!(info.variables, variables);
    }

    #[test]
    fn what_is_no_dependency_file_says_nothing() {
        for text in [&b""[..], b"\n", b"no rule\n", b": a\n", b"\xFF: a\n", b"a: b\n# env-dep:X=\\"]
        {
            assert_eq!(parse(text), None);
        }
    }
}
