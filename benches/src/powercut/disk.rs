//! A disk in memory that notes what is written to it, and when.
//!
//! 1. Pages that were never written are not there; a copy of a disk shares its pages with the
//!    original until one of the two writes to them.
//! 2. Every write and every flush is an [`Event`] of the log, in the order in which they arrived,
//!    with the time of the clock that the processes of a recording use too.
//! 3. A flush says that every write before it is there for good. Of those behind the last flush a
//!    power cut keeps what it likes.

use std::collections::HashMap;
use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};

/// The unit in which disks share memory, and in which they write at once.
pub const PAGE_BYTES: usize = 4096;

type Page = [u8; PAGE_BYTES];

/// What is on a disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pages: HashMap<u64, Arc<Page>>,
}

/// What happened to a disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// Bytes were written at an offset.
    Write(u64, Box<[u8]>),
    /// Everything before is there for good.
    Flush,
}

/// Something that happened, and when (see [`now_ns`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// When it arrived.
    pub at_ns: u64,
    /// What it was.
    pub what: What,
}

/// A disk and its log.
#[derive(Debug, Default)]
pub struct Recorder {
    /// As it is now.
    pub disk: Disk,
    /// What happened since the log was begun.
    pub log: Vec<Event>,
}

/// The clock of recordings: nanoseconds since this kernel started, the same in every process.
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Disk {
    /// Reads; what was never written is zero.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) {
        pieces(offset, buffer.len(), |number, within, range| match self.pages.get(&number) {
            Some(page) => {
                let count = range.len();
                buffer[range].copy_from_slice(&page[within..within + count]);
            }
            None => buffer[range].fill(0),
        });
    }

    /// Writes.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        pieces(offset, bytes.len(), |number, within, range| {
            let page = self.pages.entry(number).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            let count = range.len();
            Arc::make_mut(page)[within..within + count].copy_from_slice(&bytes[range]);
        });
    }

    /// The pages that were ever written, by number.
    pub fn pages(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.pages.iter().map(|(number, page)| (*number, page.as_slice()))
    }
}

/// Cuts a range of the disk at its pages: page number, offset in it, range of the buffer.
fn pieces(offset: u64, bytes: usize, mut each: impl FnMut(u64, usize, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < bytes {
        let at = offset + done as u64;
        let within = (at % PAGE_BYTES as u64) as usize;
        let end = bytes.min(done + PAGE_BYTES - within);
        each(at / PAGE_BYTES as u64, within, done..end);
        done = end;
    }
}

impl Recorder {
    /// Nothing has happened to this disk yet.
    pub fn new(disk: Disk) -> Recorder {
        Recorder { disk, log: Vec::new() }
    }

    /// Writes and notes it.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.disk.write(offset, bytes);
        self.log.push(Event { at_ns: now_ns(), what: What::Write(offset, bytes.into()) });
    }

    /// Notes a flush.
    pub fn flush(&mut self) {
        self.log.push(Event { at_ns: now_ns(), what: What::Flush });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_across_pages_is_read_and_copies_part() {
        let mut disk = Disk::default();
        let bytes: Vec<u8> = (0..10_000).map(|n| n as u8).collect();
        disk.write(4000, &bytes);
        let copy = disk.clone();
        disk.write(5000, &[0xff; 100]);
        let mut read = vec![1; 10_200];
        copy.read(3900, &mut read);
        assert_eq!(read[..100], [0; 100]);
        assert_eq!(read[100..10_100], bytes);
        assert_eq!(read[10_100..], [0; 100]);
        disk.read(4999, &mut read[..102]);
        assert_eq!((read[0], read[1], read[100], read[101]), (bytes[999], 0xff, 0xff, bytes[1100]));
    }

    #[test]
    fn the_log_has_writes_and_flushes_in_order_with_times_that_never_go_back() {
        let mut recorder = Recorder::default();
        recorder.write(512, &[7; 3]);
        recorder.flush();
        recorder.write(0, &[1]);
        let what: Vec<&What> = recorder.log.iter().map(|event| &event.what).collect();
        let write = |at, bytes: &[u8]| What::Write(at, bytes.into());
        assert_eq!(what, [&write(512, &[7; 3]), &What::Flush, &write(0, &[1])]);
        assert!(recorder.log.is_sorted_by_key(|event| event.at_ns));
    }
}
