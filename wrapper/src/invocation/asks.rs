//! What a text asks the preprocessor to look for.
//!
//! 1. Found are `#include`, `#include_next` and `#import`, and in any directive `__has_include`
//!    with its relatives, wherever they stand: in comments, literals and skipped groups, too. One
//!    too many is a name more that is looked for.
//! 2. Blanks, comments and line breaks behind a backslash may stand between their words.
//! 3. A name that a macro gives is not known. Of such an `#include` the files that were read tell;
//!    of such a `__has_include` nothing does. (The definition of a macro of that name is none.)

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

/// What a text asks for.
#[derive(Debug, Default)]
pub(super) struct Asks<'a> {
    pub(super) named: Vec<Ask<'a>>,
    /// An `#include` has a name from a macro.
    pub(super) includes_by_macro: bool,
    /// A `__has_include` has one.
    pub(super) questions_by_macro: bool,
}

impl<'a> Asks<'a> {
    /// Those of `text`, which may have questions only if it `mentions` them.
    pub(super) fn of(text: &'a [u8], mentions: bool) -> Asks<'a> {
        let mut asks = Asks::default();
        for (start, more) in [(b'#', &b""[..]), (b'%', b":"), (b'?', b"?=")] {
            for at in places(text, start) {
                let Some(rest) = text[at + 1..].strip_prefix(more) else { continue };
                asks.take_directive(skip_blanks(rest));
                if mentions {
                    asks.take_questions(&text[at..]);
                }
            }
        }
        asks
    }

    /// Those of the directive that `text` begins with.
    fn take_questions(&mut self, text: &'a [u8]) {
        let line = &text[..directive_bytes(text)];
        let found = line.windows(WORD.len()).enumerate().filter(|(_, word)| *word == WORD);
        found.for_each(|(at, _)| self.take_question(&line[..at], &text[at..]));
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

    fn take_question(&mut self, before: &[u8], rest: &'a [u8]) {
        let Some(rest) = rest.strip_prefix(WORD) else { return };
        let (is_next, rest) = match rest.strip_prefix(b"_next") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        // What it was called at first.
        let rest = rest.strip_prefix(b"__").unwrap_or(rest);
        let after = skip_blanks(rest);
        let is_word_end = rest.first().is_none_or(|byte| !is_of_name(*byte));
        let Some(inner) = after.strip_prefix(b"(") else {
            // It may be another macro's value.
            self.questions_by_macro |= is_word_end && !is_asked_for(before) && defines(before);
            return;
        };
        if !is_word_end || is_asked_for(before) {
            return;
        }
        match literal(skip_blanks(inner)) {
            Some((is_quoted, name)) => {
                self.named.push(Ask { is_quoted, is_question: true, is_next, name });
            }
            None => self.questions_by_macro |= is_code(skip_blanks(inner)),
        }
    }
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

/// Whether a directive defines a macro.
fn defines(directive: &[u8]) -> bool {
    directive.windows(6).any(|word| word == b"define")
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
        let asks = Asks::of(text.as_bytes(), true);
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
    fn names_from_macros_are_told() {
        for text in ["#include NAME", "#include NAME(x)", "# include_next\tX"] {
            assert!(Asks::of(text.as_bytes(), true).includes_by_macro, "{text}");
        }
        for text in [
            "#if __has_include(NAME)",
            "#define HAS(x) __has_include(x)",
            "#define HAS __has_include\n",
            "#define HAS \\\n __has_include\n",
            "#if 0 /* a\n b */ || \\\n /* c\n */ __has_include(X)",
        ] {
            let asks = Asks::of(text.as_bytes(), true);
            assert!(asks.questions_by_macro && !asks.includes_by_macro, "{text}");
        }
    }
}
