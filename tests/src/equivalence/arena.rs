//! Where a script runs: one directory, in which every call is made without larder and with it, one
//! after the other, so that all of them see the same absolute paths.
//!
//! 1. Before each run the directory is put back to what it was before the first one; inputs are not
//!    touched by that. At last it is left as the second run with larder left it.
//! 2. Compared are status, stdout, stderr and every entry of the directory and of the one for
//!    temporary files.
//! 3. What differs is compared with a few more runs of the compiler alone, after the others: where
//!    two such runs differ, the compiler is not identical to itself, and that part is not judged.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use super::Language;
use super::script::{Action, Call, Entry, ROOT, Script, Step, Time, Way};
use super::tree::Tree;
use crate::{TempDir, temp_dir};

/// Runs of the compiler alone that show whether it is identical to itself. clang gives one of two
/// precompiled headers by chance.
const RUNS_ALONE: usize = 16;

/// What one command left.
#[derive(Clone, PartialEq, Debug)]
struct Left {
    status: Vec<Option<i32>>,
    stdout: Vec<String>,
    stderr: Vec<String>,
    tree: Tree,
}

/// Something that differs, by name: what the compiler alone left, and larder.
type Differences = BTreeMap<String, (String, String)>;

/// What larder counted for one call: `direct_cache_hit`, `cache_miss`, ... or the reason.
pub type Counted = String;

/// How a step ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What larder's calls were counted as.
    pub counted: Vec<Counted>,
    /// Parts that were not judged, because two runs of the compiler alone differ in them.
    pub unstable: Vec<String>,
    /// What is wrong.
    pub wrong: Vec<String>,
    /// Whether the compiler alone succeeded.
    pub is_success: bool,
}

/// Where larder stands, and a store that knows the usual compilers: to read all of a compiler takes
/// longer than a hundred compiles.
pub struct Kitchen {
    pub(super) language: Language,
    folder: TempDir,
    larder: PathBuf,
    /// Where compilers are searched.
    path: String,
}

impl Kitchen {
    /// Makes the store.
    ///
    /// # Errors
    /// If the directory for it cannot be used, or larder does not start.
    pub fn new(larder: &Path, language: Language) -> io::Result<Kitchen> {
        let mut path = std::env::var("PATH").unwrap_or_default();
        if language == Language::Rust {
            path = format!("{}:{path}", toolchain_programs()?);
        }
        let larder = larder.to_path_buf();
        let kitchen = Kitchen { language, folder: temp_dir(), larder, path };
        let place = kitchen.folder.path();
        fs::create_dir(place.join("links"))?;
        let (source, calls) = language.trials();
        fs::write(place.join(source.0), source.1)?;
        for call in calls {
            let mut command = Command::new(&kitchen.larder);
            command.args(*call).current_dir(place).env_clear().env("PATH", &kitchen.path);
            kitchen.settings(&mut command, &place.join("store"));
            command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        }
        Ok(kitchen)
    }

    fn settings(&self, command: &mut Command, store: &Path) {
        command.env("LARDER_DIR", store).env("LARDER_JANITOR", "off");
        command.env("LARDER_MAX_SIZE", "256MiB");
        // What compiles is not touched by it, and what does not is asked for, too.
        command.env("LARDER_STORE_FAILURES", "1");
        if self.language == Language::Link {
            command.env("LARDER_CACHE_LINKS", "1");
        }
    }

    /// Copies the store.
    fn store(&self, target: &Path) -> io::Result<()> {
        copy(&self.folder.path().join("store"), target)
    }
}

/// The directory of rustc itself: projects have a home of their own, in which rustup finds nothing.
fn toolchain_programs() -> io::Result<String> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output()?;
    let root = String::from_utf8(output.stdout).map_err(io::Error::other)?;
    Ok(format!("{}/bin", root.trim()))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A directory for one script.
pub struct Arena<'a> {
    kitchen: &'a Kitchen,
    folder: TempDir,
    /// Where the project stands at the moment.
    root: PathBuf,
    call: Call,
    counters: BTreeMap<String, u64>,
}

impl<'a> Arena<'a> {
    /// The files of a script, and a store without results of it.
    ///
    /// # Errors
    /// If something cannot be written.
    pub fn new(kitchen: &'a Kitchen, script: &Script) -> io::Result<Arena<'a>> {
        let call = script.call.clone();
        let folder = temp_dir();
        let root = folder.path().join("work");
        let mut arena = Arena { kitchen, folder, root, call, counters: BTreeMap::new() };
        kitchen.store(&arena.store())?;
        arena.counted()?;
        for name in ["work", "tmp", "home"] {
            fs::create_dir(arena.folder.path().join(name))?;
        }
        for (name, entry) in &script.files {
            match entry {
                Entry::File(text) => arena.write(name, text, Time::Now, Way::Into)?,
                Entry::Link(target) => arena.link(name, target)?,
            }
        }
        Ok(arena)
    }

    fn expand(&self, text: &str) -> String {
        text.replace(ROOT, &self.root.display().to_string())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes the changes of a step and runs its call; nothing if the step is silent.
    ///
    /// # Errors
    /// If the directory cannot be read or written, or larder does not start.
    pub fn step(&mut self, step: &Step) -> io::Result<Outcome> {
        step.actions.iter().for_each(|action| self.act(action));
        if step.is_silent || !self.path(&self.call.directory).is_dir() {
            return Ok(Outcome::default());
        }
        let roots = [self.root.clone(), self.folder.path().join("tmp")];
        let roots: Vec<&Path> = roots.iter().map(PathBuf::as_path).collect();
        let mut outcome = Outcome::default();
        if let Some((microseconds, action)) = &step.meanwhile {
            let before = Tree::look(&roots)?;
            self.race(step, Duration::from_micros(*microseconds), action)?;
            outcome.counted.extend(self.counted()?);
            self.forget_outputs(&before, action, &roots)?;
        }
        let before = starting_point(&roots)?;
        if step.copy_first {
            self.run_copy(step)?;
            outcome.counted.extend(self.counted()?);
        }
        let mut run = |arena: &mut Arena<'_>, with_larder: bool| -> io::Result<Left> {
            before.put_back(&roots)?;
            let left = arena.run(step, with_larder, &roots)?;
            if with_larder {
                outcome.counted.extend(arena.counted()?);
            }
            Ok(left)
        };
        let (expected, first) = if step.larder_first {
            let first = run(self, true)?;
            (run(self, false)?, first)
        } else {
            let expected = run(self, false)?;
            (expected, run(self, true)?)
        };
        let second = run(self, true)?;
        if let Some(name) = outcome.counted.iter().find(|name| OWN_FAULTS.contains(&name.as_str()))
        {
            outcome.wrong.push(format!("larder counted {name}"));
        }
        outcome.is_success = expected.status.iter().all(|status| *status == Some(0));
        let wrong: Vec<_> = [("first", &first), ("second", &second)]
            .into_iter()
            .map(|(which, left)| (which, differences(&expected, left)))
            .filter(|(_, differences)| !differences.is_empty())
            .collect();
        if !wrong.is_empty() {
            let left = Tree::look(&roots)?;
            // The compiler alone ran after larder: what shows the time may have changed in between,
            // and not since.
            if step.larder_first {
                std::thread::sleep(Duration::from_millis(1100));
            }
            let mut again = Differences::new();
            let is_explained = |again: &Differences| {
                wrong.iter().all(|(_, found)| found.keys().all(|part| again.contains_key(part)))
            };
            for _ in 0..RUNS_ALONE {
                before.put_back(&roots)?;
                again.extend(differences(&expected, &self.run(step, false, &roots)?));
                if is_explained(&again) {
                    break;
                }
            }
            left.put_back(&roots)?;
            for (which, differences) in wrong {
                judge(which, differences, &again, &mut outcome);
            }
        }
        Ok(outcome)
    }

    /// Runs larder in a copy of the project, in another directory, which shares what it can.
    fn run_copy(&mut self, step: &Step) -> io::Result<()> {
        let copy = self.folder.path().join("copy");
        let original = std::mem::replace(&mut self.root, copy.clone());
        let copied = Command::new("cp").arg("-a").arg(&original).arg(&copy).status()?;
        let ended = match copied.success() {
            true => self.calls(step).iter().try_for_each(|call| {
                self.command(call, true, step).stdin(Stdio::null()).output().map(drop)
            }),
            false => Err(io::Error::other("the project cannot be copied")),
        };
        self.root = original;
        fs::remove_dir_all(&copy)?;
        ended
    }

    /// Runs larder while something is changed.
    fn race(&mut self, step: &Step, delay: Duration, action: &Action) -> io::Result<()> {
        let mut command = self.command(&self.call, true, step);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        std::thread::sleep(delay);
        self.act(action);
        child.wait()?;
        Ok(())
    }

    /// Puts back what a run has written, but not what was changed meanwhile.
    fn forget_outputs(&self, before: &Tree, action: &Action, roots: &[&Path]) -> io::Result<()> {
        let mut target = before.clone();
        let now = Tree::look(roots)?;
        for name in action.names() {
            let path = self.path(name);
            target.0.retain(|known, _| !known.starts_with(&path));
            // With the directories that were made for it.
            let is_its = |known: &Path| known.starts_with(&path) || path.starts_with(known);
            let changed = now.0.iter().filter(|(known, _)| is_its(known));
            target.0.extend(changed.map(|(path, node)| (path.clone(), node.clone())));
        }
        target.put_back(roots)
    }

    fn run(&self, step: &Step, with_larder: bool, roots: &[&Path]) -> io::Result<Left> {
        // What an earlier run has left there decides how rustc makes its outputs.
        let _ = fs::remove_dir_all(self.folder.path().join("home/inc"));
        let mut calls = self.calls(step);
        let last = calls.len() - 1;
        if step.has_twin {
            calls.extend(twin(&self.call));
        }
        let mut children = Vec::new();
        let mut outputs = Vec::new();
        for (at, call) in calls.iter().enumerate() {
            let mut command = self.command(call, with_larder, step);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            if with_larder && at >= last {
                children.push(command.spawn()?);
            } else {
                outputs.push(command.output()?);
            }
        }
        for child in children {
            outputs.push(child.wait_with_output()?);
        }
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            // By a link it is started by its whole path, and shows that; it finds its plugins so.
            match step.by_link && with_larder {
                true => {
                    text.replace("/usr/bin/ar: ", "ar: ").replace("/usr/bin/llvm-ar: ", "llvm-ar: ")
                }
                false => text,
            }
        };
        let list = |of: &dyn Fn(&Output) -> String| outputs.iter().map(of).collect();
        Ok(Left {
            status: outputs.iter().map(|output| output.status.code()).collect(),
            stdout: list(&|output| text(&output.stdout)),
            stderr: list(&|output| text(&output.stderr)),
            tree: Tree::look(roots)?,
        })
    }

    /// What a step runs one after the other.
    fn calls(&self, step: &Step) -> Vec<Call> {
        let mut calls = self.call.part_calls(step.parts_skipped);
        calls.push(Call { parts: Vec::new(), ..self.call.clone() });
        calls
    }

    fn command(&self, call: &Call, with_larder: bool, step: &Step) -> Command {
        let compiler = self.expand(&call.compiler);
        let mut path = self.kitchen.path.clone();
        let mut words = vec![compiler.clone()];
        // A link to larder under another name is larder itself.
        let may_link = !compiler.contains('/') && !compiler.starts_with("c99");
        if with_larder && step.by_link && may_link {
            let links = self.kitchen.folder.path().join("links");
            // It may stand from an earlier call.
            let _ = symlink(&self.kitchen.larder, links.join(&compiler));
            path = format!("{}:{path}", links.display());
        } else if with_larder {
            words.insert(0, self.kitchen.larder.display().to_string());
        }
        words.extend(call.words().map(|word| self.expand(word)));
        let mut command = if call.umask == 0o022 {
            Command::new(&words[0])
        } else {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &format!("umask {:o}; exec \"$@\"", call.umask), "sh", &words[0]]);
            shell
        };
        command.args(&words[1..]).current_dir(self.path(&call.directory)).env_clear();
        command.env("PATH", path).env("HOME", self.folder.path().join("home"));
        command.env("TMPDIR", self.folder.path().join("tmp"));
        self.kitchen.settings(&mut command, &self.store());
        command.env("LARDER_LOG", self.folder.path().join("log"));
        if step.copy_first {
            command.env("LARDER_BASE_DIRS", &self.root);
        }
        command
            .envs(call.variables.iter().map(|(name, value)| (name.as_str(), self.expand(value))));
        command
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// What has been counted since the last time, one word for each call.
    fn counted(&mut self) -> io::Result<Vec<Counted>> {
        let mut command = Command::new(&self.kitchen.larder);
        command.args(["stats", "--json"]).env_clear();
        self.kitchen.settings(&mut command, &self.store());
        let output = command.env("HOME", self.folder.path().join("home")).output()?;
        let now: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&output.stdout).map_err(io::Error::other)?;
        let mut counted = Vec::new();
        for (name, value) in now {
            let Some(count) = value.as_u64() else { continue };
            let before = self.counters.insert(name.clone(), count).unwrap_or(0);
            if ENDS.contains(&name.as_str()) {
                counted.extend((before..count).map(|_| name.clone()));
            }
        }
        if counted.is_empty() {
            counted.push("nothing_known".to_owned());
        }
        Ok(counted)
    }

    /// What larder has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Makes a change. Where a smaller script leaves it without its object, nothing happens.
    fn act(&mut self, action: &Action) {
        self.call.take(action);
        let _ = match action {
            Action::Write { name, text, time, way } => self.write(name, text, *time, *way),
            Action::Touch(name, time) => self.touch(name, *time),
            Action::Remove(name) => {
                let path = self.path(name);
                if path.is_dir() && !path.is_symlink() {
                    fs::remove_dir_all(path)
                } else {
                    fs::remove_file(path)
                }
            }
            Action::Rename(from, to) => fs::rename(self.path(from), self.path(to)),
            Action::Link(name, target) => self.link(name, target),
            Action::HardLink(name, old) => {
                let _ = fs::remove_file(self.path(name));
                fs::hard_link(self.path(old), self.path(name))
            }
            Action::Mode(name, mode) => {
                fs::set_permissions(self.path(name), fs::Permissions::from_mode(*mode))
            }
            _ => Ok(()),
        };
    }

    fn write(&self, name: &str, text: &str, time: Time, way: Way) -> io::Result<()> {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let time = match time {
            Time::Kept => fs::metadata(&path).and_then(|metadata| metadata.modified()).ok(),
            other => moment(other),
        };
        let target = match way {
            Way::Into => path.clone(),
            Way::Over => self.folder.path().join("home/new"),
        };
        fs::write(&target, self.expand(text))?;
        if let Some(time) = time {
            fs::File::options().write(true).open(&target)?.set_modified(time)?;
        }
        if way == Way::Over { fs::rename(target, path) } else { Ok(()) }
    }

    fn touch(&self, name: &str, time: Time) -> io::Result<()> {
        let time = moment(time).unwrap_or_else(SystemTime::now);
        fs::File::options().write(true).open(self.path(name))?.set_modified(time)
    }

    fn link(&self, name: &str, target: &str) -> io::Result<()> {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let _ = fs::remove_file(&path);
        symlink(self.expand(target), path)
    }
}

fn moment(time: Time) -> Option<SystemTime> {
    match time {
        Time::At(secs) => Some(SystemTime::UNIX_EPOCH + Duration::from_secs(secs)),
        Time::Now | Time::Kept => None,
    }
}

/// Of these, what is larder's own fault.
const OWN_FAULTS: &[&str] = &["internal_error", "store_unavailable"];

/// Counters of which every call adds to one.
const ENDS: &[&str] = &[
    "autoconf_test",
    "bad_compiler_arguments",
    "bad_input_file",
    "bad_output_file",
    "cache_miss",
    "called_for_link",
    "called_for_preprocessing",
    "compile_failed",
    "compiler_check_failed",
    "compiler_produced_empty_output",
    "compiler_produced_no_output",
    "could_not_find_compiler",
    "could_not_use_modules",
    "could_not_use_precompiled_header",
    "direct_cache_hit",
    "error_hashing_extra_file",
    "failure_cache_hit",
    "internal_error",
    "modified_input_file",
    "multiple_source_files",
    "no_input_file",
    "output_to_stdout",
    "preprocessed_cache_hit",
    "preprocessor_error",
    "store_unavailable",
    "unsupported_code_directive",
    "unsupported_compiler_option",
    "unsupported_environment_variable",
    "unsupported_source_encoding",
    "unsupported_source_language",
];

/// What every run begins with: all but objects of codegen units that a failed compile has left,
/// which rustc removes where it runs again, and a hit does not.
fn starting_point(roots: &[&Path]) -> io::Result<Tree> {
    let mut tree = Tree::look(roots)?;
    tree.0.retain(|path, _| !path.to_string_lossy().ends_with(".rcgu.o"));
    Ok(tree)
}

/// The same call with other names for the outputs that options name, if it names its object.
fn twin(call: &Call) -> Option<Call> {
    let mut other = Call { parts: Vec::new(), ..call.clone() };
    let mut has_object = false;
    for unit in &mut other.units {
        if unit[0] == "-save-temps" {
            return None;
        }
        for word in unit.iter_mut().filter(|word| names_output(word)) {
            *word = word.replace("out/", "out/twin-");
        }
        if let [option, value] = &mut unit[..] {
            has_object |= option == "-o" || option == "--out-dir";
            if option == "-o" || option == "--out-dir" || option == "-MF" {
                let (folder, name) = value.rsplit_once('/').unwrap_or((".", value));
                *value = format!("{folder}/twin-{name}");
            }
        }
    }
    has_object.then_some(other)
}

/// Whether a word names a further output in the form of an assignment.
fn names_output(word: &str) -> bool {
    let emits = ["--emit", "dep-info=", "metadata=", "link=", "obj=", "asm="];
    let links = ["-Wl,-Map", "-Wl,--dependency-file"];
    emits.iter().chain(&links).any(|start| word.starts_with(start))
}

fn differences(expected: &Left, left: &Left) -> Differences {
    let mut differences = Differences::new();
    let mut compare = |name: &str, a: String, b: String| {
        if a != b {
            differences.insert(name.to_owned(), (a, b));
        }
    };
    compare("status", format!("{:?}", expected.status), format!("{:?}", left.status));
    compare("stdout", expected.stdout.join("\n"), left.stdout.join("\n"));
    compare("stderr", expected.stderr.join("\n"), left.stderr.join("\n"));
    for path in expected.tree.differences(&left.tree) {
        let describe =
            |tree: &Tree| tree.0.get(&path).map_or("nothing".to_owned(), |node| node.describe());
        compare(&path.display().to_string(), describe(&expected.tree), describe(&left.tree));
    }
    differences
}

/// Divides what differs by whether two runs of the compiler alone differ there, too.
fn judge(which: &str, differences: Differences, again: &Differences, outcome: &mut Outcome) {
    for (name, (expected, left)) in differences {
        if again.contains_key(&name) {
            outcome.unstable.push(name);
        } else {
            outcome.wrong.push(format!(
                "{which} run with larder, {name}:\n--- compiler alone\n{expected}\n\
                 --- with larder\n{left}"
            ));
        }
    }
}

impl Action {
    /// The names that it changes.
    pub fn names(&self) -> Vec<&String> {
        match self {
            Action::Write { name, .. }
            | Action::Touch(name, _)
            | Action::Remove(name)
            | Action::Link(name, _)
            | Action::HardLink(name, _)
            | Action::Mode(name, _) => vec![name],
            Action::Rename(from, to) => vec![from, to],
            _ => Vec::new(),
        }
    }
}
