//! Running rustc while cargo listens.
//!
//! What rustc says is passed on line by line as it comes: cargo starts the next crate when it hears
//! that metadata stands. It is collected, too.
//! What is to be remembered of metadata is remembered before.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use larder_engine::env::end_child_too;

use super::super::Session;
use crate::exec::Ran;

/// Runs the compiler. `on_line` gets each line of its stderr before it goes to `to`.
///
/// # Errors
/// If it does not start, or what it says cannot be read.
pub(super) fn run(
    session: &Session<'_>,
    arguments: &[OsString],
    to: &mut impl Write,
    on_line: impl Fn(&[u8]),
) -> io::Result<Ran> {
    let mut command = Command::new(session.call.compiler);
    command.args(arguments).env("LARDER_DISABLE", "1");
    command.stdin(Stdio::inherit()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    end_child_too(Some(child.id()));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = std::thread::scope(|scope| {
        let stdout = scope.spawn(|| pass_on(stdout, &mut io::stdout(), |_| ()));
        let stderr = pass_on(stderr, to, on_line);
        (stdout.join().unwrap_or_else(|_| Err(io::Error::other("a panic"))), stderr)
    });
    let status = child.wait();
    end_child_too(None);
    Ok(Ran { status: status?, stdout: stdout?, stderr: stderr? })
}

/// Passes on lines until the end, and returns them. A reader that is gone is no reason to stop.
fn pass_on(
    from: Option<impl Read>,
    to: &mut impl Write,
    on_line: impl Fn(&[u8]),
) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let Some(from) = from else { return Ok(all) };
    let mut from = BufReader::new(from);
    loop {
        let start = all.len();
        if from.read_until(b'\n', &mut all)? == 0 {
            return Ok(all);
        }
        on_line(&all[start..]);
        let _ = to.write_all(&all[start..]).and_then(|()| to.flush());
    }
}
