//! Rules about text: widths, first lines, words that must not stay, and sizes.

use std::fs;

use super::source::{Source, tokens};
use super::{assert_complains, assert_tidy, files, root, sources};

/// Code and documents alike; tables and lines with a link may be wider.
const WIDTH_MAX: usize = 100;
/// A repository is for sources.
const FILE_BYTES_MAX: u64 = 1_000_000;

fn widths(name: &str, text: &str) -> Vec<String> {
    let is_free = |line: &str| {
        let line = line.trim_start().trim_start_matches(['/', '!']).trim_start();
        line.starts_with('|') || line.contains("](") || line.contains("://")
    };
    let wide = |line: &str| line.chars().count() > WIDTH_MAX && !is_free(line);
    let lines = text.lines().enumerate().filter(|(_, line)| wide(line));
    lines.map(|(at, _)| format!("{name}:{}: wider than {WIDTH_MAX} columns", at + 1)).collect()
}

/// A module says first what it is for; a binary's or test's root too.
fn first_line(source: &Source) -> Vec<String> {
    let says =
        source.text.starts_with("//!") && source.text.trim_start_matches("//!").starts_with(' ');
    if says { Vec::new() } else { vec![format!("{}: does not begin with `//!`", source.name)] }
}

/// Macros and attributes that mark unfinished work.
fn unfinished(source: &Source) -> Vec<String> {
    const MACROS: &[&str] = &["todo", "dbg", "unimplemented"];
    let tokens = tokens(&source.code);
    let text = |index: usize| tokens.get(index).map_or("", |token| token.text);
    let is_macro = |at: usize| MACROS.contains(&text(at)) && text(at + 1) == "!";
    let is_ignore = |at: usize| text(at) == "#" && text(at + 1) == "[" && text(at + 2) == "ignore";
    let found = (0..tokens.len()).filter(|at| is_macro(*at) || is_ignore(*at));
    let place = |at: usize| source.place(tokens[at].offset);
    found.map(|at| format!("{}: unfinished or switched off", place(at))).collect()
}

/// Paths that exist on one developer's machine only.
fn machine_paths(name: &str, text: &str) -> Vec<String> {
    // Put together here, so that this file does not complain about itself.
    let folders = ["work", "root", "farm", "tmp/w"].map(|folder| format!("/{folder}"));
    let is_path_char = |c: char| c.is_alphanumeric() || "_-./~}$)>".contains(c);
    let mut complaints = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for folder in &folders {
            let is_path = |(start, _): (usize, &str)| {
                let is_name_char = |c: char| c.is_alphanumeric() || "_-".contains(c);
                let ends = !line[start + folder.len()..].starts_with(is_name_char);
                ends && !line[..start].chars().next_back().is_some_and(is_path_char)
            };
            if line.match_indices(folder.as_str()).any(is_path) {
                complaints.push(format!("{name}:{}: `{folder}` is a path of one machine", at + 1));
            }
        }
    }
    complaints
}

#[test]
fn lines_fit_in_a_hundred_columns() {
    let is_wrapped = |file: &String| file.ends_with(".rs") || file.ends_with(".md");
    let files = files().into_iter().filter(is_wrapped);
    let text = |file: &str| fs::read_to_string(root().join(file)).expect("sources are UTF-8");
    assert_tidy(files.flat_map(|file| widths(&file, &text(&file))));
}

#[test]
fn every_module_begins_with_its_purpose() {
    assert_tidy(sources("").iter().flat_map(first_line));
}

#[test]
fn nothing_is_unfinished_or_ignored() {
    assert_tidy(sources("").iter().flat_map(unfinished));
}

#[test]
fn no_path_of_one_machine_is_in_the_tree() {
    // A file that is no text has no such path that somebody would read.
    let text = |file: &str| fs::read_to_string(root().join(file)).unwrap_or_default();
    assert_tidy(files().iter().flat_map(|file| machine_paths(file, &text(file))));
}

#[test]
fn no_file_is_large() {
    let bytes = |file: &String| fs::metadata(root().join(file)).map_or(0, |data| data.len());
    let large = files().into_iter().filter(|file| bytes(file) > FILE_BYTES_MAX);
    assert_tidy(large.map(|file| format!("{file}: larger than {FILE_BYTES_MAX} bytes")));
}

#[test]
fn a_wide_line_fails_unless_it_is_a_table_or_link() {
    let wide = "é".repeat(101);
    assert_tidy(widths("a.md", &"é".repeat(100)));
    assert_complains(widths("a.md", &format!("a\n{wide}\nb")), "a.md:2:");
    assert_tidy(widths("a.md", &format!("| {wide} |\n//! | {wide}\n[a]({wide})\nhttps://{wide}")));
}

#[test]
fn a_module_without_a_purpose_fails() {
    assert_tidy(first_line(&Source::new("a.rs", "//! Files.\n")));
    assert_complains(first_line(&Source::new("a.rs", "use std::fs;\n//! Files.\n")), "a.rs: ");
    assert_complains(first_line(&Source::new("a.rs", "//!\n//! Files.\n")), "a.rs: ");
}

#[test]
fn unfinished_work_fails() {
    for text in ["todo!()", "dbg!(a)", "unimplemented!(\"a\")", "#[ignore]", "#[ignore = \"a\"]"] {
        assert_complains(unfinished(&Source::new("a.rs", text)), "a.rs:1:");
    }
    assert_tidy(unfinished(&Source::new("a.rs", "// todo!()\nlet todo = \"dbg!\"; #[ignored]")));
}

#[test]
fn a_path_of_one_machine_fails() {
    for folder in ["work", "root", "tmp/w"] {
        let path = format!("/{folder}");
        assert_complains(machine_paths("a", &format!("x\nin {path}/larder")), "a:2:");
        assert_complains(machine_paths("a", &format!("\"{path}\"")), "a:1:");
        assert_tidy(machine_paths("a", &format!("a{path}/b {path}er b{path}")));
    }
}
