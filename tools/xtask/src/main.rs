//! Automation of the workspace: `cargo xtask COMMAND`.
//!
//! 1. Every command works from a clean clone with cargo and a C compiler; what else is missing is
//!    named, and left out.
//! 2. A command writes below the target directory only.

mod crash;
mod demo;
mod dist;
mod elf;
mod equivalence;
mod fuzz;
mod misses;
mod nightly;
mod process;
mod projects;
mod sanitize;
mod seeks;
mod soak;
mod test;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  demo [--keep] [--json]     compile a C and a C++ project through larder, cold and warm, and
                             compare every file with a build without larder
                               --keep  leave the store and the built trees in target/demo
                               --json  print the result as one JSON object
  demo --tiers [--keep]      build them on four machines that share Redis, HTTP and memcached: one
                             makes everything, the others get it
  test [--no-install] [ARG]  install what the tests can use (as root, with apt-get), then run
                             every test; the ARGs go to `cargo test`
  fuzz [TARGET] [--seconds N]
                             run one fuzz target, or each, under libFuzzer (needs nightly)
  sanitize [miri] [address] [thread]
                             run the engine's tests under Miri and the sanitizers (needs nightly)
  crash [--runs N] [--seed S] [--trace] [--only-kills]
                             cut the power of a simulated machine in 10,000 seeded runs, and check
                             what the store makes of what is left
                               --trace       tell all that was done before a failure
                               --only-kills  kill every process instead
  equivalence [--rust|--links] [--mutations N] [--seed S] [--jobs N] [--json]
                             compile (or link) small random projects with and without larder
                             after each of 10,000 random changes, and compare what is left
                               --keep-going N  end after so many failures (20)
                               --larder PATH   another larder than that of this tree
  dist                       build the release binaries into target/dist
  fill STORE N [--max-size BYTES] [--seed N]
                             fill a store with N entries of realistic sizes, for measurements
  storm [OPTION...]          let processes write and read one store while others kill and stop
                             them, and check that nothing is lost, wrong, stuck or too large
                               --writers N --readers N --janitors N --seconds S --seed N
                               --max-size BYTES  evict during the storm
                               --namespaces      in PID and mount namespaces (as root)
                               --json            print the summary as one JSON object
                               --help            the other options
  powercut [OPTION...]       cut the power under a store on ext4, XFS and btrfs (as root): record
                             what the disk is told, and check the store on what the disk may have
                             after that, at hundreds of moments
                               --fs LIST --images N --seed N
                               --json            print the table as JSON
                               --help            the other options
  traces [OPTION...]         replay recorded builds on rules of eviction and on the engine: hit
                             ratio and write amplification
                               --trace FILE --sizes LIST --variants --results PATH
                               --json            print one JSON object
  seeks [OPTION...]          count what larder and others ask a spinning disk for (as root): cold
                             hits, misses, puts, eviction, with three models of the time
                               --quick           in a minute
                               --only LIST --out DIR
                               --json            print the figures as JSON
                               --help            the other options
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((command, rest)) => match command.as_str() {
            "crash" => crash::run(rest),
            "demo" => demo::run(rest),
            "test" => test::run(rest),
            "fuzz" => fuzz::run(rest),
            "sanitize" => sanitize::run(rest),
            "equivalence" => equivalence::run(rest),
            "dist" => dist::run(rest),
            "fill" => bench("fill", rest),
            "storm" => below_target("storm", rest),
            "powercut" => below_target("powercut", rest),
            "traces" => bench("traces", rest),
            "soak" => soak::run(rest),
            "misses" => misses::run(rest),
            "projects" | "crates" | "tiers" | "convert" => projects::run(command, rest),
            "seeks" => seeks::run(rest),
            "help" | "--help" | "-h" => {
                print!("{USAGE}{}{}{}", soak::USAGE, projects::USAGE, misses::USAGE);
                Ok(true)
            }
            other => Err(format!(
                "there is no command `{other}`\n\n{USAGE}{}{}{}",
                soak::USAGE,
                projects::USAGE,
                misses::USAGE
            )
            .into()),
        },
        None => Err(format!("a command is missing\n\n{USAGE}").into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs a program of the benchmarks below the target directory, where what failed is left to be
/// looked at.
pub(crate) fn below_target(name: &str, arguments: &[String]) -> process::Outcome<bool> {
    let folder = workspace::target_dir()?.join(name).to_string_lossy().into_owned();
    let place = ["--directory".to_string(), folder];
    if arguments.iter().any(|word| word == "--directory" || word == "--help") {
        return bench(name, arguments);
    }
    bench(name, &[&place, arguments].concat())
}

/// Runs a program of the benchmarks.
fn bench(name: &str, arguments: &[String]) -> process::Outcome<bool> {
    let mut cargo = workspace::cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "larder-benches", "--bin", name, "--"]);
    process::succeeds(cargo.args(arguments))
}
