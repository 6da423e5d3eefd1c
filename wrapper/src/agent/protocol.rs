//! What wrappers and the agent say to each other, one frame a turn. Numbers are little-endian:
//!
//! ```text
//! frame   = length:u32 tag:u8 payload       the length is that of tag and payload
//! get     = 1 kind:u8 from:u8 key:32        asks the tiers from this one on; answered
//! stored  = 2                               there is something to be written behind; not answered
//! sync    = 3 [key:32]                      writes these to every tier now; answered
//! flush   = 4 wait_ms:u64                   waits until all is written behind; answered
//! status  = 5                               answered by a text
//! stop    = 6                               answered, then the agent leaves
//! found   = 1 tier:u8                       it stands in the local store now, from this tier
//! absent  = 2                               no tier has it, or none could be asked
//! done    = 3
//! failed  = 4 text
//! text    = 5 text
//! ```
//!
//! No artifact crosses the socket: the agent puts it into the store, and the wrapper reads it
//! there.

use std::io::{self, Read, Write};

use larder_engine::{KEY_BYTES, Key, RecordKind};

/// Part of the socket's name, so that programs that do not understand each other do not meet.
pub const VERSION: u8 = 1;
/// Nobody has more to say in one frame.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// What a wrapper or a command asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// A record of this kind, from the tier of this number on.
    Get {
        /// What the record has to be.
        kind: RecordKind,
        /// The first tier that is asked, counted from 0.
        from: u8,
        /// Its key.
        key: Key,
    },
    /// Something was stored.
    Stored,
    /// Writes these records to every tier, and waits for it.
    Sync(Vec<Key>),
    /// Waits until everything is written behind, at most for so long.
    Flush {
        /// Milliseconds.
        wait_ms: u64,
    },
    /// How it is.
    Status,
    /// Leave.
    Stop,
}

/// What the agent answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The record stands in the local store; the tier of this number had it.
    Found(u8),
    /// No tier has it, or none could be asked.
    Absent,
    /// It is done.
    Done,
    /// It could not be done, and why.
    Failed(String),
    /// A text.
    Text(String),
}

impl Request {
    /// Whether the agent answers it.
    pub fn is_answered(&self) -> bool {
        !matches!(self, Request::Stored)
    }

    /// Sends it.
    ///
    /// # Errors
    /// As the stream's.
    pub fn send(&self, stream: &mut impl Write) -> io::Result<()> {
        let (tag, payload) = match self {
            Request::Get { kind, from, key } => {
                (1, [&[*kind as u8, *from][..], key.as_bytes()].concat())
            }
            Request::Stored => (2, Vec::new()),
            Request::Sync(keys) => (3, keys.iter().flat_map(|key| *key.as_bytes()).collect()),
            Request::Flush { wait_ms } => (4, wait_ms.to_le_bytes().to_vec()),
            Request::Status => (5, Vec::new()),
            Request::Stop => (6, Vec::new()),
        };
        send(stream, tag, &payload)
    }

    /// The next one, `None` at the end of the stream.
    ///
    /// # Errors
    /// As the stream's; `InvalidData` for what is no request.
    pub fn receive(stream: &mut impl Read) -> io::Result<Option<Request>> {
        let Some((tag, payload)) = receive(stream)? else { return Ok(None) };
        let request = match (tag, &payload[..]) {
            (1, [kind, from, key @ ..]) => {
                let kind = RecordKind::from_number(*kind);
                let key = <[u8; KEY_BYTES]>::try_from(key).ok();
                kind.zip(key).map(|(kind, key)| {
                    let key = Key::from_bytes(key);
                    Request::Get { kind, from: *from, key }
                })
            }
            (2, []) => Some(Request::Stored),
            (3, keys) => keys_of(keys).map(Request::Sync),
            (4, wait) => {
                let wait = <[u8; 8]>::try_from(wait).ok().map(u64::from_le_bytes);
                wait.map(|wait_ms| Request::Flush { wait_ms })
            }
            (5, []) => Some(Request::Status),
            (6, []) => Some(Request::Stop),
            _ => None,
        };
        request.map(Some).ok_or_else(|| wrong("no request"))
    }
}

impl Reply {
    /// Sends it.
    ///
    /// # Errors
    /// As the stream's.
    pub fn send(&self, stream: &mut impl Write) -> io::Result<()> {
        match self {
            Reply::Found(tier) => send(stream, 1, &[*tier]),
            Reply::Absent => send(stream, 2, &[]),
            Reply::Done => send(stream, 3, &[]),
            Reply::Failed(text) => send(stream, 4, text.as_bytes()),
            Reply::Text(text) => send(stream, 5, text.as_bytes()),
        }
    }

    /// The next one.
    ///
    /// # Errors
    /// As the stream's; `InvalidData` for what is no reply, `UnexpectedEof` at its end.
    pub fn receive(stream: &mut impl Read) -> io::Result<Reply> {
        let (tag, payload) = receive(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let text = || String::from_utf8_lossy(&payload).into_owned();
        match (tag, &payload[..]) {
            (1, [tier]) => Ok(Reply::Found(*tier)),
            (2, []) => Ok(Reply::Absent),
            (3, []) => Ok(Reply::Done),
            (4, _) => Ok(Reply::Failed(text())),
            (5, _) => Ok(Reply::Text(text())),
            _ => Err(wrong("no reply")),
        }
    }
}

fn keys_of(bytes: &[u8]) -> Option<Vec<Key>> {
    let keys = bytes.chunks(KEY_BYTES);
    keys.map(|key| Some(Key::from_bytes(key.try_into().ok()?))).collect()
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// In one piece, so that a frame is one system call.
fn send(stream: &mut impl Write, tag: u8, payload: &[u8]) -> io::Result<()> {
    let length = (payload.len() as u32 + 1).to_le_bytes();
    stream.write_all(&[&length[..], &[tag], payload].concat())
}

fn receive(stream: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut length = [0; 4];
    match stream.read(&mut length)? {
        0 => return Ok(None),
        4 => {}
        count => stream.read_exact(&mut length[count..])?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if !(1..=FRAME_BYTES_MAX).contains(&length) {
        return Err(wrong("a frame of an impossible length"));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    let payload = frame.split_off(1);
    Ok(Some((frame[0], payload)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received() {
        let key = Key::of(b"a");
        let requests = [
            Request::Get { kind: RecordKind::Manifest, from: 2, key },
            Request::Stored,
            Request::Sync(vec![key, Key::of(b"b")]),
            Request::Sync(Vec::new()),
            Request::Flush { wait_ms: 1 << 40 },
            Request::Status,
            Request::Stop,
        ];
        let mut bytes = Vec::new();
        requests.iter().for_each(|request| request.send(&mut bytes).unwrap());
        let mut stream = &bytes[..];
        for request in requests {
            assert_eq!(Request::receive(&mut stream).unwrap(), Some(request));
        }
        assert_eq!(Request::receive(&mut stream).unwrap(), None);
        let replies = [
            Reply::Found(3),
            Reply::Absent,
            Reply::Done,
            Reply::Failed("no".to_owned()),
            Reply::Text(String::new()),
        ];
        let mut bytes = Vec::new();
        replies.iter().for_each(|reply| reply.send(&mut bytes).unwrap());
        let mut stream = &bytes[..];
        for reply in replies {
            assert_eq!(Reply::receive(&mut stream).unwrap(), reply);
        }
        assert!(Reply::receive(&mut stream).is_err());
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [
            &b"\0\0\0\0"[..],
            b"\x01\0\0\0\x07",
            b"\x01\0\0\0\x01",
            b"\x02\0\0\0\x02x",
            b"\xff\xff\xff\xff\x02",
            b"\x05\0\0\0\x02",
            b"\x03\0\0\0\x03xx",
            b"\x03\0",
        ] {
            assert!(Request::receive(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
    }
}
