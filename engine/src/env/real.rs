//! The environment of a running program: the operating system's files, clock and randomness.

#![expect(clippy::disallowed_methods, reason = "this is where the seam meets the system")]

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{
    DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::map::{Map, SharedWords};
use super::{Device, Env, File, FileSizes, Held, OpenMode, Resident, Sharing, Stamp, device};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::PAGE_BYTES;

/// What one call asks the kernel to prefetch: as much as disks take in one request, more would be
/// ignored.
const PREFETCH_STEP_BYTES: usize = 1 << 20;

/// The magic number of btrfs.
const BTRFS_MAGIC: i64 = 0x9123_683e;

/// The operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealEnv;

/// A file of the operating system.
#[derive(Debug)]
pub struct RealFile {
    file: fs::File,
    path: PathBuf,
    writable: bool,
    /// Whether the kernel was told to bring no more than it is asked for.
    is_exact: AtomicBool,
}

impl RealFile {
    /// A file that a caller has opened for writing; its path is for messages.
    pub fn adopt(file: fs::File, path: &Path) -> RealFile {
        RealFile::new(file, path, true)
    }

    fn new(file: fs::File, path: &Path, writable: bool) -> RealFile {
        RealFile { file, path: path.to_path_buf(), writable, is_exact: AtomicBool::new(false) }
    }

    /// The file itself.
    pub fn into_file(self) -> fs::File {
        self.file
    }

    fn error(&self, what: &str, source: io::Error) -> Error {
        Error::io(what, source).at_path(&self.path)
    }
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error("cannot read", error).at_offset(offset)),
            }
        }
        Ok(done)
    }

    fn read_resident(&self, buffer: &mut [u8], offset: u64) -> Result<Option<Resident>> {
        read_while_resident(
            buffer,
            offset,
            |buffer, offset| {
                read_without_waiting(&self.file, buffer, offset)
                    .map_err(|error| self.error("cannot read", error).at_offset(offset))
            },
            |buffer, offset| self.read_at(buffer, offset),
        )
    }

    fn is_resident(&self, offset: u64) -> bool {
        // Of a file that is not theirs to write, processes are told that all of it is.
        self.writable
            && is_page_resident(&self.file, offset / PAGE_BYTES as u64 * PAGE_BYTES as u64)
    }

    fn prefetch(&self, offset: u64, bytes: u64) {
        let advise = |offset: u64, bytes: u64, advice| {
            // SAFETY: the descriptor is open.
            #[allow(unsafe_code)]
            unsafe {
                let (offset, bytes) = (offset as libc::off64_t, bytes as libc::off64_t);
                libc::posix_fadvise64(self.file.as_raw_fd(), offset, bytes, advice);
            }
        };
        if !self.is_exact.swap(true, Ordering::Relaxed) {
            // Its own reading ahead would bring the same in small pieces.
            advise(0, 0, libc::POSIX_FADV_RANDOM);
        }
        // The kernel cuts each call at the largest request that the device takes.
        for at in (offset..offset.saturating_add(bytes)).step_by(PREFETCH_STEP_BYTES) {
            let step = (PREFETCH_STEP_BYTES as u64).min(offset + bytes - at);
            advise(at, step, libc::POSIX_FADV_WILLNEED);
        }
    }

    fn is_rotational(&self) -> Option<bool> {
        device::rotates(&self.file)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| self.error("cannot write", error).at_offset(offset))
    }

    fn sizes(&self) -> Result<FileSizes> {
        let metadata = self.file.metadata().map_err(|error| self.error("cannot stat", error))?;
        Ok(sizes_of(&metadata))
    }

    fn set_len(&self, len_bytes: u64) -> Result<()> {
        self.file.set_len(len_bytes).map_err(|error| self.error("cannot resize", error))
    }

    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| self.error("cannot sync", error))
    }

    fn preallocate(&self, offset: u64, bytes: u64) -> Result<()> {
        match allocate(&self.file, libc::FALLOC_FL_KEEP_SIZE, offset, bytes) {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            other => other.map_err(|error| self.error("cannot reserve disk blocks", error)),
        }
    }

    fn stamp(&self) -> Option<Stamp> {
        let ns = |secs: i64, ns: i64| i128::from(secs) * 1_000_000_000 + i128::from(ns);
        self.file.metadata().ok().map(|metadata| Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            len_bytes: metadata.len(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    fn map(&self, bytes: usize) -> Result<Map> {
        Map::new(&self.file, bytes).map_err(|error| self.error("cannot map", error))
    }

    fn map_words(&self, words: usize) -> Result<SharedWords> {
        let bytes = (words * size_of::<u64>()) as u64;
        let len_bytes = self.sizes()?.len_bytes;
        if len_bytes < bytes {
            // Every block is reserved now, because a store into a hole on a full disk would be a
            // signal instead of an error.
            match allocate(&self.file, 0, 0, bytes) {
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    let zeros = vec![0; (bytes - len_bytes) as usize];
                    self.write_at(&zeros, len_bytes)?;
                }
                other => other.map_err(|error| self.error("cannot reserve disk blocks", error))?,
            }
        }
        SharedWords::new(&self.file, words, self.writable)
            .map_err(|error| self.error("cannot map", error))
    }

    fn try_lock(&self, byte: u64, sharing: Sharing) -> Result<bool> {
        let kind = match sharing {
            Sharing::Shared => libc::F_RDLCK,
            Sharing::Exclusive => libc::F_WRLCK,
        };
        match set_lock(&self.file, byte, kind) {
            Ok(()) => Ok(true),
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::EAGAIN) | Some(libc::EACCES)) =>
            {
                Ok(false)
            }
            Err(error) => Err(self.error("cannot lock", error)),
        }
    }

    fn held(&self, byte: u64) -> Option<Held> {
        let mut lock = lock_of(byte, libc::F_WRLCK);
        // SAFETY: the descriptor is open and `lock` is valid for the call.
        #[allow(unsafe_code)]
        let code = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) };
        result(code).ok()?;
        match i32::from(lock.l_type) {
            libc::F_UNLCK => Some(Held::Free),
            libc::F_RDLCK => Some(Held::Shared),
            _ => Some(Held::Exclusive),
        }
    }

    fn unlock(&self, byte: u64) {
        let _ = set_lock(&self.file, byte, libc::F_UNLCK);
    }

    fn clone_from(
        &self,
        source: &dyn File,
        from_offset: u64,
        bytes: u64,
        to_offset: u64,
    ) -> Result<()> {
        let Some(descriptor) = source.descriptor() else {
            return Err(Error::new(ErrorKind::Io, "the source of a clone is no real file"));
        };
        let range = libc::file_clone_range {
            src_fd: i64::from(descriptor),
            src_offset: from_offset,
            src_length: bytes,
            dest_offset: to_offset,
        };
        // SAFETY: both descriptors are open for the call and `range` is a valid argument of it.
        #[allow(unsafe_code)]
        let code = unsafe { libc::ioctl(self.file.as_raw_fd(), libc::FICLONERANGE, &range) };
        result(code).map_err(|error| self.error("cannot clone", error))
    }

    fn give_to_owner(&self) {
        if is_root() {
            give_to_owner(&self.file, &self.path);
        }
    }

    fn descriptor(&self) -> Option<i32> {
        Some(self.file.as_raw_fd())
    }
}

impl Env for RealEnv {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>> {
        let file = match mode {
            OpenMode::Create(bits) if is_root() => open_as_root(path, bits),
            mode => open(path, mode),
        };
        file.map(|file| Arc::new(file) as Arc<dyn File>)
    }

    fn create_dir(&self, path: &Path, mode: u32) -> Result<()> {
        let is_shared = mode & 0o077 != 0;
        let is_missing =
            |path: &&Path| (is_root() || is_shared) && fs::symlink_metadata(path).is_err();
        let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(path)
            .map_err(|error| Error::io("cannot make the directory", error).at_path(path))?;
        for made in missing.into_iter().rev() {
            let mut options = fs::OpenOptions::new();
            options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY);
            if let Ok(directory) = options.open(made) {
                widen(&directory, mode);
                if is_root() {
                    give_to_owner(&directory, made);
                }
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let fail = |error| Error::io("cannot list the directory", error).at_path(path);
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(fail)? {
            names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn remove(&self, path: &Path) -> Result<()> {
        fs::remove_file(path).map_err(|error| Error::io("cannot remove", error).at_path(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to).map_err(|error| Error::io("cannot rename", error).at_path(from))
    }

    fn set_mode(&self, path: &Path, mode: u32) -> Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|error| Error::io("cannot set the mode", error).at_path(path))
    }

    fn sizes(&self, path: &Path) -> Result<FileSizes> {
        let metadata = fs::symlink_metadata(path)
            .map_err(|error| Error::io("cannot stat", error).at_path(path))?;
        Ok(sizes_of(&metadata))
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        fs::File::open(path)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| Error::io("cannot sync the directory", error).at_path(path))
    }

    fn canonical(&self, path: &Path) -> Result<PathBuf> {
        fs::canonicalize(path).map_err(|error| Error::io("cannot follow", error).at_path(path))
    }

    fn device(&self, path: &Path) -> Device {
        Device::of(path)
    }

    fn copies_on_write(&self, path: &Path) -> bool {
        file_system_magic(path) == Some(BTRFS_MAGIC)
    }

    fn boot_id(&self) -> [u8; 16] {
        boot_id()
    }

    fn now_secs(&self) -> u64 {
        clock_ns() / 1_000_000_000
    }

    fn monotonic_ms(&self) -> u64 {
        clock(libc::CLOCK_MONOTONIC) / 1_000_000
    }

    fn sleep_us(&self, microseconds: u64) {
        std::thread::sleep(Duration::from_micros(microseconds));
    }

    fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        // SAFETY: the buffer is valid for its length.
        #[allow(unsafe_code)]
        let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        assert_eq!(count, 8, "the kernel always has eight random bytes");
        u64::from_le_bytes(bytes)
    }
}

/// Opens a file of the store. `O_NOFOLLOW`: no file of a store is a link.
fn open(path: &Path, mode: OpenMode) -> Result<RealFile> {
    let writable = mode != OpenMode::Read;
    let mut options = fs::OpenOptions::new();
    options.read(true).write(writable).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    match mode {
        OpenMode::Read | OpenMode::Write => {}
        OpenMode::Create(bits) => {
            options.create(true).mode(bits);
        }
        OpenMode::CreateNew(bits) => {
            options.create_new(true).mode(bits);
        }
    }
    let file = options.open(path).map_err(|error| Error::io("cannot open", error).at_path(path))?;
    if let OpenMode::Create(bits) | OpenMode::CreateNew(bits) = mode {
        widen(&file, bits);
    }
    Ok(RealFile::new(file, path, writable))
}

/// Gives a file or directory the bits for others that the umask of this process took away: a shared
/// store is shared whoever makes its files. Where that is refused it stays as it is.
fn widen(file: &fs::File, bits: u32) {
    const OTHERS: u32 = 0o077;
    if bits & OTHERS == 0 {
        return;
    }
    // SAFETY: the call has no preconditions.
    #[allow(unsafe_code)]
    let user = unsafe { libc::geteuid() };
    if let Ok(facts) = file.metadata()
        && facts.uid() == user
        && facts.mode() & bits & OTHERS != bits & OTHERS
    {
        let wider = facts.mode() & 0o7777 | bits;
        let _ = file.set_permissions(fs::Permissions::from_mode(wider));
    }
}

/// The child that gets a signal which ends this process, 0 for none.
static CHILD: AtomicI32 = AtomicI32::new(0);
/// The file that goes then; null, or a name that is leaked.
static SCRATCH: AtomicPtr<libc::c_char> = AtomicPtr::new(std::ptr::null_mut());
/// The kernel sent a signal: a terminal did, and the child has got it, too.
const SI_KERNEL: libc::c_int = 0x80;

/// From now on a signal that ends this process goes to this child first: whoever ends a compile
/// means the compiler, which would go on alone and write its output later.
pub fn end_child_too(child: Option<u32>) {
    CHILD.store(child.and_then(|child| i32::try_from(child).ok()).unwrap_or(0), Ordering::SeqCst);
    handle_ends();
}

/// From now on the file at `path` goes when a signal ends this process.
pub fn remove_at_end(path: Option<&Path>) {
    let name = path.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok());
    // The handler may be reading the one before, so that no name is ever freed.
    SCRATCH.store(name.map_or(std::ptr::null_mut(), CString::into_raw), Ordering::SeqCst);
    handle_ends();
}

fn handle_ends() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
            // SAFETY: both structures are valid for the calls; `on_end` has the signature that
            // SA_SIGINFO asks for. A signal that is ignored stays so.
            #[allow(unsafe_code)]
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                let known = libc::sigaction(signal, std::ptr::null(), &mut action) == 0;
                if known && action.sa_sigaction == libc::SIG_DFL {
                    action.sa_sigaction = on_end as *const () as usize;
                    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESETHAND;
                    libc::sigaction(signal, &action, std::ptr::null_mut());
                }
            }
        }
    });
}

extern "C" fn on_end(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let (child, scratch) = (CHILD.load(Ordering::SeqCst), SCRATCH.load(Ordering::SeqCst));
    // SAFETY: the kernel passes a valid `info`; the name is never freed; all three calls may be
    // made in a handler. The signal waits until this returns, and then ends the process.
    #[allow(unsafe_code)]
    unsafe {
        if child > 0 && (*info).si_code != SI_KERNEL {
            libc::kill(child, signal);
        }
        if !scratch.is_null() {
            libc::unlink(scratch);
        }
        libc::raise(signal);
    }
}

/// Whether this process is root's, as it was when it started.
fn is_root() -> bool {
    // Miri knows no such call.
    #[cfg(miri)]
    return false;
    // SAFETY: the call has no preconditions. It asks no kernel, so it costs nothing.
    #[cfg(not(miri))]
    #[allow(unsafe_code)]
    unsafe {
        libc::getauxval(libc::AT_EUID) == 0
    }
}

/// Opens or makes a file. Root compiles in the stores of others, as `sudo make install` does, and
/// they must be able to use what it leaves there. Only what is certainly new is given away.
fn open_as_root(path: &Path, bits: u32) -> Result<RealFile> {
    loop {
        match open(path, OpenMode::Write) {
            Err(error) if error.is_not_found() => {}
            opened => return opened,
        }
        match open(path, OpenMode::CreateNew(bits)) {
            Err(error) if error.is_already_there() => {}
            made => {
                return made.inspect(|file| give_to_owner(&file.file, path));
            }
        }
    }
}

/// Gives a new file to the owner of the directory that it is in, if that is not root. Where that is
/// refused the file remains root's.
fn give_to_owner(file: &fs::File, path: &Path) {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let Ok(owner) = fs::metadata(directory.unwrap_or(Path::new("."))) else { return };
    if owner.uid() != 0 {
        let _ = fchown(file, Some(owner.uid()), Some(owner.gid()));
    }
}

/// Opens a file of shared words of this user, see [`SharedWords::open`].
pub(super) fn open_words(
    path: &Path,
    words: usize,
    mode: u32,
    has_room: impl FnOnce(u64) -> bool,
) -> Result<SharedWords> {
    let file = open(path, OpenMode::Create(mode))?;
    let metadata = file.file.metadata().map_err(|error| file.error("cannot stat", error))?;
    // SAFETY: the call has no preconditions.
    #[allow(unsafe_code)]
    let user = unsafe { libc::geteuid() };
    if !metadata.is_file() || metadata.uid() != user {
        return Err(
            Error::new(ErrorKind::ReadOnly, "the file belongs to another user").at_path(path)
        );
    }
    let bytes = (words * size_of::<u64>()) as u64;
    let is_new = metadata.len() < bytes;
    if is_new && !has_room(bytes - metadata.len()) {
        return Err(Error::new(ErrorKind::Full, "there is no room for the file").at_path(path));
    }
    let map = file.map_words(words)?;
    // btrfs writes only what is reserved in place; all else needs room again.
    if is_new && !is_btrfs(&file.file) {
        write_zeros(&file, bytes)?;
    } else if map.is_first_page_missing() && file.is_rotational() != Some(false) {
        // Words are asked for one by one, and each would be a seek. While the first page is in
        // memory the others are taken to be there, too.
        file.prefetch(0, bytes);
    }
    Ok(map)
}

fn is_btrfs(file: &fs::File) -> bool {
    // SAFETY: all fields are integers; the descriptor is open and `info` valid for the call.
    #[allow(unsafe_code)]
    unsafe {
        let mut info: libc::statfs = std::mem::zeroed();
        libc::fstatfs(file.as_raw_fd(), &mut info) == 0 && info.f_type as i64 == BTRFS_MAGIC
    }
}

/// Writes what is reserved: what was never written would cut the file into as many pieces as have
/// been, and each of them is a request. Words of another process that are lost here are looked up
/// again.
fn write_zeros(file: &RealFile, bytes: u64) -> Result<()> {
    static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
    for offset in (0..bytes).step_by(ZEROS.len()) {
        let piece = (bytes - offset).min(ZEROS.len() as u64) as usize;
        file.write_at(&ZEROS[..piece], offset)?;
    }
    Ok(())
}

fn sizes_of(metadata: &fs::Metadata) -> FileSizes {
    FileSizes { len_bytes: metadata.len(), disk_bytes: metadata.blocks() * 512 }
}

fn result(code: i32) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn allocate(file: &fs::File, flags: i32, offset: u64, bytes: u64) -> io::Result<()> {
    // SAFETY: the descriptor is open for the call.
    #[allow(unsafe_code)]
    let code = unsafe {
        libc::fallocate64(file.as_raw_fd(), flags, offset as libc::off64_t, bytes as libc::off64_t)
    };
    result(code)
}

/// What a read that does not wait comes to.
#[derive(Clone, Copy, Debug)]
enum Unwaited {
    /// It read so many bytes.
    Bytes(usize),
    /// It would have to wait, or was interrupted.
    Waits,
    /// The file system cannot say.
    Refused,
}

/// Reads by `try_read`, which does not wait, until the buffer is full or the next byte is not in
/// memory. Whether the file ends where that reads nothing is asked of `read`: Linux 5.9 and 5.10
/// answer so where they would have to wait (BUGS in readv(2)).
fn read_while_resident(
    buffer: &mut [u8],
    offset: u64,
    mut try_read: impl FnMut(&mut [u8], u64) -> Result<Unwaited>,
    read: impl FnOnce(&mut [u8], u64) -> Result<usize>,
) -> Result<Option<Resident>> {
    let mut bytes = 0;
    while bytes < buffer.len() {
        match try_read(&mut buffer[bytes..], offset + bytes as u64)? {
            Unwaited::Bytes(0) => {
                bytes += read(&mut buffer[bytes..], offset + bytes as u64)?;
                break;
            }
            Unwaited::Bytes(count) => bytes += count,
            Unwaited::Waits => return Ok(Some(Resident { bytes, is_all: false })),
            Unwaited::Refused => return Ok(None),
        }
    }
    Ok(Some(Resident { bytes, is_all: true }))
}

/// Set when a file system refused to read without waiting: this process asks no more.
static WAITS_ALWAYS: AtomicBool = AtomicBool::new(false);

/// Reads what is in memory.
#[cfg(target_pointer_width = "64")]
fn read_without_waiting(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<Unwaited> {
    if WAITS_ALWAYS.load(Ordering::Relaxed) {
        return Ok(Unwaited::Refused);
    }
    let piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // The C library's function does not exist everywhere.
    // SAFETY: `piece` is the buffer, which is valid for its length during the call; the offset
    // takes one register, and the other half that the kernel looks for is zero.
    #[allow(unsafe_code)]
    let count = unsafe {
        libc::syscall(
            libc::SYS_preadv2,
            file.as_raw_fd(),
            &piece,
            1,
            offset as libc::off64_t,
            0,
            libc::RWF_NOWAIT,
        )
    };
    if count >= 0 {
        return Ok(Unwaited::Bytes(count as usize));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR) => Ok(Unwaited::Waits),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL) => {
            WAITS_ALWAYS.store(true, Ordering::Relaxed);
            Ok(Unwaited::Refused)
        }
        _ => Err(error),
    }
}

/// Where an offset takes two registers this is left out.
#[cfg(not(target_pointer_width = "64"))]
fn read_without_waiting(_: &fs::File, _: &mut [u8], _: u64) -> io::Result<Unwaited> {
    WAITS_ALWAYS.store(true, Ordering::Relaxed);
    Ok(Unwaited::Refused)
}

/// Whether the page at an offset is in memory.
fn is_page_resident(file: &fs::File, offset: u64) -> bool {
    let mut states = [0u8; 1];
    // SAFETY: the page is mapped for this question only, never read, and unmapped again; `states`
    // has a byte for it.
    #[allow(unsafe_code)]
    unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            PAGE_BYTES,
            libc::PROT_READ,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            offset as libc::off_t,
        );
        if page == libc::MAP_FAILED {
            return false;
        }
        let code = libc::mincore(page, PAGE_BYTES, states.as_mut_ptr().cast());
        libc::munmap(page, PAGE_BYTES);
        code == 0 && states[0] & 1 == 1
    }
}

/// A lock on one byte.
fn lock_of(byte: u64, kind: i32) -> libc::flock64 {
    // SAFETY: all fields of `flock` are integers, for which zero is valid.
    #[allow(unsafe_code)]
    let mut lock: libc::flock64 = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = byte as libc::off64_t;
    lock.l_len = 1;
    lock
}

/// Sets or drops an open-file-description lock on one byte, without waiting.
fn set_lock(file: &fs::File, byte: u64, kind: i32) -> io::Result<()> {
    let lock = lock_of(byte, kind);
    // SAFETY: the descriptor is open and `lock` is valid for the call.
    #[allow(unsafe_code)]
    let code = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) };
    result(code)
}

/// Identifies the running kernel since its start; zeros where /proc is missing.
pub fn boot_id() -> [u8; 16] {
    static BOOT_ID: OnceLock<[u8; 16]> = OnceLock::new();
    *BOOT_ID.get_or_init(|| {
        let mut text = [0; 64];
        let count = fs::File::open("/proc/sys/kernel/random/boot_id")
            .and_then(|file| file.read_at(&mut text, 0))
            .unwrap_or(0);
        let mut id = [0; 16];
        let digits: Vec<u8> = text[..count]
            .iter()
            .filter_map(|c| (*c as char).to_digit(16))
            .map(|d| d as u8)
            .collect();
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        id
    })
}

fn clock(which: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the call.
    #[allow(unsafe_code)]
    unsafe {
        libc::clock_gettime(which, &mut time);
    }
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The real-time clock in nanoseconds since 1970.
pub fn clock_ns() -> u64 {
    clock(libc::CLOCK_REALTIME)
}

/// The coarse real-time clock, from which the kernel takes file times, in nanoseconds since 1970.
pub fn coarse_clock_ns() -> u64 {
    clock(libc::CLOCK_REALTIME_COARSE)
}

/// The magic number of the file system that holds `path` (`statfs`), `None` if it cannot be asked.
pub fn file_system_magic(path: &Path) -> Option<i64> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: all fields are integers; the path is terminated and `info` valid for the call.
    #[allow(unsafe_code)]
    unsafe {
        let mut info: libc::statfs = std::mem::zeroed();
        (libc::statfs(path.as_ptr(), &mut info) == 0).then_some(info.f_type as i64)
    }
}

/// Lets the disk serve everybody else before this process, where its scheduler knows of that.
///
/// # Errors
/// If the kernel refuses.
pub fn idle_io_priority() -> io::Result<()> {
    // From linux/ioprio.h, which libc does not have.
    const WHO_PROCESS: libc::c_int = 1;
    const CLASS_IDLE: libc::c_int = 3 << 13;
    // SAFETY: the call takes three numbers; zero is the caller.
    #[allow(unsafe_code)]
    let code = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, CLASS_IDLE) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Files that are closed in programs that this process starts, and were not before.
struct KeptBack(Vec<(libc::c_int, libc::c_int)>);

impl Drop for KeptBack {
    fn drop(&mut self) {
        for (descriptor, flags) in &self.0 {
            let _ = descriptor_flags(*descriptor, libc::F_SETFD, *flags);
        }
    }
}

fn descriptor_flags(
    descriptor: libc::c_int,
    command: libc::c_int,
    flags: libc::c_int,
) -> io::Result<libc::c_int> {
    // SAFETY: getting and setting these flags touches no memory and closes nothing; a number that
    // is no open descriptor is refused.
    #[allow(unsafe_code)]
    let code = unsafe { libc::fcntl(descriptor, command, flags) };
    if code >= 0 { Ok(code) } else { Err(io::Error::last_os_error()) }
}

/// Does `work`; programs that it starts get no file of this process but those that it gives them,
/// not even those that this process was given by its own parent to pass on (the pipes of a
/// jobserver), whatever their numbers. Other threads must start none meanwhile.
///
/// # Errors
/// If the descriptors of this process cannot be listed; then nothing was done.
pub fn without_inherited_files<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    let mut kept_back = KeptBack(Vec::new());
    for entry in fs::read_dir("/proc/self/fd")? {
        let descriptor = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(descriptor) = descriptor.filter(|number| *number > libc::STDERR_FILENO) else {
            continue;
        };
        // The one of the listing itself is closed already in the end.
        let Ok(flags) = descriptor_flags(descriptor, libc::F_GETFD, 0) else { continue };
        if flags & libc::FD_CLOEXEC == 0 {
            descriptor_flags(descriptor, libc::F_SETFD, flags | libc::FD_CLOEXEC)?;
            kept_back.0.push((descriptor, flags));
        }
    }
    Ok(work())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads 9 bytes of a file of 7, or 20, of which the last are not in memory, as the kernel
    /// would answer.
    fn read(len: usize, resident: usize, waiting: Unwaited) -> (Option<Resident>, [u8; 9]) {
        let file = vec![1u8; len];
        let copy = |buffer: &mut [u8], at: usize, end: usize| {
            let count = buffer.len().min(end.saturating_sub(at));
            buffer[..count].copy_from_slice(&file[at..at + count]);
            count
        };
        let mut buffer = [0; 9];
        let try_read = |buffer: &mut [u8], at: u64| {
            let at = at as usize;
            let would_wait = at >= resident && at < len;
            Ok(if would_wait { waiting } else { Unwaited::Bytes(copy(buffer, at, resident)) })
        };
        let read = |buffer: &mut [u8], at: u64| Ok(copy(buffer, at as usize, len));
        let got = read_while_resident(&mut buffer, 0, try_read, read).unwrap();
        (got, buffer)
    }

    #[test]
    fn a_read_that_does_not_wait_is_not_believed_that_the_file_ends() {
        let all = |bytes| Some(Resident { bytes, is_all: true });
        assert_eq!(read(20, 20, Unwaited::Waits), (all(9), [1; 9]));
        assert_eq!(read(7, 7, Unwaited::Waits).0, all(7));
        assert_eq!(read(20, 4, Unwaited::Waits).0, Some(Resident { bytes: 4, is_all: false }));
        assert_eq!(read(20, 4, Unwaited::Refused).0, None);
        // Linux 5.9.
        assert_eq!(read(20, 4, Unwaited::Bytes(0)), (all(9), [1; 9]));
        assert_eq!(read(20, 0, Unwaited::Bytes(0)), (all(9), [1; 9]));
        assert_eq!(read(7, 4, Unwaited::Bytes(0)).0, all(7));
    }
}
