//! The compiler's messages on their way to the user.
//!
//! 1. What is stored is what the compiler wrote. Under `absolute_paths_in_stderr` names of files
//!    become absolute only when they are passed on, on a miss and on a hit: so the setting is in no
//!    key, and a hit in another directory names the files of that directory.
//! 2. A name is what stands at the start of a line, behind `In file included from` or behind gcc's
//!    `from`, before a colon, whatever colours stand around it. It becomes absolute only if it is
//!    that of a regular file now; so no other text changes.
//! 3. Where the compiler takes this process's place, it writes to the user itself.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Session;

/// What both compilers write before a file that includes another.
const INCLUDED: &[u8] = b"In file included from ";
/// And gcc before the next one.
const FROM: &[u8] = b"from ";
/// A name with more colons in it stays as it is.
const COLONS_MAX: usize = 4;

impl Session<'_> {
    /// Whether all of it arrived. Where it cannot (a reader that is gone, a full disk), compilers
    /// differ in what becomes of them: then the real one has to run and find out.
    pub(super) fn pass_on(&self, stdout: &[u8], stderr: &[u8]) -> bool {
        let ccache = self.call.config.ccache.as_deref();
        let stderr = match ccache.is_some_and(|ccache| ccache.absolute_paths_in_stderr) {
            true => Cow::Owned(absolute(stderr)),
            false => Cow::Borrowed(stderr),
        };
        let mut out = io::stdout().lock();
        let passed = out.write_all(stdout).and_then(|()| out.flush());
        passed.and_then(|()| io::stderr().lock().write_all(&stderr)).is_ok()
    }
}

/// The messages with absolute names.
fn absolute(messages: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(messages.len());
    for line in messages.split_inclusive(|byte| *byte == b'\n') {
        let start = start_of_name(line);
        match real_name(&line[start..]) {
            Some((name, length)) => {
                text.extend_from_slice(&line[..start]);
                text.extend_from_slice(name.as_os_str().as_bytes());
                text.extend_from_slice(&line[start + length..]);
            }
            None => text.extend_from_slice(line),
        }
    }
    text
}

/// Where a name would begin.
fn start_of_name(line: &[u8]) -> usize {
    let blanks = line.iter().take_while(|byte| **byte == b' ').count();
    let words = if line.starts_with(INCLUDED) {
        INCLUDED.len()
    } else if blanks > 0 && line[blanks..].starts_with(FROM) {
        blanks + FROM.len()
    } else {
        0
    };
    words + colours(&line[words..])
}

/// The length of the control sequences at the start of a text: `ESC [`, parameters, a letter.
fn colours(text: &[u8]) -> usize {
    let mut length = 0;
    while text[length..].starts_with(b"\x1b[") {
        let rest = &text[length + 2..];
        match rest.iter().position(|byte| (0x40..0x7f).contains(byte)) {
            Some(end) => length += 2 + end + 1,
            None => break,
        }
    }
    length
}

/// The file that a text begins with the relative name of, and the length of that name.
fn real_name(text: &[u8]) -> Option<(PathBuf, usize)> {
    // Most lines show a piece of source and begin so.
    if matches!(text.first(), None | Some(b'/' | b' ' | b'\n')) {
        return None;
    }
    memchr::memchr_iter(b':', text).take(COLONS_MAX).find_map(|length| {
        let name = Path::new(OsStr::from_bytes(&text[..length]));
        let is_file = length > 0 && name.metadata().is_ok_and(|facts| facts.is_file());
        is_file.then(|| Some((fs::canonicalize(name).ok()?, length))).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests are run in the directory of the package.
    fn check(line: &str, told: &str) {
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        let told = told.replace("HERE", here.to_str().unwrap());
        assert_eq!(String::from_utf8_lossy(&absolute(line.as_bytes())), told);
    }

    #[test]
    fn names_become_absolute_where_messages_have_them() {
        let colour = "\x1b[01m\x1b[K";
        check("src/lib.rs:1:2: note: x\n", "HERE/src/lib.rs:1:2: note: x\n");
        check("src/lib.rs: In function", "HERE/src/lib.rs: In function");
        check("./src/../src/lib.rs:1:\n", "HERE/src/lib.rs:1:\n");
        check(
            "In file included from src/lib.rs:1,\n",
            "In file included from HERE/src/lib.rs:1,\n",
        );
        check("     from src/lib.rs:1:\n", "     from HERE/src/lib.rs:1:\n");
        for start in ["", "In file included from ", "    from "] {
            let line = |here: &str| format!("{start}{colour}{here}src/lib.rs:1\x1b[m\x1b[K:\n");
            check(&line(""), &line("HERE/"));
        }
    }

    #[test]
    fn no_other_text_changes() {
        for line in [
            "",
            "\n",
            ":",
            "/etc/passwd:1: note\n",
            "missing.c:1: note\n",
            "src: In directory\n",
            "1 warning generated.\n",
            "    1 | src/lib.rs: x\n",
            "  src/lib.rs:1\n",
            "from src/lib.rs:1\n",
            "cc1: src/lib.rs\n",
            "a:b:c:d:e:f:g:h\n",
            "\x1b[",
            "\x1b[01m",
            "a\nsrc/lib.rs\nb",
        ] {
            check(line, line);
        }
        assert_eq!(absolute(b"\xff\xfe:\n\xff"), b"\xff\xfe:\n\xff");
    }
}
