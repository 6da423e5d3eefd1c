//! What a manifest says: files with what they were, and results with which of these they need.

use super::reader::Reader;
use super::{Checked, Entry, Kind, Wrong};

/// A manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// The version of the contents.
    pub version: u8,
    /// Paths of files.
    pub paths: Vec<Vec<u8>>,
    /// What some file was.
    pub infos: Vec<Info>,
    /// Which infos lead to which result; the newest comes last.
    pub results: Vec<(Vec<u32>, [u8; 20])>,
}

/// What a file was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// Which of the paths.
    pub path: u32,
    /// Its digest.
    pub digest: [u8; 20],
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was modified, in nanoseconds since 1970 (before 4.7: seconds); 0 is not recorded.
    pub modified: i64,
    /// When it was changed, in the same way.
    pub changed: i64,
}

const INFO_BYTES: u64 = 4 + 20 + 3 * 8;
const RESULT_BYTES_MIN: u64 = 4 + 20;

impl Manifest {
    /// Reads it.
    ///
    /// # Errors
    /// If the entry is no manifest, or does not hold what it counts.
    pub fn decode(entry: &Entry) -> Checked<Manifest> {
        if entry.kind != Kind::Manifest {
            return Err(Wrong::new("it is a result, no manifest"));
        }
        let mut reader = Reader::new(&entry.contents);
        let version = if entry.has_content_version() { reader.u8()? } else { entry.version };
        if entry.has_content_version() && version > 1 {
            let what = format!("version {version} of the manifest format is not known");
            return Err(Wrong::new(what));
        }
        let mut paths = Vec::new();
        for _ in 0..reader.count(2)? {
            let bytes = reader.u16()?;
            paths.push(reader.take(u64::from(bytes))?.to_vec());
        }
        let mut infos = Vec::new();
        for _ in 0..reader.count(INFO_BYTES)? {
            infos.push(Info {
                path: index(reader.u32()?, paths.len())?,
                digest: reader.digest()?,
                bytes: reader.u64()?,
                modified: reader.i64()?,
                changed: reader.i64()?,
            });
        }
        let mut results = Vec::new();
        for _ in 0..reader.count(RESULT_BYTES_MIN)? {
            let mut needs = Vec::new();
            for _ in 0..reader.count(4)? {
                needs.push(index(reader.u32()?, infos.len())?);
            }
            results.push((needs, reader.digest()?));
        }
        reader.end()?;
        Ok(Manifest { version, paths, infos, results })
    }
}

fn index(number: u32, count: usize) -> Checked<u32> {
    match (number as usize) < count {
        true => Ok(number),
        false => Err(Wrong::new("the manifest names what it does not hold")),
    }
}
