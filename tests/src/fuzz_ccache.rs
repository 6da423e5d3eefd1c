//! Entries of ccache's own caches: how they are made, in each layout, and as a fuzz target.
//!
//! Whatever is taken for an entry is asked for everything; written anew at another level it says
//! the same, and no more is held than the bound allows.

use larder::ccache_entry::{Entry, Kind, Level, Manifest, has_magic, recompress, stored_files};
use larder_engine::checksum::{xxh3_64, xxh3_128};
use larder_engine::codec;

use crate::sample::Random;

/// Most bytes of contents that the target lets an entry have.
const CONTENTS_MAX: u64 = 1 << 20;

/// How an entry is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// As ccache 4.0 to 4.4 do.
    Old,
    /// As 4.5 and 4.6 do.
    First,
    /// As 4.7 and later do.
    Second,
}

/// An entry around some contents; with `level`, compressed.
///
/// # Panics
/// If it cannot be compressed.
pub fn entry(layout: Layout, kind: Kind, contents: &[u8], level: Option<i8>) -> Vec<u8> {
    let number = u8::from(kind == Kind::Manifest);
    let how = [u8::from(level.is_some()), level.unwrap_or(0).cast_unsigned()];
    let mut header: Vec<u8> = match (layout, kind) {
        (Layout::Old, Kind::Result) => [b"cCrS\x01".as_slice(), &how].concat(),
        (Layout::Old, Kind::Manifest) => [b"cCmF\x02".as_slice(), &how].concat(),
        (Layout::First, _) => [&[0xcc, 0xac, 0, number], how.as_slice()].concat(),
        (Layout::Second, _) => [&[0xcc, 0xac, 1, number], how.as_slice(), &[1]].concat(),
    };
    if layout != Layout::Old {
        header.extend(1_700_000_000u64.to_be_bytes());
        header.extend(b"\x054.6.1\x02ns");
    }
    let check_bytes = if layout == Layout::Old { 8 } else { 16 };
    let real = (header.len() + 8 + contents.len() + check_bytes) as u64;
    header.extend(real.to_be_bytes());
    let pack = |bytes: Vec<u8>| match level {
        Some(level) => codec::compress(&bytes, i32::from(level)).expect("it compresses"),
        None => bytes,
    };
    let covered = [&header, contents].concat();
    match layout {
        Layout::Old => {
            let check = xxh3_64(&covered, 0).to_be_bytes();
            [header, pack([contents, &check].concat())].concat()
        }
        Layout::First => {
            let check = xxh3_128(&covered).to_be_bytes();
            [header, pack([contents, &check].concat())].concat()
        }
        Layout::Second => {
            let mut bytes = [header, pack(contents.to_vec())].concat();
            let check = xxh3_128(&bytes).to_be_bytes();
            bytes.extend(check);
            bytes
        }
    }
}

/// The contents of a result: files with their types, or a length where they stand beside it.
pub fn result(layout: Layout, files: &[(u8, Result<&[u8], u64>)]) -> Vec<u8> {
    let mut contents = if layout == Layout::Old { vec![] } else { vec![0] };
    contents.push(files.len() as u8);
    for (kind, file) in files {
        contents.extend([u8::from(file.is_err()), *kind]);
        contents.extend(file.map_or_else(|bytes| bytes, |bytes| bytes.len() as u64).to_be_bytes());
        contents.extend(file.unwrap_or_default());
    }
    contents
}

/// The contents of a manifest with some paths, an info for each, and one result that needs all.
pub fn manifest(layout: Layout, paths: &[&str]) -> Vec<u8> {
    let mut contents = match layout {
        Layout::Old => vec![],
        Layout::First => vec![0],
        Layout::Second => vec![1],
    };
    let count = (paths.len() as u32).to_be_bytes();
    contents.extend(count);
    for path in paths {
        contents.extend((path.len() as u16).to_be_bytes());
        contents.extend(path.bytes());
    }
    contents.extend(count);
    for (at, path) in (0u32..).zip(paths) {
        contents.extend(at.to_be_bytes());
        contents.extend([at as u8; 20]);
        contents.extend((path.len() as u64).to_be_bytes());
        contents.extend((i64::from(at) * 1000).to_be_bytes());
        contents.extend((-i64::from(at)).to_be_bytes());
    }
    contents.extend(1u32.to_be_bytes());
    contents.extend(count);
    (0..paths.len() as u32).for_each(|at| contents.extend(at.to_be_bytes()));
    contents.extend([7; 20]);
    contents
}

/// The target.
pub fn run(bytes: &[u8]) {
    ask(bytes);
    // With a right checksum, as it stands in the newest layout.
    let mut sealed = bytes.to_vec();
    let covered = sealed.len().saturating_sub(16);
    let check = xxh3_128(&sealed[..covered]).to_be_bytes();
    if let Some(place) = sealed.get_mut(covered..).filter(|place| place.len() == check.len()) {
        place.copy_from_slice(&check);
        ask(&sealed);
    }
}

fn ask(bytes: &[u8]) {
    let entry = Entry::decode(bytes, CONTENTS_MAX);
    for level in [Level::Uncompressed, Level::Zstd(3)] {
        let Ok(Some(new)) = recompress(bytes, level, CONTENTS_MAX) else { continue };
        let (old, new) = (entry.as_ref().unwrap(), Entry::decode(&new, CONTENTS_MAX).unwrap());
        assert_eq!(new.contents, old.contents);
        assert_eq!(
            (&new.origin, new.kind, new.real_bytes),
            (&old.origin, old.kind, old.real_bytes)
        );
    }
    let Ok(entry) = entry else { return };
    assert!(has_magic(bytes) && entry.contents.len() as u64 <= CONTENTS_MAX);
    if let Ok((_, files)) = stored_files(&entry) {
        for file in files {
            let suffix = file.suffix();
            assert!(
                !suffix.is_empty() && !suffix.contains(['/', '\0']) && !file.label().is_empty()
            );
            if let Some(range) = file.range {
                assert_eq!(entry.contents[range].len() as u64, file.bytes);
            }
        }
    }
    if let Ok(manifest) = Manifest::decode(&entry) {
        assert!(manifest.infos.iter().all(|info| (info.path as usize) < manifest.paths.len()));
        let mut needs = manifest.results.iter().flat_map(|(needs, _)| needs);
        assert!(needs.all(|need| (*need as usize) < manifest.infos.len()));
    }
}

/// Valid bytes.
pub fn valid(random: &mut Random) -> Vec<u8> {
    let layout = *random.choose(&[Layout::Old, Layout::First, Layout::Second]);
    let text = b"some text of an object file that compresses ".repeat(4 + random.below(9) as usize);
    let (kind, contents) = match random.below(2) {
        0 => (Kind::Manifest, manifest(layout, &["a.h", "/usr/include/stdio.h"])),
        _ => {
            let beside = Err(random.number());
            (Kind::Result, result(layout, &[(2, Ok(b"warning")), (0, Ok(&text)), (6, beside)]))
        }
    };
    // Miri runs no C code.
    let may_compress = kind == Kind::Result && !cfg!(miri);
    let level = (may_compress && random.below(2) == 0).then_some(1);
    entry(layout, kind, &contents, level)
}
