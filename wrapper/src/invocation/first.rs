//! Which includes of a source gcc may look for a precompiled form of.
//!
//! gcc reads `x.h.gch` in place of `x.h` only for the first file that is included, by an option or
//! by the source itself (since 4.8; measured with 12: it asks for no other one). A text does not
//! tell which of its includes come first, because groups may be skipped; the list of what was read
//! does. No include behind those that lead to the first file of the list can have been the first.
//!
//! Where that is not certain all includes of the source count: an option includes something, a
//! macro gives a name, a search goes on behind its directory, the source includes itself or what
//! the compiler includes by itself, or the compiler may be an old one.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::compiler::Compile;
use crate::search::SearchPath;

/// What every source includes without saying so.
const IMPLICIT: &str = "stdc-predef.h";

/// The first version of gcc that is trusted to look for the first include only.
const VERSION_MIN: u32 = 5;

/// What may have been included first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct First {
    /// How many of the source's includes, from its beginning.
    pub(super) asks: usize,
    /// How many of the files that were read, in the order in which they were.
    pub(super) inputs: usize,
}

impl Default for First {
    /// All of them.
    fn default() -> First {
        First { asks: usize::MAX, inputs: usize::MAX }
    }
}

impl First {
    /// `leads` has for each include of the source where in the list of what was read the file
    /// stands that it leads to; `inputs` is that list.
    pub(super) fn of<'a>(
        leads: &[Option<usize>],
        inputs: impl Iterator<Item = &'a Path>,
        source: &Path,
    ) -> First {
        let own: Vec<usize> = inputs
            .enumerate()
            .filter(|(_, path)| is_own(path, source))
            .map(|(position, _)| position)
            .collect();
        let is_own = |lead: &Option<usize>| lead.is_some_and(|at| own.contains(&at));
        let Some(first) = leads.iter().flatten().min() else { return First::default() };
        if leads.iter().any(is_own) {
            return First::default();
        }
        let last = leads.iter().rposition(|lead| lead.as_ref() == Some(first));
        First { asks: last.map_or(usize::MAX, |at| at + 1), inputs: first + 1 }
    }
}

/// Whether a file is read before the first include, so that including it tells nothing.
fn is_own(path: &Path, source: &Path) -> bool {
    path == source || path.file_name().is_some_and(|name| name == IMPLICIT)
}

/// Whether only the first file that this call includes can have been read in another form, and the
/// list of what was read shows which one it was.
pub(super) fn counts_alone(compile: &Compile, search: &SearchPath) -> bool {
    let of_compiler = |path: &Path| {
        let mut parts = path.components().rev().map(|part| part.as_os_str().as_bytes());
        let (Some(b"include"), Some(version)) = (parts.next(), parts.next()) else { return None };
        parts.next()?;
        matches!(parts.next()?, b"gcc" | b"gcc-cross").then(|| major(version)).flatten()
    };
    let version = search.bracket.iter().find_map(|path| of_compiler(path));
    version.is_some_and(|version| version >= VERSION_MIN) && compile.forced_headers().is_empty()
}

fn major(version: &[u8]) -> Option<u32> {
    let digits = version.split(|byte| *byte == b'.').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compiler::{Family, parse};
    use std::ffi::OsString;
    use std::path::PathBuf;

    #[test]
    fn what_stands_behind_the_first_one_that_was_read_does_not_count() {
        let read = ["a.c", "/usr/include/stdc-predef.h", "one.h", "two.h"].map(Path::new);
        let of = |leads: &[Option<usize>]| First::of(leads, read.into_iter(), Path::new("a.c"));
        let first = |asks, inputs| First { asks, inputs };
        assert_eq!(of(&[Some(2), Some(3)]), first(1, 3));
        // Two names of one file, and others that lead to nothing or were skipped.
        assert_eq!(of(&[None, Some(3), Some(2), None, Some(2), Some(3)]), first(5, 3));
        // The second file was read first: what includes it may have been skipped, or precompiled.
        assert_eq!(of(&[None, Some(3)]), first(2, 4));
        // The source, what is read anyway, nothing that was read, nothing at all.
        for leads in [&[Some(0), Some(2)][..], &[Some(2), Some(1)], &[None, None], &[]] {
            assert_eq!(of(leads), First::default(), "{leads:?}");
        }
    }

    #[test]
    fn an_old_compiler_may_look_for_all() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("t.c"), "").unwrap();
        let counts = |words: &str, own: &str| {
            let words: Vec<OsString> = words.split(' ').map(OsString::from).collect();
            let compile = parse(Family::Gcc, None, &words, dir.path()).unwrap();
            let bracket = ["i", own, "/usr/include"].map(PathBuf::from).to_vec();
            counts_alone(&compile, &SearchPath { bracket, ..SearchPath::default() })
        };
        for own in
            ["/usr/lib/gcc/x86_64-linux-gnu/12/include", "/o/lib/gcc/arm-none-eabi/5.4.1/include"]
        {
            assert!(counts("-c t.c", own), "{own}");
            assert!(!counts("-include x.h -c t.c", own));
        }
        for own in
            ["/usr/lib/gcc/x86_64-linux-gnu/4.7/include", "/opt/include", "/gcc/x/12/include-fixed"]
        {
            assert!(!counts("-c t.c", own), "{own}");
        }
    }
}
