//! The log: segments by id, and the tail that says where the next record goes.
//!
//! 1. Ids only grow; a segment file is made once, appended to, sealed once, and unlinked.
//! 2. A segment that is missing is no error: it was evicted, and everything in it is a miss.
//! 3. Opened segments are kept per handle, so that a reader of an unlinked one can finish.

mod scan;
mod segment;
mod tail;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

pub use segment::{RecordHead, Segment};
pub use tail::{FILE_NAME as TAIL_FILE_NAME, TailFile};

use crate::env::{Env, File, FileSizes, OpenMode};
use crate::error::{Error, ErrorKind, Result};
use crate::format::segment::{HEADER_BYTES, HEADER_COPY, SegmentHeader};
use crate::limits::PAGE_BYTES;
use crate::options::{Options, ReadMode};
use crate::window::{Ahead, Wanted, Window};

/// Name of the directory of segments in the store's directory.
pub const DIRECTORY_NAME: &str = "log";

/// The file name of a segment.
pub fn name_of(id: u32) -> String {
    format!("{id:08}.seg")
}

/// The id of the segment with this file name.
pub fn id_of(name: &str) -> Option<u32> {
    name.strip_suffix(".seg")?.parse().ok()
}

/// The first copy of the header in a segment's file that `decode` takes.
///
/// # Errors
/// If the disk fails.
pub fn read_header(
    file: &dyn File,
    decode: impl Fn(&[u8]) -> Option<SegmentHeader>,
) -> Result<Option<SegmentHeader>> {
    header_of(|bytes, offset| file.read_at(bytes, offset), decode)
}

fn header_of(
    read: impl Fn(&mut [u8], u64) -> Result<usize>,
    decode: impl Fn(&[u8]) -> Option<SegmentHeader>,
) -> Result<Option<SegmentHeader>> {
    let copy = |offset: usize| {
        let mut bytes = [0; HEADER_BYTES];
        let count = read(&mut bytes, offset as u64)?;
        Ok::<_, Error>(decode(&bytes[..count]))
    };
    match copy(0) {
        Ok(Some(header)) => Ok(Some(header)),
        Err(error) if !error.is_unreadable() => Err(error),
        _ => copy(HEADER_COPY),
    }
}

/// The segments of a store.
#[derive(Debug)]
pub struct Log {
    env: Arc<dyn Env>,
    directory: PathBuf,
    uuid: [u8; 16],
    open_mode: OpenMode,
    read_mode: ReadMode,
    ahead: Arc<Ahead>,
    segments: RwLock<BTreeMap<u32, Arc<Segment>>>,
    /// Segments below were forgotten.
    forgotten_below: AtomicU32,
}

impl Log {
    /// The log of the store at `store`.
    pub fn new(
        env: Arc<dyn Env>,
        store: &Path,
        uuid: [u8; 16],
        writable: bool,
        read_mode: ReadMode,
        ahead: Arc<Ahead>,
    ) -> Self {
        Log {
            env,
            directory: store.join(DIRECTORY_NAME),
            uuid,
            open_mode: if writable { OpenMode::Write } else { OpenMode::Read },
            read_mode,
            ahead,
            segments: RwLock::default(),
            forgotten_below: AtomicU32::new(0),
        }
    }

    fn path(&self, id: u32) -> PathBuf {
        self.directory.join(name_of(id))
    }

    /// A segment, `None` if its file is missing.
    ///
    /// # Errors
    /// `Corrupt` if its header is not valid, `Io` if it cannot be read.
    pub fn segment(&self, id: u32) -> Result<Option<Arc<Segment>>> {
        self.segment_wanting(id, Wanted::Just)
    }

    /// The same for somebody who asks its table next, which has so many pages if it is one of the
    /// usual size: a cold disk brings it with the header.
    ///
    /// # Errors
    /// See [`Log::segment`].
    pub fn segment_and_table(&self, id: u32, table_pages: u16) -> Result<Option<Arc<Segment>>> {
        let bytes = (1 + u64::from(table_pages)) * PAGE_BYTES as u64;
        self.segment_wanting(id, Wanted::Range(0, bytes))
    }

    fn segment_wanting(&self, id: u32, wanted: Wanted) -> Result<Option<Arc<Segment>>> {
        let open = self.segments.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if open.is_some() {
            return Ok(open);
        }
        let path = self.path(id);
        let file = match self.env.open(&path, self.open_mode) {
            // Since the store was opened, its disk has become one that is only read.
            Err(error) if error.kind() == ErrorKind::ReadOnly => {
                self.env.open(&path, OpenMode::Read)
            }
            other => other,
        };
        let file = match file {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let window = Window::with_ahead(file.clone(), ReadMode::Pread, self.ahead.clone());
        let read = |bytes: &mut [u8], offset| window.read_at_wanting(bytes, offset, wanted);
        let header = header_of(read, |bytes| SegmentHeader::decode_of(bytes, id, &self.uuid))?
            .ok_or_else(|| Error::corrupt("the header of a segment is damaged").at_path(&path))?;
        Ok(Some(self.keep(header, file)))
    }

    /// The file of a segment, opened afresh and for reading only; `None` if it is missing.
    ///
    /// # Errors
    /// If it is refused.
    pub fn file(&self, id: u32) -> Result<Option<Arc<dyn File>>> {
        match self.env.open(&self.path(id), OpenMode::Read) {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    /// Forgets an opened segment, so that the next use opens its file again.
    pub fn forget(&self, id: u32) {
        self.segments.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Makes a segment file; one that a killed maker left is replaced. Not before the superblock
    /// names it does it belong to the log; then it is opened as any other.
    ///
    /// # Errors
    /// If it is refused or there is no room.
    pub fn create(&self, header: SegmentHeader, options: &Options) -> Result<()> {
        let path = self.path(header.id);
        let make = || self.env.open(&path, OpenMode::CreateNew(options.file_mode));
        let file = match make() {
            // The name of the directory did not reach the disk, or somebody has removed it.
            Err(error) if error.is_not_found() => {
                self.env.create_dir(&self.directory, options.directory_mode())?;
                make()?
            }
            Err(error) if error.is_already_there() => {
                self.env.remove(&path)?;
                make()?
            }
            other => other?,
        };
        file.give_to_owner();
        // From now on a table that ends early is one that was cut short. It is written in one piece
        // with the header: a cold one is then one read.
        // A write that makes a file longer has XFS reserve blocks behind it.
        let mut bytes = vec![0; header.data_start() as usize];
        let page = header.encode_page();
        bytes[..page.len()].copy_from_slice(&page);
        file.set_len(header.data_start())?;
        file.write_at(&bytes, 0)
    }

    fn keep(&self, header: SegmentHeader, file: Arc<dyn File>) -> Arc<Segment> {
        let segment = Arc::new(Segment::new(header, file, self.read_mode, self.ahead.clone()));
        if header.id < self.forgotten_below.load(Ordering::Relaxed) {
            // Evicted since the caller looked: its blocks are free as soon as the caller is done.
            return segment;
        }
        let mut open = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        open.entry(header.id).or_insert(segment).clone()
    }

    /// Unlinks a segment; one that is gone already is fine.
    ///
    /// # Errors
    /// If it is refused.
    pub fn remove(&self, id: u32) -> Result<()> {
        self.forget(id);
        match self.env.remove(&self.path(id)) {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Forgets the opened segments below `id`, so that their disk blocks can be freed.
    pub fn forget_below(&self, id: u32) {
        if self.forgotten_below.fetch_max(id, Ordering::Relaxed) >= id {
            return;
        }
        let mut open = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        *open = open.split_off(&id);
    }

    /// The ids of the segment files that exist, ascending.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn ids(&self) -> Result<Vec<u32>> {
        let names = match self.env.list(&self.directory) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            other => other?,
        };
        let mut ids: Vec<u32> = names.iter().filter_map(|name| id_of(name)).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Sizes of a segment file, zero if it is gone.
    pub fn sizes(&self, id: u32) -> FileSizes {
        self.env.sizes(&self.path(id)).unwrap_or_default()
    }

    /// Bytes that a segment file occupies, or will when everybody who has reserved room in it has
    /// written: what is reserved makes the file longer before it takes blocks.
    pub fn occupied_bytes(&self, id: u32) -> u64 {
        let sizes = self.sizes(id);
        sizes.disk_bytes.max(sizes.len_bytes)
    }
}
