//! What stands under a key: a body, or the head of one that was split.
//!
//! ```text
//! whole   "LDW1"  the body
//! head    "LDH1"  length  piece_bytes  identity
//! piece   the bytes of the body from n * piece_bytes on
//! ```
//!
//! 1. `length` (of the body) and `piece_bytes` (of each piece but the last) have eight bytes,
//!    little-endian. `identity` is BLAKE3 of `piece_bytes`, as it stands there, and the body.
//! 2. The key of piece n is that of the body, a colon, the first 32 digits of the identity, a
//!    colon, and n in decimal. So pieces of two bodies, or of two splits of one body, never mix.
//! 3. A head is valid if and only if it has 52 bytes, neither number is 0, `piece_bytes` is not
//!    above `length`, and there are at most [`PIECES_MAX`] pieces. What begins otherwise is none of
//!    ours. There may be one piece: a body that leaves no room for its marker.

/// How a whole body begins.
pub(super) const WHOLE: [u8; MARKER_BYTES] = *b"LDW1";
/// How a head begins.
pub(super) const HEAD: [u8; MARKER_BYTES] = *b"LDH1";
pub(super) const MARKER_BYTES: usize = 4;
/// A head with its marker.
pub(super) const HEAD_BYTES: usize = MARKER_BYTES + 8 + 8 + 32;
/// Pieces of one body: with items of 1 MiB that is more than any server holds.
pub(super) const PIECES_MAX: u64 = 65_536;

/// How a body was split.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Head {
    /// Bytes of the body.
    pub(super) length: u64,
    piece_bytes: u64,
    identity: [u8; 32],
}

impl Head {
    /// Splits a body; `None` if it would be too many pieces.
    pub(super) fn of(body: &[u8], piece_bytes: usize) -> Option<Head> {
        let (length, piece_bytes) = (body.len() as u64, piece_bytes as u64);
        let head = Head { length, piece_bytes, identity: identity(body, piece_bytes) };
        head.is_valid().then_some(head)
    }

    /// Reads what stands behind the marker.
    pub(super) fn decode(bytes: &[u8]) -> Option<Head> {
        let (length, rest) = bytes.split_first_chunk()?;
        let (piece_bytes, identity) = rest.split_first_chunk()?;
        let (length, piece_bytes) = (u64::from_le_bytes(*length), u64::from_le_bytes(*piece_bytes));
        let head = Head { length, piece_bytes, identity: identity.try_into().ok()? };
        head.is_valid().then_some(head)
    }

    /// With its marker.
    pub(super) fn encode(&self) -> Vec<u8> {
        let numbers = [self.length.to_le_bytes(), self.piece_bytes.to_le_bytes()].concat();
        [&HEAD[..], &numbers, &self.identity].concat()
    }

    fn is_valid(&self) -> bool {
        self.piece_bytes > 0 && self.piece_bytes <= self.length && self.count() <= PIECES_MAX
    }

    /// How many pieces there are.
    pub(super) fn count(&self) -> u64 {
        self.length.div_ceil(self.piece_bytes)
    }

    /// The bytes of piece `n`, which is one of them.
    pub(super) fn bytes_of(&self, n: u64) -> u64 {
        self.piece_bytes.min(self.length - n * self.piece_bytes)
    }

    /// The key of piece `n`, where `key` is that of the body.
    pub(super) fn key_of(&self, key: &str, n: u64) -> String {
        let identity = blake3::Hash::from_bytes(self.identity).to_hex();
        format!("{key}:{}:{n}", &identity[..32])
    }

    /// Whether a body is the one that was split.
    pub(super) fn is_of(&self, body: &[u8]) -> bool {
        body.len() as u64 == self.length && identity(body, self.piece_bytes) == self.identity
    }
}

fn identity(body: &[u8], piece_bytes: u64) -> [u8; 32] {
    *blake3::Hasher::new().update(&piece_bytes.to_le_bytes()).update(body).finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_how_a_body_was_split() {
        let body = b"0123456789";
        let head = Head::of(body, 4).unwrap();
        let encoded = head.encode();
        assert_eq!(encoded.len(), HEAD_BYTES);
        assert_eq!(encoded[..MARKER_BYTES], HEAD);
        assert_eq!(Head::decode(&encoded[MARKER_BYTES..]), Some(head.clone()));
        assert_eq!((head.count(), [0, 1, 2].map(|n| head.bytes_of(n))), (3, [4, 4, 2]));
        assert!(head.is_of(body) && !head.is_of(b"0123456780") && !head.is_of(b"012345678"));
        let key = head.key_of("k", 2);
        assert!(key.starts_with("k:") && key.ends_with(":2") && key.len() == 36, "{key}");
        // Neither another body nor another split has the same pieces.
        for other in [Head::of(b"0123456780", 4).unwrap(), Head::of(body, 5).unwrap()] {
            assert_ne!(other.key_of("k", 2), key);
        }
        assert_eq!(Head::of(&[7; 70_000], 1), None, "too many pieces");
    }

    #[test]
    fn a_head_that_makes_no_sense_is_none() {
        let head = |length: u64, piece_bytes: u64| {
            let numbers = [length.to_le_bytes(), piece_bytes.to_le_bytes()].concat();
            Head::decode(&[&numbers[..], &[0; 32]].concat())
        };
        assert_eq!(head(u64::MAX, u64::MAX - 1).unwrap().bytes_of(1), 1);
        assert_eq!(head(PIECES_MAX * 2, 2).unwrap().count(), PIECES_MAX);
        let wrong = [(0, 0), (10, 0), (0, 10), (10, 11), (u64::MAX, 1), (PIECES_MAX * 2 + 1, 2)];
        for (length, piece_bytes) in wrong {
            assert_eq!(head(length, piece_bytes), None, "{length} by {piece_bytes}");
        }
        for bytes in [0, 7, 15, 47, 49] {
            assert_eq!(Head::decode(&vec![1; bytes]), None, "{bytes}");
        }
    }
}
