//! Conversions of caches that are in use, at once, killed, and without room.

use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use larder::ccache_entry::Kind;
use larder_engine::env::{Env, LockByte, LockTable, RealEnv};
use larder_tests::disk::{Disk, FileSystem};
use larder_tests::fuzz_ccache::{Layout, entry, result};
use larder_tests::sample::Random;

use super::eras::make::Files;
use super::*;

/// So many entries that stand alone, each with contents of its own.
fn many(count: usize, bytes: usize) -> Files {
    let layout = Layout::Second;
    let one = |number: usize| {
        let mut random = Random::new(number as u64);
        let object: Vec<u8> = (0..bytes / 8).flat_map(|_| random.number().to_le_bytes()).collect();
        let bytes = entry(layout, Kind::Result, &result(layout, &[(0, Ok(&object))]), None);
        let digits = format!("{:016x}{number:024x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        (format!("{}/{}/{}", &digits[..1], &digits[1..2], &digits[2..]), bytes)
    };
    (0..count).map(one).collect()
}

/// As a tool's own cleaning does it, and its compiles: entries go, and come again by renaming.
#[test]
fn a_cache_that_is_cleaned_meanwhile_is_no_damage() {
    let house = House::new();
    let files = many(1500, 800);
    super::eras::place(&files, &house.at("from"));
    let is_over = AtomicBool::new(false);
    let paths: Vec<&String> = files.keys().collect();
    thread::scope(|scope| {
        let clean = || {
            let mut random = Random::new(1);
            while !is_over.load(Ordering::Relaxed) {
                let path = house.at("from").join(random.choose(&paths));
                let beside = path.with_extension("tmp.x");
                // Most stay, so that there is always a cache.
                if random.below(3) == 0 && path.to_string_lossy().ends_with(['0', '5', 'a']) {
                    let _ = fs::remove_file(&path);
                } else if let Ok(bytes) = fs::read(&path) {
                    fs::write(&beside, bytes).unwrap();
                    fs::rename(&beside, &path).unwrap();
                }
            }
        };
        scope.spawn(clean);
        for (layout, to) in
            [("ccache", "to"), ("larder", "store"), ("tar", "to.tar"), ("lmdb", "to.lmdb")]
        {
            let (status, page) = house.convert(&["from", to, "--to", layout]);
            if status != Some(0) || page["entries"].as_u64().unwrap() == 0 {
                is_over.store(true, Ordering::Relaxed);
                panic!("{status:?} {page:#}");
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    for (to, back) in [("store", "store-back"), ("to.tar", "tar-back"), ("to.lmdb", "lmdb-back")] {
        house.convert_all(&[to, back, "--to", "ccache"]);
    }
    for to in ["to", "store-back", "tar-back", "lmdb-back"] {
        let found = entries_of(&tree(&house.at(to)));
        assert!(!found.is_empty());
        assert!(found.iter().all(|(path, kept)| files.get(path) == Some(&kept.bytes)), "{to}");
    }
}

#[test]
fn two_conversions_at_once_leave_one_result() {
    let house = House::new();
    super::eras::place(&many(600, 2000), &house.at("from"));
    let before = entries_of(&tree(&house.at("from")));
    for (layout, to) in
        [("ccache", "to"), ("larder", "store"), ("lmdb", "to.lmdb"), ("tar", "to.tar")]
    {
        let words = ["convert", "from", to, "--to", layout];
        let both: Vec<_> = (0..2)
            .map(|_| house.larder().args(words).stdout(Stdio::piped()).spawn().unwrap())
            .collect();
        for child in both {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{layout} {}", text_of(&output));
        }
        let back = format!("{layout}-back");
        house.convert_all(&[to, &back, "--to", "ccache"]);
        assert_same(&entries_of(&tree(&house.at(&back))), &before, layout);
    }
}

#[test]
fn a_killed_conversion_goes_on_where_it_was() {
    let house = House::new();
    super::eras::place(&many(800, 4000), &house.at("from"));
    let before = entries_of(&tree(&house.at("from")));
    let mut random = Random::new(7);
    let mut killed = 0;
    for (layout, to) in
        [("ccache", "to"), ("larder", "store"), ("lmdb", "to.lmdb"), ("tar", "to.tar")]
    {
        for _ in 0..8 {
            let words = ["convert", "from", to, "--to", layout, "--overwrite"];
            let mut child = house.larder().args(words).stdout(Stdio::null()).spawn().unwrap();
            thread::sleep(Duration::from_millis(1 + random.below(60)));
            child.kill().unwrap();
            killed += u32::from(!child.wait().unwrap().success());
        }
        house.convert_all(&["from", to, "--to", layout]);
        let back = format!("{layout}-back");
        house.convert_all(&[to, &back, "--to", "ccache"]);
        assert_same(&entries_of(&tree(&house.at(&back))), &before, layout);
    }
    assert!(killed > 0, "all were done before they could be killed");
}

/// A report says what is there: without room entries fail by name, and the others are whole.
#[test]
fn a_target_without_room_is_told() {
    let Some(disk) = Disk::with(FileSystem::Tmpfs, ",size=1m") else { return };
    let house = House::new();
    let files = many(400, 8000);
    super::eras::place(&files, &house.at("from"));
    for layout in ["ccache", "larder", "lmdb", "tar"] {
        let to = disk.path().join(layout).display().to_string();
        let output = house.run(&["convert", "from", &to, "--to", layout, "--json"]);
        assert!(matches!(output.status.code(), Some(1 | 4)), "{layout} {}", text_of(&output));
        if layout == "ccache" {
            let page: Value = serde_json::from_slice(&output.stdout).unwrap();
            let found = entries_of(&tree(Path::new(&to)));
            assert_eq!(page["entries"], found.len(), "{page:#}");
            let failed = page["failed_count"].as_u64().unwrap();
            // Sixteen directories have no room for their statistics, either.
            let sum = found.len() as u64 + failed;
            assert!((400..=416).contains(&sum), "{page:#}");
            assert!(found.iter().all(|(path, kept)| files.get(path) == Some(&kept.bytes)));
        } else if output.status.code() == Some(1) {
            assert!(String::from_utf8_lossy(&output.stderr).contains(&to), "{}", text_of(&output));
        }
        if layout == "tar" {
            assert!(!Path::new(&to).exists(), "half an archive has no name");
        }
        let _ = fs::remove_dir_all(&to);
        fs::read_dir(disk.path())
            .unwrap()
            .for_each(|one| drop(fs::remove_file(one.unwrap().path())));
    }
}

#[test]
fn a_target_that_cannot_be_written_is_told() {
    let Some(disk) = Disk::new(FileSystem::Tmpfs) else { return };
    let house = House::new();
    super::eras::place(&many(5, 100), &house.at("from"));
    for layout in ["ccache", "larder", "lmdb"] {
        let to = disk.path().join(layout).display().to_string();
        house.convert_all(&["from", &to, "--to", layout]);
    }
    disk.remount("remount,ro").unwrap();
    for layout in ["ccache", "larder", "lmdb", "tar"] {
        let to = disk.path().join(layout).display().to_string();
        let output = house.run(&["convert", "from", &to, "--to", layout, "--overwrite"]);
        assert!(matches!(output.status.code(), Some(1 | 4)), "{layout} {}", text_of(&output));
        let said = text_of(&output);
        assert!(said.contains("ead-only") || said.contains("cannot be written"), "{layout} {said}");
        if layout != "tar" {
            // And it can be read all the same.
            let back = format!("{layout}-back");
            house.convert_all(&[&to, &back, "--to", "ccache"]);
            assert_eq!(entries_of(&tree(&house.at(&back))).len(), 5, "{layout}");
        }
    }
    disk.remount("remount,rw").unwrap();
}

/// A compile gives up a lock soon; who converts has time.
#[test]
fn who_is_busy_with_a_store_is_waited_for() {
    let house = House::new();
    super::eras::place(&many(3, 100), &house.at("from"));
    house.convert_all(&["from", "store", "--to", "larder"]);
    super::eras::place(&many(9, 100), &house.at("more"));
    let env: Arc<dyn Env> = Arc::new(RealEnv);
    let locks = LockTable::open(&env, &house.at("store"), 0o600).unwrap();
    let lock = locks.lock(LockByte::Tail, 1_000).unwrap();
    let words = ["convert", "more", "store", "--to", "larder"];
    let child = house.larder().args(words).stdout(Stdio::piped()).spawn().unwrap();
    thread::sleep(Duration::from_millis(700));
    drop(lock);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    let left = house.json(&["ls", "store", "--json"])["entries"].as_array().unwrap().len();
    assert_eq!(left, 9);
}

/// What a store evicts to keep to its size has been written, and is not there.
#[test]
fn what_a_store_evicts_meanwhile_is_told() {
    let house = House::new();
    super::eras::place(&many(90, 1_500_000), &house.at("from"));
    let page = house.convert_all(&["from", "store", "--to", "larder", "--max-size", "64Mi"]);
    assert_eq!(page["entries"], 90, "{page:#}");
    assert!(page["evicted_segments"].as_u64().unwrap() > 0, "{page:#}");
    let left = house.json(&["ls", "store", "--json"])["entries"].as_array().unwrap().len();
    assert!(left < 90, "{left} of 90 are there");
    let text = house.run(&["convert", "from", "store", "--to", "larder", "--max-size", "64Mi"]);
    assert!(text_of(&text).contains("were evicted meanwhile"), "{}", text_of(&text));
}
