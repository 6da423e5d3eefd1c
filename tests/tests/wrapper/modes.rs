//! Settings that change how results are asked for, what counts for them, and what is stored.

use std::fs;

use super::{Sandbox, compilers};

const CALL: &[&str] = &["-c", "a.c", "-o", "a.o", "-MD"];

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "#include \"h.h\"\nint f(void) { return VALUE; }\n");
    sandbox.write("h.h", "#define VALUE 1\n");
    sandbox
}

fn sandbox_with(settings: &[(&str, &str)]) -> Sandbox {
    let mut sandbox = sandbox();
    settings.iter().for_each(|(name, value)| sandbox.set(name, value));
    sandbox
}

#[test]
fn without_direct_mode_each_call_is_preprocessed_and_no_manifest_is_kept() {
    for compiler in compilers() {
        let mut sandbox = sandbox_with(&[("LARDER_DIRECT_MODE", "0")]);
        // Debug information shows columns, which the text does not have.
        for more in ["-O2", "-g"] {
            let call = [CALL, &[more]].concat();
            sandbox.write("h.h", "#define VALUE 1\n");
            assert_eq!(sandbox.check(compiler, &call), "miss");
            assert_eq!(sandbox.check(compiler, &call), "preprocessed", "{}", sandbox.log());
            sandbox.write("h.h", "#define VALUE 2\n");
            assert_eq!(sandbox.check(compiler, &call), "miss");
            assert_eq!(sandbox.check(compiler, &call), "preprocessed");
        }
        sandbox.set("LARDER_DIRECT_MODE", "1");
        assert_eq!(sandbox.check(compiler, CALL), "miss");
        assert_eq!(sandbox.check(compiler, CALL), "direct");
    }
}

#[test]
fn with_depend_mode_the_preprocessor_is_never_run() {
    for compiler in compilers() {
        let mut sandbox = sandbox_with(&[("LARDER_DEPEND_MODE", "1")]);
        sandbox.check_cached(compiler, CALL);
        // The text stays the same, but nobody looks at it.
        sandbox.write("h.h", "#define VALUE 1 // one\n");
        assert_eq!(sandbox.check(compiler, CALL), "miss");
        sandbox.write("h.h", "#define VALUE 2\n");
        assert_eq!(sandbox.check(compiler, CALL), "miss");
        sandbox.unset("LARDER_DEPEND_MODE");
        sandbox.write("h.h", "#define VALUE 2 // two\n");
        assert_eq!(sandbox.check(compiler, CALL), "miss");
        sandbox.write("h.h", "#define VALUE 2 // too\n");
        assert_eq!(sandbox.check(compiler, CALL), "preprocessed");
        // Here only a run of the preprocessor would list the system headers.
        let listed_afterwards = ["-c", "a.c", "-o", "a.o", "-MMD", "-g"];
        sandbox.set("LARDER_DEPEND_MODE", "1");
        assert_eq!(sandbox.check(compiler, &listed_afterwards), "uncached");
        sandbox.unset("LARDER_DEPEND_MODE");
        sandbox.check_cached(compiler, &listed_afterwards);
    }
}

#[test]
fn recache_stores_and_does_not_ask() {
    let mut sandbox = sandbox();
    sandbox.check_cached("gcc", CALL);
    sandbox.set("LARDER_RECACHE", "1");
    assert_eq!(sandbox.check("gcc", CALL), "miss");
    sandbox.unset("LARDER_RECACHE");
    assert_eq!(sandbox.check("gcc", CALL), "direct");
    assert_eq!(sandbox.count("recache"), 1);
}

#[test]
fn a_store_that_is_only_read_gives_hits_and_takes_nothing() {
    for compiler in compilers() {
        for (setting, runs_preprocessor) in
            [("LARDER_READONLY", true), ("LARDER_READONLY_DIRECT", false)]
        {
            let mut sandbox = sandbox();
            sandbox.check_cached(compiler, CALL);
            sandbox.write("h.h", "#define VALUE 2\n");
            assert_eq!(sandbox.check(compiler, CALL), "miss");
            sandbox.set(setting, "1");
            // Nothing is counted in a store that is only read: the log tells.
            let compile = |text: &str| {
                sandbox.write("h.h", text);
                let expected = sandbox.plain(compiler, CALL);
                fs::remove_file(sandbox.dir.path().join("log")).unwrap();
                assert_eq!(sandbox.compile(compiler, CALL), expected);
                sandbox.log()
            };
            assert!(compile("#define VALUE 2\n").contains("direct hit"));
            let log = compile("#define VALUE 2 // two\n");
            assert_eq!(log.contains("] preprocessed hit"), runs_preprocessor, "{setting} {log}");
            compile("#define VALUE 3\n");
            let log = compile("#define VALUE 3\n");
            assert!(!log.contains("] direct hit"), "{setting} {log}");
            sandbox.unset(setting);
            assert_eq!(sandbox.check(compiler, CALL), "miss");
        }
    }
}
