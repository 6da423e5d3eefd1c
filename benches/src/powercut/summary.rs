//! The table of a run: for people, and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Figures of one file system, by name, and what was wrong.
#[derive(Clone, Debug, Default)]
pub struct Column {
    /// Of the file system.
    pub name: String,
    /// Sums.
    pub figures: BTreeMap<String, u64>,
    /// The first of them.
    pub failures: Vec<String>,
}

/// Failures that are listed; the others are only counted.
const FAILURES_MAX: usize = 100;
const FAILURES_AT_ONCE_MAX: usize = 5;

/// Rows in this order, others behind them by name.
const ROWS: [&str; 12] = [
    "images",
    "images at a flush",
    "images between flushes",
    "images cut again",
    "failed images",
    "failures",
    "keys with their newest state",
    "keys with an older state",
    "keys that were evicted",
    "writes recorded",
    "flushes recorded",
    "milliseconds",
];

impl Column {
    /// Nothing yet.
    pub fn new(name: &str) -> Column {
        Column { name: name.to_string(), ..Column::default() }
    }

    /// Adds to a figure.
    pub fn add(&mut self, name: &str, count: u64) {
        *self.figures.entry(name.to_string()).or_default() += count;
    }

    /// Raises a figure that is a maximum.
    pub fn raise(&mut self, name: &str, count: u64) {
        let figure = self.figures.entry(name.to_string()).or_default();
        *figure = count.max(*figure);
    }

    /// Something is wrong; of what one thing brings the first few are enough.
    pub fn fail(&mut self, texts: Vec<String>) {
        self.add("failures", texts.len() as u64);
        let room = FAILURES_MAX.saturating_sub(self.failures.len()).min(FAILURES_AT_ONCE_MAX);
        self.failures.extend(texts.into_iter().take(room));
    }

    /// A figure.
    pub fn figure(&self, name: &str) -> u64 {
        self.figures.get(name).copied().unwrap_or(0)
    }
}

/// The names of all figures, in the order of the rows.
fn rows(columns: &[Column]) -> Vec<&str> {
    let all = columns.iter().flat_map(|column| column.figures.keys());
    let mut others: Vec<&str> = all.map(String::as_str).filter(|n| !ROWS.contains(n)).collect();
    others.sort_unstable();
    others.dedup();
    ROWS.into_iter().chain(others).collect()
}

/// A table with a column for each file system, and the failures below it.
pub fn text(columns: &[Column]) -> String {
    let line = |first: &str, cell: &dyn Fn(&Column) -> String| {
        let cells: String = columns.iter().map(|c| format!(" {:>14} |", cell(c))).collect();
        format!("| {first:<40} |{cells}\n")
    };
    let mut text = line("", &|column| column.name.clone());
    let _ = writeln!(text, "|{}", "---|".repeat(columns.len() + 1));
    for row in rows(columns) {
        text.push_str(&line(row, &|column| column.figure(row).to_string()));
    }
    for column in columns {
        for failure in &column.failures {
            let _ = writeln!(text, "{}: {failure}", column.name);
        }
    }
    text
}

/// One object with an object for each file system.
pub fn json(columns: &[Column]) -> String {
    let string = |text: &str| {
        let escaped = text.chars().map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            c if c.is_control() => format!("\\u{:04x}", c as u32),
            c => c.to_string(),
        });
        format!("\"{}\"", escaped.collect::<String>())
    };
    let column = |column: &Column| {
        let row = |row: &&str| format!("{}:{}", string(row), column.figure(row));
        let figures: Vec<String> = rows(columns).iter().map(row).collect();
        let failures: Vec<String> = column.failures.iter().map(|text| string(text)).collect();
        let (figures, failures) = (figures.join(","), failures.join(","));
        format!("{}:{{{figures},\"what failed\":[{failures}]}}", string(&column.name))
    };
    let columns: Vec<String> = columns.iter().map(column).collect();
    format!("{{{}}}\n", columns.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_figure_and_failure() {
        let mut column = Column::new("ext4");
        column.add("images", 3);
        column.add("images", 4);
        column.raise("z at most", 9);
        column.raise("z at most", 8);
        column.fail(vec!["a \"key\"\nis lost".into()]);
        let columns = [column, Column::new("xfs")];
        let table = text(&columns);
        assert!(table.lines().any(|line| line.starts_with("| images ") && line.contains(" 7 |")));
        assert!(table.contains("ext4: a \"key\"") && table.contains("z at most"));
        let json = json(&columns);
        assert!(json.starts_with("{\"ext4\":{\"images\":7,") && json.contains("\"failures\":1"));
        assert!(json.contains("[\"a \\\"key\\\"\\u000ais lost\"]}") && json.contains("\"xfs\":{"));
    }
}
