//! Known projects, built with and without caches; see `larder_benches::projects`.
//!
//! Its exit status is 0 if and only if every build through larder made what a build without it
//! makes, and warm builds had hits; 3 if something is missing for one of them.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use larder_benches::powercut::volume::find;
use larder_benches::projects::build;
use larder_benches::projects::catalogue::{PROJECTS, Project};
use larder_benches::projects::run::run;
use larder_benches::projects::settings::{Settings, USAGE};

/// Something is missing.
const MISSING: u8 = 3;

/// Where Debian has its source packages.
const ARCHIVE: &str = "deb-src http://deb.debian.org/debian bookworm main\n";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    work(&words).unwrap_or_else(|error| {
        eprintln!("projects: {error}");
        ExitCode::from(2)
    })
}

fn work(words: &[String]) -> Result<ExitCode, Box<dyn Error>> {
    let settings = Settings::parse(words.iter().cloned())?;
    fs::create_dir_all(&settings.directory)?;
    let folder = settings.sources.clone().unwrap_or_else(|| settings.directory.join("sources"));
    fs::create_dir_all(&folder)?;
    let (mut is_good, mut is_whole) = (true, true);
    for project in PROJECTS {
        if !settings.only.is_empty() && !settings.only.iter().any(|name| name == project.name) {
            continue;
        }
        let Some(sources) = available(project, &folder) else {
            is_whole = false;
            continue;
        };
        let report = run(project, &sources, &settings)?;
        print!("{}", if settings.json { report.json() } else { report.text() });
        is_good &= report.is_good();
    }
    Ok(match (is_good, is_whole) {
        (false, _) => ExitCode::FAILURE,
        (true, false) => ExitCode::from(MISSING),
        (true, true) => ExitCode::SUCCESS,
    })
}

/// Where the sources of a project stand; `None`, and a word about it, if it cannot be built here.
fn available(project: &Project, folder: &Path) -> Option<PathBuf> {
    if let Some(missing) = project.needs.iter().find(|program| find(program).is_none()) {
        eprintln!("{}: left out, {missing} is missing", project.name);
        return None;
    }
    if unpacked(project, folder).is_none()
        && let Err(error) = download(project, folder)
    {
        eprintln!("{}: left out, its sources are not to be had: {error}", project.name);
    }
    unpacked(project, folder)
}

fn unpacked(project: &Project, folder: &Path) -> Option<PathBuf> {
    let start = format!("{}-", project.name);
    let entries = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        path.is_dir() && name.starts_with(&start)
    };
    let mut found = entries.filter(is_it);
    found.next().and_then(|path| path.canonicalize().ok())
}

/// Debian's name of the source package.
fn package(project: &Project) -> &str {
    if project.name == "xz" { "xz-utils" } else { project.name }
}

fn download(project: &Project, folder: &Path) -> Result<(), Box<dyn Error>> {
    eprintln!("{}: downloading", project.name);
    let folder = folder.canonicalize()?;
    let lists = folder.join("lists");
    fs::create_dir_all(lists.join("partial"))?;
    fs::write(folder.join("sources.list"), ARCHIVE)?;
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.current_dir(&folder).arg("-o");
        command.arg(format!("Dir::Etc::sourcelist={}/sources.list", folder.display()));
        command.args(["-o", "Dir::Etc::sourceparts=-", "-o"]);
        command.arg(format!("Dir::State::lists={}", lists.display())).args(words);
        build::run(&mut command)
    };
    apt(&["update"])?;
    apt(&["source", "--download-only", "--tar-only", package(project)])?;
    let start = format!("{}_", package(project));
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(&start) && name.contains(".orig.tar.") && !name.ends_with(".asc") {
            build::run(Command::new("tar").arg("-xf").arg(&path).current_dir(&folder))?;
        }
    }
    Ok(())
}
