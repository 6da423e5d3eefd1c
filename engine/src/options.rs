//! How a store is opened. Each option gives its unit, its default and what raising it costs.

use crate::error::{Error, ErrorKind, Result};
use crate::limits::{
    MAX_SIZE_BYTES_DEFAULT, MAX_SIZE_BYTES_MIN, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
    SEGMENT_BYTES_MIN_TEST, SEGMENTS_PER_STORE, ZSTD_LEVEL_DEFAULT,
};

/// How file data is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadMode {
    /// By `pread` at first, through guarded maps of the files that are read often. The default.
    #[default]
    Auto,
    /// By `pread` only: no maps, and no handler for the signals that a fault under one raises.
    Pread,
    /// Through guarded maps from the first read on.
    Map,
}

/// How sections are laid out in new records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RecordLayout {
    /// zstd, small sections together. The default.
    #[default]
    Compressed,
    /// Large sections raw on block boundaries, so that they can be restored by reflink.
    Cloneable,
    /// Nothing compressed: for values that are compressed already, or read far more often than the
    /// disk is short of room.
    Raw,
}

/// Options of [`Store::open`](crate::Store::open).
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) max_size_bytes: u64,
    pub(crate) segment_bytes: Option<u64>,
    pub(crate) read_mode: ReadMode,
    pub(crate) layout: RecordLayout,
    pub(crate) zstd_level: i32,
    pub(crate) read_only: bool,
    pub(crate) create: bool,
    pub(crate) file_mode: u32,
    pub(crate) preallocate: bool,
    pub(crate) job: Option<String>,
    pub(crate) clone_bytes_min: Option<u64>,
    pub(crate) prefetch_bytes: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_size_bytes: MAX_SIZE_BYTES_DEFAULT,
            segment_bytes: None,
            read_mode: ReadMode::default(),
            layout: RecordLayout::default(),
            zstd_level: ZSTD_LEVEL_DEFAULT,
            read_only: false,
            create: true,
            file_mode: 0o600,
            preallocate: false,
            job: None,
            clone_bytes_min: Some(0),
            prefetch_bytes: None,
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Most bytes that the store may occupy on disk (`du`), at least 64 MiB; default 10 GiB.
    ///
    /// It may change between openings. Raising it costs disk; the segment size of a store that
    /// exists stays as it was made.
    pub fn max_size_bytes(mut self, bytes: u64) -> Self {
        self.max_size_bytes = bytes;
        self
    }

    /// Segment size in bytes of a store that is made by this opening; default
    /// `clamp(max_size / 256, 4 MiB, 256 MiB)`. For replays and tests; others leave it alone.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = Some(bytes);
        self
    }

    /// How files are read; default [`ReadMode::Auto`].
    pub fn read_mode(mut self, mode: ReadMode) -> Self {
        self.read_mode = mode;
        self
    }

    /// How new records are laid out; default [`RecordLayout::Compressed`].
    pub fn layout(mut self, layout: RecordLayout) -> Self {
        self.layout = layout;
        self
    }

    /// zstd level, 1 to 22 or negative for the fast ones; default 1. Higher costs time per put.
    pub fn zstd_level(mut self, level: i32) -> Self {
        self.zstd_level = level;
        self
    }

    /// Neither creates nor writes anything; default false. A read-only mount is opened like this by
    /// itself.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Makes the store if the directory is missing or empty; default true.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Permission bits of files that are made, default 0600 (directories get matching execute
    /// bits). Widen them only for a store whose users trust each other.
    pub fn file_mode(mut self, mode: u32) -> Self {
        self.file_mode = mode & 0o666;
        self
    }

    /// Whether disk blocks are reserved ahead of the tail (at most 16 MiB); default false, see
    /// docs/decisions/0005. For file systems that allocate on each write rather than on write-back.
    pub fn preallocate(mut self, preallocate: bool) -> Self {
        self.preallocate = preallocate;
        self
    }

    /// The job of which this process is a part: what it gets and puts is noted there, see
    /// [`Store::start_job`](crate::Store::start_job). One that the store does not know is ignored.
    /// Default none, which costs nothing; with one, a hit costs a map of its file.
    pub fn job(mut self, id: Option<String>) -> Self {
        self.job = id;
        self
    }

    /// In the cloneable layout: sections of at least this many bytes are raw, and are cloned when
    /// they are restored; default and least 16 KiB. `None` goes by the file system and the kind of
    /// its disk ([`Device::clone_bytes_min`](crate::env::Device::clone_bytes_min)), and stores
    /// nothing raw where files cannot be cloned.
    pub fn clone_bytes_min(mut self, bytes: Option<u64>) -> Self {
        self.clone_bytes_min = bytes;
        self
    }

    /// Most bytes that are prefetched behind a record that had to be waited for; default 2 MiB on a
    /// disk with moving heads, 0 on others, see docs/decisions/0014. More costs a random hit
    /// nothing, and a build memory and up to 7 ms per MiB where it leaves the order of the log; 0
    /// prefetches nothing of the index either. For measurements; others leave it alone.
    pub fn prefetch_bytes(mut self, bytes: u64) -> Self {
        self.prefetch_bytes = Some(bytes);
        self
    }

    /// Segment size that a new store gets, in bytes.
    pub(crate) fn new_segment_bytes(&self) -> u64 {
        self.segment_bytes.unwrap_or_else(|| {
            let wanted = self.max_size_bytes / SEGMENTS_PER_STORE;
            wanted.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX) / 4096 * 4096
        })
    }

    /// Permission bits of directories: they can be searched by those who may read their files.
    pub(crate) fn directory_mode(&self) -> u32 {
        self.file_mode | (self.file_mode & 0o444) >> 2
    }

    pub(crate) fn check(&self) -> Result<()> {
        // A store for a replay or a test may be smaller, with segments to match.
        if self.max_size_bytes < MAX_SIZE_BYTES_MIN && self.segment_bytes.is_none() {
            return Err(Error::new(ErrorKind::Limit, "max_size must be at least 64 MiB"));
        }
        let segment_bytes = self.new_segment_bytes();
        if !(SEGMENT_BYTES_MIN_TEST..=SEGMENT_BYTES_MAX).contains(&segment_bytes)
            || !segment_bytes.is_multiple_of(4096)
        {
            return Err(Error::new(
                ErrorKind::Limit,
                "the segment size must be a multiple of 4096 between 64 KiB and 256 MiB",
            ));
        }
        if segment_bytes.saturating_mul(4) > self.max_size_bytes {
            return Err(Error::new(ErrorKind::Limit, "max_size must hold at least four segments"));
        }
        if !(-50..=22).contains(&self.zstd_level) {
            return Err(Error::new(ErrorKind::Limit, "the zstd level must be between -50 and 22"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_a_256th_of_the_store_within_bounds() {
        let of = |bytes| Options::new().max_size_bytes(bytes).new_segment_bytes();
        assert_eq!(of(64 << 20), 4 << 20);
        assert_eq!(of(10 << 30), 40 << 20);
        assert_eq!(of(1 << 40), 256 << 20);
    }

    #[test]
    fn directories_follow_the_mode_of_files() {
        let of = |mode| Options::new().file_mode(mode).directory_mode();
        assert_eq!([0o600, 0o660, 0o664].map(of), [0o700, 0o770, 0o775]);
    }

    #[test]
    fn too_small_a_store_is_refused() {
        assert!(Options::new().max_size_bytes(1 << 20).check().is_err());
        assert!(Options::new().max_size_bytes(1 << 20).segment_bytes(64 << 10).check().is_ok());
        assert!(Options::new().zstd_level(23).check().is_err());
    }
}
