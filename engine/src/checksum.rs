//! Checksums: XXH3, of 128 bits for sections and of 32 or 24 for everything smaller.
//!
//! No CRC, although it would find every short burst: its fast forms ask the processor what it can
//! do, and under a hypervisor that costs a process more than a look-up (docs/decisions/0006).
//!
//! None of them defends against an adversary who can write the store; signatures do that.

/// The lower half of the XXH3-64 of `bytes`, with `salt` as the seed.
#[inline]
pub fn check32_salted(salt: u64, bytes: &[u8]) -> u32 {
    xxh3_64(bytes, salt) as u32
}

/// The same with seed 0.
#[inline]
pub fn check32(bytes: &[u8]) -> u32 {
    check32_salted(0, bytes)
}

/// XXH3-128 of `bytes`, seed 0.
#[inline]
pub fn xxh3_128(bytes: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(bytes)
}

/// XXH3-128 of bytes that come in pieces, seed 0.
#[derive(Default)]
pub struct Pieces128(xxhash_rust::xxh3::Xxh3Default);

impl Pieces128 {
    /// The next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all pieces.
    pub fn finish(&self) -> u128 {
        self.0.digest128()
    }
}

/// XXH3-64 of `bytes` with `seed`.
#[inline]
pub fn xxh3_64(bytes: &[u8], seed: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let whole: Vec<u8> = (0..5000u32).map(|n| (n * 7) as u8).collect();
        let mut pieces = Pieces128::default();
        whole.chunks(777).for_each(|piece| pieces.update(piece));
        assert_eq!(pieces.finish(), xxh3_128(&whole));
    }

    #[test]
    fn known_answers() {
        // XXH3-64 of nothing is 2d06800538d394c2.
        assert_eq!(check32(b""), 0x38d3_94c2);
        assert_eq!(xxh3_128(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
        assert_ne!(check32_salted(1, b"x"), check32_salted(2, b"x"));
    }
}
