//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::TempDir;

use crate::engine::Kind;

/// Measures larder's engine beside others.
#[derive(Parser)]
pub struct Arguments {
    /// What to measure.
    #[command(subcommand)]
    pub command: Command,
    /// Engines, ratios are to larder-raw; all by default.
    #[arg(long, value_delimiter = ',', global = true)]
    engines: Vec<Kind>,
    /// Entries of each store.
    #[arg(long, value_delimiter = ',', default_value = "1000,100000,1000000", global = true)]
    pub entries: Vec<u64>,
    /// Bytes of each value.
    #[arg(long, value_delimiter = ',', default_value = "4096,65536,1048576", global = true)]
    pub values: Vec<u64>,
    /// Bytes of each value in `fresh`.
    #[arg(long, value_delimiter = ',', default_value = "200,4096", global = true)]
    pub fresh_values: Vec<u64>,
    /// Rounds in which all engines take their turns.
    #[arg(long, default_value_t = 7, global = true)]
    pub rounds: u64,
    /// Gets and misses of a round, at most.
    #[arg(long, default_value_t = 20_000, global = true)]
    pub calls: u64,
    /// Processes of each engine in `fresh`.
    #[arg(long, default_value_t = 300, global = true)]
    pub children: u64,
    /// Seconds of each scene of `many`.
    #[arg(long, default_value_t = 5, global = true)]
    pub seconds: u64,
    /// Bytes of values in one store, at most; fewer entries are made where more would be needed.
    #[arg(long, default_value_t = 2 << 30, global = true)]
    pub budget: u64,
    /// Where the stores stand while they are measured; default is the system's temporary directory.
    #[arg(long, global = true)]
    directory: Option<PathBuf>,
    /// A file for the figures as JSON.
    #[arg(long, global = true)]
    pub json: Option<PathBuf>,
}

/// What to measure.
#[derive(Subcommand)]
pub enum Command {
    /// Everything.
    All,
    /// A fresh process opens a store and looks one key up.
    Fresh,
    /// One process: put, get, miss, open.
    Single,
    /// Eight processes on one store.
    Many,
    /// One process of `fresh`.
    #[command(hide = true)]
    Child(Child),
    /// One process of `many`.
    #[command(hide = true)]
    Worker(Worker),
    /// LMDB in the disk model: `disk lmdb ACTION STORE WORD...`, see larder-benches.
    #[command(hide = true)]
    Disk(Disk),
}

/// One process of the disk model.
#[derive(Args)]
pub struct Disk {
    /// Subject, action, store, and what the action takes.
    pub words: Vec<String>,
}

/// One process of `fresh`.
#[derive(Args)]
pub struct Child {
    /// The engine, `none` for a process that does nothing.
    pub engine: String,
    /// Whether it opens the store for reading only.
    #[arg(action = clap::ArgAction::Set)]
    pub read_only: bool,
    /// Its directory.
    pub store: PathBuf,
    /// Bytes that the store has room for.
    pub room: u64,
    /// The entry to look up.
    pub number: u64,
    /// Bytes of its value.
    pub bytes: u64,
}

/// One process of `many`.
#[derive(Args)]
pub struct Worker {
    /// The engine.
    pub engine: Kind,
    /// Its directory.
    pub store: PathBuf,
    /// Bytes that the store has room for.
    pub room: u64,
    /// Entries that are there.
    pub entries: u64,
    /// Bytes of each value.
    pub bytes: u64,
    /// Whether it puts; else it gets.
    #[arg(action = clap::ArgAction::Set)]
    pub writes: bool,
    /// Its number.
    pub number: u64,
    /// How long it works.
    pub for_seconds: u64,
}

impl Arguments {
    /// The engines that take part.
    pub fn engines(&self) -> Vec<Kind> {
        if self.engines.is_empty() { Kind::ALL.to_vec() } else { self.engines.clone() }
    }

    /// As many entries as the budget allows.
    pub fn affordable(&self, entries: u64, bytes: u64) -> u64 {
        entries.min((self.budget / bytes).max(1))
    }

    /// A directory for the stores, which goes at the end.
    pub fn folder(&self) -> TempDir {
        let made = match &self.directory {
            Some(directory) => TempDir::new_in(directory),
            None => TempDir::new(),
        };
        made.expect("a directory can be made")
    }
}

/// A bar for a long step, on stderr.
pub fn bar(what: impl Into<String>, steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:40} {wide_bar} {pos}/{len} {elapsed}");
    let bar = ProgressBar::new(steps).with_message(what.into());
    bar.set_style(style.expect("the template is valid"));
    bar
}
