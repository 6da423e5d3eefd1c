//! Verifying and repairing: one damage of every kind, made on purpose.
//!
//! 1. `verify` names exactly that kind and place, and changes nothing.
//! 2. Whatever the damage does not concern is found as before, damaged and repaired.
//! 3. After `repair`, `verify` finds nothing; what the damage took is a miss and never an older
//!    value, where anything that is left says which key it had.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use larder_engine::checksum::check32;
use larder_engine::format::frame::{FRAME_BYTES, Frame};
use larder_engine::format::index::{IndexEntry, LeafPage, Meta, encode_leaf};
use larder_engine::format::segment::{
    HEADER_COPY, SLOT_BYTES, SegmentHeader, Slot, TRAILER_BYTES, decode_footer, encode_footer,
    footer_range,
};
use larder_engine::format::superblock::Superblock;
use larder_engine::{Budget, Damage, DamageKind, Key, Put, Severity, Store, VerifyReport};
use larder_tests::TempDir;
use larder_tests::sample::{Random, Value, contents};

use super::{Reference, assert_holds, put, roomy, value_of};

/// A committed record of the sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub(super) segment: u32,
    pub(super) slot_at: u64,
    pub(super) offset: u64,
    pub(super) key: Key,
    pub(super) frame: Frame,
}

/// A store in which every key was put twice or more, in merged segments and in others.
pub(super) struct Sample {
    pub(super) folder: TempDir,
    pub(super) reference: Reference,
    pub(super) history: BTreeMap<Key, Vec<Value>>,
    pub(super) records: Vec<Stored>,
    pub(super) merged_below: u32,
}

pub(super) fn key(number: u64) -> Key {
    Key::of(&number.to_le_bytes())
}

impl Sample {
    pub(super) fn new() -> Sample {
        let folder = larder_tests::temp_dir();
        let (reference, history) = (Reference::new(), BTreeMap::new());
        let mut sample = Sample { folder, reference, history, records: vec![], merged_below: 0 };
        let store = Store::open(&sample.path(), roomy()).unwrap();
        let mut random = Random::new(7);
        for round in 0..3 {
            // The last round leaves some keys with their newest values in merged segments.
            for number in 0..if round < 2 { 40 } else { 30 } {
                let value = Value::of(random.bytes(2_000 + number as usize % 7));
                put(&store, key(number), &value);
                sample.reference.insert(key(number), value.clone());
                sample.history.entry(key(number)).or_default().push(value);
            }
            if round == 1 {
                assert_eq!(store.remove(&key(100)).unwrap(), Put::Stored);
                let noise = (0..20_000).flat_map(|_| random.number().to_le_bytes());
                put(&store, key(101), &Value::of(noise.collect::<Vec<_>>()));
                store.checkpoint().unwrap();
                let meta = fs::read(sample.path().join("index")).unwrap();
                let block = superblock(&sample.path());
                sample.merged_below = Meta::decode(&meta, &block.uuid).unwrap().merged_below;
            }
        }
        let big = value_of(&store, &key(101)).unwrap();
        sample.reference.insert(key(101), big);
        drop(store);
        sample.records = records(&sample.path());
        sample
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(super) fn copy(&self) -> TempDir {
        let copy = larder_tests::temp_dir();
        for directory in ["", "log"] {
            fs::create_dir_all(copy.path().join(directory)).unwrap();
            for entry in fs::read_dir(self.path().join(directory)).unwrap().map(|e| e.unwrap()) {
                if entry.file_type().unwrap().is_file() {
                    let to = copy.path().join(directory).join(entry.file_name());
                    fs::copy(entry.path(), to).unwrap();
                }
            }
        }
        copy
    }

    /// The newest records, of keys in merged segments that are not put again later, or of others.
    pub(super) fn newest(&self, is_merged: bool) -> Stored {
        let last = |key: &Key| self.records.iter().rfind(|record| record.key == *key);
        let newest = self.records.iter().filter(|r| {
            last(&r.key).is_some_and(|last| last.frame.sequence == r.frame.sequence)
                && self.reference.contains_key(&r.key)
        });
        let mut of_place = newest.filter(|r| (r.segment < self.merged_below) == is_merged);
        *of_place.next().expect("the sample has such a record")
    }

    /// Any record of a merged segment, or of another one.
    pub(super) fn any(&self, is_merged: bool) -> Stored {
        let is_here = |r: &&Stored| (r.segment < self.merged_below) == is_merged;
        *self.records.iter().rfind(is_here).expect("the sample has such a record")
    }

    /// The keys whose newest record stands in a segment.
    pub(super) fn keys_of(&self, segment: u32) -> BTreeSet<Key> {
        let here = self.records.iter().filter(|record| record.segment == segment);
        let is_newest = |r: &&Stored| {
            let mut others = self.records.iter().filter(|other| other.key == r.key);
            others.all(|other| other.frame.sequence <= r.frame.sequence)
        };
        here.filter(is_newest).map(|record| record.key).collect()
    }
}

pub(super) fn superblock(store: &Path) -> Superblock {
    Superblock::decode(&fs::read(store.join("superblock")).unwrap()).unwrap()
}

pub(super) fn segment_file(id: u32) -> String {
    format!("log/{id:08}.seg")
}

fn header(store: &Path, id: u32) -> SegmentHeader {
    SegmentHeader::decode(&fs::read(store.join(segment_file(id))).unwrap(), id).unwrap()
}

/// Every committed record, in the order of segments and sequence numbers.
fn records(store: &Path) -> Vec<Stored> {
    let mut found = Vec::new();
    let block = superblock(store);
    for segment in block.oldest_live..block.next_segment {
        let bytes = fs::read(store.join(segment_file(segment))).unwrap();
        let header = header(store, segment);
        let table = 4096..header.data_start() as usize;
        for slot_at in table.step_by(SLOT_BYTES) {
            let Some(slot) = Slot::decode(&bytes[slot_at..], header.salt, segment) else {
                continue;
            };
            let offset = slot.location.offset();
            let record = &bytes[offset as usize..];
            let frame = Frame::decode(record, header.salt, segment, offset).unwrap();
            let mut key = [0; 32];
            key.copy_from_slice(&record[FRAME_BYTES + 8..FRAME_BYTES + 40]);
            let key = Key::from_bytes(key);
            found.push(Stored { segment, slot_at: slot_at as u64, offset, key, frame });
        }
    }
    found.sort_by_key(|record| (record.segment, record.frame.sequence));
    found
}

pub(super) fn change(store: &Path, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(store.join(file)).unwrap_or_default();
    change(&mut bytes);
    fs::write(store.join(file), bytes).unwrap();
}

pub(super) fn flip(store: &Path, file: &str, offset: u64) {
    change(store, file, |bytes| bytes[offset as usize] ^= 0x10);
}

/// What a damage must be reported as, and what it takes.
struct Expected {
    kind: DamageKind,
    file: String,
    offset: Option<u64>,
    severity: Severity,
    /// Keys that are not found after the repair, if they are not found with an older value.
    lost: BTreeSet<Key>,
    /// Whether an older value may come back: nothing says which keys were lost.
    may_be_older: bool,
    /// Whether the damage takes records out of sight that the repair brings back.
    is_blinding: bool,
}

impl Expected {
    fn harmless(kind: DamageKind, file: impl Into<String>, offset: impl Into<Option<u64>>) -> Self {
        Expected {
            kind,
            file: file.into(),
            offset: offset.into(),
            severity: Severity::Harmless,
            lost: BTreeSet::new(),
            may_be_older: false,
            is_blinding: false,
        }
    }

    fn misses(kind: DamageKind, file: impl Into<String>, offset: impl Into<Option<u64>>) -> Self {
        let harmless = Self::harmless(kind, file, offset);
        Expected { severity: Severity::Misses, is_blinding: true, ..harmless }
    }

    fn losing(self, lost: impl IntoIterator<Item = Key>) -> Self {
        Expected { lost: lost.into_iter().collect(), ..self }
    }
}

pub(super) fn verified(path: &Path) -> VerifyReport {
    let before = contents(path);
    let store = Store::open(path, roomy().read_only(true)).unwrap();
    let report = store.verify(|done, of| assert!(done <= of)).unwrap();
    assert!(contents(path) == before, "a verification changed the store");
    report
}

/// Every answer is right or a miss; whatever is not lost is found if `all` is.
fn assert_answers(sample: &Sample, store: &Store, expected: &Expected, all: bool) {
    for (key, value) in &sample.reference {
        let record = match store.get(key) {
            Err(error) if all => panic!("{error}"),
            record => record.unwrap_or_default(),
        };
        let found = record.and_then(|record| Value::read(&record).ok());
        let is_lost = expected.lost.contains(key);
        match found {
            Some(found) if found == *value => {
                assert!(!is_lost || !all, "{key} is found although it is lost");
            }
            Some(found) => {
                let was_put = sample.history.get(key).is_some_and(|h| h.contains(&found));
                assert!(was_put, "{key} has a value that it never had");
                let may_be_older = expected.may_be_older && is_lost;
                assert!(may_be_older, "{key} has an older value");
            }
            None => assert!(is_lost || !all, "{key} is missing"),
        }
    }
    assert!(!matches!(store.get(&key(100)), Ok(Some(_))), "what was removed is back");
}

fn check(sample: &Sample, name: &str, damage: impl FnOnce(&Path) -> Expected) {
    let copy = sample.copy();
    let path = copy.path();
    let expected = damage(path);
    let report = verified(path);
    let all: Vec<&Damage> = report.damaged.iter().chain(&report.leftovers).collect();
    assert!(!all.is_empty(), "{name}: nothing is reported");
    for found in &all {
        assert_eq!(found.kind, expected.kind, "{name}: {found:?}");
        assert_eq!(found.file, expected.file, "{name}: {found:?}");
        assert_eq!(found.severity, expected.severity, "{name}: {found:?}");
    }
    let is_at = |damage: &&&Damage| expected.offset.is_none() || damage.offset == expected.offset;
    assert_eq!(all.iter().filter(is_at).count(), 1, "{name}: {all:?}");
    assert!(report.suspects.is_empty() && report.suspect_segments == 0);
    {
        let reader = Store::open(path, roomy().read_only(true)).unwrap();
        assert_answers(sample, &reader, &expected, !expected.is_blinding);
    }
    let store = Store::open(path, roomy()).unwrap();
    let repaired = store.repair(|_, _| {}).unwrap();
    assert_eq!(repaired.before.damaged.len(), report.damaged.len(), "{name}");
    assert_eq!(repaired.after.damaged, [], "{name}");
    let is_ours = |damage: &&Damage| damage.kind != DamageKind::UnknownFile;
    assert_eq!(repaired.after.leftovers.iter().find(is_ours), None, "{name}");
    assert_answers(sample, &store, &expected, true);
    let again = verified(path);
    assert_eq!(again.damaged, [], "{name}");
    let store = Store::open(path, roomy()).unwrap();
    assert_answers(sample, &store, &expected, true);
    let value = Value::of(b"goes on".as_slice());
    put(&store, key(500), &value);
    store.maintain(Budget::full()).unwrap();
    assert_eq!(value_of(&store, &key(500)), Some(value));
    assert_answers(sample, &store, &expected, true);
    assert_eq!(store.repair(|_, _| {}).unwrap().steps, [], "{name}: there is more to repair");
}

#[test]
fn a_whole_store_is_whole() {
    let sample = Sample::new();
    let report = verified(&sample.path());
    assert_eq!((report.damaged, report.suspects, report.leftovers), (vec![], vec![], vec![]));
    assert_eq!(report.records, sample.records.len() as u64);
    let bytes: u64 = sample.records.iter().map(|record| record.frame.body_bytes).sum();
    assert_eq!(report.bytes, bytes);
    assert!(report.index_pages > 0 && !report.index_was_overtaken);
    let before = contents(&sample.path());
    let store = Store::open(&sample.path(), roomy()).unwrap();
    assert_eq!(store.repair(|_, _| {}).unwrap().steps, []);
    drop(store);
    let mut after = contents(&sample.path());
    after.retain(|path, _| before.contains_key(path));
    assert!(after == before, "a repair of a whole store changed it");
    assert_holds(&Store::open(&sample.path(), roomy()).unwrap(), &sample.reference);
}

#[test]
fn damage_of_the_superblock_and_the_tail() {
    let sample = Sample::new();
    for copy in [0, 4096] {
        check(&sample, "superblock copy", |path| {
            flip(path, "superblock", copy + 40);
            Expected::harmless(DamageKind::SuperblockCopy, "superblock", copy)
        });
    }
    check(&sample, "superblock order", |path| {
        let mut block = superblock(path);
        // The older copy becomes older still.
        block.generation -= 5;
        let at = block.copy_offset();
        change(path, "superblock", |bytes| {
            bytes[at as usize..at as usize + 4096].copy_from_slice(&block.encode());
        });
        Expected::harmless(DamageKind::SuperblockOrder, "superblock", at)
    });
    check(&sample, "tail", |path| {
        flip(path, "tail", 30);
        Expected::harmless(DamageKind::Tail, "tail", 0)
    });
    check(&sample, "tail of another segment", |path| {
        change(path, "tail", |bytes| {
            let last = superblock(path).next_segment;
            bytes[72..76].copy_from_slice(&last.to_le_bytes());
            let check = check32(&bytes[..84]);
            bytes[84..88].copy_from_slice(&check.to_le_bytes());
        });
        Expected::harmless(DamageKind::Tail, "tail", 0)
    });
}

#[test]
fn records_that_the_superblock_does_not_know_are_found_again() {
    let sample = Sample::new();
    let copy = sample.copy();
    let mut block = superblock(copy.path());
    block.used_below = sample.merged_below;
    let copies = [block.generation - 1, block.generation].map(|generation| {
        let block = Superblock { generation, ..block };
        (block.copy_offset() as usize, block.encode())
    });
    change(copy.path(), "superblock", |bytes| {
        copies.iter().for_each(|(at, page)| bytes[*at..*at + 4096].copy_from_slice(page));
    });
    let report = verified(copy.path());
    assert!(!report.damaged.is_empty());
    assert!(report.damaged.iter().all(|d| d.kind == DamageKind::SuperblockUsed), "{report:?}");
    let store = Store::open(copy.path(), roomy()).unwrap();
    assert_eq!(store.repair(|_, _| {}).unwrap().after.damaged, []);
    assert_holds(&store, &sample.reference);
}

#[test]
fn a_superblock_that_is_lost_under_an_open_store_is_reported() {
    let sample = Sample::new();
    let store = Store::open(&sample.path(), roomy().read_only(true)).unwrap();
    change(&sample.path(), "superblock", |bytes| bytes.fill(0x5a));
    let report = store.verify(|_, _| {}).unwrap();
    let kinds: Vec<_> = report.damaged.iter().map(|d| (d.kind, d.severity)).collect();
    assert_eq!(kinds, [(DamageKind::SuperblockLost, Severity::Unusable)]);
}

#[test]
fn damage_of_a_segment_as_a_whole() {
    let sample = Sample::new();
    for is_merged in [true, false] {
        let id = sample.newest(is_merged).segment;
        let lost = || sample.keys_of(id);
        check(&sample, "missing", |path| {
            fs::remove_file(path.join(segment_file(id))).unwrap();
            let expected = Expected::misses(DamageKind::SegmentMissing, segment_file(id), 0);
            Expected { may_be_older: true, ..expected.losing(lost()) }
        });
        check(&sample, "header", |path| {
            flip(path, &segment_file(id), 20);
            flip(path, &segment_file(id), HEADER_COPY as u64 + 50);
            let expected = Expected::misses(DamageKind::SegmentHeader, segment_file(id), 0);
            Expected { may_be_older: !is_merged, ..expected.losing(lost()) }
        });
        for copy in [0, HEADER_COPY as u64] {
            check(&sample, "header copy", |path| {
                flip(path, &segment_file(id), copy + 10);
                Expected::harmless(DamageKind::SegmentHeaderCopy, segment_file(id), copy)
            });
        }
    }
}

/// What the tree still says of a missing segment is enough to know which keys may not be answered
/// by older values.
#[test]
fn after_a_merged_segment_is_lost_no_older_value_is_seen() {
    let sample = Sample::new();
    let copy = sample.copy();
    // Without what was put last, the newest values stand in merged segments.
    let store = Store::open(copy.path(), roomy()).unwrap();
    store.checkpoint().unwrap();
    drop(store);
    let last = sample.records.last().unwrap().segment;
    fs::remove_file(copy.path().join(segment_file(last))).unwrap();
    let store = Store::open(copy.path(), roomy()).unwrap();
    let repaired = store.repair(|_, _| {}).unwrap();
    assert_eq!(repaired.after.damaged, []);
    let lost = sample.keys_of(last);
    assert!(!lost.is_empty() && repaired.keys_removed == lost.len() as u64);
    let mut reference = sample.reference.clone();
    reference.retain(|key, _| !lost.contains(key));
    assert_holds(&store, &reference);
    lost.iter().for_each(|key| assert!(store.get(key).unwrap().is_none()));
}

/// A damage in a segment that is merged costs nothing; in another one it may.
fn in_table(kind: DamageKind, record: &Stored, at: u64, is_merged: bool) -> Expected {
    match is_merged {
        true => Expected::harmless(kind, segment_file(record.segment), at),
        false => Expected::misses(kind, segment_file(record.segment), at),
    }
}

#[test]
fn damage_of_a_slot_table() {
    let sample = Sample::new();
    for is_merged in [true, false] {
        let first = sample.newest(is_merged);
        let in_page = |r: &&Stored| (r.segment, r.slot_at / 4096) == (first.segment, 1);
        let last = *sample.records.iter().rfind(in_page).unwrap();
        assert!(last.slot_at > 4096, "a page has several slots");
        let file = segment_file(first.segment);
        check(&sample, "slot", |path| {
            flip(path, &file, last.slot_at + 9);
            in_table(DamageKind::Slot, &last, last.slot_at, is_merged)
        });
        check(&sample, "slot gap", |path| {
            change(path, &file, |bytes| bytes[4096..4096 + SLOT_BYTES].fill(0));
            in_table(DamageKind::SlotGap, &last, 4096, is_merged)
        });
        check(&sample, "slot wrong", |path| {
            let header = header(path, last.segment);
            let at = last.slot_at as usize;
            change(path, &file, |bytes| {
                let mut slot = Slot::decode(&bytes[at..], header.salt, last.segment).unwrap();
                slot.location.class = 1;
                bytes[at..at + SLOT_BYTES].copy_from_slice(&slot.encode(header.salt));
            });
            in_table(DamageKind::SlotWrong, &last, last.slot_at, is_merged)
        });
    }
    let merged = sample.any(true);
    check(&sample, "slot lost", |path| {
        let at = merged.slot_at as usize;
        change(path, &segment_file(merged.segment), |bytes| {
            bytes[at..at + SLOT_BYTES].fill(0);
        });
        Expected::harmless(DamageKind::SlotLost, segment_file(merged.segment), merged.offset)
    });
    let open = sample.any(false);
    check(&sample, "two slots for one record", |path| {
        change(path, &segment_file(open.segment), |bytes| {
            let at = open.slot_at as usize;
            bytes.copy_within(at..at + SLOT_BYTES, at + SLOT_BYTES);
        });
        let at = open.slot_at + SLOT_BYTES as u64;
        in_table(DamageKind::SlotWrong, &open, at, false)
    });
}

/// What is written behind the last slot is a damaged slot, with free ones in front of it.
#[test]
fn garbage_in_a_slot_table_hides_nothing_after_a_repair() {
    let sample = Sample::new();
    let copy = sample.copy();
    let file = segment_file(sample.newest(false).segment);
    change(copy.path(), &file, |bytes| bytes[8000] = 1);
    let report = verified(copy.path());
    let kinds: BTreeSet<_> = report.damaged.iter().map(|damage| damage.kind).collect();
    assert_eq!(kinds, BTreeSet::from([DamageKind::Slot, DamageKind::SlotGap]));
    let store = Store::open(copy.path(), roomy()).unwrap();
    assert_eq!(store.repair(|_, _| {}).unwrap().after.damaged, []);
    assert_holds(&store, &sample.reference);
}

#[test]
fn damage_of_a_record() {
    let sample = Sample::new();
    for record in [sample.newest(true), sample.newest(false), sample.any(false)] {
        let file = segment_file(record.segment);
        let end = record.offset + FRAME_BYTES as u64 + record.frame.body_bytes;
        let head = record.offset + FRAME_BYTES as u64 + 41;
        let places = [
            (DamageKind::Frame, record.offset + 17),
            (DamageKind::Head, head),
            (DamageKind::Section, end - 1),
        ];
        for (kind, place) in places {
            check(&sample, kind.name(), |path| {
                flip(path, &file, place);
                Expected::misses(kind, file.clone(), record.offset).losing([record.key])
            });
        }
    }
}

#[test]
fn a_body_that_is_not_the_one_that_was_committed() {
    let sample = Sample::new();
    let record = sample.any(false);
    check(&sample, "another body", |path| {
        let header = header(path, record.segment);
        let frame = Frame { head_check: record.frame.head_check ^ 1, ..record.frame };
        change(path, &segment_file(record.segment), |bytes| {
            let at = record.offset as usize;
            bytes[at..at + FRAME_BYTES].copy_from_slice(&frame.encode(header.salt));
        });
        let file = segment_file(record.segment);
        Expected::misses(DamageKind::Head, file, record.offset).losing([record.key])
    });
}

#[test]
fn sequence_numbers_that_cannot_be_right() {
    let sample = Sample::new();
    let record = sample.any(false);
    let give = |path: &Path, sequence: u64| {
        let header = header(path, record.segment);
        let frame = Frame { sequence, ..record.frame };
        change(path, &segment_file(record.segment), |bytes| {
            let at = record.offset as usize;
            bytes[at..at + FRAME_BYTES].copy_from_slice(&frame.encode(header.salt));
        });
        let file = segment_file(record.segment);
        Expected::misses(DamageKind::Sequence, file, record.offset)
    };
    check(&sample, "too high", |path| give(path, record.frame.sequence + 1_000_000));
    check(&sample, "of an epoch to come", |path| give(path, 77 << 40));
    let of_key = |r: &&Stored| r.key == record.key && r.segment != record.segment;
    let other = *sample.records.iter().rfind(of_key).unwrap();
    let copy = sample.copy();
    give(copy.path(), other.frame.sequence);
    let report = verified(copy.path());
    assert!(report.damaged.iter().all(|d| d.kind == DamageKind::Sequence), "{report:?}");
    assert_eq!(report.damaged.len(), 1);
    let store = Store::open(copy.path(), roomy()).unwrap();
    assert_eq!(store.repair(|_, _| {}).unwrap().after.damaged, []);
    // Nobody knows which of the two is the newer one.
    assert!(store.get(&record.key).unwrap().is_none());
}

#[test]
fn damage_of_a_footer() {
    let sample = Sample::new();
    let id = sample.newest(true).segment;
    let file = segment_file(id);
    let len = fs::metadata(sample.path().join(&file)).unwrap().len();
    let entries_at = |path: &Path| {
        let bytes = fs::read(path.join(&file)).unwrap();
        let salt = header(path, id).salt;
        footer_range(&bytes[bytes.len() - TRAILER_BYTES..], id, len, salt).unwrap()
    };
    check(&sample, "trailer", |path| {
        flip(path, &file, len - 30);
        Expected::harmless(DamageKind::Footer, file.clone(), len)
    });
    check(&sample, "entries", |path| {
        let (at, _) = entries_at(path);
        flip(path, &file, at + 3);
        Expected::harmless(DamageKind::Footer, file.clone(), at)
    });
    let rewrite = |path: &Path, which: usize| {
        let salt = header(path, id).salt;
        let (at, bytes) = entries_at(path);
        let mut offset = 0;
        change(path, &file, |file| {
            let (entries, trailer) = file[at as usize..].split_at(bytes as usize);
            let mut entries = decode_footer(entries, trailer, id, salt).unwrap();
            offset = entries[1].location.offset();
            match which {
                0 => entries[1].sequence += 1,
                1 => drop(entries.remove(1)),
                _ => entries[1].location.kind ^= 1,
            }
            file.truncate(at as usize);
            file.extend(encode_footer(&entries, id, at, salt));
        });
        Expected::harmless(DamageKind::FooterEntry, file.clone(), offset)
    };
    check(&sample, "another sequence number", |path| rewrite(path, 0));
    check(&sample, "a missing entry", |path| rewrite(path, 1));
    check(&sample, "another kind", |path| rewrite(path, 2));
}

/// Changes the entries of the only leaf of the tree.
fn change_leaf(path: &Path, change_entries: impl FnOnce(&mut Vec<IndexEntry>)) -> u64 {
    let uuid = superblock(path).uuid;
    let mut at = 0;
    change(path, "index", |bytes| {
        let mut meta = Meta::decode(bytes, &uuid).unwrap();
        assert_eq!(meta.depth, 1);
        at = meta.root as usize * 4096;
        let leaf = LeafPage::check(&bytes[at..at + 4096], meta.root, meta.transaction).unwrap();
        let mut entries: Vec<IndexEntry> = leaf.entries().collect();
        change_entries(&mut entries);
        let page = encode_leaf(&entries, meta.root, meta.transaction);
        bytes[at..at + 4096].copy_from_slice(&page);
        meta.entries = entries.len() as u64;
        let place = meta.page_number() as usize * 4096;
        bytes[place..place + 4096].copy_from_slice(&meta.encode());
    });
    at as u64
}

#[test]
fn damage_of_the_index() {
    let sample = Sample::new();
    check(&sample, "both metas", |path| {
        change(path, "index", |bytes| bytes[..8192].fill(0x77));
        Expected::harmless(DamageKind::IndexLost, "index", 0)
    });
    check(&sample, "no file", |path| {
        fs::remove_file(path.join("index")).unwrap();
        let expected = Expected::harmless(DamageKind::IndexLost, "index", None);
        Expected { is_blinding: true, ..expected }
    });
    for number in [0, 1] {
        check(&sample, "one meta", |path| {
            flip(path, "index", number * 4096 + 50);
            Expected::harmless(DamageKind::IndexMeta, "index", number * 4096)
        });
    }
    check(&sample, "a leaf", |path| {
        let at = change_leaf(path, |_| {});
        flip(path, "index", at + 100);
        Expected::misses(DamageKind::IndexPage, "index", at)
    });
    check(&sample, "order", |path| {
        let at = change_leaf(path, |entries| entries.swap(3, 4));
        Expected::misses(DamageKind::IndexOrder, "index", at)
    });
    check(&sample, "count", |path| {
        let uuid = superblock(path).uuid;
        let mut at = 0;
        change(path, "index", |bytes| {
            let mut meta = Meta::decode(bytes, &uuid).unwrap();
            meta.entries += 1;
            at = meta.page_number() as usize * 4096;
            bytes[at..at + 4096].copy_from_slice(&meta.encode());
        });
        Expected::harmless(DamageKind::IndexCount, "index", at as u64)
    });
    check(&sample, "an entry that leads nowhere", |path| {
        change_leaf(path, |entries| {
            let mut entry = entries[0];
            entry.key_prefix += 1;
            entries.insert(1, entry);
        });
        Expected::misses(DamageKind::IndexEntry, "index", None)
    });
    check(&sample, "a key that is not there", |path| {
        let big = sample.records.iter().find(|record| record.key == key(101)).unwrap();
        change_leaf(path, |entries| {
            let prefix = u64::from_be_bytes(big.key.as_bytes()[..8].try_into().unwrap());
            entries.retain(|entry| entry.key_prefix != prefix);
        });
        Expected::misses(DamageKind::IndexGap, "index", None)
    });
}

#[test]
fn a_damaged_page_of_a_deep_tree_is_named() {
    let folder = larder_tests::temp_dir();
    let store = Store::open(folder.path(), roomy()).unwrap();
    let mut reference = Reference::new();
    for number in 0..700 {
        let value = Value::of(number.to_string().into_bytes());
        put(&store, key(number), &value);
        reference.insert(key(number), value);
    }
    store.checkpoint().unwrap();
    drop(store);
    let bytes = fs::read(folder.path().join("index")).unwrap();
    let meta = Meta::decode(&bytes, &superblock(folder.path()).uuid).unwrap();
    assert!(meta.depth > 1);
    assert_eq!(verified(folder.path()).damaged, []);
    let is_leaf = |page: &usize| bytes[page * 4096 + 16] == 2;
    let leaf = (2..bytes.len() / 4096).rfind(is_leaf).unwrap() as u64;
    flip(folder.path(), "index", leaf * 4096 + 200);
    let report = verified(folder.path());
    let found: Vec<_> = report.damaged.iter().map(|d| (d.kind, d.offset)).collect();
    assert_eq!(found, [(DamageKind::IndexPage, Some(leaf * 4096))]);
    let store = Store::open(folder.path(), roomy()).unwrap();
    assert_eq!(store.repair(|_, _| {}).unwrap().after.damaged, []);
    assert_holds(&store, &reference);
}

#[test]
fn files_of_a_wrong_length_and_files_that_do_not_belong_there() {
    let sample = Sample::new();
    let with_length = |kind: DamageKind, file: &str, bytes: usize| {
        check(&sample, file, |path| {
            change(path, file, |content| content.resize(bytes, 0));
            Expected::harmless(kind, file, None)
        });
    };
    with_length(DamageKind::Recency, "recency", 200_000);
    with_length(DamageKind::Counters, "counters", 10_000);
    with_length(DamageKind::Counters, "counters", 100);
    let block = superblock(&sample.path());
    let put_file = |kind: DamageKind, file: &str| {
        check(&sample, file, |path| {
            fs::write(path.join(file), b"something").unwrap();
            Expected::harmless(kind, file, None)
        });
    };
    put_file(DamageKind::EarlySegment, &segment_file(block.next_segment));
    put_file(DamageKind::LeftSegment, &segment_file(0));
    put_file(DamageKind::UnknownFile, "something");
    let copy = sample.copy();
    fs::write(copy.path().join("mine.txt"), b"precious").unwrap();
    let store = Store::open(copy.path(), roomy()).unwrap();
    store.repair(|_, _| {}).unwrap();
    assert_eq!(fs::read(copy.path().join("mine.txt")).unwrap(), b"precious");
}

#[test]
fn every_kind_of_damage_is_described() {
    let path = larder_tests::workspace_root().join("docs/verify.md");
    let text = fs::read_to_string(path).unwrap();
    let first_cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let described: BTreeSet<&str> =
        first_cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`')).collect();
    for kind in DamageKind::ALL {
        assert!(described.contains(kind.name()), "docs/verify.md lacks {}", kind.name());
    }
    assert!(!described.contains("nonsense"));
}
