//! Maps and sets of what this process has met itself: names, paths and numbers.
//!
//! The standard library's keep an attacker from choosing keys that collide. Here the keys are the
//! names in somebody's own sources, and a miss asks for thousands of them.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use larder_engine::checksum::xxh3_64;

/// A map with quick hashing.
pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;
/// A set with quick hashing.
pub type Set<K> = HashSet<K, BuildHasherDefault<Quick>>;

/// XXH3 of bytes; numbers are mixed by one multiplication.
#[derive(Default)]
pub struct Quick(u64);

/// An odd number with many bits: the golden ratio.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

impl Quick {
    fn mix(&mut self, number: u64) {
        let wide = u128::from(self.0 ^ number).wrapping_mul(u128::from(MIX));
        self.0 = (wide as u64) ^ (wide >> 64) as u64;
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64(bytes, self.0);
    }

    fn write_u8(&mut self, number: u8) {
        self.mix(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.mix(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_spread() {
        let hash = |numbers: [u32; 2]| {
            let mut hasher = Quick::default();
            numbers.iter().for_each(|number| hasher.write_u32(*number));
            hasher.finish()
        };
        let pairs = (0..100).flat_map(|a| (0..100).map(move |b| [a, b]));
        let hashes: Vec<u64> = pairs.map(hash).collect();
        // Maps take the lowest bits for the place and the highest seven to tell keys apart.
        for bits in [|hash: &u64| hash & 0xFFFF, |hash: &u64| hash >> 48] {
            let different: Set<u64> = hashes.iter().map(bits).collect();
            assert!(different.len() > 8500, "{}", different.len());
        }
        assert_eq!(hashes.iter().copied().collect::<Set<u64>>().len(), 10_000);
    }
}
