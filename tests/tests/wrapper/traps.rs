//! Cases in which compile caches have handed back a wrong object or lost an output; DESIGN 4.4 has
//! the list. Each is right with both compilers, and where it is cached the second call hits.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use larder_tests::larder_binary;

use super::{Left, Sandbox, compilers, wait_a_tick};

const VALUE: &str = "int f(void) { return VALUE; }\n";

#[test]
fn a_relative_directory_belongs_to_the_directory_of_the_call() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", &format!("#include <h.h>\n{VALUE}"));
        for (place, value) in [("one", 1), ("two", 2)] {
            sandbox.write(&format!("{place}/inc/h.h"), &format!("#define VALUE {value}\n"));
        }
        wait_a_tick();
        let source = sandbox.path("a.c");
        for option in ["-Iinc", "-iquoteinc/../inc", "-isysteminc", "-idirafterinc"] {
            let compile = |program: &Path, words: &[&str], place: &str| {
                let mut command = sandbox.command(program);
                command.current_dir(sandbox.path(place)).args(words);
                command.args([option, "-Iinc", "-c"]).arg(&source).args(["-o", "a.o"]);
                assert!(command.status().unwrap().success());
                fs::read(sandbox.path(place).join("a.o")).unwrap()
            };
            for place in ["one", "two", "one", "two"] {
                let expected = compile(Path::new(compiler), &[], place);
                let left = compile(larder_binary(), &[compiler], place);
                assert_eq!(left, expected, "{compiler} {option} {place}");
            }
        }
        assert_eq!(sandbox.counts(), (8, 0, 8), "{compiler}");
    }
}

/// The macros' values are the same in both, the size of the header too.
#[test]
fn a_header_with_a_time_macro_that_changes_is_seen() {
    for compiler in compilers() {
        for name in ["__DATE__", "__TIME__", "__TIMESTAMP__"] {
            // clang 14 does not know SOURCE_DATE_EPOCH, and the time passes.
            if (compiler, name) == ("clang", "__TIME__") {
                continue;
            }
            let mut sandbox = Sandbox::new();
            if name == "__TIME__" {
                sandbox.set("SOURCE_DATE_EPOCH", "1000000000");
            }
            sandbox.write("a.c", &format!("#include \"h.h\"\n{VALUE}"));
            for value in [1, 2, 1] {
                let text = format!("#define VALUE {value}\nconst char *when = {name};\n");
                sandbox.write("h.h", &text);
                let file = fs::File::options().write(true).open(sandbox.path("h.h")).unwrap();
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(999)).unwrap();
                wait_a_tick();
                sandbox.check(compiler, &["-c", "a.c"]);
                assert_eq!(sandbox.check(compiler, &["-c", "a.c"]), "direct", "{name}");
            }
        }
    }
}

#[test]
fn a_source_date_that_is_set_changed_and_unset_is_the_compilers_own() {
    for compiler in compilers() {
        let mut sandbox = Sandbox::new();
        sandbox.write("a.c", "const char *date = __DATE__;\n");
        for epoch in [None, Some("0"), Some("1000000000"), None, Some("0")] {
            match epoch {
                Some(epoch) => sandbox.set("SOURCE_DATE_EPOCH", epoch),
                None => sandbox.unset("SOURCE_DATE_EPOCH"),
            }
            sandbox.check(compiler, &["-c", "a.c"]);
            assert_eq!(sandbox.check(compiler, &["-c", "a.c"]), "direct", "{compiler} {epoch:?}");
        }
    }
}

/// Whether such calls are cached or not, a change of the file that they name is seen.
#[test]
fn files_that_the_assembler_reads_count() {
    for compiler in compilers() {
        let texts = [
            ("a.c", "__asm__(\".section .rodata\\n.incbin \\\"data\\\"\\n.text\\n\");\n"),
            ("b.c", "__asm__(\".include \\\"data\\\"\");\n"),
            ("c.c", "__asm__(\".data\\n\" \".incbin \" \"\\\"data\\\"\");\n"),
            ("a.S", "#include \"h.h\"\n.data\n.incbin \"data\"\n"),
            ("b.S", ".include \"data\"\n"),
            ("a.s", ".data\n.incbin \"data\"\n"),
            ("b.s", ".INCLUDE \"data\"\n"),
        ];
        for (name, text) in texts {
            let sandbox = Sandbox::new();
            sandbox.write("h.h", "");
            sandbox.write(name, text);
            for data in ["# 1\n.byte 1\n", "# 2\n.byte 2\n", "# 1\n.byte 1\n"] {
                sandbox.write("data", data);
                wait_a_tick();
                for _ in 0..2 {
                    sandbox.check(compiler, &["-c", name, "-o", "a.o"]);
                }
            }
        }
    }
}

/// Compilers that do not know the directive fail, and so do calls through larder.
#[test]
fn an_embedded_file_counts() {
    for compiler in compilers() {
        for text in [
            "char a[] = {\n#embed \"data\"\n};\n",
            "#ifdef __has_embed\n#if __has_embed(\"data\")\nint b;\n#endif\n#endif\nint c;\n",
        ] {
            let sandbox = Sandbox::new();
            sandbox.write("a.c", text);
            for data in [Some("1"), Some("2"), None] {
                match data {
                    Some(data) => sandbox.write("data", data),
                    None => fs::remove_file(sandbox.path("data")).unwrap(),
                }
                wait_a_tick();
                for _ in 0..2 {
                    sandbox.check(compiler, &["-c", "a.c"]);
                }
            }
        }
    }
}

#[test]
fn line_numbers_in_debug_information_are_those_of_the_source() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("h.h", "#define VALUE 1\nstatic inline int g(void) { return 3; }\n");
        for (lines, header_lines) in [(0, 0), (3, 0), (3, 2), (0, 0)] {
            let blank = |count| "\n".repeat(count);
            sandbox.write(
                "a.c",
                &format!(
                    "#include \"h.h\"\n{}int k(void) {{ return g(); }}\n{VALUE}",
                    blank(lines)
                ),
            );
            sandbox.write(
                "h.h",
                &format!(
                    "#define VALUE 1\n{}static inline int g(void) {{ return 3; }}\n",
                    blank(header_lines)
                ),
            );
            wait_a_tick();
            for option in ["-g", "-O0"] {
                sandbox.check(compiler, &["-c", "a.c", option]);
                assert_eq!(sandbox.check(compiler, &["-c", "a.c", option]), "direct");
            }
        }
    }
}

#[test]
fn a_dependency_file_without_a_name_is_restored_under_the_compilers_own() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("h.h", "#define VALUE 1\n");
        sandbox.write("a.b.c", &format!("#include \"h.h\"\n{VALUE}"));
        for option in ["-MD", "-MMD"] {
            for output in [&[][..], &["-o", "x.y.o"]] {
                let call = [&["-c", "a.b.c", option], output].concat();
                let left: Left = sandbox.plain(compiler, &call);
                assert!(left.files.keys().any(|name| name.ends_with(".d")), "{left:?}");
                sandbox.check_cached(compiler, &call);
            }
        }
    }
}

#[test]
fn modes_are_those_of_the_umask_of_each_call() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", "int a;\n");
        let with = |umask: &str, program: &str| {
            let script = format!("umask {umask}; exec {program} -c a.c -o a.o -MD");
            sandbox.left(sandbox.command("/bin/sh".as_ref()).args(["-c", &script]))
        };
        let larder = format!("{} {compiler}", larder_binary().display());
        for umask in ["022", "077", "002", "007", "022"] {
            assert_eq!(with(umask, &larder), with(umask, compiler), "{compiler} {umask}");
        }
        assert!(sandbox.counts().0 >= 3, "{:?}", sandbox.counts());
    }
}
