//! `larder explain`: why a call was no hit, or what would become of one now.
//!
//! 1. `explain FILE` takes the last call for a source that was no hit, `explain last` the last one
//!    of this user, `explain -- COMMAND` asks what would happen now. Hits leave no trace, so of a
//!    call that was one nothing can be told.
//! 2. The call is compared with the nearest earlier entry for the same source: the one from which
//!    the fewest words, settings and files differ, of those the newest.
//! 3. What is said follows from the key: the rows that were hashed, the inputs in the manifests,
//!    and what the look-up found in its way. Lines of files are shown only from texts whose digest
//!    is the one in the key ([`texts`]).
//! 4. Nothing is compiled, stored or counted.

mod page;
mod past;
mod texts;

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use larder_engine::Store;

use super::command::{Failure, print, store_directory};
use super::flags::Given;
use super::style::Style;
use crate::account::{Account, history, plain_path, recent};
use crate::config::Config;
use crate::invocation::foresee::{Foreseen, foresee};
use crate::outcome::Counter;
use crate::store::open_store;
use past::Explained;

/// `larder explain`.
pub fn run(given: &Given) -> Result<(), Failure> {
    let mut config = Config::load();
    let path = store_directory(&config)?.to_path_buf();
    config.readonly.value = true;
    if !path.exists() {
        let place = path.display();
        let text = format!("there is no store at {place} yet: the first compile makes it");
        return Err(Failure::Failed(text));
    }
    let explained = match (given.operand(0), given.behind()) {
        (None, [program, arguments @ ..]) => {
            let foreseen = foresee(&config, program, arguments)?;
            // Behind the look-up: it may have found that there is none.
            future(&config, &open_store(&config, &path)?, foreseen)
        }
        (Some(word), []) => {
            let store = open_store(&config, &path)?;
            past::explain(&store, find(&store, word)?)
        }
        _ => {
            let text = "it takes a source, the word last, or -- and a command";
            return Err(given.wrong(text));
        }
    };
    print(&match given.has("json") {
        true => page::json(&explained),
        false => page::text(&explained, Style::of_stdout()),
    })
}

/// The last call that is meant, as far as larder knows of it.
fn find(store: &Store, word: &OsStr) -> Result<Account, Failure> {
    let recent = recent::read(store);
    if word == "last" {
        let last = recent.into_iter().next().map(|account| whole(store, account));
        return last.ok_or_else(|| {
            let text = "no call is known that was no hit: hits are not kept, nor what ran with \
                        another store (see `larder config`)";
            Failure::Failed(text.to_owned())
        });
    }
    let directory = env::current_dir().unwrap_or_default();
    let named = plain_path(&directory, Path::new(word));
    let real = std::fs::canonicalize(&named).ok();
    let paths: Vec<PathBuf> = [named].into_iter().chain(real).collect();
    let of_it = |account: &Account| {
        paths.contains(&account.source)
            || account
                .words
                .iter()
                .any(|word| paths.contains(&plain_path(&account.directory, Path::new(word))))
    };
    let stored = paths.iter().flat_map(|path| history::read(store, path));
    let known = stored.chain(recent).filter(of_it);
    // Of the two that may be kept of one call the first is whole.
    let mut newest: Option<Account> = None;
    for account in known {
        if newest.as_ref().is_none_or(|newest| account.at_ns > newest.at_ns) {
            newest = Some(account);
        }
    }
    newest.ok_or_else(|| {
        Failure::Failed(format!(
            "no call for {} is known that was no hit: hits are not kept; `larder explain -- \
             COMMAND` says what would become of one now",
            word.display()
        ))
    })
}

/// What is kept with the result is not cut.
fn whole(store: &Store, account: Account) -> Account {
    let stored = history::read(store, &account.source);
    stored.into_iter().find(|stored| stored.at_ns == account.at_ns).unwrap_or(account)
}

fn future(config: &Config, store: &Store, foreseen: Foreseen) -> Explained {
    let mut explained = Explained { is_future: true, ..Explained::default() };
    match foreseen {
        Foreseen::Hit(kind, result) => {
            explained.outcome = kind as u16;
            explained.result = result.map(|key| past::result_of(config, store, &key));
        }
        Foreseen::Miss(account) => {
            explained = past::compared(store, *account, true);
            explained.outcome = Counter::CacheMiss as u16;
        }
        Foreseen::Uncached(reason) => {
            explained.outcome = reason.counter as u16;
            explained.reason = reason.text;
        }
        Foreseen::NoCompiler(text) => {
            explained.outcome = Counter::CouldNotFindCompiler as u16;
            explained.reason = text;
        }
        Foreseen::Disabled => {
            explained.outcome = Counter::Disabled as u16;
            explained.reason = "the setting `disable` is on".to_owned();
        }
    }
    explained
}
