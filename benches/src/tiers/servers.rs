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
    /// The log of requests, of a server of HTTP.
    log: Option<PathBuf>,
}

impl Server {
    /// A server of Redis that keeps nothing on disk.
    pub fn redis(folder: &Path) -> Outcome<Server> {
        let port = free_port()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
        command.arg(port.to_string()).arg("--dir").arg(folder);
        Server::start(command, port, None)
    }

    /// nginx with DAV.
    pub fn http(folder: &Path) -> Outcome<Server> {
        let port = free_port()?;
        let log = folder.join("requests");
        fs::create_dir_all(folder.join("files"))?;
        let place = folder.display();
        let text = format!(
            "daemon off; master_process off; pid {place}/pid; error_log {place}/errors;\n\
             events {{ }}\n\
             http {{\n\
             log_format heard '$connection $request_method $status';\n\
             access_log {place}/requests heard;\n\
             client_body_temp_path {place}/bodies; proxy_temp_path {place}/proxy;\n\
             fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi;\n\
             scgi_temp_path {place}/scgi;\n\
             keepalive_requests 100000;\n\
             server {{ listen 127.0.0.1:{port}; root {place}/files; client_max_body_size 512m;\n\
             dav_methods PUT DELETE MKCOL; create_full_put_path on; }}\n\
             }}\n"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, text)?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(file).arg("-e").arg(folder.join("errors"));
        Server::start(command, port, Some(log))
    }

    fn start(mut command: Command, port: u16, log: Option<PathBuf>) -> Outcome<Server> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let server = Server { port, child, log };
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
        match &self.log {
            Some(log) => heard_by_http(&fs::read_to_string(log)?),
            None => self.heard_by_redis(),
        }
    }

    fn heard_by_redis(&self) -> Outcome<Heard> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(START))?;
        stream.write_all(b"INFO stats\r\n")?;
        let mut lines = BufReader::new(stream).lines();
        let mut number = |name: &str| -> Outcome<u64> {
            for line in lines.by_ref() {
                if let Some(number) = line?.strip_prefix(name) {
                    return Ok(number.trim().parse()?);
                }
            }
            Err(format!("redis does not tell {name}").into())
        };
        let connections = number("total_connections_received:")?;
        let commands = number("total_commands_processed:")?;
        // Each question is a connection and a command; they fall out of the difference but for one.
        Ok(Heard { commands, connections })
    }

    /// What one call of [`Server::heard`] adds to what is heard.
    pub fn own(&self) -> Heard {
        let count = u64::from(self.log.is_none());
        Heard { commands: count, connections: count }
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
