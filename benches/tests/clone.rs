//! Clones against copies, small. Needs the rights of root, XFS and loop devices; without them it
//! says so and checks nothing.

use std::process::{Command, Output};

/// Runs it; `None`, with the reason on stderr, where that is not possible.
fn clone(arguments: &str) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_clone"));
    command.args(arguments.split(' ')).args(["--file-systems", "xfs", "--directory"]);
    let output = command.arg(folder.path()).output().expect("it starts");
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let lacks = ["root", "No such file", "mkfs", "losetup", "mount", "tracefs"];
        assert!(lacks.iter().any(|word| said.contains(word)), "{said}");
        eprintln!("skipped: {said}");
        return None;
    }
    Some(output)
}

/// The cells of the last row.
fn row(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let row = text.lines().rfind(|line| line.starts_with("| ")).expect("it prints a table");
    row.split('|').map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn a_clone_writes_less_than_a_copy() {
    let Some(output) = clone("--sizes 1048576 --rounds 3") else { return };
    let written = |cell: &String| -> u64 {
        let (_, written) = cell.split_once('(').expect("a cell has bytes");
        written.trim_end_matches(')').parse().expect("bytes are a number")
    };
    let row = row(&output);
    assert!(written(&row[1]) >= 1 << 20 && written(&row[2]) >= 1 << 20, "{row:?}");
    assert!(written(&row[3]) < 1 << 18 && written(&row[4]) < 1 << 18, "{row:?}");
}

#[test]
fn a_cold_clone_reads_less_than_one_that_is_checked() {
    let Some(output) = clone("--cold --sizes 1048576") else { return };
    let row = row(&output);
    let read = |cell: &String| -> f64 {
        let bytes = cell.split(',').nth(1).expect("a cell has three parts");
        bytes.split('+').next().unwrap().trim().parse().expect("MB are a number")
    };
    // The last row reads every file back, which is 1 MB more.
    let (cloned, checked) = (read(&row[4]), read(&row[5]));
    assert!(cloned > 1.0 && cloned < 1.6 && checked > 2.0, "{row:?}");
}
