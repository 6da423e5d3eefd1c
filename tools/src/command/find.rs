//! Which entry a word of the command line means: a file, or a record of the store.
//!
//! 1. What exists as a file is that file.
//! 2. 64 digits are a key of larder; fewer, from four on, the beginning of one, if it is only one.
//! 3. A name of another tool is written as `ls` shows it, `ccache:0123...`, or without whose it is.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use larder::cli::command::{Failure, store_directory};
use larder::config::Config;
use larder_engine::{Key, Options, Record, Store};

use crate::entry::Family;
use crate::layout::{foreign, is_hex, name_of};
use crate::place::store::key_of;

/// The least digits that are taken for the beginning of a key.
const DIGITS_MIN: usize = 4;

/// What a word means.
pub enum Found {
    /// A record of the store.
    Record(Box<Record>),
    /// A file.
    File(PathBuf),
}

/// The store that the settings name, to be read.
///
/// # Errors
/// If there is none.
pub fn open_store() -> Result<Store, Failure> {
    let config = Config::load();
    open_store_at(store_directory(&config)?)
}

/// The store, or the export of one, at a path, to be read.
///
/// # Errors
/// If there is none.
pub fn open_store_at(path: &Path) -> Result<Store, Failure> {
    Ok(Store::open(path, Options::new().read_only(true).create(false))?)
}

/// What a word means.
///
/// # Errors
/// If it means nothing, or more than one thing.
pub fn find(word: &OsStr) -> Result<Found, Failure> {
    let path = Path::new(word);
    if path.exists() {
        return Ok(Found::File(path.to_owned()));
    }
    let text = word.to_string_lossy();
    let store = open_store()?;
    let record = find_record(&store, &text)?;
    Ok(Found::Record(Box::new(record)))
}

/// The record that a text means.
///
/// # Errors
/// If it means none, or more than one.
pub fn find_record(store: &Store, text: &str) -> Result<Record, Failure> {
    let none = || Failure::Failed(format!("there is no file and no entry `{text}`"));
    for key in keys_of(text) {
        if let Some(record) = store.get(&key)? {
            return Ok(record);
        }
    }
    if text.len() < DIGITS_MIN || text.len() >= 64 || !is_hex(text) {
        return Err(none());
    }
    let mut digits: Vec<u8> = Vec::new();
    for pair in text.as_bytes().chunks_exact(2) {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        digits.push(u8::from_str_radix(pair, 16).unwrap_or_default());
    }
    let snapshot = store.snapshot()?;
    let mut found =
        snapshot.prefix(&digits).filter(|record| record.key().to_string().starts_with(text));
    let first = found.next().ok_or_else(none)?;
    match found.next() {
        None => Ok(first),
        Some(_) => Err(Failure::Failed(format!("more than one key begins with {text}"))),
    }
}

/// The keys that a whole name may have.
fn keys_of(text: &str) -> Vec<Key> {
    if let Some((label, text)) = text.split_once(':') {
        let name = Family::of_label(label).and_then(|family| name_of(family, text));
        return name.iter().filter_map(key_of).collect();
    }
    let foreign = Family::ALL.into_iter().filter(|family| *family != Family::Larder);
    let foreign =
        foreign.filter_map(|family| name_of(family, text)).map(|name| foreign::key(&name));
    Key::from_hex(text).into_iter().chain(foreign).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Name;
    use larder_engine::{Entry, Put, RecordKind, Section, SectionKind};

    const OF_40: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A store with a record under each of some keys.
    fn store(keys: &[Key]) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), Options::new()).unwrap();
        for key in keys {
            let section = Section::new(SectionKind::ForeignEntry, b"x".as_slice());
            assert_eq!(
                store.put(&Entry::new(*key, RecordKind::Foreign, vec![section])).unwrap(),
                Put::Stored
            );
        }
        (folder, store)
    }

    fn found(store: &Store, text: &str) -> Option<Key> {
        find_record(store, text).ok().map(|record| record.key())
    }

    #[test]
    fn an_entry_is_meant_by_its_name_with_or_without_whose_it_is() {
        let name = Name::new(Family::Ccache, OF_40);
        let own = Key::from_bytes([0xab; 32]);
        let (_folder, store) = store(&[foreign::key(&name), own]);
        for text in [&name.to_string(), OF_40, &foreign::key(&name).to_string()] {
            assert_eq!(found(&store, text), Some(foreign::key(&name)), "{text}");
        }
        for text in [own.to_string(), format!("larder:{own}")] {
            assert_eq!(found(&store, &text), Some(own), "{text}");
        }
        for text in [format!("sccache:{OF_40}"), format!("none:{OF_40}"), OF_40.to_uppercase()] {
            assert_eq!(found(&store, &text), None, "{text}");
        }
    }

    #[test]
    fn the_beginning_of_a_key_is_enough_if_it_is_only_one() {
        let [mut one, mut two] = [[0x12; 32], [0x12; 32]];
        (one[2], two[2]) = (0x34, 0x35);
        let [one, two] = [Key::from_bytes(one), Key::from_bytes(two)];
        let (_folder, store) = store(&[one, two]);
        // Also of an odd number of digits.
        assert_eq!(found(&store, "121234"), Some(one));
        assert_eq!(found(&store, "1212351"), Some(two));
        for text in ["12123", "1212", "121", "", "1213", "121236", "12123g", "../12"] {
            assert_eq!(found(&store, text), None, "{text}");
        }
        let failure = find_record(&store, "1212").map(drop).expect_err("both begin so");
        assert!(failure.text().contains("more than one"), "{}", failure.text());
    }
}
