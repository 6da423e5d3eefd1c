//! `cargo xtask crash`: thousands of simulated power cuts, in a release build.

use crate::process::{self, Outcome};
use crate::workspace;

/// Runs the simulator with these arguments; the answer is whether no run failed.
pub fn run(arguments: &[String]) -> Outcome<bool> {
    let mut cargo = workspace::cargo();
    cargo.args([
        "run",
        "--release",
        "--quiet",
        "--package",
        "larder-tests",
        "--bin",
        "crash",
        "--",
    ]);
    process::succeeds(cargo.args(arguments))
}
