//! What is done to a store while its disk is recorded.

use larder_engine::{Options, RecordLayout};

/// The numbers that a recording follows from; the same in all of its processes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Of everything random.
    pub seed: u64,
    /// Of the store.
    pub segment_bytes: u64,
    /// Of the store: if it is small, the store evicts.
    pub max_size_bytes: u64,
    /// Processes that put.
    pub writers: u64,
    /// Operations of each of them.
    pub operations: u64,
    /// Whether the engine's syncs do nothing, which the checks must find.
    pub forgets_syncs: bool,
}

/// No store here comes near it.
const MAX_SIZE_BYTES: u64 = 1 << 30;
/// A tenth of what is put.
const MAX_SIZE_BYTES_EVICTING: u64 = 12 << 20;

/// Segments of a store that keeps everything, by seed: small ones roll, seal and merge often.
const SEGMENT_BYTES: [u64; 4] = [256 << 10, 64 << 10, 1 << 20, 128 << 10];
const SEGMENT_BYTES_EVICTING: u64 = 128 << 10;

impl Load {
    /// Of a store that keeps everything.
    pub fn keeping(seed: u64, writers: u64, operations: u64) -> Load {
        let segment_bytes = SEGMENT_BYTES[(seed % 4) as usize];
        let max_size_bytes = MAX_SIZE_BYTES;
        Load { seed, segment_bytes, max_size_bytes, writers, operations, forgets_syncs: false }
    }

    /// Of a store that evicts.
    pub fn evicting(seed: u64, writers: u64, operations: u64) -> Load {
        let segment_bytes = SEGMENT_BYTES_EVICTING;
        let max_size_bytes = MAX_SIZE_BYTES_EVICTING;
        Load { segment_bytes, max_size_bytes, ..Load::keeping(seed, writers, operations) }
    }

    /// Whether records may go.
    pub fn evicts(&self) -> bool {
        self.max_size_bytes < MAX_SIZE_BYTES
    }

    /// How a writer opens the store.
    pub fn options(&self, writer: u64) -> Options {
        let layout = match writer % 3 {
            0 => RecordLayout::Compressed,
            1 => RecordLayout::Cloneable,
            _ => RecordLayout::Raw,
        };
        let options = Options::new().segment_bytes(self.segment_bytes).layout(layout);
        options.max_size_bytes(self.max_size_bytes).preallocate(writer == 1)
    }

    /// As one word of a command line.
    pub fn word(&self) -> String {
        let Load { seed, segment_bytes, max_size_bytes, writers, operations, forgets_syncs } = self;
        let forgets_syncs = u8::from(*forgets_syncs);
        format!("{seed}:{segment_bytes}:{max_size_bytes}:{writers}:{operations}:{forgets_syncs}")
    }

    /// What such a word says, `None` if it is none.
    pub fn parse(word: &str) -> Option<Load> {
        let numbers: Option<Vec<u64>> = word.split(':').map(|word| word.parse().ok()).collect();
        let [seed, segment_bytes, max_size_bytes, writers, operations, forgets] = numbers?[..]
        else {
            return None;
        };
        let forgets_syncs = forgets == 1;
        Some(Load { seed, segment_bytes, max_size_bytes, writers, operations, forgets_syncs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_all_of_it() {
        let keeping = Load::keeping(5, 3, 70);
        let forgetful = Load { forgets_syncs: true, ..Load::evicting(6, 2, 9) };
        for load in [keeping, forgetful] {
            assert_eq!(Load::parse(&load.word()), Some(load));
        }
        assert!(forgetful.evicts() && !keeping.evicts());
        assert_eq!(Load::parse("1:2:3"), None);
    }
}
