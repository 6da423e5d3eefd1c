//! The servers, and what they heard.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Outcome;

/// A server takes no longer to start.
const START: Duration = Duration::from_secs(10);

/// The bucket that a server of S3 has.
pub const S3_BUCKET: &str = "bucket";
/// Whom it knows.
pub const S3_KEY: &str = "AKIATIERS";
/// By this secret.
pub const S3_SECRET: &str = "of-the-comparison";

/// The module by which nginx knows PROPFIND.
const DAV_EXT: &str = "/usr/lib/nginx/modules/ngx_http_dav_ext_module.so";

/// Whether the server of HTTP knows PROPFIND, which sccache asks for.
pub fn knows_propfind() -> bool {
    Path::new(DAV_EXT).exists()
}

/// What a server has heard so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard {
    /// Commands or requests.
    pub commands: u64,
    /// Connections that were opened.
    pub connections: u64,
}

impl Heard {
    /// What came since then.
    pub fn since(self, before: Heard) -> Heard {
        Heard {
            commands: self.commands - before.commands,
            connections: self.connections - before.connections,
        }
    }
}

/// A server that ends with the value.
pub struct Server {
    /// Where it listens.
    pub port: u16,
    child: Child,
    counts: Counts,
}

/// Who counts what a server hears.
enum Counts {
    /// Redis, in its INFO.
    Redis,
    /// memcached, in its stats.
    Memcached,
    /// The log of requests, of a server of HTTP.
    Log(PathBuf),
    /// Nobody.
    Nobody,
}

impl Server {
    /// A server of Redis that keeps nothing on disk.
    pub fn redis(folder: &Path) -> Outcome<Server> {
        let port = free_port()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
        command.arg(port.to_string()).arg("--dir").arg(folder);
        Server::start(command, port, Counts::Redis)
    }

    /// memcached that takes items of up to 16 MiB.
    pub fn memcached() -> Outcome<Server> {
        let port = free_port()?;
        let mut command = Command::new("memcached");
        command.args(["-l", "127.0.0.1", "-U", "0", "-m", "1024", "-I", "16m", "-p"]);
        command.arg(port.to_string());
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "root"]);
        }
        Server::start(command, port, Counts::Memcached)
    }

    /// nginx with DAV.
    pub fn http(folder: &Path) -> Outcome<Server> {
        let port = free_port()?;
        let log = folder.join("requests");
        fs::create_dir_all(folder.join("files"))?;
        let place = folder.display();
        let (module, methods) = match knows_propfind() {
            true => (format!("load_module {DAV_EXT};\n"), "dav_ext_methods PROPFIND OPTIONS;"),
            false => (String::new(), ""),
        };
        let text = format!(
            "{module}daemon off; master_process off; pid {place}/pid; error_log {place}/errors;\n\
             events {{ }}\n\
             http {{\n\
             log_format heard '$connection $request_method $status';\n\
             access_log {place}/requests heard;\n\
             client_body_temp_path {place}/bodies; proxy_temp_path {place}/proxy;\n\
             fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi;\n\
             scgi_temp_path {place}/scgi;\n\
             keepalive_requests 100000;\n\
             server {{ listen 127.0.0.1:{port}; root {place}/files; client_max_body_size 512m;\n\
             dav_methods PUT DELETE MKCOL; {methods} create_full_put_path on; }}\n\
             }}\n"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, text)?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(file).arg("-e").arg(folder.join("errors"));
        Server::start(command, port, Counts::Log(log))
    }

    /// s3s-fs, which checks signatures.
    pub fn s3(program: &Path, folder: &Path) -> Outcome<Server> {
        let (port, root) = (free_port()?, folder.join("s3"));
        fs::create_dir_all(root.join(S3_BUCKET))?;
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--access-key", S3_KEY, "--secret-key", S3_SECRET]);
        command.arg("--port").arg(port.to_string()).arg(root).env("RUST_LOG", "off");
        Server::start(command, port, Counts::Nobody)
    }

    fn start(mut command: Command, port: u16, counts: Counts) -> Outcome<Server> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let server = Server { port, child, counts };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > START {
                return Err(format!("{command:?} does not listen").into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// What it has heard so far, without this question.
    pub fn heard(&self) -> Outcome<Heard> {
        match &self.counts {
            Counts::Log(log) => heard_by_http(&fs::read_to_string(log)?),
            Counts::Nobody => Ok(Heard::default()),
            Counts::Redis => {
                let [connections, commands] = self.told(
                    b"INFO stats\r\n",
                    ["total_connections_received:", "total_commands_processed:"],
                )?;
                Ok(Heard { commands, connections })
            }
            Counts::Memcached => {
                let [connections, gets, sets] = self.told(
                    b"stats\r\n",
                    ["STAT total_connections ", "STAT cmd_get ", "STAT cmd_set "],
                )?;
                Ok(Heard { commands: gets + sets, connections })
            }
        }
    }

    /// Numbers of what a server says of itself, in the order in which it says them.
    fn told<const N: usize>(&self, question: &[u8], names: [&str; N]) -> Outcome<[u64; N]> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(START))?;
        stream.write_all(question)?;
        let mut lines = BufReader::new(stream).lines();
        let mut numbers = [0; N];
        for (number, name) in numbers.iter_mut().zip(names) {
            *number = loop {
                let line = lines.next().ok_or(format!("the server does not tell {name}"))??;
                if let Some(number) = line.strip_prefix(name) {
                    break number.trim().parse()?;
                }
            };
        }
        Ok(numbers)
    }

    /// What one call of [`Server::heard`] adds to what is heard.
    pub fn own(&self) -> Heard {
        match self.counts {
            Counts::Redis => Heard { commands: 1, connections: 1 },
            Counts::Memcached => Heard { commands: 0, connections: 1 },
            Counts::Log(_) | Counts::Nobody => Heard::default(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// From lines of connection, method and status.
fn heard_by_http(log: &str) -> Outcome<Heard> {
    let mut connections: Vec<&str> =
        log.lines().filter_map(|line| line.split(' ').next()).collect();
    let commands = connections.len() as u64;
    connections.sort_unstable();
    connections.dedup();
    Ok(Heard { commands, connections: connections.len() as u64 })
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_connections_are_counted_apart() {
        let heard = heard_by_http("1 GET 200\n1 GET 404\n7 PUT 201\n").unwrap();
        assert_eq!((heard.commands, heard.connections), (3, 2));
        let later = Heard { commands: 10, connections: 3 };
        let more = later.since(heard);
        assert_eq!((more.commands, more.connections), (7, 1));
    }
}
