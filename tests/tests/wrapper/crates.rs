//! Crates that depend on each other: what stands behind an extern, proc macros that can be reached
//! or not, and libraries that bundle others.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use super::rust::{LIB, check, check_cached, compiler, library, run};
use super::{Sandbox, wait_a_tick};

/// What the macro `value` is made of: it reads a variable and a file.
const MACRO: &str = "extern crate proc_macro;\n\
    use proc_macro::TokenStream;\n\
    #[proc_macro]\npub fn value(_: TokenStream) -> TokenStream {\n\
        let out = std::env::var(\"OUT_DIR\").unwrap_or_default();\n\
        let file = std::fs::read_to_string(out + \"/file\").ok();\n\
        format!(\"({:?}, {file:?})\", std::env::var(\"CARGO_VALUE\").ok()).parse().unwrap()\n\
    }\n";

/// Compiles into `deps`, with larder or without.
#[track_caller]
fn make(sandbox: &Sandbox, with_larder: bool, line: &str) {
    let mut command = compiler(sandbox, with_larder);
    let status = command.args(line.split_whitespace()).status().unwrap();
    assert!(status.success(), "{line}\n{}", sandbox.log());
    wait_a_tick();
}

/// Writes the source of a library and compiles it into `deps`, where its dependencies stand.
#[track_caller]
fn dependency(sandbox: &Sandbox, with_larder: bool, name: &str, text: &str, more: &str) {
    sandbox.write(&format!("{name}.rs"), text);
    wait_a_tick();
    make(
        sandbox,
        with_larder,
        &format!(
            "--crate-name {name} {name}.rs --edition=2021 --crate-type lib --emit=metadata,link \
             --out-dir deps -L dependency=deps {more}"
        ),
    );
}

fn with_macro(text: &str) -> Sandbox {
    let sandbox = library(text);
    fs::create_dir(sandbox.path("deps")).unwrap();
    sandbox.write("m.rs", MACRO);
    make(&sandbox, false, "--crate-name m m.rs --crate-type proc-macro --out-dir deps");
    sandbox
}

/// The story: any shared object beside the dependencies made all variables of cargo count for
/// every crate, and in a target directory there is always one.
#[test]
fn a_macro_that_nobody_reaches_counts_for_nothing() {
    let mut sandbox = with_macro("pub fn f() -> u8 { plain::f() }\n");
    dependency(&sandbox, true, "plain", "#[inline] pub fn f() -> u8 { 1 }\n", "");
    let line = format!("{LIB} -L dependency=deps --extern plain=deps/libplain.rmeta");
    sandbox.set("CARGO_VALUE", "1");
    check_cached(&sandbox, &line);
    sandbox.set("CARGO_VALUE", "2");
    assert_eq!(check(&sandbox, &line), "hit", "{}", sandbox.log());
    // What was compiled without larder may have a macro behind it.
    dependency(&sandbox, false, "plain", "#[inline] pub fn f() -> u8 { 2 }\n", "");
    check_cached(&sandbox, &line);
    sandbox.set("CARGO_VALUE", "3");
    check_cached(&sandbox, &line);
}

#[test]
fn what_a_macro_reads_counts_however_it_is_reached() {
    for (text, named) in [
        ("pub const V: (Option<&str>, Option<&str>) = m::value!();\n", "m=deps/libm.so"),
        ("pub const V: (Option<&str>, Option<&str>) = two::v!();\n", "two=deps/libtwo.rmeta"),
        ("pub const V: (Option<&str>, Option<&str>) = two::value!();\n", "two=deps/libtwo.rlib"),
    ] {
        let mut sandbox = with_macro(text);
        dependency(&sandbox, true, "one", "pub use m::value;\n", "--extern m=deps/libm.so");
        let two = "pub use one::value;\n#[doc(hidden)]\npub use one;\n#[macro_export]\n\
                   macro_rules! v { () => { $crate::one::value!() } }\n";
        dependency(&sandbox, true, "two", two, "--extern one=deps/libone.rmeta");
        let line = format!("{LIB} -L dependency=deps --extern {named}");
        check_cached(&sandbox, &line);
        for value in ["1", "2"] {
            sandbox.set("CARGO_VALUE", value);
            check_cached(&sandbox, &line);
        }
        sandbox.unset("CARGO_VALUE");
        assert_eq!(check(&sandbox, &line), "hit", "{}", sandbox.log());
        sandbox.set("OUT_DIR", "gen");
        sandbox.set("CARGO_VALUE", "1");
        for value in ["a", "b"] {
            sandbox.write("gen/file", value);
            wait_a_tick();
            check_cached(&sandbox, &line);
        }
        fs::remove_file(sandbox.path("gen/file")).unwrap();
        check_cached(&sandbox, &line);
        // The macro itself.
        let text = MACRO.replace("CARGO_VALUE", "CARGO_OTHER");
        sandbox.write("m.rs", &text);
        make(&sandbox, false, "--crate-name m m.rs --crate-type proc-macro --out-dir deps");
        assert_ne!(check(&sandbox, &line), "hit");
    }
}

/// cargo starts what depends on a crate as soon as it hears that metadata stands.
#[test]
fn metadata_are_known_before_cargo_hears_of_them() {
    let mut sandbox = with_macro("pub fn f() -> u64 { slow::f0(1) }\n");
    let text: String =
        (0..600).map(|n| format!("pub fn f{n}(x: u64) -> u64 {{ x / {n}1 }}\n")).collect();
    sandbox.write("slow.rs", &text);
    wait_a_tick();
    let slow = "--crate-name slow slow.rs --crate-type lib --emit=metadata,link --out-dir deps \
                --error-format=json --json=artifacts -C opt-level=3";
    let mut command = compiler(&sandbox, true);
    command.args(slow.split_whitespace()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("libslow.rmeta"));
    wait_a_tick();
    let line = "--crate-name a a.rs --edition=2021 --crate-type lib --emit=dep-info,metadata \
                --out-dir out -L dependency=deps --extern slow=deps/libslow.rmeta";
    let expected = run(&sandbox, false, line);
    for value in ["1", "2"] {
        sandbox.set("CARGO_VALUE", value);
        assert!(run(&sandbox, true, line) == expected);
    }
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
    // The other one is the slow crate, which may have come to its end at any time.
    assert_eq!(sandbox.counts(), (1, 0, 2), "{}", sandbox.log());
}

/// An extern names by hash what it was compiled with, and rustc looks for that.
#[test]
fn what_stands_behind_an_extern_counts() {
    let sandbox = library("pub fn f() -> u32 { y::g() }\n");
    fs::create_dir(sandbox.path("deps")).unwrap();
    let first = |value: u32| {
        let text = format!("#[inline] pub fn v() -> u32 {{ {value} }}\n");
        dependency(&sandbox, true, "z", &text, "");
    };
    let second = || {
        let text = "#[inline] pub fn g() -> u32 { z::v() }\n";
        dependency(&sandbox, true, "y", text, "--extern z=deps/libz.rmeta");
    };
    first(1);
    second();
    let line = format!(
        "{LIB} -C opt-level=2 -L dependency=deps --extern y=deps/liby.rmeta --diagnostic-width=80"
    );
    check_cached(&sandbox, &line);
    // It is gone, or another one than y was compiled with: rustc fails.
    for name in ["libz.rmeta", "libz.rlib"] {
        fs::rename(sandbox.path("deps").join(name), sandbox.path(name)).unwrap();
    }
    assert_eq!(check(&sandbox, &line), "uncached");
    first(2);
    assert_eq!(check(&sandbox, &line), "uncached");
    // With what was compiled with it the contents of y are others.
    second();
    check_cached(&sandbox, &line);
    first(1);
    second();
    assert_eq!(check(&sandbox, &line), "hit", "{}", sandbox.log());
}

/// What stands behind an extern is looked for in directories alone, also if another extern names
/// its file.
#[test]
fn a_directory_of_what_stands_behind_an_extern_counts() {
    let sandbox = library("pub fn f() -> u32 { y::g() + z::v() }\n");
    fs::create_dir(sandbox.path("deps")).unwrap();
    dependency(&sandbox, true, "z", "#[inline] pub fn v() -> u32 { 1 }\n", "");
    let text = "#[inline] pub fn g() -> u32 { z::v() }\n";
    dependency(&sandbox, true, "y", text, "--extern z=deps/libz.rmeta");
    let line = format!("{LIB} --extern y=deps/liby.rmeta --extern z=deps/libz.rmeta");
    let with_directory = format!("{line} -L dependency=deps");
    check_cached(&sandbox, &with_directory);
    assert_eq!(check(&sandbox, &line), "uncached");
    assert_eq!(check(&sandbox, &with_directory), "hit", "{}", sandbox.log());
}

/// A shared object is an input like any other, also if it is no proc macro.
#[test]
fn an_extern_that_is_linked_counts() {
    let sandbox = library("pub fn f() -> u32 { d::v() }\n");
    let line = format!("{LIB} -C opt-level=2 --extern d=deps/libd.so");
    for value in 1..3 {
        sandbox.write("d.rs", &format!("#[inline] pub fn v() -> u32 {{ {value} }}\n"));
        let call = "--crate-name d d.rs --crate-type dylib -C prefer-dynamic --out-dir deps";
        make(&sandbox, true, call);
        check_cached(&sandbox, &line);
    }
    assert_eq!(sandbox.count("called_for_link"), 0, "{}", sandbox.log());
}

/// Externs and output directories are not named in what is made: one registry crate serves all
/// target directories.
#[test]
fn another_target_directory_shares_what_was_made() {
    let sandbox = library("pub fn f() -> u32 { y::g() }\n");
    fs::create_dir(sandbox.path("deps")).unwrap();
    dependency(&sandbox, true, "z", "#[inline] pub fn v() -> u32 { 1 }\n", "");
    let text = "#[inline] pub fn g() -> u32 { z::v() }\n";
    dependency(&sandbox, true, "y", text, "--extern z=deps/libz.rmeta");
    let line = format!("{LIB} -g -L dependency=deps --extern y=deps/liby.rmeta");
    check_cached(&sandbox, &line);
    fs::rename(sandbox.path("deps"), sandbox.path("elsewhere")).unwrap();
    assert_eq!(check(&sandbox, &line.replace("deps", "elsewhere")), "hit", "{}", sandbox.log());
    let left = run(&sandbox, true, &line.replace("deps", "elsewhere"));
    assert_eq!(left.files.len(), 3);
}

/// A static library has the code of all crates behind it, and of those archives that they bundle,
/// which do not show in the hashes by which crates name each other.
#[test]
fn a_static_library_is_made_of_everything_behind_it() {
    let sandbox =
        library("extern crate m as _;\n#[no_mangle] pub extern \"C\" fn f() -> u32 { y::g() }\n");
    fs::create_dir(sandbox.path("deps")).unwrap();
    sandbox.write("m.rs", MACRO);
    make(&sandbox, false, "--crate-name m m.rs --crate-type proc-macro --out-dir deps");
    let native = |value: u32| {
        sandbox.write("n.c", &format!("int n(void) {{ return {value}; }}\n"));
        for (program, words) in
            [("gcc", &["-c", "n.c", "-o", "n.o"][..]), ("ar", &["rcsD", "deps/libnat.a", "n.o"])]
        {
            let _ = fs::remove_file(sandbox.path("deps/libnat.a"));
            assert!(sandbox.command(Path::new(program)).args(words).status().unwrap().success());
        }
        wait_a_tick();
    };
    let z = |value: u32, with_larder: bool| {
        native(value);
        let text = "extern \"C\" { fn n() -> u32; }\npub fn v() -> u32 { unsafe { n() } }\n";
        dependency(&sandbox, with_larder, "z", text, "-L native=deps -l static=nat");
    };
    let y = |with_larder: bool, more: &str| {
        let text = format!("pub fn g() -> u32 {{ z::v() {more}}}\n");
        dependency(&sandbox, with_larder, "y", &text, "--extern z=deps/libz.rmeta");
    };
    z(1, true);
    y(true, "");
    let line = "--crate-name a a.rs --edition=2021 --crate-type staticlib,rlib \
                --emit=dep-info,link --out-dir out -L dependency=deps \
                --extern y=deps/liby.rlib --extern m=deps/libm.so";
    check_cached(&sandbox, line);
    // y is as it was, and so is what it says of z.
    let before = fs::read(sandbox.path("deps/liby.rlib")).unwrap();
    z(2, true);
    y(true, "");
    assert!(fs::read(sandbox.path("deps/liby.rlib")).unwrap() == before);
    check_cached(&sandbox, line);
    z(1, true);
    assert_eq!(check(&sandbox, line), "hit", "{}", sandbox.log());
    // What is not known cannot be followed.
    y(false, "+ 1 ");
    assert_eq!(check(&sandbox, line), "uncached");
    assert_eq!(sandbox.count("called_for_link"), 1, "{}", sandbox.log());
}

/// What nobody lists is named in the settings, by crate.
#[test]
fn further_inputs_count_for_the_crate_that_they_are_named_for() {
    let mut sandbox = with_macro("pub const V: (Option<&str>, Option<&str>) = m::value!();\n");
    sandbox.set("OUT_DIR", "none");
    let text = "extra_inputs = { a = [\"sql/**/*.sql\", \"one\"], b-c = \"two\" }\n";
    sandbox.write(".larder.toml", text);
    // The macro reads a file that no variable names.
    sandbox.write("m.rs", &MACRO.replace("out + \"/file\"", "out.replace(\"none\", \"one\")"));
    make(&sandbox, false, "--crate-name m m.rs --crate-type proc-macro --out-dir deps");
    let line = format!("{LIB} --extern m=deps/libm.so");
    check_cached(&sandbox, &line);
    for value in ["1", "2"] {
        sandbox.write("one", value);
        check_cached(&sandbox, &line);
    }
    fs::remove_file(sandbox.path("one")).unwrap();
    assert_eq!(check(&sandbox, &line), "hit");
    for name in ["sql/a.sql", "sql/deep/er/b.sql"] {
        sandbox.write(name, "");
        check_cached(&sandbox, &line);
    }
    fs::rename(sandbox.path("sql/a.sql"), sandbox.path("sql/c.sql")).unwrap();
    check_cached(&sandbox, &line);
    for (name, text) in [("sql/a.txt", ""), ("two", "")] {
        sandbox.write(name, text);
        assert_eq!(check(&sandbox, &line), "hit", "{name}");
    }
    let other = line.replace("--crate-name a", "--crate-name b_c");
    check_cached(&sandbox, &other);
    sandbox.write("two", "2");
    assert_eq!(check(&sandbox, &line), "hit");
    check_cached(&sandbox, &other);
    let variable = format!("a={} b-c=/none", sandbox.path("two").display());
    sandbox.set("LARDER_EXTRA_INPUTS", &variable);
    check_cached(&sandbox, &line);
    sandbox.write("two", "3");
    check_cached(&sandbox, &line);
}

/// Which file a library stands in cannot be told from its name then.
#[test]
fn a_library_of_any_name_is_not_cached() {
    let sandbox = library(
        "#[link(name = \"n.bin\", kind = \"static\", modifiers = \"+verbatim\")]\n\
         extern \"C\" { pub fn n(); }\n",
    );
    sandbox.write("n.c", "int n(void) { return 1; }\n");
    fs::create_dir(sandbox.path("nat")).unwrap();
    for (program, words) in
        [("gcc", &["-c", "n.c", "-o", "n.o"][..]), ("ar", &["rcsD", "nat/n.bin", "n.o"])]
    {
        assert!(sandbox.command(Path::new(program)).args(words).status().unwrap().success());
    }
    wait_a_tick();
    assert_eq!(check(&sandbox, &format!("{LIB} -L native=nat")), "uncached");
    assert_eq!(sandbox.count("unsupported_code_directive"), 1, "{}", sandbox.log());
    // The word alone means nothing.
    sandbox.write("a.rs", "/// Prints it verbatim.\npub fn f() {}\n");
    check_cached(&sandbox, &format!("{LIB} -L native=nat"));
}
