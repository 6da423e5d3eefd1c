//! `--inspect`, `--extract-result`, `--hash-file` and `--checksum-file`.
//!
//! 1. An entry is taken apart and checked as a whole before the first word of it is printed and the
//!    first file written.
//! 2. What is extracted goes to `ccache-result.SUFFIX` in the current directory, where the suffix
//!    is this program's, whatever the entry says. It is written beside and renamed: a link of that
//!    name is replaced, not followed.
//! 3. Texts of an entry reach the terminal without control characters.
//! 4. A key of larder's own store, 64 hexadecimal digits, does as well as a file of that name.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process;

use larder_engine::checksum::Pieces128;
use larder_engine::{Key, Record};

use super::super::command::{Failure, print};
use crate::ccache_entry::name::raw_files;
use crate::ccache_entry::{
    Compression, Entry, Info, Kind, Manifest, StoredFile, Wrong, stored_files,
};

/// More than this is not decompressed: an entry is read into memory as a whole.
pub const CONTENTS_BYTES_MAX: u64 = 1 << 30;
/// A file is read in pieces of this length.
const PIECE_BYTES: usize = 1 << 20;
/// Length of a digest in bytes.
const DIGEST_BYTES: usize = 20;
/// What extracted files are called, before the dot.
const EXTRACTED: &str = "ccache-result";

fn failed(path: &Path, what: &str, why: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!("failed to {what} {}: {why}", path.display()))
}

/// A file or, for `-`, what comes on stdin; never more than an entry may have.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = CONTENTS_BYTES_MAX + 1;
    let count = open(path).and_then(|source| source.take(limit).read_to_end(&mut bytes));
    match count {
        Ok(count) if count as u64 == limit => Err(failed(path, "read", "it is too large")),
        Ok(_) => Ok(bytes),
        Err(error) => Err(failed(path, "read", super::plain(&error))),
    }
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    match path == Path::new("-") {
        true => Ok(Box::new(io::stdin())),
        false => Ok(Box::new(File::open(path)?)),
    }
}

fn read_pieces(path: &Path, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut source = open(path)?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match source.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => take(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Prints the first 20 bytes of a file's BLAKE3.
pub fn hash_file(path: &Path) -> Result<(), Failure> {
    let mut hasher = blake3::Hasher::new();
    read_pieces(path, |piece| {
        hasher.update(piece);
    })
    .map_err(|error| failed(path, "hash", super::plain(&error)))?;
    print(&format!("{}\n", hex(&hasher.finalize().as_bytes()[..DIGEST_BYTES])))
}

/// Prints the XXH3-128 of a file.
pub fn checksum_file(path: &Path) -> Result<(), Failure> {
    let mut pieces = Pieces128::default();
    read_pieces(path, |piece| pieces.update(piece))
        .map_err(|error| failed(path, "checksum", super::plain(&error)))?;
    print(&format!("{:032x}\n", pieces.finish()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes of an entry as text that does nothing to a terminal.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A key of larder's own store.
pub fn own_key(word: &Path) -> Option<Key> {
    Key::from_hex(word.to_str().filter(|_| !word.exists())?)
}

fn wrong(path: &Path, wrong: &Wrong) -> Failure {
    let name = if path == Path::new("-") { Path::new("the input") } else { path };
    Failure::Failed(format!("{} cannot be read as an entry of ccache: {wrong}", name.display()))
}

/// Prints what an entry says.
pub fn inspect(path: &Path) -> Result<(), Failure> {
    let bytes = read(path)?;
    print(&description(&bytes).map_err(|why| wrong(path, &why))?)
}

/// What an entry says, in lines.
///
/// # Errors
/// If it is none, or damaged.
pub fn description(bytes: &[u8]) -> Result<String, Wrong> {
    let entry = Entry::decode(bytes, CONTENTS_BYTES_MAX)?;
    let mut text = header(&entry);
    match entry.kind {
        Kind::Result => {
            let (version, files) = stored_files(&entry)?;
            let _ = writeln!(text, "Result format version: {version}");
            let _ = writeln!(text, "Number of files: {}", files.len());
            for (at, file) in files.iter().enumerate() {
                let place = if file.range.is_some() { "Embedded" } else { "Raw" };
                let (label, bytes) = (file.label(), file.bytes);
                let _ = writeln!(text, "{place} file #{at}: {label} ({bytes} bytes)");
            }
        }
        Kind::Manifest => describe_manifest(&mut text, &Manifest::decode(&entry)?),
    }
    Ok(text)
}

fn header(entry: &Entry) -> String {
    let magic = match entry.origin {
        Some(_) => hex(&entry.magic),
        None => shown(&entry.magic),
    };
    let kind = match entry.kind {
        Kind::Result => "0 (result)",
        Kind::Manifest => "1 (manifest)",
    };
    let compression = match entry.compression {
        Compression::None => "none",
        Compression::Zstd => "zstd",
    };
    let mut text = format!(
        "Magic: {magic}\nEntry format version: {}\nEntry type: {kind}\n\
         Compression type: {compression}\nCompression level: {}\n",
        entry.version, entry.level
    );
    if let Some(origin) = &entry.origin {
        if let Some(is) = origin.self_contained {
            let _ = writeln!(text, "Self-contained: {}", if is { "yes" } else { "no" });
        }
        let _ = writeln!(text, "Creation time: {}", origin.created_secs);
        let _ = writeln!(text, "Ccache version: {}", shown(&origin.ccache_version));
        let _ = writeln!(text, "Namespace: {}", shown(&origin.namespace));
    }
    let _ = writeln!(text, "Entry size: {}", entry.real_bytes);
    text
}

fn describe_manifest(text: &mut String, manifest: &Manifest) {
    let _ = writeln!(text, "Manifest format version: {}", manifest.version);
    let _ = writeln!(text, "File paths ({}):", manifest.paths.len());
    for (at, path) in manifest.paths.iter().enumerate() {
        let _ = writeln!(text, "  {at}: {}", shown(path));
    }
    let _ = writeln!(text, "File infos ({}):", manifest.infos.len());
    for (at, Info { path, digest, bytes, modified, changed }) in manifest.infos.iter().enumerate() {
        let time = |time: &i64| match time {
            0 => "-".to_owned(),
            time => time.to_string(),
        };
        let _ = writeln!(
            text,
            "  {at}:\n    Path index: {path}\n    Hash: {}\n    File size: {bytes}\n    \
             Mtime: {}\n    Ctime: {}",
            hex(digest),
            time(modified),
            time(changed)
        );
    }
    let _ = writeln!(text, "Results ({}):", manifest.results.len());
    for (at, (needs, key)) in manifest.results.iter().enumerate() {
        let needs: String = needs.iter().map(|need| format!(" {need}")).collect();
        let key = hex(key);
        let _ = writeln!(text, "  {at}:\n    File info indexes:{needs}\n    Key: {key}");
    }
}

/// Writes the files of a result to the current directory.
pub fn extract(path: &Path) -> Result<(), Failure> {
    let bytes = read(path)?;
    let as_failure = |why: Wrong| wrong(path, &why);
    let entry = Entry::decode(&bytes, CONTENTS_BYTES_MAX).map_err(as_failure)?;
    let (_, files) = stored_files(&entry).map_err(as_failure)?;
    // Everything is at hand before anything is written.
    let mut found = Vec::new();
    for (at, file) in files.iter().enumerate() {
        found.push(match &file.range {
            Some(range) => entry.contents[range.clone()].to_vec(),
            None => raw_file(path, at, file)?,
        });
    }
    for (file, bytes) in files.iter().zip(&found) {
        write_beside(&PathBuf::from(format!("{EXTRACTED}.{}", file.suffix())), bytes)?;
    }
    Ok(())
}

/// A file that stands beside its result: the length is all that can be checked.
fn raw_file(result: &Path, at: usize, file: &StoredFile) -> Result<Vec<u8>, Failure> {
    let places = raw_files(result, at);
    let is_whole = |place: &&PathBuf| {
        fs::symlink_metadata(place).is_ok_and(|data| data.is_file() && data.len() == file.bytes)
    };
    match places.iter().find(is_whole) {
        Some(place) => read(place),
        None => {
            let (label, bytes) = (file.label(), file.bytes);
            let what = format!("{label} of {bytes} bytes is not beside it");
            Err(failed(result, "extract", what))
        }
    }
}

fn write_beside(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let beside = PathBuf::from(format!("{}.{}.tmp", path.display(), process::id()));
    // What a killed process of this number left goes.
    let _ = fs::remove_file(&beside);
    let mut options = File::options();
    let written = options.write(true).create_new(true).open(&beside).and_then(|mut file| {
        io::Write::write_all(&mut file, bytes)?;
        fs::rename(&beside, path)
    });
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        failed(path, "write", super::plain(&error))
    })
}

/// Prints what a record of larder's own store says.
pub fn inspect_record(record: &Record) -> Result<(), Failure> {
    let kind = record.kind().map_or("unknown".to_owned(), |kind| format!("{kind:?}"));
    let mut text = format!(
        "Key: {}\nEntry type: {}\nCreation time: {}\nNamespace: {}\nNumber of sections: {}\n",
        hex(record.key().as_bytes()),
        kind.to_lowercase(),
        record.created_secs(),
        shown(record.namespace().as_bytes()),
        record.sections().len()
    );
    for (at, section) in record.sections().iter().enumerate() {
        let kind = section.kind.map_or("unknown", |kind| kind.name());
        let (bytes, stored) = (section.real_bytes, section.stored_bytes);
        let _ = writeln!(text, "Section #{at}: {kind} ({bytes} bytes, {stored} stored)");
    }
    print(&text)
}

/// Writes the sections of a record of larder's own store to the current directory.
pub fn extract_record(record: &Record) -> Result<(), Failure> {
    let mut found = Vec::new();
    for at in 0..record.sections().len() {
        found.push(record.read(at)?);
    }
    for (at, bytes) in found.iter().enumerate() {
        let kind = record.sections()[at].kind.map_or("unknown", |kind| kind.name());
        // Several sections may be of one kind, named files are.
        write_beside(&PathBuf::from(format!("{EXTRACTED}.{at}.{kind}")), bytes)?;
    }
    Ok(())
}
