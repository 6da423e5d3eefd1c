//! `larder verify`: reads the whole store and says what is damaged, and what that means.
//!
//! 1. Without `--repair` nothing is changed: the store is opened for reading.
//! 2. The exit status: 0 everything is whole, or is after the repair; 1 there is damage; 2 wrong
//!    use; 3 the store could not be read, or not be repaired, or the report not be written. What a
//!    power cut took and what killed processes left is told, and is no damage: the janitor cleans
//!    it up.

use std::path::Path;
use std::process::exit;
use std::time::Duration;

use larder_engine::{Damage, DamageKind, ErrorKind, RepairStep, Severity, Store, VerifyReport};

use super::command::{Failure, print, store_directory, words};
use super::flags::Given;
use super::json::Object;
use super::progress::Bar;
use crate::config::Config;
use crate::stats::{counted, counted_past, size};
use crate::store::open_store;

/// Damages in the text; `--json` has more.
const DAMAGES_SHOWN_MAX: usize = 50;

/// What there is to say.
#[derive(Default)]
struct Outcome {
    /// What was found; after a repair, what was found before it.
    found: VerifyReport,
    /// What a repair left.
    left: Option<VerifyReport>,
    steps: Vec<RepairStep>,
    records_dropped: u64,
    keys_removed: u64,
    elapsed: Duration,
}

/// The command.
pub fn run(given: &Given) -> Result<(), Failure> {
    let config = Config::load();
    let path = store_directory(&config).map_err(Failure::unreadable)?.to_owned();
    let outcome = match given.has("repair") {
        false => verify(&config, &path),
        true => repair(&config, &path),
    };
    if let (Err(Failure::Unreadable(text)), true) = (&outcome, given.has("json")) {
        // Programs get an object in any case.
        print(&Object::new().text("error", text).page()).map_err(Failure::unreadable)?;
    }
    let outcome = outcome?;
    let text = if given.has("json") { outcome.json() } else { outcome.text(&path) };
    print(&text).map_err(Failure::unreadable)?;
    let last = outcome.left.as_ref().unwrap_or(&outcome.found);
    if last.damaged.is_empty() { Ok(()) } else { exit(1) }
}

fn unreadable(error: larder_engine::Error) -> Failure {
    Failure::Unreadable(words(&error))
}

/// Why the store at `path` cannot be opened.
fn unopened(path: &Path, error: larder_engine::Error) -> Failure {
    match error.is_not_found() {
        true => Failure::Unreadable(format!(
            "there is no store in {}; set LARDER_DIR, or let a compile make one",
            path.display()
        )),
        false => unreadable(error),
    }
}

fn verify(config: &Config, path: &Path) -> Result<Outcome, Failure> {
    let mut bar = Bar::new("verifying");
    let found = match open_to_read(config, path) {
        Ok(store) => store.verify(|done, total| bar.show(done, total)).map_err(unreadable)?,
        Err(error) => lost_superblock(path, &error).ok_or_else(|| unopened(path, error))?,
    };
    Ok(Outcome { found, elapsed: bar.end(), ..Outcome::default() })
}

fn repair(config: &Config, path: &Path) -> Result<Outcome, Failure> {
    let lost = match open_to_read(config, path) {
        Ok(_) => None,
        Err(error) => Some(lost_superblock(path, &error).ok_or_else(|| unopened(path, error))?),
    };
    // Opening a store for writing makes a superblock that is lost from the segments.
    let store = open_store(config, path).map_err(unreadable)?;
    let mut bar = Bar::new("repairing");
    let done = store.repair(|done, total| bar.show(done, total)).map_err(unreadable)?;
    let mut outcome = Outcome {
        found: done.before,
        left: Some(done.after),
        steps: done.steps,
        records_dropped: done.records_dropped,
        keys_removed: done.keys_removed,
        elapsed: bar.end(),
    };
    if let Some(lost) = lost {
        outcome.found.damaged.splice(0..0, lost.damaged);
        let what = "made anew from the segments".to_owned();
        outcome.steps.insert(0, RepairStep { file: "superblock".to_owned(), what });
    }
    Ok(outcome)
}

/// The store without changing anything, not even making or recovering it.
pub fn open_to_read(config: &Config, path: &Path) -> larder_engine::Result<Store> {
    let mut config = config.clone();
    config.readonly.value = true;
    open_store(&config, path)
}

/// A store of which only the superblock is missing or damaged: then the directory has our tag.
pub fn lost_superblock(path: &Path, error: &larder_engine::Error) -> Option<VerifyReport> {
    let is_lost =
        matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotAStore) || error.is_not_found();
    let tag = std::fs::read_to_string(path.join("CACHEDIR.TAG")).unwrap_or_default();
    if !is_lost || !tag.contains("store of larder") {
        return None;
    }
    let damage = Damage {
        kind: DamageKind::SuperblockLost,
        file: "superblock".to_owned(),
        segment: None,
        offset: Some(0),
        key: None,
        what: error.to_string(),
        severity: Severity::Unusable,
    };
    Some(VerifyReport { damaged: vec![damage], ..VerifyReport::default() })
}

impl Outcome {
    fn text(&self, path: &Path) -> String {
        let (found, path) = (&self.found, path.display());
        let read = size(found.segment_bytes);
        let mut text = format!(
            "{path}: {} in {} ({read}), {}; {}\n",
            counted(found.records, "record"),
            counted(found.segments, "segment"),
            counted(found.index_pages, "index page"),
            match found.damaged.len() as u64 + found.more {
                0 => "everything is whole".to_owned(),
                count => format!("{count} damaged"),
            }
        );
        list(&mut text, &found.damaged, found.more);
        if found.suspect_segments > 0 {
            let segments = counted_past(found.suspect_segments, "segment");
            let taken = counted(found.suspects.len() as u64, "place");
            text.push_str(&format!(
                "{segments} written before the last power cut and doubted since; it took {taken} \
                 there; `larder janitor` cleans up\n"
            ));
            list(&mut text, &found.suspects, 0);
        }
        if !found.leftovers.is_empty() {
            let files = counted_past(found.leftovers.len() as u64, "file");
            text.push_str(&format!("{files} left over\n"));
            list(&mut text, &found.leftovers, 0);
        }
        if found.index_was_overtaken {
            text.push_str("the index changed so often that it was not checked; try again\n");
        }
        if let Some(left) = &self.left {
            self.repairs(&mut text, left);
        } else if found.damaged.iter().any(|damage| damage.kind.is_repairable()) {
            text.push_str("`larder verify --repair` drops what is damaged and keeps the rest\n");
        }
        text
    }

    fn repairs(&self, text: &mut String, left: &VerifyReport) {
        if self.steps.is_empty() {
            text.push_str(match left.damaged.is_empty() {
                true => "there was nothing to repair\n",
                false => "nothing was repaired: a repair cannot help with this\n",
            });
            return;
        }
        text.push_str("repaired:\n");
        for step in &self.steps {
            text.push_str(&format!("  {}: {}\n", step.file, step.what));
        }
        if self.records_dropped > 0 {
            text.push_str(&format!("{} dropped\n", counted_past(self.records_dropped, "record")));
        }
        if self.keys_removed > 0 {
            let keys = counted_past(self.keys_removed, "key");
            text.push_str(&format!("{keys} removed, because only an older value was left\n"));
        }
        match left.damaged.len() as u64 + left.more {
            0 => {
                let records = counted(left.records, "record");
                text.push_str(&format!("{records}; everything is whole now\n"));
            }
            count => {
                text.push_str(&format!("{count} damaged still\n"));
                list(text, &left.damaged, left.more);
            }
        }
    }

    fn json(&self) -> String {
        let last = self.left.as_ref().unwrap_or(&self.found);
        let damages = |damages: &[Damage]| damages.iter().map(object).collect::<Vec<_>>();
        let mut page = Object::new()
            .number("records", last.records)
            .number("bytes", last.bytes)
            .number("segments", last.segments)
            .number("segment_bytes", last.segment_bytes)
            .number("index_pages", last.index_pages)
            .switch("index_checked", !last.index_was_overtaken)
            .number("elapsed_ms", self.elapsed.as_millis() as u64)
            .list("damaged", damages(&last.damaged))
            .number("more_damaged", last.more)
            .number("suspect_segments", last.suspect_segments)
            .list("suspects", damages(&last.suspects))
            .list("leftovers", damages(&last.leftovers));
        if self.left.is_some() {
            let step =
                |step: &RepairStep| Object::new().text("file", &step.file).text("what", &step.what);
            page = page
                .list("found", damages(&self.found.damaged))
                .list("repaired", self.steps.iter().map(step))
                .number("records_dropped", self.records_dropped)
                .number("keys_removed", self.keys_removed);
        }
        page.page()
    }
}

fn list(text: &mut String, damages: &[Damage], more: u64) {
    for damage in damages.iter().take(DAMAGES_SHOWN_MAX) {
        text.push_str(&format!("  {damage}\n"));
    }
    let hidden = damages.len().saturating_sub(DAMAGES_SHOWN_MAX) as u64 + more;
    if hidden > 0 {
        text.push_str(&format!("  and {hidden} more\n"));
    }
}

fn object(damage: &Damage) -> Object {
    Object::new()
        .text("kind", damage.kind.name())
        .text("file", &damage.file)
        .maybe_number("segment", damage.segment.map(u64::from))
        .maybe_number("offset", damage.offset)
        .maybe_text("key", damage.key.as_deref())
        .text("what", &damage.what)
        .text("meaning", damage.kind.meaning())
        .text("severity", damage.severity.name())
}
