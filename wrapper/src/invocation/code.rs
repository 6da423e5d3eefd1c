//! The code of an input: what is left without directives, comments and blanks that say nothing.
//!
//! Compilers judge an expression by where it comes from: `x | 1` is warned about, and `x | N` with
//! `#define N 1` is not. Both have the same preprocessed text. So beside that text the code of
//! every input counts. A macro that is not used, and a comment, are not in it.
//!
//! 1. A directive, comments in it included, goes with its continued lines.
//! 2. Blanks are one blank, except at the start of a line, where tabs count for indentation.
//! 3. A literal ends at the end of its line at the latest, so that an apostrophe between digits or
//!    a quote in skipped text confuses one line at most. Raw strings are taken for plain ones.

/// The code of `text`, without empty lines.
pub(super) fn of(text: &[u8]) -> Vec<u8> {
    let mut code = Vec::with_capacity(text.len());
    let (mut in_comment, mut in_directive, mut in_line_comment) = (false, false, false);
    for line in text.split(|byte| *byte == b'\n') {
        let start = code.len();
        let is_continued = line.trim_ascii_end().ends_with(b"\\");
        if !in_line_comment {
            in_directive |= !in_comment && line.trim_ascii_start().starts_with(b"#");
            (in_comment, in_line_comment) = strip(line, in_comment, &mut code);
        }
        let end = start + code[start..].trim_ascii_end().len();
        code.truncate(if in_directive { start } else { end });
        if code.len() > start {
            code.push(b'\n');
        }
        in_line_comment &= is_continued;
        in_directive &= is_continued || in_comment;
    }
    code
}

/// Appends a line without its comments; whether a block comment goes on, and whether the line ends
/// in a line comment.
fn strip(line: &[u8], mut in_comment: bool, code: &mut Vec<u8>) -> (bool, bool) {
    let mut rest = line;
    let mut quote = None;
    let mut is_start = true;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (quote, byte) {
            _ if in_comment => {
                if *byte == b'*' && rest.starts_with(b"/") {
                    rest = &rest[1..];
                    in_comment = false;
                }
                continue;
            }
            (Some(open), _) => {
                code.push(*byte);
                if let (b'\\', [escaped, next @ ..]) = (*byte, rest) {
                    code.push(*escaped);
                    rest = next;
                }
                quote = (*byte != open).then_some(open);
            }
            (None, b'/') if rest.starts_with(b"/") => return (false, true),
            (None, b'/') if rest.starts_with(b"*") => {
                rest = &rest[1..];
                in_comment = true;
                push_blank(code);
            }
            (None, b' ' | b'\t' | b'\r') if !is_start => push_blank(code),
            (None, b'"' | b'\'') => {
                let separates = *byte == b'\'' && code.last().is_some_and(u8::is_ascii_hexdigit);
                quote = (!separates).then_some(*byte);
                code.push(*byte);
            }
            _ => code.push(*byte),
        }
        is_start &= byte.is_ascii_whitespace();
    }
    (in_comment, false)
}

fn push_blank(code: &mut Vec<u8>) {
    if code.last().is_some_and(|last| !last.is_ascii_whitespace()) {
        code.push(b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        String::from_utf8(of(text.as_bytes())).unwrap()
    }

    #[test]
    fn comments_directives_and_empty_lines_are_no_code() {
        let text =
            "// a\n#define N 1 /* b\n c */\n#if X \\\n Y\n\nint  a;/* d */ int b;// e\\\nf\n\tg\n";
        assert_eq!(code(text), "int a; int b;\n\tg\n");
    }

    #[test]
    fn literals_are_code() {
        for text in ["a = \"/* // \\\" */\";\n", "b = '\"'; c = '\\'';\n", "d = 1'000; e = '/';\n"]
        {
            assert_eq!(code(text), text);
        }
    }

    #[test]
    fn a_macro_is_not_its_value() {
        let of_value = |value: &str| code(&format!("#define N 1\nint f = x | {value};\n"));
        assert_ne!(of_value("N"), of_value("1"));
        assert_eq!(code("a = N;\n// one\n"), code("a = N;\n\n#define M 2\n"));
    }
}
