//! A small run of the randomised equivalence test, from fixed seeds, and that it can fail.

use larder_tests::equivalence::{self, Kitchen, Language, Tally};
use larder_tests::larder_binary;

use super::Sandbox;

/// Few enough for a test run; `cargo xtask equivalence` makes 10,000 changes.
const SEEDS: std::ops::Range<u64> = 1..7;
const CHANGES: u64 = 8;
/// A workspace has several crates, and each runs rustc.
const CRATE_CHANGES: u64 = 5;

/// That so many changes ran, and that they show something.
#[track_caller]
fn check_tally(tally: &Tally, mutations_min: u64) {
    let calls: u64 = tally.counted.values().sum();
    assert!(tally.mutations >= mutations_min, "{tally:?}");
    assert!(tally.hits() * 6 >= calls, "hardly anything hits: {tally:?}");
    assert!(tally.successes * 3 >= tally.mutations, "hardly anything compiles: {tally:?}");
}

#[test]
fn random_changes_of_random_projects_leave_what_the_compiler_leaves() {
    let mut tally = Tally::default();
    let kitchen = Kitchen::new(larder_binary(), Language::C).unwrap();
    for seed in SEEDS {
        let (of_seed, failure) = equivalence::run(&kitchen, seed, CHANGES).unwrap();
        assert!(failure.is_none(), "{}", failure.unwrap());
        tally.add(&of_seed);
    }
    check_tally(&tally, 40);
}

/// The same with workspaces of crates; `cargo xtask equivalence --rust` makes more of them.
#[test]
fn random_changes_of_random_crates_leave_what_rustc_leaves() {
    let mut tally = Tally::default();
    let kitchen = Kitchen::new(larder_binary(), Language::Rust).unwrap();
    for seed in 1..4 {
        let (of_seed, failure) = equivalence::run(&kitchen, seed, CRATE_CHANGES).unwrap();
        assert!(failure.is_none(), "{}", failure.unwrap());
        tally.add(&of_seed);
    }
    check_tally(&tally, 10);
}

/// The same with links; `cargo xtask equivalence --links` makes more of them.
#[test]
fn random_changes_of_random_links_leave_what_the_linker_leaves() {
    let mut tally = Tally::default();
    let kitchen = Kitchen::new(larder_binary(), Language::Link).unwrap();
    for seed in 1..3 {
        let (of_seed, failure) = equivalence::run(&kitchen, seed, CRATE_CHANGES).unwrap();
        assert!(failure.is_none(), "{}", failure.unwrap());
        tally.add(&of_seed);
    }
    check_tally(&tally, 8);
}

/// A stand-in for larder that passes every call on, and spoils objects of the second call: what the
/// comparison must find, and make small.
#[test]
fn a_cache_that_gives_back_something_else_is_found() {
    let sandbox = Sandbox::new();
    let script = "#!/bin/sh\n\
        if [ \"$1\" = stats ]; then exec @LARDER@ stats --json; fi\n\
        case $0 in */links/*) set -- \"/usr/bin/${0##*/}\" \"$@\";; esac\n\
        \"$@\"; status=$?\n\
        if [ -e \"$LARDER_DIR.seen\" ] && [ -f out/a.o ]; then echo >> out/a.o; fi\n\
        : > \"$LARDER_DIR.seen\"\n\
        exit $status\n";
    let larder = larder_binary().display().to_string();
    sandbox.write("bad", &script.replace("@LARDER@", &larder));
    let bad = sandbox.path("bad");
    let chmod = std::process::Command::new("chmod").arg("+x").arg(&bad).status().unwrap();
    assert!(chmod.success());
    let kitchen = Kitchen::new(&bad, Language::C).unwrap();
    let found = (1..20).find_map(|seed| {
        let (_, failure) = equivalence::run(&kitchen, seed, 3).unwrap();
        failure
    });
    let failure = found.expect("a spoilt object is found");
    assert!(failure.wrong.iter().any(|wrong| wrong.contains(".o:")), "{failure}");
    assert!(failure.script.steps.len() <= 2, "{failure}");
}

/// A stand-in that answers by the words of the call alone: no source, variable or extern counts.
#[test]
fn a_cache_that_forgets_what_a_crate_reads_is_found() {
    let sandbox = Sandbox::new();
    let script = "#!/bin/sh\n\
        if [ \"$1\" = stats ]; then exec @LARDER@ stats --json; fi\n\
        case $0 in */links/*) PATH=${PATH#*:}; set -- \"${0##*/}\" \"$@\";; esac\n\
        kept=$LARDER_DIR.$(printf '%s ' \"$PWD\" \"$@\" | md5sum | cut -c1-32)\n\
        if [ -d \"$kept\" ]; then cp -r \"$kept/.\" out; exit 0; fi\n\
        \"$@\" || exit\n\
        mkdir -p out && cp -r out \"$kept\"\n";
    let larder = larder_binary().display().to_string();
    sandbox.write("bad", &script.replace("@LARDER@", &larder));
    let bad = sandbox.path("bad");
    let chmod = std::process::Command::new("chmod").arg("+x").arg(&bad).status().unwrap();
    assert!(chmod.success());
    let kitchen = Kitchen::new(&bad, Language::Rust).unwrap();
    let wrong = (1..10).find_map(|seed| equivalence::first_wrong(&kitchen, seed, 5).unwrap());
    let wrong = wrong.expect("a crate that is not compiled anew is found");
    assert!(wrong.iter().any(|wrong| wrong.contains("with larder")), "{wrong:?}");
}
