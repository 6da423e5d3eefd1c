//! What a result says: a list of files, each in it or beside it.

use std::borrow::Cow;
use std::ops::Range;

use super::reader::Reader;
use super::{Checked, Entry, Kind, Wrong};

/// A file of a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredFile {
    /// The number of its type.
    pub kind: u8,
    /// Its length in bytes.
    pub bytes: u64,
    /// Where it stands in the contents; `None` if it is a file of its own beside the result.
    pub range: Option<Range<usize>>,
}

/// What comes behind the name of a file of each type when it is extracted.
const SUFFIXES: [&str; 14] = [
    "o",
    "d",
    "stderr",
    "gcno-unmangled",
    "su",
    "dia",
    "dwo",
    "gcno-mangled",
    "stdout",
    "al",
    "pch",
    "ci",
    "ipa-clones",
    "source-dependencies",
];

impl StoredFile {
    /// What comes behind the dot of its name when it is extracted.
    pub fn suffix(&self) -> Cow<'static, str> {
        match SUFFIXES.get(usize::from(self.kind)) {
            Some(suffix) => Cow::Borrowed(suffix),
            None => Cow::Owned(format!("type-{}", self.kind)),
        }
    }

    /// What it is called in a list: what is no file of a compile stands in brackets.
    pub fn label(&self) -> String {
        match &*self.suffix() {
            name @ ("stderr" | "stdout") => format!("<{name}>"),
            suffix => format!(".{suffix}"),
        }
    }
}

/// The version of the contents, and the files of a result.
///
/// # Errors
/// If the entry is no result, or does not hold what it counts.
pub fn stored_files(entry: &Entry) -> Checked<(u8, Vec<StoredFile>)> {
    if entry.kind != Kind::Result {
        return Err(Wrong::new("it is a manifest and holds no files"));
    }
    let mut reader = Reader::new(&entry.contents);
    let version = if entry.has_content_version() { reader.u8()? } else { entry.version };
    if entry.has_content_version() && version != 0 {
        return Err(Wrong::new(format!("version {version} of the result format is not known")));
    }
    let count = reader.u8()?;
    let mut files = Vec::new();
    for _ in 0..count {
        let marker = reader.u8()?;
        let kind = reader.u8()?;
        let bytes = reader.u64()?;
        let range = match marker {
            0 => {
                let start = reader.at();
                Some(start..start + reader.take(bytes)?.len())
            }
            1 => None,
            other => return Err(Wrong::new(format!("marker {other} of a file is not known"))),
        };
        files.push(StoredFile { kind, bytes, range });
    }
    reader.end()?;
    Ok((version, files))
}
