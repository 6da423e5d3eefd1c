//! What tells two calls apart, in words: the rows of their direct keys, one by one.
//!
//! Two calls have the same direct key if and only if all rows are equal, so that a list of the rows
//! that differ is complete, and an empty one means that the keys are the same.

use std::borrow::Cow;
use std::path::PathBuf;

use super::{Account, Part, row_digest};
use crate::config::Sloppiness;
use crate::digest::Digest;
use crate::fingerprint::{Row, is_locale_variable, is_variable};
use crate::place::MARK;

/// What kind of input differs; the names stand in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    Scheme,
    Namespace,
    Settings,
    Compiler,
    Language,
    Arguments,
    Directory,
    SearchedDirectories,
    Source,
    NamedFile,
    Extern,
    Library,
    MacroInputs,
    Processor,
    Outputs,
    DependencyFile,
    Variable,
    InputChanged,
    InputAdded,
    InputAppeared,
    InputRemoved,
    Time,
    Messages,
}

impl Kind {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Scheme => "scheme",
            Kind::Namespace => "namespace",
            Kind::Settings => "settings",
            Kind::Compiler => "compiler",
            Kind::Language => "language",
            Kind::Arguments => "arguments",
            Kind::Directory => "working_directory",
            Kind::SearchedDirectories => "searched_directories",
            Kind::Source => "source",
            Kind::NamedFile => "named_file",
            Kind::Extern => "extern",
            Kind::Library => "library",
            Kind::MacroInputs => "macro_inputs",
            Kind::Processor => "processor",
            Kind::Outputs => "outputs",
            Kind::DependencyFile => "dependency_file",
            Kind::Variable => "environment",
            Kind::InputChanged => "input_changed",
            Kind::InputAdded => "input_added",
            Kind::InputAppeared => "input_appeared",
            Kind::InputRemoved => "input_removed",
            Kind::Time => "time",
            Kind::Messages => "messages",
        }
    }
}

/// One thing that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// What it is.
    pub kind: Kind,
    /// The same as a sentence without a full stop.
    pub text: String,
    /// Details, one a line.
    pub details: Vec<String>,
    /// The file that it is about.
    pub file: Option<PathBuf>,
    /// The digest of the earlier contents.
    pub older: Option<Digest>,
    /// The digest of the later contents.
    pub newer: Option<Digest>,
    /// How many words or files it stands for: the nearest entry has the fewest.
    pub weight: usize,
}

impl Difference {
    /// A difference without a file.
    pub fn new(kind: Kind, text: impl Into<String>) -> Difference {
        let text = text.into();
        let details = Vec::new();
        Difference { kind, text, details, file: None, older: None, newer: None, weight: 1 }
    }

    /// The same with a file and its contents before and after.
    pub fn of_file(
        self,
        file: PathBuf,
        older: Option<Digest>,
        newer: Option<Digest>,
    ) -> Difference {
        Difference { file: Some(file), older, newer, ..self }
    }

    fn with(self, details: Vec<String>) -> Difference {
        Difference { weight: details.len().max(1), details, ..self }
    }
}

/// What differs between the direct keys of an earlier and a later call.
pub fn rows(older: &Account, newer: &Account) -> Vec<Difference> {
    let mut names: Vec<&str> = newer.rows.iter().map(|row| row.name.as_str()).collect();
    names.extend(older.rows.iter().map(|row| row.name.as_str()).filter(|n| newer.row(n).is_none()));
    let differs = |name: &str| !same(older, newer, name);
    let ignores_locale = |account: &Account| {
        account.row("leniency").is_some_and(|row| leniency(row).locale_is_ignored)
    };
    let other_locale_rule = ignores_locale(older) != ignores_locale(newer);
    let mut found: Vec<Difference> = names
        .into_iter()
        .filter(|name| differs(name) && !(other_locale_rule && is_locale_variable(name)))
        .map(|name| row(older, newer, name))
        .collect();
    // What is asked of the compiler says more than what it is made of.
    found.sort_by_key(|difference| difference.kind == Kind::Compiler);
    found
}

/// Whether a row is the same in both, one of which may be cut.
fn same(older: &Account, newer: &Account, name: &str) -> bool {
    match (older.row(name), newer.row(name)) {
        (Some(one), Some(other)) => {
            let of = |account: &Account, row: &Row| match account.is_cut_row(name) {
                true => row.fields.clone(),
                false => vec![row_digest(row)],
            };
            match older.is_cut_row(name) || newer.is_cut_row(name) {
                true => of(older, one) == of(newer, other),
                false => one.fields == other.fields,
            }
        }
        (one, other) => one.is_none() && other.is_none(),
    }
}

fn row(older: &Account, newer: &Account, name: &str) -> Difference {
    let nothing = Row { name: name.to_owned(), fields: Vec::new() };
    let one = older.row(name).unwrap_or(&nothing);
    let other = newer.row(name).unwrap_or(&nothing);
    if older.is_cut_row(name) || newer.is_cut_row(name) {
        let text = format!("the row \"{name}\" of the key differs; it is too long to be kept");
        return Difference::new(kind_of(name), text);
    }
    match name {
        "scheme" => Difference::new(Kind::Scheme, "another version of larder has other rules"),
        "namespace" => {
            let (was, is) = (first(one), first(other));
            let text = format!("the namespace was \"{was}\" and is \"{is}\"");
            Difference::new(Kind::Namespace, text)
        }
        "leniency" => settings(&leniency(one), &leniency(other)),
        "toolchain" => toolchain(&older.parts, &newer.parts),
        "compiler path" => {
            let (was, is) = (first(one), first(other));
            let text = format!("the path of the compiler was {was} and is {is}");
            Difference::new(Kind::Compiler, text)
        }
        "family, language and purpose" => {
            let what = ["the family of the compiler", "the language", "what is to be made"];
            let differing = (0..3).filter(|at| one.fields.get(*at) != other.fields.get(*at));
            let what: Vec<_> = differing.map(|at| what[at]).collect();
            Difference::new(Kind::Language, format!("{} is another one", what.join(" and ")))
        }
        "arguments" => arguments(&words(&one.fields), &words(&other.fields)),
        "working directory" => directory(one, other),
        "directories" => {
            let text = "other ones of the directories that options name are there";
            Difference::new(Kind::SearchedDirectories, text)
        }
        "source" => {
            let digest = |row: &Row| row.fields.first()?.as_slice().try_into().ok();
            let text = format!("the source {} has changed", newer.source.display());
            let difference = Difference::new(Kind::Source, text);
            difference.of_file(newer.source.clone(), digest(one), digest(other))
        }
        "named files" => named_files(one, other),
        "externs" => contents(Kind::Extern, "a crate that is named by --extern", one, other),
        "searched libraries" => {
            contents(Kind::Library, "a library in a directory that -L names", one, other)
        }
        "further inputs" => {
            Difference::new(Kind::NamedFile, "what `extra_inputs` names for the crate has changed")
        }
        "processor" => {
            let text = "`native` stands for another processor, or is said in one of the two only";
            Difference::new(Kind::Processor, text)
        }
        "outputs" => Difference::new(Kind::Outputs, "other files are asked for"),
        "dependency file" => {
            let text = "what is asked of the dependency file is another thing (whether there is \
                        one, its target, -MP, -MMD)";
            let words = |row: &Row| words(row.fields.get(2..).unwrap_or_default());
            Difference::new(Kind::DependencyFile, text)
                .with(changed_words(&words(one), &words(other)))
        }
        _ => variable(name, one, other),
    }
}

/// The first field.
fn first(row: &Row) -> Cow<'_, str> {
    row.fields.first().map_or(Cow::Borrowed(""), |field| shown(field))
}

fn kind_of(name: &str) -> Kind {
    match name {
        "arguments" => Kind::Arguments,
        "named files" => Kind::NamedFile,
        "leniency" => Kind::Settings,
        "dependency file" => Kind::DependencyFile,
        _ if is_variable(name) => Kind::Variable,
        _ => Kind::Settings,
    }
}

/// A variable's row is `[1] [value]`, or is not there.
fn variable(name: &str, one: &Row, other: &Row) -> Difference {
    let value = |row: &Row| match row.fields.get(1) {
        Some(value) => format!("\"{}\"", shown(value)),
        None => "not set".to_owned(),
    };
    let text = format!("{name} was {} and is {}", value(one), value(other));
    Difference::new(Kind::Variable, text)
}

fn directory(one: &Row, other: &Row) -> Difference {
    let text = |row: &Row| match row.fields.first() {
        Some(directory) => shown(directory).into_owned(),
        None => "without effect".to_owned(),
    };
    let is_path = |row: &Row| row.fields.first().is_none_or(|field| field.starts_with(b"/"));
    let why = "it counts where debug information or the like shows it, and where a relative path \
               is searched from it; see hash_dir and base_dirs";
    if !is_path(one) || !is_path(other) {
        let text = "what prefix maps leave of the working directory is another thing";
        return Difference::new(Kind::Directory, text);
    }
    if one.fields.first() == other.fields.first() {
        let text = "the name of the working directory in PWD is another one";
        return Difference::new(Kind::Directory, text);
    }
    let text = format!("the working directory was {} and is {}", text(one), text(other));
    Difference::new(Kind::Directory, text).with(vec![why.to_owned()])
}

/// The row `leniency`, taken apart.
#[derive(Default)]
struct Leniency {
    hash_dir: bool,
    has_place: bool,
    sloppiness: String,
    locale_is_ignored: bool,
    ignore_options: Vec<String>,
    ignore_headers: Vec<String>,
}

fn leniency(row: &Row) -> Leniency {
    let number = |at: usize| row.fields.get(at).map_or(0, |field| number(field));
    let sloppiness = Sloppiness::from_bits(number(1) as u16);
    let options = words(row.fields.get(2..).unwrap_or_default());
    let headers = words(row.fields.get(3 + options.len()..).unwrap_or_default());
    Leniency {
        hash_dir: number(0) & 1 != 0,
        has_place: number(0) & 2 != 0,
        sloppiness: sloppiness.show(),
        locale_is_ignored: sloppiness.has(Sloppiness::LOCALE),
        ignore_options: options,
        ignore_headers: headers,
    }
}

fn settings(one: &Leniency, other: &Leniency) -> Difference {
    let mut details = Vec::new();
    let mut compare = |what: &str, one: String, other: String| {
        if one != other {
            details.push(format!("{what} was {one} and is {other}"));
        }
    };
    let quoted = |text: &str| format!("\"{text}\"");
    compare("hash_dir", one.hash_dir.to_string(), other.hash_dir.to_string());
    compare("sloppiness", quoted(&one.sloppiness), quoted(&other.sloppiness));
    let list = |words: &[String]| quoted(&words.join(" "));
    compare("ignore_options", list(&one.ignore_options), list(&other.ignore_options));
    compare("ignore_headers", list(&one.ignore_headers), list(&other.ignore_headers));
    let place = |has: bool| if has { "around the call" } else { "elsewhere" }.to_owned();
    compare("a directory of base_dirs", place(one.has_place), place(other.has_place));
    Difference::new(Kind::Settings, "a setting that decides what counts is another one")
        .with(details)
}

fn toolchain(one: &[Part], other: &[Part]) -> Difference {
    let mut details = Vec::new();
    for part in other {
        match one.iter().find(|older| older.path == part.path) {
            Some(older) if older.digest == part.digest => {}
            Some(_) => details.push(format!("{} has other contents", part.path.display())),
            None => details.push(format!("{} is a part of it now", part.path.display())),
        }
    }
    for part in one.iter().filter(|part| other.iter().all(|newer| newer.path != part.path)) {
        details.push(format!("{} no longer is a part of it", part.path.display()));
    }
    if one.is_empty() || other.is_empty() {
        // The account was cut.
        details.clear();
    } else if details.is_empty() {
        let text = "its files are the same; compiler_check, or where it looks for them, says \
                    otherwise";
        details.push(text.to_owned());
    }
    let difference = Difference::new(Kind::Compiler, "the compiler is another one");
    Difference { details, ..difference }
}

/// The row is a count, then path and digest of each file.
fn named_files(one: &Row, other: &Row) -> Difference {
    fn files(row: &Row) -> Vec<(Cow<'_, str>, &[u8])> {
        let (pairs, _) = row.fields.get(1..).unwrap_or_default().as_chunks::<2>();
        pairs.iter().map(|[path, digest]| (shown(path), digest.as_slice())).collect()
    }
    let (older, newer) = (files(one), files(other));
    let mut details = Vec::new();
    for (path, digest) in &newer {
        match older.iter().find(|(known, _)| known == path) {
            Some((_, known)) if known == digest => {}
            Some((_, known)) if known.iter().all(|byte| *byte == 0) => {
                details.push(format!("{path} is there now"));
            }
            Some(_) if digest.iter().all(|byte| *byte == 0) => {
                details.push(format!("{path} is gone"));
            }
            Some(_) => details.push(format!("{path} has changed")),
            None => details.push(format!("{path} was not named")),
        }
    }
    for (path, _) in older.iter().filter(|(path, _)| newer.iter().all(|(known, _)| known != path)) {
        details.push(format!("{path} is not named any more"));
    }
    Difference::new(Kind::NamedFile, "a file that an option or a setting names is another one")
        .with(details)
}

/// The rows are names and digests in turn.
fn contents(kind: Kind, what: &str, one: &Row, other: &Row) -> Difference {
    fn pairs(row: &Row) -> Vec<(Cow<'_, str>, &[u8])> {
        let (pairs, _) = row.fields.as_chunks::<2>();
        pairs.iter().map(|[name, digest]| (shown(name), digest.as_slice())).collect()
    }
    let (older, mut gone) = (pairs(one), pairs(one));
    let mut details = Vec::new();
    for (name, digest) in pairs(other) {
        gone.retain(|(known, _)| *known != name);
        if older.contains(&(name.clone(), digest)) {
            continue;
        }
        let had_it = older.iter().find(|(known, contents)| *known != name && *contents == digest);
        details.push(match (older.iter().any(|(known, _)| *known == name), had_it) {
            (true, Some((known, _))) => format!("{name} has the contents that {known} had"),
            (true, None) => format!("{name} has other contents"),
            (false, Some((known, _))) => format!("{name} was added: it is what {known} was"),
            (false, None) => format!("{name} was added"),
        });
    }
    details.extend(gone.iter().map(|(name, _)| format!("{name} was removed")));
    if details.is_empty() {
        details.push("they are the same in another order".to_owned());
    }
    Difference::new(kind, format!("{what} is another one")).with(details)
}

fn arguments(one: &[String], other: &[String]) -> Difference {
    let sorted = |words: &[String]| {
        let mut words = words.to_vec();
        words.sort_unstable();
        words
    };
    if sorted(one) == sorted(other) {
        let at = one.iter().zip(other).position(|(one, other)| one != other).unwrap_or(0);
        let at_words = |words: &[String]| words[at..].iter().take(3).cloned().collect::<Vec<_>>();
        let (was, is) = (at_words(one).join(" "), at_words(other).join(" "));
        let details = vec![format!("`{was}` stood where `{is}` stands")];
        let text = "the arguments are the same in another order";
        return Difference::new(Kind::Arguments, text).with(details);
    }
    Difference::new(Kind::Arguments, "the arguments differ").with(changed_words(one, other))
}

/// What became of words: added, removed, or with another value.
fn changed_words(one: &[String], other: &[String]) -> Vec<String> {
    let (mut removed, added) = apart(one, other);
    let mut lines = Vec::new();
    for word in added {
        let twin = removed.iter().position(|old| stem(old) == stem(&word) && stem(old).is_some());
        match twin {
            Some(at) => lines.push(format!("{} became {word}", removed.remove(at))),
            None => lines.push(format!("{word} was added")),
        }
    }
    lines.extend(removed.iter().map(|word| format!("{word} was removed")));
    lines
}

/// What stays of an option whose value changes: `-DX` of `-DX=1`, `-O` of `-O2`.
fn stem(word: &str) -> Option<&str> {
    match word.split_once('=') {
        Some((stem, _)) => Some(stem),
        None if word.starts_with("-O") => Some("-O"),
        None if word.starts_with("-D") => Some(word),
        None => None,
    }
}

/// What is only in the one and only in the other, in order, by their longest common sequence; by
/// their sets where that takes too long.
fn apart(one: &[String], other: &[String]) -> (Vec<String>, Vec<String>) {
    const WORDS_MAX: usize = 2000;
    if one.len() > WORDS_MAX || other.len() > WORDS_MAX {
        let only = |a: &[String], b: &[String]| {
            let known: std::collections::BTreeSet<_> = b.iter().collect();
            a.iter().filter(|word| !known.contains(word)).cloned().collect()
        };
        return (only(one, other), only(other, one));
    }
    let kept = super::lines::common(one, other);
    let rest = |words: &[String], kept: Vec<usize>| {
        let mut kept = kept.into_iter().peekable();
        let is_kept = |at: &usize| kept.next_if_eq(at).is_some();
        let mut is_kept = is_kept;
        let rest = words.iter().enumerate().filter(|(at, _)| !is_kept(at));
        rest.map(|(_, word)| word.clone()).collect()
    };
    let (in_one, in_other) = kept.into_iter().unzip();
    (rest(one, in_one), rest(other, in_other))
}

/// A list of words behind its length.
fn words(fields: &[Vec<u8>]) -> Vec<String> {
    let Some((count, rest)) = fields.split_first() else { return Vec::new() };
    rest.iter().take(number(count) as usize).map(|word| shown(word).into_owned()).collect()
}

/// The words of the arguments that count.
pub fn argument_words(account: &Account) -> Vec<String> {
    account.row("arguments").map_or_else(Vec::new, |row| words(&row.fields))
}

fn number(field: &[u8]) -> u64 {
    field.try_into().map_or(0, u64::from_le_bytes)
}

/// A field as people read it; what marks a path in a base directory is left out.
fn shown(field: &[u8]) -> Cow<'_, str> {
    match field.iter().any(u8::is_ascii_control) {
        true => {
            let plain: Vec<u8> = field.iter().copied().filter(|byte| *byte != MARK).collect();
            // What a terminal would obey.
            Cow::Owned(String::from_utf8_lossy(&plain).replace(char::is_control, "?"))
        }
        false => String::from_utf8_lossy(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(rows: &[(&str, &[&str])]) -> Account {
        let row = |(name, fields): &(&str, &[&str])| {
            let count = (fields.len() as u64).to_le_bytes().to_vec();
            let fields = fields.iter().map(|field| field.as_bytes().to_vec());
            let fields = match *name {
                "arguments" => [count].into_iter().chain(fields).collect(),
                _ => fields.collect(),
            };
            Row { name: (*name).to_owned(), fields }
        };
        Account { rows: rows.iter().map(row).collect(), ..Account::default() }
    }

    fn details(one: &[&str], other: &[&str]) -> Vec<String> {
        let found = rows(&account(&[("arguments", one)]), &account(&[("arguments", other)]));
        found.into_iter().flat_map(|difference| difference.details).collect()
    }

    #[test]
    fn words_are_paired_with_what_became_of_them() {
        assert_eq!(details(&["-c", "-DX=1"], &["-c", "-DX=2"]), ["-DX=1 became -DX=2"]);
        assert_eq!(details(&["-O2"], &["-O3", "-g"]), ["-O2 became -O3", "-g was added"]);
        assert_eq!(details(&["-Ia", "-Ib"], &["-Ib"]), ["-Ia was removed"]);
        assert_eq!(details(&["a", "b"], &["b", "a"]), ["`a b` stood where `b a` stands"]);
        assert_eq!(details(&["a", "a"], &["a"]), ["a was removed"]);
        assert_eq!(details(&["-c"], &["-c"]), [""; 0]);
        // Marks of base directories are no letters, nor is what a terminal obeys.
        assert_eq!(
            details(&["-I\0inc"], &["-I\x1b[2J"]),
            ["-I?[2J was added", "-Iinc was removed"]
        );
    }

    #[test]
    fn a_cut_row_differs_only_if_its_digest_does() {
        let whole = account(&[("arguments", &["-c", "-DX"])]);
        let mut cut = whole.clone();
        cut.rows[0].fields = vec![row_digest(&whole.rows[0])];
        cut.cut_rows.push("arguments".to_owned());
        assert_eq!(rows(&whole, &cut), []);
        let other = account(&[("arguments", &["-c"])]);
        let found = rows(&cut, &other);
        assert!(found.len() == 1 && found[0].text.contains("too long"), "{found:?}");
    }

    #[test]
    fn a_variable_that_is_not_set_has_no_row() {
        let set = |value: &str| account(&[("LC_ALL", &["1", value])]);
        let text = |one: &Account, other: &Account| rows(one, other)[0].text.clone();
        assert_eq!(text(&set("C"), &set("de")), "LC_ALL was \"C\" and is \"de\"");
        assert_eq!(text(&account(&[]), &set("de")), "LC_ALL was not set and is \"de\"");
        assert_eq!(text(&set("C"), &account(&[])), "LC_ALL was \"C\" and is not set");
    }

    #[test]
    fn of_a_compiler_that_was_cut_no_file_is_accused() {
        let rows_of = |digest: &str| account(&[("toolchain", &[digest])]);
        assert!(rows(&rows_of("a"), &rows_of("b"))[0].details.is_empty());
        let part = Part { path: "/usr/bin/as".into(), digest: [1; 8] };
        let with = |digest: &str| Account { parts: vec![part.clone()], ..rows_of(digest) };
        let details = rows(&with("a"), &with("b"))[0].details.clone();
        assert!(details[0].contains("compiler_check"), "{details:?}");
    }
}
