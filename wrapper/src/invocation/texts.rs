//! What the texts of all inputs ask for, followed one by one.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;

use super::asks::{Asks, Joined};
use super::first::First;
use super::probed::{Probed, Walk, modified};
use super::remembered::Remembered;
use crate::digest::{Mentions, Seen};
use crate::files::above;
use crate::manifest::Input;
use crate::outcome::Reason;

/// Headers of the system are guarded by macros, and are many.
const SYSTEM: &[u8] = b"/usr/";

/// What one text may include first.
#[derive(Debug, Default)]
pub(super) struct Includes {
    pub(super) names: Vec<Vec<u8>>,
    /// A macro gives a name.
    pub(super) by_macro: bool,
    /// How many files may have been read by then, of those that were listed.
    pub(super) read: usize,
}

impl Includes {
    fn of(asks: &Asks<'_>, first: First) -> Includes {
        let names = asks.named.iter().take(first.asks).filter(|ask| !ask.is_question);
        Includes {
            names: names.map(|ask| ask.name.to_vec()).collect(),
            by_macro: asks.includes_by_macro,
            read: first.inputs,
        }
    }
}

/// What is included by macros.
#[derive(Default)]
pub(super) struct Computed {
    /// Where the texts are that do so.
    pub(super) places: BTreeSet<usize>,
    /// What may be a name, and whether it is in quotes.
    pub(super) literals: BTreeSet<(bool, Vec<u8>)>,
}

impl Computed {
    /// Follows the asks of one text in `place`; `first` are those of the source that count first.
    fn take(
        &mut self,
        walk: &mut Walk<'_>,
        probed: &mut Probed,
        asks: &Asks<'_>,
        (place, first): (usize, Option<First>),
    ) -> Result<(), Reason> {
        for (at, ask) in asks.named.iter().enumerate() {
            let may_be_first = first.is_some_and(|first| at < first.asks);
            walk.take(ask, ask.is_quoted.then_some(place), may_be_first)?;
        }
        if asks.includes_by_macro {
            self.places.insert(place);
        }
        probed.has_unknown |= asks.questions_by_macro;
        Ok(())
    }
}

/// Follows what each text asks for.
///
/// The macros by which texts ask are found on the way, and for them all texts count together. So
/// all are read again when one was found: whatever was asked before is asked then, too.
pub(super) fn follow(
    walk: &mut Walk<'_>,
    probed: &mut Probed,
    (inputs, seen): (&[Input], &[Seen]),
    remembered: &mut Remembered,
) -> Result<Computed, Reason> {
    let mut computed = Computed::default();
    let mut aliases = BTreeSet::new();
    let (mut buffer, mut whole) = (Vec::new(), Vec::new());
    let mut has_operator = false;
    let listed = || inputs.iter().map(|input| input.path.as_path()).zip(seen);
    loop {
        let alias_count = aliases.len();
        let mut found = Vec::new();
        for (index, (path, seen)) in listed().enumerate() {
            let is_own = !path.as_os_str().as_bytes().starts_with(SYSTEM);
            let is_source = walk.is_source(path);
            let may_be_known = !is_own && !is_source && alias_count == 0;
            let place = walk.place(above(path))?;
            if may_be_known && let Some(asks) = remembered.asks(&seen.digest) {
                computed.take(walk, probed, &asks, (place, None))?;
                continue;
            }
            let files = walk.directories();
            files.read(path, seen.bytes, &mut buffer).map_err(|error| modified(path, &error))?;
            let text = Joined::of(&buffer, &mut whole);
            let asks = Asks::of(&text, seen.mentions.any(Mentions::HAS_INCLUDE), &aliases);
            if may_be_known {
                remembered.add(&seen.digest, &asks);
            }
            let first = if is_source { Some(walk.first(&asks, place, listed())?) } else { None };
            computed.take(walk, probed, &asks, (place, first))?;
            if alias_count == 0 {
                has_operator |= is_own && text.has_once_operator();
                let literals = asks.literals.iter().filter(|_| is_own);
                computed.literals.extend(literals.map(|(quoted, name)| (*quoted, name.to_vec())));
                if is_own && asks.is_read_once {
                    probed.read_once.push(index);
                }
                if let Some(first) = first {
                    probed.source = Includes::of(&asks, first);
                }
            }
            found.extend(asks.aliases);
        }
        aliases.extend(found);
        if aliases.len() == alias_count {
            break;
        }
    }
    if has_operator {
        probed.read_once = (0..inputs.len()).collect();
    }
    // A macro of a precompiled header may ask in any text.
    probed.has_unknown |= walk.precompiles() && !aliases.is_empty();
    Ok(computed)
}
