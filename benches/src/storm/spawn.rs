//! Starting workers, some of them in namespaces of their own.
//!
//! `unshare` starts a worker as the first process of a PID namespace, in a mount namespace where
//! the store may have another path. Signals go to the worker itself, under the id that the
//! conductor's /proc gives it, which the worker says when it starts.

use std::io::{self, PipeWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::settings::Settings;
use super::worker::Role;

/// A worker that runs, or did.
#[derive(Debug)]
pub struct Worker {
    /// Counts from 0, never used again.
    pub id: u32,
    /// What it does.
    pub role: Role,
    /// Its id for signals, once it has said it.
    pub process: Option<Pid>,
    child: Child,
    input: Option<ChildStdin>,
}

/// Where a storm's files are, and which program works there.
#[derive(Debug)]
pub struct Place {
    /// This program.
    pub program: PathBuf,
    /// The store.
    pub store: PathBuf,
    /// An empty directory, for the store's other path.
    pub other_path: PathBuf,
    /// The board.
    pub board: PathBuf,
    /// The words of the command line, to be repeated for each worker.
    pub words: Vec<String>,
}

/// Whether namespaces can be made here; the sentence says why not.
///
/// # Errors
/// What is missing.
pub fn can_unshare() -> Result<(), String> {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount", "true"]).stdin(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_string()),
        Err(error) => Err(format!("unshare cannot be started: {error}")),
    }
}

impl Place {
    fn command(&self, settings: &Settings, id: u32) -> Command {
        // `unshare` has something to say about every worker that is killed; only what the worker
        // says itself is of interest.
        let unshare = |arguments: &str, inner: &str| {
            let outer = "exec unshare --fork --kill-child --pid \"$@\" 3>&2 2>/dev/null";
            let mut command = Command::new("sh");
            command.args(["-c", outer, "sh", arguments, "sh", "-c", inner, "sh"]);
            command
        };
        let run = "exec \"$@\" 2>&3 3>&-";
        match id % 4 {
            1 if settings.namespaces => {
                let mut command = unshare("--pid", run);
                command.arg(&self.program);
                command
            }
            2 if settings.namespaces => {
                let mut command = unshare("--mount", run);
                command.arg(&self.program);
                command
            }
            3 if settings.namespaces => {
                let run = format!("mount --bind \"$1\" \"$2\" && shift 2 && {run}");
                let mut command = unshare("--mount", &run);
                command.args([&self.store, &self.other_path, &self.program]);
                command
            }
            _ => Command::new(&self.program),
        }
    }

    /// Starts a worker.
    ///
    /// # Errors
    /// If that is refused.
    pub fn start(
        &self,
        settings: &Settings,
        role: Role,
        id: u32,
        out: &PipeWriter,
    ) -> io::Result<Worker> {
        let mut command = self.command(settings, id);
        let is_elsewhere = settings.namespaces && id % 4 == 3;
        let path: &Path = if is_elsewhere { &self.other_path } else { &self.store };
        command.args(["worker", role.name(), &id.to_string()]).arg(path).arg(&self.board);
        command.args(&self.words).stdin(Stdio::piped()).stdout(out.try_clone()?);
        let mut child = command.spawn()?;
        let input = child.stdin.take();
        Ok(Worker { id, role, process: None, child, input })
    }
}

impl Worker {
    /// Sends a signal; `false` if the worker has not said its id yet or is gone.
    pub fn signal(&mut self, signal: Signal) -> bool {
        let Some(process) = self.process.filter(|_| self.is_running()) else { return false };
        kill_process(process, signal).is_ok()
    }

    /// Lets a worker go on that has asked for a signal.
    pub fn go_on(&mut self) {
        if let Some(input) = &mut self.input {
            // It may have been killed meanwhile.
            let _ = input.write_all(b"\n");
        }
    }

    /// Whether it has not ended by itself.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        // Only `unshare` may be left, or a worker that has not said its id.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}
