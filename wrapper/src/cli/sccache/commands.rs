//! What sccache's options do.
//!
//! 1. There is no server. `--start-server` makes the store if it is not there, and statistics count
//!    from that moment; `--stop-server` prints them, and they count from then. Both succeed however
//!    often they are called, and whatever is wrong: that is told on stderr, and compiles go on
//!    without a store. `--stop-server` waits until what was made is in the tiers, if there are any.
//! 2. Where it is not certain which store is meant, the other commands end with an error. What else
//!    is wrong in the configuration is told on stderr, and the command goes on without it.

use std::process::exit;
use std::time::Duration;

use larder_engine::Store;

use super::super::command::{Failure, print};
use super::super::verify::open_to_read;
use super::options::{self, Asked, Format, What};
use super::report::Report;
use super::{INTERFACE_VERSION, compile, fail};
use crate::agent::{Launch, Reply, Request};
use crate::config::Config;
use crate::config::sccache as settings;
use crate::stats;
use crate::store::open_store;

/// As long as `--stop-server` waits for tiers.
const FLUSH: Duration = Duration::from_secs(60);

/// Why compiles go nowhere else.
const NOT_DISTRIBUTED: &str = "larder does not distribute compiles";

/// Runs what is asked for.
pub fn run(asked: Asked) -> ! {
    match asked {
        Asked::Compile(words) => compile(&words),
        Asked::Command(what, format) => end(perform(what, format)),
    }
}

/// Runs sccache as it is called to be the server.
pub fn start_alone() -> ! {
    end(perform(What::StartServer, Format::Text))
}

fn end(result: Result<(), Failure>) -> ! {
    match result {
        Ok(()) => exit(0),
        Err(failure) => fail(failure.text()),
    }
}

fn perform(what: What, format: Format) -> Result<(), Failure> {
    match what {
        What::ShowStats => show(format, false),
        What::ShowAdvStats => show(format, true),
        What::StartServer => told(start()),
        What::StopServer => told(stop()),
        What::ZeroStats => zero(),
        What::DebugPreprocessorCache => {
            print("There is no preprocessor cache: `larder explain` tells of a single call\n")
        }
        What::DistStatus => print(&format!("{{\"Disabled\":\"{NOT_DISTRIBUTED}\"}}\n")),
        What::DistAuth | What::PackageToolchain => Err(Failure::Failed(NOT_DISTRIBUTED.to_owned())),
        What::Help => print(&options::help()),
        What::Version | What::StatsFormat => {
            let own = env!("CARGO_PKG_VERSION");
            print(&format!("sccache {INTERFACE_VERSION} (larder {own})\n"))
        }
    }
}

/// A failure that ends nothing, because a build may go on behind it.
fn told(result: Result<(), Failure>) -> Result<(), Failure> {
    if let Err(failure) = result {
        eprintln!("sccache: error: {}; compiles are not cached", failure.text());
    }
    Ok(())
}

/// The configuration, whose problems are told.
fn configuration() -> Result<Config, Failure> {
    let config = settings::load();
    if let Some(problem) = &config.dir_problem {
        return Err(Failure::Failed(problem.clone()));
    }
    for problem in &config.problems {
        eprintln!("sccache: warning: {problem}");
    }
    Ok(config)
}

/// The store, to be written; it is made if it is not there.
fn writable(config: &Config) -> Result<Store, Failure> {
    let path = config.dir.value.as_deref();
    let path = path.ok_or_else(|| Failure::Failed("neither SCCACHE_DIR nor HOME is set".into()))?;
    let mut config = config.clone();
    // Who may not store results counts all the same.
    config.readonly.value = false;
    Ok(open_store(&config, path)?)
}

/// The store, to be read; `None` if there is none.
fn existing(config: &Config) -> Result<Option<Store>, Failure> {
    match config.dir.value.as_deref().filter(|path| path.exists()) {
        Some(path) => Ok(Some(open_to_read(config, path)?)),
        None => Ok(None),
    }
}

fn show(format: Format, advanced: bool) -> Result<(), Failure> {
    let config = configuration()?;
    let report = Report::read(&config, existing(&config)?.as_ref())?;
    match format {
        Format::Text => print(&report.text(advanced)),
        Format::Json => print(&report.json()),
    }
}

fn start() -> Result<(), Failure> {
    let config = configuration()?;
    print("sccache: Starting the server...\n")?;
    let store = writable(&config)?;
    stats::set_baseline(&store);
    let place = store.path().display();
    print(&format!("sccache: There is no server: results are kept in {place}, counted from now\n"))
}

/// A CI stops the server last: what it has made is to be in the tiers by then.
fn flush_tiers(config: &Config) {
    let Some(path) = config.dir.value.as_deref().filter(|_| !config.tiers.value.is_empty()) else {
        return;
    };
    let running = Launch::new(config, path).running().ok().flatten();
    let Some(mut client) = running.filter(|_| path.exists()) else { return };
    let flushed = client.wait_at_most(FLUSH);
    let wait_ms = FLUSH.as_millis() as u64;
    match flushed.and_then(|()| client.ask(&Request::Flush { wait_ms })) {
        Ok(Reply::Failed(why)) => eprintln!("sccache: warning: not everything is written: {why}"),
        Err(error) => eprintln!("sccache: warning: not everything is written: {error}"),
        Ok(_) => {}
    }
    let _ = client.ask(&Request::Stop);
}

fn stop() -> Result<(), Failure> {
    let config = configuration()?;
    print("Stopping sccache server...\n")?;
    flush_tiers(&config);
    let store = existing(&config)?;
    print(&Report::read(&config, store.as_ref())?.text(false))?;
    // A store that cannot be written has counted nothing.
    if store.is_some()
        && let Ok(store) = writable(&config)
        && !store.is_read_only()
    {
        stats::set_baseline(&store);
    }
    Ok(())
}

fn zero() -> Result<(), Failure> {
    let config = configuration()?;
    let store = writable(&config)?;
    if store.is_read_only() {
        return Err(Failure::Failed(format!("{} is read-only", store.path().display())));
    }
    stats::zero(&store);
    eprintln!("Statistics zeroed.");
    Ok(())
}
