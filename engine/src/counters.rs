//! Counters: statistics in a preallocated file of fixed size, added to by atomic instructions.
//!
//! Ids below [`ENGINE_COUNTERS_FROM`] belong to the caller, the others to the engine. A counter
//! that cannot be kept (a read-only store, no room) is kept for this process only, which begins
//! with a copy.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::env::map::SharedWords;
use crate::env::{Env, OpenMode};
use crate::limits::COUNTERS;

/// Name of the file in the store's directory.
pub const FILE_NAME: &str = "counters";

/// First id of the engine's own counters.
pub const ENGINE_COUNTERS_FROM: usize = 512;

macro_rules! engine_counters {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What the engine counts.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub enum EngineCounter { $($(#[$doc])* $name,)* }

        impl EngineCounter {
            /// Every counter, in the order of their ids.
            pub const ALL: &[EngineCounter] = &[$(EngineCounter::$name,)*];

            /// Name in statistics.
            pub fn name(self) -> &'static str {
                match self { $(EngineCounter::$name => $text,)* }
            }

            /// Id in the counters.
            pub fn id(self) -> usize {
                ENGINE_COUNTERS_FROM + self as usize
            }
        }
    };
}

engine_counters! {
    /// Records committed.
    Puts = "engine_puts";
    /// Puts dropped because a lock could not be had in time.
    DroppedBusy = "engine_puts_dropped_busy";
    /// Puts dropped because there was no room.
    DroppedFull = "engine_puts_dropped_full";
    /// Puts dropped because their segment was closed before their commit, twice.
    DroppedClosed = "engine_puts_dropped_closed";
    /// Puts dropped because an earlier write of the handle had failed.
    DroppedPoisoned = "engine_puts_dropped_poisoned";
    /// Records, slots or pages that were found damaged and counted as misses.
    Damaged = "engine_damaged";
    /// Look-ups that started again because the index had moved on.
    Overtaken = "engine_lookups_overtaken";
    /// Segments made.
    SegmentsMade = "engine_segments_made";
    /// Segments evicted.
    SegmentsEvicted = "engine_segments_evicted";
    /// Merges into the index.
    Merges = "engine_merges";
    /// Checkpoints.
    Checkpoints = "engine_checkpoints";
    /// Recoveries after another boot or a void tail.
    Recoveries = "engine_recoveries";
    /// Times that the index was rebuilt from the log.
    Rebuilds = "engine_index_rebuilds";
    /// Sections restored by reflink.
    Cloned = "engine_sections_cloned";
    /// Sections restored by copying.
    Copied = "engine_sections_copied";
    /// What [`Damaged`](EngineCounter::Damaged) was when a repair last left everything whole.
    DamagedMended = "engine_damaged_mended";
    /// Records that were appended again because their segment was to go.
    ReinsertedRecords = "engine_reinserted_records";
    /// Bytes of these records.
    ReinsertedBytes = "engine_reinserted_bytes";
    /// Bytes of entries that were put, as they stand in the log.
    PutBytes = "engine_put_bytes";
    /// Bytes of the sections of these entries.
    PutRealBytes = "engine_put_real_bytes";
}

/// A higher count is none: nobody counts so far in a hundred years. The file has no checksums.
pub const COUNT_MAX: u64 = 1 << 48;

/// The counters of a store.
#[derive(Debug)]
pub struct Counters {
    words: Words,
}

#[derive(Debug)]
enum Words {
    Shared(SharedWords),
    Private(Vec<AtomicU64>),
}

impl Counters {
    /// Opens the counters; where that fails, or the store is only read, this process has its own,
    /// which begin as a copy.
    pub(crate) fn open(env: &dyn Env, store: &Path, mode: u32, writable: bool) -> Self {
        let path = store.join(FILE_NAME);
        let shared = writable.then(|| {
            env.open(&path, OpenMode::Create(mode)).and_then(|file| file.map_words(COUNTERS))
        });
        let private = || Words::Private(copy(env, &path));
        Counters { words: shared.and_then(Result::ok).map_or_else(private, Words::Shared) }
    }

    fn word(&self, id: usize) -> &AtomicU64 {
        match &self.words {
            Words::Shared(words) => &words.words()[id],
            Words::Private(words) => &words[id],
        }
    }

    /// Adds to a counter.
    ///
    /// # Panics
    /// If there is no counter of that id.
    pub fn add(&self, id: usize, count: u64) {
        self.word(id).fetch_add(count, Ordering::Relaxed);
    }

    /// A counter's value.
    ///
    /// # Panics
    /// If there is no counter of that id.
    pub fn get(&self, id: usize) -> u64 {
        self.word(id).load(Ordering::Relaxed)
    }

    /// Sets a counter.
    ///
    /// # Panics
    /// If there is no counter of that id.
    pub fn set(&self, id: usize, value: u64) {
        self.word(id).store(value, Ordering::Relaxed);
    }

    pub(crate) fn count(&self, counter: EngineCounter) {
        self.add(counter.id(), 1);
    }
}

/// What the file says, and zero where it says nothing.
fn copy(env: &dyn Env, path: &Path) -> Vec<AtomicU64> {
    let mut bytes = [0; COUNTERS * size_of::<u64>()];
    if let Ok(file) = env.open(path, OpenMode::Read) {
        // A failure leaves zeros, or some of what is there.
        let _ = file.read_at(&mut bytes, 0);
    }
    let (words, _) = bytes.as_chunks();
    words.iter().map(|word| AtomicU64::new(u64::from_le_bytes(*word))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::RealEnv;

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn counts_are_shared_between_handles_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let one = Counters::open(&RealEnv, dir.path(), 0o600, true);
        let two = Counters::open(&RealEnv, dir.path(), 0o600, true);
        one.add(4, 2);
        two.add(4, 3);
        drop((one, two));
        assert_eq!(Counters::open(&RealEnv, dir.path(), 0o600, true).get(4), 5);
    }

    #[test]
    fn a_store_that_is_only_read_counts_for_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let counters = Counters::open(&RealEnv, dir.path(), 0o600, false);
        counters.count(EngineCounter::Damaged);
        assert_eq!(counters.get(EngineCounter::Damaged.id()), 1);
        assert!(RealEnv.sizes(&dir.path().join(FILE_NAME)).is_err());
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn a_store_that_is_only_read_shows_what_was_counted_and_keeps_it() {
        let dir = tempfile::tempdir().unwrap();
        let shared = Counters::open(&RealEnv, dir.path(), 0o600, true);
        shared.add(COUNTERS - 1, 7);
        let private = Counters::open(&RealEnv, dir.path(), 0o600, false);
        private.add(COUNTERS - 1, 1);
        assert_eq!(private.get(COUNTERS - 1), 8);
        assert_eq!(shared.get(COUNTERS - 1), 7);
    }

    #[test]
    fn engine_ids_fit_the_file() {
        assert!(EngineCounter::ALL.iter().all(|counter| counter.id() < COUNTERS));
    }
}
