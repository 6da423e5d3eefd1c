//! Connections that are kept for the next call, server by server.
//!
//! 1. As many are kept as there were calls at one time. One over which something failed is not.
//! 2. If a kept one turns out to be closed by the server, the others of that server are dropped,
//!    too, and the call is made once more, on a new one.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::sync::{Mutex, MutexGuard};

use super::deadline::Deadline;
use super::incoming::Broken;
use super::link::Link;
use super::{TierError, TierErrorKind};
use crate::lock::lock;

/// The connections of one tier that nobody uses at the moment.
pub(super) struct Kept<S> {
    idle: Mutex<HashMap<S, Vec<Link>>>,
}

/// How a call failed.
pub(super) enum Failed {
    /// There is no connection.
    Unconnected(TierError),
    /// It broke.
    Broken(Broken),
}

impl<S: Clone + Eq + Hash> Kept<S> {
    pub(super) fn new() -> Kept<S> {
        Kept { idle: Mutex::default() }
    }

    /// Makes a call, on a connection that was kept or that `connect` opens. `run` may be called
    /// twice.
    pub(super) fn call<T>(
        &self,
        server: &S,
        deadline: Deadline,
        connect: impl FnOnce() -> Result<Link, TierError>,
        mut run: impl FnMut(&mut Link) -> Result<T, Broken>,
    ) -> Result<T, Failed> {
        let kept = self.idle().get_mut(server).and_then(Vec::pop);
        if let Some(mut link) = kept {
            link.set_deadline(deadline);
            match run(&mut link) {
                Ok(value) => {
                    self.keep(server, link);
                    return Ok(value);
                }
                Err(Broken::Before(error)) if is_closed(&error) => {
                    self.idle().remove(server);
                }
                Err(broken) => return Err(Failed::Broken(broken)),
            }
        }
        let mut link = connect().map_err(Failed::Unconnected)?;
        link.set_deadline(deadline);
        let value = run(&mut link).map_err(Failed::Broken)?;
        self.keep(server, link);
        Ok(value)
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<S, Vec<Link>>> {
        lock(&self.idle)
    }

    fn keep(&self, server: &S, link: Link) {
        self.idle().entry(server.clone()).or_default().push(link);
    }
}

/// Whether a connection failed as one does that the server has closed.
fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
    )
}

/// The error for a connection that cannot be opened, or failed.
pub(super) fn io_error(tier: &str, error: &io::Error) -> TierError {
    let (kind, text) = match error.kind() {
        io::ErrorKind::TimedOut => (TierErrorKind::TimedOut, "the time is over".to_owned()),
        io::ErrorKind::UnexpectedEof => {
            (TierErrorKind::Unreachable, "the server closed the connection".to_owned())
        }
        io::ErrorKind::InvalidData => (TierErrorKind::Protocol, format!("TLS: {error}")),
        _ => (TierErrorKind::Unreachable, error.to_string()),
    };
    TierError::new(kind, format!("{tier}: {text}"))
}
