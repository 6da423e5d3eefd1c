//! What was acknowledged, for the readers to see: two files that only the conductor writes.
//!
//! 1. `acknowledged` grows by 24 bytes for each put of own keys: writer, number, segment, zero,
//!    sequence.
//! 2. `shared` has 32 bytes for each shared key: the highest acknowledged sequence, its segment,
//!    and both once more inverted, because a reader may see half of a change.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::content::SHARED_KEYS;

/// A put that was acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Acknowledged {
    /// Whose.
    pub writer: u32,
    /// Which of its puts.
    pub number: u32,
    /// Where it was stored.
    pub segment: u32,
    /// The sequence number of its last record.
    pub sequence: u64,
}

/// Whether a record with the right value may have this number: that of its put, or where records
/// are evicted, a higher one, which copies take.
pub fn is_of_put(found: u64, acknowledged: u64, evicts: bool) -> bool {
    found == acknowledged || evicts && found > acknowledged
}

const ENTRY_BYTES: usize = 24;
const SHARED_BYTES: usize = 32;

impl Acknowledged {
    fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..4].copy_from_slice(&self.writer.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.segment.to_le_bytes());
        bytes[16..].copy_from_slice(&self.sequence.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; ENTRY_BYTES]) -> Acknowledged {
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        let sequence = u64::from_le_bytes(bytes[16..].try_into().expect("eight"));
        Acknowledged { writer: number(0), number: number(4), segment: number(8), sequence }
    }
}

/// The board as the conductor writes it.
#[derive(Debug)]
pub struct Writing {
    acknowledged: File,
    shared: File,
}

impl Writing {
    /// Makes the files.
    ///
    /// # Errors
    /// If they cannot be made.
    pub fn new(directory: &Path) -> io::Result<Writing> {
        let acknowledged = File::create_new(directory.join("acknowledged"))?;
        let shared = File::create_new(directory.join("shared"))?;
        let board = Writing { acknowledged, shared };
        for key in 0..SHARED_KEYS {
            board.raise(key, 0, 0)?;
        }
        Ok(board)
    }

    /// Publishes a put of own keys.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, put: &Acknowledged) -> io::Result<()> {
        self.acknowledged.write_all(&put.encode())
    }

    /// Publishes the highest sequence of a shared key.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn raise(&self, key: u64, sequence: u64, segment: u32) -> io::Result<()> {
        let words = [sequence, u64::from(segment), !sequence, !u64::from(segment)];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.shared.write_all_at(&bytes, key * SHARED_BYTES as u64)
    }
}

/// The board as a worker reads it.
#[derive(Debug)]
pub struct Reading {
    acknowledged: File,
    shared: File,
}

impl Reading {
    /// Opens the files.
    ///
    /// # Errors
    /// If they are not there.
    pub fn new(directory: &Path) -> io::Result<Reading> {
        let open = |name| File::open(directory.join(name));
        Ok(Reading { acknowledged: open("acknowledged")?, shared: open("shared")? })
    }

    /// How many puts were acknowledged.
    ///
    /// # Errors
    /// If the file cannot be asked.
    pub fn count(&self) -> io::Result<u64> {
        Ok(self.acknowledged.metadata()?.len() / ENTRY_BYTES as u64)
    }

    /// The n-th put.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn get(&self, index: u64) -> io::Result<Acknowledged> {
        let mut bytes = [0; ENTRY_BYTES];
        self.acknowledged.read_exact_at(&mut bytes, index * ENTRY_BYTES as u64)?;
        Ok(Acknowledged::decode(&bytes))
    }

    /// The highest acknowledged sequence of a shared key and its segment, zero if there is none.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn shared(&self, key: u64) -> io::Result<(u64, u32)> {
        loop {
            let mut bytes = [0; SHARED_BYTES];
            self.shared.read_exact_at(&mut bytes, key * SHARED_BYTES as u64)?;
            let mut words = [0; 4];
            for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
                *word = u64::from_le_bytes(bytes.try_into().expect("eight"));
            }
            let [sequence, segment, sequence_inverted, segment_inverted] = words;
            if sequence == !sequence_inverted && segment == !segment_inverted {
                return Ok((sequence, segment as u32));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut writing = Writing::new(folder.path()).unwrap();
        let reading = Reading::new(folder.path()).unwrap();
        assert_eq!((reading.count().unwrap(), reading.shared(3).unwrap()), (0, (0, 0)));
        let put = Acknowledged { writer: 1, number: 2, segment: 3, sequence: 4 };
        writing.add(&Acknowledged::default()).unwrap();
        writing.add(&put).unwrap();
        writing.raise(3, 1 << 40, 9).unwrap();
        assert_eq!((reading.count().unwrap(), reading.get(1).unwrap()), (2, put));
        assert_eq!(reading.shared(3).unwrap(), (1 << 40, 9));
    }
}
