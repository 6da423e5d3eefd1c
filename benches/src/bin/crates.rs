//! Cargo workspaces with and without wrappers; see `larder_benches::crates`.
//!
//! Its exit status is 0 if and only if every build through larder made what cargo alone makes, and
//! warm builds had hits.

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use larder_benches::crates::run::run;
use larder_benches::crates::settings::{Settings, USAGE};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    work(words).unwrap_or_else(|error| {
        eprintln!("crates: {error}");
        ExitCode::from(2)
    })
}

fn work(words: Vec<String>) -> Result<ExitCode, Box<dyn Error>> {
    let settings = Settings::parse(words.into_iter())?;
    fs::create_dir_all(&settings.directory)?;
    let mut is_good = true;
    for workspace in &settings.workspaces {
        for report in run(workspace, &settings)? {
            print!("{}", if settings.json { report.json() } else { report.text() });
            is_good &= report.is_good();
        }
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
