//! Archives under `cache_links`, as links are tested ([`links`](super::links)).

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use larder_tests::larder_binary;

use super::links::{
    check, check_cached, check_uncached, compare, has, make, object, project, run, run_on,
};
use super::wait_a_tick;

#[test]
fn archives_come_back() {
    let mut sandbox = project();
    for program in ["ar", "llvm-ar"].into_iter().filter(|name| has(name)) {
        for words in ["rcsD", "rcs", "qc", "-rcvs", "cru", "r"] {
            check_cached(&sandbox, &format!("{program} {words} out/x.a main.o nat.o"));
        }
        check_cached(&sandbox, &format!("{program} rcs out/x.a nat.o main.o"));
        let line = format!("{program} rcs out/x.a main.o nat.o");
        object(&sandbox, "nat.o", &format!("int nat(void) {{ return {}; }}\n", program.len()));
        assert_eq!(check(&sandbox, &line), "miss", "{}", sandbox.log());
        // Members are called by their files, not by the directories of these.
        fs::create_dir_all(sandbox.path("d")).unwrap();
        fs::copy(sandbox.path("nat.o"), sandbox.path("d/nat.o")).unwrap();
        wait_a_tick();
        check_cached(&sandbox, &format!("{program} rcs out/x.a main.o d/nat.o"));
        sandbox.write("list", "main.o nat.o\n");
        check_cached(&sandbox, &format!("{program} rcs out/y.a @list"));
        sandbox.write("list", "nat.o main.o\n");
        assert_eq!(check(&sandbox, &format!("{program} rcs out/y.a @list")), "miss");
    }
    // Through a link of that name.
    fs::create_dir(sandbox.path("bin")).unwrap();
    symlink(larder_binary(), sandbox.path("bin/ar")).unwrap();
    let path = std::env::var("PATH").unwrap();
    sandbox.set("PATH", &format!("{}:{path}", sandbox.path("bin").display()));
    let before = sandbox.counts().0;
    let link = sandbox.path("bin/ar").display().to_string();
    let line = format!("{link} rcs out/x.a main.o nat.o");
    // It then calls itself by its path.
    let expected = run(&sandbox, false, &line.replace(&link, "/usr/bin/ar"));
    for hits in 0..2 {
        assert_eq!(run(&sandbox, false, &line), expected);
        assert_eq!(sandbox.counts().0, before + hits, "{}", sandbox.log());
    }
}

#[test]
fn an_old_archive_counts() {
    let sandbox = project();
    object(&sandbox, "other.o", "int other(void) { return 2; }\n");
    for program in ["ar", "llvm-ar"].into_iter().filter(|name| has(name)) {
        let line = format!("{program} rcsD out/x.a nat.o");
        let with = |with_larder: bool, first: &str, mode: u32| {
            let _ = fs::remove_dir_all(sandbox.path("out"));
            fs::create_dir(sandbox.path("out")).unwrap();
            make(&sandbox, &format!("{program} rcsD out/x.a {first}"));
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(sandbox.path("out/x.a"), permissions).unwrap();
            wait_a_tick();
            run_on(&sandbox, with_larder, &line)
        };
        for (first, expected) in
            [("main.o", "miss"), ("main.o", "hit"), ("other.o", "miss"), ("main.o", "hit")]
        {
            for mode in [0o644, 0o600] {
                let plain = with(false, first, mode);
                let was = compare(&sandbox, &line, || with(true, first, mode), &plain);
                let expected = if mode == 0o600 { "hit" } else { expected };
                assert_eq!(was, expected, "{program} {first} {mode:o}\n{}", sandbox.log());
            }
        }
        // A second name of the archive.
        let twice = |with_larder: bool| {
            let _ = fs::remove_dir_all(sandbox.path("out"));
            fs::create_dir(sandbox.path("out")).unwrap();
            make(&sandbox, &format!("{program} rcsD out/x.a main.o"));
            fs::hard_link(sandbox.path("out/x.a"), sandbox.path("out/y.a")).unwrap();
            run_on(&sandbox, with_larder, &line)
        };
        assert_eq!(twice(true), twice(false), "{program}");
    }
}

#[test]
fn archives_with_times_and_other_operations_are_not_cached() {
    let sandbox = project();
    for line in [
        // Without an index: that has the time of the call.
        "ar rcSU out/x.a nat.o",
        "ar rcsDT out/x.a nat.o",
        "ar rcsDP out/x.a nat.o",
        "ar rcD --thin out/x.a nat.o",
        "ar t nowhere.a",
        "ar --version",
    ] {
        let before = sandbox.count("called_for_link");
        check_uncached(&sandbox, line);
        assert_eq!(sandbox.count("called_for_link"), before + 2, "{line}\n{}", sandbox.log());
    }
    assert_eq!(check(&sandbox, "ar rcsD out/x.a nowhere.o"), "uncached");
    // Members that an old archive has only by name.
    let with = |with_larder: bool| {
        let _ = fs::remove_dir_all(sandbox.path("out"));
        fs::create_dir(sandbox.path("out")).unwrap();
        make(&sandbox, "ar rcsDT out/x.a main.o");
        run_on(&sandbox, with_larder, "ar rcsD out/x.a nat.o")
    };
    assert_eq!(with(true), with(false));
    assert_eq!(sandbox.counts(), (0, 0, 0), "{}", sandbox.log());
}

#[test]
fn another_archiver_is_another_one() {
    let mut sandbox = project();
    if !has("llvm-ar") {
        return;
    }
    let line = "ar rcsD out/x.a nat.o";
    check_cached(&sandbox, line);
    let llvm = fs::canonicalize("/usr/bin/llvm-ar").unwrap();
    fs::create_dir(sandbox.path("bin")).unwrap();
    symlink(llvm, sandbox.path("bin/ar")).unwrap();
    let path = std::env::var("PATH").unwrap();
    sandbox.set("PATH", &format!("{}:{path}", sandbox.path("bin").display()));
    assert_eq!(check(&sandbox, line), "miss", "{}", sandbox.log());
    fs::remove_file(sandbox.path("bin/ar")).unwrap();
    assert_eq!(check(&sandbox, line), "hit", "{}", sandbox.log());
}
