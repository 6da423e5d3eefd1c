//! Frames: 64 bytes in front of each body that say where the record stands. They never leave the
//! store.
//!
//! A frame is valid at (segment, offset) if and only if
//! 1. it begins with the magic;
//! 2. it names that segment and that offset: detects a misdirected write and a copied segment;
//! 3. its checksum, seeded with the segment's random salt, is right: a cached artifact that happens
//!    to contain a larder segment cannot pose as records.
//!
//! The body behind it is its own if and only if it has the length and the checksum that it names.

use crate::checksum::check32_salted;
use crate::coding::{read_u32, read_u64, write_u32, write_u64};

const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"LRDF");

const MAGIC: usize = 0;
const SEGMENT: usize = MAGIC + 4;
const OFFSET: usize = SEGMENT + 4;
const SEQUENCE: usize = OFFSET + 8;
const BODY_BYTES: usize = SEQUENCE + 8;
const HEAD_CHECK: usize = BODY_BYTES + 8;
const COPIED_FROM: usize = HEAD_CHECK + 4 + 4;
const RESERVED: usize = COPIED_FROM + 8;
const CHECK: usize = RESERVED + 12;

/// Length of a frame in bytes; the body follows at once.
pub const FRAME_BYTES: usize = CHECK + 4;

const _: () = assert!(FRAME_BYTES == 64);

/// A decoded frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The segment that it stands in.
    pub segment: u32,
    /// Its own offset there in bytes.
    pub offset: u64,
    /// Orders the commits of a store; the highest one of a key wins.
    pub sequence: u64,
    /// Length of the body in bytes.
    pub body_bytes: u64,
    /// The checksum of the body's head, which has those of its sections: detects another body in
    /// place of the one that was committed, as a power cut leaves where a block was used before.
    pub head_check: u32,
    /// Of a copy that upkeep has made, the sequence number under which the record was first
    /// committed, else 0: whoever follows the log knows what it has seen before.
    pub copied_from: u64,
}

impl Frame {
    /// The sequence number under which the record was first committed.
    pub fn first_sequence(&self) -> u64 {
        if self.copied_from == 0 { self.sequence } else { self.copied_from }
    }

    /// The bytes, with a checksum salted for the segment.
    pub fn encode(&self, salt: u64) -> [u8; FRAME_BYTES] {
        let mut bytes = [0; FRAME_BYTES];
        write_u32(&mut bytes, MAGIC, MAGIC_VALUE);
        write_u32(&mut bytes, SEGMENT, self.segment);
        write_u64(&mut bytes, OFFSET, self.offset);
        write_u64(&mut bytes, SEQUENCE, self.sequence);
        write_u64(&mut bytes, BODY_BYTES, self.body_bytes);
        write_u32(&mut bytes, HEAD_CHECK, self.head_check);
        write_u64(&mut bytes, COPIED_FROM, self.copied_from);
        let check = bytes.get(..CHECK).map_or(0, |head| check32_salted(salt, head));
        write_u32(&mut bytes, CHECK, check);
        bytes
    }

    /// The frame that stands at `offset` of `segment`, `None` if none does.
    pub fn decode(bytes: &[u8], salt: u64, segment: u32, offset: u64) -> Option<Frame> {
        let frame = Frame {
            segment: read_u32(bytes, SEGMENT)?,
            offset: read_u64(bytes, OFFSET)?,
            sequence: read_u64(bytes, SEQUENCE)?,
            body_bytes: read_u64(bytes, BODY_BYTES)?,
            head_check: read_u32(bytes, HEAD_CHECK)?,
            copied_from: read_u64(bytes, COPIED_FROM)?,
        };
        let valid = read_u32(bytes, MAGIC)? == MAGIC_VALUE
            && read_u32(bytes, CHECK)? == check32_salted(salt, bytes.get(..CHECK)?)
            && frame.segment == segment
            && frame.offset == offset;
        valid.then_some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame {
        segment: 7,
        offset: 640,
        sequence: 3,
        body_bytes: 100,
        head_check: 5,
        copied_from: 2,
    };

    #[test]
    fn a_frame_is_valid_only_where_it_was_written() {
        let bytes = FRAME.encode(99);
        assert_eq!(Frame::decode(&bytes, 99, 7, 640), Some(FRAME));
        assert_eq!(Frame::decode(&bytes, 98, 7, 640), None);
        assert_eq!(Frame::decode(&bytes, 99, 8, 640), None);
        assert_eq!(Frame::decode(&bytes, 99, 7, 704), None);
        assert_eq!(Frame::decode(&bytes[..63], 99, 7, 640), None);
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = FRAME.encode(99);
        for bit in 0..FRAME_BYTES * 8 {
            let mut torn = bytes;
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(&torn, 99, 7, 640), None, "bit {bit}");
        }
    }
}
