//! Words that a text does not show as they stand: what is put together only when it is compiled.
//!
//! 1. A line break behind a backslash, or behind the trigraph of one, may stand within a word:
//!    [`joined`] takes out those that do.
//! 2. A macro may paste a word from pieces. The first piece is the start of the word
//!    ([`is_first_piece`]), or two underscores: then the rest is passed to a macro that pastes
//!    underscores around it ([`pastes_underscores`], [`is_middle`]).
//! 3. A directive of the assembler may be put together from literals that stand side by side, from
//!    arguments that macros turn into literals, or by a macro of the assembler
//!    ([`starts_with_directive`]).
//!
//! 4. A literal may have letters as numbers: [`spelled_out`] writes them.
//!
//! Not seen: the three pieces of a word that are one letter each, and underscores that reach a
//! macro as an argument.

/// Shortest first piece, so that no usual name is one.
const PIECE_BYTES_MIN: usize = 4;
/// As far as pieces of one directive may stand apart.
const APART_BYTES_MAX: usize = 64;

/// The text without the line breaks within words, `None` if there is none.
pub fn joined(text: &[u8]) -> Option<Vec<u8>> {
    let mut joined = Vec::new();
    let mut copied = 0;
    let mut next = 0;
    for end in memchr::memchr_iter(b'\n', text) {
        let start = std::mem::replace(&mut next, end + 1);
        let line = text[start..end].trim_ascii_end();
        let line = line.strip_suffix(b"\\").or_else(|| line.strip_suffix(b"??/"));
        let Some(line) = line else { continue };
        let last = if copied == start && line.is_empty() { joined.last() } else { line.last() };
        let follows = text.get(next).copied().unwrap_or(b'\n');
        let goes_on = is_of_word(follows) || follows == b'\\';
        if last.is_some_and(|byte| is_of_word(*byte)) && goes_on {
            joined.extend_from_slice(&text[copied..start + line.len()]);
            copied = next;
        }
    }
    if copied == 0 {
        return None;
    }
    joined.extend_from_slice(&text[copied..]);
    Some(joined)
}

/// The text with the letters and dots that literals give as numbers, `None` if there is none.
pub fn spelled_out(text: &[u8]) -> Option<Vec<u8>> {
    let mut spelled = Vec::new();
    let mut copied = 0;
    for at in memchr::memchr_iter(b'\\', text) {
        if let Some((byte, bytes)) = text.get(at + 1..).and_then(number)
            && at >= copied
        {
            spelled.extend_from_slice(&text[copied..at]);
            spelled.push(byte);
            copied = at + 1 + bytes;
        }
    }
    if copied == 0 {
        return None;
    }
    spelled.extend_from_slice(&text[copied..]);
    Some(spelled)
}

/// The letter or dot whose number stands behind a backslash, and how many bytes that is written in.
fn number(text: &[u8]) -> Option<(u8, usize)> {
    let (start, base, digits_max) = match text {
        [b'x' | b'u', b'{', ..] => (2, 16, APART_BYTES_MAX),
        [b'o', b'{', ..] => (2, 8, APART_BYTES_MAX),
        [b'x', ..] => (1, 16, APART_BYTES_MAX),
        [b'u', ..] => (1, 16, 4),
        [b'U', ..] => (1, 16, 8),
        [b'0'..=b'7', ..] => (0, 8, 3),
        _ => return None,
    };
    let digits = text[start..].iter().take(digits_max);
    let digits = digits.map_while(|byte| char::from(*byte).to_digit(base));
    let (value, count) = digits.fold((0_u32, 0), |(value, count), digit| {
        (value.saturating_mul(base).saturating_add(digit), count + 1)
    });
    let byte = u8::try_from(value).ok().filter(|byte| byte.is_ascii_alphabetic() || *byte == b'.');
    let end = start + count;
    let closing = usize::from(start == 2 && text.get(end) == Some(&b'}'));
    Some((byte?, end + closing))
}

fn is_of_word(byte: u8) -> bool {
    is_of_name(byte) || byte == b'.'
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The name that a text begins with, perhaps empty.
fn name(text: &[u8]) -> &[u8] {
    &text[..text.iter().take(APART_BYTES_MAX).take_while(|byte| is_of_name(**byte)).count()]
}

/// Whether a text, behind `before`, begins with a name that is only the start of `word`, and that
/// is pasted or passed to a macro.
pub fn is_first_piece(before: Option<u8>, text: &[u8], word: &[u8]) -> bool {
    let starts = text.get(..PIECE_BYTES_MIN) == word.get(..PIECE_BYTES_MIN);
    if !starts || before.is_some_and(is_of_name) {
        return false;
    }
    let name = name(text);
    let rest = skip_blanks(&text[name.len()..]);
    name.len() < word.len()
        && word.starts_with(name)
        && (rest.starts_with(b"##") || matches!(rest, [b',' | b')', ..]))
}

/// Whether a text begins with two underscores that a macro pastes to a name and to two others.
pub fn pastes_underscores(before: Option<u8>, text: &[u8]) -> bool {
    let paste = |text: &[u8]| -> Option<usize> {
        let rest = skip_blanks(text).strip_prefix(b"##")?;
        Some(text.len() - skip_blanks(rest).len())
    };
    let is_pasted = || {
        let rest = &text[2..];
        let rest = &rest[paste(rest)?..];
        let rest = &rest[name(rest).len()..];
        Some(name(&rest[paste(rest)?..]) == b"__")
    };
    !before.is_some_and(is_of_name) && name(text) == b"__" && is_pasted() == Some(true)
}

/// Whether a text begins with what such a macro makes the name of a time of: as its argument.
pub fn is_middle(before: Option<u8>, text: &[u8]) -> bool {
    let name = name(text);
    let is_one = [&b"DATE"[..], b"TIME", b"TIMESTAMP"].contains(&name);
    is_one
        && !before.is_some_and(is_of_name)
        && matches!(skip_blanks(&text[name.len()..]), [b')' | b',', ..])
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take(APART_BYTES_MAX).take_while(|byte| byte.is_ascii_whitespace());
    &text[blanks.count()..]
}

/// What follows a word of the assembler at the start of a text, in letters of any case, whole or
/// in pieces.
pub fn starts_with_directive<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let mut rest = text;
    for (index, letter) in word.iter().enumerate() {
        let is_next = |text: &[u8]| text.first().is_some_and(|b| b.eq_ignore_ascii_case(letter));
        if !is_next(rest) {
            // A literal may end behind the dot; a sentence does so, too, but it does not go on.
            if index == 0 && !rest.starts_with(b"\"") {
                return None;
            }
            // An assembler's macro gives the rest.
            if index > 0 && rest.starts_with(b"\\\\") {
                return Some(b"\"");
            }
            rest = skip_between(rest);
        }
        if !is_next(rest) {
            return None;
        }
        rest = &rest[1..];
    }
    Some(rest)
}

/// What follows the end of a literal or of an argument, and the start of the next.
fn skip_between(text: &[u8]) -> &[u8] {
    let between = |byte: &&u8| byte.is_ascii_whitespace() || b"\",)".contains(byte);
    let rest = &text[text.iter().take(APART_BYTES_MAX).take_while(between).count()..];
    let after = &rest[name(rest).len()..];
    match after {
        [b'(', after @ ..] if after.len() < rest.len() - 1 => {
            &after[after.iter().take(APART_BYTES_MAX).take_while(between).count()..]
        }
        _ => rest,
    }
}

/// What follows blanks and comments, and line breaks that a backslash takes back.
pub fn skip_comments(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\\' | b'\r' | b'\n' | 0x0b | 0x0c);
    let mut rest = text;
    loop {
        rest = &rest[rest.iter().take(2 * APART_BYTES_MAX).take_while(is_blank).count()..];
        let Some(comment) = rest.strip_prefix(b"/*") else { return rest };
        let end = comment.windows(2).take(2 * APART_BYTES_MAX).position(|pair| pair == b"*/");
        let Some(end) = end else { return rest };
        rest = &comment[end + 2..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_breaks_within_words_are_taken_out() {
        let of = |text: &str| joined(text.as_bytes()).map(|text| String::from_utf8(text).unwrap());
        assert_eq!(of("__DA\\\nTE__ a\\ \r\nb\\\n c"), Some("__DATE__ ab\\\n c".to_owned()));
        assert_eq!(of("__TI??/\nME__"), Some("__TIME__".to_owned()));
        assert_eq!(of("a;\n__DA\\\n\\ \nTE__\n"), Some("a;\n__DATE__\n".to_owned()));
        assert_eq!(of("asm(\".\\\nincbin\")"), Some("asm(\".incbin\")".to_owned()));
        for text in ["#define A \\\n  b\n", "a;\\\nb", "a\\\n", "a\\\n\nb", "a\nb", ""] {
            assert_eq!(of(text), None, "{text:?}");
        }
    }

    #[test]
    fn letters_that_are_numbers_are_written_out() {
        let of = |text: &[u8]| spelled_out(text).map(|text| String::from_utf8(text).unwrap());
        let dot: &[&[u8]] = &[
            b"\\x2eincbin",
            b"\\056incbin",
            b"\\56incbin",
            b"\\x{2e}incbin",
            b"\\o{56}incbin",
            b"\\u{002E}incbin",
            b"\\u002eincbin",
            b"\\U0000002Eincbin",
            b".\\x69ncbin",
            b".inc\\142in",
            b"\\x2e\\x69\\x6e\\x63\\x62\\x69\\x6e",
        ];
        for text in dot {
            assert_eq!(of(text).as_deref(), Some(".incbin"), "{}", text.escape_ascii());
        }
        // As long as it goes on, it is one number.
        for text in [&b"\\x2ebyte"[..], b"\\n", b"\\0", b"a.c", b"\\x41414141414141414e", b"\\"] {
            assert_eq!(of(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn pieces_of_names_are_known() {
        let first = |text: &str| is_first_piece(None, text.as_bytes(), b"__TIME__");
        assert!(first("__TI,ME__") && first("__TIME ## __") && first("__TIME_)"));
        assert!(!first("__TIME__") && !first("__TIMER)") && !first("__T)") && !first("__TIM;"));
        assert!(!is_first_piece(Some(b'a'), b"__TI)", b"__TIME__"));
        let pastes = |text: &str| pastes_underscores(Some(b' '), text.as_bytes());
        assert!(pastes("__##a##__\n") && pastes("__ ## a ## __)"));
        assert!(!pastes("__##a##_chk") && !pastes("__##a") && !pastes("__a##__") && !pastes("__"));
        let middle = |text: &str| is_middle(Some(b'('), text.as_bytes());
        assert!(middle("TIME)") && middle("DATE ,") && middle("TIMESTAMP)"));
        assert!(!middle("TIME;") && !middle("TIMER)") && !is_middle(Some(b'A'), b"TIME)"));
    }

    #[test]
    fn directives_in_pieces_are_known() {
        let starts = |text: &str| starts_with_directive(text.as_bytes(), b"incbin").is_some();
        for text in [
            "incbin",
            "INCBIN \"f\"",
            "inc\" \"bin",
            "\" \"incbin",
            "inc\"\n  \"bin \\\"f\"",
            "inc) S(bin)",
            "inc\\\\op",
            "inc bin",
        ] {
            assert!(starts(text), "{text}");
        }
        for text in ["inc", "inc\"", " incbin", "include", "in\\n", "h\"\n#include \"x"] {
            assert!(!starts(text), "{text}");
        }
    }

    #[test]
    fn comments_are_skipped() {
        assert_eq!(skip_comments(b" /* a */\t\\\n/**/x /* y */"), b"x /* y */");
        assert_eq!(skip_comments(b"/* open"), b"/* open");
    }
}
