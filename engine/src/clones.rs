//! What is remembered for cloning as long as one kernel runs: sections that were checked, and the
//! kind of the disk.
//!
//! 1. A file of lines with eight words each. A word stands for one fact, of which it is a hash
//!    under the boot id and the store's uuid: what another kernel noted means nothing, and nothing
//!    has to be cleared. Words are read and written by calls and with no lock; a lost one costs a
//!    second check.
//! 2. "This section is whole" is a fact about a place in a segment, its salt, the section's
//!    checksum, and the stamp of the segment's file: whoever writes to the file, or puts another in
//!    its place, ends it. It is noted only once the file has rested, because a change right after
//!    the check may leave the times as they were.
//! 3. Only puts make the file; where there is none, hits check each time.

use std::path::Path;
use std::sync::Arc;

use crate::checksum::xxh3_64;
use crate::coding::read_u64;
use crate::env::{Device, Env, File, OpenMode, Stamp};
use crate::error::Result;
use crate::limits::CLONES_LINES;

/// Name of the file in the store's directory.
pub const FILE_NAME: &str = "clones";

const WORD_BYTES: usize = size_of::<u64>();
const LINE_BYTES: usize = 8 * WORD_BYTES;

/// Length of the file in bytes when every line is in use.
pub const FILE_BYTES_MAX: u64 = CLONES_LINES * LINE_BYTES as u64;

/// A section in a segment.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The segment's file as it is.
    pub stamp: Stamp,
    /// The segment's salt.
    pub salt: u64,
    /// Where the section begins in it.
    pub offset: u64,
    /// The section's stored bytes.
    pub stored_bytes: u64,
    /// The section's checksum.
    pub check: u128,
}

/// The memory of a store.
#[derive(Debug)]
pub struct Clones {
    file: Arc<dyn File>,
    seed: u64,
}

impl Clones {
    /// Opens the file.
    ///
    /// # Errors
    /// If it is missing or refused.
    pub fn open(env: &dyn Env, store: &Path, uuid: &[u8; 16], mode: OpenMode) -> Result<Self> {
        let file = env.open(&store.join(FILE_NAME), mode)?;
        if matches!(mode, OpenMode::Create(_)) && file.sizes()?.len_bytes == 0 {
            // So that a line is read by one call.
            file.set_len(FILE_BYTES_MAX)?;
        }
        let seed = xxh3_64(&[env.boot_id(), *uuid].concat(), 0);
        Ok(Clones { file, seed })
    }

    /// Whether the section there is known to be whole.
    pub fn is_whole(&self, place: &Place) -> bool {
        let word = self.word(place);
        let line = self.line(line_of(word));
        line.chunks_exact(WORD_BYTES).any(|bytes| read_u64(bytes, 0) == Some(word))
    }

    /// Remembers that the section there is whole.
    pub fn note_whole(&self, place: &Place) {
        let word = self.word(place);
        let line = self.line(line_of(word));
        let mut words = line.chunks_exact(WORD_BYTES);
        let free = words.position(|bytes| read_u64(bytes, 0) == Some(0));
        let index = free.unwrap_or((word >> 32) as usize % (LINE_BYTES / WORD_BYTES));
        let offset = line_of(word) + (index * WORD_BYTES) as u64;
        // What cannot be noted is checked again.
        let _ = self.file.write_at(&word.to_le_bytes(), offset);
    }

    /// The kind of the disk, if it was noted.
    pub fn device(&self) -> Option<Device> {
        let noted = read_u64(&self.line(0), 0).filter(|noted| *noted != 0)?;
        let stamp = self.file.stamp()?;
        Device::ALL.into_iter().find(|device| self.device_word(*device, &stamp) == noted)
    }

    /// Remembers the kind of the disk.
    pub fn note_device(&self, device: Device) {
        let Some(stamp) = self.file.stamp() else { return };
        let _ = self.file.write_at(&self.device_word(device, &stamp).to_le_bytes(), 0);
    }

    fn line(&self, offset: u64) -> [u8; LINE_BYTES] {
        let mut line = [0; LINE_BYTES];
        // A failure leaves zeros: nothing is known.
        let _ = self.file.read_at(&mut line, offset);
        line
    }

    fn word(&self, place: &Place) -> u64 {
        let Place { stamp, salt, offset, stored_bytes, check } = place;
        let mut fact = Vec::with_capacity(128);
        for number in [stamp.device, stamp.inode, stamp.len_bytes, *salt, *offset, *stored_bytes] {
            fact.extend_from_slice(&number.to_le_bytes());
        }
        fact.extend_from_slice(&stamp.modified_ns.to_le_bytes());
        fact.extend_from_slice(&stamp.changed_ns.to_le_bytes());
        fact.extend_from_slice(&check.to_le_bytes());
        // Zero stands for nothing.
        xxh3_64(&fact, self.seed).max(1)
    }

    /// The directory may have been copied to another disk, and then the file is another one there.
    fn device_word(&self, device: Device, stamp: &Stamp) -> u64 {
        let numbers = [device as u64, stamp.device, stamp.inode];
        xxh3_64(&numbers.map(u64::to_le_bytes).concat(), self.seed).max(1)
    }
}

/// Where the line of a word stands; the first one has the kind of the disk.
fn line_of(word: u64) -> u64 {
    (1 + word % (CLONES_LINES - 1)) * LINE_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::RealEnv;

    fn place(offset: u64) -> Place {
        Place { stamp: Stamp::default(), salt: 1, offset, stored_bytes: 4096, check: 5 }
    }

    fn open(dir: &Path, uuid: [u8; 16]) -> Clones {
        Clones::open(&RealEnv, dir, &uuid, OpenMode::Create(0o600)).unwrap()
    }

    #[test]
    fn what_was_noted_is_known_to_this_store_and_for_this_file() {
        let dir = tempfile::tempdir().unwrap();
        let clones = open(dir.path(), [1; 16]);
        assert!(!clones.is_whole(&place(4096)));
        clones.note_whole(&place(4096));
        assert!(open(dir.path(), [1; 16]).is_whole(&place(4096)));
        assert!(!clones.is_whole(&place(8192)));
        assert!(!open(dir.path(), [2; 16]).is_whole(&place(4096)));
        let mut changed = place(4096);
        changed.stamp.changed_ns += 1;
        assert!(!clones.is_whole(&changed));
        changed = place(4096);
        changed.check += 1;
        assert!(!clones.is_whole(&changed));
    }

    #[test]
    fn a_full_line_forgets_some_and_the_file_stays_short() {
        let dir = tempfile::tempdir().unwrap();
        let clones = open(dir.path(), [1; 16]);
        let count = CLONES_LINES * 16;
        (0..count).for_each(|number| clones.note_whole(&place(number * 4096)));
        let known = (0..count).filter(|number| clones.is_whole(&place(number * 4096))).count();
        assert!((CLONES_LINES * 6..=CLONES_LINES * 8).contains(&(known as u64)), "{known}");
        assert!(clones.file.sizes().unwrap().len_bytes <= FILE_BYTES_MAX);
    }

    #[test]
    fn the_kind_of_the_disk_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let clones = open(dir.path(), [1; 16]);
        assert_eq!(clones.device(), None);
        for device in Device::ALL {
            clones.note_device(device);
            assert_eq!(open(dir.path(), [1; 16]).device(), Some(device));
        }
    }
}
