//! Warm hits, whole processes side by side: larder, other caches, and a plain copy of the object.
//!
//! ```text
//! hit [--runs N] --larder PROGRAM [--against PROGRAM]... [--floor PROGRAM] -- COMPILER ARGUMENT...
//! ```
//!
//! `--floor` names the program of `floor.rs`. sccache is recognised by its name: its server is
//! started before the first run and stopped at the end.
//!
//! The arguments must contain `-o OBJECT`. Every cache gets an empty store of its own, is filled by
//! one compile, and its object is compared with that of the compiler before its hits are timed. The
//! object and its dependency file are gone before each hit, as in a fresh tree.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use larder_benches::process::{Candidate, compare, table};

/// Hits before the first one that counts.
const WARM_UP: usize = 10;

struct Options {
    runs: usize,
    caches: Vec<PathBuf>,
    floor: Option<PathBuf>,
    command: Vec<OsString>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = parse(std::env::args_os().skip(1))?;
    let at = options.command.iter().position(|argument| argument == "-o");
    let object = at.and_then(|at| options.command.get(at + 1)).ok_or("-o OBJECT is missing")?;
    let object = PathBuf::from(object);
    let expected = compile(&options.command, &object)?;
    let stores = tempfile::tempdir()?;
    let mut candidates = Vec::new();
    for (number, cache) in options.caches.iter().enumerate() {
        let store = stores.path().join(number.to_string());
        let command = cached(cache, &store, &options.command);
        for _ in 0..2 {
            if !command().status()?.success() || std::fs::read(&object)? != expected {
                return Err(format!("{} does not give the object", cache.display()).into());
            }
        }
        let name = cache.display().to_string();
        let object = object.clone();
        let before = Box::new(move || {
            for made in [object.clone(), object.with_extension("d")] {
                let _ = std::fs::remove_file(made);
            }
        });
        candidates.push(Candidate { name, command: Box::new(command), before });
    }
    candidates.push(copy(stores.path(), &expected)?);
    if let Some(program) = &options.floor {
        candidates.push(floor(program, stores.path(), &options.command, &expected)?);
    }
    println!("{} bytes of object, {} runs each", expected.len(), options.runs);
    print!("{}", table(&compare(&candidates, WARM_UP, options.runs)));
    for cache in options.caches.iter().filter(|cache| is_sccache(cache)) {
        Command::new(cache).arg("--stop-server").output()?;
    }
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options { runs: 200, caches: Vec::new(), floor: None, command: Vec::new() };
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--") => {
                options.command = arguments.collect();
                return Ok(options);
            }
            Some("--runs") => {
                let value = arguments.next().ok_or("--runs needs a number")?;
                options.runs = value.to_string_lossy().parse()?;
            }
            Some("--floor") => {
                let program = arguments.next().ok_or("a program is missing")?;
                options.floor = Some(std::fs::canonicalize(program)?);
            }
            Some("--larder" | "--against") => {
                let program = arguments.next().ok_or("a program is missing")?;
                options.caches.push(std::fs::canonicalize(program)?);
            }
            _ => return Err(format!("unknown argument {}", argument.display()).into()),
        }
    }
    Err("the compiler is missing: end the options with --".into())
}

fn compile(command: &[OsString], object: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let status = Command::new(&command[0]).args(&command[1..]).status()?;
    if !status.success() {
        return Err("the compiler fails on this unit".into());
    }
    Ok(std::fs::read(object)?)
}

fn is_sccache(cache: &Path) -> bool {
    cache.file_name().is_some_and(|name| name == "sccache")
}

/// The floor: the headers are those that the compiler lists.
fn floor(
    program: &Path,
    directory: &Path,
    command: &[OsString],
    object: &[u8],
) -> Result<Candidate, Box<dyn Error>> {
    let (list, packed) = (directory.join("list"), directory.join("packed"));
    let depfile = directory.join("list.d");
    // A hit must look at the system headers, too, which -MMD would leave out of the list.
    let arguments = command[1..].iter().filter(|argument| *argument != "-MMD");
    let status =
        Command::new(&command[0]).args(arguments).args(["-MD", "-MF"]).arg(&depfile).status()?;
    if !status.success() {
        return Err("the compiler does not list its headers".into());
    }
    let text = std::fs::read_to_string(depfile)?;
    let headers = text.split_whitespace().skip(1).filter(|word| *word != "\\");
    let headers: Vec<&str> = headers.take_while(|word| !word.ends_with(':')).collect();
    std::fs::write(&list, headers.join("\n"))?;
    std::fs::write(&packed, zstd::bulk::compress(object, 1)?)?;
    let (program, output) = (program.to_path_buf(), directory.join("floor.o"));
    let made = output.clone();
    let command = move || {
        let mut command = Command::new(&program);
        command.arg(&list).arg(&packed).arg(&output);
        command
    };
    let before = Box::new(move || drop(std::fs::remove_file(&made)));
    let name = format!("floor: {} headers, decompress, write", headers.len());
    Ok(Candidate { name, command: Box::new(command), before })
}

/// Makes the command of a cache in front of the compiler.
fn cached(cache: &Path, store: &Path, command: &[OsString]) -> impl Fn() -> Command + use<> {
    let (cache, store, command) = (cache.to_path_buf(), store.to_path_buf(), command.to_vec());
    move || {
        let mut cached = Command::new(&cache);
        cached.args(&command);
        cached.env("LARDER_DIR", &store).env("CCACHE_DIR", &store).env("SCCACHE_DIR", &store);
        cached
    }
}

fn copy(directory: &Path, object: &[u8]) -> Result<Candidate, Box<dyn Error>> {
    let (from, to) = (directory.join("from.o"), directory.join("to.o"));
    std::fs::write(&from, object)?;
    let command = move || {
        let mut command = Command::new("cp");
        command.arg(&from).arg(&to);
        command
    };
    let before = Box::new(|| {});
    Ok(Candidate { name: "cp of the object".into(), command: Box::new(command), before })
}
