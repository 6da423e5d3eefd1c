//! `cargo xtask demo`: real projects through larder, cold and warm, against builds without it.
//!
//! 1. larder is built as a release has it, and gets a fresh store in target/demo.
//! 2. Each project is built by each compiler that is here three times, from a clean tree and into
//!    the same place: without larder, cold, warm.
//! 3. Every file of the second and third tree must equal the first tree's, byte for byte and in its
//!    mode, and so must the compiler's messages and status; every unit of the warm build must be a
//!    hit. Otherwise the differences are named and the command fails.
//! 4. A project in Rust is built by cargo ([`crates`]); its units are its crates.
//! 5. With `--tiers` machines share what they make instead ([`tiers`]).

mod build;
mod compare;
mod crates;
mod http;
mod project;
mod report;
mod store;
mod tiers;

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::{self, Outcome};
use crate::{dist, workspace};
use build::{Build, Job};
use project::{Language, Project};
use report::{Report, Row};
use store::Store;

/// A compiler of C and the one of C++ that comes with it.
struct Toolchain {
    c: &'static str,
    cpp: &'static str,
}

const TOOLCHAINS: &[Toolchain] =
    &[Toolchain { c: "gcc", cpp: "g++" }, Toolchain { c: "clang", cpp: "clang++" }];

/// For machines that have a C compiler by its general name only.
const FALLBACK: &[Toolchain] = &[Toolchain { c: "cc", cpp: "c++" }];

/// Builds, compares, prints.
pub fn run(arguments: &[String]) -> Outcome<bool> {
    let (mut keep, mut json, mut tiers) = (false, false, false);
    for argument in arguments {
        match argument.as_str() {
            "--keep" => keep = true,
            "--json" => json = true,
            "--tiers" => tiers = true,
            other => return Err(format!("`demo` does not know `{other}`").into()),
        }
    }
    let folder = workspace::target_dir()?.join("demo");
    clean(&folder)?;
    fs::create_dir_all(&folder)?;
    if tiers {
        let is_good = tiers::run(&folder);
        if !keep {
            clean(&folder)?;
        }
        return is_good;
    }
    let wrapper = dist::wrapper()?;
    let mut demo = Demo::new(wrapper, &folder)?;
    for project in project::PROJECTS {
        demo.project(project)?;
    }
    demo.crates()?;
    let report = demo.report()?;
    if json {
        println!("{}", report.json());
    } else {
        print!("{}", report.text());
    }
    if !keep {
        clean(&folder)?;
    }
    Ok(report.is_good())
}

/// Removes what a run leaves; the projects' sources stay for the next one.
fn clean(folder: &Path) -> Outcome<()> {
    for name in ["store", "built", "config", "crates-target", "machines"] {
        let path = folder.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("cannot remove {}: {error}", path.display()).into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// One run.
struct Demo {
    folder: PathBuf,
    jobs: usize,
    store: Store,
    rows: Vec<Row>,
    skipped: Vec<String>,
}

impl Demo {
    fn new(wrapper: PathBuf, folder: &Path) -> Outcome<Demo> {
        // No configuration of this user takes part: an empty configuration directory, and a store
        // of our own.
        let config = folder.join("config");
        fs::create_dir_all(&config)?;
        let store = Store::new(wrapper, folder.join("store"), config);
        let jobs = std::thread::available_parallelism().map_or(1, |jobs| jobs.get());
        let (rows, skipped) = (Vec::new(), Vec::new());
        Ok(Demo { folder: folder.to_path_buf(), jobs, store, rows, skipped })
    }

    /// Builds one project with each toolchain that is here.
    fn project(&mut self, project: &'static Project) -> Outcome<()> {
        let sources = project.unpack(&self.folder)?;
        let name = |toolchain: &Toolchain| match project.language {
            Language::C => toolchain.c,
            Language::Cpp => toolchain.cpp,
        };
        let is_here = |toolchain: &&Toolchain| process::find(name(toolchain)).is_some();
        let mut compilers: Vec<_> = TOOLCHAINS.iter().filter(is_here).map(name).collect();
        if compilers.is_empty() {
            compilers = FALLBACK.iter().filter(is_here).map(name).collect();
        } else {
            for missing in TOOLCHAINS.iter().filter(|toolchain| !is_here(toolchain)) {
                self.skip(project, name(missing), "there is no such compiler here");
            }
        }
        if compilers.is_empty() {
            self.skip(project, project.language.name(), "there is no compiler for it here");
        }
        for compiler in compilers {
            self.compare(project, &sources, compiler)?;
        }
        Ok(())
    }

    /// Builds the project in Rust; whoever runs this has cargo.
    fn crates(&mut self) -> Outcome<()> {
        self.rows.push(crates::row(&self.store, &self.folder)?);
        Ok(())
    }

    fn skip(&mut self, project: &Project, compiler: &str, why: &str) {
        self.skipped.push(format!("{} with {compiler}: {why}", project.name));
    }

    /// Three builds and their comparison.
    fn compare(&mut self, project: &Project, sources: &Path, compiler: &str) -> Outcome<()> {
        let units = project.units(sources)?;
        eprintln!("{} with {compiler}: {} units", project.name, units.len());
        let built = self.folder.join("built").join(format!("{}-{compiler}", project.name));
        let job = Job { project, sources, units: &units, compiler };
        let build = |phase: &str, cached: bool| -> Outcome<Build> {
            let build = job.build(&self.store, cached, self.jobs, &built.join(phase))?;
            eprintln!("  {phase:<5} {:7.2} s", build.elapsed.as_secs_f64());
            Ok(build)
        };
        let plain = build("plain", false)?;
        if let Some(complaint) = plain.first_failure() {
            self.skip(project, compiler, &format!("it cannot build this project: {complaint}"));
            return Ok(());
        }
        let before = self.store.counters()?;
        let cold = build("cold", true)?;
        let between = self.store.counters()?;
        let warm = build("warm", true)?;
        let after = self.store.counters()?;

        let mut differences = Vec::new();
        let files = compare::trees(&plain.tree, &cold.tree, "cold", &mut differences)?
            + compare::trees(&plain.tree, &warm.tree, "warm", &mut differences)?;
        for (phase, build) in [("cold", &cold), ("warm", &warm)] {
            compare::messages(&units, &plain.replies, &build.replies, phase, &mut differences);
        }
        self.rows.push(Row {
            project: project.name,
            language: project.language.name(),
            compiler: compiler.to_owned(),
            units: units.len() as u64,
            plain: plain.elapsed,
            cold: cold.elapsed,
            warm: warm.elapsed,
            cold_counts: between.since(&before),
            warm_counts: after.since(&between),
            files,
            differences,
        });
        Ok(())
    }

    fn report(self) -> Outcome<Report> {
        let store_bytes = self.store.bytes_on_disk()?;
        let store = self.store.folder().to_path_buf();
        Ok(Report { rows: self.rows, skipped: self.skipped, jobs: self.jobs, store, store_bytes })
    }
}
