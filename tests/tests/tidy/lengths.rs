//! The length ratchet: functions and files that are too long are listed by name, and a listed one
//! that became short must leave the list.

use std::collections::BTreeSet;

use super::source::{Source, tokens};
use super::{assert_complains, assert_tidy, document, sources};

/// A function fits on a screen.
const FUNCTION_LINES_MAX: usize = 70;
/// Of a file, without the tests at its end.
const FILE_LINES_MAX: usize = 800;
/// Where the long ones are listed: `path` or `path: function`.
const LIST: &str = "docs/tidy-long-functions.txt";

/// A function's name and its number of lines, from `fn` to the closing brace.
fn functions(source: &Source) -> Vec<(String, usize)> {
    let tokens = tokens(&source.code);
    let mut functions = Vec::new();
    for (index, pair) in tokens.windows(2).enumerate() {
        if pair[0].text != "fn" || !pair[1].is_word() {
            continue;
        }
        let mut depth = 0;
        for token in &tokens[index + 2..] {
            match token.text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            let has_body = token.text == "}" && depth == 0;
            if has_body {
                let lines = source.line(token.offset) - source.line(pair[0].offset) + 1;
                functions.push((pair[1].text.to_owned(), lines));
            }
            if has_body || token.text == ";" && depth == 0 {
                break;
            }
        }
    }
    functions
}

/// The lines of a file up to its trailing `mod tests`.
fn file_lines(source: &Source) -> usize {
    let all = source.text.lines().count();
    let Some(tests) = source.code.rfind("#[cfg(test)]\nmod tests {") else { return all };
    let behind = tokens(&source.code[tests..]);
    let open = behind.iter().position(|token| token.text == "{").expect("it was just found");
    let is_trailing = super::source::after_group(&behind, open) == behind.len();
    if is_trailing { source.line(tests) - 1 } else { all }
}

/// Everything that is too long, as it would stand in the list.
fn too_long(sources: &[Source]) -> BTreeSet<String> {
    let mut long = BTreeSet::new();
    for source in sources {
        if file_lines(source) > FILE_LINES_MAX {
            long.insert(source.name.clone());
        }
        for (name, _) in functions(source).iter().filter(|(_, lines)| *lines > FUNCTION_LINES_MAX) {
            long.insert(format!("{}: {name}", source.name));
        }
    }
    long
}

fn check(list: &str, sources: &[Source]) -> Vec<String> {
    let entries =
        list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let listed: BTreeSet<String> = entries.map(str::to_owned).collect();
    let long = too_long(sources);
    let new = long.difference(&listed).map(|name| {
        format!(
            "{name}: over {FUNCTION_LINES_MAX} lines (a file: {FILE_LINES_MAX}); make it shorter"
        )
    });
    let old = listed.difference(&long);
    let old = old.map(|name| format!("{name}: not too long any more; take it off {LIST}"));
    new.chain(old).collect()
}

#[test]
fn functions_and_files_stay_short() {
    assert_tidy(check(&document(LIST), &sources("")));
}

#[cfg(test)]
fn with_lines(lines: usize) -> Source {
    let body = "    f(\"}\");\n".repeat(lines - 2);
    Source::new(
        "a/src/a.rs",
        &format!("trait T {{ fn g(&self) -> [u8; 3]; }}\nfn long() {{\n{body}}}\n"),
    )
}

#[test]
fn a_function_may_not_cross_the_line() {
    assert_tidy(check("# none\n", &[with_lines(70)]));
    assert_complains(check("", &[with_lines(71)]), "a/src/a.rs: long: over 70 lines");
}

#[test]
fn a_listed_function_must_still_be_long() {
    assert_tidy(check("a/src/a.rs: long\n", &[with_lines(71)]));
    assert_complains(check("a/src/a.rs: long\n", &[with_lines(70)]), "take it off");
}

#[test]
fn a_file_may_not_cross_the_line_without_its_tests() {
    let file = |lines: usize, rest: &str| {
        Source::new("a/src/a.rs", &("const A: u8 = 0;\n".repeat(lines) + rest))
    };
    let tests = "#[cfg(test)]\nmod tests {\n\n\n}\n";
    assert_tidy(check("", &[file(800, tests)]));
    assert_complains(check("", &[file(801, tests)]), "a/src/a.rs: over 70 lines");
    assert_complains(check("", &[file(798, &format!("{tests}fn f() {{}}\n"))]), "a/src/a.rs: over");
}
