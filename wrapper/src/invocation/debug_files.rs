//! ccache's debug files: what a call did, and what its keys were made of.
//!
//! Beside the object, or below `debug_dir` at its absolute path, with a local time in the name:
//! `OBJ.TIME.ccache-log` with the lines of the log, and from `debug_level` 2 on what counts for
//! every result (`ccache-input-c`), for the direct key (`-d`), the text for the preprocessed key
//! (`-p`, where there was one), and the first two to be read (`ccache-input-text`). Two calls that
//! should share a result are compared by these.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Job, Session};
use crate::calendar::Time;
use crate::moment::local_offset_secs;

/// What is known so far.
#[derive(Default)]
pub(super) struct Debug {
    object: Option<PathBuf>,
    common: String,
    direct: String,
    text: Option<Vec<u8>>,
}

impl Session<'_> {
    fn debug_level(&self) -> u64 {
        self.call.config.ccache.as_ref().map_or(0, |ccache| ccache.debug_level)
    }

    /// Notes what the keys of a call are made of.
    pub(super) fn note_job(&self, job: &Job) {
        let level = self.debug_level();
        if level == 0 {
            return;
        }
        let mut debug = self.debug.borrow_mut();
        debug.object = job.compile.outputs.first().map(|output| output.path.clone());
        if level >= 2 {
            debug.common = self.common(job);
            debug.direct = direct(job);
        }
    }

    /// Notes the preprocessed text.
    pub(super) fn note_text(&self, text: &[u8]) {
        if self.debug_level() >= 2 {
            self.debug.borrow_mut().text = Some(text.to_vec());
        }
    }

    fn common(&self, job: &Job) -> String {
        let mut text = String::from("=== COMMON ===\n");
        section(&mut text, "compiler", self.call.compiler.as_os_str());
        section(&mut text, "contents of the compiler", hex(&job.toolchain.identity).as_ref());
        section(&mut text, "namespace", self.call.config.namespace.value.as_ref());
        section(&mut text, "language", job.compile.language.name().as_ref());
        for word in &job.compile.key_arguments {
            section(&mut text, "argument", word);
        }
        for input in &job.named {
            section(&mut text, "named file", input.path.as_os_str());
            section(&mut text, "contents", hex(&input.digest).as_ref());
        }
        if job.compile.cwd_matters && self.call.config.hash_dir.value {
            section(&mut text, "directory", job.directory.as_os_str());
        }
        text
    }
}

fn direct(job: &Job) -> String {
    let mut text = String::from("=== DIRECT MODE ===\n");
    section(&mut text, "source", job.compile.input.as_os_str());
    section(&mut text, "contents", hex(&job.source).as_ref());
    section(&mut text, "key of the manifest", job.direct.to_string().as_ref());
    text
}

fn section(text: &mut String, name: &str, value: &OsStr) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "### {name}\n{}", value.display());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes the files of a call. One that cannot be written is missing.
pub(super) fn write(session: &Session<'_>) {
    let level = session.debug_level();
    let Some(log) = session.call.log.kept() else { return };
    let debug = session.debug.borrow();
    let object = debug.object.clone().or_else(|| likely_object(session));
    let Some(start) = object.and_then(|object| start_of_names(session, &object)) else { return };
    let put = |kind: &str, text: &[u8]| {
        let mut name = start.clone().into_os_string();
        name.push(kind);
        let _ = fs::write(name, text);
    };
    put("ccache-log", log.as_bytes());
    if level < 2 || debug.common.is_empty() {
        return;
    }
    put("ccache-input-text", format!("{}{}", debug.common, debug.direct).as_bytes());
    put("ccache-input-c", debug.common.as_bytes());
    put("ccache-input-d", debug.direct.as_bytes());
    if let Some(text) = &debug.text {
        put("ccache-input-p", text);
    }
}

/// The object of a call that was not understood: what `-o` names, else what the source is called.
fn likely_object(session: &Session<'_>) -> Option<PathBuf> {
    let words = session.call.arguments;
    let named = words.iter().position(|word| word == "-o").and_then(|at| words.get(at + 1));
    let is_plain = |path: &&Path| !path.starts_with("/dev") && path.as_os_str() != "-";
    if let Some(named) = named.map(Path::new).filter(is_plain) {
        return Some(named.to_owned());
    }
    Some(PathBuf::from(session.source_name()?.with_extension("o").file_name()?))
}

/// `OBJ.TIME.`, with its directory made.
fn start_of_names(session: &Session<'_>, object: &Path) -> Option<PathBuf> {
    let ccache = session.call.config.ccache.as_deref()?;
    let object = match &ccache.debug_dir {
        None => object.to_owned(),
        Some(directory) => {
            let absolute = std::path::absolute(object).ok()?;
            let below = directory.join(absolute.strip_prefix("/").ok()?);
            fs::create_dir_all(below.parent()?).ok()?;
            below
        }
    };
    let mut name = object.into_os_string();
    name.push(format!(".{}.", stamp(session.call.started_ns)));
    Some(name.into())
}

/// `20261122_012924_217060`: day, time and microseconds, in local time where that is understood.
fn stamp(ns: u64) -> String {
    let (secs, micros) = ((ns / 1_000_000_000).cast_signed(), ns / 1000 % 1_000_000);
    let Time { year, month, day, hour, minute, second, .. } =
        Time::of(secs.saturating_add(local_offset_secs(secs).unwrap_or(0)));
    format!("{year:04}{month:02}{day:02}_{hour:02}{minute:02}{second:02}_{micros:06}")
}
