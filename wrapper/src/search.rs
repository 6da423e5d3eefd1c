//! Where a compiler looks for headers.
//!
//! 1. The driver is asked, by a run on an empty source with the arguments that shape the search,
//!    and prints the directories in their order. The answer is remembered in the store under the
//!    toolchain, these arguments and the variables that name directories.
//! 2. Directories that are missing are not in that order, nor are those that are another one's
//!    double; both may count tomorrow. The driver names those of its own, and options and variables
//!    name the others. They are taken to stand before all others, which can only name more places.
//! 3. A remembered answer is good while the same directories are missing, and the same are each
//!    other's doubles.

use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use larder_engine::{Entry, RecordKind, Section, SectionKind, Store};

use crate::compiler::{Compile, Language, split};
use crate::digest::Digest;
use crate::files::Facts;
use crate::fingerprint::{SEARCHED_VARIABLES, search_key};

const MAGIC: &[u8; 4] = b"LSP1";
/// A search path has some dozens of directories; more is a damaged record.
const DIRECTORIES_MAX: usize = 4096;
/// Stands for a directory that is missing.
const MISSING: u32 = u32::MAX;

/// Options that name one directory each.
const DIRECTORY_OPTIONS: &[&str] = &[
    "-I",
    "-c-isystem",
    "-cxx-isystem",
    "-idirafter",
    "-iquote",
    "-isystem",
    "-isystem-after",
    "-stdlib++-isystem",
];

/// Options without influence on where headers are looked for, by their first letters: they differ
/// from source to source, and each set of the others is asked for.
const INDIFFERENT: &[&str] =
    &["-A", "-D", "-E", "-O", "-U", "-W", "-f", "-g", "-imacros", "-include", "-pedantic", "-w"];

/// Where headers are looked for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SearchPath {
    /// For names in quotes only, in order.
    pub quote: Vec<PathBuf>,
    /// For all names, in order.
    pub bracket: Vec<PathBuf>,
    /// Missing directories and doubles of others: where they would stand is not known.
    pub aside: Vec<PathBuf>,
    /// Directories that hold frameworks are among them.
    pub has_frameworks: bool,
}

impl SearchPath {
    /// That of a call, remembered or asked for.
    ///
    /// # Errors
    /// A sentence if it cannot be told.
    pub fn of(
        compile: &Compile,
        compiler: &Path,
        toolchain: &Digest,
        store: &Store,
    ) -> Result<SearchPath, String> {
        let arguments = shaping(compile);
        let key = search_key(compile, compiler, toolchain, &arguments);
        if let Ok(Some(record)) = store.get(&key)
            && let Ok(bytes) = record.read(0)
            && let Some((path, pattern)) = decode(&bytes)
            && pattern == path.pattern()
        {
            return Ok(path);
        }
        let path = ask(compile, compiler, &arguments)?;
        let section = Section::new(SectionKind::Data, path.encode());
        // What cannot be remembered is asked for again.
        let _ = store.put(&Entry::new(key, RecordKind::Blob, vec![section]));
        Ok(path)
    }

    fn lists(&self) -> [&Vec<PathBuf>; 3] {
        [&self.quote, &self.bracket, &self.aside]
    }

    /// For each directory the first one that it is the same as, or that it is missing.
    fn pattern(&self) -> Vec<u32> {
        let mut known = Vec::new();
        let directories = self.lists().into_iter().flatten();
        directories
            .map(|path| {
                let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
                let Ok(facts) = Facts::at(path) else {
                    known.push(None);
                    return MISSING;
                };
                let identity = Some((facts.device, facts.inode));
                let first = known.iter().position(|other| *other == identity);
                known.push(identity);
                first.unwrap_or(known.len() - 1) as u32
            })
            .collect()
    }

    /// `magic flag [quote] [bracket] [aside] [pattern]`, each list with a count.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(u8::from(self.has_frameworks));
        for list in self.lists() {
            bytes.extend((list.len() as u32).to_le_bytes());
            for path in list {
                bytes.extend((path.as_os_str().len() as u32).to_le_bytes());
                bytes.extend(path.as_os_str().as_bytes());
            }
        }
        let pattern = self.pattern();
        bytes.extend((pattern.len() as u32).to_le_bytes());
        pattern.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        bytes
    }
}

fn decode(bytes: &[u8]) -> Option<(SearchPath, Vec<u32>)> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let has_frameworks = take(&mut rest, 1)? != [0];
    let mut lists = [Vec::new(), Vec::new(), Vec::new()];
    for list in &mut lists {
        for _ in 0..take_count(&mut rest)? {
            let length = take_number(&mut rest)? as usize;
            list.push(PathBuf::from(OsString::from_vec(take(&mut rest, length)?.to_vec())));
        }
    }
    let count = take_count(&mut rest)?;
    let pattern = (0..count).map(|_| take_number(&mut rest)).collect::<Option<Vec<_>>>()?;
    let [quote, bracket, aside] = lists;
    let path = SearchPath { quote, bracket, aside, has_frameworks };
    rest.is_empty().then_some((path, pattern))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(bytes)
}

fn take_number(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?))
}

fn take_count(rest: &mut &[u8]) -> Option<usize> {
    take_number(rest).map(|count| count as usize).filter(|count| *count <= DIRECTORIES_MAX)
}

/// The arguments that shape the search.
fn shaping(compile: &Compile) -> Vec<OsString> {
    let is_indifferent = |word: &[u8]| {
        !word.starts_with(b"-")
            || INDIFFERENT.iter().any(|start| word.starts_with(start.as_bytes()))
    };
    let may_search = |word: &[u8]| {
        let words = word.strip_prefix(b"-Wp,");
        words.is_some_and(|words| !words.split(|b| *b == b',').all(|w| w.starts_with(b"-D")))
    };
    let mut arguments: Vec<OsString> = Vec::new();
    for words in split(compile.family, &compile.preprocess_arguments) {
        let first = words[0].as_bytes();
        if !is_indifferent(first) || may_search(first) {
            arguments.extend_from_slice(words);
        }
    }
    let is_cpp = matches!(compile.language, Language::Cpp | Language::CppModule);
    let language = if is_cpp { "c++" } else { "c" };
    arguments.extend(["-x".into(), language.into()]);
    arguments
}

fn ask(compile: &Compile, compiler: &Path, arguments: &[OsString]) -> Result<SearchPath, String> {
    let mut command = Command::new(compiler);
    command.args(["-E", "-v"]).args(arguments).arg("/dev/null");
    command.env("LC_ALL", "C").env_remove("LANGUAGE").stdin(Stdio::null()).stdout(Stdio::null());
    let cannot = |error| format!("cannot run {}: {error}", compiler.display());
    let output = command.output().map_err(cannot)?;
    if !output.status.success() {
        return Err(format!("{} does not tell where it searches", compiler.display()));
    }
    let mut path = parse(&output.stderr).ok_or("the search path is not understood")?;
    let mut known: BTreeSet<PathBuf> = path.lists().into_iter().flatten().cloned().collect();
    for directory in named(compile) {
        if known.insert(directory.clone()) {
            path.aside.push(directory);
        }
    }
    Ok(path)
}

/// Every directory that an option or a variable names for the search. The headers of a compiler
/// that `-B` names stand below it.
fn named(compile: &Compile) -> impl Iterator<Item = PathBuf> {
    let below = user_directories(compile, &["-B"], &[]).map(|prefix| prefix.join("include"));
    user_directories(compile, DIRECTORY_OPTIONS, SEARCHED_VARIABLES).chain(below)
}

/// Whether a directory is searched before those of the system, by the options and variables of a
/// call.
pub fn is_early(compile: &Compile, directory: &Path) -> bool {
    user_directories(compile, &["-I", "-iquote"], &["CPATH"]).any(|early| early == directory)
}

fn user_directories(
    compile: &Compile,
    options: &[&str],
    variables: &[&str],
) -> impl Iterator<Item = PathBuf> {
    let mut directories = Vec::new();
    for words in split(compile.family, &compile.arguments) {
        for option in options {
            match words[0].as_bytes().strip_prefix(option.as_bytes()) {
                Some(b"") => directories.extend(words.get(1).map(|word| plain(word))),
                // `-isystem-after` begins like an option, too.
                Some(value) if !value.starts_with(b"-") => {
                    directories.push(plain(OsStr::from_bytes(value)));
                }
                _ => {}
            }
        }
    }
    for value in variables.iter().filter_map(env::var_os) {
        directories.extend(env::split_paths(&value).map(|path| plain(path.as_os_str())));
    }
    directories.into_iter()
}

/// A directory as compilers print it: without slashes at its end.
fn plain(path: &OsStr) -> PathBuf {
    let bytes = path.as_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(bytes.len().min(1), |at| at + 1);
    // An empty entry of a variable is the working directory.
    if end == 0 { ".".into() } else { OsStr::from_bytes(&bytes[..end]).into() }
}

/// Reads what `-v` prints in English.
fn parse(text: &[u8]) -> Option<SearchPath> {
    const FRAMEWORK: &[u8] = b" (framework directory)";
    let mut path = SearchPath::default();
    let mut list = None;
    for line in text.split(|byte| *byte == b'\n') {
        let ignored =
            [&b"ignoring nonexistent directory \""[..], b"ignoring duplicate directory \""];
        let ignored =
            ignored.iter().find_map(|start| line.strip_prefix(*start)?.strip_suffix(b"\""));
        match (line, list) {
            (b"#include \"...\" search starts here:", _) => list = Some(false),
            (b"#include <...> search starts here:", _) => list = Some(true),
            (b"End of search list.", Some(true)) => return Some(path),
            ([b' ', directory @ ..], Some(is_bracket)) => {
                path.has_frameworks |= directory.ends_with(FRAMEWORK);
                let list = if is_bracket { &mut path.bracket } else { &mut path.quote };
                list.push(plain(OsStr::from_bytes(directory)));
            }
            (_, Some(_)) => return None,
            _ => path.aside.extend(ignored.map(|path| plain(OsStr::from_bytes(path)))),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compiler::Family;

    #[test]
    fn the_lists_of_both_compilers_are_understood() {
        let text = b"ignoring nonexistent directory \"/none\"\n\
                     ignoring duplicate directory \"/double\"\n  as it is one\n\
                     #include \"...\" search starts here:\n q\n\
                     #include <...> search starts here:\n a b\n /usr/include/\n\
                     End of search list.\n# 1 \"x\"\n";
        let path = parse(text).unwrap();
        assert_eq!(path.quote, [Path::new("q")]);
        assert_eq!(path.bracket, ["a b", "/usr/include"].map(Path::new));
        assert_eq!(path.aside, ["/none", "/double"].map(Path::new));
        assert!(!path.has_frameworks);
        assert_eq!(parse(&text[..text.len() - 40]), None);
        let (decoded, pattern) = decode(&path.encode()).unwrap();
        assert_eq!((&decoded, pattern), (&path, path.pattern()));
        let bytes = path.encode();
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None);
        }
    }

    #[test]
    fn what_differs_from_source_to_source_does_not_shape_the_search() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("t.c"), "").unwrap();
        let of = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let compile = crate::compiler::parse(Family::Gcc, None, &words, dir.path()).unwrap();
            shaping(&compile)
        };
        let plain = of("-c t.c -Ia -isystem b -m32");
        assert_eq!(plain, ["-Ia", "-isystem", "b", "-m32", "-x", "c"]);
        let same = "-c t.c -DX=1 -Ia -O2 -Wall -isystem b -include x.h -g -m32 -Wp,-DN=t -o t.o";
        assert_eq!(of(same), plain);
        assert_ne!(of("-c t.c -Ia -isystem c -m32"), plain);
    }

    #[test]
    fn a_directory_that_appears_or_becomes_another_changes_the_pattern() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("a")).unwrap();
        let path = SearchPath { bracket: vec![at("a"), at("b")], ..SearchPath::default() };
        assert_eq!(path.pattern(), [0, MISSING]);
        std::os::unix::fs::symlink("a", at("b")).unwrap();
        assert_eq!(path.pattern(), [0, 0]);
        std::fs::remove_file(at("b")).unwrap();
        std::fs::create_dir(at("b")).unwrap();
        assert_eq!(path.pattern(), [0, 1]);
    }
}
