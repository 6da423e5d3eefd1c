//! Entries of ccache in each of their layouts, made here: no ccache at hand makes the older ones.

use std::fs;

use larder::ccache_entry::{Entry, Kind, Level, recompress, stored_files};
use larder_engine::checksum::xxh3_128;
use larder_tests::fuzz_ccache::{Layout, entry, manifest, result};

use super::ccache_commands::Caches;

const LAYOUTS: [Layout; 3] = [Layout::Old, Layout::First, Layout::Second];

fn in_caches(bytes: &[u8]) -> Caches {
    let caches = Caches::new();
    fs::write(caches.work().join("entry"), bytes).unwrap();
    caches
}

#[test]
fn results_of_each_layout_are_told_and_extracted() {
    let object = b"an object ".repeat(100);
    for layout in LAYOUTS {
        for level in [None, Some(1), Some(-7)] {
            let files = [(2, Ok(b"a warning".as_slice())), (0, Ok(&object[..])), (99, Ok(b""))];
            let caches = in_caches(&entry(layout, Kind::Result, &result(layout, &files), level));
            let told = caches.ok(&["--inspect", "entry"]);
            let magic = if layout == Layout::Old { "cCrS" } else { "ccac" };
            assert!(told.starts_with(&format!("Magic: {magic}\n")), "{told}");
            assert!(told.contains(&format!("Compression level: {}\n", level.unwrap_or(0))));
            assert!(told.contains("Embedded file #0: <stderr> (9 bytes)\n"), "{told}");
            assert!(
                told.ends_with("file #1: .o (1000 bytes)\nEmbedded file #2: .type-99 (0 bytes)\n")
            );
            assert_eq!(told.contains("Namespace: ns"), layout != Layout::Old);
            assert_eq!(told.contains("Self-contained"), layout == Layout::Second);
            caches.ok(&["--extract-result", "entry"]);
            let read =
                |suffix: &str| fs::read(caches.work().join(format!("ccache-result.{suffix}")));
            assert_eq!(read("o").unwrap(), object);
            assert_eq!(
                (read("stderr").unwrap(), read("type-99").unwrap()),
                (b"a warning".to_vec(), vec![])
            );
        }
    }
}

#[test]
fn manifests_of_each_layout_are_told_without_control_characters() {
    for layout in LAYOUTS {
        let contents = manifest(layout, &["a.h", "/x/\u{1b}[31m.h"]);
        let caches = in_caches(&entry(layout, Kind::Manifest, &contents, Some(3)));
        let told = caches.ok(&["--inspect", "entry"]);
        assert!(
            told.contains("Entry type: 1 (manifest)\n") && told.contains("  0: a.h\n"),
            "{told}"
        );
        assert!(told.contains("  1: /x/\u{fffd}[31m.h\n") && told.contains("    Mtime: 1000\n"));
        assert!(told.contains("    Mtime: -\n    Ctime: -\n") && told.contains("    Ctime: -1\n"));
        assert!(told.contains("File info indexes: 0 1\n"), "{told}");
        assert!(told.ends_with(&format!("    Key: {}\n", "07".repeat(20))));
        assert!(caches.fails(&["--extract-result", "entry"]).contains("manifest"));
    }
}

#[test]
fn a_checksum_that_was_not_computed_is_none() {
    let contents = result(Layout::First, &[(0, Ok(b"an object"))]);
    let mut bytes = entry(Layout::First, Kind::Result, &contents, None);
    let check = bytes.len() - 16;
    bytes[check..].fill(0);
    assert_eq!(Entry::decode(&bytes, 1 << 20).unwrap().contents, contents);
    bytes[check + 3] = 1;
    assert!(Entry::decode(&bytes, 1 << 20).unwrap_err().to_string().contains("checksum"));
}

#[test]
fn files_beside_a_result_have_the_length_that_it_says() {
    for (name, beside) in [("xR", "x1W"), ("0a", "0a_01")] {
        let contents = result(Layout::Second, &[(2, Ok(b"text")), (0, Err(6))]);
        let caches = Caches::new();
        let bytes = entry(Layout::Second, Kind::Result, &contents, None);
        fs::write(caches.work().join(name), bytes).unwrap();
        let missing = caches.fails(&["--extract-result", name]);
        assert!(missing.contains(".o of 6 bytes is not beside it"), "{missing}");
        caches.write(beside, "object, and more");
        caches.fails(&["--extract-result", name]);
        assert!(!caches.work().join("ccache-result.stderr").exists(), "nothing is written");
        caches.write(beside, "object");
        caches.ok(&["--extract-result", name]);
        assert_eq!(fs::read(caches.work().join("ccache-result.o")).unwrap(), b"object");
    }
}

#[test]
fn what_grows_without_end_is_refused_before_it_has_grown() {
    let zeros = vec![0; 32 << 20];
    for layout in LAYOUTS {
        let bytes = entry(layout, Kind::Result, &zeros, Some(1));
        assert!(bytes.len() < 10_000);
        assert!(Entry::decode(&bytes, 16 << 20).unwrap_err().to_string().contains("more than"));
        assert_eq!(Entry::decode(&bytes, 32 << 20).unwrap().contents, zeros);
    }
    // One that says it is small, and is not.
    let mut bytes = entry(Layout::Second, Kind::Result, &zeros, Some(1));
    let size = bytes.windows(4).position(|part| part == b"\x02ns\0").unwrap() + 3;
    bytes[size..size + 8].copy_from_slice(&1000u64.to_be_bytes());
    let covered = bytes.len() - 16;
    let check = xxh3_128(&bytes[..covered]).to_be_bytes();
    bytes[covered..].copy_from_slice(&check);
    let wrong = Entry::decode(&bytes, 16 << 20).unwrap_err().to_string();
    assert!(wrong.contains("more than it may"), "{wrong}");
}

#[test]
fn only_the_newest_layout_is_compressed_anew() {
    let text = b"words and words and words ".repeat(40);
    for layout in LAYOUTS {
        let bytes = entry(layout, Kind::Result, &result(layout, &[(0, Ok(&text))]), Some(1));
        let new = recompress(&bytes, Level::Uncompressed, 1 << 20).unwrap();
        assert_eq!(new.is_some(), layout == Layout::Second, "{layout:?}");
        let Some(new) = new else { continue };
        let (old, new_entry) = (Entry::decode(&bytes, 1 << 20), Entry::decode(&new, 1 << 20));
        let (old, new_entry) = (old.unwrap(), new_entry.unwrap());
        assert_eq!(
            (old.origin.clone(), &old.contents),
            (new_entry.origin.clone(), &new_entry.contents)
        );
        assert_eq!(stored_files(&old), stored_files(&new_entry));
        assert_eq!(recompress(&new, Level::Uncompressed, 1 << 20), Ok(None));
        assert_eq!(recompress(&new, Level::Zstd(1), 1 << 20), Ok(Some(bytes)));
    }
}
