//! Entries as a cache of compiles has them: their sizes, and bytes of these sizes.
//!
//! Stored sizes of results are log-normal with a mean of 26 KB (a median of 13 KB), those of
//! manifests with a mean of 3 KB: what 100,000 objects of C and C++ projects gave. The bytes are
//! noise, so that they are stored at these sizes. The same seed and number give the same entry.

use larder_engine::checksum::xxh3_64;
use larder_engine::{Entry, Error, Key, Put, RecordKind, Section, SectionKind, Store};

/// Mean of the stored bytes of a result.
pub const RESULT_BYTES_MEAN: f64 = 26_000.0;
/// Mean of the stored bytes of a manifest.
pub const MANIFEST_BYTES_MEAN: f64 = 3_000.0;
/// Spread of the logarithm of the sizes.
const SIGMA: f64 = 1.2;
/// Larger ones are cut, so that one entry does not decide a measurement.
const BYTES_MAX: f64 = 8e6;

/// The manifest of an entry.
pub fn manifest(seed: u64, number: u64) -> Vec<u8> {
    noise(size(seed, number, 1, MANIFEST_BYTES_MEAN), seed ^ number)
}

/// The result of an entry, of sizes with this mean.
pub fn result(seed: u64, number: u64, bytes_mean: f64) -> Vec<u8> {
    noise(size(seed, number, 2, bytes_mean), seed ^ !number)
}

/// Puts an entry as the wrapper does: a manifest and its result, under keys of their own. Answers
/// how many bytes that were.
///
/// # Errors
/// If the disk refuses.
pub fn put_pair(store: &Store, seed: u64, number: u64) -> Result<(u64, Put), Error> {
    let key = |what: &str| Key::foreign(what, &[seed.to_le_bytes(), number.to_le_bytes()].concat());
    let manifest = manifest(seed, number);
    let object = result(seed, number, RESULT_BYTES_MEAN);
    let bytes = (manifest.len() + object.len()) as u64;
    let manifest = Section::new(SectionKind::Manifest, manifest);
    let object = Section::new(SectionKind::Object, object).mode(0o666);
    let put = store.put_all(&[
        Entry::new(key("manifest"), RecordKind::Manifest, vec![manifest]),
        Entry::new(key("result"), RecordKind::Result, vec![object]),
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
    use larder_engine::Options;

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
        let (bytes, stored) = put_pair(&store, 1, 7).unwrap();
        assert_eq!(stored, Put::Stored);
        assert_eq!(store.stats().unwrap().entries, 2);
        assert!(bytes >= 128);
    }
}
