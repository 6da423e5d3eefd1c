//! A file system of its own on a loop device, and what its block layer is asked for. Needs root.
//!
//! 1. The image is sparse and is opened past the page cache of the file system that it stands on,
//!    where that can be, so that cold means cold.
//! 2. Requests are counted by the kernel per device. Their order comes from an instance of tracefs
//!    of its own, so that several measurements can run at once.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

/// Bytes of the image.
const IMAGE_BYTES: u64 = 8 << 30;
const SECTOR_BYTES: u64 = 512;
/// Somebody else may have it mounted for some minutes.
const FREE_TRIES_MAX: usize = 6000;
/// Linux's own choice for a disk.
const READ_AHEAD_KB: &str = "128";
/// A mean seek and half a turn at 7200 turns a minute, and what passes in a millisecond.
const SEEK_MS: f64 = 8.5 + 4.17;
const BYTES_PER_MS: f64 = 150e3;

/// A mounted file system; unmounted, and its device given back, when it is dropped.
pub struct LoopDisk {
    folder: tempfile::TempDir,
    device: String,
}

/// What a block device was asked for.
#[derive(Clone, Copy, Default, Debug, PartialEq)]
pub struct Requests {
    /// Read requests.
    pub reads: u64,
    /// Write requests.
    pub writes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// What a spinning disk would take for them, where their order is known.
    pub modelled_ms: f64,
}

/// Runs a command.
///
/// # Errors
/// What it says if it fails.
fn run(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{:?}: {said}", command.get_program()).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

impl LoopDisk {
    /// Makes and mounts one of this kind (`xfs`, `btrfs`, `ext4`).
    ///
    /// # Errors
    /// If a program is missing or refuses.
    pub fn new(directory: &Path, kind: &str) -> Result<LoopDisk, Box<dyn Error>> {
        let folder = tempfile::tempdir_in(directory)?;
        let image = folder.path().join("image");
        fs::File::create(&image)?.set_len(IMAGE_BYTES)?;
        fs::create_dir(folder.path().join("disk"))?;
        run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image))?;
        let attach = ["--find", "--show", "--direct-io=on"];
        let device = run(Command::new("losetup").args(attach).arg(&image))?;
        let disk = LoopDisk { folder, device };
        // What a disk has; a loop device takes over what suits the file below it.
        fs::write(format!("/sys/block/{}/queue/read_ahead_kb", disk.name()), READ_AHEAD_KB)?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn mount(&self) -> Result<(), Box<dyn Error>> {
        run(Command::new("mount").arg(&self.device).arg(self.path())).map(drop)
    }

    /// Unmounts and mounts it again: nothing of it is in memory then.
    ///
    /// # Errors
    /// If somebody has a file of it open.
    pub fn mount_again(&self) -> Result<(), Box<dyn Error>> {
        run(Command::new("umount").arg(self.path()))?;
        // Whoever made a mount namespace meanwhile has it mounted there, and all of it in memory.
        let is_free = || rustix::fs::open(&self.device, OFlags::EXCL, Mode::empty()).is_ok();
        for _ in 0..FREE_TRIES_MAX {
            if is_free() {
                return self.mount();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("somebody else has the disk mounted".into())
    }

    /// Waits until everything is on the device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn sync(&self) -> Result<(), Box<dyn Error>> {
        let directory = fs::File::open(self.path())?;
        Ok(rustix::fs::syncfs(directory)?)
    }

    fn name(&self) -> &str {
        self.device.trim_start_matches("/dev/")
    }

    /// What the device was asked for since it was attached.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn requests(&self) -> Result<Requests, Box<dyn Error>> {
        let text = fs::read_to_string(format!("/sys/block/{}/stat", self.name()))?;
        let numbers: Vec<u64> =
            text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [reads, _, read_sectors, _, writes, _, written_sectors, ..] = numbers[..] else {
            return Err("the kernel counts otherwise".into());
        };
        Ok(Requests {
            reads,
            writes,
            read_bytes: read_sectors * SECTOR_BYTES,
            written_bytes: written_sectors * SECTOR_BYTES,
            modelled_ms: 0.0,
        })
    }

    /// Notes each request from now on.
    ///
    /// # Errors
    /// If there is no tracefs.
    pub fn trace(&self) -> Result<Tracing, Box<dyn Error>> {
        let text = fs::read_to_string(format!("/sys/block/{}/dev", self.name()))?;
        let (major, minor) = text.trim().split_once(':').ok_or("a device has two numbers")?;
        Tracing::of(major.parse()?, minor.parse()?)
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let unmounted = run(Command::new("umount").arg(self.path()));
        if unmounted.is_err() {
            let _ = run(Command::new("umount").arg("--lazy").arg(self.path()));
        }
        let _ = run(Command::new("losetup").arg("--detach").arg(&self.device));
    }
}

/// Where tracefs is, if it is mounted.
pub fn tracefs() -> Option<&'static Path> {
    let roots = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
    let event = "events/block/block_rq_issue";
    roots.into_iter().map(Path::new).find(|root| root.join(event).is_dir())
}

/// Requests that are being noted.
pub struct Tracing {
    instance: PathBuf,
}

/// A request as it was noted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// What it asks for: `R`, `WS`, `FF`, ...
    pub kind: String,
    /// Its bytes, as it says; a discard has some, and moves none.
    pub bytes: u64,
    sector: u64,
    sectors: u64,
}

impl Tracing {
    /// Notes the requests to a device from now on.
    ///
    /// # Errors
    /// If there is no tracefs.
    pub fn of(major: u32, minor: u32) -> Result<Tracing, Box<dyn Error>> {
        let root = tracefs().ok_or("tracefs is not mounted")?;
        let name = format!("instances/larder-{}-{major}-{minor}", std::process::id());
        let instance = root.join(name);
        fs::create_dir(&instance)?;
        let tracing = Tracing { instance };
        let event = tracing.instance.join("events/block/block_rq_issue");
        // As the kernel keeps device numbers.
        fs::write(event.join("filter"), format!("dev == {}", major << 20 | minor))?;
        fs::write(tracing.instance.join("buffer_size_kb"), "16384")?;
        fs::write(event.join("enable"), "1")?;
        Ok(tracing)
    }

    /// Each request that was noted; from now on none is.
    ///
    /// # Errors
    /// If the kernel lost some.
    pub fn each(&self) -> Result<Vec<Request>, Box<dyn Error>> {
        let event = self.instance.join("events/block/block_rq_issue");
        fs::write(event.join("enable"), "0")?;
        let text = fs::read_to_string(self.instance.join("trace"))?;
        if text.contains("LOST") {
            return Err("the kernel lost some requests".into());
        }
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| request(line).ok_or(format!("not understood: {line}").into())).collect()
    }

    /// The sum of what was noted and moved bytes.
    ///
    /// # Errors
    /// If the kernel lost some.
    pub fn requests(&self) -> Result<Requests, Box<dyn Error>> {
        Ok(model(self.each()?.iter().filter_map(Request::moved)))
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        let _ = fs::write(self.instance.join("events/block/block_rq_issue/enable"), "0");
        let _ = fs::remove_dir(&self.instance);
    }
}

impl Request {
    /// (is it a write, first sector, sectors), if it moved bytes.
    fn moved(&self) -> Option<(bool, u64, u64)> {
        // A flush has no sectors, a discard moves no bytes.
        let is_data =
            self.sectors > 0 && !self.kind.contains('D') && self.kind.contains(['R', 'W']);
        is_data.then_some((self.kind.contains('W'), self.sector, self.sectors))
    }
}

/// The request of a line such as
/// `... block_rq_issue: 7,0 R 4096 () 1024 + 8 none,0,0 [fio]`.
fn request(line: &str) -> Option<Request> {
    let mut words = line.split_once("block_rq_issue: ")?.1.split(' ');
    let kind = words.nth(1)?.to_owned();
    let bytes = words.next()?.parse().ok()?;
    let mut numbers = line.split_once(") ")?.1.split(' ');
    let sector = numbers.next()?.parse().ok()?;
    let sectors = numbers.nth(1)?.parse().ok()?;
    Some(Request { kind, bytes, sector, sectors })
}

fn model(requests: impl Iterator<Item = (bool, u64, u64)>) -> Requests {
    let mut sum = Requests::default();
    let mut head = u64::MAX;
    for (is_write, sector, sectors) in requests {
        let bytes = sectors * SECTOR_BYTES;
        if is_write {
            sum.writes += 1;
            sum.written_bytes += bytes;
        } else {
            sum.reads += 1;
            sum.read_bytes += bytes;
        }
        let seek_ms = if sector == head { 0.0 } else { SEEK_MS };
        sum.modelled_ms += seek_ms + bytes as f64 / BYTES_PER_MS;
        head = sector + sectors;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_from_the_trace() {
        let line = "kworker/0:1-9 [001] d..1. 12.345678: block_rq_issue: 7,0 WS 4096 () 1024 + 8 \
                    none,0,0 [kworker/0:1]";
        let moved = |line: &str| request(line).unwrap().moved();
        assert_eq!(request(line).unwrap().bytes, 4096);
        assert_eq!(moved(line), Some((true, 1024, 8)));
        assert_eq!(moved(&line.replace("WS", "R")), Some((false, 1024, 8)));
        assert_eq!(moved(&line.replace("WS", "D")), None);
        assert_eq!(moved(&line.replace("WS", "FF").replace("+ 8", "+ 0")), None);
        assert_eq!(request("# tracer: nop"), None);
    }

    #[test]
    fn only_what_is_not_in_sequence_seeks() {
        let sum = model([(false, 0, 8), (false, 8, 8), (true, 100, 300)].into_iter());
        assert_eq!((sum.reads, sum.writes), (2, 1));
        assert_eq!((sum.read_bytes, sum.written_bytes), (16 * 512, 300 * 512));
        let transfer_ms = 316.0 * 512.0 / BYTES_PER_MS;
        assert!((sum.modelled_ms - 2.0 * SEEK_MS - transfer_ms).abs() < 1e-9);
    }
}
