//! Builds from remote tiers; see `larder_benches::tiers`.

use std::process::ExitCode;

use larder_benches::tiers::run::run;
use larder_benches::tiers::settings::{Settings, USAGE};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let settings = Settings::parse(words.into_iter());
    match settings.map_err(Into::into).and_then(|settings| run(&settings)) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tiers: {error}");
            ExitCode::FAILURE
        }
    }
}
