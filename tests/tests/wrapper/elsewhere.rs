//! Results that a call in another checkout, for another target or with other files of options must
//! not get.

use std::fs;
use std::path::Path;

use larder_tests::larder_binary;

use super::{Sandbox, compilers, wait_a_tick};

/// What the compiler makes of the same words in both checkouts, one after the other, is what
/// larder gives there.
struct Checkouts {
    sandbox: Sandbox,
}

impl Checkouts {
    fn new() -> Checkouts {
        let mut sandbox = Sandbox::new();
        let bases = ["one", "second"].map(|name| sandbox.path(name).display().to_string());
        sandbox.set("LARDER_BASE_DIRS", &bases.join(":"));
        Checkouts { sandbox }
    }

    fn write(&self, name: &str, text: &str) {
        for checkout in ["one", "second"] {
            self.sandbox.write(&format!("{checkout}/{name}"), text);
        }
        wait_a_tick();
    }

    fn check(&self, checkout: &str, compiler: &str, arguments: &[&str]) {
        let compile = |program: &Path, words: &[&str]| {
            let mut command = self.sandbox.command(program);
            command.current_dir(self.sandbox.path(checkout)).args(words).args(arguments);
            let output = command.args(["-o", "a.o"]).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            fs::read(self.sandbox.path(checkout).join("a.o")).unwrap()
        };
        let expected = compile(Path::new(compiler), &[]);
        let left = compile(larder_binary(), &[compiler]);
        assert!(left == expected, "{compiler} {arguments:?} in {checkout}\n{}", self.sandbox.log());
    }
}

/// The second checkout was a copy of the first, with generated sources that include headers by
/// their absolute names: those of the first. The manifest kept them relative, so that the second
/// one's own headers were looked at, which had not changed. A macro or a variable did the same.
#[test]
fn a_header_of_the_first_checkout_counts_for_whoever_reads_it() {
    for compiler in compilers() {
        for way in ["text", "macro", "variable"] {
            let mut checkouts = Checkouts::new();
            let header = checkouts.sandbox.path("one/inc/x.h").display().to_string();
            let (name, option) = match way {
                "text" => (format!("\"{header}\""), "-DY".to_owned()),
                "macro" => ("X_H".to_owned(), format!("-DX_H=\"{header}\"")),
                _ => ("<x.h>".to_owned(), "-DY".to_owned()),
            };
            if way == "variable" {
                let directory = checkouts.sandbox.path("one/inc").display().to_string();
                checkouts.sandbox.set("CPATH", &directory);
            }
            checkouts.write("a.c", &format!("#include {name}\nint a = X;\n"));
            checkouts.write("inc/x.h", "#define X 1\n");
            checkouts.check("one", compiler, &[&option, "-c", "a.c"]);
            checkouts.sandbox.write("one/inc/x.h", "#define X 2\n");
            wait_a_tick();
            checkouts.check("second", compiler, &[&option, "-c", "a.c"]);
        }
    }
}

/// clang writes `(lambda at /one/a.cc:1:10)` into the names of functions, and a constant that was
/// computed from such a name holds nothing that a search for the path would find.
#[test]
fn a_number_made_of_a_path_is_kept_for_its_checkout() {
    for compiler in compilers() {
        let compiler = if compiler == "gcc" { "g++" } else { "clang++" };
        let checkouts = Checkouts::new();
        let text = [
            "template <class T> constexpr unsigned size() { return sizeof(__PRETTY_FUNCTION__); }",
            "auto f = [] {};",
            "unsigned n = size<decltype(f)>();",
            "",
        ];
        let text = text.join("\n");
        checkouts.write("a.cc", &text);
        for checkout in ["one", "second", "one"] {
            let source = checkouts.sandbox.path(checkout).join("a.cc").display().to_string();
            checkouts.check(checkout, compiler, &["-std=c++17", "-c", &source]);
        }
    }
}

/// The words of a response file were read by larder, and then by the compiler once more; a file
/// that was written between the two led to a result under the words of before.
#[test]
fn a_response_file_that_changes_during_the_compile_is_seen() {
    for compiler in compilers() {
        let mut sandbox = Sandbox::new();
        sandbox.write("a.c", "int a = X;\n");
        sandbox.write("words", "-DX=1\n");
        wait_a_tick();
        sandbox.set("LARDER_PREFIX_COMMAND", "sh change");
        sandbox.write("change", "echo -DX=2 > words\nexec \"$@\"\n");
        assert!(sandbox.larder(&[compiler, "@words", "-c", "a.c"]).status.success());
        sandbox.unset("LARDER_PREFIX_COMMAND");
        sandbox.write("words", "-DX=1\n");
        wait_a_tick();
        sandbox.check_cached(compiler, &["@words", "-c", "a.c"]);
    }
}

/// Two outputs went under one key: `-fsave-optimization-record=yaml` was taken for an option
/// without an output, and the record was lost. And CodeView holds the name of the object and the
/// command line, with the options that larder had added.
#[test]
fn what_clang_writes_for_other_tools_is_as_without_larder() {
    if !compilers().any(|compiler| compiler == "clang") {
        println!("skipped: no clang");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int g(int);\nint f(int x) { return g(x) + 1; }\n");
    for _ in 0..2 {
        let words = ["clang", "-O2", "-c", "a.c", "-fsave-optimization-record=yaml"];
        assert!(sandbox.larder(&words).status.success());
        fs::remove_file(sandbox.path("a.opt.yaml")).unwrap();
    }
    for target in ["x86_64-pc-windows-msvc", "x86_64-windows", "i686-win32"] {
        let option = format!("--target={target}");
        for _ in 0..2 {
            let words = ["clang", &option, "-g", "-c", "a.c"];
            assert!(sandbox.larder(&words).status.success());
        }
    }
    assert_eq!(sandbox.counts(), (0, 0, 0));
}
