//! `larder du`: what the room of a store, or of a cache of any other layout, is used for: by kind,
//! by age and by namespace.
//!
//! Bytes are those of the entries as they are stored. A store on the disk is larger: by its index,
//! by what is superseded and not yet evicted, by what is reserved.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use larder::cli::command::{Failure, print};
use larder::cli::flags::Given;
use larder::cli::json::Object;
use larder::stats::size;

use super::ls::{Line, each};
use super::shown::printable;
use crate::place::open::Layout;

/// The ages that people speak of: up to so many seconds, and what that is called.
const AGES: [(u64, &str); 7] = [
    (3_600, "an hour"),
    (86_400, "a day"),
    (7 * 86_400, "a week"),
    (30 * 86_400, "30 days"),
    (90 * 86_400, "90 days"),
    (365 * 86_400, "a year"),
    (u64::MAX, "older"),
];
/// Cells of the longest bar.
const CELLS: u64 = 40;

#[derive(Clone, Copy, Default)]
struct Sum {
    entries: u64,
    bytes: u64,
}

#[derive(Default)]
struct Sums {
    whole: Sum,
    kinds: BTreeMap<String, Sum>,
    ages: [Sum; AGES.len()],
    namespaces: BTreeMap<String, Sum>,
    without_time: Sum,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes += bytes;
    }
}

impl Sums {
    fn add(&mut self, line: Line, now_secs: i64) {
        let bytes = line.bytes.unwrap_or_default();
        self.whole.add(bytes);
        self.kinds.entry(line.kind).or_default().add(bytes);
        self.namespaces.entry(line.namespace).or_default().add(bytes);
        match line.time {
            // What comes from the future is new.
            Some(time) => {
                let age = now_secs.saturating_sub(time.secs).max(0).cast_unsigned();
                let at = AGES.iter().position(|(secs, _)| age <= *secs).unwrap_or(AGES.len() - 1);
                self.ages[at].add(bytes);
            }
            None => self.without_time.add(bytes),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} entries, {}\n", self.whole.entries, size(self.whole.bytes));
        let kinds = self.kinds.iter().map(|(kind, sum)| (kind.clone(), *sum));
        table(&mut text, "by kind", kinds.collect());
        let ages = AGES.iter().zip(self.ages).map(|((_, name), sum)| {
            let name = if *name == "older" { (*name).to_owned() } else { format!("up to {name}") };
            (name, sum)
        });
        let unknown = ("unknown".to_owned(), self.without_time);
        let ages = ages.chain((self.without_time.entries > 0).then_some(unknown));
        table(&mut text, "by age", ages.collect());
        if self.namespaces.keys().any(|name| !name.is_empty()) {
            let name = |name: &String| {
                if name.is_empty() { "(none)".to_owned() } else { printable(name) }
            };
            let namespaces = self.namespaces.iter().map(|(key, sum)| (name(key), *sum));
            table(&mut text, "by namespace", namespaces.collect());
        }
        text
    }

    fn page(&self) -> String {
        let object = |name: &str, sum: Sum| {
            Object::new()
                .text("name", name)
                .number("entries", sum.entries)
                .number("bytes", sum.bytes)
        };
        let ages = AGES.iter().zip(self.ages).map(|((secs, name), sum)| {
            let limit = (*secs != u64::MAX).then_some(*secs);
            object(name, sum).maybe_number("up_to_secs", limit)
        });
        Object::new()
            .number("entries", self.whole.entries)
            .number("bytes", self.whole.bytes)
            .list("kinds", self.kinds.iter().map(|(name, sum)| object(name, *sum)))
            .list("ages", ages)
            .list("namespaces", self.namespaces.iter().map(|(name, sum)| object(name, *sum)))
            .number("without_time", self.without_time.entries)
            .page()
    }
}

/// Rows with bars, each as long as its share of the largest.
fn table(text: &mut String, heading: &str, rows: Vec<(String, Sum)>) {
    let largest = rows.iter().map(|(_, sum)| sum.bytes).max().unwrap_or(0);
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    text.push_str(&format!("\n{heading}\n"));
    for (name, sum) in rows {
        let cells = (sum.bytes * CELLS).checked_div(largest).unwrap_or(0);
        // What there is, is seen.
        let cells = if sum.bytes > 0 { cells.max(1) } else { 0 };
        let bar = "#".repeat(cells as usize);
        let line = format!("  {name:width$}  {:>9}  {:>10}  {bar}", sum.entries, size(sum.bytes));
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// The command.
pub fn run(given: &Given) -> Result<(), Failure> {
    let place = given.operand(0).map(|word| word.to_string_lossy().into_owned());
    let layout = given.text("from").and_then(Layout::of_name);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_secs = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let mut sums = Sums::default();
    each(place.as_deref(), layout, |line| {
        sums.add(line, now_secs);
        Ok(())
    })?;
    print(&if given.has("json") { sums.page() } else { sums.text() })
}
