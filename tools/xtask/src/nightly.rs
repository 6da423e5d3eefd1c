//! The nightly toolchain, for what the stable one cannot do: fuzzing, Miri, sanitizers.

use std::process::{Command, Stdio};

use crate::workspace;

/// The nightly cargo in the root of the workspace. Variables by which the cargo that runs us names
/// its own toolchain are left out.
pub fn cargo() -> Command {
    let mut command = Command::new("cargo");
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN", "CARGO_MANIFEST_DIR"] {
        command.env_remove(variable);
    }
    command.arg("+nightly").current_dir(workspace::root());
    command
}

/// Whether `cargo +nightly ARGUMENTS` works; if not, says what is missing and how to get it.
pub fn has(arguments: &[&str], install: &str) -> bool {
    let mut command = cargo();
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let works = command.status().is_ok_and(|status| status.success());
    if !works {
        eprintln!("xtask: `cargo +nightly {}` does not work; `{install}`", arguments.join(" "));
    }
    works
}

/// Whether there is a nightly toolchain; if not, says so.
pub fn is_there() -> bool {
    has(&["--version"], "rustup toolchain install nightly")
}

/// Whether the nightly toolchain has the source of the standard library; if not, says so.
pub fn has_source() -> bool {
    let rustc = Command::new("rustc")
        .env_remove("RUSTUP_TOOLCHAIN")
        .args(["+nightly", "--print", "sysroot"])
        .stderr(Stdio::null())
        .output();
    let sysroot = rustc.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let source = "lib/rustlib/src/rust/library/Cargo.lock";
    let found = sysroot.is_some_and(|root| std::path::Path::new(root.trim()).join(source).exists());
    if !found {
        eprintln!(
            "xtask: nightly has no source of the standard library; \
             `rustup component add rust-src --toolchain nightly`"
        );
    }
    found
}
