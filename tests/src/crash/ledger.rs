//! What a store may answer: the states of each key, and which of them a power cut leaves possible.
//!
//! 1. A key has a list of steps. A step began at a moment, ended at one if it was acknowledged, and
//!    leaves one of some states; all but the first leave one.
//! 2. Without a cut the last acknowledged step counts, or any later one that was begun.
//! 3. After a power cut the last step that was acknowledged before the last completed checkpoint
//!    began counts, or any later one that had begun. One of them is found, and from then on
//!    nothing else, until the key is written again: what a look-up found does not change, whether
//!    upkeep has been there or not, and whatever is cut later.
//! 4. A kill takes nothing that was acknowledged.
//! 5. In a store that evicts a miss is always possible, an older state never.

use std::collections::BTreeMap;
use std::sync::Arc;

use larder_engine::Key;

use crate::sample::Value;

/// What a look-up may answer.
pub type State = Option<Arc<Value>>;

/// A moment: how many changes the disk had recorded.
type Moment = usize;

/// A write of a key, or what was there before all writes.
#[derive(Clone, Debug)]
struct Step {
    begun: Moment,
    ended: Option<Moment>,
    states: Vec<State>,
    /// A look-up has shown that it has not happened.
    refuted: bool,
    /// It drops what was there, with the segment where that stands. Cut short by a kill, it may be
    /// brought to its end by whoever goes on.
    drops: bool,
}

impl Step {
    fn new(begun: Moment, ended: Option<Moment>, states: Vec<State>) -> Step {
        Step { begun, ended, states, refuted: false, drops: false }
    }
}

/// What a store may answer to each key.
#[derive(Clone, Debug)]
pub struct Ledger {
    steps: BTreeMap<Key, Vec<Step>>,
    /// When each completed checkpoint began and ended.
    checkpoints: Vec<(Moment, Moment)>,
    /// When each clearing of the store began and, if it did, ended.
    clearings: Vec<(Moment, Option<Moment>)>,
    evicts: bool,
    /// The steps of keys before a look-up ruled some of their states out, and when.
    ruled_out: Vec<(Moment, Key, Vec<Step>)>,
}

/// How a look-up was answered, where it was right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// With the only state that was possible.
    Only,
    /// With the last of several.
    Newest,
    /// With an earlier one of several.
    Older,
    /// With a miss that only eviction explains.
    Evicted,
}

impl Ledger {
    /// Nothing was stored under these keys.
    pub fn new(keys: &[Key], evicts: bool) -> Ledger {
        let nothing = Step::new(0, Some(0), vec![None]);
        let steps = keys.iter().map(|key| (*key, vec![nothing.clone()])).collect();
        Ledger {
            steps,
            checkpoints: Vec::new(),
            clearings: Vec::new(),
            evicts,
            ruled_out: Vec::new(),
        }
    }

    /// Every key.
    pub fn keys(&self) -> Vec<Key> {
        self.steps.keys().copied().collect()
    }

    /// A write begins.
    pub fn begin(&mut self, key: Key, state: State, now: Moment) {
        let step = Step::new(now, None, vec![state]);
        self.steps.entry(key).or_default().push(step);
    }

    /// What stands under a key is being dropped.
    pub fn begin_drop(&mut self, key: Key, now: Moment) {
        let step = Step { drops: true, ..Step::new(now, None, vec![None]) };
        self.steps.entry(key).or_default().push(step);
    }

    /// The store is being cleared.
    pub fn begin_clearing(&mut self, now: Moment) {
        self.clearings.push((now, None));
        self.keys().iter().for_each(|key| self.begin(*key, None, now));
    }

    /// It has been, durably: what was evicted does not come back.
    pub fn end_clearing(&mut self, now: Moment) {
        self.clearings.last_mut().into_iter().for_each(|clearing| clearing.1 = Some(now));
        self.keys().iter().for_each(|key| self.acknowledge(key, now));
        self.checkpoint(now, now);
    }

    /// Whether a miss may always be eviction.
    pub fn evicts(&self) -> bool {
        self.evicts
    }

    /// Half a clearing is an eviction: whoever goes on may drop what is left.
    fn cut_clearings(&mut self, cut: Moment) {
        let is_half = |(begun, ended): &(Moment, Option<Moment>)| {
            *begun < cut && ended.is_none_or(|ended| ended > cut)
        };
        self.evicts |= self.clearings.iter().any(is_half);
        self.clearings.clear();
    }

    /// The last write of a key was acknowledged.
    pub fn acknowledge(&mut self, key: &Key, now: Moment) {
        if let Some(step) = self.steps.get_mut(key).and_then(|steps| steps.last_mut()) {
            step.ended = Some(now);
        }
    }

    /// The last write of a key was dropped: it has not happened and will not.
    pub fn retract(&mut self, key: &Key) {
        self.steps.get_mut(key).and_then(Vec::pop);
    }

    /// A checkpoint was completed.
    pub fn checkpoint(&mut self, begun: Moment, ended: Moment) {
        self.checkpoints.push((begun, ended));
    }

    /// Forgets the look-ups after `cut`.
    fn forget_lookups(&mut self, cut: Moment) {
        while let Some((_, key, steps)) = self.ruled_out.pop_if(|(moment, ..)| *moment > cut) {
            self.steps.insert(key, steps);
        }
    }

    /// The power goes, and with it what was done from `cut` on. Moments begin anew.
    pub fn power_cut(&mut self, cut: Moment) {
        self.cut_clearings(cut);
        self.forget_lookups(cut);
        let completed = self.checkpoints.iter().filter(|(_, ended)| *ended <= cut);
        let durable = completed.map(|(begun, _)| *begun).max();
        for steps in self.steps.values_mut() {
            let settled = |step: &Step| step.ended.zip(durable).is_some_and(|(e, d)| e <= d);
            let floor = steps.iter().rposition(settled).unwrap_or(0);
            let mut states: Vec<State> = Vec::new();
            for (number, step) in steps.iter().enumerate().skip(floor) {
                let has_begun = step.begun < cut || number == 0;
                let is_possible = has_begun && !step.refuted;
                states.extend(step.states.iter().filter(|_| is_possible).cloned());
            }
            states.dedup();
            *steps = vec![Step::new(0, Some(0), states)];
        }
        self.ruled_out.clear();
        self.checkpoints.clear();
    }

    /// Every process is killed, and does not do what it did from `cut` on.
    pub fn kill(&mut self, cut: Moment) {
        self.cut_clearings(cut);
        self.forget_lookups(cut);
        for steps in self.steps.values_mut() {
            let mut first = true;
            steps.retain(|step| std::mem::take(&mut first) || step.begun < cut);
            for step in steps.iter_mut().skip(1) {
                step.ended = step.ended.filter(|ended| *ended <= cut);
            }
        }
        self.checkpoints.retain(|(_, ended)| *ended <= cut);
    }

    /// A look-up was answered: whether it may be. No later one may be answered otherwise.
    ///
    /// # Errors
    /// If it may not.
    pub fn observe(&mut self, key: &Key, found: &State, now: Moment) -> Result<Answer, String> {
        let Some(steps) = self.steps.get_mut(key) else {
            return Err(format!("{key} was never stored, and there is {}", describe(found)));
        };
        let last = steps.iter().rposition(|step| step.ended.is_some()).unwrap_or(0);
        let possible: Vec<(usize, usize)> = (last..steps.len())
            .filter(|step| !steps[*step].refuted)
            .flat_map(|step| (0..steps[step].states.len()).map(move |state| (step, state)))
            .collect();
        let state = |place: &(usize, usize)| &steps[place.0].states[place.1];
        let is_found = |place: &(usize, usize)| state(place) == found;
        let place = possible.iter().rposition(is_found);
        let Some(place) = place else {
            if self.evicts && found.is_none() {
                return Ok(Answer::Evicted);
            }
            let possible: Vec<String> = possible.iter().map(|p| describe(state(p))).collect();
            let possible = possible.join(", ");
            return Err(format!("{key} is {}, may be: {possible}", describe(found)));
        };
        let answer = match possible.len() {
            1 => Answer::Only,
            count if place + 1 == count => Answer::Newest,
            _ => Answer::Older,
        };
        if self.evicts && found.is_none() {
            // What was evicted may be back after the next cut.
            return Ok(answer);
        }
        let (step, state) = possible[place];
        if possible.len() > 1 {
            self.ruled_out.push((now, *key, steps.clone()));
        }
        steps[step].ended = steps[step].ended.or(Some(now));
        steps[step].states.drain(..state);
        steps[step].states.truncate(1);
        steps[step + 1..].iter_mut().for_each(|later| later.refuted = !later.drops);
        Ok(answer)
    }
}

fn describe(state: &State) -> String {
    state.as_ref().map_or("a miss".to_string(), |value| value.label())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(number: u8) -> State {
        Some(Arc::new(Value::of([number])))
    }

    fn key() -> Key {
        Key::of(b"key")
    }

    /// 1 is acknowledged before a checkpoint, 2 during it, 3 after it; 4 is under way.
    fn ledger(evicts: bool) -> Ledger {
        let mut ledger = Ledger::new(&[key()], evicts);
        for (number, begun, ended) in [(1, 10, 20), (2, 30, 40), (3, 60, 70)] {
            ledger.begin(key(), state(number), begun);
            ledger.acknowledge(&key(), ended);
        }
        ledger.checkpoint(25, 50);
        ledger.begin(key(), state(4), 80);
        ledger
    }

    fn possible(ledger: &Ledger) -> Vec<u8> {
        let is_possible = |number: &u8| {
            let found = if *number == 0 { None } else { state(*number) };
            ledger.clone().observe(&key(), &found, 100).is_ok()
        };
        (0..6).filter(is_possible).collect()
    }

    #[test]
    fn the_last_acknowledged_state_counts_or_one_under_way() {
        assert_eq!(possible(&ledger(false)), [3, 4]);
        assert_eq!(possible(&ledger(true)), [0, 3, 4]);
        let mut dropped = ledger(false);
        dropped.retract(&key());
        assert_eq!(possible(&dropped), [3]);
    }

    #[test]
    fn a_power_cut_takes_what_no_checkpoint_has() {
        let cases: [(Moment, &[u8]); 6] = [
            (90, &[1, 2, 3, 4]),
            (80, &[1, 2, 3]),
            (55, &[1, 2]),
            (49, &[0, 1, 2]),
            (30, &[0, 1]),
            (5, &[0]),
        ];
        for (cut, expected) in cases {
            let mut ledger = ledger(false);
            ledger.power_cut(cut);
            assert_eq!(possible(&ledger), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_kill_takes_nothing_that_was_acknowledged() {
        let cases: [(Moment, &[u8]); 4] = [(90, &[3, 4]), (75, &[3]), (65, &[2, 3]), (5, &[0])];
        for (cut, expected) in cases {
            let mut ledger = ledger(false);
            ledger.kill(cut);
            assert_eq!(possible(&ledger), expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_was_found_once_is_found_again_also_after_the_next_cut() {
        let mut ledger = ledger(false);
        ledger.power_cut(90);
        assert_eq!(ledger.observe(&key(), &state(2), 1), Ok(Answer::Older));
        assert_eq!(possible(&ledger), [2]);
        let before = ledger.clone();
        ledger.power_cut(1);
        assert_eq!(possible(&ledger), [2]);
        ledger.begin(key(), state(5), 3);
        ledger.power_cut(4);
        assert_eq!(possible(&ledger), [2, 5]);
        let mut earlier = before;
        earlier.power_cut(0);
        assert_eq!(possible(&earlier), [1, 2, 3, 4], "nobody had looked before that cut");
    }
}
