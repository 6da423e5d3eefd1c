//! A trial: a small C, a small C++ unit and a small crate compiled by the compiler alone, through
//! larder, and through larder again, in a temporary directory with a store of its own.
//!
//! 1. The environment is the user's, without larder's settings: what of it stands in the way of
//!    every compile is found, what only the settings say is not tried here.
//! 2. It succeeds if everything that larder leaves is what the compiler leaves, the first call was
//!    counted as a miss and the second as a hit.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use larder_engine::env::{Env, RealEnv};

use super::super::json::Object;
use super::super::toolchain::{Place, What, compilers, places};
use super::compilers::version;
use super::findings::Findings;
use crate::compiler::family_of;
use crate::config::Config;
use crate::outcome::Counter;
use crate::store::open_store;

/// The compilers that are tried, each program once.
const NAMES: &[(&str, Language)] = &[
    ("gcc", Language::C),
    ("g++", Language::Cpp),
    ("clang", Language::C),
    ("clang++", Language::Cpp),
    ("cc", Language::C),
    ("c++", Language::Cpp),
    ("rustc", Language::Rust),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    C,
    Cpp,
    Rust,
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Language::C => "C",
            Language::Cpp => "C++",
            Language::Rust => "Rust",
        }
    }

    fn source(self) -> (&'static str, &'static str) {
        match self {
            Language::C => {
                ("trial.c", "#include <stdio.h>\nint main(void) { puts(\"larder\"); return 0; }\n")
            }
            Language::Cpp => (
                "trial.cc",
                "#include <string>\n#include <vector>\n\
                 int main() { std::vector<std::string> v(3, \"larder\"); return (int)v.size(); }\n",
            ),
            Language::Rust => ("trial.rs", "pub fn trial() -> &'static str {\n    \"larder\"\n}\n"),
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Language::C => &["-O1", "-c", "trial.c", "-o", "trial.o"],
            Language::Cpp => &["-O1", "-c", "trial.cc", "-o", "trial.o"],
            Language::Rust => &[
                "--crate-name=trial",
                "trial.rs",
                "--crate-type=lib",
                "--emit=dep-info,link",
                "--out-dir=.",
            ],
        }
    }

    fn object(self) -> &'static str {
        match self {
            Language::C | Language::Cpp => "trial.o",
            Language::Rust => "libtrial.rlib",
        }
    }

    /// Whether a program can be tried. A toolchain of Rust has half a gigabyte, all of which a
    /// trial reads: it is tried where a variable leads cargo to a wrapper.
    fn is_of(self, name: &str, place: &Place) -> bool {
        const WRAPPERS: [&str; 2] = ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"];
        match self {
            Language::C | Language::Cpp => family_of(OsStr::new(name), &place.file).is_some(),
            // One of rustup's that has no toolchain is told of elsewhere.
            Language::Rust => {
                let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
                WRAPPERS.into_iter().any(is_set) && version(&place.path).is_some()
            }
        }
    }
}

/// How a trial went.
pub struct Trial {
    compiler: PathBuf,
    language: Language,
    alone: Duration,
    stored: Duration,
    answered: Duration,
    /// What went wrong, and what to do.
    problem: Option<(String, String)>,
}

impl Trial {
    /// It for programs.
    pub fn object(&self) -> Object {
        let us = |time: Duration| time.as_micros() as u64;
        Object::new()
            .text("compiler", &self.compiler.display().to_string())
            .text("language", self.language.name())
            .switch("is_right", self.problem.is_none())
            .number("alone_us", us(self.alone))
            .number("stored_us", us(self.stored))
            .number("answered_us", us(self.answered))
    }
}

/// A directory that vanishes.
struct Room(PathBuf);

impl Room {
    fn new() -> std::io::Result<Room> {
        let path = env::temp_dir().join(format!("larder-trial-{:016x}", RealEnv.random()));
        fs::create_dir(&path)?;
        Ok(Room(path))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Tries the compilers of `path`.
pub fn examine(path: &OsStr, findings: &mut Findings) -> Vec<Trial> {
    let topic = "trial";
    let found = compilers(path);
    let mut trials: Vec<Trial> = Vec::new();
    let mut files = Vec::new();
    for (name, language) in NAMES {
        let places = match language {
            Language::C | Language::Cpp => found.get(OsStr::new(name)).cloned(),
            Language::Rust => Some(places(OsStr::new(name), path)),
        };
        let places = places.unwrap_or_default();
        let real = places.iter().find(|place| place.what == What::Program);
        let is_new = |place: &&Place| !files.contains(&(place.file.clone(), *language));
        let Some(place) = real.filter(is_new).filter(|place| language.is_of(name, place)) else {
            continue;
        };
        files.push((place.file.clone(), *language));
        match Room::new() {
            Ok(room) => trials.push(try_compiler(&room, &place.path, *language)),
            Err(error) => {
                let place = env::temp_dir();
                let text = format!("nothing can be made in {}: {error}", place.display());
                findings.problem(topic, text, "set TMPDIR to a directory that can be written");
                return trials;
            }
        }
    }
    for trial in &trials {
        let what = format!("{} ({})", trial.compiler.display(), trial.language.name());
        match &trial.problem {
            None => {
                let [alone, stored, answered] =
                    [trial.alone, trial.stored, trial.answered].map(milliseconds);
                let text = format!(
                    "{what}: {alone} alone, {stored} with storing it, {answered} from the store; \
                     the same object"
                );
                findings.ok(topic, text);
            }
            Some((text, advice)) => findings.problem(topic, format!("{what}: {text}"), advice),
        }
    }
    trials
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// What a call leaves.
struct Left {
    output: Output,
    object: Option<Vec<u8>>,
    elapsed: Duration,
}

impl Left {
    fn is_same(&self, other: &Left) -> bool {
        self.object == other.object
            && self.output.status.code() == other.output.status.code()
            && self.output.stdout == other.output.stdout
            && self.output.stderr == other.output.stderr
    }
}

fn try_compiler(room: &Room, compiler: &Path, language: Language) -> Trial {
    let mut trial = Trial {
        compiler: compiler.to_path_buf(),
        language,
        alone: Duration::ZERO,
        stored: Duration::ZERO,
        answered: Duration::ZERO,
        problem: None,
    };
    trial.problem = try_steps(room, &mut trial).err();
    trial
}

type Step<T> = Result<T, (String, String)>;

fn try_steps(room: &Room, trial: &mut Trial) -> Step<()> {
    let (name, text) = trial.language.source();
    fs::write(room.0.join(name), text).map_err(|error| {
        let advice = "make room there, or set TMPDIR to another directory".to_owned();
        (format!("cannot write to {}: {error}", room.0.display()), advice)
    })?;
    // An input that has just been made might change within the tick of the clock.
    settle(&room.0.join(name));
    let store = room.0.join("store");
    let alone = |trial: &Trial| call(room, trial, None);
    let through = |trial: &Trial| call(room, trial, Some(&store));
    alone(trial)?;
    let wanted = alone(trial)?;
    trial.alone = wanted.elapsed;
    if wanted.object.is_none() {
        let said = String::from_utf8_lossy(&wanted.output.stderr);
        let said = said.lines().find(|line| line.contains("error")).or(said.lines().next());
        let text = format!("the compiler alone fails: {}", said.unwrap_or("it says nothing"));
        return Err((text, "see that the headers of its C library are installed".to_owned()));
    }
    let stored = through(trial)?;
    trial.stored = stored.elapsed;
    through(trial)?;
    let answered = through(trial)?;
    trial.answered = answered.elapsed;
    for (left, when) in [(&stored, "when it stores"), (&answered, "when it answers")] {
        if !left.is_same(&wanted) {
            let text = format!("larder leaves something else than the compiler {when}");
            return Err((text, "do not use larder with it, and report this".to_owned()));
        }
    }
    counted(room, &store)
}

/// Whether the first call was a miss and the others were hits.
fn counted(room: &Room, store: &Path) -> Step<()> {
    let log = fs::read_to_string(room.0.join("log")).unwrap_or_default();
    let last = log.lines().last().unwrap_or("its log is empty").to_owned();
    let advice = "LARDER_LOG=FILE tells more; an unusual variable may be the reason".to_owned();
    let mut config = Config::load();
    config.readonly.value = true;
    let store = open_store(&config, store).map_err(|error| {
        let text = format!("larder made no store in {}: {error}", room.0.display());
        (text, "make room there, or set TMPDIR to another directory".to_owned())
    })?;
    let count = |counter: Counter| store.counters().get(counter as usize);
    let counts = (count(Counter::CacheMiss), count(Counter::DirectCacheHit));
    if counts == (1, 2) {
        return Ok(());
    }
    let what = if counts.0 == 0 { "is not cached" } else { "is not answered from the store" };
    Err((format!("it {what}: {last}"), advice))
}

/// Waits until the clock of files has left the moment in which a file was written.
fn settle(file: &Path) {
    let written = fs::metadata(file).and_then(|facts| facts.modified()).unwrap_or(UNIX_EPOCH);
    let wait = Duration::from_millis(20);
    while SystemTime::now().duration_since(written).is_ok_and(|gone| gone < wait) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One compile, through larder where there is a store.
fn call(room: &Room, trial: &Trial, store: Option<&Path>) -> Step<Left> {
    let object = room.0.join(trial.language.object());
    let _ = fs::remove_file(&object);
    let mut command = match store {
        None => Command::new(&trial.compiler),
        Some(store) => {
            let mut command = Command::new("/proc/self/exe");
            command.arg0("larder").arg(&trial.compiler).env("LARDER_DIR", store);
            command
        }
    };
    let is_setting = |name: &OsString| {
        let name = name.to_string_lossy();
        (name.starts_with("LARDER_") || name.starts_with("_LARDER_")) && name != "LARDER_DIR"
    };
    env::vars_os().filter(|(name, _)| is_setting(name)).for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.env("LARDER_CONFIG", "/dev/null").env("LARDER_JANITOR", "off");
    command.env("LARDER_LOG", room.0.join("log"));
    command.args(trial.language.arguments());
    command.current_dir(&room.0).stdin(Stdio::null());
    let begun = Instant::now();
    let output = command.output().map_err(|error| {
        let text = format!("it cannot be started: {error}");
        (text, "see whether it runs at all: call it with --version".to_owned())
    })?;
    Ok(Left { output, elapsed: begun.elapsed(), object: fs::read(&object).ok() })
}
