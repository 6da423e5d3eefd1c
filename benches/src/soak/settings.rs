//! What a soak is told on its command line.

use std::path::PathBuf;

use super::volume::FileSystem;

/// What `--help` prints.
pub const USAGE: &str = "\
cargo xtask soak [OPTION...]      as root

  --seconds N       how long, on each file system (600)
  --fs LIST         of ext4, xfs, btrfs (all three)
  --rate full|half  writers as fast as they can, or at half of what the disk takes (full)
  --disk-rate N     what the disk takes, in bytes per second, in place of measuring it: a disk that
                    takes a short burst faster than two processors write would be no half rate
  --clones          cloneable records, restored to a build tree by reflink where that goes
  --max-size BYTES  of the store (1073741824)
  --writers N       (4)
  --readers N       (2)
  --janitor WHO     detached, inline or off (detached)
  --nice N          of a detached janitor (5, as the wrapper starts it)
  --hogs N          processes that only compute meanwhile, as compilers do (0)
  --directory PATH  where the disks' files stand
  --json            print the table as JSON
";

/// How fast writers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rate {
    /// As fast as they can.
    Full,
    /// At half of what the disk takes.
    Half,
}

/// Who does the upkeep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Janitor {
    /// A process of its own.
    Detached,
    /// The writer that found it due.
    Inline,
    /// Nobody.
    Off,
}

impl Janitor {
    /// That of a name.
    pub fn of(name: &str) -> Option<Janitor> {
        match name {
            "detached" => Some(Janitor::Detached),
            "inline" => Some(Janitor::Inline),
            "off" => Some(Janitor::Off),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Janitor::Detached => "detached",
            Janitor::Inline => "inline",
            Janitor::Off => "off",
        }
    }
}

/// What a soak is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// How long on each file system.
    pub seconds: u64,
    /// The file systems.
    pub systems: Vec<FileSystem>,
    /// How fast writers are.
    pub rate: Rate,
    /// What the disk takes in bytes per second, if that is not to be measured.
    pub disk_rate: Option<u64>,
    /// Whether records are cloneable and restored.
    pub clones: bool,
    /// Bound of the store in bytes.
    pub max_size_bytes: u64,
    /// Processes that put.
    pub writers: u64,
    /// Processes that get.
    pub readers: u64,
    /// Who does the upkeep.
    pub janitor: Janitor,
    /// Priority of a detached janitor.
    pub nice: u64,
    /// Processes that only compute.
    pub hogs: u64,
    /// Where the disks' files stand.
    pub directory: PathBuf,
    /// Whether the table is printed as JSON.
    pub json: bool,
}

impl Settings {
    /// Understands the words of a command line; `--name=value` and `--name value` are the same.
    ///
    /// # Errors
    /// A sentence about the word that is not understood.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Settings, String> {
        let mut settings = Settings {
            seconds: 600,
            systems: FileSystem::ALL.to_vec(),
            rate: Rate::Full,
            disk_rate: None,
            clones: false,
            max_size_bytes: 1 << 30,
            writers: 4,
            readers: 2,
            janitor: Janitor::Detached,
            nice: 5,
            hogs: 0,
            directory: std::env::temp_dir(),
            json: false,
        };
        let split = |word: String| match word.split_once('=') {
            Some((name, value)) => vec![name.to_owned(), value.to_owned()],
            None => vec![word],
        };
        let mut words = words.flat_map(split);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            let number = |value: String| {
                value.parse::<u64>().map_err(|_| format!("\"{value}\" is no number"))
            };
            match word.as_str() {
                "--seconds" => settings.seconds = number(value()?)?,
                "--max-size" => settings.max_size_bytes = number(value()?)?,
                "--writers" => settings.writers = number(value()?)?,
                "--readers" => settings.readers = number(value()?)?,
                "--nice" => settings.nice = number(value()?)?.min(19),
                "--hogs" => settings.hogs = number(value()?)?,
                "--disk-rate" => settings.disk_rate = Some(number(value()?)?),
                "--fs" => settings.systems = systems(&value()?)?,
                "--directory" => settings.directory = value()?.into(),
                "--clones" => settings.clones = true,
                "--json" => settings.json = true,
                "--rate" => {
                    settings.rate = match value()?.as_str() {
                        "full" => Rate::Full,
                        "half" => Rate::Half,
                        other => return Err(format!("\"{other}\" is neither full nor half")),
                    }
                }
                "--janitor" => {
                    let name = value()?;
                    settings.janitor =
                        Janitor::of(&name).ok_or(format!("there is no janitor \"{name}\""))?;
                }
                other => return Err(format!("soak does not know `{other}`\n\n{USAGE}")),
            }
        }
        if settings.writers == 0 || settings.seconds == 0 {
            return Err("without writers or time there is nothing to see".into());
        }
        Ok(settings)
    }
}

fn systems(list: &str) -> Result<Vec<FileSystem>, String> {
    let known = |name: &str| FileSystem::of(name).ok_or(format!("soak knows no \"{name}\""));
    list.split(',').map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<Settings, String> {
        Settings::parse(words.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn words_are_understood_or_named() {
        let settings =
            parse("--seconds 3 --fs=xfs,ext4 --rate half --clones --disk-rate 9").unwrap();
        assert_eq!(settings.systems, [FileSystem::Xfs, FileSystem::Ext4]);
        assert_eq!((settings.seconds, settings.rate, settings.clones), (3, Rate::Half, true));
        assert_eq!(settings.disk_rate, Some(9));
        for wrong in ["--fs fat", "--rate slow", "--seconds x", "--writers", "--writers 0", "-q"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
