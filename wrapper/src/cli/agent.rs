//! `larder agent`: how the program is that speaks with the remote tiers, what it has yet to write,
//! and its end.

use std::time::Duration;

use super::command::{Failure, print, store_directory};
use super::flags::Given;
use super::stats::tiers::{self, Told};
use super::style::Style;
use crate::agent::{Client, Launch, Reply, Request};
use crate::config::Config;

/// How long `larder agent flush` waits by default, in seconds.
const FLUSH_SECS: u64 = 600;

/// `larder agent status`.
pub fn status(given: &Given) -> Result<(), Failure> {
    let config = configured()?;
    let told = Told::ask(&config, store_directory(&config)?, false);
    print(&match given.has("json") {
        true => tiers::page_json(&config, &told),
        false => {
            let agent = match told.pid {
                Some(pid) => format!("the agent runs as process {pid}\n"),
                None => "no agent runs; the next miss starts one\n".to_owned(),
            };
            agent + &tiers::text(&config, &told, Style::of_stdout())
        }
    })
}

/// `larder agent stop`.
pub fn stop(_: &Given) -> Result<(), Failure> {
    let config = configured()?;
    let Some(mut client) = running(&config)? else { return print("no agent runs\n") };
    client.ask(&Request::Stop).map_err(|error| unreachable(&error))?;
    print("the agent leaves; what it has not written, the next one will\n")
}

/// `larder agent flush`.
pub fn flush(given: &Given) -> Result<(), Failure> {
    let config = configured()?;
    let seconds = match given.text("wait") {
        None => FLUSH_SECS,
        Some(text) => text.parse().map_err(|_| {
            given.wrong(&format!("--wait takes a number of seconds, not \"{text}\""))
        })?,
    };
    let wait = Duration::from_secs(seconds);
    let store = store_directory(&config)?;
    let mut client = Launch::new(&config, store).connect().map_err(|error| unreachable(&error))?;
    let limited = client.wait_at_most(wait);
    let wait_ms = wait.as_millis() as u64;
    match limited.and_then(|()| client.ask(&Request::Flush { wait_ms })) {
        Ok(Reply::Done) => print("everything is written\n"),
        Ok(Reply::Failed(why)) => Err(Failure::Failed(why)),
        Ok(_) => Err(Failure::Failed("the agent says nothing sensible".to_owned())),
        Err(error) => Err(unreachable(&error)),
    }
}

/// The settings, if they have tiers.
fn configured() -> Result<Config, Failure> {
    let config = Config::load();
    if config.tiers.value.is_empty() {
        let advice = "set LARDER_TIERS or `tiers` in larder.toml, as docs/tiers.md describes";
        return Err(Failure::Failed(format!("there are no remote tiers: {advice}")));
    }
    Ok(config)
}

fn running(config: &Config) -> Result<Option<Client>, Failure> {
    let launch = Launch::new(config, store_directory(config)?);
    launch.running().map_err(|error| unreachable(&error))
}

fn unreachable(error: &std::io::Error) -> Failure {
    Failure::Failed(format!("the agent cannot be asked: {error}"))
}
