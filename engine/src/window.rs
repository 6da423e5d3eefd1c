//! Windows: a file that is read by calls at first, and through a map once that pays.
//!
//! 1. A call costs a few hundred nanoseconds each time; a map costs some microseconds once, and
//!    nearly nothing from then on. So a process that looks a few keys up never maps anything, and
//!    one that goes on does ([`ReadMode::Auto`]; the figures are in docs/decisions/0007).
//! 2. A map is as long as the file was when it was made. What lies behind is read by calls, and
//!    after as many of these as before the first map a longer one is made.
//! 3. After a fault under a map (the disk fails, the file was cut short) the map is dropped, and
//!    the read goes by a call, which has an error to give or what is left of the file.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::env::File;
use crate::env::map::Map;
use crate::error::Result;
use crate::options::ReadMode;

/// Calls after which a map pays for itself.
const CALLS_BEFORE_MAP: u32 = 32;

/// In place of a number of calls: no map is to be made.
const NEVER: u32 = u32::MAX;

/// A file to be read.
#[derive(Debug)]
pub struct Window {
    file: Arc<dyn File>,
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
        Window { file, calls_left: AtomicU32::new(calls_left), map: RwLock::new(None) }
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
        if self.calls_left.load(Ordering::Relaxed) == NEVER {
            return self.file.read_at(buffer, offset);
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
        self.file.read_at(buffer, offset)
    }

    /// Reads up to `bytes` at `offset`; fewer if the file ends there.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn read(&self, bytes: usize, offset: u64) -> Result<Vec<u8>> {
        if let Some(map) = self.mapped()
            && let Some(read) = map.copy(bytes, offset)
        {
            return Ok(read);
        }
        let mut buffer = vec![0; bytes];
        let count = self.read_at(&mut buffer, offset)?;
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
