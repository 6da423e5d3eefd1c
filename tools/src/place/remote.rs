//! Servers: what ccache and sccache keep on Redis, memcached, HTTP and S3.
//!
//! 1. The clients are those of larder's remote tiers, with all their attributes; entries are
//!    objects under the names that their tools give them. `prefix=` stands before each.
//! 2. Names are asked of the server: SCAN, `lru_crawler metadump`, PROPFIND, ListObjectsV2. A
//!    server that cannot list is told the names by `--keys`.
//! 3. A server has no times but memcached, which says when an item was last asked for. Two entries
//!    of one name are taken for the same; `--overwrite` writes them again.
//! 4. On memcached a value of ccache 3 may stand in chunks; a chunk is no entry of its own. Chunks
//!    are written before what leads to them.
//! 5. Where a call fails, another one shows whether the server is still there. If not, the work
//!    ends, with what is written by then.

use std::fs;

use larder::ccache_entry::Entry as Container;
use larder::tier::{Object, Objects, TierError, TierErrorKind, TierSettings};

use super::{Fault, Item, Listed, Outgoing, Presence, Source, Stamp, Target, Trouble, fault};
use crate::entry::{Entry, Family, Part, Time};
use crate::layout::cch1::{self, CHUNK_BYTES, Chunks};
use crate::layout::check::REAL_BYTES_MAX;
use crate::layout::remote::{self, HttpLayout, SCCACHE_CHECK, Server};

/// A value in chunks is no longer than this.
const CHUNKED_BYTES_MAX: u64 = 1 << 30;
/// What is asked for to see whether a server is there.
const PROBE: &str = ".larder-convert";
/// What a tier does not have in a build holds here: entries of hundreds of megabytes, and nobody
/// who waits for a compiler.
const PATIENCE: [(&str, &str); 2] = [("timeout", "60000"), ("connect-timeout", "5000")];

/// A server, to be read or written.
pub struct Remote {
    server: Server,
    objects: Box<dyn Objects>,
    keys: Option<Vec<String>>,
}

impl Remote {
    /// The server that a text names as a tier's would: a URL and attributes. `layout=` is that of
    /// ccache on HTTP; `keys` is a file with a name on each line.
    ///
    /// # Errors
    /// If the text names none.
    pub fn open(text: &str, keys: Option<&str>) -> Result<Remote, Fault> {
        let (mut layout, mut words) = (None, Vec::new());
        for word in text.split('|') {
            match word.strip_prefix("layout=") {
                Some("subdirs") => layout = Some(HttpLayout::Subdirs),
                Some("flat") => layout = Some(HttpLayout::Flat),
                Some("bazel") => layout = Some(HttpLayout::Bazel),
                Some(other) => {
                    return fault(format!("layout={other}: it is subdirs, flat or bazel"));
                }
                None => words.push(word.to_owned()),
            }
        }
        // What larder's own results stand under is of no use to other tools.
        for (name, value) in [("prefix", "")].into_iter().chain(PATIENCE) {
            if !words.iter().any(|word| word.split('=').next() == Some(name)) {
                words.push(format!("{name}={value}"));
            }
        }
        let settings = TierSettings::parse(&words.join("|")).map_err(Fault)?;
        let server = match settings.scheme() {
            "redis" => Server::Redis,
            "memcached" => Server::Memcached,
            "http" => Server::Http(layout.unwrap_or_default()),
            "s3" => Server::S3,
            other => return fault(format!("{other} is no server of another tool")),
        };
        if layout.is_some() && !matches!(server, Server::Http(_)) {
            return fault("layout= is for http:// and https://");
        }
        let keys = keys.map(fs::read_to_string).transpose();
        let keys = keys.map_err(|error| Fault(format!("--keys: {error}")))?;
        let keys = keys.map(|text| text.lines().map(str::to_owned).collect());
        let objects = settings.open_objects().map_err(|error| Fault(error.to_string()))?;
        Ok(Remote { server, objects, keys })
    }

    /// The value of an item that may stand in chunks.
    fn joined(&self, name: &str, value: Vec<u8>) -> Result<Vec<u8>, Trouble> {
        if Chunks::is_of(name, &value) {
            return Err(Trouble::Passing);
        }
        if !cch1::is_chunked(&value) {
            return Ok(value);
        }
        let chunks = Chunks::decode(&value, CHUNKED_BYTES_MAX)?;
        let mut whole = Vec::new();
        for (key, bytes) in &chunks.keys {
            let chunk = self.objects.get(key).map_err(|error| self.trouble(error))?;
            let chunk = chunk.ok_or_else(|| Trouble::Damaged("a chunk is missing".to_owned()))?;
            if chunk.len() as u64 != *bytes || !Chunks::is_of(key, &chunk) {
                return Err(Trouble::Damaged("a chunk is another one than it says".to_owned()));
            }
            whole.extend(chunk);
        }
        Ok(whole)
    }

    fn put(&self, entry: &Entry) -> Result<(), Trouble> {
        let name = remote::name_on(self.server, &entry.name);
        let name = name.ok_or(Trouble::NoPlace("entries that have no name on this server"))?;
        let store = |name: &str, value: &[u8]| {
            self.objects.put(name, value).map_err(|error| match error.kind() {
                // Nothing else may be written, either.
                TierErrorKind::Denied => Trouble::Lost(Fault(error.to_string())),
                _ => self.trouble(error),
            })
        };
        if entry.name.family != Family::Ccache3 {
            return store(&name, &entry.parts[0].bytes);
        }
        let value = cch1::encode(entry);
        if value.len() <= CHUNK_BYTES {
            return store(&name, &value);
        }
        if value.len() as u64 > CHUNKED_BYTES_MAX {
            return Err(Trouble::TooLarge(format!("in chunks it has {} bytes", value.len())));
        }
        let (list, chunks) = Chunks::encode(&value);
        for (key, chunk) in chunks {
            store(&key, chunk)?;
        }
        store(&name, &list)
    }

    /// What a call that failed means for its entry, or for the work.
    fn trouble(&self, error: TierError) -> Trouble {
        if error.kind() == TierErrorKind::TooLarge {
            return Trouble::TooLarge(error.to_string());
        }
        match self.objects.exists(PROBE) {
            Err(after) if is_fatal(after.kind()) => Trouble::Lost(Fault(after.to_string())),
            _ => Trouble::Failed(error.to_string()),
        }
    }
}

/// The parts of an entry, as far as its name tells: whether it is a result or a manifest, and which
/// files ccache 3 had, its value says.
fn labels(family: Family) -> Vec<String> {
    match family {
        Family::Ccache3 | Family::Ccache40 => Vec::new(),
        _ => vec![String::new()],
    }
}

/// Whether an entry says that a ccache has made it that calls it otherwise. What is damaged is
/// found to be so later.
fn is_before_413(bytes: &[u8]) -> bool {
    let Ok(container) = Container::check(bytes, REAL_BYTES_MAX) else { return false };
    // Before 4.5 it did not say who it was.
    let Some(origin) = container.origin else { return true };
    let version = String::from_utf8_lossy(&origin.ccache_version).into_owned();
    let mut numbers = version.split('.').map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(4)), Some(Ok(minor))) if minor < 13)
}

/// What ends the work: a server that is not there. One that does not like a name is.
fn is_fatal(kind: TierErrorKind) -> bool {
    use TierErrorKind::{Denied, PartUnreachable, TimedOut, Unreachable};
    matches!(kind, Unreachable | PartUnreachable | TimedOut | Denied)
}

impl Source for Remote {
    fn kind(&self) -> &'static str {
        match self.server {
            Server::Redis => "a server of Redis",
            Server::Memcached => "a server of memcached",
            Server::Http(_) => "a server of HTTP",
            Server::S3 => "a bucket of S3",
        }
    }

    fn list(&self, _: usize) -> Result<Listed, Fault> {
        let mut listed = Listed::default();
        let mut see = |object: Object| match remote::parse(self.server, &object.name) {
            Some(name) => listed.items.push(Item {
                labels: labels(name.family),
                name,
                level: None,
                at: object.used_secs.unwrap_or_default(),
                place: object.name,
            }),
            None if object.name.ends_with(SCCACHE_CHECK) => listed.passing += 1,
            None => listed.strangers.push(object.name),
        };
        match &self.keys {
            Some(keys) => keys.iter().for_each(|name| see(Object::named(name))),
            None => self.objects.list(&mut see).map_err(|error| match error.kind() {
                TierErrorKind::Protocol | TierErrorKind::Denied => {
                    Fault(format!("{error}; --keys FILE tells the names where a server does not"))
                }
                _ => Fault(error.to_string()),
            })?,
        }
        Ok(listed)
    }

    fn read(&self, item: &Item) -> Result<Entry, Trouble> {
        let name = &item.place;
        let value = self.objects.get(name).map_err(|error| self.trouble(error))?;
        let value = value.ok_or(Trouble::Gone)?;
        let used = i64::try_from(item.at).ok().filter(|secs| *secs != 0);
        let modified = used.map(|secs| Time { secs, nanos: 0 });
        let mut entry = match item.name.family {
            Family::Ccache3 => cch1::decode(item.name.clone(), &self.joined(name, value)?)?,
            _ => {
                let part = Part { label: String::new(), bytes: value, modified: None, mode: None };
                Entry { name: item.name.clone(), level: None, parts: vec![part] }
            }
        };
        entry.parts.iter_mut().for_each(|part| part.modified = modified);
        if name.starts_with("ac/") && is_before_413(&entry.parts[0].bytes) {
            entry.name = remote::as_before_413(&entry.name);
        }
        Ok(entry)
    }
}

impl Target for Remote {
    fn has(&self, item: &Item, _: &dyn Fn() -> Option<Stamp>) -> Result<Presence, Fault> {
        let Some(name) = remote::name_on(self.server, &item.name) else {
            return Ok(Presence::Absent);
        };
        match self.objects.exists(&name) {
            Ok(true) => Ok(Presence::Same),
            Ok(false) => Ok(Presence::Absent),
            Err(error) if error.kind() == TierErrorKind::Denied => {
                fault(format!("{error}; --overwrite does not ask what is there"))
            }
            Err(error) => fault(error.to_string()),
        }
    }

    fn write(&self, batch: &[Outgoing]) -> Result<Vec<Result<(), Trouble>>, Fault> {
        let mut done = Vec::with_capacity(batch.len());
        for Outgoing { entry, .. } in batch {
            match self.put(entry) {
                Err(Trouble::Lost(fault)) => return Err(fault),
                put => done.push(put),
            }
        }
        Ok(done)
    }
}
