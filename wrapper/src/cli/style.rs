//! How text for people is set: colours where they are welcome, and as wide as there is room.
//!
//! 1. `NO_COLOR` (not empty) and `CLICOLOR=0` take colours away, `CLICOLOR_FORCE` (not empty and
//!    not 0) gives them also where there is no terminal; `NO_COLOR` wins. Else there are colours on
//!    a terminal whose `TERM` is set and not `dumb`.
//! 2. The width is `COLUMNS`, else the terminal's, else [`WIDTH_DEFAULT`]; never more than
//!    [`WIDTH_MAX`], because longer lines are hard to read.
//! 3. Nothing that a program parses is coloured: JSON, ids and paths that stand alone.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::fd::AsFd;

/// Columns where nobody says how many there are.
pub const WIDTH_DEFAULT: usize = 80;
/// Most columns that text takes.
pub const WIDTH_MAX: usize = 100;
/// Fewer are not heeded: lines then break in the terminal.
pub const WIDTH_MIN: usize = 40;

/// How text on one stream is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Style {
    /// Whether there are colours.
    pub is_coloured: bool,
    /// Columns of a line.
    pub width: usize,
    /// Whether somebody looks at it, and no program.
    pub is_terminal: bool,
}

/// A way to set a text off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Paint {
    /// Headings and names.
    Bold,
    /// What matters less.
    Dim,
    /// Problems, and misses.
    Red,
    /// What is fine, and hits.
    Green,
    /// What is worth knowing.
    Yellow,
    /// What can be typed.
    Cyan,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Paint::Bold => "1",
            Paint::Dim => "2",
            Paint::Red => "31",
            Paint::Green => "32",
            Paint::Yellow => "33",
            Paint::Cyan => "36",
        }
    }
}

impl Style {
    /// For text on stdout.
    pub fn of_stdout() -> Style {
        Style::of(&std::io::stdout())
    }

    /// For text on stderr.
    pub fn of_stderr() -> Style {
        Style::of(&std::io::stderr())
    }

    /// Plain text of a width.
    #[cfg(test)]
    pub const fn plain(width: usize) -> Style {
        Style { is_coloured: false, width, is_terminal: false }
    }

    fn of(stream: &(impl AsFd + IsTerminal)) -> Style {
        let is_terminal = stream.is_terminal();
        let size = rustix::termios::tcgetwinsize(stream).ok().filter(|_| is_terminal);
        let columns = size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
        Style::decide(is_terminal, columns, |name| std::env::var_os(name))
    }

    fn decide(
        is_terminal: bool,
        columns: Option<usize>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Style {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        let is_zero = |name: &str| variable(name).is_some_and(|value| value == "0");
        let is_forced = is_set("CLICOLOR_FORCE") && !is_zero("CLICOLOR_FORCE");
        let has_colours = variable("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        let is_welcome = is_forced || (is_terminal && has_colours && !is_zero("CLICOLOR"));
        let said = variable("COLUMNS").and_then(|columns| columns.to_str()?.parse().ok());
        let width = said.filter(|columns| *columns > 0).or(columns).unwrap_or(WIDTH_DEFAULT);
        Style {
            is_coloured: is_welcome && !is_set("NO_COLOR"),
            width: width.clamp(WIDTH_MIN, WIDTH_MAX),
            is_terminal,
        }
    }

    /// The text, set off where there are colours. Pad it before: what is added has no width.
    pub fn paint(&self, paint: Paint, text: &str) -> String {
        match self.is_coloured && !text.is_empty() {
            true => format!("\x1b[{}m{text}\x1b[0m", paint.code()),
            false => text.to_owned(),
        }
    }

    /// `lead` and the text behind it, broken into lines that begin below the text: `indent` columns
    /// are left free. A lead that is too long for them gets a line of its own.
    pub fn hang(&self, lead: &str, indent: usize, text: &str) -> String {
        let blank = " ".repeat(indent);
        let lines = wrap(text, self.width.saturating_sub(indent));
        let mut set = String::new();
        let mut lines = lines.iter();
        match lead.chars().count() + 2 <= indent {
            true => {
                let first = lines.next().map_or("", String::as_str);
                set.push_str(format!("{lead:<indent$}{first}").trim_end());
            }
            false if lead.is_empty() => {
                let first = lines.next().map_or("", String::as_str);
                set.push_str(format!("{blank}{first}").trim_end());
            }
            false => set.push_str(lead),
        }
        set.push('\n');
        for line in lines {
            set.push_str(&format!("{blank}{line}\n"));
        }
        set
    }
}

/// The words in lines of at most `width` columns; a longer word stands alone.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut used = 0;
    for word in text.split_whitespace() {
        let columns = word.chars().count();
        match lines.last_mut() {
            Some(line) if used + 1 + columns <= width => {
                line.push(' ');
                line.push_str(word);
                used += 1 + columns;
            }
            _ => {
                lines.push(word.to_owned());
                used = columns;
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(is_terminal: bool, variables: &[(&str, &str)]) -> Style {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Style::decide(is_terminal, Some(70), variable)
    }

    #[test]
    fn colours_are_where_they_are_welcome() {
        type Row = (bool, &'static [(&'static str, &'static str)], bool);
        let rows: &[Row] = &[
            (true, &[("TERM", "xterm")], true),
            (true, &[], false),
            (true, &[("TERM", "dumb")], false),
            (true, &[("TERM", "xterm"), ("NO_COLOR", "1")], false),
            (true, &[("TERM", "xterm"), ("NO_COLOR", "")], true),
            (true, &[("TERM", "xterm"), ("CLICOLOR", "0")], false),
            (false, &[("TERM", "xterm")], false),
            (false, &[("CLICOLOR_FORCE", "1")], true),
            (false, &[("CLICOLOR_FORCE", "0"), ("TERM", "xterm")], false),
            (true, &[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")], true),
            (false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        ];
        for (is_terminal, variables, wanted) in rows {
            let is_coloured = style(*is_terminal, variables).is_coloured;
            assert_eq!(is_coloured, *wanted, "{is_terminal} {variables:?}");
        }
    }

    #[test]
    fn the_width_is_what_there_is_within_reason() {
        assert_eq!(style(true, &[]).width, 70);
        assert_eq!(style(true, &[("COLUMNS", "60")]).width, 60);
        assert_eq!(style(true, &[("COLUMNS", "wide")]).width, 70);
        assert_eq!(style(true, &[("COLUMNS", "7")]).width, WIDTH_MIN);
        assert_eq!(style(true, &[("COLUMNS", "700")]).width, WIDTH_MAX);
        assert_eq!(Style::decide(false, None, |_| None).width, WIDTH_DEFAULT);
    }

    #[test]
    fn text_hangs_beside_its_lead() {
        let style = Style::plain(20);
        assert_eq!(
            style.hang("  --a", 8, "one two three four"),
            "  --a   one two\n        three four\n"
        );
        assert_eq!(style.hang("  --long", 8, "one"), "  --long\n        one\n");
        assert_eq!(style.hang("", 2, "one"), "  one\n");
        assert_eq!(wrap("a verylongword b", 4), ["a", "verylongword", "b"]);
    }

    #[test]
    fn paint_is_put_on_where_there_are_colours() {
        let coloured = Style { is_coloured: true, width: 80, is_terminal: false };
        assert_eq!(coloured.paint(Paint::Red, "x"), "\x1b[31mx\x1b[0m");
        assert_eq!(coloured.paint(Paint::Red, ""), "");
        assert_eq!(Style::plain(80).paint(Paint::Red, "x"), "x");
    }
}
