//! `larder`: a compiler launcher with a few commands for people.
//!
//! 1. Called by a link named like a compiler, or like what comes with one, larder is that program.
//!    Under any other name that has no `larder` in it, it is itself only if what follows is certain
//!    to be meant for it; else it says what a link is to be called.
//! 2. The first argument is a command if it is one of [`COMMANDS`]; any other word is a compiler. A
//!    compiler that is named like a command is given by its path.
//! 3. Wrong use ends with status 2 and says what would be right.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::exit;
use std::time::{Duration, Instant};

use larder_engine::{Budget, EngineCounter, Store};

use super::command::{Failure, print, store_directory};
use super::{ccache, doctor, job, trim, verify};
use crate::compiler::is_toolchain_name;
use crate::config::{self, Config};
use crate::exec::is_larder;
use crate::invocation::upkeep::{BACKGROUND, step_back, upkeep};
use crate::invocation::{self, open_store};
use crate::log::Log;
use crate::stats::{self, Report};

const STATUS_FAILED: i32 = 1;
const STATUS_WRONG_USE: i32 = 2;
const STATUS_UNREADABLE: i32 = 3;

/// A command waits so long for a janitor that is at work.
const JANITOR_WAIT: Duration = Duration::from_secs(60);

/// A command: its name, what it does in a line, and the function.
type Command = (&'static str, &'static str, fn(&[OsString]) -> Result<(), Failure>);

const COMMANDS: &[Command] = &[
    ("stats", "show hits, misses and the size of the store (--json: for programs)", show_stats),
    ("zero", "set the statistics to zero", zero),
    ("clear", "remove everything from the store", clear),
    (
        "config",
        "show the settings, where each comes from, and what is wrong with them",
        show_config,
    ),
    (
        "verify",
        "read the whole store, report damage (--json), drop it (--repair); see verify --help",
        verify::run,
    ),
    ("doctor", "explain the state of the store in words (--store, --json)", doctor::run),
    (
        "trim",
        "drop entries by size, age, namespace, or what no job used; see trim --help",
        trim::run,
    ),
    ("job", "begin, list and end jobs, for trim and traces; see job --help", job::run),
    (
        "janitor",
        "do the upkeep that is due: merge, evict, checkpoint (--background: out of the way)",
        janitor,
    ),
    ("checkpoint", "make the store safe against a power cut, now", checkpoint),
];

/// Runs the binary.
pub fn main() -> ! {
    let mut arguments = env::args_os();
    let called = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    let name = Path::new(&called).file_name().unwrap_or_default();
    if ccache::is_name(name) {
        ccache::main(&arguments);
    }
    if is_toolchain_name(name) {
        if ccache::is_behind(&called) {
            ccache::masquerade(name, &arguments);
        }
        invocation::run(name, &arguments, true);
    }
    if !is_own_name(name) && !arguments.first().is_some_and(|first| is_for_larder(first)) {
        end(Err(Failure::WrongUse(format!(
            "it is called as {0}, which it does not know as a compiler: give a link the name of a \
             compiler, as gcc, g++-12, clang or x86_64-linux-gnu-gcc, or write `larder {0}`",
            name.display()
        ))));
    }
    let arguments = without_own_name(&arguments);
    let Some((first, rest)) = arguments.split_first() else {
        end(Err(Failure::WrongUse("no compiler and no command is given".to_owned())))
    };
    match first.to_str() {
        Some("--help" | "-h" | "help") => end(print(&help())),
        Some("--version" | "-V") => end(print(&version())),
        Some(option) if option.starts_with('-') => {
            end(Err(Failure::WrongUse(format!("there is no option {option}"))))
        }
        Some("") => end(Err(Failure::WrongUse("the compiler's name is empty".to_owned()))),
        word => match COMMANDS.iter().find(|(name, ..)| Some(*name) == word) {
            Some(command) => end(run_command(command, rest)),
            None => invocation::run(first, rest, false),
        },
    }
}

/// Whether larder may have been installed under this name.
fn is_own_name(name: &OsStr) -> bool {
    name.is_empty() || name.as_encoded_bytes().windows(6).any(|part| part == b"larder")
}

/// Whether the first word is one that only larder understands, or a compiler.
fn is_for_larder(word: &OsStr) -> bool {
    let text = word.to_str().unwrap_or_default();
    let is_option = ["--help", "-h", "help", "--version", "-V"].contains(&text);
    let is_command = COMMANDS.iter().any(|(name, ..)| *name == text);
    let name = Path::new(word).file_name().unwrap_or_default();
    is_option || is_command || is_toolchain_name(name)
}

/// A command that asks for no help of its own gets the line that the list has.
fn run_command(command: &Command, arguments: &[OsString]) -> Result<(), Failure> {
    let (name, what, run) = command;
    let has_help = ["verify", "doctor", "trim", "job"].contains(name);
    match arguments.first().and_then(|word| word.to_str()) {
        Some("--help" | "-h") if !has_help => {
            let usage = if *name == "stats" { "stats [--json]" } else { name };
            print(&format!("usage: larder {usage}\n\n{what}\n"))
        }
        _ => run(arguments),
    }
}

/// `larder larder gcc` is one wrapper.
fn without_own_name(arguments: &[OsString]) -> &[OsString] {
    let own_exe = match arguments {
        [first, ..] if first.as_encoded_bytes().ends_with(b"larder") => {
            env::current_exe().unwrap_or_default()
        }
        _ => return arguments,
    };
    let count = arguments.iter().take_while(|word| is_larder(word, &own_exe)).count();
    &arguments[count..]
}

fn end(result: Result<(), Failure>) -> ! {
    match result {
        Ok(()) => exit(0),
        Err(Failure::Failed(text)) => {
            eprintln!("larder: {text}");
            exit(STATUS_FAILED)
        }
        Err(Failure::Unreadable(text)) => {
            eprintln!("larder: {text}");
            exit(STATUS_UNREADABLE)
        }
        Err(Failure::WrongUse(text)) => {
            eprintln!("larder: {text}; `larder --help` shows what there is");
            exit(STATUS_WRONG_USE)
        }
    }
}

fn version() -> String {
    format!("larder {}\n", env!("CARGO_PKG_VERSION"))
}

fn help() -> String {
    let mut text = String::from(
        "larder keeps what compilers make and hands it out when the same would be made again.\n\
         \n\
         usage:\n\
         \x20 larder COMPILER ARGUMENTS    compile, or restore what a compile has made before\n\
         \x20 larder COMMAND               see below\n\
         \n\
         A link to larder that is named like a compiler (gcc, g++-12, clang, cc) is that one.\n\
         In a build: make CC=\"larder gcc\", or cmake -DCMAKE_C_COMPILER_LAUNCHER=larder.\n\
         \n\
         commands:\n",
    );
    for (name, what, _) in COMMANDS {
        text.push_str(&format!("  {name:<12}{what}\n"));
    }
    text.push_str(
        "\nsettings (in the environment; without LARDER_ and in small letters in larder.toml):\n",
    );
    for (variable, what) in config::describe_variables() {
        text.push_str(&format!("  {variable:<26}{what}\n"));
    }
    text
}

fn no_arguments(arguments: &[OsString]) -> Result<(), Failure> {
    match arguments.first() {
        None => Ok(()),
        Some(word) => Err(Failure::WrongUse(format!("{} is one word too many", word.display()))),
    }
}

fn open() -> Result<Store, Failure> {
    let config = Config::load();
    Ok(open_store(&config, store_directory(&config)?)?)
}

/// A store for a command that changes it.
fn open_writable() -> Result<Store, Failure> {
    let store = open()?;
    if store.is_read_only() {
        return Err(Failure::Failed(format!("{} is read-only", store.path().display())));
    }
    Ok(store)
}

fn show_stats(arguments: &[OsString]) -> Result<(), Failure> {
    let json = is_json(arguments)?;
    let report = Report::read(&open()?)?;
    print(&if json { report.json() } else { report.text() })
}

fn zero(arguments: &[OsString]) -> Result<(), Failure> {
    no_arguments(arguments)?;
    stats::zero(&open_writable()?);
    print("the statistics are zero\n")
}

fn clear(arguments: &[OsString]) -> Result<(), Failure> {
    no_arguments(arguments)?;
    let store = open_writable()?;
    after_janitor(&store, Store::clear)?;
    print(&format!("{} is empty\n", store.path().display()))
}

fn show_config(arguments: &[OsString]) -> Result<(), Failure> {
    no_arguments(arguments)?;
    let mut config = Config::load();
    config.check_variable_names(env::vars_os().map(|(name, _)| name));
    print(&config.describe())
}

/// Whether `--json` is asked for; nothing else may be.
fn is_json(arguments: &[OsString]) -> Result<bool, Failure> {
    match arguments {
        [] => Ok(false),
        [word] if word == OsStr::new("--json") => Ok(true),
        _ => Err(Failure::WrongUse("this command takes nothing but --json".to_owned())),
    }
}

fn janitor(arguments: &[OsString]) -> Result<(), Failure> {
    match arguments {
        [word] if word == BACKGROUND => {
            step_back();
            let log = Log::new(Config::load().log.value);
            let outcome = invocation::guarded(&log, upkeep_now);
            let failed = "upkeep in the background failed".to_owned();
            let outcome = outcome.unwrap_or(Err(Failure::Failed(failed)));
            outcome.map(drop).inspect_err(|failure| {
                log.line(format_args!("the janitor failed: {}", failure.text()));
            })
        }
        _ => {
            no_arguments(arguments)?;
            print(&upkeep_now()?)
        }
    }
}

/// Does what can be done, and tells what that was.
fn upkeep_now() -> Result<String, Failure> {
    let store = open_writable()?;
    let rebuilds = || store.counters().get(EngineCounter::Rebuilds.id());
    let rebuilt_before = rebuilds();
    let done = upkeep(&store, Budget::full())?;
    if done.busy {
        return Ok("another janitor is at work\n".to_owned());
    }
    let mut text = String::new();
    if done.segments_evicted > 0 {
        let evicted = stats::counted(done.segments_evicted, "segment");
        text.push_str(&format!("{evicted} evicted, {} freed\n", stats::size(done.bytes_evicted)));
    }
    match done.merged {
        true if rebuilds() > rebuilt_before => text.push_str("the index was built anew\n"),
        true => text.push_str("what was new was merged into the index\n"),
        false => {}
    }
    if done.checkpointed {
        text.push_str("a checkpoint was made\n");
    }
    Ok(if text.is_empty() { "nothing was due\n".to_owned() } else { text })
}

/// Does what needs the lock of upkeep. Right after a build a janitor often has it, for seconds on a
/// slow disk; a lock that is not given back is another matter, and told at once.
fn after_janitor<T>(
    store: &Store,
    work: impl Fn(&Store) -> larder_engine::Result<T>,
) -> larder_engine::Result<T> {
    let begun = Instant::now();
    loop {
        match work(store) {
            Err(error)
                if error.is_busy()
                    && store.is_being_maintained()
                    && begun.elapsed() < JANITOR_WAIT => {}
            other => return other,
        }
    }
}

fn checkpoint(arguments: &[OsString]) -> Result<(), Failure> {
    no_arguments(arguments)?;
    after_janitor(&open_writable()?, Store::checkpoint)?;
    print("everything that is in the store would survive a power cut\n")
}
