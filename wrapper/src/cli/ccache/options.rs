//! ccache's options: one table, and the reading of a command line as GNU programs do it.
//!
//! 1. A long name may be cut short where that leaves one meaning; its value follows behind `=` or
//!    as the next word. Short ones may stand together, and the value of the last may follow at
//!    once.
//! 2. `--` ends the options. What is no option is passed over, as there.
//! 3. Help is made from the table.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What an option asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum What {
    Cleanup,
    Clear,
    ConfigPath,
    Dir,
    DryRun,
    EvictNamespace,
    EvictOlderThan,
    MaxFiles,
    MaxSize,
    Recompress,
    SetConfig,
    ShowCompression,
    ShowConfig,
    ShowLogStats,
    ShowStats,
    StopStorageHelpers,
    Threads,
    Verbose,
    ZeroStats,
    Help,
    Version,
    TrimDir,
    TrimMarker,
    TrimMaxSize,
    TrimMethod,
    TrimRecompress,
    ChecksumFile,
    ExtractResult,
    Format,
    GetConfig,
    HashFile,
    Inspect,
    PrintLogStats,
    PrintStats,
    PrintVersion,
}

/// An option: what it asks for, its letter, its name, what its value is, what it does.
type Row = (What, Option<u8>, &'static str, Option<&'static str>, &'static str);

/// Every option, in the order of the help; names without a text are other names of one before.
const OPTIONS: &[Row] = &[
    (What::Cleanup, Some(b'c'), "cleanup", None, "evict down to the size limit, count anew"),
    (What::Clear, Some(b'C'), "clear", None, "remove every entry; settings stay"),
    (What::ConfigPath, None, "config-path", Some("PATH"), "use this configuration file"),
    (What::Dir, Some(b'd'), "dir", Some("PATH"), "use this cache directory"),
    (What::Dir, None, "directory", Some("PATH"), ""),
    (What::DryRun, None, "dry-run", None, "write nothing, only tell what would be done"),
    (What::EvictNamespace, None, "evict-namespace", Some("NAME"), "remove a namespace's entries"),
    (
        What::EvictOlderThan,
        None,
        "evict-older-than",
        Some("AGE"),
        "remove entries not used for this long: a number with ms, s, m, h or d",
    ),
    (What::MaxFiles, Some(b'F'), "max-files", Some("N"), "set max_files; it limits nothing here"),
    (
        What::MaxSize,
        Some(b'M'),
        "max-size",
        Some("SIZE"),
        "set max_size: k, M, G, T or Ki, Mi, Gi, Ti; Gi without a unit; 0 is no limit",
    ),
    (
        What::Recompress,
        Some(b'X'),
        "recompress",
        Some("LEVEL"),
        "compress what is stored uncompressed (a level, or \"uncompressed\")",
    ),
    (What::SetConfig, Some(b'o'), "set-config", Some("KEY=VALUE"), "write a setting to the file"),
    (What::ShowCompression, Some(b'x'), "show-compression", None, "tell how well entries compress"),
    (What::ShowConfig, Some(b'p'), "show-config", None, "print every setting with its origin"),
    (What::ShowLogStats, None, "show-log-stats", None, "tell what the statistics log counted"),
    (What::ShowStats, Some(b's'), "show-stats", None, "tell what was counted (more with -v, -vv)"),
    (What::StopStorageHelpers, None, "stop-storage-helpers", None, "nothing: there are none"),
    (What::Threads, None, "threads", Some("N"), "read and passed over"),
    (What::Threads, None, "recompress-threads", Some("N"), ""),
    (What::Threads, None, "trim-recompress-threads", Some("N"), ""),
    (What::Verbose, Some(b'v'), "verbose", None, "tell more; may be given twice"),
    (What::ZeroStats, Some(b'z'), "zero-stats", None, "set the counters to zero"),
    (What::Help, Some(b'h'), "help", None, "print this"),
    (What::Version, Some(b'V'), "version", None, "print the version and what is supported"),
    (What::TrimDir, None, "trim-dir", Some("PATH"), "remove old entries of a remote storage"),
    (What::TrimMarker, None, "trim-marker", Some("PATH"), "recompress only what is newer"),
    (What::TrimMaxSize, None, "trim-max-size", Some("SIZE"), "how large it may stay, as -M"),
    (What::TrimMethod, None, "trim-method", Some("METHOD"), "oldest by atime (default) or mtime"),
    (What::TrimRecompress, None, "trim-recompress", Some("LEVEL"), "recompress it, as -X"),
    (What::ChecksumFile, None, "checksum-file", Some("PATH"), "print the XXH3-128 of a file"),
    (
        What::ExtractResult,
        None,
        "extract-result",
        Some("PATH"),
        "write the files of a result to the current directory",
    ),
    (What::Format, None, "format", Some("FORMAT"), "of --print-*: tab (default) or json"),
    (What::GetConfig, Some(b'k'), "get-config", Some("KEY"), "print the value of a setting"),
    (What::HashFile, None, "hash-file", Some("PATH"), "print the BLAKE3-160 of a file"),
    (What::Inspect, None, "inspect", Some("PATH"), "print what an entry of ccache says"),
    (What::Inspect, None, "dump-manifest", Some("PATH"), ""),
    (What::Inspect, None, "dump-result", Some("PATH"), ""),
    (What::PrintLogStats, None, "print-log-stats", None, "print the statistics log for programs"),
    (What::PrintStats, None, "print-stats", None, "print the counters for programs"),
    (What::PrintVersion, None, "print-version", None, "print the version alone"),
];

/// Reads a command line: what is asked for, in its order, each with its value or an empty one.
///
/// # Errors
/// A sentence, if an option is not known, or has a value too few or too many.
pub fn parse(arguments: &[OsString]) -> Result<Vec<(What, OsString)>, String> {
    let mut asked = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        if bytes == b"--" {
            break;
        }
        if let Some(long) = bytes.strip_prefix(b"--") {
            asked.push(parse_long(long, &mut words)?);
        } else if let [b'-', letters @ ..] = bytes
            && !letters.is_empty()
        {
            parse_letters(letters, &mut words, &mut asked)?;
        }
    }
    Ok(asked)
}

fn parse_long<'a>(
    word: &[u8],
    words: &mut impl Iterator<Item = &'a OsString>,
) -> Result<(What, OsString), String> {
    let sign = word.iter().position(|byte| *byte == b'=');
    let (name, value) = match sign {
        Some(at) => (&word[..at], Some(OsStr::from_bytes(&word[at + 1..]).to_owned())),
        None => (word, None),
    };
    let shown = String::from_utf8_lossy(name);
    let fits: Vec<&Row> = OPTIONS.iter().filter(|row| row.2.as_bytes().starts_with(name)).collect();
    let exact = fits.iter().find(|row| row.2.as_bytes() == name);
    let row = match (exact, fits.as_slice()) {
        (Some(row), _) => row,
        (None, []) => return Err(format!("unrecognized option '--{shown}'")),
        (None, [first, rest @ ..]) if rest.iter().all(|row| row.0 == first.0) => first,
        (None, several) => {
            let names: Vec<String> = several.iter().map(|row| format!("'--{}'", row.2)).collect();
            let names = names.join(" ");
            return Err(format!("option '--{shown}' is ambiguous; possibilities: {names}"));
        }
    };
    let name = row.2;
    match (row.3, value) {
        (None, None) => Ok((row.0, OsString::new())),
        (None, Some(_)) => Err(format!("option '--{name}' doesn't allow an argument")),
        (Some(_), Some(value)) => Ok((row.0, value)),
        (Some(_), None) => match words.next() {
            Some(value) => Ok((row.0, value.clone())),
            None => Err(format!("option '--{name}' requires an argument")),
        },
    }
}

fn parse_letters<'a>(
    mut letters: &[u8],
    words: &mut impl Iterator<Item = &'a OsString>,
    asked: &mut Vec<(What, OsString)>,
) -> Result<(), String> {
    while let [letter, rest @ ..] = letters {
        let shown = char::from(*letter);
        let Some(row) = OPTIONS.iter().find(|row| row.1 == Some(*letter)) else {
            return Err(format!("invalid option -- '{shown}'"));
        };
        if row.3.is_none() {
            asked.push((row.0, OsString::new()));
            letters = rest;
            continue;
        }
        let value = match rest {
            [] => words.next().cloned(),
            rest => Some(OsStr::from_bytes(rest).to_owned()),
        };
        let missing = || format!("option requires an argument -- '{shown}'");
        asked.push((row.0, value.ok_or_else(missing)?));
        break;
    }
    Ok(())
}

/// What `--help` says.
pub fn help() -> String {
    let mut text = String::from(
        "Usage:\n\
         \x20   ccache [options]\n\
         \x20   ccache [KEY=VALUE ...] compiler [compiler options]\n\
         \x20   compiler [compiler options]\n\
         \n\
         The last form is for a link to ccache that is named like a compiler. This ccache is\n\
         larder: entries are kept in the directory larder of the cache directory.\n\
         \n\
         Options:\n",
    );
    for (_, letter, name, value, what) in OPTIONS.iter().filter(|row| !row.4.is_empty()) {
        let letter = letter.map_or("   ".to_owned(), |letter| format!("-{},", char::from(letter)));
        let value = value.map_or(String::new(), |value| format!(" {value}"));
        let option = format!("{letter} --{name}{value}");
        text.push_str(&format!("    {option:<32} {what}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Vec<(What, String)>, String> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let asked = parse(&words)?;
        Ok(asked.into_iter().map(|(what, value)| (what, value.into_string().unwrap())).collect())
    }

    #[track_caller]
    fn gives(line: &str, wanted: &[(What, &str)]) {
        let wanted: Vec<_> =
            wanted.iter().map(|(what, text)| (*what, (*text).to_owned())).collect();
        assert_eq!(read(line), Ok(wanted), "{line}");
    }

    #[test]
    fn letters_and_names_have_values_in_each_form() {
        gives("-sz -M5G", &[(What::ShowStats, ""), (What::ZeroStats, ""), (What::MaxSize, "5G")]);
        gives(
            "-zM 5G -k=x",
            &[(What::ZeroStats, ""), (What::MaxSize, "5G"), (What::GetConfig, "=x")],
        );
        gives("--max-size=5G --max-size 6G", &[(What::MaxSize, "5G"), (What::MaxSize, "6G")]);
        gives("--zero --directory x", &[(What::ZeroStats, ""), (What::Dir, "x")]);
        gives("--dump x --set-config=a=b=", &[(What::Inspect, "x"), (What::SetConfig, "a=b=")]);
        gives("word -s - -- -z", &[(What::ShowStats, "")]);
        gives("--max-size= -M -1", &[(What::MaxSize, ""), (What::MaxSize, "-1")]);
    }

    #[test]
    fn wrong_options_are_named() {
        for (line, wanted) in [
            ("--foo", "unrecognized option '--foo'"),
            ("-sq", "invalid option -- 'q'"),
            ("-k", "option requires an argument -- 'k'"),
            ("--dir", "option '--dir' requires an argument"),
            ("--clear=x", "option '--clear' doesn't allow an argument"),
        ] {
            assert_eq!(read(line), Err(wanted.to_owned()));
        }
        let ambiguous = read("--s").unwrap_err();
        assert!(ambiguous.contains("'--set-config'") && ambiguous.contains("'--show-stats'"));
    }

    #[test]
    fn each_option_has_one_row_and_a_line_of_help() {
        let text = help();
        for (what, letter, name, ..) in OPTIONS {
            let same = |other: &&Row| other.2 == *name || letter.is_some() && other.1 == *letter;
            assert_eq!(OPTIONS.iter().filter(same).count(), 1, "{name}");
            let main = OPTIONS.iter().find(|row| row.0 == *what).unwrap();
            assert!(text.contains(&format!("--{}", main.2)) && !main.4.is_empty(), "{name}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 120));
    }

    #[test]
    fn every_option_has_its_row_in_the_documentation() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ccache.md");
        let told = std::fs::read_to_string(path).unwrap();
        let table = told.split("\n## Commands").nth(1).unwrap().split("\n## ").next().unwrap();
        // What stands in the first cells: options, each perhaps with a value.
        let cells = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
        let options: Vec<&str> = cells
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .filter_map(|option| option.split(' ').next())
            .collect();
        for (_, letter, name, ..) in OPTIONS {
            assert!(options.contains(&format!("--{name}").as_str()), "--{name}");
            if let Some(letter) = letter {
                assert!(options.contains(&format!("-{}", char::from(*letter)).as_str()), "{name}");
            }
        }
    }
}
