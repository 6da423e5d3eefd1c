//! The storm, small: a few processes for a second or two, and storms that must fail.

use std::process::{Command, Output};

fn storm(arguments: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_storm"));
    command.args("--json --writers 4 --readers 3 --segment 1048576".split(' '));
    // The directory goes away with this test, also after a failure.
    command.arg("--directory").arg(folder.path());
    command.args(arguments.split_whitespace()).output().expect("it starts")
}

fn assert_good(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("\"failures\":0") && !text.contains("\"puts_stored\":0,"), "{text}");
    text
}

#[test]
fn a_small_storm_finds_nothing_wrong() {
    assert_good(&storm("--seconds 2 --seed 1"));
}

#[test]
fn a_small_storm_with_eviction_finds_nothing_wrong() {
    let text = assert_good(&storm("--seconds 3 --seed 2 --max-size 40000000"));
    assert!(!text.contains("\"engine_segments_evicted\":0"), "{text}");
}

#[test]
fn a_small_storm_across_namespaces_finds_nothing_wrong() {
    let output = storm("--seconds 2 --seed 3 --namespaces");
    let errors = String::from_utf8_lossy(&output.stderr);
    errors.lines().filter(|line| line.starts_with("skipped")).for_each(|line| eprintln!("{line}"));
    assert_good(&output);
}

/// A check that cannot fail checks nothing: what is broken on purpose has to be found.
#[test]
fn a_storm_that_loses_changes_or_grows_fails() {
    for (broken, said) in [("lose", "lost at the end"), ("flip", "damaged"), ("grow", "on disk")] {
        let output = storm(&format!("--seconds 1 --seed 4 --break {broken}"));
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{broken}: {text}");
        assert!(text.contains(said), "{broken}: {text}");
    }
}

#[test]
fn options_that_are_not_understood_are_refused() {
    assert_eq!(storm("--wind 3").status.code(), Some(2));
}
