//! Verifying: read everything and say what is damaged.
//!
//! 1. The superblock and the tail; then every live segment in the order of the log: header, slot
//!    table, footer, and each record that one of them names, in full.
//! 2. Then the tree: its pages, whether each entry leads to a record, and whether the newest record
//!    of each key in a merged segment is there.
//! 3. Nothing is changed and nobody is kept from writing. What looks damaged and may just be being
//!    written is read again; what was evicted meanwhile is left out; a walk through the tree that a
//!    merge overtakes begins again.
//! 4. One place that the disk cannot read is damaged, and so is a file that this user may not read
//!    or that is none; the rest is read all the same.
//! 5. Memory: one record, and 32 bytes for each that was read.
//! 6. Damage in a suspect segment is what the last power cut took. It was never promised, and the
//!    janitor cleans it up; so it is told apart.

mod damage;
mod files;
mod segment;
mod tree;

use std::collections::BTreeSet;

pub use damage::{Damage, DamageKind, Severity};
pub use segment::{Place, examine, read_whole};

use crate::checksum::xxh3_64;
use crate::counters;
use crate::error::{Error, Result};
use crate::format::superblock::Superblock;
use crate::handle::Handle;
use crate::index::Index;
use crate::key::Key;
use crate::limits::DAMAGES_MAX;
use crate::location::Location;
use crate::log;
use crate::recency;

/// What was read, and what was damaged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VerifyReport {
    /// Valid records, superseded ones and tombstones included.
    pub records: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Segments read.
    pub segments: u64,
    /// Bytes of their files.
    pub segment_bytes: u64,
    /// Pages of the tree that are right.
    pub index_pages: u64,
    /// Whether merges overtook the walk through the tree so often that it was given up.
    pub index_was_overtaken: bool,
    /// What is wrong.
    pub damaged: Vec<Damage>,
    /// What is wrong in suspect segments: what a power cut took.
    pub suspects: Vec<Damage>,
    /// Segments that are suspect, with or without damage.
    pub suspect_segments: u64,
    /// What killed processes left, and files that are no part of a store.
    pub leftovers: Vec<Damage>,
    /// How many more damages there are than the lists above have room for.
    pub more: u64,
}

/// A record that is whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Known {
    /// The first eight bytes of its key.
    pub key_prefix: u64,
    /// A hash of the whole key.
    pub key_hash: u64,
    /// Its sequence number.
    pub sequence: u64,
    /// Its packed location.
    pub place: u64,
}

impl Known {
    /// Where it stands.
    pub fn location(&self) -> Location {
        Location::unpack(self.place)
    }
}

/// The hash of a key in [`Known::key_hash`].
pub fn key_hash(key: &Key) -> u64 {
    xxh3_64(key.as_bytes(), 0)
}

/// A report with what a repair goes by.
#[derive(Debug, Default)]
pub struct Findings {
    /// The report.
    pub report: VerifyReport,
    /// Every record that is whole, in order.
    pub known: Vec<Known>,
    /// The segments with damage that a repair can do something about, suspects left out.
    pub damaged_segments: BTreeSet<u32>,
}

/// Reads every committed record of every live segment, and all that leads to them; `progress` hears
/// how many bytes of segments are done, of how many.
///
/// # Errors
/// `Io` if the disk fails in a way that says nothing about a place, `NewerFormat`. Damage is no
/// error.
pub fn verify(handle: &Handle, progress: &mut dyn FnMut(u64, u64)) -> Result<Findings> {
    let mut checker = Checker::new(handle);
    if let Some(block) = checker.superblock()? {
        checker.tail()?;
        let index = checker.open_index()?;
        checker.segments(&block, index.as_ref(), progress)?;
        checker.sequences()?;
        if let Some(index) = index {
            checker.index(&index)?;
        }
        checker.files()?;
    }
    Ok(checker.findings)
}

/// A verification under way.
struct Checker<'a> {
    handle: &'a Handle,
    findings: Findings,
    /// Places of records that are known to be damaged.
    unwhole: BTreeSet<(u32, u64)>,
    /// Segments of which nothing can be read.
    lost: BTreeSet<u32>,
    /// How often what looks damaged may still be waited for.
    patience: u32,
}

/// Where a damage belongs and how bad it is.
struct Context {
    segment: u32,
    is_suspect: bool,
    /// The tree and a footer have what is in the segment.
    is_merged: bool,
}

/// Something wrong in a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What kind of damage.
    pub kind: DamageKind,
    /// Where in the file.
    pub offset: u64,
    /// The key, as far as it is known.
    pub key: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl Problem {
    fn new(kind: DamageKind, offset: u64, what: impl Into<String>) -> Problem {
        Problem { kind, offset, key: None, what: what.into() }
    }

    fn of_prefix(self, key_prefix: u64) -> Problem {
        Problem { key: Some(format!("{key_prefix:016x}")), ..self }
    }

    fn of_key(self, key: &Key) -> Problem {
        Problem { key: Some(key.to_string()), ..self }
    }
}

/// What a failed call says about one file or place; `None` if it is about this process.
fn kind_of(error: &Error) -> Option<DamageKind> {
    match error.system_number() {
        Some(libc::EACCES | libc::EPERM) => Some(DamageKind::Refused),
        Some(libc::EISDIR | libc::ENOTDIR | libc::ELOOP | libc::ENXIO) => Some(DamageKind::NoFile),
        _ => error.is_unreadable().then_some(DamageKind::Unreadable),
    }
}

impl<'a> Checker<'a> {
    fn new(handle: &'a Handle) -> Self {
        Checker {
            handle,
            findings: Findings::default(),
            unwhole: BTreeSet::new(),
            lost: BTreeSet::new(),
            patience: 100,
        }
    }

    /// Waits a moment for what looks damaged and may just be being written; `false` if there was
    /// enough of that.
    fn wait(&mut self) -> bool {
        if self.patience == 0 {
            return false;
        }
        self.patience -= 1;
        self.handle.env.sleep_us(1_000);
        true
    }

    fn add(&mut self, damage: Damage, list: fn(&mut VerifyReport) -> &mut Vec<Damage>) {
        let list = list(&mut self.findings.report);
        if list.len() < DAMAGES_MAX {
            list.push(damage);
        } else {
            self.findings.report.more += 1;
        }
    }

    /// Damage in a file that is no segment.
    fn add_in_file(&mut self, kind: DamageKind, file: &str, offset: Option<u64>, what: &str) {
        // Without these only statistics are wrong.
        let is_spare = [recency::FILE_NAME, counters::FILE_NAME].contains(&file);
        let severity = if is_spare { Severity::Harmless } else { severity(kind, false) };
        let (file, what) = (file.to_string(), what.to_string());
        let damage = Damage { kind, file, segment: None, offset, key: None, what, severity };
        self.add(damage, |report| &mut report.damaged);
    }

    fn add_in_segment(&mut self, context: &Context, problem: Problem) {
        let Problem { kind, offset, key, what } = problem;
        let damage = Damage {
            kind,
            file: format!("{}/{}", log::DIRECTORY_NAME, log::name_of(context.segment)),
            segment: Some(context.segment),
            offset: Some(offset),
            key,
            what,
            severity: severity(kind, context.is_merged),
        };
        if !kind.is_repairable() {
            return self.add(damage, |report| &mut report.damaged);
        }
        if context.is_suspect {
            return self.add(damage, |report| &mut report.suspects);
        }
        self.findings.damaged_segments.insert(context.segment);
        self.add(damage, |report| &mut report.damaged);
    }

    /// Every live segment.
    fn segments(
        &mut self,
        block: &Superblock,
        index: Option<&Index>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<()> {
        let meta = index.map_or(Ok(None), Index::meta)?;
        let merged_below = meta.map_or(block.oldest_live, |meta| meta.merged_below);
        let suspects = self.handle.suspects(block);
        let ids = block.oldest_live..block.next_segment;
        let bytes = |id| self.handle.log.sizes(id).len_bytes;
        let total: u64 = ids.clone().map(bytes).sum();
        let mut done = 0;
        for id in ids {
            let here = bytes_of(self.handle, id);
            let context = Context {
                segment: id,
                is_suspect: suspects.contains(&id),
                is_merged: id < merged_below,
            };
            self.findings.report.suspect_segments += u64::from(context.is_suspect);
            self.segment(&context, &mut |at| progress((done + at).min(total), total))?;
            done += here;
            progress(done.min(total), total);
        }
        self.findings.known.sort_unstable();
        Ok(())
    }

    /// What sequence numbers cannot be: given twice to one key, or not given out yet.
    fn sequences(&mut self) -> Result<()> {
        // Numbers are used up before a record has them, so this is read after the records.
        let block = self.handle.superblock.read()?;
        let tail = self.counting_tail(&block)?;
        let is_early = |sequence: u64| match &tail {
            Some(tail) => sequence >= tail.next_sequence,
            None => sequence >> crate::rolling::SEQUENCE_EPOCH_SHIFT > u64::from(block.epoch),
        };
        let known = std::mem::take(&mut self.findings.known);
        let same = |a: &Known, b: &Known| {
            (a.key_prefix, a.key_hash, a.sequence) == (b.key_prefix, b.key_hash, b.sequence)
        };
        for (index, record) in known.iter().enumerate() {
            let next = known.get(index + 1);
            let is_newest = next.is_none_or(|next| {
                (next.key_prefix, next.key_hash) != (record.key_prefix, record.key_hash)
            });
            // Of those that a newer one supersedes it does not matter.
            let is_twice = is_newest && index > 0 && same(&known[index - 1], record);
            let what = match is_twice {
                true => "two records of this key have one sequence number",
                false if is_early(record.sequence) => {
                    "the sequence number is higher than any that was given out"
                }
                false => continue,
            };
            let location = record.location();
            let context = Context {
                segment: location.segment,
                is_suspect: self.handle.suspects(&block).contains(&location.segment),
                is_merged: false,
            };
            let problem = Problem::new(DamageKind::Sequence, location.offset(), what);
            self.add_in_segment(&context, problem.of_prefix(record.key_prefix));
        }
        self.findings.known = known;
        Ok(())
    }
}

fn bytes_of(handle: &Handle, id: u32) -> u64 {
    handle.log.sizes(id).len_bytes
}

/// How bad a damage is, in a segment that the tree has or not.
fn severity(kind: DamageKind, is_merged: bool) -> Severity {
    use DamageKind::*;
    match kind {
        SuperblockLost => Severity::Unusable,
        Slot | SlotGap | SlotWrong if is_merged => Severity::Harmless,
        SuperblockUsed | SegmentMissing | SegmentHeader | Slot | SlotGap | SlotWrong | Frame
        | Head | Section | Sequence | IndexPage | IndexOrder | IndexEntry | IndexGap
        | Unreadable | Refused | NoFile => Severity::Misses,
        _ => Severity::Harmless,
    }
}
