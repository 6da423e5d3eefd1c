//! Values of ccache 3 on memcached (`CCH1`, `CCBM`), built by their grammar: nothing that wrote
//! them is to be had any more.

use super::remote::bytes_of;
use super::*;
use crate::tiers::servers::Memcached;

const DIGITS: &str = "0123456789abcdef0123456789abcdef";

/// Bytes that no compression shortens.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// A gzip file whose bytes stand as they are.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let crc = !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 }
        })
    });
    let length = bytes.len() as u16;
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    file.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
    file.extend(bytes);
    file.extend([crc.to_le_bytes(), (bytes.len() as u32).to_le_bytes()].concat());
    file
}

/// A directory of ccache 3: objects with and without what stands beside them, one too long for an
/// item, and a manifest.
fn cache(house: &House) {
    let rest = &DIGITS[2..];
    for (name, bytes) in [
        (format!("0/1/{rest}-10.o"), noise(100)),
        (format!("0/1/{rest}-11.o"), noise(5000)),
        (format!("0/1/{rest}-11.d"), b"a.o: a.c\n".to_vec()),
        (format!("0/1/{rest}-11.stderr"), gzip(b"a warning\n")),
        (format!("0/1/{rest}-11.dia"), noise(9)),
        (format!("0/1/{rest}-12.o"), noise(3_000_000)),
        (format!("0/1/{rest}-12.d"), b"b.o: b.c\n".to_vec()),
        (format!("0/1/{rest}-13.manifest"), gzip(b"cCmF and so on")),
    ] {
        write(&house.at("cache").join(name), &bytes);
    }
}

#[test]
fn a_directory_goes_by_lmdb_to_memcached_and_back() {
    let Some(server) = Memcached::start(&[]) else { return };
    let house = House::new();
    cache(&house);
    let wanted = bytes_of(&house.at("cache"));
    let url = format!("memcached://127.0.0.1:{}", server.port);
    house.convert_all(&["cache", "kept.lmdb"]);
    let page = house.convert_all(&["kept.lmdb", &url]);
    assert_eq!(page["entries"], 4, "{page:#}");
    // Four names, and three chunks.
    assert_eq!(server.keys().len(), 7);
    let flags = server.ask(&format!("mg {DIGITS}-11 f t"));
    assert!(flags.starts_with("HD f0 t-1"), "{flags}");
    let page = house.convert_all(&[&url, "back", "--to", "ccache"]);
    assert_eq!((&page["entries"], &page["passing"]), (&4.into(), &3.into()), "{page:#}");
    assert!(bytes_of(&house.at("back")) == wanted);
    // The oldest way to call them.
    let said =
        server.ask(&format!("set {DIGITS}-99.o 0 0 25\r\nCCH1\0\0\0\u{5}hello{}", "\0".repeat(12)));
    assert!(said.starts_with("STORED"), "{said}");
    house.convert_all(&[&url, "back", "--to", "ccache"]);
    assert_eq!(
        fs::read(house.at("back/0/1").join(format!("{}-99.o", &DIGITS[2..]))).unwrap(),
        b"hello"
    );
}

#[test]
fn what_has_no_place_in_a_value_is_told() {
    let Some(server) = Memcached::start(&[]) else { return };
    let house = House::new();
    let file = |suffix: &str| house.at("cache/0/1").join(format!("{}-1{suffix}", &DIGITS[2..]));
    write(&file(".o"), b"object");
    write(&file(".gcno"), b"notes");
    let url = format!("memcached://127.0.0.1:{}", server.port);
    let page = house.convert_all(&["cache", &url]);
    assert_eq!((&page["entries"], &page["no_place"][0]["count"]), (&0.into(), &1.into()));
    assert!(server.keys().is_empty());
}

#[test]
fn a_chunk_that_is_missing_or_another_is_told() {
    let Some(server) = Memcached::start(&[]) else { return };
    let house = House::new();
    cache(&house);
    let url = format!("memcached://127.0.0.1:{}", server.port);
    house.convert_all(&["cache", &url]);
    let chunk = server.keys().into_iter().find(|key| key.ends_with("-1024000")).unwrap();
    let other = "x".repeat(1_024_000);
    server.ask(&format!("set {chunk} 0 0 1024000\r\n{other}"));
    let (status, page) = house.convert(&[&url, "back", "--to", "ccache"]);
    assert_eq!((status, &page["damaged_count"]), (Some(4), &2.into()), "{page:#}");
    let whys = page["damaged"].to_string();
    assert!(whys.contains("another one than it says"), "{whys}");
    server.ask(&format!("delete {chunk}"));
    let (status, page) = house.convert(&[&url, "other", "--to", "ccache"]);
    assert_eq!((status, &page["damaged_count"]), (Some(4), &1.into()), "{page:#}");
    assert!(page["damaged"][0]["why"].as_str().unwrap().contains("missing"), "{page:#}");
    // All others are there.
    assert_eq!(page["entries"], 3);
}
