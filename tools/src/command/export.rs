//! `larder export`: what the store has, in a directory whose pieces stay what they are.
//!
//! The exit status: 0 everything is there; 1 it could not be done; 2 wrong use; 4 some records are
//! damaged and left out.

use std::ffi::OsStr;
use std::io::{BufWriter, stdout};
use std::path::Path;
use std::process::exit;

use larder::agent::carry;
use larder::cli::command::{Failure, print, store_directory};
use larder::cli::flags::Given;
use larder::cli::json::Object;
use larder::config::Config;
use larder::stats::{counted, counted_past, size};
use larder_engine::{ErrorKind, Export, Exported, Key, Options, ReadMode, Store};

use super::archive;
use super::progress::Bar;
use crate::convert::Progress;

const STATUS_SOME: i32 = 4;

/// The command.
pub fn run(given: &Given) -> Result<(), Failure> {
    let config = Config::load();
    let to = given.operand(0).unwrap_or_default();
    let is_stream = to == "-";
    if is_stream && given.has("json") {
        return Err(given.wrong("the archive goes to stdout, and --json has no place there"));
    }
    let job = touched_since(given, &config)?;
    let path = store_directory(&config)?;
    let options = Options::new()
        .create(false)
        .max_size_bytes(config.max_size_bytes.value)
        .file_mode(0o666 & !config.umask.value)
        .read_mode(ReadMode::Pread);
    let store = Store::open(path, options)?;
    // Nothing is written that could not be signed as it has to be.
    let signature = |digest: &Key| carry::sign(&config, digest);
    let is_signed = signature(&Key::of(b"")).map_err(Failure::Failed)?.is_some();
    let sign = |digest: &Key| signature(digest).ok().flatten().unwrap_or_default();
    let how = Export {
        job: job.as_deref(),
        zstd_level: config.compression_level.value,
        sign: is_signed.then_some(&sign),
    };
    let done = match is_stream {
        true => stream(&store, &how)?,
        false => {
            shown(|show| store.export(Path::new(to), &how, show)).map_err(|error| {
                match error.kind() {
                    ErrorKind::NotAStore => {
                        Failure::Failed(format!("{error}; it needs one of its own"))
                    }
                    _ => error.into(),
                }
            })?
        }
    };
    match is_stream {
        true => eprint!("{}", text(&done, is_signed, "stdout")),
        false if given.has("json") => print(&page(&done, is_signed))?,
        false => print(&text(&done, is_signed, &to.to_string_lossy()))?,
    }
    if done.damaged > 0 { exit(STATUS_SOME) } else { Ok(()) }
}

fn touched_since(given: &Given, config: &Config) -> Result<Option<String>, Failure> {
    if !given.has("touched-since-job") {
        return Ok(None);
    }
    let said = given.values("touched-since-job").last().flatten().and_then(OsStr::to_str);
    let id = said.map(str::to_owned).or_else(|| config.job.value.clone());
    id.map(Some).ok_or_else(|| {
        given.wrong("--touched-since-job takes the id of a job, where LARDER_JOB is not set")
    })
}

/// Exports with a progress bar.
fn shown(
    export: impl FnOnce(&mut dyn FnMut(u64, u64)) -> larder_engine::Result<Exported>,
) -> larder_engine::Result<Exported> {
    let bar = Bar::new("exporting");
    let done = export(&mut |done, total| bar.show(Progress { done, total, bytes: 0 }));
    bar.end();
    done
}

/// Exports to stdout.
fn stream(store: &Store, how: &Export<'_>) -> Result<Exported, Failure> {
    let mut archive = archive::Writer::new(BufWriter::new(stdout().lock()));
    let done = shown(|show| {
        let take = |name: &str, bytes: &[u8]| archive.add(name, bytes);
        store.export_stream(take, how, show)
    })?;
    let failed = |error| Failure::Failed(format!("the archive cannot be written: {error}"));
    archive.end().map_err(failed)?;
    Ok(done)
}

fn text(done: &Exported, is_signed: bool, to: &str) -> String {
    let signed = if is_signed { ", signed" } else { "" };
    let mut text = format!(
        "{} ({}) in {} ({}) in {to}{signed}\n",
        counted(done.records, "record"),
        size(done.record_bytes),
        counted(done.pieces, "piece"),
        size(done.bytes)
    );
    text.push_str(&format!(
        "{} ({}) new, {} gone\n",
        counted(done.new_pieces, "piece"),
        size(done.new_bytes),
        done.removed_pieces
    ));
    if done.damaged > 0 {
        text.push_str(&format!(
            "{} damaged and left out: `larder verify` tells which\n",
            counted_past(done.damaged, "record")
        ));
    }
    text
}

fn page(done: &Exported, is_signed: bool) -> String {
    Object::new()
        .number("records", done.records)
        .number("record_bytes", done.record_bytes)
        .number("pieces", done.pieces)
        .number("bytes", done.bytes)
        .number("new_pieces", done.new_pieces)
        .number("new_bytes", done.new_bytes)
        .number("removed_pieces", done.removed_pieces)
        .number("damaged", done.damaged)
        .switch("signed", is_signed)
        .page()
}
