//! Making a failing script small: whatever can go while it still fails, goes.
//!
//! Steps first (all but the last, then by halves, then one by one), then what a step does beside
//! its change, then options, variables, files, and lines of files; again until nothing goes any
//! more. Each try runs from an empty store.

use std::time::{Duration, Instant};

use super::script::{Action, Entry, Script, Time, Way};

/// Tries at most: a script that fails by chance must not hold up the rest.
const TRIES_MAX: usize = 1000;
/// And no further try begins after that.
const TIME_MAX: Duration = Duration::from_secs(100);

/// The smallest script found for which `fails` holds.
pub fn shrink(script: Script, fails: &mut dyn FnMut(&Script) -> bool) -> Script {
    let mut shrinker = Shrinker { best: script, fails, tries: 0, begun: Instant::now() };
    loop {
        let before = shrinker.best.clone();
        shrinker.steps();
        shrinker.details();
        shrinker.units();
        shrinker.variables();
        shrinker.files();
        shrinker.lines();
        if shrinker.best == before || shrinker.is_tired() {
            return shrinker.best;
        }
    }
}

struct Shrinker<'a> {
    best: Script,
    fails: &'a mut dyn FnMut(&Script) -> bool,
    tries: usize,
    begun: Instant,
}

impl Shrinker<'_> {
    fn is_tired(&self) -> bool {
        self.tries >= TRIES_MAX || self.begun.elapsed() >= TIME_MAX
    }

    fn attempt(&mut self, candidate: Script) -> bool {
        if candidate == self.best || self.is_tired() {
            return false;
        }
        self.tries += 1;
        let is_better = (self.fails)(&candidate);
        if is_better {
            self.best = candidate;
        }
        is_better
    }

    /// Tries without `range` of a list, first large ranges, then single items.
    fn without(&mut self, count: impl Fn(&Script) -> usize, drop: impl Fn(&mut Script, usize)) {
        let mut size = count(&self.best).max(1);
        while size > 0 {
            let mut at = count(&self.best);
            while at >= size && size > 0 {
                let mut candidate = self.best.clone();
                (at - size..at).rev().for_each(|index| drop(&mut candidate, index));
                self.attempt(candidate);
                at = at.min(count(&self.best)).saturating_sub(size);
            }
            size /= 2;
        }
    }

    fn steps(&mut self) {
        self.without(
            |script| script.steps.len().saturating_sub(1),
            |script, at| drop(script.steps.remove(at)),
        );
        for at in 0..self.best.steps.len().saturating_sub(1) {
            let mut candidate = self.best.clone();
            candidate.steps[at].is_silent = true;
            self.attempt(candidate);
        }
    }

    fn details(&mut self) {
        for at in 0..self.best.steps.len() {
            let changes: [fn(&mut super::script::Step); 6] = [
                |step| step.meanwhile = None,
                |step| step.has_twin = false,
                |step| step.copy_first = false,
                |step| step.by_link = false,
                |step| step.larder_first = false,
                |step| step.actions.clear(),
            ];
            for change in changes {
                let mut candidate = self.best.clone();
                change(&mut candidate.steps[at]);
                self.attempt(candidate);
            }
            for action in 0..self.best.steps[at].actions.len() {
                let mut candidate = self.best.clone();
                if let Some(Action::Write { time, way, .. }) =
                    candidate.steps[at].actions.get_mut(action)
                {
                    (*time, *way) = (Time::Now, Way::Into);
                    self.attempt(candidate);
                }
            }
        }
        // What a step says about the call may as well be so from the start.
        for at in 0..self.best.steps.len() {
            for action in 0..self.best.steps[at].actions.len() {
                let mut candidate = self.best.clone();
                let Some(taken) = candidate.steps[at].actions.get(action).cloned() else { break };
                candidate.call.take(&taken);
                if candidate.call != self.best.call {
                    candidate.steps[at].actions.remove(action);
                    self.attempt(candidate);
                }
            }
        }
    }

    /// An option goes everywhere at once, or from one command line.
    fn units(&mut self) {
        let mut all: Vec<Vec<String>> = self.best.call.units.clone();
        for action in self.best.steps.iter().flat_map(|step| &step.actions) {
            if let Action::Arguments(units) = action {
                all.extend(units.iter().cloned());
            }
        }
        all.sort();
        all.dedup();
        for unit in all {
            let mut candidate = self.best.clone();
            candidate.call.units.retain(|known| *known != unit);
            for action in candidate.steps.iter_mut().flat_map(|step| &mut step.actions) {
                if let Action::Arguments(units) = action {
                    units.retain(|known| *known != unit);
                }
            }
            self.attempt(candidate);
        }
    }

    fn variables(&mut self) {
        let names: Vec<String> = self.best.call.variables.keys().cloned().collect();
        for name in names {
            let mut candidate = self.best.clone();
            candidate.call.variables.remove(&name);
            self.attempt(candidate);
        }
        for change in [
            |script: &mut Script| script.call.umask = 0o022,
            |script: &mut Script| script.call.directory = ".".to_owned(),
            |script: &mut Script| script.call.compiler = "gcc".to_owned(),
        ] {
            let mut candidate = self.best.clone();
            change(&mut candidate);
            self.attempt(candidate);
        }
    }

    fn files(&mut self) {
        self.without(
            |script| script.files.len(),
            |script, at| {
                let name = script.files.keys().nth(at).cloned();
                name.and_then(|name| script.files.remove(&name));
            },
        );
    }

    fn lines(&mut self) {
        let names: Vec<String> = self.best.files.keys().cloned().collect();
        for name in names {
            let text = |script: &Script| match script.files.get(&name) {
                Some(Entry::File(text)) => text.clone(),
                _ => String::new(),
            };
            self.without(
                |script| text(script).lines().count(),
                |script, at| {
                    let kept = without_line(&text(script), at);
                    script.files.insert(name.clone(), Entry::File(kept));
                },
            );
        }
        for step in 0..self.best.steps.len() {
            for action in 0..self.best.steps[step].actions.len() {
                self.lines_of(step, action);
            }
        }
    }

    fn lines_of(&mut self, step: usize, action: usize) {
        let text = |script: &Script| match script
            .steps
            .get(step)
            .and_then(|step| step.actions.get(action))
        {
            Some(Action::Write { text, .. }) => text.clone(),
            _ => String::new(),
        };
        self.without(
            |script| text(script).lines().count(),
            |script, at| {
                let kept = without_line(&text(script), at);
                if let Some(Action::Write { text, .. }) = script.steps[step].actions.get_mut(action)
                {
                    *text = kept;
                }
            },
        );
    }
}

fn without_line(text: &str, at: usize) -> String {
    let lines = text.lines().enumerate().filter(|(number, _)| *number != at);
    lines.map(|(_, line)| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::equivalence::project;
    use crate::equivalence::script::Step;
    use crate::sample::Random;

    #[test]
    fn what_does_not_count_goes() {
        let mut random = Random::new(1);
        let mut script = project::generate(&mut random);
        let text = |text: &str| Action::Write {
            name: "inc/h0.h".to_owned(),
            text: text.to_owned(),
            time: Time::Kept,
            way: Way::Over,
        };
        for number in 0..10 {
            let actions = vec![text(&format!("a\nb{number}\nc\n"))];
            script.steps.push(Step { actions, larder_first: true, ..Step::default() });
        }
        script.steps.push(Step::default());
        let has = |script: &Script| {
            let written =
                script.steps.iter().flat_map(|step| &step.actions).any(
                    |action| matches!(action, Action::Write { text, .. } if text.contains("b7")),
                );
            written && script.call.words().any(|word| word == "-Ionly-here")
        };
        script.call.units.push(vec!["-Ionly-here".to_owned()]);
        let small = shrink(script, &mut |candidate| has(candidate));
        assert!(has(&small));
        assert!(small.files.is_empty(), "{small}");
        assert_eq!(small.steps.len(), 2, "{small}");
        assert!(small.steps[1].actions.is_empty());
        let Action::Write { text, time, .. } = &small.steps[0].actions[0] else {
            panic!("{small}")
        };
        assert_eq!((text.as_str(), *time), ("b7\n", Time::Now));
        assert_eq!(small.call.units.len(), 1, "{small}");
    }
}
