//! The text that the preprocessor makes of a source.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;

use larder_engine::Key;
use memchr::memmem;

use super::inputs::{Inputs, each_once, names};
use super::{Job, Session, code};
use crate::depfile;
use crate::digest::Digest;
use crate::exec::{Capture, Stream};
use crate::fingerprint::{Preprocessed, preprocessed_key};

/// The preprocessed text of a job: its key, and what was read for it.
pub(super) struct Text {
    pub(super) key: Key,
    pub(super) inputs: Inputs,
    /// Every file that the preprocessor read, as it named them.
    pub(super) files: Vec<PathBuf>,
}

/// Why there is none.
pub(super) enum TextError {
    /// The preprocessor ended so.
    Failed(ExitStatus),
    /// Anything else.
    Other(String),
}

impl From<String> for TextError {
    fn from(why: String) -> TextError {
        TextError::Other(why)
    }
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextError::Failed(status) => write!(f, "the preprocessor ended with {status}"),
            TextError::Other(why) => f.write_str(why),
        }
    }
}

impl Text {
    pub(super) fn make(session: &Session<'_>, job: &Job) -> Result<Text, TextError> {
        let list = session.scratch().map_err(|error| format!("no list: {error}"))?;
        if !session.wait_for_start() {
            return Err("the clock was set back".to_owned().into());
        }
        let mut arguments = vec!["-E".into(), "-MD".into(), "-MF".into(), list.path().into()];
        arguments.extend(job.compile.preprocess_arguments.iter().cloned());
        let capture = Capture { stdout: Stream::Collect, stderr: Stream::Collect };
        let ran =
            session.run_preprocessor(&arguments, capture).map_err(|error| error.to_string())?;
        if !ran.status.success() {
            return Err(TextError::Failed(ran.status));
        }
        // Messages may come from comments and white space, which the text does not show.
        if !ran.stderr.is_empty() {
            return Err("the preprocessor had messages".to_owned().into());
        }
        let shows_columns = [&b"source_location"[..], b"__builtin_COLUMN"];
        if shows_columns.iter().any(|word| memmem::find(&ran.stdout, word).is_some()) {
            return Err("the text asks for its columns".to_owned().into());
        }
        let files = depfile::parse(&list.read().map_err(|error| error.to_string())?);
        if !names(&files, &job.compile.input) {
            return Err("the list of inputs lacks the source".to_owned().into());
        }
        let files = each_once(job, files);
        let inputs = Inputs::look(session, job, &files).map_err(|reason| reason.text)?;
        if inputs.has_precompiled {
            return Err("the text is not what a precompiled header holds".to_owned().into());
        }
        session.note_text(&ran.stdout);
        let text = text_digest(&ran.stdout, &inputs)?;
        let preprocessed = Preprocessed { text: &text, files: &files };
        let key = session.facts(job, |facts| preprocessed_key(facts, &preprocessed));
        Ok(Text { key, inputs, files })
    }
}

/// Digest of the text and of the code that it was made from.
fn text_digest(text: &[u8], inputs: &Inputs) -> Result<Digest, String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(text.len() as u64).to_le_bytes()).update(text);
    for input in &inputs.list {
        let text = fs::read(&input.path).map_err(|error| error.to_string())?;
        hasher.update(&code::of(&text));
    }
    Ok(*hasher.finalize().as_bytes())
}
