//! What the engine must not do: reach around its `env`, read its surroundings, speak, start
//! programs.

use super::paths;
use super::source::{Source, tokens};
use super::{assert_complains, assert_tidy, sources};

/// The one door to the system.
const DOOR: &str = "engine/src/env/";

/// Paths below `std` that only `env` may name, and why.
const BEHIND_THE_DOOR: &[(&str, &str)] = &[
    ("fs", "files are reached through `env`, where tests inject faults"),
    ("os::unix::fs", "files are reached through `env`, where tests inject faults"),
    ("time::SystemTime", "clocks are read through `env`, where tests set them"),
    ("time::Instant", "clocks are read through `env`, where tests set them"),
];

/// Paths below `std` that nobody in the engine may name.
const NEVER: &[(&str, &str)] = &[
    ("env", "the engine reads no environment variable; pass an option"),
    ("process::Command", "the engine starts no program; that is its caller's part"),
    ("io::stdout", "the engine prints nothing; return what there is to say"),
    ("io::stderr", "the engine prints nothing; return what there is to say"),
];

const PRINTS: &[&str] = &["print", "println", "eprint", "eprintln"];

fn check(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for path in paths::rooted(&source.live, "std") {
        let name = path.segments.join("::");
        let is_below = |ban: &str| name == ban || name.starts_with(&format!("{ban}::"));
        let behind = BEHIND_THE_DOOR.iter().filter(|_| !source.name.starts_with(DOOR));
        for (_, why) in NEVER.iter().chain(behind).filter(|(ban, _)| is_below(ban)) {
            complaints.push(format!("{}: `std::{name}`: {why}", source.place(path.offset)));
        }
    }
    for pair in tokens(&source.live).windows(2) {
        if pair[1].text == "!" && PRINTS.contains(&pair[0].text) {
            let place = source.place(pair[0].offset);
            complaints.push(format!("{place}: `{}!`: the engine prints nothing", pair[0].text));
        }
    }
    complaints
}

#[test]
fn the_engine_keeps_to_itself() {
    assert_tidy(sources("engine/src/").iter().flat_map(check));
}

#[cfg(test)]
fn complaints(file: &str, text: &str) -> Vec<String> {
    check(&Source::new(file, text))
}

#[test]
fn every_ban_can_fail() {
    let bad = [
        "use std::fs::File;",
        "use std::{io, fs};",
        "use std::os::unix::fs::FileExt;",
        "fn f() { std::fs::read(p) }",
        "use std::time::{Duration, SystemTime};",
        "let t = ::std::time::Instant::now();",
    ];
    for text in bad {
        assert_complains(complaints("engine/src/log/mod.rs", text), "through `env`");
        assert_tidy(complaints("engine/src/env/real.rs", text));
    }
    assert_complains(complaints("engine/src/env/mod.rs", "std::env::var(a)"), "no environment");
    assert_complains(complaints("engine/src/a.rs", "use std::process::Command;"), "no program");
    assert_complains(complaints("engine/src/a.rs", "fn f() { println!(\"a\") }"), "prints nothing");
    assert_complains(
        complaints("engine/src/a.rs", "use std::io::{self, stderr};"),
        "prints nothing",
    );
}

#[test]
fn tests_and_words_are_free() {
    let text = "
use std::{io, time::Duration}; use crate::env::Env; // std::fs
const A: &str = \"println!\";
#[cfg(test)]
mod tests { use std::fs; fn f() { println!(); std::env::var(a); } }";
    assert_tidy(complaints("engine/src/a.rs", text));
}
