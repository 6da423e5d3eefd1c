//! What `larder convert` moves in a second; see `larder_benches::conversions`.

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use larder_benches::conversions::settings::{Settings, USAGE};
use larder_benches::conversions::{carry, run};
use larder_benches::seeks::disk;

/// Said to the program that goes on in a mount namespace of its own.
const INSIDE: &str = "inside";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match work(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("convert: {error}");
            ExitCode::from(2)
        }
    }
}

fn work(words: &[String]) -> Result<(), Box<dyn Error>> {
    let is_inside = words.first().is_some_and(|word| word == INSIDE);
    let words = if is_inside { &words[1..] } else { words };
    let mut settings = Settings::parse(words.iter().cloned())?;
    if settings.cold && !is_inside {
        let missing = disk::missing();
        if !missing.is_empty() {
            return Err(format!("missing for --cold: {}", missing.join(", ")).into());
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe()?);
        return Err(command.arg(INSIDE).args(words).exec().into());
    }
    std::fs::create_dir_all(&settings.directory)?;
    let folder = tempfile::tempdir_in(&settings.directory)?;
    settings.larder = settings.larder.canonicalize()?;
    let measure = if settings.carry { carry::run } else { run::run };
    print!("{}", measure(&settings, &folder.path().canonicalize()?)?);
    Ok(())
}
