//! What ccache's options do to the store: clean up, clear, evict, recompress, and telling how well
//! entries compress.
//!
//! 1. All of it happens in the directory `larder` of the cache directory. What stands beside it is
//!    ccache's, and is not looked at.
//! 2. A clean-up does the upkeep that is due, then evicts down to `max_size`. A store cannot be as
//!    small as some sizes; then it is cleared.
//! 3. `--evict-older-than` goes by the moment of the last use, as far as the store knows it: see
//!    [`larder_engine::Trim::unused_since_secs`].
//! 4. A record does not say at which level it was compressed, so `-X` compresses what stands
//!    uncompressed and leaves the rest. The new record stands in the log behind the old one, which
//!    goes when its segment does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use larder_engine::limits::GROUPED_SECTION_BYTES_MAX;
use larder_engine::{Budget, Entry, ErrorKind, Key, Options, Put, Record, RecordKind};
use larder_engine::{Section, SectionInfo, Store, Trim, Trimmed};

use super::super::command::{Failure, after_janitor, print};
use super::super::progress::Bar;
use super::commands::{How, invalid};
use super::report::{existing, writable};
use crate::ccache_entry::Level;
use crate::config::ccache::{Settings, show_size};
use crate::invocation::upkeep::upkeep;
use crate::outcome::Counter;

/// zstd's highest level.
const LEVEL_MAX: i8 = 22;

/// What `--evict-namespace` and `--evict-older-than` ask for; both must hold.
#[derive(Clone, Debug, Default)]
pub struct Evict {
    /// Entries of this namespace.
    pub namespace: Option<String>,
    /// Entries that were not used for so many milliseconds.
    pub age_ms: Option<u64>,
}

/// Milliseconds of an age: a number and a unit.
///
/// # Errors
/// If it is none.
pub fn parse_age(text: &str) -> Result<u64, Failure> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => {
            let what = "an age is a number with ms, s, m, h or d";
            return Err(Failure::Failed(format!("invalid suffix in \"{text}\": {what}")));
        }
    };
    let age = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    age.ok_or_else(|| invalid("age", text))
}

/// What `-X` takes.
///
/// # Errors
/// If it is no level.
pub fn parse_level(text: &str) -> Result<Level, Failure> {
    match text {
        "uncompressed" => Ok(Level::Uncompressed),
        _ => match text.parse::<i64>().map(i8::try_from) {
            // As in the setting compression_level.
            Ok(Ok(0)) => Ok(Level::Zstd(1)),
            Ok(Ok(level)) => Ok(Level::Zstd(level.min(LEVEL_MAX))),
            Ok(Err(_)) => {
                let what = "compression level must be between -128 and 127";
                Err(Failure::Failed(what.to_owned()))
            }
            Err(_) => Err(invalid("integer", text)),
        },
    }
}

/// Asks what there is.
fn everything() -> Trim {
    Trim { stored_before_secs: Some(u64::MAX), dry_run: true, ..Trim::default() }
}

/// `-C`.
pub fn clear(how: &How) -> Result<(), Failure> {
    let settings = how.settings()?;
    if existing(&settings)?.is_none() {
        return Ok(());
    }
    if how.dry_run {
        return tell(how, &trimmed(&settings, &everything())?);
    }
    clear_store(&writable(&settings)?)
}

/// Clears a store, and counts a clean-up if something went.
fn clear_store(store: &Store) -> Result<(), Failure> {
    let had_entries = store.stats()?.entries > 0;
    after_janitor(store, Store::clear)?;
    if had_entries {
        store.counters().add(Counter::CleanupsPerformed as usize, 1);
    }
    Ok(())
}

/// `-c`.
pub fn clean_up(how: &How) -> Result<(), Failure> {
    let settings = how.settings()?;
    if existing(&settings)?.is_none() {
        return tell(how, &Trimmed::default());
    }
    let mut removed = Trimmed::default();
    if !how.dry_run {
        let store = writable(&settings)?;
        let before = store.stats()?.entries;
        removed.bytes_dropped = upkeep(&store, Budget::full())?.bytes_evicted;
        if removed.bytes_dropped > 0 {
            removed.entries_dropped = before.saturating_sub(store.stats()?.entries);
        }
    }
    let limit = settings.number("max_size");
    let used = existing(&settings)?.map_or(Ok(0), |store| Ok(store.stats()?.disk_bytes));
    let used = used.map_err(|error: larder_engine::Error| Failure::from(error))?;
    if limit > 0 && used > limit {
        let trim = Trim { max_size_bytes: Some(limit), dry_run: how.dry_run, ..Trim::default() };
        let done = match trimmed(&settings, &trim) {
            // No store is as small as that: an empty one comes nearest.
            Err(Unfit::TooSmall) => {
                let done = trimmed(&settings, &everything())?;
                if !how.dry_run {
                    clear_store(&writable(&settings)?)?;
                }
                done
            }
            other => other?,
        };
        removed.entries_dropped += done.entries_dropped;
        removed.bytes_dropped += done.bytes_dropped;
    }
    tell(how, &removed)
}

/// Why a trim was not made.
enum Unfit {
    TooSmall,
    Failed(Failure),
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Failure {
        match unfit {
            Unfit::TooSmall => Failure::Failed("no store is as small as that".to_owned()),
            Unfit::Failed(failure) => failure,
        }
    }
}

/// Trims, and counts a clean-up if something went.
fn trimmed(settings: &Settings, trim: &Trim) -> Result<Trimmed, Unfit> {
    let open = || -> Result<Option<Store>, Failure> {
        match trim.dry_run {
            true => existing(settings),
            false => writable(settings).map(Some),
        }
    };
    let Some(store) = open().map_err(Unfit::Failed)? else { return Ok(Trimmed::default()) };
    let mut bar = Bar::new("evicting");
    let done = after_janitor(&store, |store| store.trim(trim, |done, total| bar.show(done, total)));
    bar.end();
    match done {
        Ok(done) => {
            if done.entries_dropped > 0 && !trim.dry_run {
                store.counters().add(Counter::CleanupsPerformed as usize, 1);
            }
            Ok(done)
        }
        Err(error) if error.kind() == ErrorKind::Limit => Err(Unfit::TooSmall),
        Err(error) => Err(Unfit::Failed(error.into())),
    }
}

fn tell(how: &How, done: &Trimmed) -> Result<(), Failure> {
    let what = if how.dry_run { "Would remove data:" } else { "Removed data:" };
    let files = match done.entries_dropped {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    print(&format!("{what} {} ({files})\n", shown(done.bytes_dropped)))
}

fn shown(bytes: u64) -> String {
    if bytes == 0 { "0.0 KiB".to_owned() } else { show_size(bytes, false) }
}

/// `--evict-namespace` and `--evict-older-than`.
pub fn evict(how: &How, evict: &Evict) -> Result<(), Failure> {
    let settings = how.settings()?;
    if existing(&settings)?.is_none() {
        return tell(how, &Trimmed::default());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let before = |age_ms| now.saturating_sub(Duration::from_millis(age_ms)).as_secs();
    let trim = Trim {
        namespace: evict.namespace.clone(),
        unused_since_secs: evict.age_ms.map(before),
        dry_run: how.dry_run,
        ..Trim::default()
    };
    let done = trimmed(&settings, &trim)?;
    tell(how, &done)?;
    match done.knows_no_use {
        true => print(
            "It is not known yet what was used in that time. Uses are noted now, and a later call \
             removes\nwhat had none.\n",
        ),
        false => Ok(()),
    }
}

/// A record of the store.
///
/// # Errors
/// If there is none of that key.
pub fn record(how: &How, key: &Key) -> Result<Record, Failure> {
    let store = existing(&how.settings()?)?;
    let found = match &store {
        Some(store) => store.get(key)?,
        None => None,
    };
    found.ok_or_else(|| Failure::Failed("the store has no record of that key".to_owned()))
}

/// Bytes of records, by how they are stored.
#[derive(Clone, Copy, Default)]
struct Sizes {
    /// All there is.
    total: u64,
    /// What is stored as it is.
    raw: u64,
    /// What the rest is when it is not compressed.
    original: u64,
}

impl Sizes {
    fn of(record: &Record) -> Sizes {
        let head = record.head();
        let (raw, packed): (Vec<_>, Vec<_>) =
            record.sections().iter().partition(|section| section.is_raw());
        let original: u64 = packed.iter().map(|section| section.real_bytes).sum();
        let raw = raw.iter().map(|section| section.real_bytes).sum::<u64>() + head.head_bytes;
        Sizes { total: head.body_bytes, raw: raw.min(head.body_bytes), original }
    }

    fn add(&mut self, other: Sizes) {
        self.total += other.total;
        self.raw += other.raw;
        self.original += other.original;
    }

    fn packed(&self) -> u64 {
        self.total - self.raw
    }
}

/// How much smaller something is: the share that is left, the ratio, and the share that is saved.
fn ratio(packed: u64, original: u64) -> (f64, f64, f64) {
    let share = if original == 0 { 1.0 } else { packed as f64 / original as f64 };
    (100.0 * share, if share > 0.0 { 1.0 / share } else { 0.0 }, 100.0 * (1.0 - share))
}

/// Every record of the store in turn, with a bar; nothing where there is no store.
fn each_record(
    label: &'static str,
    store: &Store,
    mut take: impl FnMut(&Record) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let total = store.stats()?.disk_bytes;
    let (mut bar, mut done) = (Bar::new(label), 0);
    let snapshot = store.snapshot()?;
    let taken = snapshot.iter().try_for_each(|record| {
        done += record.head().body_bytes;
        bar.show(done, total.max(done));
        take(&record)
    });
    bar.end();
    taken
}

/// `-x`.
pub fn show_compression(how: &How) -> Result<(), Failure> {
    let mut sizes = Sizes::default();
    let mut on_disk = 0;
    if let Some(store) = existing(&how.settings()?)? {
        each_record("reading", &store, |record| {
            sizes.add(Sizes::of(record));
            Ok(())
        })?;
        on_disk = store.stats()?.disk_bytes;
    }
    let (share, ratio, saved) = ratio(sizes.packed(), sizes.original);
    print(&format!(
        "Total data:          {:>10} ({} disk blocks)\n\
         Compressed data:     {:>10} ({share:.1}% of original size)\n\
         \x20 Original size:     {:>10}\n\
         \x20 Compression ratio: {ratio:>6.3} x   ({saved:.1}% space savings)\n\
         Incompressible data: {:>10}\n",
        shown(sizes.total),
        shown(on_disk),
        shown(sizes.packed()),
        shown(sizes.original),
        shown(sizes.raw)
    ))
}

/// Whether a record was stored uncompressed, to be cloned or because it was to be. (What
/// compression made no smaller stands raw, too, and is tried again.)
fn is_worth_it(record: &Record) -> bool {
    let is_large = |section: &&SectionInfo| section.real_bytes > GROUPED_SECTION_BYTES_MAX as u64;
    let is_raw = record.sections().iter().filter(is_large).any(SectionInfo::is_raw);
    record.kind() == Some(RecordKind::Result) && (record.head().cloneable || is_raw)
}

/// `-X`.
pub fn recompress(how: &How, level: Level) -> Result<(), Failure> {
    let settings = how.settings()?;
    let Level::Zstd(level) = level else {
        return print(
            "Nothing is stored anew without compression: that would only make the store larger\n",
        );
    };
    let Some(store) = existing(&settings)? else { return Ok(()) };
    let (mut before, mut after) = (Sizes::default(), Sizes::default());
    let mut wanted = Vec::new();
    each_record("reading", &store, |record| {
        before.add(Sizes::of(record));
        match is_worth_it(record) {
            true => wanted.push((record.key(), record.head().body_bytes)),
            false => after.add(Sizes::of(record)),
        }
        Ok(())
    })?;
    if how.dry_run {
        return print(&format!("Would recompress {} results\n", wanted.len()));
    }
    let config = settings.larder();
    let options = Options::new()
        .max_size_bytes(config.max_size_bytes.value)
        .file_mode(0o666 & !config.umask.value)
        .zstd_level(i32::from(level).clamp(-50, 22));
    let store = Store::open(&settings.store_dir(), options)?;
    let total = wanted.iter().map(|(_, bytes)| bytes).sum();
    let (mut bar, mut done) = (Bar::new("recompressing"), 0);
    for (key, bytes) in &wanted {
        bar.show(done, total);
        done += bytes;
        if let Some(record) = store.get(key)? {
            after.add(put_again(&store, &record)?);
        }
    }
    bar.end();
    tell_recompression(&before, &after)
}

/// Stores a record once more, compressed; how large it is then.
fn put_again(store: &Store, record: &Record) -> Result<Sizes, Failure> {
    let mut sections = Vec::new();
    for (at, info) in record.sections().iter().enumerate() {
        let Some(kind) = info.kind else { return Ok(Sizes::of(record)) };
        let section = Section::new(kind, record.read(at)?);
        sections.push(section.mode(info.mode).name(info.name.clone()));
    }
    let mut entry = Entry::new(record.key(), RecordKind::Result, sections);
    entry.namespace = record.namespace().into();
    entry.created_secs = Some(record.created_secs());
    match store.put(&entry)? {
        Put::Stored => {}
        Put::Dropped(_) => return Ok(Sizes::of(record)),
    }
    let new = store.get(&record.key())?;
    Ok(new.map_or_else(Sizes::default, |new| Sizes::of(&new)))
}

fn tell_recompression(before: &Sizes, after: &Sizes) -> Result<(), Failure> {
    let original = |sizes: &Sizes| sizes.original + sizes.raw;
    let (old_share, old_ratio, old_saved) = ratio(before.total, original(before));
    let (new_share, new_ratio, new_saved) = ratio(after.total, original(before));
    let change = match after.total.checked_sub(before.total) {
        Some(more) => format!("+{}", shown(more)),
        None => format!("-{}", shown(before.total - after.total)),
    };
    print(&format!(
        "Original data:         {:>10}\n\
         Old compressed data:   {:>10} ({old_share:.1}% of original size)\n\
         \x20 - Compression ratio: {old_ratio:>6.3} x  ({old_saved:.1}% space savings)\n\
         New compressed data:   {:>10} ({new_share:.1}% of original size)\n\
         \x20 - Compression ratio: {new_ratio:>6.3} x  ({new_saved:.1}% space savings)\n\
         Size change:           {change:>10}\n",
        shown(original(before)),
        shown(before.total),
        shown(after.total)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_levels_have_their_units() {
        let age = |text| parse_age(text).map_err(|failure| failure.text().to_owned());
        for (text, wanted) in
            [("5ms", 5), ("7s", 7_000), ("2m", 120_000), ("1h", 3_600_000), ("1d", 86_400_000)]
        {
            assert_eq!(age(text), Ok(wanted));
        }
        for text in ["5", "5x", "d", "99999999999999999999d", "-5s", "1w"] {
            assert!(age(text).is_err(), "{text}");
        }
        let level = |text| parse_level(text).ok();
        assert_eq!(level("uncompressed"), Some(Level::Uncompressed));
        assert_eq!([level("0"), level("-3")], [Some(Level::Zstd(1)), Some(Level::Zstd(-3))]);
        assert_eq!(level("23"), Some(Level::Zstd(LEVEL_MAX)));
        assert_eq!([level("128"), level("x")], [None, None]);
    }

    #[test]
    fn what_is_not_there_is_not_compressed() {
        assert_eq!(ratio(0, 0), (100.0, 1.0, 0.0));
        assert_eq!(ratio(1, 4), (25.0, 4.0, 75.0));
    }
}
