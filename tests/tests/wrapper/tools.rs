//! The table of flags from outside: help, wrong use, colours, docs/commands.md.

use std::fs;
use std::process::Output;

use larder_tests::workspace_root;

use super::Sandbox;

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// The commands that `larder --help` lists.
fn commands(sandbox: &Sandbox) -> Vec<String> {
    let help = text(&sandbox.larder(&["--help"]));
    let list = help.lines().skip_while(|line| *line != "commands:").skip(1);
    let list = list.take_while(|line| !line.is_empty());
    let names = list.filter(|line| !line.starts_with("   "));
    names.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// docs/commands.md is what the binary says. `LARDER_TESTS_WRITE=1` writes it anew.
#[test]
fn the_document_of_commands_is_what_larder_says() {
    let sandbox = Sandbox::new();
    let mut document = String::from(
        "# Commands\n\nWhat `larder COMMAND --help` says. A test compares it with the program.\n",
    );
    let names = commands(&sandbox);
    assert!(names.len() > 10 && names.contains(&"doctor".to_owned()), "{names:?}");
    for name in names {
        let help = text(&sandbox.larder(&[&name, "--help"]));
        document.push_str(&format!("\n## larder {name}\n\n```text\n{help}```\n"));
    }
    let path = workspace_root().join("docs/commands.md");
    if std::env::var_os("LARDER_TESTS_WRITE").is_some() {
        fs::write(&path, &document).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    assert!(written == document, "write it anew: LARDER_TESTS_WRITE=1 cargo test ... tools::");
}

#[test]
fn help_is_the_same_by_all_ways() {
    let sandbox = Sandbox::new();
    for name in commands(&sandbox) {
        let help = sandbox.larder(&[&name, "--help"]);
        assert_eq!(help.status.code(), Some(0), "{name}");
        let said = text(&help);
        assert!(said.starts_with(&format!("larder {name}: ")) && said.contains("usage:"), "{said}");
        assert!(said.lines().all(|line| line.chars().count() <= 80 || line.contains("completion")));
        for words in [&["help", &name][..], &[&name, "-h"]] {
            assert_eq!(text(&sandbox.larder(words)), said, "{words:?}");
        }
    }
    assert_eq!(text(&sandbox.larder(&["help"])), text(&sandbox.larder(&["--help"])));
    assert!(!sandbox.store().exists(), "help needs no store");
}

#[test]
fn wrong_use_names_what_is_near() {
    let sandbox = Sandbox::new();
    for (words, wanted) in [
        (&["stats", "--jsno"][..], "did you mean --json?; see `larder stats --help`"),
        (&["trim", "--older-then", "7d"], "did you mean --older-than?"),
        (&["trim", "--older-than", "7"], "takes an age, as 90s, 30m, 12h, 7d or 2w, not `7`"),
        (&["trim", "--max-size=lots"], "takes a size, as 500M or 2Gi, not `lots`"),
        (&["trim"], "trim needs to know what is to go: --older-than"),
        (&["job", "strat"], "did you mean job start?"),
        (&["job", "end"], "job end needs ID"),
        (&["help", "statz"], "there is no command `statz`; did you mean stats?"),
        (&["statz"], "there is no program and no command `statz`; did you mean `larder stats`?"),
        (&["--hlep"], "did you mean `larder --help`?"),
        (&["--stats"], "did you mean `larder stats`?"),
        (&["completions", "csh"], "takes bash, zsh or fish, not `csh`"),
        (&["completions"], "completions needs SHELL: bash, zsh or fish"),
        (&["shims"], "shims needs DIR"),
        (&["shims", "a", "--list", "--remove"], "exclude each other"),
        (&["zero", "x"], "zero takes no `x`"),
    ] {
        let output = sandbox.larder(words);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains(wanted) && said.contains("--help"), "{words:?}: {said}");
        assert!(output.stdout.is_empty(), "{words:?}: {said}");
    }
    assert!(!sandbox.store().exists(), "wrong use makes no store");
}

/// Colours are for people who look: never in a pipe, unless they are asked for.
#[test]
fn colours_are_there_only_when_they_are_welcome() {
    let mut sandbox = Sandbox::new();
    sandbox.set("TERM", "xterm");
    let is_coloured =
        |sandbox: &Sandbox, words: &[&str]| text(&sandbox.larder(words)).contains('\u{1b}');
    let calls = [&["--help"][..], &["trim", "--help"], &["doctor", "--store"], &["stats", "--no"]];
    for words in calls {
        assert!(!is_coloured(&sandbox, words), "{words:?}");
    }
    sandbox.set("CLICOLOR_FORCE", "1");
    for words in calls {
        assert!(is_coloured(&sandbox, words), "{words:?}");
    }
    for words in [&["doctor", "--store", "--json"][..], &["man"], &["completions", "zsh"]] {
        assert!(!is_coloured(&sandbox, words), "{words:?}");
    }
    sandbox.set("NO_COLOR", "1");
    for words in calls {
        assert!(!is_coloured(&sandbox, words), "{words:?}");
    }
}

#[test]
fn settings_are_told_to_programs() {
    let mut sandbox = Sandbox::new();
    sandbox.set("LARDER_MAX_SIZE", "100M");
    sandbox.set("LARDER_NONSENSE", "1");
    let output = sandbox.larder(&["config", "--json"]);
    let page: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let setting = |name: &str| {
        let settings = page["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["name"] == name).unwrap().clone()
    };
    assert_eq!(setting("max_size")["value"], "100000000");
    assert_eq!(setting("max_size")["origin"], "environment, LARDER_MAX_SIZE");
    assert_eq!(setting("umask")["origin"], "default");
    let problem = page["problems"][0]["text"].as_str().unwrap();
    assert!(problem.contains("LARDER_NONSENSE"), "{page}");
}

/// What is broken, the commands that say so, how it is broken, and words of what they say.
type Break<'a> = (&'a str, &'a [&'a str], fn(&mut Sandbox), &'a str);

/// Every text of a store that cannot be used names the path, and says what to do.
#[test]
fn every_failure_says_what_to_do() {
    let everything = ["stats", "zero", "clear", "janitor", "checkpoint", "verify", "job list"];
    let writing = ["zero", "clear", "janitor", "checkpoint", "trim --older-than 1d", "job start"];
    let break_by: [Break; 6] = [
        ("a file", &everything, |sandbox| fs::write(sandbox.store(), "x").unwrap(), "LARDER_DIR"),
        (
            "something else",
            &everything,
            |sandbox| {
                fs::create_dir(sandbox.store()).unwrap();
                fs::write(sandbox.store().join("superblock"), vec![7; 8192]).unwrap();
            },
            "",
        ),
        ("a newer format", &everything, make_newer, "use that one, or another LARDER_DIR"),
        (
            "a setting",
            &writing,
            |sandbox| sandbox.set("LARDER_READONLY", "1"),
            "is read-only by a setting (environment, LARDER_READONLY)",
        ),
        (
            "no home",
            &everything,
            |sandbox| {
                sandbox.set("LARDER_DIR", "");
            },
            "`larder config` shows every setting",
        ),
        (
            "a path through a file",
            &everything,
            |sandbox| {
                let file = sandbox.path("file");
                fs::write(&file, "").unwrap();
                sandbox.set("LARDER_DIR", file.join("store").to_str().unwrap());
            },
            "",
        ),
    ];
    for (what, names, break_it, wanted) in break_by {
        for name in names {
            let mut sandbox = Sandbox::new();
            sandbox.write("a.c", "int x;\n");
            if what == "a newer format" || what == "a setting" {
                sandbox.check_cached("gcc", &["-c", "a.c"]);
            }
            break_it(&mut sandbox);
            let output = sandbox.larder(&name.split(' ').collect::<Vec<_>>());
            let said = text(&output);
            let is_fine = output.status.success();
            assert!(!is_fine, "{what}, {name}: {said}");
            assert!(said.contains(wanted), "{what}, {name}: {said}");
            let advises = ["LARDER_DIR", "set it to 0", "larder "];
            assert!(advises.iter().any(|advice| said.contains(advice)), "{what}, {name}: {said}");
            let path = sandbox.dir.path().to_str().unwrap();
            assert!(said.contains(path) || what == "no home", "{what}, {name}: {said}");
        }
    }
}

/// Raises the format version of both copies of the superblock, with right checksums.
fn make_newer(sandbox: &mut Sandbox) {
    let file = sandbox.store().join("superblock");
    let mut bytes = fs::read(&file).unwrap();
    for page in bytes.chunks_mut(4096) {
        page[8] += 1;
        let check = larder_engine::checksum::check32(&page[..108]);
        page[108..112].copy_from_slice(&check.to_le_bytes());
    }
    fs::write(&file, bytes).unwrap();
}
