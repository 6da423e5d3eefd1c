//! File systems on files: made, mounted through a loop device, and unmounted in every case.
//!
//! 1. Only in a mount namespace of one's own: when its last process dies, the kernel unmounts what
//!    is left, and a loop device without a user detaches.
//! 2. A [`Volume`] unmounts when it is dropped, and its file goes away.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::powercut::volume::find;

/// How often unmounting is tried, while a janitor ends.
const UNMOUNT_TRIES: usize = 50;

/// What stands on a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileSystem {
    /// As Debian makes it.
    Ext4,
    /// As Debian makes it, with reflinks.
    Xfs,
    /// As Debian makes it.
    Btrfs,
}

impl FileSystem {
    /// All of them.
    pub const ALL: [FileSystem; 3] = [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs];

    /// Its name, for people and for the kernel.
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
            FileSystem::Btrfs => "btrfs",
        }
    }

    /// The file system of a name.
    pub fn of(name: &str) -> Option<FileSystem> {
        FileSystem::ALL.into_iter().find(|system| system.name() == name)
    }

    fn maker(self) -> (&'static str, &'static [&'static str]) {
        match self {
            FileSystem::Ext4 => ("mkfs.ext4", &["-q", "-F"]),
            FileSystem::Xfs => ("mkfs.xfs", &["-q", "-f"]),
            FileSystem::Btrfs => ("mkfs.btrfs", &["-q", "-f"]),
        }
    }

    /// What is missing to use it, `None` if nothing is.
    pub fn missing(self) -> Option<String> {
        let programs = [self.maker().0, "mount", "unshare"].into_iter();
        let program = programs.map(str::to_owned).find(|program| find(program).is_none());
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let is_known = known.lines().any(|line| line.trim_end().ends_with(self.name()));
        program.or_else(|| (!is_known).then(|| format!("{} in this kernel", self.name())))
    }
}

/// A mounted file system.
#[derive(Debug)]
pub struct Volume {
    system: FileSystem,
    path: PathBuf,
    image: PathBuf,
}

impl Volume {
    /// A new one of so many bytes, in files of `folder`.
    ///
    /// # Errors
    /// If it cannot be made or mounted.
    pub fn new(system: FileSystem, bytes: u64, folder: &Path) -> io::Result<Volume> {
        let image = folder.join(format!("{}.image", system.name()));
        let path = folder.join(system.name());
        fs::create_dir_all(&path)?;
        File::create(&image)?.set_len(bytes)?;
        let volume = Volume { system, path, image };
        let (maker, options) = system.maker();
        let maker = find(maker).unwrap_or_else(|| maker.into());
        run(Command::new(maker).args(options).arg(&volume.image))?;
        volume.mount()?;
        Ok(volume)
    }

    fn mount(&self) -> io::Result<()> {
        let mut mount = Command::new("mount");
        mount.args(["-t", self.system.name(), "-o", "loop,nosuid,nodev"]);
        run(mount.arg(&self.image).arg(&self.path))
    }

    /// Waits until all that was written is on the device.
    ///
    /// # Errors
    /// If the device refuses it.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.path)?)?)
    }

    /// Mounts it anew, with nothing of it in memory.
    ///
    /// # Errors
    /// If somebody uses it.
    pub fn chill(&mut self) -> io::Result<()> {
        run(Command::new("umount").arg(&self.path))?;
        rustix::fs::sync();
        fs::write("/proc/sys/vm/drop_caches", "3")?;
        self.mount()
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        for _ in 0..UNMOUNT_TRIES {
            if run(Command::new("umount").arg(&self.path)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.path));
        let _ = fs::remove_file(&self.image);
        let _ = fs::remove_dir(&self.path);
    }
}

/// Runs a program; a failure is an error with its words.
fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', " ");
            Err(io::Error::other(format!("{command:?}: {said}")))
        }
    }
}
