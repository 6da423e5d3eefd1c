//! Sources of other crates that a message shows.
//!
//! A message may point into the source of a crate that is only linked: where the file stands, rustc
//! reads it and shows the lines, and else it shows the place alone. No dependency file has it.
//!
//! ```text
//! {"$message_type":"diagnostic",...,"file_name":"PATH",...     each span, as JSON
//!   --> PATH:LINE:COLUMN                                       the main span, for people
//!   ::: PATH:LINE:COLUMN                                       another file
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;

use memchr::memmem;

const FIELD: &[u8] = b"\"file_name\":\"";

/// The files that messages name, as they are written.
pub fn files(said: &[u8]) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for line in said.split(|byte| *byte == b'\n') {
        if line.starts_with(b"{") {
            let ends = memmem::find_iter(line, FIELD).map(|at| at + FIELD.len());
            files.extend(ends.filter_map(|start| json_text(&line[start..])));
        } else {
            files.extend(place(&without_colors(line)));
        }
    }
    files.into_iter().map(PathBuf::from).collect()
}

/// A text of JSON up to its end.
fn json_text(bytes: &[u8]) -> Option<String> {
    let mut text = Vec::new();
    let mut rest = bytes.iter();
    loop {
        match rest.next()? {
            b'"' => return String::from_utf8(text).ok(),
            b'\\' => text.push(match rest.next()? {
                plain @ (b'"' | b'\\' | b'/') => *plain,
                _ => return None,
            }),
            other => text.push(*other),
        }
    }
}

/// The file behind an arrow.
fn place(line: &str) -> Option<String> {
    let line = line.trim_start();
    let place = line.strip_prefix("--> ").or_else(|| line.strip_prefix("::: "))?;
    let (place, column) = place.rsplit_once(':')?;
    let (file, line) = place.rsplit_once(':')?;
    let is_number = |text: &str| text.parse::<u32>().is_ok();
    (is_number(line) && is_number(column)).then(|| file.to_owned())
}

/// A line without the sequences of a terminal that colour it.
fn without_colors(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => drop(letters.find(char::is_ascii_alphabetic)),
            _ => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_each_form() {
        let said = "error[E0277]: no\n  --> src/a.rs:1:2\n   |\n\
            note: required\n\u{1b}[0m  \u{1b}[1m\u{1b}[38;5;12m::: \u{1b}[0m/r/b c.rs:10:3\n\
            --> no place\n{\"message\":\"x\",\"spans\":[{\"file_name\":\"/q/d \\\"e\\\".rs\",\
            \"line\":1},{\"file_name\":\"src/a.rs\"}],\"rendered\":\"  --> /z.rs:1:1\\n\"}\n";
        let expected = ["/q/d \"e\".rs", "/r/b c.rs", "src/a.rs"].map(PathBuf::from);
        assert_eq!(files(said.as_bytes()), BTreeSet::from(expected));
    }
}
