//! Statistics: what the counters of the store say, for people and for programs.
//!
//! The names and numbers are ccache's where ccache has the counter; larder's own begin at 128. A
//! direct hit adds one to `direct_cache_hit` and `local_storage_hit` and two to
//! `local_storage_read_hit` (manifest and result). `local_storage_hit` and `_miss` count results.

pub mod calls;

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use larder_engine::{COUNT_MAX, Result, Stats, Store};

use crate::outcome::Counter;

/// Where a counter stands in the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Group {
    /// Summed up in the first lines.
    Calls,
    /// Why a call was not cached.
    Uncacheable,
    /// What went wrong.
    Errors,
    /// How files of hits came to their places, and why not by cloning.
    Objects,
    /// Only in JSON, or shown in another form.
    Storage,
}

use Counter::*;
use Group::*;

/// Every counter: its name in JSON, its words for people, and its group.
const COUNTERS: &[(Counter, &str, &str, Group)] = &[
    (CompileFailed, "compile_failed", "compilation failed", Uncacheable),
    (InternalError, "internal_error", "internal error", Errors),
    (CacheMiss, "cache_miss", "misses", Calls),
    (PreprocessorError, "preprocessor_error", "preprocessing failed", Uncacheable),
    (CouldNotFindCompiler, "could_not_find_compiler", "compiler not found", Errors),
    (MissingCacheFile, "missing_cache_file", "missing record", Errors),
    (PreprocessedCacheHit, "preprocessed_cache_hit", "preprocessed", Calls),
    (BadCompilerArguments, "bad_compiler_arguments", "bad compiler arguments", Uncacheable),
    (CalledForLink, "called_for_link", "called for linking", Uncacheable),
    (
        UnsupportedSourceLanguage,
        "unsupported_source_language",
        "unsupported source language",
        Uncacheable,
    ),
    (BadOutputFile, "bad_output_file", "unsuitable output file", Errors),
    (NoInputFile, "no_input_file", "no input file", Uncacheable),
    (MultipleSourceFiles, "multiple_source_files", "several source files", Uncacheable),
    (AutoconfTest, "autoconf_test", "autoconf test", Uncacheable),
    (
        UnsupportedCompilerOption,
        "unsupported_compiler_option",
        "unsupported compiler option",
        Uncacheable,
    ),
    (OutputToStdout, "output_to_stdout", "output to stdout", Uncacheable),
    (DirectCacheHit, "direct_cache_hit", "direct", Calls),
    (CompilerProducedNoOutput, "compiler_produced_no_output", "no output made", Uncacheable),
    (
        CompilerProducedEmptyOutput,
        "compiler_produced_empty_output",
        "empty output made",
        Uncacheable,
    ),
    (ErrorHashingExtraFile, "error_hashing_extra_file", "unreadable named file", Errors),
    (CompilerCheckFailed, "compiler_check_failed", "unknown compiler", Errors),
    (
        CouldNotUsePrecompiledHeader,
        "could_not_use_precompiled_header",
        "precompiled header",
        Uncacheable,
    ),
    (CalledForPreprocessing, "called_for_preprocessing", "called for preprocessing", Uncacheable),
    (CleanupsPerformed, "cleanups_performed", "cleanups performed", Storage),
    (
        UnsupportedCodeDirective,
        "unsupported_code_directive",
        "unsupported directive in the source",
        Uncacheable,
    ),
    (StatsZeroedTimestamp, "stats_zeroed_timestamp", "counted since", Storage),
    (CouldNotUseModules, "could_not_use_modules", "modules", Uncacheable),
    (DirectCacheMiss, "direct_cache_miss", "direct misses", Storage),
    (PreprocessedCacheMiss, "preprocessed_cache_miss", "preprocessed misses", Storage),
    (LocalStorageReadHit, "local_storage_read_hit", "reads that found", Storage),
    (LocalStorageReadMiss, "local_storage_read_miss", "reads that did not", Storage),
    (Recache, "recache", "recached", Storage),
    (
        UnsupportedEnvironmentVariable,
        "unsupported_environment_variable",
        "unsupported environment variable",
        Uncacheable,
    ),
    (LocalStorageWrite, "local_storage_write", "writes", Storage),
    (LocalStorageHit, "local_storage_hit", "results found", Storage),
    (LocalStorageMiss, "local_storage_miss", "results not found", Storage),
    (Disabled, "disabled", "disabled", Uncacheable),
    (BadInputFile, "bad_input_file", "unreadable input file", Errors),
    (ModifiedInputFile, "modified_input_file", "input changed during the compile", Uncacheable),
    (
        UnsupportedSourceEncoding,
        "unsupported_source_encoding",
        "unsupported source encoding",
        Uncacheable,
    ),
    (StoreUnavailable, "store_unavailable", "store could not be written", Errors),
    (StoreDropped, "store_dropped", "result not stored for want of room or time", Errors),
    (StoreCorrupt, "store_corrupt", "damaged record", Errors),
    (FailureCacheHit, "failure_cache_hit", "failures", Calls),
    (ObjectsCloned, "objects_cloned", "cloned", Calls),
    (ObjectsCopied, "objects_copied", "copied", Calls),
    (CopiedFileSystem, "objects_copied_file_system", "file system cannot clone", Objects),
    (
        CopiedOtherFileSystem,
        "objects_copied_other_file_system",
        "store on another file system",
        Objects,
    ),
    (CopiedSmall, "objects_copied_small", "small", Objects),
    (CopiedCompressed, "objects_copied_compressed", "stored compressed", Objects),
    (CopiedFresh, "objects_copied_fresh", "written since the last checkpoint", Objects),
    (CopiedRefused, "objects_copied_refused", "clone refused", Objects),
];

/// What the store and its counters say at one moment.
pub struct Report {
    values: Vec<u64>,
    engine: Vec<(&'static str, u64)>,
    store: Stats,
}

impl Report {
    /// Reads the counters.
    ///
    /// # Errors
    /// As [`Store::stats`].
    pub fn read(store: &Store) -> Result<Report> {
        let value = |row: &(Counter, _, _, _)| store.counters().get(row.0 as usize);
        Ok(Report {
            values: COUNTERS.iter().map(value).collect(),
            engine: store.engine_counters().collect(),
            store: store.stats()?,
        })
    }

    fn value(&self, counter: Counter) -> u64 {
        let at = COUNTERS.iter().position(|row| row.0 == counter);
        at.and_then(|at| self.values.get(at)).copied().unwrap_or(0)
    }

    fn hits(&self) -> u64 {
        self.value(DirectCacheHit).saturating_add(self.value(PreprocessedCacheHit))
    }

    fn cacheable(&self) -> u64 {
        self.hits().saturating_add(self.value(CacheMiss))
    }

    /// Hits of cacheable calls, 0 to 1.
    fn hit_rate(&self) -> f64 {
        if self.cacheable() == 0 { 0.0 } else { self.hits() as f64 / self.cacheable() as f64 }
    }

    /// A few lines to read; what is zero is left out.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let percent = self.hit_rate() * 100.0;
        line(&mut text, 0, "cacheable calls", &self.cacheable().to_string());
        line(&mut text, 2, "hits", &format!("{} ({percent:.1} %)", self.hits()));
        line(&mut text, 4, "direct", &self.value(DirectCacheHit).to_string());
        line(&mut text, 4, "preprocessed", &self.value(PreprocessedCacheHit).to_string());
        line(&mut text, 2, "misses", &self.value(CacheMiss).to_string());
        // Nothing for who never asked for failures.
        if self.value(FailureCacheHit) > 0 {
            line(&mut text, 0, "failures answered", &self.value(FailureCacheHit).to_string());
        }
        self.objects(&mut text);
        self.group(&mut text, Uncacheable, "uncacheable calls");
        self.group(&mut text, Errors, "errors");
        let store = &self.store;
        line(&mut text, 0, "store", "");
        let (used, most) = (size(store.disk_bytes), size(store.max_size_bytes));
        line(&mut text, 2, "on disk", &format!("{used} of {most}"));
        line(&mut text, 2, "entries", &store.entries.to_string());
        line(&mut text, 2, "segments", &store.segments.to_string());
        if self.values.iter().any(|value| *value > COUNT_MAX) {
            text.push_str(
                "some of these numbers cannot be right; `larder zero` sets them to zero\n",
            );
        }
        text
    }

    /// Nothing for who never asked for clones.
    fn objects(&self, text: &mut String) {
        let asked: u64 = self.rows(Objects).map(|(_, value)| value).sum();
        let (cloned, copied) = (self.value(ObjectsCloned), self.value(ObjectsCopied));
        if cloned + asked == 0 {
            return;
        }
        line(text, 0, "files of hits", &(cloned + copied).to_string());
        line(text, 2, "cloned", &cloned.to_string());
        line(text, 2, "copied", &copied.to_string());
        for (what, value) in self.rows(Objects).filter(|(_, value)| *value != 0) {
            line(text, 4, what, &value.to_string());
        }
    }

    /// Words and values of a group.
    fn rows(&self, group: Group) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let rows = COUNTERS.iter().zip(&self.values).filter(move |(row, _)| row.3 == group);
        rows.map(|(row, value)| (row.2, *value))
    }

    fn group(&self, text: &mut String, group: Group, title: &str) {
        let sum = self.rows(group).fold(0u64, |sum, (_, value)| sum.saturating_add(value));
        line(text, 0, title, &sum.to_string());
        for (what, value) in self.rows(group).filter(|(_, value)| *value != 0) {
            line(text, 2, what, &value.to_string());
        }
    }

    /// One JSON object: every counter by its name, then the store's and the engine's figures.
    pub fn json(&self) -> String {
        let mut fields: Vec<(String, String)> = Vec::new();
        for (row, value) in COUNTERS.iter().zip(&self.values) {
            fields.push((row.1.to_owned(), value.to_string()));
        }
        let store = &self.store;
        // What ccache derives from its directory, and counters for tiers that are not there yet.
        for (name, value) in [
            ("files_in_cache", store.entries),
            ("cache_size_kibibyte", store.disk_bytes / 1024),
            ("max_cache_size_kibibyte", store.max_size_bytes / 1024),
            ("max_files_in_cache", 0),
            ("remote_storage_read_hit", 0),
            ("remote_storage_read_miss", 0),
            ("remote_storage_error", 0),
            ("remote_storage_timeout", 0),
            ("remote_storage_write", 0),
            ("remote_storage_hit", 0),
            ("remote_storage_miss", 0),
        ] {
            fields.push((name.to_owned(), value.to_string()));
        }
        fields.push(("hit_rate".to_owned(), format!("{:.4}", self.hit_rate())));
        for (name, value) in [
            ("entries", store.entries),
            ("disk_bytes", store.disk_bytes),
            ("index_bytes", store.index_bytes),
            ("max_size_bytes", store.max_size_bytes),
            ("segment_bytes", store.segment_bytes),
            ("segments", store.segments),
            ("unmerged_segments", store.unmerged_segments),
        ] {
            fields.push((format!("store_{name}"), value.to_string()));
        }
        for (name, value) in &self.engine {
            fields.push(((*name).to_owned(), value.to_string()));
        }
        let fields = fields.iter().map(|(name, value)| format!("  \"{name}\": {value}"));
        format!("{{\n{}\n}}\n", fields.collect::<Vec<_>>().join(",\n"))
    }
}

fn line(text: &mut String, indent: usize, label: &str, value: &str) {
    let label = format!("{:indent$}{label}", "");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}", format!("{label:<42}  {value}").trim_end());
}

/// A counter in words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Words {
    /// Its name in JSON.
    pub name: &'static str,
    /// What people are told.
    pub words: &'static str,
}

/// The words of a counter; `None` if there is none of that id.
pub fn words_of(id: u16) -> Option<Words> {
    let row = COUNTERS.iter().find(|row| row.0 as u16 == id)?;
    Some(Words { name: row.1, words: row.2 })
}

/// Microseconds as people read them.
pub fn time(us: u64) -> String {
    let secs = us as f64 / 1e6;
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000 => format!("{:.1} ms", secs * 1e3),
        10_000..1_000_000 => format!("{:.0} ms", secs * 1e3),
        1_000_000..120_000_000 => format!("{secs:.1} s"),
        120_000_000..7_200_000_000 => {
            format!("{:.0} min {:.0} s", (secs / 60.0).floor(), secs % 60.0)
        }
        _ => format!("{:.0} h {:.0} min", (secs / 3600.0).floor(), (secs % 3600.0) / 60.0),
    }
}

/// Bytes as people read them.
pub fn size(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { counted(bytes, "byte") } else { format!("{value:.1} {}", units[unit]) }
}

/// A number of things: `1 segment`, `2 segments`.
pub fn counted(count: u64, thing: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{ending}")
}

/// The same with the past: `1 result was`, `2 results were`.
pub fn counted_past(count: u64, thing: &str) -> String {
    format!("{} {}", counted(count, thing), if count == 1 { "was" } else { "were" })
}

/// Sets every counter to zero, the engine's too, and remembers when.
pub fn zero(store: &Store) {
    for id in 0..larder_engine::limits::COUNTERS {
        store.counters().set(id, 0);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    store.counters().set(StatsZeroedTimestamp as usize, now);
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_engine::{EngineCounter, Options};

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), Options::new()).unwrap();
        (dir, store)
    }

    #[test]
    fn each_counter_has_one_row_and_one_name() {
        let names: std::collections::BTreeSet<_> = COUNTERS.iter().map(|row| row.1).collect();
        let ids: std::collections::BTreeSet<_> = COUNTERS.iter().map(|row| row.0 as u16).collect();
        assert_eq!((names.len(), ids.len()), (COUNTERS.len(), COUNTERS.len()));
        assert!(COUNTERS.is_sorted_by_key(|row| row.0 as u16));
    }

    #[test]
    fn hits_and_reasons_are_told() {
        let (_dir, store) = store();
        store.counters().add(DirectCacheHit as usize, 3);
        store.counters().add(CacheMiss as usize, 1);
        store.counters().add(CalledForLink as usize, 7);
        let report = Report::read(&store).unwrap();
        let text = report.text();
        assert!(text.contains("3 (75.0 %)"), "{text}");
        assert!(text.contains("called for linking                        7"), "{text}");
        for (counter, ..) in COUNTERS {
            store.counters().add(*counter as usize, 1);
        }
        // The number of each line is a word of its own, two blanks behind its label.
        let text = Report::read(&store).unwrap().text();
        let is_apart =
            |line: &str| line.trim_start().contains("  ") || !line.contains(char::is_numeric);
        assert!(text.lines().all(is_apart), "{text}");
        let json = report.json();
        let names: Vec<_> = json.lines().filter_map(|line| line.split('"').nth(1)).collect();
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        assert!(json.contains("\"engine_puts\": 0,") && json.contains("\"files_in_cache\": 0,"));
        assert!(json.contains("\"direct_cache_hit\": 3,") && json.contains("\"hit_rate\": 0.7500"));
    }

    #[test]
    fn clones_are_shown_to_who_asked_for_them() {
        let (_dir, store) = store();
        store.counters().add(ObjectsCopied as usize, 5);
        assert!(!Report::read(&store).unwrap().text().contains("cloned"));
        store.counters().add(ObjectsCloned as usize, 2);
        store.counters().add(CopiedFresh as usize, 1);
        let text = Report::read(&store).unwrap().text();
        assert!(text.contains("files of hits                               7"), "{text}");
        assert!(text.contains("    written since the last checkpoint       1"), "{text}");
        assert!(!text.contains("small"), "{text}");
    }

    #[test]
    fn zero_keeps_only_its_own_time() {
        let (_dir, store) = store();
        store.counters().add(CacheMiss as usize, 1);
        store.counters().add(EngineCounter::Damaged.id(), 1);
        zero(&store);
        assert_eq!(store.engine_counters().map(|(_, count)| count).sum::<u64>(), 0);
        assert_eq!(store.counters().get(CacheMiss as usize), 0);
        assert_ne!(store.counters().get(StatsZeroedTimestamp as usize), 0);
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!((size(12).as_str(), size(1).as_str()), ("12 bytes", "1 byte"));
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(10 << 30), "10.0 GiB");
    }
}
