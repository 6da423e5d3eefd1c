//! Command lines as they are printed: by `rustc --print link-args`, and by a driver for `-###`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What rustc starts for a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// `PATH` there, if it is another one.
    pub path: Option<OsString>,
    /// The driver.
    pub program: OsString,
    /// Its arguments.
    pub words: Vec<OsString>,
}

/// Reads what rustc prints: variables as `NAME="VALUE"`, then each word in quotes, escaped as in
/// Rust. `None` if it is anything else, as where several things are linked.
pub fn of_rustc(text: &[u8]) -> Option<Command> {
    let mut rest = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
    let mut path = None;
    let mut words = Vec::new();
    while !rest.is_empty() {
        let quote = rest.find('"')?;
        let name = &rest[..quote];
        let (value, after) = quoted(&rest[quote + 1..])?;
        match name.strip_suffix('=') {
            Some(name) if words.is_empty() && is_variable(name) => {
                if name == "PATH" {
                    path = Some(OsString::from(value));
                }
            }
            None if name.is_empty() => words.push(OsString::from(value)),
            _ => return None,
        }
        rest = match after.strip_prefix(' ') {
            Some(after) => after,
            None if after.is_empty() => after,
            None => return None,
        };
    }
    let mut words = words.into_iter();
    Some(Command { path, program: words.next()?, words: words.collect() })
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The text up to the next quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut plain = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((plain, &text[at + 1..])),
            '\\' => plain.push(match letters.next()?.1 {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '0' => '\0',
                same @ ('"' | '\\' | '\'') => same,
                // What is printed so is no path of a sane build.
                _ => return None,
            }),
            letter => plain.push(letter),
        }
    }
    None
}

/// The last command that a driver would start, as it tells for `-###`: on a line that begins with a
/// blank, each word as it is or in quotes.
pub fn of_driver(report: &[u8]) -> Option<Vec<OsString>> {
    let lines = report.split(|byte| *byte == b'\n');
    let line = lines.rev().find_map(|line| line.strip_prefix(b" "))?;
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut is_quoted = false;
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            b'\\' if is_quoted => word.get_or_insert_default().push(*bytes.next()?),
            b' ' if !is_quoted => words.extend(word.take().map(OsString::from_vec)),
            byte => word.get_or_insert_default().push(*byte),
        }
    }
    words.extend(word.map(OsString::from_vec));
    (!is_quoted && !words.is_empty()).then_some(words)
}

/// The directories that rustc puts before those of `PATH`, of which `own` is the value here.
pub fn directories_before<'a>(path: &'a OsStr, own: &OsStr) -> Option<&'a OsStr> {
    let before = path.as_bytes().strip_suffix(own.as_bytes())?;
    let before = before.strip_suffix(b":").or_else(|| before.is_empty().then_some(before))?;
    Some(OsStr::from_bytes(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rustc_prints_is_read() {
        let text =
            b"LC_ALL=\"C\" PATH=\"/a b:/c\" \"cc\" \"-m64\" \"/t/\\\"x\\\".o\" \"-o\" \"m\"\n";
        let command = of_rustc(text).unwrap();
        assert_eq!(command.path.as_deref(), Some(OsStr::new("/a b:/c")));
        assert_eq!(command.program, "cc");
        assert_eq!(command.words, ["-m64", "/t/\"x\".o", "-o", "m"]);
        for text in [
            &b""[..],
            b"\n",
            b"\"cc\"",
            b"cd \"/x\" && \"cc\"\n",
            b"env -u X \"cc\"\n",
            b"\"cc\" \"a\n",
            b"\"cc\" \"\\u{1}\"\n",
            b"\"cc\"\"a\"\n",
            b"\"cc\" \"a\"\n\"cc\" \"b\"\n",
        ] {
            assert_eq!(of_rustc(text), None, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn what_a_driver_prints_is_read() {
        let report =
            b"Target: x\n as a.s\n /usr/lib/collect2 -plugin \"a=b c\" \"q\\\"\" -L/x -lm\n\
                       COLLECT_GCC_OPTIONS='x'\n";
        let words = of_driver(report).unwrap();
        assert_eq!(words, ["/usr/lib/collect2", "-plugin", "a=b c", "q\"", "-L/x", "-lm"]);
        assert_eq!(of_driver(b"gcc: error\n"), None);
        assert_eq!(of_driver(b" a \"b\n"), None);
    }

    #[test]
    fn what_stands_before_the_own_path_is_found() {
        let before = |path: &'static str, own: &str| {
            directories_before(OsStr::new(path), OsStr::new(own)).and_then(OsStr::to_str)
        };
        assert_eq!(before("/x:/y:/a:/b", "/a:/b"), Some("/x:/y"));
        assert_eq!(before("/a:/b", "/a:/b"), Some(""));
        assert_eq!(before("/xa:/b", "a:/b"), None);
        assert_eq!(before("/x", "/a"), None);
    }
}
