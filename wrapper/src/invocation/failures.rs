//! Failed compiles that are kept, with `store_failures`.
//!
//! A failure is answered only if the compiler would fail in the same way now, to the last byte of
//! its messages:
//!
//! 1. The preprocessor has to succeed, without messages of its own. The failure stands under its
//!    text, so that a header that appears, and a name that is asked for, need no care of their own;
//!    and under the arguments and the paths and contents of all inputs, because messages show lines
//!    as they are written, with their columns and comments.
//! 2. What is kept is about the source and nothing else: see [`complaint`](super::complaint).
//! 3. It left nothing but its messages and the dependency file: calls with further outputs are not
//!    eligible. What became of an object that stood there was observed ([`Fate`]), and a hit does
//!    the same, or leaves the call to the compiler.
//! 4. Inputs must not change during the compile, as in [`inputs`](super::inputs). What the
//!    compiler listed itself must be what the preprocessor lists afterwards.
//! 5. A marker under the direct key tells that there is any failure, so that a miss costs a look-up
//!    and not a run of the preprocessor.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use larder_engine::{Entry, Key, RecordKind, Section, SectionKind};
use rustix::fs::{Access, access};

use super::lower::Found;
use super::records::{read_known, section_of};
use super::text::Text;
use super::{Answer, Job, Session, complaint, unlisted};
use crate::capture;
use crate::compiler::{Compile, Family, Language, Purpose};
use crate::digest::Mentions;
use crate::exec::Ran;
use crate::fingerprint::{failure_key, failures_key};
use crate::outcome::{Counter, Reason};
use crate::restore::{self, Source};

/// The status of a compiler that found errors in a source. Others are for its own.
const STATUS_ERRORS: i32 = 1;

/// What became of a main output that stood there before; one byte in the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// None stood there.
    Unknown = 0,
    /// It is as it was: gcc has failed before anything touched it.
    Kept = 1,
    /// It is gone, as clang and some calls of gcc leave it.
    Removed = 2,
}

/// What a failed compile says that it has read.
pub(super) enum Listed {
    /// Everything.
    Whole(Vec<PathBuf>),
    /// All but headers of the system.
    InPart(Vec<PathBuf>),
}

/// A call that may fail and be kept, before the compiler runs.
pub(super) struct Watched {
    /// The main output that stood there.
    before: Option<State>,
}

/// What tells whether a file was touched.
#[derive(PartialEq, Eq)]
struct State {
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl State {
    fn of(metadata: &Metadata) -> State {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        State { inode: metadata.ino(), size: metadata.size(), changed }
    }
}

/// The failure that the compiler would show now, if it is known.
pub(super) fn answer(session: &Session<'_>, job: &Job) -> Option<Answer> {
    let config = session.call.config;
    if config.recache.value || config.readonly_direct.value || !is_eligible(session, job) {
        return None;
    }
    let marker = failures_key(&job.direct);
    read_known(session, &marker, RecordKind::Blob, SectionKind::Data)?;
    let text = Text::make(session, job).map_err(|why| why.to_string());
    let key = text.and_then(|text| key(session, job, &text));
    let key =
        key.map_err(|why| session.log(format_args!("no failure is looked for: {why}"))).ok()?;
    let answer = restored(session, job, &key)?;
    session.count(Counter::FailureCacheHit);
    session.log(format_args!("failure hit for {}", job.compile.input.display()));
    Some(answer)
}

/// Looks at what a failing compiler may touch; `None` if its failure is not to be kept.
pub(super) fn watch(session: &Session<'_>, job: &Job) -> Option<Watched> {
    let is_read_only = session.call.config.is_read_only() || session.store.is_read_only();
    let metadata = || fs::symlink_metadata(main_output(&job.compile)?).ok();
    (is_eligible(session, job) && !is_read_only)
        .then(|| Watched { before: metadata().map(|metadata| State::of(&metadata)) })
}

fn is_eligible(session: &Session<'_>, job: &Job) -> bool {
    let (config, compile) = (session.call.config, &job.compile);
    config.store_failures.value
        && !config.depend_mode.value
        // What distributes compiles has failures of its own.
        && config.prefix_command.value.is_empty()
        && matches!(compile.language, Language::C | Language::Cpp)
        && matches!(compile.purpose, Purpose::Object | Purpose::Assembly | Purpose::Messages)
        && compile.outputs.iter().all(|output| output.is_main())
        && !compile.asks_for_listing()
        // The times of headers decide whether a precompiled one is used.
        && !compile.times_matter
        // And messages show lines of modules.
        && compile.module_files.is_empty()
        && complaint::locale_is_known(|name| std::env::var_os(name))
}

fn main_output(compile: &Compile) -> Option<&Path> {
    compile.outputs.first().map(|output| output.path.as_path())
}

/// Where the failure of a job with this text stands.
fn key(session: &Session<'_>, job: &Job, text: &Text) -> Result<Key, String> {
    let mentions = text.inputs.mentions;
    if mentions.any(Mentions::HIDDEN_INPUT.union(Mentions::HAS_INCLUDE_OF_MACRO)) {
        return Err("an input may read or ask for files that are not listed".to_owned());
    }
    let moment = text.inputs.moment(session, job).ok_or("an input shows the time")?;
    // Messages name files, so they are good for one directory.
    let state = job.state(true, true);
    Ok(failure_key(&job.direct, &text.key, &text.inputs.list, &moment, state))
}

impl Watched {
    /// Stores a compile that has just failed.
    ///
    /// # Errors
    /// Why it is not stored.
    pub(super) fn store(
        self,
        session: &Session<'_>,
        job: &Job,
        listed: &Listed,
        ran: &Ran,
    ) -> Result<(), Reason> {
        let refuse = |text: &str| Reason::new(Counter::CompileFailed, text);
        if ran.status.code() != Some(STATUS_ERRORS) {
            return Err(refuse(&format!("the compiler ended with {}", ran.status)));
        }
        let fate = self.fate(&job.compile)?;
        let dependencies = capture::dependencies(&job.compile, session.call.started_ns)?;
        let text = Text::make(session, job).map_err(|why| refuse(&why.to_string()))?;
        if !listed.agrees(&text.files) {
            return Err(refuse("the preprocessor does not read what the compiler has read"));
        }
        let names = [session.call.compiler].into_iter().chain(job.toolchain.files());
        let names: Vec<_> = names.filter_map(Path::file_name).collect();
        complaint::check(&ran.stdout, &ran.stderr, &text.files, &names).map_err(refuse)?;
        unlisted::check(session, job, &text.inputs.list, true)?;
        let key = key(session, job, &text).map_err(|why| refuse(&why.to_string()))?;
        let status = STATUS_ERRORS.to_le_bytes();
        let mut sections = vec![
            Section::new(SectionKind::ExitStatus, &status[..]),
            Section::new(SectionKind::Data, vec![fate as u8]),
        ];
        for (kind, text) in [(SectionKind::Stdout, &ran.stdout), (SectionKind::Stderr, &ran.stderr)]
        {
            if !text.is_empty() {
                sections.push(Section::new(kind, &text[..]));
            }
        }
        sections.extend(dependencies);
        let marker = Section::new(SectionKind::Data, &b"failed"[..]);
        session.put(vec![
            Entry::new(failures_key(&job.direct), RecordKind::Blob, vec![marker]),
            Entry::new(key, RecordKind::Result, sections),
        ]);
        Ok(())
    }

    /// What became of the main output.
    fn fate(&self, compile: &Compile) -> Result<Fate, Reason> {
        let Some(path) = main_output(compile) else { return Ok(Fate::Kept) };
        let after = fs::symlink_metadata(path).ok().map(|metadata| State::of(&metadata));
        match (&self.before, after) {
            (None, None) => Ok(Fate::Unknown),
            (Some(_), None) => Ok(Fate::Removed),
            (Some(before), Some(after)) if *before == after && keeps(compile) => Ok(Fate::Kept),
            _ => {
                let text = format!("{} is there all the same", path.display());
                Err(Reason::new(Counter::BadOutputFile, text))
            }
        }
    }
}

/// Whether nothing touches an object before the compiler proper has succeeded. Elsewhere one is
/// only kept where it could not be removed.
fn keeps(compile: &Compile) -> bool {
    compile.family == Family::Gcc
        && compile.purpose == Purpose::Object
        && !compile.arguments.iter().any(|word| word == "-pipe")
}

impl Listed {
    /// Whether it is what the preprocessor has read.
    fn agrees(&self, files: &[PathBuf]) -> bool {
        match self {
            Listed::Whole(listed) => {
                listed.len() == files.len() && listed.iter().all(|path| files.contains(path))
            }
            Listed::InPart(listed) => listed.iter().all(|path| files.contains(path)),
        }
    }
}

/// Leaves what the compiler would leave; `None` if that is not known, or cannot be done.
fn restored(session: &Session<'_>, job: &Job, key: &Key) -> Option<Answer> {
    let record = session.store.get(key).unwrap_or_else(|error| {
        session.log(format_args!("cannot read a failure: {error}"));
        session.count(Counter::StoreCorrupt);
        None
    });
    let record = record.filter(|record| record.kind() == Some(RecordKind::Result));
    let own = |record| Found { record, store: &session.store, layer: None };
    let found = record.map(own).or_else(|| session.result_below(key))?;
    let record = &found.record;
    let section = |kind| section_of(record, kind).ok().flatten();
    let status = i32::from_le_bytes(section(SectionKind::ExitStatus)?.try_into().ok()?);
    let fate = section(SectionKind::Data)?;
    let source = Source { store: found.store, record, file_clone: false };
    let restorable = restore::read_failure(source, &job.compile)?;
    if status != STATUS_ERRORS {
        return None;
    }
    let to_remove = match standing(&job.compile, &fate) {
        Ok(path) => path,
        Err(why) => {
            session.log(format_args!("the failure is left to the compiler: {why}"));
            return None;
        }
    };
    if session.is_dry {
        let status = ExitStatus::from_raw(status << 8);
        return Some(Answer::Failure { status, stdout: Vec::new(), stderr: Vec::new() });
    }
    let done =
        restore::write(source, &restorable).and_then(|_| to_remove.map_or(Ok(()), fs::remove_file));
    if let Err(error) = done {
        session.count(Counter::BadOutputFile);
        session.log(format_args!("cannot restore a failure: {error}"));
        return None;
    }
    if found.layer.is_some() {
        session.count(Counter::LowerHits);
        session.promote_result(&found);
    }
    // What a wait tells of an exit with this status.
    let status = ExitStatus::from_raw(status << 8);
    Some(Answer::Failure { status, stdout: restorable.stdout, stderr: restorable.stderr })
}

/// The main output if it stands there and has to go.
fn standing<'a>(compile: &'a Compile, fate: &[u8]) -> Result<Option<&'a Path>, &'static str> {
    let Some(path) = main_output(compile) else { return Ok(None) };
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(None) };
    match fate {
        [fate] if *fate == Fate::Kept as u8 => Ok(None),
        [fate] if *fate == Fate::Removed as u8 => {
            // The compiler may write into it first, and leaves one that it may not write.
            let is_removed = metadata.is_file()
                && metadata.nlink() == 1
                && access(path, Access::WRITE_OK).is_ok();
            if is_removed { Ok(Some(path)) } else { Err("what becomes of the output is not sure") }
        }
        _ => Err("what becomes of the output is not known"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_agrees_with_the_same_files_in_any_order() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let files = paths(&["a.c", "b.h", "/usr/include/c.h"]);
        assert!(Listed::Whole(paths(&["a.c", "/usr/include/c.h", "b.h"])).agrees(&files));
        assert!(!Listed::Whole(paths(&["a.c", "b.h"])).agrees(&files));
        assert!(!Listed::Whole(paths(&["a.c", "b.h", "gone.h"])).agrees(&files));
        assert!(Listed::InPart(paths(&["a.c", "b.h"])).agrees(&files));
        assert!(!Listed::InPart(paths(&["a.c", "gone.h"])).agrees(&files));
    }
}
