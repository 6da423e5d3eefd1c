//! A private disk: a sparse image of real size behind a loop device, with ext4 on it.
//!
//! 1. The image has no name and the loop device detaches itself, so when this process is gone, by
//!    whatever, so are they; mounts go with the mount namespace.
//! 2. The queue of the device is that of a spinning disk: marked rotational, with the scheduler and
//!    the largest requests that such disks get. What the kernel refuses is reported.
//! 3. The image is read and written past the page cache of the file system that it stands on: a
//!    disk that answers at once would let nobody notice that he waits for it.
//! 4. *Cold*: unmounted, which drops what the kernel has of its files, the device's buffers
//!    flushed, mounted again. The caches of the rest of the machine are left alone: only requests
//!    to this device are counted.
//! 5. The image grows by what is written. A run is refused if the file system below could not hold
//!    twice that.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::powercut::volume::find;

/// Size of the disk, most of which is a hole.
pub const DISK_BYTES: u64 = 300 << 30;

/// Programs, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 7] = [
    ("mkfs.ext4", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("losetup", "mount"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("blockdev", "util-linux"),
    ("unshare", "util-linux"),
];

/// Settings of the queue, as a disk behind SATA has them.
const QUEUE: [(&str, &str); 4] = [
    ("rotational", "1"),
    ("scheduler", "mq-deadline"),
    ("max_sectors_kb", "1280"),
    ("read_ahead_kb", "128"),
];

/// What is missing to have such a disk.
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("the rights of root, to mount file systems and trace requests".to_string());
    }
    let programs = PROGRAMS.iter().filter(|(program, _)| find(program).is_none());
    missing.extend(programs.map(|(program, package)| format!("`{program}` (Debian: {package})")));
    if !Path::new("/dev/loop-control").exists() {
        missing.push("/dev/loop-control".into());
    }
    if missing.is_empty() {
        let mut unshare = Command::new("unshare");
        let status = unshare.args(["--mount", "true"]).stderr(Stdio::null()).status();
        if !status.is_ok_and(|status| status.success()) {
            missing.push("the permission to make a mount namespace".into());
        }
    }
    missing
}

/// Mounts tracefs where it is not.
///
/// # Errors
/// If the kernel refuses.
pub fn ensure_tracing() -> io::Result<()> {
    let folder = Path::new("/sys/kernel/tracing");
    if folder.join("instances").is_dir() {
        return Ok(());
    }
    run(Command::new("mount").args(["-t", "tracefs", "nodev"]).arg(folder)).map(drop)
}

/// A mounted disk.
#[derive(Debug)]
pub struct Disk {
    device: PathBuf,
    /// Keeps the loop device, which detaches when the last user is gone.
    _open: File,
    point: PathBuf,
    /// Settings of the queue that the kernel refused.
    pub refused: Vec<String>,
}

impl Disk {
    /// Makes and mounts one; the image stands in `folder`, which has to have room for twice
    /// `bytes`.
    ///
    /// # Errors
    /// What failed.
    pub fn new(folder: &Path, bytes: u64) -> io::Result<Disk> {
        let free = rustix::fs::statvfs(folder)?;
        let free_bytes = free.f_bavail * free.f_frsize;
        if free_bytes < 2 * bytes {
            let text =
                format!("{} has {free_bytes} bytes free, {} are needed", folder.display(), {
                    2 * bytes
                });
            return Err(io::Error::other(text));
        }
        let point = folder.join("disk");
        fs::create_dir_all(&point)?;
        let image = folder.join("disk.image");
        File::create(&image)?.set_len(DISK_BYTES)?;
        let mut attach = Command::new("losetup");
        let attached = run(attach.args(["--find", "--show", "--direct-io=on"]).arg(&image));
        fs::remove_file(&image)?;
        let device = PathBuf::from(attached?.trim());
        let open = File::open(&device)?;
        // Takes effect when nobody uses it any more.
        run(Command::new("losetup").arg("--detach").arg(&device))?;
        let mut disk = Disk { device, _open: open, point, refused: Vec::new() };
        disk.set_queue();
        let options = "nodiscard,lazy_itable_init=1,lazy_journal_init=1";
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", options]).arg(&disk.device))?;
        disk.mount()?;
        Ok(disk)
    }

    fn set_queue(&mut self) {
        let name = self.device.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let queue = Path::new("/sys/block").join(name).join("queue");
        let refused = |(file, value): &(&str, &str)| {
            let refused = fs::write(queue.join(file), value).is_err();
            refused.then(|| format!("{file} = {value}"))
        };
        self.refused = QUEUE.iter().filter_map(refused).collect();
    }

    /// The device.
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.point
    }

    /// Major and minor number.
    ///
    /// # Errors
    /// If the kernel does not say them.
    pub fn numbers(&self) -> io::Result<(u32, u32)> {
        use std::os::unix::fs::MetadataExt;
        let device = fs::metadata(&self.device)?.rdev();
        Ok((rustix::fs::major(device), rustix::fs::minor(device)))
    }

    fn mount(&self) -> io::Result<()> {
        // A thread of the kernel would write tables and read the bitmaps of all groups during the
        // first phase that is longer than some seconds. What is needed of them is read anyway.
        let options = ["-t", "ext4", "-o", "noinit_itable,no_prefetch_block_bitmaps"];
        run(Command::new("mount").args(options).arg(&self.device).arg(&self.point)).map(drop)
    }

    fn unmount(&self) -> io::Result<()> {
        let mut last = Ok(String::new());
        // Somebody who was just killed may still be closing files.
        for _ in 0..50 {
            last = run(Command::new("umount").arg(&self.point));
            if last.is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        last.map(drop)
    }

    /// Drops all that the kernel has of it in memory.
    ///
    /// # Errors
    /// If it cannot be unmounted or mounted again.
    pub fn cool(&self) -> io::Result<()> {
        self.unmount()?;
        run(Command::new("blockdev").arg("--flushbufs").arg(&self.device))?;
        self.mount()
    }

    /// Bytes that files take.
    ///
    /// # Errors
    /// If the file system does not say it.
    pub fn used_bytes(&self) -> io::Result<u64> {
        let now = rustix::fs::statvfs(&self.point)?;
        Ok((now.f_blocks - now.f_bfree) * now.f_frsize)
    }

    /// Waits for processes that go on by themselves: until nobody has had a file of this disk open
    /// for a moment.
    ///
    /// # Errors
    /// If somebody holds one for a minute.
    pub fn wait_until_left(&self) -> io::Result<()> {
        let mut looks_without = 0;
        for _ in 0..3000 {
            looks_without = if self.is_held()? { 0 } else { looks_without + 1 };
            // One that was just started has opened nothing yet.
            if looks_without == 4 {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Err(io::Error::other("somebody has held a file of the disk for a minute"))
    }

    /// Whether a process has a file of it open. Those that end meanwhile have none.
    fn is_held(&self) -> io::Result<bool> {
        let is_here =
            |link: PathBuf| fs::read_link(link).is_ok_and(|path| path.starts_with(&self.point));
        for process in fs::read_dir("/proc")?.flatten() {
            let files = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
            if files.map(|file| file.path()).any(is_here) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until everything is written back.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn sync(&self) -> io::Result<()> {
        rustix::fs::syncfs(File::open(&self.point)?).map_err(io::Error::from)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.unmount().is_err() {
            let _ = run(Command::new("umount").arg("--lazy").arg(&self.point));
        }
    }
}

/// What a program says; a failure is an error with its words.
///
/// # Errors
/// If it cannot be started or fails.
pub fn run(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        io::Error::other(format!("{}: {error}", command.get_program().to_string_lossy()))
    })?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let words = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(format!("{command:?}: {}", words.trim())))
        }
    }
}
