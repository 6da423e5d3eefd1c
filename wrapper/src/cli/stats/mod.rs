//! `larder stats`: how often larder answered, what that saved, and why it did not.
//!
//! The numbers are [`Figures`]: those of the store, what happened since they were saved (`--since
//! FILE`), or those of one build by its log of calls (`--log FILE`). They are shown as a page, as
//! JSON, or as a page for a browser.

mod calls;
mod html;
mod page;
pub mod tiers;

use std::fs;
use std::path::Path;

use super::command::{Failure, print, store_directory};
use super::flags::{Given, parse_age};
use super::json::Object;
use super::style::Style;
use crate::config::Config;
use crate::stats::{Figures, ago, now_secs};
use crate::store::open_store;
use calls::Calls;
use tiers::Told;

/// A larger file is no statistics.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// What is shown: numbers, where they come from, and calls if they are known one by one.
struct Shown {
    figures: Figures,
    /// What they are of, as a line.
    title: String,
    calls: Option<Calls>,
    /// The settings, and what is known of the tiers in them.
    tiers: Option<(Config, Told)>,
}

/// `larder stats`.
pub fn run(given: &Given) -> Result<(), Failure> {
    let shown = match given.value("log") {
        Some(log) => of_log(given, Path::new(log))?,
        None => of_store(given)?,
    };
    if let Some(file) = given.value("html") {
        let path = Path::new(file);
        let written = fs::write(path, html::page(&shown));
        written.map_err(|error| {
            Failure::Failed(format!("cannot write {}: {error}", path.display()))
        })?;
        if !given.has("json") {
            return print(&format!("{} is written; open it in a browser\n", path.display()));
        }
    }
    print(&match given.has("json") {
        true => json(&shown),
        false => {
            let style = Style::of_stdout();
            let tiers = shown.tiers.as_ref().map(|(config, told)| tiers::text(config, told, style));
            page::text(&shown, style) + &tiers.unwrap_or_default()
        }
    })
}

fn json(shown: &Shown) -> String {
    match &shown.calls {
        None => {
            let tiers = shown.tiers.as_ref().map(|(config, told)| tiers::objects(config, told));
            with_tiers(shown.figures.json(), tiers)
        }
        Some(calls) => calls.json(&shown.figures),
    }
}

/// The same object with a list of tiers, if there are any.
fn with_tiers(json: String, tiers: Option<Vec<Object>>) -> String {
    let Some(tiers) = tiers else { return json };
    let tiers: Vec<String> = tiers.iter().map(Object::line).collect();
    let head = json.trim_end().trim_end_matches('}').trim_end();
    format!("{head},\n  \"tiers\": [{}]\n}}\n", tiers.join(", "))
}

fn of_store(given: &Given) -> Result<Shown, Failure> {
    let config = Config::load();
    let directory = store_directory(&config)?;
    let figures = Figures::read(&open_store(&config, directory)?)?;
    let figures = if config.lower.value.is_empty() { figures } else { figures.with_lower() };
    let place = directory.display();
    let tiers = (!config.tiers.value.is_empty())
        .then(|| Told::ask(&config, directory, true))
        .map(|told| (config.clone(), told));
    let Some(since) = given.value("since") else {
        let zeroed_secs = figures.named("stats_zeroed_timestamp");
        let title = match zeroed_secs {
            0 => format!("{place}, since it was made"),
            secs => format!("{place}, counted since {}", ago(secs)),
        };
        return Ok(Shown { figures, title, calls: None, tiers });
    };
    let path = Path::new(since);
    let text = read(path).map_err(|error| {
        let hint = match since.to_str().and_then(parse_age) {
            Some(_) => "; a time goes with --log, because the store only has sums",
            None => "; save one with `larder stats --json > FILE`",
        };
        Failure::Failed(format!("cannot read {}: {error}{hint}", path.display()))
    })?;
    let earlier = Figures::parse(&text).ok_or_else(|| {
        let what = "is not what `larder stats --json` prints";
        Failure::Failed(format!("{} {what}: save it before the build", path.display()))
    })?;
    let title = format!("{place}, since {}", path.display());
    Ok(Shown { figures: figures.since(&earlier), title, calls: None, tiers })
}

fn of_log(given: &Given, path: &Path) -> Result<Shown, Failure> {
    let text = read(path).map_err(|error| {
        let hint = "set LARDER_STATS_LOG to an absolute path before the build";
        Failure::Failed(format!("cannot read {}: {error}; {hint}", path.display()))
    })?;
    let from_secs = match given.text("since") {
        None => 0,
        Some(age) => {
            let age_secs = parse_age(age).ok_or_else(|| {
                given
                    .wrong(&format!("with --log, --since takes an age as 30m or 2h, not \"{age}\""))
            })?;
            now_secs().saturating_sub(age_secs)
        }
    };
    let calls = Calls::parse(&text, from_secs);
    if calls.lines.is_empty() && calls.strange > 0 {
        let what = "is no log of calls (LARDER_STATS_LOG)";
        return Err(Failure::Failed(format!("{} {what}", path.display())));
    }
    let title = match given.text("since") {
        Some(age) => format!("{}, the last {age}", path.display()),
        None => path.display().to_string(),
    };
    let figures = Figures::of_calls(calls.lines.iter());
    Ok(Shown { figures, title, calls: Some(calls), tiers: None })
}

fn read(path: &Path) -> std::io::Result<String> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    // A log may have been cut in a letter.
    Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
}
