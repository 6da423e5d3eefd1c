//! Build systems that know `sccache`: cargo, the crate `cc` in a build script, and CMake.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use larder_tests::find_or_skip;

use super::{House, text};

/// A directory of cargo's or rustup's, which stand in the real home by default.
fn home(variable: &str, default: &str) -> PathBuf {
    let named = std::env::var_os(variable).map(PathBuf::from);
    named.unwrap_or_else(|| std::env::home_dir().unwrap_or_default().join(default))
}

fn cargo(house: &House) -> Command {
    let cargo = find_or_skip("cargo").expect("tests run below cargo");
    let mut command = house.command(&cargo);
    command.env("CARGO_HOME", home("CARGO_HOME", ".cargo"));
    command.env("RUSTUP_HOME", home("RUSTUP_HOME", ".rustup")).env("CARGO_INCREMENTAL", "0");
    if let Some(toolchain) = std::env::var_os("RUSTUP_TOOLCHAIN") {
        command.env("RUSTUP_TOOLCHAIN", toolchain);
    }
    command
}

#[track_caller]
fn assert_good(output: &Output) {
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// `cc` puts a wrapper of a name that it knows before the compiler; no other one.
#[test]
fn cargo_and_its_build_scripts_compile_through_it() {
    let house = House::new();
    let manifest = "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
                    [build-dependencies]\ncc = \"1\"\n[workspace]\n";
    house.write("work/Cargo.toml", manifest);
    house.write("work/build.rs", "fn main() { cc::Build::new().file(\"one.c\").compile(\"one\") }");
    house.write("work/one.c", "int one(void) { return 1; }\n");
    let library = "extern \"C\" { fn one() -> i32; }\npub fn f() -> i32 { unsafe { one() } }\n";
    house.write("work/src/lib.rs", library);
    if !cargo(&house).args(["fetch", "--offline", "--quiet"]).status().unwrap().success() {
        eprintln!("skipped: this machine has not fetched the crate cc");
        return;
    }
    for round in 0..2 {
        let _ = fs::remove_dir_all(house.at("work/target"));
        house.good(&["--start-server"]);
        let mut build = cargo(&house);
        build.args(["build", "--offline"]);
        match round {
            0 => drop(build.env("RUSTC_WRAPPER", house.sccache())),
            _ => {
                let wrapper = format!("[build]\nrustc-wrapper = {:?}\n", house.sccache());
                house.write("work/.cargo/config.toml", &wrapper);
            }
        }
        assert_good(&build.output().unwrap());
        let (rust, c) = (house.counts("Rust"), house.counts("C/C++"));
        match round {
            0 => assert!(rust.0 == 0 && rust.1 >= 2 && c == (0, 1), "{rust:?} {c:?}"),
            _ => assert!(rust.0 >= 2 && rust.1 == 0 && c == (1, 0), "{rust:?} {c:?}"),
        }
    }
}

#[test]
fn cmake_takes_it_for_a_launcher() {
    let (Some(cmake), Some(_)) = (find_or_skip("cmake"), find_or_skip("ninja")) else { return };
    let house = House::new();
    house.write("work/main.c", "int main(void) { return 0; }\n");
    let project = "cmake_minimum_required(VERSION 3.10)\nproject(p C)\nadd_executable(p main.c)\n";
    house.write("work/CMakeLists.txt", project);
    for round in 0..2 {
        let _ = fs::remove_dir_all(house.at("work/build"));
        house.good(&["--start-server"]);
        let launcher = "-DCMAKE_C_COMPILER_LAUNCHER=sccache";
        for words in [&["-G", "Ninja", "-B", "build", launcher][..], &["--build", "build"]] {
            let mut command = house.command(&cmake);
            assert_good(&command.args(words).env("PATH", house.path("bin")).output().unwrap());
        }
        let (hits, misses) = house.counts("C/C++");
        match round {
            0 => assert!(hits == 0 && misses >= 1, "{hits} {misses}"),
            _ => assert!(hits >= 1 && misses == 0, "{hits} {misses}"),
        }
    }
}
