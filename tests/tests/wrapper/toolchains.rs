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
