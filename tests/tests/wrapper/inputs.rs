//! Files and facts that options name: the processor, profiles, lists, precompiled headers. Each
//! change that counts is a miss, each that does not is a hit, and both are what the compiler gives.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::{Sandbox, compilers, wait_a_tick};

const LOOP: &str = "int f(int n) { int s = 0; for (int i = 0; i < n; i++) s += i & 3 ? i : 2; \
                    return s; }\n";

/// Runs the compiler alone and demands success.
#[track_caller]
fn run(sandbox: &Sandbox, program: &str, arguments: &[&str]) {
    let output = sandbox.command(Path::new(program)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

fn set_time(sandbox: &Sandbox, name: &str, secs: u64) {
    let file = fs::File::options().write(true).open(sandbox.path(name)).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(secs)).unwrap();
    wait_a_tick();
}

#[test]
fn native_is_what_the_processor_can_do() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", LOOP);
        for option in ["-march=native", "-mtune=native"] {
            let arguments = ["-O3", option, "-c", "a.c", "-o", "a.o"];
            let asked = sandbox.plain(compiler, &arguments);
            if asked.status != Some(0) {
                println!("skipped: {compiler} knows no {option}");
                continue;
            }
            sandbox.check_cached(compiler, &arguments);
            sandbox.check_cached(compiler, &[&arguments[..], &["-mno-sse4.1"]].concat());
            assert_eq!(sandbox.check(compiler, &arguments), "direct");
        }
    }
}

#[test]
fn a_profile_of_gcc_is_an_input_that_may_be_absent() {
    if !compilers().any(|compiler| compiler == "gcc") {
        println!("skipped: no gcc");
        return;
    }
    for (object, use_option) in [
        ("a.o", "-fprofile-use"),
        ("a.o", "-fprofile-use=profiles"),
        ("sub/../a.o", "-fprofile-use=profiles"),
        ("./a.o", "-fbranch-probabilities"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", LOOP);
        sandbox.write("sub/keep", "");
        sandbox.write("m.c", "int f(int);\nint main(int c, char **v) { return f(c * 50) < 0; }\n");
        wait_a_tick();
        let arguments = ["-O2", use_option, "-c", "a.c", "-o", object];
        sandbox.check_cached("gcc", &arguments);
        let place = use_option.split_once('=').map(|(_, place)| format!("={place}"));
        let generate = format!("-fprofile-generate{}", place.unwrap_or_default());
        run(&sandbox, "gcc", &["-O2", &generate, "-c", "a.c", "-o", object]);
        run(&sandbox, "gcc", &[&generate, object, "m.c", "-o", "m"]);
        for count in [&[][..], &["x", "y", "z"]] {
            run(&sandbox, sandbox.path("m").to_str().unwrap(), count);
            wait_a_tick();
            sandbox.check_cached("gcc", &arguments);
        }
    }
}

#[test]
fn objects_that_write_profiles_hold_their_place() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", LOOP);
    if compilers().any(|compiler| compiler == "gcc") {
        for options in [
            &["-fprofile-generate"][..],
            &["-fprofile-generate=p"],
            &["-fprofile-generate", "-fprofile-dir=q", "-fprofile-update=atomic"],
        ] {
            for object in ["a.o", "./a.o", "b.o"] {
                let always = ["-frandom-seed=1", "-c", "a.c", "-o", object];
                sandbox.check_cached("gcc", &[options, &always].concat());
            }
        }
    }
    if compilers().any(|compiler| compiler == "clang") {
        for options in [
            &["-fprofile-generate"][..],
            &["-fprofile-generate=p"],
            &["-fprofile-instr-generate=x.profraw"],
            &["-fprofile-instr-generate", "-fcoverage-mapping"],
        ] {
            sandbox.check_cached("clang", &[options, &["-c", "a.c"]].concat());
        }
    }
}

#[test]
fn coverage_mappings_name_the_directory() {
    if !compilers().any(|compiler| compiler == "clang") {
        println!("skipped: no clang");
        return;
    }
    let sandbox = Sandbox::new();
    let call = ["-fprofile-instr-generate", "-fcoverage-mapping", "-c", "a.c", "-o", "a.o"];
    for place in ["one", "two"] {
        sandbox.write(&format!("{place}/a.c"), LOOP);
        let compile = |program: &Path, words: &[&str]| {
            let mut command = sandbox.command(program);
            command.current_dir(sandbox.path(place)).args(words).args(call);
            assert!(command.status().unwrap().success());
            fs::read(sandbox.path(place).join("a.o")).unwrap()
        };
        let expected = compile(Path::new("clang"), &[]);
        assert_eq!(compile(larder_tests::larder_binary(), &["clang"]), expected);
    }
    assert_eq!(sandbox.counts(), (0, 0, 2));
}

#[test]
fn a_profile_of_clang_is_the_file_that_is_named() {
    let has_tools = ["clang", "llvm-profdata"]
        .iter()
        .all(|tool| Command::new(tool).arg("--version").output().is_ok_and(|o| o.status.success()));
    if !has_tools {
        println!("skipped: no clang with llvm-profdata");
        return;
    }
    for (name, option) in [
        ("default.profdata", "-fprofile-instr-use"),
        ("default.profdata", "-fprofile-use"),
        ("d/default.profdata", "-fprofile-use=d"),
        ("d/x.profdata", "-fprofile-use=d/x.profdata"),
        ("x.profdata", "-fprofile-instr-use=x.profdata"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", LOOP);
        sandbox.write("d/keep", "");
        let arguments = ["-O2", option, "-c", "a.c", "-o", "a.o"];
        // Without the profile clang fails, with larder as without.
        assert_eq!(sandbox.check("clang", &arguments), "uncached");
        for count in ["1", "1000"] {
            sandbox.write("p.txt", &format!(":ir\nf\n# Hash\n0\n# Counters\n1\n{count}\n\n"));
            let text = format!("f\n0\n1\n{count}\n");
            sandbox.write("p.txt", &text);
            run(&sandbox, "llvm-profdata", &["merge", "p.txt", "-o", name]);
            wait_a_tick();
            sandbox.check_cached("clang", &arguments);
        }
    }
}

#[test]
fn a_sample_profile_counts() {
    if !compilers().any(|compiler| compiler == "clang") {
        println!("skipped: no clang");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("a.c", LOOP);
    for count in ["9", "900000"] {
        sandbox.write("s.prof", &format!("f:{count}:1\n 0: {count}\n"));
        wait_a_tick();
        sandbox.check_cached("clang", &["-O2", "-fprofile-sample-use=s.prof", "-c", "a.c"]);
    }
}

#[test]
fn a_list_of_what_is_not_sanitized_counts() {
    if !compilers().any(|compiler| compiler == "clang") {
        println!("skipped: no clang");
        return;
    }
    for option in ["-fsanitize-ignorelist=l", "-fsanitize-blacklist=l"] {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", "int f(int *p) { return *p; }\n");
        for text in ["fun:f\n", "fun:g\n"] {
            sandbox.write("l", text);
            wait_a_tick();
            sandbox.check_cached("clang", &["-fsanitize=address", option, "-c", "a.c"]);
        }
    }
}

/// gcc writes its options into debug information.
#[test]
fn options_that_are_recorded_are_in_the_key() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", LOOP);
    for compiler in compilers() {
        for options in [
            &["-g"][..],
            &["-g", "-pipe"],
            &["-g", "-MD"],
            &["-g", "-gno-record-gcc-switches"],
            &["-g", "-fno-working-directory"],
            &["-g", "-fdebug-prefix-map=/a=/b"],
            &["-g", "-ffile-prefix-map=/a=/b"],
            &["-g", "-fmacro-prefix-map=/a=/b"],
            &["-g", "-frandom-seed=a"],
            &["-g", "-frandom-seed=b"],
            &["-g", "-fdiagnostics-color=always"],
            &["-frecord-gcc-switches"],
            &["-frecord-gcc-switches", "-MD"],
            &["-frecord-gcc-switches", "-O2"],
        ] {
            for object in ["a.o", "b.o"] {
                let call = [options, &["-c", "a.c", "-o", object]].concat();
                sandbox.check(compiler, &call);
                sandbox.check(compiler, &call);
            }
        }
    }
}

#[test]
fn words_for_a_part_of_the_compiler_count() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "#include <h.h>\nint f(void) { return V; }\n");
    sandbox.write("one/h.h", "#ifndef V\n#define V 1\n#endif\n");
    sandbox.write("two/h.h", "#define V 2\n");
    for compiler in compilers() {
        sandbox.write("forced.h", "#define V 7\n");
        wait_a_tick();
        for words in [
            "-Wp,-Ione",
            "-Wp,-I,two",
            "-Xpreprocessor -I -Xpreprocessor one",
            "-Xpreprocessor -isystem -Xpreprocessor two",
            "-Ione -Wp,-include,forced.h",
            "-Ione -Wp,-D,V=5",
            "-Ione -Wa,--noexecstack,-W",
            "-Ione -Xassembler -I -Xassembler one",
            "-Ione -Wa,-I,one",
        ] {
            let call = [&words.split(' ').collect::<Vec<_>>()[..], &["-c", "a.c"]].concat();
            sandbox.check_cached(compiler, &call);
        }
        sandbox.write("forced.h", "#define V 8\n");
        wait_a_tick();
        let call = ["-Ione", "-Wp,-include,forced.h", "-c", "a.c"];
        assert_eq!(sandbox.check(compiler, &call), "miss");
    }
}

#[test]
fn words_for_clangs_front_end_count() {
    if !compilers().any(|compiler| compiler == "clang") {
        println!("skipped: no clang");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("a.c", LOOP);
    sandbox.write("first.h", "#define s t\n");
    wait_a_tick();
    for words in [
        "-Xclang -target-feature -Xclang +avx2",
        "-Xclang -target-feature -Xclang -sse3",
        "-Xclang -debug-info-kind=limited",
        "-Xclang -include -Xclang first.h",
        "-Xclang -mllvm -Xclang -unroll-threshold=1",
        "-mllvm -unroll-threshold=1000",
    ] {
        let words: Vec<_> = words.split(' ').collect();
        sandbox.check_cached("clang", &[&words[..], &["-O3", "-c", "a.c"]].concat());
    }
    for words in ["-Xclang -fsyntax-only", "-Xclang -load -Xclang x.so", "-mllvm -stats"] {
        let words: Vec<_> = words.split(' ').collect();
        let call = [&words[..], &["-O3", "-c", "a.c"]].concat();
        assert_eq!(sandbox.check("clang", &call), "uncached", "{call:?}");
    }
}

fn precompiled_sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("inc/deep.h", "#define V 1\n");
    sandbox.write("inc/all.h", "#include <stddef.h>\n#include \"deep.h\"\nint all(void);\n");
    sandbox.write("a.c", "#include \"all.h\"\nint f(void) { return V; }\n");
    sandbox.write("b.c", "int f(void) { return V; }\n");
    for name in ["inc/deep.h", "inc/all.h", "a.c", "b.c"] {
        set_time(&sandbox, name, 1_500_000_000);
    }
    sandbox
}

/// Makes a precompiled header through larder, and tells how.
#[track_caller]
fn precompile(sandbox: &Sandbox, compiler: &str, arguments: &[&str]) -> &'static str {
    let before = sandbox.counts();
    let left = sandbox.compile(compiler, arguments);
    assert_eq!(left.status, Some(0), "{left:?}\n{}", sandbox.log());
    wait_a_tick();
    let after = sandbox.counts();
    match (after.0 - before.0, after.2 - before.2) {
        (1, 0) => "direct",
        (0, 1) => "miss",
        _ => "uncached",
    }
}

#[test]
fn a_header_precompiled_by_gcc_is_an_input() {
    if !compilers().any(|compiler| compiler == "gcc") {
        println!("skipped: no gcc");
        return;
    }
    let make = ["-O1", "-x", "c-header", "inc/all.h", "-o", "inc/all.h.gch"];
    for user in [
        &["-O1", "-Iinc", "-c", "a.c", "-MD"][..],
        &["-O1", "-Iinc", "-c", "a.c", "-MMD"],
        &["-O1", "-Iinc", "-c", "a.c", "-Winvalid-pch"],
        &["-O1", "-include", "inc/all.h", "-c", "b.c"],
    ] {
        let sandbox = precompiled_sandbox();
        assert_eq!(precompile(&sandbox, "gcc", &make), "miss", "{}", sandbox.log());
        let first = fs::read(sandbox.path("inc/all.h.gch")).unwrap();
        fs::remove_file(sandbox.path("inc/all.h.gch")).unwrap();
        assert_eq!(precompile(&sandbox, "gcc", &make), "direct");
        assert_eq!(fs::read(sandbox.path("inc/all.h.gch")).unwrap(), first);
        sandbox.check_cached("gcc", user);
        // gcc does not look at the header any more.
        sandbox.write("inc/deep.h", "#define V 2\n");
        wait_a_tick();
        sandbox.check("gcc", user);
        assert_eq!(precompile(&sandbox, "gcc", &make), "miss");
        assert_eq!(sandbox.check("gcc", user), "miss", "{user:?} {}", sandbox.log());
        assert_eq!(sandbox.check("gcc", user), "direct");
        fs::remove_file(sandbox.path("inc/all.h.gch")).unwrap();
        sandbox.check_cached("gcc", user);
    }
}

/// CMake includes the header into an empty source, so that the output stands where a precompiled
/// form of it would be looked for. gcc looks for none when it makes one, and larder did: nothing of
/// such a build was cached.
#[test]
fn a_header_precompiled_as_cmake_does_is_an_input() {
    if !compilers().any(|compiler| compiler == "gcc") {
        println!("skipped: no gcc");
        return;
    }
    let sandbox = precompiled_sandbox();
    sandbox.write("empty.c", "/* generated */\n");
    let make =
        "-O1 -Winvalid-pch -x c-header -include inc/all.h -MD -MF x.d -o inc/all.h.gch -c empty.c";
    let make: Vec<&str> = make.split(' ').collect();
    let user = ["-O1", "-Winvalid-pch", "-include", "inc/all.h", "-c", "b.c", "-MD"];
    wait_a_tick();
    assert_eq!(precompile(&sandbox, "gcc", &make), "miss", "{}", sandbox.log());
    sandbox.check_cached("gcc", &user);
    assert_eq!(precompile(&sandbox, "gcc", &make), "direct");
    sandbox.write("inc/deep.h", "#define V 2\n");
    wait_a_tick();
    // The old one stands there.
    assert_eq!(precompile(&sandbox, "gcc", &make), "miss", "{}", sandbox.log());
    sandbox.check_cached("gcc", &user);
    set_time(&sandbox, "inc/deep.h", 1_500_000_001);
    sandbox.write("inc/deep.h", "#define V 1\n");
    wait_a_tick();
    assert_eq!(precompile(&sandbox, "gcc", &make), "direct");
    assert_eq!(sandbox.check("gcc", &user), "direct");
}

#[test]
fn a_precompiled_header_is_found_wherever_gcc_finds_it() {
    if !compilers().any(|compiler| compiler == "gcc") {
        println!("skipped: no gcc");
        return;
    }
    for (start, options) in [
        ("#include <all.h>\n", &["-isystem", "inc"][..]),
        ("#include <all.h>\n", &[]),
        ("#include <all.h>\n", &["-iprefix", "./", "-iwithprefix", "inc"]),
        ("#include \"inc/all.h\"\n", &[]),
        ("/* x */ #in\\\nclude/**/<all.h>\n", &["-Iinc"]),
        ("#define ALL <all.h>\n#include ALL\n", &["-Iinc"]),
    ] {
        let mut sandbox = precompiled_sandbox();
        if options.is_empty() {
            sandbox.set("CPATH", "inc");
        }
        sandbox.write("a.c", &format!("{start}int f(void) {{ return V; }}\n"));
        for text in ["#define V 1\n", "#define V 2\n"] {
            sandbox.write("inc/deep.h", text);
            wait_a_tick();
            precompile(&sandbox, "gcc", &["-O1", "-x", "c-header", "inc/all.h"]);
            // Now only the precompiled header says what it is.
            sandbox.write("inc/deep.h", "#define V 3\n");
            wait_a_tick();
            for _ in 0..2 {
                sandbox.check("gcc", &[options, &["-O1", "-c", "a.c"]].concat());
            }
        }
    }
}

/// A macro in a precompiled header may say the time where it is used; its bytes do not tell.
#[test]
fn a_precompiled_header_that_may_say_the_time_is_not_believed() {
    if !compilers().any(|compiler| compiler == "gcc") {
        println!("skipped: no gcc");
        return;
    }
    let sandbox = precompiled_sandbox();
    sandbox.write("inc/deep.h", "#define V (sizeof __TIMESTAMP__ + __TIMESTAMP__[18])\n");
    set_time(&sandbox, "inc/deep.h", 1_500_000_000);
    let user = ["-O1", "-Iinc", "-c", "a.c"];
    run(&sandbox, "gcc", &["-O1", "inc/all.h"]);
    wait_a_tick();
    assert_eq!(sandbox.check("gcc", &user), "uncached");
    assert!(sandbox.log().contains("was not made through larder"), "{}", sandbox.log());
    precompile(&sandbox, "gcc", &["-O1", "inc/all.h"]);
    sandbox.check_cached("gcc", &user);
    set_time(&sandbox, "a.c", 1_500_000_007);
    assert_eq!(sandbox.check("gcc", &user), "miss");
}

#[test]
fn a_header_precompiled_by_clang_is_good_for_the_times_of_its_headers() {
    if !compilers().any(|compiler| compiler == "clang") {
        println!("skipped: no clang");
        return;
    }
    for (name, user) in [
        ("out.pch", &["-O1", "-include-pch", "out.pch", "-c", "b.c", "-MD"][..]),
        ("out.pch", &["-O1", "-include-pch", "out.pch", "-c", "b.c", "-MMD"]),
        ("inc/all.h.pch", &["-O1", "-include", "inc/all.h", "-c", "b.c"]),
        ("inc/all.h.gch", &["-O1", "-include", "inc/all.h", "-c", "b.c"]),
        ("out.pch", &["-O1", "-Xclang", "-include-pch", "-Xclang", "out.pch", "-c", "b.c"]),
    ] {
        let sandbox = precompiled_sandbox();
        let make = ["-O1", "-x", "c-header", "inc/all.h", "-o", name];
        let read = || fs::read(sandbox.path(name)).unwrap();
        assert_eq!(precompile(&sandbox, "clang", &make), "miss", "{}", sandbox.log());
        let first = read();
        run(&sandbox, "clang", &make);
        assert_eq!(read(), first);
        assert_eq!(precompile(&sandbox, "clang", &make), "direct");
        assert_eq!(read(), first);
        sandbox.check_cached("clang", user);
        // Another time makes the precompiled header useless, and the new one is another.
        set_time(&sandbox, "inc/deep.h", 1_500_000_100);
        assert_eq!(sandbox.check("clang", user), "uncached", "{user:?}");
        assert_eq!(precompile(&sandbox, "clang", &make), "miss");
        let second = read();
        assert_ne!(second, first);
        run(&sandbox, "clang", &make);
        assert_eq!(read(), second);
        wait_a_tick();
        sandbox.check_cached("clang", user);
        sandbox.write("inc/deep.h", "#define V 2\n");
        wait_a_tick();
        assert_eq!(precompile(&sandbox, "clang", &make), "miss");
        sandbox.check_cached("clang", user);
    }
}

#[test]
fn a_precompiled_header_without_times_does_not_ask_for_them() {
    if !compilers().any(|compiler| compiler == "clang") {
        println!("skipped: no clang");
        return;
    }
    let sandbox = precompiled_sandbox();
    let make = "-Xclang -emit-pch -Xclang -fno-pch-timestamp -x c-header -c inc/all.h -o out.pch";
    let make: Vec<_> = make.split(' ').collect();
    assert_eq!(precompile(&sandbox, "clang", &make), "miss", "{}", sandbox.log());
    let first = fs::read(sandbox.path("out.pch")).unwrap();
    set_time(&sandbox, "inc/deep.h", 1_500_000_100);
    assert_eq!(precompile(&sandbox, "clang", &make), "direct");
    assert_eq!(fs::read(sandbox.path("out.pch")).unwrap(), first);
    sandbox.check_cached("clang", &["-include-pch", "out.pch", "-c", "b.c"]);
}

/// An output that stands already is written into by gcc, and replaced by clang.
#[test]
fn a_precompiled_header_goes_where_the_compiler_puts_it() {
    for compiler in compilers() {
        let sandbox = precompiled_sandbox();
        let make = ["-x", "c-header", "inc/all.h", "-o", "out.gch"];
        let state = |wrapped: bool| {
            use std::os::unix::fs::MetadataExt;
            let _ = fs::remove_file(sandbox.path("link"));
            fs::write(sandbox.path("out.gch"), "old").unwrap();
            fs::hard_link(sandbox.path("out.gch"), sandbox.path("link")).unwrap();
            let left = match wrapped {
                true => sandbox.compile(compiler, &make),
                false => sandbox.plain(compiler, &make),
            };
            assert_eq!(left.status, Some(0));
            let metadata = fs::metadata(sandbox.path("out.gch")).unwrap();
            (metadata.mode(), metadata.nlink(), fs::read(sandbox.path("link")).unwrap() == b"old")
        };
        let expected = state(false);
        for _ in 0..2 {
            assert_eq!(state(true), expected, "{compiler}");
        }
    }
}

#[test]
fn options_from_a_specs_file_count() {
    if !compilers().any(|compiler| compiler == "gcc") {
        println!("skipped: no gcc");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int f(void) { return V; }\n");
    let file = sandbox.path("f.specs");
    let option = format!("-specs={}", file.display());
    let call = [&option, "-O1", "-c", "a.c", "-MD"];
    for text in ["*cc1_options:\n+ -DV=1\n", "*cc1_options:\n+ -DV=2\n", "*cpp:\n+ -g -DV=2\n"] {
        sandbox.write("f.specs", text);
        wait_a_tick();
        sandbox.check_cached("gcc", &call);
    }
    for text in ["*cc1_options:\n+ -DV=1 -fstack-usage\n", "*cpp:\n+ -DV=%:getenv(HOME /x)0\n"] {
        sandbox.write("f.specs", text);
        wait_a_tick();
        let left = sandbox.compile("gcc", &call);
        assert_eq!(left, sandbox.plain("gcc", &call));
    }
    assert_eq!(sandbox.counts(), (3, 0, 3));
}

#[test]
fn options_from_a_configuration_file_count() {
    if !compilers().any(|compiler| compiler == "clang") {
        println!("skipped: no clang");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int f(void) { return V; }\n");
    let call = ["--config", "./f.cfg", "-O1", "-c", "a.c"];
    for text in ["# no macro\n-DV=1\n", "-DV=2\n", "-g -DV=2\n", "-DV=2 -MD\n"] {
        sandbox.write("f.cfg", text);
        wait_a_tick();
        sandbox.check_cached("clang", &call);
    }
    sandbox.write("f.cfg", "-DV=1 -save-temps\n");
    assert_eq!(sandbox.check("clang", &call), "uncached");
}

#[test]
fn plugins_and_lists_of_options_run_uncached() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", LOOP);
    for compiler in compilers() {
        for option in ["-fplugin=none.so", "-fplugin-arg-none-x"] {
            assert_eq!(sandbox.check(compiler, &[option, "-c", "a.c"]), "uncached", "{option}");
        }
    }
}
