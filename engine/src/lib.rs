//! An embedded key-value store for build artifacts.
//!
//! Every value is one checksummed record of named sections in an append-only log of a few large
//! segment files, found through a copy-on-write index. See docs/ARCHITECTURE.md for the map of the
//! modules and docs/format.md for every byte on disk.

#![deny(missing_docs)]

mod append;
pub mod checksum;
mod clones;
pub mod codec;
pub mod coding;
mod counters;
mod data;
pub mod env;
mod error;
mod eviction;
mod export;
mod follow;
pub mod format;
mod handle;
mod index;
mod janitor;
mod job;
mod jobs;
mod key;
pub mod limits;
mod location;
mod log;
mod lookup;
mod merging;
mod options;
mod recency;
mod record;
mod recovery;
mod reinsertion;
mod restore;
mod rolling;
pub mod sealed;
mod snapshot;
mod state;
mod store;
mod superblock;
mod transfer;
mod unpack;
mod verify;
mod window;

pub use append::{DropReason, Put};
pub use counters::{COUNT_MAX, Counters, ENGINE_COUNTERS_FROM, EngineCounter};
pub use data::{Data, Lent};
pub use error::{Error, ErrorKind, Result};
pub use export::{Export, Exported};
pub use follow::{LogPart, LogPosition};
pub use format::body::{Entry, Head, RecordKind, Section, SectionInfo, SectionKind};
pub use janitor::{Budget, Maintained, RepairStep, Repaired, Trim, Trimmed};
pub use jobs::JobInfo;
pub use key::{KEY_BYTES, Key};
pub use options::{Options, ReadMode, RecordLayout};
pub use record::Record;
pub use restore::{Restored, Uncloned};
pub use snapshot::Snapshot;
pub use state::State;
pub use store::{Stats, Store};
pub use unpack::Contents;
pub use verify::{Damage, DamageKind, Severity, VerifyReport};
