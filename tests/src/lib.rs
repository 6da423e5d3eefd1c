//! What the tests share: where the workspace and the larder binary are, and running programs.

pub mod crash;
pub mod disk;
pub mod equivalence;
pub mod fault;
pub mod fuzz;
pub mod fuzz_ccache;
pub mod fuzz_incoming;
pub mod fuzz_store;
pub mod fuzz_tools;
pub mod history;
pub mod kill_env;
pub mod model_env;
pub mod sample;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use larder_engine::env::Env;
use larder_engine::{Options, Store};
pub use tempfile::TempDir;

/// The root of the workspace.
pub fn workspace_root() -> PathBuf {
    let tests =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&tests).parent().expect("tests/ stands in the root").to_path_buf()
}

/// The larder binary of this tree, with larder-tools beside it, brought up to date once per test
/// process: a test run builds no other package's binaries, and an old one must not be tested.
pub fn larder_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(build_larder)
}

fn build_larder() -> PathBuf {
    // .../target/debug/deps/integration-0123456789abcdef
    let test = std::env::current_exe().expect("the kernel knows this program");
    let profile_dir = test.parent().and_then(Path::parent).expect("a test stands in deps/");
    let target_dir =
        profile_dir.parent().expect("a profile has its folder in the target directory");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "larder", "--package", "larder-tools"]);
    cargo.args(["--bins", "--target-dir"]).arg(target_dir).current_dir(workspace_root());
    if profile_dir.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "larder does not build");
    profile_dir.join("larder")
}

/// Opens a store. One that this process has closed may be locked for a moment yet: by a child that
/// another test has forked, and that is about to start its program.
pub fn open_store(env: &Arc<dyn Env>, path: &Path, options: &Options) -> Store {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match Store::open_with(env.clone(), path, options.clone()) {
            Err(error) if error.is_busy() && Instant::now() < until => {
                thread::sleep(Duration::from_millis(5));
            }
            opened => return opened.expect("the store opens"),
        }
    }
}

/// A directory that vanishes with the value.
pub fn temp_dir() -> TempDir {
    tempfile::Builder::new().prefix("larder-test-").tempdir().expect("there is room for a test")
}

/// Where a program stands on `PATH`; if it is missing, says on stderr that this test is skipped.
///
/// ```no_run
/// let Some(clang) = larder_tests::find_or_skip("clang") else { return };
/// ```
pub fn find_or_skip(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
    if found.is_none() {
        let thread = std::thread::current();
        eprintln!("{}: skipped, there is no {program}", thread.name().unwrap_or("a test"));
    }
    found
}

/// A store of its own for one test, and larder on it.
pub struct Larder {
    folder: TempDir,
}

impl Default for Larder {
    fn default() -> Self {
        Larder::new()
    }
}

impl Larder {
    /// An empty store.
    pub fn new() -> Larder {
        Larder { folder: temp_dir() }
    }

    /// The store's directory; larder creates it when it first needs it.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A call of larder in a directory, with an environment in which no setting of the machine
    /// speaks to larder.
    pub fn command(&self, cwd: &Path) -> Command {
        let mut command = Command::new(larder_binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LARDER_") {
                command.env_remove(name);
            }
        }
        command.env("LARDER_DIR", self.store());
        command.env("XDG_CONFIG_HOME", self.folder.path().join("config"));
        command.current_dir(cwd);
        command
    }

    /// Runs `larder ARGUMENTS` in a directory.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        cwd: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Output {
        self.command(cwd).args(arguments).output().expect("larder starts")
    }

    /// One counter of `larder stats --json`, by its id.
    ///
    /// # Panics
    ///
    /// If the command fails or has no such counter.
    pub fn counter(&self, id: &str) -> u64 {
        let output = self.run(self.folder.path(), ["stats", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let stats: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("`larder stats --json` prints JSON");
        stats[id].as_u64().unwrap_or_else(|| panic!("there is no counter `{id}` in {stats}"))
    }
}
