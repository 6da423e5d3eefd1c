//! `unsafe`: only in its homes, and each use with its reason.

use super::source::{Source, Token, tokens};
use super::{assert_complains, assert_tidy, document, sources};

/// The files that docs/ARCHITECTURE.md lists below "Homes of unsafe".
fn homes(document: &str) -> Vec<String> {
    let below = document
        .lines()
        .skip_while(|line| line.trim_start_matches(['#', ' ']) != "Homes of unsafe");
    let section = below.skip(1).take_while(|line| !line.starts_with('#'));
    let bullets = section.filter_map(|line| line.strip_prefix("- `"));
    bullets.filter_map(|line| Some(line.split_once('`')?.0.to_owned())).collect()
}

/// What an `unsafe` introduces.
#[derive(PartialEq, Eq)]
enum Use {
    /// A block, `unsafe impl` or `unsafe extern` block: somebody vouches for something.
    Claim,
    /// A function or trait: its callers must keep its rules.
    Demand,
    /// A function pointer's type, or an attribute: nothing to explain.
    Name,
}

fn use_at(tokens: &[Token<'_>], index: usize) -> Use {
    let text = |distance: usize| tokens.get(index + distance).map_or("", |token| token.text);
    // A literal like the "C" of `extern "C"` is blanked: `extern` is followed by what comes next.
    let skip = if text(1) == "extern" { 2 } else { 1 };
    match text(skip) {
        "{" | "impl" => Use::Claim,
        "fn" if tokens.get(index + skip + 1).is_some_and(|token| token.is_word()) => Use::Demand,
        "trait" => Use::Demand,
        _ => Use::Name,
    }
}

fn check(homes: &[String], source: &Source) -> Vec<String> {
    let tokens = tokens(&source.code);
    let mut complaints = Vec::new();
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.text == "unsafe") {
        let place = source.place(token.offset);
        let used = use_at(&tokens, index);
        if used != Use::Name && !homes.contains(&source.name) {
            complaints.push(format!("{place}: `unsafe` outside its homes in docs/ARCHITECTURE.md"));
        }
        let line = source.line(token.offset);
        let is_explained = match used {
            Use::Claim => is_explained(source, line, "SAFETY:"),
            Use::Demand => {
                is_explained(source, line, "# Safety") || is_explained(source, line, "SAFETY:")
            }
            Use::Name => true,
        };
        if !is_explained {
            complaints
                .push(format!("{place}: `unsafe` without a SAFETY comment right above or inside"));
        }
    }
    complaints
}

/// Listed files that have no `unsafe` any more, or are no files.
fn empty_homes(homes: &[String], sources: &[Source]) -> Vec<String> {
    let uses = |home: &str| {
        let source = sources.iter().find(|source| source.name == home);
        source.is_some_and(|source| tokens(&source.code).iter().any(|t| t.text == "unsafe"))
    };
    let empty = homes.iter().filter(|home| !uses(home));
    empty.map(|home| format!("{home}: listed as a home of `unsafe`, but has none")).collect()
}

/// Whether the words stand in a comment on this line, at the start of the block that it opens, or
/// in the comment above the statement that the line belongs to.
fn is_explained(source: &Source, line: usize, words: &str) -> bool {
    let code: Vec<&str> = source.code.lines().collect();
    let comments: Vec<&str> = source.comments.lines().collect();
    let index = line - 1;
    let has = |index: usize| comments.get(index).is_some_and(|comment| comment.contains(words));
    if has(index) {
        return true;
    }
    // Inside: comment lines directly below.
    let is_comment = |index: usize| {
        code.get(index).is_some_and(|code| code.trim().is_empty())
            && comments.get(index).is_some_and(|comment| !comment.trim().is_empty())
    };
    let mut below = (index + 1..code.len()).take_while(|index| is_comment(*index));
    if below.any(has) {
        return true;
    }
    // Above: first the beginning of the statement, then attributes and the comment.
    let continues = |index: usize| {
        let text = code[index].trim();
        !text.is_empty() && !text.ends_with([';', '{', '}', ','])
    };
    let mut above = index;
    while above > 0 && (is_comment(above - 1) || continues(above - 1)) {
        above -= 1;
        if is_comment(above) && has(above) {
            return true;
        }
    }
    false
}

#[test]
fn unsafe_stays_at_home_and_explains_itself() {
    let homes = homes(&document("docs/ARCHITECTURE.md"));
    assert!(!homes.is_empty(), "docs/ARCHITECTURE.md lists no homes of unsafe");
    let sources = sources("");
    assert_tidy(sources.iter().flat_map(|source| check(&homes, source)));
    assert_tidy(empty_homes(&homes, &sources));
}

#[cfg(test)]
fn complaints(text: &str) -> Vec<String> {
    let document = "# Homes of unsafe\n\n- `a.rs`: why\n\n# More\n- `b.rs`\n";
    check(&homes(document), &Source::new("a.rs", text))
}

#[test]
fn explained_uses_pass() {
    assert_tidy(complaints(
        "
// SAFETY: the map lives as long as we.
let a = unsafe { f() };
let b =
    // SAFETY: it does.
    unsafe { f() };
// SAFETY: a statement
// may begin earlier.
let c = some(1)
    .map(|x| unsafe { f(x) });
unsafe {
    // SAFETY: inside is as good.
    f();
}
/// Reads.
///
/// # Safety
/// - `p` is valid.
#[inline]
pub unsafe fn f(p: *const u8) {}
// SAFETY: no state.
unsafe impl Send for A {}
type F = unsafe extern \"C\" fn(i32);
// no word about it: unsafe { }
#[unsafe(no_mangle)]
",
    ));
}

#[test]
fn unexplained_uses_fail() {
    assert_complains(complaints("let a = unsafe { f() };"), "without a SAFETY");
    assert_complains(complaints("// SAFETY: far\n\nlet a = unsafe { f() };"), "a.rs:3:");
    assert_complains(complaints("// SAFETY: other\nf();\nlet a = unsafe { f() };"), "a.rs:3:");
    assert_complains(complaints("unsafe impl Send for A {}"), "without a SAFETY");
    assert_complains(complaints("/// Reads.\npub unsafe fn f() {}"), "without a SAFETY");
    assert_complains(complaints("let s = \"// SAFETY: no\"; unsafe { f() }"), "a.rs:1:");
}

#[test]
fn an_empty_home_fails() {
    let sources =
        [Source::new("a.rs", "// SAFETY: it is.\nunsafe { f() }\n"), Source::new("b.rs", "")];
    assert_tidy(empty_homes(&["a.rs".to_owned()], &sources));
    for home in ["b.rs", "gone.rs"] {
        assert_complains(empty_homes(&[home.to_owned()], &sources), "but has none");
    }
}

#[test]
fn unsafe_elsewhere_fails() {
    let source = Source::new("b.rs", "// SAFETY: it is.\nunsafe { f() }");
    assert_complains(check(&["a.rs".to_owned()], &source), "b.rs:2: `unsafe` outside its homes");
}
