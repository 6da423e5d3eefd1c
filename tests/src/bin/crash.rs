//! Many simulated power cuts: `crash [--runs N] [--seed S] [--trace] [--only-kills]`. Prints each
//! seed that failed; the exit status is 0 if and only if none did.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use larder_tests::crash::{self, Diary, Machine, Tally};

/// Runs where nobody says.
const RUNS: u64 = 10_000;

/// How often the progress line comes.
const PROGRESS: Duration = Duration::from_secs(5);

struct Wanted {
    runs: u64,
    seed: u64,
    /// Whether a failure tells all that was done before.
    trace: bool,
    machine: Machine,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted { runs: RUNS, seed: 1, trace: false, machine: Machine::default() };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().and_then(|value| value.parse().ok());
            value.ok_or(format!("{argument} needs a number"))
        };
        match argument.as_str() {
            "--runs" => wanted.runs = number()?,
            "--seed" => wanted.seed = number()?,
            "--trace" => wanted.trace = true,
            "--only-kills" => wanted.machine.only_kills = true,
            other => return Err(format!("crash does not know `{other}`")),
        }
    }
    Ok(wanted)
}

/// What all threads have done.
struct Progress {
    begun: Instant,
    shown: Instant,
    tally: Tally,
    failed: u64,
}

/// Takes seeds until there are none left.
fn work(wanted: &Wanted, next: &AtomicU64, progress: &Mutex<Progress>) {
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= wanted.runs {
            return;
        }
        let mut diary = Diary { is_detailed: wanted.trace, ..Diary::default() };
        let outcome = crash::run(wanted.seed + number, wanted.machine, &mut diary);
        let mut progress = progress.lock().expect("no thread panics with it");
        progress.tally.add(&diary.tally);
        if let Err(failure) = outcome {
            println!("{failure}");
            diary.journal.iter().filter(|_| wanted.trace).for_each(|line| println!("  {line}"));
            progress.failed += 1;
        }
        if progress.shown.elapsed() > PROGRESS {
            progress.shown = Instant::now();
            let seconds = progress.begun.elapsed().as_secs();
            let (runs, cuts) = (progress.tally.runs, progress.tally.power_cuts);
            eprintln!("{seconds} s: {runs} runs, {cuts} power cuts, {} failed", progress.failed);
        }
    }
}

fn main() -> ExitCode {
    let wanted = match parse(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("crash: {error}");
            return ExitCode::from(2);
        }
    };
    let now = Instant::now();
    let progress = Progress { begun: now, shown: now, tally: Tally::default(), failed: 0 };
    let (next, progress) = (AtomicU64::new(0), Mutex::new(progress));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&wanted, &next, &progress));
        }
    });
    let progress = progress.into_inner().expect("no thread panicked with it");
    for (name, number) in progress.tally.numbers() {
        println!("{number:10} {name}");
    }
    if progress.failed == 0 {
        return ExitCode::SUCCESS;
    }
    println!("{} runs failed; one again: cargo xtask crash --seed S --runs 1", progress.failed);
    ExitCode::FAILURE
}
