//! What the commands of larder are and take: one table, [`COMMANDS`].
//!
//! 1. The parser, the help, the man pages, the completions and docs/commands.md are made from the
//!    table and from nothing else, so none of them can say what another one does not.
//! 2. Flags are `--name`, `--name VALUE` or `--name=VALUE`, and stand anywhere behind the command;
//!    `--` ends them. Every command has `--help`. Of a flag that is given twice the last one
//!    counts, unless it says that it repeats.
//! 3. What a value has to look like is its [`Kind`], checked before a command runs.
//! 4. A compile never comes here: see docs/decisions/0016-commands-are-a-table.md.
//!
//! A new command is a row in `table` and a function that takes a [`Given`].

mod help;
mod parse;
mod table;
mod tools;
mod value;

use std::ffi::{OsStr, OsString};

use super::command::Failure;

pub use help::{help, rows, usage};
pub use parse::{Parsed, nearest, parse};
pub use table::COMMANDS;
pub use value::{Kind, parse_age};

/// A command, or one of the commands that stand behind it, as `job start`.
pub struct Command {
    /// What is typed, `job start` for one that stands behind another.
    pub name: &'static str,
    /// What it does, for a list: begins small, no full stop.
    pub what: &'static str,
    /// What there is to know before the flags: paragraphs.
    pub about: &'static [&'static str],
    /// The commands that stand behind it; then it has no flags of its own.
    pub commands: &'static [Command],
    /// The words that it takes, in their order.
    pub operands: &'static [Operand],
    /// The words behind `--`, where it takes any.
    pub behind: Option<Operand>,
    /// Its flags, in the order in which they are told.
    pub flags: &'static [Flag],
    /// What there is to know behind the flags: paragraphs.
    pub notes: &'static [&'static str],
    /// What can be typed, and what that does.
    pub examples: &'static [(&'static str, &'static str)],
    /// Exit statuses that are not [`STATUSES`].
    pub statuses: &'static [(u8, &'static str)],
    /// The work; none where others stand behind it.
    pub run: Option<Run>,
}

/// What a command does.
pub type Run = fn(&Given) -> Result<(), Failure>;

/// The exit statuses of most commands.
pub const STATUSES: &[(u8, &str)] =
    &[(0, "it was done"), (1, "it could not be done"), (2, "wrong use")];

impl Command {
    /// A command that takes nothing.
    pub const NONE: Command = Command {
        name: "",
        what: "",
        about: &[],
        commands: &[],
        operands: &[],
        behind: None,
        flags: &[],
        notes: &[],
        examples: &[],
        statuses: STATUSES,
        run: None,
    };

    /// The last word of the name.
    pub fn word(&self) -> &'static str {
        self.name.rsplit(' ').next().unwrap_or(self.name)
    }

    /// The flags that people are told of.
    pub fn shown_flags(&self) -> impl Iterator<Item = &'static Flag> {
        self.flags.iter().filter(|flag| !flag.is_hidden)
    }
}

/// A flag.
pub struct Flag {
    /// Its name, without the hyphens.
    pub name: &'static str,
    /// What stands behind it.
    pub takes: Takes,
    /// Whether it may be given several times, and each counts.
    pub repeats: bool,
    /// Whether only larder itself gives it.
    pub is_hidden: bool,
    /// What it does.
    pub what: &'static str,
}

impl Flag {
    /// A switch without words.
    pub const NONE: Flag =
        Flag { name: "", takes: Takes::Nothing, repeats: false, is_hidden: false, what: "" };

    /// `--json`, which is the same everywhere.
    pub const JSON: Flag =
        Flag { name: "json", what: "one JSON object for programs", ..Flag::NONE };
}

/// What stands behind a flag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// Nothing: it is a switch.
    Nothing,
    /// A value of this name.
    One(&'static str, Kind),
    /// A value or none.
    Maybe(&'static str, Kind),
}

/// A word that is no flag.
pub struct Operand {
    /// What it is called in the usage.
    pub name: &'static str,
    /// How often it stands there.
    pub count: Count,
    /// What it has to look like.
    pub kind: Kind,
    /// What it is.
    pub what: &'static str,
}

/// How often an operand stands there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// Once.
    One,
    /// Once or not at all.
    Maybe,
    /// Once or more often.
    Some,
}

/// What a call of a command has given.
pub struct Given {
    command: &'static Command,
    flags: Vec<(&'static str, Option<OsString>)>,
    operands: Vec<OsString>,
    behind: Vec<OsString>,
}

impl Given {
    /// Whether a flag is given.
    pub fn has(&self, name: &str) -> bool {
        debug_assert!(self.command.flags.iter().any(|flag| flag.name == name), "{name}");
        self.flags.iter().any(|(known, _)| *known == name)
    }

    /// The value of a flag, the last one given.
    pub fn value(&self, name: &str) -> Option<&OsStr> {
        self.values(name).last().flatten()
    }

    /// The value of a flag as text. The parser lets only paths be anything else.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name).and_then(OsStr::to_str)
    }

    /// The values of a flag that may be given several times; `None` for one without.
    pub fn values(&self, name: &str) -> impl Iterator<Item = Option<&OsStr>> {
        debug_assert!(self.command.flags.iter().any(|flag| flag.name == name), "{name}");
        let given = self.flags.iter().filter(move |(known, _)| *known == name);
        given.map(|(_, value)| value.as_deref())
    }

    /// The operand at a place, counted from 0.
    pub fn operand(&self, at: usize) -> Option<&OsStr> {
        self.operands.get(at).map(OsString::as_os_str)
    }

    /// Every operand.
    pub fn operands(&self) -> &[OsString] {
        &self.operands
    }

    /// What stands behind `--`, for a command that takes it apart.
    pub fn behind(&self) -> &[OsString] {
        &self.behind
    }

    /// Wrong use of this command: the text, and where to read what is right.
    pub fn wrong(&self, text: &str) -> Failure {
        parse::wrong(self.command, text)
    }
}

/// The command that these words name, as far as they do, and the words behind its name.
pub fn find(words: &[OsString]) -> Option<(&'static Command, &[OsString])> {
    let (first, mut rest) = words.split_first()?;
    let mut command = COMMANDS.iter().find(|command| first == command.name)?;
    while let Some((word, behind)) = rest.split_first() {
        let Some(next) = command.commands.iter().find(|next| word == next.word()) else { break };
        (command, rest) = (next, behind);
    }
    Some((command, rest))
}

/// Every command, with those that stand behind others right behind them.
pub fn all() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().flat_map(|command| std::iter::once(command).chain(command.commands))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_says_what_it_is_and_no_name_stands_twice() {
        let mut names = std::collections::BTreeSet::new();
        for command in all() {
            let name = command.name;
            assert!(names.insert(name), "{name} stands twice");
            assert!(!command.what.is_empty() && !command.what.ends_with('.'), "{name}");
            assert_eq!(command.run.is_none(), !command.commands.is_empty(), "{name}");
            assert!(command.commands.is_empty() || command.flags.is_empty(), "{name}");
            assert!(command.commands.iter().all(|next| next.name.starts_with(name)), "{name}");
            let flags: std::collections::BTreeSet<_> =
                command.flags.iter().map(|flag| flag.name).collect();
            assert_eq!(flags.len(), command.flags.len(), "{name}");
            let told = |flag: &&Flag| !flag.what.is_empty() && flag.name != "help";
            assert!(command.flags.iter().all(|flag| told(&flag)), "{name}");
            assert!(command.operands.iter().all(|operand| !operand.what.is_empty()), "{name}");
        }
    }

    #[test]
    fn commands_are_found_with_those_behind_them() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let found = |line: &str| find(&words(line)).map(|(found, rest)| (found.name, rest.len()));
        assert_eq!(found("job start x"), Some(("job start", 1)));
        assert_eq!(found("job nonsense"), Some(("job", 1)));
        assert_eq!(found("trim --dry-run"), Some(("trim", 1)));
        assert_eq!(found("gcc -c"), None);
    }
}
