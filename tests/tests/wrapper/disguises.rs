//! Words that no text shows as they stand: broken by a backslash at the end of a line, pasted by
//! macros, joined from literals. Time macros, questions for headers and reading directives that
//! were put together so went unseen, and a hit gave what had been true once.

use std::fs;
use std::time::{Duration, SystemTime};

use super::{Sandbox, compilers, wait_a_tick};

#[test]
fn a_time_macro_that_is_put_together_shows_the_time_of_now() {
    for compiler in compilers() {
        for text in [
            "const char *when = __TI\\\nME__;\n",
            "#define P(a, b) a##b\nconst char *when = P(__TI, ME__);\n",
            "#define P(a) __##a##__\nconst char *when = P(TIME);\n",
        ] {
            let sandbox = Sandbox::new();
            sandbox.write("a.c", text);
            let arguments = ["-c", "a.c", "-o", "a.o"];
            assert!(sandbox.larder(&[&[compiler][..], &arguments].concat()).status.success());
            assert!(sandbox.larder(&[&[compiler][..], &arguments].concat()).status.success());
            assert_eq!(sandbox.counts(), (0, 0, 0), "{compiler} {text:?}");
        }
    }
}

#[test]
fn a_question_for_a_header_that_is_put_together_is_asked_again() {
    for compiler in compilers() {
        for question in ["__has_inc\\\nlude(\"new.h\")", "P(__has_, include)(\"new.h\")"] {
            let sandbox = Sandbox::new();
            let text = format!(
                "#define P(a, b) a##b\n#if {question}\nint with;\n#else\nint without;\n#endif\n"
            );
            sandbox.write("a.c", &text);
            wait_a_tick();
            let arguments = ["-I.", "-c", "a.c"];
            assert_eq!(sandbox.check(compiler, &arguments), "miss");
            sandbox.write("new.h", "");
            wait_a_tick();
            assert_eq!(sandbox.check(compiler, &arguments), "miss", "{compiler} {question}");
        }
    }
}

#[test]
fn a_file_that_inline_assembly_reads_by_a_word_in_pieces_counts() {
    for compiler in compilers() {
        for assembly in [
            "\".inc\" \"bin \\\"data\\\"\"",
            "S(.inc) S(bin) \" \\\"data\\\"\"",
            "S(DOT) \"incbin \\\"data\\\"\"",
            "\".inc\\\nbin \\\"data\\\"\"",
            "\"\\x2eincbin \\\"data\\\"\"",
            "\".inc\\142in \\\"data\\\"\"",
            "\".macro m op\\n.inc\\\\op \\\"data\\\"\\n.endm\\nm bin\"",
        ] {
            let sandbox = Sandbox::new();
            let macros = "#define DOT .\n#define T(x) #x\n#define S(x) T(x)\n";
            sandbox.write("a.c", &format!("{macros}__asm__({assembly});\n"));
            for data in ["one", "two"] {
                sandbox.write("data", data);
                wait_a_tick();
                for _ in 0..2 {
                    assert_eq!(sandbox.check(compiler, &["-c", "a.c"]), "uncached", "{assembly}");
                }
            }
        }
    }
}

/// The pragma compares times of files, and names a file that is in no list.
#[test]
fn a_dependency_that_a_pragma_names_counts_however_it_is_written() {
    for compiler in compilers() {
        for pragma in ["clang dependency", "GCC /* x */ dependency", "G\\\nCC dependency"] {
            let sandbox = Sandbox::new();
            sandbox.write("a.c", &format!("#pragma {pragma} \"other\"\nint a;\n"));
            sandbox.write("other", "");
            for seconds in [1_000, 3_000_000_000] {
                let file = fs::File::options().write(true).open(sandbox.path("other")).unwrap();
                file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
                wait_a_tick();
                assert_eq!(sandbox.check(compiler, &["-c", "a.c"]), "uncached", "{pragma}");
            }
        }
    }
}
