//! Which files the requests of a phase were for, so that a figure can be explained.
//!
//! `debugfs` reads the mounted file system: it names the inode of each request's first block, then
//! the path of each inode. What belongs to no file is the file system's own: bitmaps, inodes. This
//! walks all inodes, so it is done after the phase, and for recordings of a bounded length.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Command;

use super::disk::run;
use super::trace::{Kind, Request};

/// Longer recordings are scans, of which nobody asks what they read.
const REQUESTS_MAX: usize = 4000;
const SECTORS_OF_BLOCK: u64 = 8;
/// Words of one command: `debugfs` reads a line of 8 KiB.
const WORDS_MAX: usize = 400;

const OWN: &str = "(inodes and bitmaps)";
const JOURNAL: &str = "(journal)";
const JOURNAL_INODE: u64 = 8;

/// A table of reads and writes by file, those that are read most often first; `None` if there are
/// too many requests.
///
/// # Errors
/// If `debugfs` cannot be had.
pub fn table(device: &Path, requests: &[Request]) -> io::Result<Option<String>> {
    if requests.len() > REQUESTS_MAX {
        return Ok(None);
    }
    let block = |request: &Request| request.sector / SECTORS_OF_BLOCK;
    let blocks = requests.iter().filter(|request| request.bytes > 0).map(block);
    let inodes = pairs(device, "icheck", blocks.collect())?;
    let inodes: BTreeMap<u64, u64> = inodes
        .into_iter()
        .filter_map(|(block, inode)| Some((block, inode.parse().ok()?)))
        .collect();
    let paths = pairs(device, "ncheck", inodes.values().copied().collect())?;
    let name = |request: &Request| match inodes.get(&block(request)) {
        None => OWN.to_string(),
        Some(&JOURNAL_INODE) => JOURNAL.to_string(),
        Some(inode) => paths.get(inode).cloned().unwrap_or_else(|| format!("inode {inode}")),
    };
    let mut rows: BTreeMap<String, [u64; 4]> = BTreeMap::new();
    for request in requests.iter().filter(|request| request.bytes > 0) {
        let row = rows.entry(name(request)).or_default();
        let first = if request.kind == Kind::Read { 0 } else { 2 };
        row[first] += 1;
        row[first + 1] += request.bytes;
    }
    Ok(Some(render(rows)))
}

fn render(rows: BTreeMap<String, [u64; 4]>) -> String {
    let mut rows: Vec<(String, [u64; 4])> = rows.into_iter().collect();
    rows.sort_by_key(|(_, row)| std::cmp::Reverse(*row));
    let line = |(name, [reads, read_bytes, writes, written_bytes]): &(String, [u64; 4])| {
        format!("{reads}\t{read_bytes}\t{writes}\t{written_bytes}\t{name}\n")
    };
    let head = "reads\tbytes\twrites\tbytes\tfile\n".to_string();
    rows.iter().map(line).fold(head, |text, line| text + &line)
}

/// What a command of `debugfs` answers about numbers: a number and a word in each line.
fn pairs(device: &Path, command: &str, mut numbers: Vec<u64>) -> io::Result<BTreeMap<u64, String>> {
    numbers.sort_unstable();
    numbers.dedup();
    let mut found = BTreeMap::new();
    for part in numbers.chunks(WORDS_MAX) {
        let words: Vec<String> = part.iter().map(u64::to_string).collect();
        let request = format!("{command} {}", words.join(" "));
        let text = run(Command::new("debugfs").args(["-R", &request]).arg(device))?;
        found.extend(text.lines().filter_map(pair));
    }
    Ok(found)
}

fn pair(line: &str) -> Option<(u64, String)> {
    let (number, word) = line.split_once('\t')?;
    Some((number.trim().parse().ok()?, word.trim().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_numbers_are_read_and_others_are_not() {
        assert_eq!(pair("1027\t13"), Some((1027, "13".into())));
        assert_eq!(pair("13\t/store/index"), Some((13, "/store/index".into())));
        assert_eq!(pair("Block\tInode number"), None);
        assert_eq!(pair(""), None);
    }

    #[test]
    fn what_is_read_most_often_comes_first() {
        let rows = [("a".to_string(), [1, 4096, 9, 9]), ("b".to_string(), [2, 8192, 0, 0])];
        let text = render(rows.into());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1..], ["2\t8192\t0\t0\tb", "1\t4096\t9\t9\ta"]);
    }
}
