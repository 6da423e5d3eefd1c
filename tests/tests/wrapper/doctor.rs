//! `larder doctor`: each thing that it can find, arranged and found.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Output;

use larder_tests::disk::{Disk, FileSystem};
use larder_tests::larder_binary;

use super::{Sandbox, compilers};

/// What the doctor says, as (topic, verdict, text, advice).
type Finding = (String, String, String, String);

struct Said {
    status: Option<i32>,
    findings: Vec<Finding>,
    page: serde_json::Value,
}

impl Said {
    /// The one finding with this verdict and these words.
    #[track_caller]
    fn finds(&self, topic: &str, verdict: &str, words: &str) -> &Finding {
        let is_it = |(t, v, text, _): &&Finding| t == topic && v == verdict && text.contains(words);
        let found: Vec<_> = self.findings.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{topic}, {verdict}, {words}: {:#?}", self.findings);
        found[0]
    }

    fn problems(&self) -> Vec<&Finding> {
        self.findings.iter().filter(|(_, verdict, ..)| verdict == "problem").collect()
    }
}

fn doctor(sandbox: &Sandbox, path: &str, words: &[&str]) -> Said {
    let mut command = sandbox.command(larder_binary());
    let output: Output =
        command.env("PATH", path).args(["doctor", "--json"]).args(words).output().unwrap();
    let (out, err) = (&output.stdout, &output.stderr);
    let page: serde_json::Value = serde_json::from_slice(out)
        .unwrap_or_else(|_| panic!("{} {}", text(out), String::from_utf8_lossy(err)));
    let findings = page["findings"].as_array().unwrap().iter().map(|finding| {
        let field = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        (field("topic"), field("verdict"), field("text"), field("advice"))
    });
    let said = Said { status: output.status.code(), findings: findings.collect(), page };
    // Everything that is wrong says what to do.
    assert!(said.problems().iter().all(|(_, _, _, advice)| !advice.is_empty()));
    assert_eq!(said.status, Some(i32::from(!said.problems().is_empty())), "{:#?}", said.findings);
    said
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn path() -> String {
    std::env::var("PATH").unwrap()
}

fn program(sandbox: &Sandbox, name: &str, script: &str) {
    sandbox.write(name, script);
    fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(0o755)).unwrap();
}

fn with_first(sandbox: &Sandbox, directories: &[&str], rest: &str) -> String {
    let first = directories.iter().map(|name| sandbox.path(name).display().to_string());
    first.chain([rest.to_owned()]).collect::<Vec<_>>().join(":")
}

#[test]
fn a_trial_compile_of_each_compiler_is_made() {
    let mut sandbox = Sandbox::new();
    // Settings of the user are not tried.
    sandbox.set("LARDER_DISABLE", "1");
    let said = doctor(&sandbox, &path(), &[]);
    assert!(said.problems().is_empty(), "{:#?}", said.findings);
    let trials = said.page["trials"].as_array().unwrap();
    for compiler in compilers() {
        for language in ["C", "C++"] {
            let is_tried = trials.iter().any(|trial| {
                let path = trial["compiler"].as_str().unwrap();
                let is_it = path.contains(compiler) || path.contains(&compiler.replace("cc", "++"));
                is_it && trial["language"] == language && trial["is_right"] == true
            });
            assert!(is_tried, "{compiler} {language}: {trials:#?}");
        }
    }
    let times = ["alone_us", "stored_us", "answered_us"];
    assert!(trials.iter().all(|trial| times.iter().all(|time| trial[time].as_u64() > Some(0))));
    assert!(said.findings.iter().any(|(topic, _, text, _)| {
        topic == "trial" && text.contains("from the store; the same object")
    }));
    assert!(!sandbox.store().exists(), "the store of the user is not touched");
    assert!(doctor(&sandbox, &path(), &["--no-trial"]).page["trials"] == serde_json::json!([]));
}

#[test]
fn what_keeps_every_compile_from_the_cache_is_found() {
    let mut sandbox = Sandbox::new();
    sandbox.set("DEPENDENCIES_OUTPUT", "deps");
    let said = doctor(&sandbox, &path(), &[]);
    let is_told = |(topic, verdict, text, _): &Finding| {
        topic == "trial" && verdict == "problem" && text.contains("it is not cached")
    };
    assert!(said.findings.iter().any(is_told), "{:#?}", said.findings);
    assert!(said.findings.iter().any(|(.., text, _)| text.contains("DEPENDENCIES_OUTPUT")));
}

#[test]
fn compilers_and_their_absence_are_told() {
    let sandbox = Sandbox::new();
    sandbox.write("bin/readme", "");
    let empty = sandbox.path("bin").display().to_string();
    let said = doctor(&sandbox, &empty, &[]);
    said.finds("compiler", "problem", "there is none in PATH");
    said.finds("larder", "note", "it is not in PATH");
    program(&sandbox, "bin/gcc", "#!/bin/sh\nexec /usr/bin/gcc \"$@\"\n");
    program(&sandbox, "bin/clang", "broken");
    let said = doctor(&sandbox, &empty, &[]);
    said.finds("compiler", "note", "a script: its own call of a compiler may be cached");
    said.finds("compiler", "problem", "does not tell its version");
    let said = doctor(&sandbox, &path(), &["--no-trial"]);
    let is_told = |(topic, verdict, text, _): &Finding| {
        topic == "compiler" && verdict == "ok" && text.contains("cached") && text.contains("gcc")
    };
    assert!(said.findings.iter().any(is_told), "{:#?}", said.findings);
}

#[test]
fn the_order_of_masquerades_is_told() {
    let sandbox = Sandbox::new();
    for directory in ["shims", "ccache", "alone"] {
        sandbox.write(&format!("{directory}/readme"), "");
    }
    program(&sandbox, "opt/ccache", "#!/bin/sh\n");
    symlink(larder_binary(), sandbox.path("shims/gcc")).unwrap();
    symlink(sandbox.path("opt/ccache"), sandbox.path("ccache/gcc")).unwrap();
    let order = |directories: &[&str], rest: &str| {
        doctor(&sandbox, &with_first(&sandbox, directories, rest), &["--no-trial"])
    };
    order(&["alone"], "/usr/bin").finds("PATH", "ok", "no compiler's name leads to larder");
    order(&["shims"], "/usr/bin").finds("PATH", "ok", "links to larder in");
    order(&["shims", "ccache"], "/usr/bin").finds("PATH", "ok", "links to larder in");
    order(&["ccache"], "/usr/bin").finds("PATH", "note", "ccache comes first, by links in");
    let both = order(&["ccache", "shims"], "/usr/bin");
    both.finds("PATH", "problem", "both store everything: gcc");
    let behind = order(&["shims"], "/nowhere");
    behind.finds("PATH", "problem", "no compiler stands behind");
    let late = format!("/usr/bin:{}", sandbox.path("shims").display());
    let late = doctor(&sandbox, &late, &["--no-trial"]);
    let advice = &late.finds("PATH", "problem", "comes before the links to larder").3;
    assert!(advice.contains(&format!("export PATH=\"{}", sandbox.path("shims").display())));
}

#[test]
fn a_loop_is_found_and_not_run() {
    let sandbox = Sandbox::new();
    let larder = larder_binary().display();
    program(&sandbox, "loop/gcc", &format!("#!/bin/sh\nexec {larder} gcc \"$@\"\n"));
    program(&sandbox, "fine/clang", &format!("#!/bin/sh\nexec {larder} /usr/bin/clang \"$@\"\n"));
    let said = doctor(&sandbox, &with_first(&sandbox, &["loop", "fine"], "/usr/bin:/bin"), &[]);
    let advice = &said.finds("loop", "problem", "calls larder, which finds the script again").3;
    assert!(advice.contains("write `larder /usr/bin/gcc` in it"), "{advice}");
    said.finds("loop", "ok", "calls larder for /usr/bin/clang");
}

#[test]
fn variables_of_builds_are_read() {
    let mut sandbox = Sandbox::new();
    let larder = larder_binary().to_str().unwrap().to_owned();
    for (name, value, verdict, words) in [
        ("CC", format!("{larder} gcc"), "ok", "CC is"),
        ("CC", "ccache gcc".to_owned(), "note", "ccache is asked, and larder is not"),
        ("CC", "no-such-gcc".to_owned(), "problem", "there is no program no-such-gcc"),
        ("CMAKE_CXX_COMPILER_LAUNCHER", format!("ccache;{larder}"), "problem", "too many"),
        ("RUSTC_WRAPPER", larder.clone(), "ok", "RUSTC_WRAPPER is"),
        ("MAKEFLAGS", format!(" -- CC={larder}\\ gcc"), "ok", "CC of MAKEFLAGS is"),
    ] {
        sandbox.set(name, &value);
        doctor(&sandbox, &path(), &["--no-trial"]).finds("variables", verdict, words);
        sandbox.unset(name);
    }
}

#[test]
fn a_broken_store_is_explained_and_hides_nothing_else() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    sandbox.check_cached("gcc", &["-c", "a.c"]);
    let superblock = sandbox.store().join("superblock");
    let whole = fs::read(&superblock).unwrap();
    let mut half = whole.clone();
    half[..4096].fill(7);
    fs::write(&superblock, &half).unwrap();
    let said = doctor(&sandbox, &path(), &["--no-trial"]);
    said.finds("superblock", "problem", "one of the two copies is damaged");
    assert!(said.findings.iter().any(|(topic, ..)| topic == "compiler"));
    fs::write(&superblock, vec![7; 8192]).unwrap();
    let said = doctor(&sandbox, &path(), &["--no-trial"]);
    said.finds("opening", "problem", "the superblock is lost");
    assert!(said.findings.iter().any(|(topic, ..)| topic == "compiler"));
    fs::remove_dir_all(sandbox.store()).unwrap();
    fs::create_dir(sandbox.store()).unwrap();
    fs::write(sandbox.store().join("superblock"), "something else").unwrap();
    let said = doctor(&sandbox, &path(), &["--store"]);
    let advice = &said.finds("opening", "problem", "").3;
    assert!(advice.contains("LARDER_DIR"), "{advice}");
}

#[test]
fn wrong_settings_are_told() {
    let mut sandbox = Sandbox::new();
    sandbox.set("LARDER_MAX_SIZE", "lots");
    sandbox.set("LARDER_LOG", "/nowhere/log");
    let said = doctor(&sandbox, &path(), &["--no-trial"]);
    said.finds("settings", "problem", "LARDER_MAX_SIZE");
    said.finds("log", "problem", "there is no such directory");
    sandbox.set("LARDER_DIR", "relative");
    let output = sandbox.larder(&["doctor"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[test]
fn a_full_or_missing_place_for_the_trial_is_told() {
    let mut sandbox = Sandbox::new();
    sandbox.set("TMPDIR", "/nowhere");
    let said = doctor(&sandbox, &path(), &[]);
    let advice = &said.finds("trial", "problem", "nothing can be made in /nowhere").3;
    assert!(advice.contains("TMPDIR"), "{advice}");
}

#[test]
fn a_full_disk_and_a_read_only_one_are_told() {
    let Some(disk) = Disk::new(FileSystem::Tmpfs) else { return };
    let mut sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    sandbox.set("LARDER_DIR", disk.path().join("store").to_str().unwrap());
    sandbox.set("TMPDIR", disk.path().to_str().unwrap());
    sandbox.check_cached("gcc", &["-c", "a.c"]);
    disk.fill();
    let said = doctor(&sandbox, &path(), &[]);
    said.finds("disk", "note", "the disk is full before max_size is reached");
    said.finds("file system", "note", "the store is in memory and gone after a reboot");
    let fails = |said: &Said| {
        said.problems().iter().any(|(topic, _, _, advice)| {
            topic == "trial" && (advice.contains("TMPDIR") || advice.contains("make room"))
        })
    };
    assert!(fails(&said), "{:#?}", said.findings);
    disk.remount("ro").unwrap();
    let said = doctor(&sandbox, &path(), &[]);
    said.finds("writing", "problem", "mounted read-only: hits work, nothing is stored");
    assert!(fails(&said), "{:#?}", said.findings);
}

/// On a terminal a person reads it: the sum stands at the end, and without one nothing is broken.
#[test]
fn people_get_lines_and_a_sum() {
    let sandbox = Sandbox::new();
    let output = sandbox.larder(&["doctor", "--store"]);
    let said = text(&output.stdout);
    assert!(said.ends_with("0 problems, 1 note\n"), "{said}");
    assert!(said.lines().any(|line| line.starts_with("ok       file system")), "{said}");
}
