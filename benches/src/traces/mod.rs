//! Recorded builds, replayed on rules of eviction: what each would have answered, and written.
//!
//! 1. A trace ([`trace`]) is what builds asked for, in order: an object and its size each time.
//! 2. Each rule ([`rules`]) is a simulator that holds so many bytes of objects and no others. All
//!    get the same trace and the same bytes. A miss stores the object.
//! 3. The engine ([`engine`]) gets the same as real puts and gets in a real store, whose `max_size`
//!    is found by trial so that it holds the same bytes of objects as the simulators.
//! 4. The *hit ratio* is hits by look-ups. The *write amplification* is bytes written by bytes
//!    stored for the first time after a miss: what a rule copies when it keeps an object.
//! 5. Simulators whose figures are known from elsewhere are compared with these, see
//!    [`mod@reference`].

pub mod engine;
pub mod plot;
pub mod reference;
pub mod report;
pub mod rules;
pub mod settings;
pub mod trace;

use rules::Rule;
use trace::Trace;

/// What a rule made of a trace.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Outcome {
    /// Look-ups that were answered.
    pub hits: u64,
    /// All look-ups.
    pub lookups: u64,
    /// Bytes of objects stored after a miss.
    pub stored_bytes: u64,
    /// Bytes of objects written again to keep them.
    pub copied_bytes: u64,
}

impl Outcome {
    /// Answered look-ups in percent.
    pub fn hit_percent(&self) -> f64 {
        100.0 * self.hits as f64 / self.lookups.max(1) as f64
    }

    /// Bytes written by bytes stored.
    pub fn write_amplification(&self) -> f64 {
        (self.stored_bytes + self.copied_bytes) as f64 / self.stored_bytes.max(1) as f64
    }
}

/// Replays a trace on a simulator that holds `bytes`.
pub fn simulate(trace: &Trace, rule: &Rule, bytes: u64) -> Outcome {
    let mut simulator = rule.simulator(trace, bytes);
    let mut outcome = Outcome { hits: 0, lookups: 0, stored_bytes: 0, copied_bytes: 0 };
    for (at, object) in trace.lookups.iter().enumerate() {
        outcome.lookups += 1;
        let object_bytes = trace.bytes_of(*object);
        if simulator.hit(at, *object) {
            outcome.hits += 1;
        } else if object_bytes <= bytes {
            outcome.stored_bytes += object_bytes;
            simulator.store(at, *object, object_bytes);
        }
    }
    outcome.copied_bytes = simulator.copied_bytes();
    outcome
}
