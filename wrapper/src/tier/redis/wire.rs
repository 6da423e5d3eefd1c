//! What Redis hears and says, on one connection (RESP, version 2).
//!
//! 1. At most one command is under way, so nothing follows its reply; if something does, that is
//!    no reply.
//! 2. A large value is written from where it stands, and read straight into its place. Its length
//!    is looked at before anything of it is read, and memory is reserved as its bytes come.
//! 3. Lists are short: [`ITEMS_MAX`] and [`SMALL_BYTES_MAX`] hold for all of one reply, and
//!    [`DEPTH_MAX`] for lists in lists.

use std::io::{self, Read, Write};

use super::super::address::decimal;
use super::super::link::Link;
use super::Command;

/// Texts and lines within lists, together: the largest is the list of a cluster's slots.
const SMALL_BYTES_MAX: usize = 1 << 20;
/// Values in one reply. A cluster has at most 16384 ranges, of a dozen values each as a rule.
const ITEMS_MAX: usize = 1 << 18;
/// Lists in lists: slots, a range, a node, and what newer servers add to it.
const DEPTH_MAX: usize = 6;
/// Errors and numbers.
const LINE_BYTES_MAX: usize = 4 << 10;
/// A first read brings most of what a server says, and all of a short value.
const FIRST_BYTES: usize = 16 << 10;
/// What is reserved for a text at once, however long it claims to be.
const RESERVE_BYTES_MAX: usize = 1 << 20;

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

/// Why there is no reply. The connection is of no use then.
#[derive(Debug)]
pub(super) enum Broken {
    /// It ended or failed before the first byte of the reply, as one does that the server closed.
    Before(io::Error),
    /// It ended or failed in the middle of the reply.
    Within(io::Error),
    /// A text of so many bytes is above the limit, and was not read.
    TooLarge(u64),
    /// That was no reply.
    Garbage,
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
        Some(large) if large.len() > FIRST_BYTES => {
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
    let mut first = vec![0; FIRST_BYTES];
    let count = match link.read(&mut first) {
        Ok(0) => return Err(Broken::Before(io::ErrorKind::UnexpectedEof.into())),
        Ok(count) => count,
        Err(error) => return Err(Broken::Before(error)),
    };
    first.truncate(count);
    let mut reader = Reader {
        link,
        come: first,
        at: 0,
        bytes_max,
        small_bytes_left: SMALL_BYTES_MAX,
        items_left: ITEMS_MAX,
    };
    let reply = reader.value(0)?;
    if reader.at < reader.come.len() { Err(Broken::Garbage) } else { Ok(reply) }
}

/// A reply that is being read.
struct Reader<'a, R> {
    link: &'a mut R,
    /// Bytes that have come, and how many of them have been read.
    come: Vec<u8>,
    at: usize,
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
        let mut looked = self.at;
        loop {
            if let Some(found) = self.come[looked..].iter().position(|byte| *byte == b'\n') {
                let line = &self.come[self.at..looked + found];
                let line = line.strip_suffix(b"\r").ok_or(Broken::Garbage)?;
                let line = std::str::from_utf8(line).map_err(|_| Broken::Garbage)?.to_owned();
                self.at = looked + found + 1;
                self.count_small(line.len())?;
                return Ok(line);
            }
            // What has been read goes, so the line begins at the front then.
            looked = self.come.len() - self.at;
            if looked > LINE_BYTES_MAX {
                return Err(Broken::Garbage);
            }
            self.more()?;
        }
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
        let with_end = length.checked_add(2).ok_or(Broken::Garbage)?;
        let here = &self.come[self.at..];
        let here = &here[..here.len().min(with_end)];
        self.at += here.len();
        let mut text = Vec::with_capacity(with_end.min(RESERVE_BYTES_MAX));
        text.extend_from_slice(here);
        let missing = (with_end - text.len()) as u64;
        self.link.by_ref().take(missing).read_to_end(&mut text).map_err(Broken::Within)?;
        if text.len() < with_end {
            return Err(Broken::Within(io::ErrorKind::UnexpectedEof.into()));
        }
        if !text.ends_with(b"\r\n") {
            return Err(Broken::Garbage);
        }
        text.truncate(length);
        Ok(text)
    }

    fn more(&mut self) -> Result<(), Broken> {
        // What has been read is of no use any more.
        self.come.drain(..self.at);
        self.at = 0;
        let mut bytes = [0; LINE_BYTES_MAX];
        match self.link.read(&mut bytes) {
            Ok(0) => Err(Broken::Within(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => {
                self.come.extend_from_slice(&bytes[..count]);
                Ok(())
            }
            Err(error) => Err(Broken::Within(error)),
        }
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
