//! Every limit of the store, with the reason for its value.
//!
//! Relations between limits are asserted at compile time, so that one cannot be moved alone.

/// The unit of the index, of slot tables and of the superblock copies, in bytes.
pub const PAGE_BYTES: usize = 4096;

/// Records start at multiples of this many bytes; a location counts offsets in this unit.
pub const RECORD_ALIGN: u64 = 64;

/// Sections of cloneable records start at multiples of this many bytes of the file: the block size
/// of ext4, XFS and btrfs on the supported platforms. `FICLONERANGE` refuses smaller steps.
pub const BLOCK_BYTES: u64 = 4096;

/// `max_size` may not be set below this: fewer than sixteen of the smallest segments evict badly.
pub const MAX_SIZE_BYTES_MIN: u64 = 64 << 20;

/// `max_size` where the caller does not say.
pub const MAX_SIZE_BYTES_DEFAULT: u64 = 10 << 30;

/// The smallest segment. Smaller ones would make more inodes than the promise allows.
pub const SEGMENT_BYTES_MIN: u64 = 4 << 20;

/// The largest segment: 22 bits of 64-byte units is all that a location can express.
pub const SEGMENT_BYTES_MAX: u64 = 256 << 20;

/// The smallest segment that tests and replays may ask for.
pub const SEGMENT_BYTES_MIN_TEST: u64 = 64 << 10;

/// A store has about this many segments: with 64, evictions collapse when one build just fits.
pub const SEGMENTS_PER_STORE: u64 = 256;

/// At most this much is preallocated ahead of the tail, in bytes, where that is asked for.
pub const PREALLOCATE_BYTES: u64 = 16 << 20;

/// A segment's file is made longer in steps of so many bytes, which take no blocks: smaller ones
/// cost a call more often.
pub const EXTEND_BYTES: u64 = 1 << 20;

/// Bytes of a segment that one page of its slot table serves. 255 slots for 512 KiB suit records
/// of 2 KiB and more; a page that fills up rolls to the next segment.
pub const SEGMENT_BYTES_PER_TABLE_PAGE: u64 = 512 << 10;

/// Segment ids only grow and have 28 bits; 2^28 segments of 4 MiB are a pebibyte written.
pub const SEGMENT_ID_MAX: u32 = (1 << 28) - 1;

/// The first segment of a store. Zero stands for none in listings.
pub const FIRST_SEGMENT: u32 = 1;

/// Largest body in bytes. Larger artifacts are refused with a `Limit` error.
pub const BODY_BYTES_MAX: u64 = 4 << 30;

/// Most sections in one body.
pub const SECTIONS_MAX: usize = 4096;

/// Longest section name, in bytes: a Linux path.
pub const SECTION_NAME_BYTES_MAX: usize = 4096;

/// Longest namespace, in bytes.
pub const NAMESPACE_BYTES_MAX: usize = 255;

/// Longest section name of a body from another machine, in bytes: names there say which output of a
/// compile a section is, so one is no longer than a file's.
pub const INCOMING_NAME_BYTES_MAX: usize = 255;

/// What all sections of a body from another machine may have after decompression, in bytes: bounds
/// the time that a small body can take.
pub const INCOMING_REAL_BYTES_MAX: u64 = 4 << 30;

/// A body from another machine may have been made so many seconds from now on: clocks differ. One
/// from the far future would never grow old enough to go.
pub const INCOMING_AHEAD_SECS_MAX: u64 = 24 * 60 * 60;

/// Largest head (header, namespace, section table, names, tails) of a body, in bytes.
pub const HEAD_BYTES_MAX: u64 = 64 << 20;

/// Largest section after decompression, in bytes: bounds what a hostile body can allocate.
pub const SECTION_BYTES_MAX: u64 = 4 << 30;

/// Sections up to this length are compressed together with their neighbours.
pub const GROUPED_SECTION_BYTES_MAX: usize = 16 << 10;

/// Largest group of small sections after decompression, in bytes.
pub const GROUP_BYTES_MAX: u64 = 64 << 20;

/// In cloneable records, sections of at least this length may be stored raw on block boundaries:
/// shorter ones are compressed together.
pub const CLONEABLE_SECTION_BYTES_MIN: usize = 16 << 10;

/// From this length on a file is cloned rather than copied on a disk that does not seek: a shorter
/// one would be stored raw to save some microseconds.
pub const CLONE_BYTES_MIN_FAST: u64 = 64 << 10;

/// The same on a disk that does, if nobody reads the clone at once: its extents are seeks of their
/// own, and who links it reads it again from the disk, which makes a copy faster at every size that
/// was measured (docs/decisions/0013).
pub const CLONE_BYTES_MIN_ROTATIONAL: u64 = 2 << 20;

/// Lines of the file that remembers which sections were checked before they were cloned. 2048 have
/// room for 16384 sections in 128 KiB; a section that is forgotten is checked again.
pub const CLONES_LINES: u64 = 2048;

/// A section is remembered as checked if its file was last changed at least this many seconds ago:
/// the next change then has another time. File times advance in steps of some milliseconds.
pub const CLONES_QUIET_SECS: i128 = 2;

/// A body is written in pieces of this length: a file system lets one writer at a time into a file,
/// and whoever commits waits for it with the tail lock. Smaller pieces cost calls.
pub const BODY_WRITE_BYTES_MAX: usize = 256 << 10;

/// Most records that one call of `put_all` may append.
pub const PUT_ALL_RECORDS_MAX: usize = 64;

/// Records that are reinserted are committed in batches of about so many bytes: larger ones take
/// memory, smaller ones locks and calls.
pub const REINSERT_BATCH_BYTES: u64 = 1 << 20;

/// And of so many records: each takes some microseconds under the tail lock, and the janitor that
/// holds it has a low priority.
pub const REINSERT_BATCH_RECORDS: usize = 16;

/// At most this share of the bytes that are evicted is reinserted, in percent. What a segment does
/// not use of it is there for the next one, up to the bytes of that.
pub const REINSERT_PERCENT: u64 = 50;

/// An eviction drops segments whenever it has reinserted one part in this many of `max_size`: more
/// parts cost syncs, fewer take room from puts meanwhile.
pub const REINSERT_ROUND_SHARE: u64 = 64;

/// An eviction that has not come to its end after so many rounds leaves the rest to the next one.
pub const EVICT_ROUNDS_MAX: usize = 64;

/// A lock that cannot be had for this long is given up, in milliseconds: its holder is stopped.
pub const LOCK_WAIT_MS_MAX: u64 = 50;

/// A look-up that meets pages newer than its snapshot starts again this often, then misses.
pub const INDEX_RETRIES_MAX: usize = 8;

/// Deepest index tree. 100 children per page make depth 8 unreachable in 28 bits of segments.
pub const INDEX_DEPTH_MAX: usize = 8;

/// Most records that a look-up reads for one key; beyond it the answer is a miss, because the
/// newest record might be among the others. Keys are digests, so it reads one of each unmerged
/// segment and one of the tree, in all but made-up cases.
pub const CANDIDATES_MAX: usize = 4096;

/// Closed segments wait for a merge into the tree until there are this many of them.
pub const UNMERGED_SEGMENTS_MERGE: u32 = 8;

/// The same where a compile would have to wait for the merge and its syncs. A look-up opens each
/// unmerged segment: ten microseconds for each.
pub const UNMERGED_SEGMENTS_MERGE_INLINE: u32 = 16;

/// Segments that roll while the store is counted make the count worthless; it is tried so often.
pub const COUNT_TRIES_MAX: usize = 3;

/// A segment stays open for late commits for this long after the tail has left it, in milliseconds.
pub const SEAL_GRACE_MS: u64 = 2_000;

/// A superblock that changes between two readings is read again this often.
pub const CURRENT_TRIES_MAX: usize = 100;

/// Eviction begins when the store holds this share of `max_size`, in percent.
pub const EVICT_START_PERCENT: u64 = 90;

/// Eviction ends when the store holds this share of `max_size`, in percent.
pub const EVICT_STOP_PERCENT: u64 = 80;

/// A checkpoint is due after this many bytes of new records.
pub const CHECKPOINT_BYTES: u64 = 64 << 20;

/// A checkpoint is due when new records have waited for one for this long, in milliseconds.
pub const CHECKPOINT_MS: u64 = 60_000;

/// A heartbeat of another boot id younger than this many seconds means another kernel.
pub const HEARTBEAT_SECS_MAX: u64 = 60;

/// A heartbeat older than this many seconds is renewed by the next writer.
pub const HEARTBEAT_RENEW_SECS: u64 = 20;

/// What a new generation of the index takes for each entry at most, in bytes: leaves may be filled
/// by two thirds.
pub const INDEX_BYTES_PER_ENTRY: u64 = 24;

/// And besides: branches, and the meta pages.
pub const INDEX_BYTES_MIN: u64 = 32 << 10;

/// Disk space that no put may take, in bytes: the recency bits and counters, which are made when
/// they are first needed.
pub const UPKEEP_BYTES: u64 = 192 << 10;

/// One part in this many of what is used is kept back as well: footers take 24 bytes per record,
/// and three generations of the index 60, which for records of 10 KiB is 0.8 %.
pub const UPKEEP_SHARE: u64 = 120;

/// Recency granules per segment.
pub const RECENCY_GRANULES: u64 = 1024;

/// Segments that the recency file has room for; ids map onto it modulo this number.
pub const RECENCY_SEGMENTS: u64 = 1024;

/// Words of a job's set, the least and the most. A word is a key; half a million compiles of one
/// run fit the most, in 8 MiB.
pub const JOB_WORDS_MIN: u64 = 1 << 13;
/// See [`JOB_WORDS_MIN`].
pub const JOB_WORDS_MAX: u64 = 1 << 20;

/// A job's set has a word for each so many bytes of `max_size`, about the mean of a record, so that
/// it takes a 2000th of the store.
pub const JOB_ENTRY_BYTES: u64 = 16 << 10;

/// A key is looked for in so many words of a job's set. More make a full set slower, fewer make it
/// full sooner: with 64 it is at about nine tenths.
pub const JOB_PROBES_MAX: usize = 64;

/// Jobs that a store knows at a time; who begins another one forgets the oldest.
pub const JOBS_MAX: usize = 16;

/// Longest id of a job.
pub const JOB_ID_BYTES_MAX: usize = 64;

/// A trim waits so long for a janitor that is at work, in milliseconds: one often is, right after a
/// build, and a merge or a checkpoint takes some seconds on a spinning disk. One that was stopped
/// keeps it waiting for all of this.
pub const TRIM_WAIT_MS_MAX: u64 = 60_000;

/// A trim that has no room for what it keeps, or does not get the lock, tries again so often.
pub const TRIM_TRIES_MAX: usize = 4;

/// Damages that a verification lists; of more it says only how many.
pub const DAMAGES_MAX: usize = 10_000;

/// Behind a cold record this much is prefetched on a disk with moving heads, in bytes: at 160 MB/s
/// it takes 0.4 ms, a thirtieth of the seek that it may save, and a result of usual size stands
/// there behind its manifest.
pub const PREFETCH_BYTES_MIN: u64 = 64 << 10;

/// The same, where what stands before the record was read, too: a build that asks in the order in
/// which it stored. See docs/decisions/0014 for how it was sized.
pub const PREFETCH_BYTES_MAX: u64 = 2 << 20;

/// The part of the index around a cold page that is prefetched: keys are hashes, so the next page
/// that is asked for may be any. An index of 100,000 entries comes with three reads.
pub const INDEX_PREFETCH_BYTES: u64 = 1 << 20;

/// Closed segments whose records somebody who follows the log keeps at hand: as many as he goes to
/// and fro between, where late commits stand.
pub const FOLLOWED_TABLES: usize = 4;

/// Segments that positions of the log name, of which a follower remembers the epoch: the last ones
/// that he was given, for when they are evicted.
pub const FOLLOWED_EPOCHS: usize = 16;

/// Counters in the counters file.
pub const COUNTERS: usize = 1024;

/// zstd level of the compressed layout where the caller does not say.
pub const ZSTD_LEVEL_DEFAULT: i32 = 1;

/// The usual length of a piece of an export at most; its segment has slots for as much.
pub const EXPORT_SEGMENT_BYTES: u64 = 32 << 20;

/// A piece of an export ends behind so many bytes at the earliest, where there are more.
pub const EXPORT_PIECE_BYTES_MIN: u64 = 8 << 20;

/// How many more bytes, on average, a piece has before a key ends it.
pub const EXPORT_PIECE_BYTES_WANTED: u64 = 8 << 20;

/// The epoch of all that is exported.
pub const EXPORT_EPOCH: u32 = 1;

/// Sequence numbers in an export have the segment above so many bits, and in these the record.
pub const EXPORT_SEQUENCE_SHIFT: u32 = 20;

/// No segment of an export has this id or a higher one, so that its sequence numbers have room.
pub const EXPORT_SEGMENTS_MAX: u32 = 1 << 20;

/// How long an export waits for another one to the same directory, in milliseconds.
pub const EXPORT_WAIT_MS_MAX: u64 = 1000;

const _: () = assert!(SEGMENT_BYTES_MAX / RECORD_ALIGN == 1 << 22);
const _: () = assert!(SEGMENT_BYTES_MIN * 16 <= MAX_SIZE_BYTES_MIN);
const _: () = assert!(EVICT_STOP_PERCENT < EVICT_START_PERCENT && EVICT_START_PERCENT < 100);
const _: () = assert!(RECENCY_SEGMENTS >= 2 * SEGMENTS_PER_STORE);
const _: () = assert!(HEARTBEAT_RENEW_SECS * 2 <= HEARTBEAT_SECS_MAX);
const _: () = assert!(PREFETCH_BYTES_MIN <= PREFETCH_BYTES_MAX);
const _: () = assert!(BLOCK_BYTES.is_multiple_of(RECORD_ALIGN));
