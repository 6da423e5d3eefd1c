//! What entries are called and consist of, layout by layout; nothing here reads a file or a socket.
//!
//! A *leaf* is the name of one file: an entry's text and the label of a part. Directories, tar and
//! LMDB have the same leaves; [`leaf`] and [`parse_leaf`] are their grammar:
//!
//! ```text
//! leaf     = hex40 [ "_" hex2 ]                  ccache since 4.13: an entry, a raw file of it
//!          | mixed33 ( "R" | "M" )               ccache 4.0 to 4.12: a result, a manifest
//!          | mixed33 digits "W"                  a raw file of that result
//!          | hex32 [ "-" digits ] "." suffix     ccache 3
//!          | hex64                               sccache, or its preprocessor's
//! mixed33  = hex4 base32hex29                    lower case, no padding
//! suffix   = "o" | "d" | "stderr" | "gcno" | "su" | "dia" | "dwo" | "manifest"
//! ```
//!
//! Whose a name of 64 digits is, the place says where it stands.

pub mod cch1;
pub mod check;
pub mod directory;
pub mod foreign;
pub mod lmdb_pages;
pub mod remote;
pub mod sccache;
pub mod statistics;
pub mod wrong;

use crate::entry::{Family, Name};

/// The suffixes of ccache 3.
const OLD_SUFFIXES: [&str; 8] = ["o", "d", "stderr", "gcno", "su", "dia", "dwo", "manifest"];

/// Lengths of keys.
const HEX40: usize = 40;
const MIXED33: usize = 33;
const HEX32: usize = 32;
const HEX64: usize = 64;
/// The longest key that ccache's protocol for helpers has, in digits.
const KEY_DIGITS_MAX: usize = 510;

/// Whether all of it is lower-case hexadecimal digits.
pub fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_base32(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'v'))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether it is a key of ccache 4.0 to 4.12 as text.
pub fn is_mixed(text: &str) -> bool {
    text.len() == MIXED33 && text.is_ascii() && is_hex(&text[..4]) && is_base32(&text[4..])
}

/// The text that ccache 4.0 to 4.12 makes of a key: two bytes in base 16, the others in base 32.
pub fn mixed(key: &[u8]) -> String {
    let (first, rest) = key.split_at(key.len().min(2));
    let mut text: String = first.iter().map(|byte| format!("{byte:02x}")).collect();
    let bits = rest.len() * 8;
    for at in (0..bits).step_by(5) {
        // The last digit has zeros behind its bits.
        let bit = |at: usize| rest.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
        let digit = (at..at + 5).fold(0, |digit, at| digit << 1 | bit(at));
        text.push(char::from_digit(u32::from(digit), 32).unwrap_or('0'));
    }
    text
}

/// Whether it is the name of an object of ccache 3.
pub fn is_old_name(text: &str) -> bool {
    text.is_ascii()
        && text.split_at_checked(HEX32).is_some_and(|(digest, rest)| {
            is_hex(digest)
                && (rest.is_empty() || rest.strip_prefix('-').is_some_and(is_digits))
                && rest.len() <= 12
        })
}

/// The name that a whole text is, of a family.
pub fn name_of(family: Family, text: &str) -> Option<Name> {
    let is_right = match family {
        Family::Ccache => text.len() == HEX40 && is_hex(text),
        Family::Ccache40 => is_mixed(text),
        Family::CcacheKey => {
            text.len() <= KEY_DIGITS_MAX && text.len().is_multiple_of(2) && is_hex(text)
        }
        Family::Ccache3 => is_old_name(text),
        Family::Sccache | Family::SccachePreprocessor | Family::Larder => {
            text.len() == HEX64 && is_hex(text)
        }
        Family::File => directory::is_housekeeping(text),
    };
    is_right.then(|| Name::new(family, text))
}

/// The name of the file that holds a part.
pub fn leaf(name: &Name, label: &str) -> String {
    format!("{}{label}", name.text)
}

/// The entry and the label that a leaf belongs to; of 64 digits those of `of_hex64`.
pub fn parse_leaf(leaf: &str, of_hex64: Family) -> Option<(Name, &str)> {
    if !leaf.is_ascii() {
        return None;
    }
    if leaf.len() == HEX64 {
        return Some((name_of(of_hex64, leaf)?, ""));
    }
    if let Some(dot) = leaf.find('.') {
        let (text, label) = leaf.split_at(dot);
        let is_known = OLD_SUFFIXES.contains(&&label[1..]);
        return is_known
            .then(|| name_of(Family::Ccache3, text))
            .flatten()
            .map(|name| (name, label));
    }
    let split = |at: usize| leaf.split_at_checked(at);
    if let Some((text, label)) = split(HEX40)
        && let Some(name) = name_of(Family::Ccache, text)
        && (label.is_empty() || is_raw_label(label))
    {
        return Some((name, label));
    }
    let (text, label) = split(MIXED33)?;
    let name = name_of(Family::Ccache40, text)?;
    let is_right = matches!(label, "R" | "M") || label.strip_suffix('W').is_some_and(is_digits);
    (is_right && label.len() <= 4).then_some((name, label))
}

/// Whether a label of ccache since 4.13 is that of a raw file.
fn is_raw_label(label: &str) -> bool {
    label.len() == 3 && label.strip_prefix('_').is_some_and(is_hex)
}

/// Whether a label is that of a raw file, which stands beside its result.
pub fn is_raw(family: Family, label: &str) -> bool {
    match family {
        Family::Ccache => is_raw_label(label),
        Family::Ccache40 => label.ends_with('W'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_40: &str = "0123456789abcdef0123456789abcdef01234567";
    const OF_33: &str = "65e6l38eun118d8f0hfu5b2o99l86jtna";
    const OF_32: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn leaves_are_told_by_their_form() {
        let of_64 = OF_32.repeat(2);
        for (leaf_text, family, text, label) in [
            (OF_40.to_owned(), Family::Ccache, OF_40, ""),
            (format!("{OF_40}_0a"), Family::Ccache, OF_40, "_0a"),
            (format!("{OF_33}R"), Family::Ccache40, OF_33, "R"),
            (format!("{OF_33}M"), Family::Ccache40, OF_33, "M"),
            (format!("{OF_33}12W"), Family::Ccache40, OF_33, "12W"),
            (format!("{OF_32}-77.o"), Family::Ccache3, &format!("{OF_32}-77"), ".o"),
            (format!("{OF_32}.manifest"), Family::Ccache3, OF_32, ".manifest"),
            (of_64.clone(), Family::Sccache, &of_64, ""),
        ] {
            let (name, found) = parse_leaf(&leaf_text, Family::Sccache).expect("a leaf");
            assert_eq!((name.family, &*name.text, found), (family, text, label));
            assert_eq!(leaf(&name, found), leaf_text);
        }
    }

    /// A key as a manifest of ccache 4.7.5 has it, and what the result's file is called.
    #[test]
    fn keys_are_written_as_before_4_13() {
        let digits = "d259f3908a67770cb7a0ef0f53670cd30d921870";
        let bytes = (0..20).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap());
        assert_eq!(mixed(&bytes.collect::<Vec<u8>>()), "d259ue88kprn1irq1rofadjgpkodi8c70");
    }

    #[test]
    fn whatever_else_a_file_is_called_is_no_leaf() {
        for text in [
            "",
            "stats",
            "ä",
            &OF_40[1..],
            &OF_40.to_uppercase(),
            &format!("{OF_40}_0"),
            &format!("{OF_40}_0x"),
            &format!("{OF_40}.tmp.ab"),
            OF_33,
            &format!("{OF_33}W"),
            &format!("{OF_33}X"),
            &format!("{OF_33}12345W"),
            &format!("{OF_32}-.o"),
            &format!("{OF_32}-1.exe"),
            &format!("{OF_32}-1.o/../x"),
            &format!("{OF_32}/../../x.o"),
            &format!("{OF_32}-99999999999999999999.o"),
        ] {
            assert_eq!(parse_leaf(text, Family::Sccache), None, "{text}");
        }
    }
}
