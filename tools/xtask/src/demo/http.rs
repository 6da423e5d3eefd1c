//! A small server of HTTP for the demo, in this process: GET, HEAD and PUT, all of it in memory.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::process::Outcome;

/// The server.
pub struct Http {
    port: u16,
    /// Requests so far.
    pub requests: Arc<AtomicU64>,
    /// Connections so far.
    pub connections: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

type Files = Arc<Mutex<HashMap<String, Arc<Vec<u8>>>>>;

impl Http {
    /// Listens on loopback.
    pub fn start() -> Outcome<Http> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let http = Http {
            port,
            requests: Arc::default(),
            connections: Arc::default(),
            is_over: Arc::default(),
        };
        let (requests, connections) = (http.requests.clone(), http.connections.clone());
        let is_over = http.is_over.clone();
        thread::spawn(move || {
            let files = Files::default();
            for stream in listener.incoming().flatten() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                connections.fetch_add(1, Ordering::Relaxed);
                let (files, requests, is_over) = (files.clone(), requests.clone(), is_over.clone());
                thread::spawn(move || {
                    // A client that goes is no error.
                    let _ = serve(stream, &files, &requests, &is_over);
                });
            }
        });
        Ok(http)
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it: nobody is answered any more.
    pub fn stop(self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Whoever waits for a connection gets one.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(
    stream: TcpStream,
    files: &Files,
    requests: &AtomicU64,
    is_over: &AtomicBool,
) -> std::io::Result<()> {
    // A head and its body are two writes.
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some((method, path, length, expects)) = head(&mut reader)? {
        if is_over.load(Ordering::Relaxed) {
            return Ok(());
        }
        requests.fetch_add(1, Ordering::Relaxed);
        let lock = || files.lock().unwrap_or_else(PoisonError::into_inner);
        if method == "PUT" {
            if expects {
                writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let mut body = Vec::new();
            reader.by_ref().take(length).read_to_end(&mut body)?;
            lock().insert(path, Arc::new(body));
            writer.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        let file = lock().get(&path).cloned();
        let Some(file) = file else {
            writer.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", file.len());
        writer.write_all(answer.as_bytes())?;
        if method == "GET" {
            writer.write_all(&file)?;
        }
    }
    Ok(())
}

/// Method, path, length of the body, and whether the client waits before it sends that; `None` at
/// the end of the connection.
fn head(reader: &mut impl BufRead) -> std::io::Result<Option<(String, String, u64, bool)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut length, mut expects) = (0, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            return Ok(Some((method, path, length, expects)));
        }
        if let Some(number) = line.strip_prefix("content-length:") {
            length = number.trim().parse().unwrap_or(0);
        }
        expects |= line.starts_with("expect:");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_got_again() {
        let http = Http::start().unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", http.port)).unwrap();
        let put = "PUT /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        let ask = "GET /a HTTP/1.1\r\n\r\nHEAD /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
        stream.write_all([put, ask].concat().as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\r\n\r\nabcHTTP/1.1 200"), "{answer}");
        assert!(answer.starts_with("HTTP/1.1 201") && answer.contains(" 404 "), "{answer}");
        assert_eq!(http.requests.load(Ordering::Relaxed), 4);
        http.stop();
    }
}
