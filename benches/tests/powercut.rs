//! Power cuts, small: some images of ext4, and runs that must fail.
//!
//! They need the rights of root, FUSE and `mkfs.ext4`; without them they say so and check nothing.

use std::process::{Command, Output};

/// The status of a run that lacks something.
const MISSING: i32 = 3;

/// Runs it on ext4; `None`, with the reason on stderr, where something is missing.
fn powercut(arguments: &str) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_powercut"));
    command.args("--json --fs ext4 --jobs 2".split(' ')).arg("--directory").arg(folder.path());
    let output = command.args(arguments.split_whitespace()).output().expect("it starts");
    if output.status.code() == Some(MISSING) {
        eprint!("skipped: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(output)
}

fn words(output: &Output) -> String {
    let [text, errors] = [&output.stdout, &output.stderr].map(|t| String::from_utf8_lossy(t));
    format!("{text}\n{errors}")
}

#[test]
fn a_few_cuts_of_the_power_lose_nothing_that_was_safe() {
    let Some(output) = powercut("--images 9 --operations 120 --seed 1") else { return };
    let text = words(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("\"images\":9,") && text.contains("\"failures\":0,"), "{text}");
    assert!(!text.contains("\"checkpoints\":0,"), "{text}");
}

/// A check that cannot fail checks nothing: an engine that forgets its syncs has to be found.
#[test]
fn an_engine_that_forgets_its_syncs_is_found() {
    let Some(output) = powercut("--images 14 --operations 160 --seed 2 --break sync") else {
        return;
    };
    let text = words(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is found; before a checkpoint"), "{text}");
}

/// So has a disk that forgets what it was told to keep.
#[test]
fn a_disk_that_ignores_flushes_is_found() {
    let Some(output) = powercut("--images 14 --operations 160 --seed 3 --break flush") else {
        return;
    };
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
}

#[test]
fn options_that_are_not_understood_are_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_powercut")).arg("--fs=fat").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
