//! Servers: what ccache and sccache keep on Redis, memcached, HTTP and S3.
//!
//! 1. The clients are those of larder's remote tiers, with all their attributes; entries are
//!    objects under the names that their tools give them. `prefix=` stands before each.
//! 2. Names are asked of the server: SCAN, `lru_crawler metadump`, PROPFIND, ListObjectsV2. A
//!    server that cannot list is told the names by `--keys`.
//! 3. A server has no times but memcached, which says when an item was last asked for. Two entries
//!    of one name are taken for the same; `--overwrite` writes them again.
//! 4. On memcached a value of ccache 3 may stand in chunks; a chunk is no entry of its own.

use std::fs;

use larder::tier::{Object, Objects, TierError, TierErrorKind, TierSettings};

use super::{Fault, Item, Listed, Outgoing, Presence, Source, Stamp, Target, Trouble, fault};
use crate::entry::{Entry, Family, Part, Time};
use crate::layout::cch1::{self, CHUNK_BYTES, Chunks};
use crate::layout::remote::{self, HttpLayout, SCCACHE_CHECK, Server};

/// A value in chunks is no longer than this.
const CHUNKED_BYTES_MAX: u64 = 1 << 30;

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
        let (mut layout, mut words) = (HttpLayout::default(), Vec::new());
        for word in text.split('|') {
            match word.strip_prefix("layout=") {
                Some("subdirs") => layout = HttpLayout::Subdirs,
                Some("flat") => layout = HttpLayout::Flat,
                Some("bazel") => layout = HttpLayout::Bazel,
                Some(other) => {
                    return fault(format!("layout={other}: it is subdirs, flat or bazel"));
                }
                None => words.push(word),
            }
        }
        // What larder's own results stand under is of no use to other tools.
        if !words.iter().any(|word| word.starts_with("prefix=")) {
            words.push("prefix=");
        }
        let settings = TierSettings::parse(&words.join("|")).map_err(Fault)?;
        let server = match settings.scheme() {
            "redis" => Server::Redis,
            "memcached" => Server::Memcached,
            "http" => Server::Http(layout),
            "s3" => Server::S3,
            other => return fault(format!("{other} is no server of another tool")),
        };
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
            let chunk = self.objects.get(key).map_err(trouble)?;
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
        if entry.name.family != Family::Ccache3 {
            return self.objects.put(&name, &entry.parts[0].bytes).map_err(trouble);
        }
        let value = cch1::encode(entry);
        if value.len() <= CHUNK_BYTES {
            return self.objects.put(&name, &value).map_err(trouble);
        }
        let (list, chunks) = Chunks::encode(&value);
        for (key, chunk) in chunks {
            self.objects.put(&key, chunk).map_err(trouble)?;
        }
        self.objects.put(&name, &list).map_err(trouble)
    }
}

fn trouble(error: TierError) -> Trouble {
    match error.kind() {
        TierErrorKind::TooLarge => Trouble::TooLarge(error.to_string()),
        _ => Trouble::Failed(error.to_string()),
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

/// What ends the work: a server that is not there.
fn is_fatal(error: &TierError) -> bool {
    error.is_of_the_tier() || error.kind() == TierErrorKind::Denied
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
            None => self.objects.list(&mut see).map_err(|error| {
                Fault(format!("{error}; --keys FILE tells the names where a server does not"))
            })?,
        }
        Ok(listed)
    }

    fn read(&self, item: &Item) -> Result<Entry, Trouble> {
        let name = &item.place;
        let value = self.objects.get(name).map_err(trouble)?.ok_or(Trouble::Gone)?;
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
            Err(error) => fault(error.to_string()),
        }
    }

    fn write(&self, batch: &[Outgoing]) -> Result<Vec<Result<(), Trouble>>, Fault> {
        let mut done = Vec::with_capacity(batch.len());
        for Outgoing { entry, .. } in batch {
            let put = self.put(entry);
            if let Err(Trouble::Failed(_)) = &put
                && let Err(error) = self.objects.exists(".larder-convert")
                && is_fatal(&error)
            {
                return fault(error.to_string());
            }
            done.push(put);
        }
        Ok(done)
    }
}
