//! The chain of tiers: one call to one tier, and one key asked from all in their order.
//!
//! 1. A call is over when its time is: the client of the tier sees to that.
//! 2. Before a tier has answered for the first time, when it has not for [`FRESH`], and when calls
//!    are under way and none has been answered for half of a call's time, one call goes first, and
//!    the others wait for how it ends, a moment. So nobody waits for a tier that has just died
//!    but those who had begun by then.
//! 3. Of several who want one key at a time one asks, and all get what that gives.

use std::collections::HashMap;
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use larder_engine::Key;

use super::state::{Count, Side, TierState, now_ms};
use crate::config::AGENT_PAUSE_VARIABLE;
use crate::lock::lock;
use crate::tier::{Tier, TierError, TierErrorKind, TierSettings, Usage};

/// How long a tier that failed is left alone, in milliseconds.
const PAUSE_MS: u64 = 30_000;
/// For so long an answer says that the tier is well.
const FRESH: Duration = Duration::from_secs(10);
/// As long as others wait for the first call to a tier.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Damaged values in a row that make a tier one that is in trouble.
const DAMAGED_MAX: u32 = 3;

/// One tier, with its client.
pub struct Tiered {
    /// What it is.
    pub settings: TierSettings,
    /// What is known of it.
    pub state: TierState,
    /// How long it is left alone when it has failed.
    pub pause_ms: u64,
    client: Box<dyn Tier>,
    health: Mutex<Health>,
    changed: Condvar,
}

#[derive(Default)]
struct Health {
    answered: Option<Instant>,
    /// Reads that are under way.
    under_way: usize,
    /// Since when none of these has been answered.
    silent_since: Option<Instant>,
    /// Somebody makes the first call.
    is_tried: bool,
    damaged_in_a_row: u32,
    /// The tier has said that we may not write.
    is_denied: bool,
}

/// Why a call gave nothing.
#[derive(Debug)]
pub enum Unanswered {
    /// It was not made: the tier is in trouble.
    Skipped,
    /// It failed.
    Failed(TierError),
}

impl Tiered {
    /// A tier with its client.
    pub fn new(settings: TierSettings, state: TierState, client: Box<dyn Tier>) -> Tiered {
        let pause = env::var(AGENT_PAUSE_VARIABLE).ok().and_then(|text| text.parse().ok());
        Tiered {
            settings,
            state,
            pause_ms: pause.unwrap_or(PAUSE_MS),
            client,
            health: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Whether it is written to at all.
    pub fn is_written(&self) -> bool {
        !self.settings.is_read_only() && !lock(&self.health).is_denied
    }

    /// What the server says of its room; nothing while it is in trouble.
    pub fn usage(&self) -> Usage {
        self.call(Side::Reads, |client| client.usage()).unwrap_or_default()
    }

    /// Makes a call and counts how it ends.
    pub fn call<T>(
        &self,
        side: Side,
        call: impl FnOnce(&dyn Tier) -> Result<T, TierError>,
    ) -> Result<T, Unanswered> {
        if !self.state.may(side, now_ms(), self.pause_ms) || !self.may_begin(side) {
            self.state.add(Count::Skipped, 1);
            return Err(Unanswered::Skipped);
        }
        let begun = Instant::now();
        let result = panic::catch_unwind(AssertUnwindSafe(|| call(&*self.client)));
        let result = result.unwrap_or_else(|_| {
            Err(TierError::new(TierErrorKind::Protocol, "the client of the tier failed"))
        });
        self.note(side, begun, result.as_ref().err());
        result.map_err(Unanswered::Failed)
    }

    /// Waits for the first call to the tier, if there is to be one and it is another's.
    fn may_begin(&self, side: Side) -> bool {
        if side == Side::Writes {
            return true;
        }
        let silence_max = self.settings.timeout() / 2;
        let is_fresh = |health: &Health| {
            let is_silent = health.silent_since.is_some_and(|since| since.elapsed() > silence_max);
            health.answered.is_some_and(|at| at.elapsed() < FRESH) && !is_silent
        };
        let mut health = lock(&self.health);
        if !is_fresh(&health) && health.is_tried {
            let waits = |health: &mut Health| health.is_tried && !is_fresh(health);
            let waited = self.changed.wait_timeout_while(health, FIRST_WAIT, waits);
            (health, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if !is_fresh(&health) {
                return false;
            }
        }
        health.is_tried = !is_fresh(&health);
        health.under_way += 1;
        health.silent_since.get_or_insert_with(Instant::now);
        true
    }

    /// Counts how a call ended, and opens or closes the breaker.
    fn note(&self, side: Side, begun: Instant, error: Option<&TierError>) {
        let is_of_the_tier = error.is_some_and(TierError::is_of_the_tier);
        let kind = error.map(TierError::kind);
        let (failures, time) = match side {
            Side::Reads => (Count::ReadFailures, Count::ReadTime),
            Side::Writes => (Count::WriteFailures, Count::WriteTime),
        };
        self.state.add(time, begun.elapsed().as_micros() as u64);
        let is_denied_write = side == Side::Writes && kind == Some(TierErrorKind::Denied);
        if error.is_some() && !is_denied_write && kind != Some(TierErrorKind::TooLarge) {
            self.state.add(failures, 1);
        }
        if kind == Some(TierErrorKind::TimedOut) {
            self.state.add(Count::TimeOuts, 1);
        }
        // One that is full, or does not know us, will say so the next time, too.
        let is_refused = matches!(kind, Some(TierErrorKind::Full | TierErrorKind::Denied));
        if is_of_the_tier || is_refused {
            self.state.open_breaker(side, now_ms());
        } else {
            self.state.close_breaker(side);
        }
        let mut health = lock(&self.health);
        health.is_denied |= is_denied_write;
        if side == Side::Reads {
            health.is_tried = false;
            health.under_way -= 1;
            health.silent_since = (health.under_way > 0).then(Instant::now);
            health.answered = (!is_of_the_tier && !is_refused).then(Instant::now);
        }
        drop(health);
        self.changed.notify_all();
    }

    /// Notes whether a value was what it had to be.
    pub fn note_value(&self, is_sound: bool) {
        let mut health = lock(&self.health);
        if is_sound {
            health.damaged_in_a_row = 0;
            return;
        }
        health.damaged_in_a_row += 1;
        self.state.add(Count::Damaged, 1);
        self.state.add(Count::ReadFailures, 1);
        if health.damaged_in_a_row >= DAMAGED_MAX {
            health.damaged_in_a_row = 0;
            self.state.open_breaker(Side::Reads, now_ms());
        }
    }
}

/// A tier whose client could not be made: its place in the chain stays.
pub struct Unopened(pub TierError);

impl Tier for Unopened {
    fn get(&self, _: &Key) -> Result<Option<Vec<u8>>, TierError> {
        Err(self.0.clone())
    }

    fn exists(&self, _: &Key) -> Result<bool, TierError> {
        Err(self.0.clone())
    }

    fn put(&self, _: &Key, _: &[u8]) -> Result<(), TierError> {
        Err(TierError::new(TierErrorKind::Unreachable, self.0.to_string()))
    }

    fn remove(&self, _: &Key) -> Result<bool, TierError> {
        Err(self.0.clone())
    }

    fn usage(&self) -> Result<Usage, TierError> {
        Err(self.0.clone())
    }
}

/// A key, and the first tier that is asked for it.
type Wanted = (Key, u8);

/// Keys that somebody asks for just now, from a tier on.
pub struct Flights<T> {
    flying: Mutex<HashMap<Wanted, Arc<Flight<T>>>>,
}

struct Flight<T> {
    /// What it gave: nothing yet, or nothing at all because who asked has failed.
    landed: Mutex<Option<Option<T>>>,
    changed: Condvar,
}

impl<T: Clone> Flights<T> {
    /// None.
    pub fn new() -> Flights<T> {
        Flights { flying: Mutex::default() }
    }

    /// What `ask` gives for a key, or gave to whoever asks for it already; `None` if that failed.
    pub fn join(&self, key: Wanted, ask: impl FnOnce() -> T) -> Option<T> {
        let mut flying = lock(&self.flying);
        if let Some(flight) = flying.get(&key).cloned() {
            drop(flying);
            let landed = lock(&flight.landed);
            let landed = flight.changed.wait_while(landed, |landed| landed.is_none());
            return landed.unwrap_or_else(PoisonError::into_inner).clone().flatten();
        }
        let flight = Arc::new(Flight { landed: Mutex::new(None), changed: Condvar::new() });
        flying.insert(key, flight.clone());
        drop(flying);
        let result = panic::catch_unwind(AssertUnwindSafe(ask)).ok();
        lock(&self.flying).remove(&key);
        *lock(&flight.landed) = Some(result.clone());
        flight.changed.notify_all();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};
    use std::thread;

    /// Answers at once, but for a call that waits for each of these.
    struct Moody(Arc<Mutex<Vec<Receiver<()>>>>);

    impl Tier for Moody {
        fn get(&self, _: &Key) -> Result<Option<Vec<u8>>, TierError> {
            let until = lock(&self.0).pop();
            until.map(|until| until.recv());
            Ok(None)
        }

        fn exists(&self, _: &Key) -> Result<bool, TierError> {
            Ok(false)
        }

        fn put(&self, _: &Key, _: &[u8]) -> Result<(), TierError> {
            Ok(())
        }

        fn remove(&self, _: &Key) -> Result<bool, TierError> {
            Ok(false)
        }

        fn usage(&self) -> Result<Usage, TierError> {
            Ok(Usage::default())
        }
    }

    #[test]
    fn one_call_waits_for_a_tier_that_has_fallen_silent_and_the_others_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let settings = TierSettings::parse("redis://h|timeout=200").unwrap();
        let silence = settings.timeout() / 2;
        let state = TierState::open(dir.path(), &settings, |_| true).unwrap();
        let waits = Arc::new(Mutex::default());
        let tier = Tiered::new(settings, state, Box::new(Moody(Arc::clone(&waits))));
        let get = || tier.call(Side::Reads, |client| client.get(&Key::of(b"a")));
        assert!(get().is_ok());
        let (one, until_one) = channel();
        let (two, until_two) = channel();
        lock(&waits).extend([until_two, until_one]);
        let is_under_way = |count| {
            while lock(&tier.health).under_way != count {
                thread::yield_now();
            }
        };
        thread::scope(|scope| {
            scope.spawn(get);
            is_under_way(1);
            thread::sleep(silence * 2);
            scope.spawn(get);
            is_under_way(2);
            while !lock(&waits).is_empty() {
                thread::yield_now();
            }
            assert!(matches!(get(), Err(Unanswered::Skipped)));
            one.send(()).unwrap();
            // It has spoken: it is well.
            is_under_way(1);
            assert!(get().is_ok());
            two.send(()).unwrap();
        });
        assert_eq!((tier.state.get(Count::Skipped), lock(&tier.health).under_way), (1, 0));
    }
}
