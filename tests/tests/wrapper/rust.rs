//! Crates: what rustc makes and says, and what larder makes and says in its place.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use larder_tests::larder_binary;

use super::{Sandbox, wait_a_tick};

/// What a call leaves in its output directory, with modes, and what it says.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Left {
    pub(super) status: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) files: BTreeMap<String, (u32, Vec<u8>)>,
}

/// The directory of the compiler itself, not of rustup's proxies.
pub(super) fn programs() -> String {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let root = String::from_utf8(output.stdout).unwrap();
    format!("{}/bin", root.trim())
}

/// The compiler itself.
pub(super) fn rustc() -> String {
    format!("{}/rustc", programs())
}

/// A call of the compiler, through larder or not, to which its words are to be added.
pub(super) fn compiler(sandbox: &Sandbox, with_larder: bool) -> Command {
    program(sandbox, with_larder, &rustc())
}

/// The same for any program.
pub(super) fn program(sandbox: &Sandbox, with_larder: bool, program: &str) -> Command {
    if !with_larder {
        return sandbox.command(Path::new(program));
    }
    let mut command = sandbox.command(larder_binary());
    command.arg(program);
    command
}

/// Runs a command that makes files in a directory, after what stood there is gone.
pub(super) fn left(command: &mut Command, out: &Path) -> Left {
    let _ = fs::remove_dir_all(out);
    fs::create_dir(out).unwrap();
    let output = command.output().unwrap();
    let entries = fs::read_dir(out).unwrap().map(Result::unwrap);
    let files = entries.map(|entry| {
        let mode = entry.metadata().unwrap().permissions().mode();
        (entry.file_name().into_string().unwrap(), (mode, fs::read(entry.path()).unwrap()))
    });
    Left {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        files: files.collect(),
    }
}

pub(super) fn run(sandbox: &Sandbox, with_larder: bool, line: &str) -> Left {
    let mut command = compiler(sandbox, with_larder);
    left(command.args(line.split_whitespace()), &sandbox.path("out"))
}

/// Compiles with and without larder, and tells what was counted.
#[track_caller]
pub(super) fn check(sandbox: &Sandbox, line: &str) -> &'static str {
    let expected = run(sandbox, false, line);
    let before = sandbox.counts();
    let left = run(sandbox, true, line);
    assert!(left == expected, "{line}\n{}\n{}\n{}", left.stderr, expected.stderr, sandbox.log());
    let after = sandbox.counts();
    match (after.0 - before.0, after.2 - before.2) {
        (1, 0) => "hit",
        (0, 1) => "miss",
        (0, 0) => "uncached",
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(super) fn check_cached(sandbox: &Sandbox, line: &str) {
    assert_eq!(check(sandbox, line), "miss", "{line}\n{}", sandbox.log());
    assert_eq!(check(sandbox, line), "hit", "{line}\n{}", sandbox.log());
}

pub(super) const LIB: &str = "--crate-name a a.rs --edition=2021 --crate-type lib \
                   --emit=dep-info,metadata,link --out-dir out";

pub(super) fn library(text: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.rs", text);
    wait_a_tick();
    sandbox
}

/// Compiles a crate into `deps`, without larder.
pub(super) fn dependency(sandbox: &Sandbox, name: &str, text: &str) {
    sandbox.write(&format!("{name}.rs"), text);
    let source = format!("{name}.rs");
    let call = ["--crate-name", name, &source, "--crate-type", "lib", "--out-dir", "deps"];
    let rustc = rustc();
    let mut command = sandbox.command(Path::new(&rustc));
    assert!(command.args(call).status().unwrap().success());
    wait_a_tick();
}

#[test]
fn everything_that_is_made_of_a_library_comes_back() {
    for more in [
        "",
        " -g",
        " -C opt-level=3 -C codegen-units=2",
        " -g -C split-debuginfo=unpacked",
        " --error-format=json --json=artifacts,diagnostic-rendered-ansi",
        " -C extra-filename=-0123456789abcdef -C metadata=0123456789abcdef",
    ] {
        let sandbox = library("pub fn f() -> u32 { 1 }\npub fn g<T: Copy>(t: T) -> T { t }\n");
        check_cached(&sandbox, &format!("{LIB}{more}"));
    }
    for emit in ["metadata", "dep-info,metadata", "asm", "llvm-ir,obj", "mir,llvm-bc,dep-info"] {
        let sandbox = library("pub fn f() -> u32 { 1 }\n");
        let line = format!("--crate-name a a.rs --crate-type lib --emit={emit} --out-dir out");
        check_cached(&sandbox, &line);
    }
}

#[test]
fn what_rustc_says_is_said_again() {
    let sandbox = library("pub fn f() { let unused = 1; }\n");
    check_cached(&sandbox, LIB);
    let json = " --error-format=json --json=artifacts,diagnostic-rendered-ansi";
    check_cached(&sandbox, &format!("{LIB}{json}"));
    let said = run(&sandbox, true, &format!("{LIB}{json}")).stderr;
    assert!(said.contains("unused variable") && said.contains("\"artifact\":\"out/liba.rlib\""));
    // Messages for another width are others; where there are none, the width does not matter.
    assert_eq!(check(&sandbox, &format!("{LIB}{json} --diagnostic-width=40")), "miss");
    sandbox.write("a.rs", "pub fn f() {}\n");
    wait_a_tick();
    check_cached(&sandbox, &format!("{LIB}{json}"));
    assert_eq!(check(&sandbox, &format!("{LIB}{json} --diagnostic-width=40")), "hit");
}

#[test]
fn files_and_variables_that_the_source_reads_count() {
    let mut sandbox = library(
        "mod m;\npub const T: &str = include_str!(\"t.txt\");\n\
         pub const V: Option<&str> = option_env!(\"VALUE\");\n",
    );
    sandbox.write("m.rs", "pub fn f() {}\n");
    sandbox.write("t.txt", "one");
    wait_a_tick();
    check_cached(&sandbox, LIB);
    for (name, text) in [("m.rs", "pub fn f() {}\npub fn g() {}\n"), ("t.txt", "two")] {
        sandbox.write(name, text);
        wait_a_tick();
        check_cached(&sandbox, LIB);
    }
    for value in ["1", "2", ""] {
        sandbox.set("VALUE", value);
        check_cached(&sandbox, LIB);
    }
    sandbox.set("VALUE", "1");
    assert_eq!(check(&sandbox, LIB), "hit");
    sandbox.unset("VALUE");
    assert_eq!(check(&sandbox, LIB), "hit");
    // A module that is there twice is an error.
    sandbox.write("m/mod.rs", "");
    wait_a_tick();
    assert_eq!(check(&sandbox, LIB), "uncached");
}

#[test]
fn what_the_command_line_says_counts() {
    let text = "#[cfg(one)]\npub fn one() {}\n#[cfg(two)]\npub fn two() {}\n\
                #[cfg(debug_assertions)]\npub fn debug() {}\npub fn unused() { let x = 1; }\n";
    let sandbox = library(text);
    let mut known = Vec::new();
    for more in [
        "",
        " --cfg one",
        " --cfg two",
        " --cfg one --cfg two",
        " -C debug-assertions=off",
        " -C opt-level=1",
        " -C metadata=x",
        " -O",
        " -A unused",
        " -D unused",
        " --cap-lints allow",
        " --check-cfg cfg(one)",
        " --remap-path-prefix=a.rs=b.rs",
        " -C panic=abort",
        " -C target-cpu=x86-64",
        " -C target-cpu=native",
    ] {
        let line = format!("{LIB}{more}");
        let counted = check(&sandbox, &line);
        assert_eq!(counted, if more == " -D unused" { "uncached" } else { "miss" }, "{more}");
        known.push(line);
    }
    for line in known.iter().filter(|line| !line.ends_with("-D unused")) {
        assert_eq!(check(&sandbox, line), "hit", "{line}");
    }
}

/// The story: only the sorted contents of externs were hashed elsewhere, so that a crate with
/// two of them swapped got the code of the other one.
#[test]
fn externs_count_by_name_and_contents() {
    let sandbox = library("pub fn f() -> u32 { one::v() * 10 + two::v() }\n");
    dependency(&sandbox, "x1", "#[inline] pub fn v() -> u32 { 1 }\n");
    dependency(&sandbox, "x2", "#[inline] pub fn v() -> u32 { 2 }\n");
    let with = |one: &str, two: &str| {
        format!(
            "{LIB} -C opt-level=2 --extern one=deps/lib{one}.rlib --extern two=deps/lib{two}.rlib"
        )
    };
    check_cached(&sandbox, &with("x1", "x2"));
    check_cached(&sandbox, &with("x2", "x1"));
    assert_eq!(check(&sandbox, &with("x1", "x2")), "hit");
    let noprelude = with("x1", "x2").replace("--extern one", "--extern noprelude:one");
    assert_ne!(check(&sandbox, &format!("{noprelude} -Z unstable-options")), "hit");
    dependency(&sandbox, "x1", "#[inline] pub fn v() -> u32 { 3 }\n");
    check_cached(&sandbox, &with("x1", "x2"));
    // The same file elsewhere is the same crate.
    fs::create_dir(sandbox.path("other")).unwrap();
    for name in ["libx1.rlib", "libx2.rlib"] {
        fs::copy(sandbox.path("deps").join(name), sandbox.path("other").join(name)).unwrap();
    }
    wait_a_tick();
    assert_eq!(check(&sandbox, &with("x1", "x2").replace("deps/", "other/")), "hit");
}

/// The story: an archive that the source or a modifier names was bundled in an old state.
#[test]
fn native_archives_count() {
    for (text, option) in [
        ("#[link(name = \"nat\", kind = \"static\")]\nextern \"C\" { pub fn n(); }\n", ""),
        ("extern \"C\" { pub fn n(); }\n", " -l static=nat"),
        ("extern \"C\" { pub fn n(); }\n", " -l static:+whole-archive=nat"),
    ] {
        let sandbox = library(text);
        for value in 1..3 {
            sandbox.write("n.c", &format!("int n(void) {{ return {value}; }}\n"));
            let made = |program: &str, words: &[&str]| {
                let status = sandbox.command(Path::new(program)).args(words).status();
                assert!(status.unwrap().success(), "{program}");
            };
            made("gcc", &["-c", "n.c", "-o", "n.o"]);
            fs::create_dir_all(sandbox.path("nat")).unwrap();
            let _ = fs::remove_file(sandbox.path("nat/libnat.a"));
            made("ar", &["rcsD", "nat/libnat.a", "n.o"]);
            wait_a_tick();
            check_cached(&sandbox, &format!("{LIB} -L native=nat{option}"));
        }
    }
}

/// rustc follows a thin archive to its members, of which nothing tells.
#[test]
fn a_thin_archive_is_not_known() {
    let sandbox = library("extern \"C\" { pub fn n(); }\n");
    fs::create_dir_all(sandbox.path("nat")).unwrap();
    for value in 1..3 {
        sandbox.write("n.c", &format!("int n(void) {{ return {value}; }}\n"));
        for words in
            [&["gcc", "-c", "n.c", "-o", "n.o"][..], &["ar", "rcsDT", "nat/libnat.a", "n.o"]]
        {
            let status = sandbox.command(Path::new(words[0])).args(&words[1..]).status();
            assert!(status.unwrap().success(), "{words:?}");
        }
        wait_a_tick();
        let line = format!("{LIB} -L native=nat -l static=nat");
        for _ in 0..2 {
            assert_ne!(check(&sandbox, &line), "hit", "{}", sandbox.log());
        }
    }
    assert_eq!(sandbox.count("called_for_link"), 4, "{}", sandbox.log());
}

#[test]
fn another_output_directory_gets_the_same_files_under_its_own_name() {
    let sandbox = library("pub fn f() { let unused = 1; }\n");
    let json = " --error-format=json --json=artifacts";
    let line = format!("{LIB}{json}");
    check_cached(&sandbox, &line);
    let elsewhere = sandbox.path("out").display().to_string();
    let absolute = line.replace("--out-dir out", &format!("--out-dir {elsewhere}"));
    assert_eq!(check(&sandbox, &absolute), "hit");
}

#[test]
fn what_is_not_cached_runs_as_without_larder() {
    let sandbox = library("pub fn f() {}\n");
    sandbox.write("main.rs", "fn main() { println!(\"x\"); }\n");
    sandbox.write("bad.rs", "fn main() { 1 }\n");
    wait_a_tick();
    for (line, counter) in [
        (
            "--crate-name m main.rs --crate-type bin --out-dir out -C link-arg=-Wl,-Map=m.map",
            "called_for_link",
        ),
        ("--crate-name b bad.rs --crate-type lib --out-dir out", "compile_failed"),
        ("--print crate-name a.rs", "unsupported_compiler_option"),
        (
            "--crate-name a a.rs --crate-type lib --out-dir out -C incremental=inc",
            "unsupported_compiler_option",
        ),
    ] {
        let before = sandbox.count(counter);
        let expected = run(&sandbox, false, line);
        let left = run(&sandbox, true, line);
        assert_eq!(left.status, expected.status, "{line}");
        assert_eq!((&left.stdout, &left.stderr), (&expected.stdout, &expected.stderr), "{line}");
        assert!(left.files.keys().eq(expected.files.keys()), "{line}");
        assert_eq!(sandbox.count(counter), before + 1, "{line}\n{}", sandbox.log());
    }
}

/// cargo gives its outputs further names by links, which keep what they have.
#[test]
fn a_link_to_an_old_output_keeps_its_contents() {
    let sandbox = library("pub fn f() {}\n");
    check_cached(&sandbox, LIB);
    run(&sandbox, true, LIB);
    fs::write(sandbox.path("out/liba.rlib"), "old").unwrap();
    fs::hard_link(sandbox.path("out/liba.rlib"), sandbox.path("link")).unwrap();
    let rustc = rustc();
    let mut command = sandbox.command(larder_binary());
    assert!(command.arg(&rustc).args(LIB.split(' ')).status().unwrap().success());
    assert_eq!(fs::read_to_string(sandbox.path("link")).unwrap(), "old");
    assert_ne!(fs::read(sandbox.path("out/liba.rlib")).unwrap(), b"old");
}

/// What clippy leaves and says, called as cargo calls it.
pub(super) fn run_clippy(sandbox: &Sandbox, with_larder: bool, line: &str) -> Left {
    let rustc = rustc();
    let driver = rustc.replace("bin/rustc", "bin/clippy-driver");
    let mut command = program(sandbox, with_larder, &driver);
    left(command.arg(&rustc).args(line.split_whitespace()), &sandbox.path("out"))
}

pub(super) fn has_clippy() -> bool {
    let has = Path::new(&rustc().replace("bin/rustc", "bin/clippy-driver")).exists();
    if !has {
        println!("skipped: no clippy");
    }
    has
}

fn clippy(sandbox: &Sandbox) -> &'static str {
    let call = "--crate-name a a.rs --edition=2021 --crate-type lib --emit=dep-info,metadata \
                --out-dir out";
    let expected = run_clippy(sandbox, false, call);
    let before = sandbox.counts();
    assert!(run_clippy(sandbox, true, call) == expected, "{}", sandbox.log());
    let after = sandbox.counts();
    match (after.0 - before.0, after.2 - before.2) {
        (1, 0) => "hit",
        (0, 1) => "miss",
        _ => "uncached",
    }
}

#[test]
fn clippy_is_cached_with_what_it_reads_itself() {
    if !has_clippy() {
        return;
    }
    let text = "pub fn f(a: u8, b: u8, c: u8) -> bool {\n    return a == b || b == c;\n}\n";
    let mut sandbox = library(text);
    assert_eq!([clippy(&sandbox), clippy(&sandbox)], ["miss", "hit"]);
    // Settings that appear, change and go.
    for limit in 1..3 {
        sandbox.write("clippy.toml", &format!("too-many-arguments-threshold = {limit}\n"));
        wait_a_tick();
        assert_eq!([clippy(&sandbox), clippy(&sandbox)], ["miss", "hit"], "{limit}");
    }
    fs::remove_file(sandbox.path("clippy.toml")).unwrap();
    assert_eq!(clippy(&sandbox), "hit");
    // As a dependency without lints, and with other lints.
    sandbox.set("CLIPPY_ARGS", "--no-deps__CLIPPY_HACKERY__");
    assert_eq!([clippy(&sandbox), clippy(&sandbox)], ["miss", "hit"]);
    sandbox.set("CARGO_PRIMARY_PACKAGE", "1");
    assert_eq!([clippy(&sandbox), clippy(&sandbox)], ["miss", "hit"]);
    for (name, value) in [("CARGO_PKG_RUST_VERSION", "1.30.0"), ("SYSROOT", "/none")] {
        sandbox.set(name, value);
        assert_ne!(clippy(&sandbox), "hit", "{name}");
        sandbox.unset(name);
        assert_eq!(clippy(&sandbox), "hit", "{name}");
    }
    // It is in the dependency file.
    sandbox.write("Cargo.toml", "[package]\nname = \"a\"\nversion = \"1.0.0\"\n");
    wait_a_tick();
    assert_eq!([clippy(&sandbox), clippy(&sandbox)], ["miss", "hit"]);
    for group in ["clippy::cargo", "clippy :: cargo"] {
        sandbox.write("a.rs", &format!("#![warn({group})]\n{text}"));
        wait_a_tick();
        assert_eq!(clippy(&sandbox), "uncached", "{group}");
    }
}

/// Targets that files describe are not among what counts.
#[test]
fn a_place_for_targets_is_not_cached() {
    let mut sandbox = library("pub fn f() {}\n");
    sandbox.set("RUST_TARGET_PATH", "/none");
    assert_eq!(check(&sandbox, LIB), "uncached");
}

#[test]
fn of_compiles_at_the_same_time_one_runs() {
    let text: String =
        (0..400).map(|n| format!("pub fn f{n}(x: u64) -> u64 {{ x / {n}1 }}\n")).collect();
    let sandbox = library(&text);
    let rustc = rustc();
    let start = |number: usize| {
        let out = sandbox.path(&format!("out{number}"));
        fs::create_dir(&out).unwrap();
        let line = LIB.replace("--out-dir out", &format!("--out-dir {}", out.display()));
        let mut command = sandbox.command(larder_binary());
        command.arg(&rustc).args(line.split_whitespace()).args(["-C", "opt-level=3"]);
        command.spawn().unwrap()
    };
    let children: Vec<_> = (0..4).map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(sandbox.counts(), (3, 0, 1), "{}", sandbox.log());
    let made: Vec<_> =
        (0..4).map(|n| fs::read(sandbox.path(&format!("out{n}/liba.rlib"))).unwrap()).collect();
    assert!(made.windows(2).all(|pair| pair[0] == pair[1]));
}

/// One that is killed leaves the work to the next.
#[test]
fn a_compile_that_is_killed_keeps_nobody_waiting() {
    let sandbox = library("pub fn f() {}\n");
    let rustc = rustc();
    let text: String =
        (0..3000).map(|n| format!("pub fn f{n}(x: u64) -> u64 {{ x / {n}1 }}\n")).collect();
    sandbox.write("a.rs", &text);
    wait_a_tick();
    let mut command = sandbox.command(larder_binary());
    // The killed one's compiler goes on.
    fs::create_dir(sandbox.path("first")).unwrap();
    let line = LIB.replace("--out-dir out", "--out-dir first");
    command.arg(&rustc).args(line.split_whitespace()).args(["-C", "opt-level=3"]);
    let mut first = command.spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    first.kill().unwrap();
    first.wait().unwrap();
    let begun = std::time::Instant::now();
    check(&sandbox, &format!("{LIB} -C opt-level=3"));
    assert!(begun.elapsed().as_secs() < 50, "it did not wait for the limit");
}
