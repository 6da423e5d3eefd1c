//! What stores ask a spinning disk for; see `larder_benches::seeks`.
//!
//! Its exit status is 0 if everything was measured, 3 if something is missing to do it at all.

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use larder_benches::seeks::settings::{Settings, USAGE};
use larder_benches::seeks::{disk, plot, run, summary, worker};

/// Something is missing.
const MISSING: u8 = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = words.split_first().map_or(("", &[][..]), |(c, r)| (c.as_str(), r));
    let result = match command {
        "work" => worker::work(rest).map(|()| ExitCode::SUCCESS),
        "inside" => inside(rest),
        "plot" => match rest {
            [folder] => plot::all(folder.as_ref()).map(|()| ExitCode::SUCCESS).map_err(Into::into),
            _ => Err("plot takes a directory".into()),
        },
        "--help" | "-h" | "help" => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => outside(&words),
    };
    result.unwrap_or_else(|error| {
        eprintln!("seeks: {error}");
        ExitCode::from(2)
    })
}

/// Goes on in a mount namespace of its own.
fn outside(words: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    Settings::parse(words.iter().cloned())?;
    let missing = disk::missing();
    if !missing.is_empty() {
        eprintln!("seeks: missing: {}", missing.join(", "));
        return Ok(ExitCode::from(MISSING));
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe()?);
    Err(command.arg("inside").args(words).exec().into())
}

fn inside(words: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let settings = Settings::parse(words.iter().cloned())?;
    std::fs::create_dir_all(&settings.directory)?;
    let folder = tempfile::tempdir_in(&settings.directory)?;
    let report = run::run(&settings, &folder.path().canonicalize()?)?;
    if let Some(out) = &settings.out {
        std::fs::write(out.join(plot::FIGURES), summary::json(&report))?;
        plot::all(out)?;
    }
    print!("{}", if settings.json { summary::json(&report) } else { summary::text(&report) });
    Ok(ExitCode::SUCCESS)
}
