//! What is recorded and cut: the command line.

use std::path::PathBuf;

use super::volume::FileSystem;

/// How to call it.
pub const USAGE: &str = "\
powercut [OPTION...]

  --fs LIST         file systems, with commas between them: ext4, ext4-writeback, xfs, btrfs (all)
  --images N        images of each file system (200)
  --seed N          of keys, sizes and cuts (1)
  --writers N       processes that put (3)
  --operations N    of each of them, in each recording (800)
  --jobs N          images that are checked at once (one for each processor)
  --directory DIR   mount below DIR, in a namespace of its own, and leave failed images there
  --break WHAT      make it fail: `sync` lets the engine's syncs do nothing, `flush` lets the disk
                    take the last flushes for nothing
  --json            print the table as JSON
";

/// What is made to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// The engine's syncs do nothing.
    Sync,
    /// The disk's last flushes before a cut do nothing.
    Flush,
}

/// The settings of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// One after the other.
    pub systems: Vec<FileSystem>,
    /// Of each file system.
    pub images: usize,
    /// Of everything random.
    pub seed: u64,
    /// Processes that put.
    pub writers: u64,
    /// Of each of them.
    pub operations: u64,
    /// Images that are checked at once.
    pub jobs: usize,
    /// Where things are mounted.
    pub directory: PathBuf,
    /// What is made to fail.
    pub broken: Option<Broken>,
    /// Whether the table is JSON.
    pub json: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            systems: FileSystem::ALL.to_vec(),
            images: 200,
            seed: 1,
            writers: 3,
            operations: 800,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            directory: std::env::temp_dir().join("larder-powercut"),
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
            if word == "--json" {
                settings.json = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word}?\n\n{USAGE}"))?;
            settings.set(&word, &value)?;
        }
        if settings.systems.is_empty() || settings.writers == 0 || settings.jobs == 0 {
            return Err("a file system, a writer and a job are needed".into());
        }
        Ok(settings)
    }

    fn set(&mut self, word: &str, value: &str) -> Result<(), String> {
        let number = || value.parse::<u64>().map_err(|_| format!("{word} takes a number"));
        match word {
            "--fs" => {
                let system = |name: &str| {
                    FileSystem::of(name).ok_or_else(|| format!("--fs knows no `{name}`"))
                };
                self.systems = value.split(',').map(system).collect::<Result<_, _>>()?;
            }
            "--images" => self.images = number()? as usize,
            "--seed" => self.seed = number()?,
            "--writers" => self.writers = number()?,
            "--operations" => self.operations = number()?,
            "--jobs" => self.jobs = number()? as usize,
            "--directory" => self.directory = value.into(),
            "--break" => {
                self.broken = Some(match value {
                    "sync" => Broken::Sync,
                    "flush" => Broken::Flush,
                    _ => return Err(format!("--break knows no `{value}`")),
                });
            }
            _ => return Err(format!("there is no option `{word}`\n\n{USAGE}")),
        }
        Ok(())
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
        let settings = parse("--fs xfs,btrfs --images 7 --json --break sync").unwrap();
        assert_eq!(settings.systems, [FileSystem::Xfs, FileSystem::Btrfs]);
        assert_eq!((settings.images, settings.json), (7, true));
        assert_eq!(settings.broken, Some(Broken::Sync));
        assert!(parse("--fs fat").is_err());
        assert!(parse("--images").is_err());
        assert!(parse("--images many").is_err());
        assert!(parse("--break wind").is_err());
        assert!(parse("--jobs 0").is_err());
    }
}
