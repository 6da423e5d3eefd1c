//! A dependency file without the place where it was written, for calls in other checkouts.
//!
//! Compilers break lines by the length of names, so that names of another length stand in other
//! lines. A template keeps the words of a file, those below the root relative, and is rendered as
//! the compiler would write it elsewhere. It is made only of a file that rendering gives back byte
//! for byte, so that a compiler with other rules is never imitated.
//!
//! ```text
//! template = 00 [word '\n'] '\n' [phony word '\n']
//! word     = as in the file; a relative path behind 00 for an absolute one below the root
//! ```
//!
//! The last word that ends in a colon is the last target.

use crate::compiler::Family;
use crate::place::{MARK, Place};

/// gcc breaks before a word that would reach beyond this column.
const GCC_COLUMNS_MAX: usize = 72;
/// clang does so, and leaves room for the next break.
const CLANG_COLUMNS_MAX: usize = 75;

/// Whether these are the bytes of a template; no compiler begins a file so.
pub fn is_template(bytes: &[u8]) -> bool {
    bytes.first() == Some(&MARK)
}

/// The template of a dependency file that was written at `place`. `None` where names would have to
/// be escaped, or where rendering does not give the file back.
pub fn make(text: &[u8], family: Family, place: &Place) -> Option<Vec<u8>> {
    if text.iter().any(|byte| matches!(*byte, MARK | b'$' | b'#' | b'\t' | b'\r')) {
        return None;
    }
    let mut template = vec![MARK];
    let (rule, phony) = split_rule(text)?;
    for line in rule {
        for word in line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()) {
            if word.contains(&b'\\') {
                return None;
            }
            put(&mut template, word, place);
        }
    }
    template.push(b'\n');
    for line in phony.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        put(&mut template, line.strip_suffix(b":")?, place);
    }
    (render(&template, family, place)? == text).then_some(template)
}

/// The lines of the rule without their continuations, and what follows.
fn split_rule(text: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let mut lines = Vec::new();
    let mut rest = text;
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        match line.strip_suffix(b" \\") {
            Some(line) => lines.push(line),
            None => {
                lines.push(line);
                return Some((lines, rest));
            }
        }
    }
}

fn put(template: &mut Vec<u8>, word: &[u8], place: &Place) {
    let (path, colon) = match word.strip_suffix(b":") {
        Some(path) => (path, &b":"[..]),
        None => (word, &b""[..]),
    };
    match place.relative(path) {
        Some(relative) => {
            template.push(MARK);
            template.extend_from_slice(&relative);
        }
        None => template.extend_from_slice(path),
    }
    template.extend_from_slice(colon);
    template.push(b'\n');
}

/// The file as the compiler would write it at `place`; `None` if this is no template.
pub fn render(template: &[u8], family: Family, place: &Place) -> Option<Vec<u8>> {
    let template = template.strip_prefix(&[MARK])?;
    let at = template.windows(2).position(|pair| pair == b"\n\n")?;
    let words = |text: &[u8]| -> Vec<Vec<u8>> {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| located(line, place)).collect()
    };
    let (rule, phony) = (words(&template[..at]), words(&template[at + 2..]));
    let targets = 1 + rule.iter().rposition(|word| word.ends_with(b":"))?;
    let mut text = Vec::new();
    let mut column = 0;
    for (index, word) in rule.iter().enumerate() {
        match family {
            Family::Gcc => gcc_word(&mut text, &mut column, word, index == targets - 1),
            Family::Clang => clang_word(&mut text, &mut column, word, index < targets),
        }
    }
    text.push(b'\n');
    for word in phony {
        if family == Family::Clang {
            text.push(b'\n');
        }
        text.extend_from_slice(&word);
        text.extend_from_slice(b":\n");
    }
    Some(text)
}

fn located(word: &[u8], place: &Place) -> Vec<u8> {
    let Some(relative) = word.strip_prefix(&[MARK]) else { return word.to_vec() };
    match relative.strip_suffix(b":") {
        Some(relative) => [&place.absolute(relative)[..], b":"].concat(),
        None => place.absolute(relative),
    }
}

/// The colon after the last target does not count when its line is broken.
fn gcc_word(text: &mut Vec<u8>, column: &mut usize, word: &[u8], is_last_target: bool) {
    let bytes = word.len() - usize::from(is_last_target);
    if *column > 0 {
        if *column + bytes > GCC_COLUMNS_MAX {
            text.extend_from_slice(b" \\\n");
            *column = 0;
        }
        text.push(b' ');
        *column += 1;
    }
    text.extend_from_slice(word);
    *column += word.len();
}

fn clang_word(text: &mut Vec<u8>, column: &mut usize, word: &[u8], is_target: bool) {
    if is_target {
        let bytes = word.len() - usize::from(word.ends_with(b":"));
        if *column == 0 {
            *column = bytes;
        } else if *column + bytes + 2 > CLANG_COLUMNS_MAX {
            text.extend_from_slice(b" \\\n  ");
            *column = bytes + 2;
        } else {
            text.push(b' ');
            *column += bytes + 1;
        }
        text.extend_from_slice(word);
        *column += word.len() - bytes;
        return;
    }
    if *column + word.len() + 3 > CLANG_COLUMNS_MAX {
        text.extend_from_slice(b" \\\n ");
        *column = 2;
    }
    text.push(b' ');
    text.extend_from_slice(word);
    *column += word.len() + 1;
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// Trees with names of every length, so that lines break everywhere.
    #[test]
    fn a_template_is_what_the_compiler_writes_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        for (compiler, family) in [("gcc", Family::Gcc), ("clang", Family::Clang)] {
            if Command::new(compiler).arg("--version").output().is_err() {
                println!("skipped: no {compiler}");
                continue;
            }
            let one = write(&top.join("one"), compiler);
            let place = |root: &Path| Place::of(&[root.into()], &root.join("build")).unwrap();
            let template = make(&one, family, &place(&top.join("one"))).unwrap();
            for length in (1..90).step_by(if compiler == "gcc" { 3 } else { 4 }) {
                let root = top.join("x".repeat(length));
                let rendered = render(&template, family, &place(&root)).unwrap();
                assert_eq!(
                    String::from_utf8(rendered).unwrap(),
                    String::from_utf8(write(&root, compiler)).unwrap(),
                    "{compiler} {length}"
                );
            }
        }
    }

    /// Compiles in `root/build` with absolute names; the dependency file.
    fn write(root: &Path, compiler: &str) -> Vec<u8> {
        fs::create_dir_all(root.join("build")).unwrap();
        let mut source = String::new();
        for number in 0..12 {
            let name = format!("h{}.h", "h".repeat(number * 3));
            fs::write(root.join(&name), "").unwrap();
            source += &format!("#include \"{name}\"\n");
        }
        fs::write(root.join("a.c"), source).unwrap();
        let mut command = Command::new(compiler);
        command.current_dir(root.join("build")).args(["-c", "-MD", "-MP", "-MF", "a.d", "-MT"]);
        command.arg(root.join("build/a.o")).args(["-MT", "second", "-o", "a.o"]);
        assert!(command.arg(root.join("a.c")).status().unwrap().success());
        fs::read(root.join("build/a.d")).unwrap()
    }

    #[test]
    fn what_rendering_would_not_give_back_has_no_template() {
        let place = Place::of(&["/w".into()], Path::new("/w/b")).unwrap();
        let made = |text: &str| make(text.as_bytes(), Family::Gcc, &place).is_some();
        assert!(made("a.o: /w/a.c\n"));
        for odd in ["a.o: /w/a\\ b.c\n", "a.o:  /w/a.c\n", "a.o: $$x\n", "a.o: /w/a.c", "", "a\n"] {
            assert!(!made(odd), "{odd:?}");
        }
        for bytes in [&b""[..], b"\0", b"\0\n\n", b"\0a\n\n", b"a.o:\n\n"] {
            let _ = render(bytes, Family::Clang, &place);
        }
    }
}
