//! Remote tiers: places outside this machine that keep bodies by their keys.
//!
//! 1. A tier is told by a text, [`TierSettings`]: a URL and attributes. Reading one opens nothing
//!    and uses no dependency, so every program can do it.
//! 2. [`TierSettings::open`] makes the client for it (feature `agent`), and connects to nothing:
//!    the first call does.
//! 3. Every call blocks, may come from any thread, and is over when the time-out of its tier is,
//!    whatever the server does: says nothing, sends a byte a second, stops in the middle.
//! 4. What a peer claims reserves no memory: buffers grow with the bytes that have come, up to
//!    the limit of the tier.
//! 5. A tier stores what it is given and gives back what it has. Whether that is a body, and the
//!    right one, is for the caller to check.
//! 6. No credential stands in an error, in `Debug` or in what [`TierSettings::display`] says.

mod address;
mod settings;

#[cfg(feature = "agent")]
mod deadline;
#[cfg(feature = "agent")]
mod file;
#[cfg(feature = "agent")]
mod http;
#[cfg(feature = "agent")]
mod incoming;
#[cfg(feature = "agent")]
mod kept;
#[cfg(feature = "agent")]
mod link;
#[cfg(feature = "agent")]
mod lookup;
#[cfg(feature = "agent")]
mod memcached;
#[cfg(feature = "agent")]
mod objects;
#[cfg(feature = "agent")]
mod open;
#[cfg(feature = "agent")]
mod pages;
#[cfg(feature = "agent")]
mod redis;
#[cfg(feature = "agent")]
mod s3;
#[cfg(feature = "agent")]
mod socket;
#[cfg(feature = "agent")]
mod tls;
#[cfg(feature = "agent")]
mod web;

use std::fmt;

use larder_engine::Key;

#[cfg(feature = "agent")]
pub use objects::{Object, Objects};
pub use settings::{Signatures, TierSettings, parse_list};

/// A place that keeps bodies by their keys. See the module for what all of them promise.
pub trait Tier: Send + Sync {
    /// The body of a key, or `None` if the tier has none.
    ///
    /// # Errors
    /// `TooLarge` for a body above the tier's limit, which is not read; else if the tier cannot
    /// be asked.
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError>;

    /// Whether the tier has a body for a key. It is not fetched.
    ///
    /// # Errors
    /// If the tier cannot be asked.
    fn exists(&self, key: &Key) -> Result<bool, TierError>;

    /// Stores a body, in place of what the key had.
    ///
    /// # Errors
    /// `TooLarge` for a body above the tier's limit, which is not sent; `Denied` from a read-only
    /// tier; else if the tier does not take it.
    fn put(&self, key: &Key, body: &[u8]) -> Result<(), TierError>;

    /// Removes a key's body, and says whether there was one as far as the server tells.
    ///
    /// # Errors
    /// `Denied` from a read-only tier; else if the tier does not do it.
    fn remove(&self, key: &Key) -> Result<bool, TierError>;

    /// How much the tier holds, as far as its server says so.
    ///
    /// # Errors
    /// If the tier cannot be asked. What a server only keeps to itself is unknown instead.
    fn usage(&self) -> Result<Usage, TierError>;
}

/// How much a tier holds; `None` for what is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Bytes in use, with those of others on the same server.
    pub used_bytes: Option<u64>,
    /// The most that it may use; `None` also if it has no limit.
    pub bytes_max: Option<u64>,
}

/// What kind of failure a call met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TierErrorKind {
    /// The server cannot be reached, or says that it cannot serve now.
    Unreachable,
    /// One of several servers cannot be asked, the one that this key belongs to; others can.
    PartUnreachable,
    /// The time of the call was over.
    TimedOut,
    /// The credentials do not allow this; those for reading only do not allow to write.
    Denied,
    /// The tier has no room.
    Full,
    /// The body is above the limit of this tier. It was not sent, or not read.
    TooLarge,
    /// The server says what its protocol does not have, or ends in the middle of it.
    Protocol,
}

impl TierErrorKind {
    /// Whether the tier as a whole is in trouble, so that the next call will most likely fail as
    /// well. Else only this call failed.
    pub fn is_of_the_tier(self) -> bool {
        matches!(
            self,
            TierErrorKind::Unreachable | TierErrorKind::TimedOut | TierErrorKind::Protocol
        )
    }
}

/// A call that failed. Its text has no credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TierError {
    kind: TierErrorKind,
    text: String,
}

impl TierError {
    /// A failure of a kind, with a sentence that may be shown to anybody.
    pub fn new(kind: TierErrorKind, text: impl Into<String>) -> TierError {
        TierError { kind, text: text.into() }
    }

    /// The kind of failure.
    pub fn kind(&self) -> TierErrorKind {
        self.kind
    }

    /// Whether the tier as a whole is in trouble: see [`TierErrorKind::is_of_the_tier`].
    pub fn is_of_the_tier(&self) -> bool {
        self.kind.is_of_the_tier()
    }
}

impl fmt::Display for TierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for TierError {}
