//! The superblock: what a store is, and which of its segments are alive.
//!
//! Two copies of one page stand in the file `superblock`. A copy is valid if and only if
//! 1. it begins with the magic and a known format version, and its reserved bytes are zero;
//! 2. its checksum is that of the 108 bytes before it;
//! 3. `oldest live` <= `next segment` <= the largest segment id, and no other number is so large
//!    that counting on could overflow.
//!
//! The valid copy with the higher generation counts. Generation `g` is written to copy `g % 2`, so
//! that a torn write leaves the copy before it.

use std::ops::Range;

use crate::checksum::check32;
use crate::coding::{
    read_array, read_u16, read_u32, read_u64, write_bytes, write_u16, write_u32, write_u64,
};
use crate::error::{Error, ErrorKind, Result};
use crate::format::FORMAT_VERSION;
use crate::limits::{PAGE_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN_TEST, SEGMENT_ID_MAX};

/// "LARDERSB": the file is a superblock at all.
const MAGIC_VALUE: [u8; 8] = *b"LARDERSB";

const MAGIC: usize = 0;
const FORMAT: usize = MAGIC + 8;
const RESERVED: usize = FORMAT + 2;
const SEGMENT_BYTES: usize = RESERVED + 2;
const GENERATION: usize = SEGMENT_BYTES + 4;
const UUID: usize = GENERATION + 8;
const BOOT_ID: usize = UUID + 16;
const EPOCH: usize = BOOT_ID + 16;
const OLDEST_LIVE: usize = EPOCH + 4;
const NEXT_SEGMENT: usize = OLDEST_LIVE + 4;
const DURABLE_BELOW: usize = NEXT_SEGMENT + 4;
const HEARTBEAT: usize = DURABLE_BELOW + 4;
const CREATED: usize = HEARTBEAT + 8;
const USED_BELOW: usize = CREATED + 8;
const SUSPECT_BELOW: usize = USED_BELOW + 4;
const NOTED_BELOW: usize = SUSPECT_BELOW + 4;
const NOTED: usize = NOTED_BELOW + 4;
const CHECK: usize = NOTED + 8;
const END: usize = CHECK + 4;

const _: () = assert!(END == 112);

/// No epoch reaches this: sequence numbers have 24 bits for it, and the top two stay free.
pub const EPOCH_MAX: u32 = 1 << 22;

/// Length of the file in bytes: two copies.
pub const FILE_BYTES: usize = 2 * PAGE_BYTES;

/// What of the file has to be read: the second copy's page is zero behind its checksum.
pub const READ_BYTES: usize = PAGE_BYTES + END;

/// What of one copy has to be read.
pub const COPY_BYTES: usize = END;

/// A decoded superblock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// Size of a segment in bytes; fixed when the store is made.
    pub segment_bytes: u32,
    /// Counts the writes of the superblock; detects which copy is newer.
    pub generation: u64,
    /// Identifies the store; detects a segment of another store.
    pub uuid: [u8; 16],
    /// The kernel that wrote last; another one means that the tail is void.
    pub boot_id: [u8; 16],
    /// Counts the recoveries; the upper bits of sequence numbers.
    pub epoch: u32,
    /// Segments below are gone; a location in one of them is stale.
    pub oldest_live: u32,
    /// Segments from here on do not exist yet.
    pub next_segment: u32,
    /// Segments below were on the disk at the last checkpoint, with their part of the index.
    pub durable_below: u32,
    /// When a writer was last seen, in seconds since 1970; detects another kernel.
    pub heartbeat_secs: u64,
    /// When the store was made, in seconds since 1970.
    pub created_secs: u64,
    /// No record was ever committed to a segment from here on: look-ups need not ask its table.
    pub used_below: u32,
    /// Segments from `durable_below` on and below this were written under a kernel that is gone:
    /// not all of what they hold reached the disk.
    pub suspect_below: u32,
    /// Hits of records in segments below are noted even where these are young; detects what nobody
    /// used since `noted_secs`.
    pub noted_below: u32,
    /// When that began, in seconds since 1970.
    pub noted_secs: u64,
}

impl Superblock {
    /// The segments of which not everything may have reached the disk, because the kernel that had
    /// it in memory is gone. A commit to one of them is believed only after a full check, and what
    /// is damaged there counts as never committed: a power cut loses nothing else.
    pub fn suspects(&self) -> Range<u32> {
        self.durable_below..self.suspect_below.max(self.durable_below)
    }

    /// Whether it is that of a store that was exported: no kernel has written it. What its segments
    /// have and its index has not is not wanted, and nothing is there of segments without a file.
    pub fn is_sealed(&self) -> bool {
        self.boot_id == [0; 16]
    }

    /// One copy.
    pub fn encode(&self) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        write_bytes(&mut page, MAGIC, &MAGIC_VALUE);
        write_u16(&mut page, FORMAT, FORMAT_VERSION);
        write_u32(&mut page, SEGMENT_BYTES, self.segment_bytes);
        write_u64(&mut page, GENERATION, self.generation);
        write_bytes(&mut page, UUID, &self.uuid);
        write_bytes(&mut page, BOOT_ID, &self.boot_id);
        write_u32(&mut page, EPOCH, self.epoch);
        write_u32(&mut page, OLDEST_LIVE, self.oldest_live);
        write_u32(&mut page, NEXT_SEGMENT, self.next_segment);
        write_u32(&mut page, DURABLE_BELOW, self.durable_below);
        write_u64(&mut page, HEARTBEAT, self.heartbeat_secs);
        write_u64(&mut page, CREATED, self.created_secs);
        write_u32(&mut page, USED_BELOW, self.used_below);
        write_u32(&mut page, SUSPECT_BELOW, self.suspect_below);
        write_u32(&mut page, NOTED_BELOW, self.noted_below);
        write_u64(&mut page, NOTED, self.noted_secs);
        let check = page.get(..CHECK).map_or(0, check32);
        write_u32(&mut page, CHECK, check);
        page
    }

    /// The offset of the copy that this generation is written to.
    pub fn copy_offset(&self) -> u64 {
        if self.generation.is_multiple_of(2) { 0 } else { PAGE_BYTES as u64 }
    }

    /// The newest valid copy of the file's bytes.
    ///
    /// # Errors
    /// `NotAStore` if neither copy begins with the magic, `NewerFormat` if a copy has a newer
    /// format, `Corrupt` if the magic is there but no copy is valid.
    pub fn decode(file: &[u8]) -> Result<Superblock> {
        let mut newest: Option<Superblock> = None;
        let mut seen_magic = false;
        for page in file.chunks(PAGE_BYTES) {
            if read_array(page, MAGIC) != Some(MAGIC_VALUE) {
                continue;
            }
            seen_magic = true;
            let decoded = Self::decode_copy(page);
            if decoded.is_some() && read_u16(page, FORMAT).is_some_and(|v| v > FORMAT_VERSION) {
                return Err(Error::new(
                    ErrorKind::NewerFormat,
                    "the store has a newer format than this program knows",
                ));
            }
            if let Some(block) = decoded
                && newest.is_none_or(|other| other.generation < block.generation)
            {
                newest = Some(block);
            }
        }
        newest.ok_or_else(|| match seen_magic {
            true => Error::corrupt("no copy of the superblock is valid"),
            false => Error::new(ErrorKind::NotAStore, "the superblock is not one of larder"),
        })
    }

    fn decode_copy(page: &[u8]) -> Option<Superblock> {
        if read_u32(page, CHECK)? != check32(page.get(..CHECK)?) {
            return None;
        }
        let block = Superblock {
            segment_bytes: read_u32(page, SEGMENT_BYTES)?,
            generation: read_u64(page, GENERATION)?,
            uuid: read_array(page, UUID)?,
            boot_id: read_array(page, BOOT_ID)?,
            epoch: read_u32(page, EPOCH)?,
            oldest_live: read_u32(page, OLDEST_LIVE)?,
            next_segment: read_u32(page, NEXT_SEGMENT)?,
            durable_below: read_u32(page, DURABLE_BELOW)?,
            heartbeat_secs: read_u64(page, HEARTBEAT)?,
            created_secs: read_u64(page, CREATED)?,
            used_below: read_u32(page, USED_BELOW)?,
            suspect_below: read_u32(page, SUSPECT_BELOW)?,
            noted_below: read_u32(page, NOTED_BELOW)?,
            noted_secs: read_u64(page, NOTED)?,
        };
        // A newer format need not keep to this one's rules; it is refused by its number.
        let newer = read_u16(page, FORMAT)? > FORMAT_VERSION;
        let sane = read_u16(page, FORMAT)? == FORMAT_VERSION
            && read_u16(page, RESERVED)? == 0
            && block.oldest_live <= block.next_segment
            && block.next_segment <= SEGMENT_ID_MAX
            && block.used_below <= block.next_segment
            && block.suspect_below <= block.next_segment
            && block.noted_below <= block.next_segment
            && block.epoch < EPOCH_MAX
            && block.generation <= u64::MAX / 4
            && (SEGMENT_BYTES_MIN_TEST..=SEGMENT_BYTES_MAX)
                .contains(&u64::from(block.segment_bytes))
            && (block.segment_bytes as usize).is_multiple_of(PAGE_BYTES);
        (newer || sane).then_some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(generation: u64) -> Superblock {
        Superblock {
            segment_bytes: 4 << 20,
            generation,
            uuid: [1; 16],
            boot_id: [2; 16],
            epoch: 3,
            oldest_live: 4,
            next_segment: 5,
            durable_below: 4,
            heartbeat_secs: 6,
            created_secs: 7,
            used_below: 5,
            suspect_below: 4,
            noted_below: 5,
            noted_secs: 8,
        }
    }

    #[test]
    fn the_newer_valid_copy_counts() {
        let mut file = [block(8).encode(), block(9).encode()].concat();
        assert_eq!(Superblock::decode(&file).unwrap(), block(9));
        file[PAGE_BYTES + 40] ^= 1;
        assert_eq!(Superblock::decode(&file).unwrap(), block(8));
        file[40] ^= 1;
        assert!(Superblock::decode(&file).unwrap_err().is_corrupt());
    }

    #[test]
    fn something_else_and_something_newer_are_told_apart() {
        assert_eq!(Superblock::decode(b"hello").unwrap_err().kind(), ErrorKind::NotAStore);
        let mut page = block(8).encode();
        write_u16(&mut page, FORMAT, FORMAT_VERSION + 1);
        let check = check32(&page[..CHECK]);
        write_u32(&mut page, CHECK, check);
        assert_eq!(Superblock::decode(&page).unwrap_err().kind(), ErrorKind::NewerFormat);
    }

    #[test]
    fn copies_alternate() {
        assert_ne!(block(8).copy_offset(), block(9).copy_offset());
    }
}
