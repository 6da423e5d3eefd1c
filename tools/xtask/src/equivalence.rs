//! `cargo xtask equivalence`: thousands of random changes of small projects, each compiled with and
//! without larder, in a release build.

use crate::process::{self, Outcome};
use crate::workspace;

/// Runs the test with these arguments; the answer is whether nothing differed.
pub fn run(arguments: &[String]) -> Outcome<bool> {
    let release = ["--release", "--quiet", "--package"];
    let mut build = workspace::cargo();
    process::run(build.arg("build").args(release).args(["larder", "--bin", "larder"]))?;
    let mut cargo = workspace::cargo();
    cargo.arg("run").args(release).args(["larder-tests", "--bin", "equivalence", "--"]);
    process::succeeds(cargo.args(arguments))
}
