//! A recording: what a disk went through while a store on it was used.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::disk::{Disk, Event, What};
use super::ledger::Line;
use super::load::Load;
use super::volume::{FileSystem, Volume};
use super::worker::STOP_NAME;

/// The store's directory on a volume.
pub const STORE_NAME: &str = "store";

const TRY_TEXT: &[u8] = b"the bytes that are looked for on the way to the disk";

/// What a disk went through.
#[derive(Debug)]
pub struct Recording {
    /// What is on it.
    pub system: FileSystem,
    /// What was done to the store.
    pub load: Load,
    /// The disk before.
    pub disk: Disk,
    /// All that happened to it.
    pub log: Vec<Event>,
    /// The events while the processes ran.
    pub window: Range<usize>,
    /// The file with all lines of the ledger.
    pub ledger: PathBuf,
    /// The same.
    pub lines: Vec<Line>,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Makes a file system, has a store used on it, and returns what its disk went through; `folder` is
/// for files and mounts.
///
/// # Errors
/// If something cannot be made or started, or flushes do not arrive.
pub fn record(program: &Path, system: FileSystem, load: Load, folder: &Path) -> Outcome<Recording> {
    let disk = system.make(folder)?;
    let volume = Volume::new(system, disk.clone(), folder, "recorded")?;
    soil(program, &volume, folder, load)?;
    try_flush(program, &volume)?;
    let from = volume.recorder().log.len();
    let ledgers = use_store(program, &volume, folder, load)?;
    let log = std::mem::take(&mut volume.recorder().log);
    let window = from..log.len();
    let (ledger, lines) = collect(&ledgers)?;
    Ok(Recording { system, load, disk, log, window, ledger, lines })
}

/// Has a store used.
fn use_store(program: &Path, volume: &Volume, folder: &Path, load: Load) -> Outcome<PathBuf> {
    let ledgers = folder.join(format!("ledgers-{}", load.word().replace(':', "-")));
    fs::create_dir_all(&ledgers)?;
    Processes::start(program, &volume.path().join(STORE_NAME), &ledgers, load)?.wait()?;
    Ok(ledgers)
}

/// Has another store used and removed, so that the blocks that files get have old bytes, and such
/// as look like records. None of them has a right to come back.
fn soil(program: &Path, volume: &Volume, folder: &Path, load: Load) -> Outcome<()> {
    let operations = load.operations / 2;
    let old = Load { seed: !load.seed, operations, forgets_syncs: false, ..load };
    let ledgers = use_store(program, volume, folder, old)?;
    fs::remove_dir_all(ledgers)?;
    // By other processes, see `volume`.
    let store = volume.path().join(STORE_NAME);
    let removed = Command::new("rm").arg("-r").arg(store).status()?;
    let synced = Command::new("sync").arg("-f").arg(volume.path()).status()?;
    match removed.success() && synced.success() {
        true => Ok(()),
        false => Err("the store before the recording cannot be removed".into()),
    }
}

/// A recording without flushes, or with flushes before the writes that they are for, is worthless:
/// so this writes and syncs a file, and looks for both.
fn try_flush(program: &Path, volume: &Volume) -> Outcome<()> {
    let has_text = |event: &Event| match &event.what {
        What::Write(_, bytes) => bytes.windows(TRY_TEXT.len()).any(|window| window == TRY_TEXT),
        What::Flush => false,
    };
    let before = volume.recorder().log.len();
    let done = Command::new(program).arg("try").arg(volume.path().join("try")).status()?;
    let recorder = volume.recorder();
    let mut events = recorder.log[before..].iter();
    let arrived = events.any(has_text) && events.any(|event| event.what == What::Flush);
    match done.success() && arrived {
        true => Ok(()),
        false => Err("a synced write did not reach the disk with a flush behind it".into()),
    }
}

/// Writes and syncs a file.
///
/// # Errors
/// If that fails.
pub fn write_and_sync(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(TRY_TEXT)?;
    file.sync_all()
}

/// The processes of a recording.
struct Processes {
    writers: Vec<Child>,
    others: Vec<Child>,
    stop: PathBuf,
}

impl Processes {
    fn start(program: &Path, store: &Path, ledgers: &Path, load: Load) -> io::Result<Processes> {
        let start = |role: &str, id: u64| {
            let mut command = Command::new(program);
            command.args(["work", role, &id.to_string()]).arg(store);
            command.arg(ledgers.join(format!("{role}-{id}"))).arg(load.word());
            command.stdin(Stdio::null()).spawn()
        };
        let mut run =
            Processes { writers: Vec::new(), others: Vec::new(), stop: ledgers.join(STOP_NAME) };
        for (role, id) in [("janitor", 100), ("stirrer", 101)] {
            run.others.push(start(role, id)?);
        }
        for id in 0..load.writers {
            run.writers.push(start("writer", id)?);
        }
        Ok(run)
    }

    fn wait(mut self) -> Outcome<()> {
        let mut good = true;
        for writer in &mut self.writers {
            good &= writer.wait()?.success();
        }
        File::create(&self.stop)?;
        for other in &mut self.others {
            good &= other.wait()?.success();
        }
        if good { Ok(()) } else { Err("a process of the recording failed".into()) }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.writers.iter_mut().chain(&mut self.others) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Puts the lines of all processes into one file.
fn collect(ledgers: &Path) -> Outcome<(PathBuf, Vec<Line>)> {
    let mut text = String::new();
    for entry in fs::read_dir(ledgers)? {
        text.push_str(&fs::read_to_string(entry?.path())?);
    }
    let lines: Option<Vec<Line>> = text.lines().map(Line::parse).collect();
    let path = ledgers.join("all");
    fs::write(&path, text)?;
    Ok((path, lines.ok_or("a line of a ledger is not understood")?))
}
