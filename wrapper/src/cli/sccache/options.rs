//! sccache's options: one table, and the reading of a command line.
//!
//! 1. Of all that is to be done a line may have one; `--stats-format` may stand beside it.
//! 2. A value follows behind `=` or as the next word; letters may stand together.
//! 3. What follows the first word that is no option, or `--`, is a compile.
//! 4. Help is made from the table.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What an option asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum What {
    ShowStats,
    ShowAdvStats,
    StartServer,
    DebugPreprocessorCache,
    StopServer,
    ZeroStats,
    DistAuth,
    DistStatus,
    PackageToolchain,
    StatsFormat,
    Help,
    Version,
}

/// How statistics are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// What a command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Something of sccache's own.
    Command(What, Format),
    /// A compile.
    Compile(Vec<OsString>),
}

/// An option: what it asks for, its letter, its name, what its values are, what it does.
type Row = (What, Option<u8>, &'static str, &'static [&'static str], &'static str);

const OPTIONS: &[Row] = &[
    (What::ShowStats, Some(b's'), "show-stats", &[], "show what was counted"),
    (What::ShowAdvStats, None, "show-adv-stats", &[], "the same, told apart by compiler"),
    (What::StartServer, None, "start-server", &[], "count from now on; there is no server"),
    (What::DebugPreprocessorCache, None, "debug-preprocessor-cache", &[], "nothing"),
    (What::StopServer, None, "stop-server", &[], "show what was counted, and count from now on"),
    (What::ZeroStats, Some(b'z'), "zero-stats", &[], "set the counters to zero"),
    (What::DistAuth, None, "dist-auth", &[], "nothing: compiles are not distributed"),
    (What::DistStatus, None, "dist-status", &[], "say so"),
    (What::PackageToolchain, None, "package-toolchain", &["EXE", "OUT"], "nothing"),
    (What::StatsFormat, None, "stats-format", &["FMT"], "of statistics: text (default) or json"),
    (What::Help, Some(b'h'), "help", &[], "print this"),
    (What::Version, Some(b'V'), "version", &[], "print the version"),
];

/// Reads a command line.
///
/// # Errors
/// A sentence, if an option is not known, stands beside another one, or has a value too few or too
/// many.
pub fn parse(arguments: &[OsString]) -> Result<Asked, String> {
    let mut reading = Reading::default();
    let mut words = arguments.iter().enumerate();
    while let Some((at, word)) = words.next() {
        let bytes = word.as_bytes();
        if bytes == b"--" || !bytes.starts_with(b"-") || bytes == b"-" {
            let rest = if bytes == b"--" { &arguments[at + 1..] } else { &arguments[at..] };
            return reading.with_compile(rest);
        }
        let mut next = || words.next().map(|(_, word)| word.clone());
        match bytes.strip_prefix(b"--") {
            Some(long) => reading.take_long(long, &mut next)?,
            None => reading.take_letters(&bytes[1..])?,
        }
        if let Some((what @ (What::Help | What::Version), _)) = reading.command {
            return Ok(Asked::Command(what, Format::Text));
        }
    }
    match reading.command {
        Some((what, _)) => Ok(Asked::Command(what, reading.format)),
        None => Err("no command and no compiler is given".to_owned()),
    }
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    command: Option<(What, &'static str)>,
    format: Format,
}

impl Reading {
    fn with_compile(self, words: &[OsString]) -> Result<Asked, String> {
        match (self.command, words) {
            (Some((_, name)), [first, ..]) => {
                let first = first.display();
                Err(format!("the argument '--{name}' cannot be used with '{first}'"))
            }
            (Some((what, _)), []) => Ok(Asked::Command(what, self.format)),
            (None, []) => Err("no command and no compiler is given".to_owned()),
            (None, words) => Ok(Asked::Compile(words.to_vec())),
        }
    }

    fn take_long(
        &mut self,
        word: &[u8],
        next: &mut impl FnMut() -> Option<OsString>,
    ) -> Result<(), String> {
        let sign = word.iter().position(|byte| *byte == b'=');
        let (name, value) = match sign {
            Some(at) => (&word[..at], Some(OsStr::from_bytes(&word[at + 1..]).to_owned())),
            None => (word, None),
        };
        let shown = String::from_utf8_lossy(name);
        let row = OPTIONS.iter().find(|row| row.2.as_bytes() == name);
        let row = row.ok_or_else(|| format!("unexpected argument '--{shown}' found"))?;
        let mut values: Vec<OsString> = value.into_iter().collect();
        if values.len() > row.3.len() {
            return Err(format!("the argument '--{shown}' takes no value"));
        }
        while values.len() < row.3.len() {
            let missing = || format!("the argument '--{shown}' needs {}", row.3.join(" and "));
            values.push(next().ok_or_else(missing)?);
        }
        match (row.0, values.first()) {
            (What::StatsFormat, Some(format)) => self.take_format(format),
            _ => self.take(row),
        }
    }

    fn take_letters(&mut self, letters: &[u8]) -> Result<(), String> {
        for letter in letters {
            let row = OPTIONS.iter().find(|row| row.1 == Some(*letter));
            let shown = char::from(*letter);
            self.take(row.ok_or_else(|| format!("unexpected argument '-{shown}' found"))?)?;
        }
        Ok(())
    }

    fn take_format(&mut self, format: &OsStr) -> Result<(), String> {
        self.format = match format.as_bytes() {
            b"text" => Format::Text,
            b"json" => Format::Json,
            _ => {
                let format = format.display();
                return Err(format!("'{format}' is no '--stats-format': it is text or json"));
            }
        };
        Ok(())
    }

    fn take(&mut self, row: &Row) -> Result<(), String> {
        let (what, name) = (row.0, row.2);
        match self.command.replace((what, name)) {
            Some((_, first)) if !matches!(what, What::Help | What::Version) => {
                Err(format!("the argument '--{first}' cannot be used with '--{name}'"))
            }
            _ => Ok(()),
        }
    }
}

/// What `--help` says.
pub fn help() -> String {
    let mut text = String::from(
        "Usage:\n\
         \x20   sccache OPTION\n\
         \x20   sccache COMPILER [ARGUMENTS]\n\
         \n\
         This sccache is larder: results are kept in the directory larder of the cache directory,\n\
         and there is no server.\n\
         \n\
         Options:\n",
    );
    for (_, letter, name, values, what) in OPTIONS {
        let letter = letter.map_or("   ".to_owned(), |letter| format!("-{},", char::from(letter)));
        let values: String = values.iter().map(|value| format!(" {value}")).collect();
        let option = format!("{letter} --{name}{values}");
        text.push_str(&format!("    {option:<32} {what}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Asked, String> {
        parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_line_asks_for_one_thing() {
        let json = |what| Ok(Asked::Command(what, Format::Json));
        let text = |what| Ok(Asked::Command(what, Format::Text));
        assert_eq!(read("--show-stats --stats-format=json"), json(What::ShowStats));
        assert_eq!(read("--stats-format json -s"), json(What::ShowStats));
        assert_eq!(read("--show-adv-stats --stats-format text"), text(What::ShowAdvStats));
        assert_eq!(read("-z"), text(What::ZeroStats));
        assert_eq!(read("--package-toolchain a b"), text(What::PackageToolchain));
        assert_eq!(read("-sh"), text(What::Help));
        assert_eq!(read("--stop-server --version --no-such"), text(What::Version));
        let words = ["gcc", "-c", "--help"].map(OsString::from).to_vec();
        assert_eq!(read("-- gcc -c --help"), Ok(Asked::Compile(words.clone())));
        assert_eq!(read("--stats-format json gcc -c --help"), Ok(Asked::Compile(words)));
    }

    #[test]
    fn wrong_lines_are_told() {
        for (line, wanted) in [
            ("--foo", "unexpected argument '--foo' found"),
            ("-q", "unexpected argument '-q' found"),
            ("-sz", "the argument '--show-stats' cannot be used with '--zero-stats'"),
            ("-s gcc", "the argument '--show-stats' cannot be used with 'gcc'"),
            ("-s --stats-format", "the argument '--stats-format' needs FMT"),
            ("-s --stats-format=xml", "'xml' is no '--stats-format': it is text or json"),
            ("--show-stats=json", "the argument '--show-stats' takes no value"),
            ("--package-toolchain a", "the argument '--package-toolchain' needs EXE and OUT"),
            ("--stats-format json", "no command and no compiler is given"),
            ("--", "no command and no compiler is given"),
        ] {
            assert_eq!(read(line), Err(wanted.to_owned()), "{line}");
        }
    }

    #[test]
    fn each_option_has_one_row_and_a_line_of_help() {
        let text = help();
        for (_, letter, name, _, what) in OPTIONS {
            let same = |other: &&Row| other.2 == *name || letter.is_some() && other.1 == *letter;
            assert_eq!(OPTIONS.iter().filter(same).count(), 1, "{name}");
            assert!(text.contains(&format!("--{name}")) && !what.is_empty(), "{name}");
        }
    }
}
