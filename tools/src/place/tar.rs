//! Archives: a tar of a cache directory, as `tar` itself makes one, or as this writes it.
//!
//! ```text
//! archive = member*          in the order of families, names and labels
//! member  = a regular file; its path is that of layout::directory, below "./" or not
//! ```
//!
//! 1. What is written depends on the entries only: the same ones give the same bytes. Owners are 0
//!    without names, modes and times are those of the entries, 0644 and 1970 where there are none,
//!    and fractions of seconds stand in an extended header (`mtime`).
//! 2. It is written beside its place and renamed when it is whole: a half one is never found, and
//!    there is none to go on with.
//! 3. To read one, the heads of its members are read first, each in its place; the contents later,
//!    by several threads. A compressed archive has to be decompressed before.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tar::{Archive, Builder, EntryType, Header};

use super::directory::FILE_BYTES_MAX;
use super::{
    Fault, Finished, Item, Listed, Outgoing, Presence, Source, Stamp, Target, Trouble, fault,
};
use crate::entry::{Entry, Part, Time};
use crate::layout::directory::{self as layout, Shape, is_passing};

/// What an archive consists of.
const BLOCK_BYTES: u64 = 512;

/// Where a member's contents stand.
#[derive(Clone, Copy, Debug)]
struct Found {
    at: u64,
    bytes: u64,
    modified: Time,
    mode: u16,
}

/// An archive that is read.
pub struct TarSource {
    file: File,
    items: Vec<Item>,
    parts: Vec<Vec<Found>>,
    strangers: Vec<String>,
    passing: u64,
    /// Behind the last member.
    members_end: u64,
    /// Why the archive could not be read further than to here.
    end: Option<String>,
}

impl TarSource {
    /// The archive at a path.
    ///
    /// # Errors
    /// If it cannot be read, or is none.
    pub fn open(path: &Path) -> Result<TarSource, Fault> {
        let failed = |error: std::io::Error| Fault(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let mut source = TarSource {
            file: file.try_clone().map_err(failed)?,
            items: Vec::new(),
            parts: Vec::new(),
            strangers: Vec::new(),
            passing: 0,
            members_end: 0,
            end: None,
        };
        let mut archive = Archive::new(BufReader::new(file));
        match source.read_heads(&mut archive) {
            // What stands before is whole.
            Ok(()) if !source.has_end().map_err(failed)? => {
                Ok(TarSource { end: Some("it has no end".to_owned()), ..source })
            }
            Err(error) if source.items.is_empty() => Err(failed(error)),
            Err(error) => Ok(TarSource { end: Some(error.to_string()), ..source }),
            Ok(()) => Ok(source),
        }
    }

    /// Whether a block of zeros stands behind the last member: else some may be missing.
    fn has_end(&self) -> std::io::Result<bool> {
        let mut block = [1; BLOCK_BYTES as usize];
        match self.file.read_exact_at(&mut block, self.members_end) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            other => other.map(|()| block.iter().all(|byte| *byte == 0)),
        }
    }

    fn read_heads(&mut self, archive: &mut Archive<BufReader<File>>) -> std::io::Result<()> {
        let mut places = BTreeMap::new();
        for member in archive.entries_with_seek()? {
            let mut member = member?;
            let end = member.raw_file_position().saturating_add(member.size());
            self.members_end = end.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES);
            let path = String::from_utf8_lossy(&member.path_bytes()).into_owned();
            let path = path.trim_start_matches("./").trim_end_matches('/');
            if member.header().entry_type() == EntryType::Directory || path == "." {
                continue;
            }
            let place = match layout::parse(path) {
                Some(place) if member.header().entry_type() == EntryType::Regular => place,
                _ if is_passing(path) => {
                    self.passing += 1;
                    continue;
                }
                _ => {
                    self.strangers.push(path.to_owned());
                    continue;
                }
            };
            let found = Found {
                at: member.raw_file_position(),
                bytes: member.size(),
                modified: time_of(&mut member)?,
                mode: (member.header().mode()? & 0o7777) as u16,
            };
            let number = *places.entry((place.name.clone(), place.level)).or_insert_with(|| {
                self.items.push(Item {
                    name: place.name,
                    level: (place.shape == Shape::Cache).then_some(place.level),
                    labels: Vec::new(),
                    at: self.items.len() as u64,
                    place: String::new(),
                });
                self.parts.push(Vec::new());
                self.items.len() - 1
            });
            // Of two members of one path the later counts, as it does for tar.
            let labels = &mut self.items[number].labels;
            match labels.iter().position(|label| *label == place.label) {
                Some(at) => self.parts[number][at] = found,
                None => {
                    labels.push(place.label);
                    self.parts[number].push(found);
                }
            }
        }
        Ok(())
    }
}

fn damaged((what, why): (String, &String)) -> (String, Trouble) {
    (what, Trouble::Damaged(format!("the archive cannot be read to its end: {why}")))
}

/// When a member was modified, with the fraction that an extended header has.
fn time_of<R: std::io::Read>(member: &mut tar::Entry<'_, R>) -> std::io::Result<Time> {
    let mut time = Time { secs: member.header().mtime()? as i64, nanos: 0 };
    let extensions = member.pax_extensions()?;
    for extension in extensions.into_iter().flatten().flatten() {
        if extension.key_bytes() == b"mtime"
            && let Some(exact) = extension.value().ok().and_then(parse_time)
        {
            time = exact;
        }
    }
    Ok(time)
}

/// A time as an extended header writes it: seconds, and perhaps a fraction.
fn parse_time(text: &str) -> Option<Time> {
    let (secs, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let is_below = text.starts_with('-');
    let (secs, nanos): (i64, u32) = (secs.parse().ok()?, digits.parse().ok()?);
    Some(match (is_below, nanos) {
        (true, 1..) => Time { secs: secs - 1, nanos: 1_000_000_000 - nanos },
        _ => Time { secs, nanos },
    })
}

fn time_text(time: Time) -> String {
    match (time.secs < 0, time.nanos) {
        (true, 1..) => {
            let secs = time.secs + 1;
            let sign = if secs == 0 { "-" } else { "" };
            format!("{sign}{secs}.{:09}", 1_000_000_000 - time.nanos)
        }
        _ => format!("{}.{:09}", time.secs, time.nanos),
    }
}

impl Source for TarSource {
    fn kind(&self) -> &'static str {
        "an archive (tar)"
    }

    fn list(&self, _: usize) -> Result<Listed, Fault> {
        Ok(Listed {
            items: self.items.clone(),
            strangers: self.strangers.clone(),
            passing: self.passing,
            troubles: self
                .end
                .iter()
                .map(|why| ("the rest".to_owned(), why))
                .map(damaged)
                .collect(),
        })
    }

    fn stamp(&self, item: &Item) -> Option<Stamp> {
        let parts = self.parts.get(item.at as usize)?;
        let main = parts.iter().zip(&item.labels);
        let main = main.filter(|(_, label)| !crate::layout::is_raw(item.name.family, label));
        Some(Stamp {
            bytes: parts.iter().map(|part| part.bytes).sum(),
            modified: main.map(|(part, _)| part.modified).max(),
        })
    }

    fn read(&self, item: &Item) -> Result<Entry, Trouble> {
        let failed = |error: std::io::Error| Trouble::Failed(error.to_string());
        let found = self.parts.get(item.at as usize).ok_or(Trouble::Gone)?;
        let length = self.file.metadata().map_err(failed)?.len();
        let mut parts = Vec::with_capacity(found.len());
        for (found, label) in found.iter().zip(&item.labels) {
            if found.bytes > FILE_BYTES_MAX {
                return Err(Trouble::TooLarge(format!("it has {} bytes", found.bytes)));
            }
            if found.at.saturating_add(found.bytes) > length {
                return Err(Trouble::Damaged("the archive ends in the middle of it".to_owned()));
            }
            let mut bytes = vec![0; found.bytes as usize];
            self.file.read_exact_at(&mut bytes, found.at).map_err(failed)?;
            let (modified, mode) = (Some(found.modified), Some(found.mode));
            parts.push(Part { label: label.clone(), bytes, modified, mode });
        }
        parts.sort_by(|a, b| a.label.cmp(&b.label));
        Ok(Entry { name: item.name.clone(), level: item.level, parts })
    }
}

/// An archive that is written.
pub struct TarTarget {
    path: PathBuf,
    beside: PathBuf,
    builder: Mutex<Option<Builder<BufWriter<File>>>>,
}

impl TarTarget {
    /// An archive at a path, in place of what is there, when it is whole.
    ///
    /// # Errors
    /// If no file can be made there.
    pub fn create(path: &Path) -> Result<TarTarget, Fault> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        if name.is_empty() || path.is_dir() {
            return fault(format!("{} is no name for an archive", path.display()));
        }
        name.push(format!(".{}.part", std::process::id()));
        let beside = path.with_file_name(name);
        // What another process has left there, or put there, is none of ours.
        let _ = std::fs::remove_file(&beside);
        let file = File::create_new(&beside)
            .map_err(|error| Fault(format!("{}: {error}", beside.display())))?;
        let builder = Builder::new(BufWriter::with_capacity(1 << 20, file));
        Ok(TarTarget { path: path.to_owned(), beside, builder: Mutex::new(Some(builder)) })
    }

    fn failed(&self, error: &std::io::Error) -> Fault {
        Fault(format!("{}: {error}", self.beside.display()))
    }
}

impl Drop for TarTarget {
    fn drop(&mut self) {
        // Once it is whole it stands in its place.
        let _ = std::fs::remove_file(&self.beside);
    }
}

fn append(builder: &mut Builder<impl Write>, entry: &Entry) -> std::io::Result<()> {
    for part in &entry.parts {
        let shape = if entry.level.is_some() { Shape::Cache } else { shape_without_level(entry) };
        let path = layout::path(shape, &entry.name, entry.level, &part.label);
        let time = part.modified.unwrap_or_default();
        if time.nanos != 0 || time.secs < 0 {
            let text = time_text(time);
            builder.append_pax_extensions([("mtime", text.as_bytes())])?;
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_size(part.bytes.len() as u64);
        header.set_mode(u32::from(part.mode.unwrap_or(0o644)));
        header.set_mtime(u64::try_from(time.secs).unwrap_or_default());
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, path, &part.bytes[..])?;
    }
    Ok(())
}

/// An entry of ccache that stood in a file storage stands in one in the archive.
fn shape_without_level(entry: &Entry) -> Shape {
    use crate::entry::Family;
    match entry.name.family {
        Family::Ccache | Family::Ccache40 => Shape::Subdirs,
        _ => Shape::Cache,
    }
}

impl Target for TarTarget {
    fn is_ordered(&self) -> bool {
        true
    }

    fn has(&self, _: &Item, _: &dyn Fn() -> Option<Stamp>) -> Result<Presence, Fault> {
        Ok(Presence::Absent)
    }

    fn write(&self, batch: &[Outgoing]) -> Result<Vec<Result<(), Trouble>>, Fault> {
        let mut builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(builder) = builder.as_mut() else { return fault("the archive is closed") };
        for outgoing in batch {
            append(builder, &outgoing.entry).map_err(|error| self.failed(&error))?;
        }
        Ok(vec![Ok(()); batch.len()])
    }

    fn finish(&self) -> Result<Finished, Fault> {
        let builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(builder) = builder else { return Ok(Finished::default()) };
        let done = builder.into_inner().and_then(|buffered| {
            let file = buffered.into_inner().map_err(|error| error.into_error())?;
            file.sync_all()?;
            std::fs::rename(&self.beside, &self.path)
        });
        done.map_err(|error| self.failed(&error))?;
        Ok(Finished::default())
    }
}
