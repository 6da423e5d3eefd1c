//! The wrapper from outside: each test compiles in a directory of its own, with a store of its own,
//! and compares what stands there with what the compiler alone leaves.

mod absent;
mod access;
mod archives;
mod called_ccache;
mod called_sccache;
mod ccache_commands;
mod ccache_entries;
mod ccache_files;
mod changes;
mod clone;
mod commands;
mod completions;
mod crate_options;
mod crates;
mod disguises;
mod doctor;
mod edits;
mod elsewhere;
mod equivalence;
mod explain;
mod explain_rust;
mod failed;
mod failures;
mod faults;
mod hits;
mod hostile;
mod inputs;
mod interface;
mod janitor;
mod links;
mod locks;
mod lower;
mod man;
mod meetings;
mod modes;
mod modules;
mod obstacles;
mod outputs;
mod regressions;
mod rust;
mod rust_checkouts;
mod rust_links;
mod rust_messages;
mod rust_regressions;
mod rustup;
mod seeing;
mod shims;
mod toolchains;
mod tools;
mod traps;
mod trim;
mod verify;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use larder_tests::{TempDir, larder_binary};

/// The compilers that tests run with; one that is not installed is passed over.
const COMPILERS: &[&str] = &["gcc", "clang"];

fn compilers() -> impl Iterator<Item = &'static str> {
    COMPILERS.iter().copied().filter(|compiler| {
        Command::new(compiler).arg("--version").output().is_ok_and(|output| output.status.success())
    })
}

/// A directory to compile in, and a store.
struct Sandbox {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

/// What a compile leaves: status, stdout, stderr, and every file with its mode.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Left {
    status: Option<i32>,
    stdout: String,
    stderr: String,
    files: BTreeMap<String, Contents>,
}

/// Mode and bytes of a file; shown as text where they are text.
#[derive(Clone, PartialEq, Eq)]
struct Contents {
    mode: u32,
    bytes: Vec<u8>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => write!(f, "{:o} {text:?}", self.mode),
            Err(_) => write!(f, "{:o} {} bytes", self.mode, self.bytes.len()),
        }
    }
}

impl Sandbox {
    fn new() -> Sandbox {
        Sandbox::new_in(&std::env::temp_dir())
    }

    fn new_in(folder: &Path) -> Sandbox {
        let dir = tempfile::tempdir_in(folder).unwrap();
        fs::create_dir(dir.path().join("work")).unwrap();
        Sandbox { dir, variables: Vec::new() }
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn unset(&mut self, name: &str) {
        self.variables.retain(|(known, _)| known != name);
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A command in the working directory with a clean environment.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.work()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).env("LARDER_DIR", self.store());
        command.env("LARDER_LOG", self.dir.path().join("log")).env("LARDER_JANITOR", "off");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn larder(&self, arguments: &[&str]) -> Output {
        self.command(larder_binary()).args(arguments).output().unwrap()
    }

    /// `larder COMPILER ARGUMENTS`, and what it leaves.
    fn compile(&self, compiler: &str, arguments: &[&str]) -> Left {
        let mut command = self.command(larder_binary());
        self.left(command.arg(compiler).args(arguments))
    }

    /// The compiler alone, and what it leaves.
    fn plain(&self, compiler: &str, arguments: &[&str]) -> Left {
        self.left(self.command(Path::new(compiler)).args(arguments))
    }

    /// Runs a command after the outputs of earlier ones are gone.
    fn left(&self, command: &mut Command) -> Left {
        self.remove_outputs();
        let output = command.output().unwrap();
        Left {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            files: self.outputs(),
        }
    }

    fn output_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.work()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let is_output = |name: &String| {
            name.ends_with(".o") || name.ends_with(".d") || name.starts_with(".larder-")
        };
        names.filter(is_output).collect()
    }

    fn remove_outputs(&self) {
        self.output_names().iter().for_each(|name| fs::remove_file(self.path(name)).unwrap());
    }

    fn outputs(&self) -> BTreeMap<String, Contents> {
        let read = |name: String| {
            let path = self.path(&name);
            let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
            (name, Contents { mode, bytes: fs::read(path).unwrap_or_default() })
        };
        self.output_names().into_iter().map(read).collect()
    }

    fn count(&self, counter: &str) -> u64 {
        let output = self.larder(&["stats", "--json"]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        json[counter].as_u64().unwrap_or_else(|| panic!("{counter} in {json}"))
    }

    /// (direct hits, preprocessed hits, misses).
    fn counts(&self) -> (u64, u64, u64) {
        let [direct, preprocessed, miss] =
            ["direct_cache_hit", "preprocessed_cache_hit", "cache_miss"].map(|c| self.count(c));
        (direct, preprocessed, miss)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Compiles and checks that everything is as without larder; tells what was counted:
    /// "direct", "preprocessed", "miss" or "uncached".
    #[track_caller]
    fn check(&self, compiler: &str, arguments: &[&str]) -> &'static str {
        let expected = self.plain(compiler, arguments);
        let before = self.counts();
        let left = self.compile(compiler, arguments);
        assert_eq!(left, expected, "{compiler} {arguments:?}\n{}", self.log());
        let after = self.counts();
        match (after.0 - before.0, after.1 - before.1, after.2 - before.2) {
            (1, 0, 0) => "direct",
            (0, 1, 0) => "preprocessed",
            (0, 0, 1) => "miss",
            (0, 0, 0) => "uncached",
            other => panic!("{other:?}"),
        }
    }

    /// Checks that a call misses and then hits.
    #[track_caller]
    fn check_cached(&self, compiler: &str, arguments: &[&str]) {
        assert_eq!(self.check(compiler, arguments), "miss", "{arguments:?}\n{}", self.log());
        assert_eq!(self.check(compiler, arguments), "direct", "{arguments:?}\n{}", self.log());
    }
}

/// Long enough for file times to move on.
fn wait_a_tick() {
    std::thread::sleep(Duration::from_millis(30));
}
