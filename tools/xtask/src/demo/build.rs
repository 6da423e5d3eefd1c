//! One build of a project: all units, as many at once as there are processors, from a clean tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::project::Project;
use super::store::Store;
use crate::process::{self, Outcome};

/// Where the compilers write, seen from the sources. Always the same place, because the names of
/// objects stand in dependency files; a finished tree is moved away.
const BUILD_FOLDER: &str = "build";

/// A project and the compiler that builds it.
pub struct Job<'a> {
    /// What is built.
    pub project: &'a Project,
    /// Where its sources stand.
    pub sources: &'a Path,
    /// Its units, relative to the sources.
    pub units: &'a [PathBuf],
    /// The compiler's name.
    pub compiler: &'a str,
}

/// A finished build.
pub struct Build {
    /// The wall time of all compiles.
    pub elapsed: Duration,
    /// Where the tree of outputs stands.
    pub tree: PathBuf,
    /// What each call answered, in the order of the units.
    pub replies: Vec<Output>,
}

impl Build {
    /// The first line of the first failed call's messages.
    pub fn first_failure(&self) -> Option<String> {
        let failed = self.replies.iter().find(|reply| !reply.status.success())?;
        let messages = String::from_utf8_lossy(&failed.stderr);
        let line = messages.lines().find(|line| line.contains("error"));
        Some(line.or(messages.lines().next()).unwrap_or("it says nothing").to_owned())
    }
}

impl Job<'_> {
    /// Compiles every unit, `parallel` at once, and moves the outputs to `tree`; through larder if
    /// `cached`.
    pub fn build(
        &self,
        store: &Store,
        cached: bool,
        parallel: usize,
        tree: &Path,
    ) -> Outcome<Build> {
        let outputs = self.sources.join(BUILD_FOLDER);
        if outputs.exists() {
            fs::remove_dir_all(&outputs)?;
        }
        for unit in self.units {
            fs::create_dir_all(outputs.join(unit).parent().expect("a unit stands in a folder"))?;
        }
        let start = Instant::now();
        let call = |index: usize| self.call(store, cached, &self.units[index]);
        let replies = run_all(self.units.len(), parallel, call)?;
        let elapsed = start.elapsed();
        fs::create_dir_all(tree.parent().expect("a tree stands in a folder"))?;
        fs::rename(&outputs, tree)?;
        Ok(Build { elapsed, tree: tree.to_path_buf(), replies })
    }

    /// The compile of one unit. Both kinds get the same environment.
    fn call(&self, store: &Store, cached: bool, unit: &Path) -> Command {
        let mut command = if cached {
            let mut larder = store.larder();
            larder.arg(self.compiler);
            larder
        } else {
            let mut compiler = Command::new(self.compiler);
            store.set_environment(&mut compiler);
            compiler
        };
        let output = Path::new(BUILD_FOLDER).join(unit);
        command.current_dir(self.sources).args(self.project.options);
        command.arg("-MD").arg("-MF").arg(output.with_extension("d"));
        command.arg("-c").arg(unit).arg("-o").arg(output.with_extension("o"));
        command
    }
}

/// Runs calls 0 to `count`, `parallel` at once, and returns their outputs in order.
fn run_all(
    count: usize,
    parallel: usize,
    call: impl Fn(usize) -> Command + Sync,
) -> Outcome<Vec<Output>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(done);
            }
            let mut command = call(index);
            let output = command.output();
            let output = output
                .map_err(|error| format!("cannot run `{}`: {error}", process::describe(&command)));
            done.push((index, output?));
        }
    };
    let mut all = Vec::with_capacity(count);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..parallel).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let done: Result<_, String> = worker.join().expect("a worker does not panic");
            all.extend(done?);
        }
        Ok::<_, String>(())
    })?;
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, output)| output).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_come_back_in_the_order_of_the_calls() {
        let echo = |index: usize| {
            let mut command = Command::new("echo");
            command.arg(index.to_string());
            command
        };
        let outputs = run_all(9, 3, echo).unwrap();
        let texts: Vec<_> = outputs.iter().map(|o| String::from_utf8_lossy(&o.stdout)).collect();
        assert_eq!(texts.concat(), "0\n1\n2\n3\n4\n5\n6\n7\n8\n");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = run_all(1, 1, |_| Command::new("no-such-compiler")).err().unwrap();
        assert!(error.to_string().contains("no-such-compiler"), "{error}");
    }
}
