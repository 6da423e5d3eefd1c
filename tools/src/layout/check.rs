//! Whether the bytes of an entry are whole, and what they say of themselves.
//!
//! What cannot be checked is not guessed: ccache 3 has no checksum at all, so of its files only
//! those are refused that are certainly damaged: an object without a byte, a compressed file that
//! is cut short.

use larder::ccache_entry::{Entry as Container, Kind};
use larder_engine::Head;

use super::wrong::{Wrong, wrong};
use super::{is_raw, sccache};
use crate::entry::{Entry, Family};

/// No entry is larger than this once it is decompressed: ccache writes no larger ones.
pub const REAL_BYTES_MAX: u64 = 4 << 30;

/// What an entry says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Said {
    /// When it was made, in seconds since 1970.
    pub created_secs: Option<u64>,
    /// Its namespace.
    pub namespace: String,
    /// Which program made it.
    pub version: String,
    /// Whether it leads to results and is none; unknown is `false`.
    pub is_manifest: bool,
    /// Whether it says that it needs files beside it.
    pub needs_others: bool,
    /// Whether its bytes are compressed already.
    pub is_compressed: bool,
}

/// Checks all of an entry. The label of an entry of ccache 4.0 to 4.12 that came without one, from
/// a remote storage, becomes what it is in a cache.
///
/// # Errors
/// If it is damaged, or something else than its name says.
pub fn check(entry: &mut Entry) -> Result<Said, Wrong> {
    match entry.name.family {
        Family::Ccache | Family::Ccache40 => check_ccache(entry),
        Family::Ccache3 => check_old(entry),
        Family::Sccache => {
            sccache::check(only(entry)?)?;
            Ok(Said { is_compressed: true, ..Said::default() })
        }
        Family::SccachePreprocessor => {
            sccache::Preprocessor::decode(only(entry)?)?;
            Ok(Said { is_manifest: true, ..Said::default() })
        }
        Family::Larder => {
            let body = only(entry)?;
            let head = Head::decode_whole(body).map_err(|error| Wrong(error.to_string()))?;
            if head.key.to_string() != entry.name.text {
                return wrong(format!("it is the record of another key, {}", head.key));
            }
            Ok(Said {
                created_secs: Some(head.created_secs),
                namespace: head.namespace,
                is_compressed: true,
                ..Said::default()
            })
        }
        Family::File | Family::CcacheKey => only(entry).map(|_| Said::default()),
    }
}

/// The bytes of an entry that is one file.
fn only(entry: &Entry) -> Result<&[u8], Wrong> {
    match &entry.parts[..] {
        [part] => Ok(&part.bytes),
        parts => wrong(format!("it has {} files, not one", parts.len())),
    }
}

fn check_ccache(entry: &mut Entry) -> Result<Said, Wrong> {
    let family = entry.name.family;
    let is_main = |label: &str| !is_raw(family, label);
    let Some(main) = entry.parts.iter_mut().find(|part| is_main(&part.label)) else {
        return wrong("the result that its files belong to is missing");
    };
    let container = Container::check(&main.bytes, REAL_BYTES_MAX)?;
    let is_manifest = container.kind == Kind::Manifest;
    if family == Family::Ccache40 {
        let label = if is_manifest { "M" } else { "R" };
        match &*main.label {
            "" => main.label = label.to_owned(),
            found if found != label => {
                return wrong(format!("its name ends with {found}, it should with {label}"));
            }
            _ => {}
        }
    }
    let origin = container.origin.as_ref();
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let said = Said {
        created_secs: origin.map(|origin| origin.created_secs),
        namespace: origin.map(|origin| text(&origin.namespace)).unwrap_or_default(),
        version: origin.map(|origin| text(&origin.ccache_version)).unwrap_or_default(),
        is_manifest,
        needs_others: origin.is_some_and(|origin| origin.self_contained == Some(false)),
        is_compressed: container.compression == larder::ccache_entry::Compression::Zstd,
    };
    if entry.parts.len() > 1 || said.needs_others {
        check_raw_files(entry)?;
    }
    Ok(said)
}

/// The files beside a result are those that it lists, and as long as it says.
fn check_raw_files(entry: &Entry) -> Result<(), Wrong> {
    let family = entry.name.family;
    let main = entry.parts.iter().find(|part| !is_raw(family, &part.label));
    let bytes = main.map_or(&[][..], |part| &part.bytes);
    let container = Container::decode(bytes, REAL_BYTES_MAX)?;
    if container.kind == Kind::Manifest {
        return wrong("it is a manifest, and has files of a result beside it");
    }
    let (_, files) = larder::ccache_entry::stored_files(&container)?;
    let mut found = 1;
    for (index, file) in files.iter().enumerate().filter(|(_, file)| file.range.is_none()) {
        let labels = [format!("_{index:02x}"), format!("{index}W")];
        let Some(part) = entry.parts.iter().find(|part| labels.contains(&part.label)) else {
            return wrong(format!("file {index} of the result is missing"));
        };
        if part.bytes.len() as u64 != file.bytes {
            let (is, wanted) = (part.bytes.len(), file.bytes);
            return wrong(format!("file {index} of the result has {is} bytes, not {wanted}"));
        }
        found += 1;
    }
    match found == entry.parts.len() {
        true => Ok(()),
        false => wrong("a file stands beside the result that is none of it"),
    }
}

/// What ccache 3 would have taken.
fn check_old(entry: &Entry) -> Result<Said, Wrong> {
    let has = |label: &str| entry.parts.iter().find(|part| part.label == label);
    let manifest = has(".manifest");
    match has(".o") {
        Some(object) if object.bytes.is_empty() => return wrong("its object is empty"),
        None if manifest.is_none() => return wrong("its object is missing"),
        _ => {}
    }
    let is_packed = |bytes: &[u8]| bytes.starts_with(&[0x1f, 0x8b]);
    for part in &entry.parts {
        if is_packed(&part.bytes) {
            gunzip_check(&part.bytes).map_err(|what| Wrong(format!("{}: {what}", part.label)))?;
        } else if part.label == ".manifest" {
            return wrong(".manifest: it is not compressed, as a manifest is");
        }
    }
    Ok(Said {
        is_manifest: manifest.is_some() && entry.parts.len() == 1,
        is_compressed: entry.parts.iter().all(|part| is_packed(&part.bytes)),
        ..Said::default()
    })
}

/// Reads all of a compressed file, within a bound, and counts its real bytes.
///
/// # Errors
/// If it is damaged, or more.
pub fn gunzip_check(bytes: &[u8]) -> Result<u64, Wrong> {
    use std::io::Read;
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(REAL_BYTES_MAX + 1);
    let count = std::io::copy(&mut reader, &mut std::io::sink());
    match count {
        Ok(count) if count <= REAL_BYTES_MAX => Ok(count),
        Ok(_) => wrong("it holds more than is read"),
        Err(error) => wrong(format!("it cannot be decompressed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Name, Part};

    const OF_32: &str = "0123456789abcdef0123456789abcdef";

    fn entry(family: Family, text: &str, parts: &[(&str, &[u8])]) -> Entry {
        let part = |(label, bytes): &(&str, &[u8])| Part {
            label: (*label).to_owned(),
            bytes: bytes.to_vec(),
            modified: None,
            mode: None,
        };
        let parts = parts.iter().map(part).collect();
        Entry { name: Name::new(family, text), level: None, parts }
    }

    fn why(mut entry: Entry) -> String {
        check(&mut entry).map_or_else(|wrong| wrong.0, |said| format!("{said:?}"))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn of_ccache_3_only_what_is_certain_is_refused() {
        let packed = gzip(b"an object");
        let of = |parts: &[(&str, &[u8])]| why(entry(Family::Ccache3, OF_32, parts));
        assert!(of(&[(".d", b""), (".o", b"x"), (".stderr", b"")]).contains("is_manifest: false"));
        assert!(of(&[(".manifest", &packed)]).contains("is_manifest: true"));
        assert!(of(&[(".o", &packed)]).contains("is_compressed: true"));
        assert_eq!(of(&[(".o", b"")]), "its object is empty");
        assert_eq!(of(&[(".d", b"x")]), "its object is missing");
        assert!(of(&[(".manifest", b"x")]).contains("not compressed"));
        for length in 2..packed.len() {
            assert!(of(&[(".o", &packed[..length])]).starts_with(".o: "), "{length}");
        }
    }

    #[test]
    fn an_entry_that_is_one_file_has_one() {
        for family in [Family::Sccache, Family::SccachePreprocessor, Family::Larder] {
            for parts in [&[][..], &[("", b"".as_slice()), ("", b"")]] {
                let told = why(entry(family, &OF_32.repeat(2), parts));
                assert_eq!(told, format!("it has {} files, not one", parts.len()));
            }
        }
    }

    #[test]
    fn raw_files_need_their_result() {
        let of_40 = &OF_32.repeat(2)[..40];
        let told = why(entry(Family::Ccache, of_40, &[("_00", b"x")]));
        assert_eq!(told, "the result that its files belong to is missing");
        let of_33 = &OF_32.repeat(2)[..33];
        let told = why(entry(Family::Ccache40, of_33, &[("0W", b"x")]));
        assert_eq!(told, "the result that its files belong to is missing");
        assert!(why(entry(Family::Ccache, of_40, &[("", b"")])).contains("too short"));
    }

    #[test]
    fn compressed_files_are_counted_to_their_end() {
        let twice = [gzip(b"one"), gzip(b"two")].concat();
        assert_eq!(gunzip_check(&twice), Ok(6));
        assert!(gunzip_check(&twice[..twice.len() - 1]).is_err());
        let mut flipped = gzip(b"one");
        let last = flipped.len() - 5;
        flipped[last] ^= 1;
        assert!(gunzip_check(&flipped).is_err());
    }
}
