//! Who holds a lock of a store.
//!
//! 1. The kernel names no process for the locks of open files, neither when it is asked nor in
//!    `/proc/locks`: whoever has the file open holds them. But `/proc/PID/fdinfo` lists the locks
//!    of each open file.
//! 2. Processes of other users and of other PID namespaces are not seen.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A process that holds a lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// What it is called.
    pub name: String,
    /// Whether it is stopped, by a signal or a debugger.
    pub is_stopped: bool,
}

impl Holder {
    /// It in words.
    pub fn words(&self) -> String {
        let stopped = if self.is_stopped { ", which is stopped" } else { "" };
        format!("process {} ({}){stopped}", self.pid, self.name)
    }
}

/// The processes that hold a byte of the file `lock`, as far as they can be seen.
pub fn holders(lock: &Path, byte: u64) -> Vec<Holder> {
    let Ok(file) = fs::metadata(lock) else { return Vec::new() };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut pids: Vec<u32> =
        names.filter_map(|name| name.to_str().and_then(|name| name.parse().ok())).collect();
    pids.sort_unstable();
    pids.into_iter().filter(|pid| holds(*pid, &file, byte)).filter_map(holder).collect()
}

/// Whether a process has the file open and holds the byte through that.
fn holds(pid: u32, file: &fs::Metadata, byte: u64) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return false };
    entries.flatten().any(|entry| {
        let number = entry.file_name();
        let is_locked = || fs::read_to_string(entry.path()).is_ok_and(|info| is_held(&info, byte));
        let is_file = || {
            let open = fs::metadata(Path::new(&format!("/proc/{pid}/fd")).join(&number));
            open.is_ok_and(|open| (open.dev(), open.ino()) == (file.dev(), file.ino()))
        };
        is_locked() && is_file()
    })
}

/// Whether a file's `fdinfo` has a lock on the byte: lines like
/// `lock: 1: OFDLCK  ADVISORY  WRITE -1 fe:01:1234 1 1`, the last two the first and last byte.
fn is_held(info: &str, byte: u64) -> bool {
    info.lines().filter(|line| line.starts_with("lock:")).any(|line| {
        let mut words = line.split_whitespace().rev();
        let last = match words.next() {
            Some("EOF") => Some(u64::MAX),
            word => word.and_then(|word| word.parse().ok()),
        };
        let first: Option<u64> = words.next().and_then(|word| word.parse().ok());
        first.zip(last).is_some_and(|(first, last)| (first..=last).contains(&byte))
    })
}

fn holder(pid: u32) -> Option<Holder> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let mut lines = status.lines();
        lines.find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
    };
    let is_stopped = field("State:").is_some_and(|state| state.starts_with(['T', 't']));
    Some(Holder { pid, name: field("Name:").unwrap_or_default(), is_stopped })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locks_of_an_open_file_are_read() {
        let info = "pos:\t0\nlock:\t1: OFDLCK  ADVISORY  WRITE -1 fe:01:12 1 1\n\
                    lock:\t2: OFDLCK  ADVISORY  READ -1 fe:01:12 3 EOF\n";
        let held: Vec<u64> = (0..6).filter(|byte| is_held(info, *byte)).collect();
        assert_eq!(held, [1, 3, 4, 5]);
        assert!(!is_held("pos:\t0\nino:\t1\n", 1) && !is_held("lock:\t1: 2\n", 2));
    }
}
