//! Where the files of an export go: a directory that may have an earlier one, or somebody who takes
//! them one after the other.
//!
//! 1. In a directory a piece is written beside its place, synced and renamed, the manifest last.
//! 2. Who takes files gets each piece once, in the order in which they are made, and the manifest
//!    last: nothing is read again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::{UUID, Wanted, identity};
use crate::env::{Env, LOCK_FILE_NAME, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::location::Location;
use crate::log::{Log, Segment};
use crate::options::{Options, ReadMode};
use crate::sealed::{MANIFEST_NAME, Manifest, PIECES_NAME, Piece, SealedEnv};

/// What the name of a file begins with that is being written.
const NEW_PREFIX: &str = "new-";

/// Takes the files of an export: the name of each, and its bytes.
pub type Taker<'a> = dyn FnMut(&str, &[u8]) -> std::io::Result<()> + 'a;

/// Where the files of an export go.
pub trait Target {
    /// Finds the pieces of an earlier export that stay.
    fn retain(&self, wanted: &mut [Wanted]) -> Result<BTreeMap<u32, Piece>>;
    /// Puts a piece there; `false` if it was there.
    fn put_piece(&mut self, piece: &Piece, bytes: &[u8]) -> Result<bool>;
    /// Puts the manifest there, when all pieces are; how many pieces are gone by that.
    fn put_manifest(&mut self, manifest: &Manifest) -> Result<u64>;
}

/// Somebody who takes the files.
pub struct Stream<'a>(pub &'a mut Taker<'a>);

/// The directory of an export.
pub struct Folder<'a> {
    env: &'a Arc<dyn Env>,
    top: &'a Path,
    file_mode: u32,
}

impl Stream<'_> {
    fn give(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.0(name, bytes).map_err(|error| Error::io("the export cannot be written", error))
    }
}

impl Target for Stream<'_> {
    fn retain(&self, _wanted: &mut [Wanted]) -> Result<BTreeMap<u32, Piece>> {
        Ok(BTreeMap::new())
    }

    fn put_piece(&mut self, piece: &Piece, bytes: &[u8]) -> Result<bool> {
        self.give(&format!("{PIECES_NAME}/{}", piece.hash), bytes)?;
        Ok(true)
    }

    fn put_manifest(&mut self, manifest: &Manifest) -> Result<u64> {
        self.give(MANIFEST_NAME, manifest.encode().as_bytes())?;
        Ok(0)
    }
}

impl<'a> Folder<'a> {
    /// The directory, made if it is missing; one export at a time may go there.
    pub fn open(env: &'a Arc<dyn Env>, top: &'a Path, options: &Options) -> Result<Folder<'a>> {
        check_target(&**env, top)?;
        env.create_dir(&top.join(PIECES_NAME), options.directory_mode())?;
        Ok(Folder { env, top, file_mode: options.file_mode })
    }

    /// What of a piece is wanted, if it is to stay.
    fn still_wanted(
        &self,
        segment: &Segment,
        piece: Piece,
        wanted: &[Wanted],
        by_key: &HashMap<Key, usize>,
    ) -> Result<Option<Vec<(usize, Location)>>> {
        let (mut found, mut found_bytes, mut bytes) = (Vec::new(), 0, 0);
        for entry in segment.entries()? {
            let record = segment.record_head(entry.location)?;
            bytes += record.head.body_bytes;
            let Some(at) = by_key.get(&record.head.key).copied() else { continue };
            let is_it = wanted[at].placed.is_none()
                && wanted[at].identity == identity(segment, entry.location, &record.head)?;
            if is_it {
                found_bytes += record.head.body_bytes;
                found.push((at, entry.location));
            }
        }
        if found.is_empty() || found_bytes * 4 < bytes * 3 {
            return Ok(None);
        }
        Ok(piece.is_whole(&**self.env, self.top)?.then_some(found))
    }

    /// Writes a file beside its place in a folder, and renames it once it is on the disk.
    fn write_file(&self, path: &Path, folder: &Path, bytes: &[u8]) -> Result<()> {
        let beside = folder.join(format!("{NEW_PREFIX}{:016x}", self.env.random()));
        let file = self.env.open(&beside, OpenMode::CreateNew(self.file_mode))?;
        let written = file
            .write_at(bytes, 0)
            .and_then(|()| file.sync())
            .and_then(|()| self.env.rename(&beside, path));
        if written.is_err() {
            let _ = self.env.remove(&beside);
        }
        written
    }
}

impl Target for Folder<'_> {
    fn retain(&self, wanted: &mut [Wanted]) -> Result<BTreeMap<u32, Piece>> {
        let mut stay = BTreeMap::new();
        let manifest = match Manifest::read(&**self.env, self.top) {
            // Nothing of it can be told to be wanted.
            Err(error) if error.is_unreadable() => return Ok(stay),
            other => other?,
        };
        let Some(manifest) = manifest else { return Ok(stay) };
        let env: Arc<dyn Env> = Arc::new(SealedEnv::new(self.env.clone(), self.top, &manifest));
        let log = Log::new(env, self.top, UUID, false, ReadMode::Pread, Arc::default());
        let by_key: HashMap<Key, usize> =
            wanted.iter().enumerate().map(|(at, wanted)| (wanted.key, at)).collect();
        for (id, piece) in manifest.segments {
            let found = log.segment(id).and_then(|segment| match segment {
                Some(segment) => self.still_wanted(&segment, piece, wanted, &by_key),
                None => Ok(None),
            });
            match found {
                Ok(Some(found)) => {
                    found.into_iter().for_each(|(at, place)| wanted[at].placed = Some(place));
                    stay.insert(id, piece);
                }
                Ok(None) => {}
                Err(error) if error.is_unreadable() => {}
                Err(error) => return Err(error),
            }
            log.forget(id);
        }
        Ok(stay)
    }

    fn put_piece(&mut self, piece: &Piece, bytes: &[u8]) -> Result<bool> {
        let path = piece.path(self.top);
        if self.env.sizes(&path).is_ok_and(|sizes| sizes.len_bytes == piece.bytes) {
            let mut present = vec![0; bytes.len()];
            let file = self.env.open(&path, OpenMode::Read)?;
            if file.read_at(&mut present, 0).is_ok_and(|count| present[..count] == *bytes) {
                return Ok(false);
            }
        }
        self.write_file(&path, &self.top.join(PIECES_NAME), bytes)?;
        Ok(true)
    }

    fn put_manifest(&mut self, manifest: &Manifest) -> Result<u64> {
        let pieces = self.top.join(PIECES_NAME);
        self.env.sync_dir(&pieces)?;
        self.write_file(&self.top.join(MANIFEST_NAME), self.top, manifest.encode().as_bytes())?;
        self.env.sync_dir(self.top)?;
        let named: BTreeSet<String> = manifest.pieces().map(|p| p.hash.to_string()).collect();
        let mut removed = 0;
        for (folder, name) in [(self.top, true), (pieces.as_path(), false)] {
            for file in self.env.list(folder)? {
                let is_old = !name && Key::from_hex(&file).is_some() && !named.contains(&file);
                if is_old || file.starts_with(NEW_PREFIX) {
                    self.env.remove(&folder.join(&file))?;
                    removed += u64::from(is_old);
                }
            }
        }
        Ok(removed)
    }
}

/// Refuses a directory that has something else in it.
fn check_target(env: &dyn Env, to: &Path) -> Result<()> {
    match Manifest::read(env, to) {
        // Nothing of it can be told to be wanted.
        Err(error) if error.is_corrupt() => {}
        other => drop(other?),
    }
    let names = match env.list(to) {
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    };
    let is_ours = |name: &str| {
        [MANIFEST_NAME, PIECES_NAME, LOCK_FILE_NAME].contains(&name) || name.starts_with(NEW_PREFIX)
    };
    match names.iter().find(|name| !is_ours(name)) {
        Some(name) => {
            let what = format!("the directory holds `{name}`, which is no part of an export");
            Err(Error::new(ErrorKind::NotAStore, what).at_path(to))
        }
        None => Ok(()),
    }
}
