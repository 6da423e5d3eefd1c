//! Archives: what a call of `ar` makes is a function of what its command line names.
//!
//! 1. The contents of the members and of the old archive are in the direct key, so that a manifest
//!    has nothing to add.
//! 2. Stored is only what has no times, owners or modes in it: `D`, or a program whose help says
//!    that this is the default, which is asked on a miss.
//! 3. Members with code that is yet to be compiled, and thin archives, are not cached.
//! 4. GNU ar writes into an old archive, llvm-ar makes a new file.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::Session;
use super::{Job, Output, What, check_place, look_before, rows, uncached};
use crate::absent::Group;
use crate::compiler::is_archiver_name;
use crate::digest::Digest;
use crate::exec::is_binary;
use crate::fingerprint::{Row, rows_key};
use crate::identity::linker::Linker;
use crate::link::archive::{Call, THIN, is_deterministic_by_default, may_be_intermediate};
use crate::manifest::Input;
use crate::outcome::{Counter, Reason};

/// An archive that is to be made.
pub(super) struct Making {
    call: Call,
    /// The members with their contents.
    members: Vec<(PathBuf, Digest)>,
}

/// Understands a call of an archiver.
pub(super) fn job(
    session: &Session<'_>,
    words: Vec<OsString>,
    directory: PathBuf,
) -> Result<Job, Reason> {
    let program = session.call.compiler;
    let name = session.call.compiler_file.file_name().unwrap_or_default();
    if !is_archiver_name(name) || !is_binary(program) {
        return Err(uncached(&format!("{} is no archiver that is known", program.display())));
    }
    let call = Call::of(words).map_err(|text| uncached(&text))?;
    if call.is_deterministic == Some(false) {
        return Err(uncached("times are written into the archive"));
    }
    check_place(&call.output)?;
    let old = old(session, &call)?;
    let linker = Linker::archiver(program, &session.store, &session.digests);
    let linker = linker.map_err(|text| uncached(&text))?;
    let mut rows = rows(session, &linker, &call.words)?;
    let mut members = Vec::with_capacity(call.members.len());
    let mut contents = vec![(call.members.len() as u64).to_le_bytes().to_vec()];
    for path in &call.members {
        let digest = session.digests.digest(path).map_err(|error| {
            let text = format!("cannot read {}: {error}", path.display());
            Reason::new(Counter::BadInputFile, text)
        })?;
        contents.extend([path.as_os_str().as_bytes().to_vec(), digest.to_vec()]);
        members.push((path.clone(), digest));
    }
    rows.push(Row { name: "members".to_owned(), fields: contents });
    let called = session.call.name.as_bytes().to_vec();
    rows.push(Row { name: "name of the program".to_owned(), fields: vec![called] });
    let fields = old.iter().map(|digest| digest.to_vec()).collect();
    rows.push(Row { name: "old archive".to_owned(), fields });
    let direct = rows_key("archive", &rows);
    let is_gnu = !name.as_bytes().windows(4).any(|part| part == b"llvm");
    let is_kept = old.is_some() && is_gnu;
    let outputs = vec![Output { is_kept, ..Output::new("archive", call.output.clone()) }];
    let what = What::Archive(Making { call, members });
    Ok(Job { what, linker, directory, rows, direct, outputs, is_colored: false })
}

/// The contents of the archive that is there.
fn old(session: &Session<'_>, call: &Call) -> Result<Option<Digest>, Reason> {
    let cannot = |error: std::io::Error| {
        Reason::new(Counter::BadOutputFile, format!("{}: {error}", call.output.display()))
    };
    if fs::symlink_metadata(&call.output).is_err() {
        return Ok(None);
    }
    if call.compares_times {
        return Err(uncached("times are compared with those in the archive"));
    }
    let contents = fs::read(&call.output).map_err(cannot)?;
    if contents.starts_with(THIN) || may_be_intermediate(&contents) {
        return Err(uncached("the archive is thin, or has code that is yet to be compiled"));
    }
    session.digests.digest(&call.output).map(Some).map_err(cannot)
}

impl Making {
    /// What counts beside the direct key: nothing. But that may turn out to be wrong.
    pub(super) fn look(
        &self,
        session: &Session<'_>,
        job: &Job,
    ) -> Result<(Vec<Input>, Vec<Group>), Reason> {
        if self.call.is_deterministic.is_none() && !is_deterministic(session.call.compiler) {
            return Err(uncached("times are written into the archive, because D is missing"));
        }
        for path in job.linker.files() {
            look_before(session, path)?;
        }
        for (path, expected) in &self.members {
            if look_before(session, path)? != *expected {
                let text = format!("{}: is not what it was", path.display());
                return Err(Reason::new(Counter::ModifiedInputFile, text));
            }
            let member = fs::read(path).map_err(|error| uncached(&error.to_string()))?;
            if may_be_intermediate(&member) {
                let text = format!("{} has code that is yet to be compiled", path.display());
                return Err(uncached(&text));
            }
        }
        Ok((Vec::new(), Vec::new()))
    }
}

/// Whether the program says that it writes no times unless it is asked to.
fn is_deterministic(program: &Path) -> bool {
    let mut command = Command::new(program);
    let asked = command.arg("--help").env("LC_ALL", "C").stdin(Stdio::null()).output();
    asked.is_ok_and(|told| is_deterministic_by_default(&told.stdout))
}
