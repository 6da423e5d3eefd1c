//! What the command line says.

use std::path::PathBuf;

/// What `--help` prints.
pub const USAGE: &str = "\
cargo xtask tiers [OPTION...]

  --sources DIR      a directory of C files (those of zstd that Cargo has fetched)
  --copies N         how often each is compiled, with another macro (2)
  --jobs N           compiles at a time (2)
  --runs N           builds of each kind (5)
  --ccache PROGRAM   (ccache; left out if it is missing)
  --sccache PROGRAM  one that was built with redis, memcached, webdav, s3 (left out)
  --s3 PROGRAM       s3s-fs, a server of S3 (left out)
  --larder PROGRAM   the wrapper, with larder-agent beside it (target/release/larder)
  --directory DIR    where stores, objects and servers stand
";

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// A directory of C files.
    pub sources: Option<PathBuf>,
    /// How often each is compiled.
    pub copies: usize,
    /// Compiles at a time.
    pub jobs: usize,
    /// Builds of each kind.
    pub runs: usize,
    /// ccache, if there is one.
    pub ccache: PathBuf,
    /// sccache, if it is to take part.
    pub sccache: Option<PathBuf>,
    /// A server of S3, if it is to take part.
    pub s3: Option<PathBuf>,
    /// The wrapper.
    pub larder: PathBuf,
    /// Where everything stands.
    pub directory: PathBuf,
}

impl Settings {
    /// Understands a command line.
    ///
    /// # Errors
    /// A sentence about the word that is not understood.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Settings, String> {
        let mut settings = Settings {
            sources: None,
            copies: 2,
            jobs: 2,
            runs: 5,
            ccache: "ccache".into(),
            sccache: None,
            s3: None,
            larder: "target/release/larder".into(),
            directory: std::env::temp_dir(),
        };
        while let Some(word) = words.next() {
            let value = words.next().ok_or(format!("{word} needs a value"))?;
            let number = || {
                let number = value.parse().ok().filter(|number: &usize| *number > 0);
                number.ok_or(format!("{word}: {value} is no number"))
            };
            match word.as_str() {
                "--sources" => settings.sources = Some(value.into()),
                "--copies" => settings.copies = number()?,
                "--jobs" => settings.jobs = number()?,
                "--runs" => settings.runs = number()?,
                "--ccache" => settings.ccache = value.into(),
                "--s3" => settings.s3 = Some(value.into()),
                "--sccache" => settings.sccache = Some(value.into()),
                "--larder" => settings.larder = value.into(),
                "--directory" => settings.directory = value.into(),
                other => return Err(format!("tiers does not know `{other}`")),
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Settings, String> {
        Settings::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_understood_or_named() {
        let settings = parse("--runs 2 --sccache /s --copies 3 --jobs 1").unwrap();
        assert_eq!((settings.runs, settings.copies, settings.jobs), (2, 3, 1));
        assert_eq!(settings.sccache, Some("/s".into()));
        for (line, word) in [("--runs", "--runs"), ("--runs x", "x"), ("--colour 1", "--colour")] {
            assert!(parse(line).unwrap_err().contains(word), "{line}");
        }
    }
}
