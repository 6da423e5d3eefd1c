//! Options of rustc one by one: what each makes is what rustc makes, first and from the store.

use std::fs;

use super::rust::{LIB, check, check_cached, library, run};
use super::wait_a_tick;

const TEXT: &str = "pub fn f(x: u64) -> u64 { x / 3 }\npub fn g<T: Copy>(t: T) -> T { t }\n";

/// The story: options for linkers did not count, but rustc notes some of them in metadata.
#[test]
fn options_for_linkers_count_as_rustc_counts_them() {
    let sandbox = library(TEXT);
    check_cached(&sandbox, LIB);
    for more in [
        "-C linker=none",
        "-C link-arg=-x",
        "-C link-args=-x",
        "-C relro-level=off",
        "-C rpath=yes",
        "-C linker-flavor=gcc",
        "-C default-linker-libraries=yes",
        "-C link-self-contained=no",
    ] {
        let line = format!("{LIB} {more}");
        assert_eq!(check(&sandbox, &line), "miss", "{line}\n{}", sandbox.log());
        assert_eq!(check(&sandbox, &line), "hit", "{line}\n{}", sandbox.log());
    }
}

#[test]
fn options_that_change_code_are_cached_apart() {
    let sandbox = library(TEXT);
    let all = [
        "-C codegen-units=1",
        "-C codegen-units=4 -C opt-level=3",
        "-C embed-bitcode=no",
        "-C embed-bitcode=yes -C lto=off",
        "-C lto=thin",
        "-C linker-plugin-lto",
        "-C instrument-coverage",
        "-C profile-generate=prof",
        "-C prefer-dynamic",
        "-C force-frame-pointers=yes",
        "-C symbol-mangling-version=v0",
        "-C strip=debuginfo -g",
        "-C split-debuginfo=packed -g",
        "-C target-cpu=native -C target-feature=+sse3",
        "--target x86_64-unknown-linux-gnu",
        "-C overflow-checks=on",
        "--cfg feature=\"one\"",
    ];
    for more in all {
        check_cached(&sandbox, &format!("{LIB} {more}"));
    }
    for more in all {
        assert_eq!(check(&sandbox, &format!("{LIB} {more}")), "hit", "{more}");
    }
}

#[test]
fn outputs_go_where_each_is_named() {
    let sandbox = library(TEXT);
    for emit in [
        "obj=out/x.o,dep-info=out/y.d",
        "metadata=out/libz.rmeta,dep-info",
        "link=out/libother.rlib,dep-info",
        "asm=out/x.s,llvm-ir=out/x.ll,llvm-bc=out/x.bc,mir=out/x.mir",
    ] {
        let line = format!("--crate-name a a.rs --crate-type lib --out-dir out --emit={emit}");
        check_cached(&sandbox, &line);
        // The dependency file names them in the place that the next call gives them.
        let other = line.replace("--out-dir out", "--out-dir ./out").replace("=out/", "=./out/");
        assert_eq!(check(&sandbox, &other), "hit", "{other}\n{}", sandbox.log());
    }
}

#[test]
fn what_is_not_understood_runs_as_without_larder() {
    let sandbox = library(TEXT);
    sandbox.write("arguments", "--crate-name\na\na.rs\n--crate-type=lib\n--out-dir=out\n");
    wait_a_tick();
    let base = "--crate-name a a.rs --crate-type lib --out-dir out";
    for line in [
        "@arguments".to_owned(),
        "a.rs --crate-type lib --out-dir out".to_owned(),
        "--crate-name a a.rs --out-dir out --crate-type lib -o out/liba.rlib".to_owned(),
        format!("{base} -C incremental=inc"),
        format!("{base} --print link-args"),
        format!("{base} -Z unheard-of"),
        format!("{base} --emit=asm=-"),
        format!("{base} -C llvm-args=--unheard-of"),
        "--crate-name a - --crate-type lib --out-dir out".to_owned(),
    ] {
        let expected = run(&sandbox, false, &line);
        let before = sandbox.counts();
        let left = run(&sandbox, true, &line);
        assert_eq!((left.status, &left.stderr), (expected.status, &expected.stderr), "{line}");
        assert_eq!(left.stdout, expected.stdout, "{line}");
        assert!(left.files.keys().eq(expected.files.keys()), "{line}");
        assert_eq!(sandbox.counts(), before, "{line}\n{}", sandbox.log());
    }
    assert!(sandbox.log().contains("CARGO_INCREMENTAL=0"));
}

/// What a profile says decides about the code.
#[test]
fn a_profile_counts_by_its_contents() {
    let sandbox = library(TEXT);
    let line = format!("{LIB} -O -C profile-use=p.profdata");
    // No profile, so rustc fails or warns; what it makes of another file is not that.
    for text in ["one", "two"] {
        sandbox.write("p.profdata", text);
        wait_a_tick();
        assert_ne!(check(&sandbox, &line), "hit", "{text}");
    }
    fs::remove_file(sandbox.path("p.profdata")).unwrap();
    assert_eq!(check(&sandbox, &line), "uncached");
}

/// A file of any name can be a library, and only the compiler knows which one is.
#[test]
fn modules_are_found_at_either_name() {
    let sandbox = library("#[path = \"x/y.rs\"]\nmod z;\nmod m;\npub use z::f;\npub use m::g;\n");
    sandbox.write("x/y.rs", "pub fn f() {}\n");
    sandbox.write("m.rs", "pub fn g() {}\n");
    sandbox.write("b.bin", "1");
    wait_a_tick();
    check_cached(&sandbox, LIB);
    sandbox.write("x/y.rs", "pub const B: &[u8] = include_bytes!(\"../b.bin\");\npub fn f() {}\n");
    wait_a_tick();
    check_cached(&sandbox, LIB);
    sandbox.write("b.bin", "2");
    wait_a_tick();
    check_cached(&sandbox, LIB);
    // The other name beside the one, and in its place.
    sandbox.write("m/mod.rs", "pub fn g() { loop {} }\n");
    wait_a_tick();
    assert_eq!(check(&sandbox, LIB), "uncached");
    fs::remove_file(sandbox.path("m.rs")).unwrap();
    check_cached(&sandbox, LIB);
}

#[test]
fn namespaces_share_nothing() {
    let mut sandbox = library(TEXT);
    check_cached(&sandbox, LIB);
    for name in ["one", "two"] {
        sandbox.set("LARDER_NAMESPACE", name);
        check_cached(&sandbox, LIB);
    }
    sandbox.unset("LARDER_NAMESPACE");
    assert_eq!(check(&sandbox, LIB), "hit");
}

#[test]
fn files_that_the_settings_name_count_by_their_contents() {
    let mut sandbox = library(TEXT);
    let path = sandbox.path("extra").display().to_string();
    sandbox.write("extra", "1");
    wait_a_tick();
    check_cached(&sandbox, LIB);
    sandbox.set("LARDER_EXTRA_FILES_TO_HASH", &path);
    check_cached(&sandbox, LIB);
    sandbox.write("extra", "2");
    wait_a_tick();
    check_cached(&sandbox, LIB);
    fs::remove_file(&path).unwrap();
    assert_eq!(check(&sandbox, LIB), "uncached");
}

/// Variables that decide what is allowed or said, beside the words.
#[test]
fn variables_of_rustc_count() {
    let mut sandbox = library(&format!("#![feature(rustc_attrs)]\n{TEXT}"));
    assert_eq!(check(&sandbox, LIB), "uncached");
    sandbox.set("RUSTC_BOOTSTRAP", "1");
    check_cached(&sandbox, LIB);
    // It is for other crates, so this one fails.
    sandbox.set("RUSTC_BOOTSTRAP", "other");
    assert_eq!(check(&sandbox, LIB), "uncached");
    sandbox.unset("RUSTC_BOOTSTRAP");
    assert_eq!(check(&sandbox, LIB), "uncached");
    sandbox.set("RUSTC_BOOTSTRAP", "1");
    assert_eq!(check(&sandbox, LIB), "hit");
    for name in ["RUSTC_LOG", "RUST_TARGET_PATH"] {
        let before = sandbox.count("unsupported_environment_variable");
        sandbox.set(name, "error");
        assert_eq!(check(&sandbox, LIB), "uncached", "{name}");
        assert_eq!(sandbox.count("unsupported_environment_variable"), before + 1, "{name}");
        sandbox.unset(name);
    }
}
