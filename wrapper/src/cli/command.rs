//! What the commands share: how they fail, where the store is, and printing.

use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::config::Config;

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

/// What went wrong, and what can be done where somebody else is in the way.
pub fn words(error: &larder_engine::Error) -> String {
    match error.is_busy() {
        true => format!("{error}; try again, and `larder doctor` says who is in the way"),
        false => error.to_string(),
    }
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
