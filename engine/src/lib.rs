//! An embedded key-value store for build artifacts.
//!
//! Every value is one checksummed record of named sections in an append-only log of a few large
//! segment files, found through a copy-on-write index. See docs/ARCHITECTURE.md for the map of the
//! modules and docs/format.md for every byte on disk.

#![deny(missing_docs)]

pub mod checksum;
pub mod codec;
pub mod coding;
mod error;
pub mod format;
mod key;
pub mod limits;
mod location;
mod options;

pub use error::{Error, ErrorKind, Result};
pub use format::body::{Entry, Head, RecordKind, Section, SectionInfo, SectionKind};
pub use key::{KEY_BYTES, Key};
pub use options::{Options, ReadMode, RecordLayout};
