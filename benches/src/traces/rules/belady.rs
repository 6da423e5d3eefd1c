//! Belady's optimum: what is asked for last goes first, the new object included.
//!
//! With objects of different sizes this is no optimum any more, but a bound that no rule without
//! knowledge of the future came near on these traces.

use std::collections::BTreeSet;

use super::Simulator;
use crate::traces::trace::Trace;

/// Knows when each object is asked for next.
pub struct Belady {
    room_bytes: u64,
    used_bytes: u64,
    /// By look-up.
    next_uses: Vec<usize>,
    sizes: Vec<u64>,
    /// The next use of each object that is held.
    held: Vec<Option<usize>>,
    by_next_use: BTreeSet<(usize, u32)>,
}

impl Belady {
    pub fn new(trace: &Trace, room_bytes: u64) -> Belady {
        let objects = trace.objects() as u32;
        Belady {
            room_bytes,
            used_bytes: 0,
            next_uses: trace.next_uses(),
            sizes: (0..objects).map(|object| trace.bytes_of(object)).collect(),
            held: vec![None; objects as usize],
            by_next_use: BTreeSet::new(),
        }
    }
}

impl Simulator for Belady {
    fn hit(&mut self, at: usize, object: u32) -> bool {
        let Some(now) = self.held[object as usize] else { return false };
        self.by_next_use.remove(&(now, object));
        let next = self.next_uses[at];
        self.by_next_use.insert((next, object));
        self.held[object as usize] = Some(next);
        true
    }

    fn store(&mut self, at: usize, object: u32, bytes: u64) {
        let next = self.next_uses[at];
        self.by_next_use.insert((next, object));
        self.held[object as usize] = Some(next);
        self.used_bytes += bytes;
        while self.used_bytes > self.room_bytes
            && let Some((_, gone)) = self.by_next_use.pop_last()
        {
            self.held[gone as usize] = None;
            self.used_bytes -= self.sizes[gone as usize];
        }
    }
}
