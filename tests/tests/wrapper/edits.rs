//! Inputs that change while the compiler runs: what larder stores is never stale.
//!
//! The compiler proper is a script that stops before it reads and after it has read, so that a
//! change falls into the one or the other for certain. It is found by `-B`, so it is an input like
//! any other. What was stored shows in the next calls.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use larder_tests::larder_binary;

use super::{Sandbox, wait_a_tick};

const CALL: &[&str] = &["-Btools/", "-Icur", "-I.", "-c", "a.c", "-o", "a.o"];

/// A compile that does not go on for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// When something happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    BeforeReading,
    AfterReading,
}

/// What happens, and how it is taken back.
struct Edit {
    name: &'static str,
    make: fn(&Sandbox),
    take_back: fn(&Sandbox),
}

fn rename(sandbox: &Sandbox, from: &str, to: &str) {
    fs::rename(sandbox.path(from), sandbox.path(to)).unwrap();
}

fn link(sandbox: &Sandbox, name: &str, target: &str) {
    let _ = fs::remove_file(sandbox.path(name));
    symlink(target, sandbox.path(name)).unwrap();
}

fn write_with_old_time(sandbox: &Sandbox, name: &str, text: &str) {
    let time = fs::metadata(sandbox.path(name)).unwrap().modified().unwrap();
    fs::write(sandbox.path(name), text).unwrap();
    let file = fs::File::options().write(true).open(sandbox.path(name)).unwrap();
    file.set_modified(time).unwrap();
}

const EDITS: &[Edit] = &[
    Edit {
        name: "a header is written",
        make: |sandbox| sandbox.write("h.h", "#define H 2\n"),
        take_back: |sandbox| sandbox.write("h.h", "#define H 1\n"),
    },
    Edit {
        name: "a header is written and gets its old time",
        make: |sandbox| write_with_old_time(sandbox, "h.h", "#define H 2\n"),
        take_back: |sandbox| write_with_old_time(sandbox, "h.h", "#define H 1\n"),
    },
    Edit {
        name: "the source is written and gets its old time",
        make: |sandbox| write_with_old_time(sandbox, "a.c", "int other = 1;\n"),
        take_back: |sandbox| write_with_old_time(sandbox, "a.c", SOURCE),
    },
    Edit {
        name: "an old header is renamed over one",
        make: |sandbox| {
            fs::hard_link(sandbox.path("h.h"), sandbox.path("kept.h")).unwrap();
            fs::copy(sandbox.path("two.h"), sandbox.path("copy.h")).unwrap();
            rename(sandbox, "two.h", "h.h");
        },
        take_back: |sandbox| {
            rename(sandbox, "copy.h", "two.h");
            rename(sandbox, "kept.h", "h.h");
        },
    },
    Edit {
        name: "a link to a header leads to another old one",
        make: |sandbox| link(sandbox, "linked.h", "two.h"),
        take_back: |sandbox| link(sandbox, "linked.h", "one.h"),
    },
    Edit {
        name: "a link to a directory leads to another old one",
        make: |sandbox| link(sandbox, "cur", "v2"),
        take_back: |sandbox| link(sandbox, "cur", "v1"),
    },
    Edit {
        name: "an old directory takes another one's place",
        make: |sandbox| {
            rename(sandbox, "dir", "aside");
            rename(sandbox, "dir2", "dir");
        },
        take_back: |sandbox| {
            rename(sandbox, "dir", "dir2");
            rename(sandbox, "aside", "dir");
        },
    },
    Edit {
        name: "a directory above takes another one's place",
        make: |sandbox| {
            rename(sandbox, "deep", "aside");
            rename(sandbox, "deep2", "deep");
        },
        take_back: |sandbox| {
            rename(sandbox, "deep", "deep2");
            rename(sandbox, "aside", "deep");
        },
    },
];

const SOURCE: &str = "#include \"h.h\"\n#include \"linked.h\"\n#include <v.h>\n\
    #include \"dir/d.h\"\n#include \"deep/er/e.h\"\nint x[] = {H, L, V, D, E};\n";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", SOURCE);
    sandbox.write("h.h", "#define H 1\n");
    sandbox.write("one.h", "#define L 1\n");
    sandbox.write("two.h", "#define L 2\n#define H 2\n");
    for number in ["1", "2"] {
        sandbox.write(&format!("v{number}/v.h"), &format!("#define V {number}\n"));
    }
    for (name, number) in [("", 1), ("2", 2)] {
        sandbox.write(&format!("dir{name}/d.h"), &format!("#define D {number}\n"));
        sandbox.write(&format!("deep{name}/er/e.h"), &format!("#define E {number}\n"));
    }
    link(&sandbox, "linked.h", "one.h");
    link(&sandbox, "cur", "v1");
    let cc1 = Command::new("gcc").arg("-print-prog-name=cc1").output().unwrap().stdout;
    let cc1 = String::from_utf8(cc1).unwrap();
    // Without the files it does not stop.
    let script = format!(
        "#!/bin/sh\nstop() {{ [ ! -e $1 ] || {{ : > at-$1;\n\
         while [ -e $1 ]; do sleep 0.01; done; }}\n}}\n\
         stop before\n{} \"$@\"\nstatus=$?\nstop after\nexit $status\n",
        cc1.trim()
    );
    sandbox.write("tools/cc1", &script);
    fs::set_permissions(sandbox.path("tools/cc1"), fs::Permissions::from_mode(0o755)).unwrap();
    wait_a_tick();
    sandbox
}

fn wait_for(path: &Path) {
    let begun = SystemTime::now();
    while !path.exists() {
        assert!(begun.elapsed().unwrap_or_default() < PATIENCE, "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Compiles through larder, with something that happens when the compiler stops.
fn compile_with(sandbox: &Sandbox, moment: Moment, happens: &dyn Fn()) {
    let stop = match moment {
        Moment::BeforeReading => "before",
        Moment::AfterReading => "after",
    };
    sandbox.write(stop, "");
    wait_a_tick();
    let mut command = sandbox.command(larder_binary());
    command.arg("gcc").args(CALL).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    wait_for(&sandbox.path(&format!("at-{stop}")));
    happens();
    fs::remove_file(sandbox.path(&format!("at-{stop}"))).unwrap();
    fs::remove_file(sandbox.path(stop)).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_compiler_that_stops_is_cached_where_nothing_changes() {
    for moment in [Moment::BeforeReading, Moment::AfterReading] {
        let sandbox = sandbox();
        compile_with(&sandbox, moment, &|| {});
        assert_eq!(sandbox.counts(), (0, 0, 1), "{}", sandbox.log());
        assert_eq!(sandbox.check("gcc", CALL), "direct");
    }
}

#[test]
fn what_changes_during_a_compile_is_never_stored_stale() {
    for edit in EDITS {
        for moment in [Moment::BeforeReading, Moment::AfterReading] {
            let sandbox = sandbox();
            compile_with(&sandbox, moment, &|| (edit.make)(&sandbox));
            let what = format!("{}, {moment:?}\n{}", edit.name, sandbox.log());
            // The state after the edit, that before it, and the one after it once more.
            assert_eq!(sandbox.check("gcc", CALL), "miss", "{what}");
            assert_eq!(sandbox.check("gcc", CALL), "direct", "{what}");
            (edit.take_back)(&sandbox);
            assert_eq!(sandbox.check("gcc", CALL), "miss", "{what}");
            (edit.make)(&sandbox);
            assert_eq!(sandbox.check("gcc", CALL), "direct", "{what}");
        }
    }
}

#[test]
fn what_changes_and_is_taken_back_during_a_compile_is_never_stored_stale() {
    for edit in EDITS {
        let sandbox = sandbox();
        // The compiler reads the changed state; before and after its run there is the other one.
        sandbox.write("after", "");
        compile_with(&sandbox, Moment::BeforeReading, &|| {
            (edit.make)(&sandbox);
            fs::remove_file(sandbox.path("before")).unwrap();
            wait_for(&sandbox.path("at-after"));
            (edit.take_back)(&sandbox);
            sandbox.write("before", "");
            fs::remove_file(sandbox.path("after")).unwrap();
        });
        let what = format!("{}\n{}", edit.name, sandbox.log());
        assert_eq!(sandbox.check("gcc", CALL), "miss", "{what}");
        (edit.make)(&sandbox);
        assert_eq!(sandbox.check("gcc", CALL), "miss", "{what}");
    }
}

/// A package may be replaced while a build runs.
#[test]
fn a_compiler_that_is_replaced_during_a_compile_stores_nothing() {
    let mut sandbox = sandbox();
    fs::create_dir(sandbox.path("bin")).unwrap();
    link(&sandbox, "bin/gcc", "/usr/bin/gcc");
    let path = std::env::var("PATH").unwrap();
    sandbox.set("PATH", &format!("{}:{path}", sandbox.path("bin").display()));
    wait_a_tick();
    compile_with(&sandbox, Moment::BeforeReading, &|| {
        link(&sandbox, "bin/gcc", "/usr/bin/gcc");
    });
    assert_eq!(sandbox.count("modified_input_file"), 1, "{}", sandbox.log());
    assert_eq!(sandbox.check("gcc", CALL), "miss", "{}", sandbox.log());
}
