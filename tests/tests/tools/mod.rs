//! larder's tools from outside: each test converts between places of its own, and compares trees.

mod carry;
mod ccache;
mod damage;
mod databases;
mod eras;
mod in_use;
mod look;
mod remote;
mod remote_ccache3;
mod remote_hostile;
mod sccache;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use larder_tests::{TempDir, larder_binary};
use serde_json::Value;

/// Places for one test.
struct House {
    dir: TempDir,
}

/// A file of a tree: its mode, its time in nanoseconds, and its bytes.
#[derive(Clone, PartialEq, Eq)]
struct Kept {
    mode: u32,
    modified: (i64, i64),
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:o} {:?} {} bytes", self.mode, self.modified, self.bytes.len())
    }
}

type Tree = BTreeMap<String, Kept>;

impl House {
    fn new() -> House {
        House { dir: larder_tests::temp_dir() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A call of larder in the house, with an environment of its own.
    fn larder(&self) -> Command {
        let mut command = self.command(larder_binary());
        command.env("LARDER_DIR", self.at("own")).env("LARDER_JANITOR", "off");
        command
    }

    /// A call of any program in the house, with an environment of its own.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.dir.path()).env("LANG", "C.UTF-8");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(self.dir.path());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.larder().args(words).output().expect("larder starts")
    }

    /// What a command prints that must end with 0.
    #[track_caller]
    fn good(&self, words: &[&str]) -> Vec<u8> {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(0), "{words:?}\n{}", text_of(&output));
        output.stdout
    }

    #[track_caller]
    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_slice(&self.good(words)).expect("it is JSON")
    }

    /// `larder convert WORDS --json`: its exit status and what it says.
    #[track_caller]
    fn convert(&self, words: &[&str]) -> (Option<i32>, Value) {
        let output = self.run(&[&["convert", "--json"], words].concat());
        let page = serde_json::from_slice(&output.stdout);
        (output.status.code(), page.unwrap_or_else(|_| panic!("{words:?}\n{}", text_of(&output))))
    }

    /// A conversion that has nothing to complain about.
    #[track_caller]
    fn convert_all(&self, words: &[&str]) -> Value {
        let (status, page) = self.convert(words);
        assert_eq!(status, Some(0), "{words:?}\n{page:#}");
        page
    }

    /// From one directory by way of every layout that keeps everything; the ways back.
    #[track_caller]
    fn ways(&self, from: &str, tool: &str) -> Vec<(String, Tree)> {
        ["larder", "tar", "lmdb", tool]
            .map(|layout| {
                let (there, back) = (format!("{from}-{layout}"), format!("{from}-{layout}-back"));
                self.convert_all(&[from, &there, "--to", layout]);
                self.convert_all(&[&there, &back, "--to", tool]);
                (back.clone(), tree(&self.at(&back)))
            })
            .into()
    }
}

fn text_of(output: &Output) -> String {
    format!(
        "{:?}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Every file below a directory but temporary ones, which no conversion takes along.
fn tree(top: &Path) -> Tree {
    let mut tree = Tree::new();
    collect(top, "", &mut tree);
    tree
}

fn collect(top: &Path, path: &str, tree: &mut Tree) {
    for entry in fs::read_dir(top.join(path)).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let below = if path.is_empty() { name } else { format!("{path}/{name}") };
        let facts = fs::symlink_metadata(entry.path()).unwrap();
        if facts.is_dir() {
            collect(top, &below, tree);
        } else if !below.contains(".tmp.") && !below.contains(".sccachetmp") {
            let kept = Kept {
                mode: facts.permissions().mode() & 0o7777,
                modified: (facts.mtime(), facts.mtime_nsec()),
                bytes: fs::read(entry.path()).unwrap_or_default(),
            };
            tree.insert(below, kept);
        }
    }
}

/// Without statistics, settings and tags, which LMDB and servers have no place for.
fn entries_of(tree: &Tree) -> Tree {
    let is_entry = |path: &str| {
        let leaf = path.rsplit('/').next().unwrap_or(path);
        !matches!(leaf, "stats" | "CACHEDIR.TAG" | "ccache.conf")
    };
    tree.iter().filter(|(path, _)| is_entry(path)).map(|(a, b)| (a.clone(), b.clone())).collect()
}

/// Two trees are the same; what differs is told by name.
#[track_caller]
fn assert_same(found: &Tree, wanted: &Tree, what: &str) {
    let of = |a: &Tree, b: &Tree| -> Vec<String> {
        let differs = |(path, kept): &(&String, &Kept)| b.get(*path) != Some(*kept);
        a.iter().filter(differs).map(|(path, kept)| format!("{path} {kept:?}")).collect()
    };
    assert_eq!(of(found, wanted), of(wanted, found), "{what}");
}

/// Writes a file, with the directories above it.
fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
