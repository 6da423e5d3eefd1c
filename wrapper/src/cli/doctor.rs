//! `larder doctor`: what stands in the way of a build with larder, in words.
//!
//! 1. Nothing is changed, but in a temporary directory for the trial compile, which is removed.
//! 2. Each finding is a fact with a verdict: fine, worth knowing, or a problem; the latter two say
//!    what to do where something can be done.
//! 3. Everything is looked at whatever else is wrong: a store that cannot be opened hides no loop.
//! 4. The exit status: 0 no problem, 1 a problem, 2 wrong use.

mod compilers;
mod findings;
mod launchers;
mod store;
mod trial;

use std::env;
use std::process::exit;

use super::command::{Failure, print, store_directory};
use super::flags::Given;
use super::style::Style;
use crate::config::Config;
use findings::Findings;

/// The command.
pub fn run(given: &Given) -> Result<(), Failure> {
    let mut config = Config::load();
    if config.dir_problem.is_some() {
        store_directory(&config)?;
    }
    config.check_variable_names(env::vars_os().map(|(name, _)| name));
    let mut findings = Findings::default();
    let mut trials = Vec::new();
    if !given.has("store") {
        let path = env::var_os("PATH").unwrap_or_default();
        compilers::examine(&path, &mut findings);
        launchers::examine(|name| env::var_os(name), &path, &mut findings);
        if !given.has("no-trial") {
            trials = trial::examine(&path, &mut findings);
        }
    }
    store::examine(&config, &mut findings);
    print(&match given.has("json") {
        true => findings.json(config.dir.value.as_deref(), &trials),
        false => findings.text(Style::of_stdout()),
    })?;
    if findings.has_problem() { exit(1) } else { Ok(()) }
}
