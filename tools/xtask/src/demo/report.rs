//! What the demo found, as a table for people and as JSON.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::store::Counters;

/// How many differences of one build are printed; the others are counted.
const DIFFERENCES_MAX: usize = 10;

/// One project with one compiler.
pub struct Row {
    /// The project's name.
    pub project: &'static str,
    /// Its language.
    pub language: &'static str,
    /// The compiler's name.
    pub compiler: String,
    /// The number of compiles of one build.
    pub units: u64,
    /// Wall time without larder.
    pub plain: Duration,
    /// Wall time with nothing stored.
    pub cold: Duration,
    /// Wall time with everything stored.
    pub warm: Duration,
    /// What the cold build counted.
    pub cold_counts: Counters,
    /// What the warm build counted.
    pub warm_counts: Counters,
    /// How many files were compared, cold and warm together.
    pub files: usize,
    /// Everything that was not as without larder.
    pub differences: Vec<String>,
}

impl Row {
    fn name(&self) -> String {
        format!("{} ({}), {}", self.project, self.language, self.compiler)
    }

    fn all_hit(&self) -> bool {
        self.warm_counts.hits() == self.units
    }

    fn text(&self) -> String {
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let faster = self.plain.as_secs_f64() / self.warm.as_secs_f64().max(1e-9);
        format!(
            "{:<24} {:>5} {:>9} {:>9} {:>9} {:>7} {:>7} {:>6} {:>6}  {}",
            self.name(),
            self.units,
            seconds(self.plain),
            seconds(self.cold),
            seconds(self.warm),
            format!("{faster:.0} x"),
            self.cold_counts.misses(),
            self.warm_counts.hits(),
            self.files,
            if self.differences.is_empty() { "identical" } else { "DIFFERENT" },
        )
    }

    fn json(&self) -> Value {
        let counts = |counts: &Counters| {
            let others: serde_json::Map<_, _> =
                counts.others().into_iter().map(|(id, n)| (id.to_owned(), n.into())).collect();
            json!({
                "direct_cache_hit": counts.get("direct_cache_hit"),
                "preprocessed_cache_hit": counts.get("preprocessed_cache_hit"),
                "cache_miss": counts.misses(),
                "others": others,
            })
        };
        json!({
            "project": self.project,
            "language": self.language,
            "compiler": self.compiler,
            "units": self.units,
            "plain_secs": self.plain.as_secs_f64(),
            "cold_secs": self.cold.as_secs_f64(),
            "warm_secs": self.warm.as_secs_f64(),
            "cold": counts(&self.cold_counts),
            "warm": counts(&self.warm_counts),
            "files_compared": self.files,
            "differences": self.differences,
        })
    }
}

/// Everything that one run found.
pub struct Report {
    /// One row for each project and compiler.
    pub rows: Vec<Row>,
    /// What was left out, and why.
    pub skipped: Vec<String>,
    /// How many compilers ran at once.
    pub jobs: usize,
    /// Where the store is.
    pub store: PathBuf,
    /// Its disk blocks.
    pub store_bytes: u64,
}

impl Report {
    /// Whether larder kept its word: something was built, all of it the same as without larder, and
    /// every unit of the warm builds a hit.
    pub fn is_good(&self) -> bool {
        let good = |row: &Row| row.differences.is_empty() && row.all_hit();
        !self.rows.is_empty() && self.rows.iter().all(good)
    }

    /// The table, what stands out, and the verdict.
    pub fn text(&self) -> String {
        let mut text = format!(
            "\n{:<24} {:>5} {:>9} {:>9} {:>9} {:>7} {:>7} {:>6} {:>6}  {}\n",
            "project, compiler",
            "units",
            "plain",
            "cold",
            "warm",
            "faster",
            "misses",
            "hits",
            "files",
            "against plain"
        );
        for row in &self.rows {
            text += &row.text();
            text.push('\n');
        }
        let mib = self.store_bytes as f64 / (1024.0 * 1024.0);
        let (jobs, store) = (self.jobs, self.store.display());
        let _ = write!(
            text,
            "\nplain: without larder; cold: into an empty store; warm: again, from a clean tree\n\
             misses are those of the cold build, hits those of the warm one\n\
             in Rust a unit is a library or a build script; what cargo only asks of rustc counts \
             as unsupported_compiler_option\n\
             {jobs} compiles at once; the store holds {mib:.1} MiB on disk ({store})\n",
        );
        for line in &self.skipped {
            let _ = writeln!(text, "skipped: {line}");
        }
        text.push('\n');
        for row in &self.rows {
            row.remarks(&mut text);
        }
        text += self.verdict();
        text.push('\n');
        text
    }

    fn verdict(&self) -> &'static str {
        if self.rows.is_empty() {
            "NOTHING WAS BUILT: there is no compiler that could build a project."
        } else if self.rows.iter().any(|row| !row.differences.is_empty()) {
            "DIFFERENT: larder did not give what the compiler gives."
        } else if !self.is_good() {
            "IDENTICAL, BUT NOT ALL HITS: the warm build called the compiler."
        } else {
            "Every object, dependency file, message and exit status is the same as without larder."
        }
    }

    /// The same as one object.
    pub fn json(&self) -> String {
        let value = json!({
            "good": self.is_good(),
            "jobs": self.jobs,
            "store": self.store.to_string_lossy(),
            "store_bytes": self.store_bytes,
            "skipped": self.skipped,
            "builds": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        });
        format!("{value:#}")
    }
}

impl Row {
    /// What a reader of the table should know beyond it.
    fn remarks(&self, text: &mut String) {
        let name = self.name();
        for difference in self.differences.iter().take(DIFFERENCES_MAX) {
            let _ = writeln!(text, "{name}: {difference}");
        }
        if let Some(more) = self.differences.len().checked_sub(DIFFERENCES_MAX + 1) {
            let _ = writeln!(text, "{name}: and {} more differences", more + 1);
        }
        for (phase, counts) in [("cold", &self.cold_counts), ("warm", &self.warm_counts)] {
            for (id, n) in counts.others() {
                let _ = writeln!(text, "{name}: {phase}: {id} {n}");
            }
        }
        if !self.all_hit() {
            let hits = self.warm_counts.hits();
            let _ = writeln!(text, "{name}: only {hits} of {} units were hits", self.units);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(warm_hits: u64, differences: &[&str]) -> Report {
        let counts = |hits: u64, misses: u64| {
            let text = format!(
                r#"{{"direct_cache_hit": {hits}, "preprocessed_cache_hit": 0,
                     "cache_miss": {misses}}}"#
            );
            Counters::parse(&text).unwrap()
        };
        let row = Row {
            project: "zstd",
            language: "C",
            compiler: "gcc".to_owned(),
            units: 40,
            plain: Duration::from_secs(10),
            cold: Duration::from_secs(11),
            warm: Duration::from_millis(100),
            cold_counts: counts(0, 40),
            warm_counts: counts(warm_hits, 40 - warm_hits),
            files: 160,
            differences: differences.iter().map(|text| text.to_string()).collect(),
        };
        Report {
            rows: vec![row],
            skipped: vec!["leveldb with g++: there is no such compiler here".to_owned()],
            jobs: 2,
            store: "target/demo/store".into(),
            store_bytes: 3 << 20,
        }
    }

    #[test]
    fn a_good_run_says_so() {
        let report = report(40, &[]);
        assert!(report.is_good());
        let text = report.text();
        assert!(text.contains("100 x"), "{text}");
        assert!(text.contains("skipped: leveldb with g++"), "{text}");
        assert!(text.ends_with("is the same as without larder.\n"), "{text}");
    }

    #[test]
    fn a_difference_a_missed_hit_and_an_empty_run_are_bad() {
        let different = report(40, &["warm: a.o has other bytes"]);
        assert!(!different.is_good() && different.text().contains("a.o has other bytes"));
        let missed = report(39, &[]);
        assert!(!missed.is_good() && missed.text().contains("only 39 of 40"));
        let empty = Report { rows: Vec::new(), ..report(40, &[]) };
        assert!(!empty.is_good() && empty.text().contains("NOTHING WAS BUILT"));
    }

    #[test]
    fn the_object_has_what_the_table_has() {
        let value: Value = serde_json::from_str(&report(39, &["x"]).json()).unwrap();
        assert_eq!(value["good"], false);
        assert_eq!(value["builds"][0]["warm"]["direct_cache_hit"], 39);
        assert_eq!(value["builds"][0]["differences"][0], "x");
    }
}
