//! What memcached hears and says, on one connection (the meta commands of its text protocol).
//!
//! 1. Every command has one answer, and answers come in the order of the commands. Commands are
//!    sent [`BATCH`] at a time, and all their answers read, also behind one that is an error: then
//!    the connection can be used again.
//! 2. A value is read straight into its place. Its length is looked at before anything of it is
//!    read.
//! 3. Keys are ASCII without blanks and control characters, at most 250 bytes: settings see to it.

use std::io::{Read, Write};

use super::super::address::{decimal, percent_decode};
use super::super::incoming::{Broken, Incoming, READ_BYTES};

/// Commands whose answers are read together. With pieces of 1 MiB a batch is long enough for any
/// line, and the answers to it always find room on their way: nobody waits for the other.
pub(super) const BATCH: usize = 16;
/// Lines of `stats`; servers have about a hundred.
const STATS_MAX: usize = 4096;
/// What is read at once of a value that nobody wants.
const SKIP_BYTES: u64 = 64 << 10;

/// What a server says to a command. The value, if there is one, is not read yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// It is done; with flags, if some were asked for.
    Done(String),
    /// A value of so many bytes follows.
    Value(u64),
    /// There is no such item.
    Missing,
    /// An error in the server's words.
    Refused(String),
}

/// Adds a command.
pub(super) fn pack(packed: &mut Vec<u8>, command: &str) {
    packed.extend_from_slice(command.as_bytes());
    packed.extend_from_slice(b"\r\n");
}

/// Sends what was packed.
///
/// # Errors
/// As the connection.
pub(super) fn send(link: &mut impl Write, packed: &[u8]) -> Result<(), Broken> {
    link.write_all(packed).and_then(|()| link.flush()).map_err(Broken::Before)
}

/// Sends a command to store a value: its parts, one behind the other.
///
/// # Errors
/// As the connection.
pub(super) fn send_value(
    link: &mut impl Write,
    key: &str,
    parts: [&[u8]; 2],
    options: &str,
) -> Result<(), Broken> {
    let length = parts[0].len() + parts[1].len();
    let mut packed = Vec::with_capacity(512);
    pack(&mut packed, &format!("ms {key} {length}{options}"));
    for part in parts {
        if part.len() > READ_BYTES {
            link.write_all(&packed).and_then(|()| link.write_all(part)).map_err(Broken::Before)?;
            packed.clear();
        } else {
            packed.extend_from_slice(part);
        }
    }
    packed.extend_from_slice(b"\r\n");
    send(link, &packed)
}

/// Reads an answer up to its value.
///
/// # Errors
/// If the connection ends, or that is no answer.
pub(super) fn answer(incoming: &mut Incoming<'_, impl Read>) -> Result<Answer, Broken> {
    let line = incoming.line()?;
    let (code, rest) = line.split_once(' ').unwrap_or((&line, ""));
    match code {
        "HD" => Ok(Answer::Done(rest.to_owned())),
        "VA" => {
            let length = rest.split(' ').next().and_then(decimal);
            length.map(Answer::Value).ok_or(Broken::Garbage)
        }
        "EN" | "NF" => Ok(Answer::Missing),
        // What follows an error of ours may be read as commands: only some leave no doubt.
        "SERVER_ERROR" => Ok(Answer::Refused(line)),
        "CLIENT_ERROR" if rest == UNAUTHENTICATED => Ok(Answer::Refused(line)),
        _ => Err(Broken::Garbage),
    }
}

/// What a server says that wants a password first.
pub(super) const UNAUTHENTICATED: &str = "unauthenticated";

/// Reads a value that nobody wants, if it is no longer than one that somebody might.
///
/// # Errors
/// As the connection; `TooLarge` above the limit.
pub(super) fn skip(
    incoming: &mut Incoming<'_, impl Read>,
    length: u64,
    bytes_max: u64,
) -> Result<(), Broken> {
    if length > bytes_max {
        return Err(Broken::TooLarge(length));
    }
    let mut scrap = Vec::new();
    let mut left = length;
    while left > SKIP_BYTES {
        scrap.clear();
        incoming.bytes(&mut scrap, SKIP_BYTES as usize)?;
        left -= SKIP_BYTES;
    }
    scrap.clear();
    incoming.value(&mut scrap, left as usize)
}

/// Asks a server for what it tells of itself, and returns its numbers of these names.
///
/// # Errors
/// If the connection ends, or that is no answer.
pub(super) fn stats<const N: usize>(
    link: &mut (impl Read + Write),
    names: [&str; N],
) -> Result<[Option<u64>; N], Broken> {
    send(link, b"stats\r\n")?;
    let mut incoming = Incoming::new(link);
    let mut numbers = [None; N];
    for _ in 0..STATS_MAX {
        let line = incoming.line()?;
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("STAT"), Some(name), number) => {
                if let Some(at) = names.iter().position(|known| *known == name) {
                    numbers[at] = number.and_then(decimal);
                }
            }
            (Some("END"), None, None) if incoming.is_over() => return Ok(numbers),
            // What is forbidden is unknown.
            (Some("CLIENT_ERROR" | "SERVER_ERROR"), ..) if incoming.is_over() => {
                return Ok([None; N]);
            }
            _ => return Err(Broken::Garbage),
        }
    }
    Err(Broken::Garbage)
}

/// What a server lists: an item, with its key as it is stored, or the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Listed {
    /// An item.
    Item {
        /// Its key; `None` if that is no UTF-8.
        key: Option<String>,
        /// Bytes, with those of its key and head.
        bytes: Option<u64>,
        /// When it was last asked for.
        used_secs: Option<u64>,
    },
    /// There are no more.
    End,
    /// The server does not list now.
    Busy,
    /// It never does: it is too old, or it is switched off.
    Unknown,
}

/// Reads a line of `lru_crawler metadump`: `key=` percent-encoded, then other words with `=`. Its
/// lines of items end without a carriage return.
///
/// # Errors
/// If the connection ends, or that is none.
pub(super) fn listed(incoming: &mut Incoming<'_, impl Read>) -> Result<Listed, Broken> {
    let line = incoming.bare_line()?;
    let line = line.strip_suffix('\r').unwrap_or(&line);
    let Some(rest) = line.strip_prefix("key=") else {
        return match line.split(' ').next() {
            Some("END") => Ok(Listed::End),
            Some("BUSY") => Ok(Listed::Busy),
            Some("ERROR" | "CLIENT_ERROR" | "NOTSTARTED") => Ok(Listed::Unknown),
            _ => Err(Broken::Garbage),
        };
    };
    let mut words = rest.split(' ');
    let key = words.next().and_then(|key| percent_decode(key).ok());
    let (mut bytes, mut used_secs) = (None, None);
    for word in words {
        match word.split_once('=') {
            Some(("size", number)) => bytes = decimal(number),
            Some(("la", number)) => used_secs = decimal(number),
            _ => {}
        }
    }
    Ok(Listed::Item { key, bytes, used_secs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_one_line_each() {
        let read = |said: &str| answer(&mut Incoming::new(&mut said.as_bytes()));
        for (said, expected) in [
            ("HD\r\n", Answer::Done(String::new())),
            ("HD s52 t-1\r\n", Answer::Done("s52 t-1".to_owned())),
            ("VA 0\r\n", Answer::Value(0)),
            ("VA 12 f0\r\n", Answer::Value(12)),
            ("EN\r\n", Answer::Missing),
            ("NF\r\n", Answer::Missing),
            ("SERVER_ERROR a b\r\n", Answer::Refused("SERVER_ERROR a b".to_owned())),
            ("CLIENT_ERROR unauthenticated\r\n", {
                Answer::Refused("CLIENT_ERROR unauthenticated".to_owned())
            }),
        ] {
            assert_eq!(read(said).ok(), Some(expected), "{said}");
        }
        for said in [
            "VA\r\n",
            "VA x\r\n",
            "VA -1\r\n",
            "VA +1\r\n",
            "VA 99999999999999999999\r\n",
            "NS\r\n",
            "EX\r\n",
            "ERROR\r\n",
            "CLIENT_ERROR bad data chunk\r\n",
            "STORED\r\n",
            "HDx\r\n",
            "\r\n",
            "HD\n",
        ] {
            assert!(matches!(read(said), Err(Broken::Garbage)), "{said}");
        }
    }

    #[test]
    fn a_list_has_one_line_for_each_item() {
        let read = |said: &str| listed(&mut Incoming::new(&mut said.as_bytes()));
        let item = |key: Option<&str>, bytes, used_secs| Listed::Item {
            key: key.map(str::to_owned),
            bytes,
            used_secs,
        };
        for (said, expected) in [
            (
                "key=a%2Fb%20c exp=-1 la=1700000000 cas=2 fetch=no cls=1 size=63 flags=0\n",
                item(Some("a/b c"), Some(63), Some(1_700_000_000)),
            ),
            ("key=x\r\n", item(Some("x"), None, None)),
            // Neither bytes that are no text nor the ends of lines are in a name.
            ("key=%FF la=1 size=x\r\n", item(None, None, Some(1))),
            ("key=%0D%0A la=1\r\n", item(None, None, Some(1))),
            ("END\r\n", Listed::End),
            ("BUSY currently processing crawler request\r\n", Listed::Busy),
            ("ERROR\r\n", Listed::Unknown),
            ("CLIENT_ERROR lru crawler disabled\r\n", Listed::Unknown),
        ] {
            assert_eq!(read(said).ok(), Some(expected), "{said}");
        }
        for said in ["", "key=x", "\r\n", "VALUE x 0 1\r\n", "keys=x\r\n"] {
            assert!(read(said).is_err(), "{said}");
        }
    }

    #[test]
    fn a_value_that_nobody_wants_is_passed_over() {
        for length in [0, 5, SKIP_BYTES, SKIP_BYTES + 1, 3 * SKIP_BYTES] {
            let said = [vec![b'x'; length as usize], b"\r\nEN\r\n".to_vec()].concat();
            let mut link = said.as_slice();
            let mut incoming = Incoming::new(&mut link);
            skip(&mut incoming, length, length).unwrap();
            assert_eq!(answer(&mut incoming).unwrap(), Answer::Missing, "{length}");
        }
        let mut link = &b"xxx\r\n"[..];
        let skipped = skip(&mut Incoming::new(&mut link), 3, 2);
        assert!(matches!(skipped, Err(Broken::TooLarge(3))));
    }
}
