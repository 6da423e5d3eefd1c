//! Checkouts that share crates: how paths below a base directory count, and what rustc is told to
//! call them.
//!
//! 1. rustc gets `--remap-path-prefix DIRECTORY=NAME` for each directory from the base directory
//!    down to the working directory, whose name is `.`, that above it `..`, and so on. Of several
//!    that fit a path rustc takes the last one, so words of the caller stand behind these.
//! 2. A path below the base directory then shows as it is named from the working directory. So the
//!    key has it in that form, with [`MARK`] before it, and not the working directory.
//! 3. Words of the caller alone will do, if they map the working directory and nothing above the
//!    base directory. What they leave of the names between counts.
//! 4. Whatever else shows the base directory keeps a crate in its checkout: a word of the command
//!    line here, what is read and made by [`DIRECTORY`](super::coded::DIRECTORY) in the manifest.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::arguments::Crate;
use crate::place::{MARK, Place};

/// The option.
const REMAP: &str = "--remap-path-prefix";
/// What limits it to some kinds of output.
const SCOPE: &str = "--remap-path-scope";
/// What a path in a dependency file begins with that stands below the base directory. No name that
/// rustc writes begins with it.
const BELOW: u8 = 1;

/// A crate whose key has no path of its checkout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkout {
    place: Place,
    /// Prefixes that are mapped.
    mapped: Vec<PathBuf>,
    source: Vec<u8>,
}

/// What rustc is told; nothing where a directory is not UTF-8.
pub fn words(place: &Place) -> Vec<String> {
    let mut words = Vec::new();
    for directory in place.directory().ancestors().take_while(|at| at.starts_with(place.root())) {
        let name = place.relative(directory.as_os_str().as_bytes());
        let name = name.and_then(|name| String::from_utf8(name).ok());
        let (Some(directory), Some(name)) = (directory.to_str(), name) else { return Vec::new() };
        words.push(format!("{REMAP}={directory}={name}"));
    }
    words.reverse();
    words
}

impl Checkout {
    /// The checkout of a call that is given `words` before its own ones. It changes what counts as
    /// text of these: the prefixes.
    ///
    /// # Errors
    /// Why the crate counts with its working directory.
    pub fn of(place: Place, made: &mut Crate, words: &[String]) -> Result<Checkout, String> {
        let scoped = made.key_words.iter().any(|word| word == SCOPE);
        if scoped {
            return Err(format!("{SCOPE} leaves some paths as they are"));
        }
        let own: Vec<(String, String)> = words.iter().filter_map(|word| map_of(word)).collect();
        let mapped = own.iter().chain(&made.remaps).map(|(from, _)| PathBuf::from(from));
        let mapped: Vec<PathBuf> = mapped.collect();
        if let Some(from) = mapped.iter().find(|from| is_above(from, place.root())) {
            return Err(format!("{REMAP} maps {}, which is above it", from.display()));
        }
        let mut checkout = Checkout { place, mapped, source: Vec::new() };
        if !checkout.is_mapped(checkout.place.directory()) {
            return Err("nothing maps the working directory".to_owned());
        }
        let source = made.source.as_os_str().as_bytes();
        checkout.source = checkout
            .name(&made.source)
            .map(|name| [&[MARK][..], &name].concat())
            .or_else(|| (!checkout.shows_in(source)).then(|| source.to_vec()))
            .ok_or_else(|| format!("{} shows it", made.source.display()))?;
        let mut key_words = Vec::with_capacity(made.key_words.len() + 2 * own.len());
        for (from, to) in &own {
            key_words.extend([REMAP.to_owned(), checkout.map_word(from, to, true)?]);
        }
        let mut is_map = false;
        for word in &made.key_words {
            let word = match map_of(word).filter(|_| is_map) {
                Some((from, to)) => checkout.map_word(&from, &to, false)?,
                None if checkout.shows_in(word.as_bytes()) => {
                    return Err(format!("{word} shows it"));
                }
                None => word.clone(),
            };
            is_map = word == REMAP;
            key_words.push(word);
        }
        made.key_words = key_words;
        Ok(checkout)
    }

    /// The name of the source in the key.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// The working directory.
    pub fn directory(&self) -> &Path {
        self.place.directory()
    }

    /// Whether a text shows the base directory.
    pub fn shows_in(&self, text: &[u8]) -> bool {
        self.place.shows_in(text)
    }

    /// A path of a manifest: what is below the base directory is named from the working directory.
    pub fn shared(&self, path: &Path) -> Option<PathBuf> {
        self.place.shared(path)
    }

    /// Whether rustc shows a file under a name that is the same in every checkout.
    pub fn is_shown_alike(&self, path: &Path) -> bool {
        !self.shows_in(path.as_os_str().as_bytes()) || self.name(path).is_some()
    }

    /// A dependency file for the manifest: paths below the base directory are named from the
    /// working directory.
    pub fn generic(&self, listed: &[u8]) -> Vec<u8> {
        each_word(listed, |word| {
            let (path, colon) = split_colon(word);
            let relative = self.place.relative(&unescaped(path))?;
            Some([&[BELOW][..], &escaped(&relative), colon].concat())
        })
    }

    /// The inverse, here.
    pub fn specific(&self, listed: &[u8]) -> Vec<u8> {
        each_word(listed, |word| {
            let (path, colon) = split_colon(word.strip_prefix(&[BELOW])?);
            Some([&escaped(&self.place.absolute(&unescaped(path)))[..], colon].concat())
        })
    }

    /// What a path below the base directory is called, if that is mapped.
    fn name(&self, path: &Path) -> Option<Vec<u8>> {
        let name = self.place.relative(path.as_os_str().as_bytes())?;
        self.is_mapped(path).then_some(name)
    }

    fn is_mapped(&self, path: &Path) -> bool {
        self.mapped.iter().any(|from| path.starts_with(from))
    }

    /// A map as it counts. What larder maps itself is mapped to its name from the working
    /// directory; of other maps the names of directories below may remain.
    fn map_word(&self, from: &str, to: &str, is_own: bool) -> Result<String, String> {
        if self.shows_in(to.as_bytes()) {
            return Err(format!("{REMAP} shows it: {to}"));
        }
        let relative = self.place.relative(from.as_bytes()).map(OsString::from_vec);
        let Some(relative) = relative.and_then(|name| name.into_string().ok()) else {
            return match self.shows_in(from.as_bytes()) {
                true => Err(format!("{REMAP} maps {from}")),
                false => Ok(format!("{from}={to}")),
            };
        };
        let below = self.place.directory().strip_prefix(from).unwrap_or(Path::new(""));
        let below = if is_own { "" } else { below.to_str().ok_or("it is not UTF-8")? };
        let mark = char::from(MARK);
        Ok(format!("{mark}{relative}{mark}{below}={to}"))
    }
}

/// The two halves of a map, with the option before it or alone.
fn map_of(word: &str) -> Option<(String, String)> {
    let map = word.strip_prefix(REMAP).and_then(|rest| rest.strip_prefix('=')).unwrap_or(word);
    let (from, to) = map.rsplit_once('=')?;
    Some((from.to_owned(), to.to_owned()))
}

fn is_above(from: &Path, root: &Path) -> bool {
    root != from && root.starts_with(from)
}

/// A dependency file with other words, where `other` has one. Comments stay.
fn each_word(listed: &[u8], other: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut text = Vec::with_capacity(listed.len());
    for line in listed.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b"#") {
            text.extend_from_slice(line);
            continue;
        }
        let mut rest = line;
        while !rest.is_empty() {
            let is_end = |at: &usize| {
                rest[*at] == b'\n' || rest[*at] == b' ' && (*at == 0 || rest[*at - 1] != b'\\')
            };
            let end = (0..rest.len()).find(is_end).unwrap_or(rest.len());
            let (word, tail) = rest.split_at(end);
            text.extend(other(word).unwrap_or_else(|| word.to_vec()));
            let separator = tail.len().min(1);
            text.extend_from_slice(&tail[..separator]);
            rest = &tail[separator..];
        }
    }
    text
}

fn split_colon(word: &[u8]) -> (&[u8], &[u8]) {
    word.split_at(word.strip_suffix(b":").unwrap_or(word).len())
}

/// A path as it stands in a dependency file.
fn escaped(path: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(path.len());
    for byte in path {
        if *byte == b' ' {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text
}

fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(word.len());
    for (at, byte) in word.iter().enumerate() {
        if *byte != b'\\' || word.get(at + 1) != Some(&b' ') {
            path.push(*byte);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::super::arguments::parse;
    use super::*;

    fn place(root: &str, directory: &str) -> Place {
        Place::of(&[root.into()], Path::new(directory)).unwrap()
    }

    fn made(line: &str) -> Crate {
        let line = format!("--crate-name p --crate-type lib --out-dir /o {line}");
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        parse(&words).unwrap()
    }

    /// What counts of a call: its words and the name of its source.
    fn counts(place: Place, is_on: bool, line: &str) -> Result<(Vec<String>, Vec<u8>), String> {
        let mut made = made(line);
        let words = if is_on { words(&place) } else { Vec::new() };
        let checkout = Checkout::of(place, &mut made, &words)?;
        Ok((made.key_words, checkout.source().to_vec()))
    }

    #[test]
    fn every_directory_down_to_the_working_directory_is_mapped() {
        assert_eq!(
            words(&place("/w", "/w/one/x")),
            ["/w=../..", "/w/one=..", "/w/one/x=."].map(|map| format!("{REMAP}={map}"))
        );
        assert_eq!(words(&place("/w", "/w")), [format!("{REMAP}=/w=.")]);
        let odd = OsStr::from_bytes(b"/w/\xFF");
        let place = Place::of(&["/w".into()], Path::new(odd)).unwrap();
        assert_eq!(words(&place), Vec::<String>::new());
    }

    #[test]
    fn checkouts_count_alike_and_nothing_else_does() {
        let one = |line: &str| counts(place("/w", "/w/one"), true, line);
        let two = |line: &str| counts(place("/w", "/w/two"), true, line);
        for (in_one, in_two) in [
            ("a/src/lib.rs", "a/src/lib.rs"),
            ("/w/one/a.rs", "/w/two/a.rs"),
            ("/w/lib/a.rs", "/w/lib/a.rs"),
            ("a.rs --remap-path-prefix /w/one=x", "a.rs --remap-path-prefix=/w/two=x"),
        ] {
            assert_eq!(one(in_one).unwrap(), two(in_two).unwrap());
        }
        let mut seen = std::collections::BTreeSet::new();
        for line in [
            "a.rs",
            "/w/one/a.rs",
            "/w/two/a.rs",
            "/elsewhere/a.rs",
            "a.rs --remap-path-prefix /w/one=x",
            "a.rs --remap-path-prefix /w/one=y",
            "a.rs --remap-path-prefix /w=x",
            "a.rs --remap-path-prefix /w/one/sub=x",
        ] {
            assert!(seen.insert(one(line).unwrap()), "{line}");
        }
        assert_ne!(one("a.rs").unwrap(), counts(place("/w", "/w/a/b"), true, "a.rs").unwrap());
    }

    #[test]
    fn what_shows_the_checkout_keeps_a_crate_there() {
        for line in [
            "a.rs --remap-path-scope macro",
            "a.rs --cfg path=\"/w/one\"",
            "a.rs --remap-path-prefix x=/w/one",
            "a.rs --remap-path-prefix /=/x",
            "a.rs --remap-path-prefix =/x",
            "a.rs -C link-arg=-L/w/one/lib",
            "/w/./one/a.rs",
        ] {
            counts(place("/w", "/w/one"), true, line).unwrap_err();
        }
    }

    #[test]
    fn words_of_the_caller_will_do_if_they_map_the_directory() {
        let of = |directory: &str, line: &str| counts(place("/w", directory), false, line);
        let map = "a.rs --remap-path-prefix";
        assert_eq!(
            of("/w/one", &format!("{map} /w/one=.")).unwrap(),
            of("/w/two", &format!("{map} /w/two=.")).unwrap()
        );
        // `x/sub` is not `x/other`.
        assert_ne!(
            of("/w/one/sub", &format!("{map} /w/one=x")).unwrap(),
            of("/w/one/other", &format!("{map} /w/one=x")).unwrap()
        );
        for line in
            ["a.rs", "a.rs --remap-path-prefix /w/one/sub=.", "a.rs --remap-path-prefix a=b"]
        {
            of("/w/one", line).unwrap_err();
        }
        // What it leaves is not the same everywhere.
        of("/w/one", "/w/lib/a.rs --remap-path-prefix /w/one=.").unwrap_err();
    }

    #[test]
    fn a_dependency_file_is_written_for_the_checkout_that_asks() {
        let text = "/o/p.d: /w/one/a.rs src/b.rs /w/one/with\\ blank.rs /x/c.rs /w/lib/d.rs\n\n\
                    /w/one/a.rs:\n/w/one/with\\ blank.rs:\n# env-dep:A=/w/one/a.rs\n";
        let at = |directory: &str| {
            let place = place("/w", directory);
            let words = words(&place);
            Checkout::of(place, &mut made("a.rs"), &words).unwrap()
        };
        let generic = at("/w/one").generic(text.as_bytes());
        assert_eq!(at("/w/one").specific(&generic), text.as_bytes());
        let there = text.replace("/w/one/", "/w/two/").replace("A=/w/two", "A=/w/one");
        assert_eq!(at("/w/two").specific(&generic), there.as_bytes());
    }
}
