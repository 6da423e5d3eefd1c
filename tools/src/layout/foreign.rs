//! An entry of another tool as a record of larder: one record holds all its files.
//!
//! ```text
//! key        = BLAKE3 of family 0x00 text
//! record     = kind foreign; created and namespace as the entry says, else the time of its use
//!              sections: name, attributes, one foreign entry for each part (name = its label)
//! name       = family ":" text
//! attributes = u8 version (1), u8 level (255 is none), part*
//! part       = u8 has-time, i64 seconds, u32 nanoseconds, u8 has-mode, u16 mode
//! ```
//!
//! Numbers are little-endian; there are as many parts as there are sections of kind foreign entry,
//! in their order. docs/formats/foreign.md is the same for people.

use larder_engine::{Key, RecordKind, Section, SectionInfo, SectionKind};

use super::check::{Said, Wrong, wrong};
use super::{is_raw, name_of};
use crate::entry::{Entry, Family, Name, Part, Time};

const VERSION: u8 = 1;
const NO_LEVEL: u8 = u8::MAX;
const PART_BYTES: usize = 1 + 8 + 4 + 1 + 2;
/// A record has fewer sections than this; what a name may have of parts is far below.
const PARTS_MAX: usize = 512;

/// The key of a name.
pub fn key(name: &Name) -> Key {
    Key::foreign(name.family.label(), name.text.as_bytes())
}

/// The record of an entry.
pub fn record<'a>(entry: &'a Entry, said: &'a Said) -> larder_engine::Entry<'a> {
    let mut sections = vec![
        Section::new(SectionKind::ForeignName, entry.name.to_string().into_bytes()),
        Section::new(SectionKind::ForeignAttributes, attributes(entry)),
    ];
    sections.extend(entry.parts.iter().map(|part| {
        Section::new(SectionKind::ForeignEntry, part.bytes.as_slice()).name(part.label.as_bytes())
    }));
    let used_secs = newest(entry).and_then(|time| u64::try_from(time.secs).ok());
    let mut record = larder_engine::Entry::new(key(&entry.name), RecordKind::Foreign, sections);
    record.created_secs = said.created_secs.or(used_secs);
    let namespace_fits = said.namespace.len() <= larder_engine::limits::NAMESPACE_BYTES_MAX;
    record.namespace = if namespace_fits { (&*said.namespace).into() } else { "".into() };
    record
}

/// When it was last used.
pub fn newest(entry: &Entry) -> Option<Time> {
    let main = entry.parts.iter().filter(|part| !is_raw(entry.name.family, &part.label));
    main.filter_map(|part| part.modified).max()
}

fn attributes(entry: &Entry) -> Vec<u8> {
    let mut bytes = vec![VERSION, entry.level.unwrap_or(NO_LEVEL)];
    for part in &entry.parts {
        let time = part.modified.unwrap_or_default();
        bytes.push(u8::from(part.modified.is_some()));
        bytes.extend(time.secs.to_le_bytes());
        bytes.extend(time.nanos.to_le_bytes());
        bytes.push(u8::from(part.mode.is_some()));
        bytes.extend(part.mode.unwrap_or_default().to_le_bytes());
    }
    bytes
}

/// Reads the name of a record.
///
/// # Errors
/// If it has none, or one that no tool gives.
pub fn parse_name(bytes: &[u8]) -> Result<Name, Wrong> {
    let name = std::str::from_utf8(bytes).ok().and_then(|text| {
        let (label, text) = text.split_once(':')?;
        name_of(Family::of_label(label)?, text)
    });
    name.map_or_else(|| wrong("the name of the entry is none of a known tool"), Ok)
}

/// The entry of a record, whose sections `read` reads.
///
/// # Errors
/// If it is none, or something about it contradicts something else; as `read` does.
pub fn entry<E: From<Wrong>>(
    key_wanted: &Key,
    sections: &[SectionInfo],
    mut read: impl FnMut(usize) -> Result<Vec<u8>, E>,
) -> Result<Entry, E> {
    let (name_at, attributes_at, parts_at) = places(sections)?;
    let name = parse_name(&read(name_at)?)?;
    if key(&name) != *key_wanted {
        return Err(Wrong(format!("{name} stands under the key of another entry")).into());
    }
    let (level, facts) = parse_attributes(&read(attributes_at)?, parts_at.len())?;
    let mut parts = Vec::with_capacity(parts_at.len());
    for (at, (modified, mode)) in parts_at.into_iter().zip(facts) {
        // A label is what a leaf may end with: nothing else can become a file's name.
        let label = String::from_utf8(sections[at].name.clone()).ok();
        let label = label.filter(|label| match name.family.is_of_ccache() {
            true => is_label(&name, label),
            false => label.is_empty(),
        });
        let Some(label) = label else {
            return Err(Wrong(format!("{name} has a file that its tool does not know")).into());
        };
        if parts.iter().any(|part: &Part| part.label == label) {
            return Err(Wrong(format!("{name} has a file twice, `{label}`")).into());
        }
        parts.push(Part { label, bytes: read(at)?, modified, mode });
    }
    Ok(Entry { name, level, parts })
}

fn is_label(name: &Name, label: &str) -> bool {
    let leaf = super::leaf(name, label);
    super::parse_leaf(&leaf, Family::Sccache)
        .is_some_and(|(found, of)| found == *name && of == label)
}

/// Where the name, the attributes and the parts stand.
pub fn places(sections: &[SectionInfo]) -> Result<(usize, usize, Vec<usize>), Wrong> {
    let of = |kind: SectionKind| {
        let found = sections.iter().enumerate().filter(move |(_, info)| info.kind == Some(kind));
        found.map(|(at, _)| at).collect::<Vec<_>>()
    };
    let parts = of(SectionKind::ForeignEntry);
    match (&of(SectionKind::ForeignName)[..], &of(SectionKind::ForeignAttributes)[..]) {
        ([name], [attributes]) if !parts.is_empty() && parts.len() <= PARTS_MAX => {
            Ok((*name, *attributes, parts))
        }
        _ => wrong("the record is none of an entry of another tool"),
    }
}

type Facts = (Option<Time>, Option<u16>);

/// The level and the facts of each part.
pub fn parse_attributes(bytes: &[u8], parts: usize) -> Result<(Option<u8>, Vec<Facts>), Wrong> {
    let (&[version, level], rest) = bytes.split_first_chunk::<2>().ok_or_else(cut)?;
    if version != VERSION {
        return wrong(format!("version {version} of the attributes is not known"));
    }
    if rest.len() != parts * PART_BYTES {
        return Err(cut());
    }
    let facts = rest.chunks_exact(PART_BYTES).map(|part| {
        let array = |at: usize| part.get(at..).and_then(|rest| rest.first_chunk::<8>());
        let secs = array(1).map(|bytes| i64::from_le_bytes(*bytes)).unwrap_or_default();
        let nanos = u32::from_le_bytes([part[9], part[10], part[11], part[12]]);
        let mode = u16::from_le_bytes([part[14], part[15]]);
        let time = Time { secs, nanos: nanos.min(999_999_999) };
        ((part[0] == 1).then_some(time), (part[13] == 1).then_some(mode & 0o7777))
    });
    Ok(((level != NO_LEVEL).then_some(level), facts.collect()))
}

fn cut() -> Wrong {
    Wrong("the attributes of the entry are cut short".to_owned())
}
