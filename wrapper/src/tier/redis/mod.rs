//! A tier of Redis: one server or a cluster.
//!
//! 1. A body is a string under `PREFIX<64 digits>` of its key.
//! 2. A call is one command and its reply: GET, EXISTS, SET or DEL; no check goes before it. A new
//!    connection says AUTH and SELECT first, where there is something to say. A cluster is asked
//!    once for its slots.
//! 3. Connections are kept and reused, see [`kept`](super::kept).
//! 4. A value above the limit is known by the length before it. It is not read: the connection is
//!    closed, and the next call opens another. That costs nobody anything who meets no such value,
//!    where asking for the length first would cost everybody a round trip.
//! 5. What holds another type than a string is a miss: a put replaces it.
//! 6. Of a server's errors only the code is repeated. The rest may have words of the command.
//!
//! The crate `redis` is not used. Its time-outs are for one read each, so that a byte a second
//! holds a call up for ever; it reads a string whatever its length; its cluster says PING to every
//! node, to a new one before that has any time-out; and it switches on the look at the processor
//! that the build of `memchr` avoids for each hit.

mod cluster;
mod objects;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use larder_engine::Key;
use rustls::ClientConfig;

use super::address::{Address, Node, decimal};
use super::deadline::Deadline;
use super::incoming::Broken;
use super::kept::{Failed, Kept, io_error};
use super::link::Link;
use super::open::reveal;
use super::tls;
use super::{Tier, TierError, TierErrorKind, TierSettings, Usage};
use cluster::Cluster;
use wire::Reply;

/// Text that a server says of itself.
const INFO_BYTES_MAX: u64 = 1 << 20;

/// The client.
pub(super) struct RedisTier {
    name: String,
    prefix: String,
    bytes_max: u64,
    expire_seconds: Option<String>,
    timeout: Duration,
    connect_timeout: Duration,
    login: Login,
    tls: Option<Arc<ClientConfig>>,
    place: Place,
    kept: Kept<Server>,
}

/// What a new connection says first.
struct Login {
    user: Option<String>,
    password: Option<String>,
    database: u32,
}

enum Place {
    One(Server),
    Cluster(Cluster),
}

/// Where one server is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Server {
    Node(Node),
    Unix(PathBuf),
}

/// A command: its words, then one that may be large, then further ones.
struct Command<'a> {
    words: &'a [&'a [u8]],
    large: Option<&'a [u8]>,
    options: &'a [&'a [u8]],
    /// The largest string that its reply may be.
    reply_bytes_max: u64,
}

impl RedisTier {
    /// The client of a tier.
    ///
    /// # Errors
    /// If a file that the settings name cannot be used.
    pub(super) fn new(settings: &TierSettings) -> Result<RedisTier, TierError> {
        let name = settings.display();
        let (place, database) = match &settings.address {
            Address::RedisCluster { nodes, .. } => (Place::Cluster(Cluster::new(nodes)), 0),
            Address::RedisUnix { path, database } => {
                (Place::One(Server::Unix(path.clone())), *database)
            }
            Address::Redis { node, database, .. } => {
                (Place::One(Server::Node(node.clone())), *database)
            }
            _ => {
                let text = format!("{name}: is no tier of Redis");
                return Err(TierError::new(TierErrorKind::Protocol, text));
            }
        };
        let is_tls = settings.address.is_tls();
        let tls = is_tls.then(|| tls::client(&name, settings.ca_file.as_ref())).transpose()?;
        let password =
            settings.password.as_ref().map(|secret| reveal(&name, secret)).transpose()?;
        Ok(RedisTier {
            prefix: settings.prefix.clone(),
            bytes_max: settings.bytes_max,
            expire_seconds: settings.expire_seconds.map(|seconds| seconds.to_string()),
            timeout: settings.timeout,
            connect_timeout: settings.connect_timeout,
            login: Login { user: settings.user.clone(), password, database },
            tls,
            place,
            kept: Kept::new(),
            name,
        })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Sends a command to the server that has the key, and returns its reply.
    fn reply(&self, key: &str, command: &Command<'_>) -> Result<Reply, TierError> {
        let deadline = Deadline::after(self.timeout);
        match &self.place {
            Place::One(server) => self.exchange(server, &[command], deadline),
            Place::Cluster(cluster) => cluster.exchange(self, key, command, deadline),
        }
    }

    /// The same, and the reply is no error.
    fn call(&self, key: &str, command: &Command<'_>) -> Result<Reply, TierError> {
        self.refuse_errors(self.reply(key, command)?)
    }

    /// Sends commands to one server, one after the other, and returns the last reply.
    fn exchange(
        &self,
        server: &Server,
        commands: &[&Command<'_>],
        deadline: Deadline,
    ) -> Result<Reply, TierError> {
        let connect = || self.connect(server, deadline);
        let exchanged = self.kept.call(server, deadline, connect, |link| self.run(link, commands));
        exchanged.map_err(|failed| match failed {
            Failed::Unconnected(error) => error,
            Failed::Broken(broken) => self.broken(&broken),
        })
    }

    fn run(&self, link: &mut Link, commands: &[&Command<'_>]) -> Result<Reply, Broken> {
        let mut last = Reply::Nil;
        for command in commands {
            wire::send(link, command).map_err(Broken::Before)?;
            last = wire::receive(link, command.reply_bytes_max)?;
        }
        Ok(last)
    }

    fn connect(&self, server: &Server, deadline: Deadline) -> Result<Link, TierError> {
        let connecting = deadline.or_after(self.connect_timeout);
        let opened = match server {
            Server::Node(node) => Link::open(node, self.tls.as_ref(), connecting),
            Server::Unix(path) => Link::open_unix(path, connecting),
        };
        let mut link = opened.map_err(|error| io_error(&self.name, &error))?;
        link.set_deadline(deadline);
        let login = &self.login;
        if let Some(password) = &login.password {
            let mut words: Vec<&[u8]> = vec![b"AUTH"];
            words.extend(login.user.as_ref().map(String::as_bytes));
            words.push(password.as_bytes());
            let reply = self.run(&mut link, &[&Command::new(&words)]);
            if let Reply::Error(error) = reply.map_err(|broken| self.broken(&broken))? {
                // Older servers have no code for it.
                return Err(match error.split(' ').next() {
                    Some("ERR") => self.error(TierErrorKind::Denied, "it refuses the password"),
                    _ => self.refused(&error),
                });
            }
        }
        if login.database != 0 {
            let number = login.database.to_string();
            let reply = self.run(&mut link, &[&Command::new(&[b"SELECT", number.as_bytes()])]);
            self.refuse_errors(reply.map_err(|broken| self.broken(&broken))?)?;
        }
        Ok(link)
    }

    fn error(&self, kind: TierErrorKind, text: &str) -> TierError {
        TierError::new(kind, format!("{}: {text}", self.name))
    }

    fn broken(&self, broken: &Broken) -> TierError {
        broken.told(&self.name, self.bytes_max)
    }

    fn refuse_errors(&self, value: Reply) -> Result<Reply, TierError> {
        match value {
            Reply::Error(error) => Err(self.refused(&error)),
            value => Ok(value),
        }
    }

    fn refused(&self, error: &str) -> TierError {
        let (code, details) = error.split_once(' ').unwrap_or((error, ""));
        let kind = match code {
            "NOAUTH" | "WRONGPASS" | "NOPERM" | "READONLY" | "DENIED" => TierErrorKind::Denied,
            "OOM" | "MISCONF" => TierErrorKind::Full,
            "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "NOREPLICAS" | "BUSY" => {
                TierErrorKind::Unreachable
            }
            "ERR" if details.starts_with("max number of clients") => TierErrorKind::Unreachable,
            _ => TierErrorKind::Protocol,
        };
        let is_code = code.len() <= 20 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        let code = if is_code { code } else { "an error of its own" };
        self.error(kind, &format!("the server says {code}"))
    }

    fn odd(&self) -> TierError {
        self.error(TierErrorKind::Protocol, "its reply does not belong to the command")
    }

    /// Bytes in use and the most that a server may use.
    fn usage_of(&self, server: &Server, deadline: Deadline) -> Result<Usage, TierError> {
        let mut usage = Usage::default();
        let ask = |words: &[&[u8]]| self.exchange(server, &[&Command::new(words)], deadline);
        // What is forbidden is unknown.
        if let Reply::Text(text) = ask(&[b"INFO", b"memory"])? {
            let text = String::from_utf8_lossy(&text);
            let line = text.lines().find_map(|line| line.strip_prefix("used_memory:"));
            usage.used_bytes = line.and_then(|number| decimal(number.trim()));
            let line = text.lines().find_map(|line| line.strip_prefix("maxmemory:"));
            usage.bytes_max = line.and_then(|number| decimal(number.trim()));
        }
        if let Reply::List(pair) = ask(&[b"CONFIG", b"GET", b"maxmemory"])?
            && let [_, Reply::Text(number)] = pair.as_slice()
        {
            usage.bytes_max = decimal(&String::from_utf8_lossy(number));
        }
        usage.bytes_max = usage.bytes_max.filter(|bytes| *bytes > 0);
        Ok(usage)
    }
}

impl Tier for RedisTier {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TierError> {
        self.value(&self.key(&key.to_string()))
    }

    fn exists(&self, key: &Key) -> Result<bool, TierError> {
        let key = self.key(&key.to_string());
        self.count(&key, &[b"EXISTS", key.as_bytes()])
    }

    fn put(&self, key: &Key, body: &[u8]) -> Result<(), TierError> {
        self.set(&self.key(&key.to_string()), body)
    }

    fn remove(&self, key: &Key) -> Result<bool, TierError> {
        let key = self.key(&key.to_string());
        self.count(&key, &[b"DEL", key.as_bytes()])
    }

    fn usage(&self) -> Result<Usage, TierError> {
        let deadline = Deadline::after(self.timeout);
        match &self.place {
            Place::One(server) => self.usage_of(server, deadline),
            Place::Cluster(cluster) => cluster.usage(self, deadline),
        }
    }
}

impl RedisTier {
    fn value(&self, key: &str) -> Result<Option<Vec<u8>>, TierError> {
        let words: [&[u8]; 2] = [b"GET", key.as_bytes()];
        let command = Command { reply_bytes_max: self.bytes_max, ..Command::new(&words) };
        match self.reply(key, &command)? {
            Reply::Nil => Ok(None),
            Reply::Text(body) => Ok(Some(body)),
            reply if reply.error_code() == Some("WRONGTYPE") => Ok(None),
            Reply::Error(error) => Err(self.refused(&error)),
            _ => Err(self.odd()),
        }
    }

    fn set(&self, key: &str, body: &[u8]) -> Result<(), TierError> {
        let words: [&[u8]; 2] = [b"SET", key.as_bytes()];
        let expire = self.expire_seconds.as_ref().map(|seconds| [b"EX", seconds.as_bytes()]);
        let options = expire.as_ref().map_or(&[] as &[&[u8]], |words| words.as_slice());
        let command = Command { large: Some(body), options, ..Command::new(&words) };
        match self.call(key, &command)? {
            Reply::Status(word) if word == "OK" => Ok(()),
            _ => Err(self.odd()),
        }
    }

    fn count(&self, key: &str, words: &[&[u8]]) -> Result<bool, TierError> {
        match self.call(key, &Command::new(words))? {
            Reply::Number(count) => Ok(count > 0),
            _ => Err(self.odd()),
        }
    }
}

impl<'a> Command<'a> {
    fn new(words: &'a [&'a [u8]]) -> Command<'a> {
        Command { words, large: None, options: &[], reply_bytes_max: INFO_BYTES_MAX }
    }
}
