//! Where files stand below the top of a cache directory, or in a tar of one.
//!
//! ```text
//! path    = digits leaf-rest                       a cache of ccache, digits being 1 to 8
//!         | hex2 "/" rest | key                    ccache's file storage: subdirs, flat
//!         | d "/" d "/" hex64                      a cache of sccache; the digits are its first
//!         | "preprocessor" "/" d "/" d "/" d "/" hex64
//!         | "larder" "/" hex2 "/" hex64            a record of larder, in tar only
//!         | "ccache-key" "/" hex                   what a helper was given, in tar only
//!         | housekeeping
//! digits  = ( d "/" )+                             the first digits of the leaf, cut off it
//! key     = hex40 | mixed33
//! housekeeping = "ccache.conf" | "CACHEDIR.TAG" | d "/CACHEDIR.TAG" | d "/stats"
//!         | d "/" d "/stats"
//! ```
//!
//! A path has no other form, so none leads out of the directory.

use super::{is_hex, is_raw, leaf, name_of, parse_leaf};
use crate::entry::{Family, Name};

/// How a directory is laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// A cache, as the tool itself reads and cleans it.
    Cache,
    /// ccache's file storage with `layout=subdirs`.
    Subdirs,
    /// ccache's file storage with `layout=flat`.
    Flat,
}

/// Where ccache looks at first: two directories above each file.
pub const LEVEL: u8 = 2;
/// ccache 3 could be told so many.
const LEVELS_MAX: usize = 8;

/// A path taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// In what kind of directory it stands.
    pub shape: Shape,
    /// Whose file it is.
    pub name: Name,
    /// Directories above it.
    pub level: u8,
    /// Which part it is; empty in a file storage.
    pub label: String,
}

/// The path of a part.
pub fn path(shape: Shape, name: &Name, level: Option<u8>, label: &str) -> String {
    let text = &*name.text;
    match (name.family, shape) {
        (Family::File, _) => text.to_owned(),
        (Family::Sccache, _) => format!("{}{text}", digits(text, 2)),
        (Family::SccachePreprocessor, _) => format!("preprocessor/{}{text}", digits(text, 3)),
        (Family::Larder, _) => format!("larder/{}/{text}", &text[..2]),
        (Family::CcacheKey, _) => format!("ccache-key/{text}"),
        (_, Shape::Cache) => {
            let level = usize::from(level.unwrap_or(LEVEL)).clamp(1, LEVELS_MAX);
            let leaf = leaf(name, label);
            format!("{}{}", digits(&leaf, level), &leaf[level..])
        }
        (_, Shape::Subdirs) => format!("{}/{}", &text[..2], &text[2..]),
        (_, Shape::Flat) => text.to_owned(),
    }
}

fn digits(text: &str, count: usize) -> String {
    text.chars().take(count).flat_map(|digit| [digit, '/']).collect()
}

/// What stands at a path; `None` for a file that is none of a cache.
pub fn parse(path: &str) -> Option<Place> {
    let mut parts: Vec<&str> = path.split('/').collect();
    let found = |shape, name: Name, level: usize, label: &str| {
        Some(Place { shape, name, level: level as u8, label: label.to_owned() })
    };
    let last = parts.pop()?;
    if let Some(name) = name_of(Family::File, path) {
        return found(Shape::Cache, name, parts.len(), "");
    }
    if parts == ["ccache-key"] {
        return found(Shape::Cache, name_of(Family::CcacheKey, last)?, 1, "");
    }
    let is_digit = |part: &&str| part.len() == 1 && is_hex(part);
    if last.len() == 64 {
        let (family, above) = match &parts[..] {
            ["larder", above] => {
                return (above.len() == 2 && last.starts_with(above))
                    .then(|| name_of(Family::Larder, last))
                    .flatten()
                    .and_then(|name| found(Shape::Cache, name, 2, ""));
            }
            ["preprocessor", above @ ..] if above.len() == 3 => {
                (Family::SccachePreprocessor, above)
            }
            above if above.len() == 2 => (Family::Sccache, above),
            _ => return None,
        };
        let name = name_of(family, last)?;
        let is_right = above.iter().all(is_digit) && last.starts_with(&above.concat());
        return is_right.then(|| found(Shape::Cache, name, parts.len(), "")).flatten();
    }
    let text = parts.concat() + last;
    match &parts[..] {
        [] => found(Shape::Flat, key_of_ccache(&text)?, 0, ""),
        [above] if above.len() == 2 => found(Shape::Subdirs, key_of_ccache(&text)?, 1, ""),
        above if above.len() <= LEVELS_MAX && above.iter().all(is_digit) => {
            let (name, label) = parse_leaf(&text, Family::Sccache)?;
            (name.family.is_of_ccache()).then(|| found(Shape::Cache, name, parts.len(), label))?
        }
        _ => None,
    }
}

/// The name of a key in ccache's remote storage.
pub fn key_of_ccache(text: &str) -> Option<Name> {
    name_of(Family::Ccache, text).or_else(|| name_of(Family::Ccache40, text))
}

/// Whether a file at this path belongs to a cache without being an entry.
pub fn is_housekeeping(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let is_digit = |part: &str| part.len() == 1 && is_hex(part);
    match &parts[..] {
        ["ccache.conf" | "CACHEDIR.TAG"] => true,
        [first, "CACHEDIR.TAG" | "stats"] => is_digit(first),
        [first, second, "stats"] => is_digit(first) && is_digit(second),
        _ => false,
    }
}

/// Whether a file at this path comes and goes while a tool works, and holds nothing to keep.
pub fn is_passing(path: &str) -> bool {
    let leaf = path.rsplit('/').next().unwrap_or(path);
    leaf.contains(".tmp.")
        || leaf.starts_with(".sccachetmp")
        || leaf.starts_with(".nfs")
        || leaf.ends_with(".lock")
        || leaf.ends_with(".alive")
        || path.starts_with("tmp/")
        || path.starts_with("lock/")
}

/// Whether a layout without room beside an entry can hold it: none of its files is a raw one.
pub fn stands_alone(family: Family, labels: &[String]) -> bool {
    !labels.iter().any(|label| is_raw(family, label))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_40: &str = "0123456789abcdef0123456789abcdef01234567";
    const OF_33: &str = "65e6l38eun118d8f0hfu5b2o99l86jtna";
    const OF_32: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn paths_are_taken_apart_as_they_were_put_together() {
        let of_64 = OF_32.repeat(2);
        for (wanted, shape, family, text, level, label) in [
            (format!("0/1/{}", &OF_40[2..]), Shape::Cache, Family::Ccache, OF_40, 2, ""),
            (format!("0/1/2/{}_01", &OF_40[3..]), Shape::Cache, Family::Ccache, OF_40, 3, "_01"),
            (format!("6/5/{}R", &OF_33[2..]), Shape::Cache, Family::Ccache40, OF_33, 2, "R"),
            (format!("0/{}.d", &OF_32[1..]), Shape::Cache, Family::Ccache3, OF_32, 1, ".d"),
            (format!("0/1/{of_64}"), Shape::Cache, Family::Sccache, &of_64, 2, ""),
            (
                format!("preprocessor/0/1/2/{of_64}"),
                Shape::Cache,
                Family::SccachePreprocessor,
                &of_64,
                4,
                "",
            ),
            (format!("larder/01/{of_64}"), Shape::Cache, Family::Larder, &of_64, 2, ""),
            ("ccache-key/0123".to_owned(), Shape::Cache, Family::CcacheKey, "0123", 1, ""),
            (format!("01/{}", &OF_40[2..]), Shape::Subdirs, Family::Ccache, OF_40, 1, ""),
            (format!("65/{}", &OF_33[2..]), Shape::Subdirs, Family::Ccache40, OF_33, 1, ""),
            (OF_40.to_owned(), Shape::Flat, Family::Ccache, OF_40, 0, ""),
            ("0/stats".to_owned(), Shape::Cache, Family::File, "0/stats", 1, ""),
        ] {
            let place = parse(&wanted).unwrap_or_else(|| panic!("{wanted}"));
            assert_eq!((place.shape, place.name.family, place.level), (shape, family, level));
            assert_eq!((&*place.name.text, &*place.label), (text, label));
            assert_eq!(path(shape, &place.name, Some(level), label), wanted);
        }
    }

    #[test]
    fn other_files_are_none_of_a_cache() {
        let of_64 = OF_32.repeat(2);
        for text in [
            "",
            "0/1",
            "0/1/stat",
            "x/stats",
            "0/1/2/stats",
            "../0/stats",
            &format!("0/2/{of_64}"),
            &format!("0/1/2/{of_64}"),
            &format!("preprocessor/0/1/{of_64}"),
            &format!("larder/0/{of_64}"),
            &format!("larder/11/{of_64}"),
            &format!("0/../1/{}", &OF_40[2..]),
            &format!("0/1/2/3/4/5/6/7/8/{}", &OF_40[9..]),
            &format!("/0/1/{}", &OF_40[2..]),
            &format!("012/{}", &OF_40[3..]),
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
