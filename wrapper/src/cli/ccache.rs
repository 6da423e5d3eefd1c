//! `ccache`: the command line of a larder that is called by that name.
//!
//! 1. A name that begins with `ccache` is ccache's. What a compiler's name stands for is the matter
//!    of [`super::mask`].
//! 2. Without arguments, or with an option as the first one, it is a command. Else settings
//!    (`KEY=VALUE`) may stand before the compiler, and ccache itself any number of times.
//! 3. A wrong configuration is an error, status 1: nothing is compiled.

mod commands;
mod files;
mod options;
mod report;
mod trim_dir;
mod upkeep;

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::exit;

use crate::config::ccache::{self as settings, Settings};
use crate::files::behind_links;
use crate::invocation;

/// Every error ends with it.
pub const STATUS_FAILED: i32 = 1;
/// What stands before an option that is not to be looked at.
const SKIP: &str = "--ccache-skip";

/// Whether a program of this name is ccache.
pub fn is_name(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"ccache")
}

/// Whether a variable of ccache is set.
pub fn has_variable() -> bool {
    env::vars_os().any(|(name, _)| name.as_bytes().starts_with(b"CCACHE_"))
}

/// Runs a larder that is called `ccache`.
pub fn main(arguments: &[OsString]) -> ! {
    match arguments.first() {
        None => commands::run(arguments),
        Some(first) if first.as_bytes().starts_with(b"-") => commands::run(arguments),
        Some(_) => compile(arguments),
    }
}

/// Runs a larder that stands for ccache under the name of a compiler.
pub fn masquerade(name: &OsStr, arguments: &[OsString]) -> ! {
    run(&load(&[]), name, arguments, true)
}

/// Runs the compiler. `--ccache-skip` is for ccache alone: the word behind it is not looked at.
fn run(settings: &Settings, compiler: &OsStr, arguments: &[OsString], is_link: bool) -> ! {
    let mut config = settings.larder();
    let mut words = Vec::with_capacity(arguments.len());
    let mut skipped = Vec::new();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        let word = match word == SKIP {
            true => {
                let Some(next) = rest.next() else { break };
                skipped.push(next.clone());
                next
            }
            false => word,
        };
        words.push(word.clone());
    }
    if let Some(ccache) = &mut config.ccache {
        ccache.skipped = skipped;
    }
    invocation::run_with(config, compiler, &words, is_link)
}

fn compile(arguments: &[OsString]) -> ! {
    let is_own = |word: &OsString| {
        let name = Path::new(word).file_name().unwrap_or_default();
        is_name(name) || word.as_bytes().contains(&b'/') && is_linked(word)
    };
    let is_ours = |word: &OsString| settings::is_assignment(word) || is_own(word);
    let count = arguments.iter().take_while(|word| is_ours(word)).count();
    let (ours, rest) = arguments.split_at(count);
    let assignments: Vec<OsString> =
        ours.iter().filter(|word| settings::is_assignment(word)).cloned().collect();
    let settings = load(&assignments);
    match rest.split_first() {
        Some((compiler, rest)) => run(&settings, compiler, rest, false),
        None => fail("no compiler is given"),
    }
}

/// Whether a path leads over links to a file of ccache's name.
fn is_linked(word: &OsStr) -> bool {
    let path = Path::new(word);
    path.is_symlink()
        && behind_links(path).file_name().is_some_and(is_name)
        && !crate::compiler::is_toolchain_name(path.file_name().unwrap_or_default())
}

/// The settings of this call, or the end.
fn load(command_line: &[OsString]) -> Settings {
    settings::load(command_line).unwrap_or_else(|error| fail(&error.to_string()))
}

/// Ends with an error.
pub fn fail(what: &str) -> ! {
    eprintln!("ccache: error: {what}");
    exit(STATUS_FAILED)
}

/// What the system says, without its number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
