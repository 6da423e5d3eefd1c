//! A server of HTTP that says what a test wants it to, and remembers what it has heard.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

/// A request.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Method and target.
    pub line: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Heard {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// What the target has behind `name=`, as it is written.
    pub fn query(&self, name: &str) -> Option<&str> {
        let query = self.line.split(['?', ' ']).nth(2)?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// Such a server.
pub struct Script {
    pub port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Script {
    /// `answer` gets the requests so far, the last one last. What it returns is sent as it is;
    /// after nothing, and after `Connection: close`, the connection is closed.
    pub fn start(answer: impl Fn(&[Heard]) -> Vec<u8> + Send + Sync + 'static) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (known, answer) = (heard.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (known, answer) = (known.clone(), answer.clone());
                thread::spawn(move || serve(stream, &known, &*answer));
            }
        });
        Script { port, heard }
    }

    /// The requests so far, which are forgotten.
    pub fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut *locked(&self.heard))
    }
}

fn locked(heard: &Mutex<Vec<Heard>>) -> MutexGuard<'_, Vec<Heard>> {
    heard.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn serve(stream: TcpStream, known: &Mutex<Vec<Heard>>, answer: &dyn Fn(&[Heard]) -> Vec<u8>) {
    let mut reader = BufReader::new(stream);
    while let Some(heard) = hear(&mut reader) {
        let said = {
            let mut known = locked(known);
            known.push(heard);
            answer(&known)
        };
        let is_last = String::from_utf8_lossy(&said).contains("Connection: close");
        if said.is_empty() || reader.get_mut().write_all(&said).is_err() || is_last {
            return;
        }
    }
}

fn hear(reader: &mut BufReader<TcpStream>) -> Option<Heard> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let pair = |line: &String| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: Vec<_> = lines[1..].iter().filter_map(pair).collect();
    let line = lines[0].trim_end_matches(" HTTP/1.1").to_owned();
    let mut heard = Heard { line, headers, body: Vec::new() };
    if heard.header("expect").is_some() {
        reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let bytes = heard.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    heard.body = vec![0; bytes];
    reader.read_exact(&mut heard.body).ok()?;
    Some(heard)
}

/// A reply with a body; `headers` each end their line.
pub fn reply(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}
