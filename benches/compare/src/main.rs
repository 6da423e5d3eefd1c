//! larder's engine beside LMDB, redb, fjall, SQLite and one file per entry.
//!
//! 1. Engines take turns, so that what else the machine does meets them all.
//! 2. Every get is verified, see `engine`.
//! 3. Ratios are larder's figure over the other's: below 1 larder is faster.

mod arguments;
mod disk;
mod engine;
mod fresh;
mod many;
mod report;
mod single;
mod workload;

use arguments::{Arguments, Command};
use clap::Parser;
use report::Report;

fn main() {
    let arguments = Arguments::parse();
    match &arguments.command {
        Command::Child(child) => return fresh::child(child),
        Command::Worker(worker) => return many::worker(worker),
        Command::Disk(disk) => {
            if let Err(error) = disk::run(&disk.words) {
                eprintln!("compare: {error}");
                std::process::exit(1);
            }
            return;
        }
        _ => {}
    }
    let folder = arguments.folder();
    let mut report = Report::new(folder.path());
    let is_all = matches!(arguments.command, Command::All);
    if is_all || matches!(arguments.command, Command::Fresh) {
        fresh::run(&arguments, folder.path(), &mut report);
    }
    if is_all || matches!(arguments.command, Command::Single) {
        single::run(&arguments, folder.path(), &mut report);
    }
    if is_all || matches!(arguments.command, Command::Many) {
        many::run(&arguments, folder.path(), &mut report);
    }
    if let Some(path) = &arguments.json {
        report.write_json(path);
    }
}
