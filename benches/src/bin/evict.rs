//! `evict [--entries N] [--bytes N] [--hits N] [--directory PATH] [--json]`: the block requests of
//! evicting so many bytes from a store of so many entries on ext4, cold, as root.
//!
//! 1. The store is filled on a file system of its own on a loop device, made durable, and mounted
//!    anew with cold caches. With `--hits N` one record in N of the older half is hit first.
//! 2. What the kernel asks the device for is recorded by tracefs, from before the store is opened
//!    until everything is written back.
//! 3. An event that was lost makes the result worthless, and is an error.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use larder_benches::key;
use larder_benches::loop_disk::{Tracing, tracefs};
use larder_benches::soak::volume::{FileSystem, Volume};
use larder_engine::{
    Budget, Entry, Options, Put, RecordKind, RecordLayout, Section, SectionKind, Store,
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Something is missing.
const MISSING: u8 = 3;

/// Mean bytes of an entry, as in a C++ build.
const ENTRY_BYTES_MEAN: u64 = 26_000;

/// What is asked for on the command line.
struct Wanted {
    entries: u64,
    bytes: u64,
    hits: u64,
    directory: PathBuf,
    json: bool,
}

fn parse(words: &[String]) -> Outcome<Wanted> {
    let directory = std::env::temp_dir();
    let mut wanted =
        Wanted { entries: 100_000, bytes: 2_500_000_000, hits: 0, directory, json: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--entries" => wanted.entries = value()?.parse()?,
            "--bytes" => wanted.bytes = value()?.parse()?,
            "--hits" => wanted.hits = value()?.parse()?,
            "--directory" => wanted.directory = value()?.into(),
            "--json" => wanted.json = true,
            other => return Err(format!("evict does not know `{other}`").into()),
        }
    }
    Ok(wanted)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first() {
        Some((first, rest)) if first == "inside" => inside(rest),
        _ => outside(&words),
    };
    result.unwrap_or_else(|error| {
        eprintln!("evict: {error}");
        ExitCode::from(2)
    })
}

/// Goes on in a mount namespace of its own.
fn outside(words: &[String]) -> Outcome<ExitCode> {
    parse(words)?;
    let is_root = rustix::process::geteuid().is_root();
    if !is_root || tracefs().is_none() || FileSystem::Ext4.missing().is_some() {
        eprintln!("evict: missing: the rights of root, tracefs, or mkfs.ext4");
        return Ok(ExitCode::from(MISSING));
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe()?);
    Err(command.arg("inside").args(words).exec().into())
}

fn fill(store: &Store, entries: u64) -> Outcome<()> {
    let noise: Vec<u8> = (0..1u64 << 17).flat_map(|block| *key(block).as_bytes()).collect();
    for number in 0..entries {
        let word = key(number).as_bytes()[9];
        let bytes = ENTRY_BYTES_MEAN as usize / 16 * (1 + usize::from(word) % 31);
        let start = (number as usize * 4_099) % (noise.len() - bytes);
        let object = Section::new(SectionKind::Object, &noise[start..start + bytes]);
        let entry = Entry::new(key(number), RecordKind::Result, vec![object]);
        if store.put(&entry)? != Put::Stored {
            return Err("a put was dropped".into());
        }
        if number % 20_000 == 19_999 {
            store.maintain(Budget::full())?;
        }
    }
    store.maintain(Budget::full())?;
    Ok(store.checkpoint()?)
}

fn inside(words: &[String]) -> Outcome<ExitCode> {
    let wanted = parse(words)?;
    fs::create_dir_all(&wanted.directory)?;
    let folder = tempfile::Builder::new().prefix("evict-").tempdir_in(&wanted.directory)?;
    let mut volume = Volume::new(FileSystem::Ext4, 64 << 30, folder.path())?;
    let path = volume.path().join("store");
    let options = || Options::new().layout(RecordLayout::Raw);
    let store = Store::open(&path, options())?;
    fill(&store, wanted.entries)?;
    let full = store.used_bytes()?;
    if wanted.hits > 0 {
        for number in (0..wanted.entries / 2).step_by(wanted.hits as usize) {
            store.get(&key(number))?.ok_or("a record is missing")?;
        }
    }
    drop(store);
    volume.chill()?;
    let device = fs::metadata(volume.path())?.dev();
    let tracing = Tracing::of(rustix::fs::major(device), rustix::fs::minor(device))?;
    // Eviction ends at 80 % of this.
    let max_size = full.saturating_sub(wanted.bytes) / 80 * 100;
    let store = Store::open(&path, options().max_size_bytes(max_size))?;
    let done = store.maintain(Budget::full())?;
    drop(store);
    volume.sync()?;
    let requests = tracing.each()?;
    let sum = |kind: &dyn Fn(&str) -> bool| {
        let of_kind = requests.iter().filter(|request| kind(&request.kind));
        of_kind.fold((0u64, 0u64), |(count, bytes), more| (count + 1, bytes + more.bytes))
    };
    let (reads, read_bytes) = sum(&|kind| kind.starts_with('R'));
    let (flushes, _) = sum(&|kind| kind.starts_with('F') && !kind.contains('W'));
    let (all, all_bytes) = sum(&|_| true);
    let writes = all - reads - flushes;
    let figures = [
        ("entries", wanted.entries),
        ("bytes_before", full),
        ("bytes_evicted", done.bytes_evicted),
        ("segments_evicted", done.segments_evicted),
        ("bytes_reinserted", done.bytes_reinserted),
        ("records_reinserted", done.records_reinserted),
        ("requests", all),
        ("reads", reads),
        ("read_bytes", read_bytes),
        ("writes", writes),
        ("written_bytes", all_bytes - read_bytes),
        ("flushes", flushes),
    ];
    match wanted.json {
        true => {
            let words: Vec<String> =
                figures.iter().map(|(name, figure)| format!("\"{name}\":{figure}")).collect();
            println!("{{{}}}", words.join(","));
        }
        false => figures.iter().for_each(|(name, figure)| println!("{figure:>12} {name}")),
    }
    Ok(ExitCode::SUCCESS)
}
