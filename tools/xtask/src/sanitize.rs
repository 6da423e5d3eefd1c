//! `cargo xtask sanitize`: the engine's tests under Miri and under the address and thread
//! sanitizers.
//!
//! 1. Miri runs what calls no system: the unit tests of the engine, the fuzz targets of the formats
//!    and a store in memory. It finds undefined behaviour that a machine does not show.
//! 2. The sanitizers run the integration tests of the engine on the real system.

use crate::process::{self, Outcome};
use crate::{nightly, workspace};

const TARGET: &str = "x86_64-unknown-linux-gnu";

const NAMES: &[&str] = &["miri", "address", "thread"];

/// What cannot run under a sanitizer, and why.
const SKIPPED: &[(&str, &str)] = &[
    ("engine::protocol", "shuttle switches stacks by itself, which neither sanitizer can follow"),
    ("few_system_calls", "a sanitizer makes system calls of its own"),
];

/// Runs the named ones, or all three; the answer is whether all ran and passed.
pub fn run(arguments: &[String]) -> Outcome<bool> {
    if let Some(other) = arguments.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(format!("sanitize knows {}, not `{other}`", NAMES.join(", ")).into());
    }
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|a| a == name);
    if !nightly::is_there() {
        return Ok(false);
    }
    let mut passed = true;
    if wanted("miri") {
        passed &= miri()?;
    }
    for name in ["address", "thread"] {
        if wanted(name) {
            passed &= sanitizer(name)?;
        }
    }
    Ok(passed)
}

fn miri() -> Outcome<bool> {
    let install = "rustup component add miri --toolchain nightly";
    if !nightly::has_source() || !nightly::has(&["miri", "--version"], install) {
        return Ok(false);
    }
    // Isolation would hide the clock and the temporary directories that some unit tests use.
    let run = |arguments: &[&str]| -> Outcome<bool> {
        let mut cargo = nightly::cargo();
        cargo.env("MIRIFLAGS", "-Zmiri-disable-isolation").args(["miri", "test"]).args(arguments);
        process::succeeds(cargo.arg("--target-dir").arg(workspace::target_dir()?.join("miri")))
    };
    let units = run(&["--package", "larder-engine", "--lib"])?;
    let stores = run(&["--package", "larder-tests", "--test", "integration", "engine::miri"])?;
    Ok(units && stores)
}

fn sanitizer(name: &str) -> Outcome<bool> {
    // An uninstrumented standard library hides its atomics from the thread sanitizer.
    let build_std = name == "thread";
    if build_std && !nightly::has_source() {
        return Ok(false);
    }
    let mut cargo = nightly::cargo();
    cargo.args(["test", "--package", "larder-tests", "--target", TARGET, "--target-dir"]);
    cargo.arg(workspace::target_dir()?.join("sanitize").join(name));
    if build_std {
        cargo.arg("-Zbuild-std");
    }
    cargo.env("RUSTFLAGS", format!("-Zsanitizer={name}"));
    // The engine turns a SIGBUS under a map into an error; the sanitizer must not take the signal.
    cargo.env("ASAN_OPTIONS", "handle_sigbus=0:detect_leaks=0");
    cargo.env("TSAN_OPTIONS", "handle_sigbus=0");
    cargo.args(["--test", "integration", "engine", "--"]);
    for (test, reason) in SKIPPED {
        eprintln!("xtask: skips {test}: {reason}");
        cargo.args(["--skip", test]);
    }
    process::succeeds(&mut cargo)
}
