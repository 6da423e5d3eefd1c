//! Where entries come from and go to: directories, stores, files and servers.
//!
//! 1. A [`Source`] lists its items in shards, each in the order in which it is read best, and then
//!    reads them, from several threads at once. What changes meanwhile is read as it is then, or is
//!    gone; no tool is kept from its work.
//! 2. A [`Target`] takes entries in batches, from several threads at once, and each entry whole or
//!    not at all: whoever reads the target meanwhile, or after a kill, sees no half of one.
//! 3. What concerns one entry is a [`Trouble`] and ends nothing; a [`Fault`] ends the work, also
//!    one that is met while an entry is read.

pub mod directory;
pub mod lmdb;
pub mod open;
pub mod remote;
pub mod room;
pub mod store;
pub mod tar;

use std::fmt;

use crate::entry::{Entry, Name, Time};
use crate::layout::check::Said;
use crate::layout::wrong::Wrong;

/// Why the work as a whole cannot go on: a sentence that says what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<larder_engine::Error> for Fault {
    fn from(error: larder_engine::Error) -> Fault {
        Fault(larder::cli::command::words(&error))
    }
}

/// A fault with these words.
pub fn fault<T>(what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault(what.into()))
}

/// Why one entry stays behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// It was removed while the work went on.
    Gone,
    /// It is a piece of another entry, which brings it along.
    Passing,
    /// It is damaged, cut short, or something else than it says.
    Damaged(String),
    /// It has more bytes than are read, or than the target takes.
    TooLarge(String),
    /// The target has no place for what it is; always the same words for the same reason.
    NoPlace(&'static str),
    /// It could not be read or written.
    Failed(String),
    /// The place where it is cannot be asked any more: this ends the work.
    Lost(Fault),
}

impl From<Wrong> for Trouble {
    fn from(wrong: Wrong) -> Trouble {
        Trouble::Damaged(wrong.0)
    }
}

impl From<larder_engine::Error> for Trouble {
    fn from(error: larder_engine::Error) -> Trouble {
        match error.is_corrupt() {
            true => Trouble::Damaged(error.to_string()),
            false => Trouble::Failed(error.to_string()),
        }
    }
}

/// An entry that a source has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Its name.
    pub name: Name,
    /// How many directories stand above its files.
    pub level: Option<u8>,
    /// Its parts, by what they are called; none where that is not known before it is read.
    pub labels: Vec<String>,
    /// Where the source finds it, in its own terms.
    pub at: u64,
    /// What the source calls it, where that does not follow from the name.
    pub place: String,
}

/// What can be known of an entry without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp {
    /// Bytes of all its parts.
    pub bytes: u64,
    /// When it was last used.
    pub modified: Option<Time>,
}

/// What a listing met besides items.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listed {
    /// The items, in the order in which they are read best.
    pub items: Vec<Item>,
    /// Files that are none of a cache: counted, and the first few named.
    pub strangers: Vec<String>,
    /// Temporary files and locks.
    pub passing: u64,
    /// Items that could not be looked at.
    pub troubles: Vec<(String, Trouble)>,
}

/// Where entries come from.
pub trait Source: Sync {
    /// What it is, for people: "a ccache directory".
    fn kind(&self) -> &'static str;

    /// Parts that can be listed on their own; about equally large, at least one.
    fn shards(&self) -> usize {
        1
    }

    /// The items of a shard.
    ///
    /// # Errors
    /// If the source as a whole cannot be read.
    fn list(&self, shard: usize) -> Result<Listed, Fault>;

    /// Has items brought into memory that will be read soon.
    fn prefetch(&self, _items: &[Item]) {}

    /// What can be told of an item without reading it, where that is cheap.
    fn stamp(&self, _item: &Item) -> Option<Stamp> {
        None
    }

    /// The entry of an item; its bytes are not checked yet.
    ///
    /// # Errors
    /// If it cannot be had.
    fn read(&self, item: &Item) -> Result<Entry, Trouble>;
}

/// Whether a target has an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// It has none of that name.
    Absent,
    /// It has one of that name, and as far as can be told the same.
    Same,
    /// It has another one of that name.
    Other,
}

/// An entry that is to be written, and what it says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// The entry.
    pub entry: Entry,
    /// What it says.
    pub said: Said,
}

/// What there is to say when everything is written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Finished {
    /// What could not be added; the entries are there all the same.
    pub troubles: Vec<(String, Trouble)>,
    /// What there is to know, in sentences.
    pub notes: Vec<String>,
}

/// Where entries go to.
pub trait Target: Sync {
    /// Whether entries have to come in the order of the listing.
    fn is_ordered(&self) -> bool {
        false
    }

    /// Whether it has an item already; what the source tells of it, `stamp` says, where that is
    /// asked for.
    ///
    /// # Errors
    /// If the target cannot be asked.
    fn has(&self, item: &Item, stamp: &dyn Fn() -> Option<Stamp>) -> Result<Presence, Fault>;

    /// Writes entries, and says of each whether that was done.
    ///
    /// # Errors
    /// If the target as a whole cannot be written.
    fn write(&self, batch: &[Outgoing]) -> Result<Vec<Result<(), Trouble>>, Fault>;

    /// How often the target made room since it was opened, so that what was written may be gone.
    fn evicted_segments(&self) -> u64 {
        0
    }

    /// Makes what was written complete; nothing is written behind this.
    ///
    /// # Errors
    /// If that cannot be done.
    fn finish(&self) -> Result<Finished, Fault> {
        Ok(Finished::default())
    }
}
