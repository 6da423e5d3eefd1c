//! How long things took: counts in buckets of at most 6 % width, which add up across processes.

use std::time::Duration;

/// Buckets of one power of two.
const STEPS: u64 = 16;

/// Enough for an hour in microseconds.
const BUCKETS: usize = 33 * STEPS as usize;

/// Durations, counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Latencies {
    counts: Vec<u64>,
    longest_us: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies { counts: vec![0; BUCKETS], longest_us: 0 }
    }
}

fn bucket(microseconds: u64) -> usize {
    if microseconds < STEPS {
        return microseconds as usize;
    }
    let shift = microseconds.ilog2() - STEPS.ilog2();
    let bucket = u64::from(shift + 1) * STEPS + (microseconds >> shift) - STEPS;
    (bucket as usize).min(BUCKETS - 1)
}

/// The longest duration of a bucket in microseconds.
fn bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    ((bucket % STEPS + STEPS + 1) << shift) - 1
}

impl Latencies {
    /// Counts one.
    pub fn note(&mut self, duration: Duration) {
        let microseconds = duration.as_micros() as u64;
        self.counts[bucket(microseconds)] += 1;
        self.longest_us = self.longest_us.max(microseconds);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The longest in milliseconds.
    pub fn longest_ms(&self) -> f64 {
        self.longest_us as f64 / 1e3
    }

    /// So many of a thousand took no longer than this, in milliseconds.
    pub fn permille_ms(&self, permille: u64) -> f64 {
        let wanted = (self.count() * permille).div_ceil(1000);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return bound(bucket).min(self.longest_us) as f64 / 1e3;
            }
        }
        self.longest_ms()
    }

    /// Adds those of another process.
    pub fn add(&mut self, other: &Latencies) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.longest_us = self.longest_us.max(other.longest_us);
    }

    /// As a line, for [`Latencies::parse`].
    pub fn line(&self) -> String {
        let taken = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let words: Vec<String> = taken.map(|(bucket, count)| format!("{bucket}:{count}")).collect();
        format!("{} {}", self.longest_us, words.join(" "))
    }

    /// The inverse of [`Latencies::line`].
    pub fn parse(line: &str) -> Option<Latencies> {
        let mut words = line.split_whitespace();
        let longest_us = words.next()?.parse().ok()?;
        let mut read = Latencies { longest_us, ..Latencies::default() };
        for word in words {
            let (bucket, count) = word.split_once(':')?;
            *read.counts.get_mut(bucket.parse::<usize>().ok()?)? = count.parse().ok()?;
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_bounds_what_is_in_it_closely() {
        for microseconds in (0..5_000).chain((5..32).map(|power| (1 << power) + 1)) {
            let bound = bound(bucket(microseconds));
            assert!(bound >= microseconds && bound <= microseconds + microseconds / 16 + 1);
        }
    }

    #[test]
    fn permilles_are_those_of_the_sorted_list_and_survive_a_line() {
        let mut all = Latencies::default();
        let mut parts = [Latencies::default(), Latencies::default()];
        for number in 1..=1000u64 {
            all.note(Duration::from_micros(number));
            parts[number as usize % 2].note(Duration::from_micros(number));
        }
        let mut sum = Latencies::parse(&parts[0].line()).unwrap();
        sum.add(&Latencies::parse(&parts[1].line()).unwrap());
        assert_eq!(sum, all);
        let near = |ms: f64, us: f64| (ms * 1e3 - us).abs() <= us / 16.0 + 1.0;
        assert!(near(all.permille_ms(500), 500.0) && near(all.permille_ms(990), 990.0));
        assert_eq!((all.longest_ms(), all.permille_ms(1000)), (1.0, 1.0));
        assert_eq!(Latencies::parse("5 9:x"), None);
    }
}
