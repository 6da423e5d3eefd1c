//! Statistics in sccache's shape: its JSON object, and its lines.
//!
//! 1. Everything counts from the baseline, which `--start-server` and `--stop-server` set.
//! 2. Each counter of larder that says why a call was no hit has its place in [`PLACES`].
//! 3. What sccache has and larder does not, such as compiles that are distributed, is 0 or empty.
//! 4. Levels of a chain are the matter of `levels`.

mod levels;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use larder_engine::{Result, Store};

use super::super::json::string;
use super::INTERFACE_VERSION;
use crate::config::Config;
use crate::outcome::{BASELINE_FROM, Counter, Kind};
use crate::stats::{since_baseline, words_of};
use levels::Level;

/// Where a counter is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// The call was not looked for, and the reason is told.
    NotCacheable,
    /// It was none of a compiler to compile.
    NotCompile,
    /// Its compiler is not known.
    Unsupported,
    /// The compiler failed.
    Failed,
    /// It did not, but its result was not stored, and the reason is told.
    Unstored,
    /// larder failed; [`crate::outcome::CALL_ERRORS`], which count by language.
    Error,
    /// A result could not be read.
    Read,
    /// A result could not be written.
    Write,
}

const PLACES: &[(Counter, Place)] = &[
    (Counter::CompileFailed, Place::Failed),
    (Counter::InternalError, Place::Error),
    (Counter::PreprocessorError, Place::Failed),
    (Counter::CouldNotFindCompiler, Place::Unsupported),
    (Counter::MissingCacheFile, Place::Read),
    (Counter::BadCompilerArguments, Place::NotCacheable),
    (Counter::CalledForLink, Place::NotCacheable),
    (Counter::UnsupportedSourceLanguage, Place::NotCacheable),
    (Counter::BadOutputFile, Place::Error),
    (Counter::NoInputFile, Place::NotCompile),
    (Counter::MultipleSourceFiles, Place::NotCacheable),
    (Counter::AutoconfTest, Place::NotCacheable),
    (Counter::UnsupportedCompilerOption, Place::NotCacheable),
    (Counter::OutputToStdout, Place::NotCacheable),
    (Counter::CompilerProducedNoOutput, Place::Unstored),
    (Counter::CompilerProducedEmptyOutput, Place::Unstored),
    (Counter::ErrorHashingExtraFile, Place::Error),
    (Counter::CompilerCheckFailed, Place::Unsupported),
    (Counter::CouldNotUsePrecompiledHeader, Place::NotCacheable),
    (Counter::CalledForPreprocessing, Place::NotCacheable),
    (Counter::UnsupportedCodeDirective, Place::NotCacheable),
    (Counter::CouldNotUseModules, Place::NotCacheable),
    (Counter::UnsupportedEnvironmentVariable, Place::NotCacheable),
    (Counter::Disabled, Place::NotCacheable),
    (Counter::BadInputFile, Place::Error),
    (Counter::ModifiedInputFile, Place::Unstored),
    (Counter::UnsupportedSourceEncoding, Place::NotCacheable),
    (Counter::StoreUnavailable, Place::Write),
    (Counter::StoreDropped, Place::Write),
    (Counter::StoreCorrupt, Place::Read),
];

/// sccache's names of what is compiled: the language, and with its compiler.
fn names(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::CGcc => ("C/C++", "c [gcc]"),
        Kind::CClang => ("C/C++", "c [clang]"),
        Kind::CppGcc => ("C/C++", "c++ [gcc]"),
        Kind::CppClang => ("C/C++", "c++ [clang]"),
        Kind::AssemblerGcc => ("Assembler", "assembler [gcc]"),
        Kind::AssemblerClang => ("Assembler", "assembler [clang]"),
        Kind::AssemblerWithCppGcc => ("Assembler", "assemblerToPreprocess [gcc]"),
        Kind::AssemblerWithCppClang => ("Assembler", "assemblerToPreprocess [clang]"),
        Kind::Rust => ("Rust", "rust"),
    }
}

/// Counts by language, and by language and compiler; those that are 0 are left out.
#[derive(Default)]
struct ByLanguage {
    counts: BTreeMap<&'static str, u64>,
    adv_counts: BTreeMap<&'static str, u64>,
}

impl ByLanguage {
    fn all(&self) -> u64 {
        self.counts.values().sum()
    }

    fn of(&self, advanced: bool) -> &BTreeMap<&'static str, u64> {
        if advanced { &self.adv_counts } else { &self.counts }
    }

    fn json(&self) -> String {
        format!("{{\"counts\":{},\"adv_counts\":{}}}", map(&self.counts), map(&self.adv_counts))
    }
}

/// The numbers, and what they are of.
pub struct Report {
    /// The wrapper's counters since the baseline.
    counts: Vec<u64>,
    location: String,
    /// Bytes of the store, now and at most; `None` where nobody knows of a store.
    sizes: Option<(u64, u64)>,
    is_direct: bool,
    is_read_only: bool,
    base_dirs: Vec<String>,
    /// Those of a chain, the store's first.
    levels: Vec<Level>,
}

impl Report {
    /// What a store and its settings say. A store that is not there has counted nothing.
    ///
    /// # Errors
    /// As [`Store::stats`].
    pub fn read(config: &Config, store: Option<&Store>) -> Result<Report> {
        let count = |id| store.map_or(0, |store| since_baseline(store, id));
        let bytes = store.map(Store::stats).transpose()?.map_or(0, |stats| stats.disk_bytes);
        let path = config.dir.value.as_deref();
        let location = |path: &Path| format!("Local disk: {path:?}");
        let base = |path: &std::path::PathBuf| format!("{}/", path.display());
        let mut report = Report {
            counts: (0..BASELINE_FROM).map(count).collect(),
            location: path.map(location).unwrap_or_default(),
            sizes: path.map(|_| (bytes, config.max_size_bytes.value)),
            is_direct: config.direct_mode.value,
            is_read_only: config.is_read_only(),
            base_dirs: config.base_dirs.value.iter().map(base).collect(),
            levels: Vec::new(),
        };
        report.levels = report.read_levels(config);
        if !report.levels.is_empty() {
            report.location = format!("Multi-level ({} levels)", report.levels.len());
        }
        Ok(report)
    }

    fn of(&self, counter: Counter) -> u64 {
        self.counts[counter as usize]
    }

    fn at(&self, place: Place) -> u64 {
        let here = PLACES.iter().filter(|row| row.1 == place);
        here.fold(0, |sum: u64, row| sum.saturating_add(self.of(row.0)))
    }

    fn by_language(&self, id: fn(Kind) -> usize) -> ByLanguage {
        let mut found = ByLanguage::default();
        for (kind, _) in Kind::ALL {
            let (language, compiler) = names(kind);
            let count = self.counts[id(kind)];
            if count > 0 {
                *found.counts.entry(language).or_default() += count;
                *found.adv_counts.entry(compiler).or_default() += count;
            }
        }
        found
    }

    fn hits(&self) -> ByLanguage {
        self.by_language(Kind::hits)
    }

    fn misses(&self) -> ByLanguage {
        self.by_language(Kind::misses)
    }

    fn errors(&self) -> ByLanguage {
        self.by_language(Kind::errors)
    }

    fn compilations(&self) -> u64 {
        self.misses().all() + self.at(Place::Failed) + self.at(Place::Unstored)
    }

    fn executed(&self) -> u64 {
        self.hits().all() + self.compilations()
    }

    /// What larder did for misses, beside the compiler.
    fn write_us(&self) -> u64 {
        self.of(Counter::MissTime).saturating_sub(self.of(Counter::CompileTime))
    }

    /// Why calls were not looked for or not stored.
    fn reasons(&self) -> BTreeMap<&'static str, u64> {
        let is_told = |place| matches!(place, Place::NotCacheable | Place::Unstored);
        let told = PLACES.iter().filter(|row| is_told(row.1) && self.of(row.0) > 0);
        told.filter_map(|row| Some((words_of(row.0 as u16)?.name, self.of(row.0)))).collect()
    }

    fn mode(&self) -> &'static str {
        if self.is_read_only { "ReadOnly" } else { "ReadWrite" }
    }

    /// One JSON object, its fields in sccache's order.
    pub fn json(&self) -> String {
        let number = |name: &str, value: u64| format!("\"{name}\":{value}");
        let field = |name: &str, value: String| format!("\"{name}\":{value}");
        let stats = [
            number("compile_requests", self.of(Counter::CallsMade)),
            number("requests_unsupported_compiler", self.at(Place::Unsupported)),
            number("requests_not_compile", self.at(Place::NotCompile)),
            number("requests_not_cacheable", self.at(Place::NotCacheable)),
            number("requests_executed", self.executed()),
            field("cache_errors", self.errors().json()),
            field("cache_hits", self.hits().json()),
            field("cache_misses", self.misses().json()),
            number("cache_timeouts", 0),
            number("cache_read_errors", self.at(Place::Read)),
            number("non_cacheable_compilations", self.at(Place::Unstored)),
            number("forced_recaches", self.of(Counter::Recache)),
            number("cache_write_errors", self.at(Place::Write)),
            number("cache_writes", self.misses().all()),
            field("cache_write_duration", duration(self.write_us())),
            field("cache_read_hit_duration", duration(self.of(Counter::HitTime))),
            number("compilations", self.compilations()),
            field("compiler_write_duration", duration(self.of(Counter::CompileTime))),
            number("compile_fails", self.at(Place::Failed)),
            field("not_cached", map(&self.reasons())),
            field("dist_compiles", "{}".to_owned()),
            number("dist_errors", 0),
            field("multi_level", self.levels_json()),
        ];
        let size = |size: Option<u64>| size.map_or("null".to_owned(), |size| size.to_string());
        let base_dirs: Vec<String> = self.base_dirs.iter().map(|base| string(base)).collect();
        let all = [
            field("stats", format!("{{{}}}", stats.join(","))),
            field("cache_location", string(&self.location)),
            field("cache_size", size(self.sizes.map(|sizes| sizes.0))),
            field("max_cache_size", size(self.sizes.map(|sizes| sizes.1))),
            field("use_preprocessor_cache_mode", self.is_direct.to_string()),
            field("version", string(INTERFACE_VERSION)),
            field("basedirs", format!("[{}]", base_dirs.join(","))),
            field("effective_cache_mode", string(self.mode())),
        ];
        format!("{{{}}}\n", all.join(","))
    }

    /// sccache's lines; with `advanced` by compiler, too.
    pub fn text(&self, advanced: bool) -> String {
        let rows = self.rows(advanced);
        let names = rows.iter().map(|row| row.0.len()).max().unwrap_or(0);
        let values = rows.iter().map(|row| row.1.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, value) in &rows {
            // What has a unit stands out by it.
            let unit = if value.contains(' ') { 2 } else { 0 };
            let values = values + unit;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<names$} {value:>values$}");
        }
        let reasons = self.reasons();
        if !reasons.is_empty() {
            let mut reasons: Vec<_> = reasons.into_iter().collect();
            reasons.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
            text.push_str("\nNon-cacheable reasons:\n");
            for (name, count) in reasons {
                let _ = writeln!(text, "{name:<names$} {count:>values$}");
            }
            text.push('\n');
        }
        for (name, value) in self.places(advanced) {
            let _ = writeln!(text, "{name:<names$} {value}");
        }
        for (name, bytes) in self
            .sizes
            .into_iter()
            .flat_map(|(now, most)| [("Cache size", now), ("Max cache size", most)])
        {
            let (value, unit) = rounded(bytes);
            let _ = writeln!(text, "{name:<names$} {value:>values$} {unit}");
        }
        text
    }

    /// Names and numbers.
    fn rows(&self, advanced: bool) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: u64| rows.push((name.to_owned(), value.to_string()));
        row("Compile requests", self.of(Counter::CallsMade));
        row("Compile requests executed", self.executed());
        let (hits, misses) = (self.hits(), self.misses());
        by_language(&mut rows, "Cache hits", &hits, advanced);
        by_language(&mut rows, "Cache misses", &misses, advanced);
        rates(&mut rows, &hits, &misses, advanced);
        let mut row = |name: &str, value: u64| rows.push((name.to_owned(), value.to_string()));
        row("Cache timeouts", 0);
        row("Cache read errors", self.at(Place::Read));
        row("Forced recaches", self.of(Counter::Recache));
        row("Cache write errors", self.at(Place::Write));
        by_language(&mut rows, "Cache errors", &self.errors(), advanced);
        let mut row = |name: &str, value: u64| rows.push((name.to_owned(), value.to_string()));
        row("Compilations", self.compilations());
        row("Compilation failures", self.at(Place::Failed));
        row("Non-cacheable compilations", self.at(Place::Unstored));
        row("Non-cacheable calls", self.at(Place::NotCacheable));
        row("Non-compilation calls", self.at(Place::NotCompile));
        row("Unsupported compiler calls", self.at(Place::Unsupported));
        let mut average = |name: &str, us: u64, count: u64| {
            let ms = us.checked_div(count).unwrap_or(0) / 1000;
            rows.push((name.to_owned(), format!("{}.{:03} s", ms / 1000, ms % 1000)));
        };
        average("Average cache write", self.write_us(), misses.all());
        average("Average compiler", self.of(Counter::CompileTime), self.compilations());
        average("Average cache read hit", self.of(Counter::HitTime), hits.all());
        rows.push(("Failed distributed compilations".to_owned(), "0".to_owned()));
        self.level_rows(&mut rows);
        rows
    }

    /// Names and texts.
    fn places(&self, advanced: bool) -> Vec<(&'static str, String)> {
        let mut rows = vec![("Cache location", self.location.clone())];
        rows.extend(self.levels.iter().map(|level| ("", level.place())));
        if advanced {
            rows.push(("Effective cache mode", self.mode().to_owned()));
        }
        let base_dirs = match self.base_dirs.is_empty() {
            true => "(none)".to_owned(),
            false => self.base_dirs.join(", "),
        };
        rows.push(("Base directories", base_dirs));
        if self.sizes.is_some() {
            let direct = if self.is_direct { "yes" } else { "no" };
            rows.push(("Use direct/preprocessor mode?", direct.to_owned()));
        }
        rows.push(("Version (client)", INTERFACE_VERSION.to_owned()));
        rows
    }
}

/// A sum, and what it consists of.
fn by_language(rows: &mut Vec<(String, String)>, name: &str, counted: &ByLanguage, advanced: bool) {
    rows.push((name.to_owned(), counted.all().to_string()));
    for (language, count) in counted.of(advanced) {
        rows.push((format!("{name} ({language})"), count.to_string()));
    }
}

/// Hits of hits and misses, of all and of each language.
fn rates(rows: &mut Vec<(String, String)>, hits: &ByLanguage, misses: &ByLanguage, advanced: bool) {
    let rate = |hits: u64, misses: u64| match hits + misses {
        0 => "-".to_owned(),
        all => format!("{:.2} %", hits as f64 / all as f64 * 100.0),
    };
    rows.push(("Cache hits rate".to_owned(), rate(hits.all(), misses.all())));
    let (hits, misses) = (hits.of(advanced), misses.of(advanced));
    let mut languages: Vec<_> = hits.keys().chain(misses.keys()).collect();
    languages.sort_unstable();
    languages.dedup();
    for language in languages {
        let of = |counts: &BTreeMap<&str, u64>| counts.get(language).copied().unwrap_or(0);
        rows.push((format!("Cache hits rate ({language})"), rate(of(hits), of(misses))));
    }
}

/// Numbers by their names, as JSON.
fn map(counts: &BTreeMap<&'static str, u64>) -> String {
    let fields: Vec<String> =
        counts.iter().map(|(name, count)| format!("{}:{count}", string(name))).collect();
    format!("{{{}}}", fields.join(","))
}

/// A time, as JSON.
fn duration(us: u64) -> String {
    format!("{{\"secs\":{},\"nanos\":{}}}", us / 1_000_000, us % 1_000_000 * 1000)
}

/// A size without fraction, and its unit.
fn rounded(bytes: u64) -> (String, &'static str) {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    (format!("{value:.0}"), units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::CALL_ERRORS;
    use crate::stats::{COUNTERS, Group};

    fn report() -> Report {
        Report {
            counts: vec![0; BASELINE_FROM],
            location: "Local disk: \"/c/larder\"".to_owned(),
            sizes: Some((1562, 10 << 30)),
            is_direct: true,
            is_read_only: false,
            base_dirs: Vec::new(),
            levels: Vec::new(),
        }
    }

    #[test]
    fn each_reason_has_one_place() {
        for (counter, name, _, group) in COUNTERS {
            let is_reason = matches!(group, Group::Uncacheable | Group::Errors);
            let count = PLACES.iter().filter(|row| row.0 == *counter).count();
            assert_eq!(count, usize::from(is_reason), "{name}");
            let is_error = PLACES.contains(&(*counter, Place::Error));
            assert_eq!(is_error, CALL_ERRORS.contains(counter), "{name}");
        }
    }

    #[test]
    fn lines_stand_below_each_other_and_what_has_a_unit_stands_out() {
        let mut report = report();
        for (id, count) in [
            (Counter::CallsMade as usize, 12),
            (Kind::CGcc.hits(), 3),
            (Kind::Rust.misses(), 1),
            (Counter::CalledForLink as usize, 8),
            (Counter::HitTime as usize, 6_000),
        ] {
            report.counts[id] = count;
        }
        let wanted = "\
Compile requests                      12
Compile requests executed              4
Cache hits                             3
Cache hits (C/C++)                     3
Cache misses                           1
Cache misses (Rust)                    1
Cache hits rate                    75.00 %
Cache hits rate (C/C++)           100.00 %
Cache hits rate (Rust)              0.00 %
";
        let text = report.text(false);
        assert!(text.starts_with(wanted), "{text}");
        for part in [
            "Average cache read hit             0.002 s\n",
            "\nNon-cacheable reasons:\ncalled_for_link                        8\n\nCache location",
            "Base directories                (none)\nUse direct/preprocessor mode?   yes\n",
            "Version (client)                0.19.0\n",
            "\nCache size                             2 KiB\n",
        ] {
            assert!(text.contains(part), "{part}{text}");
        }
        let advanced = report.text(true);
        assert!(advanced.contains("Cache hits (c [gcc])"), "{advanced}");
        assert!(advanced.contains("Effective cache mode            ReadWrite\n"), "{advanced}");
    }

    #[test]
    fn times_are_whole_numbers_in_json() {
        assert_eq!(duration(2_000_345), "{\"secs\":2,\"nanos\":345000}");
        let mut report = report();
        report.counts[Counter::MissTime as usize] = 7;
        report.counts[Counter::CompileTime as usize] = 5;
        assert!(report.json().contains("\"cache_write_duration\":{\"secs\":0,\"nanos\":2000}"));
        report.base_dirs.push("/a \"b\"/".to_owned());
        assert!(report.json().contains("\"basedirs\":[\"/a \\\"b\\\"/\"]"));
    }
}
