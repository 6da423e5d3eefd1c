//! Hits that share their blocks with the store (`file_clone`), from outside: what stands there is
//! what the compiler leaves, whatever is then done to it, and the reason for each copy is counted.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use larder_tests::disk::{Disk, FileSystem, succeeds};
use larder_tests::{find_or_skip, larder_binary};

use super::{Left, Sandbox, wait_a_tick};

/// Longer than what is cloned at least on any disk, and of an odd length.
const SOURCE: &str = "const unsigned char table[3000001] = { 1 };\nint f(void) { return 1; }\n";
const CALL: [&str; 5] = ["-c", "-g", "a.c", "-o", "a.o"];

fn sandbox(disk: &Disk) -> Sandbox {
    let mut sandbox = Sandbox::new_in(&disk.path());
    sandbox.set("LARDER_FILE_CLONE", "true");
    sandbox.write("a.c", SOURCE);
    sandbox
}

/// On each file system that clones: a sandbox in which `CALL` can be cloned, and what it leaves.
fn with_clones(test: impl Fn(&Disk, &Sandbox, &Left)) {
    for kind in [FileSystem::Xfs, FileSystem::Btrfs] {
        let Some(disk) = Disk::new(kind) else { continue };
        let sandbox = sandbox(&disk);
        let expected = sandbox.plain("gcc", &CALL);
        assert_eq!(sandbox.check("gcc", &CALL), "miss");
        assert!(sandbox.larder(&["checkpoint"]).status.success());
        test(&disk, &sandbox, &expected);
    }
}

/// (cloned, copied) so far.
fn objects(sandbox: &Sandbox) -> (u64, u64) {
    (sandbox.count("objects_cloned"), sandbox.count("objects_copied"))
}

#[test]
fn cloned_hits_are_what_the_compiler_leaves_under_any_umask() {
    with_clones(|_, sandbox, _| {
        for _ in 0..2 {
            assert_eq!(sandbox.check("gcc", &CALL), "direct");
        }
        assert_eq!(objects(sandbox), (2, 0));
        // Beside a dependency file, which is written.
        let call = ["-c", "a.c", "-o", "b.o", "-MD"];
        sandbox.check_cached("gcc", &call);
        assert_eq!(objects(sandbox), (2, 1), "it was just put");
        assert_eq!(sandbox.count("objects_copied_fresh"), 1);
        assert!(sandbox.larder(&["checkpoint"]).status.success());
        assert_eq!(sandbox.check("gcc", &call), "direct");
        assert_eq!(objects(sandbox), (3, 1));
        for umask in ["022", "077", "002", "027"] {
            let script = format!("umask {umask}; exec \"$@\"");
            let under = |program: &Path, arguments: &[&str]| {
                let mut command = sandbox.command(Path::new("/bin/sh"));
                command.args(["-c", &script, "sh"]).arg(program).args(arguments);
                sandbox.left(&mut command)
            };
            let plain = under(Path::new("gcc"), &CALL);
            let arguments: Vec<&str> = ["gcc"].into_iter().chain(CALL).collect();
            assert_eq!(under(larder_binary(), &arguments), plain, "{umask}");
            assert!(sandbox.larder(&["checkpoint"]).status.success());
        }
        assert_eq!(objects(sandbox), (7, 1));
        let text = String::from_utf8(sandbox.larder(&["stats"]).stdout).unwrap();
        assert!(text.contains("cloned") && text.contains("since the last checkpoint"), "{text}");
    });
}

/// Programs that edit objects, some in place, some not.
#[test]
fn what_is_done_to_a_cloned_object_never_reaches_the_next_hit() {
    with_clones(|_, sandbox, expected| {
        let object = sandbox.path("a.o");
        let object = object.to_str().unwrap();
        let deeds: [&[&str]; 6] = [
            &["strip", "-g", object],
            &["objcopy", "--add-section", "x=/dev/null", object],
            &["truncate", "-s", "4097", object],
            &["dd", "if=/dev/zero", "bs=1", "count=9", "seek=70000", "conv=notrunc", "status=none"],
            &["chmod", "0777", object],
            &["touch", "-d", "2001-01-01", object],
        ];
        for deed in deeds {
            let Some(program) = find_or_skip(deed[0]) else { continue };
            assert_eq!(sandbox.compile("gcc", &CALL), *expected, "before {deed:?}");
            let link = sandbox.path("link");
            fs::hard_link(object, &link).unwrap();
            let before = fs::metadata(object).unwrap();
            wait_a_tick();
            let mut command = Command::new(program);
            command.args(&deed[1..]);
            if deed[0] == "dd" {
                command.arg(format!("of={object}"));
            }
            succeeds(&mut command).unwrap();
            let after = fs::metadata(object).unwrap();
            let told = |m: &fs::Metadata| (m.mtime(), m.mtime_nsec(), m.permissions().mode());
            assert_ne!(told(&before), told(&after), "{deed:?} was done");
            succeeds(Command::new("sync").arg("-f").arg(object)).unwrap();
            fs::remove_file(link).unwrap();
        }
        assert_eq!(sandbox.compile("gcc", &CALL), *expected);
        assert_eq!(objects(sandbox).1, 0);
        let verified = sandbox.larder(&["verify"]);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    });
}

#[test]
fn an_old_object_with_another_name_keeps_it_and_its_contents() {
    with_clones(|_, sandbox, expected| {
        let (object, link) = (sandbox.path("a.o"), sandbox.path("link"));
        fs::write(&object, "old").unwrap();
        fs::hard_link(&object, &link).unwrap();
        let mut command = sandbox.command(larder_binary());
        assert!(command.arg("gcc").args(CALL).status().unwrap().success());
        assert_eq!(sandbox.outputs(), expected.files);
        assert_eq!(fs::read(link).unwrap(), b"old");
        assert_eq!(objects(sandbox), (1, 0));
    });
}

#[test]
fn every_copy_has_its_reason() {
    // No clones at all.
    if let Some(disk) = Disk::new(FileSystem::Ext4) {
        let sandbox = sandbox(&disk);
        sandbox.check_cached("gcc", &CALL);
        assert_eq!(objects(&sandbox), (0, 1));
        assert_eq!(sandbox.count("objects_copied_file_system"), 1);
        assert!(sandbox.log().contains("copied, not cloned: the file system cannot clone"));
    }
    with_clones(|_, sandbox, _| {
        // A small one, and one that a store without the option has compressed.
        sandbox.write("small.c", "int f(void) { return 2; }\n");
        sandbox.check_cached("gcc", &["-c", "small.c"]);
        assert_eq!(sandbox.count("objects_copied_small"), 1);
        // Something goes to another file system.
        let elsewhere = Sandbox::new();
        let mut command = sandbox.command(larder_binary());
        command.current_dir(sandbox.work()).arg("gcc");
        let object = elsewhere.path("a.o");
        command.args(["-c", "a.c", "-o"]).arg(&object);
        for _ in 0..2 {
            assert!(command.status().unwrap().success());
            assert!(sandbox.larder(&["checkpoint"]).status.success());
        }
        assert_eq!(sandbox.count("objects_copied_other_file_system"), 1, "{}", sandbox.log());
        let expected = sandbox.plain("gcc", &["-c", "a.c", "-o", "a.o"]);
        assert_eq!(fs::read(object).unwrap(), expected.files["a.o"].bytes);
    });
    with_clones(|_, sandbox, _| {
        let mut without = sandbox.command(larder_binary());
        without.env_remove("LARDER_FILE_CLONE").arg("gcc").args(["-c", "a.c", "-o", "c.o"]);
        assert!(without.status().unwrap().success());
        assert!(sandbox.larder(&["checkpoint"]).status.success());
        assert_eq!(sandbox.check("gcc", &["-c", "a.c", "-o", "c.o"]), "direct");
        assert_eq!(sandbox.count("objects_copied_compressed"), 1);
    });
}

/// The calls of a hit by their names, from the opening of the store on.
fn calls_of_a_hit(sandbox: &Sandbox, call: &[&str]) -> Option<(BTreeMap<String, u64>, String)> {
    let strace = find_or_skip("strace")?;
    let trace = sandbox.dir.path().join("trace");
    let mut command = sandbox.command(&strace);
    command.args(["-qq", "-o"]).arg(&trace).arg(larder_binary()).arg("gcc").args(call);
    assert!(command.status().unwrap().success());
    let text = fs::read_to_string(trace).unwrap();
    let mut counts = BTreeMap::new();
    for line in text.lines().skip_while(|line| !line.contains("superblock")) {
        let name = line.split('(').next().unwrap_or_default();
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    (!counts.is_empty()).then_some((counts, text))
}

#[test]
fn a_warm_hit_pays_nothing_for_clones_and_prefetching() {
    let mut sandbox = Sandbox::new();
    // A larger object is written by several threads, whose calls are not always the same.
    sandbox.write("a.c", "char large[500 << 10] = {1};");
    sandbox.check_cached("gcc", &CALL);
    assert_eq!(sandbox.check("gcc", &CALL), "direct");
    let Some((calls, text)) = calls_of_a_hit(&sandbox, &CALL) else { return };
    // Two less than before there were clones and prefetching, whose reads are `preadv2` in place of
    // `pread64`: files end behind their last record now, so that no read meets the end of one;
    // calls on the compiler's own files are not among them.
    let count = |names: &[&str]| names.iter().filter_map(|name| calls.get(*name)).sum::<u64>();
    assert_eq!(count(&["pread64", "preadv2"]), 17, "{text}");
    assert_eq!(count(&["ioctl"]), 1, "{text}");
    // Whether the digest cache is cold.
    assert_eq!(count(&["mincore"]), 1, "{text}");
    let dear = ["pwrite64", "statfs", "fstatfs", "fadvise64"];
    assert_eq!(count(&dear), 0, "{text}");
    let opened = text.lines().filter(|line| line.contains("openat") && line.contains("/store/"));
    assert_eq!(opened.count(), 5, "{text}");
    assert!(!text.contains("clones") && !text.contains("rotational"), "{text}");
    sandbox.set("LARDER_FILE_CLONE", "false");
    assert_eq!(calls_of_a_hit(&sandbox, &CALL).unwrap().0, calls);
}

#[test]
fn a_hit_that_is_killed_around_its_clone_leaves_the_old_object() {
    let Some(strace) = find_or_skip("strace") else { return };
    with_clones(|_, sandbox, expected| {
        let object = sandbox.path("a.o");
        for (inject, is_old) in [
            ("ioctl:signal=KILL:when=2", true),
            ("pwrite64:signal=KILL", true),
            ("renameat2:signal=KILL", true),
            ("ioctl:error=EIO:when=2", false),
            ("ioctl:error=ENOSPC:when=2", false),
        ] {
            fs::write(&object, "old").unwrap();
            let mut command = sandbox.command(&strace);
            let trace = sandbox.dir.path().join("trace");
            command.args(["-qq", "-e", &format!("inject={inject}"), "-o"]).arg(&trace);
            let status = command.arg(larder_binary()).arg("gcc").args(CALL).status().unwrap();
            let text = fs::read_to_string(&trace).unwrap_or_default();
            if is_old {
                assert_eq!(status.signal(), Some(9), "{inject}: {text}");
                assert_eq!(fs::read(&object).unwrap(), b"old", "{inject}");
            } else {
                assert!(text.contains("INJECTED") && text.contains("FICLONERANGE"), "{text}");
                assert!(status.success());
                assert_eq!(sandbox.outputs(), expected.files, "{inject}");
            }
            // What a killed one leaves beside.
            sandbox.remove_outputs();
        }
        assert_eq!(sandbox.count("objects_copied_refused"), 2);
        assert_eq!(sandbox.compile("gcc", &CALL), *expected);
    });
}
