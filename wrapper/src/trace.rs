//! A trace of look-ups, for replays on rules of eviction: `build,unit,key,bytes`, one row for each
//! compile that was answered, or stored after it ran.
//!
//! 1. `build` is the job (`LARDER_JOB`) or empty; `unit` the source as it was named; `key` the
//!    first sixteen digits of the result's key; `bytes` the size of its record without frame.
//! 2. A row is one write to a file that is opened for appending, so processes do not mix.
//! 3. A trace that cannot be written is no error, and without `LARDER_TRACE` nothing is done.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use larder_engine::Key;

/// Digits of a key in a trace: enough to tell a billion objects apart.
const KEY_DIGITS: usize = 16;

/// Appends one row.
pub fn append(path: &Path, build: &str, unit: &Path, key: &Key, bytes: u64) {
    append_text(path, &row(build, &unit.to_string_lossy(), key, bytes));
}

/// Appends a text, in one write.
pub fn append_text(path: &Path, text: &str) {
    // A pipe that nobody reads is a trace that cannot be written.
    let mut options = OpenOptions::new();
    options.append(true).create(true).custom_flags(libc::O_NONBLOCK);
    if let Ok(mut file) = options.open(path) {
        // One call, and not a second one for what a full disk left.
        let _ = file.write(text.as_bytes());
    }
}

/// What parts fields and rows becomes an underscore.
fn row(build: &str, unit: &str, key: &Key, bytes: u64) -> String {
    let plain = |text: &str| text.replace(|c: char| c == ',' || c.is_control(), "_");
    let digits = key.to_string();
    format!("{},{},{},{bytes}\n", plain(build), plain(unit), &digits[..KEY_DIGITS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_four_fields_whatever_they_say() {
        let key = Key::from_bytes([0xab; 32]);
        assert_eq!(row("ci-1", "src/a.c", &key, 77), "ci-1,src/a.c,abababababababab,77\n");
        assert_eq!(row("", "a,\n.c", &key, 0), ",a__.c,abababababababab,0\n");
    }

    #[test]
    fn rows_are_appended_and_a_file_that_cannot_be_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace.csv");
        let key = Key::from_bytes([1; 32]);
        append(&path, "b", Path::new("u"), &key, 1);
        append(&path, "b", Path::new("v"), &key, 2);
        append(dir.path(), "b", Path::new("w"), &key, 3);
        let rows = std::fs::read_to_string(path).unwrap();
        assert_eq!(rows, "b,u,0101010101010101,1\nb,v,0101010101010101,2\n");
    }
}
