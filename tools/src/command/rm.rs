//! `larder rm`: takes entries out of the store.

use larder::cli::command::{Failure, open_writable, print};
use larder::cli::flags::Given;
use larder::cli::json::Object;
use larder_engine::Put;

use super::find::find_record;

/// The command. What is wrong with one word keeps no other from being done.
pub fn run(given: &Given) -> Result<(), Failure> {
    let store = open_writable()?;
    let (mut removed, mut problems) = (Vec::new(), Vec::new());
    for word in given.operands() {
        let text = word.to_string_lossy();
        let done =
            find_record(&store, &text).and_then(|record| match store.remove(&record.key())? {
                Put::Stored => Ok(record.key().to_string()),
                Put::Dropped(reason) => Err(Failure::Failed(format!("{text}: {reason}"))),
            });
        match done {
            Ok(key) => removed.push(key),
            Err(failure) => problems.push(failure.text().to_owned()),
        }
    }
    let text = match given.has("json") {
        true => {
            let removed = removed.iter().map(|key| Object::new().text("key", key));
            let problems = problems.iter().map(|what| Object::new().text("what", what));
            Object::new().list("removed", removed).list("problems", problems).page()
        }
        false => removed.iter().map(|key| format!("{key} removed\n")).collect(),
    };
    print(&text)?;
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::Failed(problems.join("\n"))),
    }
}
