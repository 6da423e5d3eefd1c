//! What a compiler's command line means: one declarative table of flags per compiler, and the
//! [`Compile`] that a cacheable call is.
//!
//! 1. A flag that no table knows makes the call uncacheable, with its reason; nothing is guessed.
//! 2. Every argument is either in the key, or its table row says why it need not be.
//! 3. Every file that the call writes is in [`Compile::outputs`] or is the dependency file.

mod clang;
mod common;
mod flag;
mod gcc;
mod option_file;
mod parse;
mod profile;
mod recognise;
mod response;
#[cfg(test)]
mod tests;
mod words;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use larder_engine::SectionKind;

pub use parse::parse;
pub use recognise::{family_of, is_compiler_name, recognise};

/// Which table of flags applies.
///
/// Beside the family, the *name* under which a driver is called counts for the result: clang takes
/// its target from a prefix and its language from the suffix, and both compilers print their name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// gcc, g++ and their cross and versioned names.
    Gcc,
    /// clang, clang++ and their versioned names.
    Clang,
}

/// The language of the input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Language {
    /// C.
    C,
    /// C++.
    Cpp,
}

/// The dependency file that the user asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Depfile {
    /// Where the compiler writes it, as the compiler would name it (relative to the working
    /// directory or absolute): `-MF`, or derived from `-o` or the input as the compiler does.
    pub path: PathBuf,
    /// `-MMD`: system headers are left out.
    pub omits_system_headers: bool,
    /// What determines the target text: `-MT`/`-MQ` options in order, or the object's path.
    /// It is part of the key, because the stored file contains it.
    pub target_arguments: Vec<OsString>,
    /// `-MP`.
    pub phony_targets: bool,
}

/// One output file besides the dependency file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// What it is.
    pub kind: SectionKind,
    /// Where the compiler writes it.
    pub path: PathBuf,
    /// Whether a successful compile always writes it.
    pub required: bool,
}

/// A call that can be cached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compile {
    /// Which compiler family parsed it.
    pub family: Family,
    /// Language of the input.
    pub language: Language,
    /// The input file as given.
    pub input: PathBuf,
    /// Every argument, response files expanded, as the real compiler gets them on a miss; then the
    /// words that some of them hand on to parts of the compiler.
    pub arguments: Vec<OsString>,
    /// The arguments that count for the result, in order, each with its boundaries: without `-o`,
    /// without dependency options, without what the table calls irrelevant; the input's path is in.
    pub key_arguments: Vec<OsString>,
    /// The arguments for a run with `-E` in place of `-c`, without `-o` and dependency options.
    pub preprocess_arguments: Vec<OsString>,
    /// Arguments that count only before preprocessing (`-D -U -I -isystem -iquote -include ...`)
    /// are left out here: what counts beside the preprocessed text.
    pub key_arguments_after_preprocessing: Vec<OsString>,
    /// Whether the working directory is visible in the result (debug information and the like).
    pub cwd_matters: bool,
    /// Whether the user has set colours explicitly (`-fdiagnostics-color...`,
    /// `-fcolor-diagnostics`).
    pub color_is_explicit: bool,
    /// The dependency file, if one is asked for.
    pub depfile: Option<Depfile>,
    /// The object first, then every other output.
    pub outputs: Vec<Output>,
    /// Files named by options whose contents count (beside what the compiler reports as read). Some
    /// are places where the compiler looks for a file: that there is none counts, too.
    pub named_inputs: Vec<PathBuf>,
    /// Whether the times of all inputs count, because a precompiled header holds them.
    pub times_matter: bool,
    /// The options about the machine, in order, if one of them says `native`.
    pub native: Vec<OsString>,
}

/// Options beside debug information and LTO that make blanks or comments visible in the result; one
/// that ends in `*` stands for all that begin so.
const SHOW_BLANKS_OR_COMMENTS: [&[u8]; 6] = [
    b"-W",
    b"-Wdocumentation*",
    b"-Weverything",
    b"-Wextra",
    b"-Wimplicit-fallthrough*",
    b"-fsanitize*",
];

impl Compile {
    /// Whether the call precompiles a header.
    pub fn precompiles(&self) -> bool {
        self.outputs.first().is_some_and(|output| output.kind == SectionKind::PrecompiledHeader)
    }

    /// Whether `-H` names every file that the compile reads. Neither gcc nor clang traces a file
    /// that `-include` or `-imacros` forces in, nor what such a file includes; gcc is also silent
    /// about its own `stdc-predef.h`.
    pub fn trace_is_complete(&self) -> bool {
        let forces = |word: &OsString| {
            let bytes = word.as_bytes();
            bytes.starts_with(b"-include") || bytes.starts_with(b"-imacros")
        };
        !self.arguments.iter().any(forces)
    }

    /// Whether two sources with the same preprocessed text give the same object, and the same
    /// messages if there are none. Preprocessing drops comments and blanks within lines, so it says
    /// too little where columns (debug information, LTO, sanitizers) or comments (warnings about
    /// falling through, documentation) show in the result. A result with messages is never served
    /// by preprocessed text: they may point into the definition of a macro, which is not in it.
    pub fn preprocessed_text_suffices(&self) -> bool {
        let shows_more = |word: &OsString| {
            let bytes = word.as_bytes();
            SHOW_BLANKS_OR_COMMENTS.iter().any(|option| match option.strip_suffix(b"*") {
                Some(start) => bytes.starts_with(start),
                None => bytes == *option,
            })
        };
        !self.cwd_matters && !self.key_arguments.iter().any(shows_more)
    }
}
