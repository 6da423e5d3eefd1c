//! A project and what happens to it, step by step, as data: it can be run, cut down and printed.
//!
//! Every name is relative to the project's root, and [`ROOT`] in a text, an argument or a variable
//! stands for the root's path. So a script means the same wherever it is run.

use std::collections::BTreeMap;
use std::fmt;

/// Stands for the absolute path of the project's root.
pub const ROOT: &str = "@ROOT@";

/// What stands under a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A regular file.
    File(String),
    /// A symbolic link.
    Link(String),
}

/// When a file says that it was changed last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Time {
    /// Now.
    Now,
    /// What it said before.
    Kept,
    /// Seconds since 1970.
    At(u64),
}

/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Its bytes are replaced in place.
    Into,
    /// Another file is renamed over it.
    Over,
}

/// A command line that makes something which a later one takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The compiler, by name or path.
    pub compiler: String,
    /// Its arguments; the words of one option stand together.
    pub units: Vec<Vec<String>>,
}

/// One command line and all that is around it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// What runs before it in the same surroundings.
    pub parts: Vec<Part>,
    /// The compiler, by name or path.
    pub compiler: String,
    /// Its arguments; the words of one option stand together.
    pub units: Vec<Vec<String>>,
    /// Variables beside the fixed ones.
    pub variables: BTreeMap<String, String>,
    /// The working directory.
    pub directory: String,
    /// The umask.
    pub umask: u32,
}

impl Call {
    /// The arguments, one after the other.
    pub fn words(&self) -> impl Iterator<Item = &String> {
        self.units.iter().flatten()
    }
}

/// A change of one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// A file gets a text.
    Write {
        /// Its name.
        name: String,
        /// The text.
        text: String,
        /// Its time after that.
        time: Time,
        /// In place or by renaming.
        way: Way,
    },
    /// A file's time is set.
    Touch(String, Time),
    /// A file, link or directory goes.
    Remove(String),
    /// It gets another name.
    Rename(String, String),
    /// A link is made anew: its name, where it leads.
    Link(String, String),
    /// A second name for a file: the new name, the old one.
    HardLink(String, String),
    /// A file's permissions.
    Mode(String, u32),
    /// A variable is set or unset.
    Variable(String, Option<String>),
    /// The working directory.
    Directory(String),
    /// The umask.
    Umask(u32),
    /// The compiler.
    Compiler(String),
    /// All arguments.
    Arguments(Vec<Vec<String>>),
    /// All arguments of one of the earlier command lines.
    PartArguments(usize, Vec<Vec<String>>),
}

/// What is run after a change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Step {
    /// The changes; all but one of them are there because it needs them.
    pub actions: Vec<Action>,
    /// Whether nothing is run.
    pub is_silent: bool,
    /// How many of the earlier command lines do not run again.
    pub parts_skipped: usize,
    /// Whether larder runs right after the change, and the compiler alone later.
    pub larder_first: bool,
    /// Whether larder is called by a link that is named like the compiler.
    pub by_link: bool,
    /// Whether larder has compiled a copy of the project before, with which results are shared.
    pub copy_first: bool,
    /// Whether a second call with other names of its outputs runs at the same time.
    pub has_twin: bool,
    /// A change while the compiler runs, and after how many microseconds.
    pub meanwhile: Option<(u64, Action)>,
}

/// A project and its steps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    /// What stands there at first.
    pub files: BTreeMap<String, Entry>,
    /// The first call.
    pub call: Call,
    /// What happens then.
    pub steps: Vec<Step>,
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=+,:@%^".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn write_text(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    let escaped = text.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t");
    let escaped = escaped.replace('%', "%%");
    writeln!(f, "printf {} > {}", quoted(&escaped), quoted(name))
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.part_calls(0).iter().try_for_each(|part| part.fmt(f))?;
        write!(f, "(cd {}; umask {:03o};", quoted(&self.directory), self.umask)?;
        self.variables
            .iter()
            .try_for_each(|(name, value)| write!(f, " {name}={}", quoted(value)))?;
        write!(f, " $LARDER {}", quoted(&self.compiler))?;
        self.words().try_for_each(|word| write!(f, " {}", quoted(word)))?;
        writeln!(f, ")")
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = |time: &Time| match time {
            Time::Now => String::new(),
            Time::Kept => "  # with its old mtime".to_owned(),
            Time::At(secs) => format!("  # with mtime {secs}"),
        };
        match self {
            Action::Write { name, text, time, way } => {
                if *way == Way::Over {
                    writeln!(f, "# by a rename:")?;
                }
                if *time != Time::Now {
                    writeln!(f, "#{}:", kept(time).trim_start_matches("  #"))?;
                }
                write_text(f, name, text)
            }
            Action::Touch(name, time) => writeln!(f, "touch {}{}", quoted(name), kept(time)),
            Action::Remove(name) => writeln!(f, "rm -r {}", quoted(name)),
            Action::Rename(from, to) => writeln!(f, "mv {} {}", quoted(from), quoted(to)),
            Action::Link(name, target) => {
                writeln!(f, "ln -sfn {} {}", quoted(target), quoted(name))
            }
            Action::HardLink(name, old) => writeln!(f, "ln -f {} {}", quoted(old), quoted(name)),
            Action::Mode(name, mode) => writeln!(f, "chmod {mode:o} {}", quoted(name)),
            Action::Variable(name, Some(value)) => writeln!(f, "# with {name}={}", quoted(value)),
            Action::Variable(name, None) => writeln!(f, "# without {name}"),
            Action::Directory(name) => writeln!(f, "# in {}", quoted(name)),
            Action::Umask(umask) => writeln!(f, "# with umask {umask:03o}"),
            Action::Compiler(name) => writeln!(f, "# with {}", quoted(name)),
            Action::Arguments(_) | Action::PartArguments(..) => {
                writeln!(f, "# with other arguments")
            }
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut call = self.call.clone();
        for (name, entry) in &self.files {
            match entry {
                Entry::File(text) => write_text(f, name, text)?,
                Entry::Link(target) => writeln!(f, "ln -s {} {}", quoted(target), quoted(name))?,
            }
        }
        for step in &self.steps {
            for action in &step.actions {
                call.take(action);
                action.fmt(f)?;
            }
            if step.is_silent {
                continue;
            }
            if let Some((microseconds, action)) = &step.meanwhile {
                write!(f, "(sleep {microseconds}e-6; {}) &  ", action.to_string().trim_end())?;
            }
            if step.copy_first {
                writeln!(f, "# after a copy, with LARDER_BASE_DIRS as each one's folder:")?;
            }
            if step.has_twin {
                writeln!(f, "# two calls at once, outputs apart:")?;
            }
            let link = if step.by_link { "by a link named as the compiler" } else { "" };
            let order = if step.larder_first { "larder first" } else { "" };
            if !link.is_empty() || !order.is_empty() {
                writeln!(f, "# {link} {order}:")?;
            }
            let mut shown = call.clone();
            shown.parts.drain(..step.parts_skipped.min(call.parts.len()));
            shown.fmt(f)?;
        }
        Ok(())
    }
}

impl Call {
    /// The earlier command lines but for the first few, each as a call.
    pub fn part_calls(&self, skipped: usize) -> Vec<Call> {
        let call = |part: &Part| Call {
            parts: Vec::new(),
            compiler: part.compiler.clone(),
            units: part.units.clone(),
            ..self.clone()
        };
        self.parts.iter().skip(skipped).map(call).collect()
    }

    /// Takes what an action says about calls.
    pub fn take(&mut self, action: &Action) {
        match action {
            Action::Variable(name, Some(value)) => {
                self.variables.insert(name.clone(), value.clone());
            }
            Action::Variable(name, None) => {
                self.variables.remove(name);
            }
            Action::Directory(name) => self.directory.clone_from(name),
            Action::Umask(umask) => self.umask = *umask,
            Action::Compiler(name) => self.compiler.clone_from(name),
            Action::Arguments(units) => self.units.clone_from(units),
            Action::PartArguments(at, units) => {
                if let Some(part) = self.parts.get_mut(*at) {
                    part.units.clone_from(units);
                }
            }
            _ => {}
        }
    }
}
