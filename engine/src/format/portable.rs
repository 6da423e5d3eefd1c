//! Bodies that travel between machines.
//!
//! *Out*: a body is sent as it stands in the log. One with sections on block boundaries is as large
//! as what it holds, so it is encoded anew, compressed; a signature would not hold for that, so a
//! signed one is left as it is.
//!
//! *In*: a body that comes from another machine is taken if and only if
//! 1. it is a whole valid body, not cloneable, and its key is the one that was asked for;
//! 2. its kind is one that was asked for, and no removal;
//! 3. its sections stand one after the other, and nothing else stands in it: head, sections in
//!    their order, end; the same within the group;
//! 4. each section is of a known kind, and no two have kind and name in common;
//! 5. names are at most [`INCOMING_NAME_BYTES_MAX`] bytes without a slash or control characters,
//!    and neither `.` nor `..`; modes are permission bits alone;
//! 6. the namespace is within the limits of writers and has no control characters;
//! 7. it was made at most [`INCOMING_AHEAD_SECS_MAX`] from now;
//! 8. all sections together have at most [`INCOMING_REAL_BYTES_MAX`] real bytes; every checksum is
//!    right, and every compressed section gives what it promises. Nothing is allocated on the
//!    strength of a promise but the group, which is small.

use std::borrow::Cow;

use crate::checksum::xxh3_128;
use crate::codec::{self, Codec};
use crate::error::{Error, Result};
use crate::format::body::{self, Entry, Head, RecordKind, Section, SectionInfo, SectionKind};
use crate::key::Key;
use crate::limits::{
    INCOMING_AHEAD_SECS_MAX, INCOMING_NAME_BYTES_MAX, INCOMING_REAL_BYTES_MAX, NAMESPACE_BYTES_MAX,
};

/// Permission bits without those that let a program run as somebody else.
const MODE_BITS: u16 = 0o777;

/// A whole body as it may leave the machine.
///
/// # Errors
/// `Corrupt` if anything about it is wrong.
pub fn portable(body: Vec<u8>, zstd_level: i32) -> Result<Vec<u8>> {
    let head = Head::decode_whole(&body)?;
    let Some(kind) = RecordKind::from_number(head.kind).filter(|_| head.cloneable) else {
        return Ok(body);
    };
    let mut sections = Vec::with_capacity(head.sections.len());
    for info in &head.sections {
        let (offset, bytes) = head.stored_range(info);
        let end = offset.saturating_add(bytes) as usize;
        let stored = body.get(offset as usize..end).unwrap_or_default();
        let Some(kind) = info.kind.filter(|kind| *kind != SectionKind::Signature) else {
            return Ok(body);
        };
        sections.push(Section {
            kind,
            mode: info.mode,
            name: Cow::Borrowed(&info.name),
            data: head.section_bytes(info, Cow::Borrowed(stored))?.into(),
        });
    }
    let namespace = Cow::Borrowed(head.namespace.as_str());
    let entry = Entry { key: head.key, kind, namespace, created_secs: None, sections };
    body::encode_from(&entry, head.created_secs, None, Some(zstd_level))
}

/// What a body from another machine has to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The key that was asked for.
    pub key: &'a Key,
    /// The kinds that may be there.
    pub kinds: &'a [RecordKind],
    /// The time, in seconds since 1970.
    pub now_secs: u64,
}

/// Checks a body that comes from another machine; returns its head.
///
/// # Errors
/// `Corrupt` if one of the conditions of the module documentation does not hold, `NewerFormat`.
pub fn check(body: &[u8], wanted: Wanted<'_>) -> Result<Head> {
    let head = Head::decode(body)?;
    match refusal(&head, body.len() as u64, wanted) {
        Some(what) => return Err(Error::corrupt(what)),
        None => check_sections(&head, body)?,
    }
    Ok(head)
}

/// What of conditions 1 to 7, and of the sum in 8, does not hold.
fn refusal(head: &Head, body_bytes: u64, wanted: Wanted<'_>) -> Option<&'static str> {
    let is_wanted = |kind: &RecordKind| *kind as u8 == head.kind;
    let is_kind = wanted.kinds.iter().any(is_wanted) && !is_wanted(&RecordKind::Tombstone);
    let latest_secs = wanted.now_secs.saturating_add(INCOMING_AHEAD_SECS_MAX);
    let real_bytes = sections(head).try_fold(0u64, |sum, section| match section.codec {
        Codec::Grouped => Some(sum),
        _ => sum.checked_add(section.real_bytes),
    });
    let is_small = real_bytes.is_some_and(|bytes| bytes <= INCOMING_REAL_BYTES_MAX);
    let conditions = [
        (head.body_bytes == body_bytes, "a body has another length than it says"),
        (head.key == *wanted.key, "a body has another key than the one that was asked for"),
        (is_kind, "a body has another kind than was asked for"),
        (!head.cloneable, "a body from elsewhere has sections on block boundaries"),
        (is_dense(head), "a body has more in it than its sections"),
        (head.sections.iter().all(is_known), "a section has an unknown kind"),
        (are_different(&head.sections), "two sections are the same output"),
        (sections(head).all(is_well_named), "the name of a section is no plain name"),
        (sections(head).all(is_mode), "the mode of a section has more than permissions"),
        (is_namespace(&head.namespace), "the namespace of a body is none"),
        (head.created_secs <= latest_secs, "a body was made in the future"),
        (is_small, "the sections of a body are too large together"),
    ];
    conditions.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what)
}

fn sections(head: &Head) -> impl Iterator<Item = &SectionInfo> {
    head.group.iter().chain(&head.sections)
}

/// Whether what is stored is the head and the sections in their order, and the group its members.
fn is_dense(head: &Head) -> bool {
    let (mut stored_end, mut grouped_end) = (head.head_bytes, 0u64);
    let all_touch = sections(head).all(|section| {
        let end = match section.codec {
            Codec::Grouped => &mut grouped_end,
            _ => &mut stored_end,
        };
        let touches = section.offset == *end && section.tail.is_empty();
        *end = end.saturating_add(section.stored_bytes);
        touches
    });
    let group_bytes = head.group.as_ref().map_or(0, |group| group.real_bytes);
    all_touch && stored_end == head.body_bytes && grouped_end == group_bytes
}

fn is_known(section: &SectionInfo) -> bool {
    section.kind.is_some()
}

fn are_different(sections: &[SectionInfo]) -> bool {
    let mut names: Vec<_> = sections.iter().map(|section| (section.kind, &section.name)).collect();
    names.sort_unstable();
    names.windows(2).all(|pair| !matches!(pair, [one, other] if one == other))
}

fn is_well_named(section: &SectionInfo) -> bool {
    let name = section.name.as_slice();
    name.len() <= INCOMING_NAME_BYTES_MAX
        && name != b"."
        && name != b".."
        && !name.iter().any(|byte| *byte == b'/' || byte.is_ascii_control())
}

fn is_mode(section: &SectionInfo) -> bool {
    section.mode & !MODE_BITS == 0
}

fn is_namespace(namespace: &str) -> bool {
    namespace.len() <= NAMESPACE_BYTES_MAX && !namespace.chars().any(char::is_control)
}

/// Checks what is stored of the sections, and of what they decompress to holds the group alone.
fn check_sections(head: &Head, body: &[u8]) -> Result<()> {
    let mut group: Option<Cow<'_, [u8]>> = None;
    for section in sections(head) {
        if section.codec == Codec::Grouped {
            let group = group.as_deref().unwrap_or_default();
            body::grouped_bytes(section, group)?;
            continue;
        }
        let end = section.offset.saturating_add(section.stored_bytes);
        let stored = body.get(section.offset as usize..end as usize).unwrap_or_default();
        if stored.len() as u64 != section.stored_bytes || xxh3_128(stored) != section.check {
            return Err(Error::corrupt("the checksum of a section is wrong"));
        }
        if section.kind == Some(SectionKind::Group) {
            group = Some(body::checked_bytes(section, stored.into())?);
        } else if section.codec == Codec::Zstd {
            codec::check_frames(stored, section.real_bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::{check32_salted, xxh3_64};
    use crate::options::RecordLayout;

    fn sample(kinds: &[SectionKind]) -> Entry<'static> {
        let section = |(index, kind): (usize, &SectionKind)| {
            let text = format!("{kind:?} {index} ").repeat(1 + index / 2 * 3_000);
            Section::new(*kind, text.into_bytes()).mode(0o640).name(vec![b'n'; index])
        };
        let sections = kinds.iter().enumerate().map(section).collect();
        let mut entry = Entry::new(Key::of(b"key"), RecordKind::Result, sections);
        entry.namespace = "there".into();
        entry
    }

    const KINDS: &[SectionKind] = &[
        SectionKind::Stderr,
        SectionKind::ExitStatus,
        SectionKind::Object,
        SectionKind::NamedFile,
    ];

    fn encode(entry: &Entry<'_>, layout: RecordLayout) -> Vec<u8> {
        body::encode(entry, 77, layout, 1).unwrap()
    }

    #[test]
    fn what_is_not_cloneable_leaves_as_it_is() {
        for layout in [RecordLayout::Compressed, RecordLayout::Raw] {
            let body = encode(&sample(KINDS), layout);
            assert_eq!(portable(body.clone(), 3).unwrap(), body);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri runs no C code")]
    fn what_is_cloneable_leaves_as_if_it_had_been_stored_compressed() {
        let cloneable = encode(&sample(KINDS), RecordLayout::Cloneable);
        assert!(Head::decode(&cloneable).unwrap().cloneable);
        let sent = portable(cloneable.clone(), 1).unwrap();
        assert_eq!(sent, encode(&sample(KINDS), RecordLayout::Compressed));
        assert!(sent.len() * 4 < cloneable.len());
    }

    #[test]
    fn what_is_signed_leaves_as_it_is() {
        let kinds = [KINDS, &[SectionKind::Signature]].concat();
        let body = encode(&sample(&kinds), RecordLayout::Cloneable);
        assert_eq!(portable(body.clone(), 1).unwrap(), body);
    }

    #[test]
    fn nothing_damaged_leaves() {
        for layout in [RecordLayout::Cloneable, RecordLayout::Compressed] {
            let body = encode(&sample(KINDS), layout);
            let head = Head::decode(&body).unwrap();
            let at = |section: &body::SectionInfo| head.stored_range(section).0 as usize;
            for place in head.sections.iter().map(at).chain([100, body.len() - 1]) {
                let mut damaged = body.clone();
                damaged[place] ^= 1;
                assert!(portable(damaged, 1).unwrap_err().is_corrupt(), "{place}");
            }
        }
    }

    const NOW: u64 = 1_000_000;

    fn key() -> Key {
        Key::of(b"key")
    }

    fn taken(body: &[u8]) -> Result<Head> {
        let kinds = [RecordKind::Result, RecordKind::Manifest];
        check(body, Wanted { key: &key(), kinds: &kinds, now_secs: NOW })
    }

    /// Whether the body is refused, and for a reason that has these words.
    fn assert_refused(body: &[u8], words: &str) {
        let error = taken(body).expect_err(words);
        assert!(error.is_corrupt() && error.to_string().contains(words), "{words}: {error}");
    }

    fn assert_entry_refused(words: &str, change: impl FnOnce(&mut Entry<'static>)) {
        let mut entry = sample(KINDS);
        change(&mut entry);
        assert_refused(&encode(&entry, RecordLayout::Compressed), words);
    }

    /// A body whose head was changed and has the right checksum.
    fn assert_head_refused(words: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut body = encode(&sample(KINDS), RecordLayout::Compressed);
        change(&mut body);
        let end = body::lengths(&body).map_or(0, |(head_bytes, _)| head_bytes as usize);
        if let Some(rest) = body.get(96..end) {
            let check = check32_salted(xxh3_64(&body[..92], 0), rest);
            body[92..96].copy_from_slice(&check.to_le_bytes());
        }
        assert_refused(&body, words);
    }

    fn add(body: &mut [u8], at: usize, more: i64) {
        let number = u64::from_le_bytes(body[at..at + 8].try_into().unwrap());
        let number = number.wrapping_add_signed(more);
        body[at..at + 8].copy_from_slice(&number.to_le_bytes());
    }

    /// Where the entry of a section of the sample begins; 0 is the group's.
    fn entry_at(number: usize) -> usize {
        96 + 48 * number
    }

    #[test]
    fn what_is_as_it_should_be_is_taken() {
        for layout in [RecordLayout::Compressed, RecordLayout::Raw] {
            let body = encode(&sample(KINDS), layout);
            assert_eq!(taken(&body).unwrap(), Head::decode(&body).unwrap());
        }
        let empty = Entry::new(key(), RecordKind::Manifest, Vec::new());
        assert!(taken(&encode(&empty, RecordLayout::Compressed)).is_ok());
        let mut late = sample(KINDS);
        late.sections.truncate(1);
        let body = body::encode_from(&late, NOW + INCOMING_AHEAD_SECS_MAX, None, Some(1)).unwrap();
        assert!(taken(&body).is_ok());
    }

    #[test]
    fn another_key_or_kind_is_refused() {
        assert_entry_refused("another key", |entry| entry.key = Key::of(b"other"));
        for kind in [RecordKind::Tombstone, RecordKind::Foreign, RecordKind::Blob] {
            assert_entry_refused("another kind", |entry| entry.kind = kind);
        }
        let mut removal = sample(&[]);
        removal.kind = RecordKind::Tombstone;
        let body = encode(&removal, RecordLayout::Compressed);
        let wanted = Wanted { key: &key(), kinds: &[RecordKind::Tombstone], now_secs: NOW };
        assert!(check(&body, wanted).unwrap_err().is_corrupt());
        for kind in [0, 7, 63, 64, 255] {
            assert_head_refused("another kind", |body| body[6] = kind);
        }
    }

    #[test]
    fn odd_names_are_refused() {
        let long = [b'n'; INCOMING_NAME_BYTES_MAX + 1];
        let names: [&[u8]; 11] = [
            b"/",
            b"/etc/passwd",
            b"a/b",
            b"../x",
            b".",
            b"..",
            b"a\0b",
            b"a\nb",
            b"\x1b[31m",
            b"\x7f",
            &long,
        ];
        for name in names {
            let name = name.to_vec();
            assert_entry_refused("the name", |entry| entry.sections[3].name = name.into());
        }
        let mut entry = sample(KINDS);
        entry.sections[3].name = vec![b'n'; INCOMING_NAME_BYTES_MAX].into();
        entry.sections[2].name = b"...".into();
        assert!(taken(&encode(&entry, RecordLayout::Compressed)).is_ok());
    }

    #[test]
    fn modes_that_are_no_permissions_are_refused() {
        for mode in [0o4755, 0o2755, 0o1777, 0o10644, 0o7777, 0xffff] {
            assert_entry_refused("the mode", |entry| entry.sections[2].mode = mode);
        }
        // Of the group, too, which is no file.
        assert_head_refused("the mode", |body| body[entry_at(0) + 5] = 0x10);
    }

    #[test]
    fn two_sections_that_are_one_output_are_refused() {
        assert_entry_refused("same output", |entry| {
            let section = entry.sections[3].clone();
            entry.sections.push(section.name(b"other".as_slice()));
            let section = entry.sections[2].clone();
            entry.sections.push(section);
        });
        let mut entry = sample(KINDS);
        let section = entry.sections[3].clone();
        entry.sections.push(section.name(b"other".as_slice()));
        assert!(taken(&encode(&entry, RecordLayout::Compressed)).is_ok());
    }

    #[test]
    fn odd_namespaces_and_times_are_refused() {
        for namespace in ["a\0", "a\nb", "\u{85}", "\x1b"] {
            assert_entry_refused("namespace", |entry| entry.namespace = namespace.into());
        }
        let late = NOW + INCOMING_AHEAD_SECS_MAX + 1;
        for created_secs in [late, u64::MAX] {
            let body = body::encode_from(&sample(KINDS), created_secs, None, Some(1)).unwrap();
            assert_refused(&body, "in the future");
        }
        // No writer writes a longer one.
        assert_head_refused("namespace", |body| {
            let old = sample(KINDS).namespace.len();
            body[48..50].copy_from_slice(&300u16.to_le_bytes());
            let more = 300 - old;
            let at = entry_at(KINDS.len() + 1);
            body.splice(at..at, vec![b'n'; more]);
            let head_bytes = u32::from_le_bytes(body[60..64].try_into().unwrap()) + more as u32;
            body[60..64].copy_from_slice(&head_bytes.to_le_bytes());
            add(body, 64, more as i64);
            [0, 3, 4].iter().for_each(|number| add(body, entry_at(*number) + 8, more as i64));
        });
    }

    #[test]
    fn what_is_in_nobodys_section_is_refused() {
        let body = encode(&sample(KINDS), RecordLayout::Compressed);
        assert_refused(&[&body[..], b"x"].concat(), "another length");
        assert_refused(&body[..body.len() - 1], "another length");
        assert_head_refused("more in it", |body| {
            body.push(0);
            add(body, 64, 1);
        });
        // A hole behind the head, and one before the last section.
        for first in [0, 4] {
            assert_head_refused("more in it", |body| {
                let at = u64::from_le_bytes(body[entry_at(first) + 8..][..8].try_into().unwrap());
                body.insert(at as usize, 0);
                add(body, 64, 1);
                for number in [0, 3, 4].iter().filter(|number| **number >= first) {
                    add(body, entry_at(*number) + 8, 1);
                }
            });
        }
        let cloneable = encode(&sample(KINDS), RecordLayout::Cloneable);
        assert_refused(&cloneable, "block boundaries");
    }

    #[test]
    fn sections_that_overlap_or_lie_are_refused() {
        let itself = "contradicts itself";
        // Offsets: before the section before, beyond the end, in the head.
        for (number, more) in [(4, -1), (3, -1), (4, 1 << 40), (0, -1), (0, i64::MIN), (2, 1 << 40)]
        {
            assert_head_refused(itself, |body| add(body, entry_at(number) + 8, more));
        }
        // The second member of the group at the place of the first.
        assert_head_refused(itself, |body| {
            let (first, second) = (entry_at(1) + 8, entry_at(2) + 8);
            body.copy_within(first..first + 8, second);
        });
        // Stored bytes, of the last section and of a member of the group.
        assert_head_refused(itself, |body| add(body, entry_at(4) + 16, 1));
        assert_head_refused("more in it", |body| add(body, entry_at(4) + 16, -1));
        assert_head_refused(itself, |body| add(body, entry_at(1) + 16, 1));
        // Real bytes.
        for more in [1, -1, 1 << 20] {
            assert_head_refused("no zstd frame", |body| add(body, entry_at(4) + 24, more));
        }
        assert_head_refused("too large together", |body| {
            for number in [3, 4] {
                let bytes = INCOMING_REAL_BYTES_MAX / 2 + 1;
                body[entry_at(number) + 24..][..8].copy_from_slice(&bytes.to_le_bytes());
            }
        });
        assert_head_refused(itself, |body| add(body, entry_at(4) + 24, 1 << 40));
        // Checksums of each section and of a member.
        for number in [1, 3, 4] {
            assert_head_refused("checksum", |body| body[entry_at(number) + 32] ^= 1);
        }
    }

    #[test]
    fn what_this_version_does_not_know_is_refused() {
        let itself = "contradicts itself";
        for flags in [1, 2, 0x80] {
            let words = if flags == 1 { "block boundaries" } else { itself };
            assert_head_refused(words, |body| body[7] = flags);
        }
        (72..92).for_each(|at| assert_head_refused(itself, |body| body[at] = 1));
        for kind in [0, 22, 200] {
            assert_head_refused("unknown kind", |body| body[entry_at(3)] = kind);
        }
        // A second group, and codecs that there are not.
        assert_head_refused(itself, |body| body[entry_at(3)] = 255);
        assert_head_refused(itself, |body| body[entry_at(3) + 1] = 3);
        let mut newer = encode(&sample(KINDS), RecordLayout::Compressed);
        newer[4] = 2;
        assert!(taken(&newer).is_err());
        (0..newer.len()).for_each(|bytes| assert!(taken(&newer[..bytes]).is_err()));
    }

    /// 64 MiB of zeros in some KB: every section is within the limits, and is seen to be what it
    /// says; a promise of less is not kept.
    #[test]
    #[cfg_attr(miri, ignore = "Miri runs no C code")]
    fn what_gives_more_than_it_promises_is_refused() {
        let mut entry = sample(KINDS);
        entry.sections[3].data = vec![0; 64 << 20].into();
        let body = encode(&entry, RecordLayout::Compressed);
        assert!(body.len() < 64 << 10);
        assert!(taken(&body).is_ok());
        let mut entry = sample(KINDS);
        // A frame whose header says less than it gives, in a section that says the same.
        entry.sections.truncate(1);
        entry.sections[0].data = vec![b'x'; 300].into();
        let mut body = encode(&entry, RecordLayout::Compressed);
        let at = Head::decode(&body).unwrap().head_bytes as usize;
        let declared = u16::from_le_bytes(body[at + 5..at + 7].try_into().unwrap());
        assert_eq!(u64::from(declared) + 256, 300, "the frame's header is as RFC 8878 has it");
        body[at + 5..at + 7].copy_from_slice(&(declared - 1).to_le_bytes());
        let check = xxh3_128(&body[at..]);
        body[entry_at(0) + 32..][..16].copy_from_slice(&check.to_le_bytes());
        add(&mut body, entry_at(0) + 24, -1);
        let check = check32_salted(xxh3_64(&body[..92], 0), &body[96..at]);
        body[92..96].copy_from_slice(&check.to_le_bytes());
        assert_refused(&body, "no zstd frame");
    }
}
