//! A cache directory as ccache 4.13 leaves one: entries of its container with right checksums, of
//! the sizes that [`entries`] has, with contents that are noise. They are written
//! in the order of a build, so their keys, and with them the directories, come in any order.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use larder_engine::checksum::{xxh3_64, xxh3_128};

use super::Outcome;
use crate::entries;

/// Kinds of entries, as the container numbers them.
const RESULT: u8 = 0;
const MANIFEST: u8 = 1;
/// When the first was made; each is made a second later.
const CREATED_SECS: u64 = 1_790_000_000;

/// Makes pairs of a manifest and a result; how many bytes they are.
///
/// # Errors
/// If they cannot be written.
pub fn fill(top: &Path, seed: u64, pairs: u64) -> Outcome<u64> {
    let mut bytes = 0;
    for number in 0..pairs {
        let created_secs = CREATED_SECS + number;
        let manifest = entries::manifest(seed, number);
        let result = entries::result(seed, number, entries::RESULT_BYTES_MEAN);
        for (kind, contents) in [(MANIFEST, manifest), (RESULT, result)] {
            let entry = container(kind, created_secs, &contents);
            bytes += entry.len() as u64;
            let key = key(seed, number, kind);
            let folder = top.join(&key[..1]).join(&key[1..2]);
            fs::create_dir_all(&folder)?;
            let beside = folder.join(format!("{}.tmp.x", &key[2..]));
            File::create(&beside)?.write_all(&entry)?;
            fs::rename(beside, folder.join(&key[2..]))?;
        }
    }
    Ok(bytes)
}

/// Forty digits.
fn key(seed: u64, number: u64, kind: u8) -> String {
    let word =
        |part: u64| xxh3_64(&[number, u64::from(kind), part].map(u64::to_le_bytes).concat(), seed);
    let digits = format!("{:016x}{:016x}{:016x}", word(0), word(1), word(2));
    digits[..40].to_owned()
}

/// An entry that says that it is compressed: what it is compressed from, nobody asks here.
fn container(kind: u8, created_secs: u64, contents: &[u8]) -> Vec<u8> {
    let mut entry = vec![0xcc, 0xac, 1, kind, 1, 1, 1];
    entry.extend(created_secs.to_be_bytes());
    entry.extend(b"\x064.13.6\0");
    let real_bytes = (entry.len() + 8 + 4 * contents.len() + 16) as u64;
    entry.extend(real_bytes.to_be_bytes());
    entry.extend(contents);
    entry.extend(xxh3_128(&entry).to_be_bytes());
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_has_two_entries_for_each_pair() {
        let top = tempfile::tempdir().unwrap();
        let bytes = fill(top.path(), 1, 20).unwrap();
        let (mut files, mut found) = (0, 0);
        for first in fs::read_dir(top.path()).unwrap().flatten() {
            for second in fs::read_dir(first.path()).unwrap().flatten() {
                for file in fs::read_dir(second.path()).unwrap().flatten() {
                    assert_eq!(file.file_name().len(), 38);
                    files += 1;
                    found += file.metadata().unwrap().len();
                }
            }
        }
        assert_eq!((files, found), (40, bytes));
    }
}
