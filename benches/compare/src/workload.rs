//! Keys, values and their order.

use crate::engine::KEY_BYTES;

/// The key of entry `number`.
pub fn key(number: u64) -> [u8; KEY_BYTES] {
    *larder_benches::key(number).as_bytes()
}

/// The value of entry `number`, half of it noise.
pub fn value(number: u64, bytes: u64) -> Vec<u8> {
    larder_benches::value(number, bytes as usize)
}

/// Room for that many values twice over.
pub fn max_bytes(entries: u64, bytes: u64) -> u64 {
    (entries * (bytes + 2048) * 2).max(512 << 20)
}

/// Numbers in an order that looks random and is the same for all engines.
pub struct Shuffle(u64);

impl Shuffle {
    /// One order for each seed.
    pub fn new(seed: u64) -> Shuffle {
        Shuffle(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d)
    }

    /// The next number below `limit` (xorshift).
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
