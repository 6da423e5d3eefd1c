//! The worked example of docs/format.md is what the code writes and reads.

use larder_engine::format::body;
use larder_engine::{Entry, Head, Key, RecordKind, RecordLayout, Section, SectionKind};
use larder_tests::workspace_root;

/// The bytes of the hexadecimal listing in the document.
fn listing() -> Vec<u8> {
    let path = workspace_root().join("docs/format.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let example = text.split("## 16. A worked example").nth(1).expect("it has the section");
    let listing = example.split("```").nth(1).expect("it has a listing");
    let words = listing.lines().flat_map(|line| line.split_whitespace().skip(1));
    words.map(|word| u8::from_str_radix(word, 16).expect("it is hexadecimal")).collect()
}

#[test]
fn the_worked_example_is_what_is_written_and_read() {
    let mut key = [0; 32];
    key.iter_mut().zip(0..).for_each(|(byte, number)| *byte = number);
    let sections = vec![
        Section::new(SectionKind::Data, b"larder".as_slice()).mode(0o644),
        Section::new(SectionKind::ExitStatus, [0; 4].as_slice()),
    ];
    let mut entry = Entry::new(Key::from_bytes(key), RecordKind::Blob, sections);
    entry.namespace = "demo".into();
    let body =
        body::encode(&entry, 1_700_000_000, RecordLayout::Compressed, 1).expect("it is small");
    assert_eq!(body, listing());
    let head = Head::decode(&listing()).expect("it is valid");
    assert_eq!((head.namespace.as_str(), head.created_secs), ("demo", 1_700_000_000));
    assert_eq!((head.head_bytes, head.body_bytes), (0xf4, 0xfe));
}
