//! Recency: one bit per granule of each live segment, "hit since it grew old".
//!
//! The file holds, for each segment id modulo [`RECENCY_SEGMENTS`], the id and a bitmap. A slot
//! whose id is another one is that of a segment long gone and is taken over. Bits are set with
//! atomic instructions through a shared map; a lost bit costs a hit later, never a wrong byte.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::env::map::SharedWords;
use crate::env::{Env, OpenMode};
use crate::error::Result;
use crate::limits::{RECENCY_GRANULES, RECENCY_SEGMENTS};
use crate::location::Location;

const FILE_NAME: &str = "recency";

/// Words of one segment: its id and its bits.
const STRIDE: usize = 1 + (RECENCY_GRANULES / 64) as usize;

/// The recency bits of a store.
#[derive(Debug)]
pub struct Recency {
    words: SharedWords,
    granule_bytes: u64,
}

impl Recency {
    /// Opens the file, making it if it is missing.
    ///
    /// # Errors
    /// If it cannot be made or mapped.
    pub fn open(env: &dyn Env, store: &Path, mode: u32, segment_bytes: u64) -> Result<Self> {
        let file = env.open(&store.join(FILE_NAME), OpenMode::Create(mode))?;
        let words = file.map_words(STRIDE * RECENCY_SEGMENTS as usize)?;
        Ok(Recency { words, granule_bytes: segment_bytes.div_ceil(RECENCY_GRANULES) })
    }

    fn slot(&self, segment: u32) -> &[AtomicU64] {
        let index = (u64::from(segment) % RECENCY_SEGMENTS) as usize;
        &self.words.words()[index * STRIDE..(index + 1) * STRIDE]
    }

    fn bit(&self, location: Location) -> (usize, u64) {
        // A segment of its own size has more granules than bits; its last bit stands for the rest.
        let granule = (location.offset() / self.granule_bytes).min(RECENCY_GRANULES - 1);
        (1 + (granule / 64) as usize, 1 << (granule % 64))
    }

    /// Notes a hit of the record at `location`.
    pub fn touch(&self, location: Location) {
        let slot = self.slot(location.segment);
        // Ids are stored plus one, so that a file of zeros belongs to no segment.
        let id = u64::from(location.segment) + 1;
        if slot[0].load(Ordering::Acquire) != id {
            slot[1..].iter().for_each(|word| word.store(0, Ordering::Relaxed));
            slot[0].store(id, Ordering::Release);
        }
        let (word, bit) = self.bit(location);
        if slot[word].load(Ordering::Relaxed) & bit == 0 {
            slot[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether a record near `location` was hit since its segment grew old.
    #[cfg(test)]
    pub fn was_touched(&self, location: Location) -> bool {
        let slot = self.slot(location.segment);
        let (word, bit) = self.bit(location);
        slot[0].load(Ordering::Acquire) == u64::from(location.segment) + 1
            && slot[word].load(Ordering::Relaxed) & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::RealEnv;

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn a_touched_granule_is_remembered_until_its_slot_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let recency = Recency::open(&RealEnv, dir.path(), 0o600, 4 << 20).unwrap();
        let at = |segment, offset| Location::new(segment, offset, 64, 1);
        assert!(!recency.was_touched(at(0, 8192)));
        recency.touch(at(0, 8192));
        assert!(recency.was_touched(at(0, 8192)));
        assert!(!recency.was_touched(at(0, 1 << 20)));
        assert!(!recency.was_touched(at(1, 8192)));
        let successor = RECENCY_SEGMENTS as u32;
        recency.touch(at(successor, 1 << 20));
        assert!(!recency.was_touched(at(0, 8192)));
        assert!(recency.was_touched(at(successor, 1 << 20)));
        assert!(!recency.was_touched(at(successor, 8192)));
        assert!(recency.was_touched(at(successor, (1 << 20) + 64)));
        recency.touch(at(2, (256 << 20) - 64));
        assert!(recency.was_touched(at(2, (256 << 20) - 64)));
    }
}
