//! What machines get from each other through tiers.

use std::fs;
use std::path::Path;
use std::process::Command;

use larder_tests::{find_or_skip, temp_dir};

use super::machine::{Machine, Sources, file_tier, files_of};
use super::servers::Redis;

const UNITS: [&str; 3] = ["a", "b", "c"];

#[test]
fn what_one_machine_has_made_another_gets_and_keeps() {
    let sources = Sources::new();
    let shared = temp_dir();
    let tier = file_tier(&shared.path().join("tier"));
    let (one, two) = (Machine::new(&tier), Machine::new(&tier));
    let made: Vec<_> = UNITS.iter().map(|unit| one.compile(&sources, unit)).collect();
    assert!(made.iter().all(|left| left.status == Some(0) && left.object.is_some()), "{made:?}");
    assert_eq!(one.counts(), (0, 3));
    one.flush();
    for (unit, expected) in UNITS.iter().zip(&made) {
        assert_eq!(&two.compile(&sources, unit), expected, "{}", two.log());
    }
    assert_eq!(two.counts(), (3, 0), "{}", two.log());
    assert_eq!(two.count("remote_storage_hit"), 3);
    assert_eq!((two.of_tier(0, "hits"), two.of_tier(0, "damaged")), (6, 0));
    // It has them now, whatever becomes of the tier.
    fs::remove_dir_all(shared.path().join("tier")).unwrap();
    for (unit, expected) in UNITS.iter().zip(&made) {
        assert_eq!(&two.compile(&sources, unit), expected);
    }
    assert_eq!((two.counts(), two.of_tier(0, "hits")), ((6, 0), 6));
}

#[test]
fn a_local_hit_opens_no_socket_and_starts_no_process() {
    let Some(strace) = find_or_skip("strace") else { return };
    let sources = Sources::new();
    let shared = temp_dir();
    let machine = Machine::new(&file_tier(shared.path()));
    machine.compile(&sources, "a");
    let trace = machine.runtime().join("trace");
    for (is_hit, words) in [(true, &[][..]), (false, &["-DMISS"][..])] {
        let compile = machine.compile_command(&sources, "a", words);
        let mut traced = machine.command_of(&strace, sources.path());
        traced.args(["-f", "-qq", "-e", "trace=network,process", "-o"]).arg(&trace);
        traced.arg(compile.get_program()).args(compile.get_args());
        assert!(traced.output().unwrap().status.success());
        let calls = fs::read_to_string(&trace).unwrap();
        let count = |name: &str| calls.lines().filter(|line| line.contains(name)).count();
        let is_alone = count(" socket(") + count(" clone") + count(" vfork(") == 0;
        assert_eq!((is_alone, count(" execve(") == 1), (is_hit, is_hit), "{calls}");
    }
}

#[test]
fn faster_tiers_are_filled_and_slower_ones_are_not() {
    let sources = Sources::new();
    let shared = temp_dir();
    let tiers = ["fast", "middle", "slow"].map(|name| shared.path().join(name));
    let one = Machine::new(&file_tier(&tiers[1]));
    let made = one.compile(&sources, "a");
    one.flush();
    let two = Machine::new(&tiers.each_ref().map(|tier| file_tier(tier)).join(" "));
    assert_eq!(two.compile(&sources, "a"), made);
    assert_eq!(two.counts(), (1, 0), "{}", two.log());
    two.flush();
    let names = |tier: &Path| -> Vec<_> {
        files_of(tier).iter().map(|file| file.file_name().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&tiers[0]), names(&tiers[1]));
    assert!(!names(&tiers[1]).is_empty());
    for (tier, [hits, writes, into, out]) in
        [(0, [0, 2, 2, 0]), (1, [2, 0, 0, 4]), (2, [0, 1, 0, 0])]
    {
        let counts =
            ["hits", "writes", "backfills_in", "backfills_out"].map(|name| two.of_tier(tier, name));
        // The slow one may get the manifest, which may have grown here; never the result.
        let expected = [hits, counts[1].min(writes), into, out];
        assert_eq!(counts, expected, "tier {tier}\n{}", two.log());
    }
    // What is made here goes everywhere.
    two.compile(&sources, "b");
    two.flush();
    let counts = [0, 1, 2].map(|tier| files_of(&tiers[tier]).len());
    assert!(counts[..2] == [4, 4] && (2..4).contains(&counts[2]), "{counts:?}");
}

#[test]
fn manifests_of_machines_are_merged() {
    let sources = Sources::new();
    let shared = temp_dir();
    let tier = file_tier(shared.path());
    let header = |number: u32| sources.write("shared.h", &format!("#define NUMBER {number}\n"));
    let mut made = Vec::new();
    for number in [1, 2, 3] {
        header(number);
        // Each has only its own variant.
        let machine = Machine::new(&tier);
        made.push(machine.compile(&sources, "a"));
        assert_eq!(machine.counts(), (0, 1), "{}", machine.log());
        machine.flush();
    }
    let machine = Machine::new(&tier);
    header(4);
    machine.compile(&sources, "a");
    // Its own manifest has only the fourth by now, or all that the tier has.
    for number in [2, 1, 3] {
        header(number);
        assert_eq!(machine.compile(&sources, "a"), made[number as usize - 1], "{number}");
    }
    assert_eq!(machine.counts(), (3, 1), "{}", machine.log());
}

/// Two tiers have one variant each: the first one's manifest does not end the search.
#[test]
fn a_variant_may_be_in_a_slower_tier_only() {
    let sources = Sources::new();
    let shared = temp_dir();
    let tiers = ["fast", "slow"].map(|name| file_tier(&shared.path().join(name)));
    let mut made = Vec::new();
    for (number, tier) in (1..).zip(&tiers) {
        sources.write("shared.h", &format!("#define NUMBER {number}\n"));
        let machine = Machine::new(tier);
        made.push(machine.compile(&sources, "a"));
        machine.flush();
    }
    let machine = Machine::new(&tiers.join(" "));
    assert_eq!(machine.compile(&sources, "a"), made[1]);
    assert_eq!(machine.counts(), (1, 0), "{}", machine.log());
}

#[test]
fn checkouts_share_through_tiers_as_they_do_without() {
    let shared = temp_dir();
    let checkouts = [Sources::new(), Sources::new()];
    let mut objects = Vec::new();
    for (at, sources) in checkouts.iter().enumerate() {
        let mut machine = Machine::new(&file_tier(shared.path()));
        machine.set("LARDER_BASE_DIRS", &sources.path().display().to_string());
        objects.push(machine.compile(sources, "a"));
        assert_eq!(machine.counts(), (at as u64, 1 - at as u64), "{}", machine.log());
        machine.flush();
    }
    assert_eq!(objects[0], objects[1]);
}

#[test]
fn crates_and_links_come_through_tiers() {
    let sources = Sources::new();
    let shared = temp_dir();
    sources.write("lib.rs", "pub fn seven() -> u32 { 7 }\n");
    sources.write("main.rs", "fn main() { println!(\"{}\", one::seven()); }\n");
    sources.write("m.c", "int main(void) { return 0; }\n");
    let library = "rustc --crate-name one --crate-type lib --emit=link,metadata,dep-info \
                   --out-dir OUT lib.rs";
    let program = "rustc --crate-name two --crate-type bin --emit=link,dep-info --extern \
                   one=OUT/libone.rlib -L dependency=OUT --out-dir OUT main.rs";
    let link = "gcc OUT/m.o -o OUT/m";
    let mut left = Vec::new();
    for (hits, misses) in [(0, 4), (4, 0)] {
        // Paths of outputs are the same on both machines.
        let out = sources.path().join("out");
        let _ = fs::remove_dir_all(&out);
        fs::create_dir(&out).unwrap();
        let mut machine = Machine::new(&file_tier(shared.path()));
        machine.set("LARDER_CACHE_LINKS", "1");
        for line in [library, program, "gcc -c m.c -o OUT/m.o", link] {
            let line = line.replace("OUT", "out");
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut command = machine.command(sources.path());
            // The toolchain is found as on this machine.
            for name in ["HOME", "RUSTUP_HOME", "CARGO_HOME"] {
                command.env_remove(name).envs(std::env::var_os(name).map(|value| (name, value)));
            }
            let output = command.args(&words).output().unwrap();
            assert!(output.status.success(), "{line}: {output:?}");
        }
        assert_eq!(machine.counts(), (hits, misses), "{}", machine.log());
        machine.flush();
        left.push(files_of(&out).iter().map(|file| fs::read(file).unwrap()).collect::<Vec<_>>());
    }
    assert!(left[0].len() > 5 && left[0] == left[1]);
}

/// A third command asked for the manifest again, to see that the tier has what came from it.
#[test]
fn a_hit_costs_two_commands() {
    let Some(redis) = Redis::start(&[]) else { return };
    let sources = Sources::new();
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let one = Machine::new(&url);
    for unit in UNITS {
        one.compile(&sources, unit);
    }
    one.flush();
    let two = Machine::new(&url);
    let monitor = redis.monitor();
    for unit in UNITS {
        two.compile(&sources, unit);
    }
    two.flush();
    let heard = redis.heard(&monitor);
    let commands: Vec<_> = heard.iter().map(|line| super::servers::command_of(line)).collect();
    assert_eq!(commands, ["GET"; 6], "{heard:?}");
    assert_eq!((two.of_tier(0, "hits"), two.counts()), (6, (3, 0)), "{}", two.log());
}

#[test]
fn one_key_is_asked_for_once_at_a_time() {
    let Some(redis) = Redis::start(&[]) else { return };
    let sources = Sources::new();
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let one = Machine::new(&url);
    let made = one.compile(&sources, "a");
    one.flush();
    let two = Machine::new(&url);
    // An agent that has asked before.
    two.compile(&sources, "b");
    two.flush();
    let before = two.of_tier(0, "hits");
    let monitor = redis.monitor();
    let compile = || two.compile_command(&sources, "a", &[]);
    let children: Vec<_> = (0..6).map(|_| compile().spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(two.compile(&sources, "a"), made);
    let heard = redis.heard(&monitor);
    // Who comes when the first has asked asks for the manifest once more, or finds it; the result
    // is there by then.
    let gets = heard.iter().filter(|line| super::servers::command_of(line) == "GET").count();
    assert!((2..=7).contains(&gets), "{gets}: {heard:?}");
    assert!(two.of_tier(0, "hits") >= before + 2);
    assert_eq!(two.count("direct_cache_hit"), 7, "{}", two.log());
}

#[test]
fn credentials_are_shown_nowhere() {
    let sources = Sources::new();
    let machine = Machine::new("redis://me:geheim@127.0.0.1:1|name=near http://u:geheim@[::1]:1/x");
    machine.compile(&sources, "a");
    let mut shown = machine.log();
    for words in [
        &["config"][..],
        &["config", "--json"],
        &["stats"],
        &["stats", "--json"],
        &["agent", "status"],
        &["agent", "status", "--json"],
        &["agent", "flush"],
        &["doctor"],
    ] {
        let output = machine.larder(words);
        shown.push_str(&String::from_utf8_lossy(&output.stdout));
        shown.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    assert!(shown.contains("near") && shown.contains("127.0.0.1:1"), "{shown}");
    assert!(!shown.contains("geheim"), "{shown}");
    // A list with brackets in it can be read again.
    let saved = machine.runtime().join("saved");
    fs::write(&saved, machine.larder(&["stats", "--json"]).stdout).unwrap();
    let since = machine.larder(&["stats", "--since", saved.to_str().unwrap()]);
    assert!(since.status.success(), "{since:?}");
}

#[test]
fn a_tier_that_cannot_be_understood_is_left_out_and_named() {
    let sources = Sources::new();
    let shared = temp_dir();
    let tiers = format!("gopher://x {} redis://h|colour=blue", file_tier(shared.path()));
    let machine = Machine::new(&tiers);
    assert_eq!(machine.compile(&sources, "a").status, Some(0));
    machine.flush();
    assert_eq!(machine.of_tier(0, "writes"), 2);
    let problems = String::from_utf8(machine.larder(&["config"]).stdout).unwrap();
    assert!(
        problems.contains("tier 1 begins") && problems.contains("tier 3 \"colour\""),
        "{problems}"
    );
}

#[test]
fn settings_of_an_agent_are_not_those_of_its_starter() {
    let sources = Sources::new();
    let shared = temp_dir();
    let mut machine = Machine::new(&file_tier(shared.path()));
    machine.compile(&sources, "a");
    let agent = machine.agent().expect("an agent runs");
    // Another namespace is another matter of keys, not of agents; other tiers are.
    machine.set("LARDER_NAMESPACE", "other");
    machine.compile(&sources, "a");
    assert_eq!(machine.agent(), Some(agent));
    let tiers = format!("{} {}", file_tier(shared.path()), file_tier(&shared.path().join("more")));
    machine.set("LARDER_TIERS", &tiers);
    machine.compile(&sources, "b");
    let other = machine.agent().expect("another agent runs");
    assert_ne!(other, agent);
    machine.larder(&["agent", "stop"]);
    machine.set("LARDER_TIERS", &file_tier(shared.path()));
    let lines = Command::new("ps").args(["-o", "args=", "-p", &agent.to_string()]).output();
    if let Ok(lines) = lines {
        let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
        assert!(!lines.contains("file://"), "{lines}");
    }
}
