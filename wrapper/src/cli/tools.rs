//! Commands whose work is done by `larder-tools`, a program of its own: what they need, no compile
//! has to load. This program becomes that one, with the same words.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::command::Failure;
use super::flags::Given;

/// The program.
pub const PROGRAM: &str = "larder-tools";

/// Becomes `larder-tools`: the one beside this program, else the one on `PATH`.
pub fn start(_: &Given) -> Result<(), Failure> {
    let beside = env::current_exe().ok().map(|own| own.with_file_name(PROGRAM));
    let program = beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(PROGRAM));
    let error = Command::new(&program).args(env::args_os().skip(1)).exec();
    Err(Failure::Failed(format!(
        "{} cannot be started: {error}; it is installed with larder: put it beside larder, or on \
         PATH",
        program.display()
    )))
}
