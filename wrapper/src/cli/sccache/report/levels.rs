//! What sccache tells of the levels of its chain.
//!
//! 1. Level 0 is the local store, whose numbers are those of the whole report: a compile that a
//!    tier has answered is a miss of the store. Each tier has one level, in the order of the chain.
//! 2. A tier counts records, of which a compile asks for one or two, and it counts them since the
//!    store has known it: sccache's levels keep their numbers, too, when statistics are zeroed.

use super::super::super::json::string;
use super::{Place, Report, duration};
use crate::agent::{Count, TierState};
use crate::config::Config;
use crate::outcome::Counter;

/// The numbers of one level.
pub(super) struct Level {
    name: String,
    location: String,
    hits: u64,
    misses: u64,
    writes: u64,
    write_failures: u64,
    backfills_from: u64,
    backfills_to: u64,
    hit_us: u64,
    write_us: u64,
}

impl Report {
    /// The levels, if there is a chain.
    pub(super) fn read_levels(&self, config: &Config) -> Vec<Level> {
        let names = config.sccache.as_ref().map_or(&[][..], |sccache| &sccache.levels);
        let Some((first, others)) = names.split_first() else { return Vec::new() };
        let store = config.dir.value.as_deref();
        let tiers =
            others.iter().zip(&config.tiers.value).enumerate().map(|(index, (name, tier))| {
                let state = store.and_then(|store| TierState::open(store, tier, |_| false));
                let get = |count| state.as_ref().map_or(0, |state| state.get(count));
                Level {
                    name: format!("L{} ({name})", index + 1),
                    location: tier.display(),
                    hits: get(Count::Hits),
                    misses: get(Count::Misses),
                    writes: get(Count::Writes),
                    write_failures: get(Count::WriteFailures),
                    backfills_from: get(Count::BackfillsOut),
                    backfills_to: get(Count::BackfillsIn),
                    hit_us: get(Count::ReadTime),
                    write_us: get(Count::WriteTime),
                }
            });
        let mut levels = vec![self.store_level(first)];
        levels.extend(tiers);
        levels
    }

    fn store_level(&self, name: &str) -> Level {
        let remote = self.of(Counter::RemoteStorageHit);
        Level {
            name: format!("L0 ({name})"),
            location: self.location.clone(),
            hits: self.hits().all().saturating_sub(remote),
            misses: self.misses().all().saturating_add(remote),
            writes: self.misses().all(),
            write_failures: self.at(Place::Write),
            backfills_from: 0,
            backfills_to: self.of(Counter::RemoteStorageReadHit),
            hit_us: self.of(Counter::HitTime),
            write_us: self.write_us(),
        }
    }

    /// The field `multi_level`.
    pub(super) fn levels_json(&self) -> String {
        if self.levels.is_empty() {
            return "null".to_owned();
        }
        let levels: Vec<String> = self.levels.iter().map(Level::json).collect();
        format!("[{}]", levels.join(","))
    }

    /// The lines.
    pub(super) fn level_rows(&self, rows: &mut Vec<(String, String)>) {
        if !self.levels.is_empty() {
            rows.push(("Multi-level cache levels".to_owned(), self.levels.len().to_string()));
        }
        self.levels.iter().for_each(|level| level.rows(rows));
    }
}

impl Level {
    /// Its name and where it is.
    pub(super) fn place(&self) -> String {
        format!("{}: {}", self.name, self.location)
    }

    fn json(&self) -> String {
        let numbers = [
            ("hits", self.hits),
            ("misses", self.misses),
            ("writes", self.writes),
            ("write_failures", self.write_failures),
            ("backfills_from", self.backfills_from),
            ("backfills_to", self.backfills_to),
        ];
        let numbers: Vec<String> =
            numbers.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!(
            "{{\"name\":{},\"location\":{},{},\"hit_duration\":{},\"write_duration\":{}}}",
            string(&self.name),
            string(&self.location),
            numbers.join(","),
            duration(self.hit_us),
            duration(self.write_us)
        )
    }

    fn rows(&self, rows: &mut Vec<(String, String)>) {
        let mut row =
            |what: &str, value: String| rows.push((format!("  {} {what}", self.name), value));
        let rate = match self.hits + self.misses {
            0 => "-".to_owned(),
            all => format!("{:.2} %", self.hits as f64 / all as f64 * 100.0),
        };
        let average = |us: u64, count: u64| {
            let ms = us.checked_div(count).unwrap_or(0) / 1000;
            format!("{}.{:03} s", ms / 1000, ms % 1000)
        };
        row("hits", self.hits.to_string());
        row("misses", self.misses.to_string());
        row("hit rate", rate);
        row("writes", self.writes.to_string());
        row("write failures", self.write_failures.to_string());
        row("backfills from", self.backfills_from.to_string());
        row("backfills to", self.backfills_to.to_string());
        row("avg cache write", average(self.write_us, self.writes));
        row("avg cache read hit", average(self.hit_us, self.hits));
    }
}
