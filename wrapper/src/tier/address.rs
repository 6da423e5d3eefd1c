//! The URL of a tier.
//!
//! ```text
//! redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]     rediss:// with TLS
//! redis+cluster://[USER:PASSWORD@]HOST[:PORT],...    rediss+cluster:// with TLS
//! redis+unix://[USER:PASSWORD@]/PATH[?db=DATABASE]
//! memcached://HOST[:PORT],...
//! http://[USER[:PASSWORD]@]HOST[:PORT][/PATH]        https:// with TLS
//! s3://BUCKET[/PATH][?region=REGION&endpoint=URL]
//! file:///DIRECTORY
//! ```
//!
//! 1. User, password, and the paths of sockets and directories are percent-decoded. A path of
//!    HTTP stays as it is written.
//! 2. The user ends at the first colon, the password at the last `@` before the host.
//! 3. An address of IPv6 stands in brackets.
//! 4. No error repeats what it complains about: it might be a part of a password.

pub(super) mod s3;

use std::path::PathBuf;

use s3::Endpoint;

/// The port where Redis listens if nobody says otherwise.
const REDIS_PORT: u16 = 6379;
/// The port where memcached listens if nobody says otherwise.
const MEMCACHED_PORT: u16 = 11_211;
/// Servers that one URL may name. Of a cluster of Redis any one of them tells of the others.
const NODES_MAX: usize = 64;

/// Where a tier is, without credentials and attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Address {
    /// One server of Redis.
    Redis { node: Node, is_tls: bool, database: u32 },
    /// A cluster of Redis, by some of its nodes.
    RedisCluster { nodes: Vec<Node>, is_tls: bool },
    /// One server of Redis behind a socket of this machine.
    RedisUnix { path: PathBuf, database: u32 },
    /// Servers of memcached that share the keys.
    Memcached { nodes: Vec<Node> },
    /// A server of HTTP and what stands before the keys there, without a slash at its end.
    Http { node: Node, is_tls: bool, path: String },
    /// A bucket, and what stands before the keys there, without slashes at its ends.
    S3 { bucket: String, path: String, region: Option<String>, endpoint: Option<Endpoint> },
    /// A directory.
    File { directory: PathBuf },
}

/// A server's name or number, and its port.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub(super) struct Node {
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// What stands before the `@` of a URL, decoded.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct UserInfo {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// Which attributes make sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    Redis,
    Memcached,
    Http,
    S3,
    File,
}

impl Address {
    /// Reads a URL.
    pub(super) fn parse(url: &str) -> Result<(Address, UserInfo), String> {
        if !url.bytes().all(|byte| byte.is_ascii_graphic() || byte >= 0x80) {
            return Err("a URL has no blanks and no control characters: write %20".to_owned());
        }
        let (scheme, rest) = url.split_once("://").ok_or_else(unknown_scheme)?;
        match scheme {
            "redis" => redis(rest, false),
            "rediss" => redis(rest, true),
            "redis+cluster" => cluster(rest, false),
            "rediss+cluster" => cluster(rest, true),
            "redis+unix" => redis_unix(rest),
            "memcached" => memcached(rest),
            "http" => http(rest, false),
            "https" => http(rest, true),
            "s3" => s3::parse(rest),
            "file" => file(rest),
            _ => Err(unknown_scheme()),
        }
    }

    pub(super) fn family(&self) -> Family {
        match self {
            Address::Redis { .. } | Address::RedisCluster { .. } | Address::RedisUnix { .. } => {
                Family::Redis
            }
            Address::Memcached { .. } => Family::Memcached,
            Address::Http { .. } => Family::Http,
            Address::S3 { .. } => Family::S3,
            Address::File { .. } => Family::File,
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        match self {
            Address::Redis { is_tls, .. }
            | Address::RedisCluster { is_tls, .. }
            | Address::Http { is_tls, .. } => *is_tls,
            Address::S3 { endpoint, .. } => endpoint.as_ref().is_none_or(|it| it.is_tls),
            Address::RedisUnix { .. } | Address::Memcached { .. } | Address::File { .. } => false,
        }
    }

    pub(super) fn scheme(&self) -> &'static str {
        match (self, self.is_tls()) {
            (Address::Redis { .. }, false) => "redis",
            (Address::Redis { .. }, true) => "rediss",
            (Address::RedisCluster { .. }, false) => "redis+cluster",
            (Address::RedisCluster { .. }, true) => "rediss+cluster",
            (Address::RedisUnix { .. }, _) => "redis+unix",
            (Address::Memcached { .. }, _) => "memcached",
            (Address::Http { .. }, false) => "http",
            (Address::Http { .. }, true) => "https",
            (Address::S3 { .. }, _) => "s3",
            (Address::File { .. }, _) => "file",
        }
    }

    /// The URL without user and password.
    pub(super) fn display(&self) -> String {
        let rest = match self {
            Address::Redis { node, database, .. } => format!("{}/{database}", node.display()),
            Address::RedisCluster { nodes, .. } | Address::Memcached { nodes } => {
                nodes.iter().map(Node::display).collect::<Vec<_>>().join(",")
            }
            Address::RedisUnix { path, database } => format!("{}?db={database}", path.display()),
            Address::Http { node, is_tls, path } => {
                format!("{}{path}", node.display_unless(http_port(*is_tls)))
            }
            Address::S3 { bucket, path, region, endpoint } => {
                s3::display(bucket, path, region.as_deref(), endpoint.as_ref())
            }
            Address::File { directory } => directory.display().to_string(),
        };
        format!("{}://{rest}", self.scheme())
    }
}

impl Node {
    /// `HOST:PORT`, with brackets around an address of IPv6.
    pub(super) fn display(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    /// The same without a port that goes without saying.
    pub(super) fn display_unless(&self, usual_port: u16) -> String {
        if self.port == usual_port { self.bracketed() } else { self.display() }
    }

    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    fn parse(text: &str, usual_port: u16) -> Result<Node, String> {
        let (host, port) = match text.strip_prefix('[') {
            Some(inner) => {
                let (host, port) = inner.split_once(']').ok_or("a bracket of its host is open")?;
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err("what stands in brackets is no address of IPv6".to_owned());
                }
                let port = match port {
                    "" => None,
                    port => Some(port.strip_prefix(':').ok_or("only a port follows a bracket")?),
                };
                (host, port)
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_name) {
            return Err("its host is none (an IPv6 address stands in brackets)".to_owned());
        }
        let port = match port {
            None => usual_port,
            Some(port) => match decimal::<u16>(port) {
                Some(port) if port > 0 => port,
                _ => return Err("its port is no number from 1 to 65535".to_owned()),
            },
        };
        Ok(Node { host: host.to_owned(), port })
    }
}

/// The port where a scheme of HTTP is served if nobody says otherwise.
pub(super) fn http_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

/// A number of nothing but digits: `+1` is none.
pub(super) fn decimal<N: std::str::FromStr>(text: &str) -> Option<N> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Replaces `%XX`. The result is UTF-8 without control characters, which have no business in a
/// header, a file name or a password.
pub(super) fn percent_decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digit = |index: usize| char::from(*rest.get(index)?).to_digit(16);
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err("a % without two hexadecimal digits: a plain one is %25".to_owned());
        };
        bytes.push((high * 16 + low) as u8);
        rest = &rest[2..];
    }
    let decoded = String::from_utf8(bytes).map_err(|_| "what its % stand for is not UTF-8")?;
    if decoded.chars().any(char::is_control) {
        return Err("control characters are not allowed".to_owned());
    }
    Ok(decoded)
}

fn unknown_scheme() -> String {
    "begins with none of redis://, rediss://, redis+cluster://, rediss+cluster://, redis+unix://, \
     memcached://, http://, https://, s3://, file://"
        .to_owned()
}

fn redis(rest: &str, is_tls: bool) -> Result<(Address, UserInfo), String> {
    let (authority, path) = split_path(rest)?;
    let (info, host) = split_user(authority)?;
    let node = Node::parse(host, REDIS_PORT)?;
    let database = match path.trim_start_matches('/') {
        "" => 0,
        number => decimal(number).ok_or("its path is no number of a database")?,
    };
    Ok((Address::Redis { node, is_tls, database }, info))
}

fn cluster(rest: &str, is_tls: bool) -> Result<(Address, UserInfo), String> {
    let (authority, path) = split_path(rest)?;
    if !path.trim_start_matches('/').is_empty() {
        return Err("a cluster has one database only, so its URL has no path".to_owned());
    }
    let (info, hosts) = split_user(authority)?;
    Ok((Address::RedisCluster { nodes: nodes(hosts, REDIS_PORT)?, is_tls }, info))
}

fn memcached(rest: &str) -> Result<(Address, UserInfo), String> {
    let (authority, path) = split_path(rest)?;
    if !path.trim_start_matches('/').is_empty() {
        return Err("memcached has no databases, so its URL has no path".to_owned());
    }
    if authority.contains('@') {
        return Err("memcached is used without user and password".to_owned());
    }
    let nodes = nodes(authority, MEMCACHED_PORT)?;
    // It would have two shares of the keys.
    if nodes.iter().enumerate().any(|(index, node)| nodes[..index].contains(node)) {
        return Err("it names a server twice".to_owned());
    }
    Ok((Address::Memcached { nodes }, UserInfo::default()))
}

fn nodes(hosts: &str, usual_port: u16) -> Result<Vec<Node>, String> {
    let nodes = hosts.split(',').map(|host| Node::parse(host, usual_port));
    let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
    if nodes.len() > NODES_MAX {
        return Err(format!("it names more than {NODES_MAX} nodes"));
    }
    Ok(nodes)
}

fn redis_unix(rest: &str) -> Result<(Address, UserInfo), String> {
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = split_path(rest)?;
    let (info, host) = split_user(authority)?;
    if !host.is_empty() || path.len() < 2 {
        return Err("the path of a socket is absolute: redis+unix:///PATH".to_owned());
    }
    let database = match query {
        None => 0,
        Some(query) => {
            let number = query.strip_prefix("db=").and_then(decimal);
            number.ok_or("only ?db=NUMBER may follow the path of a socket")?
        }
    };
    Ok((Address::RedisUnix { path: percent_decode(path)?.into(), database }, info))
}

fn http(rest: &str, is_tls: bool) -> Result<(Address, UserInfo), String> {
    let (authority, path) = split_path(rest)?;
    let (info, host) = split_user(authority)?;
    let node = Node::parse(host, http_port(is_tls))?;
    if !path.is_ascii() {
        return Err("the path of a URL is ASCII, the rest percent-encoded".to_owned());
    }
    percent_decode(path)?;
    Ok((Address::Http { node, is_tls, path: path.trim_end_matches('/').to_owned() }, info))
}

fn file(rest: &str) -> Result<(Address, UserInfo), String> {
    if !rest.starts_with('/') || rest.trim_matches('/').is_empty() {
        return Err("a directory is absolute: file:///DIRECTORY".to_owned());
    }
    let (_, path) = split_path(rest)?;
    let directory = percent_decode(path)?;
    let directory = PathBuf::from(directory.trim_end_matches('/'));
    Ok((Address::File { directory }, UserInfo::default()))
}

/// What stands before the first slash, and the rest. No query and no fragment is known.
fn split_path(rest: &str) -> Result<(&str, &str), String> {
    if rest.contains(['?', '#']) {
        return Err("? and # have no meaning here: write %3F and %23".to_owned());
    }
    Ok(rest.split_at(rest.find('/').unwrap_or(rest.len())))
}

fn split_user(authority: &str) -> Result<(UserInfo, &str), String> {
    let Some((user_info, host)) = authority.rsplit_once('@') else {
        return Ok((UserInfo::default(), authority));
    };
    let (user, password) = match user_info.split_once(':') {
        Some((user, password)) => (user, Some(percent_decode(password)?)),
        None => (user_info, None),
    };
    let user = Some(percent_decode(user)?).filter(|user| !user.is_empty());
    Ok((UserInfo { user, password }, host))
}
