//! What there is to say of one entry, whatever layout it has: for people, and as JSON.

use larder::calendar;
use larder::ccache_entry::{Compression, Entry as Container, Kind, Manifest, stored_files};
use larder::cli::json::Object;
use larder::stats::size;
use larder_engine::checksum::xxh3_128;
use larder_engine::{Record, SectionInfo, SectionKind};

use crate::layout::check::{REAL_BYTES_MAX, gunzip_check};
use crate::layout::foreign;
use crate::layout::sccache::{Preprocessor, members};
use crate::layout::wrong::Wrong;

/// A fact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
    /// A length in bytes.
    Bytes(u64),
    /// A moment, in seconds since 1970.
    Moment(i64),
    /// Yes or no.
    Switch(bool),
}

/// A part of an entry that can be had on its own.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Section {
    /// What it is.
    pub kind: String,
    /// Its name, or what is known of the file.
    pub name: String,
    /// Length in bytes; `None` where it is not known without decompressing.
    pub bytes: Option<u64>,
    /// Bytes as stored.
    pub stored: u64,
    /// Permission bits.
    pub mode: Option<u32>,
    /// Its checksum, with what it is.
    pub checksum: Option<String>,
    /// What is wrong with it.
    pub damage: Option<String>,
}

/// What is said of an entry.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Shown {
    /// What it is: "a result of ccache".
    pub what: String,
    /// Facts, each with its name as JSON has it.
    pub facts: Vec<(&'static str, Value)>,
    /// Its sections.
    pub sections: Vec<Section>,
    /// Longer lists, line by line, by name.
    pub lists: Vec<(&'static str, Vec<String>)>,
}

impl Shown {
    fn of(what: &str) -> Shown {
        Shown { what: what.to_owned(), ..Shown::default() }
    }

    fn fact(&mut self, name: &'static str, value: Value) {
        self.facts.push((name, value));
    }

    /// Whether anything is damaged.
    pub fn is_damaged(&self) -> bool {
        self.sections.iter().any(|section| section.damage.is_some())
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.what);
        for (name, value) in &self.facts {
            let value = match value {
                Value::Text(value) => printable(value),
                Value::Number(value) => value.to_string(),
                Value::Bytes(bytes) if *bytes < 1024 => format!("{bytes} bytes"),
                Value::Bytes(bytes) => format!("{bytes} bytes ({})", size(*bytes)),
                Value::Moment(secs) => moment(*secs),
                Value::Switch(value) => if *value { "yes" } else { "no" }.to_owned(),
            };
            text.push_str(&format!("  {:17} {value}\n", format!("{}:", name.replace('_', " "))));
        }
        for (at, section) in self.sections.iter().enumerate() {
            let bytes = section.bytes.map_or("?".to_owned(), |bytes| bytes.to_string());
            let mode = section.mode.map_or(String::new(), |mode| format!("  mode {mode:04o}"));
            let check =
                section.checksum.as_ref().map_or(String::new(), |check| format!("  {check}"));
            text.push_str(&format!(
                "  section {at}: {} {}  {bytes} bytes, {} stored{mode}{check}\n",
                section.kind,
                printable(&section.name),
                section.stored
            ));
            if let Some(damage) = &section.damage {
                text.push_str(&format!("    damaged: {}\n", printable(damage)));
            }
        }
        for (name, lines) in &self.lists {
            text.push_str(&format!("  {} ({}):\n", name.replace('_', " "), lines.len()));
            for line in lines {
                text.push_str(&format!("    {}\n", printable(line)));
            }
        }
        text
    }

    /// The same as an object.
    pub fn object(&self) -> Object {
        let mut object = Object::new().text("what", &self.what);
        for (name, value) in &self.facts {
            object = match value {
                Value::Text(value) => object.text(name, value),
                Value::Number(value) | Value::Bytes(value) => object.number(name, *value),
                Value::Moment(secs) => object.raw(name, &secs.to_string()),
                Value::Switch(value) => object.switch(name, *value),
            };
        }
        let section = |section: &Section| {
            Object::new()
                .text("kind", &section.kind)
                .text("name", &section.name)
                .maybe_number("bytes", section.bytes)
                .number("stored_bytes", section.stored)
                .maybe_number("mode", section.mode.map(u64::from))
                .maybe_text("checksum", section.checksum.as_deref())
                .maybe_text("damage", section.damage.as_deref())
        };
        object = object.list("sections", self.sections.iter().map(section));
        for (name, lines) in &self.lists {
            let quoted: Vec<String> =
                lines.iter().map(|line| larder::cli::json::string(line)).collect();
            object = object.raw(name, &format!("[{}]", quoted.join(", ")));
        }
        object
    }
}

/// Text that does nothing to a terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A moment, as people write it, in UTC.
pub fn moment(secs: i64) -> String {
    let time = calendar::Time::of(secs);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC",
        time.year, time.month, time.day, time.hour, time.minute, time.second
    )
}

/// What a record of a store says; every section is read and checked.
pub fn of_record(record: &Record) -> Shown {
    let kind = record.kind().map_or("unknown".to_owned(), |kind| format!("{kind:?}"));
    let mut shown = Shown::of(&format!("a record of larder ({})", kind.to_lowercase()));
    shown.fact("key", Value::Text(record.key().to_string()));
    shown.fact("kind", Value::Text(kind.to_lowercase()));
    let created_secs = i64::try_from(record.created_secs()).unwrap_or(i64::MAX);
    shown.fact("created", Value::Moment(created_secs));
    shown.fact("namespace", Value::Text(record.namespace().to_owned()));
    shown.fact("stored_bytes", Value::Bytes(record.head().body_bytes));
    shown.fact("sequence", Value::Number(record.sequence()));
    shown.fact("is_copy", Value::Switch(record.is_copy()));
    for (at, info) in record.sections().iter().enumerate() {
        let read = record.read(at);
        let damage = read.as_ref().err().map(ToString::to_string);
        shown.sections.push(of_section(info, damage));
        if info.kind == Some(SectionKind::ForeignName)
            && let Ok(bytes) = &read
        {
            shown.fact("entry", Value::Text(String::from_utf8_lossy(bytes).into_owned()));
        }
    }
    if let Ok((_, attributes_at, parts)) = foreign::places(record.sections())
        && let Ok(attributes) = record.read(attributes_at)
        && let Ok((_, facts)) = foreign::parse_attributes(&attributes, parts.len())
        && let Some(time) = facts.iter().filter_map(|(time, _)| *time).max()
    {
        shown.fact("modified", Value::Moment(time.secs));
    }
    shown
}

fn of_section(info: &SectionInfo, damage: Option<String>) -> Section {
    Section {
        kind: info.kind.map_or("unknown", SectionKind::name).to_owned(),
        name: String::from_utf8_lossy(&info.name).into_owned(),
        bytes: Some(info.real_bytes),
        stored: info.stored_bytes,
        mode: (info.mode != 0).then_some(u32::from(info.mode)),
        checksum: Some(format!("XXH3-128 {:032x}", info.checksum())),
        damage,
    }
}

/// What a file of some layout says, told by its first bytes.
///
/// # Errors
/// If it is of none that is known, or damaged.
pub fn of_file(bytes: &[u8]) -> Result<Shown, Wrong> {
    match bytes {
        [b'P', b'K', 3 | 5, ..] => of_sccache(bytes),
        [0x1f, 0x8b, ..] => of_gzip(bytes),
        [b'L', b'R', b'D', b'B', ..] => of_body(bytes),
        [b'C', b'C', b'H', b'1', ..] => of_cch1(bytes),
        [0 | 1, ..] if Preprocessor::decode(bytes).is_ok() => of_preprocessor(bytes),
        _ => of_ccache(bytes),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_ccache(bytes: &[u8]) -> Result<Shown, Wrong> {
    let entry = Container::decode(bytes, REAL_BYTES_MAX)?;
    let mut shown = Shown::of(match entry.kind {
        Kind::Result => "a result of ccache",
        Kind::Manifest => "a manifest of ccache",
    });
    shown.fact("format_version", Value::Number(u64::from(entry.version)));
    let is_packed = entry.compression == Compression::Zstd;
    let packed = if is_packed { format!("zstd {}", entry.level) } else { "none".to_owned() };
    shown.fact("compression", Value::Text(packed));
    shown.fact("file_bytes", Value::Bytes(bytes.len() as u64));
    shown.fact("entry_bytes", Value::Bytes(entry.real_bytes));
    if let Some(origin) = &entry.origin {
        let text = |bytes: &[u8]| Value::Text(String::from_utf8_lossy(bytes).into_owned());
        let created = i64::try_from(origin.created_secs).unwrap_or(i64::MAX);
        shown.fact("created", Value::Moment(created));
        shown.fact("version", text(&origin.ccache_version));
        shown.fact("namespace", text(&origin.namespace));
        if let Some(is) = origin.self_contained {
            shown.fact("self_contained", Value::Switch(is));
        }
    }
    let check = if bytes.starts_with(&[0xcc, 0xac]) { "XXH3-128" } else { "XXH3-64" };
    shown.fact("checksum", Value::Text(format!("{check}, right")));
    match entry.kind {
        Kind::Result => {
            for file in stored_files(&entry)?.1 {
                shown.sections.push(Section {
                    kind: file.suffix().into_owned(),
                    name: if file.range.is_some() { "" } else { "(a file beside it)" }.to_owned(),
                    bytes: Some(file.bytes),
                    stored: if file.range.is_some() { file.bytes } else { 0 },
                    ..Section::default()
                });
            }
        }
        Kind::Manifest => {
            let manifest = Manifest::decode(&entry)?;
            let path = |at: u32| {
                let path = manifest.paths.get(at as usize).map_or(&[][..], Vec::as_slice);
                String::from_utf8_lossy(path).into_owned()
            };
            let infos = manifest.infos.iter().map(|info| {
                format!("{} {} {} bytes", hex(&info.digest), path(info.path), info.bytes)
            });
            let results = manifest.results.iter();
            let results =
                results.map(|(needs, key)| format!("{} needs {} files", hex(key), needs.len()));
            shown.lists.push(("files", infos.collect()));
            shown.lists.push(("results", results.collect()));
        }
    }
    Ok(shown)
}

fn of_sccache(bytes: &[u8]) -> Result<Shown, Wrong> {
    let mut shown = Shown::of("a result of sccache");
    shown.fact("file_bytes", Value::Bytes(bytes.len() as u64));
    let mut left = REAL_BYTES_MAX;
    for member in members(bytes)? {
        let real = member.count(left);
        left -= *real.as_ref().unwrap_or(&0);
        shown.sections.push(Section {
            kind: "member".to_owned(),
            name: member.name.clone(),
            bytes: real.as_ref().ok().copied(),
            stored: member.stored.len() as u64,
            mode: member.mode.map(|mode| mode & 0o7777),
            checksum: Some(format!("CRC-32 {:08x}", member.crc32)),
            damage: real.err().map(|wrong| wrong.0),
        });
    }
    Ok(shown)
}

fn of_preprocessor(bytes: &[u8]) -> Result<Shown, Wrong> {
    let entry = Preprocessor::decode(bytes)?;
    let mut shown = Shown::of("an entry of sccache's preprocessor cache");
    if let Some(version) = entry.version {
        shown.fact("format_version", Value::Number(u64::from(version)));
    }
    shown.fact("file_bytes", Value::Bytes(bytes.len() as u64));
    let mut files = Vec::new();
    let mut results = Vec::new();
    for (key, includes) in &entry.results {
        results.push(format!("{key} needs {} files", includes.len()));
        files.extend(includes.iter().map(|include| {
            let path = String::from_utf8_lossy(&include.path);
            format!("{} {path} {} bytes", include.digest, include.bytes)
        }));
    }
    files.sort();
    files.dedup();
    shown.lists.push(("files", files));
    shown.lists.push(("results", results));
    Ok(shown)
}

fn of_body(bytes: &[u8]) -> Result<Shown, Wrong> {
    let head =
        larder_engine::Head::decode_whole(bytes).map_err(|error| Wrong(error.to_string()))?;
    let mut shown = Shown::of("a record of larder, as it travels");
    shown.fact("key", Value::Text(head.key.to_string()));
    let created = i64::try_from(head.created_secs).unwrap_or(i64::MAX);
    shown.fact("created", Value::Moment(created));
    shown.fact("namespace", Value::Text(head.namespace.clone()));
    shown.fact("stored_bytes", Value::Bytes(head.body_bytes));
    for info in &head.sections {
        shown.sections.push(of_section(info, None));
    }
    Ok(shown)
}

/// Real bytes of a compressed file that are shown; larger objects than this have been seen
/// nowhere, and gzip makes a thousand times as much of a small file.
const GUNZIP_BYTES_MAX: u64 = 1 << 30;

fn of_gzip(bytes: &[u8]) -> Result<Shown, Wrong> {
    use std::io::Read;
    let real_bytes = gunzip_check(bytes)?;
    if real_bytes > GUNZIP_BYTES_MAX {
        return Err(Wrong(format!("it holds {real_bytes} bytes, more than a file of ccache 3")));
    }
    let mut real = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(real_bytes);
    let read = reader.read_to_end(&mut real);
    read.map_err(|error| Wrong(format!("it cannot be decompressed: {error}")))?;
    let is_manifest = real.starts_with(b"cCmF");
    let mut shown = Shown::of(match is_manifest {
        true => "a manifest of ccache 3 (gzip)",
        false => "a file of ccache 3 (gzip)",
    });
    shown.fact("file_bytes", Value::Bytes(bytes.len() as u64));
    shown.fact("entry_bytes", Value::Bytes(real.len() as u64));
    shown.fact("xxh3_128_of_contents", Value::Text(format!("{:032x}", xxh3_128(&real))));
    Ok(shown)
}

fn of_cch1(bytes: &[u8]) -> Result<Shown, Wrong> {
    use crate::entry::{Family, Name};
    let name = Name::new(Family::Ccache3, "0".repeat(32));
    let entry = crate::layout::cch1::decode(name, bytes)?;
    let mut shown = Shown::of("a result of ccache 3 in memcached (CCH1)");
    shown.fact("file_bytes", Value::Bytes(bytes.len() as u64));
    for part in &entry.parts {
        shown.sections.push(Section {
            kind: part.label.trim_start_matches('.').to_owned(),
            bytes: Some(part.bytes.len() as u64),
            stored: part.bytes.len() as u64,
            ..Section::default()
        });
    }
    Ok(shown)
}
