//! The builds.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use super::Outcome;
use super::servers::{Heard, Server};
use super::settings::Settings;
use super::tools::{Kind, Setup, Tool};
use crate::process::{children_cpu_seconds, cpu_seconds_of};

/// One unit: the words for gcc.
type Unit = Vec<OsString>;

/// What a build took, in seconds.
#[derive(Clone, Copy)]
struct Took {
    /// The first unit, alone.
    first: f64,
    /// The others.
    others: f64,
}

/// What the builds of one program with one kind of tier took.
struct Row {
    setup: &'static str,
    tool: &'static str,
    remote: Vec<Took>,
    local: Vec<Took>,
    heard: Heard,
}

/// Measures everything, and returns the report; every unit of every measured build was a hit.
///
/// # Errors
/// If a program or server is missing or fails, or a unit was no hit.
pub fn run(settings: &Settings) -> Outcome<String> {
    fs::create_dir_all(&settings.directory)?;
    let folder = tempfile::Builder::new().prefix("tiers-").tempdir_in(&settings.directory)?;
    let units = units(settings, folder.path())?;
    let tools = tools(settings, folder.path());
    let (redis, http) = (Server::redis(folder.path())?, Server::http(folder.path())?);
    let memcached = Server::memcached()?;
    let mut rows = Vec::new();
    let s3 = settings.s3.as_deref().map(|program| Server::s3(program, folder.path()));
    let s3 = s3.transpose()?;
    let s3 = s3.as_ref().map(|server| (Setup::S3(server.port), server));
    let setups = [
        (Setup::Redis(redis.port), &redis),
        (Setup::Http(http.port), &http),
        (Setup::Dead(redis.port), &redis),
        (Setup::Memcached(memcached.port), &memcached),
    ];
    for (setup, server) in setups.into_iter().chain(s3) {
        rows.extend(compare(settings, &tools, setup, server, &units)?);
    }
    let mut text = format!(
        "{} units of C, {} at a time; medians of {} builds\n\n\
         | tiers | program | local store empty, s | larder / this | first unit, ms | \
         others: ms each more than a local hit | commands a unit | connections |\n\
         |---|---|---|---|---|---|---|---|\n",
        units.len(),
        settings.jobs,
        settings.runs
    );
    for row in &rows {
        let first = rows.iter().find(|first| first.setup == row.setup).unwrap_or(row);
        text.push_str(&line(row, first, units.len(), settings.jobs));
    }
    text.push_str(&write_behind(settings, &tools[0], Setup::Redis(redis.port), &units)?);
    Ok(text)
}

fn line(row: &Row, first: &Row, units: usize, jobs: usize) -> String {
    let of = |builds: &[Took], part: fn(&Took) -> f64| {
        median(&builds.iter().map(part).collect::<Vec<_>>())
    };
    let whole = |row: &Row| of(&row.remote, |took| took.first + took.others);
    let (remote, local) = (of(&row.remote, |t| t.others), of(&row.local, |t| t.others));
    // The clock ran for several units at a time.
    let more_ms = (remote - local) * 1e3 * jobs as f64 / (units - 1) as f64;
    format!(
        "| {} | {} | {:.3} | {:.2} | {:.1} | {more_ms:.2} | {} | {} |\n",
        row.setup,
        row.tool,
        whole(row),
        whole(first) / whole(row),
        of(&row.remote, |took| took.first) * 1e3,
        shown(row.heard.commands as f64 / units as f64, 2),
        shown(row.heard.connections as f64, 0)
    )
}

/// A count, or nothing where nobody counted.
fn shown(count: f64, digits: usize) -> String {
    if count == 0.0 { "-".to_owned() } else { format!("{count:.digits$}") }
}

fn compare(
    settings: &Settings,
    tools: &[Tool],
    setup: Setup,
    server: &Server,
    units: &[Unit],
) -> Outcome<Vec<Row>> {
    let tools: Vec<&Tool> = tools.iter().filter(|tool| tool.knows(setup)).collect();
    let mut rows = Vec::new();
    for tool in &tools {
        eprintln!("tiers: {} fills {}", tool.name(), setup.name());
        tool.forget(setup)?;
        build(settings, tool, setup, units)?;
        tool.flush(setup)?;
        rows.push(Row {
            setup: setup.name(),
            tool: tool.name(),
            remote: Vec::new(),
            local: Vec::new(),
            heard: Heard::default(),
        });
    }
    for round in 0..settings.runs {
        eprintln!("tiers: {}, round {} of {}", setup.name(), round + 1, settings.runs);
        for (tool, row) in tools.iter().zip(&mut rows) {
            tool.forget(setup)?;
            let before = server.heard()?;
            row.remote.push(build(settings, tool, setup, units)?);
            let heard = server.heard()?.since(before);
            row.heard = heard.since(server.own());
            row.local.push(build(settings, tool, setup, units)?);
            let (hits, expected) = (tool.hits(setup)?, 2 * units.len() as u64);
            if hits != expected {
                let what = format!("{} hits of {expected}", tool.name());
                return Err(format!("{}: {hits} {what}", setup.name()).into());
            }
        }
    }
    tools.iter().try_for_each(|tool| tool.stop(setup))?;
    Ok(rows)
}

/// Processor time of cold builds with and without a tier, the agent's included.
fn write_behind(settings: &Settings, tool: &Tool, tiers: Setup, units: &[Unit]) -> Outcome<String> {
    let mut seconds = [Vec::new(), Vec::new()];
    for round in 0..settings.runs {
        eprintln!("tiers: cold builds, round {} of {}", round + 1, settings.runs);
        for (setup, seconds) in [Setup::Local, tiers].into_iter().zip(&mut seconds) {
            tool.forget(setup)?;
            let before = children_cpu_seconds()?;
            // Not what is in the tier already: it would be a hit.
            let fresh: Vec<Unit> = units
                .iter()
                .map(|unit| {
                    let mark = format!("-DROUND={round}");
                    unit.iter().cloned().chain([mark.into()]).collect()
                })
                .collect();
            build(settings, tool, setup, &fresh)?;
            tool.flush(setup)?;
            let agent = cpu_seconds_of("larder-agent")?;
            seconds.push(children_cpu_seconds()? - before + agent);
            tool.stop(setup)?;
        }
    }
    let [without, with] = seconds.map(|seconds| median(&seconds));
    Ok(format!(
        "\nCold builds: {without:.2} s of processor time without tiers, {with:.2} s with one \
         that is written behind, the agent's included: {:.4}\n",
        with / without
    ))
}

/// One build.
fn build(settings: &Settings, tool: &Tool, setup: Setup, units: &[Unit]) -> Outcome<Took> {
    let took = |units| build_all(tool, setup, units, settings.jobs);
    let (first, others) = units.split_at(1);
    Ok(Took { first: took(first)?, others: took(others)? })
}

/// The seconds of some units, `jobs` at a time.
fn build_all(tool: &Tool, setup: Setup, units: &[Unit], jobs: usize) -> Outcome<f64> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let error = Mutex::new(String::new());
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut command = tool.command(setup);
                    command.current_dir(tool.folder()).arg("gcc").args(unit);
                    if !command.status().is_ok_and(|status| status.success()) {
                        failed.store(true, Ordering::Relaxed);
                        *error.lock().unwrap_or_else(|held| held.into_inner()) =
                            format!("{command:?} failed");
                    }
                }
            });
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    match failed.into_inner() {
        true => Err(error.into_inner().unwrap_or_default().into()),
        false => Ok(seconds),
    }
}

fn tools(settings: &Settings, folder: &Path) -> Vec<Tool> {
    let mut tools = vec![Tool::new(
        Kind::Larder,
        fs::canonicalize(&settings.larder).unwrap_or_else(|_| settings.larder.clone()),
        folder.join("larder"),
    )];
    let runs = |program: &Path| {
        Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    let others =
        [(Kind::Ccache, Some(&settings.ccache)), (Kind::Sccache, settings.sccache.as_ref())];
    for (kind, program) in others {
        match program {
            Some(program) if runs(program) => {
                let name = format!("{kind:?}").to_lowercase();
                tools.push(Tool::new(kind, program.clone(), folder.join(name)));
            }
            Some(program) => eprintln!("tiers: {} is left out: it does not run", program.display()),
            None => {}
        }
    }
    tools
}

/// What is compiled.
fn units(settings: &Settings, folder: &Path) -> Outcome<Vec<Unit>> {
    let sources = match &settings.sources {
        Some(sources) => sources.clone(),
        None => {
            fetched_zstd().ok_or("no sources of zstd were fetched; name others: --sources DIR")?
        }
    };
    let mut files = Vec::new();
    let mut directories = vec![sources.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let path = entry.path();
            match entry.file_type()?.is_dir() {
                true => directories.push(path),
                false if path.extension().is_some_and(|end| end == "c") => files.push(path),
                false => {}
            }
        }
    }
    files.sort();
    let objects = folder.join("objects");
    fs::create_dir_all(&objects)?;
    let mut units = Vec::new();
    for copy in 0..settings.copies {
        for (number, file) in files.iter().enumerate() {
            let object = objects.join(format!("{number}-{copy}.o"));
            let mut unit: Unit = ["-O2", "-g", "-c"].map(OsString::from).to_vec();
            unit.extend([format!("-DCOPY={copy}").into(), "-I".into(), sources.clone().into()]);
            unit.extend([file.into(), "-o".into(), object.into()]);
            units.push(unit);
        }
    }
    Ok(units)
}

/// The sources of zstd in Cargo's registry.
fn fetched_zstd() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    let registries = fs::read_dir(home.join("registry/src")).ok()?.flatten();
    let packages = registries.filter_map(|registry| fs::read_dir(registry.path()).ok()).flatten();
    let mut found: Vec<PathBuf> = packages
        .flatten()
        .filter(|package| package.file_name().to_string_lossy().starts_with("zstd-sys-"))
        .map(|package| package.path().join("zstd/lib"))
        .filter(|sources| sources.is_dir())
        .collect();
    found.sort();
    found.pop()
}

fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
