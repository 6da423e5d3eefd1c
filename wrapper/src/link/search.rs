//! Names that a linker looked for in vain before it found others.
//!
//! 1. For `-lX` it takes, from each directory in order, `libX.so` or `libX.a`, and for `-l:X` the
//!    name itself. It may want only archives, or pass over a file that does not fit: so both names
//!    count in each directory up to the one whose file it has read, and a file that it has passed
//!    over is an input.
//! 2. A library may be a text that names others: paths, names that are searched for in the working
//!    directory, beside the text and in the directories, and `-lX`.
//! 3. For libraries that others need, some linkers search the directories of `-rpath-link`,
//!    `-rpath` and of variables first.
//! 4. A driver looks for `crt1.o` and the like in places of its own.
//! 5. A script may be found in the directories of libraries, too.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::archive::THIN;
use crate::absent::Group;
use crate::files::RealPaths;

/// A text for the linker is short; more of it is not looked at.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// What an object, an archive and intermediate code begin with.
const NO_TEXTS: [&[u8]; 3] = [b"\x7fELF", b"!<arch>", b"BC\xC0\xDE"];

/// What the command line of a linker says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Line {
    /// `-m`.
    pub emulation: Option<OsString>,
    /// `-L`, in order.
    pub directories: Vec<PathBuf>,
    /// `-l`, in order.
    pub libraries: Vec<Vec<u8>>,
    /// `-rpath-link` and `-rpath`.
    pub run_paths: Vec<PathBuf>,
    /// Words that are no options, or stand behind `=` in one: they may be files.
    pub words: Vec<PathBuf>,
}

impl Line {
    /// Reads it; the first word is the linker. `None` where a sysroot stands before paths.
    pub fn of(words: &[OsString]) -> Option<Line> {
        let mut line = Line::default();
        let mut rest = words.iter().skip(1);
        while let Some(word) = rest.next() {
            let bytes = word.as_bytes();
            let run_path = long(bytes, b"-rpath-link", &mut rest);
            if let Some(list) = run_path.or_else(|| long(bytes, b"-rpath", &mut rest)) {
                let paths = list.split(|byte| *byte == b':').filter(|path| !path.is_empty());
                line.run_paths.extend(paths.map(|path| PathBuf::from(OsStr::from_bytes(path))));
            } else if let Some(directory) =
                long(bytes, b"-library-path", &mut rest).or_else(|| short(bytes, b"-L", &mut rest))
            {
                if directory.starts_with(b"=") || directory.starts_with(b"$SYSROOT") {
                    return None;
                }
                line.directories.push(OsStr::from_bytes(&directory).into());
            } else if let Some(place) = short(bytes, b"-R", &mut rest) {
                // A directory is one of `-rpath`, a file one of `--just-symbols`.
                let place = PathBuf::from(OsStr::from_bytes(&place));
                line.words.push(place.clone());
                line.run_paths.push(place);
            } else if bytes == b"-m" {
                line.emulation = rest.next().cloned();
            } else if let Some(library) = short(bytes, b"-l", &mut rest) {
                line.libraries.push(library);
            } else if bytes.starts_with(b"-") {
                let value = bytes.iter().position(|byte| *byte == b'=').map(|at| &bytes[at + 1..]);
                line.words.extend(value.map(|path| PathBuf::from(OsStr::from_bytes(path))));
            } else {
                line.words.push(word.into());
            }
        }
        Some(line)
    }
}

/// `-NAME=VALUE` or `-NAME VALUE`, with one dash or two.
fn long<'a>(
    bytes: &[u8],
    name: &[u8],
    rest: &mut impl Iterator<Item = &'a OsString>,
) -> Option<Vec<u8>> {
    let one = bytes.strip_prefix(b"-").filter(|one| one.starts_with(b"-")).unwrap_or(bytes);
    match one.strip_prefix(name)? {
        b"" => Some(rest.next()?.as_bytes().to_vec()),
        joined => Some(joined.strip_prefix(b"=")?.to_vec()),
    }
}

/// `-LPATH` or `-L PATH`.
fn short<'a>(
    bytes: &[u8],
    name: &[u8],
    rest: &mut impl Iterator<Item = &'a OsString>,
) -> Option<Vec<u8>> {
    match bytes.strip_prefix(name)? {
        b"" => Some(rest.next()?.as_bytes().to_vec()),
        joined => Some(joined.to_vec()),
    }
}

/// Where one link has searched.
#[derive(Debug)]
pub struct Ways<'a> {
    /// The linker's own command line.
    pub line: &'a Line,
    /// The files that it has read.
    pub read: &'a [PathBuf],
    /// The words that the driver got.
    pub given: &'a BTreeSet<OsString>,
    /// Where the driver looks for its files, if it tells.
    pub places: &'a [PathBuf],
    /// Whether the linker does not look for what shared libraries need.
    pub is_shallow: bool,
}

impl Ways<'_> {
    /// Goes all of them; tells the libraries that were found nowhere here.
    ///
    /// # Errors
    /// As [`Search::text`], as a sentence.
    pub fn go(&self, search: &mut Search) -> Result<Vec<Vec<u8>>, String> {
        let places = &self.line.directories;
        let mut libraries = self.line.libraries.clone();
        for path in self.read.iter().filter(|path| path.is_file()) {
            let told = search.text(path, places);
            libraries.extend(told.map_err(|error| format!("{}: {error}", path.display()))?);
        }
        let missing: Vec<PathBuf> =
            self.places.iter().filter(|place| !place.is_dir()).cloned().collect();
        let mut unfound = Vec::new();
        for name in libraries {
            for name in names_of(&name) {
                search.each(&name, &missing);
            }
            if !search.library(&name, places) {
                unfound.push(name);
            }
        }
        let own = if self.places.is_empty() { places } else { self.places };
        let is_own = |path: &&PathBuf| {
            path.extension() == Some(OsStr::new("o")) && !self.given.contains(path.as_os_str())
        };
        for path in self.line.words.iter().filter(is_own) {
            search.first(path.file_name().unwrap_or_default().as_bytes(), own);
        }
        if !self.is_shallow {
            let variables = ["LD_RUN_PATH", "LD_LIBRARY_PATH"].into_iter().filter_map(env::var_os);
            let more = variables.flat_map(|value| env::split_paths(&value).collect::<Vec<_>>());
            let places: Vec<PathBuf> = self.line.run_paths.iter().cloned().chain(more).collect();
            for path in self.read {
                // What is needed may be named with directories.
                let below = places.iter().filter_map(|place| path.strip_prefix(place).ok());
                let names = path.file_name().map(Path::new).into_iter().chain(below);
                for name in names.collect::<BTreeSet<_>>() {
                    search.each(name.as_os_str().as_bytes(), &places);
                }
            }
        }
        Ok(unfound)
    }

    /// Looks for scripts that are no files from here, and stand in a directory of libraries.
    pub fn scripts(&self, search: &mut Search) {
        let places = [&[PathBuf::new()][..], &self.line.directories].concat();
        for word in self.line.words.iter().filter(|word| word.is_relative() && !word.is_file()) {
            let is_there = |place: &PathBuf| place.join(word).is_file();
            if self.line.directories.iter().any(is_there) {
                search.first(word.as_os_str().as_bytes(), &places);
            }
        }
    }
}

/// The files that a library may be.
fn names_of(library: &[u8]) -> Vec<Vec<u8>> {
    match library.strip_prefix(b":") {
        Some(name) => vec![name.to_vec()],
        None => vec![[b"lib", library, b".so"].concat(), [b"lib", library, b".a"].concat()],
    }
}

/// What a link looked for.
#[derive(Debug, Default)]
pub struct Search {
    real_paths: RealPaths,
    /// The files that it has read, behind all links.
    read: BTreeSet<PathBuf>,
    /// Files that it has passed over.
    passed: BTreeSet<PathBuf>,
    missing: BTreeMap<PathBuf, BTreeSet<Vec<u8>>>,
}

impl Search {
    /// For a link that has read these files.
    pub fn of<'a>(read: impl Iterator<Item = &'a Path>) -> Search {
        let real_paths = RealPaths::default();
        let read = read.filter_map(|path| real_paths.of(path).ok()).collect();
        Search { read, real_paths, ..Search::default() }
    }

    /// Looks for a library as the linker does; whether it finds the file that was read.
    pub fn library(&mut self, name: &[u8], directories: &[PathBuf]) -> bool {
        let names = names_of(name);
        for directory in directories {
            let mut is_found = false;
            let before = self.passed.clone();
            for name in &names {
                is_found |= self.name(directory, name);
            }
            if is_found {
                // The other one was not wanted.
                self.passed = before;
                return true;
            }
        }
        false
    }

    /// Looks for one name in directories up to the file that was read.
    pub fn first(&mut self, name: &[u8], directories: &[PathBuf]) -> bool {
        directories.iter().any(|directory| self.name(directory, name))
    }

    /// Looks for one name in every directory.
    pub fn each(&mut self, name: &[u8], directories: &[PathBuf]) {
        for directory in directories {
            self.name(directory, name);
        }
    }

    /// Whether the file of this name was read.
    fn name(&mut self, directory: &Path, name: &[u8]) -> bool {
        let path = directory.join(OsStr::from_bytes(name));
        let Ok(file) = self.real_paths.of(&path) else {
            self.missing.entry(directory.to_path_buf()).or_default().insert(name.to_vec());
            return false;
        };
        let is_read = self.read.contains(&file);
        if !is_read && file.is_file() {
            self.passed.insert(path);
        }
        is_read
    }

    /// Follows what a text for the linker names, if the file is one.
    ///
    /// # Errors
    /// If it cannot be read, changes where the linker searches, or is a thin archive, of whose
    /// members not every linker tells.
    pub fn text(&mut self, path: &Path, directories: &[PathBuf]) -> io::Result<Vec<Vec<u8>>> {
        let mut text = Vec::new();
        File::open(path)?.take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
        if text.starts_with(THIN) {
            return Err(io::Error::other("it is a thin archive"));
        }
        if NO_TEXTS.iter().any(|start| text.starts_with(start)) {
            return Ok(Vec::new());
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(io::Error::other("it is too long a text"));
        }
        let beside = path.parent().unwrap_or(Path::new("")).to_path_buf();
        // Linkers differ in which of these comes first.
        let near = [PathBuf::new(), beside];
        let mut libraries = Vec::new();
        let words = words_of(&text);
        let words = words.ok_or_else(|| io::Error::other("it has a pattern like a comment"))?;
        for word in words {
            if word == b"SEARCH_DIR" {
                return Err(io::Error::other("it changes where the linker searches"));
            }
            if let Some(name) = word.strip_prefix(b"-l") {
                libraries.push(name.to_vec());
            } else if word.starts_with(b"/") {
                let word = Path::new(OsStr::from_bytes(word));
                let name = word.file_name().unwrap_or_default().as_bytes();
                self.each(name, &[word.parent().unwrap_or(Path::new("/")).to_path_buf()]);
            } else {
                self.each(word, &near);
                let is_near = near.iter().any(|place| self.has_read(place, word));
                if !is_near {
                    self.first(word, directories);
                }
            }
        }
        Ok(libraries)
    }

    /// Whether the file of this name was read.
    fn has_read(&self, directory: &Path, name: &[u8]) -> bool {
        let file = self.real_paths.of(&directory.join(OsStr::from_bytes(name)));
        file.is_ok_and(|file| self.read.contains(&file))
    }

    /// Where paths lead to, with what was asked of that so far.
    pub fn real_paths(&self) -> &RealPaths {
        &self.real_paths
    }

    /// Files that were found and not read.
    pub fn passed(&self) -> impl Iterator<Item = &Path> {
        self.passed.iter().map(PathBuf::as_path)
    }

    /// The names, by directory.
    pub fn groups(self) -> impl Iterator<Item = Group> {
        self.missing.into_iter().map(|(directory, names)| Group {
            directory,
            prefix: Vec::new(),
            names: names.into_iter().collect(),
        })
    }
}

/// The words of a text, without comments; `None` if it is not sure what is one.
fn words_of(text: &[u8]) -> Option<Vec<&[u8]>> {
    let is_break = |byte: &u8| byte.is_ascii_whitespace() || b"(),;{}\"".contains(byte);
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let start = rest.windows(2).position(|pair| pair == b"/*").unwrap_or(rest.len());
        let is_comment = start == rest.len() || start == 0 || is_break(&rest[start - 1]);
        if !is_comment {
            return None;
        }
        words.extend(rest[..start].split(is_break).filter(|word| !word.is_empty()));
        let comment = &rest[start..];
        let end = comment.windows(2).position(|pair| pair == b"*/").map(|at| at + 2);
        rest = &comment[end.unwrap_or(comment.len())..];
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn line(text: &str) -> Option<Line> {
        let words: Vec<OsString> = text.split(' ').map(OsString::from).collect();
        Line::of(&words)
    }

    #[test]
    fn a_command_line_says_where_is_searched() {
        let read = line(
            "ld -o m -L/a -L b -lx --library-path=c crt1.o -rpath /r:/s --rpath-link=/t \
                         --version-script=v.map -z now -l y",
        );
        let read = read.unwrap();
        assert_eq!(read.directories, ["/a", "b", "c"].map(PathBuf::from));
        assert_eq!(read.libraries, [b"x", b"y"]);
        assert_eq!(read.run_paths, ["/r", "/s", "/t"].map(PathBuf::from));
        assert_eq!(read.words, ["m", "crt1.o", "v.map", "now"].map(PathBuf::from));
        assert_eq!(line("ld -L=/lib"), None);
    }

    struct House(tempfile::TempDir);

    impl House {
        fn new(files: &[(&str, &str)]) -> House {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = dir.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            House(dir)
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn places(&self, names: &[&str]) -> Vec<PathBuf> {
            names.iter().map(|name| self.at(name)).collect()
        }

        /// What is missing, and what was passed over.
        fn told(&self, search: Search) -> (Vec<String>, Vec<String>) {
            let short =
                |path: &Path| path.strip_prefix(self.0.path()).unwrap().display().to_string();
            let passed = search.passed().map(short).collect();
            let missing = search.groups().flat_map(|group| {
                let names = group.names.into_iter().map(|n| String::from_utf8(n).unwrap());
                names.map(|n| short(&group.directory.join(n))).collect::<Vec<_>>()
            });
            (missing.collect(), passed)
        }
    }

    #[test]
    fn a_library_is_missing_before_the_place_where_it_was_found() {
        let house = House::new(&[("b/libx.a", "!<arch>"), ("c/libx.so", "\x7fELF")]);
        let places = house.places(&["a", "b", "c", "d"]);
        let read = house.at("b/libx.a");
        let mut search = Search::of([read.as_path()].into_iter());
        search.library(b"x", &places);
        let missing = ["a/libx.a", "a/libx.so", "b/libx.so"].map(String::from).to_vec();
        assert_eq!(house.told(search), (missing, vec![]));
        // An archive that was passed over counts.
        let read = house.at("c/libx.so");
        let mut search = Search::of([read.as_path()].into_iter());
        search.library(b"x", &places);
        let missing = ["a/libx.a", "a/libx.so", "b/libx.so", "c/libx.a"].map(String::from);
        assert_eq!(house.told(search), (missing.to_vec(), vec!["b/libx.a".to_owned()]));
        let mut search = Search::of([].into_iter());
        search.library(b":y.o", &places[..2]);
        assert_eq!(house.told(search).0, ["a/y.o", "b/y.o"]);
    }

    #[test]
    fn what_a_text_names_is_looked_for() {
        let text = "/* GNU ld script x.so */\nOUTPUT_FORMAT(elf64)\nGROUP ( liby.so.1 -lz )\n";
        let house = House::new(&[("b/libx.so", text), ("b/liby.so.1", ""), ("c/libz.a", "")]);
        let read = house.places(&["b/libx.so", "b/liby.so.1", "c/libz.a"]);
        let mut search = Search::of(read.iter().map(PathBuf::as_path));
        let places = house.places(&["a", "b", "c"]);
        assert_eq!(search.text(&read[0], &places).unwrap(), [b"z"]);
        search.missing.remove(Path::new(""));
        // Any word may be a name; what was found beside the text is looked for nowhere else.
        let names = ["GROUP", "OUTPUT_FORMAT", "elf64"];
        let missing = ["a", "b", "c"].map(|place| names.map(|name| format!("{place}/{name}")));
        assert_eq!(house.told(search).0, missing.concat());
        let texts = [("t", "SEARCH_DIR(/x)"), ("a", "!<thin>\n"), ("o", "\x7fELF SEARCH_DIR")];
        let house = House::new(&texts);
        let mut search = Search::of([].into_iter());
        assert!(search.text(&house.at("t"), &[]).is_err());
        assert!(search.text(&house.at("a"), &[]).is_err());
        assert!(search.text(&house.at("o"), &[]).is_ok());
    }
}
