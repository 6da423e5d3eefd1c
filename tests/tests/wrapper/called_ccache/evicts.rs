//! The upkeep of a cache that fills up, with the janitor in a process of its own.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{House, assert_good, text};

/// No store is smaller while compiling, whatever `max_size` says.
const LIMIT_BYTES: u64 = 64 << 20;
/// What a store takes with nothing in it: files that are made as a whole.
const EMPTY_BYTES_MAX: u64 = 16 << 20;
/// Objects of this length.
const OBJECT_BYTES: u64 = 4 << 20;
/// More of them than there is room for.
const OBJECTS: u64 = 20;

/// Numbers without an order, which nothing can compress.
fn numbers(seed: u64) -> String {
    let mut state = seed;
    let mut source = String::new();
    for _ in 0..OBJECT_BYTES / 8 {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        writeln!(source, ".quad {}", mixed ^ (mixed >> 31)).unwrap();
    }
    source
}

fn disk_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    // A segment may go while we look.
    let facts = |entry: fs::DirEntry| Some((entry.path(), entry.metadata().ok()?));
    let bytes = entries.filter_map(facts).map(|(path, facts)| match facts.is_dir() {
        true => disk_bytes(&path),
        false => facts.blocks() * 512,
    });
    bytes.sum()
}

fn cleanups(house: &House) -> u64 {
    let output = house.run(&["--print-stats"], &[]);
    let row = text(&output.stdout).lines().find_map(|row| row.strip_prefix("cleanups_performed\t"));
    row.unwrap().parse().unwrap()
}

#[test]
fn a_cache_stays_below_its_limit_and_counts_cleanups() {
    let house = House::new();
    house.write("cache/ccache.conf", "max_size = 1M\n");
    for number in 0..OBJECTS {
        house.write("work/a.s", &numbers(number));
        let mut command = house.command(&house.ccache());
        command.args(["gcc", "-c", "a.s"]).env_remove("LARDER_JANITOR");
        assert_good(&command.output().unwrap());
        assert!(fs::metadata(house.at("work/a.o")).unwrap().len() > OBJECT_BYTES);
        assert!(disk_bytes(&house.at("cache")) <= LIMIT_BYTES, "after {number}");
    }
    let begun = Instant::now();
    while cleanups(&house) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody cleaned up");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(disk_bytes(&house.at("cache")) <= LIMIT_BYTES);
    // No store is as small as the setting: an empty one comes nearest.
    let mut command = house.command(&house.ccache());
    assert_good(&command.args(["-c"]).output().unwrap());
    assert!(disk_bytes(&house.at("cache")) <= EMPTY_BYTES_MAX);
}
