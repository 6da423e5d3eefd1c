//! `larder trim`: drops what nobody has a use for, before the store is full.

use std::ffi::OsStr;
use std::time::{SystemTime, UNIX_EPOCH};

use larder_engine::{Trim, Trimmed};

use super::command::{Failure, print, read_only, store_directory};
use super::flags::{Given, parse_age};
use super::json::Object;
use super::progress::Bar;
use crate::config::{Config, parse_size};
use crate::stats::size;
use crate::store::open_store;

/// The command.
pub fn run(given: &Given) -> Result<(), Failure> {
    let config = Config::load();
    let trim = wanted(given, config.job.value.as_deref(), now_secs())?;
    let store = open_store(&config, store_directory(&config)?)?;
    if store.is_read_only() && !trim.dry_run {
        return Err(read_only(&config, store.path()));
    }
    let mut bar = Bar::new("trimming");
    let done = store.trim(&trim, |done, total| bar.show(done, total));
    bar.end();
    let done = done?;
    print(&if given.has("json") { json(&trim, &done) } else { text(&trim, &done) })?;
    match trim.max_size_bytes {
        Some(limit) if done.disk_bytes_after > limit && !trim.dry_run => {
            let (used, limit) = (size(done.disk_bytes_after), size(limit));
            let text = format!(
                "{} takes {used} and cannot get down to {limit}; `larder clear` empties it",
                store.path().display()
            );
            Err(Failure::Failed(text))
        }
        _ => Ok(()),
    }
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// What the flags ask for.
fn wanted(given: &Given, job: Option<&str>, now_secs: u64) -> Result<Trim, Failure> {
    let mut trim = Trim {
        max_size_bytes: given.text("max-size").and_then(parse_size),
        namespace: given.text("namespace").map(str::to_owned),
        ..Trim::default()
    };
    let age = given.text("older-than").and_then(parse_age);
    trim.stored_before_secs = age.map(|secs| now_secs.saturating_sub(secs));
    for id in given.values("not-touched-since-job") {
        let id = id.and_then(OsStr::to_str).or(job).ok_or_else(|| {
            given
                .wrong("--not-touched-since-job takes the id of a job, where LARDER_JOB is not set")
        })?;
        trim.untouched_by.push(id.to_owned());
    }
    if trim == Trim::default() {
        let flags = "--older-than, --namespace, --not-touched-since-job or --max-size";
        return Err(given.wrong(&format!("trim needs to know what is to go: {flags}")));
    }
    trim.dry_run = given.has("dry-run");
    Ok(trim)
}

fn text(trim: &Trim, done: &Trimmed) -> String {
    let [drop, keep, write, take] = match trim.dry_run {
        true => ["would drop", "would keep", "would be", "would take about"],
        false => ["dropped", "kept", "were", "takes"],
    };
    let entries = |count| match count {
        1 => "1 entry".to_owned(),
        _ => format!("{count} entries"),
    };
    let (dropped, kept) = (entries(done.entries_dropped), entries(done.entries_kept));
    let first = match (done.evicts_first, trim.dry_run) {
        (false, _) => "",
        (true, false) => "the store was nearly full: what eviction dropped first is counted, too\n",
        (true, true) => "the store is nearly full: eviction would come first and drop more\n",
    };
    let moved = match done.bytes_moved {
        0 => String::new(),
        bytes => format!(", of which {} {write} written again", size(bytes)),
    };
    format!(
        "{drop} {dropped}, {}\n{keep} {kept}, {}{moved}\n\
         the store {take} {} of disk, {} before\n{first}",
        size(done.bytes_dropped),
        size(done.bytes_kept),
        size(done.disk_bytes_after),
        size(done.disk_bytes_before)
    )
}

fn json(trim: &Trim, done: &Trimmed) -> String {
    Object::new()
        .switch("dry_run", trim.dry_run)
        .number("entries_dropped", done.entries_dropped)
        .number("bytes_dropped", done.bytes_dropped)
        .number("entries_kept", done.entries_kept)
        .number("bytes_kept", done.bytes_kept)
        .number("entries_moved", done.entries_moved)
        .number("bytes_moved", done.bytes_moved)
        .number("segments_dropped", done.segments_dropped)
        .switch("evicts_first", done.evicts_first)
        .number("disk_bytes_before", done.disk_bytes_before)
        .number("disk_bytes_after", done.disk_bytes_after)
        .page()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::flags::{self, Parsed};
    use super::*;

    fn trim_of(line: &str, job: Option<&str>) -> Option<Trim> {
        let words: Vec<OsString> =
            format!("trim {line}").split_whitespace().map(Into::into).collect();
        let (command, rest) = flags::find(&words)?;
        match flags::parse(command, rest).ok()? {
            Parsed::Run(given) => wanted(&given, job, 1_000_000).ok(),
            Parsed::Help(_) => None,
        }
    }

    fn trim(line: &str) -> Option<Trim> {
        trim_of(line, Some("mine"))
    }

    #[test]
    fn what_is_to_go_is_understood() {
        let all = trim("--max-size=1Ki --older-than 10m --namespace n --dry-run --json").unwrap();
        assert_eq!((all.max_size_bytes, all.stored_before_secs), (Some(1024), Some(999_400)));
        assert_eq!((all.namespace.as_deref(), all.dry_run), (Some("n"), true));
        let jobs = trim("--not-touched-since-job --not-touched-since-job a").unwrap();
        assert_eq!(jobs.untouched_by, ["mine", "a"]);
        assert_eq!(trim("--namespace=").unwrap().namespace.as_deref(), Some(""));
        assert_eq!(trim("--older-than 2w").unwrap().stored_before_secs, Some(0));
    }

    #[test]
    fn wrong_use_is_refused() {
        for line in [
            "",
            "--dry-run --json",
            "--max-size",
            "--max-size many",
            "--older-than 7",
            "--older-than d",
            "--older-than 99999999999999999999d",
            "--namespace",
            "--namespace --json",
            "--wind 3",
            "7d",
        ] {
            assert_eq!(trim(line), None, "{line}");
        }
        assert_eq!(trim_of("--not-touched-since-job", None), None);
    }
}
