//! What it takes to save a cache and to restore it, as a CI does before and after each run: a
//! directory of ccache as an archive of tar, and the same entries as a store or as an export.
//!
//! 1. By the clock, with everything in memory. What is saved goes through a pipe, as to a program
//!    that sends it away, and nowhere; what is made or restored is put onto the disk.
//! 2. With `--cold`: the caches stand on a disk of their own, whose requests the kernel tells.
//!    Saving reads it cold, restoring reads what is in memory and writes it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::run::{median, remove, run_once};
use super::settings::Settings;
use super::{Outcome, cache};
use crate::seeks::disk::{self, Disk};
use crate::seeks::model::{Figures, Model, figures};
use crate::seeks::trace::Recorder;

const SEED: u64 = 1;
/// Caches, what they become, and what is restored of them.
const BYTES_PER_ENTRY: u64 = 120_000;
/// Of so many entries one is new in the next run.
const NEW_SHARE: u64 = 20;

/// What is carried: its name, where it stands, and its archive.
const THINGS: [(&str, &str); 3] =
    [("ccache's directory", "cache"), ("a store", "store"), ("an export", "export")];

fn tar(words: &[&str], folder: &Path, rest: &[&Path]) -> Command {
    let mut command = Command::new("tar");
    command.args(words).args(rest.iter().take(1)).arg("-C").arg(folder).args(&rest[1..]);
    command
}

fn larder(settings: &Settings, store: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(&settings.larder);
    command.env("LARDER_CONFIG", "/dev/null").env("LARDER_DIR", store).args(words);
    command.env("LARDER_MAX_SIZE", "100Gi");
    command
}

/// Makes all three below a directory.
fn prepare(settings: &Settings, top: &Path) -> Outcome<u64> {
    eprintln!("carry: a cache of {} entries, and what becomes of it", settings.entries);
    let at = |name: &str| top.join(name);
    let bytes = cache::fill(&at("cache"), SEED, settings.entries / 2)?;
    let mut convert = larder(settings, &at("store"), &["convert", "--to", "larder"]);
    run_once(convert.arg(at("cache")).arg(at("store")), None)?;
    run_once(larder(settings, &at("store"), &["export"]).arg(at("export")), None)?;
    Ok(bytes)
}

/// One measurement: what is done, and what it reads.
struct Step {
    name: String,
    command: Command,
    from: PathBuf,
    /// What it makes; it belongs onto the disk.
    to: Option<PathBuf>,
    /// The step that it is compared with.
    base: usize,
}

/// A program whose output is read by another one, which keeps nothing.
fn read_by_another(program: &Command) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\" \"$@\" 2> /dev/null | cat > /dev/null"]);
    command.arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command
}

/// Makes the archives of everything below `top` in `folder`.
fn pack(top: &Path, folder: &Path) -> Outcome<()> {
    for (_, name) in THINGS {
        let archive = folder.join(format!("{name}.tar"));
        run_once(&mut tar(&["-cf"], &top.join(name), &[&archive, Path::new(".")]), None)?;
    }
    Ok(())
}

/// Saving everything below `top`, and restoring it from the archives in `folder`.
fn steps(settings: &Settings, top: &Path, folder: &Path) -> Vec<Step> {
    let save = |name: String, program: Command, from: &str| {
        let command = read_by_another(&program);
        Step { name, command, from: top.join(from), to: None, base: 0 }
    };
    let mut steps = THINGS
        .map(|(what, name)| {
            let program = tar(&["-cf"], &top.join(name), &[Path::new("-"), Path::new(".")]);
            save(format!("save {what}"), program, name)
        })
        .into_iter()
        .collect::<Vec<_>>();
    let stream = larder(settings, &top.join("store"), &["export", "-"]);
    steps.push(save("save by `larder export -`".to_owned(), stream, "store"));
    let to = folder.join("made");
    let mut command = larder(settings, &top.join("store"), &["export"]);
    command.arg(&to);
    let name = "make an export, `larder export DIR`".to_owned();
    steps.push(Step { name, command, from: top.join("store"), to: Some(to), base: 0 });
    let base = steps.len();
    steps.extend(THINGS.map(|(what, name)| {
        let (from, to) = (folder.join(format!("{name}.tar")), top.join(format!("restored-{name}")));
        let command = tar(&["-xf"], &to, &[&from]);
        Step { name: format!("restore {what}"), command, from, to: Some(to), base }
    }));
    steps
}

/// Does it once: seconds. What it makes is left.
fn once(step: &mut Step) -> Outcome<f64> {
    if let Some(to) = &step.to {
        std::fs::create_dir_all(to)?;
    }
    run_once(&mut step.command, step.to.as_deref())
}

fn clean(step: &Step) -> Outcome<()> {
    step.to.as_deref().map_or(Ok(()), remove)
}

/// Reads files, or all that is in directories; kernels that reclaim what was not used for a while
/// may have dropped it. What was written is on the disk then.
fn bring_into_memory(paths: &[&Path]) -> Outcome<()> {
    for path in paths {
        let mut command = Command::new("sh");
        command.args(["-c", "tar -cf - -C \"${0%/*}\" \"${0##*/}\" | cat > /dev/null && sync"]);
        run_once(command.arg(path), None)?;
    }
    Ok(())
}

/// Measures everything, and makes the tables.
///
/// # Errors
/// If something cannot be measured.
pub fn run(settings: &Settings, folder: &Path) -> Outcome<String> {
    let mut text = warm(settings, folder)?;
    if settings.cold {
        text.push_str(&cold(settings, folder)?);
    }
    Ok(text)
}

fn warm(settings: &Settings, folder: &Path) -> Outcome<String> {
    let top = folder.join("warm");
    let bytes = prepare(settings, &top)?;
    pack(&top, folder)?;
    let mut steps = steps(settings, &top, folder);
    let mut times: Vec<Vec<f64>> = steps.iter().map(|_| Vec::new()).collect();
    for round in 0..=settings.runs {
        for (step, times) in steps.iter_mut().zip(&mut times) {
            eprintln!("carry: {}, round {round} of {}", step.name, settings.runs);
            clean(step)?;
            bring_into_memory(&[&step.from])?;
            let seconds = once(step)?;
            // The first round only brings everything into memory.
            if round > 0 {
                times.push(seconds);
            }
        }
    }
    let mut text = format!(
        "{} entries, {:.2} GB; medians of {} runs, everything in memory, what is saved read\n\
         through a pipe, what is made put onto the disk\n\n\
         | what | s | of ccache's directory |\n|---|---|---|\n",
        settings.entries / 2 * 2,
        bytes as f64 / 1e9,
        settings.runs
    );
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    for (step, seconds) in steps.iter().zip(&medians) {
        let first = medians[step.base];
        text.push_str(&format!("| {} | {seconds:.2} | {:.2} |\n", step.name, seconds / first));
    }
    text.push_str(&again(settings, &top)?);
    for step in &steps {
        clean(step)?;
    }
    std::fs::remove_dir_all(&top)?;
    Ok(text)
}

/// What the next run of a CI uploads: some entries are new.
fn again(settings: &Settings, top: &Path) -> Outcome<String> {
    let (more, store) = (top.join("more"), top.join("store"));
    let bytes = cache::fill(&more, SEED + 1, (settings.entries / 2 / NEW_SHARE).max(1))?;
    run_once(
        larder(settings, &store, &["convert", "--to", "larder"]).arg(&more).arg(&store),
        None,
    )?;
    bring_into_memory(&[&store, &top.join("export")])?;
    let begun = Instant::now();
    let output = larder(settings, &store, &["export"]).arg(top.join("export")).output()?;
    let seconds = begun.elapsed().as_secs_f64();
    let said = String::from_utf8_lossy(&output.stdout);
    let said = said.lines().map(|line| line.split(" in /").next().unwrap_or(line));
    Ok(format!(
        "\nWith {:.1} MB of new entries the next export takes {seconds:.2} s and has:\n\n{}\n",
        bytes as f64 / 1e6,
        said.map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n")
    ))
}

fn cold(settings: &Settings, folder: &Path) -> Outcome<String> {
    disk::ensure_tracing()?;
    let disk = Disk::new(folder, settings.entries * BYTES_PER_ENTRY)?;
    let (major, minor) = disk.numbers()?;
    let recorder = Recorder::new(major, minor)?;
    prepare(settings, disk.path())?;
    pack(disk.path(), folder)?;
    disk.sync()?;
    let mut rows: Vec<(String, usize, Figures)> = Vec::new();
    for mut step in steps(settings, disk.path(), folder) {
        eprintln!("carry: {}, cold", step.name);
        disk.cool()?;
        recorder.start()?;
        let done = once(&mut step);
        disk.wait_until_left()?;
        disk.sync()?;
        std::thread::sleep(Duration::from_millis(200));
        let recording = recorder.stop()?;
        done?;
        clean(&step)?;
        disk.sync()?;
        rows.push((step.name, step.base, figures(&recording.requests)));
    }
    let mut text = String::from(
        "\nOn a disk of its own: what it is asked for, and how long one of 7200 revolutions would \
         take\n\n| what | reads | writes | seeks | MB | s, flat | curve | queued | of ccache's \
         directory, flat | curve | queued |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (name, base, figures) in &rows {
        let first = &rows[*base].2.model_ms;
        let ms = figures.model_ms;
        let seconds = |model: usize| format!("{:.1}", ms[model] / 1e3);
        let share = |model: usize| format!("{:.3}", ms[model] / first[model].max(0.001));
        let models = 0..Model::ALL.len();
        let columns: Vec<String> = models.clone().map(seconds).chain(models.map(share)).collect();
        text.push_str(&format!(
            "| {name} | {} | {} | {} | {:.0} | {} |\n",
            figures.reads,
            figures.writes,
            figures.seeks,
            (figures.read_bytes + figures.written_bytes) as f64 / 1e6,
            columns.join(" | "),
        ));
    }
    Ok(text)
}
