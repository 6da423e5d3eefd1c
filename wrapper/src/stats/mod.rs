//! Statistics: what the counters of the store say, and how numbers are said to people.
//!
//! A direct hit adds one to `direct_cache_hit` and `local_storage_hit` and two to
//! `local_storage_read_hit` (manifest and result). `local_storage_hit` and `_miss` count results.

pub mod calls;
pub mod figures;
pub mod table;

use std::time::{SystemTime, UNIX_EPOCH};

use larder_engine::Store;

use crate::outcome::{BASELINE_FROM, Counter};

pub use figures::Figures;
pub use table::{COUNTERS, Group, words_of};

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
    // When it was emptied stays true.
    let cleared_secs = store.counters().get(Counter::StoreClearedTimestamp as usize);
    for id in 0..larder_engine::limits::COUNTERS {
        store.counters().set(id, 0);
    }
    store.counters().set(Counter::StoreClearedTimestamp as usize, cleared_secs);
    let now = now_secs();
    store.counters().set(Counter::StatsZeroedTimestamp as usize, now);
}

/// Remembers what the counters are now, for [`since_baseline`].
pub fn set_baseline(store: &Store) {
    let counters = store.counters();
    for id in 0..BASELINE_FROM {
        counters.set(BASELINE_FROM + id, counters.get(id));
    }
}

/// What a counter has counted since the baseline; since the store was made where there is none.
pub fn since_baseline(store: &Store, id: usize) -> u64 {
    let counters = store.counters();
    counters.get(id).saturating_sub(counters.get(BASELINE_FROM + id))
}

/// Remembers that the store has just been emptied.
pub fn note_cleared(store: &Store) {
    store.counters().set(Counter::StoreClearedTimestamp as usize, now_secs());
}

/// Seconds since 1970.
pub fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// How long ago a moment was, in seconds since 1970.
pub fn ago(at_secs: u64) -> String {
    let secs = now_secs().saturating_sub(at_secs);
    let (count, unit) = match secs {
        0..=1 => return "just now".to_owned(),
        2..=119 => (secs, "second"),
        120..=7199 => (secs / 60, "minute"),
        7200..=172_799 => (secs / 3600, "hour"),
        _ => (secs / 86_400, "day"),
    };
    format!("{} ago", counted(count, unit))
}

/// A number with commas between the thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder_engine::{EngineCounter, Options};

    #[test]
    fn numbers_are_said_as_people_read_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        let times = [7, 1_500, 25_000, 1_500_000, 150_000_000, 7_260_000_000].map(time);
        assert_eq!(times, ["7 us", "1.5 ms", "25 ms", "1.5 s", "2 min 30 s", "2 h 1 min"]);
        assert_eq!(ago(now_secs()), "just now");
        assert_eq!(ago(now_secs() - 300), "5 minutes ago");
    }

    #[test]
    fn zero_keeps_only_its_own_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), Options::new()).unwrap();
        note_cleared(&store);
        store.counters().add(Counter::CacheMiss as usize, 1);
        store.counters().add(EngineCounter::Damaged.id(), 1);
        zero(&store);
        assert_eq!(store.engine_counters().map(|(_, count)| count).sum::<u64>(), 0);
        assert_eq!(store.counters().get(Counter::CacheMiss as usize), 0);
        assert_ne!(store.counters().get(Counter::StatsZeroedTimestamp as usize), 0);
        assert_ne!(store.counters().get(Counter::StoreClearedTimestamp as usize), 0);
    }

    #[test]
    fn a_baseline_is_what_is_counted_from() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), Options::new()).unwrap();
        let id = Counter::CacheMiss as usize;
        store.counters().add(id, 2);
        assert_eq!(since_baseline(&store, id), 2);
        set_baseline(&store);
        assert_eq!(since_baseline(&store, id), 0);
        store.counters().add(id, 3);
        assert_eq!((since_baseline(&store, id), store.counters().get(id)), (3, 5));
        // Below the baseline nothing can have been counted.
        store.counters().set(id, 1);
        assert_eq!(since_baseline(&store, id), 0);
        zero(&store);
        store.counters().add(id, 4);
        assert_eq!(since_baseline(&store, id), 4);
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!((size(12).as_str(), size(1).as_str()), ("12 bytes", "1 byte"));
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(10 << 30), "10.0 GiB");
    }
}
