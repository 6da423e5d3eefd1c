//! `ccache-storage-larder`: ccache's protocol for storage helpers, byte by byte, by a client of our
//! own.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use larder_engine::{Options, Store};
use larder_tests::{TempDir, larder_binary};

/// Nothing here takes as long.
const PATIENCE: Duration = Duration::from_secs(30);
const GREETING: [u8; 5] = [1, 3, 0, 1, 2];
const OK: u8 = 0;
const NOOP: u8 = 1;
const ERROR: u8 = 2;

struct Helper {
    folder: TempDir,
    child: Child,
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    larder_binary().with_file_name("ccache-storage-larder")
}

fn command(folder: &Path, idle: &str) -> Command {
    let mut command = Command::new(program());
    command.env("CRSH_IPC_ENDPOINT", folder.join("socket"));
    command.env("CRSH_URL", format!("larder://{}/store", folder.display()));
    command.env("CRSH_IDLE_TIMEOUT", idle).env("CRSH_NUM_ATTR", "2");
    command.env("CRSH_ATTR_KEY_0", "max-size").env("CRSH_ATTR_VALUE_0", "200Mi");
    command.env("CRSH_ATTR_KEY_1", "colour").env("CRSH_ATTR_VALUE_1", "green");
    command.env("LARDER_CONFIG", "/dev/null").env("HOME", folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

impl Helper {
    fn start() -> Helper {
        Helper::start_in(larder_tests::temp_dir())
    }

    fn start_in(folder: TempDir) -> Helper {
        let child = command(folder.path(), "0").spawn().expect("the helper starts");
        let helper = Helper { folder, child };
        let socket = helper.socket();
        wait_until("it listens", || UnixStream::connect(&socket).is_ok());
        helper
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn client(&self) -> Client {
        let mut client = Client(UnixStream::connect(self.socket()).expect("it listens"));
        client.0.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(client.read(5), GREETING);
        client
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }
}

struct Client(UnixStream);

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("it hears");
    }

    fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).expect("it answers");
        bytes
    }

    fn status(&mut self) -> u8 {
        self.read(1)[0]
    }

    fn message(&mut self) -> String {
        let count = usize::from(self.read(1)[0]);
        String::from_utf8(self.read(count)).expect("messages are texts")
    }

    fn get(&mut self, key: &[u8]) -> Option<Vec<u8>> {
        self.send(&request(0, key));
        match self.status() {
            OK => {
                let length = u64::from_ne_bytes(self.read(8).try_into().unwrap());
                Some(self.read(length as usize))
            }
            NOOP => None,
            other => panic!("{other}: {}", self.message()),
        }
    }

    fn put(&mut self, key: &[u8], overwrite: bool, value: &[u8]) -> u8 {
        self.send(&put_request(key, overwrite, value));
        self.status()
    }

    fn is_over(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }
}

fn request(number: u8, key: &[u8]) -> Vec<u8> {
    [&[number, key.len() as u8], key].concat()
}

fn put_request(key: &[u8], overwrite: bool, value: &[u8]) -> Vec<u8> {
    let length = (value.len() as u64).to_ne_bytes();
    [&request(1, key), &[u8::from(overwrite)][..], &length, value].concat()
}

fn key(number: u8) -> [u8; 20] {
    [number; 20]
}

#[test]
fn values_are_kept_until_they_are_replaced_or_removed() {
    let helper = Helper::start();
    let mut client = helper.client();
    assert_eq!(client.get(&key(1)), None);
    assert_eq!(client.put(&key(1), false, b"one"), OK);
    assert_eq!(client.put(&key(1), false, b"two"), NOOP);
    assert_eq!(client.get(&key(1)).as_deref(), Some(&b"one"[..]));
    assert_eq!(client.put(&key(1), true, b"three"), OK);
    assert_eq!(helper.client().get(&key(1)).as_deref(), Some(&b"three"[..]));
    for (number, statuses) in [(5, [OK, OK]), (2, [OK, NOOP]), (5, [NOOP, NOOP])] {
        let said = [(); 2].map(|()| {
            client.send(&request(number, &key(1)));
            client.status()
        });
        assert_eq!(said, statuses, "{number}");
    }
    assert_eq!(client.get(&key(1)), None);
    assert_eq!(client.put(&key(2), false, b""), OK);
    assert_eq!(client.get(&key(2)).as_deref(), Some(&b""[..]));
}

#[test]
fn the_helper_tells_who_it_is_and_what_it_does_not_understand() {
    let helper = Helper::start();
    let mut client = helper.client();
    client.send(&[4]);
    assert!(client.message().starts_with("ccache-storage-larder "));
    let count = client.read(1)[0];
    let told: Vec<String> = (0..count).map(|_| client.message()).collect();
    assert!(told[0].contains(&*helper.store().to_string_lossy()), "{told:?}");
    assert!(told[1].contains("colour"), "{told:?}");
}

#[test]
fn requests_may_come_a_byte_at_a_time_and_many_at_once() {
    let helper = Helper::start();
    let mut client = helper.client();
    for byte in put_request(&key(1), false, b"slowly") {
        client.send(&[byte]);
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.status(), OK);
    let many: Vec<u8> = (0..50)
        .flat_map(|number| {
            [put_request(&key(number), true, &[number; 99]), request(0, &key(number))]
        })
        .flatten()
        .collect();
    client.send(&many);
    for number in 0..50 {
        let wanted = [&[OK, OK][..], &99u64.to_ne_bytes(), &[number; 99]].concat();
        assert_eq!(client.read(wanted.len()), wanted);
    }
}

#[test]
fn keys_have_any_length_but_none() {
    let helper = Helper::start();
    let mut client = helper.client();
    let lengths = [1, 2, 19, 20, 21, 32, 64, 255];
    for length in lengths {
        let key: Vec<u8> = (0..length).map(|at| (at * 7 + length) as u8).collect();
        assert_eq!(client.put(&key, false, &[length as u8; 3]), OK, "{length}");
    }
    for length in lengths {
        let key: Vec<u8> = (0..length).map(|at| (at * 7 + length) as u8).collect();
        assert_eq!(client.get(&key), Some(vec![length as u8; 3]), "{length}");
    }
    assert_eq!(client.put(b"", false, b"x"), ERROR);
    assert!(client.message().contains("empty"));
    assert_eq!(client.get(b""), None);
}

#[test]
fn many_clients_are_served_at_once() {
    let helper = Helper::start();
    let value = |number: u8| vec![number; 1000 + 3000 * usize::from(number)];
    thread::scope(|scope| {
        for number in 0..24 {
            let (helper, value) = (&helper, &value);
            scope.spawn(move || {
                let mut client = helper.client();
                for round in 0..20 {
                    let key = [&key(number)[..18], &[round, number]].concat();
                    assert_eq!(client.put(&key, false, &value(number)), OK);
                    assert_eq!(client.get(&key), Some(value(number)));
                }
            });
        }
    });
    assert_eq!(helper.client().get(&[&key(3)[..18], &[5, 3]].concat()), Some(value(3)));
}

/// A length that nobody has is an error, and one of which the bytes do not come costs nothing.
#[test]
fn lengths_are_not_believed() {
    let helper = Helper::start();
    let head = [&request(1, &key(1)), &[0][..]].concat();
    for length in [u64::MAX, 1 << 60, (4 << 30) + 1] {
        let mut client = helper.client();
        client.send(&[&head[..], &length.to_ne_bytes()].concat());
        assert_eq!(client.status(), ERROR);
        assert!(client.message().contains("4 GiB"));
        assert!(client.is_over());
    }
    let mut gone = helper.client();
    gone.send(&[&head[..], &(3u64 << 30).to_ne_bytes(), b"some"].concat());
    thread::sleep(Duration::from_millis(50));
    let status = fs::read_to_string(format!("/proc/{}/status", helper.child.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 200 << 10, "{kib} KiB for a value that never came");
    drop(gone);
    let mut client = helper.client();
    assert_eq!(client.get(&key(1)), None);
    client.send(&[0x77]);
    assert_eq!(client.status(), ERROR);
    assert!(client.message().contains("119"));
    assert!(client.is_over());
}

#[test]
fn it_stops_when_it_is_told_and_another_one_goes_on() {
    let mut helper = Helper::start();
    assert_eq!(helper.client().put(&key(1), false, b"kept"), OK);
    let mut client = helper.client();
    client.send(&[3]);
    assert_eq!(client.status(), OK);
    assert!(helper.child.wait().unwrap().success());
    assert!(!helper.socket().exists());
    helper.child = command(helper.folder.path(), "0").spawn().unwrap();
    let socket = helper.socket();
    wait_until("it listens again", || UnixStream::connect(&socket).is_ok());
    assert_eq!(helper.client().get(&key(1)).as_deref(), Some(&b"kept"[..]));
}

/// ccache hands on a URL without a host without its slashes, and has NAME.lock for itself.
#[test]
fn it_starts_as_ccache_4_14_starts_it() {
    let folder = larder_tests::temp_dir();
    std::os::unix::fs::symlink("its own", folder.path().join("socket.lock")).unwrap();
    let url = format!("larder:{}/store", folder.path().display());
    let mut child = command(folder.path(), "0").env("CRSH_URL", url).spawn().unwrap();
    let socket = folder.path().join("socket");
    wait_until("it listens", || UnixStream::connect(&socket).is_ok());
    let superblock = folder.path().join("store/superblock");
    wait_until("it has a store", || superblock.exists());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn it_leaves_when_nobody_says_anything() {
    let folder = larder_tests::temp_dir();
    let mut child = command(folder.path(), "1").spawn().unwrap();
    wait_until("it leaves", || child.try_wait().unwrap().is_some());
    assert!(child.wait().unwrap().success());
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}: the store alone");
}

#[test]
fn of_helpers_that_start_at_once_one_serves() {
    let folder = larder_tests::temp_dir();
    // One that was killed has left its socket.
    drop(UnixListener::bind(folder.path().join("socket")).unwrap());
    let mut children: Vec<Child> =
        (0..8).map(|_| command(folder.path(), "0").spawn().unwrap()).collect();
    let mut ended = || {
        let states = children.iter_mut().map(|child| child.try_wait().unwrap());
        states.flatten().inspect(|status| assert_eq!(status.code(), Some(1))).count()
    };
    wait_until("all but one end", || ended() == 7);
    let socket = folder.path().join("socket");
    wait_until("one listens", || UnixStream::connect(&socket).is_ok());
    assert_eq!(ended(), 7);
    for mut child in children {
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[test]
fn what_makes_no_sense_is_said_and_nothing_is_served() {
    let folder = larder_tests::temp_dir();
    for (name, value, wanted) in [
        ("CRSH_IPC_ENDPOINT", "", "CRSH_IPC_ENDPOINT"),
        ("CRSH_URL", "redis://x", "larder:"),
        ("CRSH_URL", "larder://host/x", "larder:///PATH"),
        ("CRSH_IDLE_TIMEOUT", "soon", "soon"),
        ("CRSH_ATTR_VALUE_0", "large", "large"),
    ] {
        let mut command = command(folder.path(), "0");
        let output = command.env(name, value).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}={value}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(wanted), "{text}");
        assert!(!folder.path().join("socket").exists());
    }
}

/// A damaged record is a miss, and never another value.
#[test]
fn damage_is_a_miss() {
    let helper = Helper::start();
    let value: Vec<u8> = (0..50_000u32).map(|at| ((at * 31) >> 3) as u8).collect();
    assert_eq!(helper.client().put(&key(1), false, &value), OK);
    let segment = fs::read_dir(helper.store().join("log")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(64).position(|part| part == &value[20_000..20_064]).expect("it is raw");
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    assert_eq!(helper.client().get(&key(1)), None);
    assert_eq!(helper.client().put(&key(1), true, &value), OK);
    assert_eq!(helper.client().get(&key(1)), Some(value));
}

/// What a helper was given is an entry for `larder convert`, and the other way round.
#[test]
fn entries_are_those_that_conversion_knows() {
    let helper = Helper::start();
    assert_eq!(helper.client().put(&key(0xab), false, b"opaque"), OK);
    let store = Store::open(&helper.store(), Options::new().read_only(true)).unwrap();
    let name = "ab".repeat(20);
    let record = store.get(&larder_engine::Key::foreign("ccache", name.as_bytes())).unwrap();
    let record = record.expect("it stands under its name");
    assert_eq!(record.read(2).unwrap(), b"opaque");
    let output = Command::new(larder_binary()).arg("ls").arg(helper.store()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with(&format!("ccache:{name}  foreign ")), "{text}");
}
