//! What a compile looked for: names that were not there, and files that it only asked for.
//!
//! 1. The texts of all inputs say which names were looked for, and the search path where: a name in
//!    quotes beside the text and then along the path, one in angle brackets along the path. What
//!    stands before the place where the name was found is absent ([`Group`]).
//! 2. An `#include` that finds nothing was in a group that is skipped, or there would be no result.
//!    A `__has_include` that finds nothing was false: its name is absent everywhere. What it finds
//!    counts as an input, for gcc names it in no list. clang does, so that there what comes before
//!    counts, too.
//! 3. `#include_next` goes on behind the directory of its text: all that is found counts, and all
//!    places up to the last one.
//! 4. An input that no name explains came through a macro. Its path tells the name: what follows a
//!    directory of the search path. Where macros give names at all, each input may have come so,
//!    the source too: a name that explains it may stand in a question or in a skipped group.
//! 5. Directories of which only the name is known ([`SearchPath::aside`]) stand before all others.
//!    What is found through such a double of a directory of the system is an input under its name
//!    there, too, since the double may become another directory.
//! 6. Each text is read once, and what it asks for is followed at once. What is known of an input
//!    is not asked for again under its own path. Files that an `#include` leads to and that are no
//!    inputs are told ([`Probed::unread`]): they stand in skipped groups, or were left out.
//! 7. Whatever is found must be older than T0, see `compile`: else it may not have been there when
//!    the compiler looked.
//!
//! Not seen: a file that gcc was asked for by `__has_include` only and that went away during the
//! compile; and what a macro names, where gcc prints a shorter path of a system header behind a
//! link.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::asks::{Ask, Asks};
use super::first::{self, First};
use super::remembered::Remembered;
use super::searched::Searched;
use super::steps::{Steps, Way};
use super::texts::{Computed, Includes, follow};
use super::{Job, Session, is_absence};
use crate::absent::Group;
use crate::compiler::{Compile, Family};
use crate::digest::Seen;
use crate::files::{Directories, Facts, is_same};
use crate::fingerprint::asks_key;
use crate::manifest::Input;
use crate::maps::{Map, Set};
use crate::outcome::{Counter, Reason};
use crate::search::{self, SearchPath};

/// What was looked for.
#[derive(Debug, Default)]
pub(super) struct Probed {
    /// Files that count as inputs.
    pub(super) found: Vec<PathBuf>,
    /// Names that were not there.
    pub(super) absent: Vec<Group>,
    /// Of which of these groups the state of its directory tells all: what a hit would find out.
    pub(super) marks: Vec<Mark>,
    /// A `__has_include` has its name from a macro.
    pub(super) has_unknown: bool,
    /// What the source itself includes.
    pub(super) source: Includes,
    /// Which of the inputs the compiler may have been told to read once only.
    pub(super) read_once: Vec<usize>,
    /// Files that an `#include` leads to, and that are no inputs.
    pub(super) unread: Vec<PathBuf>,
}

/// A directory in which a group of names is absent, and as it was before they were looked for.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) directory: PathBuf,
    pub(super) facts: Facts,
    /// `Group::set`.
    pub(super) set: u128,
}

impl Mark {
    fn of(group: &Group, facts: Facts) -> Mark {
        Mark { directory: group.directory.clone(), facts, set: group.set() }
    }
}

/// What the compile of `job` looked for, which read `inputs`, each with what was seen of it.
///
/// # Errors
/// If that cannot be told, or something has changed since.
pub(super) fn look(
    session: &Session<'_>,
    job: &Job,
    search: &SearchPath,
    (inputs, seen): (&[Input], &[Seen]),
) -> Result<Probed, Reason> {
    let compile = &job.compile;
    if search.has_frameworks {
        let text = "frameworks are searched for headers";
        return Err(Reason::new(Counter::UnsupportedCompilerOption, text));
    }
    let mut walk = Walk::new(session, compile, search, inputs.iter().zip(seen))?;
    let mut probed = Probed::default();
    let key = asks_key(&job.toolchain.contents, compile.language);
    let mut remembered = Remembered::read(session, key);
    let Computed { places: macro_places, literals } =
        follow(&mut walk, &mut probed, (inputs, seen), &mut remembered)?;
    remembered.write(session);
    walk.take_forced()?;
    let explained = std::mem::take(&mut walk.explained);
    for (Input { path, .. }, seen) in inputs.iter().zip(seen) {
        let is_explained = is_same(path, &compile.input) || explained.contains(&seen.identity);
        if !is_explained || !macro_places.is_empty() {
            walk.take_by_path(path, &macro_places)?;
        }
    }
    // Which of them are names is not known, so that none explains an input.
    for (is_quoted, name) in literals.iter().filter(|_| !probed.read_once.is_empty()) {
        for place in &macro_places {
            let ask = Ask { is_quoted: *is_quoted, is_question: false, is_next: false, name };
            walk.take(&ask, is_quoted.then_some(*place), false)?;
        }
    }
    probed.found = walk.found.iter().cloned().collect();
    probed.unread = walk.unread.iter().map(|(place, name)| walk.path_of(*place, *name)).collect();
    (probed.absent, probed.marks) = walk.groups()?;
    Ok(probed)
}

/// A file that a name leads to.
#[derive(Clone, Copy)]
struct Found {
    /// Device and inode.
    identity: (u64, u64),
    /// Whether this very path is that of an input.
    is_known: bool,
}

/// What was found where a name may lead.
enum Stands {
    File(Found),
    Nothing,
    /// No file, but a directory or a link, so that what changes may lie elsewhere.
    Other,
}

/// The search, done once more.
pub(super) struct Walk<'a> {
    session: &'a Session<'a>,
    compile: &'a Compile,
    /// Device and inode of each input.
    inputs: Map<&'a [u8], (u64, u64)>,
    /// What stands on the way to names.
    ways: Steps,
    /// Those of the search path, aside first, and those of texts.
    places: Vec<Searched>,
    by_path: Map<Vec<u8>, usize>,
    aside_count: usize,
    /// Only what the source includes first may be read in a precompiled form.
    first_counts_alone: bool,
    /// The places of the search path that only names in quotes are looked for in end here.
    quote_end: usize,
    /// And all others here.
    search_end: usize,
    /// What was asked for, each name once.
    names: Vec<Rc<[u8]>>,
    by_name: Map<Rc<[u8]>, u32>,
    /// What was followed already: the place of the text behind 1, what is asked, and the name.
    taken: Set<(usize, u8, u32)>,
    /// What stands at a name in a place.
    probes: Map<(usize, u32), Option<Found>>,
    /// Names that lead nowhere by something that stands in the place.
    unsure: Set<(usize, u32)>,
    /// Device and inode of every file that a name leads to.
    explained: Set<(u64, u64)>,
    found: BTreeSet<PathBuf>,
    /// Places and names of files that an `#include` leads to and that are no inputs.
    unread: BTreeSet<(usize, u32)>,
    /// A path that is put together.
    path: Vec<u8>,
}

impl<'a> Walk<'a> {
    fn new(
        session: &'a Session<'a>,
        compile: &'a Compile,
        search: &SearchPath,
        inputs: impl Iterator<Item = (&'a Input, &'a Seen)>,
    ) -> Result<Walk<'a>, Reason> {
        let known = |(input, seen): (&'a Input, &Seen)| {
            (plain(&input.path).as_os_str().as_bytes(), seen.identity)
        };
        let mut walk = Walk {
            compile,
            session,
            inputs: inputs.map(known).collect(),
            ways: Steps::default(),
            places: Vec::new(),
            by_path: Map::default(),
            aside_count: search.aside.len(),
            first_counts_alone: first::counts_alone(compile, search),
            quote_end: search.aside.len() + search.quote.len(),
            search_end: search.aside.len() + search.quote.len() + search.bracket.len(),
            names: Vec::new(),
            by_name: Map::default(),
            taken: Set::default(),
            probes: Map::default(),
            unsure: Set::default(),
            explained: Set::default(),
            found: BTreeSet::new(),
            unread: BTreeSet::new(),
            path: Vec::new(),
        };
        let ordered: Vec<&PathBuf> = search.quote.iter().chain(&search.bracket).collect();
        let identity = |path: &Path| Facts::at(path).ok().map(|f| (f.device, f.inode));
        let known: Vec<_> = ordered.iter().map(|path| identity(path)).collect();
        for path in &search.aside {
            let own = identity(path);
            let double = known.iter().position(|known| own.is_some() && *known == own);
            let is_late = double.is_some_and(|at| search::is_early(compile, ordered[at]));
            let place = walk.add(path)?;
            walk.places[place].is_input = own.is_some() && !is_late;
            walk.places[place].double = double.map(|at| walk.aside_count + at);
        }
        for path in ordered {
            walk.add(path)?;
        }
        Ok(walk)
    }

    pub(super) fn directories(&self) -> &'a Directories {
        self.session.digests.directories()
    }

    pub(super) fn is_source(&self, path: &Path) -> bool {
        is_same(path, &self.compile.input)
    }

    pub(super) fn precompiles(&self) -> bool {
        self.compile.precompiles()
    }

    /// The place of texts in a directory.
    pub(super) fn place(&mut self, path: &Path) -> Result<usize, Reason> {
        if let Some(place) = self.by_path.get(path.as_os_str().as_bytes()) {
            return Ok(*place);
        }
        let place = self.add(path)?;
        self.by_path.insert(path.as_os_str().as_bytes().to_vec(), place);
        Ok(place)
    }

    fn add(&mut self, path: &Path) -> Result<usize, Reason> {
        let at = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let (own, is_link) = match Facts::of_link(at) {
            Ok((facts, is_link)) => (Ok(facts), is_link),
            Err(error) => (Err(error), false),
        };
        let link_ns = own.as_ref().map_or(0, |own| if is_link { own.ctime_ns() } else { 0 });
        let facts = match if is_link { Facts::at(at) } else { own } {
            Ok(facts) if facts.is_directory => {
                let started_ns = self.session.call.started_ns;
                let is_replaced = facts.ctime_ns() >= started_ns && facts.mtime_ns() < started_ns;
                if is_replaced || link_ns >= started_ns {
                    return Err(appeared(path));
                }
                Some(facts)
            }
            // Compilers warn about it.
            Ok(_) => return Err(unclear(path, "is searched and is no directory")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(unclear(path, &error.to_string())),
        };
        if let Some(facts) = facts {
            self.ways.insert(path.as_os_str(), Way::Directory(facts));
        }
        self.places.push(Searched::new(path, facts));
        Ok(self.places.len() - 1)
    }

    /// The number of a name.
    fn name(&mut self, name: &[u8]) -> u32 {
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        let shared: Rc<[u8]> = name.into();
        let number = self.names.len() as u32;
        self.names.push(shared.clone());
        self.by_name.insert(shared, number);
        number
    }

    /// The path of a name in a place.
    fn path_of(&self, place: usize, name: u32) -> PathBuf {
        self.places[place].path.join(OsStr::from_bytes(&self.names[name as usize]))
    }

    /// The file that a name leads to in a place; it is looked for once.
    fn probe(&mut self, place: usize, name: u32) -> Result<Option<Found>, Reason> {
        if self.places[place].facts.is_none() {
            return Ok(None);
        }
        if let Some(known) = self.probes.get(&(place, name)) {
            return Ok(*known);
        }
        let name_bytes = self.names[name as usize].clone();
        if self.places[place].lacks(&name_bytes, &self.session.digests) {
            return Ok(None);
        }
        // A directory under two names lacks the same under both.
        if let Some(double) = self.places[place].double
            && self.probe(double, name)?.is_none()
            && !self.unsure.contains(&(double, name))
        {
            return Ok(None);
        }
        let mut path = std::mem::take(&mut self.path);
        path.clear();
        path.extend_from_slice(self.places[place].path.as_os_str().as_bytes());
        if path.last().is_some_and(|last| *last != b'/') {
            path.push(b'/');
        }
        path.extend_from_slice(&name_bytes);
        let stands = self.look(&path, path.len() - name_bytes.len())?;
        self.path = path;
        let found = match stands {
            Stands::File(found) => Some(found),
            Stands::Nothing => {
                self.places[place].listing.note_absence();
                None
            }
            Stands::Other => {
                self.unsure.insert((place, name));
                None
            }
        };
        self.probes.insert((place, name), found);
        Ok(found)
    }

    /// What stands at a path. Directories on the way may be missing from the byte `start` on.
    fn look(&mut self, bytes: &[u8], start: usize) -> Result<Stands, Reason> {
        let path = Path::new(OsStr::from_bytes(bytes));
        // What was seen of an input was older than T0.
        if let Some(identity) = self.inputs.get(plain(path).as_os_str().as_bytes()) {
            return Ok(Stands::File(Found { identity: *identity, is_known: true }));
        }
        let mut last = None;
        for slash in memchr::memchr_iter(b'/', &bytes[start..]) {
            let directory = OsStr::from_bytes(&bytes[..start + slash]);
            if !matches!(self.ways.at(directory), Way::Directory(_)) {
                return Ok(Stands::Nothing);
            }
            last = Some((directory, &bytes[start + slash + 1..]));
        }
        if let Some((directory, name)) = last
            && self.ways.lacks(directory, name, &self.session.digests)
        {
            return Ok(Stands::Nothing);
        }
        let facts = match self.directories().target_and_link(path) {
            Ok((Some(facts), _)) => Ok(facts),
            Ok((None, _)) => return Ok(Stands::Other),
            Err(error) => Err(error),
        };
        match facts {
            Ok(facts) if facts.is_directory => Ok(Stands::Other),
            Ok(facts)
                if facts.changed_ns() >= self.session.call.started_ns
                    && !self.session.takes_changed(path) =>
            {
                Err(appeared(path))
            }
            Ok(facts) => {
                let identity = (facts.device, facts.inode);
                Ok(Stands::File(Found { identity, is_known: false }))
            }
            Err(error) if is_absence(&error) => {
                if let Some((directory, _)) = last {
                    self.ways.note_absence(directory);
                }
                Ok(Stands::Nothing)
            }
            Err(error) => Err(unclear(path, &error.to_string())),
        }
    }

    /// What the source, whose text is in `place`, may have included first; `listed` was read.
    pub(super) fn first<'b>(
        &mut self,
        asks: &Asks<'_>,
        place: usize,
        listed: impl Iterator<Item = (&'b Path, &'b Seen)> + Clone,
    ) -> Result<First, Reason> {
        let is_unclear = asks.includes_by_macro || asks.named.iter().any(|ask| ask.is_next);
        if is_unclear || !self.first_counts_alone || !self.may_be_precompiled() {
            return Ok(First::default());
        }
        let mut positions: Map<(u64, u64), usize> = Map::default();
        for (at, (_, seen)) in listed.clone().enumerate() {
            positions.entry(seen.identity).or_insert(at);
        }
        let mut leads = Vec::new();
        for ask in &asks.named {
            let found = self.lead(ask, place)?;
            leads.push(found.and_then(|found| positions.get(&found.identity).copied()));
        }
        Ok(First::of(&leads, listed.map(|(path, _)| path), &self.compile.input))
    }

    /// The file that a name in the source leads to.
    fn lead(&mut self, ask: &Ask<'_>, place: usize) -> Result<Option<Found>, Reason> {
        let absolute = ask.name.iter().take_while(|byte| **byte == b'/').count();
        if ask.is_question || absolute == ask.name.len() {
            return Ok(None);
        }
        let name = self.name(&ask.name[absolute..]);
        if absolute > 0 {
            let root = self.place(Path::new("/"))?;
            return self.probe(root, name);
        }
        let beside = ask.is_quoted.then_some(place);
        for place in self.searched(beside) {
            if let Some(found) = self.probe(place, name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Where a name is looked for; `beside` is the place of the text where it is in quotes.
    fn searched(&self, beside: Option<usize>) -> impl Iterator<Item = usize> + use<> {
        let first = if beside.is_some() { self.aside_count } else { self.quote_end };
        beside.into_iter().chain(0..self.aside_count).chain(first..self.search_end)
    }

    /// Follows one name; `beside` is the place of the text where it is in quotes.
    pub(super) fn take(
        &mut self,
        ask: &Ask<'_>,
        beside: Option<usize>,
        may_be_first: bool,
    ) -> Result<(), Reason> {
        let Ask { is_question, is_next, .. } = *ask;
        let may_be_first = may_be_first && !is_question;
        let kind = u8::from(is_question) | u8::from(is_next) << 1 | u8::from(may_be_first) << 2;
        let name = self.name(ask.name);
        let key = (beside.map_or(0, |place| place + 1), kind, name);
        if ask.name.is_empty() || !self.taken.insert(key) {
            return Ok(());
        }
        if ask.name.starts_with(b"/") {
            return self.take_absolute(ask, may_be_first);
        }
        let mut absent = Vec::new();
        let mut last = None;
        for place in self.searched(beside) {
            match self.probe(place, name)? {
                None => absent.push(place),
                Some(found) => {
                    self.explained.insert(found.identity);
                    let is_aside = place < self.aside_count;
                    if is_question || (is_aside && self.places[place].is_input) {
                        self.found.insert(self.path_of(place, name));
                    } else if !found.is_known {
                        self.unread.insert((place, name));
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
        if last.is_none() && may_be_first && self.may_be_precompiled() {
            last = self.only_precompiled(name, &absent)?;
        }
        match last {
            // It stays true whatever else appears, and gcc does not say what was found.
            Some(_) if is_question && !is_next && self.compile.family == Family::Gcc => {
                return Ok(());
            }
            Some((_, end)) if !is_question || !is_next => absent.truncate(end),
            None if !is_question => return Ok(()),
            _ => {}
        }
        let rank = last.map_or(usize::MAX, |(place, _)| place);
        for place in &absent {
            self.places[*place].absent.push((rank, name));
        }
        if may_be_first && self.may_be_precompiled() {
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
        name: u32,
        places: &[usize],
    ) -> Result<Option<(usize, usize)>, Reason> {
        let name = self.name_with(name, b".gch");
        for (before, place) in places.iter().enumerate() {
            if self.probe(*place, name)?.is_some() {
                return Ok(Some((*place, before)));
            }
        }
        Ok(None)
    }

    /// A precompiled form of what the source includes would be read in its place.
    fn take_precompiled(
        &mut self,
        name: u32,
        rank: usize,
        places: impl Iterator<Item = usize>,
    ) -> Result<(), Reason> {
        let name = self.name_with(name, b".gch");
        for place in places {
            if self.probe(place, name)?.is_none() {
                self.places[place].absent.push((rank, name));
            }
        }
        Ok(())
    }

    fn name_with(&mut self, name: u32, suffix: &[u8]) -> u32 {
        let name = [&self.names[name as usize], suffix].concat();
        self.name(&name)
    }

    /// A name that is looked for in one place only.
    fn take_absolute(&mut self, ask: &Ask<'_>, may_be_first: bool) -> Result<(), Reason> {
        let root = self.place(Path::new("/"))?;
        let name = ask.name.iter().position(|byte| *byte != b'/').map(|start| &ask.name[start..]);
        let Some(name) = name else { return Ok(()) };
        let name = self.name(name);
        match self.probe(root, name)? {
            Some(found) => {
                self.explained.insert(found.identity);
                if ask.is_question {
                    self.found.insert(OsStr::from_bytes(ask.name).into());
                } else if !found.is_known {
                    self.unread.insert((root, name));
                }
            }
            None if ask.is_question => self.places[root].absent.push((usize::MAX, name)),
            None => {}
        }
        if may_be_first && self.may_be_precompiled() {
            self.take_precompiled(name, usize::MAX, std::iter::once(root))?;
        }
        Ok(())
    }

    /// Headers that options include: looked for in the working directory first.
    fn take_forced(&mut self) -> Result<(), Reason> {
        let compile = self.compile;
        let here = self.place(Path::new(""))?;
        for name in compile.forced_headers() {
            let name = name.as_bytes();
            let ask = Ask { is_quoted: true, is_question: false, is_next: false, name };
            self.take(&ask, Some(here), true)?;
            if compile.family == Family::Clang && !name.starts_with(b"/") {
                for suffix in [&b".pch"[..], b".gch"] {
                    let name = self.name(&[name, suffix].concat());
                    if self.probe(here, name)?.is_none() {
                        self.places[here].absent.push((usize::MAX, name));
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

    /// What was absent, by the deepest directories that are there, and which of it can be marked.
    /// Names that were found in the same place stand next to each other, so that groups share them.
    fn groups(&mut self) -> Result<(Vec<Group>, Vec<Mark>), Reason> {
        let (mut groups, mut marks) = (Vec::new(), Vec::new());
        for place in 0..self.places.len() {
            let mut absent = std::mem::take(&mut self.places[place].absent);
            absent.sort_unstable();
            absent.dedup();
            if absent.is_empty() {
                continue;
            }
            let path = self.places[place].path.clone();
            let is_sure = absent.iter().all(|(_, name)| !self.unsure.contains(&(place, *name)));
            let names = absent.into_iter().map(|(_, name)| self.names[name as usize].clone());
            let names: Vec<Rc<[u8]>> = names.collect();
            let Some(facts) = self.places[place].facts else {
                let names = names.iter().map(|name| name.to_vec()).collect();
                let (group, facts) = missing_group(&path, names);
                marks.extend(facts.map(|facts| Mark::of(&group, facts)));
                groups.push(group);
                continue;
            };
            let mut below: BTreeMap<PathBuf, Vec<Vec<u8>>> = BTreeMap::new();
            let mut here = Vec::new();
            for name in names {
                match self.deepest(&path, &name) {
                    Some((directory, rest)) => below.entry(directory).or_default().push(rest),
                    None => here.push(name.to_vec()),
                }
            }
            let here = (!here.is_empty()).then_some((path, here, Way::Directory(facts)));
            let below = below.into_iter().map(|(directory, names)| {
                let way = self.ways.get(directory.as_os_str());
                (directory, names, way.unwrap_or(Way::Other))
            });
            let all: Vec<_> = here.into_iter().chain(below).collect();
            for (directory, names, way) in all {
                let group = Group { directory, prefix: Vec::new(), names };
                if let Way::Directory(facts) = way
                    && is_sure
                    && self.start_nowhere(&group)
                {
                    marks.push(Mark::of(&group, facts));
                }
                groups.push(group);
            }
        }
        Ok((groups, marks))
    }

    /// Whether nothing stands at the first part of each name that has several.
    fn start_nowhere(&mut self, group: &Group) -> bool {
        // Most of them begin as the one before.
        let mut known: &[u8] = b"";
        group.names.iter().all(|name| {
            let Some(slash) = memchr::memchr(b'/', name) else { return true };
            let is_known = std::mem::replace(&mut known, &name[..slash]) == &name[..slash];
            let path = || group.directory.join(OsStr::from_bytes(&name[..slash]));
            is_known || matches!(self.ways.at(path().as_os_str()), Way::Missing)
        })
    }

    /// The deepest directory on the way to a name, and what is left of the name there; `None` if
    /// that is where the name was looked for.
    fn deepest(&mut self, path: &Path, name: &[u8]) -> Option<(PathBuf, Vec<u8>)> {
        let mut directory = None;
        let mut rest = name;
        while let Some(slash) = rest.iter().position(|byte| *byte == b'/') {
            let so_far = directory.as_deref().unwrap_or(path);
            let next = so_far.join(OsStr::from_bytes(&rest[..slash]));
            if !matches!(self.ways.at(next.as_os_str()), Way::Directory(_)) {
                break;
            }
            directory = Some(next);
            let slashes = rest[slash..].iter().take_while(|byte| **byte == b'/').count();
            rest = &rest[slash + slashes..];
        }
        Some((directory?, rest.to_vec()))
    }
}

/// The group of names below a directory that is missing, and the facts of the directory that is
/// there if its state tells all.
fn missing_group(path: &Path, names: Vec<Vec<u8>>) -> (Group, Option<Facts>) {
    let there = |path: &'_ Path| {
        let at = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Facts::at(at).ok().filter(|facts| facts.is_directory)
    };
    let mut above = path.ancestors().skip(1);
    let found = above.find_map(|directory| Some((directory, there(directory)?)));
    let directory = found.map_or(Path::new(""), |(directory, _)| directory);
    let missing = path.strip_prefix(directory).unwrap_or(path);
    let first = missing.components().next().map(|first| Facts::of_link(&directory.join(first)));
    let is_absent = matches!(first, Some(Err(error)) if error.kind() == io::ErrorKind::NotFound);
    let facts = found.map(|(_, facts)| facts).filter(|_| is_absent);
    let prefix = [missing.as_os_str().as_bytes(), b"/"].concat();
    (Group { directory: directory.to_path_buf(), prefix, names }, facts)
}

/// A path without a leading `./`, which gcc leaves out.
fn plain(path: &Path) -> &Path {
    match path.as_os_str().as_bytes() {
        b"." => Path::new(""),
        [b'.', b'/', rest @ ..] if !rest.starts_with(b"/") => Path::new(OsStr::from_bytes(rest)),
        _ => path,
    }
}

pub(super) fn modified(path: &Path, error: &io::Error) -> Reason {
    Reason::new(Counter::ModifiedInputFile, format!("{}: {error}", path.display()))
}

fn appeared(path: &Path) -> Reason {
    let text = format!("{} appeared or changed during the compile", path.display());
    Reason::new(Counter::ModifiedInputFile, text)
}

fn unclear(path: &Path, what: &str) -> Reason {
    Reason::new(Counter::BadInputFile, format!("{}: {what}", path.display()))
}
