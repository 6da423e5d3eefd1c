//! Which toolchain it is: the contents of every program and library that takes part in a compile.
//!
//! 1. The parts are the driver, for gcc the compiler proper (`cc1`, `cc1plus`), a specs file and,
//!    where debug information is split, `objcopy`, the assembler, clang's configuration files, and
//!    the shared objects of each, without the C library and the loader. The linker takes no part in
//!    `-c`.
//! 2. They are found once by asking the driver and the loader, and remembered in the store under
//!    driver (path and contents) and the variables that decide what it would find. A hit compares
//!    the remembered parts with the files through the digest cache and runs nothing.
//! 3. If any part differs, or a *witness* does (the loader's cache, which can change what is
//!    loaded), or what stands around them ([`surroundings`]), all are looked for anew. Witnesses do
//!    not enter the identity.
//! 4. `compiler_check` decides what of it is the identity: the contents; name, size and mtime;
//!    nothing; a text; or what a command prints, which is then run for each call.
//! 5. A driver that is no ELF program may do anything: calls through it are not cached.

pub mod linker;
pub mod native;
pub mod surroundings;

use std::collections::HashSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, ScopedJoinHandle};

use larder_engine::{Entry, RecordKind, Section, SectionKind, Store};

use self::surroundings::{Surroundings, choosing_words};
use crate::compiler::{Compile, Family, Language};
use crate::config::CompilerCheck;
use crate::digest::{Digest, Digests};
use crate::exec::is_binary;
use crate::fingerprint::toolchain_key;
use crate::manifest::Input;
use crate::outcome::{Counter, Reason};

const MAGIC: &[u8; 4] = b"LTC2";
/// What the loader reads to find libraries.
const LOADER_CACHE: &str = "/etc/ld.so.cache";
/// Objects of the C library: they do not change what a compiler writes.
const C_LIBRARY: &[&str] = &[
    "libc.so",
    "libm.so",
    "libdl.so",
    "libpthread.so",
    "librt.so",
    "ld-linux",
    "ld64",
    "libmvec.so",
    "linux-vdso",
    "ld-musl",
    "libresolv.so",
    "libutil.so",
];
/// A toolchain has some dozens of parts; more is a damaged record.
const PARTS_MAX: usize = 1024;

/// A toolchain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Toolchain {
    /// What it counts as in keys.
    pub identity: Digest,
    /// Digest over its parts: the identity unless `compiler_check` says otherwise. What the
    /// compiler has answered is remembered under it.
    pub contents: Digest,
    /// Whether `__DATE__` and `__TIME__` follow `SOURCE_DATE_EPOCH`.
    pub epoch_is_honoured: bool,
    /// Headers that are read before every source without being included (`stdc-predef.h`).
    pub preincluded: Vec<PathBuf>,
    parts: Vec<Input>,
    witnesses: Vec<Input>,
    around: Surroundings,
}

impl Toolchain {
    /// The toolchain of `compiler`, remembered or asked for.
    ///
    /// # Errors
    /// `CompilerCheckFailed` if it cannot be told.
    pub fn of(
        compile: &Compile,
        compiler: &Path,
        store: &Store,
        digests: &Digests,
        check: &CompilerCheck,
    ) -> Result<Toolchain, Reason> {
        let mut toolchain = Toolchain::by_content(compile, compiler, store, digests)?;
        if let Some(identity) = toolchain.checked(compiler, check).map_err(failed)? {
            toolchain.identity = identity;
        }
        Ok(toolchain)
    }

    fn by_content(
        compile: &Compile,
        compiler: &Path,
        store: &Store,
        digests: &Digests,
    ) -> Result<Toolchain, Reason> {
        let driver = digests
            .digest(compiler)
            .map_err(|error| failed(format!("cannot read {}: {error}", compiler.display())))?;
        let key = toolchain_key(compile, compiler, &driver, &choosing_words(compile));
        if let Ok(Some(record)) = store.get(&key)
            && let Ok(bytes) = record.read(0)
            && let Some(toolchain) = Toolchain::decode(&bytes)
            && toolchain.is_current(digests)
        {
            return Ok(toolchain);
        }
        let toolchain = discover(compile, compiler, digests).map_err(failed)?;
        let section = Section::new(SectionKind::Data, toolchain.encode());
        // A toolchain that cannot be remembered is asked for again.
        let _ = store.put(&Entry::new(key, RecordKind::Blob, vec![section]));
        Ok(toolchain)
    }

    /// The files that it consists of.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|part| part.path.as_path())
    }

    /// The same with their digests.
    pub fn parts(&self) -> impl Iterator<Item = (&Path, &Digest)> {
        self.parts.iter().map(|part| (part.path.as_path(), &part.digest))
    }

    /// The identity by anything else than contents.
    fn checked(&self, compiler: &Path, check: &CompilerCheck) -> Result<Option<Digest>, String> {
        let mut hasher = blake3::Hasher::new();
        match check {
            CompilerCheck::Content => return Ok(None),
            CompilerCheck::None => hasher.update(b"none"),
            CompilerCheck::Text(text) => hasher.update(b"text").update(text.as_bytes()),
            CompilerCheck::Mtime => {
                hasher.update(b"mtime");
                for part in &self.parts {
                    let facts = fs::metadata(&part.path).map_err(|error| error.to_string())?;
                    let name = part.path.file_name().unwrap_or_default().as_bytes();
                    hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
                    for number in [facts.size() as i64, facts.mtime(), facts.mtime_nsec()] {
                        hasher.update(&number.to_le_bytes());
                    }
                }
                &mut hasher
            }
            CompilerCheck::Command(words) => {
                hasher.update(b"command").update(&printed(words, compiler)?)
            }
            CompilerCheck::Commands(commands) => {
                hasher.update(b"commands");
                for words in commands {
                    let text = printed(words, compiler)?;
                    hasher.update(&(text.len() as u64).to_le_bytes()).update(&text);
                }
                &mut hasher
            }
        };
        Ok(Some(*hasher.finalize().as_bytes()))
    }

    fn is_current(&self, digests: &Digests) -> bool {
        let same =
            |part: &Input| digests.digest(&part.path).is_ok_and(|digest| digest == part.digest);
        self.parts.iter().all(same) && self.witnesses.iter().all(same) && self.around.are_current()
    }

    fn new(parts: Vec<Input>, witnesses: Vec<Input>, facts: Asked) -> Toolchain {
        let mut hasher = blake3::Hasher::new();
        for part in &parts {
            // The name tells parts apart; where they stand does not matter beyond the driver's
            // path.
            let name = part.path.file_name().unwrap_or_default().as_bytes();
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name).update(&part.digest);
        }
        let Asked { epoch_is_honoured, preincluded, around } = facts;
        for path in &around.selected {
            hasher.update(path.as_os_str().as_bytes());
        }
        let contents = *hasher.finalize().as_bytes();
        Toolchain {
            identity: contents,
            contents,
            epoch_is_honoured,
            preincluded,
            parts,
            witnesses,
            around,
        }
    }

    /// `magic flag [part] [witness] [directory] [path] [absent] [selected]`, each list with a
    /// count, each path with its length.
    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(u8::from(self.epoch_is_honoured));
        let number = |bytes: &mut Vec<u8>, n: usize| bytes.extend((n as u32).to_le_bytes());
        for list in [&self.parts, &self.witnesses, &self.around.directories] {
            number(&mut bytes, list.len());
            for part in list {
                bytes.extend_from_slice(&part.digest);
                number(&mut bytes, part.path.as_os_str().len());
                bytes.extend_from_slice(part.path.as_os_str().as_bytes());
            }
        }
        for list in [&self.preincluded, &self.around.absent, &self.around.selected] {
            number(&mut bytes, list.len());
            for path in list {
                number(&mut bytes, path.as_os_str().len());
                bytes.extend_from_slice(path.as_os_str().as_bytes());
            }
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Toolchain> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let epoch_is_honoured = take(&mut rest, 1)? == [1];
        let mut lists = [Vec::new(), Vec::new(), Vec::new()];
        for list in &mut lists {
            for _ in 0..take_count(&mut rest)? {
                let digest = take(&mut rest, 32)?.try_into().ok()?;
                list.push(Input { digest, path: take_path(&mut rest)? });
            }
        }
        let mut paths = [Vec::new(), Vec::new(), Vec::new()];
        for list in &mut paths {
            for _ in 0..take_count(&mut rest)? {
                list.push(take_path(&mut rest)?);
            }
        }
        let [parts, witnesses, directories] = lists;
        let [preincluded, absent, selected] = paths;
        let around = Surroundings { absent, directories, selected };
        let asked = Asked { epoch_is_honoured, preincluded, around };
        rest.is_empty().then(|| Toolchain::new(parts, witnesses, asked))
    }
}

fn failed(text: String) -> Reason {
    Reason::new(Counter::CompilerCheckFailed, text)
}

/// What the command of `compiler_check` prints.
fn printed(words: &[String], compiler: &Path) -> Result<Vec<u8>, String> {
    let word = |word: &String| match word.as_str() {
        "%compiler%" => compiler.as_os_str().to_owned(),
        _ => OsString::from(word),
    };
    let mut words = words.iter().map(word);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).env("LARDER_DISABLE", "1").env("CCACHE_DISABLE", "1");
    let output = run(&mut command)?;
    match output.status.success() {
        true => Ok([output.stdout, output.stderr].concat()),
        false => Err(format!("compiler_check ended with {}", output.status)),
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(bytes)
}

fn take_number(rest: &mut &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?) as usize)
}

fn take_count(rest: &mut &[u8]) -> Option<usize> {
    take_number(rest).filter(|count| *count <= PARTS_MAX)
}

fn take_path(rest: &mut &[u8]) -> Option<PathBuf> {
    let length = take_number(rest)?;
    Some(OsString::from_vec(take(rest, length)?.to_vec()).into())
}

/// What only a run of the driver tells.
struct Asked {
    epoch_is_honoured: bool,
    preincluded: Vec<PathBuf>,
    around: Surroundings,
}

/// Asks the driver, which takes most of the first call on a machine: what runs the preprocessor is
/// asked while the programs are found and hashed.
fn discover(compile: &Compile, compiler: &Path, digests: &Digests) -> Result<Toolchain, String> {
    if !is_binary(compiler) {
        return Err(format!("{} is no ELF program", compiler.display()));
    }
    thread::scope(|scope| {
        let epoch = scope.spawn(|| honours_epoch(compiler));
        let preincluded = scope.spawn(|| preincluded(compile, compiler));
        let (parts, witnesses, around) = programs(compile, compiler, digests)?;
        let epoch_is_honoured = answer(epoch)?;
        let asked = Asked { epoch_is_honoured, preincluded: answer(preincluded)?, around };
        Ok(Toolchain::new(parts, witnesses, asked))
    })
}

/// What a thread that asks came to.
fn answer<T>(asking: ScopedJoinHandle<'_, Result<T, String>>) -> Result<T, String> {
    asking.join().unwrap_or_else(|_| Err("a question to the compiler was not asked".into()))
}

/// The programs that compile and what they load, the files that witness them, and where others
/// would be taken instead.
fn programs(
    compile: &Compile,
    compiler: &Path,
    digests: &Digests,
) -> Result<(Vec<Input>, Vec<Input>, Surroundings), String> {
    let mut programs = vec![compiler.to_path_buf()];
    let mut files = Vec::new();
    let mut around = Surroundings::default();
    let assembler = ask(compiler, "-print-prog-name=as").ok().and_then(program);
    if compile.family == Family::Gcc {
        let places = driver_places(compiler)?;
        let proper = match compile.language {
            Language::Cpp | Language::CppOutput => "cc1plus",
            // Where a source goes to the assembler alone, it is a part too many.
            _ => "cc1",
        };
        let splits = compile.splits_dwarf().then_some("objcopy");
        for name in [proper].into_iter().chain(splits) {
            let answer = ask(compiler, &format!("-print-prog-name={name}"))?;
            let path = program(answer).ok_or_else(|| format!("the driver finds no {name}"))?;
            around.add_before(&places, name, &path);
            programs.push(path);
        }
        if let Some(path) = &assembler {
            around.add_before(&places, "as", path);
        }
        files
            .extend(ask(compiler, "-print-file-name=specs").ok().filter(|path| path.is_absolute()));
    } else {
        let words = choosing_words(compile);
        let report = report_of_clang(compiler, &words)?;
        files.extend(configuration_files(&report));
        around.take_installations(&report, &words);
    }
    // A driver with its own assembler may lack another one.
    programs.extend(assembler);
    for program in &programs {
        files.extend(libraries(program)?);
    }
    programs.extend(files);
    programs.extend(preloaded());
    // Driver and assembler share libraries, and each part is looked at on every hit.
    let mut known = HashSet::new();
    programs.retain(|path| known.insert(path.clone()));
    let part = |path: PathBuf| match digests.digest(&path) {
        Ok(digest) => Ok(Input { path, digest }),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    };
    let parts = programs.into_iter().map(part).collect::<Result<Vec<_>, _>>()?;
    let witnesses = part(LOADER_CACHE.into()).into_iter().collect();
    Ok((parts, witnesses, around))
}

/// A run that tells something; stdin is empty, messages are dropped.
fn run(command: &mut Command) -> Result<std::process::Output, String> {
    let program = command.get_program().to_os_string();
    command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", program.display()))
}

/// The path that the driver prints.
fn ask(compiler: &Path, question: &str) -> Result<PathBuf, String> {
    let output = run(Command::new(compiler).arg(question))?;
    let line = output.stdout.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if output.status.success() && !line.is_empty() {
        return Ok(OsStr::from_bytes(line).into());
    }
    Err(format!("{} does not answer {question}", compiler.display()))
}

/// The program that a name without a slash means, as the driver would start it.
fn program(name: PathBuf) -> Option<PathBuf> {
    if name.is_absolute() {
        return name.is_file().then_some(name);
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(&name)).find(|path| path.is_file())
}

/// The directories in which gcc looks for programs before it takes `PATH`.
fn driver_places(compiler: &Path) -> Result<Vec<PathBuf>, String> {
    let output = run(Command::new(compiler).arg("-print-search-dirs"))?;
    let mut lines = output.stdout.split(|byte| *byte == b'\n');
    let list = lines.find_map(|line| line.strip_prefix(b"programs: ="));
    let list = list.ok_or_else(|| format!("{} does not tell its places", compiler.display()))?;
    Ok(env::split_paths(OsStr::from_bytes(list)).collect())
}

/// What clang says about itself before an empty source.
fn report_of_clang(compiler: &Path, words: &[OsString]) -> Result<Vec<u8>, String> {
    let mut command = Command::new(compiler);
    let output = run(command.args(words).args(["-v", "-E", "-x", "c", "/dev/null"]))?;
    Ok(output.stderr)
}

/// The configuration files that clang read, by its own report.
fn configuration_files(report: &[u8]) -> impl Iterator<Item = PathBuf> {
    let lines = report.split(|byte| *byte == b'\n');
    let paths = lines.filter_map(|line| line.strip_prefix(b"Configuration file: "));
    paths.map(|path| OsStr::from_bytes(path).into())
}

/// The shared objects that the loader would load for `program`, without the C library.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, String> {
    // A static program ignores the variable; `--version` keeps it from doing anything else.
    let traced = run(Command::new(program).arg("--version").env("LD_TRACE_LOADED_OBJECTS", "1"))?;
    let text = traced.stdout;
    let mut libraries = Vec::new();
    let mut is_traced = false;
    for line in text.split(|byte| *byte == b'\n') {
        let words: Vec<_> = line.split(|byte| byte.is_ascii_whitespace()).collect();
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        if let [name, b"=>", path, ..] = words[..] {
            is_traced = true;
            let path = Path::new(OsStr::from_bytes(path));
            if !path.is_absolute() {
                return Err(format!("{} lacks a library", program.display()));
            }
            if !is_c_library(name) {
                libraries.push(path.to_path_buf());
            }
        }
    }
    if !is_traced && has_loader(program) {
        return Err(format!("the loader does not tell the libraries of {}", program.display()));
    }
    Ok(libraries)
}

fn is_c_library(name: &[u8]) -> bool {
    C_LIBRARY.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
}

/// Whether a 64-bit little-endian ELF program names a loader (`PT_INTERP`); in doubt it does.
fn has_loader(program: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(program).and_then(|file| file.take(1 << 16).read_to_end(&mut head));
    let number = |at: usize, bytes: usize| -> Option<usize> {
        let bytes = head.get(at..at + bytes)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    let programs = || {
        let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        (0..count).map(|n| number(table + n * size, 4)).collect::<Option<Vec<_>>>()
    };
    read.is_err() || head.get(4..6) != Some(&[2, 1]) || programs().is_none_or(|p| p.contains(&3))
}

fn preloaded() -> Vec<PathBuf> {
    let value = env::var_os("LD_PRELOAD").unwrap_or_default();
    let names = value.as_bytes().split(|byte| matches!(byte, b' ' | b':'));
    // What has no slash or is missing is the loader's business; its name is in the toolchain's key.
    let paths = names.map(|name| Path::new(OsStr::from_bytes(name)));
    paths.filter(|path| path.is_absolute() && path.is_file()).map(Path::to_path_buf).collect()
}

fn honours_epoch(compiler: &Path) -> Result<bool, String> {
    let mut command = Command::new(compiler);
    command.args(["-E", "-P", "-x", "c", "-"]).env("SOURCE_DATE_EPOCH", "0");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let cannot = |error| format!("cannot run {}: {error}", compiler.display());
    let mut child = command.spawn().map_err(cannot)?;
    let mut stdin = child.stdin.take().ok_or("the compiler has no stdin")?;
    stdin.write_all(b"__DATE__ __TIME__\n").map_err(cannot)?;
    drop(stdin);
    let output = child.wait_with_output().map_err(cannot)?;
    Ok(output.stdout.trim_ascii() == b"\"Jan  1 1970\" \"00:00:00\"")
}

/// What an empty source of this language reads.
fn preincluded(compile: &Compile, compiler: &Path) -> Result<Vec<PathBuf>, String> {
    if compile.language.is_read_alone() {
        return Ok(Vec::new());
    }
    let language = compile.language.name();
    let output = run(Command::new(compiler).args(["-M", "-x", language, "/dev/null"]))?;
    if !output.status.success() {
        return Err(format!("{} cannot preprocess an empty file", compiler.display()));
    }
    let files = crate::depfile::parse(&output.stdout);
    Ok(files.into_iter().filter(|path| path != Path::new("/dev/null")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(path: &str, byte: u8) -> Input {
        Input { path: path.into(), digest: [byte; 32] }
    }

    #[test]
    fn a_toolchain_survives_its_record_and_no_damage_is_a_panic() {
        let around = Surroundings {
            absent: vec!["/x/as".into()],
            directories: vec![input("/d", 4)],
            selected: vec!["/gcc/12".into()],
        };
        let asked = Asked { epoch_is_honoured: true, preincluded: vec!["/p.h".into()], around };
        let parts = vec![input("/bin/gcc", 1), input("/bin/as", 2)];
        let toolchain = Toolchain::new(parts, vec![input("/w", 3)], asked);
        let bytes = toolchain.encode();
        assert_eq!(Toolchain::decode(&bytes), Some(toolchain));
        for length in 0..bytes.len() {
            assert_eq!(Toolchain::decode(&bytes[..length]), None);
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let _ = Toolchain::decode(&damaged);
        }
    }

    #[test]
    fn parts_make_the_identity_and_witnesses_do_not() {
        let asked = || Asked {
            epoch_is_honoured: false,
            preincluded: Vec::new(),
            around: Surroundings::default(),
        };
        let of = |part, witness| {
            Toolchain::new(vec![input("/a", part)], vec![input("/w", witness)], asked()).identity
        };
        assert_eq!(of(1, 1), of(1, 2));
        assert_ne!(of(1, 1), of(2, 1));
    }

    #[test]
    fn the_c_library_is_no_part() {
        assert!(is_c_library(b"libc.so.6") && is_c_library(b"linux-vdso.so.1"));
        assert!(!is_c_library(b"libcurl.so.4") && !is_c_library(b"libisl.so.23"));
    }
}
