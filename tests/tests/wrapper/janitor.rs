//! Who does the upkeep, and that nobody waits for it.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use larder_engine::env::{Env, LockByte, LockTable, RealEnv};
use larder_engine::{Key, Options, Put, RecordLayout, Store};
use larder_tests::sample::{Random, Value, disk_usage};
use larder_tests::{find_or_skip, larder_binary};
use rustix::process::{Pid, Signal, getpid, getsid, kill_process};

use super::Sandbox;

const MAX_SIZE: u64 = 64 << 20;

/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(120);

fn options() -> Options {
    Options::new().max_size_bytes(MAX_SIZE).layout(RecordLayout::Raw)
}

/// A sandbox whose store holds so many percent of its size, which nobody has merged yet.
fn filled(janitor: &str, percent: u64) -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.set("LARDER_JANITOR", janitor);
    sandbox.set("LARDER_MAX_SIZE", "64Mi");
    let store = Store::open(&sandbox.store(), options()).unwrap();
    let mut random = Random::new(1);
    for number in 0..10_000u64 {
        if store.used_bytes().unwrap() > MAX_SIZE / 100 * percent {
            return sandbox;
        }
        let value = Value::of(random.bytes(100_000));
        let put = store.put(&value.entry(Key::of(&number.to_le_bytes()))).unwrap();
        assert_eq!(put, Put::Stored);
    }
    panic!("the store does not fill");
}

fn evicted(sandbox: &Sandbox) -> u64 {
    sandbox.count("engine_segments_evicted")
}

/// The janitors at work for a sandbox.
fn janitors(sandbox: &Sandbox) -> Vec<Pid> {
    let of_store = format!("LARDER_DIR={}", sandbox.store().display());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_one = |number: &i32| {
        let read = |name: &str| fs::read(format!("/proc/{number}/{name}")).unwrap_or_default();
        let words = |name: &str| -> Vec<String> {
            let text = read(name);
            text.split(|byte| *byte == 0).map(|w| String::from_utf8_lossy(w).into()).collect()
        };
        words("cmdline").get(1).is_some_and(|word| word == "janitor")
            && words("environ").contains(&of_store)
    };
    numbers.filter(is_one).filter_map(Pid::from_raw).collect()
}

/// The fields of `/proc/PID/stat` from the state on.
fn stat(pid: Pid) -> Vec<String> {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let text = fs::read_to_string(path).unwrap_or_default();
    let (_, fields) = text.rsplit_once(") ").unwrap_or_default();
    fields.split(' ').map(str::to_owned).collect()
}

fn is_stopped(pid: Pid) -> bool {
    stat(pid).first().is_some_and(|state| state == "T")
}

/// Whether a process has the lock of upkeep: the kernel tells whose lock it is.
fn has_lock(pid: Pid) -> bool {
    let folder = format!("/proc/{}/fdinfo", pid.as_raw_nonzero());
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let byte = (LockByte::Janitor as u64).to_string();
    files.filter_map(|file| fs::read_to_string(file.path()).ok()).any(|text| {
        text.lines().filter(|line| line.starts_with("lock:")).any(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.contains(&"WRITE") && words.ends_with(&[&byte, &byte])
        })
    })
}

/// Stops the janitor of a sandbox if it has its lock now; of several, all but one end at once.
fn stop_janitor(sandbox: &Sandbox) -> Option<Stopped> {
    let [pid] = janitors(sandbox)[..] else { return None };
    let _ = kill_process(pid, Signal::STOP);
    while matches!(stat(pid).first().map(String::as_str), Some("R" | "S" | "D")) {
        std::thread::yield_now();
    }
    if is_stopped(pid) && has_lock(pid) {
        return Some(Stopped(pid));
    }
    let _ = kill_process(pid, Signal::CONT);
    None
}

/// Builds until a janitor that a build has started is stopped; the janitor, and what that build
/// says. A busy machine lets a janitor come and go unseen.
fn stop_one_of(sandbox: &Sandbox, build: impl Fn() -> Command) -> (Stopped, Option<Output>) {
    for turn in 0..200 {
        write_sources(sandbox, turn);
        let command = build();
        let building = std::thread::spawn(move || hear(command));
        loop {
            let is_over = building.is_finished();
            if let Some(janitor) = stop_janitor(sandbox) {
                return (janitor, building.join().unwrap());
            }
            if is_over && janitors(sandbox).is_empty() {
                break;
            }
        }
    }
    panic!("no janitor is seen at work");
}

/// Ends with the value: nothing that a test has stopped stays.
struct Stopped(Pid);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// The sources of the makefile, which no turn has had before.
fn write_sources(sandbox: &Sandbox, turn: u32) {
    for number in 0..8 {
        let text = format!("int u{number}(void) {{ return {turn}; }}\n");
        sandbox.write(&format!("u{number}.c"), &text);
    }
}

/// A makefile of some compiles; each of them is in make's eyes a make, which gets its jobserver.
fn write_makefile(sandbox: &Sandbox) {
    let objects: Vec<String> = (0..8).map(|number| format!("u{number}.o")).collect();
    let larder = larder_binary().display();
    let text = format!(
        "all: {}\n%.o: %.c force\n\t+{larder} gcc -c $< -o $@\nforce:\n",
        objects.join(" ")
    );
    sandbox.write("Makefile", &text);
}

/// Runs a command and hears its output to the end, `None` if that does not come.
fn hear(mut command: Command) -> Option<Output> {
    let (sender, receiver) = channel();
    command.process_group(0);
    std::thread::spawn(move || sender.send(command.output().unwrap()));
    receiver.recv_timeout(PATIENCE).ok()
}

/// A jobserver's pipes were closed for the janitor only where their numbers were 3 to 9. Whoever
/// passed others on waited for a janitor to end.
#[test]
fn make_does_not_wait_for_a_janitor_that_is_stopped() {
    let (Some(make), Some(bash)) = (find_or_skip("make"), find_or_skip("bash")) else { return };
    let sandbox = filled("detached", 92);
    write_makefile(&sandbox);
    let store = Store::open(&sandbox.store(), options()).unwrap();
    // Whoever merges waits a while for this lock, so that there is a janitor to be stopped.
    let env: Arc<dyn Env> = Arc::new(RealEnv);
    let locks = LockTable::open(&env, &sandbox.store(), 0o600).unwrap();
    let index = locks.lock(LockByte::Index, 1_000).unwrap();
    let script = format!("exec 9>&1 20>&2 213>&1; {} -j4", make.display());
    let (janitor, output) = stop_one_of(&sandbox, || {
        let mut command = sandbox.command(&bash);
        command.args(["-c", &script]);
        command
    });
    let output = output.expect("make ends, and nobody holds its output");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(is_stopped(janitor.0));
    drop(index);
    assert_is_in_nobodys_way(janitor.0, &sandbox.store());
    // Others leave the work to it.
    fs::remove_file(sandbox.path("u1.o")).unwrap();
    sandbox.write("u1.c", "int other(void) { return -1; }\n");
    assert_eq!(sandbox.compile("gcc", &["-c", "u1.c"]).status, Some(0));
    assert_eq!(janitors(&sandbox), [janitor.0]);
    // It lives on without those that started it.
    kill_process(janitor.0, Signal::CONT).unwrap();
    let begun = Instant::now();
    while store.is_being_maintained() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(evicted(&sandbox) > 0, "{}", sandbox.log());
}

/// A low priority, a session of its own, and no file of anybody else's.
fn assert_is_in_nobodys_way(janitor: Pid, store: &Path) {
    let nice = |process| stat(process)[16].parse::<i32>().unwrap();
    assert_eq!(nice(janitor), (nice(getpid()) + 5).min(19), "its priority");
    assert_eq!(getsid(Some(janitor)).unwrap(), janitor);
    let folder = format!("/proc/{}", janitor.as_raw_nonzero());
    assert_eq!(fs::read_link(format!("{folder}/cwd")).unwrap(), Path::new("/"));
    let files: Vec<_> = fs::read_dir(format!("{folder}/fd")).unwrap().flatten().collect();
    assert!(files.len() > 3);
    for file in files {
        let target = fs::read_link(file.path()).unwrap();
        let is_its_own = target.starts_with(store) || target == Path::new("/dev/null");
        assert!(is_its_own, "{file:?} leads to {target:?}");
    }
    let Some(ionice) = find_or_skip("ionice") else { return };
    let number = janitor.as_raw_nonzero().to_string();
    let said = Command::new(ionice).args(["-p", &number]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "idle");
}

/// A build that is interrupted takes its process group with it, and not the janitor.
#[test]
fn a_janitor_survives_the_build_that_started_it() {
    let Some(bash) = find_or_skip("bash") else { return };
    let sandbox = filled("detached", 92);
    let env: Arc<dyn Env> = Arc::new(RealEnv);
    let locks = LockTable::open(&env, &sandbox.store(), 0o600).unwrap();
    let index = locks.lock(LockByte::Index, 1_000).unwrap();
    let script = format!("{} gcc -c u1.c && kill -KILL 0", larder_binary().display());
    let (janitor, output) = stop_one_of(&sandbox, || {
        let mut command = sandbox.command(&bash);
        command.args(["-c", &script]);
        command
    });
    let ended = output.expect("the build ends").status;
    assert_eq!(ended.signal(), Some(Signal::KILL.as_raw()), "its process group is killed");
    drop(index);
    assert!(is_stopped(janitor.0));
    kill_process(janitor.0, Signal::CONT).unwrap();
    assert_evicts(&sandbox);
}

/// Waits until a janitor has evicted something.
#[track_caller]
fn assert_evicts(sandbox: &Sandbox) {
    let begun = Instant::now();
    while evicted(sandbox) == 0 && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(evicted(sandbox) > 0, "{}", sandbox.log());
}

/// A janitor stands in `/`. A configuration that was named by a relative path was not found there,
/// so that it knew no store, and the store filled for good.
#[test]
fn a_janitor_finds_what_the_build_names_by_relative_paths() {
    let mut sandbox = filled("detached", 92);
    let text = format!("dir = \"{}\"\nmax_size = \"64Mi\"\n", sandbox.store().display());
    sandbox.write("larder.toml", &text);
    sandbox.write("a.c", "int a;\n");
    sandbox.unset("LARDER_MAX_SIZE");
    sandbox.set("LARDER_CONFIG", "larder.toml");
    let mut command = sandbox.command(larder_binary());
    command.env_remove("LARDER_DIR").args(["gcc", "-c", "a.c"]);
    assert!(command.status().unwrap().success());
    assert_evicts(&sandbox);
}

/// It was called what the file is called, and `gcc janitor` is a call of the compiler.
#[test]
fn a_wrapper_with_the_name_of_a_compiler_starts_a_janitor() {
    let sandbox = filled("detached", 92);
    sandbox.write("a.c", "int a;\n");
    let shim = sandbox.dir.path().join("gcc");
    // Copied by a program: a file that this one has open for writing cannot be run.
    let copied = Command::new("cp").arg(larder_binary()).arg(&shim).status().unwrap();
    assert!(copied.success());
    assert!(sandbox.command(&shim).args(["-c", "a.c"]).status().unwrap().success());
    assert_eq!(sandbox.counts(), (0, 0, 1));
    assert_evicts(&sandbox);
}

/// It has no other output that anybody would see.
#[test]
fn a_janitor_that_fails_says_so_in_the_log() {
    let sandbox = filled("off", 10);
    let janitor = ["janitor", "--background"];
    assert_eq!(sandbox.larder(&janitor).status.code(), Some(0));
    assert_eq!(sandbox.log(), "");
    // A directory where a file has to be, which no right opens.
    let superblock = sandbox.store().join("superblock");
    fs::remove_file(&superblock).unwrap();
    fs::create_dir(&superblock).unwrap();
    assert_eq!(sandbox.larder(&janitor).status.code(), Some(1));
    let log = sandbox.log();
    assert!(log.contains("the janitor failed: ") && log.contains("superblock"), "{log}");
}

/// How many janitors a call starts.
fn started(sandbox: &Sandbox, strace: &Path, call: &[&str]) -> usize {
    let trace = sandbox.dir.path().join("trace");
    let mut command = sandbox.command(strace);
    command.args(["-f", "-qq", "-e", "trace=execve", "-o"]).arg(&trace).arg(larder_binary());
    assert!(command.args(call).status().unwrap().success());
    let text = fs::read_to_string(trace).unwrap();
    text.lines().filter(|line| line.contains("\"--background\"")).count()
}

/// Where the compiler takes the place of larder's process, the janitor was its child, for which a
/// program that waits for all of its children waits; with `inline`, the compiler waited itself.
#[test]
fn a_call_that_is_not_cached_leaves_upkeep_to_others() {
    let Some(strace) = find_or_skip("strace") else { return };
    let mut sandbox = filled("off", 10);
    sandbox.write("a.c", "int a;\n");
    sandbox.write("b.c", "__asm__(\".incbin \\\"a.c\\\"\");\n");
    // Each look-up meets a table that is damaged, and finds upkeep due.
    let first = sandbox.store().join("log/00000001.seg");
    let mut bytes = fs::read(&first).unwrap();
    let data_start = bytes.windows(4).position(|window| window == b"LRDB").unwrap();
    bytes[4096..data_start / 4096 * 4096].fill(0xff);
    fs::write(&first, bytes).unwrap();
    sandbox.set("LARDER_JANITOR", "detached");
    let uncached = ["gcc", "-c", "b.c"];
    assert_eq!(started(&sandbox, &strace, &uncached), 0);
    assert_eq!(sandbox.counts(), (0, 0, 0), "{}", sandbox.log());
    assert_eq!(started(&sandbox, &strace, &["gcc", "-c", "a.c"]), 1);
    assert_eq!(started(&sandbox, &strace, &uncached), 0);
}

/// What compiles take no notice of is told, and the default stands.
#[test]
fn wrong_values_are_told_in_the_log_and_the_build_goes_on() {
    let wrong = [
        ("janitor", "Inline", "is none of detached, inline, off; it is ignored"),
        ("file_clone", "maybe", "is neither 1/true/yes/on nor 0/false/no/off; it is ignored"),
        ("max_size", "much", "is no size; it is ignored"),
        ("max_size", "1Mi", "is less than 64Mi; 64Mi is used"),
    ];
    for (name, value, told) in wrong {
        let mut sandbox = Sandbox::new();
        sandbox.write("a.c", "int a;\n");
        sandbox.write("larder.toml", &format!("{name} = \"{value}\"\n"));
        let file = sandbox.path("larder.toml").display().to_string();
        let variable = format!("LARDER_{}", name.to_uppercase());
        sandbox.set(&variable, value);
        sandbox.check_cached("gcc", &["-c", "a.c"]);
        let line = format!("configuration: {variable} \"{value}\" {told}\n");
        assert!(sandbox.log().contains(&line), "{}", sandbox.log());
        // From a file, with nothing else that would name a janitor.
        sandbox.unset(&variable);
        sandbox.set("LARDER_CONFIG", &file);
        let mut command = sandbox.command(larder_binary());
        if name == "janitor" {
            command.env_remove("LARDER_JANITOR");
        }
        let left = sandbox.left(command.args(["gcc", "-c", "a.c"]));
        assert_eq!(left, sandbox.plain("gcc", &["-c", "a.c"]));
        let line = format!("configuration: {name} in {file} \"{value}\" {told}\n");
        assert!(sandbox.log().contains(&line), "{}", sandbox.log());
        assert_eq!(sandbox.counts(), (2, 0, 1));
    }
}

#[test]
fn an_inline_janitor_drops_one_segment_for_each_compile() {
    let sandbox = filled("inline", 96);
    let mut dropped = Vec::new();
    for number in 0..5 {
        let before = evicted(&sandbox);
        let name = format!("a{number}.c");
        sandbox.write(&name, &format!("int a{number};\n"));
        assert_eq!(sandbox.check("gcc", &["-c", &name]), "miss", "{}", sandbox.log());
        dropped.push(evicted(&sandbox) - before);
        assert!(disk_usage(&sandbox.store()) <= MAX_SIZE);
    }
    assert!(dropped.iter().all(|count| *count <= 1), "{dropped:?}");
    assert!((1..4).contains(&dropped.iter().sum::<u64>()), "as many as need be: {dropped:?}");
    assert_eq!(sandbox.count("engine_reinserted_records"), 0);
    assert!(janitors(&sandbox).is_empty());
}

#[test]
fn without_a_janitor_a_full_store_drops_puts_and_counts_them() {
    let sandbox = filled("off", 97);
    let store = Store::open(&sandbox.store(), options()).unwrap();
    let mut random = Random::new(2);
    for bytes in [100_000, 10_000, 1_000, 100] {
        for number in 0..1_000u64 {
            let key = Key::of(&[number, bytes as u64].map(u64::to_le_bytes).concat());
            if store.put(&Value::of(random.bytes(bytes)).entry(key)).unwrap() != Put::Stored {
                break;
            }
        }
    }
    sandbox.write("a.c", "int a;\n");
    for _ in 0..2 {
        let dropped = sandbox.count("engine_puts_dropped_full");
        assert_eq!(sandbox.check("gcc", &["-c", "a.c"]), "miss");
        assert!(sandbox.count("engine_puts_dropped_full") > dropped, "{}", sandbox.log());
    }
    assert_eq!(evicted(&sandbox), 0);
    assert!(janitors(&sandbox).is_empty());
    assert!(disk_usage(&sandbox.store()) <= MAX_SIZE);
}
