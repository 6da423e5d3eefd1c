//! Jobs: which keys were asked for and stored by one run of a CI, so that the rest can be trimmed.
//!
//! 1. A job is a file `job-ID` of words: a header, then a set of key prefixes with open addressing.
//!    Prefixes say nothing of where a record stands, so reinsertion and eviction leave jobs alone.
//!    Two keys with one prefix count as one, which keeps an entry too many at worst.
//! 2. Words are taken by compare-and-swap through a shared map, with no lock; all blocks of the
//!    file are reserved when it is made, and its length never changes.
//! 3. A set without a free word within reach of a key is marked as full: nobody trims by it.
//! 4. Nothing here is synced. What a power cut takes lets a trim drop more than it should.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::env::map::SharedWords;
use crate::env::{Env, File, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::limits::{
    JOB_ENTRY_BYTES, JOB_ID_BYTES_MAX, JOB_PROBES_MAX, JOB_WORDS_MAX, JOB_WORDS_MIN,
};

/// What the name of each job's file begins with.
pub const FILE_PREFIX: &str = "job-";

/// The first word of a job's file, `LARDERJB`.
const MAGIC: u64 = u64::from_le_bytes(*b"LARDERJB");

/// Words of the header: magic, store, seconds since 1970, whether the set is full, and four unused.
const MAGIC_WORD: usize = 0;
const STORE_WORD: usize = 1;
const STARTED_WORD: usize = 2;
const FULL_WORD: usize = 3;
const HEADER_WORDS: usize = 8;

/// A job of a store.
#[derive(Debug)]
pub struct Job {
    words: SharedWords,
}

/// Where a job's file is.
///
/// # Errors
/// `Limit` if the id could not be part of a file's name.
pub fn path_of(store: &Path, id: &str) -> Result<PathBuf> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if id.is_empty() || id.len() > JOB_ID_BYTES_MAX || !id.chars().all(is_plain) {
        let what = format!("{id:?} is no id of a job: 1 to 64 letters, digits, dots, - and _");
        return Err(Error::new(ErrorKind::Limit, what));
    }
    Ok(store.join(format!("{FILE_PREFIX}{id}")))
}

/// Words of the file of a job in a store of this size.
fn words_for(max_size_bytes: u64) -> usize {
    let wanted = (max_size_bytes / JOB_ENTRY_BYTES).next_power_of_two();
    wanted.clamp(JOB_WORDS_MIN, JOB_WORDS_MAX) as usize
}

/// Disk bytes of the file of a job in a store of this size.
pub fn file_bytes(max_size_bytes: u64) -> u64 {
    (words_for(max_size_bytes) * size_of::<u64>()) as u64
}

impl Job {
    /// Makes the file of a job; its magic is written last.
    ///
    /// # Errors
    /// If there is one of that id, or no room.
    pub fn create(
        file: &dyn File,
        store: u64,
        started_secs: u64,
        max_size_bytes: u64,
    ) -> Result<()> {
        let words = file.map_words(words_for(max_size_bytes))?;
        let header = words.words();
        header[STORE_WORD].store(store, Ordering::Relaxed);
        header[STARTED_WORD].store(started_secs, Ordering::Relaxed);
        header[MAGIC_WORD].store(MAGIC, Ordering::Release);
        Ok(())
    }

    /// Opens a job of this store, `None` if there is none of that id.
    ///
    /// # Errors
    /// `Limit` if that is no id, `Corrupt` if the file is none of a job of this store, `Io`.
    pub fn open(
        env: &dyn Env,
        path: &Path,
        id: &str,
        store: u64,
        mode: OpenMode,
    ) -> Result<Option<Job>> {
        let path = path_of(path, id)?;
        let file = match env.open(&path, mode) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let damaged = || Error::corrupt("the file of a job is damaged").at_path(&path);
        let words = file.sizes()?.len_bytes / size_of::<u64>() as u64;
        if !words.is_power_of_two() || !(JOB_WORDS_MIN..=JOB_WORDS_MAX).contains(&words) {
            return Err(damaged());
        }
        let job = Job { words: file.map_words(words as usize)? };
        let header = job.words.words();
        let is_ours = header[MAGIC_WORD].load(Ordering::Acquire) == MAGIC
            && header[STORE_WORD].load(Ordering::Relaxed) == store;
        if is_ours { Ok(Some(job)) } else { Err(damaged()) }
    }

    /// When the job began, in seconds since 1970.
    pub fn started_secs(&self) -> u64 {
        self.words.words()[STARTED_WORD].load(Ordering::Relaxed)
    }

    /// Whether some keys found no place.
    pub fn is_full(&self) -> bool {
        self.words.words()[FULL_WORD].load(Ordering::Relaxed) != 0
    }

    /// Keys that are noted.
    pub fn count(&self) -> u64 {
        let set = &self.words.words()[HEADER_WORDS..];
        set.iter().filter(|word| word.load(Ordering::Relaxed) != 0).count() as u64
    }

    /// Notes a key.
    pub fn note(&self, key: &Key) {
        let wanted = word_of(key);
        for word in self.reach(wanted) {
            let found = word.compare_exchange(0, wanted, Ordering::Relaxed, Ordering::Relaxed);
            if found.is_ok() || found == Err(wanted) {
                return;
            }
        }
        self.words.words()[FULL_WORD].store(1, Ordering::Relaxed);
    }

    /// Whether a key was noted.
    pub fn has(&self, key: &Key) -> bool {
        let wanted = word_of(key);
        let mut taken = self
            .reach(wanted)
            .map(|word| word.load(Ordering::Relaxed))
            .take_while(|word| *word != 0);
        taken.any(|word| word == wanted)
    }

    /// The words that a prefix may stand in, in the order in which they are tried.
    fn reach(&self, prefix: u64) -> impl Iterator<Item = &AtomicU64> {
        let set = &self.words.words()[HEADER_WORDS..];
        // Keys need not be digests; their first bytes may hardly differ.
        let first = prefix.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let first = first as usize % set.len();
        (first..first + JOB_PROBES_MAX).map(|place| &set[place % set.len()])
    }
}

/// The prefix of a key; a free word is zero.
fn word_of(key: &Key) -> u64 {
    key.prefix().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::RealEnv;

    fn job(directory: &Path, id: &str, store: u64) -> Result<Option<Job>> {
        Job::open(&RealEnv, directory, id, store, OpenMode::Write)
    }

    fn make(directory: &Path, id: &str) {
        let path = path_of(directory, id).unwrap();
        let file = RealEnv.open(&path, OpenMode::CreateNew(0o600)).unwrap();
        Job::create(&*file, 7, 1000, 1 << 20).unwrap();
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn a_job_has_what_was_noted_by_anybody_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), "a");
        let one = job(dir.path(), "a", 7).unwrap().unwrap();
        let two = job(dir.path(), "a", 7).unwrap().unwrap();
        let keys: Vec<Key> = (0..4000u32).map(|n| Key::of(&n.to_le_bytes())).collect();
        for pair in keys[..2000].chunks(2) {
            one.note(&pair[0]);
            two.note(&pair[1]);
            one.note(&pair[1]);
        }
        assert!(keys[..2000].iter().all(|key| one.has(key) && two.has(key)));
        assert!(!keys[2000..].iter().any(|key| one.has(key)));
        assert_eq!((one.count(), one.started_secs(), one.is_full()), (2000, 1000, false));
        let zero = Key::from_bytes([0; 32]);
        assert!(!one.has(&zero));
        one.note(&zero);
        assert!(two.has(&zero));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn a_set_that_has_no_room_says_so() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), "a");
        let job = job(dir.path(), "a", 7).unwrap().unwrap();
        (0..2 * JOB_WORDS_MIN).for_each(|number| job.note(&Key::of(&number.to_le_bytes())));
        assert!(job.is_full());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn what_is_no_job_of_this_store_is_none() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), "a");
        assert!(job(dir.path(), "b", 7).unwrap().is_none());
        assert!(job(dir.path(), "a", 8).unwrap_err().is_corrupt());
        let write = |name: &str, bytes: &[u8]| {
            let file = RealEnv.open(&dir.path().join(name), OpenMode::CreateNew(0o600)).unwrap();
            file.write_at(bytes, 0).unwrap();
        };
        write("job-c", &[0; 8 * JOB_WORDS_MIN as usize]);
        assert!(job(dir.path(), "c", 7).unwrap_err().is_corrupt());
        write("job-d", b"short");
        assert!(job(dir.path(), "d", 7).unwrap_err().is_corrupt());
        for id in ["", "a/b", "..\u{e4}", &"x".repeat(65)] {
            assert_eq!(job(dir.path(), id, 7).unwrap_err().kind(), ErrorKind::Limit, "{id}");
        }
    }
}
