//! Files of ccache's settings: `key = value` lines. What begins with a hash is a comment.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::keys::KEYS;
use super::{Error, Origin, Settings, find, split};

/// A larger file is no file of settings.
const BYTES_MAX: u64 = 1 << 20;

/// A line that says something.
pub(super) struct Line<'a> {
    pub(super) number: usize,
    pub(super) key: &'a OsStr,
    pub(super) value: &'a OsStr,
}

impl Settings {
    /// Reads a file, if it is there.
    pub(super) fn read_file(
        &mut self,
        path: &Path,
        variable: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<(), Error> {
        let file = match open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
            Err(error) => return Err(Error(format!("{}: {error}", path.display()))),
        };
        let text = read(file).map_err(|error| Error(format!("{}: {error}", path.display())))?;
        for line in lines(path, &text)? {
            let Some(at) = find(&line.key.to_string_lossy()) else { continue };
            self.take_line(path, &line, at, variable)?;
        }
        Ok(())
    }

    /// Takes a line of a file.
    pub(super) fn take_line(
        &mut self,
        path: &Path,
        line: &Line<'_>,
        at: usize,
        variable: &impl Fn(&str) -> Option<OsString>,
    ) -> Result<(), Error> {
        let set = self.set(at, line.value, Origin::File(path.to_owned()), variable);
        set.map_err(|what| at_line(path, line.number, &what))
    }
}

pub(super) fn at_line(path: &Path, number: usize, what: &str) -> Error {
    Error(format!("{}:{number}: {what}", path.display()))
}

fn open(path: &Path) -> io::Result<File> {
    // Nobody may ever write to a pipe.
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// The text of a file that is not too large.
pub(super) fn read(file: File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut text)?;
    match text.len() as u64 > BYTES_MAX {
        true => Err(io::Error::other("is too large for a configuration file")),
        false => Ok(text),
    }
}

/// The lines that say something.
pub(super) fn lines<'a>(path: &Path, text: &'a [u8]) -> Result<Vec<Line<'a>>, Error> {
    let mut lines = Vec::new();
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let number = number + 1;
        let (key, value) = split(OsStr::from_bytes(line))
            .ok_or_else(|| at_line(path, number, "missing equal sign"))?;
        let trimmed = |text: &'a OsStr| OsStr::from_bytes(text.as_bytes().trim_ascii());
        lines.push(Line { number, key: trimmed(key), value: trimmed(value) });
    }
    Ok(lines)
}

/// Sets a key in a file: in the lines that have it, else in a new one. The file is replaced, so
/// that a reader sees the old or the new one.
pub(super) fn set(path: &Path, name: &str, value: &str) -> Result<(), String> {
    let old = match open(path).and_then(read) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("failed to read {}: {error}", path.display())),
    };
    let known = lines(path, &old).map_err(|error| error.to_string())?;
    let is_this = |line: &&Line<'_>| {
        find(&line.key.to_string_lossy()).is_some_and(|at| KEYS[at].name == name)
    };
    let places: Vec<usize> = known.iter().filter(is_this).map(|line| line.number).collect();
    let setting = format!("{name} = {value}\n");
    let mut text = Vec::new();
    for (at, line) in old.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match places.contains(&(at + 1)) {
            true => text.extend_from_slice(setting.as_bytes()),
            false => text.extend_from_slice(line),
        }
    }
    if places.is_empty() {
        if text.last().is_some_and(|last| *last != b'\n') {
            text.push(b'\n');
        }
        text.extend_from_slice(setting.as_bytes());
    }
    replace(path, &text).map_err(|error| format!("failed to write {}: {error}", path.display()))
}

/// Where the file is a link, what it leads to is replaced.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let beside = path.with_extension(format!("conf.{}.tmp", std::process::id()));
    let write = || {
        let mut file = File::options().write(true).create_new(true).open(&beside)?;
        if let Ok(facts) = fs::metadata(path) {
            file.set_permissions(facts.permissions())?;
        }
        file.write_all(text)?;
        fs::rename(&beside, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&beside)))
}
