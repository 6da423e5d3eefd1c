//! What is measured: the command line.

use std::path::PathBuf;

/// How to call it.
pub const USAGE: &str = "\
seeks [OPTION...]

Counts what stores ask a disk for, as root: each gets a disk of its own (ext4 on a sparse image of
300 GB behind a loop device), is filled, and is used with cold caches while the kernel tells every
request. Three models of a disk of 7200 revolutions per minute say how long that would take.

  --quick           small: 2,000 entries, 12 units, a minute
  --entries N       entries before anything is measured (100,000)
  --units N         entries of the build (98)
  --random N        random hits, and misses (200)
  --seed N          of keys and sizes (1)
  --only LIST       contestants, with commas between them: larder, files, lmdb, larder-wrapper,
                    ccache, sccache (those that are there)
  --windows LIST    KiB that the engine prefetches at most, measured one after the other on one
                    store; `device` lets the device decide (device)
  --sources DIR     compile the units from the C files of DIR (a generated project)
  --cflags WORDS    with these arguments
  --larder FILE --ccache FILE --sccache FILE --lmdb FILE
                    the programs; --lmdb is that of benches/compare
  --directory DIR   images, sources and objects stand below DIR
  --out DIR         write the traces, files for `fio --read_iolog`, the figures and plots there,
                    and which files the requests were for; `seeks plot DIR` makes the plots again
  --json            print the figures as JSON
";

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contestant {
    /// The engine.
    Larder,
    /// One file per entry.
    Files,
    /// LMDB.
    Lmdb,
    /// larder as the compiler's wrapper.
    Wrapper,
    /// ccache.
    Ccache,
    /// sccache.
    Sccache,
}

impl Contestant {
    /// All of them.
    pub const ALL: [Contestant; 6] = [
        Contestant::Larder,
        Contestant::Files,
        Contestant::Lmdb,
        Contestant::Wrapper,
        Contestant::Ccache,
        Contestant::Sccache,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Contestant::Larder => "larder",
            Contestant::Files => "files",
            Contestant::Lmdb => "lmdb",
            Contestant::Wrapper => "larder-wrapper",
            Contestant::Ccache => "ccache",
            Contestant::Sccache => "sccache",
        }
    }
}

/// The settings of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Entries that a store has before anything is measured.
    pub entries: u64,
    /// Entries of the build.
    pub units: u64,
    /// Random hits, and misses.
    pub random: u64,
    /// Of everything random.
    pub seed: u64,
    /// Who takes part.
    pub contestants: Vec<Contestant>,
    /// KiB that are read ahead at most; `None` lets the device decide.
    pub windows: Vec<Option<u64>>,
    /// C files to compile; else they are made.
    pub sources: Option<PathBuf>,
    /// Arguments for these.
    pub cflags: Vec<String>,
    /// The wrapper.
    pub larder: Option<PathBuf>,
    /// ccache.
    pub ccache: Option<PathBuf>,
    /// sccache.
    pub sccache: Option<PathBuf>,
    /// The program of `benches/compare`.
    pub lmdb: Option<PathBuf>,
    /// Where everything stands.
    pub directory: PathBuf,
    /// Where traces go.
    pub out: Option<PathBuf>,
    /// Whether the figures are printed as JSON.
    pub json: bool,
    /// Whether it is a smoke test.
    pub quick: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            entries: 100_000,
            units: 98,
            random: 200,
            seed: 1,
            contestants: Contestant::ALL.to_vec(),
            windows: vec![None],
            sources: None,
            cflags: Vec::new(),
            larder: None,
            ccache: None,
            sccache: None,
            lmdb: None,
            directory: std::env::temp_dir().join("larder-seeks"),
            out: None,
            json: false,
            quick: false,
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
                "--json" => settings.json = true,
                "--quick" => {
                    settings.quick = true;
                    (settings.entries, settings.units, settings.random) = (2000, 12, 20);
                }
                _ => {
                    let value = words.next().ok_or_else(|| format!("{word}?\n\n{USAGE}"))?;
                    settings.set(&word, value)?;
                }
            }
        }
        if settings.entries == 0 || settings.units < 2 || settings.random == 0 {
            return Err("entries, two units and a random hit are needed".into());
        }
        Ok(settings)
    }

    fn set(&mut self, word: &str, value: String) -> Result<(), String> {
        let number = || value.parse::<u64>().map_err(|_| format!("{word} takes a number"));
        match word {
            "--entries" => self.entries = number()?,
            "--units" => self.units = number()?,
            "--random" => self.random = number()?,
            "--seed" => self.seed = number()?,
            "--only" => {
                let of = |name: &str| {
                    let mut all = Contestant::ALL.into_iter();
                    all.find(|c| c.name() == name).ok_or_else(|| format!("there is no `{name}`"))
                };
                self.contestants = value.split(',').map(of).collect::<Result<_, _>>()?;
            }
            "--windows" => {
                let window = |text: &str| match text {
                    "device" => Ok(None),
                    _ => text.parse().map(Some).map_err(|_| format!("{word} takes KiB")),
                };
                self.windows = value.split(',').map(window).collect::<Result<_, _>>()?;
            }
            "--cflags" => self.cflags = value.split_whitespace().map(str::to_string).collect(),
            "--sources" => self.sources = Some(value.into()),
            "--larder" => self.larder = Some(value.into()),
            "--ccache" => self.ccache = Some(value.into()),
            "--sccache" => self.sccache = Some(value.into()),
            "--lmdb" => self.lmdb = Some(value.into()),
            "--directory" => self.directory = value.into(),
            "--out" => self.out = Some(value.into()),
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
        let settings =
            parse("--quick --only larder,files --windows 0,64,device --units 5").unwrap();
        assert_eq!(settings.contestants, [Contestant::Larder, Contestant::Files]);
        assert_eq!(settings.windows, [Some(0), Some(64), None]);
        assert_eq!((settings.entries, settings.units), (2000, 5));
        assert!(parse("--only redb").is_err());
        assert!(parse("--windows much").is_err());
        assert!(parse("--units 1").is_err());
        assert!(parse("--entries").is_err());
        assert!(parse("--rpm 5400").is_err());
    }
}
