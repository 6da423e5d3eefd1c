//! The paths that code names: `use` trees spread out, and paths in expressions.

use super::source::{Token, after_group, tokens};

/// A path behind its root, as `["index", "tree", "Tree"]` of `crate::index::tree::Tree`.
#[derive(Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The segments behind the root; a glob's `*` is left out.
    pub segments: Vec<&'a str>,
    /// Where the root stands.
    pub offset: usize,
}

/// Every path of the code that begins with `root::`, for a `root` like `crate` or `std`.
pub fn rooted<'a>(code: &'a str, root: &str) -> Vec<Named<'a>> {
    let tokens = tokens(code);
    let mut named = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if token.text == root && begins_path(&tokens, index) && is(&tokens, index + 1, "::") {
            spread(&tokens, index + 2, &mut Vec::new(), token.offset, &mut named);
        }
    }
    named
}

/// Every path that begins with `super::`, with the number of modules that it goes up *out of the
/// file*: one less for each inline module around it.
pub fn above(code: &str) -> Vec<(usize, Named<'_>)> {
    let tokens = tokens(code);
    let mut named = Vec::new();
    let mut blocks = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token.text {
            "{" => blocks.push(index >= 2 && tokens[index - 2].text == "mod"),
            "}" => drop(blocks.pop()),
            "super" if begins_path(&tokens, index) && is(&tokens, index + 1, "::") => {
                let mut next = index + 2;
                let mut levels = 1usize;
                while is(&tokens, next, "super") && is(&tokens, next + 1, "::") {
                    levels += 1;
                    next += 2;
                }
                let inline = blocks.iter().filter(|is_module| **is_module).count();
                let mut paths = Vec::new();
                spread(&tokens, next, &mut Vec::new(), token.offset, &mut paths);
                let levels = levels.saturating_sub(inline);
                named.extend(paths.into_iter().map(|path| (levels, path)));
            }
            _ => {}
        }
    }
    named
}

/// The leaves of every `use` item, from its first segment: what a crate root re-exports.
pub fn uses(code: &str) -> Vec<Named<'_>> {
    let tokens = tokens(code);
    let mut named = Vec::new();
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.text == "use") {
        spread(&tokens, index + 1, &mut Vec::new(), token.offset, &mut named);
    }
    named
}

fn is(tokens: &[Token<'_>], index: usize, text: &str) -> bool {
    tokens.get(index).is_some_and(|token| token.text == text)
}

/// Whether the word at `index` is the first of its path, and the path no `pub(in crate::a)`.
fn begins_path(tokens: &[Token<'_>], index: usize) -> bool {
    let before = |distance: usize| index.checked_sub(distance).map_or("", |at| tokens[at].text);
    let is_inner = before(1) == "::" && tokens[index - 2].is_word();
    let is_visibility = before(1) == "in" && before(2) == "(" && before(3) == "pub";
    !is_inner && !is_visibility
}

/// Follows one tree of paths from `index`; returns the index behind it.
fn spread<'a>(
    tokens: &[Token<'a>],
    index: usize,
    prefix: &mut Vec<&'a str>,
    offset: usize,
    named: &mut Vec<Named<'a>>,
) -> usize {
    let leaf = |prefix: &[&'a str]| Named { segments: prefix.to_vec(), offset };
    match tokens.get(index) {
        Some(token) if token.text == "{" => {
            let end = after_group(tokens, index);
            let mut next = index + 1;
            while next < end - 1 {
                let depth = prefix.len();
                next = spread(tokens, next, prefix, offset, named);
                prefix.truncate(depth);
            }
            end
        }
        Some(token) if token.is_word() => {
            if token.text != "self" {
                prefix.push(token.text);
            }
            let continues = is(tokens, index + 1, "::") && !is(tokens, index + 2, "<");
            if continues {
                return spread(tokens, index + 2, prefix, offset, named);
            }
            named.push(leaf(prefix));
            let renamed = is(tokens, index + 1, "as");
            let next = index + if renamed { 3 } else { 1 };
            next + usize::from(is(tokens, next, ","))
        }
        Some(token) => {
            if token.text == "*" {
                named.push(leaf(prefix));
            }
            index + 1
        }
        None => index,
    }
}

#[cfg(test)]
fn joined(named: &[Named<'_>]) -> Vec<String> {
    named.iter().map(|path| path.segments.join("::")).collect()
}

#[test]
fn trees_are_spread_and_expressions_are_seen() {
    let code = "
use crate::{Error, index::{self, tree::Tree as Wood, page::*,}, log};
pub(in crate::log) fn f() -> crate::Key { ::crate::a::b::<u8>(other::crate::c) }
macro_rules! m { () => { $crate::last } }";
    let expected =
        ["Error", "index", "index::tree::Tree", "index::page", "log", "Key", "a::b", "last"];
    assert_eq!(joined(&rooted(code, "crate")), expected);
}

#[test]
fn super_is_counted_from_the_file() {
    let code = "use super::a; mod m { use super::b; use super::super::c; } use super::super::d;";
    let above = above(code);
    let counted: Vec<_> = above.iter().map(|(up, path)| (*up, path.segments[0])).collect();
    assert_eq!(counted, [(1, "a"), (0, "b"), (1, "c"), (2, "d")]);
}

#[test]
fn exports_of_a_root_are_seen() {
    let code = "pub use error::{Error, Result}; pub use format::body::Entry;";
    assert_eq!(joined(&uses(code)), ["error::Error", "error::Result", "format::body::Entry"]);
}
