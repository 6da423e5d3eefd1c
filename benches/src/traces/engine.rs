//! A trace on the engine itself: real gets and puts in a real store, with its upkeep.
//!
//! 1. Sizes are scaled so that the bytes to be held are some 64 MiB: segments of a 256th of that
//!    are still above the least that the engine makes. Rules do not care about scale.
//! 2. Values are noise, stored raw. Upkeep runs when a put saw that it is due, as in the wrapper.
//! 3. *Live bytes* are those of the objects that a snapshot has, on average over the snapshots
//!    taken after the first eviction. `max_size` is corrected until they are those of the
//!    simulators ([`at_equal_bytes`]), or set to the same bytes itself ([`at_equal_disk`]).

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use larder_engine::checksum::xxh3_64;
use larder_engine::limits::{SEGMENT_BYTES_MIN_TEST, SEGMENTS_PER_STORE};
use larder_engine::{
    Budget, Entry, Key, Options, Put, RecordKind, RecordLayout, Section, SectionKind, Store,
};

use super::Outcome;
use super::trace::Trace;

/// Bytes of objects that a store is to hold after scaling.
const HELD_BYTES: u64 = 64 << 20;

/// How often `max_size` is corrected, and how far off the live bytes may be, in percent.
const TRIES_MAX: usize = 4;
const LIVE_PERCENT_OFF_MAX: f64 = 0.5;

/// Snapshots for the average of the live bytes.
const SNAPSHOTS: usize = 64;

/// What the engine made of a trace.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Replayed {
    /// Hits, and bytes written.
    pub outcome: Outcome,
    /// By what sizes were multiplied.
    pub scale: f64,
    /// Of the store.
    pub max_size_bytes: u64,
    /// Objects' bytes in the store, on average.
    pub live_bytes: u64,
    /// Most disk bytes that it occupied, as it counts itself.
    pub disk_bytes_max: u64,
    /// Segments evicted.
    pub segments_evicted: u64,
    /// Puts that were dropped for want of room.
    pub dropped: u64,
}

/// Replays with a `max_size` with which the store holds `bytes` of objects on average.
///
/// # Errors
/// If the store fails.
pub fn at_equal_bytes(
    directory: &Path,
    trace: &Trace,
    bytes: u64,
) -> Result<Replayed, Box<dyn Error>> {
    let wanted = HELD_BYTES.max(bytes) as f64;
    // Eviction goes from 90 to 80 percent, and records need some room besides their bytes.
    let mut max_size = wanted / 0.8;
    let mut replayed = replay(directory, trace, bytes, max_size as u64)?;
    for _ in 1..TRIES_MAX {
        let off = 100.0 * (replayed.live_bytes as f64 / wanted - 1.0);
        if off.abs() <= LIVE_PERCENT_OFF_MAX || replayed.segments_evicted == 0 {
            break;
        }
        max_size *= wanted / replayed.live_bytes as f64;
        replayed = replay(directory, trace, bytes, max_size as u64)?;
    }
    Ok(replayed)
}

/// Replays with `bytes` as `max_size`: of disk, with everything that a store needs.
///
/// # Errors
/// If the store fails.
pub fn at_equal_disk(
    directory: &Path,
    trace: &Trace,
    bytes: u64,
) -> Result<Replayed, Box<dyn Error>> {
    replay(directory, trace, bytes, HELD_BYTES.max(bytes))
}

/// A store under test.
struct Run<'a> {
    trace: &'a Trace,
    scale: f64,
    store: Store,
    objects: HashMap<Key, u32>,
    outcome: Outcome,
    dropped: u64,
    segments_evicted: u64,
    disk_bytes_max: u64,
    live: Vec<u64>,
}

fn replay(
    directory: &Path,
    trace: &Trace,
    bytes: u64,
    max_size_bytes: u64,
) -> Result<Replayed, Box<dyn Error>> {
    let folder = tempfile::Builder::new().prefix("larder-traces-").tempdir_in(directory)?;
    let segment_bytes =
        (max_size_bytes / SEGMENTS_PER_STORE / 4096 * 4096).max(SEGMENT_BYTES_MIN_TEST);
    let options = Options::new()
        .max_size_bytes(max_size_bytes)
        .segment_bytes(segment_bytes)
        .layout(RecordLayout::Raw);
    let mut run = Run {
        trace,
        scale: HELD_BYTES.max(bytes) as f64 / bytes as f64,
        store: Store::open(&folder.path().join("store"), options)?,
        objects: (0..trace.objects() as u32).map(|object| (key(object), object)).collect(),
        outcome: Outcome { hits: 0, lookups: 0, stored_bytes: 0, copied_bytes: 0 },
        dropped: 0,
        segments_evicted: 0,
        disk_bytes_max: 0,
        live: Vec::new(),
    };
    let step = (trace.lookups.len() / SNAPSHOTS).max(1);
    for (at, object) in trace.lookups.iter().enumerate() {
        run.look_up(*object)?;
        if at % step == step - 1 && run.segments_evicted > 0 {
            let live = run.live_bytes()?;
            run.live.push(live);
        }
    }
    if run.live.is_empty() {
        let live = run.live_bytes()?;
        run.live.push(live);
    }
    run.finish(max_size_bytes)
}

fn key(object: u32) -> Key {
    Key::of(&object.to_le_bytes())
}

/// Noise that depends on the object.
fn value(object: u32, bytes: usize) -> Vec<u8> {
    let mut value = Vec::with_capacity(bytes + size_of::<u64>());
    let mut state = xxh3_64(&object.to_le_bytes(), 0) | 1;
    while value.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.extend_from_slice(&state.to_le_bytes());
    }
    value.truncate(bytes);
    value
}

impl Run<'_> {
    fn bytes_of(&self, object: u32) -> usize {
        (self.trace.bytes_of(object) as f64 * self.scale) as usize
    }

    fn look_up(&mut self, object: u32) -> Result<(), Box<dyn Error>> {
        self.outcome.lookups += 1;
        let bytes = self.bytes_of(object);
        if let Some(record) = self.store.get(&key(object))? {
            if record.read(0)? != value(object, bytes) {
                return Err("a hit gave other bytes than were put".into());
            }
            self.outcome.hits += 1;
            return Ok(());
        }
        let section = Section::new(SectionKind::Object, value(object, bytes));
        let entry = Entry::new(key(object), RecordKind::Result, vec![section]);
        match self.store.put(&entry)? {
            Put::Stored => self.outcome.stored_bytes += bytes as u64,
            Put::Dropped(_) => self.dropped += 1,
        }
        if self.store.maintenance_due() {
            self.disk_bytes_max = self.disk_bytes_max.max(self.store.used_bytes()?);
            self.segments_evicted += self.store.maintain(Budget::full())?.segments_evicted;
        }
        Ok(())
    }

    /// Bytes of the objects that the store has now.
    fn live_bytes(&self) -> Result<u64, Box<dyn Error>> {
        let snapshot = self.store.snapshot()?;
        let objects = snapshot.iter().filter_map(|record| self.objects.get(&record.key()));
        Ok(objects.map(|object| self.bytes_of(*object) as u64).sum())
    }

    fn finish(mut self, max_size_bytes: u64) -> Result<Replayed, Box<dyn Error>> {
        // Copies have frames and heads, which are small beside scaled objects.
        let copied = self.store.engine_counters().find(|row| row.0 == "engine_reinserted_bytes");
        self.outcome.copied_bytes = copied.map_or(0, |row| row.1);
        Ok(Replayed {
            outcome: self.outcome,
            scale: self.scale,
            max_size_bytes,
            live_bytes: self.live.iter().sum::<u64>() / self.live.len() as u64,
            disk_bytes_max: self.disk_bytes_max,
            segments_evicted: self.segments_evicted,
            dropped: self.dropped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_with_room_for_everything_misses_each_object_once() {
        let rows: String = (0..60).map(|n| format!("0,u,{},100000\n", n % 20)).collect();
        let trace = Trace::parse("t".into(), rows.as_bytes()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let replayed = at_equal_bytes(directory.path(), &trace, 20 * 200_000).unwrap();
        assert_eq!((replayed.outcome.hits, replayed.outcome.lookups), (40, 60));
        assert_eq!((replayed.segments_evicted, replayed.dropped), (0, 0));
        let stored = replayed.outcome.stored_bytes;
        assert!(replayed.live_bytes == stored && stored > 20 * 100_000, "{replayed:?}");
        assert!(replayed.disk_bytes_max <= replayed.max_size_bytes);
    }
}
