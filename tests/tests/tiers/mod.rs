//! Remote tiers against real servers on this machine, and against servers that misbehave: each
//! client by itself, and machines that share them.

mod chain;
mod hostile;
mod http;
mod machine;
mod memcached;
mod redis;
mod redis_cluster;
mod s3;
pub mod script;
pub mod servers;
mod signing;
mod trouble;

use std::time::{Duration, Instant};

use larder::tier::{Tier, TierErrorKind, TierSettings};
use larder_engine::Key;

/// What no call may take, however busy the machine is: the time-outs of these tests are far below.
const PATIENCE: Duration = Duration::from_secs(20);

fn open(text: &str) -> Box<dyn Tier> {
    let settings = TierSettings::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    settings.open().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn key(number: u32) -> Key {
    Key::of(&number.to_le_bytes())
}

/// Bytes that no compression and no text layer leaves alone by chance.
fn body(bytes: usize) -> Vec<u8> {
    (0..bytes as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Puts, gets, asks and removes.
fn check_all_calls(tier: &dyn Tier) {
    check_calls(tier);
    assert_eq!(tier.remove(&key(1)), Ok(false));
}

/// The same, where the server does not tell that there was nothing to remove.
fn check_calls(tier: &dyn Tier) {
    assert_eq!(tier.get(&key(1)), Ok(None));
    assert_eq!(tier.exists(&key(1)), Ok(false));
    for bytes in [0, 1, 16_384, 1_000_003] {
        let body = body(bytes);
        tier.put(&key(1), &body).unwrap();
        assert_eq!(tier.exists(&key(1)), Ok(true));
        assert!(tier.get(&key(1)).unwrap().unwrap() == body, "{bytes} bytes are others");
        assert_eq!(tier.get(&key(2)), Ok(None), "another key has none");
    }
    assert_eq!(tier.remove(&key(1)), Ok(true));
    assert_eq!(tier.get(&key(1)), Ok(None));
}

/// Runs a call that must fail, in time, and says how.
fn failure<T: std::fmt::Debug>(
    call: impl FnOnce() -> Result<T, larder::tier::TierError>,
) -> TierErrorKind {
    let begin = Instant::now();
    let error = call().expect_err("the call fails");
    assert!(begin.elapsed() < PATIENCE, "{error}: after {:?}", begin.elapsed());
    for secret in ["hunter2", "open sesame"] {
        assert!(!error.to_string().contains(secret), "{error}");
        assert!(!format!("{error:?}").contains(secret), "{error:?}");
    }
    error.kind()
}
