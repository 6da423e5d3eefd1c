//! Measures opening after a power cut: that it costs the same at every number of entries, what a
//! look-up costs while records are doubted, and how long the janitor takes to settle that.
//!
//! ```text
//! recover [--entries N,N,...] [--value BYTES] [--newer BYTES] [--rounds N] [--directory DIR]
//! ```
//!
//! Each store has N entries that were durable, and `--newer` bytes that were written since. Nothing
//! is torn: that costs the same. The page cache is warm.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use larder_benches::powercut::env::CutEnv;
use larder_benches::{get, key, put, value};
use larder_engine::{Budget, Options, Store};

struct Arguments {
    entries: Vec<u64>,
    value_bytes: usize,
    newer_bytes: u64,
    rounds: u64,
    directory: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = parse()?;
    let value_bytes = arguments.value_bytes;
    println!("values of {value_bytes} bytes, {} MiB doubted", arguments.newer_bytes >> 20);
    println!();
    let columns = ["open, us", "after a cut, us", "get, us", "of a doubted one, us", "settle, ms"];
    println!("| entries | {} |", columns.join(" | "));
    println!("|---|---|---|---|---|---|");
    for entries in &arguments.entries {
        let folder = tempfile::tempdir_in(&arguments.directory)?;
        measure(&arguments, *entries, folder.path())?;
    }
    Ok(())
}

fn measure(arguments: &Arguments, entries: u64, path: &Path) -> Result<(), Box<dyn Error>> {
    let newer = arguments.newer_bytes / arguments.value_bytes as u64;
    let room = (entries + newer) * (arguments.value_bytes as u64 + 1024) * 2;
    let options = Options::new().max_size_bytes(room.max(1 << 30));
    let store = Store::open(path, options.clone())?;
    (0..entries).for_each(|number| put(&store, number, &value(number, arguments.value_bytes)));
    store.checkpoint()?;
    let newest = entries..entries + newer;
    newest.clone().for_each(|number| put(&store, number, &value(number, arguments.value_bytes)));
    drop(store);
    let open = |boot| {
        Store::open_with(CutEnv { boot, ..CutEnv::default() }.shared(), path, options.clone())
    };
    let mut times = [const { Vec::new() }; 4];
    for round in 1..=arguments.rounds {
        let mut timed = |of: usize, work: &mut dyn FnMut()| {
            let start = Instant::now();
            work();
            times[of].push(start.elapsed().as_secs_f64() * 1e6);
        };
        timed(1, &mut || drop(open(round).expect("the store opens")));
        timed(0, &mut || drop(open(round).expect("the store opens")));
        let store = open(round)?;
        // The first of each pays for opening the segment.
        for number in [round % entries, entries + round % newer] {
            assert!(store.contains(&key(number))?);
        }
        timed(2, &mut || drop(get(&store, (round * 7919) % entries)));
        timed(3, &mut || drop(get(&store, entries + (round * 7919) % newer)));
    }
    let store = open(arguments.rounds + 1)?;
    let start = Instant::now();
    store.maintain(Budget::full())?;
    let settle_ms = start.elapsed().as_secs_f64() * 1e3;
    newest.for_each(|number| drop(get(&store, number)));
    let [opened, cut, durable, doubted] = times.map(|mut times| {
        times.sort_unstable_by(f64::total_cmp);
        times[times.len() / 2]
    });
    println!(
        "| {entries} | {opened:.1} | {cut:.1} | {durable:.2} | {doubted:.2} | {settle_ms:.0} |"
    );
    Ok(())
}

fn parse() -> Result<Arguments, Box<dyn Error>> {
    let mut arguments = Arguments {
        entries: vec![1_000, 10_000, 100_000],
        value_bytes: 4096,
        newer_bytes: 64 << 20,
        rounds: 101,
        directory: std::env::temp_dir(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let text = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--entries" => {
                arguments.entries = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--value" => arguments.value_bytes = text.parse()?,
            "--newer" => arguments.newer_bytes = text.parse()?,
            "--rounds" => arguments.rounds = text.parse()?,
            "--directory" => arguments.directory = text.into(),
            _ => return Err(format!("there is no option {word}").into()),
        }
    }
    Ok(arguments)
}
