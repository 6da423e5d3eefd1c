//! `larder completions SHELL`: what a shell has to know to complete commands, flags and values.
//!
//! 1. The scripts are made from the table of flags; they need no other file.
//! 2. The first word is a command of larder or a compiler. Behind a compiler the shell completes as
//!    if larder did not stand there.
//! 3. Ids of jobs are asked for when they are wanted, of the larder that is being typed.

mod bash;
mod fish;
mod zsh;

use super::command::{Failure, print};
use super::flags::{Command, Given, Kind};

/// The shells that there are scripts for.
pub const SHELLS: &[&str] = &["bash", "zsh", "fish"];

/// Words that compilers are called by, as an extended regular expression: a target, a name and a
/// version. `compiler::recognise` has the rule.
const COMPILER_NAMES: &str =
    "^([A-Za-z0-9_.-]+-)?(gcc|g[+][+]|clang|clang[+][+]|cc|c[+][+])(-[0-9.]+)?$";

/// The command.
pub fn run(given: &Given) -> Result<(), Failure> {
    let shell = given.operand(0).and_then(|shell| shell.to_str()).unwrap_or_default();
    print(&match shell {
        "bash" => bash::script(),
        "zsh" => zsh::script(),
        _ => fish::script(),
    })
}

/// What stands at a place, in the words of a shell's script.
fn kind_at(command: &Command, place: usize) -> Option<Kind> {
    let operand = command.operands.get(place).or(command.operands.last())?;
    Some(operand.kind)
}

/// A text between single quotes for a shell in the manner of Bourne's.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::super::flags;
    use super::*;

    #[test]
    fn every_script_names_every_command_and_flag() {
        for (shell, script) in
            [("bash", bash::script()), ("zsh", zsh::script()), ("fish", fish::script())]
        {
            for command in flags::all() {
                assert!(script.contains(command.word()), "{shell} {}", command.name);
                for flag in command.shown_flags() {
                    assert!(script.contains(flag.name), "{shell} {} {}", command.name, flag.name);
                }
            }
            assert!(!script.contains("background"), "{shell} tells what is hidden");
        }
        assert_eq!(SHELLS.len(), 3);
    }

    #[test]
    fn quotes_are_quoted() {
        assert_eq!(quoted("what's"), "'what'\\''s'");
    }
}
