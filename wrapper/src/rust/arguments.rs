//! The command line of rustc.
//!
//! 1. Words count with their boundaries and in their order; what is written in two ways (`-C x`,
//!    `-Cx`, `--codegen=x`) counts in one.
//! 2. What names a place of outputs (`--out-dir`, `-o`) or a place where dependencies are searched
//!    (`-L dependency=`) does not count as text.
//! 3. Externs count by name and modifiers, and by the contents of their files; see [`Extern`].
//! 4. An argument that no table has makes the call uncached, and so does one that is not UTF-8.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::options::{self, CODEGEN, Class, OPTIONS, Row, UNSTABLE, Value};
use crate::outcome::{Counter, Reason};

/// What `--crate-type` can say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CrateType {
    /// A program.
    Bin,
    /// `lib` and `rlib`.
    Rlib,
    /// A shared library for Rust.
    Dylib,
    /// A shared library for C.
    Cdylib,
    /// An archive for C.
    Staticlib,
    /// A plugin of the compiler.
    ProcMacro,
}

impl CrateType {
    fn of(name: &str) -> Option<CrateType> {
        Some(match name {
            "bin" => CrateType::Bin,
            "lib" | "rlib" => CrateType::Rlib,
            "dylib" => CrateType::Dylib,
            "cdylib" => CrateType::Cdylib,
            "staticlib" => CrateType::Staticlib,
            "proc-macro" => CrateType::ProcMacro,
            _ => return None,
        })
    }

    /// The inverse of [`CrateType::of`].
    pub fn name(self) -> &'static str {
        match self {
            CrateType::Bin => "bin",
            CrateType::Rlib => "rlib",
            CrateType::Dylib => "dylib",
            CrateType::Cdylib => "cdylib",
            CrateType::Staticlib => "staticlib",
            CrateType::ProcMacro => "proc-macro",
        }
    }

    /// Whether a linker makes it.
    pub fn is_linked(self) -> bool {
        !matches!(self, CrateType::Rlib | CrateType::Staticlib)
    }
}

/// What `--emit` can ask for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
pub enum Emit {
    Asm,
    DepInfo,
    Link,
    LlvmBitcode,
    LlvmIr,
    Metadata,
    Mir,
    Object,
}

impl Emit {
    /// As the option and the notifications name it.
    pub fn of(name: &str) -> Option<Emit> {
        Some(match name {
            "asm" => Emit::Asm,
            "dep-info" => Emit::DepInfo,
            "link" => Emit::Link,
            "llvm-bc" => Emit::LlvmBitcode,
            "llvm-ir" => Emit::LlvmIr,
            "metadata" => Emit::Metadata,
            "mir" => Emit::Mir,
            "obj" => Emit::Object,
            _ => return None,
        })
    }

    /// The inverse of [`Emit::of`].
    pub fn name(self) -> &'static str {
        match self {
            Emit::Asm => "asm",
            Emit::DepInfo => "dep-info",
            Emit::Link => "link",
            Emit::LlvmBitcode => "llvm-bc",
            Emit::LlvmIr => "llvm-ir",
            Emit::Metadata => "metadata",
            Emit::Mir => "mir",
            Emit::Object => "obj",
        }
    }
}

/// `--extern [MODIFIERS:]NAME[=PATH]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extern {
    /// `priv`, `noprelude` and the like, as they are written.
    pub modifiers: String,
    /// What the crate is called here.
    pub name: String,
    /// Its file; `None` if it is searched for.
    pub path: Option<PathBuf>,
}

/// `-L [KIND=]PATH`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SearchPath {
    /// `dependency`, `crate`, `native`, `framework` or `all`.
    pub kind: String,
    /// The directory.
    pub path: PathBuf,
}

/// `-l [KIND[:MODIFIERS]=]NAME[:RENAME]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NativeLibrary {
    /// `static`, `dylib`, `framework`; empty if the source tells, or `dylib` if it does not.
    pub kind: String,
    /// As they are written, with their signs.
    pub modifiers: String,
    /// The library.
    pub name: String,
}

/// A call of rustc that makes something.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Crate {
    /// The root of its sources.
    pub source: PathBuf,
    /// `--crate-name`, in which `-` never stands.
    pub name: String,
    /// Each once; `bin` if the command line names none.
    pub types: Vec<CrateType>,
    /// `--test`.
    pub is_test: bool,
    /// What is made, and where that is named by itself.
    pub emit: Vec<(Emit, Option<PathBuf>)>,
    /// `--out-dir`.
    pub out_dir: Option<PathBuf>,
    /// `-o`.
    pub output: Option<PathBuf>,
    /// `-C extra-filename`.
    pub extra_filename: String,
    /// In the order of the command line.
    pub externs: Vec<Extern>,
    /// In the order of the command line.
    pub search_paths: Vec<SearchPath>,
    /// In the order of the command line.
    pub native_libraries: Vec<NativeLibrary>,
    /// Files whose contents count: a target's description, a profile.
    pub named_files: Vec<PathBuf>,
    /// `--target`.
    pub target: Option<String>,
    /// `--remap-path-prefix`, in order.
    pub remaps: Vec<(String, String)>,
    /// `--json` asks for artifact notifications.
    pub notifies: bool,
    /// `-C target-cpu=native`.
    pub is_native: bool,
    /// `-C split-debuginfo`.
    pub split_debuginfo: Option<String>,
    /// What counts for the result as text.
    pub key_words: Vec<String>,
    /// What counts if anything is said.
    pub message_words: Vec<String>,
    /// What matters to a linker; it counts as text for all, because rustc may note it in metadata.
    pub link_words: Vec<String>,
}

impl Crate {
    /// Whether the libraries behind it go into what is made.
    pub fn bundles(&self) -> bool {
        let links = self.emit.iter().any(|(emit, _)| *emit == Emit::Link);
        links && self.types.contains(&CrateType::Staticlib)
    }
}

/// Understands the arguments of rustc.
///
/// # Errors
/// Why the call is not cached.
pub fn parse(arguments: &[OsString]) -> Result<Crate, Reason> {
    let mut words = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let text = argument
            .to_str()
            .ok_or_else(|| unsupported(&format!("{} is not UTF-8", argument.display())))?;
        if text.starts_with('@') {
            return Err(unsupported(&format!("{text} takes arguments from a file")));
        }
        words.push(text);
    }
    let mut parser = Parser::default();
    let mut rest = words.as_slice();
    while let [word, tail @ ..] = rest {
        rest =
            if is_option(word) { parser.option(word, tail)? } else { parser.input(word, tail)? };
    }
    parser.finish()
}

/// The arguments without those that say what is made.
pub fn without_emit(arguments: &[OsString]) -> Vec<OsString> {
    let mut kept = Vec::with_capacity(arguments.len());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--emit" {
            rest.next();
        } else if !argument.as_encoded_bytes().starts_with(b"--emit=") {
            kept.push(argument.clone());
        }
    }
    kept
}

/// `-` alone is stdin.
fn is_option(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

#[derive(Default)]
struct Parser {
    made: Crate,
    inputs: Vec<PathBuf>,
    cfgs: Vec<String>,
    names_crate: bool,
}

impl Parser {
    fn input<'a>(&mut self, word: &str, tail: &'a [&'a str]) -> Result<&'a [&'a str], Reason> {
        self.inputs.push(word.into());
        Ok(tail)
    }

    /// Takes one option, and its value where that is the next word.
    fn option<'a>(&mut self, word: &str, tail: &'a [&'a str]) -> Result<&'a [&'a str], Reason> {
        let (name, joined) = split(word);
        let row = options::find(OPTIONS, name)
            .ok_or_else(|| unsupported(&format!("{word} is not known")))?;
        match (row.value, joined, tail) {
            (Value::None, None, _) => {
                self.take(row, name, "")?;
                Ok(tail)
            }
            (Value::None, Some(_), _) => Err(unsupported(&format!("{word} is not known"))),
            (Value::Required, Some(value), _) => {
                self.take(row, name, value)?;
                Ok(tail)
            }
            (Value::Required, None, [value, rest @ ..]) => {
                self.take(row, name, value)?;
                Ok(rest)
            }
            (Value::Required, None, []) => Err(bad(&format!("{word} lacks its value"))),
        }
    }

    fn take(&mut self, row: &Row, name: &str, value: &str) -> Result<(), Reason> {
        let made = &mut self.made;
        match row.class {
            Class::Keyed => made.key_words.extend([name.to_owned(), value.to_owned()]),
            Class::Messages => made.message_word(name, value)?,
            Class::Json => made.json(name, value),
            Class::Cfg => self.cfgs.push(value.to_owned()),
            Class::CrateName => {
                refuse_second(self.names_crate, name)?;
                self.names_crate = true;
                made.name = value.to_owned();
            }
            Class::CrateType => self.crate_types(value)?,
            Class::Emit => self.emit(value)?,
            Class::Extern => self.made.externs.push(external(value)?),
            Class::SearchPath => made.search_paths.push(search_path(value)?),
            Class::NativeLibrary => {
                let library = native_library(value);
                if library.modifiers.contains("+verbatim") {
                    return Err(unsupported(&format!("-l {value} may be a file of any name")));
                }
                made.key_words.extend([name.to_owned(), value.to_owned()]);
                made.native_libraries.push(library);
            }
            Class::Output => made.output = Some(value.into()),
            Class::OutDir => {
                refuse_second(made.out_dir.is_some(), name)?;
                made.out_dir = Some(value.into());
            }
            Class::Test => {
                refuse_second(made.is_test, name)?;
                made.is_test = true;
            }
            Class::Target => {
                // The name of a description shows in the paths of the target's own libraries.
                made.key_words.extend([name.to_owned(), value.to_owned()]);
                made.target = Some(value.to_owned());
                if value.ends_with(".json") {
                    made.named_files.push(value.into());
                }
            }
            Class::RemapPathPrefix => {
                let (from, to) = value
                    .rsplit_once('=')
                    .ok_or_else(|| bad(&format!("{name} {value} lacks a =")))?;
                made.key_words.extend([name.to_owned(), value.to_owned()]);
                made.remaps.push((from.to_owned(), to.to_owned()));
            }
            Class::Sysroot => return Err(unsupported("--sysroot names another toolchain")),
            Class::Codegen => return self.codegen(value),
            Class::Unstable => {
                let (option, _) = value.split_once('=').unwrap_or((value, ""));
                let known = options::find(UNSTABLE, &option.replace('_', "-"));
                known.ok_or_else(|| unsupported(&format!("-Z {value} is not known")))?;
                made.key_words.extend(["-Z".to_owned(), value.to_owned()]);
            }
            Class::Uncached(counter, why) => {
                return Err(Reason::new(counter, format!("{name} {why}")));
            }
            Class::ExtraFilename
            | Class::NamedFile
            | Class::TargetCpu
            | Class::SplitDebuginfo
            | Class::Link => return Err(unsupported(&format!("{name} is not handled"))),
        }
        Ok(())
    }

    fn codegen(&mut self, option: &str) -> Result<(), Reason> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let name = name.replace('_', "-");
        let row = options::find(CODEGEN, &name)
            .ok_or_else(|| unsupported(&format!("-C {name} is not known")))?;
        let made = &mut self.made;
        let written = [String::from("-C"), format!("{name}={value}")];
        match row.class {
            Class::ExtraFilename => {
                made.extra_filename = value.to_owned();
                // It is part of the name under which a linked crate is found.
                made.key_words.extend(written);
            }
            Class::NamedFile => {
                made.named_files.push(value.into());
                made.key_words.extend(written);
            }
            Class::TargetCpu => {
                made.is_native = value == "native";
                made.key_words.extend(written);
            }
            Class::SplitDebuginfo => {
                made.split_debuginfo = Some(value.to_owned());
                made.key_words.extend(written);
            }
            Class::Link => {
                made.link_words.extend(written.clone());
                made.key_words.extend(written);
            }
            Class::Uncached(counter, why) => {
                return Err(Reason::new(counter, format!("-C {name} {why}")));
            }
            _ => made.key_words.extend(written),
        }
        Ok(())
    }

    fn crate_types(&mut self, value: &str) -> Result<(), Reason> {
        for name in value.split(',') {
            let kind = CrateType::of(name)
                .ok_or_else(|| unsupported(&format!("--crate-type {name} is not known")))?;
            if !self.made.types.contains(&kind) {
                self.made.types.push(kind);
            }
        }
        Ok(())
    }

    fn emit(&mut self, value: &str) -> Result<(), Reason> {
        for part in value.split(',') {
            let (name, path) = match part.split_once('=') {
                Some((name, path)) => (name, Some(PathBuf::from(path))),
                None => (part, None),
            };
            let emit = Emit::of(name)
                .ok_or_else(|| unsupported(&format!("--emit {name} is not handled")))?;
            if path.as_deref() == Some(Path::new("-")) {
                return Err(Reason::new(
                    Counter::OutputToStdout,
                    format!("--emit {part} goes to stdout"),
                ));
            }
            // The last one counts, as rustc has it.
            self.made.emit.retain(|(known, _)| *known != emit);
            self.made.emit.push((emit, path));
        }
        Ok(())
    }

    fn finish(self) -> Result<Crate, Reason> {
        let Parser { mut made, inputs, mut cfgs, names_crate } = self;
        let [source] = <[PathBuf; 1]>::try_from(inputs).map_err(|inputs| match inputs.len() {
            0 => Reason::new(Counter::NoInputFile, "no source is given"),
            _ => Reason::new(Counter::MultipleSourceFiles, "several sources are given"),
        })?;
        if source == Path::new("-") {
            return Err(Reason::new(Counter::UnsupportedSourceLanguage, "the source is stdin"));
        }
        // Its default comes from an attribute of the source.
        if !names_crate {
            return Err(unsupported("--crate-name is missing"));
        }
        if made.output.is_some() {
            return Err(unsupported("-o names a single output"));
        }
        if made.output.is_none() && made.out_dir.is_none() {
            return Err(unsupported("--out-dir is missing"));
        }
        if made.types.is_empty() {
            // An attribute of the source may say otherwise, unless it is a test harness.
            if !made.is_test {
                return Err(unsupported("--crate-type is missing"));
            }
            made.types.push(CrateType::Bin);
        }
        if made.emit.is_empty() {
            made.emit.push((Emit::Link, None));
        }
        made.emit.sort();
        check_emit(&made)?;
        // A lint lists them as they stand.
        made.message_words.extend(cfgs.iter().map(|cfg| format!("--cfg={cfg}")));
        cfgs.sort();
        cfgs.dedup();
        for cfg in cfgs {
            made.key_words.extend(["--cfg".to_owned(), cfg]);
        }
        made.source = source;
        Ok(made)
    }
}

/// Refuses outputs whose names are not certain.
fn check_emit(made: &Crate) -> Result<(), Reason> {
    let is_more = |word: &String| word.strip_prefix("codegen-units=").is_some_and(|it| it != "1");
    let is_split = made.key_words.iter().any(is_more);
    for (emit, path) in &made.emit {
        let is_of_units =
            matches!(emit, Emit::Asm | Emit::LlvmBitcode | Emit::LlvmIr | Emit::Object);
        if is_of_units && is_split {
            let text = format!("--emit {} makes a file for each codegen unit", emit.name());
            return Err(unsupported(&text));
        }
        if *emit == Emit::Link && path.is_some() && made.types.len() > 1 {
            return Err(unsupported("--emit link names one file for several crate types"));
        }
    }
    Ok(())
}

/// An option's name, and the value that is joined to it.
fn split(word: &str) -> (&str, Option<&str>) {
    if word.starts_with("--") {
        return match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
    }
    // A short option is one letter.
    let end = word[1..].chars().next().map_or(1, |letter| 1 + letter.len_utf8());
    let (name, value) = word.split_at(end);
    (name, (!value.is_empty()).then_some(value))
}

/// An option that rustc takes once.
fn refuse_second(is_there: bool, name: &str) -> Result<(), Reason> {
    match is_there {
        true => Err(bad(&format!("{name} is given twice"))),
        false => Ok(()),
    }
}

fn external(value: &str) -> Result<Extern, Reason> {
    let (name, path) = match value.split_once('=') {
        Some((name, path)) => (name, Some(PathBuf::from(path))),
        None => (value, None),
    };
    if path.as_deref().is_some_and(|path| !is_named_as_crate(path)) {
        return Err(bad(&format!("--extern {value} names no crate")));
    }
    let (modifiers, name) = name.rsplit_once(':').unwrap_or(("", name));
    Ok(Extern { modifiers: modifiers.to_owned(), name: name.to_owned(), path })
}

/// Whether rustc takes a file for a crate; it goes by the name.
fn is_named_as_crate(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let endings = [".rlib", ".rmeta", DLL_SUFFIX];
    name.starts_with(DLL_PREFIX) && endings.iter().any(|ending| name.ends_with(ending))
}

fn search_path(value: &str) -> Result<SearchPath, Reason> {
    const KINDS: [&str; 5] = ["dependency", "crate", "native", "framework", "all"];
    let (kind, path) = match value.split_once('=') {
        Some((kind, path)) if KINDS.contains(&kind) => (kind, path),
        _ => ("all", value),
    };
    if path.is_empty() {
        return Err(bad("-L names no directory"));
    }
    Ok(SearchPath { kind: kind.to_owned(), path: path.into() })
}

impl Crate {
    /// Takes a word for the form of messages, if rustc does.
    fn message_word(&mut self, name: &str, value: &str) -> Result<(), Reason> {
        let is_valid = match name {
            "--color" => ["always", "auto", "never"].contains(&value),
            "--diagnostic-width" => value.parse::<u32>().is_ok(),
            "--error-format" => ["human", "json", "short"].contains(&value),
            _ => true,
        };
        if !is_valid || self.message_words.iter().any(|word| word == name) {
            return Err(unsupported(&format!("{name} {value} may be refused")));
        }
        self.message_words.extend([name.to_owned(), value.to_owned()]);
        Ok(())
    }

    fn json(&mut self, name: &str, value: &str) {
        let has = |wanted: &str| value.split(',').any(|part| part == wanted);
        self.notifies |= has("artifacts");
        // It reports what is silent without.
        if has("future-incompat") {
            self.key_words.extend([name.to_owned(), "future-incompat".to_owned()]);
        }
        self.message_words.extend([name.to_owned(), value.to_owned()]);
    }
}

fn native_library(value: &str) -> NativeLibrary {
    let (kind, name) = value.split_once('=').unwrap_or(("", value));
    let (kind, modifiers) = kind.split_once(':').unwrap_or((kind, ""));
    let name = name.split(':').next().unwrap_or_default();
    NativeLibrary { kind: kind.to_owned(), modifiers: modifiers.to_owned(), name: name.to_owned() }
}

fn unsupported(text: &str) -> Reason {
    Reason::new(Counter::UnsupportedCompilerOption, text)
}

fn bad(text: &str) -> Reason {
    Reason::new(Counter::BadCompilerArguments, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARGO: &str = "--crate-name p --edition=2024 src/lib.rs --error-format=json \
        --json=diagnostic-rendered-ansi,artifacts,future-incompat --crate-type lib \
        --emit=dep-info,metadata,link -C embed-bitcode=no -C debuginfo=2 --cfg b --cfg a \
        --check-cfg cfg(docsrs,test) -C metadata=de5 -C extra-filename=-f54 --out-dir /t/deps \
        -L dependency=/t/deps --extern itoa=/t/deps/libitoa-d6.rmeta \
        --extern priv,noprelude:serde=/t/deps/libserde-89.rmeta";

    fn try_parse(line: &str) -> Result<Crate, Reason> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words)
    }

    fn parsed(line: &str) -> Crate {
        try_parse(line).unwrap_or_else(|reason| panic!("{line}: {}", reason.text))
    }

    #[test]
    fn a_call_of_cargo_is_understood() {
        let made = parsed(CARGO);
        assert_eq!((made.name.as_str(), made.extra_filename.as_str()), ("p", "-f54"));
        assert_eq!(made.source, Path::new("src/lib.rs"));
        assert_eq!(
            (&made.types[..], made.is_test, made.notifies),
            (&[CrateType::Rlib][..], false, true)
        );
        let kinds: Vec<Emit> = made.emit.iter().map(|(emit, _)| *emit).collect();
        assert_eq!(kinds, [Emit::DepInfo, Emit::Link, Emit::Metadata]);
        let extern_of = |modifiers: &str, name: &str, path: &str| Extern {
            modifiers: modifiers.into(),
            name: name.into(),
            path: Some(path.into()),
        };
        let externs = [
            extern_of("", "itoa", "/t/deps/libitoa-d6.rmeta"),
            extern_of("priv,noprelude", "serde", "/t/deps/libserde-89.rmeta"),
        ];
        assert_eq!(made.externs, externs);
        assert_eq!(made.out_dir.as_deref(), Some(Path::new("/t/deps")));
    }

    #[test]
    fn what_is_written_in_another_way_counts_as_the_same() {
        let base = "--crate-name p a.rs --crate-type lib --out-dir o";
        for (one, other) in [
            ("-C opt-level=3", "-Copt_level=3"),
            ("-C opt-level=3", "--codegen=opt-level=3"),
            ("-C opt-level=3", "--codegen opt-level=3"),
            ("--cfg a --cfg b", "--cfg=b --cfg a --cfg a"),
            ("-D warnings", "-Dwarnings"),
            ("-L dependency=x", "-Ldependency=y"),
        ] {
            let words = |more: &str| parsed(&format!("{base} {more}")).key_words;
            assert_eq!(words(one), words(other), "{one} {other}");
        }
        let base = "--crate-name p a.rs --crate-type lib";
        let words = |more: &str| parsed(&format!("{base} {more}")).key_words;
        assert_eq!(words("--out-dir x"), words("--out-dir=y"));
    }

    #[test]
    fn what_makes_another_result_counts() {
        let base = "--crate-name p a.rs --crate-type lib --out-dir o";
        let words = |more: &str| parsed(&format!("{base} {more}")).key_words;
        let mut seen = std::collections::BTreeSet::new();
        for more in [
            "",
            "-C opt-level=3",
            "-C opt-level=2",
            "-C opt-level=2 -C opt-level=3",
            "-C opt-level=3 -C opt-level=2",
            "--cfg a",
            "--cfg ab",
            "--cfg a --cfg b",
            "--cfg feature=\"a\"",
            "-A x",
            "-W x",
            "-D x",
            "-F x",
            "-A xy",
            "--edition 2021",
            "--edition=2024",
            "-g",
            "-O",
            "-O -g",
            "-l static=n",
            "-l static:+whole-archive=n",
            "-l n",
            "-C metadata=a",
            "-C extra-filename=-a",
            "-C target-cpu=native",
            "-C relro-level=off",
            "-C link-arg=x",
            "--target t",
            "--remap-path-prefix a=b",
            "-Z threads=2",
        ] {
            assert!(seen.insert(words(more)), "{more}");
        }
        assert!(
            words("--diagnostic-width 80") == words("") && words("--color=always") == words("")
        );
        let messages = |more: &str| parsed(&format!("{base} {more}")).message_words;
        assert_ne!(messages("--diagnostic-width 80"), messages(""));
        assert_ne!(messages("--cfg a --cfg b"), messages("--cfg b --cfg a"));
    }

    #[test]
    fn what_cannot_be_cached_says_why() {
        let base = "--crate-name p a.rs --crate-type lib --out-dir o";
        for (more, counter, word) in [
            ("-C incremental=x", Counter::UnsupportedCompilerOption, "CARGO_INCREMENTAL"),
            ("-C save-temps", Counter::UnsupportedCompilerOption, "outputs"),
            ("-Z unheard-of", Counter::UnsupportedCompilerOption, "-Z unheard-of"),
            ("-C unheard-of=1", Counter::UnsupportedCompilerOption, "unheard-of"),
            ("--unheard-of", Counter::UnsupportedCompilerOption, "unheard-of"),
            ("-gO", Counter::UnsupportedCompilerOption, "-gO"),
            ("@file", Counter::UnsupportedCompilerOption, "file"),
            ("--print cfg", Counter::UnsupportedCompilerOption, "information"),
            ("-vV", Counter::UnsupportedCompilerOption, "-vV"),
            ("--emit=thin-link-bitcode", Counter::UnsupportedCompilerOption, "thin-link"),
            ("--emit=asm=-", Counter::OutputToStdout, "stdout"),
            ("-l static:+verbatim=x.o", Counter::UnsupportedCompilerOption, "any name"),
            ("-o x", Counter::UnsupportedCompilerOption, "-o"),
            ("--sysroot x", Counter::UnsupportedCompilerOption, "toolchain"),
            ("b.rs", Counter::MultipleSourceFiles, "several"),
            ("-C", Counter::BadCompilerArguments, "value"),
            ("--out-dir o", Counter::BadCompilerArguments, "twice"),
            ("--crate-name p", Counter::BadCompilerArguments, "twice"),
            ("--test --test", Counter::BadCompilerArguments, "twice"),
            ("-L dependency=", Counter::BadCompilerArguments, "no directory"),
            ("-L native=", Counter::BadCompilerArguments, "no directory"),
            ("--extern x=o/x.rlib", Counter::BadCompilerArguments, "no crate"),
            ("--extern x=o/libx.o", Counter::BadCompilerArguments, "no crate"),
        ] {
            let reason = try_parse(&format!("{base} {more}")).unwrap_err();
            assert_eq!(reason.counter, counter, "{more}: {}", reason.text);
            assert!(reason.text.contains(word), "{more}: {}", reason.text);
        }
        for (line, counter) in [
            ("--crate-name p --crate-type lib --out-dir o", Counter::NoInputFile),
            ("--crate-name p --crate-type lib --out-dir o -", Counter::UnsupportedSourceLanguage),
            ("a.rs --crate-type lib --out-dir o", Counter::UnsupportedCompilerOption),
            ("--crate-name p a.rs --out-dir o", Counter::UnsupportedCompilerOption),
            ("--crate-name p a.rs --crate-type lib", Counter::UnsupportedCompilerOption),
        ] {
            assert_eq!(try_parse(line).unwrap_err().counter, counter, "{line}");
        }
        assert_eq!(parsed("--crate-name p a.rs --test --out-dir o").types, [CrateType::Bin]);
    }

    #[test]
    fn libraries_and_their_places_are_read() {
        let line = "--crate-name p a.rs --crate-type staticlib,rlib --out-dir o -L native=/n \
                    -L /all=x -l static:+whole-archive,-bundle=nat:renamed -lz --extern alloc";
        let made = parsed(line);
        assert_eq!(made.types, [CrateType::Staticlib, CrateType::Rlib]);
        assert!(made.types.iter().all(|kind| !kind.is_linked()));
        let kinds: Vec<_> =
            made.search_paths.iter().map(|s| (s.kind.as_str(), s.path.to_str())).collect();
        assert_eq!(kinds, [("native", Some("/n")), ("all", Some("/all=x"))]);
        let natives: Vec<_> = made
            .native_libraries
            .iter()
            .map(|n| (n.kind.as_str(), n.modifiers.as_str(), n.name.as_str()))
            .collect();
        assert_eq!(natives, [("static", "+whole-archive,-bundle", "nat"), ("", "", "z")]);
        assert_eq!(made.externs[0].path, None);
    }
}
