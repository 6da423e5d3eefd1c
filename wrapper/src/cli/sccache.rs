//! `sccache`: the command line of a larder that is called by that name.
//!
//! 1. `sccache`, and such a name with a version behind it, is sccache's; what a compiler's name
//!    stands for is the matter of [`super::mask`].
//! 2. Without arguments, or with an option as the first one, it is a command. Else a compiler
//!    follows, before which sccache itself may stand any number of times.
//! 3. Nothing that is wrong in the configuration stops a compile: there is no server that could
//!    not be started.

mod commands;
mod options;
mod report;

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::exit;

use crate::config::sccache as settings;
use crate::files::behind_links;
use crate::invocation;

/// The status of everything that goes wrong in sccache.
pub const STATUS_FAILED: i32 = 2;
/// The version of sccache whose interface this is.
pub const INTERFACE_VERSION: &str = "0.19.0";

/// Whether a program of this name is sccache, and not the scheduler that comes with it.
pub fn is_name(name: &OsStr) -> bool {
    let rest = name.as_bytes().strip_prefix(b"sccache");
    rest.is_some_and(|rest| matches!(rest, [] | [b'-' | b'.', ..]) && !rest.starts_with(b"-dist"))
}

/// Runs a larder that is called `sccache`.
pub fn main(arguments: &[OsString]) -> ! {
    match arguments.first() {
        Some(first) if !first.as_bytes().starts_with(b"-") => compile(arguments),
        _ if arguments.is_empty() && is_asked_to_serve() => commands::start_alone(),
        _ => match options::parse(arguments) {
            Ok(asked) => commands::run(asked),
            Err(what) => {
                eprintln!("error: {what}\n\nFor more information, try '--help'.");
                exit(STATUS_FAILED)
            }
        },
    }
}

/// How sccache calls itself to be the server, and people do to see what it says.
fn is_asked_to_serve() -> bool {
    env::var_os("SCCACHE_START_SERVER").is_some_and(|value| value == "1")
}

/// Runs a larder that stands for sccache under the name of a compiler.
pub fn masquerade(name: &OsStr, arguments: &[OsString]) -> ! {
    invocation::run_with(settings::load(), name, arguments, true)
}

/// Runs the compiler.
fn compile(words: &[OsString]) -> ! {
    let count = words.iter().take_while(|word| is_own(word)).count();
    match words[count..].split_first() {
        Some((compiler, rest)) if !compiler.is_empty() => {
            invocation::run_with(settings::load(), compiler, rest, false)
        }
        _ => fail("no compiler is given"),
    }
}

/// Whether a word is sccache itself, by its name or by a link.
fn is_own(word: &OsString) -> bool {
    let path = Path::new(word);
    let name = path.file_name().unwrap_or_default();
    is_name(name)
        || path.is_symlink()
            && word.as_bytes().contains(&b'/')
            && behind_links(path).file_name().is_some_and(is_name)
            && !crate::compiler::is_toolchain_name(name)
}

/// Ends with an error.
fn fail(what: &str) -> ! {
    eprintln!("sccache: error: {what}");
    exit(STATUS_FAILED)
}
