//! Statistics in ccache's shape: a page for people, lines or JSON for programs, and the same of the
//! statistics log.
//!
//! 1. Ids are ccache's; a counter of the store has ccache's number for its place. What ccache knows
//!    of its directory is asked of the store: entries are results and manifests, and the size is
//!    that of the store on the disk.
//! 2. A store that is not there has counted nothing. Only `-z` makes one: it notes the moment.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;

use larder_engine::{RecordKind, Store};

use super::super::command::{Failure, print};
use super::super::verify::open_to_read;
use super::commands::How;
use crate::calendar::Time;
use crate::config::ccache::Settings;
use crate::moment::local_offset_secs;
use crate::stats;
use crate::store::open_store;

/// How programs want it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// A line of id, TAB and value for each.
    #[default]
    Tab,
    /// One JSON object.
    Json,
}

impl Format {
    /// From the command line.
    ///
    /// # Errors
    /// If it is neither.
    pub fn parse(text: &str) -> Result<Format, Failure> {
        match text {
            "tab" => Ok(Format::Tab),
            "json" => Ok(Format::Json),
            _ => Err(super::commands::invalid("format", text)),
        }
    }
}

/// Where a counter stands on the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Group {
    Uncacheable,
    Errors,
    Other,
}

use Group::{Errors, Other, Uncacheable};

/// ccache's counters: number, id, group, and words for people.
const IDS: &[(usize, &str, Group, &str)] = &[
    (1, "compiler_produced_stdout", Uncacheable, "Compiler produced stdout"),
    (2, "compile_failed", Uncacheable, "Compilation failed"),
    (3, "internal_error", Errors, "Internal error"),
    (4, "cache_miss", Other, ""),
    (5, "preprocessor_error", Uncacheable, "Preprocessing failed"),
    (6, "could_not_find_compiler", Errors, "Could not find compiler"),
    (7, "missing_cache_file", Errors, "Missing cache file"),
    (8, "preprocessed_cache_hit", Other, ""),
    (9, "bad_compiler_arguments", Uncacheable, "Bad compiler arguments"),
    (10, "called_for_link", Uncacheable, "Called for linking"),
    (15, "unsupported_source_language", Uncacheable, "Unsupported source language"),
    (16, "bad_output_file", Errors, "Could not write to output file"),
    (17, "no_input_file", Uncacheable, "No input file"),
    (18, "multiple_source_files", Uncacheable, "Multiple source files"),
    (19, "autoconf_test", Uncacheable, "Autoconf compile/link"),
    (20, "unsupported_compiler_option", Uncacheable, "Unsupported compiler option"),
    (21, "output_to_stdout", Uncacheable, "Output to stdout"),
    (22, "direct_cache_hit", Other, ""),
    (23, "compiler_produced_no_output", Uncacheable, "Compiler output file missing"),
    (24, "compiler_produced_empty_output", Uncacheable, "Compiler produced empty output"),
    (25, "error_hashing_extra_file", Errors, "Error hashing extra file"),
    (26, "compiler_check_failed", Errors, "Compiler check failed"),
    (27, "could_not_use_precompiled_header", Uncacheable, "Could not use precompiled header"),
    (28, "called_for_preprocessing", Uncacheable, "Called for preprocessing"),
    (29, "cleanups_performed", Other, ""),
    (30, "unsupported_code_directive", Uncacheable, "Unsupported code directive"),
    (31, "stats_zeroed_timestamp", Other, ""),
    (32, "could_not_use_modules", Uncacheable, "Could not use modules"),
    (33, "direct_cache_miss", Other, ""),
    (34, "preprocessed_cache_miss", Other, ""),
    (35, "local_storage_read_hit", Other, ""),
    (36, "local_storage_read_miss", Other, ""),
    (37, "remote_storage_read_hit", Other, ""),
    (38, "remote_storage_read_miss", Other, ""),
    (39, "remote_storage_error", Other, ""),
    (40, "remote_storage_timeout", Other, ""),
    (41, "recache", Uncacheable, "Forced recache"),
    (42, "unsupported_environment_variable", Uncacheable, "Unsupported environment variable"),
    (43, "local_storage_write", Other, ""),
    (44, "local_storage_hit", Other, ""),
    (45, "local_storage_miss", Other, ""),
    (46, "remote_storage_write", Other, ""),
    (47, "remote_storage_hit", Other, ""),
    (48, "remote_storage_miss", Other, ""),
    (81, "disabled", Uncacheable, "Disabled"),
    (82, "bad_input_file", Errors, "Could not read or parse input file"),
    (83, "modified_input_file", Errors, "Input file modified during compilation"),
    (84, "unsupported_source_encoding", Uncacheable, "Unsupported source encoding"),
];

/// Ids whose values are asked of the store and the settings.
const FILES: &str = "files_in_cache";
const SIZE: &str = "cache_size_kibibyte";
const SIZE_MAX: &str = "max_cache_size_kibibyte";
const FILES_MAX: &str = "max_files_in_cache";
const UPDATED: &str = "stats_updated_timestamp";

/// Every id with its value.
#[derive(Clone, Debug, Default)]
struct Figures(BTreeMap<&'static str, u64>);

impl Figures {
    fn of(&self, id: &str) -> u64 {
        self.0.get(id).copied().unwrap_or(0)
    }

    fn read(settings: &Settings) -> Result<Figures, Failure> {
        let mut figures: BTreeMap<_, _> = IDS.iter().map(|(_, id, ..)| (*id, 0)).collect();
        figures.extend([(FILES, 0), (SIZE, 0), (UPDATED, 0)]);
        figures.insert(SIZE_MAX, settings.number("max_size") / 1024);
        figures.insert(FILES_MAX, settings.number("max_files"));
        if let Some(store) = existing(settings)? {
            for (number, id, ..) in IDS {
                figures.insert(id, store.counters().get(*number));
            }
            let kinds = [RecordKind::Result, RecordKind::Manifest];
            figures.insert(FILES, store.snapshot()?.count(&kinds));
            figures.insert(SIZE, store.stats()?.disk_bytes / 1024);
            let counted = fs::metadata(store.path().join("counters"));
            figures.insert(UPDATED, counted.map_or(0, |data| data.mtime().cast_unsigned()));
        }
        Ok(Figures(figures))
    }

    /// The sum of what a statistics log says: lines of ids, and of what they belong to.
    fn of_log(text: &str) -> Figures {
        let mut figures = BTreeMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some((_, id, ..)) = IDS.iter().find(|row| row.1 == line) {
                *figures.entry(*id).or_default() += 1;
            }
        }
        Figures(figures)
    }
}

/// The store, to be read; `None` if there is none.
pub fn existing(settings: &Settings) -> Result<Option<Store>, Failure> {
    let path = settings.store_dir();
    match path.exists() {
        true => Ok(Some(open_to_read(&settings.larder(), &path)?)),
        false => Ok(None),
    }
}

/// The store, to be written; it is made if it is not there.
pub fn writable(settings: &Settings) -> Result<Store, Failure> {
    let store = open_store(&settings.larder(), &settings.store_dir())?;
    match store.is_read_only() {
        true => Err(Failure::Failed(format!("{} is read-only", store.path().display()))),
        false => Ok(store),
    }
}

/// `-z`.
pub fn zero(how: &How) -> Result<(), Failure> {
    if how.dry_run {
        return print("Would zero statistics\n");
    }
    stats::zero(&writable(&how.settings()?)?);
    print("Statistics zeroed\n")
}

/// `--print-stats`.
pub fn print_stats(how: &How, format: Format) -> Result<(), Failure> {
    print(&machine(&Figures::read(&how.settings()?)?, format))
}

/// `--print-log-stats`.
pub fn print_log(how: &How, format: Format) -> Result<(), Failure> {
    let mut figures: BTreeMap<_, _> = IDS.iter().map(|(_, id, ..)| (*id, 0)).collect();
    figures.extend(log(&how.settings()?)?.0);
    print(&machine(&Figures(figures), format))
}

fn machine(figures: &Figures, format: Format) -> String {
    let rows = figures.0.iter();
    match format {
        Format::Tab => rows.map(|(id, value)| format!("{id}\t{value}\n")).collect(),
        Format::Json => {
            let rows: Vec<_> = rows.map(|(id, value)| format!("  \"{id}\": {value}")).collect();
            format!("{{\n{}\n}}\n", rows.join(",\n"))
        }
    }
}

fn log(settings: &Settings) -> Result<Figures, Failure> {
    let Some(path) = settings.string("stats_log") else {
        return Err(Failure::Failed("No stats log has been configured".to_owned()));
    };
    let why = |error| {
        let (path, why) = (path.display(), super::plain(&error));
        Failure::Failed(format!("failed to read {path}: {why}"))
    };
    Ok(Figures::of_log(&String::from_utf8_lossy(&fs::read(path).map_err(why)?)))
}

/// `-s`.
pub fn show(how: &How) -> Result<(), Failure> {
    let settings = how.settings()?;
    let figures = Figures::read(&settings)?;
    let mut page = Page { verbosity: how.verbosity, lines: Vec::new() };
    if how.verbosity > 0 {
        page.places(&settings, &figures);
    }
    page.calls(&figures);
    page.storage(&settings, &figures);
    print(&page.text())
}

/// `--show-log-stats`.
pub fn show_log(how: &How) -> Result<(), Failure> {
    let mut page = Page { verbosity: how.verbosity, lines: Vec::new() };
    let figures = log(&how.settings()?)?;
    page.calls(&figures);
    // A log does not tell how large the cache is.
    if how.verbosity > 0 {
        page.lines.push(Line::Title("Local storage:"));
        page.traffic("local", &figures);
    }
    print(&page.text())
}

/// A line of the page.
enum Line {
    /// Words and a text.
    Text(&'static str, String),
    /// Words and a number, with what it is a part of.
    Number(String, String, Option<(String, f64)>),
    /// Words alone.
    Title(&'static str),
}

/// Lines that are put below each other.
struct Page {
    verbosity: u32,
    lines: Vec<Line>,
}

impl Page {
    fn number(&mut self, label: &str, value: u64) {
        self.lines.push(Line::Number(label.to_owned(), value.to_string(), None));
    }

    fn part(&mut self, label: &str, value: u64, total: u64) {
        let share = (total > 0).then(|| (total.to_string(), value as f64 / total as f64));
        self.lines.push(Line::Number(label.to_owned(), value.to_string(), share));
    }

    /// Where everything is, and since when it is counted.
    fn places(&mut self, settings: &Settings, figures: &Figures) {
        let shown = |path: &std::path::Path| path.display().to_string();
        self.lines.push(Line::Text("Cache directory:", shown(&settings.cache_dir())));
        self.lines.push(Line::Text("Config file:", shown(settings.config_file())));
        let system = settings.system_config_file();
        self.lines.push(Line::Text("System config file:", shown(system)));
        self.lines.push(Line::Text("Stats updated:", date(figures.of(UPDATED))));
        if self.verbosity > 1 {
            self.lines
                .push(Line::Text("Stats zeroed:", date(figures.of("stats_zeroed_timestamp"))));
        }
    }

    fn calls(&mut self, figures: &Figures) {
        let (all, some) = (self.verbosity > 1, self.verbosity > 0);
        let sum = |group| {
            let rows = IDS.iter().filter(|row| row.2 == group);
            rows.map(|row| figures.of(row.1)).sum::<u64>()
        };
        let (direct, preprocessed) =
            (figures.of("direct_cache_hit"), figures.of("preprocessed_cache_hit"));
        let (hits, misses) = (direct + preprocessed, figures.of("cache_miss"));
        let (uncacheable, errors, cacheable) = (sum(Uncacheable), sum(Errors), hits + misses);
        let total = cacheable + uncacheable + errors;
        if cacheable > 0 || some {
            self.part("Cacheable calls:", cacheable, total);
            self.part("  Hits:", hits, cacheable);
            self.part("    Direct:", direct, hits);
            self.part("    Preprocessed:", preprocessed, hits);
            self.part("  Misses:", misses, cacheable);
        }
        for (title, group, value) in
            [("Uncacheable calls:", Uncacheable, uncacheable), ("Errors:", Errors, errors)]
        {
            if value > 0 || all {
                self.part(title, value, total);
                self.reasons(group, figures, value);
            }
        }
        if some {
            let rate = |hits: &str, misses: &str| (figures.of(hits), figures.of(misses));
            self.lines.push(Line::Title("Successful lookups:"));
            let (hit, miss) = rate("direct_cache_hit", "direct_cache_miss");
            self.part("  Direct:", hit, hit + miss);
            let (hit, miss) = rate("preprocessed_cache_hit", "preprocessed_cache_miss");
            self.part("  Preprocessed:", hit, hit + miss);
        }
    }

    /// Reasons in the order of their words, with their shares, for who wants more than the sum.
    fn reasons(&mut self, group: Group, figures: &Figures, sum: u64) {
        if self.verbosity == 0 {
            return;
        }
        let mut rows: Vec<_> = IDS.iter().filter(|row| row.2 == group).collect();
        rows.sort_by_key(|row| row.3);
        for (_, id, _, words) in rows {
            let value = figures.of(id);
            if value > 0 || self.verbosity > 1 {
                self.part(&format!("  {words}:"), value, sum);
            }
        }
    }

    fn storage(&mut self, settings: &Settings, figures: &Figures) {
        let (some, all) = (self.verbosity > 0, self.verbosity > 1);
        let limit = settings.number("max_size");
        let is_binary = settings.get("max_size").is_none_or(|size| size.ends_with("iB"));
        let (unit, name) = if is_binary { (1u64 << 30, "GiB") } else { (1_000_000_000, "GB") };
        let bytes = figures.of(SIZE) * 1024;
        let shown = |bytes: u64| format!("{:.1}", bytes as f64 / unit as f64);
        let share = (limit > 0).then(|| (shown(limit), bytes as f64 / limit as f64));
        self.lines.push(Line::Title("Local storage:"));
        self.lines.push(Line::Number(format!("  Cache size ({name}):"), shown(bytes), share));
        if some {
            let files = figures.of(FILES);
            self.part("  Files:", files, figures.of(FILES_MAX));
        }
        if all {
            self.number("  Cleanups:", figures.of("cleanups_performed"));
        }
        if some {
            self.traffic("local", figures);
        }
        let is_used =
            IDS.iter().any(|(_, id, ..)| id.starts_with("remote_storage_") && figures.of(id) > 0);
        if all || is_used {
            self.lines.push(Line::Title("Remote storage:"));
            self.traffic("remote", figures);
            for (label, id) in
                [("  Errors:", "remote_storage_error"), ("  Timeouts:", "remote_storage_timeout")]
            {
                // What never happened is told only to who wants everything.
                if all || figures.of(id) > 0 {
                    self.number(label, figures.of(id));
                }
            }
        }
    }

    fn traffic(&mut self, place: &str, figures: &Figures) {
        let of = |what: &str| figures.of(&format!("{place}_storage_{what}"));
        self.part("  Hits:", of("hit"), of("hit") + of("miss"));
        self.part("  Misses:", of("miss"), of("hit") + of("miss"));
        if self.verbosity > 0 {
            self.number("  Reads:", of("read_hit") + of("read_miss"));
            self.number("  Writes:", of("write"));
        }
    }

    /// The page with its numbers below each other.
    fn text(&self) -> String {
        let (mut labels, mut values, mut totals) = (0, 0, 0);
        for line in &self.lines {
            match line {
                Line::Text(label, _) => labels = labels.max(label.len()),
                Line::Number(label, value, part) => {
                    labels = labels.max(label.len());
                    values = values.max(value.len());
                    totals = totals.max(part.as_ref().map_or(0, |(total, _)| total.len()));
                }
                Line::Title(_) => {}
            }
        }
        let mut text = String::new();
        for line in &self.lines {
            // Writing to a string cannot fail.
            let _ = match line {
                Line::Text(label, words) => writeln!(text, "{label:<labels$} {words}"),
                Line::Title(label) => writeln!(text, "{label}"),
                Line::Number(label, value, None) => {
                    writeln!(text, "{label:<labels$} {value:>values$}")
                }
                Line::Number(label, value, Some((total, share))) => {
                    let share = share * 100.0;
                    let percent = match share >= 99.995 {
                        true => format!("{share:5.1}"),
                        false => format!("{share:5.2}"),
                    };
                    let total = format!("{total:>totals$}");
                    writeln!(text, "{label:<labels$} {value:>values$} / {total} ({percent}%)")
                }
            };
        }
        text
    }
}

/// A moment in local time, as C's `ctime` writes it.
fn date(secs: u64) -> String {
    if secs == 0 {
        return "never".to_owned();
    }
    let secs = secs.cast_signed();
    let offset = local_offset_secs(secs);
    let time = Time::of(secs.saturating_add(offset.unwrap_or(0)));
    let Time { year, day, hour, minute, second, .. } = time;
    let (weekday, month) = (time.weekday_name(), time.month_name());
    let zone = if offset.is_none() { " UTC" } else { "" };
    format!("{weekday} {month} {day:>2} {hour:02}:{minute:02}:{second:02} {year}{zone}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_below_each_other() {
        let mut page = Page { verbosity: 0, lines: Vec::new() };
        page.part("Cacheable calls:", 6, 6);
        page.part("  Hits:", 1, 6);
        page.part("    Direct:", 0, 0);
        page.lines.push(Line::Title("Local storage:"));
        let part = Some(("5.0".to_owned(), 0.0));
        page.lines.push(Line::Number("  Cache size (GiB):".to_owned(), "0.0".to_owned(), part));
        let wanted = "\
Cacheable calls:      6 /   6 (100.0%)
  Hits:               1 /   6 (16.67%)
    Direct:           0
Local storage:
  Cache size (GiB): 0.0 / 5.0 ( 0.00%)
";
        assert_eq!(page.text(), wanted);
    }

    #[test]
    fn what_never_was_has_no_date() {
        assert_eq!(date(0), "never");
    }

    #[test]
    fn a_statistics_log_is_summed_up() {
        let text = "# a.c\ncache_miss\ndirect_cache_miss\n# b.c\ncache_miss\nno_such_id\n";
        let figures = Figures::of_log(text);
        assert_eq!([figures.of("cache_miss"), figures.of("direct_cache_miss")], [2, 1]);
        assert_eq!(figures.0.len(), 2);
        let json = machine(&figures, Format::Json);
        assert_eq!(json, "{\n  \"cache_miss\": 2,\n  \"direct_cache_miss\": 1\n}\n");
        assert_eq!(machine(&figures, Format::Tab), "cache_miss\t2\ndirect_cache_miss\t1\n");
    }

    #[test]
    fn ids_and_numbers_are_those_of_the_counters() {
        let numbers: Vec<usize> = IDS.iter().map(|row| row.0).collect();
        assert!(numbers.is_sorted() && numbers.len() == 48);
        let outside =
            |number: &usize| [11, 12, 13, 14].contains(number) || (49..81).contains(number);
        assert!(!numbers.iter().any(outside));
        let is_known =
            |(number, id): (usize, &str)| IDS.iter().any(|row| row.0 == number && row.1 == id);
        assert!(is_known((Other as usize + 20, "direct_cache_hit")));
    }
}
