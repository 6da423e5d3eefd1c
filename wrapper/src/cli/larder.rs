//! `larder`: a compiler launcher with a few commands for people.
//!
//! 1. Called by a link named like a compiler, or like what comes with one, larder is that program.
//!    Under any other name that has no `larder` in it, it is itself only if what follows is certain
//!    to be meant for it; else it says what a link is to be called.
//! 2. The first argument is a command if it is one of [`COMMANDS`]; any other word is a compiler. A
//!    compiler that is named like a command is given by its path.
//! 3. Wrong use ends with status 2 and says what would be right. What the commands take is a
//!    matter of [`flags`].

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::exit;

use super::command::{Failure, print};
use super::flags::{self, COMMANDS, Parsed};
use super::mask::{self, Mask};
use super::style::{Paint, Style};
use super::toolchain::places;
use super::{ccache, sccache};
use crate::compiler::is_toolchain_name;
use crate::config;
use crate::exec::is_larder;
use crate::invocation;

const STATUS_FAILED: i32 = 1;
const STATUS_WRONG_USE: i32 = 2;
const STATUS_UNREADABLE: i32 = 3;

/// Runs the binary.
pub fn main() -> ! {
    let mut arguments = env::args_os();
    let called = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    let name = Path::new(&called).file_name().unwrap_or_default();
    match mask::of_name(name) {
        Some(Mask::Ccache) => ccache::main(&arguments),
        Some(Mask::Sccache) => sccache::main(&arguments),
        None => {}
    }
    if is_toolchain_name(name) {
        match mask::behind(&called) {
            Some(Mask::Ccache) => ccache::masquerade(name, &arguments),
            Some(Mask::Sccache) => sccache::masquerade(name, &arguments),
            None => invocation::run(name, &arguments, true),
        }
    }
    if !is_own_name(name) && !arguments.first().is_some_and(|first| is_for_larder(first)) {
        end(Err(wrong(&format!(
            "it is called as {0}, which it does not know as a compiler: give a link the name of a \
             compiler, as gcc, g++-12, clang or x86_64-linux-gnu-gcc, or write `larder {0}`",
            name.display()
        ))));
    }
    let arguments = without_own_name(&arguments);
    let Some((first, rest)) = arguments.split_first() else {
        end(Err(wrong("no compiler and no command is given")))
    };
    match first.to_str() {
        Some("--help" | "-h" | "help") => end(help_of(rest)),
        Some("--version" | "-V") => end(print(&version())),
        Some(option) if option.starts_with('-') => end(Err(no_such_option(option))),
        Some("") => end(Err(wrong("the compiler's name is empty"))),
        _ => match flags::find(arguments) {
            Some((command, rest)) => end(run_command(command, rest)),
            None => match meant(first) {
                Some(command) => end(Err(wrong(&format!(
                    "there is no program and no command `{}`; did you mean `larder {command}`?",
                    first.display()
                )))),
                None => invocation::run(first, rest, false),
            },
        },
    }
}

/// Runs a program to which this one hands commands: `run` does the one of a name.
pub fn run_tool(run: &dyn Fn(&str, &flags::Given) -> Result<(), Failure>) -> ! {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let Some((command, rest)) = flags::find(&arguments) else {
        end(Err(Failure::WrongUse(
            "this program is started by `larder`; see `larder --help`".into(),
        )))
    };
    end(flags::parse(command, rest).and_then(|parsed| match parsed {
        Parsed::Help(command) => print(&flags::help(command, Style::of_stdout())),
        Parsed::Run(given) => run(command.name, &given),
    }))
}

/// The command that a word is perhaps meant to be, which is neither a compiler's name nor that of a
/// program. What is a compiler's name costs nothing here.
fn meant(word: &OsStr) -> Option<&'static str> {
    if is_toolchain_name(word) || word.as_encoded_bytes().contains(&b'/') {
        return None;
    }
    let near = flags::nearest(&word.to_string_lossy(), COMMANDS.iter().map(|known| known.name))?;
    let path = env::var_os("PATH").unwrap_or_default();
    places(word, &path).is_empty().then_some(near)
}

/// Wrong use of what is no command.
fn wrong(text: &str) -> Failure {
    Failure::WrongUse(format!("{text}; `larder --help` shows what there is"))
}

fn no_such_option(option: &str) -> Failure {
    let known = ["--help", "--version"];
    let commands = COMMANDS.iter().map(|command| command.name);
    let near = flags::nearest(option, known.into_iter());
    let near = near.or_else(|| flags::nearest(option.trim_start_matches('-'), commands));
    match near {
        Some(near) => wrong(&format!("there is no option {option}; did you mean `larder {near}`?")),
        None => wrong(&format!("there is no option {option}")),
    }
}

/// Whether larder may have been installed under this name.
fn is_own_name(name: &OsStr) -> bool {
    name.is_empty() || name.as_encoded_bytes().windows(6).any(|part| part == b"larder")
}

/// Whether the first word is one that only larder understands, or a compiler.
fn is_for_larder(word: &OsStr) -> bool {
    let text = word.to_str().unwrap_or_default();
    let is_option = ["--help", "-h", "help", "--version", "-V"].contains(&text);
    let is_command = COMMANDS.iter().any(|command| command.name == text);
    let name = Path::new(word).file_name().unwrap_or_default();
    is_option || is_command || is_toolchain_name(name)
}

fn run_command(command: &'static flags::Command, arguments: &[OsString]) -> Result<(), Failure> {
    match flags::parse(command, arguments)? {
        Parsed::Help(command) => print(&flags::help(command, Style::of_stdout())),
        Parsed::Run(given) => match command.run {
            Some(run) => run(&given),
            None => Err(given.wrong("there is nothing to do")),
        },
    }
}

/// `larder --help`, or that of a command.
fn help_of(words: &[OsString]) -> Result<(), Failure> {
    let Some(first) = words.first() else { return print(&help(Style::of_stdout())) };
    match flags::find(words) {
        Some((command, [])) => print(&flags::help(command, Style::of_stdout())),
        _ => {
            let first = first.to_string_lossy();
            let near = flags::nearest(&first, COMMANDS.iter().map(|command| command.name));
            let meant = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
            Err(wrong(&format!("there is no command `{first}`{meant}")))
        }
    }
}

/// `larder larder gcc` is one wrapper.
fn without_own_name(arguments: &[OsString]) -> &[OsString] {
    let own_exe = match arguments {
        [first, ..] if first.as_encoded_bytes().ends_with(b"larder") => {
            env::current_exe().unwrap_or_default()
        }
        _ => return arguments,
    };
    let count = arguments.iter().take_while(|word| is_larder(word, &own_exe)).count();
    &arguments[count..]
}

fn end(result: Result<(), Failure>) -> ! {
    let Err(failure) = result else { exit(0) };
    let name = Style::of_stderr().paint(Paint::Red, "larder:");
    eprintln!("{name} {}", failure.text());
    exit(match failure {
        Failure::Failed(_) => STATUS_FAILED,
        Failure::Unreadable(_) => STATUS_UNREADABLE,
        Failure::WrongUse(_) => STATUS_WRONG_USE,
    })
}

fn version() -> String {
    format!("larder {}\n", env!("CARGO_PKG_VERSION"))
}

fn help(style: Style) -> String {
    let heading = |text: &str| style.paint(Paint::Bold, text);
    let mut text = format!(
        "larder keeps what compilers make and hands it out when the same would be made again.\n\
         \n\
         {}\n\
         \x20 larder COMPILER ARGUMENTS    compile, or restore what a compile has made before\n\
         \x20 larder COMMAND               see below; larder COMMAND --help tells more\n\
         \n\
         A link to larder that is named like a compiler (gcc, g++-12, clang, cc) is that one.\n\
         In a build: make CC=\"larder gcc\", or cmake -DCMAKE_C_COMPILER_LAUNCHER=larder.\n\
         \n\
         {}\n",
        heading("usage:"),
        heading("commands:")
    );
    for command in COMMANDS {
        text.push_str(&style.hang(&format!("  {}", command.name), 15, command.what));
    }
    text.push_str(&format!(
        "\n{}\n",
        heading(
            "settings (in the environment; without LARDER_ and in small letters in larder.toml):"
        )
    ));
    for (variable, what) in config::describe_variables() {
        text.push_str(&style.hang(&format!("  {variable}"), 29, what));
    }
    text
}
