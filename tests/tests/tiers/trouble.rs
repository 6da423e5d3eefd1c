//! Tiers, agents and machines in trouble: builds go on, and nothing is lost.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use larder_engine::format::body;
use larder_engine::{Entry, Key, RecordKind, Section, SectionInfo, SectionKind};
use larder_tests::temp_dir;

use super::machine::{Machine, Sources, file_tier, files_of, has_ended, kill, wait_for};
use super::servers::{Redis, free_port};

/// A server that counts who connects, and says to each what `answer` gives.
fn server(answer: &'static [u8]) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            counted.fetch_add(1, Ordering::Relaxed);
            let Ok(stream) = stream else { return };
            thread::spawn(move || say(stream, answer));
        }
    });
    (port, count)
}

/// Says it after each thing that it hears, and stays connected.
fn say(mut stream: TcpStream, answer: &[u8]) {
    let mut heard = [0; 4096];
    while stream.read(&mut heard).is_ok_and(|count| count > 0) {
        if !answer.is_empty() && stream.write_all(answer).is_err() {
            return;
        }
    }
}

#[test]
fn a_tier_in_trouble_is_tried_once() {
    let sources = Sources::new();
    for (answer, failure) in [
        // Connects, and says nothing.
        (&b""[..], "time_outs"),
        // No Redis.
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "read_failures"),
        // The beginning of a value.
        (b"$1000\r\nabc", "read_failures"),
    ] {
        let (port, connected) = server(answer);
        let machine = Machine::new(&format!("redis://127.0.0.1:{port}|timeout=700"));
        let units = ["a", "b", "c"];
        let children: Vec<_> = units
            .iter()
            .map(|unit| machine.compile_command(&sources, unit, &[]).spawn().unwrap())
            .collect();
        for (mut child, unit) in children.into_iter().zip(units) {
            assert!(child.wait().unwrap().success(), "{unit}");
            assert!(machine.outputs(unit)[0].exists());
        }
        for number in 0..5 {
            let left = machine.compile_with(&sources, "a", &[&format!("-DN={number}")]);
            assert_eq!((left.status, left.object.is_some()), (Some(0), true));
        }
        assert_eq!(machine.counts(), (0, 8), "{}", machine.log());
        assert!(machine.of_tier(0, failure) >= 1, "{}", machine.log());
        // One for a read, one for a write, and each once more on a fresh connection.
        assert!(connected.load(Ordering::Relaxed) <= 4, "{connected:?} {}", machine.log());
        assert!(machine.of_tier(0, "skipped") >= 5);
        // That nobody could be asked is no miss of a tier.
        assert!(machine.count("remote_storage_error") >= 8, "{}", machine.log());
        assert_eq!(machine.count("remote_storage_miss"), 0);
        // All of it is in the local store.
        assert_eq!(machine.compile(&sources, "b").status, Some(0));
        assert_eq!(machine.counts(), (1, 8));
    }
}

#[test]
fn a_server_that_stops_and_comes_back_gets_what_was_made_meanwhile() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let sources = Sources::new();
    let url = format!("redis://127.0.0.1:{}|timeout=700", redis.port);
    let mut machine = Machine::new(&url);
    machine.set("LARDER_AGENT_PAUSE_MS", "200");
    machine.compile(&sources, "a");
    machine.flush();
    redis.process.as_ref().unwrap().pause();
    machine.compile(&sources, "b");
    let failed = machine.larder(&["agent", "flush", "--wait", "1"]);
    assert!(!failed.status.success(), "{failed:?}");
    redis.process.as_ref().unwrap().go_on();
    redis.process = None;
    machine.compile(&sources, "c");
    redis.restart();
    let all_there = || redis.ask(&["DBSIZE"]).trim() == "4" && machine.of_tier(0, "waiting") == 0;
    // Nothing was saved by the server: what it has got since is there.
    wait_for("what was made meanwhile", all_there);
    let other = Machine::new(&url);
    for unit in ["b", "c"] {
        other.compile(&sources, unit);
    }
    assert_eq!(other.counts(), (2, 0), "{}", other.log());
}

#[test]
fn what_an_agent_has_not_written_the_next_one_writes() {
    let sources = Sources::new();
    let shared = temp_dir();
    // Its parent is missing: it cannot be reached.
    let directory = shared.path().join("mount/tier");
    let mut machine = Machine::new(&file_tier(&directory));
    machine.set("LARDER_AGENT_PAUSE_MS", "100");
    for unit in ["a", "b"] {
        machine.compile(&sources, unit);
    }
    kill(machine.agent().expect("an agent runs"));
    machine.compile(&sources, "c");
    kill(machine.agent().expect("the next one runs"));
    assert!(files_of(shared.path()).is_empty());
    fs::create_dir(shared.path().join("mount")).unwrap();
    // A command starts an agent, too.
    wait_for("everything", || machine.larder(&["agent", "flush"]).status.success());
    let other = Machine::new(&file_tier(&directory));
    for unit in ["a", "b", "c"] {
        other.compile(&sources, unit);
    }
    assert_eq!(other.counts(), (3, 0), "{}", other.log());
    assert_eq!(machine.of_tier(0, "lost"), 0);
}

#[test]
fn an_agent_leaves_when_nobody_needs_it_and_the_next_miss_starts_one() {
    let sources = Sources::new();
    let shared = temp_dir();
    let mut machine = Machine::new(&file_tier(shared.path()));
    machine.set("LARDER_AGENT_IDLE_SECS", "1");
    machine.compile(&sources, "a");
    let first = machine.agent().expect("an agent runs");
    wait_for("the end of the agent", || has_ended(first));
    assert!(machine.agent().is_none());
    let sockets = fs::read_dir(machine.runtime().join("larder")).unwrap();
    let names: Vec<_> = sockets.map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.is_empty(), "{names:?}");
    machine.compile(&sources, "b");
    machine.flush();
    let second = machine.agent().expect("another one runs");
    assert_ne!(second, first);
    assert_eq!(machine.of_tier(0, "writes"), 4);
    let stopped = machine.larder(&["agent", "stop"]);
    assert!(stopped.status.success(), "{stopped:?}");
    // The next one need not wait for that.
    machine.compile(&sources, "c");
    assert_eq!(machine.of_tier(0, "misses"), 3, "{}", machine.log());
    assert!(!machine.log().contains("no agent"), "{}", machine.log());
    wait_for("the end of the agent", || has_ended(second));
}

/// An agent that is stopped holds its connections, and its place only until it is told to leave.
#[test]
fn an_agent_that_leaves_makes_way_while_it_still_serves() {
    let sources = Sources::new();
    let (port, _) = server(b"");
    let machine = Machine::new(&format!("redis://127.0.0.1:{port}|timeout=5000"));
    let mut waiting = machine.compile_command(&sources, "a", &[]).spawn().unwrap();
    let mut first = None;
    wait_for("the agent", || {
        first = machine.agent();
        first.is_some()
    });
    assert!(machine.larder(&["agent", "stop"]).status.success());
    assert_eq!(machine.compile(&sources, "b").status, Some(0));
    let second = machine.agent().expect("another agent runs");
    assert_ne!(Some(second), first);
    assert!(!machine.log().contains("no agent"), "{}", machine.log());
    assert!(waiting.wait().unwrap().success());
}

/// The agent of the old store answered for the new one, which did not get what was fetched.
#[test]
fn a_store_that_is_made_anew_has_an_agent_of_its_own() {
    let sources = Sources::new();
    let shared = temp_dir();
    let tier = file_tier(shared.path());
    let maker = Machine::new(&tier);
    let made = maker.compile(&sources, "a");
    maker.flush();
    let machine = Machine::new(&tier);
    for _ in 0..3 {
        assert_eq!(machine.compile(&sources, "a"), made, "{}", machine.log());
        assert_eq!(machine.counts(), (1, 0), "{}", machine.log());
        fs::remove_dir_all(machine.store()).unwrap();
    }
}

/// Each caller holds the thread that has accepted it: there is always one more.
#[test]
fn callers_that_say_nothing_keep_nobody_waiting() {
    let sources = Sources::new();
    let shared = temp_dir();
    let tier = file_tier(shared.path());
    let maker = Machine::new(&tier);
    let made = ["a", "b"].map(|unit| maker.compile(&sources, unit));
    maker.flush();
    let machine = Machine::new(&tier);
    machine.compile(&sources, "c");
    let agent = machine.agent().expect("an agent runs");
    let sockets = files_of(&machine.runtime().join("larder"));
    let socket = sockets.iter().find(|path| path.extension().is_none()).expect("it listens");
    for (unit, made) in ["a", "b"].iter().zip(&made) {
        let silent: Vec<_> = (0..50).map(|_| UnixStream::connect(socket).unwrap()).collect();
        wait_for("a thread for each", || threads(agent) > silent.len());
        assert_eq!(machine.compile(&sources, unit), *made, "{}", machine.log());
        drop(silent);
        assert_eq!(machine.agent(), Some(agent));
    }
    assert_eq!(machine.counts(), (2, 1), "{}", machine.log());
    // Those that have nothing to do end, but for the few that wait for callers.
    wait_for("the end of most threads", || threads(agent) < 20);
}

fn threads(pid: u64) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

#[test]
fn an_agent_whose_store_is_deleted_leaves() {
    let sources = Sources::new();
    let shared = temp_dir();
    let machine = Machine::new(&file_tier(shared.path()));
    machine.compile(&sources, "a");
    let agent = machine.agent().expect("an agent runs");
    fs::remove_dir_all(machine.store()).unwrap();
    wait_for("the end of the agent", || has_ended(agent));
}

#[test]
fn where_no_agent_can_live_the_tiers_are_asked_all_the_same() {
    let sources = Sources::new();
    let shared = temp_dir();
    let one = Machine::new(&file_tier(shared.path()));
    let two = Machine::new(&file_tier(shared.path()));
    for machine in [&one, &two] {
        // Others could listen there.
        let place = machine.runtime().join("larder");
        fs::create_dir(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let made = one.compile(&sources, "a");
    assert!(one.log().contains("no agent"), "{}", one.log());
    assert_eq!(two.compile(&sources, "a"), made);
    assert_eq!((one.counts(), two.counts()), ((0, 1), (1, 0)), "{}", two.log());
    assert!(fs::read_dir(two.runtime().join("larder")).unwrap().next().is_none());
}

/// A body with this key, kind and bytes.
fn forged(key: Key, kind: RecordKind, name: &str) -> Vec<u8> {
    let section = Section::new(SectionKind::Object, &b"forged"[..]).name(name.as_bytes());
    body::encode_from(&Entry::new(key, kind, vec![section]), 1, None, None).unwrap()
}

#[test]
fn what_is_no_body_of_the_key_is_a_counted_miss() {
    let sources = Sources::new();
    let shared = temp_dir();
    let maker = Machine::new(&file_tier(shared.path()));
    let expected = maker.compile(&sources, "a");
    maker.flush();
    let files = files_of(shared.path());
    assert_eq!(files.len(), 2);
    let originals: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let key_of = |path: &Path| {
        let part =
            |path: Option<&Path>| path.unwrap().file_name().unwrap().to_string_lossy().into_owned();
        Key::from_hex(&(part(path.parent()) + &part(Some(path)))).unwrap()
    };
    type Damage = fn(&[u8], Key) -> Vec<u8>;
    let damages: [Damage; 7] = [
        |body, _| body[..body.len() - 1].to_vec(),
        |body, _| [body, b"x"].concat(),
        |_, _| Vec::new(),
        |body, _| body.iter().map(|byte| byte ^ 1).collect(),
        |body, _| {
            let mut body = body.to_vec();
            let middle = body.len() / 2;
            body[middle] ^= 0x40;
            body
        },
        |_, _| forged(Key::of(b"another"), RecordKind::Result, "a.o"),
        |_, key| forged(key, RecordKind::Tombstone, ""),
    ];
    for (at, damage) in damages.iter().enumerate() {
        for (file, original) in files.iter().zip(&originals) {
            fs::write(file, damage(original, key_of(file))).unwrap();
        }
        let machine = Machine::new(&file_tier(shared.path()));
        assert_eq!(machine.compile(&sources, "a"), expected, "damage {at}\n{}", machine.log());
        assert_eq!(machine.counts(), (0, 1), "damage {at}");
        assert!(machine.of_tier(0, "damaged") >= 1, "damage {at}\n{}", machine.log());
        // What was made here takes its place.
        machine.flush();
        let healed = Machine::new(&file_tier(shared.path()));
        assert_eq!(healed.compile(&sources, "a"), expected);
        assert_eq!(healed.counts(), (1, 0), "damage {at}\n{}", healed.log());
    }
}

/// The names that must be absent stand beside the manifest that speaks of them.
#[test]
fn a_manifest_with_other_names_is_refused() {
    let sources = Sources::new();
    let shared = temp_dir();
    let maker = Machine::new(&file_tier(shared.path()));
    let expected = maker.compile(&sources, "a");
    maker.flush();
    let mut changed = 0;
    for file in files_of(shared.path()) {
        let original = fs::read(&file).unwrap();
        let head = body::Head::decode(&original).unwrap();
        if head.kind != RecordKind::Manifest as u8 {
            continue;
        }
        let section = |info: &SectionInfo| {
            let (start, bytes) = head.stored_range(info);
            let stored = &original[start as usize..(start + bytes) as usize];
            let mut data = head.section_bytes(info, stored.into()).unwrap().into_owned();
            if info.kind == Some(SectionKind::Data) {
                data[0] ^= 1;
                changed += 1;
            }
            Section::new(info.kind.unwrap(), data)
        };
        let sections = head.sections.iter().map(section).collect();
        let entry = Entry::new(head.key, RecordKind::Manifest, sections);
        fs::write(&file, body::encode_from(&entry, 1, None, None).unwrap()).unwrap();
    }
    assert_eq!(changed, 1);
    let machine = Machine::new(&file_tier(shared.path()));
    assert_eq!(machine.compile(&sources, "a"), expected, "{}", machine.log());
    assert_eq!(machine.counts(), (0, 1));
    assert_eq!(machine.of_tier(0, "damaged"), 1, "{}", machine.log());
}

/// A result whose sections name files elsewhere, or have bits that no compiler gives.
#[test]
fn a_hostile_result_writes_nothing_beside_the_outputs() {
    let sources = Sources::new();
    let shared = temp_dir();
    let maker = Machine::new(&file_tier(shared.path()));
    let expected = maker.compile(&sources, "a");
    maker.flush();
    let target = shared.path().join("victim");
    for name in ["../victim", target.to_str().unwrap(), "victim"] {
        for file in files_of(shared.path()) {
            let original = fs::read(&file).unwrap();
            let head = body::Head::decode(&original).unwrap();
            if head.kind != RecordKind::Result as u8 {
                continue;
            }
            let section =
                |kind| Section::new(kind, &b"evil"[..]).mode(0o6777).name(name.as_bytes());
            let sections = vec![section(SectionKind::NamedFile), section(SectionKind::Object)];
            let entry = Entry::new(head.key, RecordKind::Result, sections);
            fs::write(&file, body::encode_from(&entry, 1, None, None).unwrap()).unwrap();
        }
        let machine = Machine::new(&file_tier(shared.path()));
        assert_eq!(machine.compile(&sources, "a"), expected, "{name}\n{}", machine.log());
        assert!(!target.exists() && !sources.path().join("victim").exists());
        let mode = fs::metadata(&machine.outputs("a")[0]).unwrap().permissions().mode();
        assert_eq!(mode & 0o7000, 0);
        machine.flush();
    }
}

#[test]
fn a_write_policy_says_whose_failures_count() {
    let sources = Sources::new();
    let dead = format!("redis://127.0.0.1:{}", free_port());
    let shared = temp_dir();
    let read_only = format!("{}|read-only", file_tier(&shared.path().join("read")));
    let small = format!("{}|max-bytes=10", file_tier(&shared.path().join("small")));
    let well = file_tier(&shared.path().join("well"));
    for (policy, tiers, is_written) in [
        ("ignore", dead.clone(), true),
        ("local", dead.clone(), true),
        ("all", dead, false),
        ("all", well.clone(), true),
        ("all", read_only, true),
        ("all", small, true),
    ] {
        let mut machine = Machine::new(&tiers);
        machine.set("LARDER_WRITE_POLICY", policy);
        let left = machine.compile(&sources, "a");
        let what = format!("{policy} {tiers}: {left:?}\n{}", machine.log());
        assert_eq!(left.status == Some(0), is_written, "{what}");
        assert_eq!(left.object.is_some(), is_written, "{what}");
        assert_eq!(left.dependencies.is_some(), is_written, "{what}");
        assert_eq!(left.stderr.contains("write_policy"), !is_written, "{what}");
        assert_eq!(left.stderr.lines().count(), usize::from(!is_written), "{what}");
    }
    // What `all` has waited for is there.
    assert_eq!(files_of(&shared.path().join("well")).len(), 2);
    assert!(files_of(&shared.path().join("read")).is_empty());
}

#[test]
fn a_local_write_that_fails_is_a_failure_under_the_strict_policies() {
    let Some(strace) = larder_tests::find_or_skip("strace") else { return };
    let sources = Sources::new();
    let shared = temp_dir();
    for (policy, is_failure) in [("ignore", false), ("local", true), ("all", true)] {
        let mut machine = Machine::new(&file_tier(shared.path()));
        machine.set("LARDER_WRITE_POLICY", policy);
        machine.compile(&sources, "a");
        let compile = machine.compile_command(&sources, "b", &[]);
        let mut traced = machine.command_of(&strace, sources.path());
        let trace = machine.runtime().join("trace");
        traced.args(["-qq", "-e", "inject=pwrite64,pwritev:error=EIO:when=1+", "-o"]).arg(trace);
        let output = traced.arg(compile.get_program()).args(compile.get_args()).output().unwrap();
        let left = machine.left(&output, "b");
        assert_eq!(left.status != Some(0), is_failure, "{policy} {left:?}\n{}", machine.log());
        assert_eq!(left.object.is_none(), is_failure, "{policy} {left:?}");
    }
}

#[test]
fn a_store_that_is_only_read_asks_no_tier() {
    let sources = Sources::new();
    let shared = temp_dir();
    let mut machine = Machine::new(&file_tier(shared.path()));
    machine.compile(&sources, "a");
    machine.flush();
    machine.larder(&["agent", "stop"]);
    wait_for("the end of the agent", || machine.agent().is_none());
    machine.set("LARDER_READONLY", "1");
    assert_eq!(machine.compile(&sources, "b").status, Some(0));
    assert_eq!(machine.compile(&sources, "a").status, Some(0));
    assert!(machine.agent().is_none());
}
