//! What the command line says.

use std::path::PathBuf;

/// What `--help` prints.
pub const USAGE: &str = "\
cargo xtask convert [OPTION...]

  --entries N        entries of the ccache directory (100,000)
  --runs N           runs of each, with everything in memory (3)
  --cold             what a spinning disk is asked for, too; needs the rights of root
  --carry            what it takes to save and restore a cache, instead
  --larder PROGRAM   with larder-tools beside it (target/release/larder)
  --directory DIR    where caches and what is made of them stand
";

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Entries of the cache.
    pub entries: u64,
    /// Runs of each kind.
    pub runs: usize,
    /// Whether the disk is modelled.
    pub cold: bool,
    /// Whether caches are saved and restored, and not converted.
    pub carry: bool,
    /// The program.
    pub larder: PathBuf,
    /// Where everything stands.
    pub directory: PathBuf,
}

impl Settings {
    /// Reads a command line.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Settings, String> {
        let mut settings = Settings {
            entries: 100_000,
            runs: 3,
            cold: false,
            carry: false,
            larder: "target/release/larder".into(),
            directory: std::env::temp_dir(),
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--cold" => settings.cold = true,
                "--carry" => settings.carry = true,
                _ => {}
            }
            if matches!(word.as_str(), "--cold" | "--carry") {
                continue;
            }
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            let number = || {
                let number = value.parse().ok().filter(|number: &u64| *number > 0);
                number.ok_or(format!("{word}: {value} is no number"))
            };
            match word.as_str() {
                "--entries" => settings.entries = number()?,
                "--runs" => settings.runs = number()? as usize,
                "--larder" => settings.larder = value.into(),
                "--directory" => settings.directory = value.into(),
                other => return Err(format!("convert does not know `{other}`")),
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_understood_or_named() {
        let parse = |line: &str| Settings::parse(line.split_whitespace().map(str::to_owned));
        let settings = parse("--cold --entries 200").unwrap();
        assert_eq!((settings.cold, settings.carry, settings.entries), (true, false, 200));
        assert!(parse("--carry").unwrap().carry);
        for (line, word) in [("--runs", "--runs"), ("--runs x", "x"), ("--colour 1", "--colour")] {
            assert!(parse(line).unwrap_err().contains(word), "{line}");
        }
    }
}
