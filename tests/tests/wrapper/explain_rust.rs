//! `larder explain` for crates: each kind of input that a key has is named when it differs.

use std::fs;
use std::path::Path;

use larder_tests::larder_binary;

use super::rust::rustc;
use super::{Sandbox, wait_a_tick};

const CALL: &str = "--crate-name a src/a.rs --edition=2021 --crate-type lib --emit=dep-info,link \
                    --out-dir out --extern dep=out/libdep.rlib -L native=nat -C opt-level=1";

fn dependency(sandbox: &Sandbox, name: &str, value: u32) {
    let text = format!("#[inline] pub fn v() -> u32 {{ {value} }}\n");
    sandbox.write(&format!("{name}.rs"), &text);
    let source = format!("{name}.rs");
    let call = ["--crate-name", name, &source, "--crate-type", "lib", "--out-dir", "out"];
    assert!(sandbox.command(Path::new(&rustc())).args(call).status().unwrap().success());
    wait_a_tick();
}

/// A crate with a module, a variable, an extern and an archive beside it, compiled once.
fn compiled() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.write(
        "src/a.rs",
        "mod m;\npub const V: Option<&str> = option_env!(\"VALUE\");\n\
         pub fn f() -> u32 { dep::v() + m::N }\n",
    );
    sandbox.write("src/m.rs", "pub const N: u32 = 1;\n// the end\n");
    sandbox.write("nat/libn.a", "!<arch>\n");
    sandbox.set("VALUE", "one");
    sandbox.set("LARDER_EXPLAIN_SOURCES", "1");
    dependency(&sandbox, "dep", 1);
    miss(&sandbox, CALL);
    sandbox
}

fn words<'a>(rustc: &'a str, line: &'a str) -> Vec<&'a str> {
    [rustc].into_iter().chain(line.split_whitespace()).collect()
}

#[track_caller]
fn miss(sandbox: &Sandbox, line: &str) {
    let before = sandbox.counts().2;
    let rustc = rustc();
    let output = sandbox.larder(&words(&rustc, line));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(sandbox.counts().2 - before, 1, "{line}\n{}", sandbox.log());
}

#[track_caller]
fn said(sandbox: &Sandbox, words: &[&str]) -> String {
    let output = sandbox.larder(&[&["explain"], words].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {stderr}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn kinds(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let output = sandbox.larder(&[&["explain", "--json"], words].concat());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let differences = json["differences"].as_array().unwrap();
    differences.iter().map(|one| one["kind"].as_str().unwrap().to_owned()).collect()
}

/// That a call misses, and that this and nothing else is said to differ: foreseen before it, and
/// told after it.
#[track_caller]
fn differs(sandbox: &Sandbox, line: &str, kind: &str, expected: &[&str]) {
    let counts = sandbox.counts();
    let rustc = rustc();
    let foreseen = [vec!["--"], words(&rustc, line)].concat();
    let text = said(sandbox, &foreseen);
    assert_eq!(kinds(sandbox, &foreseen), [kind], "{text}");
    assert!(text.contains("it would be a miss"), "{text}");
    assert_eq!(sandbox.counts(), counts);
    miss(sandbox, line);
    let text = said(sandbox, &["src/a.rs"]);
    assert_eq!(kinds(sandbox, &["last"]), [kind], "{text}");
    for word in expected {
        assert!(text.to_lowercase().contains(word), "{word}: {text}");
    }
}

#[test]
fn a_hit_is_foreseen_and_runs_nothing() {
    let sandbox = compiled();
    let rustc = rustc();
    fs::remove_file(sandbox.path("out/liba.rlib")).unwrap();
    let text = said(&sandbox, &[vec!["--"], words(&rustc, CALL)].concat());
    assert!(text.contains("it would be a direct hit"), "{text}");
    assert!(!sandbox.path("out/liba.rlib").exists());
}

#[test]
fn what_the_source_reads_is_named_with_its_lines() {
    let mut sandbox = compiled();
    sandbox.write("src/m.rs", "pub const N: u32 = 2;\n// the end\n");
    wait_a_tick();
    let lines =
        ["src/m.rs has changed", "- 1: pub const n: u32 = 1;", "+ 1: pub const n: u32 = 2;"];
    differs(&sandbox, CALL, "input_changed", &lines);
    sandbox.set("VALUE", "two");
    differs(&sandbox, CALL, "environment", &["value, which the source reads"]);
    sandbox.unset("VALUE");
    differs(&sandbox, CALL, "environment", &["value, which the source reads", "is not set"]);
}

#[test]
fn what_the_key_has_is_named() {
    let mut sandbox = compiled();
    let changed = CALL.replace("opt-level=1", "opt-level=2");
    differs(&sandbox, &changed, "arguments", &["-c opt-level=1 became -c opt-level=2"]);
    differs(&sandbox, &format!("{CALL} --cfg one"), "arguments", &["--cfg one was added"]);
    dependency(&sandbox, "dep", 2);
    differs(&sandbox, CALL, "extern", &["dep has other contents"]);
    sandbox.write("nat/libn.a", "!<arch>\n\n");
    wait_a_tick();
    differs(&sandbox, CALL, "library", &["libn.a has other contents"]);
    sandbox.set("RUSTC_BOOTSTRAP", "1");
    differs(&sandbox, CALL, "environment", &["rustc_bootstrap was not set and is \"1\""]);
    sandbox.set("LARDER_NAMESPACE", "mine");
    differs(&sandbox, CALL, "namespace", &["the namespace was \"\" and is \"mine\""]);
}

/// The story: what the settings name had no row, so that nothing seemed to differ.
#[test]
fn files_that_the_settings_name_are_named() {
    let mut sandbox = compiled();
    sandbox.write("one", "1");
    let path = sandbox.path("one").display().to_string();
    sandbox.set("LARDER_EXTRA_FILES_TO_HASH", &path);
    wait_a_tick();
    differs(&sandbox, CALL, "named_file", &["one was not named"]);
    sandbox.write("one", "2");
    wait_a_tick();
    differs(&sandbox, CALL, "named_file", &["one has changed"]);
}

#[test]
fn words_for_the_linker_are_named() {
    let sandbox = compiled();
    let program = CALL.replace("--crate-type lib", "--crate-type bin").replace("a.rs", "main.rs");
    sandbox.write("src/main.rs", "fn main() {}\n");
    wait_a_tick();
    miss(&sandbox, &program);
    let other = format!("{program} -C link-arg=-Wl,-z,now");
    let rustc = rustc();
    let foreseen = [vec!["--"], words(&rustc, &other)].concat();
    assert_eq!(kinds(&sandbox, &foreseen), ["arguments"]);
    let text = said(&sandbox, &foreseen);
    assert!(text.contains("-C link-arg=-Wl,-z,now was added"), "{text}");
}

#[test]
fn what_was_not_cached_says_why() {
    let sandbox = compiled();
    let line = format!("{CALL} -C incremental=inc");
    let rustc = rustc();
    let mut command = sandbox.command(larder_binary());
    assert!(command.arg(&rustc).args(line.split_whitespace()).status().unwrap().success());
    let text = said(&sandbox, &["last"]);
    assert!(text.contains("not cached") && text.contains("CARGO_INCREMENTAL=0"), "{text}");
}
