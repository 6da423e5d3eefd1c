//! rustup's proxies: which toolchain a call means, in a made-up home of rustup whose toolchains are
//! copies and links of the real one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use larder_tests::larder_binary;

use super::rust::{LIB, rustc};
use super::{Sandbox, wait_a_tick};

/// A machine with rustup and two toolchains, of which `other` has a further library.
struct House {
    sandbox: Sandbox,
}

impl House {
    fn new() -> House {
        let mut sandbox = Sandbox::new();
        sandbox.write("a.rs", "pub fn f() {}\n");
        let root = PathBuf::from(rustc()).parent().unwrap().parent().unwrap().to_path_buf();
        let home = sandbox.path("home");
        sandbox.set("RUSTUP_HOME", home.to_str().unwrap());
        for name in ["one", "other"] {
            link_tree(&root, &home.join("toolchains").join(name), name == "other");
        }
        // It tells what it would run, and that it was asked.
        let program = "#!/bin/sh\necho \"$@\" >> asked\ncase \"$*\" in\n\
             '+'*) echo \"$RUSTUP_HOME/toolchains/${1#+}/bin/rustc\" ;;\n\
             which*) echo \"$RUSTUP_HOME/toolchains/$(cat answer)/bin/rustc\" ;;\nesac\n";
        sandbox.write("bin/rustup", program);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(sandbox.path("bin/rustup"), mode).unwrap();
        symlink("rustup", sandbox.path("bin/rustc")).unwrap();
        wait_a_tick();
        House { sandbox }
    }

    /// Which toolchain larder takes it for, by its log of a call that rustup itself does not
    /// answer with a compile.
    fn identity(&self, words: &[&str], directory: &str) -> String {
        let before = self.sandbox.log().len();
        let out = self.sandbox.path("out");
        let mut command = self.sandbox.command(larder_binary());
        command.arg(self.sandbox.path("bin/rustc")).args(words);
        let line = LIB.replace(" a.rs", &format!(" {}", self.sandbox.path("a.rs").display()));
        let line = line.replace("--out-dir out", &format!("--out-dir {}", out.display()));
        command.args(line.split_whitespace()).current_dir(self.sandbox.path(directory));
        command.output().unwrap();
        let log = self.sandbox.log()[before..].to_owned();
        let toolchain = log.lines().find_map(|line| line.split_once("toolchain "));
        toolchain.map(|(_, name)| name.to_owned()).unwrap_or(log)
    }

    /// How often rustup was asked for a toolchain, and how often it ran as a compiler.
    fn asked(&self, directory: &str) -> (usize, usize) {
        let asked = fs::read_to_string(self.sandbox.path(directory).join("asked"));
        let asked = asked.unwrap_or_default();
        let which = asked.lines().filter(|line| line.contains("which")).count();
        (which, asked.lines().count() - which)
    }
}

/// The same files by links, but programs as copies: they look for their parts beside themselves.
fn link_tree(from: &Path, to: &Path, has_more: bool) {
    fs::create_dir_all(to.join("bin")).unwrap();
    copy_links(&from.join("lib"), &to.join("lib"));
    fs::copy(from.join("bin/rustc"), to.join("bin/rustc")).unwrap();
    if has_more {
        fs::write(to.join("lib/libmore.so"), "more").unwrap();
    }
}

fn copy_links(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_links(&entry.path(), &target),
            false => symlink(fs::canonicalize(entry.path()).unwrap(), target).unwrap(),
        }
    }
}

#[test]
fn each_word_names_its_toolchain_and_rustup_is_not_asked() {
    let mut house = House::new();
    let path = |name: &str| house.sandbox.path(&format!("home/toolchains/{name}/bin/rustc"));
    let (one, other) = (path("one").display().to_string(), path("other").display().to_string());
    house.sandbox.write("home/settings.toml", "default_toolchain = \"one\"\n");
    house.sandbox.write("project/sub/x", "");
    assert_eq!(house.identity(&[], "project/sub"), one);
    house.sandbox.write("project/rust-toolchain.toml", "[toolchain]\nchannel = \"other\"\n");
    assert_eq!(house.identity(&[], "project/sub"), other);
    house.sandbox.write("project/sub/rust-toolchain", "one\n");
    assert_eq!(house.identity(&[], "project/sub"), one);
    let text = format!(
        "default_toolchain = \"one\"\n[overrides]\n\"{}\" = \"other\"\n",
        fs::canonicalize(house.sandbox.path("project/sub")).unwrap().display()
    );
    house.sandbox.write("home/settings.toml", &text);
    assert_eq!(house.identity(&[], "project/sub"), other);
    house.sandbox.set("RUSTUP_TOOLCHAIN", "one");
    assert_eq!(house.identity(&[], "project/sub"), one);
    assert_eq!(house.identity(&["+other"], "project/sub"), other);
    let root = house.sandbox.path("home/toolchains/other").display().to_string();
    house.sandbox.set("RUSTUP_TOOLCHAIN", &root);
    assert_eq!(house.identity(&[], "project/sub"), other);
    assert_eq!(house.asked("project/sub"), (0, 7));
}

#[test]
fn rustup_is_asked_once_for_each_state() {
    let house = House::new();
    let path = |name: &str| house.sandbox.path(&format!("home/toolchains/{name}/bin/rustc"));
    let (one, other) = (path("one").display().to_string(), path("other").display().to_string());
    house.sandbox.write("home/settings.toml", "default_toolchain = \"one\"\n");
    let text = "[toolchain]\nchannel = \"one\"\ncomponents = [\"clippy\"]\n";
    house.sandbox.write("project/rust-toolchain.toml", text);
    house.sandbox.write("project/answer", "one");
    wait_a_tick();
    let twice = || [house.identity(&[], "project"), house.identity(&[], "project")];
    assert_eq!(twice(), [one.clone(), one]);
    let which = || house.asked("project").0;
    assert_eq!(which(), 1);
    house.sandbox.write("project/rust-toolchain.toml", &text.replace("one", "other"));
    house.sandbox.write("project/answer", "other");
    wait_a_tick();
    assert_eq!(twice(), [other.clone(), other]);
    assert_eq!(which(), 2);
    house.sandbox.write("home/settings.toml", "default_toolchain = \"other\"\n");
    wait_a_tick();
    house.identity(&[], "project");
    assert_eq!(which(), 3);
}

/// What is remembered of a toolchain is looked at for each call.
#[test]
fn a_toolchain_that_changes_is_another_one() {
    let house = House::new();
    let sandbox = &house.sandbox;
    fs::create_dir(sandbox.path("out")).unwrap();
    let program = sandbox.path("home/toolchains/other/bin/rustc");
    let run = || {
        let mut command = sandbox.command(larder_binary());
        command.arg(&program).args(LIB.split_whitespace());
        assert!(command.status().unwrap().success());
        sandbox.counts()
    };
    // Until its directories are settled nothing is remembered.
    assert_eq!(run(), (0, 0, 1));
    assert_eq!(run(), (1, 0, 1));
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert_eq!(run(), (2, 0, 1));
    assert_eq!(run(), (3, 0, 1));
    // In place, a new file, and one in the place of another.
    let library = sandbox.path("home/toolchains/other/lib/libmore.so");
    fs::write(&library, "less").unwrap();
    wait_a_tick();
    assert_eq!(run(), (3, 0, 2));
    fs::write(sandbox.path("home/toolchains/other/lib/libnew.so"), "new").unwrap();
    wait_a_tick();
    assert_eq!(run(), (3, 0, 3));
    fs::rename(sandbox.path("home/toolchains/other/lib/libnew.so"), &library).unwrap();
    wait_a_tick();
    assert_eq!(run(), (3, 0, 4));
    assert_eq!(run(), (4, 0, 4));
    let target = sandbox.path("home/toolchains/other/lib/rustlib");
    let target = fs::read_dir(target).unwrap().map(Result::unwrap).find(|entry| {
        entry.path().join("lib").is_dir() && entry.file_name().to_string_lossy().ends_with("gnu")
    });
    fs::write(target.unwrap().path().join("lib/libextra-1.rmeta"), "more").unwrap();
    wait_a_tick();
    assert_eq!(run(), (4, 0, 5));
}
