//! Bugs that were found by comparing larder with the bare compiler; each test opens with its story.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

use larder_tests::larder_binary;

use super::{Sandbox, compilers, wait_a_tick};

const WARNS: &str = "int main(void) { int unused; return 0; }\n";

/// A `TMPDIR` that is none was an internal error, found by seed 2000361 of the equivalence test:
/// compilers take `/tmp` then, larder gave up.
#[test]
fn a_directory_for_temporary_files_that_is_missing_is_left_out() {
    for compiler in compilers() {
        for name in ["absent", "a.h"] {
            let mut sandbox = Sandbox::new();
            sandbox.write("a.c", WARNS);
            sandbox.write("a.h", "");
            let temporary = sandbox.path(name).to_str().unwrap().to_owned();
            sandbox.set("TMPDIR", &temporary);
            for call in [&["-c", "a.c"][..], &["-c", "a.c", "-MMD"], &["a.h"]] {
                if compiler == "clang" && call == ["a.h"] {
                    continue;
                }
                sandbox.check_cached(compiler, call);
            }
            assert_eq!(sandbox.count("internal_error"), 0, "{compiler} {name}");
        }
    }
}

/// `mktemp` leaves an empty file of mode 0600, and `gcc -o` into it kept that mode: the assembler
/// removes an old object only if it has contents, and else writes into it. A hit gave 0644, and
/// tore the file from its other names. Dependency files are always written into.
#[test]
fn a_file_that_the_compiler_writes_into_keeps_its_mode_and_names() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", "int a;\n");
        let arguments = ["-c", "a.c", "-o", "a.o", "-MD"];
        sandbox.check_cached(compiler, &arguments);
        for mode in [0o600, 0o666] {
            for (contents, has_link) in [("", false), ("", true), ("old", true), ("old", false)] {
                let run = |program: &Path, words: &[&str]| {
                    for name in ["a.o", "a.d"] {
                        prepare(&sandbox, name, contents, mode, has_link);
                    }
                    let output = sandbox.command(program).args(words).output().unwrap();
                    let states = ["a.o", "a.d", "a.o.link", "a.d.link"];
                    (output.status.code(), states.map(|name| state(&sandbox, name)))
                };
                let expected = run(Path::new(compiler), &arguments);
                let words = [&[compiler][..], &arguments].concat();
                let left = run(larder_binary(), &words);
                assert_eq!(left, expected, "{compiler} {mode:o} {contents:?} {has_link}");
            }
        }
    }
}

fn prepare(sandbox: &Sandbox, name: &str, contents: &str, mode: u32, has_link: bool) {
    let (path, link) = (sandbox.path(name), sandbox.path(&format!("{name}.link")));
    let _ = fs::remove_file(&path);
    let _ = fs::remove_file(&link);
    fs::write(&path, contents).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    if has_link {
        fs::hard_link(&path, &link).unwrap();
    }
}

/// Mode, number of names, bytes.
fn state(sandbox: &Sandbox, name: &str) -> Option<(u32, u64, Vec<u8>)> {
    let path = sandbox.path(name);
    let metadata = fs::metadata(&path).ok()?;
    Some((metadata.mode(), metadata.nlink(), fs::read(&path).unwrap()))
}

/// With `-fdiagnostics-color=always` the colours are the user's, and GCC_COLORS was left out of
/// the state that messages are kept under; GCC_URLS and TERM_URLS were nowhere. A hit showed the
/// messages in the colours of another day.
#[test]
fn variables_that_shape_messages_count_where_the_user_asks_for_the_shape() {
    let mut sandbox = Sandbox::new();
    sandbox.write("a.c", WARNS);
    for (option, variable, values) in [
        ("-fdiagnostics-color=always", "GCC_COLORS", ["warning=01;31", "warning=01;32", ""]),
        ("-fdiagnostics-urls=always", "GCC_URLS", ["st", "bel", "no"]),
        ("-fdiagnostics-urls=always", "TERM_URLS", ["st", "bel", "no"]),
    ] {
        for value in values {
            sandbox.set(variable, value);
            for _ in 0..2 {
                sandbox.check("gcc", &["-Wall", option, "-c", "a.c"]);
            }
        }
        sandbox.unset(variable);
    }
}

/// clang edits its arguments by this variable, and larder does not: the dependency file that it
/// asked for was lost on a hit.
#[test]
fn a_variable_that_adds_options_makes_a_call_uncached() {
    let mut sandbox = Sandbox::new();
    sandbox.write("a.c", "int a;\n");
    sandbox.set("CCC_OVERRIDE_OPTIONS", "#+-MMD");
    for _ in 0..2 {
        assert_eq!(sandbox.check("clang", &["-c", "a.c"]), "uncached");
    }
}

/// A relative entry of CPATH leads elsewhere in another directory, and with an absolute source
/// nothing else named the directory: the other directory's header was not seen.
#[test]
fn a_relative_entry_of_cpath_brings_the_working_directory_into_the_key() {
    for compiler in compilers() {
        let mut sandbox = Sandbox::new();
        sandbox.write("far/v.h", "#define V 1\n");
        sandbox.write("two/inc/v.h", "#define V 2\n");
        sandbox.write("one/x", "");
        sandbox.write("v.c", "#include <v.h>\nint v = V;\n");
        let far = sandbox.path("far");
        for first in ["inc", ""] {
            sandbox.set("CPATH", &format!("{first}:{}", far.display()));
            for directory in ["one", "two", "two/inc"] {
                let compile = |program: &Path, words: &[&str]| -> (Output, Vec<u8>) {
                    let mut command: Command = sandbox.command(program);
                    command.current_dir(sandbox.path(directory)).args(words);
                    command.arg("-c").arg(sandbox.path("v.c")).args(["-o", "v.o"]);
                    let output = command.output().unwrap();
                    (output, fs::read(sandbox.path(directory).join("v.o")).unwrap())
                };
                let expected = compile(Path::new(compiler), &[]);
                let left = compile(larder_binary(), &[compiler]);
                assert_eq!(left, expected, "{compiler} {first:?} {directory}");
            }
        }
    }
}

/// The list of inputs was read up to the end of the first rule, and a target with a line break
/// ended that before the headers: a changed header was not seen.
#[test]
fn a_target_with_a_line_break_does_not_hide_the_headers() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "#include \"a.h\"\nint a = A;\n");
    for text in ["#define A 1\n", "#define A 2\n"] {
        sandbox.write("a.h", text);
        wait_a_tick();
        sandbox.check("gcc", &["-c", "a.c", "-MD", "-MT", "x: a.c\ny"]);
    }
}

/// For the headers behind `-MMD` gcc is asked with `-H`, and what looked like a line of that trace
/// was taken out of the messages, also if it was one of theirs.
#[test]
fn a_message_that_looks_like_the_trace_stays() {
    let sandbox = Sandbox::new();
    sandbox.write("a.h", "#define A 1\n");
    sandbox.write("a.c", "#include \"a.h\"\n#pragma message \"x\\n. stdio.h\"\nint a = A;\n");
    for compiler in compilers() {
        for _ in 0..2 {
            sandbox.check(compiler, &["-c", "a.c", "-MMD"]);
        }
    }
}

/// Opening a pipe waits for its other end, and larder waited with it.
#[test]
fn a_pipe_as_log_or_configuration_holds_nothing_up() {
    for variable in ["LARDER_LOG", "LARDER_CONFIG"] {
        let mut sandbox = Sandbox::new();
        sandbox.write("a.c", "int a;\n");
        let pipe = sandbox.path("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        sandbox.set(variable, pipe.to_str().unwrap());
        sandbox.check_cached("gcc", &["-c", "a.c"]);
    }
}

/// A compiler whose messages cannot be written fails or not, each in its own way: clang is
/// aborted, and larder had it succeed.
#[test]
fn messages_that_cannot_be_written_end_as_without_larder() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", WARNS);
        let arguments = ["-Wall", "-c", "a.c"];
        let run = |program: &Path, words: &[&str]| {
            let full = fs::File::options().write(true).open("/dev/full").unwrap();
            sandbox.command(program).args(words).stderr(full).status().unwrap()
        };
        let expected = run(Path::new(compiler), &arguments);
        let words = [&[compiler][..], &arguments].concat();
        assert_eq!(run(larder_binary(), &words), expected, "{compiler} on a miss");
        sandbox.check_cached(compiler, &arguments);
        assert_eq!(run(larder_binary(), &words), expected, "{compiler} on a hit");
    }
}

/// gcc names a file that `__has_include` finds in no list of dependencies: when it was removed, the
/// result with it was still handed out.
#[test]
fn a_file_that_was_only_asked_for_counts() {
    for compiler in compilers() {
        for option in ["-MD", "-MMD", "-O1"] {
            let sandbox = Sandbox::new();
            sandbox.write("dir/in.h", "#if __has_include(\"opt.h\")\nint yes;\n#endif\n");
            sandbox.write("a.c", "#include \"in.h\"\n#if __has_include(<far.h>)\nint f;\n#endif\n");
            for name in ["dir/opt.h", "dir/far.h"] {
                sandbox.write(name, "");
            }
            wait_a_tick();
            let arguments = ["-c", "a.c", "-Idir", option];
            sandbox.check_cached(compiler, &arguments);
            for name in ["dir/opt.h", "dir/far.h"] {
                fs::remove_file(sandbox.path(name)).unwrap();
                sandbox.check(compiler, &arguments);
            }
        }
    }
}

/// A header's `x | N` became `x | 1`, with the same preprocessed text; the compiler warns about the
/// second only, and larder handed out the silence of the first.
#[test]
fn a_macro_that_becomes_its_value_is_judged_anew() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", "#include \"a.h\"\nint k(int x) { return h(x); }\n");
        for value in ["/**/N", "N", "1"] {
            let line = format!("static inline int h(int x) {{ return (x | {value}) ? 1 : 0; }}\n");
            let other =
                format!("static inline int i(int x) {{ return x == {value} || x == 1; }}\n");
            sandbox.write("a.h", &format!("#define N 1\n{line}{other}"));
            wait_a_tick();
            sandbox.check(
                compiler,
                &["-Wall", "-Wlogical-op", "-Wno-unknown-warning-option", "-c", "a.c"],
            );
        }
    }
}

/// clang warns that `-MD` is not used beside `-MMD`. Both calls had one key, and whichever came
/// first had its messages shown for both.
#[test]
fn two_requests_for_dependencies_are_not_one() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", "int a;\n");
        for arguments in [&["-MD", "-MMD", "-c", "a.c"][..], &["-MMD", "-c", "a.c"]] {
            sandbox.check_cached(compiler, arguments);
        }
    }
}

/// gcc hands its options on in one variable of the environment, and with what larder added a long
/// command line no longer fitted: the compile failed, and without larder it had not. Quotes take
/// four bytes each there.
#[test]
fn a_command_line_as_long_as_gcc_takes_it_still_compiles() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int a;\n");
    if sandbox.plain("gcc", &["-c", "a.c"]).status != Some(0) {
        println!("skipped: no gcc");
        return;
    }
    for (value, most) in [("1234", 7500), ("'1''2''3''4'", 4500)] {
        let macros: Vec<String> = (0..most).map(|n| format!("-DX{n:04}={value}")).collect();
        let with = |count: usize| -> Vec<&str> {
            macros[..count].iter().map(String::as_str).chain(["-c", "a.c"]).collect()
        };
        let fits = |count: usize| sandbox.plain("gcc", &with(count)).status == Some(0);
        // The limit depends on the compiler's own options: look for the longest line that fits.
        let counts: Vec<usize> = (0..=most).collect();
        let longest = counts.partition_point(|count| fits(*count)) - 1;
        assert!((100..most).contains(&longest), "{longest} of {most} fit");
        for _ in 0..2 {
            sandbox.check("gcc", &with(longest));
        }
        sandbox.check_cached("gcc", &with(longest / 2));
    }
}

/// gcc lists no file that `__has_include` found and nothing included. Larder looked for it in the
/// directories that options name, not in those of variables or of the compiler itself, so that a
/// hit gave what the compiler would have given while the file was there.
#[test]
fn a_file_that_was_only_asked_for_is_an_input_wherever_it_is_found() {
    for compiler in compilers() {
        for by_variable in [true, false] {
            let mut sandbox = Sandbox::new();
            sandbox.write("root/usr/include/used.h", "int used;\n");
            let asked = "#if __has_include(<asked.h>)\nint a = 1;\n#else\nint a = 2;\n#endif\n";
            sandbox.write("asks.c", asked);
            sandbox.write("a.c", &format!("#include <used.h>\n{asked}"));
            let root = format!("--sysroot={}", sandbox.path("root").display());
            let arguments = match by_variable {
                true => vec!["-c", "asks.c"],
                false => vec![&root, "-c", "a.c"],
            };
            if by_variable {
                let directory = sandbox.path("root/usr/include");
                sandbox.set("C_INCLUDE_PATH", directory.to_str().unwrap());
            }
            sandbox.write("root/usr/include/asked.h", "\n");
            sandbox.check_cached(compiler, &arguments);
            fs::remove_file(sandbox.path("root/usr/include/asked.h")).unwrap();
            assert_eq!(sandbox.check(compiler, &arguments), "miss", "{compiler} {arguments:?}");
        }
    }
}

/// `-o a.o -o b.o` is a compile to `b.o`; with the `-MD` that larder added, gcc derived the name of
/// a dependency file from both, and failed. Found by the equivalence test.
#[test]
fn an_object_that_is_named_twice_compiles_as_without_larder() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", "int a;\n");
        for first in ["b.o", "a.o"] {
            let arguments = ["-c", "a.c", "-o", first, "-o", "a.o"];
            assert_eq!(sandbox.check(compiler, &arguments), "uncached", "{compiler} {first}");
        }
    }
}

/// After `#pragma once` gcc leaves out every file that is the same, and lists its first name only.
/// When the link behind the other name became a file of its own, the old object was given back.
#[test]
fn a_header_that_was_left_out_because_it_is_the_same_counts() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", "#include \"one/p.h\"\n#include \"two/p.h\"\nint x = VALUE;\n");
        sandbox.write("one/p.h", "#pragma once\n#define VALUE 1\n");
        sandbox.write("two/other.h", "");
        std::os::unix::fs::symlink("../one/p.h", sandbox.path("two/p.h")).unwrap();
        let call = ["-c", "a.c", "-o", "a.o", "-MD"];
        sandbox.check_cached(compiler, &call);
        fs::remove_file(sandbox.path("two/p.h")).unwrap();
        sandbox.write("two/p.h", "#undef VALUE\n#define VALUE 2\n");
        assert_eq!(sandbox.check(compiler, &call), "miss", "{compiler}");
        assert_eq!(sandbox.check(compiler, &call), "direct", "{compiler}");
    }
}

/// The operator says the same as `#pragma once`, and a macro may stand for it; only the directive
/// was looked for.
#[test]
fn a_header_that_is_read_once_by_the_operator_counts_under_each_name() {
    for compiler in compilers() {
        for once in ["_Pragma(\"once\")", "ONCE"] {
            let sandbox = Sandbox::new();
            sandbox.write("m.h", "#define ONCE _Pragma ( \"once\" )\n");
            sandbox.write(
                "a.c",
                "#include \"m.h\"\n#include \"one/p.h\"\n#include \"two/p.h\"\nint x = VALUE;\n",
            );
            sandbox.write("one/p.h", &format!("{once}\n#define VALUE 1\n"));
            sandbox.write("two/other.h", "");
            std::os::unix::fs::symlink("../one/p.h", sandbox.path("two/p.h")).unwrap();
            let call = ["-c", "a.c", "-o", "a.o", "-MD"];
            sandbox.check_cached(compiler, &call);
            fs::remove_file(sandbox.path("two/p.h")).unwrap();
            sandbox.write("two/p.h", "#undef VALUE\n#define VALUE 2\n");
            assert_eq!(sandbox.check(compiler, &call), "miss", "{compiler} {once}");
            assert_eq!(sandbox.check(compiler, &call), "direct", "{compiler} {once}");
        }
    }
}

/// The same header under a name that a macro gives: gcc lists the first name only.
#[test]
fn a_header_that_is_read_once_counts_under_a_name_from_a_macro() {
    for compiler in compilers() {
        for definition in ["#define N \"two/p.h\"", "#define M(x) <two/p.h>\n#define N M(1)"] {
            let sandbox = Sandbox::new();
            let source =
                format!("{definition}\n#include \"one/p.h\"\n#include N\nint x = VALUE;\n");
            sandbox.write("a.c", &source);
            sandbox.write("one/p.h", "#pragma once\n#define VALUE 1\n");
            fs::create_dir(sandbox.path("two")).unwrap();
            std::os::unix::fs::symlink("../one/p.h", sandbox.path("two/p.h")).unwrap();
            let call = ["-c", "a.c", "-I.", "-o", "a.o", "-MD"];
            sandbox.check_cached(compiler, &call);
            fs::remove_file(sandbox.path("two/p.h")).unwrap();
            sandbox.write("two/p.h", "#undef VALUE\n#define VALUE 2\n");
            assert_eq!(sandbox.check(compiler, &call), "miss", "{compiler} {definition}");
            assert_eq!(sandbox.check(compiler, &call), "direct", "{compiler} {definition}");
        }
    }
}

/// clang lists what `__has_include` found; gcc does not.
#[test]
fn a_question_that_another_file_answers_first_is_seen_in_dependencies() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", "#if __has_include(<p.h>)\nint x;\n#endif\n");
        sandbox.write("second/p.h", "");
        fs::create_dir(sandbox.path("first")).unwrap();
        let call = ["-Ifirst", "-Isecond", "-c", "a.c", "-o", "a.o", "-MD"];
        sandbox.check_cached(compiler, &call);
        std::os::unix::fs::symlink("../second/p.h", sandbox.path("first/p.h")).unwrap();
        let expected = if compiler.contains("clang") { "miss" } else { "direct" };
        assert_eq!(sandbox.check(compiler, &call), expected, "{compiler}");
        assert_eq!(sandbox.check(compiler, &call), "direct", "{compiler}");
    }
}

/// A directory that is searched under two names is asked under one of them.
#[test]
fn a_name_that_appears_in_a_directory_with_two_names_is_seen() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        let source = "#include <sub/p.h>\n#if __has_include(<q.h>)\n#error q\n#endif\nint x = P;\n";
        sandbox.write("a.c", source);
        sandbox.write("one/other.h", "");
        sandbox.write("one/sub/other.h", "");
        sandbox.write("two/sub/p.h", "#define P 2\n");
        std::os::unix::fs::symlink("one", sandbox.path("double")).unwrap();
        let call = ["-Idouble", "-Ione", "-Itwo", "-c", "a.c", "-o", "a.o"];
        sandbox.check_cached(compiler, &call);
        sandbox.write("one/sub/p.h", "#define P 1\n");
        assert_eq!(sandbox.check(compiler, &call), "miss", "{compiler}");
        assert_eq!(sandbox.check(compiler, &call), "direct", "{compiler}");
        fs::remove_file(sandbox.path("double")).unwrap();
        sandbox.write("double/sub/p.h", "#define P 3\n");
        assert_eq!(sandbox.check(compiler, &call), "miss", "{compiler}");
        assert_eq!(sandbox.check(compiler, &call), "direct", "{compiler}");
        sandbox.write("one/q.h", "");
        assert_eq!(sandbox.check(compiler, &call), "uncached", "{compiler}");
    }
}

/// clang writes the whole command line into the object, the name of the object with it.
#[test]
fn an_object_that_names_itself_is_not_anothers() {
    for compiler in compilers() {
        for record in ["-grecord-gcc-switches", "-grecord-command-line", "-frecord-gcc-switches"] {
            if !compiler.contains("clang") && record == "-grecord-command-line" {
                continue;
            }
            let sandbox = Sandbox::new();
            sandbox.write("a.c", "int x = 1;\n");
            sandbox.check(compiler, &["-c", "a.c", record, "-g"]);
            sandbox.check(compiler, &["-c", "a.c", record, "-g", "-o", "other.o"]);
            sandbox.check(compiler, &["-c", "a.c", record, "-g", "-o", "third.o"]);
        }
    }
}

/// The same for any clang that makes objects for macOS, by a variable.
#[test]
fn an_object_that_a_variable_makes_name_itself_is_not_cached() {
    for compiler in compilers() {
        let mut sandbox = Sandbox::new();
        sandbox.write("a.c", "int x = 1;\n");
        sandbox.set("RC_DEBUG_OPTIONS", "1");
        assert_eq!(sandbox.check(compiler, &["-c", "a.c", "-g"]), "uncached", "{compiler}");
        if compiler.contains("clang") {
            let target = ["-target", "x86_64-apple-darwin", "-c", "a.c", "-g", "-o"];
            for object in ["a.o", "b.o"] {
                sandbox.check(compiler, &[&target[..], &[object]].concat());
            }
        }
    }
}

/// What a question or a group that is skipped named was no longer looked for where a macro gave the
/// name, so that a header which came to stand before it was not seen. Found by seed 20000327 of the
/// equivalence test.
#[test]
fn a_name_from_a_macro_is_shadowed_whatever_else_names_its_header() {
    let check = |compiler: &str, start: &str, shadow: &str| {
        let sandbox = Sandbox::new();
        let root = sandbox.path("").display().to_string();
        let start = start.replace("ROOT", &root);
        let source = "#define NAME <sub/h.h>\n#include NAME\nint f(void) { return VALUE; }\n";
        sandbox.write("src/a.c", &format!("{start}\n{source}"));
        sandbox.write("src/self.c", "#ifndef F\n#define F int f;\n#include __FILE__\n#endif\nF\n");
        sandbox.write("inc/sub/h.h", "#define VALUE 1\n");
        let source = if shadow == "first/sub/h.h" { "src/a.c" } else { "src/self.c" };
        let inc = format!("-I{root}/inc");
        let call = ["-c", source, "-o", "a.o", "-I.", "-Ifirst", &inc];
        wait_a_tick();
        sandbox.check_cached(compiler, &call);
        sandbox.write(shadow, "#define VALUE 2\n#undef F\n#define F int other;\n");
        wait_a_tick();
        assert_eq!(sandbox.check(compiler, &call), "miss", "{compiler} {start}");
        assert_eq!(sandbox.check(compiler, &call), "direct", "{compiler} {start}");
    };
    for compiler in compilers() {
        for start in [
            "#if __has_include(<sub/h.h>)\n#endif",
            "#if __has_include(\"ROOT/inc/sub/h.h\")\n#endif",
            "#if 0\n#include \"../inc/sub/h.h\"\n#endif",
            "#if 0\n#include \"ROOT/inc/sub/h.h\"\n#endif",
        ] {
            check(compiler, start, "first/sub/h.h");
        }
        check(compiler, "", "src/src/self.c");
    }
}
