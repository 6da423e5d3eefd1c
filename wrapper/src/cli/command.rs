//! What the commands share: how they fail, where the store is, and printing.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use larder_engine::Store;
use larder_engine::env::RealEnv;
use larder_engine::sealed::Manifest;

use crate::config::Config;
use crate::store::open_store;

/// A command waits so long for a janitor that is at work.
const JANITOR_WAIT: Duration = Duration::from_secs(60);

/// Why a command ended.
pub enum Failure {
    /// The command line is wrong.
    WrongUse(String),
    /// Something could not be done.
    Failed(String),
    /// The store could not be read at all, where that is told apart from what was found in it.
    Unreadable(String),
}

impl Failure {
    /// What there is to say of it.
    pub fn text(&self) -> &str {
        match self {
            Failure::WrongUse(text) | Failure::Failed(text) | Failure::Unreadable(text) => text,
        }
    }

    /// The same for a command that tells apart what it finds and that it cannot look.
    pub fn unreadable(self) -> Failure {
        match self {
            Failure::Failed(text) => Failure::Unreadable(text),
            other => other,
        }
    }
}

impl From<larder_engine::Error> for Failure {
    fn from(error: larder_engine::Error) -> Failure {
        Failure::Failed(words(&error))
    }
}

/// What went wrong, and what can be done.
pub fn words(error: &larder_engine::Error) -> String {
    format!("{error}; {}", advice(error))
}

/// What can be done about an error of the store.
pub fn advice(error: &larder_engine::Error) -> &'static str {
    use larder_engine::ErrorKind as Kind;
    match error.kind() {
        Kind::NotAStore => {
            "there is something else, and no store: set LARDER_DIR to a directory of its own"
        }
        _ if error.is_not_found() => {
            "the directory holds no store: set LARDER_DIR, or let a compile make one"
        }
        Kind::NewerFormat => {
            "a newer larder made it: use that one, or another LARDER_DIR for this one"
        }
        Kind::Busy => "try again, and `larder doctor` says who is in the way",
        Kind::OtherKernel => {
            "another kernel uses it: give each machine a store of its own by LARDER_DIR; after a \
             reboot wait a minute"
        }
        Kind::Corrupt => "it is damaged: run `larder verify --repair`",
        Kind::ReadOnly => {
            "this user may not read it, or not write it: give the store to this user, or set \
             LARDER_DIR"
        }
        Kind::Full => "make room on the disk, or run `larder trim`",
        Kind::Limit => "a setting is out of bounds: `larder config` shows the settings",
        _ => {
            "the system refuses: see that LARDER_DIR names a directory on a disk that works; \
             `larder doctor` tells more"
        }
    }
}

/// Whether a directory was exported, and stays as it is.
pub fn is_export(path: &Path) -> bool {
    matches!(Manifest::read(&RealEnv, path), Ok(Some(_)))
}

/// Why a store that has to be changed cannot be, and what can be done.
pub fn read_only(config: &Config, path: &Path) -> Failure {
    let is_export = is_export(path);
    let path = path.display();
    if is_export {
        return Failure::Failed(format!(
            "{path} is an export, which is only read; `larder import` takes it into a store"
        ));
    }
    let readonly = [&config.readonly, &config.readonly_direct].into_iter().find(|s| s.value);
    Failure::Failed(match readonly {
        Some(setting) => {
            let origin = &setting.origin;
            format!("{path} is read-only by a setting ({origin}): set it to 0 for this command")
        }
        None => format!(
            "{path} is read-only: this user may not write it, or it is mounted so; give it to this \
             user, or set LARDER_DIR"
        ),
    })
}

/// Writes to stdout. A reader that is gone has seen enough; any other failure is one.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Where the store is. A setting that may name one and is wrong leaves open which is meant, and
/// none is better than another one.
pub fn store_directory(config: &Config) -> Result<&Path, Failure> {
    if let Some(problem) = &config.dir_problem {
        let advice = "`larder config` shows every setting and where it comes from";
        return Err(Failure::WrongUse(format!("{problem}; {advice}")));
    }
    let missing = "nobody says where the store is: set LARDER_DIR to a directory, or HOME";
    config.dir.value.as_deref().ok_or_else(|| Failure::Failed(missing.to_owned()))
}

/// The store, for a command that changes it.
pub fn open_writable() -> Result<Store, Failure> {
    let config = Config::load();
    let store = open_store(&config, store_directory(&config)?)?;
    if store.is_read_only() {
        return Err(read_only(&config, store.path()));
    }
    Ok(store)
}

/// Does what needs the lock of upkeep. Right after a build a janitor often has it, for seconds on a
/// slow disk; a lock that is not given back is another matter, and told at once.
///
/// # Errors
/// As `work` does.
pub fn after_janitor<T>(
    store: &Store,
    mut work: impl FnMut(&Store) -> larder_engine::Result<T>,
) -> larder_engine::Result<T> {
    let begun = Instant::now();
    loop {
        match work(store) {
            Err(error)
                if error.is_busy()
                    && store.is_being_maintained()
                    && begun.elapsed() < JANITOR_WAIT => {}
            other => return other,
        }
    }
}
