//! A server of S3 that checks signatures and keeps objects as files: s3s-fs.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;

use larder_tests::{TempDir, find_or_skip, temp_dir};

use super::{Process, STARTS_MAX, free_port, start_until, write_private};

/// Whom the server knows.
pub const ID: &str = "AKIALARDERTESTS00001";
/// And how it knows.
pub const SECRET: &str = "hunter2";

/// The server, with one empty bucket called `bucket`.
pub struct S3 {
    pub port: u16,
    process: Option<Process>,
    folder: TempDir,
}

impl S3 {
    /// `None` without s3s-fs.
    pub fn start() -> Option<S3> {
        S3::start_with(&["--access-key", ID, "--secret-key", SECRET])
    }

    /// One that knows nobody and lets everybody in.
    pub fn without_keys() -> Option<S3> {
        S3::start_with(&[])
    }

    fn start_with(options: &[&str]) -> Option<S3> {
        let program = find_or_skip("s3s-fs")?;
        let folder = temp_dir();
        fs::create_dir_all(folder.path().join("root/bucket")).unwrap();
        let mut s3 = S3 { port: 0, process: None, folder };
        for _ in 0..STARTS_MAX {
            s3.port = free_port();
            let command = || {
                let mut command = Command::new(&program);
                command.args(["--host", "127.0.0.1", "--port", &s3.port.to_string()]);
                command.args(["--domain", &format!("localhost:{}", s3.port)]).args(options);
                command.arg(s3.folder.path().join("root")).env("RUST_LOG", "off");
                command
            };
            s3.process = start_until(command, || says_something(s3.port));
            if s3.process.is_some() {
                return Some(s3);
            }
        }
        panic!("s3s-fs does not start");
    }

    /// Keys in a file of profiles: the server's as `default`, and what is added.
    pub fn credentials(&self, name: &str, more: &str) -> String {
        let path = self.folder.path().join(name);
        write_private(&path, &format!("{}\n{more}", profile("default", ID, SECRET)));
        path.display().to_string()
    }

    /// The URL of a tier that is let in.
    pub fn url(&self, path: &str) -> String {
        let credentials = self.credentials("credentials", "");
        format!("{}|credentials-file={credentials}", self.place(path))
    }

    /// The same, without a word of who we are.
    pub fn place(&self, path: &str) -> String {
        let endpoint = format!("endpoint=http://127.0.0.1:{}", self.port);
        let patience = "|timeout=60000|connect-timeout=20000";
        format!("s3://bucket{path}?region=eu-west-1&{endpoint}{patience}")
    }

    /// An object.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("root/bucket").join(name)
    }
}

/// A section of a file of credentials.
pub fn profile(name: &str, id: &str, secret: &str) -> String {
    format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
}

fn says_something(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        Ok(said)
    };
    ask().is_ok_and(|said| said.contains("<?xml"))
}
