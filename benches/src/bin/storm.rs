//! A storm of processes on one store, killed and stopped at random; see `larder_benches::storm`.
//!
//! Its exit status is 0 if and only if no record was wrong, lost or came back, no lock was stuck or
//! waited for too long, and the store is no larger than what was put and what the killed left.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use larder_benches::storm::board::Writing;
use larder_benches::storm::ledger::Ledger;
use larder_benches::storm::settings::{Settings, USAGE};
use larder_benches::storm::spawn::{Place, can_unshare};
use larder_benches::storm::summary::Summary;
use larder_benches::storm::worker::{self, Role};
use larder_benches::storm::{check, conductor};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.first().map(String::as_str) {
        Some("worker") => work(&words[1..]).map(|()| true),
        Some("--help" | "-h" | "help") => {
            print!("{USAGE}");
            Ok(true)
        }
        _ => storm(words),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("storm: {error}");
            ExitCode::from(2)
        }
    }
}

/// `worker ROLE ID STORE BOARD`, and the words of the storm.
fn work(words: &[String]) -> Result<(), Box<dyn Error>> {
    let [role, id, store, board, rest @ ..] = words else { return Err("a worker is told".into()) };
    let role = Role::of(role).ok_or("there is no such role")?;
    let settings = Settings::parse(rest.iter().cloned())?;
    worker::run(role, id.parse()?, Path::new(store), Path::new(board), &settings)
}

fn storm(words: Vec<String>) -> Result<bool, Box<dyn Error>> {
    let mut settings = Settings::parse(words.iter().cloned())?;
    if settings.namespaces
        && let Err(reason) = can_unshare()
    {
        eprintln!("skipped: workers in namespaces of their own ({reason})");
        settings.namespaces = false;
    }
    let parent = settings.directory.clone().unwrap_or_else(std::env::temp_dir);
    std::fs::create_dir_all(&parent)?;
    let folder = tempfile::Builder::new().prefix("storm-").tempdir_in(parent.canonicalize()?)?;
    let inside = |name: &str| -> Result<PathBuf, std::io::Error> {
        let path = folder.path().join(name);
        std::fs::create_dir(&path)?;
        Ok(path)
    };
    let place = Place {
        program: std::env::current_exe()?,
        store: inside("store")?,
        other_path: inside("other-path")?,
        board: inside("board")?,
        words,
    };
    let ledger = Ledger::new(settings.seed, Writing::new(&place.board)?);
    let (mut ledger, events) = conductor::run(&settings, &place, ledger)?;
    let waits_left_out = ledger.judge_waits(|id, from, to| events.stood(id, from, to));
    let findings = check::check(&settings, &place.store, &mut ledger, &events)?;
    let summary = Summary::new(&settings, &ledger, &events, &findings, waits_left_out);
    print!("{}", if settings.json { summary.json() } else { summary.text() });
    if !summary.is_good() && settings.directory.is_some() {
        eprintln!("left in {}", folder.keep().display());
    }
    Ok(summary.is_good())
}
