//! From words to what they give, or to what is wrong with them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::{Command, Count, Failure, Flag, Given, Kind, Operand, Takes};

/// What a command line asks for.
pub enum Parsed {
    /// The command is to run.
    Run(Given),
    /// Its help is to be shown.
    Help(&'static Command),
}

/// Reads the words behind a command's name.
///
/// # Errors
/// Wrong use: what is wrong, what may have been meant, and where to read what is right.
pub fn parse(command: &'static Command, words: &[OsString]) -> Result<Parsed, Failure> {
    let mut given = Given { command, flags: vec![], operands: vec![], behind: vec![] };
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        if word == "--" {
            let rest = words.by_ref().cloned();
            match command.behind {
                Some(_) => given.behind.extend(rest),
                None => given.operands.extend(rest),
            }
        } else if word == "--help" || word == "-h" {
            return Ok(Parsed::Help(command));
        } else if bytes.starts_with(b"-") && bytes.len() > 1 {
            let next = words.next_if(|next| !is_flag(next) && takes_next(command, word));
            given.flags.push(flag(command, word, next)?);
        } else {
            given.operands.push(word.clone());
        }
    }
    if command.run.is_none() {
        return Err(no_such_command(command, given.operands.first().map(OsString::as_os_str)));
    }
    operands(command, &given)?;
    Ok(Parsed::Run(given))
}

fn is_flag(word: &OsStr) -> bool {
    word.as_bytes().starts_with(b"-") && word != "-"
}

/// Whether the word behind a flag may be its value.
fn takes_next(command: &Command, word: &OsStr) -> bool {
    let name = word.as_bytes().strip_prefix(b"--").unwrap_or_default();
    let found = command.flags.iter().find(|flag| flag.name.as_bytes() == name);
    found.is_some_and(|flag| flag.takes != Takes::Nothing)
}

/// A flag with its value, which is a part of the word or the next one.
fn flag(
    command: &'static Command,
    word: &OsStr,
    next: Option<&OsString>,
) -> Result<(&'static str, Option<OsString>), Failure> {
    let bytes = word.as_bytes();
    let equals = bytes.iter().position(|byte| *byte == b'=');
    let (name, inside) = match equals {
        Some(at) => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]).to_owned())),
        None => (bytes, None),
    };
    let name = String::from_utf8_lossy(name);
    let known = |flag: &&Flag| name.strip_prefix("--") == Some(flag.name);
    let Some(flag) = command.flags.iter().find(known) else {
        return Err(no_such_flag(command, &name));
    };
    let value = inside.or_else(|| next.cloned());
    match (flag.takes, value) {
        (Takes::Nothing, Some(_)) => Err(wrong(command, &format!("{name} takes no value"))),
        (Takes::One(_, kind), None) => {
            let like = format!("{name} takes {}", kind.words());
            Err(wrong(command, &format!("{like}; one that begins with - is written {name}=-...")))
        }
        (Takes::One(_, kind) | Takes::Maybe(_, kind), Some(value)) => {
            check(command, &name, kind, &value)?;
            Ok((flag.name, Some(value)))
        }
        (Takes::Nothing | Takes::Maybe(..), None) => Ok((flag.name, None)),
    }
}

fn check(command: &'static Command, name: &str, kind: Kind, value: &OsStr) -> Result<(), Failure> {
    match kind.refuses(value) {
        Some(what) => {
            let text = format!("{name} takes {what}, not `{}`", value.display());
            Err(wrong(command, &text))
        }
        None => Ok(()),
    }
}

fn no_such_flag(command: &'static Command, name: &str) -> Failure {
    let names = command.shown_flags().map(|flag| flag.name).chain(["help"]);
    let meant = match nearest(name.trim_start_matches('-'), names) {
        Some(near) => format!("; did you mean --{near}?"),
        None => String::new(),
    };
    wrong(command, &format!("{} takes no `{name}`{meant}", command.name))
}

fn no_such_command(command: &'static Command, word: Option<&OsStr>) -> Failure {
    let words = command.commands.iter().map(Command::word);
    let list: Vec<&str> = words.clone().collect();
    let list = list.join(", ");
    let text = match word {
        None => format!("{} what? There is {list}", command.name),
        Some(word) => match nearest(&word.to_string_lossy(), words) {
            Some(near) => {
                format!("{0} has no `{1}`; did you mean {0} {near}?", command.name, word.display())
            }
            None => format!("{} has no `{}`; there is {list}", command.name, word.display()),
        },
    };
    wrong(command, &text)
}

/// Whether there are as many operands as there have to be, and such.
fn operands(command: &'static Command, given: &Given) -> Result<(), Failure> {
    let mut words = given.operands.iter().map(OsString::as_os_str).peekable();
    let all = command.operands.iter().map(|operand| (operand, operand.count));
    for (operand, count) in all {
        match (words.next(), count) {
            (Some(word), _) => check(command, operand.name, operand.kind, word)?,
            // What stands behind `--` may be in its place; the command knows.
            (None, Count::One | Count::Some) if command.behind.is_none() => {
                return Err(missing(command, operand));
            }
            (None, _) => {}
        }
        if count == Count::Some {
            for word in words.by_ref() {
                check(command, operand.name, operand.kind, word)?;
            }
        }
    }
    match words.next() {
        Some(word) => {
            let text = format!("{} takes no `{}`", command.name, word.display());
            Err(wrong(command, &text))
        }
        None => Ok(()),
    }
}

fn missing(command: &'static Command, operand: &Operand) -> Failure {
    let text = format!("{} needs {}: {}", command.name, operand.name, operand.what);
    wrong(command, &text)
}

/// Wrong use of a command.
pub fn wrong(command: &Command, text: &str) -> Failure {
    Failure::WrongUse(format!("{text}; see `larder {} --help`", command.name))
}

/// The name that a word was perhaps meant to be: the only one that it begins, or the one that is
/// fewest strokes away, and few.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let names: Vec<&str> = names.collect();
    let begun: Vec<&str> = names.iter().copied().filter(|name| name.starts_with(word)).collect();
    if let ([one], true) = (&begun[..], word.len() >= 2) {
        return Some(one);
    }
    let strokes_max = match word.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    };
    let with_strokes = names.iter().map(|name| (strokes(word, name), *name));
    let best = with_strokes.min_by_key(|(strokes, _)| *strokes)?;
    (best.0 <= strokes_max).then_some(best.1)
}

/// How many letters have to be put in, left out, replaced or swapped with the next one.
fn strokes(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let is_same = left[i - 1] == right[j - 1];
            let put = rows[i - 1][j].min(row[j - 1]) + 1;
            let mut best = put.min(rows[i - 1][j - 1] + usize::from(!is_same));
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn given(line: &str) -> Result<Given, String> {
        let words = words(line);
        let (command, rest) = find(&words).unwrap();
        match parse(command, rest) {
            Ok(Parsed::Run(given)) => Ok(given),
            Ok(Parsed::Help(command)) => Err(format!("help of {}", command.name)),
            Err(failure) => Err(failure.text().to_owned()),
        }
    }

    #[test]
    fn flags_take_their_values_in_both_forms() {
        let trim = given("trim --max-size 2Gi --older-than=7d --namespace= --json").ok().unwrap();
        assert_eq!((trim.text("max-size"), trim.text("older-than")), (Some("2Gi"), Some("7d")));
        assert_eq!((trim.text("namespace"), trim.has("json")), (Some(""), true));
        assert!(!trim.has("dry-run") && trim.operand(0).is_none());
        let jobs =
            "trim --not-touched-since-job --not-touched-since-job a --max-size 1 --max-size 2";
        let trim = given(jobs).ok().unwrap();
        let values: Vec<_> = trim.values("not-touched-since-job").collect();
        assert_eq!(values, [None, Some(OsStr::new("a"))]);
        assert_eq!(trim.text("max-size"), Some("2"));
    }

    #[test]
    fn help_is_shown_wherever_it_is_asked_for() {
        for (line, wanted) in [
            ("stats --help", "help of stats"),
            ("trim --max-size 1 -h", "help of trim"),
            ("job --help", "help of job"),
            ("job start --help", "help of job start"),
        ] {
            assert_eq!(given(line).err().as_deref(), Some(wanted));
        }
    }

    #[test]
    fn wrong_use_says_what_would_be_right() {
        for (line, wanted) in [
            (
                "stats --jsno",
                "stats takes no `--jsno`; did you mean --json?; see `larder stats --help`",
            ),
            ("stats --js", "did you mean --json?"),
            ("stats -j", "stats takes no `-j`; see"),
            ("zero x", "zero takes no `x`; see `larder zero --help`"),
            ("stats --json=1", "--json takes no value"),
            ("trim --max-size", "--max-size takes a size, as 500M or 2Gi; one that"),
            ("trim --max-size --json", "--max-size takes a size"),
            ("trim --max-size many", "--max-size takes a size, as 500M or 2Gi, not `many`"),
            ("trim --older-than=7", "--older-than takes an age"),
            ("job", "job what? There is start, list, end; see `larder job --help`"),
            ("job strat", "job has no `strat`; did you mean job start?"),
            ("job wind", "job has no `wind`; there is start, list, end"),
            ("job end", "job end needs ID: the id of the job; see `larder job end --help`"),
            ("job end a b", "job end takes no `b`"),
        ] {
            let said = given(line).err().unwrap_or_default();
            assert!(said.contains(wanted), "{line}: {said}");
        }
    }

    #[test]
    fn the_nearest_name_is_one_that_is_near() {
        let near = |word: &str| nearest(word, ["json", "older-than", "repair"].into_iter());
        assert_eq!((near("jsno"), near("odler-tahn")), (Some("json"), Some("older-than")));
        assert_eq!((near("rep"), near("repiar")), (Some("repair"), Some("repair")));
        assert_eq!(
            (near(""), near("x"), near("js"), near("xxxx")),
            (None, None, Some("json"), None)
        );
    }
}
