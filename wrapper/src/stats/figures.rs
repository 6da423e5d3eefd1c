//! The numbers of `larder stats`: read from a store, from JSON that was saved, or summed up from a
//! log of calls; and the difference of two of them.
//!
//! 1. Counters grow; *levels* are what the store has now (its size, its entries, times of day). A
//!    difference has the counters of what happened in between, and the levels of the later one.
//! 2. Where the counters were set to zero in between, the later ones are the difference.
//! 3. The JSON has every counter under its name, then what follows from them.

use std::collections::BTreeMap;
use std::fmt::Write;

use larder_engine::{COUNT_MAX, Result, Store};

use super::calls::Line;
use super::{COUNTERS, Group};
use crate::outcome::{
    Counter, HIT_BUCKETS_FROM, Kind, MISS_BUCKETS_FROM, TIME_BUCKET_NS, TIME_BUCKETS, time_bucket,
};

/// What is no counter.
const LEVELS: &[&str] = &[
    "calls_kept",
    "stats_zeroed_timestamp",
    "store_cleared_timestamp",
    "files_in_cache",
    "cache_size_kibibyte",
    "max_cache_size_kibibyte",
    "max_files_in_cache",
    "store_entries",
    "store_disk_bytes",
    "store_index_bytes",
    "store_max_size_bytes",
    "store_segment_bytes",
    "store_segments",
    "store_unmerged_segments",
    "engine_damaged_mended",
];

/// Numbers by their names, and histograms.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Figures {
    /// Names and values in the order of the JSON.
    rows: Vec<(String, u64)>,
    /// Hits by what they took.
    pub hit_times: Vec<u64>,
    /// Misses by what they took.
    pub miss_times: Vec<u64>,
    /// What the store has grown by, in bytes, for a difference.
    pub grown_bytes: Option<i64>,
    /// Whether the counters were set to zero in between, for a difference.
    pub was_zeroed: bool,
    /// Whether there is a store that the levels are of.
    pub has_store: bool,
}

impl Figures {
    /// What a store says.
    ///
    /// # Errors
    /// As [`Store::stats`].
    pub fn read(store: &Store) -> Result<Figures> {
        let counters = store.counters();
        let mut figures = Figures { has_store: true, ..Figures::default() };
        for (counter, name, _, group) in COUNTERS {
            figures.push_counter(name, *group, counters.get(*counter as usize));
        }
        for (kind, name) in Kind::ALL {
            let ids = [("hits", kind.hits()), ("misses", kind.misses()), ("errors", kind.errors())];
            for (what, id) in ids {
                figures.push(&format!("{what}_{name}"), counters.get(id));
            }
        }
        let stats = store.stats()?;
        // What ccache derives from its directory, and what it counts of tiers.
        for (name, value) in [
            ("files_in_cache", stats.entries),
            ("cache_size_kibibyte", stats.disk_bytes / 1024),
            ("max_cache_size_kibibyte", stats.max_size_bytes / 1024),
            ("max_files_in_cache", 0),
            ("remote_storage_read_hit", counters.get(Counter::RemoteStorageReadHit as usize)),
            ("remote_storage_read_miss", counters.get(Counter::RemoteStorageReadMiss as usize)),
            ("remote_storage_error", counters.get(Counter::RemoteStorageError as usize)),
            ("remote_storage_timeout", counters.get(Counter::RemoteStorageTimeout as usize)),
            ("remote_storage_write", counters.get(Counter::RemoteStorageWrite as usize)),
            ("remote_storage_hit", counters.get(Counter::RemoteStorageHit as usize)),
            ("remote_storage_miss", counters.get(Counter::RemoteStorageMiss as usize)),
            ("store_entries", stats.entries),
            ("store_disk_bytes", stats.disk_bytes),
            ("store_index_bytes", stats.index_bytes),
            ("store_max_size_bytes", stats.max_size_bytes),
            ("store_segment_bytes", stats.segment_bytes),
            ("store_segments", stats.segments),
            ("store_unmerged_segments", stats.unmerged_segments),
        ] {
            figures.push(name, value);
        }
        for (name, value) in store.engine_counters() {
            figures.push(name, value);
        }
        let buckets =
            |from: usize| (from..from + TIME_BUCKETS).map(|id| counters.get(id)).collect();
        figures.hit_times = buckets(HIT_BUCKETS_FROM);
        figures.miss_times = buckets(MISS_BUCKETS_FROM);
        Ok(figures)
    }

    /// The sum of calls in a log.
    pub fn of_calls<'a>(lines: impl Iterator<Item = &'a Line>) -> Figures {
        let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
        let mut figures = Figures {
            hit_times: vec![0; TIME_BUCKETS],
            miss_times: vec![0; TIME_BUCKETS],
            ..Figures::default()
        };
        for line in lines {
            *counts.entry(Counter::CallsMade as u16).or_default() += 1;
            for id in &line.ids {
                *counts.entry(*id).or_default() += 1;
            }
            let bucket = time_bucket(line.spent_us.saturating_mul(1000));
            let mut add = |counter: Counter, us: u64| {
                let sum = counts.entry(counter as u16).or_default();
                *sum = sum.saturating_add(us);
            };
            if line.has(Counter::DirectCacheHit) || line.has(Counter::PreprocessedCacheHit) {
                add(Counter::HitTime, line.spent_us);
                add(Counter::AvoidedTime, line.compile_us);
                figures.hit_times[bucket] += 1;
            } else if line.has(Counter::CacheMiss) {
                add(Counter::MissTime, line.spent_us);
                add(Counter::CompileTime, line.compile_us);
                figures.miss_times[bucket] += 1;
            }
        }
        for (counter, name, _, group) in COUNTERS {
            let count = counts.get(&(*counter as u16)).copied().unwrap_or(0);
            figures.push_counter(name, *group, count);
        }
        figures
    }

    /// Who has no lower stores is shown nothing of them.
    fn push_counter(&mut self, name: &str, group: Group, value: u64) {
        if group != Group::Lower || value > 0 {
            self.push(name, value);
        }
    }

    /// With what lower stores did, if it is nothing, too.
    pub fn with_lower(mut self) -> Figures {
        for (_, name, ..) in COUNTERS.iter().filter(|row| row.3 == Group::Lower) {
            if !self.rows.iter().any(|(known, _)| known == name) {
                self.push(name, 0);
            }
        }
        self
    }

    /// Whether there is anything to tell of lower stores.
    pub fn has_lower(&self) -> bool {
        let mut names = COUNTERS.iter().filter(|row| row.3 == Group::Lower).map(|row| row.1);
        names.any(|name| self.rows.iter().any(|(known, _)| known == name))
    }

    fn push(&mut self, name: &str, value: u64) {
        self.rows.push((name.to_owned(), value));
    }

    /// The value of a name, 0 if there is none.
    pub fn named(&self, name: &str) -> u64 {
        self.rows.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| *value)
    }

    /// The value of a counter.
    pub fn value(&self, counter: Counter) -> u64 {
        let row = COUNTERS.iter().find(|row| row.0 == counter);
        row.map_or(0, |row| self.named(row.1))
    }

    /// Hits, direct or by the preprocessed text.
    pub fn hits(&self) -> u64 {
        let preprocessed = self.value(Counter::PreprocessedCacheHit);
        self.value(Counter::DirectCacheHit).saturating_add(preprocessed)
    }

    /// Hits and misses.
    pub fn cacheable(&self) -> u64 {
        self.hits().saturating_add(self.value(Counter::CacheMiss))
    }

    /// Hits of cacheable calls, 0 to 1.
    pub fn hit_rate(&self) -> f64 {
        if self.cacheable() == 0 { 0.0 } else { self.hits() as f64 / self.cacheable() as f64 }
    }

    /// What the compiler had taken for the results of hits, without what the hits took.
    pub fn saved_us(&self) -> u64 {
        self.value(Counter::AvoidedTime).saturating_sub(self.value(Counter::HitTime))
    }

    /// Words and values of a group, without zeros, the highest first.
    pub fn group(&self, group: Group) -> Vec<(&'static str, &'static str, u64)> {
        let rows = COUNTERS.iter().filter(|row| row.3 == group);
        let mut rows: Vec<_> = rows.map(|row| (row.1, row.2, self.named(row.1))).collect();
        rows.retain(|(.., value)| *value > 0);
        rows.sort_by_key(|(.., value)| std::cmp::Reverse(*value));
        rows
    }

    /// The sum of a group.
    pub fn sum(&self, group: Group) -> u64 {
        self.group(group).iter().fold(0, |sum: u64, (.., value)| sum.saturating_add(*value))
    }

    /// Whether a number is one that nobody can have counted.
    pub fn has_nonsense(&self) -> bool {
        COUNTERS.iter().any(|row| self.named(row.1) > COUNT_MAX)
    }

    /// What happened after `earlier`.
    pub fn since(&self, earlier: &Figures) -> Figures {
        let zeroed = "stats_zeroed_timestamp";
        let was_zeroed = self.named(zeroed) != earlier.named(zeroed);
        let minus = |name: &str, value: u64| match was_zeroed || LEVELS.contains(&name) {
            true => value,
            false => value.saturating_sub(earlier.named(name)),
        };
        let rows = self.rows.iter().map(|(name, value)| (name.clone(), minus(name, *value)));
        let buckets = |now: &[u64], then: &[u64]| {
            let then = then.iter().copied().chain(std::iter::repeat(0));
            let pairs = now.iter().zip(then);
            pairs
                .map(|(now, then)| if was_zeroed { *now } else { now.saturating_sub(then) })
                .collect()
        };
        let bytes = |figures: &Figures| figures.named("store_disk_bytes") as i64;
        Figures {
            rows: rows.collect(),
            hit_times: buckets(&self.hit_times, &earlier.hit_times),
            miss_times: buckets(&self.miss_times, &earlier.miss_times),
            grown_bytes: Some(bytes(self).saturating_sub(bytes(earlier))),
            was_zeroed,
            has_store: self.has_store,
        }
    }

    /// One JSON object: every number by its name, then what follows from them.
    pub fn json(&self) -> String {
        let mut text = String::from("{\n");
        for (name, value) in &self.rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  \"{name}\": {value},");
        }
        if let Some(grown) = self.grown_bytes {
            let _ = writeln!(text, "  \"store_disk_bytes_change\": {grown},");
            let _ = writeln!(text, "  \"was_zeroed\": {},", self.was_zeroed);
        }
        let list =
            |numbers: &[u64]| numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let ends: Vec<u64> = (0..TIME_BUCKETS - 1).map(bucket_end_us).collect();
        let _ = writeln!(text, "  \"hit_rate\": {:.4},", self.hit_rate());
        let _ = writeln!(text, "  \"time_saved_us\": {},", self.saved_us());
        let _ = writeln!(text, "  \"time_bucket_ends_us\": [{}],", list(&ends));
        let _ = writeln!(text, "  \"hit_times\": [{}],", list(&self.hit_times));
        let _ = writeln!(text, "  \"miss_times\": [{}]\n}}", list(&self.miss_times));
        text
    }

    /// Reads what [`Figures::json`] wrote, however it was set meanwhile; `None` for anything that
    /// has no counters.
    pub fn parse(json: &str) -> Option<Figures> {
        let mut figures = Figures { has_store: true, ..Figures::default() };
        let mut rest = json.trim_start().strip_prefix('{')?;
        loop {
            rest = rest.trim_start_matches([',', ' ', '\n', '\r', '\t']);
            if rest.starts_with('}') {
                break;
            }
            let (name, after) = rest.strip_prefix('"')?.split_once('"')?;
            let after = after.trim_start().strip_prefix(':')?.trim_start();
            let (value, after) = match after.strip_prefix('[') {
                Some(list) => list.split_once(']')?,
                None => after.split_at(after.find([',', '}', '\n'])?),
            };
            let numbers = value.split(',').map(|number| number.trim().parse::<u64>().ok());
            match (name, numbers.collect::<Option<Vec<_>>>()) {
                ("hit_times", Some(times)) => figures.hit_times = times,
                ("miss_times", Some(times)) => figures.miss_times = times,
                ("time_bucket_ends_us" | "time_saved_us", _) => {}
                (_, Some(numbers)) => figures.push(name, *numbers.first()?),
                // A rate, or another one of what follows from the rest.
                (_, None) => {}
            }
            rest = after;
        }
        figures.rows.iter().any(|(name, _)| name == "direct_cache_hit").then_some(figures)
    }
}

/// Where a bucket of times ends, in microseconds; the last one has no end.
pub fn bucket_end_us(bucket: usize) -> u64 {
    (TIME_BUCKET_NS / 1000) << bucket
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_engine::Options;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), Options::new()).unwrap();
        (dir, store)
    }

    fn add(store: &Store, counter: Counter, count: u64) {
        store.counters().add(counter as usize, count);
    }

    #[test]
    fn what_was_saved_can_be_read_again() {
        let (_dir, store) = store();
        for (counter, ..) in COUNTERS {
            add(&store, *counter, *counter as u64);
        }
        store.counters().add(HIT_BUCKETS_FROM + 3, 5);
        let figures = Figures::read(&store).unwrap();
        let json = figures.json();
        assert_eq!(Figures::parse(&json).as_ref(), Some(&figures), "{json}");
        let names: Vec<_> = json.lines().filter_map(|line| line.split('"').nth(1)).collect();
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        // As a tool may set it.
        let dense = json.replace(['\n', ' '], "");
        assert_eq!(Figures::parse(&dense), Some(figures));
        for wrong in
            ["", "{}", "[]", "{\"a\": 1}", "{\"direct_cache_hit\": ", "{\"direct_cache_hit"]
        {
            assert_eq!(Figures::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_difference_has_what_was_counted_in_between() {
        let (_dir, store) = store();
        add(&store, Counter::DirectCacheHit, 3);
        store.counters().add(MISS_BUCKETS_FROM, 2);
        let before = Figures::read(&store).unwrap();
        add(&store, Counter::DirectCacheHit, 1);
        add(&store, Counter::CacheMiss, 3);
        add(&store, Counter::AvoidedTime, 1000);
        add(&store, Counter::HitTime, 400);
        store.counters().add(MISS_BUCKETS_FROM, 3);
        let after = Figures::read(&store).unwrap().since(&before);
        assert_eq!((after.hits(), after.cacheable(), after.miss_times[0]), (1, 4, 3));
        assert_eq!((after.hit_rate(), after.saved_us(), after.grown_bytes), (0.25, 600, Some(0)));
        assert!(after.named("store_max_size_bytes") > 0 && !after.was_zeroed);
        store.counters().set(Counter::DirectCacheHit as usize, 1);
        store.counters().set(Counter::StatsZeroedTimestamp as usize, 77);
        let after = Figures::read(&store).unwrap().since(&before);
        assert!(after.was_zeroed && after.hits() == 1);
    }

    #[test]
    fn calls_are_summed_up() {
        let line = |ids: &[Counter], spent_us, compile_us| Line {
            ids: ids.iter().map(|counter| *counter as u16).collect(),
            spent_us,
            compile_us,
            ..Line::default()
        };
        let lines = [
            line(&[Counter::DirectCacheHit, Counter::LocalStorageHit], 100, 9_000),
            line(&[Counter::CacheMiss], 2_000, 1_500),
            line(&[Counter::CalledForLink], 50, 0),
        ];
        let figures = Figures::of_calls(lines.iter());
        assert_eq!((figures.hits(), figures.cacheable(), figures.saved_us()), (1, 2, 8_900));
        assert_eq!((figures.hit_times[0], figures.miss_times.iter().sum::<u64>()), (1, 1));
        assert_eq!(figures.value(Counter::CompileTime), 1_500);
        let reasons = figures.group(Group::Uncacheable);
        assert_eq!(reasons, [("called_for_link", "called for linking", 1)]);
        assert!(!figures.has_store);
    }
}
