//! What a storm is made of: the command line.

use std::path::PathBuf;

use larder_engine::Options;

/// How to call it.
pub const USAGE: &str = "\
storm [OPTION...]

  --writers N       processes that put (64)
  --readers N       processes that get and check (64)
  --janitors N      processes that run full upkeep (1)
  --seconds S       how long (60)
  --seed N          of keys, sizes and signals (1)
  --max-size BYTES  of the store; small enough, and it evicts during the storm (64 GiB)
  --segment BYTES   size of a segment (8 MiB; with --max-size a 256th of that, at least 4 MiB)
  --namespaces      three of four processes in PID and mount namespaces of their own, one of four
                    with the store at another path; needs root
  --directory DIR   make the store below DIR and leave it there after a failure
  --calm            no signals, to see what the load alone does
  --break WHAT      damage the store before the last check (lose, flip, grow), to see it fail
  --json            print the summary as one JSON object
";

/// The settings of one storm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Processes that put.
    pub writers: u32,
    /// Processes that get.
    pub readers: u32,
    /// Processes that maintain.
    pub janitors: u32,
    /// How long.
    pub seconds: u64,
    /// Of everything random.
    pub seed: u64,
    /// Of the store, if it is to evict.
    pub max_size_bytes: Option<u64>,
    /// Of a segment.
    pub segment_bytes: Option<u64>,
    /// Whether processes get namespaces of their own.
    pub namespaces: bool,
    /// Whether nobody is killed or stopped before the end.
    pub calm: bool,
    /// Where the store is made.
    pub directory: Option<PathBuf>,
    /// What is damaged before the last check.
    pub broken: Option<Broken>,
    /// Whether the summary is JSON.
    pub json: bool,
}

/// Damage that the last check must find.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// A segment is deleted.
    Lose,
    /// A byte in the middle of each segment is changed.
    Flip,
    /// A file grows.
    Grow,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            writers: 64,
            readers: 64,
            janitors: 1,
            seconds: 60,
            seed: 1,
            max_size_bytes: None,
            segment_bytes: None,
            namespaces: false,
            calm: false,
            directory: None,
            broken: None,
            json: false,
        }
    }
}

impl Settings {
    /// From the words of a command line.
    ///
    /// # Errors
    /// A sentence about the word that was not understood.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Settings, String> {
        let mut settings = Settings::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--namespaces" => settings.namespaces = true,
                "--calm" => settings.calm = true,
                "--json" => settings.json = true,
                _ => {
                    let value = words.next().ok_or_else(|| format!("{word}?\n\n{USAGE}"))?;
                    settings.set(&word, &value)?;
                }
            }
        }
        if settings.writers == 0 || settings.seconds == 0 {
            return Err("a storm needs a writer and a second".into());
        }
        Ok(settings)
    }

    fn set(&mut self, word: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<u64>().map_err(|_| format!("{word} takes a number"));
        let count = || u32::try_from(number()?).map_err(|_| format!("{word} is too large"));
        match word {
            "--writers" => self.writers = count()?,
            "--readers" => self.readers = count()?,
            "--janitors" => self.janitors = count()?,
            "--seconds" => self.seconds = number()?,
            "--seed" => self.seed = number()?,
            "--max-size" => self.max_size_bytes = Some(number()?),
            "--segment" => self.segment_bytes = Some(number()?),
            "--directory" => self.directory = Some(value.into()),
            "--break" => {
                self.broken = Some(match value {
                    "lose" => Broken::Lose,
                    "flip" => Broken::Flip,
                    "grow" => Broken::Grow,
                    _ => return Err(format!("--break knows no `{value}`")),
                });
            }
            _ => return Err(format!("there is no option `{word}`\n\n{USAGE}")),
        }
        Ok(())
    }

    /// How the store is opened.
    pub fn options(&self) -> Options {
        match (self.max_size_bytes, self.segment_bytes) {
            (Some(max), None) => Options::new().max_size_bytes(max),
            (max, segment) => Options::new()
                .max_size_bytes(max.unwrap_or(64 << 30))
                .segment_bytes(segment.unwrap_or(8 << 20)),
        }
    }

    /// Whether records may go during the storm.
    pub fn evicts(&self) -> bool {
        self.max_size_bytes.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Settings, String> {
        Settings::parse(line.split_whitespace().map(str::to_string))
    }

    #[test]
    fn options_are_understood_and_others_refused() {
        let settings = parse("--writers 3 --max-size 67108864 --namespaces --break flip").unwrap();
        assert_eq!((settings.writers, settings.max_size_bytes), (3, Some(64 << 20)));
        assert!(settings.namespaces && settings.evicts());
        assert_eq!(settings.broken, Some(Broken::Flip));
        assert!(parse("--writers").is_err());
        assert!(parse("--writers many").is_err());
        assert!(parse("--wind 3").is_err());
        assert!(parse("--seconds 0").is_err());
    }
}
