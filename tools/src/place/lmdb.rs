//! A database of LMDB: one file that holds a whole cache, for those who want a few inodes and no
//! other program. docs/formats/lmdb.md is the same for people.
//!
//! ```text
//! entries     name -> bytes of the file                        what a tool would look up
//! attributes  name -> u64 bytes, i64 seconds, u32 nanoseconds, u16 mode, u8 flags, u8 level
//! name        = leaf | "sccache/" hex64 | "preprocessor/" hex64
//! flags       = 1 (there is a time) + 2 (there is a mode); level 255 is none
//! ```
//!
//! Numbers are little-endian; leaves are those of [`layout`](crate::layout). A batch is written by
//! one transaction; the file is synchronised once, at the end: after a power cut in between it has
//! to be made anew, after a kill not.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use heed::types::{Bytes, Str};
use heed::{Database, Env, EnvFlags, EnvOpenOptions, WithoutTls};

use super::directory::same;
use super::{Fault, Finished, Item, Listed, Outgoing, Presence, Source, Stamp, Target, Trouble};
use crate::entry::{Entry, Family, Name, Part, Time};
use crate::layout::{is_raw, leaf, lmdb_pages, name_of, parse_leaf};

/// Addresses that the map may take: of the disk only what is used is taken.
const MAP_BYTES: usize = 1 << 40;
/// Both databases.
const DATABASES: u32 = 2;
/// Looks at a database that seems damaged.
const LOOKS_MAX: u32 = 3;
const READERS_MAX: u32 = 126;
const ATTRIBUTES_BYTES: usize = 8 + 8 + 4 + 2 + 1 + 1;
const HAS_TIME: u8 = 1;
const HAS_MODE: u8 = 2;
const NO_LEVEL: u8 = u8::MAX;

type Bytesed = Database<Str, Bytes>;

/// What the second database says of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Attributes {
    bytes: u64,
    modified: Option<Time>,
    mode: Option<u16>,
    level: Option<u8>,
}

impl Attributes {
    fn encode(&self) -> [u8; ATTRIBUTES_BYTES] {
        let mut bytes = [0; ATTRIBUTES_BYTES];
        let time = self.modified.unwrap_or_default();
        bytes[..8].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&time.secs.to_le_bytes());
        bytes[16..20].copy_from_slice(&time.nanos.to_le_bytes());
        bytes[20..22].copy_from_slice(&self.mode.unwrap_or_default().to_le_bytes());
        bytes[22] = if self.modified.is_some() { HAS_TIME } else { 0 }
            + if self.mode.is_some() { HAS_MODE } else { 0 };
        bytes[23] = self.level.unwrap_or(NO_LEVEL);
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Attributes> {
        let bytes: &[u8; ATTRIBUTES_BYTES] = bytes.try_into().ok()?;
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (secs, rest) = rest.split_first_chunk::<8>()?;
        let (nanos, rest) = rest.split_first_chunk::<4>()?;
        let &[mode_low, mode_high, flags, level] = rest else { return None };
        let nanos = u32::from_le_bytes(*nanos).min(999_999_999);
        let time = Time { secs: i64::from_le_bytes(*secs), nanos };
        let mode = u16::from_le_bytes([mode_low, mode_high]) & 0o7777;
        Some(Attributes {
            bytes: u64::from_le_bytes(*length),
            modified: (flags & HAS_TIME != 0).then_some(time),
            mode: (flags & HAS_MODE != 0).then_some(mode),
            level: (level != NO_LEVEL).then_some(level),
        })
    }
}

/// The name of a file in the database.
fn key(name: &Name, label: &str) -> String {
    match name.family {
        Family::Sccache => format!("sccache/{}", name.text),
        Family::SccachePreprocessor => format!("preprocessor/{}", name.text),
        _ => leaf(name, label),
    }
}

fn parse_key(key: &str) -> Option<(Name, &str)> {
    match key.split_once('/') {
        Some(("sccache", text)) => Some((name_of(Family::Sccache, text)?, "")),
        Some(("preprocessor", text)) => Some((name_of(Family::SccachePreprocessor, text)?, "")),
        Some(_) => None,
        None => parse_leaf(key, Family::Ccache).filter(|(name, _)| name.family.is_of_ccache()),
    }
}

/// The environment at a path: a directory with `data.mdb`, or that file itself.
fn open(path: &Path, flags: EnvFlags) -> Result<Env<WithoutTls>, Fault> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(MAP_BYTES).max_dbs(DATABASES).max_readers(READERS_MAX);
    // A name alone has no directory that could be looked at.
    let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let is_folder = path.is_dir();
    let flags = if is_folder { flags } else { flags | EnvFlags::NO_SUB_DIR };
    let is_written = !flags.contains(EnvFlags::READ_ONLY);
    check(&if is_folder { path.join("data.mdb") } else { path.clone() }, is_written)?;
    // SAFETY: LMDB maps its file, and whoever opens it agrees that only LMDB changes it, under its
    // locks; docs/formats/lmdb.md says so. One process opens it once: source and target differ.
    #[allow(unsafe_code)]
    let env = unsafe { options.flags(flags).open(path) };
    env.map_err(|error| failed(path, &error))
}

/// Whether LMDB can be let at a file; one that is missing or empty it makes anew. A program that
/// writes meanwhile may reuse a page that is just looked at, so one good look is enough.
fn check(path: &Path, is_written: bool) -> Result<(), Fault> {
    let failed = |what: &dyn std::fmt::Display| Fault(format!("{}: {what}", path.display()));
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| failed(&error))?,
    };
    let mut found = Ok(());
    for _ in 0..LOOKS_MAX {
        let bytes = file.metadata().map_err(|error| failed(&error))?.len();
        if bytes == 0 {
            return Ok(());
        }
        let mut read = |at: u64, count: usize| {
            let mut bytes = vec![0; count];
            file.read_exact_at(&mut bytes, at).map(|()| bytes)
        };
        found = lmdb_pages::check(bytes, is_written, &mut read);
        if found.is_ok() {
            break;
        }
    }
    found.map_err(|wrong| failed(&wrong))
}

fn failed(path: &Path, error: &heed::Error) -> Fault {
    Fault(format!("{}: LMDB: {error}", path.display()))
}

fn trouble(error: heed::Error) -> Trouble {
    Trouble::Failed(format!("LMDB: {error}"))
}

/// A database that is read.
pub struct LmdbSource {
    path: PathBuf,
    env: Env<WithoutTls>,
    entries: Bytesed,
    attributes: Option<Bytesed>,
}

impl LmdbSource {
    /// The database at a path.
    ///
    /// # Errors
    /// If it cannot be read, or has no entries of ours.
    pub fn open(path: &Path) -> Result<LmdbSource, Fault> {
        let env = open(path, EnvFlags::READ_ONLY)?;
        let failed = |error| failed(path, &error);
        let reading = env.read_txn().map_err(failed)?;
        let entries: Option<Bytesed> =
            env.open_database(&reading, Some("entries")).map_err(failed)?;
        let attributes = env.open_database(&reading, Some("attributes")).map_err(failed)?;
        // The handles are good for others only behind a commit.
        reading.commit().map_err(failed)?;
        let what = "it has no database `entries`: docs/formats/lmdb.md says what is read";
        let entries = entries.ok_or_else(|| Fault(format!("{}: {what}", path.display())))?;
        Ok(LmdbSource { path: path.to_owned(), env, entries, attributes })
    }

    fn facts(
        &self,
        reading: &heed::RoTxn<'_, WithoutTls>,
        key: &str,
    ) -> Result<Option<Attributes>, heed::Error> {
        let Some(attributes) = self.attributes else { return Ok(None) };
        Ok(attributes.get(reading, key)?.and_then(Attributes::decode))
    }
}

impl Source for LmdbSource {
    fn kind(&self) -> &'static str {
        "a database of LMDB"
    }

    fn list(&self, _: usize) -> Result<Listed, Fault> {
        let failed = |error| failed(&self.path, &error);
        let mut listed = Listed::default();
        let reading = self.env.read_txn().map_err(failed)?;
        for found in self.entries.iter(&reading).map_err(failed)? {
            let (key, _) = found.map_err(failed)?;
            let Some((name, label)) = parse_key(key) else {
                listed.strangers.push(key.to_owned());
                continue;
            };
            let level = self.facts(&reading, key).map_err(failed)?.and_then(|facts| facts.level);
            // The files of an entry stand next to each other.
            match listed.items.last_mut().filter(|item| item.name == name) {
                Some(item) => item.labels.push(label.to_owned()),
                None => {
                    let labels = vec![label.to_owned()];
                    listed.items.push(Item { name, level, labels, at: 0, place: String::new() });
                }
            }
        }
        listed.items.iter_mut().for_each(|item| item.labels.sort());
        Ok(listed)
    }

    fn stamp(&self, item: &Item) -> Option<Stamp> {
        let reading = self.env.read_txn().ok()?;
        let mut stamp = Stamp::default();
        for label in &item.labels {
            let facts = self.facts(&reading, &key(&item.name, label)).ok()??;
            stamp.bytes += facts.bytes;
            if !is_raw(item.name.family, label) {
                stamp.modified = stamp.modified.max(facts.modified);
            }
        }
        Some(stamp)
    }

    fn read(&self, item: &Item) -> Result<Entry, Trouble> {
        let reading = self.env.read_txn().map_err(trouble)?;
        let mut parts = Vec::with_capacity(item.labels.len());
        for label in &item.labels {
            let key = key(&item.name, label);
            let bytes = self.entries.get(&reading, &key).map_err(trouble)?;
            let bytes = bytes.ok_or(Trouble::Gone)?.to_vec();
            let facts = self.facts(&reading, &key).map_err(trouble)?.unwrap_or_default();
            let (modified, mode) = (facts.modified, facts.mode);
            parts.push(Part { label: label.clone(), bytes, modified, mode });
        }
        Ok(Entry { name: item.name.clone(), level: item.level, parts })
    }
}

/// A database that is written.
pub struct LmdbTarget {
    path: PathBuf,
    env: Env<WithoutTls>,
    entries: Bytesed,
    attributes: Bytesed,
}

impl LmdbTarget {
    /// The database at a path, made if it is missing: a file, or in a directory that is there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(path: &Path) -> Result<LmdbTarget, Fault> {
        let env = open(path, EnvFlags::NO_SYNC | EnvFlags::NO_META_SYNC)?;
        let failed = |error| failed(path, &error);
        let mut writing = env.write_txn().map_err(failed)?;
        let entries = env.create_database(&mut writing, Some("entries")).map_err(failed)?;
        let attributes = env.create_database(&mut writing, Some("attributes")).map_err(failed)?;
        writing.commit().map_err(failed)?;
        Ok(LmdbTarget { path: path.to_owned(), env, entries, attributes })
    }

    fn write_all(&self, batch: &[Outgoing]) -> Result<(), heed::Error> {
        let mut writing = self.env.write_txn()?;
        for Outgoing { entry, .. } in batch {
            for part in &entry.parts {
                let key = key(&entry.name, &part.label);
                let attributes = Attributes {
                    bytes: part.bytes.len() as u64,
                    modified: part.modified,
                    mode: part.mode,
                    level: entry.level,
                };
                self.entries.put(&mut writing, &key, &part.bytes)?;
                self.attributes.put(&mut writing, &key, &attributes.encode())?;
            }
        }
        writing.commit()
    }
}

impl Target for LmdbTarget {
    fn has(&self, item: &Item, stamp: &dyn Fn() -> Option<Stamp>) -> Result<Presence, Fault> {
        let failed = |error| failed(&self.path, &error);
        let reading = self.env.read_txn().map_err(failed)?;
        let mut found = Stamp::default();
        if item.labels.is_empty() {
            return Ok(Presence::Absent);
        }
        for label in &item.labels {
            let key = key(&item.name, label);
            let facts = self.attributes.get(&reading, &key).map_err(failed)?;
            let Some(facts) = facts.and_then(Attributes::decode) else {
                return Ok(Presence::Absent);
            };
            found.bytes += facts.bytes;
            if !is_raw(item.name.family, label) {
                found.modified = found.modified.max(facts.modified);
            }
        }
        Ok(same(stamp(), found))
    }

    fn write(&self, batch: &[Outgoing]) -> Result<Vec<Result<(), Trouble>>, Fault> {
        self.write_all(batch).map_err(|error| failed(&self.path, &error))?;
        Ok(vec![Ok(()); batch.len()])
    }

    fn finish(&self) -> Result<Finished, Fault> {
        self.env.force_sync().map_err(|error| failed(&self.path, &error))?;
        Ok(Finished::default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    const PAGE_BYTES: usize = 4096;

    /// The numbers of a generator that are the same in every run.
    fn random() -> impl FnMut(u64) -> u64 {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        move |end| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % end
        }
    }

    /// A transaction: values put, put again longer or shorter, and deleted.
    fn change(env: &Env<WithoutTls>, random: &mut impl FnMut(u64) -> u64) {
        let mut writing = env.write_txn().unwrap();
        let data: Bytesed = env.create_database(&mut writing, Some("entries")).unwrap();
        let other: Bytesed = env.create_database(&mut writing, Some("attributes")).unwrap();
        for _ in 0..random(400) {
            let key = format!("{:0width$}", random(900), width = 3 + random(60) as usize);
            let bytes = [0, 30, 900, 2030, 2050, 9000, 60_000][random(7) as usize];
            match random(5) {
                0 | 1 => drop(data.delete(&mut writing, &key).unwrap()),
                2 => other.put(&mut writing, &key, &[0; 24]).unwrap(),
                _ => data.put(&mut writing, &key, &vec![7; bytes + random(9) as usize]).unwrap(),
            }
        }
        if random(20) == 0 {
            data.clear(&mut writing).unwrap();
        }
        writing.commit().unwrap();
    }

    /// What is too strict would refuse somebody's cache.
    #[test]
    fn whatever_lmdb_writes_passes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lmdb");
        let mut random = random();
        let env = open(&path, EnvFlags::NO_SYNC).unwrap();
        // Pages that somebody reads are not free yet.
        let mut reader = None;
        for number in 0..200 {
            change(&env, &mut random);
            match random(6) {
                0 => reader = Some(env.clone().static_read_txn().unwrap()),
                1 => reader = None,
                _ => (),
            }
            for is_written in [false, true] {
                let found = check(&path, is_written);
                assert!(found.is_ok(), "{number} {:?}", found.map_err(|fault| fault.0));
            }
        }
        drop(reader);
    }

    fn u16_at(bytes: &[u8], at: usize) -> u16 {
        u16::from_le_bytes([bytes[at], bytes[at + 1]])
    }

    fn put(bytes: &mut [u8], at: usize, value: u16) {
        bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    /// What is said of a database in which a page of a kind is changed: of each such page.
    fn refused(whole: &[u8], kind: u16, harm: impl Fn(&mut [u8])) -> BTreeSet<String> {
        let mut said = BTreeSet::new();
        for number in 0..whole.len() / PAGE_BYTES {
            let at = number * PAGE_BYTES;
            if u16_at(whole, at + 10) == kind {
                let mut bytes = whole.to_vec();
                harm(&mut bytes[at..at + PAGE_BYTES]);
                let mut read = |at: u64, count: usize| Ok(bytes[at as usize..][..count].to_vec());
                let found = lmdb_pages::check(bytes.len() as u64, true, &mut read);
                said.extend(found.err().map(|wrong| wrong.to_string()));
            }
        }
        said
    }

    /// The kind of the pages, what is done to one, and what is said then.
    type Row<'a> = (u16, &'a dyn Fn(&mut [u8]), &'a str);

    /// Each could end the process that opens or changes such a database.
    #[test]
    fn what_lmdb_relies_on_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lmdb");
        let env = open(&path, EnvFlags::NO_SYNC).unwrap();
        for round in 0..3 {
            let mut writing = env.write_txn().unwrap();
            let entries: Bytesed = env.create_database(&mut writing, Some("entries")).unwrap();
            for number in 0..400 {
                let bytes = vec![round; 100 + number % 5 * 1000];
                entries.put(&mut writing, &format!("{number:040}"), &bytes).unwrap();
            }
            writing.commit().unwrap();
        }
        let whole = fs::read(&path).unwrap();
        let (meta, branch, leaf, long) = (8, 1, 2, 4);
        let slot = |page: &[u8], number: usize| u16_at(page, 16 + 2 * number) as usize;
        // Only the node at the end of the page is left.
        let alone = |page: &mut [u8]| {
            let nodes = (u16_at(page, 12) as usize - 16) / 2;
            let last = (0..nodes).map(|number| slot(page, number)).max().unwrap() as u16;
            put(page, 12, 18);
            put(page, 14, last);
            put(page, 16, last);
        };
        let rows: [Row<'_>; 13] = [
            (meta, &|page| put(page, 44, 8 | 4), "flags"),
            (meta, &|page| page[151] = 1, "nobody reaches"),
            // Marked as one that is not written yet, as one of values of one length.
            (leaf, &|page| page[10] |= 0x10, "none that belongs there"),
            (leaf, &|page| page[10] |= 0x20, "none that belongs there"),
            (leaf, &|page| page[11] = 0x40, "none that belongs there"),
            (branch, &|page| page[10] |= 0x10, "none that belongs there"),
            (long, &|page| page[10] |= 0x10, "none of a long value"),
            // A node in two places, one that is missing, and one that is longer than it was.
            (leaf, &|page| put(page, 18, slot(page, 0) as u16), "do not fill it"),
            (leaf, &|page| put(page, 12, u16_at(page, 12) - 2), "do not fill it"),
            (leaf, &|page| page[usize::from(u16_at(page, 14)) + 6] += 2, "do not fill it"),
            // Keys that do not ascend; of free pages, and of values.
            (leaf, &|page| page[slot(page, 0) + 8 + 6] = 0xff, "a key of page"),
            (branch, &|page| page[slot(page, 1) + 8] = 0xff, "a key of page"),
            (branch, &alone, "leads to one page only"),
        ];
        for (number, (kind, harm, what)) in rows.into_iter().enumerate() {
            let said = refused(&whole, kind, harm);
            assert!(said.iter().any(|said| said.contains(what)), "{number} {what}: {said:?}");
        }
    }
}
