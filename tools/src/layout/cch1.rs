//! Values of ccache 3 in memcached, as the branches of itensionanders/ccache wrote them.
//!
//! ```text
//! key      = hex32 "-" digits                      the name of the object
//! value    = "CCH1" blob(object) blob(stderr) blob(dia) blob(dependencies)
//!          | manifest                              as it is: it begins with 1f 8b
//!          | "CCBM" count 16 0 total chunk*        of a value that is too long for the server
//! chunk    = 16 bytes of MD4, length               its key: hex32 "-" length
//! blob     = length, bytes
//! ```
//!
//! Numbers are four bytes, big-endian. A value in chunks is one of the first two forms, cut after
//! each [`CHUNK_BYTES`]; the chunks of older branches had other heads (`keys`, digests of 20 bytes)
//! and are not read. Which file was not there and which was empty, a value does not tell: an empty
//! blob is a file that is not there, as ccache 3 keeps no empty one but the object.

use super::wrong::{Wrong, wrong};
use crate::entry::{Entry, Family, Name, Part};

/// How long a chunk is.
pub const CHUNK_BYTES: usize = 1000 << 10;

const MAGIC: [u8; 4] = *b"CCH1";
const CHUNKED: [u8; 4] = *b"CCBM";
const DIGEST_BYTES: u32 = 16;
/// In the order of the blobs.
const LABELS: [&str; 4] = [".o", ".stderr", ".dia", ".d"];

/// What of an entry has no place in a value.
pub fn refuses(entry: &Entry) -> Option<&'static str> {
    let has = |label: &str| entry.parts.iter().any(|part| part.label == label);
    match () {
        () if has(".manifest") && entry.parts.len() > 1 => {
            Some("results of ccache 3 that have the name of a manifest")
        }
        () if has(".gcno") => Some("results of ccache 3 with coverage notes (.gcno)"),
        () if has(".su") => Some("results of ccache 3 with stack usage (.su)"),
        () if has(".dwo") => Some("results of ccache 3 with split DWARF (.dwo)"),
        () => None,
    }
}

/// The value of an entry.
pub fn encode(entry: &Entry) -> Vec<u8> {
    let bytes_of = |label: &str| {
        let part = entry.parts.iter().find(|part| part.label == label);
        part.map(|part| part.bytes.as_slice())
    };
    if let Some(manifest) = bytes_of(".manifest") {
        return manifest.to_vec();
    }
    let mut value = MAGIC.to_vec();
    for label in LABELS {
        let bytes = bytes_of(label).unwrap_or_default();
        value.extend((bytes.len() as u32).to_be_bytes());
        value.extend(bytes);
    }
    value
}

/// The entry of a value that is whole.
///
/// # Errors
/// If it is cut short or something else.
pub fn decode(name: Name, value: &[u8]) -> Result<Entry, Wrong> {
    debug_assert_eq!(name.family, Family::Ccache3);
    let part = |label: &str, bytes: &[u8]| Part {
        label: label.to_owned(),
        bytes: bytes.to_vec(),
        modified: None,
        mode: None,
    };
    if value.starts_with(&[0x1f, 0x8b]) {
        return Ok(Entry { name, level: None, parts: vec![part(".manifest", value)] });
    }
    let Some(mut rest) = value.strip_prefix(&MAGIC) else {
        return wrong("it is no value of ccache 3: it begins neither with CCH1 nor as a manifest");
    };
    let mut parts = Vec::new();
    for label in LABELS {
        let blob = take_number(&mut rest).and_then(|length| take(&mut rest, length as usize));
        let blob = blob.ok_or_else(|| Wrong("the value is cut short".to_owned()))?;
        if !blob.is_empty() || label == ".o" {
            parts.push(part(label, blob));
        }
    }
    if !rest.is_empty() {
        return wrong(format!("the value has {} bytes too many", rest.len()));
    }
    parts.sort_by(|a, b| a.label.cmp(&b.label));
    Ok(Entry { name, level: None, parts })
}

/// A value that stands in chunks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chunks {
    /// Bytes of all of them.
    pub bytes: u64,
    /// The key of each, and its length in bytes.
    pub keys: Vec<(String, u64)>,
}

/// Whether a value only says where its chunks are.
pub fn is_chunked(value: &[u8]) -> bool {
    value.starts_with(&CHUNKED)
}

impl Chunks {
    /// Reads what a value says of its chunks; of more than `bytes_max` bytes nothing is wanted.
    ///
    /// # Errors
    /// If it contradicts itself.
    pub fn decode(value: &[u8], bytes_max: u64) -> Result<Chunks, Wrong> {
        let cut = || Wrong("the list of chunks is cut short".to_owned());
        let mut rest = value.strip_prefix(&CHUNKED).ok_or_else(cut)?;
        let mut number = || take_number(&mut rest).ok_or_else(cut);
        let (count, digest_bytes, zero, total) = (number()?, number()?, number()?, number()?);
        if digest_bytes != DIGEST_BYTES || zero != 0 {
            return wrong("the list of chunks has a head that is not known");
        }
        if u64::from(total) > bytes_max || rest.len() as u64 != u64::from(count) * 20 {
            return wrong("the list of chunks has another length than it says");
        }
        let mut keys = Vec::new();
        for _ in 0..count {
            let digest = take(&mut rest, DIGEST_BYTES as usize).ok_or_else(cut)?;
            let length = take_number(&mut rest).ok_or_else(cut)?;
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            keys.push((format!("{hex}-{length}"), u64::from(length)));
        }
        let sum: u64 = keys.iter().map(|(_, length)| length).sum();
        match sum == u64::from(total) {
            true => Ok(Chunks { bytes: sum, keys }),
            false => wrong("the chunks are not as long together as the list says"),
        }
    }

    /// Cuts a value, and gives the list and each chunk with its key.
    pub fn encode(value: &[u8]) -> (Vec<u8>, Vec<(String, &[u8])>) {
        use md4::{Digest, Md4};
        let chunks: Vec<&[u8]> = value.chunks(CHUNK_BYTES).collect();
        let mut list = CHUNKED.to_vec();
        for number in [chunks.len() as u32, DIGEST_BYTES, 0, value.len() as u32] {
            list.extend(number.to_be_bytes());
        }
        let mut keyed = Vec::new();
        for chunk in chunks {
            let digest = Md4::digest(chunk);
            list.extend(&digest[..]);
            list.extend((chunk.len() as u32).to_be_bytes());
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            keyed.push((format!("{hex}-{}", chunk.len()), chunk));
        }
        (list, keyed)
    }

    /// Whether a chunk is the one that its key names.
    pub fn is_of(key: &str, chunk: &[u8]) -> bool {
        use md4::{Digest, Md4};
        let hex: String = Md4::digest(chunk).iter().map(|byte| format!("{byte:02x}")).collect();
        key == format!("{hex}-{}", chunk.len())
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn take_number(rest: &mut &[u8]) -> Option<u32> {
    let bytes = take(rest, 4)?;
    Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(parts: &[(&str, &[u8])]) -> Entry {
        let part = |(label, bytes): &(&str, &[u8])| Part {
            label: (*label).to_owned(),
            bytes: bytes.to_vec(),
            modified: None,
            mode: None,
        };
        let name = Name::new(Family::Ccache3, "0123456789abcdef0123456789abcdef-12");
        Entry { name, level: None, parts: parts.iter().map(part).collect() }
    }

    #[test]
    fn a_value_has_its_blobs_in_one_order() {
        let all = entry(&[(".d", b"dep"), (".dia", b"di"), (".o", b"object"), (".stderr", b"e")]);
        let value = b"CCH1\0\0\0\x06object\0\0\0\x01e\0\0\0\x02di\0\0\0\x03dep";
        assert_eq!(encode(&all), value);
        assert_eq!(decode(all.name.clone(), value), Ok(all));
        // What is not there is empty, and the other way round.
        let object = entry(&[(".o", b"x")]);
        let value = [&b"CCH1\0\0\0\x01x"[..], &[0; 12]].concat();
        assert_eq!(encode(&object), value);
        assert_eq!(decode(object.name.clone(), &value), Ok(object));
        let manifest = entry(&[(".manifest", b"\x1f\x8brest")]);
        assert_eq!(encode(&manifest), b"\x1f\x8brest");
        assert_eq!(decode(manifest.name.clone(), b"\x1f\x8brest"), Ok(manifest));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let all = entry(&[(".d", b"dep"), (".o", b"object")]);
        let value = encode(&all);
        for end in 0..value.len() {
            assert!(decode(all.name.clone(), &value[..end]).is_err(), "{end}");
        }
        let long = [&value[..], b"x"].concat();
        let huge = [&b"CCH1\xff\xff\xff\xff"[..], &[0; 50]].concat();
        for value in [&long[..], &huge, b"CCH2", b"VALUE", b"CCBM"] {
            assert!(decode(all.name.clone(), value).is_err());
        }
    }

    #[test]
    fn what_has_no_place_is_named() {
        assert_eq!(refuses(&entry(&[(".o", b"x"), (".d", b"x"), (".dia", b"x")])), None);
        assert_eq!(refuses(&entry(&[(".manifest", b"x")])), None);
        for label in [".gcno", ".su", ".dwo"] {
            let refused = refuses(&entry(&[(".o", b"x"), (label, b"x")]));
            assert!(refused.is_some_and(|why| why.contains(label)), "{label}");
        }
        assert!(refuses(&entry(&[(".manifest", b"x"), (".o", b"x")])).is_some());
    }

    #[test]
    fn a_long_value_is_cut_and_put_together() {
        let value: Vec<u8> = (0..2 * CHUNK_BYTES + 7).map(|n| (n % 251) as u8).collect();
        let (list, chunks) = Chunks::encode(&value);
        assert_eq!(list[..8], *b"CCBM\0\0\0\x03");
        assert!(is_chunked(&list) && !is_chunked(&value) && list.len() == 20 + 3 * 20);
        let lengths: Vec<usize> = chunks.iter().map(|(_, chunk)| chunk.len()).collect();
        assert_eq!(lengths, [CHUNK_BYTES, CHUNK_BYTES, 7]);
        let read = Chunks::decode(&list, 1 << 30).unwrap();
        assert_eq!(read.bytes, value.len() as u64);
        let said: Vec<_> = chunks.iter().map(|(key, c)| (key.clone(), c.len() as u64)).collect();
        assert_eq!(read.keys, said);
        for (key, chunk) in &chunks {
            assert!(Chunks::is_of(key, chunk) && !Chunks::is_of(key, &chunk[1..]));
        }
        // MD4 of nothing, by RFC 1320.
        assert!(Chunks::is_of("31d6cfe0d16ae931b73c59d7e0c089c0-0", b""));
    }

    #[test]
    fn a_list_of_chunks_that_contradicts_itself_is_refused() {
        let (list, _) = Chunks::encode(&[7; 100]);
        assert!(Chunks::decode(&list, 100).is_ok());
        assert!(Chunks::decode(&list, 99).is_err(), "above the limit");
        for end in 0..list.len() {
            assert!(Chunks::decode(&list[..end], 1 << 30).is_err(), "{end}");
        }
        // Magic, count, length of digests, what is zero, total, length of the chunk.
        for at in [0, 7, 11, 15, 19, 39] {
            let mut wrong = list.clone();
            wrong[at] ^= 1;
            assert!(Chunks::decode(&wrong, 1 << 30).is_err(), "{at}");
        }
    }
}
