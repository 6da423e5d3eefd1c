//! Real processes on one store: killed, stopped, continued, and threads that share a handle.
//!
//! The test starts its own program again; `ROLE` says as what. Values are made from their keys, so
//! that whoever reads one can check it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder_engine::env::{Env, LockByte, LockTable, OpenMode, RealEnv};
use larder_engine::{Budget, DropReason, Error, Key, Options, Put, Store};
use larder_tests::sample::{Random, Value, disk_usage};

use super::{SEGMENT_BYTES, put, roomy, value_of};

const ROLE: &str = "LARDER_TEST_ROLE";
const STORE: &str = "LARDER_TEST_STORE";
const SEED: &str = "LARDER_TEST_SEED";

const WRITERS: u64 = 6;
const READERS: u64 = 4;
const STORM_SECS: u64 = 3;

/// A writer puts so many and then waits to be killed: whatever was stored is read again at the end.
const PUTS_MAX: u64 = 1_500;

/// Keys that all writers write, in versions that grow: `newest` is what everybody has seen.
const SHARED_KEYS: u64 = 8;

fn options() -> Options {
    roomy().segment_bytes(4 * SEGMENT_BYTES)
}

/// The key and the value of a writer's n-th put.
fn own(writer: u64, number: u64) -> (Key, Value) {
    let mut random = Random::new(writer << 32 | number);
    let key = Key::of(&[writer.to_le_bytes(), number.to_le_bytes()].concat());
    let length = random.length(if number.is_multiple_of(50) { 200_000 } else { 20_000 });
    (key, Value::of(random.bytes(length)))
}

fn shared_key(number: u64) -> Key {
    Key::of(&[b"shared".as_slice(), &number.to_le_bytes()].concat())
}

/// Puts until it is killed; says each number that was stored, after it was.
fn write_until_killed(store: &Store, writer: u64) {
    let mut out = std::io::stdout();
    let mut random = Random::new(writer);
    for number in 0..PUTS_MAX {
        let (key, value) = own(writer, number);
        let is_stored = store.put(&value.entry(key)).expect("a put succeeds") == Put::Stored;
        let mut say = || writeln!(out, "stored {number}").and_then(|()| out.flush());
        if is_stored && say().is_err() {
            // The parent has heard enough.
            return;
        }
        let shared = Value::of([writer.to_le_bytes(), number.to_le_bytes()].concat());
        let _ = store.put(&shared.entry(shared_key(random.below(SHARED_KEYS)))).unwrap();
        if store.maintenance_due() || number % 40 == 0 {
            let budget = if number % 80 == 0 { Budget::full() } else { Budget::due() };
            // Somebody who is stopped may hold a lock.
            if let Err(error) = store.maintain(budget) {
                assert!(error.is_busy(), "{error}");
            }
        }
    }
    std::thread::sleep(Duration::from_secs(600));
}

/// Reads until it is killed; every value must be that of its key.
fn read_until_killed(store: &Store, reader: u64) {
    let mut random = Random::new(reader);
    let mut newest = vec![0; SHARED_KEYS as usize];
    for round in 0.. {
        let (key, value) = own(random.below(WRITERS), random.below(300));
        let found = value_of(store, &key);
        assert!(found.is_none_or(|found| found == value), "a wrong value of {key}");
        let shared = random.below(SHARED_KEYS);
        if let Some(record) = store.get(&shared_key(shared)).unwrap() {
            let seen = &mut newest[shared as usize];
            assert!(record.sequence() >= *seen, "an older value came back");
            *seen = record.sequence();
            assert_eq!(record.read(0).unwrap().len(), 16);
        }
        if round % 300 == 299 {
            let snapshot = store.snapshot().unwrap();
            assert!(snapshot.iter().all(|record| Value::read(&record).is_ok()));
        }
    }
}

fn hold_the_tail(path: &Path) {
    let env: Arc<dyn Env> = Arc::new(RealEnv);
    let file = env.open(&path.join("lock"), OpenMode::Write).unwrap();
    let locks = LockTable::new(env, file);
    let _lock = locks.lock(LockByte::Tail, 1_000).unwrap();
    println!("stored 0");
    std::thread::sleep(Duration::from_secs(60));
}

/// Opens the store and looks one key up, between two lines that a trace shows.
fn look_up_once(path: &Path) {
    println!("begin");
    let store = Store::open(path, options()).expect("the store opens");
    let found = value_of(&store, &shared_key(0));
    println!("end");
    assert!(found.is_some());
}

/// What the processes that the other tests start do; nothing when it is run as a test.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = std::env::var_os(STORE).expect("a role has a store");
    let seed = std::env::var(SEED).expect("a role has a seed").parse().unwrap();
    match role.as_str() {
        "hold" => return hold_the_tail(path.as_ref()),
        "look" => return look_up_once(path.as_ref()),
        _ => {}
    }
    let store = Store::open(path.as_ref(), options()).expect("the store opens");
    match role.as_str() {
        "write" => write_until_killed(&store, seed),
        _ => read_until_killed(&store, seed),
    }
}

fn start(role: &str, path: &Path, seed: u64) -> Child {
    let program = std::env::current_exe().expect("the kernel knows this program");
    start_by(Command::new(program), role, path, seed)
}

/// Starts a role by a command that ends with this program.
fn start_by(mut command: Command, role: &str, path: &Path, seed: u64) -> Child {
    command.args(["--exact", "engine::processes::role", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(STORE, path).env(SEED, seed.to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("it starts")
}

fn signal(child: &Child, name: &str) {
    let script = format!("kill -{name} {}", child.id());
    let status = Command::new("sh").args(["-c", &script]).status().expect("there is a shell");
    assert!(status.success());
}

/// Collects what a writer says in a thread, until its end.
fn listen(child: &mut Child) -> std::thread::JoinHandle<Vec<u64>> {
    let out = BufReader::new(child.stdout.take().expect("its output is piped"));
    std::thread::spawn(move || {
        let lines = out.lines().map_while(Result::ok);
        let numbers = lines.filter_map(|line| line.rsplit_once("stored ")?.1.parse().ok());
        numbers.collect()
    })
}

/// Whether a process has ended by itself: then an assertion of it failed.
fn has_failed(child: &mut Child) -> bool {
    child.try_wait().expect("it can be asked").is_some_and(|status| status.code().is_some())
}

#[test]
fn processes_that_are_killed_and_stopped_lose_nothing_that_was_acknowledged() {
    let folder = larder_tests::temp_dir();
    let path = folder.path().join("store");
    let mut random = Random::new(17);
    let mut next = 0;
    let mut heard = Vec::new();
    let mut writer = |heard: &mut Vec<_>| {
        let mut child = start("write", &path, next);
        heard.push((next, listen(&mut child)));
        next += 1;
        child
    };
    let mut writers: Vec<Child> = (0..WRITERS).map(|_| writer(&mut heard)).collect();
    let mut readers: Vec<Child> = (0..READERS).map(|n| start("read", &path, n)).collect();
    let end = Instant::now() + Duration::from_secs(STORM_SECS);
    while Instant::now() < end {
        let victim = random.below(WRITERS) as usize;
        match random.below(3) {
            0 => {
                writers[victim].kill().unwrap();
                writers[victim].wait().unwrap();
                writers[victim] = writer(&mut heard);
            }
            _ => {
                signal(&writers[victim], "STOP");
                std::thread::sleep(Duration::from_millis(random.below(120)));
                signal(&writers[victim], "CONT");
            }
        }
        std::thread::sleep(Duration::from_millis(random.below(80)));
    }
    let failed = readers.iter_mut().chain(&mut writers).filter_map(|c| has_failed(c).then_some(()));
    let failed = failed.count();
    for child in readers.iter_mut().chain(&mut writers) {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(failed, 0, "processes ended by themselves");
    let store = Store::open(&path, options()).unwrap();
    let mut found = 0;
    for (writer, numbers) in heard {
        for number in numbers.join().unwrap() {
            let (key, value) = own(writer, number);
            assert_eq!(value_of(&store, &key), Some(value), "put {number} of writer {writer}");
            found += 1;
        }
    }
    assert!(found > 100, "only {found} puts in the whole storm");
    assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
    store.maintain(Budget::full()).unwrap();
    assert!(disk_usage(&path) < 1 << 30);
}

/// A command that runs this program as the first process of a PID namespace, in a mount namespace
/// where the store is at `other`, too.
fn in_namespaces(path: &Path, other: &Path) -> Command {
    let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount", "sh", "-c", script, "sh"]);
    command.arg(path).arg(other).arg(std::env::current_exe().unwrap());
    command
}

fn can_unshare(path: &Path, other: &Path) -> bool {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount", "mount", "--bind"]).arg(path).arg(other);
    command.output().is_ok_and(|output| output.status.success())
}

/// Containers on one machine: each sees other process ids, and the store at a path of its own.
#[test]
fn processes_in_other_namespaces_share_the_store_and_its_locks() {
    let folder = larder_tests::temp_dir();
    let (path, other) = (folder.path().join("store"), folder.path().join("other"));
    std::fs::create_dir(&path).unwrap();
    std::fs::create_dir(&other).unwrap();
    if !can_unshare(&path, &other) {
        eprintln!("skipped: PID and mount namespaces are not permitted here");
        return;
    }
    let outside = (0..3).map(|n| start("write", &path, n));
    let inside = (3..6).map(|n| start_by(in_namespaces(&path, &other), "write", &other, n));
    let mut children: Vec<Child> = outside.chain(inside).collect();
    let reader = start_by(in_namespaces(&path, &other), "read", &other, 7);
    // Held until they are killed: a closed pipe is an error of theirs.
    let (mut outs, mut heard) = (Vec::new(), Vec::new());
    for child in &mut children {
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let lines = out.by_ref().lines().map_while(Result::ok);
        let numbers = lines.filter_map(|line| line.rsplit_once("stored ")?.1.parse().ok());
        heard.push(numbers.take(200).collect::<Vec<u64>>());
        outs.push(out);
    }
    children.push(reader);
    for child in &mut children {
        assert!(!has_failed(child), "a process ended by itself");
        // With `unshare` the process that it started is killed.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let store = Store::open(&path, options()).unwrap();
    for (writer, numbers) in heard.iter().enumerate() {
        assert_eq!(numbers.len(), 200, "puts of writer {writer}");
        for number in numbers {
            let (key, value) = own(writer as u64, *number);
            assert_eq!(value_of(&store, &key), Some(value), "put {number} of writer {writer}");
        }
    }
    assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
    // A lock that is held in another namespace is held.
    let mut holder = start_by(in_namespaces(&path, &other), "hold", &other, 0);
    let out = BufReader::new(holder.stdout.take().unwrap());
    assert!(out.lines().map_while(Result::ok).any(|line| line.ends_with("stored 0")));
    let (key, value) = (Key::of(b"a"), Value::of(b"1".as_slice()));
    assert_eq!(store.put(&value.entry(key)).unwrap(), Put::Dropped(DropReason::Busy));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let is_free = |_| {
        std::thread::sleep(Duration::from_millis(20));
        store.put(&value.entry(key)).unwrap() == Put::Stored
    };
    assert!((0..100).any(is_free), "the lock goes with its holder");
}

#[test]
fn a_stopped_holder_of_the_tail_lock_makes_a_put_dropped_and_not_hang() {
    let folder = larder_tests::temp_dir();
    let store = Store::open(folder.path(), options()).unwrap();
    let (key, value) = (Key::of(b"a"), Value::of(b"1".as_slice()));
    put(&store, key, &value);
    let mut holder = start("hold", folder.path(), 0);
    let out = BufReader::new(holder.stdout.take().unwrap());
    assert!(out.lines().map_while(Result::ok).any(|line| line.ends_with("stored 0")));
    signal(&holder, "STOP");
    let other = Value::of(b"2".as_slice());
    assert_eq!(store.put(&other.entry(key)).unwrap(), Put::Dropped(DropReason::Busy));
    assert_eq!(value_of(&store, &key), Some(value), "reading needs no lock");
    // Threads that wait in line count the time there: not each of them waits its own 50 ms.
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let drops: Vec<_> =
            (0..24).map(|_| scope.spawn(|| store.put(&other.entry(key)).unwrap())).collect();
        for drop in drops {
            assert_eq!(drop.join().unwrap(), Put::Dropped(DropReason::Busy));
        }
    });
    assert!(begun.elapsed() < Duration::from_millis(600), "{:?}", begun.elapsed());
    holder.kill().unwrap();
    holder.wait().unwrap();
    put(&store, key, &other);
    assert_eq!(value_of(&store, &key), Some(other));
}

#[test]
fn processes_that_make_one_store_at_once_share_it() {
    for round in 0..3 {
        let folder = larder_tests::temp_dir();
        let path = folder.path().join("store");
        let mut children: Vec<Child> = (0..5).map(|n| start("write", &path, n)).collect();
        // Held until they are killed: a closed pipe is an error of theirs.
        let (mut outs, mut stored) = (Vec::new(), Vec::new());
        for (number, child) in children.iter_mut().enumerate() {
            let mut out = BufReader::new(child.stdout.take().unwrap());
            let lines = out.by_ref().lines().map_while(Result::ok);
            let numbers = lines.filter_map(|line| line.rsplit_once("stored ")?.1.parse().ok());
            let before = stored.len();
            stored.extend(numbers.take(3).map(|put: u64| (number as u64, put)));
            assert_eq!(stored.len() - before, 3, "process {number} of round {round}");
            outs.push(out);
        }
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let store = Store::open(&path, options()).unwrap();
        for (writer, number) in stored {
            let (key, value) = own(writer, number);
            assert_eq!(value_of(&store, &key), Some(value));
        }
    }
}

#[test]
fn threads_share_a_handle() {
    let folder = larder_tests::temp_dir();
    let store = Store::open(folder.path(), options()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..60 {
                    let (key, value) = own(writer, number);
                    // On a busy machine a thread may wait for its turn until its put is dropped.
                    let busy = Put::Dropped(DropReason::Busy);
                    while store.put(&value.entry(key)).unwrap() == busy {}
                    assert_eq!(value_of(store, &key), Some(value));
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..20 {
                // So may the janitor.
                let done = store.maintain(Budget::full());
                assert!(done.as_ref().err().is_none_or(Error::is_busy), "{done:?}");
            }
        });
    });
    for (key, value) in (0..4).flat_map(|writer| (0..60).map(move |number| own(writer, number))) {
        assert_eq!(value_of(&store, &key), Some(value));
    }
    assert_eq!(store.verify(|_, _| {}).unwrap().damaged, []);
}

/// Every system call of a hit costs; a warm opening and look-up of a store whose segments are
/// merged may make this many.
const CALLS_PER_LOOKUP_MAX: usize = 25;

#[test]
fn a_warm_opening_and_one_look_up_make_few_system_calls() {
    let Some(strace) = larder_tests::find_or_skip("strace") else { return };
    let folder = larder_tests::temp_dir();
    let path = folder.path().join("store");
    let store = Store::open(&path, options()).unwrap();
    put(&store, shared_key(0), &Value::of(Random::new(1).bytes(3_000)));
    for (key, value) in (0..200).map(|number| own(9, number)) {
        put(&store, key, &value);
    }
    store.checkpoint().unwrap();
    // The recency bits are made at the first hit of all.
    assert!(value_of(&store, &shared_key(0)).is_some());
    let trace = folder.path().join("trace");
    let program = std::env::current_exe().unwrap();
    let status = Command::new(strace)
        .args(["-f", "-o"])
        .arg(&trace)
        .arg(program)
        .args(["--exact", "engine::processes::role", "--nocapture", "--test-threads=1"])
        .env(ROLE, "look")
        .env(STORE, &path)
        .env(SEED, "0")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    if !status.success() {
        eprintln!("skipped, nothing can be traced here");
        return;
    }
    let text = std::fs::read_to_string(&trace).unwrap();
    let calls: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("begin"))
        .skip(1)
        .take_while(|line| !line.contains("end\\n"))
        .collect();
    eprintln!("{} system calls:\n{}", calls.len(), calls.join("\n"));
    assert!((5..=CALLS_PER_LOOKUP_MAX).contains(&calls.len()), "{} calls", calls.len());
}
