//! One file system's soak: start everybody, look at `du`, add up.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use super::latency::Latencies;
use super::settings::{Rate, Settings};
use super::volume::{FileSystem, Volume};
use super::worker::{Place, open, start};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// How often `du` is asked.
const LOOK: Duration = Duration::from_millis(250);

/// How often the progress line comes.
const PROGRESS: Duration = Duration::from_secs(5);

/// How long workers may take to end after their time.
const GRACE: Duration = Duration::from_secs(120);

/// Bytes that are written to measure a disk.
const PROBE_BYTES: u64 = 256 << 20;

/// What happened on one file system.
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// Its name.
    pub system: String,
    /// Figures by name, in the order of the table.
    pub figures: Vec<(&'static str, f64)>,
}

impl Column {
    fn add(&mut self, name: &'static str, figure: f64) {
        self.figures.push((name, figure));
    }

    /// A figure.
    pub fn figure(&self, name: &str) -> f64 {
        let found = self.figures.iter().find(|(known, _)| *known == name);
        found.map_or(f64::NAN, |(_, figure)| *figure)
    }

    /// Whether the bound held, nobody failed, and there was something to see.
    pub fn is_good(&self) -> bool {
        self.figure("looks_above_max_size") == 0.0
            && self.figure("workers_failed") == 0.0
            && self.figure("damaged") == 0.0
            && self.figure("puts") > 0.0
    }
}

/// Bytes of the disk blocks of a directory and all below it, as `du` counts.
///
/// # Errors
/// If it cannot be read.
pub fn du(path: &Path) -> std::io::Result<u64> {
    let mut sum = match fs::symlink_metadata(path) {
        // Evicted since the directory was listed.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        metadata => metadata?.blocks() * 512,
    };
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            sum += du(&entry?.path())?;
        }
    }
    Ok(sum)
}

/// Runs the soak on one file system.
///
/// # Errors
/// If it cannot be run at all.
pub fn run(
    system: FileSystem,
    settings: &Settings,
    words: &[String],
    folder: &Path,
) -> Outcome<Column> {
    let volume = Volume::new(system, volume_bytes(system, settings), folder)?;
    let notes = folder.join(format!("{}-notes", system.name()));
    fs::create_dir_all(&notes)?;
    let mut column = Column { system: system.name().to_owned(), ..Column::default() };
    let disk = match settings.rate {
        Rate::Full => 0,
        Rate::Half => settings.disk_rate.map_or_else(|| measure(volume.path()), Ok)?,
    };
    column.add("disk_bytes_per_second", disk as f64);
    let place = Place {
        program: std::env::current_exe()?,
        store: volume.path().join("store"),
        tree: volume.path().join("tree"),
        notes: notes.clone(),
        bytes_per_second: disk / 2 / settings.writers,
    };
    fs::create_dir_all(&place.tree)?;
    drop(open(settings, &place.store)?);
    let mut workers = Vec::new();
    for id in 0..settings.writers {
        workers.push(start("writer", id, &place, words)?);
    }
    for id in 0..settings.readers {
        workers.push(start("reader", id, &place, words)?);
    }
    workers.push(start("control", settings.writers, &place, words)?);
    for id in 0..settings.hogs {
        workers.push(start("hog", id, &place, words)?);
    }
    look_on(&mut workers, &place, settings, &mut column)?;
    sum_up(&place, settings, &mut column)?;
    fs::remove_dir_all(&notes)?;
    Ok(column)
}

/// Bytes of the sparse disk that the store stands on.
fn volume_bytes(system: FileSystem, settings: &Settings) -> u64 {
    // Restored files share blocks with segments that are gone.
    let kept = settings.max_size_bytes * if settings.clones { 4 } else { 2 };
    kept + match system {
        // Where room is scarce it lets writers wait for what all extents that are not on the disk
        // yet might cost in metadata, half a megabyte each: disks of builds are not that small.
        FileSystem::Btrfs => 64 << 30,
        FileSystem::Ext4 | FileSystem::Xfs => 2 << 30,
    }
}

/// Bytes per second that the disk takes, written in one go and synced.
fn measure(folder: &Path) -> Outcome<u64> {
    let path = folder.join("probe");
    let mut file = File::create(&path)?;
    let piece: Vec<u8> =
        (0..1u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let begun = Instant::now();
    for _ in 0..PROBE_BYTES / piece.len() as u64 {
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    let seconds = begun.elapsed().as_secs_f64();
    fs::remove_file(&path)?;
    Ok((PROBE_BYTES as f64 / seconds) as u64)
}

fn look_on(
    workers: &mut Vec<Child>,
    place: &Place,
    settings: &Settings,
    column: &mut Column,
) -> Outcome<()> {
    let begun = Instant::now();
    let end = Duration::from_secs(settings.seconds) + GRACE;
    let (mut looks, mut above, mut largest, mut failed) = (0u64, 0u64, 0u64, 0u64);
    let mut shown = begun;
    while !workers.is_empty() && begun.elapsed() < end {
        let used = du(&place.store)?;
        looks += 1;
        above += u64::from(used > settings.max_size_bytes);
        largest = largest.max(used);
        if shown.elapsed() >= PROGRESS {
            shown = Instant::now();
            let (used, max) = (used >> 20, settings.max_size_bytes >> 20);
            let seconds = begun.elapsed().as_secs();
            eprintln!("{} {seconds} s: {used} of {max} MiB, {above} looks above", column.system);
        }
        let mut left = Vec::new();
        for mut worker in workers.drain(..) {
            match worker.try_wait()? {
                None => left.push(worker),
                Some(status) => failed += u64::from(!status.success()),
            }
        }
        *workers = left;
        std::thread::sleep(LOOK);
    }
    for mut worker in workers.drain(..) {
        failed += 1;
        worker.kill()?;
        worker.wait()?;
    }
    column.add("looks", looks as f64);
    column.add("looks_above_max_size", above as f64);
    column.add("largest_du_bytes", largest as f64);
    column.add("max_size_bytes", settings.max_size_bytes as f64);
    column.add("workers_failed", failed as f64);
    Ok(())
}

/// What the workers noted, added up.
#[derive(Default)]
struct Notes {
    latencies: BTreeMap<String, Latencies>,
    numbers: BTreeMap<String, u64>,
}

impl Notes {
    fn read(folder: &Path) -> Outcome<Notes> {
        let mut notes = Notes::default();
        for path in fs::read_dir(folder)?.map(|entry| Ok::<PathBuf, std::io::Error>(entry?.path()))
        {
            let path = path?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("progress-") {
                continue;
            }
            for line in fs::read_to_string(&path)?.lines() {
                let (name, rest) = line.split_once(' ').ok_or("a note is cut short")?;
                match name {
                    "puts" | "calls" | "gets" | "controls" => {
                        let read = Latencies::parse(rest).ok_or("a note is not understood")?;
                        notes.latencies.entry(name.to_owned()).or_default().add(&read);
                    }
                    _ => {
                        *notes.numbers.entry(name.to_owned()).or_default() += rest.parse::<u64>()?
                    }
                }
            }
        }
        Ok(notes)
    }
}

fn sum_up(place: &Place, settings: &Settings, column: &mut Column) -> Outcome<()> {
    const PERCENTILES: [(&str, [&str; 4]); 4] = [
        ("puts", ["put_p50_ms", "put_p99_ms", "put_p999_ms", "put_max_ms"]),
        ("calls", ["call_p50_ms", "call_p99_ms", "call_p999_ms", "call_max_ms"]),
        ("controls", ["plain_p50_ms", "plain_p99_ms", "plain_p999_ms", "plain_max_ms"]),
        ("gets", ["get_p50_ms", "get_p99_ms", "get_p999_ms", "get_max_ms"]),
    ];
    let notes = Notes::read(&place.notes)?;
    let number = |name: &str| notes.numbers.get(name).copied().unwrap_or(0) as f64;
    let puts = notes.latencies.get("puts").map_or(0, Latencies::count);
    column.add("puts", puts as f64);
    column.add("puts_dropped", number("dropped"));
    column.add("bytes_put", number("bytes"));
    column.add("bytes_per_second", number("bytes") / settings.seconds as f64);
    for (name, figures) in PERCENTILES {
        let Some(times) = notes.latencies.get(name) else { continue };
        for (figure, permille) in figures.into_iter().zip([500, 990, 999]) {
            column.add(figure, times.permille_ms(permille));
        }
        column.add(figures[3], times.longest_ms());
    }
    column.add("gets", notes.latencies.get("gets").map_or(0, Latencies::count) as f64);
    column.add("hits", number("hits"));
    column.add("restored_cloned", number("cloned"));
    column.add("restored_copied", number("copied"));
    let store = open(settings, &place.store)?;
    let wanted = [
        "engine_segments_evicted",
        "engine_reinserted_records",
        "engine_reinserted_bytes",
        "engine_merges",
        "engine_checkpoints",
        "engine_puts_dropped_full",
        "engine_puts_dropped_busy",
        "engine_puts_dropped_closed",
    ];
    for (name, count) in store.engine_counters().filter(|(name, _)| wanted.contains(name)) {
        column.add(name, count as f64);
    }
    let report = store.verify(|_, _| {})?;
    column.add("damaged", report.damaged.len() as f64);
    Ok(())
}

fn written(figure: f64) -> String {
    if figure.fract() == 0.0 { format!("{figure:.0}") } else { format!("{figure:.3}") }
}

/// The columns as a table.
pub fn text(columns: &[Column]) -> String {
    let row = |name: &str, cells: Vec<String>| format!("| {name} | {} |\n", cells.join(" | "));
    let cells = |cell: &dyn Fn(&Column) -> String| columns.iter().map(cell).collect();
    let mut text = row("", cells(&|column| column.system.clone()));
    text += &row("---", cells(&|_| "---".to_owned()));
    for (name, _) in columns.first().map_or(&[][..], |column| &column.figures) {
        text += &row(name, cells(&|column| written(column.figure(name))));
    }
    text
}

/// The columns as a JSON array.
pub fn json(columns: &[Column]) -> String {
    let object = |column: &Column| {
        let figures = column.figures.iter().map(|(name, f)| format!("\"{name}\":{}", written(*f)));
        let figures: Vec<String> = figures.collect();
        format!("{{\"system\":\"{}\",{}}}", column.system, figures.join(","))
    };
    format!("[{}]\n", columns.iter().map(object).collect::<Vec<_>>().join(","))
}
