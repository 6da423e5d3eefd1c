//! A short run of every fuzz target: valid bytes, changed ones, random ones.

use std::panic::{AssertUnwindSafe, catch_unwind};

use larder_tests::fuzz::{self, TARGETS, Target};
use larder_tests::sample::{Random, with_seeds};

/// Rounds of each target.
const ROUNDS: u64 = 150;

/// One round: valid bytes, then changed ones, then noise of some length.
fn round(target: &Target, seed: u64) {
    let mut random = Random::new(seed);
    let mut bytes = (target.valid)(&mut random);
    (target.run)(&bytes);
    fuzz::change(&mut random, &mut bytes);
    (target.run)(&bytes);
    let length = *random.choose(&[0, 1, 16, 63, 64, 80, 96, 4096, 8192]);
    let noise: Vec<u8> = (0..length).map(|_| random.number() as u8).collect();
    (target.run)(&noise);
}

#[test]
fn no_target_panics_in_a_short_run() {
    for target in TARGETS {
        with_seeds(&[], ROUNDS, |seed| round(target, seed));
    }
}

/// A decoder with a bug: it believes the count in a leaf.
fn planted(page: &[u8]) {
    if page.len() == 4096 {
        let count = usize::from(u16::from_le_bytes([page[18], page[19]]));
        let last = &page[24..24 + 16 * count];
        assert!(last.len() <= 4072);
    }
}

#[test]
fn a_planted_bug_is_found_by_the_same_run() {
    let leaf = TARGETS.iter().find(|target| target.name == "leaf").expect("leaves are a target");
    let target = Target { name: "planted", run: planted, ..*leaf };
    let finds = |seed| catch_unwind(AssertUnwindSafe(|| round(&target, seed))).is_err();
    assert!((1_000_000..1_000_000 + ROUNDS).any(finds));
}

/// Each target has its binary in tests/fuzz, and each binary a target.
#[test]
fn every_target_has_a_binary() {
    let folder = larder_tests::workspace_root().join("tests/fuzz/fuzz_targets");
    let mut binaries: Vec<String> = std::fs::read_dir(folder)
        .expect("the binaries stand in tests/fuzz")
        .map(|entry| entry.expect("the folder is readable").file_name().into_string().unwrap())
        .collect();
    binaries.sort();
    let mut wanted: Vec<String> = TARGETS.iter().map(|t| format!("{}.rs", t.name)).collect();
    wanted.sort();
    assert_eq!(binaries, wanted);
    let manifest = larder_tests::workspace_root().join("tests/fuzz/Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).expect("tests/fuzz has a manifest");
    assert!(TARGETS.iter().all(|t| manifest.contains(&format!("name = \"{}\"", t.name))));
}
