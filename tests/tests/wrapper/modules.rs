//! Modules of clang: every file that they are in counts, and every file that they make comes back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use larder_tests::larder_binary;

use super::{Sandbox, compilers, wait_a_tick};

const M: &str = "export module m;\nexport inline int f() { return 1; }\n";
const N: &str = "export module n;\nimport m;\nexport inline int g() { return f(); }\n";
const USER: &str = "import n;\nint h() { return g(); }\n";

const MAKE_M: &[&str] = &["-std=c++20", "--precompile", "m.cppm", "-o", "m.pcm"];
const MAKE_N: &[&str] =
    &["-std=c++20", "--precompile", "n.cppm", "-fmodule-file=m=m.pcm", "-o", "n.pcm", "-MD"];
const USE_N: &[&str] = &["-std=c++20", "-O2", "-c", "u.cc", "-fmodule-file=n.pcm", "-o", "u.o"];

/// Sources of `m`, of `n` that imports it, and of a user of `n`; `None` without clang.
fn sandbox() -> Option<Sandbox> {
    if !compilers().any(|compiler| compiler == "clang") {
        println!("skipped: no clang");
        return None;
    }
    let sandbox = Sandbox::new();
    for (name, text) in [("m.cppm", M), ("n.cppm", N), ("u.cc", USER)] {
        sandbox.write(name, text);
    }
    wait_a_tick();
    Some(sandbox)
}

/// The bytes of module files.
type Made = BTreeMap<String, Option<Vec<u8>>>;

impl Sandbox {
    fn made(&self, names: &[&str]) -> Made {
        names.iter().map(|name| ((*name).to_owned(), fs::read(self.path(name)).ok())).collect()
    }

    /// As `check`, for a call that makes these module files.
    #[track_caller]
    fn makes(&self, call: &[&str], names: &[&str]) -> &'static str {
        let remove = || names.iter().for_each(|name| drop(fs::remove_file(self.path(name))));
        remove();
        assert_eq!(self.plain("clang", call).status, Some(0), "{call:?}");
        let expected = self.made(names);
        remove();
        let how = self.check_without_plain(call);
        assert!(self.made(names) == expected, "{call:?}\n{}", self.log());
        assert!(expected.values().all(Option::is_some), "{call:?}");
        how
    }

    /// What was counted for a call whose outputs the caller compares.
    #[track_caller]
    fn check_without_plain(&self, call: &[&str]) -> &'static str {
        let before = self.counts();
        assert_eq!(self.compile("clang", call).status, Some(0), "{call:?}");
        let after = self.counts();
        match (after.0 - before.0, after.2 - before.2) {
            (1, 0) => "direct",
            (0, 1) => "miss",
            _ => "uncached",
        }
    }

    #[track_caller]
    fn makes_cached(&self, call: &[&str], names: &[&str]) {
        assert_eq!(self.makes(call, names), "miss", "{call:?}\n{}", self.log());
        assert_eq!(self.makes(call, names), "direct", "{call:?}\n{}", self.log());
    }
}

#[test]
fn modules_and_their_users_are_cached() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.makes_cached(MAKE_M, &["m.pcm"]);
    sandbox.makes_cached(MAKE_N, &["n.pcm"]);
    for call in [
        USE_N,
        &["-std=c++20", "-c", "u.cc", "-fmodule-file=n=n.pcm", "-o", "u.o", "-MD"],
        &["-std=c++20", "-g", "-c", "u.cc", "-fmodule-file=m.pcm", "-fmodule-file=n.pcm", "-MMD"],
        &["-std=c++20", "-S", "u.cc", "-fmodule-file=n.pcm", "-o", "u.o"],
        &["-std=c++20", "-fsyntax-only", "u.cc", "-fmodule-file=n.pcm"],
    ] {
        sandbox.check_cached("clang", call);
    }
}

#[test]
fn without_manifests_modules_are_found_by_all_inputs() {
    let Some(mut sandbox) = sandbox() else { return };
    sandbox.plain("clang", MAKE_M);
    sandbox.plain("clang", MAKE_N);
    wait_a_tick();
    sandbox.set("LARDER_DIRECT_MODE", "0");
    assert_eq!(sandbox.check("clang", USE_N), "miss");
    assert_eq!(sandbox.check("clang", USE_N), "preprocessed", "{}", sandbox.log());
    sandbox.write("m.cppm", &M.replace('1', "5"));
    sandbox.plain("clang", MAKE_M);
    wait_a_tick();
    assert_eq!(sandbox.check("clang", USE_N), "miss");
}

/// clang compares nothing but the size of a file that another imports, and lists it nowhere.
#[test]
fn a_module_that_only_another_imports_counts() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.plain("clang", MAKE_M);
    sandbox.plain("clang", MAKE_N);
    wait_a_tick();
    sandbox.check_cached("clang", USE_N);
    let (old, size) = (sandbox.plain("clang", USE_N), fs::metadata(sandbox.path("m.pcm")).unwrap());
    sandbox.write("m.cppm", &M.replace('1', "5"));
    sandbox.plain("clang", MAKE_M);
    wait_a_tick();
    assert_eq!(fs::metadata(sandbox.path("m.pcm")).unwrap().size(), size.size());
    let new = sandbox.plain("clang", USE_N);
    assert!(new.status == Some(0) && new != old, "the trap is set");
    sandbox.check_cached("clang", USE_N);
    // Where it is named, it may stand elsewhere.
    sandbox.write("elsewhere/readme", "");
    let named = ["-fmodule-file=m=elsewhere/m.pcm", "-fmodule-file=n=n.pcm", "-o", "u.o"];
    let named = [&USE_N[..4], &named[..]].concat();
    for value in ["5", "7"] {
        sandbox.write("m.cppm", &M.replace('1', value));
        sandbox.plain("clang", MAKE_M);
        fs::rename(sandbox.path("m.pcm"), sandbox.path("elsewhere/m.pcm")).unwrap();
        wait_a_tick();
        sandbox.check_cached("clang", &named);
    }
    // One that is nowhere is the compiler's error.
    assert_eq!(sandbox.check("clang", USE_N), "uncached");
}

#[test]
fn another_content_of_a_named_module_is_another_object() {
    let Some(sandbox) = sandbox() else { return };
    let user = &["-std=c++20", "-O2", "-c", "v.cc", "-fmodule-file=m=m.pcm", "-o", "v.o"];
    sandbox.write("v.cc", "import m;\nint h() { return f(); }\n");
    let mut objects = Vec::new();
    for value in ["1", "2", "1"] {
        sandbox.write("m.cppm", &M.replace('1', value));
        sandbox.plain("clang", MAKE_M);
        wait_a_tick();
        let how = sandbox.check("clang", user);
        assert_eq!(how, if objects.len() < 2 { "miss" } else { "direct" });
        objects.push(fs::read(sandbox.path("v.o")).unwrap());
    }
    assert_ne!(objects[0], objects[1]);
    // A file that is named and not there counts, too, also if nobody wants it.
    let with_more = [&user[..], &["-fmodule-file=x=x.pcm"]].concat();
    sandbox.check_cached("clang", &with_more);
    fs::copy(sandbox.path("m.pcm"), sandbox.path("x.pcm")).unwrap();
    wait_a_tick();
    assert_eq!(sandbox.check("clang", &with_more), "miss");
}

#[test]
fn a_module_file_belongs_to_its_place() {
    let Some(mut sandbox) = sandbox() else { return };
    for place in ["one", "two"] {
        sandbox.write(&format!("{place}/m.cppm"), M);
    }
    sandbox.makes_cached(MAKE_M, &["m.pcm"]);
    // The name that it has anyway.
    assert_eq!(sandbox.makes(&MAKE_M[..3], &["m.pcm"]), "direct");
    sandbox.makes_cached(&[&MAKE_M[..4], &["one/k.pcm"]].concat(), &["one/k.pcm"]);
    let mut made = Vec::new();
    // The base directory lets nothing be shared that shows where it was made.
    sandbox.set("LARDER_BASE_DIRS", sandbox.work().to_str().unwrap().to_owned().as_str());
    for place in ["one", "two"] {
        for program in [Path::new("clang"), larder_binary()] {
            let mut command = sandbox.command(program);
            if program == larder_binary() {
                command.arg("clang");
            }
            command.current_dir(sandbox.path(place)).args(MAKE_M);
            assert!(command.status().unwrap().success());
            made.push(fs::read(sandbox.path(place).join("m.pcm")).unwrap());
        }
    }
    assert!(made[0] == made[1] && made[2] == made[3] && made[0] != made[2]);
}

#[test]
fn sources_of_modules_are_known_by_suffix_and_by_language() {
    let Some(sandbox) = sandbox() else { return };
    for suffix in ["ccm", "cxxm", "c++m"] {
        let source = format!("k.{suffix}");
        sandbox.write(&source, M);
        wait_a_tick();
        sandbox.makes_cached(&["-std=c++20", "--precompile", &source, "-o", "k.pcm"], &["k.pcm"]);
    }
    sandbox.write("k.cc", M);
    wait_a_tick();
    let call = ["-std=c++20", "--precompile", "-x", "c++-module", "k.cc", "-o", "k.pcm"];
    sandbox.makes_cached(&call, &["k.pcm"]);
    sandbox.check_cached("clang", &["-std=c++20", "-fsyntax-only", "m.cppm"]);
    // A header in it is an input.
    sandbox.write("h.h", "#define VALUE 1\n");
    sandbox.write("k.cppm", "module;\n#include \"h.h\"\nexport module k;\nexport int x = VALUE;\n");
    wait_a_tick();
    let call = ["-std=c++20", "--precompile", "k.cppm", "-o", "k.pcm"];
    sandbox.makes_cached(&call, &["k.pcm"]);
    sandbox.write("h.h", "#define VALUE 2\n");
    wait_a_tick();
    sandbox.makes_cached(&call, &["k.pcm"]);
}

#[test]
fn a_response_file_names_modules_as_cmake_writes_them() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.write("m.modmap", "-x c++-module\n--precompile\n-o m.pcm");
    sandbox.write("n.modmap", "-fmodule-file=m=m.pcm\n-x c++-module\n");
    sandbox.write("u.modmap", "-fmodule-file=m=m.pcm\n-fmodule-file=n=n.pcm\n");
    wait_a_tick();
    sandbox.makes_cached(&["-std=c++20", "@m.modmap", "m.cppm"], &["m.pcm"]);
    let call = ["-std=c++20", "@n.modmap", "--precompile", "n.cppm", "-o", "n.pcm"];
    sandbox.makes_cached(&call, &["n.pcm"]);
    sandbox.check_cached("clang", &["-std=c++20", "@u.modmap", "-c", "u.cc", "-o", "u.o"]);
}

#[test]
fn a_module_file_beside_the_object_comes_back() {
    let Some(sandbox) = sandbox() else { return };
    let beside = ["-std=c++20", "-c", "m.cppm", "-o", "m.o", "-fmodule-output"];
    if sandbox.plain("clang", &beside).status != Some(0) {
        println!("skipped: this clang knows no -fmodule-output");
        return;
    }
    let named = ["-std=c++20", "-c", "m.cppm", "-o", "m.o", "-fmodule-output=k.pcm", "-MD"];
    for (call, made) in [(&beside[..], "m.pcm"), (&named, "k.pcm")] {
        sandbox.makes_cached(call, &[made]);
        sandbox.check("clang", call);
        // A link to the old file keeps what it has, as with the compiler.
        fs::hard_link(sandbox.path(made), sandbox.path("second")).unwrap();
        fs::write(sandbox.path(made), "old").unwrap();
        assert_eq!(sandbox.check_without_plain(call), "direct");
        assert_eq!(fs::read(sandbox.path("second")).unwrap(), b"old");
        let left = fs::read(sandbox.path(made)).unwrap();
        sandbox.plain("clang", call);
        assert_eq!(fs::read(sandbox.path("second")).unwrap(), b"old");
        assert!(fs::read(sandbox.path(made)).unwrap() == left);
        fs::remove_file(sandbox.path("second")).unwrap();
    }
    // The object shows the name of the module file.
    let other = named
        .map(|word| if word == "-fmodule-output=k.pcm" { "-fmodule-output=l.pcm" } else { word });
    sandbox.makes_cached(&other, &["l.pcm"]);
    assert_eq!(sandbox.check("clang", &other), "direct");
}

/// A header of that name may come into an earlier directory, and nothing lists what was searched.
#[test]
fn module_files_of_headers_are_not_understood() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.write("h.h", "inline int q() { return 1; }\n");
    sandbox.write("a.map", "module A { header \"h.h\" export * }\n");
    sandbox.write("w.cc", "int x;\n");
    let unit = ["-std=c++20", "-fmodule-header", "h.h", "-o", "h.pcm"];
    let front =
        ["-cc1", "-std=c++20", "-xc++", "-emit-module", "-fmodules", "-fgnuc-version=4.2.1"];
    let map = [&front[..], &["-fno-implicit-modules", "-fmodule-name=A", "a.map", "-o", "h.pcm"]];
    for make in [&unit[..], &map.concat()] {
        let _ = fs::remove_file(sandbox.path("h.pcm"));
        sandbox.plain("clang", make);
        if !sandbox.path("h.pcm").exists() {
            println!("skipped: this clang does not take {make:?}");
            continue;
        }
        wait_a_tick();
        let before = sandbox.count("could_not_use_modules");
        for option in ["-fmodule-file=x=h.pcm", "-fmodule-file=h.pcm"] {
            let call = ["-std=c++20", "-c", "w.cc", option];
            let expected = u64::from(sandbox.plain("clang", &call).status == Some(0));
            let counted = sandbox.count("could_not_use_modules");
            assert_eq!(sandbox.check("clang", &call), "uncached", "{call:?}");
            assert_eq!(sandbox.count("could_not_use_modules"), counted + expected);
        }
        assert!(sandbox.count("could_not_use_modules") > before, "{}", sandbox.log());
    }
}

/// Messages show lines of sources that are no inputs.
#[test]
fn messages_about_modules_are_not_stored() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.write("m.cppm", "export module m;\nexport [[deprecated]] int f();\n");
    sandbox.write("v.cc", "import m;\nint h() { return f(); }\n");
    sandbox.plain("clang", MAKE_M);
    wait_a_tick();
    let call = ["-std=c++20", "-c", "v.cc", "-fmodule-file=m.pcm", "-o", "v.o"];
    assert!(sandbox.plain("clang", &call).stderr.contains("m.cppm"));
    assert_eq!(sandbox.check("clang", &call), "uncached");
    assert_eq!(sandbox.check("clang", &call), "uncached");
    assert_eq!(sandbox.count("could_not_use_modules"), 2);
    sandbox.check_cached("clang", &[&call[..], &["-w"]].concat());
}

#[test]
fn what_is_not_certain_about_modules_is_not_cached() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.plain("clang", MAKE_M);
    sandbox.plain("clang", MAKE_N);
    sandbox.write("w.cc", "int x;\n");
    wait_a_tick();
    let calls: &[&[&str]] = &[
        &["-std=c++20", "-c", "u.cc", "-fprebuilt-module-path=.", "-o", "u.o"],
        &["-std=c++20", "-fmodules", "-fmodules-cache-path=cache", "-c", "w.cc"],
        &["-std=c++20", "-fmodules-ts", "-c", "w.cc"],
    ];
    for (count, call) in (1..).zip(calls) {
        assert_eq!(sandbox.check("clang", call), "uncached", "{call:?}");
        assert_eq!(sandbox.count("could_not_use_modules"), count, "{call:?}");
    }
    // The object has the name of a temporary file in it, so it is never the same.
    assert_eq!(sandbox.check_without_plain(&["-std=c++20", "-c", "m.cppm"]), "uncached");
    let before = sandbox.count("could_not_use_modules");
    if Command::new("gcc").arg("--version").output().is_ok() {
        let call = ["-std=c++20", "-fmodules-ts", "-c", "w.cc"];
        assert_eq!(sandbox.check("gcc", &call), "uncached");
        assert_eq!(sandbox.count("could_not_use_modules"), before + 1);
    }
}

#[test]
fn a_module_map_counts_with_all_that_it_names() {
    let Some(sandbox) = sandbox() else { return };
    sandbox.write("maps/a.h", "int a();\n");
    sandbox.write("maps/a.map", "module A { header \"a.h\" }\nextern module B \"b.map\"\n");
    sandbox.write("maps/b.map", "module B { }\n");
    sandbox.write("b.cc", "#include \"maps/a.h\"\nint b() { return a(); }\n");
    wait_a_tick();
    let calls: [&[&str]; 2] = [
        &["-std=c++17", "-c", "b.cc", "-fmodule-map-file=maps/a.map", "-o", "b.o", "-MD"],
        &["-std=c++17", "-c", "b.cc", "-fmodule-map-file=maps/a.map", "-o", "b.o"],
    ];
    for call in calls {
        sandbox.check_cached("clang", call);
    }
    for (name, text) in [
        ("maps/a.map", "module A { header \"a.h\" }\nextern module B \"b.map\"\n// more\n"),
        ("maps/b.map", "module B { }\n// more\n"),
        ("maps/module.private.modulemap", "module A.P { }\n"),
    ] {
        sandbox.write(name, text);
        wait_a_tick();
        for call in calls {
            assert_eq!(sandbox.check("clang", call), "miss", "{name}\n{}", sandbox.log());
        }
    }
}
