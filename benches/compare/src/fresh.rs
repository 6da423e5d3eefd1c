//! A fresh process opens a store, looks one key up and ends: what a compiler wrapper does.
//!
//! The child reads the clock before it opens the store and after it has closed it. Its key is
//! made before that: BLAKE3 asks the processor what it can do, which is slow in a virtual machine.
//! Files are read once before the children start, because a machine may have reclaimed them.

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::arguments::{Arguments, Child, bar};
use crate::engine::Kind;
use crate::report::{Report, median};
use crate::workload::{Shuffle, key, max_bytes, value};

/// An engine and how it is opened.
const CANDIDATES: &[(Kind, bool)] = &[
    (Kind::LarderRaw, false),
    (Kind::Lmdb, false),
    (Kind::LarderRaw, true),
    (Kind::Lmdb, true),
    (Kind::Redb, false),
    (Kind::Sqlite, false),
    (Kind::Files, false),
];

/// Children that end before the first one counts.
const WARM_UP: u64 = 20;

/// What a child that does nothing is called.
const NOTHING: &str = "none";

struct Store {
    kind: Kind,
    directory: PathBuf,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments, folder: &Path, report: &mut Report) {
    for bytes in &arguments.fresh_values {
        for entries in &arguments.entries {
            measure(arguments, folder, arguments.affordable(*entries, *bytes), *bytes, report);
        }
    }
}

fn measure(arguments: &Arguments, folder: &Path, entries: u64, bytes: u64, report: &mut Report) {
    let room = max_bytes(entries, bytes);
    let candidates: Vec<_> =
        CANDIDATES.iter().filter(|(kind, _)| arguments.engines().contains(kind)).collect();
    let stores: Vec<Store> = Kind::ALL
        .iter()
        .filter(|kind| candidates.iter().any(|(used, _)| used == *kind))
        .map(|kind| fill(folder, *kind, entries, bytes))
        .collect();
    let mut inside = vec![Vec::new(); candidates.len()];
    let mut outside = vec![Vec::new(); candidates.len()];
    let mut nothing = Vec::new();
    let mut order = Shuffle::new(entries ^ bytes);
    let progress = bar(format!("fresh: {entries} entries of {bytes}"), arguments.children);
    for round in 0..WARM_UP + arguments.children {
        if round == 0 || round == WARM_UP {
            stores.iter().for_each(|store| read_all(&store.directory));
        }
        let number = order.below(entries);
        let mut times = Vec::new();
        for (kind, read_only) in &candidates {
            let store = stores.iter().find(|store| store.kind == *kind).expect("it was filled");
            let child = start(kind.name(), *read_only, &store.directory, room, number, bytes);
            times.push(child);
        }
        let empty = start(NOTHING, false, folder, room, number, bytes);
        if round >= WARM_UP {
            for (index, (in_process, whole)) in times.into_iter().enumerate() {
                inside[index].push(in_process);
                outside[index].push(whole - empty.1);
            }
            nothing.push(empty.1);
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    let rows: Vec<_> = candidates
        .iter()
        .enumerate()
        .map(|(index, (kind, read_only))| {
            let name = if *read_only { format!("{kind}, read-only") } else { kind.to_string() };
            let figures = [&mut inside[index], &mut outside[index]];
            (name, figures.map(|times| Some(median(times) / 1e3)).to_vec())
        })
        .collect();
    let title = format!(
        "fresh process, {entries} entries of {bytes} bytes: microseconds; a process that does \
         nothing takes {:.0}",
        median(&mut nothing) / 1e3
    );
    report.table(&title, &["open, get, close", "process beyond an empty one"], &rows);
    for store in stores {
        std::fs::remove_dir_all(store.directory).expect("the directory can be removed");
    }
}

/// A filled and settled store that nobody has open.
fn fill(folder: &Path, kind: Kind, entries: u64, bytes: u64) -> Store {
    let directory = folder.join(format!("fresh-{kind}-{entries}-{bytes}"));
    std::fs::create_dir(&directory).expect("a directory can be made");
    let progress = bar(format!("filling {kind}"), entries);
    let mut engine = kind.open(&directory, max_bytes(entries, bytes));
    engine.fill(&mut progress.wrap_iter((0..entries).map(|n| (key(n), value(n, bytes)))));
    engine.settle();
    progress.finish_and_clear();
    Store { kind, directory }
}

/// Reads every file below a directory.
fn read_all(directory: &Path) {
    let mut buffer = vec![0; 1 << 20];
    for entry in std::fs::read_dir(directory).expect("a store is a directory") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            read_all(&path);
        } else if let Ok(mut file) = File::open(&path) {
            while file.read(&mut buffer).is_ok_and(|count| count > 0) {}
        }
    }
}

/// Starts a child; nanoseconds as it saw them, and from its start to its end.
fn start(
    engine: &str,
    read_only: bool,
    store: &Path,
    room: u64,
    number: u64,
    bytes: u64,
) -> (f64, f64) {
    let program = std::env::current_exe().expect("the kernel knows this program");
    let mut command = Command::new(program);
    command.args(["child", engine, &read_only.to_string()]).arg(store);
    command.args([room, number, bytes].map(|number| number.to_string()));
    let begun = Instant::now();
    let output = command.output().expect("a child starts");
    let whole = begun.elapsed().as_nanos() as f64;
    assert!(output.status.success(), "{engine}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    (text.trim().parse().expect("a child prints its time"), whole)
}

/// What a child does.
pub fn child(arguments: &Child) {
    let wanted = black_box(key(arguments.number));
    if arguments.engine == NOTHING {
        return println!("0");
    }
    let kind: Kind = arguments.engine.parse().expect("the parent knows the engines");
    let begun = Instant::now();
    let engine = match arguments.read_only {
        true => kind.open_read_only(&arguments.store, arguments.room),
        false => kind.open(&arguments.store, arguments.room),
    };
    let found = engine.get(&wanted);
    drop(engine);
    let time = begun.elapsed().as_nanos();
    assert_eq!(found.map(|value| value.len() as u64), Some(arguments.bytes), "it was put");
    println!("{time}");
}
