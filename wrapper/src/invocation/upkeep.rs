//! Upkeep that a put found due: who does it, and how nobody waits for it.
//!
//! 1. `detached`: a process of its own, `larder janitor --background`, started after the compiler's
//!    messages and before this process ends. It does what is due once, and ends. Of two that were
//!    started at once the second finds the janitor lock taken, and ends. Where the compiler takes
//!    the place of this process, nothing is started and nothing done.
//! 2. That process inherits no file but three to nowhere, so whoever waits for the end of a pipe
//!    (make for its jobserver, a shell for the output of a build) does not wait for it. It has a
//!    session of its own, a low priority and the idle class of I/O, and stands in `/`: what the
//!    build names by relative paths is named to it by absolute ones. Nobody hears what it fails at,
//!    so that goes to the log.
//! 3. `inline`: this process drops one segment at most, and merges when look-ups would notice.
//! 4. `off`: nothing; puts are dropped and counted when the store has reached its `max_size`.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{self, Path};
use std::process::{Command, Stdio};

use larder_engine::env::{idle_io_priority, without_inherited_files};
use larder_engine::{Budget, Maintained, Store};

use super::Session;
use crate::config::{Config, Janitor};
use crate::exec::OWN_EXE;
use crate::outcome::Counter;

/// The argument of `larder janitor` that lets it be in nobody's way.
pub const BACKGROUND: &str = "--background";

/// The priority of a janitor in the background: behind compilers, and not starved by them. With 19,
/// where compilers keep all processors busy, it evicts a quarter of what it does with 5, and puts
/// are dropped because the store is full; see docs/decisions/0011.
const NICE: i32 = 5;

/// Sees to what is due.
pub(super) fn maintain(session: &Session<'_>) {
    // What is due stays due until it is done, and every compile sees it meanwhile.
    if session.store.is_being_maintained() {
        return;
    }
    match session.call.config.janitor.value {
        Janitor::Off => {}
        Janitor::Detached => {
            if let Err(error) = start(session.call.config) {
                session.log(format_args!("cannot start a janitor: {error}"));
            }
        }
        Janitor::Inline => {
            if let Err(error) = upkeep(&session.store, Budget::inline()) {
                session.log(format_args!("upkeep failed: {error}"));
            }
        }
    }
}

/// Does what is due, and counts a clean-up if something was evicted.
///
/// # Errors
/// As [`Store::maintain`].
pub fn upkeep(store: &Store, budget: Budget) -> larder_engine::Result<Maintained> {
    let done = store.maintain(budget)?;
    if done.segments_evicted > 0 {
        store.counters().add(Counter::CleanupsPerformed as usize, 1);
    }
    Ok(done)
}

/// Starts `larder janitor --background`; it lives on when this process has ended.
fn start(config: &Config) -> io::Result<()> {
    // This very file, also if another one has its name by now. What it is called counts: under the
    // name of a compiler, as a hard link may be, it would be that compiler.
    let mut command = Command::new(OWN_EXE);
    command.arg0("larder").args(["janitor", BACKGROUND]).current_dir("/");
    let file = env::var_os("LARDER_CONFIG");
    let named = [
        ("LARDER_CONFIG", file.as_deref().map(Path::new)),
        ("LARDER_LOG", config.log.value.as_deref()),
    ];
    for (variable, path) in named {
        // An empty name is none, and stays.
        if let Some(Ok(path)) = path.map(path::absolute) {
            command.env(variable, path);
        }
    }
    if config.is_of_another_cache() {
        // The janitor's settings are larder's own: it gets what those of the other cache mean.
        let dir = config.dir.value.as_deref().unwrap_or(Path::new(""));
        command.env("LARDER_CONFIG", "/dev/null").env("LARDER_DIR", dir);
        command.env("LARDER_MAX_SIZE", config.max_size_bytes.value.to_string());
        command.env("LARDER_UMASK", format!("{:03o}", config.umask.value));
        command.env_remove("LARDER_FILE_CLONE").env_remove("LARDER_READONLY");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    without_inherited_files(|| command.spawn())?.map(drop)
}

/// Puts this process out of everybody's way: whatever of it is refused, the rest is done.
pub fn step_back() {
    let _ = rustix::process::setsid();
    let _ = rustix::process::nice(NICE);
    let _ = idle_io_priority();
}
