//! The parser of command lines, driven by the tables of flags.
//!
//! 1. Response files are expanded.
//! 2. Each argument is an input, or is judged by its row; the words that belong to it go, together
//!    and in order, into the lists that the row's class names. The first refusal is kept.
//! 3. What was seen is turned into a [`Compile`]: one input in a known language, an object and a
//!    dependency file that are regular files or not there yet.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use larder_engine::SectionKind;

use super::flag::{Class, DependencyFlag, Flag, find, value_of};
use super::profile::{ProfileFlag, Profiles};
use super::words::{self, Part};
use super::{
    Compile, Depfile, Family, Language, Output, clang, common, gcc, option_file, response,
};
use crate::outcome::{Counter, Reason};

/// What the compiler takes from the places that `-B` names, beside headers.
const TOOLS: [&str; 6] = ["as", "cc1", "cc1plus", "collect2", "lto-wrapper", "specs"];

/// What follows `-fdiagnostics-color=` where the compiler itself is to decide.
const COLOR_AUTO: &str = "auto";

/// Suffixes of C++ sources, and those of C sources.
const CPP_SUFFIXES: [&str; 8] = ["C", "CPP", "c++", "cc", "cp", "cpp", "cxx", "C++"];
/// Suffixes of headers that both compilers take for such; for others they differ.
const HEADER_SUFFIXES: [&str; 5] = ["H", "h", "hh", "hpp", "hxx"];

/// What a call means, where it can be cached. `arguments` are those after the compiler's name.
///
/// # Errors
/// The reason not to cache it.
pub fn parse(
    family: Family,
    default_language: Option<Language>,
    arguments: &[OsString],
    cwd: &Path,
) -> Result<Compile, Reason> {
    let arguments = response::expand(arguments, cwd)?;
    let new = || Scan { default_language, ..Scan::default() };
    let mut scan = new();
    scan.read_all(family, &arguments, cwd)?;
    if let Some(configuration) = scan.configuration.take() {
        // Its options come before all others.
        let words = option_file::words_of_configuration(&cwd.join(&configuration))?;
        scan = new();
        scan.read_all(family, &words, cwd)?;
        // The preprocessor finds them in the file again.
        scan.preprocess.clear();
        if scan.configuration.take().is_some() || !scan.inputs.is_empty() {
            let why = "names a file with more than options";
            return Err(refused(Counter::UnsupportedCompilerOption, "--config".as_ref(), why));
        }
        scan.read_all(family, &arguments, cwd)?;
        scan.handed_on.extend(words);
    }
    scan.finish(family, arguments, cwd)
}

/// The tables of a family.
pub(super) fn tables(family: Family) -> [&'static [Flag]; 2] {
    match family {
        Family::Gcc => [common::FLAGS, gcc::FLAGS],
        Family::Clang => [common::FLAGS, clang::FLAGS],
    }
}

/// An input and the language that `-x` gave it.
struct Input {
    path: PathBuf,
    explicit_language: Option<OsString>,
}

/// What has been seen of the command line.
#[derive(Default)]
struct Scan {
    default_language: Option<Language>,
    key: Vec<OsString>,
    key_after_preprocessing: Vec<OsString>,
    preprocess: Vec<OsString>,
    inputs: Vec<Input>,
    explicit_language: Option<OsString>,
    object: Option<PathBuf>,
    compiles: bool,
    has_debug_information: bool,
    shows_directory: bool,
    color_is_explicit: bool,
    named_inputs: Vec<PathBuf>,
    configuration: Option<PathBuf>,
    is_native: bool,
    precompiles: bool,
    times_matter: bool,
    profiles: Profiles,
    /// The words for each [`Part`], until they are judged.
    words: [Vec<OsString>; Part::ALL.len()],
    /// And afterwards.
    handed_on: Vec<OsString>,
    dependencies: Dependencies,
    refusal: Option<Reason>,
}

/// What the dependency options ask for.
#[derive(Default)]
struct Dependencies {
    all: bool,
    without_system_headers: bool,
    file: Option<PathBuf>,
    targets: Vec<OsString>,
    phony_targets: bool,
    /// `-Wp,-MD,FILE` and `-Wp,-MMD,FILE`: the file, and whether system headers are left out.
    by_preprocessor_words: Vec<(PathBuf, bool)>,
}

/// The lists that words go to.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Into {
    key: bool,
    key_after_preprocessing: bool,
    preprocess: bool,
}

const EVERYWHERE: Into = Into { key: true, key_after_preprocessing: true, preprocess: true };
const NOWHERE: Into = Into { key: false, key_after_preprocessing: false, preprocess: false };
const UNTIL_PREPROCESSED: Into = Into { key_after_preprocessing: false, ..EVERYWHERE };
const KEYS_ONLY: Into = Into { preprocess: false, ..EVERYWHERE };

impl Scan {
    fn read_all(
        &mut self,
        family: Family,
        arguments: &[OsString],
        cwd: &Path,
    ) -> Result<(), Reason> {
        let mut rest = arguments;
        while let [argument, after @ ..] = rest {
            let bytes = argument.as_bytes();
            if !bytes.starts_with(b"-") || bytes == b"-" {
                self.take_input(argument);
                rest = after;
                continue;
            }
            let Some(flag) = find(tables(family), bytes) else {
                self.refuse(Counter::UnsupportedCompilerOption, argument, "is not known");
                rest = after;
                continue;
            };
            let (value, words) = value_of(flag, rest)?;
            self.take_flag(family, flag, (&rest[..words], value), cwd);
            rest = &rest[words..];
        }
        Ok(())
    }

    fn take_input(&mut self, argument: &OsString) {
        let path = PathBuf::from(argument);
        self.inputs.push(Input { path, explicit_language: self.explicit_language.clone() });
        self.put(std::slice::from_ref(argument), EVERYWHERE);
    }

    fn take_flag(
        &mut self,
        family: Family,
        flag: &Flag,
        (words, value): (&[OsString], &OsStr),
        cwd: &Path,
    ) {
        let into = match flag.class {
            Class::Keyed => EVERYWHERE,
            Class::LaterStage => KEYS_ONLY,
            Class::PreprocessorOnly => UNTIL_PREPROCESSED,
            Class::Irrelevant => NOWHERE,
            Class::Compile => self.take_compile(words),
            Class::Object => self.take_object(value),
            Class::Language => self.take_language(value),
            Class::Dependency(kind) => self.take_dependency(kind, words, value),
            Class::DebugOn => self.take_debug(true),
            Class::DebugOff => self.take_debug(false),
            Class::ShowsDirectory => self.take_directory(),
            Class::Color => self.take_color(value),
            Class::NamedFile => self.take_named_file(value),
            Class::ToolPrefix => self.take_tool_prefix(value, cwd),
            Class::Words(part) => self.take_words(part, &words[0], value),
            Class::UsesPrecompiled => self.take_precompiled(value),
            Class::Precompiles => self.take_precompiles(),
            Class::Specs => self.take_specs(value),
            Class::Configuration => self.take_configuration(value),
            Class::Native => self.take_native(),
            Class::Profile(kind) => self.take_profile(kind, value),
            Class::Forced => self.take_forced(family, value),
            Class::Uncached(counter, why) => self.refuse(counter, &words[0], why),
        };
        self.put(words, into);
    }

    fn put(&mut self, words: &[OsString], into: Into) {
        if into.key {
            self.key.extend_from_slice(words);
        }
        if into.key_after_preprocessing {
            self.key_after_preprocessing.extend_from_slice(words);
        }
        if into.preprocess {
            self.preprocess.extend_from_slice(words);
        }
    }

    fn refuse(&mut self, counter: Counter, option: &OsStr, why: &str) -> Into {
        self.refusal.get_or_insert_with(|| refused(counter, option, why));
        NOWHERE
    }

    fn take_compile(&mut self, words: &[OsString]) -> Into {
        self.compiles = true;
        self.put(words, KEYS_ONLY);
        self.preprocess.push("-E".into());
        NOWHERE
    }

    fn take_object(&mut self, value: &OsStr) -> Into {
        self.object = Some(value.into());
        NOWHERE
    }

    fn take_language(&mut self, value: &OsStr) -> Into {
        self.explicit_language = (value != "none").then(|| value.to_owned());
        EVERYWHERE
    }

    fn take_debug(&mut self, on: bool) -> Into {
        self.has_debug_information = on;
        EVERYWHERE
    }

    fn take_directory(&mut self) -> Into {
        self.shows_directory = true;
        EVERYWHERE
    }

    /// A later `auto` leaves the decision to the compiler again, and thereby to larder.
    fn take_color(&mut self, value: &OsStr) -> Into {
        self.color_is_explicit = value != COLOR_AUTO;
        EVERYWHERE
    }

    fn take_named_file(&mut self, value: &OsStr) -> Into {
        self.named_inputs.push(value.into());
        EVERYWHERE
    }

    fn take_specs(&mut self, value: &OsStr) -> Into {
        match option_file::options_of_specs(Path::new(value)) {
            Ok(options) => {
                self.handed_on.extend(options);
                self.shows_directory = true;
                self.take_named_file(value)
            }
            Err(reason) => {
                self.refusal.get_or_insert(reason);
                NOWHERE
            }
        }
    }

    fn take_configuration(&mut self, value: &OsStr) -> Into {
        if self.configuration.replace(value.into()).is_some() {
            let why = "stands there twice";
            return self.refuse(Counter::UnsupportedCompilerOption, "--config".as_ref(), why);
        }
        self.take_named_file(value)
    }

    fn take_native(&mut self) -> Into {
        self.is_native = true;
        EVERYWHERE
    }

    /// A precompiled header of clang is refused once a header in it has another time than it had,
    /// so that the times of all inputs count.
    fn take_precompiled(&mut self, value: &OsStr) -> Into {
        self.times_matter = true;
        self.take_named_file(value)
    }

    /// clang takes a precompiled form that stands beside a forced header, the first of two.
    fn take_forced(&mut self, family: Family, value: &OsStr) -> Into {
        for suffix in [".pch", ".gch"].into_iter().filter(|_| family == Family::Clang) {
            let mut candidate = value.to_owned();
            candidate.push(suffix);
            self.times_matter |= Path::new(&candidate).exists();
            self.named_inputs.push(candidate.into());
        }
        UNTIL_PREPROCESSED
    }

    /// Messages about profiles name them with their directory.
    fn take_profile(&mut self, kind: ProfileFlag, value: &OsStr) -> Into {
        self.shows_directory = true;
        self.profiles.take(kind, value);
        EVERYWHERE
    }

    fn take_precompiles(&mut self) -> Into {
        self.precompiles = true;
        EVERYWHERE
    }

    /// A tool that stands where `-B` points is run in place of the compiler's own, so that its
    /// contents count. The value is a prefix of names as well as a directory.
    fn take_tool_prefix(&mut self, value: &OsStr, cwd: &Path) -> Into {
        for tool in TOOLS {
            let mut joined = value.to_owned();
            joined.push(tool);
            for candidate in [PathBuf::from(joined), Path::new(value).join(tool)] {
                let is_new = !self.named_inputs.contains(&candidate);
                if is_new && cwd.join(&candidate).is_file() {
                    self.named_inputs.push(candidate);
                }
            }
        }
        EVERYWHERE
    }

    /// `-Wp,-MD,FILE` and `-Wp,-MMD,FILE` stand for themselves, everything else is judged when all
    /// words are known.
    fn take_words(&mut self, part: Part, option: &OsString, value: &OsStr) -> Into {
        let words: Vec<&[u8]> = match option.as_bytes().starts_with(b"-W") {
            true => value.as_bytes().split(|byte| *byte == b',').collect(),
            false => vec![value.as_bytes()],
        };
        if let (Part::Preprocessor, [kind @ (b"-MD" | b"-MMD"), file]) = (part, &words[..])
            && !file.is_empty()
        {
            let file = PathBuf::from(OsStr::from_bytes(file));
            self.dependencies.by_preprocessor_words.push((file, *kind == b"-MMD"));
            return NOWHERE;
        }
        let are_macros = words.iter().all(|word| is_joined_macro(word));
        let words = words.into_iter().map(|word| OsStr::from_bytes(word).to_owned());
        self.words[part as usize].extend(words);
        match part {
            // It would make the preprocessor write one.
            Part::FrontEnd if value == "-emit-pch" => KEYS_ONLY,
            Part::Preprocessor if are_macros => UNTIL_PREPROCESSED,
            Part::Assembler => KEYS_ONLY,
            _ => EVERYWHERE,
        }
    }

    /// Judges the words for the parts of the compiler, and lets them do what they do.
    fn take_all_words(&mut self, family: Family) {
        for part in Part::ALL {
            let words = std::mem::take(&mut self.words[part as usize]);
            match words::judge(part, family, &words) {
                Ok(effects) => {
                    self.shows_directory |= effects.has_debug_information;
                    self.named_inputs.extend(effects.named_inputs);
                    self.precompiles |= effects.precompiles;
                    for path in effects.precompiled {
                        self.take_precompiled(path.as_os_str());
                    }
                    self.words[Part::Llvm as usize].extend(effects.llvm);
                    self.handed_on.extend(words);
                }
                Err(reason) => drop(self.refusal.get_or_insert(reason)),
            }
        }
    }

    fn take_dependency(&mut self, kind: DependencyFlag, words: &[OsString], value: &OsStr) -> Into {
        let dependencies = &mut self.dependencies;
        match kind {
            DependencyFlag::All => dependencies.all = true,
            DependencyFlag::WithoutSystemHeaders => dependencies.without_system_headers = true,
            DependencyFlag::File => dependencies.file = Some(value.into()),
            DependencyFlag::Target => dependencies.targets.extend_from_slice(words),
            DependencyFlag::Phony => dependencies.phony_targets = true,
        }
        NOWHERE
    }

    fn finish(
        mut self,
        family: Family,
        mut arguments: Vec<OsString>,
        cwd: &Path,
    ) -> Result<Compile, Reason> {
        self.take_all_words(family);
        self.check_purpose()?;
        let input = self.only_input()?;
        let language = language_of(&input, self.default_language)?;
        check_input(&input.path, cwd)?;
        let kind = self.kind_of_output(&input);
        let object = match self.object.take() {
            Some(object) => object,
            None if kind == SectionKind::PrecompiledHeader => {
                self.default_precompiled(family, &input)?
            }
            None => default_output(&input.path, "o"),
        };
        if kind == SectionKind::PrecompiledHeader {
            self.show_object(&object);
            let has_times = !self.handed_on.iter().any(|word| word == "-fno-pch-timestamp");
            self.times_matter |= family == Family::Clang && has_times;
        }
        self.take_profiles(&object, cwd);
        check_output(&object, cwd)?;
        if cwd.join(&object) == cwd.join(&input.path) {
            return Err(bad_output(&object, "is also the input"));
        }
        let depfile = self.dependencies.finish(&object)?;
        if let Some(depfile) = &depfile {
            check_output(&depfile.path, cwd)?;
            if [&object, &input.path].iter().any(|path| cwd.join(path) == cwd.join(&depfile.path)) {
                return Err(bad_output(&depfile.path, "is the input or the object too"));
            }
        }
        arguments.append(&mut self.handed_on);
        let native = if self.is_native { machine_options(&self.key) } else { Vec::new() };
        Ok(Compile {
            family,
            language,
            input: input.path,
            arguments,
            key_arguments: self.key,
            preprocess_arguments: self.preprocess,
            key_arguments_after_preprocessing: self.key_after_preprocessing,
            cwd_matters: self.has_debug_information || self.shows_directory,
            color_is_explicit: self.color_is_explicit,
            depfile,
            outputs: vec![Output { kind, path: object, required: true }],
            named_inputs: self.named_inputs,
            times_matter: self.times_matter,
            native,
        })
    }

    /// A link is called a link also where an option that larder does not handle stands in it, as
    /// long as nothing else than an option is in the way.
    fn check_purpose(&mut self) -> Result<(), Reason> {
        let refusal = self.refusal.take();
        let is_link = !self.compiles && self.inputs.iter().any(|input| !is_header(input));
        match refusal {
            Some(reason) if is_link && reason.counter == Counter::UnsupportedCompilerOption => {
                Err(self.link())
            }
            Some(reason) => Err(reason),
            None if is_link => Err(self.link()),
            None => Ok(()),
        }
    }

    fn link(&self) -> Reason {
        let is_test = |input: &Input| {
            input.path.as_os_str().as_bytes().windows(9).any(|part| part == b"conftest.")
        };
        if self.inputs.iter().any(is_test) {
            return Reason::new(Counter::AutoconfTest, "links a test of a configure script");
        }
        Reason::new(Counter::CalledForLink, "the compiler is called for linking")
    }

    fn kind_of_output(&self, input: &Input) -> SectionKind {
        match self.precompiles || is_header(input) {
            true => SectionKind::PrecompiledHeader,
            false => SectionKind::Object,
        }
    }

    /// Where a precompiled header goes without `-o`: beside the header. Versions of clang differ
    /// in its name, and gcc then derives the name of a dependency file otherwise.
    fn default_precompiled(&self, family: Family, input: &Input) -> Result<PathBuf, Reason> {
        let names_depfile = self.dependencies.file.is_some() || !self.dependencies.asks();
        if family == Family::Clang || self.precompiles || !names_depfile {
            let text = "a header is precompiled without -o";
            return Err(Reason::new(Counter::CouldNotUsePrecompiledHeader, text));
        }
        let mut name = input.path.clone().into_os_string();
        name.push(".gch");
        Ok(name.into())
    }

    /// The path of the object is visible in it.
    fn show_object(&mut self, object: &Path) {
        self.shows_directory = true;
        self.put(&["-o".into(), object.into()], KEYS_ONLY);
    }

    fn take_profiles(&mut self, object: &Path, cwd: &Path) {
        if self.profiles.follow_object() {
            self.show_object(object);
        }
        let profiles = std::mem::take(&mut self.profiles);
        self.named_inputs.extend(profiles.files(object, cwd));
    }

    fn only_input(&mut self) -> Result<Input, Reason> {
        let input = self.inputs.pop();
        let input = input.ok_or_else(|| Reason::new(Counter::NoInputFile, "there is no input"))?;
        if !self.inputs.is_empty() {
            return Err(Reason::new(Counter::MultipleSourceFiles, "there are several inputs"));
        }
        if input.path.as_os_str() == "-" {
            return Err(Reason::new(Counter::NoInputFile, "the input is standard input"));
        }
        Ok(input)
    }
}

impl Dependencies {
    fn asks(&self) -> bool {
        self.all || self.without_system_headers
    }

    fn finish(mut self, object: &Path) -> Result<Option<Depfile>, Reason> {
        let refuse = |counter, text| Err(Reason::new(counter, text));
        let by_words = self.by_preprocessor_words.pop();
        let refines = self.file.is_some() || !self.targets.is_empty() || self.phony_targets;
        let asks = self.asks();
        let mut target_arguments =
            if self.targets.is_empty() { vec![object.into()] } else { self.targets };
        let (path, omits_system_headers) = match by_words {
            // gcc and clang disagree about which of two requests wins, and about the target.
            Some(_) if asks || refines || !self.by_preprocessor_words.is_empty() => {
                let text = "dependencies are asked for with -Wp, and once more";
                return refuse(Counter::UnsupportedCompilerOption, text);
            }
            _ if target_arguments.iter().any(|word| word.as_bytes().contains(&b'\n')) => {
                // The rule could end before it has named everything.
                return refuse(Counter::BadCompilerArguments, "a target has a line break");
            }
            Some(found) => {
                // gcc then derives the target from the input, clang from the object.
                target_arguments.insert(0, "-Wp".into());
                found
            }
            // In whatever order they stand, -MMD wins over -MD in both compilers.
            None if asks => {
                if self.all && self.without_system_headers {
                    // clang warns that the one is not used.
                    target_arguments.insert(0, "-MD".into());
                }
                let derived = || object.with_file_name(derived_name(object, "d"));
                (self.file.unwrap_or_else(derived), self.without_system_headers)
            }
            None if refines => {
                let text = "-MF, -MT, -MQ or -MP stands without -MD";
                return refuse(Counter::BadCompilerArguments, text);
            }
            None => return Ok(None),
        };
        let phony_targets = self.phony_targets;
        Ok(Some(Depfile { path, omits_system_headers, target_arguments, phony_targets }))
    }
}

fn refused(counter: Counter, option: &OsStr, why: &str) -> Reason {
    Reason::new(counter, format!("{} {why}", option.display()))
}

/// The options among `words` that are about the machine, for a question to the driver.
fn machine_options(words: &[OsString]) -> Vec<OsString> {
    const WITH_VALUE: [&[u8]; 4] = [b"-target", b"-mllvm", b"-mmlir", b"-mthread-model"];
    const STARTS: [&[u8]; 3] = [b"-m", b"-target", b"--target="];
    let mut options = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = WITH_VALUE.contains(&word.as_bytes()).then(|| words.next()).flatten();
        if STARTS.iter().any(|start| word.as_bytes().starts_with(start)) {
            options.extend([word].into_iter().chain(value).cloned());
        }
    }
    options
}

fn is_joined_macro(word: &[u8]) -> bool {
    word.len() > 2 && (word.starts_with(b"-D") || word.starts_with(b"-U"))
}

fn language_of(input: &Input, default: Option<Language>) -> Result<Language, Reason> {
    let explicit = input.explicit_language.as_ref().map(|name| name.to_string_lossy());
    let suffix = input.path.extension().unwrap_or_default().to_string_lossy();
    match explicit.as_deref() {
        Some("c" | "c-header") => Ok(Language::C),
        Some("c++" | "c++-header") => Ok(Language::Cpp),
        Some(_) => Err(unsupported_language(&input.path)),
        None if suffix == "c" => Ok(default.unwrap_or(Language::C)),
        None if CPP_SUFFIXES.contains(&&*suffix) => Ok(Language::Cpp),
        None if suffix == "h" => Ok(default.unwrap_or(Language::C)),
        None if HEADER_SUFFIXES.contains(&&*suffix) => Ok(Language::Cpp),
        None => Err(unsupported_language(&input.path)),
    }
}

/// Whether an input is a header, which is precompiled even without `-c`.
fn is_header(input: &Input) -> bool {
    match &input.explicit_language {
        Some(name) => name == "c-header" || name == "c++-header",
        None => HEADER_SUFFIXES
            .contains(&&*input.path.extension().unwrap_or_default().to_string_lossy()),
    }
}

fn unsupported_language(path: &Path) -> Reason {
    let text = format!("{} is in no language that is cached", path.display());
    Reason::new(Counter::UnsupportedSourceLanguage, text)
}

fn check_input(path: &Path, cwd: &Path) -> Result<(), Reason> {
    match fs::metadata(cwd.join(path)) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => {
            let text = format!("{} is no regular file", path.display());
            Err(Reason::new(Counter::BadInputFile, text))
        }
        Err(error) => {
            let text = format!("{} cannot be read: {error}", path.display());
            Err(Reason::new(Counter::NoInputFile, text))
        }
    }
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

/// The output in the working directory that the input's name leads to.
fn default_output(input: &Path, suffix: &str) -> PathBuf {
    derived_name(input, suffix).into()
}

/// The last component with another suffix. Both compilers cut at the last dot, even where it is the
/// first byte: the dependency file of `-o .hidden` is `.d`.
fn derived_name(path: &Path, suffix: &str) -> OsString {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let stem = name.iter().rposition(|&byte| byte == b'.').map_or(name, |dot| &name[..dot]);
    OsString::from_vec([stem, b".", suffix.as_bytes()].concat())
}
