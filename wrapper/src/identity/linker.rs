//! Which linker it is: the driver that is called for a link, and every program that it starts.
//!
//! 1. The parts are the driver (`cc`), `collect2`, the linker that it takes, the program behind
//!    rustc's own `ld.lld`, gcc's plugin for the linker with what that starts, configuration
//!    files, and the shared objects of each, without the C library.
//! 2. gcc looks for the linker as `real-ld` and `collect-ld`, then as `ld.NAME` (`-fuse-ld=NAME`)
//!    or `ld`, each in its own directories; last in `PATH`. clang looks for the name alone. That
//!    there is none in an earlier place is a fact about the linker.
//! 3. All of it is found once and remembered under driver, words and variables that choose, as a
//!    compiler is; a use compares the parts and runs nothing.
//! 4. The loader takes libraries from `LD_LIBRARY_PATH`, where cargo names directories of the
//!    build. So its value does not count, but which of the libraries stand there, and their
//!    contents.
//! 5. gcc takes some options from files (`libgomp.spec`) where a word asks for it; clang takes
//!    start files and libraries from the newest gcc that it finds ([`Surroundings`]).
//! 6. An archiver is the program with its libraries.
//! 7. A driver or linker that is no ELF program may do anything, and so may another cache: their
//!    links are not cached.

use std::collections::HashSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use larder_engine::{Entry, Key, RecordKind, Section, SectionKind, Store};

use super::surroundings::{Surroundings, first_missing, is_as_known};
use super::{LOADER_CACHE, ask, configuration_files, libraries, run, take, take_count, take_path};
use crate::compiler::{Family, family_of};
use crate::digest::{Digest, Digests};
use crate::exec::{OWN_EXE, find_compiler, is_binary, is_larder};
use crate::files::Facts;
use crate::fingerprint::TOOLCHAIN_VARIABLES;
use crate::manifest::Input;

const MAGIC: &[u8; 4] = b"LLK3";
/// What gcc asks for before the linker's own name.
const GCC_LINKERS: [&str; 2] = ["real-ld", "collect-ld"];
/// What gcc's plugin for the linker consists of, as far as the driver tells.
const GCC_PLUGIN: [&str; 2] = ["lto-wrapper", "lto1"];
/// Files with options that gcc takes where a word begins so.
const GCC_SPECS: [(&str, &str); 5] = [
    ("-fgnu-tm", "libitm.spec"),
    ("-fopenacc", "libgomp.spec"),
    ("-fopenmp", "libgomp.spec"),
    ("-fsanitize", "libsanitizer.spec"),
    ("-ftree-parallelize-loops", "libgomp.spec"),
];
/// Linkers that do not look for what shared libraries need.
const SHALLOW: [&str; 2] = ["ld.lld", "ld.mold"];
/// rustc's own linkers call the program one directory up.
const RUST_WRAPPERS: &str = "gcc-ld";
const RUST_LINKER: &str = "rust-lld";

/// What decides which linker is taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// The driver, as it is called.
    pub name: OsString,
    /// Directories that are searched before those of `PATH`.
    pub before: Vec<PathBuf>,
    /// The words of its command line that choose.
    pub words: Vec<OsString>,
}

/// A linker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Linker {
    /// What it counts as.
    pub identity: Digest,
    /// The driver.
    pub driver: PathBuf,
    /// Whose command line it takes.
    pub family: Family,
    parts: Vec<Input>,
    witnesses: Vec<Input>,
    /// Libraries of the parts that the loader looks for in `LD_LIBRARY_PATH` first.
    loaded: Vec<Input>,
    absent: Vec<PathBuf>,
    /// Directories in which clang would find another gcc, as they were.
    directories: Vec<Input>,
    /// Where the driver looks for `crt1.o` and the like, if it tells.
    pub places: Vec<PathBuf>,
}

impl Choice {
    /// The words of a driver's command line that choose the linker.
    pub fn words_of(words: &[OsString]) -> Vec<OsString> {
        const STARTS: [&str; 8] =
            ["-B", "-fuse-ld", "-m", "--target=", "--sysroot", "--gcc-", "--ld-path", "-flto"];
        const SEPARATE: [&str; 3] = ["-B", "-target", "--sysroot"];
        let mut chosen = Vec::new();
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            if SEPARATE.iter().any(|name| word == *name) {
                chosen.push(word.clone());
                chosen.extend(rest.next().cloned());
            } else if STARTS
                .iter()
                .chain(GCC_SPECS.iter().map(|(start, _)| start))
                .any(|start| word.as_bytes().starts_with(start.as_bytes()))
            {
                chosen.push(word.clone());
            }
        }
        chosen
    }

    /// The directories that are searched for programs, in order.
    fn path(&self) -> OsString {
        let own = env::var_os("PATH").unwrap_or_default();
        let all = self.before.iter().cloned().chain(env::split_paths(&own));
        env::join_paths(all).unwrap_or(own)
    }

    /// The name of the linker that these words mean.
    pub fn linker_name(&self) -> String {
        let named =
            self.words.iter().rev().find_map(|word| word.to_str()?.strip_prefix("-fuse-ld="));
        named.map_or_else(|| "ld".to_owned(), |name| format!("ld.{name}"))
    }

    /// Whether the linker does not look for what shared libraries need.
    pub fn is_shallow(&self) -> bool {
        SHALLOW.contains(&self.linker_name().as_str())
    }

    /// The driver's place and the file behind it.
    ///
    /// # Errors
    /// If there is none, or it is another cache.
    pub fn driver(&self) -> Result<(PathBuf, PathBuf), String> {
        let path = self.path();
        let found = find_compiler(&self.name, Some(&path), Path::new(OWN_EXE));
        let found = found.map_err(|reason| reason.text)?;
        // What is passed over must be larder, which passes on a link as it is.
        let first = places_of(&self.name, &path).into_iter().find(|place| is_executable(place));
        match first {
            Some(first)
                if first != found.path && !is_larder(first.as_os_str(), Path::new(OWN_EXE)) =>
            {
                Err(format!("{} is a cache", first.display()))
            }
            _ => Ok((found.path, found.file)),
        }
    }
}

impl Linker {
    /// The linker that is meant, remembered or asked for.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn of(choice: &Choice, store: &Store, digests: &Digests) -> Result<Linker, String> {
        let (driver, file) = choice.driver()?;
        let contents = digests.digest(&file);
        let contents = contents.map_err(|error| format!("{}: {error}", driver.display()))?;
        let key = key(choice, &driver, &file, &contents);
        Linker::remembered(&key, &driver, store, digests, || {
            discover(choice, driver.clone(), &file, digests)
        })
    }

    /// The archiver at a path, remembered or asked for.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn archiver(program: &Path, store: &Store, digests: &Digests) -> Result<Linker, String> {
        let contents = digests.digest(program);
        let contents = contents.map_err(|error| format!("{}: {error}", program.display()))?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"larder archiver").update(MAGIC).update(&contents);
        hasher.update(program.as_os_str().as_bytes());
        let key = Key::from_bytes(*hasher.finalize().as_bytes());
        Linker::remembered(&key, program, store, digests, || {
            let found = Found { programs: vec![program.to_path_buf()], ..Found::default() };
            found.linker(Family::Gcc, program.to_path_buf(), digests)
        })
    }

    fn remembered(
        key: &Key,
        driver: &Path,
        store: &Store,
        digests: &Digests,
        discover: impl FnOnce() -> Result<Linker, String>,
    ) -> Result<Linker, String> {
        if let Ok(Some(record)) = store.get(key)
            && let Ok(bytes) = record.read(0)
            && let Some(linker) = Linker::decode(&bytes, driver.to_path_buf())
            && linker.is_current(digests)
        {
            return Ok(linker);
        }
        let linker = discover()?;
        let section = Section::new(SectionKind::Data, linker.encode());
        // A linker that cannot be remembered is asked for again.
        let _ = store.put(&Entry::new(*key, RecordKind::Blob, vec![section]));
        Ok(linker)
    }

    /// The files that it consists of.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|part| part.path.as_path())
    }

    /// The same with their digests.
    pub fn parts(&self) -> impl Iterator<Item = (&Path, &Digest)> {
        self.parts.iter().map(|part| (part.path.as_path(), &part.digest))
    }

    fn is_current(&self, digests: &Digests) -> bool {
        let same =
            |part: &Input| digests.digest(&part.path).is_ok_and(|digest| digest == part.digest);
        self.parts.iter().all(same)
            && self.witnesses.iter().all(same)
            && self.absent.iter().all(|path| Facts::of_link(path).is_err())
            && self.loaded.iter().all(|library| is_loaded(library, digests))
            && self.directories.iter().all(is_as_known)
    }

    fn new(
        (family, driver): (Family, PathBuf),
        [parts, witnesses, loaded, directories]: [Vec<Input>; 4],
        absent: Vec<PathBuf>,
        places: Vec<PathBuf>,
    ) -> Linker {
        let mut hasher = blake3::Hasher::new();
        // gcc looks for libraries beside the file that it is.
        let place = driver.as_os_str().as_bytes();
        hasher.update(&(place.len() as u64).to_le_bytes()).update(place);
        for part in &parts {
            let name = part.path.file_name().unwrap_or_default().as_bytes();
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name).update(&part.digest);
        }
        let identity = *hasher.finalize().as_bytes();
        Linker { identity, driver, family, parts, witnesses, loaded, absent, directories, places }
    }

    /// `magic family [part] [witness] [loaded] [directory] [absent] [place]`, as a toolchain is
    /// written.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(u8::from(self.family == Family::Clang));
        let number = |bytes: &mut Vec<u8>, n: usize| bytes.extend((n as u32).to_le_bytes());
        for list in [&self.parts, &self.witnesses, &self.loaded, &self.directories] {
            number(&mut bytes, list.len());
            for part in list {
                bytes.extend_from_slice(&part.digest);
                number(&mut bytes, part.path.as_os_str().len());
                bytes.extend_from_slice(part.path.as_os_str().as_bytes());
            }
        }
        for list in [&self.absent, &self.places] {
            number(&mut bytes, list.len());
            for path in list {
                number(&mut bytes, path.as_os_str().len());
                bytes.extend_from_slice(path.as_os_str().as_bytes());
            }
        }
        bytes
    }

    fn decode(bytes: &[u8], driver: PathBuf) -> Option<Linker> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let family = if take(&mut rest, 1)? == [1] { Family::Clang } else { Family::Gcc };
        let mut lists: [Vec<Input>; 4] = Default::default();
        for list in &mut lists {
            for _ in 0..take_count(&mut rest)? {
                let digest = take(&mut rest, 32)?.try_into().ok()?;
                list.push(Input { digest, path: take_path(&mut rest)? });
            }
        }
        let mut paths = || -> Option<Vec<PathBuf>> {
            let count = take_count(&mut rest)?;
            (0..count).map(|_| take_path(&mut rest)).collect()
        };
        let (absent, places) = (paths()?, paths()?);
        let linker = || Linker::new((family, driver), lists, absent, places);
        rest.is_empty().then(linker)
    }
}

/// Where a linker is remembered.
fn key(choice: &Choice, driver: &Path, file: &Path, contents: &Digest) -> Key {
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    add(b"larder linker");
    add(MAGIC);
    [driver, file].iter().for_each(|path| add(path.as_os_str().as_bytes()));
    add(contents);
    add(choice.path().as_bytes());
    // A word may name a directory that is searched from here.
    add(env::current_dir().unwrap_or_default().as_os_str().as_bytes());
    choice.words.iter().for_each(|word| add(word.as_bytes()));
    let variables = TOOLCHAIN_VARIABLES.iter().filter(|name| **name != "LD_LIBRARY_PATH");
    for name in variables.chain(&["LIBRARY_PATH"]) {
        let value = env::var_os(name);
        add(&[u8::from(value.is_some())]);
        add(value.unwrap_or_default().as_bytes());
    }
    Key::from_bytes(*hasher.finalize().as_bytes())
}

/// Whether the loader finds this library where it did, or the same one elsewhere. Its path is that
/// in `LD_LIBRARY_PATH`, or its bare name if it stood in none of those directories.
fn is_loaded(library: &Input, digests: &Digests) -> bool {
    let name = library.path.file_name().unwrap_or_default();
    let value = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let found = env::split_paths(&value).map(|place| place.join(name)).find(|path| path.is_file());
    match found {
        Some(path) => digests.digest(&path).is_ok_and(|digest| digest == library.digest),
        None => library.path.as_os_str() == name,
    }
}

/// What the loader would look for in `LD_LIBRARY_PATH`; `path` is where it found it.
fn loaded(part: &Input) -> Input {
    let name = part.path.file_name().unwrap_or_default();
    let value = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let is_there = env::split_paths(&value).any(|place| place.join(name).is_file());
    let path = if is_there { part.path.clone() } else { name.into() };
    Input { path, digest: part.digest }
}

fn discover(
    choice: &Choice,
    driver: PathBuf,
    file: &Path,
    digests: &Digests,
) -> Result<Linker, String> {
    let name = driver.file_name().unwrap_or_default();
    let (family, _) = family_of(name, file)
        .ok_or_else(|| format!("{} is no driver that tells what it starts", driver.display()))?;
    let mut found = match family {
        Family::Gcc => of_gcc(choice, &driver)?,
        Family::Clang => of_clang(choice, &driver)?,
    };
    let linker = found.programs.last().cloned().unwrap_or_default();
    if let Some(directory) = linker.parent().filter(|place| place.ends_with(RUST_WRAPPERS)) {
        found.programs.push(directory.with_file_name(RUST_LINKER));
    }
    found.programs.insert(0, driver.clone());
    found.linker(family, driver, digests)
}

fn part(path: PathBuf, digests: &Digests) -> Result<Input, String> {
    match digests.digest(&path) {
        Ok(digest) => Ok(Input { path, digest }),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// What a driver starts, the linker last, and what stands around it.
#[derive(Default)]
struct Found {
    programs: Vec<PathBuf>,
    files: Vec<PathBuf>,
    absent: Vec<PathBuf>,
    directories: Vec<Input>,
    places: Vec<PathBuf>,
}

fn of_gcc(choice: &Choice, driver: &Path) -> Result<Found, String> {
    let mut found = Found::default();
    let report = run(Command::new(driver).args(&choice.words).arg("-print-search-dirs"))?;
    let places = |kind: &str| -> Result<Vec<PathBuf>, String> {
        let mut lines = report.stdout.split(|byte| *byte == b'\n');
        let list = lines.find_map(|line| line.strip_prefix(kind.as_bytes()));
        let list = list.ok_or_else(|| format!("{} does not tell its places", driver.display()))?;
        Ok(env::split_paths(OsStr::from_bytes(list)).collect())
    };
    let programs = places("programs: =")?;
    let proper = |name: &str| -> Option<PathBuf> {
        let mut command = Command::new(driver);
        let output =
            run(command.args(&choice.words).arg(format!("-print-prog-name={name}"))).ok()?;
        let path = Path::new(OsStr::from_bytes(output.stdout.trim_ascii_end())).to_path_buf();
        path.is_absolute().then_some(path)
    };
    found.programs.extend(proper("collect2"));
    found.programs.extend(GCC_PLUGIN.into_iter().filter_map(proper));
    found.places = places("libraries: =")?;
    for place in found.places.clone() {
        found.take_or_miss(place.join("specs"));
    }
    let mut specs: Vec<&str> = GCC_SPECS
        .iter()
        .filter(|(start, _)| {
            choice.words.iter().any(|word| word.as_bytes().starts_with(start.as_bytes()))
        })
        .map(|(_, name)| *name)
        .collect();
    specs.dedup();
    for name in specs {
        let places = found.places.clone();
        // The first one is taken.
        let _ = places.iter().find(|place| found.take_or_miss(place.join(name)));
    }
    found
        .files
        .extend(ask(driver, "-print-file-name=specs").ok().filter(|path| path.is_absolute()));
    let plugin = ask(driver, "-print-file-name=liblto_plugin.so");
    found.files.extend(plugin.ok().filter(|path| path.is_absolute()));
    let linker = choice.linker_name();
    let own = GCC_LINKERS.iter().copied().chain([linker.as_str()]);
    let own = own.flat_map(|name| programs.iter().map(move |place| place.join(name)));
    let candidates = own.chain(places_of(linker.as_ref(), &choice.path()));
    found.take_first(candidates)?;
    Ok(found)
}

fn of_clang(choice: &Choice, driver: &Path) -> Result<Found, String> {
    let mut command = Command::new(driver);
    let output = run(command.args(&choice.words).args(["-###", "-v", "-x", "c", "/dev/null"]))?;
    let mut found = Found::default();
    let mut around = Surroundings::default();
    around.take_installations(&output.stderr, &[]);
    found.absent = around.absent;
    found.directories = around.directories;
    found.files.extend(configuration_files(&output.stderr));
    let mut lines = output.stderr.split(|byte| *byte == b'\n').rev();
    let linker = lines.find_map(|line| {
        let word = line.strip_prefix(b" \"")?.split(|byte| *byte == b'"').next()?;
        Some(PathBuf::from(OsStr::from_bytes(word)))
    });
    let linker = linker.filter(|path| path.is_absolute());
    let linker = linker.ok_or_else(|| format!("{} does not tell its linker", driver.display()))?;
    let mut lines = output.stderr.split(|byte| *byte == b'\n');
    let installed = lines.find_map(|line| line.strip_prefix(b"InstalledDir: "));
    let installed = installed.map(|path| Path::new(OsStr::from_bytes(path)).to_path_buf());
    let mut lines = output.stderr.split(|byte| *byte == b'\n');
    let target = lines.find_map(|line| line.strip_prefix(b"Target: ")).unwrap_or_default();
    for candidate in clangs_candidates(choice, target, installed.as_deref()) {
        if candidate != linker {
            found.miss(&candidate);
        }
    }
    for name in configurations_of(driver, target) {
        for place in [driver.parent(), installed.as_deref()].into_iter().flatten() {
            found.miss(&place.join(&name));
        }
    }
    found.programs.push(linker);
    Ok(found)
}

/// Where clang looks for a linker: with the target before its name, and without; what `-B` gives is
/// a directory, or the beginning of a name.
fn clangs_candidates(choice: &Choice, target: &[u8], installed: Option<&Path>) -> Vec<PathBuf> {
    let name = OsString::from(choice.linker_name());
    let mut with_target = OsStr::from_bytes(target).to_owned();
    with_target.push("-");
    with_target.push(&name);
    let mut candidates = Vec::new();
    for name in [with_target, name] {
        let mut words = choice.words.iter();
        while let Some(word) = words.next() {
            let Some(joined) = word.as_bytes().strip_prefix(b"-B") else { continue };
            let place = match joined {
                b"" => words.next().cloned().unwrap_or_default(),
                joined => OsStr::from_bytes(joined).to_owned(),
            };
            candidates.push(Path::new(&place).join(&name));
            candidates.push([place, name.clone()].into_iter().collect::<OsString>().into());
        }
        let variable = env::var_os("COMPILER_PATH").unwrap_or_default();
        candidates.extend(env::split_paths(&variable).map(|place| place.join(&name)));
        candidates.extend(installed.map(|place| place.join(&name)));
        candidates.extend(places_of(&name, &choice.path()));
    }
    candidates
}

/// What clang's configuration files may be called by default.
fn configurations_of(driver: &Path, target: &[u8]) -> Vec<String> {
    let name = driver.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let target = String::from_utf8_lossy(target).into_owned();
    let prefix = name.rsplit_once('-').map_or("", |(prefix, _)| prefix).to_owned();
    [name.clone(), prefix, format!("{target}-{name}"), target, "clang".to_owned()]
        .into_iter()
        .filter(|name| !name.is_empty())
        .map(|name| format!("{name}.cfg"))
        .collect()
}

impl Found {
    /// The linker that consists of this, its libraries included.
    fn linker(self, family: Family, driver: PathBuf, digests: &Digests) -> Result<Linker, String> {
        let mut objects = Vec::new();
        for program in &self.programs {
            if !is_binary(program) {
                return Err(format!("{} is no ELF program", program.display()));
            }
            objects.extend(libraries(program)?);
        }
        let mut known = HashSet::new();
        let mut parts_of = |paths: Vec<PathBuf>| -> Result<Vec<Input>, String> {
            let new = paths.into_iter().filter(|path| known.insert(path.clone()));
            new.map(|path| part(path, digests)).collect()
        };
        let mut parts = parts_of(self.programs)?;
        let objects = parts_of(objects)?;
        let loaded = objects.iter().map(loaded).collect();
        parts.extend(objects);
        parts.extend(parts_of(self.files)?);
        let witnesses = part(LOADER_CACHE.into(), digests).into_iter().collect();
        let lists = [parts, witnesses, loaded, self.directories];
        Ok(Linker::new((family, driver), lists, self.absent, self.places))
    }

    /// Whether there is a file at a path, which counts; else it is absent.
    fn take_or_miss(&mut self, path: PathBuf) -> bool {
        let is_file = path.is_file();
        match is_file {
            true => self.files.push(path),
            false => self.miss(&path),
        }
        is_file
    }

    /// Takes the first program that is there. The places before it are empty.
    fn take_first(&mut self, candidates: impl Iterator<Item = PathBuf>) -> Result<(), String> {
        for candidate in candidates {
            if is_executable(&candidate) {
                self.programs.push(candidate);
                return Ok(());
            }
            self.miss(&candidate);
        }
        Err("the driver finds no linker".to_owned())
    }

    fn miss(&mut self, path: &Path) {
        // The same directory has many names.
        let directory = path.parent().and_then(|place| place.canonicalize().ok());
        let path = match directory {
            Some(directory) => directory.join(path.file_name().unwrap_or_default()),
            None => path.to_path_buf(),
        };
        let missing = first_missing(&path);
        if !missing.as_os_str().is_empty() && !self.absent.contains(&missing) {
            self.absent.push(missing);
        }
    }
}

/// The places of a program in a list of directories; its own if it is a path.
fn places_of(name: &OsStr, path: &OsStr) -> Vec<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return vec![name.into()];
    }
    let name = Path::new(name);
    env::split_paths(path)
        .map(|place| {
            if place.as_os_str().is_empty() { Path::new(".").join(name) } else { place.join(name) }
        })
        .collect()
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_choose_are_taken_with_their_values() {
        let line = "-m64 a.o -B/x -fuse-ld=lld -L /y -B z -fuse-ld=mold -target t -o m";
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let words = Choice::words_of(&words);
        let expected = "-m64 -B/x -fuse-ld=lld -B z -fuse-ld=mold -target t";
        assert_eq!(words, expected.split(' ').collect::<Vec<_>>());
        let choice = Choice { name: "cc".into(), before: Vec::new(), words };
        assert_eq!(choice.linker_name(), "ld.mold");
        let choice = Choice { words: Vec::new(), ..choice };
        assert_eq!(choice.linker_name(), "ld");
    }

    #[test]
    fn a_linker_survives_its_record_and_no_damage_is_a_panic() {
        let input = |path: &str, byte| Input { path: path.into(), digest: [byte; 32] };
        let linker = Linker::new(
            (Family::Gcc, "/bin/cc".into()),
            [
                vec![input("/bin/cc", 1), input("/bin/ld", 2)],
                vec![input("/w", 3)],
                vec![input("libz.so.1", 4)],
                vec![input("/usr/lib/gcc", 5)],
            ],
            vec!["/x/ld".into()],
            vec!["/usr/lib/".into()],
        );
        let bytes = linker.encode();
        let decoded = |bytes: &[u8]| Linker::decode(bytes, "/bin/cc".into());
        assert_eq!(decoded(&bytes), Some(linker.clone()));
        assert_ne!(Linker::decode(&bytes, "/x/cc".into()).unwrap().identity, linker.identity);
        (0..bytes.len()).for_each(|length| assert_eq!(decoded(&bytes[..length]), None));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let _ = decoded(&damaged);
        }
    }
}
