//! Traces of builds: `build,unit,key,bytes`, one row for each look-up, in order.
//!
//! `key` says which object was asked for and `bytes` how large it is. What builds and units are
//! called does not matter to a replay. Files that end with `.gz` are unpacked.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

/// A longer line is no row of a trace.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Block size of most file systems.
const FILE_BLOCK_BYTES: u64 = 4096;

/// A trace in memory.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// What it is called: the file's name.
    pub name: String,
    /// The object of each look-up, numbered in the order of their first mention.
    pub lookups: Vec<u32>,
    /// Size of each object; that of its first mention counts.
    bytes: Vec<u64>,
    /// Names of builds that differ from that of the row before.
    pub builds: u64,
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    /// If the file cannot be read, or a row is none.
    pub fn read(path: &Path) -> Result<Trace, Box<dyn Error>> {
        let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_packed = name.ends_with(".gz");
        let name = name.trim_end_matches(".gz").trim_end_matches(".csv").to_owned();
        let text: Box<dyn Read> =
            if is_packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        Trace::parse(name, text).map_err(|error| format!("{}: {error}", path.display()).into())
    }

    /// The same with the sizes that files of the objects have on disk, in blocks of 4 KiB: what a
    /// cache of one file for each object holds if its `du` is bounded.
    pub fn in_blocks(&self) -> Trace {
        let bytes = self.bytes.iter().map(|bytes| bytes.next_multiple_of(FILE_BLOCK_BYTES));
        Trace { bytes: bytes.collect(), ..self.clone() }
    }

    /// From rows.
    ///
    /// # Errors
    /// If one cannot be read or is none.
    pub fn parse(name: String, rows: impl Read) -> Result<Trace, Box<dyn Error>> {
        let mut trace = Trace { name, ..Trace::default() };
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut reader = BufReader::new(rows);
        let (mut line, mut build) = (String::new(), None);
        for number in 1.. {
            line.clear();
            if reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)? == 0 {
                break;
            }
            let row = row(line.trim_end()).ok_or_else(|| {
                format!("line {number} is no `build,unit,key,bytes`: {:?}", line.trim_end())
            })?;
            let next = trace.bytes.len() as u32;
            let object = *numbers.entry(row.key.to_owned()).or_insert(next);
            if object == next {
                trace.bytes.push(row.bytes);
            }
            trace.lookups.push(object);
            if build.as_deref() != Some(row.build) {
                build = Some(row.build.to_owned());
                trace.builds += 1;
            }
        }
        if trace.lookups.is_empty() {
            return Err("there is no row".into());
        }
        Ok(trace)
    }

    /// Size of an object.
    pub fn bytes_of(&self, object: u32) -> u64 {
        self.bytes[object as usize]
    }

    /// How many different objects there are.
    pub fn objects(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of all of them.
    pub fn footprint_bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }

    /// When each look-up's object is asked for next; `usize::MAX` for never.
    pub fn next_uses(&self) -> Vec<usize> {
        let mut next = vec![usize::MAX; self.objects()];
        let mut uses = vec![usize::MAX; self.lookups.len()];
        for (at, object) in self.lookups.iter().enumerate().rev() {
            uses[at] = std::mem::replace(&mut next[*object as usize], at);
        }
        uses
    }
}

/// A row of a trace.
struct Row<'a> {
    build: &'a str,
    key: &'a str,
    bytes: u64,
}

/// A unit may have commas in its name.
fn row(line: &str) -> Option<Row<'_>> {
    let (build, rest) = line.split_once(',')?;
    let (rest, bytes) = rest.rsplit_once(',')?;
    let (_, key) = rest.rsplit_once(',')?;
    Some(Row { build, key, bytes: bytes.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Trace, Box<dyn Error>> {
        Trace::parse("t".into(), text.as_bytes())
    }

    #[test]
    fn objects_are_numbered_and_builds_counted() {
        let trace = parse("0,a.c,k1,10\n0,b,2.c,k2,20\n1,a.c,k1,11\n").unwrap();
        assert_eq!(trace.lookups, [0, 1, 0]);
        assert_eq!((trace.bytes_of(0), trace.bytes_of(1)), (10, 20));
        assert_eq!((trace.builds, trace.footprint_bytes()), (2, 30));
        assert_eq!(trace.next_uses(), [2, usize::MAX, usize::MAX]);
    }

    #[test]
    fn files_take_whole_blocks() {
        let trace = parse("0,a.c,k1,1\n0,b.c,k2,4096\n0,c.c,k3,4097\n").unwrap().in_blocks();
        assert_eq!([0, 1, 2].map(|object| trace.bytes_of(object)), [4096, 4096, 8192]);
        assert_eq!(trace.lookups, [0, 1, 2]);
    }

    #[test]
    fn what_is_no_row_is_refused_with_its_line() {
        let error = parse("0,a.c,k1,10\nwrong\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(parse("").is_err());
        assert!(parse("0,a.c,k1,-1\n").is_err());
    }

    #[test]
    fn packed_traces_are_unpacked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.csv.gz");
        let file = File::create(&path).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, b"0,a,k,7\n").unwrap();
        encoder.finish().unwrap();
        let trace = Trace::read(&path).unwrap();
        assert_eq!((trace.name.as_str(), trace.footprint_bytes()), ("t", 7));
    }
}
