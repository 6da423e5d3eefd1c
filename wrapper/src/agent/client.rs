//! The wrapper's side of the agent's socket.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use larder_engine::env::without_inherited_files;

use super::PROGRAM;
use super::place;
use super::protocol::{Reply, Request};
use crate::config::Config;
use crate::tier::TierSettings;

/// How long an agent may take until it listens. It takes some milliseconds; on a machine that is
/// overloaded a compile waits no longer than this.
const START: Duration = Duration::from_millis(1000);
/// How long is waited before another one is started, when one has ended well and nobody listens:
/// the one that it has found was about to leave.
const AGAIN: Duration = Duration::from_millis(50);
/// Between two looks whether it does.
const LOOK: Duration = Duration::from_micros(500);
/// What the agent may take beside the time-outs of its tiers.
const SLACK: Duration = Duration::from_millis(1500);

/// What an agent has to be started with.
#[derive(Debug)]
pub struct Launch<'a> {
    config: &'a Config,
    store: &'a Path,
}

/// A connection to the agent.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    /// What one call to each of the tiers may take.
    limit: Duration,
}

impl<'a> Launch<'a> {
    /// For the store at `store` and the tiers of `config`.
    pub fn new(config: &'a Config, store: &'a Path) -> Launch<'a> {
        Launch { config, store }
    }

    fn tiers(&self) -> &'a [TierSettings] {
        &self.config.tiers.value
    }

    /// A connection to the agent that runs; `None` if none does.
    ///
    /// # Errors
    /// If there can be none: its directory is not safe, or another user's program listens there.
    pub fn running(&self) -> io::Result<Option<Client>> {
        self.running_at(&self.socket()?)
    }

    fn socket(&self) -> io::Result<PathBuf> {
        place::socket(self.store, self.config)
    }

    fn running_at(&self, socket: &Path) -> io::Result<Option<Client>> {
        match UnixStream::connect(socket) {
            Ok(stream) => Client::new(stream, self.tiers()).map(Some),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A connection to the agent, which is started if none runs.
    ///
    /// # Errors
    /// If there can be none, or it does not listen in time.
    pub fn connect(&self) -> io::Result<Client> {
        let socket = self.socket()?;
        if let Some(client) = self.running_at(&socket)? {
            return Ok(client);
        }
        let start = || without_inherited_files(|| self.command("serve").spawn())?;
        let begun = Instant::now();
        let mut started = begun;
        let mut child = start()?;
        loop {
            if let Some(client) = self.running_at(&socket)? {
                return Ok(client);
            }
            // One that finds another agent ends well; that other one listens, or leaves.
            if let Some(status) = child.try_wait()? {
                if !status.success() {
                    return Err(io::Error::other(format!("{PROGRAM} ended with {status}")));
                }
                if started.elapsed() > AGAIN {
                    started = Instant::now();
                    child = start()?;
                }
            }
            if begun.elapsed() > START {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the agent does not listen"));
            }
            thread::sleep(LOOK);
        }
    }

    /// Lets a program do one request where no agent can live. It ends when that is done.
    ///
    /// # Errors
    /// If the program cannot be started or says nothing sensible.
    pub fn alone(&self, request: &Request) -> io::Result<Reply> {
        let mut command = self.command("once");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        request.send(&mut stdin)?;
        drop(stdin);
        let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let reply = Reply::receive(&mut stdout);
        child.wait()?;
        reply
    }

    /// Lets the program make a key: what it prints.
    ///
    /// # Errors
    /// If it cannot be started, or fails.
    pub fn new_key() -> io::Result<String> {
        let output = Command::new(program()).arg("new-key").stdin(Stdio::null()).output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!("{PROGRAM} ended with {}", output.status)));
        }
        String::from_utf8(output.stdout).map_err(io::Error::other)
    }

    /// The agent's program, which gets this configuration and no other.
    fn command(&self, what: &str) -> Command {
        let config = self.config;
        let mut command = Command::new(program());
        command.arg(what).current_dir("/");
        let tiers: Vec<String> = self.tiers().iter().map(TierSettings::text).collect();
        command.env("LARDER_CONFIG", "/dev/null").env("LARDER_DIR", self.store);
        command.env("LARDER_TIERS", tiers.join(" "));
        command.env("LARDER_MAX_SIZE", config.max_size_bytes.value.to_string());
        command.env("LARDER_UMASK", format!("{:03o}", config.umask.value));
        command.env("LARDER_COMPRESSION_LEVEL", config.compression_level.value.to_string());
        for variable in ["LARDER_FILE_CLONE", "LARDER_READONLY", "LARDER_READONLY_DIRECT"] {
            command.env_remove(variable);
        }
        let keys = [
            ("LARDER_SIGNING_KEY", config.signing_key.value.as_deref()),
            ("LARDER_TRUSTED_KEYS", config.trusted_keys_in_use()),
        ];
        for (variable, path) in keys {
            match path {
                Some(path) => command.env(variable, path),
                None => command.env_remove(variable),
            };
        }
        match config.log.value.as_deref().map(std::path::absolute) {
            Some(Ok(log)) => command.env("LARDER_LOG", log),
            _ => command.env_remove("LARDER_LOG"),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.arg0(PROGRAM);
        command
    }
}

/// The agent stands beside this program; else it is looked for in `PATH`.
fn program() -> OsString {
    let own = fs::read_link(crate::exec::OWN_EXE).ok();
    let beside = own.and_then(|own| Some(own.parent()?.join(PROGRAM)));
    let beside: Option<PathBuf> = beside.filter(|path| path.is_file());
    beside.map_or_else(|| OsString::from(PROGRAM), PathBuf::into_os_string)
}

impl Client {
    fn new(stream: UnixStream, tiers: &[TierSettings]) -> io::Result<Client> {
        check_peer(&stream)?;
        let limit: Duration = tiers.iter().map(TierSettings::timeout).sum();
        stream.set_read_timeout(Some(limit + SLACK))?;
        stream.set_write_timeout(Some(SLACK))?;
        Ok(Client { stream, limit })
    }

    /// Asks, and waits for the answer: as long as the tiers may take, and a moment.
    ///
    /// # Errors
    /// As the socket's.
    pub fn ask(&mut self, request: &Request) -> io::Result<Reply> {
        if let Request::Sync(keys) = request {
            // A manifest is read and written.
            self.wait_at_most(self.limit * 2 * keys.len() as u32)?;
        }
        request.send(&mut self.stream)?;
        Reply::receive(&mut self.stream)
    }

    /// Tells what is not answered.
    ///
    /// # Errors
    /// As the socket's.
    pub fn tell(&mut self, request: &Request) -> io::Result<()> {
        request.send(&mut self.stream)
    }

    /// Waits for answers at most so long from now on.
    ///
    /// # Errors
    /// As the socket's.
    pub fn wait_at_most(&mut self, limit: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(limit + SLACK))
    }
}

/// Whether an error of a connect says that nobody listens.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// That the program at the other end runs for the same user.
///
/// # Errors
/// `PermissionDenied` if not.
pub(super) fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    if peer.uid != rustix::process::geteuid() {
        let what = "another user's program is at the agent's socket";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(())
}
