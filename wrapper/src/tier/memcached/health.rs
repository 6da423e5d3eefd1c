//! Which of several servers are left alone, so that one that is gone does not take the others with
//! it.
//!
//! 1. A server that cannot be reached, lets the time of a call pass, or talks nonsense is in
//!    trouble for [`PAUSE`]. A server that answers is not.
//! 2. A server in trouble is left alone while any other is not in trouble. When its time is over,
//!    one call tries it; until that has ended the others go on without it.
//! 3. Where all are in trouble, no one is left alone: then the tier is in trouble as a whole, and
//!    who calls it knows what to do. So it is with a single server.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::lock::lock;

/// As long as the agent leaves a whole tier alone.
const PAUSE: Duration = Duration::from_secs(30);

/// What is known of the servers, in the order of their list.
pub(super) struct Health {
    /// Until when each is in trouble.
    trouble: Mutex<Vec<Option<Instant>>>,
}

impl Health {
    pub(super) fn new(servers: usize) -> Health {
        Health { trouble: Mutex::new(vec![None; servers]) }
    }

    /// Whether to call a server now.
    pub(super) fn may_call(&self, server: usize, now: Instant) -> bool {
        let mut trouble = self.trouble();
        match trouble[server] {
            Some(until) if until > now => !is_another_well(&trouble, server, now),
            Some(_) => {
                trouble[server] = Some(now + PAUSE);
                true
            }
            None => true,
        }
    }

    /// Notes that a server has answered.
    pub(super) fn note_answer(&self, server: usize) {
        self.trouble()[server] = None;
    }

    /// Notes that a server is in trouble; whether any other is not.
    pub(super) fn note_trouble(&self, server: usize, now: Instant) -> bool {
        let mut trouble = self.trouble();
        trouble[server] = Some(now + PAUSE);
        is_another_well(&trouble, server, now)
    }

    fn trouble(&self) -> MutexGuard<'_, Vec<Option<Instant>>> {
        lock(&self.trouble)
    }
}

fn is_another_well(trouble: &[Option<Instant>], server: usize, now: Instant) -> bool {
    let is_well = |until: &Option<Instant>| until.is_none_or(|until| until <= now);
    trouble.iter().enumerate().any(|(other, until)| other != server && is_well(until))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_trouble_is_left_alone_until_one_call_tries_it() {
        let (health, begin) = (Health::new(2), Instant::now());
        assert!(health.may_call(0, begin) && health.may_call(1, begin));
        assert!(health.note_trouble(0, begin), "the other is well");
        assert!(!health.may_call(0, begin) && health.may_call(1, begin));
        let soon = begin + PAUSE - Duration::from_millis(1);
        assert!(!health.may_call(0, soon));
        let later = begin + PAUSE;
        assert!(health.may_call(0, later), "its time is over");
        assert!(!health.may_call(0, later), "one call is enough");
        health.note_answer(0);
        assert!(health.may_call(0, later) && health.may_call(0, later));
    }

    #[test]
    fn where_all_are_in_trouble_none_is_left_alone() {
        let (health, begin) = (Health::new(3), Instant::now());
        assert!(health.note_trouble(0, begin));
        assert!(health.note_trouble(1, begin));
        assert!(!health.note_trouble(2, begin), "no other is well");
        assert!((0..3).all(|server| health.may_call(server, begin)));
        health.note_answer(1);
        assert!(!health.may_call(0, begin) && health.may_call(1, begin));
        // One whose time is over may be well.
        let single = Health::new(1);
        assert!(!single.note_trouble(0, begin));
        assert!(single.may_call(0, begin) && single.may_call(0, begin));
    }
}
