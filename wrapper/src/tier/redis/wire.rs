//! What Redis hears and says, on one connection (RESP, version 2).
//!
//! 1. At most one command is under way, so nothing follows its reply; if something does, that is
//!    no reply.
//! 2. A large value is written from where it stands, and read straight into its place. Its length
//!    is looked at before anything of it is read.
//! 3. Lists are short: [`ITEMS_MAX`] and [`SMALL_BYTES_MAX`] hold for all of one reply, and
//!    [`DEPTH_MAX`] for lists in lists.

use std::io::{self, Read, Write};

use super::super::address::decimal;
use super::super::incoming::{Broken, Incoming, READ_BYTES};
use super::super::link::Link;
use super::Command;

/// Texts and lines within lists, together: the largest is the list of a cluster's slots.
const SMALL_BYTES_MAX: usize = 1 << 20;
/// Values in one reply. A cluster has at most 16384 ranges, of a dozen values each as a rule.
const ITEMS_MAX: usize = 1 << 18;
/// Lists in lists: slots, a range, a node, and what newer servers add to it.
const DEPTH_MAX: usize = 6;

/// What a server says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// There is no value.
    Nil,
    /// A word as `OK`.
    Status(String),
    /// A number.
    Number(i64),
    /// Any bytes.
    Text(Vec<u8>),
    /// Several values.
    List(Vec<Reply>),
    /// An error: a code and more words.
    Error(String),
}

impl Reply {
    /// The code of an error.
    pub(super) fn error_code(&self) -> Option<&str> {
        match self {
            Reply::Error(line) => line.split(' ').next(),
            _ => None,
        }
    }
}

/// Sends a command.
///
/// # Errors
/// As the connection.
pub(super) fn send(link: &mut Link, command: &Command<'_>) -> io::Result<()> {
    let mut packed = Vec::with_capacity(256);
    let large_count = usize::from(command.large.is_some());
    let count = command.words.len() + large_count + command.options.len();
    packed.extend_from_slice(format!("*{count}\r\n").as_bytes());
    command.words.iter().for_each(|word| pack(&mut packed, word));
    match command.large {
        Some(large) if large.len() > READ_BYTES => {
            packed.extend_from_slice(format!("${}\r\n", large.len()).as_bytes());
            link.write_all(&packed)?;
            link.write_all(large)?;
            packed.clear();
            packed.extend_from_slice(b"\r\n");
        }
        Some(large) => pack(&mut packed, large),
        None => {}
    }
    command.options.iter().for_each(|word| pack(&mut packed, word));
    link.write_all(&packed)?;
    link.flush()
}

fn pack(packed: &mut Vec<u8>, word: &[u8]) {
    packed.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
    packed.extend_from_slice(word);
    packed.extend_from_slice(b"\r\n");
}

/// Receives the reply to the one command that is under way; a text may have `bytes_max`.
pub(super) fn receive(link: &mut impl Read, bytes_max: u64) -> Result<Reply, Broken> {
    let mut reader = Reader {
        incoming: Incoming::new(link),
        bytes_max,
        small_bytes_left: SMALL_BYTES_MAX,
        items_left: ITEMS_MAX,
    };
    let reply = reader.value(0)?;
    if reader.incoming.is_over() { Ok(reply) } else { Err(Broken::Garbage) }
}

/// A reply that is being read.
struct Reader<'a, R> {
    incoming: Incoming<'a, R>,
    bytes_max: u64,
    small_bytes_left: usize,
    items_left: usize,
}

impl<R: Read> Reader<'_, R> {
    fn value(&mut self, depth: usize) -> Result<Reply, Broken> {
        self.items_left = self.items_left.checked_sub(1).ok_or(Broken::Garbage)?;
        let line = self.line()?;
        let (kind, rest) = line.split_at_checked(1).ok_or(Broken::Garbage)?;
        match kind {
            "+" => Ok(Reply::Status(rest.to_owned())),
            "-" => Ok(Reply::Error(rest.to_owned())),
            ":" => rest.parse().map(Reply::Number).map_err(|_| Broken::Garbage),
            "$" | "*" if rest == "-1" => Ok(Reply::Nil),
            "$" => self.text(decimal(rest).ok_or(Broken::Garbage)?, depth).map(Reply::Text),
            "*" => {
                let count: usize = decimal(rest).ok_or(Broken::Garbage)?;
                if count > self.items_left || depth == DEPTH_MAX {
                    return Err(Broken::Garbage);
                }
                let values = (0..count).map(|_| self.value(depth + 1));
                values.collect::<Result<_, _>>().map(Reply::List)
            }
            _ => Err(Broken::Garbage),
        }
    }

    /// A line without its end.
    fn line(&mut self) -> Result<String, Broken> {
        let line = self.incoming.line()?;
        self.count_small(line.len())?;
        Ok(line)
    }

    /// A text of so many bytes, as the server says.
    fn text(&mut self, length: u64, depth: usize) -> Result<Vec<u8>, Broken> {
        if length > self.bytes_max {
            return Err(Broken::TooLarge(length));
        }
        let length = usize::try_from(length).map_err(|_| Broken::TooLarge(length))?;
        if depth > 0 {
            self.count_small(length)?;
        }
        let mut text = Vec::new();
        self.incoming.value(&mut text, length)?;
        Ok(text)
    }

    fn count_small(&mut self, bytes: usize) -> Result<(), Broken> {
        self.small_bytes_left = self.small_bytes_left.checked_sub(bytes).ok_or(Broken::Garbage)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len());
            (&mut self.0).take(count as u64).read(buffer)
        }
    }

    fn text(text: &str) -> Reply {
        Reply::Text(text.as_bytes().to_vec())
    }

    #[test]
    fn replies_are_read_in_pieces_of_any_size() {
        let long = "x".repeat(50_000);
        let cases = [
            ("+OK\r\n".to_owned(), Reply::Status("OK".to_owned())),
            ("-ERR no\r\n".to_owned(), Reply::Error("ERR no".to_owned())),
            (":-12\r\n".to_owned(), Reply::Number(-12)),
            ("$-1\r\n".to_owned(), Reply::Nil),
            ("*-1\r\n".to_owned(), Reply::Nil),
            ("$0\r\n\r\n".to_owned(), text("")),
            ("$5\r\na\r\nb\n\r\n".to_owned(), text("a\r\nb\n")),
            (format!("$50000\r\n{long}\r\n"), text(&long)),
            ("*0\r\n".to_owned(), Reply::List(Vec::new())),
            ("*3\r\n$1\r\na\r\n*1\r\n:1\r\n$-1\r\n".to_owned(), {
                Reply::List(vec![text("a"), Reply::List(vec![Reply::Number(1)]), Reply::Nil])
            }),
        ];
        for (said, expected) in cases {
            for piece in [1, 2, 3, 7, 100_000] {
                let read = receive(&mut Pieces(said.as_bytes(), piece), 50_000);
                assert_eq!(read.ok().as_ref(), Some(&expected), "{said:.20} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_cut_or_followed_by_more_is_no_reply() {
        let said = "*2\r\n$3\r\nabc\r\n*1\r\n:1\r\n";
        for end in 1..said.len() {
            for piece in [1, 100] {
                let read = receive(&mut Pieces(&said.as_bytes()[..end], piece), 100);
                assert!(matches!(read, Err(Broken::Within(_))), "{end}: {read:?}");
            }
        }
        let read = receive(&mut Pieces(b"+OK\r\n+OK\r\n", 100), 100);
        assert!(matches!(read, Err(Broken::Garbage)), "{read:?}");
        assert!(matches!(receive(&mut Pieces(b"", 1), 100), Err(Broken::Before(_))));
    }

    #[test]
    fn limits_are_those_of_the_whole_reply() {
        let deep = |depth: usize| format!("{}:1\r\n", "*1\r\n".repeat(depth));
        assert!(receive(&mut deep(DEPTH_MAX).as_bytes(), 100).is_ok());
        let texts = |count: usize| format!("*{count}\r\n{}", "$9\r\nabcdefghi\r\n".repeat(count));
        assert!(receive(&mut texts(50_000).as_bytes(), 100).is_ok());
        for said in [deep(DEPTH_MAX + 1), texts(100_000), texts(ITEMS_MAX), ":1x\r\n".to_owned()] {
            let read = receive(&mut said.as_bytes(), 100);
            assert!(matches!(read, Err(Broken::Garbage)), "{said:.20}");
        }
        assert!(matches!(receive(&mut &b"$101\r\n"[..], 100), Err(Broken::TooLarge(101))));
    }
}
