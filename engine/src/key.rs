//! Keys: 32 bytes, as a rule a BLAKE3 digest.
//!
//! The index orders keys by their bytes and holds the first eight of them, so keys should be
//! uniformly distributed. Anything that is not a digest goes through [`Key::of`].

use std::fmt;

/// Length of a key in bytes.
pub const KEY_BYTES: usize = 32;

/// A 32-byte key. Look-ups compare all of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; KEY_BYTES]);

impl Key {
    /// A key from bytes that are already a digest.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Key(bytes)
    }

    /// The BLAKE3 digest of `bytes` as a key.
    pub fn of(bytes: &[u8]) -> Self {
        Key(*blake3::hash(bytes).as_bytes())
    }

    /// The key of a foreign entry: BLAKE3 over the layout's name, a zero byte, and the entry's
    /// name.
    pub fn foreign(layout: &str, name: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(layout.as_bytes()).update(&[0]).update(name);
        Key(*hasher.finalize().as_bytes())
    }

    /// The bytes of the key.
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// A key from 64 hexadecimal digits; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; KEY_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Key(bytes))
    }

    /// The first eight bytes as a big-endian number, which orders as the bytes do.
    pub(crate) fn prefix(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(first)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_the_inverse_of_display() {
        let key = Key::of(b"larder");
        assert_eq!(Key::from_hex(&key.to_string()), Some(key));
        assert_eq!(Key::from_hex("00"), None);
        assert_eq!(Key::from_hex(&"+1".repeat(32)), None);
    }

    #[test]
    fn prefix_orders_as_the_bytes_do() {
        let mut low = [0; 32];
        low[7] = 1;
        let mut high = [0; 32];
        high[0] = 1;
        assert!(Key::from_bytes(low).prefix() < Key::from_bytes(high).prefix());
    }

    #[test]
    fn foreign_names_do_not_run_into_the_layout() {
        assert_ne!(Key::foreign("ab", b"c"), Key::foreign("a", b"bc"));
    }
}
