//! `larder convert`: everything that one cache has into another one, of the same layout or not.
//!
//! The exit status: 0 everything is there now, or has no place in that layout, which is told; 1 it
//! could not be done; 2 wrong use; 4 some entries are damaged or could not be read or written, and
//! are named; all others are there.

use std::path::Path;
use std::process::exit;

use larder::cli::command::{Failure, print};
use larder::cli::flags::Given;
use larder::cli::json::Object;
use larder::config::parse_size;
use larder::stats::size;

use super::failure;
use super::progress::Bar;
use super::shown::printable;
use crate::convert::{How, Report, TOLD_MAX, Told, convert};
use crate::place::open::{Layout, detect, layout_to_write, source, target};

const STATUS_SOME: i32 = 4;

/// The command.
pub fn run(given: &Given) -> Result<(), Failure> {
    let place = |at: usize| {
        let word = given.operand(at).unwrap_or_default();
        word.to_str().ok_or_else(|| given.wrong(&format!("{} is no UTF-8", word.display())))
    };
    let (from, to) = (place(0)?, place(1)?);
    let layout = |flag: &str| given.text(flag).and_then(Layout::of_name);
    let how = How {
        is_dry: given.has("dry-run"),
        overwrites: given.has("overwrite"),
        threads: threads(given)?,
    };
    let wanted = layout_to_write(to, layout("to")).map_err(failure)?;
    let is_tar = wanted == Layout::Tar;
    let source = source(from, layout("from"), given.text("keys")).map_err(failure)?;
    if same_place(from, to) {
        return Err(given.wrong("source and target are the same"));
    }
    // A dry run makes nothing, not even what a store or a database is in an empty directory.
    let is_there = || detect(Path::new(to)).is_ok_and(|layout| layout == wanted && !is_tar);
    let is_opened = !how.is_dry || to.contains("://") || is_there();
    let max_size_bytes = given.text("max-size").and_then(parse_size);
    let target = match is_opened {
        true => Some(target(to, wanted, max_size_bytes).map_err(failure)?),
        false => None,
    };
    let bar = Bar::new("converting");
    let done = convert(&*source, target.as_deref(), wanted, how, |progress| bar.show(progress));
    bar.end();
    let report = done.map_err(failure)?;
    print(&match given.has("json") {
        true => page(&report, how, source.kind(), wanted),
        false => text(&report, how, (from, source.kind()), (to, wanted)),
    })?;
    let some = report.damaged.count + report.too_large.count + report.failed.count;
    if some > 0 { exit(STATUS_SOME) } else { Ok(()) }
}

fn threads(given: &Given) -> Result<usize, Failure> {
    match given.text("threads") {
        None => Ok(0),
        Some(text) => match text.parse() {
            Ok(count @ 1..=64) => Ok(count),
            _ => Err(given.wrong(&format!("--threads takes a number from 1 to 64, not {text}"))),
        },
    }
}

fn same_place(from: &str, to: &str) -> bool {
    let resolved = |place: &str| Path::new(place).canonicalize().ok();
    from == to || resolved(from).is_some_and(|path| Some(path) == resolved(to))
}

fn text(
    report: &Report,
    how: How,
    (from, kind): (&str, &str),
    (to, layout): (&str, Layout),
) -> String {
    let (entries, bytes) = report.totals();
    let verb = if how.is_dry { "would be written" } else { "written" };
    let seconds = report.elapsed.as_secs_f64();
    let rate = size((bytes as f64 / seconds.max(0.001)) as u64);
    let from = shown(from);
    let mut text = format!(
        "{from}, {kind}: {} ({}) {verb} to {}, {} in {seconds:.1} s ({rate}/s)\n",
        entries_of(entries),
        size(bytes),
        shown(to),
        layout.name()
    );
    for (family, (entries, bytes)) in &report.written {
        text.push_str(&format!("  {:22} {entries:>9}  {:>10}\n", family.label(), size(*bytes)));
    }
    let mut line = |count: u64, what: &str| {
        if count > 0 {
            text.push_str(&format!("{count} {what}\n"));
        }
    };
    line(report.present, "were there already");
    line(report.gone, "were removed meanwhile by the tool that they belong to");
    line(
        report.evicted_segments,
        "segments of the store were evicted meanwhile, so that not all of it may be there: \
         --max-size and `max_size` are the limit",
    );
    for (reason, count) in &report.no_place {
        line(*count, &format!("have no place in this layout: {reason}"));
    }
    for (told, what) in [
        (&report.damaged, "are damaged and were left out"),
        (&report.too_large, "are too large and were left out"),
        (&report.failed, "could not be read or written"),
        (&report.strangers, "other files, which are none of a cache"),
    ] {
        list(&mut text, told, what);
    }
    for note in &report.notes {
        text.push_str(&format!("{note}\n"));
    }
    text
}

fn entries_of(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

/// A place without what stands before an `@`, which may be a password, and without attributes.
fn shown(place: &str) -> String {
    let Some((scheme, rest)) = place.split_once("://") else { return place.to_owned() };
    let rest = rest.split('|').next().unwrap_or(rest);
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{host}")
}

fn list(text: &mut String, told: &Told, what: &str) {
    if told.count == 0 {
        return;
    }
    text.push_str(&format!("{} {what}:\n", told.count));
    for (name, why) in &told.first {
        text.push_str(&format!("  {}: {}\n", name.escape_debug(), printable(why)));
    }
    if told.count > TOLD_MAX as u64 {
        text.push_str(&format!("  and {} more\n", told.count - TOLD_MAX as u64));
    }
}

fn page(report: &Report, how: How, kind: &str, layout: Layout) -> String {
    let (entries, bytes) = report.totals();
    let told = |told: &Told| {
        let object =
            |(name, why): &(String, String)| Object::new().text("entry", name).text("why", why);
        told.first.iter().map(object).collect::<Vec<_>>()
    };
    let written = report.written.iter().map(|(family, (entries, bytes))| {
        Object::new()
            .text("family", family.label())
            .number("entries", *entries)
            .number("bytes", *bytes)
    });
    let no_place = report
        .no_place
        .iter()
        .map(|(reason, count)| Object::new().text("what", reason).number("count", *count));
    Object::new()
        .text("from", kind)
        .text("to", layout.name())
        .switch("dry_run", how.is_dry)
        .number("entries", entries)
        .number("bytes", bytes)
        .number("elapsed_ms", report.elapsed.as_millis() as u64)
        .list("written", written)
        .number("present", report.present)
        .number("gone", report.gone)
        .number("passing", report.passing)
        .number("evicted_segments", report.evicted_segments)
        .list("no_place", no_place)
        .number("damaged_count", report.damaged.count)
        .list("damaged", told(&report.damaged))
        .number("too_large_count", report.too_large.count)
        .list("too_large", told(&report.too_large))
        .number("failed_count", report.failed.count)
        .list("failed", told(&report.failed))
        .number("strangers_count", report.strangers.count)
        .list("strangers", told(&report.strangers))
        .list("notes", report.notes.iter().map(|note| Object::new().text("note", note)))
        .page()
}
