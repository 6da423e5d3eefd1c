//! The container of an entry: header, contents, checksum, in the three layouts there are.

use larder_engine::checksum::{xxh3_64, xxh3_128};
use larder_engine::codec;

use super::reader::Reader;
use super::{Checked, Wrong};

/// The magic of results and manifests since 4.5.
const MAGIC: [u8; 2] = [0xcc, 0xac];
/// The magic of a result before 4.5, and its version.
const OLD_RESULT: ([u8; 4], u8) = (*b"cCrS", 1);
/// The magic of a manifest before 4.5, and its version; ccache 3 had another version of it.
const OLD_MANIFEST: ([u8; 4], u8) = (*b"cCmF", 2);
/// How much of a file [`has_magic`] wants to see.
pub const MAGIC_BYTES: usize = 4;

const OLD_HEADER_BYTES: u64 = 15;
const OLD_CHECK_BYTES: u64 = 8;
const CHECK_BYTES: u64 = 16;
/// Where kind, compression and level stand since 4.5.
const COMPRESSION_AT: usize = 4;
const LEVEL_AT: usize = 5;

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The outputs of a compile.
    Result,
    /// What compiles have read, and which result that led to.
    Manifest,
}

/// How the contents are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// As they are.
    None,
    /// As one zstd frame.
    Zstd,
}

/// What an entry is to be recompressed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// No compression.
    Uncompressed,
    /// This level of zstd.
    Zstd(i8),
}

/// An entry whose checksum is right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The magic, as it stands.
    pub magic: Vec<u8>,
    /// The version of the container.
    pub version: u8,
    /// What it is.
    pub kind: Kind,
    /// How its contents are stored.
    pub compression: Compression,
    /// The level that they were compressed with.
    pub level: i8,
    /// What only containers since 4.5 say.
    pub origin: Option<Origin>,
    /// Header, real contents and checksum together, in bytes.
    pub real_bytes: u64,
    /// The real contents.
    pub contents: Vec<u8>,
}

/// Where an entry comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Whether it needs no other files; before 4.7 nothing says so.
    pub self_contained: Option<bool>,
    /// When it was made, in seconds since 1970.
    pub created_secs: u64,
    /// Which ccache made it.
    pub ccache_version: Vec<u8>,
    /// Its namespace.
    pub namespace: Vec<u8>,
}

/// Whether these are the first bytes of an entry.
pub fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC) && bytes.get(2).is_some_and(|version| *version <= 1)
        || bytes.starts_with(&OLD_RESULT.0)
        || bytes.starts_with(&OLD_MANIFEST.0)
}

impl Entry {
    /// Takes a file apart; its contents may be `contents_max` bytes long.
    ///
    /// # Errors
    /// If it is no entry, or one of a version that is not known, or damaged, or larger than that.
    pub fn decode(bytes: &[u8], contents_max: u64) -> Checked<Entry> {
        if bytes.starts_with(&MAGIC) {
            return decode_new(bytes, contents_max);
        }
        for ((magic, version), kind) in [(OLD_RESULT, Kind::Result), (OLD_MANIFEST, Kind::Manifest)]
        {
            if bytes.starts_with(&magic) {
                return decode_old(bytes, version, kind, contents_max);
            }
        }
        Err(Wrong::new(match bytes {
            [first, second, ..] => format!("it begins with {first:02x}{second:02x}, not ccac"),
            _ => "it is too short for an entry".to_owned(),
        }))
    }

    /// The same without the contents, where the checksum is not one of these: an entry since 4.7 is
    /// not decompressed, and its contents are empty.
    ///
    /// # Errors
    /// See [`Entry::decode`].
    pub fn check(bytes: &[u8], contents_max: u64) -> Checked<Entry> {
        let covers_stored = bytes.starts_with(&[MAGIC[0], MAGIC[1], 1]);
        if !covers_stored {
            return Entry::decode(bytes, contents_max);
        }
        let (entry, header_bytes) = decode_header(bytes)?;
        let stored = bytes.len().checked_sub(CHECK_BYTES as usize);
        let stored = stored.filter(|stored| *stored >= header_bytes);
        let (covered, check) =
            bytes.split_at(stored.ok_or_else(|| Wrong::new("the entry is cut short"))?);
        check_128(covered, check)?;
        Ok(entry)
    }

    /// Whether the contents have a version of their own, as they have since 4.5.
    pub(super) fn has_content_version(&self) -> bool {
        self.origin.is_some()
    }
}

fn compression(number: u8) -> Checked<Compression> {
    match number {
        0 => Ok(Compression::None),
        1 => Ok(Compression::Zstd),
        other => Err(Wrong::new(format!("compression {other} is not known"))),
    }
}

fn decode_new(bytes: &[u8], contents_max: u64) -> Checked<Entry> {
    let (mut entry, header_bytes) = decode_header(bytes)?;
    let origin = entry.origin.as_ref();
    let is_first_version = origin.is_some_and(|origin| origin.self_contained.is_none());
    let real = entry.real_bytes.checked_sub(header_bytes as u64 + CHECK_BYTES);
    let real = real.ok_or_else(|| Wrong::new("the entry is smaller than its header"))?;
    let (header, stored) = bytes.split_at(header_bytes);
    if is_first_version {
        let mut body = unpack(entry.compression, stored, real + CHECK_BYTES, contents_max)?;
        let check = body.split_off(real as usize);
        // Where nothing is written, nothing was computed.
        if check.iter().any(|byte| *byte != 0) {
            check_128(&[header, &body].concat(), &check)?;
        }
        entry.contents = body;
    } else {
        let stored_bytes = stored.len().checked_sub(CHECK_BYTES as usize);
        let stored_bytes = stored_bytes.ok_or_else(|| Wrong::new("the entry is cut short"))?;
        let (stored, check) = stored.split_at(stored_bytes);
        check_128(&bytes[..header_bytes + stored_bytes], check)?;
        entry.contents = unpack(entry.compression, stored, real, contents_max)?;
    }
    Ok(entry)
}

/// Everything but the contents, and how long the header is.
fn decode_header(bytes: &[u8]) -> Checked<(Entry, usize)> {
    let mut reader = Reader::new(bytes);
    let magic = reader.take(MAGIC.len() as u64)?.to_vec();
    let version = reader.u8()?;
    if version > 1 {
        return Err(Wrong::new(format!("version {version} of the entry format is not known")));
    }
    let kind = match reader.u8()? {
        0 => Kind::Result,
        1 => Kind::Manifest,
        other => return Err(Wrong::new(format!("entry type {other} is not known"))),
    };
    let compression = compression(reader.u8()?)?;
    let level = reader.u8()?.cast_signed();
    let self_contained = if version == 0 { None } else { Some(reader.u8()? != 0) };
    let created_secs = reader.u64()?;
    let ccache_version = reader.short_text()?;
    let namespace = reader.short_text()?;
    let real_bytes = reader.u64()?;
    let origin = Some(Origin { self_contained, created_secs, ccache_version, namespace });
    let contents = Vec::new();
    let entry = Entry { magic, version, kind, compression, level, origin, real_bytes, contents };
    Ok((entry, reader.at()))
}

fn decode_old(bytes: &[u8], version: u8, kind: Kind, contents_max: u64) -> Checked<Entry> {
    let mut reader = Reader::new(bytes);
    let magic = reader.take(MAGIC_BYTES as u64)?.to_vec();
    match reader.u8()? {
        known if known == version => {}
        other => {
            return Err(Wrong::new(format!("version {other} of the entry format is not known")));
        }
    }
    let compression = compression(reader.u8()?)?;
    let level = reader.u8()?.cast_signed();
    let real_bytes = reader.u64()?;
    let real = real_bytes.checked_sub(OLD_HEADER_BYTES + OLD_CHECK_BYTES);
    let real = real.ok_or_else(|| Wrong::new("the entry is smaller than its header"))?;
    let (header, stored) = bytes.split_at(reader.at());
    let mut contents = unpack(compression, stored, real + OLD_CHECK_BYTES, contents_max)?;
    let check = contents.split_off(real as usize);
    if xxh3_64(&[header, &contents].concat(), 0).to_be_bytes() != check[..] {
        return Err(damaged());
    }
    Ok(Entry { magic, version, kind, compression, level, origin: None, real_bytes, contents })
}

fn damaged() -> Wrong {
    Wrong::new("the checksum is wrong, the entry is damaged")
}

fn check_128(covered: &[u8], check: &[u8]) -> Checked<()> {
    match xxh3_128(covered).to_be_bytes() == *check {
        true => Ok(()),
        false => Err(damaged()),
    }
}

/// The real bytes of what is stored; exactly `real` of them.
fn unpack(compression: Compression, stored: &[u8], real: u64, max: u64) -> Checked<Vec<u8>> {
    if real > max.saturating_add(CHECK_BYTES) {
        return Err(Wrong::new(format!("the entry holds {real} bytes, more than is read")));
    }
    let bytes = match compression {
        Compression::None => stored.to_vec(),
        Compression::Zstd => codec::decompress_up_to(stored, real)?,
    };
    match bytes.len() as u64 == real {
        true => Ok(bytes),
        false => Err(Wrong::new("the entry has another length than it says")),
    }
}

/// The same entry at another level; `None` if it is at that level, or of a version before 4.7,
/// which are left as they are.
///
/// # Errors
/// See [`Entry::decode`].
pub fn recompress(bytes: &[u8], level: Level, contents_max: u64) -> Checked<Option<Vec<u8>>> {
    if !bytes.starts_with(&[MAGIC[0], MAGIC[1], 1]) {
        return Entry::decode(bytes, contents_max).map(|_| None);
    }
    let (head, header_bytes) = decode_header(bytes)?;
    let is_there = match level {
        Level::Uncompressed => head.compression == Compression::None,
        Level::Zstd(level) => head.compression == Compression::Zstd && head.level == level,
    };
    if is_there {
        return Ok(None);
    }
    let entry = Entry::decode(bytes, contents_max)?;
    let (packed, compression, level) = match level {
        Level::Uncompressed => (None, 0, 0),
        Level::Zstd(level) => (codec::compress(&entry.contents, i32::from(level)), 1, level),
    };
    let mut new = bytes[..header_bytes].to_vec();
    // What does not get smaller is stored as it is.
    let is_packed = packed.is_some();
    new[COMPRESSION_AT] = if is_packed { compression } else { 0 };
    new[LEVEL_AT] = if is_packed { level.cast_unsigned() } else { 0 };
    new.extend(packed.unwrap_or(entry.contents));
    let check = xxh3_128(&new).to_be_bytes();
    new.extend(check);
    Ok((new != bytes).then_some(new))
}
