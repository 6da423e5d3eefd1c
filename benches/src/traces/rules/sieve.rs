//! SIEVE: a queue in the order of storing, and a hand that moves from the oldest to the newest,
//! spares once what was asked for since it passed, and drops what was not.

use std::collections::BTreeMap;

use super::Simulator;

/// The queue is a map from the order of storing.
pub struct Sieve {
    room_bytes: u64,
    used_bytes: u64,
    queue: BTreeMap<u64, Held>,
    place: Vec<Option<u64>>,
    next_place: u64,
    /// The hand stands before this place.
    hand: u64,
}

struct Held {
    object: u32,
    bytes: u64,
    was_asked_for: bool,
}

impl Sieve {
    pub fn new(objects: usize, room_bytes: u64) -> Sieve {
        Sieve {
            room_bytes,
            used_bytes: 0,
            queue: BTreeMap::new(),
            place: vec![None; objects],
            next_place: 0,
            hand: 0,
        }
    }

    /// Moves the hand to what goes, and drops it.
    fn drop_one(&mut self) {
        loop {
            let Some((&place, held)) = self.queue.range_mut(self.hand..).next() else {
                // Behind the newest it begins again at the oldest.
                self.hand = 0;
                continue;
            };
            self.hand = place + 1;
            if !std::mem::take(&mut held.was_asked_for) {
                self.place[held.object as usize] = None;
                self.used_bytes -= held.bytes;
                self.queue.remove(&place);
                return;
            }
        }
    }
}

impl Simulator for Sieve {
    fn hit(&mut self, _at: usize, object: u32) -> bool {
        let held = self.place[object as usize].and_then(|place| self.queue.get_mut(&place));
        held.map(|held| held.was_asked_for = true).is_some()
    }

    fn store(&mut self, _at: usize, object: u32, bytes: u64) {
        while self.used_bytes + bytes > self.room_bytes && !self.queue.is_empty() {
            self.drop_one();
        }
        self.queue.insert(self.next_place, Held { object, bytes, was_asked_for: false });
        self.place[object as usize] = Some(self.next_place);
        self.next_place += 1;
        self.used_bytes += bytes;
    }
}
