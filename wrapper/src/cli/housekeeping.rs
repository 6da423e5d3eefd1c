//! The commands that are a few lines each: settings, upkeep, zero.

use std::env;

use larder_engine::{Budget, EngineCounter, Store};

use super::command::{Failure, after_janitor, open_writable, print};
use super::flags::Given;
use super::json::Object;
use super::stats::tiers;
use crate::config::Config;
use crate::invocation;
use crate::invocation::upkeep::{step_back, upkeep};
use crate::log::Log;
use crate::stats;

/// `larder zero`.
pub fn zero(_: &Given) -> Result<(), Failure> {
    let store = open_writable()?;
    stats::zero(&store);
    tiers::zero(&Config::load(), store.path());
    print("the statistics are zero\n")
}

/// `larder clear`.
pub fn clear(_: &Given) -> Result<(), Failure> {
    let store = open_writable()?;
    after_janitor(&store, Store::clear)?;
    stats::note_cleared(&store);
    print(&format!("{} is empty\n", store.path().display()))
}

/// `larder config`.
pub fn show_config(given: &Given) -> Result<(), Failure> {
    let mut config = Config::load();
    config.check_variable_names(env::vars_os().map(|(name, _)| name));
    if !given.has("json") {
        return print(&config.describe());
    }
    let setting = |(name, value, origin): (&str, String, String)| {
        Object::new().text("name", name).text("value", &value).text("origin", &origin)
    };
    let problem = |problem: &String| Object::new().text("text", problem);
    let page = Object::new()
        .list("settings", config.rows().into_iter().map(setting))
        .list("problems", config.problems.iter().map(problem));
    print(&page.page())
}

/// `larder janitor`.
pub fn janitor(given: &Given) -> Result<(), Failure> {
    if !given.has("background") {
        return print(&upkeep_now()?);
    }
    step_back();
    let log = Log::new(Config::load().log.value);
    let outcome = invocation::guarded(&log, upkeep_now);
    let failed = "upkeep in the background failed".to_owned();
    let outcome = outcome.unwrap_or(Err(Failure::Failed(failed)));
    outcome.map(drop).inspect_err(|failure| {
        log.line(format_args!("the janitor failed: {}", failure.text()));
    })
}

/// Does what can be done, and tells what that was.
fn upkeep_now() -> Result<String, Failure> {
    let store = open_writable()?;
    let rebuilds = || store.counters().get(EngineCounter::Rebuilds.id());
    let rebuilt_before = rebuilds();
    let done = upkeep(&store, Budget::full())?;
    if done.busy {
        return Ok("another janitor is at work\n".to_owned());
    }
    let mut text = String::new();
    if done.segments_evicted > 0 {
        let evicted = stats::counted(done.segments_evicted, "segment");
        text.push_str(&format!("{evicted} evicted, {} freed\n", stats::size(done.bytes_evicted)));
    }
    match done.merged {
        true if rebuilds() > rebuilt_before => text.push_str("the index was built anew\n"),
        true => text.push_str("what was new was merged into the index\n"),
        false => {}
    }
    if done.checkpointed {
        text.push_str("a checkpoint was made\n");
    }
    Ok(if text.is_empty() { "nothing was due\n".to_owned() } else { text })
}

/// `larder checkpoint`.
pub fn checkpoint(_: &Given) -> Result<(), Failure> {
    after_janitor(&open_writable()?, Store::checkpoint)?;
    print("everything that is in the store would survive a power cut\n")
}
