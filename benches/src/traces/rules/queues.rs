//! LRU and FIFO: one queue, whose first goes.

use std::collections::{BTreeMap, VecDeque};

use super::Simulator;

/// Least recently used.
pub struct Lru {
    room_bytes: u64,
    used_bytes: u64,
    /// The look-up that last asked for each object that is held.
    asked: Vec<Option<usize>>,
    order: BTreeMap<usize, (u32, u64)>,
}

impl Lru {
    pub fn new(objects: usize, room_bytes: u64) -> Lru {
        let order = BTreeMap::new();
        Lru { room_bytes, used_bytes: 0, asked: vec![None; objects], order }
    }
}

impl Simulator for Lru {
    fn hit(&mut self, at: usize, object: u32) -> bool {
        let Some(last) = self.asked[object as usize] else { return false };
        self.asked[object as usize] = Some(at);
        if let Some(entry) = self.order.remove(&last) {
            self.order.insert(at, entry);
        }
        true
    }

    fn store(&mut self, at: usize, object: u32, bytes: u64) {
        while self.used_bytes + bytes > self.room_bytes
            && let Some((_, (gone, gone_bytes))) = self.order.pop_first()
        {
            self.asked[gone as usize] = None;
            self.used_bytes -= gone_bytes;
        }
        self.asked[object as usize] = Some(at);
        self.order.insert(at, (object, bytes));
        self.used_bytes += bytes;
    }
}

/// First in, first out.
pub struct Fifo {
    room_bytes: u64,
    used_bytes: u64,
    held: Vec<bool>,
    queue: VecDeque<(u32, u64)>,
}

impl Fifo {
    pub fn new(objects: usize, room_bytes: u64) -> Fifo {
        Fifo { room_bytes, used_bytes: 0, held: vec![false; objects], queue: VecDeque::new() }
    }
}

impl Simulator for Fifo {
    fn hit(&mut self, _at: usize, object: u32) -> bool {
        self.held[object as usize]
    }

    fn store(&mut self, _at: usize, object: u32, bytes: u64) {
        while self.used_bytes + bytes > self.room_bytes
            && let Some((gone, gone_bytes)) = self.queue.pop_front()
        {
            self.held[gone as usize] = false;
            self.used_bytes -= gone_bytes;
        }
        self.held[object as usize] = true;
        self.queue.push_back((object, bytes));
        self.used_bytes += bytes;
    }
}
