//! Failed compiles that are kept: what comes back is what the compiler would say and leave, and
//! whatever is not about the source never comes back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use larder_tests::larder_binary;

use super::{Left, Sandbox, compilers, wait_a_tick};

const CALL: &[&str] = &["-c", "a.c", "-o", "a.o", "-MD"];
const BROKEN: &str = "#include \"h.h\"\nint f(void) { return VALUE + missing; } // here\n";

fn sandbox() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.set("LARDER_STORE_FAILURES", "1");
    sandbox.write("a.c", BROKEN);
    sandbox.write("h.h", "#define VALUE 1\n");
    wait_a_tick();
    sandbox
}

impl Sandbox {
    /// Compiles and compares with the compiler alone; whether the answer came from the store.
    #[track_caller]
    fn fails(&self, compiler: &str, call: &[&str]) -> bool {
        let expected = self.plain(compiler, call);
        assert_ne!(expected.status, Some(0), "{compiler} {call:?}");
        self.fails_as(compiler, call, &expected)
    }

    #[track_caller]
    fn fails_as(&self, compiler: &str, call: &[&str], expected: &Left) -> bool {
        let count = |sandbox: &Sandbox| {
            ["failure_cache_hit", "compile_failed"].map(|counter| sandbox.count(counter))
        };
        let before = count(self);
        let left = self.compile(compiler, call);
        assert_eq!(left, *expected, "{compiler} {call:?}\n{}", self.log());
        let after = count(self);
        match [after[0] - before[0], after[1] - before[1]] {
            [1, 0] => true,
            [0, 1] => false,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn check_kept(&self, compiler: &str, call: &[&str]) {
        assert!(!self.fails(compiler, call), "{compiler} {call:?}");
        for _ in 0..2 {
            assert!(self.fails(compiler, call), "{compiler} {call:?}\n{}", self.log());
        }
    }

    #[track_caller]
    fn check_not_kept(&self, compiler: &str, call: &[&str]) {
        for _ in 0..3 {
            assert!(!self.fails(compiler, call), "{compiler} {call:?}\n{}", self.log());
        }
    }

    /// Puts a program in place of gcc's compiler proper, which counts its runs and may do what the
    /// file `mode` says before; it only preprocesses as ever.
    fn replace_cc1(&mut self) {
        let real = Command::new("gcc").arg("-print-prog-name=cc1").output().unwrap();
        let real = String::from_utf8(real.stdout).unwrap();
        let own = self.dir.path().join("own");
        fs::create_dir(&own).unwrap();
        let place = own.display();
        let script = format!(
            "#!/bin/sh\n\
             case \" $* \" in *\" -E \"*) exec {real} \"$@\";; esac\n\
             echo run >> {place}/runs\n\
             . {place}/mode\n\
             exec {real} \"$@\"\n",
            real = real.trim(),
        );
        fs::write(own.join("cc1"), script).unwrap();
        fs::set_permissions(own.join("cc1"), fs::Permissions::from_mode(0o755)).unwrap();
        self.set("COMPILER_PATH", own.to_str().unwrap());
        self.set_mode("");
        wait_a_tick();
    }

    fn set_mode(&self, mode: &str) {
        fs::write(self.dir.path().join("own/mode"), mode).unwrap();
    }

    fn runs(&self) -> usize {
        let runs = fs::read_to_string(self.dir.path().join("own/runs")).unwrap_or_default();
        runs.lines().count()
    }
}

#[test]
fn a_failure_is_answered_without_the_compiler() {
    let mut sandbox = sandbox();
    sandbox.replace_cc1();
    let expected = sandbox.plain("gcc", CALL);
    assert_eq!(expected.status, Some(1));
    assert!(expected.stderr.contains("missing") && expected.files.contains_key("a.d"));
    assert!(!sandbox.fails_as("gcc", CALL, &expected));
    let before = sandbox.runs();
    for _ in 0..3 {
        assert!(sandbox.fails_as("gcc", CALL, &expected));
    }
    assert_eq!(sandbox.runs(), before);
    assert!(sandbox.larder(&["verify"]).status.success());
    let text = sandbox.larder(&["stats"]).stdout;
    assert!(String::from_utf8(text).unwrap().contains("failures answered"));
}

#[test]
fn failures_of_many_kinds_are_kept() {
    for compiler in compilers() {
        let sandbox = sandbox();
        sandbox.write("w.c", "static int f(int x) { if (x = 1) return 2; return 3; }\n");
        sandbox.write(
            "t.cc",
            "#include <vector>\n#include <memory>\nint f() { std::vector<int> v; return v; }\n",
        );
        let calls = [
            CALL,
            &["-c", "a.c"],
            &["-c", "a.c", "-o", "a.o", "-MMD", "-MF", "x.d"],
            &["-c", "a.c", "-o", "a.o", "-MMD", "-g", "-O2"],
            &["-c", "./a.c", "-o", "a.o", "-pipe"],
            &["-S", "a.c", "-o", "a.o"],
            &["-fsyntax-only", "a.c"],
            &["-Wall", "-Werror", "-c", "w.c"],
            &["-Werror=parentheses", "-c", "w.c", "-fdiagnostics-color=always"],
            &["-x", "c++", "-std=c++17", "-c", "t.cc", "-o", "t.o"],
        ];
        for call in calls {
            sandbox.check_kept(compiler, call);
        }
    }
}

#[test]
fn what_was_mended_compiles_and_the_old_state_fails_again() {
    for compiler in compilers() {
        let sandbox = sandbox();
        let call = &["-c", "a.c", "-o", "a.o", "-MD", "-Iearly", "-I."];
        sandbox.write("a.c", &BROKEN.replace("\"h.h\"", "<h.h>"));
        sandbox.write("early/other.h", "");
        wait_a_tick();
        sandbox.check_kept(compiler, call);
        let good = "#define VALUE 1\n#define missing 2\n";
        // The source.
        sandbox.write("a.c", "int f(void) { return 1; }\n");
        assert_eq!(sandbox.check(compiler, call), "miss");
        sandbox.write("a.c", &BROKEN.replace("\"h.h\"", "<h.h>"));
        assert!(sandbox.fails(compiler, call));
        // A header.
        sandbox.write("h.h", good);
        assert_eq!(sandbox.check(compiler, call), "miss");
        assert_eq!(sandbox.check(compiler, call), "direct");
        sandbox.write("h.h", "#define VALUE 1\n");
        assert!(sandbox.fails(compiler, call));
        // A flag.
        assert_eq!(sandbox.check(compiler, &[&call[..], &["-Dmissing=3"]].concat()), "miss");
        assert!(sandbox.fails(compiler, call));
        // A header that appears in front of the other.
        sandbox.write("early/h.h", good);
        assert_eq!(sandbox.check(compiler, call), "miss");
        fs::remove_file(sandbox.path("early/h.h")).unwrap();
        assert!(sandbox.fails(compiler, call));
    }
}

/// The preprocessed text is the same; the lines that messages show are not.
#[test]
fn what_only_messages_show_counts() {
    for compiler in compilers() {
        let sandbox = sandbox();
        sandbox.check_kept(compiler, CALL);
        sandbox.write("a.c", &BROKEN.replace("here", "there"));
        sandbox.check_kept(compiler, CALL);
        sandbox.write("a.c", &BROKEN.replace("; }", "/**/; }"));
        sandbox.check_kept(compiler, CALL);
        sandbox.write("h.h", "#define VALUE  1 // one\n");
        sandbox.check_kept(compiler, CALL);
        sandbox.write("a.c", "#include \"h.h\"\nCODE\n");
        for code in ["-DCODE=int x = y;", "-DCODE=int  x = y;"] {
            let kept = [0; 3].map(|_| sandbox.fails(compiler, &[CALL, &[code]].concat()));
            // gcc says that the error is on the command line, which is no input.
            assert_eq!(kept, [false, compiler == "clang", compiler == "clang"], "{code}");
        }
    }
}

#[test]
fn without_the_setting_nothing_is_stored_or_looked_for() {
    for compiler in compilers() {
        let mut sandbox = sandbox();
        let entries = |sandbox: &Sandbox| sandbox.count("store_entries");
        sandbox.unset("LARDER_STORE_FAILURES");
        sandbox.check_not_kept(compiler, CALL);
        let before = entries(&sandbox);
        sandbox.check_not_kept(compiler, CALL);
        assert_eq!(entries(&sandbox), before);
        sandbox.set("LARDER_STORE_FAILURES", "1");
        for (name, value) in [
            ("LARDER_READONLY", "1"),
            ("LARDER_READONLY_DIRECT", "1"),
            ("LARDER_DEPEND_MODE", "1"),
            ("LARDER_PREFIX_COMMAND", "env"),
        ] {
            sandbox.set(name, value);
            assert_eq!(sandbox.compile(compiler, CALL), sandbox.plain(compiler, CALL));
            sandbox.unset(name);
            assert_eq!(entries(&sandbox), before, "{name}");
        }
        sandbox.check_kept(compiler, CALL);
        assert!(entries(&sandbox) > before);
        // A store that is only read answers, and counts nothing.
        sandbox.set("LARDER_READONLY", "1");
        let logged = sandbox.log().len();
        assert_eq!(sandbox.compile(compiler, CALL), sandbox.plain(compiler, CALL));
        assert!(sandbox.log()[logged..].contains("failure hit"), "{}", sandbox.log());
        sandbox.unset("LARDER_READONLY");
        sandbox.set("LARDER_RECACHE", "1");
        assert!(!sandbox.fails(compiler, CALL));
        sandbox.unset("LARDER_RECACHE");
        sandbox.set("LARDER_STORE_FAILURES", "0");
        assert!(!sandbox.fails(compiler, CALL));
    }
}

#[test]
fn the_setting_may_stand_in_a_file() {
    let mut sandbox = sandbox();
    sandbox.unset("LARDER_STORE_FAILURES");
    let shown = |sandbox: &Sandbox| {
        let text = String::from_utf8(sandbox.larder(&["config"]).stdout).unwrap();
        text.lines().find(|line| line.starts_with("store_failures")).unwrap().to_owned()
    };
    assert_eq!(shown(&sandbox), "store_failures = false  (default)");
    sandbox.write(".larder.toml", "store_failures = true\n");
    wait_a_tick();
    assert!(shown(&sandbox).contains("true  (") && shown(&sandbox).contains(".larder.toml"));
    sandbox.check_kept("gcc", CALL);
    fs::remove_file(sandbox.path(".larder.toml")).unwrap();
    assert!(!sandbox.fails("gcc", CALL));
    let file = sandbox.dir.path().join(".config/larder/larder.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "store_failures = true\n").unwrap();
    assert!(sandbox.fails("gcc", CALL));
}

#[test]
fn without_manifests_failures_are_kept_too() {
    for compiler in compilers() {
        let mut sandbox = sandbox();
        sandbox.set("LARDER_DIRECT_MODE", "0");
        sandbox.check_kept(compiler, CALL);
    }
}

#[test]
fn what_fails_before_the_text_is_made_is_not_kept() {
    for compiler in compilers() {
        let sandbox = sandbox();
        for text in [
            "#include \"none.h\"\nint x = y;\n",
            "#error no\nint x = y;\n",
            "#warning no\nint x = y;\n",
            "const char *t = __TIME__;\nint x = y;\n",
        ] {
            sandbox.write("a.c", text);
            wait_a_tick();
            for call in [CALL, &["-c", "a.c", "-o", "a.o"]] {
                sandbox.check_not_kept(compiler, call);
            }
        }
    }
}

#[test]
fn a_compiler_that_gives_up_early_says_the_same_each_time() {
    for compiler in compilers() {
        let sandbox = sandbox();
        sandbox.write("a.c", "#include \"h.h\"\nint f(void) { return a + b; }\nint x = VALUE;\n");
        let limit = if compiler == "gcc" { "-fmax-errors=1" } else { "-ferror-limit=1" };
        for option in [limit, "-Wfatal-errors"] {
            let call = [CALL, &[option]].concat();
            let is_kept = (0..4).map(|_| sandbox.fails(compiler, &call)).collect::<Vec<_>>();
            // gcc writes no dependencies then.
            assert_eq!(is_kept[2..], [compiler == "clang"; 2], "{option}\n{}", sandbox.log());
        }
        let loose = if compiler == "gcc" { "-fmax-errors=9" } else { "-ferror-limit=9" };
        sandbox.check_kept(compiler, &[CALL, &[loose]].concat());
    }
}

#[test]
fn other_outputs_keep_a_failure_from_being_kept() {
    for compiler in compilers() {
        let sandbox = sandbox();
        for option in ["-gsplit-dwarf", "--coverage", "-fstack-usage"] {
            sandbox.check_not_kept(compiler, &[CALL, &[option]].concat());
        }
    }
}

#[test]
fn failures_of_the_machine_are_not_kept() {
    let mut sandbox = sandbox();
    sandbox.replace_cc1();
    let error = "echo \"a.c:2:1: error: missing\" >&2; ";
    for (mode, status) in [
        (format!("{error}kill -9 $$"), Some(1)),
        ("kill -9 $PPID".to_owned(), None),
        ("echo 'a.c:2:1: internal compiler error: Aborted' >&2; exit 4".to_owned(), Some(1)),
        (format!("{error}echo 'cc1: out of memory allocating 8 bytes' >&2; exit 1"), Some(1)),
        (
            "echo 'a.c:2:1: fatal error: error writing to x: No space left on device' >&2; exit 1"
                .to_owned(),
            Some(1),
        ),
        (format!("{error}echo 'gcc: error: something' >&2; exit 1"), Some(1)),
        ("echo 'something is wrong' >&2; exit 1".to_owned(), Some(1)),
    ] {
        for call in [CALL, &["-c", "a.c", "-o", "a.o"]] {
            sandbox.set_mode(&mode);
            let before = (sandbox.runs(), sandbox.count("store_entries"));
            for round in 1..3 {
                let left = sandbox.compile("gcc", call);
                assert_eq!(left.status, status, "{mode} {}", left.stderr);
                assert_eq!(sandbox.runs(), before.0 + round, "{mode}");
            }
            sandbox.set_mode("");
            assert!(sandbox.count("store_entries") <= before.1 + 1, "{mode}");
        }
    }
    assert_eq!(sandbox.count("failure_cache_hit"), 0);
    sandbox.check_kept("gcc", CALL);
}

/// A shell tells a killed program by 137.
#[test]
fn a_killed_compiler_is_a_killed_compiler() {
    let mut sandbox = sandbox();
    sandbox.replace_cc1();
    sandbox.set_mode("kill -9 $PPID");
    for _ in 0..2 {
        let line = format!("{} gcc -c a.c; exit $?", larder_binary().display());
        let output = sandbox.command(Path::new("sh")).args(["-c", &line]).output().unwrap();
        assert_eq!(output.status.code(), Some(137));
    }
    assert_eq!(sandbox.count("failure_cache_hit"), 0);
}

#[test]
fn inputs_that_change_during_the_compile_are_no_failure() {
    for change in [
        "echo '#define VALUE 2' > h.h",
        "touch h.h",
        // The older header comes into its place, and is as old as it likes.
        "rm -f early/h.h",
        "mv late early2; ln -s early2 late",
    ] {
        let mut sandbox = sandbox();
        sandbox.write("a.c", "#include <h.h>\nint f(void) { return VALUE + missing; }\n");
        for name in ["early/h.h", "late/h.h"] {
            sandbox.write(name, "#define VALUE 1\n");
        }
        sandbox.replace_cc1();
        let searched: &[&str] = match change.contains("early") {
            true if change.starts_with("mv") => &["-Ilate"],
            true => &["-Iearly", "-Ilate"],
            false => &["-I."],
        };
        let call = [CALL, searched].concat();
        // The compiler has read everything when it asks the assembler; here it has not begun.
        let script = fs::read_to_string(sandbox.dir.path().join("own/cc1")).unwrap();
        let script = script.rsplit_once("exec ").unwrap();
        let real = script.1.trim();
        sandbox.set_mode(&format!("{real}; status=$?; {change}; exit $status"));
        let left = sandbox.compile("gcc", &call);
        assert_eq!(left.status, Some(1), "{change}");
        sandbox.set_mode("");
        let why = "the failure is not stored";
        assert!(sandbox.log().contains(why), "{change}\n{}", sandbox.log());
        wait_a_tick();
        assert!(!sandbox.fails("gcc", &call), "{change}");
        assert!(sandbox.fails("gcc", &call), "{change}\n{}", sandbox.log());
    }
}

#[test]
fn a_locale_counts_and_an_unknown_one_keeps_nothing() {
    let mut sandbox = sandbox();
    sandbox.check_kept("gcc", CALL);
    sandbox.set("LC_ALL", "C.UTF-8");
    sandbox.check_kept("gcc", CALL);
    sandbox.set("LC_ALL", "de_DE.UTF-8");
    sandbox.check_not_kept("gcc", CALL);
    sandbox.set("LC_ALL", "C.UTF-8");
    sandbox.set("LANGUAGE", "de");
    sandbox.check_not_kept("gcc", CALL);
    sandbox.unset("LANGUAGE");
    assert!(sandbox.fails("gcc", CALL));
}

#[test]
fn colours_are_those_of_the_terminal() {
    if !Command::new("script").arg("--version").output().is_ok_and(|out| out.status.success()) {
        println!("skipped: no script, which gives a terminal");
        return;
    }
    for compiler in compilers() {
        let mut sandbox = sandbox();
        sandbox.set("TERM", "xterm-256color");
        let on_terminal = |sandbox: &Sandbox| {
            let call = format!("{} {compiler} {}", larder_binary().display(), CALL.join(" "));
            let mut command = sandbox.command(Path::new("script"));
            let output = command.args(["-qec", &call, "/dev/null"]).output().unwrap();
            assert_eq!(output.status.code(), Some(1));
            String::from_utf8(output.stdout).unwrap()
        };
        sandbox.check_kept(compiler, CALL);
        let first = on_terminal(&sandbox);
        assert!(first.contains("\x1b["), "{first:?}");
        let hits = sandbox.count("failure_cache_hit");
        assert_eq!(on_terminal(&sandbox), first);
        assert_eq!(sandbox.count("failure_cache_hit"), hits + 1);
        assert!(sandbox.fails(compiler, CALL));
        sandbox.set("COLUMNS", "20");
        assert!(sandbox.fails(compiler, CALL));
        sandbox.set("GCC_COLORS", "error=01;35");
        assert!(!sandbox.fails(compiler, CALL));
    }
}

/// Messages name files, absolutely where the command line does.
#[test]
fn a_failure_stays_in_its_checkout() {
    for compiler in compilers() {
        let mut sandbox = sandbox();
        sandbox.set("LARDER_BASE_DIRS", sandbox.work().to_str().unwrap().to_owned().as_str());
        for place in ["one", "two"] {
            sandbox.write(&format!("{place}/inc/h.h"), "int g(void) { return missing; }\n");
            sandbox.write(&format!("{place}/a.c"), "#include <h.h>\n");
        }
        wait_a_tick();
        for place in ["one", "two"] {
            let include = format!("-I{}", sandbox.path(place).join("inc").display());
            let run = |program: &Path, words: &[&str]| {
                let mut command = sandbox.command(program);
                command.current_dir(sandbox.path(place)).args(words);
                command.args([&include, "-c", "a.c", "-o", "a.o", "-MD"]).output().unwrap()
            };
            let expected = run(Path::new(compiler), &[]);
            for hits in [0, 1] {
                let before = sandbox.count("failure_cache_hit");
                let output = run(larder_binary(), &[compiler]);
                assert_eq!(output, expected, "{place}");
                assert_eq!(sandbox.count("failure_cache_hit"), before + hits, "{place}");
            }
        }
    }
}

/// What stands where the object goes: whether it is there afterwards, with which text.
#[test]
fn an_object_that_stands_there_is_treated_as_the_compiler_treats_it() {
    for compiler in compilers() {
        for options in [&["-c"][..], &["-c", "-pipe"], &["-S"]] {
            let sandbox = sandbox();
            let call = [options, &["a.c", "-o", "a.o", "-MD"]].concat();
            let (object, second) = (sandbox.path("a.o"), sandbox.path("second"));
            let run = |program: &Path, words: &[&str], old: &str| {
                sandbox.remove_outputs();
                let _ = fs::remove_file(&second);
                let time = SystemTime::now() - Duration::from_secs(1000);
                if old != "absent" {
                    fs::write(&object, old).unwrap();
                    fs::File::open(&object).unwrap().set_modified(time).unwrap();
                }
                if old == "linked" {
                    fs::hard_link(&object, &second).unwrap();
                }
                let mut command = sandbox.command(program);
                let output = command.args(words).args(&call).output().unwrap();
                assert_eq!(output.status.code(), Some(1));
                let long_ago = SystemTime::now() - Duration::from_secs(500);
                let shown = |path: &Path| {
                    let is_old = fs::metadata(path).ok()?.modified().unwrap() < long_ago;
                    Some((fs::read_to_string(path).unwrap(), is_old))
                };
                (output, shown(&object), shown(&second), fs::read(sandbox.path("a.d")).ok())
            };
            for old in ["absent", "old", "", "linked", "absent", "old"] {
                let expected = run(Path::new(compiler), &[], old);
                for _ in 0..3 {
                    let left = run(larder_binary(), &[compiler], old);
                    assert_eq!(left, expected, "{compiler} {call:?} {old:?}\n{}", sandbox.log());
                }
            }
            assert!(sandbox.count("failure_cache_hit") >= 8, "{compiler} {options:?}");
        }
    }
}

#[test]
fn a_dependency_file_that_cannot_be_replaced_is_the_compilers_business() {
    let sandbox = sandbox();
    sandbox.check_kept("gcc", CALL);
    sandbox.remove_outputs();
    sandbox.write("a.d", "old");
    fs::hard_link(sandbox.path("a.d"), sandbox.path("second")).unwrap();
    assert_eq!(sandbox.larder(&[&["gcc"], CALL].concat()).status.code(), Some(1));
    let second = fs::read_to_string(sandbox.path("second")).unwrap();
    assert!(second.contains("h.h"), "{second}");
    assert_eq!(sandbox.count("failure_cache_hit"), 2);
}
