//! Which layout a path or a URL has, and opening it.
//!
//! What exists is told by what is in it, never by what it is called; what is to be made, by
//! `--to` or by its name: `.tar` and `.lmdb` say enough.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use larder::cli::command::is_export;

use super::directory::{DirectorySource, DirectoryTarget};
use super::lmdb::{LmdbSource, LmdbTarget};
use super::remote::Remote;
use super::store::{StoreSource, StoreTarget};
use super::tar::{TarSource, TarTarget};
use super::{Fault, Source, Target, fault};
use crate::entry::Family;
use crate::layout::directory::{Shape, is_passing, parse};

/// A layout, as `--from` and `--to` name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// A store of larder.
    Larder,
    /// A cache directory of ccache, of any era.
    Ccache,
    /// A directory of ccache's file storage, `layout=subdirs`.
    CcacheStorage,
    /// The same with `layout=flat`.
    CcacheStorageFlat,
    /// A cache directory of sccache.
    Sccache,
    /// A database of LMDB.
    Lmdb,
    /// An archive.
    Tar,
    /// A server of Redis.
    Redis,
    /// A server of memcached.
    Memcached,
    /// A server of HTTP.
    Http,
    /// A bucket of S3.
    S3,
}

/// The layouts with their names.
pub const LAYOUTS: [(&str, Layout); 11] = [
    ("larder", Layout::Larder),
    ("ccache", Layout::Ccache),
    ("ccache-storage", Layout::CcacheStorage),
    ("ccache-storage-flat", Layout::CcacheStorageFlat),
    ("sccache", Layout::Sccache),
    ("lmdb", Layout::Lmdb),
    ("tar", Layout::Tar),
    ("redis", Layout::Redis),
    ("memcached", Layout::Memcached),
    ("http", Layout::Http),
    ("s3", Layout::S3),
];

impl Layout {
    /// The layout of a name.
    pub fn of_name(name: &str) -> Option<Layout> {
        LAYOUTS.into_iter().find(|(known, _)| *known == name).map(|(_, layout)| layout)
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        LAYOUTS.into_iter().find(|(_, layout)| *layout == self).map_or("", |(name, _)| name)
    }

    /// The layout of a URL; `None` for a path.
    fn of_url(place: &str) -> Option<Layout> {
        let (scheme, _) = place.split_once("://")?;
        match scheme {
            "redis" | "rediss" | "redis+cluster" | "rediss+cluster" | "redis+unix" => {
                Some(Layout::Redis)
            }
            "memcached" => Some(Layout::Memcached),
            "http" | "https" => Some(Layout::Http),
            "s3" => Some(Layout::S3),
            _ => None,
        }
    }
}

/// The magic of a page of LMDB, behind the head of the page.
const LMDB_MAGIC: [u8; 4] = 0xBEEF_C0DE_u32.to_le_bytes();
const LMDB_MAGIC_AT: usize = 16;
/// Where an archive of POSIX says that it is one.
const TAR_MAGIC_AT: usize = 257;
/// How deep, and of how many names, a directory is looked at to tell whose it is.
const LOOK_NAMES_MAX: usize = 4096;

/// The layout of what stands at a path.
///
/// # Errors
/// If there is nothing, or nothing that is known.
pub fn detect(path: &Path) -> Result<Layout, Fault> {
    let shown = path.display();
    let facts = fs::metadata(path).map_err(|error| Fault(format!("{shown}: {error}")))?;
    if facts.is_file() {
        let mut head = Vec::new();
        let read = File::open(path).and_then(|file| file.take(512).read_to_end(&mut head));
        read.map_err(|error| Fault(format!("{shown}: {error}")))?;
        let has = |at: usize, magic: &[u8]| head.get(at..at + magic.len()) == Some(magic);
        return match () {
            () if has(TAR_MAGIC_AT, b"ustar") => Ok(Layout::Tar),
            () if has(LMDB_MAGIC_AT, &LMDB_MAGIC) => Ok(Layout::Lmdb),
            () => fault(format!("{shown} is neither an archive nor a database of LMDB")),
        };
    }
    let is_store = path.join("superblock").is_file() && path.join("log").is_dir();
    if is_store || is_export(path) {
        return Ok(Layout::Larder);
    }
    if path.join("data.mdb").is_file() {
        return Ok(Layout::Lmdb);
    }
    let mut left = LOOK_NAMES_MAX;
    match look(path, "", &mut left, 0) {
        Some(layout) => Ok(layout),
        None => fault(format!(
            "{shown} holds no cache that is known; if it is an empty one, --from says of which tool"
        )),
    }
}

/// The layout by the first file that has an entry's name.
fn look(top: &Path, path: &str, left: &mut usize, depth: usize) -> Option<Layout> {
    let mut names: Vec<_> = fs::read_dir(top.join(path)).ok()?.flatten().collect();
    names.sort_by_key(fs::DirEntry::file_name);
    for name in names {
        *left = left.checked_sub(1)?;
        let text = name.file_name().into_string().ok()?;
        let below = if path.is_empty() { text } else { format!("{path}/{text}") };
        let kind = name.file_type().ok()?;
        let found = match kind.is_dir() {
            true if depth < 5 && !is_passing(&below) => look(top, &below, left, depth + 1),
            true => None,
            false => parse(&below).and_then(|place| match (place.name.family, place.shape) {
                (Family::Sccache | Family::SccachePreprocessor, _) => Some(Layout::Sccache),
                (Family::Larder, _) => None,
                // A tag stands in a file storage, too.
                (Family::File, _) if place.name.text == "CACHEDIR.TAG" => None,
                (_, Shape::Cache) => Some(Layout::Ccache),
                (_, Shape::Subdirs) => Some(Layout::CcacheStorage),
                (_, Shape::Flat) => Some(Layout::CcacheStorageFlat),
            }),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// The layout that a URL or an option says; they must not contradict each other.
fn said(place: &str, wanted: Option<Layout>) -> Result<Option<Layout>, Fault> {
    match (Layout::of_url(place), wanted) {
        (Some(found), Some(wanted)) if found != wanted => {
            let scheme = place.split("://").next().unwrap_or_default();
            fault(format!("{scheme}:// is {}, not {}", found.name(), wanted.name()))
        }
        (found, wanted) => Ok(wanted.or(found)),
    }
}

/// The layout of what is to be written.
///
/// # Errors
/// If nobody knows what it is to be.
pub fn layout_to_write(place: &str, wanted: Option<Layout>) -> Result<Layout, Fault> {
    if let Some(layout) = said(place, wanted)? {
        return Ok(layout);
    }
    let path = Path::new(place);
    let is_empty = fs::read_dir(path).is_ok_and(|mut names| names.next().is_none());
    if path.exists() && !is_empty {
        return detect(path);
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("tar") => Ok(Layout::Tar),
        Some("lmdb" | "mdb") => Ok(Layout::Lmdb),
        _ => fault(format!(
            "{place} does not exist yet, so say what it is to become: --to larder, ccache, \
             sccache, ccache-storage, ccache-storage-flat, lmdb or tar"
        )),
    }
}

/// The layout of what is to be read.
///
/// # Errors
/// If nobody knows what it is.
pub fn layout_to_read(place: &str, wanted: Option<Layout>) -> Result<Layout, Fault> {
    match said(place, wanted)? {
        Some(layout) => Ok(layout),
        None => detect(Path::new(place)),
    }
}

/// The source at a path or URL; `keys` is a file with the names on a server that cannot list them.
///
/// # Errors
/// If it cannot be read, or nobody knows what it is.
pub fn source(
    place: &str,
    layout: Option<Layout>,
    keys: Option<&str>,
) -> Result<Box<dyn Source>, Fault> {
    let path = Path::new(place);
    Ok(match layout_to_read(place, layout)? {
        Layout::Larder => Box::new(StoreSource::open(path)?),
        Layout::Ccache => Box::new(DirectorySource::open(path, "a ccache directory")?),
        Layout::CcacheStorage | Layout::CcacheStorageFlat => {
            Box::new(DirectorySource::open(path, "a file storage of ccache")?)
        }
        Layout::Sccache => Box::new(DirectorySource::open(path, "a sccache directory")?),
        Layout::Lmdb => Box::new(LmdbSource::open(path)?),
        Layout::Tar => Box::new(TarSource::open(path)?),
        Layout::Redis | Layout::Memcached | Layout::Http | Layout::S3 => {
            Box::new(Remote::open(place, keys)?)
        }
    })
}

/// The target of a layout at a path or URL, made if it is missing.
///
/// # Errors
/// If it cannot be written.
pub fn target(
    place: &str,
    layout: Layout,
    max_size_bytes: Option<u64>,
) -> Result<Box<dyn Target>, Fault> {
    let path = Path::new(place);
    Ok(match layout {
        Layout::Larder => Box::new(StoreTarget::open(path, max_size_bytes)?),
        Layout::Ccache => Box::new(DirectoryTarget::of_ccache(path, Shape::Cache)?),
        Layout::CcacheStorage => Box::new(DirectoryTarget::of_ccache(path, Shape::Subdirs)?),
        Layout::CcacheStorageFlat => Box::new(DirectoryTarget::of_ccache(path, Shape::Flat)?),
        Layout::Sccache => Box::new(DirectoryTarget::of_sccache(path)?),
        Layout::Lmdb => Box::new(LmdbTarget::open(path)?),
        Layout::Tar => Box::new(TarTarget::create(path)?),
        Layout::Redis | Layout::Memcached | Layout::Http | Layout::S3 => {
            Box::new(Remote::open(place, None)?)
        }
    })
}
