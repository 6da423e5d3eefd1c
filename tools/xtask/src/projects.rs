//! `cargo xtask projects`, `crates`, `tiers` and `convert`: known projects, and any cargo
//! workspace, built with and without caches; what comes from remote tiers; and what a conversion
//! moves.

use crate::below_target;
use crate::process::{self, Outcome};
use crate::workspace;

/// What the list of commands says of it.
pub const USAGE: &str = "  \
  projects [OPTION...]       build redis, fmt, leveldb, xz, pixman and zlib without a cache and
                             through larder (cold, warm, changed, in a second checkout), and
                             compare every file; what is missing is downloaded with apt-get
                               --only LIST --against PROGRAM --sources DIR
                               --json            print one JSON object for each project
                               --help            the other options
  crates [OPTION...] DIR...  build cargo workspaces by cargo alone and through larder (first, warm,
                             between branches, in a second checkout), and compare every file
                               --command WORDS --against PROGRAM --branches A,B --second
                               --json            print one JSON object for each command
                               --help            the other options
  tiers [OPTION...]          build from Redis and HTTP with an empty local store, and with a dead
                             tier, beside ccache and sccache; needs redis-server and nginx
                               --runs N --sccache PROGRAM
                               --help            the other options
  convert [OPTION...]        convert a cache directory of 100,000 entries, beside tar of it; with
                             --cold (as root) what that asks of a spinning disk, too
                               --entries N --runs N
                               --help            the other options
";

/// Builds the wrapper, if none is named, and runs a program of the benchmarks with it; whether all
/// files were the same.
pub fn run(name: &str, arguments: &[String]) -> Outcome<bool> {
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let mut words = arguments.to_vec();
    if !has("--larder") && !has("--help") && !has("-h") {
        let mut cargo = workspace::cargo();
        cargo.args(["build", "--release", "--quiet", "--package", "larder", "--bins"]);
        if name == "convert" {
            cargo.args(["--package", "larder-tools"]);
        }
        process::run(&mut cargo)?;
        let program = workspace::target_dir()?.join("release/larder");
        words.extend(["--larder".to_string(), program.to_string_lossy().into_owned()]);
    }
    below_target(name, &words)
}
