//! What the texts of ccache's settings mean.
//!
//! 1. `$NAME` and `${NAME}` stand for variables, `$$` for a dollar; a dollar before anything else
//!    is one. A variable that is not set is an error.
//! 2. Sizes: a number, perhaps with a fraction, and one of `k M G T` (decimal) or `Ki Mi Gi Ti`
//!    (binary), with or without a `B`; without any, GiB.
//! 3. Switches are `true` and `false` in a file. A variable is `true` whatever it says, but for
//!    what looks like a no: that is an error.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::Error;
use super::keys::Kind;
use crate::config::value::parse_size_in;

/// Words that somebody may take for a no.
const NEGATIVES: [&str; 4] = ["0", "false", "disable", "no"];

/// Names of sloppiness, in the order in which they are shown; two have older names.
const SLOPPINESS: &[&str] = &[
    "clang_index_store",
    "file_stat_matches",
    "file_stat_matches_ctime",
    "gcno_cwd",
    "incbin",
    "include_file_ctime",
    "include_file_mtime",
    "ivfsoverlay",
    "locale",
    "modules",
    "pch_defines",
    "random_seed",
    "system_headers",
    "time_macros",
];

/// The text with values in the place of variables.
pub(super) fn expand(
    text: &OsStr,
    variable: &impl Fn(&str) -> Option<OsString>,
) -> Result<OsString, String> {
    let mut expanded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'$') {
        expanded.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let name = match rest {
            [b'$', after @ ..] => {
                expanded.push(b'$');
                rest = after;
                continue;
            }
            [b'{', after @ ..] => {
                let length = length_of_name(after);
                let name = &after[..length];
                let Some(b'}') = after.get(length) else {
                    let name = String::from_utf8_lossy(name);
                    return Err(format!("syntax error: missing '}}' after \"{name}\""));
                };
                rest = &after[length + 1..];
                name
            }
            _ => {
                let (name, after) = rest.split_at(length_of_name(rest));
                rest = after;
                name
            }
        };
        if name.is_empty() {
            expanded.push(b'$');
            continue;
        }
        let name = String::from_utf8_lossy(name);
        let value = variable(&name);
        let value = value.ok_or_else(|| format!("environment variable \"{name}\" not set"))?;
        expanded.extend_from_slice(value.as_bytes());
    }
    expanded.extend_from_slice(rest);
    Ok(OsString::from_vec(expanded))
}

fn length_of_name(text: &[u8]) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.iter().position(|byte| !is_part(byte)).unwrap_or(text.len())
}

/// A variable that is a switch must not look as if it were meant the other way.
pub(super) fn check_switch_variable(name: &str, short: &str, text: &OsStr) -> Result<(), Error> {
    let text = text.to_string_lossy();
    if !NEGATIVES.contains(&text.to_ascii_lowercase().as_str()) {
        return Ok(());
    }
    let other = match short.strip_prefix("NO") {
        Some(short) => format!("CCACHE_{short}"),
        None => format!("CCACHE_NO{short}"),
    };
    Err(Error(format!(
        "{name}: invalid boolean environment variable value \"{text}\" (did you mean to set \
         \"{other}=true\"?)"
    )))
}

/// The value of a setting as it is kept.
pub(super) fn check(
    kind: &Kind,
    text: OsString,
    directory: Option<&Path>,
) -> Result<OsString, String> {
    let shown = text.to_string_lossy().into_owned();
    match kind {
        Kind::Text => Ok(text),
        Kind::Switch if text == "true" || text == "false" => Ok(text),
        Kind::Switch => Err(format!("not a boolean value: \"{shown}\"")),
        Kind::Size if parse_size(&shown).is_some() => Ok(text),
        Kind::Size => Err(format!("invalid size: \"{shown}\"")),
        Kind::Number(least, most) => check_number(&shown, *least, *most),
        Kind::Octal if shown.is_empty() => Ok(text),
        Kind::Octal => match u32::from_str_radix(&shown, 8) {
            Ok(bits) if bits <= 0o777 => Ok(text),
            _ => Err(format!("invalid unsigned octal integer: \"{shown}\"")),
        },
        Kind::Path => Ok(match directory {
            Some(directory) if !text.is_empty() && !Path::new(&text).is_absolute() => {
                directory.join(text).into()
            }
            _ => text,
        }),
        Kind::Paths => {
            let relative = std::env::split_paths(&text)
                .find(|path| !path.as_os_str().is_empty() && !path.is_absolute());
            match relative {
                Some(path) => Err(format!("not an absolute path: \"{}\"", path.display())),
                None => Ok(normal_paths(text)),
            }
        }
        Kind::Share => match shown.parse::<f64>() {
            Ok(share) if share.is_finite() => Ok(format!("{:.1}", share.clamp(0.0, 1.0)).into()),
            _ => Err(format!("invalid floating point: \"{shown}\"")),
        },
        Kind::Word(words) if words.contains(&shown.as_str()) => Ok(text),
        Kind::Word(words) => Ok(words[0].into()),
        Kind::Sloppiness => Ok(sloppiness(&shown).into()),
    }
}

/// Paths without `.`, `..` and needless signs between their parts, as they are shown; links are not
/// followed.
fn normal_paths(text: OsString) -> OsString {
    let normal = |path: PathBuf| {
        let mut normal = PathBuf::new();
        for part in path.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir => drop(normal.pop()),
                part => normal.push(part),
            }
        }
        normal
    };
    std::env::join_paths(std::env::split_paths(&text).map(normal)).unwrap_or(text)
}

fn check_number(text: &str, least: i64, most: i64) -> Result<OsString, String> {
    let what = if least < 0 { "integer" } else { "unsigned integer" };
    let number = text.parse::<i64>().ok().filter(|number| least < 0 || *number >= 0);
    let number = number.ok_or_else(|| format!("invalid {what}: \"{text}\""))?;
    match (least..=most).contains(&number) {
        true => Ok(number.to_string().into()),
        false => Err(format!("{number} is not between {least} and {most}")),
    }
}

/// The names that are known, in their order.
fn sloppiness(text: &str) -> String {
    let named: Vec<&str> = text.split([',', ' ', '\t']).collect();
    let is_named = |name: &&&str| named.contains(*name);
    let known: Vec<&str> = SLOPPINESS.iter().filter(is_named).copied().collect();
    known.join(", ")
}

/// The value of a setting as it is shown.
pub(super) fn show(kind: &Kind, value: &OsStr) -> String {
    let text = value.to_string_lossy();
    match kind {
        Kind::Size => {
            let is_decimal = ["k", "M", "G", "T"].iter().any(|unit| {
                let text = text.trim_end_matches('B');
                text.ends_with(unit) && !text.ends_with('i')
            });
            parse_size(&text).map_or_else(String::new, |bytes| show_size(bytes, is_decimal))
        }
        Kind::Octal if !text.is_empty() => {
            let bits = u32::from_str_radix(&text, 8).unwrap_or(0);
            format!("{bits:03o}")
        }
        _ => text.into_owned(),
    }
}

/// A size in bytes, as rule 2 says.
pub fn parse_size(text: &str) -> Option<u64> {
    parse_size_in(text, 1 << 30)
}

/// A size as ccache tells it: one digit behind the point, in units that it reads again; 0 is no
/// limit.
pub fn show_size(bytes: u64, is_decimal: bool) -> String {
    let (step, units) = match is_decimal {
        true => (1000.0, ["kB", "MB", "GB", "TB"]),
        false => (1024.0, ["KiB", "MiB", "GiB", "TiB"]),
    };
    if (bytes as f64) < step {
        return if bytes == 0 { "0".to_owned() } else { format!("{bytes} bytes") };
    }
    let mut value = bytes as f64 / step;
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}
