//! Inputs that can be read only once: pipes, terminals, `/dev/stdin`.
//!
//! Nothing that has one is stored. But a run of the preprocessor beside the compile would read it
//! in the compiler's place, or wait for ever for somebody who writes to it. So there is no such run
//! where an option may include one, or the source, or where the user's dependency file names one.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use memchr::memmem;

use super::Job;
use crate::depfile;

/// Where descriptors of a process have names.
const DESCRIPTORS: [&[u8]; 3] = [b"/dev/fd", b"/dev/std", b"/proc/self/fd"];

/// An input that may be a stream, by all that is known before the compile.
pub(super) fn before(job: &Job) -> Option<PathBuf> {
    let forced = job.compile.forced_headers().into_iter();
    let text = fs::read(&job.compile.input).unwrap_or_default();
    let is_mentioned = |name: &[u8]| memmem::find(&text, name).is_some();
    let mentioned = DESCRIPTORS.into_iter().find(|name| is_mentioned(name));
    let mentioned = mentioned.map(|name| PathBuf::from(OsStr::from_bytes(name)));
    forced.map(PathBuf::from).find(|path| is_stream(path)).or(mentioned)
}

/// As [`before`], after a compile that has written the user's dependency file.
pub(super) fn after(job: &Job) -> Option<PathBuf> {
    let depfile = job.compile.depfile.as_ref();
    let text = depfile.and_then(|depfile| fs::read(&depfile.path).ok()).unwrap_or_default();
    depfile::parse(&text).into_iter().find(|path| is_stream(path)).or_else(|| before(job))
}

fn is_stream(path: &Path) -> bool {
    let is_descriptor =
        DESCRIPTORS.iter().any(|start| path.as_os_str().as_bytes().starts_with(start));
    is_descriptor || fs::metadata(path).is_ok_and(|facts| !facts.is_file() && !facts.is_dir())
}
