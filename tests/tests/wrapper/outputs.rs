//! No output is lost: whatever file the compiler alone makes, a cold and a warm call through larder
//! make it too, with the same bytes and mode.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use larder::compiler::{Family, examples, parse};
use larder_tests::larder_binary;

use super::{Contents, Left, Sandbox, compilers, wait_a_tick};

const C: &str = "#include \"h.h\"\n\
                 static int g(int x) { return x * V; }\n\
                 int a[64], b[64];\n\
                 int f(int x) { for (int i = 0; i < 64; i++) a[i] += b[i]; return g(x) + g(3); }\n";
const ASSEMBLER: &str = "#include \"h.h\"\n.globl f\nf:\n\tnop\n";
const PLAIN_ASSEMBLER: &str = ".globl f\nf:\n\tnop\n";
const PREPROCESSED: &str = "# 1 \"gone.c\"\nint f(int x) { return x; }\n";

/// A sandbox in which every file that was not there at first is an output.
struct Room {
    sandbox: Sandbox,
    sources: BTreeMap<PathBuf, Contents>,
}

impl Room {
    fn new() -> Room {
        let mut sandbox = Sandbox::new();
        for (name, text) in [
            ("t.c", C),
            ("t.cc", C),
            ("noext", C),
            ("a.b.c", C),
            ("in/v.c", "int v;\n"),
            ("h.h", "#define V 2\n"),
            ("first.h", "#define FIRST\n"),
            ("macros.h", "#define MACRO 1\n"),
            ("t.i", PREPROCESSED),
            ("t.ii", PREPROCESSED),
            ("t.S", ASSEMBLER),
            ("t.s", PLAIN_ASSEMBLER),
            ("f", ""),
            ("d/keep", ""),
        ] {
            sandbox.write(name, text);
        }
        let temporary = sandbox.path("d");
        sandbox.set("TMPDIR", temporary.to_str().unwrap());
        wait_a_tick();
        let mut room = Room { sandbox, sources: BTreeMap::new() };
        room.sources = room.files();
        room
    }

    /// Writes a source; it is no output from now on.
    fn write(&mut self, name: &str, text: &str) {
        self.sandbox.write(name, text);
        wait_a_tick();
        let path = self.sandbox.path(name);
        let contents = self.files().remove(&path).unwrap();
        self.sources.insert(path, contents);
    }

    fn files(&self) -> BTreeMap<PathBuf, Contents> {
        let mut files = BTreeMap::new();
        let mut directories = vec![self.sandbox.work()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
                let contents = Contents { mode, bytes: fs::read(&path).unwrap_or_default() };
                files.insert(path, contents);
            }
        }
        files
    }

    fn outputs(&self) -> BTreeMap<PathBuf, Contents> {
        let mut files = self.files();
        files.retain(|path, contents| self.sources.get(path) != Some(contents));
        files
    }

    /// What a command leaves where no output of an earlier one stands.
    fn left(&self, mut command: Command, arguments: &[&str]) -> Left {
        self.outputs().keys().for_each(|path| fs::remove_file(path).unwrap());
        let output = command.args(arguments).output().unwrap();
        let name = |path: PathBuf| {
            path.strip_prefix(self.sandbox.work()).unwrap().to_str().unwrap().to_owned()
        };
        Left {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            files: self.outputs().into_iter().map(|(path, it)| (name(path), it)).collect(),
        }
    }

    fn plain(&self, compiler: &str, arguments: &[&str]) -> Left {
        self.left(self.sandbox.command(Path::new(compiler)), arguments)
    }

    fn larder(&self, compiler: &str, arguments: &[&str]) -> Left {
        let mut command = self.sandbox.command(larder_binary());
        command.arg(compiler);
        self.left(command, arguments)
    }

    /// Runs a call alone, cold and warm, and compares; whether it was a miss and then a hit.
    #[track_caller]
    fn is_cached(&self, compiler: &str, arguments: &[&str]) -> bool {
        let plain = self.plain(compiler, arguments);
        let logged = self.sandbox.log().len();
        for temperature in ["cold", "warm"] {
            let left = self.larder(compiler, arguments);
            assert_eq!(left, plain, "{temperature} {compiler} {arguments:?}");
        }
        // Asking for the counters would take longer than the compile.
        let log = self.sandbox.log();
        let lines = |text: &str| log[logged..].matches(text).count();
        (lines("no manifest for"), lines("direct hit for")) == (1, 1)
    }

    #[track_caller]
    fn check_cached(&self, compiler: &str, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_cached = self.is_cached(compiler, &words);
        assert!(is_cached, "{compiler} {line}\n{}", self.sandbox.log());
    }

    #[track_caller]
    fn check_uncached(&self, compiler: &str, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(!self.is_cached(compiler, &words), "{compiler} {line}");
    }
}

fn family(compiler: &str) -> Family {
    if compiler == "gcc" { Family::Gcc } else { Family::Clang }
}

/// Every row of the tables that is cached, with its example. A row that makes a file which larder
/// does not restore fails here; most rows must work with the compilers of this machine.
fn check_rows(compiler: &str) {
    if !compilers().any(|found| found == compiler) {
        println!("skipped: no {compiler}");
        return;
    }
    let room = Room::new();
    let (mut cached, mut rejected) = (0, Vec::new());
    for (spelling, example) in examples(family(compiler)) {
        // Without a seed gcc's coverage differs from run to run, as its optimization records do.
        let seed = if compiler == "gcc" { "-frandom-seed=1" } else { "-O1" };
        let line = ["-c", "t.c", "-o", "d/x.o", "-g", seed];
        let words: Vec<&str> = line.into_iter().chain(example.split(' ')).collect();
        let arguments: Vec<_> = words.iter().map(Into::into).collect();
        let is_taken = parse(family(compiler), None, &arguments, &room.sandbox.work()).is_ok();
        if !is_taken || example == "-fsave-optimization-record" && compiler == "gcc" {
            continue;
        }
        if room.is_cached(compiler, &words) {
            cached += 1;
        } else {
            rejected.push(spelling);
        }
    }
    println!("{compiler}: {cached} rows cached, not here: {rejected:?}");
    assert!(cached > 5 * rejected.len(), "{cached} rows cached, not here: {rejected:?}");
}

#[test]
fn no_row_of_the_tables_for_gcc_loses_an_output() {
    check_rows("gcc");
}

#[test]
fn no_row_of_the_tables_for_clang_loses_an_output() {
    check_rows("clang");
}

/// What the tests above compare with must tell a lost file and a changed mode.
#[test]
fn a_lost_output_is_seen() {
    let room = Room::new();
    for compiler in compilers() {
        let call = ["-c", "t.c", "-o", "d/x.o"];
        let with = room.plain(compiler, &[&call[..], &["-fstack-usage"]].concat());
        let without = room.larder(compiler, &call);
        assert!(with.files.contains_key("d/x.su") && with != without, "{compiler}");
        fs::set_permissions(room.sandbox.path("d/x.o"), fs::Permissions::from_mode(0o600)).unwrap();
        assert_ne!(
            room.outputs().into_values().collect::<Vec<_>>(),
            without.files.into_values().collect::<Vec<_>>()
        );
    }
}

/// Each further output with several places of the main one.
#[test]
fn further_outputs_are_restored() {
    let of = |compiler| match compiler {
        "gcc" => &[
            "-gsplit-dwarf",
            "--coverage -frandom-seed=1",
            "-ftest-coverage -frandom-seed=1",
            "-fprofile-arcs -frandom-seed=1",
            "-fstack-usage",
            "-fcallgraph-info=su,da",
            "-O2 -fdump-ipa-clones",
            "-aux-info d/protos",
            "-Wa,-adhln=d/list",
            "-Wa,-aln",
            "-O3 -fopt-info-vec",
            "-O3 -fopt-info-vec=stdout",
        ][..],
        _ => &[
            "-g -gsplit-dwarf",
            "-g -gsplit-dwarf=single",
            "--coverage",
            "-fstack-usage",
            "-O2 -fsave-optimization-record",
            "-O2 -foptimization-record-file=d/record",
            "-Weverything --serialize-diagnostics d/list",
        ],
    };
    for compiler in compilers() {
        let room = Room::new();
        for side in of(compiler) {
            for call in ["-c t.c", "-c a.b.c -o d/foo -MD", "-c t.i -o d/a.b.o"] {
                let listing = side.starts_with("-Wa,") && call.contains("t.i");
                if !listing {
                    room.check_cached(compiler, &format!("{call} {side}"));
                }
            }
        }
    }
}

/// The name of an output is in the key only where the output shows it.
#[test]
fn a_hit_for_another_output_gets_its_own_files() {
    let room = Room::new();
    for compiler in compilers() {
        for side in ["-fstack-usage", "-g -gsplit-dwarf", "--coverage -frandom-seed=1", "-S"] {
            for output in ["d/one.o", "d/two.o", "three"] {
                let line = format!("-c t.c -o {output} {side}");
                let words: Vec<&str> = line.split_whitespace().collect();
                let words: Vec<&str> = match compiler {
                    "clang" => words.into_iter().filter(|w| *w != "-frandom-seed=1").collect(),
                    _ => words,
                };
                room.is_cached(compiler, &words);
            }
        }
    }
    // Stack usage and text of the assembler do not show it: the first of three is a miss.
    let count = compilers().count() as u64;
    assert_eq!(room.sandbox.count("cache_miss"), count * (1 + 3 + 3 + 1));
}

#[test]
fn languages_beside_c_are_cached() {
    for compiler in compilers() {
        let room = Room::new();
        for line in [
            "-c t.s",
            "-c t.s -g -o d/x.o",
            "-c t.S -MD",
            "-c t.S -MMD -MF d/deps -g",
            "-c -x assembler-with-cpp t.S -o d/x.o -DX",
            "-c -x assembler t.s",
            "-c t.i -g",
            "-c t.ii -O2 -Wall",
            "-c -x cpp-output t.ii",
            "-c -x c++-cpp-output t.i",
            "-c t.s -MD",
            "-S t.c",
            "-S t.cc -o d/x -MD -fverbose-asm",
            "-S t.i -g",
            "-fsyntax-only t.c -Wall -Wextra",
            "-fsyntax-only -c t.cc -o d/x.o -MD",
        ] {
            room.check_cached(compiler, line);
        }
        if compiler == "clang" {
            for line in [
                "--analyze t.c",
                "--analyze in/v.c -o d/x",
                "--analyze a.b.c --analyzer-output text -MD",
                "-fsyntax-only t.c -Weverything --serialize-diagnostics d/list",
            ] {
                room.check_cached(compiler, line);
            }
        }
    }
}

/// What the assembler reads, or clang in preprocessed text, no list names.
#[test]
fn what_may_read_a_file_is_not_cached() {
    let mut room = Room::new();
    for (name, text) in [
        ("one.s", ".incbin \"data\"\n"),
        ("two.s", ".macro m a b\n\\a\\b \"data\"\n.endm\nm .inc bin\n"),
        ("three.S", "#define J(a, b) .a##b\nJ(inc, bin) \"data\"\n"),
        ("four.i", "#include \"data\"\n;\n"),
    ] {
        room.write(name, text);
        for compiler in compilers() {
            let mut objects = Vec::new();
            for value in ["1", "1", "2"] {
                room.write("data", &format!("int w = {value}"));
                let call = ["-c", name, "-o", "d/x.o"];
                let expected = room.plain(compiler, &call);
                assert_eq!(room.larder(compiler, &call), expected, "{compiler} {name}");
                objects.push(expected.files);
            }
            // gcc takes no directive in preprocessed text, clang's assembler no `.\\a\\b`.
            if objects[0].is_empty() {
                println!("skipped: {compiler} does not take {name}");
                continue;
            }
            assert_ne!(objects[0], objects[2], "{compiler} {name}");
        }
    }
    assert_eq!(room.sandbox.counts(), (0, 0, 0));
}

/// The files of line markers do not count, except where gcc shows their lines in a message.
#[test]
fn a_message_may_show_a_line_of_a_file_that_is_no_input() {
    let mut room = Room::new();
    let text = "1 \"shown\"\nint f(void) { int unused; return 0; }\n";
    room.write("w.i", &format!("# {text}"));
    room.write("w.c", &format!("#line {text}"));
    for compiler in compilers() {
        for source in ["w.i", "w.c"] {
            for text in ["one", "one", "two", "two"] {
                room.write("shown", text);
                let call = ["-Wall", "-c", source, "-o", "x.o"];
                let expected = room.plain(compiler, &call);
                assert_eq!(expected.stderr.contains(text), compiler == "gcc", "{expected:?}");
                assert_eq!(room.larder(compiler, &call), expected, "{compiler} {text}");
            }
        }
        let quiet = ["-c", "w.i", "-o", "x.o"];
        assert!(room.is_cached(compiler, &quiet));
        room.write("shown", "three");
        assert_eq!(room.larder(compiler, &quiet), room.plain(compiler, &quiet));
    }
    // Messages of clang are the same whatever the other file says.
    let clang = u64::from(compilers().any(|compiler| compiler == "clang"));
    assert_eq!(room.sandbox.count("cache_miss"), compilers().count() as u64 + 2 * clang);
}

/// Old outputs keep what the compiler leaves them: mode, other names.
#[test]
fn old_outputs_are_treated_as_the_compiler_treats_them() {
    let calls: [(&str, &str, &[&str]); 8] = [
        ("gcc", "-c t.c -gsplit-dwarf -o d/x.o", &["d/x.o", "d/x.dwo"]),
        ("gcc", "-c t.c -fstack-usage -fcallgraph-info -o d/x.o", &["d/x.su", "d/x.ci"]),
        ("gcc", "-c t.c --coverage -frandom-seed=1 -o d/x.o", &["d/x.gcno"]),
        ("gcc", "-S t.c -o d/x.s -aux-info d/x.X", &["d/x.s", "d/x.X"]),
        ("clang", "-c t.c -g -gsplit-dwarf -fstack-usage -o d/x.o", &["d/x.dwo", "d/x.su"]),
        ("clang", "-c t.c --serialize-diagnostics d/x.dia -o d/x.o", &["d/x.dia"]),
        ("clang", "-c t.s -o d/x.o", &["d/x.o"]),
        ("clang", "-S t.c -o d/x.s", &["d/x.s"]),
    ];
    for (compiler, line, olds) in calls {
        if !compilers().any(|found| found == compiler) {
            continue;
        }
        let room = Room::new();
        room.check_cached(compiler, line);
        let words: Vec<&str> = line.split_whitespace().collect();
        for (text, has_link) in [("", false), ("old", false), ("", true), ("old", true)] {
            let run = |program: &Path, first: &[&str]| {
                for path in room.outputs().keys() {
                    fs::remove_file(path).unwrap();
                }
                for old in olds {
                    room.sandbox.write(old, text);
                    let path = room.sandbox.path(old);
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
                    if has_link {
                        fs::hard_link(&path, format!("{}.link", path.display())).unwrap();
                    }
                }
                let mut command = room.sandbox.command(program);
                assert!(command.args(first).args(&words).status().unwrap().success());
                room.outputs()
            };
            let expected = run(Path::new(compiler), &[]);
            let left = run(larder_binary(), &[compiler]);
            assert_eq!(left, expected, "{compiler} {line} {text:?} {has_link}");
        }
    }
}

#[test]
fn outputs_that_are_appended_to_or_shared_are_not_cached() {
    let room = Room::new();
    for line in [
        "-c t.c -O3 -fopt-info-vec=d/report",
        "-c t.c -o d/x.su -fstack-usage",
        "-c t.c -aux-info d/x.o -o d/x.o",
        "-c t.c -aux-info d/../x.o -o x.o",
        "-c t.c -o x.o -o y.o",
    ] {
        room.check_uncached("gcc", line);
    }
}

/// The path of split debug information, and of what a program counts, is in the object.
#[test]
fn an_object_that_names_a_file_hits_only_in_its_place() {
    for compiler in compilers() {
        let room = Room::new();
        for side in ["-g -gsplit-dwarf", "--coverage"] {
            let object = |directory: &str, program: &Path, first: &[&str]| {
                let mut command = room.sandbox.command(program);
                command.current_dir(room.sandbox.path(directory)).args(first);
                command.args(side.split(' ')).args(["-O1", "-c"]);
                if compiler == "gcc" {
                    command.arg("-frandom-seed=1");
                }
                command.arg(room.sandbox.path("in/v.c")).args(["-o", "v.o"]);
                assert!(command.status().unwrap().success());
                fs::read(room.sandbox.path(directory).join("v.o")).unwrap()
            };
            for directory in ["d", "in", "d"] {
                let expected = object(directory, Path::new(compiler), &[]);
                let left = object(directory, larder_binary(), &[compiler]);
                assert!(left == expected, "{compiler} {side} {directory}");
            }
        }
    }
}

/// gcc's record of optimizations differs from run to run: a hit brings back the one of the miss.
#[test]
fn a_record_that_differs_each_time_comes_from_the_miss() {
    if !compilers().any(|found| found == "gcc") {
        return;
    }
    let room = Room::new();
    let call = ["-O2", "-fsave-optimization-record", "-c", "a.b.c", "-o", "d/x.o"];
    let names = |left: &Left| left.files.keys().cloned().collect::<Vec<_>>();
    let plain = room.plain("gcc", &call);
    let cold = room.larder("gcc", &call);
    assert_eq!(room.larder("gcc", &call), cold);
    assert_eq!(
        (names(&cold), cold.files["d/x.o"].clone()),
        (names(&plain), plain.files["d/x.o"].clone())
    );
    assert_eq!(names(&cold), ["d/x.c.opt-record.json.gz", "d/x.o"]);
    assert_eq!(room.sandbox.counts(), (1, 0, 1));
}

/// clang writes no split debug information where there is none; what an earlier compile has left
/// became part of the result.
#[test]
fn what_an_earlier_compile_has_left_is_not_part_of_the_result() {
    if !compilers().any(|found| found == "clang") {
        return;
    }
    let room = Room::new();
    let call = ["-gsplit-dwarf", "-g0", "-c", "t.c", "-o", "d/x.o"];
    let with_old = |text: &str| {
        room.sandbox.write("d/x.dwo", text);
        let mut command = room.sandbox.command(larder_binary());
        assert!(command.arg("clang").args(call).status().unwrap().success());
        fs::read_to_string(room.sandbox.path("d/x.dwo")).unwrap()
    };
    assert_eq!(with_old("old"), "old");
    assert_eq!(with_old("other"), "other");
    assert_eq!(room.larder("clang", &call), room.plain("clang", &call));
    assert_eq!(room.sandbox.counts(), (2, 0, 1));
}
