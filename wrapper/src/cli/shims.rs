//! `larder shims DIR`: links to larder, named like the compilers that are in `PATH`.
//!
//! 1. A link is made for each name under which `PATH` has a compiler that is no cache. Links of
//!    ours whose compiler is gone are removed.
//! 2. What is no link to larder is never touched, whatever it is called.
//! 3. A link is relative if the directory and larder stand below one directory that is not the root
//!    (`/opt/x/bin/larder` and `/opt/x/shims`), because such a tree may be moved as a whole; else
//!    absolute.
//! 4. The exit status: 0 all names lead to larder, 1 some name is taken by something else.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};
use std::process::exit;

use super::command::{Failure, print};
use super::flags::Given;
use super::json::Object;
use super::toolchain::{What, compilers, directories, own_path};
use crate::compiler::is_compiler_name;
use crate::stats::counted;

/// What became of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Made,
    Kept,
    Updated,
    Removed,
    /// Something else has the name.
    Foreign,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Made => "made",
            State::Kept => "kept",
            State::Updated => "updated",
            State::Removed => "removed",
            State::Foreign => "foreign",
        }
    }
}

/// A name in the directory.
struct Shim {
    name: OsString,
    state: State,
    /// The compiler that larder runs for it, where there is one.
    compiler: Option<PathBuf>,
}

/// What stands at a name of the directory.
enum Found {
    Nothing,
    /// A link to larder, with this text.
    Ours(PathBuf),
    Foreign,
}

/// The command.
pub fn run(given: &Given) -> Result<(), Failure> {
    if given.has("remove") && given.has("list") {
        return Err(given.wrong("--remove and --list exclude each other"));
    }
    let directory = given.operand(0).map(Path::new).unwrap_or(Path::new("."));
    let changes = !given.has("list") && !given.has("remove");
    if changes {
        fs::create_dir_all(directory).map_err(|error| refused("make", directory, &error))?;
    }
    let directory = fs::canonicalize(directory).map_err(|error| {
        let advice = "`larder shims DIR` makes it";
        Failure::Failed(format!("cannot look into {}: {error}; {advice}", directory.display()))
    })?;
    let larder = own_path().map_err(|error| {
        Failure::Failed(format!("cannot tell where larder is: {error}; install it anew"))
    })?;
    let path = env::var_os("PATH").unwrap_or_default();
    let real = real_compilers(&path);
    let shims = match (given.has("list"), given.has("remove")) {
        (true, _) => list(&directory, &real)?,
        (_, true) => remove(&directory, &real)?,
        _ => make(&directory, &larder, &real)?,
    };
    let order = Order::of(&directory, &path, &real);
    print(&match given.has("json") {
        true => json(&directory, &larder, &shims, &order),
        false => text(&directory, &shims, &order, changes),
    })?;
    if shims.iter().any(|shim| shim.state == State::Foreign) { exit(1) } else { Ok(()) }
}

/// The names of compilers, and which program larder runs for each.
fn real_compilers(path: &OsStr) -> BTreeMap<OsString, PathBuf> {
    let real = |(name, places): (OsString, Vec<super::toolchain::Place>)| {
        let is_compiler = |what: &What| matches!(what, What::Program | What::Script(_));
        let place = places.into_iter().find(|place| is_compiler(&place.what))?;
        Some((name, place.path))
    };
    compilers(path).into_iter().filter_map(real).collect()
}

fn refused(verb: &str, path: &Path, error: &std::io::Error) -> Failure {
    let advice = match error.kind() {
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => "give the name of a directory",
        _ => "give a directory that this user may write",
    };
    Failure::Failed(format!("cannot {verb} {}: {error}; {advice}", path.display()))
}

/// What is at `path`. A link is ours if it leads to this program, or to one called larder that may
/// be gone.
fn look(path: &Path) -> Found {
    match fs::symlink_metadata(path) {
        Err(_) => Found::Nothing,
        Ok(facts) if facts.is_symlink() => {
            let target = fs::read_link(path).unwrap_or_default();
            let own = fs::canonicalize("/proc/self/exe").ok();
            let leads_to_us = own.is_some() && fs::canonicalize(path).ok() == own;
            match leads_to_us || target.file_name() == Some(OsStr::new("larder")) {
                true => Found::Ours(target),
                false => Found::Foreign,
            }
        }
        Ok(_) => Found::Foreign,
    }
}

fn make(
    directory: &Path,
    larder: &Path,
    real: &BTreeMap<OsString, PathBuf>,
) -> Result<Vec<Shim>, Failure> {
    if real.is_empty() {
        let advice = "install gcc or clang, or set PATH to where they are";
        return Err(Failure::Failed(format!("there is no compiler in PATH; {advice}")));
    }
    let target = target(directory, larder);
    let mut shims = Vec::new();
    // A directory that is in PATH itself has the compilers, and no link could be made for them.
    for (name, compiler) in real {
        let path = directory.join(name);
        let state = match look(&path) {
            Found::Foreign => State::Foreign,
            Found::Ours(old) if old == target => State::Kept,
            Found::Ours(_) => {
                fs::remove_file(&path).map_err(|error| refused("replace", &path, &error))?;
                symlink(&target, &path).map_err(|error| refused("make", &path, &error))?;
                State::Updated
            }
            Found::Nothing => match symlink(&target, &path) {
                Ok(()) => State::Made,
                // Somebody was quicker.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => State::Foreign,
                Err(error) => return Err(refused("make", &path, &error)),
            },
        };
        shims.push(Shim { name: name.clone(), state, compiler: Some(compiler.clone()) });
    }
    let made: BTreeSet<OsString> = shims.iter().map(|shim| shim.name.clone()).collect();
    for name in ours(directory)?.into_iter().filter(|name| !made.contains(name)) {
        shims.push(take_away(directory, name)?);
    }
    Ok(shims)
}

/// The names in the directory that are compilers' and lead to larder.
fn ours(directory: &Path) -> Result<Vec<OsString>, Failure> {
    let entries = fs::read_dir(directory).map_err(|error| refused("read", directory, &error))?;
    let names = entries.flatten().map(|entry| entry.file_name());
    let is_ours = |name: &OsString| {
        is_compiler_name(name) && matches!(look(&directory.join(name)), Found::Ours(_))
    };
    let mut names: Vec<OsString> = names.filter(is_ours).collect();
    names.sort();
    Ok(names)
}

fn take_away(directory: &Path, name: OsString) -> Result<Shim, Failure> {
    let path = directory.join(&name);
    fs::remove_file(&path).map_err(|error| refused("remove", &path, &error))?;
    Ok(Shim { name, state: State::Removed, compiler: None })
}

fn remove(directory: &Path, _: &BTreeMap<OsString, PathBuf>) -> Result<Vec<Shim>, Failure> {
    ours(directory)?.into_iter().map(|name| take_away(directory, name)).collect()
}

fn list(directory: &Path, real: &BTreeMap<OsString, PathBuf>) -> Result<Vec<Shim>, Failure> {
    let shim = |name: OsString| {
        let compiler = real.get(&name).cloned();
        Shim { name, state: State::Kept, compiler }
    };
    Ok(ours(directory)?.into_iter().map(shim).collect())
}

/// What the links say, see rule 3.
fn target(directory: &Path, larder: &Path) -> PathBuf {
    let prefix = larder.parent().and_then(Path::parent);
    match prefix.filter(|prefix| *prefix != Path::new("/") && directory.starts_with(prefix)) {
        Some(_) => relative(directory, larder),
        None => larder.to_path_buf(),
    }
}

/// The way from a directory to a file; both are absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (from, to): (Vec<Component>, Vec<Component>) =
        (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(left, right)| left == right).count();
    let up = from[common..].iter().map(|_| Component::ParentDir);
    up.chain(to[common..].iter().copied()).collect()
}

/// Where the directory stands in `PATH`.
struct Order {
    is_there: bool,
    /// The first directory with a compiler that stands before it.
    before: Option<PathBuf>,
}

impl Order {
    fn of(directory: &Path, path: &OsStr, real: &BTreeMap<OsString, PathBuf>) -> Order {
        let mut before = None;
        for entry in directories(path) {
            if fs::canonicalize(&entry).is_ok_and(|entry| entry == directory) {
                return Order { is_there: true, before };
            }
            let has_compiler = real.values().any(|compiler| compiler.starts_with(&entry));
            if has_compiler && before.is_none() {
                before = Some(entry);
            }
        }
        Order { is_there: false, before }
    }

    fn is_right(&self) -> bool {
        self.is_there && self.before.is_none()
    }

    /// What has to be done about `PATH`.
    fn words(&self, directory: &Path) -> String {
        let directory = directory.display();
        match (&self.before, self.is_there) {
            (None, true) => format!("PATH is right: {directory} comes before the compilers\n"),
            (Some(before), true) => format!(
                "PATH has {} before {directory}, so the links are not used. Put it first:\n  \
                 export PATH=\"{directory}:$PATH\"\n",
                before.display()
            ),
            (_, false) => format!(
                "PATH does not have {directory} yet. Put it first:\n  \
                 export PATH=\"{directory}:$PATH\"\n"
            ),
        }
    }
}

fn text(directory: &Path, shims: &[Shim], order: &Order, changes: bool) -> String {
    let mut text = String::new();
    for shim in shims {
        let name = shim.name.display();
        let path = directory.join(&shim.name);
        let compiler = shim.compiler.as_ref().map(|path| path.display().to_string());
        text.push_str(&match (shim.state, compiler) {
            (State::Foreign, _) => {
                format!("{name}: {} is something else and stays; remove it first\n", path.display())
            }
            (State::Removed, _) => format!("{name}: removed\n"),
            (State::Kept, Some(compiler)) => format!("{name} -> {compiler}\n"),
            (state, Some(compiler)) => format!("{name} -> {compiler} ({})\n", state.name()),
            (_, None) => format!("{name} -> no compiler of this name is in PATH\n"),
        });
    }
    let count = |state| shims.iter().filter(|shim| shim.state == state).count() as u64;
    let (removed, foreign) = (count(State::Removed), count(State::Foreign));
    let links = counted(shims.len() as u64 - removed - foreign, "link");
    text.push_str(&format!("{links} in {}", directory.display()));
    if removed > 0 {
        text.push_str(&format!(", {removed} removed"));
    }
    if foreign > 0 {
        text.push_str(&format!(", {} left alone", counted(foreign, "name")));
    }
    text.push('\n');
    if changes || (removed == 0 && !shims.is_empty()) {
        text.push_str(&order.words(directory));
    }
    text
}

fn json(directory: &Path, larder: &Path, shims: &[Shim], order: &Order) -> String {
    let shim = |shim: &Shim| {
        let compiler = shim.compiler.as_ref().map(|path| path.display().to_string());
        Object::new()
            .text("name", &shim.name.to_string_lossy())
            .text("state", shim.state.name())
            .maybe_text("compiler", compiler.as_deref())
    };
    let before = order.before.as_ref().map(|path| path.display().to_string());
    Object::new()
        .text("directory", &directory.display().to_string())
        .text("larder", &larder.display().to_string())
        .switch("is_first_in_path", order.is_right())
        .switch("is_in_path", order.is_there)
        .maybe_text("comes_before", before.as_deref())
        .list("links", shims.iter().map(shim))
        .page()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_inside_one_tree_are_relative() {
        let of = |directory: &str, larder: &str| target(Path::new(directory), Path::new(larder));
        let rows = [
            ("/opt/x/shims", "/opt/x/bin/larder", "../bin/larder"),
            ("/usr/local/lib/larder/shims", "/usr/local/bin/larder", "../../../bin/larder"),
            ("/opt/x/bin", "/opt/x/bin/larder", "larder"),
            ("/home/me/shims", "/usr/bin/larder", "/usr/bin/larder"),
            ("/home/me/shims", "/bin/larder", "/bin/larder"),
        ];
        for (directory, larder, wanted) in rows {
            assert_eq!(of(directory, larder), Path::new(wanted), "{directory} {larder}");
        }
    }
}
