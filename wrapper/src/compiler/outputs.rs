//! The files that a call writes beside its dependency file, under the names that the compilers
//! give them (measured with gcc 12, binutils 2.40 and clang 14).
//!
//! | asked for by | section | gcc | clang |
//! |---|---|---|---|
//! | `-c` | object | `-o`, else `t.o` | the same |
//! | `-S` | named file `assembly` | `-o`, else `t.s` | the same |
//! | `--analyze` | named file `analysis` | | `-o`, else `t.plist`; none if text is asked for |
//! | `-fsyntax-only` | | none | none |
//! | `--precompile` | named file `interface` | | `-o`, else `t.pcm` |
//! | a header | precompiled header | `-o`, else `t.h.gch` | `-o` |
//! | `-gsplit-dwarf` | dwarf object | `x.dwo` | `x.dwo`, if there is debug information |
//! | `--coverage`, `-ftest-coverage` | coverage notes | `x.gcno` | `x.gcno` |
//! | `-fstack-usage` | stack usage | `x.su` | `x.su`, if there are functions |
//! | `-fcallgraph-info` | call graph | `x.ci` | |
//! | `-fdump-ipa-clones` | ipa clones | `x.c.000i.ipa-clones` | |
//! | `-fsave-optimization-record` | named file `optimizations` | `x.c.opt-record.json.gz` | `x.opt.yaml` |
//! | `-foptimization-record-file=F` | named file `optimizations` | | `F` |
//! | `--serialize-diagnostics F` | diagnostics | | `F` |
//! | `-fmodule-output=F` | named file `module` | | `F` |
//! | `-fmodule-output` | named file `module` | | `x.pcm` |
//! | `-aux-info F` | named file `prototypes` | `F` | |
//! | `-Wa,-a...=F` | listing | `F` | |
//!
//! 1. `x` is the main output without its suffix, `.c` the suffix of the input. gcc cuts no suffix
//!    off a name that begins with its only dot, clang leaves nothing of it.
//! 2. A file that the compiler is sure to write is required: where another version names it in
//!    another way, nothing is stored. `capture` takes none that an earlier run has left.
//! 3. Where the object holds the name of such a file, the main output's path is in the key.
//! 4. No output is the input or another output.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use larder_engine::SectionKind;

use super::{Depfile, Family, Language, Output};
use crate::outcome::{Counter, Reason};

/// What a call is to make. Where it asks for several, the last of these wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Purpose {
    /// `-c`.
    Object,
    /// `-S`.
    Assembly,
    /// `--analyze`.
    Analysis,
    /// `-fsyntax-only`.
    Messages,
    /// A header, or `-Xclang -emit-pch`.
    Precompiled,
    /// `--precompile`.
    Module,
}

/// A further file that an option asks for, or takes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// `-gsplit-dwarf`.
    SplitDwarf,
    /// `-gsplit-dwarf=single`: no file, but the object names itself.
    SingleDwarf,
    /// `-gno-split-dwarf`.
    NoSplitDwarf,
    /// `-fprofile-arcs`: no file, but the object names the one that its program will write.
    Arcs,
    /// `-ftest-coverage`.
    Notes,
    /// `--coverage`: both.
    Coverage,
    /// `-fstack-usage`.
    StackUsage,
    /// `-fcallgraph-info`.
    CallGraph,
    /// `-fdump-ipa-clones`.
    IpaClones,
    /// `-fsave-optimization-record`.
    Optimizations,
    /// `-foptimization-record-file=`.
    OptimizationsFile,
    /// `--serialize-diagnostics`.
    Diagnostics,
    /// `-aux-info`.
    Prototypes,
    /// `-fmodule-output`, with a file or without.
    Module,
}

/// The further files that a call asks for.
#[derive(Default)]
pub(super) struct Sides {
    split: bool,
    names_output: bool,
    notes: bool,
    stack_usage: bool,
    call_graph: bool,
    ipa_clones: bool,
    optimizations: bool,
    optimizations_file: Option<PathBuf>,
    diagnostics: Option<PathBuf>,
    prototypes: Option<PathBuf>,
    listing: Option<Option<PathBuf>>,
    /// Without a file it goes beside the object.
    module: Option<Option<PathBuf>>,
}

impl Sides {
    /// Takes an option with its value; `None` if it asks for a second file in place of the first.
    pub(super) fn take(&mut self, side: Side, value: &OsStr) -> Option<()> {
        match side {
            Side::SplitDwarf | Side::SingleDwarf | Side::NoSplitDwarf => {
                self.split = side == Side::SplitDwarf;
                self.names_output |= side != Side::NoSplitDwarf;
            }
            Side::Arcs => self.names_output = true,
            Side::Notes => self.notes = true,
            Side::Coverage => (self.notes, self.names_output) = (true, true),
            Side::StackUsage => self.stack_usage = true,
            Side::CallGraph => self.call_graph = true,
            Side::IpaClones => self.ipa_clones = true,
            Side::Optimizations => self.optimizations = true,
            Side::OptimizationsFile => return first(&mut self.optimizations_file, value.into()),
            Side::Diagnostics => return first(&mut self.diagnostics, value.into()),
            Side::Module => {
                let file = Some(value).filter(|value| !value.is_empty()).map(PathBuf::from);
                return first(&mut self.module, file);
            }
            Side::Prototypes => return first(&mut self.prototypes, value.into()),
        }
        Some(())
    }

    /// Takes the word `-a...` of the assembler without these two letters; `None` if it is a second
    /// one, or says something that is not known to be repeatable: `g` is for the time of the run.
    pub(super) fn take_listing(&mut self, word: &[u8]) -> Option<()> {
        let (letters, file) = match word.iter().position(|byte| *byte == b'=') {
            Some(at) => (&word[..at], Some(OsStr::from_bytes(&word[at + 1..]).into())),
            None => (word, None),
        };
        let is_known = letters.iter().all(|letter| b"cdhilmns".contains(letter));
        if !is_known { None } else { first(&mut self.listing, file) }
    }

    /// Whether the main output holds a path that is derived from its own: that of its split
    /// debug information, of what its program will count, or (with clang) of its optimizations.
    pub(super) fn name_the_output(&self, family: Family) -> bool {
        let is_recorded = self.optimizations || self.optimizations_file.is_some();
        let is_shown = self.names_output || self.notes || self.module.is_some();
        is_shown || (is_recorded && family == Family::Clang)
    }

    /// Whether a module file is made beside the object.
    pub(super) fn make_module(&self) -> bool {
        self.module.is_some()
    }

    /// Whether something else is asked for beside it.
    pub(super) fn have_more_than_a_module(&self) -> bool {
        self.are_some() || self.diagnostics.is_some()
    }

    fn are_some(&self) -> bool {
        self.split
            || self.names_output
            || self.notes
            || self.stack_usage
            || self.call_graph
            || self.ipa_clones
            || self.optimizations
            || self.optimizations_file.is_some()
            || self.prototypes.is_some()
            || self.listing.is_some()
    }
}

fn first<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// What the names of outputs are made from.
pub(super) struct Naming<'a> {
    pub(super) family: Family,
    pub(super) language: Language,
    pub(super) purpose: Purpose,
    pub(super) input: &'a Path,
    /// The main output, whether it is written or not.
    pub(super) main: &'a Path,
    /// Whether `-o` says it.
    pub(super) is_named: bool,
}

impl Naming<'_> {
    /// The main output where no `-o` says it.
    pub(super) fn default_main(input: &Path, purpose: Purpose) -> PathBuf {
        let suffix = match purpose {
            Purpose::Object | Purpose::Messages | Purpose::Precompiled => "o",
            Purpose::Assembly => "s",
            Purpose::Analysis => "plist",
            Purpose::Module => "pcm",
        };
        derived_name(input, suffix).into()
    }

    /// Every output besides the dependency file, the main one first.
    ///
    /// # Errors
    /// If it is not known what the compiler makes of such a call.
    pub(super) fn outputs(&self, sides: Sides) -> Result<Vec<Output>, Reason> {
        self.check(&sides)?;
        let mut outputs = Vec::with_capacity(1);
        outputs.extend(self.main_output());
        let is_compiled = !self.language.is_assembler();
        let is_gcc = self.family == Family::Gcc;
        let mut put = |kind, name, path, required| {
            outputs.push(Output { kind, name, path, required });
        };
        if let Some(path) = sides.diagnostics {
            put(SectionKind::Diagnostics, "", path, true);
        }
        if let Some(path) = sides.module {
            let path = path.unwrap_or_else(|| self.beside("pcm"));
            put(SectionKind::NamedFile, "module", path, true);
        }
        if let Some(Some(path)) = sides.listing {
            put(SectionKind::Listing, "", path, true);
        }
        if is_compiled {
            let derived = [
                (sides.notes, SectionKind::CoverageNotes, "gcno", true),
                // clang makes none for a source without functions.
                (sides.stack_usage, SectionKind::StackUsage, "su", is_gcc),
                (sides.call_graph, SectionKind::CallGraph, "ci", true),
            ];
            for (_, kind, suffix, required) in derived.into_iter().filter(|row| row.0) {
                put(kind, "", self.beside(suffix), required);
            }
            if sides.ipa_clones {
                put(SectionKind::IpaClones, "", self.dump("000i.ipa-clones"), true);
            }
            let record = || match self.family {
                Family::Gcc => self.dump("opt-record.json.gz"),
                Family::Clang if self.is_named => self.beside("opt.yaml"),
                // It cuts off two suffixes of the input: `a.b.c` leads to `a.opt.yaml`.
                Family::Clang => derived_name(Path::new(self.stem()), "opt.yaml").into(),
            };
            if sides.optimizations || sides.optimizations_file.is_some() {
                let path = sides.optimizations_file.unwrap_or_else(record);
                put(SectionKind::NamedFile, "optimizations", path, true);
            }
            if let Some(path) = sides.prototypes {
                put(SectionKind::NamedFile, "prototypes", path, true);
            }
        }
        if sides.split {
            // clang makes none where there is no debug information.
            put(SectionKind::DwarfObject, "", self.beside("dwo"), is_gcc);
        }
        Ok(outputs)
    }

    fn main_output(&self) -> Option<Output> {
        let (kind, name) = match self.purpose {
            Purpose::Object => (SectionKind::Object, ""),
            Purpose::Assembly => (SectionKind::NamedFile, "assembly"),
            Purpose::Analysis => (SectionKind::NamedFile, "analysis"),
            Purpose::Module => (SectionKind::NamedFile, "interface"),
            Purpose::Messages => return None,
            Purpose::Precompiled => (SectionKind::PrecompiledHeader, ""),
        };
        let required = self.purpose != Purpose::Analysis;
        Some(Output { kind, name, path: self.main.to_path_buf(), required })
    }

    fn check(&self, sides: &Sides) -> Result<(), Reason> {
        let refuse = |text| Err(Reason::new(Counter::UnsupportedCompilerOption, text));
        if self.purpose != Purpose::Object && self.language.is_assembler() {
            return refuse("an assembler source is not assembled");
        }
        let makes_code = matches!(self.purpose, Purpose::Object | Purpose::Assembly);
        if !makes_code && sides.are_some() {
            return refuse("a further output is asked for where no code is made");
        }
        // clang then makes an empty file whose name is not that of the output.
        if self.purpose == Purpose::Assembly && (sides.split || sides.listing.is_some()) {
            return refuse("an output of the assembler is asked for with -S");
        }
        let explains = sides.optimizations_file.is_some() || sides.prototypes.is_some();
        if explains && self.language.is_assembler() {
            return refuse("a further output of the compiler is asked for from the assembler");
        }
        // The listing shows lines of the files that line markers or `.file` name.
        let is_source = matches!(self.language, Language::C | Language::Cpp);
        if sides.listing.is_some() && (!is_source || self.family == Family::Clang) {
            return refuse("a listing is not known to show this input only");
        }
        Ok(())
    }

    /// The main output with another suffix.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.stem().to_os_string();
        name.push(".");
        name.push(suffix);
        self.main.with_file_name(name)
    }

    /// gcc's name of a dump: the suffix of the input stands in it.
    fn dump(&self, suffix: &str) -> PathBuf {
        let mut name = self.stem().to_os_string();
        for part in [self.input.extension().unwrap_or_default(), OsStr::new(suffix)] {
            if !part.is_empty() {
                name.push(".");
                name.push(part);
            }
        }
        self.main.with_file_name(name)
    }

    fn stem(&self) -> &OsStr {
        let name = self.main.file_name().unwrap_or_default();
        match self.family {
            Family::Gcc => self.main.file_stem().unwrap_or_default(),
            Family::Clang => OsStr::from_bytes(stem_of(name.as_bytes())),
        }
    }
}

/// Checks that every output can be written as the compiler would, and that no two are one file.
///
/// # Errors
/// `BadOutputFile` or `OutputToStdout`, naming the output.
pub(super) fn check_places(
    input: &Path,
    outputs: &[Output],
    depfile: Option<&Depfile>,
    cwd: &Path,
) -> Result<(), Reason> {
    // With a side output, which an option may name in any way, it is worth a look behind links.
    let place = |path: &Path| match outputs.len() {
        0 | 1 => cwd.join(path),
        _ => behind_links(&cwd.join(path)),
    };
    let mut known = vec![place(input)];
    let paths = outputs.iter().map(|output| &output.path);
    for path in paths.chain(depfile.map(|depfile| &depfile.path)) {
        check_output(path, cwd)?;
        let place = place(path);
        if known.contains(&place) {
            return Err(bad_output(path, "is the input or another output too"));
        }
        known.push(place);
    }
    Ok(())
}

/// The path with the links on its way resolved.
fn behind_links(path: &Path) -> PathBuf {
    let resolved = fs::canonicalize(path)
        .ok()
        .or_else(|| Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?)));
    resolved.unwrap_or_else(|| path.to_path_buf())
}

fn bad_output(path: &Path, why: &str) -> Reason {
    Reason::new(Counter::BadOutputFile, format!("the output {} {why}", path.display()))
}

/// An output must be a regular file, or be missing in a directory that is there.
fn check_output(path: &Path, cwd: &Path) -> Result<(), Reason> {
    if path.as_os_str() == "-" {
        return Err(Reason::new(Counter::OutputToStdout, "an output is standard output"));
    }
    if path.as_os_str().is_empty() || path.file_name().is_none() {
        return Err(bad_output(path, "has no name"));
    }
    if path.as_os_str().as_bytes().contains(&b'\n') {
        return Err(bad_output(path, "has a line break in its name"));
    }
    let place = cwd.join(path);
    match fs::symlink_metadata(&place) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(bad_output(path, "is no regular file")),
        Err(_) if place.parent().is_some_and(Path::is_dir) => Ok(()),
        Err(_) => Err(bad_output(path, "has no directory")),
    }
}

/// The last component with another suffix. Both compilers cut at the last dot, even where it is the
/// first byte: the dependency file of `-o .hidden` is `.d`.
pub(super) fn derived_name(path: &Path, suffix: &str) -> OsString {
    let stem = stem_of(path.file_name().unwrap_or_default().as_bytes());
    OsString::from_vec([stem, b".", suffix.as_bytes()].concat())
}

fn stem_of(name: &[u8]) -> &[u8] {
    name.iter().rposition(|&byte| byte == b'.').map_or(name, |dot| &name[..dot])
}
