//! Digests of files, remembered between processes so that a hit reads no unchanged header.
//!
//! The table is a file of shared words, one per user and store: [`SLOTS`] slots of eight words,
//!
//! | words | what |
//! |---|---|
//! | 0-1 | XXH3-128 of boot id, device, inode, size, mtime, ctime and [`SCHEME`] |
//! | 2-5 | BLAKE3 of the contents |
//! | 6 | what the contents mention, [`Mentions`], or that nobody asked |
//! | 7 | XXH3-64 of the words before it |
//!
//! 1. A slot counts if and only if its check word fits, so a slot that two processes wrote at once,
//!    or that a crash tore, is an unknown file. No lock is taken.
//! 2. The boot id is part of the name of a file, so nothing outlives a reboot.
//! 3. A file enters only if any later change must give it another name: its file system is one of
//!    [`TRUSTED_FILE_SYSTEMS`], and both its times lay at least [`AGE_NS_MIN`] before the coarse
//!    clock when it was opened for hashing (a change in the same tick could not be told apart).
//!    Where the ctime has no fraction of a second, the file system may keep whole seconds only, and
//!    the age must be [`COARSE_AGE_NS_MIN`].
//! 4. Only regular files have a digest.
//!
//! Behind them stand [`MARKS`] marks of two words each, the XXH3-128 of boot id, device, inode,
//! mtime and ctime of a directory and the digest of a set of names: what is marked was found absent
//! there (see `absent`). The rules 1 to 3 hold for them too; a torn mark is that of no directory.

mod mentions;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_engine::checksum::{xxh3_64, xxh3_128};
use larder_engine::env::map::SharedWords;
use larder_engine::env::{boot_id, coarse_clock_ns, file_system_magic};

pub use self::mentions::Mentions;
use self::mentions::OVERLAP_BYTES;
use crate::files::{Directories, Facts};

/// A BLAKE3 digest.
pub type Digest = [u8; 32];

/// Raised whenever [`Mentions`] finds more, so that what was entered before is not found.
const SCHEME: u64 = 5;
/// Slots of the table: twice the files of a large tree. One slot is 64 bytes, so this is 4 MiB of
/// disk; a table that is too small only hashes more.
const SLOTS: usize = 1 << 16;
const SLOT_WORDS: usize = 8;
const CHECK_WORD: usize = SLOT_WORDS - 1;
/// Marks of absent names: twenty for each of 6,500 units, in 2 MiB of disk. A table that is too
/// small only looks for names more often.
const MARKS: usize = 1 << 17;
const MARK_WORDS: usize = 2;
/// The marks of one unit stand in one page, so that a hit touches no more.
const PAGE_MARKS: usize = 4096 / (MARK_WORDS * 8);
const TABLE_WORDS: usize = SLOTS * SLOT_WORDS + MARKS * MARK_WORDS;
/// Slots that one name may stand in.
const WAYS: usize = 4;
/// Groups of slots for neighbouring inodes: 64 KiB, which the kernel maps at the first touch.
const WINDOW_GROUPS: u64 = 256;
/// Two ticks of the slowest usual kernel clock (100 Hz).
const AGE_NS_MIN: u64 = 20_000_000;
/// Two ticks of a file system that counts seconds.
const COARSE_AGE_NS_MIN: u64 = 2_000_000_000;
/// In word 6: nobody looked for mentions.
const NOT_SCANNED: u64 = 1 << 8;
/// Files are hashed in pieces of this size, so that a toolchain's libraries need no such memory,
/// and a piece stays in the processor's cache.
const PIECE_BYTES: usize = 128 << 10;

/// `statfs` magic numbers of file systems that give every change a new ctime and do not hand out
/// inode numbers twice for the same time: ext2/3/4, XFS, btrfs, tmpfs, overlayfs, F2FS.
const TRUSTED_FILE_SYSTEMS: &[i64] =
    &[0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0xF2F5_2010];

/// What is known of a regular file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// BLAKE3 of its contents.
    pub digest: Digest,
    /// What its contents mention.
    pub mentions: Mentions,
    /// The later of mtime and ctime, in nanoseconds since 1970.
    pub changed_ns: u64,
    /// mtime in seconds since 1970, as `__TIMESTAMP__` shows it.
    pub mtime_secs: i64,
    /// Its length.
    pub bytes: u64,
    /// Device and inode.
    pub identity: (u64, u64),
}

/// The digest cache of one process.
pub struct Digests {
    table: Option<SharedWords>,
    boot: [u8; 16],
    directories: Directories,
    /// (device, whether its file system is trusted) of the devices met so far.
    devices: RefCell<Vec<(u64, bool)>>,
}

impl Digests {
    /// The table at `path`, made if it is missing and there `has_room` for so many bytes. Without
    /// one every file is hashed.
    pub fn open(path: Option<&Path>, has_room: impl FnOnce(u64) -> bool) -> Digests {
        let boot = boot_id();
        // Without a boot id nothing would end with a reboot.
        let table = path.filter(|_| boot != [0; 16]).and_then(|path| {
            let words = SharedWords::open(path, TABLE_WORDS, 0o600, has_room).ok()?;
            (words.words().len() >= TABLE_WORDS).then_some(words)
        });
        Digests { table, boot, directories: Directories::default(), devices: RefCell::default() }
    }

    /// Digest and times of the regular file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, is no regular file, or changes while it is read.
    pub fn look(&self, path: &Path) -> io::Result<Seen> {
        self.look_at(path, &self.directories.facts(path)?)
    }

    /// As [`Digests::look`], and whether a link stands at `path` itself.
    ///
    /// # Errors
    /// As [`Digests::look`].
    pub fn look_and_link(&self, path: &Path) -> io::Result<(Seen, bool)> {
        let (facts, is_link) = self.directories.facts_and_link(path)?;
        Ok((self.look_at(path, &facts)?, is_link))
    }

    /// Digest of the regular file at `path`, which is a program or a library: what it mentions is
    /// not asked for, which would take longer than all else.
    ///
    /// # Errors
    /// As [`Digests::look`].
    pub fn digest(&self, path: &Path) -> io::Result<Digest> {
        Ok(self.digest_and_change(path)?.0)
    }

    /// As [`Digests::digest`], with the later of mtime and ctime, in nanoseconds since 1970.
    ///
    /// # Errors
    /// As [`Digests::look`].
    pub fn digest_and_change(&self, path: &Path) -> io::Result<(Digest, u64)> {
        let facts = self.directories.facts(path)?;
        match self.find(&self.name(&facts)) {
            Some((digest, _)) if facts.is_regular => Ok((digest, facts.changed_ns())),
            _ => self.hash(path, false).map(|seen| (seen.digest, seen.changed_ns)),
        }
    }

    fn look_at(&self, path: &Path, facts: &Facts) -> io::Result<Seen> {
        if !facts.is_regular {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no regular file"));
        }
        match self.find(&self.name(facts)) {
            Some((digest, Some(mentions))) => Ok(seen(facts, digest, mentions)),
            _ => self.hash(path, true),
        }
    }

    /// The directories of the files that were looked at.
    pub fn directories(&self) -> &Directories {
        &self.directories
    }

    /// The facts of the directory at `path`.
    ///
    /// # Errors
    /// If there is nothing.
    pub fn directory(&self, path: &Path) -> io::Result<Facts> {
        self.directories.directory(path)
    }

    /// Whether a set of names was marked as absent in this state of a directory. `unit` says where
    /// the mark may stand.
    pub fn is_marked(&self, unit: u64, directory: &Facts, set: u128) -> bool {
        let mark = self.mark(directory, set);
        self.mark_places(unit, mark).any(|place| {
            place.iter().zip(mark).all(|(word, own)| word.load(Ordering::Relaxed) == own)
        })
    }

    /// Marks a set of names as absent in the directory at `path`, which had these facts before they
    /// were looked for, at `opened_ns` or later. What may change unseen is not marked.
    pub fn mark_absent(
        &self,
        unit: u64,
        path: &Path,
        directory: &Facts,
        set: u128,
        opened_ns: u64,
    ) {
        if !is_settled(directory, opened_ns) || !self.is_trusted(path, directory.device) {
            return;
        }
        let mark = self.mark(directory, set);
        let mut places = self.mark_places(unit, mark);
        let free = |place: &&[AtomicU64]| place[0].load(Ordering::Relaxed) == 0;
        let place = places.find(free);
        let place = place.or_else(|| self.mark_places(unit, mark).nth(mark[1] as usize % WAYS));
        for (shared, word) in place.into_iter().flatten().zip(mark) {
            shared.store(word, Ordering::Relaxed);
        }
    }

    fn mark(&self, directory: &Facts, set: u128) -> [u64; MARK_WORDS] {
        let name = self.name(directory);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&name.words[0].to_le_bytes());
        bytes[8..16].copy_from_slice(&name.words[1].to_le_bytes());
        bytes[16..].copy_from_slice(&set.to_le_bytes());
        let hash = xxh3_128(&bytes);
        [hash as u64, (hash >> 64) as u64]
    }

    /// The places that a mark may stand in: a group in the page of its unit.
    fn mark_places(
        &self,
        unit: u64,
        mark: [u64; MARK_WORDS],
    ) -> impl Iterator<Item = &[AtomicU64]> {
        let words = self.table.as_ref().map_or(&[][..], |table| table.words());
        let page = (unit % (MARKS / PAGE_MARKS) as u64) as usize;
        let group = page * PAGE_MARKS + (mark[0] as usize % (PAGE_MARKS / WAYS)) * WAYS;
        let first = SLOTS * SLOT_WORDS + group * MARK_WORDS;
        let group = words.get(first..first + WAYS * MARK_WORDS).unwrap_or(&[]);
        group.chunks_exact(MARK_WORDS)
    }

    fn hash(&self, path: &Path, scans: bool) -> io::Result<Seen> {
        let opened_ns = coarse_clock_ns();
        let file = File::open(path)?;
        let facts = Facts::of(&file)?;
        if !facts.is_regular {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no regular file"));
        }
        let (digest, mentions) = hash_reader(&file, facts.bytes, scans)?;
        let name = self.name(&facts);
        if self.name(&Facts::of(&file)?) != name {
            return Err(io::Error::other("the file changed while it was read"));
        }
        let seen = seen(&facts, digest, mentions);
        if is_settled(&facts, opened_ns) && self.is_trusted(path, facts.device) {
            self.enter(&name, &digest, scans.then_some(mentions));
        }
        Ok(seen)
    }

    /// Whether the file system of `path`, which has this device number, is one of
    /// [`TRUSTED_FILE_SYSTEMS`].
    pub fn is_trusted(&self, path: &Path, device: u64) -> bool {
        let mut devices = self.devices.borrow_mut();
        if let Some((_, trusted)) = devices.iter().find(|(known, _)| *known == device) {
            return *trusted;
        }
        let trusted =
            file_system_magic(path).is_some_and(|magic| TRUSTED_FILE_SYSTEMS.contains(&magic));
        devices.push((device, trusted));
        trusted
    }

    fn name(&self, facts: &Facts) -> Name {
        let mut bytes = [0; 16 + 8 * 8];
        bytes[..16].copy_from_slice(&self.boot);
        let words = [
            facts.device,
            facts.inode,
            facts.bytes,
            facts.mtime_secs as u64,
            facts.mtime_nanos,
            facts.ctime_secs as u64,
            facts.ctime_nanos,
            SCHEME,
        ];
        for (place, word) in bytes[16..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let hash = xxh3_128(&bytes);
        Name { words: [hash as u64, (hash >> 64) as u64], group: group(facts) }
    }

    /// The slots that a name may stand in.
    fn slots(&self, name: &Name) -> impl Iterator<Item = &[AtomicU64]> {
        let words = self.table.as_ref().map_or(&[][..], |table| table.words());
        let first = name.group * WAYS;
        let group = words.get(first * SLOT_WORDS..(first + WAYS) * SLOT_WORDS).unwrap_or(&[]);
        group.chunks_exact(SLOT_WORDS)
    }

    fn find(&self, name: &Name) -> Option<(Digest, Option<Mentions>)> {
        let slot = self.slots(name).find(|slot| {
            slot.iter().zip(name.words).all(|(word, own)| word.load(Ordering::Relaxed) == own)
        })?;
        let mut words = [0; SLOT_WORDS];
        for (word, shared) in words.iter_mut().zip(slot) {
            *word = shared.load(Ordering::Relaxed);
        }
        if words[..2] != name.words || words[CHECK_WORD] != check_word(&words) {
            return None;
        }
        let mut digest = [0; 32];
        for (place, word) in digest.chunks_exact_mut(8).zip(&words[2..6]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let is_scanned = words[6] & NOT_SCANNED == 0;
        Some((digest, is_scanned.then_some(Mentions::from_bits(words[6] as u8))))
    }

    /// Takes the slot that has the name, else the first empty one, else one chosen by the name.
    fn enter(&self, name: &Name, digest: &Digest, mentions: Option<Mentions>) {
        let mut words = [0; SLOT_WORDS];
        words[..2].copy_from_slice(&name.words);
        for (word, bytes) in words[2..6].iter_mut().zip(digest.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
        words[6] = mentions.map_or(NOT_SCANNED, |mentions| u64::from(mentions.bits()));
        words[CHECK_WORD] = check_word(&words);
        let begins = |with: u64| move |slot: &&[AtomicU64]| slot[0].load(Ordering::Relaxed) == with;
        let slot = self.slots(name).find(begins(name.words[0]));
        let slot = slot.or_else(|| self.slots(name).find(begins(0)));
        let slot = slot.or_else(|| self.slots(name).nth(name.words[1] as usize % WAYS));
        for (shared, word) in slot.into_iter().flatten().zip(words) {
            shared.store(word, Ordering::Relaxed);
        }
    }
}

/// What a file is called in the table.
#[derive(PartialEq, Eq)]
struct Name {
    /// Words 0 and 1 of its slot.
    words: [u64; 2],
    /// The group of slots that it may stand in.
    group: usize,
}

/// Files that were made one after the other, as the headers of a package are, have inodes next to
/// each other. Their slots lie next to each other, too, so that a hit touches few pages.
fn group(facts: &Facts) -> usize {
    const WINDOWS: u64 = (SLOTS / WAYS) as u64 / WINDOW_GROUPS;
    let far = facts.device.rotate_left(32) ^ (facts.inode / WINDOW_GROUPS);
    let window = xxh3_64(&far.to_le_bytes(), 0) % WINDOWS;
    (window * WINDOW_GROUPS + facts.inode % WINDOW_GROUPS) as usize
}

fn check_word(words: &[u64; SLOT_WORDS]) -> u64 {
    let mut bytes = [0; CHECK_WORD * 8];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    xxh3_64(&bytes, 0)
}

fn seen(facts: &Facts, digest: Digest, mentions: Mentions) -> Seen {
    Seen {
        digest,
        mentions,
        changed_ns: facts.changed_ns(),
        mtime_secs: facts.mtime_secs,
        bytes: facts.bytes,
        identity: (facts.device, facts.inode),
    }
}

/// Whether any later change must give what was looked at after `opened_ns` other times.
fn is_settled(facts: &Facts, opened_ns: u64) -> bool {
    let age_ns = if facts.ctime_nanos == 0 { COARSE_AGE_NS_MIN } else { AGE_NS_MIN };
    facts.changed_ns().saturating_add(age_ns) < opened_ns
}

fn hash_reader(mut file: &File, bytes: u64, scans: bool) -> io::Result<(Digest, Mentions)> {
    let mut hasher = blake3::Hasher::new();
    let mut mentions = Mentions::default();
    // One byte more than the file has, so that its end is seen without growing the buffer.
    let mut buffer = Vec::with_capacity(PIECE_BYTES.min(bytes as usize + 1) + OVERLAP_BYTES);
    let mut kept = 0;
    loop {
        let read = Read::take(&mut file, PIECE_BYTES as u64).read_to_end(&mut buffer)?;
        hasher.update(&buffer[kept..]);
        if scans {
            mentions = mentions.union(Mentions::scan(&buffer));
        }
        if read < PIECE_BYTES {
            return Ok((*hasher.finalize().as_bytes(), mentions));
        }
        buffer.drain(..buffer.len() - OVERLAP_BYTES);
        kept = buffer.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_word_across_two_pieces_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        let mut text = vec![b' '; PIECE_BYTES - 4];
        text.extend_from_slice(b"__DATE__");
        text.resize(2 * PIECE_BYTES, b'x');
        fs::write(&path, &text).unwrap();
        let seen = Digests::open(None, |_| true).look(&path).unwrap();
        assert_eq!(seen.digest, *blake3::hash(&text).as_bytes());
        assert_eq!(seen.mentions, Mentions::DATE);
    }

    /// Of libraries and what a linker reads nobody asks what they mention: to look for that took
    /// most of what larder did on a miss of a crate.
    #[test]
    fn what_a_library_mentions_is_not_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("liba.rlib");
        fs::write(&path, "__DATE__").unwrap();
        std::thread::sleep(Duration::from_millis(60));
        let digests = Digests::open(Some(&dir.path().join("digests")), |_| true);
        let facts = Facts::at(&path).unwrap();
        let expected = (*blake3::hash(b"__DATE__").as_bytes(), facts.changed_ns());
        for _ in 0..2 {
            assert_eq!(digests.digest_and_change(&path).unwrap(), expected);
            assert_eq!(digests.find(&digests.name(&facts)), Some((expected.0, None)));
        }
        // Who asks later gets an answer.
        assert_eq!(digests.look(&path).unwrap().mentions, Mentions::DATE);
        assert_eq!(digests.digest_and_change(&path).unwrap(), expected);
    }

    #[test]
    fn a_settled_file_is_remembered_and_a_torn_slot_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("header.h");
        fs::write(&path, "int x;").unwrap();
        std::thread::sleep(Duration::from_millis(60));
        let digests = Digests::open(Some(&dir.path().join("digests")), |_| true);
        let first = digests.look(&path).unwrap();
        let name = digests.name(&Facts::at(&path).unwrap());
        assert_eq!(digests.find(&name), Some((first.digest, Some(first.mentions))));
        assert_eq!(digests.look(&path).unwrap(), first);
        let slot = digests.slots(&name).find(|slot| slot[0].load(Ordering::Relaxed) != 0).unwrap();
        slot[3].fetch_xor(1, Ordering::Relaxed);
        assert_eq!(digests.find(&name), None);
        assert_eq!(digests.look(&path).unwrap(), first);
    }

    #[test]
    fn what_was_known_as_a_program_is_scanned_as_a_source() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("both");
        fs::write(&path, "__DATE__").unwrap();
        std::thread::sleep(Duration::from_millis(60));
        let digests = Digests::open(Some(&dir.path().join("digests")), |_| true);
        let digest = digests.digest(&path).unwrap();
        let name = digests.name(&Facts::at(&path).unwrap());
        assert_eq!(digests.find(&name), Some((digest, None)));
        let seen = digests.look(&path).unwrap();
        assert_eq!((seen.digest, seen.mentions), (digest, Mentions::DATE));
        assert_eq!(digests.find(&name), Some((digest, Some(Mentions::DATE))));
        assert_eq!(digests.digest(&path).unwrap(), digest);
    }

    #[test]
    fn a_young_file_is_hashed_afresh_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("header.h");
        let digests = Digests::open(Some(&dir.path().join("digests")), |_| true);
        for round in 0..50 {
            fs::write(&path, format!("{:03}", round)).unwrap();
            let expected = *blake3::hash(format!("{:03}", round).as_bytes()).as_bytes();
            assert_eq!(digests.look(&path).unwrap().digest, expected);
        }
    }

    #[test]
    fn a_changed_file_with_its_old_mtime_is_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("header.h");
        let digests = Digests::open(Some(&dir.path().join("digests")), |_| true);
        let past = SystemTime::now() - Duration::from_secs(1000);
        let write = |text: &str| {
            fs::write(&path, text).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(past).unwrap();
            std::thread::sleep(Duration::from_millis(40));
            digests.look(&path).unwrap().digest
        };
        assert_ne!(write("one"), write("two"));
    }

    #[test]
    fn only_regular_files_have_a_digest() {
        let dir = tempfile::tempdir().unwrap();
        let digests = Digests::open(None, |_| true);
        assert!(digests.look(dir.path()).is_err());
        assert!(digests.digest(dir.path()).is_err());
        assert!(digests.look(Path::new("/dev/null")).is_err());
        assert!(digests.look(&dir.path().join("missing")).is_err());
    }
}
