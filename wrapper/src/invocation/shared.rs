//! Whether a result may be handed out in another checkout: whether nothing in it shows where it was
//! made.
//!
//! Looking for the path in the outputs is not enough: `sizeof __FILE__` shows its length, and what
//! is compressed shows nothing to a search. So a result is shared only if each way that a path is
//! known to take into an output is closed:
//!
//! 1. The language is C or C++, every option is one of [`NEUTRAL`] or [`NEUTRAL_STARTS`], and the
//!    only output beside the dependency file is the object. What is not known to be neutral
//!    (sanitizers, coverage, link-time optimisation, ...) is taken to show the path.
//! 2. Debug information: the user's prefix maps replace the working directory, and `PWD` gives it
//!    no other name.
//! 3. Names of files: where a source, header or search directory was named absolutely, the
//!    preprocessed text shows no path (`__FILE__` is expanded there) and does not ask for names in
//!    ways that the preprocessor leaves to the compiler; and there are no messages. clang puts
//!    the file of a type without a name into the names of functions.
//! 4. No input, no literal word and no variable that names directories shows the path: through
//!    them a call elsewhere would read the files of this checkout, not those of its own.
//! 5. The dependency file has a [template](crate::depfile::template).
//! 6. And then the path is looked for in the outputs all the same.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use larder_engine::{Section, SectionKind};
use memchr::memmem;

use super::{Job, Session, other_name_of};
use crate::compiler::{Compile, Family, Language};
use crate::depfile::template;
use crate::exec::{Capture, Stream};
use crate::fingerprint::SEARCHED_VARIABLES;
use crate::manifest::Input;
use crate::place::{Place, prefix_map};

/// Options that let no path into an object, as they stand.
const NEUTRAL: &[&str] = &[
    "-ansi",
    "-c",
    "-faligned-new",
    "-fasynchronous-unwind-tables",
    "-fbuiltin",
    "-fchar8_t",
    "-fcommon",
    "-fconcepts",
    "-fcoroutines",
    "-fdata-sections",
    "-fexceptions",
    "-ffast-math",
    "-ffile-compilation-dir=.",
    "-ffreestanding",
    "-ffunction-sections",
    "-fhosted",
    "-fmerge-all-constants",
    "-fms-extensions",
    "-fomit-frame-pointer",
    "-fpermissive",
    "-fpic",
    "-fpie",
    "-frtti",
    "-fshort-enums",
    "-fsigned-char",
    "-fsized-deallocation",
    "-fstack-clash-protection",
    "-fstrict-aliasing",
    "-ftree-vectorize",
    "-funroll-loops",
    "-funsigned-char",
    "-funwind-tables",
    "-fwrapv",
    "-fPIC",
    "-fPIE",
    "-g",
    "-g0",
    "-g1",
    "-g2",
    "-g3",
    "-nostdinc",
    "-nostdinc++",
    "-pedantic",
    "-pedantic-errors",
    "-pipe",
    "-pthread",
    "-static",
    "-undef",
    "-w",
    "-x",
];

/// Starts of such options. What `-W` and `-D` say stands in the key word for word.
const NEUTRAL_STARTS: &[&str] = &[
    "--std=",
    "-D",
    "-I",
    "-L",
    "-M",
    "-O",
    "-U",
    "-W",
    "-fcf-protection",
    "-fcolor-diagnostics",
    "-fconstexpr-",
    "-fdebug-prefix-map=",
    "-fdiagnostics-color",
    "-fdiagnostics-show-",
    "-ffile-prefix-map=",
    "-ffp-contract=",
    "-fmacro-prefix-map=",
    "-fmessage-length=",
    "-fno-",
    "-fstack-protector",
    "-ftemplate-",
    "-fvisibility",
    "-gdwarf",
    "-ggdb",
    "-idirafter",
    "-imacros",
    "-include",
    "-iquote",
    "-isystem",
    "-m",
    "-o",
    "-std=",
    "-xc",
];

/// What the preprocessor leaves in the text, and the compiler replaces by the name of a file.
const NAME_WORDS: &[&[u8]] = &[b"__builtin_FILE", b"__builtin_source_location"];

/// And what clang replaces by a name with that of a file in it.
const CLANG_NAME_WORDS: &[&[u8]] = &[b"__PRETTY_FUNCTION__", b"__FUNCSIG__"];

/// Where the headers of the system are, in the markers of lines.
const SYSTEM: &[u8] = b"\"/usr/";

/// What a compile has made.
pub(super) struct Made<'a, 'b> {
    /// Whether a file below the root was read under an absolute name.
    pub(super) reads_names: bool,
    /// What was read, relative where it is below the root.
    pub(super) inputs: &'a [Input],
    /// Whether the compiler had anything to say.
    pub(super) has_messages: bool,
    /// Its outputs and messages.
    pub(super) sections: &'a mut [Section<'b>],
}

/// Why the result shows where it was made; `None` if it does not, and then its dependency file has
/// become a template.
pub(super) fn shows_place(
    session: &Session<'_>,
    job: &Job,
    place: &Place,
    made: &mut Made<'_, '_>,
) -> Option<&'static str> {
    let compile = &job.compile;
    if !matches!(compile.language, Language::C | Language::Cpp) {
        return Some("an assembler or a module may show paths");
    }
    if !compile.arguments.iter().all(is_neutral) {
        return Some("an option may show paths");
    }
    if compile.outputs.iter().any(|output| output.kind != SectionKind::Object) {
        return Some("there are further outputs");
    }
    let hashes_directory = session.call.config.hash_dir.value;
    if compile.cwd_matters && hashes_directory && !maps_directory(compile, place) {
        return Some("debug information shows the working directory");
    }
    if reads_from_here(compile, place, made.inputs) {
        return Some("a file is named by a path that leads here from everywhere");
    }
    if may_shorten_names(compile) {
        return Some("gcc may shorten the names of system headers");
    }
    let names = made.reads_names || compile.key_arguments.iter().any(|word| is_named(place, word));
    if names && made.has_messages {
        return Some("messages name files");
    }
    if names && session.call.config.depend_mode.value {
        return Some("depend_mode keeps the preprocessor from telling whether names are used");
    }
    if names && text_shows(session, job, place).unwrap_or(true) {
        return Some("the preprocessed text shows a path");
    }
    let is_object = |section: &Section<'_>| section.kind == SectionKind::Object;
    let shows = |section: &Section<'_>| place.shows_in(&section.data);
    let is_excused = |section: &Section<'_>| !hashes_directory && is_object(section);
    let is_list = |section: &Section<'_>| section.kind == SectionKind::Dependencies;
    if made.sections.iter().any(|s| !is_list(s) && !is_excused(s) && shows(s)) {
        return Some("an output shows a path");
    }
    let list = made.sections.iter_mut().find(|section| is_list(section) && shows(section))?;
    match template::make(&list.data, compile.family, place) {
        Some(template) => {
            list.data = template.into();
            None
        }
        None => Some("the dependency file cannot be written elsewhere"),
    }
}

fn is_neutral(word: &OsString) -> bool {
    let bytes = word.as_bytes();
    if let Some(words) = bytes.strip_prefix(b"-Wp,") {
        return [&b"-D"[..], b"-U", b"-MD,", b"-MMD,"].iter().any(|start| words.starts_with(start));
    }
    !bytes.starts_with(b"-")
        || NEUTRAL.iter().any(|option| bytes == option.as_bytes())
        || (NEUTRAL_STARTS.iter().any(|start| bytes.starts_with(start.as_bytes()))
            && !bytes.starts_with(b"-Wa,"))
}

/// Whether a word names something below the root; the prefix of a map is no name.
fn is_named(place: &Place, word: &OsString) -> bool {
    prefix_map(word.as_bytes()).is_none() && place.shared_word(word) != *word
}

/// Whether the root is named where it stays as it is in the keys of other checkouts.
fn reads_from_here(compile: &Compile, place: &Place, inputs: &[Input]) -> bool {
    let is_literal =
        |word: &&OsString| !is_named(place, word) && prefix_map(word.as_bytes()).is_none();
    let mut words = compile.key_arguments.iter().filter(is_literal);
    let variables = SEARCHED_VARIABLES.iter().filter_map(env::var_os);
    // What cannot be read again is not what was read.
    let shows = |input: &Input| fs::read(&input.path).map_or(true, |text| place.shows_in(&text));
    words.any(|word| place.shows_in(word.as_bytes()))
        || variables.into_iter().any(|value| place.shows_in(value.as_bytes()))
        || inputs.iter().any(shows)
}

fn maps_directory(compile: &Compile, place: &Place) -> bool {
    let directory = place.directory().as_os_str();
    let is_plain = other_name_of(place.directory()).is_none();
    let maps = |word: &OsString| match prefix_map(word.as_bytes()) {
        Some((b"-fmacro-prefix-map=", ..)) => false,
        Some((_, old, new)) => directory.as_bytes().starts_with(old) && !place.shows_in(new),
        None => compile.family == Family::Clang && word == "-ffile-compilation-dir=.",
    };
    is_plain && compile.arguments.iter().any(maps)
}

/// gcc takes the real path of a system header where that is shorter than the one it was found by;
/// whether it is depends on the length of the checkout's path.
fn may_shorten_names(compile: &Compile) -> bool {
    let has = |start: &[u8]| compile.arguments.iter().any(|w| w.as_bytes().starts_with(start));
    compile.family == Family::Gcc
        && (has(b"-isystem") || has(b"-idirafter"))
        && !has(b"-fno-canonical-system-headers")
}

/// Whether the preprocessed text, without the markers of lines, shows a path or asks for one.
fn text_shows(session: &Session<'_>, job: &Job, place: &Place) -> Option<bool> {
    let capture = Capture { stdout: Stream::Collect, stderr: Stream::Discard };
    let mut arguments: Vec<OsString> = vec!["-E".into()];
    arguments.extend(job.compile.preprocess_arguments.iter().cloned());
    let ran = session.run_preprocessor(&arguments, capture).ok()?;
    let is_clang = job.compile.family == Family::Clang && job.compile.language == Language::Cpp;
    let has =
        |line: &[u8], words: &[&[u8]]| words.iter().any(|word| memmem::find(line, word).is_some());
    let (mut is_own, mut names_functions, mut has_unnamed_types) = (true, false, false);
    for line in ran.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if let Some(marker) = line.strip_prefix(b"# ") {
            is_own = memmem::find(marker, SYSTEM).is_none();
            continue;
        }
        if place.shows_in(line) || has(line, NAME_WORDS) {
            return Some(true);
        }
        names_functions |= is_clang && has(line, CLANG_NAME_WORDS);
        has_unnamed_types |= is_clang && is_own && may_have_unnamed_type(line);
    }
    ran.status.success().then_some(names_functions && has_unnamed_types)
}

/// Whether a line of C++ may have a lambda, or a type without a name.
fn may_have_unnamed_type(line: &[u8]) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let at = |index: usize| line.get(index).copied().unwrap_or(b' ');
    let before = |index: usize| index.checked_sub(1).map_or(b' ', at);
    let starts = |index: usize| match at(index) {
        // Behind a name, a call or another one it is an index, and a double one is an attribute.
        b'[' => {
            let follows = is_of_name(before(index)) || matches!(before(index), b')' | b']' | b'[');
            !follows && at(index + 1) != b'['
        }
        b's' | b'u' | b'e' | b'c' if !is_of_name(before(index)) => {
            let words: [&[u8]; 4] = [b"struct", b"union", b"enum", b"class"];
            let word = words.iter().find(|word| line[index..].starts_with(word));
            word.is_some_and(|word| {
                let rest = &line[index + word.len()..];
                let next = rest.trim_ascii_start().first();
                // An attribute may stand before the name, or nothing before the next line.
                !rest.first().is_some_and(|byte| is_of_name(*byte))
                    && next.is_none_or(|next| b"{:[(".contains(next) || rest.starts_with(b" __"))
            })
        }
        _ => false,
    };
    (0..line.len()).any(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_without_names_are_seen() {
        for line in [
            "auto f = [](int x) { return x; };",
            "  return [&] { return 1; };",
            "g([=] {}, 1);",
            "struct { int x; } y;",
            "typedef enum",
            "enum : int { A };",
            "union{ int x; };",
            "struct __attribute__((packed)) {",
            "class [[nodiscard]] {",
        ] {
            assert!(may_have_unnamed_type(line.as_bytes()), "{line}");
        }
        for line in [
            "int a[3] = { b[1], f()[2], c[0][1] };",
            "[[noreturn]] void f();",
            "struct named { int x; };",
            "enum class color { red };",
            "class constructor; int structure; my_enum {",
            "delete[] p; x = new int[3];",
        ] {
            assert!(!may_have_unnamed_type(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn options_are_neutral_only_if_they_are_known() {
        let neutral = |word: &str| is_neutral(&word.into());
        for word in ["a.c", "-O2", "-g", "-Wall", "-Wp,-MD,a.d", "-Wp,-DX", "-fPIC", "-xc++"] {
            assert!(neutral(word), "{word}");
        }
        for word in ["-Wa,-g", "-Wp,-v", "-flto", "-gz", "-gsplit-dwarf", "--coverage", "-B/x"] {
            assert!(!neutral(word), "{word}");
        }
        for list in [NEUTRAL, NEUTRAL_STARTS] {
            assert!(list.iter().all(|option| option.starts_with('-') && option.len() > 1));
        }
    }
}
