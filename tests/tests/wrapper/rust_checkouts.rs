//! Crates of several checkouts: what one has made the others get, if nothing in it shows where it
//! was made.

use std::fs;

use super::rust::{Left, compiler, left};
use super::{Sandbox, wait_a_tick};

const MACRO: &str = "extern crate proc_macro;\n#[proc_macro]\n\
    pub fn here(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n\
        format!(\"{:?}\", std::env::current_dir().unwrap()).parse().unwrap()\n\
    }\n";

/// Two checkouts of the same sources, side by side in a base directory.
fn checkouts() -> Sandbox {
    let mut sandbox = Sandbox::new();
    for name in ["one", "two"] {
        let write = |path: &str, text: &str| sandbox.write(&format!("{name}/{path}"), text);
        write(
            "a/lib.rs",
            "pub mod m;\n#[inline] pub fn f(x: &[u32], i: usize) -> u32 { x[i] + m::g(i as u32) }\n\
             pub const FILE: &str = file!();\npub fn g<T: Copy>(t: &[T]) -> T { t[1] }\n\
             #[track_caller]\npub fn at() -> u32 { std::panic::Location::caller().line() }\n",
        );
        write(
            "a/m.rs",
            "pub fn g(x: u32) -> u32 { let unused = 1; x.checked_mul(3).expect(\"small\") }\n\
             #[macro_export] macro_rules! fail { () => { panic!(\"x\") } }\n",
        );
        write(
            "b/lib.rs",
            "pub fn h(x: &[u32]) -> u32 { if x.is_empty() { a::fail!() } a::f(x, 3) + a::g(x) }\n",
        );
        write("c/lib.rs", "pub const HERE: &str = env!(\"CARGO_MANIFEST_DIR\");\n");
        write("d/lib.rs", "pub const HERE: &str = m::here!();\n");
        write("m/lib.rs", MACRO);
        write("e/main.rs", "fn main() { println!(\"{}\", a::f(&[1, 2], 1)); }\n");
        fs::create_dir_all(sandbox.path(name).join("deps")).unwrap();
    }
    let base = sandbox.work().display().to_string();
    sandbox.set("LARDER_BASE_DIRS", &base);
    sandbox.set("LARDER_REMAP_PATH_PREFIX", "1");
    wait_a_tick();
    sandbox
}

/// The words that larder adds in one of them.
fn words(sandbox: &Sandbox, name: &str) -> String {
    let (base, own) = (sandbox.work(), sandbox.path(name));
    format!("--remap-path-prefix={}=.. --remap-path-prefix={}=. ", base.display(), own.display())
}

/// Compiles in a checkout; `HERE` in the line is its path.
fn run(sandbox: &Sandbox, name: &str, with_larder: bool, line: &str) -> Left {
    let here = sandbox.path(name);
    let line = line.replace("HERE", here.to_str().unwrap());
    let mut command = compiler(sandbox, with_larder);
    command.current_dir(&here).env("CARGO_MANIFEST_DIR", here.join("c"));
    command.args(line.split_whitespace());
    left(&mut command, &here.join("out"))
}

/// Compiles with larder, and without it but with the words `added`; keeps what was made in `deps`.
/// Tells what was counted.
#[track_caller]
fn check_with(sandbox: &Sandbox, name: &str, added: &str, line: &str) -> &'static str {
    let expected = run(sandbox, name, false, &format!("{added}{line}"));
    let before = sandbox.counts();
    let left = run(sandbox, name, true, line);
    assert!(left == expected, "{line}\n{}\n{}\n{}", left.stderr, expected.stderr, sandbox.log());
    assert_eq!(left.status, Some(0), "{line}\n{}", left.stderr);
    for (file, (_, bytes)) in &left.files {
        fs::write(sandbox.path(name).join("deps").join(file), bytes).unwrap();
    }
    wait_a_tick();
    let after = sandbox.counts();
    match (after.0 - before.0, after.2 - before.2) {
        (1, 0) => "hit",
        (0, 1) => "miss",
        _ => "uncached",
    }
}

#[track_caller]
fn check(sandbox: &Sandbox, name: &str, line: &str) -> &'static str {
    check_with(sandbox, name, &words(sandbox, name), line)
}

fn library(name: &str) -> String {
    format!(
        "--crate-name {name} {name}/lib.rs --edition=2021 --crate-type lib -g \
         --emit=dep-info,metadata,link --out-dir HERE/out -L dependency=HERE/deps \
         --error-format=json --json=artifacts"
    )
}

/// Compiles `a` and then `b` in one and in the other.
#[track_caller]
fn both(sandbox: &Sandbox, change: impl Fn(String) -> String) -> [&'static str; 4] {
    let a = change(library("a"));
    let b = format!("{} --extern a=HERE/deps/liba.rmeta", change(library("b")));
    let check = |name, line: &str| {
        let added = match sandbox.variables.iter().any(|(name, _)| name.contains("REMAP")) {
            true => words(sandbox, name),
            false => String::new(),
        };
        check_with(sandbox, name, &added, line)
    };
    [check("one", &a), check("one", &b), check("two", &a), check("two", &b)]
}

#[test]
fn what_does_not_show_its_checkout_is_shared() {
    let sandbox = checkouts();
    assert_eq!(both(&sandbox, |line| line), ["miss", "miss", "hit", "hit"], "{}", sandbox.log());
    // Sources with absolute names: dependency files and messages have others.
    let absolute = |line: String| line.replace(" a/", " HERE/a/").replace(" b/", " HERE/b/");
    assert_eq!(both(&sandbox, absolute), ["miss", "miss", "hit", "hit"], "{}", sandbox.log());
    let listed = fs::read_to_string(sandbox.path("two/deps/a.d")).unwrap();
    assert!(listed.contains("two/a/m.rs") && !listed.contains("one"), "{listed}");
    // What stands in each counts for each.
    sandbox.write("two/a/m.rs", "pub fn g(x: u32) -> u32 { x }\n");
    sandbox.write("one/b/lib.rs", "pub fn h() -> u32 { a::at() }\n");
    sandbox.write("two/b/lib.rs", "pub fn h() -> u32 { a::at() }\n");
    wait_a_tick();
    assert_eq!(both(&sandbox, |line| line), ["hit", "miss", "miss", "miss"], "{}", sandbox.log());
}

#[test]
fn without_the_setting_nothing_is_added_and_nothing_is_shared() {
    let mut sandbox = checkouts();
    sandbox.unset("LARDER_REMAP_PATH_PREFIX");
    assert_eq!(both(&sandbox, |line| line), ["miss"; 4]);
    assert_eq!(both(&sandbox, |line| line), ["hit"; 4]);
    // Words of the caller do the same.
    let mapped = |line: String| format!("{line} --remap-path-prefix=HERE=src");
    assert_eq!(both(&sandbox, mapped), ["miss", "miss", "hit", "hit"], "{}", sandbox.log());
    // Not so if they leave the working directory, or a file beside it, as it is.
    let mapped = |line: String| format!("{line} --remap-path-prefix=HERE/a=src");
    assert_eq!(both(&sandbox, mapped), ["miss"; 4]);
    // And without a base directory they are text.
    sandbox.unset("LARDER_BASE_DIRS");
    let mapped = |line: String| format!("{line} --remap-path-prefix=HERE=src");
    assert_eq!(both(&sandbox, mapped), ["miss"; 4]);
}

/// A path of another base directory shows as it is, so with several of them a checkout counts.
#[test]
fn with_several_base_directories_a_checkout_has_its_own_crates() {
    let mut sandbox = checkouts();
    let base = sandbox.work().display().to_string();
    sandbox.set("LARDER_BASE_DIRS", &format!("{base}:/opt"));
    assert_eq!(both(&sandbox, |line| line), ["miss"; 4], "{}", sandbox.log());
    assert_eq!(both(&sandbox, |line| line), ["hit"; 4], "{}", sandbox.log());
}

/// Values of variables stand in what is made as they are.
#[test]
fn what_shows_its_checkout_is_kept_there() {
    let sandbox = checkouts();
    let here = sandbox.path("one").display().to_string();
    let c = library("c");
    for expected in ["miss", "hit"] {
        for name in ["one", "two"] {
            assert_eq!(check(&sandbox, name, &c), expected, "{name}\n{}", sandbox.log());
        }
    }
    // A source that names a file of one checkout reads that in the other one, too.
    for name in ["one", "two"] {
        let text = format!("pub const T: &str = include_str!(\"{here}/text\");\n");
        sandbox.write(&format!("{name}/c/lib.rs"), &text);
        sandbox.write(&format!("{name}/text"), "1");
    }
    wait_a_tick();
    assert_eq!([check(&sandbox, "one", &c), check(&sandbox, "two", &c)], ["miss"; 2]);
    sandbox.write("one/text", "2");
    wait_a_tick();
    assert_eq!([check(&sandbox, "two", &c), check(&sandbox, "one", &c)], ["miss"; 2]);
}

/// A macro can see where it runs.
#[test]
fn where_a_macro_may_run_the_checkout_counts() {
    let sandbox = checkouts();
    let plugin = "--crate-name m m/lib.rs --crate-type proc-macro --out-dir HERE/deps";
    for name in ["one", "two"] {
        run(&sandbox, name, false, plugin);
    }
    wait_a_tick();
    let line = format!("{} --extern m=HERE/deps/libm.so", library("d"));
    for expected in ["miss", "hit"] {
        for name in ["one", "two"] {
            assert_eq!(check(&sandbox, name, &line), expected, "{name}\n{}", sandbox.log());
        }
    }
}

/// Programs are compiled with the same words, so that all debug information fits, and are kept.
#[test]
fn what_is_linked_is_kept_in_its_checkout() {
    let sandbox = checkouts();
    let line = "--crate-name e e/main.rs --edition=2021 --crate-type bin -g --out-dir HERE/out \
                --emit=dep-info,link -L dependency=HERE/deps --extern a=HERE/deps/liba.rlib";
    for (name, expected) in [("one", ["miss", "miss"]), ("two", ["hit", "miss"])] {
        let counted = [library("a"), line.to_owned()].map(|line| check(&sandbox, name, &line));
        assert_eq!(counted, expected, "{name}\n{}", sandbox.log());
        assert_eq!(check(&sandbox, name, line), "hit", "{name}\n{}", sandbox.log());
    }
}
