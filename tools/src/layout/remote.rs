//! What entries are called on servers.
//!
//! ```text
//! name    = "ccache:" key                          ccache on Redis
//!         | [ prefix "/" ] d "/" d "/" d "/" hex64 sccache everywhere; the digits are its first
//!         | hex2 "/" rest | key                    ccache on HTTP: subdirs, flat
//!         | "ac/" hex64                            and bazel: 40 digits, and the first 24 again
//!         | hex32 "-" digits [ ".o" ]              ccache 3 on memcached
//! key     = hex40 | mixed33
//! ```

use super::directory::{self, Shape};
use super::{is_old_name, name_of};
use crate::entry::{Family, Name};

/// What sccache writes to see whether it may.
pub const SCCACHE_CHECK: &str = ".sccache_check";

/// The kinds of servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Server {
    /// Redis.
    Redis,
    /// memcached.
    Memcached,
    /// HTTP, with this layout of ccache's.
    Http(HttpLayout),
    /// S3.
    S3,
}

/// How ccache calls its entries on a server of HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HttpLayout {
    /// The first two digits are a directory.
    #[default]
    Subdirs,
    /// No directory.
    Flat,
    /// As bazel calls the results of actions.
    Bazel,
}

/// The name of an entry on a server, behind what the URL says; `None` if it has none there.
pub fn name_on(server: Server, name: &Name) -> Option<String> {
    let text = &*name.text;
    match (name.family, server) {
        (Family::Sccache, _) => {
            Some(format!("{}/{}/{}/{text}", &text[..1], &text[1..2], &text[2..3]))
        }
        (Family::Ccache | Family::Ccache40, Server::Redis) => Some(format!("ccache:{text}")),
        (Family::Ccache | Family::Ccache40, Server::Http(layout)) => match layout {
            HttpLayout::Subdirs => Some(directory::path(Shape::Subdirs, name, None, "")),
            HttpLayout::Flat => Some(text.to_owned()),
            HttpLayout::Bazel if name.family == Family::Ccache => {
                Some(format!("ac/{text}{}", &text[..24]))
            }
            HttpLayout::Bazel => None,
        },
        (Family::Ccache3, Server::Memcached) => Some(text.to_owned()),
        _ => None,
    }
}

/// Whose entry has a name on a server; `None` for anything else.
pub fn parse(server: Server, text: &str) -> Option<Name> {
    if let Some(name) = parse_sccache(text) {
        return Some(name);
    }
    match server {
        Server::Redis => directory::key_of_ccache(text.strip_prefix("ccache:")?),
        Server::Memcached => {
            let text = text.strip_suffix(".o").unwrap_or(text);
            is_old_name(text).then(|| Name::new(Family::Ccache3, text))
        }
        Server::Http(_) => {
            if let Some(digits) = text.strip_prefix("ac/") {
                let key = digits.get(..40)?;
                let is_again = digits.len() == 64 && digits[40..] == key[..24];
                return is_again.then(|| name_of(Family::Ccache, key)).flatten();
            }
            let place = directory::parse(text)?;
            matches!(place.shape, Shape::Subdirs | Shape::Flat).then_some(place.name)
        }
        Server::S3 => None,
    }
}

fn parse_sccache(text: &str) -> Option<Name> {
    let mut parts = text.rsplit('/');
    let name = name_of(Family::Sccache, parts.next()?)?;
    let digits: Option<String> = (0..3).map(|_| parts.next()).collect();
    let digits: String = digits?.chars().rev().collect();
    let is_right = digits.len() == 3 && name.text.starts_with(&digits);
    is_right.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_servers_come_back() {
        let of_40 = "0123456789abcdef0123456789abcdef01234567";
        let of_64 = "fedcba9876543210".repeat(4);
        let old = "0123456789abcdef0123456789abcdef-12";
        for (server, family, text, wanted) in [
            (Server::Redis, Family::Ccache, of_40, format!("ccache:{of_40}")),
            (
                Server::Http(HttpLayout::Subdirs),
                Family::Ccache,
                of_40,
                format!("01/{}", &of_40[2..]),
            ),
            (Server::Http(HttpLayout::Flat), Family::Ccache, of_40, of_40.to_owned()),
            (
                Server::Http(HttpLayout::Bazel),
                Family::Ccache,
                of_40,
                format!("ac/{of_40}{}", &of_40[..24]),
            ),
            (Server::Memcached, Family::Ccache3, old, old.to_owned()),
            (Server::S3, Family::Sccache, &of_64, format!("f/e/d/{of_64}")),
        ] {
            let name = Name::new(family, text);
            assert_eq!(name_on(server, &name).as_deref(), Some(&*wanted), "{server:?}");
            assert_eq!(parse(server, &wanted), Some(name), "{wanted}");
        }
        let name = Name::new(Family::Sccache, &*of_64);
        assert_eq!(parse(Server::Redis, &format!("a/b/f/e/d/{of_64}")), Some(name));
        for other in [format!("e/d/{of_64}"), format!("f/e/e/{of_64}"), of_64, "x".to_owned()] {
            assert_eq!(parse(Server::Redis, &other), None, "{other}");
        }
    }
}
