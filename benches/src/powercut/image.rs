//! Where the power is cut, and what the disk has then.
//!
//! 1. At a flush: everything up to it.
//! 2. Between flushes: everything up to the last flush, and of each later write, at random, all,
//!    nothing, or some of its sectors or pages. How much is kept differs from image to image.

use std::ops::Range;

use super::disk::{Disk, Event, PAGE_BYTES, What};
use super::ledger::Moment;
use super::volume::FileSystem;
use crate::storm::content::Random;

/// A cut of the power.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Events before it.
    pub position: usize,
    /// Of the random subset behind the last flush; `None` at a flush.
    pub subset: Option<u64>,
}

impl Cut {
    /// Its kind in tables.
    pub fn kind(&self) -> &'static str {
        if self.subset.is_some() { "between flushes" } else { "at a flush" }
    }

    /// When it happens.
    pub fn moment(&self, log: &[Event]) -> Moment {
        let at_ns = |index: usize| log.get(index).map(|event| event.at_ns);
        let last_ns = self.position.checked_sub(1).and_then(at_ns).unwrap_or(0);
        Moment { last_ns, next_ns: at_ns(self.position).unwrap_or(u64::MAX) }
    }
}

/// Of the cuts one in so many is among the first events, while the store is made.
const EARLY_ONE_IN: u64 = 8;
const EARLY_EVENTS: u64 = 64;

/// Chooses cuts among the events of a range, half of them at flushes if there are so many, in the
/// order of the log.
pub fn choose(log: &[Event], range: Range<usize>, count: usize, seed: u64) -> Vec<Cut> {
    let mut random = Random::new(&[seed, 0x1337]);
    let is_flush = |index: &usize| log[*index].what == What::Flush;
    let (mut flushes, writes): (Vec<usize>, Vec<usize>) = range.partition(is_flush);
    let pick = |events: &[usize], random: &mut Random| {
        let is_early = random.below(EARLY_ONE_IN) == 0;
        let bound = if is_early { EARLY_EVENTS } else { u64::MAX };
        random.below(bound.min(events.len() as u64)) as usize
    };
    let mut cuts = Vec::new();
    while cuts.len() < count / 2 && !flushes.is_empty() {
        let index = flushes.remove(pick(&flushes, &mut random));
        cuts.push(Cut { position: index + 1, subset: None });
    }
    while cuts.len() < count && !writes.is_empty() {
        let mut position = writes[pick(&writes, &mut random)] + 1;
        if random.below(2) == 0 {
            // Where most is at stake: right before a flush, the better of two.
            let ends = [position, writes[pick(&writes, &mut random)] + 1].map(|from| {
                let ahead = log[from..].iter().take_while(|event| event.what != What::Flush);
                from + ahead.count()
            });
            position = ends.into_iter().max_by_key(|end| unflushed(log, *end)).unwrap_or(position);
        }
        cuts.push(Cut { position, subset: Some(random.number()) });
    }
    cuts.sort_by_key(|cut| cut.position);
    cuts
}

/// Writes between the last flush and a position.
fn unflushed(log: &[Event], position: usize) -> usize {
    log[..position].iter().rev().take_while(|event| event.what != What::Flush).count()
}

/// Makes the images of cuts, which have to come in the order of the log.
#[derive(Debug)]
pub struct Images<'a> {
    system: FileSystem,
    log: &'a [Event],
    /// As it is for good after `applied` events.
    disk: Disk,
    applied: usize,
    /// So many flushes before a cut are taken for nothing, which the checks must find.
    ignored_flushes: usize,
}

/// What became of the writes behind the last flush.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kept {
    /// Writes that are all there.
    pub whole: u64,
    /// Writes of which a part is there.
    pub torn: u64,
    /// Writes that are lost.
    pub lost: u64,
}

impl Images<'_> {
    /// Of a disk and what happened to it.
    pub fn new(
        system: FileSystem,
        disk: Disk,
        log: &[Event],
        ignored_flushes: usize,
    ) -> Images<'_> {
        Images { system, log, disk, applied: 0, ignored_flushes }
    }

    /// What the disk has after a cut.
    ///
    /// # Panics
    /// If the cut is before the one before.
    pub fn make(&mut self, cut: Cut) -> (Disk, Kept) {
        let flushes = self.log[..cut.position].iter().enumerate().rev();
        let mut flushes = flushes.filter(|(_, event)| event.what == What::Flush);
        let durable = flushes.nth(self.ignored_flushes).map_or(0, |(index, _)| index + 1);
        assert!(durable >= self.applied, "cuts come in the order of the log");
        for event in &self.log[self.applied..durable] {
            if let What::Write(offset, bytes) = &event.what {
                self.disk.write(*offset, bytes);
            }
        }
        self.applied = durable;
        let mut disk = self.disk.clone();
        let mut kept = Kept::default();
        let mut fate = Fate::new(self.system, cut.subset.unwrap_or(cut.position as u64));
        for event in &self.log[durable..cut.position] {
            if let What::Write(offset, bytes) = &event.what {
                fate.befall(&mut disk, *offset, bytes, &mut kept);
            }
        }
        (disk, kept)
    }
}

/// What happens to writes that were not flushed.
struct Fate {
    random: Random,
    /// Percent of the writes that are kept, of the others those that are torn, and of a torn one
    /// the part that is kept.
    keep: u64,
    tear: u64,
    part: u64,
    system: FileSystem,
}

impl Fate {
    fn new(system: FileSystem, seed: u64) -> Fate {
        let mut random = Random::new(&[seed]);
        let keep = [0, 5, 30, 50, 70, 95, 98][random.below(7) as usize];
        let tear = [0, 20, 50, 90][random.below(4) as usize];
        let part = [10, 50, 90][random.below(3) as usize];
        Fate { random, keep, tear, part, system }
    }

    fn befall(&mut self, disk: &mut Disk, offset: u64, bytes: &[u8], kept: &mut Kept) {
        if self.random.below(100) < self.keep {
            disk.write(offset, bytes);
            kept.whole += 1;
            return;
        }
        let is_whole = offset < self.system.whole_below();
        if is_whole || self.random.below(100) >= self.tear {
            kept.lost += 1;
            return;
        }
        // Pages, or where that is possible sectors.
        let unit = if self.random.below(2) == 0 { self.system.tear_bytes() } else { PAGE_BYTES };
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let end = bytes.len().min(done + unit - (at % unit as u64) as usize);
            if self.random.below(100) < self.part {
                disk.write(at, &bytes[done..end]);
            }
            done = end;
        }
        kept.torn += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes of one page each to their own place, every tenth event a flush.
    fn log() -> Vec<Event> {
        let event = |n: usize| match n % 10 {
            9 => Event { at_ns: n as u64, what: What::Flush },
            _ => {
                let page = vec![n as u8 + 1; PAGE_BYTES].into_boxed_slice();
                Event { at_ns: n as u64, what: What::Write((n * PAGE_BYTES) as u64, page) }
            }
        };
        (0..100).map(event).collect()
    }

    /// How many bytes of each write are there.
    fn bytes_there(disk: &Disk) -> Vec<usize> {
        let mut page = [0; PAGE_BYTES];
        let mut count = |n: usize| {
            disk.read((n * PAGE_BYTES) as u64, &mut page);
            page.iter().filter(|byte| **byte == n as u8 + 1).count()
        };
        (0..100).filter(|n| n % 10 != 9).map(&mut count).collect()
    }

    #[test]
    fn what_was_flushed_is_there_and_nothing_behind_the_cut_is() {
        let log = log();
        let cuts = choose(&log, 5..100, 18, 1);
        assert_eq!(cuts.len(), 18);
        assert_eq!(cuts.iter().filter(|cut| cut.subset.is_none()).count(), 9);
        let mut images = Images::new(FileSystem::Ext4, Disk::default(), &log, 0);
        let mut sum = Kept::default();
        for cut in cuts {
            let (disk, kept) = images.make(cut);
            let there = bytes_there(&disk);
            let flushed = cut.position / 10 * 9;
            let begun = flushed + cut.position % 10;
            assert!(there[..flushed].iter().all(|bytes| *bytes == PAGE_BYTES), "{cut:?}");
            assert!(there[begun..].iter().all(|bytes| *bytes == 0), "{cut:?}");
            assert!(cut.subset.is_some() || begun == flushed);
            let count = |is: fn(usize) -> bool| {
                there[flushed..begun].iter().filter(|bytes| is(**bytes)).count() as u64
            };
            assert!(count(|bytes| bytes == PAGE_BYTES) >= kept.whole);
            assert!(count(|bytes| bytes == 0) >= kept.lost);
            sum.whole += kept.whole;
            sum.torn += kept.torn;
            sum.lost += kept.lost;
        }
        assert!(sum.whole > 0 && sum.torn > 0 && sum.lost > 0, "{sum:?}");
    }

    #[test]
    fn a_flush_that_is_ignored_keeps_nothing_for_good() {
        let log = log();
        let mut images = Images::new(FileSystem::Xfs, Disk::default(), &log, 3);
        let cuts: Vec<Cut> = (5..10).map(|n| Cut { position: n * 10, subset: None }).collect();
        let lost = cuts.into_iter().map(|cut| images.make(cut).1.lost).sum::<u64>();
        assert!(lost > 0);
    }

    #[test]
    fn a_moment_lies_between_two_events() {
        let log = log();
        let moment = |position| Cut { position, subset: None }.moment(&log);
        assert_eq!(moment(0), Moment { last_ns: 0, next_ns: 0 });
        assert_eq!(moment(40), Moment { last_ns: 39, next_ns: 40 });
        assert_eq!(moment(100), Moment { last_ns: 99, next_ns: u64::MAX });
    }
}
