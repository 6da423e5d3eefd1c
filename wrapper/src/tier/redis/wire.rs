//! What Redis hears and says, on one connection.
//!
//! 1. A command is packed by us, so that a large value is written from where it stands.
//! 2. At most one command is under way, so nothing follows its reply.
//! 3. A string is read by us, straight into its place: its length is looked at before anything of
//!    it is read, and memory is reserved as its bytes come. All other replies are small; the
//!    parser of the crate reads them, up to [`REPLY_BYTES_MAX`].

use std::io::{self, Read, Write};

use redis::{Parser, Value};

use super::super::address::decimal;
use super::super::link::Link;
use super::Command;

/// Replies other than strings: the largest is the list of a cluster's slots.
const REPLY_BYTES_MAX: u64 = 1 << 20;
/// A first read brings most of what a server says, and all of a short value.
const FIRST_BYTES: usize = 16 << 10;
/// `$`, a length, and the end of the line.
const LENGTH_LINE_BYTES_MAX: usize = 32;
/// What is reserved for a string at once, however long it claims to be.
const RESERVE_BYTES_MAX: usize = 1 << 20;

/// Why there is no reply. The connection is of no use then.
#[derive(Debug)]
pub(super) enum Broken {
    /// It ended or failed before the first byte of the reply, as one does that the server closed.
    Before(io::Error),
    /// It ended or failed in the middle of the reply.
    Within(io::Error),
    /// A string of so many bytes is above the limit, and was not read.
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

/// Receives the reply to the one command that is under way.
pub(super) fn receive(link: &mut Link, bytes_max: u64) -> Result<Value, Broken> {
    let mut first = vec![0; FIRST_BYTES];
    let count = match link.read(&mut first) {
        Ok(0) => return Err(Broken::Before(io::ErrorKind::UnexpectedEof.into())),
        Ok(count) => count,
        Err(error) => return Err(Broken::Before(error)),
    };
    first.truncate(count);
    if first[0] == b'$' {
        return string(link, first, bytes_max);
    }
    let rest = first.chain(link);
    let mut parser = Parser::new();
    parser.parse_value(rest.take(REPLY_BYTES_MAX)).map_err(broken)
}

/// The errors of the crate's parser hide what the connection said.
fn broken(error: redis::RedisError) -> Broken {
    if error.is_timeout() {
        Broken::Within(io::ErrorKind::TimedOut.into())
    } else if error.is_io_error() {
        Broken::Within(io::ErrorKind::UnexpectedEof.into())
    } else {
        Broken::Garbage
    }
}

/// A string, of which the first bytes have come.
fn string(link: &mut Link, mut first: Vec<u8>, bytes_max: u64) -> Result<Value, Broken> {
    let line_end = loop {
        if let Some(end) = first.iter().take(LENGTH_LINE_BYTES_MAX).position(|b| *b == b'\n') {
            break end;
        }
        if first.len() >= LENGTH_LINE_BYTES_MAX {
            return Err(Broken::Garbage);
        }
        let mut more = [0; LENGTH_LINE_BYTES_MAX];
        let count = link.read(&mut more).map_err(Broken::Within)?;
        if count == 0 {
            return Err(Broken::Within(io::ErrorKind::UnexpectedEof.into()));
        }
        first.extend_from_slice(&more[..count]);
    };
    let line = first[1..line_end].strip_suffix(b"\r").ok_or(Broken::Garbage)?;
    if line == b"-1" {
        return Ok(Value::Nil);
    }
    let length = std::str::from_utf8(line).ok().and_then(decimal::<u64>);
    let length = length.ok_or(Broken::Garbage)?;
    if length > bytes_max {
        return Err(Broken::TooLarge(length));
    }
    let length = usize::try_from(length).map_err(|_| Broken::TooLarge(length))?;
    let with_end = length.checked_add(2).ok_or(Broken::Garbage)?;
    let mut body = Vec::with_capacity(with_end.min(RESERVE_BYTES_MAX));
    body.extend_from_slice(&first[line_end + 1..]);
    if body.len() > with_end {
        return Err(Broken::Garbage);
    }
    let missing = (with_end - body.len()) as u64;
    link.take(missing).read_to_end(&mut body).map_err(Broken::Within)?;
    if body.len() < with_end {
        return Err(Broken::Within(io::ErrorKind::UnexpectedEof.into()));
    }
    if !body.ends_with(b"\r\n") {
        return Err(Broken::Garbage);
    }
    body.truncate(length);
    Ok(Value::BulkString(body))
}
