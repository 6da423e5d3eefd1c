//! A directory in which names are looked for.
//!
//! Most names are looked for in vain: each header of the system in each directory before it. Where
//! [`TRIES`] of them were, the directory is listed once, and what it does not list is not there.
//! That is for misses only: a hit asks for single names, see `absent`.
//!
//! 1. Listed are at most [`ENTRIES_MAX`] entries; a larger directory is asked name by name.
//! 2. Only the first part of a name counts, without regard to its case: some directories find names
//!    that way, and for the same reason entries and names beyond ASCII are asked for. One that is
//!    listed is asked for, too.
//! 3. Only on file systems that list all that they find.

use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use larder_engine::checksum::xxh3_64;
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};

use crate::digest::Digests;
use crate::files::Facts;
use crate::maps::Set;

/// So many stats cost about what a list costs.
const TRIES: u32 = 6;

/// A list of more entries than this costs more than the stats of a large unit.
const ENTRIES_MAX: usize = 1024;

/// The kernel tells of some two hundred entries at once.
const LIST_BYTES: usize = 8 << 10;

/// A directory, and what is known of it.
pub(super) struct Searched {
    pub(super) path: PathBuf,
    /// As it was before anything was looked for; `None` if it is missing.
    pub(super) facts: Option<Facts>,
    /// What is found here is an input.
    pub(super) is_input: bool,
    /// The place that is the same directory under another name.
    pub(super) double: Option<usize>,
    /// (index of the place where the name was found, index of the name)
    pub(super) absent: Vec<(usize, u32)>,
    pub(super) listing: Listing,
}

impl Searched {
    pub(super) fn new(path: &Path, facts: Option<Facts>) -> Searched {
        Searched {
            path: path.to_path_buf(),
            facts,
            is_input: false,
            double: None,
            absent: Vec::new(),
            listing: Listing::default(),
        }
    }

    /// Whether nothing can stand here under this name. In doubt it can.
    pub(super) fn lacks(&mut self, name: &[u8], digests: &Digests) -> bool {
        let Some(facts) = self.facts else { return false };
        self.listing.lacks(name, (&self.path, facts.device), digests)
    }
}

/// What a directory holds, once it is worth knowing.
#[derive(Default)]
pub(super) struct Listing {
    /// How many names were looked for in vain.
    in_vain: u32,
    entries: Entries,
}

/// What was made of a list.
#[derive(Default)]
enum Entries {
    #[default]
    Untried,
    Unusable,
    /// XXH3-64 of the entries in small letters.
    Are(Set<u64>),
}

impl Listing {
    /// Notes that a name was not found by asking for it.
    pub(super) fn note_absence(&mut self) {
        self.in_vain += 1;
    }

    /// Whether nothing can stand in the directory under this name. In doubt it can.
    pub(super) fn lacks(
        &mut self,
        name: &[u8],
        (directory, device): (&Path, u64),
        digests: &Digests,
    ) -> bool {
        if self.in_vain < TRIES {
            return false;
        }
        if matches!(self.entries, Entries::Untried) {
            let at = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            let entries = if digests.is_trusted(at, device) { list(at) } else { None };
            self.entries = entries.map_or(Entries::Unusable, Entries::Are);
        }
        let Entries::Are(entries) = &self.entries else { return false };
        let first = name.split(|byte| *byte == b'/').next().unwrap_or_default();
        let is_plain = first.is_ascii() && !matches!(first, b"" | b"." | b"..");
        is_plain && !entries.contains(&folded(first))
    }
}

/// The entries of a directory; `None` if they do not tell what is missing.
fn list(directory: &Path) -> Option<Set<u64>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = openat(CWD, directory, flags, Mode::empty()).ok()?;
    let mut buffer = [MaybeUninit::uninit(); LIST_BYTES];
    let mut listed = RawDir::new(handle, &mut buffer);
    let mut entries = Set::default();
    while let Some(entry) = listed.next() {
        let entry = entry.ok()?;
        let name = entry.file_name().to_bytes();
        if !name.is_ascii() || entries.len() >= ENTRIES_MAX {
            return None;
        }
        if !matches!(name, b"." | b"..") {
            entries.insert(folded(name));
        }
    }
    Some(entries)
}

fn folded(name: &[u8]) -> u64 {
    xxh3_64(&name.to_ascii_lowercase(), 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct House {
        root: tempfile::TempDir,
        digests: Digests,
    }

    impl House {
        fn new() -> House {
            House { root: tempfile::tempdir().unwrap(), digests: Digests::open(None, |_| true) }
        }

        fn add(&self, name: &str) {
            fs::write(self.root.path().join(name), "").unwrap();
        }

        fn lacks(&self, names: &[&str], in_vain: u32) -> Vec<bool> {
            let facts = Facts::at(self.root.path()).ok();
            let mut searched = Searched::new(self.root.path(), facts);
            (0..in_vain).for_each(|_| searched.listing.note_absence());
            names.iter().map(|name| searched.lacks(name.as_bytes(), &self.digests)).collect()
        }
    }

    #[test]
    fn what_is_not_listed_is_not_there() {
        let house = House::new();
        ["a.h", "sub", "Upper.h"].iter().for_each(|name| house.add(name));
        let names =
            ["a.h", "A.H", "upper.h", "sub/b.h", "b.h", "sup/a.h", "./b.h", "../b.h", "é.h"];
        let expected = [false, false, false, false, true, true, false, false, false];
        assert_eq!(house.lacks(&names, TRIES), expected);
        assert_eq!(house.lacks(&names, TRIES - 1), [false; 9]);
    }

    #[test]
    fn a_list_that_may_not_be_whole_tells_nothing() {
        let house = House::new();
        assert_eq!(house.lacks(&["k.h"], TRIES), [true]);
        // The kelvin sign, which is a k in some directories.
        house.add("\u{212A}.h");
        assert_eq!(house.lacks(&["k.h"], TRIES), [false]);
        let house = House::new();
        (0..ENTRIES_MAX).for_each(|number| house.add(&number.to_string()));
        assert_eq!(house.lacks(&["a.h"], TRIES), [true]);
        house.add("one more");
        assert_eq!(house.lacks(&["a.h"], TRIES), [false]);
        // The kernel's processes are found without being listed by the same rules.
        let mut kernel = Searched::new(Path::new("/proc"), Facts::at(Path::new("/proc")).ok());
        (0..TRIES).for_each(|_| kernel.listing.note_absence());
        assert!(!kernel.lacks(b"a.h", &house.digests));
    }
}
