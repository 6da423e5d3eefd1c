//! A program named like a compiler that calls larder again ends with the next compiler or with an
//! error, under both names, and never runs for ever.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use larder_tests::larder_binary;

use super::{House, text};

/// No call below takes so long.
const LONG: Duration = Duration::from_secs(60);

/// A house with a script `first/gcc`, which is first in `PATH`.
fn house(script: &str) -> House {
    let house = House::new();
    house.write("work/a.c", "int main(void) { return 0; }\n");
    symlink(larder_binary(), house.at("bin/larder")).unwrap();
    house.script("first/gcc", &format!("#!/bin/sh\n{script}\n"));
    house
}

/// Runs a command line of a shell, which has to end.
fn ends(house: &House, path: &str, line: &str) -> Output {
    let mut command = house.command(Path::new("/bin/sh"));
    command.args(["-c", line]).env("PATH", path).env("LARDER_DIR", house.at("own"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > LONG {
            child.kill().unwrap();
            panic!("{line} goes on and on");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn a_script_that_calls_larder_again_leads_to_the_next_compiler() {
    for name in ["ccache", "larder"] {
        for exec in ["exec ", ""] {
            let house = house(&format!("{exec}{name} gcc \"$@\""));
            let path = house.path(&["first", "bin"]);
            for (line, made) in [
                (format!("{name} gcc -c a.c"), "a.o"),
                (format!("{name} gcc a.c -o linked"), "linked"),
                ("gcc -c a.c -o b.o".to_owned(), "b.o"),
                (format!("{name} gcc -O1 -c a.c -o c.o"), "c.o"),
                (format!("CCACHE_DISABLE=1 LARDER_DISABLE=1 {name} gcc -c a.c -o d.o"), "d.o"),
            ] {
                let output = ends(&house, &path, &line);
                assert!(output.status.success(), "{line}: {}", text(&output.stderr));
                assert!(house.at("work").join(made).exists(), "{line}");
            }
        }
    }
}

#[test]
fn a_script_that_names_itself_leads_to_the_next_compiler() {
    for name in ["ccache", "larder"] {
        let house = house(&format!("exec {name} \"$0\" -DX \"$@\""));
        let path = house.path(&["first", "bin"]);
        let output =
            ends(&house, &path, &format!("{name} {}/gcc a.c", house.at("first").display()));
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

#[test]
fn where_there_is_no_other_compiler_there_is_an_error() {
    let (ccache, larder) = ("ccache: error: ", "larder: ");
    for (name, program, status, start) in [
        ("ccache", "only-gcc", 1, ccache),
        ("larder", "only-gcc", 127, larder),
        ("ccache", "only-here", 1, ccache),
        ("larder", "only-here", 127, larder),
    ] {
        let house = House::new();
        symlink(larder_binary(), house.at("bin/larder")).unwrap();
        house.script(
            &format!("first/{program}"),
            &format!("#!/bin/sh\nexec {name} {program} \"$@\"\n"),
        );
        let output = ends(&house, &house.path(&["first", "bin"]), &format!("{program} -c a.c"));
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{told}");
        assert!(told.starts_with(start) && told.contains("calls this program again"), "{told}");
    }
}

/// A script that uses larder once, and then the compiler itself.
#[test]
fn a_script_that_knows_when_to_stop_is_used() {
    let house = house(
        "if [ \"$INNER\" ]; then echo used >> log; exec /usr/bin/env -u INNER $REAL \"$@\"; fi\n\
         INNER=1 exec ccache gcc \"$@\"",
    );
    let real = larder_tests::find_or_skip("gcc").expect("the tests need it");
    let real = real.display();
    let line = format!("REAL={real} gcc a.c");
    assert!(ends(&house, &house.path(&["first", "bin"]), &line).status.success());
    assert_eq!(fs::read_to_string(house.at("work/log")).unwrap(), "used\n");
}

#[test]
fn a_script_that_is_no_compiler_may_run_itself() {
    for name in ["ccache", "larder"] {
        let house = house("");
        house.script(
            "first/build-all",
            &format!("#!/bin/sh\necho $1 >> log\n[ $1 = 0 ] || {name} build-all $(($1 - 1))\n"),
        );
        let line = format!("{name} build-all 3");
        assert!(ends(&house, &house.path(&["first", "bin"]), &line).status.success());
        assert_eq!(fs::read_to_string(house.at("work/log")).unwrap(), "3\n2\n1\n0\n");
    }
}
