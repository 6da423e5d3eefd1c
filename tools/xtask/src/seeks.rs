//! `cargo xtask seeks`: what stores ask a spinning disk for.
//!
//! Builds the programs that take part and were not named, and says what cannot take part.

use std::path::Path;

use crate::below_target;
use crate::process::{self, Outcome};
use crate::workspace;

/// The status of a process whose user is not root says it in this line.
const OWN_STATUS: &str = "/proc/self/status";

/// Runs the disk model with these arguments.
pub fn run(arguments: &[String]) -> Outcome<bool> {
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    if has("--help") || has("-h") {
        return below_target("seeks", arguments);
    }
    if !is_root() {
        return Err(
            "`cargo xtask seeks` needs the rights of root: it mounts a disk of its own and \
                    has the kernel trace its requests"
                .into(),
        );
    }
    let mut words = arguments.to_vec();
    if takes_part(arguments, "larder-wrapper") && !has("--larder") {
        let mut cargo = workspace::cargo();
        cargo.args(["build", "--release", "--quiet", "--package", "larder", "--bin", "larder"]);
        process::run(&mut cargo)?;
        add(&mut words, "--larder", &workspace::target_dir()?.join("release/larder"));
    }
    if takes_part(arguments, "lmdb") && !has("--lmdb") && !has("--quick") {
        let target = workspace::target_dir()?.join("compare");
        let mut cargo = workspace::cargo();
        cargo.args([
            "build",
            "--release",
            "--quiet",
            "--manifest-path",
            "benches/compare/Cargo.toml",
        ]);
        // It has dependencies that an offline machine may lack; the others do without it.
        if process::succeeds(cargo.arg("--target-dir").arg(&target))? {
            add(&mut words, "--lmdb", &target.join("release/compare"));
        }
    }
    below_target("seeks", &words)
}

fn add(words: &mut Vec<String>, option: &str, program: &Path) {
    words.extend([option.to_string(), program.to_string_lossy().into_owned()]);
}

/// Whether a contestant is measured: all are where `--only` names none.
fn takes_part(arguments: &[String], contestant: &str) -> bool {
    let at = arguments.iter().position(|argument| argument == "--only");
    let list = at.and_then(|at| arguments.get(at + 1));
    list.is_none_or(|list| list.split(',').any(|name| name == contestant))
}

/// Whether we are root, as the kernel says it of this process.
fn is_root() -> bool {
    let status = std::fs::read_to_string(OWN_STATUS).unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_listed_takes_no_part() {
        let words = |line: &str| line.split(' ').map(str::to_string).collect::<Vec<_>>();
        assert!(takes_part(&words("--json"), "lmdb"));
        assert!(takes_part(&words("--only files,lmdb"), "lmdb"));
        assert!(!takes_part(&words("--only files --json"), "lmdb"));
    }
}
