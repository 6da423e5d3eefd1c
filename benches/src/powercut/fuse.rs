//! A file system of one file, the disk: as much of the FUSE protocol as a loop device needs.
//!
//! 1. The root of the file system is the file itself, mounted on a file, so there are no names.
//! 2. The kernel caches nothing: the file is opened for direct input and output, and the writeback
//!    cache is not asked for. So every write of the loop device arrives here before it is done, and
//!    every flush as an `fsync`.
//! 3. One thread serves the file; the order in which it takes requests is that of the log.
//! 4. Holes cannot be punched: file systems write zeros instead, which the log shows.
//!
//! The layouts are those of `include/uapi/linux/fuse.h`, in the byte order of the machine.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::disk::Recorder;

/// The version that is spoken: 7.31, of Linux 5.4.
const MAJOR: u32 = 7;
const MINOR: u32 = 31;

/// Largest write; loop devices send up to a megabyte at once.
const WRITE_BYTES_MAX: usize = 1 << 20;
/// Of a request, in front of the bytes of a write.
const IN_HEADER_BYTES: usize = 40;
const WRITE_IN_BYTES: usize = 40;
/// The kernel wants room for a page of headers.
const BUFFER_BYTES: usize = WRITE_BYTES_MAX + 4096;

const ASYNC_READ: u32 = 1 << 0;
const BIG_WRITES: u32 = 1 << 5;
const ASYNC_DIO: u32 = 1 << 15;
const MAX_PAGES: u32 = 1 << 22;
const FOPEN_DIRECT_IO: u32 = 1;

const MODE: u32 = 0o100_600;

const EIO: i32 = 5;
const ENOSYS: i32 = 38;
const EOPNOTSUPP: i32 = 95;

/// How long the thread may take to end after the file was unmounted.
const END: Duration = Duration::from_secs(5);

/// A disk that is served as a file; unmounted when dropped.
#[derive(Debug)]
pub struct Served {
    path: PathBuf,
    recorder: Arc<Mutex<Recorder>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Serves a disk of that many bytes as the file `path`, which is made.
    ///
    /// # Errors
    /// If there is no FUSE, or no permission.
    pub fn new(path: &Path, bytes: u64, recorder: Recorder) -> io::Result<Served> {
        File::create(path)?;
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
        let data = format!(
            "fd={},rootmode={MODE:o},user_id=0,group_id=0,max_read={WRITE_BYTES_MAX}\0",
            device.as_raw_fd()
        );
        let data = std::ffi::CStr::from_bytes_with_nul(data.as_bytes()).expect("no other zero");
        mount("disk", path, "fuse", MountFlags::NOSUID | MountFlags::NODEV, data)?;
        let recorder = Arc::new(Mutex::new(recorder));
        let mut server = Server { device, bytes, recorder: recorder.clone() };
        let thread = std::thread::spawn(move || server.run());
        Ok(Served { path: path.to_path_buf(), recorder, thread: Some(thread) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The disk and its log as they are now.
    pub fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = unmount(&self.path, UnmountFlags::DETACH);
        let start = Instant::now();
        while let Some(thread) = &self.thread
            && !thread.is_finished()
            && start.elapsed() < END
        {
            std::thread::sleep(Duration::from_micros(200));
        }
        match self.thread.take() {
            Some(thread) if thread.is_finished() => drop(thread.join()),
            // Somebody still has the file; the thread serves it and ends with it.
            _ => eprintln!("a disk is still in use: {}", self.path.display()),
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

struct Server {
    device: File,
    bytes: u64,
    recorder: Arc<Mutex<Recorder>>,
}

/// What a request is answered with; `None` for requests that want no answer.
type Answer = Result<Option<Vec<u8>>, i32>;

impl Server {
    fn run(&mut self) {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = match self.device.read(&mut buffer) {
                Ok(count) if count >= IN_HEADER_BYTES => count,
                // The request was taken back before it was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Unmounted.
                _ => return,
            };
            let request = &buffer[..count];
            let (answer, error) = match self.answer(request) {
                Ok(Some(answer)) => (answer, 0),
                Ok(None) => continue,
                Err(error) => (Vec::new(), error),
            };
            let mut reply = Vec::with_capacity(16 + answer.len());
            reply.extend_from_slice(&(16 + answer.len() as u32).to_ne_bytes());
            reply.extend_from_slice(&(-error).to_ne_bytes());
            reply.extend_from_slice(&request[8..16]);
            reply.extend_from_slice(&answer);
            // Whoever asked may have been killed.
            let _ = self.device.write(&reply);
        }
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &[u8]) -> Answer {
        let body = &request[IN_HEADER_BYTES..];
        match u32_at(request, 4)? {
            // Forget, interrupt, batch of forgets.
            2 | 36 | 42 => Ok(None),
            3 => Ok(Some(self.attributes())),
            // Sizes do not change, and nobody asks for times.
            4 => Ok(Some(self.attributes())),
            14 => Ok(Some(words(&[0, 0, FOPEN_DIRECT_IO, 0]))),
            15 => self.read(body),
            16 => self.write(body),
            17 => Ok(Some(vec![0; 80])),
            // Release, flush of a descriptor (not of the disk), destroy.
            18 | 25 | 38 => Ok(Some(Vec::new())),
            20 => {
                self.recorder().flush();
                Ok(Some(Vec::new()))
            }
            26 => init(body).map(Some),
            43 => Err(EOPNOTSUPP),
            _ => Err(ENOSYS),
        }
    }

    fn read(&self, body: &[u8]) -> Answer {
        let offset = u64_at(body, 8)?.min(self.bytes);
        let bytes = u64::from(u32_at(body, 16)?).min(self.bytes - offset);
        let mut buffer = vec![0; bytes as usize];
        self.recorder().disk.read(offset, &mut buffer);
        Ok(Some(buffer))
    }

    fn write(&self, body: &[u8]) -> Answer {
        let (offset, bytes) = (u64_at(body, 8)?, u32_at(body, 16)?);
        let end = WRITE_IN_BYTES + bytes as usize;
        let data = body.get(WRITE_IN_BYTES..end).ok_or(EIO)?;
        if offset.checked_add(u64::from(bytes)).is_none_or(|end| end > self.bytes) {
            return Err(EIO);
        }
        self.recorder().write(offset, data);
        Ok(Some(words(&[bytes, 0])))
    }

    /// `fuse_attr_out`: how long it is valid (for ever), and what `stat` says.
    fn attributes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(104);
        for word in [3600, 0, 1, self.bytes, self.bytes / 512, 0, 0, 0] {
            out.extend_from_slice(&u64::to_ne_bytes(word));
        }
        out.extend(words(&[0, 0, 0, MODE, 1, 0, 0, 0, 4096, 0]));
        out
    }
}

/// `fuse_init_out`.
fn init(body: &[u8]) -> Result<Vec<u8>, i32> {
    let (major, minor, ahead) = (u32_at(body, 0)?, u32_at(body, 4)?, u32_at(body, 8)?);
    if major != MAJOR {
        return Err(EIO);
    }
    let flags = u32_at(body, 12)? & (ASYNC_READ | BIG_WRITES | ASYNC_DIO | MAX_PAGES);
    let mut out = words(&[MAJOR, minor.min(MINOR), ahead, flags]);
    // Most requests in the background, and when that is many.
    out.extend_from_slice(&64u16.to_ne_bytes());
    out.extend_from_slice(&48u16.to_ne_bytes());
    out.extend(words(&[WRITE_BYTES_MAX as u32, 1]));
    out.extend_from_slice(&((WRITE_BYTES_MAX / 4096) as u16).to_ne_bytes());
    out.resize(64, 0);
    Ok(out)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, i32> {
    let bytes = bytes.get(at..at + 4).ok_or(EIO)?;
    Ok(u32::from_ne_bytes(bytes.try_into().expect("four bytes")))
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, i32> {
    let bytes = bytes.get(at..at + 8).ok_or(EIO)?;
    Ok(u64::from_ne_bytes(bytes.try_into().expect("eight bytes")))
}
