//! Names that were searched and not found: a new header that shadows an included one, or that a
//! `__has_include` asks for, is a miss; everything else that appears is not.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use larder_tests::{find_or_skip, larder_binary};

use super::{Sandbox, compilers, wait_a_tick};

const VALUE: &str = "int f(void) { return VALUE; }\n";

/// Puts `shadow` where it shadows `header`, and takes it away again. Both states are right and are
/// found again.
#[track_caller]
fn check_shadow(sandbox: &Sandbox, compiler: &str, call: &[&str], shadow: &str) {
    wait_a_tick();
    sandbox.check(compiler, call);
    assert_eq!(sandbox.check(compiler, call), "direct", "{compiler} {call:?}");
    let path = sandbox.path(shadow);
    let is_new = !path.parent().unwrap().exists();
    sandbox.write(shadow, "#define VALUE 2\n");
    wait_a_tick();
    assert_eq!(sandbox.check(compiler, call), "miss", "{compiler} {call:?} {shadow}");
    assert_eq!(sandbox.check(compiler, call), "direct");
    fs::remove_file(&path).unwrap();
    assert_eq!(sandbox.check(compiler, call), "direct", "{compiler} {call:?} without {shadow}");
    if is_new {
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
        assert_eq!(sandbox.check(compiler, call), "direct", "{compiler} {call:?} as before");
    }
}

/// `a.c` includes `h.h` from the second of two directories.
fn two_directories(include: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", &format!("#include {include}\n{VALUE}"));
    sandbox.write("two/h.h", "#define VALUE 1\n");
    sandbox.write("one/other.h", "");
    sandbox
}

#[test]
fn a_header_in_an_earlier_directory_shadows() {
    for compiler in compilers() {
        for (include, options) in [
            ("\"h.h\"", &["-Ione", "-Itwo"][..]),
            ("<h.h>", &["-MD", "-I", "one", "-isystem", "two"]),
            ("<h.h>", &["-isystem", "one", "-idirafter", "two"]),
            ("<h.h>", &["-I./one/", "-Itwo", "-MMD"]),
        ] {
            let sandbox = two_directories(include);
            check_shadow(&sandbox, compiler, &[&["-c", "a.c"], options].concat(), "one/h.h");
        }
    }
}

#[test]
fn a_header_in_a_quote_directory_shadows_names_in_quotes_only() {
    for compiler in compilers() {
        let call = ["-c", "a.c", "-iquote", "one", "-Itwo"];
        let sandbox = two_directories("\"h.h\"");
        check_shadow(&sandbox, compiler, &call, "one/h.h");
        let sandbox = two_directories("<h.h>");
        sandbox.check_cached(compiler, &call);
        sandbox.write("one/h.h", "#define VALUE 2\n");
        wait_a_tick();
        assert_eq!(sandbox.check(compiler, &call), "direct");
    }
}

#[test]
fn a_header_beside_the_source_shadows() {
    for compiler in compilers() {
        let sandbox = two_directories("\"h.h\"");
        check_shadow(&sandbox, compiler, &["-c", "a.c", "-Itwo"], "h.h");
        let sandbox = Sandbox::new();
        sandbox.write("src/a.c", &format!("#include \"h.h\"\n{VALUE}"));
        sandbox.write("h.h", "#define VALUE 1\n");
        check_shadow(&sandbox, compiler, &["-c", "src/a.c", "-I."], "src/h.h");
    }
}

#[test]
fn a_header_beside_a_header_shadows() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", &format!("#include <sub/outer.h>\n{VALUE}"));
        sandbox.write("inc/sub/outer.h", "#include \"deep/h.h\"\n");
        sandbox.write("two/deep/h.h", "#define VALUE 1\n");
        let call = ["-c", "a.c", "-Iinc", "-Itwo"];
        check_shadow(&sandbox, compiler, &call, "inc/sub/deep/h.h");
        check_shadow(&sandbox, compiler, &call, "inc/deep/h.h");
    }
}

/// What decides stands elsewhere: the state of the searched directory stays as it was at the miss.
#[test]
fn what_a_link_or_a_directory_on_the_way_leads_to_shadows() {
    for compiler in compilers() {
        for (include, link, target, new) in [
            ("<h.h>", "one/h.h", "../far/h.h", "far/h.h"),
            ("<sub/h.h>", "one/sub", "../far", "far/h.h"),
            ("<sub/deep/h.h>", "one/sub/deep", "../../far", "far/h.h"),
            ("<sub/deep/h.h>", "one/sub", "../far", "far/deep/h.h"),
        ] {
            let sandbox = Sandbox::new();
            sandbox.write("a.c", &format!("#include {include}\n{VALUE}"));
            let name = include.trim_matches(['<', '>']);
            sandbox.write(&format!("two/{name}"), "#define VALUE 1\n");
            sandbox.write("one/sub2/other.h", "");
            if link.starts_with("one/sub/") {
                fs::create_dir(sandbox.path("one/sub")).unwrap();
            }
            symlink(target, sandbox.path(link)).unwrap();
            check_shadow(&sandbox, compiler, &["-c", "a.c", "-Ione", "-Itwo"], new);
        }
    }
}

/// Nothing is looked for at the first hit that the miss has looked for: later hits make as many
/// calls.
#[test]
fn what_a_miss_has_looked_for_is_known_to_the_first_hit() {
    let Some(strace) = find_or_skip("strace") else { return };
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", &format!("#include <stdio.h>\n#include <h.h>\n{VALUE}"));
        sandbox.write("src/a.c", &format!("#include <stdio.h>\n#include <h.h>\n{VALUE}"));
        sandbox.write("two/h.h", "#define VALUE 1\n");
        sandbox.write("one/other.h", "");
        fs::create_dir(sandbox.path("out")).unwrap();
        wait_a_tick();
        let call = ["-c", "src/a.c", "-Ione", "-Itwo", "-o", "out/a.o"];
        assert_eq!(sandbox.check(compiler, &["-c", "a.c", "-Itwo", "-o", "out/b.o"]), "miss");
        assert_eq!(sandbox.check(compiler, &call), "miss");
        let calls = || {
            let list = sandbox.path("out/calls");
            let mut command = sandbox.command(&strace);
            command.args(["-f", "-e", "trace=%%stat", "-o"]).arg(&list);
            command.arg(larder_binary()).arg(compiler).args(call);
            assert!(command.status().unwrap().success());
            fs::read_to_string(list).unwrap().matches("ENOENT").count()
        };
        let (first, second) = (calls(), calls());
        assert_eq!(first, second, "{compiler} {}", sandbox.log());
        assert_eq!(sandbox.counts(), (2, 0, 2), "{compiler}");
    }
}

#[test]
fn a_directory_that_is_made_later_shadows() {
    for compiler in compilers() {
        for name in ["new", "./new/sub/"] {
            let sandbox = two_directories("<h.h>");
            let call = ["-c", "a.c", "-I", name, "-Itwo"];
            wait_a_tick();
            sandbox.check_cached(compiler, &call);
            // Without the header nothing is another one.
            fs::create_dir_all(sandbox.path(name)).unwrap();
            wait_a_tick();
            assert_eq!(sandbox.check(compiler, &call), "direct", "{compiler} {name}");
            check_shadow(&sandbox, compiler, &call, &format!("{name}/h.h"));
            fs::remove_dir_all(sandbox.path("new")).unwrap();
            assert_eq!(sandbox.check(compiler, &call), "direct", "{compiler} {name}");
        }
    }
}

#[test]
fn a_link_that_leads_elsewhere_shadows() {
    for compiler in compilers() {
        let sandbox = two_directories("<h.h>");
        symlink("one", sandbox.path("link")).unwrap();
        sandbox.write("three/h.h", "#define VALUE 3\n");
        wait_a_tick();
        let call = ["-c", "a.c", "-Ilink", "-Itwo"];
        sandbox.check_cached(compiler, &call);
        assert_eq!(sandbox.check(compiler, &call), "direct");
        fs::remove_file(sandbox.path("link")).unwrap();
        symlink("three", sandbox.path("link")).unwrap();
        wait_a_tick();
        assert_eq!(sandbox.check(compiler, &call), "miss");
        fs::remove_file(sandbox.path("link")).unwrap();
        symlink("one", sandbox.path("link")).unwrap();
        assert_eq!(sandbox.check(compiler, &call), "direct");
        // A name that is a link to nothing, until there is something.
        symlink("../far.h", sandbox.path("one/h.h")).unwrap();
        wait_a_tick();
        assert_eq!(sandbox.check(compiler, &call), "direct");
        assert_eq!(sandbox.check(compiler, &call), "direct");
        sandbox.write("far.h", "#define VALUE 4\n");
        wait_a_tick();
        assert_eq!(sandbox.check(compiler, &call), "miss");
    }
}

/// A directory that is searched twice is dropped in its first place, if it is one of the system.
#[test]
fn a_double_of_a_directory_that_becomes_another_one_counts() {
    for compiler in compilers() {
        for option in ["-I", "-isystem"] {
            let sandbox = two_directories("<h.h>");
            sandbox.write("three/h.h", "#define VALUE 3\n");
            symlink("two", sandbox.path("link")).unwrap();
            wait_a_tick();
            let call = ["-c", "a.c", "-Ilink", option, "two"];
            sandbox.check_cached(compiler, &call);
            fs::remove_file(sandbox.path("link")).unwrap();
            symlink("three", sandbox.path("link")).unwrap();
            wait_a_tick();
            assert_eq!(sandbox.check(compiler, &call), "miss", "{compiler} {option}");
        }
        let sandbox = two_directories("<h.h>");
        sandbox.write("three/h.h", "#define VALUE 3\n");
        symlink("one", sandbox.path("link")).unwrap();
        wait_a_tick();
        let call = ["-c", "a.c", "-Ione", "-Ilink", "-Itwo"];
        sandbox.check_cached(compiler, &call);
        fs::remove_file(sandbox.path("link")).unwrap();
        symlink("three", sandbox.path("link")).unwrap();
        wait_a_tick();
        assert_eq!(sandbox.check(compiler, &call), "miss", "{compiler}");
    }
}

#[test]
fn another_directory_in_the_place_of_a_searched_one_is_seen() {
    for compiler in compilers() {
        let sandbox = two_directories("<h.h>");
        sandbox.write("new/h.h", "#define VALUE 3\n");
        wait_a_tick();
        let call = ["-c", "a.c", "-Ione", "-Itwo"];
        sandbox.check_cached(compiler, &call);
        assert_eq!(sandbox.check(compiler, &call), "direct");
        fs::rename(sandbox.path("one"), sandbox.path("old")).unwrap();
        fs::rename(sandbox.path("new"), sandbox.path("one")).unwrap();
        assert_eq!(sandbox.check(compiler, &call), "miss", "{compiler}");
    }
}

#[test]
fn include_next_is_shadowed_behind_the_directory_of_its_header() {
    for compiler in compilers() {
        for next in ["<h.h>", "\"h.h\"", "<stdlib.h>"] {
            let name = next.trim_matches(['<', '>', '"']);
            let sandbox = Sandbox::new();
            sandbox.write(
                "a.c",
                &format!("#include <{name}>\n#ifndef VALUE\n#define VALUE 7\n#endif\n{VALUE}"),
            );
            sandbox.write(&format!("one/{name}"), &format!("#include_next {next}\n"));
            sandbox.write("two/other.h", "");
            sandbox.write("three/h.h", "#define VALUE 1\n");
            let call = ["-c", "a.c", "-Ione", "-Itwo", "-Ithree"];
            check_shadow(&sandbox, compiler, &call, &format!("two/{name}"));
        }
    }
}

#[test]
fn a_header_in_a_directory_of_cpath_shadows() {
    for compiler in compilers() {
        for variable in ["CPATH", "C_INCLUDE_PATH"] {
            let mut sandbox = two_directories("<h.h>");
            let path = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
            let value = format!("{}:{}:{}", path("new"), path("one"), path("two"));
            sandbox.set(variable, &value);
            for first in ["new", "one"] {
                check_shadow(&sandbox, compiler, &["-c", "a.c"], &format!("{first}/h.h"));
            }
        }
    }
}

#[test]
fn a_header_of_the_system_is_shadowed() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write(
            "a.c",
            &format!("#include <stdio.h>\n#ifndef VALUE\n#define VALUE 1\n#endif\n{VALUE}"),
        );
        sandbox.write("one/sys/other.h", "");
        for shadow in ["one/stdio.h", "one/sys/cdefs.h", "one/bits/types.h"] {
            let call = ["-w", "-c", "a.c", "-Ione"];
            wait_a_tick();
            // What the system's own headers make of this does not matter, only that it is the same.
            sandbox.check(compiler, &call);
            assert_eq!(sandbox.check(compiler, &call), "direct");
            sandbox.write(shadow, "#define VALUE 2\n");
            wait_a_tick();
            assert_ne!(sandbox.check(compiler, &call), "direct", "{compiler} {shadow}");
            fs::remove_file(sandbox.path(shadow)).unwrap();
            assert_eq!(sandbox.check(compiler, &call), "direct");
        }
    }
}

#[test]
fn forced_headers_are_shadowed() {
    for compiler in compilers() {
        for option in ["-include", "-imacros"] {
            let sandbox = Sandbox::new();
            sandbox.write("src/a.c", VALUE);
            sandbox.write("two/h.h", "#define VALUE 1\n");
            sandbox.write("one/other.h", "");
            let call = ["-c", "src/a.c", option, "h.h", "-Ione", "-Itwo"];
            check_shadow(&sandbox, compiler, &call, "one/h.h");
            check_shadow(&sandbox, compiler, &call, "h.h");
        }
    }
}

#[test]
fn names_from_macros_are_shadowed() {
    for compiler in compilers() {
        for (define, include) in [("\"h.h\"", "NAME"), ("<h.h>", "NAME"), ("h.h", "TEXT(NAME)")] {
            let sandbox = Sandbox::new();
            let text = "#define TEXT_(x) #x\n#define TEXT(x) TEXT_(x)\n";
            sandbox.write("a.c", &format!("#include \"sub/i.h\"\n{VALUE}"));
            sandbox.write("sub/i.h", &format!("{text}#define NAME {define}\n#include {include}\n"));
            sandbox.write("two/h.h", "#define VALUE 1\n");
            sandbox.write("one/other.h", "");
            let call = ["-c", "a.c", "-Ione", "-Itwo"];
            check_shadow(&sandbox, compiler, &call, "one/h.h");
            if define != "<h.h>" {
                check_shadow(&sandbox, compiler, &call, "sub/h.h");
            }
        }
    }
}

/// gcc prints the shorter path of a system header behind a link, which says nothing of the name.
#[test]
fn a_system_header_that_is_a_link_is_shadowed() {
    for compiler in compilers() {
        let sandbox = two_directories("<h.h>");
        sandbox.write("r/x", "#define VALUE 5\n");
        fs::remove_file(sandbox.path("two/h.h")).unwrap();
        symlink(sandbox.path("r/x"), sandbox.path("two/h.h")).unwrap();
        let two = sandbox.path("two/../two/../two");
        let call = ["-c", "a.c", "-Ione", "-isystem", two.to_str().unwrap()];
        check_shadow(&sandbox, compiler, &call, "one/h.h");
    }
}

const ASKS: &str = "#if __has_include(<opt.h>)\n#define VALUE 2\n#else\n#define VALUE 1\n#endif\n";

/// Has `name` appear and go; what is asked for it is true, false and true again.
#[track_caller]
fn check_question(sandbox: &Sandbox, compiler: &str, call: &[&str], name: &str) {
    wait_a_tick();
    sandbox.check(compiler, call);
    assert_eq!(sandbox.check(compiler, call), "direct", "{compiler} {call:?}");
    sandbox.write(name, "\n");
    wait_a_tick();
    assert_ne!(sandbox.check(compiler, call), "direct", "{compiler} {call:?} {name}");
    assert_eq!(sandbox.check(compiler, call), "direct");
    fs::remove_file(sandbox.path(name)).unwrap();
    assert_eq!(sandbox.check(compiler, call), "direct", "{compiler} {call:?} without {name}");
    sandbox.write(name, "\n");
    assert_eq!(sandbox.check(compiler, call), "direct", "{compiler} {call:?} again {name}");
    fs::remove_file(sandbox.path(name)).unwrap();
}

#[test]
fn a_question_that_becomes_true_is_a_miss() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", &format!("#include \"sub/asks.h\"\n{VALUE}"));
        sandbox.write("sub/asks.h", ASKS);
        sandbox.write("one/other.h", "");
        let call = ["-c", "a.c", "-Ione", "-Inew", "-isystem", "late"];
        for name in ["one/opt.h", "new/opt.h", "late/opt.h"] {
            check_question(&sandbox, compiler, &call, name);
        }
        sandbox.write("sub/asks.h", &ASKS.replace("<opt.h>", "\"deep/opt.h\""));
        for name in ["sub/deep/opt.h", "one/deep/opt.h"] {
            check_question(&sandbox, compiler, &call, name);
        }
    }
}

#[test]
fn a_question_about_the_next_header_that_becomes_true_is_a_miss() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", &format!("#include <opt.h>\n{VALUE}"));
        sandbox.write("one/opt.h", &ASKS.replace("__has_include", "__has_include_next"));
        sandbox.write("two/other.h", "");
        check_question(&sandbox, compiler, &["-c", "a.c", "-Ione", "-Itwo"], "two/opt.h");
    }
}

#[test]
fn a_question_with_a_name_from_a_macro_is_never_answered_without_preprocessing() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write(
            "a.c",
            &format!("#define NAME <opt.h>\n{}{VALUE}", ASKS.replace("<opt.h>", "NAME")),
        );
        sandbox.write("one/other.h", "");
        let call = ["-c", "a.c", "-Ione"];
        wait_a_tick();
        for expected in ["miss", "miss", "preprocessed", "preprocessed"] {
            assert_eq!(sandbox.check(compiler, &call), expected, "{compiler} {}", sandbox.log());
        }
        sandbox.write("one/opt.h", "");
        wait_a_tick();
        for expected in ["miss", "preprocessed"] {
            assert_eq!(sandbox.check(compiler, &call), expected, "{compiler}");
        }
        fs::remove_file(sandbox.path("one/opt.h")).unwrap();
        assert_eq!(sandbox.check(compiler, &call), "preprocessed", "{compiler}");
    }
}

#[test]
fn relative_directories_are_those_of_the_call() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", &format!("#include <h.h>\n{VALUE}"));
        sandbox.write("two/h.h", "#define VALUE 1\n");
        for place in ["x", "y"] {
            sandbox.write(&format!("{place}/one/other.h"), "");
        }
        wait_a_tick();
        let compile = |program: &Path, words: &[&str], place: &str| {
            let mut command = sandbox.command(program);
            command.current_dir(sandbox.path(place)).args(words);
            command.args(["-c", "../a.c", "-Ione", "-I../two", "-o", "a.o"]);
            assert!(command.status().unwrap().success());
            fs::read(sandbox.path(place).join("a.o")).unwrap()
        };
        let check = |place: &str| {
            let before = sandbox.counts();
            let left = compile(larder_tests::larder_binary(), &[compiler], place);
            assert_eq!(left, compile(Path::new(compiler), &[], place), "{compiler} {place}");
            let after = sandbox.counts();
            (after.0 - before.0, after.2 - before.2)
        };
        for place in ["x", "y"] {
            assert_eq!((check(place), check(place)), ((0, 1), (1, 0)), "{compiler} {place}");
        }
        sandbox.write("y/one/h.h", "#define VALUE 2\n");
        wait_a_tick();
        assert_eq!((check("x"), check("y")), ((1, 0), (0, 1)), "{compiler}");
    }
}

#[test]
fn a_question_that_an_argument_asks_is_never_answered_without_preprocessing() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", &format!("{}{VALUE}", ASKS.replace("__has_include", "HAS")));
        sandbox.write("one/other.h", "");
        let call = ["-c", "a.c", "-Ione", "-DHAS(x)=__has_include(x)"];
        wait_a_tick();
        for _ in 0..3 {
            assert_ne!(sandbox.check(compiler, &call), "direct", "{compiler}");
        }
        sandbox.write("one/opt.h", "");
        wait_a_tick();
        assert_eq!(sandbox.check(compiler, &call), "miss", "{compiler}");
    }
}

/// As zstd does: the word is behind a macro, which another text uses.
#[test]
fn a_question_that_a_macro_stands_for_is_asked() {
    for compiler in compilers() {
        for definition in ["HAS __has_include", "HAS(x) __has_include(x)"] {
            let sandbox = Sandbox::new();
            let header = format!("#ifdef __has_include\n# define {definition}\n#endif\n");
            sandbox.write("one/has.h", &header);
            sandbox.write("two/x.h", "");
            let asks = ASKS.replace("__has_include", "HAS");
            sandbox.write("a.c", &format!("#include \"one/has.h\"\n{asks}{VALUE}"));
            let call = ["-c", "a.c", "-Ione", "-Itwo"];
            wait_a_tick();
            sandbox.check_cached(compiler, &call);
            sandbox.write("two/opt.h", "");
            wait_a_tick();
            sandbox.check_cached(compiler, &call);
            fs::remove_file(sandbox.path("two/opt.h")).unwrap();
            assert_eq!(sandbox.check(compiler, &call), "direct", "{compiler} {definition}");
        }
    }
}

/// gcc searches the directory `include` below what `-B` names, and says nothing of it while it is
/// missing.
#[test]
fn a_header_below_a_prefix_of_tools_shadows() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        sandbox.write("a.c", &format!("#include <h.h>\n{VALUE}"));
        sandbox.write("two/h.h", "#define VALUE 1\n");
        fs::create_dir(sandbox.path("tools")).unwrap();
        wait_a_tick();
        let call = ["-c", "a.c", "-Btools", "-idirafter", "two"];
        sandbox.check_cached(compiler, &call);
        sandbox.write("tools/include/h.h", "#define VALUE 2\n");
        wait_a_tick();
        sandbox.check(compiler, &call);
        assert_eq!(sandbox.check(compiler, &call), "direct", "{compiler}");
    }
}

/// Objects that are written beside headers change the directory with each compile.
#[test]
fn a_build_within_the_sources_stays_at_hits() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        let units = ["a", "b", "c"];
        for unit in units {
            sandbox.write(
                &format!("{unit}.c"),
                &format!("#include <h.h>\n#include <stdio.h>\n{ASKS}"),
            );
        }
        sandbox.write("two/h.h", "");
        wait_a_tick();
        let build = |expected: &str| {
            for unit in units {
                let (source, object) = (format!("{unit}.c"), format!("{unit}.obj"));
                let call = ["-c", &source, "-I.", "-Itwo", "-o", &object];
                let _ = fs::remove_file(sandbox.path(&object));
                assert_eq!(sandbox.check(compiler, &call), expected, "{}", sandbox.log());
            }
        };
        build("miss");
        build("direct");
        build("direct");
        sandbox.write("h.h", "#define OTHER\n");
        build("miss");
        build("direct");
    }
}

#[test]
fn a_header_that_appears_during_the_compile_was_not_absent() {
    for compiler in compilers() {
        let mut sandbox = two_directories("<h.h>");
        let real = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|dir| dir.join("as"))
            .find(|path| path.is_file())
            .unwrap();
        // The assembler, which runs when the headers have been read, makes the shadow.
        let shadow = sandbox.path("one/h.h");
        sandbox.write(
            "bin/as",
            &format!(
                "#!/bin/sh\necho '#define VALUE 2' > '{}'\nexec {} \"$@\"\n",
                shadow.display(),
                real.display()
            ),
        );
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(sandbox.path("bin/as"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = std::env::var("PATH").unwrap();
        sandbox.set("PATH", &format!("{}:{path}", sandbox.path("bin").display()));
        wait_a_tick();
        let call = ["-c", "a.c", "-Ione", "-Itwo"];
        sandbox.compile(compiler, &call);
        if !shadow.exists() {
            println!("{compiler} has its own assembler");
            continue;
        }
        assert_eq!(sandbox.count("modified_input_file"), 1, "{}", sandbox.log());
        wait_a_tick();
        sandbox.unset("PATH");
        assert_eq!(sandbox.check(compiler, &call), "miss");
    }
}

/// A precompiled header that appears is read in place of the header.
#[test]
fn a_precompiled_header_that_appears_is_seen() {
    for is_forced in [false, true] {
        for place in ["one", "two"] {
            let sandbox = two_directories("<h.h>");
            if is_forced {
                sandbox.write("a.c", VALUE);
            }
            let mut call = vec!["-c", "a.c", "-Ione", "-Itwo"];
            if is_forced {
                call.extend(["-include", "h.h"]);
            }
            wait_a_tick();
            sandbox.check_cached("gcc", &call);
            sandbox.write("other.h", "#define VALUE 8\n");
            let gch = format!("{place}/h.h.gch");
            let mut command = sandbox.command(Path::new("gcc"));
            assert!(command.args(["other.h", "-o", &gch]).status().unwrap().success());
            wait_a_tick();
            assert_ne!(sandbox.check("gcc", &call), "direct", "{place}");
            fs::remove_file(sandbox.path(&gch)).unwrap();
            assert_eq!(sandbox.check("gcc", &call), "direct", "{place}");
        }
    }
}

/// gcc reads a precompiled header only for the first include; a text does not tell which that is.
#[test]
fn only_the_first_include_has_a_precompiled_form() {
    let skipped = "#if 0\n#include \"none.h\"\n#include <late.h>\n#endif\n";
    for (before, behind, may_be_first) in [
        ("", "#include <late.h>\n", true),
        (skipped, "#include <late.h>\n", true),
        ("#include \"late.h\"\n", "", false),
        ("#ifndef __has_include_next\n#include <late.h>\n#endif\n", "", true),
        ("#define LATE <late.h>\n#include LATE\n", "", true),
    ] {
        for place in ["one", "two"] {
            let sandbox = two_directories("<h.h>");
            sandbox.write("two/late.h", "extern int late;\n");
            sandbox.write("a.c", &format!("{before}#include <h.h>\n{behind}{VALUE}"));
            let call = ["-c", "a.c", "-Ione", "-Itwo"];
            wait_a_tick();
            sandbox.check_cached("gcc", &call);
            sandbox.write("other.h", "#define VALUE 8\n");
            let gch = format!("{place}/h.h.gch");
            let mut command = sandbox.command(Path::new("gcc"));
            assert!(command.args(["other.h", "-o", &gch]).status().unwrap().success());
            wait_a_tick();
            // Objects are compared with the compiler's own.
            let counted = sandbox.check("gcc", &call);
            assert_eq!(counted == "uncached", may_be_first, "{before}{place}: {counted}");
        }
    }
}

/// What the headers of the system ask for is remembered by the first unit for all others.
#[test]
fn a_header_that_shadows_what_a_header_of_the_system_includes_is_seen() {
    for compiler in compilers() {
        let sandbox = two_directories("<h.h>");
        for unit in ["first.c", "second.c"] {
            sandbox.write(unit, &format!("#include <stdio.h>\n#include <h.h>\n{VALUE}"));
        }
        wait_a_tick();
        for unit in ["first.c", "second.c"] {
            sandbox.check_cached(compiler, &["-c", unit, "-Ione", "-Itwo"]);
        }
        let name = "one/bits/types/__FILE.h";
        sandbox.write(name, "struct _IO_FILE;\ntypedef struct _IO_FILE __FILE;\n#define VALUE 5\n");
        sandbox.write("two/h.h", "#ifndef VALUE\n#define VALUE 1\n#endif\n");
        for unit in ["first.c", "second.c"] {
            assert_eq!(sandbox.check(compiler, &["-c", unit, "-Ione", "-Itwo"]), "miss");
        }
        fs::remove_file(sandbox.path(name)).unwrap();
        for unit in ["first.c", "second.c"] {
            assert_ne!(sandbox.check(compiler, &["-c", unit, "-Ione", "-Itwo"]), "direct");
            sandbox.check(compiler, &["-c", unit, "-Ione", "-Itwo"]);
        }
        sandbox.write(name, "struct _IO_FILE;\ntypedef struct _IO_FILE __FILE;\n#define VALUE 6\n");
        for unit in ["first.c", "second.c"] {
            assert_ne!(sandbox.check(compiler, &["-c", unit, "-Ione", "-Itwo"]), "direct");
        }
    }
}

/// What the warning tells is not in the text of any input.
#[test]
fn a_missing_directory_that_is_warned_about_counts() {
    for compiler in compilers() {
        let sandbox = two_directories("<h.h>");
        let call = ["-Wmissing-include-dirs", "-c", "a.c", "-Inew", "-Itwo"];
        for _ in 0..2 {
            sandbox.check_cached(compiler, &call);
            fs::create_dir(sandbox.path("new")).unwrap();
            sandbox.check(compiler, &call);
            assert_eq!(sandbox.check(compiler, &call), "direct", "{compiler}");
            fs::remove_dir(sandbox.path("new")).unwrap();
            assert_eq!(sandbox.check(compiler, &call), "direct", "{compiler}");
            sandbox.write("a.c", &format!("#include <h.h>\nint g;\n{VALUE}"));
        }
    }
}
