//! A tier of memcached: one server, or several that share the keys.
//!
//! 1. A body is an item under `PREFIX<64 digits>` of its key, on the server that the [`ring`] says.
//!    All that a call needs is on that one server.
//! 2. A body that is too large for an item is stored in pieces on the same server: the pieces
//!    first, then a head that says how to put them together ([`item`]). A get that misses a piece,
//!    or finds another, is a miss; so is an item that is none of ours.
//! 3. Connections are kept and reused, see [`kept`](super::kept). Commands for pieces are sent
//!    several at a time.
//! 4. One server of several that is in trouble is left alone for a while ([`health`]): its keys are
//!    misses, and what belongs there is not stored. The call that meets the trouble fails, and so
//!    does each put, but with an error that is not the whole tier's.
//! 5. Servers make room by themselves and count seconds of expiry up to thirty days; a longer time
//!    is sent as the moment when it ends, in seconds since 1970, by the clock of this machine.
//! 6. Of a server's errors none is repeated.
//!
//! No crate is used, for the reasons that [`redis`](super::redis) has: a deadline for all of a call,
//! and lengths that are looked at before anything is read.

mod health;
mod item;
mod objects;
mod ring;
mod wire;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use larder_engine::Key;

use super::address::{Address, Node};
use super::deadline::Deadline;
use super::incoming::{Broken, Incoming};
use super::kept::{Failed, Kept, io_error};
use super::link::Link;
use super::{Tier, TierError, TierErrorKind, TierSettings, Usage};
use health::Health;
use item::{HEAD, HEAD_BYTES, Head, MARKER_BYTES, PIECES_MAX, WHOLE};
use ring::Ring;
use wire::{Answer, BATCH};

/// Of a server's limit for an item, what key, header and ends of lines take: servers need some 60
/// bytes and the key.
const OVERHEAD_BYTES: u64 = 512;
/// Seconds of expiry above this are a moment, as servers see it.
const RELATIVE_SECONDS_MAX: u64 = 30 * 86_400;
/// A moment that servers of today can tell; a later one is never.
const MOMENT_MAX: u64 = i32::MAX as u64;

/// The client.
pub(super) struct MemcachedTier {
    prefix: String,
    bytes_max: u64,
    /// The most that an item may hold.
    value_bytes: usize,
    expire_seconds: Option<u64>,
    timeout: Duration,
    connect_timeout: Duration,
    servers: Vec<Server>,
    ring: Ring,
    health: Health,
    kept: Kept<Node>,
}

struct Server {
    node: Node,
    /// What errors call it.
    told: String,
}

/// Why a call over a connection has no result.
enum Stop {
    /// The connection is of no use any more.
    Broken(Broken),
    /// The server says so; all its answers were read.
    Refused(String),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Stop {
        Stop::Broken(broken)
    }
}

/// What stands under a key.
enum Entry {
    Whole(Vec<u8>),
    Split(Head),
    /// Something that larder has not stored.
    Foreign,
}

impl MemcachedTier {
    /// The client of a tier.
    ///
    /// # Errors
    /// If it is none of memcached.
    pub(super) fn new(settings: &TierSettings) -> Result<MemcachedTier, TierError> {
        let name = settings.display();
        let Address::Memcached { nodes } = &settings.address else {
            let text = format!("{name}: is no tier of memcached");
            return Err(TierError::new(TierErrorKind::Protocol, text));
        };
        let told = |node: &Node| match nodes.len() {
            1 => name.clone(),
            _ => format!("{name}: {}", node.display()),
        };
        let server = |node: &Node| Server { node: node.clone(), told: told(node) };
        let names: Vec<String> = nodes.iter().map(Node::display).collect();
        let value_bytes = settings.item_bytes.saturating_sub(OVERHEAD_BYTES);
        Ok(MemcachedTier {
            prefix: settings.prefix.clone(),
            bytes_max: settings.bytes_max,
            value_bytes: usize::try_from(value_bytes).unwrap_or(usize::MAX),
            expire_seconds: settings.expire_seconds,
            timeout: settings.timeout,
            connect_timeout: settings.connect_timeout,
            servers: nodes.iter().map(server).collect(),
            ring: Ring::new(&names),
            health: Health::new(nodes.len()),
            kept: Kept::new(),
        })
    }

    /// Makes a call to the server that has a key; `None` if that is left alone. The other text is
    /// what the key is called there.
    fn call<T>(
        &self,
        key: &Key,
        run: impl Fn(&mut Link, &str) -> Result<T, Stop>,
    ) -> Result<Option<T>, TierError> {
        let digits = key.to_string();
        let name = format!("{}{digits}", self.prefix);
        self.call_at(self.ring.owner(&digits), |link| run(link, &name))
    }

    /// Makes a call to a server; `None` if that is left alone.
    fn call_at<T>(
        &self,
        at: usize,
        run: impl Fn(&mut Link) -> Result<T, Stop>,
    ) -> Result<Option<T>, TierError> {
        if !self.health.may_call(at, Instant::now()) {
            return Ok(None);
        }
        let deadline = Deadline::after(self.timeout);
        let result = self.exchange(&self.servers[at], deadline, run);
        match result {
            Err(error) if error.is_of_the_tier() => {
                match self.health.note_trouble(at, Instant::now()) {
                    true => Err(TierError::new(TierErrorKind::PartUnreachable, error.to_string())),
                    false => Err(error),
                }
            }
            result => {
                self.health.note_answer(at);
                result.map(Some)
            }
        }
    }

    fn exchange<T>(
        &self,
        server: &Server,
        deadline: Deadline,
        run: impl Fn(&mut Link) -> Result<T, Stop>,
    ) -> Result<T, TierError> {
        let connect = || self.connect(server, deadline);
        let answered = self.kept.call(&server.node, deadline, connect, |link| match run(link) {
            Ok(value) => Ok(Ok(value)),
            Err(Stop::Refused(line)) => Ok(Err(line)),
            Err(Stop::Broken(broken)) => Err(broken),
        });
        match answered {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(line)) => Err(refused(&server.told, &line)),
            Err(Failed::Unconnected(error)) => Err(error),
            Err(Failed::Broken(broken)) => Err(broken.told(&server.told, self.bytes_max)),
        }
    }

    fn connect(&self, server: &Server, deadline: Deadline) -> Result<Link, TierError> {
        let opened = Link::open(&server.node, None, deadline.or_after(self.connect_timeout));
        opened.map_err(|error| io_error(&server.told, &error))
    }

    /// What there is under a key.
    fn entry(&self, link: &mut Link, name: &str) -> Result<Option<Entry>, Stop> {
        wire::send(link, format!("mg {name} v\r\n").as_bytes())?;
        let mut incoming = Incoming::new(link);
        let entry = match wire::answer(&mut incoming)? {
            Answer::Missing => None,
            Answer::Value(length) => Some(self.read_entry(&mut incoming, length)?),
            Answer::Refused(line) => return Err(Stop::Refused(line)),
            Answer::Done(_) => return Err(Broken::Garbage.into()),
        };
        if incoming.is_over() { Ok(entry) } else { Err(Broken::Garbage.into()) }
    }

    fn read_entry(&self, incoming: &mut Incoming<'_, Link>, length: u64) -> Result<Entry, Broken> {
        let Some(rest) = length.checked_sub(MARKER_BYTES as u64) else {
            wire::skip(incoming, length, length)?;
            return Ok(Entry::Foreign);
        };
        let mut marker = Vec::new();
        incoming.bytes(&mut marker, MARKER_BYTES)?;
        if marker == WHOLE {
            if rest > self.bytes_max {
                return Err(Broken::TooLarge(rest));
            }
            let mut body = Vec::new();
            let rest = usize::try_from(rest).map_err(|_| Broken::TooLarge(rest))?;
            incoming.value(&mut body, rest)?;
            return Ok(Entry::Whole(body));
        }
        if marker == HEAD && length == HEAD_BYTES as u64 {
            let mut head = Vec::new();
            incoming.value(&mut head, HEAD_BYTES - MARKER_BYTES)?;
            return Ok(Head::decode(&head).map_or(Entry::Foreign, Entry::Split));
        }
        wire::skip(incoming, rest, self.bytes_max)?;
        Ok(Entry::Foreign)
    }

    /// Puts the pieces of a body together; `None` if one of them is missing or another.
    fn join(&self, link: &mut Link, name: &str, head: &Head) -> Result<Option<Vec<u8>>, Stop> {
        if head.length > self.bytes_max {
            return Err(Broken::TooLarge(head.length).into());
        }
        let mut body = Vec::new();
        for batch in batches(head) {
            let mut packed = Vec::new();
            for n in batch.clone() {
                wire::pack(&mut packed, &format!("mg {} v", head.key_of(name, n)));
            }
            wire::send(link, &packed)?;
            let mut incoming = Incoming::new(link);
            let (mut is_whole, mut refused) = (true, None);
            for n in batch {
                match wire::answer(&mut incoming)? {
                    Answer::Value(length) if length == head.bytes_of(n) => {
                        let length =
                            usize::try_from(length).map_err(|_| Broken::TooLarge(length))?;
                        incoming.value(&mut body, length)?;
                    }
                    Answer::Value(length) => {
                        is_whole = false;
                        wire::skip(&mut incoming, length, self.bytes_max)?;
                    }
                    Answer::Missing => is_whole = false,
                    Answer::Refused(line) => refused = Some(line),
                    Answer::Done(_) => return Err(Broken::Garbage.into()),
                }
            }
            if !incoming.is_over() {
                return Err(Broken::Garbage.into());
            }
            if let Some(line) = refused {
                return Err(Stop::Refused(line));
            }
            if !is_whole {
                return Ok(None);
            }
        }
        Ok(Some(body).filter(|body| head.is_of(body)))
    }

    /// The head of a body that was split, and whether there is anything at all. Only what has the
    /// length of a head is fetched.
    fn head(&self, link: &mut Link, name: &str) -> Result<(bool, Option<Head>), Stop> {
        let size = match ask(link, &[format!("mg {name} s")])?.pop() {
            Some(Answer::Missing) => return Ok((false, None)),
            Some(Answer::Done(flags)) => flags,
            _ => return Err(Broken::Garbage.into()),
        };
        if size != format!("s{HEAD_BYTES}") {
            return Ok((true, None));
        }
        match self.entry(link, name)? {
            Some(Entry::Split(head)) => Ok((true, Some(head))),
            Some(Entry::Whole(_)) => Ok((true, None)),
            Some(Entry::Foreign) | None => Ok((false, None)),
        }
    }

    /// The flag for when an item is to expire.
    fn expiry(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        match self.expire_seconds {
            None => String::new(),
            Some(seconds) if seconds <= RELATIVE_SECONDS_MAX => format!(" T{seconds}"),
            Some(seconds) => match now.saturating_add(seconds) {
                moment @ ..=MOMENT_MAX => format!(" T{moment}"),
                _ => String::new(),
            },
        }
    }

    /// The error of a call that has to be made and was not.
    fn left_alone(&self, at: usize) -> TierError {
        let server = &self.servers[at];
        let text = format!("{}: is left alone after a failure", server.told);
        TierError::new(TierErrorKind::PartUnreachable, text)
    }
}

impl Tier for MemcachedTier {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError> {
        let body = self.call(key, |link, name| match self.entry(link, name)? {
            Some(Entry::Whole(body)) => Ok(Some(body)),
            Some(Entry::Split(head)) => self.join(link, name, &head),
            Some(Entry::Foreign) | None => Ok(None),
        })?;
        Ok(body.flatten())
    }

    /// All pieces are looked at, too: a writer that is told there is a body does not write it.
    fn exists(&self, key: &Key) -> Result<bool, TierError> {
        let found = self.call(key, |link, name| {
            let (is_there, head) = self.head(link, name)?;
            let Some(head) = head else { return Ok(is_there) };
            for batch in batches(&head) {
                let commands: Vec<String> =
                    batch.map(|n| format!("mg {}", head.key_of(name, n))).collect();
                if ask(link, &commands)?.contains(&Answer::Missing) {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        Ok(found.unwrap_or(false))
    }

    fn put(&self, key: &Key, body: &[u8]) -> Result<(), TierError> {
        let is_whole = body.len().saturating_add(MARKER_BYTES) <= self.value_bytes;
        let head = match is_whole {
            true => None,
            // The last bytes of an item are a piece's only: a piece has no marker.
            false => Some(Head::of(body, self.value_bytes.min(body.len())).ok_or_else(|| {
                let pieces = format!("a body would be more than {PIECES_MAX} pieces");
                let server = &self.servers[self.ring.owner(&key.to_string())];
                let text = format!("{}: {pieces}: item-bytes= is too small", server.told);
                TierError::new(TierErrorKind::TooLarge, text)
            })?),
        };
        let expiry = self.expiry();
        let stored = self.call(key, |link, name| {
            let Some(head) = &head else {
                return store(link, &[(name.to_owned(), [&WHOLE, body])], &expiry);
            };
            let mut pieces = body.chunks(self.value_bytes.max(1));
            for batch in batches(head) {
                let piece = |(n, piece)| (head.key_of(name, n), [piece, &[][..]]);
                let items: Vec<_> = batch.zip(&mut pieces).map(piece).collect();
                store(link, &items, &expiry)?;
            }
            store(link, &[(name.to_owned(), [&head.encode(), &[]])], &expiry)
        })?;
        stored.ok_or_else(|| self.left_alone(self.ring.owner(&key.to_string())))
    }

    fn remove(&self, key: &Key) -> Result<bool, TierError> {
        let removed = self.call(key, |link, name| {
            let (_, head) = self.head(link, name)?;
            // Without its head nobody looks for the pieces.
            let answers = ask(link, &[format!("md {name}")])?;
            for batch in head.iter().flat_map(batches) {
                let name = |n| head.as_ref().map(|head| format!("md {}", head.key_of(name, n)));
                ask(link, &batch.filter_map(name).collect::<Vec<_>>())?;
            }
            Ok(answers.iter().any(|answer| *answer != Answer::Missing))
        })?;
        removed.ok_or_else(|| self.left_alone(self.ring.owner(&key.to_string())))
    }

    /// What the servers that answer use together.
    fn usage(&self) -> Result<Usage, TierError> {
        let deadline = Deadline::after(self.timeout);
        let each: Vec<Result<_, TierError>> = (self.servers.iter().enumerate())
            .filter(|(at, _)| self.health.may_call(*at, Instant::now()))
            .map(|(at, server)| {
                // One that is silent must leave time for the others.
                let deadline = deadline.or_after(self.connect_timeout);
                let names = ["bytes", "limit_maxbytes"];
                let usage =
                    self.exchange(server, deadline, |link| Ok(wire::stats(link, names)?))?;
                self.health.note_answer(at);
                Ok(usage)
            })
            .collect();
        if let Some(Err(error)) = each.iter().find(|usage| usage.is_err())
            && each.iter().all(Result::is_err)
        {
            return Err(error.clone());
        }
        let each: Vec<_> = each.into_iter().filter_map(Result::ok).collect();
        Ok(Usage {
            used_bytes: each.iter().map(|[used, _]| *used).sum(),
            bytes_max: each.iter().map(|[_, most]| *most).sum(),
        })
    }
}

/// The numbers of the pieces, as many at a time as are sent together.
fn batches(head: &Head) -> impl Iterator<Item = std::ops::Range<u64>> {
    let count = head.count();
    (0..count).step_by(BATCH).map(move |n| n..count.min(n + BATCH as u64))
}

/// Sends commands and reads their answers, none of which is a value.
fn ask(link: &mut Link, commands: &[String]) -> Result<Vec<Answer>, Stop> {
    let mut packed = Vec::new();
    commands.iter().for_each(|command| wire::pack(&mut packed, command));
    wire::send(link, &packed)?;
    answers(link, commands.len())
}

/// Stores items, each of two parts.
fn store(link: &mut Link, items: &[(String, [&[u8]; 2])], expiry: &str) -> Result<(), Stop> {
    for (name, parts) in items {
        wire::send_value(link, name, *parts, expiry)?;
    }
    let is_done = |answer: &Answer| matches!(answer, Answer::Done(_));
    match answers(link, items.len())?.iter().all(is_done) {
        true => Ok(()),
        false => Err(Broken::Garbage.into()),
    }
}

/// Reads answers without values: all of them, also behind an error.
fn answers(link: &mut Link, count: usize) -> Result<Vec<Answer>, Stop> {
    let mut incoming = Incoming::new(link);
    let mut answers = Vec::with_capacity(count);
    for _ in 0..count {
        match wire::answer(&mut incoming)? {
            Answer::Value(_) => return Err(Broken::Garbage.into()),
            answer => answers.push(answer),
        }
    }
    if !incoming.is_over() {
        return Err(Broken::Garbage.into());
    }
    let refusal = answers.iter().find_map(|answer| match answer {
        Answer::Refused(line) => Some(line.clone()),
        _ => None,
    });
    refusal.map_or(Ok(answers), |line| Err(Stop::Refused(line)))
}

/// What an error of a server means.
fn refused(told: &str, line: &str) -> TierError {
    let (kind, text) = match line.split_once(' ') {
        Some(("SERVER_ERROR", "object too large for cache")) => {
            let text = "the server takes no item of this size: \
                        item-bytes= is above its limit (-I)";
            (TierErrorKind::TooLarge, text)
        }
        Some(("SERVER_ERROR", details)) if details.starts_with("out of memory") => {
            (TierErrorKind::Full, "the server has no room for an item of this size")
        }
        Some((_, wire::UNAUTHENTICATED)) => {
            (TierErrorKind::Denied, "the server asks for a password, and larder has none for it")
        }
        _ => (TierErrorKind::Unreachable, "the server says that it cannot serve"),
    };
    TierError::new(kind, format!("{told}: {text}"))
}
