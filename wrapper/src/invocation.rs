//! One compile: asked for in the store, else run and stored.
//!
//! 1. Find the real compiler; parse the arguments; what cannot be cached is handed to the compiler
//!    by `exec`, and its reason is counted.
//! 2. [`lookup`]: direct key, manifest, variants, result; where a manifest is known but no variant
//!    fits, the preprocessed text. A hit restores and ends here, having started no process.
//!    With `store_failures` a failed compile is looked for last ([`failures`]).
//! 3. [`compile`]: run the compiler, pass its messages and status on, and only then store.
//!
//! A call that turns out to link goes through the same steps in [`links`], if that is wanted.
//!
//! Whatever fails before step 3, a panic included, ends in the compiler's own `exec`; whatever
//! fails after the compiler has run costs no more than the record. So the compiler runs once at
//! most, and its messages are never mixed with larder's: those go to the log. In two rare cases it
//! runs again, by `exec`, because its messages cannot be passed on as they were: they cannot be
//! written, or an added trace cannot be told from them.

mod account;
mod asks;
mod called_ccache;
mod called_sccache;
mod code;
mod compile;
mod complaint;
mod debug_files;
mod failures;
mod first;
pub mod foresee;
mod inputs;
mod links;
mod lookup;
mod lower;
mod messages;
mod modules;
mod once;
mod precompiled;
mod probed;
mod records;
mod remembered;
mod remote;
mod rust;
mod scratch;
mod searched;
mod settings;
mod shared;
mod steps;
mod streams;
mod text;
mod texts;
mod unlisted;
pub mod upkeep;
mod ways;

use std::cell::{Cell, RefCell};
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, exit};

use larder_engine::env::clock_ns;
use larder_engine::{EngineCounter, Key, Store};

use crate::account::{Account, Obstacle};
use crate::compiler;
use crate::compiler::{Compile, Family, Language};
use crate::config::Config;
use crate::digest::{Digest, Digests, Mentions, Seen};
use crate::exec::{self, Around};
use crate::fingerprint::{Facts, messages_state, place_state, unsupported_variable};
use crate::identity::{Toolchain, native};
use crate::log::Log;
use crate::manifest::Input;
use crate::outcome::{Counter, Kind, Reason};
use crate::place::{self, Place};
use crate::store::open_store;

/// The exit status of a shell for a command that is not there.
const STATUS_NOT_FOUND: i32 = 127;

/// The exit status of ccache for everything that goes wrong in it.
const STATUS_CCACHE_FAILED: i32 = 1;

/// The same of sccache.
const STATUS_SCCACHE_FAILED: i32 = 2;

/// Linux bounds each string of an environment (`MAX_ARG_STRLEN`), and gcc hands all its options on
/// in one of them, `COLLECT_GCC_OPTIONS`.
const VARIABLE_BYTES_MAX: usize = 128 << 10;
/// What larder and gcc itself add there: paths of a temporary file and of the object, each of up to
/// 4 KiB, and some short options.
const ADDED_BYTES_MAX: usize = 16 << 10;

/// The digest of a named file that is not there. No file has it.
const ABSENT: Digest = [0; 32];

/// What is known of the call before its arguments are understood.
struct Call<'a> {
    /// The fine clock when this process began to care, the T0 of `compile`.
    started_ns: u64,
    config: &'a Config,
    log: &'a Log,
    compiler: &'a Path,
    /// The file that the links at `compiler` lead to.
    compiler_file: &'a Path,
    /// What the compiler would be called as.
    name: &'a OsStr,
    arguments: &'a [OsString],
}

impl Call<'_> {
    /// What stands around the compiler, with these words before it.
    fn around<'a>(&self, prefix: &'a [OsString]) -> Around<'a> {
        Around { prefix, is_ccache: self.config.ccache.is_some() }
    }

    /// What a compiler that takes the place of this process gets to know.
    fn variables(&self) -> &'static [(&'static str, &'static str)] {
        match self.config.ccache {
            Some(_) if !self.config.disable.value => &[("CCACHE_DISABLE", "1")],
            _ => &[],
        }
    }
}

/// A call with its store.
struct Session<'a> {
    call: &'a Call<'a>,
    store: Store,
    digests: Digests,
    counts: RefCell<Vec<(Counter, u64)>>,
    /// What is compiled, once it is known.
    kind: Cell<Option<Kind>>,
    /// The source, once it is known.
    input: RefCell<Option<PathBuf>>,
    /// What ccache's debug files are to tell.
    debug: RefCell<debug_files::Debug>,
    /// What the engine had counted as damaged when this call began.
    damaged_before: u64,
    /// What the compiler had taken for the result of a hit, in microseconds; 0 for not known.
    avoided_us: Cell<u32>,
    /// What stands in the way of a hit, as far as it is known.
    obstacle: RefCell<Obstacle>,
    /// What there is to tell of a call that was no hit.
    account: RefCell<Account>,
    /// The lower stores.
    lower: Vec<lower::Layer>,
    /// Who speaks with the tiers.
    remote: RefCell<remote::Remote>,
    /// Why a write that must not fail has failed.
    failed_write: RefCell<Option<String>>,
    /// Nothing is to be written, and nothing restored: the answer alone is asked for.
    is_dry: bool,
}

/// A cacheable call and everything that its keys are made of.
struct Job {
    compile: Compile,
    directory: PathBuf,
    place: Option<Place>,
    toolchain: Toolchain,
    source: Digest,
    /// What the arguments mention; the inputs add theirs.
    mentions: Mentions,
    named: Vec<Input>,
    /// What `native` stands for on this machine, if the arguments say it.
    native: Option<Digest>,
    direct: Key,
    colored: bool,
}

impl Job {
    fn messages_state(&self) -> u64 {
        messages_state(self.colored, |name| env::var_os(name))
    }

    /// What a result is bound to beside its inputs, as manifests keep it: 0 for nothing.
    fn state(&self, has_messages: bool, shows_place: bool) -> u64 {
        let messages = if has_messages { self.messages_state() } else { 0 };
        match &self.place {
            Some(place) if shows_place => {
                place_state(place, messages, other_name_of(&self.directory))
            }
            _ => messages,
        }
    }

    /// Where marks of absent names stand.
    fn unit(&self) -> u64 {
        let mut unit = [0; 8];
        unit.copy_from_slice(&self.direct.as_bytes()[..8]);
        u64::from_le_bytes(unit)
    }

    /// Every state that a result for this call may be bound to.
    fn states(&self) -> Vec<u64> {
        let mut states = vec![self.state(false, false), self.state(true, false)];
        if self.place.is_some() {
            states.extend([self.state(false, true), self.state(true, true)]);
        }
        states
    }
}

/// What a look-up found.
enum Answer {
    /// The outputs stand; these are the messages.
    Hit { stdout: Vec<u8>, stderr: Vec<u8> },
    /// The compiler would fail with this status; so do these messages and what it leaves.
    Failure { status: ExitStatus, stdout: Vec<u8>, stderr: Vec<u8> },
    /// The compiler has to run; its result may get this preprocessed key.
    Miss { job: Box<Job>, alias: Option<Key> },
    /// The compiler has to run, and its result is not stored.
    Uncached(Reason),
}

/// Runs `larder PROGRAM ARGUMENTS` and ends this process. `is_link` tells that larder was called by
/// a link named like the compiler.
pub fn run(program: &OsStr, arguments: &[OsString], is_link: bool) -> ! {
    run_with(Config::load(), program, arguments, is_link)
}

/// The same with settings that have been read.
pub fn run_with(config: Config, program: &OsStr, arguments: &[OsString], is_link: bool) -> ! {
    let started_ns = clock_ns();
    let log = called_ccache::log(&config);
    for problem in &config.problems {
        log.line(format_args!("configuration: {problem}"));
    }
    let (exec::Program { path: compiler, file }, is_other) =
        find(&config, program).unwrap_or_else(|reason| end_without_compiler(&config, &reason));
    // ccache names the compiler by its path; so does larder where it is another than was named,
    // because gcc looks for its parts beside what its first argument leads to.
    let is_named = !is_link && config.ccache.is_none() && !is_other;
    let name = if is_named { program } else { compiler.as_os_str() };
    let call = Call {
        started_ns,
        config: &config,
        log: &log,
        compiler: &compiler,
        compiler_file: &file,
        name,
        arguments,
    };
    let session = if config.disable.value { None } else { guarded(&log, || open(&call)).flatten() };
    if let Some(session) = session {
        called_sccache::tell_unapplied(&session);
        let is_rust = config.ccache.is_none() && rust::is_rust(&compiler);
        let status = if is_rust { rust::handle(&session) } else { handle(&session) };
        finish(&session, status.is_some());
        if let Some(status) = status {
            exec::end_like(status)
        }
    }
    let is_compiler =
        compiler::family_of(compiler.file_name().unwrap_or_default(), &file).is_some();
    if is_compiler && !config.disable.value {
        exec::exec_wrapped(call.around(&config.prefix_command.value), &compiler, arguments);
    }
    if config.ccache.is_some() {
        let error = exec::exec(&compiler, name, arguments, call.variables());
        end_as_ccache(&format!("cannot run {}: {error}", compiler.display()))
    }
    exec::exec_passthrough(&compiler, name, arguments, call.variables())
}

/// The compiler that is meant by the call, and by ccache's settings; and whether it is another one,
/// because that would call larder again.
fn find(config: &Config, program: &OsStr) -> Result<(exec::Program, bool), Reason> {
    let own_exe = Path::new(exec::OWN_EXE);
    let ccache = config.ccache.as_deref();
    let program = ccache.and_then(|it| it.compiler.as_deref()).unwrap_or(program);
    let path = ccache.and_then(|it| it.path.clone()).or_else(|| env::var_os("PATH"));
    let found = exec::find_compiler(program, path.as_deref(), own_exe).map_err(|reason| {
        let text = format!("Could not find compiler \"{}\" in PATH", program.display());
        if ccache.is_some() { Reason { text, ..reason } } else { reason }
    })?;
    let first = found.path.clone();
    let found = exec::out_of_circle(found, path.as_deref(), own_exe)?;
    let is_other = found.path != first;
    Ok((found, is_other))
}

fn end_without_compiler(config: &Config, reason: &Reason) -> ! {
    count_alone(config, reason.counter);
    if config.ccache.is_some() {
        end_as_ccache(&reason.text)
    }
    if config.sccache.is_some() {
        eprintln!("sccache: error: failed to execute compile");
        eprintln!("sccache: caused by: {}", reason.text);
        exit(STATUS_SCCACHE_FAILED)
    }
    eprintln!("larder: {}", reason.text);
    exit(STATUS_NOT_FOUND)
}

fn end_as_ccache(what: &str) -> ! {
    eprintln!("ccache: error: {what}");
    exit(STATUS_CCACHE_FAILED)
}

/// The status that this process is to end with; `None` if the compiler has yet to run.
fn handle(session: &Session<'_>) -> Option<ExitStatus> {
    let log = session.call.log;
    match guarded(log, || lookup::answer(session)) {
        Some(Answer::Hit { stdout, stderr }) => {
            session.pass_on(&stdout, &stderr).then(ExitStatus::default)
        }
        Some(Answer::Failure { status, stdout, stderr }) => {
            session.pass_on(&stdout, &stderr).then_some(status)
        }
        Some(Answer::Miss { job, alias }) => compile::run_and_store(session, &job, alias),
        Some(Answer::Uncached(reason)) if links::are_meant(session, &reason) => {
            links::handle(session)
        }
        Some(Answer::Uncached(reason)) => {
            session.give_up(&reason);
            None
        }
        None => {
            session.count(Counter::InternalError);
            None
        }
    }
}

/// The one place where a panic ends: larder must never break a build.
pub fn guarded<T>(log: &Log, work: impl FnOnce() -> T) -> Option<T> {
    // The default hook would write to the compiler's stderr.
    panic::set_hook(Box::new(|_| {}));
    panic::catch_unwind(AssertUnwindSafe(work))
        .map_err(|payload| {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            log.line(format_args!("internal error: {}", text.unwrap_or("a panic")));
        })
        .ok()
}

fn open<'a>(call: &'a Call<'a>) -> Option<Session<'a>> {
    let path = call.config.dir.value.as_deref().or_else(|| {
        // A directory that is wrong is among the problems, and told already.
        if call.config.dir_problem.is_none() {
            call.log.line(format_args!("no store: neither LARDER_DIR nor HOME is set"));
        }
        None
    })?;
    if let Some(bytes) = file_bytes_max().filter(|bytes| *bytes < call.config.max_size_bytes.value)
    {
        // The kernel ends a process that writes beyond it.
        call.log.line(format_args!("no store: files may have {bytes} bytes at most"));
        return None;
    }
    match open_for(call.config, path) {
        Ok(store) => Some(Session::new(call, store, path)),
        Err(error) => {
            call.log.line(format_args!("cannot open the store: {error}"));
            None
        }
    }
}

/// Opens the store for a call. A store that is not there cannot be opened for reading, and ccache
/// counts in it under `read_only`, too.
fn open_for(config: &Config, path: &Path) -> larder_engine::Result<Store> {
    let opened = open_store(config, path);
    if opened.is_ok() || config.ccache.is_none() || !config.is_read_only() {
        return opened;
    }
    drop(open_store(&called_ccache::writing(config), path)?);
    open_store(config, path)
}

/// The limit on the length of files that this process may write, if there is one.
fn file_bytes_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current
}

/// One table per user: members of a shared store need not trust each other's digests.
fn digest_table(store: &Path) -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    store.join(format!("digests-{user}"))
}

/// Counts where there is no session.
fn count_alone(config: &Config, counter: Counter) {
    if let Some(path) = config.dir.value.as_deref()
        && !config.disable.value
        && called_ccache::counts(config)
        && file_bytes_max().is_none_or(|bytes| bytes >= config.max_size_bytes.value)
        && let Ok(store) = open_store(config, path)
        && !store.is_read_only()
    {
        store.counters().add(Counter::CallsMade as usize, 1);
        store.counters().add(counter as usize, 1);
    }
}

/// What look-ups of all processes found damaged, and took for misses.
fn damaged(store: &Store) -> u64 {
    store.counters().get(EngineCounter::Damaged.id())
}

/// Writes what was counted, and sees to the upkeep that was found due if the call is over. A
/// compiler that is yet to take this process's place neither waits for upkeep nor gets a child that
/// it knows nothing of; what is due stays due.
fn finish(session: &Session<'_>, is_over: bool) {
    session.count_remote_miss();
    session.count_lower_failures();
    let more = damaged(&session.store).saturating_sub(session.damaged_before);
    if more > 0 {
        session.log(format_args!("{more} look-ups missed, because the store is damaged there"));
    }
    guarded(session.call.log, || called_ccache::log_counts(session));
    guarded(session.call.log, || debug_files::write(session));
    if called_ccache::counts(session.call.config) {
        guarded(session.call.log, || account::close(session));
    }
    if session.store.is_read_only() {
        guarded(session.call.log, || called_ccache::count_read_only(session));
        return;
    }
    guarded(session.call.log, || {
        account::keep(session);
        if called_ccache::counts(session.call.config) {
            for (counter, count) in session.counts.borrow().iter() {
                session.store.counters().add(*counter as usize, *count);
            }
        }
        if is_over && session.store.maintenance_due() {
            upkeep::maintain(session);
        }
    });
}

impl<'a> Session<'a> {
    fn new(call: &'a Call<'a>, store: Store, path: &Path) -> Session<'a> {
        let table = digest_table(path);
        let take = |bytes| store.take_room(bytes).unwrap_or(false);
        let digests = Digests::open(Some(table.as_path()).filter(|_| !store.is_sealed()), take);
        let damaged_before = damaged(&store);
        let lower = call.config.lower.value.iter().cloned().map(lower::Layer::new);
        Session {
            call,
            store,
            digests,
            counts: RefCell::default(),
            kind: Cell::new(None),
            input: RefCell::default(),
            debug: RefCell::default(),
            damaged_before,
            avoided_us: Cell::new(0),
            obstacle: RefCell::default(),
            account: RefCell::default(),
            lower: lower.collect(),
            remote: RefCell::default(),
            failed_write: RefCell::default(),
            is_dry: false,
        }
    }
}

impl Session<'_> {
    fn count(&self, counter: Counter) {
        self.count_many(counter, 1);
    }

    fn count_many(&self, counter: Counter, count: u64) {
        self.counts.borrow_mut().push((counter, count));
    }

    fn has_counted(&self, counter: Counter) -> bool {
        self.counts.borrow().iter().any(|(counted, _)| *counted == counter)
    }

    fn log(&self, text: std::fmt::Arguments<'_>) {
        self.call.log.line(text);
    }

    fn give_up(&self, reason: &Reason) {
        self.count(reason.counter);
        let mut account = self.account.borrow_mut();
        account.outcome = reason.counter as u16;
        account.reason.clone_from(&reason.text);
        self.log(format_args!("{:?}: {}", reason.counter, reason.text));
    }

    /// Understands the call.
    fn job(&self) -> Result<Job, Reason> {
        if let Some(name) = unsupported_variable() {
            let text = format!("{name} is set");
            return Err(Reason::new(Counter::UnsupportedEnvironmentVariable, text));
        }
        let directory = env::current_dir().map_err(|error| {
            Reason::new(Counter::InternalError, format!("no working directory: {error}"))
        })?;
        let name = self.call.compiler.file_name().unwrap_or_default();
        let family = compiler::family_of(name, self.call.compiler_file);
        let (family, language) = family.ok_or_else(|| {
            let compiler = self.call.compiler.display();
            match compiler::is_preprocessor_name(name) {
                true => {
                    let text = format!("{compiler} is a preprocessor");
                    Reason::new(Counter::CalledForPreprocessing, text)
                }
                false if compiler::is_archiver_name(name) => {
                    Reason::new(Counter::CalledForLink, format!("{compiler} makes archives"))
                }
                false => {
                    let text = format!("{compiler} is no known compiler");
                    Reason::new(Counter::CompilerCheckFailed, text)
                }
            }
        })?;
        let mut compile = self.parsed(family, language, &directory)?;
        self.kind.set(Some(kind_of(family, compile.language)));
        settings::apply(self.call.config, &mut compile);
        check_length(&compile)?;
        let check = &self.call.config.compiler_check.value;
        let compiler = self.call.compiler;
        let toolchain = Toolchain::of(&compile, compiler, &self.store, &self.digests, check)?;
        let native = native::expansion(&compile, compiler, &toolchain, &self.store)?;
        let source = self.source(&compile)?;
        let named = self.named(&compile)?;
        let colored = wants_colors(&compile);
        let mut mentions = Mentions::default();
        for argument in &compile.arguments {
            mentions = mentions.union(Mentions::scan(argument.as_encoded_bytes()));
        }
        let mut job = Job {
            compile,
            place: Place::of(&self.call.config.base_dirs.value, &directory),
            directory,
            toolchain,
            source,
            mentions,
            named,
            native,
            direct: Key::of(b""),
            colored,
        };
        job.direct = self.facts(&job, crate::fingerprint::direct_key);
        self.note_job(&job);
        Ok(job)
    }

    fn source(&self, compile: &Compile) -> Result<Digest, Reason> {
        let seen = self.digests.look(&compile.input).map_err(|error| {
            let text = format!("cannot read {}: {error}", compile.input.display());
            Reason::new(Counter::BadInputFile, text)
        })?;
        if seen.mentions.any(Mentions::HIDDEN_INPUT) {
            return Err(hidden_input(&compile.input));
        }
        Ok(seen.digest)
    }

    fn named(&self, compile: &Compile) -> Result<Vec<Input>, Reason> {
        let extra = &self.call.config.extra_files_to_hash.value;
        let look = |path: &PathBuf| {
            let seen = match self.look_if_there(path) {
                // That its name is wrong is likelier than that it is absent.
                Ok(None) if extra.contains(path) => Err(io::ErrorKind::NotFound.into()),
                seen => seen,
            };
            match seen {
                Ok(seen) => {
                    Ok(Input { path: path.clone(), digest: seen.map_or(ABSENT, |s| s.digest) })
                }
                Err(error) => {
                    let text = format!("cannot read {}: {error}", path.display());
                    Err(Reason::new(Counter::ErrorHashingExtraFile, text))
                }
            }
        };
        compile.named_inputs.iter().map(look).collect()
    }

    /// The contents of what a compile or link has read, if it has not changed since this process
    /// began.
    fn digest_before(&self, path: &Path, work: &str) -> Result<Digest, Reason> {
        let modified = |what: &str| {
            Reason::new(Counter::ModifiedInputFile, format!("{}: {what}", path.display()))
        };
        let seen = self.digests.digest_and_change(path);
        let (digest, changed_ns) = seen.map_err(|error| modified(&error.to_string()))?;
        if changed_ns >= self.call.started_ns {
            return Err(modified(&format!("changed during the {work}")));
        }
        Ok(digest)
    }

    /// What stands at `path`, `None` if nothing does.
    fn look_if_there(&self, path: &Path) -> io::Result<Option<Seen>> {
        match self.digests.look(path) {
            Ok(seen) => Ok(Some(seen)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Calls `work` with the facts of `job`.
    fn facts<T>(&self, job: &Job, work: impl FnOnce(&Facts<'_>) -> T) -> T {
        work(&Facts {
            namespace: &self.call.config.namespace.value,
            toolchain: &job.toolchain.identity,
            compiler: self.call.compiler,
            compile: &job.compile,
            directory: &job.directory,
            place: job.place.as_ref(),
            leniency: settings::leniency(self.call.config),
            source: job.source,
            named: &job.named,
            native: job.native,
            variable: &|name| env::var_os(name),
            other_name: other_name_of(&job.directory),
        })
    }
}

fn kind_of(family: Family, language: Language) -> Kind {
    let (gcc, clang) = match language {
        Language::C | Language::COutput => (Kind::CGcc, Kind::CClang),
        Language::Cpp | Language::CppModule | Language::CppOutput => (Kind::CppGcc, Kind::CppClang),
        Language::Assembler => (Kind::AssemblerGcc, Kind::AssemblerClang),
        Language::AssemblerWithCpp => (Kind::AssemblerWithCppGcc, Kind::AssemblerWithCppClang),
    };
    if family == Family::Clang { clang } else { gcc }
}

/// The name of the working directory in `PWD`, if that is another one.
fn other_name_of(directory: &Path) -> Option<OsString> {
    place::other_name(directory, env::var_os("PWD"))
}

/// Whether an error says that there is no such file.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// With what larder adds, gcc must be able to hand its options on as it can without.
fn check_length(compile: &Compile) -> Result<(), Reason> {
    let bytes: usize = compile.arguments.iter().map(|word| handed_on_bytes(word)).sum();
    if compile.family == Family::Clang || bytes <= VARIABLE_BYTES_MAX - ADDED_BYTES_MAX {
        return Ok(());
    }
    Err(Reason::new(Counter::UnsupportedCompilerOption, "the command line is very long"))
}

/// The most that one word takes in gcc's variable: `-DX` stands there as `'-D' 'X'` with a blank
/// after it, and a quote as `'\''`.
fn handed_on_bytes(word: &OsStr) -> usize {
    let quotes = word.as_encoded_bytes().iter().filter(|byte| **byte == b'\'').count();
    word.len() + 6 + 3 * quotes
}

fn stream(path: &Path) -> Reason {
    let text = format!("{} may be an input that can be read once only", path.display());
    Reason::new(Counter::BadInputFile, text)
}

fn hidden_input(path: &Path) -> Reason {
    let text = format!("{} may read files that are not listed", path.display());
    Reason::new(Counter::UnsupportedCodeDirective, text)
}

fn wants_colors(compile: &Compile) -> bool {
    use std::io::IsTerminal;
    // clang's assembler says that it does not use such an option.
    compile.language != Language::Assembler
        && !compile.color_is_explicit
        && exec::wants_colors(compile.family, io::stderr().is_terminal(), |name| env::var_os(name))
}
