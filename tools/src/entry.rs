//! What a cache holds, whatever holds it: entries with their names, and the files they consist of.
//!
//! 1. A [`Name`] is the entry's own one, of the tool that made it, without what a layout puts
//!    around it: no directories, no suffix, no prefix. Its text is checked by
//!    [`layout::leaf`](crate::layout::leaf) before a name is made, and consists of letters, digits
//!    and `-`, so no name can lead out of a directory.
//! 2. An entry is what a tool looks up and evicts as one: an object of ccache 3 with its `.d` and
//!    `.stderr`, a result of ccache 4 with the raw files beside it.
//! 3. The bytes of a [`Part`] are those of the file, compressed as they stand.

use std::fmt;

/// Which tool's names a name belongs to, and in which form it is written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// ccache since 4.13: 40 hexadecimal digits.
    Ccache,
    /// ccache 4.0 to 4.12: four hexadecimal digits and 29 of base 32.
    Ccache40,
    /// What ccache gave to its storage helper under a key that has not 20 bytes: two hexadecimal
    /// digits for each byte.
    CcacheKey,
    /// ccache 3: 32 hexadecimal digits, and most often `-` and a number.
    Ccache3,
    /// sccache: 64 hexadecimal digits.
    Sccache,
    /// What sccache keeps to avoid the preprocessor: 64 hexadecimal digits.
    SccachePreprocessor,
    /// larder's own records: 64 hexadecimal digits.
    Larder,
    /// Other files of a cache directory that belong to it: statistics, settings, tags. The text is
    /// the path.
    File,
}

impl Family {
    /// Every family.
    pub const ALL: [Family; 8] = [
        Family::Ccache,
        Family::Ccache40,
        Family::CcacheKey,
        Family::Ccache3,
        Family::Sccache,
        Family::SccachePreprocessor,
        Family::Larder,
        Family::File,
    ];

    /// What it is called, in reports and in the store.
    pub fn label(self) -> &'static str {
        match self {
            Family::Ccache => "ccache",
            Family::Ccache40 => "ccache-4.0",
            Family::CcacheKey => "ccache-key",
            Family::Ccache3 => "ccache-3",
            Family::Sccache => "sccache",
            Family::SccachePreprocessor => "sccache-preprocessor",
            Family::Larder => "larder",
            Family::File => "file",
        }
    }

    /// The family of a label.
    pub fn of_label(label: &str) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.label() == label)
    }

    /// Whether it is one of ccache's.
    pub fn is_of_ccache(self) -> bool {
        matches!(self, Family::Ccache | Family::Ccache40 | Family::Ccache3)
    }

    /// Whether it is one of sccache's.
    pub fn is_of_sccache(self) -> bool {
        matches!(self, Family::Sccache | Family::SccachePreprocessor)
    }
}

/// The name of an entry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Name {
    /// Whose it is.
    pub family: Family,
    /// Its text, as the family writes it.
    pub text: String,
}

impl Name {
    /// A name whose text has been checked.
    pub fn new(family: Family, text: impl Into<String>) -> Name {
        Name { family, text: text.into() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.family.label(), self.text)
    }
}

/// A moment, in seconds and nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time {
    /// Seconds; before 1970 below zero.
    pub secs: i64,
    /// Nanoseconds of the second.
    pub nanos: u32,
}

/// One file of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// What stands behind the entry's text in the file's name: nothing, `R`, `_00`, `.o`.
    pub label: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// When it was last modified, which is when it was last used: all caches here evict by that.
    /// `None` where the layout has no times.
    pub modified: Option<Time>,
    /// Permission bits; `None` where the layout has none.
    pub mode: Option<u16>,
}

/// An entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// How many directories stand above its files, each named by a digit of it; `None` where the
    /// layout has none.
    pub level: Option<u8>,
    /// Its files, in the order of their labels.
    pub parts: Vec<Part>,
}

impl Entry {
    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes.len() as u64).sum()
    }
}
