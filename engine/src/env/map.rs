//! Maps of files, guarded: a file that shrinks or a disk that fails under a map is seen as zeros
//! and a flag, never as a killed process.
//!
//! 1. Every map of this module is registered before its first byte is read.
//! 2. A SIGBUS at an address of a registered map puts a page of zeros there, sets the map's flag
//!    and returns: the read goes on with zeros, and checksums fail. Anything else goes to the
//!    handler that was there before.
//! 3. The handler touches only atomics and `mmap`, `sigaction`: it is async-signal-safe.

use std::fs::File;
use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use crate::data::Lent;
use crate::limits::PAGE_BYTES;

/// Maps that can be registered at once; further ones are refused and their users fall back to
/// `pread`. A store of 256 segments, mapped twice, fits.
const MAPS_MAX: usize = 2048;

#[derive(Debug)]
struct Registered {
    start: AtomicUsize,
    bytes: AtomicUsize,
    faulted: AtomicBool,
}

static MAPS: [Registered; MAPS_MAX] = [const {
    Registered {
        start: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        faulted: AtomicBool::new(false),
    }
}; MAPS_MAX];

/// Highest slot ever used, plus one: bounds the handler's search.
static MAPS_USED: AtomicUsize = AtomicUsize::new(0);

/// The handler that was there before, as two words of `libc::sigaction` behind a pointer that is
/// set once and never freed.
static PREVIOUS: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

static INSTALL: Once = Once::new();

/// What the kernel maps at once; set before the handler is installed.
static KERNEL_PAGE_BYTES: AtomicUsize = AtomicUsize::new(PAGE_BYTES);

/// A registration in [`MAPS`]; dropping it frees the slot.
#[derive(Debug)]
struct Guard(&'static Registered);

impl Guard {
    /// Registers the pages of a map of so many bytes.
    fn new(start: usize, bytes: usize) -> io::Result<Self> {
        INSTALL.call_once(install);
        let bytes = bytes.next_multiple_of(KERNEL_PAGE_BYTES.load(Ordering::Acquire));
        for (index, slot) in MAPS.iter().enumerate() {
            // A slot being filled has a start but no length yet, and matches no address.
            let taken = slot.start.compare_exchange(0, start, Ordering::AcqRel, Ordering::Relaxed);
            if taken.is_ok() {
                slot.faulted.store(false, Ordering::Relaxed);
                slot.bytes.store(bytes, Ordering::Release);
                MAPS_USED.fetch_max(index + 1, Ordering::AcqRel);
                return Ok(Guard(slot));
            }
        }
        Err(io::Error::other("too many maps"))
    }

    #[inline]
    fn faulted(&self) -> bool {
        self.0.faulted.load(Ordering::Acquire)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.bytes.store(0, Ordering::Release);
        self.0.start.store(0, Ordering::Release);
    }
}

fn install() {
    // SAFETY: both structures are valid for the calls; `on_fault` has the signature that SA_SIGINFO
    // asks for and is async-signal-safe.
    #[allow(unsafe_code)]
    unsafe {
        let page_bytes = libc::sysconf(libc::_SC_PAGESIZE);
        KERNEL_PAGE_BYTES.store(page_bytes.max(PAGE_BYTES as i64) as usize, Ordering::Release);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let mut previous: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut previous) == 0 {
            PREVIOUS.store(Box::into_raw(Box::new(previous)), Ordering::Release);
            libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut());
        }
    }
}

extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `info`, and for SIGBUS it has an address.
    #[allow(unsafe_code)]
    let address = unsafe { (*info).si_addr() } as usize;
    for slot in MAPS.iter().take(MAPS_USED.load(Ordering::Acquire)) {
        let bytes = slot.bytes.load(Ordering::Acquire);
        let start = slot.start.load(Ordering::Acquire);
        if start == 0 || address < start || address - start >= bytes {
            continue;
        }
        slot.faulted.store(true, Ordering::Release);
        let page_bytes = KERNEL_PAGE_BYTES.load(Ordering::Acquire);
        let page = address & !(page_bytes - 1);
        // SAFETY: the page lies in a live map of ours, which is only read through volatile or
        // atomic loads or `read_volatile`-like copies; replacing it by zeros keeps every reference
        // valid.
        #[allow(unsafe_code)]
        let zeros = unsafe {
            libc::mmap(
                page as *mut libc::c_void,
                page_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        if zeros != libc::MAP_FAILED {
            return;
        }
    }
    pass_on(signal, info, context);
}

/// Hands a fault that is not ours to the handler that was there before.
fn pass_on(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let previous = PREVIOUS.load(Ordering::Acquire);
    // SAFETY: `PREVIOUS` is null or points to a leaked `sigaction` that the kernel filled; the
    // handlers in it were valid for the program that installed them.
    #[allow(unsafe_code)]
    unsafe {
        let Some(previous) = previous.as_ref() else { return };
        match previous.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {
                // Restored, the faulting instruction runs again and meets the default action.
                let mut default: libc::sigaction = std::mem::zeroed();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(libc::SIGBUS, &default, std::ptr::null_mut());
            }
            handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) =
                    std::mem::transmute(handler);
                handler(signal, info, context);
            }
            handler => {
                let handler: extern "C" fn(i32) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}

/// A file, or its beginning, mapped for reading.
///
/// The bytes may change while they are looked at, when another process writes; so they are copied
/// out, and what was copied is checked. Those that nobody writes any more can be looked at in
/// place.
#[derive(Debug)]
pub struct Map {
    // Dropped first: the slot must be free before the address range can be used again.
    guard: Guard,
    map: memmap2::MmapRaw,
}

impl Map {
    pub(crate) fn new(file: &File, bytes: usize) -> io::Result<Self> {
        let map = memmap2::MmapOptions::new().len(bytes).map_raw_read_only(file)?;
        let guard = Guard::new(map.as_ptr() as usize, bytes)?;
        Ok(Map { guard, map })
    }

    /// The first `bytes` bytes of a file.
    ///
    /// # Errors
    /// If the file cannot be mapped or is shorter.
    pub fn of_file(file: &File, bytes: usize) -> io::Result<Self> {
        let map = Map::new(file, bytes)?;
        match file.metadata()?.len() < bytes as u64 {
            true => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter")),
            false => Ok(map),
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.map.len() == 0
    }

    /// Copies bytes at `offset` into `buffer`; returns how many there were. A fault of the disk or
    /// a file cut short is an error.
    ///
    /// # Errors
    /// If this map has met a fault, now or earlier.
    #[inline]
    pub fn copy_to(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let count = buffer.len().min(self.len() - start);
        // SAFETY: the source lies within the live map, the target is ours and disjoint. Concurrent
        // writers can make the copied bytes a mixture, which checksums find; bytes have no invalid
        // values.
        #[allow(unsafe_code)]
        unsafe {
            std::ptr::copy_nonoverlapping(self.map.as_ptr().add(start), buffer.as_mut_ptr(), count);
        }
        if self.guard.faulted() {
            return Err(io::Error::other("a fault under a map of the file"));
        }
        Ok(count)
    }

    /// A few bytes at `offset`, `None` if the map ends before or has met a fault.
    #[inline]
    pub fn read<const N: usize>(&self, offset: u64) -> Option<[u8; N]> {
        let start = self.start_of(N, offset)?;
        // SAFETY: as in `copy_to`; any bytes are a valid array of bytes, at any address.
        #[allow(unsafe_code)]
        let bytes = unsafe { self.map.as_ptr().add(start).cast::<[u8; N]>().read() };
        (!self.guard.faulted()).then_some(bytes)
    }

    /// Where a range of the map begins, if all of it is there.
    #[inline]
    fn start_of(&self, bytes: usize, offset: u64) -> Option<usize> {
        let start = usize::try_from(offset).ok()?;
        start.checked_add(bytes).is_some_and(|end| end <= self.len()).then_some(start)
    }

    /// Lets `look` see `bytes` at `offset` in place; `None` if the map ends before or has met a
    /// fault, under which `look` sees zeros. Only for bytes that nobody writes any more, such as
    /// those of a committed record.
    pub fn with<R>(&self, bytes: usize, offset: u64, look: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let start = self.start_of(bytes, offset)?;
        // SAFETY: the range lies within the live map, and the caller vouches that it is not written
        // any more: no code of this crate writes a committed record. Whoever else writes into the
        // store meets checks of every length and offset, here and in the decompressor.
        #[allow(unsafe_code)]
        let range = unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(start), bytes) };
        let seen = look(range);
        (!self.guard.faulted()).then_some(seen)
    }

    /// A copy of `bytes` at `offset`, `None` if the map ends before or has met a fault.
    pub fn copy(&self, bytes: usize, offset: u64) -> Option<Vec<u8>> {
        let start = self.start_of(bytes, offset)?;
        let mut copy = Vec::with_capacity(bytes);
        // SAFETY: as in `copy_to`; the target has room for `bytes`, and all of them are written
        // before they count.
        #[allow(unsafe_code)]
        unsafe {
            std::ptr::copy_nonoverlapping(self.map.as_ptr().add(start), copy.as_mut_ptr(), bytes);
            copy.set_len(bytes);
        }
        (!self.guard.faulted()).then_some(copy)
    }
}

impl Lent for Map {
    /// All of it, in place. Only for a file that nobody writes any more.
    fn bytes(&self) -> &[u8] {
        // SAFETY: the map is live as long as the slice, and whoever has mapped the file vouches
        // that it is not written any more. What is made of bytes that change all the same is
        // checked by nobody, but bytes have no invalid values, and every reader (hashing,
        // compression) is bounded by the length of the slice.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(self.map.as_ptr(), self.len())
        }
    }

    fn is_whole(&self) -> bool {
        !self.guard.faulted()
    }
}

/// A small preallocated file, mapped as shared 64-bit words that many processes change at once.
#[derive(Debug)]
pub struct SharedWords {
    _guard: Guard,
    map: memmap2::MmapRaw,
    words: usize,
}

impl SharedWords {
    pub(crate) fn new(file: &File, words: usize, writable: bool) -> io::Result<Self> {
        let mut options = memmap2::MmapOptions::new();
        options.len(words * size_of::<u64>());
        let map =
            if writable { options.map_raw(file)? } else { options.map_raw_read_only(file)? };
        let guard = Guard::new(map.as_ptr() as usize, map.len())?;
        Ok(SharedWords { _guard: guard, map, words })
    }

    /// Opens a file of shared words, made with `mode` and filled with zeros if it is missing and
    /// `has_room` for so many bytes. On a disk with heads all of it is prefetched when it is cold.
    /// Whoever makes it may take back what another process stored meanwhile.
    ///
    /// # Errors
    /// `Full` without room. If it cannot be made or mapped, is no regular file, is a link, or
    /// belongs to another user.
    pub fn open(
        path: &std::path::Path,
        words: usize,
        mode: u32,
        has_room: impl FnOnce(u64) -> bool,
    ) -> crate::error::Result<SharedWords> {
        super::real::open_words(path, words, mode, has_room)
    }

    /// Whether a disk would have to be asked for the first page.
    pub(super) fn is_first_page_missing(&self) -> bool {
        let mut states = [0u8; 1];
        // SAFETY: the map begins with this page, and `states` has a byte for it.
        #[allow(unsafe_code)]
        let code = unsafe {
            let first = self.map.as_mut_ptr().cast();
            libc::mincore(first, PAGE_BYTES.min(self.map.len()), states.as_mut_ptr().cast())
        };
        code == 0 && states[0] & 1 == 0
    }

    /// The words.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the map is `words` words long, aligned to a page and lives as long as `self`; the
        // memory is only ever accessed atomically. A read-only map is only loaded from, see `new`.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(self.map.as_ptr().cast::<AtomicU64>(), self.words)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Data;
    use crate::env::{Env, OpenMode, RealEnv};
    use std::io::Write;

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn a_file_cut_short_under_a_map_is_an_error_and_not_a_signal() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 3 * PAGE_BYTES]).unwrap();
        let map = Map::new(&file, 3 * PAGE_BYTES).unwrap();
        let mut page = [0; PAGE_BYTES];
        assert_eq!(map.copy_to(&mut page, 0).unwrap(), PAGE_BYTES);
        assert_eq!(page, [7; PAGE_BYTES]);
        file.set_len(PAGE_BYTES as u64).unwrap();
        assert!(map.copy_to(&mut page, 2 * PAGE_BYTES as u64).is_err());
        assert_eq!(map.with(1, 2 * PAGE_BYTES as u64, |bytes| bytes[0]), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn a_file_that_is_lent_is_whole_until_it_is_cut_short() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 20_000]).unwrap();
        assert!(Map::of_file(&file, 20_001).is_err());
        let data = Data::lent(Map::of_file(&file, 19_000).unwrap());
        assert_eq!((&data[..], data.is_whole()), (&[7; 19_000][..], true));
        file.set_len(1).unwrap();
        assert_eq!((data.len(), data[18_999], data.is_whole()), (19_000, 0, false));
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn reads_beyond_a_map_are_short() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 100]).unwrap();
        let map = Map::new(&file, 100).unwrap();
        let mut buffer = [0; 64];
        assert_eq!(map.copy_to(&mut buffer, 90).unwrap(), 10);
        assert_eq!(map.copy_to(&mut buffer, 1 << 40).unwrap(), 0);
        assert_eq!(map.read(90), Some([7; 10]));
        assert_eq!(map.read::<11>(90), None);
        assert_eq!(map.copy(10, 90), Some(vec![7; 10]));
        assert_eq!(map.copy(11, 90), None);
        assert_eq!(map.copy(0, u64::MAX), None);
        assert_eq!(map.with(10, 90, <[u8]>::to_vec), Some(vec![7; 10]));
        assert_eq!(map.with(11, 90, <[u8]>::to_vec), None);
    }

    /// Words were only reserved when the file was made, so that those that had been stored to stood
    /// in forty pieces, each of them a request of its own to a cold disk.
    #[test]
    #[cfg_attr(miri, ignore = "Miri maps no files")]
    fn a_new_file_of_words_is_written_whole_and_an_old_one_keeps_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("words");
        let words = (1 << 20) / size_of::<u64>();
        let made = SharedWords::open(&path, words, 0o600, |_| true).unwrap();
        let is_btrfs = crate::env::file_system_magic(&path) == Some(0x9123_683e);
        // Before anything is stored: a fault brings pages, which count as written, too.
        let file = RealEnv.open(&path, OpenMode::Read).unwrap();
        // SAFETY: the descriptor is open.
        #[allow(unsafe_code)]
        let hole = unsafe { libc::lseek(file.descriptor().unwrap(), 0, libc::SEEK_HOLE) };
        assert!(hole == 1 << 20 || is_btrfs, "what was never written counts as a hole: {hole}");
        made.words()[words / 2].store(7, Ordering::Relaxed);
        assert!(!made.is_first_page_missing());
        let again = SharedWords::open(&path, words, 0o600, |_| true).unwrap();
        assert_eq!(again.words()[words / 2].load(Ordering::Relaxed), 7);
    }
}
