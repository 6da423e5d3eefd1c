//! Tools and headers that a compiler would take from another place than it did: nothing that was
//! there has changed, but something new comes first.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Sandbox, compilers, wait_a_tick};

/// An assembler that leaves a symbol in whatever it assembles.
fn write_assembler(sandbox: &Sandbox, name: &str) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let real = std::env::split_paths(&path).map(|place| place.join("as")).find(|at| at.exists());
    let real = real.unwrap_or_else(|| panic!("no assembler in PATH"));
    let text = format!("#!/bin/sh\nexec {} --defsym ANOTHER=1 \"$@\"\n", real.display());
    sandbox.write(name, &text);
    fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    wait_a_tick();
}

/// The toolchain was known by the contents of its parts, so that an assembler in an earlier
/// directory of `PATH` or `COMPILER_PATH` went unseen.
#[test]
fn an_assembler_that_comes_to_stand_before_the_old_one_is_seen() {
    for variable in ["PATH", "COMPILER_PATH"] {
        let mut sandbox = Sandbox::new();
        sandbox.write("a.c", "int a;\n");
        let own = sandbox.path("bin").display().to_string();
        fs::create_dir(&own).unwrap();
        match variable {
            "PATH" => {
                let usual = std::env::var("PATH").unwrap();
                sandbox.set("PATH", &format!("{own}:{usual}"));
            }
            _ => sandbox.set(variable, &own),
        }
        sandbox.check_cached("gcc", &["-c", "a.c"]);
        write_assembler(&sandbox, "bin/as");
        // A script may do anything, but it stands where the compiler looks.
        assert_ne!(sandbox.check("gcc", &["-c", "a.c"]), "direct", "{variable}");
        fs::remove_file(sandbox.path("bin/as")).unwrap();
        assert_eq!(sandbox.check("gcc", &["-c", "a.c"]), "direct", "{variable}");
    }
}

/// Only the directory itself was looked at, though gcc prefers those of machine and version below.
#[test]
fn a_tool_for_the_machine_below_a_prefix_counts() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int a;\n");
    let output = sandbox.command("gcc".as_ref()).arg("-dumpmachine").output().unwrap();
    let machine = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let arguments = ["-Btools", "-c", "a.c"];
    fs::create_dir(sandbox.path("tools")).unwrap();
    sandbox.check_cached("gcc", &arguments);
    write_assembler(&sandbox, &format!("tools/{machine}/as"));
    sandbox.check_cached("gcc", &arguments);
}

/// clang takes headers from the newest gcc that is installed. When another one was, hits gave what
/// the headers of the old one had made.
#[test]
fn a_gcc_that_is_installed_later_gives_clang_its_headers() {
    if !compilers().any(|compiler| compiler == "clang") {
        println!("skipped: no clang");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("a.cc", "#include <version_of_gcc>\nint a = VERSION;\n");
    let toolchain = format!("--gcc-toolchain={}", sandbox.path("tools").display());
    let arguments = ["--target=x86_64-linux-gnu", &toolchain, "-c", "a.cc"];
    for version in ["10", "12"] {
        let header = format!("tools/include/c++/{version}/version_of_gcc");
        sandbox.write(&header, &format!("#define VERSION {version}\n"));
        sandbox.write(&format!("tools/lib/gcc/x86_64-linux-gnu/{version}/crtbegin.o"), "");
        wait_a_tick();
        sandbox.check_cached("clang++", &arguments);
    }
}

/// `GCC_ROOT` and its relatives stand for the prefix of gcc's directories, so that none of its
/// headers is found with another one. They were in no key, and a hit hid the error.
#[test]
fn variables_that_move_the_directories_of_gcc_count() {
    for (compiler, source) in [("gcc", "a.c"), ("g++", "a.cc")] {
        for variable in ["GCC_ROOT", "G++_ROOT", "BINUTILS_ROOT"] {
            let mut sandbox = Sandbox::new();
            let text = "#include <stddef.h>\n#ifdef __cplusplus\n#include <new>\n#endif\nint a;\n";
            sandbox.write(source, text);
            wait_a_tick();
            sandbox.check_cached(compiler, &["-c", source]);
            sandbox.set(variable, "/nowhere");
            let checked = sandbox.check(compiler, &["-c", source]);
            assert_ne!(checked, "direct", "{compiler} {variable}");
        }
    }
}

/// LLVM reads two variables that were in no key: one names the producer in bitcode, the other a
/// file that a directive of the assembler appends to.
#[test]
fn variables_of_llvm_count() {
    if !compilers().any(|compiler| compiler == "clang") {
        println!("skipped: no clang");
        return;
    }
    let mut sandbox = Sandbox::new();
    sandbox.write("a.c", "int a;\n");
    wait_a_tick();
    for producer in ["one", "other"] {
        sandbox.set("LLVM_OVERRIDE_PRODUCER", producer);
        sandbox.check_cached("clang", &["-flto", "-c", "a.c"]);
    }
    let log = sandbox.path("log.d").display().to_string();
    sandbox.set("AS_SECURE_LOG_FILE", &log);
    sandbox.write("a.c", "__asm__(\".secure_log_unique \\\"x\\\"\");\n");
    for _ in 0..2 {
        let words = ["--target=x86_64-apple-darwin", "-c", "a.c"];
        assert_eq!(sandbox.check("clang", &words), "uncached");
        assert!(sandbox.path("log.d").exists());
    }
}
