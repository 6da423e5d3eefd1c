//! The compilers of `PATH`, what stands in front of them, and larder itself.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::super::toolchain::{Place, What, compilers, handed_to_larder, places};
use super::findings::Findings;
use crate::compiler::family_of;

/// A compiler that does not tell its version for so long is left.
const VERSION_WAIT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(2);

/// Names that are told of a compiler that has many.
const NAMES_SHOWN_MAX: usize = 6;

type Names = BTreeMap<OsString, Vec<Place>>;

/// Looks at everything that `path` has.
pub fn examine(path: &OsStr, findings: &mut Findings) {
    own(path, findings);
    let names = compilers(path);
    found(&names, findings);
    order(&names, findings);
    for (name, places) in &names {
        scripts(name, places, &names, findings);
    }
    rust(path, findings);
}

/// The first rustc, and the toolchain that rustup has behind it.
fn rust(path: &OsStr, findings: &mut Findings) {
    let topic = "compiler";
    let all = places(OsStr::new("rustc"), path);
    let Some(place) = all.iter().find(is_compiler) else { return };
    let called = format!("rustc: {}", place.path.display());
    let Some(version) = version(&place.path) else {
        let text = format!("{called} does not tell its version");
        let advice = "see whether it runs at all: rustup may have no toolchain";
        return findings.note(topic, text, advice);
    };
    let mut text = format!("{called} ({version}), cached but for what is linked");
    if place.file.file_name() == Some(OsStr::new("rustup")) {
        let mut command = Command::new(&place.path);
        let root = said_in_time(command.args(["--print", "sysroot"]), VERSION_WAIT);
        let root = root.as_deref().map_or("an unknown toolchain", str::trim).to_owned();
        text.push_str(&format!("; it is rustup's, and leads to {root}"));
    }
    findings.ok(topic, text);
}

/// Where larder is, and whether a build that names it gets this one.
fn own(path: &OsStr, findings: &mut Findings) {
    let topic = "larder";
    let version = env!("CARGO_PKG_VERSION");
    let Ok(own) = env::current_exe() else {
        let text = format!("{version}; its file is gone, as after an update");
        return findings.note(topic, text, "install it anew");
    };
    let text = format!("{version}, {}", own.display());
    let file = fs::canonicalize(&own).unwrap_or(own.clone());
    match places(OsStr::new("larder"), path).first() {
        Some(place) if place.file == file => findings.ok(topic, text),
        Some(place) => {
            let text = format!("{text}; but PATH has {} first", place.path.display());
            findings.note(topic, text, "remove one of them, or name the one that is meant");
        }
        None => {
            let text = format!("{text}; it is not in PATH");
            findings.note(topic, text, "put its directory into PATH, or name it by its path");
        }
    }
}

fn is_compiler(place: &&Place) -> bool {
    matches!(place.what, What::Program | What::Script(_))
}

/// Every compiler, with its names and its version.
fn found(names: &Names, findings: &mut Findings) {
    let topic = "compiler";
    let mut files: BTreeMap<&Path, (Vec<&OsStr>, &Place)> = BTreeMap::new();
    for (name, places) in names {
        if let Some(place) = places.iter().find(is_compiler) {
            files.entry(&place.file).or_insert((Vec::new(), place)).0.push(name);
        }
    }
    if files.is_empty() {
        let text = "there is none in PATH (gcc, g++, cc, c++, clang or clang++)";
        return findings.problem(
            topic,
            text,
            "install gcc or clang, or set PATH to where they are",
        );
    }
    for (file, (names, place)) in files {
        let called: Vec<_> =
            names.iter().take(NAMES_SHOWN_MAX).map(|name| name.to_string_lossy()).collect();
        let more = if names.len() > NAMES_SHOWN_MAX { ", ..." } else { "" };
        let called = format!("{}{more}: {}", called.join(", "), file.display());
        if let What::Script(text) = &place.what {
            if handed_to_larder(text).is_none() {
                let text = format!("{called}, a script: its own call of a compiler may be cached");
                findings.note(topic, text, "name the compiler behind it");
            }
            continue;
        }
        let is_cached = names.iter().any(|name| family_of(name, file).is_some());
        match (version(&place.path), is_cached) {
            (Some(version), true) => findings.ok(topic, format!("{called} ({version}), cached")),
            (Some(version), false) => {
                let text = format!("{called} ({version}), not cached: it is neither gcc nor clang");
                findings.note(topic, text, "");
            }
            (None, _) => {
                let text = format!("{called} does not tell its version");
                findings.problem(topic, text, "see whether it runs at all: call it with --version");
            }
        }
    }
}

/// The first line that a compiler says of itself.
pub(super) fn version(compiler: &Path) -> Option<String> {
    let mut command = Command::new(compiler);
    command.arg("--version").env("LC_ALL", "C");
    let said = said_in_time(&mut command, VERSION_WAIT)?;
    said.lines().next().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned)
}

/// What a command says on stdout, if it ends well in time; else it and what it has started is
/// killed.
fn said_in_time(command: &mut Command, wait: Duration) -> Option<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.process_group(0).spawn().ok()?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().ok()? {
            Some(status) => break status,
            None if begun.elapsed() < wait => std::thread::sleep(LOOK),
            None => {
                if let Some(group) = rustix::process::Pid::from_raw(child.id() as i32) {
                    let _ =
                        rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                let _ = child.wait();
                return None;
            }
        }
    };
    let mut said = Vec::new();
    child.stdout.take()?.take(64 << 10).read_to_end(&mut said).ok()?;
    status.success().then(|| String::from_utf8_lossy(&said).into_owned())
}

/// What a name leads to first, and what that is worth.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
enum First {
    /// Links to larder in this directory come first.
    Links(PathBuf),
    /// And there is no compiler behind.
    NothingBehind(PathBuf),
    /// Links in the first directory stand behind compilers in the second one.
    Late(PathBuf, PathBuf),
    /// Another cache, by links in this directory.
    Cache(&'static str, PathBuf),
    /// Another cache, which takes larder for the compiler.
    CacheAndLinks(&'static str, PathBuf, PathBuf),
}

fn directory(place: &Place) -> PathBuf {
    place.path.parent().unwrap_or(Path::new(".")).to_path_buf()
}

fn first(places: &[Place]) -> Option<First> {
    let at = |wanted: fn(&Place) -> bool| places.iter().position(wanted);
    let links = at(|place| place.what == What::Larder);
    let cache = at(|place| matches!(place.what, What::Cache(_)));
    let real = at(|place| is_compiler(&place));
    let place = |at: usize| directory(&places[at]);
    let name = cache.and_then(|at| match places[at].what {
        What::Cache(name) => Some((name, at)),
        _ => None,
    });
    let before = |left: usize, right: Option<usize>| right.is_none_or(|right| left < right);
    match (links, name, real) {
        (Some(links), Some((name, cache)), _) if cache < links && before(cache, real) => {
            Some(First::CacheAndLinks(name, place(cache), place(links)))
        }
        (Some(links), _, None) => Some(First::NothingBehind(place(links))),
        (Some(links), _, Some(real)) if real < links => {
            Some(First::Late(place(links), place(real)))
        }
        (Some(links), ..) => Some(First::Links(place(links))),
        (None, Some((name, cache)), real) if before(cache, real) => {
            Some(First::Cache(name, place(cache)))
        }
        _ => None,
    }
}

/// Who comes first along `PATH`.
fn order(names: &Names, findings: &mut Findings) {
    let topic = "PATH";
    let mut groups: BTreeMap<First, BTreeSet<String>> = BTreeMap::new();
    for (name, places) in names {
        if let Some(first) = first(places) {
            groups.entry(first).or_default().insert(name.to_string_lossy().into_owned());
        }
    }
    if !groups.keys().any(|first| !matches!(first, First::Cache(..))) {
        let text = "no compiler's name leads to larder: builds have to name it";
        findings.ok(topic, text);
    }
    for (first, names) in groups {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        match first {
            First::Links(links) => {
                findings.ok(topic, format!("links to larder in {}: {names}", links.display()));
            }
            First::NothingBehind(links) => {
                let links = links.display();
                let text = format!("{names} in {links} is larder, and no compiler stands behind");
                let advice = format!("install it, or run `larder shims {links}`, which tidies up");
                findings.problem(topic, text, advice);
            }
            First::Late(links, before) => {
                let (links, before) = (links.display(), before.display());
                let text = format!("{before} comes before the links to larder in {links}: {names}");
                let advice = format!("put it first: export PATH=\"{links}:$PATH\"");
                findings.problem(topic, text, advice);
            }
            First::Cache(cache, directory) => {
                let directory = directory.display();
                let text = format!("{cache} comes first, by links in {directory}: {names}");
                let advice = format!(
                    "take {directory} out of PATH where larder is to cache; `larder gcc` itself \
                     passes {cache} over"
                );
                findings.note(topic, text, advice);
            }
            First::CacheAndLinks(cache, directory, links) => {
                let (directory, links) = (directory.display(), links.display());
                let text = format!(
                    "{cache} in {directory} comes before larder in {links} and takes it for the \
                     compiler, so that both store everything: {names}"
                );
                findings.problem(topic, text, format!("take {directory} out of PATH"));
            }
        }
    }
}

/// Scripts named like compilers that call larder: whether that finds the script again.
fn scripts(name: &OsStr, places: &[Place], names: &Names, findings: &mut Findings) {
    let topic = "loop";
    for place in places {
        let What::Script(text) = &place.what else { continue };
        let Some(word) = handed_to_larder(text) else { continue };
        let script = place.path.display();
        let again = match word.contains('/') {
            true => fs::canonicalize(&word).is_ok_and(|file| file == place.file),
            false => {
                // A word that the shell puts in is most often the script's own name.
                let asked = if word.starts_with('$') { name } else { OsStr::new(&word) };
                let found = names.get(asked).and_then(|places| places.iter().find(is_compiler));
                found.is_some_and(|found| found.file == place.file)
            }
        };
        match again {
            true => {
                let text =
                    format!("the script {script} calls larder, which finds the script again");
                let behind =
                    places.iter().filter(is_compiler).find(|other| other.file != place.file);
                let advice = match behind {
                    Some(real) => {
                        let real = real.path.display();
                        format!("write `larder {real}` in it, or use `larder shims DIR` instead")
                    }
                    None => "write the path of a compiler in it".to_owned(),
                };
                findings.problem(topic, text, advice);
            }
            false => findings.ok(topic, format!("the script {script} calls larder for {word}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str, what: What) -> Place {
        Place { path: path.into(), file: path.into(), what }
    }

    fn said(names: &[(&str, &[Place])]) -> Vec<(&'static str, String)> {
        let names: Names =
            names.iter().map(|(name, places)| (name.into(), places.to_vec())).collect();
        let mut findings = Findings::default();
        order(&names, &mut findings);
        for (name, places) in &names {
            scripts(name, places, &names, &mut findings);
        }
        findings.0.into_iter().map(|line| (line.verdict.name(), line.text)).collect()
    }

    #[test]
    fn who_comes_first_is_told() {
        let larder = place("/shims/gcc", What::Larder);
        let cache = place("/usr/lib/ccache/gcc", What::Cache("ccache"));
        let real = place("/usr/bin/gcc", What::Program);
        let rows: [(&[&Place], &str, &str); 7] = [
            (&[&real], "ok", "no compiler's name leads to larder"),
            (&[&larder, &real], "ok", "links to larder in /shims: gcc"),
            (&[&larder, &cache, &real], "ok", "links to larder in /shims: gcc"),
            (&[&larder], "problem", "no compiler stands behind"),
            (&[&real, &larder], "problem", "/usr/bin comes before the links to larder in /shims"),
            (&[&cache, &larder, &real], "problem", "both store everything"),
            (&[&cache, &real], "note", "ccache comes first, by links in /usr/lib/ccache"),
        ];
        for (places, verdict, words) in rows {
            let places: Vec<Place> = places.iter().map(|place| (*place).clone()).collect();
            let said = said(&[("gcc", &places)]);
            assert!(said.iter().any(|(v, t)| *v == verdict && t.contains(words)), "{said:?}");
        }
    }

    #[test]
    fn a_script_that_larder_finds_again_is_a_loop() {
        let script = |text: &str| place("/home/bin/gcc", What::Script(text.to_owned()));
        let real = place("/usr/bin/gcc", What::Program);
        for (text, is_loop) in [
            ("#!/bin/sh\nexec larder gcc \"$@\"", true),
            ("#!/bin/sh\nexec larder $(basename $0) \"$@\"", true),
            ("#!/bin/sh\nexec larder /usr/bin/gcc \"$@\"", false),
            ("#!/bin/sh\nexec larder clang \"$@\"", false),
        ] {
            let said = said(&[("gcc", &[script(text), real.clone()])]);
            let wanted = if is_loop { "problem" } else { "ok" };
            let told = |(verdict, line): &&(&str, String)| {
                *verdict == wanted && line.contains("the script /home/bin/gcc calls larder")
            };
            assert!(said.iter().find(told).is_some(), "{text}: {said:?}");
        }
    }

    #[test]
    fn who_does_not_answer_is_left() {
        let mut command = Command::new("/bin/sh");
        let begun = Instant::now();
        command.args(["-c", "sleep 60 & wait"]);
        assert_eq!(said_in_time(&mut command, Duration::from_millis(50)), None);
        assert!(begun.elapsed() < Duration::from_secs(30));
        let mut command = Command::new("/bin/sh");
        let said = said_in_time(command.args(["-c", "echo yes"]), Duration::from_secs(30));
        assert_eq!(said.as_deref(), Some("yes\n"));
    }
}
