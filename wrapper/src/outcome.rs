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
    Recache = 41,
    UnsupportedEnvironmentVariable = 42,
    LocalStorageWrite = 43,
    LocalStorageHit = 44,
    LocalStorageMiss = 45,
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
}

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
