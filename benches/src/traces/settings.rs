//! What is replayed: the command line.

use std::path::PathBuf;

/// How to call it.
pub const USAGE: &str = "\
traces [OPTION...]

  --trace FILE      a trace, `build,unit,key,bytes` per row, perhaps packed with gzip; may be given
                    several times (each *.csv and *.csv.gz in the directory of LARDER_TRACES)
  --sizes LIST      what is held, as shares of the bytes of all objects, in percent (5,10,20,50)
  --no-engine       simulators only
  --variants        also other settings of the engine's rule: budgets, what is old, segments, when
                    eviction begins and ends
  --directory DIR   make the stores below DIR (/dev/shm, else the directory of temporary files)
  --results PATH    write PATH.md and PATH.svg
  --json            print one JSON object
";

/// The settings of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Traces.
    pub traces: Vec<PathBuf>,
    /// Shares of the footprint in percent.
    pub shares: Vec<u64>,
    /// Whether the engine takes part.
    pub engine: bool,
    /// Whether other settings of its rule do.
    pub variants: bool,
    /// Where stores are made.
    pub directory: PathBuf,
    /// Where results are written, without an ending.
    pub results: Option<PathBuf>,
    /// Whether JSON is printed.
    pub json: bool,
}

impl Settings {
    /// From the words of a command line, and the traces to take if none is named.
    ///
    /// # Errors
    /// A sentence about the word that was not understood.
    pub fn parse(
        mut words: impl Iterator<Item = String>,
        known: Vec<PathBuf>,
    ) -> Result<Settings, String> {
        let memory = PathBuf::from("/dev/shm");
        let directory = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let mut settings = Settings {
            traces: Vec::new(),
            shares: vec![5, 10, 20, 50],
            engine: true,
            variants: false,
            directory,
            results: None,
            json: false,
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--no-engine" => settings.engine = false,
                "--variants" => settings.variants = true,
                "--json" => settings.json = true,
                _ => {
                    let value = words.next().ok_or_else(|| format!("{word}?\n\n{USAGE}"))?;
                    settings.set(&word, &value)?;
                }
            }
        }
        if settings.traces.is_empty() {
            settings.traces = known;
        }
        if settings.traces.is_empty() {
            return Err(format!("there is no trace\n\n{USAGE}"));
        }
        Ok(settings)
    }

    fn set(&mut self, word: &str, value: &str) -> Result<(), String> {
        match word {
            "--trace" => self.traces.push(value.into()),
            "--directory" => self.directory = value.into(),
            "--results" => self.results = Some(value.into()),
            "--sizes" => {
                let share = |text: &str| text.trim().parse().ok().filter(|s| (1..=100).contains(s));
                let shares: Option<Vec<u64>> = value.split(',').map(share).collect();
                self.shares = shares.ok_or("--sizes takes percents: 5,10,20,50")?;
            }
            _ => return Err(format!("there is no option `{word}`\n\n{USAGE}")),
        }
        Ok(())
    }
}

/// The traces in the directory that `LARDER_TRACES` names.
pub fn known_traces() -> Vec<PathBuf> {
    let Some(directory) = std::env::var_os("LARDER_TRACES") else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let is_trace = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.ends_with(".csv") || name.ends_with(".csv.gz")
    };
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_trace).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Settings, String> {
        Settings::parse(line.split_whitespace().map(str::to_string), Vec::new())
    }

    #[test]
    fn options_are_understood_and_others_refused() {
        let settings = parse("--trace a.csv --trace b.csv.gz --sizes 5,50 --no-engine").unwrap();
        assert_eq!(settings.traces, [PathBuf::from("a.csv"), "b.csv.gz".into()]);
        assert_eq!((settings.shares, settings.engine), (vec![5, 50], false));
        for wrong in ["", "--trace", "--trace a --sizes 0", "--trace a --sizes 5,x", "--wind 3"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
