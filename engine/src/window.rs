//! Windows: a file that is read by calls at first, and through a map once that pays.
//!
//! 1. A call costs a few hundred nanoseconds each time; a map costs some microseconds once, and
//!    nearly nothing from then on. So a process that looks a few keys up never maps anything, and
//!    one that goes on does ([`ReadMode::Auto`]; the figures are in docs/decisions/0007).
//! 2. A map is as long as the file was when it was made. What lies behind is read by calls, and
//!    after as many of these as before the first map a longer one is made.
//! 3. A call finds out by itself whether it would have to wait for a disk (decision 0014). Then, on
//!    a disk with moving heads, what will be asked for next is prefetched first: see [`Wanted`].
//!    What is in memory costs no call more than before.
//! 4. After a fault under a map (the disk fails, the file was cut short) the map is dropped, and
//!    the read goes by a call, which has an error to give or what is left of the file.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use crate::env::map::Map;
use crate::env::{File, Resident};
use crate::error::Result;
use crate::limits::{PREFETCH_BYTES_MAX, PREFETCH_BYTES_MIN};
use crate::options::ReadMode;

/// Calls after which a map pays for itself.
const CALLS_BEFORE_MAP: u32 = 32;

/// The same after a call that had to wait for the disk: a map tells nobody that it waits, and its
/// faults bring small pieces.
const CALLS_BEFORE_MAP_COLD: u32 = 4096;

/// Reads after one that had to wait that are looked at before they are made.
const SUSPECTS: u32 = 256;

/// In place of a number of calls: no map is to be made.
const NEVER: u32 = u32::MAX;

/// How far prefetching goes; shared by the files of a store.
#[derive(Debug, Default)]
pub struct Ahead {
    /// The bound that the caller gave.
    bytes_max: Option<u64>,
    /// The bound for the disk, once it was asked.
    of_disk: OnceLock<u64>,
    /// Reads that are still suspected of having to wait, because one of late had to.
    suspects_left: AtomicU32,
}

impl Ahead {
    /// Up to `bytes_max`, or as the disk needs it.
    pub fn new(bytes_max: Option<u64>) -> Self {
        Ahead { bytes_max, ..Ahead::default() }
    }

    /// Whether a read of late had to wait.
    fn suspects(&self) -> bool {
        let left = self.suspects_left.load(Ordering::Relaxed);
        if left > 0 {
            self.suspects_left.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }

    /// Whether it is known that nothing is to be prefetched.
    fn is_off(&self) -> bool {
        self.bytes_max.or(self.of_disk.get().copied()) == Some(0)
    }

    /// What is prefetched behind a record at most, 0 for nothing at all. Where the disk does not
    /// say of what kind it is, heads are assumed: one read too long costs others little.
    fn bytes_max(&self, file: &dyn File) -> u64 {
        let of_disk = || match file.is_rotational() {
            Some(false) => 0,
            _ => PREFETCH_BYTES_MAX,
        };
        self.bytes_max.unwrap_or_else(|| *self.of_disk.get_or_init(of_disk))
    }
}

/// What is wanted when a read has to wait for the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// What is read, no more.
    Just,
    /// A record of about this length, from where the read begins, and what stands behind it.
    Record {
        /// Its length, or a little more.
        bytes: u64,
        /// Where the first record of the file stands.
        first: u64,
    },
    /// This range, as offset and length.
    Range(u64, u64),
    /// The part of the file around it, in pieces of this length.
    Around(u64),
}

/// A file to be read.
#[derive(Debug)]
pub struct Window {
    file: Arc<dyn File>,
    ahead: Option<Arc<Ahead>>,
    /// Calls left before the next map.
    calls_left: AtomicU32,
    map: RwLock<Option<Map>>,
}

/// A map that is held.
#[derive(Debug)]
pub struct Mapped<'a>(RwLockReadGuard<'a, Option<Map>>);

impl Deref for Mapped<'_> {
    type Target = Map;

    fn deref(&self) -> &Map {
        self.0.as_ref().expect("it was made of one")
    }
}

impl Window {
    /// A window on `file`, with no map yet.
    pub fn new(file: Arc<dyn File>, mode: ReadMode) -> Self {
        let calls_left = match mode {
            ReadMode::Pread => NEVER,
            ReadMode::Auto => CALLS_BEFORE_MAP,
            ReadMode::Map => 0,
        };
        Window { file, ahead: None, calls_left: AtomicU32::new(calls_left), map: RwLock::new(None) }
    }

    /// The same with prefetching.
    pub fn with_ahead(file: Arc<dyn File>, mode: ReadMode, ahead: Arc<Ahead>) -> Self {
        Window { ahead: Some(ahead), ..Window::new(file, mode) }
    }

    /// The file.
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Reads at `offset` until `buffer` is full or the file ends; returns the bytes read.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.read_at_wanting(buffer, offset, Wanted::Just)
    }

    /// The same; if the disk is needed, what is wanted is prefetched first.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read_at_wanting(&self, buffer: &mut [u8], offset: u64, wanted: Wanted) -> Result<usize> {
        if self.calls_left.load(Ordering::Relaxed) == NEVER {
            return self.call(buffer, offset, wanted);
        }
        let end = offset.saturating_add(buffer.len() as u64);
        if self.read_mapped(buffer, offset, end) {
            return Ok(buffer.len());
        }
        match self.calls_left.load(Ordering::Relaxed) {
            NEVER => {}
            0 => {
                self.calls_left.store(self.renew_map(), Ordering::Relaxed);
                if self.read_mapped(buffer, offset, end) {
                    return Ok(buffer.len());
                }
            }
            // Two threads that count at once count one call; that only delays a map.
            more => self.calls_left.store(more - 1, Ordering::Relaxed),
        }
        self.call(buffer, offset, wanted)
    }

    /// Reads by calls.
    fn call(&self, buffer: &mut [u8], offset: u64, wanted: Wanted) -> Result<usize> {
        let resident = match (&self.ahead, wanted) {
            (None, _) | (_, Wanted::Just) => None,
            // Asked first, the disk brings all in one piece; a read that does not wait lets the
            // kernel begin with its own piece. While nothing waits it would be one call more.
            (Some(ahead), _) if ahead.suspects() && !self.has_both_ends(buffer, offset) => {
                self.fetch(offset, wanted);
                None
            }
            _ => self.file.read_resident(buffer, offset)?,
        };
        match resident {
            None => self.file.read_at(buffer, offset),
            Some(resident) if resident.is_all => Ok(resident.bytes),
            Some(Resident { bytes, .. }) => {
                self.fetch_missing(offset + bytes as u64, offset, wanted);
                Ok(bytes + self.file.read_at(&mut buffer[bytes..], offset + bytes as u64)?)
            }
        }
    }

    /// Whether the first and the last byte of a read are in memory.
    fn has_both_ends(&self, buffer: &[u8], offset: u64) -> bool {
        let last = offset + (buffer.len() as u64).saturating_sub(1);
        self.file.is_resident(offset) && self.file.is_resident(last)
    }

    /// The same after a read that would have had to wait for the byte at `missing`, if that is the
    /// disk's: XFS answers so, too, while somebody writes to the file, which is no reason to look
    /// at every read from now on.
    fn fetch_missing(&self, missing: u64, offset: u64, wanted: Wanted) {
        let may_fetch = self.ahead.as_ref().is_some_and(|ahead| !ahead.is_off());
        if may_fetch && !self.file.is_resident(missing) {
            self.fetch(offset, wanted);
        }
    }

    /// Has the disk begin to read what is wanted.
    fn fetch(&self, offset: u64, wanted: Wanted) {
        let bytes_max = self.ahead.as_ref().map_or(0, |ahead| ahead.bytes_max(&*self.file));
        let Some(ahead) = self.ahead.as_ref().filter(|_| bytes_max > 0) else { return };
        ahead.suspects_left.store(SUSPECTS, Ordering::Relaxed);
        if self.calls_left.load(Ordering::Relaxed) != NEVER {
            self.calls_left.store(CALLS_BEFORE_MAP_COLD, Ordering::Relaxed);
        }
        match wanted {
            Wanted::Just => {}
            Wanted::Record { bytes, first } => {
                let behind = self.bytes_behind(offset, offset.saturating_sub(first), bytes_max);
                self.file.prefetch(offset, bytes + behind);
            }
            Wanted::Range(start, bytes) => self.file.prefetch(start, bytes),
            Wanted::Around(piece) => self.file.prefetch(offset / piece * piece, piece),
        }
    }

    /// How much to prefetch behind a record that has others `before` it: four times as much for
    /// each distance before it that is in memory, because then somebody reads in the order of the
    /// log.
    fn bytes_behind(&self, offset: u64, before: u64, bytes_max: u64) -> u64 {
        let mut behind = PREFETCH_BYTES_MIN.min(bytes_max);
        while behind < bytes_max && before >= behind / 4 {
            if !self.file.is_resident(offset - behind / 4) {
                break;
            }
            behind = (behind * 4).min(bytes_max);
        }
        behind
    }

    /// Whether a long read should go by calls, because the byte at `probe` has to come from the
    /// disk, or something of late had to; what is wanted from `offset` on is then prefetched.
    pub fn prefers_calls(&self, probe: u64, offset: u64, wanted: Wanted) -> bool {
        let Some(ahead) = &self.ahead else { return false };
        if self.mapped().is_some() {
            return false;
        }
        if ahead.suspects() {
            if !self.file.is_resident(probe) {
                self.fetch(offset, wanted);
            }
            return true;
        }
        let resident = self.file.read_resident(&mut [0], probe);
        let waits = matches!(resident, Ok(Some(Resident { is_all: false, .. })));
        if waits {
            self.fetch_missing(probe, offset, wanted);
        }
        waits
    }

    /// Reads up to `bytes` at `offset`; fewer if the file ends there.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read(&self, bytes: usize, offset: u64) -> Result<Vec<u8>> {
        self.read_wanting(bytes, offset, Wanted::Just)
    }

    /// The same; if the disk is needed, what is wanted is prefetched first.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read_wanting(&self, bytes: usize, offset: u64, wanted: Wanted) -> Result<Vec<u8>> {
        if let Some(map) = self.mapped()
            && let Some(read) = map.copy(bytes, offset)
        {
            return Ok(read);
        }
        let mut buffer = vec![0; bytes];
        let count = self.read_at_wanting(&mut buffer, offset, wanted)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    /// Reads through the map; `false` if it does not reach to `end`, or has met a fault.
    fn read_mapped(&self, buffer: &mut [u8], offset: u64, end: u64) -> bool {
        let Some(map) = self.mapped() else { return false };
        if end > map.len() as u64 {
            return false;
        }
        let is_whole = map.copy_to(buffer, offset).is_ok();
        if !is_whole {
            drop(map);
            *self.map.write().unwrap_or_else(PoisonError::into_inner) = None;
            self.calls_left.store(CALLS_BEFORE_MAP, Ordering::Relaxed);
        }
        is_whole
    }

    /// Maps the file now, if it may be and the map does not reach to `end` yet.
    pub fn ensure_mapped(&self, end: u64) {
        let reaches = || self.mapped().is_some_and(|map| end <= map.len() as u64);
        if self.calls_left.load(Ordering::Relaxed) != NEVER && !reaches() {
            self.calls_left.store(self.renew_map(), Ordering::Relaxed);
        }
    }

    /// The map, if there is one by now; it is not replaced as long as this is held.
    pub fn mapped(&self) -> Option<Mapped<'_>> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        map.is_some().then_some(Mapped(map))
    }

    /// Maps the file as long as it is now; answers after how many calls to try again.
    fn renew_map(&self) -> u32 {
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let len_bytes = self.file.sizes().map_or(0, |sizes| sizes.len_bytes);
        let is_longer = map.as_ref().is_none_or(|map| (map.len() as u64) < len_bytes);
        if len_bytes > 0 && is_longer {
            match usize::try_from(len_bytes).ok().and_then(|bytes| self.file.map(bytes).ok()) {
                Some(longer) => *map = Some(longer),
                // Too many maps, or a file system that has none.
                None => return NEVER,
            }
        }
        CALLS_BEFORE_MAP
    }
}

// Miri maps no files.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::env::{Env, OpenMode, RealEnv};

    fn window(mode: ReadMode) -> (tempfile::TempDir, Window) {
        let dir = tempfile::tempdir().unwrap();
        let file = RealEnv.open(&dir.path().join("file"), OpenMode::Create(0o600)).unwrap();
        file.write_at(&[1; 5000], 0).unwrap();
        (dir, Window::new(file, mode))
    }

    /// A disk of which some pages are in memory, that notes what it is asked for.
    #[derive(Debug)]
    struct ColdFile {
        resident: std::sync::Mutex<std::collections::BTreeSet<u64>>,
        calls: AtomicU32,
        fetched: std::sync::Mutex<Vec<(u64, u64)>>,
        rotates: Option<bool>,
        /// Somebody writes to it: reads would wait for that.
        is_busy: std::sync::atomic::AtomicBool,
    }

    const COLD_BYTES: u64 = 64 << 20;
    const PAGE: u64 = 4096;

    impl ColdFile {
        fn bring(&self, offset: u64, bytes: u64) {
            let pages = offset / PAGE..(offset + bytes).div_ceil(PAGE);
            self.resident.lock().unwrap().extend(pages);
        }

        fn fetched(&self) -> Vec<(u64, u64)> {
            std::mem::take(&mut self.fetched.lock().unwrap())
        }
    }

    impl File for ColdFile {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            self.bring(offset, buffer.len() as u64);
            let count = buffer.len().min((COLD_BYTES - offset) as usize);
            buffer[..count].fill(7);
            Ok(count)
        }

        fn read_resident(&self, buffer: &mut [u8], offset: u64) -> Result<Option<Resident>> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            if self.is_busy.load(Ordering::Relaxed) {
                return Ok(Some(Resident { bytes: 0, is_all: false }));
            }
            let end = COLD_BYTES.min(offset + buffer.len() as u64);
            let resident = self.resident.lock().unwrap();
            let missing = (offset / PAGE..end.div_ceil(PAGE)).find(|page| !resident.contains(page));
            let until = missing.map_or(end, |page| (page * PAGE).max(offset));
            let bytes = (until - offset) as usize;
            buffer[..bytes].fill(7);
            Ok(Some(Resident { bytes, is_all: missing.is_none() }))
        }

        fn is_resident(&self, offset: u64) -> bool {
            self.resident.lock().unwrap().contains(&(offset / PAGE))
        }

        fn prefetch(&self, offset: u64, bytes: u64) {
            self.fetched.lock().unwrap().push((offset, bytes));
            self.bring(offset, bytes);
        }

        fn is_rotational(&self) -> Option<bool> {
            self.rotates
        }

        fn write_at(&self, _: &[u8], _: u64) -> Result<()> {
            unreachable!("nothing is written")
        }

        fn sizes(&self) -> Result<crate::env::FileSizes> {
            Ok(crate::env::FileSizes { len_bytes: COLD_BYTES, disk_bytes: COLD_BYTES })
        }

        fn set_len(&self, _: u64) -> Result<()> {
            unreachable!("nothing is written")
        }

        fn sync(&self) -> Result<()> {
            unreachable!("nothing is written")
        }

        fn preallocate(&self, _: u64, _: u64) -> Result<()> {
            unreachable!("nothing is written")
        }

        fn map(&self, _: usize) -> Result<Map> {
            Err(crate::error::Error::new(crate::error::ErrorKind::Io, "it has no maps"))
        }

        fn map_words(&self, _: usize) -> Result<crate::env::map::SharedWords> {
            unreachable!("nothing is counted")
        }

        fn try_lock(&self, _: u64, _: crate::env::Sharing) -> Result<bool> {
            unreachable!("nothing is locked")
        }

        fn unlock(&self, _: u64) {}

        fn clone_from(&self, _: &dyn File, _: u64, _: u64, _: u64) -> Result<()> {
            unreachable!("nothing is cloned")
        }
    }

    fn cold(rotates: Option<bool>, bytes_max: Option<u64>) -> (Arc<ColdFile>, Window) {
        let file = Arc::new(ColdFile {
            resident: std::sync::Mutex::default(),
            calls: AtomicU32::new(0),
            fetched: std::sync::Mutex::default(),
            rotates,
            is_busy: false.into(),
        });
        let ahead = Arc::new(Ahead::new(bytes_max));
        (file.clone(), Window::with_ahead(file, ReadMode::Pread, ahead))
    }

    const RECORD: Wanted = Wanted::Record { bytes: 10_000, first: 4096 };

    #[test]
    fn what_is_in_memory_costs_one_call_and_no_prefetching() {
        let (file, window) = cold(Some(true), None);
        file.bring(0, COLD_BYTES);
        for round in 0..10 {
            assert_eq!(window.read_wanting(9000, round * 9000, RECORD).unwrap(), [7; 9000]);
        }
        // At the end of the file, too.
        assert_eq!(window.read_wanting(9000, COLD_BYTES - 100, RECORD).unwrap(), [7; 100]);
        assert_eq!(file.calls.load(Ordering::Relaxed), 11);
        assert_eq!(file.fetched(), []);
    }

    #[test]
    fn a_file_that_is_written_to_is_not_taken_for_a_cold_one() {
        let (file, window) = cold(Some(true), None);
        file.bring(0, COLD_BYTES);
        file.is_busy.store(true, Ordering::Relaxed);
        for round in 0..10 {
            assert_eq!(window.read_wanting(9000, round * 9000, RECORD).unwrap(), [7; 9000]);
            window.prefers_calls(round * 9000, round * 9000, RECORD);
        }
        assert_eq!(file.fetched(), []);
        file.is_busy.store(false, Ordering::Relaxed);
        let before = file.calls.load(Ordering::Relaxed);
        window.read_wanting(9000, 0, RECORD).unwrap();
        assert_eq!(file.calls.load(Ordering::Relaxed) - before, 1);
    }

    #[test]
    fn a_cold_record_comes_with_what_stands_behind_it() {
        let (file, window) = cold(Some(true), None);
        assert_eq!(window.read_wanting(9000, 32 << 20, RECORD).unwrap(), [7; 9000]);
        assert_eq!(file.fetched(), [(32 << 20, 10_000 + PREFETCH_BYTES_MIN)]);
        // That is where its neighbour is found.
        window.read_wanting(9000, (32 << 20) + 10_048, RECORD).unwrap();
        assert_eq!(file.fetched(), []);
    }

    #[test]
    fn reading_in_the_order_of_the_log_prefetches_more_and_more() {
        let (file, window) = cold(Some(true), None);
        let mut sizes = Vec::new();
        for number in 0..600u64 {
            window.read_wanting(9000, (1 << 20) + number * 10_048, RECORD).unwrap();
            sizes.extend(file.fetched().into_iter().map(|(_, bytes)| bytes - 10_000));
        }
        assert_eq!(sizes[0], PREFETCH_BYTES_MIN);
        assert_eq!(*sizes.last().unwrap(), PREFETCH_BYTES_MAX);
        assert!(sizes.is_sorted() && sizes.len() <= 8, "{sizes:?}");
    }

    #[test]
    fn the_table_in_memory_is_no_record_before_the_first_one() {
        let (file, window) = cold(Some(true), None);
        file.bring(0, 1 << 20);
        let first = Wanted::Record { bytes: 10_000, first: 1 << 20 };
        window.read_wanting(9000, 1 << 20, first).unwrap();
        assert_eq!(file.fetched(), [(1 << 20, 10_000 + PREFETCH_BYTES_MIN)]);
    }

    #[test]
    fn pages_of_the_index_come_with_those_around_them() {
        let (file, window) = cold(None, None);
        window.read_wanting(4096, (5 << 20) + 8192, Wanted::Around(1 << 20)).unwrap();
        window.read_wanting(4096, 9 << 20, Wanted::Range(8 << 20, 2 << 20)).unwrap();
        assert_eq!(file.fetched(), [(5 << 20, 1 << 20), (8 << 20, 2 << 20)]);
    }

    #[test]
    fn disks_without_heads_and_zero_bytes_prefetch_nothing() {
        for (rotates, bytes_max) in [(Some(false), None), (Some(true), Some(0))] {
            let (file, window) = cold(rotates, bytes_max);
            for round in 0..10 {
                window.read_wanting(9000, round << 20, RECORD).unwrap();
            }
            assert!(!window.prefers_calls(0, 0, RECORD));
            assert!(window.prefers_calls(40 << 20, 40 << 20, RECORD));
            assert_eq!(file.fetched(), []);
        }
    }

    #[test]
    fn the_real_file_says_what_is_in_memory() {
        let (_dir, window) = window(ReadMode::Pread);
        let mut buffer = [0; 8000];
        // Where the file system cannot say, it says so.
        if let Some(resident) = window.file().read_resident(&mut buffer, 0).unwrap() {
            assert_eq!(resident, Resident { bytes: 5000, is_all: true });
            assert_eq!(buffer[..5000], [1; 5000]);
            assert!(window.file().is_resident(4999));
        }
        window.file().prefetch(0, 5000);
        let past_the_end = window.file().read_resident(&mut buffer, 9000).unwrap();
        assert!(past_the_end.is_none_or(|resident| resident.bytes == 0 && resident.is_all));
    }

    fn is_mapped(window: &Window) -> bool {
        window.map.read().unwrap().is_some()
    }

    #[test]
    fn every_mode_reads_the_same_while_the_file_grows() {
        for mode in [ReadMode::Pread, ReadMode::Auto, ReadMode::Map] {
            let (_dir, window) = window(mode);
            for round in 0..200usize {
                let end = 5000 + round * 100;
                window.file().write_at(&[2; 100], end as u64).unwrap();
                let mut buffer = [0; 200];
                assert_eq!(window.read_at(&mut buffer, end as u64 - 100).unwrap(), 200);
                assert_eq!(buffer[100..], [2; 100]);
                assert_eq!(window.read_at(&mut buffer, end as u64 + 40).unwrap(), 60);
                assert_eq!(window.read_at(&mut buffer, 4900).unwrap(), 200);
                assert_eq!(window.read(200, 4900).unwrap(), buffer);
                assert_eq!(window.read(200, end as u64 + 40).unwrap(), [2; 60]);
                assert_eq!((buffer[..100].to_vec(), buffer[100]), (vec![1; 100], 2));
            }
            assert_eq!(is_mapped(&window), mode != ReadMode::Pread, "{mode:?}");
        }
    }

    #[test]
    fn a_few_reads_map_nothing() {
        let (_dir, window) = window(ReadMode::Auto);
        for _ in 0..CALLS_BEFORE_MAP {
            window.read_at(&mut [0; 10], 0).unwrap();
        }
        assert!(!is_mapped(&window));
        window.read_at(&mut [0; 10], 0).unwrap();
        assert!(is_mapped(&window));
    }

    #[test]
    fn a_map_can_be_had_at_once() {
        for mode in [ReadMode::Pread, ReadMode::Auto] {
            let (_dir, window) = window(mode);
            window.ensure_mapped(5000);
            assert_eq!(is_mapped(&window), mode == ReadMode::Auto);
            window.file().write_at(&[2; 100], 5000).unwrap();
            window.ensure_mapped(5100);
            assert_eq!(window.mapped().map_or(5100, |map| map.len()), 5100);
        }
    }

    #[test]
    fn a_fault_drops_the_map_and_the_read_goes_by_a_call() {
        let (_dir, window) = window(ReadMode::Map);
        let mut buffer = [0; 10];
        window.read_at(&mut buffer, 0).unwrap();
        window.file().set_len(100).unwrap();
        assert_eq!(window.read_at(&mut buffer, 4500).unwrap(), 0);
        assert!(!is_mapped(&window));
        window.file().write_at(&[3; 5000], 0).unwrap();
        assert_eq!(window.read_at(&mut buffer, 4500).unwrap(), 10);
        assert_eq!(buffer, [3; 10]);
    }
}
