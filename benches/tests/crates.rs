//! Builds of a tiny cargo workspace through a wrapper that is true, and through one that is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use larder_benches::crates::report::Report;
use larder_benches::crates::run::run;
use larder_benches::crates::settings::Settings;

/// Builds the workspace through a script that calls rustc, counts each call as a hit, and then does
/// `more` with the directory of outputs.
fn report(more: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("tiny/src")).unwrap();
    let manifest =
        "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n";
    fs::write(at("tiny/Cargo.toml"), manifest).unwrap();
    let lock = "version = 4\n\n[[package]]\nname = \"tiny\"\nversion = \"0.1.0\"\n";
    fs::write(at("tiny/Cargo.lock"), lock).unwrap();
    fs::write(at("tiny/src/lib.rs"), "pub fn f() {}\n").unwrap();
    let script = format!(
        "#!/bin/sh\nmkdir -p \"$LARDER_DIR\"\ncalls=$LARDER_DIR/calls\ntouch \"$calls\"\n\
         if [ \"$1\" = stats ]; then\n    \
         echo \"{{\\\"direct_cache_hit\\\": $(wc -l < \"$calls\")}}\"\n    exit\nfi\n\
         echo >> \"$calls\"\n\"$@\" || exit\ncase $* in *tiny*) ;; *) exit 0;; esac\n\
         cd \"$CARGO_TARGET_DIR/debug/deps\" && {more}\ntrue\n"
    );
    fs::write(at("wrapper"), script).unwrap();
    fs::set_permissions(at("wrapper"), fs::Permissions::from_mode(0o755)).unwrap();
    let settings = Settings {
        larder: at("wrapper"),
        directory: at("builds"),
        runs: 1,
        second: true,
        ..Settings::parse([at("tiny").display().to_string()].into_iter()).unwrap()
    };
    run(&at("tiny"), &settings).unwrap().remove(0)
}

#[test]
fn a_wrapper_that_spoils_loses_or_adds_a_file_is_found() {
    let good = report("true");
    assert!(good.is_good() && good.compared > 5, "{good:?}");
    let names: Vec<&str> = good.rows.iter().map(|row| row.name).collect();
    assert_eq!(names, ["first", "warm", "second checkout"]);
    for (more, name) in [
        ("for f in *.rmeta; do echo x >> $f; done", ".rmeta"),
        ("rm *.rlib", ".rlib"),
        ("touch more", "more"),
    ] {
        let bad = report(more);
        let is_it = |path: &std::path::PathBuf| path.to_string_lossy().ends_with(name);
        assert!(!bad.is_good() && bad.different.iter().any(is_it), "{more}: {bad:?}");
    }
}
