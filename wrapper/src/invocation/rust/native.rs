//! What `-C target-cpu=native` means on this machine.
//!
//! rustc is asked once for each start of the machine, for the features and for the name of the
//! processor; the digest of its answers is remembered.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use larder_engine::env::boot_id;
use larder_engine::{Entry, RecordKind, Section, SectionKind};

use super::super::Session;
use super::super::records::read_section;
use crate::digest::Digest;
use crate::outcome::{Counter, Reason};
use crate::rust::key::native_key;

/// The questions. `--target` does not matter: `native` is the machine that rustc runs on.
const QUESTIONS: [&[&str]; 2] =
    [&["--print", "cfg", "-C", "target-cpu=native"], &["--print", "target-cpus"]];

/// The meaning, remembered or asked for.
pub(super) fn meaning(
    session: &Session<'_>,
    toolchain: &Digest,
    arguments: &[OsString],
) -> Result<Digest, Reason> {
    let key = native_key(toolchain, &boot_id());
    let known = read_section(session, &key, RecordKind::Blob, SectionKind::Data);
    if let Some(digest) = known.and_then(|bytes| Digest::try_from(bytes).ok()) {
        return Ok(digest);
    }
    let mut hasher = blake3::Hasher::new();
    for question in QUESTIONS {
        let mut command = Command::new(session.call.compiler);
        // clippy wants the path of rustc first.
        command.args(arguments).args(question).env("LARDER_DISABLE", "1");
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let output = command.output().map_err(|error| failed(&error.to_string()))?;
        if !output.status.success() {
            return Err(failed("rustc does not tell"));
        }
        hasher.update(&(output.stdout.len() as u64).to_le_bytes()).update(&output.stdout);
    }
    let digest: Digest = *hasher.finalize().as_bytes();
    let section = Section::new(SectionKind::Data, digest.to_vec());
    // What cannot be remembered is asked for again.
    let _ = session.store.put(&Entry::new(key, RecordKind::Blob, vec![section]));
    Ok(digest)
}

fn failed(what: &str) -> Reason {
    let text = format!("the meaning of target-cpu=native: {what}");
    Reason::new(Counter::CompilerCheckFailed, text)
}
