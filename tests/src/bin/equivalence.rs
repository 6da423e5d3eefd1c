//! The long mode of the equivalence test: `equivalence [--rust|--links] [--mutations N] [--seed S]
//! [--jobs N] [--json] [--larder PATH] [--keep-going N]`. Prints a reproduction of each failure;
//! the exit status is 0 if and only if there was none, enough commands compile, and enough calls
//! were answered from the store.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use larder_tests::equivalence::{self, CHANGES, Failure, Kitchen, Language, Tally};

/// Mutations where nobody says.
const MUTATIONS: u64 = 10_000;
/// Failures after which a run ends: what is wrong by then has been told often enough.
const FAILURES_MAX: u64 = 20;
/// Cells of the bar.
const CELLS: u64 = 24;
/// Of all calls so many percent at least are answered from the store, or the test shows little.
const HITS_MIN_PERCENT: u64 = 15;

/// And with so many percent of the changes at least the compiler alone succeeds.
const SUCCESSES_MIN_PERCENT: u64 = 40;

struct Wanted {
    language: Language,
    mutations: u64,
    seed: u64,
    jobs: usize,
    is_json: bool,
    larder: PathBuf,
    failures_max: u64,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let larder = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut wanted = Wanted {
        language: Language::C,
        mutations: MUTATIONS,
        seed: 1,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        is_json: false,
        larder: larder.with_file_name("larder"),
        failures_max: FAILURES_MAX,
    };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        let number = |value: String| {
            value.parse::<u64>().map_err(|_| format!("{argument} needs a number, not {value}"))
        };
        match argument.as_str() {
            "--mutations" => wanted.mutations = number(value()?)?,
            "--seed" => wanted.seed = number(value()?)?,
            "--jobs" => wanted.jobs = number(value()?)?.max(1) as usize,
            "--keep-going" => wanted.failures_max = number(value()?)?,
            "--larder" => wanted.larder = value()?.into(),
            "--rust" => wanted.language = Language::Rust,
            "--links" => wanted.language = Language::Link,
            "--json" => wanted.is_json = true,
            other => return Err(format!("equivalence does not know `{other}`")),
        }
    }
    if !wanted.larder.is_file() {
        return Err(format!("there is no {}", wanted.larder.display()));
    }
    Ok(wanted)
}

/// What all threads have done.
struct Progress {
    begun: Instant,
    shown: Instant,
    next_seed: u64,
    tally: Tally,
    failed: Vec<u64>,
    error: Option<String>,
}

impl Progress {
    fn is_over(&self, wanted: &Wanted) -> bool {
        let failed = self.failed.len() as u64;
        self.tally.mutations >= wanted.mutations
            || failed >= wanted.failures_max
            || self.error.is_some()
    }

    fn show(&mut self, wanted: &Wanted) {
        let is_terminal = std::io::stderr().is_terminal();
        let pause = Duration::from_millis(if is_terminal { 200 } else { 10_000 });
        if self.shown.elapsed() < pause {
            return;
        }
        self.shown = Instant::now();
        let (done, all) = (self.tally.mutations.min(wanted.mutations), wanted.mutations.max(1));
        let filled = (done * CELLS / all) as usize;
        let bar = format!("{}{}", "#".repeat(filled), ".".repeat(CELLS as usize - filled));
        let seconds = self.begun.elapsed().as_secs();
        let left = (seconds * (all - done)).checked_div(done).unwrap_or(0);
        let text = format!(
            "[{bar}] {done}/{all} mutations, {} hits, {} failed, {seconds} s, {left} s left",
            self.tally.hits(),
            self.failed.len()
        );
        // Nobody minds a bar that cannot be shown.
        let _ = match is_terminal {
            true => write!(std::io::stderr(), "\r{text}\x1b[K"),
            false => writeln!(std::io::stderr(), "{text}"),
        };
    }
}

/// Takes seeds until there is enough.
fn work(wanted: &Wanted, kitchen: &Kitchen, progress: &Mutex<Progress>) {
    loop {
        let seed = {
            let mut progress = progress.lock().expect("no thread panics with it");
            if progress.is_over(wanted) {
                return;
            }
            progress.next_seed += 1;
            progress.next_seed - 1
        };
        let outcome = equivalence::run(kitchen, seed, CHANGES);
        let mut progress = progress.lock().expect("no thread panics with it");
        match outcome {
            Ok((tally, failure)) => {
                progress.tally.add(&tally);
                if let Some(failure) = failure {
                    tell(&failure);
                    progress.failed.push(seed);
                }
            }
            Err(error) => progress.error = Some(format!("seed {seed}: {error}")),
        }
        progress.show(wanted);
    }
}

fn tell(failure: &Failure) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    eprintln!("{failure}");
}

fn report(wanted: &Wanted, progress: &Progress) -> bool {
    let tally = &progress.tally;
    let calls: u64 = tally.counted.values().sum();
    let hits = tally.hits();
    let has_hits = hits * 100 >= calls * HITS_MIN_PERCENT;
    let compiles = tally.successes * 100 >= tally.mutations * SUCCESSES_MIN_PERCENT;
    if wanted.is_json {
        let json = serde_json::json!({
            "mutations": tally.mutations,
            "successes": tally.successes,
            "unstable": tally.unstable,
            "calls": calls,
            "hits": hits,
            "counted": tally.counted,
            "failed_seeds": progress.failed,
            "seconds": progress.begun.elapsed().as_secs_f64(),
        });
        println!("{json:#}");
    } else {
        println!("{:8} mutations", tally.mutations);
        println!("{:8} of them compile", tally.successes);
        println!("{:8} of them differ without larder, too", tally.unstable);
        println!("{calls:8} calls of larder, of these");
        for (name, count) in &tally.counted {
            println!("{count:8}   {name}");
        }
        println!("{:8} failures", progress.failed.len());
    }
    if !has_hits {
        eprintln!("only {hits} of {calls} calls were hits: this shows little");
    }
    if !compiles {
        let (some, all) = (tally.successes, tally.mutations);
        eprintln!("only {some} of {all} commands compile: this shows little");
    }
    for seed in &progress.failed {
        let kind = match wanted.language {
            Language::C => "",
            Language::Rust => " --rust",
            Language::Link => " --links",
        };
        eprintln!("again: cargo xtask equivalence{kind} --seed {seed} --mutations 1");
    }
    has_hits && compiles && progress.failed.is_empty()
}

fn main() -> ExitCode {
    let wanted = match parse(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("equivalence: {error}");
            return ExitCode::from(2);
        }
    };
    let kitchen = match Kitchen::new(&wanted.larder, wanted.language) {
        Ok(kitchen) => kitchen,
        Err(error) => {
            eprintln!("equivalence: {error}");
            return ExitCode::from(2);
        }
    };
    let now = Instant::now();
    let progress = Mutex::new(Progress {
        begun: now,
        shown: now,
        next_seed: wanted.seed,
        tally: Tally::default(),
        failed: Vec::new(),
        error: None,
    });
    std::thread::scope(|scope| {
        (0..wanted.jobs).for_each(|_| drop(scope.spawn(|| work(&wanted, &kitchen, &progress))));
    });
    let progress = progress.into_inner().expect("no thread panicked with it");
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    if let Some(error) = &progress.error {
        eprintln!("equivalence: {error}");
        return ExitCode::from(2);
    }
    if report(&wanted, &progress) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
