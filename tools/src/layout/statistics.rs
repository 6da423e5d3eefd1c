//! Statistics of a cache of ccache, as far as they say how large it is.
//!
//! ```text
//! stats = ( decimal "\n" )*     a counter each, by its number
//! 11    = files of the directory     12      = their KiB on the disk
//! 49-64 = files below each digit     65-80   = and their KiB: since 4.8
//! ```
//!
//! The file stands in each of the sixteen directories at the top. A ccache that knows fewer
//! counters keeps the others as they are.

const FILES: usize = 11;
const KIBIBYTES: usize = 12;
const FILES_BELOW: usize = 49;
const KIBIBYTES_BELOW: usize = 65;
const COUNTERS: usize = 81;

/// The size of one of the sixteen directories.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Files and bytes, by the second digit.
    below: [(u64, u64); 16],
}

impl Counters {
    /// Adds a file that stands below a digit, with its bytes on the disk.
    pub fn add(&mut self, digit: usize, bytes: u64) {
        if let Some((files, sum)) = self.below.get_mut(digit) {
            *files += 1;
            *sum += bytes;
        }
    }

    /// The file.
    pub fn text(&self) -> String {
        let mut numbers = [0; COUNTERS];
        for (digit, (files, bytes)) in self.below.into_iter().enumerate() {
            numbers[FILES_BELOW + digit] = files;
            numbers[KIBIBYTES_BELOW + digit] = bytes / 1024;
            numbers[FILES] += files;
            numbers[KIBIBYTES] += bytes / 1024;
        }
        numbers.iter().map(|number| format!("{number}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_in_all_and_by_their_digit() {
        let mut counters = Counters::default();
        counters.add(0, 4096);
        counters.add(15, 8192);
        counters.add(15, 4096);
        counters.add(16, 1 << 20);
        let text = counters.text();
        let numbers: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!((numbers[11], numbers[12]), (3, 16));
        assert_eq!((numbers[49], numbers[64]), (1, 2));
        assert_eq!((numbers[65], numbers[80]), (4, 12));
        assert_eq!((numbers.len(), numbers.iter().sum::<u64>()), (81, 19 + 3 + 16));
    }
}
