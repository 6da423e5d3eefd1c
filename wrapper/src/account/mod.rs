//! Accounts: what a call was that had no hit, so that `larder explain` can say why.
//!
//! 1. An account has the rows of the direct key as they were hashed, the key of the result, and
//!    what stood in the way of a hit. Which headers were read stands in the manifest, and nowhere
//!    else: an account leads there by its keys.
//! 2. The last accounts of a source stand in one record ([`history`]), which is stored together
//!    with the result. A hit writes nothing.
//! 3. The last calls of a user that were no hits, those that were not stored included, stand in a
//!    small file of the store ([`recent`]).
//! 4. Nothing is kept of the environment but what is in the key. Of a call that larder could not
//!    understand the words of its command line are kept, in the user's own file only.
//! 5. An account is bounded. What does not fit is cut: of a row its digest stays, so that a
//!    difference is still known, and the account says that it was cut.

mod coding;
pub mod compare;
pub mod history;
pub mod lines;
pub mod reading;
pub mod recent;

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use larder_engine::Key;

use crate::fingerprint::Row;

/// What stood in the way of a hit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Obstacle {
    /// Nothing is known of it.
    #[default]
    Unknown,
    /// `recache` was on.
    Recache,
    /// There was no manifest for the direct key.
    NoManifest,
    /// `direct_mode` was off, and the preprocessed text led to no result.
    NoText,
    /// No remembered state of the inputs was that of now. What was first in the way of the newest:
    NoVariant(Differs),
    /// The manifest led to this result, which was not in the store.
    ResultGone(Key),
    /// The result could not be used: this is why.
    Unusable(String),
}

/// What first told a remembered state of the inputs from that of now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Differs {
    /// A file: it had other contents, or could not be read.
    Input(PathBuf),
    /// What the time macros show.
    Moment,
    /// A name in this directory that was looked for in vain before.
    Absent(PathBuf),
    /// How messages look, or the directory that they show.
    Messages,
    /// A macro says what `__has_include` asks for, so no state can be relied on.
    Unsure,
}

/// A file of the compiler, and the start of its digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// Where it stands.
    pub path: PathBuf,
    /// The first eight bytes of its digest.
    pub digest: [u8; 8],
}

/// What there is to know of one call.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// When the call began, in nanoseconds since 1970: tells accounts apart.
    pub at_ns: u64,
    /// The counter that tells how it ended.
    pub outcome: u16,
    /// Why it was not cached or not stored, as a sentence; empty if it was stored.
    pub reason: String,
    /// What stood in the way of a hit.
    pub obstacle: Obstacle,
    /// The source by its absolute path; empty if none is known.
    pub source: PathBuf,
    /// The working directory.
    pub directory: PathBuf,
    /// The compiler.
    pub compiler: PathBuf,
    /// The direct key.
    pub direct: Option<Key>,
    /// The key of the result, if it was stored.
    pub result: Option<Key>,
    /// What the compiler took, in microseconds; 0 if that is not known.
    pub cost_us: u32,
    /// Hits that the store had counted until then.
    pub hits_before: u64,
    /// The rows of the direct key, without variables that were not set.
    pub rows: Vec<Row>,
    /// Names of rows that were too long: they have one field, the digest of what they had.
    pub cut_rows: Vec<String>,
    /// The files that the compiler consists of.
    pub parts: Vec<Part>,
    /// The command line of a call that has no rows.
    pub words: Vec<OsString>,
    /// Whether something was left out, because it was too long.
    pub is_cut: bool,
}

impl Account {
    /// The row of this name.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// Whether a row is kept as a digest only.
    pub fn is_cut_row(&self, name: &str) -> bool {
        self.cut_rows.iter().any(|cut| cut == name)
    }
}

/// The digest that stands for a row that was cut.
pub fn row_digest(row: &Row) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    for field in &row.fields {
        hasher.update(&(field.len() as u64).to_le_bytes()).update(field);
    }
    hasher.finalize().as_bytes()[..16].to_vec()
}

/// An absolute path without `.` and `..`, by its letters alone.
pub fn plain_path(directory: &Path, path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in directory.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_plain_without_a_look_at_the_disk() {
        let plain = |path: &str| plain_path(Path::new("/a/b"), Path::new(path));
        assert_eq!(plain("c.c"), Path::new("/a/b/c.c"));
        assert_eq!(plain("./../x/./c.c"), Path::new("/a/x/c.c"));
        assert_eq!(plain("../../../c.c"), Path::new("/c.c"));
        assert_eq!(plain("/d/c.c"), Path::new("/d/c.c"));
    }
}
