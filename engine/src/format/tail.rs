//! The tail: where the next record goes. One slot of 88 bytes in the file `tail`, moved by a single
//! `pwrite` under the tail lock.
//!
//! A tail is valid if and only if its magic and checksum are right, its segment numbers are in
//! order, and its other numbers within their bounds. An invalid tail, or one of another boot, is
//! void: the store goes on in a new segment.

use crate::checksum::check32;
use crate::coding::{read_array, read_u32, read_u64, write_bytes, write_u32, write_u64};
use crate::limits::{SEGMENT_BYTES_MAX, SEGMENT_ID_MAX};

const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"LRDT");

const MAGIC: usize = 0;
const ACTIVE: usize = MAGIC + 4;
const OPEN_FROM: usize = ACTIVE + 4;
const EPOCH: usize = OPEN_FROM + 4;
const OFFSET: usize = EPOCH + 4;
const NEXT_SEQUENCE: usize = OFFSET + 8;
const OTHER_BYTES: usize = NEXT_SEQUENCE + 8;
const WRITTEN_BYTES: usize = OTHER_BYTES + 8;
const BOOT_ID: usize = WRITTEN_BYTES + 8;
const STORE: usize = BOOT_ID + 16;
const LAST: usize = STORE + 8;
const WRITTEN_SINCE: usize = LAST + 4;
const CHECK: usize = WRITTEN_SINCE + 8;

/// Length of the slot and of the file in bytes.
pub const TAIL_BYTES: usize = CHECK + 4;

const _: () = assert!(TAIL_BYTES == 88);

/// A decoded tail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tail {
    /// The segment that reservations go to.
    pub active: u32,
    /// Segments below are closed: a commit there is dropped.
    pub open_from: u32,
    /// The epoch of the superblock under which this tail was begun; detects a tail that survived a
    /// recovery.
    pub epoch: u32,
    /// Where in the active segment the next record goes, in bytes.
    pub offset: u64,
    /// The sequence number of the next commit.
    pub next_sequence: u64,
    /// Disk bytes of everything but the active segment, as last counted.
    pub other_bytes: u64,
    /// Bytes of records reserved since the last checkpoint.
    pub written_bytes: u64,
    /// The kernel that moved it; detects a tail that may be ahead of what reached the disk.
    pub boot_id: [u8; 16],
    /// The first eight bytes of the store's uuid; detects the tail of a store that took this one's
    /// place.
    pub store: u64,
    /// The newest segment: the active one, or one of its own size that a record got since.
    pub last: u32,
    /// When the first of the written bytes were reserved, in milliseconds of the boot's monotonic
    /// clock.
    pub written_since_ms: u64,
}

impl Tail {
    /// The slot.
    pub fn encode(&self) -> [u8; TAIL_BYTES] {
        let mut slot = [0; TAIL_BYTES];
        write_u32(&mut slot, MAGIC, MAGIC_VALUE);
        write_u32(&mut slot, ACTIVE, self.active);
        write_u32(&mut slot, OPEN_FROM, self.open_from);
        write_u32(&mut slot, EPOCH, self.epoch);
        write_u64(&mut slot, OFFSET, self.offset);
        write_u64(&mut slot, NEXT_SEQUENCE, self.next_sequence);
        write_u64(&mut slot, OTHER_BYTES, self.other_bytes);
        write_u64(&mut slot, WRITTEN_BYTES, self.written_bytes);
        write_bytes(&mut slot, BOOT_ID, &self.boot_id);
        write_u64(&mut slot, STORE, self.store);
        write_u32(&mut slot, LAST, self.last);
        write_u64(&mut slot, WRITTEN_SINCE, self.written_since_ms);
        let check = slot.get(..CHECK).map_or(0, check32);
        write_u32(&mut slot, CHECK, check);
        slot
    }

    /// The tail, `None` if it is void.
    pub fn decode(slot: &[u8]) -> Option<Tail> {
        let valid = read_u32(slot, MAGIC)? == MAGIC_VALUE
            && read_u32(slot, CHECK)? == check32(slot.get(..CHECK)?);
        let tail = Tail {
            active: read_u32(slot, ACTIVE)?,
            open_from: read_u32(slot, OPEN_FROM)?,
            epoch: read_u32(slot, EPOCH)?,
            offset: read_u64(slot, OFFSET)?,
            next_sequence: read_u64(slot, NEXT_SEQUENCE)?,
            other_bytes: read_u64(slot, OTHER_BYTES)?,
            written_bytes: read_u64(slot, WRITTEN_BYTES)?,
            boot_id: read_array(slot, BOOT_ID)?,
            store: read_u64(slot, STORE)?,
            last: read_u32(slot, LAST)?,
            written_since_ms: read_u64(slot, WRITTEN_SINCE)?,
        };
        // Numbers that no writer reaches: whoever adds to them need not look.
        let bounded = [tail.next_sequence, tail.other_bytes, tail.written_bytes]
            .iter()
            .all(|number| *number <= u64::MAX / 4);
        let sane = tail.open_from <= tail.active
            && tail.active <= tail.last
            && tail.last < SEGMENT_ID_MAX
            && tail.offset <= SEGMENT_BYTES_MAX
            && bounded;
        (valid && sane).then_some(tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_voids_it() {
        let tail = Tail {
            active: 5,
            open_from: 4,
            epoch: 1,
            offset: 1 << 20,
            next_sequence: 9,
            other_bytes: 77,
            written_bytes: 6,
            boot_id: [3; 16],
            store: 8,
            last: 6,
            written_since_ms: 10,
        };
        let slot = tail.encode();
        assert_eq!(Tail::decode(&slot), Some(tail));
        for bit in 0..TAIL_BYTES * 8 {
            let mut torn = slot;
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Tail::decode(&torn), None, "bit {bit}");
        }
        assert_eq!(Tail::decode(&slot[..87]), None);
    }
}
