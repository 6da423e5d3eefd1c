//! The flags of clang and clang++ beside the common ones, and the inner words that are harmless.

use super::flag::Attach::{Either, Exact, Joined, Separate};
use super::flag::Class::{
    Color, Inner, Keyed, LaterStage, NamedFile, PreprocessorOnly, Purpose, ShowsDirectory, Side,
};
use super::flag::why::*;
use super::flag::{Flag, row};
use super::outputs::Purpose::Analysis;
use super::outputs::Side::{Diagnostics, OptimizationsFile, SingleDwarf, SplitDwarf};

/// Words after `-Xclang` that change code generation only; all others run uncached.
pub const FRONT_END_WORDS: &[&str] = &[
    "-disable-O0-optnone",
    "-disable-lifetime-markers",
    "-disable-llvm-optzns",
    "-disable-llvm-passes",
    "-disable-llvm-verifier",
    "-no-opaque-pointers",
    "-opaque-pointers",
];

/// Words after `-mllvm` that change code generation only; all others run uncached. One that ends
/// in `=` stands for all its values.
pub const LLVM_WORDS: &[&str] = &[
    "-align-all-nofallthru-blocks=",
    "-enable-gvn-hoist",
    "-enable-name-compression=",
    "-inline-threshold=",
    "-inlinehint-threshold=",
    "-instcombine-lower-dbg-declare=",
    "-slp-threshold=",
    "-split-threshold-for-reg-with-hint=",
    "-unroll-threshold=",
    "-x86-asm-syntax=",
];

/// What `--analyzer-output` may ask for: one file, or messages only.
pub const ANALYZER_OUTPUTS: &[&str] = &["plist", "text"];

/// Words after `-Xanalyzer` that ask for the same.
pub const ANALYZER_WORDS: &[&str] = &["-analyzer-output=plist", "-analyzer-output=text"];

/// The rows, sorted by spelling. (`-fcrash-diagnostics` writes only when a compile fails, and a
/// failed compile is not stored.)
#[rustfmt::skip]
pub const FLAGS: &[Flag] = &[
    row("--analyze", Exact, Purpose(Analysis), "--analyze"),
    row("--analyzer-", Joined, NOT_HANDLED, "--analyzer-no-default-checks"),
    row("--analyzer-output", Separate, Inner(ANALYZER_OUTPUTS), "--analyzer-output text"),
    row("--config", Joined, OPTION_FILE, "--config=f.cfg"),
    row("--cuda", Joined, OFFLOAD, "--cuda-gpu-arch=sm_70"),
    row("--driver-mode=", Joined, NOT_HANDLED, "--driver-mode=g++"),
    row("--end-no-unused-arguments", Exact, Keyed, "--end-no-unused-arguments"),
    row("--gcc-install-dir=", Joined, Keyed, "--gcc-install-dir=d"),
    row("--gcc-toolchain=", Joined, Keyed, "--gcc-toolchain=d"),
    row("--no-default-config", Exact, Keyed, "--no-default-config"),
    row("--no-system-header-prefix=", Joined, Keyed, "--no-system-header-prefix=p"),
    row("--offload", Joined, OFFLOAD, "--offload-arch=sm_70"),
    row("--rtlib=", Joined, LaterStage, "--rtlib=compiler-rt"),
    row("--serialize-diagnostics", Separate, Side(Diagnostics), "--serialize-diagnostics t.dia"),
    row("--start-no-unused-arguments", Exact, Keyed, "--start-no-unused-arguments"),
    row("--system-header-prefix=", Joined, Keyed, "--system-header-prefix=p"),
    row("--target=", Joined, Keyed, "--target=x86_64-linux-gnu"),
    row("-F", Either, PreprocessorOnly, "-F frameworks"),
    row("-MJ", Either, SIDE_OUTPUT, "-MJ t.json"),
    row("-ObjC", Joined, NOT_HANDLED, "-ObjC++"),
    row("-Qn", Exact, Keyed, "-Qn"),
    row("-Qunused-arguments", Exact, Keyed, "-Qunused-arguments"),
    row("-Qy", Exact, Keyed, "-Qy"),
    row("-Xanalyzer", Separate, Inner(ANALYZER_WORDS), "-Xanalyzer -analyzer-output=text"),
    row("-Xarch", Joined, NOT_HANDLED, "-Xarch_host"),
    row("-Xclang", Separate, Inner(FRONT_END_WORDS), "-Xclang -disable-O0-optnone"),
    row("-Xcuda", Joined, OFFLOAD, "-Xcuda-ptxas"),
    row("-Xopenmp", Joined, OFFLOAD, "-Xopenmp-target"),
    row("-arch", Separate, NOT_HANDLED, "-arch arm64"),
    row("-c-isystem", Either, PreprocessorOnly, "-c-isystem include"),
    row("-cc1", Joined, NOT_HANDLED, "-cc1as"),
    row("-ccc-", Joined, INFORMATION, "-ccc-print-phases"),
    row("-cxx-isystem", Either, PreprocessorOnly, "-cxx-isystem include"),
    row("-emit-", Joined, NO_OBJECT, "-emit-llvm"),
    row("-fansi-escape-codes", Exact, Keyed, "-fansi-escape-codes"),
    row("-fapinotes", Joined, MODULES, "-fapinotes-modules"),
    row("-fbuild-session", Joined, MODULES, "-fbuild-session-file=f"),
    row("-fbuiltin-module-map", Exact, MODULES, "-fbuiltin-module-map"),
    row("-fcodegen-data", Joined, PROFILE, "-fcodegen-data-generate"),
    row("-fcolor-diagnostics", Exact, Color, "-fcolor-diagnostics"),
    row("-fcrash-diagnostics", Joined, Keyed, "-fcrash-diagnostics-dir=d"),
    row("-fcuda", Joined, OFFLOAD, "-fcuda-rdc"),
    row("-fcxx-modules", Exact, MODULES, "-fcxx-modules"),
    row("-fdebug-compilation-dir", Separate, Keyed, "-fdebug-compilation-dir ."),
    row("-fdiagnostics-absolute-paths", Exact, ShowsDirectory, "-fdiagnostics-absolute-paths"),
    row("-fdriver-only", Exact, NO_OBJECT, "-fdriver-only"),
    row("-fembed-", Joined, RECORDS, "-fembed-bitcode"),
    row("-fhip", Joined, OFFLOAD, "-fhip-new-launch-api"),
    row("-fimplicit-module", Joined, MODULES, "-fimplicit-modules"),
    row("-fmemory-profile", Joined, PROFILE, "-fmemory-profile=d"),
    row("-fminimize-whitespace", Exact, PREPROCESSES, "-fminimize-whitespace"),
    row("-fno-integrated-as", Exact, NOT_HANDLED, "-fno-integrated-as"),
    row("-fopenmp-host-ir-file-path", Joined, OFFLOAD, "-fopenmp-host-ir-file-path"),
    row("-fopenmp-targets=", Joined, OFFLOAD, "-fopenmp-targets=x86_64"),
    row("-foptimization-record-file=", Joined, Side(OptimizationsFile), "-foptimization-record-file=r"),
    row("-foptimization-record-passes=", Joined, NOT_HANDLED, "-foptimization-record-passes=inline"),
    row("-forder-file-instrumentation", Exact, PROFILE, "-forder-file-instrumentation"),
    row("-fpass-plugin", Joined, PLUGIN, "-fpass-plugin=p.so"),
    row("-fprebuilt-", Joined, MODULES, "-fprebuilt-module-path=d"),
    row("-fproc-stat-report", Joined, MEASURES, "-fproc-stat-report=f"),
    row("-frandomize-layout-seed-file=", Joined, NamedFile, "-frandomize-layout-seed-file=f"),
    row("-frecord-command-line", Exact, RECORDS, "-frecord-command-line"),
    row("-frewrite", Joined, NOT_HANDLED, "-frewrite-includes"),
    row("-fsanitize-coverage-allowlist=", Joined, NamedFile, "-fsanitize-coverage-allowlist=f"),
    row("-fsanitize-coverage-blacklist=", Joined, NamedFile, "-fsanitize-coverage-blacklist=f"),
    row("-fsanitize-coverage-ignorelist=", Joined, NamedFile, "-fsanitize-coverage-ignorelist=f"),
    row("-fsanitize-coverage-whitelist=", Joined, NamedFile, "-fsanitize-coverage-whitelist=f"),
    row("-fsanitize-system-ignorelist=", Joined, NamedFile, "-fsanitize-system-ignorelist=f"),
    row("-fsystem-module", Exact, MODULES, "-fsystem-module"),
    row("-fuse-line-directives", Exact, PREPROCESSES, "-fuse-line-directives"),
    row("-fxray-always-instrument=", Joined, NamedFile, "-fxray-always-instrument=f"),
    row("-fxray-attr-list=", Joined, NamedFile, "-fxray-attr-list=f"),
    row("-fxray-never-instrument=", Joined, NamedFile, "-fxray-never-instrument=f"),
    row("-gcc-toolchain", Joined, NOT_HANDLED, "-gcc-toolchain"),
    row("-gcodeview", Joined, NOT_HANDLED, "-gcodeview"),
    row("-gen-", Joined, SIDE_OUTPUT, "-gen-reproducer"),
    row("-gmodules", Exact, MODULES, "-gmodules"),
    row("-grecord-command-line", Exact, RECORDS, "-grecord-command-line"),
    row("-gsplit-dwarf=single", Exact, Side(SingleDwarf), "-gsplit-dwarf=single"),
    row("-gsplit-dwarf=split", Exact, Side(SplitDwarf), "-gsplit-dwarf=split"),
    row("-iframework", Either, PreprocessorOnly, "-iframework frameworks"),
    row("-iframeworkwithsysroot", Either, PreprocessorOnly, "-iframeworkwithsysroot f"),
    row("-index-", Joined, SIDE_OUTPUT, "-index-store-path"),
    row("-integrated-as", Exact, Keyed, "-integrated-as"),
    row("-isystem-after", Either, PreprocessorOnly, "-isystem-after late"),
    row("-ivfsoverlay", Either, NOT_HANDLED, "-ivfsoverlay f"),
    row("-iwithsysroot", Either, PreprocessorOnly, "-iwithsysroot /include"),
    row("-mllvm", Separate, Inner(LLVM_WORDS), "-mllvm -inline-threshold=100"),
    row("-mmlir", Separate, NOT_HANDLED, "-mmlir -x"),
    row("-module-", Joined, SIDE_OUTPUT, "-module-dependency-dir"),
    row("-mthread-model", Separate, Keyed, "-mthread-model posix"),
    row("-no-integrated-as", Exact, NOT_HANDLED, "-no-integrated-as"),
    row("-nobuiltininc", Exact, PreprocessorOnly, "-nobuiltininc"),
    row("-nostdlibinc", Exact, PreprocessorOnly, "-nostdlibinc"),
    row("-objcmt", Joined, NOT_HANDLED, "-objcmt-migrate-all"),
    row("-resource-dir", Separate, Keyed, "-resource-dir resources"),
    row("-resource-dir=", Joined, Keyed, "-resource-dir=resources"),
    row("-rewrite", Joined, NOT_HANDLED, "-rewrite-objc"),
    row("-rtlib=", Joined, LaterStage, "-rtlib=compiler-rt"),
    row("-serialize-diagnostics", Separate, Side(Diagnostics), "-serialize-diagnostics t.dia"),
    row("-stdlib++-isystem", Either, PreprocessorOnly, "-stdlib++-isystem include"),
    row("-stdlib=", Joined, Keyed, "-stdlib=libc++"),
    row("-target", Separate, Keyed, "-target x86_64-linux-gnu"),
    row("-unwindlib=", Joined, LaterStage, "-unwindlib=libgcc"),
    row("-verify-pch", Exact, PRECOMPILED, "-verify-pch"),
    row("-working-directory", Joined, NOT_HANDLED, "-working-directory=d"),
];
