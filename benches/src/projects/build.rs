//! One build of one project, by compilers that stand behind links.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::catalogue::Project;
use crate::powercut::volume::find;
use crate::process::children_cpu_seconds;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Names of compilers that a build may call.
const COMPILERS: [&str; 6] = ["cc", "c++", "gcc", "g++", "clang", "clang++"];

/// Seconds since 1970 that builds show in place of the time.
const EPOCH: &str = "1700000000";

/// Where everything of one project stands.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its sources, which stay as they are.
    pub sources: PathBuf,
    /// The tree in which it is built.
    pub tree: PathBuf,
    /// The folder of links named like compilers.
    pub links: PathBuf,
}

/// Who answers to the compilers' names.
#[derive(Clone, Debug)]
pub enum Behind {
    /// The compilers.
    Themselves,
    /// A cache: its program, its store, and variables.
    Cache(PathBuf, PathBuf, Vec<(String, String)>),
}

/// What a build took.
#[derive(Clone, Copy, Default, Debug)]
pub struct Cost {
    /// Seconds until it was done.
    pub wall_secs: f64,
    /// Seconds of processors, of all processes.
    pub cpu_secs: f64,
}

/// Makes the tree afresh, does `change` to it, and configures it.
///
/// # Errors
/// If a command fails.
pub fn prepare(
    project: &Project,
    place: &Place,
    behind: &Behind,
    change: impl FnOnce(&Path) -> Outcome<()>,
) -> Outcome<()> {
    if place.tree.exists() {
        fs::remove_dir_all(&place.tree)?;
    }
    fs::create_dir_all(place.tree.parent().ok_or("a tree has a folder")?)?;
    let mut copy = Command::new("cp");
    run(copy.arg("-a").arg(&place.sources).arg(&place.tree))?;
    if let Some((name, text)) = project.extra {
        fs::write(place.tree.join(name), text)?;
    }
    change(&place.tree)?;
    set_links(place, behind)?;
    for command in project.configure {
        run(&mut prepared(project, place, behind, command))?;
    }
    Ok(())
}

/// Runs the build command in a tree that is prepared.
///
/// # Errors
/// If it fails.
pub fn build(project: &Project, place: &Place, behind: &Behind) -> Outcome<Cost> {
    let (begun, cpu_before) = (Instant::now(), children_cpu_seconds()?);
    run(&mut prepared(project, place, behind, project.build))?;
    let wall_secs = begun.elapsed().as_secs_f64();
    Ok(Cost { wall_secs, cpu_secs: children_cpu_seconds()? - cpu_before })
}

fn set_links(place: &Place, behind: &Behind) -> Outcome<()> {
    if place.links.exists() {
        fs::remove_dir_all(&place.links)?;
    }
    fs::create_dir_all(&place.links)?;
    for name in COMPILERS {
        let Some(compiler) = find(name) else { continue };
        let link = place.links.join(name);
        match behind {
            // clang names the headers of the system by the path that it is called by, which
            // through a cache is the compiler's own.
            Behind::Themselves if name.starts_with("clang") => {
                fs::write(&link, format!("#!/bin/sh\nexec {} \"$@\"\n", compiler.display()))?;
                fs::set_permissions(&link, fs::Permissions::from_mode(0o755))?;
            }
            Behind::Themselves => symlink(compiler, link)?,
            Behind::Cache(program, ..) => symlink(program, link)?,
        }
    }
    Ok(())
}

fn prepared(project: &Project, place: &Place, behind: &Behind, words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(&place.tree).stdin(Stdio::null());
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", place.links.display()));
    command.env("PWD", &place.tree);
    command.env("SOURCE_DATE_EPOCH", EPOCH).env("LC_ALL", "C");
    let tree = place.tree.display().to_string();
    let variables = project.environment.iter();
    command.envs(variables.map(|(name, value)| (name, value.replace("{tree}", &tree))));
    if let Behind::Cache(_, store, variables) = behind {
        command.env("LARDER_DIR", store).env("CCACHE_DIR", store).env("LARDER_CONFIG", "/dev/null");
        command.envs(variables.iter().map(|(name, value)| (name, value)));
    }
    command
}

/// Runs a program; a failure is an error with the end of what it said.
pub fn run(command: &mut Command) -> Outcome<()> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let end = text.lines().rev().take(20).collect::<Vec<_>>();
    let end = end.into_iter().rev().collect::<Vec<_>>().join("\n");
    Err(format!("{command:?} ended with {}\n{end}", output.status).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_told_with_its_last_words() {
        let failed = run(Command::new("sh").args(["-c", "echo why; false"])).unwrap_err();
        assert!(failed.to_string().ends_with("why"));
    }
}
