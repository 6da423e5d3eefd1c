//! What rustc says of crates: what it shows, and how, where it is said again.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use larder_tests::larder_binary;

use super::rust::{
    LIB, Left, check, check_cached, compiler, dependency, left, library, program, rustc,
};
use super::{Sandbox, wait_a_tick};

/// A message about what a macro of another crate makes shows a line of that macro, out of a file
/// that no dependency file names.
#[test]
fn a_source_of_another_crate_that_a_message_shows_counts() {
    let text = "#[macro_export] macro_rules! m { ($e:expr) => { $e.old() } }\n\
                pub struct S;\nimpl S { #[deprecated] pub fn old(&self) {} }\n";
    let sandbox = library("pub fn f(s: d::S) { d::m!(s) }\n");
    dependency(&sandbox, "d", text);
    let line = format!("{LIB} --extern d=deps/libd.rlib --error-format=json");
    check_cached(&sandbox, &line);
    fs::remove_file(sandbox.path("d.rs")).unwrap();
    wait_a_tick();
    check_cached(&sandbox, &line);
    // It comes back, and is another one.
    sandbox.write("d.rs", text);
    wait_a_tick();
    assert_eq!(check(&sandbox, &line), "hit");
    sandbox.write("d.rs", &text.replace("$e.old", "$e . old"));
    wait_a_tick();
    check_cached(&sandbox, &line);
}

/// Runs a shell's words where stderr is a terminal; `None` where there is no `script`.
fn on_terminal(sandbox: &Sandbox, words: &str) -> Option<String> {
    let mut command = sandbox.command(Path::new("script"));
    command.args(["-q", "-e", "-c", words, "/dev/null"]).env("TERM", "xterm");
    command.env_remove("NO_COLOR").env_remove("CLICOLOR");
    let output = command.stdin(std::process::Stdio::null()).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).ok()
}

/// rustc sees a pipe, so it did not colour what it said on a terminal.
#[test]
fn colours_are_those_of_a_terminal() {
    let sandbox = library("pub fn f() { let unused = 1; }\n");
    fs::create_dir(sandbox.path("out")).unwrap();
    let alone = format!("{} {LIB}", rustc());
    let line = format!("{} {alone}", larder_binary().display());
    let Some(expected) = on_terminal(&sandbox, &alone) else {
        println!("skipped: there is no script");
        return;
    };
    assert!(expected.contains("\u{1b}["), "{expected}");
    for (hits, misses) in [(0, 1), (1, 1)] {
        assert_eq!(on_terminal(&sandbox, &line).unwrap(), expected);
        assert_eq!(sandbox.counts(), (hits, 0, misses), "{}", sandbox.log());
    }
    // Elsewhere they are left out.
    check_cached(&sandbox, LIB);
    // Who leaves it to the terminal gets what that gives.
    let auto = on_terminal(&sandbox, &format!("{line} --color=auto")).unwrap();
    assert_eq!(auto, expected);
}

/// A jobserver that cannot be reached is spoken of with its name, which is another one next time.
#[test]
fn what_is_said_of_a_jobserver_is_not_kept() {
    let mut sandbox = library("pub fn f() {}\n");
    sandbox.set("CARGO_MAKEFLAGS", "-j --jobserver-fds=797,798 --jobserver-auth=797,798");
    for _ in 0..2 {
        let left = check(&sandbox, LIB);
        assert_eq!(left, "uncached", "{}", sandbox.log());
    }
    assert!(sandbox.log().contains("jobserver"), "{}", sandbox.log());
    sandbox.unset("CARGO_MAKEFLAGS");
    check_cached(&sandbox, LIB);
}

/// rustc writes the names of outputs into the dependency file as they are, unlike those of sources.
#[test]
fn an_output_directory_with_a_blank_is_one_like_others() {
    let sandbox = library("mod b;\npub fn f() {}\n");
    sandbox.write("b.rs", "");
    wait_a_tick();
    let words = |out: &str| -> Vec<String> {
        let words = LIB.split_whitespace().map(|word| match word {
            "out" => out.to_owned(),
            word => word.to_owned(),
        });
        words.collect()
    };
    let run = |out: &str, with_larder: bool| -> Left {
        left(compiler(&sandbox, with_larder).args(words(out)), &sandbox.path(out))
    };
    for (out, counts) in [("o u t", (0, 0, 1)), ("o u t", (1, 0, 1)), ("out", (2, 0, 1))] {
        let expected = run(out, false);
        assert!(run(out, true) == expected, "{out}\n{}", sandbox.log());
        assert_eq!(sandbox.counts(), counts, "{out}\n{}", sandbox.log());
        let listed = String::from_utf8(expected.files["a.d"].1.clone()).unwrap();
        assert!(listed.contains(&format!("{out}/liba.rlib: a.rs b.rs")), "{listed}");
    }
}

/// Words that count for nothing that is made made a hit of a call that rustc refuses.
#[test]
fn what_rustc_refuses_is_no_hit() {
    let sandbox = library("pub fn f() {}\n");
    dependency(&sandbox, "d", "");
    fs::copy(sandbox.path("deps/libd.rlib"), sandbox.path("deps/d.rlib")).unwrap();
    wait_a_tick();
    check_cached(&sandbox, LIB);
    check_cached(&sandbox, &format!("{LIB} --extern d=deps/libd.rlib"));
    for more in ["--out-dir out", "--crate-name a", "-L dependency=", "--extern d=deps/d.rlib"] {
        assert_eq!(check(&sandbox, &format!("{LIB} {more}")), "uncached", "{more}");
    }
    let test = LIB.replace("--crate-type lib", "--test");
    check_cached(&sandbox, &test);
    assert_eq!(check(&sandbox, &format!("{test} --test")), "uncached");
}

/// A toolchain of the same files, to which more can be added. rustc takes it to stand where its
/// driver stands; what only is read may be a link.
fn own_toolchain(sandbox: &Sandbox) -> PathBuf {
    let rustc = rustc();
    let root = Path::new(&rustc).parent().and_then(Path::parent).unwrap().to_path_buf();
    let own = sandbox.path("toolchain");
    for directory in ["bin", "lib/rustlib"] {
        fs::create_dir_all(own.join(directory)).unwrap();
    }
    fs::copy(&rustc, own.join("bin/rustc")).unwrap();
    for directory in ["lib", "lib/rustlib"] {
        for entry in fs::read_dir(root.join(directory)).unwrap().map(Result::unwrap) {
            let to = own.join(directory).join(entry.file_name());
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("librustc_driver") {
                fs::copy(entry.path(), to).unwrap();
            } else if name != "rustlib" && name != "src" {
                symlink(entry.path(), to).unwrap();
            }
        }
    }
    own
}

/// With the component `rust-src` messages show lines of the standard library.
#[test]
fn sources_of_the_standard_library_count_where_they_are_shown() {
    let sandbox = library("pub fn f() { return; println!(\"x\"); }\n");
    let own = own_toolchain(&sandbox);
    wait_a_tick();
    let check = |expected: &str| -> String {
        let run = |with_larder: bool| {
            let rustc = own.join("bin/rustc");
            let mut command = program(&sandbox, with_larder, rustc.to_str().unwrap());
            command.args(LIB.split_whitespace()).arg("--error-format=json");
            left(&mut command, &sandbox.path("out"))
        };
        let alone = run(false);
        assert_eq!(alone.status, Some(0), "{}", alone.stderr);
        let before = sandbox.counts();
        assert!(run(true) == alone, "{}", sandbox.log());
        let after = sandbox.counts();
        let (hits, misses) = (after.0 - before.0, after.2 - before.2);
        assert_eq!((hits, misses), if expected == "hit" { (1, 0) } else { (0, 1) }, "{expected}");
        alone.stderr
    };
    let said = [check("miss"), check("hit")];
    assert!(said[1].contains("\"/rustc/"), "{}", said[1]);
    let library = own.join("lib/rustlib/src/rust/library/std/src");
    fs::create_dir_all(&library).unwrap();
    for name in ["lib.rs", "macros.rs"] {
        fs::write(library.join(name), "// not what it was made of\n").unwrap();
    }
    wait_a_tick();
    let said = [check("miss"), check("hit")];
    assert!(said[1].contains(&library.join("macros.rs").display().to_string()), "{}", said[1]);
    fs::write(library.join("macros.rs"), "// again not\n").unwrap();
    wait_a_tick();
    check("miss");
    check("hit");
}
