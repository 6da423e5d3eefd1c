//! Fills a store with entries as a cache of compiles has them, for measurements that follow.
//!
//! ```text
//! fill STORE ENTRIES [--max-size BYTES] [--seed N]
//! ```
//!
//! Every entry is a manifest and a result under keys of their own, put together as the wrapper
//! does, of the sizes of `larder_benches::entries`. The same seed gives the same entries.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

use larder_benches::entries;
use larder_engine::{Budget, Options, Put, Store};

struct Arguments {
    store: PathBuf,
    entries: u64,
    max_size_bytes: u64,
    seed: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = parse()?;
    let options = Options::new().max_size_bytes(arguments.max_size_bytes);
    let store = Store::open(&arguments.store, options)?;
    let is_watched = std::io::stderr().is_terminal();
    let start = Instant::now();
    let (mut bytes, mut dropped) = (0u64, 0u64);
    for number in 0..arguments.entries {
        let (stored, put) = entries::put_pair(&store, arguments.seed, number)?;
        bytes += stored;
        dropped += u64::from(put != Put::Stored);
        if store.maintenance_due() {
            store.maintain(Budget::due())?;
        }
        if is_watched && number % 1000 == 0 {
            let share = 100 * number / arguments.entries;
            eprint!("\r{share:3} %  {number} of {} entries", arguments.entries);
            std::io::stderr().flush()?;
        }
    }
    store.maintain(Budget::full())?;
    if is_watched {
        eprintln!();
    }
    let seconds = start.elapsed().as_secs_f64();
    let stats = store.stats()?;
    println!("{} entries, {bytes} bytes, {dropped} dropped, {seconds:.1} s", arguments.entries);
    println!("{} bytes on disk, {} of the index", stats.disk_bytes, stats.index_bytes);
    Ok(())
}

fn parse() -> Result<Arguments, Box<dyn Error>> {
    const USAGE: &str = "usage: fill STORE ENTRIES [--max-size BYTES] [--seed N]";
    let mut words = std::env::args().skip(1);
    let store = PathBuf::from(words.next().ok_or(USAGE)?);
    let entries = words.next().ok_or(USAGE)?.parse()?;
    let mut arguments = Arguments { store, entries, max_size_bytes: 64 << 30, seed: 1 };
    while let Some(word) = words.next() {
        let value: u64 = words.next().ok_or(USAGE)?.parse()?;
        match word.as_str() {
            "--max-size" => arguments.max_size_bytes = value,
            "--seed" => arguments.seed = value,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(arguments)
}
