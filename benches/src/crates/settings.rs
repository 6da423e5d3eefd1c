//! What the command line says.

use std::path::PathBuf;

/// What `--help` prints.
pub const USAGE: &str = "\
cargo xtask crates [OPTION...] DIR...

  DIR               a cargo workspace with a lock file; its crates are downloaded first
  --command WORDS   what cargo does there (build); may be given several times
  --against PROGRAM another wrapper of rustc that has a server, as sccache
  --runs N          warm builds of each kind (3)
  --branches A,B    switch between two revisions, there and back
  --second          build a second checkout, too
  --larder PROGRAM  the wrapper (target/release/larder)
  --directory DIR   where checkouts, outputs and stores stand
  --json            print one JSON object for each command of a workspace
";

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The workspaces.
    pub workspaces: Vec<PathBuf>,
    /// Words for cargo, one text each.
    pub commands: Vec<String>,
    /// Another wrapper.
    pub against: Option<PathBuf>,
    /// Warm builds of each kind.
    pub runs: usize,
    /// Two revisions.
    pub branches: Option<[String; 2]>,
    /// Whether a second checkout is built.
    pub second: bool,
    /// The wrapper.
    pub larder: PathBuf,
    /// Where checkouts, outputs and stores stand.
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
            workspaces: Vec::new(),
            commands: Vec::new(),
            against: None,
            runs: 3,
            branches: None,
            second: false,
            larder: "target/release/larder".into(),
            directory: std::env::temp_dir(),
            json: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--command" => settings.commands.push(value()?),
                "--against" => settings.against = Some(value()?.into()),
                "--runs" => {
                    let text = value()?;
                    let number = text.parse().ok().filter(|runs| *runs > 0);
                    settings.runs = number.ok_or(format!("--runs: {text} is no number of runs"))?;
                }
                "--branches" => {
                    let text = value()?;
                    let pair = text.split_once(',').map(|(a, b)| [a.to_owned(), b.to_owned()]);
                    settings.branches = Some(pair.ok_or("--branches needs two revisions: A,B")?);
                }
                "--second" => settings.second = true,
                "--larder" => settings.larder = value()?.into(),
                "--directory" => settings.directory = value()?.into(),
                "--json" => settings.json = true,
                other if other.starts_with('-') => {
                    return Err(format!("crates does not know `{other}`"));
                }
                other => settings.workspaces.push(other.into()),
            }
        }
        if settings.commands.is_empty() {
            settings.commands.push("build".to_owned());
        }
        let is_missing = |path: &&PathBuf| !path.join("Cargo.lock").is_file();
        match settings.workspaces.iter().find(is_missing) {
            Some(path) => Err(format!("{} has no Cargo.lock", path.display())),
            None if settings.workspaces.is_empty() => Err(format!("which workspace?\n\n{USAGE}")),
            None => Ok(settings),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().display().to_string();
        let parse =
            |line: &str| Settings::parse(line.replace("DIR", &place).split(' ').map(str::to_owned));
        assert!(parse("DIR").unwrap_err().contains("Cargo.lock"));
        std::fs::write(dir.path().join("Cargo.lock"), "").unwrap();
        let settings = parse("DIR --command check --runs 2 --branches a,b --second").unwrap();
        assert_eq!(settings.commands, ["check"]);
        assert_eq!(settings.branches, Some(["a".to_owned(), "b".to_owned()]));
        assert_eq!(parse("DIR").unwrap().commands, ["build"]);
        for wrong in ["--runs 1", "DIR --runs 0", "DIR --branches a", "DIR --fast", "DIR --larder"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
