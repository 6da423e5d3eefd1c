//! Settings that change how results are asked for, what counts for them, and what is stored.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use larder_tests::larder_binary;

use super::{Sandbox, compilers};

const CALL: &[&str] = &["-c", "a.c", "-o", "a.o", "-MD"];

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "#include \"h.h\"\nint f(void) { return VALUE; }\n");
    sandbox.write("h.h", "#define VALUE 1\n");
    sandbox
}

fn sandbox_with(settings: &[(&str, &str)]) -> Sandbox {
    let mut sandbox = sandbox();
    settings.iter().for_each(|(name, value)| sandbox.set(name, value));
    sandbox
}

#[test]
fn without_direct_mode_each_call_is_preprocessed_and_no_manifest_is_kept() {
    for compiler in compilers() {
        let mut sandbox = sandbox_with(&[("LARDER_DIRECT_MODE", "0")]);
        // Debug information shows columns, which the text does not have.
        for more in ["-O2", "-g"] {
            let call = [CALL, &[more]].concat();
            sandbox.write("h.h", "#define VALUE 1\n");
            assert_eq!(sandbox.check(compiler, &call), "miss");
            assert_eq!(sandbox.check(compiler, &call), "preprocessed", "{}", sandbox.log());
            sandbox.write("h.h", "#define VALUE 2\n");
            assert_eq!(sandbox.check(compiler, &call), "miss");
            assert_eq!(sandbox.check(compiler, &call), "preprocessed");
        }
        sandbox.set("LARDER_DIRECT_MODE", "1");
        assert_eq!(sandbox.check(compiler, CALL), "miss");
        assert_eq!(sandbox.check(compiler, CALL), "direct");
    }
}

#[test]
fn with_depend_mode_the_preprocessor_is_never_run() {
    for compiler in compilers() {
        let mut sandbox = sandbox_with(&[("LARDER_DEPEND_MODE", "1")]);
        sandbox.check_cached(compiler, CALL);
        // The text stays the same, but nobody looks at it.
        sandbox.write("h.h", "#define VALUE 1 // one\n");
        assert_eq!(sandbox.check(compiler, CALL), "miss");
        sandbox.write("h.h", "#define VALUE 2\n");
        assert_eq!(sandbox.check(compiler, CALL), "miss");
        sandbox.unset("LARDER_DEPEND_MODE");
        sandbox.write("h.h", "#define VALUE 2 // two\n");
        assert_eq!(sandbox.check(compiler, CALL), "miss");
        sandbox.write("h.h", "#define VALUE 2 // too\n");
        assert_eq!(sandbox.check(compiler, CALL), "preprocessed");
        // Here only a run of the preprocessor would list the system headers.
        let listed_afterwards = ["-c", "a.c", "-o", "a.o", "-MMD", "-g"];
        sandbox.set("LARDER_DEPEND_MODE", "1");
        assert_eq!(sandbox.check(compiler, &listed_afterwards), "uncached");
        sandbox.unset("LARDER_DEPEND_MODE");
        sandbox.check_cached(compiler, &listed_afterwards);
    }
}

#[test]
fn recache_stores_and_does_not_ask() {
    let mut sandbox = sandbox();
    sandbox.check_cached("gcc", CALL);
    sandbox.set("LARDER_RECACHE", "1");
    assert_eq!(sandbox.check("gcc", CALL), "miss");
    sandbox.unset("LARDER_RECACHE");
    assert_eq!(sandbox.check("gcc", CALL), "direct");
    assert_eq!(sandbox.count("recache"), 1);
}

#[test]
fn a_store_that_is_only_read_gives_hits_and_takes_nothing() {
    for compiler in compilers() {
        for (setting, runs_preprocessor) in
            [("LARDER_READONLY", true), ("LARDER_READONLY_DIRECT", false)]
        {
            let mut sandbox = sandbox();
            sandbox.check_cached(compiler, CALL);
            sandbox.write("h.h", "#define VALUE 2\n");
            assert_eq!(sandbox.check(compiler, CALL), "miss");
            sandbox.set(setting, "1");
            // Nothing is counted in a store that is only read: the log tells.
            let compile = |text: &str| {
                sandbox.write("h.h", text);
                let expected = sandbox.plain(compiler, CALL);
                fs::remove_file(sandbox.dir.path().join("log")).unwrap();
                assert_eq!(sandbox.compile(compiler, CALL), expected);
                sandbox.log()
            };
            assert!(compile("#define VALUE 2\n").contains("direct hit"));
            let log = compile("#define VALUE 2 // two\n");
            assert_eq!(log.contains("] preprocessed hit"), runs_preprocessor, "{setting} {log}");
            compile("#define VALUE 3\n");
            let log = compile("#define VALUE 3\n");
            assert!(!log.contains("] direct hit"), "{setting} {log}");
            sandbox.unset(setting);
            assert_eq!(sandbox.check(compiler, CALL), "miss");
        }
    }
}

/// Two checkouts of one project, with names of different lengths.
struct Checkouts {
    sandbox: Sandbox,
    bases: String,
}

const PLACES: [&str; 2] = ["one", "another"];

impl Checkouts {
    fn new(source: &str) -> Checkouts {
        let sandbox = Sandbox::new();
        let top = fs::canonicalize(sandbox.work()).unwrap();
        for place in PLACES {
            sandbox.write(&format!("{place}/src/a.cc"), source);
            sandbox.write(&format!("{place}/src/a.h"), "#define NAME __FILE__\n#define VALUE 1\n");
            fs::create_dir_all(sandbox.path(&format!("{place}/build"))).unwrap();
        }
        let bases = PLACES.map(|place| top.join(place).to_str().unwrap().to_owned()).join(":");
        Checkouts { sandbox, bases }
    }

    /// Compiles in both, with and without larder; `ROOT` in an argument is the checkout. What the
    /// calls with larder were.
    #[track_caller]
    fn run(&mut self, compiler: &str, arguments: &[&str]) -> [&'static str; 2] {
        self.sandbox.set("LARDER_BASE_DIRS", &self.bases);
        PLACES.map(|place| self.run_at(place, compiler, arguments))
    }

    #[track_caller]
    fn run_at(&self, place: &str, compiler: &str, arguments: &[&str]) -> &'static str {
        let root = fs::canonicalize(self.sandbox.path(place)).unwrap();
        let build = root.join("build");
        let call = |program: &Path, first: &[&str]| {
            let _ = fs::remove_file(build.join("a.o"));
            let _ = fs::remove_file(build.join("a.d"));
            let mut command = self.sandbox.command(program);
            command.current_dir(&build).args(first);
            let arguments = arguments.iter();
            command.args(arguments.map(|word| word.replace("ROOT", root.to_str().unwrap())));
            let output = command.output().unwrap();
            let files = ["a.o", "a.d"].map(|name| fs::read(build.join(name)).ok());
            (output, files)
        };
        let expected = call(Path::new(compiler), &[]);
        assert!(expected.0.status.success(), "{expected:?}");
        let before = self.sandbox.counts();
        let left = call(larder_binary(), &[compiler]);
        assert_eq!(left.0, expected.0, "{compiler} {arguments:?}");
        let log = self.sandbox.log();
        assert!(left.1[0] == expected.1[0], "{place} {compiler} {arguments:?}\n{log}");
        let text = |file: &Option<Vec<u8>>| file.clone().map(|t| String::from_utf8(t).unwrap());
        assert_eq!(text(&left.1[1]), text(&expected.1[1]), "{compiler} {arguments:?}");
        let after = self.sandbox.counts();
        match (after.0 - before.0, after.1 - before.1, after.2 - before.2) {
            (1, 0, 0) => "direct",
            (0, 1, 0) => "preprocessed",
            (0, 0, 1) => "miss",
            other => panic!("{other:?} {compiler} {arguments:?}\n{log}"),
        }
    }
}

const PLAIN: &str = "#include \"a.h\"\n#include <stdio.h>\nint f() { return VALUE; }\n";
const RELATIVE: &[&str] = &["-c", "../src/a.cc", "-o", "a.o", "-MD"];
const ABSOLUTE: &[&str] = &["-IROOT/src", "-MD", "-MP", "-o", "a.o", "-c", "ROOT/src/a.cc"];

#[test]
fn a_result_that_shows_no_path_is_shared_by_checkouts() {
    for compiler in compilers() {
        for call in [RELATIVE, ABSOLUTE] {
            let mut checkouts = Checkouts::new(PLAIN);
            assert_eq!(checkouts.run(compiler, call), ["miss", "direct"], "{compiler} {call:?}");
            assert_eq!(checkouts.run(compiler, call), ["direct", "direct"]);
            // The second checkout changes; the first one's result is none of its business.
            checkouts.sandbox.write("another/src/a.h", "#define VALUE 2\n");
            assert_eq!(checkouts.run(compiler, call), ["direct", "miss"]);
            assert_eq!(checkouts.run(compiler, call), ["direct", "direct"]);
            checkouts.sandbox.write("one/src/a.h", "#define VALUE 2\n");
            assert_eq!(checkouts.run(compiler, call), ["direct", "direct"]);
            // Without a preprocessor nobody knows whether absolute names are used.
            checkouts.sandbox.set("LARDER_DEPEND_MODE", "1");
            PLACES.iter().for_each(|place| {
                checkouts.sandbox.write(&format!("{place}/src/a.h"), "#define VALUE 3\n");
            });
            let second = if call == RELATIVE { "direct" } else { "miss" };
            assert_eq!(checkouts.run(compiler, call), ["miss", second]);
        }
    }
}

/// A header of the second checkout stands before the one that the first checkout's result was made
/// with.
#[test]
fn a_header_that_only_the_second_checkout_has_is_seen() {
    for compiler in compilers() {
        for (call, root) in [(RELATIVE, ".."), (ABSOLUTE, "ROOT")] {
            let mut checkouts = Checkouts::new("#include <v.h>\nint f() { return VALUE; }\n");
            for place in PLACES {
                checkouts.sandbox.write(&format!("{place}/late/v.h"), "#define VALUE 1\n");
                checkouts.sandbox.write(&format!("{place}/early/w.h"), "");
            }
            checkouts.sandbox.write("another/early/v.h", "#define VALUE 2\n");
            let searched = ["early", "late"].map(|name| format!("-I{root}/{name}"));
            let call = [&[&*searched[0], &*searched[1]], call].concat();
            assert_eq!(checkouts.run(compiler, &call), ["miss", "miss"], "{call:?}");
            fs::remove_file(checkouts.sandbox.path("another/early/v.h")).unwrap();
            assert_eq!(checkouts.run(compiler, &call), ["direct", "direct"], "{call:?}");
        }
    }
}

#[test]
fn a_call_with_absolute_names_is_not_one_with_relative_names() {
    for compiler in compilers() {
        let mut checkouts = Checkouts::new("const char *f() { return __FILE__; }\n");
        let relative = &["-c", "../src/a.cc", "-o", "a.o"];
        assert_eq!(checkouts.run(compiler, relative), ["miss", "direct"]);
        assert_eq!(
            checkouts.run(compiler, &["-c", "ROOT/src/a.cc", "-o", "a.o"]),
            ["miss", "miss"]
        );
    }
}

#[test]
fn debug_information_is_shared_only_if_prefix_maps_take_the_directory_out() {
    for compiler in compilers() {
        for call in [RELATIVE, ABSOLUTE] {
            for (options, shared) in [
                (&["-g"][..], false),
                (&["-g", "-ffile-prefix-map=ROOT=."], true),
                (&["-g", "-fdebug-prefix-map=ROOT=/x"], true),
                (&["-g", "-fmacro-prefix-map=ROOT=."], false),
                (&["-g", "-ffile-prefix-map=ROOT/src=."], false),
                (&["-g", "-fdebug-prefix-map=ROOT=ROOT/y"], false),
                (&["-gz", "-g", "-ffile-prefix-map=ROOT=."], false),
            ] {
                if call == RELATIVE && options.len() > 2 {
                    continue;
                }
                let call = [call, options].concat();
                let mut checkouts = Checkouts::new(PLAIN);
                let expected = if shared { "direct" } else { "miss" };
                let first = checkouts.run(compiler, &call);
                assert_eq!(
                    first,
                    ["miss", expected],
                    "{compiler} {call:?} {}",
                    checkouts.sandbox.log()
                );
                assert_eq!(checkouts.run(compiler, &call), ["direct", "direct"]);
            }
        }
    }
}

/// `ninja -C build` leaves the variable as it was.
#[test]
fn a_variable_pwd_that_leads_elsewhere_does_not_count() {
    for compiler in compilers() {
        let mut checkouts = Checkouts::new(PLAIN);
        let call = [ABSOLUTE, &["-g", "-ffile-prefix-map=ROOT=."]].concat();
        checkouts.sandbox.set("PWD", "/");
        assert_eq!(checkouts.run(compiler, &call), ["miss", "direct"], "{compiler}");
        checkouts.sandbox.set("PWD", "/tmp");
        assert_eq!(checkouts.run(compiler, &call), ["direct", "direct"], "{compiler}");
        let link = checkouts.sandbox.path("link");
        symlink(checkouts.sandbox.path("one/build"), &link).unwrap();
        checkouts.sandbox.set("PWD", link.to_str().unwrap());
        assert_eq!(checkouts.run(compiler, &call), ["miss", "direct"], "{compiler}");
    }
}

#[test]
fn names_of_files_in_the_result_are_its_checkouts_own() {
    for compiler in compilers() {
        for (source, mapped) in [
            ("#include \"a.h\"\nconst char *f() { return NAME; }\n", true),
            ("int f() { return sizeof __FILE__; }\n", true),
            ("const char *f() { return __builtin_FILE(); }\n", false),
            ("int f() { return sizeof __BASE_FILE__; }\n", true),
            ("#include <assert.h>\nvoid f(int x) { assert(x); }\n", true),
        ] {
            let mut checkouts = Checkouts::new(source);
            assert_eq!(checkouts.run(compiler, ABSOLUTE), ["miss", "miss"], "{compiler} {source}");
            assert_eq!(checkouts.run(compiler, ABSOLUTE), ["direct", "direct"]);
            assert_eq!(checkouts.run(compiler, RELATIVE), ["miss", "direct"], "{source}");
            let mapping = [ABSOLUTE, &["-fmacro-prefix-map=ROOT=."]].concat();
            let second = checkouts.run(compiler, &mapping)[1];
            // gcc maps this name, too.
            if !source.contains("__BASE_FILE__") {
                assert_eq!(second == "direct", mapped, "{compiler} {source}");
            }
        }
    }
}

#[test]
fn messages_and_unknown_options_keep_a_result_in_its_checkout() {
    for compiler in compilers() {
        let warned = "int f(int x) { if (x = 1) return 2; return 3; }\n";
        let mut checkouts = Checkouts::new(warned);
        let wall = |call: &[&'static str]| [call, &["-Wall"]].concat();
        assert_eq!(checkouts.run(compiler, &wall(ABSOLUTE)), ["miss", "miss"]);
        assert_eq!(checkouts.run(compiler, &wall(ABSOLUTE)), ["direct", "direct"]);
        assert_eq!(checkouts.run(compiler, &wall(RELATIVE)), ["miss", "direct"]);
        let sanitized = [RELATIVE, &["-fsanitize=undefined"]].concat();
        assert_eq!(Checkouts::new(PLAIN).run(compiler, &sanitized), ["miss", "miss"]);
    }
}

#[test]
fn a_map_that_leaves_the_checkout_in_names_is_not_shared() {
    // Both directories stand below one base directory, and the map takes only what is above them.
    for compiler in compilers() {
        let source = "const char *f() { return __FILE__; }\n";
        let mut checkouts = Checkouts::new(source);
        let top = fs::canonicalize(checkouts.sandbox.work()).unwrap();
        let top = top.to_str().unwrap();
        checkouts.bases = top.to_owned();
        for option in ["-fmacro-prefix-map=", "-ffile-prefix-map="] {
            for old in [top.to_owned(), format!("{top}/"), top[..top.len() - 1].to_owned()] {
                let map = format!("{option}{old}=.");
                let call = [ABSOLUTE, &[&map, "-g"]].concat();
                assert_eq!(checkouts.run(compiler, &call), ["miss", "miss"], "{map}");
            }
        }
        // As one base directory above both it is as good as two.
        assert_eq!(Checkouts { ..checkouts }.run(compiler, RELATIVE), ["miss", "direct"]);
    }
}

#[test]
fn without_hash_dir_the_directory_does_not_count() {
    for compiler in compilers() {
        let sandbox = Sandbox::new();
        let compile = |place: &str, hash_dir: &str| {
            sandbox.write(&format!("{place}/a.c"), "int x;\n");
            let mut command = sandbox.command(larder_binary());
            command.current_dir(sandbox.path(place)).env("LARDER_HASH_DIR", hash_dir);
            assert!(command.args([compiler, "-g", "-c", "a.c"]).status().unwrap().success());
            sandbox.counts()
        };
        assert_eq!(compile("one", "1"), (0, 0, 1));
        assert_eq!(compile("two", "1"), (0, 0, 2));
        assert_eq!(compile("one", "0"), (0, 0, 3));
        assert_eq!(compile("two", "0"), (1, 0, 3));
    }
}

/// A setting and what it leaves out of the key: with it a change of that hits, without it misses.
#[test]
fn what_does_not_count_is_no_miss_and_everything_else_is() {
    for compiler in compilers() {
        let mut sandbox = sandbox();
        sandbox.check_cached(compiler, &[CALL, &["-DX=1"]].concat());
        assert_eq!(sandbox.check(compiler, &[CALL, &["-DX=2"]].concat()), "miss");
        sandbox.set("LARDER_IGNORE_OPTIONS", "-DX=* -DZ");
        assert_eq!(sandbox.check(compiler, &[CALL, &["-DX=3"]].concat()), "miss");
        assert_eq!(sandbox.check(compiler, &[CALL, &["-DX=4"]].concat()), "direct");
        assert_eq!(sandbox.check(compiler, &[CALL, &["-DZ"]].concat()), "direct");
        assert_eq!(sandbox.check(compiler, &[CALL, &["-DY=4"]].concat()), "miss");
        sandbox.unset("LARDER_IGNORE_OPTIONS");
        // Nobody else gets what was made with an option that did not count.
        assert_eq!(sandbox.check(compiler, CALL), "miss");
        let seed = |seed: &'static str| [CALL, &[seed]].concat();
        assert_eq!(sandbox.check(compiler, &seed("-frandom-seed=1")), "miss");
        assert_eq!(sandbox.check(compiler, &seed("-frandom-seed=2")), "miss");
        sandbox.set("LARDER_SLOPPINESS", "random_seed");
        assert_eq!(sandbox.check(compiler, &seed("-frandom-seed=3")), "miss");
        assert_eq!(sandbox.check(compiler, &seed("-frandom-seed=4")), "direct");
    }
}

#[test]
fn ignored_headers_do_not_count_and_others_do() {
    for compiler in compilers() {
        let mut sandbox = sandbox();
        sandbox.write("gen/build.h", "#define BUILD 1\n");
        sandbox.write("a.c", "#include \"h.h\"\n#include \"gen/build.h\"\nint x = VALUE;\n");
        sandbox.set(
            "LARDER_IGNORE_HEADERS",
            sandbox.path("gen").to_str().unwrap().to_owned().as_str(),
        );
        sandbox.check_cached(compiler, CALL);
        sandbox.write("gen/build.h", "#define BUILD 2\n");
        assert_eq!(sandbox.check(compiler, CALL), "direct");
        sandbox.write("h.h", "#define VALUE 2\n");
        assert_eq!(sandbox.check(compiler, CALL), "miss");
        sandbox.unset("LARDER_IGNORE_HEADERS");
        sandbox.write("gen/build.h", "#define BUILD 3\n");
        assert_ne!(sandbox.check(compiler, CALL), "direct");
    }
}

#[test]
fn extra_files_count_for_every_result() {
    let mut sandbox = sandbox();
    sandbox.write("extra", "1");
    sandbox.set(
        "LARDER_EXTRA_FILES_TO_HASH",
        sandbox.path("extra").to_str().unwrap().to_owned().as_str(),
    );
    sandbox.check_cached("gcc", CALL);
    sandbox.write("extra", "2");
    sandbox.check_cached("gcc", CALL);
    sandbox.write("extra", "1");
    assert_eq!(sandbox.check("gcc", CALL), "direct");
    fs::remove_file(sandbox.path("extra")).unwrap();
    assert_eq!(sandbox.check("gcc", CALL), "uncached");
    assert_eq!(sandbox.count("error_hashing_extra_file"), 1);
}

#[test]
fn a_locale_counts_unless_it_need_not() {
    let mut sandbox = sandbox();
    sandbox.check_cached("gcc", CALL);
    sandbox.set("LANG", "C.UTF-8");
    assert_eq!(sandbox.check("gcc", CALL), "miss");
    sandbox.set("LARDER_SLOPPINESS", "locale");
    assert_eq!(sandbox.check("gcc", CALL), "miss");
    sandbox.set("LANG", "C");
    assert_eq!(sandbox.check("gcc", CALL), "direct");
}

#[test]
fn time_macros_are_cached_only_if_they_need_not_be_right() {
    let mut sandbox = sandbox();
    sandbox.write("h.h", "#define VALUE sizeof __TIME__\n");
    assert_eq!(sandbox.check("gcc", CALL), "uncached");
    sandbox.set("LARDER_SLOPPINESS", "time_macros");
    sandbox.check_cached("gcc", CALL);
    sandbox.unset("LARDER_SLOPPINESS");
    assert_eq!(sandbox.check("gcc", CALL), "uncached");
}

#[test]
fn system_headers_count_unless_they_need_not() {
    let mut sandbox = sandbox();
    sandbox.write("a.c", "#include <stdio.h>\n#include \"h.h\"\nint x = VALUE;\n");
    let names_system = |sandbox: &Sandbox| {
        sandbox.check_cached("gcc", &["-c", "a.c", "-o", "a.o"]);
        let manifest = |bytes: &[u8]| bytes.windows(20).any(|part| part == b"/usr/include/stdio.h");
        let log = fs::read_dir(sandbox.store().join("log")).unwrap();
        log.into_iter().any(|file| manifest(&fs::read(file.unwrap().path()).unwrap()))
    };
    sandbox.set("LARDER_COMPRESSION_LEVEL", "-50");
    sandbox.set("LARDER_SLOPPINESS", "system_headers");
    assert!(!names_system(&sandbox));
    sandbox.unset("LARDER_SLOPPINESS");
    sandbox.write("h.h", "#define VALUE 2\n");
    assert!(names_system(&sandbox));
}

/// An object of two megabytes that compress well.
const LARGE: &str = "char large[2 << 20] = {1};\n";

#[test]
fn results_are_stored_as_they_are_at_level_0() {
    let mut sandbox = sandbox();
    let mut stored = |level: &str, text: &str| {
        sandbox.write("a.c", &format!("{LARGE}{text}"));
        sandbox.set("LARDER_COMPRESSION_LEVEL", level);
        let before = sandbox.count("engine_put_bytes");
        sandbox.check_cached("gcc", CALL);
        sandbox.count("engine_put_bytes") - before
    };
    let (packed, raw) = (stored("1", "int one;\n"), stored("0", "int other;\n"));
    assert!(packed < 1 << 20 && raw > 2 << 20, "{packed} and {raw} bytes");
    // A result is read as it stands, whatever the level is now.
    sandbox.set("LARDER_COMPRESSION_LEVEL", "1");
    assert_eq!(sandbox.check("gcc", CALL), "direct");
}

/// Large objects are decompressed, or taken from a map, while they are written.
#[test]
fn a_large_result_that_is_damaged_is_a_miss_and_leaves_nothing() {
    for level in ["0", "1"] {
        let mut sandbox = sandbox_with(&[("LARDER_COMPRESSION_LEVEL", level)]);
        sandbox.set("LARDER_JANITOR", "off");
        let numbers = ".data\\n.set i, 0\\n.rept 524288\\n.long i\\n.set i, i + 1\\n.endr";
        sandbox.write("a.c", &format!("__asm__(\"{numbers}\");\n"));
        sandbox.check_cached("gcc", CALL);
        let log = fs::read_dir(sandbox.store().join("log")).unwrap();
        let path = log.map(|file| file.unwrap().path()).next().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        let is_result = |head: &[u8]| head.starts_with(b"LRDB") && head[6] == 1;
        let body = bytes.windows(7).rposition(is_result).unwrap();
        // In the object.
        bytes[body + (100 << 10)] ^= 0x55;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(sandbox.check("gcc", CALL), "miss", "level {level}\n{}", sandbox.log());
        assert_eq!(sandbox.count("store_corrupt"), 1);
        assert_eq!(sandbox.check("gcc", CALL), "direct");
    }
}

/// The header is newer than the compile, as one that a build writes at the same time.
#[test]
fn a_header_of_the_future_counts_unless_its_times_need_not() {
    let mut sandbox = sandbox();
    let file = fs::File::options().write(true).open(sandbox.path("h.h")).unwrap();
    let future = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    file.set_modified(future).unwrap();
    super::wait_a_tick();
    assert_eq!(sandbox.check("gcc", CALL), "uncached");
    sandbox.set("LARDER_SLOPPINESS", "include_file_ctime");
    assert_eq!(sandbox.check("gcc", CALL), "uncached");
    sandbox.set("LARDER_SLOPPINESS", "include_file_mtime");
    sandbox.check_cached("gcc", CALL);
}

/// A copy of the compiler that can be changed; it finds its parts where the real one has them.
fn own_compiler(sandbox: &mut Sandbox) -> std::path::PathBuf {
    let real = std::process::Command::new("gcc").arg("-print-prog-name=cc1").output().unwrap();
    let real = String::from_utf8(real.stdout).unwrap();
    let parts = Path::new(real.trim()).parent().unwrap().to_owned();
    let copy = sandbox.path("bin/gcc");
    let path = std::env::var("PATH").unwrap();
    let found = std::env::split_paths(&path).map(|dir| dir.join("gcc")).find(|path| path.exists());
    install(&fs::canonicalize(found.unwrap()).unwrap(), &copy);
    sandbox.set("COMPILER_PATH", parts.to_str().unwrap());
    copy
}

/// Bytes behind the end of a program change nothing but the program.
fn grow(program: &Path) {
    let mut bytes = fs::read(program).unwrap();
    bytes.push(0);
    let grown = program.with_extension("grown");
    fs::write(&grown, bytes).unwrap();
    install(&grown, program);
    super::wait_a_tick();
}

#[test]
fn compilers_are_told_apart_as_the_setting_says() {
    let mut sandbox = sandbox();
    let copy = own_compiler(&mut sandbox);
    let compiler = copy.to_str().unwrap();
    let touch = || {
        assert!(std::process::Command::new("touch").arg(&copy).status().unwrap().success());
        super::wait_a_tick();
    };
    for (check, after_touch, after_change) in [
        ("content", "direct", "miss"),
        ("mtime", "miss", "miss"),
        ("none", "direct", "direct"),
        ("string:mine", "direct", "direct"),
        ("wc -c %compiler%", "direct", "miss"),
        ("false", "uncached", "uncached"),
    ] {
        sandbox.set("LARDER_COMPILER_CHECK", check);
        if check != "false" {
            sandbox.check_cached(compiler, CALL);
        }
        touch();
        assert_eq!(sandbox.check(compiler, CALL), after_touch, "{check}");
        grow(&copy);
        assert_eq!(sandbox.check(compiler, CALL), after_change, "{check}");
    }
    sandbox.set("LARDER_COMPILER_CHECK", "string:yours");
    assert_eq!(sandbox.check(compiler, CALL), "miss");
}

/// Puts a program in place by a process of its own: a descriptor that this one has for writing may
/// be inherited by what another test starts, and then the program is busy.
fn install(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let mut command = std::process::Command::new("install");
    assert!(command.args(["-m", "755"]).args([from, to]).status().unwrap().success());
}

/// A script at `bin/NAME` of the sandbox; its path.
fn script(sandbox: &Sandbox, name: &str, text: &str) -> String {
    sandbox.write(name, &format!("#!/bin/sh\n{text}\n"));
    let path = sandbox.path(&format!("bin/{name}"));
    install(&sandbox.path(name), &path);
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_prefix_stands_before_the_compiler_on_a_miss_and_not_on_a_hit() {
    for compiler in compilers() {
        let mut sandbox = sandbox();
        let told = sandbox.path("told");
        let text = format!("echo $LARDER_DISABLE $0 >> {}\nexec \"$@\"", told.display());
        let prefixes = ["whole", "text"].map(|name| script(&sandbox, name, &text));
        let told = || {
            let text = fs::read_to_string(&told).unwrap_or_default();
            let _ = fs::remove_file(&told);
            let names = text.lines().map(|line| line.rsplit('/').next().unwrap().to_owned());
            assert!(text.lines().all(|line| line.starts_with("1 ")), "{text}");
            names.collect::<Vec<_>>().join(" ")
        };
        sandbox.set("LARDER_PREFIX_COMMAND", &prefixes[0]);
        sandbox.set("LARDER_PREFIX_COMMAND_CPP", &prefixes[1]);
        assert_eq!((sandbox.check(compiler, CALL), told().as_str()), ("miss", "whole"));
        assert_eq!((sandbox.check(compiler, CALL), told().as_str()), ("direct", ""));
        sandbox.write("h.h", "#define VALUE 2\n");
        assert_eq!((sandbox.check(compiler, CALL), told().as_str()), ("miss", "text whole"));
        sandbox.write("h.h", "#define VALUE 2 // two\n");
        assert_eq!((sandbox.check(compiler, CALL), told().as_str()), ("preprocessed", "text"));
        // What is not cached goes the same way.
        assert_eq!(sandbox.check(compiler, &["-E", "a.c"]), "uncached");
        assert_eq!(told(), "whole");
        sandbox.set("LARDER_PREFIX_COMMAND", "/nonexistent/prefix");
        assert_eq!(sandbox.check(compiler, &["-E", "a.c"]), "uncached");
        sandbox.write("h.h", "#define VALUE 3\n");
        assert_eq!(sandbox.check(compiler, CALL), "uncached");
    }
}

#[test]
fn what_a_prefix_writes_to_its_own_descriptor_is_seen_once_and_never_stored() {
    let mut sandbox = sandbox();
    // Not every shell knows descriptors of two digits.
    let text = "echo compiling here > /proc/$$/fd/$UNCACHED_ERR_FD\nexec \"$@\"";
    let prefix = script(&sandbox, "prefix", text);
    sandbox.set("LARDER_PREFIX_COMMAND", &prefix);
    let plain = sandbox.plain("gcc", CALL);
    let first = sandbox.compile("gcc", CALL);
    assert_eq!(first.stderr, "compiling here\n");
    assert_eq!((&first.files, first.status), (&plain.files, plain.status));
    assert_eq!(sandbox.compile("gcc", CALL), plain);
    assert_eq!(sandbox.counts(), (1, 0, 1));
}

/// A distcc server on the loopback; killed when this is dropped.
struct Server(std::process::Child);

impl Server {
    /// At a port of its own; `None` where distcc is not installed.
    fn start(log: &Path) -> Option<(Server, String)> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = port.to_string();
        let mut command = std::process::Command::new("distccd");
        command.args(["--no-detach", "--daemon", "--listen", "127.0.0.1", "--port", &port]);
        command.args(["--allow", "127.0.0.1", "--jobs", "2", "--enable-tcp-insecure"]);
        command.arg("--log-stderr").stderr(fs::File::create(log).unwrap());
        let server = command.spawn().ok()?;
        let address = format!("127.0.0.1:{port}");
        let server = Server(server);
        for _ in 0..100 {
            if std::net::TcpStream::connect(&address).is_ok() {
                return Some((server, address));
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("distccd does not listen: {}", fs::read_to_string(log).unwrap());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its own children end with it when they are asked to, and not when it is killed.
        let pid = self.0.id().to_string();
        let asked = std::process::Command::new("kill").arg(&pid).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

#[test]
fn distcc_compiles_what_is_not_in_the_store() {
    let mut sandbox = sandbox();
    let log = sandbox.dir.path().join("distccd.log");
    let Some((_server, address)) = Server::start(&log) else {
        println!("skipped: no distcc");
        return;
    };
    let state = sandbox.dir.path().join("distcc");
    fs::create_dir(&state).unwrap();
    sandbox.set("DISTCC_DIR", state.to_str().unwrap());
    sandbox.set("DISTCC_HOSTS", &address);
    sandbox.set("DISTCC_FALLBACK", "0");
    sandbox.set("LARDER_PREFIX_COMMAND", "distcc");
    let served = || fs::read_to_string(&log).unwrap().matches("COMPILE_OK").count();
    for (count, compiler) in compilers().enumerate() {
        let call = [CALL, &["-O2"]].concat();
        sandbox.check_cached(compiler, &call);
        assert_eq!(served(), count + 1, "{}", fs::read_to_string(&log).unwrap());
    }
}

#[test]
fn a_shared_store_has_the_modes_that_its_umask_leaves() {
    use std::os::unix::fs::PermissionsExt;
    for (umask, file, directory) in [(None, 0o600, 0o700), (Some("007"), 0o660, 0o770)] {
        let mut sandbox = sandbox();
        umask.iter().for_each(|umask| sandbox.set("LARDER_UMASK", umask));
        sandbox.check_cached("gcc", CALL);
        let mut paths = vec![sandbox.store()];
        let mut count = 0;
        while let Some(path) = paths.pop() {
            let facts = fs::metadata(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let expected = match facts.is_dir() {
                true => directory,
                // Members of a shared store need not trust each other's digests, nor show their
                // command lines.
                false if name.starts_with("digests-") || name.starts_with("calls-") => 0o600,
                false => file,
            };
            assert_eq!(facts.permissions().mode() & 0o777, expected, "{}", path.display());
            count += 1;
            if facts.is_dir() {
                paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        assert!(count > 5);
    }
}

#[test]
fn a_directory_has_settings_of_its_own() {
    let mut sandbox = sandbox();
    sandbox
        .write(".larder.toml", "ignore_options = [\"-DX=*\"]\nprefix_command = \"/bin/false\"\n");
    sandbox.check_cached("gcc", &[CALL, &["-DX=1"]].concat());
    assert_eq!(sandbox.check("gcc", &[CALL, &["-DX=2"]].concat()), "direct");
    let shown = |sandbox: &Sandbox| String::from_utf8(sandbox.larder(&["config"]).stdout).unwrap();
    let file = fs::canonicalize(sandbox.path(".larder.toml")).unwrap();
    let text = shown(&sandbox);
    assert!(
        text.contains(&format!("ignore_options = [\"-DX=*\"]  ({})", file.display())),
        "{text}"
    );
    assert!(text.contains("prefix_command = []  (default)"), "{text}");
    assert!(text.contains("is ignored: it is in no directory of safe_dirs"), "{text}");
    sandbox.set("LARDER_SAFE_DIRS", file.parent().unwrap().to_str().unwrap());
    assert!(shown(&sandbox).contains("prefix_command = [\"/bin/false\"]"));
    sandbox.unset("LARDER_SAFE_DIRS");
    // The environment wins.
    sandbox.set("LARDER_IGNORE_OPTIONS", "");
    assert_eq!(sandbox.check("gcc", &[CALL, &["-DX=2"]].concat()), "miss");
    sandbox.unset("LARDER_IGNORE_OPTIONS");
    // A file that others may write is theirs.
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o664)).unwrap();
    assert_eq!(sandbox.check("gcc", &[CALL, &["-DX=2"]].concat()), "direct");
    assert_eq!(sandbox.check("gcc", &[CALL, &["-DX=3"]].concat()), "miss");
    assert!(shown(&sandbox).contains("is not used: others may write it"));
}
