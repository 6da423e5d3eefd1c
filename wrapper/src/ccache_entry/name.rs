//! Names of ccache's files.
//!
//! A key is 20 bytes: 40 hexadecimal digits since 4.13, before that four of them and 29 characters
//! of base 32 for the other 18 bytes. In a local cache the first digits are directories, and names
//! of the second form end with `R`, `M` or, behind a number, `W`. In a directory of a remote
//! storage the whole key is the name, or its first two characters are a directory.

use std::path::{Path, PathBuf};

/// Length of a key in hexadecimal digits.
const HEX_KEY: usize = 40;
/// Length of a key in the older form, and how much of that is hexadecimal.
const MIXED_KEY: usize = 33;
const MIXED_HEX: usize = 4;
/// Of a key, the directory has so many characters.
const DIRECTORY: usize = 2;

fn is_hex(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_base32(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'v'))
}

fn is_key(text: &[u8]) -> bool {
    match text.len() {
        HEX_KEY => is_hex(text),
        MIXED_KEY => is_hex(&text[..MIXED_HEX]) && is_base32(&text[MIXED_HEX..]),
        _ => false,
    }
}

/// Whether a file in a directory of a remote storage may be an entry, from its name and that of the
/// directory it stands in.
pub fn is_remote_entry(path: &Path) -> bool {
    let part = |name: Option<&std::ffi::OsStr>| {
        name.map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default()
    };
    let name = part(path.file_name());
    let parent = part(path.parent().and_then(Path::file_name));
    is_key(&name) || parent.len() == DIRECTORY && is_key(&[parent, name].concat())
}

/// Where files that stand beside a result may be, the most likely first: the file of index `index`.
pub fn raw_files(result: &Path, index: usize) -> Vec<PathBuf> {
    let name = result.file_name().unwrap_or_default().to_os_string();
    let mut places = Vec::new();
    if let Some(stem) = name.to_str().and_then(|name| name.strip_suffix('R')) {
        places.push(result.with_file_name(format!("{stem}{index}W")));
    }
    let mut newer = name;
    newer.push(format!("_{index:02x}"));
    places.push(result.with_file_name(newer));
    places
}

/// A directory of a local cache is told by its statistics: such a file, if there is one.
pub fn local_statistics(directory: &Path) -> Option<PathBuf> {
    let digits = "0123456789abcdef".chars();
    digits.map(|digit| directory.join(digit.to_string()).join("stats")).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_remote_entries_are_known() {
        for name in [
            "remote/65/e6l38eun118d8f0hfu5b2o99l86jtna",
            "remote/65e6l38eun118d8f0hfu5b2o99l86jtna",
            "remote/ab/0123456789abcdef0123456789abcdef012345",
            "remote/ab0123456789abcdef0123456789abcdef012345",
        ] {
            assert!(is_remote_entry(Path::new(name)), "{name}");
        }
        for name in [
            "remote/CACHEDIR.TAG",
            "remote/xy/0123456789abcdef0123456789abcdef012345",
            "remote/abc/0123456789abcdef0123456789abcdef012345",
            "remote/AB/0123456789abcdef0123456789abcdef012345",
            "0123456789abcdef0123456789abcdef012345",
            "a/ab/0123456789abcdef0123456789abcdef012345.tmp.x",
        ] {
            assert!(!is_remote_entry(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn files_beside_a_result_have_one_of_two_names() {
        let of = |name, index| raw_files(Path::new(name), index);
        assert_eq!(of("a/xR", 1), [Path::new("a/x1W"), Path::new("a/xR_01")]);
        assert_eq!(of("a/0f", 11), [Path::new("a/0f_0b")]);
    }
}
