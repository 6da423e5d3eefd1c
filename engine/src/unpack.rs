//! Sections that have been read and checked, and are decompressed as they are written.
//!
//! A large output that is decompressed whole takes a page of memory for each of its pages, and each
//! of them costs the kernel more than the bytes in it. Frame by frame, in a buffer that is used
//! again, it takes none, and the buffer stays in the processor's cache. Several processors take one
//! frame after the other; one of them writes, too.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Builder, available_parallelism};

use crate::checksum::xxh3_128;
use crate::codec::{self, Frame};
use crate::error::{Error, Result};
use crate::log::Segment;

/// Sections from this length on, in bytes, are decompressed as they are written.
pub const UNPACKED_BYTES_MIN: u64 = 1 << 20;

/// Threads that help to decompress: with more, writing takes longer than that.
const HELPERS_MAX: usize = 3;

/// The contents of a section, checked.
#[derive(Debug)]
pub struct Contents(Kind);

#[derive(Debug)]
enum Kind {
    Real(Stored, usize),
    Frames { packed: Stored, frames: Vec<Frame> },
}

/// Stored bytes.
#[derive(Debug)]
enum Stored {
    Memory(Vec<u8>),
    /// In the map of a segment, from this offset on.
    Mapped(Arc<Segment>, u64),
}

impl Stored {
    /// Lets `look` see a range of them; `None` if they cannot be read any more.
    fn with<R>(&self, range: Range<usize>, look: impl FnOnce(&[u8]) -> R) -> Option<R> {
        match self {
            Stored::Memory(bytes) => Some(look(&bytes[range])),
            Stored::Mapped(segment, at) => {
                segment.with_mapped(range.len(), at + range.start as u64, look)
            }
        }
    }
}

impl Contents {
    pub(crate) fn real(bytes: Vec<u8>) -> Contents {
        let length = bytes.len();
        Contents(Kind::Real(Stored::Memory(bytes), length))
    }

    /// Those of stored bytes that are zstd frames and have this checksum.
    ///
    /// # Errors
    /// `Corrupt` if they have not, or do not promise that length.
    pub(crate) fn packed(packed: Vec<u8>, real_bytes: u64, check: u128) -> Result<Contents> {
        let frames = checked_frames(&packed, real_bytes, check)?;
        Ok(Contents(Kind::Frames { packed: Stored::Memory(packed), frames }))
    }

    /// As [`Contents::packed`], of so many bytes at an offset of a segment; `None` if that is not
    /// mapped.
    ///
    /// # Errors
    /// As [`Contents::packed`].
    pub(crate) fn packed_in(
        segment: &Arc<Segment>,
        (at, bytes): (u64, usize),
        real_bytes: u64,
        check: u128,
    ) -> Option<Result<Contents>> {
        let frames =
            segment.with_mapped(bytes, at, |packed| checked_frames(packed, real_bytes, check))?;
        let packed = Stored::Mapped(segment.clone(), at);
        Some(frames.map(|frames| Contents(Kind::Frames { packed, frames })))
    }

    /// Those of bytes at an offset of a segment that are not compressed and have this checksum;
    /// `None` if that is not mapped.
    ///
    /// # Errors
    /// `Corrupt` if they have not.
    pub(crate) fn raw_in(
        segment: &Arc<Segment>,
        (at, bytes): (u64, usize),
        check: u128,
    ) -> Option<Result<Contents>> {
        let is_whole = segment.with_mapped(bytes, at, |raw| xxh3_128(raw) == check)?;
        let contents = Contents(Kind::Real(Stored::Mapped(segment.clone(), at), bytes));
        Some(is_whole.then_some(contents).ok_or_else(wrong_checksum))
    }

    /// Writes the real bytes of all contents to their targets: `write_at` gets a target, some bytes
    /// and their offset there, in any order.
    ///
    /// # Errors
    /// Those of `write_at`; `InvalidData` if a frame is damaged, for all that the checksum of its
    /// section is right. Some bytes have been written then.
    pub fn write_all<T>(
        all: &[(&Contents, T)],
        mut write_at: impl FnMut(&T, &[u8], u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut parts = Vec::new();
        for (number, (contents, target)) in all.iter().enumerate() {
            match &contents.0 {
                Kind::Real(stored, length) => stored
                    .with(0..*length, |bytes| write_at(target, bytes, 0))
                    .unwrap_or_else(|| Err(damaged(cut_short())))?,
                Kind::Frames { packed, frames } => {
                    let part = |frame| Part { number, packed, frame };
                    parts.extend(frames.iter().map(part));
                }
            }
        }
        let write = |part: &Part<'_>, bytes: &[u8]| {
            write_at(&all[part.number].1, bytes, part.frame.real.start)
        };
        let helpers = match parts.len() {
            0 | 1 => 0,
            count => available_parallelism().map_or(0, |n| n.get() - 1).min(count).min(HELPERS_MAX),
        };
        unpack(&parts, helpers, Part::unpack, write)
    }
}

fn checked_frames(packed: &[u8], real_bytes: u64, check: u128) -> Result<Vec<Frame>> {
    match xxh3_128(packed) == check {
        true => codec::frames(packed, real_bytes),
        false => Err(wrong_checksum()),
    }
}

fn wrong_checksum() -> Error {
    Error::corrupt("the checksum of a section is wrong")
}

fn cut_short() -> Error {
    Error::corrupt("a segment is cut short")
}

fn damaged(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// One frame of some contents.
struct Part<'a> {
    number: usize,
    packed: &'a Stored,
    frame: &'a Frame,
}

impl Part<'_> {
    fn unpack(&self, real: &mut Vec<u8>) -> io::Result<()> {
        let bytes = (self.frame.real.end - self.frame.real.start) as usize;
        let unpack = |packed: &[u8]| codec::decompress_into(packed, bytes, real);
        let unpacked = self.packed.with(self.frame.packed.clone(), unpack);
        unpacked.unwrap_or_else(|| Err(cut_short())).map_err(damaged)
    }
}

/// Unpacks each part once, here and in helpers, and writes it, here only: the kernel lets one write
/// to a file at a time, and with threads that all write it took as long.
fn unpack<'a, P: Sync>(
    parts: &'a [P],
    helpers: usize,
    unpack: impl Fn(&P, &mut Vec<u8>) -> io::Result<()> + Sync,
    mut write: impl FnMut(&P, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    let take = || -> Option<&'a P> { parts.get(next.fetch_add(1, Ordering::Relaxed)) };
    let help =
        |free: Receiver<Vec<u8>>, unpacked: Sender<(&'a P, io::Result<Vec<u8>>, usize)>, id| {
            for mut buffer in free {
                let Some(part) = take() else { break };
                let outcome = unpack(part, &mut buffer).map(|()| buffer);
                if unpacked.send((part, outcome, id)).is_err() {
                    break;
                }
            }
        };
    thread::scope(|scope| {
        let (give, unpacked) = channel();
        let mut free = Vec::new();
        for id in 0..helpers {
            let (give_back, buffers) = channel();
            let (give, help) = (give.clone(), &help);
            // Without a helper this one does more.
            let helper = Builder::new().spawn_scoped(scope, move || help(buffers, give, id));
            if helper.is_err() {
                break;
            }
            // One to unpack into while the other is written.
            (0..2).for_each(|_| drop(give_back.send(Vec::new())));
            free.push(give_back);
        }
        drop(give);
        let mut buffer = Vec::new();
        loop {
            let one = match unpacked.try_recv() {
                Ok(one) => Some(one),
                Err(_) => match take() {
                    Some(part) => {
                        unpack(part, &mut buffer)?;
                        write(part, &buffer)?;
                        continue;
                    }
                    None => unpacked.recv().ok(),
                },
            };
            let Some((part, outcome, id)) = one else { return Ok(()) };
            let buffer = outcome?;
            write(part, &buffer)?;
            drop(free[id].send(buffer));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{FRAME_BYTES_MAX, compress_frames};

    fn of(packed: Vec<u8>, real_bytes: u64) -> Result<Contents> {
        let check = xxh3_128(&packed);
        Contents::packed(packed, real_bytes, check)
    }

    fn text(bytes: usize) -> Vec<u8> {
        (0..bytes as u32).flat_map(|at| (at / 7).to_le_bytes()).take(bytes).collect()
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri runs no C code")]
    fn what_is_written_is_what_was_packed() {
        for bytes in [1000, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1, 9 * FRAME_BYTES_MAX + 77] {
            let real = text(bytes);
            let packed = compress_frames(&real, 1).unwrap();
            for contents in [of(packed, bytes as u64).unwrap(), Contents::real(real.clone())] {
                let mut file = vec![0; bytes];
                let write_at = |_: &(), part: &[u8], at: u64| {
                    file[at as usize..][..part.len()].copy_from_slice(part);
                    Ok(())
                };
                Contents::write_all(&[(&contents, ())], write_at).unwrap();
                assert!(file == real, "{bytes} bytes");
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri runs no C code")]
    fn damage_is_told_from_a_full_disk() {
        let real = text(5 * FRAME_BYTES_MAX);
        let packed = compress_frames(&real, 1).unwrap();
        let bytes = real.len() as u64;
        assert!(of(packed.clone(), bytes - 1).is_err());
        assert!(Contents::packed(packed.clone(), bytes, 7).is_err());
        assert!(of(packed[..packed.len() - 1].to_vec(), bytes).is_err());
        let mut harmed = packed.clone();
        let frames = codec::frames(&packed, bytes).unwrap();
        harmed[frames[2].packed.end - 20] ^= 0xff;
        let harmed = of(harmed, bytes).unwrap();
        let error = Contents::write_all(&[(&harmed, ())], |_, _, _| Ok(())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let full = |_: &(), _: &[u8], at: u64| match at >= 3 * FRAME_BYTES_MAX as u64 {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        };
        let whole = of(packed, bytes).unwrap();
        let error = Contents::write_all(&[(&whole, ())], full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn each_part_is_written_once_and_an_error_ends_all() {
        let parts: Vec<u64> = (0..300).collect();
        for helpers in [0, 1, 7] {
            let pack = |part: &u64, buffer: &mut Vec<u8>| {
                *buffer = part.to_le_bytes().to_vec();
                Ok(())
            };
            let mut done = Vec::new();
            let write = |part: &u64, bytes: &[u8]| {
                assert_eq!(bytes, part.to_le_bytes());
                done.push(*part);
                Ok(())
            };
            unpack(&parts, helpers, pack, write).unwrap();
            done.sort();
            assert_eq!(done, parts);
            let bad = |part: &u64, _: &mut Vec<u8>| match part {
                100 => Err(io::ErrorKind::InvalidData.into()),
                _ => Ok(()),
            };
            let error = unpack(&parts, helpers, bad, |_, _| Ok(())).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            let full = |_: &u64, _: &[u8]| Err(io::ErrorKind::StorageFull.into());
            let error = unpack(&parts, helpers, pack, full).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
    }
}
