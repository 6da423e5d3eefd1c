//! The work of `larder convert`: every entry of a source is read, checked, and written to a target.
//!
//! 1. Shard by shard the source is listed, and its items go in chunks to a few threads. Each reads
//!    a chunk, leaves out what the target has already, checks what it read, and writes the rest in
//!    one batch. So at most [`BATCH_BYTES`] and one entry are in memory for each thread, and the
//!    names of two shards.
//! 2. Where the target wants an order, all names are listed first, about 200 bytes for each, and a
//!    thread with a batch waits for its turn.
//! 3. Whatever is wrong with one entry is counted, and the first ones of each kind are named. Only
//!    a source or a target that fails as a whole ends the work; what is written by then stands, and
//!    the same call goes on behind it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::entry::Family;
use crate::layout::check::check;
use crate::place::open::Layout;
use crate::place::room::refuses;
use crate::place::{Fault, Item, Outgoing, Presence, Source, Target, Trouble};

/// Items that a thread takes at a time.
const CHUNK_ITEMS: usize = 64;
/// What a thread has read is written when it is as much as this.
pub const BATCH_BYTES: u64 = 8 << 20;
/// Items that are read ahead at a time, where they have to be: some megabytes, some directories.
const WINDOW_ITEMS: usize = 16 * CHUNK_ITEMS;
/// Threads at most: beyond it the store or the disk is what limits.
const THREADS_MAX: usize = 8;
/// Between two looks at how far it is.
const SHOW: Duration = Duration::from_millis(50);
/// Troubles of each kind that are told in words; all are counted.
pub const TOLD_MAX: usize = 20;

/// How it is to be done.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Nothing is written.
    pub is_dry: bool,
    /// What is there is written again.
    pub overwrites: bool,
    /// Threads; 0 takes as many as there are processors.
    pub threads: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Entries written (or to be written, of a dry run) and their bytes, by family.
    pub written: BTreeMap<Family, (u64, u64)>,
    /// Entries that the target had.
    pub present: u64,
    /// Entries that vanished while they were to be read.
    pub gone: u64,
    /// Temporary files and locks that were passed by.
    pub passing: u64,
    /// Segments that the target evicted meanwhile, to keep to its size: of what was written not
    /// all may be there.
    pub evicted_segments: u64,
    /// What the target has no place for, by the reason.
    pub no_place: BTreeMap<&'static str, u64>,
    /// Entries that are damaged.
    pub damaged: Told,
    /// Entries that are too large.
    pub too_large: Told,
    /// Entries that could not be read or written.
    pub failed: Told,
    /// Files that are none of a cache.
    pub strangers: Told,
    /// What else there is to know, in sentences.
    pub notes: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
}

/// A count, and the first few in words.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Told {
    /// How many.
    pub count: u64,
    /// What and why, of the first ones.
    pub first: Vec<(String, String)>,
}

impl Told {
    fn add(&mut self, what: String, why: String) {
        self.count += 1;
        if self.first.len() < TOLD_MAX {
            self.first.push((what, why));
        }
    }
}

impl Report {
    /// Entries written, and their bytes.
    pub fn totals(&self) -> (u64, u64) {
        let sum =
            |(entries, bytes): (u64, u64), more: &(u64, u64)| (entries + more.0, bytes + more.1);
        self.written.values().fold((0, 0), sum)
    }

    fn trouble(&mut self, what: String, trouble: Trouble) {
        match trouble {
            Trouble::Gone => self.gone += 1,
            Trouble::Passing => self.passing += 1,
            Trouble::NoPlace(reason) => *self.no_place.entry(reason).or_default() += 1,
            Trouble::Damaged(why) => self.damaged.add(what, why),
            Trouble::TooLarge(why) => self.too_large.add(what, why),
            Trouble::Failed(why) | Trouble::Lost(Fault(why)) => self.failed.add(what, why),
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Entries that are done, whatever came of them.
    pub done: u64,
    /// Entries that there are, as far as is known; of shards that are not listed yet as many are
    /// taken as the others have.
    pub total: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// Everything that the threads share.
struct Work<'a> {
    source: &'a dyn Source,
    target: Option<&'a dyn Target>,
    layout: Layout,
    how: How,
    report: Mutex<Report>,
    fault: Mutex<Option<Fault>>,
    is_over: AtomicBool,
    done: AtomicU64,
    bytes: AtomicU64,
    listed: AtomicU64,
    shards_listed: AtomicU64,
    /// The number of the chunk whose turn it is to be written.
    turn: Mutex<u64>,
    turns: Condvar,
    /// Threads that have nothing more to do.
    ended: AtomicUsize,
}

/// Converts everything that `source` has into `target`, which has this layout, or will have once
/// it is made: a dry run needs none. `show` hears now and then how far it is.
///
/// # Errors
/// If the source or the target fails as a whole.
pub fn convert(
    source: &dyn Source,
    target: Option<&dyn Target>,
    layout: Layout,
    how: How,
    show: impl Fn(Progress),
) -> Result<Report, Fault> {
    let begun = Instant::now();
    let work = Work {
        source,
        target,
        layout,
        how,
        report: Mutex::default(),
        fault: Mutex::default(),
        is_over: AtomicBool::new(false),
        done: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        listed: AtomicU64::new(0),
        shards_listed: AtomicU64::new(0),
        turn: Mutex::default(),
        turns: Condvar::new(),
        ended: AtomicUsize::new(0),
    };
    let threads = match how.threads {
        0 => thread::available_parallelism().map_or(2, usize::from).clamp(2, THREADS_MAX),
        count => count,
    };
    let (sender, receiver) = sync_channel::<(u64, Vec<Item>)>(2 * threads);
    let (receiver, caller) = (Mutex::new(receiver), thread::current());
    thread::scope(|scope| {
        let (work, receiver, caller) = (&work, &receiver, &caller);
        scope.spawn(move || work.list(&sender));
        let run = || {
            work.run(receiver);
            work.ended.fetch_add(1, Ordering::Release);
            caller.unpark();
        };
        // A worker ends when the lister has.
        (0..threads).for_each(|_| drop(scope.spawn(run)));
        while work.ended.load(Ordering::Acquire) < threads {
            thread::park_timeout(SHOW);
            show(work.progress());
        }
    });
    let mut report = work.report.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(fault) = work.fault.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(fault);
    }
    if let Some(target) = target.filter(|_| !how.is_dry) {
        let finished = target.finish()?;
        for (what, trouble) in finished.troubles {
            report.trouble(what, trouble);
        }
        report.notes = finished.notes;
        report.evicted_segments = target.evicted_segments();
    }
    report.elapsed = begun.elapsed();
    Ok(report)
}

/// The order in which a target that wants one has entries: the same whatever they come from.
fn in_order(item: &Item) -> (Family, String, Option<u8>) {
    (item.name.family, item.name.text.clone(), item.level)
}

impl Work<'_> {
    fn progress(&self) -> Progress {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (listed, shards) = (of(&self.listed), of(&self.shards_listed).max(1));
        let total = listed * self.source.shards() as u64 / shards;
        Progress { done: of(&self.done), total, bytes: of(&self.bytes) }
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends everything.
    fn fail(&self, fault: Fault) {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
        self.is_over.store(true, Ordering::Release);
        self.turns.notify_all();
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Lists shard after shard, and hands out what is listed.
    fn list(&self, sender: &SyncSender<(u64, Vec<Item>)>) {
        let (mut number, mut all) = (0, Vec::new());
        for shard in 0..self.source.shards() {
            let listed = match self.source.list(shard) {
                Ok(listed) => listed,
                Err(fault) => return self.fail(fault),
            };
            {
                let mut report = self.report();
                report.passing += listed.passing;
                for what in listed.strangers {
                    report.strangers.add(what, "it is no file of a cache".to_owned());
                }
                for (what, trouble) in listed.troubles {
                    report.trouble(what, trouble);
                }
            }
            self.listed.fetch_add(listed.items.len() as u64, Ordering::Relaxed);
            self.shards_listed.fetch_add(1, Ordering::Relaxed);
            if self.is_ordered() {
                all.extend(listed.items);
            } else {
                self.hand_out(&listed.items, &mut number, sender);
            }
        }
        all.sort_by_cached_key(in_order);
        self.hand_out(&all, &mut number, sender);
    }

    fn hand_out(&self, items: &[Item], number: &mut u64, sender: &SyncSender<(u64, Vec<Item>)>) {
        for window in items.chunks(WINDOW_ITEMS) {
            self.source.prefetch(window);
            for chunk in window.chunks(CHUNK_ITEMS) {
                if self.is_over() || sender.send((*number, chunk.to_vec())).is_err() {
                    return;
                }
                *number += 1;
            }
        }
    }

    /// One thread.
    fn run(&self, receiver: &Mutex<Receiver<(u64, Vec<Item>)>>) {
        loop {
            let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok((number, items)) = next else { return };
            if self.is_over() {
                // The lister must not wait for somebody to take more.
                continue;
            }
            // A thread that is no more would be waited for.
            let done = catch_unwind(AssertUnwindSafe(|| self.chunk(number, &items)));
            let broken = || Err(Fault("larder has a bug: a thread panicked".to_owned()));
            if let Err(fault) = done.unwrap_or_else(|_| broken()) {
                self.fail(fault);
            }
        }
    }

    fn chunk(&self, number: u64, items: &[Item]) -> Result<(), Fault> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for item in items {
            match self.take(item)? {
                Ok(None) => self.report().present += 1,
                Ok(Some(outgoing)) => {
                    let entry_bytes = outgoing.entry.bytes();
                    self.bytes.fetch_add(entry_bytes, Ordering::Relaxed);
                    bytes += entry_bytes;
                    batch.push(outgoing);
                }
                Err(trouble) => self.report().trouble(item.name.to_string(), trouble),
            }
            self.done.fetch_add(1, Ordering::Relaxed);
            if bytes >= BATCH_BYTES {
                self.wait_for_turn(number);
                self.write(&std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        self.wait_for_turn(number);
        let written = self.write(&batch);
        if self.is_ordered() {
            *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = number + 1;
            self.turns.notify_all();
        }
        written
    }

    /// Whether the target has an item, and it is not to be written again.
    fn has(&self, item: &Item) -> Result<bool, Fault> {
        match self.target.filter(|_| !self.how.overwrites) {
            Some(target) => Ok(target.has(item, &|| self.source.stamp(item))? == Presence::Same),
            None => Ok(false),
        }
    }

    /// The entry of an item, whole and fit for the target; `None` if it is there already.
    fn take(&self, item: &Item) -> Result<Result<Option<Outgoing>, Trouble>, Fault> {
        if self.has(item)? {
            return Ok(Ok(None));
        }
        // Of an entry that is just being removed some files are gone before others: what looks
        // damaged is read once more.
        let outgoing = match self.read_whole(item).or_else(|trouble| match trouble {
            Trouble::Damaged(_) => self.read_whole(item),
            other => Err(other),
        }) {
            Ok(outgoing) => outgoing,
            Err(Trouble::Lost(fault)) => return Err(fault),
            Err(trouble) => return Ok(Err(trouble)),
        };
        // Of some sources only the bytes tell what an entry is called elsewhere.
        let entry = &outgoing.entry;
        if entry.name != item.name || item.labels.is_empty() {
            let labels = entry.parts.iter().map(|part| part.label.clone()).collect();
            let item = Item { name: entry.name.clone(), labels, ..item.clone() };
            if self.has(&item)? {
                return Ok(Ok(None));
            }
        }
        Ok(match refuses(self.layout, &outgoing) {
            Some(trouble) => Err(trouble),
            None => Ok(Some(outgoing)),
        })
    }

    fn read_whole(&self, item: &Item) -> Result<Outgoing, Trouble> {
        let mut entry = self.source.read(item)?;
        let said = check(&mut entry)?;
        Ok(Outgoing { entry, said })
    }

    fn is_ordered(&self) -> bool {
        self.target.is_some_and(|target| target.is_ordered())
    }

    fn wait_for_turn(&self, number: u64) {
        if !self.is_ordered() {
            return;
        }
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        while *turn != number && !self.is_over() {
            let waited = self.turns.wait_timeout(turn, Duration::from_millis(100));
            turn = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write(&self, batch: &[Outgoing]) -> Result<(), Fault> {
        if batch.is_empty() || self.is_over() {
            return Ok(());
        }
        let done = match self.target.filter(|_| !self.how.is_dry) {
            None => vec![Ok(()); batch.len()],
            Some(target) => target.write(batch)?,
        };
        let mut report = self.report();
        for (outgoing, done) in batch.iter().zip(done) {
            let name = &outgoing.entry.name;
            match done {
                Ok(()) => {
                    let count = report.written.entry(name.family).or_default();
                    count.0 += 1;
                    count.1 += outgoing.entry.bytes();
                }
                Err(trouble) => report.trouble(name.to_string(), trouble),
            }
        }
        Ok(())
    }
}
