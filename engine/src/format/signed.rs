//! Bodies with a signature, which is their last section: raw, without a name, outside the group.
//!
//! What is signed is the body without that section: the body whose section table lacks the last
//! entry, whose offsets are smaller by the length of that entry, whose lengths, number of sections
//! and checksum are those of what is left. So a body can be signed after it was encoded, and
//! whoever checks it makes the same bytes again. Both are for bodies that travel, which are not
//! cloneable and have no tails.

use crate::codec::Codec;
use crate::coding::{write_u16, write_u32, write_u64};
use crate::error::{Error, ErrorKind, Result};
use crate::format::body::{
    BODY_BYTES, CHECK, HEAD_BYTES, HEADER_BYTES, Head, Placed, SECTION_COUNT, SECTION_ENTRY_BYTES,
    SECTION_OFFSET, SectionInfo, SectionKind, encode_section, head_check,
};
use crate::limits::SECTIONS_MAX;

/// A body without its signature.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsigned<'a> {
    /// What was signed.
    pub body: Vec<u8>,
    /// The bytes of the signature.
    pub signature: &'a [u8],
}

/// Takes the signature off a valid body; `None` if it has none.
///
/// # Errors
/// `Corrupt` if the body is no valid one, or its signature stands anywhere but at the end.
pub fn unsigned(body: &[u8]) -> Result<Option<Unsigned<'_>>> {
    let head = Head::decode(body)?;
    let is_signature = |section: &SectionInfo| section.kind == Some(SectionKind::Signature);
    if !head.sections.iter().any(is_signature) {
        return Ok(None);
    }
    let wrong = || Error::corrupt("the signature of a body stands where none can");
    let last = head.sections.last().filter(|last| is_last(&head, last)).ok_or_else(wrong)?;
    if head.sections.iter().filter(|section| is_signature(section)).count() != 1 {
        return Err(wrong());
    }
    let signature = body.get(last.offset as usize..).ok_or_else(wrong)?;
    let parts = Parts::of(&head, body).ok_or_else(wrong)?;
    let (table, _) = parts
        .table
        .split_at_checked(parts.table.len().saturating_sub(SECTION_ENTRY_BYTES))
        .ok_or_else(wrong)?;
    let stored =
        parts.stored.get(..parts.stored.len().saturating_sub(signature.len())).ok_or_else(wrong)?;
    let shift = |offset: u64| offset.saturating_sub(SECTION_ENTRY_BYTES as u64);
    let body = joined(&head, Parts { table, stored, ..parts }, None, shift);
    Ok(Some(Unsigned { body, signature }))
}

/// Puts a signature behind a valid body that has none.
///
/// # Errors
/// `Corrupt` if the body is no valid one; `Limit` if it is signed, cloneable, or has too many
/// sections.
pub fn signed(body: &[u8], signature: &[u8]) -> Result<Vec<u8>> {
    let head = Head::decode(body)?;
    let refuse = || Error::new(ErrorKind::Limit, "a body that cannot be signed");
    let has_one = |section: &SectionInfo| {
        section.kind == Some(SectionKind::Signature) || !section.tail.is_empty()
    };
    if head.cloneable
        || head.body_bytes != body.len() as u64
        || head.sections.len().saturating_add(2) > SECTIONS_MAX
        || head.sections.iter().any(has_one)
    {
        return Err(refuse());
    }
    let parts = Parts::of(&head, body).ok_or_else(refuse)?;
    let shift = |offset: u64| offset.saturating_add(SECTION_ENTRY_BYTES as u64);
    Ok(joined(&head, parts, Some(signature), shift))
}

/// Whether a section is what [`signed`] puts behind a body.
fn is_last(head: &Head, section: &SectionInfo) -> bool {
    section.kind == Some(SectionKind::Signature)
        && section.codec == Codec::Raw
        && section.name.is_empty()
        && section.tail.is_empty()
        && section.mode == 0
        && section.offset.checked_add(section.stored_bytes) == Some(head.body_bytes)
        && head.sections.iter().all(|section| section.tail.is_empty())
}

/// The parts of a body that change or move.
#[derive(Clone, Copy)]
struct Parts<'a> {
    header: &'a [u8],
    table: &'a [u8],
    /// Namespace and names.
    names: &'a [u8],
    stored: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(head: &Head, body: &'a [u8]) -> Option<Parts<'a>> {
        let count = head.sections.len().saturating_add(usize::from(head.group.is_some()));
        let (bytes, stored) = body.split_at_checked(head.head_bytes as usize)?;
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES)?;
        let (table, names) = rest.split_at_checked(count.checked_mul(SECTION_ENTRY_BYTES)?)?;
        Some(Parts { header, table, names, stored })
    }
}

/// A body of these parts, with moved offsets, and with a signature if there is one.
fn joined(
    head: &Head,
    parts: Parts<'_>,
    signature: Option<&[u8]>,
    shift: impl Fn(u64) -> u64,
) -> Vec<u8> {
    let mut table = Vec::with_capacity(parts.table.len().saturating_add(SECTION_ENTRY_BYTES));
    for (entry, section) in
        parts.table.chunks(SECTION_ENTRY_BYTES).zip(head.group.iter().chain(&head.sections))
    {
        let mut entry = entry.to_vec();
        if section.codec != Codec::Grouped {
            write_u64(&mut entry, SECTION_OFFSET, shift(section.offset));
        }
        table.extend(entry);
    }
    if let Some(signature) = signature {
        let place = Placed::signature(signature);
        table.extend(encode_section(&place, shift(head.body_bytes)));
    }
    let mut body = [parts.header, &table, parts.names].concat();
    let head_bytes = body.len();
    let signature = signature.unwrap_or_default();
    let body_bytes = head_bytes.saturating_add(parts.stored.len()).saturating_add(signature.len());
    write_u16(&mut body, SECTION_COUNT, table.len().wrapping_div(SECTION_ENTRY_BYTES) as u16);
    write_u32(&mut body, HEAD_BYTES, head_bytes as u32);
    write_u64(&mut body, BODY_BYTES, body_bytes as u64);
    let check = head_check(&body).unwrap_or_default();
    write_u32(&mut body, CHECK, check);
    body.reserve_exact(body_bytes.saturating_sub(head_bytes));
    body.extend_from_slice(parts.stored);
    body.extend_from_slice(signature);
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::body::{Entry, RecordKind, Section, encode_from};
    use crate::format::portable::{Wanted, check};
    use crate::key::Key;

    const SIGNATURE: &[u8] = b"a signature of some length";

    fn entry(kinds: &[SectionKind]) -> Entry<'static> {
        let section = |(index, kind): (usize, &SectionKind)| {
            let text = format!("{kind:?} {index} ").repeat(1 + index * 3_000);
            Section::new(*kind, text.into_bytes()).mode(0o640).name(vec![b'n'; index])
        };
        let sections = kinds.iter().enumerate().map(section).collect();
        let mut entry = Entry::new(Key::of(b"key"), RecordKind::Result, sections);
        entry.namespace = "there".into();
        entry
    }

    fn bodies() -> Vec<Vec<u8>> {
        use SectionKind::{Data, Dependencies, Object, Stderr};
        let sets: [&[SectionKind]; 4] =
            [&[], &[Object], &[Stderr, Dependencies], &[Stderr, Dependencies, Object, Data]];
        let levels = [None, Some(1)];
        let encode = |kinds: &[SectionKind], level| encode_from(&entry(kinds), 7, None, level);
        sets.iter().flat_map(|kinds| levels.map(|level| encode(kinds, level).unwrap())).collect()
    }

    #[test]
    fn a_signature_comes_off_as_it_was_put_on() {
        for body in bodies() {
            assert_eq!(unsigned(&body).unwrap(), None);
            let with = signed(&body, SIGNATURE).unwrap();
            let wanted =
                Wanted { key: &Key::of(b"key"), kinds: &[RecordKind::Result], now_secs: 8 };
            let head = check(&with, wanted).unwrap();
            assert_eq!(head.sections.len(), Head::decode(&body).unwrap().sections.len() + 1);
            let without = unsigned(&with).unwrap().unwrap();
            assert_eq!((without.body, without.signature), (body, SIGNATURE));
            assert!(signed(&with, SIGNATURE).is_err(), "it is signed");
        }
    }

    #[test]
    fn what_the_encoder_makes_of_a_signature_section_is_the_same() {
        for mut kinds in [vec![], vec![SectionKind::Object], vec![SectionKind::Stderr; 3]] {
            let without = encode_from(&entry(&kinds), 7, None, Some(1)).unwrap();
            kinds.push(SectionKind::Signature);
            let mut entry = entry(&kinds);
            *entry.sections.last_mut().unwrap() = Section::new(SectionKind::Signature, SIGNATURE);
            let with = encode_from(&entry, 7, None, Some(1)).unwrap();
            assert_eq!(signed(&without, SIGNATURE).unwrap(), with);
        }
    }

    #[test]
    fn a_signature_elsewhere_or_twice_is_refused() {
        use SectionKind::{Object, Signature, Stderr};
        for kinds in [&[Signature, Object][..], &[Stderr, Signature], &[Signature, Signature]] {
            let body = encode_from(&entry(kinds), 7, None, None).unwrap();
            assert!(unsigned(&body).is_err(), "{kinds:?}");
        }
        let body = entry(&[Object]);
        let mut large = body.clone();
        large.sections = vec![Section::new(Object, vec![1; 300_000])];
        let cloneable = encode_from(&large, 7, Some(0), None).unwrap();
        assert!(signed(&cloneable, SIGNATURE).is_err());
        let plain = encode_from(&body, 7, None, None).unwrap();
        assert!(signed(&plain[..plain.len() - 1], SIGNATURE).is_err(), "cut short");
    }
}
