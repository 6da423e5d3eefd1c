//! Whether `max_size` holds, and who waits; see `larder_benches::soak`.
//!
//! Its exit status is 0 if and only if no look at `du` was above `max_size`, no record was wrong
//! and nothing is damaged at last; 3 if something is missing to do it at all. How long puts took is
//! told and not judged: that depends on the machine.

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use larder_benches::soak::settings::{Settings, USAGE};
use larder_benches::soak::{run, worker};

/// Something is missing.
const MISSING: u8 = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.first().map(String::as_str) {
        Some("work") => worker::run(&words[1..]).map(|()| ExitCode::SUCCESS),
        Some("inside") => inside(&words[1..]),
        Some("--help" | "-h" | "help") => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => outside(&words),
    };
    result.unwrap_or_else(|error| {
        eprintln!("soak: {error}");
        ExitCode::from(2)
    })
}

/// Goes on in a mount namespace of its own.
fn outside(words: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let settings = Settings::parse(words.iter().cloned())?;
    let mut missing: Vec<String> = settings.systems.iter().filter_map(|s| s.missing()).collect();
    if !rustix::process::geteuid().is_root() {
        missing.push("the rights of root, to mount file systems".into());
    } else if missing.is_empty() {
        let mut unshare = Command::new("unshare");
        let status = unshare.args(["--mount", "true"]).stderr(Stdio::null()).status();
        if !status.is_ok_and(|status| status.success()) {
            missing.push("the permission to make a mount namespace".into());
        }
    }
    if !missing.is_empty() {
        eprintln!("soak: missing: {}", missing.join(", "));
        return Ok(ExitCode::from(MISSING));
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe()?);
    Err(command.arg("inside").args(words).exec().into())
}

fn inside(words: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let settings = Settings::parse(words.iter().cloned())?;
    std::fs::create_dir_all(&settings.directory)?;
    let folder = tempfile::Builder::new().prefix("soak-").tempdir_in(&settings.directory)?;
    let mut columns = Vec::new();
    for system in &settings.systems {
        columns.push(run::run(*system, &settings, words, folder.path())?);
    }
    print!("{}", if settings.json { run::json(&columns) } else { run::text(&columns) });
    let is_good = columns.iter().all(run::Column::is_good);
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
