//! Eight processes on one store: readers, writers, and both.
//!
//! Each worker opens the store, says so, waits for a line, works for the given time, and prints
//! what it did. Engines that only one process can open (redb, fjall) have no row.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::arguments::{Arguments, Worker, bar};
use crate::engine::{Engine, Kind};
use crate::report::Report;
use crate::workload::{Shuffle, key, max_bytes, value};

const PROCESSES: u64 = 8;

/// Writers among the processes of a scene.
const SCENES: &[(&str, u64)] =
    &[("8 readers", 0), ("4 readers, 4 writers", 4), ("8 writers", PROCESSES)];

const ENGINES: &[Kind] = &[Kind::LarderRaw, Kind::Larder, Kind::Lmdb, Kind::Sqlite, Kind::Files];

/// Bytes of the values.
const VALUES: &[u64] = &[4096, 65536];

/// Entries that are there before the first scene.
const ENTRIES: u64 = 20_000;

/// Entries that a writer makes beforehand and puts in turn under new keys.
const MADE: u64 = 64;

/// What the workers of one kind did in one scene.
#[derive(Default)]
struct Sum {
    calls: f64,
    dropped: f64,
    medians_us: Vec<f64>,
    p99_us: f64,
}

/// Runs the subcommand.
pub fn run(arguments: &Arguments, folder: &Path, report: &mut Report) {
    for bytes in VALUES {
        let entries = arguments.affordable(ENTRIES, *bytes);
        for (scene, writers) in SCENES {
            let mut rows = Vec::new();
            for kind in ENGINES.iter().filter(|kind| arguments.engines().contains(kind)) {
                let [gets, puts] = play(arguments, folder, *kind, entries, *bytes, *writers);
                rows.push((kind.to_string(), figures(arguments, gets, puts)));
            }
            let title = format!("{scene}, {entries} entries of {bytes} bytes");
            let columns = [
                "gets per s",
                "get median us",
                "get p99 us",
                "puts per s",
                "put median us",
                "put p99 us",
                "dropped puts per s",
            ];
            report.table(&title, &columns, &rows);
        }
    }
}

fn figures(arguments: &Arguments, gets: Sum, puts: Sum) -> Vec<Option<f64>> {
    let seconds = arguments.seconds as f64;
    let of = |mut sum: Sum| {
        let is_there = !sum.medians_us.is_empty();
        let median = crate::report::median(&mut sum.medians_us);
        [sum.calls / seconds, median, sum.p99_us].map(|figure| is_there.then_some(figure))
    };
    let dropped = (!puts.medians_us.is_empty()).then_some(puts.dropped / seconds);
    of(gets).into_iter().chain(of(puts)).chain([dropped]).collect()
}

/// One engine's turn in one scene.
fn play(
    arguments: &Arguments,
    folder: &Path,
    kind: Kind,
    entries: u64,
    bytes: u64,
    writers: u64,
) -> [Sum; 2] {
    let directory = folder.join(format!("many-{kind}"));
    std::fs::create_dir(&directory).expect("a directory can be made");
    // Writers may put as much again as fits into the budget.
    let room = max_bytes(entries, bytes) + 2 * arguments.budget;
    let progress = bar(format!("{kind}: filling"), entries);
    let mut engine = kind.open(&directory, room);
    engine.fill(&mut progress.wrap_iter((0..entries).map(|n| (key(n), value(n, bytes)))));
    engine.settle();
    drop(engine);
    progress.finish_and_clear();
    let mut children: Vec<(Child, bool)> = (0..PROCESSES)
        .map(|number| {
            let writes = number < writers;
            let store = (directory.as_path(), room);
            (start(kind, store, entries, bytes, writes, number, arguments.seconds), writes)
        })
        .collect();
    let mut outs: Vec<_> = children
        .iter_mut()
        .map(|(child, _)| BufReader::new(child.stdout.take().expect("it is piped")))
        .collect();
    for out in &mut outs {
        out.read_line(&mut String::new()).expect("a worker says that it is there");
    }
    for (child, _) in &mut children {
        let mut input = child.stdin.take().expect("it is piped");
        writeln!(input, "go").expect("a worker listens");
    }
    let mut sums = [Sum::default(), Sum::default()];
    for ((mut child, writes), mut out) in children.into_iter().zip(outs) {
        let mut line = String::new();
        out.read_line(&mut line).expect("a worker says what it did");
        assert!(child.wait().expect("it ends").success(), "a worker of {kind} failed");
        let numbers: Vec<f64> =
            line.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        let sum = &mut sums[usize::from(writes)];
        sum.calls += numbers[0];
        sum.dropped += numbers[1];
        sum.medians_us.push(numbers[2]);
        sum.p99_us = sum.p99_us.max(numbers[3]);
    }
    std::fs::remove_dir_all(directory).expect("the directory can be removed");
    sums
}

fn start(
    kind: Kind,
    (directory, room): (&Path, u64),
    entries: u64,
    bytes: u64,
    writes: bool,
    number: u64,
    seconds: u64,
) -> Child {
    let program = std::env::current_exe().expect("the kernel knows this program");
    let mut command = Command::new(program);
    command.args(["worker", kind.name()]).arg(directory);
    command.args([room, entries, bytes].map(|number| number.to_string()));
    command.arg(writes.to_string()).args([number, seconds].map(|number| number.to_string()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a worker starts")
}

/// What a worker does: prints calls, drops, median and 99th percentile in microseconds.
pub fn worker(arguments: &Worker) {
    let mut engine = arguments.engine.open(&arguments.store, arguments.room);
    let made: Vec<_> = (0..MADE).map(|number| value(number, arguments.bytes)).collect();
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).expect("the parent gives the sign");
    let end = Instant::now() + Duration::from_secs(arguments.for_seconds);
    let mut times = Vec::new();
    let mut dropped = 0;
    let mut order = Shuffle::new(arguments.number + 1);
    for number in 0.. {
        let begun = Instant::now();
        if begun >= end {
            break;
        }
        match arguments.writes {
            true => {
                let key = key((arguments.number + 1) << 40 | number);
                let begun = Instant::now();
                let stored = engine.put(&key, &made[(number % MADE) as usize]);
                dropped += u64::from(!stored);
                times.push(begun.elapsed().as_nanos() as f64 / 1e3);
            }
            false => {
                let key = key(order.below(arguments.entries));
                let begun = Instant::now();
                get(&*engine, &key, arguments.bytes);
                times.push(begun.elapsed().as_nanos() as f64 / 1e3);
            }
        }
    }
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or(0.0);
    println!("{} {dropped} {} {}", times.len() as u64 - dropped, at(50), at(99));
}

fn get(engine: &dyn Engine, key: &[u8; 32], bytes: u64) {
    let found = engine.get(key);
    assert_eq!(found.map(|value| value.len() as u64), Some(bytes), "it was put");
}
