//! The tools that a compiler takes from the places that `-B` names.
//!
//! 1. The value is a prefix of names as well as a directory.
//! 2. gcc looks first in two directories below it: that of the machine and the version, as
//!    `x86_64-linux-gnu/12`, and that of the machine. Any name with a hyphen may be a machine's.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is taken from there, beside headers.
const TOOLS: [&str; 7] = ["as", "cc1", "cc1plus", "collect2", "lto-wrapper", "objcopy", "specs"];

/// The tools that stand there now.
pub(super) fn at(prefix: &OsStr, cwd: &Path) -> Vec<PathBuf> {
    let directory = Path::new(prefix);
    let machines = below(directory, cwd, |name| name.contains(&b'-'));
    let versions = machines.iter().flat_map(|machine| {
        below(machine, cwd, |name| name.first().is_some_and(u8::is_ascii_digit))
    });
    let mut directories: Vec<PathBuf> = versions.collect();
    directories.extend(machines);
    directories.push(directory.to_path_buf());
    let mut tools = Vec::new();
    for tool in TOOLS {
        let mut joined = prefix.to_owned();
        joined.push(tool);
        tools.push(PathBuf::from(joined));
        tools.extend(directories.iter().map(|directory| directory.join(tool)));
    }
    tools.retain(|tool| cwd.join(tool).is_file());
    tools
}

/// The directories of some names in a directory, in their order.
fn below(directory: &Path, cwd: &Path, is_one: fn(&[u8]) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(cwd.join(directory)) else { return Vec::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    let paths = names.filter(|name| is_one(name.as_bytes())).map(|name| directory.join(name));
    let mut directories: Vec<PathBuf> = paths.filter(|path| cwd.join(path).is_dir()).collect();
    directories.sort();
    directories
}
