//! What all processes of a user know of one tier of a store: a small mapped file `tier-HASH-UID` in
//! the store. Members of a shared store need not trust each other's.
//!
//! | word | |
//! |---|---|
//! | 0 | `LARDERTR` |
//! | 1 | the boot that words 3 and 4 are about |
//! | 2 | up to where the log was written to the tier, a `LogPosition`; 0 before the first time |
//! | 3 | when a read failed, in milliseconds since the boot; 0 while reads succeed |
//! | 4 | the same of writes |
//! | 5 | what may have been evicted unseen before word 2, a sequence number |
//! | 6 | the store that words 2 and 5 are about |
//! | 16.. | [`Count`]s |
//!
//! 1. The breaker: while word 3 (or 4) is not 0 nobody reads (writes), but for the one who, after
//!    30 seconds, replaces it by the time of now. So one process tries at a time, once in 30
//!    seconds, and nobody else waits. Whoever succeeds writes 0.
//! 2. The hash is that of the tier's address without credentials: who gets a new password goes on
//!    where the old one ended.
//! 3. Nothing here is synced: after a power cut a part of the log may be written once more. What
//!    positions mean then is the engine's matter.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use larder_engine::env::boot_id;
use larder_engine::env::map::SharedWords;

use crate::tier::TierSettings;

const MAGIC: u64 = u64::from_le_bytes(*b"LARDERTR");
const MAGIC_WORD: usize = 0;
const BOOT_WORD: usize = 1;
const CURSOR_WORD: usize = 2;
const READS_WORD: usize = 3;
const WRITES_WORD: usize = 4;
const MISSED_WORD: usize = 5;
const STORE_WORD: usize = 6;
const COUNTS_FROM: usize = 16;
const WORDS: usize = 64;

/// What is counted of a tier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Count {
    /// Reads that found something.
    Hits,
    /// Reads that found nothing.
    Misses,
    /// Records that were written.
    Writes,
    /// Reads that failed, damaged values among them.
    ReadFailures,
    /// Writes that failed.
    WriteFailures,
    /// Failures that were time-outs.
    TimeOuts,
    /// Values that were not what was asked for, or damaged.
    Damaged,
    /// Calls that were not made, because the tier had failed shortly before.
    Skipped,
    /// Records that were written here because a slower tier had them.
    BackfillsIn,
    /// Places that were filled with what this tier had, the local store among them.
    BackfillsOut,
    /// Bytes of values that were read.
    BytesRead,
    /// Bytes of values that were written.
    BytesWritten,
    /// What reads took, in microseconds.
    ReadTime,
    /// What writes took, in microseconds.
    WriteTime,
    /// Records that left the store before they were written here.
    Lost,
    /// Values that were not signed as they have to be.
    Refused,
}

impl Count {
    /// Every count with its name in JSON.
    pub const ALL: [(Count, &'static str); 16] = [
        (Count::Hits, "hits"),
        (Count::Misses, "misses"),
        (Count::Writes, "writes"),
        (Count::ReadFailures, "read_failures"),
        (Count::WriteFailures, "write_failures"),
        (Count::TimeOuts, "time_outs"),
        (Count::Damaged, "damaged"),
        (Count::Skipped, "skipped"),
        (Count::BackfillsIn, "backfills_in"),
        (Count::BackfillsOut, "backfills_out"),
        (Count::BytesRead, "bytes_read"),
        (Count::BytesWritten, "bytes_written"),
        (Count::ReadTime, "read_time_us"),
        (Count::WriteTime, "write_time_us"),
        (Count::Lost, "lost"),
        (Count::Refused, "refused"),
    ];
}

/// What a breaker is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Reads.
    Reads,
    /// Writes.
    Writes,
}

impl Side {
    fn word(self) -> usize {
        match self {
            Side::Reads => READS_WORD,
            Side::Writes => WRITES_WORD,
        }
    }
}

/// What is known of a tier.
#[derive(Debug)]
pub struct TierState {
    words: SharedWords,
}

impl TierState {
    /// Opens what is known of a tier in the store at `store`, made there if it is missing and there
    /// is room for it; `None` if that cannot be.
    pub fn open(
        store: &Path,
        tier: &TierSettings,
        has_room: impl FnOnce(u64) -> bool,
    ) -> Option<TierState> {
        let hash = blake3::hash(tier.display().as_bytes()).to_hex();
        let user = rustix::process::geteuid().as_raw();
        let path = store.join(format!("tier-{}-{user}", &hash[..16]));
        let state = TierState { words: SharedWords::open(&path, WORDS, 0o600, has_room).ok()? };
        let boot = boot_number();
        let magic = state.word(MAGIC_WORD).load(Ordering::Acquire);
        if magic != MAGIC || state.word(BOOT_WORD).load(Ordering::Relaxed) != boot {
            // Times of another boot mean nothing.
            state.word(READS_WORD).store(0, Ordering::Relaxed);
            state.word(WRITES_WORD).store(0, Ordering::Relaxed);
            state.word(BOOT_WORD).store(boot, Ordering::Relaxed);
            state.word(MAGIC_WORD).store(MAGIC, Ordering::Release);
        }
        Some(state)
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        &self.words.words()[at]
    }

    /// Adds to a count.
    pub fn add(&self, count: Count, more: u64) {
        self.word(COUNTS_FROM + count as usize).fetch_add(more, Ordering::Relaxed);
    }

    /// A count.
    pub fn get(&self, count: Count) -> u64 {
        self.word(COUNTS_FROM + count as usize).load(Ordering::Relaxed)
    }

    /// Sets every count to zero.
    pub fn zero(&self) {
        for (count, _) in Count::ALL {
            self.word(COUNTS_FROM + count as usize).store(0, Ordering::Relaxed);
        }
    }

    /// Whether a call may be made at `now_ms`. Of all who ask while the tier is left alone, one in
    /// `pause_ms` may.
    pub fn may(&self, side: Side, now_ms: u64, pause_ms: u64) -> bool {
        let word = self.word(side.word());
        let opened = word.load(Ordering::Relaxed);
        opened == 0
            || (now_ms >= opened.saturating_add(pause_ms)
                && word
                    .compare_exchange(opened, now_ms.max(1), Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok())
    }

    /// Notes that a call failed in a way that the next one would, too.
    pub fn open_breaker(&self, side: Side, now_ms: u64) {
        self.word(side.word()).store(now_ms.max(1), Ordering::Relaxed);
    }

    /// Notes that a call succeeded.
    pub fn close_breaker(&self, side: Side) {
        let word = self.word(side.word());
        // A line of memory that all processes read is not written for nothing.
        if word.load(Ordering::Relaxed) != 0 {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// For how long the tier has been left alone by now, in milliseconds; `None` while it is used.
    pub fn open_for_ms(&self, side: Side, now_ms: u64) -> Option<u64> {
        let opened = self.word(side.word()).load(Ordering::Relaxed);
        (opened != 0).then(|| now_ms.saturating_sub(opened))
    }

    /// Up to where the log of the store with this number was written to the tier, and below which
    /// sequence number records may have been evicted unseen; `None` before the first time.
    pub fn cursor(&self, store: u64) -> Option<(u64, u64)> {
        let of = |word| self.word(word).load(Ordering::Relaxed);
        (of(STORE_WORD) == store && of(CURSOR_WORD) != 0)
            .then(|| (of(CURSOR_WORD), of(MISSED_WORD)))
    }

    /// Notes the same.
    pub fn set_cursor(&self, store: u64, position: u64, missed_below: u64) {
        self.word(MISSED_WORD).store(missed_below, Ordering::Relaxed);
        self.word(CURSOR_WORD).store(position, Ordering::Relaxed);
        self.word(STORE_WORD).store(store, Ordering::Relaxed);
    }
}

/// Milliseconds since the boot.
pub fn now_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

fn boot_number() -> u64 {
    let hash = blake3::hash(&boot_id());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE_MS: u64 = 30_000;

    fn state(directory: &Path) -> TierState {
        let tier = TierSettings::parse("redis://:secret@host/1").unwrap();
        TierState::open(directory, &tier, |_| true).unwrap()
    }

    #[test]
    fn one_process_tries_a_tier_that_failed() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (state(dir.path()), state(dir.path()));
        assert!(one.may(Side::Reads, 5, PAUSE_MS) && two.may(Side::Reads, 5, PAUSE_MS));
        one.open_breaker(Side::Reads, 1000);
        assert!(
            !one.may(Side::Reads, 1001, PAUSE_MS)
                && !two.may(Side::Reads, 1000 + PAUSE_MS - 1, PAUSE_MS)
        );
        assert!(two.may(Side::Writes, 1001, PAUSE_MS), "writes are another matter");
        assert!(two.may(Side::Reads, 1000 + PAUSE_MS, PAUSE_MS));
        assert!(!one.may(Side::Reads, 1000 + PAUSE_MS, PAUSE_MS), "the other one tries");
        assert!(!one.may(Side::Reads, 999 + 2 * PAUSE_MS, PAUSE_MS));
        assert!(one.may(Side::Reads, 1000 + 2 * PAUSE_MS, PAUSE_MS), "nobody came back");
        one.close_breaker(Side::Reads);
        assert!(one.may(Side::Reads, 7, PAUSE_MS) && two.may(Side::Reads, 7, PAUSE_MS));
        assert_eq!(one.open_for_ms(Side::Reads, 9), None);
    }

    #[test]
    fn counts_and_cursors_are_shared_and_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (state(dir.path()), state(dir.path()));
        assert_eq!(one.cursor(5), None);
        one.set_cursor(5, 77, 3);
        one.add(Count::Lost, 2);
        two.add(Count::Lost, 1);
        assert_eq!((two.cursor(5), two.get(Count::Lost)), (Some((77, 3)), 3));
        drop((one, two));
        let again = state(dir.path());
        assert_eq!((again.cursor(5), again.get(Count::Lost)), (Some((77, 3)), 3));
        assert_eq!(again.cursor(6), None, "another store begins anew");
        again.zero();
        assert_eq!((again.cursor(5), again.get(Count::Lost)), (Some((77, 3)), 0));
        assert!(Count::ALL.iter().enumerate().all(|(at, (count, _))| *count as usize == at));
    }
}
