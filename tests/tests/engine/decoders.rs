//! Decoders never panic: random bytes, and valid structures with some bytes changed.

use std::ops::Range;

use larder_engine::checksum::{crc32, crc32_salted};
use larder_engine::format::body::{self, Head};
use larder_engine::format::frame::Frame;
use larder_engine::format::index::{self, BranchPage, IndexEntry, LeafPage, Meta};
use larder_engine::format::segment::{self, SegmentHeader, Slot};
use larder_engine::format::superblock::Superblock;
use larder_engine::format::tail::Tail;
use larder_engine::{Key, RecordLayout};
use larder_tests::sample::{Random, Value, with_seeds};

const UUID: [u8; 16] = [5; 16];

/// Asks every decoder, and everything that can be asked of what it gives back.
fn decode_all(bytes: &[u8]) {
    let _ = body::lengths(bytes);
    if let Ok(head) = Head::decode(bytes) {
        assert!(head.head_bytes <= head.body_bytes);
        for section in &head.sections {
            let (offset, count) = head.stored_range(section);
            assert!(offset.checked_add(count).is_some_and(|end| end <= head.body_bytes));
            let stored = bytes.get(offset as usize..(offset + count) as usize).unwrap_or_default();
            let _ = head.section_bytes(section, stored);
        }
    }
    let _ = Superblock::decode(bytes);
    let _ = Tail::decode(bytes);
    let _ = Frame::decode(bytes, 1, 2, 64);
    let _ = SegmentHeader::decode(bytes, 3, &UUID)
        .map(|header| (header.data_start(), header.table_page_offset(&Key::of(bytes))));
    let _ = Slot::decode(bytes, 1, 2);
    assert!(segment::slots(bytes, 1, 2).count() <= bytes.len());
    if let Some((offset, count)) = segment::footer_range(bytes, 2, bytes.len() as u64, 1) {
        assert!(offset + count <= bytes.len() as u64);
    }
    let _ = segment::decode_footer(bytes, bytes, 2, 1);
    let _ = Meta::decode(bytes, &UUID);
    if let Some(page) = LeafPage::check(bytes, 2, u64::MAX) {
        assert!(page.entries().all(|entry| entry.location().offset() < 1 << 28));
    }
    if let Some(page) = BranchPage::check(bytes, 2, u64::MAX) {
        assert!((0..page.count()).all(|number| page.child(number).is_some()));
    }
}

/// Gives a changed structure a right checksum, so that the checks behind it are reached.
type Seal = fn(&mut Vec<u8>);

/// A valid structure.
fn valid(random: &mut Random) -> (Vec<u8>, Seal) {
    let number = random.number() / 4;
    match random.below(7) {
        0 => valid_body(random),
        1 => valid_superblock(number),
        2 => valid_tail(number),
        3 => valid_header(number),
        4 => {
            let entries: Vec<_> =
                (0..random.below(254)).map(|place| IndexEntry { key_prefix: 5, place }).collect();
            (index::encode_leaf(&entries, 2, number).to_vec(), |page| seal(page, 0, 4..4096))
        }
        5 => valid_meta(number),
        _ => {
            let frame = Frame { segment: 2, offset: 64, sequence: number, body_bytes: 9 };
            (frame.encode(1).to_vec(), |bytes| {
                let crc = crc32_salted(1, &bytes[..60]);
                bytes[60..64].copy_from_slice(&crc.to_le_bytes());
            })
        }
    }
}

fn seal(bytes: &mut [u8], at: usize, covered: Range<usize>) {
    let crc = crc32(&bytes[covered]);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

fn valid_body(random: &mut Random) -> (Vec<u8>, Seal) {
    let value = Value::random(random, 40_000);
    let layout = *random.choose(&[RecordLayout::Compressed, RecordLayout::Cloneable]);
    let entry = value.entry(Key::of(b"a"));
    let body = body::encode(&entry, 7, layout, 1).expect("the entry is within the limits");
    (body, |body| {
        let Some((head_bytes, _)) = body::lengths(body) else { return };
        let Some(head) = body.get(..head_bytes as usize) else { return };
        let crc = crc32(&[&head[..92], &head[96..]].concat());
        body[92..96].copy_from_slice(&crc.to_le_bytes());
    })
}

fn valid_superblock(number: u64) -> (Vec<u8>, Seal) {
    let block = Superblock {
        segment_bytes: 4 << 20,
        generation: number,
        uuid: UUID,
        boot_id: UUID,
        epoch: 1,
        oldest_live: 1,
        next_segment: 9,
        durable_below: 1,
        heartbeat_secs: number,
        created_secs: number,
    };
    (block.encode().to_vec(), |page| seal(page, 88, 0..88))
}

fn valid_tail(number: u64) -> (Vec<u8>, Seal) {
    let tail = Tail {
        active: 5,
        open_from: 4,
        epoch: 1,
        offset: 8192,
        next_sequence: number,
        other_bytes: 7,
        written_bytes: 7,
        boot_id: UUID,
        store: 7,
        last: 6,
    };
    (tail.encode().to_vec(), |slot| seal(slot, 76, 0..76))
}

fn valid_header(number: u64) -> (Vec<u8>, Seal) {
    let header = SegmentHeader {
        id: 3,
        table_pages: 8,
        salt: number,
        uuid: UUID,
        created_secs: 1,
        created_ms: 2,
        epoch: 3,
    };
    (header.encode().to_vec(), |bytes| {
        let crc = crc32_salted(0, &bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    })
}

fn valid_meta(number: u64) -> (Vec<u8>, Seal) {
    let meta = Meta {
        uuid: UUID,
        transaction: number & !1,
        depth: 1,
        root: 2,
        pages: 3,
        merged_below: 4,
        entries: 5,
    };
    (meta.encode().to_vec(), |page| seal(page, 0, 4..72))
}

#[test]
fn no_decoder_panics_on_random_bytes() {
    with_seeds(&[], 300, |seed| {
        let mut random = Random::new(seed);
        let length = *random.choose(&[0, 1, 16, 63, 64, 80, 96, 4096, 8192]);
        let bytes: Vec<u8> = (0..length).map(|_| random.number() as u8).collect();
        decode_all(&bytes);
    });
}

#[test]
fn no_decoder_panics_on_changed_structures_with_right_checksums() {
    with_seeds(&[], 3_000, |seed| {
        let mut random = Random::new(seed);
        let (mut bytes, seal) = valid(&mut random);
        decode_all(&bytes);
        for _ in 0..=random.below(4) {
            let place = match random.below(3) {
                0 => random.below(bytes.len() as u64),
                _ => random.below(160.min(bytes.len() as u64)),
            };
            let noise = random.number();
            let byte = &mut bytes[place as usize];
            *byte = *random.choose(&[0, 0xff, *byte ^ 1, noise as u8, byte.wrapping_add(1)]);
        }
        seal(&mut bytes);
        decode_all(&bytes);
        bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
        decode_all(&bytes);
    });
}
