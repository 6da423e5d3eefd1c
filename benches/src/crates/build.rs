//! One build of a workspace by cargo.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::process::{children_cpu_seconds, cpu_seconds_of};
use crate::projects::build::{Cost, run};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Where the other wrapper's server listens.
const PORT: &str = "14226";

/// Who stands before rustc.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// Nobody.
    Cargo,
    /// larder.
    Larder,
    /// The other wrapper.
    Other,
}

/// Where everything of one workspace stands.
#[derive(Clone, Debug)]
pub struct Place {
    /// The folder of all that follows.
    pub folder: PathBuf,
    /// A link to the wrapper.
    pub larder: PathBuf,
    /// Another one.
    pub other: Option<PathBuf>,
}

impl Place {
    /// The wrappers that are compared.
    pub fn wrappers(&self) -> Vec<Who> {
        let other = self.other.is_some().then_some(Who::Other);
        [Who::Larder].into_iter().chain(other).collect()
    }

    /// Where cargo puts what it makes.
    pub fn target(&self) -> PathBuf {
        self.folder.join("target")
    }

    /// Where a wrapper keeps results.
    pub fn store(&self, who: Who) -> PathBuf {
        self.folder.join(if who == Who::Larder { "store" } else { "other-store" })
    }

    /// Where larder's own commands find its store, when it is called sccache.
    pub fn larder_dir(&self) -> PathBuf {
        self.store(Who::Larder).join("larder")
    }

    /// Builds a checkout; with an empty target directory, if that is asked for.
    ///
    /// # Errors
    /// If the build fails.
    pub fn build(&self, who: Who, words: &str, checkout: &Path, afresh: bool) -> Outcome<Cost> {
        if afresh && self.target().exists() {
            fs::remove_dir_all(self.target())?;
        }
        // What is written back belongs to the build before.
        rustix::fs::sync();
        let root = self.folder.join("root").display().to_string();
        let mut command = Command::new("cargo");
        command.args(words.split_whitespace().map(|word| word.replace("{root}", &root)));
        command.args(["--locked", "--quiet"]).current_dir(checkout).stdin(Stdio::null());
        self.set(&mut command, who);
        let (begun, before) = (Instant::now(), self.cpu_seconds()?);
        run(&mut command)?;
        let wall_secs = begun.elapsed().as_secs_f64();
        Ok(Cost { wall_secs, cpu_secs: self.cpu_seconds()? - before })
    }

    fn set(&self, command: &mut Command, who: Who) {
        command.env("CARGO_TARGET_DIR", self.target()).env("CARGO_INCREMENTAL", "0");
        command.env("CARGO_NET_OFFLINE", "true").env_remove("RUSTC_WRAPPER");
        command.env_remove("RUSTC_WORKSPACE_WRAPPER").env_remove("RUSTFLAGS");
        match (who, &self.other) {
            (Who::Larder, _) => {
                command.env("RUSTC_WRAPPER", &self.larder).env("SCCACHE_DIR", self.store(who));
                command.env("LARDER_DIR", self.larder_dir()).env("LARDER_CONFIG", "/dev/null");
            }
            (Who::Other, Some(other)) => {
                command.env("RUSTC_WRAPPER", other);
                self.set_server(command);
            }
            _ => {}
        }
    }

    fn set_server(&self, command: &mut Command) {
        command.env("SCCACHE_DIR", self.store(Who::Other)).env("SCCACHE_SERVER_PORT", PORT);
        command.env("SCCACHE_IDLE_TIMEOUT", "0").env("SCCACHE_CACHE_SIZE", "100G");
    }

    /// Tells the other wrapper's server to begin or to end.
    ///
    /// # Errors
    /// If it does not.
    pub fn server(&self, word: &str) -> Outcome<()> {
        let Some(other) = &self.other else { return Ok(()) };
        let mut command = Command::new(other);
        self.set_server(command.arg(word).stdin(Stdio::null()));
        run(&mut command)
    }

    /// Of all children, and of the other wrapper's server.
    fn cpu_seconds(&self) -> Outcome<f64> {
        let name = self.other.as_ref().and_then(|other| other.file_name()?.to_str());
        let server = name.map(cpu_seconds_of).transpose()?.unwrap_or(0.0);
        Ok(children_cpu_seconds()? + server)
    }
}

/// Bytes that a tree takes on the disk, and its files.
pub fn size(root: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries.fold((0, 0), |(bytes, files), entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => {
            let (more_bytes, more_files) = size(&entry.path());
            (bytes + more_bytes, files + more_files)
        }
        Ok(metadata) => (bytes + metadata.blocks() * 512, files + 1),
        Err(_) => (bytes, files),
    })
}
