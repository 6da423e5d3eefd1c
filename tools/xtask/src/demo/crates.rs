//! The project in Rust: built by cargo, which knows the order of crates, with larder as
//! `RUSTC_WRAPPER`.
//!
//! Every library and every build script is a unit. What cargo only asks rustc stands in the report
//! as `unsupported_compiler_option`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::compare;
use super::report::Row;
use super::store::Store;
use crate::process::{self, Outcome};
use crate::workspace;

/// What the report calls it.
pub const NAME: &str = "crates";
/// And who compiles it.
pub const COMPILER: &str = "rustc";

/// A finished build: its wall time, and where its outputs stand.
struct Build {
    elapsed: Duration,
    tree: PathBuf,
    units: u64,
}

/// Three builds and their comparison.
pub fn row(store: &Store, folder: &Path) -> Outcome<Row> {
    process::run(cargo("fetch").args(["--locked", "--quiet"]))?;
    eprintln!("{NAME} with {COMPILER}");
    let built = folder.join("built").join(NAME);
    let plain = build(store, false, folder, &built.join("plain"))?;
    let before = store.counters()?;
    let cold = build(store, true, folder, &built.join("cold"))?;
    let between = store.counters()?;
    let warm = build(store, true, folder, &built.join("warm"))?;
    let after = store.counters()?;
    let mut differences = Vec::new();
    let files = compare::trees(&plain.tree, &cold.tree, "cold", &mut differences)?
        + compare::trees(&plain.tree, &warm.tree, "warm", &mut differences)?;
    let cold_counts = between.since(&before);
    Ok(Row {
        project: NAME,
        language: "Rust",
        compiler: COMPILER.to_owned(),
        units: plain.units,
        plain: plain.elapsed,
        cold: cold.elapsed,
        warm: warm.elapsed,
        cold_counts,
        warm_counts: after.since(&between),
        files,
        differences,
    })
}

/// One build through larder; how many units it has.
pub fn build_once(store: &Store, folder: &Path) -> Outcome<u64> {
    process::run(cargo("fetch").args(["--locked", "--quiet"]))?;
    let tree = folder.join("built").join(NAME).join("once");
    let _ = fs::remove_dir_all(&tree);
    Ok(build(store, true, folder, &tree)?.units)
}

fn manifest() -> PathBuf {
    workspace::root().join("tools/xtask/demo/rust/Cargo.toml")
}

/// A call of cargo, without what the cargo that has started us says of itself.
fn cargo(subcommand: &str) -> Command {
    let mut command = workspace::cargo();
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let is_ours = text.starts_with("CARGO") && text != "CARGO_HOME";
        if is_ours || text.starts_with("RUSTC_") {
            command.env_remove(name);
        }
    }
    command.arg(subcommand).arg("--manifest-path").arg(manifest());
    command
}

/// Builds from nothing in the same place, and moves the outputs to `tree`.
fn build(store: &Store, cached: bool, folder: &Path, tree: &Path) -> Outcome<Build> {
    let target = folder.join("crates-target");
    if target.exists() {
        fs::remove_dir_all(&target)?;
    }
    let mut command = cargo("build");
    command.args(["--release", "--locked", "--offline", "--quiet"]);
    command.arg("--target-dir").arg(&target).env("CARGO_INCREMENTAL", "0");
    store.set_environment(&mut command);
    if cached {
        command.env("RUSTC_WRAPPER", store.program());
    }
    let begun = Instant::now();
    let output = command.output()?;
    let elapsed = begun.elapsed();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cargo cannot build {}: {said}", manifest().display()).into());
    }
    eprintln!("  {:<5} {:7.2} s", tree.file_name().unwrap_or_default().display(), {
        elapsed.as_secs_f64()
    });
    let units = libraries(&target.join("release/deps"))? + scripts(&target.join("release/build"))?;
    // What cargo itself writes beside it says when it ran.
    fs::create_dir_all(tree.parent().ok_or("a tree stands in a folder")?)?;
    fs::rename(target.join("release/deps"), tree)?;
    fs::remove_dir_all(&target)?;
    Ok(Build { elapsed, tree: tree.to_path_buf(), units })
}

/// How many libraries a build has made.
fn libraries(tree: &Path) -> Outcome<u64> {
    let mut count = 0;
    for entry in fs::read_dir(tree)? {
        count += u64::from(entry?.path().extension().is_some_and(|ending| ending == "rlib"));
    }
    Ok(count)
}

/// How many build scripts it has made.
fn scripts(folder: &Path) -> Outcome<u64> {
    let mut count = 0;
    for entry in fs::read_dir(folder)? {
        count += u64::from(entry?.path().join("build-script-build").exists());
    }
    Ok(count)
}
