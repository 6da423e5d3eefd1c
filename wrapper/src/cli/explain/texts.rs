//! The lines of a file that differ, where both texts are at hand.
//!
//! A text counts only if its digest is the one that the key has: the file as it stands, what
//! `explain_sources` has kept, or one of the last versions that git has of it. So what is shown is
//! what the compiler has read, never something like it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use larder_engine::Store;

use crate::account::compare::Difference;
use crate::account::{Account, lines, plain_path};
use crate::digest::Digest;
use crate::fingerprint::text_key;

/// Commits of a file that are looked through.
const COMMITS_MAX: usize = 20;
/// Larger texts are not compared.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// Lines that are shown of one file.
const LINES_MAX: usize = 8;

/// Lines that differ.
pub struct Shown {
    /// Sign, number, text.
    pub lines: Vec<(char, usize, String)>,
    /// How many differ beside these.
    pub more: usize,
    /// Where the earlier text was found; `None` if it was not, and there are no lines.
    pub from: Option<&'static str>,
}

/// The lines of the file of a difference; `None` where it is about no change of a text.
pub fn lines(
    store: &Store,
    difference: &Difference,
    older: &Account,
    newer: &Account,
) -> Option<Shown> {
    let file = difference.file.as_ref()?;
    let (old_digest, new_digest) = (difference.older?, difference.newer?);
    let own = plain_path(&newer.directory, file);
    // What another checkout has compiled stands there; the source has an absolute name.
    let other = match *file == newer.source {
        true => older.source.clone(),
        false => plain_path(&older.directory, file),
    };
    let places = [own, other];
    let old = text_of(store, &old_digest, &places);
    let new = text_of(store, &new_digest, &places);
    let (Some((old, from)), Some((new, _))) = (old, new) else {
        return Some(Shown { lines: Vec::new(), more: 0, from: None });
    };
    let differing = lines::differing(&old, &new);
    let all = differing.len();
    let shown = differing.into_iter().take(LINES_MAX);
    let sign = |is_added| if is_added { '+' } else { '-' };
    let shown: Vec<_> =
        shown.map(|line| (sign(line.is_added), line.number, line.text.to_owned())).collect();
    Some(Shown { more: all - shown.len(), lines: shown, from: Some(from) })
}

/// The text of a digest, and where it was found.
fn text_of(store: &Store, digest: &Digest, places: &[PathBuf]) -> Option<(String, &'static str)> {
    let is_it =
        |text: &Vec<u8>| text.len() <= TEXT_BYTES_MAX && blake3::hash(text).as_bytes() == digest;
    let on_disk = || places.iter().filter_map(|path| fs::read(path).ok()).find(is_it);
    let kept = || store.get(&text_key(digest)).ok()??.read(0).ok().filter(is_it);
    let in_git = || places.iter().find_map(|path| versions(path).find(is_it));
    let found = on_disk().map(|text| (text, "the file"));
    let found = found.or_else(|| kept().map(|text| (text, "explain_sources")));
    let (text, from) = found.or_else(|| in_git().map(|text| (text, "git")))?;
    Some((String::from_utf8_lossy(&text).into_owned(), from))
}

/// What git has of a file: the index, then the commits that changed it, newest first.
fn versions(path: &Path) -> impl Iterator<Item = Vec<u8>> {
    let directory = path.parent().filter(|directory| directory.is_dir());
    let name = path.file_name().unwrap_or_default().to_owned();
    let git = move |words: &[&std::ffi::OsStr]| -> Option<Vec<u8>> {
        let mut command = Command::new("git");
        command.arg("-C").arg(directory?).args(words).stdin(Stdio::null()).stderr(Stdio::null());
        // A build may be at work there.
        command.env("GIT_OPTIONAL_LOCKS", "0");
        let output = command.output().ok()?;
        output.status.success().then_some(output.stdout)
    };
    let count = format!("-n{COMMITS_MAX}");
    let log = ["log".as_ref(), count.as_ref(), "--format=%H".as_ref(), "--".as_ref(), &*name];
    let commits = git(&log).unwrap_or_default();
    let commits = String::from_utf8_lossy(&commits).into_owned();
    let mut revisions = vec![String::new()];
    revisions.extend(commits.lines().map(str::to_owned));
    revisions.into_iter().filter_map(move |revision| {
        let mut object = std::ffi::OsString::from(format!("{revision}:./"));
        object.push(&name);
        git(&["cat-file".as_ref(), "blob".as_ref(), &*object])
    })
}
