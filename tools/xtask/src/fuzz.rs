//! `cargo xtask fuzz`: the fuzz targets under libFuzzer, one after the other.
//!
//! Inputs that were found interesting stay in target/fuzz/corpus, those that crash in
//! target/fuzz/artifacts; a run goes on from there.

use std::path::Path;

use crate::process::{self, Outcome};
use crate::{nightly, workspace};

/// Seconds for each target where nobody says.
const SECONDS: &str = "60";

/// Largest input in bytes: some pages, and a body with several sections.
const INPUT_BYTES_MAX: u32 = 32 << 10;

/// Runs one target or all of them; the answer is whether none crashed.
pub fn run(arguments: &[String]) -> Outcome<bool> {
    let (wanted, seconds) = parse(arguments)?;
    let known = targets(&workspace::root())?;
    let targets = match wanted {
        None => known,
        Some(name) if known.contains(&name) => vec![name],
        Some(name) => {
            let known = known.join(", ");
            return Err(format!("there is no target `{name}`, only {known}").into());
        }
    };
    if !nightly::is_there() || !nightly::has(&["fuzz", "--version"], "cargo install cargo-fuzz") {
        return Ok(false);
    }
    let folder = workspace::target_dir()?.join("fuzz");
    let corpus = folder.join("corpus");
    let mut seeds = workspace::cargo();
    seeds.args(["run", "--quiet", "--package", "larder-tests", "--bin", "fuzz_seeds", "--"]);
    process::run(seeds.arg(&corpus))?;
    let mut crashed = Vec::new();
    for target in targets {
        if !fuzz(&folder, &target, &seconds)? {
            crashed.push(target);
        }
    }
    if !crashed.is_empty() {
        eprintln!("xtask: crashed: {}; see {}", crashed.join(", "), folder.display());
    }
    Ok(crashed.is_empty())
}

/// The target, if one is named, and the seconds.
fn parse(arguments: &[String]) -> Outcome<(Option<String>, String)> {
    let (mut target, mut seconds) = (None, SECONDS.to_owned());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => {
                let value = rest.next().ok_or("--seconds needs a number")?;
                value.parse::<u32>().map_err(|_| "--seconds needs a number")?;
                seconds = value.clone();
            }
            name if !name.starts_with('-') && target.is_none() => target = Some(name.to_owned()),
            other => return Err(format!("fuzz does not know `{other}`").into()),
        }
    }
    Ok((target, seconds))
}

/// The names of all targets, from their binaries.
fn targets(root: &Path) -> Outcome<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root.join("tests/fuzz/fuzz_targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn fuzz(folder: &Path, target: &str, seconds: &str) -> Outcome<bool> {
    let artifacts = folder.join("artifacts").join(target);
    std::fs::create_dir_all(&artifacts)?;
    let mut cargo = nightly::cargo();
    cargo.args(["fuzz", "run", "--fuzz-dir", "tests/fuzz", "--target-dir"]);
    cargo.arg(folder).arg(target).arg(folder.join("corpus").join(target)).arg("--");
    cargo.arg(format!("-max_total_time={seconds}"));
    cargo.arg(format!("-max_len={INPUT_BYTES_MAX}"));
    // The trailing slash makes it a folder.
    cargo.arg(format!("-artifact_prefix={}/", artifacts.display()));
    process::succeeds(cargo.arg("-print_final_stats=1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_and_seconds_are_understood_in_any_order() {
        let parse = |line: &str| parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let named = (Some("tail".to_owned()), "7".to_owned());
        assert_eq!(parse("tail --seconds 7").unwrap(), named);
        assert_eq!(parse("--seconds 7 tail").unwrap(), named);
        assert!(parse("--seconds many").is_err());
        assert!(parse("tail body").is_err());
        assert!(parse("--jobs").is_err());
    }
}
