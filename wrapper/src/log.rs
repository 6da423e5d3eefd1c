//! The log: one line per event, sent in one piece so that processes do not mix.
//!
//! 1. Nothing is ever written to the compiler's stderr.
//! 2. Without `LARDER_LOG` a call of [`Log::line`] does not even format its text.
//! 3. A log that cannot be written is no error. The system's log is waited for once, a moment;
//!    what it does not take then is lost.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use larder_engine::env::clock_ns;

use crate::calendar::Time;

/// Where the system's log takes lines.
pub const SYSTEM_SOCKET: &str = "/dev/log";

/// What a line of the system's log begins with: from a program of a user (1 * 8), for debugging
/// (7).
const PRIORITY: u8 = 8 + 7;
/// Who says it.
const IDENT: &str = "ccache";
/// As long as a system's log that is busy is waited for. No build is to stand still for it.
const WAIT: Duration = Duration::from_millis(100);

/// Where the log lines of this process go.
#[derive(Debug, Default)]
pub struct Log {
    path: Option<PathBuf>,
    file: OnceCell<Option<File>>,
    system: Option<System>,
    /// The lines so far, where somebody wants them at the end.
    kept: Option<RefCell<String>>,
}

impl Log {
    /// A log at `path`, opened at its first line; no log for `None`.
    pub fn new(path: Option<PathBuf>) -> Log {
        Log { path, ..Log::default() }
    }

    /// The system's log, which listens at `socket`. Local time is `offset_secs` ahead of UTC.
    pub fn to_system(socket: &Path, offset_secs: i64) -> Log {
        Log { system: Some(System::new(socket, offset_secs)), ..Log::default() }
    }

    /// The same log, which also keeps its lines.
    pub fn keeping(mut self) -> Log {
        self.kept = Some(RefCell::default());
        self
    }

    /// Whether a line goes anywhere.
    pub fn is_heard(&self) -> bool {
        self.path.is_some() || self.system.is_some() || self.kept.is_some()
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
        if let Some(system) = &self.system {
            system.line(&text);
        }
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

/// The system's log: a datagram for each line, as RFC 3164 has it.
#[derive(Debug)]
struct System {
    path: PathBuf,
    offset_secs: i64,
    socket: OnceCell<Option<UnixDatagram>>,
    /// It has taken every line so far.
    listens: Cell<bool>,
}

impl System {
    fn new(path: &Path, offset_secs: i64) -> System {
        let (path, listens) = (path.to_owned(), Cell::new(true));
        System { path, offset_secs, socket: OnceCell::new(), listens }
    }

    fn line(&self, text: &str) {
        let open = || {
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_write_timeout(Some(WAIT)).ok()?;
            // Where nobody listens there is no log.
            socket.connect(&self.path).ok()?;
            Some(socket)
        };
        let Some(socket) = self.socket.get_or_init(open) else { return };
        if self.listens.get() {
            let line = told(clock_ns(), self.offset_secs, text);
            self.listens.set(socket.send(line.as_bytes()).is_ok());
        }
    }
}

/// `<15>Nov  2 01:29:24 ccache[123]: text`.
fn told(now_ns: u64, offset_secs: i64, text: &str) -> String {
    let secs = (now_ns / 1_000_000_000).cast_signed();
    let time = Time::of(secs.saturating_add(offset_secs));
    let Time { day, hour, minute, second, .. } = time;
    let (month, process) = (time.month_name(), std::process::id());
    let stamp = format!("{month} {day:>2} {hour:02}:{minute:02}:{second:02}");
    format!("<{PRIORITY}>{stamp} {IDENT}[{process}]: {text}")
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

    #[test]
    fn the_system_gets_a_datagram_for_each_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        let log = Log::to_system(&path, 0).keeping();
        log.line(format_args!("a\nb"));
        log.line(format_args!("c"));
        for text in ["a\\nb", "c"] {
            let mut bytes = [0; 200];
            let length = listener.recv(&mut bytes).unwrap();
            let line = std::str::from_utf8(&bytes[..length]).unwrap();
            let end = format!(" ccache[{}]: {text}", std::process::id());
            assert!(line.starts_with("<15>") && line.ends_with(&end), "{line}");
            assert_eq!(line.len(), "<15>Nov  2 01:29:24".len() + end.len(), "{line}");
        }
        assert_eq!(log.kept().unwrap().lines().count(), 2);
    }

    #[test]
    fn a_day_of_one_digit_has_a_blank_before_it_and_time_is_local() {
        let process = std::process::id();
        let secs = 1_772_413_164;
        let told = |offset| told(secs * 1_000_000_000 + 5, offset, "x");
        assert_eq!(told(0), format!("<15>Mar  2 00:59:24 ccache[{process}]: x"));
        assert_eq!(told(-3600), format!("<15>Mar  1 23:59:24 ccache[{process}]: x"));
    }

    /// The story: a socket that nobody reads has room for a few lines; the next one waited for
    /// ever, and so did the build.
    #[test]
    fn a_system_that_does_not_listen_is_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let many = |log: &Log| (0..5000).for_each(|_| log.line(format_args!("x")));
        many(&Log::to_system(&path, 0));
        let listener = UnixDatagram::bind(&path).unwrap();
        let log = Log::to_system(&path, 0);
        many(&log);
        assert!(!log.system.as_ref().unwrap().listens.get());
        drop(listener);
        many(&Log::to_system(&path, 0));
    }
}
