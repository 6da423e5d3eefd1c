//! A Rust file as the checks see it: its text, its code and its comments, byte for byte in place.
//!
//! The lexer knows what must not be taken for code: line comments, nested block comments, strings
//! with escapes, raw strings, byte and C strings, characters (and that a lifetime is none).

/// One Rust file.
pub struct Source {
    /// The path from the root of the workspace.
    pub name: String,
    /// The file as it is.
    pub text: String,
    /// The text with comments and literals blanked.
    pub code: String,
    /// The text with everything but comments blanked.
    pub comments: String,
    /// The code without what exists only under `cfg(test)`.
    pub live: String,
}

/// What a byte belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

impl Source {
    /// Lexes a file.
    pub fn new(name: &str, text: &str) -> Source {
        let kinds = kinds(text.as_bytes());
        let code = keep(text, &kinds, Kind::Code);
        let comments = keep(text, &kinds, Kind::Comment);
        let is_test_file = name.ends_with("/tests.rs") || code.contains("#![cfg(test)]");
        let live = if is_test_file { blank(&code) } else { without_tests(&code) };
        Source { name: name.to_owned(), text: text.to_owned(), code, comments, live }
    }

    /// `name:line` of a byte offset.
    pub fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.name, self.line(offset))
    }

    /// The number of the line that a byte offset is in, from 1.
    pub fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count()
    }
}

/// An identifier, `::`, or any other single character that is no space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// Its text.
    pub text: &'a str,
    /// Its byte offset.
    pub offset: usize,
}

impl Token<'_> {
    /// Whether it is an identifier, a keyword or a number.
    pub fn is_word(&self) -> bool {
        self.text.chars().next().is_some_and(is_word_char)
    }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The tokens of blanked code.
pub fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut offset = 0;
    while let Some(first) = code[offset..].chars().next() {
        let rest = &code[offset..];
        let bytes = if is_word_char(first) {
            rest.find(|c| !is_word_char(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            tokens.push(Token { text: &rest[..bytes], offset });
        }
        offset += bytes;
    }
    tokens
}

/// The kind of each byte.
fn kinds(text: &[u8]) -> Vec<Kind> {
    let mut kinds = Vec::with_capacity(text.len());
    while kinds.len() < text.len() {
        let at = kinds.len();
        let (bytes, kind) = match text[at] {
            b'/' if text[at..].starts_with(b"//") => (line_comment(&text[at..]), Kind::Comment),
            b'/' if text[at..].starts_with(b"/*") => (block_comment(&text[at..]), Kind::Comment),
            b'"' => (quoted(&text[at..], b'"'), Kind::Literal),
            b'r' if begins_literal(text, at) => match raw_string(&text[at..]) {
                Some(bytes) => (bytes, Kind::Literal),
                None => (1, Kind::Code),
            },
            b'\'' if is_character(&text[at..]) => (quoted(&text[at..], b'\''), Kind::Literal),
            _ => (1, Kind::Code),
        };
        kinds.resize((at + bytes).min(text.len()), kind);
    }
    kinds
}

fn line_comment(rest: &[u8]) -> usize {
    rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of a literal between two quotes, escapes skipped.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Whether the `r` at this place can begin a raw string: it ends no identifier, except that `b` and
/// `c` may stand before it.
fn begins_literal(text: &[u8], at: usize) -> bool {
    let is_word = |at: usize| is_word_char(char::from(text[at])) || !text[at].is_ascii();
    let before = if at > 0 && matches!(text[at - 1], b'b' | b'c') { at - 1 } else { at };
    before == 0 || !is_word(before - 1)
}

/// The length of a raw string; nothing if this is a raw identifier or a word.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let body = 2 + hashes;
    let found = rest[body..].windows(end.len()).position(|window| window == end);
    Some(found.map_or(rest.len(), |at| body + at + end.len()))
}

/// Whether the quote begins a character and not a lifetime or label.
fn is_character(rest: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&rest[1..rest.len().min(6)]);
    let mut chars = text.chars();
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

/// The text with every byte of another kind made a space; line ends stay.
fn keep(text: &str, kinds: &[Kind], kept: Kind) -> String {
    let pair = text.bytes().zip(kinds);
    let bytes = pair.map(|(byte, kind)| if *kind == kept || byte == b'\n' { byte } else { b' ' });
    String::from_utf8(bytes.collect()).expect("a character is of one kind")
}

/// The same number of bytes and lines, all empty.
fn blank(code: &str) -> String {
    code.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// The code with each item under `#[cfg(test)]` blanked.
fn without_tests(code: &str) -> String {
    let mut live = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = next_test_attribute(rest) {
        let bytes = item_bytes(&rest[start..]);
        live.push_str(&rest[..start]);
        live.push_str(&blank(&rest[start..start + bytes]));
        rest = &rest[start + bytes..];
    }
    live + rest
}

fn next_test_attribute(code: &str) -> Option<usize> {
    ["#[cfg(test)]", "#[cfg(all(test"].iter().filter_map(|attribute| code.find(attribute)).min()
}

/// The length of the attributed item that the code begins with. An item that begins with a keyword
/// ends with its block or semicolon; a field, variant or arm also with its comma.
fn item_bytes(code: &str) -> usize {
    const ITEMS: &[&str] = &[
        "pub",
        "mod",
        "fn",
        "impl",
        "use",
        "struct",
        "enum",
        "const",
        "static",
        "type",
        "trait",
        "unsafe",
        "extern",
        "async",
        "macro_rules",
        "let",
    ];
    let tokens = tokens(code);
    let mut depth = 0;
    let mut index = 0;
    while tokens.get(index).is_some_and(|token| token.text == "#") {
        index = after_group(&tokens, index + 1);
    }
    let is_item = tokens.get(index).is_some_and(|token| ITEMS.contains(&token.text));
    let head = tokens[index..].iter().take_while(|token| !["{", ";"].contains(&token.text));
    let is_use = head.into_iter().any(|token| token.text == "use");
    for token in &tokens[index.min(tokens.len())..] {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth <= 0 && !is_use {
                    // A closing brace of the block around a last field is not ours.
                    return token.offset + usize::from(depth == 0);
                }
            }
            ";" if depth == 0 => return token.offset + 1,
            "," if depth == 0 && !is_item => return token.offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// The index behind the bracketed group that begins at `start`.
pub fn after_group(tokens: &[Token<'_>], start: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(start) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth -= 1;
                if depth == 0 {
                    return index + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

#[test]
fn literals_and_comments_are_no_code() {
    let text = r####"
let a = "no \" no"; // no
let b = r#"no " no"#; let c = br##"no "# no"##; let d = b"no"; let e = c"no";
/* no /* no */ no */ let f = 'n'; let g = '\''; let h = '"'; let i = b'\\';
fn yes<'yes>(r#yes: &'yes str) -> &'yes str { /* */ r#yes }
let ä = 'ä'; let bar = "no"; let car = r"no\"; 'yes: loop { break 'yes; }
"####;
    let source = Source::new("a.rs", text);
    assert_eq!(source.code.len(), text.len());
    assert_eq!(source.code.lines().count(), text.lines().count());
    assert!(!source.code.contains("no"), "{}", source.code);
    assert_eq!(source.code.matches("yes").count(), 8, "{}", source.code);
    assert_eq!(source.comments.matches("no").count(), 4, "{}", source.comments);
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "ä", "bar", "car"] {
        assert!(source.code.contains(&format!("let {name} =")), "{name}: {}", source.code);
    }
}

#[test]
fn tests_are_not_live() {
    let text = "
#[cfg(test)]
use no::{no, no};
fn yes() {}
#[cfg(test)]
#[derive(Debug)]
struct No<A, B> { no: [u8; 3] }
struct Yes { #[cfg(test)] no: u8, yes: u8 }
#[cfg(all(test, unix))]
pub(crate) fn no(no: (u8, u8)) -> u8 { if no { no } else { no } }
struct Again { yes: u8, #[cfg(test)] no: u8 }
#[cfg(test)]
mod no { fn no() {} }
fn yes() {}";
    let source = Source::new("a.rs", text);
    assert!(!source.live.to_lowercase().contains("no"), "{}", source.live);
    assert_eq!(source.live.to_lowercase().matches("yes").count(), 5, "{}", source.live);
    assert!(source.live.contains("struct Again { yes: u8, ") && source.live.contains("}\n"));
    assert_eq!(Source::new("engine/src/log/tests.rs", "fn no() {}").live.trim(), "");
}
