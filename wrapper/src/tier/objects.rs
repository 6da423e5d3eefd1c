//! The objects of a server by their names, whatever wrote them: for what moves the caches of other
//! tools. A name is what stands behind the URL and `prefix`.

use super::{TierError, TierErrorKind, TierSettings};

/// An object that a server has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// Its length in bytes, where the server tells it.
    pub bytes: Option<u64>,
    /// When it was last used or written, in seconds since 1970, where the server tells it.
    pub used_secs: Option<u64>,
}

impl Object {
    /// One of which only the name is known.
    pub fn named(name: &str) -> Object {
        Object { name: name.to_owned(), bytes: None, used_secs: None }
    }
}

/// A server's objects. What [`Tier`](super::Tier) promises of time, memory and credentials holds
/// here as well; a list takes as long as it takes, each of its requests as long as a call.
pub trait Objects: Send + Sync {
    /// The value of a name, or `None` if there is none.
    ///
    /// # Errors
    /// See [`Tier::get`](super::Tier::get).
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, TierError>;

    /// Whether there is a value.
    ///
    /// # Errors
    /// See [`Tier::exists`](super::Tier::exists).
    fn exists(&self, name: &str) -> Result<bool, TierError>;

    /// Stores a value, in place of what the name had.
    ///
    /// # Errors
    /// See [`Tier::put`](super::Tier::put).
    fn put(&self, name: &str, value: &[u8]) -> Result<(), TierError>;

    /// Lets `see` have every object whose name begins with the prefix of the settings; one may
    /// come twice.
    ///
    /// # Errors
    /// If the server cannot be asked, or cannot list.
    fn list(&self, see: &mut dyn FnMut(Object)) -> Result<(), TierError>;
}

impl TierSettings {
    /// The objects of this server.
    ///
    /// # Errors
    /// See [`TierSettings::open`]; `Denied` for a directory.
    pub fn open_objects(&self) -> Result<Box<dyn Objects>, TierError> {
        Err(TierError::new(TierErrorKind::Denied, format!("{}: not yet", self.display())))
    }
}
