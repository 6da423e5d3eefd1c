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

use super::check::Said;
use super::wrong::{Wrong, wrong};
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

#[cfg(test)]
mod tests {
    use super::*;
    use larder_engine::{Options, Put, Store};

    const OF_40: &str = "0123456789abcdef0123456789abcdef01234567";

    fn part(label: &str, modified: Option<Time>, mode: Option<u16>) -> Part {
        Part { label: label.to_owned(), bytes: label.as_bytes().to_vec(), modified, mode }
    }

    fn example() -> Entry {
        let time = |secs, nanos| Some(Time { secs, nanos });
        let parts = vec![
            part("", time(1_600_000_000, 999_999_999), Some(0o444)),
            part("_00", time(-5, 1), None),
            part("_01", None, Some(0o7777)),
        ];
        Entry { name: Name::new(Family::Ccache, OF_40), level: Some(3), parts }
    }

    /// Through a store and back.
    fn stored(entry: &Entry) -> Result<Entry, Wrong> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), Options::new()).unwrap();
        let said = Said::default();
        assert_eq!(store.put(&record(entry, &said)).unwrap(), Put::Stored);
        let record = store.get(&key(&entry.name)).unwrap().unwrap();
        let read = |at| record.read(at).map_err(|error| Wrong(error.to_string()));
        super::entry(&key(&entry.name), record.sections(), read)
    }

    #[test]
    fn an_entry_comes_back_with_its_times_and_modes() {
        assert_eq!(stored(&example()), Ok(example()));
        for level in [None, Some(0), Some(8)] {
            let entry = Entry { level, ..example() };
            assert_eq!(stored(&entry), Ok(entry));
        }
    }

    #[test]
    fn labels_that_no_file_has_are_refused() {
        for label in ["R", "_0", "_00/../x", "../x", ".o", "/", "\0"] {
            let mut entry = example();
            entry.parts[1].label = label.to_owned();
            assert!(stored(&entry).is_err(), "{label:?}");
        }
        let mut twice = example();
        twice.parts[1].label = String::new();
        assert!(stored(&twice).unwrap_err().0.contains("twice"));
        let old = Name::new(Family::Ccache3, &OF_40[..32]);
        let without = Entry { name: old, level: None, parts: vec![part("", None, None)] };
        assert!(stored(&without).is_err(), "a file of ccache 3 has a suffix");
    }

    #[test]
    fn attributes_have_a_length_and_a_version() {
        let bytes = attributes(&example());
        assert_eq!(parse_attributes(&bytes, 3).unwrap().0, Some(3));
        for length in 0..bytes.len() {
            assert!(parse_attributes(&bytes[..length], 3).is_err(), "{length}");
        }
        assert!(parse_attributes(&bytes, 2).is_err() && parse_attributes(&bytes, 4).is_err());
        let mut later = bytes.clone();
        later[0] = 2;
        assert!(parse_attributes(&later, 3).unwrap_err().0.contains("version 2"));
        // A second has no more nanoseconds, and a file no more bits of a mode.
        let mut odd = bytes;
        odd[2 + 9..2 + 13].fill(0xff);
        odd[2 + 14..2 + 16].fill(0xff);
        let (_, facts) = parse_attributes(&odd, 3).unwrap();
        assert_eq!(facts[0].0.unwrap().nanos, 999_999_999);
        assert_eq!(facts[0].1, Some(0o7777));
    }

    #[test]
    fn names_are_those_of_a_family() {
        for family in Family::ALL {
            assert_eq!(Family::of_label(family.label()), Some(family));
        }
        assert_eq!(parse_name(format!("ccache:{OF_40}").as_bytes()).unwrap(), example().name);
        let of_40 = OF_40.as_bytes();
        for bytes in [&b"ccache:../x"[..], b"file:../stats", b":", b"", b"ccache:\xff", of_40] {
            assert!(parse_name(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn raw_files_have_no_say_in_when_it_was_used() {
        assert_eq!(newest(&example()), Some(Time { secs: 1_600_000_000, nanos: 999_999_999 }));
    }
}
