//! Crates that are linked: programs, test harnesses, shared libraries, proc macros. Each call is
//! compared with what rustc alone makes and says; whatever a link reads is changed once.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use larder_tests::larder_binary;

use super::rust::{check, check_cached, has_clippy, run, run_clippy, rustc};
use super::{Sandbox, wait_a_tick};

const BIN: &str = "--crate-name m m.rs --edition=2021 --crate-type bin --emit=dep-info,link \
                   --out-dir out";
const NATIVE: &str = "extern \"C\" { fn nat() -> i32; }\n\
                      fn main() { std::process::exit(unsafe { nat() }) }\n";

fn program(text: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("m.rs", text);
    wait_a_tick();
    sandbox
}

#[track_caller]
fn make(sandbox: &Sandbox, program: &str, words: &str) {
    let status = sandbox.command(Path::new(program)).args(words.split_whitespace()).status();
    assert!(status.unwrap().success(), "{program} {words}");
}

/// A library of native code that gives `value`.
fn native(sandbox: &Sandbox, place: &str, kind: &str, value: u32) {
    sandbox.write("nat.c", &format!("int nat(void) {{ return {value}; }}\n"));
    fs::create_dir_all(sandbox.path(place)).unwrap();
    match kind {
        "so" => make(sandbox, "gcc", &format!("-shared -fPIC nat.c -o {place}/libnat.so")),
        _ => {
            make(sandbox, "gcc", "-c nat.c -o nat.o");
            let _ = fs::remove_file(sandbox.path(place).join("libnat.a"));
            make(sandbox, "ar", &format!("rcsD {place}/libnat.a nat.o"));
        }
    }
    wait_a_tick();
}

/// Compiles a library into `deps`, without larder.
fn dependency(sandbox: &Sandbox, name: &str, text: &str, more: &str) {
    sandbox.write(&format!("{name}.rs"), text);
    let call = format!("--crate-name {name} {name}.rs --crate-type lib --out-dir deps {more}");
    make(sandbox, &rustc(), &call);
    wait_a_tick();
}

fn has_linker(name: &str) -> bool {
    let found = Command::new(format!("ld.{name}")).arg("--version").output();
    if found.is_err() {
        println!("skipped: no ld.{name}");
    }
    found.is_ok()
}

/// The story: clippy does not look for lints where it is asked to print something, as larder asks
/// where something is linked: `cargo clippy` was silent about build scripts and proc macros.
#[test]
fn clippy_has_its_lints_where_something_is_linked() {
    if !has_clippy() {
        return;
    }
    let sandbox = program("fn main() {\n    let x = true;\n    if x == true {}\n}\n");
    let alone = run_clippy(&sandbox, false, BIN);
    assert!(alone.stderr.contains("bool_comparison"), "{}", alone.stderr);
    for _ in 0..2 {
        assert!(run_clippy(&sandbox, true, BIN) == alone, "{}", sandbox.log());
    }
    assert_eq!(sandbox.counts(), (1, 0, 1), "{}", sandbox.log());
}

#[test]
fn every_kind_that_is_linked_comes_back() {
    let sandbox = program("fn main() { println!(\"x\"); }\n#[test]\nfn t() {}\n");
    sandbox.write("l.rs", "#[no_mangle]\npub extern \"C\" fn f() -> u32 { 1 }\n");
    let text = "extern crate proc_macro;\n#[proc_macro]\n\
                pub fn p(t: proc_macro::TokenStream) -> proc_macro::TokenStream { t }\n";
    sandbox.write("p.rs", text);
    wait_a_tick();
    for crates in [
        "m m.rs --crate-type bin",
        "m m.rs --test",
        "l l.rs --crate-type cdylib",
        "l l.rs --crate-type dylib",
        "l l.rs --crate-type cdylib,rlib",
        "p p.rs --crate-type proc-macro",
    ] {
        for more in [
            "-g",
            "-O -C strip=symbols -C extra-filename=-1",
            "--error-format=json --json=artifacts",
        ] {
            let line = format!("--crate-name {crates} --emit=dep-info,link --out-dir out {more}");
            check_cached(&sandbox, &line);
            let elsewhere = sandbox.path("out").display().to_string();
            let line = line.replace("--out-dir out", &format!("--out-dir {elsewhere}"));
            assert_eq!(check(&sandbox, &line), "hit", "{line}\n{}", sandbox.log());
        }
    }
    check_cached(&sandbox, &format!("{BIN} -g -C split-debuginfo=unpacked"));
}

#[test]
fn every_linker_tells() {
    let sandbox = program("fn main() { println!(\"x\"); }\n");
    sandbox.write("l.rs", "#[no_mangle]\npub extern \"C\" fn f() -> u32 { 1 }\n");
    wait_a_tick();
    for name in ["bfd", "gold", "lld", "mold"].into_iter().filter(|name| has_linker(name)) {
        let word = format!("-g -C link-arg=-fuse-ld={name}");
        check_cached(&sandbox, &format!("{BIN} {word}"));
        let line = "--crate-name l l.rs --crate-type cdylib --out-dir out";
        check_cached(&sandbox, &format!("{line} {word}"));
    }
    if Command::new("clang").arg("--version").output().is_ok() {
        check_cached(&sandbox, &format!("{BIN} -C linker=clang"));
    }
}

#[test]
fn native_libraries_count_and_so_does_one_that_appears_earlier() {
    for (kind, option) in
        [("a", "-l static=nat"), ("so", "-l dylib=nat"), ("so", "-C link-arg=-lnat")]
    {
        let sandbox = program(NATIVE);
        fs::create_dir_all(sandbox.path("a")).unwrap();
        native(&sandbox, "b", kind, 1);
        let line = format!("{BIN} -L native=a -L native=b {option}");
        check_cached(&sandbox, &line);
        native(&sandbox, "b", kind, 2);
        assert_eq!(check(&sandbox, &line), "miss", "{line}");
        native(&sandbox, "a", kind, 3);
        assert_eq!(check(&sandbox, &line), "miss", "{line}");
        assert_eq!(check(&sandbox, &line), "hit", "{line}\n{}", sandbox.log());
        fs::remove_dir_all(sandbox.path("a")).unwrap();
        assert_eq!(check(&sandbox, &line), "hit", "{line}\n{}", sandbox.log());
        // The same files behind other names of directories.
        fs::rename(sandbox.path("b"), sandbox.path("c")).unwrap();
        let moved = line.replace("native=b", "native=c");
        let counted = check(&sandbox, &moved);
        assert_eq!(counted, if kind == "a" { "hit" } else { "miss" }, "{moved}");
    }
}

/// The archive is taken where only that is there, and a shared library that appears goes before it.
#[test]
fn a_shared_library_beside_an_archive_is_another_link() {
    let sandbox = program(NATIVE);
    native(&sandbox, "b", "a", 1);
    let line = format!("{BIN} -C link-arg=-Lb -C link-arg=-lnat");
    check_cached(&sandbox, &line);
    native(&sandbox, "b", "so", 1);
    assert_eq!(check(&sandbox, &line), "miss", "{}", sandbox.log());
    fs::remove_file(sandbox.path("b/libnat.so")).unwrap();
    wait_a_tick();
    assert_eq!(check(&sandbox, &line), "hit", "{}", sandbox.log());
}

#[test]
fn a_text_for_the_linker_counts_with_what_it_names() {
    let sandbox = program(NATIVE);
    native(&sandbox, "a", "a", 1);
    fs::create_dir_all(sandbox.path("first")).unwrap();
    fs::rename(sandbox.path("a/libnat.a"), sandbox.path("a/libother.a")).unwrap();
    sandbox.write("a/libnat.so", "GROUP ( -lother )\n");
    wait_a_tick();
    let words = "-C link-arg=-Lfirst -C link-arg=-La -C link-arg=-lnat";
    let line = format!("{BIN} {words}");
    check_cached(&sandbox, &line);
    native(&sandbox, "first", "a", 2);
    fs::rename(sandbox.path("first/libnat.a"), sandbox.path("first/libother.a")).unwrap();
    wait_a_tick();
    assert_eq!(check(&sandbox, &line), "miss", "{}", sandbox.log());
    sandbox.write("a/libnat.so", "GROUP ( -lother -lother )\n");
    wait_a_tick();
    assert_eq!(check(&sandbox, &line), "miss", "{}", sandbox.log());
}

#[test]
fn words_for_the_linker_count_and_what_is_unheard_of_is_not_cached() {
    let sandbox = program("fn main() {}\n");
    for words in [
        "-C link-arg=-Wl,-rpath,/one",
        "-C link-arg=-Wl,-rpath,/two",
        "-C link-args=-Wl,-rpath,/two,-rpath,/one",
        "-C link-args=-Wl,-rpath,/one,-rpath,/two",
        "-C relro-level=off",
        "-C link-arg=-Wl,--build-id=sha1",
        "-C link-dead-code=yes",
        "-C rpath",
    ] {
        check_cached(&sandbox, &format!("{BIN} {words}"));
    }
    assert_eq!(check(&sandbox, &format!("{BIN} -C link-arg=-Wl,-rpath,/one")), "hit");
    for words in [
        "-C link-arg=-Wl,-Map=out/m.map",
        "-C link-arg=-Wl,--print-gc-sections",
        "-C link-arg=-Wl,--dependency-file=out/own.d",
        "-C split-debuginfo=packed -g",
    ] {
        let before = sandbox.count("called_for_link");
        run(&sandbox, true, &format!("{BIN} {words}"));
        assert_eq!(sandbox.count("called_for_link"), before + 1, "{words}\n{}", sandbox.log());
    }
}

#[test]
fn variables_of_the_linker_count() {
    let mut sandbox = program(NATIVE);
    native(&sandbox, "a", "a", 1);
    native(&sandbox, "b", "a", 2);
    let line = format!("{BIN} -C link-arg=-lnat");
    for place in ["a", "b"] {
        sandbox.set("LIBRARY_PATH", place);
        check_cached(&sandbox, &line);
    }
    sandbox.set("LIBRARY_PATH", "a");
    assert_eq!(check(&sandbox, &line), "hit", "{}", sandbox.log());
    // cargo puts the target directory there.
    for place in ["out/deps", "a"] {
        sandbox.set("LD_LIBRARY_PATH", place);
        assert_eq!(check(&sandbox, &line), "hit", "{}", sandbox.log());
    }
    // One that makes the linker write more.
    sandbox.set("LLD_REPRODUCE", "out/all.tar");
    let before = sandbox.count("unsupported_environment_variable");
    run(&sandbox, true, &line);
    assert_eq!(sandbox.count("unsupported_environment_variable"), before + 1);
}

#[test]
fn another_driver_in_the_path_is_another_linker() {
    let mut sandbox = program("fn main() {}\n");
    check_cached(&sandbox, BIN);
    let path = std::env::var("PATH").unwrap();
    let first = sandbox.path("bin");
    fs::create_dir(&first).unwrap();
    sandbox.set("PATH", &format!("{}:{path}", first.display()));
    assert_eq!(check(&sandbox, BIN), "hit", "{}", sandbox.log());
    if let Ok(clang) = fs::canonicalize("/usr/bin/clang") {
        symlink(clang, first.join("cc")).unwrap();
        assert_eq!(check(&sandbox, BIN), "miss", "{}", sandbox.log());
        fs::remove_file(first.join("cc")).unwrap();
    }
    // A script may do anything.
    let script = first.join("cc");
    fs::write(&script, "#!/bin/sh\nexec gcc \"$@\"\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(check(&sandbox, BIN), "uncached", "{}", sandbox.log());
    fs::remove_file(&script).unwrap();
    assert_eq!(check(&sandbox, BIN), "hit", "{}", sandbox.log());
    assert_eq!(check(&sandbox, &format!("{BIN} -C linker=/bin/true")), "uncached");
}

#[test]
fn another_linker_where_the_driver_looks_first_is_seen() {
    if !has_linker("mold") || !has_linker("lld") {
        return;
    }
    let sandbox = program("fn main() {}\n");
    fs::create_dir(sandbox.path("first")).unwrap();
    let line = format!("{BIN} -C link-arg=-Bfirst -C link-arg=-fuse-ld=mold");
    check_cached(&sandbox, &line);
    let other =
        Command::new("sh").args(["-c", "readlink -f $(command -v ld.bfd)"]).output().unwrap();
    let other = String::from_utf8(other.stdout).unwrap();
    symlink(other.trim(), sandbox.path("first/ld.mold")).unwrap();
    assert_eq!(check(&sandbox, &line), "miss", "{}", sandbox.log());
    fs::remove_file(sandbox.path("first/ld.mold")).unwrap();
    assert_eq!(check(&sandbox, &line), "hit", "{}", sandbox.log());
    // So is a part of the C library.
    let start = Command::new("gcc").arg("-print-file-name=Scrt1.o").output().unwrap();
    let start = String::from_utf8(start.stdout).unwrap();
    fs::copy(start.trim(), sandbox.path("first/Scrt1.o")).unwrap();
    wait_a_tick();
    assert_eq!(check(&sandbox, &line), "miss", "{}", sandbox.log());
}

#[test]
fn files_that_words_name_count() {
    let sandbox = program("#[no_mangle]\npub extern \"C\" fn f() {}\nfn main() { f() }\n");
    for list in ["{ f; };\n", "{ main; };\n"] {
        sandbox.write("list", list);
        wait_a_tick();
        for linker in ["lld", "bfd", "mold"].into_iter().filter(|name| has_linker(name)) {
            let words =
                format!("-C link-arg=-Wl,--dynamic-list=list -C link-arg=-fuse-ld={linker}");
            check_cached(&sandbox, &format!("{BIN} {words}"));
        }
    }
}

#[test]
fn a_library_behind_another_one_counts() {
    let sandbox = program("fn main() { std::process::exit(one::v()) }\n");
    let two = "extern \"C\" { fn nat() -> i32; }\npub fn v() -> i32 { unsafe { nat() } }\n";
    let one = "pub fn v() -> i32 { two::v() }\n";
    native(&sandbox, "n", "a", 1);
    fs::create_dir(sandbox.path("deps")).unwrap();
    dependency(&sandbox, "two", two, "-L native=n -l static=nat");
    dependency(&sandbox, "one", one, "--extern two=deps/libtwo.rlib");
    let line = format!("{BIN} -L dependency=deps --extern one=deps/libone.rlib");
    check_cached(&sandbox, &line);
    // What the crate is stays the same, but not what it bundles.
    native(&sandbox, "n", "a", 2);
    dependency(&sandbox, "two", two, "-L native=n -l static=nat");
    check_cached(&sandbox, &line);
    // The same crates in another target directory are the same program.
    fs::create_dir(sandbox.path("other")).unwrap();
    for name in ["libone.rlib", "libtwo.rlib"] {
        fs::copy(sandbox.path("deps").join(name), sandbox.path("other").join(name)).unwrap();
    }
    wait_a_tick();
    let other = line.replace("deps", "other");
    assert_eq!(check(&sandbox, &other), "hit", "{}", sandbox.log());
    fs::remove_dir_all(sandbox.path("deps")).unwrap();
    assert_eq!(check(&sandbox, &other), "hit", "{}", sandbox.log());
    native(&sandbox, "n", "a", 3);
    fs::create_dir(sandbox.path("deps")).unwrap();
    dependency(&sandbox, "two", two, "-L native=n -l static=nat");
    fs::copy(sandbox.path("deps/libtwo.rlib"), sandbox.path("other/libtwo.rlib")).unwrap();
    wait_a_tick();
    assert_eq!(check(&sandbox, &other), "miss", "{}", sandbox.log());
}

/// Shared objects of the build are found by a path that stands in the program.
#[test]
fn where_the_directories_show_they_count() {
    let sandbox = program("fn main() { std::process::exit(one::v()) }\n");
    for place in ["deps", "other"] {
        fs::create_dir(sandbox.path(place)).unwrap();
        sandbox.write("one.rs", "pub fn v() -> i32 { 1 }\n");
        let call = format!(
            "--crate-name one one.rs --crate-type dylib -C prefer-dynamic --out-dir {place}"
        );
        make(&sandbox, &rustc(), &call);
    }
    wait_a_tick();
    let line = format!("{BIN} -C prefer-dynamic -C rpath --extern one=deps/libone.so");
    check_cached(&sandbox, &line);
    assert_eq!(check(&sandbox, &line.replace("deps/", "other/")), "miss", "{}", sandbox.log());
}

#[test]
fn modes_follow_the_umask_and_links_to_old_outputs_keep_theirs() {
    let sandbox = program("fn main() {}\n");
    check_cached(&sandbox, BIN);
    let modes = |with_larder: bool| {
        let _ = fs::remove_dir_all(sandbox.path("out"));
        fs::create_dir(sandbox.path("out")).unwrap();
        let larder =
            if with_larder { larder_binary().display().to_string() } else { "exec".into() };
        let script = format!("umask 027; {larder} {} {BIN}", rustc());
        let status = sandbox.command(Path::new("sh")).args(["-c", &script]).status();
        assert!(status.unwrap().success());
        ["m", "m.d"]
            .map(|name| sandbox.path("out").join(name).metadata().unwrap().permissions().mode())
    };
    let expected = modes(false);
    assert_eq!(modes(true), expected);
    assert_eq!(sandbox.counts(), (2, 0, 1), "{}", sandbox.log());
    // cargo gives its outputs further names by links.
    fs::write(sandbox.path("out/m"), "old").unwrap();
    fs::hard_link(sandbox.path("out/m"), sandbox.path("link")).unwrap();
    let rustc = rustc();
    let mut command = sandbox.command(larder_binary());
    assert!(command.arg(&rustc).args(BIN.split_whitespace()).status().unwrap().success());
    assert_eq!(sandbox.counts(), (3, 0, 1), "{}", sandbox.log());
    assert_eq!(fs::read_to_string(sandbox.path("link")).unwrap(), "old");
    assert!(Command::new(sandbox.path("out/m")).status().unwrap().success());
}

/// What rustc says without the name of its temporary directory and of objects.
fn without_names(text: &str) -> String {
    let words = text.split('"').map(|word| match word.contains("/rustc") {
        true => "",
        false => word,
    });
    words.collect::<Vec<_>>().join("\"")
}

#[test]
fn a_link_that_fails_says_what_rustc_says() {
    let text = "extern \"C\" { fn nowhere(); }\n\
                fn main() { let unused = 1; unsafe { nowhere() } }\n";
    let sandbox = program(text);
    for more in ["", " --error-format=json --json=artifacts,diagnostic-rendered-ansi"] {
        let line = format!("{BIN}{more}");
        let expected = run(&sandbox, false, &line);
        let left = run(&sandbox, true, &line);
        assert_eq!(left.status, expected.status);
        assert_eq!(without_names(&left.stderr), without_names(&expected.stderr));
        assert!(left.stderr.contains("nowhere") && !left.stderr.contains("larder-"));
    }
    assert_eq!(sandbox.count("compile_failed"), 2, "{}", sandbox.log());
}

#[test]
fn a_linker_that_does_not_tell_is_asked_once() {
    if !has_linker("bfd") {
        return;
    }
    let sandbox = program("fn main() { let unused = 1; }\n");
    let script = "#!/bin/sh\necho run >> runs\ncase \"$*\" in *dependency-file*)\n\
                  echo 'unrecognized option --dependency-file' >&2; exit 1;; esac\n\
                  exec /usr/bin/ld.bfd \"$@\"\n";
    sandbox.write("old/ld.bfd", script);
    let permissions = fs::Permissions::from_mode(0o755);
    fs::set_permissions(sandbox.path("old/ld.bfd"), permissions).unwrap();
    wait_a_tick();
    let line = format!("{BIN} -C link-arg=-Bold -C link-arg=-fuse-ld=bfd");
    let runs = || {
        let text = fs::read_to_string(sandbox.path("runs")).unwrap_or_default();
        let _ = fs::remove_file(sandbox.path("runs"));
        text.lines().count()
    };
    let expected = run(&sandbox, false, &line);
    assert_eq!((expected.status, runs()), (Some(0), 1));
    for count in [2, 1, 1] {
        let left = run(&sandbox, true, &line);
        assert!(left == expected, "{}\n{}", left.stderr, sandbox.log());
        assert_eq!(runs(), count, "{}", sandbox.log());
    }
    assert_eq!(sandbox.count("called_for_link"), 3, "{}", sandbox.log());
}

#[test]
fn of_links_at_the_same_time_one_runs() {
    let text: String =
        (0..300).map(|n| format!("pub fn f{n}(x: u64) -> u64 {{ x / {n}1 }}\n")).collect();
    let sandbox = program(&format!("#![allow(dead_code)]\n{text}fn main() {{}}\n"));
    let rustc = rustc();
    let start = |number: usize| {
        let out = sandbox.path(&format!("out{number}"));
        fs::create_dir(&out).unwrap();
        let line = BIN.replace("--out-dir out", &format!("--out-dir {}", out.display()));
        let mut command = sandbox.command(larder_binary());
        command.arg(&rustc).args(line.split_whitespace()).spawn().unwrap()
    };
    let children: Vec<_> = (0..4).map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(sandbox.counts(), (3, 0, 1), "{}", sandbox.log());
    let made: Vec<_> =
        (0..4).map(|n| fs::read(sandbox.path(&format!("out{n}/m"))).unwrap()).collect();
    assert!(made.windows(2).all(|pair| pair[0] == pair[1]));
}

/// rustc merges all crates by itself, and no linker sees them.
#[test]
fn crates_that_are_merged_count() {
    let sandbox = program("fn main() { std::process::exit(one::v()) }\n");
    let two = "extern \"C\" { fn nat() -> i32; }\npub fn v() -> i32 { unsafe { nat() } }\n";
    let line = format!("{BIN} -L dependency=deps --extern one=deps/libone.rlib -C lto=fat");
    for value in 1..3 {
        native(&sandbox, "n", "a", value);
        for (name, text, more) in [
            ("two", two, "-L native=n -l static=nat"),
            (
                "one",
                "pub fn v() -> i32 { two::v() }\n",
                "--extern two=deps/libtwo.rlib -L dependency=deps",
            ),
        ] {
            sandbox.write(&format!("{name}.rs"), text);
            wait_a_tick();
            let call =
                format!("--crate-name {name} {name}.rs --crate-type lib --out-dir deps {more}");
            make(&sandbox, larder_binary().to_str().unwrap(), &format!("{} {call}", rustc()));
        }
        wait_a_tick();
        check_cached(&sandbox, &line);
    }
    // Made without larder, nobody knows what stands behind it.
    dependency(
        &sandbox,
        "one",
        "pub fn v() -> i32 { two::v() + 1 }\n",
        "--extern two=deps/libtwo.rlib",
    );
    assert_eq!(check(&sandbox, &line), "uncached", "{}", sandbox.log());
}
