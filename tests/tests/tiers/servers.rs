//! Servers for one test each: on loopback, with a free port, in a directory that vanishes. They
//! are ended when the value is dropped, also by a test that panics.

pub mod s3;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use larder_tests::{TempDir, find_or_skip, temp_dir};

/// How long a server may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Somebody else may take a port that was free a moment ago.
const STARTS_MAX: usize = 5;

/// A process that ends with the value.
pub struct Process {
    child: Child,
}

impl Process {
    fn start(command: &mut Command) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Process { child: command.spawn().expect("a server starts") }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_some()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("our own child");
    }

    /// Stops it: it neither answers nor closes anything.
    pub fn pause(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(rustix::process::Signal::CONT);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a server until it listens where it should. `None` if it never does.
fn start_until(
    mut command: impl FnMut() -> Command,
    mut is_ready: impl FnMut() -> bool,
) -> Option<Process> {
    for _ in 0..STARTS_MAX {
        let mut process = Process::start(&mut command());
        let begin = Instant::now();
        while !process.has_ended() && begin.elapsed() < START_PATIENCE {
            if is_ready() {
                return Some(process);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
    None
}

/// An authority and a certificate of it for this machine.
pub struct Certificates {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificates {
    /// Makes them; `None` without openssl.
    pub fn new(folder: &Path) -> Option<Certificates> {
        let openssl = find_or_skip("openssl")?;
        let names = "subjectAltName=DNS:localhost,IP:127.0.0.1\n";
        fs::write(folder.join("names"), names).unwrap();
        let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        let calls = [
            format!("req -x509 {new_key} -keyout ca.key -out ca.pem -subj /CN=tests -days 2"),
            format!("req {new_key} -keyout server.key -out server.csr -subj /CN=localhost"),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -out server.pem -extfile names"
                .to_owned(),
        ];
        for call in calls {
            let mut command = Command::new(&openssl);
            let output = command.args(call.split_whitespace()).current_dir(folder).output();
            let output = output.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Some(Certificates {
            authority: folder.join("ca.pem"),
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
        })
    }
}

/// A server of Redis.
pub struct Redis {
    pub port: u16,
    pub process: Option<Process>,
    options: Vec<String>,
    password: Option<String>,
    folder: TempDir,
}

impl Redis {
    /// One without a password; `None` without redis-server.
    pub fn start(options: &[&str]) -> Option<Redis> {
        Redis::start_in(temp_dir(), options, None)
    }

    /// One whose default user has a password.
    pub fn with_password(password: &str, options: &[&str]) -> Option<Redis> {
        Redis::start_in(temp_dir(), options, Some(password))
    }

    fn start_in(folder: TempDir, options: &[&str], password: Option<&str>) -> Option<Redis> {
        find_or_skip("redis-server")?;
        find_or_skip("redis-cli")?;
        let mut redis = Redis {
            port: 0,
            process: None,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            password: password.map(str::to_owned),
            folder,
        };
        for _ in 0..STARTS_MAX {
            redis.port = free_port();
            redis.restart();
            if redis.process.is_some() {
                return Some(redis);
            }
        }
        panic!("redis-server does not start: {}", redis.log());
    }

    /// One with TLS on its port, and what a client needs.
    pub fn with_tls() -> Option<(Redis, PathBuf)> {
        let folder = temp_dir();
        let certificates = Certificates::new(folder.path())?;
        let path = |path: &Path| path.display().to_string();
        let (authority, certificate, key) = (
            path(&certificates.authority),
            path(&certificates.certificate),
            path(&certificates.key),
        );
        let options = [
            "--tls-port",
            "TLS_PORT",
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &authority,
            "--tls-auth-clients",
            "no",
        ];
        Some((Redis::start_in(folder, &options, None)?, certificates.authority))
    }

    /// Ends it and starts it again in its place, without what it had.
    pub fn restart(&mut self) {
        self.process = None;
        let command = || {
            let mut command = Command::new("redis-server");
            let port = self.port.to_string();
            let is_tls = self.is_tls();
            command.args(["--port", if is_tls { "0" } else { &port }]);
            command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            command.args(["--logfile", "log", "--unixsocket", "socket", "--dir"]);
            command.arg(self.folder.path());
            let option =
                |option: &String| if option == "TLS_PORT" { port.clone() } else { option.clone() };
            command.args(self.options.iter().map(option));
            if let Some(password) = &self.password {
                command.args(["--requirepass", password]);
            }
            command.current_dir(self.folder.path());
            command
        };
        let process = start_until(command, || {
            // Somebody else's server on this port has another directory.
            let folder = self.folder.path().canonicalize().unwrap();
            self.ask(&["CONFIG", "GET", "dir"]).contains(&folder.display().to_string())
        });
        self.process = process;
    }

    fn is_tls(&self) -> bool {
        self.options.iter().any(|option| option == "TLS_PORT")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the server runs")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// What the server says to a command of ours.
    pub fn ask(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string()]);
        if self.is_tls() {
            command.args(["--tls", "--cacert"]).arg(self.folder.path().join("ca.pem"));
        }
        if let Some(password) = &self.password {
            command.env("REDISCLI_AUTH", password);
        }
        let output = command.args(words).stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Listens to all commands from now on.
    pub fn monitor(&self) -> Monitor {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut stream = stream;
        if let Some(password) = &self.password {
            stream.write_all(format!("AUTH {password}\r\n").as_bytes()).unwrap();
            assert_eq!(lines.next().unwrap().unwrap(), "+OK");
        }
        stream.write_all(b"MONITOR\r\n").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "+OK");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Monitor { lines: receiver, _stream: stream }
    }

    /// The commands that a monitor has heard by now, without those of this call.
    pub fn heard(&self, monitor: &Monitor) -> Vec<String> {
        self.ask(&["ECHO", "that-is-all"]);
        let mut heard = Vec::new();
        loop {
            let line = monitor.lines.recv_timeout(START_PATIENCE).expect("the monitor hears us");
            if line.contains("that-is-all") {
                // redis-cli may ask for the list of commands first.
                heard.retain(|line: &String| !line.contains("\"COMMAND\""));
                return heard;
            }
            heard.push(line);
        }
    }
}

/// Lines as `+1700000000.1 [0 127.0.0.1:40000] "GET" "key"`.
pub struct Monitor {
    lines: Receiver<String>,
    _stream: TcpStream,
}

/// The name of the command in a monitor's line.
pub fn command_of(line: &str) -> &str {
    line.split('"').nth(1).unwrap_or_default()
}

/// The client in a monitor's line.
pub fn client_of(line: &str) -> &str {
    line.split(['[', ']']).nth(1).unwrap_or_default()
}

/// Three servers of Redis that share the slots.
pub struct Cluster {
    pub nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts them as if they had met before; `None` without redis-server.
    pub fn start() -> Option<Cluster> {
        find_or_skip("redis-server")?;
        for _ in 0..STARTS_MAX {
            if let Some(cluster) = Cluster::try_start() {
                return Some(cluster);
            }
        }
        panic!("no cluster of Redis starts");
    }

    fn try_start() -> Option<Cluster> {
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        let mut nodes = Vec::new();
        for own in 0..3 {
            let folder = temp_dir();
            fs::write(folder.path().join("nodes"), known_nodes(&ports, own)).unwrap();
            let (port, bus) = ports[own];
            let bus = bus.to_string();
            let options = ["--cluster-enabled yes --cluster-config-file nodes --cluster-port"];
            let mut options: Vec<&str> = options[0].split(' ').collect();
            options.push(&bus);
            options.extend(["--cluster-require-full-coverage", "no"]);
            let mut redis = Redis {
                port,
                process: None,
                options: options.into_iter().map(str::to_owned).collect(),
                password: None,
                folder,
            };
            redis.restart();
            redis.process.as_ref()?;
            nodes.push(redis);
        }
        let begin = Instant::now();
        let is_whole = |node: &Redis| {
            let info = node.ask(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
        };
        while !nodes.iter().all(is_whole) {
            if begin.elapsed() > START_PATIENCE {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
        Some(Cluster { nodes })
    }

    pub fn url(&self) -> String {
        let nodes: Vec<_> = self.nodes.iter().map(|n| format!("127.0.0.1:{}", n.port)).collect();
        format!("redis+cluster://{}", nodes.join(","))
    }

    /// The node that has a slot, by the list that each of these began with.
    pub fn owner(slot: u32) -> usize {
        (0..3).find(|index| slot <= last_slot(*index)).unwrap()
    }

    pub fn id(index: usize) -> String {
        format!("{:040x}", index + 1)
    }
}

fn last_slot(index: usize) -> u32 {
    [5460, 10_922, 16_383][index]
}

/// What a node remembers of the cluster.
fn known_nodes(ports: &[(u16, u16)], own: usize) -> String {
    let mut text = String::new();
    let mut first = 0;
    for (index, (port, bus)) in ports.iter().enumerate() {
        let (id, epoch, last) = (Cluster::id(index), index + 1, last_slot(index));
        let myself = if index == own { "myself,master" } else { "master" };
        text += &format!(
            "{id} 127.0.0.1:{port}@{bus} {myself} - 0 0 {epoch} connected {first}-{last}\n"
        );
        first = last + 1;
    }
    text + "vars currentEpoch 3 lastVoteEpoch 0\n"
}

/// A server of memcached.
pub struct Memcached {
    pub port: u16,
    pub process: Option<Process>,
    options: Vec<String>,
}

impl Memcached {
    /// `None` without memcached.
    pub fn start(options: &[&str]) -> Option<Memcached> {
        find_or_skip("memcached")?;
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut memcached = Memcached { port: 0, process: None, options };
        for _ in 0..STARTS_MAX {
            memcached.port = free_port();
            memcached.restart();
            if memcached.process.is_some() {
                return Some(memcached);
            }
        }
        panic!("memcached does not start");
    }

    /// Ends it and starts it again in its place, without what it had.
    pub fn restart(&mut self) {
        self.process = None;
        let command = || {
            let mut command = Command::new("memcached");
            let port = self.port.to_string();
            // Root has to say that it means it.
            command.args(["-u", "root", "-l", "127.0.0.1", "-U", "0", "-p", &port]);
            command.args(&self.options);
            command
        };
        let process = start_until(command, || !self.ask("version").is_empty());
        // Somebody else's server on this port is another process; one that wants a password does
        // not say.
        let pid = self.ask("stats").lines().find_map(|line| {
            line.strip_prefix("STAT pid ").map(|pid| pid.trim().parse::<u32>().unwrap())
        });
        self.process = process.filter(|process| pid.is_none_or(|pid| pid == process.child.id()));
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the server runs")
    }

    /// What the server says to commands of ours; nothing if it cannot be reached.
    pub fn ask(&self, commands: &str) -> String {
        self.lines(&format!("{commands}\r\nquit\r\n"), None).unwrap_or_default()
    }

    /// What it says up to a line, or until it closes.
    fn lines(&self, commands: &str, last: Option<&str>) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(START_PATIENCE))?;
        stream.write_all(commands.as_bytes())?;
        let mut said = String::new();
        for line in BufReader::new(stream).lines() {
            let line = line?;
            said.push_str(&line);
            said.push('\n');
            if last.is_some_and(|last| last == line) {
                break;
            }
        }
        Ok(said)
    }

    /// A number that the server tells of itself.
    pub fn stat(&self, name: &str) -> u64 {
        let said = self.ask("stats");
        let line = said.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {said}")).trim().parse().unwrap()
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Vec<String> {
        let begin = Instant::now();
        loop {
            // A connection that has listed them takes no further command at once.
            let said = self.lines("lru_crawler metadump all\r\n", Some("END")).unwrap();
            let keys = said.lines().filter_map(|line| line.strip_prefix("key=")?.split(' ').next());
            let mut keys: Vec<_> =
                keys.map(|key| key.replace("%3A", ":").replace("%2F", "/")).collect();
            keys.sort();
            // What the server is just moving about is left out.
            if keys.len() as u64 == self.stat("curr_items") {
                return keys;
            }
            assert!(begin.elapsed() < START_PATIENCE, "{keys:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A server of HTTP with DAV.
pub struct Nginx {
    pub port: u16,
    /// The same server, as another origin.
    pub other_port: u16,
    pub process: Option<Process>,
    is_tls: bool,
    folder: TempDir,
}

/// Places of it:
///
/// - `/dav/` makes collections by itself, `/strict/` does not;
/// - `/listed/` tells what is in them, where nginx has that module;
/// - `/locked/`, `/bearer/` and `/header/` ask for credentials, `/readonly/` refuses to be changed;
/// - `/moved/` leads to `/dav/`, `/away/` to that of the other port, `/loop/` to itself;
/// - `/full/` and `/busy/` have no room and no time.
const NGINX: &str = r#"
MODULE
daemon off; master_process off; pid FOLDER/pid; error_log FOLDER/error.log;
events { worker_connections 256; }
http {
    log_format plain '$connection $server_port $request_method $request_uri $status '
        '"$http_authorization" "$http_x_key"';
    access_log FOLDER/access.log plain;
    client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi; uwsgi_temp_path FOLDER/uwsgi; scgi_temp_path FOLDER/scgi;
    client_max_body_size 4m;
    server {
        listen 127.0.0.1:PORT TLS; listen 127.0.0.1:OTHER TLS; root FOLDER/www;
        CERTIFICATES
        location = /who { return 200 FOLDER; }
        location /dav/ { dav_methods PUT DELETE; create_full_put_path on; }
        location /listed/ { dav_methods PUT DELETE MKCOL; METHODS create_full_put_path on; }
        location /strict/ { dav_methods PUT DELETE MKCOL; }
        location /locked/ {
            auth_basic tests; auth_basic_user_file FOLDER/users;
            dav_methods PUT DELETE; create_full_put_path on;
        }
        location /bearer/ {
            if ($http_authorization != "Bearer hunter2") { return 401; }
            dav_methods PUT DELETE; create_full_put_path on;
        }
        location /header/ {
            if ($http_x_key != "open sesame") { return 403; }
            dav_methods PUT DELETE; create_full_put_path on;
        }
        location /readonly/ { }
        location ~ ^/moved/(.*)$ { return 302 /dav/$1; }
        location ~ ^/away/(.*)$ { return 307 SCHEME://127.0.0.1:OTHER/dav/$1; }
        location /loop/ { return 302 $uri; }
        location /full/ { return 507; }
        location /busy/ { return 503; }
    }
}
"#;

impl Nginx {
    /// `None` without nginx, or with one that lacks DAV.
    pub fn start() -> Option<Nginx> {
        Nginx::start_in(temp_dir(), None)
    }

    /// One with TLS, and what a client needs.
    pub fn with_tls() -> Option<(Nginx, PathBuf)> {
        let folder = temp_dir();
        let certificates = Certificates::new(folder.path())?;
        let nginx = Nginx::start_in(folder, Some(&certificates))?;
        Some((nginx, certificates.authority))
    }

    fn start_in(folder: TempDir, certificates: Option<&Certificates>) -> Option<Nginx> {
        let nginx = find_or_skip("nginx")?;
        let version = Command::new(nginx).arg("-V").output().unwrap();
        if !String::from_utf8_lossy(&version.stderr).contains("http_dav_module") {
            eprintln!("skipped: this nginx has no DAV");
            return None;
        }
        fs::create_dir_all(folder.path().join("www/strict")).unwrap();
        fs::create_dir_all(folder.path().join("www/listed")).unwrap();
        write_private(&folder.path().join("users"), "me:{PLAIN}hunter2\n");
        let is_tls = certificates.is_some();
        let mut nginx = Nginx { port: 0, other_port: 0, process: None, is_tls, folder };
        for _ in 0..STARTS_MAX {
            (nginx.port, nginx.other_port) = (free_port(), free_port());
            let pair = certificates.map(|certificates| {
                let (certificate, key) = (&certificates.certificate, &certificates.key);
                let (certificate, key) = (certificate.display(), key.display());
                format!("ssl_certificate {certificate}; ssl_certificate_key {key};")
            });
            let (module, methods) = match listing_module() {
                Some(path) => {
                    (format!("load_module {};", path.display()), "dav_ext_methods PROPFIND;")
                }
                None => (String::new(), ""),
            };
            let text = NGINX
                .replace("MODULE", &module)
                .replace("METHODS", methods)
                .replace("FOLDER", &nginx.folder.path().display().to_string())
                .replace("PORT", &nginx.port.to_string())
                .replace("OTHER", &nginx.other_port.to_string())
                .replace("SCHEME", if is_tls { "https" } else { "http" })
                .replace("TLS", if is_tls { "ssl" } else { "" })
                .replace("CERTIFICATES", &pair.unwrap_or_default());
            fs::write(nginx.folder.path().join("conf"), text).unwrap();
            nginx.restart();
            if nginx.process.is_some() {
                return Some(nginx);
            }
        }
        panic!("nginx does not start: {}", nginx.file("error.log"));
    }

    /// Ends it and starts it again in its place, with what it had.
    pub fn restart(&mut self) {
        self.process = None;
        let folder = self.folder.path().display().to_string();
        let command = || {
            let mut command = Command::new("nginx");
            command.args(["-p", &folder, "-e", "error.log", "-c", "conf"]);
            command
        };
        let is_ready = || match self.is_tls {
            // What it says cannot be read; that somebody else listens there would show later.
            true => TcpStream::connect(("127.0.0.1", self.port)).is_ok(),
            false => who_listens(self.port, "/who").is_ok_and(|said| said.contains(&folder)),
        };
        self.process = start_until(command, is_ready);
    }

    /// Whether it tells what is in its collections; else says on stderr that this is skipped.
    pub fn can_list() -> bool {
        let can_list = listing_module().is_some();
        if !can_list {
            eprintln!("skipped: this nginx has no module for PROPFIND");
        }
        can_list
    }

    pub fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    /// A URL without its scheme.
    pub fn place(&self, path: &str) -> String {
        format!("127.0.0.1:{}/{path}", self.port)
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.logged();
        fs::write(self.folder.path().join("access.log"), "").unwrap();
    }

    /// The requests since then.
    pub fn heard(&self) -> Vec<String> {
        self.logged().into_iter().filter(|line| !line.contains(" /who")).collect()
    }

    /// The log with everything up to now: a request is logged after it was answered, and before
    /// the next one is read.
    fn logged(&self) -> Vec<String> {
        let begin = Instant::now();
        // The log only grows until it is forgotten, so its length is a new name.
        let last = format!("/who?{}", self.file("access.log").len());
        who_listens(self.port, &last).unwrap();
        loop {
            let text = self.file("access.log");
            if text.contains(&format!(" {last} ")) {
                return text.lines().map(str::to_owned).collect();
            }
            assert!(begin.elapsed() < START_PATIENCE, "{text}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The module of nginx for PROPFIND, if there is one.
fn listing_module() -> Option<PathBuf> {
    let version = Command::new("nginx").arg("-V").output().ok()?;
    let version = String::from_utf8_lossy(&version.stderr).into_owned();
    let folder = version.split_whitespace().find_map(|word| word.strip_prefix("--modules-path="));
    let module = Path::new(folder?).join("ngx_http_dav_ext_module.so");
    module.is_file().then_some(module)
}

/// What stands at `/who`.
fn who_listens(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(START_PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

/// Makes a file that only we may read.
pub fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
