//! The objects of memcached: its items, listed with `lru_crawler metadump`.
//!
//! 1. A value is one item, without a marker. One that is too large is refused by the server, whose
//!    limit may be another than `item-bytes`; nothing is stored then.
//! 2. The [`ring`](super::ring) says where a value is put, by its name without prefix. It is looked
//!    for there first, and then on the other servers: another tool's ring is another one.
//! 3. A server that cannot be asked is an error, never a miss.
//! 4. A list leaves out what the server is just moving about: as long as it has fewer names than
//!    the server has items, it is asked for again, at most [`DUMPS_MAX`] times in all. A connection
//!    that has brought a list is closed, as the server would take no command there at once.
//! 5. Names that are no keys of the text protocol are passed by.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use super::super::deadline::Deadline;
use super::super::incoming::{Broken, Incoming};
use super::super::link::Link;
use super::super::objects::Listing;
use super::super::{Object, Objects, TierError, TierErrorKind};
use super::wire::{self, Answer, Listed};
use super::{MemcachedTier, Server, Stop, ask, store};

/// Bytes of a key, as servers have it.
const KEY_BYTES_MAX: usize = 250;
/// Lists of one server.
const DUMPS_MAX: usize = 3;
/// Before the next one: what the server moves about is in its place by then.
const DUMP_PAUSE: Duration = Duration::from_millis(50);
/// While it gives a list to another client it has none for us. Each wait is as long as a pause.
const BUSY_MAX: usize = 100;
/// Lines that have to come within the time of a call.
const LINES: usize = 1000;

impl Objects for MemcachedTier {
    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, TierError> {
        self.first_of(name, |link, key| self.value(link, key))
    }

    fn exists(&self, name: &str) -> Result<bool, TierError> {
        let found = self.first_of(name, |link, key| {
            let is_there = !ask(link, &[format!("mg {key}")])?.contains(&Answer::Missing);
            Ok(is_there.then_some(()))
        })?;
        Ok(found.is_some())
    }

    fn put(&self, name: &str, value: &[u8]) -> Result<(), TierError> {
        let at = self.ring.owner(name);
        let told = &self.servers[at].told;
        let too_large = |what| TierError::new(TierErrorKind::TooLarge, format!("{told}: {what}"));
        let key = self.key_of(name).ok_or_else(|| too_large("the name is none for a key"))?;
        let expiry = self.expiry();
        let item = [(key, [value, &[]])];
        match self.call_at(at, |link| store(link, &item, &expiry)) {
            Ok(stored) => stored.ok_or_else(|| self.left_alone(at)),
            Err(error) if error.kind() == TierErrorKind::TooLarge => {
                Err(too_large("the server takes no item of this size (its -I)"))
            }
            Err(error) => Err(error),
        }
    }

    fn list(&self, see: &mut dyn FnMut(Object)) -> Result<(), TierError> {
        let name = self.servers.first().map_or_else(String::new, |server| server.told.clone());
        let mut listing = Listing::new(name, &self.prefix, see);
        self.servers.iter().try_for_each(|server| self.list_server(server, &mut listing))
    }
}

impl MemcachedTier {
    fn key_of(&self, name: &str) -> Option<String> {
        let key = format!("{}{name}", self.prefix);
        is_key(&key).then_some(key)
    }

    /// What a call finds on the first server that has it.
    fn first_of<T>(
        &self,
        name: &str,
        run: impl Fn(&mut Link, &str) -> Result<Option<T>, Stop>,
    ) -> Result<Option<T>, TierError> {
        let Some(key) = self.key_of(name) else { return Ok(None) };
        let owner = self.ring.owner(name);
        let others = (0..self.servers.len()).filter(|at| *at != owner);
        for at in [owner].into_iter().chain(others) {
            let found = self.call_at(at, |link| run(link, &key))?;
            if let Some(found) = found.ok_or_else(|| self.left_alone(at))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The value of an item, as it is.
    fn value(&self, link: &mut Link, key: &str) -> Result<Option<Vec<u8>>, Stop> {
        wire::send(link, format!("mg {key} v\r\n").as_bytes())?;
        let mut incoming = Incoming::new(link);
        let value = match wire::answer(&mut incoming)? {
            Answer::Missing => None,
            Answer::Value(length) => {
                let too_large = || Broken::TooLarge(length);
                let length = Some(length).filter(|length| *length <= self.bytes_max);
                let length = length.and_then(|length| usize::try_from(length).ok());
                let mut value = Vec::new();
                incoming.value(&mut value, length.ok_or_else(too_large)?)?;
                Some(value)
            }
            Answer::Refused(line) => return Err(Stop::Refused(line)),
            Answer::Done(_) => return Err(Broken::Garbage.into()),
        };
        if incoming.is_over() { Ok(value) } else { Err(Broken::Garbage.into()) }
    }

    fn list_server(&self, server: &Server, listing: &mut Listing<'_>) -> Result<(), TierError> {
        let mut seen = HashSet::new();
        let (mut dumps, mut busy) = (0, 0);
        loop {
            listing.page()?;
            match self.dump(server, &mut seen, listing)? {
                Listed::End => dumps += 1,
                Listed::Busy if busy < BUSY_MAX => busy += 1,
                Listed::Busy => {
                    let text = format!("{}: it gives its list to others all the time", server.told);
                    return Err(TierError::new(TierErrorKind::Unreachable, text));
                }
                _ => {
                    let text = format!(
                        "{}: it lists no items (lru_crawler metadump, from 1.4.31 on)",
                        server.told
                    );
                    return Err(TierError::new(TierErrorKind::Protocol, text));
                }
            }
            let deadline = Deadline::after(self.timeout);
            let stats = |link: &mut Link| Ok(wire::stats(link, ["curr_items"])?);
            let [items] = self.exchange(server, deadline, stats)?;
            let is_whole = dumps > 0 && items.is_none_or(|items| items <= seen.len() as u64);
            if is_whole || dumps == DUMPS_MAX {
                return Ok(());
            }
            thread::sleep(DUMP_PAUSE);
        }
    }

    /// Reads one list, and says how it ended.
    fn dump(
        &self,
        server: &Server,
        seen: &mut HashSet<String>,
        listing: &mut Listing<'_>,
    ) -> Result<Listed, TierError> {
        let broken = |broken: Broken| broken.told(&server.told, self.bytes_max);
        let mut link = self.connect(server, Deadline::after(self.timeout))?;
        link.set_deadline(Deadline::after(self.timeout));
        wire::send(&mut link, b"lru_crawler metadump all\r\n").map_err(broken)?;
        let mut incoming = Incoming::new(&mut link);
        for line in 1_usize.. {
            if line.is_multiple_of(LINES) {
                incoming.link().set_deadline(Deadline::after(self.timeout));
            }
            match wire::listed(&mut incoming).map_err(broken)? {
                Listed::Item { key: Some(key), bytes, used_secs } => {
                    if is_key(&key) && seen.insert(key.clone()) {
                        listing.see(Object { name: key, bytes, used_secs })?;
                    }
                }
                Listed::Item { key: None, .. } => {}
                end => return Ok(end),
            }
        }
        Ok(Listed::End)
    }
}

/// Whether a name can be said in the text protocol.
fn is_key(name: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}
