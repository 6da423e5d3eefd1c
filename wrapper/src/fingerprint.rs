//! Keys: what a result is a function of.
//!
//! The *direct key* leads to a manifest, the *preprocessed key* to a result by the text that the
//! preprocessor made, the *result key* (direct key, digests of all inputs, what the time macros
//! saw, terminal if there were messages) is where a result stands; the *failure key* (direct and
//! preprocessed key, and what a result key has) is where a failed compile does. Every field is
//! hashed with its name and its length, so that no two lists of fields give the same bytes. The
//! rows below are the rows of [`INPUTS`] and [`ENVIRONMENT`], in their order; a test compares them.
//!
//! | input | direct | preprocessed | why |
//! |---|---|---|---|
//! | scheme | yes | yes | keys of another version of these rules must not meet |
//! | namespace | yes | yes | results are shared only within one |
//! | leniency | yes | yes | `sloppiness`, `ignore_options`, `ignore_headers`, `hash_dir`, and whether there is a base directory: what one who asks for less may have is not for others |
//! | toolchain | yes | yes | contents of driver, compiler, assembler, libraries (see `identity`) |
//! | compiler path | yes | yes | the driver finds headers beside itself; its name selects a mode |
//! | family, language and purpose | yes | yes | decide how arguments are understood, and what is made |
//! | arguments | yes | no | everything that `compiler` does not call irrelevant, without `ignore_options`; paths in a base directory are relative to the working directory |
//! | arguments after preprocessing | no | yes | what still counts when the text is made |
//! | working directory | yes | yes | only where debug information, profiles or the like show it, and, for the direct key, where a relative path is searched; in a base directory (`place`), the direct key has only what the prefix maps leave of it; never without `hash_dir` |
//! | directories | yes | yes | only where the compiler warns about missing ones: which of those that options name are there |
//! | source | yes | no | digest of the input file |
//! | named files | yes | yes | digests of files that options name, or that there is none: lists, profiles, precompiled headers and modules of clang, specs |
//! | processor | yes | yes | what `native` stands for on this machine (see `identity::native`) |
//! | outputs | yes | yes | kinds and names of the files asked for |
//! | dependency file | yes | yes | target text, `-MP` and `-MMD` shape the stored file |
//! | text | no | yes | digest of the preprocessed text with its line markers, and of the code that it was made from |
//! | files read | no | yes | only with a dependency file: the names in it, which the text need not show |
//! | `LANG` | yes | yes | language of messages |
//! | `LANGUAGE` | yes | yes | language of messages |
//! | `LC_ALL` | yes | yes | language of messages, quotation marks |
//! | `LC_CTYPE` | yes | yes | quotation marks |
//! | `LC_MESSAGES` | yes | yes | language of messages |
//! | `LOCPATH` | yes | yes | where the languages are looked for |
//! | `OUTPUT_CHARSET` | yes | yes | encoding of translated messages |
//! | `CPATH` | yes | no | searched for headers |
//! | `C_INCLUDE_PATH` | yes | no | searched for headers |
//! | `CPLUS_INCLUDE_PATH` | yes | no | searched for headers |
//! | `OBJC_INCLUDE_PATH` | yes | no | searched for headers |
//! | `OBJCPLUS_INCLUDE_PATH` | yes | no | searched for headers |
//! | `GCC_EXEC_PREFIX` | yes | yes | moves the whole toolchain |
//! | `GCC_ROOT` | yes | yes | stands for the prefix of gcc's own directories |
//! | `G++_ROOT` | yes | yes | the same for those of C++ |
//! | `BINUTILS_ROOT` | yes | yes | the same for those of binutils |
//! | `GCC_EXTRA_DIAGNOSTIC_OUTPUT` | yes | yes | adds to the messages |
//! | `SOURCE_DATE_EPOCH` | yes | yes | the value of `__DATE__` and `__TIME__` |
//! | `CLANG_NO_DEFAULT_CONFIG` | yes | yes | clang leaves its configuration file out |
//! | `LLVM_OVERRIDE_PRODUCER` | yes | yes | clang writes it into bitcode |
//! | `SDKROOT` | yes | yes | clang searches it for headers |
//! | `PWD` | no | no | part of the row "working directory" if it leads there: compilers believe it then |
//! | `PATH` | no | no | part of the toolchain: decides which assembler is found |
//! | `COMPILER_PATH` | no | no | part of the toolchain |
//! | `LD_LIBRARY_PATH` | no | no | part of the toolchain: decides which libraries are loaded |
//! | `LD_PRELOAD` | no | no | part of the toolchain |
//! | `LD_AUDIT` | no | no | part of the toolchain |
//! | `TZ` | no | no | only what the time macros show counts, see `moment` |
//! | `GCC_COLORS` | no | no | counts only where there were messages, see [`messages_state`] |
//! | `GCC_URLS` | no | no | as `GCC_COLORS` |
//! | `TERM_URLS` | no | no | as `GCC_COLORS` |
//! | `TERM` | no | no | decides only whether colours are asked for |
//! | `TMPDIR` | no | no | names of temporary files reach no output |
//! | `LIBRARY_PATH` | no | no | searched by the linker only |
//! | `DEPENDENCIES_OUTPUT` | no | no | another output file: such a call is not cached, see [`unsupported_variable`] |
//! | `CCC_OVERRIDE_OPTIONS` | no | no | clang edits its arguments by it, which larder does not see: not cached |
//! | `AS_SECURE_LOG_FILE` | no | no | clang's assembler may append to it: not cached |
//! | `GCC_COMPARE_DEBUG` | no | no | compiles twice and compares: not cached |
//! | `RC_DEBUG_OPTIONS` | no | no | clang writes its arguments into debug information, the name of the object with them: not cached |
//! | umask | no | no | applied when an output is restored |
//! | paths of the outputs | no | no | where the result goes; where one is visible `compiler` puts it into the arguments |
//! | path of the dependency file | no | no | where the result goes |
//! | `MALLOC_*`, `GLIBC_TUNABLES`, limits, priority | no | no | change how the compiler runs, not what it makes |
//! | what is searched for headers and not there | no | no | part of the manifest, see [`absent`](crate::absent): a new header in an earlier directory, or one that `__has_include` asks for, is a miss |

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use larder_engine::Key;

use crate::compiler::{Compile, Family, Language};
use crate::config::Sloppiness;
use crate::digest::Digest;
use crate::manifest::Input;
use crate::place::{Place, prefix_map};

/// Raised whenever a rule of this module or of the argument tables changes.
const SCHEME: u32 = 4;

const DIRECT: u8 = 1;
const PREPROCESSED: u8 = 2;
const BOTH: u8 = DIRECT | PREPROCESSED;

/// What the keys of one compile are made of.
pub struct Facts<'a> {
    /// The configured namespace.
    pub namespace: &'a str,
    /// Identity of the toolchain.
    pub toolchain: &'a Digest,
    /// The compiler that would run.
    pub compiler: &'a Path,
    /// The call.
    pub compile: &'a Compile,
    /// The working directory.
    pub directory: &'a Path,
    /// The working directory among the base directories.
    pub place: Option<&'a Place>,
    /// What does not count.
    pub leniency: Leniency<'a>,
    /// Digest of the source; zeros until it is known, the preprocessed key has no use for it.
    pub source: Digest,
    /// Files named by options.
    pub named: &'a [Input],
    /// What `native` stands for, where it is said.
    pub native: Option<Digest>,
    /// The environment.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// What compilers call the working directory, if not by its real path (`place::other_name`).
    pub other_name: Option<OsString>,
}

/// What the user asks to be left out.
#[derive(Clone, Copy, Debug)]
pub struct Leniency<'a> {
    /// Whether the working directory counts where the result shows it.
    pub hash_dir: bool,
    /// What need not be right.
    pub sloppiness: Sloppiness,
    /// Options that do not count.
    pub ignore_options: &'a [OsString],
    /// Headers that do not count.
    pub ignore_headers: &'a [PathBuf],
}

/// What only the preprocessed key has.
pub struct Preprocessed<'a> {
    /// Digest of the text.
    pub text: &'a Digest,
    /// Every file that the preprocessor read, in its order.
    pub files: &'a [PathBuf],
}

/// One row of a key: its name, and what is hashed for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// As in the table of this module.
    pub name: String,
    /// Numbers have eight bytes, the least significant first; a list stands behind its length.
    pub fields: Vec<Vec<u8>>,
}

type Write = fn(&mut Fields, &Facts<'_>, Option<&Preprocessed<'_>>);

/// The rows of the table that are not environment variables: name, keys, and what is hashed.
const INPUTS: &[(&str, u8, Write)] = &[
    ("scheme", BOTH, |fields, _, _| fields.number(u64::from(SCHEME))),
    ("namespace", BOTH, |fields, facts, _| fields.bytes(facts.namespace.as_bytes())),
    ("leniency", BOTH, |fields, facts, _| {
        let leniency = &facts.leniency;
        fields.number(u64::from(leniency.hash_dir) | u64::from(facts.place.is_some()) << 1);
        fields.number(u64::from(leniency.sloppiness.bits()));
        fields.texts(leniency.ignore_options);
        fields.number(leniency.ignore_headers.len() as u64);
        leniency.ignore_headers.iter().for_each(|path| fields.text(path.as_os_str()));
    }),
    ("toolchain", BOTH, |fields, facts, _| fields.bytes(facts.toolchain)),
    ("compiler path", BOTH, |fields, facts, _| fields.text(facts.compiler.as_os_str())),
    ("family, language and purpose", BOTH, |fields, facts, _| {
        fields.number(facts.compile.family as u64);
        fields.number(facts.compile.language as u64);
        fields.number(facts.compile.purpose as u64);
    }),
    ("arguments", DIRECT, |fields, facts, _| {
        fields.words(facts.place, &facts.compile.key_arguments);
    }),
    ("arguments after preprocessing", PREPROCESSED, |fields, facts, _| {
        fields.texts(&facts.compile.key_arguments_after_preprocessing);
    }),
    ("working directory", BOTH, |fields, facts, preprocessed| match facts.place {
        Some(place) if preprocessed.is_none() => {
            fields.mapped(place, &facts.compile.arguments);
            if facts.compile.cwd_matters && facts.leniency.hash_dir {
                fields.variable(facts.other_name.clone());
            }
        }
        _ if !facts.leniency.hash_dir => {}
        _ if facts.compile.cwd_matters => {
            fields.text(facts.directory.as_os_str());
            fields.text(facts.other_name.as_deref().unwrap_or_default());
        }
        Some(place) => fields.text(place.directory().as_os_str()),
        None if preprocessed.is_none() && searches_relative_paths(facts) => {
            fields.text(facts.directory.as_os_str());
        }
        None => {}
    }),
    ("directories", BOTH, |fields, facts, _| {
        if has_option(facts.compile, &["-Wmissing-include-dirs", "-Weverything"]) {
            let are_there =
                searched_directories(facts.compile).map(|path| facts.directory.join(path).is_dir());
            are_there.for_each(|is_there| fields.number(u64::from(is_there)));
        }
    }),
    ("source", DIRECT, |fields, facts, _| fields.bytes(&facts.source)),
    ("named files", BOTH, |fields, facts, _| fields.inputs(facts.named)),
    ("processor", BOTH, |fields, facts, _| {
        facts.native.iter().for_each(|expansion| fields.bytes(expansion));
    }),
    ("outputs", BOTH, |fields, facts, _| {
        for output in &facts.compile.outputs {
            fields.number(output.kind as u64);
            fields.bytes(output.name.as_bytes());
        }
    }),
    ("dependency file", BOTH, |fields, facts, preprocessed| {
        if let Some(depfile) = &facts.compile.depfile {
            fields.number(u64::from(depfile.omits_system_headers));
            fields.number(u64::from(depfile.phony_targets));
            let place = facts.place.filter(|_| preprocessed.is_none());
            fields.words(place, &depfile.target_arguments);
        }
    }),
    ("text", PREPROCESSED, |fields, _, preprocessed| {
        preprocessed.iter().for_each(|preprocessed| fields.bytes(preprocessed.text));
    }),
    ("files read", PREPROCESSED, |fields, facts, preprocessed| {
        if facts.compile.depfile.is_some() {
            let files = preprocessed.iter().flat_map(|preprocessed| preprocessed.files);
            files.for_each(|file| fields.text(file.as_os_str()));
        }
    }),
];

/// The rows of the table that are environment variables.
const ENVIRONMENT: &[(&str, u8)] = &[
    ("LANG", BOTH),
    ("LANGUAGE", BOTH),
    ("LC_ALL", BOTH),
    ("LC_CTYPE", BOTH),
    ("LC_MESSAGES", BOTH),
    ("LOCPATH", BOTH),
    ("OUTPUT_CHARSET", BOTH),
    ("CPATH", DIRECT),
    ("C_INCLUDE_PATH", DIRECT),
    ("CPLUS_INCLUDE_PATH", DIRECT),
    ("OBJC_INCLUDE_PATH", DIRECT),
    ("OBJCPLUS_INCLUDE_PATH", DIRECT),
    ("GCC_EXEC_PREFIX", BOTH),
    ("GCC_ROOT", BOTH),
    ("G++_ROOT", BOTH),
    ("BINUTILS_ROOT", BOTH),
    ("GCC_EXTRA_DIAGNOSTIC_OUTPUT", BOTH),
    ("SOURCE_DATE_EPOCH", BOTH),
    ("CLANG_NO_DEFAULT_CONFIG", BOTH),
    ("LLVM_OVERRIDE_PRODUCER", BOTH),
    ("SDKROOT", BOTH),
];

/// Variables that only decide the language of messages.
const LOCALE_VARIABLES: &[&str] =
    &["LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LOCPATH", "OUTPUT_CHARSET"];

/// Variables that make the compiler do or write something else than the arguments say.
const UNSUPPORTED_VARIABLES: &[&str] = &[
    "AS_SECURE_LOG_FILE",
    "CCC_OVERRIDE_OPTIONS",
    "GCC_COMPARE_DEBUG",
    "DEPENDENCIES_OUTPUT",
    "SUNPRO_DEPENDENCIES",
    "CC_PRINT_OPTIONS",
    "CC_PRINT_HEADERS",
    "CC_LOG_DIAGNOSTICS",
    "CC_PRINT_PROC_STAT",
    "CC_PRINT_INTERNAL_STAT",
    // clang writes its arguments into debug information, the name of the object with them.
    "RC_DEBUG_OPTIONS",
];

/// A variable that is set and with which no call is cached.
pub fn unsupported_variable() -> Option<&'static str> {
    UNSUPPORTED_VARIABLES.iter().copied().find(|name| env::var_os(name).is_some())
}

/// Where the manifest of this call stands.
pub fn direct_key(facts: &Facts<'_>) -> Key {
    hash_rows("direct", DIRECT, facts, None)
}

/// The rows of the direct key, each with the fields that are hashed for it: two calls have the same
/// direct key if and only if these are equal. The texts of arguments and variables are in them.
pub fn direct_rows(facts: &Facts<'_>) -> Vec<Row> {
    let mut fields = Fields(To::Rows(Vec::new()));
    write_rows(&mut fields, DIRECT, facts, None);
    match fields.0 {
        To::Rows(rows) => rows,
        To::Key(_) => Vec::new(),
    }
}

/// The key of a call with a command line of another kind, which has these rows.
pub fn rows_key(kind: &str, rows: &[Row]) -> Key {
    let mut fields = Fields::new(kind);
    fields.number(u64::from(SCHEME));
    fields.number(rows.len() as u64);
    for row in rows {
        fields.row(&row.name);
        fields.number(row.fields.len() as u64);
        row.fields.iter().for_each(|field| fields.bytes(field));
    }
    fields.key()
}

/// Names and values of the variables that decide the language of messages, where they are set.
pub fn locale_variables() -> impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)> {
    let value = |name: &&str| {
        let value = env::var_os(name)?.into_vec();
        Some((name.as_bytes().to_vec(), Some(value)))
    };
    LOCALE_VARIABLES.iter().filter_map(value)
}

/// Whether a row stands for a variable that only decides the language of messages.
pub fn is_locale_variable(row: &str) -> bool {
    LOCALE_VARIABLES.contains(&row)
}

/// Whether a row stands for an environment variable.
pub fn is_variable(row: &str) -> bool {
    ENVIRONMENT.iter().any(|(name, _)| *name == row)
}

/// Where the alias of this call's result stands.
pub fn preprocessed_key(facts: &Facts<'_>, preprocessed: &Preprocessed<'_>) -> Key {
    hash_rows("preprocessed", PREPROCESSED, facts, Some(preprocessed))
}

/// Where a result stands.
pub fn result_key(direct: &Key, inputs: &[Input], moment: &Digest, messages: u64) -> Key {
    let mut fields = Fields::new("result");
    fields.bytes(direct.as_bytes());
    fields.inputs(inputs);
    fields.bytes(moment);
    fields.number(messages);
    fields.key()
}

/// Where a failed compile stands: `text` is its preprocessed key. Its messages show lines of all
/// inputs, and names and values that only the arguments have.
pub fn failure_key(
    direct: &Key,
    text: &Key,
    inputs: &[Input],
    moment: &Digest,
    messages: u64,
) -> Key {
    let mut fields = Fields::new("failure");
    fields.bytes(direct.as_bytes());
    fields.bytes(text.as_bytes());
    fields.inputs(inputs);
    fields.bytes(moment);
    fields.number(messages);
    fields.key()
}

/// Where it stands that there is a failure for a direct key.
pub fn failures_key(direct: &Key) -> Key {
    let mut fields = Fields::new("failures");
    fields.bytes(direct.as_bytes());
    fields.key()
}

/// What shapes messages beside the keys: whether larder asks for colours, and the variables that
/// say how colours and links look, which count also where the user asks for them; never 0.
pub fn messages_state(colored: bool, variable: impl Fn(&str) -> Option<OsString>) -> u64 {
    let mut fields = Fields::new("messages");
    fields.number(u64::from(colored));
    for name in ["GCC_COLORS", "GCC_URLS", "TERM_URLS"] {
        fields.variable(variable(name));
    }
    fields.state()
}

/// What a result is bound to that shows where it was made: the working directory and its other
/// name, and the messages if it has any; never 0.
pub fn place_state(place: &Place, messages: u64, other_name: Option<OsString>) -> u64 {
    let mut fields = Fields::new("place");
    fields.text(place.root().as_os_str());
    fields.text(place.directory().as_os_str());
    fields.variable(other_name);
    fields.number(messages);
    fields.state()
}

/// Where the toolchain of a driver is remembered; `choosing` are words that decide which one it
/// takes parts from.
pub fn toolchain_key(
    compile: &Compile,
    compiler: &Path,
    driver: &Digest,
    choosing: &[OsString],
) -> Key {
    let mut fields = Fields::new("toolchain");
    fields.number(u64::from(SCHEME));
    fields.number(compile.family as u64);
    fields.number(compile.language as u64);
    fields.number(u64::from(compile.splits_dwarf()));
    fields.text(compiler.as_os_str());
    fields.bytes(driver);
    fields.texts(choosing);
    // A word may name a directory that is searched from here.
    if !choosing.is_empty() {
        fields.text(env::current_dir().unwrap_or_default().as_os_str());
    }
    for name in TOOLCHAIN_VARIABLES {
        fields.variable(env::var_os(name));
    }
    fields.key()
}

/// Where the search path of a compiler is remembered; `arguments` are those that shape it.
pub fn search_key(
    compile: &Compile,
    compiler: &Path,
    toolchain: &Digest,
    arguments: &[OsString],
) -> Key {
    let mut fields = Fields::new("search");
    fields.number(u64::from(SCHEME));
    fields.number(compile.family as u64);
    fields.text(compiler.as_os_str());
    fields.bytes(toolchain);
    fields.texts(arguments);
    for name in SEARCHED_VARIABLES.iter().chain(TOOLCHAIN_VARIABLES) {
        fields.variable(env::var_os(name));
    }
    fields.key()
}

/// Where it is remembered what the headers in a precompiled one mention.
pub fn precompiled_key(precompiled: &Digest) -> Key {
    let mut fields = Fields::new("precompiled");
    fields.number(u64::from(SCHEME));
    fields.bytes(precompiled);
    fields.key()
}

/// Where it is remembered what the headers of a toolchain ask for, for one language.
pub fn asks_key(toolchain: &Digest, language: Language) -> Key {
    let mut fields = Fields::new("asks");
    fields.number(u64::from(SCHEME));
    fields.bytes(toolchain);
    fields.number(language as u64);
    fields.key()
}

/// Where it is remembered what a module file imports.
pub fn module_key(toolchain: &Digest, module: &Digest) -> Key {
    let mut fields = Fields::new("module");
    fields.number(u64::from(SCHEME));
    fields.bytes(toolchain);
    fields.bytes(module);
    fields.key()
}

/// Where the last accounts of sources are remembered that have such a name; `tail` is the last
/// two parts of their paths.
pub fn accounts_key(tail: &OsStr) -> Key {
    let mut fields = Fields::new("accounts");
    fields.text(tail);
    fields.key()
}

/// Where a text of this digest is kept, with `explain_sources`.
pub fn text_key(digest: &Digest) -> Key {
    let mut fields = Fields::new("text");
    fields.bytes(digest);
    fields.key()
}

/// Where it is remembered what `native` means.
pub fn native_key(
    toolchain: &Digest,
    compiler: &Path,
    options: &[OsString],
    processor: &Digest,
) -> Key {
    let mut fields = Fields::new("native");
    fields.number(u64::from(SCHEME));
    fields.bytes(toolchain);
    fields.text(compiler.as_os_str());
    fields.texts(options);
    fields.bytes(processor);
    fields.key()
}

/// Variables that decide which programs and libraries a driver uses.
pub const TOOLCHAIN_VARIABLES: &[&str] = &[
    "PATH",
    "COMPILER_PATH",
    "GCC_EXEC_PREFIX",
    "GCC_ROOT",
    "G++_ROOT",
    "BINUTILS_ROOT",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LD_AUDIT",
    "CLANG_NO_DEFAULT_CONFIG",
];

fn hash_rows(
    kind: &str,
    keys: u8,
    facts: &Facts<'_>,
    preprocessed: Option<&Preprocessed<'_>>,
) -> Key {
    let mut fields = Fields::new(kind);
    write_rows(&mut fields, keys, facts, preprocessed);
    fields.key()
}

fn write_rows(
    fields: &mut Fields,
    keys: u8,
    facts: &Facts<'_>,
    preprocessed: Option<&Preprocessed<'_>>,
) {
    for (name, row_keys, write) in INPUTS {
        if row_keys & keys != 0 {
            fields.row(name);
            write(fields, facts, preprocessed);
        }
    }
    let ignores_locale = facts.leniency.sloppiness.has(Sloppiness::LOCALE);
    for (name, row_keys) in ENVIRONMENT {
        if row_keys & keys != 0 && !(ignores_locale && LOCALE_VARIABLES.contains(name)) {
            fields.row(name);
            fields.variable((facts.variable)(name));
        }
    }
}

/// Whether headers are searched from the working directory, so that the same call may find others
/// elsewhere, even ones that were not there when the manifest was written.
fn searches_relative_paths(facts: &Facts<'_>) -> bool {
    // An empty entry is the working directory.
    let has_relative_entry = |name: &&str| {
        let value = (facts.variable)(name).unwrap_or_default();
        !value.is_empty() && env::split_paths(&value).any(|entry| !entry.is_absolute())
    };
    SEARCHED_VARIABLES.iter().any(has_relative_entry) || names_relative_paths(facts.compile)
}

/// Variables with directories in which headers are searched.
pub const SEARCHED_VARIABLES: &[&str] = &[
    "CPATH",
    "C_INCLUDE_PATH",
    "CPLUS_INCLUDE_PATH",
    "OBJC_INCLUDE_PATH",
    "OBJCPLUS_INCLUDE_PATH",
    "GCC_EXEC_PREFIX",
    "COMPILER_PATH",
    "SDKROOT",
];

/// The directories that options name for the search.
fn searched_directories(compile: &Compile) -> impl Iterator<Item = &Path> {
    const OPTIONS: &[&str] = &["-I", "-iquote", "-isystem", "-idirafter"];
    let arguments = compile.arguments.iter().enumerate();
    arguments.flat_map(move |(at, argument)| {
        OPTIONS.iter().filter_map(move |option| {
            match argument.as_bytes().strip_prefix(option.as_bytes())? {
                b"" => compile.arguments.get(at + 1).map(Path::new),
                path => Some(Path::new(OsStr::from_bytes(path))),
            }
        })
    })
}

fn names_relative_paths(compile: &Compile) -> bool {
    const OPTIONS: &[&str] = &[
        "-I",
        "-iquote",
        "-isystem",
        "-idirafter",
        "-include",
        "-imacros",
        "-iprefix",
        "-iwithprefix",
        "-iwithprefixbefore",
        "-isysroot",
        "--sysroot=",
        "--sysroot",
        "-B",
        "-F",
        "-c-isystem",
        "-cxx-isystem",
        "-iframework",
        "-stdlib++-isystem",
        "-resource-dir",
        "-resource-dir=",
        "--gcc-toolchain=",
        "--gcc-install-dir=",
    ];
    let relative = |path: &[u8]| !path.starts_with(b"/");
    let mut arguments = compile.arguments.iter().map(|argument| argument.as_bytes());
    let mut found = relative(compile.input.as_os_str().as_bytes());
    while let Some(argument) = arguments.next() {
        found |= OPTIONS.iter().any(|option| match argument.strip_prefix(option.as_bytes()) {
            Some(b"") => arguments.clone().next().is_some_and(relative),
            Some(path) => relative(path),
            None => false,
        });
    }
    found
}

/// Whether two calls with the same text and the same remaining arguments must give the same result.
///
/// The text keeps lines but not columns, and it has no comments. So it does not decide where
/// columns are visible (debug information, sanitizers, coverage, most outputs beside the object) or
/// where comments or macros are judged by the compiler itself.
pub fn text_decides(compile: &Compile) -> bool {
    if compile.precompiles() || !compile.module_files.is_empty() {
        return false;
    }
    let exceptions = ["-g0", "-fsanitize=none"];
    let visible = [
        "-g",
        "-fsanitize",
        "--coverage",
        "-coverage",
        "-fauto-profile",
        "-fbranch-probabilities",
        "-fcs-profile",
        "-fprofile",
        "-ftest-coverage",
        "-fcoverage-mapping",
        "-fdebug",
        "-frecord",
        "-imacros",
        "-save-temps",
        "-fopt-info",
        "-Rpass",
        "-fsave-optimization-record",
    ];
    let judged = ["-W", "-Wextra", "-Weverything", "-pedantic", "--pedantic", "-pedantic-errors"];
    let judged_families = ["-Wimplicit-fallthrough", "-Wdocumentation", "-Wunused-macros"];
    let starts = |list: &[&str], text: &str| list.iter().any(|option| text.starts_with(option));
    let decides = |argument: &OsString| {
        let text = argument.to_string_lossy();
        let text = text.as_ref();
        exceptions.contains(&text)
            || !(starts(&visible, text) || judged.contains(&text) || starts(&judged_families, text))
    };
    compile.makes_only_an_object() && compile.arguments.iter().all(decides)
}

/// Whether dependency options or colours that larder adds would end up in the result: gcc keeps the
/// list of dependencies in a precompiled header. (What records the command line is not cached.)
pub fn records_additions(compile: &Compile) -> bool {
    compile.family == Family::Gcc && compile.precompiles()
}

/// Whether an added `-H` would end up in an output: gcc names it in debug information, and clang
/// then lists system headers in spite of `-MMD` (measured with 12 and 14).
pub fn records_trace(compile: &Compile) -> bool {
    let clang = compile.family == Family::Clang;
    clang || compile.cwd_matters || has_option(compile, &["-g", "-frecord-"])
}

fn has_option(compile: &Compile, starts: &[&str]) -> bool {
    compile.arguments.iter().any(|argument| {
        starts.iter().any(|start| argument.as_bytes().starts_with(start.as_bytes()))
    })
}

/// Fields, one behind the other.
struct Fields(To);

/// What becomes of fields.
enum To {
    /// They are hashed, each with its length before it.
    Key(Box<blake3::Hasher>),
    /// They are kept.
    Rows(Vec<Row>),
}

impl Fields {
    fn new(kind: &str) -> Fields {
        let mut fields = Fields(To::Key(Box::default()));
        fields.bytes(b"larder");
        fields.bytes(kind.as_bytes());
        fields
    }

    /// Begins a row.
    fn row(&mut self, name: &str) {
        match &mut self.0 {
            To::Key(_) => self.bytes(name.as_bytes()),
            To::Rows(rows) => rows.push(Row { name: name.to_owned(), fields: Vec::new() }),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            To::Key(hasher) => {
                hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
            }
            To::Rows(rows) => {
                if let Some(row) = rows.last_mut() {
                    row.fields.push(bytes.to_vec());
                }
            }
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    fn text(&mut self, text: &OsStr) {
        self.bytes(text.as_bytes());
    }

    fn texts(&mut self, texts: &[OsString]) {
        self.number(texts.len() as u64);
        texts.iter().for_each(|text| self.text(text));
    }

    /// Words of a command line; at a place, those below its root are the same in every checkout.
    fn words(&mut self, place: Option<&Place>, words: &[OsString]) {
        match place {
            Some(place) => {
                let words: Vec<OsString> =
                    words.iter().map(|word| place.shared_word(word)).collect();
                self.texts(&words);
            }
            None => self.texts(words),
        }
    }

    /// What each prefix map leaves of the working directory: with the map and a relative name, that
    /// says what becomes of the name.
    fn mapped(&mut self, place: &Place, arguments: &[OsString]) {
        let directory = place.directory().as_os_str().as_bytes();
        for (_, old, _) in arguments.iter().filter_map(|word| prefix_map(word.as_bytes())) {
            let rest = directory.strip_prefix(old);
            self.number(u64::from(rest.is_some()));
            self.bytes(rest.unwrap_or_default());
        }
    }

    fn inputs(&mut self, inputs: &[Input]) {
        self.number(inputs.len() as u64);
        for input in inputs {
            self.text(input.path.as_os_str());
            self.bytes(&input.digest);
        }
    }

    /// An empty value is not the same as none.
    fn variable(&mut self, value: Option<OsString>) {
        match value {
            Some(value) => {
                self.number(1);
                self.text(&value);
            }
            None => self.number(0),
        }
    }

    fn state(self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.key().as_bytes()[..8]);
        u64::from_le_bytes(first).max(1)
    }

    fn key(self) -> Key {
        match &self.0 {
            To::Key(hasher) => Key::from_bytes(*hasher.finalize().as_bytes()),
            To::Rows(_) => Key::of(b""),
        }
    }
}

#[cfg(test)]
mod tests;
