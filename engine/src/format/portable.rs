//! Bodies that travel between machines.
//!
//! *Out*: a body is sent as it stands in the log. One with sections on block boundaries is as large
//! as what it holds, so it is encoded anew, compressed; a signature would not hold for that, so a
//! signed one is left as it is.

use std::borrow::Cow;

use crate::error::Result;
use crate::format::body::{self, Entry, Head, RecordKind, Section, SectionKind};

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
            data: head.section_bytes(info, Cow::Borrowed(stored))?,
        });
    }
    let namespace = Cow::Borrowed(head.namespace.as_str());
    let entry = Entry { key: head.key, kind, namespace, created_secs: None, sections };
    body::encode_from(&entry, head.created_secs, None, Some(zstd_level))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;
    use crate::options::RecordLayout;

    fn sample(kinds: &[SectionKind]) -> Entry<'static> {
        let section = |(index, kind): (usize, &SectionKind)| {
            let text = format!("{kind:?} {index} ").repeat(1 + index * 3_000);
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
}
