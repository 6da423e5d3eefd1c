//! `larder inspect`: what an entry says, whether it stands in a store or in a file of any layout.
//!
//! The exit status: 0 it is whole; 1 it is damaged, or there is none; 2 wrong use.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::exit;

use larder::cli::command::{Failure, print};
use larder::cli::flags::Given;
use rustix::fs::OFlags;

use super::find::{Found, find};
use super::shown::{Shown, Value, of_file, of_record};
use crate::layout::check::REAL_BYTES_MAX;

/// The command.
pub fn run(given: &Given) -> Result<(), Failure> {
    let word = given.operand(0).unwrap_or_default();
    let shown = match find(word)? {
        Found::Record(record) => of_record(&record),
        Found::File(path) => of_path(&path)?,
    };
    print(&if given.has("json") { shown.object().page() } else { shown.text() })?;
    if shown.is_damaged() { exit(1) } else { Ok(()) }
}

/// The bytes of a file that may be an entry.
pub fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("{}: {error}", path.display()));
    // Whoever opens a FIFO waits for a writer.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?;
    if !length.is_file() {
        let what = "it is no file; `larder ls` shows what is in a cache";
        return Err(Failure::Failed(format!("{}: {what}", path.display())));
    }
    if length.len() > REAL_BYTES_MAX {
        return Err(Failure::Failed(format!("{} is larger than any entry", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(REAL_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn of_path(path: &Path) -> Result<Shown, Failure> {
    let bytes = read_file(path)?;
    let mut shown =
        of_file(&bytes).map_err(|wrong| Failure::Failed(format!("{}: {wrong}", path.display())))?;
    let modified = std::fs::metadata(path).and_then(|facts| facts.modified()).ok();
    let since = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    if let Some(since) = since {
        shown.facts.push(("modified", Value::Moment(since.as_secs() as i64)));
    }
    Ok(shown)
}
