//! How the samples of tests/samples/caches were made: each era by the grammar of its files.
//!
//! `LARDER_SAMPLES=write cargo test -p larder-tests --test integration -- samples_are_as_made`
//! writes them anew. Their bytes stay the same only as long as zstd's do, so what is committed
//! counts.

use std::collections::BTreeMap;

use larder::ccache_entry::Kind;
use larder_tests::fuzz_ccache::{Layout, entry, manifest, result};
use larder_tests::fuzz_tools::{crc32, pack, preprocessor, zip};

/// Files by their paths.
pub type Files = BTreeMap<String, Vec<u8>>;

const TEXT: &[u8] = b"a text of an object file that can be compressed, that can be compressed, \
    of an object file that can be compressed, a text of an object file that can be compressed, \
    a text of an object file that can be compressed";

/// Digits that begin with some others.
fn digits(first: &str, count: usize, alphabet: &str, seed: usize) -> String {
    let alphabet: Vec<char> = alphabet.chars().collect();
    let more = (first.len()..count).map(|at| alphabet[(at * 7 + seed * 5) % alphabet.len()]);
    first.chars().chain(more).collect()
}

const HEX: &str = "0123456789abcdef";
const BASE32: &str = "0123456789abcdefghijklmnopqrstuv";

/// A name of 33 characters: four digits, the others of base 32.
fn mixed(first: &str, seed: usize) -> String {
    digits(&digits(first, 4, HEX, seed), 33, BASE32, seed)
}

/// A path with some digits as directories.
fn below(level: usize, leaf: &str) -> String {
    let above: String = leaf.chars().take(level).flat_map(|digit| [digit, '/']).collect();
    above + &leaf[level..]
}

/// A gzip file whose contents are stored as they are.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    let count = u16::try_from(bytes.len()).expect("samples are small");
    packed.extend(count.to_le_bytes());
    packed.extend((!count).to_le_bytes());
    packed.extend(bytes);
    packed.extend(crc32(bytes).to_le_bytes());
    packed.extend(u32::from(count).to_le_bytes());
    packed
}

/// ccache 3.x: files of an object side by side, at one to four levels, some compressed.
pub fn ccache_3() -> Files {
    let mut files = Files::new();
    for (level, number) in [(1, "-77"), (2, "-123456"), (3, ""), (4, "-1")] {
        let text = digits(&"a3f9"[..level], 32, HEX, level) + number;
        let suffixes = ["o", "d", "stderr", "gcno", "su", "dia", "dwo"];
        for (at, suffix) in suffixes.into_iter().enumerate().take(level * 2 - 1) {
            let bytes = format!("{suffix} {}", String::from_utf8_lossy(TEXT)).into_bytes();
            let bytes = if (at + level) % 2 == 0 { gzip(&bytes) } else { bytes };
            files.insert(below(level, &format!("{text}.{suffix}")), bytes);
        }
        let text = digits(&"b28c"[..level], 32, HEX, level + 3) + number;
        let head = b"cCmF\x01\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0".as_slice();
        files.insert(below(level, &format!("{text}.manifest")), gzip(head));
    }
    files.insert("a/stats".to_owned(), "0\n".repeat(32).into_bytes());
    files.insert("a/CACHEDIR.TAG".to_owned(), TAG.to_vec());
    files
}

const TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55\n# made by a test of larder\n";

/// ccache 4 before 4.13: results and manifests of a container, some with raw files.
fn ccache_4(layout: Layout, counters: usize) -> Files {
    let mut files = Files::new();
    for level in 2..=4 {
        for (seed, packing) in [None, Some(1)].into_iter().enumerate() {
            let first = ["a3f9", "0b71"][seed];
            let alone =
                result(layout, &[(2, Ok(b"a warning")), (0, Ok(TEXT)), (1, Ok(b"a.o: a.c"))]);
            let text = mixed(first, level);
            let leaf = below(level, &format!("{text}R"));
            files.insert(leaf, entry(layout, Kind::Result, &alone, packing));
            let text = mixed(first, level + 7);
            let leaf = below(level, &format!("{text}M"));
            let found = manifest(layout, &["a.h", "/usr/include/stdio.h"]);
            files.insert(leaf, entry(layout, Kind::Manifest, &found, None));
        }
        let beside = result(layout, &[(1, Ok(b"a.o: a.c")), (0, Err(TEXT.len() as u64))]);
        let text = mixed("c1d2", level);
        let leaf = below(level, &format!("{text}R"));
        files.insert(leaf, entry(layout, Kind::Result, &beside, None));
        files.insert(below(level, &format!("{text}1W")), TEXT.to_vec());
    }
    files.insert("a/stats".to_owned(), "0\n".repeat(counters).into_bytes());
    files.insert("a/CACHEDIR.TAG".to_owned(), TAG.to_vec());
    files
}

/// ccache 4.0 to 4.4.
pub fn ccache_40() -> Files {
    ccache_4(Layout::Old, 32)
}

/// ccache 4.5 and 4.6.
pub fn ccache_45() -> Files {
    ccache_4(Layout::First, 49)
}

/// ccache since 4.13: names of 40 digits without a suffix.
pub fn ccache_413() -> Files {
    let mut files = Files::new();
    let layout = Layout::Second;
    for level in 2..=4 {
        for (seed, packing) in [None, Some(3)].into_iter().enumerate() {
            let first = ["a3f9", "0b71"][seed];
            let alone = result(layout, &[(2, Ok(b"a warning")), (0, Ok(TEXT)), (11, Ok(b"x"))]);
            let leaf = below(level, &digits(first, 40, HEX, level));
            files.insert(leaf, entry(layout, Kind::Result, &alone, packing));
            let found = manifest(layout, &["a.h", "/usr/include/stdio.h"]);
            let leaf = below(level, &digits(first, 40, HEX, level + 6));
            files.insert(leaf, entry(layout, Kind::Manifest, &found, None));
        }
        let beside = result(layout, &[(0, Err(TEXT.len() as u64)), (6, Err(4))]);
        let leaf = below(level, &digits("c1d2", 40, HEX, level));
        files.insert(format!("{leaf}_00"), TEXT.to_vec());
        files.insert(format!("{leaf}_01"), b"dwo!".to_vec());
        files.insert(leaf, entry(layout, Kind::Result, &beside, None));
    }
    files.insert("a/stats".to_owned(), "0\n".repeat(85).into_bytes());
    files.insert("a/3/stats".to_owned(), "0\n".repeat(85).into_bytes());
    files.insert("a/CACHEDIR.TAG".to_owned(), TAG.to_vec());
    files.insert("ccache.conf".to_owned(), b"max_size = 1G\n".to_vec());
    files
}

/// sccache: results of C and Rust, and its preprocessor cache of both versions, one empty.
pub fn sccache() -> Files {
    let key = |first: &str, seed| digits(first, 64, HEX, seed);
    let (c, rust) = (key("f3a", 1), key("07c", 2));
    let mut files = Files::new();
    let path = |key: &str| format!("{}/{}/{key}", &key[..1], &key[1..2]);
    let members = [("obj", pack(TEXT), 0o640), ("stderr", pack(b"a.c:1: warning"), 0o644)];
    files.insert(path(&c), zip(&members));
    let members = [("libx-1.rlib", pack(TEXT), 0o644), ("libx-1.rmeta", pack(b"rust"), 0o644)];
    files.insert(path(&rust), zip(&members));
    for (version, seed) in [(0, 3), (1, 4)] {
        let key = key("5e8", seed);
        let path = format!("preprocessor/{}/{}/{}/{key}", &key[..1], &key[1..2], &key[2..3]);
        files.insert(
            path,
            preprocessor(version, &[(&c, &["/usr/include/stdc-predef.h", "/a/b.h"])]),
        );
    }
    let empty = key("81d", 5);
    files.insert(format!("preprocessor/8/1/d/{empty}"), Vec::new());
    files
}
