//! The comparison of misses, small: `env` stands where a cache would, and caches nothing.

use std::fs;
use std::process::{Command, Output};

fn misses(folder: &std::path::Path, caches: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_misses"));
    command.args(["--runs", "2", "--sources"]).arg(folder);
    for cache in caches {
        command.args(["--against", cache]);
    }
    command.args(["--", "cc", "-O1"]).output().expect("it starts")
}

#[test]
fn every_source_that_compiles_is_compiled_by_all() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("a.c", "int a;\n"), ("b.c", "int b;\n"), ("wrong.c", "int\n"), ("h", "")]
    {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let output = misses(folder.path(), &["/usr/bin/env"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.starts_with("2 units, 2 runs\n"), "{output:?}");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    assert!(rows.len() == 3 && rows[2].starts_with("| /usr/bin/env | "), "{text}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("left out: wrong.c"), "{output:?}");
}

#[test]
fn a_cache_that_makes_another_object_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.c"), "int a;\n").unwrap();
    let output = misses(folder.path(), &["/bin/true"]);
    assert!(!output.status.success(), "{output:?}");
}
