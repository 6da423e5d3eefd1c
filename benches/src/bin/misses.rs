//! What misses cost over a project: each of its sources is compiled by the compiler alone and
//! through caches whose stores are empty at first, and the CPU times are compared.
//!
//! ```text
//! misses [--runs N] [--units N] [--larder PROGRAM] [--against PROGRAM]... --sources DIR
//!        -- COMPILER ARGUMENT...
//! ```
//!
//! 1. The sources are the files of the directory with a suffix of C or C++, in the order of their
//!    names, the first N of them if so many are asked for. Each is compiled there, by the words
//!    behind `--` with `-c SOURCE -o OBJECT`; one that does not compile so is left out.
//! 2. In each run every cache begins with a new store, so that the toolchain, the search path and
//!    every header are looked at for the first time, too. A unit is compiled by all candidates in
//!    turn; which of them is the first alternates. Their objects must be the same.
//! 3. CPU time is user and system time of all children, from the kernel, in steps of 10 ms, which
//!    hardly matter over many units. Upkeep of larder's store is off.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use larder_benches::process::children_cpu_seconds;

const USAGE: &str = "\
cargo xtask misses [OPTION...] --sources DIR -- COMPILER ARGUMENT...

  --sources DIR      where the sources stand, and where they are compiled
  --units N          compile only so many of them
  --runs N           all of it so often, with new stores (3)
  --larder PROGRAM   the wrapper (target/release/larder)
  --against PROGRAM  another cache that is put before the compiler, as ccache
";
const SUFFIXES: [&str; 5] = ["c", "cc", "cpp", "cxx", "C"];

struct Options {
    runs: usize,
    units: usize,
    sources: PathBuf,
    larder: Option<PathBuf>,
    caches: Vec<PathBuf>,
    command: Vec<OsString>,
}

/// The compiler alone, or behind a cache.
struct Candidate {
    name: String,
    cache: Option<PathBuf>,
    /// CPU seconds of each run.
    cpu_seconds: Vec<f64>,
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if words.iter().take_while(|word| *word != "--").any(|word| word == "--help" || word == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match parse(words.into_iter()).and_then(|options| work(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("misses: {error}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        runs: 3,
        units: usize::MAX,
        sources: PathBuf::new(),
        larder: None,
        caches: Vec::new(),
        command: Vec::new(),
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or("a value is missing");
        match word.to_str() {
            Some("--") => options.command = words.by_ref().collect(),
            Some("--runs") => options.runs = value()?.to_string_lossy().parse()?,
            Some("--units") => options.units = value()?.to_string_lossy().parse()?,
            Some("--sources") => options.sources = std::fs::canonicalize(value()?)?,
            Some("--larder") => options.larder = Some(std::fs::canonicalize(value()?)?),
            Some("--against") => options.caches.push(std::fs::canonicalize(value()?)?),
            _ => return Err(format!("misses does not know `{}`", word.display()).into()),
        }
    }
    let is_whole = !options.command.is_empty() && options.sources != Path::new("");
    let is_some = options.runs > 0 && options.units > 0;
    if is_whole && is_some { Ok(options) } else { Err(USAGE.into()) }
}

fn work(options: &Options) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let units = units(options, folder.path())?;
    let caches = options.larder.iter().chain(&options.caches);
    let cached = caches.map(|cache| Candidate::new(cache.display().to_string(), Some(cache)));
    let mut candidates = vec![Candidate::new("the compiler alone".into(), None)];
    candidates.extend(cached);
    for run in 0..options.runs {
        let stores = tempfile::tempdir_in(folder.path())?;
        for candidate in &mut candidates {
            candidate.cpu_seconds.push(0.0);
        }
        for (number, unit) in units.iter().enumerate() {
            eprint!("\rrun {}: unit {} of {} ", run + 1, number + 1, units.len());
            compile_by_all(options, &mut candidates, (run + number, unit), stores.path())?;
        }
        eprintln!();
        if let Some(larder) = &options.larder {
            let missed = misses(larder, &store(stores.path(), 1))?;
            if missed != units.len() as u64 {
                return Err(format!("{missed} misses of {} units", units.len()).into());
            }
        }
    }
    println!("{} units, {} runs", units.len(), options.runs);
    print!("{}", table(&candidates));
    Ok(())
}

/// The sources that the compiler takes.
fn units(options: &Options, folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let entries = std::fs::read_dir(&options.sources)?;
    let names = entries.map(|entry| Ok(PathBuf::from(entry?.file_name())));
    let mut names = names.collect::<std::io::Result<Vec<PathBuf>>>()?;
    names.retain(|name| SUFFIXES.iter().any(|suffix| name.extension() == Some(OsStr::new(suffix))));
    names.sort();
    let mut units = Vec::new();
    for name in names {
        if units.len() == options.units {
            break;
        }
        // Unmeasured: it fills the file system's cache, too.
        match command(options, None, &name, folder).status()?.success() {
            true => units.push(name),
            false => eprintln!("left out: {}", name.display()),
        }
    }
    if units.is_empty() { Err("no source compiles".into()) } else { Ok(units) }
}

fn compile_by_all(
    options: &Options,
    candidates: &mut [Candidate],
    (round, unit): (usize, &Path),
    stores: &Path,
) -> Result<(), Box<dyn Error>> {
    let count = candidates.len();
    let mut made: Option<Vec<u8>> = None;
    for turn in 0..count {
        let at = (round + turn) % count;
        let candidate = &mut candidates[at];
        let store = store(stores, at);
        let behind = candidate.cache.as_deref().map(|cache| (cache, store.as_path()));
        let mut command = command(options, behind, unit, stores);
        // What the one before has made is not this one's.
        let _ = std::fs::remove_file(stores.join("unit.o"));
        let before = children_cpu_seconds()?;
        let status = command.status()?;
        *candidate.cpu_seconds.last_mut().ok_or("no run")? += children_cpu_seconds()? - before;
        let object = std::fs::read(stores.join("unit.o")).unwrap_or_default();
        let is_same = made.get_or_insert_with(|| object.clone()) == &object;
        if !status.success() || !is_same {
            return Err(format!("{} does not give {}", candidate.name, unit.display()).into());
        }
    }
    Ok(())
}

fn store(stores: &Path, number: usize) -> PathBuf {
    stores.join(number.to_string())
}

/// A compile, behind a cache with its store.
fn command(
    options: &Options,
    behind: Option<(&Path, &Path)>,
    unit: &Path,
    folder: &Path,
) -> Command {
    let mut words = options.command.clone();
    words.extend(["-c".into(), unit.into(), "-o".into(), folder.join("unit.o").into()]);
    let mut command = match behind {
        Some((cache, store)) => {
            let mut command = Command::new(cache);
            command.args(&words).env("LARDER_DIR", store).env("CCACHE_DIR", store);
            command
        }
        None => {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command
        }
    };
    command.env("LARDER_CONFIG", "/dev/null").env("LARDER_JANITOR", "off");
    command.current_dir(&options.sources);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The misses that larder's store has counted.
fn misses(larder: &Path, store: &Path) -> Result<u64, Box<dyn Error>> {
    let mut command = Command::new(larder);
    command.args(["stats", "--json"]).env("LARDER_DIR", store).env("LARDER_CONFIG", "/dev/null");
    let text = String::from_utf8(command.output()?.stdout)?;
    let value = text.split_once("\"cache_miss\": ").ok_or("larder counts no misses")?.1;
    let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}

impl Candidate {
    fn new(name: String, cache: Option<&PathBuf>) -> Candidate {
        Candidate { name, cache: cache.cloned(), cpu_seconds: Vec::new() }
    }
}

/// The first candidate is what all are compared with, run by run.
fn table(candidates: &[Candidate]) -> String {
    let median = |mut numbers: Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    let mut text = "| command | median CPU s | median ratio | of all runs |\n".to_owned();
    text += "|---|---|---|---|\n";
    for candidate in candidates {
        let pairs = candidate.cpu_seconds.iter().zip(&candidates[0].cpu_seconds);
        let ratios: Vec<f64> = pairs.map(|(own, alone)| own / alone).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        let cpu_seconds = median(candidate.cpu_seconds.clone());
        let ratio = median(ratios);
        let name = &candidate.name;
        text += &format!("| {name} | {cpu_seconds:.2} | {ratio:.4} | {least:.4}-{most:.4} |\n");
    }
    text
}
