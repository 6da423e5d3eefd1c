//! What the command line says.

use std::path::PathBuf;

use super::catalogue::PROJECTS;

/// What `--help` prints.
pub const USAGE: &str = "\
cargo xtask projects [OPTION...]

  --sources DIR     unpacked sources, one folder each (target/projects/sources); what is missing
                    there is downloaded with apt-get as Debian's source package
  --only LIST       of redis, fmtlib, leveldb, xz, pixman, zlib (all)
  --larder PROGRAM  the wrapper (target/release/larder)
  --against PROGRAM another cache that may be called by a compiler's name, as ccache may
  --runs N          builds of each kind whose times are taken (1)
  --directory DIR   where trees and stores stand
  --json            print one JSON object for each project
";

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Where the sources stand.
    pub sources: Option<PathBuf>,
    /// Names of projects.
    pub only: Vec<String>,
    /// The wrapper.
    pub larder: PathBuf,
    /// Another cache.
    pub against: Option<PathBuf>,
    /// Timed builds of each kind.
    pub runs: usize,
    /// Where trees and stores stand.
    pub directory: PathBuf,
    /// Whether the answer is JSON.
    pub json: bool,
}

impl Settings {
    /// Understands a command line.
    ///
    /// # Errors
    /// A sentence about the word that is not understood.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Settings, String> {
        let mut settings = Settings {
            sources: None,
            only: Vec::new(),
            larder: "target/release/larder".into(),
            against: None,
            runs: 1,
            directory: std::env::temp_dir(),
            json: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--sources" => settings.sources = Some(value()?.into()),
                "--only" => settings.only = value()?.split(',').map(str::to_owned).collect(),
                "--larder" => settings.larder = value()?.into(),
                "--against" => settings.against = Some(value()?.into()),
                "--runs" => {
                    let text = value()?;
                    let number = text.parse().ok().filter(|runs| *runs > 0);
                    settings.runs = number.ok_or(format!("--runs: {text} is no number of runs"))?;
                }
                "--directory" => settings.directory = value()?.into(),
                "--json" => settings.json = true,
                other => return Err(format!("projects does not know `{other}`")),
            }
        }
        let is_unknown = |name: &&String| !PROJECTS.iter().any(|project| project.name == **name);
        match settings.only.iter().find(is_unknown) {
            Some(name) => Err(format!("there is no project {name}")),
            None => Ok(settings),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_or_refused() {
        let parse = |line: &str| Settings::parse(line.split(' ').map(str::to_owned));
        let settings = parse("--only redis,xz --runs 3 --json").unwrap();
        assert_eq!((settings.only.len(), settings.runs, settings.json), (2, 3, true));
        for wrong in ["--only linux", "--runs 0", "--runs", "--fast"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
