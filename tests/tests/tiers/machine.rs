//! Machines that share tiers: each has a store of its own, and all the same sources.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use larder_tests::{TempDir, larder_binary, temp_dir};

/// How long something that happens behind the back of a build may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sources that every machine sees.
pub struct Sources {
    dir: TempDir,
}

impl Sources {
    /// Three units, two of which share a header.
    pub fn new() -> Sources {
        let sources = Sources { dir: temp_dir() };
        sources.write("shared.h", "#define NUMBER 1\n");
        sources.write("a.c", "#include \"shared.h\"\nint a(void) { return NUMBER; }\n");
        sources.write("b.c", "#include \"shared.h\"\nint b(void) { return NUMBER + 1; }\n");
        sources.write("c.c", "#warning \"c says so\"\nint c(void) { return 3; }\n");
        sources
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }
}

/// What a compile leaves.
#[derive(PartialEq, Eq, Debug)]
pub struct Left {
    pub status: Option<i32>,
    pub stderr: String,
    pub object: Option<Vec<u8>>,
    pub dependencies: Option<String>,
}

/// A store, and an environment in which no setting of this machine counts.
pub struct Machine {
    dir: TempDir,
    variables: Vec<(String, String)>,
}

impl Machine {
    /// A machine with an empty store and these tiers.
    pub fn new(tiers: &str) -> Machine {
        let mut machine = Machine { dir: temp_dir(), variables: Vec::new() };
        fs::create_dir(machine.runtime()).unwrap();
        machine.set("LARDER_TIERS", tiers);
        machine
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Where the sockets are.
    pub fn runtime(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn command(&self, directory: &Path) -> Command {
        self.command_of(larder_binary(), directory)
    }

    /// Any program in the machine's environment.
    pub fn command_of(&self, program: &Path, directory: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(directory).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).env("XDG_RUNTIME_DIR", self.runtime());
        command.env("LARDER_DIR", self.store()).env("LARDER_LOG", self.dir.path().join("log"));
        command.env("LARDER_AGENT_IDLE_SECS", "60").env("LARDER_JANITOR", "off");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub fn larder(&self, words: &[&str]) -> Output {
        self.command(self.dir.path()).args(words).output().unwrap()
    }

    /// Compiles one unit, with its dependency file.
    pub fn compile(&self, sources: &Sources, unit: &str) -> Left {
        self.compile_with(sources, unit, &[])
    }

    pub fn compile_with(&self, sources: &Sources, unit: &str, words: &[&str]) -> Left {
        let output = self.compile_command(sources, unit, words).output().unwrap();
        self.left(&output, unit)
    }

    /// The outputs go to a directory of the machine's own.
    pub fn compile_command(&self, sources: &Sources, unit: &str, words: &[&str]) -> Command {
        for name in self.outputs(unit) {
            let _ = fs::remove_file(name);
        }
        let [object, dependencies] = self.outputs(unit);
        let mut command = self.command(sources.path());
        command.arg("gcc").args(["-c", &format!("{unit}.c"), "-MD", "-MT", "x", "-MF"]);
        command.arg(dependencies).arg("-o").arg(object).args(words);
        command.stdin(Stdio::null());
        command
    }

    pub fn outputs(&self, unit: &str) -> [PathBuf; 2] {
        ["o", "d"].map(|end| self.dir.path().join(format!("{unit}.{end}")))
    }

    pub fn left(&self, output: &Output, unit: &str) -> Left {
        let [object, dependencies] = self.outputs(unit);
        Left {
            status: output.status.code(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            object: fs::read(object).ok(),
            dependencies: fs::read_to_string(dependencies).ok(),
        }
    }

    /// Waits until the tiers have everything.
    #[track_caller]
    pub fn flush(&self) {
        let flushed = self.larder(&["agent", "flush"]);
        assert!(flushed.status.success(), "{flushed:?}\n{}", self.log());
    }

    fn stats(&self) -> serde_json::Value {
        let output = self.larder(&["stats", "--json"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// A counter.
    pub fn count(&self, name: &str) -> u64 {
        let stats = self.stats();
        stats[name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
    }

    /// A count of one tier.
    pub fn of_tier(&self, tier: usize, name: &str) -> u64 {
        let output = self.larder(&["agent", "status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        status["tiers"][tier][name].as_u64().unwrap_or_else(|| panic!("no {name} in {status}"))
    }

    /// The process of the agent, if one runs.
    pub fn agent(&self) -> Option<u64> {
        let output = self.larder(&["agent", "status", "--json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        status["pid"].as_u64()
    }

    /// Direct hits and misses.
    pub fn counts(&self) -> (u64, u64) {
        (self.count("direct_cache_hit"), self.count("cache_miss"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.larder(&["agent", "stop"]);
    }
}

/// Waits for what happens behind the back of a build.
#[track_caller]
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A tier of files below a directory.
pub fn file_tier(directory: &Path) -> String {
    format!("file://{}", directory.display())
}

/// The files of such a tier.
pub fn files_of(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

/// Ends a process at once.
pub fn kill(pid: u64) {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("kill -9 {pid}")).process_group(0);
    assert!(command.status().unwrap().success());
    wait_for("the end of a process", || has_ended(pid));
}

/// Whether a process has ended, if perhaps nobody has taken note of it.
pub fn has_ended(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}
