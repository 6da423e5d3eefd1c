//! `cargo xtask test`: every test, with the programs that they can use.
//!
//! A test whose program is missing skips itself and says so; this command installs what it can
//! first (as root, with apt-get), and names what stays missing and what that leaves untested. What
//! no package has is built by cargo, below the target directory.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dist;
use crate::process::{self, Outcome};
use crate::workspace;

/// A program that tests use.
struct Need {
    program: &'static str,
    /// The Debian package that has it.
    package: &'static str,
    /// What stays untested without it.
    without: &'static str,
}

const NEEDS: &[Need] = &[
    Need { program: "gcc", package: "gcc", without: "compiles of C with gcc" },
    Need { program: "g++", package: "g++", without: "compiles of C++ with gcc" },
    Need { program: "clang", package: "clang", without: "compiles of C with clang" },
    Need { program: "clang++", package: "clang", without: "compiles of C++ with clang" },
    Need { program: "cmake", package: "cmake", without: "builds with a compiler launcher" },
    Need { program: "ninja", package: "ninja-build", without: "builds under ninja" },
    Need { program: "distcc", package: "distcc", without: "compiles behind distcc" },
    Need { program: "make", package: "make", without: "builds under make" },
    Need { program: "strace", package: "strace", without: "system calls: counts, faults" },
    Need { program: "mkfs.ext4", package: "e2fsprogs", without: "stores on a full ext4" },
    Need { program: "mkfs.xfs", package: "xfsprogs", without: "stores on a full XFS" },
    Need { program: "mkfs.btrfs", package: "btrfs-progs", without: "full btrfs and its quotas" },
    Need { program: "redis-server", package: "redis-server", without: "tiers of Redis" },
    Need { program: "memcached", package: "memcached", without: "tiers of memcached" },
    Need { program: "nginx", package: "nginx", without: "tiers of HTTP" },
    Need { program: "openssl", package: "openssl", without: "tiers with TLS" },
    Need { program: "musl-gcc", package: "musl-tools", without: "the wrapper linked against musl" },
];

/// A program that tests use, of a crate.
struct Crate {
    program: &'static str,
    /// The last version that the oldest supported compiler builds.
    version: &'static str,
    features: &'static str,
    without: &'static str,
}

const CRATES: &[Crate] =
    &[Crate { program: "s3s-fs", version: "0.14.1", features: "binary", without: "tiers of S3" }];

/// Installs, reports and runs.
pub fn run(arguments: &[String]) -> Outcome<bool> {
    let (own, passed): (Vec<_>, Vec<_>) = arguments.iter().partition(|a| *a == "--no-install");
    let missing = missing();
    if own.is_empty() {
        if !missing.is_empty() {
            install(&missing);
        }
        install_target();
        CRATES.iter().filter(|it| find(it.program).is_none()).for_each(build);
    }
    report();
    // Unit, integration and documentation tests of every package; one failure hides no other.
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]).args(passed);
    if let Some(path) = path_with_tools() {
        cargo.env("PATH", path);
    }
    process::succeeds(&mut cargo)
}

/// Where a program of the lists is; it is installed, if it is missing and that can be done.
pub fn provide(program: &str) -> Option<PathBuf> {
    let missing = missing().into_iter().filter(|need| need.program == program);
    let missing: Vec<_> = missing.collect();
    if !missing.is_empty() {
        install(&missing);
    }
    let is_missing = |it: &&Crate| it.program == program && find(program).is_none();
    CRATES.iter().filter(is_missing).for_each(build);
    find(program)
}

/// Where a program is: on `PATH`, or where we have built it.
fn find(program: &str) -> Option<PathBuf> {
    let built = || Some(tools()?.join("bin").join(program)).filter(|path| path.is_file());
    process::find(program).or_else(built)
}

/// Where programs are built.
fn tools() -> Option<PathBuf> {
    Some(workspace::target_dir().ok()?.join("tools"))
}

fn path_with_tools() -> Option<OsString> {
    let path = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&path).chain([tools()?.join("bin")]);
    std::env::join_paths(folders).ok()
}

/// Builds a program of a crate, without optimisation: it is there sooner, in about a minute.
fn build(it: &Crate) {
    let Some(tools) = tools() else { return };
    let mut cargo = workspace::cargo();
    cargo.args(["install", "--locked", "--debug", "--version", it.version, it.program]);
    cargo.args(["--features", it.features, "--root"]).arg(&tools);
    cargo.arg("--target-dir").arg(tools.join("build"));
    if !process::succeeds(&mut cargo).unwrap_or(false) {
        eprintln!("{} cannot be built; is crates.io out of reach?", it.program);
    }
}

fn missing() -> Vec<&'static Need> {
    NEEDS.iter().filter(|need| process::find(need.program).is_none()).collect()
}

/// Tries each package by itself, so that one that does not exist here keeps no other away.
fn install(missing: &[&Need]) {
    if process::find("apt-get").is_none() {
        eprintln!("nothing is installed: there is no apt-get on this machine");
        return;
    }
    if !is_root() {
        eprintln!("nothing is installed: only root can use apt-get");
        return;
    }
    if !apt_get(&["update", "--quiet"]) {
        eprintln!("the package lists could not be renewed; trying with the old ones");
    }
    let _quiet = NoServices::begin();
    let mut packages: Vec<_> = missing.iter().map(|need| need.package).collect();
    packages.dedup();
    for package in packages {
        apt_get(&["install", "--quiet", "--yes", "--no-install-recommends", package]);
    }
}

/// While it lives, packages that are installed start no service: tests start servers of their own.
struct NoServices {
    policy: Option<&'static str>,
}

impl NoServices {
    /// Debian asks this program before it starts a service; 101 means no.
    const POLICY: &'static str = "/usr/sbin/policy-rc.d";

    fn begin() -> NoServices {
        if Path::new(NoServices::POLICY).exists() {
            // The machine has its own rule.
            return NoServices { policy: None };
        }
        let written = fs::write(NoServices::POLICY, "#!/bin/sh\nexit 101\n").and_then(|()| {
            fs::set_permissions(NoServices::POLICY, fs::Permissions::from_mode(0o755))
        });
        if let Err(error) = written {
            eprintln!("services of new packages may start: {}: {error}", NoServices::POLICY);
        }
        NoServices { policy: Some(NoServices::POLICY) }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(policy) = self.policy {
            // If it was never written there is nothing to remove.
            let _ = fs::remove_file(policy);
        }
    }
}

/// Installs the standard library for musl, with which `dist` links the wrapper.
fn install_target() {
    let Ok(host) = workspace::host_triple() else { return };
    let Some(triple) = dist::musl_triple(&host).filter(|triple| !workspace::has_target(triple))
    else {
        return;
    };
    match process::find("rustup") {
        Some(rustup) => {
            let mut command = Command::new(rustup);
            command.args(["target", "add", &triple]);
            if !process::succeeds(&mut command).unwrap_or(false) {
                eprintln!("{triple} cannot be installed; the wrapper is linked against glibc");
            }
        }
        None => eprintln!("{triple} is not installed: there is no rustup on this machine"),
    }
}

fn apt_get(arguments: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    process::succeeds(&mut command).unwrap_or(false)
}

/// Whether we are root, as the kernel says it of this process.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}

fn report() {
    eprintln!("programs that the tests use:");
    let needs = NEEDS.iter().map(|need| (need.program, need.without));
    for (program, without) in needs.chain(CRATES.iter().map(|it| (it.program, it.without))) {
        match find(program) {
            Some(path) => eprintln!("  {program:<10} {}", path.display()),
            None => eprintln!("  {program:<10} MISSING: skips {without}"),
        }
    }
}
