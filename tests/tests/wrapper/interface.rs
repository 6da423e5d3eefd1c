//! The command line of `larder` itself.

use std::os::unix::fs::symlink;

use larder_tests::larder_binary;

use super::Sandbox;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn help_and_version_are_told_on_stdout() {
    let sandbox = Sandbox::new();
    let help = sandbox.larder(&["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("larder COMPILER ARGUMENTS"));
    let version = sandbox.larder(&["--version"]);
    assert!(text(&version.stdout).starts_with("larder "));
}

#[test]
fn wrong_use_is_status_2_and_says_what_would_be_right() {
    let sandbox = Sandbox::new();
    for wrong in [&[][..], &["--nonsense"], &["stats", "--nonsense"], &["zero", "x"], &[""]] {
        let output = sandbox.larder(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(text(&output.stderr).contains("larder --help"), "{wrong:?}");
    }
    let missing = sandbox.larder(&["no-such-compiler", "-c", "a.c"]);
    assert_eq!(missing.status.code(), Some(127));
}

#[test]
fn a_program_that_is_no_compiler_just_runs() {
    let sandbox = Sandbox::new();
    let output = sandbox.larder(&["sh", "-c", "echo out; exit 7"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(7), "out\n"));
}

#[test]
fn a_link_named_like_a_compiler_is_that_compiler() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    sandbox.write("bin/readme", "");
    symlink(larder_binary(), sandbox.path("bin/gcc")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", sandbox.path("bin").display());
    for _ in 0..2 {
        let mut command = sandbox.command(&sandbox.path("bin/gcc"));
        command.env("PATH", &path).args(["-c", "a.c"]);
        assert!(command.status().unwrap().success());
    }
    assert_eq!(sandbox.counts(), (1, 0, 1), "{}", sandbox.log());
}

#[test]
fn larder_called_through_larder_is_one_wrapper() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    let larder = larder_binary().to_str().unwrap();
    assert!(sandbox.larder(&["larder", larder, "gcc", "-c", "a.c"]).status.success());
    assert_eq!(sandbox.counts(), (0, 0, 1));
}

#[test]
fn links_and_preprocessing_run_uncached_and_are_counted() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int main(void) { return 0; }\n");
    assert!(sandbox.larder(&["gcc", "a.c", "-o", "program"]).status.success());
    let output = sandbox.larder(&["gcc", "-E", "a.c"]);
    assert!(text(&output.stdout).contains("int main"));
    assert_eq!(sandbox.count("called_for_link"), 1);
    assert_eq!(sandbox.count("called_for_preprocessing"), 1);
}

#[test]
fn the_commands_for_people_work() {
    let mut sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    sandbox.check_cached("gcc", &["-c", "a.c"]);
    let run = |sandbox: &Sandbox, command: &str| {
        let output = sandbox.larder(&[command]);
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    assert!(run(&sandbox, "stats").contains("1 (50.0 %)"));
    assert!(run(&sandbox, "verify").contains("everything is whole"));
    assert!(run(&sandbox, "doctor").contains("ok       superblock"));
    run(&sandbox, "janitor");
    run(&sandbox, "checkpoint");
    assert_eq!(sandbox.check("gcc", &["-c", "a.c"]), "direct");
    run(&sandbox, "zero");
    assert_eq!(sandbox.counts(), (0, 0, 0));
    run(&sandbox, "clear");
    assert_eq!(sandbox.check("gcc", &["-c", "a.c"]), "miss");
    sandbox.set("LARDER_MAX_SIZE", "nonsense");
    sandbox.set("LARDER_NONSENSE", "1");
    let config = run(&sandbox, "config");
    assert!(config.contains("max_size = 10737418240  (default)"), "{config}");
    assert!(config.contains("# LARDER_MAX_SIZE") && config.contains("# LARDER_NONSENSE"));
}
