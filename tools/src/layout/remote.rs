//! What entries are called on servers.
//!
//! ```text
//! name    = "ccache:" key                          ccache on Redis
//!         | [ prefix "/" ] d "/" d "/" d "/" hex64 sccache everywhere; the digits are its first
//!         | hex2 "/" rest | key                    ccache on HTTP: subdirs, flat
//!         | "ac/" hex64                            and bazel: 40 digits, and the first 24 again,
//!                                                  also of a key that is mixed33 elsewhere
//!         | hex32 "-" digits [ ".o" ]              ccache 3 on memcached
//! key     = hex40 | mixed33
//! ```

use super::directory::{self, Shape};
use super::{is_old_name, name_of};
use crate::entry::{Family, Name};

/// What sccache writes to see whether it may.
pub const SCCACHE_CHECK: &str = ".sccache_check";

/// The digits of base 32 that ccache 4.0 to 4.12 had behind the first four.
const BASE32: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

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
            HttpLayout::Bazel => {
                let digits = hex_of(name);
                Some(format!("ac/{digits}{}", &digits[..24]))
            }
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

/// The name as ccache 4.0 to 4.12 wrote it, of an entry that has one of 4.13 only because the
/// layout of bazel does not tell them apart.
pub fn as_before_413(name: &Name) -> Name {
    let digit = |at: usize| u8::from_str_radix(&name.text[at..at + 2], 16).unwrap_or_default();
    let bytes: Vec<u8> = (4..name.text.len()).step_by(2).map(digit).collect();
    let mut text = name.text[..4].to_owned();
    for at in (0..bytes.len() * 8).step_by(5) {
        let byte = |index: usize| u16::from(bytes.get(index).copied().unwrap_or_default());
        let pair = byte(at / 8) << 8 | byte(at / 8 + 1);
        let digit = usize::from(pair >> (11 - at % 8) & 31);
        text.push(char::from(BASE32[digit]));
    }
    Name::new(Family::Ccache40, text)
}

/// All of a key of ccache in hexadecimal digits.
fn hex_of(name: &Name) -> String {
    if name.family != Family::Ccache40 {
        return name.text.clone();
    }
    let (mut hex, mut bits, mut count) = (name.text[..4].to_owned(), 0_u32, 0);
    for letter in name.text[4..].bytes() {
        let digit = BASE32.iter().position(|known| *known == letter).unwrap_or_default();
        (bits, count) = (bits << 5 | digit as u32, count + 5);
        while count >= 8 {
            count -= 8;
            hex.push_str(&format!("{:02x}", bits >> count & 255));
        }
    }
    hex
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
        for server in [Server::Redis, Server::Memcached, Server::Http(HttpLayout::Bazel)] {
            let name = Name::new(Family::Sccache, &*of_64);
            assert_eq!(name_on(server, &name), Some(format!("f/e/d/{of_64}")));
            assert_eq!(parse(server, &format!("f/e/d/{of_64}")), Some(name));
        }
        let name = Name::new(Family::Sccache, &*of_64);
        assert_eq!(parse(Server::Redis, &format!("a/b/f/e/d/{of_64}")), Some(name));
        for other in [format!("e/d/{of_64}"), format!("f/e/e/{of_64}"), of_64, "x".to_owned()] {
            assert_eq!(parse(Server::Redis, &other), None, "{other}");
        }
    }

    #[test]
    fn keys_before_413_have_their_names_everywhere() {
        // One key as ccache 4.7.5 calls it on Redis and in the layout of bazel.
        let (mixed, hex) =
            ("886c479lccu406dm7ph8a6fdfg52iabno", "886c21d35633c4019b63e628519ed7c0a292977c");
        let name = Name::new(Family::Ccache40, mixed);
        for (server, wanted) in [
            (Server::Redis, format!("ccache:{mixed}")),
            (Server::Http(HttpLayout::Subdirs), format!("88/{}", &mixed[2..])),
            (Server::Http(HttpLayout::Flat), mixed.to_owned()),
        ] {
            assert_eq!(name_on(server, &name).as_deref(), Some(&*wanted), "{server:?}");
            assert_eq!(parse(server, &wanted), Some(name.clone()), "{wanted}");
        }
        let bazel = Server::Http(HttpLayout::Bazel);
        let there = name_on(bazel, &name).unwrap();
        assert_eq!(there, format!("ac/{hex}{}", &hex[..24]));
        let found = parse(bazel, &there).unwrap();
        assert_eq!(found, Name::new(Family::Ccache, hex));
        assert_eq!(as_before_413(&found), name);
    }

    #[test]
    fn whatever_else_stands_on_a_server_is_no_entry() {
        let of_40 = "0123456789abcdef0123456789abcdef01234567";
        let (http, redis) = (Server::Http(HttpLayout::Subdirs), Server::Redis);
        for (server, text) in [
            (redis, of_40.to_owned()),
            (redis, format!("ccache:{of_40}0")),
            (redis, format!("ccache:../{of_40}")),
            (redis, format!("ccache:{}\n", &of_40[1..])),
            (Server::S3, format!("ccache:{of_40}")),
            (http, format!("../{of_40}")),
            (http, format!("0/1/{}", &of_40[2..])),
            (http, format!("01/{}/", &of_40[2..])),
            (http, format!("ac/{of_40}{}", &of_40[1..25])),
            (http, "ac/é".repeat(32)),
            (http, format!("cas/{of_40}{}", &of_40[..24])),
            (Server::Memcached, format!("{}-12.d", &of_40[..32])),
            (Server::Memcached, format!("{}-12/..", &of_40[..32])),
            (Server::Memcached, String::new()),
        ] {
            assert_eq!(parse(server, &text), None, "{text}");
        }
        let name = Name::new(Family::Ccache3, format!("{}-12", &of_40[..32]));
        assert_eq!(parse(Server::Memcached, &format!("{}.o", name.text)), Some(name.clone()));
        assert_eq!([name_on(redis, &name), name_on(http, &name)], [None, None]);
    }
}
