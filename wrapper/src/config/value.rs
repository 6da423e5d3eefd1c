//! Texts as they are written in a variable or in a file, and what they mean.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::Origin;

/// A value as it was written; paths need not be UTF-8.
pub(super) enum Text {
    /// One text.
    One(OsString),
    /// A list of a file.
    List(Vec<String>),
    /// A table of a file, from names to lists.
    Table(Vec<(String, Vec<String>)>),
}

impl Text {
    pub(super) fn as_str(&self) -> Result<&str, String> {
        match self {
            Text::One(text) => text.to_str().ok_or_else(|| "is not UTF-8".to_owned()),
            Text::List(_) => Err("is a list".to_owned()),
            Text::Table(_) => Err("is a table".to_owned()),
        }
    }

    pub(super) fn switch(&self) -> Result<bool, String> {
        let text = self.as_str()?;
        parse_switch(text)
            .ok_or_else(|| format!("\"{text}\" is neither 1/true/yes/on nor 0/false/no/off"))
    }

    pub(super) fn path(self) -> Result<PathBuf, String> {
        match self {
            Text::One(text) if text.is_empty() => Err("is empty".to_owned()),
            Text::One(text) => Ok(text.into()),
            Text::List(_) => Err("is a list".to_owned()),
            Text::Table(_) => Err("is a table".to_owned()),
        }
    }

    /// The rows of a table; those of one text are `NAME=ITEM:ITEM` with blanks between them.
    pub(super) fn rows(self) -> Result<Vec<(String, Vec<String>)>, String> {
        let text = match self {
            Text::Table(rows) => return Ok(rows),
            Text::List(_) => return Err("is a list".to_owned()),
            Text::One(_) => self.as_str()?.to_owned(),
        };
        let row = |word: &str| {
            let (name, items) =
                word.split_once('=').ok_or_else(|| format!("has \"{word}\" without a ="))?;
            let items = items.split(':').filter(|item| !item.is_empty());
            Ok((name.to_owned(), items.map(str::to_owned).collect()))
        };
        text.split_whitespace().map(row).collect()
    }

    /// The items of a list; those of one text stand between `separators`.
    pub(super) fn items(self, separators: &[u8]) -> Vec<OsString> {
        match self {
            Text::List(items) => items.into_iter().map(OsString::from).collect(),
            Text::Table(_) => Vec::new(),
            Text::One(text) => {
                let items = text.as_bytes().split(|byte| separators.contains(byte));
                let items = items.filter(|item| !item.is_empty());
                items.map(|item| OsString::from_vec(item.to_vec())).collect()
            }
        }
    }

    /// The paths of a list, with colons between them. Each is absolute, or relative to the
    /// directory whose file says so.
    pub(super) fn paths(self, origin: &Origin) -> Result<Vec<PathBuf>, String> {
        let directory = match origin {
            Origin::Directory(file) => file.parent(),
            _ => None,
        };
        let paths = self.items(b":").into_iter().map(PathBuf::from);
        let absolute = |path: PathBuf| match directory {
            _ if path.is_absolute() => Ok(path),
            // `join` would leave a blank or a dot at the end, which is no part of any name.
            Some(directory) if path == Path::new(".") => Ok(directory.to_owned()),
            Some(directory) => Ok(directory.join(path)),
            None => Err(format!("\"{}\" is not an absolute path", path.display())),
        };
        paths.map(absolute).collect()
    }
}

/// A switch's value; `None` for any other text.
pub fn parse_switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// A size in bytes: a decimal number, perhaps with a fraction, and a suffix; see rule 3 of
/// [`config`](super).
pub fn parse_size(text: &str) -> Option<u64> {
    parse_size_in(text, 1)
}

/// The same where a number without suffix counts units of so many bytes.
pub fn parse_size_in(text: &str, unit_bytes: u64) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let suffix = suffix.trim();
    let suffix = suffix.strip_suffix('B').unwrap_or(suffix);
    let unit: u64 = match suffix {
        "" => unit_bytes,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" | "ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit);
    }
    let bytes = number.parse::<f64>().ok()? * unit as f64;
    (bytes.is_finite() && bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// How the compiler is told from others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CompilerCheck {
    /// By the contents of everything that it consists of.
    Content,
    /// By name, size and mtime of everything that it consists of.
    Mtime,
    /// Not at all, but for its path.
    None,
    /// By this text.
    Text(String),
    /// By what this command prints; `%compiler%` in it is the compiler.
    Command(Vec<String>),
    /// By what several commands print.
    Commands(Vec<Vec<String>>),
}

impl CompilerCheck {
    pub(super) fn parse(text: &str) -> Result<CompilerCheck, String> {
        match text {
            "content" => Ok(CompilerCheck::Content),
            "mtime" => Ok(CompilerCheck::Mtime),
            "none" => Ok(CompilerCheck::None),
            _ => match text.strip_prefix("string:") {
                Some(text) => Ok(CompilerCheck::Text(text.to_owned())),
                None => {
                    let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
                    match words.is_empty() {
                        true => Err("is empty".to_owned()),
                        false => Ok(CompilerCheck::Command(words)),
                    }
                }
            },
        }
    }

    pub(super) fn show(&self) -> String {
        match self {
            CompilerCheck::Content => "content".to_owned(),
            CompilerCheck::Mtime => "mtime".to_owned(),
            CompilerCheck::None => "none".to_owned(),
            CompilerCheck::Text(text) => format!("string:{text}"),
            CompilerCheck::Command(words) => words.join(" "),
            CompilerCheck::Commands(commands) => {
                let commands = commands.iter().map(|words| words.join(" "));
                commands.collect::<Vec<_>>().join("; ")
            }
        }
    }
}

/// What the user does not want to count, although it may change a result.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sloppiness(u16);

impl Sloppiness {
    /// What `__DATE__`, `__TIME__` and `__TIMESTAMP__` show.
    pub const TIME_MACROS: Sloppiness = Sloppiness(1);
    /// The headers of the system.
    pub const SYSTEM_HEADERS: Sloppiness = Sloppiness(1 << 1);
    /// That an input's mtime lies after the start of the compile.
    pub const INCLUDE_FILE_MTIME: Sloppiness = Sloppiness(1 << 2);
    /// That an input's ctime lies after the start of the compile.
    pub const INCLUDE_FILE_CTIME: Sloppiness = Sloppiness(1 << 3);
    /// The language of messages.
    pub const LOCALE: Sloppiness = Sloppiness(1 << 4);
    /// The value of `-frandom-seed`.
    pub const RANDOM_SEED: Sloppiness = Sloppiness(1 << 5);
    /// Names that ccache has and that change nothing here.
    const NOTHING: Sloppiness = Sloppiness(0);

    const NAMES: &[(&str, Sloppiness)] = &[
        ("clang_index_store", Sloppiness::NOTHING),
        ("file_stat_matches", Sloppiness::NOTHING),
        ("file_stat_matches_ctime", Sloppiness::NOTHING),
        ("gcno_cwd", Sloppiness::NOTHING),
        ("incbin", Sloppiness::NOTHING),
        ("include_file_ctime", Sloppiness::INCLUDE_FILE_CTIME),
        ("include_file_mtime", Sloppiness::INCLUDE_FILE_MTIME),
        ("ivfsoverlay", Sloppiness::NOTHING),
        ("locale", Sloppiness::LOCALE),
        ("modules", Sloppiness::NOTHING),
        ("pch_defines", Sloppiness::NOTHING),
        ("random_seed", Sloppiness::RANDOM_SEED),
        ("system_headers", Sloppiness::SYSTEM_HEADERS),
        ("time_macros", Sloppiness::TIME_MACROS),
    ];

    /// Whether it has all of `other`.
    pub fn has(self, other: Sloppiness) -> bool {
        self.0 & other.0 == other.0
    }

    /// As a number.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// The inverse of [`Sloppiness::bits`].
    pub fn from_bits(bits: u16) -> Sloppiness {
        Sloppiness(bits)
    }

    /// The known ones of some names, and the unknown names.
    pub(super) fn parse(names: &[OsString]) -> (Sloppiness, Vec<String>) {
        let mut found = Sloppiness::default();
        let mut unknown = Vec::new();
        for name in names.iter().map(|name| name.to_string_lossy()) {
            match Sloppiness::NAMES.iter().find(|(known, _)| **known == *name) {
                Some((_, bit)) => found.0 |= bit.0,
                None => unknown.push(name.into_owned()),
            }
        }
        (found, unknown)
    }

    /// The names of what it has.
    pub fn show(self) -> String {
        let has = |bit: Sloppiness| bit.0 != 0 && self.has(bit);
        let names = Sloppiness::NAMES.iter().filter(|(_, bit)| has(*bit)).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(",")
    }
}
