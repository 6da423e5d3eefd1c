//! The rule of the engine: a log of equal segments, whose oldest goes whole; what was hit while its
//! segment stood in the older part of the log is appended again.

use std::collections::VecDeque;

use super::Simulator;

/// Settings of the rule.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Segments {
    /// The room is parted into so many segments.
    pub segments: u64,
    /// At most this share of a segment's bytes is appended again, in percent.
    pub budget_percent: u64,
    /// A hit is noted while the segment is among this share of the oldest, in percent.
    pub old_percent: u64,
    /// Eviction begins when more than this share of the room is used, in percent.
    pub start_percent: u64,
    /// And ends when no more than this share is.
    pub stop_percent: u64,
    /// One bit stands for this share of a segment, in parts; 0 for one bit for each record.
    pub granules: u64,
    /// Whether what one segment leaves of its budget is there for the next ones, as in the engine.
    pub carries_over: bool,
    /// Whether records that do not fit into the budget are those that stand first in the segment;
    /// else those that stand last.
    pub keeps_last: bool,
}

impl Segments {
    /// As the design has it, with all of the room in use.
    pub const DESIGN: Segments = Segments {
        segments: 256,
        budget_percent: 50,
        old_percent: 50,
        start_percent: 100,
        stop_percent: 100,
        granules: 0,
        carries_over: false,
        keeps_last: false,
    };

    /// What it is called in a table: what differs from the design.
    pub fn name(&self) -> String {
        let mut name = format!("{} segments", self.segments);
        if self.budget_percent == 0 {
            return format!("{name}, no reinsertion");
        }
        name.push_str(&format!(
            ", hit in the oldest {} %, budget {} %",
            self.old_percent, self.budget_percent
        ));
        if self.start_percent != 100 || self.stop_percent != 100 {
            name.push_str(&format!(", {} to {} %", self.start_percent, self.stop_percent));
        }
        if self.granules > 0 {
            name.push_str(&format!(", {} granules", self.granules));
        }
        if self.carries_over {
            name.push_str(", carried over");
        }
        if self.keeps_last {
            name.push_str(", last first");
        }
        name
    }

    pub(super) fn simulator(&self, objects: usize, room_bytes: u64) -> Box<dyn Simulator> {
        Box::new(Log {
            settings: *self,
            room_bytes,
            segment_bytes: (room_bytes / self.segments).max(1),
            used_bytes: 0,
            segments: VecDeque::new(),
            first: 0,
            place: vec![None; objects],
            budget_bytes: 0,
            copied_bytes: 0,
        })
    }
}

struct Log {
    settings: Segments,
    room_bytes: u64,
    segment_bytes: u64,
    used_bytes: u64,
    segments: VecDeque<Segment>,
    /// Number of the oldest segment.
    first: u64,
    /// Where each object that is held stands: number of the segment, and of the record in it.
    place: Vec<Option<(u64, usize)>>,
    /// What is left of it.
    budget_bytes: u64,
    copied_bytes: u64,
}

#[derive(Default)]
struct Segment {
    records: Vec<Record>,
    bytes: u64,
}

struct Record {
    object: u32,
    bytes: u64,
    /// In the segment.
    offset: u64,
    was_hit: bool,
}

impl Log {
    fn append(&mut self, object: u32, bytes: u64) {
        // Objects may be as large as segments here, where all is small; a record goes where any
        // room is left.
        let has_room = self.segments.back().is_some_and(|last| last.bytes < self.segment_bytes);
        if !has_room {
            self.segments.push_back(Segment::default());
        }
        let number = self.first + self.segments.len() as u64 - 1;
        let Some(last) = self.segments.back_mut() else { return };
        self.place[object as usize] = Some((number, last.records.len()));
        last.records.push(Record { object, bytes, offset: last.bytes, was_hit: false });
        last.bytes += bytes;
        self.used_bytes += bytes;
    }

    /// Drops the oldest segment, and appends again what was hit.
    fn drop_oldest(&mut self) {
        let Some(oldest) = self.segments.pop_front() else { return };
        self.first += 1;
        self.used_bytes -= oldest.bytes;
        for record in &oldest.records {
            self.place[record.object as usize] = None;
        }
        let more = oldest.bytes * self.settings.budget_percent / 100;
        self.budget_bytes = if self.settings.carries_over { self.budget_bytes } else { 0 } + more;
        for (object, bytes) in self.kept(&oldest) {
            self.budget_bytes -= bytes;
            self.copied_bytes += bytes;
            self.append(object, bytes);
        }
    }

    /// What is appended again, in the order of the segment.
    fn kept(&self, oldest: &Segment) -> Vec<(u32, u64)> {
        let granule = match self.settings.granules {
            0 => None,
            granules => Some(oldest.bytes.div_ceil(granules).max(1)),
        };
        let hit_granules: Vec<u64> = granule.map_or(Vec::new(), |granule| {
            oldest.records.iter().filter(|r| r.was_hit).map(|r| r.offset / granule).collect()
        });
        let was_hit = |record: &&Record| match granule {
            Some(granule) => hit_granules.contains(&(record.offset / granule)),
            None => record.was_hit,
        };
        let mut left = self.budget_bytes;
        let mut hit: Vec<&Record> = oldest.records.iter().filter(was_hit).collect();
        if self.settings.keeps_last {
            hit.reverse();
        }
        hit.retain(|record| {
            let fits = record.bytes <= left;
            left -= if fits { record.bytes } else { 0 };
            fits
        });
        hit.sort_unstable_by_key(|record| record.offset);
        hit.iter().map(|record| (record.object, record.bytes)).collect()
    }
}

impl Simulator for Log {
    fn hit(&mut self, _at: usize, object: u32) -> bool {
        let Some((number, index)) = self.place[object as usize] else { return false };
        let age = number - self.first;
        if age * 100 < self.segments.len() as u64 * self.settings.old_percent {
            self.segments[age as usize].records[index].was_hit = true;
        }
        true
    }

    fn store(&mut self, _at: usize, object: u32, bytes: u64) {
        let share = |percent: u64| self.room_bytes as u128 * u128::from(percent) / 100;
        let (start, stop) = (share(self.settings.start_percent), share(self.settings.stop_percent));
        if u128::from(self.used_bytes + bytes) > start {
            while u128::from(self.used_bytes + bytes) > stop && !self.segments.is_empty() {
                self.drop_oldest();
            }
        }
        self.append(object, bytes);
    }

    fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }
}
