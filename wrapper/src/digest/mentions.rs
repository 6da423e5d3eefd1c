//! What a text mentions that a digest of it does not cover, found by its words: nothing is parsed,
//! so a comment or a string may mention it too.
//!
//! 1. What is found is at least what a compiler would take for it: lines that are joined and words
//!    that are put together are found as well (see [`disguise`]).
//! 2. A scan of any byte finds what one at every byte finds: all begins with a pair of
//!    [`BEGINNINGS`].

use crate::disguise;

/// Longest text that [`Mentions::scan`] looks for, with generous white space.
pub(super) const OVERLAP_BYTES: usize = 256;

/// What the contents of a file mention that a digest of the contents does not cover.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Mentions(u8);

impl Mentions {
    /// `__TIME__`.
    pub const TIME: Mentions = Mentions(1);
    /// `__DATE__`.
    pub const DATE: Mentions = Mentions(2);
    /// `__TIMESTAMP__`.
    pub const TIMESTAMP: Mentions = Mentions(4);
    /// `.incbin`, `.include`, `#embed`, `__has_embed`, `GCC dependency` or `clang dependency`:
    /// another file may be read that no dependency list names.
    pub const HIDDEN_INPUT: Mentions = Mentions(8);
    /// `__has_include`: whether another file is there may count.
    pub const HAS_INCLUDE: Mentions = Mentions(16);

    /// A macro that pastes underscores before and behind a name.
    pub const PASTES: Mentions = Mentions(32);
    /// What such a macro would make the name of a time of.
    pub const PASTED: Mentions = Mentions(64);

    /// `__has_include` of a name that a macro gives, or put together by one: which files it asks
    /// for is not known. The former is no part of the table, because the text around the word
    /// decides.
    pub const HAS_INCLUDE_OF_MACRO: Mentions = Mentions(128);

    /// Whether any of `other` is mentioned.
    pub fn any(self, other: Mentions) -> bool {
        self.0 & other.0 != 0
    }

    /// What either mentions.
    pub fn union(self, other: Mentions) -> Mentions {
        Mentions(self.0 | other.0)
    }

    /// What is mentioned beside the time macros.
    pub fn without_time_macros(self) -> Mentions {
        Mentions(self.0 & !(Mentions::TIME.0 | Mentions::DATE.0 | Mentions::TIMESTAMP.0))
    }

    /// What is mentioned beside macros that paste.
    pub fn without_pastes(self) -> Mentions {
        Mentions(self.0 & !(Mentions::PASTES.0 | Mentions::HAS_INCLUDE_OF_MACRO.0))
    }

    /// As a byte.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The inverse of [`Mentions::bits`]; unknown bits are kept, so that they compare unequal.
    pub fn from_bits(bits: u8) -> Mentions {
        Mentions(bits)
    }

    /// What `text` mentions, in comments and strings too: in doubt it counts.
    pub fn scan(text: &[u8]) -> Mentions {
        let mut found = Mentions::scan_lines(text);
        let joined = disguise::joined(text);
        if let Some(spelled) = disguise::spelled_out(joined.as_deref().unwrap_or(text))
            && Mentions::scan_lines(&spelled).any(Mentions::HIDDEN_INPUT)
        {
            found = found.union(Mentions::HIDDEN_INPUT);
        }
        let Some(joined) = joined else { return found };
        let more = Mentions::scan_lines(&joined);
        // Whoever looks for the names that it asks for does not find the word.
        let is_hidden = more.any(Mentions::HAS_INCLUDE) && !found.any(Mentions::HAS_INCLUDE);
        let hidden = if is_hidden { Mentions::HAS_INCLUDE_OF_MACRO } else { Mentions::default() };
        found.union(more).union(hidden)
    }

    fn scan_lines(text: &[u8]) -> Mentions {
        let mut found = Mentions::default();
        for at in beginnings(text) {
            let before = at.checked_sub(1).map(|before| text[before]);
            found = found.union(mention_at(before, &text[at..]));
        }
        found
    }
}

/// Of every byte: which beginnings of [`BEGINNINGS`] have it first, and which have it second.
const PAIRS: [(u8, u8); 256] = {
    let mut pairs = [(0, 0); 256];
    let mut row = 0;
    while row < BEGINNINGS.len() {
        let (first, second) = BEGINNINGS[row];
        let mut at = 0;
        while at < first.len() {
            pairs[first[at] as usize].0 |= 1 << row;
            at += 1;
        }
        let mut at = 0;
        while at < second.len() {
            pairs[second[at] as usize].1 |= 1 << row;
            at += 1;
        }
        row += 1;
    }
    pairs
};

/// What all that [`mention_at`] knows begins with: one byte of the first, and one of the second.
const BEGINNINGS: [(&[u8], &[u8]); 8] = [
    (b"_", b"_"),
    (b".", b"iI\""),
    (b"\"", b"iI\" \t\\\r\n\x0b\x0c"),
    (b"#", b"e/ \t\\\r\n\x0b\x0c"),
    (b"%?", b":?"),
    (b"G", b"C"),
    (b"c", b"l"),
    (b"DT", b"AI"),
];

/// Where in a text there may be something for [`mention_at`]: nearly all bytes are passed over by
/// two tables.
fn beginnings(text: &[u8]) -> impl Iterator<Item = usize> {
    let pairs = text.iter().zip(text.get(1..).unwrap_or_default());
    let may = |(first, second): (&u8, &u8)| {
        PAIRS[usize::from(*first)].0 & PAIRS[usize::from(*second)].1 != 0
    };
    pairs.enumerate().filter(move |(_, pair)| may(*pair)).map(|(at, _)| at)
}

/// What is mentioned by the word that `text` begins with, which follows the byte `before`.
fn mention_at(before: Option<u8>, text: &[u8]) -> Mentions {
    match text {
        [b'_', b'_', ..] => mention_of_name(before, text),
        [b'.', rest @ ..] if is_directive(rest, b"incbin") || is_assembler_include(rest) => {
            Mentions::HIDDEN_INPUT
        }
        // The dot comes from elsewhere.
        [b'"', rest @ ..] if is_directive(skip_blanks(rest), b"incbin") => Mentions::HIDDEN_INPUT,
        // The digraph and the trigraph of `#` included.
        [b'#', rest @ ..] | [b'%', b':', rest @ ..] | [b'?', b'?', b'=', rest @ ..]
            if disguise::skip_comments(rest).starts_with(b"embed") =>
        {
            Mentions::HIDDEN_INPUT
        }
        [b'G', b'C', b'C', rest @ ..] | [b'c', b'l', b'a', b'n', b'g', rest @ ..]
            if disguise::skip_comments(rest).starts_with(b"dependency") =>
        {
            Mentions::HIDDEN_INPUT
        }
        [b'D' | b'T', ..] if disguise::is_middle(before, text) => Mentions::PASTED,
        _ => Mentions::default(),
    }
}

/// What is mentioned by a name that begins with two underscores.
fn mention_of_name(before: Option<u8>, text: &[u8]) -> Mentions {
    const WORDS: [(&[u8], Mentions); 5] = [
        (b"__TIME__", Mentions::TIME),
        (b"__DATE__", Mentions::DATE),
        (b"__TIMESTAMP__", Mentions::TIMESTAMP),
        (b"__has_embed", Mentions::HIDDEN_INPUT),
        (b"__has_include", Mentions::HAS_INCLUDE),
    ];
    let mut found = Mentions::default();
    for (word, mentions) in WORDS {
        if text.starts_with(word) {
            found = found.union(mentions);
        } else if disguise::is_first_piece(before, text, word) {
            let is_question = word.starts_with(b"__has");
            found = found.union(match is_question {
                true => Mentions::HAS_INCLUDE_OF_MACRO,
                false => mentions,
            });
        }
    }
    let pastes = disguise::pastes_underscores(before, text);
    found.union(if pastes { Mentions::PASTES } else { Mentions::default() })
}

fn is_directive(text: &[u8], word: &[u8]) -> bool {
    disguise::starts_with_directive(text, word).is_some()
}

/// The assembler demands a quoted name, perhaps in the next string literal; a member called
/// `include` is something else.
fn is_assembler_include(text: &[u8]) -> bool {
    disguise::starts_with_directive(text, b"include")
        .is_some_and(|rest| matches!(skip_blanks(rest), [b'"' | b'\'' | b'%' | b'\\', ..]))
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\\' | b'\r' | b'\n' | 0x0b | 0x0c);
    let end = text.iter().take(OVERLAP_BYTES / 2).take_while(|byte| blank(byte)).count();
    &text[end..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Mentions {
        Mentions::scan(text.as_bytes())
    }

    #[test]
    fn what_a_digest_does_not_cover_is_found() {
        assert_eq!(scan("int x; // nothing\n#include <x>\n"), Mentions::default());
        assert_eq!(scan("set.include(x); set.include (x)"), Mentions::default());
        assert_eq!(scan("a __DATE__ b"), Mentions::DATE);
        assert_eq!(scan("__TIMESTAMP__"), Mentions::TIMESTAMP);
        assert_eq!(scan("___TIME__ __DATE__"), Mentions::TIME.union(Mentions::DATE));
        for hidden in [
            "asm(\".incbin \\\"x\\\"\")",
            "asm(\".include \" NAME)",
            "asm(\".INCLUDE \\\"x\\\"\")",
            "#embed <x>",
            "#  \\\n embed \"x\"",
            "%: embed <x>",
            "#if __has_embed(<x>)",
            "#pragma GCC  dependency \"x\"",
        ] {
            assert_eq!(scan(hidden), Mentions::HIDDEN_INPUT, "{hidden}");
        }
    }

    #[test]
    fn words_that_are_put_together_are_found() {
        for (text, mentions) in [
            ("__DA\\\nTE__", Mentions::DATE),
            ("P(__DA, TE__)", Mentions::DATE),
            ("__##x##__ (TIME)", Mentions::PASTES.union(Mentions::PASTED)),
            ("P(__has_, include)", Mentions::HAS_INCLUDE_OF_MACRO),
            ("asm(\".inc\" \"bin x\")", Mentions::HIDDEN_INPUT),
            ("asm(S(D)\"incbin x\")", Mentions::HIDDEN_INPUT),
            ("asm(\"\\x2eincbin x\")", Mentions::HIDDEN_INPUT),
            ("asm(\".inc\\\n\\142in x\")", Mentions::HIDDEN_INPUT),
            ("asm(\".incl\" \"ude \\\"x\\\"\")", Mentions::HIDDEN_INPUT),
            ("#pragma clang dependency \"x\"", Mentions::HIDDEN_INPUT),
            ("#pragma GCC /* x */ dependency \"x\"", Mentions::HIDDEN_INPUT),
            ("# /* x */ embed \"x\"", Mentions::HIDDEN_INPUT),
        ] {
            assert_eq!(scan(text), mentions, "{text}");
        }
        let of_break = Mentions::HAS_INCLUDE.union(Mentions::HAS_INCLUDE_OF_MACRO);
        assert_eq!(scan("#if __has_in\\\nclude(<x>)"), of_break);
        for text in ["#include \"f.inc\"\n#define binary 1", "a.i) + nc", "f(__has_x) __has_*"] {
            assert_eq!(scan(text), Mentions::default(), "{text}");
        }
    }

    /// Against a search that asks at every byte, in texts made of what it asks for.
    #[test]
    fn nothing_that_begins_anywhere_is_passed_over() {
        const PIECES: &str = "__|_|DATE|TIME|STAMP|__TIME__|has_|include|embed|inc|bin|.|\"|'|#|%:|\
            ??=|GCC|clang|dependency|D|T|I| |\t|\n|\\|/*|*/|(|)|,|##|\x0b|\r|x|\\n";
        let pieces: Vec<_> = PIECES.split('|').collect();
        let mut random = 1_u64;
        let mut any = Mentions::default();
        for _ in 0..100_000 {
            let mut text = String::new();
            for _ in 0..8 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push_str(pieces[(random >> 33) as usize % pieces.len()]);
            }
            let text = text.as_bytes();
            let everywhere = (0..text.len()).fold(Mentions::default(), |found, at| {
                let before = at.checked_sub(1).map(|before| text[before]);
                found.union(mention_at(before, &text[at..]))
            });
            assert_eq!(Mentions::scan_lines(text), everywhere, "{}", text.escape_ascii());
            any = any.union(everywhere);
        }
        // All but what needs more pieces in a row than chance gives.
        assert_eq!(any.bits() | Mentions::PASTES.bits(), u8::MAX, "{any:?}");
    }
}
