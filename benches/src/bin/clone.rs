//! Measures restoring by reflink against copying, over sizes, warm and cold, on file systems of its
//! own: private loop devices, for which it needs root.
//!
//! ```text
//! clone [--cold] [--sizes BYTES,BYTES,...] [--rounds N] [--file-systems xfs,btrfs]
//!       [--directory DIR]
//! ```
//!
//! 1. Warm: every way of restoring in turn, in one process: copying a compressed record, copying a
//!    raw one, cloning with the check remembered, with the check made each time, and cloning what
//!    was just written. Medians in microseconds, and bytes that the device was given until
//!    everything was on it.
//! 2. Cold (`--cold`): the file system is mounted anew; then all are restored in the order in which
//!    they were put, read back if that is asked for, and synced. Requests and bytes as the block
//!    layer counts them, and the time that a disk of 7200 turns a minute would take for these
//!    requests if each that does not begin where the one before ended costs 8.5 ms to seek and half
//!    a turn, and 150 MB/s pass.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use larder_benches::loop_disk::{LoopDisk, Requests};
use larder_benches::{key, value};
use larder_engine::{
    Entry, Options, Put, RecordKind, RecordLayout, Restored, Section, SectionKind, Store,
};

/// Bytes that all files of one size have together when they are restored cold.
const COLD_BYTES: usize = 64 << 20;
/// Longer than a segment must have rested before its checks are remembered.
const REST: std::time::Duration = std::time::Duration::from_secs(4);

struct Arguments {
    sizes: Vec<usize>,
    rounds: usize,
    file_systems: Vec<String>,
    directory: PathBuf,
    cold: bool,
}

/// How files come to their places.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    CopyCompressed,
    CopyRaw,
    Clone,
    CloneChecked,
    CloneDirty,
}

impl Way {
    const ALL: [Way; 5] =
        [Way::CopyCompressed, Way::CopyRaw, Way::Clone, Way::CloneChecked, Way::CloneDirty];

    fn name(self) -> &'static str {
        match self {
            Way::CopyCompressed => "copy, compressed",
            Way::CopyRaw => "copy, raw",
            Way::Clone => "clone",
            Way::CloneChecked => "clone, checked",
            Way::CloneDirty => "clone, just written",
        }
    }

    fn options(self) -> Options {
        let layout = match self {
            Way::CopyCompressed => RecordLayout::Compressed,
            Way::CopyRaw => RecordLayout::Raw,
            _ => RecordLayout::Cloneable,
        };
        Options::new().max_size_bytes(4 << 30).layout(layout)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = parse()?;
    for kind in &arguments.file_systems {
        if arguments.cold { cold(&arguments, kind)? } else { warm(&arguments, kind)? }
    }
    Ok(())
}

fn put(store: &Store, number: u64, bytes: usize) -> Result<(), Box<dyn Error>> {
    let data = value(number, bytes);
    let section = Section::new(SectionKind::Object, data).mode(0o644);
    let entry = Entry::new(key(number), RecordKind::Result, vec![section]);
    match store.put(&entry)? {
        Put::Stored => Ok(()),
        Put::Dropped(why) => Err(format!("a put was dropped: {why}").into()),
    }
}

/// Restores an entry and checks how.
fn restore(
    store: &Store,
    number: u64,
    path: &Path,
    wanted: Restored,
) -> Result<(), Box<dyn Error>> {
    let record = store.get(&key(number))?.ok_or("it was put")?;
    let restored = store.restore(&record, 0, path)?;
    // Below 16 KiB nothing is cloned.
    let is_small = record.sections()[0].real_bytes < 16 << 10;
    if restored == wanted || is_small { Ok(()) } else { Err("it came another way".into()) }
}

fn warm(arguments: &Arguments, kind: &str) -> Result<(), Box<dyn Error>> {
    println!("## {kind}, warm: medians of {} in us (bytes written per file)\n", arguments.rounds);
    let ways = Way::ALL.map(Way::name).join(" | ");
    println!("| bytes | {ways} |\n|---|---|---|---|---|---|");
    for bytes in &arguments.sizes {
        let disk = LoopDisk::new(&arguments.directory, kind)?;
        let mut row = format!("| {bytes} |");
        let mut stores = Vec::new();
        for (number, way) in Way::ALL.into_iter().enumerate() {
            let path = disk.path().join(number.to_string());
            let store = Store::open(&path, way.options())?;
            put(&store, 0, *bytes)?;
            store.checkpoint()?;
            stores.push((way, store, path));
        }
        std::thread::sleep(REST);
        let mut times = vec![Vec::new(); stores.len()];
        let mut written = vec![0; stores.len()];
        for round in 0..arguments.rounds + 3 {
            for (index, (way, store, path)) in stores.iter().enumerate() {
                let target = disk.path().join(format!("out-{index}"));
                let _ = fs::remove_file(&target);
                let before = disk.requests()?;
                let elapsed = one(*way, store, path, &target, *bytes, round as u64 + 1)?;
                disk.sync()?;
                if round >= 3 {
                    times[index].push(elapsed);
                    written[index] += disk.requests()?.written_bytes - before.written_bytes;
                }
            }
        }
        for (times, written) in times.iter_mut().zip(written) {
            times.sort_unstable_by(f64::total_cmp);
            let (median, each) = (times[times.len() / 2], written / arguments.rounds as u64);
            write!(row, " {median:.0} ({each}) |")?;
        }
        println!("{row}");
    }
    println!();
    Ok(())
}

/// Microseconds that one restore takes.
fn one(
    way: Way,
    store: &Store,
    path: &Path,
    target: &Path,
    bytes: usize,
    round: u64,
) -> Result<f64, Box<dyn Error>> {
    let timed = |work: &mut dyn FnMut() -> Result<(), Box<dyn Error>>| {
        let start = Instant::now();
        work()?;
        Ok(start.elapsed().as_secs_f64() * 1e6)
    };
    match way {
        Way::CopyCompressed | Way::CopyRaw => {
            timed(&mut || restore(store, 0, target, Restored::Copied))
        }
        Way::Clone => timed(&mut || restore(store, 0, target, Restored::Cloned)),
        Way::CloneChecked => {
            // Without the memory each restore checks.
            let _ = fs::remove_file(path.join("clones"));
            let fresh = Store::open(path, way.options())?;
            assert!(fresh.contains(&key(0))?, "opens what the others have open");
            timed(&mut || restore(&fresh, 0, target, Restored::Cloned))
        }
        // The engine copies what was just written; this is what it saves.
        Way::CloneDirty => {
            // A new file: some file systems write out at once what replaces an old one.
            let source = path.join(format!("dirty-{round}"));
            fs::write(&source, value(round, bytes))?;
            let source = fs::File::open(&source)?;
            timed(&mut || {
                let target = fs::File::create(target)?;
                rustix::fs::ioctl_ficlone(&target, &source)?;
                Ok(())
            })
        }
    }
}

fn cold(arguments: &Arguments, kind: &str) -> Result<(), Box<dyn Error>> {
    println!("## {kind}, cold, in order: requests read and written, MB, modelled ms, per file\n");
    let ways = [Way::CopyCompressed, Way::CopyRaw, Way::Clone, Way::CloneChecked];
    println!("| bytes | read back | {} |", ways.map(Way::name).join(" | "));
    println!("|---|---|---|---|---|---|");
    for bytes in &arguments.sizes {
        for read_back in [false, true] {
            let mut row = format!("| {bytes} | {} |", if read_back { "yes" } else { "no" });
            for way in ways {
                let count = (COLD_BYTES / bytes).clamp(16, 512) as u64;
                let requests = cold_one(arguments, kind, way, *bytes, count, read_back)?;
                let each = |number: u64| number as f64 / count as f64;
                write!(
                    row,
                    " {:.2} + {:.2}, {:.3} + {:.3}, {:.1} |",
                    each(requests.reads),
                    each(requests.writes),
                    each(requests.read_bytes) / 1e6,
                    each(requests.written_bytes) / 1e6,
                    requests.modelled_ms / count as f64,
                )?;
            }
            println!("{row}");
        }
    }
    println!();
    Ok(())
}

fn cold_one(
    arguments: &Arguments,
    kind: &str,
    way: Way,
    bytes: usize,
    count: u64,
    read_back: bool,
) -> Result<Requests, Box<dyn Error>> {
    let disk = LoopDisk::new(&arguments.directory, kind)?;
    let path = disk.path().join("store");
    let out = disk.path().join("out");
    fs::create_dir(&out)?;
    let store = Store::open(&path, way.options())?;
    (0..count).try_for_each(|number| put(&store, number, bytes))?;
    store.checkpoint()?;
    let wanted = match way {
        Way::Clone | Way::CloneChecked => Restored::Cloned,
        _ => Restored::Copied,
    };
    if way == Way::Clone {
        // As in the second checkout under one kernel.
        std::thread::sleep(REST);
        (0..count).try_for_each(|number| restore(&store, number, &out.join("x"), wanted))?;
    }
    drop(store);
    disk.mount_again()?;
    let tracing = disk.trace()?;
    let store = Store::open(&path, way.options())?;
    for number in 0..count {
        let target = out.join(number.to_string());
        restore(&store, number, &target, wanted)?;
        if read_back {
            assert!(fs::read(&target)? == value(number, bytes), "the right bytes");
        }
    }
    disk.sync()?;
    tracing.requests()
}

fn parse() -> Result<Arguments, Box<dyn Error>> {
    let mut arguments = Arguments {
        sizes: (12..=24).step_by(2).map(|shift| 1 << shift).collect(),
        rounds: 101,
        file_systems: vec!["xfs".into(), "btrfs".into()],
        directory: std::env::temp_dir(),
        cold: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--cold" {
            arguments.cold = true;
            continue;
        }
        let text = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--sizes" => {
                arguments.sizes = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--rounds" => arguments.rounds = text.parse()?,
            "--file-systems" => arguments.file_systems = text.split(',').map(Into::into).collect(),
            "--directory" => arguments.directory = text.into(),
            _ => return Err(format!("there is no option {word}").into()),
        }
    }
    let user = Command::new("id").arg("-u").output()?.stdout;
    if user != b"0\n" {
        return Err("only root can mount file systems of its own".into());
    }
    Ok(arguments)
}
