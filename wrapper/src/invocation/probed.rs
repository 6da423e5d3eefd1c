//! What a compile looked for: names that were not there, and files that it only asked for.
//!
//! 1. The texts of all inputs say which names were looked for, and the search path where: a name in
//!    quotes beside the text and then along the path, one in angle brackets along the path. What
//!    stands before the place where the name was found is absent ([`Group`]).
//! 2. An `#include` that finds nothing was in a group that is skipped, or there would be no result.
//!    A `__has_include` that finds nothing was false: its name is absent everywhere. What it finds
//!    counts as an input, for gcc names it in no list.
//! 3. `#include_next` goes on behind the directory of its text: all that is found counts, and all
//!    places up to the last one.
//! 4. An input that no name explains came through a macro. Its path tells the name: what follows a
//!    directory of the search path.
//! 5. Directories of which only the name is known ([`SearchPath::aside`]) stand before all others.
//!    What is found through such a double of a directory of the system is an input under its name
//!    there, too, since the double may become another directory.
//! 6. Whatever is found must be older than T0, see `compile`: else it may not have been there when
//!    the compiler looked.
//!
//! Not seen: a file that gcc was asked for by `__has_include` only and that went away during the
//! compile; and what a macro names, where gcc prints a shorter path of a system header behind a
//! link.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::Session;
use super::asks::{Alias, Ask, Asks};
use crate::absent::Group;
use crate::compiler::{Compile, Family, split};
use crate::digest::Mentions;
use crate::files::{Directories, Facts};
use crate::manifest::Input;
use crate::outcome::{Counter, Reason};
use crate::search::{self, SearchPath};

/// What was looked for.
#[derive(Debug, Default)]
pub(super) struct Probed {
    /// Files that count as inputs.
    pub(super) found: Vec<PathBuf>,
    /// Names that were not there.
    pub(super) absent: Vec<Group>,
    /// A `__has_include` has its name from a macro.
    pub(super) has_unknown: bool,
}

/// What `compile` looked for, which read `inputs`, each with what it mentions.
///
/// # Errors
/// If that cannot be told, or something has changed since.
pub(super) fn look(
    session: &Session<'_>,
    compile: &Compile,
    search: &SearchPath,
    (inputs, mentions): (&[Input], &[Mentions]),
) -> Result<Probed, Reason> {
    if search.has_frameworks {
        let text = "frameworks are searched for headers";
        return Err(Reason::new(Counter::UnsupportedCompilerOption, text));
    }
    let mut walk = Walk::new(session, compile, search)?;
    let mut probed = Probed::default();
    let mut macro_places = BTreeSet::new();
    let texts = inputs
        .iter()
        .map(|Input { path, .. }| fs::read(path).map_err(|error| modified(path, &error)));
    let texts: Vec<Vec<u8>> = texts.collect::<Result<_, _>>()?;
    let (asked, aliases) = ask_all(&texts, mentions);
    // A macro of a precompiled header may ask in any text.
    probed.has_unknown = compile.precompiles() && !aliases.is_empty();
    for (input, asks) in inputs.iter().zip(&asked) {
        let path = input.path.as_path();
        probed.has_unknown |= asks.questions_by_macro;
        let place = walk.place(path.parent().unwrap_or(Path::new("")))?;
        if asks.includes_by_macro {
            macro_places.insert(place);
        }
        let is_source = path == compile.input;
        for ask in &asks.named {
            walk.take(ask, ask.is_quoted.then_some(place), is_source)?;
        }
    }
    walk.take_forced()?;
    let explained = std::mem::take(&mut walk.explained);
    for input in inputs.iter().filter(|input| input.path != compile.input) {
        let facts = walk.files.facts(&input.path).map_err(|error| modified(&input.path, &error))?;
        if !explained.contains(&(facts.device, facts.inode)) {
            walk.take_by_path(&input.path, &macro_places)?;
        }
    }
    probed.found = walk.found.iter().cloned().collect();
    probed.absent = walk.groups()?;
    Ok(probed)
}

/// What each text asks for, and the macros by which they do; for both, all texts count together.
fn ask_all<'a>(texts: &'a [Vec<u8>], mentions: &[Mentions]) -> (Vec<Asks<'a>>, BTreeSet<Alias>) {
    let mut aliases = BTreeSet::new();
    loop {
        let each = texts.iter().zip(mentions);
        let of = |(text, mentions): (&'a Vec<u8>, &Mentions)| {
            Asks::of(text, mentions.any(Mentions::HAS_INCLUDE), &aliases)
        };
        let asked: Vec<Asks<'_>> = each.map(of).collect();
        let found = asked.iter().flat_map(|asks| asks.aliases.iter().cloned());
        let all: BTreeSet<Alias> = aliases.iter().cloned().chain(found).collect();
        if all.len() == aliases.len() {
            return (asked, aliases);
        }
        aliases = all;
    }
}

/// A directory in which names are looked for.
struct Place {
    path: PathBuf,
    is_missing: bool,
    /// What is found here is an input.
    is_input: bool,
    /// (index of the place where the name was found, name)
    absent: Vec<(usize, Rc<[u8]>)>,
}

/// The search, done once more.
struct Walk<'a> {
    session: &'a Session<'a>,
    compile: &'a Compile,
    files: Directories,
    /// Whether there is a directory at a path.
    directories: HashMap<Vec<u8>, bool>,
    /// Those of the search path, aside first, and those of texts.
    places: Vec<Place>,
    by_path: HashMap<Vec<u8>, usize>,
    aside_count: usize,
    /// The places of the search path that only names in quotes are looked for in end here.
    quote_end: usize,
    /// And all others here.
    search_end: usize,
    /// What was followed already: the place of the text, what is asked, and the name.
    taken: HashSet<Vec<u8>>,
    /// Device and inode of every file that a name leads to.
    explained: HashSet<(u64, u64)>,
    found: BTreeSet<PathBuf>,
}

impl<'a> Walk<'a> {
    fn new(
        session: &'a Session<'a>,
        compile: &'a Compile,
        search: &SearchPath,
    ) -> Result<Walk<'a>, Reason> {
        let mut walk = Walk {
            compile,
            session,
            files: Directories::default(),
            directories: HashMap::new(),
            places: Vec::new(),
            by_path: HashMap::new(),
            aside_count: search.aside.len(),
            quote_end: search.aside.len() + search.quote.len(),
            search_end: search.aside.len() + search.quote.len() + search.bracket.len(),
            taken: HashSet::new(),
            explained: HashSet::new(),
            found: BTreeSet::new(),
        };
        let ordered: Vec<&PathBuf> = search.quote.iter().chain(&search.bracket).collect();
        let identity = |path: &Path| Facts::at(path).ok().map(|f| (f.device, f.inode));
        let known: Vec<_> = ordered.iter().map(|path| identity(path)).collect();
        for path in &search.aside {
            let own = identity(path);
            let double = known.iter().position(|known| own.is_some() && *known == own);
            let is_late = double.is_some_and(|at| search::is_early(compile, ordered[at]));
            walk.add(path, own.is_some() && !is_late)?;
        }
        for path in ordered {
            walk.add(path, false)?;
        }
        Ok(walk)
    }

    /// The place of texts in a directory.
    fn place(&mut self, path: &Path) -> Result<usize, Reason> {
        if let Some(place) = self.by_path.get(path.as_os_str().as_bytes()) {
            return Ok(*place);
        }
        let place = self.add(path, false)?;
        self.by_path.insert(path.as_os_str().as_bytes().to_vec(), place);
        Ok(place)
    }

    fn add(&mut self, path: &Path, is_input: bool) -> Result<usize, Reason> {
        let at = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let is_missing = match Facts::at(at) {
            Ok(facts) if facts.is_directory => {
                let started_ns = self.session.call.started_ns;
                let is_replaced = facts.ctime_ns() >= started_ns && facts.mtime_ns() < started_ns;
                let link = Facts::of_link(at).ok().filter(|(_, is_link)| *is_link);
                if is_replaced || link.is_some_and(|(link, _)| link.ctime_ns() >= started_ns) {
                    return Err(appeared(path));
                }
                false
            }
            // Compilers warn about it.
            Ok(_) => return Err(unclear(path, "is searched and is no directory")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(unclear(path, &error.to_string())),
        };
        self.places.push(Place {
            path: path.to_path_buf(),
            is_missing,
            is_input,
            absent: Vec::new(),
        });
        Ok(self.places.len() - 1)
    }

    /// The file that a name leads to in a place.
    fn probe(&mut self, place: usize, name: &[u8]) -> Result<Option<Facts>, Reason> {
        if self.places[place].is_missing {
            return Ok(None);
        }
        let path = self.places[place].path.join(OsStr::from_bytes(name));
        if name.contains(&b'/') {
            let parent = path.parent().unwrap_or(Path::new("/"));
            if !self.is_directory(parent) {
                return Ok(None);
            }
        }
        match self.files.facts(&path) {
            Ok(facts) if facts.is_directory => Ok(None),
            Ok(facts)
                if facts.changed_ns() >= self.session.call.started_ns
                    && !self.session.takes_changed(&path) =>
            {
                Err(appeared(&path))
            }
            Ok(facts) => Ok(Some(facts)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(unclear(&path, &error.to_string())),
        }
    }

    fn is_directory(&mut self, path: &Path) -> bool {
        if let Some(known) = self.directories.get(path.as_os_str().as_bytes()) {
            return *known;
        }
        let is_one = Facts::at(path).is_ok_and(|facts| facts.is_directory);
        self.directories.insert(path.as_os_str().as_bytes().to_vec(), is_one);
        is_one
    }

    /// Follows one name; `beside` is the place of the text where it is in quotes.
    fn take(
        &mut self,
        ask: &Ask<'_>,
        beside: Option<usize>,
        is_source: bool,
    ) -> Result<(), Reason> {
        let Ask { is_question, is_next, name, .. } = *ask;
        let is_source = is_source && !is_question;
        let kind = u8::from(is_question) | u8::from(is_next) << 1 | u8::from(is_source) << 2;
        let place = beside.map_or(0, |place| place as u32 + 1).to_le_bytes();
        let key = [&place[..], &[kind], name].concat();
        if name.is_empty() || !self.taken.insert(key) {
            return Ok(());
        }
        if name.starts_with(b"/") {
            return self.take_absolute(ask, is_source);
        }
        let mut places: Vec<usize> = beside.into_iter().collect();
        places.extend(0..self.aside_count);
        let first = if beside.is_some() { self.aside_count } else { self.quote_end };
        places.extend(first..self.search_end);
        let mut absent = Vec::new();
        let mut last = None;
        for place in places {
            match self.probe(place, name)? {
                None => absent.push(place),
                Some(facts) => {
                    self.explained.insert((facts.device, facts.inode));
                    let is_aside = place < self.aside_count;
                    if is_question || (is_aside && self.places[place].is_input) {
                        self.found.insert(self.places[place].path.join(OsStr::from_bytes(name)));
                    }
                    if !is_aside {
                        last = Some((place, absent.len()));
                        if !is_next {
                            break;
                        }
                    }
                }
            }
        }
        if last.is_none() && is_source && self.may_be_precompiled() {
            last = self.only_precompiled(name, &absent)?;
        }
        match last {
            // It stays true whatever else appears.
            Some(_) if is_question && !is_next => return Ok(()),
            Some((_, end)) if !is_question => absent.truncate(end),
            None if !is_question => return Ok(()),
            _ => {}
        }
        let rank = last.map_or(usize::MAX, |(place, _)| place);
        let shared: Rc<[u8]> = name.into();
        for place in &absent {
            self.places[*place].absent.push((rank, shared.clone()));
        }
        if is_source && self.may_be_precompiled() {
            self.take_precompiled(name, rank, absent.into_iter().chain(last.map(|(at, _)| at)))?;
        }
        Ok(())
    }

    /// Whether gcc would read a precompiled header; it makes one of text alone.
    fn may_be_precompiled(&self) -> bool {
        self.compile.family == Family::Gcc && !self.compile.precompiles()
    }

    /// The place where a precompiled form stands without its header, and how many come before it.
    fn only_precompiled(
        &mut self,
        name: &[u8],
        places: &[usize],
    ) -> Result<Option<(usize, usize)>, Reason> {
        let name = [name, b".gch"].concat();
        for (before, place) in places.iter().enumerate() {
            if self.probe(*place, &name)?.is_some() {
                return Ok(Some((*place, before)));
            }
        }
        Ok(None)
    }

    /// A precompiled form of what the source includes would be read in its place.
    fn take_precompiled(
        &mut self,
        name: &[u8],
        rank: usize,
        places: impl Iterator<Item = usize>,
    ) -> Result<(), Reason> {
        let name: Rc<[u8]> = [name, b".gch"].concat().into();
        for place in places {
            if self.probe(place, &name)?.is_none() {
                self.places[place].absent.push((rank, name.clone()));
            }
        }
        Ok(())
    }

    /// A name that is looked for in one place only.
    fn take_absolute(&mut self, ask: &Ask<'_>, is_source: bool) -> Result<(), Reason> {
        let root = self.place(Path::new("/"))?;
        let name = ask.name.iter().position(|byte| *byte != b'/').map(|start| &ask.name[start..]);
        let Some(name) = name else { return Ok(()) };
        match self.probe(root, name)? {
            Some(facts) => {
                self.explained.insert((facts.device, facts.inode));
                if ask.is_question {
                    self.found.insert(OsStr::from_bytes(ask.name).into());
                }
            }
            None if ask.is_question => {
                self.places[root].absent.push((usize::MAX, name.into()));
            }
            None => {}
        }
        if is_source && self.may_be_precompiled() {
            self.take_precompiled(name, usize::MAX, std::iter::once(root))?;
        }
        Ok(())
    }

    /// Headers that options include: looked for in the working directory first.
    fn take_forced(&mut self) -> Result<(), Reason> {
        let compile = self.compile;
        let here = self.place(Path::new(""))?;
        for words in split(compile.family, &compile.arguments) {
            let first = words[0].as_bytes();
            let rest = [&b"-include"[..], b"-imacros"].iter().find_map(|o| first.strip_prefix(*o));
            let name = match rest {
                Some(b"") => words.get(1).map_or(&b""[..], |word| word.as_bytes()),
                Some(name) if !name.starts_with(b"-") => name,
                _ => continue,
            };
            let ask = Ask { is_quoted: true, is_question: false, is_next: false, name };
            self.take(&ask, Some(here), true)?;
            if compile.family == Family::Clang && !name.starts_with(b"/") {
                for suffix in [&b".pch"[..], b".gch"] {
                    let name = [name, suffix].concat();
                    if self.probe(here, &name)?.is_none() {
                        self.places[here].absent.push((usize::MAX, name.into()));
                    }
                }
            }
        }
        Ok(())
    }

    /// An input that came through a macro, from a text in one of `beside`.
    fn take_by_path(&mut self, path: &Path, beside: &BTreeSet<usize>) -> Result<(), Reason> {
        let mut names = BTreeSet::new();
        for place in self.aside_count..self.search_end {
            let directory = self.places[place].path.clone();
            let name = plain(path).strip_prefix(plain(&directory)).map(Path::to_path_buf);
            names.extend(name);
            // gcc prints the shorter one of two paths.
            let real = fs::canonicalize(&directory);
            names.extend(real.ok().and_then(|real| Some(path.strip_prefix(real).ok()?.into())));
        }
        for name in names {
            let name = name.as_os_str().as_bytes();
            let ask = Ask { is_quoted: true, is_question: false, is_next: true, name };
            self.take(&ask, None, false)?;
            for place in beside {
                self.take(&ask, Some(*place), false)?;
            }
        }
        Ok(())
    }

    /// What was absent, by the deepest directories that are there.
    fn groups(&mut self) -> Result<Vec<Group>, Reason> {
        let mut groups: Vec<Group> = Vec::new();
        for place in 0..self.places.len() {
            let mut absent = std::mem::take(&mut self.places[place].absent);
            absent.sort_unstable();
            absent.dedup();
            if absent.is_empty() {
                continue;
            }
            let path = self.places[place].path.clone();
            if self.places[place].is_missing {
                let names = absent.into_iter().map(|(_, name)| name.to_vec()).collect();
                groups.push(missing_group(&path, names));
                continue;
            }
            let mut by_directory: BTreeMap<PathBuf, Vec<Vec<u8>>> = BTreeMap::new();
            for (_, name) in absent {
                let (directory, name) = self.deepest(&path, &name);
                by_directory.entry(directory).or_default().push(name);
            }
            groups.extend(by_directory.into_iter().map(|(directory, names)| Group {
                directory,
                prefix: Vec::new(),
                names,
            }));
        }
        Ok(groups)
    }

    /// The deepest directory on the way to a name, and what is left of the name there.
    fn deepest(&mut self, path: &Path, name: &[u8]) -> (PathBuf, Vec<u8>) {
        let mut directory = path.to_path_buf();
        let mut rest = name;
        while let Some(slash) = rest.iter().position(|byte| *byte == b'/') {
            let next = directory.join(OsStr::from_bytes(&rest[..slash]));
            if !self.is_directory(&next) {
                break;
            }
            directory = next;
            let slashes = rest[slash..].iter().take_while(|byte| **byte == b'/').count();
            rest = &rest[slash + slashes..];
        }
        (directory, rest.to_vec())
    }
}

/// The group of names below a directory that is missing.
fn missing_group(path: &Path, names: Vec<Vec<u8>>) -> Group {
    let is_there = |path: &&Path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { *path };
        Facts::at(path).is_ok_and(|facts| facts.is_directory)
    };
    let directory = path.ancestors().skip(1).find(is_there).unwrap_or(Path::new(""));
    let missing = path.strip_prefix(directory).unwrap_or(path);
    let prefix = [missing.as_os_str().as_bytes(), b"/"].concat();
    Group { directory: directory.to_path_buf(), prefix, names }
}

/// A path without a leading `./`, which gcc leaves out.
fn plain(path: &Path) -> &Path {
    path.strip_prefix(".").unwrap_or(path)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn modified(path: &Path, error: &io::Error) -> Reason {
    Reason::new(Counter::ModifiedInputFile, format!("{}: {error}", path.display()))
}

fn appeared(path: &Path) -> Reason {
    let text = format!("{} appeared or changed during the compile", path.display());
    Reason::new(Counter::ModifiedInputFile, text)
}

fn unclear(path: &Path, what: &str) -> Reason {
    Reason::new(Counter::BadInputFile, format!("{}: {what}", path.display()))
}
