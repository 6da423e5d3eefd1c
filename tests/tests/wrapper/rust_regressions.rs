//! Crates: each test opens with the story of what was wrong.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use larder_tests::larder_binary;

use super::rust::{LIB, check, check_cached, compiler, library, programs, run, rustc};
use super::{Sandbox, wait_a_tick};

/// The story: a link named `rustc` to larder was refused, because only names of compilers for C
/// were known as such.
#[test]
fn a_link_that_is_named_rustc_stands_for_it() {
    let sandbox = Sandbox::new();
    sandbox.write("a.rs", "pub fn f() {}\n");
    fs::create_dir(sandbox.path("out")).unwrap();
    wait_a_tick();
    for name in ["rustc", "clippy-driver"] {
        if !Path::new(&programs()).join(name).exists() {
            continue;
        }
        let link = sandbox.path(name);
        symlink(larder_binary(), &link).unwrap();
        let before = sandbox.counts();
        for _ in 0..2 {
            let mut command = sandbox.command(&link);
            let path = format!("{}:{}", sandbox.work().display(), programs());
            command.env("PATH", path).args(["--crate-name=a", "a.rs", "--crate-type=lib"]);
            command.args(["--emit=dep-info,metadata", "--out-dir=out"]);
            let output = command.output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}: {stderr}\n{}", sandbox.log());
        }
        let after = sandbox.counts();
        assert_eq!((after.0 - before.0, after.2 - before.2), (1, 1), "{name}\n{}", sandbox.log());
    }
}

/// The story: rustc writes into the dependency file that stands there, which so keeps its mode; a
/// hit put a new one in its place, with the mode of the umask of now. Then texts and objects kept
/// theirs on a hit, which rustc copies there with the mode of a new file.
#[test]
fn files_that_stand_already_have_the_mode_that_rustc_leaves() {
    let sandbox = Sandbox::new();
    sandbox.write("a.rs", "pub fn f() {}\n");
    fs::create_dir(sandbox.path("out")).unwrap();
    wait_a_tick();
    let rustc = rustc();
    let call = "--crate-name=a a.rs --crate-type=lib --emit=dep-info,asm,obj,llvm-ir,mir,link \
                -Ccodegen-units=1 --out-dir=out";
    let names = ["a.d", "a.mir", "a.s", "a.o", "a.ll", "liba.rlib"];
    let modes = |program: &Path, words: &[&str]| {
        let mut command = sandbox.command(program);
        assert!(command.args(words).args(call.split_whitespace()).status().unwrap().success());
        names.map(|name| {
            let metadata = fs::metadata(sandbox.path("out").join(name)).unwrap();
            metadata.permissions().mode() & 0o777
        })
    };
    let larder = [rustc.as_str()];
    modes(larder_binary(), &larder);
    for wanted in [0o600, 0o664] {
        let set = || {
            for name in names {
                let path = sandbox.path("out").join(name);
                fs::set_permissions(path, Permissions::from_mode(wanted)).unwrap();
            }
        };
        set();
        let alone = modes(Path::new(&rustc), &[]);
        assert_eq!(alone[..2], [wanted, wanted]);
        set();
        assert_eq!(modes(larder_binary(), &larder), alone);
    }
    assert_eq!(sandbox.counts(), (2, 0, 1), "{}", sandbox.log());
}

/// The story: the version that metadata name was taken for that of the toolchain, but a variable
/// gives another one.
#[test]
fn the_version_that_a_variable_gives_counts() {
    let mut sandbox = Sandbox::new();
    sandbox.write("a.rs", "pub fn f() {}\n");
    fs::create_dir(sandbox.path("out")).unwrap();
    wait_a_tick();
    let rustc = rustc();
    let call = ["--crate-name=a", "a.rs", "--crate-type=lib", "--emit=link", "--out-dir=out"];
    for version in ["1.0.0-one", "1.0.0-other"] {
        sandbox.set("RUSTC_FORCE_RUSTC_VERSION", version);
        sandbox.check_cached(&rustc, &call);
    }
}

/// The story: the version of Apple's system that an object is for comes from a variable, which no
/// dependency file names; with another value the old object was given.
#[test]
fn the_system_that_a_variable_names_counts() {
    let mut sandbox = library(
        "#![feature(no_core, lang_items)]\n#![no_core]\n\
         #[lang = \"pointee_sized\"] pub trait PointeeSized {}\n\
         #[lang = \"meta_sized\"] pub trait MetaSized: PointeeSized {}\n\
         #[lang = \"sized\"] pub trait Sized: MetaSized {}\n\
         #[no_mangle] pub extern \"C\" fn f() {}\n",
    );
    sandbox.set("RUSTC_BOOTSTRAP", "1");
    let line = format!("{LIB} --target aarch64-apple-darwin -C panic=abort -A internal_features");
    if run(&sandbox, false, &line).status != Some(0) {
        println!("skipped: rustc has other items of the language");
        return;
    }
    for version in ["11.0", "13.0"] {
        sandbox.set("MACOSX_DEPLOYMENT_TARGET", version);
        check_cached(&sandbox, &line);
    }
    sandbox.unset("MACOSX_DEPLOYMENT_TARGET");
    check_cached(&sandbox, &line);
}

/// A file that assembly text takes in stands in no dependency file.
#[test]
fn assembly_text_that_takes_in_a_file_is_not_cached() {
    let text = r#"#![no_std]
core::arch::global_asm!(".section .rodata.x\nblob: .incbin \"d.bin\"");
"#;
    let sandbox = library(text);
    for bytes in ["AAAA", "BBBB"] {
        sandbox.write("d.bin", bytes);
        wait_a_tick();
        assert_eq!(check(&sandbox, LIB), "uncached", "{}", sandbox.log());
        assert_eq!(check(&sandbox, LIB), "uncached", "{}", sandbox.log());
    }
}

/// A silent result fitted a call that asks for reports of what is silent without.
#[test]
fn reports_of_the_future_count() {
    let text = "macro_rules! m { () => { 1; } }\npub fn g() -> i32 { let x = m!(); x }\n";
    let sandbox = library(text);
    let line = format!("{LIB} --cap-lints allow --error-format=json");
    check_cached(&sandbox, &line);
    assert_eq!(check(&sandbox, &format!("{line} --json=future-incompat")), "miss");
    // What rustc refuses is left to it.
    for more in ["--error-format=bogus", "--color=bogus", "--color=never --color=never"] {
        assert_eq!(check(&sandbox, &format!("{LIB} {more}")), "uncached", "{more}");
    }
}

/// A hit put files into the places of a link and of one that must not be written.
#[test]
fn what_rustc_writes_into_or_refuses_is_left_to_it() {
    let sandbox = library("pub fn f() {}\n");
    check_cached(&sandbox, LIB);
    let out = sandbox.path("out");
    let line: Vec<&str> = LIB.split_whitespace().collect();
    let larder = |arguments: &[&str]| {
        let mut command = compiler(&sandbox, true);
        command.args(arguments).status().unwrap().code()
    };
    fs::write(sandbox.path("real"), "old").unwrap();
    fs::remove_file(out.join("a.d")).unwrap();
    symlink(sandbox.path("real"), out.join("a.d")).unwrap();
    assert_eq!(larder(&line), Some(0));
    assert!(fs::symlink_metadata(out.join("a.d")).unwrap().is_symlink());
    assert!(fs::read_to_string(sandbox.path("real")).unwrap().contains("a.rs"));
    fs::remove_file(out.join("a.d")).unwrap();
    let mut permissions = fs::metadata(out.join("liba.rlib")).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(out.join("liba.rlib"), permissions).unwrap();
    assert_eq!(larder(&line), Some(1), "rustc refuses it");
}

/// Whether cargo runs is in messages, and the standard library's sources give it other names.
#[test]
fn variables_of_messages_count() {
    let mut sandbox = library("#[cfg(foo)]\npub fn f() {}\n");
    let line = format!("{LIB} --check-cfg cfg()");
    check_cached(&sandbox, &line);
    sandbox.set("CARGO_CRATE_NAME", "a");
    assert_eq!(check(&sandbox, &line), "miss");
    sandbox.set("RUST_MIN_STACK", "abc");
    assert_ne!(check(&sandbox, &line), "hit");
}
