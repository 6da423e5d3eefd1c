//! docs/format.md and the code that it describes change together: the document records the hash of
//! the code's files, so that changing one alone fails.

use std::fs;

use super::{document, files, root};

/// The code that knows every byte of the format.
const FOLDER: &str = "engine/src/format/";
/// What stands before the hash in docs/format.md.
const LABEL: &str = "Source hash:";

/// BLAKE3 over each file's name, length and contents, in the order of the names.
fn hash<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, bytes) in files {
        for part in [name.as_bytes(), bytes] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finalize().to_hex().to_string()
}

/// The hash that the document records.
fn recorded(document: &str) -> Option<&str> {
    let line = document.lines().find_map(|line| line.split_once(LABEL))?.1;
    Some(line.trim_matches(|c: char| !c.is_ascii_hexdigit()))
}

#[test]
fn the_format_and_its_description_change_together() {
    let names: Vec<_> = files().into_iter().filter(|file| file.starts_with(FOLDER)).collect();
    let read = |name: &String| (name.clone(), fs::read(root().join(name)).expect("it is a file"));
    let contents: Vec<_> = names.iter().map(read).collect();
    let now = hash(contents.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
    let document = document("docs/format.md");
    let recorded = recorded(&document);
    assert!(
        recorded == Some(now.as_str()),
        "{FOLDER} changed after docs/format.md was last compared with it.\n\
         Read the document again beside the change, then record the code as described:\n\
         {LABEL} {now}\n\
         (recorded: {})",
        recorded.unwrap_or("nothing"),
    );
}

#[test]
fn names_bytes_and_order_count() {
    let one = hash([("a.rs", &b"1"[..]), ("b.rs", b"2")]);
    let others = [
        hash([("a.rs", &b"1"[..])]),
        hash([("a.rs", &b"1"[..]), ("b.rs", b"3")]),
        hash([("a.rs", &b"1"[..]), ("c.rs", b"2")]),
        hash([("a.rs1", &b""[..]), ("b.rs", b"2")]),
    ];
    assert!(!others.contains(&one));
}

#[test]
fn the_recorded_hash_is_found() {
    assert_eq!(recorded("# Format\n\nSource hash: `0a1b`\n"), Some("0a1b"));
    assert_eq!(recorded("<!-- Source hash: 0a1b -->"), Some("0a1b"));
    assert_eq!(recorded("no hash"), None);
}
