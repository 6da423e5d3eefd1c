//! The log: one line per event, appended with a single write so that processes do not mix.
//!
//! 1. Nothing is ever written to the compiler's stderr.
//! 2. Without `LARDER_LOG` a call of [`Log::line`] does not even format its text.
//! 3. A log that cannot be written is no error.

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// Where the log lines of this process go.
#[derive(Debug, Default)]
pub struct Log {
    path: Option<PathBuf>,
    file: OnceCell<Option<File>>,
    /// The lines so far, where somebody wants them at the end.
    kept: Option<RefCell<String>>,
}

impl Log {
    /// A log at `path`, opened at its first line; no log for `None`.
    pub fn new(path: Option<PathBuf>) -> Log {
        Log { path, file: OnceCell::new(), kept: None }
    }

    /// The same log, which also keeps its lines.
    pub fn keeping(mut self) -> Log {
        self.kept = Some(RefCell::default());
        self
    }

    /// Whether a line goes anywhere.
    pub fn is_heard(&self) -> bool {
        self.path.is_some() || self.kept.is_some()
    }

    /// The lines so far, if they are kept.
    pub fn kept(&self) -> Option<String> {
        self.kept.as_ref().map(|lines| lines.borrow().clone())
    }

    /// Appends one line: the process id, then `text` with its line ends escaped.
    pub fn line(&self, text: fmt::Arguments<'_>) {
        if !self.is_heard() {
            return;
        }
        let text = text.to_string().replace('\n', "\\n");
        let line = format!("[{}] {text}\n", std::process::id());
        if let Some(kept) = &self.kept {
            kept.borrow_mut().push_str(&line);
        }
        let Some(path) = &self.path else { return };
        // A pipe that nobody reads is a log that cannot be written.
        let open = || {
            let mut options = OpenOptions::new();
            options.append(true).create(true).custom_flags(libc::O_NONBLOCK).open(path).ok()
        };
        if let Some(file) = self.file.get_or_init(open) {
            // A full disk must not disturb the compile.
            let _ = (&mut &*file).write_all(line.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = Log::new(Some(path.clone()));
        log.line(format_args!("a\nb"));
        log.line(format_args!("c"));
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("] a\\nb\n"));
        Log::default().line(format_args!("nowhere"));
    }
}
