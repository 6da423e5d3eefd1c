//! Figures of other simulators for one of the traces, to compare with: they were made before this
//! code, from the same rules. (There are some for `c-tool-160` too, but of another recording: it
//! had 43 MB, the file that is kept has 44.4.) What a rule copies was counted in another way for
//! S3-FIFO, so only hit ratios are compared.

use super::rules::{Rule, Segments};

/// A difference in percentage points from which on two simulators do not do the same.
pub const TOLERANCE_POINTS: f64 = 0.3;

const SERVER: &str = "c-server-500";

const fn segments(segments: u64, budget_percent: u64) -> Rule {
    Rule::Segments(Segments { segments, budget_percent, ..Segments::DESIGN })
}

/// Rule, trace, share of the footprint and hit ratio, both in percent.
pub const FIGURES: &[(Rule, &str, u64, f64)] = &[
    (Rule::Belady, SERVER, 5, 85.9),
    (Rule::Belady, SERVER, 10, 85.9),
    (Rule::Lru, SERVER, 5, 85.9),
    (Rule::Lru, SERVER, 10, 85.9),
    (Rule::Fifo, SERVER, 5, 84.4),
    (Rule::Fifo, SERVER, 10, 85.3),
    (Rule::Sieve, SERVER, 5, 23.2),
    (Rule::Sieve, SERVER, 10, 41.1),
    (Rule::S3Fifo, SERVER, 5, 81.7),
    (Rule::S3Fifo, SERVER, 10, 85.6),
    (segments(64, 25), SERVER, 5, 85.7),
    (segments(64, 25), SERVER, 10, 85.8),
    (segments(64, 50), SERVER, 5, 85.7),
    (segments(64, 50), SERVER, 10, 85.8),
    (segments(256, 50), SERVER, 5, 85.7),
    (segments(256, 50), SERVER, 10, 85.8),
];

/// What others found for a rule, a trace and a share.
pub fn figure(rule: &Rule, trace: &str, share: u64) -> Option<f64> {
    let is_it = |row: &&(Rule, &str, u64, f64)| row.0 == *rule && row.1 == trace && row.2 == share;
    FIGURES.iter().find(is_it).map(|row| row.3)
}
