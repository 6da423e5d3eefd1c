//! Exporting: what a store has as a [sealed store](crate::sealed), in pieces that stay what they
//! are.
//!
//! 1. Records go into pieces in the order of their time and key, and their keys decide where a
//!    piece ends. So the same records make the same pieces, in whatever order they were put, and
//!    newer ones make other pieces behind those.
//! 2. Pieces of an earlier export in the same directory stay, whole and under their ids, if they
//!    are whole and at least three quarters of them are still wanted; what of them is not is in no
//!    index.
//! 3. A piece is written beside its place and renamed, the manifest last: an export that is killed
//!    leaves the earlier one as it was, and goes on from what it has written.
//! 4. Bodies leave as they do for other machines, each checked in full.

mod piece;
mod target;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use piece::Part;
pub use target::Taker;
use target::{Folder, Stream, Target};

use crate::checksum::xxh3_128;
use crate::env::{LockByte, LockTable};
use crate::error::{Error, ErrorKind, Result};
use crate::format::body::Head;
use crate::format::frame::FRAME_BYTES;
use crate::format::index::IndexEntry;
use crate::format::superblock::{FILE_BYTES, Superblock};
use crate::handle::Handle;
use crate::job::Job;
use crate::key::Key;
use crate::limits::{
    EXPORT_EPOCH, EXPORT_SEGMENT_BYTES, EXPORT_SEGMENTS_MAX, EXPORT_WAIT_MS_MAX, PAGE_BYTES,
};
use crate::location::Location;
use crate::log::Segment;
use crate::sealed::{Manifest, Piece};
use crate::snapshot::{self, Snapshot};

/// The store that every exported segment is of: so that pieces can be in many exports.
const UUID: [u8; 16] = *b"larder exported ";

/// What is exported, and how.
#[derive(Default)]
pub struct Export<'a> {
    /// Only what this job got and put.
    pub job: Option<&'a str>,
    /// For what stands uncompressed on block boundaries.
    pub zstd_level: i32,
    /// Signs the digest of the manifest.
    pub sign: Option<&'a dyn Fn(&Key) -> String>,
}

/// What an export did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exported {
    /// Records that can be found in it.
    pub records: u64,
    /// Bytes of their bodies.
    pub record_bytes: u64,
    /// Pieces, with superblock and index.
    pub pieces: u64,
    /// Bytes of all pieces.
    pub bytes: u64,
    /// Pieces that were not there before.
    pub new_pieces: u64,
    /// Bytes of these.
    pub new_bytes: u64,
    /// Pieces that were there, and are not wanted any more.
    pub removed_pieces: u64,
    /// Records that are damaged and therefore left out.
    pub damaged: u64,
}

/// A record that is to be in the export.
struct Wanted {
    created_secs: u64,
    key: Key,
    location: Location,
    body_bytes: u64,
    /// Digest of the head, which has those of all sections.
    identity: u128,
    /// Where it stands in the export.
    placed: Option<Location>,
}

/// An export in the making.
struct Making<'a> {
    target: Box<dyn Target + 'a>,
    done: Exported,
}

/// Exports a store to a directory, which is made if it is missing.
///
/// # Errors
/// `NotAStore` if the directory holds something else, `Limit` if the job is not known or its set is
/// full, `Busy` if somebody exports there, `Io`, `Full`.
pub fn export(
    handle: &Arc<Handle>,
    to: &Path,
    how: &Export<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Exported> {
    let target = Folder::open(&handle.env, to, &handle.options)?;
    let locks = LockTable::open(&handle.env, to, handle.options.file_mode)?;
    let _lock = locks.lock(LockByte::Janitor, EXPORT_WAIT_MS_MAX)?;
    make(handle, Box::new(target), how, progress)
}

/// Exports a store to somebody who takes its files: their names, and their bytes.
///
/// # Errors
/// `Limit` if the job is not known or its set is full, `Io`.
pub fn stream(
    handle: &Arc<Handle>,
    to: &mut Taker<'_>,
    how: &Export<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Exported> {
    make(handle, Box::new(Stream(to)), how, progress)
}

fn make(
    handle: &Arc<Handle>,
    target: Box<dyn Target + '_>,
    how: &Export<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Exported> {
    let mut making = Making { target, done: Exported::default() };
    let job = how.job.map(|id| job_of(handle, id)).transpose()?;
    let snapshot = snapshot::take(handle)?;
    let mut wanted = wanted(&snapshot, job.as_ref(), how, &mut making.done, progress)?;
    let mut segments = making.target.retain(&mut wanted)?;
    making.add(&snapshot, how, &mut wanted, &mut segments, progress)?;
    making.finish(&wanted, segments, how)?;
    Ok(making.done)
}

fn job_of(handle: &Handle, id: &str) -> Result<Job> {
    let unknown = |what: &str| Error::new(ErrorKind::Limit, format!("{what} {id}"));
    let job = handle.job(id)?.ok_or_else(|| unknown("there is no job"))?;
    match job.is_full() {
        true => Err(unknown("too much was used to be noted by job")),
        false => Ok(job),
    }
}

/// What is to be exported, in the order of the log.
fn wanted(
    snapshot: &Snapshot,
    job: Option<&Job>,
    how: &Export<'_>,
    done: &mut Exported,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<Wanted>> {
    let places = snapshot.places();
    let mut wanted = Vec::with_capacity(places.len());
    for (number, location) in places.iter().enumerate() {
        progress(number as u64, 2 * places.len() as u64);
        let record = match snapshot.record_at(*location) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            Err(error) if error.is_unreadable() => {
                done.damaged += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        if job.is_some_and(|job| !job.has(&record.key())) {
            continue;
        }
        let (key, created_secs) = (record.key(), record.created_secs());
        let mut found = |body_bytes, identity| {
            wanted.push(Wanted {
                created_secs,
                key,
                location: *location,
                body_bytes,
                identity,
                placed: None,
            });
        };
        if !record.head().cloneable {
            let identity = identity(record.segment(), *location, record.head())?;
            found(record.head().body_bytes, identity);
            continue;
        }
        // What leaves the machine is another body.
        match record.portable_body(how.zstd_level).and_then(|body| {
            let head = Head::decode(&body)?;
            Ok((body.len() as u64, xxh3_128(&body[..head.head_bytes as usize])))
        }) {
            Ok((body_bytes, identity)) => found(body_bytes, identity),
            Err(error) if error.is_unreadable() => done.damaged += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(wanted)
}

/// The digest of a record's head as it stands.
fn identity(segment: &Segment, location: Location, head: &Head) -> Result<u128> {
    let at = location.offset() + FRAME_BYTES as u64;
    Ok(xxh3_128(&segment.read(head.head_bytes as usize, at)?))
}

impl Making<'_> {
    /// Writes the pieces for what has no place yet.
    fn add(
        &mut self,
        snapshot: &Snapshot,
        how: &Export<'_>,
        wanted: &mut [Wanted],
        segments: &mut BTreeMap<u32, Piece>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<()> {
        let mut order: Vec<usize> =
            (0..wanted.len()).filter(|at| wanted[*at].placed.is_none()).collect();
        order.sort_unstable_by_key(|at| (wanted[*at].created_secs, wanted[*at].key));
        let mut id = segments.last_key_value().map_or(1, |(id, _)| id + 1);
        let mut written = wanted.len() - order.len();
        let sizes = |at: &usize| (wanted[*at].key, wanted[*at].body_bytes);
        for group in piece::cut(&order, sizes) {
            let mut parts = Vec::with_capacity(group.len());
            let mut by_place = group.to_vec();
            by_place.sort_unstable_by_key(|at| wanted[*at].location);
            for at in by_place {
                written += 1;
                progress((wanted.len() + written) as u64, 2 * wanted.len() as u64);
                let body = snapshot.record_at(wanted[at].location).and_then(|record| {
                    record.map(|record| record.portable_body(how.zstd_level)).transpose()
                });
                match body {
                    Ok(Some(body)) => parts.push((at, body)),
                    // Evicted meanwhile.
                    Ok(None) => {}
                    Err(error) if error.is_unreadable() => self.done.damaged += 1,
                    Err(error) => return Err(error),
                }
            }
            if parts.is_empty() {
                continue;
            }
            if id >= EXPORT_SEGMENTS_MAX {
                let what = "too many pieces: export to an empty directory";
                return Err(Error::new(ErrorKind::Limit, what));
            }
            parts.sort_unstable_by_key(|(at, _)| (wanted[*at].created_secs, wanted[*at].key));
            let made: Vec<Part<'_>> = parts
                .iter()
                .map(|(at, body)| Part {
                    key: wanted[*at].key,
                    kind: wanted[*at].location.kind,
                    created_secs: wanted[*at].created_secs,
                    body,
                })
                .collect();
            let (bytes, places) = piece::assemble(id, &made);
            drop(made);
            parts.iter().zip(places).for_each(|((at, _), place)| wanted[*at].placed = Some(place));
            segments.insert(id, self.write_piece(&bytes)?);
            id += 1;
        }
        Ok(())
    }

    /// Writes index, superblock and manifest, and removes what no manifest names any more.
    fn finish(
        &mut self,
        wanted: &[Wanted],
        segments: BTreeMap<u32, Piece>,
        how: &Export<'_>,
    ) -> Result<()> {
        let next_segment = segments.last_key_value().map_or(1, |(id, _)| id + 1);
        let mut entries: Vec<IndexEntry> = wanted
            .iter()
            .filter_map(|wanted| {
                let place = wanted.placed?.pack();
                Some(IndexEntry { key_prefix: wanted.key.prefix(), place })
            })
            .collect();
        entries.sort_unstable();
        let placed = wanted.iter().filter(|wanted| wanted.placed.is_some());
        self.done.records = entries.len() as u64;
        self.done.record_bytes = placed.clone().map(|wanted| wanted.body_bytes).sum();
        let created_secs = placed.map(|wanted| wanted.created_secs).max().unwrap_or(0);
        let index = self.write_piece(&tree::assemble(UUID, next_segment, &entries))?;
        let superblock = self.write_piece(&superblock(next_segment, created_secs))?;
        let mut manifest = Manifest {
            records: self.done.records,
            superblock,
            index,
            segments,
            signature: String::new(),
        };
        if let Some(sign) = how.sign {
            manifest.signature = sign(&manifest.digest());
        }
        self.done.pieces =
            manifest.pieces().map(|piece| piece.hash).collect::<BTreeSet<_>>().len() as u64;
        self.done.bytes = manifest.pieces().map(|piece| piece.bytes).sum();
        self.done.removed_pieces = self.target.put_manifest(&manifest)?;
        Ok(())
    }

    fn write_piece(&mut self, bytes: &[u8]) -> Result<Piece> {
        let piece = Piece::of(bytes);
        if self.target.put_piece(&piece, bytes)? {
            self.done.new_pieces += 1;
            self.done.new_bytes += piece.bytes;
        }
        Ok(piece)
    }
}

/// The superblock of a sealed store: no kernel has written it, and everything is on the disk.
fn superblock(next_segment: u32, created_secs: u64) -> Vec<u8> {
    let mut bytes = vec![0; FILE_BYTES];
    for generation in 1..=2 {
        let block = Superblock {
            segment_bytes: EXPORT_SEGMENT_BYTES as u32,
            generation,
            uuid: UUID,
            boot_id: [0; 16],
            epoch: EXPORT_EPOCH,
            oldest_live: 1,
            next_segment,
            durable_below: next_segment,
            heartbeat_secs: 0,
            created_secs,
            used_below: next_segment,
            suspect_below: next_segment,
            noted_below: 0,
            noted_secs: 0,
        };
        let at = block.copy_offset() as usize;
        bytes[at..at + PAGE_BYTES].copy_from_slice(&block.encode());
    }
    bytes
}
