//! `larder man`: manual pages, made from the table of flags.
//!
//! 1. `larder.1` is about larder and its settings; each command has a page `larder-COMMAND.1`, and
//!    commands that stand behind another one are on its page.
//! 2. The pages use the macros of man(7), and nothing that only one formatter knows.
//! 3. They carry the version and no date: the same larder writes the same pages.

use std::fs;
use std::path::Path;

use super::command::{Failure, print};
use super::flags::{self, COMMANDS, Command, Given};
use super::json::Object;
use crate::config;

/// The command.
pub fn run(given: &Given) -> Result<(), Failure> {
    let Some(directory) = given.operand(0).map(Path::new) else {
        return print(&main_page());
    };
    fs::create_dir_all(directory).map_err(|error| cannot_write(directory, &error))?;
    let mut files = Vec::new();
    let pages = COMMANDS.iter().map(|command| (file_name(command), page(command)));
    for (name, text) in pages.chain([("larder.1".to_owned(), main_page())]) {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| cannot_write(&path, &error))?;
        files.push(path.display().to_string());
    }
    files.sort();
    if given.has("json") {
        let file = |file: &String| Object::new().text("file", file);
        return print(&Object::new().list("written", files.iter().map(file)).page());
    }
    print(&files.iter().map(|file| format!("{file}\n")).collect::<String>())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    let path = path.display();
    Failure::Failed(format!("cannot write {path}: {error}; give a directory that can be written"))
}

fn file_name(command: &Command) -> String {
    format!("larder-{}.1", command.name)
}

/// A page under construction.
struct Page(String);

impl Page {
    fn new(name: &str, what: &str) -> Page {
        let title = name.to_uppercase();
        let version = env!("CARGO_PKG_VERSION");
        let mut page = Page(format!(".TH \"{title}\" 1 \"\" \"larder {version}\" \"larder\"\n"));
        page.section("NAME");
        page.0.push_str(&format!("{} \\- {}\n", escaped(name), escaped(what)));
        page
    }

    fn section(&mut self, title: &str) {
        self.0.push_str(&format!(".SH {title}\n"));
    }

    fn paragraphs(&mut self, paragraphs: &[&str]) {
        for (at, paragraph) in paragraphs.iter().enumerate() {
            if at > 0 {
                self.0.push_str(".PP\n");
            }
            self.text(paragraph);
        }
    }

    fn text(&mut self, text: &str) {
        self.0.push_str(&line(text));
    }

    /// A term, bold, and what it is.
    fn term(&mut self, term: &str, text: &str) {
        self.0.push_str(&format!(".TP\n.B {}\n{}", escaped(term), line(text)));
    }

    fn example(&mut self, example: &str, text: &str) {
        self.0.push_str(&format!(".TP\n.B {}\n{}", escaped(example), line(text)));
    }

    /// The usage: the name bold, the rest as it is.
    fn usage(&mut self, command: &Command) {
        let parts = flags::usage(command);
        self.0.push_str(&format!(".B {}\n", escaped(&parts[0])));
        self.0.push_str(&line(&parts[1..].join(" ")));
    }

    fn statuses(&mut self, command: &Command) {
        for (status, what) in command.statuses {
            self.term(&status.to_string(), what);
        }
    }
}

/// The page of a command.
fn page(command: &Command) -> String {
    let mut page = Page::new(&format!("larder-{}", command.name), command.what);
    page.section("SYNOPSIS");
    match command.commands {
        [] => page.usage(command),
        inner => {
            for (at, inner) in inner.iter().enumerate() {
                page.0.push_str(if at > 0 { ".br\n" } else { "" });
                page.usage(inner);
            }
        }
    }
    if !command.about.is_empty() {
        page.section("DESCRIPTION");
        page.paragraphs(command.about);
    }
    if !command.commands.is_empty() {
        page.section("COMMANDS");
        for inner in command.commands {
            page.term(inner.word(), inner.what);
        }
    }
    page.section("OPTIONS");
    let itself = std::slice::from_ref(command);
    let of_all = if command.commands.is_empty() { itself } else { command.commands };
    for (lead, what) in of_all.iter().flat_map(flags::rows) {
        page.term(&lead, what);
    }
    page.term("-h, --help", "Show the help of this command.");
    if !command.notes.is_empty() {
        page.section("NOTES");
        page.paragraphs(command.notes);
    }
    if !command.examples.is_empty() {
        page.section("EXAMPLES");
        command.examples.iter().for_each(|(example, what)| page.example(example, what));
    }
    page.section("EXIT STATUS");
    page.statuses(command);
    page.section("SEE ALSO");
    page.0.push_str(".BR larder (1)\n");
    page.0
}

/// The page of larder itself.
fn main_page() -> String {
    let mut page = Page::new("larder", "keep what compilers make");
    page.section("SYNOPSIS");
    page.0.push_str(".B larder\n.I COMPILER ARGUMENTS\n.br\n.B larder\n.I COMMAND\n");
    page.section("DESCRIPTION");
    page.paragraphs(&[
        "larder keeps what compilers make and hands it out when the same would be made again. It \
         stands in front of gcc or clang; a link to larder that is named like a compiler is that \
         compiler.",
        "Whatever fails in larder, the compiler runs, and the build sees what the compiler does.",
    ]);
    page.section("COMMANDS");
    for command in COMMANDS {
        page.term(command.name, &format!("{}; see larder-{}(1)", command.what, command.name));
    }
    page.section("ENVIRONMENT");
    page.text(
        "Each setting can be a variable, or, without LARDER_ and in small letters, a key of \
         larder.toml. The environment wins.",
    );
    for (variable, what) in config::describe_variables() {
        page.term(variable, what);
    }
    page.section("FILES");
    page.term("~/.config/larder/larder.toml", "The settings of the user.");
    page.term(".larder.toml", "The settings of a directory and of what is below it.");
    page.term("~/.cache/larder", "The store, unless LARDER_DIR says otherwise.");
    page.section("EXAMPLES");
    page.example("make CC='larder gcc' CXX='larder g++'", "Build with make.");
    page.example(
        "cmake -DCMAKE_C_COMPILER_LAUNCHER=larder -DCMAKE_CXX_COMPILER_LAUNCHER=larder",
        "Build with cmake.",
    );
    page.section("EXIT STATUS");
    page.text("That of the compiler. 127 if there is no such compiler.");
    page.section("SEE ALSO");
    let pages = COMMANDS.iter().map(|command| format!(".BR larder\\-{} (1)", command.name));
    page.0.push_str(&pages.collect::<Vec<_>>().join(",\n"));
    page.0.push('\n');
    page.0
}

/// A line of text.
fn line(text: &str) -> String {
    let text = escaped(text);
    // What begins with a dot or a quote would be a request.
    let guard = if text.starts_with(['.', '\'']) { "\\&" } else { "" };
    format!("{guard}{text}\n")
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '~' => escaped.push_str("\\(ti"),
            '^' => escaped.push_str("\\(ha"),
            '`' => escaped.push_str("\\(ga"),
            '\'' => escaped.push_str("\\(aq"),
            '"' => escaped.push_str("\\(dq"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_roff_reserves_is_escaped() {
        assert_eq!(line(".x"), "\\&.x\n");
        assert_eq!(escaped("a-b \\ 'c' \"d\" ~"), "a\\-b \\e \\(aqc\\(aq \\(dqd\\(dq \\(ti");
    }

    #[test]
    fn every_command_has_a_page_with_every_flag() {
        for command in COMMANDS {
            let text = page(command);
            assert!(text.starts_with(&format!(".TH \"LARDER-{}\" 1", command.name.to_uppercase())));
            let inner = std::iter::once(command).chain(command.commands);
            for flag in inner.flat_map(Command::shown_flags) {
                assert!(text.contains(&escaped(&format!("--{}", flag.name))), "{text}");
            }
            assert!(main_page().contains(&format!("larder\\-{} (1)", command.name)));
        }
    }
}
