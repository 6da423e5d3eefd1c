//! `cargo xtask dist`: the release binaries, in target/dist.
//!
//! The wrapper is static: its start is part of every hit, and a static one starts in three quarters
//! of the time. It is built with an explicit `--target`, so that the flag reaches the program and
//! never the proc macros and build scripts, which must stay dynamic. musl starts in half the time
//! of a static glibc, which asks the processor for its caches (0.25 ms of a hit's 1.7 in a virtual
//! machine); so it is taken where its target and its C compiler are installed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::{self, Outcome};
use crate::{elf, workspace};

/// One binary to build.
struct Binary {
    package: &'static str,
    name: &'static str,
    /// All features that it is built with.
    features: &'static [&'static str],
    linking: Linking,
}

/// How a binary finds its C library.
#[derive(PartialEq, Eq)]
enum Linking {
    /// Everything inside; checked after the build.
    Static,
    /// Through the loader: for binaries that resolve names, which a static glibc cannot do well.
    Dynamic,
}

/// The wrapper. It has no client of a tier, so that no crate for the network is built for it.
const WRAPPER: Binary =
    Binary { package: "larder", name: "larder", features: &[], linking: Linking::Static };
/// The agent, which the wrapper looks for beside itself.
const AGENT: Binary = Binary {
    package: "larder",
    name: "larder-agent",
    features: &["agent"],
    linking: Linking::Dynamic,
};
/// What does the commands that no compile needs, which the wrapper looks for beside itself.
const TOOLS: Binary = Binary {
    package: "larder-tools",
    name: "larder-tools",
    features: &[],
    linking: Linking::Dynamic,
};
/// What ccache starts for a storage that is a store of larder.
const HELPER: Binary = Binary { name: "ccache-storage-larder", ..TOOLS };
/// Every binary of a release.
const BINARIES: &[Binary] = &[WRAPPER, AGENT, TOOLS, HELPER];

/// Builds all binaries and prints their sizes.
pub fn run(arguments: &[String]) -> Outcome<bool> {
    if let Some(argument) = arguments.first() {
        return Err(format!("`dist` takes no argument, not even `{argument}`").into());
    }
    for binary in BINARIES {
        let path = build(binary)?;
        let bytes = fs::metadata(&path)?.len();
        let linking = if binary.linking == Linking::Static { "static" } else { "dynamic" };
        println!("{:<21} {:>7.2} MiB  {linking}  {}", binary.name, mib(bytes), path.display());
    }
    Ok(true)
}

/// Builds the wrapper as a release has it; returns its path.
pub fn wrapper() -> Outcome<PathBuf> {
    build(&WRAPPER)
}

/// Builds all binaries as a release has them, beside each other; returns the wrapper's path.
pub fn all() -> Outcome<PathBuf> {
    build(&AGENT)?;
    build(&WRAPPER)
}

/// The C compiler for musl that the build scripts of C libraries look for.
const MUSL_COMPILER: &str = "musl-gcc";

fn build(binary: &Binary) -> Outcome<PathBuf> {
    let host = workspace::host_triple()?;
    let triple = match binary.linking {
        Linking::Static => static_triple(&host, has_musl),
        Linking::Dynamic => host.clone(),
    };
    if binary.linking == Linking::Static
        && triple == host
        && let Some(musl) = musl_triple(&host)
    {
        eprintln!(
            "{} is linked against glibc; it starts faster with musl: \
             rustup target add {musl}, and install {MUSL_COMPILER} (Debian: musl-tools)",
            binary.name
        );
    }
    let target_dir = workspace::target_dir()?;
    let mut cargo = workspace::cargo();
    cargo.args(["build", "--release", "--locked", "--target", &triple]);
    cargo.args(["--package", binary.package, "--bin", binary.name]);
    cargo.args(["--no-default-features", "--features", &binary.features.join(",")]);
    if binary.linking == Linking::Static {
        // RUSTFLAGS would hide the variable of the target: hand its contents on through that.
        let inherited = std::env::var("RUSTFLAGS").unwrap_or_default();
        cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        cargo.env(
            flags_variable(&triple),
            format!("{inherited} -C target-feature=+crt-static -C relocation-model=static"),
        );
    }
    process::run(&mut cargo)?;

    let dist = target_dir.join("dist");
    fs::create_dir_all(&dist)?;
    let built = target_dir.join(&triple).join("release").join(binary.name);
    let path = dist.join(binary.name);
    // Beside and renamed, so that a binary that is running now is replaced, not written into.
    let beside = dist.join(format!(".{}.new", binary.name));
    fs::copy(&built, &beside)?;
    fs::rename(&beside, &path)?;
    if binary.linking == Linking::Static {
        check_static(&path)?;
    }
    Ok(path)
}

/// The target to link statically for.
fn static_triple(host: &str, has_musl: impl Fn(&str) -> bool) -> String {
    musl_triple(host).filter(|triple| has_musl(triple)).unwrap_or_else(|| host.to_owned())
}

/// The target for musl on the same system, if there may be one.
pub fn musl_triple(host: &str) -> Option<String> {
    host.strip_suffix("-gnu").map(|system| format!("{system}-musl"))
}

/// Whether programs for this musl target can be built here.
fn has_musl(triple: &str) -> bool {
    process::find(MUSL_COMPILER).is_some() && workspace::has_target(triple)
}

/// The variable that gives rustc flags for one target: `CARGO_TARGET_<TRIPLE>_RUSTFLAGS`.
fn flags_variable(triple: &str) -> String {
    format!("CARGO_TARGET_{}_RUSTFLAGS", triple.to_uppercase().replace(['-', '.'], "_"))
}

fn check_static(path: &Path) -> Outcome<()> {
    if elf::has_interpreter(&fs::read(path)?)? {
        return Err(format!("{} names a loader: it is not static", path.display()).into());
    }
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_variable_is_the_one_that_cargo_reads() {
        let name = flags_variable("x86_64-unknown-linux-gnu");
        assert_eq!(name, "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS");
    }

    #[test]
    fn musl_is_taken_where_it_is_installed() {
        let of = |host, has_musl| static_triple(host, |_| has_musl);
        assert_eq!(of("x86_64-unknown-linux-gnu", true), "x86_64-unknown-linux-musl");
        assert_eq!(of("x86_64-unknown-linux-gnu", false), "x86_64-unknown-linux-gnu");
        assert_eq!(of("aarch64-apple-darwin", true), "aarch64-apple-darwin");
    }

    #[test]
    fn a_dynamic_binary_is_refused() {
        if cfg!(all(target_os = "linux", target_env = "gnu", not(target_feature = "crt-static"))) {
            let error = check_static(&std::env::current_exe().unwrap()).unwrap_err();
            assert!(error.to_string().ends_with("it is not static"), "{error}");
        }
    }
}
