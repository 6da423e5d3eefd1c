//! `larder ls`: the entries of a store, or of a cache of any other layout, a line each.

use std::io::{BufWriter, Write};
use std::path::Path;

use larder::cli::command::Failure;
use larder::cli::flags::Given;
use larder::cli::json::Object;
use larder_engine::{Record, RecordKind, SectionKind, Store};

use super::failure;
use super::find::{open_store, open_store_at};
use super::shown::{moment, printable};
use crate::entry::Time;
use crate::place::Source;
use crate::place::open::{Layout, layout_to_read, source};

/// One line.
pub struct Line {
    /// The name or the key.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// Bytes as stored; `None` where only reading it would tell.
    pub bytes: Option<u64>,
    /// When it was made or used last.
    pub time: Option<Time>,
    /// Its namespace.
    pub namespace: String,
}

/// The kind of a record.
pub fn kind_of(record: &Record) -> String {
    record.kind().map_or("unknown".to_owned(), |kind| format!("{kind:?}").to_lowercase())
}

/// The line of a record; of one of another tool with the name that it has there.
pub fn of_record(record: &Record) -> Line {
    let mut name = record.key().to_string();
    if record.kind() == Some(RecordKind::Foreign) {
        let mut sections = record.sections().iter();
        let at = sections.position(|info| info.kind == Some(SectionKind::ForeignName));
        if let Some(Ok(bytes)) = at.map(|at| record.read(at)) {
            name = String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    let secs = i64::try_from(record.created_secs()).unwrap_or(i64::MAX);
    Line {
        name,
        kind: kind_of(record),
        bytes: Some(record.head().body_bytes),
        time: Some(Time { secs, nanos: 0 }),
        namespace: record.namespace().to_owned(),
    }
}

/// Lets `see` have a line for each entry of a place, or of the store.
///
/// # Errors
/// If it cannot be read, or `see` ends it.
pub fn each(
    place: Option<&str>,
    layout: Option<Layout>,
    mut see: impl FnMut(Line) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(place) = place else { return each_of(&open_store()?, see) };
    if layout_to_read(place, layout).map_err(failure)? == Layout::Larder {
        return each_of(&open_store_at(Path::new(place))?, see);
    }
    let source: Box<dyn Source> = source(place, layout, None).map_err(failure)?;
    for shard in 0..source.shards() {
        for item in source.list(shard).map_err(failure)?.items {
            let stamp = source.stamp(&item);
            see(Line {
                kind: item.name.family.label().to_owned(),
                name: item.name.to_string(),
                bytes: stamp.map(|stamp| stamp.bytes),
                time: stamp.and_then(|stamp| stamp.modified),
                namespace: String::new(),
            })?;
        }
    }
    Ok(())
}

fn each_of(store: &Store, see: impl FnMut(Line) -> Result<(), Failure>) -> Result<(), Failure> {
    store.snapshot()?.iter().map(|record| of_record(&record)).try_for_each(see)
}

/// The command.
pub fn run(given: &Given) -> Result<(), Failure> {
    let place = given.operand(0).map(|word| word.to_string_lossy().into_owned());
    let layout = given.text("from").and_then(Layout::of_name);
    let is_json = given.has("json");
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut count = 0u64;
    let mut write = |text: String| match out.write_all(text.as_bytes()) {
        // A reader that is gone has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::Failed(format!("cannot write to stdout: {error}"))),
        Ok(()) => Ok(()),
    };
    if is_json {
        write("{\n  \"entries\": [".to_owned())?;
    }
    each(place.as_deref(), layout, |line| {
        if !is_wanted(given, &line) {
            return Ok(());
        }
        count += 1;
        write(match is_json {
            true => format!("{}\n    {}", if count > 1 { "," } else { "" }, object(&line).line()),
            false => text(&line),
        })
    })?;
    if is_json {
        write(if count > 0 { "\n  ]\n}\n" } else { "]\n}\n" }.to_owned())?;
    }
    out.flush().map_err(|error| Failure::Failed(format!("cannot write to stdout: {error}")))
}

fn is_wanted(given: &Given, line: &Line) -> bool {
    given.text("kind").is_none_or(|kind| line.kind == kind)
        && given.text("namespace").is_none_or(|namespace| line.namespace == namespace)
        && given.text("prefix").is_none_or(|prefix| {
            let name = line.name.split_once(':').map_or(&*line.name, |(_, name)| name);
            name.starts_with(prefix) || line.name.starts_with(prefix)
        })
}

fn text(line: &Line) -> String {
    let bytes = line.bytes.map_or("?".to_owned(), |bytes| bytes.to_string());
    let time = line.time.map_or(String::new(), |time| moment(time.secs));
    let namespace = printable(&line.namespace);
    let name = printable(&line.name);
    let text = format!("{name}  {:9} {bytes:>10}  {time}  {namespace}", line.kind);
    format!("{}\n", text.trim_end())
}

fn object(line: &Line) -> Object {
    let mut object = Object::new()
        .text("name", &line.name)
        .text("kind", &line.kind)
        .maybe_number("bytes", line.bytes);
    if let Some(time) = line.time {
        object = object.raw("time", &time.secs.to_string());
    }
    object.text("namespace", &line.namespace)
}
