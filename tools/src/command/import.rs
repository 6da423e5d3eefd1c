//! `larder import`: what was exported elsewhere comes into the store.
//!
//! 1. Every piece is compared with its name first, and the manifest with its signature where the
//!    settings want one. Of pieces that are not what they are called nothing is taken.
//! 2. Each record is checked as one from a remote tier. What the store has stays; manifests of
//!    compiles are put together.
//!
//! The exit status: 0 everything is there; 1 it could not be done; 2 wrong use; 4 some pieces or
//! records are damaged, or could not be stored; all others are there.

use std::io::{BufReader, stdin};
use std::path::Path;
use std::process::exit;
use std::sync::Arc;

use larder::agent::carry;
use larder::cli::command::{Failure, open_writable, print};
use larder::cli::flags::Given;
use larder::cli::json::Object;
use larder::config::Config;
use larder::keys::PublicKey;
use larder::stats::{counted, counted_past, size};
use larder_engine::env::RealEnv;
use larder_engine::sealed::{Manifest, Piece, SealedEnv};
use larder_engine::{DropReason, Options, Put, ReadMode, Record, Store};

use super::archive;
use super::failure;
use super::progress::Bar;
use crate::convert::Progress;
use crate::place::store::with_room;

const STATUS_SOME: i32 = 4;
/// Level of zstd for what stands on block boundaries, as nothing in an export does.
const ZSTD_LEVEL: i32 = 1;
/// Reasons that are shown.
const REASONS_MAX: usize = 10;

/// What came of it.
#[derive(Default)]
struct Report {
    pieces: u64,
    bytes: u64,
    damaged_pieces: Vec<String>,
    signer: Option<String>,
    records: u64,
    stored: u64,
    known: u64,
    refused: u64,
    reasons: Vec<String>,
}

/// The command.
pub fn run(given: &Given) -> Result<(), Failure> {
    let config = Config::load();
    let from = given.operand(0).unwrap_or_default();
    let unpacked = match from == "-" {
        true => {
            let folder = archive::Folder::new().map_err(failure)?;
            archive::read(BufReader::new(stdin().lock()), folder.path()).map_err(failure)?;
            Some(folder)
        }
        false => None,
    };
    let top = unpacked.as_ref().map_or(Path::new(from), archive::Folder::path);
    let manifest = Manifest::read(&RealEnv, top)?.ok_or_else(|| {
        Failure::Failed(format!("{} holds no export: it has no manifest", top.display()))
    })?;
    let signer = carry::signer(&config, &manifest).map_err(Failure::Failed)?;
    let (whole, mut report) = check(top, manifest)?;
    report.signer = signer.as_ref().map(|key| key.name.clone());
    if !given.has("check") {
        take(top, &whole, signer.as_ref(), &mut report)?;
    }
    let is_check = given.has("check");
    print(&if given.has("json") { page(&report, is_check) } else { text(&report, is_check) })?;
    // The folder of an archive goes before the process does.
    drop(unpacked);
    let is_all = report.damaged_pieces.is_empty() && report.refused == 0;
    if is_all { Ok(()) } else { exit(STATUS_SOME) }
}

/// Compares every piece with its name; returns the manifest without those that are damaged.
fn check(top: &Path, manifest: Manifest) -> Result<(Manifest, Report), Failure> {
    let mut report = Report { records: manifest.records, ..Report::default() };
    let total: u64 = manifest.pieces().map(|piece| piece.bytes).sum();
    let bar = Bar::new("checking");
    let mut is_whole = |piece: &Piece| -> Result<bool, Failure> {
        let is_whole = piece.is_whole(&RealEnv, top)?;
        report.pieces += 1;
        report.bytes += piece.bytes;
        bar.show(Progress { done: report.bytes, total, bytes: report.bytes });
        if !is_whole {
            report.damaged_pieces.push(piece.hash.to_string());
        }
        Ok(is_whole)
    };
    for (piece, what) in [(manifest.superblock, "superblock"), (manifest.index, "index")] {
        if !is_whole(&piece)? {
            return Err(Failure::Failed(format!(
                "its {what}, piece {}, is missing or damaged: transfer it again",
                piece.hash
            )));
        }
    }
    let mut whole = Manifest { segments: [].into(), ..manifest.clone() };
    for (id, piece) in manifest.segments {
        if is_whole(&piece)? {
            whole.segments.insert(id, piece);
        }
    }
    bar.end();
    Ok((whole, report))
}

/// Takes what is whole into the store.
fn take(
    top: &Path,
    whole: &Manifest,
    signer: Option<&PublicKey>,
    report: &mut Report,
) -> Result<(), Failure> {
    let env = Arc::new(SealedEnv::new(Arc::new(RealEnv), top, whole));
    let options = Options::new().read_only(true).read_mode(ReadMode::Pread);
    let source = Store::open_with(env, top, options)?;
    let store = open_writable()?;
    let snapshot = source.snapshot()?;
    let bar = Bar::new("importing");
    let (mut done, mut bytes) = (0, 0);
    for record in snapshot.by_place() {
        done += 1;
        bytes += record.head().body_bytes;
        bar.show(Progress { done, total: whole.records, bytes });
        match take_one(&store, &record, signer) {
            Ok(true) => report.stored += 1,
            Ok(false) => report.known += 1,
            Err(why) => {
                report.refused += 1;
                if report.reasons.len() < REASONS_MAX {
                    report.reasons.push(format!("{}: {why}", record.key()));
                }
            }
        }
    }
    bar.end();
    Ok(())
}

/// Takes a record; false if all of it is known.
fn take_one(store: &Store, record: &Record, signer: Option<&PublicKey>) -> Result<bool, String> {
    let kind = record.kind().ok_or("it is of a kind that this version does not know")?;
    let namespace = record.namespace();
    if let Some(signer) = signer.filter(|signer| !signer.may_sign(namespace)) {
        let name = &signer.name;
        return Err(format!("{name} is not trusted for the namespace \"{namespace}\""));
    }
    let body = record.portable_body(ZSTD_LEVEL).map_err(|error| error.to_string())?;
    let dropped = |put: &Result<Option<Put>, String>| match put {
        Ok(Some(Put::Dropped(reason))) => Some(*reason),
        _ => None,
    };
    let put = with_room(store, || carry::take(store, &record.key(), kind, &body), dropped);
    match put.map_err(|fault| fault.to_string())?? {
        None => Ok(false),
        Some(Put::Stored) => Ok(true),
        Some(Put::Dropped(DropReason::ReadOnly)) => Err("the store is read-only".to_owned()),
        Some(Put::Dropped(reason)) => Err(format!("the store drops it: {reason}")),
    }
}

fn text(report: &Report, is_check: bool) -> String {
    let mut text = format!("{} ({})", counted(report.pieces, "piece"), size(report.bytes));
    if let Some(signer) = &report.signer {
        text.push_str(&format!(", signed by {signer}"));
    }
    text.push_str(if report.damaged_pieces.is_empty() { ": all of it is whole\n" } else { "\n" });
    if !is_check {
        text.push_str(&format!(
            "{} of {} records are new, {} were there already\n",
            report.stored, report.records, report.known
        ));
    }
    if !report.damaged_pieces.is_empty() {
        let count = counted_past(report.damaged_pieces.len() as u64, "piece");
        text.push_str(&format!("{count} found missing or damaged, and must be sent again:\n"));
        report.damaged_pieces.iter().for_each(|name| text.push_str(&format!("  {name}\n")));
    }
    if report.refused > 0 {
        text.push_str(&format!("{} not taken:\n", counted_past(report.refused, "record")));
        report.reasons.iter().for_each(|why| text.push_str(&format!("  {why}\n")));
    }
    text
}

fn page(report: &Report, is_check: bool) -> String {
    let name = |name: &String| Object::new().text("piece", name);
    let why = |why: &String| Object::new().text("why", why);
    Object::new()
        .switch("check", is_check)
        .number("pieces", report.pieces)
        .number("bytes", report.bytes)
        .list("damaged_pieces", report.damaged_pieces.iter().map(name))
        .text("signer", report.signer.as_deref().unwrap_or_default())
        .number("records", report.records)
        .number("stored", report.stored)
        .number("known", report.known)
        .number("refused", report.refused)
        .list("reasons", report.reasons.iter().map(why))
        .page()
}
