//! `cargo xtask misses`: what misses cost over the sources of a directory.

use crate::process::Outcome;
use crate::{bench, dist};

/// What the list of commands says of it.
pub const USAGE: &str = "  \
  misses [OPTION...] --sources DIR -- COMPILER ARG...
                             compile every source of a directory without a cache and through
                             larder with an empty store, and compare the CPU time
                               --against PROGRAM --units N --runs N
";

/// Builds the wrapper as a release has it, if none is named, and measures.
pub fn run(arguments: &[String]) -> Outcome<bool> {
    let own = arguments.iter().take_while(|word| *word != "--");
    let is_named = own.into_iter().any(|word| ["--larder", "--help", "-h"].contains(&&**word));
    if is_named {
        return bench("misses", arguments);
    }
    let larder = dist::wrapper()?.to_string_lossy().into_owned();
    bench("misses", &[&["--larder".to_owned(), larder], arguments].concat())
}
