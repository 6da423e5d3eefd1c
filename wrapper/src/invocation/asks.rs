//! What a text asks the preprocessor to look for.
//!
//! 1. Found are `#include`, `#include_next` and `#import`, and in any directive `__has_include`
//!    with its relatives, wherever they stand: in comments, literals and skipped groups, too. One
//!    too many is a name more that is looked for.
//! 2. Blanks, comments and line breaks behind a backslash may stand between their words.
//! 3. A name that a macro gives is not known. Of such an `#include` the files that were read tell;
//!    of such a `__has_include` nothing does. (The definition of a macro of that name is none.)
//! 4. A macro that stands for `__has_include` and nothing else ([`Alias`]) asks as that word does,
//!    in any text, once it is known.

use std::collections::BTreeSet;
use std::io::BufRead;

const WORD: &[u8] = b"__has_include";

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
}

impl<'a> Asks<'a> {
    /// Those of `text`, which may have questions only if it `mentions` them or may use `aliases`.
    pub(super) fn of(text: &'a [u8], mentions: bool, aliases: &BTreeSet<Alias>) -> Asks<'a> {
        let mut asks = Asks::default();
        for (start, more) in [(b'#', &b""[..]), (b'%', b":"), (b'?', b"?=")] {
            for at in places(text, start) {
                let Some(rest) = text[at + 1..].strip_prefix(more) else { continue };
                let directive = skip_blanks(rest);
                asks.take_directive(directive);
                if mentions || !aliases.is_empty() {
                    let line = &directive[..directive_bytes(directive)];
                    asks.take_questions(line, mentions, aliases);
                }
            }
        }
        asks
    }

    /// Those of a directive, which begins with its name.
    fn take_questions(&mut self, line: &'a [u8], mentions: bool, aliases: &BTreeSet<Alias>) {
        let own = mentions.then_some((WORD, false));
        let others = aliases.iter().map(|alias| (alias.name.as_slice(), alias.is_next));
        for (word, is_next) in own.into_iter().chain(others) {
            let found = line.windows(word.len()).enumerate().filter(|(_, found)| *found == word);
            for (at, _) in found {
                let (before, rest) = (&line[..at], &line[at + word.len()..]);
                if before.last().is_some_and(|byte| is_of_name(*byte)) {
                    continue;
                }
                if word == WORD {
                    let (is_next, rest) = match rest.strip_prefix(b"_next") {
                        Some(rest) => (true, rest),
                        None => (false, rest),
                    };
                    // What it was called at first.
                    let rest = rest.strip_prefix(b"__").unwrap_or(rest);
                    self.take_question(before, rest, is_next);
                } else {
                    self.take_question(before, rest, is_next);
                }
            }
        }
    }

    fn take_directive(&mut self, rest: &'a [u8]) {
        let words: [(&[u8], bool); 3] =
            [(b"include_next", true), (b"include", false), (b"import", false)];
        for (word, is_next) in words {
            let Some(rest) = rest.strip_prefix(word) else { continue };
            if rest.first().is_none_or(|byte| is_of_name(*byte)) {
                return;
            }
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

/// The name that a text begins with, perhaps empty, and the rest.
fn name(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| is_of_name(**byte)).count())
}

/// Whether nothing more stands in the line but a comment.
fn is_end(rest: &[u8]) -> bool {
    rest.is_empty() || rest.starts_with(b"\n") || rest.starts_with(b"//")
}

/// Up to the end of a directive: neither a broken line nor a comment ends it.
fn directive_bytes(text: &[u8]) -> usize {
    let mut end = 0;
    loop {
        let line = text[end..].split(|byte| *byte == b'\n').next().unwrap_or_default();
        let start = end;
        end += line.len();
        let is_broken = line.trim_ascii_end().ends_with(b"\\");
        let comment = line.windows(2).rposition(|pair| pair == b"/*").map(|at| start + at + 2);
        let closed = comment.map(|at| text[at..].windows(2).position(|pair| pair == b"*/"));
        match (comment, closed) {
            (Some(at), Some(Some(length))) if at + length > end => end = at + length + 2,
            (Some(_), Some(None)) => return text.len(),
            _ if is_broken && end < text.len() => end += 1,
            _ => return end.min(text.len()),
        }
    }
}

/// Where a byte stands.
fn places(text: &[u8], byte: u8) -> impl Iterator<Item = usize> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // The quickest search that the standard library has.
        let skipped = rest.skip_until(byte).ok()?;
        let end = text.len() - rest.len();
        (skipped > 0 && text[end - 1] == byte).then(|| end - 1)
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

/// What follows blanks, comments and broken lines.
fn skip_blanks(text: &[u8]) -> &[u8] {
    let mut rest = text;
    loop {
        rest = match rest {
            [b' ' | b'\t' | 0x0b | 0x0c | b'\r', after @ ..] => after,
            [b'\\', b'\n', after @ ..] | [b'\\', b'\r', b'\n', after @ ..] => after,
            [b'/', b'*', after @ ..] => {
                let end = after.windows(2).position(|pair| pair == b"*/");
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
        let asks = Asks::of(text.as_bytes(), true, &BTreeSet::new());
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
    fn every_place_is_found_once() {
        assert_eq!(places(b"#a##", b'#').collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!(places(b"a#b", b'#').collect::<Vec<_>>(), [1]);
        assert_eq!(places(b"", b'#').count() + places(b"ab", b'#').count(), 0);
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
        assert_eq!(names("#includes <x>\n#define include 1\na # b \"c\""), [""; 0]);
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
            let asks = Asks::of(text.as_bytes(), true, known);
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
        let asks = Asks::of(text.as_bytes(), false, &known);
        let named: Vec<_> = asks.named.iter().map(|ask| (ask.name, ask.is_next)).collect();
        assert_eq!(named, [(&b"a.h"[..], true), (b"b.h", true)]);
        assert!(asks.named.iter().all(|ask| ask.is_question) && !asks.questions_by_macro);
        for text in ["#if HAS(NAME)", "#define A(x) HAS(x) + 1", "#define A HAS + 1"] {
            assert!(Asks::of(text.as_bytes(), false, &known).questions_by_macro, "{text}");
        }
    }

    #[test]
    fn names_from_macros_are_told() {
        for text in ["#include NAME", "#include NAME(x)", "# include_next\tX"] {
            assert!(Asks::of(text.as_bytes(), true, &BTreeSet::new()).includes_by_macro, "{text}");
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
            let asks = Asks::of(text.as_bytes(), true, &BTreeSet::new());
            assert!(asks.questions_by_macro && !asks.includes_by_macro, "{text}");
        }
    }
}
