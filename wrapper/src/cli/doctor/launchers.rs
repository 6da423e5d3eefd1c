//! Variables by which builds are told what to start: whether larder is in them, and where.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::super::toolchain::{Place, What, cache_name, places};
use super::findings::Findings;
use crate::compiler::is_compiler_name;
use crate::exec::{OWN_EXE, is_larder};

/// How a variable names programs.
#[derive(Clone, Copy)]
enum Shape {
    /// A command: `larder gcc -m32`.
    Command,
    /// Programs that are put before the compiler, with semicolons between them.
    Launchers,
    /// A program that is put before rustc.
    Rust,
    /// Assignments, as `CC=larder\ gcc`, among other things.
    Make,
}

const VARIABLES: &[(&str, Shape)] = &[
    ("CC", Shape::Command),
    ("CXX", Shape::Command),
    ("CMAKE_C_COMPILER_LAUNCHER", Shape::Launchers),
    ("CMAKE_CXX_COMPILER_LAUNCHER", Shape::Launchers),
    ("RUSTC_WRAPPER", Shape::Rust),
    ("RUSTC_WORKSPACE_WRAPPER", Shape::Rust),
    ("CARGO_BUILD_RUSTC_WRAPPER", Shape::Rust),
    ("MAKEFLAGS", Shape::Make),
    ("CCACHE_PREFIX", Shape::Launchers),
];

/// What a word of a command is.
#[derive(PartialEq, Eq)]
enum Word {
    Larder,
    Cache(&'static str),
    Missing,
    /// A name of a compiler that is larder, by a link.
    Link,
    Compiler,
    Other,
}

/// Looks at every variable that is set.
pub fn examine(variable: impl Fn(&str) -> Option<OsString>, path: &OsStr, findings: &mut Findings) {
    for (name, shape) in VARIABLES {
        let Some(value) = variable(name).filter(|value| !value.is_empty()) else { continue };
        let value = value.to_string_lossy();
        match shape {
            Shape::Command => {
                let words: Vec<&str> = value.split_whitespace().collect();
                explain(name, &words, path, findings);
            }
            Shape::Launchers => {
                let breaks = |c: char| c == ';' || c.is_whitespace();
                let words: Vec<&str> =
                    value.split(breaks).filter(|word| !word.is_empty()).collect();
                explain(name, &words, path, findings);
            }
            Shape::Rust => rust(name, &value, path, findings),
            Shape::Make => make(&value, path, findings),
        }
    }
    if !places(OsStr::new("rustc"), path).is_empty() {
        cargo(&variable, path, findings);
    }
}

/// Whether cargo asks larder, and in a way that can be cached.
fn cargo(variable: &dyn Fn(&str) -> Option<OsString>, path: &OsStr, findings: &mut Findings) {
    let topic = "cargo";
    let value = |name: &str| variable(name).filter(|value| !value.is_empty());
    let rows = VARIABLES.iter().filter(|(_, shape)| matches!(shape, Shape::Rust));
    let values: Vec<OsString> = rows.filter_map(|(name, _)| value(name)).collect();
    if values.is_empty() {
        let text = "RUSTC_WRAPPER is not set: cargo asks larder only where build.rustc-wrapper of \
                    its configuration says so";
        return findings.ok(topic, text);
    }
    let is_larder = |value: &OsString| {
        matches!(kind(&value.to_string_lossy(), path), Word::Larder | Word::Link)
    };
    let incremental = value("CARGO_INCREMENTAL");
    if values.iter().any(is_larder) && incremental.is_none_or(|value| value != "0") {
        let text = "CARGO_INCREMENTAL is not 0: cargo compiles crates of a workspace incrementally \
                    in debug builds, and such calls are not cached";
        findings.note(topic, text, "set CARGO_INCREMENTAL=0, or incremental = false in profiles");
    }
}

fn kind(word: &str, path: &OsStr) -> Word {
    let name = Path::new(word).file_name().unwrap_or_default();
    if is_larder(OsStr::new(word), Path::new(OWN_EXE)) && !is_compiler_name(name) {
        return match word.contains('/') || !places(OsStr::new(word), path).is_empty() {
            true => Word::Larder,
            false => Word::Missing,
        };
    }
    if let Some(cache) = cache_name(name) {
        // Under such a name larder stands for that cache; a path was looked at above.
        let is_larder = |place: &Place| place.what == What::Larder;
        let is_own = !word.contains('/') && places(name, path).first().is_some_and(is_larder);
        return if is_own { Word::Larder } else { Word::Cache(cache) };
    }
    let first = match word.contains('/') {
        true => Path::new(word).exists().then_some(What::Program),
        false => places(name, path).into_iter().next().map(|place| place.what),
    };
    match first {
        None => Word::Missing,
        Some(What::Larder) => Word::Link,
        Some(What::Cache(cache)) => Word::Cache(cache),
        Some(_) if is_compiler_name(name) => Word::Compiler,
        Some(_) => Word::Other,
    }
}

/// What the words of one variable mean for larder.
fn explain(name: &str, words: &[&str], path: &OsStr, findings: &mut Findings) {
    let topic = "variables";
    let value = words.join(" ");
    let (mut has_larder, mut cache) = (false, None);
    // What stands behind the compiler are its arguments.
    for word in words.iter().take_while(|word| !word.starts_with('-')) {
        let kind = kind(word, path);
        match kind {
            Word::Missing => {
                let text = format!("{name} is `{value}`, and there is no program {word}");
                return findings.problem(topic, text, "write its path, or see that PATH has it");
            }
            Word::Cache(found) => cache = Some(found),
            Word::Larder | Word::Link => has_larder = true,
            Word::Compiler | Word::Other => {}
        }
        if matches!(kind, Word::Compiler | Word::Link) {
            break;
        }
    }
    match (has_larder, cache) {
        (true, Some(cache)) => {
            let text = format!("{name} is `{value}`: {cache} and larder, of which one is too many");
            findings.problem(topic, text, format!("take {cache} out of it"));
        }
        (true, None) if name == "CCACHE_PREFIX" => {
            let text = format!("{name} is `{value}`: what ccache does not find it asks of larder");
            findings.note(topic, text, "unset it, and name larder in place of ccache");
        }
        (true, None) => findings.ok(topic, format!("{name} is `{value}`")),
        (false, Some(cache)) => {
            let text = format!("{name} is `{value}`: {cache} is asked, and larder is not");
            findings.note(topic, text, format!("write larder in place of {cache}"));
        }
        (false, None) => {
            findings.ok(topic, format!("{name} is `{value}`, which does not name larder"));
        }
    }
}

fn rust(name: &str, value: &str, path: &OsStr, findings: &mut Findings) {
    let topic = "variables";
    match kind(value, path) {
        Word::Larder | Word::Link => findings.ok(topic, format!("{name} is `{value}`")),
        Word::Cache(cache) => {
            let text = format!("{name} is `{value}`: {cache} is asked, and larder is not");
            findings.note(topic, text, format!("write larder in place of {cache}"));
        }
        Word::Missing => {
            let text = format!("{name} is `{value}`, and there is no such program");
            findings.problem(topic, text, format!("unset {name}, or see that PATH has it"));
        }
        _ => findings.ok(topic, format!("{name} is `{value}`, which larder has no part in")),
    }
}

/// Assignments in `MAKEFLAGS`, where blanks within a value have a backslash before them.
fn make(value: &str, path: &OsStr, findings: &mut Findings) {
    let value = value.replace("\\ ", "\u{0}");
    for word in value.split(' ') {
        let Some((name, value)) = word.split_once('=') else { continue };
        if matches!(name, "CC" | "CXX") {
            let value = value.replace('\u{0}', " ");
            let words: Vec<&str> = value.split_whitespace().collect();
            explain(&format!("{name} of MAKEFLAGS"), &words, path, findings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_needs_is_told() {
        let told = |set: &[(&str, &str)]| {
            let variable = |asked: &str| {
                let found = set.iter().find(|(name, _)| *name == asked);
                found.map(|(_, value)| OsString::from(value))
            };
            let mut findings = Findings::default();
            cargo(&variable, OsStr::new("/bin:/usr/bin"), &mut findings);
            findings.0.iter().map(|finding| finding.text.clone()).collect::<Vec<_>>()
        };
        assert!(told(&[])[0].contains("build.rustc-wrapper"));
        assert!(told(&[("RUSTC_WRAPPER", "/x/larder")])[0].contains("incrementally"));
        let quiet = [("RUSTC_WRAPPER", "/x/larder"), ("CARGO_INCREMENTAL", "0")];
        assert_eq!(told(&quiet), [""; 0]);
        assert_eq!(told(&[("RUSTC_WRAPPER", "/x/sccache")]), [""; 0]);
    }

    #[test]
    fn what_a_variable_means_for_larder_is_told() {
        let rows = [
            ("CC", "no-such-thing gcc", "problem", "there is no program no-such-thing"),
            ("CC", "ccache sh", "note", "ccache is asked, and larder is not"),
            ("CC", "/x/larder ccache sh", "problem", "ccache and larder"),
            ("CC", "/x/larder sh", "ok", "CC is `/x/larder sh`"),
            ("CC", "sh -c larder", "ok", "does not name larder"),
            ("CMAKE_C_COMPILER_LAUNCHER", "/x/larder;/x/ccache", "problem", "one is too many"),
            ("MAKEFLAGS", "-j8 -- CC=ccache\\ sh X=y", "note", "CC of MAKEFLAGS is `ccache sh`"),
            ("RUSTC_WRAPPER", "/x/larder", "ok", "RUSTC_WRAPPER is `/x/larder`"),
            ("RUSTC_WRAPPER", "/x/sccache", "note", "sccache is asked, and larder is not"),
            ("RUSTC_WRAPPER", "no-such-thing", "problem", "there is no such program"),
            ("CCACHE_PREFIX", "/x/larder", "note", "asks of larder"),
        ];
        for (name, value, verdict, words) in rows {
            let mut findings = Findings::default();
            let variable = |asked: &str| (asked == name).then(|| value.into());
            examine(variable, OsStr::new("/bin:/usr/bin"), &mut findings);
            let line = &findings.0[0];
            assert_eq!(line.verdict.name(), verdict, "{name}={value}: {}", line.text);
            assert!(line.text.contains(words), "{name}={value}: {}", line.text);
        }
    }
}
