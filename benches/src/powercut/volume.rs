//! File systems on disks of [`fuse`](super::fuse): made, mounted, and unmounted in every case.
//!
//! 1. All of it happens in a mount namespace of this run: when the last of its processes dies, by
//!    whatever, the kernel unmounts what is left, and loop devices without a user detach.
//! 2. A [`Volume`] unmounts when it is dropped.
//! 3. This process, which serves the disks, touches nothing on them; other processes mount,
//!    unmount, read and write. If it did that itself and was killed, it would wait for itself for
//!    ever.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::MutexGuard;

use super::disk::{Disk, Event, PAGE_BYTES, Recorder};
use super::fuse::Served;

/// Size of a disk: XFS takes none below 300 MiB.
pub const DISK_BYTES: u64 = 384 << 20;

/// What stands on a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileSystem {
    /// As Debian makes it; data reaches the disk before the journal says so.
    Ext4,
    /// The same, with data that may come after the journal: files may hold stale bytes.
    Ext4Writeback,
    /// As Debian makes it.
    Xfs,
    /// As Debian makes it, but with one copy of the metadata.
    Btrfs,
}

impl FileSystem {
    /// All of them.
    pub const ALL: [FileSystem; 4] =
        [FileSystem::Ext4, FileSystem::Ext4Writeback, FileSystem::Xfs, FileSystem::Btrfs];

    /// Its name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Ext4Writeback => "ext4-writeback",
            FileSystem::Xfs => "xfs",
            FileSystem::Btrfs => "btrfs",
        }
    }

    /// The file system of a name.
    pub fn of(name: &str) -> Option<FileSystem> {
        FileSystem::ALL.into_iter().find(|system| system.name() == name)
    }

    fn kernel_name(self) -> &'static str {
        match self {
            FileSystem::Ext4 | FileSystem::Ext4Writeback => "ext4",
            FileSystem::Xfs => "xfs",
            FileSystem::Btrfs => "btrfs",
        }
    }

    /// The program that makes it, its options, and the Debian package that has it.
    fn maker(self) -> (&'static str, &'static [&'static str], &'static str) {
        match self {
            FileSystem::Ext4 | FileSystem::Ext4Writeback => {
                ("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0"], "e2fsprogs")
            }
            FileSystem::Xfs => ("mkfs.xfs", &["-q", "-f"], "xfsprogs"),
            FileSystem::Btrfs => ("mkfs.btrfs", &["-q", "-f", "-m", "single"], "btrfs-progs"),
        }
    }

    /// Transactions are written out every second, not every 5 or 30, so that a short run has many.
    fn mount_options(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "commit=1",
            FileSystem::Ext4Writeback => "commit=1,data=writeback",
            // Several copies of one file system may be mounted at once.
            FileSystem::Xfs => "nouuid",
            FileSystem::Btrfs => "commit=1",
        }
    }

    /// What is missing to use it, `None` if nothing is.
    pub fn missing(self) -> Option<String> {
        let (maker, _, package) = self.maker();
        for (program, package) in [(maker, package), ("mount", "mount"), ("unshare", "util-linux")]
        {
            if find(program).is_none() {
                return Some(format!("`{program}` (Debian: {package})"));
            }
        }
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let has = |name: &str| known.lines().any(|line| line.trim_end().ends_with(name));
        let missing = [self.kernel_name(), "fuse"].into_iter().find(|name| !has(name));
        missing.map(|name| format!("`{name}` in this kernel"))
    }

    /// A disk with a new file system; `folder` is for a file that goes away again.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn make(self, folder: &Path) -> io::Result<Disk> {
        let file = folder.join("new-disk");
        File::create(&file)?.set_len(DISK_BYTES)?;
        let (maker, options, _) = self.maker();
        output(Command::new(find(maker).unwrap_or_else(|| maker.into())).args(options).arg(&file))?;
        let disk = load(&file)?;
        std::fs::remove_file(&file)?;
        Ok(disk)
    }

    /// The unit in which a power cut may tear a write. The disks that file systems are made for
    /// write a sector of 512 bytes whole; but XFS recovers a metadata block of 4 KiB by the number
    /// in its header, and btrfs has its superblock of 4 KiB in one place that counts, so both need
    /// disks that write a page whole, which all of today's do.
    pub fn tear_bytes(self) -> usize {
        match self {
            FileSystem::Ext4 | FileSystem::Ext4Writeback => 512,
            FileSystem::Xfs | FileSystem::Btrfs => PAGE_BYTES,
        }
    }

    /// Where a write is never torn, as a range of bytes: the superblock of ext4, which is two
    /// sectors with one checksum.
    pub fn whole_below(self) -> u64 {
        match self {
            FileSystem::Ext4 | FileSystem::Ext4Writeback => PAGE_BYTES as u64,
            FileSystem::Xfs | FileSystem::Btrfs => 0,
        }
    }
}

/// Reads a disk from a file.
///
/// # Errors
/// If it cannot be read.
pub fn load(file: &Path) -> io::Result<Disk> {
    use std::os::unix::fs::FileExt;
    let file = File::open(file)?;
    let mut disk = Disk::default();
    let mut page = [0; PAGE_BYTES];
    for at in (0..file.metadata()?.len()).step_by(PAGE_BYTES) {
        file.read_exact_at(&mut page, at)?;
        if page.iter().any(|byte| *byte != 0) {
            disk.write(at, &page);
        }
    }
    Ok(disk)
}

/// Writes a disk to a sparse file, to be looked at.
///
/// # Errors
/// If it cannot be written.
pub fn save(disk: &Disk, file: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let file = File::create(file)?;
    file.set_len(DISK_BYTES)?;
    for (number, page) in disk.pages() {
        file.write_all_at(page, number * PAGE_BYTES as u64)?;
    }
    Ok(())
}

/// A mounted file system.
#[derive(Debug)]
pub struct Volume {
    // Dropped first.
    mounted: Mounted,
    served: Served,
}

impl Volume {
    /// Mounts a disk below `folder`, as `name`.
    ///
    /// # Errors
    /// What failed: serving the disk, or mounting it.
    pub fn new(system: FileSystem, disk: Disk, folder: &Path, name: &str) -> io::Result<Volume> {
        let file = folder.join(format!("{name}.disk"));
        let served = Served::new(&file, DISK_BYTES, Recorder::new(disk))?;
        let point = folder.join(name);
        std::fs::create_dir_all(&point)?;
        let mounted = Mounted::new(system, served.path(), &point)?;
        Ok(Volume { mounted, served })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mounted.path
    }

    /// Unmounts, and returns all that happened to the disk.
    pub fn finish(self) -> Vec<Event> {
        let Volume { mounted, served } = self;
        drop(mounted);
        let mut recorder = served.recorder();
        std::mem::take(&mut recorder.log)
    }

    /// The disk below and its log.
    pub fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.served.recorder()
    }
}

#[derive(Debug)]
struct Mounted {
    path: PathBuf,
}

impl Mounted {
    fn new(system: FileSystem, file: &Path, path: &Path) -> io::Result<Mounted> {
        let options = format!("loop,nosuid,nodev,{}", system.mount_options());
        let mut command = Command::new("mount");
        command.args(["-t", system.kernel_name(), "-o", &options]).arg(file).arg(path);
        output(&mut command)?;
        Ok(Mounted { path: path.to_path_buf() })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if output(Command::new("umount").arg(&self.path)).is_err() {
            let _ = output(Command::new("umount").arg("--lazy").arg(&self.path));
        }
    }
}

/// Where a program is; administrators' programs are not on everybody's path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// What a program says; a failure is an error with its words.
fn output(command: &mut Command) -> io::Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
    };
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(io::Error::other(format!("{:?}: {}", command, text(&output.stderr)))),
    }
}
