//! Bodies: what a record says, without where it stands. Bodies travel between stores unchanged.
//!
//! A body is valid if and only if
//! 1. it begins with the magic and a known format version, and its reserved bytes are zero;
//! 2. `head bytes` = header + section table + namespace + names + tails, at most
//!    [`HEAD_BYTES_MAX`];
//! 3. the checksum of the head, without the checksum field, is the stored one;
//! 4. every section's stored range lies between the end of the head and the end of the body, and
//!    every grouped section's range lies within the real length of the group, which comes first;
//!    ranges are in ascending order and do not overlap;
//! 5. the XXH3-128 of each section's stored bytes (with its tail; of its real bytes if it is
//!    grouped) is the stored one.
//!
//! Conditions 1 to 4 are checked by [`Head::decode`], 5 by [`Head::section_bytes`] when a section
//! is read. The key stands in the head, so a location that points to another record's body is seen.

use std::borrow::Cow;

use crate::checksum::{check32_salted, xxh3_64, xxh3_128};
use crate::codec::{self, Codec};
use crate::coding::{
    align_up, read_array, read_u8, read_u16, read_u32, read_u64, read_u128, write_bytes, write_u16,
    write_u32, write_u64, write_u128,
};
use crate::data::Data;
use crate::error::{Error, ErrorKind, Result};
use crate::format::FORMAT_VERSION;
use crate::key::{KEY_BYTES, Key};
use crate::limits::{
    BLOCK_BYTES, BODY_BYTES_MAX, CLONEABLE_SECTION_BYTES_MIN, GROUP_BYTES_MAX,
    GROUPED_SECTION_BYTES_MAX, HEAD_BYTES_MAX, NAMESPACE_BYTES_MAX, SECTION_BYTES_MAX,
    SECTION_NAME_BYTES_MAX, SECTIONS_MAX,
};
use crate::options::RecordLayout;

/// "LRDB": the bytes are a body at all.
const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"LRDB");

const MAGIC: usize = 0;
const FORMAT: usize = MAGIC + 4;
const KIND: usize = FORMAT + 2;
const FLAGS: usize = KIND + 1;
const KEY: usize = FLAGS + 1;
const CREATED: usize = KEY + KEY_BYTES;
const NAMESPACE_BYTES: usize = CREATED + 8;
pub(super) const SECTION_COUNT: usize = NAMESPACE_BYTES + 2;
const NAMES_BYTES: usize = SECTION_COUNT + 2;
const TAILS_BYTES: usize = NAMES_BYTES + 4;
pub(super) const HEAD_BYTES: usize = TAILS_BYTES + 4;
pub(super) const BODY_BYTES: usize = HEAD_BYTES + 4;
const RESERVED: usize = BODY_BYTES + 8;
pub(super) const CHECK: usize = RESERVED + 20;
/// Length of the fixed header of a body in bytes.
pub const HEADER_BYTES: usize = CHECK + 4;

const _: () = assert!(HEADER_BYTES == 96);

const SECTION_KIND: usize = 0;
const SECTION_CODEC: usize = SECTION_KIND + 1;
const SECTION_NAME_BYTES: usize = SECTION_CODEC + 1;
const SECTION_MODE: usize = SECTION_NAME_BYTES + 2;
const SECTION_TAIL_BYTES: usize = SECTION_MODE + 2;
pub(super) const SECTION_OFFSET: usize = SECTION_TAIL_BYTES + 2;
const SECTION_STORED_BYTES: usize = SECTION_OFFSET + 8;
const SECTION_REAL_BYTES: usize = SECTION_STORED_BYTES + 8;
const SECTION_CHECK: usize = SECTION_REAL_BYTES + 8;
pub(super) const SECTION_ENTRY_BYTES: usize = SECTION_CHECK + 16;

const _: () = assert!(SECTION_ENTRY_BYTES == 48);
const _: () = assert!(BLOCK_BYTES <= u16::MAX as u64);
const _: () = assert!(SECTION_NAME_BYTES_MAX <= u16::MAX as usize);

/// Set in `flags` if large sections stand raw on block boundaries.
const FLAG_CLONEABLE: u8 = 1;

/// What a record is. The number stands in the body and in locations (6 bits).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[non_exhaustive]
pub enum RecordKind {
    /// The outputs of one compile.
    Result = 1,
    /// What leads from a direct key to results.
    Manifest = 2,
    /// A second key of a result: one section with the other key.
    Alias = 3,
    /// An entry of another program's cache.
    Foreign = 4,
    /// The removal of a key.
    Tombstone = 5,
    /// Anything else.
    Blob = 6,
}

impl RecordKind {
    /// The kind of a number, `None` if this version knows none.
    pub fn from_number(number: u8) -> Option<Self> {
        use RecordKind::*;
        [Result, Manifest, Alias, Foreign, Tombstone, Blob].into_iter().find(|k| *k as u8 == number)
    }
}

macro_rules! section_kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What a section holds.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum SectionKind { $($(#[$doc])* $name = $number,)* }

        impl SectionKind {
            /// Every kind, in the order of their numbers.
            pub const ALL: &[SectionKind] = &[$(SectionKind::$name,)*];

            /// The kind of a number, `None` if this version knows none.
            pub fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(SectionKind::$name),)* _ => None }
            }

            /// The kind's name in listings.
            pub fn name(self) -> &'static str {
                match self { $(SectionKind::$name => $text,)* }
            }
        }
    };
}

section_kinds! {
    /// The object file.
    Object = 1, "object";
    /// The make dependency file.
    Dependencies = 2, "dependencies";
    /// What the compiler wrote to stderr.
    Stderr = 3, "stderr";
    /// What the compiler wrote to stdout.
    Stdout = 4, "stdout";
    /// Split DWARF (`.dwo`).
    DwarfObject = 5, "dwarf-object";
    /// Coverage notes (`.gcno`).
    CoverageNotes = 6, "coverage-notes";
    /// Stack usage (`.su`).
    StackUsage = 7, "stack-usage";
    /// Serialized diagnostics (`.dia`).
    Diagnostics = 8, "diagnostics";
    /// Assembler listing.
    Listing = 9, "listing";
    /// Exit status, four bytes.
    ExitStatus = 10, "exit-status";
    /// A manifest.
    Manifest = 11, "manifest";
    /// The raw bytes of an entry of another program's cache.
    ForeignEntry = 12, "foreign-entry";
    /// The name of an entry of another program's cache.
    ForeignName = 13, "foreign-name";
    /// Attributes of an entry of another program's cache (times, versions).
    ForeignAttributes = 14, "foreign-attributes";
    /// Call graph information (`.ci`).
    CallGraph = 15, "call-graph";
    /// Interprocedural clones dump.
    IpaClones = 16, "ipa-clones";
    /// Precompiled header.
    PrecompiledHeader = 17, "precompiled-header";
    /// The key that an alias stands for.
    AliasKey = 18, "alias-key";
    /// A signature over the body without this section.
    Signature = 19, "signature";
    /// A file that has no kind of its own; its name says which it is.
    NamedFile = 20, "named-file";
    /// Bytes without further meaning.
    Data = 21, "data";
    /// The compressed small sections of this body; made by the encoder only.
    Group = 255, "group";
}

/// One section of an entry that is to be stored.
#[derive(Clone, Debug)]
pub struct Section<'a> {
    /// What it holds.
    pub kind: SectionKind,
    /// Permission bits of the file, 0 where it is none.
    pub mode: u16,
    /// Its name, empty where the kind says enough; at most 4096 bytes.
    pub name: Cow<'a, [u8]>,
    /// Its bytes.
    pub data: Data<'a>,
}

impl<'a> Section<'a> {
    /// A section without mode and name.
    pub fn new(kind: SectionKind, data: impl Into<Data<'a>>) -> Self {
        Section { kind, mode: 0, name: Cow::Borrowed(b""), data: data.into() }
    }

    /// The same with the permission bits of a file.
    pub fn mode(mut self, mode: u16) -> Self {
        self.mode = mode;
        self
    }

    /// The same with a name.
    pub fn name(mut self, name: impl Into<Cow<'a, [u8]>>) -> Self {
        self.name = name.into();
        self
    }
}

/// An entry that is to be stored under a key.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The key.
    pub key: Key,
    /// What the record is.
    pub kind: RecordKind,
    /// Namespace, empty by default; at most 255 bytes.
    pub namespace: Cow<'a, str>,
    /// Creation time in seconds since 1970; `None` lets the store take the time of the put.
    pub created_secs: Option<u64>,
    /// The sections.
    pub sections: Vec<Section<'a>>,
}

impl<'a> Entry<'a> {
    /// An entry with the given sections, no namespace, created when it is put.
    pub fn new(key: Key, kind: RecordKind, sections: Vec<Section<'a>>) -> Self {
        Entry { key, kind, namespace: Cow::Borrowed(""), created_secs: None, sections }
    }
}

/// One section as the head of a stored body describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionInfo {
    /// The kind; `None` if this version does not know it.
    pub kind: Option<SectionKind>,
    /// Permission bits, 0 where the section is no file.
    pub mode: u16,
    /// The name, often empty.
    pub name: Vec<u8>,
    /// Length in bytes after decompression.
    pub real_bytes: u64,
    /// Length in bytes as stored, without the tail.
    pub stored_bytes: u64,
    pub(crate) codec: Codec,
    pub(crate) offset: u64,
    pub(crate) tail: Vec<u8>,
    pub(crate) check: u128,
}

impl SectionInfo {
    /// The XXH3-128 of its stored bytes with the tail, of its real bytes if it is grouped.
    pub fn checksum(&self) -> u128 {
        self.check
    }

    /// Whether its bytes are stored as they are.
    pub fn is_raw(&self) -> bool {
        self.codec == Codec::Raw
    }

    /// Whether it stands raw in whole blocks from a block boundary of the body on, so that a file
    /// can be made of these and the tail. The offset of a grouped section counts in its group.
    pub(crate) fn is_in_blocks(&self) -> bool {
        self.codec == Codec::Raw
            && self.stored_bytes > 0
            && self.stored_bytes.is_multiple_of(BLOCK_BYTES)
            && self.offset.is_multiple_of(BLOCK_BYTES)
            && self.stored_bytes.checked_add(self.tail.len() as u64) == Some(self.real_bytes)
    }
}

/// The decoded head of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The full key.
    pub key: Key,
    /// The kind as a number; see [`RecordKind::from_number`].
    pub kind: u8,
    /// Whether large sections stand raw on block boundaries.
    pub cloneable: bool,
    /// Creation time in seconds since 1970.
    pub created_secs: u64,
    /// The namespace.
    pub namespace: String,
    /// Length of the head in bytes.
    pub head_bytes: u64,
    /// Length of the whole body in bytes.
    pub body_bytes: u64,
    /// The sections, without the group.
    pub sections: Vec<SectionInfo>,
    pub(crate) group: Option<SectionInfo>,
}

/// Reads (length of head, length of body) from the fixed header alone, so that a reader knows how
/// much to fetch; both are bounded, nothing else is checked.
pub fn lengths(header: &[u8]) -> Option<(u64, u64)> {
    if read_u32(header, MAGIC)? != MAGIC_VALUE {
        return None;
    }
    let head_bytes = u64::from(read_u32(header, HEAD_BYTES)?);
    let body_bytes = read_u64(header, BODY_BYTES)?;
    let sane = head_bytes >= HEADER_BYTES as u64
        && head_bytes <= body_bytes.min(HEAD_BYTES_MAX)
        && body_bytes <= BODY_BYTES_MAX;
    sane.then_some((head_bytes, body_bytes))
}

/// Reads the checksum of the head from the fixed header alone; it is not compared with the head.
pub fn stored_check(header: &[u8]) -> Option<u32> {
    read_u32(header, CHECK)
}

/// Whether a body that was just encoded has sections on block boundaries.
pub fn is_cloneable(header: &[u8]) -> bool {
    read_u8(header, FLAGS).is_some_and(|flags| flags & FLAG_CLONEABLE != 0)
}

impl Head {
    /// Decodes and checks the head at the start of `bytes`, which may end before the body does.
    ///
    /// # Errors
    /// `Corrupt` unless conditions 1 to 4 of the module documentation hold; `NewerFormat` if the
    /// format version is newer than this one.
    pub fn decode(bytes: &[u8]) -> Result<Head> {
        let (head_bytes, body_bytes) =
            lengths(bytes).ok_or_else(|| Error::corrupt("a body has no valid header"))?;
        let head = bytes
            .get(..head_bytes as usize)
            .ok_or_else(|| Error::corrupt("a body ends inside its head"))?;
        if head_check(head) != read_u32(head, CHECK) {
            return Err(Error::corrupt("the checksum of a body's head is wrong"));
        }
        match read_u16(head, FORMAT) {
            Some(FORMAT_VERSION) => {}
            Some(version) if version > FORMAT_VERSION => {
                return Err(Error::new(ErrorKind::NewerFormat, "a body has a newer format"));
            }
            _ => return Err(Error::corrupt("a body has an unknown format")),
        }
        Self::decode_checked(head, body_bytes)
            .ok_or_else(|| Error::corrupt("the head of a body contradicts itself"))
    }

    fn decode_checked(head: &[u8], body_bytes: u64) -> Option<Head> {
        if head.get(RESERVED..CHECK)?.iter().any(|byte| *byte != 0) {
            return None;
        }
        let flags = read_u8(head, FLAGS)?;
        let section_count = usize::from(read_u16(head, SECTION_COUNT)?);
        if flags & !FLAG_CLONEABLE != 0 || section_count > SECTIONS_MAX {
            return None;
        }
        let table_bytes = section_count.checked_mul(SECTION_ENTRY_BYTES)?;
        let (table, rest) = head.get(HEADER_BYTES..)?.split_at_checked(table_bytes)?;
        let (namespace, rest) =
            rest.split_at_checked(usize::from(read_u16(head, NAMESPACE_BYTES)?))?;
        let (mut names, mut tails) = rest.split_at_checked(read_u32(head, NAMES_BYTES)? as usize)?;
        if tails.len() != read_u32(head, TAILS_BYTES)? as usize {
            return None;
        }
        let mut decoded = Head {
            key: Key::from_bytes(read_array(head, KEY)?),
            kind: read_u8(head, KIND)?,
            cloneable: flags & FLAG_CLONEABLE != 0,
            created_secs: read_u64(head, CREATED)?,
            namespace: String::from_utf8(namespace.to_vec()).ok()?,
            head_bytes: head.len() as u64,
            body_bytes,
            sections: Vec::with_capacity(section_count),
            group: None,
        };
        for (number, entry) in table.chunks_exact(SECTION_ENTRY_BYTES).enumerate() {
            let section = decode_section(entry, &mut names, &mut tails)?;
            if !decoded.holds(&section) {
                return None;
            }
            if section.kind == Some(SectionKind::Group) {
                // The group comes first, once, and is never inside itself.
                if number != 0 || section.codec == Codec::Grouped {
                    return None;
                }
                decoded.group = Some(section);
            } else {
                decoded.sections.push(section);
            }
        }
        if !decoded.is_in_order() {
            return None;
        }
        (names.is_empty() && tails.is_empty()).then_some(decoded)
    }

    /// Condition 4 for one section.
    fn holds(&self, section: &SectionInfo) -> bool {
        let end = section.offset.checked_add(section.stored_bytes);
        let tail_bytes = section.tail.len() as u64;
        match section.codec {
            Codec::Grouped => {
                let group_bytes = self.group.as_ref().map_or(0, |group| group.real_bytes);
                section.stored_bytes == section.real_bytes
                    && tail_bytes == 0
                    && group_bytes <= GROUP_BYTES_MAX
                    && end.is_some_and(|end| end <= group_bytes)
            }
            Codec::Raw => {
                section.stored_bytes.checked_add(tail_bytes) == Some(section.real_bytes)
                    && section.offset >= self.head_bytes
                    && end.is_some_and(|end| end <= self.body_bytes)
            }
            Codec::Zstd => {
                tail_bytes == 0
                    && section.offset >= self.head_bytes
                    && section.real_bytes <= SECTION_BYTES_MAX
                    && end.is_some_and(|end| end <= self.body_bytes)
            }
        }
    }

    /// Whether no stored byte belongs to two sections: else a short body could ask for any amount
    /// of decompression.
    fn is_in_order(&self) -> bool {
        let (mut stored_end, mut grouped_end) = (0, 0);
        self.group.iter().chain(&self.sections).all(|section| {
            let end = match section.codec {
                Codec::Grouped => &mut grouped_end,
                _ => &mut stored_end,
            };
            let is_behind = section.offset >= *end;
            *end = section.offset.saturating_add(section.stored_bytes);
            is_behind
        })
    }

    /// Checks a whole body, head and sections, and returns its head.
    ///
    /// # Errors
    /// `Corrupt` if anything about it is wrong.
    pub fn decode_whole(body: &[u8]) -> Result<Head> {
        let head = Head::decode(body)?;
        if head.body_bytes != body.len() as u64 {
            return Err(Error::corrupt("a body has another length than it says"));
        }
        head.check_sections(body)?;
        Ok(head)
    }

    /// Checks the sections of a whole body.
    ///
    /// # Errors
    /// `Corrupt` if one is damaged.
    pub fn check_sections(&self, body: &[u8]) -> Result<()> {
        let stored = |section: &SectionInfo| {
            let end = section.offset.saturating_add(section.stored_bytes);
            body.get(section.offset as usize..end as usize).unwrap_or_default()
        };
        let group = self.group.as_ref().map(|group| checked_bytes(group, stored(group).into()));
        let group = group.transpose()?;
        for section in &self.sections {
            match (section.codec, &group) {
                (Codec::Grouped, Some(group)) => {
                    grouped_bytes(section, group)?;
                }
                (Codec::Grouped, None) => return Err(no_group()),
                _ => {
                    checked_bytes(section, stored(section).into())?;
                }
            }
        }
        Ok(())
    }

    /// The stored range of the body that must be at hand to read `section`.
    pub fn stored_range(&self, section: &SectionInfo) -> (u64, u64) {
        match (section.codec, &self.group) {
            (Codec::Grouped, Some(group)) => (group.offset, group.stored_bytes),
            _ => (section.offset, section.stored_bytes),
        }
    }

    /// The real bytes of `section`, given the bytes of [`Head::stored_range`].
    ///
    /// # Errors
    /// `Corrupt` if a checksum is wrong or decompression gives another length.
    pub fn section_bytes<'a>(
        &self,
        section: &SectionInfo,
        stored: Cow<'a, [u8]>,
    ) -> Result<Cow<'a, [u8]>> {
        match (section.codec, &self.group) {
            (Codec::Grouped, Some(group)) => {
                let unpacked = checked_bytes(group, stored)?;
                Ok(Cow::Owned(grouped_bytes(section, &unpacked)?.to_vec()))
            }
            (Codec::Grouped, None) => Err(no_group()),
            _ => checked_bytes(section, stored),
        }
    }
}

fn no_group() -> Error {
    Error::corrupt("a small section has no group")
}

/// Checks one grouped section in its unpacked group.
pub(super) fn grouped_bytes<'a>(section: &SectionInfo, group: &'a [u8]) -> Result<&'a [u8]> {
    let start = section.offset as usize;
    let part = group
        .get(start..start.saturating_add(section.stored_bytes as usize))
        .ok_or_else(|| Error::corrupt("a small section lies outside its group"))?;
    if xxh3_128(part) != section.check {
        return Err(Error::corrupt("the checksum of a small section is wrong"));
    }
    Ok(part)
}

/// Checks and decodes one section that is not grouped.
pub(super) fn checked_bytes<'a>(
    section: &SectionInfo,
    stored: Cow<'a, [u8]>,
) -> Result<Cow<'a, [u8]>> {
    let wrong = || Error::corrupt("the checksum of a section is wrong");
    if stored.len() as u64 != section.stored_bytes {
        return Err(Error::corrupt("a section is cut short"));
    }
    if !section.tail.is_empty() {
        let whole = [&stored, section.tail.as_slice()].concat();
        return if xxh3_128(&whole) == section.check { Ok(whole.into()) } else { Err(wrong()) };
    }
    if xxh3_128(&stored) != section.check {
        return Err(wrong());
    }
    match section.codec {
        Codec::Raw => Ok(stored),
        _ => Ok(Cow::Owned(codec::decompress(&stored, section.real_bytes as usize)?)),
    }
}

fn decode_section(entry: &[u8], names: &mut &[u8], tails: &mut &[u8]) -> Option<SectionInfo> {
    let (name, rest) = names.split_at_checked(usize::from(read_u16(entry, SECTION_NAME_BYTES)?))?;
    *names = rest;
    let (tail, rest) = tails.split_at_checked(usize::from(read_u16(entry, SECTION_TAIL_BYTES)?))?;
    *tails = rest;
    Some(SectionInfo {
        kind: SectionKind::from_number(read_u8(entry, SECTION_KIND)?),
        mode: read_u16(entry, SECTION_MODE)?,
        name: name.to_vec(),
        real_bytes: read_u64(entry, SECTION_REAL_BYTES)?,
        stored_bytes: read_u64(entry, SECTION_STORED_BYTES)?,
        codec: Codec::from_number(read_u8(entry, SECTION_CODEC)?)?,
        offset: read_u64(entry, SECTION_OFFSET)?,
        tail: tail.to_vec(),
        check: read_u128(entry, SECTION_CHECK)?,
    })
}

/// Checksum of a head without the checksum itself: what follows is salted with what comes before.
pub(super) fn head_check(head: &[u8]) -> Option<u32> {
    let salt = xxh3_64(head.get(..CHECK)?, 0);
    Some(check32_salted(salt, head.get(HEADER_BYTES..)?))
}

/// A section on its way into a body: its entry without the offset, and its stored bytes.
pub(super) struct Placed<'a> {
    kind: SectionKind,
    codec: Codec,
    mode: u16,
    name: &'a [u8],
    stored: Cow<'a, [u8]>,
    tail: &'a [u8],
    real_bytes: u64,
    check: u128,
    /// Only for grouped sections; the others get theirs when the head's length is known.
    group_offset: u64,
    aligned: bool,
}

impl<'a> Placed<'a> {
    /// The section of a signature.
    pub(super) fn signature(bytes: &'a [u8]) -> Placed<'a> {
        Placed {
            kind: SectionKind::Signature,
            codec: Codec::Raw,
            mode: 0,
            name: b"",
            stored: Cow::Borrowed(bytes),
            tail: b"",
            real_bytes: bytes.len() as u64,
            check: xxh3_128(bytes),
            group_offset: 0,
            aligned: false,
        }
    }
}

/// Encodes a body; in the cloneable layout, sections from [`CLONEABLE_SECTION_BYTES_MIN`] on are
/// raw.
///
/// # Errors
/// `Limit` if the entry is outside the limits of `limits.rs`.
pub fn encode(
    entry: &Entry<'_>,
    created_secs: u64,
    layout: RecordLayout,
    zstd_level: i32,
) -> Result<Vec<u8>> {
    let clone_bytes_min = (layout == RecordLayout::Cloneable).then_some(0);
    let zstd_level = (layout != RecordLayout::Raw).then_some(zstd_level);
    encode_from(entry, created_secs, clone_bytes_min, zstd_level)
}

/// Encodes a body in which sections from `clone_bytes_min` on, and not below
/// [`CLONEABLE_SECTION_BYTES_MIN`], stand raw on block boundaries, if there is such a bound, and
/// the others are compressed, if there is a level. Without such a section it is not cloneable.
///
/// # Errors
/// `Limit` if the entry is outside the limits of `limits.rs`.
pub fn encode_from(
    entry: &Entry<'_>,
    created_secs: u64,
    clone_bytes_min: Option<u64>,
    zstd_level: Option<i32>,
) -> Result<Vec<u8>> {
    check_limits(entry)?;
    let raw_from = clone_bytes_min.map(|bytes| bytes.max(CLONEABLE_SECTION_BYTES_MIN as u64));
    let placed = place_sections(&entry.sections, raw_from, zstd_level);
    let cloneable = placed.iter().any(|section| section.aligned);
    let names_bytes: usize = placed.iter().map(|section| section.name.len()).sum();
    let tails_bytes: usize = placed.iter().map(|section| section.tail.len()).sum();
    let head_bytes = HEADER_BYTES
        .saturating_add(placed.len().saturating_mul(SECTION_ENTRY_BYTES))
        .saturating_add(entry.namespace.len())
        .saturating_add(names_bytes)
        .saturating_add(tails_bytes);
    let too_large = || Error::new(ErrorKind::Limit, "the entry is larger than 4 GiB");
    let (offsets, body_bytes) = assign_offsets(&placed, head_bytes as u64).ok_or_else(too_large)?;
    if body_bytes > BODY_BYTES_MAX || head_bytes as u64 > HEAD_BYTES_MAX {
        return Err(too_large());
    }

    let mut body = Vec::with_capacity(body_bytes as usize);
    body.resize(HEADER_BYTES, 0);
    write_u32(&mut body, MAGIC, MAGIC_VALUE);
    write_u16(&mut body, FORMAT, FORMAT_VERSION);
    write_bytes(&mut body, KIND, &[entry.kind as u8, u8::from(cloneable) * FLAG_CLONEABLE]);
    write_bytes(&mut body, KEY, entry.key.as_bytes());
    write_u64(&mut body, CREATED, created_secs);
    write_u16(&mut body, NAMESPACE_BYTES, entry.namespace.len() as u16);
    write_u16(&mut body, SECTION_COUNT, placed.len() as u16);
    write_u32(&mut body, NAMES_BYTES, names_bytes as u32);
    write_u32(&mut body, TAILS_BYTES, tails_bytes as u32);
    write_u32(&mut body, HEAD_BYTES, head_bytes as u32);
    write_u64(&mut body, BODY_BYTES, body_bytes);
    for (section, offset) in placed.iter().zip(&offsets) {
        body.extend_from_slice(&encode_section(section, *offset));
    }
    body.extend_from_slice(entry.namespace.as_bytes());
    placed.iter().for_each(|section| body.extend_from_slice(section.name));
    placed.iter().for_each(|section| body.extend_from_slice(section.tail));
    let check = head_check(&body).unwrap_or_default();
    write_u32(&mut body, CHECK, check);
    for (section, offset) in placed.iter().zip(&offsets) {
        if section.codec != Codec::Grouped {
            body.resize(*offset as usize, 0);
            body.extend_from_slice(&section.stored);
        }
    }
    match entry.sections.iter().all(|section| section.data.is_whole()) {
        true => Ok(body),
        false => Err(Error::new(ErrorKind::Io, "a file was cut short while it was stored")),
    }
}

fn check_limits(entry: &Entry<'_>) -> Result<()> {
    let limit = |what: &str| Err(Error::new(ErrorKind::Limit, what));
    if entry.sections.len() >= SECTIONS_MAX {
        return limit("an entry may have at most 4095 sections");
    }
    if entry.namespace.len() > NAMESPACE_BYTES_MAX {
        return limit("a namespace may have at most 255 bytes");
    }
    for section in &entry.sections {
        if section.name.len() > SECTION_NAME_BYTES_MAX {
            return limit("a section's name may have at most 4096 bytes");
        }
        if section.data.len() as u64 > SECTION_BYTES_MAX {
            return limit("a section may have at most 4 GiB");
        }
        if section.kind == SectionKind::Group {
            return limit("groups are made by the store only");
        }
    }
    Ok(())
}

/// Places the sections: those from `raw_from` bytes on are cloneable, and without a level nothing
/// is compressed.
fn place_sections<'a>(
    sections: &'a [Section<'a>],
    raw_from: Option<u64>,
    level: Option<i32>,
) -> Vec<Placed<'a>> {
    let small = |section: &Section<'_>| {
        section.data.len() <= GROUPED_SECTION_BYTES_MAX
            && section.kind != SectionKind::Signature
            && section.kind != SectionKind::ForeignEntry
    };
    let mut placed = Vec::with_capacity(sections.len().saturating_add(1));
    let grouped = sections.iter().filter(|section| small(section)).count() > 1;
    if grouped {
        let group: Vec<u8> =
            sections.iter().filter(|s| small(s)).flat_map(|s| s.data.iter().copied()).collect();
        placed.push(place_group(group, level));
    }
    let mut group_offset = 0u64;
    for section in sections {
        let mut place = Placed {
            kind: section.kind,
            codec: Codec::Raw,
            mode: section.mode,
            name: &section.name,
            stored: Cow::Borrowed(&section.data),
            tail: b"",
            real_bytes: section.data.len() as u64,
            check: 0,
            group_offset,
            aligned: false,
        };
        if grouped && small(section) {
            place.codec = Codec::Grouped;
            place.check = xxh3_128(&section.data);
            group_offset = group_offset.saturating_add(place.real_bytes);
        } else if raw_from.is_some_and(|bytes| section.data.len() as u64 >= bytes) {
            let whole = section.data.len() & !(BLOCK_BYTES as usize).wrapping_sub(1);
            let (blocks, tail) = section.data.split_at(whole);
            place.check = xxh3_128(&section.data);
            (place.stored, place.tail, place.aligned) = (Cow::Borrowed(blocks), tail, true);
        } else {
            if let Some(packed) =
                level.and_then(|level| codec::compress_frames(&section.data, level))
            {
                (place.codec, place.stored) = (Codec::Zstd, Cow::Owned(packed));
            }
            place.check = xxh3_128(&place.stored);
        }
        placed.push(place);
    }
    placed
}

fn place_group<'a>(group: Vec<u8>, level: Option<i32>) -> Placed<'a> {
    let real_bytes = group.len() as u64;
    let (codec, stored) = match level.and_then(|level| codec::compress_frames(&group, level)) {
        Some(packed) => (Codec::Zstd, packed),
        None => (Codec::Raw, group),
    };
    Placed {
        kind: SectionKind::Group,
        codec,
        mode: 0,
        name: b"",
        check: xxh3_128(&stored),
        stored: Cow::Owned(stored),
        tail: b"",
        real_bytes,
        group_offset: 0,
        aligned: false,
    }
}

/// The offset of each section and the length of the body; unaligned sections first come first.
fn assign_offsets(placed: &[Placed<'_>], head_bytes: u64) -> Option<(Vec<u64>, u64)> {
    let mut end = head_bytes;
    let mut offsets = Vec::with_capacity(placed.len());
    for section in placed {
        if section.codec == Codec::Grouped {
            offsets.push(section.group_offset);
            continue;
        }
        let start = if section.aligned { align_up(end, BLOCK_BYTES)? } else { end };
        offsets.push(start);
        end = start.checked_add(section.stored.len() as u64)?;
    }
    Some((offsets, end))
}

pub(super) fn encode_section(section: &Placed<'_>, offset: u64) -> [u8; SECTION_ENTRY_BYTES] {
    let mut entry = [0; SECTION_ENTRY_BYTES];
    let stored_bytes = match section.codec {
        Codec::Grouped => section.real_bytes,
        _ => section.stored.len() as u64,
    };
    write_bytes(&mut entry, SECTION_KIND, &[section.kind as u8, section.codec as u8]);
    write_u16(&mut entry, SECTION_NAME_BYTES, section.name.len() as u16);
    write_u16(&mut entry, SECTION_MODE, section.mode);
    write_u16(&mut entry, SECTION_TAIL_BYTES, section.tail.len() as u16);
    write_u64(&mut entry, SECTION_OFFSET, offset);
    write_u64(&mut entry, SECTION_STORED_BYTES, stored_bytes);
    write_u64(&mut entry, SECTION_REAL_BYTES, section.real_bytes);
    write_u128(&mut entry, SECTION_CHECK, section.check);
    entry
}
