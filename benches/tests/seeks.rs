//! The disk model, small: that every figure is there and that the order of things is right.
//!
//! It needs the rights of root, loop devices, tracing and `mkfs.ext4`; without them it says so and
//! checks nothing.

use std::process::{Command, Output};

/// The status of a run that lacks something.
const MISSING: i32 = 3;

/// Runs it; `None`, with the reason on stderr, where something is missing.
fn seeks(arguments: &str) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_seeks"));
    command.args(["--quick", "--json", "--directory"]).arg(folder.path());
    command.arg("--out").arg(folder.path().join("out"));
    let output = command.args(arguments.split_whitespace()).output().expect("it starts");
    if output.status.code() == Some(MISSING) {
        eprint!("skipped: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if errors.contains("tracing") && errors.contains("os error") {
        eprintln!("skipped: the kernel lets nobody trace here: {errors}");
        return None;
    }
    assert!(output.status.success(), "{errors}");
    let out = folder.path().join("out");
    let log = std::fs::read_to_string(out.join("files-hits-in-build-order.iolog")).unwrap();
    assert!(log.starts_with("fio version 3 iolog\n") && log.contains(" read "), "{log}");
    let places = std::fs::read_to_string(out.join("files-hits-in-build-order.files")).unwrap();
    assert!(places.lines().filter(|line| line.contains("/store/")).count() > 20, "{places}");
    let plot = std::fs::read_to_string(out.join("order.svg")).unwrap();
    assert!(plot.starts_with("<svg ") && plot.contains(">files<"), "{plot}");
    Some(output)
}

/// The number behind a name in the figures of a phase.
fn figure(json: &str, contestant: &str, phase: &str, name: &str) -> u64 {
    let of = format!("\"contestant\":\"{contestant}\",\"phase\":\"{phase}\"");
    let (_, rest) = json.split_once(&of).unwrap_or_else(|| panic!("no {of} in {json}"));
    let (_, rest) = rest.split_once(&format!("\"{name}\":")).unwrap();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// A rebuild from a cold disk asks it less often than a file for each entry does, by a factor, and
/// prefetching is what brings that about.
#[test]
fn a_cold_rebuild_reads_few_and_large_pieces() {
    let arguments = "--only larder,files --units 40 --windows 0,device";
    let Some(output) = seeks(arguments) else { return };
    let json = String::from_utf8_lossy(&output.stdout);
    let reads = |who: &str| figure(&json, who, "hits in build order", "reads");
    assert!(reads("larder") * 2 < reads("files"), "{json}");
    assert!(reads("larder") * 3 < reads("larder@0") * 2, "{json}");
    // What is read is at least what was put: forty entries of some 50 KB.
    assert!(figure(&json, "larder", "hits in build order", "read_bytes") > 1_000_000, "{json}");
    assert!(figure(&json, "files", "puts", "written_bytes") > 1_000_000, "{json}");
    // Each put looks at a page of the slot table, and all of them come with the first one.
    assert!(figure(&json, "larder", "puts", "reads_issued") < 30, "{json}");
    for who in ["larder", "files"] {
        let phases = [
            "first answer",
            "hits as of make -j8",
            "hits, build shuffled",
            "hits, half of the build changed",
            "hits at random",
            "misses",
            "verify",
            "eviction",
        ];
        for phase in phases {
            assert!(figure(&json, who, phase, "reads") > 0, "{json}");
        }
    }
}

#[test]
fn options_that_are_not_understood_are_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_seeks")).arg("--rpm=5400").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
