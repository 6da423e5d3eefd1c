//! Whatever changes the result is a miss; what does not change it may hit and is right.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use larder_tests::larder_binary;

use super::{Sandbox, compilers, wait_a_tick};

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "#include \"h.h\"\nint f(void) { return VALUE; }\n");
    sandbox.write("h.h", "#define VALUE 1\n");
    sandbox
}

const CALL: &[&str] = &["-c", "a.c", "-o", "a.o", "-MD"];

#[test]
fn an_edited_header_is_a_miss_and_the_old_state_hits_again() {
    for compiler in compilers() {
        let sandbox = sandbox();
        sandbox.check_cached(compiler, CALL);
        sandbox.write("h.h", "#define VALUE 2\n");
        sandbox.check_cached(compiler, CALL);
        sandbox.write("h.h", "#define VALUE 1\n");
        assert_eq!(sandbox.check(compiler, CALL), "direct");
    }
}

#[test]
fn a_header_changed_with_its_old_size_and_mtime_is_seen() {
    let sandbox = sandbox();
    let past = SystemTime::now() - Duration::from_secs(10_000);
    let write = |text: &str| {
        sandbox.write("h.h", text);
        let file = fs::File::options().write(true).open(sandbox.path("h.h")).unwrap();
        file.set_modified(past).unwrap();
        wait_a_tick();
    };
    write("#define VALUE 1\n");
    sandbox.check_cached("gcc", CALL);
    write("#define VALUE 2\n");
    assert_eq!(sandbox.check("gcc", CALL), "miss");
}

#[test]
fn options_that_matter_are_misses() {
    let sandbox = sandbox();
    sandbox.write("include/other.h", "");
    sandbox.check_cached("gcc", CALL);
    for option in ["-DX", "-O2", "-std=c99", "-fPIC", "-Iinclude", "-g", "-Wall", "-m64"] {
        let call = [CALL, &[option]].concat();
        sandbox.check_cached("gcc", &call);
    }
}

#[test]
fn variables_that_matter_are_misses_and_others_are_not() {
    let mut sandbox = sandbox();
    sandbox.write("include/other.h", "");
    sandbox.check_cached("gcc", CALL);
    for (name, value) in [("CPATH", "include"), ("LANG", "C.UTF-8"), ("SOURCE_DATE_EPOCH", "0")] {
        sandbox.set(name, value);
        assert_eq!(sandbox.check("gcc", CALL), "miss", "{name}");
        sandbox.unset(name);
    }
    for (name, value) in [("TMPDIR", "/tmp"), ("TERM", "xterm"), ("MALLOC_ARENA_MAX", "1")] {
        sandbox.set(name, value);
        assert_eq!(sandbox.check("gcc", CALL), "direct", "{name}");
    }
}

#[test]
fn a_relative_search_path_is_another_one_elsewhere() {
    // The source is named absolutely, so only the directory of the call decides which h.h it is; in
    // the second one an earlier search directory has one too.
    let sandbox = Sandbox::new();
    sandbox.write("source.c", "#include <h.h>\nint f(void) { return VALUE; }\n");
    sandbox.write("one/include/h.h", "#define VALUE 1\n");
    sandbox.write("two/include/h.h", "#define VALUE 1\n");
    sandbox.write("two/first/h.h", "#define VALUE 2\n");
    let source = sandbox.path("source.c");
    let compile = |program: &Path, place: &str| {
        let mut command = sandbox.command(program);
        command.current_dir(sandbox.path(place));
        if program == larder_binary() {
            command.arg("gcc");
        }
        command.args(["-Ifirst", "-Iinclude", "-c"]).arg(&source).args(["-o", "a.o"]);
        assert!(command.status().unwrap().success());
        fs::read(sandbox.path(place).join("a.o")).unwrap()
    };
    let one = compile(larder_binary(), "one");
    let two = compile(larder_binary(), "two");
    assert_ne!(one, two);
    assert_eq!(one, compile(Path::new("gcc"), "one"));
    assert_eq!(two, compile(Path::new("gcc"), "two"));
    assert_eq!(compile(larder_binary(), "one"), one);
}

#[test]
fn debug_information_names_the_directory_of_the_call() {
    let sandbox = Sandbox::new();
    for place in ["one", "two"] {
        sandbox.write(&format!("{place}/a.c"), "int x;\n");
        let compile = |program: &Path| {
            let mut command = sandbox.command(program);
            command.current_dir(sandbox.path(place));
            if program == larder_binary() {
                command.arg("gcc");
            }
            assert!(command.args(["-g", "-c", "a.c"]).status().unwrap().success());
            fs::read(sandbox.path(place).join("a.o")).unwrap()
        };
        let expected = compile(Path::new("gcc"));
        assert_eq!(compile(larder_binary()), expected);
    }
    assert_eq!(sandbox.counts(), (0, 0, 2));
}

#[test]
fn unused_macros_end_in_a_preprocessed_hit() {
    for compiler in compilers() {
        let sandbox = sandbox();
        sandbox.check_cached(compiler, CALL);
        sandbox.write("h.h", "#define VALUE 2\n");
        assert_eq!(sandbox.check(compiler, CALL), "miss");
        sandbox.write("h.h", "#define VALUE 2 // two\n");
        assert_eq!(sandbox.check(compiler, CALL), "preprocessed", "{}", sandbox.log());
        assert_eq!(sandbox.check(compiler, CALL), "direct");
    }
}

#[test]
fn a_preprocessed_hit_never_brings_another_dependency_file() {
    // Both texts are the same but for an empty header, which the dependency file names.
    let sandbox = sandbox();
    sandbox.write("empty.h", "");
    sandbox.check_cached("gcc", CALL);
    sandbox.write("h.h", "#define VALUE 2\n");
    assert_eq!(sandbox.check("gcc", CALL), "miss");
    sandbox.write("h.h", "#include \"empty.h\"\n#define VALUE 2\n");
    assert_eq!(sandbox.check("gcc", CALL), "miss");
}

#[test]
fn a_date_is_good_for_its_day_only() {
    let sandbox = sandbox();
    sandbox.write("h.h", "#define VALUE sizeof __DATE__\nconst char *date = __DATE__;\n");
    sandbox.check_cached("gcc", CALL);
    sandbox.write("h.h", "#define VALUE 7\nconst char *date = __DATE__;\n");
    sandbox.check_cached("gcc", CALL);
}

#[test]
fn a_zone_with_another_date_is_a_miss() {
    let mut sandbox = sandbox();
    sandbox.write("h.h", "#define VALUE 1\nconst char *date = __DATE__;\n");
    // At any moment these two are a day apart.
    for zone in ["Pacific/Kiritimati", "Pacific/Niue"] {
        if Path::new("/usr/share/zoneinfo").join(zone).exists() {
            sandbox.set("TZ", zone);
            sandbox.check_cached("gcc", CALL);
        }
    }
}

#[test]
fn the_time_is_cached_only_when_it_is_fixed() {
    let mut sandbox = sandbox();
    sandbox.write("h.h", "#define VALUE 1\nconst char *time = __TIME__;\n");
    sandbox.compile("gcc", CALL);
    sandbox.compile("gcc", CALL);
    assert_eq!(sandbox.counts(), (0, 0, 0));
    assert_eq!(sandbox.count("unsupported_code_directive"), 2);
    sandbox.set("SOURCE_DATE_EPOCH", "1000000000");
    sandbox.check_cached("gcc", CALL);
    sandbox.set("SOURCE_DATE_EPOCH", "1000000001");
    assert_eq!(sandbox.check("gcc", CALL), "miss");
}

#[test]
fn a_timestamp_follows_the_mtime_of_the_file() {
    let sandbox = sandbox();
    sandbox.write("h.h", "#define VALUE 1\nconst char *stamp = __TIMESTAMP__;\n");
    let touch = |secs| {
        let file = fs::File::options().write(true).open(sandbox.path("h.h")).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(secs)).unwrap();
    };
    touch(1_000_000_000);
    sandbox.check_cached("gcc", CALL);
    touch(1_000_000_777);
    sandbox.check_cached("gcc", CALL);
}

#[test]
fn files_that_no_list_names_prevent_caching() {
    let sandbox = sandbox();
    sandbox.write("data", "x");
    sandbox.write("h.h", "#define VALUE 1\n__asm__(\".incbin \\\"data\\\"\");\n");
    assert_eq!(sandbox.check("gcc", CALL), "uncached");
    sandbox.write("data", "longer");
    assert_eq!(sandbox.check("gcc", CALL), "uncached");
    assert_eq!(sandbox.count("unsupported_code_directive"), 2);
}

#[test]
fn a_precompiled_header_prevents_caching() {
    let sandbox = sandbox();
    assert!(sandbox.command(Path::new("gcc")).arg("h.h").status().unwrap().success());
    assert!(sandbox.path("h.h.gch").exists());
    assert_eq!(sandbox.check("gcc", CALL), "uncached");
    assert_eq!(sandbox.count("could_not_use_precompiled_header"), 1);
}

#[test]
fn another_compiler_behind_the_same_name_is_a_miss() {
    let mut sandbox = sandbox();
    sandbox.check_cached("gcc", CALL);
    // A wrapper that adds an option is no compiler that larder knows.
    sandbox.write("bin/gcc", "#!/bin/sh\nexec /usr/bin/gcc -DVALUE=3 \"$@\"\n");
    let script = sandbox.path("bin/gcc");
    std::process::Command::new("chmod").arg("+x").arg(&script).status().unwrap();
    let path = std::env::var("PATH").unwrap();
    sandbox.set("PATH", &format!("{}:{path}", sandbox.path("bin").display()));
    assert_eq!(sandbox.check("gcc", CALL), "uncached");
}
