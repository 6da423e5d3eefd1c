//! The kind of disk that a directory stands on, as the kernel tells it under /sys.
//!
//! 1. A device with a number has its queue there; a partition's is that of the disk above it.
//! 2. btrfs has a number of no device. The mount that the directory belongs to names one of its
//!    devices, and btrfs names them all; one that rotates decides.
//! 3. Whatever cannot be found out is unknown, and callers take the safe side.

#![expect(clippy::disallowed_methods, reason = "this is where the seam meets the system")]

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::real::file_system_magic;
use crate::limits::{CLONE_BYTES_MIN_FAST, CLONE_BYTES_MIN_ROTATIONAL};

/// File systems that larder knows and that cannot clone: ext4, tmpfs, ramfs.
const NEVER_CLONES: [i64; 3] = [0xef53, 0x0102_1994, 0x8584_58f6];

/// What is known of the file system and the disk under a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Device {
    /// Nothing can be cloned there.
    NoClones,
    /// A disk without moving parts.
    Fast,
    /// A disk that has to seek.
    Rotational,
    /// It may be any of them.
    #[default]
    Unknown,
}

impl Device {
    /// All of them.
    pub const ALL: [Device; 4] =
        [Device::NoClones, Device::Fast, Device::Rotational, Device::Unknown];

    /// From how many bytes on a file is better cloned than copied there, if at all. What may be a
    /// spinning disk is taken for one.
    pub fn clone_bytes_min(self) -> Option<u64> {
        match self {
            Device::NoClones => None,
            Device::Fast => Some(CLONE_BYTES_MIN_FAST),
            Device::Rotational | Device::Unknown => Some(CLONE_BYTES_MIN_ROTATIONAL),
        }
    }

    /// The kind of the disk under `directory`.
    pub fn of(directory: &Path) -> Device {
        if file_system_magic(directory).is_some_and(|magic| NEVER_CLONES.contains(&magic)) {
            return Device::NoClones;
        }
        match fs::File::open(directory).ok().and_then(|directory| rotates(&directory)) {
            Some(true) => Device::Rotational,
            Some(false) => Device::Fast,
            None => Device::Unknown,
        }
    }
}

/// Whether a file or directory stands on a disk with heads that have to move.
pub(super) fn rotates(file: &fs::File) -> Option<bool> {
    let device = file.metadata().ok()?.dev();
    if major(device) != 0 {
        return queue_rotates(&node(device));
    }
    let id = mount_id(file)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let (kind, source) = mount_source(&mounts, &id)?;
    if kind != "btrfs" {
        return None;
    }
    let device = fs::metadata(source).ok()?.rdev();
    let name = fs::canonicalize(node(device)).ok()?.file_name()?.to_owned();
    let of_file_system = fs::read_dir("/sys/fs/btrfs").ok()?.flatten().find_map(|entry| {
        let devices = entry.path().join("devices");
        devices.join(&name).exists().then_some(devices)
    })?;
    let devices = fs::read_dir(of_file_system).ok()?.flatten();
    let kinds: Vec<_> = devices.map(|entry| queue_rotates(&entry.path())).collect();
    match kinds.contains(&Some(true)) {
        true => Some(true),
        false if kinds.is_empty() || kinds.contains(&None) => None,
        false => Some(false),
    }
}

fn major(device: u64) -> u64 {
    (device >> 8 & 0xfff) | (device >> 32 & !0xfff)
}

fn minor(device: u64) -> u64 {
    (device & 0xff) | (device >> 12 & !0xff)
}

/// Where the kernel shows a block device.
fn node(device: u64) -> PathBuf {
    PathBuf::from(format!("/sys/dev/block/{}:{}", major(device), minor(device)))
}

fn queue_rotates(node: &Path) -> Option<bool> {
    let own = fs::read_to_string(node.join("queue/rotational"));
    let text = own.or_else(|_| fs::read_to_string(node.join("../queue/rotational"))).ok()?;
    match text.trim() {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// The mount that a file was reached through.
fn mount_id(file: &fs::File) -> Option<String> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    Some(id.trim().to_owned())
}

/// Kind and source of a mount in the text of `mountinfo`.
fn mount_source<'a>(mounts: &'a str, id: &str) -> Option<(&'a str, &'a str)> {
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(id))?;
    let mut last = line.split_once(" - ")?.1.split(' ');
    Some((last.next()?, last.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_id() {
        let mounts = "\
            9 1 0:5 / /proc rw - proc proc rw\n\
            91 1 0:40 / /mnt rw,relatime shared:1 master:2 - btrfs /dev/loop1 rw,subvol=/\n";
        assert_eq!(mount_source(mounts, "91"), Some(("btrfs", "/dev/loop1")));
        assert_eq!(mount_source(mounts, "1"), None);
    }

    #[test]
    fn device_numbers_are_taken_apart() {
        assert_eq!((major(0xfe00), minor(0xfe00)), (254, 0));
        assert_eq!((major(0x0800_1012), minor(0x0800_1012)), (0x10, 0x8012));
    }

    #[test]
    fn the_less_is_known_the_larger_is_the_least_clone() {
        let least = Device::ALL.map(Device::clone_bytes_min);
        assert_eq!(least[0], None);
        assert!(least[1] < least[2] && least[2] == least[3]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "Miri has no /proc")]
    fn memory_clones_nothing() {
        if file_system_magic(Path::new("/dev/shm")) == Some(NEVER_CLONES[1]) {
            assert_eq!(Device::of(Path::new("/dev/shm")), Device::NoClones);
        }
    }
}
