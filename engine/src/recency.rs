//! Recency: one bit per granule of each live segment, "hit since it grew old", or since somebody
//! began to ask what is used: then all bits begin anew, and those of young segments are kept, too.
//!
//! The file holds, for each segment id modulo [`RECENCY_SEGMENTS`], the id and a bitmap. A slot
//! whose id is another one is that of a segment long gone and is taken over. Bits are read and
//! written back with no lock, because most processes touch once and a map costs them more than the
//! hit; of two that write one word at once the later wins, and a lost bit costs a hit later, never
//! a wrong byte.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::coding::{read_u64, write_u64};
use crate::env::{Env, File, OpenMode};
use crate::error::Result;
use crate::limits::{RECENCY_GRANULES, RECENCY_SEGMENTS};
use crate::location::Location;

/// Name of the file in the store's directory.
pub const FILE_NAME: &str = "recency";

const WORD_BYTES: usize = size_of::<u64>();

/// Bytes of one segment: its id and its bits.
const STRIDE_BYTES: usize = WORD_BYTES + (RECENCY_GRANULES / 8) as usize;

/// Length of the file in bytes when every slot is in use; it grows up to that.
pub const FILE_BYTES_MAX: u64 = RECENCY_SEGMENTS * STRIDE_BYTES as u64;

/// The recency bits of a store.
#[derive(Debug)]
pub struct Recency {
    file: Arc<dyn File>,
    granule_bytes: u64,
    /// Words of the file as this handle last saw or wrote them, by segment and place in its slot: a
    /// bit that is set stays so as long as the segment lives.
    seen: Mutex<HashMap<(u32, usize), u64>>,
}

impl Recency {
    /// Opens the file.
    ///
    /// # Errors
    /// If it is missing or refused.
    pub fn open(env: &dyn Env, store: &Path, mode: OpenMode, segment_bytes: u64) -> Result<Self> {
        let file = env.open(&store.join(FILE_NAME), mode)?;
        let granule_bytes = segment_bytes.div_ceil(RECENCY_GRANULES);
        Ok(Recency { file, granule_bytes, seen: Mutex::default() })
    }

    /// Where the slot of a segment stands, and what it holds; zeros if that belongs to another one.
    fn slot(&self, segment: u32) -> Result<(u64, [u8; STRIDE_BYTES])> {
        let offset = u64::from(segment) % RECENCY_SEGMENTS * STRIDE_BYTES as u64;
        let mut slot = [0; STRIDE_BYTES];
        self.file.read_at(&mut slot, offset)?;
        // Ids are stored plus one, so that a file of zeros belongs to no segment.
        let is_its_own = read_u64(&slot, 0) == Some(u64::from(segment) + 1);
        Ok((offset, if is_its_own { slot } else { [0; STRIDE_BYTES] }))
    }

    /// Notes a hit of the record at `location`.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn touch(&self, location: Location) -> Result<()> {
        let (at, bit) = bit(location, self.granule_bytes);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry((location.segment, at)).or_default();
        if *seen & bit != 0 {
            return Ok(());
        }
        let (offset, mut slot) = self.slot(location.segment)?;
        let word = read_u64(&slot, at).unwrap_or(0);
        *seen = word | bit;
        if word & bit != 0 {
            return Ok(());
        }
        write_u64(&mut slot, at, word | bit);
        if read_u64(&slot, 0) == Some(0) {
            write_u64(&mut slot, 0, u64::from(location.segment) + 1);
            return self.file.write_at(&slot, offset);
        }
        self.file.write_at(&slot[at..at + WORD_BYTES], offset + at as u64)
    }

    /// Forgets every hit of some segments, and lets their places be theirs. Of hits that are noted
    /// meanwhile some may stay and some may be lost.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn forget(&self, segments: Range<u32>) -> Result<()> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
        for segment in segments {
            let (offset, _) = self.slot(segment)?;
            let mut slot = [0; STRIDE_BYTES];
            write_u64(&mut slot, 0, u64::from(segment) + 1);
            self.file.write_at(&slot, offset)?;
        }
        Ok(())
    }

    /// Which granules of a segment were hit since it grew old.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn hits(&self, segment: u32) -> Result<Hits> {
        let (_, slot) = self.slot(segment)?;
        let is_its_own = read_u64(&slot, 0) == Some(u64::from(segment) + 1);
        Ok(Hits { slot: Some(slot), is_its_own, granule_bytes: self.granule_bytes })
    }
}

/// Granules of one segment that were hit since it grew old.
#[derive(Clone, Debug)]
pub struct Hits {
    /// `None` where no hits are known.
    slot: Option<[u8; STRIDE_BYTES]>,
    /// Whether the place was this segment's.
    is_its_own: bool,
    granule_bytes: u64,
}

impl Hits {
    /// Of a segment of whose hits nothing is known.
    pub fn none() -> Self {
        Hits { slot: None, is_its_own: false, granule_bytes: 1 }
    }

    /// Whether a record whose hits were noted since [`Recency::forget`] had none.
    pub fn lacks(&self, location: Location) -> bool {
        self.is_its_own && !self.contains(location)
    }

    /// Whether nothing was hit.
    pub fn is_empty(&self) -> bool {
        self.slot.is_none_or(|slot| slot[WORD_BYTES..].iter().all(|byte| *byte == 0))
    }

    /// Whether a record at or near this location of the segment was hit.
    pub fn contains(&self, location: Location) -> bool {
        let (at, bit) = bit(location, self.granule_bytes);
        self.slot.is_some_and(|slot| read_u64(&slot, at).unwrap_or(0) & bit != 0)
    }
}

/// Where in the slot of its segment the word of a location stands, and its bit in that.
fn bit(location: Location, granule_bytes: u64) -> (usize, u64) {
    // A segment of its own size has more granules than bits; its last bit stands for the rest.
    let granule = (location.offset() / granule_bytes).min(RECENCY_GRANULES - 1);
    ((1 + (granule / 64) as usize) * WORD_BYTES, 1 << (granule % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::RealEnv;

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn a_touched_granule_is_remembered_until_its_slot_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let recency =
            Recency::open(&RealEnv, dir.path(), OpenMode::Create(0o600), 4 << 20).unwrap();
        let at = |segment, offset| Location::new(segment, offset, 64, 1);
        let was_touched = |at: Location| recency.hits(at.segment).unwrap().contains(at);
        assert!(recency.hits(0).unwrap().is_empty());
        assert!(!was_touched(at(0, 8192)));
        recency.touch(at(0, 8192)).unwrap();
        assert!(was_touched(at(0, 8192)));
        assert!(!was_touched(at(0, 1 << 20)));
        assert!(!was_touched(at(1, 8192)));
        let successor = RECENCY_SEGMENTS as u32;
        recency.touch(at(successor, 1 << 20)).unwrap();
        assert!(!was_touched(at(0, 8192)));
        assert!(was_touched(at(successor, 1 << 20)));
        assert!(!was_touched(at(successor, 8192)));
        assert!(was_touched(at(successor, (1 << 20) + 64)));
        assert!(!recency.hits(2).unwrap().lacks(at(2, 8192)));
        recency.forget(0..3).unwrap();
        assert!(recency.hits(2).unwrap().lacks(at(2, 8192)));
        assert!(!recency.hits(successor).unwrap().lacks(at(successor, 8192)));
        recency.touch(at(2, 8192)).unwrap();
        assert!(!recency.hits(2).unwrap().lacks(at(2, 8192)));
        recency.touch(at(2, (256 << 20) - 64)).unwrap();
        assert!(was_touched(at(2, (256 << 20) - 64)));
    }
}
