//! Starting programs: found by name on the path, echoed, with an error that names the command.

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The result of everything here that can fail.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// Where the program stands on `PATH`, if it does.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The command as somebody would type it.
pub fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs the command with its output shown; the answer is whether it succeeded.
pub fn succeeds(command: &mut Command) -> Outcome<bool> {
    eprintln!("$ {}", describe(command));
    match command.status() {
        Ok(status) => Ok(status.success()),
        Err(error) => Err(format!("cannot run `{}`: {error}", describe(command)).into()),
    }
}

/// Runs the command with its output shown; a failure is an error.
pub fn run(command: &mut Command) -> Outcome<()> {
    if succeeds(command)? { Ok(()) } else { Err(format!("`{}` failed", describe(command)).into()) }
}

/// What the command writes to its standard output; a failure is an error.
pub fn read(command: &mut Command) -> Outcome<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run `{}`: {error}", describe(command)))?;
    if !output.status.success() {
        return Err(format!("`{}` failed", describe(command)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
