//! One piece: which records it has, and its bytes, a sealed segment.

use super::UUID;
use crate::coding::{write_u32, write_u64};
use crate::format::body;
use crate::format::frame::{FRAME_BYTES, Frame};
use crate::format::segment::{
    FooterEntry, SLOT_BYTES, SLOTS_PER_PAGE, SegmentHeader, Slot, encode_footer, table_pages,
};
use crate::key::{KEY_BYTES, Key};
use crate::limits::{
    EXPORT_EPOCH, EXPORT_PIECE_BYTES_MIN, EXPORT_PIECE_BYTES_WANTED, EXPORT_SEGMENT_BYTES,
    EXPORT_SEQUENCE_SHIFT, PAGE_BYTES, RECORD_ALIGN,
};
use crate::location::Location;
use crate::rolling::SEQUENCE_EPOCH_SHIFT;

/// A record of a piece.
pub struct Part<'a> {
    /// Its key.
    pub key: Key,
    /// Its kind.
    pub kind: u8,
    /// When it was made.
    pub created_secs: u64,
    /// Its body.
    pub body: &'a [u8],
}

/// Cuts records into pieces; `of` tells the key of one, and the bytes of its body.
///
/// From a certain size on the key of a record decides whether a piece ends behind it, the more
/// likely the longer it is: pieces come to be the same again behind what was added or left out. A
/// record that is longer than a piece has one of its own.
pub fn cut<T>(records: &[T], of: impl Fn(&T) -> (Key, u64)) -> Vec<&[T]> {
    let pages = usize::from(table_pages(EXPORT_SEGMENT_BYTES));
    let mut pieces = Vec::new();
    let (mut from, mut bytes, mut slots) = (0, 0, vec![0_usize; pages]);
    let header = header(1, pages as u16, 0, 0);
    for (at, record) in records.iter().enumerate() {
        let (key, body_bytes) = of(record);
        let record_bytes = (FRAME_BYTES as u64 + body_bytes).next_multiple_of(RECORD_ALIGN);
        let page = (header.table_page_offset(&key) as usize / PAGE_BYTES).saturating_sub(1);
        let is_full = slots.get(page).is_some_and(|count| *count >= SLOTS_PER_PAGE);
        if from < at && (is_full || bytes + record_bytes > room()) {
            pieces.push(&records[from..at]);
            (from, bytes) = (at, 0);
            slots.fill(0);
        }
        bytes += record_bytes;
        slots[page] += 1;
        // The prefix of a key is as good as random, but not for keys that are no digests.
        let chance = (record_bytes << 32) / EXPORT_PIECE_BYTES_WANTED;
        let is_end = bytes >= EXPORT_PIECE_BYTES_MIN && u64::from(lot(&key)) < chance;
        if is_end || bytes > room() {
            pieces.push(&records[from..=at]);
            (from, bytes) = (at + 1, 0);
            slots.fill(0);
        }
    }
    if from < records.len() {
        pieces.push(&records[from..]);
    }
    pieces
}

/// Bytes of records that a piece of the usual size has room for.
fn room() -> u64 {
    EXPORT_SEGMENT_BYTES - header(1, table_pages(EXPORT_SEGMENT_BYTES), 0, 0).data_start()
}

fn lot(key: &Key) -> u32 {
    (crate::checksum::xxh3_64(key.as_bytes(), 1) >> 32) as u32
}

fn header(id: u32, table_pages: u16, salt: u64, created_secs: u64) -> SegmentHeader {
    let epoch = EXPORT_EPOCH;
    SegmentHeader { id, table_pages, salt, uuid: UUID, created_secs, created_ms: 0, epoch }
}

/// The salt of a piece: nobody who makes an artifact knows it beforehand, as it depends on that.
fn salt(parts: &[Part<'_>]) -> u64 {
    let mut text = Vec::with_capacity(parts.len() * (KEY_BYTES + 12));
    for part in parts {
        let mut rest = [0; 12];
        write_u32(&mut rest, 0, body::stored_check(part.body).unwrap_or(0));
        write_u64(&mut rest, 4, part.body.len() as u64);
        text.extend_from_slice(part.key.as_bytes());
        text.extend_from_slice(&rest);
    }
    Key::of(&text).prefix()
}

/// As few pages of slots as have room; with those that [`cut`] goes by they have.
fn table_pages_for(parts: &[Part<'_>]) -> u16 {
    let most = table_pages(EXPORT_SEGMENT_BYTES);
    let has_room = |pages: &u16| {
        let header = header(1, *pages, 0, 0);
        let mut taken = vec![0; usize::from(*pages) + 1];
        parts.iter().all(|part| {
            let count = &mut taken[header.table_page_offset(&part.key) as usize / PAGE_BYTES];
            *count += 1;
            *count <= SLOTS_PER_PAGE
        })
    };
    (0..).map(|power| 1 << power).take_while(|pages| *pages < most).find(has_room).unwrap_or(most)
}

/// The bytes of a piece, and where its records stand.
pub fn assemble(id: u32, parts: &[Part<'_>]) -> (Vec<u8>, Vec<Location>) {
    let align = |bytes: u64| bytes.next_multiple_of(RECORD_ALIGN);
    let created_secs = parts.iter().map(|part| part.created_secs).max().unwrap_or(0);
    let table_pages = table_pages_for(parts);
    let header = header(id, table_pages, salt(parts), created_secs);
    let mut bytes = header.encode_page().to_vec();
    bytes.resize(header.data_start() as usize, 0);
    let mut taken = vec![0_usize; usize::from(table_pages) + 1];
    let (mut places, mut entries) = (Vec::new(), Vec::new());
    for (number, part) in (0_u64..).zip(parts) {
        bytes.resize(align(bytes.len() as u64) as usize, 0);
        let offset = bytes.len() as u64;
        let sequence = u64::from(EXPORT_EPOCH) << SEQUENCE_EPOCH_SHIFT
            | u64::from(id) << EXPORT_SEQUENCE_SHIFT
            | number;
        let frame = Frame {
            segment: id,
            offset,
            sequence,
            body_bytes: part.body.len() as u64,
            head_check: body::stored_check(part.body).unwrap_or(0),
            copied_from: 0,
        };
        bytes.extend_from_slice(&frame.encode(header.salt));
        bytes.extend_from_slice(part.body);
        let record_bytes = FRAME_BYTES as u64 + part.body.len() as u64;
        let location = Location::new(id, offset, record_bytes, part.kind);
        let key_prefix = part.key.prefix();
        let page_at = header.table_page_offset(&part.key) as usize;
        let count = &mut taken[page_at / PAGE_BYTES];
        let slot_at = page_at + *count * SLOT_BYTES;
        *count += 1;
        let slot = Slot { key_prefix, location }.encode(header.salt);
        bytes[slot_at..slot_at + SLOT_BYTES].copy_from_slice(&slot);
        places.push(location);
        entries.push(FooterEntry { key_prefix, sequence, location });
    }
    bytes.resize(align(bytes.len() as u64) as usize, 0);
    entries.sort_unstable();
    let entries_at = bytes.len() as u64;
    bytes.extend_from_slice(&encode_footer(&entries, id, entries_at, header.salt));
    (bytes, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(count: u64) -> Vec<(Key, u64)> {
        (0..count).map(|n| (Key::of(&n.to_le_bytes()), 1000 + n * 7919 % 60_000)).collect()
    }

    #[test]
    fn a_record_more_or_less_changes_the_pieces_around_it() {
        let mut records = records(20_000);
        let before: Vec<Vec<(Key, u64)>> =
            cut(&records, |one| *one).into_iter().map(<[_]>::to_vec).collect();
        let all: u64 = records.iter().map(|(_, bytes)| bytes).sum();
        let usual = all / before.len() as u64;
        assert!((EXPORT_PIECE_BYTES_MIN..EXPORT_SEGMENT_BYTES).contains(&usual), "{usual}");
        records.remove(10_000);
        let after = cut(&records, |one| *one);
        let same = after.iter().filter(|piece| before.iter().any(|other| other == *piece)).count();
        assert!(same + 3 >= before.len(), "{same} of {}", before.len());
        assert!(same < before.len());
    }

    #[test]
    fn long_records_stand_alone_and_tables_are_never_too_small() {
        let mut records = records(5);
        records[2].1 = 3 * EXPORT_SEGMENT_BYTES;
        let lengths: Vec<usize> = cut(&records, |one| *one).iter().map(|p| p.len()).collect();
        assert_eq!(lengths, [2, 1, 2]);
        let small: Vec<(Key, u64)> =
            (0..60_000_u64).map(|n| (Key::of(&n.to_le_bytes()), 100)).collect();
        for piece in cut(&small, |one| *one) {
            let pages = header(1, table_pages(EXPORT_SEGMENT_BYTES), 0, 0);
            let mut counts = std::collections::BTreeMap::<u64, usize>::new();
            for (key, _) in piece {
                *counts.entry(pages.table_page_offset(key)).or_default() += 1;
            }
            assert!(counts.values().all(|count| *count <= SLOTS_PER_PAGE));
        }
    }
}
