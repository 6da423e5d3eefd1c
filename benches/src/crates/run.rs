//! All builds of one workspace.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{Place, Who, size};
use super::report::{Report, Row};
use super::settings::Settings;
use crate::projects::build::{Cost, run as run_command};
use crate::projects::compare::{Tree, differences, stable, tree};
use crate::projects::run::{median, number};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Counters of larder's whole life that are shown: hits, misses.
const COUNTERS: [&str; 2] = ["direct_cache_hit", "cache_miss"];

/// Runs everything that is asked for in one workspace.
///
/// # Errors
/// If a build fails.
pub fn run(workspace: &Path, settings: &Settings) -> Outcome<Vec<Report>> {
    let workspace = workspace.canonicalize()?;
    let name = workspace.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let folder = settings.directory.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    // Build scripts that compile C call that through the wrapper if they know its name.
    let larder = settings.larder.canonicalize()?;
    let link = folder.join("sccache");
    symlink(&larder, &link)?;
    let place = Place {
        folder: folder.clone(),
        larder: link,
        other: settings.against.as_ref().map(|other| other.canonicalize()).transpose()?,
    };
    let checkout = copy(&workspace, &folder.join("checkout"))?;
    fetch(&checkout)?;
    place.server("--start-server")?;
    let stage = Stage { name, place, checkout, settings };
    let commands = settings.commands.iter().map(|words| stage.command(&workspace, words));
    let reports = commands.collect::<Outcome<Vec<_>>>();
    stage.place.server("--stop-server")?;
    fs::remove_dir_all(&folder)?;
    reports
}

/// A copy of a checkout; of one that git knows, what is committed.
fn copy(workspace: &Path, to: &Path) -> Outcome<PathBuf> {
    if workspace.join(".git").exists() {
        run_command(Command::new("git").args(["clone", "--quiet"]).arg(workspace).arg(to))?;
    } else {
        run_command(Command::new("cp").arg("-a").arg(workspace).arg(to))?;
    }
    Ok(to.to_path_buf())
}

/// Downloads what a checkout needs, so that no build does.
fn fetch(checkout: &Path) -> Outcome<()> {
    run_command(Command::new("cargo").args(["fetch", "--locked"]).current_dir(checkout))
}

struct Stage<'a> {
    name: String,
    place: Place,
    checkout: PathBuf,
    settings: &'a Settings,
}

impl Stage<'_> {
    fn command(&self, workspace: &Path, words: &str) -> Outcome<Report> {
        let mut report =
            Report { workspace: self.name.clone(), command: words.to_owned(), ..Report::default() };
        let afresh = |who: Who| self.build(who, words, &self.checkout, true);
        self.say(words, "cargo alone, twice");
        afresh(Who::Cargo)?;
        let first = self.made()?;
        let plain = afresh(Who::Cargo)?;
        let mut any = self.made()?;
        let stable = stable(&first, &any);
        any.extend(first);
        report.compared = stable.len();
        let mut costs = Vec::new();
        for who in self.place.wrappers() {
            self.say(words, &format!("{who:?}, the first time"));
            costs.push(afresh(who)?);
            self.compare(who, &stable, &any, &mut report)?;
        }
        report.rows.push(Row { name: "first", plain: Some(plain), wrappers: costs });
        let warm = self.warm(words, &stable, &any, &mut report)?;
        report.rows.push(warm);
        if let Some(branches) = &self.settings.branches {
            report.rows.push(self.branches(workspace, words, branches)?);
        }
        if self.settings.second {
            let second = copy(workspace, &self.place.folder.join("second"))?;
            let build = |who| self.build(who, words, &second, true);
            self.say(words, "a second checkout");
            let costs = self.place.wrappers().into_iter().map(build).collect::<Outcome<_>>()?;
            report.rows.push(Row { name: "second checkout", plain: None, wrappers: costs });
            fs::remove_dir_all(second)?;
        }
        let stores = self.place.wrappers().into_iter().map(|who| size(&self.place.store(who)));
        report.stores = stores.collect();
        Ok(report)
    }

    fn say(&self, words: &str, what: &str) {
        eprintln!("{} {words}: {what}", self.name);
    }

    /// One build, whose time is told at once.
    fn build(&self, who: Who, words: &str, checkout: &Path, afresh: bool) -> Outcome<Cost> {
        let cost = self.place.build(who, words, checkout, afresh)?;
        let text = format!("{who:?}: {:.2} s, CPU {:.2} s", cost.wall_secs, cost.cpu_secs);
        self.say(words, &text);
        Ok(cost)
    }

    /// Warm builds in turn.
    fn warm(&self, words: &str, stable: &Tree, any: &Tree, report: &mut Report) -> Outcome<Row> {
        let wrappers = self.place.wrappers();
        let mut costs = vec![Vec::new(); wrappers.len()];
        for round in 1..=self.settings.runs {
            self.say(words, &format!("warm, {round} of {}", self.settings.runs));
            for (who, costs) in wrappers.iter().zip(&mut costs) {
                let before = self.counts()?;
                costs.push(self.build(*who, words, &self.checkout, true)?);
                if *who == Who::Larder {
                    let after = self.counts()?;
                    report.counts = [0, 1].map(|at| after[at] - before[at]);
                }
                self.compare(*who, stable, any, report)?;
            }
        }
        let wrappers = costs.iter().map(|costs| median(costs)).collect();
        Ok(Row { name: "warm", plain: None, wrappers })
    }

    /// Builds there and back once untimed, and then timed, in one target directory.
    fn branches(&self, workspace: &Path, words: &str, branches: &[String; 2]) -> Outcome<Row> {
        let checkout = copy(workspace, &self.place.folder.join("branches"))?;
        let build = |who: Who, branch: &str, afresh| -> Outcome<Cost> {
            let mut git = Command::new("git");
            git.args(["checkout", "--quiet", branch]).current_dir(&checkout);
            run_command(&mut git)?;
            fetch(&checkout)?;
            self.build(who, words, &checkout, afresh)
        };
        let mut costs = Vec::new();
        for who in [Who::Cargo].into_iter().chain(self.place.wrappers()) {
            self.say(words, &format!("{who:?}, from {} to {} and back", branches[0], branches[1]));
            build(who, &branches[0], true)?;
            build(who, &branches[1], false)?;
            let back = [build(who, &branches[0], false)?, build(who, &branches[1], false)?];
            costs.push(Cost {
                wall_secs: back.iter().map(|cost| cost.wall_secs).sum(),
                cpu_secs: back.iter().map(|cost| cost.cpu_secs).sum(),
            });
        }
        fs::remove_dir_all(checkout)?;
        Ok(Row { name: "back and there again", plain: Some(costs.remove(0)), wrappers: costs })
    }

    /// What has been made, but for cargo's notes about the wrapper, and its lists of the files of a
    /// crate (`dep-lib-NAME`), which it writes in any order.
    fn made(&self) -> Outcome<Tree> {
        let mut made = tree(&self.place.target())?;
        made.remove(Path::new(".rustc_info.json"));
        made.retain(|path, _| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !(name.starts_with("dep-") && path.iter().any(|part| part == ".fingerprint"))
        });
        Ok(made)
    }

    /// Whether larder has made what cargo alone makes.
    fn compare(&self, who: Who, stable: &Tree, any: &Tree, report: &mut Report) -> Outcome<()> {
        if who == Who::Larder {
            let found = self.made()?;
            let different = differences(stable, any, &found);
            for path in different.iter().take(10) {
                eprintln!("{}: {} is another one", self.name, path.display());
            }
            report.different.extend(different);
        }
        Ok(())
    }

    fn counts(&self) -> Outcome<[u64; 2]> {
        let mut command = Command::new(&self.settings.larder);
        command.args(["stats", "--json"]).env("LARDER_DIR", self.place.larder_dir());
        let output = command.env("LARDER_CONFIG", "/dev/null").output()?;
        let text = String::from_utf8(output.stdout)?;
        Ok(COUNTERS.map(|name| number(&text, name).unwrap_or(0)))
    }
}
