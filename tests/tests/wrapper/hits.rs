//! A hit leaves exactly what the compiler would have left.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Sandbox, compilers};

const SOURCE: &str = "#include <stdio.h>\n#include \"h.h\"\n\
                      static int unused;\nint f(void) { puts(TEXT); return VALUE; }\n";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", SOURCE);
    sandbox.write("h.h", "#define TEXT \"text\"\n#define VALUE 1\n#include \"empty.h\"\n");
    sandbox.write("empty.h", "");
    sandbox
}

#[test]
fn everyday_calls_are_byte_identical_cold_and_warm() {
    for compiler in compilers() {
        let sandbox = sandbox();
        let calls: &[&[&str]] = &[
            &["-c", "a.c"],
            &["-c", "a.c", "-o", "a.o", "-O2", "-Wall"],
            &["-g", "-O1", "-c", "a.c", "-o", "a.o", "-MD"],
            &["-c", "a.c", "-o", "a.o", "-MMD"],
            &["-c", "a.c", "-o", "a.o", "-MMD", "-MP", "-MF", "other.d", "-MT", "target"],
            &["-c", "a.c", "-o", "a.o", "-MD", "-MQ", "$x", "-Wall"],
            &["-c", "a.c", "-o", "b.o", "-MMD", "-MF", "wp.d"],
            &["-c", "a.c", "-o", "b.o", "-Wp,-MMD,wp.d"],
            &["-c", "a.c", "-o", "b.o", "-Wp,-MD,wp.d"],
            &["-g", "-c", "a.c", "-o", "a.o", "-MMD", "-DWITH_DEBUG"],
            &["-g3", "-c", "a.c", "-o", "a.o", "-DWITH_DEBUG"],
            &["-c", "a.c", "-o", "a.o", "-include", "h.h", "-MMD", "-I."],
            &["-std=c11", "-DX=1", "-UY", "-fPIC", "-m64", "-c", "a.c", "-o", "b.o"],
        ];
        for call in calls {
            sandbox.check_cached(compiler, call);
        }
    }
}

#[test]
fn cpp_sources_and_their_drivers_are_cached() {
    for (c, compiler) in [("gcc", "g++"), ("clang", "clang++")] {
        if !compilers().any(|found| found == c) {
            continue;
        }
        let sandbox = Sandbox::new();
        sandbox
            .write("a.cc", "#include <vector>\nint f() { return std::vector<int>(3).size(); }\n");
        sandbox.check_cached(compiler, &["-c", "a.cc", "-o", "a.o", "-O1", "-std=c++17", "-MD"]);
    }
}

#[test]
fn a_hit_of_another_object_path_gets_its_own_dependency_file() {
    let sandbox = sandbox();
    assert_eq!(sandbox.check("gcc", &["-c", "a.c", "-o", "a.o", "-MD"]), "miss");
    assert_eq!(sandbox.check("gcc", &["-c", "a.c", "-o", "b.o", "-MD"]), "miss");
    assert_eq!(sandbox.check("gcc", &["-c", "a.c", "-o", "a.o", "-MD"]), "direct");
    assert_eq!(sandbox.check("gcc", &["-c", "a.c", "-o", "c.o"]), "miss");
    assert_eq!(sandbox.check("gcc", &["-c", "a.c", "-o", "d.o"]), "direct");
}

#[test]
fn messages_come_back_and_their_colours_do_not_mix() {
    for compiler in compilers() {
        let sandbox = sandbox();
        sandbox.check_cached(compiler, &["-Wall", "-Wextra", "-c", "a.c"]);
        let warned = sandbox.compile(compiler, &["-Wall", "-Wextra", "-c", "a.c"]);
        assert!(warned.stderr.contains("unused"), "{}", warned.stderr);
        let colored = ["-Wall", "-Wextra", "-c", "a.c", "-fdiagnostics-color=always"];
        sandbox.check_cached(compiler, &colored);
        assert!(sandbox.compile(compiler, &colored).stderr.contains("\x1b["));
    }
}

#[test]
fn modes_follow_the_umask_of_the_hit() {
    let sandbox = sandbox();
    let umasked = |umask: &str, program: &str| {
        let script = format!("umask {umask}; exec {program} gcc -c a.c -o a.o -MD");
        let script = script.replace("plain gcc", "gcc");
        sandbox.left(sandbox.command("/bin/sh".as_ref()).args(["-c", &script]))
    };
    let larder = larder_tests::larder_binary().to_str().unwrap();
    for umask in ["022", "077", "002"] {
        assert_eq!(umasked(umask, larder), umasked(umask, "plain"));
    }
    assert_eq!(sandbox.counts(), (2, 0, 1));
}

#[test]
fn an_old_dependency_file_keeps_its_mode_as_compilers_do() {
    let sandbox = sandbox();
    let call = ["-c", "a.c", "-o", "a.o", "-MD"];
    sandbox.check_cached("gcc", &call);
    fs::set_permissions(sandbox.path("a.d"), fs::Permissions::from_mode(0o600)).unwrap();
    let hit = sandbox.larder(&[&["gcc"], &call[..]].concat());
    assert!(hit.status.success());
    let mode = fs::metadata(sandbox.path("a.d")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_hard_link_to_the_old_object_is_left_alone() {
    let sandbox = sandbox();
    sandbox.check_cached("gcc", &["-c", "a.c"]);
    fs::write(sandbox.path("a.o"), "old").unwrap();
    fs::hard_link(sandbox.path("a.o"), sandbox.path("link")).unwrap();
    assert!(sandbox.larder(&["gcc", "-c", "a.c"]).status.success());
    assert_eq!(fs::read(sandbox.path("link")).unwrap(), b"old");
}

#[test]
fn response_files_are_read() {
    let sandbox = sandbox();
    sandbox.write("flags.rsp", "-O2 -DX='a b' -c a.c");
    sandbox.check_cached("gcc", &["@flags.rsp", "-o", "a.o"]);
    sandbox.write("flags.rsp", "-O0 -DX='a b' -c a.c");
    assert_eq!(sandbox.check("gcc", &["@flags.rsp", "-o", "a.o"]), "miss");
}

#[test]
fn a_hit_starts_no_process_and_stats_each_header_once() {
    if larder_tests::find_or_skip("strace").is_none() {
        return;
    }
    let sandbox = sandbox();
    let call = ["-c", "a.c", "-o", "a.o", "-MD"];
    assert_eq!(sandbox.check("gcc", &call), "miss");
    let trace = sandbox.path("trace");
    let mut command = sandbox.command(std::path::Path::new("strace"));
    command.args(["-f", "-o"]).arg(&trace).arg(larder_tests::larder_binary());
    assert!(command.arg("gcc").args(call).status().unwrap().success());
    let trace = fs::read_to_string(trace).unwrap();
    let calls = |names: &[&str]| {
        let begins = |line: &&str| names.iter().any(|name| line.contains(&format!(" {name}(")));
        trace.lines().filter(begins).count()
    };
    assert_eq!(calls(&["execve"]), 1, "{trace}");
    assert_eq!(calls(&["fork", "vfork", "clone", "clone3"]), 0, "{trace}");
    let looks = |name: &str| {
        let stat = |line: &&str| line.contains("stat") && line.contains(&format!("{name}\""));
        trace.lines().filter(stat).count()
    };
    assert_eq!(looks("h.h"), 1, "{trace}");
    assert_eq!(looks("empty.h"), 1, "{trace}");
    // The object and the dependency file are renamed into place; the store's names stay.
    assert_eq!(calls(&["unlink", "unlinkat", "mkdir", "utimensat"]), 2, "{trace}");
}
