//! Somebody holds a lock of the store and does not give it back: compiles go on, commands say so
//! in words, and `larder doctor` names who that is.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use larder_engine::env::{Env, LockByte, LockTable, RealEnv};
use rustix::process::{Pid, Signal, kill_process};

use super::Sandbox;

/// The store whose lock of commits a process of [`role`] holds.
const STORE: &str = "LARDER_TEST_HELD_STORE";

/// What the process that a test starts does; nothing when it is run as a test.
#[test]
fn role() {
    let Some(store) = std::env::var_os(STORE) else { return };
    let env: Arc<dyn Env> = Arc::new(RealEnv);
    let locks = LockTable::open(&env, Path::new(&store), 0o600).unwrap();
    let _lock = locks.lock(LockByte::Tail, 1_000).unwrap();
    println!("held");
    std::thread::sleep(Duration::from_secs(60));
}

/// A process that holds the lock of commits.
struct Holder(Child);

impl Holder {
    fn new(sandbox: &Sandbox) -> Holder {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "wrapper::locks::role", "--nocapture"]);
        command.env(STORE, sandbox.store()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("held")), "it has the lock");
        Holder(child)
    }

    fn stop(&self) {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, Signal::STOP).unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn said(sandbox: &Sandbox, arguments: &[&str], status: i32) -> String {
    let output = sandbox.larder(arguments);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {text}");
    text
}

/// With a stopped holder results were dropped, and the doctor said "ok locks: a commit is under
/// way"; other commands said "larder: Tail is locked".
#[test]
fn who_does_not_give_a_lock_back_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    sandbox.check_cached("gcc", &["-c", "a.c"]);
    assert!(said(&sandbox, &["doctor"], 0).contains("ok       locks"));
    let holder = Holder::new(&sandbox);
    let pid = format!("process {} (", holder.0.id());
    let text = said(&sandbox, &["doctor"], 1);
    assert!(text.contains(&pid) && text.contains("does not give the lock of commits"), "{text}");
    holder.stop();
    let left = sandbox.compile("gcc", &["-c", "a.c", "-DOTHER"]);
    assert_eq!(left, sandbox.plain("gcc", &["-c", "a.c", "-DOTHER"]));
    let text = said(&sandbox, &["doctor"], 1);
    assert!(text.contains(&pid) && text.contains("which is stopped"), "{text}");
    assert!(text.contains("1 result was not stored"), "{text}");
    for (arguments, status) in [(&["clear"][..], 1), (&["checkpoint"], 1)] {
        let text = said(&sandbox, arguments, status);
        assert!(text.contains("somebody else has the lock of commits ("), "{text}");
        assert!(text.contains("store/lock)") && text.contains("larder doctor"), "{text}");
    }
    drop(holder);
    let text = said(&sandbox, &["doctor"], 0);
    assert!(text.contains("ok       locks") && text.contains("note     dropped"), "{text}");
}

/// `larder checkpoint` at the end of a build failed after a second if a janitor was at work.
#[test]
fn commands_wait_for_a_janitor() {
    let sandbox = Sandbox::new();
    sandbox.write("a.c", "int x;\n");
    sandbox.check_cached("gcc", &["-c", "a.c"]);
    let env: Arc<dyn Env> = Arc::new(RealEnv);
    let locks = LockTable::open(&env, &sandbox.store(), 0o600).unwrap();
    let janitor = locks.lock(LockByte::Janitor, 0).unwrap();
    std::thread::scope(|scope| {
        let sandbox = &sandbox;
        let commands = ["checkpoint", "clear"]
            .map(|name| scope.spawn(move || sandbox.larder(&[name]).status.code()));
        // Longer than each try takes; a command that gives up has ended by then.
        std::thread::sleep(Duration::from_millis(1_500));
        drop(janitor);
        let ends = commands.map(|command| command.join().unwrap());
        assert_eq!(ends, [Some(0), Some(0)]);
    });
}
