//! Traces of real builds, jobs, and trims, from outside.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::time::Duration;

use larder_tests::{find_or_skip, larder_binary};
use rustix::fs::{Mode, OFlags};

use super::Sandbox;

fn stdout(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(sandbox: &Sandbox, arguments: &[&str]) -> serde_json::Value {
    let text = stdout(&sandbox.larder(arguments));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Units of a few kilobytes each.
fn write_units(sandbox: &Sandbox, count: usize) {
    for unit in 0..count {
        let text = format!("int f{unit}(int n) {{ return n * {unit} + 7; }}\n");
        sandbox.write(&format!("u{unit}.c"), &text);
    }
}

/// Entries are dated in seconds, and what is as old as a job belongs to it.
fn wait_a_second() {
    std::thread::sleep(Duration::from_millis(1_100));
}

#[test]
fn a_trace_of_a_parallel_build_has_a_whole_row_for_each_look_up() {
    let Some(make) = find_or_skip("make") else { return };
    let Some(_) = find_or_skip("gcc") else { return };
    const UNITS: usize = 24;
    let mut sandbox = Sandbox::new();
    write_units(&sandbox, UNITS);
    let objects: String = (0..UNITS).map(|unit| format!(" u{unit}.o")).collect();
    let larder = larder_binary().display();
    sandbox.write("Makefile", &format!("all:{objects}\n%.o: %.c\n\t{larder} gcc -c $< -o $@\n"));
    let trace = sandbox.dir.path().join("trace.csv");
    sandbox.set("LARDER_TRACE", trace.to_str().unwrap());
    for build in ["one", "two"] {
        sandbox.set("LARDER_JOB", build);
        let built = sandbox.left(sandbox.command(&make).args(["-j", "8"]));
        assert_eq!(built.status, Some(0), "{}", built.stderr);
    }
    assert_eq!(sandbox.counts(), (UNITS as u64, 0, UNITS as u64));
    let text = fs::read_to_string(&trace).unwrap();
    let mut seen: BTreeMap<(String, String), (String, u64)> = BTreeMap::new();
    for line in text.lines() {
        let [build, unit, key, bytes] = line.split(',').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        assert!(key.len() == 16 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
        let row = (key.to_owned(), bytes.parse().unwrap());
        assert!(row.1 > 100, "{line}");
        assert_eq!(seen.insert((build.to_owned(), unit.to_owned()), row), None, "{line}");
    }
    assert_eq!(seen.len(), 2 * UNITS);
    for unit in 0..UNITS {
        let row = |build: &str| &seen[&(build.to_owned(), format!("u{unit}.c"))];
        assert_eq!(row("one"), row("two"), "a hit is of the object that the miss stored");
    }
}

#[test]
fn a_trace_that_cannot_be_written_changes_nothing() {
    let mut sandbox = Sandbox::new();
    write_units(&sandbox, 1);
    let folder = sandbox.dir.path().to_str().unwrap().to_owned();
    sandbox.set("LARDER_TRACE", &folder);
    sandbox.check_cached("gcc", &["-c", "u0.c", "-o", "u0.o"]);
    sandbox.set("LARDER_TRACE", "/dev/full");
    assert_eq!(sandbox.check("gcc", &["-c", "u0.c", "-o", "u0.o"]), "direct");
}

/// Nobody reads one of the pipes, and the other one is full.
#[test]
fn a_trace_that_is_a_pipe_stops_no_compile() {
    let Some(mkfifo) = find_or_skip("mkfifo") else { return };
    let mut sandbox = Sandbox::new();
    write_units(&sandbox, 1);
    sandbox.check_cached("gcc", &["-c", "u0.c", "-o", "u0.o"]);
    let pipe = sandbox.dir.path().join("pipe");
    assert!(std::process::Command::new(mkfifo).arg(&pipe).status().unwrap().success());
    sandbox.set("LARDER_TRACE", pipe.to_str().unwrap());
    assert_eq!(sandbox.check("gcc", &["-c", "u0.c", "-o", "u0.o"]), "direct");
    let open = rustix::fs::open(&pipe, OFlags::RDWR | OFlags::NONBLOCK, Mode::empty());
    let mut full = fs::File::from(open.expect("a pipe that is open at both ends"));
    while full.write(&[0; 4096]).is_ok() {}
    assert_eq!(sandbox.check("gcc", &["-c", "u0.c", "-o", "u0.o"]), "direct");
}

#[test]
fn a_job_that_is_none_changes_nothing_and_trims_nothing() {
    let mut sandbox = Sandbox::new();
    write_units(&sandbox, 1);
    sandbox.check_cached("gcc", &["-c", "u0.c"]);
    let long = "x".repeat(300);
    for (id, status) in
        [("", 2), ("a/b", 2), ("../superblock", 2), (&long, 2), ("..", 1), ("unknown", 1)]
    {
        sandbox.set("LARDER_JOB", id);
        assert_eq!(sandbox.check("gcc", &["-c", "u0.c"]), "direct", "{id}");
        let refused = sandbox.larder(&["trim", "--not-touched-since-job"]);
        assert_eq!(refused.status.code(), Some(status), "{id}");
    }
    sandbox.unset("LARDER_JOB");
    assert_eq!(json(&sandbox, &["job", "list", "--json"])["jobs"].as_array().unwrap().len(), 0);
    assert_eq!(sandbox.check("gcc", &["-c", "u0.c"]), "direct");
}

#[test]
fn a_store_that_is_only_read_is_not_trimmed_but_told_of() {
    let mut sandbox = Sandbox::new();
    write_units(&sandbox, 1);
    sandbox.check_cached("gcc", &["-c", "u0.c"]);
    sandbox.set("LARDER_READONLY", "1");
    let told = json(&sandbox, &["trim", "--namespace", "", "--dry-run", "--json"]);
    assert!(told["entries_dropped"].as_u64() > Some(1), "{told}");
    assert_eq!(told["entries_kept"], 0);
    for words in [&["trim", "--namespace", ""][..], &["job", "start"], &["job", "end", "x"]] {
        let refused = sandbox.larder(words);
        assert_eq!(refused.status.code(), Some(1), "{words:?}");
        assert!(refused.stdout.is_empty(), "{words:?}");
    }
    // What is only read is not counted.
    sandbox.unset("LARDER_READONLY");
    assert_eq!(sandbox.check("gcc", &["-c", "u0.c"]), "direct");
}

#[test]
fn what_a_job_did_not_touch_goes_and_the_rest_still_hits() {
    let mut sandbox = Sandbox::new();
    write_units(&sandbox, 3);
    let arguments = |unit: usize| ["-c".to_owned(), format!("u{unit}.c")];
    let check = |sandbox: &Sandbox, unit: usize| {
        let arguments = arguments(unit);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        sandbox.check("gcc", &arguments)
    };
    (0..2).for_each(|unit| assert_eq!(check(&sandbox, unit), "miss"));
    wait_a_second();
    let job = stdout(&sandbox.larder(&["job", "start", "nightly"])).trim().to_owned();
    assert!(job.starts_with("nightly-"), "{job}");
    sandbox.set("LARDER_JOB", &job);
    assert_eq!(check(&sandbox, 0), "direct");
    assert_eq!(check(&sandbox, 2), "miss");
    sandbox.unset("LARDER_JOB");

    let jobs = json(&sandbox, &["job", "list", "--json"]);
    assert_eq!(jobs["jobs"][0]["id"], job.as_str());
    assert!(jobs["jobs"][0]["touched"].as_u64().unwrap() >= 4, "{jobs}");
    let words = ["trim", "--not-touched-since-job", &job, "--json"];
    let told = json(&sandbox, &[&words[..], &["--dry-run"]].concat());
    assert_eq!(told["dry_run"], true);
    // The manifest, the result and the account of the unit that the job did not compile, and the
    // account of the one that was a hit.
    assert_eq!(told["entries_dropped"], 4, "{told}");
    let done = json(&sandbox, &words);
    for field in ["entries_dropped", "bytes_dropped", "entries_kept", "bytes_kept"] {
        assert_eq!(done[field], told[field], "{field}");
    }
    assert_eq!([0, 1, 2].map(|unit| check(&sandbox, unit)), ["direct", "miss", "direct"]);

    assert!(sandbox.larder(&["job", "end", &job]).status.success());
    let refused = sandbox.larder(&words);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("is not known to the store"), "{said}");
}

#[test]
fn entries_go_by_namespace_age_and_size() {
    let mut sandbox = Sandbox::new();
    write_units(&sandbox, 2);
    sandbox.set("LARDER_NAMESPACE", "branch");
    assert_eq!(sandbox.check("gcc", &["-c", "u0.c"]), "miss");
    sandbox.unset("LARDER_NAMESPACE");
    assert_eq!(sandbox.check("gcc", &["-c", "u1.c"]), "miss");
    let text = stdout(&sandbox.larder(&["trim", "--namespace", "branch"]));
    assert!(text.starts_with("dropped 3 entries, "), "{text}");
    assert_eq!(sandbox.check("gcc", &["-c", "u1.c"]), "direct");
    let text = stdout(&sandbox.larder(&["trim", "--older-than", "1h", "--dry-run"]));
    assert!(text.starts_with("would drop 0 entries, 0 bytes\nwould keep "), "{text}");
    wait_a_second();
    wait_a_second();
    stdout(&sandbox.larder(&["trim", "--older-than", "1s", "--namespace", ""]));
    assert_eq!(sandbox.check("gcc", &["-c", "u1.c"]), "miss");
    stdout(&sandbox.larder(&["trim", "--max-size", "10M"]));
    assert_eq!(sandbox.check("gcc", &["-c", "u1.c"]), "direct");
    // Somebody forgot a unit.
    for more in [&["--dry-run"][..], &[]] {
        let refused = sandbox.larder(&[&["trim", "--max-size", "5"], more].concat());
        assert_eq!(refused.status.code(), Some(1));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.stdout.is_empty() && said.contains("nothing was dropped"), "{said}");
        assert_eq!(sandbox.check("gcc", &["-c", "u1.c"]), "direct");
    }
}

#[test]
fn wrong_use_of_trim_and_job_says_what_would_be_right() {
    let sandbox = Sandbox::new();
    for wrong in [
        &["trim"][..],
        &["trim", "--dry-run"],
        &["trim", "--older-than", "soon"],
        &["trim", "--not-touched-since-job"],
        &["job"],
        &["job", "start", "a/b"],
        &["job", "end"],
    ] {
        let output = sandbox.larder(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
}

/// `larder trim --help` said `see trim --help`.
#[test]
fn trim_and_job_explain_what_they_take() {
    let sandbox = Sandbox::new();
    let options =
        ["--older-than", "--namespace", "--not-touched-since-job", "--max-size", "--json"];
    for (help, wanted) in [
        (["trim", "--help"], &options[..]),
        (["trim", "-h"], &["--dry-run", "exit status"]),
        (["job", "--help"], &["start [NAME]", "list [--json]", "end ID", "LARDER_JOB"]),
    ] {
        let text = stdout(&sandbox.larder(&help));
        assert!(wanted.iter().all(|option| text.contains(option)), "{text}");
        assert!(!text.contains("see trim --help") && !text.contains("see job --help"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    }
}
