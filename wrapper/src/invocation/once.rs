//! Headers that gcc did not read because it had read the same one before.
//!
//! After `#pragma once` gcc leaves out every file with the same contents and time, under whatever
//! name, and its list has the first name only (measured with 12; clang lists all). When the file
//! behind another name changes, it is read. So the files that an `#include` leads to (see
//! `probed`) and that were not read are inputs, too, if they have the contents of one that may be
//! read once only.
//!
//! Where an `#include` has its name from a macro, so do those that any macro's value may lead to.
//!
//! Not seen: a name that a macro puts together, and that times or links change while all contents
//! stay the same.

use std::path::PathBuf;

use super::Session;
use crate::digest::Seen;

/// The files among `unread` that may have been left out for one of `once`. A precompiled header may
/// have had any text.
pub(super) fn left_out(
    session: &Session<'_>,
    once: &[&Seen],
    unread: Vec<PathBuf>,
    has_precompiled: bool,
) -> Vec<PathBuf> {
    if once.is_empty() && !has_precompiled {
        return Vec::new();
    }
    let is_same = |path: &PathBuf| {
        let facts = session.digests.directories().facts(path);
        let mut same =
            once.iter().filter(|once| facts.as_ref().is_ok_and(|f| f.bytes == once.bytes));
        // The contents of what has another length need not be looked at.
        same.next().is_some_and(|first| {
            let digest = session.digests.look(path).ok().map(|seen| seen.digest);
            digest.is_some_and(|digest| {
                digest == first.digest || same.any(|once| digest == once.digest)
            })
        })
    };
    unread.into_iter().filter(|path| has_precompiled || is_same(path)).collect()
}
