//! Files of a store that this user may not read, and what is no file: what `larder verify` and
//! `larder doctor` say of them, and that a repair mends the rest.
//!
//! The superuser reads everything; where the tests run as that one, larder runs as nobody.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use larder_tests::larder_binary;
use serde_json::Value;

use super::Sandbox;

/// The user nobody on every Linux.
const NOBODY: u32 = 65_534;

/// A sandbox with something in its store, and a user who may not read everything.
struct Limited {
    sandbox: Sandbox,
    larder: PathBuf,
}

fn is_superuser() -> bool {
    rustix::process::geteuid().is_root()
}

/// Gives everything below `path` to nobody, and `path` itself.
fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}

impl Limited {
    fn new() -> Limited {
        let sandbox = Sandbox::new();
        for name in ["a.c", "b.c"] {
            sandbox.write(name, &format!("int {};\n", &name[..1]));
            sandbox.check_cached("gcc", &["-c", name]);
        }
        // The other user may not reach the one that was built.
        let larder = sandbox.dir.path().join("larder");
        // Copied by a program: a file that this one has open for writing cannot be run.
        let copied = Command::new("cp").arg(larder_binary()).arg(&larder).status().unwrap();
        assert!(copied.success());
        let limited = Limited { sandbox, larder };
        limited.settle();
        limited
    }

    /// Lets the limited user own what stands in the sandbox.
    fn settle(&self) {
        if is_superuser() {
            give_away(self.sandbox.dir.path());
        }
    }

    fn store(&self) -> PathBuf {
        self.sandbox.store()
    }

    fn forbid(&self, file: &str) {
        fs::set_permissions(self.store().join(file), Permissions::from_mode(0o000)).unwrap();
    }

    fn allow(&self, file: &str) {
        fs::set_permissions(self.store().join(file), Permissions::from_mode(0o600)).unwrap();
    }

    /// Puts a directory in place of a file.
    fn replace(&self, file: &str) {
        let path = self.store().join(file);
        let _ = fs::remove_file(&path);
        fs::create_dir(&path).unwrap();
        self.settle();
    }

    fn command(&self) -> Command {
        let mut command = self.sandbox.command(&self.larder);
        if is_superuser() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn run(&self, arguments: &str) -> Output {
        self.command().args(arguments.split(' ')).output().unwrap()
    }

    #[track_caller]
    fn ends(&self, arguments: &str, status: i32) -> String {
        let output = self.run(arguments);
        let (out, err) = (&output.stdout, &output.stderr);
        let text = format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err));
        assert_eq!(output.status.code(), Some(status), "{arguments}: {text}");
        text
    }

    #[track_caller]
    fn json(&self, arguments: &str, status: i32) -> Value {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

/// `file: kind` of each damage in a list.
fn damages(report: &Value, list: &str) -> Vec<String> {
    let name = |item: &Value| {
        format!("{}: {}", item["file"].as_str().unwrap(), item["kind"].as_str().unwrap())
    };
    report[list].as_array().unwrap().iter().map(name).collect()
}

const SEGMENT: &str = "log/00000001.seg";

/// For a file that a user may not read `verify` said that the disk may be failing, that a repair
/// drops it, and of the index that nothing is lost.
#[test]
fn a_file_that_this_user_may_not_read_is_told_from_a_failing_disk() {
    for file in ["tail", "index", "counters", SEGMENT, "log"] {
        let limited = Limited::new();
        limited.forbid(file);
        let report = limited.json("verify --json", 1);
        let expected = if file == "log" { vec![SEGMENT, "log"] } else { vec![file] };
        let expected: Vec<_> = expected.iter().map(|file| format!("{file}: refused")).collect();
        assert_eq!(damages(&report, "damaged"), expected);
        let severity = if file == "counters" { "harmless" } else { "misses" };
        assert_eq!(report["damaged"][0]["severity"], severity, "{file}");
        let said = limited.ends("verify", 1);
        assert!(said.contains("Permission denied") && said.contains("see who owns it"), "{said}");
        let wrong = ["may be failing", "--repair", "nothing is lost", "whole"];
        assert!(wrong.iter().all(|wrong| !said.contains(wrong)), "{file}: {said}");
        if file != "log" {
            let said = limited.ends("verify --repair", 1);
            assert!(said.contains("a repair cannot help"), "{file}: {said}");
            limited.allow(file);
            limited.ends("verify", 0);
        }
    }
}

/// A directory in place of a segment or of the index ended the whole verification with status 3,
/// and in place of the counters it was a file of 4096 bytes that no repair could make shorter.
#[test]
fn a_directory_in_place_of_a_file_is_one_damage_and_the_rest_is_read() {
    for file in ["tail", "index", "counters", "recency", SEGMENT] {
        let limited = Limited::new();
        limited.replace(file);
        let report = limited.json("verify --json", 1);
        assert_eq!(damages(&report, "damaged"), [format!("{file}: no-file")]);
        assert_eq!(report["records"].as_u64().unwrap() > 0, file != SEGMENT, "{file}: {report}");
        let said = limited.ends("verify --repair", 1);
        assert!(said.contains("Is a directory") && said.contains("remove what stands"), "{said}");
        fs::remove_dir(limited.store().join(file)).unwrap();
        limited.run("verify --repair");
        limited.ends("verify", 0);
    }
}

/// With `--json` and status 3 nothing stood on stdout.
#[test]
fn programs_are_told_why_a_store_cannot_be_read() {
    let limited = Limited::new();
    limited.forbid("superblock");
    let report = limited.json("verify --json", 3);
    assert!(report["error"].as_str().unwrap().contains("Permission denied"), "{report}");
    fs::remove_dir_all(limited.store()).unwrap();
    for arguments in ["verify --json", "verify --json --repair"] {
        let report = limited.json(arguments, 3);
        let expected = format!("there is no store in {}", limited.store().display());
        assert!(report["error"].as_str().unwrap().starts_with(&expected), "{report}");
    }
}

#[test]
fn the_doctor_names_files_that_are_closed_missing_or_no_files() {
    let limited = Limited::new();
    limited.ends("doctor", 0);
    for file in ["index", "counters", SEGMENT] {
        limited.forbid(file);
        if is_superuser() {
            chown(limited.store().join(file), Some(0), Some(0)).unwrap();
        }
        let said = limited.ends("doctor", 1);
        let owner = if is_superuser() { 0 } else { rustix::process::geteuid().as_raw() };
        let expected = format!("problem  files        {file} belongs to user {owner}, mode 000");
        assert!(said.contains(&expected), "{said}");
        assert!(!said.contains("no valid index"), "{said}");
        limited.allow(file);
        limited.settle();
    }
    limited.replace("tail");
    assert!(limited.ends("doctor", 1).contains("something else stands in place of tail"));
    let limited = Limited::new();
    fs::remove_file(limited.store().join(SEGMENT)).unwrap();
    let said = limited.ends("doctor", 1);
    assert!(said.contains(&format!("{SEGMENT} is missing")), "{said}");
    fs::remove_dir(limited.store().join("log")).unwrap();
    assert!(limited.ends("doctor", 1).contains(&format!("{SEGMENT} is missing")));
    limited.ends("verify --repair", 0);
    limited.ends("doctor", 0);
}

/// For a directory that cannot be listed the doctor said "look at the disk".
#[test]
fn the_doctor_says_why_a_store_cannot_be_read() {
    let limited = Limited::new();
    limited.forbid("log");
    let said = limited.ends("doctor", 1);
    assert!(said.contains("this user may not read it") && !said.contains("the disk"), "{said}");
    fs::set_permissions(limited.store().join("log"), Permissions::from_mode(0o700)).unwrap();
    let superblock = limited.store().join("superblock");
    let mut bytes = fs::read(&superblock).unwrap();
    bytes[4096 + 8] += 1;
    let check = larder_engine::checksum::check32(&bytes[4096..4096 + 108]);
    bytes[4096 + 108..4096 + 112].copy_from_slice(&check.to_le_bytes());
    fs::write(superblock, bytes).unwrap();
    let said = limited.ends("doctor", 1);
    assert!(said.contains("a newer larder made it"), "{said}");
}

/// The doctor promised that the janitor removes `9.seg`, which is no segment's name.
#[test]
fn a_file_with_the_name_of_no_segment_is_no_left_segment() {
    let limited = Limited::new();
    fs::write(limited.store().join("log/9.seg"), "").unwrap();
    limited.settle();
    assert!(!limited.ends("doctor", 0).contains("left over"));
    fs::write(limited.store().join("log/00000009.seg"), "").unwrap();
    limited.settle();
    let said = limited.ends("doctor", 0);
    assert!(
        said.contains("left over    1 file of segments") && said.contains("--repair"),
        "{said}"
    );
    limited.ends("verify --repair", 0);
    assert!(!limited.ends("doctor", 0).contains("left over"));
    assert!(limited.store().join("log/9.seg").exists());
}

#[test]
fn the_doctor_names_a_log_that_cannot_be_written() {
    let mut limited = Limited::new();
    let said = |limited: &mut Limited, log: &Path, status| {
        limited.sandbox.set("LARDER_LOG", log.to_str().unwrap());
        limited.ends("doctor", status)
    };
    let dir = limited.sandbox.dir.path().to_owned();
    fs::write(dir.join("closed"), "").unwrap();
    fs::create_dir(dir.join("shut")).unwrap();
    limited.settle();
    fs::set_permissions(dir.join("closed"), Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(dir.join("shut"), Permissions::from_mode(0o500)).unwrap();
    for (name, why) in [
        ("none/log", "there is no such directory"),
        ("store", "it is a directory"),
        ("closed", "this user may not write it"),
        ("shut/log", "this user may not make it"),
    ] {
        let said = said(&mut limited, &dir.join(name), 1);
        assert!(said.contains("nothing is written to") && said.contains(why), "{said}");
    }
    said(&mut limited, &dir.join("new"), 0);
    assert!(!dir.join("new").exists());
}

/// A store of three records in two segments, a record of the second of which is damaged.
fn damaged_in_the_second_segment(is_merged: bool) -> Limited {
    let limited = Limited::new();
    limited.ends("checkpoint", 0);
    limited.sandbox.write("c.c", "int c;\n");
    assert!(limited.sandbox.larder(&["gcc", "-c", "c.c"]).status.success());
    limited.settle();
    if is_merged {
        limited.ends("checkpoint", 0);
    }
    let second = limited.store().join("log/00000002.seg");
    let mut bytes = fs::read(&second).unwrap();
    let at = bytes.windows(4).rposition(|window| window == b"LRDB").unwrap();
    bytes[at + 50] ^= 1;
    fs::write(&second, bytes).unwrap();
    limited
}

/// A repair mends the second segment beside the first, which it leaves alone.
#[track_caller]
fn mends_the_second_segment(limited: &Limited, kind: &str) {
    let report = limited.json("verify --repair --json", 1);
    let left = format!("{SEGMENT}: {kind}");
    assert_eq!(damages(&report, "damaged"), [left.as_str()], "{report}");
    let found = damages(&report, "found");
    assert_eq!(found[..2], [left.as_str(), "log/00000002.seg: record-head"], "{report}");
    assert_eq!(report["records_dropped"], 1);
}

#[test]
fn a_repair_mends_what_it_can_beside_a_directory_in_place_of_a_segment() {
    for is_merged in [true, false] {
        let limited = damaged_in_the_second_segment(is_merged);
        limited.replace(SEGMENT);
        mends_the_second_segment(&limited, "no-file");
    }
}
