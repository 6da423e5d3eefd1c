//! When a call has to be over.

use std::io;
use std::time::{Duration, Instant};

/// One moment for everything that a call does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Instant,
}

impl Deadline {
    pub(super) fn after(time: Duration) -> Deadline {
        Deadline { at: Instant::now() + time }
    }

    /// The earlier one of this and of `time` from now.
    pub(super) fn or_after(self, time: Duration) -> Deadline {
        Deadline { at: self.at.min(Instant::now() + time) }
    }

    /// What is left, at least a millisecond: a time-out of nothing would mean for ever.
    ///
    /// # Errors
    /// `TimedOut` if nothing is.
    pub(super) fn left(self) -> io::Result<Duration> {
        let left = self.at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left.max(Duration::from_millis(1)))
    }
}
