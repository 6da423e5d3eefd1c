//! `larder shims`: links of compilers' names that work, and nothing of others touched.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use larder_tests::larder_binary;

use super::Sandbox;

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// A house with compilers of its own: `bin` has programs of these names.
fn house(names: &[&str]) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    for name in names {
        let path = sandbox.path("bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "#!/bin/sh\necho real $0\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = sandbox.path("bin").to_str().unwrap().to_owned();
    (sandbox, path)
}

fn shims(sandbox: &Sandbox, path: &str, words: &[&str]) -> Output {
    let mut command = sandbox.command(larder_binary());
    command.env("PATH", path).arg("shims").args(words).output().unwrap()
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn there_is_a_link_for_each_compiler() {
    let programs =
        ["gcc", "g++-12", "x86_64-linux-gnu-gcc", "clang++", "cc", "gcov", "ls", "clang-format"];
    let (sandbox, path) = house(&programs);
    let output = shims(&sandbox, &path, &["made/shims"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let directory = sandbox.path("made/shims");
    let wanted = ["cc", "clang++", "g++-12", "gcc", "x86_64-linux-gnu-gcc"];
    assert_eq!(names(&directory), wanted.map(str::to_owned).into());
    for name in wanted {
        let link = fs::canonicalize(directory.join(name)).unwrap();
        assert_eq!(link, fs::canonicalize(larder_binary()).unwrap());
    }
    let said = text(&output);
    assert!(said.contains("5 links in"), "{said}");
    let export = format!("export PATH=\"{}:$PATH\"", directory.display());
    assert!(said.contains("does not have") && said.contains(&export), "{said}");
    // Again, nothing changes; what is gone goes, and what is new comes.
    assert!(!text(&shims(&sandbox, &path, &["made/shims"])).contains("made)"));
    fs::remove_file(sandbox.path("bin/g++-12")).unwrap();
    fs::rename(sandbox.path("bin/ls"), sandbox.path("bin/clang")).unwrap();
    let said = text(&shims(&sandbox, &path, &["made/shims"]));
    assert!(said.contains("g++-12: removed") && said.contains("(made)"), "{said}");
    let wanted = ["cc", "clang", "clang++", "gcc", "x86_64-linux-gnu-gcc"];
    assert_eq!(names(&directory), wanted.map(str::to_owned).into());
}

#[test]
fn a_build_goes_through_the_links() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    let path = std::env::var("PATH").unwrap();
    assert_eq!(shims(&sandbox, &path, &["shims"]).status.code(), Some(0));
    let first = format!("{}:{path}", sandbox.path("shims").display());
    let said = text(&shims(&sandbox, &first, &["shims", "--list"]));
    assert!(said.contains("PATH is right"), "{said}");
    let late = format!("{path}:{}", sandbox.path("shims").display());
    let said = text(&shims(&sandbox, &late, &["shims", "--list"]));
    assert!(said.contains("so the links are not used"), "{said}");
    for _ in 0..2 {
        let mut command = sandbox.command(Path::new("/bin/sh"));
        let status = command.env("PATH", &first).args(["-c", "gcc -c a.c"]).status();
        assert!(status.unwrap().success());
    }
    assert_eq!(sandbox.counts(), (1, 0, 1), "{}", sandbox.log());
}

#[test]
fn what_is_no_link_to_larder_stays() {
    let (sandbox, path) = house(&["gcc", "g++", "clang", "cc"]);
    sandbox.write("shims/gcc", "mine");
    sandbox.write("shims/other", "mine");
    symlink("/bin/true", sandbox.path("shims/clang")).unwrap();
    symlink("nowhere", sandbox.path("shims/cc")).unwrap();
    let output = shims(&sandbox, &path, &["shims"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("gcc is something else and stays; remove it first"), "{said}");
    assert!(said.contains("1 link in") && said.contains("3 names left alone"), "{said}");
    let is_kept = || {
        assert_eq!(fs::read_to_string(sandbox.path("shims/gcc")).unwrap(), "mine");
        let link = |name: &str| fs::read_link(sandbox.path("shims").join(name)).unwrap();
        assert_eq!(link("clang"), Path::new("/bin/true"));
        assert_eq!(link("cc"), Path::new("nowhere"));
    };
    is_kept();
    let output = shims(&sandbox, &path, &["shims", "--remove"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    is_kept();
    let left = ["cc", "clang", "gcc", "other"].map(str::to_owned);
    assert_eq!(names(&sandbox.path("shims")), left.into());
    // The directory of the compilers themselves.
    let output = shims(&sandbox, &path, &["bin"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(fs::read_to_string(sandbox.path("bin/gcc")).unwrap().contains("real"));
}

#[test]
fn programs_are_told_everything() {
    let (sandbox, path) = house(&["gcc", "g++"]);
    sandbox.write("shims/g++", "mine");
    let page = |words: &[&str]| -> serde_json::Value {
        serde_json::from_slice(&shims(&sandbox, &path, words).stdout).unwrap()
    };
    let made = page(&["shims", "--json"]);
    let links: Vec<(&str, &str)> = made["links"]
        .as_array()
        .unwrap()
        .iter()
        .map(|link| (link["name"].as_str().unwrap(), link["state"].as_str().unwrap()))
        .collect();
    assert_eq!(links, [("g++", "foreign"), ("gcc", "made")]);
    assert_eq!(made["links"][1]["compiler"], format!("{path}/gcc"));
    assert_eq!((&made["is_in_path"], &made["is_first_in_path"]), (&false.into(), &false.into()));
    assert_eq!(page(&["shims", "--list", "--json"])["links"].as_array().unwrap().len(), 1);
    let gone = page(&["shims", "--remove", "--json"]);
    assert_eq!(gone["links"][0]["state"], "removed");
}

#[test]
fn links_lead_to_the_larder_that_makes_them() {
    // A copy in a tree of its own, so that the links are relative, and the tree can be moved.
    let (sandbox, path) = house(&["gcc"]);
    sandbox.write("tree/bin/readme", "");
    let copy = sandbox.path("tree/bin/my-larder");
    fs::copy(larder_binary(), &copy).unwrap();
    let mut command = sandbox.command(&copy);
    let output = command.env("PATH", &path).args(["shims", "tree/shims"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let link = fs::read_link(sandbox.path("tree/shims/gcc")).unwrap();
    assert_eq!(link, Path::new("../bin/my-larder"));
    fs::rename(sandbox.path("tree"), sandbox.path("moved")).unwrap();
    let mut command = sandbox.command(&sandbox.path("moved/shims/gcc"));
    let output = command.env("PATH", &path).output().unwrap();
    assert_eq!(text(&output), format!("real {path}/gcc\n"));
    // A stable name is better than the file behind it, which the next version may replace.
    symlink(sandbox.path("moved/bin/my-larder"), sandbox.path("bin/larder")).unwrap();
    let far = tempfile::tempdir().unwrap();
    let mut command = Command::new(sandbox.path("bin/larder"));
    command.env_clear().env("PATH", &path).arg("shims").arg(far.path());
    assert_eq!(text(&command.output().unwrap()).lines().count(), 4);
    assert_eq!(fs::read_link(far.path().join("gcc")).unwrap(), sandbox.path("bin/larder"));
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let (sandbox, path) = house(&["gcc"]);
    sandbox.write("file", "");
    let rows: [(&[&str], &str, &str); 4] = [
        (&["file"], &path, "give the name of a directory"),
        (&["file/inner"], &path, "give the name of a directory"),
        (&["missing", "--list"], &path, "`larder shims DIR` makes it"),
        (&["made"], "/nowhere", "there is no compiler in PATH; install gcc or clang"),
    ];
    for (words, path, wanted) in rows {
        let output = shims(&sandbox, path, words);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {}", text(&output));
        assert!(text(&output).contains(wanted), "{words:?}: {}", text(&output));
    }
    assert!(!sandbox.path("missing").exists());
}
