//! Redis, S3, WebDAV and their chain, as sccache's settings name them: tiers of larder.
//!
//! 1. What is said of a server counts as a whole: that of the environment where it names the
//!    server, else that of the file. So a password of the file never goes to another server.
//! 2. Without a chain there is one remote place, the first one of [`LEVELS`] that is set. With one
//!    there are those that it names, in its order. The local store stands in front in any case.
//! 3. What is not used is told by its name, what is wrong is a problem. Neither has a value in it
//!    that may be secret.
//! 4. The keys that are written have larder's own prefix behind the one of sccache's settings:
//!    neither reads what the other has written.

use super::super::value::Text;
use super::super::{Config, Origin, WritePolicy};
use super::{is_read_only, setting};
use crate::tier::TierSettings;

/// What a setting says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// One server, perhaps with credentials.
    Url,
    /// One server.
    Endpoint,
    /// Nodes of a cluster.
    Cluster,
    /// A bucket, and the server that has it.
    Bucket,
    Server,
    Region,
    Tls,
    HostStyle,
    Anonymous,
    Encryption,
    User,
    Password,
    Token,
    Database,
    Prefix,
    Expiration,
    Mode,
    /// The order of levels.
    Chain,
    /// Whose failed writes count.
    Policy,
}

/// What it says it of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Block {
    Redis,
    Memcached,
    S3,
    Webdav,
    Levels,
}

/// A setting: its variable, its key in the file, and what it means.
pub(super) struct Row {
    pub(super) variable: &'static str,
    pub(super) key: &'static str,
    block: Block,
    part: Part,
}

const fn row(variable: &'static str, key: &'static str, block: Block, part: Part) -> Row {
    Row { variable, key, block, part }
}

/// Every setting.
#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row("SCCACHE_REDIS", "cache.redis.url", Block::Redis, Part::Url),
    row("SCCACHE_REDIS_ENDPOINT", "cache.redis.endpoint", Block::Redis, Part::Endpoint),
    row("SCCACHE_REDIS_CLUSTER_ENDPOINTS", "cache.redis.cluster_endpoints",
        Block::Redis, Part::Cluster),
    row("SCCACHE_REDIS_USERNAME", "cache.redis.username", Block::Redis, Part::User),
    row("SCCACHE_REDIS_PASSWORD", "cache.redis.password", Block::Redis, Part::Password),
    row("SCCACHE_REDIS_DB", "cache.redis.db", Block::Redis, Part::Database),
    row("SCCACHE_REDIS_KEY_PREFIX", "cache.redis.key_prefix", Block::Redis, Part::Prefix),
    row("SCCACHE_REDIS_EXPIRATION", "cache.redis.expiration", Block::Redis, Part::Expiration),
    row("SCCACHE_REDIS_TTL", "cache.redis.ttl", Block::Redis, Part::Expiration),
    row("SCCACHE_REDIS_RW_MODE", "cache.redis.rw_mode", Block::Redis, Part::Mode),
    row("SCCACHE_MEMCACHED_ENDPOINT", "cache.memcached.endpoint", Block::Memcached, Part::Endpoint),
    row("SCCACHE_MEMCACHED", "cache.memcached.url", Block::Memcached, Part::Url),
    row("SCCACHE_MEMCACHED_USERNAME", "cache.memcached.username", Block::Memcached, Part::User),
    row("SCCACHE_MEMCACHED_PASSWORD", "cache.memcached.password", Block::Memcached, Part::Password),
    row("SCCACHE_MEMCACHED_KEY_PREFIX", "cache.memcached.key_prefix",
        Block::Memcached, Part::Prefix),
    row("SCCACHE_MEMCACHED_EXPIRATION", "cache.memcached.expiration",
        Block::Memcached, Part::Expiration),
    row("SCCACHE_MEMCACHED_RW_MODE", "cache.memcached.rw_mode", Block::Memcached, Part::Mode),
    row("SCCACHE_BUCKET", "cache.s3.bucket", Block::S3, Part::Bucket),
    row("SCCACHE_REGION", "cache.s3.region", Block::S3, Part::Region),
    row("SCCACHE_ENDPOINT", "cache.s3.endpoint", Block::S3, Part::Server),
    row("SCCACHE_S3_USE_SSL", "cache.s3.use_ssl", Block::S3, Part::Tls),
    row("SCCACHE_S3_ENABLE_VIRTUAL_HOST_STYLE", "cache.s3.enable_virtual_host_style",
        Block::S3, Part::HostStyle),
    row("SCCACHE_S3_KEY_PREFIX", "cache.s3.key_prefix", Block::S3, Part::Prefix),
    row("SCCACHE_S3_NO_CREDENTIALS", "cache.s3.no_credentials", Block::S3, Part::Anonymous),
    row("SCCACHE_S3_SERVER_SIDE_ENCRYPTION", "cache.s3.server_side_encryption",
        Block::S3, Part::Encryption),
    row("SCCACHE_S3_RW_MODE", "cache.s3.rw_mode", Block::S3, Part::Mode),
    row("SCCACHE_WEBDAV_ENDPOINT", "cache.webdav.endpoint", Block::Webdav, Part::Endpoint),
    row("SCCACHE_WEBDAV_KEY_PREFIX", "cache.webdav.key_prefix", Block::Webdav, Part::Prefix),
    row("SCCACHE_WEBDAV_USERNAME", "cache.webdav.username", Block::Webdav, Part::User),
    row("SCCACHE_WEBDAV_PASSWORD", "cache.webdav.password", Block::Webdav, Part::Password),
    row("SCCACHE_WEBDAV_TOKEN", "cache.webdav.token", Block::Webdav, Part::Token),
    row("SCCACHE_WEBDAV_RW_MODE", "cache.webdav.rw_mode", Block::Webdav, Part::Mode),
    row("SCCACHE_MULTILEVEL_CHAIN", "cache.multilevel.chain", Block::Levels, Part::Chain),
    row("SCCACHE_MULTILEVEL_WRITE_ERROR_POLICY", "cache.multilevel.write_error_policy",
        Block::Levels, Part::Policy),
];

/// What an entry of memcached lives if nothing is said of it, as in sccache: a day.
const MEMCACHED_SECONDS: &str = "86400";

/// Levels that larder has, in the order in which one of them is taken without a chain.
const LEVELS: &[(&str, Block)] = &[
    ("s3", Block::S3),
    ("redis", Block::Redis),
    ("memcached", Block::Memcached),
    ("webdav", Block::Webdav),
];

/// Levels that sccache has and larder has not.
const OTHER_LEVELS: &[&str] = &["gcs", "azure", "gha", "oss", "cos"];

/// A value and where it stands.
struct Said {
    row: &'static Row,
    text: String,
    origin: Origin,
    place: String,
}

/// All that was said of remote places.
#[derive(Default)]
pub(super) struct Remote {
    said: Vec<Said>,
}

/// What a block says.
struct Server<'a>(Vec<&'a Said>);

impl Remote {
    /// Takes a value, which stands at `place`.
    pub(super) fn note(
        &mut self,
        row: &'static Row,
        text: Text,
        origin: &Origin,
        place: &str,
    ) -> Result<(), String> {
        let text = match text {
            Text::List(items) => items.join(","),
            text => text.as_str()?.to_owned(),
        };
        if !text.is_empty() {
            let place = place.to_owned();
            self.said.push(Said { row, text, origin: origin.clone(), place });
        }
        Ok(())
    }

    /// Makes tiers of it. Returns the names of the levels if there is a chain, the local store's
    /// first.
    pub(super) fn settle(
        &self,
        config: &mut Config,
        unapplied: &mut Vec<String>,
    ) -> Vec<&'static str> {
        let server =
            |(name, block): &(&'static str, Block)| (*name, self.server(*block, unapplied));
        let mut servers: Vec<_> = LEVELS.iter().map(server).collect();
        let levels =
            Server(self.of(Block::Levels, true).chain(self.of(Block::Levels, false)).collect());
        let Some(chain) = levels.said(Part::Chain) else {
            unapplied.extend(levels.said(Part::Policy).map(|said| said.place.clone()));
            let mut set = servers.into_iter().filter_map(|(_, server)| server);
            if let Some(server) = set.next() {
                server.add(config);
            }
            set.for_each(|server| leave(Some(server), unapplied));
            return Vec::new();
        };
        let mut names = vec!["disk"];
        for name in chain.text.split(',').map(|name| name.trim().to_ascii_lowercase()) {
            if matches!(&*name, "" | "disk") {
                continue;
            }
            if OTHER_LEVELS.contains(&&*name) {
                unapplied.push(format!("{name} in {}", chain.place));
                continue;
            }
            let known = servers.iter_mut().find(|(known, _)| *known == name);
            let Some((known, server)) = known else {
                let what = format!("names \"{name}\", which is no level");
                config.add_problem(format!("{} {what}; the others count", chain.place));
                continue;
            };
            match server.take() {
                Some(server) if server.add(config) => names.push(*known),
                Some(_) => {}
                None if names.contains(known) => {}
                None => config.add_problem(format!(
                    "{} names \"{known}\", of which nothing is set; the others count",
                    chain.place
                )),
            }
        }
        servers.into_iter().for_each(|(_, server)| leave(server, unapplied));
        if let Some(policy) = levels.said(Part::Policy) {
            set_policy(policy, config);
        }
        names
    }

    fn of(&self, block: Block, is_of_environment: bool) -> impl Iterator<Item = &Said> {
        self.said.iter().filter(move |said| {
            let is_there = matches!(said.origin, Origin::Environment(_));
            said.row.block == block && is_there == is_of_environment
        })
    }

    /// What counts of a block; `None` if it names no server.
    fn server(&self, block: Block, unapplied: &mut Vec<String>) -> Option<Server<'_>> {
        let of = |is_of_environment| Server(self.of(block, is_of_environment).collect());
        let (first, second) = (of(true), of(false));
        match (first.names_server(), second.names_server()) {
            (true, _) => Some(first),
            (false, true) => {
                leave(Some(first), unapplied);
                Some(second)
            }
            (false, false) => {
                leave(Some(first), unapplied);
                leave(Some(second), unapplied);
                None
            }
        }
    }
}

/// Notes that a block is not used.
fn leave(server: Option<Server<'_>>, unapplied: &mut Vec<String>) {
    let said = server.into_iter().flat_map(|server| server.0);
    unapplied.extend(said.map(|said| said.place.clone()));
}

fn set_policy(said: &Said, config: &mut Config) {
    let policy = match &*said.text.to_ascii_lowercase() {
        "ignore" => WritePolicy::Ignore,
        "l0" => WritePolicy::Local,
        "all" => WritePolicy::All,
        other => {
            let what = format!("is \"{other}\", which is none of ignore, l0, all");
            config.add_problem(format!("{} {what}; it is ignored", said.place));
            return;
        }
    };
    config.write_policy = setting(policy, &said.origin);
}

impl Server<'_> {
    /// The first value that was said.
    fn said(&self, part: Part) -> Option<&Said> {
        self.0.iter().copied().find(|said| said.row.part == part)
    }

    fn text(&self, part: Part) -> Option<&str> {
        self.said(part).map(|said| said.text.as_str())
    }

    /// What says where it is.
    fn places(&self) -> impl Iterator<Item = &Said> {
        let is_place =
            |part| matches!(part, Part::Url | Part::Endpoint | Part::Cluster | Part::Bucket);
        self.0.iter().copied().filter(move |said| is_place(said.row.part))
    }

    fn names_server(&self) -> bool {
        self.places().next().is_some()
    }

    /// Adds the tier, if it can be used.
    fn add(&self, config: &mut Config) -> bool {
        let Some(place) = self.places().next() else { return false };
        let text = match place.row.block {
            Block::Redis => self.redis(place),
            Block::Memcached => self.memcached(place),
            Block::S3 => self.s3(place),
            _ => Ok(place.text.clone()),
        };
        let tier = text.and_then(|url| {
            let attributes = self.attributes(place.row.block)?;
            TierSettings::parse(&[vec![url], attributes].concat().join("|"))
        });
        match tier {
            Ok(tier) => {
                if config.tiers.value.is_empty() {
                    config.tiers.origin = place.origin.clone();
                }
                config.tiers.value.push(tier);
                true
            }
            Err(why) => {
                let what = "names a place that cannot be used";
                config.add_problem(format!("{} {what}: {why}; it is ignored", place.place));
                false
            }
        }
    }

    /// The URL as larder writes it.
    fn redis(&self, place: &Said) -> Result<String, String> {
        if self.places().any(|other| other.row.part != place.row.part) {
            return Err("a URL, an endpoint and endpoints of a cluster exclude each other".into());
        }
        let database = self.text(Part::Database);
        if place.row.part != Part::Cluster {
            return Endpoint::parse(&place.text)?.url(database);
        }
        if database.is_some_and(|database| database != "0") {
            return Err("a cluster has one database only".into());
        }
        let nodes = place.text.split(',').map(|node| Endpoint::parse(node.trim()));
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        let is_one = |node: &Endpoint<'_>| {
            let is_plain = node.login.is_empty() && node.path.trim_matches('/').is_empty();
            is_plain && node.database.is_none() && node.scheme == nodes[0].scheme
        };
        if nodes[0].scheme == Scheme::Unix || !nodes.iter().all(is_one) {
            return Err("the endpoints of a cluster are redis://HOST:PORT, or all rediss://".into());
        }
        let scheme = if nodes[0].scheme == Scheme::Tls { "rediss" } else { "redis" };
        let hosts: Vec<&str> = nodes.iter().map(|node| node.host).collect();
        Ok(format!("{scheme}+cluster://{}", hosts.join(",")))
    }

    /// The URL of one server, or of several with commas or blanks between them.
    fn memcached(&self, place: &Said) -> Result<String, String> {
        if self.places().any(|other| other.row.part != place.row.part) {
            return Err("an endpoint and its older name exclude each other".into());
        }
        if self.said(Part::User).or(self.said(Part::Password)).is_some() {
            return Err("memcached is used without user and password".into());
        }
        let servers = place.text.split([',', ' ']).filter(|server| !server.is_empty());
        let hosts = servers.map(|server| match server.split_once("://") {
            None | Some(("tcp", _)) => Ok(server.trim_start_matches("tcp://")),
            Some(_) => Err("begins with another scheme than tcp"),
        });
        Ok(format!("memcached://{}", hosts.collect::<Result<Vec<_>, _>>()?.join(",")))
    }

    /// The URL of a bucket. An endpoint without a scheme has no TLS, as in sccache.
    fn s3(&self, bucket: &Said) -> Result<String, String> {
        if bucket.text.contains(['/', '?']) {
            return Err("a bucket has no path".into());
        }
        let is_tls = self.switch(Part::Tls)?;
        let endpoint = self.text(Part::Server).map(|text| {
            let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
            let scheme = match is_tls {
                None => scheme,
                Some(true) => "https",
                Some(false) => "http",
            };
            format!("endpoint={}", encoded(&format!("{scheme}://{rest}")))
        });
        let region = self.text(Part::Region).map(|region| format!("region={}", encoded(region)));
        let query: Vec<String> = region.into_iter().chain(endpoint).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        Ok(format!("s3://{}{mark}{}", bucket.text, query.join("&")))
    }

    /// Whether something is so; `None` if nothing is said.
    fn switch(&self, part: Part) -> Result<Option<bool>, String> {
        let Some(said) = self.said(part) else { return Ok(None) };
        let switch = Text::One(said.text.clone().into()).switch();
        switch.map(Some).map_err(|_| format!("{} is neither true nor false", said.place))
    }

    fn attributes(&self, block: Block) -> Result<Vec<String>, String> {
        let mut attributes = Vec::new();
        let texts =
            [(Part::User, "username"), (Part::Password, "password"), (Part::Token, "bearer-token")];
        for (part, name) in texts {
            attributes.extend(self.text(part).map(|text| format!("{name}={}", encoded(text))));
        }
        if let Some(prefix) = self.text(Part::Prefix).map(|prefix| prefix.trim_matches('/')) {
            let is_path = matches!(block, Block::S3 | Block::Webdav);
            let own = if is_path { "larder/" } else { "larder:" };
            let between = if prefix.is_empty() { "" } else { "/" };
            attributes.push(format!("prefix={}", encoded(&format!("{prefix}{between}{own}"))));
        }
        let default = (block == Block::Memcached).then_some(MEMCACHED_SECONDS);
        // 0 is for ever.
        let expiration = self.text(Part::Expiration).or(default).filter(|seconds| *seconds != "0");
        attributes.extend(expiration.map(|seconds| format!("expire={}", encoded(seconds))));
        let switches = [
            (Part::HostStyle, "host-style", Some("path-style")),
            (Part::Anonymous, "anonymous", None),
            (Part::Encryption, "sse=AES256", None),
        ];
        for (part, on, off) in switches {
            let word = self.switch(part)?.and_then(|is_on| if is_on { Some(on) } else { off });
            attributes.extend(word.map(str::to_owned));
        }
        if let Some(mode) = self.said(Part::Mode)
            && is_read_only(&mode.text).map_err(|what| format!("{} {what}", mode.place))?
        {
            attributes.push("read-only".to_owned());
        }
        Ok(attributes)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Plain,
    Tls,
    Unix,
}

/// A server of Redis as sccache writes it.
struct Endpoint<'a> {
    scheme: Scheme,
    login: &'a str,
    host: &'a str,
    path: &'a str,
    database: Option<&'a str>,
}

impl<'a> Endpoint<'a> {
    fn parse(text: &'a str) -> Result<Endpoint<'a>, String> {
        if text.contains('#') {
            return Err("certificates are always checked: there is no #insecure".into());
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("redis", text));
        let scheme = match scheme {
            "redis" | "tcp" => Scheme::Plain,
            "rediss" => Scheme::Tls,
            "unix" | "redis+unix" => Scheme::Unix,
            _ => return Err("begins with none of redis, rediss, tcp, unix, redis+unix".into()),
        };
        let (rest, database) = match rest.split_once('?') {
            None => (rest, None),
            Some((rest, query)) => {
                (rest, Some(query.strip_prefix("db=").ok_or("only ?db=NUMBER may follow")?))
            }
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (login, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        Ok(Endpoint { scheme, login, host, path, database })
    }

    /// As larder writes it; `database` wins.
    fn url(&self, database: Option<&str>) -> Result<String, String> {
        let sign = if self.login.is_empty() { "" } else { "@" };
        let login = self.login;
        if self.scheme == Scheme::Unix {
            let database = database.or(self.database).unwrap_or("0");
            return Ok(format!("redis+unix://{login}{sign}{}?db={database}", self.path));
        }
        let path = Some(self.path.trim_matches('/')).filter(|path| !path.is_empty());
        let database = database.or(self.database).or(path).unwrap_or("0");
        let scheme = if self.scheme == Scheme::Tls { "rediss" } else { "redis" };
        Ok(format!("{scheme}://{login}{sign}{}/{database}", self.host))
    }
}

/// With `%XX` for what could mean something.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            _ if byte.is_ascii_alphanumeric() || b"._~-/:".contains(&byte) => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
