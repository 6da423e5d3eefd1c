//! The objects of Redis: its strings, listed with SCAN.
//!
//! 1. SCAN is asked for strings only. Servers before Redis 6 cannot tell types apart in it; they
//!    list every key, and what is no string has no value then.
//! 2. Each node of a cluster that has slots is asked for its own. SCAN shows what is there from
//!    beginning to end at least once, and what comes or goes meanwhile perhaps.

use super::super::deadline::Deadline;
use super::super::objects::Listing;
use super::super::{Object, Objects, TierError};
use super::wire::Reply;
use super::{Command, Place, RedisTier, Server, decimal};

/// Names that a server looks at for one reply: its other clients wait so long, less than a
/// millisecond. A reply has room for ten thousand names of a hundred bytes.
const LOOKED_AT: &[u8] = b"500";
/// Digits of a cursor.
const CURSOR_DIGITS_MAX: usize = 20;

impl Objects for RedisTier {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, TierError> {
        self.value(&self.key(name))
    }

    fn exists(&self, name: &str) -> Result<bool, TierError> {
        let key = self.key(name);
        self.count(&key, &[b"EXISTS", key.as_bytes()])
    }

    fn put(&self, name: &str, value: &[u8]) -> Result<(), TierError> {
        self.set(&self.key(name), value)
    }

    fn list(&self, see: &mut dyn FnMut(Object)) -> Result<(), TierError> {
        let mut listing = Listing::new(self.name.clone(), &self.prefix, see);
        match &self.place {
            Place::One(server) => self.scan(server, &mut listing),
            Place::Cluster(cluster) => {
                let servers = cluster.servers(self, Deadline::after(self.timeout))?;
                servers.iter().try_for_each(|server| self.scan(server, &mut listing))
            }
        }
    }
}

impl RedisTier {
    /// Lists what one server has.
    fn scan(&self, server: &Server, listing: &mut Listing<'_>) -> Result<(), TierError> {
        let pattern = pattern(&self.prefix);
        let (mut cursor, mut knows_types) = ("0".to_owned(), true);
        loop {
            listing.page()?;
            let mut words: Vec<&[u8]> = vec![b"SCAN", cursor.as_bytes()];
            words.extend([b"MATCH", pattern.as_bytes(), b"COUNT", LOOKED_AT]);
            if knows_types {
                words.extend([&b"TYPE"[..], b"string"]);
            }
            let deadline = Deadline::after(self.timeout);
            let reply = self.exchange(server, &[&Command::new(&words)], deadline)?;
            if reply.error_code() == Some("ERR") && knows_types {
                knows_types = false;
                continue;
            }
            let Reply::List(parts) = self.refuse_errors(reply)? else { return Err(self.odd()) };
            let Ok([Reply::Text(next), Reply::List(names)]) = <[Reply; 2]>::try_from(parts) else {
                return Err(self.odd());
            };
            for name in names {
                let Reply::Text(name) = name else { return Err(self.odd()) };
                if let Ok(name) = String::from_utf8(name) {
                    listing.see(Object::named(&name))?;
                }
            }
            cursor = String::from_utf8(next).map_err(|_| self.odd())?;
            if cursor.len() > CURSOR_DIGITS_MAX || decimal::<u64>(&cursor).is_none() {
                return Err(self.odd());
            }
            if cursor == "0" {
                return Ok(());
            }
        }
    }
}

/// What MATCH takes for everything that begins with a text.
fn pattern(prefix: &str) -> String {
    let mut pattern = String::new();
    for letter in prefix.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "*"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_what_the_prefix_says() {
        for (prefix, expected) in [("", "*"), ("a:", "a:*"), ("[a]*?\\", "\\[a\\]\\*\\?\\\\*")] {
            assert_eq!(pattern(prefix), expected);
        }
    }
}
