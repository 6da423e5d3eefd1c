//! Little-endian integers at fixed offsets of a byte slice: the only numbers that reach disk.
//!
//! Readers answer `None` outside the slice, so that no byte from disk can cause a panic. Writers
//! assert, because an offset outside one's own buffer is a programmer's error.

macro_rules! coding {
    ($read:ident, $write:ident, $number:ty) => {
        /// Reads the little-endian number at byte `at`, `None` if it does not lie in `bytes`.
        #[inline]
        pub fn $read(bytes: &[u8], at: usize) -> Option<$number> {
            let end = at.checked_add(size_of::<$number>())?;
            Some(<$number>::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
        }

        /// Writes the little-endian number at byte `at`.
        ///
        /// # Panics
        /// If it does not lie in `bytes`.
        #[inline]
        pub fn $write(bytes: &mut [u8], at: usize, number: $number) {
            bytes[at..at + size_of::<$number>()].copy_from_slice(&number.to_le_bytes());
        }
    };
}

coding!(read_u16, write_u16, u16);
coding!(read_u32, write_u32, u32);
coding!(read_u64, write_u64, u64);
coding!(read_u128, write_u128, u128);

/// Reads the byte at `at`.
#[inline]
pub fn read_u8(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// Reads `N` bytes at `at`.
#[inline]
pub fn read_array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Copies `part` to byte `at`.
///
/// # Panics
/// If it does not fit.
#[inline]
pub fn write_bytes(bytes: &mut [u8], at: usize, part: &[u8]) {
    bytes[at..at + part.len()].copy_from_slice(part);
}

/// `value` rounded up to the next multiple of `unit`, which is a power of two; `None` on overflow.
#[inline]
pub fn align_up(value: u64, unit: u64) -> Option<u64> {
    Some(value.checked_add(unit.checked_sub(1)?)? & !unit.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_outside_is_none_and_never_a_panic() {
        assert_eq!(read_u32(&[1, 0, 0, 0], 0), Some(1));
        assert_eq!(read_u32(&[1, 0, 0, 0], 1), None);
        assert_eq!(read_u64(&[0; 8], usize::MAX), None);
        assert_eq!(align_up(u64::MAX, 64), None);
        assert_eq!(align_up(65, 64), Some(128));
    }
}
