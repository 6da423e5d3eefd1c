//! What ccache counts of its directory, so that it keeps to its limit: files and kibibytes below
//! each directory at the top, in a file `stats` there.
//!
//! A cache that comes with such files keeps them. One that comes from a layout without gets them
//! new; one that is added to is told of, as only ccache itself can count it again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Which line of a file has the files, and which the kibibytes; of more nothing has to be known.
const FILES_LINE: usize = 11;
const KIBIBYTES_LINE: usize = 12;
const LINES: usize = 13;
/// Directories at the top.
const DIGITS: &str = "0123456789abcdef";
/// What says to backups that a directory is a cache.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# This directory is a cache.\n";

/// What was written below each directory at the top.
#[derive(Default)]
pub struct Counted {
    files: [AtomicU64; DIGITS.len()],
    bytes: [AtomicU64; DIGITS.len()],
    /// Files of statistics that came along.
    carried: Mutex<BTreeSet<String>>,
}

impl Counted {
    /// Notes a file that was written, and what it takes of the disk.
    pub fn note(&self, relative: &str, bytes: u64) {
        if relative.ends_with("stats") {
            let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
            carried.insert(relative.to_owned());
        } else if let Some(at) = relative.chars().next().and_then(|digit| DIGITS.find(digit)) {
            self.files[at].fetch_add(1, Ordering::Relaxed);
            self.bytes[at].fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Writes statistics where there are none; says where there are some that do not know of what
    /// was written.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn finish(&self, top: &Path) -> std::io::Result<Vec<String>> {
        let carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_unknown = false;
        for (at, digit) in DIGITS.chars().enumerate() {
            let files = self.files[at].load(Ordering::Relaxed);
            let folder = top.join(digit.to_string());
            let stats = folder.join("stats");
            if files == 0 || carried.contains(&format!("{digit}/stats")) {
                continue;
            }
            if stats.exists() {
                is_unknown = true;
                continue;
            }
            let mut lines = ["0"; LINES].map(str::to_owned);
            lines[FILES_LINE] = files.to_string();
            lines[KIBIBYTES_LINE] = (self.bytes[at].load(Ordering::Relaxed) / 1024).to_string();
            fs::write(stats, lines.join("\n") + "\n")?;
            if !folder.join("CACHEDIR.TAG").exists() {
                fs::write(folder.join("CACHEDIR.TAG"), TAG)?;
            }
        }
        let note = "ccache has not counted what was added: `ccache --cleanup` makes it count again";
        Ok(if is_unknown { vec![note.to_owned()] } else { Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_made_where_none_came_along() {
        let top = tempfile::tempdir().unwrap();
        for digit in ["a", "b", "c"] {
            fs::create_dir(top.path().join(digit)).unwrap();
        }
        let counted = Counted::default();
        counted.note("a/b/x", 4096);
        counted.note("a/c/y", 8192);
        counted.note("b/stats", 100);
        counted.note("b/0/x", 4096);
        assert_eq!(counted.finish(top.path()).unwrap(), Vec::<String>::new());
        let text = fs::read_to_string(top.path().join("a/stats")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[11], lines[12]), (13, "2", "12"));
        assert!(top.path().join("a/CACHEDIR.TAG").exists());
        assert!(!top.path().join("b/stats").exists());
        assert!(!top.path().join("c/stats").exists());
        // And once more: now there are some that know nothing of it.
        assert_eq!(counted.finish(top.path()).unwrap().len(), 1);
    }
}
