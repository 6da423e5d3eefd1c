//! A whole warm build by `make -j2`, side by side: larder, other caches, and a compiler that does
//! nothing.
//!
//! ```text
//! rebuild [--runs N] [--compiler CC] [--flags FLAGS]
//!         --larder PROGRAM [--against PROGRAM]... DIRECTORY
//! ```
//!
//! Every `.c` file of the directory that compiles with the flags becomes an object; the directory
//! is copied first and stays as it is. Every cache is filled by one build before its builds are
//! timed, each of them from a tree without objects.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use larder_benches::process::{Candidate, compare, table};

struct Options {
    runs: usize,
    compiler: String,
    flags: String,
    caches: Vec<PathBuf>,
    directory: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = parse(std::env::args().skip(1))?;
    let work = tempfile::tempdir()?;
    let tree = work.path().join("tree");
    let copied = Command::new("cp").arg("-r").arg(&options.directory).arg(&tree).status()?;
    if !copied.success() {
        return Err("the directory cannot be copied".into());
    }
    let units = units(&options, &tree)?;
    std::fs::write(tree.join("units.mk"), makefile(&options, &units))?;
    let mut candidates = Vec::new();
    for (number, cache) in options.caches.iter().enumerate() {
        let store = work.path().join(number.to_string());
        candidates.push(candidate(&cache.display().to_string(), cache, &store, &tree));
        make(cache, &store, &tree).status()?;
    }
    let nothing = Path::new("/bin/true");
    candidates.push(candidate("a compiler that does nothing", nothing, work.path(), &tree));
    println!("{} units, make -j2, {} runs each", units.len(), options.runs);
    print!("{}", table(&compare(&candidates, 1, options.runs)));
    Ok(())
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        runs: 10,
        compiler: "gcc".into(),
        flags: "-O2 -g -MMD".into(),
        caches: Vec::new(),
        directory: PathBuf::new(),
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--runs" => options.runs = value()?.parse()?,
            "--compiler" => options.compiler = value()?,
            "--flags" => options.flags = value()?,
            "--larder" | "--against" => options.caches.push(std::fs::canonicalize(value()?)?),
            _ => options.directory = word.into(),
        }
    }
    if options.directory.as_os_str().is_empty() {
        Err("the directory is missing".into())
    } else {
        Ok(options)
    }
}

/// The units that compile, without their suffix.
fn units(options: &Options, tree: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut units = Vec::new();
    for entry in std::fs::read_dir(tree)? {
        let path = entry?.path();
        let (Some(name), Some("c")) = (
            path.file_stem().and_then(|name| name.to_str()),
            path.extension().and_then(|e| e.to_str()),
        ) else {
            continue;
        };
        let mut check = Command::new(&options.compiler);
        check.args(options.flags.split_whitespace().filter(|flag| !flag.starts_with("-M")));
        check.args(["-fsyntax-only", &format!("{name}.c")]).current_dir(tree);
        if check.stderr(Stdio::null()).status()?.success() {
            units.push(name.to_owned());
        }
    }
    units.sort();
    if units.is_empty() { Err("no unit compiles with these flags".into()) } else { Ok(units) }
}

fn makefile(options: &Options, units: &[String]) -> String {
    let objects: Vec<String> = units.iter().map(|unit| format!("{unit}.o")).collect();
    let Options { compiler, flags, .. } = options;
    format!(
        "all: {}\n%.o: %.c\n\t@$(LAUNCHER) {compiler} {flags} -c $< -o $@ 2>/dev/null\n",
        objects.join(" ")
    )
}

fn make(launcher: &Path, store: &Path, tree: &Path) -> Command {
    let mut make = Command::new("make");
    make.args(["-j2", "-s", "-r", "-f", "units.mk"]).current_dir(tree);
    make.arg(format!("LAUNCHER={}", launcher.display()));
    make.env("LARDER_DIR", store).env("CCACHE_DIR", store).env("SCCACHE_DIR", store);
    make
}

fn candidate(name: &str, launcher: &Path, store: &Path, tree: &Path) -> Candidate {
    let (launcher, store, built) =
        (launcher.to_path_buf(), store.to_path_buf(), tree.to_path_buf());
    let tree = tree.to_path_buf();
    let command = Box::new(move || make(&launcher, &store, &built));
    let before = Box::new(move || clean(&tree));
    Candidate { name: name.to_owned(), command, before }
}

/// Removes what a build has made. What cannot be removed is built over.
fn clean(tree: &Path) {
    for entry in std::fs::read_dir(tree).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|suffix| suffix == "o" || suffix == "d") {
            let _ = std::fs::remove_file(path);
        }
    }
}
