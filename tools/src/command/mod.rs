//! The commands, one file each. Their rows stand in larder's own table, so that its help, its man
//! pages and its completions have them: this program is called with the same words.

mod archive;
mod cat;
mod convert;
mod du;
mod export;
mod find;
mod import;
mod inspect;
mod ls;
mod progress;
mod rm;
mod shown;

use larder::cli::command::Failure;
use larder::cli::flags::Given;
use larder::cli::larder::run_tool;

use crate::place::Fault;

/// Runs the binary.
pub fn main() -> ! {
    run_tool(&|name: &str, given: &Given| match name {
        "convert" => convert::run(given),
        "export" => export::run(given),
        "import" => import::run(given),
        "inspect" => inspect::run(given),
        "ls" => ls::run(given),
        "cat" => cat::run(given),
        "rm" => rm::run(given),
        "du" => du::run(given),
        other => Err(Failure::WrongUse(format!("larder-tools has no command {other}"))),
    })
}

fn failure(fault: Fault) -> Failure {
    Failure::Failed(fault.0)
}
