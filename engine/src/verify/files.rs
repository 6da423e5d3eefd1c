//! Verifying the small files: superblock, tail, recency bits, counters, and what else lies around.

use std::path::Path;

use super::{Checker, Damage, DamageKind, kind_of, severity};
use crate::clones;
use crate::counters;
use crate::env::{LOCK_FILE_NAME, OpenMode};
use crate::error::{ErrorKind, Result};
use crate::format::superblock::{FILE_BYTES, Superblock};
use crate::format::tail::{TAIL_BYTES, Tail};
use crate::index;
use crate::job;
use crate::limits::{COUNTERS, PAGE_BYTES};
use crate::log;
use crate::recency;
use crate::superblock;

/// A file that looks damaged is read so often.
const TRIES_MAX: usize = 4;

/// Lengths of the counters' file in bytes.
const COUNTERS_BYTES: u64 = (COUNTERS * size_of::<u64>()) as u64;

/// Files of a store that are not the engine's business, or that hold nothing.
const OTHER_FILES: [&str; 2] = ["CACHEDIR.TAG", LOCK_FILE_NAME];

impl Checker<'_> {
    /// The beginning of a file, `None` if it is missing.
    pub(super) fn beginning(&self, name: &str, bytes: usize) -> Result<Option<Vec<u8>>> {
        let file = match self.handle.env.open(&self.handle.path.join(name), OpenMode::Read) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let mut buffer = vec![0; bytes];
        let count = file.read_at(&mut buffer, 0)?;
        buffer.truncate(count);
        Ok(Some(buffer))
    }

    /// The same; what cannot be read is a damage, and as good as missing.
    fn readable(&mut self, name: &str, bytes: usize) -> Result<Option<Vec<u8>>> {
        match self.beginning(name, bytes) {
            Err(error) => {
                let Some(kind) = kind_of(&error) else { return Err(error) };
                self.add_in_file(kind, name, Some(0), &error.to_string());
                Ok(None)
            }
            other => other,
        }
    }

    /// Both copies of the superblock; `None` if there is no valid one.
    pub(super) fn superblock(&mut self) -> Result<Option<Superblock>> {
        let mut last: Vec<(DamageKind, Option<u64>, &str)> = Vec::new();
        let mut newest = None;
        for _ in 0..TRIES_MAX {
            let bytes = self.readable(superblock::FILE_NAME, FILE_BYTES)?.unwrap_or_default();
            newest = match Superblock::decode(&bytes) {
                Ok(block) => Some(block),
                Err(error) if error.kind() == ErrorKind::NewerFormat => return Err(error),
                Err(_) => None,
            };
            last = superblock_damage(&bytes, newest.as_ref());
            // Which writes of another kernel reached the disk is a matter of chance.
            let is_recovered = newest.is_some_and(|b| b.boot_id == self.handle.env.boot_id());
            last.retain(|(kind, ..)| is_recovered || *kind != DamageKind::SuperblockOrder);
            if last.is_empty() || !self.wait() {
                break;
            }
        }
        for (kind, offset, what) in last {
            self.add_in_file(kind, superblock::FILE_NAME, offset, what);
        }
        Ok(newest)
    }

    /// The tail, if it counts.
    pub(super) fn counting_tail(&self, block: &Superblock) -> Result<Option<Tail>> {
        match self.beginning(log::TAIL_FILE_NAME, TAIL_BYTES) {
            Err(error) if kind_of(&error).is_some() => Ok(None),
            bytes => Ok(bytes?
                .and_then(|bytes| Tail::decode(&bytes))
                .filter(|tail| self.counts(tail, block))),
        }
    }

    fn counts(&self, tail: &Tail, block: &Superblock) -> bool {
        tail.epoch == block.epoch
            && tail.boot_id == self.handle.env.boot_id()
            && tail.store.to_le_bytes() == block.uuid[..8]
    }

    /// The tail: void, or valid and in agreement with the superblock.
    pub(super) fn tail(&mut self) -> Result<()> {
        let name = log::TAIL_FILE_NAME;
        let mut what = "";
        for _ in 0..TRIES_MAX {
            let Some(bytes) = self.readable(name, TAIL_BYTES)? else { return Ok(()) };
            // The superblock is written first, so it has what the tail has.
            let block = self.handle.superblock.read()?;
            what = match Tail::decode(&bytes) {
                None if bytes.iter().all(|byte| *byte == 0) => "",
                None => "the tail has a wrong checksum or impossible numbers",
                Some(tail) if self.counts(&tail, &block) && tail.last >= block.next_segment => {
                    "the tail names a segment that the superblock does not know"
                }
                Some(_) => "",
            };
            if what.is_empty() {
                return Ok(());
            }
            if !self.wait() {
                break;
            }
        }
        self.add_in_file(DamageKind::Tail, name, Some(0), what);
        Ok(())
    }

    /// Lengths of the files that have no checksums, and files that do not belong there.
    pub(super) fn files(&mut self) -> Result<()> {
        let is_right = |bytes: u64| bytes <= recency::FILE_BYTES_MAX;
        self.length(DamageKind::Recency, recency::FILE_NAME, is_right)?;
        let is_right = |bytes: u64| bytes == 0 || bytes == COUNTERS_BYTES;
        self.length(DamageKind::Counters, counters::FILE_NAME, is_right)?;
        let found = self.strange_files()?;
        if found.is_empty() {
            return Ok(());
        }
        // Others may just have been making or removing one.
        self.handle.env.sleep_us(20_000);
        let again = self.strange_files()?;
        for damage in found.into_iter().filter(|damage| again.contains(damage)) {
            self.add(damage, |report| &mut report.leftovers);
        }
        Ok(())
    }

    fn length(
        &mut self,
        kind: DamageKind,
        name: &str,
        is_right: impl Fn(u64) -> bool,
    ) -> Result<()> {
        if self.readable(name, 1)?.is_none() {
            return Ok(());
        }
        let sizes = self.handle.env.sizes(&self.handle.path.join(name));
        let bytes = sizes.map_or(0, |sizes| sizes.len_bytes);
        if !is_right(bytes) {
            self.add_in_file(kind, name, None, &format!("the file has {bytes} bytes"));
        }
        Ok(())
    }

    /// The names in a directory; one that cannot be listed is told once.
    fn names(&mut self, directory: &Path, file: &str) -> Result<Vec<String>> {
        match self.handle.env.list(directory) {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => {
                let Some(kind) = kind_of(&error) else { return Err(error) };
                let damaged = &self.findings.report.damaged;
                if !damaged.iter().any(|damage| damage.file == file) {
                    self.add_in_file(kind, file, None, &error.to_string());
                }
                Ok(Vec::new())
            }
            names => names,
        }
    }

    fn strange_files(&mut self) -> Result<Vec<Damage>> {
        let handle = self.handle;
        let strange = |kind: DamageKind, file: String, segment, what: &str| {
            let (what, severity) = (what.to_string(), severity(kind, false));
            Damage { kind, file, segment, offset: None, key: None, what, severity }
        };
        let mut found = Vec::new();
        let known = [
            superblock::FILE_NAME,
            log::TAIL_FILE_NAME,
            index::FILE_NAME,
            log::DIRECTORY_NAME,
            recency::FILE_NAME,
            counters::FILE_NAME,
            clones::FILE_NAME,
        ];
        for name in self.names(&handle.path, ".")? {
            let is_known = known.iter().chain(&OTHER_FILES).any(|known| *known == name);
            let prefixes = ["digests-", "calls-", job::FILE_PREFIX];
            let is_prefixed = prefixes.iter().any(|p| name.starts_with(p));
            if !is_known && !is_prefixed {
                found.push(strange(DamageKind::UnknownFile, name, None, "no file of a store"));
            }
        }
        let names = self.names(&handle.path.join(log::DIRECTORY_NAME), log::DIRECTORY_NAME)?;
        // Read after the names: a segment that it does not know is not in use.
        let block = handle.superblock.read()?;
        for name in names {
            let file = format!("{}/{name}", log::DIRECTORY_NAME);
            let (kind, segment, what) = match log::id_of(&name) {
                Some(id) if name != log::name_of(id) => {
                    (DamageKind::UnknownFile, None, "no segment")
                }
                Some(id) if id < block.oldest_live => {
                    (DamageKind::LeftSegment, Some(id), "the segment was evicted")
                }
                Some(id) if id >= block.next_segment => {
                    (DamageKind::EarlySegment, Some(id), "the segment is not in use")
                }
                Some(_) => continue,
                None => (DamageKind::UnknownFile, None, "no segment"),
            };
            found.push(strange(kind, file, segment, what));
        }
        found.sort_by(|a, b| a.file.cmp(&b.file));
        Ok(found)
    }
}

/// What is wrong with the copies of the superblock, of which `newest` is the one that counts.
fn superblock_damage(
    bytes: &[u8],
    newest: Option<&Superblock>,
) -> Vec<(DamageKind, Option<u64>, &'static str)> {
    let Some(newest) = newest else {
        return vec![(DamageKind::SuperblockLost, Some(0), "no copy of the superblock is valid")];
    };
    let copies = [0, PAGE_BYTES].map(|offset| {
        let copy = bytes.get(offset..bytes.len().min(offset + PAGE_BYTES)).unwrap_or_default();
        Superblock::decode(copy).ok().filter(|block| block.copy_offset() == offset as u64)
    });
    let mut found = Vec::new();
    for (number, copy) in copies.iter().enumerate() {
        if copy.is_none() {
            let what = "one of the two copies of the superblock is damaged";
            found.push((DamageKind::SuperblockCopy, Some((number * PAGE_BYTES) as u64), what));
        }
    }
    let [Some(first), Some(second)] = copies else { return found };
    let is_next = first.generation.abs_diff(second.generation) == 1
        && (first.uuid, first.segment_bytes) == (second.uuid, second.segment_bytes);
    if !is_next {
        let offset = u64::from(first.generation == newest.generation) * PAGE_BYTES as u64;
        let what = "the two copies of the superblock cannot follow each other";
        found.push((DamageKind::SuperblockOrder, Some(offset), what));
    }
    found
}
