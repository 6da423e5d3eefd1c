//! Crates that are linked: what rustc is asked to tell of a link, and what that link has read.
//!
//! 1. A miss adds two words: the linker writes down each file that it reads
//!    (`--dependency-file`), and rustc prints the driver's command line. Neither shows in what is
//!    made. Where messages name them, rustc has run in vain, and runs again without them; the
//!    linker that does not know the option is remembered ([`is_untold`]).
//! 2. Inputs are all files that the linker names, and those on its command line. What lies in
//!    rustc's own directory, and the crate's own objects, are gone by then and count as derived;
//!    any other file that is missing makes the link uncached.
//! 3. A crate in a directory of dependencies counts by name ([`CRATE`]), and what stands behind
//!    another `-L` by the number of that directory ([`PLACE`]): so another target directory gets
//!    the same program. Where a path shows in it (`-C rpath`, shared objects of the build), the
//!    directories count as text ([`PLACES`]).
//! 4. The driver with all that it starts is one input ([`LINKER`]).
//! 5. What was searched for in vain is absent, see [`search`](crate::link::search).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use larder_engine::{Entry, Key, RecordKind, Section, SectionKind};

use super::super::Session;
use super::super::scratch::Scratch;
use super::Job;
use super::inputs::look_before;
use crate::absent::Group;
use crate::depfile;
use crate::digest::Digest;
use crate::exec::is_binary;
use crate::files::RealPaths;
use crate::fingerprint::unsupported_variable;
use crate::identity::linker::{Choice, Linker};
use crate::link::command::{self, directories_before};
use crate::link::search::{Line, Search, Ways};
use crate::link::{variables, words};
use crate::manifest::Input;
use crate::outcome::{Counter, Reason};
use crate::rust::arguments::{Crate, Emit};
use crate::rust::coded::{CRATE, LINKER, LOADER, PLACE, PLACES};

/// The driver of a link for Linux, if nothing else is said.
const DRIVER: &str = "cc";

/// Whether a linker runs for a crate.
pub(super) fn is_linked(made: &Crate) -> bool {
    let emits = made.emit.iter().any(|(emit, _)| *emit == Emit::Link);
    emits && (made.is_test || made.types.iter().any(|kind| kind.is_linked()))
}

/// The words for the linker, if one runs.
pub(super) fn words_of(made: &Crate) -> &[String] {
    if is_linked(made) { &made.link_words } else { &[] }
}

/// Whether rustc merges the code of all crates before the link (`-C lto`), so that the linker does
/// not see them.
pub(super) fn merges(made: &Crate) -> bool {
    let mut values = made.key_words.iter().filter_map(|word| word.strip_prefix("lto="));
    let is_off = |value: &str| ["off", "n", "no", "false"].contains(&value);
    is_linked(made) && values.next_back().is_some_and(|value| !is_off(value))
}

/// Whether the link of a crate may be cached, as far as its command line tells.
pub(super) fn check(made: &Crate) -> Result<(), Reason> {
    if !is_linked(made) {
        return Ok(());
    }
    if made.types.iter().filter(|kind| kind.is_linked()).count() > 1 {
        return Err(uncached("several things are linked"));
    }
    if made.split_debuginfo.as_deref() == Some("packed") {
        return Err(uncached("debug information of other crates is packed"));
    }
    let mut flavors = made.link_words.iter().filter_map(|word| word.strip_prefix("linker-flavor="));
    if flavors.any(|flavor| !["gcc", "gnu-cc", "gnu-lld-cc"].contains(&flavor)) {
        return Err(uncached("the linker is not called through a driver"));
    }
    let mut targets = made.key_words.windows(2).filter(|pair| pair[0] == "--target");
    if let Some(pair) = targets.find(|pair| !pair[1].contains("-linux-")) {
        return Err(uncached(&format!("links for {} are not known", pair[1])));
    }
    if let Some(name) = unsupported_variable().or_else(variables::unsupported) {
        let text = format!("{name} is set");
        return Err(Reason::new(Counter::UnsupportedEnvironmentVariable, text));
    }
    words::check(link_arguments(made)).map_err(|text| uncached(&text))
}

/// The words that the command line gives to the linker.
fn link_arguments(made: &Crate) -> impl Iterator<Item = &str> {
    made.link_words.iter().flat_map(|word| -> Vec<&str> {
        match word.split_once('=') {
            Some(("link-arg", value)) => vec![value],
            Some(("link-args", value)) => value.split_whitespace().collect(),
            _ => Vec::new(),
        }
    })
}

fn uncached(text: &str) -> Reason {
    Reason::new(Counter::CalledForLink, text)
}

/// The driver that rustc will call, as far as that can be told before.
fn driver(made: &Crate) -> OsString {
    let mut named = made.link_words.iter().filter_map(|word| word.strip_prefix("linker="));
    named.next_back().unwrap_or(DRIVER).into()
}

/// Where it is remembered that the linker of such a call does not tell.
fn untold_key(session: &Session<'_>, job: &Job) -> Result<Key, Reason> {
    let choice = Choice { name: driver(&job.made), before: Vec::new(), words: Vec::new() };
    let (path, file) = choice.driver().map_err(|text| uncached(&text))?;
    if !is_binary(&file) {
        return Err(uncached(&format!("{} is no ELF program", path.display())));
    }
    let contents = session.digests.digest(&file);
    let contents = contents.map_err(|error| uncached(&format!("{}: {error}", path.display())))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"larder link untold").update(&job.toolchain.identity).update(&contents);
    for word in job.made.link_words.iter().map(String::as_bytes) {
        hasher.update(&(word.len() as u64).to_le_bytes()).update(word);
    }
    Ok(Key::from_bytes(*hasher.finalize().as_bytes()))
}

/// What is added to a call.
pub(super) struct Telling {
    read: Scratch,
    line: Scratch,
    /// The word by which rustc is asked to print, or the file that has it.
    asking: OsString,
    untold: Key,
}

impl Telling {
    /// For a call whose linker is not known to keep silent.
    pub(super) fn new(session: &Session<'_>, job: &Job) -> Result<Telling, Reason> {
        let untold = untold_key(session, job)?;
        if session.store.contains(&untold).unwrap_or(false) {
            return Err(uncached("the linker does not tell what it reads"));
        }
        let failed = |error: io::Error| uncached(&format!("no temporary file: {error}"));
        let (read, line) = (Scratch::new().map_err(failed)?, Scratch::new().map_err(failed)?);
        let mut asking = OsString::from("--print=link-args=");
        asking.push(line.path());
        if job.is_clippy {
            // clippy does nothing of its own where it sees `--print` on the command line. rustc has
            // read the file before it prints into it.
            fs::write(line.path(), asking.as_bytes()).map_err(failed)?;
            asking = OsString::from("@");
            asking.push(line.path());
        }
        Ok(Telling { read, line, asking, untold })
    }

    /// The arguments with what is added.
    pub(super) fn arguments(&self, given: &[OsString]) -> Vec<OsString> {
        let mut arguments = given.to_vec();
        let mut word = OsString::from("-Clink-arg=-Wl,--dependency-file=");
        word.push(self.read.path());
        arguments.extend([word, self.asking.clone()]);
        arguments
    }

    /// What stands in messages that speak of that.
    pub(super) fn marks(&self) -> Vec<Vec<u8>> {
        let names = [&self.read, &self.line].map(|scratch| scratch.path().file_name());
        names.into_iter().flatten().map(|name| name.as_bytes().to_vec()).collect()
    }

    /// Remembers that the link works without what is added only.
    pub(super) fn remember_untold(&self, session: &Session<'_>) {
        let section = Section::new(SectionKind::Data, vec![1]);
        let _ = session.store.put(&Entry::new(self.untold, RecordKind::Blob, vec![section]));
    }

    /// What the link has read, and what it has looked for in vain.
    pub(super) fn look(
        &self,
        session: &Session<'_>,
        job: &Job,
    ) -> Result<(Vec<Input>, Vec<Group>), Reason> {
        let text = |scratch: &Scratch| {
            scratch.read().map_err(|error| uncached(&format!("the linker does not tell: {error}")))
        };
        let printed = command::of_rustc(&text(&self.line)?);
        let printed = printed.ok_or_else(|| uncached("rustc does not tell of one link"))?;
        let read = depfile::parse(&text(&self.read)?);
        if read.is_empty() {
            return Err(uncached("the linker does not tell what it reads"));
        }
        let own = [&self.read, &self.line].map(|scratch| scratch.path().to_path_buf());
        Link::of(session, job, printed, read)?.look(&own)
    }
}

/// One link that has been made.
struct Link<'a> {
    session: &'a Session<'a>,
    job: &'a Job,
    choice: Choice,
    linker: Linker,
    /// The words that rustc has given to the driver.
    given: BTreeSet<OsString>,
    /// The linker's own command line.
    line: Line,
    read: Vec<PathBuf>,
}

impl<'a> Link<'a> {
    fn of(
        session: &'a Session<'a>,
        job: &'a Job,
        printed: command::Command,
        read: Vec<PathBuf>,
    ) -> Result<Link<'a>, Reason> {
        let own = env::var_os("PATH").unwrap_or_default();
        let before = match &printed.path {
            Some(path) => directories_before(path, &own)
                .ok_or_else(|| uncached("rustc searches another PATH for the linker"))?,
            None => OsStr::new(""),
        };
        let words = Choice::words_of(&printed.words);
        let before = env::split_paths(before).filter(|path| !path.as_os_str().is_empty());
        let choice = Choice { name: printed.program, before: before.collect(), words };
        let linker = Linker::of(&choice, &session.store, &session.digests);
        let linker = linker.map_err(|text| uncached(&text))?;
        let mut asked = Command::new(&linker.driver);
        asked.args(&printed.words).arg("-###").env("LC_ALL", "C").env("LARDER_DISABLE", "1");
        asked.stdin(Stdio::null());
        if let Some(path) = &printed.path {
            asked.env("PATH", path);
        }
        let report = asked.output().map_err(|error| uncached(&format!("cannot ask: {error}")))?;
        let line = command::of_driver(&report.stderr).and_then(|words| Line::of(&words));
        let line = line.ok_or_else(|| uncached("the driver does not tell what it starts"))?;
        let given = printed.words.into_iter().collect();
        Ok(Link { session, job, choice, linker, given, line, read })
    }

    /// Everything that counts. Larder's own files, which the command line names, do not.
    fn look(mut self, own: &[PathBuf]) -> Result<(Vec<Input>, Vec<Group>), Reason> {
        self.line.words.retain(|word| !own.contains(word));
        for path in self.linker.files() {
            // It is part of the identity; here only its age matters.
            look_before(self.session, path)?;
        }
        let places = std::mem::take(&mut self.line.directories);
        let is_kept = |path: &PathBuf| path.is_dir() || !self.is_derived(path);
        self.line.directories = places.into_iter().filter(is_kept).collect();
        let mut search = Search::of(self.read.iter().map(PathBuf::as_path));
        self.search(&mut search)?;
        let mut paths: BTreeSet<PathBuf> = self.named_files().collect();
        paths.extend(search.passed().map(Path::to_path_buf));
        for path in &self.read {
            match path.is_file() {
                true => drop(paths.insert(path.clone())),
                false if self.is_derived(path) => {}
                false => {
                    let text = format!("{} is not there any more", path.display());
                    return Err(uncached(&text));
                }
            }
        }
        let mut list = vec![self.linker_input()];
        let real_paths = search.real_paths();
        let known = self.known(real_paths);
        let mut shows_places = self.job.made.link_words.iter().any(|word| is_rpath(word));
        for path in paths {
            let file = real_paths.of(&path).unwrap_or_else(|_| path.clone());
            let is_shared = path.extension() == Some(OsStr::new("so"));
            let named = self.job.place_path(&path, &file, real_paths);
            shows_places |= is_shared && (named.is_some() || known.contains(&file));
            if known.contains(&file) {
                continue;
            }
            let digest = look_before(self.session, &path)?;
            list.push(match named {
                Some(name) => Input { digest: self.digest_of(&name)?, path: name },
                None => Input { path, digest },
            });
        }
        let loads = !self.is_shallow() && env::var_os("LD_LIBRARY_PATH").is_some();
        for mark in [PLACES]
            .into_iter()
            .filter(|_| shows_places)
            .chain([LOADER].into_iter().filter(|_| loads))
        {
            let path = PathBuf::from(OsStr::from_bytes(mark));
            list.push(Input { digest: self.digest_of(&path)?, path });
        }
        list.sort_by(|one, other| one.path.cmp(&other.path));
        list.dedup();
        let groups = search.groups().map(|group| self.job.place_group(group)).collect();
        Ok((list, groups))
    }

    fn digest_of(&self, path: &Path) -> Result<Digest, Reason> {
        let found = digest(self.session, self.job, path).flatten();
        found.ok_or_else(|| uncached(&format!("{} cannot be read", path.display())))
    }

    fn is_shallow(&self) -> bool {
        self.choice.is_shallow()
    }

    /// Goes the ways of the linker and its driver.
    fn search(&self, search: &mut Search) -> Result<(), Reason> {
        let ways = Ways {
            line: &self.line,
            read: &self.read,
            given: &self.given,
            places: &self.linker.places,
            is_shallow: self.is_shallow(),
        };
        ways.go(search).map(drop).map_err(|text| uncached(&text))
    }

    /// Files on the linker's command line that it may have read without telling.
    fn named_files(&self) -> impl Iterator<Item = PathBuf> {
        let is_output = |path: &Path| self.job.outputs.iter().any(|output| output.path == path);
        let is_part = |path: &Path| self.linker.files().any(|file| file == path);
        let words = self.line.words.iter();
        words.filter(move |path| path.is_file() && !is_output(path) && !is_part(path)).cloned()
    }

    /// Whether a path is one of rustc's own, which it removes at the end.
    fn is_derived(&self, path: &Path) -> bool {
        let out_dir = self.job.made.out_dir.as_deref().unwrap_or(Path::new(""));
        let below = |root: &Path| -> Option<Vec<u8>> {
            let rest = path.strip_prefix(root).ok()?;
            Some(rest.iter().next()?.as_bytes().to_vec())
        };
        let first = below(out_dir).or_else(|| below(&out_dir.canonicalize().ok()?));
        first.is_some_and(|first| first.starts_with(b"rustc") || first.ends_with(b".rcgu.o"))
    }

    /// Files whose contents are in the direct key, behind all links.
    fn known(&self, real_paths: &RealPaths) -> BTreeSet<PathBuf> {
        let named = self.job.named.iter().map(|(path, _)| path);
        let paths = named.chain(&self.job.toolchain.files);
        paths.filter_map(|path| real_paths.of(path).ok()).collect()
    }

    fn linker_input(&self) -> Input {
        let before = env::join_paths(&self.choice.before).unwrap_or_default();
        let mut path = LINKER.to_vec();
        for word in [&self.choice.name, &before].into_iter().chain(&self.choice.words) {
            path.extend_from_slice(word.as_bytes());
            path.push(0);
        }
        Input { path: OsString::from_vec(path).into(), digest: self.linker.identity }
    }
}

fn is_rpath(word: &str) -> bool {
    word.strip_prefix("rpath=").is_some_and(|value| !["no", "n", "off", "false"].contains(&value))
}

/// What stands at a path that a link has put into a manifest: `None` if it is none of those, and
/// `Some(None)` if it cannot be told.
pub(super) fn digest(session: &Session<'_>, job: &Job, path: &Path) -> Option<Option<Digest>> {
    let bytes = path.as_os_str().as_bytes();
    let places = &job.made.search_paths;
    let mut hasher = blake3::Hasher::new();
    if let Some(text) = bytes.strip_prefix(LINKER) {
        return Some(linker_digest(session, text));
    }
    if let Some(name) = bytes.strip_prefix(CRATE) {
        let mut count = 0u64;
        for place in places.iter().filter(|place| place.kind == "dependency") {
            if let Ok(digest) = session.digests.digest(&place.path.join(OsStr::from_bytes(name))) {
                hasher.update(&digest);
                count += 1;
            }
        }
        return Some((count > 0).then(|| *hasher.finalize().as_bytes()));
    }
    if bytes.starts_with(PLACE) {
        return Some(session.digests.digest(&job.place_directory(path)?).ok());
    }
    if bytes == PLACES {
        let externs = job.made.externs.iter().filter_map(|external| external.path.as_ref());
        let paths = places.iter().map(|place| &place.path).chain(&job.made.out_dir).chain(externs);
        for path in paths.map(|path| path.as_os_str().as_bytes()) {
            hasher.update(&(path.len() as u64).to_le_bytes()).update(path);
        }
        return Some(Some(*hasher.finalize().as_bytes()));
    }
    if bytes == LOADER {
        let value = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        for path in env::split_paths(&value) {
            let path = job.place_name(&path, None).unwrap_or(path);
            let path = path.as_os_str().as_bytes();
            hasher.update(&(path.len() as u64).to_le_bytes()).update(path);
        }
        return Some(Some(*hasher.finalize().as_bytes()));
    }
    None
}

/// The identity of the linker that is chosen now.
fn linker_digest(session: &Session<'_>, text: &[u8]) -> Option<Digest> {
    let mut words = text.strip_suffix(b"\0")?.split(|byte| *byte == 0);
    let word = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    let name = word(words.next()?);
    let before = word(words.next()?);
    let before = env::split_paths(&before).filter(|path| !path.as_os_str().is_empty()).collect();
    let choice = Choice { name, before, words: words.map(word).collect() };
    let linker = Linker::of(&choice, &session.store, &session.digests);
    linker.ok().map(|linker| linker.identity)
}

impl Job {
    /// The name of a file, which stands at `file` behind all links, in a directory behind `-L`.
    fn place_path(&self, path: &Path, file: &Path, real: &RealPaths) -> Option<PathBuf> {
        let directory = path.parent()?;
        let name = path.file_name()?.as_bytes();
        let is_same = |place: &Path| {
            let real = || real.of(place).map(|place| place.join(OsStr::from_bytes(name)));
            place == directory || real().is_ok_and(|path| path == *file)
        };
        let mut places = self.made.search_paths.iter().filter(|place| is_same(&place.path));
        if places.any(|place| place.kind == "dependency") {
            return Some(OsString::from_vec([CRATE, name].concat()).into());
        }
        Some(self.place_name(directory, Some((file, real)))?.join(OsStr::from_bytes(name)))
    }

    /// The name of a directory behind `-L`.
    fn place_name(&self, directory: &Path, file: Option<(&Path, &RealPaths)>) -> Option<PathBuf> {
        let is_same = |place: &Path| {
            place == directory
                || file.is_some_and(|(file, real)| {
                    real.of(place).is_ok_and(|place| file.parent() == Some(&place))
                })
        };
        let index = self.made.search_paths.iter().position(|place| is_same(&place.path))?;
        Some(OsString::from_vec([PLACE, index.to_string().as_bytes()].concat()).into())
    }

    /// The inverse for this call, for such a directory and for a path below it; other paths stay.
    pub(super) fn place_directory<'a>(&self, path: &'a Path) -> Option<Cow<'a, Path>> {
        let Some(rest) = path.as_os_str().as_bytes().strip_prefix(PLACE) else {
            return Some(path.into());
        };
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let index: usize = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
        let place = self.made.search_paths.get(index)?;
        let below = rest.get(end + 1..).unwrap_or_default();
        Some(match below.is_empty() {
            true => place.path.clone().into(),
            false => place.path.join(OsStr::from_bytes(below)).into(),
        })
    }

    fn place_group(&self, group: Group) -> Group {
        match self.place_name(&group.directory, None) {
            Some(directory) => Group { directory, ..group },
            None => group,
        }
    }
}

/// What rustc says first of a link that fails. As a text, its command line follows on a later line.
const FAILS: &[u8] = b"linking with `";

/// Passes on what is said until it names what larder has added, and holds the rest back.
pub(super) struct Held<W> {
    to: W,
    marks: Vec<Vec<u8>>,
    /// What another run has said before, which is not said again.
    said: Vec<u8>,
    passed: Vec<u8>,
    /// What is said of a link that fails, until it is known whether it names that.
    pending: Vec<u8>,
    pub(super) is_held: bool,
}

impl<W: Write> Held<W> {
    pub(super) fn new(to: W, marks: Vec<Vec<u8>>) -> Held<W> {
        let (said, passed, pending) = (Vec::new(), Vec::new(), Vec::new());
        Held { to, marks, said, passed, pending, is_held: false }
    }

    /// For another run, which says the same first.
    pub(super) fn again(self) -> Held<W> {
        Held { said: self.passed, ..Held::new(self.to, Vec::new()) }
    }

    /// Passes on what was pending, if that names nothing.
    pub(super) fn end(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        if !self.is_held {
            // A reader that is gone is no reason to stop.
            let _ = self.pass(&pending).and_then(|()| self.to.flush());
        }
    }

    fn pass(&mut self, text: &[u8]) -> io::Result<()> {
        let start = self.passed.len();
        self.passed.extend_from_slice(text);
        match self.said.get(start..).is_some_and(|rest| rest.starts_with(text))
            && self.said.starts_with(&self.passed)
        {
            true => Ok(()),
            false => self.to.write_all(text),
        }
    }
}

impl<W: Write> Write for Held<W> {
    /// Takes a line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let names = |mark: &[u8]| line.windows(mark.len()).any(|part| part == mark);
        self.is_held |= self.marks.iter().any(|mark| names(mark));
        if self.is_held {
            return Ok(line.len());
        }
        if !self.marks.is_empty() && (!self.pending.is_empty() || names(FAILS)) {
            self.pending.extend_from_slice(line);
        } else {
            self.pass(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_name_what_was_added_are_held_back_and_said_once() {
        let said_of = |lines: &[&str], again: &[&str]| {
            let mut said = Vec::new();
            let mut held = Held::new(&mut said, vec![b"larder-1.d".to_vec()]);
            lines.iter().for_each(|line| held.write_all(line.as_bytes()).unwrap());
            held.end();
            if held.is_held {
                let mut held = held.again();
                again.iter().for_each(|line| held.write_all(line.as_bytes()).unwrap());
            }
            String::from_utf8(said).unwrap()
        };
        let fails = ["warning\n", "error: linking with `cc` failed\n", "note: cc larder-1.d\n"];
        for again in [
            &["warning\n", "error: linking with `cc` failed\n", "note: cc\n", "the end\n"][..],
            &["warning\n", "warning\n"],
            &["another\n", "warning\n"],
        ] {
            let expected = match again[0] {
                "warning\n" => again.concat(),
                _ => format!("warning\n{}", again.concat()),
            };
            assert_eq!(said_of(&fails, again), expected);
        }
        assert_eq!(said_of(&fails[..2], &[]), fails[..2].concat());
    }
}
