//! What a text asks the preprocessor to look for.
//!
//! 1. Found are `#include`, `#include_next` and `#import`, and in any directive `__has_include`
//!    with its relatives, wherever they stand: in comments, literals and skipped groups, too. One
//!    too many is a name more that is looked for.
//! 2. Line breaks behind a backslash, or behind the trigraph of one, go first ([`Joined`]); they
//!    may stand within a word. Blanks and comments may stand between words.
//! 3. A name that a macro gives is not known. Of such an `#include` the files that were read tell;
//!    of such a `__has_include` nothing does. (The definition of a macro of that name is none.)
//! 4. A macro that stands for `__has_include` and nothing else ([`Alias`]) asks as that word does,
//!    in any text, once it is known.
//! 5. A text that may be read once only says so by `#pragma once`, or `#import`s something.

use std::collections::BTreeSet;

use memchr::{memchr, memchr_iter, memchr2_iter, memchr3_iter, memmem};

const WORD: &[u8] = b"__has_include";
const PRAGMA: &[u8] = b"_Pragma";

/// A text as the directives in it are read: without the line breaks that a backslash takes back.
pub(super) struct Joined<'a> {
    text: &'a [u8],
    /// A word was broken, so that nobody has seen it whole so far.
    breaks_words: bool,
    /// A directive may begin with the digraph or the trigraph of `#`.
    has_other_marks: bool,
}

impl<'a> Joined<'a> {
    /// Joins `text`, in `buffer` if it has broken lines.
    pub(super) fn of(text: &'a [u8], buffer: &'a mut Vec<u8>) -> Joined<'a> {
        buffer.clear();
        let (mut copied, mut breaks_words, mut has_other_marks) = (0, false, false);
        for at in memchr3_iter(b'\\', b'?', b'%', text) {
            let mark_bytes = match text[at..] {
                [b'\\', ..] => 1,
                [b'?', b'?', b'/', ..] => 3,
                // The rest of the digraph may stand in the next line.
                [b'?', b'?', b'=', ..] | [b'%', b':' | b'\\' | b'?', ..] => {
                    has_other_marks = true;
                    continue;
                }
                _ => continue,
            };
            let rest = &text[at + mark_bytes..];
            let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
            if at < copied || rest.get(blanks) != Some(&b'\n') {
                continue;
            }
            buffer.extend_from_slice(&text[copied..at]);
            copied = at + mark_bytes + blanks + 1;
            let ends_word = buffer.last().is_some_and(|last| is_of_name(*last));
            // What follows may be the next break.
            let is_next = |next: &u8| is_of_name(*next) || b"\\?".contains(next);
            breaks_words |= ends_word && text.get(copied).is_some_and(is_next);
        }
        if copied > 0 {
            buffer.extend_from_slice(&text[copied..]);
        }
        let text = if copied == 0 { text } else { buffer };
        Joined { text, breaks_words, has_other_marks }
    }

    /// Where directives may begin, behind their marks.
    fn starts(&self) -> impl Iterator<Item = usize> {
        let others = if self.has_other_marks { self.text } else { b"" };
        let others = memchr2_iter(b'%', b'?', others).filter_map(|at| match others[at..] {
            [b'%', b':', ..] => Some(at + 2),
            [b'?', b'?', b'=', ..] => Some(at + 3),
            _ => None,
        });
        memchr_iter(b'#', self.text).map(|at| at + 1).chain(others)
    }

    /// Whether it has the operator of `#pragma once`, which a macro may have put anywhere.
    pub(super) fn has_once_operator(&self) -> bool {
        memmem::find_iter(self.text, PRAGMA).any(|at| {
            let rest = skip_blanks(&self.text[at + PRAGMA.len()..]);
            let literal = rest.strip_prefix(b"(").map(skip_blanks);
            // A macro may give the literal.
            literal.is_none_or(|literal| {
                let what = literal.strip_prefix(b"\"").or_else(|| literal.strip_prefix(b"L\""));
                what.is_none_or(|what| skip_blanks(what).starts_with(b"once"))
            })
        })
    }
}

/// One name that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Ask<'a> {
    /// In quotes: also looked for beside the text.
    pub(super) is_quoted: bool,
    /// Whether only its presence counts.
    pub(super) is_question: bool,
    /// The search goes on behind the directory of the text.
    pub(super) is_next: bool,
    pub(super) name: &'a [u8],
}

/// A macro that stands for `__has_include`, or for its relative with `next`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Alias {
    name: Vec<u8>,
    is_next: bool,
}

/// What a text asks for.
#[derive(Debug, Default)]
pub(super) struct Asks<'a> {
    pub(super) named: Vec<Ask<'a>>,
    /// Macros that the text defines, by which it and others may ask.
    pub(super) aliases: Vec<Alias>,
    /// An `#include` has a name from a macro.
    pub(super) includes_by_macro: bool,
    /// A `__has_include` has one.
    pub(super) questions_by_macro: bool,
    /// It may be that the compiler reads it once only, or something that it includes.
    pub(super) is_read_once: bool,
    /// Values of macros that may be names, and whether they are in quotes.
    pub(super) literals: Vec<(bool, &'a [u8])>,
}

impl<'a> Asks<'a> {
    /// Those of a text, which may have questions only if it `mentions` them or may use `aliases`.
    pub(super) fn of(text: &Joined<'a>, mentions: bool, aliases: &BTreeSet<Alias>) -> Asks<'a> {
        let mut asks = Asks::default();
        let own = (mentions || text.breaks_words).then_some((WORD, false));
        let others = aliases.iter().map(|alias| (alias.name.as_slice(), alias.is_next));
        let mut words: Vec<(&[u8], bool)> = own.into_iter().chain(others).collect();
        words.retain(|(word, _)| memmem::find(text.text, word).is_some());
        for at in text.starts() {
            let directive = skip_blanks(&text.text[at..]);
            asks.take_directive(directive);
            if !words.is_empty() {
                asks.take_questions(&directive[..directive_bytes(directive)], &words);
            }
        }
        asks
    }

    /// Those of a directive, which begins with its name.
    fn take_questions(&mut self, line: &'a [u8], words: &[(&[u8], bool)]) {
        for (word, is_next) in words {
            for at in overlapping(line, word) {
                let (before, rest) = (&line[..at], &line[at + word.len()..]);
                if before.last().is_some_and(|byte| is_of_name(*byte)) {
                    continue;
                }
                if *word == WORD {
                    let (is_next, rest) = match rest.strip_prefix(b"_next") {
                        Some(rest) => (true, rest),
                        None => (false, rest),
                    };
                    // What it was called at first.
                    let rest = rest.strip_prefix(b"__").unwrap_or(rest);
                    self.take_question(before, rest, is_next);
                } else {
                    self.take_question(before, rest, *is_next);
                }
            }
        }
    }

    fn take_directive(&mut self, rest: &'a [u8]) {
        if let Some(what) = rest.strip_prefix(b"pragma") {
            self.is_read_once |= skip_blanks(what).starts_with(b"once");
        }
        if let Some(definition) = rest.strip_prefix(b"define") {
            self.literals.extend(value_of_macro(skip_blanks(definition)).and_then(literal));
        }
        if !rest.starts_with(b"i") {
            return;
        }
        let words: [(&[u8], bool); 3] =
            [(b"include_next", true), (b"include", false), (b"import", false)];
        for (word, is_next) in words {
            let Some(rest) = rest.strip_prefix(word) else { continue };
            if rest.first().is_none_or(|byte| is_of_name(*byte)) {
                return;
            }
            self.is_read_once |= word == b"import";
            match literal(skip_blanks(rest)) {
                Some((is_quoted, name)) => {
                    self.named.push(Ask { is_quoted, is_question: false, is_next, name });
                }
                None => self.includes_by_macro = true,
            }
            return;
        }
    }

    /// What stands between `before` and `rest` in a directive asks, perhaps.
    fn take_question(&mut self, before: &[u8], rest: &'a [u8], is_next: bool) {
        let is_word_end = rest.first().is_none_or(|byte| !is_of_name(*byte));
        if !is_word_end || is_asked_for(before) {
            return;
        }
        let after = skip_blanks(rest);
        let defined = defined_macro(before);
        let Some(inner) = after.strip_prefix(b"(") else {
            match defined {
                Some((name, Some(b""))) if is_end(after) => self.add_alias(name, is_next),
                // It may be a part of another macro's value.
                Some(_) => self.questions_by_macro = true,
                None => {}
            }
            return;
        };
        let inner = skip_blanks(inner);
        if let Some((is_quoted, name)) = literal(inner) {
            self.named.push(Ask { is_quoted, is_question: true, is_next, name });
        } else if let Some((name, Some(parameter))) = defined
            && let Some(rest) = inner.strip_prefix(parameter)
            && let Some(rest) = skip_blanks(rest).strip_prefix(b")")
            && !parameter.is_empty()
            && is_end(skip_blanks(rest))
        {
            self.add_alias(name, is_next);
        } else if defined.is_some() || is_code(inner) {
            self.questions_by_macro = true;
        }
    }

    fn add_alias(&mut self, name: &[u8], is_next: bool) {
        self.aliases.push(Alias { name: name.to_vec(), is_next });
    }
}

/// The macro that a directive defines, if it has got as far as its value: its name, and its only
/// parameter, empty without one. `None` for the latter if there is anything else.
fn defined_macro(directive: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let rest = directive.strip_prefix(b"define")?;
    let rest = skip_blanks(rest);
    let (name, rest) = name(rest);
    let Some(list) = rest.strip_prefix(b"(") else {
        return Some((name, skip_blanks(rest).is_empty().then_some(b"")));
    };
    let (parameter, rest) = self::name(skip_blanks(list));
    let end = skip_blanks(rest).strip_prefix(b")").filter(|_| !parameter.is_empty());
    let is_value = end.is_some_and(|end| skip_blanks(end).is_empty());
    Some((name, is_value.then_some(parameter)))
}

/// What stands behind the name and the parameters of a macro.
fn value_of_macro(definition: &[u8]) -> Option<&[u8]> {
    let (_, rest) = name(definition);
    match rest.strip_prefix(b"(") {
        Some(parameters) => Some(skip_blanks(&parameters[memchr(b')', parameters)? + 1..])),
        None => Some(skip_blanks(rest)),
    }
}

/// The name that a text begins with, perhaps empty, and the rest.
fn name(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| is_of_name(**byte)).count())
}

/// Whether nothing more stands in the line but a comment.
fn is_end(rest: &[u8]) -> bool {
    rest.is_empty() || rest.starts_with(b"\n") || rest.starts_with(b"//")
}

/// Up to the end of a directive: a comment does not end it.
fn directive_bytes(text: &[u8]) -> usize {
    let mut end = 0;
    loop {
        let start = end;
        end += memchr(b'\n', &text[end..]).unwrap_or(text.len() - end);
        let comment = memmem::rfind(&text[start..end], b"/*").map(|at| start + at + 2);
        let closed = comment.map(|at| memmem::find(&text[at..], b"*/"));
        match (comment, closed) {
            (Some(at), Some(Some(length))) if at + length > end => end = at + length + 2,
            (Some(_), Some(None)) => return text.len(),
            _ => return end,
        }
    }
}

/// Where a word stands.
fn overlapping<'a>(text: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + memmem::find(text.get(from..)?, word)?;
        from = at + 1;
        Some(at)
    })
}

/// Whether the text ends in a directive or an operator that only asks whether a macro is there, or
/// that defines it.
fn is_asked_for(before: &[u8]) -> bool {
    let before = before.trim_ascii_end();
    let before = before.strip_suffix(b"(").unwrap_or(before).trim_ascii_end();
    let words: [&[u8]; 5] = [b"ifdef", b"ifndef", b"define", b"defined", b"undef"];
    words.iter().any(|word| before.ends_with(word))
}

/// Whether a name may stand here, where none is written: not behind a word in a sentence.
fn is_code(rest: &[u8]) -> bool {
    rest.first().is_some_and(|byte| is_of_name(*byte))
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// A name in quotes or angle brackets.
fn literal(text: &[u8]) -> Option<(bool, &[u8])> {
    let (open, rest) = text.split_first()?;
    let close = match open {
        b'"' => b'"',
        b'<' => b'>',
        _ => return None,
    };
    let end = rest.iter().position(|byte| *byte == close || *byte == b'\n')?;
    (rest[end] == close).then(|| (*open == b'"', &rest[..end]))
}

/// What separates words in a line; gcc passes over a zero, too.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c | b'\r' | 0)
}

/// What follows blanks and comments.
fn skip_blanks(text: &[u8]) -> &[u8] {
    let mut rest = text;
    loop {
        rest = match rest {
            [byte, after @ ..] if is_blank(*byte) => after,
            [b'/', b'*', after @ ..] => {
                let end = memmem::find(after, b"*/");
                end.map_or(&after[after.len()..], |end| &after[end + 2..])
            }
            _ => return rest,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let mut buffer = Vec::new();
        let asks = Asks::of(&Joined::of(text.as_bytes(), &mut buffer), true, &BTreeSet::new());
        assert!(!asks.includes_by_macro && !asks.questions_by_macro, "{text}");
        let show = |ask: &Ask<'_>| {
            let kind = if ask.is_question { "?" } else { "" };
            let next = if ask.is_next { "+" } else { "" };
            let name = String::from_utf8_lossy(ask.name);
            let quoted = if ask.is_quoted { "\"" } else { "<" };
            format!("{kind}{next}{quoted}{name}")
        };
        asks.named.iter().map(show).collect()
    }

    #[test]
    fn broken_lines_are_joined_and_others_are_not() {
        for (text, expected) in [
            ("a\\\nb", "ab"),
            ("a\\ \t\r\nb??/\nc\\\n\\\nd", "abcd"),
            ("??/ \n??/\n", ""),
            ("\\n\n/\n?/\n??/ x\n\\", "\\n\n/\n?/\n??/ x\n\\"),
            ("a\\\n", "a"),
        ] {
            let mut buffer = Vec::new();
            let joined = Joined::of(text.as_bytes(), &mut buffer);
            assert_eq!(String::from_utf8_lossy(joined.text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_text_that_is_read_once_says_so() {
        let is_once = |text: &str| {
            Asks::of(&Joined::of(text.as_bytes(), &mut Vec::new()), false, &BTreeSet::new())
                .is_read_once
        };
        for text in ["#pragma once\n", "//\n # /**/pragma\tonce // x\n", "#import <a.h>\n"] {
            assert!(is_once(text), "{text}");
        }
        let has_operator =
            |text: &str| Joined::of(text.as_bytes(), &mut Vec::new()).has_once_operator();
        for text in
            ["_Pragma(\"once\")", "_Pragma ( L\" once\" )", "#define P _Pragma", "_Pragma(X)"]
        {
            assert!(has_operator(text), "{text}");
        }
        assert!(!has_operator("_Pragma(\"GCC poison once\") once"));
        for text in ["#pragma GCC system_header\n", "int once;\n", "pragma once\n", ""] {
            assert!(!is_once(text), "{text}");
        }
    }

    #[test]
    fn names_are_found_however_they_are_written() {
        assert_eq!(
            names("#include <a/b.h>\n  #  include\"c.h\" // x\nint x;"),
            ["<a/b.h", "\"c.h"]
        );
        assert_eq!(names("/* x */ # /* y */ include \\\n <d.h>"), ["<d.h"]);
        assert_eq!(names("%:include <e.h>\n??=import \"f.h\""), ["<e.h", "\"f.h"]);
        assert_eq!(names("#include_next <g.h>"), ["+<g.h"]);
        for text in [
            "#in\\\nclude <h.h>",
            "#in\\ \r\nclude <h.h>",
            "/* x */ #include <h.h>",
            "#include/* x */ /**/<h.h>",
            "#in??/\nclude <h\\\n.h>",
            "\x0c\x0b#\0import\x0b<h.h>",
        ] {
            assert_eq!(names(text), ["<h.h"], "{text:?}");
        }
        for text in
            ["%:include <h.h>", "%\\\n:include <h.h>", "??=include <h.h>", "%??/\n:import <h.h>"]
        {
            assert_eq!(names(text), ["<h.h"], "{text:?}");
        }
        for text in ["#if __has_\\\ninclude(<h\\\n.h>)", "#if __has_\\\n??/\ninclude(<h.h>)"] {
            let (mut buffer, none) = (Vec::new(), BTreeSet::new());
            let asks = Asks::of(&Joined::of(text.as_bytes(), &mut buffer), false, &none);
            assert_eq!(asks.named.iter().map(|ask| ask.name).collect::<Vec<_>>(), [b"h.h"]);
        }
        assert_eq!(names("#includes <x>\n#define include 1\na # b \"c\""), [""; 0]);
    }

    #[test]
    fn values_of_macros_that_may_be_names_are_found() {
        let text = "#define A \"a.h\"\n# define B(x) <b.h> // c\n#define C 1\n#define D x \"d\"\n";
        let (mut buffer, none) = (Vec::new(), BTreeSet::new());
        let asks = Asks::of(&Joined::of(text.as_bytes(), &mut buffer), false, &none);
        assert_eq!(asks.literals, [(true, &b"a.h"[..]), (false, b"b.h")]);
        assert!(asks.named.is_empty());
    }

    #[test]
    fn questions_are_found_and_the_word_alone_is_none() {
        assert_eq!(
            names(
                "#if __has_include(<a.h>) || __has_include_next ( \"b.h\") && __has_include__(<c>)"
            ),
            ["?<a.h", "?+\"b.h", "?<c"]
        );
        for text in [
            "#ifdef __has_include\n#if defined(__has_include) && 1",
            "#ifndef __has_include\n# define __has_include(x) 0",
            "#if defined __has_include",
            "// see __has_include(x).",
        ] {
            assert_eq!(names(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_macro_that_stands_for_the_question_asks_it() {
        let aliases = |text: &str, known: &BTreeSet<Alias>| {
            let mut buffer = Vec::new();
            let asks = Asks::of(&Joined::of(text.as_bytes(), &mut buffer), true, known);
            assert!(!asks.questions_by_macro && asks.named.is_empty(), "{text}");
            asks.aliases.into_iter().collect::<BTreeSet<_>>()
        };
        let alias = |name: &str, is_next| Alias { name: name.as_bytes().to_vec(), is_next };
        for text in [
            "#define HAS __has_include\n",
            "#define HAS __has_include// x",
            "# /**/ define HAS \\\n __has_include__ /* x */\n",
            "#define HAS(x) __has_include(x)",
            "#define HAS( x ) __has_include ( x ) // y\n",
        ] {
            assert_eq!(aliases(text, &BTreeSet::new()), [alias("HAS", false)].into(), "{text}");
        }
        let known = aliases("#define HAS __has_include_next", &BTreeSet::new());
        assert_eq!(known, [alias("HAS", true)].into());
        assert_eq!(aliases("#define IS(x) HAS(x)\n", &known), [alias("IS", true)].into());
        assert_eq!(aliases("#ifdef HAS\n#define HAS(x) 0\n#if MY_HAS(<a>)", &known), [].into());
        let text = "#if defined HAS && HAS(<a.h>)\n#define B HAS ( \"b.h\" )\n";
        let mut buffer = Vec::new();
        let asks = Asks::of(&Joined::of(text.as_bytes(), &mut buffer), false, &known);
        let named: Vec<_> = asks.named.iter().map(|ask| (ask.name, ask.is_next)).collect();
        assert_eq!(named, [(&b"a.h"[..], true), (b"b.h", true)]);
        assert!(asks.named.iter().all(|ask| ask.is_question) && !asks.questions_by_macro);
        for text in ["#if HAS(NAME)", "#define A(x) HAS(x) + 1", "#define A HAS + 1"] {
            assert!(
                Asks::of(&Joined::of(text.as_bytes(), &mut Vec::new()), false, &known)
                    .questions_by_macro,
                "{text}"
            );
        }
    }

    #[test]
    fn names_from_macros_are_told() {
        for text in ["#include NAME", "#include NAME(x)", "# include_next\tX"] {
            assert!(
                Asks::of(&Joined::of(text.as_bytes(), &mut Vec::new()), false, &BTreeSet::new())
                    .includes_by_macro,
                "{text}"
            );
        }
        for text in [
            "#if __has_include(NAME)",
            "#define HAS(x) !__has_include(x)",
            "#define HAS(x, y) __has_include(x)",
            "#define HAS(x) __has_include(y)",
            "#define HAS(x) __has_include(x) && 1",
            "#define HAS defined X && __has_include\n",
            "#define HAS(x) __has_include\n",
            "#if 0 /* a\n b */ || \\\n /* c\n */ __has_include(X)",
        ] {
            let mut buffer = Vec::new();
            let asks = Asks::of(&Joined::of(text.as_bytes(), &mut buffer), true, &BTreeSet::new());
            assert!(asks.questions_by_macro && !asks.includes_by_macro, "{text}");
        }
    }
}
