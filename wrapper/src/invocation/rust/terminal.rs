//! What a terminal changes in messages: rustc sees a pipe in its place.
//!
//! 1. Where rustc would colour what it says it is told to: for people, on a terminal that has
//!    colours, where nothing says otherwise (`TERM`, `NO_COLOR`, `CLICOLOR=0`).
//! 2. The width at which it cuts long lines it takes from stdin, if that is a terminal; then it
//!    counts where something is said. That of stderr alone is left out.

use std::env;
use std::io::{IsTerminal, stderr, stdin};

use crate::outcome::{Counter, Reason};
use crate::rust::arguments::Crate;

const COLOR: &str = "--color";

/// What rustc is told beside its own words. All that changes its messages counts for them.
///
/// # Errors
/// If the caller's own words leave it to the terminal.
pub(super) fn words(made: &mut Crate) -> Result<Option<String>, Reason> {
    let value_of = |made: &Crate, name: &str| {
        let at = made.message_words.iter().position(|word| word == name)?;
        made.message_words.get(at + 1).cloned()
    };
    if value_of(made, "--diagnostic-width").is_none() {
        let size = rustix::termios::tcgetwinsize(stdin());
        let width = size.ok().filter(|size| size.ws_col > 0);
        made.message_words.extend(width.map(|size| format!("width {}", size.ws_col)));
    }
    let is_json = value_of(made, "--error-format").as_deref() == Some("json");
    let color = value_of(made, COLOR);
    let is_left = color.as_deref().is_none_or(|color| color == "auto");
    if is_json || !is_left || !wants_colors(stderr().is_terminal(), |name| env::var(name).ok()) {
        return Ok(None);
    }
    if color.is_some() {
        let text = format!("{COLOR} auto leaves it to the terminal");
        return Err(Reason::new(Counter::UnsupportedCompilerOption, text));
    }
    let word = format!("{COLOR}=always");
    made.message_words.push(word.clone());
    Ok(Some(word))
}

fn wants_colors(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let has = |name: &str, wanted: fn(&str) -> bool| variable(name).is_some_and(|it| wanted(&it));
    is_terminal
        && has("TERM", |term| term != "dumb")
        && !has("NO_COLOR", |value| !value.is_empty())
        && !has("CLICOLOR", |value| value == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_wanted_on_terminals_alone() {
        let wants = |is_terminal, set: &[(&str, &str)]| {
            let find = |name: &str| set.iter().find(|(known, _)| *known == name);
            wants_colors(is_terminal, |name| find(name).map(|(_, value)| (*value).to_owned()))
        };
        let term = ("TERM", "xterm");
        assert!(wants(true, &[term]) && wants(true, &[term, ("NO_COLOR", "")]));
        assert!(!wants(false, &[term]) && !wants(true, &[]) && !wants(true, &[("TERM", "dumb")]));
        assert!(!wants(true, &[term, ("NO_COLOR", "1")]));
        assert!(!wants(true, &[term, ("CLICOLOR", "0")]));
    }
}
