//! What a compiler's command line means: one declarative table of flags per compiler, and the
//! [`Compile`] that a cacheable call is.
//!
//! 1. A flag that no table knows makes the call uncacheable, with its reason; nothing is guessed.
//! 2. Every argument is either in the key, or its table row says why it need not be.
//! 3. Every file that the call writes is in [`Compile::outputs`] or is the dependency file
//!    (`outputs` has their names).

mod clang;
mod common;
mod dependencies;
mod flag;
mod gcc;
mod linked;
mod modules;
mod option_file;
mod outputs;
mod parse;
mod profile;
mod recognise;
mod response;
#[cfg(test)]
mod tests;
mod tools;
mod words;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use larder_engine::SectionKind;

pub use linked::known_at_link;
pub use modules::ModuleFile;
pub use outputs::Purpose;
pub use parse::{parse, split};
pub use recognise::{
    family_of, is_archiver_name, is_compiler_name, is_preprocessor_name, is_toolchain_name,
    recognise,
};
pub use response::{expand, files as response_files};

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
    /// C++ that is the source of a module.
    CppModule,
    /// C that has been preprocessed.
    COutput,
    /// C++ that has been preprocessed.
    CppOutput,
    /// Assembler that is not preprocessed.
    Assembler,
    /// Assembler that is.
    AssemblerWithCpp,
}

/// The languages as `-x` names them.
const LANGUAGES: [(&str, Language); 7] = [
    ("assembler", Language::Assembler),
    ("assembler-with-cpp", Language::AssemblerWithCpp),
    ("c", Language::C),
    ("c++", Language::Cpp),
    ("c++-cpp-output", Language::CppOutput),
    ("c++-module", Language::CppModule),
    ("cpp-output", Language::COutput),
];

impl Language {
    /// The language of this name.
    fn named(name: &str) -> Option<Language> {
        LANGUAGES.iter().find(|(known, _)| *known == name).map(|(_, language)| *language)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        LANGUAGES.iter().find(|(_, language)| *language == self).map_or("", |(name, _)| name)
    }

    /// Whether a source in it goes to the assembler as it is, or as it is preprocessed.
    pub fn is_assembler(self) -> bool {
        matches!(self, Language::Assembler | Language::AssemblerWithCpp)
    }

    /// Whether a source in it has been preprocessed before: its lines are those of other files.
    pub fn is_preprocessed(self) -> bool {
        matches!(self, Language::COutput | Language::CppOutput)
    }

    /// Whether no preprocessor runs, so that nothing is included, and no dependencies are told.
    pub fn is_read_alone(self) -> bool {
        self.is_preprocessed() || self == Language::Assembler
    }
}

/// Suffixes of headers that both compilers take for such; for others they differ.
const HEADER_SUFFIXES: [&str; 5] = ["H", "h", "hh", "hpp", "hxx"];

/// Whether both compilers take a file with this suffix for a header.
pub fn is_header_suffix(suffix: &OsStr) -> bool {
    HEADER_SUFFIXES.iter().any(|known| suffix == *known)
}

/// The spelling and the example of every row of a family's tables.
pub fn examples(family: Family) -> impl Iterator<Item = (&'static str, &'static str)> {
    parse::tables(family).into_iter().flatten().map(|flag| (flag.spelling, flag.example))
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
    /// What a named file is called in a result; empty for every other kind.
    pub name: &'static str,
    /// Where the compiler writes it.
    pub path: PathBuf,
    /// Whether a successful compile always writes it.
    pub required: bool,
}

impl Output {
    /// Whether it is what the call is for.
    pub fn is_main(&self) -> bool {
        matches!(self.kind, SectionKind::Object | SectionKind::PrecompiledHeader)
            || matches!(self.name, "assembly" | "analysis" | "interface")
    }
}

/// A call that can be cached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Compile {
    /// Which compiler family parsed it.
    pub family: Family,
    /// Language of the input.
    pub language: Language,
    /// What is made of it.
    pub purpose: Purpose,
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
    /// The main output first, if the call makes one, then every other.
    pub outputs: Vec<Output>,
    /// Files named by options whose contents count (beside what the compiler reports as read). Some
    /// are places where the compiler looks for a file: that there is none counts, too.
    pub named_inputs: Vec<PathBuf>,
    /// Whether the times of all inputs count, because a precompiled header holds them.
    pub times_matter: bool,
    /// The module files that options name; their contents count, too.
    pub module_files: Vec<ModuleFile>,
    /// The options about the machine, in order, if one of them says `native`.
    pub native: Vec<OsString>,
}

impl Compile {
    /// Whether the call precompiles a header.
    pub fn precompiles(&self) -> bool {
        self.purpose == Purpose::Precompiled
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

    /// The headers that `-include` and `-imacros` force in.
    pub fn forced_headers(&self) -> Vec<&OsStr> {
        // What is joined to the option; `-include-pch` is another one.
        let joined = |word: &'_ OsString| {
            let mut options = ["-include", "-imacros"].into_iter();
            let rest =
                options.find_map(|option| word.as_bytes().strip_prefix(option.as_bytes()))?;
            (!rest.starts_with(b"-")).then(|| word.len() - rest.len())
        };
        split(self.family, &self.arguments)
            .into_iter()
            .filter_map(|words| match &words[0].as_bytes()[joined(&words[0])?..] {
                b"" => words.get(1).map(OsString::as_os_str),
                joined => Some(OsStr::from_bytes(joined)),
            })
            .collect()
    }

    /// Whether the assembler is asked to list what it reads.
    pub fn asks_for_listing(&self) -> bool {
        let lists = |word: &OsString| {
            let bytes = word.as_bytes();
            bytes.starts_with(b"-Wa,") && bytes.windows(3).any(|part| part == b",-a")
        };
        self.key_arguments.iter().any(lists)
    }

    /// Whether `objcopy` takes the debug information out of the object.
    pub fn splits_dwarf(&self) -> bool {
        let is_split = |output: &Output| output.kind == SectionKind::DwarfObject;
        self.family == Family::Gcc && self.outputs.iter().any(is_split)
    }

    /// Whether the object and its messages are all that the call makes, and come from a source
    /// that is preprocessed and compiled.
    pub fn makes_only_an_object(&self) -> bool {
        let is_compiled = matches!(self.language, Language::C | Language::Cpp);
        let is_single = self.outputs.len() == 1 && self.purpose == Purpose::Object;
        is_compiled && is_single && !self.asks_for_listing()
    }
}
