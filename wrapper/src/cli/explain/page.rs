//! An explanation as text and as JSON.

use std::fmt::Write;

use super::super::json::{self, Object};
use super::super::style::{Paint, Style};
use super::past::Explained;
use super::texts::Shown;
use crate::account::Account;
use crate::account::compare::{Difference, argument_words};
use crate::outcome::Counter;
use crate::stats::{self, ago};

/// The version of the JSON: raised when a field changes its meaning.
const JSON_VERSION: u64 = 1;
/// Columns before what hangs.
const INDENT: usize = 4;
/// Words of a command line that are shown.
const WORDS_MAX: usize = 40;

/// For people.
pub fn text(explained: &Explained, style: Style) -> String {
    let mut page = headline(explained, style);
    if let Some(account) = &explained.account {
        page.push_str(&call(account, explained.is_future, style));
    }
    if let Some(result) = &explained.result {
        page.push_str(&style.hang("", 2, &sentence(result)));
    }
    if let Some(obstacle) = &explained.obstacle {
        let _ = write!(page, "\n{}\n", style.paint(Paint::Bold, "In the way of a hit"));
        page.push_str(&style.hang("", 2, &sentence(obstacle)));
    }
    if let Some(nearest) = &explained.nearest {
        let title = format!("The nearest earlier entry, {}", ago(nearest.at_ns / 1_000_000_000));
        let _ = write!(page, "\n{}\n", style.paint(Paint::Bold, &title));
        page.push_str(&other_place(explained, nearest, style));
        for (difference, shown) in &explained.differences {
            page.push_str(&point(difference, shown.as_ref(), style));
        }
    }
    if !explained.notes.is_empty() {
        page.push('\n');
        explained.notes.iter().for_each(|note| page.push_str(&style.hang("", 0, note)));
    }
    page
}

fn headline(explained: &Explained, style: Style) -> String {
    let (verb, paint) = match ending(explained.outcome) {
        Ending::Hit(kind) => (format!("a {kind}"), Paint::Green),
        Ending::Miss => ("a miss".to_owned(), Paint::Yellow),
        Ending::Failed => ("the compiler failed".to_owned(), Paint::Red),
        Ending::Uncached => ("not cached".to_owned(), Paint::Yellow),
    };
    let verb = match (explained.is_future, ending(explained.outcome)) {
        (true, Ending::Hit(_) | Ending::Miss) => format!("it would be {verb}"),
        (true, _) => format!("it would be compiled and {verb}"),
        (false, _) => verb,
    };
    let source = explained.account.as_ref().map(|account| &account.source);
    let source = source.filter(|source| !source.as_os_str().is_empty());
    let lead = source.map_or(String::new(), |source| format!("{}: ", source.display()));
    let mut line = format!("{lead}{}", style.paint(paint, &verb));
    if let Some(account) = explained.account.as_ref().filter(|_| !explained.is_future) {
        line.push_str(&format!(", {}", ago(account.at_ns / 1_000_000_000)));
    }
    line.push('\n');
    if !explained.reason.is_empty() || ending(explained.outcome) == Ending::Uncached {
        let words = stats::words_of(explained.outcome).map_or("an unknown reason", |row| row.words);
        let name = stats::words_of(explained.outcome).map_or("unknown", |row| row.name);
        let reason = match (&*explained.reason, ending(explained.outcome)) {
            ("", _) => format!("{words} ({name})"),
            (reason, Ending::Uncached) => format!("{words} ({name}): {reason}"),
            (reason, _) => reason.to_owned(),
        };
        line.push_str(&style.hang("", 2, &sentence(&reason)));
    }
    line
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Hit(&'static str),
    Miss,
    Failed,
    Uncached,
}

fn ending(outcome: u16) -> Ending {
    let is = |counter: Counter| outcome == counter as u16;
    if is(Counter::DirectCacheHit) {
        Ending::Hit("direct hit")
    } else if is(Counter::PreprocessedCacheHit) {
        Ending::Hit("preprocessed hit")
    } else if is(Counter::FailureCacheHit) {
        Ending::Hit("hit: the compile would fail, and that is known")
    } else if is(Counter::CacheMiss) {
        Ending::Miss
    } else if is(Counter::CompileFailed) {
        Ending::Failed
    } else {
        Ending::Uncached
    }
}

/// The call itself.
fn call(account: &Account, is_future: bool, style: Style) -> String {
    let mut page = String::new();
    let counted = argument_words(account);
    let words: Vec<String> = match counted.is_empty() {
        true => account.words.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        false => counted,
    };
    let mut line = format!("{} {}", account.compiler.display(), first_words(&words));
    if account.is_cut {
        line.push_str(" (cut)");
    }
    page.push_str(&style.hang("", 2, &line));
    page.push_str(&style.hang("", 2, &format!("in {}", account.directory.display())));
    if account.cost_us > 0 && !is_future {
        let took = stats::time(u64::from(account.cost_us));
        page.push_str(&style.hang("", 2, &format!("the compiler took {took}")));
    }
    page
}

fn first_words(words: &[String]) -> String {
    match words.len() > WORDS_MAX {
        true => format!("{} ... ({} words)", words[..WORDS_MAX].join(" "), words.len()),
        false => words.join(" "),
    }
}

/// Where the nearest entry was made, if elsewhere.
fn other_place(explained: &Explained, nearest: &Account, style: Style) -> String {
    match &explained.account {
        Some(account) if account.source != nearest.source => {
            let text = format!("made for {}", nearest.source.display());
            style.hang("", 2, &text)
        }
        _ => String::new(),
    }
}

/// One difference.
fn point(difference: &Difference, shown: Option<&Shown>, style: Style) -> String {
    let mut page = style.hang(" *", INDENT, &sentence(&difference.text));
    for detail in &difference.details {
        page.push_str(&style.hang("", INDENT, detail));
    }
    let Some(shown) = shown else { return page };
    if shown.from.is_none() {
        let text = "the earlier text is not at hand: neither git nor explain_sources has it";
        page.push_str(&style.hang("", INDENT, text));
    }
    for (sign, number, text) in &shown.lines {
        let paint = if *sign == '+' { Paint::Green } else { Paint::Red };
        let plain = text.replace(char::is_control, " ");
        let line = format!("{sign} {number}: {plain}");
        let _ = writeln!(page, "{:INDENT$}{}", "", style.paint(paint, &line));
    }
    if shown.more > 0 {
        let more = stats::counted(shown.more as u64, "more line");
        page.push_str(&style.hang("", INDENT, &format!("and {more}")));
    }
    page
}

/// With a capital letter, unless it begins with a name, and a full stop.
fn sentence(text: &str) -> String {
    let text = text.trim_end_matches('.');
    let word = text.split(' ').next().unwrap_or_default();
    let is_word = word.chars().all(|c| c.is_ascii_lowercase());
    let mut letters = text.chars();
    match letters.next().filter(|_| is_word) {
        Some(first) => format!("{}{}.", first.to_ascii_uppercase(), letters.as_str()),
        None => format!("{text}."),
    }
}

/// For programs.
pub fn json(explained: &Explained) -> String {
    let row = stats::words_of(explained.outcome);
    let mut object = Object::new()
        .number("version", JSON_VERSION)
        .switch("is_future", explained.is_future)
        .text("outcome", row.map_or("unknown", |row| row.name))
        .number("outcome_id", u64::from(explained.outcome))
        .text("reason", &explained.reason);
    if let Some(account) = &explained.account {
        object = of_account(object, account);
    }
    object
        .maybe_text("obstacle", explained.obstacle.as_deref())
        .list("nearest", explained.nearest.iter().map(|near| of_account(Object::new(), near)))
        .list("differences", explained.differences.iter().map(|(d, s)| of(d, s.as_ref())))
        .list("notes", explained.notes.iter().map(|note| Object::new().text("text", note)))
        .page()
}

fn of_account(object: Object, account: &Account) -> Object {
    let words = argument_words(account).join(" ");
    object
        .number("at_ms", account.at_ns / 1_000_000)
        .text("source", &account.source.to_string_lossy())
        .text("directory", &account.directory.to_string_lossy())
        .text("compiler", &account.compiler.to_string_lossy())
        .text("arguments", &words)
        .number("compile_us", u64::from(account.cost_us))
        .maybe_text("result", account.result.map(|key| key.to_string()).as_deref())
        .switch("is_cut", account.is_cut)
}

fn of(difference: &Difference, shown: Option<&Shown>) -> Object {
    let file = difference.file.as_ref().map(|file| file.to_string_lossy().into_owned());
    let line = |(sign, number, text): &(char, usize, String)| {
        Object::new()
            .text("sign", &sign.to_string())
            .number("number", *number as u64)
            .text("text", text)
    };
    let lines = shown.map_or(&[][..], |shown| &shown.lines);
    let details = difference.details.iter().map(|detail| json::string(detail));
    Object::new()
        .text("kind", difference.kind.name())
        .text("text", &difference.text)
        .maybe_text("file", file.as_deref())
        .raw("details", &format!("[{}]", details.collect::<Vec<_>>().join(", ")))
        .raw(
            "lines",
            &format!("[{}]", lines.iter().map(|l| line(l).line()).collect::<Vec<_>>().join(", ")),
        )
        .maybe_text("lines_from", shown.and_then(|shown| shown.from))
}
