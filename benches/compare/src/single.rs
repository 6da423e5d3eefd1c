//! One process: put, get in random order, miss and open, round by round with all engines in turn.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::arguments::{Arguments, bar};
use crate::engine::{Engine, Kind};
use crate::report::{Report, median};
use crate::workload::{Shuffle, key, max_bytes, value};

/// One engine's store and its times, in nanoseconds per call: put, get, miss, open.
struct Candidate {
    kind: Kind,
    directory: PathBuf,
    engine: Option<Box<dyn Engine>>,
    times: [Vec<f64>; 4],
}

const PUT: usize = 0;
const GET: usize = 1;
const MISS: usize = 2;
const OPEN: usize = 3;

/// Runs the subcommand.
pub fn run(arguments: &Arguments, folder: &Path, report: &mut Report) {
    let mut done = Vec::new();
    for bytes in &arguments.values {
        for entries in &arguments.entries {
            let entries = arguments.affordable(*entries, *bytes);
            if !done.contains(&(entries, *bytes)) {
                measure(arguments, folder, entries, *bytes, report);
                done.push((entries, *bytes));
            }
        }
    }
}

fn measure(arguments: &Arguments, folder: &Path, entries: u64, bytes: u64, report: &mut Report) {
    let room = max_bytes(entries, bytes);
    let mut candidates: Vec<Candidate> = arguments
        .engines()
        .into_iter()
        .map(|kind| {
            let directory = folder.join(format!("{kind}-{entries}-{bytes}"));
            std::fs::create_dir(&directory).expect("a directory can be made");
            let engine = Some(kind.open(&directory, room));
            Candidate { kind, directory, engine, times: Default::default() }
        })
        .collect();
    put_rounds(&mut candidates, arguments.rounds, entries, bytes);
    for candidate in &mut candidates {
        candidate.engine.as_mut().expect("it is open").settle();
    }
    let calls = arguments.calls.min((1 << 30) / bytes).max(1);
    get_rounds(&mut candidates, arguments.rounds, entries, bytes, calls);
    open_rounds(&mut candidates, arguments.rounds * 5, room);

    let rows: Vec<_> = candidates
        .iter_mut()
        .map(|candidate| {
            let figures = candidate.times.iter_mut().map(|times| Some(median(times) / 1e3));
            (candidate.kind.to_string(), figures.collect())
        })
        .collect();
    let title = format!("one process, {entries} entries of {bytes} bytes: microseconds");
    report.table(&title, &["put", "get", "miss", "open"], &rows);
    for candidate in candidates {
        drop(candidate.engine);
        std::fs::remove_dir_all(candidate.directory).expect("the directory can be removed");
    }
}

fn put_rounds(candidates: &mut [Candidate], rounds: u64, entries: u64, bytes: u64) {
    let rounds = rounds.min(entries);
    let progress = bar(format!("single: {entries} entries of {bytes}"), entries);
    for round in 0..rounds {
        let numbers = round * entries / rounds..(round + 1) * entries / rounds;
        let count = numbers.end - numbers.start;
        // Made before the clock starts, a few at a time: all would not fit into memory.
        for candidate in &mut *candidates {
            let engine = candidate.engine.as_mut().expect("it is open");
            let mut spent = 0.0;
            let mut number = numbers.start;
            while number < numbers.end {
                let until = numbers.end.min(number + (8 << 20) / bytes + 1);
                let made: Vec<_> = (number..until).map(|n| (key(n), value(n, bytes))).collect();
                let start = Instant::now();
                for (key, value) in &made {
                    assert!(engine.put(key, value), "a put was dropped");
                }
                spent += start.elapsed().as_nanos() as f64;
                number = until;
            }
            candidate.times[PUT].push(spent / count as f64);
        }
        progress.inc(count);
    }
    progress.finish_and_clear();
}

fn get_rounds(candidates: &mut [Candidate], rounds: u64, entries: u64, bytes: u64, calls: u64) {
    for round in 0..=rounds {
        for candidate in &mut *candidates {
            let engine = candidate.engine.as_ref().expect("it is open");
            let time = |calls: u64, call: &dyn Fn(u64)| {
                let mut order = Shuffle::new(round);
                let start = Instant::now();
                for _ in 0..calls {
                    call(order.below(entries));
                }
                start.elapsed().as_nanos() as f64 / calls as f64
            };
            let hits = time(calls, &|number| {
                let value = engine.get(&key(number)).expect("it was put");
                assert_eq!(value.len() as u64, bytes);
                black_box(value);
            });
            let misses = time(calls.max(1000), &|number| {
                assert!(engine.get(&key(entries + number)).is_none());
            });
            // The first round only warms caches up.
            if round > 0 {
                candidate.times[GET].push(hits);
                candidate.times[MISS].push(misses);
            }
        }
    }
    for candidate in candidates {
        let engine = candidate.engine.as_ref().expect("it is open");
        for number in [0, entries / 2, entries - 1] {
            assert_eq!(engine.get(&key(number)), Some(value(number, bytes)), "the value was put");
        }
    }
}

fn open_rounds(candidates: &mut [Candidate], rounds: u64, room: u64) {
    for candidate in &mut *candidates {
        candidate.engine = None;
    }
    for _ in 0..rounds {
        for candidate in &mut *candidates {
            let start = Instant::now();
            let engine = candidate.kind.open(&candidate.directory, room);
            candidate.times[OPEN].push(start.elapsed().as_nanos() as f64);
            drop(engine);
        }
    }
}
