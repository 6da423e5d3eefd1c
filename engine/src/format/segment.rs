//! Segments: a header page, the pages of the slot table, records, and once sealed a footer.
//!
//! The header stands twice in its page; the first valid copy counts. A header is valid if and only
//! if its magic, format version and checksum are right and it names the store's uuid and its own
//! id. It holds the salt of the segment's frames and slots.
//!
//! A slot (16 bytes) says that a record was committed. A slot is valid if and only if it is not all
//! zeros and its 24-bit check, salted for the segment, is right. Slots of a page are filled from
//! the front, so that the last slot which is not all zeros ends the page, and zeros before it are
//! damage. A slot is a hint: the frame is the truth.
//!
//! A footer is valid if and only if the last 64 bytes of the file are a valid trailer: magic, the
//! segment's id, a count of entries that fits, and the right checksums of entries and trailer. Its
//! entries are those of the slots, with their sequence numbers, in order of key and sequence.

use crate::checksum::{check32_salted, xxh3_64};
use crate::coding::{
    read_array, read_u16, read_u32, read_u64, read_u128, write_bytes, write_u16, write_u32,
    write_u64,
};
use crate::format::FORMAT_VERSION;
use crate::key::Key;
use crate::limits::{PAGE_BYTES, SEGMENT_BYTES_PER_TABLE_PAGE};
use crate::location::{IN_SEGMENT_BITS, Location};

const MAGIC_VALUE: [u8; 8] = *b"LARDERSG";

const MAGIC: usize = 0;
const FORMAT: usize = MAGIC + 8;
const TABLE_PAGES: usize = FORMAT + 2;
const ID: usize = TABLE_PAGES + 2;
const SALT: usize = ID + 4;
const UUID: usize = SALT + 8;
const CREATED: usize = UUID + 16;
const CREATED_MS: usize = CREATED + 8;
const EPOCH: usize = CREATED_MS + 8;
const CHECK: usize = EPOCH + 4;
/// Length of the header in bytes.
pub const HEADER_BYTES: usize = CHECK + 4;
/// Where the second copy of the header stands in the first page; the rest of the page is zero.
pub const HEADER_COPY: usize = PAGE_BYTES / 2;

const _: () = assert!(HEADER_BYTES == 64 && HEADER_BYTES <= HEADER_COPY);

/// Length of a slot in bytes.
pub const SLOT_BYTES: usize = 16;
/// Slots in a page of the table.
pub const SLOTS_PER_PAGE: usize = PAGE_BYTES / SLOT_BYTES;

const SLOT_KEY: usize = 0;
const SLOT_PLACE: usize = SLOT_KEY + 8;
const SLOT_CHECK_SHIFT: u32 = 40;

const _: () = assert!(SLOT_PLACE + 8 == SLOT_BYTES && IN_SEGMENT_BITS <= SLOT_CHECK_SHIFT);

const ENTRY_KEY: usize = 0;
const ENTRY_PLACE: usize = ENTRY_KEY + 8;
const ENTRY_SEQUENCE: usize = ENTRY_PLACE + 8;
/// Length of a footer entry in bytes.
pub const FOOTER_ENTRY_BYTES: usize = ENTRY_SEQUENCE + 8;

const TRAILER_MAGIC_VALUE: [u8; 8] = *b"LARDERFT";
const TRAILER_MAGIC: usize = 0;
const TRAILER_ID: usize = TRAILER_MAGIC + 8;
const TRAILER_COUNT: usize = TRAILER_ID + 4;
const TRAILER_ENTRIES_AT: usize = TRAILER_COUNT + 4;
const TRAILER_ENTRIES_CHECK: usize = TRAILER_ENTRIES_AT + 8;
const TRAILER_RESERVED: usize = TRAILER_ENTRIES_CHECK + 4;
const TRAILER_CHECK: usize = TRAILER_RESERVED + 32;
/// Length of the trailer in bytes.
pub const TRAILER_BYTES: usize = TRAILER_CHECK + 4;

const _: () = assert!(TRAILER_BYTES == 64);

/// A decoded segment header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// Id of the segment.
    pub id: u32,
    /// Pages of the slot table.
    pub table_pages: u16,
    /// Random salt of the checksums of frames and slots.
    pub salt: u64,
    /// The store's uuid.
    pub uuid: [u8; 16],
    /// When it was made, in seconds since 1970.
    pub created_secs: u64,
    /// When it was made, in milliseconds of the boot's monotonic clock of its maker.
    pub created_ms: u64,
    /// The epoch in which it was made.
    pub epoch: u32,
}

impl SegmentHeader {
    /// The header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        write_bytes(&mut bytes, MAGIC, &MAGIC_VALUE);
        write_u16(&mut bytes, FORMAT, FORMAT_VERSION);
        write_u16(&mut bytes, TABLE_PAGES, self.table_pages);
        write_u32(&mut bytes, ID, self.id);
        write_u64(&mut bytes, SALT, self.salt);
        write_bytes(&mut bytes, UUID, &self.uuid);
        write_u64(&mut bytes, CREATED, self.created_secs);
        write_u64(&mut bytes, CREATED_MS, self.created_ms);
        write_u32(&mut bytes, EPOCH, self.epoch);
        let check = bytes.get(..CHECK).map_or(0, |head| check32_salted(0, head));
        write_u32(&mut bytes, CHECK, check);
        bytes
    }

    /// The first page of a segment: both copies. Without its header, whose salt the checksums of
    /// all slots and frames need, nobody knows what a segment holds.
    pub fn encode_page(&self) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        write_bytes(&mut page, 0, &self.encode());
        write_bytes(&mut page, HEADER_COPY, &self.encode());
        page
    }

    /// The header of segment `id` of the store `uuid`, `None` if it is not that.
    pub fn decode_of(bytes: &[u8], id: u32, uuid: &[u8; 16]) -> Option<SegmentHeader> {
        Self::decode(bytes, id).filter(|header| header.uuid == *uuid)
    }

    /// The header of segment `id` of any store, `None` if it is not valid.
    pub fn decode(bytes: &[u8], id: u32) -> Option<SegmentHeader> {
        let header = SegmentHeader {
            id: read_u32(bytes, ID)?,
            table_pages: read_u16(bytes, TABLE_PAGES)?,
            salt: read_u64(bytes, SALT)?,
            uuid: read_array(bytes, UUID)?,
            created_secs: read_u64(bytes, CREATED)?,
            created_ms: read_u64(bytes, CREATED_MS)?,
            epoch: read_u32(bytes, EPOCH)?,
        };
        let valid = read_array(bytes, MAGIC)? == MAGIC_VALUE
            && read_u16(bytes, FORMAT)? == FORMAT_VERSION
            && read_u32(bytes, CHECK)? == check32_salted(0, bytes.get(..CHECK)?)
            && header.id == id
            && header.table_pages > 0;
        valid.then_some(header)
    }

    /// Where the first record may stand, in bytes.
    pub fn data_start(&self) -> u64 {
        u64::from(self.table_pages).saturating_add(1).saturating_mul(PAGE_BYTES as u64)
    }

    /// Offset of the table page that a key belongs to.
    ///
    /// The page is chosen by a hash of the key, so that keys that are no digests spread, too.
    pub fn table_page_offset(&self, key: &Key) -> u64 {
        let hash = xxh3_64(key.as_bytes(), 0);
        let page = hash.checked_rem(u64::from(self.table_pages)).unwrap_or(0);
        page.saturating_add(1).saturating_mul(PAGE_BYTES as u64)
    }
}

/// Table pages of a segment that may hold `segment_bytes`.
pub fn table_pages(segment_bytes: u64) -> u16 {
    let pages = segment_bytes.div_ceil(SEGMENT_BYTES_PER_TABLE_PAGE).max(1);
    u16::try_from(pages).unwrap_or(u16::MAX)
}

/// What a slot or a footer entry says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Slot {
    /// First eight bytes of the key, big-endian.
    pub key_prefix: u64,
    /// Where the record stands.
    pub location: Location,
}

impl Slot {
    /// The slot's bytes.
    pub fn encode(&self, salt: u64) -> [u8; SLOT_BYTES] {
        let place = self.location.pack_in_segment();
        let check = slot_check(self.key_prefix, place, salt);
        let mut bytes = [0; SLOT_BYTES];
        write_u64(&mut bytes, SLOT_KEY, self.key_prefix);
        write_u64(&mut bytes, SLOT_PLACE, check << SLOT_CHECK_SHIFT | place);
        bytes
    }

    /// The slot, `None` if it is free or damaged.
    pub fn decode(bytes: &[u8], salt: u64, segment: u32) -> Option<Slot> {
        let key_prefix = read_u64(bytes, SLOT_KEY)?;
        let packed = read_u64(bytes, SLOT_PLACE)?;
        let place = packed & ((1 << SLOT_CHECK_SHIFT) - 1);
        let valid = place >> IN_SEGMENT_BITS == 0
            && place != 0
            && packed >> SLOT_CHECK_SHIFT == slot_check(key_prefix, place, salt);
        let location = Location { segment, ..Location::unpack(place) };
        valid.then_some(Slot { key_prefix, location })
    }
}

/// 24 bits over everything that a slot says.
fn slot_check(key_prefix: u64, place: u64, salt: u64) -> u64 {
    let mut bytes = [0; SLOT_BYTES];
    write_u64(&mut bytes, SLOT_KEY, key_prefix);
    write_u64(&mut bytes, SLOT_PLACE, place);
    xxh3_64(&bytes, salt) & 0xff_ffff
}

/// The number of slots of a page that are taken: those up to the last that is not all zeros.
pub fn slots_taken(page: &[u8]) -> usize {
    raw_slots(page).count()
}

/// The taken slots of a page in the order of their commits, `None` for damaged ones.
pub fn slots(page: &[u8], salt: u64, segment: u32) -> impl Iterator<Item = Option<Slot>> + '_ {
    raw_slots(page).map(move |slot| Slot::decode(slot, salt, segment))
}

fn raw_slots(page: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_taken = |slot: &[u8]| read_u128(slot, SLOT_KEY).is_some_and(|bits| bits != 0);
    let slots = page.chunks_exact(SLOT_BYTES);
    let taken = slots.clone().rposition(is_taken).map_or(0, |last| last.saturating_add(1));
    slots.take(taken)
}

/// A slot with the sequence number of its record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FooterEntry {
    /// First eight bytes of the key, big-endian.
    pub key_prefix: u64,
    /// Sequence number of the record.
    pub sequence: u64,
    /// Where the record stands.
    pub location: Location,
}

/// The footer of a segment whose data ends at `end`; it is written at `entries_at`, which is `end`
/// rounded up to 64.
pub fn encode_footer(entries: &[FooterEntry], segment: u32, entries_at: u64, salt: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let mut packed = [0; FOOTER_ENTRY_BYTES];
        write_u64(&mut packed, ENTRY_KEY, entry.key_prefix);
        write_u64(&mut packed, ENTRY_PLACE, entry.location.pack());
        write_u64(&mut packed, ENTRY_SEQUENCE, entry.sequence);
        bytes.extend_from_slice(&packed);
    }
    let mut trailer = [0; TRAILER_BYTES];
    write_bytes(&mut trailer, TRAILER_MAGIC, &TRAILER_MAGIC_VALUE);
    write_u32(&mut trailer, TRAILER_ID, segment);
    write_u32(&mut trailer, TRAILER_COUNT, entries.len() as u32);
    write_u64(&mut trailer, TRAILER_ENTRIES_AT, entries_at);
    write_u32(&mut trailer, TRAILER_ENTRIES_CHECK, check32_salted(salt, &bytes));
    let check = trailer.get(..TRAILER_CHECK).map_or(0, |head| check32_salted(salt, head));
    write_u32(&mut trailer, TRAILER_CHECK, check);
    bytes.extend_from_slice(&trailer);
    bytes
}

/// Where the entries of a footer stand (offset, length in bytes), from the trailer at the end of a
/// file of `file_bytes`; `None` if the trailer is not valid.
pub fn footer_range(
    trailer: &[u8],
    segment: u32,
    file_bytes: u64,
    salt: u64,
) -> Option<(u64, u64)> {
    let entries_at = read_u64(trailer, TRAILER_ENTRIES_AT)?;
    let bytes =
        u64::from(read_u32(trailer, TRAILER_COUNT)?).checked_mul(FOOTER_ENTRY_BYTES as u64)?;
    let valid = read_array(trailer, TRAILER_MAGIC)? == TRAILER_MAGIC_VALUE
        && read_u32(trailer, TRAILER_ID)? == segment
        && read_u32(trailer, TRAILER_CHECK)? == check32_salted(salt, trailer.get(..TRAILER_CHECK)?)
        && entries_at.checked_add(bytes)?.checked_add(TRAILER_BYTES as u64)? == file_bytes;
    valid.then_some((entries_at, bytes))
}

/// The entries of a footer, `None` if their checksum is not the trailer's or one of them stands in
/// another segment.
pub fn decode_footer(
    entries: &[u8],
    trailer: &[u8],
    segment: u32,
    salt: u64,
) -> Option<Vec<FooterEntry>> {
    if read_u32(trailer, TRAILER_ENTRIES_CHECK)? != check32_salted(salt, entries) {
        return None;
    }
    entries
        .chunks_exact(FOOTER_ENTRY_BYTES)
        .map(|packed| {
            let location = Location::unpack(read_u64(packed, ENTRY_PLACE)?);
            let key_prefix = read_u64(packed, ENTRY_KEY)?;
            let sequence = read_u64(packed, ENTRY_SEQUENCE)?;
            (location.segment == segment).then_some(FooterEntry { key_prefix, sequence, location })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> Slot {
        Slot { key_prefix: 0x0123_4567_89ab_cdef, location: Location::new(9, 8192, 5000, 2) }
    }

    #[test]
    fn every_flipped_bit_of_a_slot_is_seen() {
        let bytes = slot().encode(5);
        assert_eq!(Slot::decode(&bytes, 5, 9), Some(slot()));
        assert_eq!(Slot::decode(&bytes, 6, 9), None);
        for bit in 0..SLOT_BYTES * 8 {
            let mut torn = bytes;
            torn[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Slot::decode(&torn, 5, 9), None, "bit {bit}");
        }
        assert_eq!(Slot::decode(&[0; SLOT_BYTES], 5, 9), None);
    }

    #[test]
    fn a_damaged_slot_does_not_end_its_page() {
        let mut page = [0; PAGE_BYTES];
        for index in 0..3 {
            write_bytes(&mut page, index * SLOT_BYTES, &slot().encode(5));
        }
        page[SLOT_BYTES] ^= 1;
        assert_eq!(slots_taken(&page), 3);
        assert_eq!(slots(&page, 5, 9).flatten().count(), 2);
        assert_eq!(slots(&page, 5, 9).count(), 3);
        page[SLOT_BYTES..2 * SLOT_BYTES].fill(0);
        assert_eq!((slots_taken(&page), slots(&page, 5, 9).flatten().count()), (3, 2));
    }

    #[test]
    fn headers_name_their_store_and_their_id() {
        let header = SegmentHeader {
            id: 3,
            table_pages: 8,
            salt: 11,
            uuid: [1; 16],
            created_secs: 12,
            created_ms: 13,
            epoch: 14,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode_of(&bytes, 3, &[1; 16]), Some(header));
        assert_eq!(SegmentHeader::decode_of(&bytes, 4, &[1; 16]), None);
        assert_eq!(SegmentHeader::decode_of(&bytes, 3, &[2; 16]), None);
        assert_eq!(header.data_start(), 9 * 4096);
    }

    #[test]
    fn a_footer_round_trips_and_damage_is_seen() {
        let entries: Vec<_> = (0..5)
            .map(|i| FooterEntry {
                key_prefix: i,
                sequence: 10 + i,
                location: Location::new(3, 8192 + 64 * i, 64, 1),
            })
            .collect();
        let bytes = encode_footer(&entries, 3, 1000, 7);
        let (body, trailer) = bytes.split_at(bytes.len() - TRAILER_BYTES);
        let file_bytes = 1000 + bytes.len() as u64;
        assert_eq!(footer_range(trailer, 3, file_bytes, 7), Some((1000, body.len() as u64)));
        assert_eq!(footer_range(trailer, 3, file_bytes + 1, 7), None);
        assert_eq!(decode_footer(body, trailer, 3, 7), Some(entries));
        let mut torn = body.to_vec();
        torn[0] ^= 1;
        assert_eq!(decode_footer(&torn, trailer, 3, 7), None);
    }
}
