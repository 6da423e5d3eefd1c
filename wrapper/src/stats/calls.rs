//! The log of calls: one line for each call of a compiler, for the account of one build.
//!
//! 1. A line is one write to a file that is opened for appending, so processes do not mix.
//! 2. Its fields have tabs between them: seconds since 1970, microseconds that larder took,
//!    microseconds that the compiler took (for a hit: had taken; 0 for not known), the ids that
//!    were counted with commas between them, the source, and why the call was not cached. Control
//!    characters in texts are `?`.
//! 3. A log that cannot be written is no error.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::outcome::Counter;

/// Appends a text with one call, for this log or another one that is written in the same way.
pub fn append(path: &Path, text: &str) {
    // A pipe that nobody reads is a log that cannot be written.
    let mut options = OpenOptions::new();
    options.append(true).create(true).custom_flags(libc::O_NONBLOCK);
    if let Ok(mut file) = options.open(path) {
        // One call, and not a second one for what a full disk left.
        let _ = file.write(text.as_bytes());
    }
}

/// Whether the log names a counter: sums of times are fields of their own.
pub fn is_logged(counter: Counter) -> bool {
    !matches!(
        counter,
        Counter::HitTime | Counter::MissTime | Counter::CompileTime | Counter::AvoidedTime
    )
}

/// One call.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Line {
    /// When it began, in seconds since 1970.
    pub at_secs: u64,
    /// What it took, in microseconds.
    pub spent_us: u64,
    /// What the compiler took, or had taken for the result of a hit; 0 for not known.
    pub compile_us: u64,
    /// What was counted.
    pub ids: Vec<u16>,
    /// The source by its absolute path; empty where it is not known.
    pub source: String,
    /// Why the call was not cached; empty if it was.
    pub reason: String,
}

impl Line {
    /// The line, with its end.
    pub fn text(&self) -> String {
        let plain = |text: &str| text.replace(char::is_control, "?");
        let ids: Vec<String> = self.ids.iter().map(u16::to_string).collect();
        format!(
            "{}\t{}\t{}\t{}\t{}\t{}\n",
            self.at_secs,
            self.spent_us,
            self.compile_us,
            ids.join(","),
            plain(&self.source),
            plain(&self.reason)
        )
    }

    /// The inverse of [`Line::text`]; `None` for anything else.
    pub fn parse(line: &str) -> Option<Line> {
        let mut fields = line.split('\t');
        let mut next = || fields.next();
        let line = Line {
            at_secs: next()?.parse().ok()?,
            spent_us: next()?.parse().ok()?,
            compile_us: next()?.parse().ok()?,
            ids: {
                let ids = next()?.split(',').filter(|id| !id.is_empty());
                ids.map(|id| id.parse().ok()).collect::<Option<_>>()?
            },
            source: next()?.to_owned(),
            reason: next()?.to_owned(),
        };
        fields.next().is_none().then_some(line)
    }

    /// Whether a counter is among the ids.
    pub fn has(&self, counter: Counter) -> bool {
        self.ids.contains(&(counter as u16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_it_says_and_can_be_read() {
        let line = Line {
            at_secs: 1,
            spent_us: 2,
            compile_us: 3,
            ids: vec![4, 43],
            source: "/a\tb\n.c".to_owned(),
            reason: String::new(),
        };
        assert_eq!(line.text(), "1\t2\t3\t4,43\t/a?b?.c\t\n");
        let read = Line::parse(line.text().trim_end_matches('\n')).unwrap();
        assert_eq!(read, Line { source: "/a?b?.c".to_owned(), ..line });
        assert!(read.has(Counter::CacheMiss) && !read.has(Counter::DirectCacheHit));
        for wrong in ["", "1\t2", "a\t2\t3\t4\tx\t", "1\t2\t3\t4\tx\t\ty"] {
            assert_eq!(Line::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn lines_are_appended_and_a_file_that_cannot_be_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("calls");
        append(&path, "a\n");
        append(&path, "b\n");
        append(dir.path(), "c\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "a\nb\n");
    }
}
