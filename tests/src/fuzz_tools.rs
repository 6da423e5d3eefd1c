//! What the tools of larder read, as fuzz targets: entries of sccache and ccache 3, records of
//! other tools, archives, pages of LMDB, names and paths.
//!
//! 1. What decodes encodes to the same bytes, where there is an encoder.
//! 2. A name or path that is taken leads nowhere but below the top, and is put together as it was
//!    taken apart.
//! 3. Nothing is held that the input only claims to have.

use std::io;

use larder_engine::format::body::Head;
use larder_engine::{Entry as Record, Key, RecordKind, RecordLayout, Section, SectionKind};
use larder_tools::entry::{Entry, Family, Name, Part};
use larder_tools::layout::check::{Said, check};
use larder_tools::layout::directory::{self, Shape};
use larder_tools::layout::remote::{self, HttpLayout, Server};
use larder_tools::layout::sccache::{Preprocessor, members};
use larder_tools::layout::wrong::Wrong;
use larder_tools::layout::{cch1, foreign, lmdb_pages, name_of, parse_leaf};
use larder_tools::place::Source;
use larder_tools::place::tar::TarSource;

use crate::fuzz::seal_body;
use crate::sample::Random;

/// Most bytes that a member is read to.
const REAL_BYTES_MAX: u64 = 1 << 20;
const HEX64: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A path leads nowhere but below where it begins.
fn assert_safe(path: &str) {
    assert!(!path.is_empty() && !path.contains('\0'), "{path:?}");
    assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path:?}");
}

/// A result of sccache: [`members`].
pub fn run_result(bytes: &[u8]) {
    let Ok(members) = members(bytes) else { return };
    let stored: usize = members.iter().map(|member| member.stored.len()).sum();
    assert!(stored <= bytes.len(), "{stored} bytes of {}", bytes.len());
    for member in members {
        assert_eq!(crc32(&member.stored), member.crc32);
        let (read, count) = (member.read(REAL_BYTES_MAX), member.count(REAL_BYTES_MAX));
        assert_eq!(read.map(|bytes| bytes.len() as u64).ok(), count.ok());
    }
}

/// An archive of sccache.
pub fn valid_result(random: &mut Random) -> Vec<u8> {
    let (first, second) = (pack(&random.bytes(300)), pack(&random.bytes(20)));
    zip(&[("obj", first, 0o640), ("stderr", second, 0o644)])
}

/// What sccache keeps to avoid the preprocessor.
pub fn run_preprocessor(bytes: &[u8]) {
    let Ok(entry) = Preprocessor::decode(bytes) else { return };
    let Some(version) = entry.version else { return assert!(bytes.is_empty()) };
    let mut again = vec![version];
    // A count that says nothing that is not said elsewhere.
    again.extend(&bytes[1..9]);
    let text = |to: &mut Vec<u8>, bytes: &[u8]| {
        to.extend((bytes.len() as u64).to_le_bytes());
        to.extend(bytes);
    };
    let time = |to: &mut Vec<u8>, time: Option<(i64, u32)>| {
        to.push(u8::from(time.is_some()));
        if let Some((secs, nanos)) = time {
            to.extend(secs.to_le_bytes());
            to.extend(nanos.to_le_bytes());
        }
    };
    again.extend((entry.results.len() as u64).to_le_bytes());
    for (key, includes) in &entry.results {
        text(&mut again, key.as_bytes());
        again.extend((includes.len() as u64).to_le_bytes());
        for include in includes {
            again.extend(0u32.to_le_bytes());
            text(&mut again, &include.path);
            text(&mut again, include.digest.as_bytes());
            again.extend(include.bytes.to_le_bytes());
            time(&mut again, include.modified);
            time(&mut again, include.changed);
        }
    }
    assert_eq!(again, bytes);
}

/// An entry of the preprocessor cache.
pub fn valid_preprocessor(random: &mut Random) -> Vec<u8> {
    let paths = ["/usr/include/stdio.h", "/a.h", "/b.h"];
    let count = random.below(4) as usize;
    preprocessor(random.below(2) as u8, &[(HEX64, &paths[..count]), ("", &[])])
}

/// A record of another tool's entry.
pub fn run_foreign(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    seal_body(&mut sealed);
    for body in [bytes, &sealed] {
        let Ok(head) = Head::decode_whole(body) else { continue };
        let read = |at: usize| {
            let section = &head.sections[at];
            let (offset, count) = head.stored_range(section);
            let stored = body[offset as usize..(offset + count) as usize].into();
            let real = head.section_bytes(section, stored);
            real.map(Vec::from).map_err(|error| Wrong(error.to_string()))
        };
        // Under any key: the one that its name has is found by asking.
        let name = foreign::places(&head.sections).ok().and_then(|(at, _, _)| read(at).ok());
        let name = name.and_then(|bytes| foreign::parse_name(&bytes).ok());
        let Some(name) = name else { continue };
        let other = foreign::entry::<Wrong>(&Key::from_bytes([7; 32]), &head.sections, read);
        assert!(other.is_err(), "{name} under a key that is not its own");
        let Ok(entry) = foreign::entry::<Wrong>(&foreign::key(&name), &head.sections, read) else {
            continue;
        };
        assert_eq!(entry.name, name);
        for part in &entry.parts {
            let path = directory::path(Shape::Cache, &name, entry.level, &part.label);
            assert_safe(&path);
            let place = directory::parse(&path).expect("what is written can be read");
            assert_eq!((&place.name, &place.label), (&name, &part.label), "{path}");
        }
        let said = Said::default();
        let record = foreign::record(&entry, &said);
        assert_eq!(record.sections.len(), entry.parts.len() + 2);
    }
}

/// A record as larder writes it.
pub fn valid_foreign(random: &mut Random) -> Vec<u8> {
    let name = match random.below(4) {
        0 => Name::new(Family::Ccache, &HEX64[..40]),
        1 => Name::new(Family::Ccache40, &HEX64[..33]),
        2 => Name::new(Family::Ccache3, format!("{}-77", &HEX64[..32])),
        _ => Name::new(Family::File, "0/stats"),
    };
    let labels: &[&[u8]] = match name.family {
        Family::Ccache => &[b"", b"_00"],
        Family::Ccache40 => &[b"0W", b"R"],
        Family::Ccache3 => &[b".d", b".o"],
        _ => &[b""],
    };
    let mut attributes = vec![1, 2];
    labels.iter().for_each(|_| attributes.extend(random.bytes(16)));
    let mut sections = vec![
        Section::new(SectionKind::ForeignName, name.to_string().into_bytes()),
        Section::new(SectionKind::ForeignAttributes, attributes),
    ];
    for label in labels {
        let bytes = random.bytes(40);
        sections.push(Section::new(SectionKind::ForeignEntry, bytes).name(*label));
    }
    let record = Record::new(foreign::key(&name), RecordKind::Foreign, sections);
    let body = larder_engine::format::body::encode(&record, 7, RecordLayout::Raw, 1);
    body.expect("the record is within the limits")
}

/// An archive, listed and read.
pub fn run_tar(bytes: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("there is room for a file");
    io::Write::write_all(&mut file, bytes).expect("there is room for a file");
    let Ok(source) = TarSource::open(file.path()) else { return };
    let listed = source.list(0).expect("it was listed when it was opened");
    for item in &listed.items {
        for label in &item.labels {
            assert_safe(&directory::path(Shape::Cache, &item.name, item.level, label));
        }
        let Ok(entry) = source.read(item) else { continue };
        assert!(entry.bytes() <= (bytes.len() * entry.parts.len()) as u64);
        assert_eq!(entry.parts.len(), item.labels.len());
    }
}

/// An archive of a few members.
pub fn valid_tar(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for path in ["0/1/23", "./a/b/c", "stats", "0/stats", &format!("0/1/{}", &HEX64[2..40])] {
        let count = random.below(700) as usize;
        let contents = random.bytes(count);
        let mut head = vec![0; 512];
        let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
        put(0, path.as_bytes());
        put(100, b"0000644\0");
        put(124, format!("{count:011o}\0").as_bytes());
        put(136, b"14000000000\0");
        put(148, b"        0");
        put(257, b"ustar\x0000");
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend(head);
        bytes.extend(contents);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Files of an object of ccache 3, each behind its length; and the same value on memcached.
pub fn run_ccache_3(bytes: &[u8]) {
    let name = || Name::new(Family::Ccache3, &HEX64[..32]);
    let (mut parts, mut rest) = (Vec::new(), bytes);
    for label in [".o", ".d", ".stderr", ".manifest"] {
        let Some((count, behind)) = rest.split_first() else { break };
        let (taken, behind) = behind.split_at(behind.len().min(usize::from(*count)));
        rest = behind;
        if !taken.is_empty() {
            let label = label.to_owned();
            parts.push(Part { label, bytes: taken.to_vec(), modified: None, mode: None });
        }
    }
    let mut entry = Entry { name: name(), level: Some(2), parts };
    let before = entry.clone();
    let _ = check(&mut entry);
    assert_eq!(entry, before);
    if let Ok(entry) = cch1::decode(name(), bytes) {
        assert!(entry.bytes() <= bytes.len() as u64);
        let again = cch1::decode(name(), &cch1::encode(&entry));
        assert_eq!(again, Ok(entry));
    }
    if let Ok(chunks) = cch1::Chunks::decode(bytes, 1 << 30) {
        assert!(chunks.keys.len() <= bytes.len());
    }
}

/// Four files, or a value of memcached.
pub fn valid_ccache_3(random: &mut Random) -> Vec<u8> {
    let files: Vec<Vec<u8>> = (0..4).map(|_| random.bytes(30)).collect();
    let is_value = random.below(2) == 0;
    let mut bytes = if is_value { b"CCH1".to_vec() } else { Vec::new() };
    for file in files {
        match is_value {
            true => bytes.extend((file.len() as u32).to_be_bytes()),
            false => bytes.push(file.len() as u8),
        }
        bytes.extend(file);
    }
    bytes
}

/// The file of a database of LMDB.
pub fn run_lmdb(bytes: &[u8]) {
    let mut asked = 0u64;
    let mut read = |at: u64, count: usize| {
        asked += 1;
        let end = (at as usize).checked_add(count);
        let found = end.and_then(|end| bytes.get(at as usize..end));
        found.map(<[u8]>::to_vec).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    };
    let _ = lmdb_pages::check(bytes.len() as u64, true, &mut read);
    // Each page once, two metas, and of a long list of free pages its head and the rest.
    let pages = bytes.len() as u64 / 256 + 2;
    assert!(asked <= 3 * pages, "{asked} reads of {pages} pages");
}

/// Two metas, and a leaf with some values.
pub fn valid_lmdb(random: &mut Random) -> Vec<u8> {
    let page_bytes = 4096;
    let mut bytes = vec![0; 3 * page_bytes];
    for number in 0..2u8 {
        let at = usize::from(number) * page_bytes;
        let mut put = |offset: usize, value: &[u8]| {
            bytes[at + offset..at + offset + value.len()].copy_from_slice(value);
        };
        put(0, &[number]);
        put(10, &[8]);
        put(16, &0xBEEF_C0DE_u32.to_le_bytes());
        put(20, &[1]);
        put(40, &(page_bytes as u32).to_le_bytes());
        put(40 + 40, &[0xff; 8]);
        put(88 + 6, &[1]);
        put(88 + 40, &[2]);
        put(136, &[2]);
        put(144, &[number]);
    }
    let count = 1 + random.below(20) as usize;
    let leaf = &mut bytes[2 * page_bytes..];
    leaf[0] = 2;
    leaf[10] = 2;
    leaf[12..14].copy_from_slice(&(16 + 2 * count as u16).to_le_bytes());
    for number in 0..count {
        let at = page_bytes - 16 * (number + 1);
        leaf[16 + 2 * number..][..2].copy_from_slice(&(at as u16).to_le_bytes());
        leaf[at] = 4;
        leaf[at + 6] = 4;
        leaf[14..16].copy_from_slice(&(at as u16).to_le_bytes());
    }
    bytes
}

/// Names and paths: leaves, directories, servers.
pub fn run_names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.split('\n') {
        for family in Family::ALL {
            if let Some(name) = name_of(family, line) {
                assert_safe(&name.text);
            }
        }
        if let Some((name, label)) = parse_leaf(line, Family::Sccache) {
            assert_safe(line);
            assert_eq!(larder_tools::layout::leaf(&name, label), line);
        }
        if let Some(place) = directory::parse(line) {
            assert_safe(line);
            let again = directory::path(place.shape, &place.name, Some(place.level), &place.label);
            assert_eq!(again, line);
        }
        for server in SERVERS {
            if let Some(name) = remote::parse(server, line) {
                let there = remote::name_on(server, &name);
                let there = there.or_else(|| Some(name.text.clone())).unwrap_or_default();
                assert_safe(there.strip_prefix("ccache:").unwrap_or(&there));
                assert_eq!(name_of(name.family, &name.text), Some(name));
            }
        }
        if let Ok(name) = foreign::parse_name(line.as_bytes()) {
            assert_eq!(name.to_string(), line);
            assert_safe(&name.text);
        }
        let _ = (cch1::is_chunked(line.as_bytes()), directory::is_passing(line));
    }
}

const SERVERS: [Server; 6] = [
    Server::Redis,
    Server::Memcached,
    Server::Http(HttpLayout::Subdirs),
    Server::Http(HttpLayout::Flat),
    Server::Http(HttpLayout::Bazel),
    Server::S3,
];

/// Lines that are names.
pub fn valid_names(random: &mut Random) -> Vec<u8> {
    let (of_40, of_33, of_32) = (&HEX64[..40], &HEX64[..33], &HEX64[..32]);
    let lines = [
        format!("0/1/{}", &of_40[2..]),
        format!("0/1/2/{}_01", &of_40[3..]),
        format!("0/1/{}R", &of_33[2..]),
        format!("0/{}-12.stderr", &of_32[1..]),
        format!("0/1/{HEX64}"),
        format!("preprocessor/0/1/2/{HEX64}"),
        format!("larder/01/{HEX64}"),
        format!("01/{}", &of_40[2..]),
        "0/stats".to_owned(),
        "ccache.conf".to_owned(),
        format!("ccache:{of_40}"),
        format!("ac/{of_40}{}", &of_40[..24]),
        format!("a/b/0/1/2/{HEX64}"),
        format!("{of_33}0W"),
        format!("{of_32}-7.o"),
    ];
    let count = 1 + random.below(4);
    let chosen: Vec<String> = (0..count).map(|_| random.choose(&lines).clone()).collect();
    chosen.join("\n").into_bytes()
}

/// A stream of zstd whose one block is raw: for little bytes, which do not get fewer.
///
/// # Panics
/// If there are more than fit into a block.
pub fn pack(bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128 << 10, "a block has no room for more");
    let count = bytes.len() as u32;
    // One segment, a length of four bytes; the last block, raw.
    let head = [&[0x28, 0xb5, 0x2f, 0xfd, 0xa0][..], &count.to_le_bytes()].concat();
    [&head, &(count << 3 | 1).to_le_bytes()[..3], bytes].concat()
}

/// The checksum of gzip and ZIP.
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 }
        })
    })
}

/// What sccache keeps to avoid the preprocessor.
pub fn preprocessor(version: u8, results: &[(&str, &[&str])]) -> Vec<u8> {
    let number = |bytes: &mut Vec<u8>, count: usize| bytes.extend((count as u64).to_le_bytes());
    let mut bytes = vec![version];
    number(&mut bytes, 1);
    number(&mut bytes, results.len());
    for (key, paths) in results {
        number(&mut bytes, key.len());
        bytes.extend(key.as_bytes());
        number(&mut bytes, paths.len());
        for (at, path) in paths.iter().enumerate() {
            bytes.extend(0u32.to_le_bytes());
            for text in [path.as_bytes(), format!("{at:064x}").as_bytes()] {
                number(&mut bytes, text.len());
                bytes.extend(text);
            }
            number(&mut bytes, 77);
            bytes.push(1);
            bytes.extend(1_600_000_000i64.to_le_bytes());
            bytes.extend(5u32.to_le_bytes());
            bytes.push(0);
        }
    }
    bytes
}

/// A ZIP of members that are stored as they are, as sccache makes one.
pub fn zip(members: &[(&str, Vec<u8>, u32)]) -> Vec<u8> {
    let (mut bytes, mut central) = (Vec::new(), Vec::new());
    for (name, stored, mode) in members {
        let at = bytes.len() as u32;
        // Needed version, flags, method, time, date, checksum, both lengths, of name, of the rest.
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        common.extend(crc32(stored).to_le_bytes());
        common.extend((stored.len() as u32).to_le_bytes());
        common.extend((stored.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(stored);
        central.extend(b"PK\x01\x02\x2e\x03");
        central.extend(&common);
        central.extend([0; 6]);
        central.extend(((0o100_000 | mode) << 16).to_le_bytes());
        central.extend(at.to_le_bytes());
        central.extend(name.as_bytes());
    }
    let (at, count) = (bytes.len() as u32, members.len() as u16);
    bytes.extend(&central);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(count.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend((central.len() as u32).to_le_bytes());
    bytes.extend(at.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}
