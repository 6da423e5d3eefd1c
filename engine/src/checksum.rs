//! Checksums: CRC-32 for small structures, XXH3 for sections and slots.
//!
//! None of them defends against an adversary who can write the store; signatures do that.

/// CRC-32 (IEEE, as in zlib) of `salt` followed by `bytes`.
#[inline]
pub fn crc32_salted(salt: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// CRC-32 (IEEE, as in zlib) of `bytes`.
#[inline]
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// XXH3-128 of `bytes`, seed 0.
#[inline]
pub fn xxh3_128(bytes: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(bytes)
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
    fn known_answers() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(xxh3_128(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
        assert_ne!(crc32_salted(1, b"x"), crc32_salted(2, b"x"));
    }
}
