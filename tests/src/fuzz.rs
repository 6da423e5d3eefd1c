//! Fuzz targets: everything that takes bytes from a disk, by name.
//!
//! 1. A target takes any bytes and panics only if there is a bug. It gives them right checksums as
//!    well, so that what stands behind those is reached.
//! 2. Whatever a decoder accepts is asked for everything, and where the format has one form only,
//!    encodes to the same bytes again.
//! 3. The same list serves the smoke run of every test run and the binaries in tests/fuzz.

use std::ops::Range;

use larder_engine::checksum::{check32, check32_salted, xxh3_64};
use larder_engine::codec;
use larder_engine::format::body::{self, Head};
use larder_engine::format::frame::Frame;
use larder_engine::format::index::{
    self, BranchPage, Child, IndexEntry, LEAF_ENTRIES_MAX, LeafPage, Meta,
};
use larder_engine::format::segment::{
    self, FooterEntry, SLOT_BYTES, SegmentHeader, Slot, TRAILER_BYTES,
};
use larder_engine::format::superblock::Superblock;
use larder_engine::format::tail::Tail;
use larder_engine::sealed::{self, Piece};
use larder_engine::{Key, RecordLayout};

use crate::sample::{Random, Value};
use crate::{fuzz_ccache, fuzz_incoming, fuzz_store, fuzz_tools};

const PAGE_BYTES: usize = 4096;
const UUID: [u8; 16] = [5; 16];
const SALT: u64 = 1;
const SEGMENT: u32 = 2;
/// The page that leaves and branches say they are.
const PAGE: u32 = 2;

/// Something that takes bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is also that of its binary.
    pub name: &'static str,
    /// Takes bytes.
    pub run: fn(&[u8]),
    /// Makes valid bytes, to begin with.
    pub valid: fn(&mut Random) -> Vec<u8>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "body", run: run_body, valid: valid_body },
    Target { name: "codec", run: run_codec, valid: valid_codec },
    Target { name: "frame", run: run_frame, valid: valid_frame },
    Target { name: "segment_header", run: run_header, valid: valid_header },
    Target { name: "slots", run: run_slots, valid: valid_slots },
    Target { name: "footer", run: run_footer, valid: valid_footer },
    Target { name: "leaf", run: run_leaf, valid: valid_leaf },
    Target { name: "branch", run: run_branch, valid: valid_branch },
    Target { name: "meta", run: run_meta, valid: valid_meta },
    Target { name: "superblock", run: run_superblock, valid: valid_superblock },
    Target { name: "tail", run: run_tail, valid: valid_tail },
    Target { name: "store", run: fuzz_store::run, valid: fuzz_store::valid },
    Target { name: "export", run: run_export, valid: valid_export },
    Target { name: "incoming", run: fuzz_incoming::run, valid: fuzz_incoming::valid },
    Target { name: "ccache_entry", run: fuzz_ccache::run, valid: fuzz_ccache::valid },
    Target { name: "sccache_result", run: fuzz_tools::run_result, valid: fuzz_tools::valid_result },
    Target {
        name: "sccache_preprocessor",
        run: fuzz_tools::run_preprocessor,
        valid: fuzz_tools::valid_preprocessor,
    },
    Target {
        name: "foreign_record",
        run: fuzz_tools::run_foreign,
        valid: fuzz_tools::valid_foreign,
    },
    Target { name: "tar_listing", run: fuzz_tools::run_tar, valid: fuzz_tools::valid_tar },
    Target { name: "ccache_3", run: fuzz_tools::run_ccache_3, valid: fuzz_tools::valid_ccache_3 },
    Target { name: "lmdb_pages", run: fuzz_tools::run_lmdb, valid: fuzz_tools::valid_lmdb },
    Target { name: "names", run: fuzz_tools::run_names, valid: fuzz_tools::valid_names },
];

/// Runs the target of a name.
///
/// # Panics
/// If there is none, or if it has a bug.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("there is no target `{name}`")).run)(bytes);
}

/// Changes bytes as a disk, a crash or an adversary might.
pub fn change(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len() as u64;
        let place = match random.below(3) {
            0 => random.below(length),
            1 => random.below(160.min(length)),
            _ => length - 1 - random.below(160.min(length)),
        } as usize;
        let noise = random.number();
        let byte = bytes[place];
        match random.below(8) {
            0 => bytes.truncate(place),
            1 => bytes.extend_from_within(place..),
            2 => bytes[place..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
            _ => {
                bytes[place] =
                    *random.choose(&[0, 0xff, byte ^ 1, noise as u8, byte.wrapping_add(1)])
            }
        }
    }
}

/// Runs `decode` with the bytes as they are and with a right checksum.
fn with_and_without(bytes: &[u8], seal: fn(&mut [u8]), decode: fn(&[u8])) {
    decode(bytes);
    let mut sealed = bytes.to_vec();
    seal(&mut sealed);
    decode(&sealed);
}

/// Writes the checksum of a range; nothing if the bytes are too few.
fn seal(bytes: &mut [u8], at: usize, covered: Range<usize>) {
    let Some(check) = bytes.get(covered).map(check32) else { return };
    let Some(place) = bytes.get_mut(at..at + 4) else { return };
    place.copy_from_slice(&check.to_le_bytes());
}

fn seal_salted(bytes: &mut [u8], salt: u64) {
    let Some(check) = bytes.get(..60).map(|covered| check32_salted(salt, covered)) else { return };
    let Some(place) = bytes.get_mut(60..64) else { return };
    place.copy_from_slice(&check.to_le_bytes());
}

fn run_body(bytes: &[u8]) {
    with_and_without(bytes, seal_body, |bytes| {
        let Ok(head) = Head::decode(bytes) else { return };
        assert!(head.head_bytes <= head.body_bytes);
        for section in &head.sections {
            let (offset, count) = head.stored_range(section);
            assert!(offset.checked_add(count).is_some_and(|end| end <= head.body_bytes));
            let stored = bytes.get(offset as usize..(offset + count) as usize).unwrap_or_default();
            if let Ok(real) = head.section_bytes(section, stored.into()) {
                assert_eq!(real.len() as u64, section.real_bytes);
            }
        }
        let _ = head.check_sections(bytes);
    });
}

/// Writes the checksum of a body's head; nothing if there is none.
pub(crate) fn seal_body(body: &mut [u8]) {
    let Some((head_bytes, _)) = body::lengths(body) else { return };
    let Some(head) = body.get(..head_bytes as usize) else { return };
    let check = check32_salted(xxh3_64(&head[..92], 0), &head[96..]);
    body[92..96].copy_from_slice(&check.to_le_bytes());
}

fn valid_body(random: &mut Random) -> Vec<u8> {
    let value = Value::random(random, 20_000);
    let layout =
        *random.choose(&[RecordLayout::Compressed, RecordLayout::Cloneable, RecordLayout::Raw]);
    let entry = value.entry(Key::of(b"a"));
    body::encode(&entry, 7, layout, 1).expect("the entry is within the limits")
}

/// The first three bytes are a promised length, the rest is a compressed section.
fn run_codec(bytes: &[u8]) {
    let Some((promise, packed)) = bytes.split_first_chunk::<3>() else { return };
    let promised = u32::from_le_bytes([promise[0], promise[1], promise[2], 0]) as usize;
    if let Ok(real) = codec::decompress(packed, promised) {
        assert_eq!(real.len(), promised);
    }
}

fn valid_codec(random: &mut Random) -> Vec<u8> {
    let count = random.below(3000) as usize;
    let word = random.number().to_le_bytes();
    let real: Vec<u8> = word.iter().copied().cycle().take(count).collect();
    let packed = codec::compress(&real, 1).unwrap_or(real);
    [&(count as u32).to_le_bytes()[..3], &packed].concat()
}

fn run_frame(bytes: &[u8]) {
    let seal = |bytes: &mut [u8]| seal_salted(bytes, SALT);
    with_and_without(bytes, seal, |bytes| {
        for (place, chunk) in bytes.chunks(64).enumerate() {
            let offset = place as u64 * 64;
            let Some(frame) = Frame::decode(chunk, SALT, SEGMENT, offset) else { continue };
            assert_eq!((frame.segment, frame.offset), (SEGMENT, offset));
            let again = Frame::decode(&frame.encode(SALT), SALT, SEGMENT, offset);
            assert_eq!(again, Some(frame));
        }
    });
}

fn valid_frame(random: &mut Random) -> Vec<u8> {
    let frame = Frame {
        segment: SEGMENT,
        offset: 0,
        sequence: random.number() / 4,
        body_bytes: random.below(1 << 32),
        head_check: random.number() as u32,
        copied_from: random.number(),
    };
    frame.encode(SALT).to_vec()
}

fn run_header(bytes: &[u8]) {
    let seal = |bytes: &mut [u8]| seal_salted(bytes, 0);
    with_and_without(bytes, seal, |bytes| {
        let Some(header) = SegmentHeader::decode_of(bytes, SEGMENT, &UUID) else { return };
        assert_eq!(header.encode()[..], bytes[..64]);
        let page = header.table_page_offset(&Key::of(bytes));
        assert!((PAGE_BYTES as u64..header.data_start()).contains(&page));
    });
}

fn valid_header(random: &mut Random) -> Vec<u8> {
    let header = SegmentHeader {
        id: SEGMENT,
        table_pages: 1 + random.below(600) as u16,
        salt: random.number(),
        uuid: UUID,
        created_secs: random.number(),
        created_ms: random.number(),
        epoch: random.number() as u32,
    };
    header.encode().to_vec()
}

/// A place in [`SEGMENT`], as leaves hold it.
fn place(random: &mut Random) -> u64 {
    u64::from(SEGMENT) << 36 | 1 | random.below(1 << 36)
}

fn run_slots(bytes: &[u8]) {
    let taken = segment::slots_taken(bytes);
    let slots: Vec<Option<Slot>> = segment::slots(bytes, SALT, SEGMENT).collect();
    assert_eq!(slots.len(), taken);
    assert!(taken * SLOT_BYTES <= bytes.len().next_multiple_of(SLOT_BYTES));
    for (slot, stored) in slots.iter().zip(bytes.chunks(SLOT_BYTES)) {
        if let Some(slot) = slot {
            assert_eq!(slot.encode(SALT)[..], *stored);
            assert_eq!(slot.location.segment, SEGMENT);
        }
    }
}

fn valid_slots(random: &mut Random) -> Vec<u8> {
    let mut page = Vec::new();
    for _ in 0..random.below(257) {
        let entry = IndexEntry { key_prefix: random.number(), place: place(random) };
        let slot = Slot { key_prefix: entry.key_prefix, location: entry.location() };
        page.extend_from_slice(&slot.encode(SALT));
    }
    page.resize(PAGE_BYTES, 0);
    page
}

fn run_footer(bytes: &[u8]) {
    with_and_without(bytes, seal_footer, |bytes| {
        let Some((before, trailer)) = bytes.split_last_chunk::<TRAILER_BYTES>() else { return };
        let file_bytes = bytes.len() as u64;
        let Some((at, count)) = segment::footer_range(trailer, SEGMENT, file_bytes, SALT) else {
            return;
        };
        let entries = before.get(at as usize..(at + count) as usize);
        let entries = entries.expect("a footer's entries stand before its trailer");
        if let Some(decoded) = segment::decode_footer(entries, trailer, SEGMENT, SALT) {
            let again = segment::encode_footer(&decoded, SEGMENT, at, SALT);
            assert_eq!(
                segment::decode_footer(
                    &again[..again.len() - TRAILER_BYTES],
                    &again[again.len() - TRAILER_BYTES..],
                    SEGMENT,
                    SALT,
                ),
                Some(decoded)
            );
        }
    });
}

fn seal_footer(bytes: &mut [u8]) {
    let Some((entries, trailer)) = bytes.split_last_chunk_mut::<TRAILER_BYTES>() else { return };
    let check = check32_salted(SALT, entries);
    trailer[24..28].copy_from_slice(&check.to_le_bytes());
    seal_salted(trailer, SALT);
}

fn valid_footer(random: &mut Random) -> Vec<u8> {
    let entries: Vec<FooterEntry> = (0..random.below(40))
        .map(|_| {
            let entry = IndexEntry { key_prefix: random.number(), place: place(random) };
            FooterEntry {
                key_prefix: entry.key_prefix,
                sequence: random.number(),
                location: entry.location(),
            }
        })
        .collect();
    segment::encode_footer(&entries, SEGMENT, 0, SALT)
}

fn seal_page(page: &mut [u8]) {
    seal(page, 0, 4..PAGE_BYTES);
}

/// At most one page of the input: whoever checks a page has read one.
fn one_page(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(PAGE_BYTES)]
}

fn run_leaf(bytes: &[u8]) {
    with_and_without(one_page(bytes), seal_page, |page| {
        let Some(leaf) = LeafPage::check(page, PAGE, u64::MAX) else { return };
        assert!(leaf.count() <= LEAF_ENTRIES_MAX);
        assert!((0..leaf.count()).all(|number| leaf.entry(number).is_some()));
        assert!(leaf.entries().all(|entry| entry.location().offset() < 1 << 28));
    });
}

fn valid_leaf(random: &mut Random) -> Vec<u8> {
    let entries: Vec<IndexEntry> = (0..random.below(1 + LEAF_ENTRIES_MAX as u64))
        .map(|number| IndexEntry { key_prefix: number, place: place(random) })
        .collect();
    index::encode_leaf(&entries, PAGE, random.below(9)).to_vec()
}

fn run_branch(bytes: &[u8]) {
    with_and_without(one_page(bytes), seal_page, |page| {
        let Some(branch) = BranchPage::check(page, PAGE, u64::MAX) else { return };
        assert!((0..branch.count()).all(|number| branch.child(number).is_some()));
        assert!(branch.child(branch.count()).is_none());
    });
}

fn valid_branch(random: &mut Random) -> Vec<u8> {
    let children: Vec<Child> = (0..1 + random.below(203))
        .map(|number| Child {
            first: IndexEntry { key_prefix: number, place: place(random) },
            page: random.below(1 << 20) as u32,
        })
        .collect();
    index::encode_branch(&children, PAGE, random.below(9)).to_vec()
}

fn run_meta(bytes: &[u8]) {
    let seal = |pages: &mut [u8]| pages.chunks_mut(PAGE_BYTES).for_each(|p| seal(p, 0, 4..72));
    with_and_without(bytes, seal, |pages| {
        let Some(meta) = Meta::decode(pages, &UUID) else { return };
        assert!(meta.depth == 0 || (2..meta.pages).contains(&meta.root));
        let again = [meta.encode().as_slice(), &meta.encode()].concat();
        assert_eq!(Meta::decode(&again, &UUID), Some(meta));
    });
}

fn valid_meta(random: &mut Random) -> Vec<u8> {
    let transaction = random.below(1 << 60);
    let page = |transaction| {
        let meta = Meta {
            uuid: UUID,
            transaction,
            depth: 1,
            root: 2,
            pages: 3,
            merged_below: 4,
            entries: 5,
        };
        meta.encode()
    };
    [page(transaction & !1), page(transaction | 1)].concat()
}

/// The manifest of an export, with the digest that its lines have as well.
fn run_export(bytes: &[u8]) {
    take_manifest(bytes);
    let end = bytes.windows(5).position(|window| window == b"\nend ");
    if let Some(lines) = end.and_then(|end| bytes.get(..=end)) {
        take_manifest(
            format!("{}end {}\n", String::from_utf8_lossy(lines), Key::of(lines)).as_bytes(),
        );
    }
}

fn take_manifest(bytes: &[u8]) {
    let Ok(manifest) = sealed::Manifest::decode(bytes) else { return };
    assert_eq!(manifest.encode().as_bytes(), bytes);
    for piece in manifest.pieces() {
        let path = piece.path("/top".as_ref());
        assert_eq!(path.parent(), Some("/top/pieces".as_ref()), "{}", path.display());
    }
}

fn valid_export(random: &mut Random) -> Vec<u8> {
    let mut piece =
        || Piece { hash: Key::of(&random.number().to_le_bytes()), bytes: random.below(1 << 40) };
    let [superblock, index] = [piece(), piece()];
    let segments = (1..5).map(|id| (id * id, piece())).collect();
    let records = random.number();
    let signature = random.choose(&["", "00ff 1234"]).to_string();
    sealed::Manifest { records, superblock, index, segments, signature }.encode().into_bytes()
}

fn run_superblock(bytes: &[u8]) {
    let seal = |file: &mut [u8]| file.chunks_mut(PAGE_BYTES).for_each(|p| seal(p, 96, 0..96));
    with_and_without(bytes, seal, |file| {
        let Ok(block) = Superblock::decode(file) else { return };
        assert!(block.oldest_live <= block.next_segment);
        assert_eq!(Superblock::decode(&block.encode()).ok(), Some(block));
    });
}

fn valid_superblock(random: &mut Random) -> Vec<u8> {
    let block = Superblock {
        segment_bytes: 4 << 20,
        generation: random.below(1 << 60),
        uuid: UUID,
        boot_id: UUID,
        epoch: 1,
        oldest_live: 1,
        next_segment: 9,
        durable_below: 1,
        heartbeat_secs: random.number(),
        created_secs: random.number(),
        used_below: 9,
        suspect_below: 8,
        noted_below: 7,
        noted_secs: random.number(),
    };
    let next = Superblock { generation: block.generation + 1, ..block };
    [block.encode(), next.encode()].concat()
}

fn run_tail(bytes: &[u8]) {
    let seal = |slot: &mut [u8]| seal(slot, 76, 0..76);
    with_and_without(bytes, seal, |slot| {
        let Some(tail) = Tail::decode(slot) else { return };
        assert!(tail.open_from <= tail.active && tail.active <= tail.last);
        assert_eq!(tail.encode()[..], slot[..88]);
    });
}

fn valid_tail(random: &mut Random) -> Vec<u8> {
    let tail = Tail {
        active: 5,
        open_from: 4,
        epoch: 1,
        offset: 8192,
        next_sequence: random.below(1 << 61),
        other_bytes: 7,
        written_bytes: 7,
        boot_id: UUID,
        store: 7,
        last: 6,
        written_since_ms: 3,
    };
    tail.encode().to_vec()
}
