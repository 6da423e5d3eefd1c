//! Compression of sections: raw or zstd, with decompression bounded by the length that was
//! promised.

use std::cell::RefCell;
use std::io::Read;

use zstd::bulk::{Compressor, Decompressor};

use crate::error::{Error, Result};
use crate::limits::SECTION_BYTES_MAX;

/// What [`check_frame`] looks at in one piece, in bytes: it stands on the stack.
const CHECK_PIECE_BYTES: usize = 16 << 10;

/// How the bytes of a section are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Codec {
    /// As they are.
    Raw = 0,
    /// One zstd frame.
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
}

/// Compresses `bytes` into one zstd frame, or answers `None` where that would not make it smaller.
pub fn compress(bytes: &[u8], level: i32) -> Option<Vec<u8>> {
    if cfg!(miri) {
        // Miri runs no C code. What does not get smaller is stored as it is.
        return None;
    }
    let packed = COMPRESSOR.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(made_for, _)| *made_for != level) {
            *slot = Some((level, Compressor::new(level).ok()?));
        }
        slot.as_mut()?.1.compress(bytes).ok()
    })?;
    (packed.len() < bytes.len()).then_some(packed)
}

/// Decompresses one zstd frame that must give exactly `real_bytes` bytes.
///
/// # Errors
/// `Corrupt` if the frame is damaged or gives another length; never allocates beyond `real_bytes`,
/// which the caller has bounded, and never before the frame's own header agrees.
pub fn decompress(packed: &[u8], real_bytes: usize) -> Result<Vec<u8>> {
    if cfg!(miri) {
        return Err(Error::corrupt("Miri runs no C code: nothing can be decompressed"));
    }
    match zstd::zstd_safe::get_frame_content_size(packed) {
        Ok(Some(size)) if size == real_bytes as u64 => {}
        _ => return Err(Error::corrupt("a compressed section does not declare its length")),
    }
    let mut real = Vec::new();
    real.try_reserve_exact(real_bytes)
        .map_err(|_| Error::corrupt("a compressed section is larger than memory"))?;
    DECOMPRESSOR
        .with_borrow_mut(|slot| {
            if slot.is_none() {
                *slot = Decompressor::new().ok();
            }
            slot.as_mut()?.decompress_to_buffer(packed, &mut real).ok()
        })
        .ok_or_else(|| Error::corrupt("a compressed section is damaged"))?;
    if real.len() != real_bytes {
        return Err(Error::corrupt("a compressed section has another length than promised"));
    }
    Ok(real)
}

/// Checks that bytes are one zstd frame that declares `real_bytes` bytes and gives exactly those.
/// They are decompressed piece by piece and forgotten, so that a small frame that gives much takes
/// time, but no memory beyond the window of zstd.
///
/// # Errors
/// `Corrupt` if they are anything else.
pub fn check_frame(packed: &[u8], real_bytes: u64) -> Result<()> {
    if cfg!(miri) {
        return decompress(packed, 0).map(drop);
    }
    let wrong = || Error::corrupt("a section is no zstd frame of the length that it promises");
    match zstd::zstd_safe::get_frame_content_size(packed) {
        Ok(Some(size)) if size == real_bytes => {}
        _ => return Err(wrong()),
    }
    let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|_| wrong())?;
    let mut decoder = decoder.single_frame();
    let mut piece = [0; CHECK_PIECE_BYTES];
    let mut seen = 0u64;
    while seen <= real_bytes {
        match decoder.read(&mut piece).map_err(|_| wrong())? {
            0 => break,
            count => seen += count as u64,
        }
    }
    match seen == real_bytes && decoder.finish().is_empty() {
        true => Ok(()),
        false => Err(wrong()),
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
    fn a_frame_is_checked_as_it_is_decompressed() {
        let text = b"abcabcabcabcabcabcabcabcabcabcabcabcabcabc".repeat(3_000);
        let packed = compress(&text, 1).expect("repetitive text compresses");
        check_frame(&packed, text.len() as u64).unwrap();
        for wrong in [0, text.len() as u64 - 1, text.len() as u64 + 1, u64::MAX] {
            assert!(check_frame(&packed, wrong).unwrap_err().is_corrupt(), "{wrong}");
        }
        let bytes = text.len() as u64;
        for wrong in [&packed[..packed.len() - 1], &[&packed[..], b"x"].concat(), &packed.repeat(2)]
        {
            assert!(check_frame(wrong, bytes).unwrap_err().is_corrupt());
        }
        // One that declares no length.
        let streamed = zstd::stream::encode_all(text.as_slice(), 1).unwrap();
        assert!(check_frame(&streamed, bytes).unwrap_err().is_corrupt());
    }

    #[test]
    fn noise_is_left_raw() {
        let noise: Vec<u8> =
            (0..64u64).flat_map(|i| crate::checksum::xxh3_64(&[], i).to_le_bytes()).collect();
        assert_eq!(compress(&noise, 3), None);
    }
}
