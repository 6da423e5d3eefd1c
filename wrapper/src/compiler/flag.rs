//! The vocabulary of the tables of flags: one row per spelling, and how a row is found.
//!
//! 1. A table is sorted by spelling, byte by byte, and no spelling stands in two tables that are
//!    searched together; a test checks both.
//! 2. The longest spelling that fits an argument decides, so that `-fprofile-use` is judged by the
//!    row `-fprofile` and not by the row of the open family `-f`.
//! 3. A row says everything the parser needs; the parser knows no spelling.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::outputs::{Purpose, Side};
use super::profile::ProfileFlag;
use super::words::Part;
use crate::outcome::{Counter, Reason};

/// How the value of a flag is attached to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attach {
    /// No value; the spelling is the whole argument.
    Exact,
    /// The rest of the argument, which may be empty: a row for everything that begins so.
    Joined,
    /// The next argument; the spelling is the whole argument.
    Separate,
    /// The rest of the argument, or the next one if there is no rest.
    Either,
}

/// What a flag means for the cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Counts for the result and for the preprocessor.
    Keyed,
    /// Counts for the result, but the preprocessor neither needs nor wants it.
    LaterStage,
    /// Its whole effect is visible in the preprocessed text.
    PreprocessorOnly,
    /// Changes nothing that anybody can observe in the result.
    Irrelevant,
    /// `-c` and what else says what is made.
    Purpose(Purpose),
    /// Asks for a further output.
    Side(Side),
    /// `-o`.
    Object,
    /// `-x`.
    Language,
    /// `-MD` and its relatives.
    Dependency(DependencyFlag),
    /// Turns on debug information, which names the working directory.
    DebugOn,
    /// Turns it off again.
    DebugOff,
    /// The working directory is visible in the result for another reason.
    ShowsDirectory,
    /// Sets colours; the value `auto` leaves them to larder.
    Color,
    /// Its value names a file whose contents count.
    NamedFile,
    /// `-fmodule-file=`.
    ModuleFile,
    /// `-fmodule-map-file=`.
    ModuleMap,
    /// Its value is a place where tools (`as`, `cc1`) and spec files are looked for.
    ToolPrefix,
    /// `-fopt-info`: a report on stdout or stderr. One that goes to a file is appended to what
    /// stands there, often the report of another compile, and is not cached.
    OptimizationReport,
    /// What another part of the compiler understands: cached only if it is in the list.
    Inner(&'static [&'static str]),
    /// A listing of the assembler.
    Listing,
    /// It names a specs file of gcc.
    Specs,
    /// It names a configuration file of clang.
    Configuration,
    /// `-include`.
    Forced,
    /// It reads a profile, or makes an object that writes one.
    Profile(ProfileFlag),
    /// It asks for what this processor can do.
    Native,
    /// Its value is words for a part of the compiler, which has a table of its own.
    Words(Part),
    /// Its value names a precompiled header that is used.
    UsesPrecompiled,
    /// It makes the call precompile a header.
    Precompiles,
    /// Not cached, and why, as the rest of a sentence that begins with the option.
    Uncached(Counter, &'static str),
}

/// The options that shape the dependency file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DependencyFlag {
    /// `-MD`.
    All,
    /// `-MMD`.
    WithoutSystemHeaders,
    /// `-MF`.
    File,
    /// `-MT` and `-MQ`.
    Target,
    /// `-MP`.
    Phony,
}

/// One row of a table.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The option as it is written, without its value.
    pub spelling: &'static str,
    /// How its value is attached.
    pub attach: Attach,
    /// What it means.
    pub class: Class,
    /// A use of it, words separated by blanks; the table test feeds it to the parser.
    pub example: &'static str,
}

/// A row; short so that a table reads as a table.
pub const fn row(
    spelling: &'static str,
    attach: Attach,
    class: Class,
    example: &'static str,
) -> Flag {
    Flag { spelling, attach, class, example }
}

/// The row that judges an argument: the one with the longest fitting spelling in all tables.
pub fn find(tables: [&'static [Flag]; 2], argument: &[u8]) -> Option<&'static Flag> {
    let [first, second] = tables.map(|table| find_in(table, argument));
    match (first, second) {
        (Some(a), Some(b)) => Some(if a.spelling.len() >= b.spelling.len() { a } else { b }),
        (found, None) | (None, found) => found,
    }
}

/// Every prefix of the argument sorts at or before it, so the row before the insertion point is the
/// longest candidate; where it does not fit, the part that it shares with the argument is tried.
fn find_in(table: &'static [Flag], argument: &[u8]) -> Option<&'static Flag> {
    let mut probe = argument;
    while !probe.is_empty() {
        let after = table.partition_point(|flag| flag.spelling.as_bytes() <= probe);
        let flag = table.get(after.checked_sub(1)?)?;
        let spelling = flag.spelling.as_bytes();
        let shared = spelling.iter().zip(probe).take_while(|(a, b)| a == b).count();
        let whole = matches!(flag.attach, Attach::Exact | Attach::Separate);
        if shared == spelling.len() && (!whole || spelling.len() == argument.len()) {
            return Some(flag);
        }
        probe = &probe[..shared.min(probe.len() - 1)];
    }
    None
}

/// The value of a flag at the head of the arguments, and how many words it takes.
///
/// # Errors
/// `BadCompilerArguments` if there is none.
pub fn value_of<'a>(flag: &Flag, words: &'a [OsString]) -> Result<(&'a OsStr, usize), Reason> {
    let joined = OsStr::from_bytes(&words[0].as_bytes()[flag.spelling.len()..]);
    let is_separate = match flag.attach {
        Attach::Exact | Attach::Joined => false,
        Attach::Separate => true,
        Attach::Either => joined.is_empty(),
    };
    match words.get(1) {
        _ if !is_separate => Ok((joined, 1)),
        Some(value) => Ok((value, 2)),
        None => {
            let text = format!("{} lacks its value", words[0].display());
            Err(Reason::new(Counter::BadCompilerArguments, text))
        }
    }
}

/// Reasons that several rows share.
pub mod why {
    use super::Class::{self, Uncached};
    use crate::outcome::Counter::{
        CalledForPreprocessing, CouldNotUseModules, CouldNotUsePrecompiledHeader,
        UnsupportedCompilerOption,
    };

    /// It asks for preprocessed text or dependencies, not for an object.
    pub const PREPROCESSES: Class = Uncached(CalledForPreprocessing, "asks for preprocessing");
    /// It asks the driver a question.
    pub const INFORMATION: Class = Uncached(UnsupportedCompilerOption, "asks for information");
    /// It makes the compiler write a file that larder does not store.
    pub const SIDE_OUTPUT: Class = Uncached(UnsupportedCompilerOption, "writes a further output");
    /// It makes something that larder does not know.
    pub const NO_OBJECT: Class = Uncached(UnsupportedCompilerOption, "makes no object file");
    /// It has to do with profiles: files are read or written, names and directories recorded.
    pub const PROFILE: Class = Uncached(UnsupportedCompilerOption, "reads or writes profiles");
    /// It loads code into the compiler, which may read and write whatever it likes.
    pub const PLUGIN: Class = Uncached(UnsupportedCompilerOption, "loads a plugin");
    /// It prints times or memory use.
    pub const MEASURES: Class = Uncached(UnsupportedCompilerOption, "prints measurements");
    /// The command line, with what larder adds to it, would be stored in the object.
    pub const RECORDS: Class = Uncached(UnsupportedCompilerOption, "records the command line");
    /// It compiles for a second machine.
    pub const OFFLOAD: Class = Uncached(UnsupportedCompilerOption, "compiles for a second target");
    /// Further options come from a file.
    pub const OPTION_FILE: Class = Uncached(UnsupportedCompilerOption, "takes options from a file");
    /// Nobody has checked what it does to the result.
    pub const NOT_HANDLED: Class = Uncached(UnsupportedCompilerOption, "is not handled");
    /// Modules.
    pub const MODULES: Class = Uncached(CouldNotUseModules, "uses modules");
    /// Precompiled headers.
    pub const PRECOMPILED: Class = Uncached(CouldNotUsePrecompiledHeader, "precompiles a header");
}
