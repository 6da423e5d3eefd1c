//! Words that an option hands on to a part of the compiler: `-Wp,`, `-Wa,`, `-Xclang`, `-mllvm`.
//!
//! 1. The words for one part make up a command line of its own, in their order, whichever options
//!    hand them on: `-Xclang -include -Xclang a.h` is `-include a.h` of the front end.
//! 2. That line is judged by the part's own table, with values as there. A word that no row names,
//!    and one that is no option, makes the call uncacheable.
//! 3. A row's effect is that of the same class among the options of the driver.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::flag::Attach::{Either, Exact, Joined, Separate};
use super::flag::Class::{self, DebugOn, Keyed, Listing, NamedFile, PreprocessorOnly, Uncached};
use super::flag::why::*;
use super::flag::{Flag, find, row, value_of};
use super::{Family, clang, common, gcc};
use crate::outcome::{Counter, Reason};

/// The parts that get words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// `-Wp,` and `-Xpreprocessor`.
    Preprocessor,
    /// `-Wa,` and `-Xassembler`.
    Assembler,
    /// `-Xclang`.
    FrontEnd,
    /// `-mllvm`.
    Llvm,
}

impl Part {
    /// Every part, where one that hands words on to another stands before it.
    pub const ALL: [Part; 4] = [Part::Preprocessor, Part::Assembler, Part::FrontEnd, Part::Llvm];

    fn name(self) -> &'static str {
        match self {
            Part::Preprocessor => "the preprocessor",
            Part::Assembler => "the assembler",
            Part::FrontEnd => "the front end",
            Part::Llvm => "LLVM",
        }
    }

    /// The tables for its words. cc1 of gcc has the driver's own options.
    fn tables(self, family: Family) -> [&'static [Flag]; 2] {
        match (self, family) {
            (Part::Preprocessor, Family::Gcc) => [common::FLAGS, gcc::FLAGS],
            (Part::Preprocessor, Family::Clang) => [common::FLAGS, clang::FLAGS],
            (Part::Assembler, _) => [ASSEMBLER, &[]],
            (Part::FrontEnd, _) => [FRONT_END, &[]],
            (Part::Llvm, _) => [LLVM, &[]],
        }
    }

    /// Whether a row of the tables may be used. The preprocessor of clang is its front end, which
    /// takes few options of the driver in the driver's sense.
    fn takes(self, family: Family, class: Class) -> bool {
        match (self, family, class) {
            (Part::Preprocessor, _, PreprocessorOnly | Class::Forced) => true,
            (Part::Preprocessor, Family::Gcc, Keyed) => true,
            (Part::Preprocessor, ..) => false,
            _ => true,
        }
    }
}

/// What the words for one part do beside standing in the key.
#[derive(Debug, Default)]
pub struct Effects {
    /// They turn on debug information.
    pub has_debug_information: bool,
    /// Files whose contents count.
    pub named_inputs: Vec<PathBuf>,
    /// Words for LLVM.
    pub llvm: Vec<OsString>,
    /// A precompiled header is used.
    pub precompiled: Vec<PathBuf>,
    /// Listings that are asked for, without `-a`.
    pub listings: Vec<OsString>,
    /// A precompiled header is made.
    pub precompiles: bool,
}

/// Judges the words for a part.
///
/// # Errors
/// The reason not to cache the call.
pub fn judge(part: Part, family: Family, words: &[OsString]) -> Result<Effects, Reason> {
    let mut effects = Effects::default();
    let mut rest = words;
    while let [word, ..] = rest {
        let refuse = |counter, why: &str| {
            let text = format!("{} for {} {why}", word.display(), part.name());
            Err(Reason::new(counter, text))
        };
        let Some(flag) = find(part.tables(family), word.as_bytes()) else {
            return refuse(Counter::UnsupportedCompilerOption, "is not known to be harmless");
        };
        let (value, count) = value_of(flag, rest)?;
        match flag.class {
            Uncached(counter, why) => return refuse(counter, why),
            class if !part.takes(family, class) => {
                return refuse(Counter::UnsupportedCompilerOption, "is not handled");
            }
            Keyed | PreprocessorOnly | Class::Forced => {}
            DebugOn => effects.has_debug_information = true,
            NamedFile => effects.named_inputs.push(value.into()),
            Class::Words(Part::Llvm) => effects.llvm.push(value.into()),
            Class::UsesPrecompiled => effects.precompiled.push(value.into()),
            Listing => effects.listings.push(value.into()),
            Class::Precompiles => effects.precompiles = true,
            _ => return refuse(Counter::UnsupportedCompilerOption, "is not handled"),
        }
        rest = &rest[count..];
    }
    Ok(effects)
}

/// Options of the assembler that write no file beside a listing. `-I` is for `.include` and
/// `.incbin`, and a source with one of these is not cached. Dependency files (`--MD`), a second
/// object (`-o`), and macros without backslashes (`--alternate`, see `unlisted`) are left out on
/// purpose.
#[rustfmt::skip]
pub const ASSEMBLER: &[Flag] = &[
    row("--32", Exact, Keyed, "--32"),
    row("--64", Exact, Keyed, "--64"),
    row("--compress-debug-sections", Exact, Keyed, "--compress-debug-sections"),
    row("--compress-debug-sections=", Joined, Keyed, "--compress-debug-sections=zlib"),
    row("--debug-prefix-map", Separate, Keyed, "--debug-prefix-map a=b"),
    row("--defsym", Separate, Keyed, "--defsym A=1"),
    row("--elf-stt-common=", Joined, Keyed, "--elf-stt-common=yes"),
    row("--execstack", Exact, Keyed, "--execstack"),
    row("--fatal-warnings", Exact, Keyed, "--fatal-warnings"),
    row("--gdwarf-", Joined, DebugOn, "--gdwarf-4"),
    row("--gen-debug", Exact, DebugOn, "--gen-debug"),
    row("--generate-missing-build-notes=", Joined, Keyed, "--generate-missing-build-notes=no"),
    row("--keep-locals", Exact, Keyed, "--keep-locals"),
    row("--no-pad-sections", Exact, Keyed, "--no-pad-sections"),
    row("--no-warn", Exact, Keyed, "--no-warn"),
    row("--nocompress-debug-sections", Exact, Keyed, "--nocompress-debug-sections"),
    row("--noexecstack", Exact, Keyed, "--noexecstack"),
    row("--reduce-memory-overheads", Exact, Keyed, "--reduce-memory-overheads"),
    row("--sectname-subst", Exact, Keyed, "--sectname-subst"),
    row("--size-check=", Joined, Keyed, "--size-check=warning"),
    row("--strip-local-absolute", Exact, Keyed, "--strip-local-absolute"),
    row("--warn", Exact, Keyed, "--warn"),
    row("--x32", Exact, Keyed, "--x32"),
    row("-EB", Exact, Keyed, "-EB"),
    row("-EL", Exact, Keyed, "-EL"),
    row("-I", Either, Keyed, "-I include"),
    row("-L", Exact, Keyed, "-L"),
    row("-W", Exact, Keyed, "-W"),
    row("-a", Joined, Listing, "-an"),
    row("-g", Exact, DebugOn, "-g"),
    row("-march=", Joined, Keyed, "-march=generic64"),
    row("-mbranches-within-32B-boundaries", Exact, Keyed, "-mbranches-within-32B-boundaries"),
    row("-mcpu=", Joined, Keyed, "-mcpu=cortex-a53"),
    row("-meabi=", Joined, Keyed, "-meabi=5"),
    row("-mfloat-abi=", Joined, Keyed, "-mfloat-abi=hard"),
    row("-mfpu=", Joined, Keyed, "-mfpu=neon"),
    row("-mimplicit-it=", Joined, Keyed, "-mimplicit-it=always"),
    row("-mmnemonic=", Joined, Keyed, "-mmnemonic=att"),
    row("-mno-warn-deprecated", Exact, Keyed, "-mno-warn-deprecated"),
    row("-mrelax-relocations=", Joined, Keyed, "-mrelax-relocations=no"),
    row("-msyntax=", Joined, Keyed, "-msyntax=att"),
    row("-mthumb", Exact, Keyed, "-mthumb"),
    row("-mtune=", Joined, Keyed, "-mtune=generic64"),
    row("-mx86-used-note=", Joined, Keyed, "-mx86-used-note=no"),
];

/// Options of clang's front end (`clang -cc1`), whose meaning may be another than that of the
/// driver's option of this name.
#[rustfmt::skip]
pub const FRONT_END: &[Flag] = &[
    row("-D", Either, PreprocessorOnly, "-D X=1"),
    row("-I", Either, PreprocessorOnly, "-I include"),
    row("-U", Either, PreprocessorOnly, "-U X"),
    row("-W", Joined, Keyed, "-Wno-unused"),
    row("-add-plugin", Separate, PLUGIN, "-add-plugin p"),
    row("-debug-info-kind=", Joined, DebugOn, "-debug-info-kind=limited"),
    row("-disable-O0-optnone", Exact, Keyed, "-disable-O0-optnone"),
    row("-disable-lifetime-markers", Exact, Keyed, "-disable-lifetime-markers"),
    row("-disable-llvm-optzns", Exact, Keyed, "-disable-llvm-optzns"),
    row("-disable-llvm-passes", Exact, Keyed, "-disable-llvm-passes"),
    row("-disable-llvm-verifier", Exact, Keyed, "-disable-llvm-verifier"),
    row("-emit-pch", Exact, Class::Precompiles, "-emit-pch"),
    row("-fdebug-compilation-dir", Separate, Keyed, "-fdebug-compilation-dir ."),
    row("-fdebug-compilation-dir=", Joined, Keyed, "-fdebug-compilation-dir=."),
    row("-fmerge-functions", Exact, Keyed, "-fmerge-functions"),
    row("-fno-pch-timestamp", Exact, Keyed, "-fno-pch-timestamp"),
    row("-fno-validate-pch", Exact, Keyed, "-fno-validate-pch"),
    row("-ftype-visibility", Separate, Keyed, "-ftype-visibility default"),
    row("-fuse-ctor-homing", Exact, Keyed, "-fuse-ctor-homing"),
    row("-idirafter", Either, PreprocessorOnly, "-idirafter include"),
    row("-imacros", Separate, PreprocessorOnly, "-imacros macros.h"),
    row("-include", Separate, PreprocessorOnly, "-include first.h"),
    row("-include-pch", Separate, Class::UsesPrecompiled, "-include-pch f"),
    row("-iquote", Either, PreprocessorOnly, "-iquote include"),
    row("-isystem", Either, PreprocessorOnly, "-isystem include"),
    row("-load", Separate, PLUGIN, "-load p.so"),
    row("-mllvm", Separate, Class::Words(Part::Llvm), "-mllvm -inline-threshold=100"),
    row("-mrelax-all", Exact, Keyed, "-mrelax-all"),
    row("-no-opaque-pointers", Exact, Keyed, "-no-opaque-pointers"),
    row("-opaque-pointers", Exact, Keyed, "-opaque-pointers"),
    row("-plugin", Separate, PLUGIN, "-plugin p"),
    row("-std=", Joined, Keyed, "-std=c11"),
    row("-target-cpu", Separate, Keyed, "-target-cpu x86-64"),
    row("-target-feature", Separate, Keyed, "-target-feature +sse3"),
    row("-tune-cpu", Separate, Keyed, "-tune-cpu generic"),
];

/// Options of LLVM that change code generation only.
#[rustfmt::skip]
pub const LLVM: &[Flag] = &[
    row("-align-all-nofallthru-blocks=", Joined, Keyed, "-align-all-nofallthru-blocks=5"),
    row("-enable-gvn-hoist", Exact, Keyed, "-enable-gvn-hoist"),
    row("-enable-name-compression=", Joined, Keyed, "-enable-name-compression=false"),
    row("-inline-threshold", Separate, Keyed, "-inline-threshold 100"),
    row("-inline-threshold=", Joined, Keyed, "-inline-threshold=100"),
    row("-inlinehint-threshold=", Joined, Keyed, "-inlinehint-threshold=100"),
    row("-instcombine-lower-dbg-declare=", Joined, Keyed, "-instcombine-lower-dbg-declare=0"),
    row("-slp-threshold=", Joined, Keyed, "-slp-threshold=1"),
    row("-split-threshold-for-reg-with-hint=", Joined, Keyed,
        "-split-threshold-for-reg-with-hint=0"),
    row("-unroll-threshold=", Joined, Keyed, "-unroll-threshold=10"),
    row("-x86-asm-syntax=", Joined, Keyed, "-x86-asm-syntax=intel"),
];
