//! `larder stats`: times, differences, the log of calls, and pages.

use std::fs;

use super::{Sandbox, wait_a_tick};

const CALL: [&str; 3] = ["gcc", "-c", "a.c"];

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int a;\n");
    wait_a_tick();
    sandbox
}

fn stdout(sandbox: &Sandbox, words: &[&str]) -> String {
    let output = sandbox.larder(words);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(sandbox: &Sandbox, words: &[&str]) -> serde_json::Value {
    serde_json::from_str(&stdout(sandbox, words)).unwrap()
}

fn sum(list: &serde_json::Value) -> u64 {
    list.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).sum()
}

#[test]
fn hits_know_what_they_have_saved() {
    let sandbox = sandbox();
    assert!(sandbox.larder(&CALL).status.success());
    let after_miss = json(&sandbox, &["stats", "--json"]);
    let number = |json: &serde_json::Value, name: &str| json[name].as_u64().unwrap();
    let (miss, compile) =
        (number(&after_miss, "miss_time_us"), number(&after_miss, "compile_time_us"));
    assert!(compile > 0 && miss >= compile, "{miss} {compile}");
    assert_eq!((sum(&after_miss["miss_times"]), sum(&after_miss["hit_times"])), (1, 0));
    for _ in 0..3 {
        assert!(sandbox.larder(&CALL).status.success());
    }
    let json = json(&sandbox, &["stats", "--json"]);
    assert_eq!((sum(&json["miss_times"]), sum(&json["hit_times"])), (1, 3));
    // Each has avoided this very compile.
    assert_eq!(number(&json, "avoided_time_us"), 3 * compile);
    let saved = (3 * compile).saturating_sub(number(&json, "hit_time_us"));
    assert_eq!(number(&json, "time_saved_us"), saved);
    assert_eq!(number(&json, "avoided_time_unknown"), 0);
    assert_eq!(json["hit_times"].as_array().unwrap().len(), 24);
    let ends = json["time_bucket_ends_us"].as_array().unwrap();
    assert_eq!((ends.len(), ends[1].as_u64()), (23, Some(250)));
    assert!(number(&json, "engine_put_real_bytes") > number(&json, "engine_put_bytes") / 4);
    let text = stdout(&sandbox, &["stats"]);
    for words in ["time saved", "hits took", "how long hits took", "3 (75.0 %)", "on disk"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

/// A preprocessed hit knows it from the alias, and hands it on to the manifest.
#[test]
fn preprocessed_hits_know_it_too() {
    let sandbox = sandbox();
    let write = |comment: &str| {
        sandbox.write("a.h", &format!("/* {comment} */\n"));
        sandbox.write("a.c", "#include \"a.h\"\nint a;\n");
        wait_a_tick();
    };
    let check = || sandbox.check("gcc", &CALL[1..]);
    write("one");
    assert_eq!(check(), "miss");
    write("two");
    assert_eq!(check(), "miss");
    write("three");
    assert_eq!(check(), "preprocessed");
    let avoided = sandbox.count("avoided_time_us");
    assert!(avoided > 0);
    assert_eq!(check(), "direct");
    assert_eq!(sandbox.count("avoided_time_us"), 2 * avoided);
    assert_eq!(sandbox.count("avoided_time_unknown"), 0);
}

#[test]
fn a_difference_has_what_one_build_did() {
    let sandbox = sandbox();
    assert!(sandbox.larder(&CALL).status.success());
    let before = sandbox.path("before");
    fs::write(&before, stdout(&sandbox, &["stats", "--json"])).unwrap();
    assert!(sandbox.larder(&CALL).status.success());
    assert!(sandbox.larder(&["gcc", "-E", "a.c"]).status.success());
    let since = ["stats", "--since", before.to_str().unwrap()];
    let difference = json(&sandbox, &[&since[..], &["--json"]].concat());
    let counts = ["direct_cache_hit", "cache_miss", "called_for_preprocessing"];
    assert_eq!(counts.map(|name| difference[name].as_u64().unwrap()), [1, 0, 1]);
    assert_eq!(difference["hit_rate"].as_f64(), Some(1.0));
    assert_eq!((sum(&difference["hit_times"]), sum(&difference["miss_times"])), (1, 0));
    assert!(difference["store_disk_bytes_change"].is_i64() && difference["was_zeroed"] == false);
    let text = stdout(&sandbox, &since);
    assert!(text.contains("1 (100.0 %)") && text.contains("called for preprocessing"), "{text}");
    assert!(sandbox.larder(&["zero"]).status.success());
    assert!(stdout(&sandbox, &since).contains("set to zero in between"));
    let wrong = sandbox.path("a.c");
    for (file, words) in [(wrong.to_str().unwrap(), "is not what"), ("2h", "--log")] {
        let output = sandbox.larder(&["stats", "--since", file]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn a_log_has_a_line_for_each_call() {
    let mut sandbox = sandbox();
    let log = sandbox.path("calls");
    let log_text = log.to_str().unwrap().to_owned();
    sandbox.set("LARDER_STATS_LOG", &log_text);
    assert!(sandbox.larder(&CALL).status.success());
    assert!(sandbox.larder(&CALL).status.success());
    assert!(sandbox.larder(&["gcc", "-E", "a.c"]).status.success());
    let lines = fs::read_to_string(&log).unwrap();
    let fields: Vec<Vec<&str>> = lines.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(fields.len(), 3, "{lines}");
    assert!(fields.iter().all(|fields| fields.len() == 6), "{lines}");
    let source = sandbox.path("a.c").display().to_string();
    assert_eq!([fields[0][4], fields[1][4]], [source.as_str(); 2]);
    // Of a hit the compile's time is what it avoided.
    assert_eq!(fields[0][2], fields[1][2]);
    assert_ne!(fields[0][2], "0");
    assert!(fields[1][3].split(',').any(|id| id == "22"), "{lines}");
    assert!(!fields[2][5].is_empty());
    let sums = json(&sandbox, &["stats", "--log", &log_text, "--json"]);
    assert_eq!(
        (sums["direct_cache_hit"].as_u64(), sums["cache_miss"].as_u64()),
        (Some(1), Some(1))
    );
    assert_eq!(sums["calls"].as_array().unwrap().len(), 3);
    assert_eq!(sums["calls"][2]["counted"][0], "called_for_preprocessing");
    let text = stdout(&sandbox, &["stats", "--log", &log_text]);
    for words in ["the slowest misses", &source, "1 (50.0 %)", "why calls were not cached"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("on disk"));
    let all = json(&sandbox, &["stats", "--log", &log_text, "--since", "1h", "--json"]);
    assert_eq!(all["calls"].as_array().unwrap().len(), 3);
    let lines = lines.replace(fields[0][0], "1000000000");
    fs::write(&log, lines).unwrap();
    let none = json(&sandbox, &["stats", "--log", &log_text, "--since", "1h", "--json"]);
    assert!(none["calls"].as_array().unwrap().len() < 3);
    let output = sandbox.larder(&["stats", "--log", sandbox.path("a.c").to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no log of calls"));
}

/// A log that cannot be written changes nothing.
#[test]
fn a_log_that_cannot_be_written_is_no_error() {
    let mut sandbox = sandbox();
    for path in ["/dev/full", "/nonexistent/log"] {
        sandbox.set("LARDER_STATS_LOG", path);
        let output = sandbox.larder(&CALL);
        assert!(output.status.success() && output.stderr.is_empty(), "{path}");
    }
    assert_eq!(sandbox.counts(), (1, 0, 1));
}

#[test]
fn a_page_for_a_browser_and_colours_are_made_where_they_are_asked_for() {
    let mut sandbox = sandbox();
    assert!(sandbox.larder(&CALL).status.success());
    let page = sandbox.path("stats.html");
    stdout(&sandbox, &["stats", "--html", page.to_str().unwrap()]);
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains("0.0 % hits"), "{html}");
    assert!(html.contains("How long misses took") && !html.contains("http"));
    assert!(!stdout(&sandbox, &["stats"]).contains('\x1b'));
    sandbox.set("CLICOLOR_FORCE", "1");
    assert!(stdout(&sandbox, &["stats"]).contains('\x1b'));
    sandbox.set("NO_COLOR", "1");
    assert!(!stdout(&sandbox, &["stats"]).contains('\x1b'));
    sandbox.set("COLUMNS", "60");
    let text = stdout(&sandbox, &["stats"]);
    assert!(text.lines().skip(1).all(|line| line.chars().count() <= 60), "{text}");
}
