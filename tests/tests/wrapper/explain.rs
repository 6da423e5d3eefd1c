//! `larder explain`: each kind of input that a key has is named when it is what differs, and
//! nothing else is.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use larder_engine::{Options, Put, RecordKind, Store};
use larder_tests::larder_binary;

use super::{Sandbox, wait_a_tick};

const CALL: [&str; 6] = ["gcc", "-Ione", "-Itwo", "-c", "a.c", "-DX=1"];

/// A source with a header in the second directory that is searched, compiled once.
fn compiled() -> Sandbox {
    let sandbox = sandbox();
    miss(&sandbox, &CALL);
    sandbox
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "#include \"a.h\"\nint a = A;\n");
    sandbox.write("two/a.h", "#define A 1\n/* the end */\n");
    fs::create_dir(sandbox.path("one")).unwrap();
    wait_a_tick();
    sandbox
}

#[track_caller]
fn miss(sandbox: &Sandbox, call: &[&str]) {
    let before = sandbox.counts().2;
    let output = sandbox.larder(call);
    assert!(output.status.success(), "{call:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(sandbox.counts().2 - before, 1, "{call:?}\n{}", sandbox.log());
}

#[track_caller]
fn said(sandbox: &Sandbox, words: &[&str]) -> String {
    let output = sandbox.larder(&[&["explain"], words].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {stderr}");
    // Lines are broken somewhere.
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn json(sandbox: &Sandbox, words: &[&str]) -> serde_json::Value {
    let output = sandbox.larder(&[&["explain", "--json"], words].concat());
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// Sentences begin with a capital letter.
fn has(text: &str, words: &str) -> bool {
    text.to_lowercase().contains(&words.to_lowercase())
}

/// The kinds of the differences of the last call that was no hit.
fn kinds(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let json = json(sandbox, words);
    let differences = json["differences"].as_array().unwrap();
    differences.iter().map(|one| one["kind"].as_str().unwrap().to_owned()).collect()
}

/// That a call misses, and that this and nothing else is said to differ: foreseen before it, and
/// told after it.
#[track_caller]
fn differs(sandbox: &Sandbox, call: &[&str], kind: &str, words: &[&str]) {
    let counts = sandbox.counts();
    let foreseen = [&["--"], call].concat();
    assert_eq!(kinds(sandbox, &foreseen), [kind], "{}", said(sandbox, &foreseen));
    assert!(said(sandbox, &foreseen).contains("it would be a miss"));
    assert_eq!(sandbox.counts(), counts);
    miss(sandbox, call);
    let text = said(sandbox, &["a.c"]);
    assert_eq!(kinds(sandbox, &["a.c"]), [kind], "{text}");
    for word in words {
        assert!(has(&text, word), "{word}: {text}");
    }
    assert_eq!(without_ages(&said(sandbox, &["last"])), without_ages(&text));
}

/// A text of the same compile, a second later.
fn without_ages(text: &str) -> String {
    let is_age = |word: &&str| {
        word.parse::<u32>().is_err() && !["just", "now", "second", "seconds", "ago"].contains(word)
    };
    let words = text.split(' ').map(|word| word.trim_end_matches(','));
    words.filter(is_age).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_first_compile_has_no_earlier_entry() {
    let sandbox = compiled();
    let text = said(&sandbox, &["a.c"]);
    assert!(has(&text, "a.c: a miss, ") && has(&text, "no earlier entry"), "{text}");
    assert!(has(&text, "-Ione -Itwo"), "{text}");
    assert!(
        said(&sandbox, &["--", "gcc", "-Ione", "-Itwo", "-c", "a.c", "-DX=1"])
            .starts_with("it would be a direct hit")
    );
}

#[test]
fn arguments_are_told_word_by_word() {
    let sandbox = compiled();
    let call = ["gcc", "-Ione", "-Itwo", "-c", "a.c", "-DX=2"];
    differs(&sandbox, &call, "arguments", &["-DX=1 became -DX=2"]);
    let call = ["gcc", "-Ione", "-Itwo", "-c", "a.c", "-DX=2", "-O2"];
    differs(&sandbox, &call, "arguments", &["-O2 was added"]);
    let call = ["gcc", "-O2", "-Ione", "-Itwo", "-c", "a.c", "-DX=2"];
    let words = ["the same in another order", "`-Ione -Itwo -c` stood where `-O2 -Ione -Itwo`"];
    differs(&sandbox, &call, "arguments", &words);
    let call = ["gcc", "-Ione", "-Itwo", "-c", "a.c"];
    differs(&sandbox, &call, "arguments", &["-DX=2 was removed"]);
}

#[test]
fn headers_are_told_that_changed_came_or_went() {
    let sandbox = compiled();
    sandbox.write("two/a.h", "#define A 2\n/* the end */\n");
    wait_a_tick();
    differs(&sandbox, &CALL, "input_changed", &["two/a.h has changed", "not at hand"]);
    // It comes before the one that was found.
    sandbox.write("one/a.h", "#define A 3\n");
    wait_a_tick();
    let foreseen = said(&sandbox, &[&["--"], &CALL[..]].concat());
    assert!(has(&foreseen, "one/a.h is there now, where the earlier compile looked in vain"));
    miss(&sandbox, &CALL);
    let text = said(&sandbox, &["a.c"]);
    assert!(has(&text, "one/a.h is there now, where the earlier compile looked"), "{text}");
    assert!(has(&text, "two/a.h was read before and no longer is"), "{text}");
    assert_eq!(kinds(&sandbox, &["a.c"]), ["input_appeared", "input_removed"]);
    // One that another one includes.
    sandbox.write("one/b.h", "\n");
    sandbox.write("one/a.h", "#include \"b.h\"\n#define A 3\n");
    wait_a_tick();
    miss(&sandbox, &CALL);
    assert_eq!(kinds(&sandbox, &["a.c"]), ["input_changed", "input_added"]);
}

#[test]
fn lines_are_shown_where_a_text_is_kept() {
    let mut sandbox = sandbox();
    sandbox.set("LARDER_EXPLAIN_SOURCES", "1");
    miss(&sandbox, &CALL);
    sandbox.write("two/a.h", "#define A 2\n/* the end */\n");
    sandbox.write("a.c", "#include \"a.h\"\nint b = A;\nint a = A;\n");
    wait_a_tick();
    miss(&sandbox, &CALL);
    let text = said(&sandbox, &["a.c"]);
    for words in ["the source", "+ 2: int b = A;", "two/a.h has changed", "- 1: #define A 1"] {
        assert!(has(&text, words), "{words}: {text}");
    }
    assert!(!has(&text, "the end"), "{text}");
    let json = json(&sandbox, &["a.c"]);
    assert_eq!(json["differences"][0]["kind"], "source");
    assert_eq!(json["differences"][0]["lines"][0]["number"], 2);
    assert_eq!(json["differences"][1]["lines_from"], "explain_sources");
    // A text that has gone through later hands is not taken for what was compiled.
    sandbox.write("two/a.h", "#define A 9\n");
    let text = said(&sandbox, &["a.c"]);
    assert!(has(&text, "+ 1: #define A 2") && !has(&text, "A 9"), "{text}");
}

#[test]
fn lines_are_shown_where_git_has_the_text() {
    let sandbox = sandbox();
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(sandbox.work()).args(["-c", "user.name=a", "-c", "user.email=a@b"]);
        command.args(words).output().is_ok_and(|output| output.status.success())
    };
    if !git(&["init", "-q"]) {
        eprintln!("git is not installed");
        return;
    }
    assert!(git(&["add", "a.c", "two/a.h"]) && git(&["commit", "-qm", "one"]));
    miss(&sandbox, &CALL);
    sandbox.write("two/a.h", "#define A 7\n/* the end */\n");
    wait_a_tick();
    differs(&sandbox, &CALL, "input_changed", &["- 1: #define A 1", "+ 1: #define A 7"]);
    assert_eq!(json(&sandbox, &["a.c"])["differences"][0]["lines_from"], "git");
}

#[test]
fn variables_are_told_with_their_values_and_others_are_not_kept() {
    let mut sandbox = compiled();
    sandbox.set("LC_ALL", "C");
    sandbox.set("TOKEN_FOR_NOTHING", "a-secret-value");
    differs(&sandbox, &CALL, "environment", &["LC_ALL was not set and is \"C\""]);
    sandbox.set("LC_ALL", "C.UTF-8");
    differs(&sandbox, &CALL, "environment", &["LC_ALL was \"C\" and is \"C.UTF-8\""]);
    sandbox.unset("LC_ALL");
    sandbox.set("SOURCE_DATE_EPOCH", "77");
    differs(&sandbox, &CALL, "environment", &["SOURCE_DATE_EPOCH was not set and is \"77\""]);
    for entry in fs::read_dir(sandbox.store()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap_or_default();
        assert!(!bytes.windows(14).any(|part| part == b"a-secret-value"));
    }
    let snapshot = Store::open(&sandbox.store(), Options::new()).unwrap().snapshot().unwrap();
    for record in snapshot.iter() {
        for section in 0..record.sections().len() {
            let bytes = record.read(section).unwrap();
            assert!(!bytes.windows(14).any(|part| part == b"a-secret-value"));
        }
    }
}

#[test]
fn settings_are_told() {
    let mut sandbox = compiled();
    sandbox.set("LARDER_NAMESPACE", "mine");
    differs(&sandbox, &CALL, "namespace", &["the namespace was \"\" and is \"mine\""]);
    sandbox.unset("LARDER_NAMESPACE");
    sandbox.set("LARDER_SLOPPINESS", "time_macros");
    differs(&sandbox, &CALL, "settings", &["sloppiness was \"\" and is \"time_macros\""]);
    sandbox.set("LARDER_SLOPPINESS", "locale");
    differs(&sandbox, &CALL, "settings", &["and is \"locale\""]);
    sandbox.unset("LARDER_SLOPPINESS");
    sandbox.set("LARDER_IGNORE_OPTIONS", "-DY");
    differs(&sandbox, &CALL, "settings", &["ignore_options was \"\" and is \"-DY\""]);
    sandbox.unset("LARDER_IGNORE_OPTIONS");
    sandbox.write("extra", "1");
    wait_a_tick();
    sandbox.set("LARDER_EXTRA_FILES_TO_HASH", sandbox.path("extra").to_str().unwrap());
    differs(&sandbox, &CALL, "named_file", &["extra was not named"]);
    sandbox.write("extra", "2");
    wait_a_tick();
    differs(&sandbox, &CALL, "named_file", &["extra has changed"]);
}

#[test]
fn the_working_directory_is_told() {
    let sandbox = sandbox();
    let (one, two, source) =
        (sandbox.path("one"), sandbox.path("two"), sandbox.path("a.c").display().to_string());
    let include = format!("-I{}", two.display());
    let in_directory = |directory: &std::path::Path, words: &[&str]| {
        let mut command = sandbox.command(larder_binary());
        command.current_dir(directory).args(words).output().unwrap()
    };
    let call = ["gcc", "-g", &include, "-c", &source, "-o", "a.o"];
    assert!(in_directory(&one, &call).status.success());
    assert!(in_directory(&two, &call).status.success());
    assert_eq!(sandbox.counts(), (0, 0, 2));
    let text = said(&sandbox, &["a.c"]);
    let words = format!("the working directory was {} and is {}", one.display(), two.display());
    assert!(has(&text, &words) && has(&text, "hash_dir"), "{text}");
    assert_eq!(kinds(&sandbox, &["a.c"]), ["working_directory"]);
}

#[test]
fn another_checkout_is_the_nearest_entry_where_there_is_no_own() {
    let sandbox = Sandbox::new();
    for checkout in ["here", "there"] {
        sandbox.write(&format!("{checkout}/src/a.c"), "int a;\n");
        wait_a_tick();
        let source = sandbox.path(&format!("{checkout}/src/a.c"));
        miss(&sandbox, &["gcc", "-c", source.to_str().unwrap(), "-o", "a.o"]);
    }
    let text = said(&sandbox, &["there/src/a.c"]);
    assert!(has(&text, "made for") && has(&text, "here/src/a.c"), "{text}");
    assert_eq!(kinds(&sandbox, &["there/src/a.c"]), ["arguments"]);
}

#[test]
fn a_compiler_that_was_replaced_is_told_with_the_file() {
    let mut sandbox = sandbox();
    let path = std::env::var("PATH").unwrap_or_default();
    let found = |name: &str| {
        std::env::split_paths(&path).map(|at| at.join(name)).find(|at| at.exists()).unwrap()
    };
    let own = sandbox.path("tools/as");
    fs::create_dir(sandbox.path("tools")).unwrap();
    fs::copy(found("as"), &own).unwrap();
    wait_a_tick();
    sandbox.set("PATH", &format!("{}:{path}", sandbox.path("tools").display()));
    miss(&sandbox, &CALL);
    // The same program with a byte behind its end.
    let mut bytes = fs::read(&own).unwrap();
    bytes.push(0);
    fs::write(&own, bytes).unwrap();
    wait_a_tick();
    let words = ["The compiler is another one", "tools/as has other contents"];
    differs(&sandbox, &CALL, "compiler", &words);
    let other = sandbox.path("gcc");
    symlink(found("gcc"), &other).unwrap();
    miss(&sandbox, &[&[other.to_str().unwrap()], &CALL[1..]].concat());
    let text = said(&sandbox, &["a.c"]);
    assert!(has(&text, "the path of the compiler was") && has(&text, "work/gcc"), "{text}");
}

#[test]
fn time_macros_are_told() {
    let mut sandbox = sandbox();
    sandbox.set("TZ", "Pacific/Kiritimati");
    sandbox.write("a.c", "const char *day = __DATE__;\n");
    wait_a_tick();
    let call = ["gcc", "-c", "a.c"];
    miss(&sandbox, &call);
    // There are 25 hours between the two, so it never is the same day.
    sandbox.set("TZ", "Pacific/Pago_Pago");
    if sandbox.larder(&["explain", "--", "gcc", "-c", "a.c"]).stdout.starts_with(b"it would be a d")
    {
        eprintln!("there are no time zones here");
        return;
    }
    differs(&sandbox, &call, "time", &["__DATE__", "sloppiness=time_macros"]);
    sandbox.write("a.c", "const char *time = __TIME__;\n");
    wait_a_tick();
    assert!(sandbox.larder(&call).status.success());
    let text = said(&sandbox, &["a.c"]);
    assert!(has(&text, "not cached") && has(&text, "shows the time"), "{text}");
    assert_eq!(json(&sandbox, &["last"])["outcome"], "unsupported_code_directive");
}

#[test]
fn a_result_that_is_gone_and_a_store_that_was_emptied_are_told() {
    let sandbox = compiled();
    let store = Store::open(&sandbox.store(), Options::new()).unwrap();
    let results: Vec<_> = store
        .snapshot()
        .unwrap()
        .iter()
        .filter(|record| record.kind() == Some(RecordKind::Result))
        .map(|record| record.key())
        .collect();
    assert_eq!(results.len(), 1);
    assert_eq!(store.remove(&results[0]).unwrap(), Put::Stored);
    drop(store);
    let foreseen = said(&sandbox, &[&["--"], &CALL[..]].concat());
    assert!(has(&foreseen, "its result is no longer in the store"), "{foreseen}");
    miss(&sandbox, &CALL);
    let text = said(&sandbox, &["a.c"]);
    assert!(has(&text, "its result is no longer in the store"), "{text}");
    assert!(has(&text, "Nothing differs from this entry"), "{text}");
    assert!(sandbox.larder(&["clear"]).status.success());
    miss(&sandbox, &CALL);
    let text = said(&sandbox, &["a.c"]);
    let words = ["no earlier entry", "the store no longer knows of it", "The store was emptied"];
    assert!(words.iter().all(|words| has(&text, words)), "{text}");
}

#[test]
fn calls_that_are_not_cached_and_compiles_that_fail_are_told() {
    let sandbox = compiled();
    assert!(sandbox.larder(&["gcc", "-E", "a.c", "-Itwo"]).status.success());
    let text = said(&sandbox, &["last"]);
    assert!(has(&text, "called for preprocessing (called_for_preprocessing)"), "{text}");
    assert_eq!(said(&sandbox, &["a.c"]), text);
    sandbox.write("a.c", "#include \"a.h\"\nint a = ;\n");
    wait_a_tick();
    assert!(!sandbox.larder(&CALL).status.success());
    let text = said(&sandbox, &["last"]);
    assert!(has(&text, "the compiler failed") && has(&text, "a.c has changed"), "{text}");
    let text = said(&sandbox, &["--", "gcc", "a.o", "-o", "a"]);
    assert!(text.starts_with("it would be compiled and not cached"), "{text}");
    let output = sandbox.larder(&["explain", "b.c"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no call for b.c is known"));
    for wrong in [&["explain"][..], &["explain", "a.c", "b.c"], &["explain", "last", "--", "gcc"]] {
        assert_eq!(sandbox.larder(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn recache_and_hits_since_are_told() {
    let mut sandbox = compiled();
    assert_eq!(sandbox.check("gcc", &CALL[1..]), "direct");
    assert!(said(&sandbox, &["last"]).contains("Since then 1 call hit"), "{}", sandbox.log());
    sandbox.set("LARDER_RECACHE", "1");
    miss(&sandbox, &CALL);
    let text = said(&sandbox, &["a.c"]);
    assert!(has(&text, "`recache` asks for nothing"), "{text}");
    assert!(has(&text, "Nothing differs from this entry"), "{text}");
}

#[test]
fn what_is_foreseen_is_what_happens() {
    let sandbox = sandbox();
    // A comment: the text is the same.
    let call = ["gcc", "-Itwo", "-c", "a.c"];
    let foreseen = |wanted: &str| {
        let text = said(&sandbox, &[&["--"], &call[..]].concat());
        assert!(has(&text, wanted), "{wanted}: {text}");
    };
    let output = sandbox.larder(&["explain", "--", "gcc", "-c", "a.c"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no store"));
    assert!(!sandbox.store().exists());
    assert_eq!(sandbox.check("gcc", &call[1..]), "miss");
    foreseen("it would be a direct hit");
    sandbox.write("two/a.h", "#define A 1\n/* the very end */\n");
    wait_a_tick();
    // The first miss had no manifest, so it made no text that could be asked for.
    foreseen("it would be a miss");
    assert_eq!(sandbox.check("gcc", &call[1..]), "miss");
    sandbox.write("two/a.h", "#define A 1\n/* the end of the end */\n");
    wait_a_tick();
    foreseen("it would be a preprocessed hit");
    assert_eq!(sandbox.check("gcc", &call[1..]), "preprocessed");
    foreseen("it would be a direct hit");
    assert_eq!(sandbox.check("gcc", &call[1..]), "direct");
}
