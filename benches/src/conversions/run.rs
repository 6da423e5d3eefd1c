//! The measurements.
//!
//! 1. By the clock: everything is in memory, what is made goes to another directory of the same
//!    file system, which is removed before each run. `and sync` waits until it is on the disk, as
//!    a conversion always does.
//! 2. Cold: the cache stands on a disk of its own, whose requests the kernel tells; what is made
//!    goes elsewhere. The models say how long the disk would take for the reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::settings::Settings;
use super::{Outcome, cache};
use crate::seeks::disk::{self, Disk};
use crate::seeks::model::{Figures, Model, figures};
use crate::seeks::trace::Recorder;

const SEED: u64 = 1;
/// A disk that is modelled has room for so much more than its entries.
const BYTES_PER_ENTRY: u64 = 40_000;

/// Who moves what.
struct Mover {
    name: &'static str,
    /// What it reads, and what it makes.
    command: fn(&Settings, &Path, &Path) -> Command,
    to: &'static str,
    /// Whether what is made is then put onto the disk.
    syncs: bool,
}

fn tar(_: &Settings, from: &Path, to: &Path) -> Command {
    let mut command = Command::new("tar");
    command.arg("-cf").arg(to).arg("-C").arg(from).arg(".");
    command
}

fn larder(settings: &Settings, from: &Path, to: &Path) -> Command {
    let mut command = Command::new(&settings.larder);
    command.arg("convert").arg(from).arg(to).args(["--max-size", "100Gi"]);
    // Else it is to become what its name says.
    if to.extension().is_none() {
        command.args(["--to", "larder"]);
    }
    command.env("LARDER_CONFIG", "/dev/null");
    command
}

const MOVERS: [Mover; 5] = [
    Mover { name: "tar", command: tar, to: "by-tar.tar", syncs: false },
    Mover { name: "tar and sync", command: tar, to: "by-tar.tar", syncs: true },
    Mover { name: "larder convert, to a store", command: larder, to: "store", syncs: false },
    Mover { name: "larder convert, to a tar", command: larder, to: "cache.tar", syncs: false },
    Mover { name: "larder convert, to LMDB", command: larder, to: "cache.lmdb", syncs: false },
];

/// Measures everything, and makes the tables.
///
/// # Errors
/// If something cannot be measured.
pub fn run(settings: &Settings, folder: &Path) -> Outcome<String> {
    let mut text = warm(settings, folder)?;
    if settings.cold {
        text.push_str(&cold(settings, folder)?);
    }
    Ok(text)
}

/// Removes a file or a directory, if it is there.
pub(super) fn remove(path: &Path) -> Outcome<()> {
    let _ = fs::remove_file(path.with_extension("lmdb-lock"));
    match fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => Ok(fs::remove_dir_all(path)?),
        Ok(_) => Ok(fs::remove_file(path)?),
        Err(_) => Ok(()),
    }
}

/// Runs a mover once: seconds.
fn once(mover: &Mover, settings: &Settings, from: &Path, to: &Path) -> Outcome<f64> {
    remove(to)?;
    run_once(&mut (mover.command)(settings, from, to), mover.syncs.then_some(to))
}

/// Runs a command once, and puts what it has made onto the disk: seconds.
pub(super) fn run_once(command: &mut Command, to_sync: Option<&Path>) -> Outcome<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let begun = Instant::now();
    let status = command.status()?;
    if let Some(path) = to_sync {
        rustix::fs::syncfs(fs::File::open(path)?)?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    match status.success() {
        true => Ok(seconds),
        false => Err(format!("{} failed", command.get_program().display()).into()),
    }
}

pub(super) fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn warm(settings: &Settings, folder: &Path) -> Outcome<String> {
    let from = folder.join("cache");
    eprintln!("convert: a cache of {} entries", settings.entries);
    let bytes = cache::fill(&from, SEED, settings.entries / 2)?;
    rustix::fs::syncfs(fs::File::open(&from)?)?;
    let mut times: Vec<Vec<f64>> = MOVERS.iter().map(|_| Vec::new()).collect();
    for round in 0..=settings.runs {
        for (mover, times) in MOVERS.iter().zip(&mut times) {
            eprintln!("convert: {}, round {round} of {}", mover.name, settings.runs);
            let to = folder.join(mover.to);
            let seconds = once(mover, settings, &from, &to)?;
            remove(&to)?;
            rustix::fs::syncfs(fs::File::open(folder)?)?;
            // The first round only brings everything into memory.
            if round > 0 {
                times.push(seconds);
            }
        }
    }
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    let mut text = format!(
        "{} entries, {:.2} GB; medians of {} runs, everything in memory\n\n\
         | who | s | MB/s | of tar | of tar and sync |\n|---|---|---|---|---|\n",
        settings.entries / 2 * 2,
        bytes as f64 / 1e9,
        settings.runs
    );
    for (mover, seconds) in MOVERS.iter().zip(&medians) {
        text.push_str(&format!(
            "| {} | {seconds:.2} | {:.0} | {:.2} | {:.2} |\n",
            mover.name,
            bytes as f64 / 1e6 / seconds,
            medians[0] / seconds,
            medians[1] / seconds
        ));
    }
    fs::remove_dir_all(&from)?;
    Ok(text)
}

fn cold(settings: &Settings, folder: &Path) -> Outcome<String> {
    disk::ensure_tracing()?;
    let disk = Disk::new(folder, settings.entries * BYTES_PER_ENTRY)?;
    let (major, minor) = disk.numbers()?;
    let recorder = Recorder::new(major, minor)?;
    let from = disk.path().join("cache");
    eprintln!("convert: a cold cache of {} entries", settings.entries);
    cache::fill(&from, SEED, settings.entries / 2)?;
    disk.sync()?;
    let mut rows: Vec<(&str, Figures, f64)> = Vec::new();
    for mover in MOVERS.iter().filter(|mover| !mover.syncs) {
        eprintln!("convert: {}, cold", mover.name);
        let to: PathBuf = folder.join(mover.to);
        disk.cool()?;
        recorder.start()?;
        let moved = once(mover, settings, &from, &to);
        disk.wait_until_left()?;
        disk.sync()?;
        std::thread::sleep(std::time::Duration::from_millis(200));
        let recording = recorder.stop()?;
        let seconds = moved?;
        remove(&to)?;
        rows.push((mover.name, figures(&recording.requests), seconds));
    }
    let mut text = String::from(
        "\nCold, from a disk of its own: its reads, and how long a disk of 7200 revolutions would \
         take\n\n| who | reads | seeks | MB | s, flat | curve | queued | of tar, flat | curve | \
         queued | s here |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let first = rows.first().map(|(_, figures, _)| figures.read_model_ms).unwrap_or_default();
    for (name, figures, seconds) in rows {
        let ms = figures.read_model_ms;
        let of_model = |number: usize| format!("{:.1}", ms[number] / 1e3);
        let of_tar = |number: usize| format!("{:.2}", first[number] / ms[number].max(0.001));
        let columns: Vec<String> =
            (0..Model::ALL.len()).map(of_model).chain((0..Model::ALL.len()).map(of_tar)).collect();
        text.push_str(&format!(
            "| {name} | {} | {} | {:.0} | {} | {seconds:.1} |\n",
            figures.reads,
            figures.read_seeks,
            figures.read_bytes as f64 / 1e6,
            columns.join(" | "),
        ));
    }
    Ok(text)
}
