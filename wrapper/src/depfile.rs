//! What a compiler says it has read: make dependency files, and the trace of `-H`.
//!
//! A dependency file is read like this:
//! 1. The first rule is the first logical line; a backslash at the end of a line continues it. The
//!    rules after it (of `-MP`) name nothing new.
//! 2. The targets end with the first word that ends with a colon. A colon within a word is part of
//!    a name.
//! 3. Before a blank, 2n + 1 backslashes are n backslashes and a blank within the name; 2n are n
//!    backslashes at its end. Before `#` one backslash is dropped. `$$` is `$`. Every other
//!    backslash is itself.
//!
//! Some names cannot be written so: gcc ends one with a plain backslash, clang turns backslashes
//! into slashes and leaves a tab as it is. What is read then is a name of no file, and the caller,
//! who looks at every file, stores nothing.

pub mod template;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::compiler::Family;

/// The line before gcc's list of headers without guards, in English.
const GUARDS_TITLE: &[u8] = b"Multiple include guards may be useful for:";

/// The prerequisites of the first rule, in order; empty where there is no rule.
pub fn parse(text: &[u8]) -> Vec<PathBuf> {
    let words = words_of_first_line(text);
    let targets = words.iter().position(|word| word.ends_with(b":"));
    let prerequisites = targets.map_or(&[][..], |last| &words[last + 1..]);
    prerequisites.iter().map(|word| OsStr::from_bytes(word).into()).collect()
}

/// The unescaped words of the first logical line that has any.
fn words_of_first_line(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word = Vec::new();
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'\\' => rest = take_backslashes(&mut word, rest),
            b'$' if rest.starts_with(b"$") => {
                word.push(b'$');
                rest = &rest[1..];
            }
            b' ' | b'\t' | b'\r' | b'\n' => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if *byte == b'\n' && !words.is_empty() {
                    return words;
                }
            }
            _ => word.push(*byte),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Takes a run of backslashes, the first of which has been read, and what it escapes.
fn take_backslashes<'a>(word: &mut Vec<u8>, rest: &'a [u8]) -> &'a [u8] {
    let more = rest.iter().take_while(|&&byte| byte == b'\\').count();
    let count = more + 1;
    let (kept, escapes) = match rest.get(more) {
        Some(b' ' | b'\t') => (count / 2, count % 2 == 1),
        Some(b'#') => (count - 1, true),
        Some(b'\n') => (count - 1, false),
        _ => (count, false),
    };
    word.extend(std::iter::repeat_n(b'\\', kept));
    let after = &rest[more..];
    match after {
        // The line goes on below; both compilers put blanks around the break.
        [b'\n', next @ ..] => next,
        [escaped, next @ ..] if escapes => {
            word.push(*escaped);
            next
        }
        _ => after,
    }
}

/// What `-H` added to stderr, taken out of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IncludeTrace {
    /// The files that were included, each once, in the order of their first inclusion; precompiled
    /// headers that were tried are among them.
    pub files: Vec<PathBuf>,
    /// stderr as it would have been without `-H`.
    pub rest: Vec<u8>,
}

/// Takes the lines of `-H` out of stderr; `None` where a line may be either a line of the trace or
/// something that the compiler has to say, so that the caller must find the files in another way.
///
/// 1. A line of the trace is dots, a blank and a path; in gcc's, also dots or none, `!` or `x`, a
///    blank and the path of a precompiled header. Its depth is at most
///    one more than that of the last.
/// 2. After a precompiled header was read, gcc may name the source that it goes on with, behind one
///    blank.
/// 3. clang shows source lines as they stand, and such a line may look like one of the trace: a
///    candidate right below a message is in doubt.
/// 4. clang ends the colour of a message at the start of the next line, whichever that is: escape
///    sequences before a line of the trace stay.
/// 5. At the end gcc lists headers without guards: a title in the user's language, then paths.
pub fn parse_include_trace(family: Family, stderr: &[u8]) -> Option<IncludeTrace> {
    let mut trace = Trace::default();
    let mut previous: &[u8] = b"";
    let lines: Vec<&[u8]> = stderr.split_inclusive(|&byte| byte == b'\n').collect();
    for line in &lines {
        let (color, text) = split_color(line);
        match traced_path(family, text) {
            Some((depth, path)) => {
                trace.rest.push(color);
                let may_be_source = family == Family::Clang && is_message(previous);
                if depth > trace.depth + 1 || may_be_source {
                    return None;
                }
                trace.depth = depth;
                trace.add(path);
            }
            None if family == Family::Gcc && goes_on(previous, line) => {}
            None => trace.rest.push(line),
        }
        previous = line;
    }
    if family == Family::Gcc {
        trace.drop_guards_list()?;
    }
    Some(IncludeTrace {
        files: trace.files.into_iter().map(|path| OsStr::from_bytes(path).into()).collect(),
        rest: trace.rest.concat(),
    })
}

#[derive(Default)]
struct Trace<'a> {
    depth: usize,
    files: Vec<&'a [u8]>,
    seen: HashSet<&'a [u8]>,
    rest: Vec<&'a [u8]>,
}

impl<'a> Trace<'a> {
    fn add(&mut self, path: &'a [u8]) {
        if self.seen.insert(path) {
            self.files.push(path);
        }
    }

    /// Drops the title and the paths below it. Some of these paths are not in the trace, because
    /// `-include` forced them in; they have to be single words then, so that a message of the
    /// assembler, which may follow, is not taken for one.
    fn drop_guards_list(&mut self) -> Option<()> {
        let title = self.rest.iter().rposition(|line| content(line) == GUARDS_TITLE);
        let Some(title) = title.or_else(|| self.translated_title()) else {
            // Traced paths that stand alone are such a list, but its title is not to be found.
            let listed = self.rest.iter().any(|line| self.seen.contains(content(line)));
            return (!listed).then_some(());
        };
        let is_listed = |line: &&&[u8]| {
            let path = content(line);
            let is_word = !path.iter().any(|byte| b" \t:".contains(byte));
            self.seen.contains(path) || (is_word && !path.is_empty())
        };
        let count = self.rest[title + 1..].iter().take_while(is_listed).count();
        let end = title + 1 + count;
        let has_more = self.rest[end..].iter().any(|line| content(line).starts_with(b"/"));
        if count == 0 || has_more {
            return None;
        }
        let listed: Vec<&[u8]> = self.rest.drain(title..end).skip(1).map(content).collect();
        listed.into_iter().for_each(|path| self.add(path));
        Some(())
    }

    /// The title in another language: the line, ended by a colon, above the first traced path that
    /// stands alone.
    fn translated_title(&self) -> Option<usize> {
        let first = self.rest.iter().position(|line| self.seen.contains(content(line)))?;
        let title = first.checked_sub(1)?;
        let text = content(self.rest[title]);
        (text.ends_with(b":") || text.ends_with("：".as_bytes())).then_some(title)
    }
}

/// The escape sequences that set colours at the start of a line, and the line without them.
fn split_color(line: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = line;
    while let Some(sequence) = rest.strip_prefix(b"\x1b[") {
        let length = sequence.iter().take_while(|byte| b"0123456789;".contains(byte)).count();
        let Some(after) = sequence[length..].strip_prefix(b"m") else { break };
        rest = after;
    }
    line.split_at(line.len() - rest.len())
}

/// The depth and path of a line of the trace.
fn traced_path(family: Family, line: &[u8]) -> Option<(usize, &[u8])> {
    let line = content(line);
    let depth = line.iter().take_while(|&&byte| byte == b'.').count();
    match &line[depth..] {
        [b' ', path @ ..] if depth > 0 && !path.is_empty() => Some((depth, path)),
        [b'!' | b'x', b' ', path @ ..] if family == Family::Gcc && is_precompiled(path) => {
            Some((depth, path))
        }
        _ => None,
    }
}

/// Whether this line of gcc's trace names the source after a precompiled header was read.
fn goes_on(previous: &[u8], line: &[u8]) -> bool {
    let mark = previous.iter().position(|&byte| byte != b'.').unwrap_or(0);
    previous[mark..].starts_with(b"! ")
        && traced_path(Family::Gcc, previous).is_some()
        && matches!(content(line), [b' ', first, ..] if *first != b' ')
}

/// Whether this is `name.gch`, or a file in a directory of that name.
fn is_precompiled(path: &[u8]) -> bool {
    path.ends_with(b".gch") || path.windows(5).any(|part| part == b".gch/")
}

/// Whether a line is the head of a message, below which clang shows the source.
fn is_message(line: &[u8]) -> bool {
    let marks: [&[u8]; 4] = [b"warning: ", b"error: ", b"note: ", b"remark: "];
    marks.iter().any(|mark| line.windows(mark.len()).any(|part| part == *mark))
}

/// A line without its end.
fn content(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Output};

    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse(text.as_bytes()).iter().map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    fn run(compiler: &str, arguments: &[&str], directory: &Path) -> Option<Output> {
        let output = Command::new(compiler).args(arguments).current_dir(directory).output().ok();
        if output.is_none() {
            println!("skipped: no {compiler}");
        }
        output
    }

    #[test]
    fn prerequisites_of_the_first_rule_are_read_across_lines() {
        assert_eq!(names("a.o b.o: t.c \\\n  u.h v.h\nu.h:\nv.h:\n"), ["t.c", "u.h", "v.h"]);
        assert_eq!(names("a\\ b.o: t.c\r\n\nu.h:\n"), ["t.c"]);
        assert_eq!(names("\n\nt.o: t.c"), ["t.c"]);
    }

    #[test]
    fn text_without_a_rule_names_nothing() {
        for text in ["", "\n", "t.c u.h\n", "t.o:", "t.o:\n\nt.c"] {
            assert_eq!(names(text), [""; 0], "{text:?}");
        }
    }

    #[test]
    fn escapes_are_undone() {
        let text = r"t.o: a\ b c\#d e$$f g:h i\j k\\\ l w\\#z m\\ n $x";
        let expected = ["a b", "c#d", "e$f", "g:h", r"i\j", r"k\ l", r"w\#z", r"m\", "n", "$x"];
        assert_eq!(names(text), expected);
    }

    /// Names that only gcc writes so that they can be read back.
    const ODD_FOR_GCC: [&str; 4] = [r"i\j.h", r"k\ l.h", r"w\#z.h", "tab\tx.h"];
    const ODD: [&str; 10] =
        ["a b.h", "c#d.h", "e$f.h", "g:h.h", "m'n.h", "o%p.h", "q*r.h", "t=u.h", "~é.h", "v;|w.h"];

    #[test]
    fn odd_names_are_read_as_the_compilers_write_them() {
        for (compiler, also) in [("gcc", &ODD_FOR_GCC[..]), ("clang", &[])] {
            let directory = tempfile::tempdir().unwrap();
            let odd: Vec<&str> = ODD.iter().chain(also).copied().collect();
            let mut source = String::new();
            for name in &odd {
                fs::write(directory.path().join(name), "#define X\n").unwrap();
                source += &format!("#include \"{name}\"\n");
            }
            fs::write(directory.path().join("in put.c"), source).unwrap();
            let arguments =
                ["-w", "-c", "-MMD", "-MP", "in put.c", "-o", "out put.o", "-MF", "deps"];
            let Some(output) = run(compiler, &arguments, directory.path()) else { continue };
            assert!(output.status.success(), "{output:?}");
            let read = names(&fs::read_to_string(directory.path().join("deps")).unwrap());
            assert_eq!(read[0], "in put.c");
            assert_eq!(read[1..], odd, "{compiler}");
        }
    }

    const NOISY: [(&str, &str); 5] = [
        (
            "t.cc",
            "#include <map>\n#include \"sub dir/m.h\"\n#include <iostream>\n\
             int f(int x) { int y; if (x = 1) return 0; std::map<int, int> m; }\n",
        ),
        (
            "t.c",
            "#include <stdio.h>\n#include \"sub dir/m.h\"\n#warning . fake.h\n\
             int f(int x) { int y; if (x = 1) return 0; return \"s\"; }\n\
             #include \"last.h\"\n#include \"sub dir/m.h\"\n",
        ),
        ("sub dir/m.h", "#include \"n.h\"\n#warning in a header\n"),
        ("sub dir/n.h", "#ifndef N\n#define N\n#endif\n"),
        ("last.h", "static int unused;\n"),
    ];

    #[test]
    fn a_stripped_trace_leaves_what_the_compiler_says_without_it() {
        for (compiler, family) in [("gcc", Family::Gcc), ("clang", Family::Clang)] {
            for color in ["-Wall", "-fdiagnostics-color=always"] {
                let directory = tempfile::tempdir().unwrap();
                fs::create_dir(directory.path().join("sub dir")).unwrap();
                for (name, text) in NOISY {
                    fs::write(directory.path().join(name), text).unwrap();
                }
                for source in ["t.c", "t.cc"] {
                    check_stripping(compiler, family, &[color, source], directory.path());
                }
            }
        }
    }

    fn check_stripping(compiler: &str, family: Family, special: &[&str], directory: &Path) {
        let plain = [&["-Wall", "-Wextra", "-c", "-MD", "-MF", "deps"], special].concat();
        let Some(without) = run(compiler, &plain, directory) else { return };
        let with = run(compiler, &[&plain[..], &["-H"]].concat(), directory).unwrap();
        assert_ne!(with.stderr, without.stderr);
        let trace = parse_include_trace(family, &with.stderr).unwrap();
        let text = String::from_utf8_lossy;
        assert_eq!(text(&trace.rest), text(&without.stderr));
        let traced = canonical(&trace.files, directory);
        let read = parse(&fs::read(directory.join("deps")).unwrap());
        let mut read = canonical(&read[1..], directory);
        // gcc reads this one unasked and does not trace it.
        read.retain(|path| family == Family::Clang || !path.ends_with("stdc-predef.h"));
        assert_eq!(traced, read, "{compiler}");
    }

    fn canonical(paths: &[PathBuf], directory: &Path) -> Vec<PathBuf> {
        let real = |path: &PathBuf| directory.join(path).canonicalize().unwrap();
        let mut paths: Vec<PathBuf> = paths.iter().map(real).collect();
        paths.sort();
        paths
    }

    #[test]
    fn a_source_line_that_looks_like_a_trace_is_in_doubt() {
        let stderr = b". a.h\nt.c:1:1: warning: something\n. b.h\n^\n";
        assert_eq!(parse_include_trace(Family::Clang, stderr), None);
        let too_deep = b". a.h\n... b.h\n";
        assert_eq!(parse_include_trace(Family::Gcc, too_deep), None);
    }

    #[test]
    fn tried_precompiled_headers_are_files_that_were_read() {
        let trace = parse_include_trace(Family::Gcc, b"x a.h.gch\n. a.h\n.! b.h.gch\nx y\n");
        let trace = trace.unwrap();
        assert_eq!(trace.files, ["a.h.gch", "a.h", "b.h.gch"].map(PathBuf::from));
        assert_eq!(trace.rest, b"x y\n");
        let went_on = parse_include_trace(Family::Gcc, b"! a.h.gch\n t.c\n. b.h\n t.c\n");
        assert_eq!(went_on.unwrap().rest, b" t.c\n");
    }

    #[test]
    fn the_list_of_unguarded_headers_goes_in_any_language() {
        let english = b". a.h\nMultiple include guards may be useful for:\n./pre.h\na.h\nas: x\n";
        let trace = parse_include_trace(Family::Gcc, english).unwrap();
        assert_eq!(trace.rest, b"as: x\n");
        assert_eq!(trace.files, ["a.h", "./pre.h"].map(PathBuf::from));
        let german = ". a.h\nw: y\nWächter fehlen vielleicht in:\na.h\n".as_bytes();
        assert_eq!(parse_include_trace(Family::Gcc, german).unwrap().rest, b"w: y\n");
        assert_eq!(parse_include_trace(Family::Gcc, b". a.h\nno title\na.h\n"), None);
    }
}
