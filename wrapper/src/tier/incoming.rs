//! What comes over a connection in answer to one call: lines, and values of a known length.
//!
//! 1. Nothing is read before it is asked for, but a read may bring what stands behind it; that is
//!    kept for the next one.
//! 2. A line has at most [`LINE_BYTES_MAX`]. A value is read straight into its place, and memory
//!    is reserved as its bytes come. Whether it is too long is for the caller to say, before.
//! 3. How reading fails tells whether anything had come: see [`Broken`].

use std::io::{self, Read};

use super::kept::io_error;
use super::open::too_large;
use super::{TierError, TierErrorKind};

/// Errors, numbers and other short texts.
const LINE_BYTES_MAX: usize = 4 << 10;
/// A read brings most of what a server says, and all of a short value.
pub(super) const READ_BYTES: usize = 16 << 10;
/// What is reserved for a value at once, however long it claims to be.
const RESERVE_BYTES_MAX: usize = 1 << 20;

/// Why there is no answer. The connection is of no use then.
#[derive(Debug)]
pub(super) enum Broken {
    /// It ended or failed before the first byte of the answer, as one does that the server closed.
    Before(io::Error),
    /// It ended or failed in the middle of the answer.
    Within(io::Error),
    /// A value of so many bytes is above the limit, and was not read.
    TooLarge(u64),
    /// That was no answer.
    Garbage,
}

impl Broken {
    /// The error for whoever called the tier, which takes bodies of `bytes_max`.
    pub(super) fn told(&self, tier: &str, bytes_max: u64) -> TierError {
        let odd = |text| TierError::new(TierErrorKind::Protocol, format!("{tier}: {text}"));
        match self {
            Broken::TooLarge(bytes) => too_large(tier, *bytes, bytes_max),
            Broken::Garbage => odd("its reply is none of the protocol"),
            Broken::Within(error) if error.kind() != io::ErrorKind::TimedOut => {
                odd("the connection ended within a reply")
            }
            Broken::Before(error) | Broken::Within(error) => io_error(tier, error),
        }
    }
}

/// An answer that is being read, or several.
pub(super) struct Incoming<'a, R> {
    link: &'a mut R,
    /// Bytes that have come, and how many of them have been read.
    come: Vec<u8>,
    at: usize,
    has_begun: bool,
}

impl<R: Read> Incoming<'_, R> {
    pub(super) fn new(link: &mut R) -> Incoming<'_, R> {
        Incoming { link, come: Vec::new(), at: 0, has_begun: false }
    }

    /// Whether nothing has come but what was read.
    pub(super) fn is_over(&self) -> bool {
        self.at == self.come.len()
    }

    /// What it comes over.
    pub(super) fn link(&mut self) -> &mut R {
        self.link
    }

    /// A line without its end.
    pub(super) fn line(&mut self) -> Result<String, Broken> {
        let line = self.bare_line()?;
        line.strip_suffix('\r').map(str::to_owned).ok_or(Broken::Garbage)
    }

    /// A line up to its newline, whatever stands before that.
    pub(super) fn bare_line(&mut self) -> Result<String, Broken> {
        let mut looked = self.at;
        loop {
            if let Some(found) = self.come[looked..].iter().position(|byte| *byte == b'\n') {
                let line = &self.come[self.at..looked + found];
                let line = std::str::from_utf8(line).map_err(|_| Broken::Garbage)?.to_owned();
                self.at = looked + found + 1;
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

    /// Appends a value of so many bytes, and reads the end of the line behind it.
    pub(super) fn value(&mut self, value: &mut Vec<u8>, length: usize) -> Result<(), Broken> {
        let end = value.len().checked_add(length).ok_or(Broken::Garbage)?;
        self.bytes(value, length.checked_add(2).ok_or(Broken::Garbage)?)?;
        if !value.ends_with(b"\r\n") {
            return Err(Broken::Garbage);
        }
        value.truncate(end);
        Ok(())
    }

    /// Appends so many bytes.
    pub(super) fn bytes(&mut self, bytes: &mut Vec<u8>, length: usize) -> Result<(), Broken> {
        let here = &self.come[self.at..];
        let here = &here[..here.len().min(length)];
        bytes.reserve(length.min(RESERVE_BYTES_MAX));
        bytes.extend_from_slice(here);
        self.at += here.len();
        let missing = (length - here.len()) as u64;
        if missing > 0 {
            let come = self.link.by_ref().take(missing).read_to_end(bytes);
            if come.map_err(Broken::Within)? as u64 != missing {
                return Err(Broken::Within(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(())
    }

    fn more(&mut self) -> Result<(), Broken> {
        // What has been read is of no use any more.
        self.come.drain(..self.at);
        self.at = 0;
        let mut bytes = [0; READ_BYTES];
        let count = match self.link.read(&mut bytes) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            read => read,
        };
        let failed = if self.has_begun { Broken::Within } else { Broken::Before };
        self.come.extend_from_slice(&bytes[..count.map_err(failed)?]);
        self.has_begun = true;
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

    #[test]
    fn lines_and_values_are_read_in_pieces_of_any_size() {
        let long = "x\r\n".repeat(20_000);
        let said = format!("one\r\n\r\n{long}\r\nab\r\ntwo\r\n");
        for piece in [1, 2, 3, 7, 4096, 100_000] {
            let mut link = Pieces(said.as_bytes(), piece);
            let mut incoming = Incoming::new(&mut link);
            let line = |incoming: &mut Incoming<'_, _>| incoming.line().unwrap();
            assert_eq!([line(&mut incoming), line(&mut incoming)], ["one", ""], "{piece}");
            let mut value = b"before".to_vec();
            incoming.value(&mut value, long.len()).unwrap();
            assert!(value == [b"before", long.as_bytes()].concat(), "{piece}");
            incoming.bytes(&mut value, 1).unwrap();
            assert!(value.ends_with(b"a"));
            assert_eq!([line(&mut incoming), line(&mut incoming)], ["b", "two"], "{piece}");
            assert!(incoming.is_over());
        }
    }

    #[test]
    fn an_end_is_before_or_within() {
        let read = |said: &str| Incoming::new(&mut said.as_bytes()).line();
        assert!(matches!(read(""), Err(Broken::Before(_))));
        assert!(matches!(read("a"), Err(Broken::Within(_))));
        assert!(matches!(read("a\n"), Err(Broken::Garbage)));
        let mut said = &b"4\r\nabcd\r"[..];
        let mut incoming = Incoming::new(&mut said);
        incoming.line().unwrap();
        assert!(matches!(incoming.value(&mut Vec::new(), 4), Err(Broken::Within(_))));
        let mut said = &b"4\r\nabcdef"[..];
        let mut incoming = Incoming::new(&mut said);
        incoming.line().unwrap();
        assert!(matches!(incoming.value(&mut Vec::new(), 4), Err(Broken::Garbage)));
    }

    #[test]
    fn nothing_is_reserved_for_what_is_only_claimed() {
        let mut said = &b"x\r\nabc"[..];
        let mut incoming = Incoming::new(&mut said);
        incoming.line().unwrap();
        let mut value = Vec::new();
        assert!(matches!(incoming.value(&mut value, usize::MAX / 4), Err(Broken::Within(_))));
        assert!(value.capacity() <= 2 * RESERVE_BYTES_MAX);
        assert!(matches!(incoming.value(&mut value, usize::MAX), Err(Broken::Garbage)));
        let long = "x".repeat(LINE_BYTES_MAX + READ_BYTES + 1);
        assert!(matches!(Incoming::new(&mut long.as_bytes()).line(), Err(Broken::Garbage)));
    }
}
