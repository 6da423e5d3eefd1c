//! The tables of rustc's options.
//!
//! 1. A table is sorted by name, and a name stands in it once; a test checks both.
//! 2. An option that is in no table is not cached: it may read or write anything.
//! 3. rustc takes `_` for `-` in the names of codegen options (`-C opt_level=3`), and so do these.

use crate::outcome::Counter::{self, UnsupportedCompilerOption};

/// How an option is written. Long ones (`--name`) take their value behind `=` or as the next word,
/// short ones (`-X`) in the same word or as the next one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    /// It has none.
    None,
    /// It has one.
    Required,
}

/// What an option means for the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// Its words count for the result.
    Keyed,
    /// It changes what is said, and how, but nothing that is made: it counts if something is said.
    Messages,
    /// `--json`: as [`Class::Messages`], and it may ask for artifact notifications.
    Json,
    /// `--cfg`: counts, in any order.
    Cfg,
    CrateName,
    CrateType,
    Emit,
    Extern,
    /// `-L`.
    SearchPath,
    /// `-l`.
    NativeLibrary,
    /// `-o`.
    Output,
    OutDir,
    Sysroot,
    Target,
    Test,
    RemapPathPrefix,
    /// `-C`.
    Codegen,
    /// `-Z`.
    Unstable,
    ExtraFilename,
    /// It names a file whose contents count.
    NamedFile,
    /// It may say `native`.
    TargetCpu,
    SplitDebuginfo,
    /// It matters where something is linked.
    Link,
    /// Not cached, and why, as the rest of a sentence that begins with the option.
    Uncached(Counter, &'static str),
}

use Class::{
    Cfg, Codegen, CrateName, CrateType, Emit, Extern, ExtraFilename, Json, Keyed, Link, Messages,
    NamedFile, NativeLibrary, OutDir, Output, RemapPathPrefix, SearchPath, SplitDebuginfo, Sysroot,
    Target, TargetCpu, Test, Uncached, Unstable,
};

/// One option.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) value: Value,
    pub(super) class: Class,
}

const fn flag(name: &'static str, class: Class) -> Row {
    Row { name, value: Value::None, class }
}

const fn with_value(name: &'static str, class: Class) -> Row {
    Row { name, value: Value::Required, class }
}

const INFORMATION: Class = Uncached(UnsupportedCompilerOption, "asks for information");
const SIDE_OUTPUT: Class = Uncached(UnsupportedCompilerOption, "writes further outputs");
const NOT_HANDLED: Class = Uncached(UnsupportedCompilerOption, "is not handled");
/// rustc keeps what it knows between compiles; its own cache and this one exclude each other.
const INCREMENTAL: Class = Uncached(
    UnsupportedCompilerOption,
    "compiles incrementally, which cannot be cached: set CARGO_INCREMENTAL=0",
);

/// The options themselves, with one dash or two.
pub(super) const OPTIONS: &[Row] = &[
    with_value("--allow", Keyed),
    with_value("--cap-lints", Keyed),
    with_value("--cfg", Cfg),
    with_value("--check-cfg", Keyed),
    with_value("--codegen", Codegen),
    with_value("--color", Messages),
    with_value("--crate-name", CrateName),
    with_value("--crate-type", CrateType),
    with_value("--deny", Keyed),
    with_value("--diagnostic-width", Messages),
    with_value("--edition", Keyed),
    with_value("--emit", Emit),
    with_value("--env-set", Keyed),
    with_value("--error-format", Messages),
    with_value("--explain", INFORMATION),
    with_value("--extern", Extern),
    with_value("--forbid", Keyed),
    with_value("--force-warn", Keyed),
    flag("--help", INFORMATION),
    with_value("--json", Json),
    with_value("--out-dir", OutDir),
    with_value("--print", INFORMATION),
    with_value("--remap-path-prefix", RemapPathPrefix),
    with_value("--remap-path-scope", Keyed),
    with_value("--sysroot", Sysroot),
    with_value("--target", Target),
    flag("--test", Test),
    flag("--verbose", NOT_HANDLED),
    flag("--version", INFORMATION),
    with_value("--warn", Keyed),
    with_value("-A", Keyed),
    with_value("-C", Codegen),
    with_value("-D", Keyed),
    with_value("-F", Keyed),
    with_value("-L", SearchPath),
    flag("-O", Keyed),
    flag("-V", INFORMATION),
    with_value("-W", Keyed),
    with_value("-Z", Unstable),
    flag("-g", Keyed),
    flag("-h", INFORMATION),
    with_value("-l", NativeLibrary),
    with_value("-o", Output),
    flag("-v", NOT_HANDLED),
];

/// The names behind `-C`.
pub(super) const CODEGEN: &[Row] = &[
    with_value("code-model", Keyed),
    with_value("codegen-units", Keyed),
    with_value("collapse-macro-debuginfo", Keyed),
    with_value("control-flow-guard", Keyed),
    with_value("debug-assertions", Keyed),
    with_value("debuginfo", Keyed),
    with_value("default-linker-libraries", Link),
    with_value("dlltool", NOT_HANDLED),
    with_value("dwarf-version", Keyed),
    with_value("embed-bitcode", Keyed),
    with_value("extra-filename", ExtraFilename),
    with_value("force-frame-pointers", Keyed),
    with_value("force-unwind-tables", Keyed),
    with_value("help", INFORMATION),
    with_value("incremental", INCREMENTAL),
    with_value("inline-threshold", Keyed),
    with_value("instrument-coverage", Keyed),
    with_value("jump-tables", Keyed),
    with_value("link-arg", Link),
    with_value("link-args", Link),
    with_value("link-dead-code", Keyed),
    with_value("link-self-contained", Link),
    with_value("linker", Link),
    with_value("linker-features", Link),
    with_value("linker-flavor", Link),
    with_value("linker-plugin-lto", Keyed),
    with_value("llvm-args", NOT_HANDLED),
    with_value("lto", Keyed),
    with_value("metadata", Keyed),
    with_value("no-prepopulate-passes", Keyed),
    with_value("no-redzone", Keyed),
    with_value("no-stack-check", Keyed),
    with_value("no-vectorize-loops", Keyed),
    with_value("no-vectorize-slp", Keyed),
    with_value("opt-level", Keyed),
    with_value("overflow-checks", Keyed),
    with_value("panic", Keyed),
    with_value("passes", Keyed),
    with_value("prefer-dynamic", Keyed),
    with_value("profile-generate", Keyed),
    with_value("profile-use", NamedFile),
    with_value("relocation-model", Keyed),
    with_value("relro-level", Link),
    with_value("remark", NOT_HANDLED),
    with_value("rpath", Link),
    with_value("save-temps", SIDE_OUTPUT),
    with_value("soft-float", Keyed),
    with_value("split-debuginfo", SplitDebuginfo),
    with_value("strip", Keyed),
    with_value("symbol-mangling-version", Keyed),
    with_value("target-cpu", TargetCpu),
    with_value("target-feature", Keyed),
    with_value("unsafe-allow-abi-mismatch", Keyed),
];

/// The names behind `-Z` that read and write nothing else.
pub(super) const UNSTABLE: &[Row] = &[
    with_value("allow-features", Keyed),
    with_value("crate-attr", Keyed),
    with_value("force-unstable-if-unmarked", Keyed),
    with_value("hint-mostly-unused", Keyed),
    with_value("inline-mir", Keyed),
    with_value("mir-opt-level", Keyed),
    with_value("panic-abort-tests", Keyed),
    with_value("randomize-layout", Keyed),
    with_value("share-generics", Keyed),
    with_value("threads", Keyed),
    with_value("unstable-options", Keyed),
];

/// The row of a name.
pub(super) fn find(table: &'static [Row], name: &str) -> Option<&'static Row> {
    table.binary_search_by(|row| row.name.cmp(name)).ok().map(|at| &table[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted() {
        for table in [OPTIONS, CODEGEN, UNSTABLE] {
            assert!(table.windows(2).all(|pair| pair[0].name < pair[1].name));
            assert!(table.iter().all(|row| find(table, row.name).is_some()));
        }
    }
}
