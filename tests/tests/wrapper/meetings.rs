//! Where two parts of the wrapper meet: what is handed on and what was not found, precompiled
//! headers and further outputs. Each state must be what the compiler alone gives.

use std::fs;
use std::fs::File;
use std::time::{Duration, SystemTime};

use super::{Sandbox, compilers, wait_a_tick};

const VALUE: &str = "int f(void) { return VALUE; }\n";

fn has(compiler: &str) -> bool {
    let is_there = compilers().any(|known| known == compiler);
    if !is_there {
        println!("skipped: no {compiler}");
    }
    is_there
}

/// A header is found, then another one appears before it and goes away again.
#[track_caller]
fn check_shadow(sandbox: &Sandbox, compiler: &str, call: &[&str], shadow: &str) {
    wait_a_tick();
    sandbox.check_cached(compiler, call);
    sandbox.write(shadow, "#define VALUE 2\n");
    wait_a_tick();
    assert_eq!(sandbox.check(compiler, call), "miss", "{compiler} {call:?} {shadow}");
    fs::remove_file(sandbox.path(shadow)).unwrap();
    assert_eq!(sandbox.check(compiler, call), "direct", "{compiler} {call:?} without {shadow}");
}

fn two_directories(source: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", source);
    sandbox.write("two/h.h", "#define VALUE 1\n");
    sandbox
}

/// Makes a precompiled header through larder from a text that is gone then.
#[track_caller]
fn precompile(sandbox: &Sandbox, name: &str, text: &str) {
    sandbox.write("x/made.h", text);
    wait_a_tick();
    let call = ["-O1", "-x", "c-header", "x/made.h", "-o", name];
    assert_eq!(sandbox.compile("gcc", &call).status, Some(0), "{}", sandbox.log());
    fs::remove_file(sandbox.path("x/made.h")).unwrap();
    wait_a_tick();
}

#[test]
fn directories_in_words_for_a_part_are_searched() {
    let source = format!("#include <h.h>\n{VALUE}");
    for (compiler, options) in [
        ("gcc", &["-Wp,-I,one,-I,two"][..]),
        ("gcc", &["-Xpreprocessor", "-Ione", "-Xpreprocessor", "-Itwo"]),
        ("clang", &["-Xclang", "-I", "-Xclang", "one", "-Xclang", "-Itwo"]),
        ("clang", &["--config", "./f"]),
    ] {
        if !has(compiler) {
            continue;
        }
        for first_is_there in [true, false] {
            let sandbox = two_directories(&source);
            sandbox.write("f", "-Ione -Itwo\n");
            if first_is_there {
                sandbox.write("one/other.h", "");
            }
            let call = [&["-c", "a.c"], options].concat();
            check_shadow(&sandbox, compiler, &call, "one/h.h");
        }
    }
}

#[test]
fn headers_that_words_for_a_part_force_in_are_searched() {
    for (compiler, options) in [
        ("gcc", &["-Xpreprocessor", "-include", "-Xpreprocessor", "h.h"][..]),
        ("gcc", &["-Wp,-include,h.h"]),
        ("clang", &["-Xclang", "-include", "-Xclang", "h.h"]),
        ("clang", &["--config", "./f"]),
    ] {
        if has(compiler) {
            let sandbox = two_directories(VALUE);
            sandbox.write("f", "-include h.h\n");
            let call = [&["-c", "a.c", "-Itwo"], options].concat();
            check_shadow(&sandbox, compiler, &call, "h.h");
        }
    }
}

/// gcc reads a precompiled header that has no header beside it, too.
#[test]
fn a_precompiled_header_alone_is_shadowed_like_a_header() {
    if !has("gcc") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("a.c", &format!("#include <h.h>\n{VALUE}"));
    for directory in ["one", "two"] {
        fs::create_dir(sandbox.path(directory)).unwrap();
    }
    precompile(&sandbox, "two/h.h.gch", "#define VALUE 1\n");
    let call = ["-O1", "-c", "a.c", "-Ione", "-Itwo"];
    check_shadow(&sandbox, "gcc", &call, "one/h.h");
    precompile(&sandbox, "one/h.h.gch", "#define VALUE 3\n");
    assert_eq!(sandbox.check("gcc", &call), "miss");
    fs::remove_file(sandbox.path("one/h.h.gch")).unwrap();
    assert_eq!(sandbox.check("gcc", &call), "direct");
}

/// The text that defines the macro is gone when the macro is used.
#[test]
fn a_question_by_a_macro_of_a_precompiled_header_is_never_answered_directly() {
    if !has("gcc") {
        return;
    }
    for definition in ["HAS __has_include", "HAS(x) __has_include(x) || 0"] {
        let sandbox = Sandbox::new();
        let asks = "#if HAS(<opt.h>)\n#define VALUE 2\n#else\n#define VALUE 1\n#endif\n";
        sandbox.write("a.c", &format!("#include \"h.h\"\n{asks}{VALUE}"));
        fs::create_dir(sandbox.path("one")).unwrap();
        precompile(&sandbox, "h.h.gch", &format!("#define {definition}\n"));
        let call = ["-O1", "-c", "a.c", "-Ione"];
        assert_eq!(sandbox.check("gcc", &call), "miss", "{definition}");
        sandbox.write("one/opt.h", "");
        wait_a_tick();
        assert_ne!(sandbox.check("gcc", &call), "direct", "{definition}");
        fs::remove_file(sandbox.path("one/opt.h")).unwrap();
        wait_a_tick();
        assert_ne!(sandbox.check("gcc", &call), "direct", "{definition}");
    }
}

#[test]
fn a_precompiled_header_that_appears_is_seen_wherever_its_header_is() {
    if !has("gcc") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("root/inc/h.h", "#define VALUE 1\n");
    let header = sandbox.path("root/inc/h.h").to_str().unwrap().to_owned();
    let named = format!("#include \"{header}\"\n{VALUE}");
    for (source, options) in [
        (format!("#include <h.h>\n{VALUE}"), &["--sysroot=root", "-I=/inc"][..]),
        (named, &[]),
        (VALUE.to_owned(), &["-include", &header]),
    ] {
        sandbox.write("a.c", &source);
        wait_a_tick();
        let call = [&["-O1", "-c", "a.c"], options].concat();
        sandbox.check_cached("gcc", &call);
        for value in [2, 3] {
            precompile(&sandbox, "root/inc/h.h.gch", &format!("#define VALUE {value}\n"));
            assert_ne!(sandbox.check("gcc", &call), "direct", "{call:?}");
            assert_eq!(sandbox.check("gcc", &call), "direct", "{call:?}");
        }
        fs::remove_file(sandbox.path("root/inc/h.h.gch")).unwrap();
        assert_eq!(sandbox.check("gcc", &call), "direct", "{call:?}");
    }
}

/// A precompiled header remembers what is read once, and gcc leaves out all that is the same.
#[test]
fn what_a_precompiled_header_makes_gcc_leave_out_counts() {
    if !has("gcc") {
        return;
    }
    let sandbox = Sandbox::new();
    let once = "#pragma once\n#ifndef VALUE\n#define VALUE 1\n#endif\n";
    sandbox.write("once.h", once);
    sandbox.write("same.h", once);
    for name in ["once.h", "same.h"] {
        let file = File::options().write(true).open(sandbox.path(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000)).unwrap();
    }
    sandbox.write("all.h", "#include \"once.h\"\n");
    sandbox.write("a.c", &format!("#include \"all.h\"\n#include \"same.h\"\n{VALUE}"));
    wait_a_tick();
    let make = ["-O1", "-x", "c-header", "all.h"];
    assert_eq!(sandbox.compile("gcc", &make).status, Some(0));
    wait_a_tick();
    let call = ["-O1", "-c", "a.c"];
    sandbox.check_cached("gcc", &call);
    sandbox.write("same.h", "#undef VALUE\n#define VALUE 2\n");
    wait_a_tick();
    assert_eq!(sandbox.check("gcc", &call), "miss");
}

/// Lines of headers in a precompiled one are shown, and nothing names these headers.
#[test]
fn what_shows_lines_of_a_precompiled_header_is_not_stored() {
    if !has("gcc") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("all.h", "#define FAULT(x) int unused_##x\n#define VALUE 1\n");
    sandbox.write("a.c", "#include \"all.h\"\nint f(void) { FAULT(a); return VALUE; }\n");
    sandbox.write("b.c", "#include \"all.h\"\nint f(void) { return VALUE; }\n");
    wait_a_tick();
    let make = ["-O1", "-x", "c-header", "all.h", "-Wall", "-g"];
    assert_eq!(sandbox.compile("gcc", &make).status, Some(0));
    wait_a_tick();
    for call in [
        &["-O1", "-g", "-Wall", "-c", "a.c"][..],
        &["-O1", "-g", "-Wall", "-c", "b.c", "-Wa,-ahls=b.lst"],
    ] {
        for _ in 0..2 {
            assert_eq!(sandbox.check("gcc", call), "uncached", "{call:?}");
        }
    }
    sandbox.check_cached("gcc", &["-O1", "-g", "-Wall", "-c", "b.c"]);
}

#[test]
fn a_further_output_beside_the_use_of_a_precompiled_header_is_not_lost() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("all.h", "#define VALUE 1\n");
        sandbox.write("b.c", VALUE);
        wait_a_tick();
        let made = if compiler == "gcc" { "all.h.gch" } else { "all.h.pch" };
        let make = ["-O1", "-g", "-x", "c-header", "all.h", "-o", made];
        assert_eq!(sandbox.compile(compiler, &make).status, Some(0));
        wait_a_tick();
        let call =
            ["-O1", "-g", "-include", "all.h", "-c", "b.c", "-gsplit-dwarf", "-fstack-usage"];
        let names = ["b.dwo", "b.su"];
        let read = || names.map(|name| fs::read(sandbox.path(name)).unwrap());
        sandbox.plain(compiler, &call);
        let expected = read();
        for _ in 0..2 {
            names.iter().for_each(|name| fs::remove_file(sandbox.path(name)).unwrap());
            sandbox.compile(compiler, &call);
            assert!(read() == expected, "{compiler}");
        }
    }
}
