//! How a call ended, and the statistics counters that stand for it.
//!
//! Counter ids are ccache's where ccache has one (see docs/statistics.md); larder's own begin at
//! 128.

use larder_engine::Uncloned;

/// A statistics counter; the number is its place in the store's counters and its id on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
#[allow(missing_docs)]
pub enum Counter {
    CompileFailed = 2,
    InternalError = 3,
    CacheMiss = 4,
    PreprocessorError = 5,
    CouldNotFindCompiler = 6,
    MissingCacheFile = 7,
    PreprocessedCacheHit = 8,
    BadCompilerArguments = 9,
    CalledForLink = 10,
    UnsupportedSourceLanguage = 15,
    BadOutputFile = 16,
    NoInputFile = 17,
    MultipleSourceFiles = 18,
    AutoconfTest = 19,
    UnsupportedCompilerOption = 20,
    OutputToStdout = 21,
    DirectCacheHit = 22,
    CompilerProducedNoOutput = 23,
    CompilerProducedEmptyOutput = 24,
    ErrorHashingExtraFile = 25,
    CompilerCheckFailed = 26,
    CouldNotUsePrecompiledHeader = 27,
    CalledForPreprocessing = 28,
    CleanupsPerformed = 29,
    UnsupportedCodeDirective = 30,
    StatsZeroedTimestamp = 31,
    CouldNotUseModules = 32,
    DirectCacheMiss = 33,
    PreprocessedCacheMiss = 34,
    LocalStorageReadHit = 35,
    LocalStorageReadMiss = 36,
    RemoteStorageReadHit = 37,
    RemoteStorageReadMiss = 38,
    RemoteStorageError = 39,
    RemoteStorageTimeout = 40,
    Recache = 41,
    UnsupportedEnvironmentVariable = 42,
    LocalStorageWrite = 43,
    LocalStorageHit = 44,
    LocalStorageMiss = 45,
    RemoteStorageWrite = 46,
    RemoteStorageHit = 47,
    RemoteStorageMiss = 48,
    Disabled = 81,
    BadInputFile = 82,
    ModifiedInputFile = 83,
    UnsupportedSourceEncoding = 84,
    /// The store could not be opened or written; the compile ran uncached.
    StoreUnavailable = 128,
    /// A put was dropped (no room, a stopped lock holder).
    StoreDropped = 129,
    /// A record was damaged; it counted as a miss.
    StoreCorrupt = 130,
    /// A failed compile was answered from the store.
    FailureCacheHit = 131,
    /// Calls that were no hits and are kept for `larder explain`.
    CallsKept = 132,
    /// When the store was emptied last, in seconds since 1970.
    StoreClearedTimestamp = 133,
    /// Results that were served from a lower store.
    LowerHits = 134,
    /// Results of a lower store that were put into the own store.
    LowerPromotions = 135,
    /// Lower stores that a call could not open or read, or in which it met damage.
    LowerFailures = 136,
    /// Files of hits that share their blocks with the store.
    ObjectsCloned = 140,
    /// Files of hits whose bytes were written; for those under `file_clone` the next ones say why.
    ObjectsCopied = 141,
    CopiedFileSystem = 142,
    CopiedOtherFileSystem = 143,
    CopiedSmall = 144,
    CopiedCompressed = 145,
    CopiedFresh = 146,
    CopiedRefused = 147,
    /// What hits took, from the start of larder's work to its end, in microseconds.
    HitTime = 150,
    /// What calls took that were misses, the compiler's time included, in microseconds.
    MissTime = 151,
    /// What the compiler took in these misses, in microseconds.
    CompileTime = 152,
    /// What the compiler had taken for the results of hits, in microseconds.
    AvoidedTime = 153,
    /// Hits whose result does not say what the compiler took.
    AvoidedUnknown = 154,
    /// Calls of a compiler.
    CallsMade = 155,
}

/// Errors that a call ends with, in place of a hit or a miss.
pub const CALL_ERRORS: [Counter; 4] = [
    Counter::InternalError,
    Counter::BadOutputFile,
    Counter::ErrorHashingExtraFile,
    Counter::BadInputFile,
];

/// A language and the sort of its compiler: hits, misses and errors are counted for each apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Kind {
    CGcc,
    CClang,
    CppGcc,
    CppClang,
    AssemblerGcc,
    AssemblerClang,
    AssemblerWithCppGcc,
    AssemblerWithCppClang,
    Rust,
}

/// The first of the counters of hits by their kind.
const KIND_HITS_FROM: usize = 216;
/// The first of the counters of misses by their kind.
const KIND_MISSES_FROM: usize = 226;
/// The first of the counters of [`CALL_ERRORS`] by the kind of their call.
const KIND_ERRORS_FROM: usize = 236;
/// Which settings that are not applied the log was told of last, see `config::sccache`.
pub const UNAPPLIED_TOLD: usize = 246;

/// What counter `id` below this was at a moment that somebody chose stands at `id` and this.
pub const BASELINE_FROM: usize = 256;

impl Kind {
    /// Every kind, in the order of the counters, with its name there.
    pub const ALL: [(Kind, &'static str); 9] = [
        (Kind::CGcc, "c_gcc"),
        (Kind::CClang, "c_clang"),
        (Kind::CppGcc, "cpp_gcc"),
        (Kind::CppClang, "cpp_clang"),
        (Kind::AssemblerGcc, "assembler_gcc"),
        (Kind::AssemblerClang, "assembler_clang"),
        (Kind::AssemblerWithCppGcc, "assembler_with_cpp_gcc"),
        (Kind::AssemblerWithCppClang, "assembler_with_cpp_clang"),
        (Kind::Rust, "rust"),
    ];

    /// The counter of its hits.
    pub fn hits(self) -> usize {
        KIND_HITS_FROM + self as usize
    }

    /// The counter of its misses.
    pub fn misses(self) -> usize {
        KIND_MISSES_FROM + self as usize
    }

    /// The counter of its [`CALL_ERRORS`].
    pub fn errors(self) -> usize {
        KIND_ERRORS_FROM + self as usize
    }
}

/// The first of the counters of hits by their time, see [`time_bucket`].
pub const HIT_BUCKETS_FROM: usize = 160;
/// The first of the counters of misses by their time.
pub const MISS_BUCKETS_FROM: usize = 192;
/// Counters of each; the last one has all that is longer.
pub const TIME_BUCKETS: usize = 24;
/// Times below this are in the first bucket; each bucket ends at twice what the one before it does.
/// A hit takes one or two milliseconds, so that it has some buckets around it.
pub const TIME_BUCKET_NS: u64 = 125_000;

/// The bucket of a time: its end is the first power of two times [`TIME_BUCKET_NS`] above it.
pub fn time_bucket(ns: u64) -> usize {
    let units = ns / TIME_BUCKET_NS;
    ((u64::BITS - units.leading_zeros()) as usize).min(TIME_BUCKETS - 1)
}

const _: () = assert!(HIT_BUCKETS_FROM + TIME_BUCKETS <= MISS_BUCKETS_FROM);
const _: () = assert!(MISS_BUCKETS_FROM + TIME_BUCKETS <= KIND_HITS_FROM);
const _: () = assert!(KIND_HITS_FROM + Kind::ALL.len() <= KIND_MISSES_FROM);
const _: () = assert!(KIND_MISSES_FROM + Kind::ALL.len() <= KIND_ERRORS_FROM);
const _: () = assert!(KIND_ERRORS_FROM + Kind::ALL.len() <= UNAPPLIED_TOLD);
const _: () = assert!(UNAPPLIED_TOLD < BASELINE_FROM && 2 * BASELINE_FROM <= 512);

impl Counter {
    /// The counter of files that were copied for this reason.
    pub fn of_copy(why: Uncloned) -> Counter {
        match why {
            Uncloned::FileSystem => Counter::CopiedFileSystem,
            Uncloned::OtherFileSystem => Counter::CopiedOtherFileSystem,
            Uncloned::Small => Counter::CopiedSmall,
            Uncloned::Compressed => Counter::CopiedCompressed,
            Uncloned::Fresh => Counter::CopiedFresh,
            _ => Counter::CopiedRefused,
        }
    }
}

/// Why a call is not cached: the counter, and a sentence for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reason {
    /// The counter that it adds to.
    pub counter: Counter,
    /// A sentence for the log, naming the option or file.
    pub text: String,
}

impl Reason {
    /// A reason.
    pub fn new(counter: Counter, text: impl Into<String>) -> Self {
        Reason { counter, text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_counters() {
        let mut ids: Vec<usize> = Kind::ALL
            .iter()
            .flat_map(|(kind, _)| [kind.hits(), kind.misses(), kind.errors()])
            .collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3 * Kind::ALL.len());
        assert!(Kind::ALL.iter().enumerate().all(|(at, (kind, _))| *kind as usize == at));
    }

    #[test]
    fn a_bucket_ends_at_twice_the_end_of_the_one_before() {
        assert_eq!(time_bucket(0), 0);
        assert_eq!(time_bucket(TIME_BUCKET_NS - 1), 0);
        for bucket in 1..TIME_BUCKETS - 1 {
            let end = TIME_BUCKET_NS << bucket;
            assert_eq!(time_bucket(end / 2), bucket);
            assert_eq!(time_bucket(end - 1), bucket);
        }
        assert_eq!(time_bucket(u64::MAX), TIME_BUCKETS - 1);
    }
}
