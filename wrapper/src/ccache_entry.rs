//! The files of ccache's own caches, from 4.0 on: results and manifests, and what they are called.
//!
//! 1. [`Entry::decode`] takes the container apart, checks its checksum and decompresses what it
//!    carries, within a bound. Nothing of an entry is used before that has succeeded.
//! 2. [`stored_files`] and [`Manifest::decode`] read what a result or a manifest says. Each count
//!    and length is checked against the bytes that are there before anything is made for it.
//! 3. [`recompress`] writes an entry anew at another level: the same header but for the fields that
//!    speak of the compression, the same contents, a new checksum.
//! 4. Names lie in [`name`]. What a file is, its first bytes decide; a name alone proves nothing.
//!
//! All numbers are big-endian. The layouts:
//!
//! - Since 4.7: `CC AC`, 1, kind, compression, level, self-contained, time, version, namespace,
//!   size; the contents; the XXH3-128 of all that, as it stands.
//! - Since 4.5: the same with 0, and without self-contained; the checksum is of the real contents,
//!   and is compressed with them; where it is zero there is none.
//! - Since 4.0: `cCrS` or `cCmF`, version, compression, level, size; the contents and the XXH3-64
//!   of header and real contents, compressed together.

mod container;
mod manifest;
pub mod name;
mod reader;
mod result;

use std::fmt;

pub use container::{Compression, Entry, Kind, Level, MAGIC_BYTES, has_magic, recompress};
pub use manifest::{Info, Manifest};
pub use result::{StoredFile, stored_files};

/// What is wrong with an entry, as a sentence without a full stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong(String);

impl Wrong {
    fn new(what: impl Into<String>) -> Wrong {
        Wrong(what.into())
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<larder_engine::Error> for Wrong {
    fn from(error: larder_engine::Error) -> Wrong {
        Wrong(error.to_string())
    }
}

/// Either what was asked for, or what is wrong.
type Checked<T> = std::result::Result<T, Wrong>;
