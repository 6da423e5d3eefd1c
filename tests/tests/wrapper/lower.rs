//! Lower stores: what one that is only read answers below the own one, that nothing in it changes,
//! and that one which cannot be used is a counted miss.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use larder_tests::disk::{Disk, FileSystem};
use larder_tests::{find_or_skip, larder_binary};

use super::rust::{self, LIB};
use super::{Sandbox, compilers, links, wait_a_tick};

const CALL: &[&str] = &["-c", "a.c", "-o", "a.o", "-MD", "-Wall"];
/// With a message, so that there is more to restore than files.
const SOURCE: &str = "#include \"h.h\"\nint f(void) { int unused; return VALUE; }\n";
/// The user nobody on every Linux.
const NOBODY: u32 = 65_534;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", SOURCE);
    header(&sandbox, 1);
    sandbox
}

fn header(sandbox: &Sandbox, value: u32) {
    sandbox.write("h.h", &format!("#define VALUE {value}\n"));
    wait_a_tick();
}

fn folder(sandbox: &Sandbox, name: &str) -> String {
    sandbox.dir.path().join(name).to_str().unwrap().to_owned()
}

/// What `work` stores gets into a store of this name, which is used as the own one for that.
fn fill(sandbox: &mut Sandbox, name: &str, work: impl FnOnce(&mut Sandbox)) {
    let place = folder(sandbox, name);
    sandbox.set("LARDER_DIR", &place);
    work(sandbox);
    sandbox.unset("LARDER_DIR");
}

/// Puts these stores below the own one, the first one first.
fn put_below(sandbox: &mut Sandbox, names: &[&str]) {
    let places: Vec<String> = names.iter().map(|name| folder(sandbox, name)).collect();
    sandbox.set("LARDER_LOWER", &places.join(":"));
}

/// A sandbox with `CALL` stored in `lower`, which stands below.
fn above() -> Sandbox {
    let mut sandbox = sandbox();
    fill(&mut sandbox, "lower", |sandbox| assert_eq!(sandbox.check("gcc", CALL), "miss"));
    put_below(&mut sandbox, &["lower"]);
    sandbox
}

/// (hits, promotions, failures) of lower stores.
fn lower(sandbox: &Sandbox) -> (u64, u64, u64) {
    let output = sandbox.larder(&["stats", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // Not all of them are told where there is no lower store.
    let of = |name: &str| json[format!("lower_{name}")].as_u64().unwrap_or(0);
    (of("hits"), of("promotions"), of("failures"))
}

/// Everything about the files of a store: mode, times, bytes.
fn state(place: &Path) -> BTreeMap<PathBuf, (u32, [i64; 4], Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![place.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        let bytes = match found.is_dir() {
            true => {
                waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                Vec::new()
            }
            false => fs::read(&path).unwrap(),
        };
        let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
        all.insert(path, (found.mode(), times, bytes));
    }
    all
}

#[test]
fn a_hit_below_is_what_the_compiler_leaves_and_changes_nothing_there() {
    for compiler in compilers() {
        for mode in ["", "LARDER_DEPEND_MODE", "LARDER_STORE_FAILURES"] {
            let mut sandbox = sandbox();
            if !mode.is_empty() {
                sandbox.set(mode, "1");
            }
            fill(&mut sandbox, "lower", |sandbox| {
                assert_eq!(sandbox.check(compiler, CALL), "miss")
            });
            let place = sandbox.dir.path().join("lower");
            let before = state(&place);
            put_below(&mut sandbox, &["lower"]);
            for _ in 0..2 {
                assert_eq!(sandbox.check(compiler, CALL), "direct", "{mode} {}", sandbox.log());
            }
            assert_eq!(lower(&sandbox), (2, 0, 0));
            assert_eq!(sandbox.count("local_storage_hit"), 2);
            assert!(state(&place) == before, "{compiler} {mode}");
            // The own store has got none of it.
            sandbox.unset("LARDER_LOWER");
            assert_eq!(sandbox.check(compiler, CALL), "miss");
            put_below(&mut sandbox, &["lower"]);
            assert_eq!(sandbox.check(compiler, CALL), "direct");
            assert_eq!(lower(&sandbox), (2, 0, 0), "the own store comes first");
            assert!(state(&place) == before, "{compiler} {mode}");
        }
    }
}

#[test]
fn what_is_promoted_hits_when_the_lower_store_is_gone() {
    let mut sandbox = above();
    let before = state(&sandbox.dir.path().join("lower"));
    sandbox.set("LARDER_LOWER_PROMOTE", "1");
    assert_eq!(sandbox.check("gcc", CALL), "direct");
    assert_eq!(lower(&sandbox), (1, 1, 0));
    assert!(state(&sandbox.dir.path().join("lower")) == before);
    fs::remove_dir_all(sandbox.dir.path().join("lower")).unwrap();
    for _ in 0..2 {
        assert_eq!(sandbox.check("gcc", CALL), "direct", "{}", sandbox.log());
    }
    assert_eq!(lower(&sandbox), (1, 1, 0), "nobody has missed it");
    assert!(sandbox.larder(&["verify"]).status.success());
}

/// Hits are noted by whoever may write a store, for eviction and in jobs; those from above are not.
#[test]
fn use_from_above_is_noted_nowhere() {
    let mut sandbox = above();
    let mut job = String::new();
    fill(&mut sandbox, "lower", |sandbox| {
        assert!(sandbox.larder(&["trim", "--older-than", "1h"]).status.success());
        let output = sandbox.larder(&["job", "start"]);
        job = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    });
    sandbox.set("LARDER_JOB", &job);
    let place = sandbox.dir.path().join("lower");
    let before = state(&place);
    assert_eq!(sandbox.check("gcc", CALL), "direct");
    assert_eq!(lower(&sandbox), (1, 0, 0));
    assert!(state(&place) == before);
    fill(&mut sandbox, "lower", |sandbox| assert_eq!(sandbox.check("gcc", CALL), "direct"));
    let after = state(&place);
    let is_noted = |name: &str| {
        let is_it = |path: &&PathBuf| path.strip_prefix(&place).unwrap().starts_with(name);
        after.keys().filter(is_it).any(|path| before.get(path) != after.get(path))
    };
    assert!(is_noted("recency") && is_noted(&format!("job-{job}")));
}

/// Where nothing may be written, nothing is promoted, and it hits all the same.
#[test]
fn an_own_store_that_is_only_read_promotes_nothing() {
    let mut sandbox = sandbox();
    sandbox.write("other.c", "int other;\n");
    sandbox.check_cached("gcc", &["-c", "other.c"]);
    fill(&mut sandbox, "lower", |sandbox| assert_eq!(sandbox.check("gcc", CALL), "miss"));
    put_below(&mut sandbox, &["lower"]);
    sandbox.set("LARDER_LOWER_PROMOTE", "1");
    for mode in ["LARDER_READONLY", "LARDER_READONLY_DIRECT"] {
        sandbox.set(mode, "1");
        let before = state(&sandbox.store().join("log"));
        let expected = sandbox.plain("gcc", CALL);
        assert_eq!(sandbox.compile("gcc", CALL), expected);
        assert!(sandbox.log().contains("direct hit for a.c"), "{}", sandbox.log());
        assert!(state(&sandbox.store().join("log")) == before);
        fs::remove_file(sandbox.dir.path().join("log")).unwrap();
        sandbox.unset(mode);
    }
}

#[test]
fn what_is_new_is_stored_above_and_old_states_still_hit_below() {
    let mut sandbox = above();
    let before = state(&sandbox.dir.path().join("lower"));
    header(&sandbox, 2);
    assert_eq!(sandbox.check("gcc", CALL), "miss");
    assert_eq!(sandbox.check("gcc", CALL), "direct");
    assert_eq!(lower(&sandbox), (0, 0, 0));
    header(&sandbox, 1);
    assert_eq!(sandbox.check("gcc", CALL), "direct", "{}", sandbox.log());
    assert_eq!(lower(&sandbox), (1, 0, 0));
    header(&sandbox, 2);
    assert_eq!(sandbox.check("gcc", CALL), "direct");
    assert_eq!(lower(&sandbox), (1, 0, 0));
    assert!(state(&sandbox.dir.path().join("lower")) == before);
    // Beside the own variant, not in its place.
    sandbox.set("LARDER_LOWER_PROMOTE", "1");
    header(&sandbox, 1);
    assert_eq!(sandbox.check("gcc", CALL), "direct");
    sandbox.unset("LARDER_LOWER");
    for value in [1, 2] {
        header(&sandbox, value);
        assert_eq!(sandbox.check("gcc", CALL), "direct", "{value}");
    }
}

/// A header that has appeared in an earlier directory: what was looked for in vain counts below,
/// too.
#[test]
fn a_header_that_has_appeared_is_a_miss_below() {
    for promote in ["0", "1"] {
        let mut sandbox = Sandbox::new();
        sandbox.set("LARDER_LOWER_PROMOTE", promote);
        let call = ["-c", "a.c", "-o", "a.o", "-Ione", "-Itwo"];
        sandbox.write("a.c", "#include <h.h>\nint f(void) { return VALUE; }\n");
        sandbox.write("one/other.h", "");
        sandbox.write("two/h.h", "#define VALUE 2\n");
        wait_a_tick();
        fill(&mut sandbox, "lower", |sandbox| assert_eq!(sandbox.check("gcc", &call), "miss"));
        put_below(&mut sandbox, &["lower"]);
        assert_eq!(sandbox.check("gcc", &call), "direct");
        // Another state of the directory, so that the names are read.
        sandbox.write("one/more.h", "");
        wait_a_tick();
        assert_eq!(sandbox.check("gcc", &call), "direct", "{}", sandbox.log());
        sandbox.write("one/h.h", "#define VALUE 1\n");
        wait_a_tick();
        assert_eq!(sandbox.check("gcc", &call), "miss");
    }
}

#[test]
fn a_preprocessed_text_is_found_below() {
    for (direct, promote) in [("1", "0"), ("1", "1"), ("0", "0"), ("0", "1")] {
        let mut sandbox = Sandbox::new();
        sandbox.set("LARDER_DIRECT_MODE", direct);
        let call = ["-c", "a.c"];
        let header = |sandbox: &Sandbox, words: &str| {
            sandbox.write("h.h", &format!("/* {words} */\n"));
            sandbox.write("a.c", "#include \"h.h\"\nint f(void) { return 1; }\n");
            wait_a_tick();
        };
        fill(&mut sandbox, "lower", |sandbox| {
            for words in ["one", "two"] {
                header(sandbox, words);
                sandbox.check("gcc", &call);
            }
        });
        put_below(&mut sandbox, &["lower"]);
        sandbox.set("LARDER_LOWER_PROMOTE", promote);
        header(&sandbox, "three");
        assert_eq!(sandbox.check("gcc", &call), "preprocessed", "{}", sandbox.log());
        assert_eq!(lower(&sandbox), (1, u64::from(promote == "1"), 0));
        let again = if direct == "1" { "direct" } else { "preprocessed" };
        assert_eq!(sandbox.check("gcc", &call), again);
        if promote == "1" {
            sandbox.unset("LARDER_LOWER");
            assert_eq!(sandbox.check("gcc", &call), again);
            assert_eq!(lower(&sandbox), (1, 1, 0));
        } else {
            assert_eq!(lower(&sandbox), (2, 0, 0));
        }
    }
}

#[test]
fn several_are_asked_in_their_order() {
    let mut sandbox = sandbox();
    fill(&mut sandbox, "first", |sandbox| assert_eq!(sandbox.check("gcc", CALL), "miss"));
    header(&sandbox, 2);
    fill(&mut sandbox, "second", |sandbox| assert_eq!(sandbox.check("gcc", CALL), "miss"));
    put_below(&mut sandbox, &["first", "second"]);
    for value in [1, 2] {
        header(&sandbox, value);
        assert_eq!(sandbox.check("gcc", CALL), "direct", "{value}");
    }
    assert_eq!(lower(&sandbox), (2, 0, 0));
    // The second one is not asked where the first one answers.
    header(&sandbox, 1);
    put_below(&mut sandbox, &["first", "missing"]);
    assert_eq!(sandbox.check("gcc", CALL), "direct");
    assert_eq!(lower(&sandbox), (3, 0, 0));
    put_below(&mut sandbox, &["missing", "first"]);
    assert_eq!(sandbox.check("gcc", CALL), "direct");
    assert_eq!(lower(&sandbox), (4, 0, 1));
}

/// Changes every byte of the records' files behind the first page.
fn spoil(place: &Path) {
    for entry in fs::read_dir(place.join("log")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().skip(4096).for_each(|byte| *byte ^= 0x55);
        fs::write(path, bytes).unwrap();
    }
}

fn make_newer(place: &Path) {
    change_superblock(place, |page| page[8] += 1);
}

fn change_superblock(place: &Path, change: impl Fn(&mut [u8])) {
    let path = place.join("superblock");
    let mut bytes = fs::read(&path).unwrap();
    for page in bytes.chunks_mut(4096) {
        change(page);
        let check = larder_engine::checksum::check32(&page[..108]);
        page[108..112].copy_from_slice(&check.to_le_bytes());
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn one_that_cannot_be_used_is_a_counted_miss() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 6] = [
        ("missing", |place| fs::remove_dir_all(place).unwrap()),
        ("empty", |place| {
            fs::remove_dir_all(place).unwrap();
            fs::create_dir(place).unwrap();
        }),
        ("a file", |place| {
            fs::remove_dir_all(place).unwrap();
            fs::write(place, "no store").unwrap();
        }),
        ("something else", |place| {
            fs::remove_dir_all(place).unwrap();
            fs::create_dir(place).unwrap();
            fs::write(place.join("superblock"), "no superblock").unwrap();
        }),
        ("damaged", spoil),
        ("newer", make_newer),
    ];
    for (name, harm) in harms {
        let sandbox = above();
        let place = sandbox.dir.path().join("lower");
        harm(&place);
        let before = place.exists().then(|| state(&place));
        assert_eq!(sandbox.check("gcc", CALL), "miss", "{name}");
        assert_eq!(lower(&sandbox), (0, 0, 1), "{name}");
        assert!(sandbox.log().contains("lower store "), "{name}: {}", sandbox.log());
        assert_eq!(sandbox.check("gcc", CALL), "direct", "{name}");
        assert_eq!(lower(&sandbox), (0, 0, 1), "{name}: it was not asked");
        assert!(place.exists().then(|| state(&place)) == before, "{name}");
    }
}

/// Each byte of a lower store in turn, in steps: whatever is damaged, the object is right, and
/// what the lower store says is never half believed.
#[test]
fn damage_below_gives_misses_and_right_objects() {
    let mut sandbox = above();
    let expected = sandbox.plain("gcc", CALL);
    let place = sandbox.dir.path().join("lower");
    let whole = state(&place);
    let mut failures = 0;
    sandbox.set("LARDER_LOWER_PROMOTE", "1");
    for (path, (.., bytes)) in whole.iter().filter(|(path, _)| path.is_file()) {
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        for at in (0..end).step_by((end / 6).max(1)) {
            let mut damaged = bytes.clone();
            damaged.iter_mut().skip(at).take(64).for_each(|byte| *byte ^= 0xFF);
            fs::write(path, damaged).unwrap();
            // The own store is empty each time.
            fs::remove_dir_all(sandbox.store()).unwrap_or_default();
            assert_eq!(sandbox.compile("gcc", CALL), expected, "{} {at}", path.display());
            failures += lower(&sandbox).2;
            sandbox.set("LARDER_LOWER", "/nowhere");
            assert_eq!(sandbox.compile("gcc", CALL), expected, "{} {at}", path.display());
            put_below(&mut sandbox, &["lower"]);
        }
        fs::write(path, bytes).unwrap();
    }
    assert!(failures > 0);
}

/// A store that another kernel wrote, just now, and that nobody has recovered.
#[test]
fn a_store_of_another_machine_is_read() {
    for is_durable in [false, true] {
        let mut sandbox = above();
        let place = sandbox.dir.path().join("lower");
        if is_durable {
            fill(&mut sandbox, "lower", |sandbox| {
                assert!(sandbox.larder(&["checkpoint"]).status.success());
            });
        }
        change_superblock(&place, |page| page[40..56].iter_mut().for_each(|byte| *byte ^= 0x55));
        let before = state(&place);
        assert_eq!(sandbox.check("gcc", CALL), "direct", "{}", sandbox.log());
        assert_eq!(lower(&sandbox), (1, 0, 0));
        assert!(state(&place) == before);
    }
}

#[test]
fn a_store_on_a_mount_that_is_only_read_is_read() {
    let Some(disk) = Disk::new(FileSystem::Ext4) else { return };
    let mut sandbox = sandbox();
    let place = disk.path().join("lower");
    sandbox.set("LARDER_DIR", place.to_str().unwrap());
    assert_eq!(sandbox.check("gcc", CALL), "miss");
    sandbox.unset("LARDER_DIR");
    disk.remount("ro").unwrap();
    assert!(fs::write(disk.path().join("file"), "").is_err());
    sandbox.set("LARDER_LOWER", place.to_str().unwrap());
    assert_eq!(sandbox.check("gcc", CALL), "direct", "{}", sandbox.log());
    assert_eq!(lower(&sandbox), (1, 0, 0));
    sandbox.set("LARDER_LOWER_PROMOTE", "1");
    assert_eq!(sandbox.check("gcc", CALL), "direct", "{}", sandbox.log());
    drop(disk);
    assert_eq!(sandbox.check("gcc", CALL), "direct", "{}", sandbox.log());
}

/// Whoever builds need not own the lower store, nor be able to write to it.
#[test]
fn another_users_store_is_read() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only the superuser can act as somebody else");
        return;
    }
    let mut sandbox = sandbox();
    sandbox.set("LARDER_UMASK", "022");
    fill(&mut sandbox, "lower", |sandbox| assert_eq!(sandbox.check("gcc", CALL), "miss"));
    put_below(&mut sandbox, &["lower"]);
    let expected = sandbox.plain("gcc", CALL);
    let place = sandbox.dir.path().join("lower");
    // The other user may not reach the one that was built.
    let larder = sandbox.dir.path().join("larder");
    assert!(Command::new("cp").arg(larder_binary()).arg(&larder).status().unwrap().success());
    fs::set_permissions(sandbox.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(sandbox.work(), fs::Permissions::from_mode(0o777)).unwrap();
    let _ = fs::remove_file(sandbox.dir.path().join("log"));
    let before = state(&place);
    let run = |variables: &[(&str, &str)]| {
        let mut command = sandbox.command(&larder);
        command.arg("gcc").args(CALL).envs(variables.iter().copied()).uid(NOBODY).gid(NOBODY);
        sandbox.left(&mut command)
    };
    assert_eq!(run(&[]), expected);
    assert_eq!(lower(&sandbox), (1, 0, 0), "{}", sandbox.log());
    assert_eq!(run(&[("LARDER_LOWER_PROMOTE", "1")]), expected);
    assert_eq!(lower(&sandbox), (2, 1, 0), "{}", sandbox.log());
    assert!(state(&place) == before);
    // And one that he may not read is a miss.
    fs::remove_dir_all(sandbox.store()).unwrap();
    fs::set_permissions(place.join("superblock"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(run(&[]), expected);
    assert_eq!(lower(&sandbox), (0, 0, 1), "{}", sandbox.log());
    assert_eq!(sandbox.count("cache_miss"), 1);
}

/// (calls that name `place`, calls that open or look at something) of a compile.
fn calls(sandbox: &Sandbox, strace: &Path, place: &str) -> (usize, usize) {
    let trace = sandbox.dir.path().join("trace");
    let mut command = sandbox.command(strace);
    command.args(["-f", "-o"]).arg(&trace).arg(larder_binary()).arg("gcc").args(CALL);
    assert!(command.output().unwrap().status.success());
    let text = fs::read_to_string(trace).unwrap();
    let names = ["open", "openat", "stat", "statx", "newfstatat", "fstat", "access", "readlink"];
    let is_look = |line: &&str| names.iter().any(|name| line.contains(&format!(" {name}(")));
    (text.lines().filter(|line| line.contains(place)).count(), text.lines().filter(is_look).count())
}

#[test]
fn a_hit_in_the_own_store_makes_no_call_about_a_lower_one() {
    let Some(strace) = find_or_skip("strace") else { return };
    let mut sandbox = above();
    let place = folder(&sandbox, "lower");
    assert!(calls(&sandbox, &strace, &place).0 > 0, "the lower store is opened");
    header(&sandbox, 2);
    // The second hit has nothing to remember any more.
    for kind in ["miss", "direct", "direct"] {
        assert_eq!(sandbox.check("gcc", CALL), kind);
    }
    let (about, all) = calls(&sandbox, &strace, &place);
    assert_eq!(about, 0);
    sandbox.unset("LARDER_LOWER");
    assert_eq!(calls(&sandbox, &strace, &place), (0, all));
}

#[test]
fn a_crate_and_what_stands_behind_it_are_found_below() {
    for promote in ["0", "1"] {
        let mut sandbox = rust::library("pub fn f() -> u32 { b::f() }\n");
        sandbox.write("b.rs", "pub fn f() -> u32 { 1 }\n");
        // Where it is not known what stands behind a crate, this may be a macro.
        sandbox.write("deps/libother.so", "");
        let dependency = "--crate-name b b.rs --edition=2021 --crate-type lib \
                          --emit=metadata,link --out-dir deps -Ldependency=deps";
        let line = format!("{LIB} --extern b=deps/libb.rlib -Ldependency=deps");
        wait_a_tick();
        let make_dependency = |sandbox: &Sandbox| {
            for name in ["libb.rlib", "libb.rmeta"] {
                let _ = fs::remove_file(sandbox.path(&format!("deps/{name}")));
            }
            let mut command = rust::compiler(sandbox, true);
            assert!(command.args(dependency.split_whitespace()).status().unwrap().success());
            wait_a_tick();
        };
        fill(&mut sandbox, "lower", |sandbox| {
            make_dependency(sandbox);
            assert_eq!(rust::check(sandbox, &line), "miss", "{}", sandbox.log());
        });
        let before = state(&sandbox.dir.path().join("lower"));
        put_below(&mut sandbox, &["lower"]);
        sandbox.set("LARDER_LOWER_PROMOTE", promote);
        make_dependency(&sandbox);
        let rustc = rust::rustc();
        let words = ["explain", "--", &rustc].into_iter().chain(line.split_whitespace());
        let said = sandbox.larder(&words.collect::<Vec<_>>()).stdout;
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("it would be a direct hit"), "{said}");
        assert_eq!(rust::check(&sandbox, &line), "hit", "{}", sandbox.log());
        let promoted = if promote == "1" { 2 } else { 0 };
        assert_eq!(lower(&sandbox), (2, promoted, 0));
        assert!(state(&sandbox.dir.path().join("lower")) == before);
        // What stands behind the dependency is known from below, so no macro sees this variable.
        sandbox.write("a.rs", "pub fn g() -> u32 { b::f() }\n");
        wait_a_tick();
        sandbox.set("CARGO_PKG_HOMEPAGE", "one");
        assert_eq!(rust::check(&sandbox, &line), "miss");
        sandbox.set("CARGO_PKG_HOMEPAGE", "two");
        assert_eq!(rust::check(&sandbox, &line), "hit", "{}", sandbox.log());
        sandbox.write("a.rs", "pub fn f() -> u32 { b::f() }\n");
        wait_a_tick();
        sandbox.unset("LARDER_LOWER");
        let then = if promote == "1" { "hit" } else { "miss" };
        assert_eq!(rust::check(&sandbox, &line), then, "{}", sandbox.log());
    }
}

#[test]
fn a_program_is_found_below() {
    let mut sandbox = links::project();
    let line = "gcc main.o nat.o -o out/prog";
    fill(&mut sandbox, "lower", |sandbox| assert_eq!(links::check(sandbox, line), "miss"));
    put_below(&mut sandbox, &["lower"]);
    let before = state(&sandbox.dir.path().join("lower"));
    let words = ["explain", "--"].into_iter().chain(line.split(' '));
    // The own store is made by the first call that may write.
    assert!(sandbox.larder(&["stats"]).status.success());
    let said = sandbox.larder(&words.collect::<Vec<_>>()).stdout;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("it would be a direct hit"), "{said}");
    assert_eq!(links::check(&sandbox, line), "hit", "{}", sandbox.log());
    assert_eq!(lower(&sandbox), (1, 0, 0));
    assert!(state(&sandbox.dir.path().join("lower")) == before);
    links::object(&sandbox, "nat.o", "int nat(void) { return 2; }\n");
    assert_eq!(links::check(&sandbox, line), "miss");
    assert_eq!(links::check(&sandbox, line), "hit");
    assert_eq!(lower(&sandbox), (1, 0, 0));
}

#[test]
fn a_failure_is_found_below() {
    for promote in ["0", "1"] {
        let mut sandbox = sandbox();
        sandbox.set("LARDER_STORE_FAILURES", "1");
        sandbox.set("LARDER_LOWER_PROMOTE", promote);
        sandbox.write("a.c", "int f(void) { return missing; }\n");
        wait_a_tick();
        fill(&mut sandbox, "lower", |sandbox| {
            assert_eq!(sandbox.check("gcc", CALL), "uncached");
        });
        put_below(&mut sandbox, &["lower"]);
        assert_eq!(sandbox.check("gcc", CALL), "uncached");
        assert_eq!(sandbox.count("failure_cache_hit"), 1, "{}", sandbox.log());
        assert_eq!(lower(&sandbox), (1, u64::from(promote == "1"), 0));
        sandbox.unset("LARDER_LOWER");
        assert_eq!(sandbox.check("gcc", CALL), "uncached");
        assert_eq!(sandbox.count("failure_cache_hit"), 1 + u64::from(promote == "1"));
    }
}

#[test]
fn called_as_another_cache_it_hits_below_too() {
    let counters = [
        ("ccache", "CCACHE_DIR", &["--print-stats"][..], "direct_cache_hit\t1\n"),
        (
            "sccache",
            "SCCACHE_DIR",
            &["--show-stats"][..],
            "Cache hits                             1",
        ),
    ];
    for (name, variable, stats, told) in counters {
        let mut sandbox = sandbox();
        let program = sandbox.dir.path().join(name);
        symlink(larder_binary(), &program).unwrap();
        let expected = sandbox.plain("gcc", CALL);
        let run = |sandbox: &Sandbox, words: &[&str]| {
            sandbox.remove_outputs();
            let output = sandbox.command(&program).args(words).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            (sandbox.outputs(), String::from_utf8(output.stdout).unwrap())
        };
        let compile: Vec<&str> = ["gcc"].into_iter().chain(CALL.iter().copied()).collect();
        sandbox.set(variable, &folder(&sandbox, "below"));
        assert_eq!(run(&sandbox, &compile).0, expected.files);
        sandbox.set(variable, &folder(&sandbox, "own"));
        sandbox.set("LARDER_LOWER", &folder(&sandbox, "below/larder"));
        assert_eq!(run(&sandbox, &compile).0, expected.files);
        let said = run(&sandbox, stats).1;
        assert!(said.contains(told), "{said}");
        if name == "ccache" {
            assert!(said.contains("local_storage_hit\t1\n"), "{said}");
        }
    }
}

#[test]
fn commands_tell_of_lower_stores() {
    let mut sandbox = above();
    let text = |sandbox: &Sandbox, words: &[&str]| {
        String::from_utf8(sandbox.larder(words).stdout).unwrap()
    };
    assert_eq!(sandbox.check("gcc", CALL), "direct");
    let before = state(&sandbox.dir.path().join("lower"));
    let said = text(&sandbox, &[&["explain", "--", "gcc"], CALL].concat());
    let place = folder(&sandbox, "lower");
    assert!(said.contains("it would be a direct hit"), "{said}");
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(&format!("in the lower store {place}")), "{said}");
    let said = text(&sandbox, &["doctor", "--store"]);
    assert!(said.contains(&format!("ok       lower store  {place} has ")), "{said}");
    assert!(state(&sandbox.dir.path().join("lower")) == before);
    let said = text(&sandbox, &["stats"]);
    assert!(said.contains("lower stores") && said.contains("put into the own store"), "{said}");
    put_below(&mut sandbox, &["missing"]);
    let output = sandbox.larder(&["doctor", "--store"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("problem  lower store  ") && said.contains("answers nothing"), "{said}");
    // Nothing of it where there is none.
    sandbox.unset("LARDER_LOWER");
    assert!(text(&sandbox, &["stats", "--json"]).contains("lower_hits"));
    assert!(sandbox.larder(&["zero"]).status.success());
    for words in [&["stats"][..], &["stats", "--json"], &["doctor", "--store"]] {
        assert!(!text(&sandbox, words).contains("lower"), "{words:?}");
    }
}
