//! Links of C and C++ under `cache_links`. Each call is compared with what the program alone makes
//! and says; whatever it reads is changed once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use larder_tests::larder_binary;

use super::{Contents, Left, Sandbox, wait_a_tick};

const MAIN: &str = "int nat(void);\nint main(void) { return nat(); }\n";

/// A program that wants `nat`, with links being cached.
pub(super) fn project() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.set("LARDER_CACHE_LINKS", "1");
    object(&sandbox, "main.o", MAIN);
    object(&sandbox, "nat.o", "int nat(void) { return 1; }\n");
    sandbox
}

#[track_caller]
pub(super) fn make(sandbox: &Sandbox, line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap();
    let status = sandbox.command(Path::new(program)).args(words).status();
    assert!(status.unwrap().success(), "{line}");
}

pub(super) fn object(sandbox: &Sandbox, name: &str, text: &str) {
    object_by(sandbox, "gcc -fPIC", name, text);
}

fn object_by(sandbox: &Sandbox, compiler: &str, name: &str, text: &str) {
    let folder = sandbox.path(name);
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    sandbox.write("text.c", text);
    make(sandbox, &format!("{compiler} -c text.c -o {name}"));
    wait_a_tick();
}

/// A library in which `nat` gives `value`.
fn library(sandbox: &Sandbox, place: &str, kind: &str, value: u32) {
    object(sandbox, "lib.o", &format!("int nat(void) {{ return {value}; }}\n"));
    let path = format!("{place}/libnat.{kind}");
    fs::create_dir_all(sandbox.path(place)).unwrap();
    let _ = fs::remove_file(sandbox.path(&path));
    match kind {
        "so" => make(sandbox, &format!("gcc -shared lib.o -o {path}")),
        _ => make(sandbox, &format!("ar rcsD {path} lib.o")),
    }
    fs::remove_file(sandbox.path("lib.o")).unwrap();
    wait_a_tick();
}

fn linkers() -> impl Iterator<Item = &'static str> {
    ["bfd", "gold", "lld", "mold"].into_iter().filter(|name| has(&format!("ld.{name}")))
}

pub(super) fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("skipped: no {program}");
    }
    found
}

/// Runs a call in an empty `out`, and tells what it leaves there.
pub(super) fn run(sandbox: &Sandbox, with_larder: bool, line: &str) -> Left {
    let out = sandbox.path("out");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir(&out).unwrap();
    run_on(sandbox, with_larder, line)
}

/// The same with what is there.
pub(super) fn run_on(sandbox: &Sandbox, with_larder: bool, line: &str) -> Left {
    let mut words = line.split_whitespace();
    let mut command = match with_larder {
        true => sandbox.command(larder_binary()),
        false => sandbox.command(Path::new(words.next().unwrap())),
    };
    let output = command.args(words).output().unwrap();
    let files = fs::read_dir(sandbox.path("out")).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, Contents { mode, bytes: fs::read(&path).unwrap_or_default() })
    });
    Left {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        files: files.collect::<BTreeMap<_, _>>(),
    }
}

/// Runs a call with larder and without, checks that both leave the same, and tells what it was.
#[track_caller]
pub(super) fn check(sandbox: &Sandbox, line: &str) -> &'static str {
    let expected = run(sandbox, false, line);
    compare(sandbox, line, || run(sandbox, true, line), &expected)
}

#[track_caller]
pub(super) fn compare(
    sandbox: &Sandbox,
    line: &str,
    run: impl FnOnce() -> Left,
    expected: &Left,
) -> &'static str {
    let before = sandbox.counts();
    let left = run();
    assert!(left == *expected, "{line}\n{left:?}\n{expected:?}\n{}", sandbox.log());
    let after = sandbox.counts();
    match (after.0 - before.0, after.2 - before.2) {
        (1, 0) => "hit",
        (0, 1) => "miss",
        _ => "uncached",
    }
}

#[track_caller]
pub(super) fn check_cached(sandbox: &Sandbox, line: &str) {
    assert_eq!(check(sandbox, line), "miss", "{line}\n{}", sandbox.log());
    assert_eq!(check(sandbox, line), "hit", "{line}\n{}", sandbox.log());
}

#[test]
fn links_are_cached_only_if_that_is_asked_for() {
    let mut sandbox = project();
    sandbox.unset("LARDER_CACHE_LINKS");
    for (count, line) in ["gcc main.o nat.o -o out/m", "ar rcsD out/x.a nat.o"].iter().enumerate() {
        assert_eq!(check(&sandbox, line), "uncached");
        assert_eq!(check(&sandbox, line), "uncached");
        assert_eq!(sandbox.count("called_for_link"), 2 * (count as u64 + 1));
    }
    sandbox.set("LARDER_CACHE_LINKS", "yes");
    check_cached(&sandbox, "gcc main.o nat.o -o out/m");
    check_cached(&sandbox, "ar rcsD out/x.a nat.o");
    assert_eq!(sandbox.count("called_for_link"), 4);
}

#[test]
fn every_kind_comes_back_from_every_linker() {
    let sandbox = project();
    library(&sandbox, "a", "a", 2);
    for linker in linkers() {
        // Each has its own way to tell; the kinds are the same.
        let count = if linker == "bfd" { 5 } else { 3 };
        let lines = [
            "gcc -O2 -g -Wall -Iinclude -DX main.o a/libnat.a -o out/m -Wl,-Map=out/m.map",
            "gcc -shared nat.o -o out/libx.so -Wl,-soname,libx.so.1 -Wl,--build-id=sha1",
            "gcc main.o -La -lnat -static -o out/m -Xlinker --gc-sections",
            "g++ main.o nat.o -no-pie -o out/m -Wl,-rpath,$ORIGIN/../lib -pthread",
            "gcc -r main.o nat.o -o out/r.o",
        ];
        for line in &lines[..count] {
            check_cached(&sandbox, &format!("{line} -fuse-ld={linker}"));
        }
    }
    check_cached(&sandbox, "gcc main.o nat.o -oout/m");
    check_cached(&sandbox, "gcc main.o nat.o -static-pie -o out/m");
}

#[test]
fn clang_is_asked_in_its_own_way() {
    if !has("clang") {
        return;
    }
    let sandbox = project();
    library(&sandbox, "a", "so", 2);
    for line in [
        "clang main.o nat.o -o out/m",
        "clang++ main.o -La -lnat -o out/m -Wl,-rpath,/a",
        "clang -shared nat.o -o out/libx.so",
        "clang -static main.o nat.o -o out/m",
        "clang main.o nat.o -fuse-ld=lld -o out/m -Wl,-Map,out/m.map",
    ] {
        check_cached(&sandbox, line);
    }
}

/// Assembly text in such code may take in a file, of which no linker tells.
#[test]
fn code_that_the_linker_compiles_is_not_known() {
    if !has("clang") || !has("ld.lld") {
        return;
    }
    let sandbox = project();
    let text = "__asm__(\".section .rodata\\nq: .incbin \\\"q.bin\\\"\\n.text\");\n";
    sandbox.write("q.bin", "AAAA");
    object_by(&sandbox, "clang -flto=thin", "main.o", &format!("{text}{MAIN}"));
    for line in [
        "clang -flto=thin -fuse-ld=lld main.o nat.o -o out/m",
        "clang -fuse-ld=lld main.o nat.o -o out/m",
    ] {
        for bytes in ["AAAA", "BBBB"] {
            sandbox.write("q.bin", bytes);
            wait_a_tick();
            check_uncached(&sandbox, line);
        }
    }
}

/// What a script names is looked for beside it and here, and each name may be a file's.
#[test]
fn names_in_scripts_are_looked_for_wherever_linkers_do() {
    for linker in linkers().filter(|linker| *linker != "gold") {
        let sandbox = project();
        fs::create_dir_all(sandbox.path("lib")).unwrap();
        fs::create_dir_all(sandbox.path("early")).unwrap();
        sandbox.write("lib/libx.so", "INPUT(foo)\n");
        object(&sandbox, "foo", "int nat(void) { return 1; }\n");
        let line = format!("gcc main.o -Learly -Llib -lx -o out/m -fuse-ld={linker}");
        check_cached(&sandbox, &line);
        object(&sandbox, "lib/foo", "int nat(void) { return 2; }\n");
        assert_ne!(check(&sandbox, &line), "hit", "{line}\n{}", sandbox.log());
        fs::remove_file(sandbox.path("lib/foo")).unwrap();
        fs::rename(sandbox.path("foo"), sandbox.path("lib/there")).unwrap();
        sandbox.write("x.ld", "INPUT(there)\n");
        wait_a_tick();
        let line = format!("gcc main.o x.ld -Learly -Llib -o out/m -fuse-ld={linker}");
        check_cached(&sandbox, &line);
        object(&sandbox, "early/there", "int nat(void) { return 3; }\n");
        assert_ne!(check(&sandbox, &line), "hit", "{line}\n{}", sandbox.log());
    }
}

/// A pattern may look like a comment, and what a long text says is not looked at.
#[test]
fn texts_that_are_not_understood_are_not_known() {
    let sandbox = project();
    for (name, text) in [
        ("pattern.ld", "SECTIONS { .foo : { d/*.o(.foo) } } INSERT AFTER .data;\n".to_owned()),
        ("long.ld", format!("/* {} */\n", "x".repeat(70_000))),
    ] {
        sandbox.write(name, &text);
        wait_a_tick();
        check_uncached(&sandbox, &format!("gcc main.o nat.o -Wl,-T,{name} -o out/m"));
    }
}

/// The plugin of gcc starts compilers, of which no linker tells.
#[test]
fn link_time_optimisation_by_gcc_is_not_cached() {
    let sandbox = project();
    object_by(&sandbox, "gcc -flto -ffat-lto-objects", "main.o", MAIN);
    object_by(&sandbox, "gcc -flto", "nat.o", "int nat(void) { return 1; }\n");
    for line in ["gcc -flto main.o nat.o -o out/m", "gcc main.o nat.o -o out/m"] {
        for _ in 0..2 {
            let before = sandbox.count("called_for_link");
            assert_eq!(run(&sandbox, true, line).status, Some(0));
            assert_eq!(sandbox.count("called_for_link"), before + 1, "{}", sandbox.log());
        }
    }
    check_uncached(&sandbox, "ar rcsD out/x.a nat.o");
}

#[track_caller]
pub(super) fn check_uncached(sandbox: &Sandbox, line: &str) {
    assert_eq!(check(sandbox, line), "uncached", "{line}\n{}", sandbox.log());
    assert_eq!(check(sandbox, line), "uncached", "{line}\n{}", sandbox.log());
}

#[test]
fn objects_and_their_order_count() {
    let sandbox = project();
    object(&sandbox, "other.o", "int other(void) { return 2; }\n");
    check_cached(&sandbox, "gcc main.o nat.o other.o -o out/m");
    assert_eq!(check(&sandbox, "gcc main.o other.o nat.o -o out/m"), "miss");
    object(&sandbox, "nat.o", "int nat(void) { return 3; }\n");
    assert_eq!(check(&sandbox, "gcc main.o nat.o other.o -o out/m"), "miss");
    object(&sandbox, "nat.o", "int nat(void) { return 1; }\n");
    assert_eq!(check(&sandbox, "gcc main.o nat.o other.o -o out/m"), "hit", "{}", sandbox.log());
    assert_eq!(check(&sandbox, "gcc main.o nat.o other.o -o out/n"), "miss");
}

#[test]
fn libraries_count_and_so_does_one_that_appears_earlier() {
    for linker in linkers() {
        let kinds = if ["bfd", "lld"].contains(&linker) { &["a", "so"][..] } else { &["a"] };
        for kind in kinds {
            let sandbox = project();
            fs::create_dir_all(sandbox.path("a")).unwrap();
            library(&sandbox, "b", kind, 1);
            let line = format!("gcc main.o -La -Lnone -Lb -lnat -o out/m -fuse-ld={linker}");
            check_cached(&sandbox, &line);
            library(&sandbox, "b", kind, 2);
            assert_eq!(check(&sandbox, &line), "miss", "{line}");
            for place in ["none", "a"] {
                library(&sandbox, place, kind, 3);
                assert_eq!(check(&sandbox, &line), "miss", "{line} {place}");
                assert_eq!(check(&sandbox, &line), "hit", "{line} {place}\n{}", sandbox.log());
            }
            let turned = line.replace("-La -Lnone -Lb", "-Lb -Lnone -La");
            assert_eq!(check(&sandbox, &turned), "miss", "{line}");
        }
    }
}

/// A thin archive names its members and does not have them; GNU ld and lld tell of that alone.
#[test]
fn a_thin_archive_is_not_known() {
    for linker in linkers() {
        let sandbox = project();
        make(&sandbox, "ar rcsDT libthin.a nat.o");
        for value in [5, 6] {
            object(&sandbox, "nat.o", &format!("int nat(void) {{ return {value}; }}\n"));
            check_uncached(&sandbox, &format!("gcc main.o libthin.a -o out/m -fuse-ld={linker}"));
            check_uncached(&sandbox, &format!("gcc main.o -L. -lthin -o out/m -fuse-ld={linker}"));
        }
    }
}

/// The archive is taken where only that is there, and a shared library goes before it.
#[test]
fn a_shared_library_beside_an_archive_is_another_link() {
    for linker in linkers() {
        let sandbox = project();
        library(&sandbox, "b", "a", 1);
        let line = format!("gcc main.o -Lb -lnat -o out/m -fuse-ld={linker}");
        check_cached(&sandbox, &line);
        library(&sandbox, "b", "so", 1);
        assert_eq!(check(&sandbox, &line), "miss", "{line}\n{}", sandbox.log());
        // An archive is asked for, and the shared library does not matter but for its presence.
        let asked = line.replace("-lnat", "-Wl,-Bstatic -lnat -Wl,-Bdynamic");
        check_cached(&sandbox, &asked);
        fs::remove_file(sandbox.path("b/libnat.so")).unwrap();
        wait_a_tick();
        assert_eq!(check(&sandbox, &line), "hit", "{line}\n{}", sandbox.log());
    }
}

#[test]
fn a_library_that_a_library_needs_counts() {
    let sandbox = project();
    library(&sandbox, "deep", "so", 1);
    object(&sandbox, "one.o", "int nat(void);\nint one(void) { return nat(); }\n");
    make(&sandbox, "gcc -shared one.o -Ldeep -lnat -o libone.so");
    object(&sandbox, "main.o", "int one(void);\nint main(void) { return one(); }\n");
    fs::create_dir(sandbox.path("first")).unwrap();
    let line = "gcc main.o libone.so -o out/m -Wl,-rpath-link,first -Wl,-rpath-link,deep";
    check_cached(&sandbox, line);
    library(&sandbox, "first", "so", 2);
    assert_eq!(check(&sandbox, line), "miss", "{}", sandbox.log());
    // Here nothing leads to it.
    assert_eq!(check(&sandbox, "gcc main.o libone.so -o out/m"), "uncached", "{}", sandbox.log());
}

#[test]
fn scripts_and_lists_count_with_what_they_name() {
    let sandbox = project();
    library(&sandbox, "a", "a", 1);
    fs::rename(sandbox.path("a/libnat.a"), sandbox.path("a/libother.a")).unwrap();
    fs::create_dir(sandbox.path("first")).unwrap();
    for linker in linkers() {
        sandbox.write("v.map", "{ global: nat; local: *; };\n");
        sandbox.write("a/libnat.so", "INPUT(-lother)\n");
        wait_a_tick();
        let shared =
            format!("gcc -shared nat.o -o out/x.so -Wl,--version-script=v.map -fuse-ld={linker}");
        check_cached(&sandbox, &shared);
        sandbox.write("v.map", "V1 { global: nat; local: *; };\n");
        wait_a_tick();
        assert_eq!(check(&sandbox, &shared), "miss", "{shared}");
        let line = format!("gcc main.o -Lfirst -La -lnat -o out/m -fuse-ld={linker}");
        check_cached(&sandbox, &line);
        sandbox.write("a/libnat.so", "GROUP(-lother)\n");
        wait_a_tick();
        assert_eq!(check(&sandbox, &line), "miss", "{line}");
        library(&sandbox, "first", "a", 2);
        fs::rename(sandbox.path("first/libnat.a"), sandbox.path("first/libother.a")).unwrap();
        wait_a_tick();
        assert_eq!(check(&sandbox, &line), "miss", "{line}\n{}", sandbox.log());
        fs::remove_file(sandbox.path("first/libother.a")).unwrap();
        wait_a_tick();
    }
}

#[test]
fn a_script_for_the_whole_link_counts_wherever_it_is_found() {
    let sandbox = project();
    let script = Command::new("ld").arg("--verbose").output().unwrap();
    let script = String::from_utf8(script.stdout).unwrap();
    let Some(script) = script.split("==================================================").nth(1)
    else {
        return println!("skipped: no GNU ld");
    };
    sandbox.write("x.ld", script);
    wait_a_tick();
    let line = "gcc main.o nat.o -T x.ld -o out/m -fuse-ld=bfd";
    let before = check(&sandbox, line);
    // Its own directories are part of such a script, which is then not cached.
    assert_eq!(before, "uncached", "{}", sandbox.log());
    let plain: String = script.lines().filter(|line| !line.contains("SEARCH_DIR")).collect();
    sandbox.write("x.ld", &plain);
    wait_a_tick();
    check_cached(&sandbox, line);
    sandbox.write("x.ld", &plain.replace("0x400000", "0x800000"));
    wait_a_tick();
    assert_eq!(check(&sandbox, line), "miss", "{}", sandbox.log());
}

#[test]
fn words_count_in_their_order() {
    let sandbox = project();
    library(&sandbox, "a", "so", 1);
    for words in [
        "",
        "-Wl,-rpath,/one",
        "-Wl,-rpath,/two",
        "-Wl,-rpath,/two,-rpath,/one",
        "-Wl,-rpath,/one,-rpath,/two",
        "-Wl,--build-id=md5",
        "-Wl,-z,now",
        "-s",
        "-rdynamic",
        "-Wl,-Map=out/m.map",
    ] {
        check_cached(&sandbox, &format!("gcc main.o a/libnat.so -o out/m {words}"));
    }
    // A shared library without a name of its own is called as it is named here.
    make(&sandbox, "cp a/libnat.so libnat.so");
    wait_a_tick();
    assert_eq!(check(&sandbox, "gcc main.o libnat.so -o out/m"), "miss");
}

#[test]
fn response_files_count_as_their_words() {
    let sandbox = project();
    for linker in linkers() {
        sandbox.write("list", "main.o nat.o\n");
        let line = format!("gcc @list -o out/m -fuse-ld={linker}");
        check_cached(&sandbox, &line);
        sandbox.write("list", "nat.o main.o -Wl,-rpath,/r\n");
        assert_eq!(check(&sandbox, &line), "miss", "{line}");
        assert_eq!(check(&sandbox, &line), "hit", "{line}\n{}", sandbox.log());
    }
}

#[test]
fn variables_count() {
    let mut sandbox = project();
    library(&sandbox, "a", "a", 1);
    library(&sandbox, "b", "a", 2);
    let line = "gcc main.o -lnat -o out/m";
    for place in ["a", "b"] {
        sandbox.set("LIBRARY_PATH", place);
        check_cached(&sandbox, line);
    }
    sandbox.set("LIBRARY_PATH", "a");
    assert_eq!(check(&sandbox, line), "hit", "{}", sandbox.log());
    for (name, value) in [("LD_RUN_PATH", "/run"), ("LD_LIBRARY_PATH", "/lib/x"), ("LANG", "C")] {
        sandbox.set(name, value);
        check_cached(&sandbox, line);
    }
    sandbox.set("LLD_REPRODUCE", "out/all.tar");
    let before = sandbox.count("unsupported_environment_variable");
    run(&sandbox, true, line);
    assert_eq!(sandbox.count("unsupported_environment_variable"), before + 1);
}

#[test]
fn another_linker_is_seen_wherever_the_driver_finds_it() {
    if !has("ld.mold") || !has("ld.bfd") {
        return;
    }
    let mut sandbox = project();
    fs::create_dir(sandbox.path("first")).unwrap();
    let line = "gcc main.o nat.o -Bfirst -fuse-ld=mold -o out/m";
    check_cached(&sandbox, line);
    assert_eq!(check(&sandbox, &line.replace("mold", "bfd")), "miss");
    let bfd = fs::canonicalize("/usr/bin/ld.bfd").unwrap();
    symlink(&bfd, sandbox.path("first/ld.mold")).unwrap();
    assert_eq!(check(&sandbox, line), "miss", "{}", sandbox.log());
    fs::remove_file(sandbox.path("first/ld.mold")).unwrap();
    assert_eq!(check(&sandbox, line), "hit", "{}", sandbox.log());
    // A script may do anything.
    sandbox.write("first/ld.mold", "#!/bin/sh\nexec /usr/bin/ld.bfd \"$@\"\n");
    let permissions = fs::Permissions::from_mode(0o755);
    fs::set_permissions(sandbox.path("first/ld.mold"), permissions).unwrap();
    assert_eq!(check(&sandbox, line), "uncached", "{}", sandbox.log());
    fs::remove_file(sandbox.path("first/ld.mold")).unwrap();
    // The same through a variable.
    let line = "gcc main.o nat.o -o out/m";
    check_cached(&sandbox, line);
    let mold = fs::canonicalize("/usr/bin/ld.mold").unwrap();
    symlink(&mold, sandbox.path("first/ld")).unwrap();
    sandbox.set("COMPILER_PATH", &sandbox.path("first").display().to_string());
    assert_eq!(check(&sandbox, line), "miss", "{}", sandbox.log());
    fs::remove_file(sandbox.path("first/ld")).unwrap();
    sandbox.unset("COMPILER_PATH");
    assert_eq!(check(&sandbox, line), "hit", "{}", sandbox.log());
}

#[test]
fn start_files_and_options_from_files_count() {
    let sandbox = project();
    fs::create_dir(sandbox.path("first")).unwrap();
    let line = "gcc -Bfirst main.o nat.o -o out/m";
    check_cached(&sandbox, line);
    let start = Command::new("gcc").arg("-print-file-name=Scrt1.o").output().unwrap();
    let start = String::from_utf8(start.stdout).unwrap();
    fs::copy(start.trim(), sandbox.path("first/Scrt1.o")).unwrap();
    wait_a_tick();
    assert_eq!(check(&sandbox, line), "miss", "{}", sandbox.log());
    // What gcc links for OpenMP stands in a file.
    let line = format!("{line} -fopenmp");
    check_cached(&sandbox, &line);
    sandbox.write("first/libgomp.spec", "*link_gomp: -lm\n");
    wait_a_tick();
    assert_eq!(check(&sandbox, &line), "miss", "{}", sandbox.log());
    sandbox.write("first/libgomp.spec", "*link_gomp: -lm -rpath /r\n");
    wait_a_tick();
    assert_eq!(check(&sandbox, &line), "miss", "{}", sandbox.log());
}

#[test]
fn the_working_directory_counts_only_by_what_stands_in_it() {
    let sandbox = project();
    let run_in = |place: &str, with_larder: bool| {
        let mut command = match with_larder {
            true => sandbox.command(larder_binary()),
            false => sandbox.command(Path::new("gcc")),
        };
        if with_larder {
            command.arg("gcc");
        }
        let line = "main.o nat.o -o m -Wl,-Map=m.map";
        let folder = sandbox.path(place);
        let status = command.current_dir(&folder).args(line.split(' ')).status().unwrap();
        assert!(status.success());
        ["m", "m.map"].map(|name| fs::read(folder.join(name)).unwrap())
    };
    for place in ["one", "two", "three"] {
        fs::create_dir(sandbox.path(place)).unwrap();
        fs::copy(sandbox.path("main.o"), sandbox.path(place).join("main.o")).unwrap();
        fs::copy(sandbox.path("nat.o"), sandbox.path(place).join("nat.o")).unwrap();
    }
    object(&sandbox, "three/nat.o", "int nat(void) { return 3; }\n");
    for (place, hits) in [("one", 0), ("two", 1), ("three", 1), ("two", 2)] {
        let expected = run_in(place, false);
        assert!(run_in(place, true) == expected, "{place}");
        assert_eq!(sandbox.counts().0, hits, "{place}\n{}", sandbox.log());
    }
}

#[test]
fn modes_follow_the_umask() {
    let sandbox = project();
    for (umask, hits) in [("022", 0), ("027", 1), ("177", 2), ("002", 3)] {
        let with = |first: &str| {
            let _ = fs::remove_dir_all(sandbox.path("out"));
            fs::create_dir(sandbox.path("out")).unwrap();
            let script = format!("umask {umask}; {first} gcc main.o nat.o -o out/m");
            let mut command = sandbox.command(Path::new("sh"));
            assert!(command.args(["-c", &script]).status().unwrap().success());
            fs::metadata(sandbox.path("out/m")).unwrap().permissions().mode()
        };
        let expected = with("exec");
        assert_eq!(with(&larder_binary().display().to_string()), expected, "{umask}");
        assert_eq!(sandbox.counts().0, hits, "{umask}\n{}", sandbox.log());
    }
    // The first one that is stored may have been made under a umask that hides what it is.
    let sandbox = project();
    for umask in ["177", "022"] {
        let script = format!("umask {umask}; {} gcc main.o nat.o -o m", larder_binary().display());
        assert!(sandbox.command(Path::new("sh")).args(["-c", &script]).status().unwrap().success());
    }
    assert_eq!(fs::metadata(sandbox.path("m")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(sandbox.counts(), (1, 0, 1), "{}", sandbox.log());
}

/// What stands in the place of an output, whatever it is, is treated as by the linker.
#[test]
fn old_outputs_are_treated_as_the_linker_does() {
    let sandbox = project();
    let out = |name: &str| sandbox.path("out").join(name);
    let prepare = |kind: &str| {
        let _ = fs::remove_dir_all(sandbox.path("out"));
        fs::create_dir(sandbox.path("out")).unwrap();
        fs::write(out("m"), if kind == "empty" { "" } else { "old" }).unwrap();
        match kind {
            "hard" => fs::hard_link(out("m"), out("other")).unwrap(),
            "link" => {
                fs::rename(out("m"), out("other")).unwrap();
                symlink("other", out("m")).unwrap();
            }
            "empty" | "private" => {
                fs::set_permissions(out("m"), fs::Permissions::from_mode(0o600)).unwrap();
            }
            "readonly" => {
                fs::set_permissions(out("m"), fs::Permissions::from_mode(0o444)).unwrap();
            }
            _ => {}
        }
    };
    for linker in linkers() {
        let line = format!("gcc main.o nat.o -o out/m -fuse-ld={linker}");
        check_cached(&sandbox, &line);
        for kind in ["file", "private", "readonly", "hard", "link", "empty"] {
            prepare(kind);
            let expected = run_on(&sandbox, false, &line);
            prepare(kind);
            let was = compare(&sandbox, &line, || run_on(&sandbox, true, &line), &expected);
            assert!(was == "hit" || !["file", "private"].contains(&kind), "{linker} {kind}");
        }
    }
}

#[test]
fn what_fails_says_what_it_says() {
    let sandbox = project();
    for linker in linkers() {
        let line = format!("gcc main.o -o out/m -fuse-ld={linker}");
        let before = sandbox.count("compile_failed");
        let expected = run(&sandbox, false, &line);
        assert!(expected.stderr.contains("nat"), "{}", expected.stderr);
        for _ in 0..2 {
            assert_eq!(run(&sandbox, true, &line), expected, "{}", sandbox.log());
        }
        assert_eq!(sandbox.count("compile_failed"), before + 2);
    }
    let line = "gcc main.o nat.o -lnowhere -o out/m";
    assert_eq!(check(&sandbox, line), "uncached");
}

#[test]
fn messages_come_back() {
    let sandbox = project();
    object(&sandbox, "nat.o", "char *tmpnam(char *);\nint nat(void) { return tmpnam(0) != 0; }\n");
    let line = "gcc main.o nat.o -o out/m -fuse-ld=bfd";
    assert!(run(&sandbox, false, line).stderr.contains("dangerous"));
    check_cached(&sandbox, line);
}

#[test]
fn what_is_unheard_of_is_not_cached() {
    let sandbox = project();
    sandbox.write("x.c", "int x;\n");
    sandbox.write("nat.s", ".globl nat\nnat: ret\n");
    wait_a_tick();
    for line in [
        "gcc main.o nat.o x.c -o out/m",
        "gcc main.o nat.s -o out/m",
        "gcc main.o nat.o -o out/m -Wl,--print-map",
        "gcc main.o nat.o -o out/m -Wl,--dependency-file=out/own.d",
        "gcc main.o nat.o -o out/m -Wl,-t",
        "gcc main.o nat.o -o out/m -v",
        "gcc main.o nat.o -o out/m -save-temps",
        "gcc main.o nat.o -o out/m -Wl,--build-id=uuid",
        "gcc main.o nat.o -o out/m -Wl,-plugin,none.so",
    ] {
        for _ in 0..2 {
            let before = (sandbox.count("called_for_link"), sandbox.counts());
            run(&sandbox, true, line);
            let after = (sandbox.count("called_for_link"), sandbox.counts());
            assert_eq!(after, (before.0 + 1, before.1), "{line}\n{}", sandbox.log());
        }
    }
}

/// An output that is an input is another input the next time.
#[test]
fn a_link_into_its_own_input_is_not_cached() {
    let sandbox = project();
    let old = fs::read(sandbox.path("nat.o")).unwrap();
    let line = "gcc -r nat.o main.o -o nat.o";
    let run = |with_larder: bool| {
        fs::write(sandbox.path("nat.o"), &old).unwrap();
        wait_a_tick();
        fs::create_dir_all(sandbox.path("out")).unwrap();
        run_on(&sandbox, with_larder, line);
        fs::read(sandbox.path("nat.o")).unwrap()
    };
    let expected = run(false);
    for _ in 0..3 {
        assert!(run(true) == expected);
    }
    assert_eq!(sandbox.counts(), (0, 0, 0), "{}", sandbox.log());
}

#[test]
fn a_linker_that_does_not_tell_is_asked_once() {
    if !has("clang") || !has("ld.bfd") {
        return;
    }
    // It has to be a program: a script is no linker that larder knows.
    let sandbox = project();
    let text = "#include <stdio.h>\n#include <string.h>\n#include <unistd.h>\n\
                int main(int n, char **w) {\n\
                    FILE *f = fopen(\"runs\", \"a\"); fputs(\"run\\n\", f); fclose(f);\n\
                    for (int i = 1; i < n; i++)\n\
                        if (strstr(w[i], \"dependency-file\")) {\n\
                            fprintf(stderr, \"unrecognized option '%s'\\n\", w[i]); return 1;\n\
                        }\n\
                    return execv(\"/usr/bin/ld.bfd\", w);\n}\n";
    sandbox.write("old.c", text);
    fs::create_dir(sandbox.path("old")).unwrap();
    make(&sandbox, "gcc old.c -o old/ld.bfd");
    wait_a_tick();
    let runs = || {
        let text = fs::read_to_string(sandbox.path("runs")).unwrap_or_default();
        let _ = fs::remove_file(sandbox.path("runs"));
        text.lines().filter(|line| *line == "run").count()
    };
    let line = "gcc main.o nat.o -Bold -fuse-ld=bfd -o out/m";
    let expected = run(&sandbox, false, line);
    assert_eq!((expected.status, runs()), (Some(0), 1));
    // The first call also asks what libraries the program has, which runs nothing of it.
    for count in [2, 1, 1] {
        assert_eq!(run(&sandbox, true, line), expected, "{}", sandbox.log());
        assert_eq!(runs(), count, "{}", sandbox.log());
    }
    assert_eq!(sandbox.count("called_for_link"), 3, "{}", sandbox.log());
}

#[test]
fn of_links_at_the_same_time_one_runs() {
    let sandbox = project();
    for number in 0..4 {
        let folder = sandbox.path(&format!("d{number}"));
        fs::create_dir(&folder).unwrap();
        for name in ["main.o", "nat.o"] {
            fs::copy(sandbox.path(name), folder.join(name)).unwrap();
        }
    }
    wait_a_tick();
    let start = |number: usize| {
        let mut command = sandbox.command(larder_binary());
        command.current_dir(sandbox.path(&format!("d{number}")));
        command.args("gcc main.o nat.o -o m".split(' ')).spawn().unwrap()
    };
    let children: Vec<_> = (0..4).map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(sandbox.counts(), (3, 0, 1), "{}", sandbox.log());
    let made: Vec<_> =
        (0..4).map(|n| fs::read(sandbox.path(&format!("d{n}/m"))).unwrap()).collect();
    assert!(made.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn the_reason_of_a_miss_is_told() {
    let sandbox = project();
    let line = "gcc main.o nat.o -o m";
    let words: Vec<&str> = line.split(' ').collect();
    assert!(sandbox.larder(&words).status.success());
    object(&sandbox, "nat.o", "int nat(void) { return 2; }\n");
    assert!(sandbox.larder(&words).status.success());
    let told = sandbox.larder(&["explain", "last"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("nat.o"), "{told}");
    assert!(sandbox.larder(&words).status.success());
    assert_eq!(sandbox.counts(), (1, 0, 2), "{}", sandbox.log());
}

/// Under another cache's name only larder's own settings ask for it.
#[test]
fn called_ccache_it_is_off() {
    let mut sandbox = project();
    let ccache = sandbox.path("ccache");
    symlink(larder_binary(), &ccache).unwrap();
    sandbox.set("CCACHE_DIR", &sandbox.path("store").display().to_string());
    let runs = |sandbox: &Sandbox| {
        let mut command = sandbox.command(&ccache);
        assert!(command.args("gcc main.o nat.o -o m".split(' ')).status().unwrap().success());
        let mut command = sandbox.command(&ccache);
        let output = command.arg("--print-stats").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let value = |name: &str| {
            let line = text.lines().find(|line| line.split('\t').next() == Some(name)).unwrap();
            line.split('\t').nth(1).unwrap().parse::<u64>().unwrap()
        };
        (value("called_for_link"), value("direct_cache_hit"))
    };
    sandbox.unset("LARDER_CACHE_LINKS");
    assert_eq!(runs(&sandbox), (1, 0));
    assert_eq!(runs(&sandbox), (2, 0));
    sandbox.set("LARDER_CACHE_LINKS", "1");
    runs(&sandbox);
    assert_eq!(runs(&sandbox), (2, 1));
}
