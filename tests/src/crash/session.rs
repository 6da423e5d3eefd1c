//! One boot of a simulated machine: two processes use a store, and every answer is compared with
//! the ledger.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use larder_engine::{
    Budget, DropReason, EngineCounter, Key, Maintained, Options, Put, ReadMode, RecordLayout,
    Store, Trim, VerifyReport,
};

use crate::crash::Diary;
use crate::crash::disk::Disk;
use crate::crash::ledger::{Answer, Ledger, State};
use crate::sample::{Random, Value, keys};

/// Where the store is.
pub const STORE: &str = "/cache/store";

/// The smallest segments, so that rolling, sealing and merging happen all the time.
const SEGMENT_BYTES: u64 = 64 << 10;

/// The namespace that is trimmed; some random values have it.
const TRIMMED: &str = "nnn";

/// The size of a store that evicts. A tenth of it must be more than what no put may take, see
/// [`larder_engine::limits::UPKEEP_BYTES`]; else puts are dropped before eviction begins.
const EVICTING_BYTES: u64 = 46 * SEGMENT_BYTES;

/// What all boots of a run have in common.
#[derive(Clone, Debug)]
pub struct Plan {
    max_size_bytes: u64,
    layout: RecordLayout,
    clears: bool,
    /// Whether a namespace is trimmed now and then.
    trims: bool,
    /// Whether the store is so small that it evicts.
    pub evicts: bool,
    /// Every key but those that are put in the midst of something else.
    pub keys: Vec<Key>,
    /// Those, whose puts overlap with no other of the same key.
    pub meanwhile_keys: Vec<Key>,
}

impl Plan {
    /// A random one.
    pub fn random(random: &mut Random) -> Plan {
        let evicts = random.below(8) == 0;
        let layouts = [RecordLayout::Compressed, RecordLayout::Cloneable, RecordLayout::Raw];
        let mut keys = keys(if evicts { 150 } else { 6 + random.below(12) as usize });
        // Without a step of the random numbers: seeds that once failed stay what they are.
        let trims = random.clone().below(2) == 0;
        Plan {
            trims,
            meanwhile_keys: keys.split_off(keys.len() - 2),
            keys,
            max_size_bytes: if evicts { EVICTING_BYTES } else { 1 << 30 },
            layout: *random.choose(&layouts),
            clears: random.below(4) == 0,
            evicts,
        }
    }

    /// Every key that is ever used.
    pub fn all_keys(&self) -> Vec<Key> {
        [&self.keys[..], &self.meanwhile_keys].concat()
    }

    fn options(&self) -> Options {
        Options::new()
            .max_size_bytes(self.max_size_bytes)
            .segment_bytes(SEGMENT_BYTES)
            .layout(self.layout)
            .read_mode(ReadMode::Pread)
    }
}

/// What another process did meanwhile, from when to when.
#[derive(Clone, Debug, Default)]
struct Meanwhile(Arc<Mutex<Option<(usize, usize, Did)>>>);

#[derive(Debug)]
enum Did {
    Put(larder_engine::Result<Put>, Key, Arc<Value>),
    Upkeep(larder_engine::Result<Maintained>),
    Checkpoint(larder_engine::Result<()>),
}

impl Did {
    fn describe(&self) -> String {
        match self {
            Did::Put(outcome, key, value) => format!("{key} gets {}: {outcome:?}", value.label()),
            Did::Upkeep(outcome) => format!("upkeep: {outcome:?}"),
            Did::Checkpoint(outcome) => format!("checkpoint: {outcome:?}"),
        }
    }
}

/// A boot.
#[derive(Debug)]
pub struct Session<'a> {
    plan: &'a Plan,
    /// The disk of this boot.
    pub disk: Disk,
    /// What the store may answer.
    pub ledger: Ledger,
    random: Random,
    /// The processes that have the store open.
    stores: [Option<Arc<Store>>; 2],
    diary: &'a mut Diary,
}

impl<'a> Session<'a> {
    /// A boot at which nobody has opened the store yet.
    pub fn new(
        plan: &'a Plan,
        disk: Disk,
        ledger: Ledger,
        random: Random,
        diary: &'a mut Diary,
    ) -> Session<'a> {
        Session { plan, disk, ledger, random, stores: [None, None], diary }
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        let line = format!("{:5} {}", self.disk.position(), what());
        self.diary.journal.push(line);
    }

    /// The store of a process, opened if it is not.
    fn store(&mut self, process: usize) -> Result<Arc<Store>, String> {
        if let Some(store) = &self.stores[process] {
            return Ok(store.clone());
        }
        self.note(|| format!("process {process} opens the store"));
        let store = Store::open_with(self.disk.env(), Path::new(STORE), self.plan.options());
        let store = Arc::new(store.map_err(|error| format!("the store does not open: {error}"))?);
        self.stores[process] = Some(store.clone());
        Ok(store)
    }

    /// A process ends.
    fn close(&mut self, process: usize) {
        let Some(store) = self.stores[process].take() else { return };
        let count = |counter: EngineCounter| store.counters().get(counter.id());
        self.diary.tally.merges += count(EngineCounter::Merges);
        self.diary.tally.rebuilds += count(EngineCounter::Rebuilds);
        self.diary.tally.evicted_segments += count(EngineCounter::SegmentsEvicted);
        self.diary.tally.reinserted_records += count(EngineCounter::ReinsertedRecords);
        self.diary.tally.recoveries += count(EngineCounter::Recoveries);
    }

    /// Every process ends.
    pub fn end(mut self) -> (Disk, Ledger) {
        (0..self.stores.len()).for_each(|process| self.close(process));
        (self.disk, self.ledger)
    }

    /// Lets the other process do something in the midst of what this one is about to do.
    fn interrupt(&mut self, process: usize) -> Result<Meanwhile, String> {
        let meanwhile = Meanwhile::default();
        if self.random.below(4) > 0 {
            return Ok(meanwhile);
        }
        let store = self.store(1 - process)?;
        let (disk, happened) = (self.disk.clone(), meanwhile.clone());
        let key = *self.random.choose(&self.plan.meanwhile_keys);
        let value = Arc::new(self.value());
        let what = self.random.below(8);
        let work = move || {
            let begun = disk.position();
            let did = match what {
                0 => Did::Upkeep(store.maintain(Budget::full())),
                1 => Did::Checkpoint(store.checkpoint()),
                _ => Did::Put(store.put(&value.entry(key)), key, value),
            };
            let ended = disk.position();
            *happened.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((begun, ended, did));
        };
        self.disk.interrupt(self.random.below(12), work);
        Ok(meanwhile)
    }

    /// Notes what the other process did; whether it did anything.
    fn end_interrupt(&mut self, meanwhile: &Meanwhile) -> Result<bool, String> {
        self.disk.stop_interrupting();
        let happened = meanwhile.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((begun, ended, did)) = happened else { return Ok(false) };
        self.diary.tally.interrupts += 1;
        self.diary.journal.push(format!("{begun:5} to {ended}: meanwhile {}", did.describe()));
        match did {
            Did::Put(outcome, key, value) => {
                self.ledger.begin(key, Some(value), begun);
                match outcome {
                    Ok(Put::Stored) => self.ledger.acknowledge(&key, ended),
                    Ok(Put::Dropped(_)) => self.ledger.retract(&key),
                    Err(error) => return Err(format!("a put meanwhile failed: {error}")),
                }
            }
            Did::Upkeep(Ok(done)) if done.checkpointed => self.ledger.checkpoint(begun, ended),
            Did::Checkpoint(Ok(())) => self.ledger.checkpoint(begun, ended),
            Did::Upkeep(Err(error)) | Did::Checkpoint(Err(error)) if !error.is_busy() => {
                return Err(format!("upkeep failed meanwhile: {error}"));
            }
            Did::Upkeep(_) | Did::Checkpoint(_) => {}
        }
        Ok(true)
    }

    /// Does so many random things.
    ///
    /// # Errors
    /// If the store does something that it may not.
    pub fn work(&mut self, count: u64) -> Result<(), String> {
        for _ in 0..count {
            let process = self.random.below(2) as usize;
            let store = self.store(process)?;
            match self.random.below(100) {
                0..=77 => self.change(process, &store)?,
                78..=91 => {
                    let key = *self.random.choose(&self.plan.keys);
                    self.check_key(&store, &key)?;
                }
                92..=93 => self.close(process),
                94 if self.plan.clears => self.clear(&store)?,
                94 => self.check_snapshot(&store)?,
                95 if self.plan.trims => self.trim(&store)?,
                95 => drop(self.verify(&store)?),
                _ => self.pass_time(),
            }
        }
        Ok(())
    }

    /// One random change, in the midst of which the other process may do something.
    fn change(&mut self, process: usize, store: &Store) -> Result<(), String> {
        let meanwhile = self.interrupt(process)?;
        let dropped = match self.random.below(78) {
            0..=43 => self.put_random(store, 1),
            44..=51 => {
                let count = 2 + self.random.below(3) as usize;
                self.put_random(store, count)
            }
            52..=57 => self.remove(store),
            58..=61 => self.maintain(store, Budget::inline()).map(|()| None),
            62..=65 => self.maintain(store, Budget::due()).map(|()| None),
            66..=73 => self.maintain(store, Budget::full()).map(|()| None),
            _ => self.checkpoint(store).map(|()| None),
        }?;
        let is_interrupted = self.end_interrupt(&meanwhile)?;
        self.permit(dropped, is_interrupted)
    }

    /// Whether a put may have been dropped.
    fn permit(&self, dropped: Option<DropReason>, is_interrupted: bool) -> Result<(), String> {
        match dropped {
            None => Ok(()),
            Some(DropReason::Full) if self.plan.evicts => Ok(()),
            Some(DropReason::Closed | DropReason::Busy) if is_interrupted => Ok(()),
            Some(reason) => Err(format!("a put was dropped: {reason}")),
        }
    }

    /// Puts something into a store that nobody else uses just now.
    fn put_alone(&mut self, store: &Store) -> Result<(), String> {
        let dropped = self.put_random(store, 1)?;
        self.permit(dropped, false)
    }

    /// Fills a store that evicts until that is about to begin.
    ///
    /// # Errors
    /// If the store does something that it may not.
    pub fn fill(&mut self) -> Result<(), String> {
        let store = self.store(0)?;
        for batch in self.plan.keys.chunks(4) {
            let mut values = BTreeMap::new();
            for key in batch {
                values.insert(*key, Arc::new(noise(&mut self.random, 20_000)));
            }
            let dropped = self.put_all(&store, &values)?;
            self.permit(dropped, false)?;
        }
        Ok(())
    }

    /// What a process may do first after a cut.
    ///
    /// # Errors
    /// If the store does something that it may not.
    pub fn begin_again(&mut self) -> Result<(), String> {
        let store = self.open_together()?;
        match self.random.below(4) {
            0 => self.check_all(0),
            1 => self.maintain(&store, Budget::full()),
            2 => self.checkpoint(&store),
            _ => Ok(()),
        }
    }

    /// Opens the store, perhaps while another process wants to do the same.
    fn open_together(&mut self) -> Result<Arc<Store>, String> {
        let other = Arc::new(Mutex::new(None));
        if self.random.below(2) == 0 {
            let (env, options, other) = (self.disk.env(), self.plan.options(), other.clone());
            let open = move || {
                let opened = Store::open_with(env, Path::new(STORE), options).map(drop);
                *other.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened);
            };
            self.disk.interrupt(self.random.below(4), open);
        }
        let store = self.store(0);
        self.disk.stop_interrupting();
        match other.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(Err(error)) if !error.is_busy() => {
                return Err(format!("the store does not open during a recovery: {error}"));
            }
            opened => self.diary.tally.openings_in_recoveries += u64::from(opened.is_some()),
        }
        store
    }

    /// Everything that must go well after a cut, to the end.
    ///
    /// # Errors
    /// If the store does something that it may not.
    pub fn finish(&mut self) -> Result<(), String> {
        self.check_all(0)?;
        let store = self.store(0)?;
        (0..2).try_for_each(|_| self.put_alone(&store))?;
        self.maintain(&store, Budget::full())?;
        self.check_all(1)?;
        self.pass_time();
        (0..2).try_for_each(|_| self.put_alone(&store))?;
        self.maintain(&store, Budget::full())?;
        (0..2).for_each(|process| self.close(process));
        self.check_all(1)?;
        let store = self.store(1)?;
        self.checkpoint(&store)?;
        self.check_all(0)?;
        let report = self.verify(&store)?;
        if !report.damaged.is_empty() {
            return Err(format!("there is damage in the end: {:?}", report.damaged));
        }
        Ok(())
    }

    fn pass_time(&mut self) {
        let milliseconds = *self.random.choose(&[300, 2_500, 2_500, 25_000, 61_000]);
        self.note(|| format!("{milliseconds} ms pass"));
        self.disk.pass_ms(milliseconds);
    }

    fn value(&mut self) -> Value {
        let largest = if self.plan.evicts { 25_000 } else { 8_000 };
        let random = &mut self.random;
        match random.below(20) {
            0..=4 => Value::random(random, 6_000),
            5..=6 => {
                let count = 10_000 + random.below(20_000) as usize;
                Value::of(random.bytes(count))
            }
            // Noise of more than half a segment: it gets one of its own.
            7 => noise(random, 36_000),
            _ => {
                let count = 100 + random.below(largest) as usize;
                Value::of(random.bytes(count))
            }
        }
    }

    fn put_random(&mut self, store: &Store, count: usize) -> Result<Option<DropReason>, String> {
        let mut batch: BTreeMap<Key, Arc<Value>> = BTreeMap::new();
        while batch.len() < count {
            let key = *self.random.choose(&self.plan.keys);
            batch.insert(key, Arc::new(self.value()));
        }
        self.put_all(store, &batch)
    }

    fn put_all(
        &mut self,
        store: &Store,
        batch: &BTreeMap<Key, Arc<Value>>,
    ) -> Result<Option<DropReason>, String> {
        let entries: Vec<_> = batch.iter().map(|(key, value)| value.entry(*key)).collect();
        let writes = batch.iter().map(|(key, value)| (*key, Some(value.clone()))).collect();
        self.write(writes, || store.put_all(&entries))
    }

    fn remove(&mut self, store: &Store) -> Result<Option<DropReason>, String> {
        let key = *self.random.choose(&self.plan.keys);
        self.write(vec![(key, None)], || store.remove(&key))
    }

    fn clear(&mut self, store: &Store) -> Result<(), String> {
        self.note(|| "clear".into());
        self.diary.tally.clears += 1;
        self.ledger.begin_clearing(self.disk.position());
        store.clear().map_err(|error| format!("the store cannot be cleared: {error}"))?;
        self.ledger.end_clearing(self.disk.position());
        Ok(())
    }

    /// Writes, with an entry in the ledger for each key; answers why that was dropped, if it was.
    fn write(
        &mut self,
        writes: Vec<(Key, State)>,
        write: impl FnOnce() -> larder_engine::Result<Put>,
    ) -> Result<Option<DropReason>, String> {
        self.note(|| {
            let label = |state: &State| state.as_ref().map_or("no value".into(), |v| v.label());
            let each = writes.iter().map(|(key, state)| format!("{key} gets {}", label(state)));
            each.collect::<Vec<_>>().join(", ")
        });
        let now = self.disk.position();
        for (key, state) in &writes {
            self.ledger.begin(*key, state.clone(), now);
        }
        let outcome = write();
        let now = self.disk.position();
        match outcome {
            Ok(Put::Stored) => {
                writes.iter().for_each(|(key, _)| self.ledger.acknowledge(key, now));
            }
            Ok(Put::Dropped(reason)) => {
                writes.iter().for_each(|(key, _)| self.ledger.retract(key));
                self.note(|| format!("dropped: {reason}"));
                return Ok(Some(reason));
            }
            Err(error) => return Err(format!("a write failed: {error}")),
        }
        Ok(None)
    }

    fn maintain(&mut self, store: &Store, budget: Budget) -> Result<(), String> {
        self.note(|| format!("maintain {budget:?}"));
        let begun = self.disk.position();
        let done = store.maintain(budget).map_err(|error| format!("upkeep failed: {error}"))?;
        if done.busy {
            return Err("another janitor is said to be at work".into());
        }
        if done.checkpointed {
            self.ledger.checkpoint(begun, self.disk.position());
            self.diary.tally.due_checkpoints += 1;
        }
        Ok(())
    }

    fn checkpoint(&mut self, store: &Store) -> Result<(), String> {
        self.note(|| "checkpoint".into());
        let begun = self.disk.position();
        store.checkpoint().map_err(|error| format!("a checkpoint failed: {error}"))?;
        self.ledger.checkpoint(begun, self.disk.position());
        self.diary.tally.checkpoints += 1;
        Ok(())
    }

    /// Trims a namespace: of a key whose value is in it nothing is left, every other value stays.
    fn trim(&mut self, store: &Store) -> Result<(), String> {
        let mut doomed = Vec::new();
        for key in self.ledger.keys() {
            let found = self.check_key(store, &key)?;
            if found.is_some_and(|value| value.namespace() == TRIMMED) {
                doomed.push(key);
            }
        }
        self.note(|| format!("trim of {} keys", doomed.len()));
        let begun = self.disk.position();
        doomed.iter().for_each(|key| self.ledger.begin_drop(*key, begun));
        let trim = Trim { namespace: Some(TRIMMED.into()), ..Trim::default() };
        match store.trim(&trim, |_, _| ()) {
            Ok(done) => {
                let ended = self.disk.position();
                doomed.iter().for_each(|key| self.ledger.acknowledge(key, ended));
                self.ledger.checkpoint(begun, ended);
                self.diary.tally.trims += 1;
                self.diary.tally.trimmed_moves += done.entries_moved;
                Ok(())
            }
            Err(error) if self.plan.evicts && error.is_full() => Ok(()),
            Err(error) => Err(format!("a trim failed: {error}")),
        }
    }

    /// What the store has under a key, read in full; whether it may have that.
    fn check_key(&mut self, store: &Store, key: &Key) -> Result<State, String> {
        let record = store.get(key).map_err(|error| format!("a look-up failed: {error}"))?;
        let value = record.as_ref().map(Value::read).transpose();
        let value =
            value.map_err(|error| format!("{key} was found and cannot be read: {error}"))?;
        let found = value.map(Arc::new);
        match self.ledger.observe(key, &found, self.disk.position())? {
            Answer::Only => {}
            Answer::Newest => self.diary.tally.newest_found += 1,
            Answer::Older => self.diary.tally.older_found += 1,
            Answer::Evicted => self.diary.tally.evicted_found += 1,
        }
        Ok(found)
    }

    /// A snapshot has exactly what look-ups find.
    fn check_snapshot(&mut self, store: &Store) -> Result<(), String> {
        self.note(|| "snapshot".into());
        let snapshot = store.snapshot().map_err(|error| format!("no snapshot: {error}"))?;
        let mut seen = BTreeMap::new();
        for record in snapshot.iter() {
            let value = Value::read(&record)
                .map_err(|error| format!("{} of a snapshot: {error}", record.key()))?;
            seen.insert(record.key(), Arc::new(value));
        }
        for key in self.ledger.keys() {
            let found = self.check_key(store, &key)?;
            let in_snapshot = seen.remove(&key);
            // A half-done eviction may be seen by one and not yet by the other.
            let is_gone = self.ledger.evicts() && (found.is_none() || in_snapshot.is_none());
            if found != in_snapshot && !is_gone {
                let label = |state: State| state.map_or("no value".into(), |value| value.label());
                let (found, in_snapshot) = (label(found), label(in_snapshot));
                return Err(format!("{key} is {found}, in a snapshot {in_snapshot}"));
            }
        }
        match seen.keys().next() {
            Some(key) => Err(format!("a snapshot has {key}, which was never stored")),
            None => Ok(()),
        }
    }

    fn verify(&mut self, store: &Store) -> Result<VerifyReport, String> {
        self.note(|| "verify".into());
        store.verify(|_, _| {}).map_err(|error| format!("verify failed: {error}"))
    }

    fn check_all(&mut self, process: usize) -> Result<(), String> {
        let store = self.store(process)?;
        self.note(|| "every key is looked up".into());
        for key in self.ledger.keys() {
            self.check_key(&store, &key)?;
        }
        self.check_snapshot(&store)
    }
}

/// A value that no codec makes smaller.
fn noise(random: &mut Random, count: usize) -> Value {
    let words = (0..count / 8).flat_map(|_| random.number().to_le_bytes());
    Value::of(words.collect::<Vec<_>>())
}
