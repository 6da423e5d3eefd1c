//! `cargo xtask demo --tiers`: machines that get from each other what they have made.
//!
//! 1. Machine A has an empty store, and Redis, HTTP, memcached (two servers) and S3 behind it. It
//!    builds every project, and what it makes is written to all of them.
//! 2. Machine B has an empty store and Redis, machine C an empty store and HTTP, machine D an empty
//!    store and memcached, machine E an empty store and S3. Every unit of theirs is a hit.
//! 3. The servers are stopped, and B builds again: hits from its own store.
//!
//! A machine is a store with an agent of its own; all stand on this one. Where redis-server,
//! memcached or s3s-fs is missing and cannot be installed, its machine is left out.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::build::Job;
use super::crates;
use super::http::Http;
use super::project;
use super::store::{Counters, Store};
use crate::process::{self, Outcome};
use crate::{dist, test};

/// The compilers of the projects: one is enough here.
const COMPILERS: [(&str, &str); 2] = [("gcc", "g++"), ("cc", "c++")];
/// A server takes no longer to start.
const START: Duration = Duration::from_secs(10);

/// What one machine's build came to.
struct Row {
    machine: &'static str,
    behind: &'static str,
    counts: Counters,
    elapsed: Duration,
    /// Units that had to be hits; `None` if they had to be misses.
    hits_expected: Option<u64>,
}

impl Row {
    fn is_good(&self, units: u64) -> bool {
        match self.hits_expected {
            Some(expected) => self.counts.hits() == expected && self.counts.misses() == 0,
            None => self.counts.misses() == units,
        }
    }
}

/// Runs the demo in `folder`; whether every number was what it must be.
pub fn run(folder: &Path) -> Outcome<bool> {
    let wrapper = dist::all()?;
    let redis = Server::redis(folder)?;
    let memcached = [Server::memcached()?, Server::memcached()?];
    let s3 = Server::s3(folder)?;
    let http = Http::start()?;
    let demo = Demo { wrapper, folder: folder.to_path_buf() };
    let url = |server: &Option<Server>| server.as_ref().map(|server| server.url.clone());
    let hosts: Vec<String> = memcached.iter().filter_map(url).collect();
    let hosts = (!hosts.is_empty()).then(|| format!("memcached://{}", hosts.join(",")));
    let urls = [url(&redis), Some(http.url()), hosts, url(&s3)];
    let all: Vec<String> = urls.iter().flatten().cloned().collect();

    let a = demo.machine("A", &all.join(" "))?;
    let (units, cold) = demo.build(&a, "A", "nothing yet", None)?;
    process::run(a.larder().args(["agent", "flush"]))?;
    let mut rows = vec![cold];
    let mut machines = vec![a];
    let others = [("B", "Redis"), ("C", "HTTP"), ("D", "memcached"), ("E", "S3")];
    for ((name, behind), url) in others.into_iter().zip(&urls) {
        let Some(url) = url else {
            eprintln!("machine {name} is left out: {behind} is not installed");
            continue;
        };
        let machine = demo.machine(name, url)?;
        rows.push(demo.build(&machine, name, behind, Some(units))?.1);
        machines.push(machine);
    }
    let heard = (http.requests.load(Ordering::Relaxed), http.connections.load(Ordering::Relaxed));
    drop((redis, memcached, s3));
    http.stop();
    let last = machines.len().min(2) - 1;
    let name = rows[last].machine;
    rows.push(demo.build(&machines[last], name, "servers that are gone", Some(units))?.1);
    for machine in &machines {
        process::run(machine.larder().args(["agent", "stop"]))?;
    }
    print(&rows, units, heard);
    Ok(rows.iter().all(|row| row.is_good(units)))
}

fn print(rows: &[Row], units: u64, heard: (u64, u64)) {
    println!(
        "{:<8} {:<22} {:>6} {:>6} {:>6} {:>9} {:>9}",
        "machine", "behind its store", "units", "hits", "misses", "from tier", "time"
    );
    for row in rows {
        let verdict = if row.is_good(units) { "" } else { "  WRONG" };
        println!(
            "{:<8} {:<22} {units:>6} {:>6} {:>6} {:>9} {:>7.2} s{verdict}",
            row.machine,
            row.behind,
            row.counts.hits(),
            row.counts.misses(),
            row.counts.get("remote_storage_hit"),
            row.elapsed.as_secs_f64()
        );
    }
    println!("\nHTTP heard {} requests in {} connections", heard.0, heard.1);
}

/// Where everything stands.
struct Demo {
    wrapper: PathBuf,
    folder: PathBuf,
}

impl Demo {
    /// A machine: an empty store, and tiers.
    fn machine(&self, name: &str, tiers: &str) -> Outcome<Store> {
        let folder = self.folder.join("machines").join(name);
        let config = folder.join("config");
        fs::create_dir_all(&config)?;
        Ok(Store::new(self.wrapper.clone(), folder.join("store"), config).with_tiers(tiers))
    }

    /// Builds every project; how many units that were, and how it went.
    fn build(
        &self,
        store: &Store,
        machine: &'static str,
        behind: &'static str,
        hits_expected: Option<u64>,
    ) -> Outcome<(u64, Row)> {
        eprintln!("machine {machine}, behind it {behind}");
        let before = store.counters()?;
        let begun = Instant::now();
        let mut units = 0;
        let is_here =
            |(c, cpp): &&(&str, &str)| process::find(c).is_some() && process::find(cpp).is_some();
        let (c, cpp) = COMPILERS.iter().find(is_here).ok_or("there is no C compiler here")?;
        let jobs = thread::available_parallelism().map_or(1, |jobs| jobs.get());
        for project in project::PROJECTS {
            let sources = project.unpack(&self.folder)?;
            let names = project.units(&sources)?;
            let compiler = match project.language {
                project::Language::C => c,
                project::Language::Cpp => cpp,
            };
            let job = Job { project, sources: &sources, units: &names, compiler };
            let tree = self.folder.join("built").join(format!("{machine}-{}", project.name));
            let _ = fs::remove_dir_all(&tree);
            let built = job.build(store, true, jobs, &tree)?;
            if let Some(complaint) = built.first_failure() {
                return Err(format!("{}: {complaint}", project.name).into());
            }
            units += names.len() as u64;
            eprintln!("  {:<8} {:7.2} s", project.name, built.elapsed.as_secs_f64());
        }
        units += crates::build_once(store, &self.folder)?;
        let counts = store.counters()?.since(&before);
        let row = Row { machine, behind, counts, elapsed: begun.elapsed(), hits_expected };
        Ok((units, row))
    }
}

/// A server that ends with the value.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// One of Redis that keeps nothing on disk; `None` where there is no redis-server.
    fn redis(folder: &Path) -> Outcome<Option<Server>> {
        let Some(program) = test::provide("redis-server") else { return Ok(None) };
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder);
        Server::start(command, "--port", |port| format!("redis://127.0.0.1:{port}")).map(Some)
    }

    /// One of memcached, with its place for a URL; `None` where there is no memcached.
    fn memcached() -> Outcome<Option<Server>> {
        let Some(program) = test::provide("memcached") else { return Ok(None) };
        let mut command = Command::new(program);
        // Root has to say that it means it.
        command.args(["-u", "root", "-l", "127.0.0.1", "-U", "0", "-m", "512"]);
        Server::start(command, "-p", |port| format!("127.0.0.1:{port}")).map(Some)
    }

    /// One of S3 that checks signatures; `None` where there is no s3s-fs. It sends a reply's head
    /// and body apart, so that a hit waits 40 ms for the kernel's acknowledgement.
    fn s3(folder: &Path) -> Outcome<Option<Server>> {
        let Some(program) = test::provide("s3s-fs") else { return Ok(None) };
        let root = folder.join("s3");
        fs::create_dir_all(root.join("bucket"))?;
        let (id, secret) = ("AKIADEMO", "of-the-demo");
        let keys = folder.join("credentials");
        let profile = format!("aws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        fs::write(&keys, format!("[default]\n{profile}"))?;
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--access-key", id, "--secret-key", secret]);
        command.arg(root).env("RUST_LOG", "off");
        let keys = keys.display();
        let url =
            |port| format!("s3://bucket?endpoint=http://127.0.0.1:{port}|credentials-file={keys}");
        Server::start(command, "--port", url).map(Some)
    }

    /// Starts one on a free port.
    fn start(mut command: Command, flag: &str, url: impl Fn(u16) -> String) -> Outcome<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        command.args([flag, &port.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
        let server = Server { child: command.spawn()?, url: url(port) };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > START {
                return Err(format!("{} does not listen", process::describe(&command)).into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
