//! The compilers of a `PATH`, and what stands in front of them.
//!
//! 1. A name is a compiler's if a link of that name to larder would be one. Each place of it along
//!    `PATH` is looked at in order, so that it is told what comes before what.
//! 2. What a place leads to is told from the file behind its links: larder itself, another cache, a
//!    script, or a program.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::compiler::is_compiler_name;

/// A script that is longer is not read for what it starts.
const SCRIPT_BYTES_MAX: u64 = 64 << 10;

/// What stands at a place of `PATH`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// Larder, by a link or a copy.
    Larder,
    /// Another compiler cache, of this name.
    Cache(&'static str),
    /// A script, with its text.
    Script(String),
    /// A program.
    Program,
}

/// A place of a name along `PATH`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The name in its directory.
    pub path: PathBuf,
    /// The file behind all links.
    pub file: PathBuf,
    /// What that is.
    pub what: What,
}

/// The directories of a `PATH`, each once, in order. An empty entry is the working directory.
pub fn directories(path: &OsStr) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    for directory in env::split_paths(path) {
        let is_empty = directory.as_os_str().is_empty();
        let directory = if is_empty { PathBuf::from(".") } else { directory };
        if !all.contains(&directory) {
            all.push(directory);
        }
    }
    all
}

/// Every compiler name that is in `PATH`, with its places in order.
pub fn compilers(path: &OsStr) -> BTreeMap<OsString, Vec<Place>> {
    let own = own_file();
    let mut found: BTreeMap<OsString, Vec<Place>> = BTreeMap::new();
    for directory in directories(path) {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        let names = entries.flatten().map(|entry| entry.file_name());
        for name in names.filter(|name| is_compiler_name(name)) {
            if let Some(place) = place(directory.join(&name), own.as_ref()) {
                found.entry(name).or_default().push(place);
            }
        }
    }
    found
}

/// The places of one name, which need not be a compiler's.
pub fn places(name: &OsStr, path: &OsStr) -> Vec<Place> {
    let own = own_file();
    let paths = directories(path).into_iter().map(|directory| directory.join(name));
    paths.filter_map(|path| place(path, own.as_ref())).collect()
}

/// Device and number of the file that this process is.
fn own_file() -> Option<(u64, u64)> {
    let own = fs::metadata("/proc/self/exe").ok()?;
    Some((own.dev(), own.ino()))
}

fn place(path: PathBuf, own: Option<&(u64, u64)>) -> Option<Place> {
    let facts = fs::metadata(&path).ok()?;
    if !facts.is_file() || facts.mode() & 0o111 == 0 {
        return None;
    }
    let file = fs::canonicalize(&path).ok()?;
    let name = file.file_name().unwrap_or_default();
    let what = if own == Some(&(facts.dev(), facts.ino())) || name == "larder" {
        What::Larder
    } else if let Some(cache) = cache_name(name) {
        What::Cache(cache)
    } else {
        script(&file, facts.len()).map_or(What::Program, What::Script)
    };
    Some(Place { path, file, what })
}

/// The other compiler cache of a name, `ccache-4.10` included.
pub fn cache_name(name: &OsStr) -> Option<&'static str> {
    let name = name.to_str()?;
    ["ccache", "sccache"].into_iter().find(|cache| {
        let rest = name.strip_prefix(cache);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
    })
}

/// The text of a script.
fn script(file: &Path, bytes: u64) -> Option<String> {
    let mut start = [0; 2];
    let mut open = File::open(file).ok()?;
    open.read_exact(&mut start).ok()?;
    if &start != b"#!" || bytes > SCRIPT_BYTES_MAX {
        return None;
    }
    let mut rest = Vec::new();
    open.take(SCRIPT_BYTES_MAX).read_to_end(&mut rest).ok()?;
    Some(format!("#!{}", String::from_utf8_lossy(&rest)))
}

/// The compiler that a script hands to larder: the word behind larder's own in it.
pub fn handed_to_larder(script: &str) -> Option<String> {
    let code = script.lines().filter(|line| !line.trim_start().starts_with('#'));
    let text: Vec<&str> = code.collect();
    let text = text.join("\n");
    let breaks = |c: char| c.is_whitespace() || "\"';&|(){}".contains(c);
    let mut words = text.split(breaks).filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        if Path::new(word).file_name() == Some(OsStr::new("larder")) {
            return words.peek().map(|word| (*word).to_owned());
        }
    }
    None
}

/// How larder is called for good: the name that it was called by, if that is a path to it or found
/// in `PATH`, because the file behind it may go with the next version; else its file.
pub fn own_path() -> std::io::Result<PathBuf> {
    let own = env::current_exe()?;
    let called = PathBuf::from(env::args_os().next().unwrap_or_default());
    let has_own_name = called.file_name().is_some_and(|name| name == "larder");
    let path = env::var_os("PATH").unwrap_or_default();
    let found = match called.is_absolute() {
        true => Some(called),
        false => {
            let mut all = places(OsStr::new("larder"), &path).into_iter();
            all.find(|place| place.what == What::Larder).map(|place| place.path)
        }
    };
    let is_own = |path: &PathBuf| {
        let same = fs::metadata(path).ok().map(|facts| (facts.dev(), facts.ino()));
        path.is_absolute() && same.is_some() && same == own_file()
    };
    Ok(found.filter(|path| has_own_name && is_own(path)).unwrap_or(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_hands_to_larder_is_read_from_it() {
        for (script, wanted) in [
            ("#!/bin/sh\nexec larder gcc \"$@\"\n", Some("gcc")),
            ("#!/bin/sh\nexec /opt/larder \"$(basename $0)\"", Some("$")),
            ("#!/bin/sh\n\"/usr/bin/larder\" '/usr/bin/gcc' $@", Some("/usr/bin/gcc")),
            ("#!/bin/sh\n# exec larder gcc\nexec /usr/bin/gcc \"$@\"\n", None),
            ("#!/bin/sh\nexec ccache gcc \"$@\"\n", None),
            ("#!/bin/sh\nexec larder", None),
        ] {
            assert_eq!(handed_to_larder(script).as_deref(), wanted, "{script}");
        }
    }

    #[test]
    fn caches_are_known_by_name() {
        let of = |name: &str| cache_name(OsStr::new(name));
        assert_eq!((of("ccache"), of("ccache-4.10")), (Some("ccache"), Some("ccache")));
        assert_eq!((of("sccache"), of("ccachegrind"), of("gcc")), (Some("sccache"), None, None));
    }

    #[test]
    fn each_directory_of_a_path_counts_once() {
        let all = directories(OsStr::new("/a:/b::/a"));
        assert_eq!(all, [PathBuf::from("/a"), PathBuf::from("/b"), PathBuf::from(".")]);
    }
}
