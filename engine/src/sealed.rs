//! A sealed store: a directory that was exported, and is read as it is.
//!
//! ```text
//! DIRECTORY/manifest          what it consists of
//! DIRECTORY/pieces/HEX        a piece, named by the BLAKE3 of its bytes
//!
//! manifest    = "larder-export 1\n" records superblock index segment* end signature?
//! records     = "records " number "\n"
//! superblock  = "superblock " HEX " " bytes "\n"
//! index       = "index " HEX " " bytes "\n"
//! segment     = "segment " id " " HEX " " bytes "\n"      in ascending order of ids
//! end         = "end " HEX "\n"                           the BLAKE3 of all lines before
//! signature   = "signature " text "\n"                    what the signer of `end` says
//! ```
//!
//! 1. The pieces are the files of a store at rest: a superblock without a kernel, an index that has
//!    every segment, sealed segments. So it is opened and read as any store, by names that the
//!    manifest gives; nobody writes to it.
//! 2. Names are digits only, so that none leads out of the directory.
//! 3. A piece that is missing or damaged costs misses, as it does in any store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::{Device, Env, File, FileSizes, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::index;
use crate::key::Key;
use crate::limits::SEGMENT_ID_MAX;
use crate::log;
use crate::superblock;

/// Name of the manifest in the directory.
pub const MANIFEST_NAME: &str = "manifest";

/// Name of the directory of pieces.
pub const PIECES_NAME: &str = "pieces";

const FIRST_LINE: &str = "larder-export 1";
const FIRST_WORD: &str = "larder-export ";

/// What is read at once to check a piece.
const READ_BYTES: usize = 1 << 20;

/// Four hundred thousand pieces.
const MANIFEST_BYTES_MAX: u64 = 32 << 20;

/// A file of a sealed store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// BLAKE3 of its bytes.
    pub hash: Key,
    /// Its length.
    pub bytes: u64,
}

impl Piece {
    /// The piece with these contents.
    pub fn of(bytes: &[u8]) -> Piece {
        Piece { hash: Key::of(bytes), bytes: bytes.len() as u64 }
    }

    /// Where it stands below the directory of the store.
    pub fn path(&self, top: &Path) -> PathBuf {
        top.join(PIECES_NAME).join(self.hash.to_string())
    }

    /// Whether it is there, byte for byte.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn is_whole(&self, env: &dyn Env, top: &Path) -> Result<bool> {
        let file = match env.open(&self.path(top), OpenMode::Read) {
            Err(error) if error.is_not_found() => return Ok(false),
            other => other?,
        };
        if file.sizes()?.len_bytes != self.bytes {
            return Ok(false);
        }
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; READ_BYTES];
        for offset in (0..self.bytes).step_by(READ_BYTES) {
            let wanted = (self.bytes - offset).min(READ_BYTES as u64) as usize;
            match file.read_at(&mut buffer[..wanted], offset) {
                Ok(count) if count == wanted => hasher.update(&buffer[..count]),
                Err(error) if !error.is_unreadable() => return Err(error),
                _ => return Ok(false),
            };
        }
        Ok(hasher.finalize().as_bytes() == self.hash.as_bytes())
    }
}

/// What a sealed store consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Records that can be found.
    pub records: u64,
    /// The superblock.
    pub superblock: Piece,
    /// The index.
    pub index: Piece,
    /// The segments by their ids.
    pub segments: BTreeMap<u32, Piece>,
    /// Who has signed [`Manifest::digest`], and how; nobody if it is empty. The engine does not
    /// look at it.
    pub signature: String,
}

impl Manifest {
    /// All pieces, the index last.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        self.segments.values().copied().chain([self.superblock, self.index])
    }

    fn lines(&self) -> String {
        let file = |piece: &Piece| format!("{} {}", piece.hash, piece.bytes);
        let mut text = format!("{FIRST_LINE}\nrecords {}\n", self.records);
        text.push_str(&format!("superblock {}\n", file(&self.superblock)));
        text.push_str(&format!("index {}\n", file(&self.index)));
        for (id, piece) in &self.segments {
            text.push_str(&format!("segment {id} {}\n", file(piece)));
        }
        text
    }

    /// What a signature is made of: the digest of everything else.
    pub fn digest(&self) -> Key {
        Key::of(self.lines().as_bytes())
    }

    /// The file.
    pub fn encode(&self) -> String {
        let mut text = format!("{}end {}\n", self.lines(), self.digest());
        if !self.signature.is_empty() {
            text.push_str(&format!("signature {}\n", self.signature));
        }
        text
    }

    /// The manifest in a file's bytes.
    ///
    /// # Errors
    /// `NotAStore` if it is something else, `NewerFormat`, `Corrupt`.
    pub fn decode(bytes: &[u8]) -> Result<Manifest> {
        let not_a_store = || Error::new(ErrorKind::NotAStore, "the manifest is none of a store");
        let text = std::str::from_utf8(bytes).map_err(|_| not_a_store())?;
        let first = text.lines().next().unwrap_or_default();
        if first != FIRST_LINE {
            let is_newer = first
                .strip_prefix(FIRST_WORD)
                .is_some_and(|number| number.parse::<u32>().is_ok_and(|number| number > 1));
            return Err(match is_newer {
                true => Error::new(ErrorKind::NewerFormat, "a newer larder has exported this"),
                false => not_a_store(),
            });
        }
        let manifest = parse(text).ok_or_else(|| Error::corrupt("the manifest is damaged"))?;
        // One way to write it: what is signed is what is read.
        match manifest.encode() == text {
            true => Ok(manifest),
            false => Err(Error::corrupt("the manifest is damaged")),
        }
    }

    /// The manifest of the sealed store in a directory, `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be read; see [`Manifest::decode`].
    pub fn read(env: &dyn Env, top: &Path) -> Result<Option<Manifest>> {
        let path = top.join(MANIFEST_NAME);
        let file = match env.open(&path, OpenMode::Read) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let bytes = file.sizes()?.len_bytes;
        if bytes > MANIFEST_BYTES_MAX {
            return Err(Error::new(ErrorKind::NotAStore, "the manifest is too long").at_path(&path));
        }
        let mut text = vec![0; bytes as usize];
        let count = file.read_at(&mut text, 0)?;
        text.truncate(count);
        Manifest::decode(&text).map(Some).map_err(|error| error.at_path(&path))
    }
}

fn parse(text: &str) -> Option<Manifest> {
    let mut lines = text.lines().skip(1);
    let mut value = |word: &str| lines.next()?.strip_prefix(word)?.strip_prefix(' ');
    let records = value("records")?.parse().ok()?;
    let superblock = parse_piece(value("superblock")?)?;
    let index = parse_piece(value("index")?)?;
    let mut segments = BTreeMap::new();
    let mut signature = String::new();
    for line in lines {
        let (word, value) = line.split_once(' ')?;
        match word {
            "segment" => {
                let (id, piece) = value.split_once(' ')?;
                let id = id.parse().ok().filter(|id| (1..SEGMENT_ID_MAX).contains(id))?;
                segments.insert(id, parse_piece(piece)?);
            }
            // Compared when all of it is written again.
            "end" => {}
            "signature" => signature = value.to_owned(),
            _ => return None,
        }
    }
    Some(Manifest { records, superblock, index, segments, signature })
}

fn parse_piece(text: &str) -> Option<Piece> {
    let (hash, bytes) = text.split_once(' ')?;
    Some(Piece { hash: Key::from_hex(hash)?, bytes: bytes.parse().ok()? })
}

/// The files of a sealed store under the names that they have in any other. Paths elsewhere lead
/// where they always do.
#[derive(Debug)]
pub struct SealedEnv {
    below: Arc<dyn Env>,
    top: PathBuf,
    files: BTreeMap<PathBuf, Piece>,
    segments: Vec<String>,
}

impl SealedEnv {
    /// The environment in which the sealed store in a directory can be opened.
    pub fn new(below: Arc<dyn Env>, top: &Path, manifest: &Manifest) -> SealedEnv {
        let log = top.join(log::DIRECTORY_NAME);
        let segments = manifest.segments.iter();
        let mut files: BTreeMap<PathBuf, Piece> =
            segments.map(|(id, piece)| (log.join(log::name_of(*id)), *piece)).collect();
        files.insert(top.join(superblock::FILE_NAME), manifest.superblock);
        files.insert(top.join(index::FILE_NAME), manifest.index);
        let segments = manifest.segments.keys().map(|id| log::name_of(*id)).collect();
        SealedEnv { below, top: top.to_owned(), files, segments }
    }

    /// Whether a path is none of the store's.
    fn is_elsewhere(&self, path: &Path) -> bool {
        !path.starts_with(&self.top)
    }

    fn piece(&self, path: &Path) -> Result<PathBuf> {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let piece = self.files.get(path).ok_or_else(|| Error::io("open", missing).at_path(path))?;
        Ok(piece.path(&self.top))
    }
}

fn refused<T>(path: &Path) -> Result<T> {
    Err(Error::new(ErrorKind::ReadOnly, "a sealed store is only read").at_path(path))
}

impl Env for SealedEnv {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        match mode {
            _ if self.is_elsewhere(path) => self.below.open(path, mode),
            OpenMode::Read => self.below.open(&self.piece(path)?, mode),
            _ => refused(path),
        }
    }

    fn create_dir(&self, path: &Path, mode: u32) -> Result<()> {
        if self.is_elsewhere(path) { self.below.create_dir(path, mode) } else { refused(path) }
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        if self.is_elsewhere(path) {
            return self.below.list(path);
        }
        match path == self.top.join(log::DIRECTORY_NAME) {
            true => Ok(self.segments.clone()),
            false => Ok([superblock::FILE_NAME, index::FILE_NAME, log::DIRECTORY_NAME]
                .map(str::to_owned)
                .to_vec()),
        }
    }

    fn remove(&self, path: &Path) -> Result<()> {
        if self.is_elsewhere(path) { self.below.remove(path) } else { refused(path) }
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        match self.is_elsewhere(from) && self.is_elsewhere(to) {
            true => self.below.rename(from, to),
            false => refused(from),
        }
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<()> {
        if self.is_elsewhere(path) { self.below.set_mode(path, mode) } else { refused(path) }
    }

    fn sizes(&self, path: &Path) -> Result<FileSizes> {
        match self.is_elsewhere(path) {
            true => self.below.sizes(path),
            false => self.below.sizes(&self.piece(path)?),
        }
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        if self.is_elsewhere(path) { self.below.sync_dir(path) } else { Ok(()) }
    }

    fn canonical(&self, path: &Path) -> Result<PathBuf> {
        self.below.canonical(path)
    }

    fn device(&self, path: &Path) -> Device {
        self.below.device(path)
    }

    fn copies_on_write(&self, path: &Path) -> bool {
        self.below.copies_on_write(path)
    }

    fn boot_id(&self) -> [u8; 16] {
        self.below.boot_id()
    }

    fn now_secs(&self) -> u64 {
        self.below.now_secs()
    }

    fn monotonic_ms(&self) -> u64 {
        self.below.monotonic_ms()
    }

    fn sleep_us(&self, microseconds: u64) {
        self.below.sleep_us(microseconds);
    }

    fn random(&self) -> u64 {
        self.below.random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let piece = |text: &str| Piece::of(text.as_bytes());
        Manifest {
            records: 7,
            superblock: piece("s"),
            index: piece("i"),
            segments: [(1, piece("one")), (20, piece("two"))].into(),
            signature: String::new(),
        }
    }

    #[test]
    fn a_manifest_is_what_was_written_and_nothing_else() {
        let mut manifest = manifest();
        let text = manifest.encode();
        assert_eq!(Manifest::decode(text.as_bytes()).unwrap(), manifest);
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(Manifest::decode(&bytes).is_err(), "byte {at}");
            assert!(Manifest::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(Manifest::decode(format!("{text}\n").as_bytes()).is_err());
        let digest = manifest.digest();
        manifest.signature = "somebody 00ff".to_owned();
        assert_eq!(Manifest::decode(manifest.encode().as_bytes()).unwrap(), manifest);
        assert_eq!(manifest.digest(), digest);
    }

    #[test]
    fn what_is_newer_or_something_else_is_told() {
        let kind = |text: &str| Manifest::decode(text.as_bytes()).unwrap_err().kind();
        assert_eq!(kind("larder-export 2\n"), ErrorKind::NewerFormat);
        assert_eq!(kind("{}"), ErrorKind::NotAStore);
        assert_eq!(kind("larder-export 1\n"), ErrorKind::Corrupt);
        let upwards = manifest().encode().replace("segment 1 ", "segment 0 ");
        assert_eq!(kind(&upwards), ErrorKind::Corrupt);
    }
}
