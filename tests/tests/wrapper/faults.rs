//! The store fails under a compile: disks that are full or read-only, files that are cut or gone,
//! system calls that are refused, and kills.
//!
//! Always: the object, the messages and the status are those of the compiler alone, and what
//! larder could not do stands in its log. When the cause is gone, results are stored and found
//! again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use larder_tests::disk::{Disk, FileSystem};
use larder_tests::larder_binary;

use super::{Left, Sandbox};

const CALL: &[&str] = &["-c", "a.c", "-o", "a.o", "-MD"];
const OTHER: &[&str] = &["-c", "b.c", "-o", "b.o"];

/// `a.c` is small and has a warning; the object of `b.c` is large and does not compress.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("h.h", "#define VALUE 1\n");
    sandbox.write("a.c", "#include \"h.h\"\n#warning look\nint f(void) { return VALUE; }\n");
    let numbers = (0..20_000u64)
        .map(|n| format!("{:#x},", larder_engine::checksum::xxh3_64(&n.to_le_bytes(), 1)));
    sandbox.write("b.c", &format!("unsigned long b[] = {{{}}};\n", numbers.collect::<String>()));
    super::wait_a_tick();
    sandbox
}

impl Sandbox {
    /// Keeps the store somewhere else.
    fn move_store(&mut self, store: &Path) {
        self.set("LARDER_DIR", store.to_str().unwrap());
    }

    /// Compiles, compares with what the compiler alone leaves, and returns what was logged.
    #[track_caller]
    fn right(&self, call: &[&str], expected: &Left, what: &str) -> String {
        let before = self.log().len();
        let left = self.compile("gcc", call);
        assert!(left == *expected, "{what}: {left:?}\n{}", self.log());
        self.log()[before..].to_owned()
    }
}

fn full_disk(kind: FileSystem) {
    let Some(disk) = Disk::new(kind) else { return };
    let mut sandbox = sandbox();
    sandbox.move_store(&disk.path().join("store"));
    let (small, large) = (sandbox.plain("gcc", CALL), sandbox.plain("gcc", OTHER));
    sandbox.check_cached("gcc", CALL);
    disk.fill();
    let log = sandbox.right(CALL, &small, "a hit on a full disk");
    assert!(log.contains("direct hit"), "{log}");
    for _ in 0..2 {
        let log = sandbox.right(OTHER, &large, "a miss on a full disk");
        assert!(log.contains("not stored: there is no room"), "{log}");
    }
    sandbox.move_store(&disk.path().join("none"));
    let log = sandbox.right(CALL, &small, "no store on a full disk");
    assert!(log.contains("cannot open the store"), "{log}");
    disk.free();
    for name in ["none", "store"] {
        sandbox.move_store(&disk.path().join(name));
        sandbox.check_cached("gcc", OTHER);
        assert_eq!(sandbox.check("gcc", CALL), if name == "store" { "direct" } else { "miss" });
    }
}

#[test]
fn a_full_ext4_disturbs_no_compile() {
    full_disk(FileSystem::Ext4);
}

#[test]
fn a_full_xfs_disturbs_no_compile() {
    full_disk(FileSystem::Xfs);
}

#[test]
fn a_full_btrfs_that_compresses_disturbs_no_compile() {
    full_disk(FileSystem::Btrfs);
}

#[test]
fn a_full_tmpfs_disturbs_no_compile() {
    full_disk(FileSystem::Tmpfs);
}

/// btrfs answers `EDQUOT` to root, too.
#[test]
fn a_used_up_quota_of_a_file_system_disturbs_no_compile() {
    let Some(disk) = Disk::new(FileSystem::Btrfs) else { return };
    if let Err(why) = disk.count_for_limits() {
        eprintln!("skipped, btrfs has no quotas here: {why}");
        return;
    }
    let mut sandbox = sandbox();
    sandbox.move_store(&disk.path().join("store"));
    let (small, large) = (sandbox.plain("gcc", CALL), sandbox.plain("gcc", OTHER));
    sandbox.check_cached("gcc", CALL);
    disk.limit(Some(100_000)).unwrap();
    for _ in 0..2 {
        let log = sandbox.right(OTHER, &large, "a miss over the quota");
        assert!(log.contains("not stored: there is no room"), "{log}");
        let log = sandbox.right(CALL, &small, "a hit over the quota");
        assert!(log.contains("direct hit"), "{log}");
    }
    disk.limit(None).unwrap();
    sandbox.check_cached("gcc", OTHER);
}

#[test]
fn a_disk_that_is_mounted_read_only_between_compiles_gives_hits_and_stores_nothing() {
    for kind in FileSystem::ALL {
        let Some(disk) = Disk::new(kind) else { continue };
        let mut sandbox = sandbox();
        sandbox.move_store(&disk.path().join("store"));
        let (small, large) = (sandbox.plain("gcc", CALL), sandbox.plain("gcc", OTHER));
        sandbox.check_cached("gcc", CALL);
        disk.remount("ro").unwrap();
        let log = sandbox.right(CALL, &small, "a hit");
        assert!(log.contains("direct hit"), "{log}");
        for _ in 0..2 {
            let log = sandbox.right(OTHER, &large, "a miss");
            assert!(log.contains("not stored: the store is read-only"), "{log}");
        }
        disk.remount("rw").unwrap();
        sandbox.check_cached("gcc", OTHER);
    }
}

/// A compile that waits in the midst of itself: its assembler is a script.
struct Gate {
    begun: PathBuf,
    shut: PathBuf,
}

impl Gate {
    fn new(sandbox: &mut Sandbox) -> Gate {
        let gate = Gate { begun: sandbox.path("begun"), shut: sandbox.path("shut") };
        let path = std::env::var("PATH").unwrap();
        let find = |dir: &Path| dir.join("as").is_file().then(|| dir.join("as"));
        let real = std::env::split_paths(&path).find_map(|dir| find(&dir)).unwrap();
        sandbox.write(
            "bin/as",
            &format!(
                "#!/bin/sh\ntouch '{}'\nwhile [ -e '{}' ]; do sleep 0.01; done\nexec {} \"$@\"\n",
                gate.begun.display(),
                gate.shut.display(),
                real.display()
            ),
        );
        let script = sandbox.path("bin/as");
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
        sandbox.set("PATH", &format!("{}:{path}", sandbox.path("bin").display()));
        super::wait_a_tick();
        gate
    }

    /// Compiles, and does `work` when the compiler is in the midst of it.
    fn compile(&self, sandbox: &Sandbox, call: &[&str], work: impl FnOnce()) -> Left {
        let _ = fs::remove_file(&self.begun);
        fs::write(&self.shut, "").unwrap();
        sandbox.remove_outputs();
        let mut command = sandbox.command(larder_binary());
        command.arg("gcc").args(call).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while !self.begun.exists() {
            assert!(Instant::now() < end && child.try_wait().unwrap().is_none(), "it has begun");
            std::thread::sleep(Duration::from_millis(2));
        }
        work();
        assert!(child.try_wait().unwrap().is_none(), "it is still compiling");
        fs::remove_file(&self.shut).unwrap();
        left_by(sandbox, &child.wait_with_output().unwrap())
    }
}

fn left_by(sandbox: &Sandbox, output: &Output) -> Left {
    Left {
        status: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        files: sandbox.outputs(),
    }
}

#[test]
fn a_store_that_is_deleted_during_a_compile_disturbs_it_not() {
    let mut sandbox = sandbox();
    let gate = Gate::new(&mut sandbox);
    let expected = sandbox.plain("gcc", CALL);
    let store = sandbox.store();
    let delete = || fs::remove_dir_all(&store).unwrap();
    type Work<'a> = &'a dyn Fn();
    let works: [(&str, Work<'_>); 4] = [
        ("deleted", &delete),
        ("a file in its place", &|| {
            delete();
            fs::write(&store, "no store").unwrap();
        }),
        ("an empty one in its place", &|| {
            delete();
            fs::create_dir(&store).unwrap();
        }),
        ("another one in its place", &|| {
            delete();
            let mut command = sandbox.command(larder_binary());
            // Not through the gate.
            command.env("PATH", std::env::var_os("PATH").unwrap());
            let output = command.args(["gcc", "-c", "b.c", "-o", "c.obj"]).output().unwrap();
            assert!(output.status.success());
        }),
    ];
    for (what, work) in works {
        sandbox.check_cached("gcc", CALL);
        for defines in ["-DFIRST", "-DSECOND"] {
            let before = sandbox.log().len();
            let is_first = defines == "-DFIRST";
            let call = [CALL, &[defines]].concat();
            let left = gate.compile(&sandbox, &call, || {
                if is_first {
                    work()
                }
            });
            assert_eq!(left, expected, "{what}: {}", sandbox.log());
            let log = sandbox.log()[before..].to_owned();
            assert!(!is_first || log.contains("not stored"), "{what}: {log}");
        }
        assert_eq!(sandbox.compile("gcc", CALL), expected, "{what}");
        if store.is_file() {
            fs::remove_file(&store).unwrap();
        }
        let _ = fs::remove_dir_all(&store);
    }
}

#[test]
fn a_disk_that_turns_read_only_during_a_compile_disturbs_it_not() {
    let Some(disk) = Disk::with(FileSystem::Ext4, ",errors=remount-ro") else { return };
    let mut sandbox = sandbox();
    let gate = Gate::new(&mut sandbox);
    sandbox.move_store(&disk.path().join("store"));
    let (small, large) = (sandbox.plain("gcc", CALL), sandbox.plain("gcc", OTHER));
    sandbox.check_cached("gcc", CALL);
    let mut is_broken = false;
    let left = gate.compile(&sandbox, OTHER, || is_broken = disk.break_down());
    assert_eq!(left, large, "{}", sandbox.log());
    if !is_broken {
        eprintln!("skipped: this kernel has no switch that breaks ext4");
        return;
    }
    assert!(sandbox.log().contains("not stored"), "{}", sandbox.log());
    let log = sandbox.right(CALL, &small, "a hit");
    assert!(log.contains("direct hit"), "{log}");
    disk.mount_again();
    for (call, expected) in [(CALL, &small), (OTHER, &large)] {
        sandbox.right(call, expected, "mounted again");
        let log = sandbox.right(call, expected, "stored again");
        assert!(log.contains("direct hit"), "{log}");
    }
}

/// What can befall a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Harm {
    Emptied,
    Halved,
    Garbage,
    Removed,
    Directory,
}

const HARMS: [Harm; 5] =
    [Harm::Emptied, Harm::Halved, Harm::Garbage, Harm::Removed, Harm::Directory];

impl Harm {
    fn befall(self, path: &Path) {
        let open = || fs::File::options().write(true).open(path).unwrap();
        let bytes = fs::metadata(path).unwrap().len();
        match self {
            Harm::Emptied => open().set_len(0).unwrap(),
            Harm::Halved => open().set_len(bytes / 2).unwrap(),
            Harm::Garbage => fs::write(path, vec![0xa5; bytes as usize]).unwrap(),
            Harm::Removed => fs::remove_file(path).unwrap(),
            Harm::Directory => {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }
        }
    }
}

/// The files of a store, relative to it.
fn files(store: &Path) -> Vec<PathBuf> {
    let list = |directory: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(store.join(directory)).unwrap().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.path().is_file());
        files.map(|entry| Path::new(directory).join(entry.file_name())).collect()
    };
    let mut files = [list(""), list("log")].concat();
    files.sort();
    files
}

fn is_long() -> bool {
    ["LARDER_LONG", "LARDER_TEST_SEEDS"].iter().any(|name| std::env::var_os(name).is_some())
}

/// Each file with each harm; where nobody asks for all, a third of them, each file and each harm
/// among them.
fn harms(files: &[PathBuf]) -> Vec<(&Path, Harm)> {
    let all = files.iter().flat_map(|file| HARMS.map(|harm| (file.as_path(), harm)));
    all.step_by(if is_long() { 1 } else { 3 }).collect()
}

fn copy_store(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to.join("log")).unwrap();
    for file in files(from) {
        fs::copy(from.join(&file), to.join(&file)).unwrap();
    }
}

/// A store with `a.c` in it, beside the one that larder uses.
fn template(sandbox: &Sandbox) -> PathBuf {
    sandbox.check_cached("gcc", CALL);
    let template = sandbox.dir.path().join("template");
    copy_store(&sandbox.store(), &template);
    template
}

#[test]
fn files_of_the_store_that_are_harmed_between_compiles_disturb_none() {
    let sandbox = sandbox();
    let expected = sandbox.plain("gcc", CALL);
    let template = template(&sandbox);
    let files = files(&template);
    assert!(files.len() >= 7, "{files:?}");
    for (file, harm) in harms(&files) {
        copy_store(&template, &sandbox.store());
        harm.befall(&sandbox.store().join(file));
        let what = format!("{} was {harm:?}", file.display());
        sandbox.right(CALL, &expected, &what);
        sandbox.right(CALL, &expected, &what);
    }
}

#[test]
fn files_of_the_store_that_are_harmed_during_a_compile_disturb_it_not() {
    let mut sandbox = sandbox();
    let gate = Gate::new(&mut sandbox);
    let call = [CALL, &["-DOTHER"]].concat();
    let expected = sandbox.plain("gcc", &call);
    let template = template(&sandbox);
    for (file, harm) in harms(&files(&template)) {
        copy_store(&template, &sandbox.store());
        let what = format!("{} was {harm:?}", file.display());
        let path = sandbox.store().join(file);
        let left = gate.compile(&sandbox, &call, || harm.befall(&path));
        assert_eq!(left, expected, "{what}: {}", sandbox.log());
        sandbox.right(&call, &expected, &what);
    }
}

/// Paths of a store, those that a compile may yet make too.
fn paths(store: &Path) -> Vec<PathBuf> {
    let names = "CACHEDIR.TAG superblock tail lock index counters recency log digests-0";
    let segments = ["log/00000001.seg", "log/00000002.seg", "log/00000003.seg"];
    let parts = names.split(' ').chain(segments).map(|name| store.join(name));
    std::iter::once(store.to_path_buf()).chain(parts).collect()
}

/// A compile in which one system call on the store meets a fault; how it ended, and whether the
/// fault was met. `None` where nothing can be traced.
fn with_fault(sandbox: &Sandbox, call: &[&str], inject: &str) -> Option<(Output, bool)> {
    let strace = larder_tests::find_or_skip("strace")?;
    let trace = sandbox.dir.path().join("trace");
    let _ = fs::remove_file(&trace);
    sandbox.remove_outputs();
    let mut command = sandbox.command(&strace);
    command.args(["-f", "-qq", "-e", &format!("inject={inject}"), "-o"]).arg(&trace);
    for path in paths(&sandbox.store()) {
        command.arg("-P").arg(path);
    }
    let output = command.arg(larder_binary()).arg("gcc").args(call).output().unwrap();
    let text = fs::read_to_string(&trace).unwrap_or_default();
    if text.is_empty() {
        eprintln!("skipped, nothing can be traced here");
        return None;
    }
    Some((output, text.contains("INJECTED")))
}

/// What a compile finds of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing.
    None,
    /// What it asks for.
    Hit,
    /// Something else.
    Miss,
}

impl State {
    fn prepare(self, sandbox: &Sandbox, template: &Path) {
        match self {
            State::None => drop(fs::remove_dir_all(sandbox.store())),
            State::Hit | State::Miss => copy_store(template, &sandbox.store()),
        }
    }
}

/// Lets the first, the second, ... call of a kind fail in a compile, until there are no more of
/// them; there must be so many. Each time the compile is right, and the log says why it was no hit
/// or why nothing was stored.
fn each_call_fails(state: State, call: &str, error: &str, calls_min: usize) {
    let sandbox = sandbox();
    let template = template(&sandbox);
    let arguments =
        if state == State::Miss { [CALL, &["-DOTHER"]].concat() } else { CALL.to_vec() };
    let expected = sandbox.plain("gcc", &arguments);
    let stride = if is_long() { 1 } else { calls_min.div_ceil(4) };
    for number in (1..).step_by(stride) {
        state.prepare(&sandbox, &template);
        let before = sandbox.log().len();
        let inject = format!("{call}:error={error}:when={number}");
        let Some((output, was_met)) = with_fault(&sandbox, &arguments, &inject) else { return };
        let log = sandbox.log()[before..].to_owned();
        let what = format!("{state:?}, {inject}: {log}");
        assert_eq!(left_by(&sandbox, &output), expected, "{what}");
        let next = sandbox.right(&arguments, &expected, &what);
        if !was_met {
            assert!(number > calls_min, "{what}: fewer than {number} calls");
            assert!(next.contains("direct hit"), "{what}");
            return;
        }
        let is_good = match state {
            State::Hit => log.contains("direct hit"),
            State::None | State::Miss => next.contains("direct hit"),
        };
        let reasons = ["not stored", "cannot", "damaged", "upkeep failed"];
        assert!(is_good || reasons.iter().any(|reason| log.contains(reason)), "{what}");
        let last = sandbox.right(&arguments, &expected, &what);
        assert!(last.contains("direct hit"), "{what}: {last}");
    }
}

macro_rules! each_call_fails {
    ($($test:ident: $state:ident, $call:literal, $error:literal, $calls_min:literal;)*) => {
        $(#[test]
        fn $test() {
            each_call_fails(State::$state, $call, $error, $calls_min);
        })*
    };
}

each_call_fails! {
    a_disk_that_cannot_be_read_makes_a_hit_a_miss: Hit, "pread64", "EIO", 6;
    a_read_that_is_interrupted_is_made_again: Hit, "pread64", "EINTR", 6;
    a_disk_that_cannot_be_read_drops_a_put: Miss, "pread64", "EIO", 10;
    a_disk_without_room_drops_a_put: Miss, "pwrite64", "ENOSPC", 8;
    a_used_up_quota_drops_a_put: Miss, "pwrite64", "EDQUOT", 8;
    a_disk_that_cannot_be_written_drops_a_put: Miss, "pwrite64", "EIO", 8;
    a_write_that_is_interrupted_is_made_again: Miss, "pwrite64", "EINTR", 8;
    a_disk_without_room_makes_no_store: None, "pwrite64,mkdir,ftruncate,fallocate", "ENOSPC", 15;
    a_disk_that_cannot_be_synced_makes_no_store: None, "fdatasync,fsync", "EIO", 1;
    a_store_without_open_files_to_spare_is_no_failure: Miss, "openat", "EMFILE", 5;
    a_store_that_may_not_be_opened_is_no_failure: Hit, "openat", "EACCES", 3;
    a_store_that_may_not_be_made_is_no_failure: None, "openat,mkdir", "EACCES", 9;
    a_store_that_cannot_be_mapped_is_read_by_calls: Hit, "mmap", "ENOMEM", 1;
    tables_that_cannot_be_mapped_are_done_without: None, "mmap", "ENOMEM", 2;
    a_file_system_without_locks_drops_a_put: Miss, "fcntl", "ENOLCK", 3;
    a_lock_that_is_interrupted_drops_a_put: Miss, "fcntl", "EINTR", 3;
    a_file_that_cannot_be_asked_is_no_failure: Miss, "statx,newfstatat,fstat", "EIO", 2;
    blocks_that_cannot_be_reserved_are_no_failure: None, "fallocate", "EINTR", 1;
}

/// What a compile asks of the kernel about its store.
const CALLS: &[&str] =
    &["openat", "mkdir", "pread64", "pwrite64", "fcntl", "mmap", "fallocate", "fdatasync", "fsync"];

/// Larder is killed before each of its system calls on the store: what stands then is whole or not
/// there, and the next compile is right.
fn killed_at_each_call(state: State, calls_min: usize) {
    let sandbox = sandbox();
    let template = template(&sandbox);
    let arguments =
        if state == State::Miss { [CALL, &["-DOTHER"]].concat() } else { CALL.to_vec() };
    let expected = sandbox.plain("gcc", &arguments);
    let stride = if is_long() { 1 } else { 6 };
    if with_fault(&sandbox, &arguments, "mkdir:error=EIO:when=1000").is_none() {
        return;
    }
    let mut killed = 0;
    for call in CALLS {
        for number in (1..).step_by(stride) {
            state.prepare(&sandbox, &template);
            let inject = format!("{call}:signal=SIGKILL:when={number}");
            match killed_at(&sandbox, &arguments, &expected, &inject) {
                Some(()) => killed += 1,
                None => break,
            }
        }
    }
    assert!(killed * stride >= calls_min, "{killed} kills");
}

/// Kills larder before one of its calls; `None` if it makes fewer, or nothing can be traced.
fn killed_at(sandbox: &Sandbox, arguments: &[&str], expected: &Left, inject: &str) -> Option<()> {
    let (output, _) = with_fault(sandbox, arguments, inject)?;
    let left = left_by(sandbox, &output);
    if output.status.signal() != Some(9) {
        assert_eq!(left, *expected, "{inject}");
        return None;
    }
    for (name, contents) in &left.files {
        // An object that is being written has another name.
        let is_whole = expected.files.get(name).is_some_and(|whole| whole == contents);
        assert!(is_whole || name.starts_with(".larder"), "{inject}: {name}");
    }
    sandbox.right(arguments, expected, inject);
    let last = sandbox.right(arguments, expected, inject);
    assert!(last.contains("direct hit"), "{inject}: {last}");
    Some(())
}

#[test]
fn a_hit_that_is_killed_leaves_whole_files_and_a_whole_store() {
    killed_at_each_call(State::Hit, 15);
}

#[test]
fn a_miss_that_is_killed_leaves_whole_files_and_a_whole_store() {
    killed_at_each_call(State::Miss, 40);
}

#[test]
fn a_maker_of_a_store_that_is_killed_leaves_whole_files_and_one_that_works() {
    killed_at_each_call(State::None, 60);
}
