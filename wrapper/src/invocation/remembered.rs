//! What headers of the system ask for, remembered by their contents.
//!
//! A miss follows the includes of some hundred headers, most of them those of the compiler and of
//! the C library, and the same ones for every unit. What they ask for depends on nothing but their
//! text; so it is kept in one record for each toolchain and language, and only what is new is read.
//!
//! `magic`, the number of texts, for each the first half of its digest and where its asks begin
//! (16 + 4 bytes, sorted); then the asks: flags, a count, and for each name its kind, its length (2
//! bytes) and itself. Numbers are little-endian.
//!
//! 1. Texts that define a macro by which others may ask are not remembered, and none is looked up
//!    once such a macro was met: then asks depend on more than one text.
//! 2. The record grows by at least an eighth, so that it is seldom written. Above [`BYTES_MAX`] it
//!    begins anew with the texts of one unit.
//! 3. Where two processes write at once, what one of them adds is lost until the next miss.

use larder_engine::{Entry, Key, RecordKind, Section, SectionKind};

use super::Session;
use super::asks::{Ask, Asks};
use super::records::read_section;
use crate::digest::Digest;

const MAGIC: &[u8; 4] = b"LRA1";
/// Bytes of the magic and the number of texts.
const HEAD_BYTES: usize = 8;
/// Half a digest is enough to tell texts apart.
const NAME_BYTES: usize = 16;
const ROW_BYTES: usize = NAME_BYTES + 4;

/// The headers of a C++ library take 40 KB.
const BYTES_MAX: usize = 1 << 19;

const INCLUDES_BY_MACRO: u8 = 1;
const QUESTIONS_BY_MACRO: u8 = 2;

const QUOTED: u8 = 1;
const QUESTION: u8 = 2;
const NEXT: u8 = 4;

/// The record, and what is new.
pub(super) struct Remembered {
    key: Key,
    bytes: Vec<u8>,
    count: usize,
    /// (name of the text, its asks)
    new: Vec<([u8; NAME_BYTES], Vec<u8>)>,
}

impl Remembered {
    /// What the store has under `key`; nothing where it is damaged.
    pub(super) fn read(session: &Session<'_>, key: Key) -> Remembered {
        let bytes = read_section(session, &key, RecordKind::Blob, SectionKind::Data);
        Remembered::of(key, bytes.unwrap_or_default())
    }

    fn of(key: Key, bytes: Vec<u8>) -> Remembered {
        let count = count_of(&bytes);
        let bytes = if count.is_some() { bytes } else { Vec::new() };
        Remembered { key, bytes, count: count.unwrap_or(0), new: Vec::new() }
    }

    /// What the text with this digest asks for; `None` if that is not known.
    pub(super) fn asks(&self, digest: &Digest) -> Option<Asks<'_>> {
        let name = &digest[..NAME_BYTES];
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            let row = self.row(middle)?;
            match row[..NAME_BYTES].cmp(name) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    let start = u32::from_le_bytes(row[NAME_BYTES..].try_into().ok()?);
                    return decode(self.bytes.get(start as usize..)?);
                }
            }
        }
        None
    }

    fn row(&self, index: usize) -> Option<&[u8]> {
        self.bytes.get(HEAD_BYTES + index * ROW_BYTES..)?.get(..ROW_BYTES)
    }

    /// Remembers what a text asks for.
    pub(super) fn add(&mut self, digest: &Digest, asks: &Asks<'_>) {
        if asks.aliases.is_empty()
            && let Some(encoded) = encode(asks)
            && let Ok(name) = digest[..NAME_BYTES].try_into()
        {
            self.new.push((name, encoded));
        }
    }

    /// Writes the record if there is enough that is new. What cannot be written is read again.
    pub(super) fn write(self, session: &Session<'_>) {
        if !self.new.is_empty() && self.new.len() >= self.count / 8 {
            let key = self.key;
            let section = Section::new(SectionKind::Data, self.encoded());
            let _ = session.store.put(&Entry::new(key, RecordKind::Blob, vec![section]));
        }
    }

    fn encoded(mut self) -> Vec<u8> {
        let new_bytes: usize = self.new.iter().map(|(_, asks)| asks.len() + ROW_BYTES).sum();
        let mut all = std::mem::take(&mut self.new);
        if self.bytes.len() + new_bytes <= BYTES_MAX {
            for index in 0..self.count {
                let old = self.row(index).and_then(|row| {
                    let start = u32::from_le_bytes(row[NAME_BYTES..].try_into().ok()?);
                    let asks = self.bytes.get(start as usize..)?;
                    let asks = asks.get(..length_of(asks)?)?;
                    Some((row[..NAME_BYTES].try_into().ok()?, asks.to_vec()))
                });
                all.extend(old);
            }
        }
        all.sort_unstable();
        all.dedup_by(|one, other| one.0 == other.0);
        let mut bytes = MAGIC.to_vec();
        bytes.extend((all.len() as u32).to_le_bytes());
        let mut start = HEAD_BYTES + all.len() * ROW_BYTES;
        for (name, asks) in &all {
            bytes.extend(name);
            bytes.extend((start as u32).to_le_bytes());
            start += asks.len();
        }
        all.iter().for_each(|(_, asks)| bytes.extend(asks));
        bytes
    }
}

/// The number of texts in a record; `None` if it is none.
fn count_of(bytes: &[u8]) -> Option<usize> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let count = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?) as usize;
    (rest.len() / ROW_BYTES >= count).then_some(count)
}

/// `None` where it cannot be told in a record.
fn encode(asks: &Asks<'_>) -> Option<Vec<u8>> {
    let by_macro = if asks.includes_by_macro { INCLUDES_BY_MACRO } else { 0 };
    let flags = by_macro | if asks.questions_by_macro { QUESTIONS_BY_MACRO } else { 0 };
    let mut bytes = vec![flags];
    bytes.extend(u16::try_from(asks.named.len()).ok()?.to_le_bytes());
    for ask in &asks.named {
        let kinds = [(ask.is_quoted, QUOTED), (ask.is_question, QUESTION), (ask.is_next, NEXT)];
        bytes.push(kinds.iter().filter(|(is, _)| *is).map(|(_, bit)| bit).sum());
        bytes.extend(u16::try_from(ask.name.len()).ok()?.to_le_bytes());
        bytes.extend(ask.name);
    }
    Some(bytes)
}

/// The asks at the beginning of `bytes`.
fn decode(bytes: &[u8]) -> Option<Asks<'_>> {
    let mut rest = bytes;
    let flags = take(&mut rest, 1)?[0];
    let count = take_number(&mut rest)?;
    let mut asks = Asks {
        includes_by_macro: flags & INCLUDES_BY_MACRO != 0,
        questions_by_macro: flags & QUESTIONS_BY_MACRO != 0,
        ..Asks::default()
    };
    for _ in 0..count {
        let kind = take(&mut rest, 1)?[0];
        let length = take_number(&mut rest)?;
        asks.named.push(Ask {
            is_quoted: kind & QUOTED != 0,
            is_question: kind & QUESTION != 0,
            is_next: kind & NEXT != 0,
            name: take(&mut rest, length)?,
        });
    }
    Some(asks)
}

/// How many bytes the asks at the beginning of `bytes` take.
fn length_of(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    take(&mut rest, 1)?;
    for _ in 0..take_number(&mut rest)? {
        take(&mut rest, 1)?;
        let length = take_number(&mut rest)?;
        take(&mut rest, length)?;
    }
    Some(bytes.len() - rest.len())
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(bytes)
}

fn take_number(rest: &mut &[u8]) -> Option<usize> {
    Some(u16::from_le_bytes(take(rest, 2)?.try_into().ok()?).into())
}

#[cfg(test)]
mod tests {
    use super::super::asks::Joined;
    use super::*;
    use std::collections::BTreeSet;

    const TEXTS: [&str; 4] = [
        "#include <a.h>\n#include_next \"b.h\"\n#if __has_include(<c.h>)\n",
        "int none;\n",
        "#include NAME\n#include \"sub/d.h\"\n",
        "#if __has_include(NAME)\n",
    ];

    fn digest(text: &str) -> Digest {
        *blake3::hash(text.as_bytes()).as_bytes()
    }

    fn with_asks<T>(text: &str, work: impl FnOnce(&Asks<'_>) -> T) -> T {
        let mut buffer = Vec::new();
        work(&Asks::of(&Joined::of(text.as_bytes(), &mut buffer), true, &BTreeSet::new()))
    }

    fn told(asks: &Asks<'_>) -> String {
        let Asks { named, includes_by_macro, questions_by_macro, .. } = asks;
        format!("{named:?} {includes_by_macro} {questions_by_macro}")
    }

    fn record(before: Vec<u8>, texts: &[&str]) -> Vec<u8> {
        let mut remembered = Remembered::of(Key::from_bytes([0; 32]), before);
        texts.iter().for_each(|text| with_asks(text, |asks| remembered.add(&digest(text), asks)));
        remembered.encoded()
    }

    fn read(bytes: &[u8]) -> Remembered {
        Remembered::of(Key::from_bytes([0; 32]), bytes.to_vec())
    }

    #[test]
    fn what_was_added_is_found_by_its_text() {
        let one = record(Vec::new(), &TEXTS[..2]);
        let two = record(one.clone(), &TEXTS[1..]);
        for (bytes, known) in [(&one, 2), (&two, 4)] {
            let remembered = read(bytes);
            for (index, text) in TEXTS.iter().enumerate() {
                let asks = remembered.asks(&digest(text)).map(|asks| told(&asks));
                let expected = with_asks(text, told);
                assert_eq!(asks, (index < known).then_some(expected), "{text}");
            }
        }
        assert!(read(&one).asks(&digest("another")).is_none());
    }

    #[test]
    fn a_text_that_defines_a_macro_to_ask_by_is_not_remembered() {
        let text = "#define HAS __has_include\n#include <a.h>\n";
        assert!(read(&record(Vec::new(), &[text])).asks(&digest(text)).is_none());
    }

    #[test]
    fn a_damaged_record_says_nothing_or_less() {
        let whole = record(Vec::new(), &TEXTS);
        for length in 0..whole.len() {
            let remembered = read(&whole[..length]);
            for text in TEXTS {
                let asks = remembered.asks(&digest(text)).map(|asks| told(&asks));
                assert!(asks.is_none_or(|asks| asks == with_asks(text, told)), "{length}");
            }
            assert_eq!(record(whole[..length].to_vec(), &TEXTS), whole);
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xFF;
            let remembered = read(&bytes);
            TEXTS.iter().for_each(|text| drop(remembered.asks(&digest(text))));
            drop(remembered.encoded());
        }
    }

    #[test]
    fn a_record_that_is_too_large_begins_anew() {
        let long = format!("#include <{}>\n", "a".repeat(60_000));
        let mut bytes = Vec::new();
        for number in 0..12 {
            let text = format!("{number}{long}");
            bytes = record(bytes, &[&text]);
            assert!(bytes.len() <= BYTES_MAX, "{number}");
            assert!(read(&bytes).asks(&digest(&text)).is_some(), "{number}");
        }
    }
}
