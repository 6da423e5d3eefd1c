//! Entries of sccache: results, and what it keeps to avoid the preprocessor.
//!
//! ```text
//! result  = a ZIP archive; each member is stored (method 0) and is one zstd stream: "obj", "d",
//!           "dwo", ..., the names of files for Rust, and "stdout" and "stderr" if not empty;
//!           CRC-32 and both lengths are those of the compressed bytes
//! preproc = version, u64 count, u64 results, result*
//! version = u8: 1 since 0.18, 0 before
//! result  = string, u64 includes, include*
//! include = u32 0 (a path of Unix), string, string digest, u64 bytes, time, time
//! time    = u8 0 | u8 1, i64 seconds, u32 nanoseconds
//! string  = u64 bytes, bytes
//! ```
//!
//! Numbers are little-endian. A preprocessor entry without a byte is an empty one.

use std::io::{Cursor, Read, Write};

use super::wrong::{Wrong, wrong};

/// Members of a result: one for each output.
const MEMBERS_MAX: usize = 4096;

/// A member of a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Permission bits, if the archive says that it comes from Unix.
    pub mode: Option<u32>,
    /// Its CRC-32.
    pub crc32: u32,
    /// Its bytes, compressed as they stand.
    pub stored: Vec<u8>,
}

impl Member {
    /// The real bytes, at most `bytes_max` of them.
    ///
    /// # Errors
    /// If they cannot be decompressed, or are more.
    pub fn read(&self, bytes_max: u64) -> Result<Vec<u8>, Wrong> {
        let mut bytes = Vec::new();
        self.unpack(bytes_max, &mut bytes)?;
        Ok(bytes)
    }

    /// How many real bytes there are, at most `bytes_max`; they are not kept.
    ///
    /// # Errors
    /// See [`Member::read`].
    pub fn count(&self, bytes_max: u64) -> Result<u64, Wrong> {
        self.unpack(bytes_max, &mut std::io::sink())
    }

    fn unpack(&self, bytes_max: u64, to: &mut impl Write) -> Result<u64, Wrong> {
        let failed = |error: std::io::Error| Wrong(format!("{}: {error}", self.name));
        let decoder = zstd::Decoder::new(&self.stored[..]).map_err(failed)?;
        let count = std::io::copy(&mut decoder.take(bytes_max + 1), to).map_err(failed)?;
        match count <= bytes_max {
            true => Ok(count),
            false => wrong(format!("{} has more than {bytes_max} bytes", self.name)),
        }
    }
}

/// The members of a result, whose checksums are right.
///
/// # Errors
/// If it is no such archive, or damaged.
pub fn members(bytes: &[u8]) -> Result<Vec<Member>, Wrong> {
    let mut members = Vec::new();
    each(bytes, |name, mode, crc32, stored| {
        members.push(Member { name: name.to_owned(), mode, crc32, stored });
    })?;
    Ok(members)
}

/// Checks all of a result.
///
/// # Errors
/// See [`members`].
pub fn check(bytes: &[u8]) -> Result<(), Wrong> {
    each(bytes, |_, _, _, _| {})
}

fn each(bytes: &[u8], mut see: impl FnMut(&str, Option<u32>, u32, Vec<u8>)) -> Result<(), Wrong> {
    let failed = |error: zip::result::ZipError| Wrong(format!("the archive: {error}"));
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(failed)?;
    if archive.is_empty() || archive.len() > MEMBERS_MAX {
        return wrong(format!("the archive has {} members", archive.len()));
    }
    // Members that overlap would be more than the archive has.
    let mut left = bytes.len() as u64;
    for at in 0..archive.len() {
        let mut member = archive.by_index_raw(at).map_err(failed)?;
        let name = member.name().to_owned();
        if member.compression() != zip::CompressionMethod::Stored {
            return wrong(format!("{name} is stored in another way than sccache does it"));
        }
        let (mode, crc32, length) = (member.unix_mode(), member.crc32(), member.size());
        left = match left.checked_sub(length) {
            Some(left) => left,
            None => return wrong(format!("{name} is longer than the archive")),
        };
        let mut stored = Vec::with_capacity(length as usize);
        member
            .read_to_end(&mut stored)
            .map_err(|error| Wrong(format!("{name} cannot be read: {error}")))?;
        if stored.len() as u64 != length || crc32fast::hash(&stored) != crc32 {
            return wrong(format!("the checksum of {name} is wrong"));
        }
        see(&name, mode, crc32, stored);
    }
    Ok(())
}

/// A preprocessor entry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Preprocessor {
    /// The version of its format; `None` for one without a byte.
    pub version: Option<u8>,
    /// The keys of results, each with what it depends on.
    pub results: Vec<(String, Vec<Include>)>,
}

/// A file that a result depends on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Include {
    /// Its path.
    pub path: Vec<u8>,
    /// Its digest, as text.
    pub digest: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was modified, in seconds and nanoseconds.
    pub modified: Option<(i64, u32)>,
    /// When it was changed.
    pub changed: Option<(i64, u32)>,
}

/// The version that is known, besides the one before, which has the same form.
const PREPROCESSOR_VERSION: u8 = 1;
/// The least that a result or an include takes.
const RESULT_BYTES_MIN: u64 = 16;
const INCLUDE_BYTES_MIN: u64 = 4 + 8 + 8 + 8 + 2;

impl Preprocessor {
    /// Reads one.
    ///
    /// # Errors
    /// If it is cut short, or counts more than it holds.
    pub fn decode(bytes: &[u8]) -> Result<Preprocessor, Wrong> {
        let Some((&version, rest)) = bytes.split_first() else {
            return Ok(Preprocessor::default());
        };
        if version > PREPROCESSOR_VERSION {
            return wrong(format!("version {version} of the preprocessor cache is not known"));
        }
        let mut reader = Reader { rest };
        reader.u64()?;
        let mut results = Vec::new();
        for _ in 0..reader.count(RESULT_BYTES_MIN)? {
            let key = reader.text()?;
            let mut includes = Vec::new();
            for _ in 0..reader.count(INCLUDE_BYTES_MIN)? {
                includes.push(reader.include()?);
            }
            results.push((key, includes));
        }
        match reader.rest.len() {
            0 => Ok(Preprocessor { version: Some(version), results }),
            more => wrong(format!("the entry has {more} bytes too many")),
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], Wrong> {
        let cut = || Wrong("the entry is cut short".to_owned());
        let count = usize::try_from(count).map_err(|_| cut())?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(cut)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], Wrong> {
        let mut array = [0; COUNT];
        array.copy_from_slice(self.take(COUNT as u64)?);
        Ok(array)
    }

    fn u64(&mut self) -> Result<u64, Wrong> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of things that each take at least `bytes_min`.
    fn count(&mut self, bytes_min: u64) -> Result<u64, Wrong> {
        let count = self.u64()?;
        match count.checked_mul(bytes_min).is_some_and(|bytes| bytes <= self.rest.len() as u64) {
            true => Ok(count),
            false => wrong("the entry counts more than it holds"),
        }
    }

    fn bytes(&mut self) -> Result<Vec<u8>, Wrong> {
        let count = self.u64()?;
        Ok(self.take(count)?.to_vec())
    }

    fn text(&mut self) -> Result<String, Wrong> {
        String::from_utf8(self.bytes()?).or_else(|_| wrong("a digest is no text"))
    }

    fn time(&mut self) -> Result<Option<(i64, u32)>, Wrong> {
        match self.array::<1>()? {
            [0] => Ok(None),
            [1] => {
                let secs = i64::from_le_bytes(self.array()?);
                Ok(Some((secs, u32::from_le_bytes(self.array()?))))
            }
            [other] => wrong(format!("{other} is neither a time nor none")),
        }
    }

    fn include(&mut self) -> Result<Include, Wrong> {
        let kind = u32::from_le_bytes(self.array()?);
        if kind != 0 {
            return wrong("a path is none of Unix");
        }
        Ok(Include {
            path: self.bytes()?,
            digest: self.text()?,
            bytes: self.u64()?,
            modified: self.time()?,
            changed: self.time()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of one member, called `obj`, and where its directory begins.
    fn archive(stored: &[u8]) -> (Vec<u8>, usize) {
        let count = (stored.len() as u32).to_le_bytes();
        let check = crc32fast::hash(stored).to_le_bytes();
        let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0][..], &check, &count, &count].concat();
        let mut bytes = [b"PK\x03\x04", &common[..], &[3, 0, 0, 0], b"obj", stored].concat();
        let at = bytes.len();
        bytes.extend([b"PK\x01\x02\x2e\x03", &common[..], &[3, 0, 0, 0], &[0; 6]].concat());
        bytes.extend((0o100_640_u32 << 16).to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(b"obj");
        let length = (bytes.len() - at) as u32;
        bytes.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
        bytes.extend(length.to_le_bytes());
        bytes.extend((at as u32).to_le_bytes());
        bytes.extend([0, 0]);
        (bytes, at)
    }

    #[test]
    fn members_have_names_modes_and_bytes() {
        let packed = zstd::encode_all(&b"an object"[..], 3).unwrap();
        let (bytes, _) = archive(&packed);
        let members = members(&bytes).unwrap();
        let [member] = &members[..] else { panic!("{members:?}") };
        assert_eq!((&*member.name, member.mode), ("obj", Some(0o100_640)));
        assert_eq!((member.read(9).unwrap(), member.count(9)), (b"an object".to_vec(), Ok(9)));
        assert!(member.read(8).is_err() && member.count(8).is_err(), "a bound is kept");
        assert_eq!(check(&bytes), Ok(()));
    }

    #[test]
    fn what_is_not_as_sccache_makes_it_is_refused() {
        let packed = zstd::encode_all(&b"an object"[..], 3).unwrap();
        let (whole, at) = archive(&packed);
        for length in 0..whole.len() {
            assert!(check(&whole[..length]).is_err(), "{length}");
        }
        // The checksum, the way to compress, the length.
        for (place, what) in [(16, "checksum"), (10, ""), (20, ""), (24, "")] {
            let mut bytes = whole.clone();
            bytes[at + place] ^= 8;
            let wrong = check(&bytes).unwrap_err();
            assert!(wrong.0.contains(what), "{place}: {wrong}");
        }
        let mut flipped = whole.clone();
        flipped[at - 1] ^= 1;
        assert!(check(&flipped).unwrap_err().0.contains("checksum of obj"));
    }

    #[test]
    fn preprocessor_entries_hold_what_they_count() {
        assert_eq!(Preprocessor::decode(&[]), Ok(Preprocessor::default()));
        let mut bytes = vec![1];
        for number in [1u64, 1, 2] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(b"ab");
        bytes.extend(1u64.to_le_bytes());
        bytes.extend([0; 4]);
        for text in [&b"/a.h"[..], b"digest"] {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text);
        }
        bytes.extend(7u64.to_le_bytes());
        bytes.push(1);
        bytes.extend(5i64.to_le_bytes());
        bytes.extend(6u32.to_le_bytes());
        bytes.push(0);
        let entry = Preprocessor::decode(&bytes).unwrap();
        let [(key, includes)] = &entry.results[..] else { panic!("{entry:?}") };
        assert_eq!(
            (&**key, &*includes[0].path, &*includes[0].digest),
            ("ab", &b"/a.h"[..], "digest")
        );
        assert_eq!((includes[0].bytes, includes[0].modified), (7, Some((5, 6))));
        assert_eq!(includes[0].changed, None);
        for length in 1..bytes.len() {
            assert!(Preprocessor::decode(&bytes[..length]).is_err(), "{length}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert!(Preprocessor::decode(&longer).unwrap_err().0.contains("too many"));
        // Counts far above what there is.
        for at in [9, 17, 27] {
            let mut many = bytes.clone();
            many[at..at + 8].fill(0x7f);
            assert!(Preprocessor::decode(&many).is_err(), "{at}");
        }
        bytes[0] = 2;
        assert!(Preprocessor::decode(&bytes).unwrap_err().0.contains("version 2"));
    }
}
