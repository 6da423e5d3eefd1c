//! Whatever fails, the build sees what the compiler alone would have shown it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use larder_tests::larder_binary;

use super::{Sandbox, compilers, wait_a_tick};

const CALL: &[&str] = &["-c", "a.c", "-o", "a.o", "-MD"];

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "#include \"h.h\"\nint f(void) { return VALUE; }\n");
    sandbox.write("h.h", "#define VALUE 1\n");
    sandbox
}

#[test]
fn a_failed_compile_is_passed_on_and_not_stored() {
    for compiler in compilers() {
        let sandbox = sandbox();
        sandbox.write("a.c", "int f(void) { return missing; }\n");
        for _ in 0..2 {
            assert_eq!(sandbox.check(compiler, CALL), "uncached");
            assert_eq!(sandbox.check(compiler, &["-c", "a.c", "-MMD"]), "uncached");
        }
        assert_eq!(sandbox.count("compile_failed"), 4);
        assert_eq!(sandbox.check(compiler, &["-c", "missing.c"]), "uncached");
    }
}

#[test]
fn a_store_that_cannot_be_used_is_no_failure() {
    let mut sandbox = sandbox();
    sandbox.write("file", "no store");
    let file = sandbox.path("file").to_str().unwrap().to_owned();
    for dir in [file.as_str(), "/proc/larder", "/dev/null/larder"] {
        sandbox.set("LARDER_DIR", dir);
        for _ in 0..2 {
            assert_eq!(sandbox.compile("gcc", CALL), sandbox.plain("gcc", CALL), "{dir}");
        }
    }
    assert!(sandbox.log().contains("cannot open the store"), "{}", sandbox.log());
    assert_eq!(fs::read(sandbox.path("file")).unwrap(), b"no store");
}

#[test]
fn a_damaged_store_gives_misses_and_right_objects() {
    let sandbox = sandbox();
    sandbox.check_cached("gcc", CALL);
    let mut files = vec![sandbox.store()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let step = (bytes.len() / 5000).max(1);
        let flip = |(at, byte): (usize, &u8)| if at % step == 0 { byte ^ 0x10 } else { *byte };
        fs::write(&path, bytes.iter().enumerate().map(flip).collect::<Vec<_>>()).unwrap();
        assert_eq!(sandbox.compile("gcc", CALL), sandbox.plain("gcc", CALL), "{}", path.display());
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn a_killed_hit_leaves_the_old_object_or_the_new_one() {
    let sandbox = sandbox();
    sandbox.check_cached("gcc", CALL);
    let expected = fs::read(sandbox.path("a.o")).unwrap();
    for delay_us in (0..3000).step_by(100) {
        fs::write(sandbox.path("a.o"), "old").unwrap();
        let mut command = sandbox.command(larder_binary());
        let mut child = command.arg("gcc").args(CALL).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(delay_us));
        child.kill().unwrap();
        child.wait().unwrap();
        let found = fs::read(sandbox.path("a.o")).unwrap();
        assert!(found == expected || found == b"old", "{} bytes", found.len());
    }
    let left = sandbox.compile("gcc", CALL);
    assert_eq!(left.files["a.o"].bytes, expected);
}

#[test]
fn an_input_from_the_future_is_not_trusted() {
    let sandbox = sandbox();
    let file = fs::File::options().write(true).open(sandbox.path("h.h")).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(1000)).unwrap();
    assert_eq!(sandbox.check("gcc", CALL), "uncached");
    assert_eq!(sandbox.count("modified_input_file"), 1);
}

#[test]
fn an_input_edited_during_the_compile_is_not_stored() {
    let sandbox = sandbox();
    // A good part of a second of work behind the header.
    let mut text = String::from("#include \"h.h\"\nint f(void) { return VALUE; }\n");
    for n in 0..500 {
        text += &format!("int g{n}(int x) {{ while (x > {n}) x = x * x % 77; return x; }}\n");
    }
    sandbox.write("a.c", &text);
    let call = ["-O2", "-c", "a.c", "-o", "a.o"];
    let mut child = sandbox.command(larder_binary()).arg("gcc").args(call).spawn().unwrap();
    // Whenever the edit comes, before the compiler reads the header or after: the next call is
    // right.
    std::thread::sleep(Duration::from_millis(150));
    sandbox.write("h.h", "#define VALUE 2\n");
    assert!(child.wait().unwrap().success());
    sandbox.write("h.h", "#define VALUE 1\n");
    sandbox.check("gcc", &call);
    sandbox.write("h.h", "#define VALUE 2\n");
    sandbox.check("gcc", &call);
}

#[test]
fn just_written_sources_are_cached() {
    let sandbox = sandbox();
    for round in 0..10 {
        sandbox.write("h.h", &format!("#define VALUE {round}\n"));
        let left = sandbox.compile("gcc", CALL);
        assert_eq!(left.status, Some(0));
    }
    assert_eq!(sandbox.counts(), (0, 0, 10), "{}", sandbox.log());
}

#[test]
fn outputs_that_are_links_or_devices_are_the_compilers_business() {
    let sandbox = sandbox();
    sandbox.check_cached("gcc", CALL);
    sandbox.remove_outputs();
    fs::write(sandbox.path("target"), "").unwrap();
    symlink("target", sandbox.path("a.o")).unwrap();
    assert!(sandbox.larder(&[&["gcc"], CALL].concat()).status.success());
    assert_eq!(sandbox.count("bad_output_file"), 1);
    let link_is_kept = fs::symlink_metadata(sandbox.path("a.o")).unwrap().is_symlink();
    let object = fs::read(sandbox.path("a.o")).unwrap();
    let expected = sandbox.plain("gcc", CALL);
    assert_eq!(object, expected.files["a.o"].bytes);
    // as replaces a file of some length and writes an empty one in place.
    assert!(link_is_kept || fs::read(sandbox.path("target")).unwrap().is_empty());
    assert!(sandbox.larder(&["gcc", "-c", "a.c", "-o", "/dev/null"]).status.success());
    assert_eq!(sandbox.count("bad_output_file"), 2);
}

#[test]
fn an_output_directory_that_is_missing_is_the_compilers_error() {
    let sandbox = sandbox();
    sandbox.check_cached("gcc", CALL);
    assert_eq!(sandbox.check("gcc", &["-c", "a.c", "-o", "none/a.o"]), "uncached");
}

#[test]
fn switches_do_what_they_say() {
    let mut sandbox = sandbox();
    sandbox.check_cached("gcc", CALL);
    sandbox.set("LARDER_DISABLE", "1");
    sandbox.compile("gcc", CALL);
    sandbox.unset("LARDER_DISABLE");
    assert_eq!(sandbox.counts(), (1, 0, 1));
    sandbox.set("LARDER_RECACHE", "yes");
    assert_eq!(sandbox.check("gcc", CALL), "miss");
    sandbox.unset("LARDER_RECACHE");
    sandbox.set("LARDER_READONLY", "true");
    sandbox.compile("gcc", &[CALL, &["-O2"]].concat());
    sandbox.unset("LARDER_READONLY");
    assert_eq!(sandbox.check("gcc", &[CALL, &["-O2"]].concat()), "miss");
    sandbox.set("LARDER_NAMESPACE", "other");
    assert_eq!(sandbox.check("gcc", CALL), "miss");
}

#[test]
fn variables_that_ask_for_more_output_prevent_caching() {
    let mut sandbox = sandbox();
    sandbox.set("DEPENDENCIES_OUTPUT", "deps.d");
    assert_eq!(sandbox.check("gcc", &["-c", "a.c"]), "uncached");
    assert_eq!(sandbox.count("unsupported_environment_variable"), 1);
}

#[test]
fn a_table_of_digests_that_is_damaged_is_not_believed() {
    let sandbox = sandbox();
    wait_a_tick();
    sandbox.check_cached("gcc", CALL);
    let is_table = |path: &std::path::Path| path.to_string_lossy().contains("digests-");
    let entries = fs::read_dir(sandbox.store()).unwrap();
    let table = entries.map(|e| e.unwrap().path()).find(|path| is_table(path)).unwrap();
    let bytes = fs::read(&table).unwrap();
    // Every digest that is entered becomes another one.
    let flip = |(at, byte): (usize, &u8)| if at % 64 == 20 && *byte != 0 { !byte } else { *byte };
    fs::write(&table, bytes.iter().enumerate().map(flip).collect::<Vec<_>>()).unwrap();
    assert_eq!(sandbox.check("gcc", CALL), "direct");
}
