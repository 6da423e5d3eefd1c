//! The command line of `larder` itself.

use std::os::unix::fs::symlink;

use larder_tests::larder_binary;

use super::Sandbox;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn help_and_version_are_told_on_stdout() {
    let sandbox = Sandbox::new();
    let help = sandbox.larder(&["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("larder COMPILER ARGUMENTS"));
    let version = sandbox.larder(&["--version"]);
    assert!(text(&version.stdout).starts_with("larder "));
}

#[test]
fn wrong_use_is_status_2_and_says_what_would_be_right() {
    let sandbox = Sandbox::new();
    for wrong in [&[][..], &["--nonsense"], &["stats", "--nonsense"], &["zero", "x"], &[""]] {
        let output = sandbox.larder(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        let told = text(&output.stderr);
        assert!(told.contains("`larder") && told.contains("--help`"), "{wrong:?}: {told}");
    }
    let missing = sandbox.larder(&["no-such-compiler", "-c", "a.c"]);
    assert_eq!(missing.status.code(), Some(127));
}

#[test]
fn a_program_that_is_no_compiler_just_runs() {
    let sandbox = Sandbox::new();
    let output = sandbox.larder(&["sh", "-c", "echo out; exit 7"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(7), "out\n"));
}

#[test]
fn a_link_named_like_a_compiler_is_that_compiler() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    sandbox.write("bin/readme", "");
    symlink(larder_binary(), sandbox.path("bin/gcc")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", sandbox.path("bin").display());
    for _ in 0..2 {
        let mut command = sandbox.command(&sandbox.path("bin/gcc"));
        command.env("PATH", &path).args(["-c", "a.c"]);
        assert!(command.status().unwrap().success());
    }
    assert_eq!(sandbox.counts(), (1, 0, 1), "{}", sandbox.log());
}

/// What Debian's packages of gcc 12, clang 14 and musl install as programs that compile; the second
/// is whether larder caches its calls. Behind a script it caches the script's own call of gcc,
/// unless that names a specs file with more than options, as musl's does.
const COMPILER_NAMES: &[(&str, &str)] = &[
    ("c++", "cached"),
    ("c89", "script"),
    ("c89-gcc", "script"),
    ("c99", "script"),
    ("c99-gcc", "script"),
    ("cc", "cached"),
    ("clang", "cached"),
    ("clang++", "cached"),
    ("clang++-14", "cached"),
    ("clang-14", "cached"),
    ("g++", "cached"),
    ("g++-12", "cached"),
    ("gcc", "cached"),
    ("gcc-12", "cached"),
    ("musl-gcc", "uncached"),
    ("x86_64-linux-gnu-g++", "cached"),
    ("x86_64-linux-gnu-g++-12", "cached"),
    ("x86_64-linux-gnu-gcc", "cached"),
    ("x86_64-linux-gnu-gcc-12", "cached"),
    ("x86_64-linux-musl-gcc", "uncached"),
];

/// And as programs that do not.
const COMPANION_NAMES: &[&str] = &[
    "asan_symbolize-14",
    "clang-cpp-14",
    "cpp",
    "cpp-12",
    "gcc-ar",
    "gcc-ar-12",
    "gcc-nm",
    "gcc-nm-12",
    "gcc-ranlib",
    "gcc-ranlib-12",
    "gcov",
    "gcov-12",
    "gcov-dump",
    "gcov-dump-12",
    "gcov-tool",
    "gcov-tool-12",
    "lto-dump",
    "lto-dump-12",
    "x86_64-linux-gnu-cpp",
    "x86_64-linux-gnu-cpp-12",
    "x86_64-linux-gnu-gcc-ar",
    "x86_64-linux-gnu-gcc-nm-12",
    "x86_64-linux-gnu-gcov",
    "x86_64-linux-gnu-lto-dump",
];

fn is_installed(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap();
    let is_there = std::env::split_paths(&path).any(|directory| directory.join(name).exists());
    if !is_there {
        println!("skipped: no {name}");
    }
    is_there
}

/// A sandbox with a link to larder under every name, and the `PATH` that begins with them.
fn linked() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    sandbox.write("bin/readme", "");
    let compilers = COMPILER_NAMES.iter().map(|(name, _)| *name);
    for name in compilers.chain(COMPANION_NAMES.iter().copied()) {
        symlink(larder_binary(), sandbox.path("bin").join(name)).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", sandbox.path("bin").display());
    (sandbox, path)
}

/// The story: a link called `c99-gcc` was taken for larder's own command line, and failed.
#[test]
fn every_name_of_a_compiler_works_as_a_link_and_as_the_first_word() {
    for (name, how) in COMPILER_NAMES.iter().filter(|(name, _)| is_installed(name)) {
        let (sandbox, path) = linked();
        sandbox.write("a.c", "int f(void) { return 1; }\n");
        let call = ["-c", "a.c"];
        let expected = sandbox.plain(name, &call);
        assert_eq!(expected.status, Some(0), "{name}");
        for round in 0..2 {
            let mut command = sandbox.command(&sandbox.path("bin").join(name));
            let left = sandbox.left(command.env("PATH", &path).args(call));
            assert_eq!(left, expected, "{name}");
            let counted = if *how == "uncached" { (0, 0, 0) } else { (round, 0, 1) };
            assert_eq!(sandbox.counts(), counted, "{name} {}", sandbox.log());
        }
        let before = sandbox.counts();
        for _ in 0..2 {
            assert_eq!(sandbox.compile(name, &call), expected, "{name}");
        }
        let (hits, _, misses) = sandbox.counts();
        let news = hits + misses - before.0 - before.2;
        assert_eq!(news, if *how == "cached" { 2 } else { 0 }, "{name}");
    }
}

#[test]
fn every_program_that_comes_with_a_compiler_runs_as_it_is() {
    let names = COMPILER_NAMES.iter().map(|(name, _)| *name);
    let (sandbox, path) = linked();
    for name in names.chain(COMPANION_NAMES.iter().copied()).filter(|name| is_installed(name)) {
        let before = sandbox.count("called_for_preprocessing");
        for option in ["--version", "--no-such-option"] {
            let expected = sandbox.plain(name, &[option]);
            let mut command = sandbox.command(&sandbox.path("bin").join(name));
            let left = sandbox.left(command.env("PATH", &path).arg(option));
            assert_eq!((left.status, &left.stdout), (expected.status, &expected.stdout), "{name}");
            // Behind its complaint `lto-dump` tells how long it took; a link gives the whole path.
            let told =
                |stderr: &str| stderr.lines().next().unwrap_or_default().replace("/usr/bin/", "");
            assert_eq!(told(&left.stderr), told(&expected.stderr), "{name}");
            let first = sandbox.compile(name, &[option]);
            assert_eq!((first.status, first.stdout), (expected.status, expected.stdout), "{name}");
            assert_eq!(told(&first.stderr), told(&expected.stderr), "{name}");
        }
        let counted = sandbox.count("called_for_preprocessing") - before;
        assert_eq!(counted, if name.contains("cpp") { 4 } else { 0 }, "{name}");
    }
}

#[test]
fn a_link_of_an_unknown_name_says_what_to_do() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    symlink(larder_binary(), sandbox.path("nvcc")).unwrap();
    let run = |words: &[&str]| sandbox.command(&sandbox.path("nvcc")).args(words).output().unwrap();
    for words in [&[][..], &["-c", "a.c"], &["a.c", "-o", "a"]] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let told = text(&output.stderr);
        assert!(told.contains("called as nvcc") && told.contains("`larder nvcc`"), "{told}");
    }
    // What is certain to be meant for larder still is.
    assert!(run(&["--version"]).status.success() && run(&["stats"]).status.success());
    assert!(run(&["gcc", "-c", "a.c"]).status.success());
    assert_eq!(sandbox.counts(), (0, 0, 1));
}

#[test]
fn larder_called_through_larder_is_one_wrapper() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    let larder = larder_binary().to_str().unwrap();
    assert!(sandbox.larder(&["larder", larder, "gcc", "-c", "a.c"]).status.success());
    assert_eq!(sandbox.counts(), (0, 0, 1));
}

#[test]
fn links_and_preprocessing_run_uncached_and_are_counted() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int main(void) { return 0; }\n");
    assert!(sandbox.larder(&["gcc", "a.c", "-o", "program"]).status.success());
    let output = sandbox.larder(&["gcc", "-E", "a.c"]);
    assert!(text(&output.stdout).contains("int main"));
    assert_eq!(sandbox.count("called_for_link"), 1);
    assert_eq!(sandbox.count("called_for_preprocessing"), 1);
}

#[test]
fn the_commands_for_people_work() {
    let mut sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    sandbox.check_cached("gcc", &["-c", "a.c"]);
    let run = |sandbox: &Sandbox, command: &str| {
        let output = sandbox.larder(&[command]);
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    assert!(run(&sandbox, "stats").contains("1 (50.0 %)"));
    assert!(run(&sandbox, "verify").contains("everything is whole"));
    assert!(run(&sandbox, "doctor").contains("ok       superblock"));
    run(&sandbox, "janitor");
    run(&sandbox, "checkpoint");
    assert_eq!(sandbox.check("gcc", &["-c", "a.c"]), "direct");
    run(&sandbox, "zero");
    assert_eq!(sandbox.counts(), (0, 0, 0));
    run(&sandbox, "clear");
    assert_eq!(sandbox.check("gcc", &["-c", "a.c"]), "miss");
    sandbox.set("LARDER_MAX_SIZE", "nonsense");
    sandbox.set("LARDER_NONSENSE", "1");
    let config = run(&sandbox, "config");
    assert!(config.contains("max_size = 10737418240  (default)"), "{config}");
    assert!(config.contains("# LARDER_MAX_SIZE") && config.contains("# LARDER_NONSENSE"));
}
