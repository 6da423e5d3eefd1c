//! Names that a compile looked for in vain: were a file there now, the result would be another one.
//!
//! 1. A [`Group`] says of one directory that certain names in it are no files. A name is a path
//!    below that directory, which was the deepest one there when the group was made.
//! 2. A group holds if the directory is missing, or if this state of it (device, inode, mtime,
//!    ctime) is marked in the digest cache's table: one stat.
//! 3. Else its names are asked for, one by one: the directory is never listed, because a build
//!    changes a directory that is searched with every object. Names below a directory that has
//!    appeared meanwhile are a group of that directory.
//! 4. A state is marked if nothing that decides lies elsewhere: no name leads through a link or
//!    into a directory that has appeared.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use larder_engine::checksum::xxh3_128;
use larder_engine::env::coarse_clock_ns;

use crate::digest::Digests;
use crate::files::Facts;

/// Names that are no files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// The directory that they are looked for in; empty for the working directory.
    pub directory: PathBuf,
    /// What stands before every name: a directory that was missing, with a slash, or nothing.
    pub prefix: Vec<u8>,
    /// The names.
    pub names: Vec<Vec<u8>>,
}

impl Group {
    /// What tells the set of names from others, in whichever order they stand.
    pub fn set(&self) -> u128 {
        set_of(&self.prefix, self.names.iter().map(Vec::as_slice))
    }
}

/// A sum, so that nobody has to sort the names. Each stands in it once.
fn set_of<'a>(prefix: &[u8], names: impl Iterator<Item = &'a [u8]>) -> u128 {
    let (mut sum, mut count) = (0u128, 0u64);
    for name in names {
        sum = sum.wrapping_add(xxh3_128(name));
        count += 1;
    }
    xxh3_128(&[&sum.to_le_bytes()[..], &count.to_le_bytes(), prefix].concat())
}

/// Whether the names of a group, given by its directory, [`Group::set`], and on demand by prefix
/// and names, are no files now. In doubt they are. `unit` is any number that stands for the source.
pub fn hold<'a>(
    digests: &Digests,
    unit: u64,
    directory: &Path,
    set: u128,
    names: impl FnOnce() -> Option<(&'a [u8], Vec<&'a [u8]>)>,
) -> bool {
    let opened_ns = coarse_clock_ns();
    let facts = match digests.directory(directory) {
        Ok(facts) if facts.is_directory => facts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
        _ => return false,
    };
    if digests.is_marked(unit, &facts, set) {
        return true;
    }
    let Some((prefix, mut names)) = names() else { return false };
    names.sort_unstable();
    let below = match prefix.strip_suffix(b"/") {
        Some(missing) => hold_below(digests, unit, directory, missing, &names),
        None => hold_in(digests, unit, directory, &names),
    };
    if below == Some(true) {
        digests.mark_absent(unit, directory, &facts, set, opened_ns);
    }
    below.is_some()
}

/// Whether sorted names are no files in a directory: `None` if one is, else whether only the state
/// of this directory decides.
fn hold_in(digests: &Digests, unit: u64, directory: &Path, names: &[&[u8]]) -> Option<bool> {
    let mut decides = true;
    let mut rest = names;
    while let [name, ..] = rest {
        let first = first_component(name);
        let count = rest.iter().take_while(|name| first_component(name) == first).count();
        let (same, others) = rest.split_at(count);
        rest = others;
        let path = directory.join(OsStr::from_bytes(first));
        let Some(found) = Found::at(&path)? else { continue };
        decides &= !found.is_link;
        let Some(facts) = found.facts else { continue };
        let below: Vec<&[u8]> = same
            .iter()
            .filter_map(|name| Some(trim_slashes(name.get(first.len() + 1..)?)))
            .filter(|name| !name.is_empty())
            .collect();
        // gcc finds a precompiled header also in a directory of that name.
        let is_precompiled = facts.is_directory && first.ends_with(b".gch");
        if !facts.is_directory || is_precompiled {
            if below.len() < same.len() {
                return None;
            }
        } else if !below.is_empty() {
            decides = false;
            let set = set_of(b"", below.iter().copied());
            if !hold(digests, unit, &path, set, || Some((b"", below))) {
                return None;
            }
        }
    }
    Some(decides)
}

/// As [`hold_in`] for names below a directory that was missing.
fn hold_below(
    digests: &Digests,
    unit: u64,
    directory: &Path,
    missing: &[u8],
    names: &[&[u8]],
) -> Option<bool> {
    let first = directory.join(OsStr::from_bytes(first_component(missing)));
    let Some(found) = Found::at(&first)? else { return Some(true) };
    if let Some(facts) = found.facts {
        // A file in the place of a directory that is searched is warned about.
        if !facts.is_directory {
            return None;
        }
        let path = directory.join(OsStr::from_bytes(missing));
        let set = set_of(b"", names.iter().copied());
        if !hold(digests, unit, &path, set, || Some((b"", names.to_vec()))) {
            return None;
        }
    }
    Some(false)
}

fn first_component(name: &[u8]) -> &[u8] {
    name.split(|byte| *byte == b'/').next().unwrap_or_default()
}

fn trim_slashes(name: &[u8]) -> &[u8] {
    let start = name.iter().take_while(|byte| **byte == b'/').count();
    &name[start..]
}

/// What stands at a path.
struct Found {
    is_link: bool,
    /// What a link leads to; `None` if to nothing.
    facts: Option<Facts>,
}

impl Found {
    /// `Some(None)` if there is nothing, `None` if that cannot be told.
    fn at(path: &Path) -> Option<Option<Found>> {
        let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        match Facts::of_link(path) {
            Ok((_, true)) => match Facts::at(path) {
                Ok(facts) => Some(Some(Found { is_link: true, facts: Some(facts) })),
                Err(error) => {
                    is_missing(&error).then_some(Some(Found { is_link: true, facts: None }))
                }
            },
            Ok((facts, false)) => Some(Some(Found { is_link: false, facts: Some(facts) })),
            Err(error) => is_missing(&error).then_some(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    struct House {
        root: tempfile::TempDir,
        digests: Digests,
    }

    impl House {
        fn new() -> House {
            let root = tempfile::tempdir().unwrap();
            let digests = Digests::open(Some(&root.path().join("digests")), |_| true);
            fs::create_dir(root.path().join("d")).unwrap();
            std::thread::sleep(Duration::from_millis(60));
            House { root, digests }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.root.path().join("d").join(name)
        }

        fn holds(&self, prefix: &str, names: &[&str]) -> bool {
            let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
            let set = set_of(prefix.as_bytes(), names.iter().copied());
            let names = || Some((prefix.as_bytes(), names));
            hold(&self.digests, 7, self.path("").as_path(), set, names)
        }

        /// Whether the state of the directory alone answers.
        fn is_marked(&self, names: &[&str]) -> bool {
            let facts = self.digests.directory(&self.path("")).unwrap();
            let set = set_of(b"", names.iter().map(|name| name.as_bytes()));
            self.digests.is_marked(7, &facts, set)
        }
    }

    #[test]
    fn a_set_is_its_names_in_any_order() {
        let set = |prefix: &str, names: &[&str]| {
            set_of(prefix.as_bytes(), names.iter().map(|name| name.as_bytes()))
        };
        assert_eq!(set("", &["a", "b", "c"]), set("", &["c", "a", "b"]));
        let sets = [set("", &[]), set("", &["a"]), set("", &["a", "b"]), set("", &["ab"])];
        let others = [set("p/", &["a"]), set("", &["b"]), set("", &["", "a"]), set("a", &[])];
        let all: std::collections::BTreeSet<u128> = sets.into_iter().chain(others).collect();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn a_state_without_the_names_is_marked_and_a_file_of_that_name_is_seen() {
        let house = House::new();
        let names = ["a.h", "sub/b.h", "sub/c.h"];
        assert!(!house.is_marked(&names));
        assert!(house.holds("", &names) && house.is_marked(&names));
        assert!(!house.is_marked(&["a.h"]));
        fs::write(house.path("other.o"), "").unwrap();
        assert!(!house.is_marked(&names) && house.holds("", &names));
        // Too young to be marked.
        assert!(!house.is_marked(&names));
        fs::create_dir(house.path("sub")).unwrap();
        std::thread::sleep(Duration::from_millis(60));
        assert!(house.holds("", &names) && !house.is_marked(&names));
        fs::write(house.path("sub/c.h"), "").unwrap();
        assert!(!house.holds("", &names));
        assert!(house.holds("", &["a.h", "sub/b.h"]));
        fs::write(house.path("a.h"), "").unwrap();
        assert!(!house.holds("", &["a.h"]));
    }

    #[test]
    fn a_name_behind_a_link_is_looked_for_each_time() {
        let house = House::new();
        symlink(house.root.path().join("far.h"), house.path("a.h")).unwrap();
        std::thread::sleep(Duration::from_millis(60));
        assert!(house.holds("", &["a.h"]) && !house.is_marked(&["a.h"]));
        fs::write(house.root.path().join("far.h"), "").unwrap();
        assert!(!house.holds("", &["a.h"]));
    }

    #[test]
    fn a_directory_is_no_file_and_hides_none() {
        let house = House::new();
        fs::create_dir(house.path("a.h")).unwrap();
        fs::write(house.path("b"), "").unwrap();
        std::thread::sleep(Duration::from_millis(60));
        let names = ["a.h", "b/c.h"];
        assert!(house.holds("", &names) && house.is_marked(&names));
        assert!(!house.holds("", &["b"]));
    }

    #[test]
    fn a_missing_directory_may_appear_without_the_names() {
        let house = House::new();
        assert!(house.holds("new/sub/", &["a.h"]));
        fs::create_dir_all(house.path("new/sub")).unwrap();
        assert!(house.holds("new/sub/", &["a.h"]));
        fs::write(house.path("new/sub/a.h"), "").unwrap();
        assert!(!house.holds("new/sub/", &["a.h"]));
        fs::remove_dir_all(house.path("new")).unwrap();
        assert!(house.holds("new/sub/", &["a.h"]));
        fs::write(house.path("new"), "").unwrap();
        assert!(!house.holds("new/sub/", &["a.h"]));
        fs::remove_dir_all(house.path("")).unwrap();
        assert!(house.holds("new/sub/", &["a.h"]));
    }

    #[test]
    fn another_directory_in_the_same_place_is_asked_anew() {
        let house = House::new();
        assert!(house.holds("", &["a.h"]) && house.is_marked(&["a.h"]));
        fs::rename(house.path(""), house.root.path().join("old")).unwrap();
        fs::create_dir(house.path("")).unwrap();
        fs::write(house.path("a.h"), "").unwrap();
        assert!(!house.holds("", &["a.h"]));
    }
}
