//! The parser of command lines, driven by the tables of flags.
//!
//! 1. Response files are expanded.
//! 2. Each argument is an input, or is judged by its row; the words that belong to it go, together
//!    and in order, into the lists that the row's class names. The first refusal is kept.
//! 3. What was seen is turned into a [`Compile`]: one input in a known language, and outputs that
//!    are regular files or not there yet.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::dependencies::Dependencies;
use super::flag::{Class, DependencyFlag, Flag, find, value_of};
use super::outputs::{Naming, Purpose, Side, Sides, check_places};
use super::profile::{ProfileFlag, Profiles};
use super::words::{self, Part};
use super::{
    Compile, Depfile, Family, Language, ModuleFile, clang, common, gcc, is_header_suffix, modules,
    option_file, response, tools,
};
use crate::outcome::{Counter, Reason};

/// What follows `-fdiagnostics-color=` where the compiler itself is to decide.
const COLOR_AUTO: &str = "auto";

/// Suffixes of C++ sources, and those of C sources.
const CPP_SUFFIXES: [&str; 8] = ["C", "CPP", "c++", "cc", "cp", "cpp", "cxx", "C++"];

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

/// Words of a command line, each option with the words that belong to it.
pub fn split(family: Family, words: &[OsString]) -> Vec<&[OsString]> {
    let mut parts = Vec::new();
    let mut rest = words;
    while let [word, after @ ..] = rest {
        let bytes = word.as_bytes();
        let is_option = bytes.starts_with(b"-") && bytes != b"-";
        let flag = is_option.then(|| find(tables(family), bytes)).flatten();
        let length = flag.and_then(|flag| value_of(flag, rest).ok()).map_or(1, |(_, words)| words);
        let part;
        (part, rest) = rest.split_at_checked(length).unwrap_or((std::slice::from_ref(word), after));
        parts.push(part);
    }
    parts
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
    purpose: Option<Purpose>,
    sides: Sides,
    has_debug_information: bool,
    shows_directory: bool,
    color_is_explicit: bool,
    named_inputs: Vec<PathBuf>,
    module_files: Vec<ModuleFile>,
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
            Class::Purpose(purpose) => self.take_purpose(purpose, words),
            Class::Side(side) => self.take_side(side, &words[0], value),
            Class::OptimizationReport => self.take_report(&words[0], value),
            Class::Object => self.take_object(&words[0], value),
            Class::Language => self.take_language(value),
            Class::Dependency(kind) => self.take_dependency(kind, words, value),
            Class::DebugOn => self.take_debug(true),
            Class::DebugOff => self.take_debug(false),
            Class::ShowsDirectory => self.take_directory(),
            Class::Color => self.take_color(value),
            Class::NamedFile => self.take_named_file(value),
            Class::ModuleFile => self.take_module_file(value),
            Class::ModuleMap => self.take_module_map(value),
            Class::ToolPrefix => self.take_tool_prefix(value, cwd),
            Class::Inner(known) => self.take_inner(known, &words[0], value),
            Class::Listing => self.refuse(
                Counter::UnsupportedCompilerOption,
                &words[0],
                "is not known to the driver",
            ),
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

    fn take_purpose(&mut self, purpose: Purpose, words: &[OsString]) -> Into {
        if self.purpose.is_none() {
            self.preprocess.push("-E".into());
        }
        let kinds = [self.purpose.unwrap_or(purpose), purpose];
        let has = |kind| kinds.contains(&kind);
        let differs = has(Purpose::Module) && kinds[0] != kinds[1];
        if differs || has(Purpose::Analysis) && has(Purpose::Messages) {
            self.refuse(Counter::UnsupportedCompilerOption, &words[0], "asks for a second purpose");
        }
        self.purpose = kinds.into_iter().max();
        KEYS_ONLY
    }

    fn take_side(&mut self, side: Side, option: &OsStr, value: &OsStr) -> Into {
        if matches!(side, Side::SplitDwarf | Side::SingleDwarf) {
            self.has_debug_information = true;
        }
        match self.sides.take(side, value) {
            Some(()) => KEYS_ONLY,
            None => self.refuse(
                Counter::UnsupportedCompilerOption,
                option,
                "asks for a file in place of another",
            ),
        }
    }

    fn take_report(&mut self, option: &OsStr, value: &OsStr) -> Into {
        let mut parts = value.as_bytes().splitn(2, |&byte| byte == b'=');
        match parts.nth(1) {
            None | Some(b"stdout" | b"stderr" | b"-") => KEYS_ONLY,
            Some(_) => {
                let why = "appends to a file";
                self.refuse(Counter::UnsupportedCompilerOption, option, why)
            }
        }
    }

    /// The last of several would win, but gcc refuses them where it is to list dependencies, as
    /// larder may ask it to.
    fn take_object(&mut self, option: &OsStr, value: &OsStr) -> Into {
        if self.object.replace(value.into()).is_some() {
            return self.refuse(Counter::UnsupportedCompilerOption, option, "stands there twice");
        }
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

    fn take_module_file(&mut self, value: &OsStr) -> Into {
        let file = ModuleFile::of(value);
        self.shows_directory = true;
        self.named_inputs.push(file.path.clone());
        self.module_files.push(file);
        EVERYWHERE
    }

    fn take_module_map(&mut self, value: &OsStr) -> Into {
        self.named_inputs.extend(modules::maps(Path::new(value)));
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
    /// contents count.
    fn take_tool_prefix(&mut self, value: &OsStr, cwd: &Path) -> Into {
        for tool in tools::at(value, cwd) {
            if !self.named_inputs.contains(&tool) {
                self.named_inputs.push(tool);
            }
        }
        EVERYWHERE
    }

    fn take_inner(&mut self, known: &[&str], option: &OsStr, word: &OsStr) -> Into {
        if known.iter().any(|known| word == *known) {
            return EVERYWHERE;
        }
        let why = format!("passes on {}, which is not known to be harmless", word.display());
        self.refuse(Counter::UnsupportedCompilerOption, option, &why)
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
        if part == Part::Assembler
            && !option.as_bytes().starts_with(b"-W")
            && words[0].starts_with(b"-a")
        {
            let why = "asks for a listing in a way that is not handled";
            return self.refuse(Counter::UnsupportedCompilerOption, option, why);
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
                    self.take_listings(&effects.listings);
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

    fn take_listings(&mut self, listings: &[OsString]) {
        for listing in listings {
            if self.sides.take_listing(listing.as_bytes()).is_none() {
                let why = "is a listing that is not known to be repeatable";
                self.refuse(Counter::UnsupportedCompilerOption, listing, why);
            }
        }
    }

    fn take_dependency(&mut self, kind: DependencyFlag, words: &[OsString], value: &OsStr) -> Into {
        self.dependencies.take(kind, words, value);
        NOWHERE
    }

    fn finish(
        mut self,
        family: Family,
        mut arguments: Vec<OsString>,
        cwd: &Path,
    ) -> Result<Compile, Reason> {
        self.take_all_words(family);
        self.check_debug_information(family)?;
        let purpose = self.check_purpose()?;
        let input = self.only_input()?;
        let language = language_of(&input, family, self.default_language)?;
        check_input(&input.path, cwd)?;
        let uses_modules = !self.module_files.is_empty();
        modules::check(family, language, purpose, &self.sides, uses_modules)?;
        let is_named = self.object.is_some();
        let main = match self.object.take() {
            Some(main) => main,
            None if purpose == Purpose::Precompiled => self.default_precompiled(family, &input)?,
            None => Naming::default_main(&input.path, purpose),
        };
        let input = input.path;
        let depfile = self.dependency_file(purpose, language, &main, is_named)?;
        self.take_precompiling(family, purpose, language)?;
        if self.shows_object(family, purpose) {
            self.shows_directory = true;
            self.put(&["-o".into(), main.clone().into()], KEYS_ONLY);
        }
        self.take_profiles(purpose, &main, cwd)?;
        let naming = Naming { family, language, purpose, input: &input, main: &main, is_named };
        let outputs = naming.outputs(self.sides)?;
        check_places(&input, &outputs, depfile.as_ref(), cwd)?;
        arguments.append(&mut self.handed_on);
        let native = if self.is_native { machine_options(&self.key) } else { Vec::new() };
        Ok(Compile {
            family,
            language,
            purpose,
            input,
            arguments,
            key_arguments: self.key,
            preprocess_arguments: self.preprocess,
            key_arguments_after_preprocessing: self.key_after_preprocessing,
            cwd_matters: self.has_debug_information || self.shows_directory,
            color_is_explicit: self.color_is_explicit,
            depfile,
            outputs,
            named_inputs: self.named_inputs,
            times_matter: self.times_matter,
            module_files: self.module_files,
            native,
        })
    }

    /// The dependency file; none where the preprocessor does not run. There clang says which of the
    /// options it does not use.
    fn dependency_file(
        &mut self,
        purpose: Purpose,
        language: Language,
        main: &Path,
        is_named: bool,
    ) -> Result<Option<Depfile>, Reason> {
        let mut dependencies = std::mem::take(&mut self.dependencies);
        let refuse = |text| Err(Reason::new(Counter::UnsupportedCompilerOption, text));
        if language.is_read_alone() {
            if !dependencies.by_preprocessor_words.is_empty() {
                return refuse("dependencies of preprocessed text are asked for with -Wp");
            }
            self.put(&std::mem::take(&mut dependencies.words), KEYS_ONLY);
            return Ok(None);
        }
        let is_derived =
            dependencies.file.is_none() && dependencies.by_preprocessor_words.is_empty();
        let depfile = dependencies.finish(main)?;
        // gcc derives it from the name of an executable that it does not make.
        if depfile.is_some() && is_derived && !is_named && purpose == Purpose::Messages {
            return refuse("the name of the dependency file is in doubt");
        }
        Ok(depfile)
    }

    /// A link is called a link also where an option that larder does not handle stands in it, as
    /// long as nothing else than an option is in the way.
    fn check_purpose(&mut self) -> Result<Purpose, Reason> {
        let refusal = self.refusal.take();
        let is_link = self.purpose.is_none() && self.inputs.iter().any(|input| !is_header(input));
        match (refusal, self.purpose) {
            (Some(reason), _)
                if is_link && reason.counter == Counter::UnsupportedCompilerOption =>
            {
                Err(self.link())
            }
            (Some(reason), _) => Err(reason),
            (None, None) if is_link => Err(self.link()),
            (None, purpose) => self.precompiling(purpose.unwrap_or(Purpose::Object)),
        }
    }

    /// The purpose, where headers and an option may make another of it.
    fn precompiling(&self, purpose: Purpose) -> Result<Purpose, Reason> {
        match (self.precompiles || self.inputs.iter().any(is_header), purpose) {
            (true, Purpose::Object) => Ok(Purpose::Precompiled),
            (true, _) => {
                let text = "a header is precompiled, and something else is asked for";
                Err(Reason::new(Counter::CouldNotUsePrecompiledHeader, text))
            }
            (false, purpose) => Ok(purpose),
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

    /// Only headers are precompiled; clang keeps their times in what it makes.
    fn take_precompiling(
        &mut self,
        family: Family,
        purpose: Purpose,
        language: Language,
    ) -> Result<(), Reason> {
        if purpose != Purpose::Precompiled {
            return Ok(());
        }
        if !matches!(language, Language::C | Language::Cpp) {
            let text = "something else than a header is precompiled";
            return Err(Reason::new(Counter::CouldNotUsePrecompiledHeader, text));
        }
        let has_times = !self.handed_on.iter().any(|word| word == "-fno-pch-timestamp");
        self.times_matter |= family == Family::Clang && has_times;
        Ok(())
    }

    /// Whether the path of the main output is visible in it.
    fn shows_object(&self, family: Family, purpose: Purpose) -> bool {
        matches!(purpose, Purpose::Precompiled | Purpose::Module)
            || self.sides.name_the_output(family)
            || self.profiles.follow_object()
    }

    /// CodeView holds the command line, with what larder adds to it, and names the object.
    fn check_debug_information(&self, family: Family) -> Result<(), Reason> {
        let has = |word: &OsString, name: &str| {
            word.as_bytes().windows(name.len()).any(|part| part == name.as_bytes())
        };
        let is_target = |word: &&OsString| {
            ["msvc", "win32", "windows", "uefi"].iter().any(|name| has(word, name))
                && !has(word, "-gnu")
        };
        match self.key.iter().find(is_target) {
            Some(word) if family == Family::Clang && self.has_debug_information => {
                let why = "may have debug information that records the command line";
                Err(refused(Counter::UnsupportedCompilerOption, word, why))
            }
            _ => Ok(()),
        }
    }

    /// Only for objects is it known from which name that of a profile is made.
    fn take_profiles(&mut self, purpose: Purpose, main: &Path, cwd: &Path) -> Result<(), Reason> {
        if self.profiles.follow_object() && purpose != Purpose::Object {
            let text = "the name of the profile is in doubt";
            return Err(Reason::new(Counter::UnsupportedCompilerOption, text));
        }
        let profiles = std::mem::take(&mut self.profiles);
        self.named_inputs.extend(profiles.files(main, cwd));
        Ok(())
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

fn language_of(
    input: &Input,
    family: Family,
    default: Option<Language>,
) -> Result<Language, Reason> {
    let explicit = input.explicit_language.as_ref().map(|name| name.to_string_lossy());
    let suffix = input.path.extension().unwrap_or_default().to_string_lossy();
    let is_cpp = default == Some(Language::Cpp);
    match (explicit.as_deref(), &*suffix) {
        (Some("c-header"), _) => Ok(Language::C),
        (Some("c++-header"), _) => Ok(Language::Cpp),
        (Some(name), _) => Language::named(name).ok_or_else(|| unsupported_language(&input.path)),
        (None, "c") => Ok(default.unwrap_or(Language::C)),
        (None, "i") if is_cpp => Ok(Language::CppOutput),
        (None, "i") => Ok(Language::COutput),
        (None, "ii") => Ok(Language::CppOutput),
        (None, "s") => Ok(Language::Assembler),
        (None, "S") => Ok(Language::AssemblerWithCpp),
        // clang takes it for something to link.
        (None, "sx") if family == Family::Gcc => Ok(Language::AssemblerWithCpp),
        (None, suffix) if CPP_SUFFIXES.contains(&suffix) => Ok(Language::Cpp),
        (None, suffix) if family == Family::Clang && modules::SUFFIXES.contains(&suffix) => {
            Ok(Language::CppModule)
        }
        (None, "h") => Ok(default.unwrap_or(Language::C)),
        (None, suffix) if is_header_suffix(suffix.as_ref()) => Ok(Language::Cpp),
        (None, _) => Err(unsupported_language(&input.path)),
    }
}

/// Whether an input is a header, which is precompiled even without `-c`.
fn is_header(input: &Input) -> bool {
    match &input.explicit_language {
        Some(name) => name == "c-header" || name == "c++-header",
        None => is_header_suffix(input.path.extension().unwrap_or_default()),
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
