//! Which crates a compile can reach, and whether one of them is a proc macro.
//!
//! 1. rustc loads the crates that externs name, and what those were compiled with: it finds that by
//!    name and hash in the directories of dependencies. Beside them it finds crates in directories
//!    behind `-L crate=` and `-L all=`, whose contents are in the key, and those of the toolchain.
//! 2. Whenever larder sees a crate made, it remembers under the contents of the library, and of the
//!    metadata, which crates stand behind it: [`Known`]. What a crate was made with is part of its
//!    contents, so this never becomes wrong. Metadata are remembered before cargo hears of them,
//!    because then it starts the next crate.
//! 3. Of a crate that is not remembered nobody knows what stands behind it. Then a macro may be
//!    reached if a shared object stands in any directory that is searched.
//! 4. A shared object counts as a macro. What it was made of stands in it.
//! 5. An extern that no source names counts as well: too much is only asked for.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use larder_engine::{Entry, Put, RecordKind, Section, SectionKind};

use super::super::Session;
use super::super::records::read_known;
use super::Job;
use super::coding::{put_number, put_text, take, take_number, take_text};
use crate::digest::Digest;
use crate::files::Facts;
use crate::rust::arguments::Crate;
use crate::rust::key::crate_key;

const MAGIC: &[u8; 4] = b"LRC1";
const HAS_MACROS: u8 = 1;
const IS_WHOLE: u8 = 2;
/// Crates behind one crate; more is not remembered.
const CRATES_MAX: usize = 4096;

/// The endings of a crate in the order of preference.
pub(super) const ANY: &[&str] = &["rmeta", "rlib", "so"];
/// The ending of what is bundled.
pub(super) const LIBRARY: &[&str] = &["rlib"];

/// What stands behind a crate.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Known {
    /// A proc macro is among it, or may be.
    has_macros: bool,
    /// All of it is known.
    is_whole: bool,
    /// Its files, without directories and endings.
    crates: BTreeSet<Vec<u8>>,
}

/// What a compile can reach.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reach {
    /// A proc macro may run.
    pub(super) has_macros: bool,
    /// Every crate is known.
    pub(super) is_whole: bool,
    /// Crates that the command line names.
    named: BTreeSet<Vec<u8>>,
    /// Crates behind them that it does not name.
    behind: BTreeSet<Vec<u8>>,
}

impl Reach {
    /// What the crate can reach, as far as that is remembered.
    pub(super) fn of(session: &Session<'_>, job: &Job) -> Reach {
        let read = |digest: &Digest| {
            let key = crate_key(digest);
            let bytes = read_known(session, &key, RecordKind::Blob, SectionKind::Data)?;
            Known::decode(&bytes)
        };
        let guess = || has_shared_object(&job.made);
        Reach::with(job.crates(), job.toolchain.has_macros, read, guess)
    }

    fn with<'a>(
        crates: impl Iterator<Item = (&'a Path, &'a Digest)>,
        has_macros: bool,
        known: impl Fn(&Digest) -> Option<Known>,
        guess: impl Fn() -> bool,
    ) -> Reach {
        let (named, behind) = (BTreeSet::new(), BTreeSet::new());
        let mut reach = Reach { has_macros, is_whole: true, named, behind };
        let mut is_any_unknown = false;
        for (path, digest) in crates {
            reach.named.extend(stem(path));
            if is_shared_object(path) {
                reach.has_macros = true;
                continue;
            }
            match known(digest) {
                Some(known) => {
                    reach.has_macros |= known.has_macros;
                    reach.is_whole &= known.is_whole;
                    reach.behind.extend(known.crates);
                }
                None => is_any_unknown = true,
            }
        }
        if is_any_unknown {
            reach.is_whole = false;
            reach.has_macros = reach.has_macros || guess();
        }
        reach
    }

    /// The names of the crates behind the named ones. Where a crate is wanted by its hash, rustc
    /// does not look at the file that an extern names unless it has loaded it before.
    pub(super) fn behind(&self) -> impl Iterator<Item = &[u8]> {
        self.behind.iter().map(Vec::as_slice)
    }

    /// Those of them that the command line does not name.
    fn unnamed(&self) -> impl Iterator<Item = &[u8]> {
        self.behind.difference(&self.named).map(Vec::as_slice)
    }

    /// What is to be remembered of a crate that was compiled with this, under the digest of its
    /// contents.
    pub(super) fn entry(&self, contents: &Digest) -> Entry<'static> {
        let known = Known {
            has_macros: self.has_macros,
            is_whole: self.is_whole,
            crates: self.named.union(&self.behind).cloned().collect(),
        };
        let section = Section::new(SectionKind::Data, known.encode());
        Entry::new(crate_key(contents), RecordKind::Blob, vec![section])
    }

    /// Remembers what stands behind metadata that rustc has just written; not if something that
    /// they were made of has changed since this process began. Whether they are remembered.
    pub(super) fn remember(&self, session: &Session<'_>, job: &Job, metadata: &Path) -> bool {
        let is_old = |(path, _): (&Path, &Digest)| {
            let facts = session.digests.directories().facts(path);
            facts.is_ok_and(|facts| facts.changed_ns() < session.call.started_ns)
        };
        if session.store.is_read_only() || !job.crates().all(is_old) {
            return false;
        }
        let Ok(contents) = session.digests.digest(metadata) else { return false };
        matches!(session.store.put(&self.entry(&contents)), Ok(Put::Stored))
    }
}

impl Known {
    /// `magic flags count [length name]`
    fn encode(&self) -> Vec<u8> {
        let is_whole = self.is_whole && self.crates.len() <= CRATES_MAX;
        let mut bytes = MAGIC.to_vec();
        let flags = [(self.has_macros, HAS_MACROS), (is_whole, IS_WHOLE)];
        bytes.push(flags.iter().filter(|(is, _)| *is).map(|(_, bit)| bit).sum());
        let crates = self.crates.iter().take(CRATES_MAX);
        put_number(&mut bytes, crates.len());
        crates.for_each(|name| put_text(&mut bytes, name));
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Known> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let flags = take(&mut rest, 1)?[0];
        let mut crates = BTreeSet::new();
        for _ in 0..take_number(&mut rest)? {
            crates.insert(take_text(&mut rest)?.to_vec());
        }
        let is = |bit: u8| flags & bit != 0;
        let known = Known { has_macros: is(HAS_MACROS), is_whole: is(IS_WHOLE), crates };
        rest.is_empty().then_some(known)
    }
}

/// A file's name without its ending.
fn stem(path: &Path) -> Option<Vec<u8>> {
    Some(path.file_stem()?.as_bytes().to_vec())
}

/// Whether this may be a proc macro.
fn is_shared_object(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("so"))
}

/// Whether a file is one that rustc takes for a crate.
pub(super) fn is_crate(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ["rlib", "rmeta", "so"].iter().any(|e| ending == *e))
}

/// Whether a proc macro may stand somewhere.
fn has_shared_object(made: &Crate) -> bool {
    made.search_paths.iter().any(|place| {
        let entries = fs::read_dir(&place.path).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| is_shared_object(&entry.path()))
    })
}

/// Directories in which rustc looks for what stands behind crates.
fn places(made: &Crate) -> impl Iterator<Item = &Path> {
    let places = made.search_paths.iter();
    let places = places.filter(|place| matches!(place.kind.as_str(), "dependency" | "all"));
    places.map(|place| place.path.as_path())
}

/// The contents of a crate wherever it stands; `None` if it does nowhere. Metadata are the same
/// crate as the library beside them.
fn contents(
    session: &Session<'_>,
    made: &Crate,
    name: &[u8],
    endings: &[&str],
) -> Option<Vec<Digest>> {
    let mut found = Vec::new();
    for place in places(made) {
        let file = |ending: &&str| {
            let name = [name, b".", ending.as_bytes()].concat();
            session.digests.digest(&place.join(OsString::from_vec(name))).ok()
        };
        found.extend(endings.iter().find_map(file));
    }
    (!found.is_empty()).then_some(found)
}

/// What stands at the crates with these names, one after the other.
pub(super) fn digest<'a>(
    session: &Session<'_>,
    made: &Crate,
    names: impl Iterator<Item = &'a [u8]>,
    endings: &[&str],
) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for name in names {
        add(&mut hasher, &contents(session, made, name, endings).unwrap_or_default());
    }
    *hasher.finalize().as_bytes()
}

fn add(hasher: &mut blake3::Hasher, found: &[Digest]) {
    hasher.update(&[u8::try_from(found.len()).unwrap_or(u8::MAX)]);
    for digest in found {
        hasher.update(digest);
    }
}

/// The names of all crates that who bundles them looks for by itself: libraries, and proc macros,
/// of which there is only a shared object. `None` if one of them cannot be told.
pub(super) fn bundled<'a>(
    session: &Session<'_>,
    job: &'a Job,
    reach: &'a Reach,
) -> Option<Vec<&'a [u8]>> {
    let made = &job.made;
    let has = |name: &[u8], ending| contents(session, made, name, &[ending]).is_some();
    let is_old = |name: &[u8]| {
        let name = OsString::from_vec([name, b".rlib"].concat());
        places(made).filter_map(|place| Facts::at(&place.join(&name)).ok()).all(|facts| {
            // What is written while it is read may be anything.
            facts.changed_ns() < session.call.started_ns
        })
    };
    let mut names = Vec::new();
    for (path, _) in job.crates() {
        match path.extension().map(OsStr::as_bytes) {
            Some(b"rlib") => {}
            // A library beside it would be taken, and what that needs is not known.
            Some(b"so") if !path.with_extension("rlib").exists() => {}
            _ => return None,
        }
    }
    for name in reach.unnamed() {
        if !has(name, "rlib") && !has(name, "so") || !is_old(name) {
            return None;
        }
        names.push(name);
    }
    reach.is_whole.then_some(names)
}

/// Those of the names that are found, and their [`digest`]. rustc has not looked for others, or
/// under other names.
pub(super) fn found<'a>(
    session: &Session<'_>,
    made: &Crate,
    names: impl Iterator<Item = &'a [u8]>,
    endings: &[&str],
) -> (Vec<&'a [u8]>, Digest) {
    let mut hasher = blake3::Hasher::new();
    let mut known = Vec::new();
    for name in names {
        if let Some(found) = contents(session, made, name, endings) {
            add(&mut hasher, &found);
            known.push(name);
        }
    }
    (known, *hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn known(has_macros: bool, is_whole: bool, crates: &[&str]) -> Known {
        let crates = crates.iter().map(|name| name.as_bytes().to_vec()).collect();
        Known { has_macros, is_whole, crates }
    }

    /// Externs with one digit each; what is remembered of 1, 2 and 3.
    fn reach(externs: &[(&str, u8)], guess: bool) -> Reach {
        let digests: Vec<(PathBuf, Digest)> =
            externs.iter().map(|(path, digit)| (path.into(), [*digit; 32])).collect();
        let crates = digests.iter().map(|(path, digest)| (path.as_path(), digest));
        let read = |digest: &Digest| match digest[0] {
            1 => Some(known(false, true, &[])),
            2 => Some(known(true, true, &["libm-1", "libone-1"])),
            3 => Some(known(false, false, &["libone-1"])),
            _ => None,
        };
        Reach::with(crates, false, read, || guess)
    }

    #[test]
    fn macros_are_reached_through_what_is_remembered() {
        for (externs, guess, has_macros, is_whole) in [
            (&[][..], true, false, true),
            (&[("d/libone-1.rmeta", 1)], true, false, true),
            (&[("d/libone-1.rmeta", 1), ("d/libtwo-1.rlib", 2)], false, true, true),
            (&[("d/libm-1.so", 9)], false, true, true),
            (&[("d/libthree-1.rmeta", 3)], true, false, false),
            (&[("d/libother-1.rmeta", 9)], true, true, false),
            (&[("d/libother-1.rmeta", 9)], false, false, false),
        ] {
            let reach = reach(externs, guess);
            assert_eq!((reach.has_macros, reach.is_whole), (has_macros, is_whole), "{externs:?}");
        }
    }

    #[test]
    fn what_stands_behind_is_named_once() {
        let reach = reach(&[("d/libone-1.rmeta", 1), ("d/libtwo-1.rlib", 2)], false);
        assert_eq!(reach.behind().collect::<Vec<_>>(), [&b"libm-1"[..], b"libone-1"]);
        assert_eq!(reach.unnamed().collect::<Vec<_>>(), [b"libm-1"]);
        assert_eq!(reach.entry(&[7; 32]).key, crate_key(&[7; 32]));
    }

    #[test]
    fn decode_is_the_inverse_of_encode_and_damage_is_nothing() {
        for one in [known(false, true, &[]), known(true, false, &["libm-1", "libone-1"])] {
            let bytes = one.encode();
            assert_eq!(Known::decode(&bytes), Some(one));
            (0..bytes.len()).for_each(|length| assert_eq!(Known::decode(&bytes[..length]), None));
        }
        let names: Vec<String> = (0..CRATES_MAX + 1).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let decoded = Known::decode(&known(false, true, &names).encode()).unwrap();
        assert_eq!((decoded.is_whole, decoded.crates.len()), (false, CRATES_MAX));
    }
}
