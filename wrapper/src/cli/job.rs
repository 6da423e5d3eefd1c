//! `larder job`: begins, lists and ends jobs.
//!
//! The job of a compile is what `LARDER_JOB` says, and nothing else: a store has no current job,
//! because several may run on it at once, and because asking for one would cost every hit.

use std::ffi::OsString;
use std::time::{SystemTime, UNIX_EPOCH};

use larder_engine::env::{Env, RealEnv};
use larder_engine::{JobInfo, Store};

use super::command::{Failure, print, store_directory};
use super::json::Object;
use super::verify::open_to_read;
use crate::config::{Config, is_job_id};
use crate::invocation::open_store;

/// What `larder job --help` says.
const HELP: &str = "\
larder job begins, lists and ends jobs. A job remembers what its compiles got from the store and put
into it, so that `larder trim --not-touched-since-job` can drop the rest.

usage:
  larder job start [NAME]     begin a job, print its id
  larder job list [--json]    every job: its id, its age, how many entries it touched
  larder job end ID           forget a job

In a CI: export LARDER_JOB=$(larder job start), build, then `larder trim --not-touched-since-job`.
Any number of jobs can run on one store at once; each compile belongs to the one in its LARDER_JOB.
A store remembers 16 of them, and the oldest goes when another one begins. Compiles that may not
write to the store (LARDER_READONLY) are not noted.
";

/// The command.
pub fn run(arguments: &[OsString]) -> Result<(), Failure> {
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str().unwrap_or("?")).collect();
    match words[..] {
        ["--help" | "-h"] => print(HELP),
        ["start"] => start(""),
        ["start", name] if !name.starts_with('-') => start(name),
        ["list"] => list(false),
        ["list", "--json"] => list(true),
        ["end", id] if !id.starts_with('-') => end(id),
        _ => Err(Failure::WrongUse("job takes start [NAME], list [--json] or end ID".to_owned())),
    }
}

fn open() -> Result<Store, Failure> {
    let config = Config::load();
    Ok(open_store(&config, store_directory(&config)?)?)
}

fn start(name: &str) -> Result<(), Failure> {
    let number = RealEnv.random() as u32;
    let id = if name.is_empty() { format!("{number:08x}") } else { format!("{name}-{number:08x}") };
    if !is_job_id(&id) {
        let what =
            format!("`{name}` is no name of a job: letters, digits, dots, - and _, up to 55");
        return Err(Failure::WrongUse(what));
    }
    open()?.start_job(&id)?;
    print(&format!("{id}\n"))
}

fn end(id: &str) -> Result<(), Failure> {
    if open()?.end_job(id)? {
        return print(&format!("{id} is forgotten\n"));
    }
    Err(Failure::Failed(format!("there is no job {id}; `larder job list` shows which there are")))
}

fn list(json: bool) -> Result<(), Failure> {
    let config = Config::load();
    let jobs = open_to_read(&config, store_directory(&config)?)?.jobs()?;
    if json {
        return print(&Object::new().list("jobs", jobs.iter().map(object)).page());
    }
    if jobs.is_empty() {
        return print("there is no job\n");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut text = String::new();
    for job in jobs {
        let (minutes, keys) = (now.saturating_sub(job.started_secs) / 60, job.keys);
        let more = if job.is_full { ", and more than it could note" } else { "" };
        text.push_str(&format!("{}: begun {minutes} min ago, touched {keys}{more}\n", job.id));
    }
    print(&text)
}

fn object(job: &JobInfo) -> Object {
    Object::new()
        .text("id", &job.id)
        .number("started_secs", job.started_secs)
        .number("touched", job.keys)
        .switch("is_full", job.is_full)
}
