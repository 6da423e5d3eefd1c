//! S3-FIFO: what is new stands in a small queue; what was asked for there again moves to the main
//! queue, the rest is remembered by name, and enters the main queue when it comes back.

use std::collections::{HashSet, VecDeque};

use super::Simulator;

/// The small queue has this share of the room, in percent.
const SMALL_PERCENT: u64 = 10;

/// Counted up to here.
const ASKED_MAX: u8 = 3;

/// Asked for more often than this, an object leaves the small queue for the main one.
const ASKED_IN_SMALL_MAX: u8 = 0;

/// Three queues.
pub struct S3Fifo {
    room_bytes: u64,
    small: Queue,
    main: Queue,
    /// What left the small queue: as many as the main queue has.
    ghosts: VecDeque<u32>,
    is_ghost: HashSet<u32>,
    /// How often each object that is held was asked for.
    asked: Vec<Option<u8>>,
    copied_bytes: u64,
}

#[derive(Default)]
struct Queue {
    objects: VecDeque<(u32, u64)>,
    bytes: u64,
}

impl Queue {
    fn push(&mut self, object: u32, bytes: u64) {
        self.objects.push_back((object, bytes));
        self.bytes += bytes;
    }

    fn pop(&mut self) -> Option<(u32, u64)> {
        let (object, bytes) = self.objects.pop_front()?;
        self.bytes -= bytes;
        Some((object, bytes))
    }
}

impl S3Fifo {
    pub fn new(objects: usize, room_bytes: u64) -> S3Fifo {
        S3Fifo {
            room_bytes,
            small: Queue::default(),
            main: Queue::default(),
            ghosts: VecDeque::new(),
            is_ghost: HashSet::new(),
            asked: vec![None; objects],
            copied_bytes: 0,
        }
    }

    fn drop_one(&mut self) {
        let small_bytes_max = self.room_bytes * SMALL_PERCENT / 100;
        if self.small.bytes > small_bytes_max || self.main.objects.is_empty() {
            self.drop_from_small();
        } else {
            self.drop_from_main();
        }
    }

    fn drop_from_small(&mut self) {
        while let Some((object, bytes)) = self.small.pop() {
            if self.asked[object as usize].unwrap_or(0) > ASKED_IN_SMALL_MAX {
                self.asked[object as usize] = Some(0);
                self.main.push(object, bytes);
                self.copied_bytes += bytes;
                continue;
            }
            self.asked[object as usize] = None;
            self.ghosts.push_back(object);
            self.is_ghost.insert(object);
            while self.ghosts.len() > self.main.objects.len().max(1) {
                if let Some(forgotten) = self.ghosts.pop_front() {
                    self.is_ghost.remove(&forgotten);
                }
            }
            return;
        }
    }

    fn drop_from_main(&mut self) {
        while let Some((object, bytes)) = self.main.pop() {
            match self.asked[object as usize] {
                Some(count @ 1..) => {
                    self.asked[object as usize] = Some(count - 1);
                    self.main.push(object, bytes);
                    self.copied_bytes += bytes;
                }
                _ => {
                    self.asked[object as usize] = None;
                    return;
                }
            }
        }
    }
}

impl Simulator for S3Fifo {
    fn hit(&mut self, _at: usize, object: u32) -> bool {
        let asked = &mut self.asked[object as usize];
        *asked = asked.map(|count| (count + 1).min(ASKED_MAX));
        asked.is_some()
    }

    fn store(&mut self, _at: usize, object: u32, bytes: u64) {
        while self.small.bytes + self.main.bytes + bytes > self.room_bytes
            && (!self.small.objects.is_empty() || !self.main.objects.is_empty())
        {
            self.drop_one();
        }
        if self.is_ghost.remove(&object) {
            self.ghosts.retain(|ghost| *ghost != object);
            self.main.push(object, bytes);
        } else {
            self.small.push(object, bytes);
        }
        self.asked[object as usize] = Some(0);
    }

    fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }
}
