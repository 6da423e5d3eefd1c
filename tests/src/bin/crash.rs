//! Many simulated power cuts: `crash [--runs N] [--seed S] [--only-kills] [--trace]`. Prints the seed of each run
//! that failed; the exit status is 0 if and only if none did.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use larder_tests::crash::{self, Diary, Failure, Machine};

/// Runs where nobody says.
const RUNS: u64 = 10_000;

/// How often the progress line is renewed.
const PROGRESS: Duration = Duration::from_secs(2);

struct Wanted {
    runs: u64,
    seed: u64,
    trace: bool,
    only_kills: bool,
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted { runs: RUNS, seed: 1, trace: false, only_kills: false };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().and_then(|value| value.parse().ok());
            value.ok_or(format!("{argument} needs a number"))
        };
        match argument.as_str() {
            "--runs" => wanted.runs = number()?,
            "--seed" => wanted.seed = number()?,
            "--only-kills" => wanted.only_kills = true,
            "--trace" => wanted.trace = true,
            other => return Err(format!("crash does not know `{other}`")),
        }
    }
    Ok(wanted)
}

fn main() -> ExitCode {
    let wanted = match parse(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("crash: {error}");
            return ExitCode::from(2);
        }
    };
    let (mut diary, mut failures) = (Diary::default(), Vec::<Failure>::new());
    diary.is_detailed = wanted.trace;
    let machine = Machine { only_kills: wanted.only_kills, ..Machine::default() };
    let begun = Instant::now();
    let mut shown = begun;
    for seed in wanted.seed..wanted.seed + wanted.runs {
        if let Err(failure) = crash::run(seed, machine, &mut diary) {
            println!("{failure}");
            diary.journal.iter().filter(|_| wanted.trace).for_each(|line| println!("  {line}"));
            failures.push(failure);
        }
        if shown.elapsed() > PROGRESS {
            shown = Instant::now();
            let seconds = begun.elapsed().as_secs();
            let (runs, cuts, failed) = (diary.tally.runs, diary.tally.power_cuts, failures.len());
            eprintln!("{seconds} s: {runs} runs, {cuts} power cuts, {failed} failed");
        }
    }
    for (name, number) in diary.tally.numbers() {
        println!("{number:10} {name}");
    }
    if failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("{} runs failed; one again: cargo xtask crash --seed S --runs 1", failures.len());
    ExitCode::FAILURE
}
