//! The objects of a server by their names, whatever wrote them: for what moves the caches of other
//! tools. A name is what stands behind the URL and `prefix`.
//!
//! 1. Values stand as they are, without a marker and in one piece, unlike bodies on memcached.
//! 2. A list comes page by page. How long a page is, how many there are, and how many names are
//!    limited; names that are no UTF-8 are passed by.
//! 3. On HTTP and S3 a name is a path. One with an empty part, `.` or `..` is passed by, because
//!    it would be another one in a URL.

use super::address::Address;
use super::http::HttpTier;
use super::memcached::MemcachedTier;
use super::redis::RedisTier;
use super::s3::S3Tier;
use super::{TierError, TierErrorKind, TierSettings};

/// Names in one list: some ten gigabytes of memory for who keeps them.
const NAMES_MAX: u64 = 100_000_000;
/// Pages of one list. Those of Redis may be empty, one for each 500 names of the server.
const PAGES_MAX: u64 = 10_000_000;

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
        match &self.address {
            Address::File { .. } => {
                let text = format!("{}: is a directory, not a server", self.display());
                Err(TierError::new(TierErrorKind::Denied, text))
            }
            Address::Redis { .. } | Address::RedisCluster { .. } | Address::RedisUnix { .. } => {
                Ok(Box::new(self.guarded(RedisTier::new(self)?)))
            }
            Address::Memcached { .. } => Ok(Box::new(self.guarded(MemcachedTier::new(self)?))),
            Address::Http { .. } => Ok(Box::new(self.guarded(HttpTier::new(self)?))),
            Address::S3 { .. } => Ok(Box::new(self.guarded(S3Tier::new(self)?))),
        }
    }
}

/// A list under way: it cuts the prefix off, and ends one that never would.
pub(super) struct Listing<'a> {
    tier: String,
    prefix: &'a str,
    see: &'a mut dyn FnMut(Object),
    names: u64,
    pages: u64,
}

impl<'a> Listing<'a> {
    /// That of a tier, which errors call so.
    pub(super) fn new(
        tier: String,
        prefix: &'a str,
        see: &'a mut dyn FnMut(Object),
    ) -> Listing<'a> {
        Listing { tier, prefix, see, names: 0, pages: 0 }
    }

    /// Notes that a page was asked for.
    ///
    /// # Errors
    /// If there are too many.
    pub(super) fn page(&mut self) -> Result<(), TierError> {
        self.pages += 1;
        if self.pages > PAGES_MAX { Err(self.endless()) } else { Ok(()) }
    }

    /// An object, by its name with the prefix. What has another one is none of ours.
    ///
    /// # Errors
    /// If there are too many.
    pub(super) fn see(&mut self, object: Object) -> Result<(), TierError> {
        self.names += 1;
        if self.names > NAMES_MAX {
            return Err(self.endless());
        }
        if let Some(name) = object.name.strip_prefix(self.prefix).filter(|name| !name.is_empty()) {
            (self.see)(Object { name: name.to_owned(), ..object });
        }
        Ok(())
    }

    fn endless(&self) -> TierError {
        let text = format!("{}: its list does not end", self.tier);
        TierError::new(TierErrorKind::Protocol, text)
    }
}

/// Whether a name is the same in a URL.
pub(super) fn is_path(name: &str) -> bool {
    !name.split('/').any(|part| matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_shows_what_has_the_prefix_and_cuts_it_off() {
        let mut seen = Vec::new();
        let mut see = |object: Object| seen.push(object.name);
        let mut listing = Listing::new("tier".to_owned(), "a/", &mut see);
        for name in ["a/b", "b", "a/", "aa/b", "a/a/b"] {
            listing.see(Object::named(name)).unwrap();
        }
        assert_eq!(seen, ["b", "a/b"]);
    }

    #[test]
    fn a_list_that_does_not_end_is_an_error() {
        let mut see = |_: Object| {};
        let mut listing = Listing::new("tier".to_owned(), "", &mut see);
        listing.pages = PAGES_MAX - 1;
        listing.page().unwrap();
        assert_eq!(listing.page().unwrap_err().kind(), TierErrorKind::Protocol);
        listing.names = NAMES_MAX;
        assert!(listing.see(Object::named("x")).is_err());
    }

    #[test]
    fn a_path_leads_nowhere_else() {
        for (name, expected) in
            [("a", true), ("a/..b", true), ("../a", false), ("a/./b", false), ("/a", false)]
        {
            assert_eq!(is_path(name), expected, "{name}");
        }
    }
}
