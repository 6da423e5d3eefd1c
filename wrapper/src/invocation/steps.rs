//! The directories on the way to names, each asked for once.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::searched::Listing;
use crate::digest::Digests;
use crate::files::Facts;
use crate::maps::Map;

/// What stands on the way to a name.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// As it was before anything below was looked for.
    Directory(Facts),
    Missing,
    Other,
}

/// What is known of them.
#[derive(Default)]
pub(super) struct Steps {
    known: Map<Vec<u8>, Known>,
}

struct Known {
    way: Way,
    listing: Listing,
}

impl Steps {
    /// What stands at `path`.
    pub(super) fn at(&mut self, path: &OsStr) -> Way {
        if let Some(known) = self.known.get(path.as_bytes()) {
            return known.way;
        }
        let way = match Facts::of_link(Path::new(path)) {
            Ok((facts, is_link)) => {
                let target = if is_link { Facts::at(Path::new(path)).ok() } else { Some(facts) };
                target.filter(|facts| facts.is_directory).map_or(Way::Other, Way::Directory)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Way::Missing,
            Err(_) => Way::Other,
        };
        self.insert(path, way);
        way
    }

    /// What stands at `path`, if that was asked for.
    pub(super) fn get(&self, path: &OsStr) -> Option<Way> {
        Some(self.known.get(path.as_bytes())?.way)
    }

    /// Notes what stands at `path`.
    pub(super) fn insert(&mut self, path: &OsStr, way: Way) {
        let listing = Listing::default();
        self.known.insert(path.as_bytes().to_vec(), Known { way, listing });
    }

    /// Whether nothing can stand under this name in a directory that was asked for.
    pub(super) fn lacks(&mut self, directory: &OsStr, name: &[u8], digests: &Digests) -> bool {
        let Some(known) = self.known.get_mut(directory.as_bytes()) else { return false };
        let Way::Directory(facts) = known.way else { return false };
        known.listing.lacks(name, (Path::new(directory), facts.device), digests)
    }

    /// Notes that a name was not found in a directory by asking for it.
    pub(super) fn note_absence(&mut self, directory: &OsStr) {
        if let Some(known) = self.known.get_mut(directory.as_bytes()) {
            known.listing.note_absence();
        }
    }
}
