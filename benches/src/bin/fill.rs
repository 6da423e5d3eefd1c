//! Fills a store with entries as a cache of compiles has them, for measurements that follow.
//!
//! ```text
//! fill STORE ENTRIES [--max-size BYTES] [--seed N]
//! ```
//!
//! Every entry is a manifest and a result under keys of their own, put together as the wrapper
//! does. Stored sizes of results are log-normal with a mean of 26 KB (a median of 13 KB), those of
//! manifests with a mean of 3 KB: what 100,000 objects of C and C++ projects gave. The bytes are
//! noise, so that they are stored at these sizes. The same seed gives the same entries.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Instant;

use larder_engine::checksum::xxh3_64;
use larder_engine::{Budget, Entry, Key, Options, Put, RecordKind, Section, SectionKind, Store};

/// Mean of the stored bytes of a result, and of a manifest.
const RESULT_BYTES_MEAN: f64 = 26_000.0;
const MANIFEST_BYTES_MEAN: f64 = 3_000.0;
/// Spread of the logarithm of the sizes.
const SIGMA: f64 = 1.2;
/// Larger ones are cut, so that one entry does not decide a measurement.
const BYTES_MAX: f64 = 8e6;

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
        let (stored, put) = put(&store, arguments.seed, number)?;
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

fn put(store: &Store, seed: u64, number: u64) -> Result<(u64, Put), Box<dyn Error>> {
    let key = |what: &str| Key::foreign(what, &[seed.to_le_bytes(), number.to_le_bytes()].concat());
    let manifest = noise(size(seed, number, 1, MANIFEST_BYTES_MEAN), seed ^ number);
    let object = noise(size(seed, number, 2, RESULT_BYTES_MEAN), seed ^ !number);
    let bytes = (manifest.len() + object.len()) as u64;
    let manifest = Section::new(SectionKind::Manifest, manifest);
    let object = Section::new(SectionKind::Object, object).mode(0o666);
    let put = store.put_all(&[
        Entry::new(key("result"), RecordKind::Result, vec![object]),
        Entry::new(key("manifest"), RecordKind::Manifest, vec![manifest]),
    ])?;
    Ok((bytes, put))
}

/// A uniform number between 0 and 1, without the ends.
fn uniform(seed: u64, number: u64, stream: u64) -> f64 {
    let hash = xxh3_64(&[number.to_le_bytes(), stream.to_le_bytes()].concat(), seed);
    (hash as f64 + 0.5) / 2f64.powi(64)
}

/// A log-normal size with the given mean, by the method of Box and Muller.
fn size(seed: u64, number: u64, stream: u64, mean: f64) -> usize {
    let (one, two) = (uniform(seed, number, 2 * stream), uniform(seed, number, 2 * stream + 1));
    let normal = (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * two).cos();
    let bytes = (mean.ln() - SIGMA * SIGMA / 2.0 + SIGMA * normal).exp();
    bytes.clamp(64.0, BYTES_MAX) as usize
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let words =
        (0..bytes as u64 / 8 + 1).flat_map(|word| xxh3_64(&word.to_le_bytes(), seed).to_le_bytes());
    words.take(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_mean_that_is_said() {
        let sum: usize = (0..100_000).map(|number| size(1, number, 2, RESULT_BYTES_MEAN)).sum();
        let mean = sum as f64 / 100_000.0;
        assert!((25_000.0..27_000.0).contains(&mean), "{mean}");
    }

    #[test]
    fn an_entry_is_a_manifest_and_a_result() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), Options::new()).unwrap();
        let (bytes, stored) = put(&store, 1, 7).unwrap();
        assert_eq!(stored, Put::Stored);
        assert_eq!(store.stats().unwrap().entries, 2);
        assert!(bytes >= 128);
    }
}
