//! `inspect`, `ls`, `cat`, `rm` and `du`, and conversions that write nothing.

use std::fs;

use super::eras::{make, place};
use super::*;

/// Caches of both tools, and a store that has all of their entries.
fn filled() -> House {
    let house = House::new();
    place(&make::ccache_413(), &house.at("ccache"));
    place(&make::ccache_3(), &house.at("old"));
    place(&make::sccache(), &house.at("sccache"));
    for from in ["ccache", "old", "sccache"] {
        house.convert_all(&[from, "own", "--to", "larder"]);
    }
    house
}

fn names(page: &Value) -> Vec<String> {
    let entries = page["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_dry_run_makes_nothing() {
    let house = filled();
    house.convert_all(&["ccache", "from.tar"]);
    house.convert_all(&["sccache", "from.lmdb"]);
    fs::create_dir(house.at("empty")).unwrap();
    // Readers of LMDB enter themselves in its lock.
    let tree = |top: &Path| -> Tree {
        tree(top).into_iter().filter(|(path, _)| !path.ends_with("-lock")).collect()
    };
    let before = tree(house.dir.path());
    for from in ["ccache", "old", "sccache", "own", "from.tar", "from.lmdb"] {
        for layout in
            ["larder", "ccache", "ccache-storage", "ccache-storage-flat", "sccache", "lmdb"]
        {
            for to in ["new", "empty"] {
                let page = house.convert_all(&[from, to, "--to", layout, "--dry-run"]);
                assert_eq!(page["dry_run"], true);
            }
        }
        house.convert_all(&[from, "new.tar", "--dry-run"]);
    }
    let words = ["ccache", "from.tar", "--dry-run", "--to", "tar", "--overwrite"];
    assert!(house.convert_all(&words)["entries"].as_u64().unwrap() > 0);
    assert_same(&tree(house.dir.path()), &before, "after dry runs");
    assert_eq!(fs::read_dir(house.at("empty")).unwrap().count(), 0);
    assert!(!house.at("new").exists());
    // It says what the work says.
    let dry = house.convert_all(&["ccache", "to", "--to", "ccache-storage", "--dry-run"]);
    let done = house.convert_all(&["ccache", "to", "--to", "ccache-storage"]);
    for field in ["entries", "bytes", "written", "no_place", "present"] {
        assert_eq!(dry[field], done[field], "{field}");
    }
    let again = house.convert_all(&["ccache", "to", "--to", "ccache-storage", "--dry-run"]);
    assert_eq!((&again["entries"], &again["present"]), (&0.into(), &done["entries"]));
}

#[test]
fn entries_are_listed_and_summed_up_alike_everywhere() {
    let house = filled();
    let store = house.json(&["ls", "--json"]);
    let mut in_store = names(&store);
    let mut elsewhere = Vec::new();
    for from in ["ccache", "old", "sccache"] {
        elsewhere.extend(names(&house.json(&["ls", from, "--json"])));
        let text = String::from_utf8(house.good(&["ls", from])).unwrap();
        assert!(names(&house.json(&["ls", from, "--json"])).iter().all(|name| text.contains(name)));
        let du = house.json(&["du", from, "--json"]);
        let listed = house.json(&["ls", from, "--json"]);
        let bytes = listed["entries"].as_array().unwrap().iter();
        let bytes: u64 = bytes.map(|entry| entry["bytes"].as_u64().unwrap()).sum();
        assert_eq!(du["bytes"], bytes, "{from}");
        let on_disk: u64 = tree(&house.at(from)).values().map(|kept| kept.bytes.len() as u64).sum();
        assert_eq!(bytes, on_disk, "{from}");
        assert_eq!(du["entries"], listed["entries"].as_array().unwrap().len());
    }
    // Both caches of ccache have a tag and statistics of the same name.
    in_store.sort();
    elsewhere.sort();
    elsewhere.dedup();
    assert_eq!(in_store, elsewhere);
    let du = house.json(&["du", "--json"]);
    assert_eq!(du["entries"], in_store.len());
    // Named by its path, or as an export, a store is shown as if the settings named it.
    assert!(house.run(&["export", "out"]).status.success());
    for path in ["own", "out"] {
        assert_eq!(house.json(&["ls", path, "--json"])["entries"], store["entries"], "{path}");
        assert_eq!(house.json(&["du", path, "--json"]), du, "{path}");
        let only = names(&house.json(&["ls", path, "--json", "--namespace", "ns"]));
        assert_eq!(only.len(), 15, "{path}");
    }
    let spaces = du["namespaces"].as_array().unwrap();
    assert!(spaces.iter().any(|one| one["name"] == "ns" && one["entries"] == 15), "{du:#}");
    assert!(String::from_utf8(house.good(&["du"])).unwrap().contains("by namespace"));
    let only = names(&house.json(&["ls", "--json", "--namespace", "ns"]));
    assert_eq!(only.len(), 15);
    let only = names(&house.json(&["ls", "ccache", "--json", "--prefix", "c1d2"]));
    assert_eq!(only.len(), 3, "{only:?}");
}

#[test]
fn every_entry_of_a_store_can_be_looked_into_by_its_name() {
    let house = filled();
    for name in names(&house.json(&["ls", "--json"])) {
        let page = house.json(&["inspect", &name, "--json"]);
        assert_eq!(page["entry"], name, "{page:#}");
        let bytes = house.good(&["cat", &name, "foreign-entry"]);
        let (family, text) = name.split_once(':').unwrap();
        let sections = page["sections"].as_array().unwrap();
        let last = sections.len() - 1;
        house.good(&["cat", &name, &last.to_string()]);
        assert_eq!(house.good(&["cat", &name, "foreign-name"]), name.as_bytes());
        if family != "file" {
            // Without whose it is, or by the key.
            let key = page["key"].as_str().unwrap();
            assert_eq!(house.json(&["inspect", text, "--json"])["key"], key);
            assert_eq!(house.json(&["inspect", &key[..12], "--json"])["key"], key);
        }
        if family == "sccache" {
            let path = format!("sccache/{}/{}/{text}", &text[..1], &text[1..2]);
            assert_eq!(bytes, fs::read(house.at(&path)).unwrap());
        }
    }
    for wrong in ["ccache:abc", "0", "no such", "ffffffff", "../../etc", "sccache:", ":"] {
        let output = house.run(&["inspect", wrong]);
        assert_eq!(output.status.code(), Some(1), "{wrong} {}", text_of(&output));
        assert!(String::from_utf8_lossy(&output.stderr).contains(wrong), "{}", text_of(&output));
    }
}

#[test]
fn sections_of_files_come_out_decompressed() {
    let house = filled();
    for path in make::sccache().into_keys() {
        let path = format!("sccache/{path}");
        if path.starts_with("sccache/f/") {
            let object = house.good(&["cat", &path, "obj"]);
            assert!(object.starts_with(b"a text of an object"));
            assert_eq!(house.good(&["cat", &path, "stderr"]), b"a.c:1: warning");
            assert_eq!(house.good(&["cat", &path, "0"]), object);
            let output = house.run(&["cat", &path, "none"]);
            assert_eq!(output.status.code(), Some(1));
            assert!(String::from_utf8_lossy(&output.stderr).contains("obj, stderr"));
        }
    }
    let mut shown = 0;
    for (path, bytes) in make::ccache_413() {
        let path = format!("ccache/{path}");
        if bytes.starts_with(&[0xcc, 0xac, 1, 0]) {
            let output = house.run(&["cat", &path, "o"]);
            let is_beside = house.at(&format!("{path}_00")).exists();
            assert_eq!(output.status.success(), !is_beside, "{}", text_of(&output));
            if !is_beside {
                assert!(output.stdout.starts_with(b"a text of an object"));
                shown += 1;
            }
        }
    }
    assert_eq!(shown, 6);
}

#[test]
fn what_is_removed_is_gone() {
    let house = filled();
    let before = names(&house.json(&["ls", "--json"]));
    let (first, second) = (&before[0], before[1].split_once(':').unwrap().1);
    let page = house.json(&["rm", first, "--json"]);
    assert_eq!(page["removed"].as_array().unwrap().len(), 1, "{page:#}");
    house.good(&["rm", second]);
    let after = names(&house.json(&["ls", "--json"]));
    assert_eq!(after, before[2..]);
    // One wrong word keeps no other from being done.
    let output = house.run(&["rm", "ccache:nothing", &before[2], first]);
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert_eq!(names(&house.json(&["ls", "--json"])), before[3..]);
    assert_eq!(house.run(&["inspect", first]).status.code(), Some(1));
    // The next conversion brings them again.
    for from in ["ccache", "old", "sccache"] {
        house.convert_all(&[from, "own", "--to", "larder"]);
    }
    let mut again = names(&house.json(&["ls", "--json"]));
    let mut wanted = before.clone();
    again.sort();
    wanted.sort();
    assert_eq!(again, wanted);
}

#[test]
fn whoever_stops_reading_hears_no_complaint() {
    let house = filled();
    let script = "\"$0\" ls | head -c 1 >/dev/null; \"$0\" cat \"$1\" 0 | head -c 1 >/dev/null";
    let path = make::ccache_413().into_keys().find(|path| path.starts_with("a/3/")).unwrap();
    let mut shell = house.command(Path::new("sh"));
    shell.env("LARDER_DIR", house.at("own")).args(["-c", script]).arg(larder_binary());
    let output = shell.arg(house.at("ccache").join(path)).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text_of(&output));
}
