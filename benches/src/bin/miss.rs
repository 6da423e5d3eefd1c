//! What a miss costs beyond the compile: CPU time of larder and everything it starts, beside that
//! of the compiler alone, in turn.
//!
//! ```text
//! miss [--runs N] --larder PROGRAM -- COMPILER ARGUMENT...
//! ```
//!
//! 1. The arguments must contain `-o OBJECT`. Each round compiles with and without larder, with a
//!    macro that is new each round, so that no manifest is known and the object is the same.
//! 2. The store knows the toolchain and the headers' digests: they are looked for once per store.
//! 3. CPU time is user and system time of all children, from the kernel's `/proc/self/stat`, in
//!    steps of 10 ms; over all rounds they hardly matter. Which of both goes first alternates.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use larder_benches::process::children_cpu_seconds;

struct Options {
    runs: usize,
    larder: PathBuf,
    command: Vec<OsString>,
}

/// What one side has used, summed over the rounds.
#[derive(Default)]
struct Used {
    cpu_seconds: f64,
    wall_seconds: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = parse(std::env::args_os().skip(1))?;
    let at = options.command.iter().position(|argument| argument == "-o");
    let object = at.and_then(|at| options.command.get(at + 1)).ok_or("-o OBJECT is missing")?;
    let store = tempfile::tempdir()?;
    let (mut plain, mut wrapped) = (Used::default(), Used::default());
    // Fills the digest cache and the file system's.
    let mut unmeasured = Used::default();
    for round in [0, 1] {
        unmeasured.add(with_larder(&options, store.path(), round))?;
        unmeasured.add(alone(&options, round))?;
    }
    let before = misses(&options, store.path())?;
    for round in 2..2 + options.runs {
        let run_plain = |plain: &mut Used| plain.add(alone(&options, round));
        if round % 2 == 0 {
            run_plain(&mut plain)?;
        }
        wrapped.add(with_larder(&options, store.path(), round))?;
        let made = std::fs::read(object)?;
        if round % 2 == 1 {
            run_plain(&mut plain)?;
            if std::fs::read(object)? != made {
                return Err("larder does not give the object".into());
            }
        }
    }
    let missed = misses(&options, store.path())? - before;
    if missed != options.runs as u64 {
        return Err(format!("{missed} misses were stored in {} runs", options.runs).into());
    }
    println!("{} runs each", options.runs);
    println!("| command | CPU s per run | median wall s |\n|---|---|---|");
    for (name, used) in [("compiler alone", &mut plain), ("larder, a miss", &mut wrapped)] {
        let cpu_seconds = used.cpu_seconds / options.runs as f64;
        println!("| {name} | {cpu_seconds:.4} | {:.4} |", used.median());
    }
    println!("CPU time with larder / without: {:.4}", wrapped.cpu_seconds / plain.cpu_seconds);
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options { runs: 20, larder: PathBuf::new(), command: Vec::new() };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("a value is missing");
        match argument.to_str() {
            Some("--") => {
                options.command = arguments.collect();
                let is_complete = !options.command.is_empty() && options.runs > 0;
                return if is_complete { Ok(options) } else { Err("nothing to run".into()) };
            }
            Some("--runs") => options.runs = value()?.to_string_lossy().parse()?,
            Some("--larder") => options.larder = std::fs::canonicalize(value()?)?,
            _ => return Err(format!("unknown argument {}", argument.display()).into()),
        }
    }
    Err("the compiler is missing: end the options with --".into())
}

fn alone(options: &Options, round: usize) -> Command {
    let mut command = Command::new(&options.command[0]);
    command.args(&options.command[1..]).arg(format!("-DLARDER_BENCH_ROUND={round}"));
    command
}

fn with_larder(options: &Options, store: &Path, round: usize) -> Command {
    let mut command = Command::new(&options.larder);
    command.args(&options.command).arg(format!("-DLARDER_BENCH_ROUND={round}"));
    command.env("LARDER_DIR", store).env("LARDER_JANITOR", "off");
    command
}

/// The misses that the store has counted.
fn misses(options: &Options, store: &Path) -> Result<u64, Box<dyn Error>> {
    let mut command = Command::new(&options.larder);
    let output = command.args(["stats", "--json"]).env("LARDER_DIR", store).output()?;
    let text = String::from_utf8(output.stdout)?;
    let value = text.split_once("\"cache_miss\": ").ok_or("larder counts no misses")?.1;
    let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}

impl Used {
    fn add(&mut self, mut command: Command) -> Result<(), Box<dyn Error>> {
        let before = children_cpu_seconds()?;
        let start = Instant::now();
        let status = command.stdin(Stdio::null()).stderr(Stdio::null()).status()?;
        self.wall_seconds.push(start.elapsed().as_secs_f64());
        self.cpu_seconds += children_cpu_seconds()? - before;
        if status.success() { Ok(()) } else { Err("the compiler fails on this unit".into()) }
    }

    fn median(&mut self) -> f64 {
        self.wall_seconds.sort_by(f64::total_cmp);
        self.wall_seconds[self.wall_seconds.len() / 2]
    }
}
