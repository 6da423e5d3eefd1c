//! The orders in which a build asks for what an earlier build stored in its own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use larder_engine::checksum::xxh3_64;

/// Compilers at once, of [`of_eight`].
const JOBS: usize = 8;

/// The order in which eight compilers at once end, if they begin in order and the slowest unit
/// takes nine times as long as the quickest. A build with `make -j8` asks its cache in the order in
/// which compiles begin and puts in the order in which they end; what matters is the difference.
pub fn of_eight(units: u64, seed: u64) -> Vec<u64> {
    let mut running = BinaryHeap::new();
    let mut ended = Vec::new();
    let mut now = 0;
    for unit in 0..units {
        if running.len() == JOBS
            && let Some(Reverse((time, unit))) = running.pop()
        {
            now = time;
            ended.push(unit);
        }
        running.push(Reverse((now + 100 + xxh3_64(&unit.to_le_bytes(), seed) % 800, unit)));
    }
    while let Some(Reverse((_, unit))) = running.pop() {
        ended.push(unit);
    }
    ended
}

/// In no order.
pub fn shuffled(units: u64, seed: u64) -> Vec<u64> {
    let mut order: Vec<u64> = (0..units).collect();
    order.sort_by_key(|unit| xxh3_64(&unit.to_le_bytes(), seed));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_asked_for_once_and_those_at_once_stay_near() {
        let all: Vec<u64> = (0..98).collect();
        for order in [of_eight(98, 1), shuffled(98, 1)] {
            assert_ne!(order, all);
            let mut sorted = order;
            sorted.sort_unstable();
            assert_eq!(sorted, all);
        }
        let far = |order: Vec<u64>| {
            order.iter().enumerate().map(|(place, unit)| unit.abs_diff(place as u64)).max()
        };
        assert!(far(of_eight(98, 1)) < Some(64) && far(shuffled(98, 1)) >= Some(64));
    }
}
