//! What a link has read, as its linker tells.
//!
//! 1. A miss adds `--dependency-file`, which shows in nothing that is made. Where messages name
//!    that file, nothing of them was passed on, and the link runs again without; a linker that does
//!    not know the option is remembered.
//! 2. Inputs are the files that the linker names, and those on its command line, for which the
//!    driver is asked (`-###`). One that is not there any more has been made by the link itself, as
//!    gcc's plugin does: such a link is not cached. A list of words that the driver makes for a
//!    linker, because it got one, is no input.
//! 3. What was searched for in vain is absent, see [`search`](crate::link::search). Behind the
//!    directories of the command line GNU ld has its own ones, which it is asked for where a
//!    library stands in none of the others.

use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use larder_engine::{Entry, Key, RecordKind, Section, SectionKind};
use memchr::memmem;

use super::super::Session;
use super::super::scratch::Scratch;
use super::{Job, What, look_before, run as run_linker, uncached};
use crate::absent::Group;
use crate::depfile;
use crate::exec::{self, Ran};
use crate::identity::linker::Choice;
use crate::link::archive::does_more;
use crate::link::call::Call;
use crate::link::command;
use crate::link::search::{Line, Search, Ways};
use crate::manifest::Input;
use crate::outcome::Reason;

/// What GNU ld says of a library that another one needs, and that is nowhere.
const NEEDED: &[u8] = b", needed by ";
/// Where GNU ld tells its own directories.
const SEARCH_DIR: &[u8] = b"SEARCH_DIR(\"";

/// What is added to a call.
pub(super) struct Telling {
    read: Scratch,
    untold: Key,
}

/// What a run has left behind that tells of a link.
type Told = Result<Option<Telling>, Reason>;

/// Runs the link so that it tells what it reads; once more without that where messages show it.
pub(super) fn run(session: &Session<'_>, job: &Job) -> Option<(Ran, Told)> {
    let given = session.call.arguments;
    let added = colors(job);
    let telling = Telling::new(session, job);
    let words = match &telling {
        Ok(telling) => [given, &telling.words()[..], &added[..]].concat(),
        Err(_) => [given, &added[..]].concat(),
    };
    let mut ran = run_linker(session, job, &words)?;
    let mut marks: Vec<&OsStr> = added.iter().map(OsString::as_os_str).collect();
    marks.extend(telling.as_ref().ok().and_then(|telling| telling.read.path().file_name()));
    let names = |mark: &OsStr| {
        let mark = mark.as_bytes();
        // A linker names its option without what makes the driver pass it on.
        let mark = mark.strip_prefix(b"-Wl,").unwrap_or(mark);
        [&ran.stdout, &ran.stderr].into_iter().any(|text| memmem::find(text, mark).is_some())
    };
    if !marks.into_iter().any(names) {
        return Some((ran, telling.map(Some)));
    }
    session.log(format_args!("the linker speaks of what larder has added; it runs again without"));
    let has_failed = !ran.status.success();
    ran = run_linker(session, job, given)?;
    if let Some(telling) = telling.ok().filter(|_| has_failed && ran.status.success()) {
        telling.remember_untold(session);
    }
    Some((ran, Err(uncached("the linker does not tell what it reads"))))
}

/// What makes driver and linker colour their messages as they would on the terminal.
fn colors(job: &Job) -> Vec<OsString> {
    let What::Link { choice, .. } = &job.what else { return Vec::new() };
    if !job.is_colored {
        return Vec::new();
    }
    let mut words = vec![exec::color_argument(job.linker.family).into()];
    if choice.is_shallow() {
        words.push("-Wl,--color-diagnostics=always".into());
    }
    words
}

impl Telling {
    fn new(session: &Session<'_>, job: &Job) -> Result<Telling, Reason> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"larder link untold").update(&job.linker.identity);
        let untold = Key::from_bytes(*hasher.finalize().as_bytes());
        if session.store.contains(&untold).unwrap_or(false) {
            return Err(uncached("the linker does not tell what it reads"));
        }
        let read = Scratch::new();
        let read = read.map_err(|error| uncached(&format!("no temporary file: {error}")))?;
        if read.path().as_os_str().as_bytes().contains(&b',') {
            return Err(uncached("the directory of temporary files has a comma in its name"));
        }
        Ok(Telling { read, untold })
    }

    fn words(&self) -> [OsString; 1] {
        let mut word = OsString::from("-Wl,--dependency-file=");
        word.push(self.read.path());
        [word]
    }

    fn remember_untold(&self, session: &Session<'_>) {
        let section = Section::new(SectionKind::Data, vec![1]);
        let _ = session.store.put(&Entry::new(self.untold, RecordKind::Blob, vec![section]));
    }

    /// What the link has read, and what it has looked for in vain.
    pub(super) fn look(
        &self,
        session: &Session<'_>,
        job: &Job,
        ran: &Ran,
    ) -> Result<(Vec<Input>, Vec<Group>), Reason> {
        let What::Link { call, choice } = &job.what else {
            return Err(uncached("this is no link"));
        };
        if memmem::find(&ran.stderr, NEEDED).is_some() {
            return Err(uncached("a library that another one needs is not there"));
        }
        let speaks = !ran.stderr.is_empty() || !ran.stdout.is_empty();
        if speaks && is_translated() {
            return Err(uncached("what the linker says is not in English"));
        }
        let text = self.read.read();
        let text = text.map_err(|error| uncached(&format!("the linker does not tell: {error}")))?;
        let mut read = depfile::parse(&text);
        if read.is_empty() {
            return Err(uncached("the linker does not tell what it reads"));
        }
        let has_lists = session.call.arguments.iter().any(|word| word.as_bytes().starts_with(b"@"));
        read.retain(|path| !(has_lists && is_list_of_driver(path)));
        for path in job.linker.files() {
            // It is part of the identity; here only its age matters.
            look_before(session, path)?;
        }
        let line = linker_line(job, call)?;
        let given: BTreeSet<OsString> = call.words.iter().cloned().collect();
        let places = &job.linker.places;
        let is_shallow = choice.is_shallow();
        let ways = Ways { line: &line, read: &read, given: &given, places, is_shallow };
        let mut search = Search::of(read.iter().map(PathBuf::as_path));
        let unfound = ways.go(&mut search).map_err(|text| uncached(&text))?;
        ways.scripts(&mut search);
        if !unfound.is_empty() {
            let own = own_directories(job, choice, &line)?;
            for name in &unfound {
                if !search.library(name, &own) {
                    let name = String::from_utf8_lossy(name);
                    return Err(uncached(&format!("the linker does not tell where -l{name} is")));
                }
            }
        }
        let mut paths: BTreeSet<PathBuf> = named_files(job, &line).collect();
        paths.extend(search.passed().map(Path::to_path_buf));
        for path in &read {
            if !path.is_file() {
                let text = format!("{} is not there any more", path.display());
                return Err(uncached(&text));
            }
            let contents = fs::read(path).map_err(|error| uncached(&error.to_string()))?;
            if let Some(why) = does_more(&contents, speaks) {
                return Err(uncached(&format!("{} {why}", path.display())));
            }
            paths.insert(path.clone());
        }
        let inputs = paths.into_iter().map(|path| {
            let digest = look_before(session, &path)?;
            Ok(Input { path, digest })
        });
        Ok((inputs.collect::<Result<_, _>>()?, search.groups().collect()))
    }
}

/// Whether messages may be in another language.
fn is_translated() -> bool {
    let names = ["LC_ALL", "LC_MESSAGES", "LANG"];
    let is_other = |value: OsString| {
        !["", "C", "POSIX", "C.UTF-8", "C.utf8"].iter().any(|plain| value == *plain)
            && !value.as_bytes().starts_with(b"en_")
    };
    names.into_iter().filter_map(env::var_os).any(is_other)
        || env::var_os("LANGUAGE").is_some_and(|value| !value.is_empty())
}

/// Whether a file is gone that the driver has made for the words of a list that it was given.
fn is_list_of_driver(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let is_list = name.starts_with(b"cc") && !name.contains(&b'.');
    is_list && path.parent() == Some(env::temp_dir().as_path()) && !path.exists()
}

/// The command line of the linker, for which the driver is asked.
fn linker_line(job: &Job, call: &Call) -> Result<Line, Reason> {
    let mut asked = Command::new(&job.linker.driver);
    asked.args(&call.words).arg("-###").env("LC_ALL", "C").env("LARDER_DISABLE", "1");
    let report = asked.stdin(Stdio::null()).output();
    let report = report.map_err(|error| uncached(&format!("cannot ask: {error}")))?;
    let line = command::of_driver(&report.stderr).and_then(|words| Line::of(&words));
    let mut line = line.ok_or_else(|| uncached("the driver does not tell what it starts"))?;
    let output = call.output.parent().unwrap_or(Path::new(""));
    // What is found beside the program when it runs may be looked for there now.
    let beside: Vec<PathBuf> = line
        .run_paths
        .iter()
        .filter_map(|path| {
            let rest =
                ["$ORIGIN", "${ORIGIN}"].iter().find_map(|name| path.strip_prefix(name).ok());
            Some(output.join(rest?))
        })
        .collect();
    line.run_paths.extend(beside);
    Ok(line)
}

/// The directories in which GNU ld searches behind those that it is told.
fn own_directories(job: &Job, choice: &Choice, line: &Line) -> Result<Vec<PathBuf>, Reason> {
    let cannot =
        |why: &str| uncached(&format!("the linker's own directories are not known: {why}"));
    if call_has_sysroot(choice) {
        return Err(cannot("there is a sysroot"));
    }
    let mut asked = Command::new(&job.linker.driver);
    asked.args(&choice.words).arg(format!("-print-prog-name={}", choice.linker_name()));
    let report = asked.stdin(Stdio::null()).output().map_err(|error| cannot(&error.to_string()))?;
    let linker = OsStr::from_bytes(report.stdout.trim_ascii_end()).to_owned();
    let mut asked = Command::new(linker);
    if let Some(emulation) = &line.emulation {
        asked.arg("-m").arg(emulation);
    }
    let report = asked.arg("--verbose").stdin(Stdio::null()).output();
    let report = report.map_err(|error| cannot(&error.to_string()))?;
    let directories: Vec<PathBuf> = memmem::find_iter(&report.stdout, SEARCH_DIR)
        .filter_map(|at| {
            let name = report.stdout[at + SEARCH_DIR.len()..].split(|byte| *byte == b'"').next()?;
            Some(OsStr::from_bytes(name.strip_prefix(b"=").unwrap_or(name)).into())
        })
        .collect();
    match directories.is_empty() {
        true => Err(cannot("it names none")),
        false => Ok(directories),
    }
}

fn call_has_sysroot(choice: &Choice) -> bool {
    choice.words.iter().any(|word| word.as_bytes().starts_with(b"--sysroot"))
}

/// Files on the linker's command line that it may have read without telling.
fn named_files<'a>(job: &'a Job, line: &'a Line) -> impl Iterator<Item = PathBuf> + 'a {
    let is_output = |path: &Path| job.outputs.iter().any(|output| output.path == path);
    let is_part = |path: &Path| job.linker.files().any(|file| file == path);
    let words = line.words.iter();
    words.filter(move |path| path.is_file() && !is_output(path) && !is_part(path)).cloned()
}
