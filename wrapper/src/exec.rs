//! Finding and running the real compiler.
//!
//! 1. The compiler is never larder and never another compiler cache, however either is named or
//!    linked; a name that leads to one of them is looked for further along `PATH`.
//! 2. The compiler gets the user's environment, standard input and inherited descriptors (a
//!    jobserver's too) as they are. On a miss it also gets `LARDER_DISABLE`, so that a
//!    second larder behind it stands back, and `UNCACHED_ERR_FD`, the number of a descriptor:
//!    what a wrapper around the compiler writes there is seen now and stored never.
//! 3. What larder starts or becomes gets `_LARDER_CHAIN`, the programs that larders in this chain
//!    have started. A script that calls larder again, so that it would be found again, is passed
//!    over: the next program of its name runs, or there is an error, and no endless circle.
//! 4. A signal that ends larder goes to the compiler first, where nobody else has sent it there.
//! 5. Both output pipes are drained at the same time, so that neither side can wait for the other.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio, exit};

use larder_engine::env::end_child_too;
use rustix::fs::{FileType, Stat, stat};

use crate::compiler::{Family, is_toolchain_name};
use crate::files::behind_links;
use crate::outcome::{Counter, Reason};

/// Programs that are passed over when a compiler is looked for. A distributor (distcc, icecc) is no
/// cache: it stays, and its calls run uncached.
const CACHES: [&str; 2] = ["larder", "sccache"];
/// And those whose name begins so, as `ccache-4.13`.
const CACHE_PREFIX: &[u8] = b"ccache";

/// The variables of the setting `disable`, larder's own and ccache's.
const DISABLE_VARIABLES: [&str; 2] = ["LARDER_DISABLE", "CCACHE_DISABLE"];

/// The variable with the programs that larders in front of this one have started, with colons
/// between them.
const CHAIN_VARIABLE: &str = "_LARDER_CHAIN";
/// Programs in it. A build in a build in a build has some; a circle has as many as one likes.
const CHAIN_MAX: usize = 32;

/// Where programs are looked for when `PATH` is not set, as `execvp` does.
const PATH_DEFAULT: &str = "/bin:/usr/bin";

/// The exit status of a shell for a program that cannot be run, and for one that is missing.
const STATUS_CANNOT_RUN: i32 = 126;
const STATUS_NOT_FOUND: i32 = 127;

/// Larder itself, whatever it is called.
pub const OWN_EXE: &str = "/proc/self/exe";

/// A program that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Where it was found.
    pub path: PathBuf,
    /// The file that the links there lead to.
    pub file: PathBuf,
}

/// The real compiler for a program name: a path is taken as it stands, a bare name is looked for in
/// `PATH`. Where a path leads to a cache (a link of larder itself included), its last component is
/// looked for.
///
/// # Errors
/// The reason where there is none.
pub fn find_compiler(
    program: &OsStr,
    path_var: Option<&OsStr>,
    own_exe: &Path,
) -> Result<Program, Reason> {
    let as_path = Path::new(program);
    if program.as_bytes().contains(&b'/') {
        let found = as_program(as_path.to_owned());
        if !stat(as_path).is_ok_and(|facts| is_cache(&found, &facts, own_exe)) {
            return Ok(found);
        }
    }
    let name = as_path.file_name().unwrap_or_default();
    candidates(path_var.unwrap_or(OsStr::new(PATH_DEFAULT)), name)
        .find_map(|candidate| {
            let facts = stat(&candidate).ok().filter(is_executable)?;
            let found = as_program(candidate);
            (!is_cache(&found, &facts, own_exe)).then_some(found)
        })
        .ok_or_else(|| {
            let text = format!("no compiler called {} is in PATH", name.display());
            Reason::new(Counter::CouldNotFindCompiler, text)
        })
}

/// The program itself, or the next of its name where it is a script that has the name of a compiler
/// and has been started in this chain already: it has called larder, and would do so again.
///
/// # Errors
/// The reason where there is no other.
pub fn out_of_circle(
    found: Program,
    path_var: Option<&OsStr>,
    own_exe: &Path,
) -> Result<Program, Reason> {
    let Some(chain) = std::env::var_os(CHAIN_VARIABLE) else { return Ok(found) };
    let started: Vec<PathBuf> = std::env::split_paths(&chain).collect();
    if !started.contains(&found.path) {
        return Ok(found);
    }
    let circle = |why: &str| {
        let text =
            format!("{} calls this program again, which calls it{why}", found.path.display());
        Err(Reason::new(Counter::CouldNotFindCompiler, text))
    };
    if started.len() >= CHAIN_MAX {
        return circle(", and so on");
    }
    let name = found.path.file_name().unwrap_or_default();
    // A build may well run a script in the same script.
    if is_binary(&found.file) || !is_toolchain_name(name) {
        return Ok(found);
    }
    let mut others = candidates(path_var.unwrap_or(OsStr::new(PATH_DEFAULT)), name)
        .filter(|candidate| !started.contains(candidate))
        .filter_map(|candidate| {
            let facts = stat(&candidate).ok().filter(is_executable)?;
            let other = as_program(candidate);
            (!is_cache(&other, &facts, own_exe) && other.file != found.file).then_some(other)
        });
    match others.next() {
        Some(other) => Ok(other),
        None => circle("; no other program of that name is in PATH"),
    }
}

/// Whether a program is none of those that name their interpreter.
pub fn is_binary(file: &Path) -> bool {
    let mut magic = [0; 4];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && &magic == b"\x7fELF"
}

/// The chain with one program more.
fn chain_with(program: &Path) -> OsString {
    let mut chain = std::env::var_os(CHAIN_VARIABLE).unwrap_or_default();
    let started = chain.as_bytes().split(|byte| *byte == b':').count();
    // Nobody reads more of it.
    if started <= CHAIN_MAX {
        if !chain.is_empty() {
            chain.push(":");
        }
        chain.push(program);
    }
    chain
}

/// The places of a name along `PATH`. An empty entry is the working directory; a bare name would be
/// looked for once more when it is run.
fn candidates(path_var: &OsStr, name: &OsStr) -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(path_var).map(move |directory| {
        let is_empty = directory.as_os_str().is_empty();
        if is_empty { Path::new(".").join(name) } else { directory.join(name) }
    })
}

/// Whether a word of a command line is larder itself, called `larder` or by a path that leads to
/// it: `larder larder gcc` is one wrapper, not two.
pub fn is_larder(program: &OsStr, own_exe: &Path) -> bool {
    let path = Path::new(program);
    let has_own_name = |path: &Path| path.file_name() == Some(OsStr::new("larder"));
    if !program.as_bytes().contains(&b'/') {
        return has_own_name(path);
    }
    stat(path).is_ok_and(|facts| is_same_file(&facts, own_exe)) || has_own_name(&behind_links(path))
}

fn as_program(path: PathBuf) -> Program {
    Program { file: behind_links(&path), path }
}

fn is_executable(facts: &Stat) -> bool {
    FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile && facts.st_mode & 0o111 != 0
}

fn is_cache(program: &Program, facts: &Stat, own_exe: &Path) -> bool {
    let name = program.file.file_name().unwrap_or_default();
    name.as_bytes().starts_with(CACHE_PREFIX)
        || CACHES.iter().any(|cache| name == *cache)
        || is_same_file(facts, own_exe)
}

fn is_same_file(facts: &Stat, path: &Path) -> bool {
    stat(path).is_ok_and(|other| (facts.st_dev, facts.st_ino) == (other.st_dev, other.st_ino))
}

/// What happens to one output stream of a compiler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// It goes where larder's own goes.
    Inherit,
    /// It is collected.
    Collect,
    /// It is thrown away.
    Discard,
}

impl From<Stream> for Stdio {
    fn from(stream: Stream) -> Stdio {
        match stream {
            Stream::Inherit => Stdio::inherit(),
            Stream::Collect => Stdio::piped(),
            Stream::Discard => Stdio::null(),
        }
    }
}

/// What happens to the output streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capture {
    /// Standard output.
    pub stdout: Stream,
    /// Standard error.
    pub stderr: Stream,
}

/// How a compiler ended, and what it wrote to collected streams.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ran {
    /// The raw wait status.
    pub status: ExitStatus,
    /// Standard output, empty unless collected.
    pub stdout: Vec<u8>,
    /// Standard error, empty unless collected.
    pub stderr: Vec<u8>,
}

/// Runs a program to its end, with changes to the environment: a value sets a variable, `None`
/// removes it.
///
/// # Errors
/// When the program cannot be started or its output not be read.
pub fn run(
    program: &Path,
    arguments: &[OsString],
    changes: &[(&OsStr, Option<&OsStr>)],
    capture: Capture,
) -> io::Result<Ran> {
    run_as(program, program.as_os_str(), arguments, changes, capture)
}

/// As [`run`]; `name` is the first argument, by which some programs call themselves in messages.
///
/// # Errors
/// As [`run`].
pub fn run_as(
    program: &Path,
    name: &OsStr,
    arguments: &[OsString],
    changes: &[(&OsStr, Option<&OsStr>)],
    capture: Capture,
) -> io::Result<Ran> {
    let mut command = Command::new(program);
    command.arg0(name).args(arguments);
    for (name, value) in changes {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::inherit()).stdout(capture.stdout).stderr(capture.stderr);
    let child = command.spawn()?;
    end_child_too(Some(child.id()));
    let output = child.wait_with_output();
    end_child_too(None);
    let output = output?;
    Ok(Ran { status: output.status, stdout: output.stdout, stderr: output.stderr })
}

/// What stands around a compiler that larder starts or becomes.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// Words before it.
    pub prefix: &'a [OsString],
    /// Whether larder is called `ccache`: then another ccache behind it stands back, too.
    pub is_ccache: bool,
}

impl Around<'_> {
    fn disable_variables(&self) -> &'static [&'static str] {
        if self.is_ccache { &DISABLE_VARIABLES } else { &DISABLE_VARIABLES[..1] }
    }
}

/// Runs the compiler behind the words of a prefix, as rule 2 says.
///
/// # Errors
/// As [`run`].
pub fn run_wrapped(
    around: Around<'_>,
    compiler: &Path,
    arguments: &[OsString],
    capture: Capture,
) -> io::Result<Ran> {
    // A duplicate is inherited, unlike the descriptors that the standard library opens.
    let uncached = rustix::io::dup(io::stderr()).ok();
    let number = uncached.as_ref().map(|file| file.as_raw_fd().to_string());
    let chain = chain_with(compiler);
    let mut changes = vec![
        (OsStr::new(CHAIN_VARIABLE), Some(chain.as_os_str())),
        (OsStr::new("UNCACHED_ERR_FD"), number.as_deref().map(OsStr::new)),
    ];
    for name in around.disable_variables() {
        changes.push((OsStr::new(name), Some(OsStr::new("1"))));
    }
    let Some((program, words)) = around.prefix.split_first() else {
        return run(compiler, arguments, &changes, capture);
    };
    let words = [words, &[compiler.into()], arguments].concat();
    run(Path::new(program), &words, &changes, capture)
}

/// Becomes the compiler behind the words of a prefix; returns if there is none, or it cannot start.
pub fn exec_wrapped(around: Around<'_>, compiler: &Path, arguments: &[OsString]) {
    if let Some((program, words)) = around.prefix.split_first() {
        let mut command = Command::new(program);
        command.envs(around.disable_variables().iter().map(|name| (name, "1")));
        command.env(CHAIN_VARIABLE, chain_with(compiler));
        let _ = command.args(words).arg(compiler).args(arguments).exec();
    }
}

/// Becomes the program. `name` is its first argument, as the user gave it; where larder was called
/// by a link named like the compiler, give the program's path instead, because gcc looks for its
/// parts beside what its first argument leads to. `variables` are added to the environment.
pub fn exec_passthrough(
    program: &Path,
    name: &OsStr,
    arguments: &[OsString],
    variables: &[(&str, &str)],
) -> ! {
    let error = exec(program, name, arguments, variables);
    eprintln!("larder: cannot run {}: {error}", program.display());
    exit(match error.kind() {
        io::ErrorKind::NotFound => STATUS_NOT_FOUND,
        _ => STATUS_CANNOT_RUN,
    })
}

/// As [`exec_passthrough`]; comes back with the error where that cannot be.
pub fn exec(
    program: &Path,
    name: &OsStr,
    arguments: &[OsString],
    variables: &[(&str, &str)],
) -> io::Error {
    let chain = chain_with(program);
    let become_it = |command: &mut Command| {
        command.args(arguments).env(CHAIN_VARIABLE, &chain).envs(variables.iter().copied()).exec()
    };
    let mut error = become_it(Command::new(program).arg0(name));
    if error.raw_os_error() == Some(libc::ENOEXEC) {
        // A script without a first line that says so: not every C library does as a shell would.
        error = become_it(Command::new("/bin/sh").arg(program));
    }
    error
}

/// Ends this process as another one ended: with its status, or killed by the same signal, so that
/// make and shells see what they would have seen.
pub fn end_like(status: ExitStatus) -> ! {
    if let Some(signal) = status.signal() {
        // A shell in place of this process raises the signal, which std cannot do safely; it
        // leaves no core, since the compiler has left one if it was to.
        let script = format!("ulimit -c 0; kill -{signal} $$");
        let _ = Command::new("/bin/sh").arg("-c").arg(script).exec();
        exit(128 + signal);
    }
    exit(status.code().unwrap_or(1))
}

/// Whether the compiler, left to itself, would colour its messages: whether on a miss
/// [`color_argument`] has to be added, because the compiler sees a pipe.
///
/// Measured with gcc 12 and clang 14: gcc wants a terminal, a `TERM` that is set and not `dumb`,
/// and a `GCC_COLORS` that is not empty; it does not know `NO_COLOR`. clang wants a terminal whose
/// `TERM` has colours; later versions obey `NO_COLOR`, and larder does for all. Two things that a
/// terminal gets are left out: gcc's links to its manual, and lines cut at the terminal's width.
pub fn wants_colors(
    family: Family,
    stderr_is_terminal: bool,
    variable: impl Fn(&str) -> Option<OsString>,
) -> bool {
    let term = variable("TERM");
    stderr_is_terminal
        && match family {
            Family::Gcc => {
                let is_off = variable("GCC_COLORS").is_some_and(|value| value.is_empty());
                term.is_some_and(|term| term != "dumb") && !is_off
            }
            Family::Clang => {
                let is_off = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
                term.is_some_and(|term| has_colors(term.as_bytes())) && !is_off
            }
        }
}

/// What makes a compiler colour its messages whatever stderr is.
pub fn color_argument(family: Family) -> &'static str {
    match family {
        Family::Gcc => "-fdiagnostics-color=always",
        Family::Clang => "-fcolor-diagnostics",
    }
}

/// Whether a terminal of this type has colours, by its name; the terminfo database would cost each
/// hit several system calls.
fn has_colors(term: &[u8]) -> bool {
    const PREFIXES: [&[u8]; 13] = [
        b"alacritty",
        b"ansi",
        b"cygwin",
        b"foot",
        b"gnome",
        b"konsole",
        b"linux",
        b"putty",
        b"rxvt",
        b"screen",
        b"tmux",
        b"wezterm",
        b"xterm",
    ];
    let is_monochrome = term.ends_with(b"-mono") || term.ends_with(b"-m");
    let is_known = PREFIXES.iter().any(|prefix| term.starts_with(prefix));
    !is_monochrome && (is_known || term.windows(5).any(|part| part == b"color"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const COLLECT: Capture = Capture { stdout: Stream::Collect, stderr: Stream::Collect };

    fn program(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `bin/larder` with links to it and to ccache in `shims`, real compilers in `bin`.
    fn house() -> (tempfile::TempDir, OsString, PathBuf) {
        let house = tempfile::tempdir().unwrap();
        let root = house.path();
        for name in ["bin/larder", "bin/ccache", "bin/gcc", "bin/distcc", "late/gcc"] {
            program(&root.join(name));
        }
        fs::create_dir(root.join("shims")).unwrap();
        fs::create_dir(root.join("masks")).unwrap();
        symlink("../bin/larder", root.join("shims/gcc")).unwrap();
        fs::hard_link(root.join("bin/larder"), root.join("shims/clang")).unwrap();
        symlink("../bin/ccache", root.join("masks/gcc")).unwrap();
        symlink("../bin/distcc", root.join("masks/g++")).unwrap();
        fs::write(root.join("masks/cc"), "not executable").unwrap();
        let path = std::env::join_paths(["shims", "masks", "bin"].map(|part| root.join(part)));
        let own = root.join("bin/larder");
        (house, path.unwrap(), own)
    }

    fn find(program: &str, path: &OsStr, own: &Path) -> Result<PathBuf, Counter> {
        let found = find_compiler(OsStr::new(program), Some(path), own);
        found.map(|program| program.path).map_err(|reason| reason.counter)
    }

    #[test]
    fn a_bare_name_passes_over_larder_and_other_caches() {
        let (house, path, own) = house();
        assert_eq!(find("gcc", &path, &own), Ok(house.path().join("bin/gcc")));
        assert_eq!(find("g++", &path, &own), Ok(house.path().join("masks/g++")));
        for absent in ["clang", "cc", "larder", "ccache", "", "nothing"] {
            assert_eq!(find(absent, &path, &own), Err(Counter::CouldNotFindCompiler), "{absent}");
        }
    }

    #[test]
    fn a_path_is_taken_as_it_stands_unless_it_leads_to_a_cache() {
        let (house, path, own) = house();
        let late = house.path().join("late/gcc");
        assert_eq!(find(late.to_str().unwrap(), &path, &own), Ok(late));
        for shim in ["shims/gcc", "masks/gcc"] {
            let shim = house.path().join(shim);
            let found = find(shim.to_str().unwrap(), &path, &own);
            assert_eq!(found, Ok(house.path().join("bin/gcc")), "{}", shim.display());
        }
        assert_eq!(find("./gcc", &path, &own), Ok("./gcc".into()));
    }

    #[test]
    fn an_empty_entry_of_path_is_the_working_directory() {
        let found: Vec<PathBuf> = candidates(OsStr::new("/a::b"), OsStr::new("gcc")).collect();
        assert_eq!(found, ["/a/gcc", "./gcc", "b/gcc"].map(PathBuf::from));
    }

    #[test]
    fn a_renamed_larder_is_known_by_its_inode() {
        let (house, path, _) = house();
        let renamed = house.path().join("bin/cache");
        program(&renamed);
        symlink("cache", house.path().join("bin/c++")).unwrap();
        assert_eq!(find("c++", &path, &renamed), Err(Counter::CouldNotFindCompiler));
    }

    #[test]
    fn larder_knows_itself_in_a_command_line() {
        let (house, _, own) = house();
        assert!(is_larder(OsStr::new("larder"), &own));
        assert!(is_larder(house.path().join("shims/gcc").as_os_str(), &own));
        assert!(!is_larder(OsStr::new("gcc"), &own));
        assert!(!is_larder(house.path().join("bin/gcc").as_os_str(), &own));
    }

    fn shell(script: &str) -> Ran {
        let arguments = [OsString::from("-c"), OsString::from(script)];
        let variable = OsStr::new("LARDER_TEST_VARIABLE");
        let changes = [(variable, Some(OsStr::new("set"))), (OsStr::new("HOME"), None)];
        run(Path::new("/bin/sh"), &arguments, &changes, COLLECT).unwrap()
    }

    #[test]
    fn much_output_on_both_streams_does_not_block() {
        let ran = shell("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; exit 3");
        assert_eq!((ran.stdout.len(), ran.stderr.len()), (1_000_000, 1_000_000));
        assert_eq!(ran.status.code(), Some(3));
    }

    #[test]
    fn the_environment_changes_only_as_asked() {
        let ran = shell("echo $LARDER_TEST_VARIABLE $HOME; [ \"$PATH\" ] && echo path");
        assert_eq!(ran.stdout, b"set\npath\n");
    }

    #[test]
    fn a_signal_is_reported_as_it_was() {
        assert_eq!(shell("kill -9 $$").status.signal(), Some(9));
        assert!(run(Path::new("/nonexistent"), &[], &[], COLLECT).is_err());
    }

    /// What the child of the tests below is to do; it is this test program, running only `child`.
    const ROLE: &str = "LARDER_TEST_ROLE";

    fn child_as(role: &str) -> Ran {
        let this = std::env::current_exe().unwrap();
        let arguments = ["--exact", "exec::tests::child", "--nocapture"].map(OsString::from);
        let changes = [(OsStr::new(ROLE), Some(OsStr::new(role)))];
        run(&this, &arguments, &changes, COLLECT).unwrap()
    }

    /// Does nothing but in a child.
    #[test]
    fn child() {
        match std::env::var(ROLE).as_deref() {
            Ok("exit") => end_like(ExitStatus::from_raw(3 << 8)),
            Ok("signal") => end_like(ExitStatus::from_raw(11)),
            Ok("exec") => {
                let script = "head -c 5 /proc/$$/cmdline; echo \" $0 $1\"; exit 4";
                let arguments = ["-c", script, "zero", "one"].map(OsString::from);
                exec_passthrough(Path::new("/bin/sh"), OsStr::new("named"), &arguments, &[])
            }
            Ok("missing") => exec_passthrough(Path::new("/nonexistent"), OsStr::new("x"), &[], &[]),
            _ => assert!(std::env::var_os(ROLE).is_none()),
        }
    }

    #[test]
    fn larder_ends_as_the_compiler_ended() {
        assert_eq!(child_as("exit").status.code(), Some(3));
        assert_eq!(child_as("signal").status.signal(), Some(11));
    }

    #[test]
    fn passing_through_becomes_the_compiler() {
        let ran = child_as("exec");
        assert_eq!(ran.status.code(), Some(4));
        assert!(ran.stdout.ends_with(b"named zero one\n"), "{ran:?}");
        assert_eq!(child_as("missing").status.code(), Some(STATUS_NOT_FOUND));
    }

    fn colors(family: Family, variables: &[(&str, &str)]) -> bool {
        wants_colors(family, true, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    /// `script -qec` showed what gcc 12 and clang 14 do with each `TERM`.
    #[test]
    fn colors_are_wanted_where_the_compilers_were_seen_to_color() {
        for (term, gcc, clang) in [
            ("xterm", true, true),
            ("xterm-256color", true, true),
            ("linux", true, true),
            ("dumb", false, false),
            ("", true, false),
            ("vt100", true, false),
            ("nonsense", true, false),
        ] {
            assert_eq!(colors(Family::Gcc, &[("TERM", term)]), gcc, "{term}");
            assert_eq!(colors(Family::Clang, &[("TERM", term)]), clang, "{term}");
        }
        assert!(!colors(Family::Gcc, &[]));
        assert!(!colors(Family::Clang, &[]));
        let no_gcc_colors = [("TERM", "xterm"), ("GCC_COLORS", "")];
        assert!(!colors(Family::Gcc, &no_gcc_colors));
        assert!(colors(Family::Clang, &no_gcc_colors));
        let no_color = [("TERM", "xterm"), ("NO_COLOR", "1")];
        assert!(colors(Family::Gcc, &no_color));
        assert!(!colors(Family::Clang, &no_color));
        assert!(!wants_colors(Family::Gcc, false, |_| Some("xterm".into())));
    }
}
