//! Builds of a tiny project through a cache that is true, and through one that is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use larder_benches::powercut::volume::find;
use larder_benches::projects::catalogue::Project;
use larder_benches::projects::run::{Report, run};
use larder_benches::projects::settings::Settings;

const PROJECT: Project = Project {
    name: "tiny",
    what: "C",
    needs: &[],
    environment: &[],
    extra: Some(("extra.h", "#define EXTRA 1\n")),
    configure: &[&["sh", "-c", "date +%N > stamp"]],
    build: &["sh", "-c", "cc -c a.c -o a.o"],
    changed: "a.h",
};

/// Builds the project through a script that calls the compiler, counts each call as a hit, and
/// then does `more`.
fn report(more: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let compiler = find("cc").expect("there is a C compiler");
    fs::create_dir(at("tiny-1")).unwrap();
    fs::write(at("tiny-1/a.c"), "#include \"a.h\"\n#include \"extra.h\"\nint f;\n").unwrap();
    fs::write(at("tiny-1/a.h"), "int g;\n").unwrap();
    let script = format!(
        "#!/bin/sh\nmkdir -p \"$LARDER_DIR\"\ncalls=$LARDER_DIR/calls\ntouch \"$calls\"\n\
         if [ \"$1\" = stats ]; then\n    \
         echo \"{{\\\"direct_cache_hit\\\": $(wc -l < \"$calls\")}}\"\n    exit\nfi\n\
         echo >> \"$calls\"\n\"{}\" \"$@\"\n{more}\n",
        compiler.display()
    );
    fs::write(at("cache"), script).unwrap();
    fs::set_permissions(at("cache"), fs::Permissions::from_mode(0o755)).unwrap();
    let settings = Settings {
        larder: at("cache"),
        against: Some(at("cache")),
        runs: 2,
        directory: at("trees"),
        ..Settings::parse(std::iter::empty()).unwrap()
    };
    run(&PROJECT, Path::new(&at("tiny-1")), &settings).unwrap()
}

#[test]
fn a_true_cache_is_good() {
    let report = report("");
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.built.len(), 5);
    // The sources, the header that was added and the object; the stamp is never the same.
    assert!(report.built.iter().all(|built| built.compared == 4), "{report:?}");
    assert!(report.against.is_some() && report.text().contains("larder to the other cache"));
}

#[test]
fn a_cache_that_spoils_loses_or_adds_a_file_is_not() {
    for (more, different) in [
        ("[ \"$(wc -l < \"$calls\")\" = 2 ] && echo x >> a.o", "a.o"),
        ("[ \"$(wc -l < \"$calls\")\" = 2 ] && rm a.o", "a.o"),
        ("touch more", "more"),
        ("chmod 600 a.o", "a.o"),
    ] {
        let report = report(&format!("{more}\ntrue"));
        assert!(!report.is_good(), "{more}");
        let warm = report.built.iter().find(|built| built.name == "warm").unwrap();
        assert_eq!(warm.different, [Path::new(different)], "{more}");
    }
}
