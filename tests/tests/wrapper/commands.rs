//! What the commands for people refuse, what they say, and how they end.

use std::fs;
use std::process::{Output, Stdio};

use larder_tests::larder_binary;

use super::Sandbox;

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// `LARDER_DIR=./mystore larder clear` emptied the store in ~/.cache/larder.
#[test]
fn a_store_that_is_named_wrongly_is_no_other_store() {
    let mut sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    sandbox.write("relative.toml", "dir = \"mystore\"\n");
    sandbox.write("broken.toml", "dir = \"/store\n");
    let default = sandbox.dir.path().join(".cache/larder");
    sandbox.set("LARDER_DIR", default.to_str().unwrap());
    sandbox.check_cached("gcc", &["-c", "a.c"]);
    let file = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    let wrong = [
        ("LARDER_DIR", "./mystore".to_owned(), "is not an absolute path"),
        ("LARDER_DIR", String::new(), "is empty"),
        ("LARDER_CONFIG", file("relative.toml"), "is not an absolute path"),
        ("LARDER_CONFIG", file("broken.toml"), "is no TOML"),
        ("LARDER_CONFIG", file("missing.toml"), "cannot read"),
    ];
    let names = ["clear", "zero", "verify", "janitor", "checkpoint", "stats", "doctor"];
    for (variable, value, why) in &wrong {
        let command = |arguments: &[&str]| {
            let mut command = sandbox.command(larder_binary());
            command.args(arguments).env_remove("LARDER_DIR").env(variable, value);
            command
        };
        for name in names {
            let output = command(&[name]).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{value} {name}: {}", text(&output));
            assert!(text(&output).contains(why), "{value} {name}: {}", text(&output));
        }
        assert!(text(&command(&["config"]).output().unwrap()).contains("dir = unknown"));
        let logged = sandbox.log().len();
        let call = ["-c", "a.c", "-DOTHER"];
        let left = sandbox.left(&mut command(&[&["gcc"], &call[..]].concat()));
        assert_eq!(left, sandbox.plain("gcc", &call));
        assert!(sandbox.log()[logged..].contains(why), "{}", sandbox.log());
        assert!(!sandbox.path("mystore").exists());
    }
    assert_eq!(sandbox.counts(), (1, 0, 1), "nobody else has used the store");
    // Who names it wants no settings.
    sandbox.set("LARDER_CONFIG", "/dev/null");
    let logged = sandbox.log().len();
    assert_eq!(sandbox.check("gcc", &["-c", "a.c"]), "direct");
    assert!(!sandbox.log()[logged..].contains("configuration"), "{}", sandbox.log());
    assert_eq!(sandbox.check("gcc", &["-c", "a.c"]), "direct");
}

/// Only a reader that is gone has seen enough.
#[test]
fn what_cannot_be_written_is_a_failure() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    sandbox.check_cached("gcc", &["-c", "a.c"]);
    let commands = ["--help", "--version", "stats", "config", "verify", "doctor", "janitor"];
    for name in commands.into_iter().chain(["verify --json", "verify --help", "zero", "clear"]) {
        let ends = |stdout: Stdio| {
            let mut command = sandbox.command(larder_binary());
            command.args(name.split(' ')).stdout(stdout).output().unwrap()
        };
        let full = ends(fs::File::create("/dev/full").unwrap().into());
        let status = if name == "verify" || name == "verify --json" { 3 } else { 1 };
        assert_eq!(full.status.code(), Some(status), "{name}: {}", text(&full));
        assert!(text(&full).contains("No space left"), "{name}: {}", text(&full));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let gone = ends(writer.into());
        assert_eq!((gone.status.code(), text(&gone).as_str()), (Some(0), ""), "{name}");
    }
}

#[test]
fn every_command_explains_itself() {
    let sandbox = Sandbox::new();
    let names = ["stats", "zero", "clear", "config", "verify", "doctor", "janitor", "checkpoint"];
    for name in names {
        for option in ["--help", "-h"] {
            let output = sandbox.larder(&[name, option]);
            let said = text(&output);
            assert_eq!(output.status.code(), Some(0), "{name} {option}: {said}");
            assert!(said.contains(&format!("larder {name}")) && output.stderr.is_empty(), "{said}");
        }
    }
    assert!(!sandbox.store().exists());
}

/// The janitor said "0 segments evicted, 0 bytes freed" when it had rebuilt the index.
#[test]
fn the_janitor_says_what_it_has_done() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    let janitor = || text(&sandbox.larder(&["janitor"]));
    sandbox.check_cached("gcc", &["-c", "a.c"]);
    assert_eq!(janitor(), "nothing was due\n");
    assert_eq!(sandbox.larder(&["checkpoint"]).status.code(), Some(0));
    fs::write(sandbox.store().join("index"), [0xa5; 8192]).unwrap();
    assert!(janitor().starts_with("the index was built anew\n"));
    assert_eq!(sandbox.check("gcc", &["-c", "a.c"]), "direct");
}

#[test]
fn one_thing_is_no_plural() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    sandbox.check_cached("gcc", &["-c", "a.c"]);
    fs::write(sandbox.store().join("log/00000077.seg"), "").unwrap();
    let said = ["verify", "doctor", "stats", "janitor"]
        .map(|name| text(&sandbox.larder(&[name])))
        .concat();
    assert!(said.contains("in 1 segment (") && said.contains("1 file was left over"), "{said}");
    let digits = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let words: Vec<&str> = said.split_whitespace().collect();
    for pair in words.windows(2).filter(|pair| digits(pair[0].trim_start_matches('('))) {
        let thing = pair[1].trim_end_matches([',', ';', ')']);
        let is_plural = thing.ends_with('s') && thing != "s";
        assert!(!is_plural || pair[0].trim_start_matches('(') != "1", "{pair:?} in {said}");
    }
}

/// `LARDER_MAX_SIZE=64M` is a little less than the least, and gave a store of 10 GiB.
#[test]
fn a_store_that_is_to_be_too_small_is_the_smallest() {
    let mut sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    sandbox.set("LARDER_MAX_SIZE", "64M");
    sandbox.check_cached("gcc", &["-c", "a.c"]);
    assert!(sandbox.log().contains("is less than 64Mi; 64Mi is used"), "{}", sandbox.log());
    assert_eq!(sandbox.count("store_max_size_bytes"), 64 << 20);
    for name in ["config", "doctor"] {
        assert!(text(&sandbox.larder(&[name])).contains("64Mi is used"), "{name}");
    }
}
