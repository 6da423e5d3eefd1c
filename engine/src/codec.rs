//! Compression of sections: raw or zstd, with decompression bounded by the length that was
//! promised.

use std::cell::RefCell;
use std::io::Read;
use std::ops::Range;

use zstd::bulk::{Compressor, Decompressor};

use crate::error::{Error, Result};
use crate::limits::SECTION_BYTES_MAX;

/// Real bytes of a frame at most: large sections are many frames, so that several processors can
/// decompress them, each in a buffer that stays in its cache. (Libraries of rustc become 1.5 %
/// larger by it.)
pub const FRAME_BYTES_MAX: usize = 512 << 10;

/// What [`check_frames`] looks at of a longer frame in one piece, in bytes: it stands on the stack.
const CHECK_PIECE_BYTES: usize = 16 << 10;

/// How the bytes of a section are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Codec {
    /// As they are.
    Raw = 0,
    /// zstd frames, one after the other.
    Zstd = 1,
    /// A range of the decompressed group of small sections.
    Grouped = 2,
}

impl Codec {
    /// The codec of a number in a section table.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Codec::Raw),
            1 => Some(Codec::Zstd),
            2 => Some(Codec::Grouped),
            _ => None,
        }
    }
}

thread_local! {
    // A zstd context is some hundred kilobytes to set up, and is fit for use again.
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    // What a check decompresses to, and nobody looks at.
    static CHECKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Compresses `bytes` into one zstd frame, or answers `None` where that would not make it smaller.
pub fn compress(bytes: &[u8], level: i32) -> Option<Vec<u8>> {
    compress_always(bytes, level).filter(|packed| packed.len() < bytes.len())
}

/// Compresses `bytes` into one zstd frame; `None` without memory.
fn compress_always(bytes: &[u8], level: i32) -> Option<Vec<u8>> {
    if cfg!(miri) {
        // Miri runs no C code. What does not get smaller is stored as it is.
        return None;
    }
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(made_for, _)| *made_for != level) {
            *slot = Some((level, Compressor::new(level).ok()?));
        }
        slot.as_mut()?.1.compress(bytes).ok()
    })
}

/// Compresses `bytes` into zstd frames of at most [`FRAME_BYTES_MAX`] real bytes each, one after
/// the other, or answers `None` where that would not make it smaller.
pub fn compress_frames(bytes: &[u8], level: i32) -> Option<Vec<u8>> {
    if bytes.len() <= FRAME_BYTES_MAX {
        return compress(bytes, level);
    }
    let mut packed = Vec::with_capacity(bytes.len() / 4);
    for part in bytes.chunks(FRAME_BYTES_MAX) {
        packed.extend_from_slice(&compress_always(part, level)?);
    }
    (packed.len() < bytes.len()).then_some(packed)
}

/// One of the zstd frames of a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Where it stands among the stored bytes.
    pub packed: Range<usize>,
    /// Where what it gives stands among the real bytes.
    pub real: Range<u64>,
}

/// The zstd frames that the stored bytes of a section are.
///
/// # Errors
/// `Corrupt` unless they are frames, nothing stands between them or behind them, each declares its
/// length, which is not 0, and that is `real_bytes` together.
pub fn frames(packed: &[u8], real_bytes: u64) -> Result<Vec<Frame>> {
    if cfg!(miri) {
        return Err(Error::corrupt("Miri runs no C code: nothing can be decompressed"));
    }
    let mut frames = Vec::new();
    let (mut start, mut real_start) = (0, 0u64);
    while start < packed.len() {
        let rest = &packed[start..];
        let bytes = zstd::zstd_safe::find_frame_compressed_size(rest).map_err(|_| broken_word())?;
        let end = start.checked_add(bytes).filter(|end| bytes > 0 && *end <= packed.len());
        let real = match zstd::zstd_safe::get_frame_content_size(rest) {
            Ok(Some(real)) if real > 0 => real_start.checked_add(real),
            _ => None,
        };
        let (Some(end), Some(real_end)) = (end, real.filter(|end| *end <= real_bytes)) else {
            return Err(broken_word());
        };
        frames.push(Frame { packed: start..end, real: real_start..real_end });
        (start, real_start) = (end, real_end);
    }
    if real_start != real_bytes || frames.is_empty() {
        return Err(broken_word());
    }
    Ok(frames)
}

fn broken_word() -> Error {
    Error::corrupt("a section is no zstd frames of the length that it promises")
}

/// Decompresses zstd frames as [`frames`] has them, which must give exactly `real_bytes` bytes.
///
/// # Errors
/// `Corrupt` if a frame is damaged or gives another length; never allocates beyond `real_bytes`,
/// which the caller has bounded, and never before the frames' own headers agree.
pub fn decompress(packed: &[u8], real_bytes: usize) -> Result<Vec<u8>> {
    let mut real = Vec::new();
    frames(packed, real_bytes as u64)?;
    decompress_into(packed, real_bytes, &mut real)?;
    Ok(real)
}

/// Decompresses zstd frames, which are known to declare `real_bytes` together, into `real`.
///
/// # Errors
/// `Corrupt` if a frame is damaged.
pub fn decompress_into(packed: &[u8], real_bytes: usize, real: &mut Vec<u8>) -> Result<()> {
    real.clear();
    real.try_reserve_exact(real_bytes)
        .map_err(|_| Error::corrupt("a compressed section is larger than memory"))?;
    DECOMPRESSOR
        .with_borrow_mut(|slot| {
            if slot.is_none() {
                *slot = Decompressor::new().ok();
            }
            slot.as_mut()?.decompress_to_buffer(packed, real).ok()
        })
        .ok_or_else(|| Error::corrupt("a compressed section is damaged"))?;
    if real.len() != real_bytes {
        return Err(Error::corrupt("a compressed section has another length than promised"));
    }
    Ok(())
}

/// Checks that bytes are zstd frames as [`frames`] has them, and that they give what they declare.
/// What they give is forgotten; of a frame that is longer than any writer's it is never held whole,
/// so that a small one that gives much takes time, but no memory.
///
/// # Errors
/// `Corrupt` if they are anything else.
pub fn check_frames(packed: &[u8], real_bytes: u64) -> Result<()> {
    for frame in frames(packed, real_bytes)? {
        let (packed, real) = (&packed[frame.packed], frame.real.end - frame.real.start);
        match usize::try_from(real) {
            Ok(real) if real <= FRAME_BYTES_MAX => {
                let unpack = |buffer: &mut Vec<u8>| decompress_into(packed, real, buffer);
                CHECKED.with_borrow_mut(unpack).map_err(|_| broken_word())?;
            }
            _ => check_in_pieces(packed, real)?,
        }
    }
    Ok(())
}

fn check_in_pieces(packed: &[u8], real_bytes: u64) -> Result<()> {
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(packed).map_err(|_| broken_word())?;
    let mut piece = [0; CHECK_PIECE_BYTES];
    let mut seen = 0u64;
    while seen <= real_bytes {
        match decoder.read(&mut piece).map_err(|_| broken_word())? {
            0 => break,
            count => seen += count as u64,
        }
    }
    match seen == real_bytes && decoder.finish().is_empty() {
        true => Ok(()),
        false => Err(broken_word()),
    }
}

/// Decompresses one zstd frame to the length that it declares itself, at most that of a section.
///
/// # Errors
/// `Corrupt` if the frame is damaged or declares no length or too large a one.
pub fn decompress_frame(packed: &[u8]) -> Result<Vec<u8>> {
    if cfg!(miri) {
        return decompress(packed, 0);
    }
    match zstd::zstd_safe::get_frame_content_size(packed) {
        Ok(Some(size)) if size <= SECTION_BYTES_MAX => decompress(packed, size as usize),
        _ => Err(Error::corrupt("a frame does not declare a sane length")),
    }
}

/// Decompresses one zstd frame that need not declare its length, and that nothing follows.
///
/// # Errors
/// `Corrupt` if the frame is damaged or gives more than `bytes_max` bytes; no more than that is
/// ever held.
pub fn decompress_up_to(packed: &[u8], bytes_max: u64) -> Result<Vec<u8>> {
    if cfg!(miri) {
        return decompress(packed, 0);
    }
    let damaged = |_| Error::corrupt("a zstd frame is damaged");
    let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(damaged)?;
    let mut limited = decoder.single_frame().take(bytes_max.saturating_add(1));
    let mut real = Vec::new();
    limited.read_to_end(&mut real).map_err(damaged)?;
    if real.len() as u64 > bytes_max {
        return Err(Error::corrupt("a zstd frame gives more than it may"));
    }
    match limited.into_inner().finish().is_empty() {
        true => Ok(real),
        false => Err(Error::corrupt("something follows a zstd frame")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "Miri runs no C code")]
    fn a_frame_without_length_is_bounded() {
        let text = b"abcabcabcabcabcabcabcabcabcabcabcabcabcabc".repeat(100);
        let packed = zstd::stream::encode_all(text.as_slice(), 1).unwrap();
        assert_eq!(decompress_up_to(&packed, text.len() as u64).unwrap(), text);
        assert!(decompress_up_to(&packed, text.len() as u64 - 1).unwrap_err().is_corrupt());
        assert!(decompress_up_to(&packed[..packed.len() - 1], 1 << 20).unwrap_err().is_corrupt());
        let more = [packed.as_slice(), b"x"].concat();
        assert!(decompress_up_to(&more, 1 << 20).unwrap_err().is_corrupt());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri runs no C code")]
    fn a_round_trip_is_exact_and_a_wrong_length_is_corrupt() {
        let text = b"abcabcabcabcabcabcabcabcabcabcabcabcabcabc".repeat(10);
        let packed = compress(&text, 1).expect("repetitive text compresses");
        assert_eq!(decompress(&packed, text.len()).unwrap(), text);
        for wrong in [0, text.len() - 1, text.len() + 1] {
            assert!(decompress(&packed, wrong).unwrap_err().is_corrupt());
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri runs no C code")]
    fn frames_are_checked_as_they_are_decompressed() {
        let text = b"abcabcabcabcabcabcabcabcabcabcabcabcabcabc".repeat(3_000);
        let packed = compress(&text, 1).expect("repetitive text compresses");
        check_frames(&packed, text.len() as u64).unwrap();
        for wrong in [0, text.len() as u64 - 1, text.len() as u64 + 1, u64::MAX] {
            assert!(check_frames(&packed, wrong).unwrap_err().is_corrupt(), "{wrong}");
        }
        let bytes = text.len() as u64;
        for wrong in [&packed[..packed.len() - 1], &[&packed[..], b"x"].concat(), &packed.repeat(2)]
        {
            assert!(check_frames(wrong, bytes).unwrap_err().is_corrupt());
        }
        // Nothing, and something that zstd passes over.
        let skipped = [b"\x50\x2a\x4d\x18\x01\0\0\0x", &packed[..]].concat();
        for wrong in [&[][..], &skipped] {
            assert!(check_frames(wrong, bytes).unwrap_err().is_corrupt());
            assert!(decompress(wrong, text.len()).unwrap_err().is_corrupt());
        }
        // One that declares no length.
        let streamed = zstd::stream::encode_all(text.as_slice(), 1).unwrap();
        assert!(check_frames(&streamed, bytes).unwrap_err().is_corrupt());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri runs no C code")]
    fn large_sections_are_frames_that_stand_behind_each_other() {
        for bytes in [FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1, 3 * FRAME_BYTES_MAX] {
            let real: Vec<u8> = (0..bytes as u32).map(|at| (at >> 9) as u8).collect();
            let packed = compress_frames(&real, 1).unwrap();
            let frames = frames(&packed, bytes as u64).unwrap();
            assert_eq!(frames.len(), bytes.div_ceil(FRAME_BYTES_MAX));
            let mut part = Vec::new();
            for frame in &frames {
                let range = frame.real.start as usize..frame.real.end as usize;
                decompress_into(&packed[frame.packed.clone()], range.len(), &mut part).unwrap();
                assert_eq!(part, real[range]);
            }
            assert_eq!(frames.last().unwrap().packed.end, packed.len());
            assert_eq!(decompress(&packed, bytes).unwrap(), real);
            check_frames(&packed, bytes as u64).unwrap();
        }
    }

    #[test]
    fn noise_is_left_raw() {
        let noise: Vec<u8> =
            (0..64u64).flat_map(|i| crate::checksum::xxh3_64(&[], i).to_le_bytes()).collect();
        assert_eq!(compress(&noise, 3), None);
    }
}
