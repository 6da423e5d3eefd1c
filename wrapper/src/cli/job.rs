//! `larder job`: begins, lists and ends jobs.
//!
//! The job of a compile is what `LARDER_JOB` says, and nothing else: a store has no current job,
//! because several may run on it at once, and because asking for one would cost every hit.

use std::ffi::OsStr;
use std::time::{SystemTime, UNIX_EPOCH};

use larder_engine::JobInfo;
use larder_engine::env::{Env, RealEnv};

use super::command::{Failure, open_writable, print, store_directory};
use super::flags::Given;
use super::json::Object;
use super::verify::open_to_read;
use crate::config::{Config, is_job_id};

/// `larder job start`.
pub fn start(given: &Given) -> Result<(), Failure> {
    let name = given.operand(0).and_then(OsStr::to_str).unwrap_or_default();
    let number = RealEnv.random() as u32;
    let id = if name.is_empty() { format!("{number:08x}") } else { format!("{name}-{number:08x}") };
    if !is_job_id(&id) {
        let what =
            format!("`{name}` is no name of a job: letters, digits, dots, - and _, up to 55");
        return Err(given.wrong(&what));
    }
    open_writable()?.start_job(&id)?;
    print(&format!("{id}\n"))
}

/// `larder job end`.
pub fn end(given: &Given) -> Result<(), Failure> {
    let id = given.operand(0).and_then(OsStr::to_str).unwrap_or_default();
    if open_writable()?.end_job(id)? {
        return print(&format!("{id} is forgotten\n"));
    }
    Err(Failure::Failed(format!("there is no job {id}; `larder job list` shows which there are")))
}

/// `larder job list`.
pub fn list(given: &Given) -> Result<(), Failure> {
    let config = Config::load();
    let jobs = open_to_read(&config, store_directory(&config)?)?.jobs()?;
    if given.has("json") {
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
