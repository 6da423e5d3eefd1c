//! `larder verify` and `larder doctor`: what they say and how they end.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use larder_engine::checksum::check32;
use larder_tests::sample::contents;
use serde_json::Value;

use super::Sandbox;

/// A sandbox with something in its store.
fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    sandbox.write("b.c", "int y;\n");
    sandbox.check_cached("gcc", &["-c", "a.c"]);
    sandbox.check_cached("gcc", &["-c", "b.c"]);
    sandbox
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

#[track_caller]
fn ends(sandbox: &Sandbox, arguments: &[&str], status: i32) -> String {
    let output = sandbox.larder(arguments);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", text(&output));
    text(&output)
}

#[track_caller]
fn json(sandbox: &Sandbox, arguments: &[&str], status: i32) -> Value {
    let output = sandbox.larder(arguments);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", text(&output));
    assert!(output.stderr.is_empty(), "no bar where nobody watches: {}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn kinds(report: &Value, list: &str) -> Vec<String> {
    let items = report[list].as_array().unwrap().iter();
    items.map(|item| item["kind"].as_str().unwrap().to_owned()).collect()
}

/// Where the body of the last record in the first segment begins.
fn last_body(sandbox: &Sandbox) -> (PathBuf, usize) {
    let path = sandbox.store().join("log/00000001.seg");
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(4).rposition(|window| window == b"LRDB").unwrap();
    (path, at)
}

#[test]
fn a_whole_store_is_told_to_be_whole_and_nothing_is_changed() {
    let sandbox = filled();
    let before = contents(&sandbox.store());
    let report = json(&sandbox, &["verify", "--json"], 0);
    assert!(report["records"].as_u64().unwrap() >= 4 && report["segments"] == 1, "{report}");
    assert_eq!(report["damaged"], Value::Array(vec![]));
    assert!(ends(&sandbox, &["verify"], 0).contains("everything is whole"));
    assert!(contents(&sandbox.store()) == before);
    assert!(ends(&sandbox, &["verify", "--repair"], 0).contains("nothing to repair"));
    let repaired = json(&sandbox, &["verify", "--json", "--repair"], 0);
    assert_eq!(repaired["repaired"], Value::Array(vec![]));
}

#[test]
fn a_damaged_record_is_named_and_a_repair_drops_only_that() {
    let sandbox = filled();
    let (path, at) = last_body(&sandbox);
    change(&path, |bytes| bytes[at + 50] ^= 1);
    let report = json(&sandbox, &["verify", "--json"], 1);
    assert_eq!(kinds(&report, "damaged"), ["record-head"]);
    let damage = &report["damaged"][0];
    assert_eq!(damage["file"], "log/00000001.seg");
    assert_eq!((&damage["segment"], &damage["offset"]), (&1.into(), &(at - 64).into()));
    assert_eq!(damage["severity"], "misses");
    assert!(damage["meaning"].as_str().unwrap().contains("compiled again"), "{damage}");
    assert_eq!(damage["key"].as_str().unwrap().len(), 16);
    let said = ends(&sandbox, &["verify"], 1);
    assert!(said.contains("1 damaged") && said.contains("larder verify --repair"), "{said}");
    assert!(ends(&sandbox, &["doctor"], 0).contains("damage"));
    let repaired = json(&sandbox, &["verify", "--repair", "--json"], 0);
    assert_eq!(kinds(&repaired, "found"), ["record-head"]);
    assert_eq!(repaired["records_dropped"], 1);
    assert!(!repaired["repaired"].as_array().unwrap().is_empty());
    ends(&sandbox, &["verify"], 0);
    assert_eq!(sandbox.check("gcc", &["-c", "a.c"]), "direct");
    assert_eq!(sandbox.check("gcc", &["-c", "b.c"]), "miss");
    assert_eq!(sandbox.check("gcc", &["-c", "b.c"]), "direct");
}

#[test]
fn a_lost_superblock_is_named_and_made_anew() {
    let sandbox = filled();
    fs::write(sandbox.store().join("superblock"), [0x5a; 8192]).unwrap();
    let report = json(&sandbox, &["verify", "--json"], 1);
    assert_eq!(kinds(&report, "damaged"), ["superblock-lost"]);
    assert_eq!(report["damaged"][0]["severity"], "unusable");
    assert!(ends(&sandbox, &["doctor"], 1).contains("the superblock is lost"));
    let repaired = json(&sandbox, &["verify", "--repair", "--json"], 0);
    assert_eq!(kinds(&repaired, "found")[0], "superblock-lost");
    assert_eq!(repaired["repaired"][0]["file"], "superblock");
    ends(&sandbox, &["verify"], 0);
    assert_eq!(sandbox.check("gcc", &["-c", "a.c"]), "direct");
}

#[test]
fn where_there_is_nothing_to_read_the_status_is_3_and_nothing_is_made() {
    let sandbox = Sandbox::new();
    for arguments in [&["verify"][..], &["verify", "--repair"], &["verify", "--json"]] {
        ends(&sandbox, arguments, 3);
        assert!(!sandbox.store().exists(), "{arguments:?}");
    }
    assert!(ends(&sandbox, &["doctor", "--store"], 0).contains("there is no store yet"));
    assert!(!sandbox.store().exists());
    fs::create_dir(sandbox.store()).unwrap();
    fs::write(sandbox.store().join("precious"), b"precious").unwrap();
    for arguments in [&["verify"][..], &["verify", "--repair"]] {
        ends(&sandbox, arguments, 3);
    }
    assert!(ends(&sandbox, &["doctor"], 1).contains("no store"));
    assert_eq!(contents(&sandbox.store()).len(), 1);
    let mut sandbox = filled();
    sandbox.set("LARDER_READONLY", "1");
    let (path, at) = last_body(&sandbox);
    change(&path, |bytes| bytes[at + 50] ^= 1);
    assert!(ends(&sandbox, &["verify", "--repair"], 3).contains("cannot be written"));
}

#[test]
fn wrong_use_of_verify_and_doctor_is_status_2_and_help_is_given() {
    let sandbox = Sandbox::new();
    for wrong in [["verify", "--fix"], ["verify", "x"], ["doctor", "--nonsense"]] {
        assert!(ends(&sandbox, &wrong, 2).contains("--help`"));
    }
    let help = ends(&sandbox, &["verify", "--help"], 0);
    assert!(help.contains("exit status:") && help.contains("--repair"));
    assert!(ends(&sandbox, &["doctor", "--help"], 0).contains("--store"));
}

#[test]
fn the_doctor_explains_a_store() {
    let mut sandbox = filled();
    let before = contents(&sandbox.store());
    let report = json(&sandbox, &["doctor", "--store", "--json"], 0);
    assert_eq!((&report["problems"], report["store"].is_string()), (&0.into(), true));
    let line = |report: &Value, topic: &str| {
        let lines = report["findings"].as_array().unwrap().clone();
        lines.into_iter().find(|line| line["topic"] == topic)
    };
    for topic in ["store", "writing", "superblock", "kernel", "size", "segments", "power cut"] {
        let line = line(&report, topic).unwrap_or_else(|| panic!("{topic} in {report}"));
        assert_eq!(line["verdict"], "ok", "{line}");
    }
    let store = line(&report, "store").unwrap();
    assert!(store["text"].as_str().unwrap().ends_with("(environment, LARDER_DIR)"), "{store}");
    // The tests switch it off.
    assert_eq!(line(&report, "janitor").unwrap()["verdict"], "note");
    assert!(contents(&sandbox.store()) == before, "the doctor changed the store");
    change(&sandbox.store().join("superblock"), |bytes| bytes[4096 + 30] ^= 1);
    assert!(ends(&sandbox, &["doctor"], 1).contains("one of the two copies is damaged"));
    sandbox.set("LARDER_MAX_SIZE", "nonsense");
    sandbox.set("LARDER_READONLY", "1");
    let said = ends(&sandbox, &["doctor"], 1);
    assert!(said.contains("LARDER_MAX_SIZE") && said.contains("readonly is set"), "{said}");
}

#[test]
fn the_doctor_explains_why_a_store_cannot_be_opened() {
    let sandbox = filled();
    change(&sandbox.store().join("superblock"), |bytes| {
        for page in bytes.chunks_mut(4096) {
            page[8] += 1;
            let check = check32(&page[..108]);
            page[108..112].copy_from_slice(&check.to_le_bytes());
        }
    });
    assert!(ends(&sandbox, &["doctor"], 1).contains("a newer larder made it"));
    ends(&sandbox, &["verify"], 3);
    let sandbox = Sandbox::new();
    fs::write(sandbox.store(), b"a file").unwrap();
    assert!(ends(&sandbox, &["doctor"], 1).contains("problem  opening"));
}

/// Long after the damage was repaired the doctor said that it was met.
#[test]
fn the_doctor_speaks_of_damage_until_it_is_repaired() {
    let sandbox = filled();
    let (path, at) = last_body(&sandbox);
    assert!(ends(&sandbox, &["doctor"], 0).contains("none was met\n"));
    change(&path, |bytes| bytes[at + 50] ^= 1);
    sandbox.compile("gcc", &["-c", "b.c"]);
    assert!(ends(&sandbox, &["doctor"], 0).contains("met 1 time;"));
    ends(&sandbox, &["verify"], 1);
    assert!(ends(&sandbox, &["doctor"], 0).contains("met 1 time;"), "that has mended nothing");
    ends(&sandbox, &["verify", "--repair"], 0);
    assert!(ends(&sandbox, &["doctor"], 0).contains("none was met since the last repair"));
    assert_eq!(sandbox.count("engine_damaged"), 1);
    ends(&sandbox, &["zero"], 0);
    assert!(ends(&sandbox, &["doctor"], 0).contains("none was met\n"));
    assert_eq!((sandbox.count("engine_damaged"), sandbox.count("engine_damaged_mended")), (0, 0));
}

#[test]
fn numbers_that_no_counter_can_have_are_not_believed() {
    let sandbox = filled();
    assert!(!ends(&sandbox, &["doctor"], 0).contains("cannot be right"));
    // Any counter may be hit, one that nobody adds to yet, too.
    for id in [4, 22, 300, 517] {
        change(&sandbox.store().join("counters"), |bytes| bytes[id * 8 + 7] ^= 0x80);
        let said = ends(&sandbox, &["doctor"], 0);
        assert!(said.contains("note     counters") && said.contains("larder zero"), "{said}");
        assert!(!said.contains("met 9223"), "{said}");
        assert_eq!(ends(&sandbox, &["stats"], 0).contains("cannot be right"), id < 100);
        ends(&sandbox, &["zero"], 0);
        assert!(!ends(&sandbox, &["doctor"], 0).contains("cannot be right"));
    }
    for id in [4, 8, 22] {
        change(&sandbox.store().join("counters"), |bytes| bytes[id * 8 + 7] ^= 0x80);
    }
    assert!(ends(&sandbox, &["stats"], 0).contains("cannot be right"));
}

/// A name that is not UTF-8 was not told at all, and one with a line end was two lines.
#[test]
fn any_name_of_a_file_that_is_left_over_is_told_on_one_line() {
    let sandbox = filled();
    for name in [&b"not\xffutf8"[..], b"log/not\xffutf8", b"two\nlines\x1b[31m"] {
        fs::write(sandbox.store().join(OsStr::from_bytes(name)), "").unwrap();
    }
    let said = ends(&sandbox, &["verify"], 0);
    assert!(said.contains("3 files were left over\n"), "{said}");
    for line in ["  not\u{fffd}utf8: ", "  log/not\u{fffd}utf8: ", "  two\\nlines\\u{1b}[31m: "] {
        assert!(said.contains(line), "{line} in {said}");
    }
    let report = json(&sandbox, &["verify", "--json"], 0);
    assert_eq!(kinds(&report, "leftovers"), ["unknown-file"; 3]);
    assert!(report["leftovers"].to_string().contains("two\\nlines"), "{report}");
    assert_eq!(sandbox.check("gcc", &["-c", "a.c"]), "direct");
}
