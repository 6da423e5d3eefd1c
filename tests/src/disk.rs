//! File systems that belong to one test: small images on loop devices, and tmpfs.
//!
//! Only root can mount, and a file system needs its `mkfs`; where either is missing [`Disk::new`]
//! says so on stderr, and the test is skipped. A disk is unmounted when it is dropped.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::TempDir;

/// A kind of file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileSystem {
    /// ext4 with a journal.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs that compresses.
    Btrfs,
    /// In memory.
    Tmpfs,
}

impl FileSystem {
    /// All of them.
    pub const ALL: [FileSystem; 4] =
        [FileSystem::Ext4, FileSystem::Xfs, FileSystem::Btrfs, FileSystem::Tmpfs];

    /// How to make one, and how large it has to be at least.
    fn recipe(self) -> Option<(&'static str, &'static [&'static str], u64)> {
        match self {
            FileSystem::Ext4 => Some(("mkfs.ext4", &["-q", "-F", "-m", "0"], 24 << 20)),
            FileSystem::Xfs => Some(("mkfs.xfs", &["-q", "-f"], 320 << 20)),
            FileSystem::Btrfs => Some(("mkfs.btrfs", &["-q", "-f"], 128 << 20)),
            FileSystem::Tmpfs => None,
        }
    }

    fn options(self) -> &'static str {
        match self {
            FileSystem::Btrfs => "loop,compress-force=zstd",
            FileSystem::Tmpfs => "size=24m",
            _ => "loop",
        }
    }
}

/// A mounted file system.
#[derive(Debug)]
pub struct Disk {
    kind: FileSystem,
    options: String,
    folder: TempDir,
}

impl Disk {
    /// A new file system; without permission or programs `None`, and a line that says so.
    pub fn new(kind: FileSystem) -> Option<Disk> {
        Disk::with(kind, "")
    }

    /// The same with more mount options, which begin with a comma.
    pub fn with(kind: FileSystem, more: &str) -> Option<Disk> {
        let folder = crate::temp_dir();
        let disk = Disk { kind, options: format!("{}{more}", kind.options()), folder };
        fs::create_dir(disk.path()).expect("there is room for a directory");
        if let Some((program, arguments, bytes)) = kind.recipe() {
            let image = fs::File::create(disk.image()).expect("there is room for a sparse image");
            image.set_len(bytes).expect("an image may have holes");
            let program = crate::find_or_skip(program)?;
            let made = Command::new(program).args(arguments).arg(disk.image()).output();
            let made = made.expect("it was just found");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        match disk.mount() {
            Ok(()) => Some(disk),
            Err(why) => {
                let thread = std::thread::current();
                let test = thread.name().unwrap_or("a test").to_owned();
                eprintln!("{test}: skipped, {kind:?} cannot be mounted here: {}", why.trim());
                None
            }
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&self) -> Result<(), String> {
        let mut command = Command::new("mount");
        match self.kind {
            FileSystem::Tmpfs => command.args(["-t", "tmpfs", "-o", &self.options, "tmpfs"]),
            _ => command.args(["-o", &self.options]).arg(self.image()),
        };
        succeeds(command.arg(self.path()))
    }

    /// Whether it keeps what was written when it is unmounted.
    pub fn is_lasting(&self) -> bool {
        self.kind != FileSystem::Tmpfs
    }

    /// Unmounts and mounts it again, so that only what reached the image is there.
    ///
    /// # Panics
    ///
    /// If somebody has a file of it open.
    pub fn mount_again(&self) {
        let unmount = || succeeds(Command::new("umount").arg(self.path()));
        patiently(unmount).expect("nobody uses it");
        self.mount().expect("it was mounted before");
    }

    /// Mounts it with other options while it is in use.
    ///
    /// # Errors
    ///
    /// What `mount` says.
    pub fn remount(&self, options: &str) -> Result<(), String> {
        let options = format!("remount,{options}");
        let again = || succeeds(Command::new("mount").args(["-o", &options]).arg(self.path()));
        patiently(again)
    }

    /// Takes all room that is left.
    ///
    /// # Panics
    ///
    /// If there is still room after that.
    pub fn fill(&self) {
        fs::create_dir_all(self.filling()).expect("there is room for a directory");
        let mut last = fs::File::create(self.filling().join("last")).expect("a name has room");
        for (number, shift) in (12..29).rev().enumerate() {
            let file = self.filling().join(number.to_string());
            let bytes = (1u64 << shift).to_string();
            // What does not fit is tried in smaller pieces.
            let _ = Command::new("fallocate").args(["-l", &bytes]).arg(file).output();
        }
        let piece: Vec<u8> = (0..64u64 << 10)
            .flat_map(|n| larder_engine::checksum::xxh3_64(&n.to_le_bytes(), 1).to_le_bytes())
            .collect();
        for bytes in [piece.len(), 4096, 64] {
            while last.write_all(&piece[..bytes]).is_ok() {}
        }
        let _ = last.sync_all();
        let end = self.filling().join("end");
        assert!(fs::write(end, &piece).is_err(), "there is still room for half a megabyte");
    }

    fn filling(&self) -> PathBuf {
        self.path().join("filling")
    }

    /// Gives back what [`Disk::fill`] took.
    pub fn free(&self) {
        fs::remove_dir_all(self.filling()).expect("names can be removed from a full disk");
        // btrfs gives room back when a transaction ends.
        let _ = Command::new("sync").arg("-f").arg(self.path()).status();
    }

    /// Lets btrfs count what it takes, for [`Disk::limit`].
    ///
    /// # Errors
    ///
    /// What `btrfs` says.
    pub fn count_for_limits(&self) -> Result<(), String> {
        self.btrfs(&["quota", "enable"])?;
        self.btrfs(&["quota", "rescan", "-w"])
    }

    /// Limits what btrfs takes, for root too, to so much more than it has by now; `None` lifts the
    /// limit.
    ///
    /// # Errors
    ///
    /// What `btrfs` says.
    pub fn limit(&self, more_bytes: Option<u64>) -> Result<(), String> {
        succeeds(Command::new("sync").arg("-f").arg(self.path()))?;
        let limit = match more_bytes {
            Some(more) => (self.used()? + more).to_string(),
            None => "none".to_owned(),
        };
        self.btrfs(&["qgroup", "limit", &limit])
    }

    /// What btrfs has counted: with compression that is less than `du` says.
    fn used(&self) -> Result<u64, String> {
        let mut show = Command::new("btrfs");
        show.args(["qgroup", "show", "--raw", "-f"]).arg(self.path());
        let output = show.output().map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.trim_start().starts_with("0/"));
        let referenced = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        referenced.ok_or_else(|| format!("it counted nothing: {text}"))
    }

    fn btrfs(&self, arguments: &[&str]) -> Result<(), String> {
        succeeds(Command::new("btrfs").args(arguments).arg(self.path()))
    }

    /// Makes ext4 find an error in itself and go read-only under whoever writes; `false` if the
    /// kernel has no such switch.
    pub fn break_down(&self) -> bool {
        let mut findmnt = Command::new("findmnt");
        findmnt.args(["-n", "-o", "SOURCE", "--mountpoint"]).arg(self.path());
        let Ok(output) = findmnt.output() else { return false };
        let device = String::from_utf8_lossy(&output.stdout).trim().replace("/dev/", "");
        let switch = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        fs::write(switch, "a test").is_ok()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Nothing is mounted if that was refused; and who still has a file open keeps it.
        let gone = patiently(|| succeeds(Command::new("umount").arg(self.path())));
        if gone.is_err() {
            let _ = succeeds(Command::new("umount").arg("--lazy").arg(self.path()));
        }
    }
}

/// Tries for a while: a program that another test just starts has this process's files open until
/// it has replaced it.
fn patiently(work: impl Fn() -> Result<(), String>) -> Result<(), String> {
    let mut last = work();
    for _ in 0..50 {
        if last.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        last = work();
    }
    last
}

/// Runs a command; what it says if it fails.
pub fn succeeds(command: &mut Command) -> Result<(), String> {
    let said = |output: Output| String::from_utf8_lossy(&output.stderr).into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(said(output)),
        Err(error) => Err(error.to_string()),
    }
}
