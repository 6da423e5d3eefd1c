//! Files that a compile reads and that no list names: where one is possible, nothing is stored.
//!
//! 1. The assembler reads what `.include` and `.incbin` name, and a macro may put such a word
//!    together. So assembler text, preprocessed where it is to be, must not have the words, and
//!    no piece of one beside a parameter of a macro.
//! 2. clang obeys directives also in preprocessed text, so that such text may have line markers and
//!    harmless pragmas only.
//! 3. gcc shows source lines in its messages, and the assembler in its listings, from the files
//!    that line markers (or `.loc`) name, and these need not be inputs.
//! 4. clang shows lines of the sources of modules, of which it reads only the module files else.
//!
//! Nothing of this is asked on a hit: it depends on the contents of inputs only, which are the
//! same then, and on whether there were messages.

use std::fs;
use std::path::Path;

use memchr::memmem;

use super::{Job, Session, hidden_input, precompiled};
use crate::compiler::{Family, Language};
use crate::exec::{self, Capture, Stream};
use crate::manifest::Input;
use crate::outcome::{Counter, Reason};

/// The directives that read files, whole.
const READING: [&[u8]; 2] = [b".incbin", b".include"];

/// Words by which preprocessed text may ask for a file.
const ASKING: [&[u8]; 11] = [
    b"__has_embed",
    b"__has_include",
    b"__has_include_next",
    b"__include_macros",
    b"dependency",
    b"embed",
    b"import",
    b"include",
    b"include_next",
    b"module",
    b"pch_preprocess",
];

/// Checks the inputs of a compile that has just succeeded.
///
/// # Errors
/// `UnsupportedCodeDirective` if it may have read a file that is not among them.
pub(super) fn check(
    session: &Session<'_>,
    job: &Job,
    inputs: &[Input],
    has_messages: bool,
) -> Result<(), Reason> {
    let compile = &job.compile;
    match compile.language {
        Language::Assembler if assembly_may_read(&read(&compile.input)?) => {
            return Err(hidden_input(&compile.input));
        }
        Language::AssemblerWithCpp if assembly_may_read(&preprocessed(session, job)?) => {
            return Err(hidden_input(&compile.input));
        }
        language if language.is_preprocessed() && text_may_read(&read(&compile.input)?) => {
            return Err(hidden_input(&compile.input));
        }
        _ => {}
    }
    if has_messages && !compile.module_files.is_empty() {
        let text = "messages may show lines of the sources of modules";
        return Err(Reason::new(Counter::CouldNotUseModules, text));
    }
    let shows_lines = has_messages && compile.family == Family::Gcc;
    if shows_lines || compile.asks_for_listing() {
        // Of the headers in a precompiled one no list tells.
        if let Some(input) = inputs.iter().find(|input| precompiled::is_one(&input.path)) {
            return Err(hidden_input(&input.path));
        }
        for input in inputs {
            let text = read(&input.path)?;
            let lists = compile.asks_for_listing() && memmem::find(&text, b".loc").is_some();
            if lists || names_lines(&text) {
                return Err(hidden_input(&input.path));
            }
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Reason> {
    fs::read(path).map_err(|error| {
        let text = format!("cannot read {}: {error}", path.display());
        Reason::new(Counter::ModifiedInputFile, text)
    })
}

/// What the assembler was given.
fn preprocessed(session: &Session<'_>, job: &Job) -> Result<Vec<u8>, Reason> {
    let mut arguments = vec!["-E".into()];
    arguments.extend(job.compile.preprocess_arguments.iter().cloned());
    let capture = Capture { stdout: Stream::Collect, stderr: Stream::Discard };
    match exec::run(session.call.compiler, &arguments, &[], capture) {
        Ok(ran) if ran.status.success() => Ok(ran.stdout),
        _ => Err(Reason::new(Counter::PreprocessorError, "the source cannot be preprocessed")),
    }
}

/// Whether assembler text may read a file. The assembler ignores case in directives.
fn assembly_may_read(text: &[u8]) -> bool {
    let text = text.to_ascii_lowercase();
    // In MRI mode directives have no dot; with `.altmacro` parameters have no backslash.
    let words: [&[u8]; 4] = [b"incbin", b".include", b".altmacro", b".mri"];
    if words.iter().any(|word| memmem::find(&text, word).is_some()) {
        return true;
    }
    let has_macros =
        [&b".macro"[..], b".irp", b".rept"].iter().any(|word| memmem::find(&text, word).is_some());
    has_macros && (0..text.len()).any(|at| text[at] == b'\\' && may_join(&text, at))
}

/// Whether the backslash at `at` may begin a parameter that becomes a piece of a directive.
fn may_join(text: &[u8], at: usize) -> bool {
    let is_word = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_.$".contains(byte);
    let before = text[..at].iter().rev().take_while(is_word).count();
    let before = &text[at - before..at];
    let is_parameter = before.len() < at && text[at - before.len() - 1] == b'\\';
    let after = match &text[at + 1..] {
        [b'(', b')', rest @ ..] => rest,
        [b'@', ..] => return false,
        rest => {
            // The name goes as far as it can, so that what stands beside it is no letter.
            let is_two = is_parameter && !before.is_empty();
            return is_two || (!rest.is_empty() && is_piece(before));
        }
    };
    let after = &after[..after.iter().take_while(is_word).count()];
    let is_next = text[at + 3..].starts_with(b"\\");
    is_piece(after) || is_piece(before) && !is_parameter || is_parameter && is_next
}

/// Whether a directive that reads has this piece.
fn is_piece(text: &[u8]) -> bool {
    !text.is_empty() && READING.iter().any(|word| memmem::find(word, text).is_some())
}

/// Whether preprocessed text may read a file.
fn text_may_read(text: &[u8]) -> bool {
    // A line that is continued may go on with any part of a word; `??/` is a backslash.
    let is_continued =
        |line: &[u8]| [&b"\\"[..], b"??/"].iter().any(|end| line.trim_ascii_end().ends_with(end));
    text.split(|byte| *byte == b'\n').any(|line| {
        is_continued(line) || (!is_marker(line) && words(line).any(|word| ASKING.contains(&word)))
    })
}

/// The words of a line.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_'))
}

/// Whether a text says that its lines are those of a file.
fn names_lines(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(is_marker)
}

/// Whether a line is a line marker or `#line`.
fn is_marker(line: &[u8]) -> bool {
    let line = line.trim_ascii_start();
    let starts: [&[u8]; 3] = [b"#", b"%:", b"??="];
    let Some(rest) = starts.iter().find_map(|start| line.strip_prefix(*start)) else {
        return false;
    };
    let rest = rest.trim_ascii_start();
    rest.first().is_some_and(u8::is_ascii_digit) || words(rest).next() == Some(b"line")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assembler_text_that_may_read_a_file_is_in_doubt() {
        for text in [
            ".incbin \"f\"",
            ".INCBIN \"f\"",
            " .include \"f\"",
            ".macro m op\n\\op \"f\"\n.endm\nm .incbin",
            ".macro m a b\n\\a\\b \"f\"\n.endm\nm .inc bin",
            ".macro m a b\n\\a\\()\\b \"f\"\n.endm\nm .inc bin",
            ".macro m a\n.inc\\a \"f\"\n.endm\nm bin",
            ".macro m a\n\\a\\()bin \"f\"\n.endm\nm .inc",
            ".irp x,clude\n.in\\x \"f\"\n.endr",
            ".altmacro\n",
            ".mri 1\n",
        ] {
            assert!(assembly_may_read(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn usual_assembler_text_is_not_in_doubt() {
        for text in [
            ".text\nf: ret\n.asciz \"include\\n\\n\"",
            "# 1 \"/usr/include/stdio.h\"",
            ".macro push reg\npush\\reg %rax\n1: jmp .Lend\\@\nmov \\reg, %rax\n.endm",
            ".rept 3\nnop\n.endr",
        ] {
            assert!(!assembly_may_read(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn preprocessed_text_with_a_directive_is_in_doubt() {
        for text in [
            "#include \"f\"",
            "/**/ # include \"f\"",
            "%:include \"f\"",
            "#inc\\\nlude \"f\"",
            "#inc??/\nlude \"f\"",
            "#if __has_include(\"f\")",
            "#pragma GCC pch_preprocess \"f\"",
            "#pragma clang module import f",
            "import f;",
        ] {
            assert!(text_may_read(text.as_bytes()), "{text}");
        }
        let plain = "# 1 \"include/import.h\"\n#line 2 \"embed\"\n#pragma pack(1)\nint included;\n";
        assert!(!text_may_read(plain.as_bytes()));
    }

    #[test]
    fn line_markers_are_found() {
        for text in ["#line 3 \"f\"", "\n # 3 \"f\"", "??=line 3", "%: line 3"] {
            assert!(names_lines(text.as_bytes()), "{text}");
        }
        assert!(!names_lines(b"#lines\n#include <line>\nint line;\n"));
    }
}
