//! What stood in the way of a call, by its account and those of earlier ones.

use std::path::PathBuf;

use larder_engine::{EngineCounter, Key, Store};

use super::texts::{self, Shown};
use crate::account::compare::{self, Difference};
use crate::account::reading::{self, Reading};
use crate::account::{Account, Differs, Obstacle, history, recent};
use crate::config::Config;
use crate::outcome::Counter;
use crate::stats::ago;
use crate::store::open_lower;

/// Everything that there is to say of a call.
#[derive(Default)]
pub struct Explained {
    /// Whether it has not been made yet.
    pub is_future: bool,
    /// The counter that tells how it ended, or would.
    pub outcome: u16,
    /// Why it was not cached or not stored.
    pub reason: String,
    /// What is known of the call.
    pub account: Option<Account>,
    /// What stood in the way of a hit, in words.
    pub obstacle: Option<String>,
    /// The nearest earlier entry.
    pub nearest: Option<Account>,
    /// What differs from it, with lines of files.
    pub differences: Vec<(Difference, Option<Shown>)>,
    /// The result that a hit would have.
    pub result: Option<String>,
    /// What else there is to know, one sentence each.
    pub notes: Vec<String>,
}

/// Explains a call that was made.
pub fn explain(store: &Store, account: Account) -> Explained {
    let (outcome, reason) = (account.outcome, account.reason.clone());
    let hits = count(store, Counter::DirectCacheHit) + count(store, Counter::PreprocessedCacheHit);
    let hits_since = hits.checked_sub(account.hits_before).filter(|hits| *hits > 0);
    let mut explained = match account.rows.is_empty() {
        true => Explained { account: Some(account), ..Explained::default() },
        false => compared(store, account, false),
    };
    if let Some(hits) = hits_since {
        let calls = crate::stats::counted(hits, "call");
        explained.notes.push(format!("Since then {calls} hit in this store; hits are not kept."));
    }
    Explained { outcome, reason, ..explained }
}

fn count(store: &Store, counter: Counter) -> u64 {
    store.counters().get(counter as usize)
}

/// Compares a call with the nearest earlier entry. The inputs of one that was not made yet are
/// those of now.
pub fn compared(store: &Store, account: Account, is_future: bool) -> Explained {
    let mut found = Explained { is_future, ..Explained::default() };
    let own = Reading::of(store, &account);
    let mut nearest: Option<(usize, Account, Vec<Difference>)> = None;
    for earlier in history::read(store, &account.source) {
        if earlier.at_ns >= account.at_ns {
            continue;
        }
        let mut differences = compare::rows(&earlier, &account);
        differences.extend(inputs(store, &earlier, &account, own.as_ref(), is_future));
        let weight = differences.iter().map(|difference| difference.weight).sum();
        // The newest of those that are as near.
        if nearest.as_ref().is_none_or(|(least, ..)| weight <= *least) {
            nearest = Some((weight, earlier, differences));
        }
    }
    found.obstacle = obstacle_words(&account.obstacle);
    match nearest {
        Some((_, earlier, differences)) => {
            if differences.is_empty() {
                found.notes.push(nothing_differs(&account));
            }
            let lines = |difference: Difference| {
                let shown = texts::lines(store, &difference, &earlier, &account);
                (difference, shown)
            };
            found.differences = differences.into_iter().map(lines).collect();
            if account.is_cut || earlier.is_cut {
                found.notes.push("The command line was too long to be kept whole.".to_owned());
            }
            found.nearest = Some(earlier);
        }
        None => found.notes.extend(no_entry(store, &account)),
    }
    // What differs says more.
    if account.obstacle == Obstacle::NoManifest && !found.differences.is_empty() {
        found.obstacle = None;
    }
    found.account = Some(account);
    found
}

/// What differs in what was read.
fn inputs(
    store: &Store,
    earlier: &Account,
    account: &Account,
    own: Option<&Reading>,
    is_future: bool,
) -> Vec<Difference> {
    let Some(older) = Reading::of(store, earlier) else { return Vec::new() };
    let mut found = match own {
        Some(newer) => older.differences(newer),
        None if is_future => older.differences_now(&account.directory),
        None => Vec::new(),
    };
    // The look-up has seen what no file shows.
    if earlier.direct == account.direct && found.is_empty() {
        match &account.obstacle {
            Obstacle::NoVariant(Differs::Moment) => {
                found.push(older.moment_differs(older.mentions()));
            }
            Obstacle::NoVariant(Differs::Messages) => found.push(reading::messages_differ()),
            _ => {}
        }
    }
    found
}

/// What the look-up found in its way, where that says more than what differs.
fn obstacle_words(obstacle: &Obstacle) -> Option<String> {
    let text = match obstacle {
        Obstacle::Unknown => return None,
        Obstacle::Recache => "the setting `recache` asks for nothing and stores anew".to_owned(),
        Obstacle::NoManifest => {
            "nothing was stored for this source, these arguments and this environment".to_owned()
        }
        Obstacle::NoText => {
            "direct_mode is off, and no result is known for the preprocessed text".to_owned()
        }
        Obstacle::NoVariant(Differs::Input(path)) => {
            format!("{} is not what it was in any remembered compile", reading::name_of(path))
        }
        Obstacle::NoVariant(Differs::Moment) => {
            "an input shows the date or time, which is another one".to_owned()
        }
        Obstacle::NoVariant(Differs::Absent(directory)) => format!(
            "in {} something is there that the compiler looked for in vain before",
            if directory.as_os_str().is_empty() {
                ".".into()
            } else {
                directory.display().to_string()
            }
        ),
        Obstacle::NoVariant(Differs::Messages) => {
            "how messages look, or the directory that the result shows, is another one".to_owned()
        }
        Obstacle::NoVariant(Differs::Unsure) => {
            "a macro decides what __has_include asks for, so nothing remembered can be relied on"
                .to_owned()
        }
        Obstacle::ResultGone(_) => {
            "a compile of exactly this was remembered, but its result is no longer in the store: \
             it was evicted, trimmed or removed"
                .to_owned()
        }
        Obstacle::Unusable(why) => format!("there was a result for exactly this, but {why}"),
    };
    Some(text)
}

fn nothing_differs(account: &Account) -> String {
    match &account.obstacle {
        Obstacle::NoManifest => {
            "The same was compiled before; what led to its result was no longer in the store."
        }
        Obstacle::Unknown | Obstacle::NoVariant(_) => {
            "No difference to this entry is known: its inputs are no longer in the store."
        }
        _ => "Nothing differs from this entry.",
    }
    .to_owned()
}

/// Why there may be no earlier entry.
fn no_entry(store: &Store, account: &Account) -> Vec<String> {
    let mut notes = vec!["The store has no earlier entry for this source.".to_owned()];
    let is_earlier = |other: &Account| {
        other.source == account.source && other.at_ns < account.at_ns && other.result.is_some()
    };
    if let Some(earlier) = recent::read(store).iter().find(|other| is_earlier(other)) {
        notes.push(format!(
            "It was compiled and stored {}, and the store no longer knows of it.",
            ago(earlier.at_ns / 1_000_000_000)
        ));
    }
    let cleared_secs = count(store, Counter::StoreClearedTimestamp);
    if cleared_secs > 0 {
        let when = ago(cleared_secs);
        notes.push(format!("The store was emptied {when} (`larder clear`)."));
    }
    let evicted = store.counters().get(EngineCounter::SegmentsEvicted.id());
    if evicted > 0 {
        notes.push(
            "The store has dropped old entries for want of room, this one may have been among \
             them; `larder stats` shows its size, the setting is max_size."
                .to_owned(),
        );
    }
    notes
}

/// A result in words, from the own store or the first lower one that has it.
pub fn result_of(config: &Config, store: &Store, key: &Key) -> String {
    let told = |store: &Store| {
        let record = store.get(key).ok()??;
        let bytes: u64 = record.sections().iter().map(|section| section.real_bytes).sum();
        let when = ago(record.created_secs());
        Some(format!("the result was stored {when}, {}", crate::stats::size(bytes)))
    };
    let told_below = |path: &PathBuf| {
        let text = told(&open_lower(config, path).ok()?)?;
        Some(format!("{text}, in the lower store {}", path.display()))
    };
    told(store)
        .or_else(|| config.lower.value.iter().find_map(told_below))
        .unwrap_or_else(|| "the result is in the store".to_owned())
}
