//! Every counter of the wrapper: its id, its name in JSON, its words for people.
//!
//! The names and numbers are ccache's where ccache has the counter; larder's own begin at 128.

use crate::outcome::Counter;

/// Where a counter stands in the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Summed up in the first lines.
    Calls,
    /// Why a call was not cached.
    Uncacheable,
    /// What went wrong.
    Errors,
    /// How files of hits came to their places, and why not by cloning.
    Objects,
    /// What lower stores did; not shown to who has none.
    Lower,
    /// Only in JSON, or shown in another form.
    Storage,
}

use Counter::*;
use Group::*;

/// Every counter: its name in JSON, its words for people, and its group.
pub const COUNTERS: &[(Counter, &str, &str, Group)] = &[
    (CompileFailed, "compile_failed", "compilation failed", Uncacheable),
    (InternalError, "internal_error", "internal error", Errors),
    (CacheMiss, "cache_miss", "misses", Calls),
    (PreprocessorError, "preprocessor_error", "preprocessing failed", Uncacheable),
    (CouldNotFindCompiler, "could_not_find_compiler", "compiler not found", Errors),
    (MissingCacheFile, "missing_cache_file", "missing record", Errors),
    (PreprocessedCacheHit, "preprocessed_cache_hit", "preprocessed", Calls),
    (BadCompilerArguments, "bad_compiler_arguments", "bad compiler arguments", Uncacheable),
    (CalledForLink, "called_for_link", "called for linking", Uncacheable),
    (
        UnsupportedSourceLanguage,
        "unsupported_source_language",
        "unsupported source language",
        Uncacheable,
    ),
    (BadOutputFile, "bad_output_file", "unsuitable output file", Errors),
    (NoInputFile, "no_input_file", "no input file", Uncacheable),
    (MultipleSourceFiles, "multiple_source_files", "several source files", Uncacheable),
    (AutoconfTest, "autoconf_test", "autoconf test", Uncacheable),
    (
        UnsupportedCompilerOption,
        "unsupported_compiler_option",
        "unsupported compiler option",
        Uncacheable,
    ),
    (OutputToStdout, "output_to_stdout", "output to stdout", Uncacheable),
    (DirectCacheHit, "direct_cache_hit", "direct", Calls),
    (CompilerProducedNoOutput, "compiler_produced_no_output", "no output made", Uncacheable),
    (
        CompilerProducedEmptyOutput,
        "compiler_produced_empty_output",
        "empty output made",
        Uncacheable,
    ),
    (ErrorHashingExtraFile, "error_hashing_extra_file", "unreadable named file", Errors),
    (CompilerCheckFailed, "compiler_check_failed", "unknown compiler", Errors),
    (
        CouldNotUsePrecompiledHeader,
        "could_not_use_precompiled_header",
        "precompiled header",
        Uncacheable,
    ),
    (CalledForPreprocessing, "called_for_preprocessing", "called for preprocessing", Uncacheable),
    (CleanupsPerformed, "cleanups_performed", "cleanups performed", Storage),
    (
        UnsupportedCodeDirective,
        "unsupported_code_directive",
        "unsupported directive in the source",
        Uncacheable,
    ),
    (StatsZeroedTimestamp, "stats_zeroed_timestamp", "counted since", Storage),
    (CouldNotUseModules, "could_not_use_modules", "modules", Uncacheable),
    (DirectCacheMiss, "direct_cache_miss", "direct misses", Storage),
    (PreprocessedCacheMiss, "preprocessed_cache_miss", "preprocessed misses", Storage),
    (LocalStorageReadHit, "local_storage_read_hit", "reads that found", Storage),
    (LocalStorageReadMiss, "local_storage_read_miss", "reads that did not", Storage),
    (Recache, "recache", "recached", Storage),
    (
        UnsupportedEnvironmentVariable,
        "unsupported_environment_variable",
        "unsupported environment variable",
        Uncacheable,
    ),
    (LocalStorageWrite, "local_storage_write", "writes", Storage),
    (LocalStorageHit, "local_storage_hit", "results found", Storage),
    (LocalStorageMiss, "local_storage_miss", "results not found", Storage),
    (Disabled, "disabled", "disabled", Uncacheable),
    (BadInputFile, "bad_input_file", "unreadable input file", Errors),
    (ModifiedInputFile, "modified_input_file", "input changed during the compile", Uncacheable),
    (
        UnsupportedSourceEncoding,
        "unsupported_source_encoding",
        "unsupported source encoding",
        Uncacheable,
    ),
    (StoreUnavailable, "store_unavailable", "store could not be written", Errors),
    (StoreDropped, "store_dropped", "result not stored for want of room or time", Errors),
    (StoreCorrupt, "store_corrupt", "damaged record", Errors),
    (FailureCacheHit, "failure_cache_hit", "failures", Calls),
    (CallsKept, "calls_kept", "calls kept for explain", Storage),
    (StoreClearedTimestamp, "store_cleared_timestamp", "emptied", Storage),
    (LowerHits, "lower_hits", "hits", Lower),
    (LowerPromotions, "lower_promotions", "put into the own store", Lower),
    (LowerFailures, "lower_failures", "failures", Lower),
    (ObjectsCloned, "objects_cloned", "cloned", Calls),
    (ObjectsCopied, "objects_copied", "copied", Calls),
    (CopiedFileSystem, "objects_copied_file_system", "file system cannot clone", Objects),
    (
        CopiedOtherFileSystem,
        "objects_copied_other_file_system",
        "store on another file system",
        Objects,
    ),
    (CopiedSmall, "objects_copied_small", "small", Objects),
    (CopiedCompressed, "objects_copied_compressed", "stored compressed", Objects),
    (CopiedFresh, "objects_copied_fresh", "written since the last checkpoint", Objects),
    (CopiedRefused, "objects_copied_refused", "clone refused", Objects),
    (HitTime, "hit_time_us", "what hits took", Storage),
    (MissTime, "miss_time_us", "what misses took", Storage),
    (CompileTime, "compile_time_us", "what compilers took in misses", Storage),
    (AvoidedTime, "avoided_time_us", "what compilers had taken for the results of hits", Storage),
    (AvoidedUnknown, "avoided_time_unknown", "hits that do not say that", Storage),
    (CallsMade, "calls", "calls of a compiler", Storage),
];

/// A counter in words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Words {
    /// Its name in JSON.
    pub name: &'static str,
    /// What people are told.
    pub words: &'static str,
}

/// The words of a counter; `None` if there is none of that id.
pub fn words_of(id: u16) -> Option<Words> {
    let row = COUNTERS.iter().find(|row| row.0 as u16 == id)?;
    Some(Words { name: row.1, words: row.2 })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_counter_has_one_row_and_one_name() {
        let names: BTreeSet<_> = COUNTERS.iter().map(|row| row.1).collect();
        let ids: BTreeSet<_> = COUNTERS.iter().map(|row| row.0 as u16).collect();
        assert_eq!((names.len(), ids.len()), (COUNTERS.len(), COUNTERS.len()));
        assert!(COUNTERS.is_sorted_by_key(|row| row.0 as u16));
        assert_eq!(words_of(10).map(|words| words.name), Some("called_for_link"));
    }
}
