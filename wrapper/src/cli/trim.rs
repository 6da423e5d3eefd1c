//! `larder trim`: drops what nobody has a use for, before the store is full.

use std::ffi::OsString;
use std::time::{SystemTime, UNIX_EPOCH};

use larder_engine::{ErrorKind, Trim, Trimmed};

use super::command::{Failure, print, store_directory};
use super::json::Object;
use super::progress::Bar;
use crate::config::{Config, parse_size};
use crate::invocation::open_store;
use crate::stats::size;

/// What `larder trim --help` says.
const HELP: &str = "\
larder trim drops entries of the store, and frees their disk space.

usage:
  larder trim [--older-than AGE] [--namespace NAME] [--not-touched-since-job [ID]]
              [--max-size SIZE] [--dry-run] [--json]

which entries go (if several of these are given, those to which all apply):
  --older-than AGE               stored longer ago than that: 30m, 12h, 7d, 2w; hits do not count
  --namespace NAME               stored under LARDER_NAMESPACE=NAME; \"\" is none
  --not-touched-since-job [ID]   neither got nor put by that job (default: the one in LARDER_JOB)
                                 and stored before it began; may be given for several jobs, and
                                 what any of them touched stays

how much stays:
  --max-size SIZE                after that the oldest go until the store takes no more disk than
                                 SIZE, as 500M or 2Gi (no unit: bytes); what was hit lately goes
                                 last. This limits the store once; LARDER_MAX_SIZE does so always

  --dry-run                      only tell what would go
  --json                         one object for programs

What is kept of the oldest part of the store is written again, so a trim may write as much as it
keeps. It can be interrupted at any time, and compiles go on meanwhile. It waits for a janitor that
is at work, for a minute at most. A store that is more than 90 % full is evicted first, as always.
An entry is a record: a compile has about two.

exit status:
  0    what was to go is gone
  1    the store could not be trimmed, or not to that size
  2    wrong use
";

/// What is asked for.
#[derive(Default)]
struct Wanted {
    trim: Trim,
    json: bool,
}

/// The command.
pub fn run(arguments: &[OsString]) -> Result<(), Failure> {
    if arguments.iter().any(|word| word == "--help" || word == "-h") {
        return print(HELP);
    }
    let config = Config::load();
    let wanted = parse(arguments, config.job.value.as_deref(), now_secs())?;
    let store = open_store(&config, store_directory(&config)?)?;
    if store.is_read_only() && !wanted.trim.dry_run {
        return Err(Failure::Failed(format!("{} is read-only", store.path().display())));
    }
    let mut bar = Bar::new("trimming");
    let done = store.trim(&wanted.trim, |done, total| bar.show(done, total));
    bar.end();
    let done = done.map_err(|error| match error.kind() {
        ErrorKind::Busy => {
            Failure::Failed(format!("another process maintains the store; try again ({error})"))
        }
        _ => error.into(),
    })?;
    print(&if wanted.json { json(&wanted.trim, &done) } else { text(&wanted.trim, &done) })?;
    match wanted.trim.max_size_bytes {
        Some(limit) if done.disk_bytes_after > limit && !wanted.trim.dry_run => {
            let (used, limit) = (size(done.disk_bytes_after), size(limit));
            Err(Failure::Failed(format!("the store takes {used} and cannot get down to {limit}")))
        }
        _ => Ok(()),
    }
}

fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// From the command line; both `--option value` and `--option=value` will do.
fn parse(arguments: &[OsString], job: Option<&str>, now_secs: u64) -> Result<Wanted, Failure> {
    let wrong = |what: String| Failure::WrongUse(what);
    let mut words = Vec::new();
    for argument in arguments {
        let word = argument.to_str().ok_or_else(|| wrong("trim takes UTF-8 only".to_owned()))?;
        match word.split_once('=').filter(|_| word.starts_with("--")) {
            Some((option, value)) => words.extend([(option, true), (value, false)]),
            None => words.push((word, word.starts_with("--"))),
        }
    }
    let mut wanted = Wanted::default();
    let mut words = words.into_iter().peekable();
    while let Some((option, _)) = words.next() {
        let mut value = || words.next_if(|(_, is_option)| !is_option).map(|(word, _)| word);
        let needs = |what: &str| wrong(format!("{option} takes {what}"));
        let trim = &mut wanted.trim;
        match option {
            "--json" => wanted.json = true,
            "--dry-run" => trim.dry_run = true,
            "--max-size" => {
                let bytes = value().and_then(parse_size);
                trim.max_size_bytes = Some(bytes.ok_or_else(|| needs("a size, as 500M or 2Gi"))?);
            }
            "--older-than" => {
                let secs = value().and_then(parse_age);
                let secs = secs.ok_or_else(|| needs("an age, as 30m, 12h, 7d or 2w"))?;
                trim.stored_before_secs = Some(now_secs.saturating_sub(secs));
            }
            "--namespace" => {
                let name = value().ok_or_else(|| needs("a namespace; \"\" is none"))?;
                trim.namespace = Some(name.to_owned());
            }
            "--not-touched-since-job" => {
                let id = value().or(job);
                let what = "the id of a job, where LARDER_JOB is not set";
                trim.untouched_by.push(id.ok_or_else(|| needs(what))?.to_owned());
            }
            other => return Err(wrong(format!("trim takes no `{other}`; see trim --help"))),
        }
    }
    let asks = Trim { dry_run: wanted.trim.dry_run, ..Trim::default() };
    if wanted.trim == asks {
        return Err(wrong("trim needs to know what is to go; see trim --help".to_owned()));
    }
    Ok(wanted)
}

/// Seconds of an age: a number and a unit.
fn parse_age(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
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
    use super::*;

    fn trim(line: &str) -> Option<Trim> {
        let words: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        parse(&words, Some("mine"), 1_000_000).ok().map(|wanted| wanted.trim)
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
        let words = ["--not-touched-since-job".into()];
        assert!(parse(&words, None, 0).is_err());
    }
}
