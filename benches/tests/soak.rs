//! The soak and the count of an eviction's block requests, small; as root, else skipped.

use std::process::{Command, Output};

/// The exit status for something that is missing here.
const MISSING: i32 = 3;

/// Runs a program of the benchmarks, `None` if that cannot be done here.
fn run(program: &str, words: &str) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.arg("--json").arg("--directory").arg(folder.path());
    let output = command.args(words.split_whitespace()).output().expect("it starts");
    if output.status.code() == Some(MISSING) {
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr).trim());
        return None;
    }
    Some(output)
}

fn text(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    stdout.into_owned()
}

/// A figure of an object of JSON.
fn figure(text: &str, name: &str) -> f64 {
    let rest = text.split_once(&format!("\"{name}\":")).map(|(_, rest)| rest);
    let rest = rest.unwrap_or_else(|| panic!("there is no {name} in {text}"));
    rest.split([',', '}']).next().and_then(|figure| figure.parse().ok()).expect("a number")
}

fn assert_soaked(words: &str) -> Option<String> {
    let common = "--seconds 4 --max-size 68000000 --writers 2 --readers 1";
    let text = text(&run(env!("CARGO_BIN_EXE_soak"), &format!("{common} {words}"))?);
    assert!(figure(&text, "looks") > 5.0 && figure(&text, "hits") > 0.0, "{text}");
    assert!(figure(&text, "put_p999_ms") > 0.0, "{text}");
    // On a machine that is too slow for it, eviction does not begin.
    let evicts = figure(&text, "bytes_put") > 65_000_000.0;
    assert!(!evicts || figure(&text, "engine_segments_evicted") > 0.0, "{text}");
    Some(text)
}

#[test]
fn the_bound_holds_in_a_small_soak_at_full_rate() {
    assert_soaked("--fs xfs --rate full");
}

#[test]
fn the_bound_holds_in_a_small_soak_at_half_rate_with_clones() {
    let Some(text) = assert_soaked("--fs btrfs --rate half --clones") else { return };
    assert!(figure(&text, "disk_bytes_per_second") > 0.0, "{text}");
    assert!(figure(&text, "restored_cloned") + figure(&text, "restored_copied") > 0.0, "{text}");
}

#[test]
fn inline_upkeep_keeps_the_bound_in_a_small_soak() {
    let Some(text) = assert_soaked("--fs ext4 --janitor inline") else { return };
    assert_eq!(figure(&text, "engine_reinserted_records"), 0.0);
}

/// Without a janitor puts are dropped, and a bound that is lower than what is there is seen.
#[test]
fn a_soak_that_passes_the_bound_fails() {
    let words = "--seconds 2 --fs ext4 --max-size 1000000 --writers 1 --readers 0";
    let Some(output) = run(env!("CARGO_BIN_EXE_soak"), words) else { return };
    assert!(!output.status.success(), "a store of 1 MB cannot be");
}

#[test]
fn an_eviction_asks_the_disk_for_little() {
    let words = "--entries 8000 --bytes 100000000";
    let Some(output) = run(env!("CARGO_BIN_EXE_evict"), words) else { return };
    let text = text(&output);
    assert!(figure(&text, "bytes_evicted") >= 100_000_000.0, "{text}");
    assert!((4.0..=100.0).contains(&figure(&text, "requests")), "{text}");
}
